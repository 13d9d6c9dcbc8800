"""Steps of a stack whose field is made of blocks of runs: each block is taken to the end before the next one begins.

A block fits a cache, and is not cut out of the stack and put back at every step. Behind the seam of :mod:`attnflow.flow.advance`.
"""

from dataclasses import replace

import torch

from attnflow.flow.advance import Advance
from attnflow.flow.fields import Field
from attnflow.runs import Stack, State


def parted(method: object, field: Field) -> bool:
    """Whether a ``method`` can take blocks of a ``field`` one after the other: both know theirs, and nothing else is kept."""
    clock = getattr(method, "speed", None)
    return hasattr(field, "parts") and method.pure and (clock is None or hasattr(clock, "of_runs"))


class Blocked:
    """A ``method`` along the parts of a ``field`` from a ``start`` by a ``step`` (S,): a stepper for each block of runs.

    loss: (S,) at the start.
    """

    def __init__(self, method: object, field: Field, start: State, step: Stack):
        fields, self.size = field.parts
        self.steppers = []
        for place, part in enumerate(fields):
            runs = slice(place * self.size, (place + 1) * self.size)
            own = method if method.speed is None else replace(method, speed=method.speed.of_runs(runs))
            self.steppers.append(own.bind(part, {name: value[runs] for name, value in start.items()}, step[runs]))
        self.loss = torch.cat([each.loss for each in self.steppers])

    def advance(self, state: State, time: Stack, until: Stack, stop: Stack, steps: Stack, falls: bool) -> Advance:
        """Move every run on from a ``state`` at a ``time``: see :meth:`attnflow.flow.Stepper.advance`.

        ``until``, ``stop``, ``steps`` and ``falls`` are as there.
        """
        states = zip(*(value.split(self.size) for value in state.values()), strict=True)
        asked = zip(*(each.split(self.size) for each in (time, until, stop, steps)), strict=True)
        parts = zip(self.steppers, states, asked, strict=True)
        found = [each.advance(dict(zip(state, values, strict=True)), *of, falls) for each, values, of in parts]
        whole = {name: torch.cat([one.state[name] for one in found]) for name in state}
        advanced = Advance(whole, *(torch.cat(each) for each in list(zip(*found, strict=True))[1:]))
        self.loss = advanced.loss
        return advanced
