"""Chapter 5, the limit and other scalings: slow twins of cut nets, integrals by hand, errors of tests, what is refused."""

import math

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import flow, runs
from attnflow.meanfield import chaos, figures_limit, limit, model, power, scalings, setting

CPU = torch.device("cpu")
SMALL = {"samples": 2, "length": 2, "scale": 0.5}


@pytest.mark.parametrize("tied", [False, True])
def test_replicas_are_pieces_of_one_wide_net_on_the_data_of_their_seed(tied):
    net, inputs, targets, state = limit.tiled((3, 5), CPU, 3, tied=tied, m=2, depth=2)
    wide, data, answers, drawn = setting.drawn((3, 5), CPU, scale=0.5, tied=tied, m=6, depth=2)
    assert net.m == 2 and wide.m == 6
    for run in range(6):
        seed, copy = divmod(run, 3)
        assert torch.equal(inputs[run], data[seed]) and torch.equal(targets[run], answers[seed])
        for name, value in state.items():
            assert torch.equal(value[run], drawn[name][seed, :, 2 * copy : 2 * copy + 2])


def test_training_in_stacks_is_training_one_by_one(monkeypatch):
    net, inputs, targets, state = limit.tiled((1, 2), CPU, 3, m=2, depth=3, samples=2, length=2)
    monkeypatch.setattr(limit, "CROWD", 24)  # four runs of six particles: the last stack is not full
    found = limit.train(net, inputs, targets, state, decay=0.2)
    for run in range(6):
        one = {name: value[run : run + 1].clone().requires_grad_() for name, value in state.items()}
        for _ in range(2):
            height = model.objective(one, inputs[run : run + 1], targets[run : run + 1], net, 0.2).sum()
            slopes = torch.autograd.grad(height, list(one.values()))
            one = {
                name: (value - 0.25 * net.depth * net.m * slope).detach().requires_grad_()
                for (name, value), slope in zip(one.items(), slopes, strict=True)
            }
        assert all(torch.allclose(found[name][run], one[name][0], rtol=1e-12, atol=1e-13) for name in found)


def test_a_spread_is_a_mean_of_variances():
    values = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 2.0]], dtype=runs.DTYPE)
    assert limit.spread(values, 2).tolist() == pytest.approx([math.sqrt((2 + 8) / 2), math.sqrt((0 + 2) / 2)])
    assert limit.spread(values[:, 0], 2).tolist() == pytest.approx([math.sqrt(2), 0.0])


@pytest.mark.parametrize("part", list(model.PARTS))
def test_the_constant_is_the_mean_over_particles_of_one_block(part):
    """Every particle of one very wide block by itself, whose writing weights are integrated out by hand."""
    net, inputs, _, state = limit.tiled((4,), CPU, 1, m=60_000, depth=1, parts=(part,), samples=2, length=3)
    tokens = inputs[0, :, -1]
    if part == "neurons":
        inner = tokens @ state["w_1"][0, 0].T + state["b"][0, 0]
        squares = 0.25 * torch.tanh(inner).square()
    else:
        scores = (tokens @ state["W_Q"][0, 0, :, :, 0].T)[:, :, None] * (inputs[0] @ state["W_K"][0, 0, :, :, 0].T).mT
        seen = torch.softmax(scores, dim=2) @ inputs[0]
        squares = seen.square().sum(dim=2) / 16
    found = float(limit.start_constant(inputs, net, 0.5))
    assert found == pytest.approx(float(squares.mean()), rel=5 * float(squares.std() / squares.mean()) / 60_000**0.5)
    assert abs(found / float(squares.mean()) - 1) < 0.02


def test_quadrature_has_converged(monkeypatch):
    net, inputs, _, _ = limit.tiled((4,), CPU, 1, samples=2, length=3)
    first = limit.start_constant(inputs, net, 0.5)
    monkeypatch.setattr(limit, "NODES", 18)
    assert torch.allclose(first, limit.start_constant(inputs, net, 0.5), rtol=1e-6)


def test_parts_add_up_in_the_constant():
    net, inputs, _, _ = limit.tiled((4,), CPU, 1, samples=2, length=3)
    alone = [limit.start_constant(inputs, model.Net(parts=(part,)), 0.5) for part in model.PARTS]
    assert torch.allclose(sum(alone), limit.start_constant(inputs, net, 0.5), rtol=1e-12)


