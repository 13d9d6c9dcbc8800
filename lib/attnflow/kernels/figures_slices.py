"""The figure of chapter 4 on slices: the loss around a trained layer, kernel by kernel, in one scale of colours."""

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap

from attnflow import plot
from attnflow.kernels import model, slices

TITLES = {"softmax": "softmax", "gaussian": "Gaussian", "normalised_gaussian": "Gaussian, rows sum to 1"}
SHADES = LinearSegmentedColormap.from_list("slices", ["#1560A800", "#1560A84D", "#1560A8D9"])
PLANES = {"all matrices": model.MATRICES, "$W_Q$, $W_K$ alone": slices.INNER, "$W_V$, $W_O$ alone": slices.OUTER}
LEVELS = np.linspace(-2, 2, 17)  # of the logarithm of the loss over that of an output of zero


def slices_figure(seed=100, kernels=slices.KERNELS, radius=2.0, side=41, **settings):
    """The loss along one pair of random directions: a row each kernel, a column each choice of the matrices that move.

    Colour and contours are the logarithm of the loss, alike in all panels; dashed where the loss is that of an output of zero,
    a triangle at every minimum of the nodes.

    seed: of the layer and the directions; kernels: names; radius: in lengths of the weights; side: nodes on an edge; settings:
    of :func:`attnflow.kernels.slices.trained`.
    """
    line = np.linspace(-radius, radius, side)
    figure, panels = plot.figure(
        len(PLANES), len(kernels), height=2.2, width=7.0, sharex=True, sharey=True, squeeze=False
    )
    for row, kernel in zip(panels, kernels, strict=True):
        for axes, moved in zip(row, PLANES.values(), strict=True):
            seen = slices.surface((seed,), torch.device("cpu"), kernel, moved, radius, side, **settings)["square"]
            height = seen[0].log10().numpy().T
            look = {"levels": LEVELS, "extend": "both"}
            filled = axes.contourf(line, line, height, cmap=SHADES, **look)
            axes.contour(
                line,
                line,
                height,
                levels=LEVELS,
                colors=plot.COLOURS["blue"],
                linewidths=0.4,
                linestyles="solid",
                alpha=0.6,
            )
            axes.contour(
                line, line, height, levels=[0], colors=plot.COLOURS["black"], linewidths=1.1, linestyles="dashed"
            )
            down, across = (place + 1 for place in torch.where(slices.lowest(seen)[0]))
            axes.plot(line[down], line[across], "^", ms=4, lw=0, color=plot.COLOURS["red"])
            axes.set(aspect="equal", xticks=(-radius, 0, radius), yticks=(-radius, 0, radius))
        row[0].set_ylabel(TITLES[kernel])
    for axes, title in zip(panels[0], PLANES, strict=True):
        axes.set_title(title)
    bar = figure.colorbar(filled, ax=panels, shrink=0.5, aspect=30, ticks=(-2, -1, 0, 1, 2))
    bar.set_ticklabels(["0.01", "0.1", "1", "10", "100"])
    bar.set_label("loss over that of no output")
    return figure
