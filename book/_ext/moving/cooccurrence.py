"""Chapter 2: the reduced flow, for classes of any size."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import sympy as sp

from attnflow import plot
from attnflow.cooccurrence import balance, reduced, setting, task
from attnflow.cooccurrence.figures import CLASSES, TAU, clock
from moving import keep


@cache
def closed_forms():
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
        # Zero where the ratio is at the low end of its range, and finite at its poles.
        "excess": (sums, upper - low * lower),
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


def still(path, last=1e5, most=150, lengths=(3, 10)):
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
    keep(figure, path)
