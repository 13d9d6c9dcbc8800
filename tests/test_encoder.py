"""The room of chapter 3: fast paths against slow twins, theory against numbers."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import checks, curves, flow, runs, sensitivity
from attnflow.encoder import balancing, bounds, flips, kernel, lazy, limits, maps, model, pairs, task, theorem, theory
from attnflow.encoder.model import Encoder
from attnflow.encoder.setting import drawn, left, problem, trained
from attnflow.ntk import arc_cosine

NETS = [{"init": init, "hidden": hidden} for init in model.INITS for hidden in (False, True)]
SMALL = {"d": 5, "width": 7, "scaling": 0.7, "samples": 6, "length": 3}
NET, WIDER, HIDDEN = Encoder(d=4, width=3), Encoder(d=4, width=7), Encoder(d=4, width=3, hidden=True)


def zeros(*shape):
    return torch.zeros(*shape, dtype=runs.DTYPE)


def zero(net):
    """A start, two samples of three tokens that are zero, and labels that are."""
    return model.init(runs.streams([0], "weights"), net), zeros(1, 2, 3, net.d), zeros(1, 2)


def same(net):
    """Two samples that are the same, labels, and a start."""
    return runs.normal(runs.streams([0], "data"), 1, 3, net.d).repeat(1, 2, 1, 1), zeros(1, 2), zero(net)[0]


def relative(value, want):
    return float((value - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("options", NETS, ids=str)
def test_gram_kernel_equals_jacobian(options, engine):
    net, inputs, _, state = drawn((0, 1, 2), "cpu", **SMALL, **options)
    with flow.asked(engine):
        fast, slow = kernel.blocks(state, inputs, net), kernel.from_jacobian(state, inputs, net)
    assert fast.keys() == slow.keys() and max(relative(fast[name], slow[name]) for name in slow) < 1e-10


@pytest.mark.parametrize("hidden", [False, True])
def test_symbols_agree_with_autograd(hidden):
    assert theory.gradient_agrees(hidden) < 1e-10


def test_descent_follows_the_flow():
    """The reference is Heun with a small step: adaptive methods creep over the kinks of the ReLU, which some runs meet."""
    field, start = problem(range(32), "cpu", d=3, width=4, samples=3, length=3)
    exact = flow.integrate(field, start, step=1e-4, times=[0.25], method=flow.Heun()).state
    rows, steps = [], (0.005, 0.0025, 0.00125)
    for step in steps:
        end = flow.integrate(field, start, step=step, times=[0.25]).state
        rows.append({"error": sum((end[name] - exact[name]).square().sum(dim=(1, 2)) for name in end).sqrt()})
    assert abs(curves.order(steps, checks.stacked(rows)["error"]).median() - 1) < 0.02


def test_wide_kernels_are_close_to_their_limit():
    net, inputs, _, state = drawn((0,), "cpu", width=4096, init="ntk", scaling=1.0, samples=4)
    assert relative(kernel.empirical(state, inputs, net), kernel.limit(inputs)) < 0.15


def test_the_mean_square_of_one_neuron_by_many_neurons():
    tokens = runs.normal(runs.streams([0], "data"), 3, 2)
    value, out = (
        runs.normal(runs.streams([0], name), 1, size)[0, 0] for name, size in (("o", 10**6), ("v", 2 * 10**6))
    )
    weights = out.view(2, -1)
    entering = (tokens @ weights)[0]
    active, mask = entering.relu(), entering.relu().sign()
    for n, m in ((0, 0), (0, 1), (1, 2)):
        one = active[n] * active[m] + value.square() * mask[n] * mask[m] * (tokens[0, n] @ tokens[0, m])
        assert float(kernel.neuron_squares(tokens)[0, n, m]) == pytest.approx(float(one.square().mean()), rel=0.05)


def test_squares_of_neurons_are_those_of_nets_of_one_neuron():
    net, inputs, _, state = drawn((0, 1), "cpu", init="ntk", **SMALL)
    found = 0
    for place in range(net.width):
        alone = torch.zeros(net.width, dtype=runs.DTYPE)
        alone[place] = 1
        # All neurons but one without weights: what is left of the blocks is the part of that one.
        one = state | {"W_V": state["W_V"] * alone, "W_O": state["W_O"] * alone[:, None]}
        blocks = kernel.blocks(one, inputs, net)
        found = found + net.width * (blocks["W_O"] + blocks["W_V"]).square().sum(dim=(1, 2))
    assert torch.allclose(kernel.squares_of_neurons(state, inputs, net), found)


def test_the_share_of_queries_and_keys_by_many_nets():
    net, inputs, _, state = drawn((0,), "cpu", width=64, init="ntk", scaling=1.0, samples=4)
    many = inputs.expand(2000, -1, -1, -1)
    traces = [
        block.diagonal(dim1=1, dim2=2).sum(dim=1).mean()
        for block in kernel.blocks(model.init(runs.streams(range(2000), "weights"), net), many, net).values()
    ]
    known = limits.counted_share(inputs) / net.width
    assert float(traces[-1] / sum(traces)) == pytest.approx(float(known), rel=0.1)


def test_conditions_of_wide_nets_are_those_that_wide_nets_have():
    net, inputs, labels, _ = drawn((0,), "cpu", width=8192, scaling=1.0, samples=4)
    many = [inputs.expand(40, -1, -1, -1), runs.normal(runs.streams(range(40), "labels"), 4)]
    state = model.init(runs.streams(range(40), "weights"), net)
    found = bounds.conditions(state, *many, net)
    known = bounds.of_wide(model.attention(state, many[0], net), many[0], net)
    # The means of the residual and of its inverse differ.
    middle = {name: float(found[name].log().mean().exp() / known[name].mean()) for name in found}
    assert middle == pytest.approx(dict.fromkeys(found, 1.1), rel=0.12)


def test_exponents_between_finite_widths():
    widths, d = (1024, 4096, 16384), 16
    norm = torch.tensor([[(1 + (d / width) ** 0.5)] for width in widths], dtype=runs.DTYPE)
    wide = torch.tensor([[float(width)] for width in widths], dtype=runs.DTYPE)
    found = bounds.finite_exponents("ntk", 0.5, widths, d)
    assert found["B"] == pytest.approx(float(curves.log_slope(widths, wide**-0.5 / norm**4)))
    assert found["A_V"] == pytest.approx(float(curves.log_slope(widths, wide**0.5 * norm)))
    assert found["A_O"] == pytest.approx(float(curves.log_slope(widths, wide**0.5 / norm)))


def test_crowded_samples_have_a_smaller_least_eigenvalue():
    d, samples = 4096, (16, 64, 256)
    tokens = runs.normal(runs.streams((0, 1, 2, 3), "data"), max(samples), d)
    tokens = tokens / tokens.norm(dim=2, keepdim=True)
    least = [torch.linalg.eigvalsh(arc_cosine(tokens[:, :n], tokens[:, :n])[1])[:, 0].mean() for n in samples]
    found = -curves.log_slope(samples, torch.stack(least)[:, None])
    assert bounds.crowding(samples, d) == pytest.approx(float(found), rel=0.1)


def test_arc_cosine_kernels_by_integration():
    zeroth, first, angle = theory.arc_cosine_kernels()
    assert sp.simplify(zeroth - (sp.pi - angle) / (2 * sp.pi)) == 0
    assert sp.simplify(first - (sp.sin(angle) + (sp.pi - angle) * sp.cos(angle)) / (2 * sp.pi)) == 0


def test_entropy_of_nearly_uniform_attention():
    assert float(theory.deficit(1e-3, 4)) == pytest.approx(1e-3 * (1 - 1 / 4) / (2 * math.log(4)), rel=0.03)


@pytest.mark.parametrize(
    "init, scaling, width, best",
    [
        ("lecun", 0.5, 3, 3),
        ("he", 1.0, 2, sp.Rational(5, 4)),
        ("lecun", 0.625, 2, 2),
        ("lecun", 0.25, sp.oo, sp.oo),
        ("ntk", 0.5, sp.oo, sp.oo),
        ("ntk", 1.0, 3, 3),
    ],
)
def test_required_widths(init, scaling, width, best):
    assert (bounds.required(init, scaling), bounds.best_radius(init, scaling)[1]) == (width, best)


@pytest.mark.parametrize("init", model.INITS)
def test_inequalities_hold_at_random_points_far_from_the_start(init):
    net, inputs, labels, start = drawn(range(20), "cpu", **SMALL | {"init": init, "width": 12, "scaling": 0.5})
    found = bounds.along(model.init(runs.streams(range(50, 70), "draws"), net), start, inputs, labels, net)
    assert max(float(value.max()) for value in found.values()) < 1 + 1e-9
    assert bounds.smallest_singular(torch.ones(2, 5, 4, dtype=runs.DTYPE)).tolist() == [0.0, 0.0]
    features = runs.normal(runs.streams((0, 1), "features"), 3, 5)
    assert torch.allclose(bounds.smallest_singular(features), torch.linalg.svdvals(features)[:, -1], rtol=1e-12)


def one_neuron(tokens, samples=4, **weights):
    """A net of width 4 whose first neuron alone has weights, on equal samples of scalar tokens, with residuals of 1."""
    net = Encoder(d=1, width=4, scaling=0.5, output=0.25)
    state = {name: torch.zeros(1, 1, 4, dtype=runs.DTYPE) for name in ("W_Q", "W_K", "W_V", "W_O")}
    for name, value in weights.items():
        state[name][0, 0, 0] = value
    state["W_O"] = state["W_O"].mT
    inputs = torch.tensor(tokens, dtype=runs.DTYPE).expand(1, samples, -1)[..., None]
    return state, inputs, model.forward(state, inputs, net) - 1, net


@pytest.mark.parametrize(
    "samples, before, known",
    [
        (4, {"W_V": 0.8}, {"W_O": 1.0, "W_V": 1.0, "drift": 1.0}),
        (4, {"W_V": 1.25}, {"W_O": 0.8, "W_V": 1.0, "drift": 1.0}),
        (4, {"W_O": 1e-3}, {"W_O": 1.0, "W_V": 0.1, "drift": 0.0}),
        (1, {"W_V": 1.25}, {"W_O": 0.8, "W_V": 1.0, "drift": 1.0, "PL": 1.0, "Weyl": 1.0}),
    ],
    ids=str,
)
def test_inequalities_are_equalities_for_one_neuron_and_one_token(samples, before, known):
    weights = {"W_Q": 0.5, "W_K": 0.7, "W_V": 1.0, "W_O": 1e-4}
    state, inputs, labels, net = one_neuron([1.5], samples, **weights)
    start = one_neuron([1.5], samples, **weights | before)[0]
    found = bounds.along(state, start, inputs, labels, net)
    assert {name: float(found[name]) for name in known} == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("moved", ["W_Q", "W_K"])
def test_inequalities_through_the_attention_are_nearly_equalities_where_it_is_steepest(moved):
    """Eight tokens against one: the eight see both sides with weight 1/2, so their mixed token turns as fast as the logits."""
    size, key = 1.5, 0.7
    weights = {"W_Q": -math.log(8) / (size**2 * key), "W_K": key, "W_V": 1.2, "W_O": 0.9}
    start = one_neuron([size] * 8 + [-size], **weights)[0]
    weights[moved] *= 1 - 1e-5
    state, inputs, labels, net = one_neuron([size] * 8 + [-size], **weights)
    found = bounds.along(state, start, inputs, labels, net)
    known = (8 - (1 - math.tanh(math.log(8)) ** 2)) / 9
    assert {name: float(found[name]) for name in ("W_Q", "W_K", "drift")} == pytest.approx(
        dict.fromkeys(("W_Q", "W_K", "drift"), known), rel=1e-3
    )


@pytest.mark.parametrize("init, tau_1", [("lecun", 1.0), ("ntk", 7**-0.5)])
@pytest.mark.parametrize("radius", [1.0, 0.3])
def test_conditions_are_the_formulas_of_the_text(init, tau_1, radius):
    net, inputs, labels, start = drawn((0, 1), "cpu", **SMALL | {"init": init})
    found, tau_0 = bounds.conditions(start, inputs, labels, net, radius), 7**-0.7
    for run in range(2):
        q, k, v, o = (np.linalg.norm(start[name][run], 2) for name in ("W_Q", "W_K", "W_V", "W_O"))
        bar_q, bar_k, bar_v, bar_o = ((1 + radius) * norm for norm in (q, k, v, o))
        alpha = np.linalg.svd(model.features(start, inputs, net)[run], compute_uv=False)[5]
        residual = np.linalg.norm(model.forward(start, inputs, net)[run] - labels[run])
        largest = float(inputs[run].norm(dim=-1).max())
        chi, inner = tau_1 * 6**0.5 * largest, tau_0 * largest**2 * bar_v
        known = {
            "A_O": alpha**2 * radius * o / (4 * residual * chi * bar_v),
            "A_V": alpha**2 * radius * v / (4 * residual * chi * bar_o),
            "A_Q": alpha**2 * radius * q / (4 * residual * chi * inner * bar_o * bar_k),
            "A_K": alpha**2 * radius * k / (4 * residual * chi * inner * bar_o * bar_q),
            "B": alpha**3 / (8 * residual * chi**2 * bar_o * (1 + inner**2 * (bar_q**2 + bar_k**2))),
        }
        assert {name: float(value[run]) for name, value in found.items()} == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("radius", [0, sp.Rational(1, 2), 1])
def test_powers_of_the_samples_are_those_of_orthogonal_samples(radius):
    """One token of one size along each axis, so no norm depends on n but that of W_O, and residuals of 1."""
    net, eye = Encoder(d=16, width=16), torch.eye(16, dtype=runs.DTYPE)

    def conditions(samples):
        out = torch.full((1, 16, 1), samples ** float(radius), dtype=runs.DTYPE)
        state = dict.fromkeys(("W_Q", "W_K", "W_V"), eye[None]) | {"W_O": out}
        inputs = eye[None, :samples, None]
        return bounds.conditions(state, inputs, model.forward(state, inputs, net) + 1, net)

    few, many = conditions(4), conditions(16)
    for init in model.INITS:
        powers = {name: float(power) for name, (_, power) in bounds.exponents(init, 0.5, radius).items()}
        assert {name: math.log(many[name] / few[name], 4) for name in powers} == pytest.approx(powers, abs=1e-9)


def test_all_conditions_hold_from_the_last_width_on():
    record = {"A_O": torch.tensor([[1.0, 9.0]]), "B": torch.tensor([[5.0, 2.0]]), "samples": (8,)}
    assert theorem.last_of(record).tolist() == [[5.0, 9.0]]


def test_scales_are_called_as_the_chapter_writes_them():
    gradient, symbols = theory.encoder_gradient(length=2, d=1, k=1)
    assert [str(symbols[name][0]) for name in ("r", "tau_0", "tau_1")] == ["r", "tau_0", "tau_1"]
    assert {"r", "tau_1"} < {str(each) for each in gradient["W_V"].free_symbols}


def test_the_curve_of_the_theorem():
    record = {
        "steps": torch.tensor([0.0, 1.0, 3.0], dtype=runs.DTYPE),
        "step": torch.tensor([0.1, 0.2], dtype=runs.DTYPE),
        "alpha": torch.tensor([2.0, 1.0], dtype=runs.DTYPE),
        "loss": torch.tensor([[5.0, 3.0], [3.0, 2.7], [2.048, 3.0]], dtype=runs.DTYPE),
    }
    curve = torch.tensor([[1.0, 1.0], [0.8, 0.9], [0.8**3, 0.9**3]], dtype=runs.DTYPE)
    assert torch.allclose(theorem.log_bound(record).exp(), curve)
    least = [math.log(2.048 / 5) / math.log(0.8**3), 0.0]
    assert theorem.rate_over_bound(record).tolist() == pytest.approx(least)
    record["loss"][1:] = torch.tensor([[math.inf, 3.0], [1e-25, math.nan]], dtype=runs.DTYPE)
    assert theorem.rate_over_bound(record).tolist() == [-1e6, -1e6]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("init, variance", [("lecun", 1.0), ("he", 2.0), ("ntk", None)])
def test_initial_weights_have_their_sizes(init, variance, hidden):
    net = Encoder(d=12, width=40, init=init, hidden=hidden)
    state = model.init(runs.streams(range(60), "draws"), net)
    fans = {"W_Q": 12, "W_K": 12, "W_V": 12, "W_O": 40} | ({"W_H": 40} if hidden else {})
    assert state.keys() == fans.keys()
    for name, rows in fans.items():
        known = variance / rows if variance else 1 / 40 if name == "W_H" else 1.0
        room = 4 * (2 / state[name].numel()) ** 0.5
        assert float(state[name].square().mean()) == pytest.approx(known, rel=room)


def test_a_he_net_is_a_lecun_net_of_twice_the_logits_and_the_output():
    inputs, nets = runs.normal(runs.streams((0, 1), "data"), 4, 3, 5), [Encoder(5, 7, init) for init in ("he", "lecun")]
    he, lecun = (model.init(runs.streams((0, 1), "draws"), net) for net in nets)
    twice = Encoder(5, 7, scaling=0.5 - math.log(2, 7))
    assert torch.allclose(model.forward(he, inputs, nets[0]), 2 * model.forward(lecun, inputs, twice))
    assert (left(trained((0, 1), "cpu", init="he", width=64, steps=60, samples=6)) < 0.1).all()


@pytest.mark.parametrize(
    "init, scaling, known",
    [
        ("lecun", 0.5, {"W_O": -0.5, "W_V": -1.5, "W_Q": -1.5, "attention": -1.0, "kernel": -1.0, "share": -1.0}),
        ("lecun", 1.0, {"W_O": -0.5, "W_V": -1.5, "W_Q": -2.0, "attention": -2.0, "kernel": -2.0, "share": -2.0}),
        ("ntk", 0.5, {"W_O": -0.5, "W_V": -0.5, "W_Q": -0.5, "attention": 0.0, "kernel": 0.0, "share": 0.0}),
        ("ntk", 0.75, {"kernel": -0.5, "growth": -0.5}),
        (
            "ntk",
            1.0,
            {"W_O": -0.5, "W_V": -0.5, "W_Q": -1.0, "attention": -1.0, "kernel": -0.5, "growth": -1.0, "share": -1.0},
        ),
    ],
)
def test_movements_counted_by_hand(init, scaling, known):
    found = theory.movement(init, scaling)
    assert {name: float(found[name]) for name in known} == known


@pytest.mark.parametrize(
    "options",
    [{"d": 3}, {"width": 3}, {"hidden": True}, {"width": 5}, {"d": 1}, {"length": 3}, {"hidden": True, "width": 3}],
    ids=str,
)
def test_counts_are_complete(options):
    assert balancing.most_laws(**options) == balancing.known_laws(
        **{"d": 2, "width": 2} | {name: value for name, value in options.items() if name != "length"}
    )


def test_one_token_leaves_more_laws():
    """Attention to one token is a constant, so nothing moves queries and keys."""
    assert balancing.most_laws(length=1) > balancing.known_laws(2, 2)


def test_pairs_share_their_mean_and_digits_are_centred():
    inputs, labels = task.pairs(runs.streams([0], "draws"), 6, 4, 5)
    means = inputs.mean(dim=2)
    assert torch.allclose(means[:, ::2], means[:, 1::2]) and not torch.allclose(inputs[:, 0], inputs[:, 1])
    assert labels.tolist() == [[1.0, -1.0] * 3]
    inputs, labels = task.digits(runs.streams([0], "draws"), 40, std=0.5)
    assert inputs.shape == (1, 40, 16, 4) and set(labels.flatten().tolist()) == {1.0, -1.0}
    assert float(inputs.square().mean()) == pytest.approx(0.25, rel=0.1)


def test_expected_pull_is_that_of_neurons_that_move_to_first_order():
    """The slow twin moves many neurons by the first-order shift of the side on which they start, and counts."""
    net = Encoder(d=4, width=10_000, init="ntk", scaling=1.0)
    means = runs.normal(runs.streams([0], "data"), 4, 4)
    value, out = (
        runs.normal(runs.streams([0], name), rows, 1_000_000) for name, rows in (("weights", 4), ("output", 1))
    )
    # Each neuron with both signs of its output weight: their difference is noise of a larger order.
    start, out = {"W_V": value.repeat(1, 1, 2)}, torch.cat([out, -out], dim=2)[0]
    before, gram = (means @ start["W_V"])[0], (means @ means.mT)[0]
    # The impulse of labels of both signs: large enough for the samples to push against each other.
    impulse = torch.linalg.solve(gram, torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=runs.DTYPE))[None]
    active = (before > 0).to(runs.DTYPE)
    after = before - out * ((gram * impulse) @ active) / net.width**0.5
    taken = ((active - (after > 0).to(runs.DTYPE)) * out.square()).mean(dim=1) @ gram.diagonal()
    known = flips.expected_pull(net, means[:, :, None], start, impulse)
    assert float(known) == pytest.approx(float(taken), rel=0.1) and float(taken) > 0
    alone = flips.expected_pull(net, means[:, :1, None], start, impulse[:, :1])
    assert float(alone) == pytest.approx(float(gram[0, 0] ** 1.5 * impulse[0, 0].abs()) / math.pi / 100)


def test_a_fitted_sum_of_powers_forecasts_the_last_width():
    widths, noise = 2.0 ** np.arange(7, 13), np.array([-1.0, 1.0, -2.0, 2.0])
    law = 30 / widths - 0.4 / np.sqrt(widths)
    values = law[:, None] + np.outer(0.1 / widths, noise)
    assert flips.fitted(widths, values, (-1, -0.5)) == pytest.approx([30, -0.4])
    values[-1] += 0.01
    assert flips.foretold(widths, values, (-1, -0.5)) == pytest.approx(-0.01)
    assert flips.local_slopes(widths, widths[:, None] ** -0.5) == pytest.approx(-0.5)
    low, high = flips.interval(values, lambda drawn: drawn.mean(axis=1))
    assert (low < values.mean(axis=1)).all() and (values.mean(axis=1) < high).all()
    assert (high - low)[0] == pytest.approx(2 * 1.96 * values[0].std() / 2, rel=0.15)


def test_the_boundary_is_where_both_parts_of_the_change_meet_the_edge():
    widths, scalings = np.array([256.0, 512.0, 1024.0]), np.array([0.5, 0.75, 1.0])
    change = 0.3 * widths ** (1 - 2 * scalings[:, None]) + 2 / widths**0.5 - 14 / widths
    found = lazy.boundary(change, scalings, widths, widths, edge=0.1)
    half = change[0, -1]
    assert half * widths ** (1 - 2 * found) + change[2] - half / widths == pytest.approx(0.1)


def test_first_width_of_a_power_law():
    ratios = torch.tensor([[1e-3, 1.0], [1e-2, 0.1], [1e-1, 0.01]], dtype=runs.DTYPE)
    assert curves.power_crossing((10, 100, 1000), ratios).tolist() == pytest.approx([1e4, math.inf])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: model.field(zeros(1, 2, 3, 5), zeros(1, 2), NET), "where d = 4"),
        (
            lambda: model.forward(model.init(runs.streams([0], "w"), NET), zeros(1, 2, 3, 4), WIDER),
            "where d = 4 and k = 7",
        ),
        (
            lambda: model.forward(model.init(runs.streams([0], "w"), NET), zeros(1, 2, 3, 4), HIDDEN),
            "the entries W_Q, W_K, W_V, W_O, W_H",
        ),
        (
            lambda: pairs.training(HIDDEN, zeros(1, 2, 3, 4), zeros(1, 2), dict.fromkeys(model.SHAPES)),
            "state['W_Q'] = None",
        ),
        (lambda: Encoder(hidden="no"), "hidden = 'no'"),
        (lambda: bounds.conditions(*zero(HIDDEN), HIDDEN), "without a hidden matrix"),
        (lambda: kernel.empirical(*zero(NET)[:2], NET, {"W_Q": 2.0, "W_K": 1.0}), "rates['W_K'] = 1.0"),
        (lambda: kernel.empirical(*zero(NET)[:2], NET, {"W_X": 2.0}), "rates = {'W_X': 2.0}"),
        (lambda: pairs.conditioning(NET, *zero(NET)[1:], zero(NET)[0]), "largest eigenvalue 0"),
        (lambda: lazy.moves(NET, zeros(1, 2, 1, 4), zeros(1, 2), zero(NET)[0]), "length = 1"),
        (lambda: flips.flipped(NET, *same(NET)), "does not tell apart"),
        (lambda: limits.counted_share(zeros(1, 2, 3, 4)), "means are zero"),
        (lambda: limits.forecast(NET, *zero(NET)[1:], zero(NET)[0]), "NTK initialisation"),
        (lambda: theory.law_holds(), "a list with at least 1 entry"),
        (lambda: theory.variance_at(0.999999, 3), "level = 0.999999"),
        (
            lambda: theory.balance_expressions(dict.fromkeys(model.SHAPES, sp.eye(2)), dict.fromkeys(model.SHAPES, 1)),
            "W_O (k, 1)",
        ),
        (lambda: flips.fitted([1.0, 2.0], np.ones((2, 3)), (-1,)), "differ at each width"),
        (lambda: flips.fitted([1.0, 2.0], np.eye(2), (-1, -1)), "powers = (-1, -1)"),
        (lambda: flips.local_slopes([1.0, 2.0], np.eye(2)), "positive, all of them"),
        (
            lambda: flips.local_slopes([1.0, 2.0], np.ones((3, 1))),
            "values = an array of float64 entries and shape (3, 1)",
        ),
        (lambda: lazy.boundary(np.ones((2, 2)), (0.5, 0.75), (1, 2), (1.5,)), "a list with 0.5 and 1.0"),
        (lambda: lazy.boundary(np.ones((2, 2)), (0.5, 1.0), (1, 2), (3.0,)), "within the widths"),
        (lambda: lazy.boundary(np.ones((2, 2)), (0.5, 1.0), (1, 2), (1.5,)), "more than a/k"),
        (lambda: bounds.crowding([4, 4], 16), "two or more that differ"),
        (lambda: task.digits(runs.streams([0], "w"), 4, classes=(3, 3)), "two different digits"),
        (lambda: bounds.exponents("xavier", 1.0), "lecun, he, ntk"),
        (lambda: theory.deficit(1.0, 1), "length = 1"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


def test_a_ring_marks_the_cells_whose_verdict_flips_within_their_band():
    """Three chaotic cells: one that interpolates at one end of its band, one that does at both, and one that does at none."""
    (table,) = theorem.SWEEPS
    shape = tuple(map(len, table.axes.values()))
    arrays = {"left": np.full((*shape, 6), 0.5)}
    low, high = ({"left": np.full((*shape, 6), np.nan)} for _ in range(2))
    sensitivities = np.zeros(shape)
    for width, ends in ((1, (1e-3, 0.9)), (2, (1e-4, 2e-3)), (3, (0.1, 0.9))):
        sensitivities[3, width] = 0.5
        low["left"][3, width], high["left"][3, width] = ends
    figure = maps.hero_figure({}, sensitivity.Kept(table, arrays, sensitivities, low, high))
    (rings,) = [drawn for drawn in figure.axes[1].collections if drawn.get_label().startswith("either")]
    plt.close(figure)
    assert rings.get_offsets().tolist() == [[table.axes["samples"][3], table.axes["width"][1]]]


def test_the_proof_stands_at_its_own_numbers_of_samples_above_a_finer_table():
    (table,) = theorem.SWEEPS
    left = np.full((*map(len, table.axes.values()), 6), 0.5)
    known = sensitivity.Kept(table, {"left": left}, np.zeros(left.shape[:2]), {"left": left}, {"left": left})
    record = {"B": torch.tensor([[1e7], [1e9]], dtype=runs.DTYPE), "samples": (8, 64)}
    above, below, *_ = maps.hero_figure({0.5: record}, known).axes
    (line,) = above.get_lines()
    plt.close("all")
    assert line.get_xdata().tolist() == [8, 64] and line.get_ydata() == pytest.approx([1e7, 1e9])
    assert len(below.collections[0].get_offsets()) == left[..., 0].size


def test_the_map_of_scaling_and_width_has_few_numbers_at_its_axis():
    (table,) = [one for one in lazy.SWEEPS if one.name == "encoder-phase"]
    scalings, widths = (np.array(table.axes[name]) for name in ("scaling", "width"))
    change = (0.5 * widths ** (1 - 2 * scalings[:, None]) + 2 / widths)[..., None]
    figure = maps.phase_figure({"change": change, "deficit": change}, table.axes)
    panel = figure.axes[1]
    plt.close(figure)
    assert panel.xaxis.get_majorticklocs().tolist() == [32, 128, 512, 2048]
    for word, scaling in maps.KERNEL.items():
        (text,) = [one for one in panel.texts if one.get_text() == word]
        assert text.get_position() == (2048, scaling) and text.get_ha() == "right"


def test_a_run_that_diverges_ends_without_an_error():
    net, inputs, labels, start = drawn((0, 1), "cpu", **SMALL)
    loss, _ = model.field(inputs, labels, net)({name: 1e200 * value for name, value in start.items()})
    assert not loss.isfinite().any()
