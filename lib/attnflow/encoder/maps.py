"""The maps of chapter 3, and the paper's experiments: figures of stored tables.

In each figure, arrays are those of the sweep, and table its axes, name -> values.
"""

import numpy as np

from attnflow import plot
from attnflow.encoder import flips, lazy, theorem, theory
from attnflow.encoder.figures import BESIDE, LOSS, MARKED, SCALING, WIDTH

WORDS = "where a sufficient condition $n^2$ could\nbegin, if its constant were one"
# Where the phases are called what, at the right edge of their panel: name -> (scaling, colour).
ATTENTION = {"uniform": (0.95, "white"), "saturated": (0.28, "white"), "random": (0.52, "white")}
KERNEL = {"lazy": (0.95, "white"), "moving": (0.28, "black")}


def interpolates(left, level=1e-2):
    """Whether the median of the seeds left at most a share ``level`` of its loss. left: (..., S), NaN where one diverged."""
    return np.nanmedian(left, axis=-1) <= level


def threshold_figure(claim, chaos):
    """Which widths interpolate how many samples, with the exponents of the sufficient condition shaded, not drawn.

    A ring marks a cell that does at one end of its band and does not at the other. claim: name -> Claim; chaos: what
    :func:`attnflow.sensitivity.kept` says of the sweep.
    """
    samples, widths = (np.array(chaos.table.axes[name]) for name in ("samples", "width"))
    counts, places = np.meshgrid(samples, widths, indexing="ij")
    done, most, least = (interpolates(left) for left in (chaos.arrays["left"], *chaos.ends("left")))
    either = most != least
    enough = np.minimum(samples ** plot.predicted(claim["exponent-one"]), 1e3)
    figure, axes = plot.figure(height=2.8)
    axes.set(xlabel="samples $n$", ylabel="width $k$", ylim=(0.25, 1e3), xscale="log", yscale="log")
    plot.ticks(axes.xaxis, samples)
    axes.scatter(counts[done], places[done], color=plot.COLOURS["blue"], label="interpolates", zorder=3)
    axes.scatter(counts[~done], places[~done], facecolor="none", edgecolor=plot.COLOURS["red"], label="does not")
    ring = {"s": 90, "facecolor": "none", "edgecolor": "#222222", "lw": 0.8}
    axes.scatter(counts[either], places[either], label="either, within its band", **ring)
    axes.plot(samples, samples / (3 * theorem.D + 1), color="#777777", lw=1, ls=":", label="one parameter a sample")
    axes.fill_between(samples, enough, 1e3, color=plot.PHASES[1], lw=0, zorder=0)
    axes.text(8.3, 700, WORDS, fontsize=8, va="top")
    axes.legend(**BESIDE)
    return figure


def phase_figure(arrays, table):
    r"""The stored phase diagram with boundaries of theory.

    Attention: the deficit of Gaussian logits of variance $k^{1-2s}$ crosses 0.05 (uniform) and 0.5 (saturated). Kernel: see
    :func:`attnflow.encoder.lazy.boundary`, with one constant fitted. arrays, table: of the sweep.
    """
    scalings, widths = (np.array(table[name]) for name in ("scaling", "width"))
    change, grid = np.exp(np.log(arrays["change"]).mean(axis=-1)), np.geomspace(widths[0], widths[-1], 60)
    edges = np.stack([theory.scaling_at(variance, grid) for variance in theory.variance_at((0.05, 0.5), 4)], axis=1)
    figure, panels = plot.figure(2, height=3.1, sharey=True, ylabel="scaling $s$")
    for axes, title, values, lines, words in (
        (panels[0], "entropy deficit at the start", arrays["deficit"].mean(axis=-1), edges, ATTENTION),
        (panels[1], "change of the kernel", change, lazy.boundary(change, scalings, widths, grid), KERNEL),
    ):
        drawn = axes.pcolormesh(widths, scalings, np.log10(values), shading="nearest", cmap="cividis")
        figure.colorbar(drawn, ax=axes, label=r"$\log_{10}$")
        plot.theory(axes, grid, lines, colour="red")
        for word, (place, colour) in words.items():
            axes.text(widths[-1], place, word, ha="right", color=colour, fontsize=8.5)
        axes.set(xscale="log", xlabel="width $k$", title=title, ylim=(scalings[0] - 0.06, scalings[-1] + 0.06))
        plot.ticks(axes.xaxis, widths)
    return figure


