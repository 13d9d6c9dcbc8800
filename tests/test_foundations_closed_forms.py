"""Closed forms and gradients of chapter 1 against brute force, at random arguments outside those of the chapter."""

import warnings

import numpy as np
import pytest
import torch
from conftest import COUNT, RNG, refusal
from scipy.integrate import quad, solve_ivp

from attnflow import flow, runs
from attnflow.foundations import breaking, cases, model, solvable, task, theory

pytestmark = pytest.mark.usefixtures("same_numbers")


def sizes(low, high):
    """A number between two, uniform in the logarithm."""
    return float(np.exp(RNG.uniform(np.log(low), np.log(high))))


def test_the_logistic_curve_is_what_its_equation_follows():
    """Starts above the target too; late, where the exponential of the time overflows, it is at the target."""
    target, share, time = (
        np.array([sizes(*ends) for _ in range(COUNT)]) for ends in ((0.01, 100), (1e-6, 10), (0.1, 5))
    )
    start, time = share * target, time / target  # all are followed on a clock of their own, from 0 to 1
    slow = solve_ivp(lambda _, u: time * 2 * u * (target - u), (0, 1), start, rtol=1e-9, atol=1e-15, method="DOP853").y[
        :, -1
    ]
    for place in range(COUNT):
        times = [0.0, time[place], 1e5 / target[place]]
        found = theory.logistic(times, float(start[place]), float(target[place]))
        assert found == pytest.approx([start[place], slow[place], target[place]], rel=1e-6), place


def test_the_time_of_arrival_is_the_integral_of_one_over_the_speed():
    """From products of either sign, or 1e-12 of the target, in any units of the product."""
    for turn in range(COUNT):
        reach = 10.0 ** RNG.integers(-9, 10)
        target, balance = reach * sizes(0.05, 20), reach * sizes(1e-3, 50) * RNG.choice([-1, 1])
        start = target * (sizes(1e-12, 0.5) if turn % 2 else RNG.uniform(-3, 0.5))
        balance = balance if start < 0 or turn % 4 > 1 else 0.0
        end = start + (target - start) * RNG.uniform(0.01, 0.999)

        def slowness(share):
            """Of the distance to the target that is left, whose logarithm is the variable; in units of the target."""
            left = np.exp(share)
            return 1 / np.hypot(balance / target, 2 * (1 - left))  # noqa: B023

        def waiting(share):
            """The same from the side of zero."""
            near = np.exp(share)
            return near / (np.hypot(balance / target, 2 * near) * (1 - near))  # noqa: B023

        low, high = start / target, end / target
        if 0 < low < 0.1:
            middle = min(high, 0.5)
            slow = quad(waiting, np.log(low), np.log(middle), epsrel=1e-11, limit=200)[0]
            low = middle
        else:
            slow = 0.0
        slow += quad(
            slowness, np.log(1 - high), np.log(1 - low), epsrel=1e-11, limit=200, points=[0.0] if low < 0 else None
        )[0]
        assert theory.arrival_time(start, end, target, balance) == pytest.approx(slow / target, rel=1e-8), (
            start,
            end,
            target,
        )


def test_factors_have_their_product_and_imbalance():
    for _ in range(COUNT):
        product, imbalance = sizes(1e-9, 1e9) * RNG.choice([-1, 1]), sizes(1e-9, 1e9) * RNG.choice([-1, 0, 1])
        a, b = solvable.split(product, imbalance)
        assert a >= 0 and a * b == pytest.approx(product, rel=1e-12)
        assert a * a - b * b == pytest.approx(imbalance, abs=1e-12 * (a * a + b * b))


@pytest.mark.parametrize(
    "pair, factors", [((0, 0), (0, 0)), ((0, -9), (0, 3)), ((-1e-12, -4), (5e-13, -2)), ((0, 9), (3, 0))]
)
def test_factors_at_the_edges(pair, factors):
    assert solvable.split(*map(float, pair)) == pytest.approx(factors, rel=1e-12, abs=0)


def test_invariant_curves_keep_the_balance():
    values, imbalances = RNG.normal(size=COUNT) * 100, [1e-6, 3.0, 1e6]
    branches, separatrix = theory.invariant_curves(list(values), imbalances)
    found = [a * a - b * b for a, b in branches]
    for place, imbalance in enumerate(imbalances):
        for one, sign in zip(found[4 * place : 4 * place + 4], (1, 1, -1, -1), strict=True):
            assert one == pytest.approx(sign * imbalance, rel=1e-9, abs=1e-10)
    assert not found[-1].any() and not np.add(*separatrix).any()


