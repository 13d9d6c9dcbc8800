"""Tangent kernels: the Gram form equals the Jacobian, the arc-cosine kernels equal an average over neurons."""

import pytest
import torch
from conftest import refusal

from attnflow import ntk, runs


def drawn(*shape, seed=0):
    return runs.normal(runs.streams([seed], "draws"), *shape)[0]


def test_arc_cosine_equals_an_average_over_neurons():
    x, v = drawn(3, 5), drawn(400_000, 5, seed=1)
    active, values = (v @ x.mT > 0).to(runs.DTYPE), torch.relu(v @ x.mT)
    zeroth, first = ntk.arc_cosine(x, x)
    assert torch.allclose(active.mT @ active / len(v), zeroth, atol=4e-3)
    assert torch.allclose(values.mT @ values / len(v), first, rtol=2e-2)


def test_arc_cosine_of_parallel_opposite_and_zero_vectors():
    x = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], dtype=runs.DTYPE)
    zeroth, first = ntk.arc_cosine(x, x)
    assert zeroth[0, :2].tolist() == pytest.approx([0.5, 0.0]) and first[0].tolist() == pytest.approx([2.0, 0.0, 0.0])
    assert zeroth.isfinite().all()


@pytest.mark.parametrize("samples", [1, 2, 6])
@pytest.mark.parametrize("small", [ntk.SMALL, 0])
def test_rank_one_equals_the_sum_over_positions(samples, small, monkeypatch):
    """With gradients that are written down, and without; and so does its own slope."""
    monkeypatch.setattr(ntk, "SMALL", small)
    monkeypatch.setattr(ntk, "ROWS", 4)
    a, b, weight = drawn(2, 12, 3).requires_grad_(), drawn(2, 12, 4, seed=1).requires_grad_(), drawn(samples, samples)
    gradients = torch.einsum("sia,sib->siab", a, b).unflatten(1, (samples, -1)).sum(dim=2).flatten(2)
    found, known = ntk.rank_one(a, b, samples), gradients @ gradients.mT
    assert torch.allclose(found, known, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad((weight * each).sum(), (a, b), retain_graph=True) for each in (found, known)]
    assert all(torch.allclose(*pair, rtol=1e-10, atol=1e-10) for pair in zip(*slopes, strict=True))


def test_factors_equal_their_gradients():
    force, left, right = drawn(2, 5, 3, 4), drawn(2, 3, 6, seed=1), drawn(2, 4, 6, seed=2)
    first, second = (force @ right[:, None]).flatten(2), (force.mT @ left[:, None]).flatten(2)
    assert torch.allclose(ntk.factors(force, left, right), first @ first.mT + second @ second.mT, rtol=1e-12)


def test_forecast_equals_descent_on_the_kernel():
    basis, residual = drawn(2, 4, 6), drawn(2, 4, seed=1)
    kernel, losses, now = basis @ basis.mT, [], residual
    step = 0.9 / torch.linalg.eigvalsh(kernel)[:, -1]
    for _ in range(8):
        losses.append(now.square().sum(dim=1) / 2)
        now = now - step[:, None] * (kernel @ now[:, :, None])[:, :, 0]
    assert torch.allclose(ntk.linear_losses(kernel, residual, step, 7), torch.stack(losses), rtol=1e-10)


def test_distance_is_relative():
    kernel = torch.eye(3, dtype=runs.DTYPE)[None]
    assert float(ntk.distance(1.5 * kernel, kernel)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ntk.rank_one(drawn(1, 7, 2), drawn(1, 7, 2), 2), "multiple of the 2 samples"),
        (lambda: ntk.rank_one(drawn(1, 6, 2), drawn(1, 6, 2), 0), "samples = 0"),
        (lambda: ntk.linear_losses(drawn(1, 2, 2), drawn(1, 2), 0.1, 0), "steps = 0"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
