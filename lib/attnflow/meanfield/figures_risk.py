"""Figures of chapter 5 on particles at rest: powers of the decay, phases of restarts, and how zero is left."""

import numpy as np
import torch
from matplotlib.patches import Rectangle

from attnflow import flow, plot
from attnflow.meanfield import collapse, model, setting
from attnflow.meanfield.appendix import SHAPES
from attnflow.meanfield.phases import phases

KINDS = {"global": "blue", "stuck": "orange", "collapsed": "purple"}
RESTED = 0.75  # the share of restarts at rest below which a cell is hatched


def powers_figure(arrays, place=0):
    """Risk and objective at rest over the decay, every data set pale, with the powers that the theory gives as dashes.

    arrays: of the stored sweep; place: 0 for data that can be fitted, 1 for data that contradict themselves, drawn orange.
    """
    figure, panels = plot.figure(2, height=3.0)
    for axes, name, power, label in zip(
        panels, ("risk", "objective"), (2, 1), (r"risk $\mathcal{L}$", r"objective $\mathcal{Q}$"), strict=True
    ):
        for which, colour in ((1 - place, "orange"), (place, "blue")):
            for decay, values in zip(arrays["decay"][:, which], arrays[name][:, which], strict=True):
                axes.plot(decay, values, color=plot.COLOURS[colour], alpha=0.4, lw=1.6)
        decay = np.median(arrays["decay"][:, place], axis=0)
        end = np.median(arrays[name][:, place, -1])
        plot.theory(axes, decay, end * (decay / decay[-1]) ** power)
        axes.set(xscale="log", yscale="log", xlabel=r"decay $\lambda$", ylabel=label)
    return figure


def phases_figure(tables, edge=1.0):
    r"""What became of the restarts over the decay and another setting, one panel a table: each cell a bar of three colours.

    Blue restarts are global, orange ones stuck, purple ones collapsed. tables: of (arrays, decays over $\lambda_c$, values of
    the setting, its label); edge: where zero becomes stable, a dashed line.
    """
    figure, panels = plot.figure(len(tables), height=3.4)
    for axes, (arrays, overs, values, label) in zip(np.ravel(panels), tables, strict=True):
        shares = phases(arrays)
        for column in range(len(overs)):
            for row in range(len(values)):
                left = column - 0.45
                for kind, colour in KINDS.items():
                    share = 0.9 * float(shares[kind][column, row])
                    if share:
                        axes.add_patch(
                            Rectangle((left, row - 0.42), share, 0.84, fc=plot.COLOURS[colour], alpha=0.75, lw=0)
                        )
                    left += share
                if shares["zero"][column, row] > 0.5:
                    axes.plot(column, row, "o", ms=3.2, color="white")
                if shares["still"][column, row] < RESTED:
                    axes.add_patch(
                        Rectangle((column - 0.45, row - 0.42), 0.9, 0.84, fc="none", ec="0.35", lw=0, hatch="////")
                    )
        axes.axvline(np.interp(edge, overs, np.arange(len(overs))), ls="--", lw=1, color=plot.COLOURS["black"])
        axes.set(
            xlim=(-0.6, len(overs) - 0.4),
            ylim=(-0.6, len(values) - 0.4),
            xlabel=r"decay $\lambda/\lambda_c$",
            ylabel=label,
        )
        every = 1 + len(overs) // 12  # of the columns has room for its number
        axes.set_xticks(range(0, len(overs), every), [f"{over:g}" for over in overs[::every]], fontsize=7)
        axes.set_yticks(range(len(values)), [f"{value:g}" for value in values])
        axes.grid(False)
    return figure


def leaving_figure(seed=100, overs=(0.5, 0.8, 1.2, 1.5), part="attention", last=100.0, step=0.2):
    r"""The size of particles along the leading direction over time, for decays below and above the threshold of a ``part``.

    seed: of data and particles; overs: the decays over that threshold; last: time; step: of descent.
    """
    figure, axes = plot.figure(height=3.0)
    device, times = torch.device("cpu"), np.linspace(0, last, 26)
    parts = (part,)
    for over, colour in zip(overs, ("blue", "sky", "red", "orange"), strict=True):
        net, inputs, targets, state = setting.drawn((seed,), device, scale=collapse.SMALL, parts=parts)
        edge = collapse.thresholds(inputs, targets, net)[part]
        field = model.field(inputs, targets, net, over * edge)
        record = flow.integrate(
            field,
            state,
            step=step,
            times=times,
            observe=lambda now, at=(inputs, targets, net): collapse.modes(now, *at),
        )
        size = record.values[part].flatten(2).norm(dim=2)[:, 0]
        plot.measured(axes, record.times[:, 0], size[:, None], colour, rf"$\lambda = {over:g}\,|b|$")
        factor = (1 + step * float(edge) * (1 - over)) ** (record.times[:, 0].numpy() / step)
        plot.theory(axes, record.times[:, 0], float(size[0]) * factor)
    axes.set(yscale="log", xlabel="time $t$", ylabel="size along the leading direction")
    plot.direct(axes)
    return figure


def vision_figure(arrays, every):
    """Training loss and test accuracy of the vision Transformer over steps, over heads above and over depth below.

    arrays: of the stored sweep; every: steps between two looks.
    """
    figure, panels = plot.figure(2, 2, height=2.3, sharex=True, sharey="col")
    families = (SHAPES[:4], (SHAPES[4], SHAPES[1], SHAPES[5]))
    for row, shapes, which in zip(panels, families, (0, 1), strict=True):
        for axes, name, label in zip(row, ("loss", "test"), ("training loss", "test accuracy"), strict=True):
            for shape, colour in zip(shapes, ("sky", "blue", "green", "purple"), strict=False):
                values = arrays[name][:, SHAPES.index(shape)]
                steps = every * np.arange(values.shape[1])
                known = f"{shape[which]} " + ("heads", "blocks")[which]
                axes.fill_between(steps, values.min(0), values.max(0), color=plot.COLOURS[colour], alpha=0.15, lw=0)
                axes.plot(steps, values.mean(axis=0), color=plot.COLOURS[colour], lw=1.6, label=known)
            axes.set_ylabel(label)
        row[1].legend(fontsize=7.5)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    return figure
