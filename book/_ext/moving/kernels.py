"""Chapter 4: one query in the plane."""

from functools import cache

import numpy as np
import sympy as sp

from attnflow import plot
from attnflow.kernels import landscape, wells
from attnflow.kernels import theory as four
from moving import keep


@cache
def closed_forms():
    """Chapter 4: loss and slope of one query in the plane, with three keys on a line, and where traps begin."""
    x, y = sp.symbols("x y", real=True)
    spread = sp.Symbol("s", positive=True)
    trap = landscape.queries("softmax", 1.0, 1.0)  # the values and the target of the chapter, keys -1, 0, 1
    keys = sp.Matrix([[spread * sp.Integer(int(key)), 0] for key in trap.keys])
    values, target = sp.Matrix([sp.nsimplify(value) for value in trap.values]), sp.nsimplify(trap.target)
    arguments, found = (x, y, spread, four.SHARPNESS), {}
    for kernel in ("softmax", "gaussian"):
        weights = four.scores(kernel, sp.Matrix([[x, y]]), keys, sp.Integer(1)).applyfunc(sp.exp)
        whole = sum(weights) if kernel == "softmax" else 1
        loss = ((weights * values)[0] / whole - target) ** 2 / 2
        parts = {"loss": loss, "along_x": sp.diff(loss, x), "along_y": sp.diff(loss, y)}
        matched = {four.INVERSE: 2 * four.SHARPNESS}
        found |= {f"{name}_{kernel}": (arguments, each.subs(matched)) for name, each in parts.items()}
    turn = wells.turn(trap.values[0]) / (2 * four.SHARPNESS * spread)
    threshold = sp.Float(wells.threshold(trap.values[0]))
    return found | {"border": ((spread, four.SHARPNESS), turn), "threshold": ((), threshold)}


def still(path, reach=4.0, widest=2.6, sharpest=3.2):
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
