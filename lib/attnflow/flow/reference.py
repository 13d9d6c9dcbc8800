"""The slow twin of all methods: an accurate solution by scipy."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp

from attnflow import door, runs
from attnflow.flow.fields import Field
from attnflow.runs import State


@door.takes(field=door.FUNCTION, rtol=door.POSITIVE, atol=door.NONNEGATIVE)
def reference(field: Field, start: State, times: Sequence, rtol: float = 1e-10, atol: float = 1e-12) -> State:
    """The same flow by an accurate adaptive method of scipy (DOP853), run by run.

    Each run is followed with a step control of its own while the others wait at their start, so no run depends on the stack
    that it is in. That costs S evaluations of the whole stack for one of all: pass stacks of one where time counts.

    field: state -> (loss (S,), gradient); start: name -> (S, ...); times: (K,), increasing, from a time of at least 0; rtol,
    atol: tolerances of scipy. Returns states, name -> (K, S, ...). Raises RuntimeError when scipy gives up.
    """
    start = runs.state(start)
    try:
        times = np.asarray(times, dtype=float)
    except (TypeError, ValueError):
        runs.check("times", times, "numbers, (K,)", False)
    grows = times.ndim == 1 and len(times) > 0 and times[0] >= 0 and bool((np.diff(times) > 0).all())
    runs.check("times", times.tolist(), "increasing from a time of at least 0", grows)
    stack = len(next(iter(start.values())))
    found = [_one(field, start, run, times, {"rtol": rtol, "atol": atol}) for run in range(stack)]
    return {name: torch.stack([states[name] for states in found], dim=1) for name in start}


def _one(field, start, run, times, tolerances):
    """The states of one run of the stack, name -> (K, ...)."""
    shapes = {name: value.shape[1:] for name, value in start.items()}
    sizes = [value[0].numel() for value in start.values()]
    where = next(iter(start.values())).device

    def unpack(flat):
        parts = torch.split(torch.as_tensor(flat, dtype=runs.DTYPE, device=where), sizes)
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    def velocity(_, flat):
        state = {name: value.clone() for name, value in start.items()}
        for name, value in unpack(flat).items():
            state[name][run] = value
        gradient = field(state)[1]
        return -torch.cat([gradient[name][run].reshape(-1) for name in start]).cpu().numpy()

    flat = torch.cat([value[run].reshape(-1) for value in start.values()]).cpu().numpy()
    found = solve_ivp(velocity, (0.0, times[-1]), flat, method="DOP853", t_eval=times, **tolerances)
    if not found.success:
        raise RuntimeError(f"scipy could not follow the flow to time {times[-1]:g}: {found.message}")
    states = [unpack(column) for column in found.y.T]
    return {name: torch.stack([state[name] for state in states]) for name in start}
