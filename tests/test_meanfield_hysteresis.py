"""Chapter 5, the collapse of attention alone: one head by hand, its thresholds, the ceiling, and the scan."""

import math

import numpy as np
import pytest
import sympy as sp
import torch

from attnflow import runs, sweep
from attnflow.meanfield import band, ceiling, model, onehead, scalar, scan, setting, task

CPU = torch.device("cpu")


def drawn(seed, samples=8, length=4):
    inputs, targets = task.regression(runs.streams((seed,), "data"), samples, length)
    return inputs[0].numpy(), targets[0].numpy()


def placed(point, net, head=(0, 0)):
    """A state of a net whose only head is a point of the one-head model."""
    state = {name: torch.zeros(1, *shape, dtype=runs.DTYPE) for name, shape in net.shapes.items()}
    value, out, query, key = torch.as_tensor(point * math.sqrt(net.depth * net.m)).split([net.d, 1, net.d, net.d])
    for name, entry in (("W_V", value), ("W_Q", query), ("W_K", key)):
        state[name][0, *head, :, 0] = entry
    state["W_O"][0, *head, 0, net.slot] = out[0]
    return state


@pytest.mark.parametrize("depth, m, head", [(1, 1, (0, 0)), (1, 3, (0, 2)), (2, 2, (1, 1)), (3, 1, (0, 0))])
def test_one_head_is_the_whole_model_with_one_head_left(depth, m, head):
    tokens, targets = drawn(0)
    point = np.random.default_rng(1).normal(size=10) / 2
    net = model.Net(depth=depth, m=m, parts=("attention",))
    inputs, wanted = torch.as_tensor(tokens)[None], torch.as_tensor(targets)[None]
    state = placed(point, net, head)
    assert np.allclose(onehead.outputs(point, tokens, depth * m), model.outputs(state, inputs, net)[0], atol=1e-13)
    one = onehead.risk(point, tokens, targets, depth * m)[0] + 0.3 * point @ point / 2
    assert math.isclose(one, float(model.objective(state, inputs, wanted, net, 0.3)), rel_tol=1e-12)


def test_the_gradient_by_hand_is_that_of_differences():
    tokens, targets = drawn(2)
    point, step = np.random.default_rng(3).normal(size=10) / 2, 1e-6
    slope = [
        (onehead.risk(point + move, tokens, targets, 4)[0] - onehead.risk(point - move, tokens, targets, 4)[0])
        / 2
        / step
        for move in step * np.eye(10)
    ]
    assert np.allclose(onehead.risk(point, tokens, targets, 4)[1], slope, atol=1e-8)


def test_thresholds_are_the_stability_of_zero():
    tokens, targets = drawn(4)
    found = onehead.thresholds(tokens, targets)
    inputs, wanted = torch.as_tensor(tokens)[None], torch.as_tensor(targets)[None]
    for part, name in (("attention", "attention"), ("neurons", "neurons")):
        net = model.Net(depth=1, m=1, parts=(part,))
        shapes = net.shapes

        def risk(flat, net=net, shapes=shapes):
            parts = flat.split([math.prod(shape) for shape in shapes.values()])
            state = {one: each.view(1, *shape) for (one, shape), each in zip(shapes.items(), parts, strict=True)}
            return model.risk(state, inputs, wanted, net)[0]

        size = sum(math.prod(shape) for shape in shapes.values())
        hessian = torch.autograd.functional.hessian(risk, torch.zeros(size, dtype=runs.DTYPE))
        assert math.isclose(found[name], -float(torch.linalg.eigvalsh(hessian)[0]), rel_tol=1e-10)


@pytest.mark.parametrize("seed, count", [(1, 2), (0, 1)])
def test_a_fold_is_stationary_and_at_the_greatest_decay(seed, count):
    tokens, targets = drawn(seed)
    fold = onehead.end(tokens, targets, count)
    point = math.sqrt(2 * fold["size"]) * fold["unit"]
    slope = onehead.risk(point, tokens, targets, count)[1] + fold["decay"] * point
    assert np.abs(slope).max() < 1e-5
    assert max(row["decay"] for row in onehead.branch(tokens, targets, count)) <= fold["decay"]


