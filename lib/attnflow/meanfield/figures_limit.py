r"""Pictures of the section on the limit and of that on scalings."""

import numpy as np
from matplotlib.figure import Figure

from attnflow import plot, runs
from attnflow.meanfield import limit, nets, power, scalings

LOOK = {
    "mean field": "blue",
    "tangent": "orange",
    "sum over heads": "purple",
    "sum over blocks": "green",
    "plain rate": "sky",
}
WIDTHS = (4, 16, 64)


def spreads(seeds: tuple = (0,), depths: tuple = (1, 4, 8), copies: int = 128, device: object = None) -> Figure:
    r"""The spread of trained outputs of nets of many shapes: over Jm with independent layers, over m with tied ones.

    seeds: data sets, over which spreads are averaged; depths: J, for widths ``WIDTHS``; copies: replicas; device: of the runs.
    Returns the figure.
    """
    where = runs.device(device)
    drawn, axes = plot.figure(columns=2, ylabel="spread of outputs", sharey=True)
    for place, (axis, tied) in enumerate(zip(axes, (False, True), strict=True)):
        for depth, colour in zip(depths, ("blue", "orange", "green"), strict=False):
            shapes = tuple((depth, m) for m in WIDTHS)
            record = limit.trained(seeds, where, shapes, (copies,) * len(WIDTHS), tied=tied, **limit.SMALL)
            x = WIDTHS if tied else record["places"]
            plot.measured(axis, x, record["output"].mean(dim=1), colour, f"$J = {depth}$", marker="o", ms=4)
        ends = (WIDTHS if tied else (depths[0] * WIDTHS[0], depths[-1] * WIDTHS[-1]))[:: 2 if tied else 1]
        top = float(record["output"].mean(dim=1)[0]) * (1 if tied else (depths[-1] / depths[0]) ** 0.5)
        plot.theory(axis, np.array(ends), top * (np.array(ends) / ends[0]) ** power.LAW, label="power $-1/2$")
        settings = {
            "xscale": "log",
            "yscale": "log",
            "xlabel": "heads of a block, $m$" if tied else "heads in all, $Jm$",
        }
        axis.set(title="layers that share their draws" if tied else "independent layers", **settings)
        plot.ticks(axis.xaxis, WIDTHS if tied else sorted({each * m for each in depths for m in WIDTHS}))
        if not place:
            axis.legend()
    return drawn


def tests(seeds: tuple = (0,), counts: tuple = (6, 12, 24, 48, 96, 128), device: object = None) -> Figure:
    r"""How often a true law passes a test, over the number of replicas behind each spread, simulated and by the normal law.

    seeds: of the simulation; counts: numbers of replicas; device: of the runs. Returns the figure.
    """
    narrow = power.NARROW
    rows = [power.tests(seeds, runs.device(device), **narrow | {"copies": (each,) * 6}) for each in counts]
    drawn, axes = plot.figure(ylabel="share of tests passed")
    for name, colour, label in (("slope", "blue", r"exponent $\pm 0.08$"), ("band", "orange", r"all six $\pm 20$ %")):
        plot.measured(axes, counts, [float(row[name].mean()) for row in rows], colour, label, marker="o", ms=4)
    known = [power.passing(narrow["places"], (each,) * 6, narrow["within"]) for each in counts]
    plot.theory(axes, np.array(counts), np.array(known), label=r"$2\Phi(0.08/\sigma) - 1$")
    axes.set(xscale="log", xlabel="replicas behind each spread", ylim=(0, 1.03))
    plot.ticks(axes.xaxis, counts)
    axes.legend()
    return drawn


def failures(seeds: tuple = (0,), widths: tuple = (4, 16, 64), copies: int = 128, device: object = None) -> Figure:
    r"""Movement of particles and spread of the output at the start over m, for five scalings, with predicted powers.

    seeds: data sets, over which is averaged; widths: m, in nets of two blocks and, for the output, of one; copies: replicas
    of the widest; device: of the runs. Returns the figure.
    """
    where = runs.device(device)
    drawn, axes = plot.figure(columns=2, ylabel="movement of a particle")
    axes[1].set_ylabel("output at the start")
    for name, colour in LOOK.items():
        branch, speed = (np.array([each(1, m) for m in widths], dtype=float) for each in nets.SCALINGS[name])
        many = tuple(copies * widths[-1] // m for m in widths)
        start = limit.starts(seeds, where, tuple((1, m) for m in widths), many, scaling=name, **limit.SMALL)
        found = start["output"].mean(dim=1)
        plot.measured(axes[1], widths, found, colour, name, marker="o", ms=4)
        law = branch * np.sqrt(widths)
        plot.theory(axes[1], widths, float(found[-1]) * law / law[-1])
        if name == "sum over heads":  # its particles move by sums that grow: no training is shown
            continue
        moved = scalings.moved(seeds, where, tuple((2, m) for m in widths), copies, scaling=name, **limit.SMALL)
        way = moved["movement"].mean(dim=1)
        plot.measured(axes[0], widths, way, colour, name, marker="o", ms=4)
        plot.theory(axes[0], widths, float(way[-1]) * branch * speed / (branch * speed)[-1])
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="heads of a block, $m$")
        plot.ticks(axis.xaxis, widths)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return drawn
