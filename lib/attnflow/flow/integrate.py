"""One loop for all methods: records, stops and ends, decided on what a stepper returns."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from attnflow import door, runs
from attnflow.flow import engines
from attnflow.flow.fields import Field
from attnflow.flow.nudge import begun
from attnflow.flow.record import Ended, Record, Rising, closed
from attnflow.flow.steppers import Descent, Method
from attnflow.runs import Stack, State


def log_times(first: float, last: float, count: int) -> torch.Tensor:
    """Zero and ``count`` times spaced evenly in the logarithm from ``first`` to ``last``: (count + 1,).

    >>> log_times(0.1, 10.0, 3).tolist()
    [0.0, 0.1, 1.0, 10.0]
    """
    runs.number("first", first, above=0)
    runs.number("last", last, above=first)
    ends = np.log10(first), np.log10(last)
    spaced = torch.logspace(*ends, runs.integer("count", count, 2), dtype=runs.DTYPE, device="cpu")
    spaced[0], spaced[-1] = first, last
    return torch.cat([torch.zeros_like(spaced[:1]), spaced])


@door.takes(field=door.FUNCTION, observe=door.FUNCTION, falls=door.FLAG, progress=door.TEXT)
def integrate(
    field: Field,
    start: State,
    *,
    step: float | Stack,
    times: Sequence | torch.Tensor,
    method: Method | None = None,
    observe: Callable[[State], dict] | None = None,
    stop_loss: float | Stack = 0.0,
    max_steps: int = 1_000_000,
    at_once: int = 1_000,
    falls: bool = False,
    progress: str | None = None,
    engine: str | None = None,
) -> Record:
    r"""Integrate the flow of a stack and record it at common or per-run times.

    A time that falls inside a step of ``Heun`` or ``RungeKutta`` shortens that step; the others keep their step and are
    recorded at the first whole step at or after that time.

    field: state -> (loss (S,), gradient). start: name -> (S, ...), float64, or all float32 with a field of float32 data: then
    losses and what is seen are float32, and times stay float64. step: a number or (S,). times: increasing from a time of at
    least 0, (K,) for all runs or (K, S); the last one ends the run. method: ``Descent()`` where none is given, ``Heun()``,
    ``RungeKutta()``, ``Momentum(beta)`` or ``Optimiser(kind, settings)``. observe: state -> name -> (S, ...), what to record
    besides the loss. stop_loss: a run ends when its loss is at or below it, a number or (S,). max_steps: of any run. at_once: how
    many steps a stepper is asked for in one call; the record does not depend on it. falls: along a flow the loss falls, and where
    this is given a run ends before the first step that would raise it, with a status of its own and one warning for the stack,
    :class:`attnflow.flow.Rising`. progress: a label for a bar, shown on a terminal. engine: ``torch``; ``numba``, the compiled
    form that fields of some models have, for all methods but ``Optimiser`` on a CPU; ``auto`` takes that where it can and torch
    elsewhere, as it does where none is given; ``graph``, blocks of steps in one CUDA graph (:mod:`attnflow.flow.graphs`), only
    where it is named, on a CUDA device and for all methods but ``Optimiser``: it has not been run on a GPU yet. A run whose
    state turns non-finite is frozen at its last finite state and reported in ``Record.status``; the others go on. Returns a
    Record. Raises WrongUse on wrong input.
    """
    runs.integer("max_steps", max_steps)
    runs.integer("at_once", at_once)
    method = Descent() if method is None else method
    runs.check("method", method, "a method such as Descent() or Heun()", hasattr(method, "bind"))
    state = begun(runs.state(start, single=True))
    like = next(iter(state.values()))
    count, where = len(like), like.device
    step = _per_run("step", step, count, where, "finite and greater than 0", lambda value: value > 0)
    stop = _per_run("stop_loss", stop_loss, count, where, "a finite number of at least 0", lambda value: value >= 0)
    times = _schedule(times, count, where)

    stepper, ran = _bound(engine, method, field, state, step)
    loss, now = stepper.loss, torch.zeros(count, dtype=runs.DTYPE, device=where)
    steps = torch.zeros(count, dtype=torch.long, device=where)
    status = np.array([Ended.TIME] * count, dtype=object)
    alive = torch.ones(count, dtype=torch.bool, device=where)

    def finish(which, word):
        nonlocal alive
        status[(which & alive).cpu().numpy()] = word
        alive = alive & ~which

    def look():
        seen = {name: value.detach().clone() for name, value in observe(state).items()} if observe else {}
        return {"": loss} | seen

    finish(~loss.isfinite(), Ended.NON_FINITE)
    finish(loss <= stop, Ended.LOSS)
    rows, seen = [], []
    with tqdm(total=len(times), desc=progress, disable=None if progress else True, leave=False) as bar:
        for target in times:
            while True:
                budget = (max_steps - steps).clamp(0, at_once) * alive
                state, now, taken, loss, lives, diverged, rose = stepper.advance(
                    state, now, target, stop, budget, falls
                )
                steps = steps + taken
                finish(diverged, Ended.NON_FINITE)
                finish(rose, Ended.ROSE)
                finish(~lives, Ended.LOSS)
                finish((steps >= max_steps) & (taken > 0), Ended.STEPS)
                if not (alive & (taken == at_once)).any():
                    break
            there = alive | (now >= target * (1 - 1e-9))  # an end that falls on the record is no row of its own
            rows.append(torch.where(there, now, target))
            seen.append(look())
            bar.update()
            if not alive.any():
                break
    rising = torch.tensor([word == Ended.ROSE for word in status], dtype=torch.bool, device=where)
    if rising.any():
        first = float(now[rising].min())
        text = (
            f"the loss rose in {int(rising.sum())} of {count} runs, first after time {first:.4g}: take a smaller step"
        )
        warnings.warn(text, Rising, stacklevel=2)
    last = seen[-1]
    times, values = closed(
        torch.stack(rows), {name: torch.stack([row[name] for row in seen]) for name in last}, now, last
    )
    curve, end_loss = values.pop(""), loss
    state = {name: value.contiguous() for name, value in state.items()}
    return Record(times, curve, values, now, end_loss, status.tolist(), state, steps, ran)


def _bound(engine, method, field, state, step):
    """A stepper and the name of its engine, where the field computes in the precision of the state."""
    dtype = next(iter(state.values())).dtype
    allowed = f"made from {str(dtype).removeprefix('torch.')} data, as the state is"
    try:
        stepper, ran = engines.bound(engine, method, field, state, step)
    except RuntimeError as error:  # torch multiplies no matrices of two types
        mixed = "dtype" in str(error) or "scalar type" in str(error)
        runs.check("field", f"a field that raises: {error}", allowed, not mixed)
        raise
    runs.check("field", f"one whose loss is {stepper.loss.dtype}", allowed, stepper.loss.dtype == dtype)
    return stepper, ran


def _per_run(name, value, count, where, allowed, good):
    """A number or (S,) as a checked (S,) tensor."""
    try:
        given = torch.as_tensor(value, dtype=runs.DTYPE, device=where)
        ok = given.ndim == 0 or tuple(given.shape) == (count,)
    except (TypeError, ValueError, RuntimeError):
        ok = False
    runs.check(name, value, f"a number or a tensor of shape ({count},)", ok)
    ok = bool((given.isfinite() & good(given)).all())
    runs.check(name, value if given.ndim == 0 else runs.array(given).tolist(), allowed, ok)
    return given.expand(count)


def _schedule(times, count, where):
    """Record times as a checked (K, S) tensor."""
    try:
        times = torch.as_tensor(times, dtype=runs.DTYPE, device=where)
    except (TypeError, ValueError, RuntimeError):
        runs.check("times", times, "numbers, (K,) or (K, S)", False)
    times = times[:, None].expand(-1, count) if times.ndim == 1 else times
    runs.tensor("times", times, (None, count))
    grows = len(times) > 0 and bool((times[0] >= 0).all() and (times.diff(dim=0) > 0).all())
    runs.check("times", runs.array(times[:, 0]).tolist(), "increasing from a time of at least 0", grows)
    return times
