"""Chapter 5: a stack of two runs of four sequences of six tokens of width 5, nets of three blocks of eight particles, k = 7."""

import numpy as np
import sympy as sp
import torch

from attnflow import runs
from attnflow.meanfield import model, nets, scan, theory, volumes
from calls import call, draws, normal, positive

NET = nets.Net(d=5, k=7, depth=3, m=8)
HEADS = nets.Net(d=5, k=1, depth=1, m=3, parts=("attention",))
FREE = "no decay is a case of its own"
NAME = {"name unknown": "a reading of any record, which has the name or not"}


def tokens():
    """X (2, 4, 6, 5), whose last tokens have no answer."""
    inputs = normal(4, 6, 5)
    inputs[:, :, -1, NET.slot] = 0.0
    return inputs


def data():
    """X and y (2, 4)."""
    return {"inputs": tokens(), "targets": normal(4, seed=1)}


def state(net=NET, seed=0, m=None):
    """The particles of a net, m of them in a block where that is given."""
    shape = nets.Net(**vars(net) | {"m": m or net.m})
    return model.init(runs.streams((seed, seed + 1), "weights"), shape, 0.1)


def block(*parts):
    """The particles of one block of some parts, name -> (2, 8, ...)."""
    given = state()
    return {name: given[name][:, 0] for part in parts for name in nets.PARTS[part]}


def masses():
    """Masses of nine particles a block."""
    return {part: positive(3, 9) for part in nets.PARTS}


def one():
    """One data set as arrays, X (4, 3, 2) and y (4,)."""
    inputs, targets = draws(4, 3, 2), draws(4, seed=1)
    inputs[:, -1, 1] = 0.0
    return {"tokens": inputs.numpy(), "targets": targets.numpy()}


def point():
    """One head of two of that data set: a point (7,), and the data."""
    return {"point": draws(7).numpy(), **one(), "count": 2}


def toys():
    """Tokens x (2, 4, 5) of the toy, and targets (2, 4)."""
    return {"tokens": normal(4, 5), "targets": normal(4, seed=1)}


def atoms():
    """Masses (2, 3, 6) of atoms at six places."""
    return {"masses": positive(3, 6), "places": draws(6, seed=2)}


def ordered(*shape):
    """A stack of numbers in order."""
    return normal(*shape).sort(dim=-1).values


def fields(rows, decay):
    """The field of some runs of a stack."""
    given = data()
    return model.field(given["inputs"][rows], given["targets"][rows], HEADS, decay)


def table():
    """A table of three cells with four restarts each."""
    heights = np.linspace(0.1, 1.2, 12).reshape(3, 4)
    return {"objective": heights, "norms": heights, "still": np.ones((3, 4)), "zero": np.ones(3)}


def pull():
    """Two decays above every threshold, where all collapses at once."""
    return torch.tensor([10.0, 11.0], dtype=runs.DTYPE)


def floors():
    """What counts as zero, run by run."""
    return torch.full((2,), scan.GONE, dtype=runs.DTYPE)


def decays():
    """A decay for each run."""
    return torch.tensor([0.1, 0.2], dtype=runs.DTYPE)


def matrices():
    """A head of symbols."""
    return theory.weights_of("attention")[0]


def sizes(**more):
    """Sizes of the derivations by sympy."""
    return {"length": 2, "d": 2} | more


