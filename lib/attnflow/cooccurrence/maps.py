"""The figures of chapter 2 on its sweeps and on where its theory stops: theory dashed over all the runs, controls in orange."""

from itertools import product

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm, to_rgb
from matplotlib.patheffects import withStroke

from attnflow import plot
from attnflow.cooccurrence import balance, ratio
from attnflow.cooccurrence.figures import CLASSES, LOOKS, PAIRED, TAU, clock
from attnflow.cooccurrence.setting import later, watched

HALO = [withStroke(linewidth=2.0, foreground="white")]
BAND = {"color": "#99999933", "lw": 0, "zorder": 0}


def paper_figure(arrays, names):
    """The paper's two figures under each reading: attention scores above, losses below.

    arrays: of the stored sweep; names: of the readings.
    """
    figure, panels = plot.figure(2, 2, height=2.5, sharex=True)
    for column, name in enumerate(names):
        (top, bottom), kept = panels[:, column], {key: values[column] for key, values in arrays.items()}
        epochs, losses = kept["epochs"], np.dstack([kept["class_loss"], kept["loss"]])
        lines = plot.family(epochs, losses, (*CLASSES, "black"), (*PAIRED, "all"))
        plot.panel(top, plot.family(epochs, 1e3 * watched(kept["scores"]), *LOOKS["watched"]), title=name, xscale="log")
        plot.panel(bottom, lines, yscale="log", xlabel="step of descent", ylim=(1e-6, 20), xlim=(1, epochs[-1]))
        for axes, first in product((top, bottom), kept["first"]):
            axes.axvline(first, color="#777777", lw=0.7, ls=":")
        plot.levels(top, [0])
        plot.direct(top, gap=0.1)
        plot.direct(bottom, gap=0.1)
    panels[0, 0].set_ylabel(r"change of $\Phi$, in $10^{-3}$")
    panels[1, 0].set_ylabel("losses")
    return figure


def diagram_figure(lengths, samples, measured, undecided=0.02):
    r"""The map of $\rho$ over n and L: predicted above, measured below, with both predicted lines on each.

    lengths: (J,); samples: (I,); measured: (J, I), means over runs; undecided: cells whose prediction is closer than this to
    the lower end of the range or to the edge where class 4 becomes a support vector (in $s_4/s_1$) carry a question mark.
    """
    _, fourth, rho = np.moveaxis([[balance.predicted(count, length) for count in samples] for length in lengths], -1, 0)
    doubtful = (np.abs(rho - balance.RANGE[0]) < undecided) | ((fourth > 0) & (fourth < undecided))
    figure, panels = plot.figure(1, 2, height=2.6, sharex=True)
    shades = TwoSlopeNorm(balance.RANGE[0], 0.3, 1.5)
    deep = 0.35 + 0.65 * np.array(to_rgb(plot.COLOURS["blue"]))
    colours = LinearSegmentedColormap.from_list("range", ["#9A9A9A", "#F2F2F2", deep])
    across = np.linspace(0, len(samples) - 1, 200)
    counts = np.interp(across, np.arange(len(samples)), samples)
    for axes, values, title in zip(panels, (rho, measured), (r"$\rho$ predicted", r"$\rho$ measured"), strict=True):
        drawn = axes.imshow(values, cmap=colours, norm=shades, aspect="auto", origin="lower")
        axes.set(title=title, ylabel="length $L$", xlim=(-0.5, len(samples) - 0.5), ylim=(-0.5, len(lengths) - 0.5))
        axes.set_xticks(range(1, len(samples), 2), samples[1::2])
        axes.set_yticks(range(len(lengths)), lengths)
        axes.grid(False)
        for zero, style in ((balance.lower_end() - balance.SAMPLES, {}), (balance.edge(), {"lw": 1.4, "ls": ":"})):
            plot.theory(axes, across, balance.lengths_at(zero, counts) - lengths[0], zorder=2, **style)
        for row, column in zip(*np.nonzero(doubtful), strict=True):
            axes.text(column, row, "?", ha="center", va="center", fontsize=8, path_effects=HALO)
    figure.colorbar(drawn, ax=panels, label=r"ratio $\rho$", ticks=[0.3, 0.6, 0.8, 1.0, 1.2, 1.5])
    panels[-1].set_xlabel("samples $n$")
    return figure


