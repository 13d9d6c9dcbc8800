r"""A claim: a statement that a number can contradict, with a control that must fail.

One object renders the box in the chapter, gives the dashed line of a figure, is a test, and is a row of the ledger.
"""

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import binom

from attnflow import runs

STATES = ("reproduced", "reproduced with changed constants", "not reproduced", "not testable here")
LEVEL = 0.01  # of the one-sided binomial test behind a quota
CHUNK = 25  # seeds that share one stack, so that memory does not grow with the number of seeds


def show(value):
    """A number at three significant digits.

    >>> show(0.0123456), show(2), show(1.0)
    ('0.0123', '2', '1')
    """
    return f"{value:.3g}"


@dataclass(frozen=True)
class Criterion:
    """The base of all criteria: a margin a seed, which is negative where the criterion is violated."""

    def margin(self, measured, predicted):
        raise NotImplementedError(f"{type(self).__name__} must say how far a number is from its edge")

    def show(self, measured):
        """The measured numbers as text: one number, or their range."""
        low, high = show(min(measured)), show(max(measured))
        return low if low == high else f"{low} … {high}"


@dataclass(frozen=True)
class Near(Criterion):
    """Within ``rel`` times the prediction, or within ``abs`` of it.

    >>> Near(rel=0.1).margin(np.array([1.05]), 1.0).round(3).tolist()
    [0.05]
    """

    rel: float = 0.0
    abs: float = 0.0

    def __str__(self):
        return f"prediction ± {100 * self.rel:.3g} %" if self.rel else f"prediction ± {self.abs:.3g}"

    def margin(self, measured, predicted):
        return np.maximum(self.abs, self.rel * np.abs(predicted)) - np.abs(measured - predicted)


@dataclass(frozen=True)
class Between(Criterion):
    """Inside a closed interval.

    >>> Between(1, 2).margin(np.array([1.25, 3.0]), None).tolist()
    [0.25, -1.0]
    """

    low: float
    high: float

    def __str__(self):
        return f"in [{self.low:.3g}, {self.high:.3g}]"

    def margin(self, measured, predicted):
        return np.minimum(measured - self.low, self.high - measured)


@dataclass(frozen=True)
class Below(Criterion):
    """At most ``edge``. A residual is shown as a comparison, since its digits are rounding errors."""

    edge: float

    def __str__(self):
        return f"≤ {self.edge:.3g}"

    def margin(self, measured, predicted):
        return self.edge - measured

    def show(self, measured):
        if self.edge < 1e-6 and max(measured) <= self.edge:
            return f"< {self.edge:.0e}"
        return super().show(measured)


@dataclass(frozen=True)
class Above(Criterion):
    """At least ``edge``."""

    edge: float

    def __str__(self):
        return f"≥ {self.edge:.3g}"

    def margin(self, measured, predicted):
        return measured - self.edge


@dataclass(frozen=True)
class Exactly(Criterion):
    """Equal to the prediction, for counts and proofs."""

    def __str__(self):
        return "= prediction"

    def margin(self, measured, predicted):
        return -np.abs(measured - predicted)


_records = {}


@dataclass(frozen=True)
class Experiment:
    """A pure function of (seeds, device, **settings) that returns a record with one run a seed, cached per process.

    >>> Experiment(lambda seeds, device, width: [width] * len(seeds), {"width": 2}).but(width=3)((0, 1), "cpu")
    [3, 3]
    """

    function: Callable
    settings: dict = field(default_factory=dict)

    def but(self, **changes):
        """The same experiment with some settings changed."""
        return Experiment(self.function, self.settings | changes)

    def __call__(self, seeds, device=None):
        where = runs.device(str(device) if device else None)
        key = (self.function, tuple(sorted(self.settings.items())), tuple(seeds), where.type)
        if key not in _records:
            _records[key] = self.function(tuple(seeds), where, **self.settings)
        return _records[key]


@dataclass(frozen=True)
class Control:
    """The reading of a claim with one assumption broken. Its criterion must be violated.

    Whatever is None is taken from the claim. quota: ``"all"`` seeds, or (k, of) as the least share that must fail.
    """

    title: str
    experiment: Experiment | None = None
    read: Callable | None = None
    predict: object = None
    holds: Criterion | None = None
    quota: object = "all"


@dataclass(frozen=True, repr=False)
class Claim:
    """A statement, what it predicts, how it is read from a record, and the criterion it must meet.

    id: ``chapter.name``; statement: text with ``$...$``; provenance: where it comes from; cite: keys of the
    bibliography; experiment: shared by all claims that read it, None for algebra and counts, which have no seeds;
    predict: a number, or a function of nothing or of the record; read: record (or nothing) -> one number a seed;
    holds: a Criterion; control: a Control; quota: ``"all"`` or (k, of); state: one of ``STATES``, checked by each run.
    """

    id: str
    chapter: str
    title: str
    statement: str
    provenance: str
    read: Callable | None = None
    holds: Criterion | None = None
    control: Control | None = None
    cite: tuple = ()
    experiment: Experiment | None = None
    predict: object = None
    quota: object = "all"
    state: str = "reproduced"

    def __post_init__(self):
        runs.check("claim id", self.id, f"of the form {self.chapter}.name", self.id.startswith(self.chapter + "."))
        runs.choice("state", self.state, STATES)
        testable = self.read is not None and self.holds is not None and self.control is not None
        runs.check(self.id, self.state, "testable: with read, holds and control", testable or self.state == STATES[3])

    def __repr__(self):
        return f"Claim({self.id!r})"

    def _repr_markdown_(self):
        """The box of the chapter: statement, provenance, criterion and control, as Markdown."""
        lines = [f"**{self.title}** · `{self.id}`", "", self.statement, "", f"*Provenance:* {self.provenance}."]
        if self.state != "not testable here":
            lines += ["", f"*Criterion:* {self.holds}. *Control, which must fail:* {self.control.title}."]
        return "\n".join("> " + line for line in lines)


