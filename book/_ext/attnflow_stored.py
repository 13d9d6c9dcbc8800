"""Runs of the library that explorables play: computed when the book is built, in numbers short enough to travel with the page."""

from functools import cache

import numpy as np
import torch

from attnflow import flow
from attnflow.meanfield import cloud, toy, transport, volumes

SEED, CELLS, TIMES = 100, 100, tuple(np.linspace(0, 12, 25))
DECAYS = (transport.DECAY, 0.0, 0.2, 0.4)  # that of the chapter first
HEADS, SHARED = (
    16,
    15,
)  # heads that are shown of a block, and the particles of equal shares for which each of them stands


def thousandths(values):
    """An array as nested lists of whole thousandths: a few bytes a number."""
    return np.rint(np.asarray(values) * 1000).astype(int).tolist()


def marched(decay):
    """The toy under a ``decay``: what finite volumes say, and heads of equal shares that flow beside them, (T, J, m)."""
    data = toy.drawn((SEED,), torch.device("cpu"))
    start = {"theta": cloud.quantiles(HEADS * SHARED).expand(1, toy.DEPTH, -1).clone()}
    field = cloud.field(*data, decay, volumes.Nodes())
    told = flow.integrate(field, start, step=0.5, times=TIMES, method=flow.RungeKutta(), observe=dict)
    middles = told.values["theta"][:, 0, :, SHARED // 2 :: SHARED]
    return volumes.march(volumes.Scheme(cells=CELLS), *data, decay, TIMES), middles


@cache
def density():
    """Chapter 5: for each decay densities (T, J, cells that have mass) and heads (T, J, m) in thousandths, and the objective.

    ``first`` is the number of the first of these cells; ``paid`` what the dissipation adds up to; ``shares`` the mass left of
    each head.
    """
    scheme, found = volumes.Scheme(cells=CELLS), []
    for decay in DECAYS:
        march, heads = marched(decay)
        rows = np.array(thousandths(march["masses"][:, 0] / scheme.width))
        reached = np.flatnonzero(rows.any(axis=(0, 1)))
        told = {name: march[key][:, 0] for name, key in (("objective", "objective"), ("paid", "dissipated"))}
        found.append(
            {
                "decay": decay,
                "first": int(reached[0]),
                "density": rows[:, :, reached[0] : reached[-1] + 1].tolist(),
                "heads": thousandths(heads),
                **{name: np.round(values.numpy(), 6).tolist() for name, values in told.items()},
            }
        )
    return {
        "times": list(TIMES),
        "width": scheme.width,
        "centres": np.round(scheme.centres.numpy(), 6).tolist(),
        "shares": cloud.shares(HEADS).tolist(),
        "teacher": [-toy.TEACHER, toy.TEACHER],
        "runs": found,
    }


CHAPTERS = {"density": density}
