"""The figures of the section on pictures: samples, the two stages of training, and digits at the best learning rates."""

import numpy as np

from attnflow import plot, runs
from attnflow.kernels import pathfinder, rowtokens, stages

LOOK = {
    "softmax": ("blue", "softmax"),
    "gaussian": ("green", "Gaussian"),
    "normalised_gaussian": ("purple", "normalised Gaussian"),
}
DIGITS = {
    "softmax": ("blue", "softmax"),
    "rescaled softmax": ("sky", "rescaled softmax"),
    "gaussian": ("green", "Gaussian"),
    "rescaled gaussian": ("red", "rescaled Gaussian"),
    "normalised gaussian": ("purple", "normalised Gaussian"),
}


def samples_figure(seed=0, count=2, sizes=({"distractors": 0}, {}, {"pixels": 16, "distractors": 2})):
    """Pictures of each of the ``sizes``, joined in the upper row and not in the lower: dots dark, dashes lighter.

    The paths without their gaps are shaded. seed: of the draws; count: pictures of a kind; sizes: of ``pathfinder.pictures``.
    """
    figure, panels = plot.figure(count * len(sizes), 2, height=1.35)
    for place, size in enumerate(sizes):
        pictures, labels, whole = (each[0] for each in pathfinder.pictures(runs.streams([seed], "data"), 60, **size))
        for row, joined in enumerate((1, 0)):
            for column, which in enumerate((labels == joined).nonzero()[:count, 0].tolist()):
                axes = panels[row, place * count + column]
                side = pictures.shape[-1]
                for shade, cells in (
                    ("#8888882a", whole[which]),
                    (plot.COLOURS["sky"], pictures[which] == pathfinder.LIT),
                    (plot.COLOURS["red"], pictures[which] == pathfinder.DOT),
                ):
                    for y, x in cells.nonzero().tolist():
                        axes.add_patch(plot.plt.Rectangle((x, y), 1, 1, color=shade, lw=0))
                axes.set(xlim=(0, side), ylim=(side, 0), xticks=[], yticks=[], aspect="equal")
                axes.spines[:].set(visible=True, color="#999999")
    for axes, word in zip(panels[:, 0], ("joined", "not joined"), strict=True):
        axes.set_ylabel(word)
    return figure


def band(axes, steps, values, colour, label):
    """The mean of ``values`` (S, K) over seeds as a line over ``steps`` (K,), the seeds from the least to the greatest shaded.

    axes: where they are drawn; colour, label: of the line.
    """
    axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=plot.COLOURS[colour], alpha=0.15, lw=0)
    axes.plot(steps, values.mean(axis=0), color=plot.COLOURS[colour], lw=1.6, label=label)


SEEN = (
    ("train", "training loss"),
    ("test", "test loss"),
    ("train accuracy", "training acc."),
    ("test accuracy", "test acc."),
)


def stages_figure(kinds, every):
    """Loss and accuracy in two stages on Pathfinder, in training and on unseen pictures; the second stage is shaded.

    One row for each of the ``kinds`` of pictures, title -> arrays of its sweep, (blocks, seeds, ...). A line is the mean over
    seeds, its band goes from the least to the greatest; a dashed line is chance, orange the small convolution. every: steps
    between two looks.
    """
    figure, panels = plot.figure(len(SEEN), len(kinds), height=1.75, sharex="row", sharey="col", squeeze=False)
    for row, (kind, arrays) in zip(panels, kinds.items(), strict=True):
        for axes, (name, _) in zip(row, SEEN, strict=True):
            first, second, beside = (
                np.concatenate(arrays[f"{name}, {part}"]) for part in ("first", "second", "convolution")
            )
            before = every * np.arange(first.shape[1])
            after = before[-1] + every * np.arange(second.shape[2])
            chance = 0.5 if "accuracy" in name else np.log(2)
            band(axes, before, beside, "orange", "convolution")
            band(axes, before, first, "blue", "_")
            for place, kernel in enumerate(stages.KERNELS):
                band(axes, after, second[:, place], *LOOK[kernel])
            plot.theory(axes, [0, after[-1]], [chance, chance], "chance")
            plot.phase(axes, before[-1], after[-1], 0)
            axes.set(xlim=(0, after[-1]), ylim=(0.4, 1.02) if "accuracy" in name else (0, 0.8))
        row[0].set_ylabel(kind)
    for axes, (_, title) in zip(panels[0], SEEN, strict=True):
        axes.set_title(title)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def digits_figure(arrays, table):
    """Digits: mean loss over the learning rate on the seeds of the choice, one panel for each sharpness and size of weights.

    A point is the mean loss of the seeds that were not chosen on, at the best rate, with the least and the greatest. arrays:
    of the sweep; table: its axes, name -> values.
    """
    figure, panels = plot.figure(2, 2, height=2.5, sharex=True, sharey=True)
    for i, c in enumerate(table["c"]):
        for j, inner in enumerate(table["scale"]):
            axes = panels[i, j]
            for place, variant in enumerate(table["variant"]):
                colour, label = DIGITS[variant]
                tuning = arrays["tuning"][place, i, j].mean(axis=1)
                shown = np.where(np.isfinite(tuning), tuning, np.nan)
                axes.plot(rowtokens.RATES, shown, color=plot.COLOURS[colour], lw=1.4, label=label)
                fresh = arrays["mean"][place, i, j]
                ends = np.abs(np.array([[fresh.min()], [fresh.max()]]) - fresh.mean())
                look = {"fmt": "o", "ms": 3.5, "color": plot.COLOURS[colour], "lw": 1}
                axes.errorbar(float(arrays["rate"][place, i, j]), fresh.mean(), ends, **look)
            scale = rowtokens.row_sum(rowtokens.SIDE, 16, c, inner)
            axes.set(xscale="log", title=rf"$\zeta = {c:g}$, rows sum to {scale:.2g}", ylim=(0.8, 2.4), xlim=(0.008, 2))
    for axes in panels[1]:
        axes.set_xlabel(r"learning rate $\eta$")
    for axes in panels[:, 0]:
        axes.set_ylabel("mean loss of 120 steps")
    panels[0, 0].legend(loc="lower left", fontsize=7)
    return figure
