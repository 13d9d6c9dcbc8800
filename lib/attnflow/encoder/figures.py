"""The figures of chapter 3: each takes records and returns a figure, with theory dashed over all the runs."""

import numpy as np
import torch

from attnflow import plot, runs
from attnflow.encoder import bounds, rates, theorem, theory

INIT = {"lecun": "LeCun", "ntk": "NTK"}
SCALING = {0.5: ("green", r"$\tau_0 = k^{-1/2}$"), 1.0: ("blue", r"$\tau_0 = k^{-1}$")}
WIDTH, LOSS = "width $k$", r"$\mathcal{L}_t/\mathcal{L}_0$"
MARKED = {"marker": "o", "ms": 3}
SMALL = {"fontsize": 8}


def over_steps(axes, lines, title="", legend=None, **settings):
    """A panel over steps with a logarithmic axis of values, on ``axes``. lines, legend, settings: of ``plot.panel``; title."""
    plot.panel(axes, lines, legend, **{"title": title, "xlabel": "step", "yscale": "log"} | settings)


def widths_figure(widths, rows, label):
    """One panel over ``widths`` with points. rows: as of ``plot.loglog``; label: of the vertical axis. Returns a figure."""
    figure, axes = plot.figure()
    plot.loglog(axes, widths, rows, look=MARKED, xlabel=WIDTH, ylabel=label)
    plot.direct(axes)
    return figure


def encoder_picture():
    """The encoder as boxes and arrows: which factors meet in a product, and which through a ReLU."""
    boxes = [
        ("$X$\ntokens", 0.7, 1.9, "black"),
        ("$W_Q$", 2.4, 3.3, "blue"),
        ("$W_K$", 2.4, 2.3, "blue"),
        ("softmax\n" + r"$\tau_0$", 4.2, 2.8, "black"),
        (r"$\tilde X = SX$", 5.6, 1.0, "black"),
        ("$W_V$", 7.2, 1.0, "green"),
        ("ReLU", 8.5, 1.0, "black"),
        ("mean\n" + r"$\tau_1$", 9.8, 1.0, "black"),
        ("$W_O$", 11.1, 1.0, "green"),
    ]
    links = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4), (4, 5), (5, 6), (6, 7), (7, 8)]
    figure, axes = plot.diagram(boxes, links, size=(12, 4, 2.4))
    axes.text(3.1, 3.85, "meet in a product: balanced", ha="left", color=plot.COLOURS["blue"], fontsize=8.5)
    axes.text(
        9.1,
        0.2,
        "meet through a ReLU: balanced neuron by neuron",
        ha="center",
        color=plot.COLOURS["green"],
        fontsize=8.5,
    )
    return figure


def drift_figure(claim, plain, hidden, rated):
    """Drift of the laws against the step: kept ones fall along the dashed order, broken ones stay.

    claim: name -> Claim; plain, hidden, rated: records of the drift, with a trained $W_H$, and with learning rates of blocks.
    """
    steps, look = plain["steps"], {"look": MARKED, "xlabel": r"step $\eta$"}
    falling = plot.power_law(steps, plain["neuron"][0].median(), plot.predicted(claim["law-neuron"]))
    kept = [
        (plain["neuron"], "blue", "neuron"),
        (plain["query-key"], "green", "query-key"),
        (hidden["value-hidden"], "purple", "value-hidden"),
        (rated["neuron"], "sky", "neuron, own rates", *falling, "order 1"),
    ]
    level = plot.power_law(steps, hidden["neuron"][0].median(), 0)
    broken = [
        (hidden["neuron"], "orange", "neuron, $W_H$ trained"),
        (rated["neuron, plain"], "red", "neuron, rates ignored", *level, "order 0"),
    ]
    figure, (first, second) = plot.figure(2, sharey=True, ylabel="drift of the balance")
    plot.loglog(first, steps, kept, legend=SMALL | {"loc": "upper left"}, title="laws that hold", **look)
    plot.loglog(second, steps, broken, legend=SMALL | {"loc": "center right"}, title="one assumption broken", **look)
    return figure


