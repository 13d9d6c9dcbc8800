"""Chapter 4, closed forms by brute force: each on 50 random arguments beyond the ranges of the chapter, and its edges."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from conftest import refusal
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from attnflow import flow, kernels, runs
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels import (
    basins,
    counting,
    generic,
    imbalance,
    landscape,
    linear,
    model,
    plane,
    race,
    rowtokens,
    slices,
    theory,
    trap,
    wells,
)

SEEDS = range(50)
TRAP = np.array([-1.0, 0.0, 1.0]), np.array([0.5, 0.0, 1.0]), 0.8


def normal(rng, *shape, size=1.0):
    """Normal entries."""
    return torch.from_numpy(size * rng.standard_normal(shape))


def drawn(seed):
    """A random layer, of size one in places, with the weights and the data of two runs."""
    rng = np.random.default_rng(seed)
    sizes = map(int, rng.integers(1, 5, 4))
    layer = model.Layer(*sizes, KERNELS[seed % 4], c=rng.uniform(0.1, 3), beta=rng.uniform(0.1, 3))
    n, length = map(int, rng.integers(1, 5, 2))
    state = {name: normal(rng, 2, *shape) for name, shape in layer.shapes.items()}
    return layer, state, normal(rng, 2, n, length, layer.d), normal(rng, 2, n, length, layer.o)


@pytest.mark.parametrize("part", range(2))
def test_gradients_and_the_rate_of_the_balance_by_autograd(part):
    for seed in SEEDS[part::2]:
        layer, state, inputs, targets = drawn(seed)
        value, found = model.field(inputs, targets, layer)(state)
        same, known = flow.autograd(partial(model.loss, inputs=inputs, targets=targets, layer=layer))(state)
        size = max(float(one.abs().max()) for one in known.values()) + 1e-12
        assert torch.allclose(value, same)
        assert max(float((found[name] - known[name]).abs().max()) for name in state) < 1e-11 * size
        parts = [known[name].mT @ state[name] for name in ("W_Q", "W_K")]
        rate = parts[1] + parts[1].mT - parts[0] - parts[0].mT
        gap = imbalance.imbalance_rate(state, inputs, targets, layer) - rate
        assert float(gap.abs().max()) < 1e-11 * (size + max(float(one.abs().max()) for one in parts))


def laws(flat, layer, common):
    """All known laws of a layer of one head, written plainly."""
    d, k = layer.d, layer.k
    query, key, value, out = flat.split([d * k, d * k, d * k, k * layer.o])
    query, key, value, out = query.view(d, k), key.view(d, k), value.view(d, k), out.view(k, -1)
    found, rows = [value.T @ value - out @ out.T], torch.cat([query, key])
    if layer.similarity.distance:
        if common:
            found.append(query[-1] + key[-1])
            rows = torch.cat([query[:-1], key[:-1], query[-1:] - key[-1:]])
        if len(rows) < k:
            found.append(rows.T @ torch.linalg.solve(rows @ rows.T, rows))
    elif common and layer.kernel == "softmax":
        found += [key[-1], query.T @ query - key[:-1].T @ key[:-1]]
    else:
        found.append(query.T @ query - key.T @ key)
    return torch.cat([one.flatten() for one in found])


def test_known_laws_are_as_many_independent_functions():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d, k, o = int(rng.integers(1, 3)), int(rng.integers(1, 6)), int(rng.integers(1, 3))
        layer, common = model.Layer(d, k, o, kernel=KERNELS[seed % 4]), d > 1 and seed % 3 > 0
        slopes = torch.func.jacfwd(laws)(normal(rng, 3 * d * k + k * o), layer, common)
        values = torch.linalg.svdvals(slopes)
        assert int((values > 1e-8 * values[0]).sum()) == counting.known(layer, common), (layer, common)


def test_ranks_and_floors_by_least_squares():
    for seed in SEEDS:
        layer, state, inputs, targets = drawn(seed)
        known, wanted = linear.features(state, inputs, layer), linear.flat(targets)
        directions, rank = linear.span(known)
        found = linear.floor(directions, wanted[..., None])[:, 0]
        for run in range(2):
            best, _, slow, sizes = np.linalg.lstsq(known[run].numpy(), wanted[run].numpy(), rcond=None)
            left = np.square(known[run].numpy() @ best - wanted[run].numpy()).sum() / 2
            # A direction that is hardly reached is known as well as rounding leaves it, by either way.
            blurred = 10 * np.finfo(float).eps * sizes[0] / sizes[slow - 1] * np.square(wanted[run].numpy()).sum()
            assert int(rank[run]) == slow and float(found[run]) == pytest.approx(left, rel=1e-6, abs=1e-7 + blurred)


def test_the_rank_of_generic_features_at_every_size():
    for seed in SEEDS:
        layer, state, inputs, _ = drawn(seed)
        rows = inputs.shape[1] * inputs.shape[2]
        blocks = normal(np.random.default_rng(seed), layer.heads, rows, layer.d)
        features = torch.einsum("hrd,hko->rohdk", blocks, state["W_O"][0]).flatten(2).flatten(0, 1)
        assert int(torch.linalg.matrix_rank(features)) == linear.counted_rank(layer, rows), layer


def averaged(shape, function):
    """The mean of a function of a Gamma variable of a shape, by quadrature over the logarithm of it."""

    def part(log):
        return math.exp(shape * log - math.exp(log) - math.lgamma(shape)) * function(math.exp(log))

    return sum(quad(part, *ends, epsabs=0, limit=200)[0] for ends in ((-60, -5), (-5, 0), (0, 5)))


def test_row_sums_by_quadrature():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        k, c, inner = int(rng.integers(1, 40)), float(10 ** rng.uniform(-2, 1)), float(rng.uniform(0.1, 2))
        rate = 4 * c * inner**2 / math.sqrt(k)  # of half a chi-squared variable
        mean = averaged(k / 2, lambda x, rate=rate: math.exp(-rate * x))
        assert rowtokens.row_sum(3, k, c, inner) == pytest.approx(3 * mean, rel=1e-6)


def test_row_sums_of_the_race_by_quadrature_or_refused():
    close = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        length, d, k = (int(size) for size in rng.integers(1, 20, 3))
        c = float(10 ** rng.uniform(-2, 1))

        def mean(shape, k=k, c=c):
            return averaged(shape, lambda x: (1 + 4 * c * x / shape / math.sqrt(k)) ** (-k / 2))

        try:
            found = race.row_sum(length, d, k, c)
        except runs.WrongUse as error:
            assert str(error).startswith("nodes = 40 is not allowed")
            continue
        close += 1
        assert found == pytest.approx((length - 1) * mean(d) + mean(d / 2), rel=1e-5), (length, d, k, c)
    assert close > 40


def turns(ratio, spread):
    """How often the slope of the Gaussian of keys (-s, 0, s), values (r, 0, 1) and sharpness 1 vanishes: q = s tanh t."""
    t = np.linspace(-40, 40, 16_001)
    return int((np.diff(np.sign(np.log(ratio) + 2 * t - 4 * spread**2 * np.tanh(t))) != 0).sum())


def test_thresholds_by_counting_turns():
    for ratio in 10 ** np.random.default_rng(0).uniform(-8, 8, len(SEEDS)):
        at = wells.threshold(float(ratio))
        assert [turns(ratio, at * factor) for factor in (0.99, 1.01)] == [1, 3], ratio


@pytest.mark.parametrize("ratio", [1e-12, 0.1234567891234, 1 / 3, 0.777, 1 - 1e-9])
def test_turns_by_root_finding(ratio):
    """Also where the ratio is no simple fraction."""
    root = brentq(lambda u: u * u + 2 * (1 - ratio) * u - ratio, 0, 2, xtol=1e-300, rtol=1e-14)
    assert float(wells.turn(ratio)) == pytest.approx(math.log(root), rel=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_slopes_in_a_space_of_any_size_by_autograd(kernel):
    for seed in SEEDS[::10]:
        rng = np.random.default_rng(seed)
        k, count, many = int(rng.integers(1, 5)), 1 + seed // 10, 3
        known = Kernel(kernel, c=rng.uniform(0.1, 3), beta=rng.uniform(0.1, 3))
        query, keys, values = normal(rng, many, k), normal(rng, many, count, k), normal(rng, many, count)
        keys[0, -1] = keys[0, 0]
        top, slope, hessian = plane.slopes(query, keys, values, known)
        total = partial(summed, keys=keys, values=values, kernel=known)
        wanted = torch.autograd.functional.jacobian(total, query)
        bent = torch.autograd.functional.hessian(total, query)[range(many), :, range(many)]
        assert torch.allclose(top.exp()[:, None] * slope, wanted, atol=1e-12)
        assert torch.allclose(top.exp()[:, None, None] * hessian, bent, atol=1e-12)


def summed(query, keys, values, kernel):
    """The outputs of all queries together."""
    return plane.output(query, keys, values, kernel).sum()


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("c", [0.1, 0.3, 1.0, 4.0, 10.0])
def test_the_reach_of_the_gaussian_by_a_grid(k, c):
    rng = np.random.default_rng(int(10 * c) + k)
    for count in range(1, k + 2):
        keys, values = normal(rng, 5, count, k, size=10 ** rng.uniform(-1, 0.5)), normal(rng, 5, count)
        sharp = c / math.sqrt(k)
        ends = float(keys.abs().max()) + 3 / math.sqrt(sharp)
        line = torch.linspace(-ends, ends, 101 if k > 1 else 1001).double()
        places = torch.cartesian_prod(line, line) if k > 1 else line[:, None]
        there = (torch.exp(-sharp * (places[:, None] - keys[:, None]).square().sum(dim=3)) * values[:, None]).sum(dim=2)
        room = values.abs().sum(dim=1) * (2e-3 + sharp * k * float(line[1] - line[0]) ** 2)
        low, high = generic.reach(keys, values, model.Layer(d=2, k=k, o=1, kernel="gaussian", c=c))
        assert ((low - there.amin(dim=1).clamp_max(0)).abs() < room).all()
        assert ((high - there.amax(dim=1).clamp_min(0)).abs() < room).all()


def test_borders_by_a_dense_scan():
    grid = np.linspace(-6, 1, 70_001)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        name, c, spread = landscape.TRAPS[seed % 3], float(10 ** rng.uniform(-0.5, 1)), float(rng.uniform(0.3, 3))
        scores = -c * (spread * grid[:, None] - spread * TRAP[0]) ** 2
        if name == "softmax":
            scores = 2 * c * spread**2 * grid[:, None] * TRAP[0]
        weights = np.exp(scores - (0 if name == "gaussian" else scores.max(axis=1, keepdims=True)))
        weights /= 1.0 if name == "gaussian" else weights.sum(axis=1, keepdims=True)
        output = weights @ TRAP[1]
        found = landscape.border(name, c, spread) / spread
        least = 1 + np.flatnonzero((output[1:-1] < output[:-2]) & (output[1:-1] < output[2:]))
        if -5.9 < found < 0.9:
            assert len(least) == 1 and grid[least[0]] == pytest.approx(found, abs=2e-4)
        else:
            assert len(least) == 0


def test_the_time_of_a_start_by_solving_the_flow():
    for seed in SEEDS[::10]:
        rng = np.random.default_rng(seed)
        c = float(rng.uniform(0.2, 2))
        place, query = float(rng.uniform(-2, 3) / c**0.5), landscape.queries("gaussian", c, 1.0)

        def velocity(_, here, query=query, step=1e-6):
            ends = query.miss(here + step), query.miss(here - step)
            return -query.miss(here) * (ends[0] - ends[1]) / (2 * step)

        def arrived(_, here, query=query):
            return float(query.miss(here[0])) ** 2 / 2 - wells.EDGE

        arrived.terminal = True
        solved = solve_ivp(velocity, (0, 2e4), [place], "LSODA", events=arrived, rtol=1e-7, atol=1e-10)
        found = trap.waiting(place, c)
        assert found == pytest.approx(solved.t[-1], rel=1e-3, abs=1e-9) if solved.status == 1 else found > 1.9e4
    assert trap.waiting(1e4, 0.5) == np.inf and trap.border("gaussian", 0.5) == -np.inf
    assert "less than 0.862" in refusal(lambda: trap.late_share(c=0.9))


def plain(query, place):
    """The loss of a query at some places, written plainly."""
    kernel, keys = query.kernel, query.keys[:, None]
    scores = -kernel.c * (place - keys) ** 2 if kernel.distance else kernel.beta * place * keys
    weights = np.exp(scores)
    weights = weights / weights.sum(axis=0) if kernel.normalised else weights
    return (query.values @ weights - query.target) ** 2 / 2


def test_wells_of_any_number_of_keys_by_a_dense_scan():
    grid = np.linspace(-8, 8, 16_001)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        count = int(rng.integers(1, 6))
        keys = rng.standard_normal(count).round(1)
        keys[-1] = keys[0] if seed % 4 == 0 else keys[-1]
        query = wells.Query(keys, rng.standard_normal(count).round(1), 0.37, Kernel(KERNELS[seed % 4], 0.6, 1.1))
        loss = np.minimum(plain(query, grid), 1e200)
        shown = grid[1:-1][np.minimum(loss[:-2], loss[2:]) - loss[1:-1] > 1e-11 * (1 + loss[1:-1])]
        found = np.array([well for well in query.wells if abs(well) < 7.9])
        near = [np.abs(found - place).min(initial=1) for place in shown]
        assert max(near, default=0) < 3e-3 and len(found) >= len(shown), seed
        flat = plain(query, found[None]) if len(found) else np.zeros(0)
        assert (flat <= np.minimum(plain(query, found + 1e-2), plain(query, found - 1e-2)) + 1e-12).all(), seed


def normals(generator, count):
    return torch.randn(count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "keys", "values", "target", "share"),
    [
        *((name, (1.0, 2.0), (0.0, 0.0), 0.0, 0.0) for name in KERNELS),
        *((name, (1.0, 2.0), (0.0, 0.0), 1.0, 1.0) for name in KERNELS),
        ("softmax", (1.0,), (1.0,), 0.5, 1.0),
        ("gaussian", (1.0,), (1.0,), 0.5, 0.0),
        ("gaussian", (0.0, 0.0), (0.5, 0.5), 1.0, 0.0),
    ],
)
def test_shares_at_the_edges(name, keys, values, target, share):
    query, starts = wells.Query(np.array(keys), np.array(values), target, Kernel(name, 1.0)), torch.linspace(-1, 1, 5)
    seen = basins.followed(query, starts.double() + 0.01, clock=20.0)
    assert ((seen["loss"] > wells.EDGE) == bool(share)).all() and query.reachable == (not share)
    assert ((query.fate(starts.double().numpy() + 0.01) > wells.EDGE) == bool(share)).all()


def test_a_graph_is_not_kept_and_keys_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(basins, "DRAWS", 1000)
    settings = {"values": (0.5, 0.0, 1.0), "target": 0.8, "kernel": "softmax", "c": 1.0, "starts": 5}
    plainly = kernels.trap_share(normals, keys=TRAP[0], **settings)
    keys = torch.from_numpy(TRAP[0]).requires_grad_()
    assert kernels.trap_share(lambda *of: normals(*of).requires_grad_(), keys=keys, **settings) == plainly
    for size, kernel in ((1e6, "gaussian"), (1e200, "softmax")):
        wide = settings | {"kernel": kernel}
        assert "keys = 1" in refusal(
            lambda size=size, wide=wide: kernels.trap_share(normals, keys=size * TRAP[0], **wide)
        )
    starts = normals(torch.Generator().manual_seed(0), 2).requires_grad_()
    query = wells.Query(*TRAP, Kernel("softmax"))
    assert not any(each.requires_grad for each in basins.followed(query, starts, clock=2.0).values())
    many = wells.Query(np.ones((3, 4)), np.ones((3, 4)), 0.5)
    assert "as many as problems" in refusal(lambda: basins.followed(many, starts))
    assert "shape of values" in refusal(lambda: wells.Query(np.ones(3), np.ones(2), 0.5))


def test_zero_is_an_edge_and_no_fault():
    zero = torch.zeros(1, 3, 2, dtype=torch.float64)
    layer = model.Layer(d=2, k=2, o=1, kernel="gaussian")
    assert [float(end) for end in generic.reach(zero, zero[..., 0], layer)] == [0.0, 0.0]
    assert "at most k + 1" in refusal(lambda: generic.reach(zero.repeat(1, 2, 1), zero[..., 0].repeat(1, 2), layer))
    assert "a value a key" in refusal(lambda: generic.reach(zero, zero[..., 0].repeat(2, 1), layer))
    assert linear.span(zero)[1].tolist() == [0] and slices.falling(zero).tolist() == [0.0]
    assert "at least 3" in refusal(lambda: slices.bent(zero[:, :2]))
    assert "where S = 2" in refusal(
        lambda: slices.directions(
            [torch.Generator(), torch.Generator()], model.init([torch.Generator()], model.Layer())
        )
    )
    assert "the same, or none" in refusal(
        lambda: plane.output(zero[0, :2], zero.repeat(3, 1, 1), zero[..., 0].repeat(3, 1), Kernel())
    )


def test_rates_are_exact_and_of_known_matrices():
    """A decimal rate is that fraction, so that equal rates of 1/10 keep what equal rates of 1 keep."""
    assert theory.value_law_holds({"W_V": 0.1, "W_O": 0.1}) and not theory.value_law_holds({"W_V": 0.1})
    assert "W_Q" in refusal(lambda: theory.value_law_holds({"W_Q": 2}))
    assert "shape['d'] = 0" in refusal(lambda: theory.value_law_holds(d=0))