def test_hysteresis_of_a_set_with_and_one_without_a_band():
    some, none = (band.hysteresis(*drawn(seed), depth=1, heads=2) for seed in (1, 0))
    assert some["band"] and some["lambda_c"] < some["lambda_end"] < some["lambda_inf"] and some["output"] > 0
    assert not none["band"] and none["lambda_end"] == none["lambda_c"] < none["lambda_inf"] and none["output"] == 0
    deeper = band.hysteresis(*map(torch.as_tensor, drawn(1)), depth=2, heads=1)
    assert deeper == some


@pytest.mark.parametrize("change", ["asked", "shape", "targets", "depth", "heads", "finite", "list", "zero"])
def test_hysteresis_refuses(change):
    tokens, targets = drawn(0)
    known = {"depth": 1, "heads": 1}
    if change == "asked":
        tokens[0, -1, 1] = 1.0
    if change == "finite":
        tokens[0, 0, 0] = np.nan
    given = {"shape": (tokens[0], targets), "targets": (tokens, targets[1:]), "list": (tokens.tolist(), targets)}
    given["zero"] = (tokens, 0 * targets)
    if change in known:
        known[change] = 0
    with pytest.raises(runs.WrongUse):
        band.hysteresis(*given.get(change, (tokens, targets)), **known)


def test_the_ceiling_is_above_what_is_drawn_at_random_and_is_reached():
    tokens, targets = drawn(5)
    height, query, key = onehead.ceiling(tokens, targets)
    seen = onehead.pooled(tokens, query, key)
    assert math.isclose(np.linalg.norm(targets @ seen) / len(targets), height, rel_tol=1e-12)
    pairs = 5 * np.random.default_rng(9).normal(size=(2, 2000, 3))
    others = np.linalg.norm(targets @ onehead.pooled(tokens, *pairs), axis=1) / len(targets)
    assert others.max() <= height and onehead.thresholds(tokens, targets)["attention"] < height
    alone = [onehead.pooled(tokens, *pair) for pair in pairs[:, :5].swapaxes(0, 1)]
    assert np.allclose(onehead.pooled(tokens, *pairs[:, :5]), alone)


def test_concentration_begins_at_its_width():
    tokens, targets = drawn(1)
    decay = ceiling.between(tokens, targets, 0.5)
    found = ceiling.concentration(tokens, targets, decay)
    inputs, wanted = torch.as_tensor(tokens)[None], torch.as_tensor(targets)[None]
    drops = []
    for m in (math.floor(found["count"]), math.ceil(found["count"])):
        scale = math.sqrt(found["mass"]), 1 / math.sqrt(m)
        point = np.concatenate(
            [scale[0] * found["value"], [scale[0]], scale[1] * found["query"], scale[1] * found["key"]]
        )
        net = model.Net(depth=1, m=m, parts=("attention",))
        drops.append(
            float(wanted.square().mean() / 2 - model.objective(placed(point, net), inputs, wanted, net, decay))
        )
    assert drops[0] <= 0 <= drops[1] < found["drop"]
    with pytest.raises(runs.WrongUse):
        ceiling.concentration(tokens, targets, 2 * onehead.ceiling(tokens, targets)[0])


def test_the_lasso_is_the_minimum():
    tokens, targets = drawn(1)
    critical = onehead.thresholds(tokens, targets)["attention"]
    assert not ceiling.lasso(tokens, targets, critical).any()
    best = ceiling.lasso(tokens, targets, critical / 2)

    def value(weight):
        return np.mean((tokens.mean(axis=1) @ weight - targets) ** 2) / 2 + critical / 2 * np.linalg.norm(weight)

    others = best + 1e-3 * np.random.default_rng(0).normal(size=(50, 3))
    assert all(value(best) < value(each) for each in others)


