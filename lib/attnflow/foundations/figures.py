"""The figures of chapter 1: each takes records and returns a figure, with theory dashed over all the runs.

A dashed line of a claim is drawn from what the claim predicts, a dashed curve from a function of the chapter's theory.
"""

import numpy as np

from attnflow import plot, runs
from attnflow.foundations import theory

NAMES = {
    "query-key": ("blue", r"$D_{QK}$"),
    "value-output": ("green", r"$D_{VO}$"),
    "neuron": ("purple", r"$\delta_j$, ReLU"),
}
FAINT = {"color": "#999999", "ls": (0, (4, 2)), "lw": 0.8}
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}


def labelled(axes, legend=None, **labels):
    """Write a ``legend``, given by its options, and further ``labels`` on some ``axes``. Returns their figure."""
    axes.set(**labels)
    axes.legend(**(legend or {}))
    return axes.figure


def panel(axes, rows, steps, guides, legend=None, **labels):
    """Several quantities against the step on ``axes``, and the dashed orders that claims predict for them.

    rows: of (values (J, S), colour, label), at ``steps`` (J,); guides: of (values, claim, label): a line of the order that the
    claim predicts, through the median at the largest step; legend, labels: of the axes. Returns the figure.
    """
    plot.scaling(axes, rows, steps)
    for values, claim, label in guides:
        plot.loglog_guide(axes, steps, float(values[0].median()), plot.predicted(claim), label)
    return labelled(axes, legend, **labels)


def layer_picture():
    """The layer as boxes and arrows: which factors meet in a product, and so which of them are balanced."""
    figure, axes = plot.diagram(
        boxes=[
            ("$X$\ntokens", 0.9, 2.0, "black"),
            ("$W_Q$", 3.0, 3.3, "blue"),
            ("$W_K$", 3.0, 2.2, "blue"),
            ("$W_V$", 3.0, 0.7, "green"),
            ("$S$\nsoftmax", 5.2, 2.75, "black"),
            ("$S X W_V$", 6.6, 0.7, "black"),
            ("$W_O$", 8.1, 0.7, "green"),
            ("$F$\noutput", 9.4, 0.7, "black"),
        ],
        links=[(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 5), (4, 5), (5, 6), (6, 7)],
        size=(10, 4, 2.5),
        **{"half": 0.48, "text": 9, "line": 1.6, "head": 9, "gap": 24},
    )
    axes.text(3.0, 3.85, "meet in $W_Q W_K^\\top$: balanced", ha="center", color=plot.COLOURS["blue"], fontsize=8.5)
    axes.text(5.0, 0.02, "meet in $W_V W_O$: balanced", ha="center", color=plot.COLOURS["green"], fontsize=8.5)
    return figure


def order_figure(claim, descent, heun, adam):
    """Distance to the flow against the step, with dashed lines of order 1 and 2.

    claim: name -> Claim; descent, heun, adam: records of the three methods.
    """
    return panel(
        plot.figure()[1],
        [(descent["error"], "blue", "descent"), (heun["error"], "green", "Heun"), (adam["error"], "red", "Adam")],
        descent["steps"],
        [
            (descent["error"], claim["descent-order"], "order 1, order 2"),
            (heun["error"], claim["heun-order"], None),
        ],
        BESIDE,
        ylabel="relative distance to the flow",
    )


def drift_figure(claim, kept, relu, skip, gaussian):
    """Drift of the laws against the step: kept ones fall along the dashed order 1, broken ones stay.

    claim: name -> Claim; kept, relu, skip, gaussian: records of the layer as it is, and with one assumption broken.
    """
    figure, (left, right) = plot.figure(2, sharey=True)
    laws = {"query-key": kept, "value-output": kept, "neuron": relu}
    panel(
        left,
        [(record[name], *NAMES[name]) for name, record in laws.items()],
        kept["steps"],
        [(kept["value-output"], claim["law-value-output"], "order 1")],
        title="laws that hold",
        ylabel="drift of the balance",
    )
    return panel(
        right,
        [
            (skip["query-key"], "orange", "$D_{QK}$, $W_K$ used twice"),
            (gaussian["query-key"], "red", "$D_{QK}$, Gaussian kernel"),
            (relu["value-output"], "sky", "$D_{VO}$, ReLU between"),
        ],
        kept["steps"],
        [(skip["query-key"], claim["rotation"], "order 0")],
        title="one assumption broken",
    )


