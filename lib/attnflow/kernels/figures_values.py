"""Figures of chapter 4 on the values alone and on generic weights: theory dashed over the runs that are measured."""

import numpy as np
import torch

from attnflow import plot, runs
from attnflow.kernels import race

LOOKS = {
    "softmax": ("blue", "softmax"),
    "gaussian": ("green", r"Gaussian, $\zeta = 1/2$"),
    "gaussian, 1": ("purple", r"Gaussian, $\zeta = 1$"),
    "normalised": ("sky", "normalised Gaussian"),
    "exp": ("red", r"$e^{q\cdot k}$"),
}
RACERS = {  # by the kernel alone, since each sharpness has a panel of its own
    "softmax": ("blue", "softmax"),
    "rescaled": ("orange", "rescaled softmax"),
    "gaussian": ("green", "Gaussian"),
    "normalised": LOOKS["normalised"],
    "exp": LOOKS["exp"],
}
WIDTHS = ("sky", "green", "blue", "purple")


def floors_figure(record, widths, threshold):
    r"""The mean floor over the number of heads, four kernels on one dashed line of theory, which ends at the threshold.

    record: of :func:`attnflow.kernels.linear.spans`, of the four kernels at these ``widths``; threshold: $nL/d$.
    """
    figure, axes = plot.figure()
    found = record["mean"].unflatten(0, (-1, len(widths))).mean(dim=2)
    known = record["expected"][: len(widths), 0]
    names, marks = ("softmax", "exp", "gaussian", "normalised"), ("o", "s", "^", "D")
    for name, values, mark, size in zip(names, found, marks, (10, 7.5, 5, 2.5), strict=True):
        colour, label = LOOKS[name]
        plot.measured(axes, widths, values[:, None], colour, label, marker=mark, ms=size, lw=0, alpha=0.7)
    plot.theory(axes, widths, known, label=r"$\frac{o}{2}(1 - Hd/nL)$")
    axes.axvspan(threshold, max(widths) + 0.2, color=plot.PHASES[2], lw=0, zorder=0)
    axes.set(xlabel="heads $H$", ylabel="least loss, mean", xlim=(0.8, max(widths) + 0.2))
    axes.legend()
    return figure


def forecast_figure(records, titles):
    """Losses of descent on the values over steps, one panel a kernel, under the exact forecast; floors where there are any.

    records: number of heads -> record of :func:`attnflow.kernels.linear.watched`, of the same kernels; titles: of these.
    """
    figure, panels = plot.figure(len(titles), height=3.1, sharey=True, ylabel=r"loss $\mathcal{L}$")
    for place, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for (heads, record), colour in zip(records.items(), WIDTHS, strict=False):
            steps, seen = record["steps"] + 1, record["loss"][place]
            plot.measured(axes, steps, seen, colour, f"$H = {heads}$")
        for record in records.values():  # when all that is measured is drawn, since dashes stay on top
            plot.theory(axes, record["steps"] + 1, record["known"][place])
        axes.set(xscale="log", yscale="log", xlabel="step + 1", title=title)
        plot.direct(axes)
    return figure


def rates_figure(arrays, table, chosen=5):
    r"""Steps to a thousandth of the loss over the rate, the median of all kernels on one grid, and how many seeds fail.

    Two columns each choice of trained matrices, the kernels at the sharpness 1/2 and those at 1. A ring marks the rate that the
    first seeds, ``chosen`` in number, choose. arrays: of the stored sweep; table: its axes.
    """
    titles = {"W_Q": "$W_Q$ alone", "all": "all matrices"}
    pairs = [(trained, sharp) for trained in table["trained"] for sharp in (False, True)]
    figure, grid = plot.figure(len(pairs), 2, height=2.2, width=7.6, sharex=True, sharey="row")
    for (above, below), (trained, sharp) in zip(grid.T, pairs, strict=True):
        for name in (each for each in table["kernel"] if each.endswith(race.SHARP) == sharp):
            took = arrays["steps"][table["trained"].index(trained), table["kernel"].index(name)]
            colour, label = RACERS[name.removesuffix(race.SHARP)]
            middle = np.quantile(took[:, chosen:], 0.5, axis=1, method="higher")
            best = race.best(torch.as_tensor(took[:, :chosen]))
            look = {"marker": "o", "ms": 3}
            plot.measured(above, race.RATES, np.where(np.isfinite(middle), middle, np.nan), colour, label, **look)
            above.plot(race.RATES[best], middle[best], "o", mfc="none", ms=9, color=plot.COLOURS[colour])
            plot.measured(below, race.RATES, np.isinf(took[:, chosen:]).mean(axis=1), colour, label, **look)
        above.set(xscale="log", yscale="log")
        above.set_title(titles[trained] + (r", $\zeta = 1$" if sharp else r", $\zeta = 1/2$"), fontsize=8.5)
        below.set(xlabel=r"step $\eta$", ylim=(-0.05, 1.05))
        plot.ticks(below.xaxis, (0.01, 0.1, 1, 10))
    grid[0, 0].set_ylabel("steps, median")
    grid[1, 0].set_ylabel("share that fails")
    names = [line for line in grid[0, 0].get_lines() if not line.get_label().startswith("_")]
    figure.legend(handles=names, loc="outside lower center", ncols=len(names))
    return figure


def reach_figure(record, kernels, heads):
    """Tokens that are missed beside tokens whose target is out of reach, kernel by kernel, with 95 % intervals over the seeds.

    record: of :func:`attnflow.kernels.generic.fates`, of these ``kernels`` and numbers of ``heads``.
    """
    figure, panels = plot.figure(len(heads), sharey=True, ylabel="share of tokens")
    missed, out = (record[name].unflatten(0, (len(kernels), len(heads))) for name in ("missed", "out"))
    for place, axes in enumerate(panels):
        for row, name in enumerate(kernels):
            colour, label = LOOKS[name]
            values = runs.array(missed[row, place])
            half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
            look = {"color": plot.COLOURS[colour], "fmt": "o", "ms": 5, "lw": 1.8, "alpha": 0.7}
            axes.errorbar(row, values.mean(), half, label=label, **look)
            plot.theory(axes, [row - 0.3, row + 0.3], [float(out[row, place].mean())] * 2)
        axes.set(
            xticks=range(len(kernels)), title=f"$H = {heads[place]}$", ylim=(0, None), xlim=(-0.5, len(kernels) - 0.5)
        )
        axes.set_xticklabels([LOOKS[name][1].replace(", ", "\n") for name in kernels], fontsize=8)
    return figure
