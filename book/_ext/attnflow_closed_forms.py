"""The closed forms that explorables draw, from the theory of each chapter: name -> (arguments, expression).

Nothing is typed twice: what a chapter's ``theory.py`` states is taken from there, and what follows from it is derived.
"""

from functools import cache

import sympy as sp

from attnflow.foundations import theory as one
from attnflow.kernels import landscape, wells
from attnflow.kernels import theory as four
from attnflow.meanfield import scalar, volumes


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


@cache
def kernels():
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


@cache
def meanfield():
    """Chapter 5: the scalar model with y = c = 1: the flow of one head of N, its branches and their ends, its landscape."""
    u, decay, plain, count = scalar.OUTPUT, scalar.DECAY, scalar.PLAIN, scalar.COUNT
    case = {scalar.GAIN: 1, scalar.TARGET: 1}
    out, ask, (v, o, q, k) = scalar.OUT, scalar.ASK, sp.symbols("v o q k", positive=True)
    output = out * (plain + scalar.GAIN * ask)
    risk, cost = (scalar.TARGET - output) ** 2 / 2, decay * (out + ask / count)

    net = risk.subs({out: v * o, ask: count * q * k}) + decay * (v**2 + o**2 + q**2 + k**2) / 2
    even = {o: v, k: q} | case
    along_v, along_q = (-net.diff(each).subs(even) for each in (v, q))
    (v_by_v, v_by_q), (_, q_by_q) = sp.Matrix([along_v, along_q]).jacobian([v, q]).tolist()

    (asked,) = sp.solve(output - u, ask)  # what an output costs at least: its split into B and M
    (cheap,) = sp.solve(cost.subs(ask, asked).diff(out), out)
    (joins,) = sp.solve(asked.subs(out, cheap), u)
    split = {out: sp.Piecewise((u / plain, u <= joins), (cheap, True))}
    split[ask] = sp.Piecewise((0, u <= joins), (asked.subs(out, cheap), True))
    (lower,) = sp.solve((risk + cost).subs(ask, 0).diff(out), decay)
    lower = lower.subs(out, u / plain)
    place, end = scalar.fold()
    found = {
        "along_v": ((v, q, plain, count, decay), along_v),
        "along_q": ((v, q, plain, count, decay), along_q),
        "v_by_v": ((v, q, plain, count, decay), v_by_v),
        "v_by_q": ((v, q, plain, count, decay), v_by_q),
        "q_by_q": ((v, q, plain, count, decay), q_by_q),
        "output": ((v, q, plain, count), output.subs({out: v * o, ask: count * q * k}).subs(even)),
        "split_v": ((u, plain, count), sp.sqrt(split[out])),
        "split_q": ((u, plain, count), sp.sqrt(split[ask] / count)),
        "landscape": ((u, plain, count, decay), (scalar.TARGET - u) ** 2 / 2 + cost.subs(split, simultaneous=True)),
        "branch": ((u, plain, count), sp.Piecewise((lower, u <= joins), (scalar.upper(), True))),
        "joins": ((plain, count), joins),
        "fold": ((), place),
        "critical": ((plain,), lower.subs(u, 0)),
        "switch": ((plain, count), scalar.upper().subs(u, joins)),
        "end": ((count,), end),
        "band": ((count,), sp.sqrt(count * scalar.GAIN * scalar.TARGET / scalar.ABOVE)),
        "bistable": ((count,), sp.sqrt(count * scalar.GAIN * scalar.TARGET / scalar.ANYWHERE)),
        "target": ((), scalar.TARGET),
    }
    return {name: (arguments, sp.simplify(each.subs(case))) for name, (arguments, each) in found.items()}


@cache
def density():
    """Chapter 5: the density of the heads at the start."""
    theta, power = sp.Symbol("theta", real=True), sp.Integer(volumes.POWER)
    half, centre = sp.nsimplify(volumes.HALF), sp.nsimplify(volumes.CENTRE)
    unit = (theta - centre) / (2 * half) + sp.Rational(1, 2)
    inside = (unit * (1 - unit)) ** (power - 1) / sp.beta(power, power).expand(func=True) / (2 * half)
    known = sp.Piecewise((inside, sp.Abs(theta - centre) < half), (0, True))
    return {"initial": ((theta,), known)}


CHAPTERS = {"foundations": foundations, "kernels": kernels, "meanfield": meanfield, "density": density}
