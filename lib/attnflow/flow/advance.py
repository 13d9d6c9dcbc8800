"""How a stack moves through many steps: the seam between methods and records.

All that :func:`attnflow.flow.integrate` knows of a stepper is its ``loss`` at the start and its ``advance``: a compiled engine
that offers these two, and is tested against its method, can take the place of any of them. Beside the number of steps it is
told a time, since a method with a clock of its own does not know beforehand how many steps a time takes.
"""

from typing import NamedTuple

import torch

from attnflow import door, runs
from attnflow.flow.fields import Field
from attnflow.flow.record import choose
from attnflow.runs import Stack, State

RISE = 1e-9  # of the loss: what rounding may add to it in one step
RISE_SINGLE = 1e-5  # the same in single precision
BLOCK = 16  # steps between two looks at whether a run has ended: looking costs as much as a step of a small model


class Advance(NamedTuple):
    """What ``advance`` returns, one entry a run.

    state: where each run is, the last finite state of one that diverged; time: (S,); steps: (S,) taken in this call; loss:
    (S,) at that state; alive: (S,) of bool, false where the loss is at or below ``stop`` or the next state is not finite;
    diverged: (S,) of bool, the latter alone; rose: (S,) of bool, where it was asked for that the loss falls and
    the next one would be higher.
    """

    state: State
    time: Stack
    steps: Stack
    loss: Stack
    alive: Stack
    diverged: Stack
    rose: Stack


@door.takes(loss="curve: S")
def rise(loss: Stack) -> float:
    """What part of a ``loss`` (S,) rounding may add to it in one step, in its precision.

    >>> rise(torch.ones(2, dtype=torch.float64)), rise(torch.ones(2, dtype=torch.float32))
    (1e-09, 1e-05)
    """
    return RISE if loss.dtype == torch.float64 else RISE_SINGLE


@door.takes(state=door.named("curve: S ..."))
def finite(state: State) -> Stack:
    """Which runs of ``state`` have finite entries only: (S,) of bool. A sum is finite only where all its terms are."""
    return torch.stack([value.flatten(1).sum(dim=1) for value in state.values()]).isfinite().all(dim=0)


class Stepper:
    """A method bound to a field, a start and a step: the seam behind which an engine works.

    loss: (S,) at the start. A state that is passed to ``advance`` has to be the start or the one that it returned last.
    """

    def __init__(self, method: object, field: Field, start: State, step: Stack):
        self.method, self.field, self.step = method, field, step
        self.loss, self.carry = method.begin(field, start)
        self.clocked = method.speed is not None

    def advance(self, state: State, time: Stack, until: Stack, stop: Stack, steps: Stack, falls: bool) -> Advance:
        """Move every run from ``state`` at ``time`` (S,) on, until the first of five things happens to it.

        Its time reaches ``until`` (S,); its loss falls to ``stop`` (S,) or below; it has taken ``steps`` (S,) more steps, 0
        for a run that has ended; its next state would not be finite; or, where the loss ``falls`` if all is well, the next
        one would be higher. One call of a hundred steps does exactly what a
        hundred calls of one step do. Returns an :class:`Advance`. Raises WrongUse where some runs of an optimiser
        would wait: what it remembers of them would age.
        """
        if not self.method.pure:
            runs.check(
                "times",
                runs.array(until).tolist(),
                "common to all runs of an optimiser",
                bool((until == until[0]).all()),
            )
        slack = until * 1e-12 if self.clocked else self.step * 1e-9
        taken, alive = torch.zeros_like(steps), torch.ones_like(steps, dtype=torch.bool)
        diverged, rose, watched = (
            ~alive,
            ~alive,
            0,
        )  # how many steps are still taken one by one, since a run ended inside a block
        while True:
            going = alive & (time < until - slack) & (taken < steps)
            if not going.any():
                return Advance(state, time, taken, self.loss, alive, diverged, rose)
            free = 1 if watched else self.unwatched(going, time, until - slack, steps - taken)
            block = self.block(state, time, stop, going, free, falls) if free > 1 else None
            if block is not None:
                state, time = block
                taken = taken + free * going
                continue
            watched = 4 * free if free > 1 else max(watched - 1, 0)  # runs tend to end one soon after another
            size = self.method.size(state, self.loss, self.carry, self.step)
            if self.method.lands:
                size = torch.minimum(size, until - time)
            size = torch.where(going, size, torch.zeros_like(size))
            new, loss, carry = self.method.step(self.field, state, self.carry, size)
            good = finite(new) & loss.isfinite()
            high = good & falls & (loss > self.loss + rise(loss) * self.loss.abs())
            moved = going & good & ~high
            diverged, rose = diverged | (going & ~good), rose | (going & high)
            state, self.loss = choose(moved, new, state), torch.where(moved, loss, self.loss)
            self.carry = {name: choose(moved, carry[name], old) for name, old in self.carry.items()}
            time, taken = torch.where(moved, time + size, time), taken + moved
            alive = alive & ~diverged & ~rose & ~(moved & (self.loss <= stop))

    def unwatched(self, going: Stack, time: Stack, until: Stack, steps: Stack) -> int:
        """How many whole steps all runs that are ``going`` take before the first of them is close to an end it can see.

        time, until: (S,); steps: (S,), what each may take. 1 where nothing is known ahead.
        """
        if self.clocked or not self.method.pure:
            return 1
        whole = ((until - time) / self.step).floor().clamp_max(BLOCK).long()
        return int(torch.minimum(whole, steps)[going].min())

    def block(
        self, state: State, time: Stack, stop: Stack, going: Stack, count: int, falls: bool
    ) -> tuple[State, Stack] | None:
        """``count`` steps from ``state`` at ``time`` without a look at the runs on the way.

        stop: (S,) losses; going: (S,), the runs that move; falls: whether a higher loss ends a run. Returns the new state and
        time, or None and changes nothing where a run ended inside: then the steps have to be taken one by one.
        """
        size = torch.where(going, self.step, torch.zeros_like(self.step))
        new, carry, losses = state, self.carry, [self.loss]
        for _ in range(count):
            new, loss, carry = self.method.step(self.field, new, carry, size)
            losses.append(loss)
            time = time + size
        seen = torch.stack(losses)
        good = finite(new) & (seen[1:].isfinite() & (seen[1:] > stop)).all(dim=0)
        if falls:
            good = good & (seen[1:] <= seen[:-1] + rise(seen) * seen[:-1].abs()).all(dim=0)
        if not (good | ~going).all():
            return None
        self.loss = torch.where(going, loss, self.loss)
        self.carry = {name: choose(going, carry[name], old) for name, old in self.carry.items()}
        return choose(going, new, state), time