def flips_figure(claim, arrays, table):
    r"""Masks that flip, and what they do to the kernel: shares, Frobenius norms, and the trace times $\sqrt k$, over the width.

    Dashed are the counted power, the pull expected from the start, and sums of powers fitted to all widths but the last:
    $k^{-1/2}$, $k^{-1}$ and the next order in the trace, their products in the square of the norm. claim: name -> Claim;
    arrays, table: of the sweep.
    """
    widths = np.array(table["width"], dtype=float)
    found = {name: values.reshape(len(widths), -1) for name, values in arrays.items()}
    half, whole = plot.predicted(claim["flips-share"]), found["growth"] - found["pull"]

    def row(values, colour, label):
        return values, colour, label, *plot.power_law(widths, values[-1], half)

    shares = [row(found[name].mean(axis=1), colour, name) for name, colour in (("on", "blue"), ("off", "red"))]
    norms = {name: np.sqrt((found[name] ** 2).mean(axis=1)) for name in ("change", "masks")}
    change = np.sqrt(flips.extended(widths, found["change"] ** 2, (2 * half, -1.5, -2, -2.5)))
    root = np.sqrt(widths)
    traces = [
        (
            widths,
            root * whole.mean(axis=1),
            "blue",
            "whole",
            widths,
            root * flips.extended(widths, whole, (half, -1, -1.5)),
        ),
        (widths, -root * found["pull"].mean(axis=1), "orange", "masks", widths, -root * found["expected"].mean(axis=1)),
    ]
    figure, panels = plot.figure(3, width=8.4, height=2.7)
    look = {"look": MARKED, "xlabel": WIDTH, "legend": {"fontsize": 7}}
    plot.loglog(panels[0], widths, shares, title="share of masks that flip", **look)
    rows = [(norms["change"], "blue", "whole", widths, change), row(norms["masks"], "orange", "masks alone")]
    plot.loglog(panels[1], widths, rows, title="change of the kernel", **look)
    plot.panel(panels[2], traces, places=widths, xscale="log", title=r"change of its trace, $\times\sqrt{k}$", **look)
    plot.levels(panels[2], [0])
    for axes in panels:
        plot.ticks(axes.xaxis, widths[::4])
    return figure


def cells(table):
    """The cells of a stored ``table`` of widths and scalings: (row, column, width, colour, label) each."""
    return [(i, j, k, *SCALING[s]) for i, k in enumerate(table["width"]) for j, s in enumerate(table["scaling"])]


def synthetic_figure(arrays, table):
    """The recalled synthetic experiment: loss, movement of the weights, change of the kernel, both scalings.

    arrays, table: of the sweep.
    """
    titles = (f"loss, {LOSS}", "movement of the weights", "change of the kernel")
    figure, panels = plot.figure(3, width=8.4, height=2.7)
    for axes, name, title in zip(panels, ("loss", "moved", "kernel"), titles, strict=True):
        values = np.maximum(np.median(arrays[name], axis=-1), 1e-12)
        epochs = np.linspace(0, arrays["epochs"].max(), values.shape[2])
        for i, j, width, colour, label in cells(table):
            look = {"color": plot.COLOURS[colour], "alpha": (0.35, 0.65, 1.0)[i], "lw": 1.1}
            axes.plot(epochs[1:], values[i, j, 1:], label=f"{label}, $k = {width}$", **look)
        axes.set(yscale="log", xlabel="epoch", title=title)
    panels[2].legend(**BESIDE | {"fontsize": 6.5})
    return figure


def vision_figure(arrays, table):
    """The small vision Transformer on digits: training loss and entropy deficit, both scalings and widths.

    arrays, table: of the sweep.
    """
    figure, panels = plot.figure(2)
    for i, j, width, colour, label in cells(table):
        look = {"color": plot.COLOURS[colour], "ls": "-" if i else ":", "lw": 1.1}
        look["label"] = [f"{label}, width {width}", *["_"] * (arrays["loss"].shape[-1] - 1)]
        for axes, name in zip(panels, ("loss", "deficit"), strict=True):
            axes.plot(arrays["steps"][i, j], arrays[name][i, j], **look)
    panels[0].set(xlabel="step", title="training loss")
    panels[1].set(xlabel="step", title="entropy deficit of the attention", yscale="log")
    panels[1].legend(loc="lower right", fontsize=7)
    return figure
