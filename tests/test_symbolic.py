"""sympy against numbers."""

import numpy as np
import pytest
import sympy as sp
import torch

from attnflow import runs, symbolic


def bilinear(wrong=0):
    a, b = symbolic.matrix("a", 2, 2), symbolic.matrix("b", 2, 2)
    expression = sum((a * b)[i] ** 2 for i in range(4)) / 2
    gradient = symbolic.gradient(expression, a)
    return {"a": gradient + wrong * sp.ones(2, 2)}, {"a": a, "b": b}


def draw(generator):
    return {name: torch.randn(2, 2, generator=generator, dtype=runs.DTYPE) for name in ("a", "b")}


def loss(point):
    return (point["a"] @ point["b"]).square().sum() / 2


def test_agree_is_small_for_the_gradient_and_large_for_anything_else():
    assert symbolic.agree(*bilinear(), loss, draw) < 1e-12
    assert symbolic.agree(*bilinear(wrong=1e-3), loss, draw) > 1e-5
    with pytest.raises(ValueError, match="points = 0"):
        symbolic.agree(*bilinear(), loss, draw, points=0)


def test_evaluate_keeps_shapes():
    expressions, symbols = bilinear()
    values = {"a": np.eye(2), "b": np.array([[1.0, 2.0], [3.0, 4.0]])}
    found = symbolic.evaluate(expressions, symbols, values)["a"]
    assert np.allclose(found, values["b"] @ values["b"].T)
