r"""Conservation laws of a gradient flow: state them, prove them, count them, measure them.

The proof is algebra (sympy), the count is the rank of a span of vector fields, the measurement is the drift along
descent with fixed steps, which must fall like the first power of the step.
"""

import math
from collections.abc import Callable

import numpy as np
import sympy as sp
import torch
from torch.func import grad, jvp, vmap

from attnflow import door, runs
from attnflow.runs import Stack

PAIR = door.together("S d k", "S e k")


@door.takes(left="S ... d k", right="S ... e k")
def imbalance(left: Stack, right: Stack) -> Stack:
    r"""Balance matrix $A^\top A - B^\top B$ of two factors that meet in a product $A B^\top$.

    Constant along the gradient flow of any loss that sees only $A B^\top$ (chapter 1).
    left: (S, ..., d, k), right: (S, ..., e, k). Returns (S, ..., k, k), symmetric.

    >>> a = torch.eye(2, dtype=torch.float64)[None]
    >>> bool((imbalance(a, a) == 0).all())
    True
    """
    return left.mT @ left - right.mT @ right


@door.takes(incoming="S d k", outgoing="S k o")
def neuron_imbalance(incoming: Stack, outgoing: Stack) -> Stack:
    r"""Balance $\|v_j\|^2 - \|o_j\|^2$ of every neuron between two layers, the diagonal of the balance matrix.

    Constant along the gradient flow when the activation between them is 1-homogeneous, as ReLU is (chapter 1).
    incoming: (S, d, k), outgoing: (S, k, o). Returns (S, k).
    """
    return incoming.square().sum(dim=1) - outgoing.square().sum(dim=2)


@door.takes(expression=door.EXPRESSION, velocity=door.VELOCITY)
def time_derivative(expression: sp.Basic, velocity: dict) -> sp.Basic:
    r"""Derivative of a sympy expression or matrix along a flow, by the chain rule.

    velocity: dict, sympy matrix of symbols -> matrix of their time derivatives. Returns the same shape, expanded.

    >>> a, b = sp.Matrix([sp.Symbol("a")]), sp.Matrix([sp.Symbol("b")])
    >>> time_derivative(a[0] ** 2 - b[0] ** 2, {a.as_immutable(): -b, b.as_immutable(): -a})
    0
    """
    pairs = [pair for symbols, rates in velocity.items() for pair in zip(symbols, rates, strict=True)]

    def along(entry):
        return sp.expand(sum(sp.diff(entry, symbol) * rate for symbol, rate in pairs))

    return expression.applyfunc(along) if isinstance(expression, sp.MatrixBase) else along(expression)


@door.takes(expression=door.EXPRESSION, velocity=door.VELOCITY)
def is_law(expression: sp.Basic, velocity: dict) -> bool:
    """Whether every entry of an ``expression`` keeps its value along a flow of that ``velocity``, identically."""
    derivative = time_derivative(expression, velocity)
    entries = derivative if isinstance(derivative, sp.MatrixBase) else [derivative]
    return all(sp.simplify(entry) == 0 for entry in entries)


@door.takes(values="gaps: K S ...")
def drift(values: torch.Tensor) -> Stack:
    r"""How far a law moved: $\max |C(t_k) - C(0)|$ over records and entries. values: (K, S, ...). Returns (S,)."""
    moved = (values - values[:1]).abs()
    return moved.flatten(2).amax(dim=(0, 2)) if moved.ndim > 2 else moved.amax(dim=0)


@door.takes(before=PAIR, after=PAIR, before_gradient=PAIR, step=door.POSITIVE)
def step_identity(before: tuple, after: tuple, before_gradient: tuple, step: float) -> Stack:
    r"""Residual of the exact one-step identity of descent for two factors that meet in a product.

    $\Delta(A^\top A - B^\top B) = \eta^2 (G_A^\top G_A - G_B^\top G_B)$ holds at any step $\eta$, since the terms of
    first order cancel by the law itself. before, after, before_gradient: pairs (A, B), each (S, ., k).
    Returns (S,), relative to the largest entry of $A^\top A$.
    """
    change = imbalance(*after) - imbalance(*before)
    predicted = step**2 * imbalance(*before_gradient)
    scale = (before[0].mT @ before[0]).abs().amax(dim=(1, 2))
    return (change - predicted).abs().amax(dim=(1, 2)) / scale


QUIET = 3  # batches of brackets in a row that add nothing: then the rank has stopped


