"""The figures of chapter 2: each takes claims and runs and returns a figure, with theory dashed over all the runs."""

from itertools import product

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import FancyBboxPatch

from attnflow import plot
from attnflow.cooccurrence import balance, ratio, reduced
from attnflow.cooccurrence.setting import WATCHED, later, watched

WORDS = ("blue", "sky", "red")  # words 0, 1, 2 in every figure
CLASSES = ("green", "blue", "sky", "purple")  # I_1 .. I_4
NAMES = (r"$I_1$ both", r"$I_2$ first only", r"$I_3$ second only", r"$I_4$ neither")
LOOKS = {  # colours and labels of the lines of a quantity
    "gamma": (WORDS, [rf"$\gamma_{word}$" for word in (1, 2, 3)]),
    "class_loss": (CLASSES, NAMES),
    "shares": (CLASSES[1:], [f"$s_{index}/s_1$" for index in (2, 3, 4)]),
    "watched": (("blue", "sky", "red", "orange"), [rf"$\Phi_{{{query + 1}{key + 1}}}$" for query, key in WATCHED]),
    "gram": (("blue", "red", "orange"), ("(1, 2)", "(1, 3)", "(2, 3)")),
}


def clock(first, last, label=r"time $\tau = |\omega(0)|^2\,t$"):
    """Settings of a logarithmic time axis from ``first`` to ``last``, with its ``label``."""
    return {"xscale": "log", "xlim": (first, last), "xlabel": label}


def task_picture(tokens, classes):
    """One sample of each class as a row of words. tokens: (n, L); classes: (n,)."""
    figure, axes = plot.figure(height=2.3)
    axes.axis("off")
    axes.set(xlim=(-1.7, tokens.shape[1] + 1.2), ylim=(-0.2, 4.1))
    for index, name in enumerate(NAMES):
        height, style = 3.55 - index, {"boxstyle": "round,pad=0.02", "fc": "white", "lw": 1.8}
        axes.text(-0.25, height, name, ha="right", va="center", fontsize=9)
        for place, word in enumerate(tokens[classes == index][0].tolist()):
            look = {"color": plot.COLOURS[WORDS[word]] if word < 3 else "#BBBBBB", "fontsize": 10}
            axes.add_patch(FancyBboxPatch((place + 0.08, height - 0.35), 0.84, 0.7, ec=look["color"], **style))
            axes.text(place + 0.5, height, f"$e_{{{word + 1}}}$", ha="center", va="center", **look)
        axes.text(tokens.shape[1] + 0.2, height, "$y = -1$" if index else "$y = +1$", va="center", fontsize=9)
    return figure


def drift_figure(claim, kept, adam):
    """Drift of the laws against the step, with the order that each ``claim`` predicts; ``kept`` by descent, not by ``adam``."""
    figure, (left, right) = plot.figure(2, sharey=True, ylabel="drift")
    lines = (
        ("query-key", "blue", "$D_{QK}$"),
        ("value-output", "orange", "$D_{VO}$"),
        ("key sum", "green", r"$\mathbf{1}^\top W_K$"),
        ("off signs", "purple", r"$W_O(I-\xi\xi^\top/o)$"),
        ("query sum", "red", r"$\mathbf{1}^\top W_Q$, no law"),
    )
    for axes, record, shown, title in ((left, kept, lines, "descent"), (right, adam, lines[:2], "Adam")):
        plot.scaling(axes, [(record[name], colour, label) for name, colour, label in shown], record["steps"])
        axes.set_title(title)
    for name, _, _ in lines[:2]:
        plot.loglog_guide(left, kept["steps"], float(kept[name][0].median()), plot.predicted(claim[f"law-{name}"]))
    left.plot([], [], ls="--", color=plot.COLOURS["black"], label="order 1")
    left.legend(loc="center", bbox_to_anchor=(0.5, 0.26), fontsize=7, ncols=2)
    right.legend(loc="center")
    return figure