def attention_figure(claim, narrow, wide, small, large):
    r"""What freezing attention changes against the size of the start, and the ratio from the end of Phase 1 on.

    claim: gives the power and the limit; narrow, wide: records of ``stops.idleness`` for small and for large sizes; small,
    large: runs with $c_0 = 0.1$ and 16.
    """
    figure, (left, right) = plot.figure(2)
    power, anchor = plot.predicted(claim["idle-attention"]), narrow["gap"][-1].median() / narrow["scales"][-1] ** 2
    for record, colour in ((narrow, "blue"), (wide, "orange")):
        plot.measured(left, record["scales"], record["gap"], colour, marker="o", ms=3.5)
    places = (*narrow["scales"], *wide["scales"])
    plot.theory(left, *plot.power_law(places, float(anchor) * max(places) ** 2, power))
    left.set(xscale="log", yscale="log", xlabel="size of the start $c_0$", title="loss, attention frozen: change")
    plot.ticks(left.xaxis, places)
    for run, colour, label in ((small, "blue", "$c_0 = 0.1$"), (large, "orange", "$c_0 = 16$")):
        plot.measured(right, run["tau"], later(run, run["rho"]), colour, label)
    right.set(title=r"$\rho$ after Phase 1", ylim=(-0.5, 3.4), **clock(3, 1e3, TAU))
    right.axhspan(*balance.RANGE, **BAND)
    plot.theory(right, [3, 1e3], [plot.predicted(claim["balance-ratio"], small)] * 2, "limit")
    right.legend(loc="lower right")
    return figure


def stops_figure(base, broken):
    """The runs of ``setting.BROKEN``, ``broken``, by name in orange beside ``base`` in blue; dashed is what theory predicts."""

    def seen(run):
        change = 1e4 * (run["watched"] - run["watched"][:1])
        return {
            "rho": later(run, run["rho"]),
            "loss": run["class_loss"][..., 1:3].mean(dim=-1),
            "singles": later(run, run["singles"]),
            "fourth": later(run, run["shares"][..., 3]),
            "one two": change[..., 0],
            "growth": run["readout"] / run["readout"][:1],
        }

    few = balance.predicted(broken["few"]["task"].samples, base["task"].length)[2]
    alpha, classes = ratio.data(broken["no common"], "alpha"), broken["no common"]["classes"]
    fourth = alpha[:, classes == 3].sum(dim=1) / alpha[:, classes == 0].sum(dim=1)
    panels = {
        "few": ("12 samples: below 1", r"$\rho$", "rho", (0.0, 1.6), [few]),
        "unequal": ("unequal classes: no rise", "loss of $I_2$, $I_3$", "loss", (0.0, 0.9), []),
        "rare": (
            "a rare class: apart",
            "$s_3/s_2$",
            "singles",
            (0.4, 1.2),
            [ratio.data(broken["rare"], "singles").mean()],
        ),
        "repeated": ("repeated words: own limits", r"$\rho$", "rho", (0.9, 1.6), ratio.data(broken["repeated"], "rho")),
        "no common": ("no common word: $I_4$ stays", "$s_4/s_1$", "fourth", (0.0, 1.0), fourth),
        "small readout": ("small readout: it grows", r"$\|\omega\|^2/\|\omega(0)\|^2$", "growth", (0.5, 2e4), []),
        "large": ("large start: no balance", "$s_3/s_2$", "singles", (0.0, 4.5), []),
        "step": (r"step $\eta = 0.1$: thrown out", r"$\rho$", "rho", (-3, 3), []),
        "label": ("another label: falls", r"$10^4\,\Delta\Phi_{12}$", "one two", (-0.4, 0.8), []),
    }
    figure, grid = plot.figure(3, 3, height=1.9, sharex=True)
    for axes, (name, (title, label, curve, limits, known)) in zip(grid.flat, panels.items(), strict=True):
        for run, colour in ((base, "blue"), (broken[name], "orange")):
            plot.measured(axes, run["tau"], seen(run)[curve], colour)
        for level in known:
            plot.theory(axes, [1e3, 1e5], [float(level)] * 2)
        axes.set(ylim=limits, **clock(0.3, 1e5, ""))
        axes.set_title(title, fontsize=8.5)
        axes.set_ylabel(label, fontsize=8.5)
    grid[1, 2].set_yscale("log")
    for axes in grid[-1]:
        axes.set_xlabel(r"$\tau$")
    for axes, level in ((grid[0, 1], np.log(2)), (grid[0, 2], 1), (grid[2, 0], 1), (grid[2, 2], 0)):
        plot.levels(axes, [level])
    for axes in (grid[0, 0], grid[1, 0], grid[2, 1]):
        axes.axhspan(*balance.RANGE, **BAND)
    return figure
