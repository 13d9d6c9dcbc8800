"""Closed forms and gradients of chapter 2 against brute force, at random arguments outside those of the chapter."""

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import COUNT, RNG
from scipy.optimize import brentq

from attnflow import flow, runs
from attnflow.cooccurrence import balance, dual, model, phases, ratio, reduced, setting, task, theory
from attnflow.cooccurrence.task import Task

pytestmark = pytest.mark.usefixtures("same_numbers")


def drawn(turn, samples=None, length=None, **more):
    """A task of random sizes, and one data set of it."""
    asked = Task(samples or 6 * int(RNG.integers(1, 9)), length or int(RNG.integers(3, 16)), **more)
    return asked, *task.draw(runs.streams([turn], "closed"), asked)


def test_limits_are_those_of_the_dual_of_drawn_data():
    """The class sums, the ratio, the margins of the shortest vector, and the least sum of its token scores."""
    for turn in range(COUNT):
        asked, tokens, labels = drawn(turn)
        found = dual.separate(task.counts(tokens, asked.size)[0], labels[0])
        sums = found.sums(asked.classes)
        assert ratio.closed_sums(asked.samples, asked.length) == pytest.approx(sums, abs=1e-8), asked
        second, fourth, rho = balance.predicted(asked.samples, asked.length)
        assert rho == pytest.approx(balance.ratio(*sums), abs=1e-8)
        scale = found.alpha[asked.classes.numpy() == 0].sum()
        margins = balance.class_margins(asked.samples, asked.length, second, fourth)
        wanted = [found.margins[asked.classes.numpy() == place].mean() for place in (0, 1, 3)]
        assert np.array(margins) * scale == pytest.approx(wanted, rel=1e-7)
        one, two, common = found.weights[:3]
        least = min(one + two + common, -one - common, -two - common) / one
        assert phases.least_sum({"task": asked}) == pytest.approx(least, abs=1e-7)


def test_the_edge_tells_whether_the_fourth_class_is_idle_and_the_lower_end_where_the_ratio_is_one():
    edge, lower = balance.edge(), balance.lower_end()
    for _ in range(COUNT):
        length = int(RNG.integers(3, 100))
        assert balance.exact(int(lower.subs(balance.LENGTH, length)), length, True)[2] == 1
        at = {balance.SAMPLES: sp.Rational(int(RNG.integers(12, 4000)), 2), balance.LENGTH: length}
        sign = edge.subs(at)
        assert bool(sign > 0) == bool(balance.limit(False)["slack"].subs(at) > 0)
        assert bool(sign < 0) == bool(balance.limit(True)["s_4"].subs(at) > 0)


def test_the_length_at_a_zero_is_the_greatest_root():
    """Of a line, and of parabolas whose other zero is not real, or a constant."""
    n, length = balance.SAMPLES, balance.LENGTH
    samples = np.exp(RNG.uniform(1, 12, size=COUNT))
    edge = sp.lambdify((n, length), balance.edge(), "math")
    for count, found in zip(samples, balance.lengths_at(balance.edge(), samples), strict=True):
        assert found == pytest.approx(brentq(lambda each: edge(count, each), 0, 100 + count), rel=1e-9)  # noqa: B023
    wanted = np.maximum(7.0, samples / 2)
    assert balance.lengths_at((length - 7) * (2 * length - n), samples) == pytest.approx(wanted)
    assert balance.lengths_at((length**2 + n) * (length - n), samples) == pytest.approx(samples)
    assert balance.lengths_at(length + n, list(samples)) == pytest.approx(-samples)


def test_the_ratio_moves_as_its_quadratic_says():
    """Two values of the ratio at a short distance of time, while the loss derivatives fall as the margins rise."""
    expression, rho, steep = balance.ratio_flow()
    rate = sp.lambdify((rho, *steep), expression, "math")
    for _ in range(COUNT):
        sums, slopes = RNG.uniform(0.1, 3, size=3), RNG.uniform(0.1, 3, size=3)
        sums[0] = sums[1] + RNG.uniform(0.2, 3)

        def now(time):
            rates = [2 - before, before - 1, before]  # noqa: B023
            first, second, fourth = (s - S * r * time for s, S, r in zip(sums, slopes, rates, strict=True))  # noqa: B023
            return balance.ratio(first, second, second, fourth)

        before = balance.ratio(sums[0], sums[1], sums[1], sums[2])
        moved = (now(1e-6) - now(-1e-6)) / 2e-6 * (sums[0] - sums[1])
        assert moved == pytest.approx(rate(before, *slopes), rel=1e-6, abs=1e-6)


def test_the_fixed_ratio_is_a_zero_of_its_quadratic():
    for _ in range(10):
        samples, length = 6 * int(RNG.integers(1, 200)), int(RNG.integers(3, 60))
        second, fourth, rho = balance.predicted(samples, length)
        roots = np.roots([-(1 + second), 1 - second - fourth, 2 * (1 + second)])
        zero, known = balance.fixed_ratio(samples, length)
        assert (float(zero), float(known)) == pytest.approx((roots.max(), rho))


