"""The closed forms that explorables draw, from the theory of each chapter: name -> (arguments, expression).

Nothing is typed twice: what a chapter's ``theory.py`` states is taken from there, and what follows from it is derived.
"""

from functools import cache
from types import SimpleNamespace

import numpy as np
import sympy as sp
import torch

from attnflow import runs
from attnflow.cooccurrence import balance, reduced, setting, task
from attnflow.encoder import kernel as tangent
from attnflow.encoder import theory as three
from attnflow.foundations import theory as one
from attnflow.kernels import landscape, wells
from attnflow.kernels import theory as four


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


# Chapter 3 shows two samples of four orthonormal tokens. In the second two are turned round: the means are orthogonal.
SIGNS = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1]], dtype=runs.DTYPE)
TOKENS = torch.diag_embed(SIGNS)[None]
VARIANCES = (-15, 5)  # powers of 2 that the page reaches


@cache
def encoder():
    """Chapter 3: attention to four tokens, its entropy deficit, and the spread of one entry of the kernel over draws.

    The spread is that of k neurons at uniform attention, by :func:`attnflow.encoder.kernel.neuron_squares`, and that of
    the attention to first order in the logits: the mean of the mixed tokens moves by their covariance.
    """
    k, u = sp.symbols("k u", positive=True)
    s, v, x, doublings = sp.symbols("s v x log2_k", real=True)
    power = sp.interpolate([(each, three.logit_power(each)) for each in (0, 1)], s)
    logits, shares = sp.symbols("z:4", real=True), sp.symbols("p:4", positive=True)
    softmax = 1 / sum(sp.exp(each - logits[0]) for each in logits)
    deficit = 1 + sum(share * sp.log(share) for share in shares) / sp.log(len(shares))

    least, most = VARIANCES
    grid = np.linspace(least, most, 81)
    known = np.log10(three.deficit(2.0**grid, len(shares)))
    fit = np.polynomial.Chebyshev.fit(grid, known, 12).convert(kind=np.polynomial.Polynomial, domain=[least, most])
    scaled = sp.Rational(2, most - least) * (x - sp.Rational(most + least, 2))
    mean = 10 ** sp.horner(sp.Poly.from_list([sp.Float(each) for each in fit.coef[::-1]], gens=v).as_expr()).subs(
        v, scaled
    )

    size, cosine, a, b, c = sp.symbols(
        "size cosine a b c", real=True
    )  # a, b, c: squares of two tokens, and their product
    zeroth, first, angle = three.arc_cosine_kernels()
    neurons = size * (first + cosine * zeroth).subs(angle, sp.acos(cosine))
    means = [sp.Matrix(each) / 4 for each in SIGNS.int().tolist()]
    squares, limit = (each(TOKENS.mean(dim=2))[0, 0, 1] for each in (tangent.neuron_squares, tangent.neurons))
    at = {a: means[0].dot(means[0]), b: means[1].dot(means[1]), c: means[0].dot(means[1])}
    smooth = neurons.subs({size: sp.sqrt(a * b), cosine: c / sp.sqrt(a * b)})
    by_first, by_second, by_both = (sp.simplify(smooth.diff(each).subs(at)) for each in (a, b, c))
    turned = sp.zeros(4)
    for own, other, by_own in ((*means, by_first), (*means[::-1], by_second)):
        covariance = sp.eye(4) / 4 - own * own.T
        turned += own * (covariance * (2 * by_own * own + by_both * other)).T
    attention, sampled = turned.norm() * k ** (power / 2), sp.Float(float(squares - limit**2)) / k
    return {
        "radius": ((u,), sp.sqrt(-2 * sp.log(u))),
        "decades": ((u,), sp.log(u, 10)),
        "tau_0": ((k, s), k ** ((power - 1) / 2)),
        "share": (logits, softmax),
        "deficit_of": (shares, deficit),
        "log_variance": ((s, doublings), power * doublings),
        "deficit": ((x,), mean),
        "neurons": ((size, cosine), neurons),
        "limit": ((), sp.Float(float(limit))),
        "spread": ((k, s), sp.sqrt(sampled + attention**2)),
        "apart": ((k, s), attention),
    }


