"""The figures of chapter 5 on the density of the heads: how it flows, and how fast errors fall."""

import numpy as np
import torch

from attnflow import flow, plot
from attnflow.meanfield import cloud, toy, transport, volumes

BINS, SIDE = 40, 2.4  # of the bars; the heads shown are in [-SIDE, SIDE]


def flow_figure(seed=1, times=(0.0, 2.0, 4.0, 12.0), cells=280, width=256, quantiles=24):
    """Small multiples of the density, a column for each time and a row for each layer.

    The finite volumes are a filled curve, random heads pale bars on it, and quantile particles ticks below.

    seed: of the data; times: of the columns; cells: of the finite volumes; width: how many random heads a layer has; quantiles:
    how many particles carry equal shares of the density.
    """
    solved = transport.solve((seed,), cells=cells, times=times, device="cpu")
    data, nodes = toy.drawn((seed,), torch.device("cpu")), volumes.Nodes()
    starts = cloud.drawn((seed,), (width,))[0], cloud.quantiles(1024).expand(1, toy.DEPTH, -1).clone()
    options = {"step": 0.25, "times": times, "method": flow.RungeKutta(), "observe": dict}
    drawn, known = (
        flow.integrate(cloud.field(*data, transport.DECAY, nodes), {"theta": start}, **options).values["theta"][:, 0]
        for start in starts
    )
    centres = (solved["faces"][1:] + solved["faces"][:-1]) / 2
    bins = np.linspace(-SIDE, SIDE, BINS + 1)
    every = known[:, :, (cloud.shares(quantiles) * known.shape[2]).long()]
    figure, panels = plot.figure(len(times), toy.DEPTH, width=7.6, height=1.35, sharex=True, sharey=True)
    for layer, row in enumerate(panels):
        for column, (axes, time) in enumerate(zip(row, times, strict=True)):
            density = solved["density"][column, 0, layer]
            heads = drawn[column, layer]
            axes.hist(heads, bins, density=True, color=plot.COLOURS["sky"], alpha=0.35, lw=0)
            axes.fill_between(centres, density, color=plot.COLOURS["blue"], alpha=0.25, lw=0)
            axes.plot(centres, density, color=plot.COLOURS["blue"], lw=1.3)
            ticks = every[column, layer]
            axes.plot(ticks, np.full(len(ticks), -0.08), "|", ms=5, mew=0.9, color=plot.COLOURS["black"])
            for place in (-toy.TEACHER, toy.TEACHER):
                axes.axvline(place, color=plot.COLOURS["black"], lw=0.9, ls=(0, (4, 2.5)))
            axes.set(xlim=(-SIDE, SIDE), yticks=[])
            axes.spines["left"].set_visible(False)
            if layer == 0:
                axes.set_title(f"time {time:g}", fontsize=9)
        row[0].set_ylabel(f"block {layer + 1}", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel(r"head $\theta$", fontsize=9)
    return figure


def errors_figure(record, broken, scattered, stratified, order, rate):
    """Left, the error of the outputs against cells; right, the distance of random heads to the density against m.

    record, broken: of ``transport.compared``, with limited slopes and without slopes; scattered, stratified: of
    ``scatter.scattered``; order, rate: the two claims whose predictions are dashed.
    """
    figure, (left, right) = plot.figure(2, height=2.5)
    cells, widths = record["cells"], scattered["widths"]
    rows = []
    for one, colour, label in ((record, "blue", "minmod"), (broken, "orange", "no slopes")):
        rows.append((one["error"], colour, label))
    known = plot.power_law(cells, record["error"][-1].mean(), -plot.predicted(order))
    rows[0] = (*rows[0], *known)
    plot.loglog(left, cells, rows, xlabel="cells", ylabel="error of the outputs", look={"marker": "o", "ms": 3})
    plot.direct(left)
    rows = [(scattered["last"], "blue", "independent"), (stratified["last"], "orange", "one a share")]
    rows[0] = (*rows[0], *plot.power_law(widths, scattered["last"][-1].mean(), plot.predicted(rate)))
    look = {"marker": "o", "ms": 3}
    plot.loglog(right, widths, rows, xlabel="heads $m$ a layer", ylabel="Wasserstein-1 distance", look=look)
    plot.direct(right)
    return figure
