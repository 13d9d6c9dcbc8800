r"""What compiled code of all models shares: how it is compiled and kept, the loop of steps, and exponentials of many numbers.

A room says how one run's gradient is found, and :func:`loops` makes of it a function that takes many steps. This module needs
numba; without it nothing here is imported, and everything works on torch.
"""

import hashlib
import math
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
from numba.extending import register_jitable

from attnflow.flow.advance import RISE

FAST = {"contract", "reassoc"}  # sums in any order; NaN and infinity still travel, as they must
GOES, STOPPED, DIVERGED, ROSE = range(4)
ROWS = 4  # as long as a state, that the steps of one run need room for
jitable = register_jitable(fastmath=FAST, error_model="numpy")


def folder() -> Path:
    """Where compiled code is kept: in the user's cache folder, under a hash of all engines: numba looks at one file."""
    sources = sorted(Path(__file__).parents[1].rglob("*engine.py"))
    told = hashlib.sha256(b"".join(path.read_bytes() for path in [Path(__file__), *sources])).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "attnflow" / f"{told}-{sys.implementation.cache_tag}"


@contextmanager
def _cached_in(path):
    """Numba reads where to keep what it compiles when a function is decorated."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(path)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def jitted(function: Callable) -> Callable:
    """The ``function`` compiled when it is first called, without the lock of Python, and kept where that can be written."""
    options = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
    with _cached_in(folder()):
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder that can be written: compiled anew in every process
            return numba.njit(**options)(function)


@jitable
def _still(theta, loss, whole, real):
    """The speed of a clock that is time itself."""
    return 1.0


def loops(gradient: Callable, pace: Callable = _still) -> Callable:
    """Compile what takes many steps along a ``gradient``, on a clock of that ``pace``.

    gradient: (theta (P,), slope (P,), scratch, whole, real) -> loss, which writes the slope; pace: (theta, loss, whole, real) ->
    speed; both made by ``jitable``, with one run's numbers flat in ``whole`` and ``real``. Returns a function that moves
    theta, slope and velocity of some runs of a stack, and writes times, steps taken, losses and what ended each. Its ``order``
    is 1 for descent, with ``inertia`` for momentum, 2 for Heun and 4 for Runge and Kutta.
    """

    def named(function):
        """Two functions of one name that were compiled by two processes cannot be told apart by a third, which loads both."""
        function.__qualname__ = f"{gradient.__module__}_{gradient.__name__}_{function.__name__}".replace(".", "_")
        return function

    @jitable
    @named
    def alone(
        theta,
        slope,
        velocity,
        loss,
        work,
        scratch,
        whole,
        real,
        rates,
        decays,
        order,
        inertia,
        clocked,
        falls,
        step,
        time,
        until,
        slack,
        stop,
        steps,
    ):
        began, limit, ended, count = time, steps, GOES, theta.size
        other, first, base, mean = work[0, :count], work[1, :count], work[2, :count], work[3, :count]
        known = not math.isnan(loss)

        def slopes(at, out):
            found = gradient(at, out, scratch, whole, real)
            for j in range(rates.size):
                out[j] = rates[j] * out[j] + decays[j] * at[j]
            return found

        for j in range(count):
            first[j] = theta[j]
        for j in range(velocity.size):
            base[j] = velocity[j]  # no method that remembers a velocity has stages
        while True:
            taken = 0
            if not known:
                loss = slopes(theta, slope)
            while time < until - slack and taken < limit:
                size, total = step, 0.0
                if clocked:
                    size /= pace(theta, loss, whole, real)
                if order > 1:
                    size = min(size, until - time)
                for j in range(velocity.size):
                    velocity[j] = inertia * velocity[j] + slope[j]
                    theta[j] -= size * velocity[j]
                    total += theta[j]
                if order == 4:
                    for j in range(count):
                        base[j], mean[j] = theta[j], slope[j]
                        theta[j] -= size / 2 * slope[j]
                elif velocity.size == 0:
                    for j in range(count):
                        theta[j] -= size * slope[j]
                        total += theta[j]
                for stage in range(1, order):
                    slopes(theta, other)
                    total = 0.0
                    if order == 2:  # halfway back from where descent would be, and on by the slope there
                        for j in range(count):
                            theta[j] += size / 2 * (slope[j] - other[j])
                            total += theta[j]
                    elif stage < 3:
                        ahead = size / 2 if stage == 1 else size
                        for j in range(count):
                            mean[j] += 2 * other[j]
                            theta[j] = base[j] - ahead * other[j]
                    else:
                        for j in range(count):
                            theta[j] = base[j] - size / 6 * (mean[j] + other[j])
                            total += theta[j]
                new = slopes(theta, slope)
                if not (math.isfinite(total) and math.isfinite(new)):
                    ended = DIVERGED
                    break
                if falls and new > loss + RISE * abs(loss):
                    ended = ROSE
                    break
                loss, time, taken = new, time + size, taken + 1
                if loss <= stop:
                    return time, taken, loss, STOPPED
            if ended == GOES or limit == taken:
                return time, taken, loss, ended
            # The last step was one too many: go again from where this call began, to the step before it.
            for j in range(count):
                theta[j] = first[j]
            for j in range(velocity.size):
                velocity[j] = base[j]
            time, limit, falls, known = began, taken, False, False

    @jitted
    @named
    def march(going, size, rows, room, data, method, settings, found):
        thetas, slopes, velocities = rows
        whole, real, rates, decays = data
        step, time, until, slack, stop, steps = settings
        now, taken, loss, ended = found
        for run in going:
            velocity = velocities[run, :size] if len(velocities) > 0 else rates[:0]
            one = thetas[run, :size], slopes[run, :size], velocity, loss[run]
            ends = step[run], time[run], until[run], slack[run], stop[run], steps[run]
            now[run], taken[run], loss[run], ended[run] = alone(
                *one, *room, whole[run], real[run], rates, decays, *method, *ends
            )

    return march


LARGEST, SMALLEST = 709.0, -708.0  # of the arguments of an exponential that is a float of full precision
_LOG2E, _HIGH, _LOW = 1 / math.log(2), 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log 2 = high + low
_SERIES = tuple(1 / math.factorial(power) for power in range(13, 2, -1))
_C13, _C12, _C11, _C10, _C9, _C8, _C7, _C6, _C5, _C4, _C3 = _SERIES


@jitable
def _parted(values, bits, times):
    r"""Leave $e^r - 1$ in place of ``times`` the ``values`` x, and $2^n$, as a float, in ``bits``, where $x = n\log2 + r$.

    All of it without a branch, since one that is not taken alike by all numbers keeps them from being worked on together.
    """
    for j in range(values.size):
        x = times * values[j]
        x = SMALLEST if x < SMALLEST else (LARGEST if x > LARGEST else x)  # NaN passes both
        n = np.floor(x * _LOG2E + 0.5)
        r = (x - n * _HIGH) - n * _LOW
        p = _C13 * r + _C12
        p = p * r + _C11
        p = p * r + _C10
        p = p * r + _C9
        p = p * r + _C8
        p = p * r + _C7
        p = p * r + _C6
        p = p * r + _C5
        p = p * r + _C4
        p = p * r + _C3
        values[j] = (p * r + 0.5) * r * r + r
        bits[j] = (np.int64(n) + 1023) << 52


@jitable
def exponentials(values, twos, bits):
    r"""The exponential in place of all ``values`` (N,), of at most 709, to the last bits.

    twos, bits: room of as many numbers, seen as floats and as integers.
    """
    _parted(values, bits, 1.0)
    for j in range(values.size):
        values[j] = twos[j] * values[j] + twos[j]


@jitable
def tangents(values, twos, bits):
    r"""The hyperbolic tangent $\frac{e^{2x}-1}{e^{2x}+1}$ in place of all ``values``; twos, bits: of :func:`exponentials`."""
    _parted(values, bits, 2.0)
    for j in range(values.size):
        less = twos[j] * values[j] + (twos[j] - 1)
        values[j] = less / (less + 2)
