"""Kinds of arguments: each is a function of (name, value, sizes of the call) that raises WrongUse, or lets pass."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy

import numpy as np
import sympy as sp
import torch

from attnflow import runs
from attnflow.door.shapes import Kind, refuse, shaped


def kind_of(given: object) -> Kind:
    """The kind that a short form stands for. given: the text of a shape, a dict of kinds, a class, or a kind."""
    if isinstance(given, str):
        return shaped(given)
    if isinstance(given, Mapping):
        return entries(given)
    return instance(given) if isinstance(given, type) else given


def entries(kinds: Mapping) -> Kind:
    """A dict that has these entries at least. kinds: name -> kind, or its short form."""
    checks = {name: kind_of(kind) for name, kind in kinds.items()}

    def check(name, value, sizes):
        if not isinstance(value, Mapping) or not set(checks) <= set(value):
            given = sorted(map(str, value)) if isinstance(value, Mapping) else value
            refuse(name, given, f"a dict with the entries {', '.join(checks)}")
        for key, one in checks.items():
            one(f"{name}[{key!r}]", value[key], sizes)

    return check


def instance(kind: type | tuple[type, ...], **sizes: str) -> Kind:
    """An object of a class. kind: the class, or several; sizes: letter -> the attribute that says this size."""
    classes = kind if isinstance(kind, tuple) else (kind,)
    allowed = "an object of " + " or ".join(each.__name__ for each in classes)

    def check(name, value, known):
        if not isinstance(value, classes):
            refuse(name, value, allowed)
        for letter, attribute in sizes.items():
            size = getattr(value, attribute)
            same = known.setdefault(letter, size) == size
            runs.check(f"{name}.{attribute}", size, f"{known[letter]}, the size of the other arguments", same)

    if sizes:
        check.first = True  # what an object says of sizes is known before tensors are looked at
    return check


def real(above: float | None = None, least: float | None = None, most: float | None = None) -> Kind:
    """A finite number, ``> above``, ``>= least`` and ``<= most`` where these are given."""

    def check(name, value, sizes):
        runs.number(name, value, above, least)
        if most is not None and value > most:
            refuse(name, value, f"at most {most}")

    return check


def whole(least: int, letter: str | None = None, most: int | None = None) -> Kind:
    """An integer from ``least`` on, to ``most`` where it is given; where a ``letter`` is, its size in the shapes of the call."""

    def check(name, value, sizes):
        runs.integer(name, value, least)
        if most is not None and value > most:
            refuse(name, value, f"an integer from {least} to {most}")
        if letter and sizes.setdefault(letter, value) != value:
            refuse(name, value, f"{sizes[letter]}, the size of the other arguments")

    return check


def choice(*options: object) -> Kind:
    """One of the ``options``."""

    def check(name, value, sizes):
        hashable = isinstance(value, (str, int, float, tuple)) and not isinstance(value, bool)
        runs.check(name, value, "one of " + ", ".join(map(str, options)), hashable and value in options)

    return check


def several(kind: object, least: int = 1, letter: str | None = None) -> Kind:
    """A list, a range or an array of at least ``least`` entries of one ``kind``, as many as the size of a ``letter``."""
    one = kind_of(kind)

    def check(name, value, sizes):
        listed = isinstance(value, (Sequence, np.ndarray, torch.Tensor)) and not isinstance(value, (str, bytes))
        if not listed or getattr(value, "ndim", 1) != 1 or len(value) < least:
            refuse(name, value, f"a list with at least {least} entr{'y' if least == 1 else 'ies'}")
        if letter and sizes.setdefault(letter, len(value)) != len(value):
            refuse(name, value, f"a list of {sizes[letter]}")
        for place, each in enumerate(runs.array(value).tolist() if isinstance(value, torch.Tensor) else value):
            one(f"{name}[{place}]", each, sizes)

    return check


def each(kind: object, least: int = 0) -> Kind:
    """A dict, name -> what is of one ``kind``, with at least ``least`` entries."""
    one = kind_of(kind)
    allowed = "a dict, name -> value" + (f", with at least {least} entr{'y' if least == 1 else 'ies'}" if least else "")

    def check(name, value, sizes):
        known = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        runs.check(name, value, allowed, known and len(value) >= least)
        for key, entry in value.items():
            one(f"{name}[{key!r}]", entry, sizes)

    return check


def named(kind: object) -> Kind:
    """A dict, name -> what is of one ``kind``, that is not empty."""
    return each(kind, least=1)


def together(*kinds: object) -> Kind:
    """A tuple or list with one entry of each of the ``kinds``, in this order."""
    checks = [kind_of(kind) for kind in kinds]

    def check(name, value, sizes):
        if not isinstance(value, (tuple, list)) or len(value) != len(checks):
            refuse(name, value, f"a tuple of {len(checks)}")
        for place, (one, each) in enumerate(zip(checks, value, strict=True)):
            one(f"{name}[{place}]", each, sizes)

    return check


def either(*kinds: object) -> Kind:
    """What one of some ``kinds`` takes; else what is said is what each of them allows."""
    checks = [kind_of(kind) for kind in kinds]

    def check(name, value, sizes):
        said = []
        for one in checks:
            tried = copy(sizes)
            try:
                one(name, value, tried)
            except runs.WrongUse as error:
                said.append(str(error))
                continue
            sizes.update(tried)
            return
        raise runs.WrongUse(", or ".join([said[0], *(each.partition(" it must be ")[2] for each in said[1:])]))

    return check


def symbolic(text: str) -> Kind:
    """A sympy matrix of the shape that a ``text`` such as "L k" says, with letters as in :func:`shaped`."""
    axes = text.split()

    def check(name, value, sizes):
        known = [f"{axis} = {sizes[axis]}" for axis in axes if axis in sizes]
        allowed = f"a sympy matrix of shape ({', '.join(axes)})" + (f", where {' and '.join(known)}" if known else "")
        runs.check(name, value, allowed, isinstance(value, sp.MatrixBase))
        for axis, size in zip(axes, value.shape, strict=True):
            runs.check(name, value.shape, allowed, size > 0 and sizes.setdefault(axis, size) == size)

    return check


def is_a(allowed: str, good: Callable[[object], bool]) -> Kind:
    """A kind from a test. allowed: what it takes, in words; good: value -> whether it is that."""

    def check(name, value, sizes):
        runs.check(name, value, allowed, bool(good(value)))

    return check


def by(check: Callable[[object], object]) -> Kind:
    """A kind from a function of the value that raises WrongUse itself. check: the function."""

    def passed(name, value, sizes):
        check(value)

    return passed


def _streams(name, value, sizes):
    """Streams of random numbers, one a run of the stack that the other arguments have."""
    stack = sizes.setdefault("S", len(runs.generators(value)))
    runs.check(name, f"{len(value)} streams", f"{stack}, one a run", len(value) == stack)


def _device(value):
    """Check the name of a device."""
    return runs.device(runs.check("device", value, "cpu, cuda or cuda:N", value is not None))


def _numbers(value):
    """Whether a value is an array of numbers, or like one."""
    try:
        found = runs.array(value)
    except (TypeError, ValueError):
        return False
    return found.size > 0 and found.dtype.kind in "iuf"


NUMBER, POSITIVE, NONNEGATIVE, SHARE = real(), real(above=0), real(least=0), real(least=0, most=1)
INDEX, COUNT = whole(0), whole(1)
EXACT = either(NUMBER, instance(sp.Number))
FLAG = is_a("True or False", lambda value: isinstance(value, (bool, np.bool_)))
ANY_NUMBER = is_a("a number", lambda value: isinstance(value, (int, float, np.number)) and not isinstance(value, bool))
TEXT = is_a("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
LABEL = is_a("a text", lambda value: isinstance(value, str))
FUNCTION = is_a("a function", callable)
ARRAY = is_a(
    "an array of finite numbers that is not empty",
    lambda value: _numbers(value) and bool(np.isfinite(runs.array(value)).all()),
)
SIZES = is_a(
    "an array of positive numbers that is not empty",
    lambda value: _numbers(value) and bool((runs.array(value) > 0).all() and np.isfinite(runs.array(value)).all()),
)
CURVE = is_a("an array of numbers that is not empty", lambda value: _numbers(value))

SEEDS, STREAMS, DEVICE = by(lambda value: runs.replicas(value, 1)), _streams, by(_device)


def _symbolic(value):
    """Whether a value is a dict of sympy matrices of one shape each."""
    pairs = list(value.items()) if isinstance(value, Mapping) else []
    known = all(isinstance(each, sp.MatrixBase) for pair in pairs for each in pair)
    return bool(pairs) and known and all(symbols.shape == rates.shape for symbols, rates in pairs)


EXPRESSION = instance((sp.Basic, sp.MatrixBase))
VELOCITY = is_a("a dict, sympy matrix of symbols -> matrix of their time derivatives, of one shape", _symbolic)
