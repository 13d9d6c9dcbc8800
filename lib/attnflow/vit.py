r"""One small vision Transformer on a stack of runs, with pluggable attention, scaling, heads and depth.

Tokens are embedded and given positions; each block adds multi-head attention and a two-layer ReLU network to its input,
both behind a normalisation without parameters; the mean over tokens is read by one matrix.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import runs


def softmax(queries, keys, scale):
    """Softmax attention, row = query. queries, keys: (..., L, k). Returns (..., L, L)."""
    return torch.softmax(scale * queries @ keys.mT, dim=-1)


def gaussian(queries, keys, scale):
    r"""Gaussian attention $e^{-\tau|q - k|^2/2}$, with no row sum. Returns (..., L, L)."""
    lengths = queries.square().sum(-1)[..., :, None] + keys.square().sum(-1)[..., None, :]
    return torch.exp(scale * (queries @ keys.mT - lengths / 2))


def uniform(queries, keys, scale):
    """The mean over tokens, which sees neither queries nor keys. Returns (..., L, L)."""
    return torch.full_like(queries @ keys.mT, 1 / keys.shape[-2])


ATTENTION = {"softmax": softmax, "gaussian": gaussian, "uniform": uniform}


@dataclass(frozen=True)
class Transformer:
    r"""Shapes and options. Logits are scaled by $k^{-s}$ with $k$ = width / heads and $s$ = ``scaling``."""

    tokens: int = 16
    size: int = 4
    width: int = 32
    heads: int = 2
    depth: int = 2
    classes: int = 10
    scaling: float = 0.5
    attention: str = "softmax"

    def __post_init__(self):
        for name in ("tokens", "size", "width", "heads", "depth", "classes"):
            runs.integer(name, getattr(self, name))
        runs.number("scaling", self.scaling)
        runs.choice("attention", self.attention, tuple(ATTENTION))
        runs.check("width", self.width, f"a multiple of heads = {self.heads}", self.width % self.heads == 0)


def init(generators, net):
    """LeCun weights, $N(0, 1/rows)$; positions $N(0, 1)$; zero readout. Returns name -> (S, rows, columns)."""
    width = net.width
    shapes = {"embed": (net.size, width)}
    for layer in range(net.depth):
        shapes |= {f"{name}{layer}": (width, width) for name in ("W_Q", "W_K", "W_V", "W_O", "up", "down")}
    state = {name: runs.normal(generators, *shape, std=1 / math.sqrt(shape[0])) for name, shape in shapes.items()}
    state["position"] = runs.normal(generators, net.tokens, width)
    return state | {"read": torch.zeros(len(generators), width, net.classes, dtype=runs.DTYPE)}


def normalised(values):
    """Each token shifted and scaled to mean 0 and variance 1 over its features."""
    return torch.nn.functional.layer_norm(values, values.shape[-1:])


def forward(state, inputs, net, seen=None):
    """Class scores. inputs: (S, n, L, size). Returns (S, n, classes).

    seen: a list that receives the attention of every block, (S, n, heads, L, L).
    """
    stream = inputs @ state["embed"][:, None] + state["position"][:, None]
    size = net.width // net.heads

    def split(values):
        return values.unflatten(-1, (net.heads, size)).transpose(2, 3)

    for layer in range(net.depth):
        weight = {name: state[f"{name}{layer}"][:, None] for name in ("W_Q", "W_K", "W_V", "W_O", "up", "down")}
        tokens = normalised(stream)
        queries, keys, values = (split(tokens @ weight[name]) for name in ("W_Q", "W_K", "W_V"))
        attention = ATTENTION[net.attention](queries, keys, size**-net.scaling)
        if seen is not None:
            seen.append(attention.detach())
        stream = stream + (attention @ values).transpose(2, 3).flatten(-2) @ weight["W_O"]
        stream = stream + torch.relu(normalised(stream) @ weight["up"]) @ weight["down"]
    return normalised(stream).mean(dim=2) @ state["read"]


def field(inputs, labels, net):
    """Cross-entropy and its gradient, by autograd of the loss summed over runs. Returns a function for ``flow``.

    inputs: (S, n, L, size); labels: (S, n), whole numbers below ``classes``. Raises ValueError where they do not fit.
    """
    runs.tensor("tokens", inputs, (None, None, net.tokens, net.size))
    runs.tensor("labels", labels, tuple(inputs.shape[:2]))
    runs.check(
        "labels", int(labels.max()), f"below {net.classes}", bool((labels >= 0).all() & (labels < net.classes).all())
    )

    def gradient(state):
        leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
        scores = forward(leaves, inputs, net).log_softmax(dim=-1)
        losses = -scores.gather(2, labels[:, :, None])[:, :, 0].mean(dim=1)
        slopes = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
        return losses.detach(), dict(zip(leaves, slopes, strict=True))

    return gradient


def accuracy(state, inputs, labels, net):
    """Share of right answers, (S,)."""
    return (forward(state, inputs, net).argmax(dim=-1) == labels).to(runs.DTYPE).mean(dim=1)


def entropy_deficit(state, inputs, net):
    r"""$1 - H/\log L$ of the attention, averaged over queries, heads, blocks and samples: 0 uniform, 1 one-hot. (S,)."""
    seen = []
    with torch.no_grad():
        forward(state, inputs, net, seen)
    weights = torch.stack(seen)
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1).mean(dim=(0, 2, 3, 4))
    return 1 - entropy / math.log(net.tokens)
