"""Chapter 5, balancing: what decays at twice the weight decay, what one step makes of it, and what is no balance."""

import math

import pytest
import sympy as sp
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import flow
from attnflow.meanfield import balancing, decay, figures_balancing, model, nets, setting, theory, variation

SMALL = {"samples": 3, "length": 4, "m": 3, "depth": 2}
CPU = torch.device("cpu")


def test_balances_are_those_of_each_particle():
    _, _, _, state = setting.drawn((0, 1), CPU, k=2, **SMALL)
    found = balancing.balances(state)
    one = {name: value[1, 0, 2] for name, value in state.items()}
    assert torch.allclose(found["query-key"][1, 0, 2], one["W_Q"].T @ one["W_Q"] - one["W_K"].T @ one["W_K"])
    assert torch.allclose(found["value-output"][1, 0, 2], one["W_V"].T @ one["W_V"] - one["W_O"] @ one["W_O"].T)
    assert torch.allclose(found["neuron"][1, 0, 2], one["w_1"] @ one["w_1"] + one["b"] ** 2 - one["w_2"] @ one["w_2"])


@pytest.mark.parametrize("activation", model.ACTIVATIONS)
def test_the_chain_rule_is_decay_and_excess(activation):
    net, inputs, targets, state = setting.drawn((0, 1), CPU, k=2, activation=activation, **SMALL)
    slope = model.field(inputs, targets, net, 0.3)(state)[1]
    velocity = {name: -value for name, value in slope.items()}
    both = balancing.balances({name: state[name] + velocity[name] for name in state})
    apart = [balancing.balances(each) for each in (state, velocity)]  # polarisation of a quadratic form
    rates = {name: both[name] - apart[0][name] - apart[1][name] for name in both}
    extra = decay.excess(state, inputs, targets, net)
    for name in balancing.BALANCED:
        assert torch.allclose(rates[name], -2 * 0.3 * apart[0][name], atol=1e-13)
    assert torch.allclose(rates["neuron"], -2 * 0.3 * apart[0]["neuron"] + extra, atol=1e-13)
    assert (extra.abs().max() > 1e-3) == (activation == "tanh") and extra.shape == (2, 2, 3)


def test_the_excess_token_by_token():
    net, inputs, targets, state = setting.drawn((0, 1), CPU, **SMALL)
    tokens = variation.path(state, inputs, net)
    back = variation.adjoint(state, tokens, targets, net)
    incoming, bias, outgoing = (state[name][1, 0, 2] for name in nets.NEURONS)
    total = 0.0
    for sequence, slopes in zip(tokens[1][1], back[2][1], strict=True):
        for token, slope in zip(sequence, slopes, strict=True):
            felt = token @ incoming + bias
            total += float(slope @ outgoing * (felt / torch.cosh(felt) ** 2 - torch.tanh(felt)))
    assert float(decay.excess(state, inputs, targets, net)[1, 0, 2]) == pytest.approx(-2 * total / 3)


def test_proofs_of_the_decay():
    assert theory.decay_holds(k=2) and theory.decay_holds(length=1, d=1, k=2)
    assert not theory.decay_holds({"W_O": 3}) and theory.decay_holds(dict.fromkeys(("W_V", "W_O"), 1))
    assert theory.neuron_law_holds() and not theory.neuron_law_holds(bias=False)
    assert theory.neuron_law_holds(degree=2) and theory.neuron_law_holds(length=1, d=1)


def test_activations_of_any_degree_have_a_balance_of_their_own():
    size = sp.Symbol("s", positive=True)
    assert sp.simplify(theory.homogeneous(3) / size**3).is_Symbol
    relu = [lambda z: sp.Max(0, z), lambda z: sp.Max(0, z) ** 2]
    found = [[theory.balanced(one, degree) for degree in (1, 2)] for one in relu]
    assert found == [[True, False], [False, True]]
    assert not theory.balanced(sp.tanh) and theory.balanced(lambda z: 2 * z + sp.Abs(z))


@pytest.mark.parametrize("part", model.PARTS)
def test_the_recursion_is_proved(part):
    assert theory.recursion_holds(part) and not theory.recursion_holds(part, inside=True)


def test_the_recursion_holds_in_a_run_and_not_under_momentum():
    settings = SMALL | {"steps": 4, "step": 0.2, "k": 2, "activation": "relu"}
    assert max(float(value.max()) for value in balancing.exact_step((0, 1), CPU, **settings).values()) < 1e-14
    wrong = balancing.exact_step((0, 1), CPU, method=flow.Momentum(0.5), **settings)
    assert min(float(value.min()) for value in wrong.values()) > 1e-6
    tanh = balancing.exact_step((0, 1), CPU, **settings | {"activation": "tanh"})
    assert tanh["query-key"].max() < 1e-14 and tanh["neuron"].min() > 1e-6


def test_descent_decays_by_its_own_factor_and_the_flow_by_the_exponential():
    record = decay.decayed((0, 1), CPU, steps=(0.02, 0.01), time=1.0, method=flow.Descent(), **SMALL)
    for name in balancing.BALANCED:
        assert (record["forced"][name][0] / record["forced"][name][1]).tolist() == pytest.approx([2, 2], rel=0.1)
    exact = decay.decayed((0, 1), CPU, steps=(0.05,), time=1.0, **SMALL)
    assert torch.cat([exact["left"][name] for name in balancing.BALANCED]).max() < 1e-5
    assert (decay.worst_rate(exact) - 1).abs().max() < 1e-4 and exact["left"]["neuron"].min() > 1e-3
    assert torch.allclose(exact["size"]["neuron"][0], balances_at_start()["neuron"].flatten(1).norm(dim=1))