def test_starts_are_root_mean_squares_of_outputs():
    found = limit.starts((0, 1), CPU, ((2, 3), (1, 4)), (4, 2), **SMALL)
    net, inputs, _, state = limit.tiled((0, 1), CPU, 2, depth=1, m=4, **SMALL)
    squares = model.outputs(state, inputs, net).square().view(2, 4).mean(dim=1)
    assert found["places"] == [6, 4] and torch.allclose(found["output"][1], squares.sqrt())
    assert torch.allclose(found["constant"], 4 * squares / limit.start_constant(inputs[::2], net, 0.5))


def test_trained_nets_by_hand():
    record = limit.trained((2,), CPU, ((2, 3),), (4,), decay=0.1, **SMALL)
    net, inputs, targets, state = limit.tiled((2,), CPU, 4, depth=2, m=3, **SMALL)
    end = flow.integrate(model.field(inputs, targets, net, 0.1), state, step=0.25, times=[0.5]).state
    moved = sum((end[name] - state[name]).square().sum() for name in state) / (4 * 6)
    heights = model.objective(end, inputs, targets, net, 0.1)
    assert float(record["movement"]) == pytest.approx(float(moved.sqrt()))
    assert float(record["objective"]) == pytest.approx(float(heights.std()))
    assert record["output"].tolist() == [limit.spread(model.outputs(end, inputs, net), 4).tolist()]


def test_readings():
    record = {"places": [1, 4], "output": torch.tensor([[1.0], [2.0]], dtype=runs.DTYPE)}
    assert limit.exponent("output")(record).tolist() == pytest.approx([0.5])
    assert limit.ratio("output")(record).tolist() == [2.0]


def test_coupled_nets_one_by_one():
    """A narrow net is a piece of the wide one: distance by two runs from that start."""
    settings = SMALL | {"depth": 2}
    record = chaos.coupling((1,), CPU, (2,), 4, copies=1, **settings)
    net, inputs, targets, state = setting.drawn((1,), CPU, m=4, **settings)

    def end(some, narrow):
        return flow.integrate(model.field(inputs, targets, narrow), some, step=0.25, times=[0.5]).state

    far, total = end(state, net), 0.0
    for first in (0, 2):
        near = end({name: value[:, :, first : first + 2] for name, value in state.items()}, model.Net(m=2))
        total += sum((near[name] - far[name][:, :, first : first + 2]).square().sum() for name in near)
    assert float(record["distance"]) == pytest.approx(float((total / 8).sqrt()))
    assert record["places"] == pytest.approx([1 / (1 / 4 - 1 / 8)])


def test_deeper_nets_by_hand():
    record = chaos.deepening((1,), CPU, (1, 2), m=2, copies=1, **SMALL)
    outputs = []
    for depth in (1, 2, 4):
        net, inputs, targets, state = limit.tiled((1,), CPU, 1, tied=True, depth=depth, m=2, **SMALL)
        outputs.append(model.outputs(limit.train(net, inputs, targets, state), inputs, net))
    assert record["steps"] == [1.0, 0.5]
    wanted = [float((one - two).square().mean().sqrt()) for one, two in zip(outputs, outputs[1:], strict=False)]
    assert record["error"][:, 0].tolist() == pytest.approx(wanted)


def test_movement_tokens_and_rate_by_hand():
    record = scalings.moved((1,), CPU, ((2, 2), (2, 4)), copies=1, **SMALL)
    net, inputs, targets, state = limit.tiled((1,), CPU, 1, depth=2, m=4, **SMALL)
    end = limit.train(net, inputs, targets, state)
    heads = sum((end[name] - state[name]).square().flatten(3).sum(dim=3) for name in model.HEADS)
    neurons = (
        sum((end[name] - state[name]).square().sum(dim=3) for name in ("w_1", "w_2")) + (end["b"] - state["b"]) ** 2
    )
    way = torch.cat([heads, neurons]).sqrt().log().mean().exp()
    assert float(record["movement"][1]) == pytest.approx(float(way))
    tokens = (model.forward(state, inputs, net)[:, -1] - inputs).square().mean().sqrt()
    assert float(record["tokens"][1]) == pytest.approx(float(tokens))
    before = model.risk(state, inputs, targets, net)
    _, slope = model.field(inputs, targets, net)(state)
    tiny = {name: state[name] - 1e-6 * slope[name] for name in state}
    fall = (before - model.risk(tiny, inputs, targets, net)) / 1e-6 / (2 * before)
    assert float(record["rate"][1]) == pytest.approx(float(fall), rel=1e-4)


