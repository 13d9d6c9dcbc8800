"""What an assignment is: constants drawn from a salt, parts that ask for plain data, and judges that know the theorem."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOLERANCE = {"float64": 1e-7, "float32": 2e-4}  # relative, of an answer that is exact up to rounding
FACTORS = {-1: "its sign is the other one", 2: "it is twice as large as it should be", 0.5: "a factor 2 is missing"}
FACTORS |= {-2: "it is -2 times what it should be", -0.5: "its sign is the other one, and a factor 2 is missing"}
FACTORS |= {4: "it is four times as large as it should be", 0.25: "a factor 4 is missing"}
FACTORS |= {-4: "it is -4 times what it should be", -0.25: "its sign is the other one, and a factor 4 is missing"}


def generator(*words: object) -> np.random.Generator:
    """A stream of random numbers that belongs to these words, the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Ask:
    """One question to a submission: a function of it at ``inputs``, or an expression of sympy at points.

    name: of the function or expression; inputs: keyword arguments, numbers, text and float64 arrays, or of an expression
    {symbol: array of points}, of one length; kind: ``call`` or ``expression``.
    """

    name: str
    inputs: dict
    kind: str = "call"


@dataclass(frozen=True)
class Answer:
    """What came back: ``value``, plain data with arrays in float64, or ``error``, and the ``precision`` it was computed in."""

    value: object = None
    error: str = ""
    precision: str = "float64"

    def array(self, shape: tuple | None = None) -> np.ndarray:
        """The value as finite numbers of a ``shape``, any where none is given; raises Wrong, with what is wrong."""
        if self.error:
            raise Wrong(self.error)
        if not isinstance(self.value, np.ndarray):
            raise Wrong(f"expected numbers, got {type(self.value).__name__}")
        found = self.value
        if shape is not None and found.shape != tuple(shape):
            if found.size != int(np.prod(shape)) or found.squeeze().shape != np.empty(shape).squeeze().shape:
                raise Wrong(f"expected an array of shape {tuple(shape)}, got one of shape {found.shape}")
            found = found.reshape(shape)
        if not np.isfinite(found).all():
            raise Wrong("there is a number that is not finite (NaN or infinity)")
        return found

    def number(self) -> float:
        """The value as one finite number; raises Wrong."""
        return float(self.array(()))

    def entry(self, name: str) -> "Answer":
        """The answer under a ``name`` of a dict; raises Wrong where there is none."""
        if self.error:
            raise Wrong(self.error)
        if not isinstance(self.value, dict) or name not in self.value:
            raise Wrong(f"expected a dict with an entry {name!r}")
        return Answer(self.value[name], precision=self.precision)


class Wrong(Exception):
    """An answer that is wrong, with the hint for the student."""


@dataclass(frozen=True)
class Step:
    """One step of a part: the ``share`` of its points, whether the answer is ``right``, and the ``hint`` where it is not."""

    share: float
    right: bool
    hint: str = ""


def step(share: float, check: Callable[[], str | None]) -> Step:
    """A step that a ``check`` decides: it returns None where all is right, and a hint, or raises Wrong with one, otherwise."""
    try:
        hint = check()
    except Wrong as wrong:
        hint = str(wrong)
    return Step(share, not hint, hint or "")


def compared(answer: Answer, wanted: object, rel: float | None = None, what: str = "the answer") -> str | None:
    """None where an ``answer`` is what is ``wanted``, and otherwise a hint: a sign, a factor, or how far it is off.

    wanted: numbers; rel: relative error that is let pass, of the largest number wanted; that of the precision of the answer
    where none is given. Raises Wrong for an answer of another shape or kind.
    """
    wanted = np.asarray(wanted, dtype=np.float64)
    found = answer.array(wanted.shape)
    size = float(np.abs(wanted).max()) or 1.0
    most = size * max(rel or 0.0, TOLERANCE[answer.precision])
    if np.abs(found - wanted).max() <= most:
        return None
    for factor, words in FACTORS.items():
        if np.abs(found - factor * wanted).max() <= most * abs(factor):
            return f"{what}: {words}"
    if found.ndim == 2 and found.shape[0] == found.shape[1] and np.abs(found.T - wanted).max() <= most:
        return f"{what}: it is the transpose of what it should be"
    ratio = found[np.abs(wanted) > 1e-3 * size] / wanted[np.abs(wanted) > 1e-3 * size]
    if ratio.size > 1 and np.ptp(ratio) < 1e-6 * abs(ratio.mean()) + 1e-12:
        return f"{what}: it is {ratio.mean():.4g} times what it should be, everywhere"
    return f"{what}: off by up to {np.abs(found - wanted).max() / size:.2g} of its size, at inputs of the grader"


@dataclass(frozen=True)
class Part:
    """One graded part. Its points stand in course.toml.

    id: one letter; title: of the feedback page; asks: (constants, generator) -> questions, at inputs drawn anew; judge:
    (constants, questions, answers) -> steps, whose shares add up to 1; written: graded by hand, by the rubric in the notebook.
    """

    id: str
    title: str
    asks: Callable[[dict, np.random.Generator], list[Ask]] | None = None
    judge: Callable[[dict, list[Ask], list[Answer]], list[Step]] | None = None

    @property
    def written(self) -> bool:
        """Whether a person has to read it."""
        return self.judge is None


@dataclass(frozen=True)
class Assignment:
    """One assignment: ``chapter``, ``title``, learning ``goals``, the ``draw`` of its constants from a stream, its ``parts``."""

    chapter: str
    title: str
    goals: tuple[str, ...]
    draw: Callable[[np.random.Generator], dict]
    parts: tuple[Part, ...]

    def constants(self, salt: str) -> dict:
        """The constants that this ``salt`` draws: the same for the copies of the students and for the grader."""
        return self.draw(generator("constants", self.chapter, salt))

    def filled(self, text: str, constants: dict, points: dict) -> str:
        """A source with its constants, ``<<name>>``, and points, ``<<points:a>>``. Raises KeyError for other names."""

        def value(found):
            name = found.group(1)
            return str(points[name.removeprefix("points:")] if name.startswith("points:") else constants[name])

        return re.sub(r"<<([a-z:_0-9]+)>>", value, text)
