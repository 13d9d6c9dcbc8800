"""The figures of chapter 3: each takes records and returns a figure, with theory dashed over all the runs."""

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from attnflow import ntk, plot
from attnflow.encoder import bounds, readings, theory

SCALING = {0.5: (r"$\tau_0 = k^{-1/2}$", "orange"), 1.0: (r"$\tau_0 = k^{-1}$", "blue")}


def widths_axis(axes, widths, **labels):
    """Log-log axes over widths."""
    axes.set(xscale="log", yscale="log", xlabel="width $k$", **labels)
    plot.ticks(axes.xaxis, widths)


def encoder_picture():
    """The encoder as boxes and arrows: which factors meet in a product, and which through a ReLU."""
    figure, axes = plot.figure(height=2.4)
    axes.set(xlim=(0, 12), ylim=(0, 4))
    axes.axis("off")
    places = [
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
    for text, x, y, colour in places:
        box = FancyBboxPatch(
            (x - 0.5, y - 0.33), 1.0, 0.66, boxstyle="round,pad=0.04", fc="white", ec=plot.COLOURS[colour], lw=1.5
        )
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", fontsize=8.5)
    for start, end in [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4), (4, 5), (5, 6), (6, 7), (7, 8)]:
        ends = places[start][1:3], places[end][1:3]
        style = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "#777777", "shrinkA": 21, "shrinkB": 21}
        axes.add_patch(FancyArrowPatch(*ends, **style))
    axes.text(3.1, 3.85, "meet in a product: balanced", ha="left", color=plot.COLOURS["blue"], fontsize=8.5)
    axes.text(8.5, 0.2, "meet through a ReLU: balanced neuron by neuron", ha="center", color="#B37700", fontsize=8.5)
    return figure


def drift_figure(plain, hidden, rated):
    """Drift of the laws against the step: kept ones fall along the dashed order 1, broken ones stay."""
    figure, (left, right) = plot.figure(2, sharey=True)
    for axes, title in ((left, "laws that hold"), (right, "one assumption broken")):
        axes.set(xscale="log", yscale="log", xlabel=r"step $\eta$", title=title)
        plot.ticks(axes.xaxis, plain["steps"])
    kept = [(plain, "neuron", "blue", "neuron"), (plain, "query-key", "green", "query-key")]
    kept += [(hidden, "value-hidden", "purple", "value-hidden"), (rated, "neuron", "orange", "neuron, own rates")]
    broken = [(hidden, "neuron", "blue", "neuron, $W_H$ trained")]
    broken += [(rated, "neuron, plain", "orange", "neuron, rates ignored")]
    for axes, rows in ((left, kept), (right, broken)):
        for record, name, colour, label in rows:
            plot.measured(axes, record["steps"], record[name], colour, label, marker="o", ms=3)
    plot.loglog_guide(left, plain["steps"], float(plain["neuron"][0].median()), 1, "order 1")
    plot.loglog_guide(right, plain["steps"], float(hidden["neuron"][0].median()), 0, "order 0")
    left.set_ylabel("drift of the balance")
    for axes in (left, right):
        axes.legend(loc="upper left" if axes is left else "center right")
    return figure


def proof_figure(record):
    """The derivation along a run: every left over right side, and the smallest singular value over alpha."""
    figure, (left, right) = plot.figure(2)
    names = {"PL": "gradient from below", "W_O": r"$\nabla_{W_O}$", "W_V": r"$\nabla_{W_V}$", "W_Q": r"$\nabla_{W_Q}$"}
    names |= {"drift": "drift of the features"}
    for (name, label), colour in zip(names.items(), plot.COLOURS, strict=False):
        plot.measured(left, record["steps"][1:], record[name][1:], colour, label)
    plot.theory(left, record["steps"][[0, -1]], np.ones(2))
    left.set(yscale="log", xlabel="step", title="left over right side", ylim=(1e-6, 3))
    left.legend(loc="lower left", ncols=2, fontsize=7)
    plot.measured(right, record["steps"], record["sigma"] / record["alpha"], "blue", "runs")
    plot.theory(right, record["steps"][[0, -1]], 0.5 * np.ones(2), "what the proof keeps")
    right.set(xlabel="step", title=r"$\sigma_{\min}(\Psi_t)/\alpha$", ylim=(0, 1.6))
    right.legend(loc="upper right")
    return figure


