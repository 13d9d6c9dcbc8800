"""The closed forms that explorables draw, from the theory of each chapter: name -> (arguments, expression).

Nothing is typed twice: what a chapter's ``theory.py`` states is taken from there, and what follows from it is derived.
"""

from functools import cache

import sympy as sp

from attnflow.foundations import theory as one


@cache
def foundations():
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


CHAPTERS = {"foundations": foundations}
