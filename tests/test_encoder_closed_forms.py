"""The closed forms of chapter 3 against brute force, on fifty random arguments each, and its model at the edges."""

import math

import numpy as np
import public
import pytest
import sympy as sp
import torch
from calls.encoder import CALLS
from scipy import integrate, optimize

from attnflow import curves, runs
from attnflow.encoder import balancing, bounds, flips, kernel, limits, model, theory
from attnflow.encoder.model import Encoder

MANY = 50
DIRECTIONS = 2 * math.pi * (np.arange(1500) + 0.5) / 1500


def random(name):
    """A source of arguments of its own."""
    return np.random.default_rng(list(name.encode()))


def power(source, low, high):
    """A number whose decimal logarithm is even."""
    return 10 ** source.uniform(low, high)


def over_neurons(left, right, moment):
    """The mean of ``moment(a, a', 1, 1')`` over Gaussian neurons: a sum over directions of the plane of two vectors.

    moment: homogeneous in a and a' together; returns its value, and its degree in the length of the neuron.
    """
    gram = np.array([[left @ left, left @ right], [right @ left, right @ right]])
    sizes = np.sqrt(np.diag(gram))
    angle = np.arccos(np.clip(gram[0, 1] / max(sizes.prod(), 1e-300), -1, 1))
    active = [np.maximum(size * np.cos(DIRECTIONS - turn), 0) for size, turn in zip(sizes, (0, angle), strict=True)]
    values, degree = moment(*active, *(each > 0 for each in active), gram[0, 1])
    return {0: 1, 2: 2, 4: 8}[degree] * values.mean()


def first(a, b, on, too, gram):
    return a * b, 2


def zeroth(a, b, on, too, gram):
    return on * too, 0


SQUARE = (  # of the kernel of a neuron with an output weight o ~ N(0, 1), term by term
    (1, lambda a, b, on, too, gram: ((a * b) ** 2, 4)),
    (2, lambda a, b, on, too, gram: (a * b * on * too * gram, 2)),
    (3, lambda a, b, on, too, gram: (on * too * gram**2, 0)),
)


def test_kernels_of_neurons_are_means_over_directions():
    source = random("kernels")
    symbols = theory.arc_cosine_kernels()
    known = sp.lambdify(symbols[2], symbols[:2])
    for _ in range(MANY):
        tokens = source.normal(size=(3, source.integers(2, 7))) * power(source, -3, 3) * source.uniform(0, 2, (3, 1))
        tokens[source.integers(3)] *= source.integers(2)
        given, size = torch.tensor(tokens)[None], np.square(tokens).sum(axis=1).max()
        mean, squares = kernel.neurons(given)[0].numpy(), kernel.neuron_squares(given)[0].numpy()
        for n, m in ((0, 0), (0, 1), (1, 2)):
            pair = tokens[n], tokens[m]
            gram = pair[0] @ pair[1]
            want = over_neurons(*pair, first) + gram * over_neurons(*pair, zeroth)
            assert mean[n, m] == pytest.approx(want, abs=1e-3 * size)
            want = sum(times * over_neurons(*pair, moment) for times, moment in SQUARE)
            assert squares[n, m] == pytest.approx(want, abs=3e-3 * size**2)
        angle = source.uniform(0.01, 3.1)
        pair = np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])
        assert known(angle) == pytest.approx((over_neurons(*pair, zeroth), over_neurons(*pair, first)), abs=1e-3)


def test_kernels_of_given_attention_are_sums_over_pairs_of_positions():
    source = random("given")
    for _ in range(MANY):
        samples, length, d = source.integers(1, 4, 3)
        inputs = torch.tensor(source.normal(size=(1, samples, length, d)) * power(source, -2, 2))
        weights = torch.softmax(torch.tensor(source.normal(size=(1, samples, length, length)) * 3), dim=3)
        mixed = (weights @ inputs)[0]
        rows = mixed.reshape(1, -1, d)
        pairs = kernel.neurons(rows)[0]
        gram = (rows @ rows.mT)[0]
        found, lecun = kernel.given_attention(weights, inputs)[0], kernel.lecun_given(weights, inputs, d)[0]
        zero = kernel.limit(rows[:, :, None])[0]
        assert torch.allclose(zero, pairs)
        for n in range(samples):
            for m in range(samples):
                places = [(n * length + i, m * length + j) for i in range(length) for j in range(length)]
                want = sum(pairs[place] for place in places) / length**2
                ones = sum(
                    over_neurons(rows[0, i].numpy(), rows[0, j].numpy(), zeroth) * float(gram[i, j]) for i, j in places
                )
                assert float(found[n, m]) == pytest.approx(float(want), rel=1e-9, abs=1e-12)
                left = float(want) - ones / length**2
                assert float(lecun[n, m]) * d == pytest.approx(left, abs=2e-3 * float(gram.abs().max()))


