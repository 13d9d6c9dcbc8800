r"""Chapter 5, transport: the density of the heads by finite volumes, particles that carry it, and particles drawn from it."""

from functools import partial

import sympy as sp
import torch

from attnflow import Above, Below, Control, Experiment, Near, Trial, curves, flow, kinds, runs
from attnflow.meanfield import particles, toy, volumes
from attnflow.meanfield.setting import claim

TIME, DECAY, GAUSS = 4.0, 0.05, 200
SOON, STEP, SAMPLES, TOGETHER = 2.0, 1.0, 4, 32  # of the random particles, of which so many copies fit a cache


def variations(seeds: tuple, device: torch.device, factor: float = toy.DEPTH, cells: int = 35) -> dict:
    r"""The first variation by hand and ``factor`` times the slope of the objective by the masses, by autograd.

    seeds, device: of the runs; cells: of random masses, (S, J, cells). Returns ``gap``, their largest distance over the largest
    slope, (S,).
    """
    tokens, targets = toy.drawn(seeds, device)
    streams = runs.streams(seeds, "masses")
    masses = torch.stack([torch.rand(toy.DEPTH, cells, generator=one, dtype=runs.DTYPE, device="cpu") for one in streams])
    masses = (masses / masses.sum(dim=2, keepdim=True)).to(device)
    places = volumes.Scheme(cells=cells).centres.to(device)
    by_hand = toy.variation(masses, places, tokens, targets, DECAY)["V"]
    slope = flow.autograd(lambda state: toy.objective(state["masses"], places, tokens, targets, DECAY))
    wanted = factor * slope({"masses": masses})[1]["masses"]
    return {"gap": (by_hand - wanted).abs().flatten(1).amax(dim=1) / wanted.abs().flatten(1).amax(dim=1)}


def marched(
    seeds: tuple,
    device: torch.device,
    cells: tuple = (140,),
    decay: float = DECAY,
    time: float = TIME,
    **settings,
) -> dict:
    r"""Finite volumes on several grids, and Gauss particles at $\lambda = 0.05$ that stand for the density.

    seeds, device: of the runs; cells: (W,); decay: $\lambda$ of the finite volumes; time: of the end; settings: of
    ``volumes.Scheme``. Returns, (W, S) each: ``least``, ``mass``, ``seen`` of the march; ``error``, the root mean square over
    sequences of the difference of the outputs; ``lost``, what the objective lost, and ``dissipated``; ``mean``, the mean head
    over the layers, and that of the particles in ``carried``, and ``cells``.
    """
    tokens, targets = toy.drawn(seeds, device)
    nodes = volumes.Nodes()
    places, masses = (each.to(device) for each in particles.gauss(GAUSS))
    start = {"theta": places.expand(len(seeds), toy.DEPTH, -1).clone()}
    run = flow.integrate(
        particles.field(tokens, targets, DECAY, nodes, masses), start, step=0.1, times=[time], method=flow.RungeKutta()
    )
    ends = run.state["theta"]
    known = toy.outputs(masses.expand_as(ends), ends, tokens)
    rows = []
    for count in cells:
        scheme = volumes.Scheme(cells=count, **settings)
        found = volumes.march(scheme, tokens, targets, decay, (0.0, time))
        rows.append(
            {name: found[name] for name in ("least", "mass", "seen")}
            | {
                "error": (found["outputs"][-1] - known).square().mean(dim=1).sqrt(),
                "lost": found["objective"][0] - found["objective"][-1],
                "dissipated": found["dissipated"][-1],
                "mean": (found["masses"][-1] * scheme.centres.to(device)).sum(dim=2).mean(dim=1),
                "carried": (ends @ masses).mean(dim=1),
            }
        )
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"cells": cells}


def balance(seeds: tuple, device: torch.device, cells: int = 70, **settings) -> dict:
    r"""The slope of the objective along the scheme itself, and minus $\frac1J\sum h\,uF$ over faces, at random masses.

    seeds, device: of the runs; cells, settings: of ``volumes.Scheme``. Returns ``gap``, their relative distance, (S,).
    """
    tokens, targets = toy.drawn(seeds, device)
    streams = runs.streams(seeds, "masses")
    masses = torch.stack([torch.rand(toy.DEPTH, cells, generator=one, dtype=runs.DTYPE, device="cpu") for one in streams])
    masses = (masses / masses.sum(dim=2, keepdim=True)).to(device)
    scheme = volumes.Scheme(cells=cells, **settings)
    speeds = scheme.look(masses, tokens, targets, DECAY)["speeds"]
    basis, places = scheme.tables[0].to(device), scheme.nodes.places.to(device)
    slope = flow.autograd(lambda state: toy.objective(state["masses"] @ basis, places, tokens, targets, DECAY))
    along = (slope({"masses": masses})[1]["masses"] * scheme.change(masses, speeds)).sum(dim=(1, 2))
    lost = scheme.width * (speeds * scheme.carried(masses, speeds)).sum(dim=2).mean(dim=1)
    return {"gap": (along / lost + 1).abs()}


