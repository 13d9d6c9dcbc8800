r"""Chapter 4, the landscape of one query: the map of the trap over spread and initial scale, and the plane of queries."""

import numpy as np
import torch

from attnflow import door, runs
from attnflow.attention import KERNELS, Kernel
from attnflow.claims import Above, Below, Control, Experiment, Trial
from attnflow.kernels.basins import HORIZON, followed
from attnflow.kernels.plane import hilly, landscapes
from attnflow.kernels.setting import claim
from attnflow.kernels.wells import EDGE, Query
from attnflow.sweep import Sweep

SPREADS = tuple(float(f"{each:.3g}") for each in np.geomspace(0.3, 3.0, 24))
SIZES = tuple(float(f"{each:.3g}") for each in np.geomspace(0.3, 6.0, 20))
MAP_CLOCK = 60.0
TRAPS = ("softmax", "gaussian", "normalised_gaussian")


@door.takes(
    kernel=door.choice(*KERNELS), c=door.POSITIVE, spread=door.either(door.several(door.POSITIVE), door.POSITIVE)
)
def queries(kernel: str, c: float, spread: float | np.ndarray) -> Query:
    r"""The trap of the chapter at a ``spread``, a number or (S,), for a ``kernel`` of sharpness ``c``, or $\beta = 2\zeta$."""
    keys = np.multiply.outer(np.array([-1.0, 0.0, 1.0]), spread)
    values = np.array([0.5, 0.0, 1.0]).reshape(3, *[1] * (keys.ndim - 1)) + np.zeros_like(keys)
    return Query(keys, values, 0.8, Kernel(kernel, c, 2 * c))


@door.takes(kernel=door.choice(*TRAPS), c=door.POSITIVE, spread=door.POSITIVE)
def border(kernel: str, c: float, spread: float) -> float:
    r"""The place left of which descent is stuck in the trap at a ``spread``, -inf where it is from nowhere.

    kernel: softmax, gaussian or normalised_gaussian; c: its sharpness, or half of $\beta$. It is the least output right of the
    left well, which the Gaussian has from :func:`attnflow.kernels.wells.threshold` on.
    """
    turns = queries(kernel, c, spread).slope.zeros()
    if kernel != "gaussian":
        return turns[0]
    return turns[1] if len(turns) > 1 else -np.inf


def trap_map(device: object, kernel: str, c: float, spread: float, count: int = 400, seed: int = 100) -> dict:
    r"""Stuck and slow shares over the initial scales ``SIZES`` at one ``spread`` of the keys: a column of a map.

    device: of the runs; kernel: of sharpness ``c``, or of $\beta = 2\zeta$; count: starts of a cell, quantiles of a normal law
    that one uniform number of ``seed`` shifts. Returns ``stuck``, ``slow`` and ``predicted``, the stuck share by root finding:
    (20,) each.
    """
    (generator,) = runs.streams([seed], "starts")
    shift = torch.rand(1, generator=generator, dtype=runs.DTYPE).clamp_min(1e-9)
    normal = torch.special.ndtri((torch.arange(count) + shift) / count)
    starts = torch.outer(torch.tensor(SIZES, dtype=runs.DTYPE), normal)
    query = queries(kernel, c, spread)
    seen = followed(query, starts.flatten().to(device), clock=MAP_CLOCK)
    stuck = (seen["loss"] > EDGE).view(starts.shape)
    slow = ~stuck & (seen["time"] >= HORIZON).view(starts.shape)
    predicted = (query.fate(runs.array(starts.flatten())) > EDGE).reshape(starts.shape).mean(axis=1)
    return {"stuck": stuck.double().mean(dim=1), "slow": slow.double().mean(dim=1), "predicted": predicted}


def hills(device: object, kernel: str, spread: float, seeds: int = 4) -> dict:
    """The share of random landscapes in the plane with a minimum that misses the target, of some runs, from seed 100 on.

    device: of the runs; kernel, spread: of the landscapes; seeds: how many runs. Returns ``share`` (S,).
    """
    return {"share": hilly(landscapes(tuple(range(100, 100 + seeds)), device, kernel=kernel, spread=spread))}


narrow_run = Experiment(landscapes, {"kernel": "gaussian", "c": 0.5, "spread": 0.5, "least": 0.2})

CLAIMS = (
    claim(
        "plane-narrow",
        "With keys closer than its width, the Gaussian's plane has one valley",
        r"Six random keys of size $\frac12$ in the plane, positive values, a target between them, $\zeta = \frac12$: share of "
        "landscapes in which descent from some start misses the target.",
        Trial(narrow_run, hilly, Below(0.1)),
        Control("values of both signs", {"least": -1.0}),
    ),
    claim(
        "plane-wide",
        "With keys further apart than its width, it has many",
        r"The same with keys of size 5: the bumps of the Gaussian separate, and most landscapes have a bump that is too low.",
        Trial(narrow_run.but(spread=5.0), hilly, Above(0.5)),
        Control("keys twenty times closer", {"spread": 0.25}),
    ),
)

SWEEPS = (
    Sweep(
        "kernels-trap",
        "stuck and slow starts of one query, over key spread and initial scale",
        trap_map,
        {"c": (0.5, 1.0), "kernel": KERNELS, "spread": SPREADS},
        {"count": 400},
        single=True,
    ),
    Sweep(
        "kernels-hills",
        "random landscapes of one query in the plane that have a bad minimum, over key spread",
        hills,
        {"kernel": ("softmax", "gaussian", "normalised_gaussian"), "spread": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)},
        {"seeds": 4},
        single=True,
    ),
)
