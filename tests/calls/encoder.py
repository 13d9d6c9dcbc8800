"""The room of chapter 3."""

import numpy as np
import sympy as sp
import torch

from attnflow import runs, sensitivity, symbolic
from attnflow.encoder import flips, kernel, theorem
from attnflow.encoder.model import Encoder
from calls import call, draws, normal, positive

N, L, D, K = 3, 4, 5, 7
SIZE = {"samples": 6, "length": 3, "d": 5, "std": 0.5}
GRID = {"width": (8, 32, 128), "scaling": (0.5, 1.0)}
POWER = {"init": "lecun", "scaling": 1.0}
WIDTHS = [8.0, 16.0, 32.0, 64.0]
CHANGE = np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1]])


def net(init="lecun"):
    """A net of width 7 for tokens of size 5."""
    return Encoder(d=D, width=K, init=init, scaling=0.7)


def start(seed=0):
    """Weights of two such nets."""
    shapes = {"W_Q": (D, K), "W_K": (D, K), "W_V": (D, K), "W_O": (K, 1)}
    return {name: normal(*shape, seed=seed + place) for place, (name, shape) in enumerate(shapes.items())}


def tokens():
    """Three samples of four tokens."""
    return normal(N, L, D, seed=20)


def weights():
    """An attention to them."""
    return torch.softmax(normal(N, L, L, seed=21), dim=3)


def part(*names):
    """Some of the weights."""
    return {name: value for name, value in start().items() if name in names}


def at(*names, init="lecun", fine=None, **more):
    """A call with a state of a net, tokens, labels, or what more is asked for by name."""
    known = {"state": start, "start": lambda: start(10), "inputs": tokens, "labels": lambda: normal(N, seed=22)}
    known |= {"net": lambda: net(init), "weights": weights, "tokens": tokens}
    return call(lambda: {name: known[name]() for name in names} | {name: make() for name, make in more.items()}, fine)


def one(seed):
    """A positive number a run."""
    return positive(1, seed=seed)[:, 0]


def kernels():
    """Positive kernels of three samples."""
    values = normal(N, D, seed=23)
    return values @ values.mT


def numbers(*names):
    """Positive numbers, one a run, by name."""
    return {name: one(place) + 1 for place, name in enumerate(names)}


def norms():
    """Norms of the four matrices."""
    return numbers("W_O", "W_V", "W_Q", "W_K")


def seeds(seed=3):
    """Values over four widths and five seeds."""
    return np.exp(draws(4, 5, seed=seed).numpy())


def over(**more):
    """A call with widths, values and powers."""
    return call(lambda: {"widths": list(WIDTHS), "values": seeds()} | more, {"powers -1": "a power"})


def matrices():
    """Symbols of the four matrices."""
    return {name: symbolic.matrix(name, 2, 1 if name == "W_O" else 2) for name in ("W_Q", "W_K", "W_V", "W_O")}


def enough():
    """A made-up record of the widths from which conditions hold."""
    return {"A_O": 10 ** (positive(4) * 20).mT, "B": 10 ** (positive(4, seed=1) * 20).mT, "samples": (8, 16, 32, 64)}


def chaos():
    """What is stored of a sweep, with made-up numbers."""
    (table,) = theorem.SWEEPS
    arrays = [{"left": np.full((*map(len, table.axes.values()), 6), level)} for level in (0.5, 0.3, 0.9)]
    return sensitivity.Kept(table, arrays[0], np.zeros(arrays[0]["left"].shape[:2]), *arrays[1:])


def cells(**axes):
    """Made-up curves in the cells of a small grid: name -> array."""
    return {name: np.abs(draws(3, 2, *sizes).numpy()) + 0.1 for name, sizes in axes.items()}


SQUARE = call(
    lambda: {
        "field": lambda state: (sum(each.square().sum(1) for each in state.values()) / 2, state),
        "start": {"a": normal(3), "b": normal(4)},
        "step": torch.tensor([0.1, 0.2], dtype=runs.DTYPE),
        "steps": 3,
        "share": 0.1,
    },
    fine={
        "start missing": "what a state has to have is the field's business",
        "share 0": "then no run ends before its steps are done",
    },
)
ANY_S = "logits that grow with the width: any power is one"
ANY_POWER = {"scaling 0 -1": ANY_S}
DRAW = ("net", "inputs", "labels")
DESCENT = {"share": lambda: 0.1, "steps": lambda: 2}
NEVER = "then no run stops before its steps are done, and reached says so"
ATTENTION = ("weights", "inputs")

LOGITS, FEATURES = ("W_Q", "W_K"), ("W_Q", "W_K", "W_V")