def test_the_share_of_queries_and_keys_where_their_grams_are_exact():
    """Queries and keys of orthogonal spans: the attention is uniform at any scaling, and both Gram matrices are k."""
    source, draws, d, width = random("share"), 60, 4, 32
    sizes = torch.tensor(10 ** source.uniform(-2, 2, (MANY, 1, 1, 1)))
    inputs = torch.tensor(source.normal(size=(MANY, 2, 3, d)) + source.normal(size=(MANY, 2, 1, d))) * sizes
    net = Encoder(d=d, width=width, init="ntk", scaling=1.0)
    state = model.init(runs.streams(range(MANY * draws), "weights"), net)
    eye = width**0.5 * torch.eye(d, width, dtype=runs.DTYPE).expand(MANY * draws, -1, -1)
    state |= {"W_Q": eye, "W_K": eye.roll(d, dims=2)}
    blocks = kernel.blocks(state, inputs.repeat_interleave(draws, dim=0), net)
    traces = {name: value.diagonal(dim1=1, dim2=2).sum(dim=1).view(MANY, draws) for name, value in blocks.items()}
    whole = sum(traces.values()) - traces["W_Q W_K"]
    known = limits.counted_share(inputs)[:, None] / width
    apart = traces["W_Q W_K"] - known * whole
    assert (apart.mean(dim=1).abs() < 5 * apart.std(dim=1) / draws**0.5).all()
    assert float((traces["W_Q W_K"].sum(dim=1) / (known[:, 0] * whole.sum(dim=1))).mean()) == pytest.approx(1, abs=0.1)


def test_the_pull_of_two_samples_by_the_two_sides_of_each_kink():
    source, width = random("pull"), 4000
    scale = 10 ** source.uniform(-2, 2, (MANY, 1, 1, 1))
    inputs = torch.tensor(source.normal(size=(MANY, 2, 1, 3)) * scale)
    impulse = torch.tensor(source.normal(size=(MANY, 2)) * 10 ** source.uniform(-2, 2, (MANY, 2)))
    net = Encoder(d=3, width=9, init="ntk", scaling=1.0)
    start = {"W_V": runs.normal(runs.streams(range(MANY), "weights"), 3, width)}
    gram, want, error = (inputs[:, :, 0] @ inputs[:, :, 0].mT), 0, 0
    for own, other in ((0, 1), (1, 0)):
        force, pushed = gram[:, own, own] * impulse[:, own], gram[:, own, other] * impulse[:, other]
        sides = force.abs(), (pushed + force).abs() - pushed.abs()
        weight = gram[:, own, own].sqrt() / math.pi / net.width**0.5
        want = want + weight * (sides[0] + sides[1]) / 2
        error = error + weight * (sides[0] - sides[1]).abs() / 2 / width**0.5
    found = flips.expected_pull(net, inputs, start, impulse)
    assert ((found - want).abs() <= 5 * error + 1e-9 * want.abs()).all()


def test_norms_are_singular_values():
    source = random("norms")
    for _ in range(MANY):
        d, width, samples = source.integers(1, 9, 3)
        net, size = Encoder(d=int(d), width=int(width)), power(source, -5, 5)
        state = {name: size * value for name, value in model.init(runs.streams((0, 1), "draws"), net).items()}
        for name, norm in bounds.norms(state).items():
            assert torch.allclose(norm, torch.linalg.matrix_norm(state[name], ord=2), rtol=1e-9)
        features = size * torch.tensor(source.normal(size=(2, samples, width)))
        want = torch.linalg.svdvals(features)[:, -1] if width >= samples else torch.zeros(2, dtype=runs.DTYPE)
        largest = torch.linalg.matrix_norm(features, ord=2)
        assert ((bounds.smallest_singular(features) - want).abs() < 1e-7 * largest).all()
    assert (bounds.smallest_singular(torch.ones(1, 3, 4, dtype=runs.DTYPE)) < 1e-7).all()


