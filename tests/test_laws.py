"""Laws and their algebra, and sympy against numbers."""

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import refusal

from attnflow import attention, laws, runs, symbolic
from attnflow.foundations import cases


def normal(*shape, seed=0):
    return runs.normal(runs.streams([seed], "draws"), *shape)


LEFT, RIGHT, FORCE = normal(4, 3), normal(5, 3, seed=1), normal(4, 5, seed=2)
A, B = symbolic.matrix("a", 2, 2), symbolic.matrix("b", 2, 2)


def test_imbalance_is_the_slow_sum():
    slow = [[LEFT[0, :, i] @ LEFT[0, :, j] - RIGHT[0, :, i] @ RIGHT[0, :, j] for j in range(3)] for i in range(3)]
    assert torch.allclose(laws.imbalance(LEFT, RIGHT)[0], torch.tensor(slow, dtype=runs.DTYPE), atol=1e-14)
    diagonal = laws.imbalance(LEFT, RIGHT).diagonal(dim1=1, dim2=2)
    assert torch.allclose(laws.neuron_imbalance(LEFT, RIGHT.mT), diagonal, atol=1e-14)


def test_drift_is_the_largest_change_over_records_and_entries():
    values = torch.zeros(3, 2, 2, 2, dtype=runs.DTYPE)
    values[1, 0, 1, 0], values[2, 1, 0, 0] = -3.0, 2.0
    assert laws.drift(values).tolist() == [3.0, 2.0] and laws.drift(values[:, :, 1, 0]).tolist() == [3.0, 0.0]


@pytest.mark.parametrize(("wrong", "holds"), [(0.0, True), (1.0, False)])
def test_step_identity_holds_for_any_gradient_through_the_product_and_for_no_other(wrong, holds):
    gradient = (FORCE @ RIGHT, FORCE.mT @ LEFT)
    after = (LEFT - 0.3 * gradient[0], RIGHT - 0.3 * (gradient[1] + wrong))
    residual = laws.step_identity((LEFT, RIGHT), after, gradient, 0.3).item()
    assert (residual < 1e-14) == holds == (residual < 1e-3)


def test_time_derivative_of_a_harmonic_flow():
    rotation = {A: B, B: -A}
    assert laws.is_law(A[0] ** 2 + B[0] ** 2, rotation) and not laws.is_law(A[0] ** 2 - B[0] ** 2, rotation)
    assert laws.time_derivative(A[0] ** 2, rotation) == sp.expand(2 * A[0] * B[0])


def test_rank_of_known_matrices():
    rank, gap = laws.numerical_rank(normal(6, 3)[0] @ normal(3, 8, seed=1)[0])
    assert rank == 3 and gap > 1e6
    assert laws.numerical_rank(torch.eye(4, dtype=runs.DTYPE)) == (4, np.inf)
    assert laws.numerical_rank(torch.diag(torch.tensor([1.0, 2.0, 1e-13], dtype=runs.DTYPE)))[0] == 2


@pytest.mark.parametrize("rows, width", [(2, 1), (4, 2), (4, 6), (5, 5), (6, 9)])
def test_product_laws_are_the_rank_of_the_jacobian_of_the_balance(rows, width):
    factors = normal(rows // 2, width)[0], normal(rows - rows // 2, width, seed=1)[0]
    jacobian = torch.autograd.functional.jacobian(lambda a, b: laws.imbalance(a[None], b[None])[0], factors)
    flat = torch.cat([part.reshape(width * width, -1) for part in jacobian], dim=1)
    assert laws.numerical_rank(flat)[0] == laws.product_laws(rows, width)


def test_brackets_are_needed():
    """Without Lie brackets the bound on the laws is not sharp: their rank exceeds that of the gradients."""
    found = cases.product(3, 4, 2).count()
    assert found["size"] - found["rank_gradients"] > found["laws"] == 3


def agreement(wrong, **settings):
    """A derived gradient of |A B|^2/2 by A, with an error of that size, against autograd."""
    gradient = symbolic.gradient(sum((A * B)[i] ** 2 for i in range(4)) / 2, A) + wrong * sp.ones(2, 2)
    draws = {"loss": lambda point: (point["a"] @ point["b"]).square().sum() / 2}
    draws["draw"] = lambda generator: {name: runs.normal([generator], 2, 2)[0] for name in ("a", "b")}
    return symbolic.agree({"a": gradient}, {"a": A, "b": B}, **draws, **settings)


def test_agree_is_small_for_the_gradient_and_large_for_anything_else():
    assert agreement(0) < 1e-12 and agreement(1e-3) > 1e-5
    assert "points = 0" in refusal(lambda: agreement(0, points=0))


def test_symbols_in_numbers_keep_their_shapes_and_the_softmax_its_slope():
    values = {"a": np.array([[0.3, 0.7], [0.5, 0.5]]), "b": np.array([[1.0, 2.0], [3.0, 5.0]])}
    found = symbolic.evaluate({"a": A * B * B.T, "slope": symbolic.softmax_slope(A, B)}, {"a": A, "b": B}, values)
    assert np.allclose(found["a"], values["a"] @ values["b"] @ values["b"].T)
    assert np.allclose(found["slope"], attention.softmax_slope(*map(torch.tensor, values.values())))
