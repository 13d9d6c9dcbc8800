"""The figures of chapter 3: each takes records and returns a figure, with theory dashed over all the runs."""

import numpy as np
import torch

from attnflow import plot
from attnflow.encoder import bounds, rates, theorem, theory

INIT = {"lecun": "LeCun", "ntk": "NTK"}
SCALING = {0.5: ("orange", r"$\tau_0 = k^{-1/2}$"), 1.0: ("blue", r"$\tau_0 = k^{-1}$")}
WIDTH, LOSS = "width $k$", r"$\mathcal{L}_t/\mathcal{L}_0$"
MARKED = {"marker": "o", "ms": 3}
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 8}


def over_steps(axes, lines, title="", legend=None, **settings):
    """A panel over steps with a logarithmic axis of values, on ``axes``. lines, legend, settings: of ``plot.panel``; title."""
    plot.panel(axes, lines, legend, **{"title": title, "xlabel": "step", "yscale": "log"} | settings)


def widths_figure(widths, rows, label):
    """One panel over ``widths`` with points. rows: as of ``plot.loglog``; label: of the vertical axis. Returns a figure."""
    figure, axes = plot.figure()
    plot.loglog(axes, widths, rows, look=MARKED, legend=BESIDE, xlabel=WIDTH, ylabel=label)
    return figure


def encoder_picture():
    """The encoder as boxes and arrows: which factors meet in a product, and which through a ReLU."""
    boxes = [
        ("$X$\ntokens", 0.7, 1.9, "black"),
        ("$W_Q$", 2.4, 3.3, "blue"),
        ("$W_K$", 2.4, 2.3, "blue"),
        ("softmax\n" + r"$\tau_0$", 4.2, 2.8, "black"),
        (r"$\tilde X = SX$", 5.6, 1.0, "black"),
        ("$W_V$", 7.2, 1.0, "orange"),
        ("ReLU", 8.5, 1.0, "black"),
        ("mean\n" + r"$\tau_1$", 9.8, 1.0, "black"),
        ("$W_O$", 11.1, 1.0, "orange"),
    ]
    links = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4), (4, 5), (5, 6), (6, 7), (7, 8)]
    figure, axes = plot.diagram(boxes, links, size=(12, 4, 2.4))
    axes.text(3.1, 3.85, "meet in a product: balanced", ha="left", color=plot.COLOURS["blue"], fontsize=8.5)
    axes.text(8.5, 0.2, "meet through a ReLU: balanced neuron by neuron", ha="center", color="#B37700", fontsize=8.5)
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
        (rated["neuron"], "orange", "neuron, own rates", *falling, "order 1"),
    ]
    level = plot.power_law(steps, hidden["neuron"][0].median(), 0)
    broken = [
        (hidden["neuron"], "blue", "neuron, $W_H$ trained"),
        (rated["neuron, plain"], "orange", "neuron, rates ignored", *level, "order 0"),
    ]
    figure, (first, second) = plot.figure(2, sharey=True, ylabel="drift of the balance")
    plot.loglog(first, steps, kept, legend={"loc": "upper left", "fontsize": 8}, title="laws that hold", **look)
    plot.loglog(
        second, steps, broken, legend={"loc": "center right", "fontsize": 8}, title="one assumption broken", **look
    )
    return figure


def proof_figure(claim, record):
    """The derivation along a ``record`` of runs: every left over right side, and the smallest singular value over alpha.

    claim: name -> Claim.
    """
    steps, ends = record["steps"], record["steps"][[0, -1]]
    edge, kept = (2 * [claim[name].trial.holds.edge] for name in ("inequalities", "invariant"))
    labels = {"PL": "gradient from below", "W_O": r"$\nabla_{W_O}$", "W_V": r"$\nabla_{W_V}$", "W_Q": r"$\nabla_{W_Q}$"}
    sides = zip((labels | {"drift": "drift of the features"}).items(), plot.COLOURS, strict=False)
    left = [(steps[1:], record[name][1:], colour, label) for (name, label), colour in sides]
    left[-1] += (ends, edge)
    right = [(steps, record["sigma"] / record["alpha"], "blue", "runs", ends, kept, "what the proof keeps")]
    figure, (first, second) = plot.figure(2)
    over_steps(first, left, "left over right side", {"loc": "lower left", "ncols": 2}, ylim=(1e-6, 3))
    title, legend = r"$\sigma_{\min}(\Psi_t)/\alpha$", {"loc": "upper right", "fontsize": 8}
    over_steps(second, right, title, legend, ylim=(0, 1.6), yscale="linear")
    return figure


