"""Still pictures of explorables, for print and for a page without JavaScript: what each shows when it is opened."""

import attnflow_closed_forms
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from attnflow import plot, runs
from attnflow.cooccurrence import balance, reduced, task
from attnflow.cooccurrence.figures import CLASSES, TAU, clock
from attnflow.encoder import kernel as tangent
from attnflow.encoder import model
from attnflow.foundations import solvable, theory
from attnflow.kernels import landscape, wells

STILL = {"svg.hashsalt": "attnflow", "svg.fonttype": "path"}


def keep(figure, path):
    """Write a ``figure`` as SVG, the same bytes each time, to a ``path``."""
    with plt.rc_context(STILL):
        figure.savefig(path, format="svg", metadata={"Date": None}, transparent=True)
    plt.close(figure)


def foundations(path, start=0.02, target=1.0, imbalance=2.0, reach=2.3, end=6.0):
    """Chapter 1: a run on its hyperbola beside the balanced one, and the product of both over time.

    path: of the picture; start, target, imbalance: of the run; reach: of the plane; end: of the time.
    """
    figure, (plane, panel) = plot.figure(2, height=3.4)
    levels = np.unique([np.geomspace(start, target / 2, 150), target - np.geomspace(target / 2, 1e-4, 150)])
    laws, separatrix = theory.invariant_curves(np.linspace(-reach, reach, 300), (imbalance,))
    for curve in (*laws[:2], separatrix):
        plot.theory(plane, *curve)
    low = np.linspace(target / reach, reach, 100)[:, None] * [1, -1]
    plane.plot(low, target / low, color=plot.COLOURS["red"], lw=2)
    for kept, colour, name in ((imbalance, "blue", "run"), (0.0, "orange", "balanced ghost")):
        places = np.array([solvable.split(level, kept) for level in levels])
        times = [0.0, *(theory.arrival_time(start, level, target, kept) for level in levels[1:])]
        plane.plot(*places.T, color=plot.COLOURS[colour], lw=2.5)
        plane.plot(*places[0], "o", color=plot.COLOURS[colour], ms=6)
        panel.plot([*times, end], [*levels, levels[-1]], color=plot.COLOURS[colour], lw=2, label=name)
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$a$", ylabel="$b$")
    panel.set(xlim=(0, end), ylim=(0, 1.1 * target), xlabel="time $t$", ylabel="product $u = ab$")
    panel.legend(loc="lower right")
    keep(figure, path)


def cooccurrence(path, last=1e5, most=150, lengths=(3, 10)):
    """Chapter 2: the shares of the reduced flow on their way to the dual, and the map of samples and length.

    path: of the picture; last: tau; most: samples of the map; lengths: its least and its greatest.
    """
    figure, (panel, plane) = plot.figure(2, height=2.6)
    asked, taus = task.Task(), np.geomspace(1, last, 300)
    sums = reduced.Reduced(asked.samples, asked.length).solve(taus)["sums"]
    second, fourth, _ = balance.predicted(asked.samples, asked.length)
    dual = np.array([1, second, second, fourth])
    names = ("$I_1$ both", "$I_2$, $I_3$ one", "_", "$I_4$ neither")
    for share, colour, name in zip((sums.T / sums.sum(axis=1)), CLASSES, names, strict=True):
        panel.plot(taus, share, color=plot.COLOURS[colour], lw=2, label=name)
    for level in dual / dual.sum():
        plot.theory(panel, [1, last], [level, level], "_")
    counts = np.linspace(6, most, 200)
    for zero, style in ((balance.lower_end() - balance.SAMPLES, {}), (balance.edge(), {"ls": ":"})):
        plot.theory(plane, counts, balance.lengths_at(zero, counts), **style)
    plane.plot(asked.samples, asked.length, "o", color=plot.COLOURS["blue"])
    panel.set(ylim=(0, 0.6), ylabel="share of the gradient", **clock(1, last, TAU))
    panel.legend(loc="upper right")
    plane.set(xlim=(0, most), ylim=lengths, xlabel="samples $n$", ylabel="length $L$")


def encoder(path, scalings=((1.0, "blue"), (0.5, "orange")), doublings=range(4, 11), draws=30):
    """Chapter 3: draws of one entry of the kernel over the width, at two scalings, and their spread with its law.

    path: of the picture; scalings: (s, colour) each; doublings: log2 of the widths; draws: how many.
    """
    figure, (fan, panel) = plot.figure(2, height=3.0)
    forms, widths = attnflow_closed_forms.encoder(), 2.0 ** np.array(doublings)
    law, seen = sp.lambdify(*forms["spread"]), attnflow_closed_forms.TOKENS.repeat(draws, 1, 1, 1)
    for beside, (scaling, colour) in zip((1.05, 0.95), scalings, strict=True):
        entries = []
        for width in widths:
            net = model.Encoder(d=seen.shape[3], width=int(width), init="ntk", scaling=scaling)
            start = model.init(runs.streams(range(draws), "still", net.width), net)
            entries.append(tangent.empirical(start, seen, net)[:, 0, 1].numpy())
        look = {"color": plot.COLOURS[colour]}
        fan.plot(
            beside * np.repeat(widths, draws),
            np.ravel(entries),
            "o",
            ms=3,
            alpha=0.6,
            label=f"$s = {scaling:g}$",
            **look,
        )
        panel.loglog(widths, np.std(entries, axis=1, ddof=1), "o-", ms=3, **look)
        plot.theory(panel, widths, law(widths, scaling))
    plot.theory(fan, widths[[0, -1]], [float(forms["limit"][1])] * 2)
    fan.set(xscale="log", xlabel="width $k$", ylabel="kernel entry $K$")
    panel.set(xlabel="width $k$", ylabel="spread of thirty draws")
    fan.legend()
    keep(figure, path)


def kernels(path, reach=4.0, widest=2.6, sharpest=3.2):
    """Chapter 4: the loss on the line of the keys for both kernels, and the sharpness from which the Gaussian has a trap.

    path: of the picture; reach: of the line; widest, sharpest: of the spread and the sharpness.
    """
    figure, (line, plane) = plot.figure(2, height=2.6)
    places = np.linspace(-reach, reach, 400)
    for kernel, c, style in (("softmax", 1.0, "-"), ("gaussian", 0.5, ":"), ("gaussian", 1.0, "-")):
        colour = "blue" if kernel == "softmax" else "orange"
        loss = landscape.queries(kernel, c, 1.0).miss(places) ** 2 / 2
        label = f"{kernel}, $\\zeta = {c:g}$"
        line.plot(places, loss, color=plot.COLOURS[colour], lw=2, ls=style, label=label)
    edge = wells.threshold(0.5)
    spreads = np.linspace(edge / sharpest**0.5, widest, 200)
    plot.theory(plane, spreads, (edge / spreads) ** 2)
    plane.text(0.62 * widest, 0.6 * sharpest, "a third well", ha="center")
    plane.text(0.14 * widest, 0.12 * sharpest, "no trap", ha="center")
    line.set(xlabel="query $q_1$", ylabel="loss", ylim=(0, 0.5))
    line.legend(loc="upper center")
    plane.set(xlim=(0, widest), ylim=(0, sharpest), xlabel="spread $s$ of the keys", ylabel=r"sharpness $\zeta$")
    keep(figure, path)


CHAPTERS = {"foundations": foundations, "cooccurrence": cooccurrence, "encoder": encoder, "kernels": kernels}
