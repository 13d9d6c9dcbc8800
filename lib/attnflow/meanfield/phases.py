r"""Phases of training with weight decay: which restarts end at the lowest objective, which get stuck, and which collapse."""

import numpy as np
import torch

from attnflow import Above, Below, Control, door, kinds, runs, sweep
from attnflow.meanfield import risk
from attnflow.meanfield.setting import claim
from attnflow.meanfield.settle import settle

OVERS = (  # decays over the threshold of zero, closest where zero becomes stable
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.375, 0.45, 0.525, 0.6, 0.7, 0.8, 0.875, 0.95, 0.98),
    *(1.03, 1.1, 1.2, 1.3, 1.45, 1.6),
)
WIDTHS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 32)
SCALES = (0.01, 0.017, 0.03, 0.055, 0.1, 0.17, 0.3, 0.42, 0.55, 0.7, 1.0, 1.4)
PROBED = (0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1.03, 1.2)  # where the sensitivity is measured: two more runs of a cell
RESTARTS = 8
DEAD = 1e-3  # the mean square below which particles count as zero
RUNS, ONE = ("objective", "norms", "still"), "zero"  # of a table, one entry a restart and one entry a cell


def _is_table(value):
    """Whether a value is a dict of finite arrays: those of the restarts of one shape, with one more axis than that of zero."""
    if not isinstance(value, dict) or not {*RUNS, ONE} <= set(value):
        return False
    arrays = [value[name] for name in (*RUNS, ONE)]
    if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" and np.isfinite(each).all() for each in arrays):
        return False
    shapes = [each.shape for each in arrays]
    return shapes[0] == shapes[1] == shapes[2] == (*shapes[3], *shapes[0][-1:]) and arrays[0].size > 0


TABLE = door.is_a(
    f"a dict with finite arrays {', '.join(RUNS)} of one shape and {ONE} of that without its last axis", _is_table
)


def cell(
    device: torch.device, over: float, seed: int = 100, copies: int = RESTARTS, scale: float = 1.0, **settings
) -> dict:
    r"""One cell of a phase diagram: several starts on one data set, each followed until it rests.

    device, settings: of ``setting.drawn``; over: the decay over $\lambda_c$; seed: of the data; copies: starts; scale: of the
    particles. Returns ``objective``, ``norms``, ``still``, (copies,) each, ``decay``, and ``zero``, the objective of no
    particles.
    """
    net, inputs, targets, state = risk.restarts((seed,), device, copies, scale=scale, **settings)
    decay = over * risk.threshold(inputs, targets, net)
    found = settle(state, inputs, targets, net, decay, rounds=12)
    return {
        "objective": found.objective,
        "norms": found.norms,
        "still": found.still.to(runs.DTYPE),
        "decay": decay[0],
        "zero": targets[0].square().mean() / 2,
    }


@door.takes(arrays=TABLE)
def phases(arrays: dict) -> dict:
    """What became of the restarts of a table: shares ``global``, ``stuck``, ``collapsed`` and ``still``, the table's shape each.

    arrays: of a stored sweep, with the restarts last. A run is *global* within 1 % of the lowest objective of its cell, the
    one of zero particles included; else it is *collapsed* where its particles are zero, and *stuck* where they are not.
    """
    heights, dead = arrays["objective"], arrays["norms"] < DEAD
    least = heights.min(axis=-1).clip(max=arrays["zero"])[..., None]
    top = heights <= 1.01 * least
    return {
        "global": top.mean(axis=-1),
        "collapsed": (dead & ~top).mean(axis=-1),
        "stuck": (~dead & ~top).mean(axis=-1),
        "zero": dead.mean(axis=-1),
        "still": arrays["still"].mean(axis=-1),
    }


@door.takes(over=door.choice(*OVERS))
def falling(over: float = 0.3) -> float:
    """The lowest stored objective of the widest net over that of the narrowest, at a decay ``over`` the threshold."""
    arrays, _ = sweep.kept("meanfield-width")
    least = arrays["objective"][OVERS.index(over)].min(axis=-1)
    return float(least[-1] / least[0])


@door.takes(over=door.choice(*OVERS))
def worst(over: float = 0.6) -> float:
    """The highest stored objective at rest over that of zero particles, at a decay ``over`` the threshold, of all widths."""
    arrays, _ = sweep.kept("meanfield-width")
    place = OVERS.index(over)
    return float((arrays["objective"][place].max(axis=-1) / arrays["zero"][place]).max())


CLAIMS = (
    claim(
        "wider-lower",
        "The lowest objective keeps falling with the width",
        r"On one data set at $\lambda = 0.3\,\lambda_c$: the lowest objective of eight starts with $m = 32$ over that with "
        "$m = 1$, stored runs. One particle of a wide net can be large at little cost for its queries and keys.",
        kinds.derived(falling, Below(0.8)),
        Control("just below the threshold, where no head takes part", {"over": 0.95}),
    ),
    claim(
        "worse-than-nothing",
        "Some nets end higher than an empty one",
        r"On that data set at $\lambda = 0.6\,\lambda_c$: the highest objective at rest over that of no particles at all, over "
        "all widths and starts. Such a rest is a minimum, and not the global one.",
        kinds.derived(worst, Above(1.01)),
        Control("a decay above all bands", {"over": 1.6}),
    ),
)

SWEEPS = (
    sweep.Sweep(
        "meanfield-width",
        "who ends where, over the decay and the width",
        cell,
        {"over": OVERS, "m": WIDTHS},
        probe={"over": PROBED, "m": (1, 2, 4, 8, 16, 32)},
    ),
    sweep.Sweep(
        "meanfield-scale",
        "who ends where, over the decay and the scale of the start",
        cell,
        {"over": OVERS, "scale": SCALES},
        {"m": 16},
        probe={"over": PROBED, "scale": (0.01, 0.03, 0.1, 0.3, 0.7, 1.4)},
    ),
)
