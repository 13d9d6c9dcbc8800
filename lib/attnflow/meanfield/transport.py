r"""Chapter 5, transport: the PDE of the toy by finite volumes, against particles that carry the density exactly."""

import sympy as sp
import torch

from attnflow import Below, Control, Experiment, Near, Trial, curves, door, flow, kinds, runs
from attnflow.meanfield import cloud, scalar, toy, volumes
from attnflow.meanfield.setting import claim

TIME, DECAY, GAUSS = 4.0, 0.05, 200


def variations(seeds: tuple, device: torch.device, factor: float = toy.DEPTH, cells: int = 35) -> dict:
    r"""The first variation by hand and ``factor`` times the slope of the objective by the masses, by autograd.

    seeds, device: of the runs; cells: of random masses, (S, J, cells). Returns ``gap``, their largest distance over the largest
    slope, (S,).
    """
    tokens, targets = toy.drawn(seeds, device)
    masses = _random(seeds, device, cells)
    places = volumes.Scheme(cells=cells).centres.to(device)
    by_hand = toy.variation(masses, places, tokens, targets, DECAY)["V"]
    slope = flow.autograd(lambda state: toy.objective(state["masses"], places, tokens, targets, DECAY))
    wanted = factor * slope({"masses": masses})[1]["masses"]
    return {"gap": (by_hand - wanted).abs().flatten(1).amax(dim=1) / wanted.abs().flatten(1).amax(dim=1)}


def _random(seeds, device, cells):
    """Random masses in cells, of sum 1 in every layer: (S, J, cells)."""
    streams = runs.streams(seeds, "masses")
    drawn = [torch.rand(toy.DEPTH, cells, generator=one, dtype=runs.DTYPE, device="cpu") for one in streams]
    return torch.nn.functional.normalize(torch.stack(drawn), p=1, dim=2).to(device)


def marched(
    seeds: tuple, device: torch.device, cells: int = 140, decay: float = DECAY, time: float = TIME, **settings
) -> dict:
    r"""Finite volumes up to a time.

    seeds, device: of the runs; cells: K; decay: $\lambda$; time: of the end; settings: of ``volumes.Scheme``. Returns, besides
    what ``volumes.march`` does, ``lost``, what the objective lost, ``paid``, what was dissipated, and ``square``, the mean
    square of the heads at the end, (S,) each.
    """
    tokens, targets = toy.drawn(seeds, device)
    scheme = volumes.Scheme(cells=cells, **settings)
    found = volumes.march(scheme, tokens, targets, decay, (0.0, time))
    square = (found["masses"][-1] * scheme.centres.to(device).square()).sum(dim=2).mean(dim=1)
    lost = found["objective"][0] - found["objective"][-1]
    return found | {"lost": lost, "paid": found["dissipated"][-1], "square": square}


def compared(
    seeds: tuple, device: torch.device, cells: tuple = (140,), time: float = TIME, count: int = GAUSS, **settings
) -> dict:
    r"""Finite volumes on several grids against Gauss particles, $\lambda = 0.05$ for these.

    seeds, device: of the runs; cells: (W,), the K of the grids; time: of the end; count: of the particles; settings: of
    :func:`marched`. Returns ``error``, the root mean square over sequences of the difference of the outputs, and ``square``, the
    mean square of the heads, (W, S) each; ``carried``, that of the particles, (S,); and ``cells``.
    """
    tokens, targets = toy.drawn(seeds, device)
    places, masses = (each.to(device) for each in cloud.gauss(count))
    start = {"theta": places.expand(len(seeds), toy.DEPTH, -1).clone()}
    field = cloud.field(tokens, targets, DECAY, volumes.Nodes(), masses)
    ends = flow.integrate(field, start, step=0.1, times=[time], method=flow.RungeKutta()).state["theta"]
    known = toy.outputs(masses.expand_as(ends), ends, tokens)
    grids = [marched(seeds, device, one, time=time, **settings) for one in cells]
    errors = torch.stack([(grid["outputs"][-1] - known).square().mean(dim=1).sqrt() for grid in grids])
    squares = torch.stack([grid["square"] for grid in grids])
    return {"error": errors, "square": squares, "carried": (ends.square() @ masses).mean(dim=1), "cells": cells}