@door.takes(
    output=door.FUNCTION,
    size=door.either(door.COUNT, door.named(door.several(door.COUNT, least=0))),
    sample=door.FUNCTION,
    points=door.COUNT,
    batch=door.COUNT,
    deepest=door.COUNT,
    tolerance=door.POSITIVE,
)
def count(
    output: Callable,
    size: int | dict[str, tuple],
    sample: Callable[[torch.Generator], torch.Tensor],
    generator: torch.Generator,
    points: int = 3,
    batch: int | None = None,
    deepest: int = 8,
    tolerance: float = 1e-9,
) -> dict:
    r"""Count the conservation laws that hold for every loss and every data set, from above.

    A law is constant along each field $f_x = \nabla_\theta\,\mathrm{output}(\theta, x)$, so it is constant along their Lie
    brackets $[f, g] = \partial g\, f - \partial f\, g$, and along brackets of these. Brackets are nested as
    $[f_{x_1}, [f_{x_2}, \dots f_{x_m}]]$, which span the whole algebra, until three more batches add nothing to the rank r at
    a random point. That bounds the dimension they span from below, so at most P - r independent laws exist there. Where as
    many are known, the list is complete.

    output: function of (theta, x) that returns one number; size: P, for theta (P,), or a dict name -> shape, for theta a
    dict of tensors of these shapes; sample: ``generator`` -> one random x; points: how many random theta, of which the
    largest rank counts; batch: vectors drawn of each depth (default 2P); deepest: depth at which nesting ends in any case;
    tolerance: of a singular value, over the largest. Returns a dict: ``laws`` (the bound), ``rank``, ``rank_gradients``
    (without brackets), ``depth`` (of the brackets that still added to the rank), ``closed`` (whether the rank has stopped),
    ``gap`` (smallest kept singular value over largest dropped one), ``size``.
    """
    if isinstance(size, dict):
        return count(_of_parts(output, size), _total(size), sample, generator, points, batch, deepest, tolerance)
    batch, deepest = runs.integer("batch", batch or 2 * runs.integer("size", size)), runs.integer("deepest", deepest)
    found = [
        _closure(output, size, sample, generator, batch, deepest, tolerance)
        for _ in range(runs.integer("points", points))
    ]
    best = max(found, key=lambda row: row["rank"])
    return best | {"laws": size - best["rank"], "size": size}


def _total(shapes):
    """How many entries tensors of these shapes have together."""
    return sum(math.prod(shape) for shape in shapes.values())


def _of_parts(output, shapes):
    """The same output as a function of one flat theta."""

    def flat(theta, x):
        parts = torch.split(theta, [math.prod(shape) for shape in shapes.values()])
        return output({name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}, x)

    return flat


def _closure(output, size, sample, generator, batch, deepest, tolerance):
    """Rank of gradients and nested brackets at one random point.

    Where one depth adds nothing the next cannot either, since coefficients that are functions of theta keep the span closed;
    three batches make sure that the draws were enough.
    """
    theta = torch.randn(size, generator=generator, dtype=runs.DTYPE, device="cpu")
    slope = grad(output)

    def bracket(point, inputs):
        if len(inputs) == 1:
            return slope(point, inputs[0])
        inner, along = jvp(lambda theta: bracket(theta, inputs[1:]), (point,), (slope(point, inputs[0]),))
        return along - jvp(lambda theta: slope(theta, inputs[0]), (point,), (inner,))[1]

    def drawn(depth):
        inputs = [torch.stack([sample(generator) for _ in range(depth + 1)]) for _ in range(batch)]
        return vmap(bracket, (None, 0))(theta, torch.stack(inputs))

    rows, depth, quiet = drawn(0), 1, 0
    first, gap = numerical_rank(rows, tolerance)
    rank = first
    while rank < size and quiet < QUIET and depth <= deepest:
        rows = torch.cat([rows, *(drawn(level) for level in range(1, depth + 1))])
        grown, gap = numerical_rank(rows, tolerance)
        depth, quiet, rank = (depth + 1, 0, grown) if grown > rank else (depth, quiet + 1, rank)
    closed = rank == size or quiet == QUIET
    return {"rank": rank, "rank_gradients": first, "depth": depth - 1, "closed": closed, "gap": gap}


@door.takes(rows="R P", tolerance=door.POSITIVE)
def numerical_rank(rows: torch.Tensor, tolerance: float = 1e-9) -> tuple[int, float]:
    """Rank of a set of vectors, each scaled to length one, and the gap of the singular values at the cut.

    rows: (R, P); tolerance: of a singular value, over the largest. A vector shorter than 1e-11 of the longest is
    left out: it is the rounding error of a bracket that vanishes, and would count as a direction once it is scaled up.
    Returns the rank, and the smallest kept singular value over the largest dropped one.

    >>> numerical_rank(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1e-16]], dtype=torch.float64))[0]
    1
    """
    length = rows.norm(dim=1, keepdim=True)
    kept = length[:, 0] > 1e-11 * length.max()
    if not kept.any():
        return 0, np.inf
    rows = rows[kept] / length[kept]
    values = torch.linalg.svdvals(rows)
    rank = int((values > tolerance * values[0]).sum())
    gap = np.inf if rank == len(values) else float(values[rank - 1] / values[rank].clamp_min(1e-300))
    return rank, gap


@door.takes(rows=door.COUNT, width=door.COUNT)
def product_laws(rows: int, width: int) -> int:
    r"""Number of independent entries of $A^\top A - B^\top B$ at a generic point, for $A B^\top$ with k columns.

    $k(k+1)/2$ for $k \le N$, else $Nk - N(N-1)/2$, where $N$ = rows is the number of rows of A and B together
    (Marcotte, Gribonval, Peyré 2023; rank of the Jacobian re-counted in our tests).

    >>> product_laws(rows=8, width=2), product_laws(rows=4, width=6)
    (3, 18)
    """
    return width * (width + 1) // 2 if width <= rows else rows * width - rows * (rows - 1) // 2
