"""Kinds of tensors and arrays: by their shapes, by those of another argument, or by what a net asks for."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from attnflow import runs

Kind = Callable[[str, object, dict], object]  # (name, value, sizes of the call): raises WrongUse, or lets pass
# What a word before a shape says of the entries: their type, None where any floating type will do, and whether they are finite.
_WORDS = {
    "float64": (runs.DTYPE, True),
    "positive": (runs.DTYPE, True),
    "nonnegative": (runs.DTYPE, True),
    "gaps": (runs.DTYPE, False),
    "real": (None, True),
    "curve": (None, False),
    "int": (torch.int64, False),
    "bool": (torch.bool, False),
    "array": (None, True),
    "array gaps": (None, False),
}
_SIGNS = {
    "positive": ("greater than 0", lambda value: value > 0),
    "nonnegative": ("of at least 0", lambda value: value >= 0),
}


class Sizes(dict):
    """Letter -> size, as far as a call has told them, and its ``arguments``."""

    def __init__(self, arguments: Mapping):
        super().__init__()
        self.arguments = arguments


def shaped(text: str) -> Kind:
    """A tensor without empty axes, in which a letter is one size all through the call and a number is itself.

    text: "S n d", "S n 1", or "S ... k" where any axes may stand between; "B... k" where these are the same all through the call,
    "* k" where they broadcast with those of the other arguments. Entries are float64 and finite, unless a word with a colon
    stands first: "int: S n" for int64, "bool: S", "positive: S" and "nonnegative: S" for entries above and from 0 on,
    "gaps: K S" for NaN where a run has ended, "real: S n" for any floating type, "curve: K S" for that with NaN, "array: n d"
    and "array gaps: n d" for the same of numpy.
    """
    word, _, axes = text.rpartition(": ")
    word, axes = word or "float64", axes.split()
    dtype, finite = _WORDS[word]
    rest = next((axis for axis in axes if axis.endswith(("...", "*"))), None)
    before = axes.index(rest) if rest else len(axes)
    own = [axis for axis in axes if axis != rest]
    form, noun = (np.ndarray, "an array") if word.startswith("array") else (torch.Tensor, "a tensor")
    entries = f"{'finite ' * finite}{str(dtype or 'floating-point').removeprefix('torch.')} entries"
    allowed = f"{noun} of {entries} and shape ({', '.join(axes)})"

    def fits(shape, sizes):
        if 0 in shape or len(shape) < len(own) or (not rest and len(shape) > len(own)):
            return False
        after = len(shape) - len(own) + before
        if rest == "*":
            try:
                sizes[rest] = tuple(torch.broadcast_shapes(sizes.get(rest, ()), shape[before:after]))
            except RuntimeError:
                return False
        elif rest and rest != "..." and sizes.setdefault(rest, shape[before:after]) != shape[before:after]:
            return False
        sized = zip(own, shape[:before] + shape[after:], strict=True)
        return all(size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size)) for axis, size in sized)

    def check(name, value, sizes):
        known = [f"{axis} = {sizes[axis]}" for axis in axes if axis in sizes]
        where = f", where {' and '.join(known)}" if known else ""
        if not isinstance(value, form):
            refuse(name, value, allowed + where)
        right = value.dtype == dtype if dtype else "float" in str(value.dtype)
        if not (right and fits(tuple(value.shape), sizes)):
            given = str(value.dtype).removeprefix("torch.")
            refuse(name, f"{noun} of {given} entries and shape {tuple(value.shape)}", allowed + where)
        if finite and not _finite(value):
            refuse(name, f"{noun} with entries that are not finite", "finite")
        if word in _SIGNS and not _SIGNS[word][1](value).all():
            refuse(
                name, f"{noun} with the least entry {float(value.min()):.4g}", f"{noun} with entries {_SIGNS[word][0]}"
            )

    return check


def numbers(text: str) -> Kind:
    """Finite numbers in an array, a tensor or nested lists. text: their shape, as in :func:`shaped`."""
    fits, axes = shaped(f"array: {text}"), text.split()

    def check(name, value, sizes):
        try:
            given = np.array(runs.array(value), dtype=float)
        except (TypeError, ValueError, RuntimeError):
            refuse(name, value, f"plain numbers of shape ({', '.join(axes)})")
        fits(name, given, sizes)

    return check


def like(of: str) -> Kind:
    """A dict of tensors like those of the argument called ``of``."""

    def look(value):
        return {key: (each.dtype, tuple(each.shape)) for key, each in value.items() if isinstance(each, torch.Tensor)}

    def check(name, value, sizes):
        wanted = look(sizes.arguments[of])
        given = look(value) if isinstance(value, Mapping) else value
        runs.check(name, given, f"a dict of tensors with the names and shapes of {of}: {wanted}", given == wanted)

    return check


def weights(of: str) -> Kind:
    """A state that has the weights which the argument called ``of`` asks for in its ``shapes``; it may have more."""

    def check(name, value, sizes):
        net = sizes.arguments[of]
        if hasattr(net, "shapes"):  # else the kind of that argument refuses it
            known = isinstance(value, Mapping)
            given = {key: value[key] for key in net.shapes if key in value} if known else value
            sizes["S"] = len(next(iter(runs.state(given, net.shapes).values())))

    return check


def refuse(name: str, value: object, allowed: str) -> None:
    """The refusal of a ``value`` called ``name`` that is not ``allowed``: a text that begins with an article tells what it is."""
    if isinstance(value, str) and value.startswith(("a tensor ", "an array ")):
        raise runs.WrongUse(f"{name} = {value} is not allowed: it must be {allowed}")
    runs.check(name, value, allowed, False)


def _finite(value):
    """Whether all entries are finite; inside a transform of ``torch.func`` nobody can tell, and it counts as yes."""
    if isinstance(value, np.ndarray):
        return bool(np.isfinite(value).all())
    if torch._C._functorch.is_functorch_wrapped_tensor(value):
        return True
    if value.is_floating_point() and bool(value.sum().isfinite()):  # a sum is finite only where all its terms are
        return True
    return bool(torch.isfinite(value).all())