def phases_figure(claim, run, last=3e4):
    """The two phases of a ``run`` in six panels up to tau = ``last``, theory dashed, the boundary that a ``claim`` predicts."""
    asked, tau, low = run["task"], run["tau"], {"loc": "lower left"}
    flow, taus = reduced.Reduced(asked.samples, asked.length, asked.fractions), np.geomspace(0.05, last, 400)
    solved, boundary = flow.solve(taus), plot.predicted(claim["boundary"], run)
    drive = reduced.attention_drive(solved, flow, run["width"], run["inner"], float(run["readout"][0].mean()))
    known = solved | {"shares": solved["shares"][:, 1:], "watched": 1e4 * watched(drive)}
    seen = dict(run) | {
        "shares": run["shares"][..., 1:],
        "watched": 1e4 * (run["watched"] - run["watched"][:1]),
        "gram": run["gram"] - run["gram"][:1],
    }
    lines = {
        name: plot.family(tau, seen[name], *look, (taus, known[name]) if name in known else ())
        for name, look in LOOKS.items()
    }
    late = taus[taus >= boundary], solved["rho"][taus >= boundary]
    lines["shares"][:0] = [(tau, later(run, run["rho"]), "orange", r"$\rho$, from $\tau_\star$ on", *late)]
    panels = (
        (lines["gamma"], low, "token scores", (-13, 11), {}),
        (lines["class_loss"], low, "class losses", (0, 0.92), {"xlim": (0.3, 300)}),
        (
            lines["shares"],
            {"loc": "center right", "bbox_to_anchor": (1, 0.6), "ncols": 2},
            "ratios of sums",
            (-0.05, 1.65),
            {},
        ),
        (lines["class_loss"], None, "class losses", (1e-4, 2), {"yscale": "log"}),
        (lines["watched"], low | {"ncols": 2}, r"change of $\Phi$, in $10^{-4}$", (-0.6, 0.7), {}),
        (lines["gram"], low, r"change of $W_VW_V^\top$", (-1.1, 0.9), {}),
    )
    figure, grid = plot.figure(2, 3, height=2.25)
    for axes, (shown, legend, label, limits, more) in zip(grid.flat, panels, strict=True):
        plot.panel(axes, shown, legend, ylabel=label, ylim=limits, **clock(0.3, last) | more)
        plot.phase(axes, 0.3, boundary, 0, "Phase 1")
        plot.phase(axes, boundary, axes.get_xlim()[1], 1, "Phase 2")
    plot.levels(grid[0, 1], [np.log(2)])
    plot.levels(grid[1, 0], balance.predicted(asked.samples, asked.length), color=plot.COLOURS["black"], lw=0.9, ls=":")
    return figure


def dual_figure(distinct, repeated):
    """Loss derivatives at the end against the dual variables of the same data, sample by sample, both normalised.

    distinct, repeated: runs with distinct and with repeated random words.
    """
    figure, panels = plot.figure(2, ylabel=r"loss derivative $g_i$, share of the sum")
    for axes, run, title in zip(panels, (distinct, repeated), ("distinct", "repeated"), strict=True):
        shares = ratio.sample_shares(run)
        for across, up in zip(*shares, strict=True):
            for index, colour in enumerate(CLASSES):
                inside = run["classes"].numpy() == index
                axes.plot(across[inside], up[inside], "o", ms=3, alpha=0.6, color=plot.COLOURS[colour])
        plot.theory(axes, [0, shares[0].max()], [0, shares[0].max()])
        axes.set(title=f"{title} random words", xlabel=r"dual variable $\nu_i$, share of the sum")
    for name, colour in zip(NAMES, CLASSES, strict=True):
        panels[0].plot([], [], "o", ms=3, color=plot.COLOURS[colour], label=name)
    panels[0].legend(fontsize=7)
    return figure


def paper_figure(arrays, names):
    """The paper's two figures under each reading: attention scores above, losses below.

    arrays: of the stored sweep; names: of the readings.
    """
    figure, panels = plot.figure(2, 2, height=2.5, sharex=True)
    for column, name in enumerate(names):
        (top, bottom), kept = panels[:, column], {key: values[column] for key, values in arrays.items()}
        epochs, losses = kept["epochs"], np.dstack([kept["class_loss"], kept["loss"]])
        lines = plot.family(epochs, losses, (*CLASSES, "black"), (*NAMES, "all"))
        plot.panel(top, plot.family(epochs, 1e3 * watched(kept["scores"]), *LOOKS["watched"]), title=name, xscale="log")
        plot.panel(bottom, lines, yscale="log", xlabel="epoch", ylim=(1e-6, 20), xlim=(1, epochs[-1]))
        for axes, first in product((top, bottom), kept["first"]):
            axes.axvline(first, color="#999999", lw=0.7, ls=":")
        plot.levels(top, [0])
    for axes, label in zip(panels[:, 0], (r"change of $\Phi$, in $10^{-3}$", "losses"), strict=True):
        axes.set_ylabel(label)
        axes.legend(fontsize=7)
    return figure


def diagram_figure(lengths, samples, measured, undecided=0.02):
    r"""The map of $\rho$ over n and L: predicted left, measured right, with both predicted lines on each.

    lengths: (J,); samples: (I,); measured: (J, I), means over runs; undecided: cells whose prediction is closer than this to
    the lower end of the range or to the edge where class 4 becomes a support vector (in $s_4/s_1$) carry a question mark.
    """
    _, fourth, rho = np.moveaxis([[balance.predicted(count, length) for count in samples] for length in lengths], -1, 0)
    doubtful = (np.abs(rho - balance.RANGE[0]) < undecided) | ((fourth > 0) & (fourth < undecided))
    figure, panels = plot.figure(2, height=3.0, sharey=True, ylabel="length $L$")
    colours = ListedColormap(["#B5532A", "#E3A27A", "#D9E4EF", "#A6C4E0", "#6A9CC8", "#31699E"])
    shades = BoundaryNorm([0.4, 0.8, 1.0, 1.1, 1.2, 1.3, 1.5], colours.N)
    across = np.linspace(0, len(samples) - 1, 200)
    counts = np.interp(across, np.arange(len(samples)), samples)
    for axes, values, title in zip(panels, (rho, measured), ("predicted", "measured"), strict=True):
        image = axes.imshow(values, cmap=colours, norm=shades, aspect="auto", origin="lower")
        axes.set(title=title, xlabel="samples $n$", xlim=(-0.5, len(samples) - 0.5), ylim=(-0.5, len(lengths) - 0.5))
        axes.set_xticks(range(len(samples)), samples, fontsize=7.5)
        axes.set_yticks(range(len(lengths)), lengths)
        for zero, style in ((balance.lower_end() - balance.SAMPLES, {}), (balance.edge(), {"lw": 1.4, "ls": ":"})):
            plot.theory(axes, across, balance.lengths_at(zero, counts) - lengths[0], zorder=2, **style)
        for row, column in zip(*np.nonzero(doubtful), strict=True):
            axes.text(column, row, "?", ha="center", va="center", fontsize=10, weight="bold", color="#222222")
    figure.colorbar(image, ax=panels, label=r"$\rho$ at the end", ticks=shades.boundaries, shrink=0.9)
    return figure


