"""Engines: what takes the steps, torch or compiled code. The one choice, where it is asked for, and which one ran."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from attnflow import runs
from attnflow.flow.blocked import Blocked, parted
from attnflow.flow.fields import Field
from attnflow.flow.graphs import Graphed
from attnflow.flow.steppers import Descent, Heun, Method, Momentum, RungeKutta
from attnflow.inputs import ENGINES
from attnflow.runs import Stack, State

ORDERS = {Descent: 1, Momentum: 1, Heun: 2, RungeKutta: 4}  # of the methods that are compiled
_asked, _used = ContextVar("asked", default="auto"), ContextVar("used", default=None)


@dataclass(frozen=True)
class Kernel:
    """What a room's ``engine`` knows of one stack: how many steps are taken, compiled, and the numbers of every run.

    march: of :func:`attnflow.flow.compiling.loops`; names: of the tensors of a state, in the order in which those of a run
    are laid flat; whole: (S, A), integers; real: (S, B); scratch: how many numbers a gradient needs room for; clock: what its
    pace was made from, to be compared with that of a method; rates: name -> learning rate, 1 for what is not named; decays:
    name -> weight decay, 0 for what is not named.
    """

    march: Callable
    names: tuple
    whole: np.ndarray
    real: np.ndarray
    scratch: int
    clock: np.ndarray | None = None
    rates: Mapping = field(default_factory=dict)
    decays: Mapping = field(default_factory=dict)

    def at(self, rates: Mapping) -> "Kernel":
        """The same with learning ``rates``, name -> number, times those that it has and its decays."""
        known = self.rates | {name: self.rates.get(name, 1.0) * rate for name, rate in rates.items()}
        decays = {name: decay * rates.get(name, 1.0) for name, decay in self.decays.items()}
        return replace(self, rates=known, decays=decays)

    def decaying(self, decays: Mapping) -> "Kernel":
        """The same with weight ``decays``, name -> number, besides those that it has."""
        more = {name: self.decays.get(name, 0.0) + decay for name, decay in decays.items()}
        return replace(self, decays=self.decays | more)


@contextmanager
def asked(engine: str) -> Iterator[None]:
    """Inside a ``with``, the ``engine`` of every :func:`integrate` that names none; numba and graph then where they can."""
    token = _asked.set(runs.choice("engine", engine, ENGINES))
    try:
        yield
    finally:
        _asked.reset(token)


def there() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def _plain(values):
    """Whether these tensors are of float64, on the CPU, and hold no graph."""
    return all(each.device.type == "cpu" and each.dtype == torch.float64 and not each.requires_grad for each in values)


def compiled(*values: torch.Tensor) -> bool:
    """Whether what is made of some ``values`` besides steps is made by compiled code too: unless torch was asked for."""
    return there() and wanted() != "torch" and _plain(values)


def wanted() -> str:
    """The engine that :func:`attnflow.flow.asked` has named."""
    return _asked.get()


@contextmanager
def noted() -> Iterator[set]:
    """The names of all engines that run inside a ``with``, as a set that grows."""
    found = set()
    token = _used.set(found)
    try:
        yield found
    finally:
        _used.reset(token)


def note(names: set) -> None:
    """Count engines as used, by their ``names``: those of a record that was kept."""
    if _used.get() is not None:
        _used.get().update(names)


def bound(engine: str | None, method: Method, along: Field, state: State, step: Stack) -> tuple[object, str]:
    """A stepper of a ``method`` along a field from ``state`` by ``step`` (S,), and the name of its engine.

    along: the field; engine: ``auto``, ``torch``, ``numba``, ``graph``, or None for what was
    :func:`attnflow.flow.asked`. Raises WrongUse where numba or graph is named and cannot do it.
    """
    wanted = _asked.get() if engine is None else runs.choice("engine", engine, ENGINES)
    why = _no_graph(method, state)
    graph = wanted == "graph" and not why
    runs.check("engine", engine, f"auto or torch here, since {why}", engine != "graph" or graph)
    kernel, why = (None, "") if wanted in ("torch", "graph") else _kernel(method, along, state)
    runs.check("engine", engine, f"auto or torch here, since {why}", engine != "numba" or kernel is not None)
    name = "graph" if graph else "torch" if kernel is None else "numba"
    note({name})
    if graph:
        return Graphed(method, along, state, step), name
    if kernel is None and parted(method, along):
        return Blocked(method, along, state, step), name
    if kernel is None:
        return method.bind(along, state, step), name
    from attnflow.flow.compiled import Compiled  # here, since numba takes a second to import

    inertia = method.beta if isinstance(method, Momentum) else 0.0
    return Compiled(kernel, ORDERS[type(method)], inertia, method.speed is not None, state, step), name


def _no_graph(method, state):
    """Why the steps of a method from a state cannot be recorded in a CUDA graph, or an empty text."""
    if any(value.device.type != "cuda" for value in state.values()):
        return "a CUDA graph needs the tensors of the state on a CUDA device"
    return "" if getattr(method, "pure", False) else "only methods that remember nothing elsewhere can be recorded"


def _kernel(method, along, state):
    """The kernel of a field for a method and a state, and else why there is none."""
    if not there():
        return None, "numba is not installed, which the extra attnflow[fast] brings"
    if not hasattr(along, "kernel"):
        return None, "this field has no compiled form"
    if type(method) not in ORDERS:
        return None, f"only {', '.join(kind.__name__ for kind in ORDERS)} are compiled"
    if not _plain(state.values()):
        return None, "what is compiled is for float64 on the CPU"
    kernel = along.kernel(state)
    if set(kernel.names) != set(state):
        return None, f"what is compiled is for the tensors {', '.join(kernel.names)}"
    clock = getattr(method.speed, "clock", lambda: None)()
    if method.speed is not None and (clock is None or kernel.clock is None or not np.array_equal(clock, kernel.clock)):
        return None, "the speed of the method is not the clock of the field's own model and data"
    return kernel, ""