def breaking_figure(claim, descent, adam):
    """Drift over movement against the step, far beyond small steps: descent from lawful to lawless, Adam never lawful.

    claim: name -> Claim, of which the order at small steps is drawn; descent, adam: records of the two methods.
    """
    _, axes = plot.figure()
    share, other = (record["query-key"] / record["query alone"] for record in (descent, adam))
    steps, order = np.array(descent["steps"]), plot.predicted(claim["law-query-key"])
    plot.scaling(axes, [(share, "blue", "descent"), (other, "red", "Adam")], steps)
    plot.theory(axes, steps, float(share[-1].median()) * (steps / steps[-1]) ** order, "order 1")
    plot.levels(axes, [1], label=r"as much as $W_Q^\top W_Q$ itself")
    # over two decades the powers of ten are labelled, not the steps: setting the scale again brings them back
    return labelled(
        axes, {"loc": "lower right"}, xscale="log", ylabel=r"drift of $D_{QK}$ over change of $W_Q^\top W_Q$"
    )


def decay_figure(lawful, broken):
    r"""Size of both balances under weight decay, with the dashed $e^{-2\lambda t}$.

    lawful, broken: records with decay on all matrices and on one.
    """
    figure, panels = plot.figure(2, sharey=True, ylabel=r"$\|D(t)\| / \|D(0)\|$")
    for axes, record, title in zip(panels, (lawful, broken), ("all matrices", "$W_Q$ and $W_V$ alone"), strict=True):
        for name, size in record["size"].items():
            plot.measured(axes, record["times"], size / size[0], *NAMES[name])
        plot.theory(axes, record["times"], (float(record["exponent"]) * record["times"]).exp(), r"$e^{-2\lambda t}$")
        labelled(axes, {"loc": "lower left"}, yscale="log", xlabel="time $t$", title=f"decay on {title}")
        plot.ticks(axes.yaxis, (0.2, 0.5, 1.0))
    return figure


def small_start_figure(record):
    r"""Relative imbalance of value and output along training from small starts, as in a ``record`` of two sizes.

    The dashed marks at the end are no closed form: they carry the last measured imbalance of each run of the *larger* start
    over to the smaller one, by the ratio of $\varepsilon^2$, the degree of a balance. What is predicted is that ratio alone.
    """
    _, axes = plot.figure()
    scales, last = record["scales"], record["times"][-6:]
    for scale, values, colour in zip(scales, record["relative"], ("blue", "green"), strict=True):
        plot.measured(axes, record["times"], values, colour, rf"$\varepsilon = {scale}$")
    less = (scales[-1] / scales[0]) ** theory.balance_degree()
    ends = record["relative"][-1, -1] / less
    names = [rf"the end of $\varepsilon = {scales[-1]}$, divided by {less:.0f}", *["_"] * (len(ends) - 1)]
    plot.theory(axes, last, ends.expand(len(last), -1), names)
    return labelled(axes, yscale="log", xlabel="time $t$", ylabel=r"$\|D_{VO}\| / \|W_V\|\|W_O\|$")


def logistic_figure(record):
    """The product u and the loss along training, from a ``record``, with the closed form dashed and three phases shaded."""
    figure, panels = plot.figure(2)
    target, times, predicted = record["target"], record["times"], record["predicted"]
    edges = [
        0,
        *(theory.arrival_time(record["start"], share * target, target, 0.0) for share in (0.1, 0.9)),
        float(times[-1]),
    ]
    rows = (
        (record["u"], predicted, {"ylabel": r"$u = \beta^\top W_V W_O$", "ylim": (0, 1.18 * target)}),
        (
            record["loss"],
            (target - predicted) ** 2 / 2,
            {"yscale": "log", "ylabel": r"loss $\mathcal{L}$", "ylim": (None, 3)},
        ),
    )
    for axes, (values, curve, labels) in zip(panels, rows, strict=True):
        for index, name in enumerate(("wait", "learn", "settle")):
            plot.phase(axes, *edges[index : index + 2], index, name)
        plot.measured(axes, times, values, "blue", "four trained matrices")
        plot.theory(axes, times, curve, "closed form")
        axes.set(xlim=(0, edges[-1]), xlabel="time $t$", **labels)
    panels[0].legend(loc="lower right")
    return figure