CALLS = {
    "encoder.model.init": call(lambda: {"generators": runs.streams((0, 1), "weights"), "net": net()}),
    "encoder.model.attention": at("inputs", "net", state=lambda: part(*LOGITS)),
    "encoder.model.mix": at("weights", "tokens"),
    "encoder.model.inside": at("inputs", "net", state=lambda: part(*FEATURES)),
    "encoder.model.features": at("inputs", "net", state=lambda: part(*FEATURES)),
    "encoder.model.forward": at("state", "inputs", "net"),
    "encoder.model.loss": at("state", "inputs", "labels", "net"),
    "encoder.model.field": at("inputs", "labels", "net"),
    "encoder.model.through_logits": at("inputs", "weights", "net", d_mixed=lambda: normal(N, L, D, seed=24)),
    "encoder.kernel.blocks": at("state", "inputs", "net"),
    "encoder.kernel.empirical": at(
        "state",
        "inputs",
        "net",
        rates=lambda: {"W_O": 2.0, "W_Q": 0.5},
        fine={"rates empty missing": "a matrix without a rate has rate 1"},
    ),
    "encoder.kernel.largest": call(
        lambda: {"kernels": kernels()}, fine={"kernels nan inf": "NaN for the run, as the docstring says"}
    ),
    "encoder.kernel.step": call(lambda: {"kernels": kernels(), "unit": 0.5}),
    "encoder.kernel.from_jacobian": at("state", "inputs", "net"),
    "encoder.kernel.neurons": call(lambda: {"tokens": normal(N, D)}),
    "encoder.kernel.neuron_squares": call(lambda: {"tokens": normal(N, D)}),
    "encoder.kernel.given_attention": at(*ATTENTION, of=lambda: kernel.neurons),
    "encoder.kernel.squares_of_neurons": at("state", "inputs", "net", init="ntk"),
    "encoder.kernel.lecun_given": at(*ATTENTION, d=lambda: 9),
    "encoder.kernel.limit": at("inputs"),
    "encoder.bounds.norms": at("state"),
    "encoder.bounds.smallest_singular": call(lambda: {"features": normal(N, K)}),
    "encoder.bounds.scales": at("inputs", "net"),
    "encoder.bounds.block_bounds": at("net", bars=norms, chi=lambda: one(0), largest=lambda: one(1)),
    "encoder.bounds.conditions": at("state", "inputs", "labels", "net", radius=lambda: 0.5),
    "encoder.bounds.ratios": at(
        "net",
        start=norms,
        alpha=lambda: one(0),
        size=lambda: one(1),
        scale=lambda: (one(2), one(3)),
        radius=lambda: 0.5,
    ),
    "encoder.bounds.of_wide": at(*ATTENTION, "net", fine={"inputs broadcast": "coordinates of a span of any size"}),
    "encoder.bounds.along": at("state", "start", "inputs", "labels", "net", largest_singular=lambda: False),
    "encoder.bounds.exponents": call(
        lambda: POWER | {"radius": 0.5}, fine=ANY_POWER | {"radius 0": "a radius of order one"}
    ),
    "encoder.bounds.width_exponents": call(lambda: dict(POWER), fine=ANY_POWER),
    "encoder.bounds.finite_exponents": call(lambda: POWER | {"widths": [4, 8], "d": 3}, fine=ANY_POWER),
    "encoder.bounds.crowding": call(lambda: {"samples": [4, 8], "d": 16}),
    "encoder.bounds.required": call(
        lambda: POWER | {"radius": 0.5}, fine=ANY_POWER | {"radius 0": "a radius of order one"}
    ),
    "encoder.bounds.least_scaling": call(lambda: {"init": "ntk"}),
    "encoder.bounds.best_radius": call(lambda: dict(POWER), fine=ANY_POWER),
    "encoder.theorem.watched": at("state", "start", "inputs", "labels", "net", largest_singular=lambda: False),
    "encoder.theorem.met": at("state", *DRAW, residual=lambda: 0.1),
    "encoder.theorem.asked": call(lambda: {"run": theorem.half_widths}),
    "encoder.flips.expected_pull": at(
        "net",
        "inputs",
        start=lambda: part("W_V"),
        impulse=lambda: normal(N, seed=25),
        init="ntk",
        fine={"start broadcast": "any number of neurons"},
    ),
    "encoder.flips.flipped": at(*DRAW, "start", **DESCENT, init="ntk", fine={"share 0": NEVER}),
    "encoder.flips.local_slopes": call(lambda: {"widths": list(WIDTHS), "values": seeds()}),
    "encoder.flips.fitted": over(powers=[0, -0.5, -1]),
    "encoder.flips.extended": over(powers=[0, -0.5, -1]),
    "encoder.flips.foretold": over(powers=[0, -0.5, -1]),
    "encoder.flips.interval": call(
        lambda: {"values": seeds(), "read": lambda values: values.mean(axis=1), "draws": 20}
    ),
    "encoder.lazy.moves": at(*DRAW, "start", **DESCENT, unit=lambda: 0.5, fine={"share 0": NEVER}),
    "encoder.lazy.boundary": call(
        lambda: {
            "change": CHANGE.copy(),
            "scalings": [0.5, 0.75, 1.0],
            "widths": list(WIDTHS),
            "grid": [8.0, 10.0, 20.0, 30.0, 60.0],
            "edge": 0.3,
        }
    ),
    "encoder.limits.deficits": at(
        *DRAW, state=lambda: part(*LOGITS), scalings=lambda: (0.6, 1.0), fine={"scalings -1": ANY_S}
    ),
    "encoder.limits.distances": at(*DRAW, "state", init="ntk"),
    "encoder.limits.distances_given": at(*DRAW, "state", exchanged=lambda: False, init="ntk"),
    "encoder.limits.counted_share": at("inputs"),
    "encoder.limits.over_known": call(lambda: {"name": "error", "known": "sampled"}),
    "encoder.limits.forecast": at(*DRAW, "state", steps=lambda: 3, init="ntk"),
    "encoder.pairs.conditioning": at(*DRAW, "state"),
    "encoder.pairs.training": at(*DRAW, "state", steps=lambda: 2),
    "encoder.setting.descent": SQUARE,
    "encoder.setting.geometric": call(
        lambda: {"values": positive(N)},
        fine={"values nan inf": "a run that ended has no mean, and says so"},
    ),
    "encoder.setting.lecun_rates": at("net"),
    "encoder.task.gaussian": call(lambda: {"generators": runs.streams((0, 1), "data"), **SIZE}),
    "encoder.task.pairs": call(lambda: {"generators": runs.streams((0, 1), "data"), **SIZE}),
    "encoder.task.digits": call(
        lambda: {"generators": runs.streams((0, 1), "data"), **SIZE, "length": 16, "d": 4, "classes": (3, 8)}
    ),
    "encoder.balancing.balances": at(
        "state",
        rates=lambda: {"W_O": 3.0, "W_Q": 2.0},
        fine={"rates empty missing": "a matrix without a rate has rate 1"},
    ),
    "encoder.balancing.pairs": at(state=lambda: part(*LOGITS)),
    "encoder.balancing.known_laws": call(lambda: {"d": 3, "width": 2, "hidden": True}),
    "encoder.balancing.most_laws": call(
        lambda: {"d": 2, "width": 1, "length": 2, "hidden": False, "activation": torch.relu, "seed": 1},
        fine={"seed 0": "a seed"},
    ),
    "encoder.theory.arc_cosine_kernels": call(),
    "encoder.theory.balance_expressions": call(
        lambda: {"names": matrices(), "rates": dict.fromkeys(matrices(), sp.Integer(2))}
    ),
    "encoder.theory.deficit": call(
        lambda: {"variance": 0.5, "length": 3, "draws": 100}, fine={"variance 0": "equal logits: no deficit"}
    ),
    "encoder.theory.encoder_gradient": call(
        lambda: {"length": 2, "d": 1, "k": 1, "hidden": False, "homogeneous": True}
    ),
    "encoder.theory.gradient_agrees": call(lambda: {"hidden": False, "length": 2, "d": 1, "k": 1}),
    "encoder.theory.law_holds": call(
        lambda: {
            "wanted": ("query-key",),
            "hidden": False,
            "homogeneous": True,
            "block_rates": False,
            "rescaled": True,
        }
    ),
    "encoder.theory.logit_power": call(lambda: {"scaling": 0.7}, fine=ANY_POWER),
    "encoder.theory.movement": call(lambda: dict(POWER)),
    "encoder.theory.scaling_at": call(lambda: {"variance": 0.1, "width": 64.0}),
    "encoder.theory.variance_at": call(lambda: {"level": 0.3, "length": 3}),
    "encoder.maps.succeeds": call(lambda: {"left": seeds(), "level": 0.1}),
    "encoder.maps.hero_figure": call(
        lambda: {"needed": {0.5: enough()}, "chaos": chaos()},
        fine={"needed empty missing": "what no proof says of is drawn without it"},
    ),
    "encoder.maps.phase_figure": call(
        lambda: {
            "arrays": {"change": np.stack([CHANGE] * 2, axis=2), "deficit": np.stack([CHANGE] * 2, axis=2)},
            "table": {"scaling": (0.5, 0.75, 1.0), "width": (8, 16, 32, 64)},
        }
    ),
    "encoder.maps.flips_figure": call(
        lambda: {
            "claim": {"flips-share": flips.CLAIMS[0]},
            "arrays": {
                name: np.exp(draws(6, 3, 2, seed=place).numpy())
                for place, name in enumerate(("on", "off", "change", "masks", "growth", "pull", "expected"))
            },
            "table": {"width": (8, 16, 32, 64, 128, 256)},
        }
    ),
    "encoder.maps.cells": call(lambda: {"table": dict(GRID)}),
    "encoder.maps.synthetic_figure": call(
        lambda: {"arrays": cells(loss=(9, 2), moved=(5, 2), kernel=(5, 2), epochs=(5,)), "table": dict(GRID)}
    ),
    "encoder.maps.vision_figure": call(
        lambda: {"arrays": cells(loss=(5, 4), deficit=(5, 4), steps=(5,)), "table": dict(GRID)}
    ),
}
