"""The claim, its trial and its control."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch

from attnflow import citations, door, runs
from attnflow.claims.criteria import Criterion
from attnflow.claims.experiment import Derivation, Experiment
from attnflow.claims.quota import Quota, can_be_missed, checked, words

STATES = ("reproduced", "reproduced with changed constants", "not reproduced", "not testable here")
KINDS = ("law", "proof", "count", "order", "one-step", "prediction", "observation")
CHUNK = 25  # seeds that share one stack, so that memory does not grow with the number of seeds


@dataclass(frozen=True)
class Trial:
    """How a number is made and what it has to meet.

    experiment: shared by all trials that read it, or a Derivation, which has no seeds; read: record -> one number a seed, of a
    derivation what it returns -> a number; holds: a Criterion; predict: a number, or a function of the record; quota: ``"all"``
    seeds, or (k, of) as the least share; undefined: the number that a reading of NaN counts as; left at NaN, it neither makes
    a claim hold nor a control fail; kind: one of ``KINDS``; where none is given, a prediction where a number is predicted and
    an observation where none is.
    """

    experiment: Experiment | Derivation
    read: Callable
    holds: Criterion
    predict: float | Callable | None = None
    quota: Quota = "all"
    undefined: float = float("nan")
    kind: str = ""

    def __post_init__(self):
        known = isinstance(self.experiment, (Experiment, Derivation))
        runs.check("experiment", self.experiment, "an Experiment, or a Derivation", known)
        runs.check("read", self.read, "a function of the record", callable(self.read))
        runs.check("holds", self.holds, "a criterion such as Near(rel=0.1)", isinstance(self.holds, Criterion))
        if not self.kind:
            object.__setattr__(self, "kind", "observation" if self.predict is None else "prediction")
        runs.choice("kind", self.kind, KINDS)
        if self.holds.predicts:
            runs.check(
                "predict", self.predict, f"given, because '{self.holds}' compares with it", self.predict is not None
            )
        if self.predict is not None and not callable(self.predict):
            runs.number("predict", self.predict)
        checked(self.quota)

    @property
    def seeded(self) -> bool:
        """Whether there is one number a seed."""
        return isinstance(self.experiment, Experiment)

    def predicted(self, record: object = None) -> float | np.ndarray | None:
        """What is predicted for a ``record``: a number, (S,), or None where nothing is."""
        return self.predict(record) if callable(self.predict) else self.predict

    def chunks(self, seeds: tuple) -> list[tuple]:
        """The ``seeds`` in stacks that share a record; one stack of all where there are none to share."""
        if not self.seeded:
            return [tuple(seeds)]
        return [tuple(seeds[start : start + CHUNK]) for start in range(0, len(seeds), CHUNK)]

    def measure(self, seeds: tuple, device: torch.device | str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Measured and predicted, (S,) each or None, on one chunk of ``seeds``, on a ``device``; (1,) of a derivation."""
        record = self.experiment(seeds, device) if self.seeded else self.experiment()
        found = _plain(self.read(record))
        if found.shape != (len(seeds) if self.seeded else 1,):
            raise ValueError(
                f"read gave an array of shape {found.shape} for {len(seeds)} seeds: it must give one number a seed"
            )
        value = self.predicted(record)
        counted = np.where(np.isnan(found), self.undefined, found)
        return counted, None if value is None else np.broadcast_to(_plain(value), found.shape)

    def numbers(self, seeds: tuple, device: torch.device | str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Measured and predicted, (S,) each or None, on any ``seeds``, on a ``device``, chunk by chunk."""
        return joined([self.measure(chunk, device) for chunk in self.chunks(seeds)])


@door.takes(parts=door.several(door.instance(tuple)))
def joined(parts: list[tuple]) -> tuple[np.ndarray, np.ndarray | None]:
    """Measured and predicted of several chunks, ``parts``, as one."""
    measured, predicted = zip(*parts, strict=True)
    return np.concatenate(measured), None if predicted[0] is None else np.concatenate(predicted)


class Control:
    """The trial of a claim with one assumption broken. Its criterion must be violated.

    title: what is broken; settings: those of the experiment that are other; changes: fields of the trial that are other,
    ``experiment=...`` where no setting says it; because: one sentence, why anything but one assumption is other. Its quota, of
    the seeds that have to fail, is its own: ``"all"`` where none is given.
    """

    def __init__(self, title: str, settings: dict | None = None, because: str = "", **changes):
        known = tuple(one.name for one in fields(Trial) if one.name != "kind")
        runs.check("control", title, "a title that says what is broken", isinstance(title, str) and bool(title))
        runs.names("control", tuple(changes), known)
        twice = settings and "experiment" in changes
        runs.check(f"control {title!r}", (settings, changes), "settings or an experiment, not both", not twice)
        self.title, self.settings, self.because, self.changes = title, settings or {}, because, changes

    def __repr__(self):
        return f"Control({self.title!r})"

    def of(self, trial: Trial) -> Trial:
        """The ``trial`` with the changes. Raises WrongUse where nothing but the quota is other."""
        broken = replace(trial, **{"experiment": trial.experiment.but(**self.settings)} | self.changes)
        changed = _parts(replace(broken, quota=trial.quota)) != _parts(trial)
        runs.check(f"control {self.title!r}", self.changes, "a change", changed)
        return replace(broken, quota=self.changes.get("quota", "all"))

    def differs(self, trial: Trial) -> tuple[str, ...]:
        """What is other than in the ``trial``, by name: settings of its experiment, and fields that change what is read."""
        broken = self.of(trial)
        fields_changed = (
            name for name in ("read", "holds", "predict") if getattr(broken, name) != getattr(trial, name)
        )
        return (*trial.experiment.differs(broken.experiment), *fields_changed)


@dataclass(frozen=True, repr=False)
class Claim:
    """A statement, and the trial that can contradict it.

    title, statement: text with ``$...$``; trial: a Trial; control: a Control; name and chapter: they make its id; provenance:
    where it comes from; cite: keys of the bibliography; state: one of ``STATES``, checked by each run. A claim that is "not
    testable here" has neither trial nor control. Raises WrongUse where it is not written in full.
    """

    title: str
    statement: str
    trial: Trial | None = None
    control: Control | None = None
    name: str = ""
    chapter: str = ""
    provenance: str = "derived here"
    cite: tuple = ()
    state: str = "reproduced"

    def __post_init__(self):
        runs.choice("state", self.state, STATES)
        for field in ("title", "statement", "name", "chapter", "provenance"):
            text = getattr(self, field)
            runs.check(f"{field} of claim {self.name!r}", text, "a text", isinstance(text, str) and bool(text))
        keys = isinstance(self.cite, tuple) and all(isinstance(key, str) for key in self.cite)
        runs.check(f"cite of {self.id}", self.cite, "a tuple of keys of the bibliography", keys)
        runs.names(f"cite of {self.id}", self.cite, tuple(citations.entries()))
        if self.testable:
            runs.check(f"trial of {self.id}", self.trial, "a Trial", isinstance(self.trial, Trial))
            runs.check(f"control of {self.id}", self.control, "a Control", isinstance(self.control, Control))
            asked = self.control.of(self.trial).quota
            allowed = "a quota that ten seeds without a failure contradict"
            runs.check(f"control of {self.id}", asked, allowed, can_be_missed(asked))

    def __repr__(self):
        return f"Claim({self.id!r})"

    @property
    def id(self) -> str:
        """The claim's name behind that of its chapter."""
        return f"{self.chapter}.{self.name}"

    @property
    def testable(self) -> bool:
        """Whether this book can test it."""
        return self.state != "not testable here"

    def predicted(self, record: object = None) -> float | np.ndarray | None:
        """What the claim predicts for a ``record``: the dashed line of a figure."""
        return self.trial.predicted(record)

    def _repr_markdown_(self):
        """The box of the chapter: statement, provenance, criterion and control, as Markdown."""
        lines = [f"**{self.title}** · `{self.id}`", "", self.statement, "", f"*Provenance:* {self.provenance}."]
        if self.testable:
            asked, broken = words(self.trial.quota), words(self.control.of(self.trial).quota)
            lines += [
                "",
                f"*Criterion:* {self.trial.holds}{asked}. *Control, which must fail{broken}:* {self.control.title}.",
            ]
        return "\n".join("> " + line for line in lines)


@door.takes(chapter=door.TEXT, cite=door.several(door.TEXT, 0))
def chapter_of(chapter: str, cite: tuple = (), **defaults) -> Callable[..., Claim]:
    """What writes the claims of one ``chapter``: a function (name, title, statement, trial, control, ...) -> Claim.

    cite and further defaults, such as the provenance, hold where a claim does not say otherwise.
    """

    def claim(name, title, statement, trial=None, control=None, **more):
        return partial(Claim, chapter=chapter, **({"cite": cite} | defaults))(
            title, statement, trial, control, name=name, **more
        )

    return claim


def _parts(trial):
    """The fields of a trial, to be compared: a NaN is equal to every other, as it is not where Python 3.13 compares them."""
    values = (getattr(trial, one.name) for one in fields(trial))
    return tuple("nan" if value != value else value for value in values)


def _plain(value):
    """A tensor or a number as a float64 array (S,)."""
    return np.atleast_1d(runs.array(value)).astype(float)