@cache
def cooccurrence():
    """Chapter 2: margins, loss derivatives and velocity of the reduced flow, and its limit for classes of any size."""
    n, length = balance.SAMPLES, balance.LENGTH
    scores, margin = sp.symbols("gamma_1:8", real=True), sp.Symbol("m", real=True)
    fractions, forces, sums = (
        sp.symbols("f_1:5", positive=True),
        sp.symbols("g_1:5", positive=True),
        sp.symbols("s_1:5", nonnegative=True),
    )
    flow = SimpleNamespace(length=length)  # in the place of a Reduced whose length is a number
    flow.free = reduced.Reduced.free.fget(flow)
    margins = sp.Matrix(reduced.Reduced.margins(flow, np.array(scores))).applyfunc(sp.nsimplify)
    count = [1, 1, 1, *(sp.nsimplify(free) * part * n for free, part in zip(flow.free, fractions, strict=True))]
    pull = sp.Matrix([f * g for f, g in zip(fractions, forces, strict=True)]).T * margins.jacobian(scores)
    along = [sp.cancel(each / many) for each, many in zip(pull, count, strict=True)]

    weights = [each.subs({g: s / f for g, s, f in zip(forces, sums, fractions, strict=True)}) for each in along]
    first, second, third, fourth = (
        each.subs(sums[0], 1) for each in margins.subs(dict(zip(scores, weights, strict=True)))
    )
    (idle,) = sp.solve([first - second, first - third, sums[3]], sums[1:], dict=True)
    (active,) = sp.solve([first - second, first - third, first - fourth], sums[1:], dict=True)
    (upper, lower), (low, high) = sp.fraction(balance.ratio(*sums)), balance.RANGE
    found = {
        "derivative": ((margin,), sp.simplify(-sp.diff(sp.log(1 + sp.exp(-margin)), margin))),
        "norm": (
            (*scores, n, length, *fractions),
            sp.sqrt(sum(many * each**2 for many, each in zip(count, scores, strict=True))),
        ),
        "ratio": (sums, upper / lower),
        "excess": (
            sums,
            upper - low * lower,
        ),  # zero where the ratio is at the low end of its range, finite at its poles
    }
    found |= {f"margin_{place}": ((*scores, length), each) for place, each in enumerate(margins, start=1)}
    found |= {f"along_{place}": ((*forces, *fractions, n), each) for place, each in enumerate(along, start=1)}
    limits = {"slack": (fourth / first).subs(idle) - 1, "second_idle": idle[sums[1]], "third_idle": idle[sums[2]]}
    limits |= {
        f"{name}_active": active[each] for name, each in zip(("second", "third", "fourth"), sums[1:], strict=True)
    }
    found |= {name: ((n, length, *fractions), sp.factor(each)) for name, each in limits.items()}
    asked, few = task.Task(), setting.BROKEN["few"].settings["samples"]
    constants = {"samples": asked.samples, "length": asked.length, "few": few, "low": low, "high": high}
    classes = {name: setting.BROKEN[name].settings["fractions"] for name in ("unequal", "rare")}
    for name, shares in {"equal": task.EQUAL, **classes}.items():
        exact = [sp.Rational(share).limit_denominator(100) for share in shares]
        whole = sp.ilcm(*(share.q for share in exact))
        constants |= {f"{name}_{place}": share * whole for place, share in enumerate(exact, start=1)}
    return found | {name: ((), sp.Integer(value)) for name, value in constants.items()}


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


CHAPTERS = {"foundations": foundations, "cooccurrence": cooccurrence, "encoder": encoder, "kernels": kernels}