def conditions_figure(records):
    """The conditions of the theorem over the width, measured, with the counted exponents dashed and 1 shaded."""
    figure, panels = plot.figure(len(records), sharey=True, width=7.2)
    for axes, record in zip(panels, records, strict=True):
        init, scaling = record["init"], record["scaling"]
        powers = bounds.exponents(init, scaling)
        for name, colour in zip(("A_O", "A_V", "A_Q", "B"), plot.COLOURS, strict=False):
            plot.measured(axes, record["widths"], record[name], colour, f"${name}$" if "_" in name else "$B$")
            anchor = float(record[name][-1].log().mean().exp())
            plot.loglog_guide(axes, record["widths"], anchor, float(powers[name][0]))
        widths_axis(axes, record["widths"])
        axes.axhspan(1, 1e3, color=plot.PHASES[2], lw=0)
        axes.set(title=f"{'LeCun' if init == 'lecun' else 'NTK'}, {SCALING[scaling][0]}", ylim=(1e-10, 1e2))
        axes.tick_params(axis="x", labelsize=6.5)
    panels[0].set_ylabel("left over right side")
    panels[0].text(0.05, 0.95, "holds", transform=panels[0].transAxes, va="top", fontsize=8)
    panels[-1].legend(loc="lower right", fontsize=7)
    return figure


def exponent_figure():
    """Exponent of the sufficient width in the number of samples, over scalings, with the best radius dotted."""
    figure, axes = plot.figure(height=2.7)
    grid = np.linspace(0.26, 1.25, 100)
    for init, colour, label in (("lecun", "blue", "LeCun, He"), ("ntk", "red", "NTK")):
        needed = np.array([float(bounds.required(init, s)) for s in grid])
        needed[~np.isfinite(needed)] = np.nan
        axes.fill_between(grid, needed, 9, color=plot.COLOURS[colour], alpha=0.15, lw=0)
        axes.plot(grid, needed, color=plot.COLOURS[colour], lw=1.4, label=f"{label}: proof covers what is above")
    best = [float(bounds.best_radius("lecun", s)[1]) for s in grid]
    axes.plot(grid, best, color=plot.COLOURS["blue"], lw=1, ls=":", label="LeCun, best radius")
    axes.set(xlabel=r"scaling $s$ in $\tau_0 = k^{-s}$", ylabel=r"exponent $e$ in $k \sim n^e$", ylim=(0, 9))
    axes.axvline(0.75, color=plot.COLOURS["red"], lw=0.8, ls=":")
    axes.text(0.74, 0.4, "NTK: never to the left", ha="right", color=plot.COLOURS["red"], fontsize=8)
    axes.legend(loc="upper right")
    return figure


