"""Still pictures of explorables, for print and for a page without JavaScript: what each shows when it is opened."""

import attnflow_closed_forms
import attnflow_stored
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from attnflow import plot
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
    for balance, colour, name in ((imbalance, "blue", "run"), (0.0, "orange", "balanced ghost")):
        places = np.array([solvable.split(level, balance) for level in levels])
        times = [0.0, *(theory.arrival_time(start, level, target, balance) for level in levels[1:])]
        plane.plot(*places.T, color=plot.COLOURS[colour], lw=2.5)
        plane.plot(*places[0], "o", color=plot.COLOURS[colour], ms=6)
        panel.plot([*times, end], [*levels, levels[-1]], color=plot.COLOURS[colour], lw=2, label=name)
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$a$", ylabel="$b$")
    panel.set(xlim=(0, end), ylim=(0, 1.1 * target), xlabel="time $t$", ylabel="product $u = ab$")
    panel.legend(loc="lower right")
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


def meanfield(path, plain=0.5, many=4, most=1.0):
    """Chapter 5: branches of the scalar model over the decay, for one head and for ``many``.

    path: of the picture; plain, many: a and N of the right panel; most: of the decay.
    """
    known = {name: sp.lambdify(*each) for name, each in attnflow_closed_forms.meanfield().items()}
    figure, panels = plot.figure(2, height=2.7, sharey=True)
    critical, fold = known["critical"](plain), known["fold"]()
    for axes, count in zip(panels, (1, many), strict=True):
        joins, end = known["joins"](plain, count), known["end"](count)
        outputs = (np.linspace(0, joins, 40), np.linspace(joins, fold, 40), np.linspace(fold, 1, 80))
        for piece, style in zip(outputs, ("-", "--", "-"), strict=True):
            axes.plot(known["branch"](piece, plain, count), piece, color=plot.COLOURS["black"], ls=style)
        axes.plot([critical, most], [0, 0], color=plot.COLOURS["black"])
        axes.plot([0, critical], [0, 0], color=plot.COLOURS["black"], ls="--")
        for place, name in ((critical, r"$\lambda_c$"), (end, r"$\lambda_{\mathrm{end}}$")):
            axes.axvline(place, color=plot.COLOURS["red"], lw=0.8, ls=":")
            axes.annotate(name, (place, 0.9), color=plot.COLOURS["red"], textcoords="offset points", xytext=(3, 0))
        axes.set(xlim=(0, most), ylim=(-0.03, 1), title=f"$N = {count}$", xlabel=r"weight decay $\lambda$")
    panels[0].set_ylabel("output $u$ at rest")
    keep(figure, path)


def density(path, shown=(0, 4, 8, 24)):
    """Chapter 5: the density of the last block at some times, and the objective beside what the velocity paid.

    path: of the picture; shown: which of the stored times.
    """
    stored = attnflow_stored.density()
    run, times, centres = stored["runs"][0], stored["times"], np.array(stored["centres"])
    figure, (left, right) = plot.figure(2, height=2.6)
    for place, frame in enumerate(shown):
        row = np.array(run["density"][frame][-1]) / 1000
        colour = plot.COLOURS["orange" if place == 0 else "blue"]
        across = centres[run["first"] : run["first"] + len(row)]
        left.plot(across, row, color=colour, alpha=1.0 if place == 0 else 0.3 + 0.7 * place / len(shown))
    for place in stored["teacher"]:
        left.axvline(place, color=plot.COLOURS["black"], lw=0.9, ls="--")
    left.set(xlabel=r"head $\theta$", ylabel=r"density $\rho$, block 3", ylim=(0, None))
    right.plot(times, run["objective"], color=plot.COLOURS["blue"], lw=2)
    plot.theory(right, times, run["objective"][0] - np.array(run["paid"]))
    right.set(xlabel="time $t$", ylabel=r"objective $\mathcal{Q}$", ylim=(0, None))
    keep(figure, path)


CHAPTERS = {"foundations": foundations, "kernels": kernels, "meanfield": meanfield, "density": density}
