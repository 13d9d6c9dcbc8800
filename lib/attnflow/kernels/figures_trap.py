"""The figures of chapter 4 on one query: its loss on a line and in the plane, and the map of the trap."""

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from scipy.special import ndtr

from attnflow import flow, plot
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels import plane
from attnflow.kernels.basins import followed
from attnflow.kernels.landscape import SIZES, SPREADS, border, queries
from attnflow.kernels.wells import EDGE, threshold

NAMES = {
    "softmax": "softmax",
    "exp": r"$e^{qk}$",
    "gaussian": "Gaussian",
    "normalised_gaussian": "Gaussian, rows sum to 1",
}
SHADES = LinearSegmentedColormap.from_list("loss", ["#1560A800", "#1560A822", "#1560A870"])
HEAT = LinearSegmentedColormap.from_list("share", ["#C96F1E00", "#C96F1ECC"])


def line_figure(cases, size=1.0, count=24, spread=1.0, last=3.2):
    """The loss over one query on a line, with starts and where each ends: blue on target, orange stuck; wells as triangles.

    cases: of (kernel, sharpness); size: of the normal law whose quantiles are the starts; count: how many; spread: of the keys;
    last: the places go from -last to last.
    """
    figure, panels = plot.figure(len(cases), height=2.6, sharey=True, ylabel="loss")
    places = np.linspace(-last, last, 500)
    starts = size * torch.special.ndtri((torch.arange(count) + 0.5).double() / count)
    for axes, (kernel, c) in zip(np.ravel(panels), cases, strict=True):
        query = queries(kernel, c, spread)
        axes.plot(places, query.miss(places) ** 2 / 2, color=plot.COLOURS["black"], lw=1.2)
        seen = followed(query, starts)
        for start, loss, end in zip(starts.numpy(), seen["loss"].numpy(), seen["place"].numpy(), strict=True):
            colour = plot.COLOURS["orange" if loss > EDGE else "blue"]
            path = np.linspace(start, np.clip(end, -last, last), 40)
            axes.plot(path, query.miss(path) ** 2 / 2 + 0.004, color=colour, alpha=0.25, lw=2.4)
            axes.plot(start, query.miss(start) ** 2 / 2, "o", ms=3.5, color=colour)
        inside = [well for well in query.wells if abs(well) < last]
        axes.plot(inside, query.miss(np.array(inside)) ** 2 / 2 - 0.012, "^", ms=5, color=plot.COLOURS["black"])
        level = rf"$\zeta = {c:g}$" if query.kernel.distance else rf"$\beta = {2 * c:g}$"
        axes.set(title=f"{NAMES[kernel]}, {level}", xlabel="query $q$", xlim=(-last, last), ylim=(-0.025, 0.36))
    return figure