def balance(seeds: tuple, device: torch.device, cells: int = 70, **settings) -> dict:
    r"""The slope of the objective along the scheme itself, and minus $\frac1J\sum h\,uF$ over faces, at random masses.

    seeds, device: of the runs; cells, settings: of ``volumes.Scheme``. Returns ``gap``, their relative distance, (S,).
    """
    tokens, targets = toy.drawn(seeds, device)
    masses = _random(seeds, device, cells)
    scheme = volumes.Scheme(cells=cells, **settings)
    speeds = scheme.look(masses, tokens, targets, DECAY)["speeds"]
    basis, places = scheme.tables[0].to(device), scheme.nodes.places.to(device)
    slope = flow.autograd(lambda state: toy.objective(state["masses"] @ basis, places, tokens, targets, DECAY))
    along = (slope({"masses": masses})[1]["masses"] * scheme.change(masses, speeds)).sum(dim=(1, 2))
    lost = scheme.width * (speeds * scheme.carried(masses, speeds)).sum(dim=2).mean(dim=1)
    return {"gap": (along / lost + 1).abs()}


@door.takes(courant=scalar.RATIO)
def stays_positive(courant: sp.Rational) -> bool:
    r"""Whether the weights of the densities at faces, E and W, in an upwind step are not negative and sum to $1 - c(u_R - u_L)$.

    $\frac12 - cu_R^+$, $\frac12 + cu_L^-$, $cu_L^+$ and $-cu_R^-$ are linear between their corners, so the corners decide.
    courant: the bound of $|cu|$, $c = \Delta t/h$, a positive number.
    """
    right, left = sp.symbols("cu_R cu_L", real=True)
    states = sp.symbols("E W E_before W_after", nonnegative=True)
    east, west, before, after = states

    def carried(speed, upstream, downstream):
        return sp.Max(speed, 0) * upstream + (speed - sp.Max(speed, 0)) * downstream

    new = sp.expand((east + west) / 2 - carried(right, east, after) + carried(left, before, west))
    weights = [new.coeff(state) for state in states]
    corners = [-courant, 0, courant]
    least = min(weight.subs({right: one, left: other}) for weight in weights for one in corners for other in corners)
    return bool(least >= 0) and sp.expand(sum(weights) - 1 + right - left) == 0


@door.takes(
    cells=door.whole(8), decay=door.NONNEGATIVE, times=door.several(door.NUMBER, least=0), courant=door.POSITIVE
)
def solve(
    seeds: tuple = tuple(range(10)),
    *,
    cells: int = 280,
    decay: float = DECAY,
    times: tuple = (0.0, TIME),
    courant: float = 0.4,
    device: torch.device | str | None = None,
) -> dict:
    r"""The densities of the three layers of the toy, by the finite volumes of this section.

    seeds: of the data, one run each; cells: at least 8; decay: $\lambda$, at least 0; times: increasing from 0; courant: at most
    1/2, up to which densities stay positive; device: of the runs. Returns ``faces`` (K + 1,), ``density`` (T, S, J, K), and
    ``objective``, ``least``, ``mass``, ``seen``, ``steps`` of ``volumes.march``. Raises WrongUse on anything else.
    """
    allowed = f"greater than 0 and at most {volumes.ALLOWED}, the CFL condition"
    runs.check("courant", courant, allowed, 0 < runs.number("courant", courant) <= volumes.ALLOWED)
    scheme = volumes.Scheme(cells=cells, courant=courant)
    found = volumes.march(scheme, *toy.drawn(tuple(seeds), runs.device(device)), decay, times)
    return {"faces": scheme.faces, "density": found["masses"] / scheme.width} | {
        name: found[name] for name in ("objective", "least", "mass", "seen", "steps")
    }


def observed(record):
    """Reading of a ``record``: the order in the width of a cell in which the error of the outputs falls. (S,)."""
    return -curves.log_slope(record["cells"], record["error"])


