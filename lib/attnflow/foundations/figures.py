"""The figures of chapter 1: each takes records and returns a figure, with theory dashed over all the runs."""

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from attnflow import plot
from attnflow.foundations import theory

LAWS = {
    "query-key": ("blue", r"$D_{QK}$"),
    "value-output": ("orange", r"$D_{VO}$"),
    "neuron": ("green", r"$\delta_j$, ReLU"),
}


def layer_picture():
    """The layer as boxes and arrows: which factors meet in a product, and so which of them are balanced."""
    figure, axes = plot.figure(height=2.5)
    axes.set(xlim=(0, 10), ylim=(0, 4))
    axes.axis("off")
    places = {
        "$X$\ntokens": (0.9, 2.0, "black"),
        "$W_Q$": (3.0, 3.3, "blue"),
        "$W_K$": (3.0, 2.2, "blue"),
        "$W_V$": (3.0, 0.7, "orange"),
        "$S$\nsoftmax": (5.2, 2.75, "black"),
        "$S X W_V$": (6.6, 0.7, "black"),
        "$W_O$": (8.1, 0.7, "orange"),
        "$F$\noutput": (9.4, 0.7, "black"),
    }
    for text, (x, y, colour) in places.items():
        box = FancyBboxPatch(
            (x - 0.48, y - 0.33), 0.96, 0.66, boxstyle="round,pad=0.04", fc="white", ec=plot.COLOURS[colour], lw=1.6
        )
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", fontsize=9)
    links = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 5), (4, 5), (5, 6), (6, 7)]
    spots = list(places.values())
    for start, end in links:
        arrow = FancyArrowPatch(
            spots[start][:2],
            spots[end][:2],
            arrowstyle="-|>",
            mutation_scale=9,
            color="#777777",
            shrinkA=24,
            shrinkB=24,
        )
        axes.add_patch(arrow)
    axes.text(3.0, 3.85, "meet in $W_Q W_K^\\top$: balanced", ha="center", color=plot.COLOURS["blue"], fontsize=8.5)
    axes.text(5.0, 0.02, "meet in $W_V W_O$: balanced", ha="center", color=plot.COLOURS["orange"], fontsize=8.5)
    return figure


def order_figure(descent, heun, adam):
    """Distance to the flow against the step, with dashed lines of order 1 and 2."""
    figure, axes = plot.figure()
    for record, colour, label in ((descent, "blue", "descent"), (heun, "green", "Heun"), (adam, "red", "Adam")):
        plot.measured(axes, record["steps"], record["error"], colour, label, marker="o", ms=3)
    plot.loglog_guide(axes, descent["steps"], float(descent["error"][0].median()), 1, "order 1, order 2")
    plot.loglog_guide(axes, heun["steps"], float(heun["error"][0].median()), 2)
    axes.set(xscale="log", yscale="log", xlabel=r"step $\eta$", ylabel="relative distance to the flow")
    plot.ticks(axes.xaxis, descent["steps"])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def drift_figure(kept, relu, skip, gaussian):
    """Drift of the laws against the step: kept ones fall along the dashed order 1, broken ones stay."""
    figure, (left, right) = plot.figure(2, sharey=True)
    for axes, title in ((left, "laws that hold"), (right, "one assumption broken")):
        axes.set(xscale="log", yscale="log", xlabel=r"step $\eta$", title=title)
    for record, name in ((kept, "query-key"), (kept, "value-output"), (relu, "neuron")):
        colour, label = LAWS[name]
        plot.measured(left, record["steps"], record[name], colour, label, marker="o", ms=3)
    plot.loglog_guide(left, kept["steps"], float(kept["value-output"][0].median()), 1, "order 1")
    broken = (
        (skip, "query-key", "blue", "$D_{QK}$, $W_K$ used twice"),
        (gaussian, "query-key", "purple", "$D_{QK}$, Gaussian kernel"),
        (relu, "value-output", "orange", "$D_{VO}$, ReLU between"),
    )
    for record, name, colour, label in broken:
        plot.measured(right, record["steps"], record[name], colour, label, marker="o", ms=3)
    plot.loglog_guide(right, skip["steps"], float(skip["query-key"][0].median()), 0, "order 0")
    left.set_ylabel("drift of the balance")
    for axes in (left, right):
        plot.ticks(axes.xaxis, kept["steps"])
        axes.legend()
    return figure


def breaking_figure(descent, adam):
    """Drift over movement against the step, far beyond small steps: descent from lawful to lawless, Adam never lawful."""
    figure, axes = plot.figure()
    for record, colour, label in ((descent, "blue", "descent"), (adam, "red", "Adam")):
        share = record["query-key"] / record["query alone"]
        plot.measured(axes, record["steps"], share, colour, label, marker="o", ms=3)
    anchor = (descent["query-key"] / descent["query alone"]).median(dim=1).values
    plot.theory(
        axes, descent["steps"], float(anchor[-1]) * np.array(descent["steps"]) / descent["steps"][-1], "order 1"
    )
    axes.axhline(1, color="#999999", lw=0.8)
    plot.ticks(axes.xaxis, descent["steps"])
    axes.text(descent["steps"][-1], 1.6, "at 1 the balance moves as much as its terms", fontsize=8, color="#555555")
    axes.set(
        xscale="log", yscale="log", xlabel=r"step $\eta$", ylabel=r"drift of $D_{QK}$ over change of $W_Q^\top W_Q$"
    )
    axes.legend(loc="lower right")
    return figure


