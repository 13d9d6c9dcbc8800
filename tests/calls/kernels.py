"""Chapter 4."""

import functools

import numpy as np
import sympy as sp
import torch

from attnflow import runs, symbolic, vit
from attnflow.attention import Kernel
from attnflow.kernels import balancing, model, pathfinder, slices, stages, wells
from calls import call, draws, normal, positive

LAYER = model.Layer(d=5, k=7, o=6, heads=3, kernel="gaussian")
ONE = model.Layer(d=13, k=7, o=1, heads=5, kernel="gaussian")
QUERY = wells.Query(np.array([-1.0, 0.0, 1.0]), np.array([0.5, 0.0, 1.0]), 0.8, Kernel("softmax"))
ANY = "any number may be asked for"
PLACE = "any number may be a key, a value or a target"
ZERO = "zero weights are weights"
SEED = "0 is a seed"
READ = "the name is of a record that is read later, and another fails there"


def generator():
    """One generator."""
    return runs.streams([0], "calls")[0]


def state(layer=LAYER):
    """Weights of two runs of a layer."""
    return model.init(runs.streams((0, 1), "weights"), layer)


def problem():
    """All of a layer at n = 2 samples of L = 4 tokens that its functions ask for."""
    return {"state": state(), "inputs": normal(4, 8, 5), "targets": normal(4, 8, 6), "layer": LAYER}


def at(*names):
    """A row whose arguments are some of the problem."""
    return call(lambda: {name: problem()[name] for name in names})


def orthonormal():
    """Two runs of n = 3 samples of L = 4 orthonormal tokens."""
    return torch.linalg.qr(normal(13, 12))[0].mT.reshape(2, 3, 4, 13)


def sampler(generator, count):
    """Normal starts."""
    return torch.randn(count, generator=generator, dtype=runs.DTYPE)


def mean(leaves, inputs, labels):
    """A loss for batches."""
    return (leaves["w"] * inputs.mean(dim=(1, 2))[:, None]).square().sum(dim=1)


@functools.cache
def dotted():
    """Pictures with two dots, (2, 3, 8, 8)."""
    return pathfinder.pictures(runs.streams((0, 1), "data"), 3)[0]


def material():
    """What a course is made of: two nets, 6 pictures a run."""
    net = vit.Transformer(tokens=4, size=16, width=8, heads=2, depth=1, classes=2)
    pictures = dotted().repeat(1, 2, 1, 1)
    labels = torch.tensor([[0, 1, 0, 1, 1, 0]]).repeat(2, 1)
    return {"softmax": net, "gaussian": net}, stages.patches(pictures), pictures, labels


def symbols(**shapes):
    """Name -> a matrix of symbols."""
    return {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}