def starts_figure(balanced, unbalanced):
    """The learned product of two kinds of start that compute one function, over the dashed closed forms.

    balanced, unbalanced: records of the solvable run, the second one with an imbalance.
    """
    _, axes = plot.figure()
    start, target = balanced["start"], balanced["target"]
    end = float(balanced["times"][-1])
    grid = target - (target - start) * np.geomspace(1, 1e-3, 300)
    for record, colour in ((unbalanced, "green"), (balanced, "blue")):
        imbalance = float(record["a"][0, 0] ** 2 - record["b"][0, 0] ** 2)
        plot.measured(axes, record["times"], record["u"], colour, f"$a^2 - b^2 = {abs(imbalance):.0f}$")
        clock = [theory.arrival_time(start, level, target, imbalance) for level in grid[1:]]
        plot.theory(axes, [0, *clock, end], [*grid, grid[-1]])
    axes.set(xlim=(0, end), ylim=(0, 1.1 * target), xlabel="time $t$", ylabel="what is learned, $u = ab$")
    plot.direct(axes)
    return axes.figure


def portrait_figure(record, reach=2.3):
    """The plane of both factors: dashed invariant curves and separatrix, measured trajectories by their side.

    record: of the runs; reach: of the plane, in both directions.
    """
    _, axes = plot.figure(width=7.2, height=4.8)
    grid, target = np.linspace(-reach, reach, 400), record["target"]
    laws, separatrix = theory.invariant_curves(grid, (0.25, 1.0, 2.25))
    for curve in laws:
        axes.plot(*curve, zorder=1, **FAINT)
    plot.theory(axes, *separatrix, label=r"separatrix $a + b = 0$", colour="red")
    lowest = np.linspace(target / reach, reach, 200)[:, None] * [1, -1]
    axes.plot(lowest, target / lowest, color=plot.COLOURS["black"], lw=2, label=["$ab = y$", "_"])
    axes.plot([], [], label="$a^2 - b^2 = c$", **FAINT)
    first, second = (runs.array(record[name].flatten(1)) for name in ("a", "b"))
    above = first[0] + second[0] > 0
    for side, sign, colour in ((above, ">", plot.COLOURS["blue"]), (~above, "<", plot.COLOURS["green"])):
        axes.plot(first[:, side], second[:, side], color=colour, lw=1.1, zorder=3)
        axes.plot(first[0, side], second[0, side], "o", color=colour, ms=3, zorder=4)
        axes.plot([], [], color=colour, label=f"runs from $a + b {sign} 0$")
    return labelled(
        axes,
        BESIDE,
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        aspect="equal",
        xlabel="value factor $a$",
        ylabel="output factor $b$",
    )


def arrival_figure(record):
    """Time to half the target against the imbalance, from a ``record``: the dashed closed form under the measured runs."""
    _, axes = plot.figure()
    fine, orange = np.linspace(0, max(record["imbalances"]), 100), plot.COLOURS["orange"]
    curve = [theory.arrival_time(**record["known"], imbalance=balance) for balance in fine]
    plot.measured(axes, record["imbalances"], record["times"], "blue", "measured", marker="o", ms=3.5, ls="none")
    plot.theory(axes, fine, curve, "closed form")
    axes.axhline(curve[0], color=orange, lw=1)
    axes.text(fine[-1], curve[0], "balanced formula ", color=orange, ha="right", va="bottom", fontsize=8.5)
    return labelled(
        axes,
        {"loc": "center right"},
        xlabel="imbalance $c = a^2 - b^2$",
        ylabel="time to $u = y/2$",
        ylim=(0, 1.2 * curve[0]),
    )