def rate_figure(wide, field):
    """Loss over steps with the dashed forecast of the kernel at the start: where it holds and where it fails."""
    figure, panels = plot.figure(2, sharey=True)
    for axes, record, title in zip(panels, (wide, field), ("NTK output, wide", "mean-field output"), strict=True):
        forecast = ntk.linear_losses(record["start"], record["residual"], record["step"], len(record["steps"]) - 1)
        plot.measured(axes, record["steps"], record["loss"] / record["loss"][0], "blue", "runs")
        plot.theory(axes, record["steps"], (forecast / forecast[0])[:, 0], "forecast of $K_0$")
        axes.plot(record["steps"], (forecast / forecast[0])[:, 1:], color="#222222", ls=(0, (4, 2)), lw=1)
        bound = torch.exp(readings.log_bound(record)).amax(dim=1)
        axes.fill_between(record["steps"], bound, 3, color=plot.PHASES[1], lw=0, label="excluded by the theorem")
        axes.set(yscale="log", ylim=(1e-16, 3), xlabel="step", title=title)
    panels[0].set_ylabel(r"$\mathcal{L}_t/\mathcal{L}_0$")
    panels[1].legend(loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure


def entropy_figure(record):
    """Entropy deficit at the start over the width, for several scalings, with the dashed formula of Gaussian logits."""
    figure, axes = plot.figure()
    widths = np.array(record["widths"])
    for (scaling, part), colour in zip(record["deficit"].items(), plot.COLOURS, strict=False):
        plot.measured(axes, widths, part, colour, f"$s = {scaling:g}$", marker="o", ms=3)
        plot.theory(axes, widths, theory.deficit(widths ** (1.0 - 2 * scaling), record["length"]))
    widths_axis(axes, record["widths"], ylabel=r"entropy deficit $1 - H/\log L$")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def kernel_figure(half, one):
    """Distance of the kernel to its closed forms over the width, under both scalings, with dashed slopes."""
    figure, (left, right) = plot.figure(2, sharey=True)
    for scaling, record in ((0.5, half), (1.0, one)):
        label, colour = SCALING[scaling]
        plot.measured(left, record["widths"], record["error"], colour, label, marker="o", ms=3)
        plot.measured(right, record["widths"], record["conditional"], colour, label, marker="o", ms=3)
    for axes, record, name in ((left, one, "error"), (right, half, "conditional")):
        plot.loglog_guide(axes, record["widths"], float(record[name][-1].median()), -0.5, r"$k^{-1/2}$")
        widths_axis(axes, record["widths"])
        axes.legend()
    left.set(title="closed form of uniform attention", ylabel="relative distance")
    right.set(title="closed form given the attention")
    return figure


def lazy_figure(records):
    """Movement at a fixed loss over the width, one panel a setting, with the dashed exponents."""
    figure, panels = plot.figure(len(records), sharey=True)
    colours = {"W_O": "blue", "W_V": "orange", "W_Q": "green", "kernel": "purple"}
    for axes, ((init, scaling), record) in zip(panels, records.items(), strict=True):
        for name, colour in colours.items():
            plot.measured(axes, record["widths"], record[name], colour, f"${name}$" if "_" in name else name)
            anchor = float(record[name][-1].log().mean().exp())
            plot.loglog_guide(axes, record["widths"], anchor, readings.LAZY[init, scaling][name])
        widths_axis(axes, record["widths"])
        axes.set_title(f"{'LeCun' if init == 'lecun' else 'NTK'}, {SCALING[scaling][0]}", fontsize=8.5)
        axes.tick_params(axis="x", labelsize=7)
    panels[0].set_ylabel("movement from the start")
    panels[-1].legend(loc="lower left", fontsize=7)
    return figure


def pairs_figure(records):
    """Mean-matched pairs: share of the loss left after 300 steps, over the width."""
    figure, axes = plot.figure()
    for scaling, record in records.items():
        label, colour = SCALING[scaling]
        plot.measured(axes, record["widths"], record["left"].clamp_min(1e-16), colour, label, marker="o", ms=3)
    widths_axis(axes, record["widths"], ylabel="share of the loss left")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def edge_figure(records):
    """Loss over steps for several steps in units of the classical edge."""
    figure, axes = plot.figure()
    for (unit, record), colour in zip(records.items(), ("blue", "green", "red"), strict=True):
        label = rf"$\eta\mu_{{\max}} = {unit:g}$"
        plot.measured(axes, record["steps"], record["loss"] / record["loss"][0], colour, label)
    plot.theory(axes, [0, 60], [1, 1])
    axes.set(yscale="log", ylim=(1e-8, 1e6), xlim=(0, 60), xlabel="step", ylabel=r"$\mathcal{L}_t/\mathcal{L}_0$")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def phase_figure(arrays, axes_of_table, edge=0.1):
    r"""The stored phase diagram with boundaries of theory.

    Attention: the deficit of Gaussian logits of variance $k^{1-2s}$ crosses 0.05 (uniform) and 0.5 (saturated). Kernel: its
    change, $a k^{1-2s}$ from the attention and $b/k$ from the other blocks, crosses ``edge``; the constants are fixed at the
    two cells of the largest width with s = 1/2 and s = 1.
    """
    scalings, widths = (np.array(axes_of_table[name]) for name in ("scaling", "width"))
    figure, panels = plot.figure(2, height=3.1, sharey=True)
    grid = np.geomspace(widths[0], widths[-1], 60)
    variances = np.geomspace(1e-4, 1e4, 400)
    deficits = theory.deficit(variances, 4, draws=4000)
    change = np.exp(np.log(arrays["change"]).mean(axis=-1))
    shown = ((arrays["deficit"].mean(axis=-1), "entropy deficit at the start"), (change, "change of the kernel"))
    for axes, (values, title) in zip(panels, shown, strict=True):
        drawn = axes.pcolormesh(widths, scalings, np.log10(values), shading="nearest", cmap="cividis")
        axes.set(xscale="log", xlabel="width $k$", title=title)
        plot.ticks(axes.xaxis, widths)
        figure.colorbar(drawn, ax=axes, label=r"$\log_{10}$")
    for level, name in ((0.05, "uniform"), (0.5, "saturated")):
        variance = np.interp(level, deficits, variances)
        plot.theory(panels[0], grid, (1 - np.log(variance) / np.log(grid)) / 2, colour="red")
        place = 0.95 if name == "uniform" else 0.28
        panels[0].text(widths[-1], place, name, ha="right", color="white", fontsize=8.5)
    panels[0].text(widths[-1], 0.52, "random", ha="right", color="white", fontsize=8.5)
    half, one = (float(change[list(scalings).index(s), -1]) for s in (0.5, 1.0))
    share = np.maximum(edge - (widths[-1] * one - half) / grid, 1e-9) / half
    plot.theory(panels[1], grid, (1 - np.log(share) / np.log(grid)) / 2, colour="red")
    panels[1].text(widths[-1], 0.95, "lazy", ha="right", color="white", fontsize=8.5)
    panels[1].text(widths[-1], 0.28, "moving", ha="right", fontsize=8.5)
    for axes in panels:
        axes.set_ylim(scalings[0] - 0.06, scalings[-1] + 0.06)
    panels[0].set_ylabel("scaling $s$")
    return figure


def threshold_figure(arrays, axes_of_table, level=1e-2):
    """Which widths interpolate how many samples, with the exponents of the sufficient condition shaded, not drawn."""
    samples, widths = (np.array(axes_of_table[name]) for name in ("samples", "width"))
    share = np.nanmedian(arrays["left"], axis=-1)
    figure, axes = plot.figure(height=2.8)
    counts, places = np.meshgrid(samples, widths, indexing="ij")
    done = share <= level
    axes.scatter(counts[done], places[done], color=plot.COLOURS["blue"], label="interpolates", zorder=3)
    axes.scatter(counts[~done], places[~done], facecolor="none", edgecolor=plot.COLOURS["red"], label="does not")
    axes.plot(samples, samples / 25, color="#777777", lw=1, ls=":", label="one parameter a sample")
    axes.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel="width $k$", ylim=(0.25, 1e3))
    axes.fill_between(samples, np.minimum(1.0 * samples**2, 1e3), 1e3, color=plot.PHASES[1], lw=0, zorder=0)
    axes.text(
        8.3, 700, "where a sufficient condition $n^2$ could\nbegin, if its constant were one", fontsize=8, va="top"
    )
    plot.ticks(axes.xaxis, samples)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def synthetic_figure(arrays, axes_of_table):
    """The recalled synthetic experiment: loss, movement of the weights, change of the kernel, both scalings."""
    figure, panels = plot.figure(3, width=8.4, height=2.7)
    shades = {0: 0.35, 1: 0.65, 2: 1.0}
    for place, width in enumerate(axes_of_table["width"]):
        for column, scaling in enumerate(axes_of_table["scaling"]):
            label, colour = SCALING[scaling]
            look = {"color": plot.COLOURS[colour], "alpha": shades[place], "lw": 1.1}
            epochs = arrays["epochs"][place, column]
            steps = np.arange(arrays["loss"].shape[2])
            curves = ((steps, "loss"), (epochs, "moved"), (epochs, "kernel"))
            for axes, (times, name) in zip(panels, curves, strict=True):
                values = np.median(arrays[name][place, column], axis=-1)
                axes.plot(times[1:], np.maximum(values[1:], 1e-12), label=f"{label}, $k = {width}$", **look)
    titles = (r"loss, $\mathcal{L}_t/\mathcal{L}_0$", "movement of the weights", "change of the kernel")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(yscale="log", xlabel="epoch", title=title)
    panels[2].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=6.5)
    return figure


def vision_figure(arrays, axes_of_table):
    """The small vision Transformer on digits: training loss and entropy deficit, both scalings and widths."""
    figure, panels = plot.figure(2)
    for place, width in enumerate(axes_of_table["width"]):
        for column, scaling in enumerate(axes_of_table["scaling"]):
            label, colour = SCALING[scaling]
            for axes, name in zip(panels, ("loss", "deficit"), strict=True):
                steps, values = arrays["steps"][place, column], arrays[name][place, column]
                lines = axes.plot(steps, values, color=plot.COLOURS[colour], ls="-" if place else ":", lw=1.1)
                lines[0].set_label(f"{label}, width {width}")
    panels[0].set(xlabel="step", title="training loss")
    panels[1].set(xlabel="step", yscale="log", title="entropy deficit of the attention")
    panels[1].legend(loc="lower right", fontsize=7)
    return figure
