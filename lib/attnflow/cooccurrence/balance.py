r"""Where the balancing of gradients ends, in closed form: the hard-margin dual of the classes, solved by sympy.

Sums of loss derivatives $s_c$ are in units of $s_1$, and $s_3 = s_2$ by symmetry. At uniform attention they tend to the
dual variables of the linear problem whose features are word counts (Soudry et al. 2018); the constants are derived here.
"""

import math
from functools import lru_cache

import sympy as sp

from attnflow import runs

SAMPLES, LENGTH = sp.symbols("n L", positive=True)
SECOND, FOURTH = sp.symbols("s_2 s_4", nonnegative=True)


def class_margins(samples=SAMPLES, length=LENGTH, second=SECOND, fourth=FOURTH):
    r"""Margins of classes 1, 2, 4 of $w = \sum_i \nu_i y_i x_i$, with $s_1 = 1$ and distinct random words.

    $w_1 = w_2 = s_1 - s_2$, $w_3 = s_1 - 2s_2 - s_4$, and a random word of class c weighs $y\,s_c/n_c$ with $n_1 = n/2$,
    $n_2 = n_4 = n/6$. Returns a tuple of expressions.
    """
    target, common = 1 - second, 1 - 2 * second - fourth
    return (
        2 * target + common + (length - 3) * 2 / samples,
        -target - common + (length - 2) * 6 * second / samples,
        -common + (length - 1) * 6 * fourth / samples,
    )


@lru_cache
def limit(active):
    r"""Solve the dual: equal margins of the support vectors. active: whether class 4 is one of them.

    Returns a dict of expressions in n and L: ``s_2``, ``s_4``, ``rho``, and ``slack``, the margin of class 4 over that of
    class 1, less one.
    """
    first, second, fourth = class_margins()
    if active:
        found = sp.solve([first - second, first - fourth], [SECOND, FOURTH], dict=True)[0]
    else:
        found = {SECOND: sp.solve((first - second).subs(FOURTH, 0), SECOND)[0], FOURTH: sp.Integer(0)}
    rho = (2 * SECOND + FOURTH - 1) / (1 - SECOND)
    values = {"s_2": SECOND, "s_4": FOURTH, "rho": rho, "slack": fourth / first - 1}
    return {name: sp.factor(sp.simplify(value.subs(found))) for name, value in values.items()}


def edge():
    r"""The polynomial whose sign decides whether class 4 is idle: positive where it is not a support vector.

    It is the numerator of the slack of the idle solution, whose denominator is positive for $L \ge 3$.
    """
    return sp.numer(sp.together(limit(False)["slack"]))


def predicted(samples=math.inf, length=5):
    r"""The limits of $s_2/s_1$, $s_4/s_1$ and $\rho$ for n samples of length L with equal fractions: three floats.

    >>> predicted()[2], round(predicted(60, 5)[2], 4), round(predicted(24, 5)[2], 4)
    (1.5, 1.2687, 1.0714)
    """
    runs.integer("length", length, least=3)
    if samples == math.inf:
        return tuple(float(sp.limit(limit(False)[name], SAMPLES, sp.oo)) for name in ("s_2", "s_4", "rho"))
    runs.check("samples", samples, "a number of at least 6", samples >= 6)
    at = {SAMPLES: sp.Rational(samples), LENGTH: length}
    chosen = limit(bool(edge().subs(at) < 0))
    return tuple(float(chosen[name].subs(at)) for name in ("s_2", "s_4", "rho"))


def ratio_flow():
    r"""Time derivative of $\rho$ under uniform attention, $n = \infty$, $s_2 = s_3$, over a positive rate.

    With $S_c = \sum_{I_c} g(1-g)$ and margins that move as $2-\rho$, $\rho-1$, $\rho$ (classes 1, 2, 4) it is
    $-(S_1+S_2)\rho^2 + (S_1-S_2-S_4)\rho + 2(S_1+S_2)$: the paper's quadratic. Returns (expression, rho, (S_1, S_2, S_4)).
    """
    rho = sp.Symbol("rho")
    steep = sp.symbols("S_1 S_2 S_4", positive=True)
    first, second, fourth = (-size * rate for size, rate in zip(steep, (2 - rho, rho - 1, rho), strict=True))
    denominator, numerator = first - second, 2 * second + fourth - first
    return sp.collect(sp.expand(numerator - rho * denominator), rho), rho, steep


def fixed_ratio(shares=(7, 5, 0)):
    r"""The positive zero of the quadratic where $S_1:S_2:S_4$ are given; late in training $S_c = s_c$. 3/2 for 7:5:0."""
    expression, rho, steep = ratio_flow()
    roots = sp.solve(expression.subs(dict(zip(steep, shares, strict=True))), rho)
    return max(roots)


def range_holds(bounded=True):
    r"""Whether the quadratic is positive at 1, ``bounded`` by $S_4 < 2S_1$, and negative at 2: it keeps $\rho$ in [1, 2]."""
    expression, rho, (first, _, fourth) = ratio_flow()
    low, high = (sp.expand(expression.subs(rho, end)) for end in (1, 2))
    excess = sp.Symbol("x", positive=True)  # S_1 = S_4/2 + x
    low = sp.expand(low.subs(first, fourth / 2 + excess)) if bounded else low
    return bool(low.is_positive and high.is_negative)


def series(order=4):
    r"""Taylor series in $\tau$ of $\gamma_1$ and $\gamma_3$ of the reduced flow, $n = \infty$, by repeated integration."""
    tau = sp.Symbol("tau")

    def derivative(margin):
        return sp.series(1 / (1 + sp.exp(margin)), tau, 0, order).removeO() if margin != 0 else sp.Rational(1, 2)

    target = common = sp.Integer(0)
    for _ in range(order):
        first, second, fourth = (
            derivative(sp.expand(margin)) for margin in (2 * target + common, -target - common, -common)
        )
        rates = first / 2 - second / 6, first / 2 - second / 3 - fourth / 6
        target, common = (
            sum(sp.expand(sp.integrate(rate, tau)).coeff(tau, power) * tau**power for power in range(1, order + 1))
            for rate in rates
        )
    return target, common, tau
