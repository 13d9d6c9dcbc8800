"""The maps of chapter 3, and the paper's experiments: figures of stored tables.

In each figure, arrays are those of the sweep, and table its axes, name -> values.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.patheffects import withStroke

from attnflow import claims, door, plot, sensitivity
from attnflow.encoder import flips, lazy, theorem, theory
from attnflow.encoder.figures import LOSS, MARKED, SCALING, SMALL, WIDTH

# Where the phases are called what, at the right edge of their panel: name -> scaling.
ATTENTION = {"uniform": 0.94, "random": 0.53, "saturated": 0.29}
KERNEL = {"lazy": 0.94, "moving": 0.29}
HALO = [withStroke(linewidth=2.5, foreground="white")]
WORDS = "the proof promises\nsuccess from here on"
PHASES = {
    "scaling": door.several(door.NUMBER, least=2, letter="J"),
    "width": door.several(door.COUNT, least=2, letter="W"),
}
CELLS = {"width": door.several(door.COUNT, letter="W"), "scaling": door.several(door.choice(*SCALING), letter="J")}
CURVES = {"loss": "N S", "moved": "K S", "kernel": "K S", "epochs": "K"}  # of the recalled experiment, in each cell
NEEDED = door.is_a(
    "a dict, scaling 0.5 or 1.0 -> record of theorem.enough",
    lambda given: (
        isinstance(given, dict)
        and set(given) <= set(SCALING)
        and all(isinstance(each, Mapping) and "samples" in each for each in given.values())
    ),
)
CHAOS = door.is_a(
    "what sensitivity.kept says of a sweep over samples and width",
    lambda given: isinstance(given, sensitivity.Kept) and set(given.table.axes) == {"samples", "width"},
)


@door.takes(left="array gaps: ... S", level=door.POSITIVE)
def succeeds(left, level=1e-2):
    """The share of the seeds that left at most a share ``level`` of their loss. left: (..., S), NaN where one diverged."""
    return (left <= level).mean(axis=-1)


@door.takes(needed=NEEDED, chaos=CHAOS)
def hero_figure(needed, chaos):
    r"""Above, from which width the proof promises success; below, how many runs of the stored sweep had it.

    A ring marks a cell in which more runs have it at one end of its band than at the other. needed: scaling -> record of
    :func:`attnflow.encoder.theorem.enough`; chaos: what :func:`attnflow.sensitivity.kept` says of the sweep.
    """
    samples, widths = (np.array(chaos.table.axes[name]) for name in ("samples", "width"))
    counts, places = np.meshgrid(samples, widths, indexing="ij")
    done, most, least = (succeeds(left) for left in (chaos.arrays["left"], *chaos.ends("left")))
    either = most != least
    ratios, style = {"height_ratios": (1, 1.5)}, {"xscale": "log", "yscale": "log", "xlim": (7, 150)}
    figure, (above, below) = plot.figure(rows=2, height=2.4, sharex=True, gridspec_kw=ratios)
    for scaling, record in needed.items():
        (colour, label), first = SCALING[scaling], theorem.last_of(record).detach().log10().mean(dim=1)
        plot.theory(above, record["samples"], 10**first, colour=colour)
        above.fill_between(record["samples"], 10**first, 1e27, color=plot.COLOURS[colour], alpha=0.1, lw=0)
        above.text(68, 10 ** first[-1], f"{WORDS},\n{label}", color=plot.COLOURS[colour], fontsize=8, va="center")
    above.set(ylim=(1e5, 1e27), ylabel="width $k$, the proof", **style)
    above.set_yticks([1e6, 1e12, 1e18, 1e24])
    drawn = below.scatter(
        counts, places, c=done, cmap="Blues", vmin=0, vmax=1, edgecolor=plot.COLOURS["blue"], s=24, zorder=3
    )
    ring = {"s": 60, "facecolor": "none", "edgecolor": plot.COLOURS["black"], "lw": 0.9}
    below.scatter(counts[either], places[either], label="either", **ring)
    below.plot(samples, samples / (3 * theorem.D + 1), color="#777777", lw=1, ls=":")
    below.text(
        68, samples[-1] / (3 * theorem.D + 1), "one parameter a sample", color="#777777", fontsize=8, va="center"
    )
    figure.colorbar(drawn, cax=below.inset_axes((0.83, 0.63, 0.02, 0.34)), label="runs that\nsucceed")
    below.set(xlabel="samples $n$", ylabel="width $k$, runs", ylim=(0.25, 24), **style)
    plot.ticks(below.xaxis, samples[::2])
    plot.ticks(below.yaxis, [width for width in widths if width not in (5, 10)])  # no room between their neighbours
    return figure


@door.takes(arrays={"change": "array: J W S", "deficit": "array: J W S"}, table=PHASES)
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
        (panels[0], "deficit at the start", arrays["deficit"].mean(axis=-1), edges, ATTENTION),
        (panels[1], "change of the kernel", change, lazy.boundary(change, scalings, widths, grid), KERNEL),
    ):
        drawn = axes.pcolormesh(widths, scalings, np.log10(values), shading="nearest", cmap="cividis")
        figure.colorbar(drawn, ax=axes, label=rf"$\log_{{10}}$ of the {title.split()[0]}")
        for line in plot.theory(axes, grid, lines, colour="black"):
            line.set_path_effects(HALO)
        for word, place in words.items():
            look = {"color": "#212121", "fontsize": 8.5, "path_effects": HALO}
            axes.text(widths[-1], place, word, ha="right", va="center", **look)
        axes.set(xscale="log", xlabel="width $k$", title=title, ylim=(scalings[0] - 0.06, scalings[-1] + 0.06))
        plot.ticks(axes.xaxis, widths[:: -(-len(widths) // 4)])
    return figure


@door.takes(
    claim={"flips-share": claims.Claim},
    arrays=dict.fromkeys(("on", "off", "change", "masks", "growth", "pull", "expected"), "array: W F S"),
    table={"width": PHASES["width"]},
)
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
        (widths, -root * found["pull"].mean(axis=1), "purple", "masks", widths, -root * found["expected"].mean(axis=1)),
    ]
    figure, panels = plot.figure(3, height=2.7)
    look = {"look": MARKED, "xlabel": WIDTH, "legend": SMALL}
    plot.loglog(panels[0], widths, shares, title="share of flipped masks", **look)
    rows = [(norms["change"], "blue", "whole", widths, change), row(norms["masks"], "purple", "masks alone")]
    plot.loglog(panels[1], widths, rows, title="change of the kernel", **look)
    plot.panel(panels[2], traces, places=widths, xscale="log", title=r"of its trace, $\times\sqrt{k}$", **look)
    plot.levels(panels[2], [0])
    for axes in panels:
        plot.ticks(axes.xaxis, widths[::4])
    return figure


@door.takes(table=CELLS)
def cells(table):
    """The cells of a stored ``table`` of widths and scalings: (row, column, width, colour, label) each."""
    return [(i, j, k, *SCALING[s]) for i, k in enumerate(table["width"]) for j, s in enumerate(table["scaling"])]


@door.takes(
    arrays={name: f"array gaps: W J {axes}" for name, axes in CURVES.items()},
    table=CELLS,
)
def synthetic_figure(arrays, table):
    """The recalled synthetic experiment: loss, movement of the weights, change of the kernel, one row a scaling.

    arrays, table: of the sweep. Losses below 1e-12 are drawn there.
    """
    titles = (f"loss, {LOSS}", "movement of the weights", "change of the kernel")
    figure, panels = plot.figure(3, 2, height=2.0, sharex=True, sharey="col")
    for i, j, width, _, label in cells(table):
        for axes, name in zip(panels[j], ("loss", "moved", "kernel"), strict=True):
            values = np.maximum(np.median(arrays[name][i, j], axis=-1), 1e-12)
            epochs = np.linspace(0, arrays["epochs"].max(), len(values))
            start = name != "loss"
            look = {"color": plot.COLOURS[("sky", "green", "blue")[i]], "lw": 1.3, "label": f"$k = {width}$"}
            axes.plot(epochs[start:], values[start:], **look)
            axes.set(yscale="log", xlim=(0, 400))
        panels[j, 0].set_ylabel(label)
    for axes, below, title in zip(panels[0], panels[1], titles, strict=True):
        axes.set_title(title, fontsize=9)
        below.set_xlabel("step")
    for axes in panels[:, 2]:
        plot.direct(axes, gap=0.12)
    return figure


@door.takes(
    arrays={"loss": "array gaps: W J K S", "deficit": "array gaps: W J K S", "steps": "array: W J K"},
    table=CELLS,
)
def vision_figure(arrays, table):
    """The small vision Transformer on digits: training loss and entropy deficit, both scalings and widths.

    arrays, table: of the sweep.
    """
    figure, panels = plot.figure(2)
    for i, j, width, colour, label in cells(table):
        look = {"color": plot.COLOURS[colour], "ls": "-" if i else ":", "lw": 1.2}
        look["label"] = [f"{label}, {width}", *["_"] * (arrays["loss"].shape[-1] - 1)]
        for axes, name in zip(panels, ("loss", "deficit"), strict=True):
            axes.plot(arrays["steps"][i, j], arrays[name][i, j], **look)
    panels[0].set(xlabel="step", title="training loss")
    panels[1].set(xlabel="step", title="entropy deficit of the attention", yscale="log")
    plot.direct(panels[1])
    return figure
