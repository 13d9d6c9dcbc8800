"""What was seen of a stack of runs."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from attnflow import door
from attnflow.runs import Stack, State

STATES = door.named("gaps: S ...")


class Ended(StrEnum):
    """Why a run ended: at the last time, its loss or its number of steps; its state stopped being finite, or its loss rose."""

    TIME = "time"
    LOSS = "loss"
    STEPS = "steps"
    NON_FINITE = "non-finite"
    ROSE = "rose"


class Rising(UserWarning):
    """The loss of a gradient flow rose: the step is too large for the method."""


@dataclass(frozen=True)
class Record:
    """What was seen on the way, the end of every run included.

    times: (K, S), in units of the flow, NaN after the end of a run; loss: (K, S); values: name -> (K, S, ...), what was
    observed; end: (S,) the time at which each run ended; end_loss: (S,) its loss then; status: one :class:`Ended` a run;
    state: the final state of every run, the last finite one where it diverged; steps: (S,) steps taken; engine: what took them,
    ``torch``, ``numba`` or ``graph``. Times are float64; losses, values and the state have the type of the start.
    """

    times: torch.Tensor
    loss: torch.Tensor
    values: dict[str, torch.Tensor]
    end: Stack
    end_loss: Stack
    status: list[Ended]
    state: State
    steps: Stack
    engine: str = "torch"

    @property
    def diverged(self) -> Stack:
        """Which runs were frozen because their state stopped being finite: (S,) of bool."""
        gone = [word == Ended.NON_FINITE for word in self.status]
        return torch.tensor(gone, dtype=torch.bool, device=self.end.device)


@door.takes(mask="bool: S", new=STATES, old=door.like("new"))
def choose(mask: Stack, new: State, old: State) -> State:
    """Run by run, the ``new`` state where ``mask`` (S,) is true and the ``old`` one elsewhere."""
    if mask.all():
        return new
    return {name: torch.where(broadcast(mask, old[name]), new[name], old[name]) for name in old}


@door.takes(per_run="real: S", like=door.instance(torch.Tensor))
def broadcast(per_run: Stack, like: torch.Tensor) -> torch.Tensor:
    """Give ``per_run`` (S,) trailing axes, so that it scales a (S, ...) tensor ``like`` run by run, in the precision of that."""
    own = per_run.to(like.dtype) if per_run.is_floating_point() else per_run
    return own.reshape(-1, *[1] * (like.ndim - 1))


@door.takes(times="gaps: K S", values=door.named("gaps: K S ..."), end="S", last=door.named("S ..."))
def closed(times: torch.Tensor, values: State, end: Stack, last: State) -> tuple[torch.Tensor, State]:
    """Times and values (K, S, ...) with every run's own end in the row after its last one, where its time is new.

    times: (K, S); values: name -> (K, S, ...); end: (S,); last: what was seen at the ends, name -> (S, ...). Rows after an
    end are NaN. Returns (times, values), of K rows or K + 1.
    """
    past = times > end
    kept, run = (~past).sum(dim=0), torch.arange(len(end), device=end.device)
    new = end > torch.where(kept > 0, times[(kept - 1).clamp_min(0), run], -torch.inf)
    grown = int((kept[new] == len(times)).any())
    past = torch.cat([past, torch.ones_like(past[:grown])])

    def close(rows, final):
        rows = torch.cat([rows, torch.full_like(rows[:grown], torch.nan)])
        rows[past] = torch.nan
        rows[kept[new], run[new]] = final[new]
        return rows

    return close(times, end), {name: close(rows, last[name]) for name, rows in values.items()}
