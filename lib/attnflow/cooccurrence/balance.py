r"""Where the balancing of gradients ends, in closed form: the hard-margin dual of the classes, solved by sympy.

Sums of loss derivatives $s_c$ are in units of $s_1$, and $s_3 = s_2$ by symmetry. At uniform attention they tend to the
dual variables of the linear problem whose features are word counts (Soudry et al. 2018); the constants are derived here.
"""

import math
from functools import lru_cache

import numpy as np
import sympy as sp
import torch

from attnflow import door, runs

SAMPLES, LENGTH = sp.symbols("n L", positive=True)
SECOND, FOURTH = sp.symbols("s_2 s_4", nonnegative=True)
RANGE = (1, 2)  # where the paper's argument keeps the ratio
LIMITS = ("s_2", "s_4", "rho")
LONG, MANY = door.whole(3), door.either(door.choice(math.inf), door.real(least=6))


def _sum(name, value, sizes):
    """A kind: sums of loss derivatives, as a number of at least 0, an expression, or an array or tensor, all of one shape."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        kind = str(value.dtype).removeprefix("torch."), tuple(value.shape)
        allowed = "float64", sizes.setdefault("shape", kind[1])
        runs.check(name, " of shape ".join(map(str, kind)), " of shape ".join(map(str, allowed)), kind == allowed)
    elif not isinstance(value, sp.Expr):
        door.NONNEGATIVE(name, value, sizes)


@door.takes(first=_sum, second=_sum, third=_sum, fourth=_sum)
def ratio(first: object, second: object, third: object, fourth: object) -> object:
    r"""$\rho = (s_2+s_3+s_4-s_1)/(s_1 - \frac12(s_2+s_3))$, the paper's R with both singles averaged.

    first, second, third, fourth: $s_1, \dots, s_4$, as numbers, arrays or tensors in float64 of one shape, or symbols. Returns
    the like. Raises WrongUse on numbers whose $s_1$ is the mean of $s_2$ and $s_3$, where there is no ratio.

    >>> ratio(7, 5, 5, 0)
    1.5
    """
    below = first - (second + third) / 2
    apart = not isinstance(below, float) or below != 0
    runs.check("first", first, "another number than the mean of second and third", apart)
    return (second + third + fourth - first) / below


@door.takes(
    samples=door.either(sp.Expr, door.POSITIVE),
    length=door.either(sp.Expr, door.real(least=3)),
    second=door.either(sp.Expr, door.NONNEGATIVE),
    fourth=door.either(sp.Expr, door.NONNEGATIVE),
)
def class_margins(
    samples: sp.Expr = SAMPLES, length: sp.Expr = LENGTH, second: sp.Expr = SECOND, fourth: sp.Expr = FOURTH
) -> tuple:
    r"""Margins of classes 1, 2, 4 of $w = \sum_i \nu_i y_i x_i$, with $s_1 = 1$ and distinct random words.

    $w_1 = w_2 = s_1 - s_2$, $w_3 = s_1 - 2s_2 - s_4$, and a random word of class c weighs $y\,s_c/n_c$ with $n_1 = n/2$,
    $n_2 = n_4 = n/6$. samples: n; length: L; second, fourth: $s_2, s_4$. Returns a tuple of expressions.
    """
    target, common = 1 - second, 1 - 2 * second - fourth
    return (
        2 * target + common + (length - 3) * 2 / samples,
        -target - common + (length - 2) * 6 * second / samples,
        -common + (length - 1) * 6 * fourth / samples,
    )


@door.takes(active=door.FLAG)
@lru_cache
def limit(active: bool) -> dict:
    r"""Solve the dual: equal margins of the support vectors. active: whether class 4 is one of them.

    Returns a dict of expressions in n and L: ``s_2``, ``s_4``, ``rho``, and ``slack``, the margin of class 4 over that of
    class 1, less one.
    """
    first, second, fourth = class_margins()
    (found,) = sp.solve([first - second, first - fourth if active else FOURTH], [SECOND, FOURTH], dict=True)
    values = {"s_2": SECOND, "s_4": FOURTH, "rho": ratio(1, SECOND, SECOND, FOURTH), "slack": fourth / first - 1}
    return {name: sp.factor(sp.simplify(value.subs(found))) for name, value in values.items()}


@lru_cache
def edge() -> sp.Expr:
    r"""The polynomial whose sign decides whether class 4 is idle: positive where it is not a support vector.

    It is the numerator of the slack of the idle solution, whose denominator is positive for $L \ge 3$.
    """
    return sp.numer(sp.together(limit(False)["slack"]))


@door.takes(active=door.FLAG)
def lower_end(active: bool = True) -> sp.Expr:
    r"""The n, an expression in L, at which the limit of $\rho$ is the lower end of its range.

    active: whether class 4 is a support vector, as it is there.
    """
    return sp.factor(*sp.solve(sp.Eq(limit(active)["rho"], RANGE[0]), SAMPLES))


@door.takes(zero=sp.Expr, samples=door.several(door.POSITIVE))
def lengths_at(zero: sp.Expr, samples: np.ndarray) -> np.ndarray:
    r"""The greatest real L at which an expression in n and L is ``zero``, for each of some n, ``samples`` (K,). Returns (K,).

    Raises WrongUse where there is none.

    >>> lengths_at(lower_end() - SAMPLES, np.array([12.0, 18.0])).tolist()
    [3.0, 5.0]
    """
    given, free = np.asarray(samples, dtype=float), sp.Dummy()  # a symbol that may be negative, unlike L
    roots = [sp.lambdify(SAMPLES, root, "numpy") for root in sp.solve(zero.subs(LENGTH, free), free)]
    found = np.array([np.full(given.shape, -np.inf, dtype=complex), *(root(given + 0j) + 0 * given for root in roots)])
    real = np.where(np.abs(found.imag) <= 1e-12 * np.abs(found), found.real, -np.inf).max(axis=0)
    runs.check("zero", zero, "an expression in n and L with a real zero at each n", bool(np.isfinite(real).all()))
    return real


@door.takes(samples=MANY, length=LONG, active=door.FLAG)
def exact(samples: float = np.inf, length: int = 5, active: bool | None = None) -> tuple:
    r"""The limits of $s_2/s_1$, $s_4/s_1$ and $\rho$ for n ``samples`` of ``length`` L with equal fractions: three rationals.

    active: whether class 4 is a support vector; where it is not given, the edge polynomial says. samples: of at least 6,
    and ``np.inf`` is allowed; length: of at least 3.
    """
    if samples == np.inf:
        return tuple(sp.limit(limit(False)[name].subs(LENGTH, length), SAMPLES, sp.oo) for name in LIMITS)
    at = {SAMPLES: sp.Rational(samples), LENGTH: length}
    chosen = limit(bool(edge().subs(at) < 0) if active is None else active)
    return tuple(chosen[name].subs(at) for name in LIMITS)


@door.takes(samples=MANY, length=LONG, active=door.FLAG)
@lru_cache(maxsize=1000)  # a map asks for each of its cells twice
def predicted(samples: float = np.inf, length: int = 5, active: bool | None = None) -> tuple:
    r"""The same as three floats. samples, length, active: of :func:`exact`.

    >>> predicted()[2], round(predicted(60, 5)[2], 4), round(predicted(24, 5)[2], 4)
    (1.5, 1.2687, 1.0714)
    """
    return tuple(map(float, exact(samples, length, active)))


def ratio_flow() -> tuple:
    r"""Time derivative of $\rho$ under uniform attention, $n = \infty$, $s_2 = s_3$, over a positive rate.

    With $S_c = \sum_{I_c} g(1-g)$ and margins that move as $2-\rho$, $\rho-1$, $\rho$ (classes 1, 2, 4) it is
    $-(S_1+S_2)\rho^2 + (S_1-S_2-S_4)\rho + 2(S_1+S_2)$: the paper's quadratic. Returns (expression, rho, (S_1, S_2, S_4)).
    """
    rho = sp.Symbol("rho")
    steep = sp.symbols("S_1 S_2 S_4", positive=True)
    first, second, fourth = (-size * rate for size, rate in zip(steep, (2 - rho, rho - 1, rho), strict=True))
    upper, lower = sp.fraction(ratio(first, second, second, fourth))
    return sp.collect(sp.expand(upper - rho * lower), rho), rho, steep


@door.takes(samples=MANY, length=LONG)
def fixed_ratio(samples: float = np.inf, length: int = 5) -> tuple:
    r"""The positive zero of the quadratic where $S_1:S_2:S_4$ are the sums of the dual, and the ratio of that dual.

    Late in training $S_c = s_c$. samples, length: n and L of the dual; the quadratic is that of $n = \infty$. Returns two numbers
    of sympy.

    >>> fixed_ratio()
    (3/2, 3/2)
    """
    expression, rho, steep = ratio_flow()
    second, fourth, dual = exact(samples, length)
    return max(sp.solve(expression.subs(dict(zip(steep, (1, second, fourth), strict=True))), rho)), dual


@door.takes(bounded=door.FLAG)
def range_holds(bounded: bool = True) -> bool:
    r"""Whether the quadratic is positive at 1, ``bounded`` by $S_4 < 2S_1$, and negative at 2: it keeps $\rho$ in [1, 2]."""
    expression, rho, (first, _, fourth) = ratio_flow()
    bound = {first: fourth / 2 + sp.Symbol("x", positive=True)} if bounded else {}
    low, high = (sp.expand(expression.subs(rho, end).subs(bound)) for end in RANGE)
    return bool(low.is_positive and high.is_negative)