NAMED = {"X": (2, 3), "W_Q": (3, 1), "W_K": (3, 1)}
SUM = {name: np.array([1.0, -2.0]) for name in ("constant", "rate", "shift", "linear", "bend")}
SIZES = {"kernels": ("exp",), "sizes": ((2, 1, 1),), "common": False}
RATES = {"rates missing empty": "a matrix without a rate has the rate 1"}
REASONS = {}
CALLS = {
    "kernels.balancing.balances": at("state"),
    "kernels.balancing.worst": call(
        lambda: {"read": lambda record: record, "target": 0.5}, {"target 0 -1": "any number may be the target"}
    ),
    "kernels.balancing.linear": call(lambda: {"experiment": balancing.law_drift, "name": "shift"}),
    "kernels.basins.field": call(lambda: {"query": QUERY, "horizon": 1e4}),
    "kernels.basins.followed": call(lambda: {"query": QUERY, "starts": draws(4), "horizon": 1e4, "clock": 5.0}, {}),
    "kernels.basins.trap_share": call(
        lambda: {
            "sampler": sampler,
            "keys": [-1.0, 0.0, 1.0],
            "values": [0.5, 0.0, 1.0],
            "target": 0.8,
            "kernel": "gaussian",
            "c": 1.0,
            "beta": 1.0,
            "starts": 2,
            "seed": 1,
        },
        {"keys -1": PLACE, "values -1": PLACE, "target 0 -1": PLACE, "seed 0": SEED},
    ),
    "kernels.counting.bounds": call(lambda: dict(SIZES)),
    "kernels.counting.complete": call(lambda: dict(SIZES)),
    "kernels.counting.counted": call(
        lambda: {
            "layer": model.Layer(d=2, k=1, o=1, kernel="exp"),
            "common": False,
            "length": 2,
            "seed": 1,
            "points": 1,
        },
        {"seed 0": SEED},
    ),
    "kernels.counting.heads": call(lambda: {name: SIZES[name] for name in ("kernels", "sizes")}),
    "kernels.counting.known": call(lambda: {"layer": LAYER, "common": True}),
    "kernels.counting.none_of_degree_two": call(lambda: {"kernels": ("gaussian",), "common": False}),
    "kernels.counting.polynomials": call(lambda: {"kernels": ("exp",), "d": 1, "k": 2, "common": False}),
    "kernels.counting.table": call(lambda: {"sizes": SIZES["sizes"]}),
    "kernels.generic.queries": call(
        lambda: {"state": state(ONE), "inputs": orthonormal(), "targets": normal(3, 4, 1), "layer": ONE}
    ),
    "kernels.generic.reach": call(
        lambda: {"keys": normal(3, 4, 7), "values": normal(3, 4), "layer": LAYER, "turns": 5}
    ),
    "kernels.images.ends": call(
        lambda: {"part": "first", "look": 1, "name": "kernels-pathfinder"}, {"look 0 -1": "the first and the last look"}
    ),
    "kernels.images.learned": call(
        lambda: {"part": "second", "look": 1, "name": "kernels-pathfinder", "kernels": ("softmax", "gaussian")},
        {"look 0 -1": "the first and the last look"},
    ),
    "kernels.images.lead": call(
        lambda: {"look": 1, "kernel": "gaussian", "name": "kernels-pathfinder"},
        {"look 0 -1": "the first and the last look"},
    ),
    "kernels.imbalance.pairs": at("state"),
    "kernels.imbalance.imbalance_rate": call(lambda: problem() | {"queries": True}),
    "kernels.landscape.border": call(lambda: {"kernel": "softmax", "c": 0.5, "spread": 1.5}),
    "kernels.landscape.queries": call(lambda: {"kernel": "softmax", "c": 0.5, "spread": 1.5}),
    "kernels.linear.counted_rank": call(lambda: {"layer": LAYER, "rows": 8}),
    "kernels.linear.features": at("state", "inputs", "layer"),
    "kernels.linear.mixed": at("state", "inputs", "layer"),
    "kernels.linear.frozen": at("state", "inputs", "targets", "layer"),
    "kernels.linear.flat": call(lambda: {"outputs": normal(3, 4, 5)}),
    "kernels.linear.floor": call(lambda: {"directions": normal(5, 3), "wanted": normal(5, 4)}),
    "kernels.linear.span": call(lambda: {"features": normal(5, 3)}),
    "kernels.minibatches.cross_entropy": call(lambda: {"forward": lambda state, inputs: inputs}),
    "kernels.minibatches.started": call(
        lambda: {"state": {"a": normal(3), "b": normal(4, 5)}}, {"state missing": "a net may have any names"}
    ),
    "kernels.minibatches.batched": call(
        lambda: {"loss": mean, "inputs": normal(6, 5), "labels": torch.ones(2, 6).long(), "size": 3, "step": 0.1}
    ),
    "kernels.model.attention": at("state", "inputs", "layer"),
    "kernels.model.forward": at("state", "inputs", "layer"),
    "kernels.model.loss": at("state", "inputs", "targets", "layer"),
    "kernels.model.field": call(
        lambda: {name: each for name, each in problem().items() if name != "state"} | {"trained": ("W_Q", "W_V")}
    ),
    "kernels.model.init": call(
        lambda: {"generators": runs.streams((0, 1), "w"), "layer": LAYER, "scale": 0.5, "inner": 2.0},
        {"scale 0": ZERO, "inner 0": ZERO},
    ),
    "kernels.pathfinder.distances": call(lambda: {"pictures": dotted().clone()}),
    "kernels.pathfinder.dotted": call(
        lambda: {
            "generator": generator(),
            "one": torch.tensor([[[0, 0], [0, 1], [0, 2]]] * 5),
            "two": torch.tensor([[[2, 0], [2, 1], [2, 2]]] * 5),
            "matched": True,
        }
    ),
    "kernels.pathfinder.pictures": call(
        lambda: {
            "generators": runs.streams((0, 1), "data"),
            "count": 3,
            "pixels": 8,
            "length": 5,
            "distractors": 1,
            "short": 2,
            "matched": True,
        },
        {"distractors 0": "two paths and nothing else"},
    ),
    "kernels.pathfinder.place": call(
        lambda: {"generator": generator(), "taken": torch.zeros(3, 6, 6, dtype=torch.bool), "length": 4}
    ),
    "kernels.pathfinder.scenes": call(
        lambda: {"generator": generator(), "pixels": 8, "lengths": (5, 5), "matched": True}
    ),
    "kernels.pathfinder.walks": call(lambda: {"generator": generator(), "count": 3, "pixels": 6, "length": 4}),
    "kernels.plane.output": call(
        lambda: {"query": normal(3), "keys": normal(4, 3), "values": normal(4), "kernel": Kernel("gaussian")}
    ),
    "kernels.plane.slopes": call(
        lambda: {"query": normal(3), "keys": normal(4, 3), "values": normal(4), "kernel": Kernel("gaussian")}
    ),
    "kernels.plane.field": call(
        lambda: {"keys": normal(4, 3), "values": normal(4), "target": draws(2), "kernel": Kernel("softmax")}
    ),
    "kernels.queries.free_field": call(
        lambda: {"keys": normal(3, 4, 7), "values": normal(3, 4, 5), "wanted": normal(3, 4, 5), "layer": LAYER}
    ),
    "kernels.race.best": call(
        lambda: {"took": positive(3).T.contiguous()}, {"took inf": "a run that was not done is infinite"}
    ),
    "kernels.race.row_sum": call(lambda: {"length": 4, "d": 8, "k": 3, "c": 0.5, "nodes": 40}),
    "kernels.rowtokens.row_sum": call(
        lambda: {"length": 8, "k": 16, "c": 0.5, "inner": 0.5}, {"inner 0": "every weight is 1 then"}
    ),
    "kernels.rowtokens.network": call(
        lambda: {"variant": "rescaled softmax", "c": 0.5, "inner": 0.5, "power": 0.5},
        {"inner 0": "every weight is 1 then", "power 0 -1": "any power of the row sum"},
    ),
    "kernels.rowtokens.start": call(
        lambda: {
            "generators": runs.streams((0, 1), "w"),
            "net": vit.Transformer(tokens=3, size=4, width=8, heads=2, depth=1),
            "inner": 0.5,
        },
        {"inner 0": ZERO},
    ),
    "kernels.rowtokens.rows": call(lambda: {"generators": runs.streams((0, 1), "data"), "count": 3}),
    "kernels.rowtokens.closed": call(lambda: {"softmax": draws(2), "rescaled": draws(2), "gaussian": draws(2, seed=5)}),
    "kernels.rowtokens.bootstrap": call(
        lambda: {"softmax": draws(2), "rescaled": draws(2), "gaussian": draws(2, seed=5), "draws": 5}
    ),
    "kernels.slices.directions": call(
        lambda: {"generators": runs.streams((0, 1), "d"), "state": state(), "moved": ("W_Q", "W_K")}
    ),
    "kernels.slices.length": call(lambda: {"blocks": normal(3, 4, 5)}, {}),
    "kernels.slices.losses": call(
        lambda: problem() | {"along": (state(), state()), "places": slices.grid(3)},
    ),
    "kernels.slices.grid": call(lambda: {"side": 5}),
    "kernels.slices.rays": call(lambda: {"angles": 5, "radii": 4}),
    "kernels.slices.lowest": call(lambda: {"surface": normal(5, 5)}),
    "kernels.slices.minima": call(lambda: {"surface": normal(5, 5)}),
    "kernels.slices.bent": call(lambda: {"surface": normal(5, 5)}),
    "kernels.slices.falling": call(lambda: {"along": normal(5, 4)}),
    "kernels.slices.more": call(lambda: {"name": "bent"}, {"name unknown": READ}),
    "kernels.stages.patches": call(
        lambda: {"pictures": normal(3, 8, 8)}, {"pictures axis": "any axes may stand before"}
    ),
    "kernels.stages.courses": call(
        lambda: {"material": material(), "test": 2, "size": 3, "rate": 0.1, "beside": 0.2, "every": 5}
    ),
    "kernels.sums.total": call(lambda: SUM | {"width": 1.0}),
    "kernels.task.targets": call(
        lambda: {"generators": runs.streams((0, 1), "data"), "samples": 3, "length": 4, "o": 5, "size": 0.5}
    ),
    "kernels.task.tokens": call(
        lambda: {"generators": runs.streams((0, 1), "data"), "samples": 3, "length": 4, "d": 5, "data": "common"}
    ),
    "kernels.theory.scores": call(
        lambda: {
            "kernel": "gaussian",
            "queries": symbolic.matrix("Q", 2, 4),
            "keys": symbolic.matrix("K", 3, 4),
            "scale": sp.Symbol("tau"),
        }
    ),
    "kernels.theory.score_slope": call(
        lambda: {"kernel": "softmax", "weights": symbolic.matrix("S", 2, 3), "slope": symbolic.matrix("E", 2, 3)}
    ),
    "kernels.theory.through_scores": call(
        lambda: {"kernel": "gaussian", "names": symbols(**NAMED), "slope": symbolic.matrix("G", 2, 2)}
    ),
    "kernels.theory.layer_gradient": call(
        lambda: {"kernel": "exp", "length": 2, "d": 1, "k": 1, "o": 1, "complete": True}
    ),
    "kernels.theory.agreement": call(
        lambda: {"kernels": ("exp",), "complete": True, "points": 1, "seed": 1}, {"seed 0": SEED}
    ),
    "kernels.theory.score_flow": call(
        lambda: {"kernel": "exp", "common": True, "rates": {"W_Q": 0.5}, "length": 2, "d": 2, "k": 1}, RATES
    ),
    "kernels.theory.vanishes": call(lambda: {"expression": symbolic.matrix("A", 2, 3)}),
    "kernels.theory.score_law_holds": call(
        lambda: {"law": "shift", "kernels": ("gaussian",), "common": True, "rates": {"W_Q": 2}}, RATES
    ),
    "kernels.theory.value_law_holds": call(lambda: {"rates": {"W_V": 2}}, RATES),
    "kernels.theory.imbalance_rate": call(
        lambda: {"names": symbols(**NAMED), "slope": symbolic.matrix("G", 2, 2), "queries": True}
    ),
    "kernels.theory.imbalance_law_holds": call(lambda: {"kernel": "gaussian", "queries": True}),
    "kernels.theory.polynomial_laws": call(lambda: {"kernel": "exp", "degree": 1, "d": 2, "k": 1, "common": False}),
    "kernels.trap.border": call(lambda: {"kernel": "gaussian", "c": 1.5, "beta": 1.0}),
    "kernels.trap.foretold": call(lambda: {"places": (-0.5, 0.5)}, {"places -1": "any number may be a place"}),
    "kernels.trap.late_share": call(lambda: {"size": 5.0, "c": 0.5}),
    "kernels.trap.share": call(lambda: {"name": "slow"}),
    "kernels.trap.waiting": call(lambda: {"place": 2.5, "c": 0.5}, {"place 0 -1": "any number may be a place"}),
    "kernels.values.left": call(lambda: {"choose": torch.amax}),
    "kernels.values.over": call(
        lambda: {"name": "mean", "known": "expected", "choose": torch.amax},
        {"name unknown": READ, "known unknown": READ},
    ),
    "kernels.wells.fold_holds": call(lambda: {"middle": 0.5}, {"middle 0 -1": "any number may be the value there"}),
    "kernels.wells.threshold": call(lambda: {"ratio": 0.5}),
    "kernels.wells.turn": call(lambda: {"ratio": 0.5}),
}
