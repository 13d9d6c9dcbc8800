"""Chapter 5: the collapse of one head."""

from functools import cache

import numpy as np
import sympy as sp

from attnflow import plot
from attnflow.meanfield import scalar
from moving import keep


@cache
def closed_forms():
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


def still(path, plain=0.5, many=4, most=1.0):
    """Chapter 5: branches of the scalar model over the decay, for one head and for ``many``.

    path: of the picture; plain, many: a and N of the right panel; most: of the decay.
    """
    known = {name: sp.lambdify(*each) for name, each in closed_forms().items()}
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