def test_separation_meets_the_conditions_of_its_optimum_at_any_size_of_the_data():
    """More samples than dimensions and fewer, one sample, repeated samples, and features from 1e-8 to 1e8."""
    for turn in range(COUNT):
        n, d = (1, 1) if turn == 0 else (int(RNG.integers(1, 15)), int(RNG.integers(1, 15)))
        size = 10.0 ** RNG.integers(-8, 9)
        plane, features = RNG.normal(size=d), size * RNG.normal(size=(n, d))
        labels = np.where(features @ plane > 0, 1.0, -1.0)
        features += 0.1 * size * labels[:, None] * plane  # apart by a margin
        if turn % 3 == 0:
            features, labels = np.vstack([features, features[:1]]), np.append(labels, labels[0])
        found = dual.separate(features, labels)
        assert found.margins.min() == pytest.approx(1, abs=1e-7) and found.alpha.min() >= 0
        assert np.abs(found.alpha * (found.margins - 1)).max() < 1e-7 * found.alpha.max()
        assert found.weights == pytest.approx(features.T @ (labels * found.alpha), rel=1e-9, abs=1e-9 / size)
        assert labels * (features @ found.weights) == pytest.approx(found.margins)


def test_the_reduced_flow_is_descent_on_the_token_scores_of_drawn_data():
    """Its margins and velocity, of a readout that rests and of one that follows its law, word by word."""
    for turn in range(COUNT):
        fractions = RNG.permutation([0.5, 1 / 6, 1 / 6, 1 / 6]).tolist()
        asked, tokens, labels = drawn(turn, length=int(RNG.integers(4, 16)), fractions=fractions)
        growth = float(RNG.uniform(0, 2)) * (turn % 2)
        known = reduced.Reduced(asked.samples, asked.length, asked.fractions, growth)
        scores = RNG.normal(size=7) * np.exp(RNG.uniform(-5, 2))
        gamma = torch.zeros(asked.size, dtype=runs.DTYPE)
        gamma[tokens[0]] = torch.from_numpy(scores[3:])[asked.classes][:, None].expand(-1, asked.length)
        gamma[:3] = torch.from_numpy(scores[:3])
        gamma.requires_grad_()
        margins = labels[0] * gamma[tokens[0]].sum(dim=1)
        pull = -torch.autograd.grad(torch.nn.functional.softplus(-margins).mean(), gamma)[0]
        gamma = gamma.detach()
        size = (1 + np.sqrt(1 + 4 * growth * float(gamma.square().sum()))) / 2
        velocity = size * pull + growth / size * gamma * (gamma @ pull)
        words = torch.tensor([0, 1, 2, *(int(tokens[0][asked.classes == each].max()) for each in range(4))])
        assert known.margins(scores) == pytest.approx(setting.class_means(margins.detach(), asked.classes).numpy())
        assert float(known.readout(scores)) == pytest.approx(size)
        assert known.velocity(0.0, scores) == pytest.approx(velocity[words].numpy(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("full", [False, True])
def test_models_of_any_size_have_their_gradient(full):
    """One sample word, one column, one neuron; repeated words; weights of zero and of ten times the size."""
    for turn in range(COUNT):
        stack, samples, length, words, k, o = (int(size) for size in RNG.integers(1, 6, size=6))
        tokens = torch.from_numpy(RNG.integers(0, words, size=(stack, samples, length)))
        labels = torch.from_numpy(RNG.choice([-1.0, 1.0], size=(stack, samples)))
        inner = (0.0, 1.0, 10.0)[turn % 3]
        state = model.init(
            runs.streams(range(stack), "closed"), words, k, o, inner, 1.0, ("normal", "uniform")[turn % 2]
        )
        state = state if full else model.reduce(state)

        def loss(now):
            out = now["readout"] if not full else (now["W_O"] @ now["signs"][:, :, None])[..., 0]
            values = []
            for run in range(stack):  # noqa: B023
                one = {name: now[name][run] for name in ("W_Q", "W_K", "W_V")} | {"W_O": out[run][:, None]}
                bags = [torch.nn.functional.one_hot(each, words).to(runs.DTYPE) for each in tokens[run]]  # noqa: B023
                told = torch.stack([theory.output(one, bag, torch.ones(1, dtype=runs.DTYPE)) for bag in bags])
                values.append(torch.nn.functional.softplus(-labels[run] * told).mean())  # noqa: B023
            return torch.stack(values)

        value, slope = model.field(tokens, labels, words, o)(state)
        known, wanted = flow.autograd(loss)(state)
        wanted |= {} if full else {"readout": o * wanted["readout"]}
        assert torch.allclose(value, known, rtol=1e-10)
        largest = max(float(each.abs().max()) for each in wanted.values())
        for name in state:
            assert torch.allclose(slope[name], wanted[name], rtol=1e-8, atol=1e-9 * largest), (turn, name)


def test_words_are_counted_one_by_one():
    for _ in range(COUNT):
        words = int(RNG.integers(1, 9))
        tokens = torch.from_numpy(RNG.integers(0, words, size=RNG.integers(1, 5, size=3)))
        slow = [[[(sample == word).sum() for word in range(words)] for sample in run] for run in tokens]
        assert task.counts(tokens, words).tolist() == slow


def test_readings_of_runs_without_a_second_phase_or_change():
    times = torch.arange(1.0, 4.0, dtype=runs.DTYPE)[:, None]
    run = {
        "tau": times,
        "tau_1": times[0] * torch.nan,
        "watched": torch.ones(3, 1, 4, dtype=runs.DTYPE),
        "loss": 1 / times,
    }
    assert phases.increments(run, "watched", setting.UPWARDS).isnan() and phases.share(run, "watched").isnan()
    assert phases.fall(run, 0.1, 0.01).isnan() and phases.fall(run, 0.4, 0.3).isnan()
    assert phases.fall(run, 2.0, 0.1).tolist() == pytest.approx([-1.0])
