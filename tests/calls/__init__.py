"""A valid call of every public function, one module a floor or room: what tests/public.py changes one argument at a time.

``CALLS``: "module.function" -> :func:`call`, a function of no argument that returns all its arguments by name, with two runs
in the stack and no two other sizes alike, so that a wrong shape shows. ``REASONS``: a function that cannot be called like
this -> why not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from attnflow import runs


@dataclass(frozen=True)
class Call:
    """A row. make: () -> the arguments by name; fine: "parameter wrong wrong ..." -> why the function may answer there."""

    make: Callable[[], dict]
    fine: dict = field(default_factory=dict)


def call(make=dict, fine=None):
    """A row of the table, see :class:`Call`."""
    return Call(make, fine or {})


def normal(*shape, seed=0):
    """A stack of two runs with normal entries: (2, *shape)."""
    return runs.normal(runs.streams((seed, seed + 1), "calls"), *shape)


def draws(*shape, seed=0):
    """Normal entries without a stack: (*shape)."""
    return normal(*shape, seed=seed)[0]


def positive(*shape, seed=0):
    """A stack of two runs with entries in (0, 1): (2, *shape)."""
    return torch.sigmoid(normal(*shape, seed=seed))