def attention_figure(claim, freezing, small, large):
    r"""What freezing attention changes, and the ratio from the end of Phase 1 on, for small and large initial weights.

    claim: gives the limit; freezing: $c_0$ -> record of ``stops.freezing``; small, large: runs with $c_0 = 0.1$ and 16.
    """
    figure, (left, right) = plot.figure(2)
    gaps = [
        (record["tau"][1:], record["distance"][1:], colour, f"$c_0 = {scale:g}$")
        for (scale, record), colour in zip(freezing.items(), ("blue", "green", "red"), strict=True)
    ]
    ratios = [
        (run["tau"], later(run, run["rho"]), colour, label)
        for run, colour, label in ((small, "blue", "$c_0 = 0.1$"), (large, "red", "$c_0 = 16$"))
    ]
    plot.panel(
        left,
        gaps,
        {"loc": "lower right", "fontsize": 8},
        yscale="log",
        ylim=(1e-12, 1e-1),
        title="attention frozen",
        xlabel=r"time $\tau$",
        ylabel="relative change of the loss",
    )
    plot.panel(right, ratios, ylabel=r"$\rho$ from $\tau_\star$ on", ylim=(-0.5, 3.2), **clock(3, 1e3))
    plot.levels(right, balance.RANGE)
    plot.theory(right, [3, 1e3], [plot.predicted(claim["balance-ratio"], small)] * 2, "predicted limit")
    right.legend(loc="upper left", ncols=2)
    return figure


def stops_figure(base, broken):
    """The runs of ``setting.BROKEN``, ``broken``, by name in red beside ``base`` in blue, with the level that matters dashed."""

    def seen(run):
        change = 1e4 * (run["watched"] - run["watched"][:1])
        return {
            "rho": later(run, run["rho"]),
            "loss": run["class_loss"][..., 1:3].mean(dim=-1),
            "singles": later(run, run["singles"]),
            "second": later(run, run["shares"][..., 1]),
            "one common": change[..., 2],
            "one two": change[..., 0],
            "growth": (run["readout"] / run["readout"][:1]).log10(),
        }

    limit = balance.predicted(base["task"].samples, base["task"].length)[0]
    panels = {
        "few": ("few samples, n = 12", r"$\rho$", "rho", (0.0, 1.6), balance.RANGE[0]),
        "unequal": ("unequal classes", "loss of $I_2$, $I_3$", "loss", (0.0, 0.9), np.log(2)),
        "rare": ("a rare class $I_3$", "$s_3/s_2$", "singles", (0.4, 1.2), 1.0),
        "repeated": ("repeated words", "$s_2/s_1$", "second", (0.55, 0.85), limit),
        "no common": ("no common word", r"$10^4\,\Delta\Phi_{13}$", "one common", (-0.8, 0.4), 0.0),
        "small readout": ("small readout", r"$\log_{10}|\omega|^2/|\omega(0)|^2$", "growth", (-0.5, 4), 0.0),
        "large": ("large initial weights", "$s_3/s_2$", "singles", (0.0, 3.0), 1.0),
        "step": (r"step $\eta = 0.1$", r"$\rho$", "rho", (-3, 3), balance.RANGE[0]),
        "label": ("another label", r"$10^4\,\Delta\Phi_{12}$", "one two", (-0.4, 0.8), 0.0),
    }
    figure, grid = plot.figure(3, 3, height=1.9)
    for axes, (name, (title, label, curve, limits, level)) in zip(grid.flat, panels.items(), strict=True):
        lines = [
            (run["tau"], seen(run)[curve], colour, None) for run, colour in ((base, "blue"), (broken[name], "red"))
        ]
        plot.panel(axes, lines, ylim=limits, **clock(0.3, 1e5, r"$\tau$"))
        plot.theory(axes, [0.3, 1e5], [level, level], lw=1.2)
        axes.set_title(title, fontsize=8.5)
        axes.set_ylabel(label, fontsize=8.5)
    return figure