def test_nets_of_one_depth_hold_the_same_particles():
    narrow = limit.tiled((1,), CPU, 4, depth=2, m=2, **SMALL)[3]
    wide = limit.tiled((1,), CPU, 2, depth=2, m=4, **SMALL)[3]
    assert all(torch.equal(limit.cut(wide, 2)[name], narrow[name]) for name in narrow)


def test_the_plain_rate_is_the_mean_field_on_a_slow_clock():
    """Jm times the time and the step: the same run."""
    net, inputs, targets, state = limit.tiled((1,), CPU, 2, depth=2, m=4, **SMALL)
    slow = model.Net(**vars(net) | {"scaling": "plain rate"})
    found = limit.train(slow, inputs, targets, state, time=4.0, step=2.0)
    known = limit.train(net, inputs, targets, state, time=0.5, step=0.25)
    assert all(torch.allclose(found[name], known[name], rtol=1e-12, atol=1e-14) for name in known)


def test_the_error_of_a_spread_is_that_of_a_chi_square():
    spreads = np.random.default_rng(0).standard_normal((40_000, 5)).std(axis=1, ddof=1)
    assert power.log_error(5) == pytest.approx(np.log(spreads).std(), rel=0.03)
    assert power.log_error(1000) == pytest.approx((2 * 999) ** -0.5, rel=1e-3)


def test_the_error_of_an_exponent_is_that_of_least_squares():
    places, copies = (1, 2, 8), (10, 20, 40)
    design = np.stack([np.ones(3), np.log(places)], axis=1)
    errors = np.diag([power.log_error(count) ** 2 for count in copies])
    inverse = np.linalg.pinv(design)
    assert power.slope_error(places, copies) == pytest.approx((inverse @ errors @ inverse.T)[1, 1] ** 0.5)


def test_a_test_of_one_place_of_a_law_without_noise():
    found = power.tests((0, 1), CPU, (1, 4), (4000, 4000), within=0.1, trials=20, power=-0.3)
    assert found["slope"].tolist() == [0.0, 0.0]
    assert power.tests((0,), CPU, (1, 4), (4000, 4000), within=0.1, trials=20)["band"].tolist() == [1.0]
    assert power.tests((0,), CPU, (1, 4), (4000, 4000), within=0.1, trials=20, power=0.0)["band"].tolist() == [0.0]


def test_laplace_draws_have_their_kurtosis():
    """The error of the logarithm of a spread is half the square root of (kurtosis - 1)/R: 6 for Laplace, 3 for a normal law."""
    found = power.tests((0,), CPU, (1, 4), (500, 500), within=0.1, trials=1000, draws="laplace")
    assert float(found["error"]) == pytest.approx(math.sqrt(5 / 500) / 2, rel=0.12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: limit.tiled((0,), CPU, 0), "copies = 0"),
        (lambda: limit.start_constant(torch.zeros(1, 1, 2, 3, dtype=runs.DTYPE), model.Net(k=2), 0.5), "k = 2"),
        (lambda: chaos.coupling((0,), CPU, (3,), 4), "a multiple of all widths"),
        (lambda: chaos.coupling((0,), CPU, (4,), 4), "a multiple of all widths"),
        (lambda: power.log_error(1), "copies = 1"),
        (lambda: power.passing((1, 2), (3, 3), 0.0), "within = 0.0"),
        (lambda: power.tests((0,), CPU, (1, 4), (4, 4), within=0.1, draws="cauchy"), "normal, laplace"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


def test_figures_are_drawn():
    for drawn in (
        figures_limit.spreads(depths=(1, 2), copies=4),
        figures_limit.tests(counts=(6, 12)),
        figures_limit.failures(widths=(2, 4), copies=4),
    ):
        assert all(axes.get_lines() for axes in drawn.axes)
