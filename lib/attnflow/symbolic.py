r"""sympy and torch are one thing: what is derived in symbols is what is computed in numbers.

Derivatives are taken in chain-rule form, with the attention weights as symbols of their own: a softmax that is written
out and differentiated does not simplify in any useful time.
"""

from collections.abc import Callable

import numpy as np
import sympy as sp
import torch

from attnflow import door, runs

MATRIX = door.instance(sp.MatrixBase)


@door.takes(name=door.TEXT, rows=door.COUNT, columns=door.COUNT)
def matrix(name: str, rows: int, columns: int) -> sp.ImmutableMatrix:
    """An immutable matrix of real symbols, called ``name`` with the place behind it, of so many ``rows`` and ``columns``.

    >>> matrix("A", 1, 2)
    Matrix([[A_11, A_12]])
    """
    entries = [[sp.Symbol(f"{name}_{i + 1}{j + 1}", real=True) for j in range(columns)] for i in range(rows)]
    return sp.ImmutableMatrix(entries)


@door.takes(expression=door.instance(sp.Expr), symbols=MATRIX)
def gradient(expression: sp.Expr, symbols: sp.MatrixBase) -> sp.ImmutableMatrix:
    """The matrix of partial derivatives of a scalar ``expression`` by a matrix of ``symbols``."""
    return sp.ImmutableMatrix(symbols.rows, symbols.cols, lambda i, j: sp.diff(expression, symbols[i, j]))


@door.takes(weights=MATRIX, slope=MATRIX)
def softmax_slope(weights: sp.MatrixBase, slope: sp.MatrixBase) -> sp.ImmutableMatrix:
    r"""Slope by the logits of a softmax row by row, $S_{ij}(E_{ij} - \sum_l S_{il}E_{il})$, with S as symbols.

    weights: sympy matrix S (rows, columns); slope: E, the slope by S, of the same shape. Returns an immutable matrix.
    """
    means = [sum(weights[i, j] * slope[i, j] for j in range(weights.cols)) for i in range(weights.rows)]
    return sp.ImmutableMatrix(weights.rows, weights.cols, lambda i, j: weights[i, j] * (slope[i, j] - means[i]))


@door.takes(expressions=door.named(MATRIX), symbols=door.named(MATRIX), values=door.named(door.ARRAY))
def evaluate(expressions: dict, symbols: dict, values: dict) -> dict[str, np.ndarray]:
    """Put numbers into sympy matrices.

    expressions: name -> matrix; symbols: name -> matrix of symbols; values: name -> array of the same shape.
    Returns name -> float64 array of the shape of the matrix.
    """
    for name, known in symbols.items():
        size = np.asarray(values[name]).size if name in values else 0
        runs.check(
            f"values[{name!r}]", f"{size} numbers", f"one for each of the {len(known)} symbols", size == len(known)
        )
    flat = [symbol for name in symbols for symbol in symbols[name]]
    numbers = [entry for name in symbols for entry in np.asarray(values[name], dtype=float).reshape(-1)]
    function = sp.lambdify(flat, [list(matrix) for matrix in expressions.values()], "numpy", cse=True)
    rows = function(*numbers)
    return {
        name: np.array(row, dtype=float).reshape(matrix.shape)
        for (name, matrix), row in zip(expressions.items(), rows, strict=True)
    }


@door.takes(
    expressions=door.named(MATRIX),
    symbols=door.named(MATRIX),
    loss=door.FUNCTION,
    draw=door.FUNCTION,
    intermediate=door.FUNCTION,
    points=door.COUNT,
    seed=door.INDEX,
)
def agree(
    expressions: dict,
    symbols: dict,
    loss: Callable[[dict], torch.Tensor],
    draw: Callable[[torch.Generator], dict],
    intermediate: Callable[[dict], dict] | None = None,
    points: int = 5,
    seed: int = 0,
) -> float:
    r"""Largest relative difference between a derived gradient and torch autograd, at random float64 points.

    expressions: parameter name -> sympy matrix, the derived gradient; symbols: name -> matrix of symbols it uses;
    loss: name -> tensor dict to a scalar tensor; draw: torch.Generator -> the dict of tensors at one point;
    intermediate: the same dict -> further named tensors that the expressions use as symbols (attention weights,
    residuals); points: how many are drawn, from the stream of ``seed``. Returns a float.
    """
    runs.integer("points", points)
    (generator,) = runs.streams([seed], "points")
    worst = 0.0
    for _ in range(points):
        point = draw(generator)
        leaves = {name: value.clone().requires_grad_(name in expressions) for name, value in point.items()}
        wanted = torch.autograd.grad(loss(leaves), [leaves[name] for name in expressions])
        known = point | (intermediate(point) if intermediate else {})
        derived = evaluate(expressions, symbols, {name: known[name].numpy() for name in symbols})
        for name, want in zip(expressions, wanted, strict=True):
            scale = float(want.abs().max()) or 1.0
            worst = max(worst, float(np.abs(derived[name] - want.numpy()).max()) / scale)
    return worst