def decay_figure(lawful, broken, rate):
    r"""Size of both balances under weight decay, with the dashed $e^{-2\lambda t}$."""
    figure, panels = plot.figure(2, sharey=True)
    titles = (r"decay on all matrices", r"decay on $W_Q$ alone")
    for axes, record, title in zip(panels, (lawful, broken), titles, strict=True):
        for name in ("query-key", "value-output"):
            colour, label = LAWS[name]
            plot.measured(axes, record["times"], record["size"][name] / record["size"][name][0], colour, label)
        plot.theory(axes, record["times"], np.exp(-2 * rate * np.asarray(record["times"])), r"$e^{-2\lambda t}$")
        axes.set(yscale="log", xlabel="time $t$", title=title)
        plot.ticks(axes.yaxis, (0.2, 0.5, 1.0))
        axes.legend(loc="lower left")
    panels[0].set_ylabel(r"$\|D(t)\| / \|D(0)\|$")
    return figure


def small_start_figure(record):
    r"""Relative imbalance of value and output along training from small starts; dashed: the factor $\varepsilon^2$."""
    figure, axes = plot.figure()
    for index, (scale, colour) in enumerate(zip(record["scales"], ("blue", "orange", "green"), strict=False)):
        plot.measured(axes, record["times"], record["relative"][index], colour, rf"$\varepsilon = {scale}$")
    factor = (record["scales"][0] / record["scales"][-1]) ** 2
    for run in range(record["relative"].shape[2]):
        end = record["relative"][-1, -1, run] * factor
        label = (
            rf"$\varepsilon = {record['scales'][-1]}$ at the end, times the ratio of $\varepsilon^2$"
            if run == 0
            else None
        )
        plot.theory(axes, record["times"][-6:], np.full(6, float(end)), label)
    axes.set(yscale="log", xlabel="time $t$", ylabel=r"$\|D_{VO}\| / \|W_V\|\|W_O\|$")
    axes.legend()
    return figure


def logistic_figure(record):
    """The product u and the loss along training; dashed: the closed form; shaded: its three phases."""
    figure, (left, right) = plot.figure(2)
    start, target = record["start"], record["target"]
    times = record["times"].numpy()
    predicted = theory.logistic(times, start, target)
    edges = [theory.arrival_time(start, share * target, target, 0.0) for share in (0.1, 0.9)]
    for axes in (left, right):
        axes.set_xlim(0, times[-1])
        for index, (low, high) in enumerate(zip([0, *edges], [*edges, times[-1]], strict=True)):
            plot.phase(axes, low, high, index, ("wait", "learn", "settle")[index])
        axes.set_xlabel("time $t$")
    plot.measured(left, times, record["u"], "blue", "four trained matrices")
    plot.theory(left, times, predicted, "closed form")
    left.set(ylabel=r"$u = \beta^\top W_V W_O$", ylim=(0, 1.18 * target))
    plot.measured(right, times, record["loss"], "blue")
    plot.theory(right, times, (target - predicted) ** 2 / 2)
    right.set(yscale="log", ylabel=r"loss $\mathcal{L}$", ylim=(None, 3))
    left.legend(loc="lower right")
    return figure


def portrait_figure(record, target=1.0):
    """The plane of both factors: dashed invariant curves and separatrix, measured trajectories by their side."""
    figure, axes = plot.figure(width=7.2, height=4.8)
    reach = 2.3
    grid = np.linspace(-reach, reach, 400)
    for balance in (0.25, 1.0, 2.25):
        arm = np.sqrt(balance + grid**2)
        for curve in ((arm, grid), (-arm, grid), (grid, arm), (grid, -arm)):
            axes.plot(*curve, color="#999999", ls=(0, (4, 2)), lw=0.8, zorder=1)
    axes.plot(grid, grid, color="#999999", ls=(0, (4, 2)), lw=0.8, zorder=1)
    plot.theory(axes, grid, -grid, label=r"separatrix $a + b = 0$", colour="red")
    arm = np.linspace(target / reach, reach, 200)
    for sign in (1, -1):
        axes.plot(
            sign * arm, sign * target / arm, color=plot.COLOURS["black"], lw=2, label="$ab = y$" if sign > 0 else None
        )
    first, second = (record[name].flatten(1).numpy() for name in ("a", "b"))
    for run in range(first.shape[1]):
        colour = plot.COLOURS["blue" if first[0, run] + second[0, run] > 0 else "orange"]
        axes.plot(first[:, run], second[:, run], color=colour, lw=1.1, zorder=3)
        axes.plot(first[0, run], second[0, run], "o", color=colour, ms=3, zorder=4)
    axes.plot([], [], color="#999999", ls=(0, (4, 2)), lw=0.8, label="$a^2 - b^2 = c$")
    axes.set(
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        aspect="equal",
        xlabel="value factor $a$",
        ylabel="output factor $b$",
    )
    for colour, side in (("blue", ">"), ("orange", "<")):
        axes.plot([], [], color=plot.COLOURS[colour], label=f"runs from $a + b {side} 0$")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def arrival_figure(record, start, target, level=0.5):
    """Time to half the target against the imbalance: the dashed closed form under the measured runs."""
    figure, axes = plot.figure()
    fine = np.linspace(0, max(record["imbalances"]), 100)
    curve = [theory.arrival_time(start, level * target, target, balance) for balance in fine]
    plot.measured(axes, record["imbalances"], record["times"], "blue", "measured", marker="o", ms=3.5, ls="none")
    plot.theory(axes, fine, curve, "closed form")
    balanced = theory.arrival_time(start, level * target, target, 0.0)
    axes.axhline(balanced, color=plot.COLOURS["orange"], lw=1)
    axes.text(
        fine[-1], balanced, "balanced formula ", color=plot.COLOURS["orange"], ha="right", va="bottom", fontsize=8.5
    )
    axes.set(xlabel="imbalance $c = a^2 - b^2$", ylabel="time to $u = y/2$", ylim=(0, 1.2 * balanced))
    axes.legend(loc="center right")
    return figure
