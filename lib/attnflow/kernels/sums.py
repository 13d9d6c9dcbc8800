r"""Sums of exponentials in one variable: their sign far beyond underflow, a stretch without a zero, and all of their zeros."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from attnflow import door, runs

NUMBERS = door.is_a("a finite number, or an array of them", lambda value: _numbers(value))
TOUCH = 1e-13  # of the largest term: a sum this small at an extreme is a zero that it touches


class At(NamedTuple):
    """A sum at some places, (...) each: ``top``, the logarithm of its largest term; in its units ``value`` and ``slope``."""

    top: np.ndarray
    value: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True, eq=False)
class Sum:
    r"""$f(q) = \sum_i (a_i + l_iq)\,e^{b_i + r_iq + c_iq^2}$, one sum, or a stack of them.

    constant, linear, shift, rate, bend: a, l, b, r and c, (n,) or (n, S) each; width: a length below which $a_i + l_iq$ is
    taken for changing. The terms come first, so that sums over few of them at many places are quick.
    """

    constant: np.ndarray
    linear: np.ndarray
    shift: np.ndarray
    rate: np.ndarray
    bend: np.ndarray
    width: float | np.ndarray = 1.0

    def _terms(self, places):
        """Sizes of the terms as logarithms, the factor of each in that unit, the slope of its exponent and of its factor."""
        here = np.asarray(places, dtype=float)
        names = ("constant", "linear", "shift", "rate", "bend")
        constant, linear, shift, rate, bend = (self._against(getattr(self, name), here) for name in names)
        factor = constant + linear * here
        size = np.maximum(np.abs(factor), np.abs(linear) * self.width)
        with np.errstate(divide="ignore"):
            power = np.log(size) + shift + (rate + bend * here) * here  # -inf of a term that is absent
        unit = np.where(size > 0, size, 1.0)
        return power, factor / unit, rate + 2 * bend * here, linear / unit

    @staticmethod
    def _against(terms, places):
        return terms.reshape(terms.shape + (1,) * (places.ndim + 1 - terms.ndim))

    def at(self, places: np.ndarray) -> At:
        """The sum at ``places`` (...), or (S,) of a stack of sums. It is exactly 0 where it has no terms."""
        return self._at(self._terms(places))

    def _at(self, terms):
        power, factor, rate, growth = terms
        top = power.max(axis=0, initial=-np.inf)
        unit = np.exp(power - np.where(np.isfinite(top), top, 0.0))
        return At(top, (unit * factor).sum(axis=0), (unit * (factor * rate + growth)).sum(axis=0))

    def around(self, places: np.ndarray) -> tuple[At, np.ndarray]:
        r"""The sum at ``places`` (N,), and a distance on either side within which it has no zero, infinite where none is known.

        In units of its largest term it is $\sum_i t_i$. A distance x changes the term i by less than
        $2|t_i|(e^{\rho_i x + \gamma_i x^2} - 1)$, where $\rho_i$ and $\gamma_i$ are the differences of its rate and bend from
        those of the largest term, $\rho_i$ with $l_i/(a_i + l_iq)$ added; all n changes together stay below $|\sum_i t_i|$.
        """
        power, _, rate, growth = terms = self._terms(places)
        seen = self._at(terms)
        if len(power) == 0:
            return seen, np.zeros(np.shape(places))
        rate, bend = rate + np.zeros_like(power), self._against(self.bend, power[0]) + np.zeros_like(power)
        largest = (power.argmax(axis=0), np.arange(power.shape[1]))
        rho, gamma = np.abs(rate - rate[largest]) + np.abs(growth), np.abs(bend - bend[largest])
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.log(np.abs(seen.value) / (2 * len(power))) + seen.top
            room = np.logaddexp(0, part - power)
            length = 2 * room / (rho + np.sqrt(rho**2 + 4 * gamma * room))
        length = np.where(np.isnan(length), np.inf, length).min(
            axis=0
        )  # no number: a term that is absent, or like the largest
        return seen, np.where(seen.value != 0, length, 0.0)

    @cached_property
    def gathered(self) -> "Sum":
        """The same with terms of one rate and bend taken together, and absent ones left out, of one sum."""
        kept = []
        for rate, bend in sorted(set(zip(self.rate, self.bend, strict=True))):
            same = (self.rate == rate) & (self.bend == bend)
            top = self.shift[same].max()
            parts = [
                float((each[same] * np.exp(self.shift[same] - top)).sum()) for each in (self.constant, self.linear)
            ]
            kept += [(*parts, top, rate, bend)] if any(parts) else []
        return Sum(*np.array(kept).reshape(-1, 5).T, self.width)

    def sign_at(self, end: int) -> float:
        """Its sign far out, at the ``end`` -1 or 1: that of the term which outgrows the others."""
        one = self.gathered
        if len(one.rate) == 0:
            return 0.0
        last = np.lexsort((end * one.rate, one.bend))[-1]
        return float(np.sign(one.linear[last] * end or one.constant[last]))

    def crossing(self, low: float, high: float, step: float) -> float | None:
        """Its zero between ``low`` and ``high``, where it has at most one; an infinite end is looked for in growing steps.

        step: the first of them. Returns None where it has no zero there.
        """
        ends = [self.sign_at(int(np.sign(end))) if np.isinf(end) else self._sign(end) for end in (low, high)]
        if ends[0] * ends[1] >= 0:
            return None
        places, middle = [low, high], next((end for end in (low, high) if np.isfinite(end)), 0.0)
        for index, away in enumerate((-1, 1)):
            reach = step
            while np.isinf(places[index]) or self._sign(places[index]) != ends[index]:
                places[index], reach = middle + away * reach, 2 * reach
        return float(brentq(lambda place: float(self.at(place).value), *places, xtol=1e-14, rtol=1e-15))

    def _sign(self, place):
        value = float(self.at(place).value)
        return 0.0 if abs(value) < TOUCH else float(np.sign(value))

    def zeros(self) -> list[float]:
        r"""All its zeros, in increasing order, of one sum without bends; none where it vanishes everywhere.

        By Rolle: between two zeros of $(f e^{-r_1q})'$, which has one term, or one power of q, less, there is at most one.
        """
        one = self.gathered
        count = len(one.rate)
        if count < 2:
            return [float(-one.constant[0] / one.linear[0])] if count and one.linear[0] else []
        rate = one.rate - one.rate[0]
        slope = Sum(one.constant * rate + one.linear, one.linear * rate, one.shift, rate, one.bend, one.width)
        turns = slope.zeros()
        found = [place for place in turns if one._sign(place) == 0]
        ends, step = [-np.inf, *turns, np.inf], 1 / float(np.ptp(one.rate))
        pieces = [one.crossing(low, high, step) for low, high in zip(ends, ends[1:], strict=False)]
        return sorted(found + [place for place in pieces if place is not None])


@door.takes(constant=NUMBERS, rate=NUMBERS, shift=NUMBERS, linear=NUMBERS, bend=NUMBERS, width=door.POSITIVE)
def total(constant: np.ndarray, rate: np.ndarray, shift=0.0, linear=0.0, bend=0.0, width=1.0) -> Sum:
    """A sum of arrays or numbers that broadcast: ``constant``, ``rate``, ``shift``, ``linear``, ``bend``, ``width``: see Sum.

    >>> [round(zero, 6) + 0.0 for zero in total(np.array([1.0, -3.0, 2.0]), np.array([0.0, 1.0, 2.0])).zeros()]
    [-0.693147, 0.0]
    """
    given = {"constant": constant, "linear": linear, "shift": shift, "rate": rate, "bend": bend}
    arrays = [np.atleast_1d(np.asarray(each, dtype=float)) for each in given.values()]
    shapes = {name: each.shape for name, each in zip(given, arrays, strict=True)}
    try:
        together = np.broadcast_arrays(*arrays)
    except ValueError:
        raise runs.WrongUse(f"shapes = {shapes} is not allowed: it must be shapes that broadcast") from None
    return Sum(*together, width)


def _numbers(value):
    """Whether a value is a finite number, or an array or a list of them."""
    try:
        found = np.asarray(value)
    except (ValueError, RuntimeError):
        return False
    return found.dtype.kind in "fiu" and bool(np.isfinite(found).all())
