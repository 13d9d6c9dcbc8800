"""Laws: the algebra, the count, the drift."""

import sympy as sp
import torch

from attnflow import laws, runs, symbolic
from attnflow.foundations import counting


def normal(*shape, seed=0):
    return runs.normal(runs.streams([seed]), *shape)


def test_imbalance_is_the_slow_sum():
    left, right = normal(4, 3), normal(5, 3, seed=1)
    slow = torch.zeros(1, 3, 3, dtype=runs.DTYPE)
    for i in range(3):
        for j in range(3):
            slow[0, i, j] = sum(left[0, :, i] * left[0, :, j]) - sum(right[0, :, i] * right[0, :, j])
    assert torch.allclose(laws.imbalance(left, right), slow, atol=1e-14)
    diagonal = laws.imbalance(left, right).diagonal(dim1=1, dim2=2)
    assert torch.allclose(laws.neuron_imbalance(left, right.mT), diagonal, atol=1e-14)


def test_drift_is_the_largest_change_over_records_and_entries():
    values = torch.zeros(3, 2, 2, 2, dtype=runs.DTYPE)
    values[1, 0, 1, 0], values[2, 1, 0, 0] = -3.0, 2.0
    assert laws.drift(values).tolist() == [3.0, 2.0]
    assert laws.drift(values[:, :, 1, 0]).tolist() == [3.0, 0.0]


def test_step_identity_holds_for_any_gradient_through_the_product_and_for_no_other():
    left, right, force = normal(4, 3), normal(5, 3, seed=1), normal(4, 5, seed=2)
    gradient = (force @ right, force.mT @ left)
    after = (left - 0.3 * gradient[0], right - 0.3 * gradient[1])
    assert laws.step_identity((left, right), after, gradient, 0.3).item() < 1e-14
    wrong = (left - 0.3 * gradient[0], right - 0.3 * (gradient[1] + 1.0))
    assert laws.step_identity((left, right), wrong, gradient, 0.3).item() > 1e-3


def test_time_derivative_of_a_harmonic_flow():
    a, b = symbolic.matrix("a", 1, 1), symbolic.matrix("b", 1, 1)
    rotation = {a: b, b: -a}
    assert laws.is_law(a[0] ** 2 + b[0] ** 2, rotation)
    assert laws.time_derivative(a[0] ** 2, rotation) == sp.expand(2 * a[0] * b[0])
    assert not laws.is_law(a[0] ** 2 - b[0] ** 2, rotation)


def test_rank_of_known_matrices():
    rows = normal(6, 3)[0] @ normal(3, 8, seed=1)[0]
    rank, gap = laws.numerical_rank(rows)
    assert rank == 3 and gap > 1e6
    assert laws.numerical_rank(torch.eye(4, dtype=runs.DTYPE)) == (4, float("inf"))


def test_product_laws_are_the_rank_of_the_jacobian_of_the_balance():
    for rows, width in ((2, 1), (4, 2), (4, 6), (5, 5), (6, 9)):
        left, right = normal(rows // 2, width)[0], normal(rows - rows // 2, width, seed=1)[0]
        jacobian = torch.autograd.functional.jacobian(lambda a, b: laws.imbalance(a[None], b[None])[0], (left, right))
        flat = torch.cat([part.reshape(width * width, -1) for part in jacobian], dim=1)
        assert laws.numerical_rank(flat)[0] == laws.product_laws(rows, width)


def test_every_case_of_the_chapter_is_counted_sharply_and_completely():
    for case in counting.cases():
        found = case.count(seed=1)
        assert found["complete"] and found["gap"] > 1e6, case.title


def test_brackets_are_needed():
    """Without Lie brackets the bound on the laws is not sharp: their rank exceeds that of the gradients."""
    found = counting.product(3, 4, 2).count()
    assert found["size"] - found["rank_gradients"] > found["laws"] == 3
