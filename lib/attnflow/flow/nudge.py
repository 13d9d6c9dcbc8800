"""A start moved by about its rounding: two runs from it and from the start itself show how far a training is chaotic."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from attnflow import door, runs
from attnflow.runs import State

_NUDGE = ContextVar("nudge", default=None)


@contextmanager
def nudged(size: float, seed: int = 0) -> Iterator[None]:
    r"""Inside a ``with``, every :func:`integrate` begins at $\theta(1 + \epsilon z)$, entry by entry, in place of $\theta$.

    size: $\epsilon$, greater than 0; seed: of the standard normal z, drawn on the CPU for each tensor of the state by its
    name. Raises WrongUse for another size or seed.
    """
    token = _NUDGE.set((runs.number("size", size, above=0), runs.integer("seed", seed, 0)))
    try:
        yield
    finally:
        _NUDGE.reset(token)


@door.takes(state=door.named("S ..."))
def begun(state: State) -> State:
    """The ``state`` that a run begins at: itself, but inside :func:`nudged`. Returns a state of the same shapes."""
    if _NUDGE.get() is None:
        return state
    size, seed = _NUDGE.get()
    noise = {name: runs.normal(runs.streams([seed], "nudge", name), *value.shape)[0] for name, value in state.items()}
    return {name: (value * (1 + size * noise[name].to(value.device))).to(value.dtype) for name, value in state.items()}
