"""Kinds of tensors: by their shapes, by those of another argument, or by what a net asks for."""

from collections.abc import Callable, Mapping

import torch

from attnflow import runs

Kind = Callable[[str, object, dict], object]
_TYPES = {"float64": runs.DTYPE, "gaps": runs.DTYPE, "int": torch.int64, "bool": torch.bool}
_FLOATING, _GAPS = ("real", "curve"), ("gaps", "curve")


class Sizes(dict):
    """Letter -> size, as far as a call has told them, and its ``arguments``."""

    def __init__(self, arguments: Mapping):
        super().__init__()
        self.arguments = arguments


def shaped(text: str) -> Kind:
    """A tensor without empty axes, in which a letter is one size all through the call and a number is itself.

    text: "S n d", "S n 1", or "S ... k" where any axes may stand between, "B... k" where these are the same all through the
    call. Its entries are float64 and finite, unless a word with
    a colon leads: "int: S n" for int64, "bool: S", "real: S n" for any floating type, "gaps: K S" for float64 with NaN where a
    run has ended, "curve: K S" for both.
    """
    word, _, axes = text.rpartition(": ")
    word, axes = word or "float64", axes.split()
    rest = next((axis for axis in axes if axis.endswith("...")), None)
    before = axes.index(rest) if rest else len(axes)
    own = [axis for axis in axes if axis != rest]
    told = {"float64": "finite float64", "gaps": "float64", "real": "finite floating-point", "curve": "floating-point"}
    told = told.get(word, word)

    def check(name, value, sizes):
        if not isinstance(value, torch.Tensor):
            refuse(name, value, f"a {told} tensor of shape ({', '.join(axes)})")
        shape = tuple(value.shape)
        good = 0 not in shape and (len(shape) >= len(own) if rest else len(shape) == len(own))
        known = {axis: sizes[axis] for axis in axes if axis in sizes}
        after = len(shape) - len(own) + before
        if rest and rest != "...":
            good = good and sizes.setdefault(rest, shape[before:after]) == shape[before:after]
        for axis, size in zip(own, shape[:before] + shape[after:] if good else (), strict=False):
            good = good and size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
        right = value.is_floating_point() if word in _FLOATING else value.dtype == _TYPES[word]
        if not (good and right):
            where = ", where " + " and ".join(f"{axis} = {size}" for axis, size in known.items()) if known else ""
            allowed = f"a {told} tensor of shape ({', '.join(axes)}){where}"
            refuse(name, f"a tensor of {str(value.dtype).removeprefix('torch.')} and shape {shape}", allowed)
        if value.is_floating_point() and word not in _GAPS and not _finite(value):
            refuse(name, "a tensor with entries that are not finite", "finite")

    return check


def like(of: str, drop: int = 0, finite: bool = False) -> Kind:
    """A dict of tensors like those of the argument called ``of``, less ``drop`` leading axes; maybe ``finite``."""

    def look(value):
        return {key: (each.dtype, tuple(each.shape)) for key, each in value.items() if isinstance(each, torch.Tensor)}

    def check(name, value, sizes):
        wanted = {key: (dtype, shape[drop:]) for key, (dtype, shape) in look(sizes.arguments[of]).items()}
        given = look(value) if isinstance(value, Mapping) else value
        axes = " of one run" if drop else ""
        runs.check(name, given, f"a dict of tensors with the names and shapes{axes} of {of}: {wanted}", given == wanted)
        for key, each in value.items() if finite else ():
            runs.check(f"{name}[{key!r}]", "a tensor with entries that are not finite", "finite", _finite(each))

    return check


def weights(of: str) -> Kind:
    """A state that has exactly the weights which the argument called ``of`` asks for in its ``shapes``, name -> shape."""

    def check(name, value, sizes):
        net = sizes.arguments[of]
        if hasattr(net, "shapes"):  # else the kind of that argument refuses it
            sizes["S"] = len(next(iter(runs.state(value, net.shapes).values())))

    return check


def refuse(name, value, allowed):
    """The one line of a refusal: a text that begins with an article tells what was given, anything else is shown."""
    if isinstance(value, str) and value.startswith("a tensor "):
        raise runs.WrongUse(f"{name} = {value} is not allowed: it must be {allowed}")
    runs.check(name, value, allowed, False)


def _finite(value):
    """Whether all entries are finite; inside a transform of ``torch.func`` nobody can tell, and it counts as yes."""
    return torch._C._functorch.is_functorch_wrapped_tensor(value) or bool(torch.isfinite(value).all())
