"""Chapter 5, particles: the depth ODE, the adjoint, the first variation, the equation of the measure, and the dissipation."""

import pytest
import sympy as sp
import torch

from attnflow import flow, runs
from attnflow.meanfield import dissipation, model, nets, particles, setting, theory, variation

SMALL = {"samples": 3, "length": 4, "m": 3, "depth": 2}
CASES = [{}, {"k": 2, "activation": "relu"}, {"parts": ("neurons",)}, {"parts": ("attention",), "data": "digits"}]
CPU = torch.device("cpu")


def place_by_place(case, seeds=(0, 1)):
    """A small setting, its tokens and its adjoint at every place."""
    net, inputs, targets, state = setting.drawn(seeds, CPU, **SMALL | case)
    tokens = variation.path(state, inputs, net)
    return net, inputs, targets, state, tokens, variation.adjoint(state, tokens, targets, net)


@pytest.mark.parametrize("case", CASES)
def test_the_path_of_equal_masses_is_that_of_the_net(case):
    net, inputs, targets, state, tokens, _ = place_by_place(case)
    assert torch.allclose(tokens[:: len(net.parts)], model.forward(state, inputs, net).transpose(0, 1), atol=1e-14)
    even = variation.even(state, net)
    found = variation.weighted_objective(state, even, inputs, targets, net, 0.3)
    assert torch.allclose(found, model.objective(state, inputs, targets, net, 0.3), rtol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_the_adjoint_is_the_slope_of_a_sample_by_its_tokens(case):
    net, inputs, targets, state, tokens, back = place_by_place(case)
    branches = variation.branches(net)
    for place in range(len(branches) + 1):
        stream = here = tokens[place].clone().requires_grad_()
        for layer, part in branches[place:]:
            stream = stream + variation.force(variation.particles(state, layer, part), stream, net).mean(1) / net.depth
        total = (stream[:, :, -1, net.slot] - targets).square().sum() / 2
        assert torch.allclose(back[place], torch.autograd.grad(total, here)[0], atol=1e-13)
    assert back[0].abs().max() > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_slopes_of_the_first_variation_are_minus_the_velocity(case):
    net, inputs, targets, state, *_ = place_by_place(case)
    fast = model.field(inputs, targets, net, 0.3)(state)[1]
    for name, value in variation.slopes(state, inputs, targets, net, 0.3).items():
        assert torch.allclose(value, fast[name], atol=1e-13), name
    wrong = variation.slopes(state, inputs, targets, net, 0.3, after=False)
    assert any((wrong[name] - fast[name]).abs().max() > 1e-3 for name in wrong)


def test_the_first_variation_token_by_token():
    net, inputs, targets, state, tokens, back = place_by_place({"k": 2})
    head, neuron = (variation.particles(state, 1, part) for part in net.parts)
    query, key, value, out = (head[name][1, 2] for name in model.HEADS)
    total = 0.0
    for sequence, slope in zip(tokens[2][1], back[3][1], strict=True):
        share = torch.softmax(sequence @ query @ (sequence @ key).T / 2**0.5, dim=1)
        total += float((slope * (share @ sequence @ value @ out)).sum()) / len(tokens[2][1])
    size = sum(float(each.square().sum()) for each in (query, key, value, out))
    found = variation.first_variation(head, tokens[2], back[3], net, 0.4)[1, 2]
    assert float(found) == pytest.approx(total + 0.2 * size, rel=1e-12)
    incoming, bias, outgoing = (neuron[name][0, 1] for name in nets.NEURONS)
    total = sum(
        float(slope @ outgoing * torch.tanh(token @ incoming + bias))
        for sequence, slopes in zip(tokens[3][0], back[4][0], strict=True)
        for token, slope in zip(sequence, slopes, strict=True)
    )
    assert float(variation.first_variation(neuron, tokens[3], back[4], net)[0, 1]) == pytest.approx(
        total / 3, rel=1e-12
    )


def test_what_carries_the_adjoint_is_the_slope_of_every_particle():
    net, _, _, state, tokens, back = place_by_place({"k": 2})
    for layer, part in variation.branches(net)[:2]:
        theta = variation.particles(state, layer, part)
        for which in range(net.m):
            here = tokens[0].clone().requires_grad_()
            total = (back[1] * variation.force(theta, here, net)[:, which]).sum()
            slow = torch.autograd.grad(total, here)[0]
            assert torch.allclose(variation.pulled(theta, tokens[0], back[1], net)[:, which], slow, atol=1e-13)


def test_the_worth_of_a_mass_is_a_difference_of_objectives():
    net, inputs, targets, state, tokens, back = place_by_place({})
    more = model.init(runs.streams((5, 6), "more"), model.Net(m=1), 1.0)
    wide = {name: torch.cat([value, more[name]], dim=2) for name, value in state.items()}
    masses = {
        part: torch.cat([each, each.new_zeros(2, 2, 1)], dim=2) for part, each in variation.even(state, net).items()
    }
    for place, (layer, part) in enumerate(variation.branches(net)):
        found = []
        for grain in (1e-5, -1e-5):
            heavier = {name: each.clone() for name, each in masses.items()}
            heavier[part][:, layer, -1] += grain
            found.append(variation.weighted_objective(wide, heavier, inputs, targets, net, 0.1))
        theta = variation.particles(wide, layer, part)
        known = variation.first_variation(theta, tokens[place], back[place + 1], net, 0.1)[:, -1]
        assert torch.allclose((found[0] - found[1]) / 2e-5 * net.depth, known, rtol=1e-7)


def test_identities_hold_and_their_opposites_do_not():
    for read, wrong in ((particles.by_mass, {"penalty": False}), (particles.by_particle, {"after": False})):
        settings = {"samples": 2} | ({"shapes": ((1, 2), (3, 1))} if read is particles.by_particle else {"depth": 3})
        assert read((0, 1), CPU, **settings)["gap"].max() < 1e-14
        assert read((0, 1), CPU, **settings, **wrong)["gap"].min() > 1e-2


def test_blocks_approach_the_depth_ode():
    record = particles.depth_error((0, 1), CPU, depths=(4, 8), reference=16, **{"m": 3, "samples": 2})
    assert (record["error"][0] / record["error"][1]).tolist() == pytest.approx([2, 2], rel=0.1)
    finer = particles.depth_error((0, 1), CPU, depths=(8,), reference=32, **{"m": 3, "samples": 2})
    assert torch.allclose(finer["error"][0], record["error"][1], rtol=1e-5) and record["steps"] == [1 / 4, 1 / 8]


def test_the_slope_of_the_objective_along_the_flow_is_a_difference():
    record = dissipation.dissipation((0, 1), CPU, times=(0.0,), **SMALL)
    net, inputs, targets, state = setting.drawn((0, 1), CPU, **SMALL)
    slope = model.field(inputs, targets, net, 0.1)(state)[1]
    moved = [flow.steppers.move(state, slope, torch.full((2,), size, dtype=torch.float64)) for size in (1e-5, -1e-5)]
    loss = [model.objective(one, inputs, targets, net, 0.1) for one in moved]
    lost = dissipation.losing(inputs, targets, net, 0.1)(state)["lost"]
    assert torch.allclose((loss[1] - loss[0]) / 2e-5, lost, rtol=1e-7)
    assert torch.allclose(record["ratio"][0], torch.ones(2, dtype=runs.DTYPE)) and record["share"].tolist() == [1, 1]


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_without_the_factor_the_pull_of_the_decay_is_what_is_left(decay):
    r"""The ratio is $1/Jm + (1 - 1/Jm)\lambda\langle\theta, \nabla V\rangle/|\nabla V|^2$."""
    settings = SMALL | {"decay": decay, "times": (0.0,)}
    found = dissipation.dissipation((0, 1), CPU, scaling="plain rate", **settings)
    net, inputs, targets, state = setting.drawn((0, 1), CPU, **SMALL)
    slopes = variation.slopes(state, inputs, targets, net, decay)
    pull = variation.inner_product(slopes, state, net) / variation.inner_product(slopes, slopes, net)
    assert found["share"].tolist() == pytest.approx([1 / 6, 1 / 6])
    assert torch.allclose(found["ratio"][0], 1 / 6 + 5 / 6 * decay * pull)
    assert (dissipation.furthest(found) == found["ratio"][0]).all()


def test_the_observable_is_the_quarter_of_a_fourth_power():
    net, inputs, targets, state = setting.drawn((0, 1), CPU, **SMALL)
    known = dissipation.losing(inputs, targets, net, 0.1)(state)

    def observable(each):
        heads = sum(each[name].square().flatten(3).sum(3) for name in model.HEADS)
        neurons = each["w_1"].square().sum(3) + each["b"].square() + each["w_2"].square().sum(3)
        return (heads.square() + neurons.square()).mean(dim=(1, 2)) / 4

    climb, slopes = flow.autograd(observable)(state)[1], variation.slopes(state, inputs, targets, net, 0.1)
    assert torch.allclose(known["seen"], observable(state))
    slow = -sum((climb[name] * slopes[name]).flatten(1).sum(1) for name in state)
    assert torch.allclose(known["moved"], slow)


def test_the_books_of_a_path_balance_at_fourth_order():
    sheet = dissipation.balance_sheet((0, 1), CPU, steps=(0.1, 0.05), time=0.2, **SMALL)
    for name in ("lost", "seen"):
        assert (sheet[name][0] / sheet[name][1]).tolist() == pytest.approx([16, 16], rel=0.35), name
    wrong = dissipation.balance_sheet((0, 1), CPU, steps=(0.1, 0.05), time=0.2, method=flow.Descent(), **SMALL)
    assert (wrong["lost"][0] / wrong["lost"][1]).tolist() == pytest.approx([2, 2], rel=0.1)


def test_derivations_by_sympy():
    assert theory.adjoint_holds() and not theory.adjoint_holds(transposed=False)
    assert theory.transport_holds() and not theory.transport_holds(conserves=False)


@pytest.mark.parametrize("part", model.PARTS)
def test_derived_slopes_are_those_of_autograd(part):
    assert theory.agreement((part,), points=2) < 1e-12
    assert (theory.agreement((part,), complete=False, points=1) > 1e-3) == (part == "attention")


def test_the_free_slope_by_the_scores_contains_that_of_softmax():
    free, names = theory.head_variation(k=1, free=True)
    softmax, known = theory.head_variation(k=1)
    by_scores = theory.symbolic.softmax_slope(known["S"], known["P"] * known["W_O"].T * (known["X"] * known["W_V"]).T)
    put = dict(zip(names["Z"], by_scores, strict=True))
    assert all(theory.symbolic_zero(free[name].xreplace(put) - softmax[name]) for name in softmax)
    assert "Z" not in known and sp.Symbol("Z_11", real=True) in free["W_Q"].free_symbols