def by_setting(records, curves, counted, label, size, **settings):
    """Panels over widths, one for each initialisation and scaling, with exponents that are counted dashed.

    records: (init, scaling) -> record; curves: name -> (colour, label); counted: (init, scaling) -> name -> exponent; label: of
    the vertical axis; size: of writing, of titles and of widths; settings: of all panels. Returns (figure, panels).
    """
    figure, panels = plot.figure(len(records), sharey=True, ylabel=label)
    for axes, ((init, scaling), record) in zip(panels, records.items(), strict=True):
        ends = {name: (record[name][-1].log().mean().exp(), counted(init, scaling)[name]) for name in curves}
        rows = [(record[name], *look, *plot.power_law(record["widths"], *ends[name])) for name, look in curves.items()]
        plot.loglog(axes, record["widths"], rows, xlabel=WIDTH, **settings)
        axes.set_title(f"{INIT[init]}, {SCALING[scaling][1]}", fontsize=size[0])
        axes.tick_params(axis="x", labelsize=size[1])
    return figure, panels


def conditions_figure(records):
    """The conditions of the theorem over the width, measured, with the counted exponents dashed and 1 shaded.

    records: (init, scaling) -> record.
    """
    curves = {"A_O": ("blue", "$A_O$"), "A_V": ("orange", "$A_V$"), "A_Q": ("green", "$A_Q$"), "B": ("red", "$B$")}
    look = {"label": "left over right side", "size": (10, 6.5), "ylim": (1e-10, 1e2)}
    figure, panels = by_setting(records, curves, bounds.width_exponents, **look)
    for axes in panels:
        axes.axhspan(1, 1e3, color=plot.PHASES[2], lw=0)
    panels[0].text(0.05, 0.95, "holds", transform=panels[0].transAxes, va="top", fontsize=8)
    panels[-1].legend(loc="lower right", fontsize=7)
    return figure


def lazy_figure(records):
    """Movement at a fixed loss over the width, one panel a setting, with the counted exponents dashed.

    records: (init, scaling) -> record.
    """
    curves = {
        "W_O": ("blue", "$W_O$"),
        "W_V": ("orange", "$W_V$"),
        "W_Q": ("green", "$W_Q$"),
        "kernel": ("purple", "kernel"),
    }
    figure, panels = by_setting(records, curves, theory.movement, "movement from the start", (8.5, 7))
    panels[-1].legend(loc="lower left", fontsize=7)
    return figure


def exponent_figure():
    """Exponent of the sufficient width in the number of samples, over scalings, with the best radius dotted."""
    grid, blue, red = np.linspace(0.26, 1.25, 100), plot.COLOURS["blue"], plot.COLOURS["red"]
    best, least = [float(bounds.best_radius("lecun", s)[1]) for s in grid], float(bounds.least_scaling("ntk"))
    figure, axes = plot.figure(height=2.7)
    for init, colour, label in (("lecun", blue, "LeCun, He"), ("ntk", red, "NTK")):
        needed = np.array([float(bounds.required(init, scaling)) for scaling in grid])
        axes.fill_between(grid, needed, 9, color=colour, alpha=0.15, lw=0)
        axes.plot(grid, needed, color=colour, lw=1.4, label=f"{label}: proof covers what is above")
    axes.plot(grid, best, color=blue, lw=1, ls=":", label="LeCun, best radius")
    axes.axvline(least, color=red, lw=0.8, ls=":")
    axes.text(least - 0.01, 0.4, "NTK: never to the left", ha="right", color=red, fontsize=8)
    axes.set(xlabel=r"scaling $s$ in $\tau_0 = k^{-s}$", ylabel=r"exponent $e$ in $k \sim n^e$", ylim=(0, 9))
    axes.legend(loc="upper right")
    return figure


