"""One table of all problems of the book: how each is made, its loss written plainly, and what it has to refuse."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from attnflow import flow, runs, vit
from attnflow.attention import KERNELS
from attnflow.cooccurrence import setting as words
from attnflow.encoder import model as encoder
from attnflow.encoder import setting as nets
from attnflow.foundations import balancing as layers
from attnflow.foundations import model as layer
from attnflow.kernels import model as heads
from attnflow.kernels import setting as four
from attnflow.meanfield import model as particles
from attnflow.meanfield import nets as particle_nets
from attnflow.meanfield import setting as five


@dataclass(frozen=True)
class Problem:
    """A row: problem and twin take (seeds, device, **settings); wrong: pairs of changed settings and of words of the refusal."""

    name: str
    problem: Callable
    twin: Callable
    settings: dict = field(default_factory=dict)
    options: tuple = ({},)
    wrong: tuple = ()


def gradient_gap(field, state, loss):
    """Largest difference of a field written by hand to autograd of its loss, over the largest entry a tensor, losses too."""
    (value, gradient), (want_value, want) = field(state), flow.autograd(loss)(state)
    pairs = [(value, want_value), *((gradient[name], want[name]) for name in state)]
    return max(float((one - other).abs().max() / other.abs().max().clamp_min(1e-300)) for one, other in pairs)


def layer_loss(seeds, device, **settings):
    net, inputs, targets, _ = layers.setting(seeds, device, **settings)
    return partial(layer.loss, inputs=inputs, targets=targets, layer=net)


def heads_loss(seeds, device, **settings):
    net, inputs, targets, _ = four.drawn(seeds, device, **settings)
    return partial(heads.loss, inputs=inputs, targets=targets, layer=net)


def encoder_loss(seeds, device, **settings):
    net, inputs, labels, _ = nets.drawn(seeds, device, **settings)
    return partial(encoder.loss, inputs=inputs, labels=labels, net=net)


def dense_loss(seeds, device, **settings):
    """Chapter 2 with one-hot tokens and the softmax over the last axis."""
    found = words.drawn(seeds, device, **settings)

    def loss(state):
        inputs = torch.nn.functional.one_hot(found["tokens"], state["W_V"].shape[1]).to(runs.DTYPE)
        queries, keys, values = (inputs @ state[name][:, None] for name in ("W_Q", "W_K", "W_V"))
        weights = torch.softmax(queries @ keys.mT / math.sqrt(queries.shape[-1]), dim=-1)
        out = state["readout"][:, :, None] if "readout" in state else state["W_O"] @ state["signs"][:, :, None]
        return torch.nn.functional.softplus(-found["labels"] * (weights @ values @ out[:, None]).sum(dim=(2, 3))).mean(
            dim=1
        )

    return loss


def reduced(seeds, device, **settings):
    """The reduction of chapter 2, whose readout is o times as fast as its own gradient, at the rate of that gradient."""
    made, start = words.problem(seeds, device, **settings)
    return flow.at_rates(made, {"readout": 1 / settings["neurons"]}), start


def particles_problem(seeds, device, **settings):
    """Chapter 5 at the rate of the gradient, of which the velocity of a particle is so many times as large."""
    made, start = five.problem(seeds, device, **settings)
    speed = five.drawn(seeds, device, **{name: value for name, value in settings.items() if name != "decay"})[0].speed
    return flow.at_rates(made, dict.fromkeys(start, 1 / speed)), start


def particles_loss(seeds, device, decay=0.0, **settings):
    net, inputs, targets, _ = five.drawn(seeds, device, **settings)
    return partial(particles.objective, inputs=inputs, targets=targets, net=net, decay=decay)


def transformer(seeds, device, **settings):
    """A vision Transformer on random tokens, with a readout that is not zero, so that every gradient counts."""
    net = vit.Transformer(tokens=4, size=3, width=6, heads=2, depth=2, classes=3, **settings)
    data, weights = (runs.streams(seeds, name) for name in ("data", "weights"))
    inputs = runs.normal(data, 5, net.tokens, net.size).to(device)
    labels = torch.stack([torch.randint(3, (5,), generator=one, device="cpu") for one in data]).to(device)
    state = runs.to(vit.init(weights, net) | {"read": runs.normal(weights, 6, 3)}, device)
    return net, inputs, labels, state


def transformer_problem(seeds, device, **settings):
    net, inputs, labels, state = transformer(seeds, device, **settings)
    return vit.field(inputs, labels, net), state


def transformer_loss(seeds, device, **settings):
    net, inputs, labels, _ = transformer(seeds, device, **settings)
    return lambda state: torch.stack(
        [
            torch.nn.functional.cross_entropy(scores, wanted)
            for scores, wanted in zip(vit.forward(state, inputs, net), labels, strict=True)
        ]
    )


SMALL = {"samples": 12, "length": 4, "width": 6, "neurons": 4, "scale": 1.0}
PROBLEMS = (
    Problem(
        "foundations",
        layers.problem,
        layer_loss,
        {"samples": 5},
        ({}, {"activation": "relu"}, {"activation": "tanh"}, {"kernel": "gaussian", "common": True}, {"skip": True}),
        (
            ({"d": 0}, "d = 0"),
            ({"k": 1.5}, "k = 1.5"),
            ({"activation": "gelu"}, "identity, relu, tanh"),
            ({"kernel": "cosine"}, "softmax, gaussian"),
            ({"scale": math.nan}, "scale = nan"),
            ({"samples": 0}, "samples = 0"),
            ({"common": "yes"}, "common = 'yes'"),
        ),
    ),
    Problem(
        "cooccurrence",
        words.problem,
        dense_loss,
        SMALL | {"full": True, "rates": {}},
        ({}, {"words": 9}, {"common": False, "law": "uniform"}),
        (
            ({"samples": 20}, "divisible by 6"),
            ({"samples": 0}, "samples = 0"),
            ({"length": 2}, "length = 2"),
            ({"words": 3}, "words = 3"),
            ({"fractions": (0.5, 0.5, 0.0, 0.0)}, "fraction = 0.0"),
            ({"fractions": (0.5, 0.2, 0.2, 0.2)}, "sum to 1"),
            ({"fractions": (1 / 2, 1 / 12, 1 / 12, 1 / 12)}, "sum to 1"),
            ({"label": "third"}, "both, first"),
            ({"scale": math.nan}, "inner = nan"),
            ({"readout": 0.0}, "outer = 0.0"),
            ({"width": 0}, "width = 0"),
            ({"law": "xavier"}, "normal, uniform"),
        ),
    ),
    Problem("cooccurrence reduced", reduced, dense_loss, SMALL),
    Problem(
        "encoder",
        nets.problem,
        encoder_loss,
        {"samples": 6, "length": 3, "d": 5, "width": 7, "scaling": 0.7},
        tuple({"init": init, "hidden": hidden} for init in encoder.INITS for hidden in (False, True))
        + ({"data": "pairs", "d": 18, "length": 6}, {"data": "digits", "d": 4, "length": 16, "output": 1.0}),
        (
            ({"width": 0}, "width = 0"),
            ({"d": 2.5}, "d = 2.5"),
            ({"scaling": math.nan}, "scaling = nan"),
            ({"output": math.inf}, "output = inf"),
            ({"init": "xavier"}, "lecun, he, ntk"),
            ({"data": "words"}, "gaussian, pairs, digits"),
            ({"data": "pairs", "samples": 5}, "even number"),
            ({"data": "digits"}, "(16, 4)"),
            ({"samples": 0}, "samples = 0"),
            ({"std": -1.0}, "std = -1.0"),
        ),
    ),
    Problem(
        "kernels",
        four.problem,
        heads_loss,
        {"heads": 2, "samples": 3, "d": 5},
        (
            *({"kernel": name, "c": 0.8, "beta": 1.2, "inner": 0.3} for name in KERNELS),
            {"data": "common", "teacher": True},
            {"data": "orthonormal", "d": 12, "inner": 2.0},
        ),
        (
            ({"heads": 0}, "heads = 0"),
            ({"kernel": "cosine"}, "softmax, exp, gaussian, normalised_gaussian"),
            ({"c": 0}, "c = 0"),
            ({"beta": -1}, "beta = -1"),
            ({"trained": ()}, "at least one of W_Q, W_K, W_V, W_O"),
            ({"trained": ("W_H",)}, "one of W_Q, W_K, W_V, W_O"),
            ({"data": "pairs"}, "gaussian, common, orthonormal"),
            ({"data": "orthonormal", "d": 11}, "at least nL = 12"),
            ({"size": 0.0}, "size = 0.0"),
            ({"teacher": "yes"}, "teacher = 'yes'"),
            ({"inner": math.nan}, "inner = nan"),
        ),
    ),
    Problem(
        "meanfield",
        particles_problem,
        particles_loss,
        {"samples": 5, "depth": 3, "m": 4, "k": 2},
        (
            *({"scaling": name} for name in particle_nets.SCALINGS),
            *({"activation": name, "decay": 0.3} for name in particles.ACTIVATIONS),
            {"parts": ("attention",), "k": 1, "tied": True, "common": 7},
            {"parts": ("neurons",), "depth": 1},
            {"data": "digits", "length": 9, "decay": 0.1},
        ),
        (
            ({"depth": 0}, "depth = 0"),
            ({"m": 1.5}, "m = 1.5"),
            ({"decay": -0.1}, "decay = -0.1"),
            ({"decay": torch.tensor([-1.0], dtype=torch.float64)}, "entries of at least 0"),
            ({"parts": ()}, "at least one of attention, neurons"),
            ({"parts": ("heads",)}, "one of attention, neurons"),
            ({"activation": "gelu"}, "relu, tanh, identity"),
            ({"scaling": "ntk"}, "mean field, tangent"),
            ({"slot": 3}, "slot = 3"),
            ({"length": 1}, "length = 1"),
            ({"data": "words"}, "regression, digits"),
            ({"data": "digits", "samples": 400}, "all there are"),
            ({"tied": "yes"}, "tied = 'yes'"),
        ),
    ),
    Problem(
        "vision Transformer",
        transformer_problem,
        transformer_loss,
        {},
        tuple({"attention": name} for name in vit.ATTENTION)
        + ({"attention": "gaussian", "c": 1.5, "gain": 0.4, "hidden": 7},),
        (
            ({"scaling": math.nan}, "scaling = nan"),
            ({"attention": "linear"}, "softmax, exp, gaussian, normalised_gaussian, uniform"),
            ({"c": 0}, "c = 0"),
            ({"beta": -1.0}, "beta = -1.0"),
            ({"gain": math.inf}, "gain = inf"),
            ({"hidden": -1}, "hidden = -1"),
        ),
    ),
)