def _numbers(read, predict, experiment, seeds, device):
    """Measured (S,) and predicted (S,) or a scalar or None, chunk by chunk."""

    def forecast(*record):
        if not callable(predict):
            return predict
        wanted = len(inspect.signature(predict).parameters)
        return predict(*record[:wanted])

    def plain(value):
        return np.atleast_1d(
            value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, float)
        )

    if experiment is None:
        return plain(read()), forecast()
    measured, predicted = [], []
    for start in range(0, len(seeds), CHUNK):
        chunk = tuple(seeds[start : start + CHUNK])
        record = experiment(chunk, device)
        found = plain(read(record))
        if found.shape != (len(chunk),):
            raise ValueError(
                f"read gave an array of shape {found.shape} for {len(chunk)} seeds: it must give one number a seed"
            )
        measured.append(found)
        value = forecast(record)
        predicted.append(None if value is None else np.broadcast_to(plain(value), found.shape))
    return np.concatenate(measured), None if predicted[0] is None else np.concatenate(predicted)


def enough(good, quota):
    """Whether the share of good seeds meets a quota: all of them, or not rejected at 1 % against k of n.

    >>> enough(np.array([True, True]), "all"), enough(np.array([True] * 6 + [False] * 4), (8, 10))
    (True, True)
    >>> enough(np.array([True] * 3 + [False] * 7), (8, 10))
    False
    """
    if quota == "all":
        return bool(good.all())
    share = quota[0] / quota[1]
    return bool(binom.cdf(good.sum(), len(good), share) >= LEVEL)


@dataclass(frozen=True)
class Row:
    """One claim, evaluated: what the ledger stores and the tables show."""

    claim: Claim
    seeds: tuple
    predicted: object = None
    measured: tuple = ()
    margin: float = math.nan
    holds: bool = False
    control_measured: tuple = ()
    control_fails: bool = False
    seconds: float = 0.0
    error: str = ""

    @property
    def consistent(self):
        """Whether the run agrees with the state that the author wrote, and the control fails."""
        if self.claim.state == "not testable here":
            return True
        return not self.error and self.holds == (self.claim.state != "not reproduced") and self.control_fails

    @property
    def forecast(self):
        """The prediction as text, empty where the criterion alone says it."""
        if self.predicted is None:
            return ""
        values = np.atleast_1d(self.predicted)
        return Criterion().show(values.tolist())

    def to_json(self):
        """The row as plain data, as the ledger stores it."""
        claim = self.claim
        predicted = self.predicted
        if isinstance(predicted, np.ndarray):
            predicted = predicted.tolist() if np.ptp(predicted) else float(predicted[0])
        testable = claim.state != "not testable here"
        return {
            "id": claim.id,
            "chapter": claim.chapter,
            "title": claim.title,
            "statement": claim.statement,
            "provenance": claim.provenance,
            "cite": list(claim.cite),
            "state": claim.state,
            "predicted": predicted,
            "measured": list(self.measured),
            "criterion": str(claim.holds) if testable else "",
            "margin": self.margin if testable else None,
            "holds": self.holds,
            "control": claim.control.title if testable else "",
            "control_measured": list(self.control_measured),
            "control_fails": self.control_fails,
            "seed_dependent": claim.experiment is not None,
            "seconds": round(self.seconds, 2),
        }


def evaluate(claim, seeds, device=None):
    """Run a claim and its control on fresh seeds. Returns a Row.

    A number that is NaN neither makes a claim hold nor a control fail.
    """
    if claim.state == "not testable here":
        return Row(claim, tuple(seeds))
    began = time.perf_counter()
    measured, predicted = _numbers(claim.read, claim.predict, claim.experiment, seeds, device)
    margin = claim.holds.margin(measured, predicted)
    control = claim.control
    broken, expected = _numbers(
        control.read or claim.read,
        claim.predict if control.predict is None else control.predict,
        control.experiment or claim.experiment,
        seeds,
        device,
    )
    excess = (control.holds or claim.holds).margin(broken, expected)
    return Row(
        claim,
        tuple(seeds),
        predicted,
        tuple(measured.tolist()),
        float(np.min(margin)),
        enough(margin >= 0, claim.quota),
        tuple(broken.tolist()),
        enough(excess < 0, control.quota),
        time.perf_counter() - began,
    )


def table(rows):
    """The claims of a chapter as a Markdown table: prediction, range over seeds, verdict, control."""
    lines = ["| claim | predicted | measured | criterion | control |", "|---|---|---|---|---|"]
    for row in rows:
        claim = row.claim
        if claim.state == "not testable here":
            lines.append(f"| {claim.title} | | | not testable here | |")
            continue
        holds, fails = "holds" if row.holds else "**violated**", "fails" if row.control_fails else "**does not fail**"
        broken = (claim.control.holds or claim.holds).show(row.control_measured)
        cells = [claim.title, row.forecast, claim.holds.show(row.measured), f"{claim.holds}: {holds}"]
        lines.append("| " + " | ".join([*cells, f"{claim.control.title}: {broken}, {fails}"]) + " |")
    return "\n".join(lines)