def test_the_scalar_model():
    place, end = scalar.fold()
    assert place == scalar.TARGET / 3
    known = {scalar.COUNT: 4, scalar.GAIN: 0.7, scalar.TARGET: 1.3}
    output = np.linspace(1e-3, 1.3, 20001)
    highest = ((1.3 - output) * np.sqrt(4 * 0.7 * output)).max()
    assert math.isclose(end.subs(known), highest, rel_tol=1e-6)
    assert scalar.upper_holds() and not scalar.upper_holds(gained=False)
    assert scalar.conditions_hold() and not scalar.conditions_hold(above=3)
    assert not scalar.conditions_hold(anywhere=sp.Rational(27, 4))


def test_the_closed_formula_is_exact_where_softmax_is_linear():
    """Tiny tokens under a large N: the fold of the one-head model with a softmax that is linear, without a mean path."""
    generator = np.random.default_rng(0)
    tokens = generator.normal(size=(6, 4, 3))
    tokens -= tokens.mean(axis=1, keepdims=True)
    tokens[:, -1, 1] = 0
    spread = tokens - tokens.mean(axis=1, keepdims=True)
    cover = spread.swapaxes(1, 2) @ spread / 4
    three = generator.normal(size=(3, 3))
    value, key, query = three / np.linalg.norm(three, axis=1, keepdims=True)
    response = cover @ key @ value * (tokens[:, -1] @ query)
    targets = 2 * response
    single = 2 / math.sqrt(27) * abs(np.mean(targets * response)) ** 1.5 / math.sqrt(np.mean(response**2))
    assert onehead.closed(tokens, targets, 4) >= 2 * single * (1 - 1e-6)
    assert math.isclose(onehead.closed(tokens, targets, 4), 2 * onehead.closed(tokens, targets, 1), rel_tol=1e-12)


def test_a_scan_finds_the_ends_of_a_band(monkeypatch):
    monkeypatch.setattr(scan, "PATIENCE", 4)
    monkeypatch.setattr(scan, "FIRST", 1.0)
    monkeypatch.setattr(scan, "DOWN", (1.1, 0.9))
    inputs, targets = (torch.as_tensor(each)[None] for each in drawn(1))
    net = model.Net(depth=1, m=1, parts=("attention",))
    critical = inputs.new_tensor([onehead.thresholds(inputs[0], targets[0])["attention"]])
    start, nudges = (model.init(runs.streams((1,), name), net, scale) for name, scale in scan.DRAWN)
    found = scan.scanned(inputs, targets, critical, start, nudges, net)
    found = {name: float(each / critical) for name, each in found.items()}
    assert found["leaves"] == pytest.approx(0.9) and found["stays"] == pytest.approx(1.1)
    end = onehead.end(*drawn(1), 1)["decay"] / float(critical)
    assert found["stands"] * 0.99 < end < found["falls"] * 1.01
    assert found["falls"] == pytest.approx(scan.FINE * found["stands"])


def test_next_to_its_threshold_zero_lets_a_nudge_go_and_draws_it_in(monkeypatch):
    """Most directions of a nudge shrink before the one that grows is seen: none of these runs may be given up by then."""
    monkeypatch.setattr(scan, "DOWN", (1.01, 0.99))
    seeds = runs.replicas((5, 9), 2)
    net, *data, _ = setting.drawn((5, 9), CPU, depth=1, m=1, parts=("attention",))
    inputs, targets = (each.repeat_interleave(2, dim=0) for each in data)
    critical = inputs.new_tensor([onehead.thresholds(*each)["attention"] for each in zip(inputs, targets, strict=True)])
    nudges = model.init(runs.streams(seeds, "nudge"), net, scan.NUDGE)

    def field_of(rows, decay):
        return model.field(inputs[rows], targets[rows], net, decay)

    stays, leaves = scan.downwards(field_of, nudges, critical, net)
    assert torch.allclose(stays, 1.01 * critical) and torch.allclose(leaves, 0.99 * critical)


def test_in_the_stored_scan_zero_turns_at_its_threshold():
    stored = sweep.kept("meanfield-hysteresis")[0]
    assert np.allclose(stored["stays"], 1.01) and np.allclose(stored["leaves"], 0.99)


def test_the_table_has_its_shapes_in_turn():
    assert [scan.shape(seed) for seed in (0, 9, 10, 20, 39, 40)] == [(1, 1), (1, 1), (1, 2), (1, 4), (2, 2), (1, 1)]