def conditions_at(init, scaling, radius, width, samples):
    """The conditions from sizes that are powers of the width and of the number of samples, with constants of 1."""
    out, alpha = (0.5, 0.0) if init == "ntk" else (0.0, 0.5)
    net = Encoder(d=4, width=width, init=init, scaling=scaling)
    grown = samples**radius
    start = {"W_O": width**out * grown} | dict.fromkeys(("W_V", "W_Q", "W_K"), width**0.5)
    one = {name: torch.tensor([float(size)], dtype=runs.DTYPE) for name, size in start.items()}
    rest = (width**alpha, samples**0.5, net.tau_1 * samples**0.5, 1.0)
    alpha, size, chi, largest = (torch.tensor([float(each)], dtype=runs.DTYPE) for each in rest)
    return {name: float(ratio) for name, ratio in bounds.ratios(one, alpha, size, (chi, largest), net).items()}


def test_exponents_are_those_of_numbers():
    source, k, n = random("exponents"), 10**24, 10**4
    for place in range(MANY):
        init, radius = model.INITS[place % 3], source.uniform(0, 2)
        scaling = source.uniform(-1, 3)
        scaling += math.copysign(0.2, scaling - 1)  # near 1 both terms of (B) count, at any width that a number holds
        ends = [conditions_at(init, scaling, radius, *at) for at in ((k, n), (10 * k, n), (k, 10 * n))]
        known = bounds.exponents(init, scaling, radius)
        for name, (a, b) in known.items():
            base, wider, more = (math.log10(end[name]) for end in ends)
            assert (wider - base, more - base) == pytest.approx((float(a), float(b)), abs=1e-3)
        assert bounds.width_exponents(init, scaling) == {name: a for name, (a, _) in known.items()}


def test_the_least_width_and_the_best_radius_by_search():
    source = random("required")
    for place in range(MANY):
        init, scaling = model.INITS[place % 3], round(source.uniform(-0.4, 2), 3)
        ends = [bounds.exponents(init, scaling, radius).values() for radius in (0, 1)]
        rows = [(float(a), float(b), float(far - b)) for (a, b), (_, far) in zip(*ends, strict=True)]

        def needed(radius, rows=rows):
            """The least e for which no power of n is negative at k = n^e, by halving, infinite where there is none."""
            low, high = 0.0, 1e6
            for _ in range(80):
                middle = (low + high) / 2
                met = all(a * middle + b + slope * radius >= 0 for a, b, slope in rows)
                low, high = (low, middle) if met else (middle, high)
            return high if high < 9e5 else math.inf

        radius = round(source.uniform(0, 2), 2)
        assert float(bounds.required(init, scaling, radius)) == pytest.approx(needed(radius))
        best, found = bounds.best_radius(init, scaling)
        assert float(found) == pytest.approx(needed(float(best)))
        assert float(found) <= min(needed(each) for each in np.linspace(0, 3, 13)) + 1e-6
    for init in model.INITS:
        root = optimize.brentq(lambda s, init=init: float(bounds.width_exponents(init, s)["B"]), -0.9, 0.99)
        assert float(bounds.least_scaling(init)) == pytest.approx(root)


def test_exponents_between_two_widths_are_those_of_norms():
    source, norms = random("finite"), {"A_O": -1, "A_V": 1, "A_Q": -1, "B": -4}
    for place in range(MANY):
        init, scaling, d = model.INITS[place % 3], source.uniform(0, 2), int(power(source, 0, 5))
        one, other = (int(power(source, low, low + 4)) for low in (0, 5))
        known = bounds.finite_exponents(init, scaling, (one, other), d)
        shift = (
            math.log((math.sqrt(other) + math.sqrt(d)) / (math.sqrt(one) + math.sqrt(d))) / math.log(other / one) - 0.5
        )
        want = {name: float(a) + norms[name] * shift for name, a in bounds.width_exponents(init, scaling).items()}
        assert known == pytest.approx(want, abs=1e-12)


def test_crowding_is_that_of_random_directions():
    source, ratios = random("crowding"), []
    for _ in range(MANY):
        d = int(power(source, 2.5, 3))
        samples = sorted({int(d * source.uniform(0.02, 0.06)), int(d * source.uniform(0.15, 0.3))})
        tokens = source.normal(size=(1, max(samples), d))
        tokens = torch.tensor(tokens / np.linalg.norm(tokens, axis=2, keepdims=True))
        least = [
            torch.linalg.eigvalsh(kernel.neurons(tokens[:, :n]) - zeroth_part(tokens[:, :n]))[0, 0] for n in samples
        ]
        found = -float(curves.log_slope(samples, torch.stack(least)[:, None]))
        ratios.append(bounds.crowding(samples, d) / found)
    assert np.median(ratios) == pytest.approx(1, abs=0.08)
    assert bounds.crowding([40, 80], 20) == pytest.approx(0, abs=1e-12)
    # To first order m is sqrt(n/d) times 0.25 over the sum of both parts, also where it is small.
    small = bounds.crowding([4, 8], 10**14)
    first = 0.25 * 2 * (math.sqrt(8) - 2) / 1e7 / (0.5 - 0.5 / math.pi) / math.log(2)
    assert small == pytest.approx(first, rel=1e-5)