def balances_at_start():
    """The balances of the small setting at its start."""
    return balancing.balances(setting.drawn((0, 1), CPU, **SMALL)[3])


def test_the_worst_rate_is_that_of_a_head():
    rates = {"query-key": [[1.1, 0.9]], "value-output": [[0.8, 1.05]], "neuron": [[5.0, 5.0]]}
    record = {"rate": {name: torch.tensor(value) for name, value in rates.items()}}
    assert decay.worst_rate(record).tolist() == pytest.approx([0.8, 0.9])


def test_decay_of_some_weights_is_no_decay_of_a_balance():
    record = decay.decayed((0, 1), CPU, time=1.0, only=("W_Q",), **SMALL)
    assert record["left"]["query-key"].min() > 0.01
    assert "only" in refusal(lambda: decay.decayed((0,), CPU, only=("W",), **SMALL))


def test_what_is_carried_is_second_order_in_the_step_of_the_rule():
    gaps = []
    for step in (0.1, 0.05):
        record = decay.carried((0, 1), CPU, time=0.4, step=step, **SMALL)
        gaps.append((record["left"] - record["known"])[-1].flatten(1).norm(dim=1))
    assert (gaps[0] / gaps[1]).tolist() == pytest.approx([4, 4], rel=0.2)
    assert torch.allclose(record["measured"], record["left"].abs().flatten(2).amax(dim=(0, 2)))


@pytest.mark.parametrize("sizes", [{"depth": 1}, {"depth": 1, "d": 3}, {"depth": 1, "k": 2}])
def test_every_law_is_known(sizes):
    found = balancing.counted(**sizes)
    assert found["closed"] and found["gap"] > 1e6 and found["laws"] == balancing.known(**sizes)
    assert balancing.bound(activation="tanh", **sizes) == balancing.known(**sizes) - 1


@pytest.mark.parametrize("lam", [0.0, 1e-6, 0.01, 10.0, 1e6])
def test_balance_decay_measures_twice_the_decay(lam):
    found = decay.balance_decay(lam, seeds=(0, 1))
    assert found["predicted"] == 2 * lam and abs(found["rate"] - 2 * lam) <= max(1e-6 * lam, 1e-6)
    assert found["moved"] < 1e-6 * max(1, lam) and lam * found["step"] <= 0.5
    assert [tuple(value.shape) for value in found["rates"].values()] == [(2,), (2,)]
    gaps = torch.stack(list(found["rates"].values())) - 2 * lam
    assert gaps.abs().max() == abs(found["rate"] - 2 * lam)


def test_balance_decay_by_scipy():
    field, start = setting.problem((3,), CPU, 0.7)
    found = decay.balance_decay(0.7, seeds=(3,))
    end = balancing.balances({name: value[-1] for name, value in flow.reference(field, start, [found["time"]]).items()})
    for name, value in balancing.balances(start).items():
        if name in balancing.BALANCED:
            slow = math.log(float(value.norm() / end[name].norm())) / found["time"]
            assert float(found["rates"][name][0]) == pytest.approx(slow, abs=1e-6)


def test_a_step_that_is_given_is_taken():
    coarse = decay.balance_decay(1.0, step=0.5, seeds=(0, 1))
    fine = decay.balance_decay(1.0, step=0.25, seeds=(0, 1))
    assert (coarse["step"], fine["step"]) == (0.5, 0.25)
    assert abs(coarse["rate"] - 2) > abs(fine["rate"] - 2) and coarse["moved"] > fine["moved"] > 1e-6
    assert decay.balance_decay(0.0, step=9.0, seeds=(0,))["step"] == decay.LONGEST


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decay.balance_decay(-0.1), "lam = -0.1"),
        (lambda: decay.balance_decay(math.nan), "lam = nan"),
        (lambda: decay.balance_decay("1"), "lam = '1'"),
        (lambda: decay.balance_decay(10.0, step=0.06), "at most 0.5 / lam = 0.05"),
        (lambda: decay.balance_decay(1.0, step=0.0), "step = 0.0"),
        (lambda: decay.balance_decay(1.0, seeds=()), "at least one seed"),
        (lambda: theory.recursion_holds("tokens"), "part = 'tokens'"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


def test_a_start_that_does_not_settle_is_refused(monkeypatch):
    monkeypatch.setattr(decay, "TOLERANCE", 0.0)
    monkeypatch.setattr(decay, "HALVINGS", 2)
    assert "2 halvings of the step settle the rate" in refusal(lambda: decay.balance_decay(0.1, seeds=(0,)))


def test_the_figure_shows_the_exponential_and_the_integral():
    records = {rate: decay.decayed((0, 1), CPU, decay=rate, **SMALL) for rate in (0.1, 0.5)}
    tanh, relu = (decay.carried((0,), CPU, time=0.2, activation=name, **SMALL) for name in ("tanh", "relu"))
    figure = figures_balancing.decay_figure(records, tanh, relu)
    left, right = figure.axes
    dashed = [line for line in left.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_ydata()[-1] for line in dashed] == pytest.approx([math.exp(-0.6), math.exp(-3.0)])
    solid = [line for line in left.get_lines() if line.get_linestyle() == "-"]
    assert [line.get_ydata()[-1] for line in solid] == pytest.approx(
        [math.exp(-0.6)] * 2 + [math.exp(-3.0)] * 2, rel=1e-3
    )
    orange = [line for line in right.get_lines() if line.get_label() == "tanh"][0]
    assert orange.get_ydata().tolist() == tanh["left"][:, 0, 0, 0].tolist()
    plt.close(figure)
