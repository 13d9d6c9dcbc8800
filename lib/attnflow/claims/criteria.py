"""What a number has to meet: a margin a seed, negative where the criterion is violated, and one way to show numbers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnflow import door, runs


@door.takes(value=door.ANY_NUMBER)
def show(value: float) -> str:
    """A ``value`` at three significant digits: the number format of the whole book.

    >>> show(0.0123456), show(2), show(1.0), show(-0.0)
    ('0.0123', '2', '1', '0')
    """
    return f"{value + 0.0:.3g}"


@door.takes(values=door.several(door.ANY_NUMBER, 0))
def extent(values: Sequence[float]) -> str:
    """One number, or the least and the greatest of several ``values``, and how many of them are NaN.

    >>> extent([0.5, 0.25]), extent([2, 2.0]), extent([]), extent([1.0, float("nan")])
    ('0.25 … 0.5', '2', '–', '1, 1 nan')
    """
    known = [value for value in values if value == value]
    if not known:
        return "nan" if len(values) else "–"
    low, high = show(min(known)), show(max(known))
    lost = f", {len(values) - len(known)} nan" if len(known) < len(values) else ""
    return (low if low == high else f"{low} … {high}") + lost


@dataclass(frozen=True)
class Criterion(ABC):
    """The base of all criteria."""

    predicts = False  # whether it compares with a prediction

    @abstractmethod
    def margin(self, measured: np.ndarray, predicted: np.ndarray | None) -> np.ndarray:
        """Distance of each of the ``measured`` (S,) from the edge, given what was ``predicted``: negative if violated."""

    @abstractmethod
    def tightness(self, measured: np.ndarray, predicted: np.ndarray | None) -> float | None:
        """What part of its room the ``measured`` (S,) fill: 0 at the ``predicted``, or far from an edge, 1 at the edge.

        Two standard deviations over the seeds count as filled; seeds that are not finite do not count. None where there is no
        room, since the criterion is exact.
        """

    @abstractmethod
    def accepted(self, predicted: float | None) -> tuple[float, float]:
        """The two ends of what meets it, given what was ``predicted``; infinite where there is no end."""

    def beside(self, measured: np.ndarray, predicted: np.ndarray | None, common: float | None) -> np.ndarray:
        """The ``measured`` (S,) as if a ``common`` number were predicted for all and not one each, ``predicted`` (S,).

        Where the criterion does not compare with a prediction they stay where they are.
        """
        if not self.predicts or predicted is None or common is None:
            return measured
        return common + (measured - predicted)

    def show(self, measured: Sequence[float]) -> str:
        """The ``measured`` numbers as text: one number, or their range."""
        return extent(measured)


def _spread(values):
    """Mean and two standard deviations of what is finite, 0 and 0 where nothing is."""
    finite = values[np.isfinite(values)]
    return (finite.mean(), 2 * finite.std()) if len(finite) else (0.0, 0.0)


def _within(distance, half):
    """The tightness of a distance (S,) from the middle of an interval of a half-width."""
    mean, spread = _spread(distance)
    return float((abs(mean) + spread) / half)


def _under(values, edge):
    """The tightness of an upper edge, of either sign; infinite where it is passed or has no sign."""
    mean, spread = _spread(values)
    if edge > 0:
        return float(max(mean + spread, 0) / edge)
    return float(edge / (mean + spread)) if mean + spread < 0 else np.inf


@dataclass(frozen=True)
class Near(Criterion):
    """Within ``rel`` times the prediction, or within ``abs`` of it.

    >>> Near(rel=0.1).margin(np.array([1.05]), 1.0).round(3).tolist()
    [0.05]
    """

    rel: float = 0.0
    abs: float = 0.0
    predicts = True

    def __post_init__(self):
        sizes = runs.number("rel", self.rel, least=0), runs.number("abs", self.abs, least=0)
        runs.check("rel, abs", sizes, "two numbers of at least 0, one of them above", max(sizes) > 0)

    def __str__(self):
        return f"prediction ± {100 * self.rel:.3g} %" if self.rel else f"prediction ± {show(self.abs)}"

    def margin(self, measured, predicted):
        """What is left of the half-width: see :class:`Criterion`."""
        return self._half(predicted) - np.abs(measured - predicted)

    def tightness(self, measured, predicted):
        """(|mean distance| + 2 standard deviations) / half-width: see :class:`Criterion`."""
        return _within(measured - predicted, np.mean(self._half(predicted)))

    def accepted(self, predicted):
        """The prediction and a half-width on both sides: see :class:`Criterion`."""
        return predicted - self._half(predicted), predicted + self._half(predicted)

    def beside(self, measured, predicted, common):
        """Distances in half-widths are kept: see :class:`Criterion`."""
        return common + (measured - predicted) / self._half(predicted) * self._half(common)

    def _half(self, predicted):
        return np.maximum(self.abs, self.rel * np.abs(predicted))


@dataclass(frozen=True)
class Between(Criterion):
    """Inside the closed interval from ``low`` to ``high``.

    >>> Between(1, 2).margin(np.array([1.25, 3.0]), None).tolist()
    [0.25, -1.0]
    """

    low: float
    high: float

    def __post_init__(self):
        ends = runs.number("low", self.low), runs.number("high", self.high)
        runs.check("low, high", ends, "increasing", self.low < self.high)

    def __str__(self):
        return f"in [{show(self.low)}, {show(self.high)}]"

    def margin(self, measured, predicted):
        """Distance to the nearer end: see :class:`Criterion`."""
        return np.minimum(measured - self.low, self.high - measured)

    def tightness(self, measured, predicted):
        """(|mean distance to the middle| + 2 standard deviations) / half-width: see :class:`Criterion`."""
        return _within(measured - (self.low + self.high) / 2, (self.high - self.low) / 2)

    def accepted(self, predicted):
        """The interval: see :class:`Criterion`."""
        return self.low, self.high


@dataclass(frozen=True)
class Below(Criterion):
    """At most ``edge``. A residual is shown as a comparison, since its digits are rounding errors."""

    edge: float

    def __post_init__(self):
        runs.number("edge", self.edge)

    def __str__(self):
        return f"≤ {show(self.edge)}"

    def margin(self, measured, predicted):
        """Distance to the edge: see :class:`Criterion`."""
        return self.edge - measured

    def tightness(self, measured, predicted):
        """(mean + 2 standard deviations) / edge: see :class:`Criterion`."""
        return _under(measured, self.edge)

    def accepted(self, predicted):
        """All up to the edge: see :class:`Criterion`."""
        return -np.inf, self.edge

    def show(self, measured):
        """A range, or a comparison: see :class:`Criterion`."""
        rounding = 0 < self.edge < 1e-6 and all(one <= self.edge for one in measured)
        return f"< {self.edge:.0e}" if rounding else extent(measured)


@dataclass(frozen=True)
class Above(Criterion):
    """At least ``edge``."""

    edge: float

    def __post_init__(self):
        runs.number("edge", self.edge)

    def __str__(self):
        return f"≥ {show(self.edge)}"

    def margin(self, measured, predicted):
        """Distance to the edge: see :class:`Criterion`."""
        return measured - self.edge

    def tightness(self, measured, predicted):
        """Edge / (mean - 2 standard deviations): see :class:`Criterion`."""
        return _under(-measured, -self.edge)

    def accepted(self, predicted):
        """All from the edge on: see :class:`Criterion`."""
        return self.edge, np.inf


@dataclass(frozen=True)
class Exactly(Criterion):
    """Equal to the prediction, for counts and proofs."""

    predicts = True

    def __str__(self):
        return "= prediction"

    def margin(self, measured, predicted):
        """Minus the distance to the prediction: see :class:`Criterion`."""
        return -np.abs(measured - predicted)

    def tightness(self, measured, predicted):
        """None: see :class:`Criterion`."""
        return None

    def accepted(self, predicted):
        """The prediction alone: see :class:`Criterion`."""
        return predicted, predicted