def plane_figure(cases, spreads, seed=3, count=5, starts=7, steps=120):
    """The loss over the plane of queries at several key spreads, with descent from a grid: blue on target, orange stuck.

    A key is a disk that grows with its value, the queries that meet the target are green.

    cases: of (kernel, sharpness), one row each; spreads: of the keys, one column each; seed: of keys and values; count: of keys;
    starts: a side of the grid; steps: how many points of a path are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    places, values = (
        torch.randn(count, 2, generator=generator).double(),
        torch.rand(count, generator=generator).double(),
    )
    values = 0.2 + 0.8 * (values - values.min()) / (values.max() - values.min())
    target = values.sort().values[-2:].mean()
    figure, panels = plot.figure(len(spreads), len(cases), height=2.5, squeeze=False)
    for row, (kernel, c) in zip(panels, cases, strict=True):
        known = Kernel(kernel, c, 2 * c)
        for axes, spread in zip(row, spreads, strict=True):
            keys = spread * (places - places.mean(dim=0))
            reach = float(1.6 * keys.abs().max() + 1.2 / (2 * c) ** 0.5)
            side = torch.linspace(-reach, reach, 120).double()
            grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
            side, gap = side.numpy(), (plane.output(grid, keys, values, known) - target).numpy()
            frame = {"extent": (-reach, reach, -reach, reach), "origin": "lower", "interpolation": "bilinear"}
            axes.imshow(gap**2, cmap=SHADES, **frame)
            axes.contour(side, side, gap, levels=[0], colors=plot.COLOURS["green"], linewidths=1.4)
            spots = torch.linspace(-0.9 * reach, 0.9 * reach, starts).double()
            start = torch.cartesian_prod(spots, spots)
            many = [each.expand(len(start), *each.shape) for each in (keys, values, target)]
            times = torch.linspace(0, plane.CLOCK, 4 * steps).double()
            run = flow.integrate(
                plane.field(*many, known),
                {"q": start},
                step=0.5,
                times=times,
                method=flow.Heun(),
                observe=dict,
                stop_loss=EDGE,
            )
            for path, end in zip(run.values["q"].transpose(0, 1), run.end_loss, strict=True):
                colour = plot.COLOURS["orange" if end > EDGE else "blue"]
                axes.plot(*path.T, color=colour, lw=0.9, alpha=0.75)
                axes.plot(*path[0], "o", ms=1.8, color=colour)
            axes.scatter(*keys.T, s=14 + 70 * values, color=plot.COLOURS["black"], zorder=6, lw=0)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
            axes.set_title(f"{NAMES[kernel]}, key spread {spread:g}", fontsize=8.5)
    return figure


def map_figure(arrays, sharpness=(0.5, 1.0)):
    r"""The map of the trap: stuck shares in colour, slow ones as rings, contours of $\Phi(q^*/\mathrm{scale})$ dashed.

    arrays: of the stored sweep ``kernels-trap``; sharpness: its two $\zeta$, one row each. The dotted line is where the Gaussian
    gets its second well.
    """
    figure, panels = plot.figure(len(KERNELS), len(sharpness), height=2.1, width=7.6, sharex=True, sharey=True)
    for row, c in enumerate(sharpness):
        for column, kernel in enumerate(KERNELS):
            axes = panels[row, column]
            stuck, slow = (arrays[name][row, column].T for name in ("stuck", "slow"))
            axes.pcolormesh(SPREADS, SIZES, stuck, cmap=HEAT, vmin=0, vmax=0.6, shading="nearest")
            if kernel == "exp":
                axes.text(0.5, 0.5, "out of reach", transform=axes.transAxes, ha="center", va="center", fontsize=8)
            else:
                fine, sizes = np.geomspace(SPREADS[0], SPREADS[-1], 80), np.geomspace(SIZES[0], SIZES[-1], 40)
                known = ndtr(np.array([border(kernel, c, spread) for spread in fine]) / sizes[:, None])
                look = {"colors": plot.COLOURS["black"], "linewidths": 1.0, "linestyles": "dashed"}
                axes.clabel(axes.contour(fine, sizes, known, levels=[0.1, 0.2, 0.4], **look), fontsize=6.5)
            across, up = np.meshgrid(SPREADS, SIZES)
            axes.scatter(across, up, s=14 * slow, facecolors="none", edgecolors=plot.COLOURS["blue"], linewidths=0.8)
            if kernel == "gaussian":
                axes.axvline(threshold() / c**0.5, color=plot.COLOURS["black"], lw=1.2, ls=":")
            level = rf"$\zeta = {c:g}$" if "gaussian" in kernel else rf"$\beta = {2 * c:g}$"
            axes.set(xscale="log", yscale="log")
            axes.set_title(f"{NAMES[kernel]}, {level}", fontsize=7.5)
            plot.ticks(axes.xaxis, (0.3, 1, 3))
            plot.ticks(axes.yaxis, (0.3, 1, 3))
    for axes in panels[-1]:
        axes.set_xlabel("key spread")
    for axes in panels[:, 0]:
        axes.set_ylabel("initial scale")
    return figure