by_hand = Experiment(variations)
refined, carried = (Experiment(compared, {"cells": cells}) for cells in ((70, 140, 280), (140,)))
fine, middle, coarse = (Experiment(marched, {"cells": cells}) for cells in (280, 140, 70))
identity = Experiment(balance)

CLAIMS = (
    claim(
        "transport-variation",
        "What moves a head is the slope of the objective by mass",
        r"$V_j(\theta)$, by hand through the adjoint of three layers, is $J\,\partial\mathcal Q/\partial w$ of a mass $w$ at "
        r"$\theta$, by autograd: largest relative difference at random masses in 35 cells.",
        Trial(by_hand, lambda record: record["gap"], Below(1e-13)),
        Control("the factor $J$ left out", {"factor": 1}),
    ),
    claim(
        "transport-mass",
        "No head is lost",
        r"Finite volumes with 280 cells keep the mass of each layer up to time 4: largest relative error.",
        Trial(fine, lambda record: record["mass"], Below(1e-13)),
        Control(
            r"$\partial_t\rho = \partial_\theta\rho\,\partial_\theta V$, without $\rho\,\partial_\theta^2V$",
            {"form": "advective"},
        ),
    ),
    claim(
        "transport-convex",
        "A density stays positive because each step is a sum of positive parts",
        r"An upwind step gives a cell a combination of the densities at faces with the weights $\frac12 - \kappa u_R^+$, "
        r"$\frac12 + \kappa u_L^-$, $\kappa u_L^+$, $-\kappa u_R^-$, with the step over the width of a cell as $\kappa$: none is "
        r"negative while $\kappa|u| \le \frac12$, and with minmod the densities at faces are not negative.",
        kinds.proof(stays_positive, courant=sp.Rational(1, 2)),
        Control(r"$\kappa|u| \le \frac34$", {"courant": sp.Rational(3, 4)}),
        provenance="textbook",
    ),
    claim(
        "transport-positive",
        "Positive without clipping",
        r"With minmod and steps of 0.4 of a cell no density is negative, up to time 4: the most negative one over the highest, "
        "70 cells.",
        Trial(coarse, lambda record: -record["least"], Below(1e-14)),
        Control("slopes by central differences, without a limiter", {"limiter": "central"}),
    ),
    claim(
        "transport-order",
        "The scheme has order 2",
        r"Against particles that carry the density exactly, the error of the outputs at time 4 falls as $h^2$: slope over 70, "
        "140 and 280 cells, in nine of ten seeds. Where the limiter cuts a peak the order comes in late.",
        Trial(refined, observed, Near(abs=0.12), predict=2.0, kind="order", quota=(9, 10)),
        Control("no slopes in the cells: first-order upwind", {"limiter": "none"}),
    ),
    claim(
        "transport-dissipation",
        "What the objective loses, the velocity pays",
        r"$\mathcal Q(0) - \mathcal Q(4)$ over $\int\frac1J\sum_j\int\rho_j|\partial_\theta V_j|^2\,d\theta\,dt$, 140 cells.",
        Trial(middle, lambda record: record["lost"] / record["paid"], Near(rel=0.005), predict=1.0),
        Control("a learning rate without $J$", {"rate": 1 / toy.DEPTH}),
    ),
    claim(
        "transport-scheme",
        "The scheme itself goes downhill, at any width of a cell",
        r"With $u = -(V_{k+1} - V_k)/h$ the objective of the masses falls at exactly $\frac1J\sum_j\sum_kh\,uF \ge 0$, $F$ the "
        "upwind flux: relative difference to autograd at random masses.",
        Trial(identity, lambda record: record["gap"], Below(1e-11)),
        Control(r"$u = -\partial_\theta V$ at the faces", {"speeds": "derivative"}),
    ),
    claim(
        "transport-square",
        "The density moves as its particles do",
        r"The mean of $\theta^2$ over heads and layers, which the decay is charged for, at time 4: 140 cells against particles.",
        Trial(carried, kinds.last("square"), Near(abs=0.004), predict=lambda record: record["carried"]),
        Control("no decay in the cells", {"decay": 0.0}),
    ),
)
