"""Chapter 5: closed forms against brute force on arguments that no chapter uses, and functions at the edges of what they take."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import refusal
from scipy import integrate, stats

from attnflow import flow, runs
from attnflow.meanfield import (
    balancing,
    band,
    ceiling,
    cloud,
    collapse,
    decay,
    gaussian,
    limit,
    model,
    nets,
    onehead,
    power,
    risk,
    scalar,
    scan,
    scatter,
    theory,
    toy,
    transport,
    variation,
    volumes,
)

DRAW = np.random.default_rng(7)
TIMES = 50


@pytest.fixture(autouse=True)
def draws_of_its_own():
    """Each test draws the same numbers, whichever ran before it."""
    DRAW.bit_generator.state = np.random.default_rng(7).bit_generator.state


def array(*shape, scale=1.0):
    """Normal entries."""
    return scale * DRAW.normal(size=shape)


def tensor(*shape, scale=1.0):
    """Normal entries."""
    return torch.from_numpy(array(*shape, scale=scale))


def one(samples=4, length=3, d=2, scale=1.0):
    """One data set as arrays, whose last tokens have no answer."""
    tokens = array(samples, length, d, scale=scale)
    tokens[:, -1, 1] = 0.0
    return tokens, array(samples)


def sizes(*least):
    """Random sizes from the ``least`` on."""
    return [int(each + DRAW.integers(4)) for each in least]


def expected_distance():
    """The mean distance of draws to their law, from the sum over all binomial numbers."""
    many, count = sizes(2, 1)
    known, share = np.sort(array(many)), np.arange(1, many) / many
    far = np.abs(np.arange(count + 1)[:, None] / count - share)
    wanted = ((stats.binom.pmf(np.arange(count + 1)[:, None], count, share) * far).sum(axis=0) * np.diff(known)).sum()
    yield float(cloud.expected(torch.from_numpy(known), count)), wanted, 1e-12


def spread_error():
    """The deviation of the logarithm of a spread, by quadrature over the law of chi square."""
    free = int(DRAW.integers(1, 40))

    def moment(order):
        return integrate.quad(lambda x: (np.log(x) / 2) ** order * stats.chi2.pdf(x, free), 0, np.inf, limit=200)[0]

    yield power.log_error(free + 1), math.sqrt(moment(2) - moment(1) ** 2), 1e-5


def exponent_error():
    """The deviation of a least-squares exponent, by matrices."""
    count = int(DRAW.integers(2, 7))
    places, copies = np.exp(2 * array(count)), DRAW.integers(2, 50, size=count)
    design = np.stack([np.ones(count), np.log(places)], axis=1)
    solve = np.linalg.inv(design.T @ design) @ design.T
    cover = solve @ np.diag([power.log_error(int(each)) ** 2 for each in copies]) @ solve.T
    found = power.slope_error(tuple(places), tuple(map(int, copies)))
    yield found, math.sqrt(cover[1, 1]), 1e-9
    yield power.passing(tuple(places), tuple(map(int, copies)), 0.3), math.erf(0.3 / found / math.sqrt(2)), 1e-12


def initial_density():
    """Its quantiles and the masses of its Gauss nodes."""
    law = stats.beta(5, 5, loc=volumes.CENTRE - volumes.HALF, scale=2 * volumes.HALF)
    share = DRAW.uniform() ** 4
    yield float(volumes.initial(torch.tensor([share], dtype=runs.DTYPE))), law.ppf(share), 1e-6
    count, order = int(DRAW.integers(5, 40)), int(DRAW.integers(0, 2))
    places, masses = cloud.gauss(count)
    yield float(masses @ places**order), law.moment(order) if order else 1.0, 1e-12


def polynomials():
    """Those of Chebyshev, by cosines and hyperbolic cosines."""
    count, place = int(DRAW.integers(2, 12)), 1.5 * volumes.REACH * DRAW.uniform(-1, 1)
    found = volumes.chebyshev_rows(torch.tensor([place], dtype=runs.DTYPE), count)[-1]
    at, order = place / volumes.REACH, count - 1
    wave = math.cos(order * math.acos(at)) if abs(at) < 1 else math.cosh(order * math.acosh(abs(at)))
    yield float(found), wave if abs(at) < 1 else wave * np.sign(at) ** order, 1e-9


def lasso():
    """The objective is flat at what is said to be its minimum, or the slope at zero is no larger than the decay."""
    tokens, targets = one(*sizes(1, 1, 2), scale=math.exp(array()))
    mean = tokens.mean(axis=1)
    decay = math.exp(array()) * np.linalg.norm(targets @ mean / len(mean))
    found = ceiling.lasso(tokens, targets, decay)
    slope = (mean @ found - targets) @ mean / len(mean)
    size = np.linalg.norm(found)
    yield (np.linalg.norm(slope + decay * found / size) / decay if size else 0.0), 0.0, 1e-9
    yield np.linalg.norm(slope) / decay, 1.0 if size else min(1.0, np.linalg.norm(slope) / decay), 1e-9


def width_of_one_head():
    """What one head of N changes in the objective, from the whole objective."""
    tokens, targets = one(*sizes(2, 2, 2))
    low = onehead.thresholds(tokens, targets)["attention"]
    found = ceiling.concentration(tokens, targets, 0.9 * low)
    count = int(found["count"] * DRAW.uniform(0.5, 9)) + 1
    point = np.concatenate(
        [math.sqrt(found["mass"]) * found["value"], [math.sqrt(found["mass"])]]
        + [found[name] / math.sqrt(count) for name in ("query", "key")]
    )
    after = onehead.risk(point, tokens, targets, count)[0] + 0.9 * low * point @ point / 2
    yield (targets @ targets / len(targets) / 2 - after) / found["drop"], 1 - found["count"] / count, 1e-9


def one_head():
    """The gradient of one head by autograd of the whole model."""
    samples, length, d, count = sizes(1, 1, 2, 1)
    tokens, targets = one(samples, length, d, scale=math.exp(array()))
    if length > 1:
        tokens[:, 0] = tokens[:, 1]
    point, net = array(3 * d + 1), nets.Net(d=d, depth=1, m=count, parts=("attention",))
    flat = torch.from_numpy(point).requires_grad_()
    scaled = (flat * math.sqrt(count)).split([d, 1, d, d])
    state = {name: torch.zeros(1, *shape, dtype=runs.DTYPE) for name, shape in net.shapes.items()}
    for name, entry in zip(("W_V", "W_O", "W_Q", "W_K"), scaled, strict=True):
        where = (0, 0, 0, 0, 1) if name == "W_O" else (0, 0, 0, slice(None), 0)
        state[name][where] = entry[0] if name == "W_O" else entry
    data = torch.from_numpy(tokens)[None], torch.from_numpy(targets)[None]
    wanted = model.risk(state, *data, net)[0]
    (slope,) = torch.autograd.grad(wanted, flat)
    found = onehead.risk(point, tokens, targets, count)
    yield found[0], float(wanted.detach()), 1e-10
    yield np.abs(found[1] - slope.numpy()).max() / (1 + np.abs(found[1]).max()), 0.0, 1e-10


def scalar_branch():
    """The scalar model: both slopes at a point of the branch, and its end on a grid."""
    count, gain, target, plain = np.exp(array(4))
    plain = 0.2 * plain
    level, place = (sp.lambdify((scalar.OUTPUT, scalar.TARGET, scalar.COUNT, scalar.GAIN), each) for each in BRANCH)
    output = target * DRAW.uniform()
    rate, rest = level(output, target, count, gain), target - output
    out, ask = rate / (count * gain * rest), (rate / rest - plain) / gain
    yield out * (plain + gain * ask), output, 1e-9
    slopes = -rest * (plain + gain * ask) + rate, -rest * out * gain + rate / count
    yield max(map(abs, slopes)), 0.0, 1e-9
    grid = np.linspace(0, target, 20_001)
    yield (
        place(None, target, count, gain),
        level(grid, target, count, gain).max(),
        1e-6 * target * (count * gain) ** 0.5,
    )
    band = level(grid, target, count, gain).max() > plain * target
    yield int(band), int(count * gain * target > float(scalar.ABOVE) * plain**2), 0


BRANCH = scalar.upper(), scalar.fold()[1]


def zero_thresholds():
    """The least eigenvalue of the Hessian of one head and one neuron at zero."""
    samples, length, d = sizes(1, 1, 2)
    tokens, targets = one(samples, length, d, scale=math.exp(array() / 2))
    inputs, wanted = torch.from_numpy(tokens)[None], torch.from_numpy(targets)[None]
    for part in nets.PARTS:
        net = nets.Net(d=d, depth=1, m=1, parts=(part,), activation=("identity", "tanh")[samples % 2])
        shapes = {name: (1, *shape) for name, shape in net.shapes.items()}

        def height(flat, net=net, shapes=shapes):
            pieces = flat.split([math.prod(shape) for shape in shapes.values()])
            state = {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
            return model.risk(state, inputs, wanted, net)[0]

        start = torch.zeros(sum(map(math.prod, shapes.values())), dtype=runs.DTYPE)
        least = torch.linalg.eigvalsh(torch.autograd.functional.hessian(height, start))[0]
        yield float(collapse.thresholds(inputs, wanted, net)[part]), -float(least), 1e-10


def toy_by_autograd():
    """The first variation and the objective of the toy, at sizes from one and scores far beyond the range of exponentials."""
    samples, length, count, depth = sizes(1, 1, 1, 1)
    scale = float(DRAW.choice([0.0, 1.0, 20.0]))
    masses = torch.from_numpy(DRAW.dirichlet(np.ones(count), size=(1, depth)))
    places, tokens, targets = tensor(count), tensor(1, samples, length, scale=scale), tensor(1, samples)
    found = toy.variation(masses, places, tokens, targets, 0.3)
    loss, slope = flow.autograd(lambda state: toy.objective(state["w"], places, tokens, targets, 0.3))({"w": masses})
    size = 1 + float(found["V"].abs().max())
    yield float(found["objective"] - loss) / size, 0.0, 1e-9
    yield float((found["V"] - depth * slope["w"]).abs().max()) / size, 0.0, 1e-9


FORMS = [
    expected_distance,
    spread_error,
    exponent_error,
    initial_density,
    polynomials,
    lasso,
    width_of_one_head,
    one_head,
    scalar_branch,
    zero_thresholds,
    toy_by_autograd,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_closed_form_is_what_brute_force_finds(form):
    pairs = [pair for _ in range(TIMES) for pair in form()]
    assert [pair for pair in pairs if not abs(pair[0] - pair[1]) <= pair[2] * max(1.0, abs(pair[1]))] == []


@pytest.mark.parametrize("part, activation", [("attention", "tanh"), ("neurons", "relu"), ("neurons", "tanh")])
def test_the_constant_at_the_start_is_a_mean_over_particles(part, activation):
    for scale in (0.2, 0.4):
        inputs, net = tensor(2, 3, 4, 2), nets.Net(d=2, depth=1, m=10_000, parts=(part,), activation=activation)
        state = model.init(runs.streams((0, 1), part), net, scale)
        theta = variation.particles(state, 0, part)
        put = variation.force(theta, inputs, net)[:, :, :, -1, net.slot].square().mean(dim=2)
        found = limit.start_constant(inputs, net, scale)
        assert ((put.mean(dim=1) - found).abs() < 4.5 * put.std(dim=1) / 100).all()


def test_the_best_direction_is_that_of_a_grid():
    angle = np.linspace(0, np.pi, 61)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(4):
        tokens, targets = one(5, 4)
        middle = tokens - tokens.mean(axis=1, keepdims=True)
        spread = middle.swapaxes(1, 2) @ middle / 4
        pairs = np.einsum("av,nvk,bk->abn", around, spread, around)[:, :, None] * (around @ tokens[:, -1].T)
        fit, size = np.abs((pairs * targets).mean(axis=-1)), (pairs**2).mean(axis=-1)
        best = 2 / 27**0.5 * 7**0.5 * (fit**1.5 / np.maximum(size, 1e-30) ** 0.5).max()
        assert best * 0.9999 <= onehead.closed(tokens, targets, 7) <= 1.05 * best


@pytest.mark.parametrize("d, k, depth", [(1, 1, 1), (1, 3, 1), (2, 1, 2)])
def test_known_laws_are_counted_at_the_edges(d, k, depth):
    assert balancing.counted(d=d, k=k, depth=depth, seed=5)["laws"] == balancing.known(d, k, depth)


def test_derived_slopes_at_other_sizes():
    for part, known in (("attention", {"k": 2}), ("neurons", {})):
        d, length, k = 2, 3, known.get("k", 1)
        derive = theory.head_variation if part == "attention" else theory.neuron_variation
        slopes, names = derive(length=length, d=d, **known)
        net = nets.Net(d=d, k=k, depth=1, m=1, parts=(part,))
        theta = {name: tensor(1, 1, *shape[2:]).requires_grad_() for name, shape in net.shapes.items()}
        tokens, back = tensor(1, 1, length, d), tensor(1, 1, length, d)
        worth = variation.first_variation(theta, tokens, back, net, 0.3).sum()
        wanted = dict(zip(theta, torch.autograd.grad(worth, list(theta.values())), strict=True))
        given = {name: value.detach()[0, 0] for name, value in theta.items()} | {"X": tokens[0, 0], "P": back[0, 0]}
        if part == "attention":
            given["S"] = variation.weights(theta, tokens, net)[0, 0, 0].detach()
        else:
            felt = variation.inner(theta, tokens)[0, 0, 0].detach()
            given |= {theory.LEVEL: felt.tanh(), theory.SLOPE: 1 - felt.tanh() ** 2}
        values = {theory.RATE: 0.3}
        for name, value in given.items():
            values |= dict(zip(names[name], value.flatten().tolist(), strict=True))
        for name, slope in wanted.items():
            found = sp.lambdify(list(values), list(slopes[name]), "math", cse=True)(*values.values())
            found = torch.tensor(found, dtype=runs.DTYPE)
            assert torch.allclose(found, slope.flatten(), rtol=1e-11, atol=1e-11), name


EDGES = {
    "size one": (dict.fromkeys(("d", "k", "depth", "m"), 1) | {"slot": 0}, 1, 1, lambda each: each),
    "one token": ({"d": 2, "k": 3}, 2, 1, lambda each: each),
    "repeated tokens": ({"k": 2}, 3, 4, lambda each: each[:, :1, :1].expand(-1, 3, 4, -1).clone()),
    "zero vectors": ({}, 3, 2, lambda each: 0 * each),
    "large": ({"m": 3}, 2, 3, lambda each: 1e3 * each),
    "a gradient": ({"m": 2}, 2, 3, lambda each: each.clone().requires_grad_()),
}


@pytest.mark.parametrize("edge", EDGES)
def test_the_slopes_of_a_net_at_the_edges(edge):
    settings, samples, length, change = EDGES[edge]
    net = nets.Net(**settings)
    state = model.init(runs.streams((0, 1), "edges"), net)
    inputs, targets = change(tensor(2, samples, length, net.d)), tensor(2, samples)
    loss, slope = model.field(inputs, targets, net, 0.2)(state)
    wanted = flow.autograd(lambda each: model.objective(each, inputs.detach(), targets, net, 0.2))(state)
    assert torch.allclose(loss.detach(), wanted[0], rtol=1e-11)
    twin = variation.slopes(state, inputs, targets, net, 0.2)
    for name, value in wanted[1].items():
        scaled = net.depth * net.m * value
        assert torch.allclose(slope[name].detach(), scaled, rtol=1e-7, atol=1e-9 * float(1 + scaled.abs().max()))
        assert torch.allclose(twin[name], scaled, rtol=1e-7, atol=1e-9 * float(1 + scaled.abs().max()))


@pytest.mark.parametrize("tokens", [one(1, 3), one(3, 1), one(2, 2)], ids=["one sample", "one token", "two of each"])
def test_hysteresis_at_the_edges(tokens):
    found = band.hysteresis(*map(torch.from_numpy, tokens), depth=1, heads=1)
    assert all(math.isfinite(each) for each in found.values())
    assert found["lambda_c"] <= found["lambda_end"] <= found["lambda_inf"] * (1 + 1e-9)
    if tokens[0].shape[1] == 1:
        assert not found["band"] and found["rule"] == 0.0 and found["lambda_inf"] == pytest.approx(found["lambda_c"])


def test_a_place_that_asks_for_a_gradient_keeps_no_graph():
    places = tensor(4).requires_grad_()
    assert not volumes.chebyshev_rows(places, 5).requires_grad
    assert not volumes.initial(torch.sigmoid(places)).requires_grad


def scanned(scale):
    """A scan up of heads that start far away."""
    net = nets.Net(depth=1, m=1, parts=("attention",))
    data = tensor(1, 3, 4, 3, scale=scale), tensor(1, 3)
    state = model.init(runs.streams((0,), "edges"), net, scale)
    fields = scan.rested(
        lambda rows, decay: model.field(data[0][rows], data[1][rows], net, decay),
        state,
        torch.ones(1, dtype=runs.DTYPE),
        net,
        torch.ones(1, dtype=runs.DTYPE),
    )
    return fields


NET = nets.Net()
TOKENS, TARGETS = torch.ones(2, 3, 4, 3, dtype=runs.DTYPE), torch.ones(2, 3, dtype=runs.DTYPE)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decay.balance_decay(1.0, step=1e-6, seeds=(0,)), "at least 0.00012207, that of 10 halvings"),
        (lambda: decay.balance_decay(1e308), "at most 1e+300"),
        (lambda: cloud.gauss(4), "an integer of at least 5"),
        (lambda: cloud.distance(tensor(2, 3), tensor(6).sort(descending=True).values), "sorted along its last axis"),
        (lambda: cloud.distance(tensor(2, 3), tensor(3, 6).sort().values), "where * = (2,)"),
        (lambda: cloud.expected(tensor(6).sort(descending=True).values, 3), "sorted along its last axis"),
        (lambda: volumes.initial(torch.tensor([1.5], dtype=runs.DTYPE)), "in [0, 1]"),
        (lambda: volumes.Nodes(1), "count = 1"),
        (lambda: transport.solve((0,), times=(1.0, 0.5)), "increasing from a time of at least 0"),
        (
            lambda: scatter.moved(tensor(1, 1, 1, 2), torch.ones(3, dtype=runs.DTYPE), tensor(1, 1, 3)),
            "in rising order",
        ),
        (
            lambda: limit.start_constant(tensor(2, 3, 4, 3), NET, 2.0),
            "so small that 14 nodes in a direction and 10 agree",
        ),
        (lambda: gaussian.moment(tensor(1, 1, 2, 5), nets.Net(d=5), 0.5, 14), "d = 5"),
        (lambda: limit.cut(model.init(runs.streams((0,), "e"), NET), 5), "a divisor of 16"),
        (lambda: limit.spread(tensor(6, 2), 4), "a divisor of 6"),
        (lambda: risk.clashing(TOKENS[:, :1], TARGETS[:, :1]), "samples = 1"),
        (lambda: collapse.modes(model.init(runs.streams((0, 1), "e"), NET), TOKENS, 0 * TARGETS, NET), "are pulled"),
        (lambda: onehead.decay_of(np.zeros(7), *one(), 1), "other than 0"),
        (lambda: onehead.risk(array(8), *one(), 1), "3 d + 1 = 7"),
        (lambda: onehead.end(one()[0], np.zeros(4), 1), "the mean of y times the mean token is not 0"),
        (lambda: ceiling.between(one()[0], np.zeros(4), 0.5), "the mean of y times the mean token is not 0"),
        (lambda: power.slope_error((2.0, 2.0), (5, 5)), "two different ones"),
        (lambda: power.slope_error((2.0, 3.0), (5, 5, 5)), "2 numbers, one a place"),
        (lambda: theory.decay_holds(k=0), "integers of at least 1"),
        (lambda: theory.decay_holds({"W": 1}), "one of W_Q, W_K, W_V, W_O"),
        (lambda: model.forward(model.init(runs.streams((0, 1), "e"), nets.Net(k=2)), TOKENS, NET), "and k = 1"),
        (lambda: model.norms({"b": torch.ones(2, 2, 2)}, NET), "a dict with attention W_Q, W_K, W_V, W_O, or with"),
        (lambda: model.field(TOKENS, TARGETS, NET, -0.1), "finite number of at least 0, or a tensor of finite"),
        (lambda: variation.particles(model.init(runs.streams((0,), "e"), NET), 2, "neurons"), "layer = 2"),
        (lambda: scanned(9.0), "brings to rest"),
    ],
)
def test_what_gives_no_right_answer_is_one_clear_error(call, words):
    assert words in refusal(call)
