r"""One query on a line: what attention makes of it, every well of its loss, and where a trap begins, in closed form.

A query q sees keys $k_j$ with values $v_j$ and wants the output $o(q) = \sum_jS_jv_j$ to be y; the loss is
$\frac12(o - y)^2$, and the scores are $\beta qk_j$ or $-\zeta(q - k_j)^2$.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from attnflow import door, runs
from attnflow.attention import LARGEST, Kernel
from attnflow.kernels.sums import Sum, total

EDGE = 1e-6  # a limit of the flow with a loss above it is stuck
MARGIN = 1e-10  # relative: as near as this a start stands on a stationary point


@dataclass(frozen=True, eq=False)
class Query:
    r"""The problem of one query on a line, or a stack of problems.

    keys, values: $k_j$ and $v_j$, (n,) or (n, S); target: y, a number or (S,); kernel: makes the weights, of scale 1.
    """

    keys: np.ndarray
    values: np.ndarray
    target: float | np.ndarray
    kernel: Kernel = Kernel()

    def __post_init__(self):
        keys, values = np.shape(self.keys), np.shape(self.values)
        runs.check("shape of values", values, f"that of the keys, {keys}", values == keys)
        runs.check("shape of keys", keys, "(n,) or (n, S), with n of at least 1", len(keys) in (1, 2) and 0 not in keys)

    @cached_property
    def rates(self) -> np.ndarray:
        r"""What multiplies q in the scores: $\beta k_j$, or $2\zeta k_j$ of distances."""
        return (2 * self.kernel.c if self.kernel.distance else self.kernel.beta) * self.keys

    @cached_property
    def shifts(self) -> np.ndarray:
        r"""What the scores hold besides: $-\zeta k_j^2$ of distances, whose $-\zeta q^2$ stands apart."""
        return -self.kernel.c * self.keys**2 if self.kernel.distance else np.zeros_like(self.keys)

    @cached_property
    def gap(self) -> Sum:
        """The sum that has the sign of o - y everywhere."""
        if self.kernel.normalised:
            return total(self.values - self.target, self.rates, self.shifts)
        zero = np.zeros_like(self.keys[:1])
        terms = (self.values, self.rates, self.shifts, np.full_like(self.keys, -self._sharp))
        wanted = (zero - self.target, zero, zero, zero)
        coefficients, rates, shifts, bends = map(np.concatenate, zip(terms, wanted, strict=True))
        return total(coefficients, rates, shifts, bend=bends)

    @cached_property
    def slope(self) -> Sum:
        """The sum that has the sign of o' everywhere."""
        if self.kernel.normalised:
            left, right = np.triu_indices(len(self.keys), 1)
            values, rates = (each[left] - each[right] for each in (self.values, self.rates))
            return total(values * rates, *(each[left] + each[right] for each in (self.rates, self.shifts)))
        growing = -2 * self._sharp * self.values
        width = (2 * self._sharp) ** -0.5 if self.kernel.distance else 1.0
        return total(self.values * self.rates, self.rates, self.shifts, growing, width=width)

    @property
    def _sharp(self):
        return self.kernel.c if self.kernel.name == "gaussian" else 0.0

    def units(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Logarithms of what makes o - y and o' of the two sums at ``places``, and the slope of the latter: (...) each."""
        here = np.asarray(places, dtype=float)
        if not self.kernel.normalised:
            return np.zeros_like(here), -self._sharp * here**2, -2 * self._sharp * here
        rates, shifts = (
            each.reshape(each.shape + (1,) * (here.ndim + 1 - each.ndim)) for each in (self.rates, self.shifts)
        )
        scores = rates * here + shifts
        top = scores.max(axis=0)
        weights = np.exp(scores - top)
        whole = weights.sum(axis=0)
        size = top + np.log(whole)
        return -size, -2 * size, -2 * (weights * rates).sum(axis=0) / whole

    def miss(self, places: np.ndarray) -> np.ndarray:
        """How far the output at ``places`` (...) is from its target, o - y: (...), cut off at 1e150."""
        found = self.gap.at(places)
        return found.value * np.exp(np.minimum(found.top + self.units(places)[0], np.log(1e150)))

    def miss_at(self, end: int) -> float:
        """The limit of o - y at the ``end`` -1 or 1 of the line; infinite where there is none."""
        if self.kernel.name == "gaussian":
            return float(-self.target)
        if self.kernel.normalised:
            outer = self.rates == (self.rates * end).max() * end
            return float(self.values[outer].mean() - self.target)
        one = total(self.values, self.rates).gathered
        growing = one.constant[one.rate * end > 0]
        level = float(one.constant[one.rate == 0].sum())
        return float(np.sign(one.sign_at(end)) * np.inf) if len(growing) else level - float(self.target)

    @cached_property
    def still(self) -> np.ndarray:
        """All stationary points of the loss on the line, in increasing order: the zeros of o' and those of o - y between them."""
        turns = self.slope.zeros()
        ends, step = [-np.inf, *turns, np.inf], 1 / max(float(np.ptp(self.rates)), 1e-3)
        found = [self.gap.crossing(low, high, step) for low, high in zip(ends, ends[1:], strict=False)]
        return np.array(sorted({*turns, *(place for place in found if place is not None)}))

    def direction(self, places: np.ndarray) -> np.ndarray:
        """Where the flow goes from ``places`` (...): -1, 1, or 0 where it stands still."""
        return -np.sign(self.gap.at(places).value) * np.sign(self.slope.at(places).value)

    @cached_property
    def losses(self) -> np.ndarray:
        """The loss at the left end of the line, at every stationary point, and at the right end."""
        return np.array([self.miss_at(-1), *self.miss(self.still), self.miss_at(1)]) ** 2 / 2

    @cached_property
    def wells(self) -> tuple:
        """The places of all local minima of the loss, -inf and inf among them; none where the loss is the same everywhere."""
        ends = np.array([-np.inf, *self.still, np.inf])
        goes = np.array([1.0, *self.direction(self._between(ends)), -1.0])
        if not goes[1:-1].any():
            return ()
        return tuple(float(ends[place]) for place in range(len(ends)) if goes[place] > 0 > goes[place + 1])

    def _between(self, ends):
        """One place in each piece of the line between ``ends``."""
        inner = ends[1:-1]
        if not len(inner):
            return np.zeros(1)
        return np.array([inner[0] - self._far, *(inner[:-1] + inner[1:]) / 2, inner[-1] + self._far])

    @property
    def _far(self):
        return 1.0 / max(float(np.ptp(self.rates)), 1.0)

    @property
    def reachable(self) -> bool:
        """Whether some query, or the limit of some, has a loss below 1e-6."""
        flat = self.miss(np.zeros(1)) ** 2 / 2
        return bool(min(self.losses.min(), flat[0]) <= EDGE)

    def scores(self, places: np.ndarray) -> np.ndarray:
        """The largest score at ``places`` (N,) of the kernel whose weights it makes overflow, ``exp``; 0 for the others: (N,)."""
        if self.kernel.name != "exp":
            return np.zeros(np.shape(places))
        return (self.rates.reshape(len(self.rates), -1) * places).max(axis=0)

    def fate(self, starts: np.ndarray) -> np.ndarray:
        """The loss of the limit of the flow from ``starts`` (N,), by the stationary points: (N,), infinite where it diverges."""
        goes, here = self.direction(starts), self.miss(starts) ** 2 / 2
        points, slack = self.still, MARGIN * (1 + np.abs(starts))
        left = self.losses[np.searchsorted(points, starts - slack)]
        right = self.losses[np.searchsorted(points, starts + slack, side="right") + 1]
        near = (
            points[np.abs(points[None] - starts[:, None]).argmin(axis=1)]
            if len(points)
            else np.full_like(starts, np.inf)
        )
        resting = (np.abs(near - starts) <= slack) & np.isin(near, self.wells)
        found = np.where((goes == 0) | resting, here, np.where(goes < 0, left, right))
        return np.where(self.scores(starts) > LARGEST, np.inf, found)


@door.takes(ratio=door.POSITIVE)
def turn(ratio: float = 0.5) -> sp.Expr:
    r"""$\beta sq^*$ of softmax for keys $(-s, 0, s)$ and values $(r, 0, 1)$, by sympy: where o' = 0, and where the trap ends.

    ratio: r, in (0, 1). With $u = e^{\beta sq}$ the slope of $o = (u^2 + r)/(u^2 + u + 1)$ is that of a quadratic.
    """
    runs.check("ratio", ratio, "a number between 0 and 1", ratio < 1)
    u = sp.Symbol("u", positive=True)
    output = (u**2 + sp.Rational(str(ratio))) / (u**2 + u + 1)
    (root,) = sp.solve(sp.numer(sp.together(sp.diff(output, u))), u)
    return sp.log(root)


@door.takes(ratio=door.POSITIVE)
def threshold(ratio: float = 0.5) -> float:
    r"""$s\sqrt\zeta$ from which the Gaussian with keys $(-s, 0, s)$ and values $(r, 0, 1)$ has a second well.

    ratio: r, greater than 0. In units of $\zeta^{-1/2}$, with $a = s$ and the query x, $o' = o'' = 0$ means
    $a^2 - x^2 = 1/2$ and, with $P = (a + x)^2$, $\ln 2rP = P - 1/(4P)$: one solution, since the
    derivative of the difference is $(1 - 1/2P)^2$.

    >>> round(threshold(1.0), 6) == round(0.5**0.5, 6)
    True
    """

    def rest(log_square):
        square = np.exp(log_square)
        return square - 1 / (4 * square) - np.log(2 * ratio) - log_square

    square = np.exp(brentq(rest, -20.0, 20.0, xtol=1e-14))
    return float((square**0.5 + 1 / (2 * square**0.5)) / 2)


@door.takes(middle=door.NUMBER)
def fold_holds(middle: float = 0.0) -> bool:
    r"""sympy proves what :func:`threshold` rests on.

    middle: the value of the key at 0. Where $o' = 0$ is written as $\ln\frac{r(a + x)}{a - x} - 4ax = 0$, its derivative
    vanishes where $a^2 - x^2 = 1/2$, and the equation then is $\ln 2rP = P - 1/(4P)$. Returns whether both hold and the
    logarithm is that of o'.
    """
    a, x, r, p = sp.symbols("a x r P", positive=True)
    output = r * sp.exp(-((x + a) ** 2)) + sp.Rational(str(middle)) * sp.exp(-(x**2)) + sp.exp(-((x - a) ** 2))
    ratio = r * (a + x) / (a - x)
    same = sp.simplify(
        sp.expand(sp.diff(output, x) * sp.exp(x**2 + a**2 + 2 * a * x) / 2 / (a - x)) - sp.exp(4 * a * x) + ratio
    )
    fold = sp.simplify(sp.diff(sp.log(ratio) - 4 * a * x, x) * (a**2 - x**2) / (2 * a) - (1 - 2 * (a**2 - x**2)))
    at = {a: (sp.sqrt(p) + 1 / (2 * sp.sqrt(p))) / 2, x: (sp.sqrt(p) - 1 / (2 * sp.sqrt(p))) / 2}
    left = sp.simplify((ratio / (2 * r * p)).subs(at)) - 1, sp.simplify((4 * a * x).subs(at) - p + 1 / (4 * p))
    return all(sp.simplify(each) == 0 for each in (same, fold, *left))