def zeroth_part(tokens):
    """What the kernel of neurons has besides kappa_1."""
    gram = tokens @ tokens.mT
    return (math.pi - gram.clamp(-1, 1).arccos()) / (2 * math.pi) * gram


def test_the_deficit_of_two_logits_by_quadrature():
    source = random("deficit")

    def moment(variance, degree):
        def weighed(z):
            share = 1 / (1 + math.exp(-min(z * math.sqrt(2 * variance), 700)))
            entropy = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
            return (1 - entropy / math.log(2)) ** degree * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        return 2 * integrate.quad(weighed, 0, 40, points=[0.01, 0.1, 1, 5], limit=200)[0]

    variances = 10 ** source.uniform(-3, 4, MANY)
    found = theory.deficit(variances, 2)
    for variance, value in zip(variances, found, strict=True):
        mean = moment(variance, 1)
        error = math.sqrt(max(moment(variance, 2) - mean**2, 0) / 40000)  # two independent rows of each draw
        assert abs(value - mean) < 5 * error
    small = source.integers(2, 40, MANY)
    for length in small:
        known = 1e-5 * (1 - 1 / length) / (2 * math.log(length))
        assert float(theory.deficit(1e-5, int(length), draws=2000)) == pytest.approx(known, rel=0.1)
    assert theory.deficit(0.0, 3) == pytest.approx(0, abs=1e-12)


def test_scalings_and_variances_invert_what_they_say():
    source = random("inverse")
    widths, variances = 10 ** source.uniform(0.1, 6, MANY), 10 ** source.uniform(-6, 6, MANY)
    assert widths ** theory.logit_power(theory.scaling_at(variances, widths)) == pytest.approx(variances)
    for _ in range(3):
        length, levels = int(source.integers(2, 8)), source.uniform(0.01, 0.95, 7)
        found = theory.variance_at(levels, length)
        assert theory.deficit(found, length, draws=4000) == pytest.approx(levels, rel=0.01)


def moved(init, scaling, k):
    """How far each part moves, as a number: the sizes of the docstring of ``theory.movement``, added and multiplied."""
    out, outer = (k**0.5, k**-0.5) if init == "ntk" else (1.0, 1.0)
    inner, size = k**-scaling, {"W_O": out, "W_V": k**0.5, "W_Q": k**0.5}
    slope = {"W_O": outer * k**0.5, "W_V": outer * out, "W_Q": inner * outer * out * k**0.5}
    whole = sum(each**2 for each in slope.values())
    share = {name: each**2 / whole for name, each in slope.items()}
    found = {name: slope[name] / whole / size[name] for name in slope}
    attention = inner * found["W_Q"] * k
    growth = (
        attention
        + share["W_O"] * found["W_V"] * k**-0.5
        + share["W_V"] * found["W_O"] * (k**-0.5 + found["W_O"])
        + share["W_Q"] * found["W_O"] * k**0.5
    )
    masks = share["W_V"] * found["W_V"]
    return found | {"attention": attention, "growth": growth, "kernel": growth + masks, "share": share["W_Q"]}


def test_movements_are_those_of_numbers():
    source = random("movement")
    for place in range(MANY):
        init, scaling = model.INITS[place % 3], round(source.uniform(0.5, 3), 4)
        one, other = (moved(init, scaling, k) for k in (1e20, 1e24))
        # Where two powers are close, the sum is not yet its largest.
        known = {name: float(each) for name, each in theory.movement(init, scaling).items()}
        assert {name: math.log(other[name] / one[name], 1e4) for name in known} == pytest.approx(known, abs=0.03)


def test_known_laws_are_independent():
    """The rank of the gradients of all laws at a random point is their number, at sizes that no count by brackets reaches."""
    source = random("laws")
    for place in range(MANY):
        d, width, hidden = (*(int(each) for each in source.integers(1, 6, 2)), bool(place % 2))
        net = Encoder(d=d, width=width, hidden=hidden)
        state = {name: value[0] for name, value in model.init(runs.streams([place], "draws"), net).items()}

        def flat(*weights, names=tuple(state), hidden=hidden):
            found = balancing.balances({name: each[None] for name, each in zip(names, weights, strict=True)})
            return torch.cat([found[name].reshape(-1) for name in found if not (hidden and name == "neuron")])

        jacobian = torch.autograd.functional.jacobian(flat, tuple(state.values()))
        rows = torch.cat([each.flatten(1) for each in jacobian], dim=1)
        assert int(torch.linalg.matrix_rank(rows)) == balancing.known_laws(d, width, hidden)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 1, 2), (1, 2, 1)], ids=str)
