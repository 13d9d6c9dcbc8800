"""Chapter 1: two numbers that learn."""

from functools import cache

import numpy as np
import sympy as sp

from attnflow import plot
from attnflow.foundations import solvable, theory
from attnflow.foundations import theory as one
from moving import keep


@cache
def closed_forms():
    """Chapter 1: the flow of two numbers, its law, one step of descent, and u in closed form, balanced or not."""
    a, b = sp.symbols("a b", real=True)
    u, c, start, tau = sp.symbols("u c c_0 tau", real=True)
    product, y, t, eta = sp.symbols("M y t eta", positive=True)

    left, right, velocity = one.product_flow(1, 1, 1)
    (force,) = (velocity[left] + velocity[right]).free_symbols - {left[0], right[0]}
    slope = sp.diff((product - y) ** 2 / 2, product).subs(product, a * b)
    names = {left[0]: a, right[0]: b, force: slope}
    along_a, along_b = (velocity[each][0].xreplace(names) - one.RATE * own for each, own in ((left, a), (right, b)))
    law = a**2 - b**2
    moved = law.subs({a: a + eta * along_a, b: b + eta * along_b}, simultaneous=True) - law

    squares = sp.solve(law.subs(b, u / a).subs(a, sp.sqrt(tau)) - c, tau)  # of a, where both ab and a^2 - b^2 are known
    (arm,) = (root for root in sp.solve(law - c, a) if root.subs({b: 0, c: 1}) > 0)
    (factor,) = (sp.sqrt(root) for root in squares if root.subs({u: 1, c: 1}) > 0)

    logistic, *symbols = one.logistic_expression()
    upper, lower = (sp.expand(part * sp.exp(-2 * symbols[2] * symbols[0])) for part in sp.fraction(logistic))
    balance = sp.Symbol("c", positive=True)
    clock, u_of, y_of = one.arrival_clock(balance)
    even, *_ = one.arrival_clock(sp.S.Zero)
    (inside,) = (each.args[0] for each in clock.atoms(sp.asinh))
    (arrived,) = sp.solve(inside - sp.sinh(tau * sp.asinh(inside) / clock), u_of)
    return {
        "slope_a": ((a, b, y, one.RATE), along_a),
        "slope_b": ((a, b, y, one.RATE), along_b),
        "law": ((a, b), law),
        "law_decayed": ((start, one.RATE, t), start * sp.exp(one.decay_flow_balance() * t)),
        "increment": ((a, b, y, eta, one.RATE), sp.factor(moved)),
        "arm": ((b, c), arm),
        "factor": ((u, c), factor),
        "logistic": ((symbols[0], symbols[1], symbols[2]), upper / lower),
        "clock": ((balance, u_of, y_of), clock),
        "clock_balanced": ((u_of, y_of), even),
        "product": ((balance, tau, y_of), arrived),
    }


def still(path, start=0.02, target=1.0, imbalance=2.0, reach=2.3, end=6.0):
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
