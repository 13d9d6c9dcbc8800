"""Many steps of a whole stack in one CUDA graph: an engine behind the seam of :mod:`attnflow.flow.advance`.

On a GPU a step of a small model is some dozens of kernels of a few microseconds, and launching them takes longer than running
them. A graph is recorded once and launched as a whole. In exchange nothing inside may ask how a run fares: where a run has
ended it stays, by masks, and only between two graphs the host looks whether one still goes. Steps are those of
:class:`attnflow.flow.advance.Stepper`, to the bit where the device is the same.

**Not run on a GPU yet**: on a machine without one the tests put a function that calls the steps again in the place of
:func:`capture`, and everything else is what runs there. Source: *CUDA semantics*, CUDA graphs, in the documentation of torch.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from attnflow import runs
from attnflow.flow.advance import BLOCK, Advance, finite, rise
from attnflow.flow.fields import Field
from attnflow.flow.record import broadcast
from attnflow.runs import Stack, State

WARM = 3  # calls before a capture: libraries make their handles and workspaces when they are first used
Captured = Callable[[], None]


def capture(steps: Captured, where: torch.device) -> Captured:
    """Record what ``steps``, a function of nothing, does on the CUDA device ``where``. Returns what does it again.

    It is called before it is recorded, on the stream of the recording, as torch asks: a library that is first used inside of one
    fails. What it reads and writes has to lie in the same tensors every time. Raises WrongUse where it cannot be recorded: it
    waits for the device, or copies from the CPU.
    """
    with torch.cuda.device(where):
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                steps()
        torch.cuda.current_stream().wait_stream(stream)
        try:
            with torch.cuda.graph(graph, stream=stream):
                steps()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            why = " ".join(str(error).split())
            runs.check("engine", "graph", f"auto or torch here, since this field cannot be recorded: {why}", False)
    return graph.replay


class Place(NamedTuple):
    """Where every run is, as tensors that stay where they are.

    parts: "" -> the state, and what the method carries, name -> like a state; loss, time: (S,); taken: (S,), steps of this call;
    alive, diverged, rose: (S,) of bool, as in :class:`attnflow.flow.Advance`.
    """

    parts: dict[str, State]
    loss: Stack
    time: Stack
    taken: Stack
    alive: Stack
    diverged: Stack
    rose: Stack


class Limits(NamedTuple):
    """What a call of ``advance`` asks for, likewise.

    until, slack, stop, steps: (S,), the time to reach, how near is near enough, the loss to end at, and how many steps may be
    taken; falls: () of bool, whether a higher loss ends a run.
    """

    until: Stack
    slack: Stack
    stop: Stack
    steps: Stack
    falls: torch.Tensor


class Graphed:
    """A ``method`` along a ``field`` from a ``start`` by a ``step`` (S,): a stepper whose steps are recorded, many at a time.

    The method has to be pure: Descent, Heun, with its clock, RungeKutta or Momentum. recorded: what records, a function of steps
    and a device, :func:`capture` where none is given. loss: (S,) at the start. The state that ``advance`` returns is what it goes
    on to move.
    """

    def __init__(self, method: object, field: Field, start: State, step: Stack, recorded: Callable | None = None):
        self.method, self.field, self.step = method, field, step.clone()
        self.recorded = capture if recorded is None else recorded
        loss, carry = method.begin(field, start)
        self.loss = loss.clone()
        now, none = torch.zeros_like(self.step), torch.zeros_like(self.step, dtype=torch.long)
        flags = [torch.zeros_like(none, dtype=torch.bool) for _ in range(3)]
        parts = {part: {name: value.clone() for name, value in each.items()} for part, each in _parts(start, carry)}
        self.place = Place(parts, loss.clone(), now, none, *flags)
        asked = [torch.zeros_like(now) for _ in range(3)]
        self.limits = Limits(*asked, torch.zeros_like(none), torch.zeros_like(flags[0][0]))
        self.graphs = {}

    def advance(self, state: State, time: Stack, until: Stack, stop: Stack, steps: Stack, falls: bool) -> Advance:
        """Move every run on, as :meth:`attnflow.flow.Stepper.advance` does: from ``time`` (S,) to ``until`` (S,).

        The ``state`` is known here and not read; ``stop``, ``steps`` and ``falls`` are as there.
        """
        slack = until * 1e-12 if self.method.speed is not None else self.step * 1e-9
        for kept, given in zip(self.limits, (until, slack, stop, steps), strict=False):
            kept.copy_(given)
        self.limits.falls.fill_(falls)
        self.place.time.copy_(time)
        self.place.alive.fill_(True)
        for each in (self.place.taken, self.place.diverged, self.place.rose):
            each.zero_()
        while ahead := self.ahead():  # the one time in a block that the host waits for the device
            for count in [BLOCK] if ahead == BLOCK else [1] * ahead:
                self.graph(count)()
        loss, now, taken, alive, diverged, rose = (each.clone() for each in self.place[1:])
        return Advance(self.place.parts[""], now, taken, loss, alive, diverged, rose)

    def ahead(self) -> int:
        """How many steps the run with the longest way has before it, as far as can be told: 0 where none goes, at most a block.

        A clock may slow down, so that more are needed; then the next look says so.
        """
        place, limits = self.place, self.limits
        carry = {part: each for part, each in place.parts.items() if part}
        size = self.method.size(place.parts[""], place.loss, carry, self.step)
        whole = ((limits.until - limits.slack - place.time) / size).nan_to_num(nan=1.0).ceil().clamp(1, BLOCK).long()
        return int((torch.minimum(whole, limits.steps - place.taken) * self.going(place)).max())

    def going(self, place: Place) -> Stack:
        """Which runs at a ``place`` move on: (S,) of bool."""
        limits = self.limits
        return place.alive & (place.time < limits.until - limits.slack) & (place.taken < limits.steps)

    def graph(self, count: int) -> Captured:
        """What takes ``count`` steps: recorded when it is first asked for. Those of the warm-up count: masks hold there."""
        if count not in self.graphs:
            self.graphs[count] = self.recorded(partial(self.steps, count), self.step.device)
        return self.graphs[count]

    def steps(self, count: int) -> None:
        """Take ``count`` steps of all runs that go. Waits for nothing, so that it can be recorded."""
        place = self.place
        for _ in range(count):
            place = self.moved(place)
        for part, each in self.place.parts.items():
            for name, kept in each.items():
                kept.copy_(place.parts[part][name])
        for kept, found in zip(self.place[1:], place[1:], strict=True):
            kept.copy_(found)

    def moved(self, place: Place) -> Place:
        """One step from a ``place``: a step of the stepper of torch, with masks in the place of its looks."""
        limits, going = self.limits, self.going(place)
        state, carry = place.parts[""], {part: each for part, each in place.parts.items() if part}
        size = self.method.size(state, place.loss, carry, self.step)
        if self.method.lands:
            size = torch.minimum(size, limits.until - place.time)
        size = torch.where(going, size, torch.zeros_like(size))
        new, loss, found = self.method.step(self.field, state, carry, size)
        good = finite(new) & loss.isfinite()
        high = good & limits.falls & (loss > place.loss + rise(loss) * place.loss.abs())
        moved = going & good & ~high
        diverged, rose = place.diverged | (going & ~good), place.rose | (going & high)
        parts = {part: _chosen(moved, each, place.parts[part]) for part, each in _parts(new, found)}
        loss, time = torch.where(moved, loss, place.loss), torch.where(moved, place.time + size, place.time)
        alive = place.alive & ~diverged & ~rose & ~(moved & (loss <= limits.stop))
        return Place(parts, loss, time, place.taken + moved, alive, diverged, rose)


def _parts(state, carry):
    """A state and what a method carries, as pairs of a name and a state."""
    return ({"": state} | carry).items()


def _chosen(mask, new, old):
    """Run by run, the new state or the old one, without a look at the mask."""
    return {name: torch.where(broadcast(mask, old[name]), new[name], old[name]) for name in old}