def scattered(
    seeds: tuple,
    device: torch.device,
    widths: tuple = (16, 64, 256),
    copies: int = 128,
    draw: str = "independent",
    coupled: bool = True,
    samples: int = SAMPLES,
    time: float = SOON,
) -> dict:
    r"""Random particles against the density, which 1024 particles at its quantiles stand for.

    seeds, device: of the runs; widths: (W,) particles a layer; copies: replicas a seed; draw: of ``particles.drawn``; coupled:
    whether particles feel each other, or the density alone; samples: n; time: of the end. Returns the mean Wasserstein-1
    distance over copies and layers at the start and at the end, ``first`` and ``last``, those of the same draws in the field of
    the density, ``alone``, and those that are ``expected_first`` and ``expected_last`` of independent draws, (W, S) each;
    ``widths``.
    """
    tokens, targets = toy.drawn(seeds, device, samples=samples)
    nodes = volumes.Nodes()
    options = {"step": STEP, "times": [time], "method": flow.RungeKutta()}
    start = particles.quantiles(particles.MANY).to(device)
    every = start.expand(len(seeds), toy.DEPTH, -1).clone()
    end = flow.integrate(particles.field(tokens, targets, DECAY, nodes), {"theta": every}, **options).state["theta"]
    together = min(TOGETHER, copies)
    runs.check("copies", copies, f"a multiple of {together}", copies % together == 0)
    block = copies // together
    fields = [
        particles.field(*(each[run : run + 1] for each in (tokens, targets)), DECAY, nodes)
        for run in range(len(seeds))
        for _ in range(block)
    ]
    rows = []
    for width, places in zip(widths, particles.drawn(runs.replicas(seeds, copies), widths, draw), strict=True):
        places = places.to(device)
        free = moved(places.unflatten(0, (len(seeds), copies)), start, end)
        last = free
        if coupled:
            run = flow.integrate(flow.in_blocks(fields, together), {"theta": places}, **options)
            last = run.state["theta"].unflatten(0, (len(seeds), copies))
        rows.append(
            {
                "first": particles.distance(places.unflatten(0, (len(seeds), copies)), start),
                "last": particles.distance(last, end[:, None]),
                "alone": particles.distance(free, end[:, None]),
            }
        )
        rows[-1] = {name: value.mean(dim=(1, 2)) for name, value in rows[-1].items()} | {
            "expected_first": particles.expected(every, width).mean(dim=1),
            "expected_last": particles.expected(end, width).mean(dim=1),
        }
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"widths": widths}


def moved(places, start, end):
    """Where the flow of the density, which takes sorted ``start`` (M,) to ``end`` (S, J, M), takes ``places`` (S, R, J, m)."""
    right = torch.searchsorted(start, places).clamp(1, len(start) - 1)
    share = (places - start[right - 1]) / (start[right] - start[right - 1])
    tables = end[:, None].expand(-1, places.shape[1], -1, -1)
    low, high = (tables.gather(3, each) for each in (right - 1, right))
    return low + share * (high - low)


def stays_positive(courant):
    r"""Whether an upwind step is a sum of the states at faces with weights that are not negative, for a Courant number."""
    ratio, right, left = sp.symbols("c u_R u_L", real=True)
    east, west, before, after = sp.symbols("E W E_left W_right", nonnegative=True)

    def carried(speed, upstream, downstream):
        return sp.Max(speed, 0) * upstream + sp.Min(speed, 0) * downstream

    new = (east + west) / 2 - ratio * (carried(right, east, after) - carried(left, before, west))
    weights = [sp.expand(new).coeff(state) for state in (east, west, before, after)]
    extremes = [
        weight.subs({ratio: 1, right: sign * courant, left: other * courant})
        for weight in weights
        for sign in (-1, 0, 1)
        for other in (-1, 0, 1)
    ]
    return all(value >= 0 for value in extremes) and sp.expand(sum(weights) - 1 + ratio * (right - left)).simplify() == 0
