r"""Many steps of one run after the other in compiled code: an engine behind the seam of :mod:`attnflow.flow.advance`.

A run at a time stays in the cache of a core from one record to the next, where the steppers of torch read and write all of the
stack at every step. :class:`Compiled` gives the loops of :mod:`attnflow.flow.compiling` the face of a stepper. Steps are the
same as those of torch but for the order of sums. This module needs numba.
"""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numba.core import event

from attnflow.flow.advance import Advance
from attnflow.flow.compiling import DIVERGED, ROSE, ROWS, STOPPED, folder
from attnflow.flow.engines import Kernel
from attnflow.runs import Stack, State


def _lines(rows, size):
    """Zeros, rows of at least that ``size``, each from the start of a line of the cache on: numpy's begin inside of one."""
    wide = -(-size // 8) * 8
    room = np.zeros(rows * wide + 8)
    return room[-room.ctypes.data % 64 // 8 :][: rows * wide].reshape(rows, wide)


class Compiled:
    """A method along a ``kernel`` from a ``start`` by a ``step`` (S,): a stepper whose steps are compiled.

    kernel: of the room; order: 1 for descent, 2 for Heun, 4 for Runge and Kutta; inertia: of momentum, 0 without; clocked:
    whether it steps on the clock of the kernel. loss: (S,) at the start. What ``advance`` returns are views of what it goes on
    to move, as long as somebody asks.
    """

    def __init__(self, kernel: Kernel, order: int, inertia: float, clocked: bool, start: State, step: Stack):
        self.kernel, self.clocked, self.step = kernel, clocked, np.ascontiguousarray(step.numpy())
        self.order, self.inertia = order, inertia
        self.shapes = {name: tuple(start[name].shape[1:]) for name in kernel.names}
        flat = [start[name].flatten(1).numpy() for name in kernel.names]
        size = sum(each.shape[1] for each in flat)
        self.rows = tuple(_lines(len(step) if kept else 0, size) for kept in (True, True, inertia > 0))
        self.theta = self.rows[0][:, :size]
        np.concatenate(flat, axis=1, out=self.theta)
        given = (kernel.rates, 1.0), (kernel.decays, 0.0)
        self.rates, self.decays = (
            self._spread(*each) if kernel.rates or kernel.decays else np.empty(0) for each in given
        )
        none = np.zeros(len(self.theta))
        with _announced():
            found = self._moved(none, none, none, np.full_like(none, np.nan), none.astype(np.int64), False)
        self.loss = torch.from_numpy(found[2])

    def _spread(self, given, otherwise):
        """What is ``given`` of some tensors, entry by entry of all of them."""
        return np.concatenate(
            [np.full(math.prod(shape), float(given.get(name, otherwise))) for name, shape in self.shapes.items()]
        )

    def advance(self, state: State, time: Stack, until: Stack, stop: Stack, steps: Stack, falls: bool) -> Advance:
        """Move every run on, from ``time`` to ``until``: see :meth:`attnflow.flow.Stepper.advance`.

        The ``state`` is known here and not read; ``stop``, ``steps`` and ``falls`` are as there.
        """
        given = [np.ascontiguousarray(each.numpy()) for each in (time, until, stop, self.loss, steps)]
        now, taken, loss, ended = self._moved(*given, falls)
        self.loss = torch.from_numpy(loss)
        words = [torch.from_numpy(ended == word) for word in (STOPPED, DIVERGED, ROSE)]
        alive = ~(words[0] | words[1] | words[2])
        return Advance(self.state(), torch.from_numpy(now), torch.from_numpy(taken), self.loss, alive, *words[1:])

    def state(self) -> State:
        """Where every run is, as views."""
        cuts = np.cumsum([math.prod(shape) for shape in self.shapes.values()])[:-1]
        parts = np.split(self.theta, cuts, axis=1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: torch.from_numpy(part).unflatten(1, shape or (1,)) for (name, shape), part in named}

    def _moved(self, time, until, stop, loss, steps, falls):
        """Times, steps, losses and ends of all runs, each (S,): the runs are shared out among the threads of torch."""
        count = len(self.theta)
        now, left, ended = time.copy(), loss.copy(), np.zeros(count, dtype=np.int64)
        taken = np.zeros(count, dtype=np.int64)
        slack = until * 1e-12 if self.clocked else self.step * 1e-9
        fresh = np.isnan(loss)

        def share(runs):
            room = _lines(ROWS, self.theta.shape[1]), _lines(1, self.kernel.scratch)[0]
            data = self.kernel.whole, self.kernel.real, self.rates, self.decays
            method = self.order, self.inertia, self.clocked, falls
            ends = self.step, time, until, slack, stop, steps
            self.kernel.march(runs, self.theta.shape[1], self.rows, room, data, method, ends, (now, taken, left, ended))

        going = np.flatnonzero((steps > 0) | fresh)
        threads = min(torch.get_num_threads(), len(going))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(share, np.array_split(going, threads)))
        else:
            share(going)
        return now, taken, left, ended


@contextmanager
def _announced():
    """Say on a terminal that something is compiled, once, when it is."""

    class Once(event.Listener):
        def on_start(self, _):
            if sys.stderr.isatty() and not _told:
                _told.append(True)
                print(f"attnflow: compiling, some seconds; kept in {folder()}", file=sys.stderr)

        def on_end(self, _):
            """Nothing to say."""

    with event.install_listener("numba:compile", Once()):
        yield


_told = []