def test_symbols_of_other_sizes_agree_with_autograd(sizes):
    assert theory.gradient_agrees(False, *sizes) < 1e-9


EDGES = {
    "size one": ({"samples": 1, "length": 1, "d": 1, "width": 1}, 1.0, 1.0),
    "one token": ({"samples": 3, "length": 1, "d": 2, "width": 4}, 1.0, 1.0),
    "zero tokens": ({"samples": 2, "length": 3, "d": 2, "width": 4}, 0.0, 1.0),
    "zero weights": ({"samples": 2, "length": 3, "d": 2, "width": 4}, 1.0, 0.0),
    "large tokens": ({"samples": 2, "length": 3, "d": 2, "width": 4}, 1e3, 1.0),
    "small weights": ({"samples": 2, "length": 3, "d": 2, "width": 4}, 1.0, 1e-8),
    "repeated tokens": ({"samples": 2, "length": 3, "d": 2, "width": 4, "repeated": True}, 1.0, 1.0),
}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("edge", EDGES)
def test_kernels_and_slopes_at_the_edges(edge, hidden):
    sizes, tokens, size = EDGES[edge]
    net = Encoder(d=sizes["d"], width=sizes["width"], init="ntk", scaling=0.3, hidden=hidden)
    inputs = tokens * runs.normal(runs.streams((0, 1), "data"), sizes["samples"], sizes["length"], net.d)
    inputs = inputs[:, :1, :1].expand_as(inputs) if "repeated" in sizes else inputs
    labels = runs.normal(runs.streams((0, 1), "labels"), sizes["samples"])
    state = {name: size * each for name, each in model.init(runs.streams((0, 1), "weights"), net).items()}
    fast, slow = kernel.blocks(state, inputs, net), kernel.from_jacobian(state, inputs, net)
    largest = max(float(block.abs().max()) for block in slow.values())
    assert all(torch.allclose(fast[name], block, rtol=1e-8, atol=1e-10 * largest) for name, block in slow.items())
    leaves = {name: each.clone().requires_grad_() for name, each in state.items()}
    wanted = torch.autograd.grad(model.loss(leaves, inputs, labels, net).sum(), list(leaves.values()))
    found, slopes = model.field(inputs.clone().requires_grad_(), labels, net)(leaves)
    assert not any(each.requires_grad for each in (found, *slopes.values()))
    largest = max(float(each.abs().max()) for each in wanted)
    for name, want in zip(leaves, wanted, strict=True):
        assert torch.allclose(slopes[name], want, rtol=1e-8, atol=1e-10 * largest)


def tensors(value):
    """All floating tensors in a nest of dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [each for one in inside for each in tensors(one)]


ASKED = {name: row for name, row in CALLS.items() if tensors(row.make())}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_a_gradient_gives_the_right_one_or_none(name):
    """The slope along one direction, by autograd and by a difference of two calls."""
    function = public.public()[name]

    def answer(shift=0.0, asked=False):
        arguments = ASKED[name].make()
        places = tensors(arguments)
        ways = [runs.normal(runs.streams([place], "way"), *each.shape)[0] for place, each in enumerate(places)]
        # The slope of an eigenvalue is that along symmetric directions.
        ways = [way + way.mT if way.ndim == 3 and way.shape[1] == way.shape[2] else way for way in ways]
        for each, way in zip(places, ways, strict=True):
            each.add_(shift * way * 1e-6).requires_grad_(asked)
        result = function(**arguments)
        return sum(each.nan_to_num().sum() for each in tensors(result) if each is not None), places, ways

    total, places, ways = answer(asked=True)
    if not getattr(total, "requires_grad", False):
        return
    slopes = torch.autograd.grad(total, places, allow_unused=True, materialize_grads=True)
    along = sum(float((slope * way).sum()) for slope, way in zip(slopes, ways, strict=True))
    difference = (float(answer(1.0)[0]) - float(answer(-1.0)[0])) / 2e-6
    assert along == pytest.approx(difference, rel=1e-4, abs=1e-6 * (1 + abs(float(total.detach()))))