FLAT = {"name": "output"}
CALLS = {
    "meanfield.appendix.ratio": call(
        lambda: {"pair": ((4, 8), (4, 2)), "look": 4}, {"look 0 -1": "the first look and the last"}
    ),
    "meanfield.balancing.balances": call(lambda: {"state": state()}),
    "meanfield.balancing.bound": call(),
    "meanfield.balancing.counted": call(
        lambda: {"activation": "relu", "d": 2, "k": 1, "depth": 1, "length": 2, "seed": 3}, {"seed 0": "a seed"}
    ),
    "meanfield.balancing.known": call(lambda: {"d": 2, "k": 1, "depth": 3}),
    "meanfield.band.close": call(lambda: {"prediction": "end"}),
    "meanfield.band.gained": call(lambda: {"prediction": "rule"}),
    "meanfield.band.hysteresis": call(lambda: {**one(), "depth": 1, "heads": 2}),
    "meanfield.band.right": call(lambda: {"prediction": "single"}),
    "meanfield.band.verdicts": call(lambda: {"prediction": "rule, single"}),
    "meanfield.ceiling.between": call(
        lambda: {**one(), "share": 0.5},
        {"share 0 -1": "the formula holds at any share, and below 0 the decay is below both"},
    ),
    "meanfield.ceiling.concentration": call(lambda: {**one(), "decay": 0.01}),
    "meanfield.ceiling.lasso": call(lambda: {**one(), "decay": 0.01}),
    "meanfield.ceiling.rest": call(
        lambda: {**data(), "state": state(), "decay": decays(), "net": NET, "steps": 2},
    ),
    "meanfield.cloud.distance": call(
        lambda: {"places": normal(3, 4), "known": ordered(3, 12)},
        {"places axis broadcast": "leading axes broadcast", "known axis broadcast": "leading axes broadcast"},
    ),
    "meanfield.cloud.drawn": call(lambda: {"seeds": (0, 1), "widths": (4, 5), "draw": "stratified", "depth": 3}),
    "meanfield.cloud.expected": call(
        lambda: {"known": ordered(5), "count": 3}, {"known axis": "any axes may stand in front"}
    ),
    "meanfield.cloud.field": call(
        lambda: {**toys(), "decay": 0.1, "nodes": volumes.Nodes(), "masses": draws(6).abs()}, {"decay 0": FREE}
    ),
    "meanfield.cloud.gauss": call(lambda: {"count": 9}),
    "meanfield.cloud.quantiles": call(lambda: {"count": 3}),
    "meanfield.cloud.shares": call(lambda: {"count": 3}),
    "meanfield.collapse.modes": call(lambda: {"state": state(), **data(), "net": NET}),
    "meanfield.collapse.rate": call(
        lambda: {"part": "neurons", "over": 0.9, "name": "a-name", "title": "A title", "pull": "|a|"},
        {"name unknown": "any name", "title unknown": "any title", "pull unknown": "any symbol"},
    ),
    "meanfield.collapse.thresholds": call(lambda: {**data(), "net": NET}),
    "meanfield.decay.balance_decay": call(lambda: {"lam": 0.5, "step": 0.25, "seeds": (0, 1)}, {"lam 0": FREE}),
    "meanfield.decay.excess": call(lambda: {"state": state(), **data(), "net": NET}),
    "meanfield.decay.within": call(lambda: {"part": "left", "read": max}),
    "meanfield.dissipation.losing": call(lambda: {**data(), "net": NET, "decay": 0.1}, {"decay 0": FREE}),
    "meanfield.gaussian.moment": call(
        lambda: {"inputs": normal(4, 5, 3), "net": nets.Net(depth=9, m=8), "scale": 0.5, "count": 6},
        {"scale 0": "particles at zero put out zero"},
    ),
    "meanfield.limit.cut": call(lambda: {"state": state(), "m": 4}),
    "meanfield.limit.exponent": call(lambda: dict(FLAT), NAME),
    "meanfield.limit.ratio": call(lambda: dict(FLAT), NAME),
    "meanfield.limit.spread": call(lambda: {"values": normal(3, 4).flatten(0, 1), "copies": 3}),
    "meanfield.limit.start_constant": call(
        lambda: {"inputs": normal(4, 5, 3), "net": nets.Net(depth=9, m=8, parts=("neurons",)), "scale": 0.5},
        {"scale 0": "particles at zero put out zero"},
    ),
    "meanfield.limit.train": call(
        lambda: {"net": NET, **data(), "state": state(), "decay": 0.1, "time": 0.2, "step": 0.1}, {"decay 0": FREE}
    ),
    "meanfield.model.field": call(lambda: {**data(), "net": NET, "decay": decays()}),
    "meanfield.model.forward": call(lambda: {"state": state(), "inputs": tokens(), "net": NET}),
    "meanfield.model.init": call(
        lambda: {"generators": runs.streams((0, 1), "calls"), "net": NET, "scale": 0.5, "tied": True},
        {"scale 0": "all particles at zero"},
    ),
    "meanfield.model.norms": call(lambda: {"state": state(), "net": NET}),
    "meanfield.model.objective": call(
        lambda: {"state": state(), **data(), "net": NET, "decay": 0.1}, {"decay 0": FREE}
    ),
    "meanfield.model.outputs": call(lambda: {"state": state(), "inputs": tokens(), "net": NET}),
    "meanfield.model.risk": call(lambda: {"state": state(), **data(), "net": NET}),
    "meanfield.onehead.branch": call(lambda: {**one(), "count": 2}),
    "meanfield.onehead.ceiling": call(one),
    "meanfield.onehead.checked": call(lambda: {name: torch.from_numpy(each) for name, each in one().items()}),
    "meanfield.onehead.closed": call(lambda: {**one(), "count": 2}),
    "meanfield.onehead.decay_of": call(point),
    "meanfield.onehead.end": call(lambda: {**one(), "count": 2}),
    "meanfield.onehead.lowest": call(lambda: {**point(), "size": 0.5}),
    "meanfield.onehead.outputs": call(lambda: {name: each for name, each in point().items() if name != "targets"}),
    "meanfield.onehead.pairs": call(lambda: {"d": 3}),
    "meanfield.onehead.pooled": call(
        lambda: {"tokens": one()["tokens"], "query": draws(5, 2).numpy(), "key": draws(5, 2, seed=3).numpy()}
    ),
    "meanfield.onehead.risk": call(point),
    "meanfield.onehead.thresholds": call(lambda: {name: torch.from_numpy(each) for name, each in one().items()}),
    "meanfield.particles.solved": call(lambda: {"state": state(), "inputs": tokens(), "net": NET, "steps": 2}),
    "meanfield.phases.falling": call(lambda: {"over": 0.3}),
    "meanfield.phases.phases": call(lambda: {"arrays": table()}),
    "meanfield.phases.worst": call(lambda: {"over": 0.6}),
    "meanfield.power.log_error": call(lambda: {"copies": 12}),
    "meanfield.power.passing": call(lambda: {"places": (8, 64, 128), "copies": (12, 20, 30), "within": 0.1}),
    "meanfield.power.slope_error": call(lambda: {"places": (8, 64, 128), "copies": (12, 20, 30)}),
    "meanfield.risk.bound": call(lambda: {"clash": False, "last": True}),
    "meanfield.risk.clashing": call(data),
    "meanfield.risk.powers": call(
        lambda: {"name": "risk", "clash": False, "place": 2}, {"place 0 -1": "the first pair and the last"}
    ),
    "meanfield.risk.threshold": call(lambda: {**data(), "net": NET}),
    "meanfield.scalar.conditions_hold": call(
        lambda: {"above": 7, "anywhere": 3}, {"above dtype": "a number between", "anywhere dtype": "a number between"}
    ),
    "meanfield.scalar.fold": call(),
    "meanfield.scalar.upper": call(lambda: {"gained": True}),
    "meanfield.scalar.upper_holds": call(lambda: {"gained": True}),
    "meanfield.scalings.ways": call(lambda: {"start": state(), "end": state(seed=5), "net": NET}),
    "meanfield.scan.downwards": call(
        lambda: {"field_of": fields, "nudges": state(HEADS), "critical": pull(), "net": HEADS}
    ),
    "meanfield.scan.rested": call(
        lambda: {"field_of": fields, "state": state(HEADS), "decay": pull(), "net": HEADS, "floor": floors()}
    ),
    "meanfield.scan.scanned": call(
        lambda: {**data(), "critical": pull(), "state": state(HEADS), "nudges": state(HEADS, 5), "net": HEADS}
    ),
    "meanfield.scan.shape": call(lambda: {"seed": 12}, {"seed 0": "a seed"}),
    "meanfield.scan.upwards": call(
        lambda: {"field_of": fields, "state": state(HEADS), "critical": pull(), "net": HEADS}
    ),
    "meanfield.scatter.moved": call(
        lambda: {"places": normal(3, 4, 5), "start": draws(7).sort().values, "end": normal(4, 7)}
    ),
    "meanfield.scatter.over": call(
        lambda: {"name": "last", "known": "alone"}, NAME | {"known unknown": "a reading of any record, as above"}
    ),
    "meanfield.settle.dissipation": call(
        lambda: {"field": fields(slice(None), decays()), "state": state(HEADS), "net": HEADS}
    ),
    "meanfield.settle.polished": call(
        lambda: {"state": state(HEADS), **data(), "net": HEADS, "decay": decays(), "least": 0.01}
    ),
    "meanfield.settle.seen": call(lambda: {"state": state(), **data(), "net": NET, "decay": decays(), "least": 0.1}),
    "meanfield.settle.settle": call(
        lambda: {
            **{"state": state(HEADS), **data(), "net": HEADS, "decay": decays()},
            **{"step": 0.1, "time": 1.0, "rounds": 2, "least": 0.1},
        }
    ),
    "meanfield.task.digits": call(lambda: {"generators": runs.streams((0, 1), "calls"), "samples": 3}),
    "meanfield.task.pulls": call(data),
    "meanfield.task.regression": call(lambda: {"generators": runs.streams((0, 1), "calls"), "samples": 3, "length": 4}),
    "meanfield.theory.adjoint_holds": call(lambda: {"transposed": True}),
    "meanfield.theory.agreement": call(
        lambda: {"parts": ("neurons",), "complete": True, "points": 1, "seed": 3}, {"seed 0": "a seed"}
    ),
    "meanfield.theory.balance": call(lambda: {"matrices": matrices(), "bias": True, "degree": 2}),
    "meanfield.theory.balanced": call(lambda: {"activation": sp.tanh, "degree": 1}),
    "meanfield.theory.decay_holds": call(
        lambda: {"rates": {"W_Q": 1, "W_K": 1}}, {"rates empty missing": "1 where none is given"}
    ),
    "meanfield.theory.head_variation": call(lambda: sizes(k=1, complete=True, free=False)),
    "meanfield.theory.homogeneous": call(lambda: {"degree": 2}),
    "meanfield.theory.neuron_defect": call(lambda: sizes(bias=True, degree=1)),
    "meanfield.theory.neuron_law_holds": call(lambda: sizes(bias=True, degree=1)),
    "meanfield.theory.neuron_variation": call(sizes),
    "meanfield.theory.recursion_holds": call(lambda: {"part": "neurons", "inside": False}),
    "meanfield.theory.symbolic_zero": call(lambda: {"expression": sp.zeros(2, 2)}),
    "meanfield.theory.transport_holds": call(lambda: {"conserves": True}),
    "meanfield.theory.weights_of": call(lambda: {"part": "attention"}),
    "meanfield.toy.objective": call(lambda: {**atoms(), **toys(), "decay": 0.1}, {"decay 0": FREE}),
    "meanfield.toy.outputs": call(lambda: {**atoms(), "tokens": normal(4, 5)}),
    "meanfield.toy.variation": call(
        lambda: {**atoms(), **toys(), "decay": 0.1},
        {"decay 0": FREE} | {f"{name} axis": "leading axes broadcast" for name in ("masses", "tokens", "targets")},
    ),
    "meanfield.transport.solve": call(
        lambda: {
            **{"seeds": (0, 1), "cells": 8, "decay": 0.1, "times": (0.0, 0.1)},
            **{"courant": 0.4, "device": "cpu"},
        },
        {"decay 0": FREE},
    ),
    "meanfield.transport.stays_positive": call(lambda: {"courant": sp.Rational(1, 2)}),
    "meanfield.variation.adjoint": call(
        lambda: {"state": state(), "tokens": torch.stack([tokens()] * 7), "targets": normal(4), "net": NET}
    ),
    "meanfield.variation.branches": call(lambda: {"net": NET}),
    "meanfield.variation.even": call(lambda: {"state": state(), "net": NET}),
    "meanfield.variation.first_variation": call(
        lambda: {"theta": block("neurons"), "tokens": tokens(), "slope": normal(4, 6, 5), "net": NET, "decay": 0.1},
        {"decay 0": FREE},
    ),
    "meanfield.variation.force": call(lambda: {"theta": block("attention"), "tokens": tokens(), "net": NET}),
    "meanfield.variation.inner": call(lambda: {"theta": block("neurons"), "tokens": tokens()}),
    "meanfield.variation.inner_product": call(lambda: {"left": state(), "right": state(seed=5), "net": NET}),
    "meanfield.variation.particles": call(
        lambda: {"state": state(), "layer": 1, "part": "neurons"}, {"layer 0": "the first block"}
    ),
    "meanfield.variation.path": call(
        lambda: {"state": state(m=9), "inputs": tokens(), "net": NET, "masses": masses()},
    ),
    "meanfield.variation.pulled": call(
        lambda: {"theta": block("attention"), "tokens": tokens(), "slope": normal(4, 6, 5), "net": NET}
    ),
    "meanfield.variation.slopes": call(
        lambda: {"state": state(), **data(), "net": NET, "decay": 0.1, "after": True}, {"decay 0": FREE}
    ),
    "meanfield.variation.squares": call(lambda: {"state": state(), "part": "attention"}),
    "meanfield.variation.weighted_objective": call(
        lambda: {"state": state(m=9), "masses": masses(), **data(), "net": NET, "decay": 0.1}, {"decay 0": FREE}
    ),
    "meanfield.variation.weights": call(lambda: {"theta": block("attention"), "tokens": tokens(), "net": NET}),
    "meanfield.volumes.chebyshev_rows": call(
        lambda: {"places": normal(3, 4), "count": 5}, {"places axis": "any axes may stand in front"}
    ),
    "meanfield.volumes.initial": call(lambda: {"shares": positive(3)}, {"shares axis": "shares of any shape"}),
    "meanfield.volumes.march": call(
        lambda: {"scheme": volumes.Scheme(cells=8), **toys(), "decay": 0.1, "times": (0.0, 0.1)}, {"decay 0": FREE}
    ),
}
