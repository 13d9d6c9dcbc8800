"""Kinds of arguments: each is a function of (name, value, sizes of the call) that raises WrongUse, or lets pass."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sympy as sp
import torch

from attnflow import runs

Kind = Callable[[str, object, dict], object]
_TYPES = {"float64": runs.DTYPE, "gaps": runs.DTYPE, "int": torch.int64, "bool": torch.bool}


def kind_of(given: object) -> Kind:
    """The kind that a short form stands for. given: the text of a shape, a dict of kinds, a class, or a kind."""
    if isinstance(given, str):
        return shaped(given)
    if isinstance(given, Mapping):
        return entries(given)
    return instance(given) if isinstance(given, type) else given


def shaped(text: str) -> Kind:
    """A tensor without empty axes, in which a letter is one size all through the call and a number is itself.

    text: "S n d", "S n 1", or "S ... k" where any axes may stand between. Its entries are float64 and finite, unless a word with
    a colon leads: "int: S n" for int64, "bool: S", "real: S n" for any floating type, "gaps: K S" for float64 with NaN where a
    run has ended.
    """
    word, _, axes = text.rpartition(": ")
    word, axes = word or "float64", axes.split()
    before = axes.index("...") if "..." in axes else len(axes)
    own = [axis for axis in axes if axis != "..."]
    told = {"float64": "finite float64", "gaps": "float64", "real": "finite floating-point"}.get(word, word)

    def check(name, value, sizes):
        if not isinstance(value, torch.Tensor):
            _refuse(name, value, f"a {told} tensor of shape ({', '.join(axes)})")
        shape = tuple(value.shape)
        good = 0 not in shape and (len(shape) >= len(own) if len(own) < len(axes) else len(shape) == len(own))
        known = {axis: sizes[axis] for axis in own if axis in sizes}
        named_sizes = shape[:before] + shape[len(shape) - len(own) + before :]
        for axis, size in zip(own, named_sizes if good else (), strict=False):
            good = good and size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
        right = value.is_floating_point() if word == "real" else value.dtype == _TYPES[word]
        if not (good and right):
            where = ", where " + " and ".join(f"{axis} = {size}" for axis, size in known.items()) if known else ""
            allowed = f"a {told} tensor of shape ({', '.join(axes)}){where}"
            _refuse(name, f"a tensor of {str(value.dtype).removeprefix('torch.')} and shape {shape}", allowed)
        if word in ("float64", "real") and not _finite(value):
            _refuse(name, "a tensor with entries that are not finite", "finite")

    return check


def entries(kinds: Mapping) -> Kind:
    """A dict that has these entries at least. kinds: name -> kind, or its short form."""
    checks = {name: kind_of(kind) for name, kind in kinds.items()}

    def check(name, value, sizes):
        if not isinstance(value, Mapping) or not set(checks) <= set(value):
            given = sorted(map(str, value)) if isinstance(value, Mapping) else value
            _refuse(name, given, f"a dict with the entries {', '.join(checks)}")
        for key, one in checks.items():
            one(f"{name}[{key!r}]", value[key], sizes)

    return check


def instance(kind: type | tuple[type, ...], **sizes: str) -> Kind:
    """An object of a class. kind: the class, or several; sizes: letter -> the attribute that says this size."""
    classes = kind if isinstance(kind, tuple) else (kind,)
    allowed = "an object of " + " or ".join(each.__name__ for each in classes)

    def check(name, value, known):
        if not isinstance(value, classes):
            _refuse(name, value, allowed)
        for letter, attribute in sizes.items():
            size = getattr(value, attribute)
            runs.check(
                f"{name}.{attribute}",
                size,
                f"{known.get(letter)}, as the others",
                known.setdefault(letter, size) == size,
            )

    return check


def symbolic(text: str) -> Kind:
    """A sympy matrix of the shape that a ``text`` such as "L k" says, with letters as in :func:`shaped`."""
    rows, columns = text.split()

    def check(name, value, sizes):
        if not isinstance(value, sp.MatrixBase):
            _refuse(name, value, f"a sympy matrix of shape ({rows}, {columns})")
        for axis, size in zip((rows, columns), value.shape, strict=True):
            told = f"a sympy matrix of shape ({rows}, {columns})" + (
                f", where {axis} = {sizes[axis]}" if axis in sizes else ""
            )
            runs.check(name, value.shape, told, size > 0 and sizes.setdefault(axis, size) == size)

    return check


def real(above: float | None = None, least: float | None = None, most: float | None = None) -> Kind:
    """A finite number, ``> above``, ``>= least`` and ``<= most`` where these are given."""

    def check(name, value, sizes):
        runs.number(name, value, above, least)
        if most is not None and value > most:
            _refuse(name, value, f"at most {most}")

    return check


def whole(least: int, letter: str | None = None) -> Kind:
    """An integer of at least ``least``; the size that a ``letter`` has in the shapes of the call, where one is given."""

    def check(name, value, sizes):
        runs.integer(name, value, least)
        if letter and sizes.setdefault(letter, value) != value:
            _refuse(name, value, f"{sizes[letter]}, the size of the other arguments")

    return check


def choice(*options: object) -> Kind:
    """One of the ``options``."""

    def check(name, value, sizes):
        hashable = isinstance(value, (str, int, float, tuple)) and not isinstance(value, bool)
        runs.check(name, value, "one of " + ", ".join(map(str, options)), hashable and value in options)

    return check


def several(kind: object, least: int = 1) -> Kind:
    """A list, a tuple or a range of at least ``least`` entries of one ``kind``."""
    one = kind_of(kind)

    def check(name, value, sizes):
        listed = isinstance(value, (Sequence, np.ndarray, torch.Tensor)) and not isinstance(value, (str, bytes))
        if not listed or getattr(value, "ndim", 1) != 1 or len(value) < least:
            _refuse(name, value, f"a list with at least {least} entr{'y' if least == 1 else 'ies'}")
        for place, each in enumerate(value):
            one(f"{name}[{place}]", each.item() if isinstance(each, torch.Tensor) else each, sizes)

    return check


def named(kind: object) -> Kind:
    """A dict, name -> what is of one ``kind``, that is not empty."""
    one = kind_of(kind)

    def check(name, value, sizes):
        ok = isinstance(value, Mapping) and len(value) > 0 and all(isinstance(key, str) for key in value)
        if not ok:
            _refuse(name, value, "a dict, name -> value, that is not empty")
        for key, each in value.items():
            one(f"{name}[{key!r}]", each, sizes)

    return check


def together(*kinds: object) -> Kind:
    """A tuple or list with one entry of each of the ``kinds``, in this order."""
    checks = [kind_of(kind) for kind in kinds]

    def check(name, value, sizes):
        if not isinstance(value, (tuple, list)) or len(value) != len(checks):
            _refuse(name, value, f"a tuple of {len(checks)}")
        for place, (one, each) in enumerate(zip(checks, value, strict=True)):
            one(f"{name}[{place}]", each, sizes)

    return check


def either(*kinds: object) -> Kind:
    """What one of some ``kinds`` takes; the last of them says why not."""
    checks = [kind_of(kind) for kind in kinds]

    def check(name, value, sizes):
        for one in checks[:-1]:
            tried = dict(sizes)
            try:
                one(name, value, tried)
            except runs.WrongUse:
                continue
            sizes.update(tried)
            return
        checks[-1](name, value, sizes)

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


def _refuse(name, value, allowed):
    """The one line of a refusal: a text that begins with an article tells what was given, anything else is shown."""
    if isinstance(value, str) and value.startswith("a tensor "):
        raise runs.WrongUse(f"{name} = {value} is not allowed: it must be {allowed}")
    runs.check(name, value, allowed, False)


def _finite(value):
    """Whether all entries are finite; inside a transform of ``torch.func`` nobody can tell, and it counts as yes."""
    return torch._C._functorch.is_functorch_wrapped_tensor(value) or bool(torch.isfinite(value).all())


NUMBER, POSITIVE, NONNEGATIVE, SHARE = real(), real(above=0), real(least=0), real(least=0, most=1)
INDEX, COUNT = whole(0), whole(1)
FLAG = is_a("True or False", lambda value: isinstance(value, (bool, np.bool_)))
TEXT = is_a("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
FUNCTION = is_a("a function", callable)

SEEDS, STREAMS, DEVICE = by(lambda value: runs.replicas(value, 1)), by(runs.generators), by(runs.device)


def _symbolic(value):
    """Whether a value is a dict of sympy matrices of one shape each."""
    pairs = list(value.items()) if isinstance(value, Mapping) else []
    known = all(isinstance(each, sp.MatrixBase) for pair in pairs for each in pair)
    return bool(pairs) and known and all(symbols.shape == rates.shape for symbols, rates in pairs)


EXPRESSION = instance((sp.Basic, sp.MatrixBase))
VELOCITY = is_a("a dict, sympy matrix of symbols -> matrix of their time derivatives, of one shape", _symbolic)
