"""Chapter 5: the density of the heads as it flows."""

from functools import cache

import numpy as np
import sympy as sp
import torch

from attnflow import flow, plot
from attnflow.meanfield import cloud, toy, transport, volumes
from moving import keep

SEED, CELLS, TIMES = 100, 100, tuple(np.linspace(0, 12, 25))
DECAYS = (transport.DECAY, 0.0, 0.2, 0.4)  # that of the chapter first
# Heads that are shown of a block, and the particles of equal shares for which each of them stands.
HEADS, SHARED = 16, 15


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
def run():
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


@cache
def closed_forms():
    """Chapter 5: the density of the heads at the start."""
    theta, power = sp.Symbol("theta", real=True), sp.Integer(volumes.POWER)
    half, centre = sp.nsimplify(volumes.HALF), sp.nsimplify(volumes.CENTRE)
    unit = (theta - centre) / (2 * half) + sp.Rational(1, 2)
    inside = (unit * (1 - unit)) ** (power - 1) / sp.beta(power, power).expand(func=True) / (2 * half)
    known = sp.Piecewise((inside, sp.Abs(theta - centre) < half), (0, True))
    return {"initial": ((theta,), known)}


def still(path, shown=(0, 4, 8, 24)):
    """Chapter 5: the density of the last block at some times, and the objective beside what the velocity paid.

    path: of the picture; shown: which of the stored times.
    """
    stored = run()
    first, times, centres = stored["runs"][0], stored["times"], np.array(stored["centres"])
    figure, (left, right) = plot.figure(2, height=2.6)
    for place, frame in enumerate(shown):
        row = np.array(first["density"][frame][-1]) / 1000
        colour = plot.COLOURS["orange" if place == 0 else "blue"]
        across = centres[first["first"] : first["first"] + len(row)]
        left.plot(across, row, color=colour, alpha=1.0 if place == 0 else 0.3 + 0.7 * place / len(shown))
    for place in stored["teacher"]:
        left.axvline(place, color=plot.COLOURS["black"], lw=0.9, ls="--")
    left.set(xlabel=r"head $\theta$", ylabel=r"density $\rho$, block 3", ylim=(0, None))
    right.plot(times, first["objective"], color=plot.COLOURS["blue"], lw=2)
    plot.theory(right, times, first["objective"][0] - np.array(first["paid"]))
    right.set(xlabel="time $t$", ylabel=r"objective $\mathcal{Q}$", ylim=(0, None))
    keep(figure, path)
