"""What every run needs: input checks, a device, and seeds.

A *stack* is a leading axis of independent runs. Run ``s`` draws all its randomness from CPU generators of its own, in
float64, so that it is the same run on any device and in any stack. Whatever comes from outside is checked here, once.
"""

import math
import zlib

import numpy as np
import torch

from attnflow.inputs import WrongUse as WrongUse
from attnflow.inputs import check as check
from attnflow.inputs import choice as choice

DTYPE = torch.float64
Stack = torch.Tensor  # (S, ...): one entry a run
State = dict[str, torch.Tensor]  # name -> (S, ...): the parameters of a stack of runs


class TasksFailed(RuntimeError):
    """Some tasks of a sweep raised, and all others are stored: the message says which, and what they raised."""


def integer(name: str, value: int, least: int = 1) -> int:
    """Check that ``value``, called ``name``, is an integer of at least ``least`` and return it."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return check(name, value, f"an integer of at least {least}", whole and value >= least)


def number(name: str, value: float, above: float | None = None, least: float | None = None) -> float:
    """Check that ``value``, called ``name``, is a finite number, ``> above`` or ``>= least`` where given, and return it."""
    bound = f" greater than {above}" if above is not None else f" of at least {least}" if least is not None else ""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    ok = real and math.isfinite(value)
    ok = ok and (above is None or value > above) and (least is None or value >= least)
    return check(name, value, f"a finite number{bound}", ok)


def names(name: str, given: tuple, known: tuple) -> tuple:
    """Check that every name in ``given`` is one of ``known``; ``name`` says what was asked for. Returns ``given``."""
    unknown = sorted(set(given) - set(known))
    return given if not unknown else check(name, unknown[0], "one of " + ", ".join(map(str, known)), False)


def tensor(name: str, value: torch.Tensor, shape: tuple) -> torch.Tensor:
    """Check that ``value``, called ``name``, is a finite tensor of a ``shape`` in which None stands for any size. Returns it.

    >>> tensor("tokens", torch.zeros(2, 3), (None, 4))
    Traceback (most recent call last):
    attnflow.inputs.WrongUse: tokens = a tensor of shape (2, 3) is not allowed: it must be a tensor of shape (any, 4)
    """
    text = "a tensor of shape (" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    if not isinstance(value, torch.Tensor):
        raise WrongUse(f"{name} = {value!r} is not allowed: it must be {text}")
    fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if not fits:
        raise WrongUse(f"{name} = a tensor of shape {tuple(value.shape)} is not allowed: it must be {text}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise WrongUse(f"{name} = a tensor with entries that are not finite is not allowed: it must be finite")
    return value


def state(given: State, shapes: dict | None = None, single: bool = False) -> State:
    """The one door for the parameters of a stack of runs: a checked copy that holds no graph.

    given: name -> (S, ...), all float64, finite, on one device, with one S of at least 1. shapes: name -> the shape of one
    run, where the names and shapes are known. single: whether all may be float32 instead. Returns the copy. Raises WrongUse on
    anything else.
    """
    ok = isinstance(given, dict) and bool(given) and all(isinstance(name, str) for name in given)
    check("state", given, "a dict, name -> tensor, that is not empty", ok)
    if shapes is not None:
        check("shapes", shapes, "a dict, name -> shape", isinstance(shapes, dict))
        check("state", sorted(given), f"a dict with the names {', '.join(sorted(shapes))}", set(given) == set(shapes))
    check("single", single, "True or False", isinstance(single, bool))
    stack, where, first = None, None, next(iter(given.values()))
    dtype = torch.float32 if single and getattr(first, "dtype", None) == torch.float32 else DTYPE
    allowed = f"{str(dtype).removeprefix('torch.')} with a leading axis of runs"
    allowed += f"{', or all float32' * (dtype == DTYPE)}, in one precision" * single
    for name, value in given.items():
        tensor(name, value, (None, *(shapes[name] if shapes is not None else [None] * (getattr(value, "ndim", 1) - 1))))
        kind = f"a tensor of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
        check(name, kind, allowed, value.dtype == dtype and value.ndim > 0)
        stack, where = stack or len(value), where or value.device
        check(name, kind, f"a stack of {stack} runs, as the others, of at least 1", len(value) == stack > 0)
        check(name, f"a tensor on {value.device}", f"on {where}, as the others", value.device == where)
    return {name: value.detach().clone() for name, value in given.items()}


def array(values: object) -> np.ndarray:
    """The one way home: a tensor on any device, without its graph, or whatever numpy takes as ``values``, as an array.

    >>> array(torch.ones(2)).tolist()
    [1.0, 1.0]
    """
    return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)


def device(name: str | torch.device | None = None) -> torch.device:
    """The torch device of a run: the one of that ``name``, else CUDA where there is one, else the CPU.

    Raises WrongUse for another kind of device, and when CUDA is asked for and absent.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = str(name).partition(":")
    check("device", str(name), "cpu, cuda or cuda:N", kind in ("cpu", "cuda") and (not index or index.isdigit()))
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        allowed = (
            f"one of the {found} CUDA devices of this machine" if found else "cpu: torch finds no CUDA device here"
        )
        check("device", str(name), allowed, int(index or 0) < found)
    return torch.device(str(name))