def rate_figure(wide, field):
    """Loss over steps with the dashed forecast of the kernel at the start: where it holds and where it fails.

    wide, field: records of wide NTK runs and of runs with the mean-field output.
    """
    figure, panels = plot.figure(2, sharey=True, ylabel=LOSS)
    for axes, record, title in zip(panels, (wide, field), ("NTK output, wide", "mean-field output"), strict=True):
        steps, known, bound = record["steps"], rates.forecast(record), torch.exp(theorem.log_bound(record)).amax(dim=1)
        line = (steps, record["loss"] / record["loss"][0], "blue", "runs", steps, known[:, 0], "forecast of $K_0$")
        over_steps(axes, [line], title, ylim=(1e-16, 3))
        axes.plot(steps, known[:, 1:], color="#222222", ls=(0, (4, 2)), lw=1)
        axes.fill_between(steps, bound, 3, color=plot.PHASES[1], lw=0, label="excluded by the theorem")
    panels[1].legend(loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure


def edge_figure(claim, records):
    """Loss over steps for several steps in units of the classical edge. claim: name -> Claim; records: unit -> record."""
    lines = [
        (record["steps"], record["loss"] / record["loss"][0], colour, rf"$\eta\mu_{{\max}} = {unit:g}$")
        for (unit, record), colour in zip(records.items(), ("blue", "green", "red"), strict=True)
    ]
    lines[-1] += [0, 60], 2 * [claim["edge"].trial.holds.edge]
    figure, axes = plot.figure()
    over_steps(axes, lines, legend=BESIDE, ylim=(1e-8, 1e6), xlim=(0, 60), ylabel=LOSS)
    return figure


def entropy_figure(record):
    """Entropy deficit at the start over the width, for several scalings, with the dashed formula of Gaussian logits.

    record: of :func:`attnflow.encoder.limits.deficits` over widths.
    """
    rows = [
        (record["deficit"][:, :, j], colour, f"$s = {s:g}$", record["widths"], record["predicted"][:, 0, j])
        for (j, s), colour in zip(enumerate(record["scaling"][0, 0].tolist()), plot.COLOURS, strict=False)
    ]
    return widths_figure(record["widths"], rows, r"entropy deficit $1 - H/\log L$")


def kernel_figure(half, one, given):
    r"""Distance of the kernel to its closed forms over the width, with the dashed sampling error of k neurons.

    half, one: records at $\tau_0 = k^{-1/2}$ and $k^{-1}$; given: the record of the distance given the attention, at
    $\tau_0 = k^{-1/2}$.
    """
    figure, (first, second) = plot.figure(2, sharey=True, ylabel="relative distance")
    look = {"look": MARKED, "legend": {"fontsize": 8}, "xlabel": WIDTH}
    known, apart = one["sampled"].mean(dim=1).sqrt(), given["spread"].mean(dim=1).sqrt()
    rows = [(half["error"].sqrt(), *SCALING[0.5])]
    rows += [(one["error"].sqrt(), *SCALING[1.0], one["widths"], known, "sampling error")]
    plot.loglog(first, one["widths"], rows, title="closed form of uniform attention", **look)
    rows = [(given["conditional"].sqrt(), *SCALING[0.5], given["widths"], apart, "sampling error")]
    plot.loglog(second, given["widths"], rows, title="closed form given the attention", **look)
    return figure


def pairs_figure(records):
    """Mean-matched pairs: share of the loss left after 300 steps, over the width. records: scaling -> record."""
    rows = [(record["left"].clamp_min(1e-16), *SCALING[scaling]) for scaling, record in records.items()]
    return widths_figure(records[0.5]["widths"], rows, "share of the loss left")