def plain(state, inputs, layer):
    """The output of one sample, by numpy."""
    query, key, value, out = (state[name].numpy() for name in ("W_Q", "W_K", "W_V", "W_O"))
    queries, keys = inputs @ query, inputs @ key
    if layer.kernel == "softmax":
        weights = np.exp(queries @ keys.T / np.sqrt(layer.k))
        weights /= weights.sum(axis=1, keepdims=True)
    else:
        weights = np.exp(-((queries[:, None] - keys) ** 2).sum(axis=2) / (2 * np.sqrt(layer.k)))
    act = {"identity": lambda z: z, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[layer.activation]
    return act(weights @ inputs @ value) @ out + (keys.sum(axis=1, keepdims=True) if layer.skip else 0)


def test_layers_of_any_size_and_kind_have_their_output_and_gradient():
    """Sizes from one on, repeated tokens, tokens and weights of zero, tokens of ten times the size."""
    for turn in range(COUNT):
        d, k, o, samples, length = (int(size) for size in RNG.integers(1, 6, size=5))
        options = {"kernel": "gaussian"} if turn % 3 == 0 else {}
        layer = model.Layer(d, k, o, ("identity", "relu", "tanh")[turn % 4 % 3], skip=turn % 5 == 0, **options)
        generators = runs.streams([turn, turn + 1], "closed")
        inputs = task.tokens(generators, samples, length, d) * (10 if turn % 7 == 0 else 1)
        inputs[:, -1] = 0 if turn % 2 else inputs[:, -1:, :1][:, 0]
        state = model.init(generators, layer, scale=0.0 if turn % 11 == 10 else 1.0)
        targets = task.teacher(generators, layer, inputs)
        for run in range(2):
            one = {name: value[run] for name, value in state.items()}
            wanted = [plain(one, sample, layer) for sample in inputs[run].numpy()]
            assert np.allclose(model.forward(state, inputs, layer)[run].numpy(), wanted, rtol=1e-10, atol=1e-12)
        value, slope = model.field(inputs, targets, layer)(state)
        known, wanted = flow.autograd(lambda now: model.loss(now, inputs, targets, layer))(state)  # noqa: B023
        assert torch.allclose(value, known, rtol=1e-12)
        for name in state:
            assert torch.allclose(slope[name], wanted[name], rtol=1e-9, atol=1e-12 * float(known.max() + 1)), (
                turn,
                name,
            )


def test_a_graph_runs_through_the_loss_to_the_tokens():
    layer, generators = model.Layer(2, 1, 1), runs.streams([0], "closed")
    inputs = task.tokens(generators, 1, 2, 2).requires_grad_()
    state, targets = model.init(generators, layer), torch.zeros(1, 1, 2, 1, dtype=runs.DTYPE)
    assert torch.autograd.gradcheck(lambda given: model.loss(state, given, targets, layer), inputs)


def test_means_are_white_at_any_size():
    for turn in range(COUNT):
        d = int(RNG.integers(1, 6))
        samples, length, target = d + int(RNG.integers(0, 20)), int(RNG.integers(1, 6)), sizes(1e-3, 1e3)
        inputs, labels, beta = task.mean_task(runs.streams([turn], "closed"), samples, length, d, target)
        means = inputs.mean(dim=2)[0]
        assert torch.allclose(means.T @ means / samples, torch.eye(d, dtype=runs.DTYPE), atol=1e-8)
        assert torch.allclose(labels[0, :, 0, 0], target * means @ beta[0], rtol=1e-6, atol=1e-8 * target)


def test_rotary_scores_depend_on_the_distance_of_the_places():
    for _ in range(COUNT):
        length, k = int(RNG.integers(2, 6)), 2 * int(RNG.integers(1, 5))
        one, other = (torch.from_numpy(RNG.normal(size=k)).expand(length, -1) for _ in range(2))
        scores = cases.turned(one) @ cases.turned(other).T
        for distance in range(1 - length, length):
            along = scores.diagonal(distance)
            assert torch.allclose(along, along[:1].expand_as(along))
        assert torch.allclose(scores.diagonal(), (one * other).sum(dim=1))


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((1, 3, 1), {}),
        ((1, 3, 1), {"biases": True}),
        ((2, 1, 1), {"biases": True}),
        ((1, 1, 1), {"gated": True}),
        ((1, 2, 1, 1), {"gated": True, "biases": True}),
    ],
    ids=str,
)
def test_nets_of_any_shape_are_counted_as_known(sizes, options):
    """Wide ones too, where a bias is one more row and leaves more laws."""
    case = cases.network(sizes, **options)
    found = case.count(points=1)
    assert found["closed"] and found["laws"] == case.known


def test_how_unbalanced_a_state_without_values_is():
    layer = model.Layer(2, 3, 1)
    state = model.init(runs.streams(range(3), "closed"), layer)
    state["W_V"][1:], state["W_O"][2:] = 0, 0
    found = breaking.relative(state)["relative"]
    assert found[0].isfinite() and found[1].isinf() and found[2].isnan()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.arrival_time(1e-160, 0.1, 1.0, 0.0), "start = 1e-160"),
        (lambda: theory.arrival_time(0.1, 0.2, 1e151, 1.0), "target = 1e+151"),
        (lambda: theory.arrival_time(0.1, float(np.nextafter(1e150, 0)), 1e150, 1e-150), "imbalance = 1e-150"),
        (lambda: theory.logistic(["soon", "late"], 0.1, 1.0), "plain numbers"),
        (lambda: solvable.split(1e200, 0.0), "product = 1e+200"),
        (lambda: theory.arrival_clock(-theory.RATE), "balance = -lambda"),
    ],
)
def test_what_is_no_number_is_refused(call, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert words in refusal(call)