def replicas(seeds: tuple, copies: int) -> list:
    """Each of the ``seeds`` followed by further independent seeds of its own, ``copies`` in all: for a mean over draws.

    They are spawned by numpy's ``SeedSequence(seed).spawn``, so no two runs of different seeds meet. Returns a list of
    (S copies) seeds, those of one seed side by side.

    >>> len(replicas((7, 8), 3))
    6
    """
    more = integer("copies", copies) - 1
    return [one for seed in _sequences(seeds) for one in (seed, *_child(seed).spawn(more))]


def streams(seeds: tuple, name: str, *more: str | int) -> list:
    """One CPU generator a seed: an independent stream of random numbers for each ``name``, such as "data" or "weights".

    seeds: integers of at least 0, or what :func:`replicas` gives, one a run; more: words and whole numbers that belong to the
    name, such as a width. What is drawn from one name never depends on what is drawn from another. Returns a list of
    ``torch.Generator``.
    """
    check("name", name, "a word, such as 'data' or 'weights'", isinstance(name, str) and bool(name))
    parts = (name, *more)
    key = tuple(zlib.crc32(part.encode()) if isinstance(part, str) else integer("name", part, 0) for part in parts)
    found = [np.random.SeedSequence(one.entropy, spawn_key=one.spawn_key + key) for one in _sequences(seeds)]
    return [torch.Generator("cpu").manual_seed(int(one.generate_state(1, np.uint64)[0] >> 1)) for one in found]


def _sequences(seeds):
    """Seeds as numpy's sequences."""
    known = [isinstance(seed, np.random.SeedSequence) for seed in check("seeds", seeds, "a list", np.iterable(seeds))]
    check("seeds", seeds, "at least one seed", len(known) > 0)
    pairs = zip(seeds, known, strict=True)
    return [seed if done else np.random.SeedSequence(int(integer("seed", seed, least=0))) for seed, done in pairs]


def _child(sequence):
    """A copy that has spawned nothing, so that spawning from it does not depend on who asked before."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)


def generators(given: list) -> list:
    """Check that ``given`` is a list of CPU generators, one a run, as :func:`streams` makes them, and return it."""
    listed = isinstance(given, (list, tuple)) and len(given) > 0
    allowed = "a list of torch.Generator on the CPU, one a run, from runs.streams(seeds)"
    check("generators", given, allowed, listed and all(isinstance(one, torch.Generator) for one in given))
    return check("generators", given, allowed, all(one.device.type == "cpu" for one in given))


def normal(streams: list, *shape: int, std: float = 1.0) -> Stack:
    """Independent normal entries, ``N(0, std^2)``: (S, *shape), float64, on the CPU, drawn run by run from ``streams``."""
    for size in shape:
        integer("shape", size)
    number("std", std, least=0)
    drawn = [std * torch.randn(shape, generator=one, dtype=DTYPE, device="cpu") for one in generators(streams)]
    return torch.stack(drawn)


def to(tensors: State, where: torch.device | str) -> State:
    """Move every tensor of the dict ``tensors`` to the device ``where``. Raises WrongUse for another dict or device."""
    ok = isinstance(tensors, dict) and all(isinstance(value, torch.Tensor) for value in tensors.values())
    check("tensors", tensors, "a dict, name -> tensor", ok)
    where = device(check("where", where, "a device", where is not None))
    return {name: value.to(where) for name, value in tensors.items()}