def proof_figure(claim, record):
    """The derivation along a ``record`` of runs: every left over right side, and the smallest singular value over alpha.

    claim: name -> Claim.
    """
    steps, ends = record["steps"], runs.array(record["steps"])[[0, -1]]
    edge, kept = (2 * [claim[name].trial.holds.edge] for name in ("inequalities", "invariant"))
    labels = {"PL": "least gradient", "W_O": "$W_O$", "W_V": "$W_V$", "W_Q": "$W_Q$", "drift": "drift"}
    sides = zip(labels.items(), ("blue", "green", "purple", "red", "sky"), strict=True)
    left = [(steps[1:], record[name][1:], colour, label) for (name, label), colour in sides]
    right = [(steps, record["sigma"] / record["alpha"], "blue", None, ends, kept)]
    figure, (first, second) = plot.figure(2)
    over_steps(first, left, "left over right side", ylim=(1e-4, 3))
    plot.direct(first, gap=0.09)
    plot.theory(first, ends, edge)
    over_steps(second, right, r"$\sigma_{\min}(\Psi_t)/\alpha$", ylim=(0, 1.6), yscale="linear")
    second.text(ends[-1], kept[0] + 0.03, "what the proof keeps", ha="right", fontsize=8)
    return figure


def by_setting(records, curves, counted, label, **settings):
    """Panels over widths, one for each initialisation and scaling, with exponents that are counted dashed.

    records: (init, scaling) -> record; curves: name -> (colour, label); counted: (init, scaling) -> name -> exponent; label: of
    the vertical axis; settings: of all panels. Returns (figure, panels).
    """
    figure, panels = plot.figure(2, len(records) // 2, height=2.3, sharex=True, sharey=True)
    for axes, ((init, scaling), record) in zip(panels.flat, records.items(), strict=True):
        widths = record["widths"]
        plot.loglog(axes, widths, [(record[name], *look) for name, look in curves.items()], look=MARKED, **settings)
        for name, (colour, _) in curves.items():
            power = counted(init, scaling)[name]
            plot.theory(axes, *plot.power_law(widths, record[name][-1].log().mean().exp(), power), colour=colour)
        axes.set_title(f"{INIT[init]}, {SCALING[scaling][1]}")
    for axes, side in zip(panels[-1], panels[:, 0], strict=True):
        axes.set_xlabel(WIDTH)
        side.set_ylabel(label)
    for axes in panels.flat:  # when the shared limits are settled
        plot.direct(axes, gap=0.1)
    return figure, panels


def conditions_figure(records):
    """The conditions of the theorem over the width, measured, with the counted exponents dashed and 1 shaded.

    records: (init, scaling) -> record.
    """
    curves = {
        "A_O": ("blue", "(A) $W_O$"),
        "A_V": ("green", "(A) $W_V$"),
        "A_Q": ("purple", "(A) $W_Q$"),
        "B": ("red", "(B)"),
    }
    figure, panels = by_setting(records, curves, bounds.width_exponents, "left over right side", ylim=(1e-10, 1e3))
    for axes in panels.flat:
        axes.axhspan(1, 1e3, color=plot.PHASES[2], lw=0)
    panels[0, 0].text(0.04, 0.95, "holds", transform=panels[0, 0].transAxes, va="top", fontsize=8)
    return figure


def lazy_figure(records):
    """Movement at a fixed loss over the width, one panel a setting, with the counted exponents dashed.

    records: (init, scaling) -> record.
    """
    curves = {
        "W_O": ("blue", "$W_O$"),
        "W_V": ("green", "$W_V$"),
        "W_Q": ("purple", "$W_Q$"),
        "kernel": ("red", "kernel"),
    }
    return by_setting(records, curves, theory.movement, "movement over size")[0]


def exponent_figure():
    """Exponent of the sufficient width in the number of samples, over scalings, with the best radius dotted."""
    grid, blue, red = np.linspace(0.26, 1.26, 51), plot.COLOURS["blue"], plot.COLOURS["red"]
    best, least = [float(bounds.best_radius("lecun", s)[1]) for s in grid], float(bounds.least_scaling("ntk"))
    figure, axes = plot.figure(height=2.7)
    for init, colour in (("lecun", blue), ("ntk", red)):
        needed = np.array([float(bounds.required(init, scaling)) for scaling in grid])
        axes.fill_between(grid, needed, 9, color=colour, alpha=0.12, lw=0)
        plot.theory(axes, grid, needed, colour="blue" if init == "lecun" else "red")
    axes.plot(grid, best, color=blue, lw=1.2, ls=":")
    axes.axvline(least, color=red, lw=0.8, ls=":")
    for text, x, y, colour in (
        ("LeCun, He:\ncovered above", 0.55, 6.2, blue),
        ("NTK: covered above", 1.24, 7.2, red),
        ("NTK: no width\nis covered left of here", least - 0.01, 0.35, red),
        ("LeCun, best radius", 1.24, 0.55, blue),
    ):
        axes.text(x, y, text, color=colour, fontsize=8, ha="left" if x < least - 0.1 else "right")
    axes.set(
        xlabel=r"scaling $s$ in $\tau_0 = k^{-s}$",
        ylabel=r"exponent $e$ in $k \sim n^e$",
        ylim=(0, 9),
        xlim=(0.25, 1.26),
    )
    return figure


def rate_figure(wide, field):
    """Loss over steps with the dashed forecast of the kernel at the start: where it holds and where it fails.

    wide, field: records of wide NTK runs and of runs with the mean-field output.
    """
    figure, panels = plot.figure(2, sharey=True, ylabel=LOSS)
    for axes, record, title, colour in (
        (panels[0], wide, "NTK output, $k = 2048$", "blue"),
        (panels[1], field, "mean-field output", "orange"),
    ):
        steps, known, bound = record["steps"], rates.forecast(record), torch.exp(theorem.log_bound(record)).amax(dim=1)
        over_steps(axes, [(steps, record["loss"] / record["loss"][0], colour, None)], title, ylim=(1e-16, 3))
        plot.theory(axes, steps, known)
        axes.fill_between(*map(runs.array, (steps, bound)), 3, color=plot.PHASES[3], lw=0)
    panels[1].text(600, 3e-3, "dashed: forecast of $K_0$", ha="right", fontsize=8)
    panels[1].text(330, 1e-12, "runs", ha="left", fontsize=8, color=plot.COLOURS["orange"])
    return figure


def edge_figure(claim, records):
    """Loss over steps for several steps in units of the classical edge. claim: name -> Claim; records: unit -> record."""
    lines = [
        (record["steps"], record["loss"] / record["loss"][0], colour, rf"$\eta\mu_{{\max}} = {unit:g}$")
        for (unit, record), colour in zip(records.items(), ("blue", "green", "red"), strict=True)
    ]
    lines[-1] += [0, 60], 2 * [claim["edge"].trial.holds.edge]
    figure, axes = plot.figure()
    over_steps(axes, lines, ylim=(1e-8, 1e6), xlim=(0, 60), ylabel=LOSS)
    plot.direct(axes)
    return figure


def entropy_figure(record):
    """Entropy deficit at the start over the width, for several scalings, with the dashed formula of Gaussian logits.

    record: of :func:`attnflow.encoder.limits.deficits` over widths.
    """
    colours = ("red", "green", "purple", "blue", "sky")
    rows = [
        (record["deficit"][:, :, j], colour, f"$s = {s:g}$", record["widths"], record["predicted"][:, 0, j])
        for (j, s), colour in zip(enumerate(runs.array(record["scaling"][0, 0]).tolist()), colours, strict=True)
    ]
    return widths_figure(record["widths"], rows, r"entropy deficit $1 - H/\log L$")


def kernel_figure(half, one, given):
    r"""Distance of the kernel to its closed forms over the width, with the dashed sampling error of k neurons.

    half, one: records at $\tau_0 = k^{-1/2}$ and $k^{-1}$; given: the record of the distance given the attention, at
    $\tau_0 = k^{-1/2}$.
    """
    figure, (first, second) = plot.figure(2, sharey=True, ylabel="relative distance")
    look = {"look": MARKED, "legend": SMALL, "xlabel": WIDTH}
    known, apart = one["sampled"].mean(dim=1).sqrt(), given["spread"].mean(dim=1).sqrt()
    rows = [(half["error"].sqrt(), *SCALING[0.5])]
    rows += [(one["error"].sqrt(), *SCALING[1.0], one["widths"], known, "sampling error")]
    plot.loglog(first, one["widths"], rows, title="closed form of uniform attention", **look)
    rows = [(given["conditional"].sqrt(), *SCALING[0.5], given["widths"], apart, "sampling error")]
    plot.loglog(second, given["widths"], rows, title="closed form given the attention", **look)
    return figure


def pairs_figure(records):
    """Mean-matched pairs: share of the loss left after 300 steps, over the width. records: scaling -> record.

    Shares below 1e-8 are drawn there.
    """
    rows = [(record["left"].clamp_min(1e-8), *SCALING[scaling]) for scaling, record in records.items()]
    return widths_figure(records[0.5]["widths"], rows, "share of the loss left")
