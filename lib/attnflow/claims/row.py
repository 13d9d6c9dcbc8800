"""A claim that was run, as one row with four views: terminal, Markdown, ledger and comparison."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from attnflow import door
from attnflow.claims import box
from attnflow.claims.claim import Claim
from attnflow.claims.criteria import extent, show


@dataclass(frozen=True, repr=False)
class Row:
    """One claim, evaluated. The fields are the keys of the stored JSON.

    id, chapter, title, statement, provenance, cite, state, kind: those of the claim and its trial; criterion, control: their
    text; because: why the control changes more than one assumption, empty where it does not; holds, control_fails: the
    verdicts; seed_dependent: whether there is one number a seed, or one number of algebra; predicted: a number, one a seed,
    or None; measured, control_measured: one number a seed; shown, control_shown: these as text; accepted: the two ends of
    what the criterion accepts; dots: the seeds of the claim and of its control, placed between these ends as if all had the
    mean of the predictions, empty where that moves none; good, control_good: how many seeds are as asked, where there is
    a quota; margin: the least distance to the edge of the criterion, in its units; tightness: how much of the room the seeds
    fill; seconds: what it took; engine: of its steps, if any; error: what went wrong.
    """

    id: str
    chapter: str
    title: str
    statement: str
    provenance: str
    cite: tuple
    state: str
    kind: str = ""
    predicted: object = None
    accepted: tuple = ()
    measured: tuple = ()
    dots: tuple = ()
    shown: str = ""
    criterion: str = ""
    margin: float | None = None
    tightness: float | None = None
    holds: bool = False
    good: str = ""
    control: str = ""
    because: str = ""
    control_measured: tuple = ()
    control_shown: str = ""
    control_fails: bool = False
    control_good: str = ""
    seed_dependent: bool = False
    seconds: float = 0.0
    engine: str = ""
    error: str = ""

    @property
    def testable(self) -> bool:
        """Whether this book can test it."""
        return self.state != "not testable here"

    @property
    def consistent(self) -> bool:
        """Whether the run agrees with the state that the author wrote, and the control fails."""
        if not self.testable:
            return True
        return not self.error and self.holds == self.state.startswith("reproduced") and self.control_fails

    @property
    def undecided(self) -> bool:
        """Whether it is neither as stated nor contradicted: it could not be run, or what is not as stated reads no numbers."""
        as_stated = (self.holds == self.state.startswith("reproduced"), self.control_fails)
        wrong = [some for good, some in zip(as_stated, (self.measured, self.control_measured), strict=True) if not good]
        return not self.consistent and (bool(self.error) or all(any(map(math.isnan, some)) for some in wrong))

    @property
    def proved(self) -> bool:
        """Whether its numbers are 1 for a proof that is found and 0 for one that is not."""
        return self.kind == "proof" and self.predicted == 1

    @property
    def found(self) -> tuple[str, str]:
        """What was found of the claim and of its control, as text."""
        if self.proved:
            return tuple(
                "proved" if one == (1,) else "not proved"
                for one in (tuple(self.measured), tuple(self.control_measured))
            )
        return self.shown, self.control_shown

    @property
    def forecast(self) -> str:
        """The prediction as text, empty where the criterion alone says it."""
        if self.proved:
            return ""
        return "" if self.predicted is None else extent(np.atleast_1d(self.predicted).tolist())

    @property
    def verdict(self) -> str:
        """What became of the claim."""
        return self.said("holds" if self.holds else "does not hold", self.good)

    @property
    def control_verdict(self) -> str:
        """What became of the control."""
        return self.said("fails, as it must" if self.control_fails else "does not fail", self.control_good)

    @property
    def placed(self) -> tuple:
        """The dots of its picture, of the claim and of its control."""
        return self.dots or (self.measured, self.control_measured)

    def line(self) -> str:
        """The view of the terminal."""
        return repr(self) + (f"; {self.seconds:.1f} s" if self.testable and not self.error else "")

    def __repr__(self):
        head = f"{'ok  ' if self.consistent else 'FAIL'} {self.id:34} "
        if not self.testable:
            return head + self.state
        if self.error:
            return head + f"could not be run: {self.error}"
        forecast = f"predicted {self.forecast}, " if self.forecast else ""
        return head + (
            f"{forecast}measured {self.shown}: {self.said('holds' if self.holds else 'violated', self.good)} ({self.criterion}); "
            f"control {self.control_shown} {self.said('fails' if self.control_fails else 'DOES NOT FAIL', self.control_good)}"
        )

    def cells(self) -> list[str]:
        """The view of a chapter's table: claim, predicted, measured, criterion, control."""
        if not self.testable:
            return [self.title, "", "", self.state, ""]
        if self.error:
            return [self.title, "", "", f"**could not be run**: {self.error}", ""]
        holds = self.said("holds" if self.holds else "**violated**", self.good)
        fails = self.said("fails" if self.control_fails else "**does not fail**", self.control_good)
        control = f"{self.control}: {self.found[1]}, {fails}"
        criterion = "a proof" if self.proved else self.criterion
        place = f'<a id="row-{self.key}"></a>'
        return [
            f"{place}[{self.title}](#claim-{self.key})",
            self.forecast,
            self.found[0],
            f"{criterion}: {holds}",
            control,
        ]

    @property
    def key(self) -> str:
        """Its id in an anchor: ``claim-`` this is its card in the ledger, ``box-`` and ``row-`` this its places in a chapter.

        >>> Row("here.one-two", *[""] * 5, (), "").key
        'here-one-two'
        """
        return self.id.replace(".", "-")

    def picture(self) -> str:
        """Its dots as one HTML element: see :func:`attnflow.claims.box.picture`."""
        return box.picture(self)

    def _repr_markdown_(self):
        """The box of the chapter."""
        return box.box(self)

    @staticmethod
    def said(told: str, good: str) -> str:
        """What is ``told`` of a verdict, and the count of ``good`` seeds behind it where there is a quota."""
        return f"{told}, in {good}" if good else told

    def card(self) -> list[tuple[str, str]]:
        """The view of the ledger: pairs of a term and its text."""
        if not self.testable:
            return []
        if self.error:
            return [("Measured", f"could not be run: {self.error}")]
        over, beyond = (
            f" over {len(some)} seeds" if self.seed_dependent else "" for some in (self.measured, self.control_measured)
        )
        margin = "" if self.margin is None else f" (margin {show(self.margin)})"
        because = f". {self.because}" if self.because else ""
        return [
            *([] if self.proved else [("Predicted", self.forecast or "–")]),
            ("Measured", self.found[0] + over),
            ("Criterion", f"{'a proof' if self.proved else self.criterion}: {self.verdict}{margin}"),
            ("Control", f"{self.control}: {self.found[1]}{beyond}, {self.control_verdict}{because}"),
            ("Tightness", "exact" if self.tightness is None else show(self.tightness)),
        ]

    def compared(self, other: "Row | None") -> tuple[str, ...]:
        """The view of a comparison with the same row of an ``other`` run: id, both ranges, their difference, the verdict."""
        if other is None:
            return (self.id, self.shown or "–", "–", "–", "MISSING in your run")
        if other.error:
            return (self.id, self.shown or "–", "–", "–", f"DIFFERS: could not be run: {other.error}")
        same = (self.holds, self.control_fails) == (other.holds, other.control_fails)
        told = "same" if same else f"DIFFERS: {other.verdict}, its control {other.control_verdict}"
        gap = f"{difference(self.measured, other.measured):.0e}"
        return (self.id, self.shown or "–", other.shown or "–", gap, told)

    def to_json(self) -> dict:
        """The row as plain data; numbers that are not finite are the texts "inf", "-inf" and "nan"."""
        return {name: _written(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: dict) -> "Row":
        """The row that ``stored`` holds, as ``to_json`` wrote it."""
        known = {one.name: stored[one.name] for one in fields(cls) if one.name in stored}
        numbers = ("predicted", "measured", "margin", "tightness", "control_measured", "accepted", "dots")
        read = {name: _read(value) if name in numbers else value for name, value in known.items()}
        return cls(**read | {"cite": tuple(known["cite"])})


def _written(value):
    """A value as JSON knows it."""
    if isinstance(value, (list, tuple)):
        return [_written(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(value):
    """The value that ``_written`` wrote."""
    if isinstance(value, list):
        return tuple(_read(each) for each in value)
    return float(value) if isinstance(value, str) else value


@door.takes(book=door.several(door.ANY_NUMBER, 0), yours=door.several(door.ANY_NUMBER, 0))
def difference(book: Sequence[float], yours: Sequence[float]) -> float:
    """Largest difference of the readings ``yours`` to those of the ``book``, over the largest reading of the book.

    >>> difference([1.0, 2.0], [1.0, 2.5]), difference([1.0], [1.0, 2.0])
    (0.25, inf)
    """
    if len(book) != len(yours):
        return math.inf
    gaps = [abs(one - other) for one, other in zip(book, yours, strict=True) if math.isfinite(one - other)]
    scale = max((abs(one) for one in book if math.isfinite(one)), default=0.0)
    return max(gaps, default=0.0) / (scale or 1.0)


@door.takes(claim=door.instance(Claim))
def blank(claim: Claim, **more) -> Row:
    """The row of a ``claim`` before it is run, or with what ``more`` says of its fields."""
    told = {name: getattr(claim, name) for name in "id chapter title statement provenance cite state".split()}
    if claim.testable:
        told |= {"kind": claim.trial.kind, "criterion": str(claim.trial.holds), "control": claim.control.title}
        told |= {"seed_dependent": claim.trial.seeded, "because": claim.control.because}
    return Row(**told | more)
