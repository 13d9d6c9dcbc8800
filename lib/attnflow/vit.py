r"""One small vision Transformer on a stack of runs, with pluggable attention, scaling, heads and depth.

Tokens are embedded and given positions; each block adds multi-head attention and a two-layer ReLU network to its input,
both behind a normalisation without parameters; the mean over tokens is read by one matrix.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import attention, door, flow, runs
from attnflow.attention import Kernel
from attnflow.runs import Stack, State

ATTENTION = (*attention.KERNELS, "uniform")


@dataclass(frozen=True)
class Transformer:
    r"""Shapes and options.

    tokens: L, each of a ``size``; width: of the stream, shared by ``heads``; hidden: of the ReLU network, 0 for that of the
    stream; depth: blocks; classes: scores; attention: one of ``ATTENTION``, ``uniform`` for the mean over tokens; scaling: s in
    $k^{-s}$, the scale of the scores, where k is the width of a head; c, beta: of the kernel; gain: what multiplies its weights.
    """

    tokens: int = 16
    size: int = 4
    width: int = 32
    heads: int = 2
    depth: int = 2
    classes: int = 10
    scaling: float = 0.5
    attention: str = "softmax"
    hidden: int = 0
    c: float = 0.5
    beta: float = 1.0
    gain: float = 1.0

    def __post_init__(self):
        for name in ("tokens", "size", "width", "heads", "depth", "classes"):
            runs.integer(name, getattr(self, name))
        runs.number("scaling", self.scaling)
        runs.integer("hidden", self.hidden, least=0)
        runs.choice("attention", self.attention, ATTENTION)
        runs.number("gain", self.gain, above=0)
        Kernel(c=self.c, beta=self.beta)  # refuses what is wrong with them
        runs.check("width", self.width, f"a multiple of heads = {self.heads}", self.width % self.heads == 0)

    @property
    def kernel(self) -> Kernel:
        """What makes attention of queries and keys; that of ``uniform`` attention is never asked."""
        name = "softmax" if self.attention == "uniform" else self.attention
        return Kernel(name, self.c, self.beta)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """The shapes of its weights, name -> (rows, columns), in the order in which they are drawn."""
        width, hidden = self.width, self.hidden or self.width
        found = {"embed": (self.size, width)}
        for layer in range(self.depth):
            found |= {f"{name}{layer}": (width, width) for name in ("W_Q", "W_K", "W_V", "W_O")}
            found |= {f"up{layer}": (width, hidden), f"down{layer}": (hidden, width)}
        return found | {"position": (self.tokens, width), "read": (width, self.classes)}

    def mixing(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """The attention of each head, before the gain, row = query. queries, keys: (..., L, k). Returns (..., L, L)."""
        if self.attention == "uniform":
            return torch.full_like(queries @ keys.mT, 1 / keys.shape[-2])
        return self.kernel.weights(queries, keys, (self.width // self.heads) ** -self.scaling)


NET, STATE = door.instance(Transformer, L="tokens", size="size"), door.weights("net")


@door.takes(net=NET)
def init(generators: list, net: Transformer) -> State:
    """Weights of a ``net``, one of the ``generators`` a run.

    LeCun, $N(0, 1/rows)$; positions $N(0, 1)$; zero readout. Returns name -> (S, rows, columns).
    """
    drawn = {name: shape for name, shape in net.shapes.items() if name not in ("position", "read")}
    state = {name: runs.normal(generators, *shape, std=1 / math.sqrt(shape[0])) for name, shape in drawn.items()}
    state["position"] = runs.normal(generators, *net.shapes["position"])
    return state | {"read": torch.zeros(len(generators), *net.shapes["read"], dtype=runs.DTYPE, device="cpu")}


@door.takes(values="real: ... d")
def normalised(values: torch.Tensor) -> torch.Tensor:
    """Each token of the ``values`` shifted and scaled to mean 0 and variance 1 over its features."""
    return torch.nn.functional.layer_norm(values, values.shape[-1:])


@door.takes(tokens="S n L d", weight="S d e")
def through(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Each of the ``tokens``, (S, ..., a), times the ``weight`` of its run, (S, a, b): (S, ..., b), one product a run."""
    return (tokens.flatten(1, -2) @ weight).unflatten(1, tokens.shape[1:-1])


@door.takes(state=STATE, inputs="S n L size", net=NET, seen=door.instance(list))
def forward(state: State, inputs: Stack, net: Transformer, seen: list | None = None) -> Stack:
    """Class scores of a ``net`` with the weights ``state``. inputs: (S, n, L, size). Returns (S, n, classes).

    seen: a list that receives the attention of every block, (S, n, heads, L, L).
    """
    stream = through(inputs, state["embed"]) + state["position"][:, None]
    size = net.width // net.heads

    def split(values):
        return values.unflatten(-1, (net.heads, size)).transpose(2, 3)

    for layer in range(net.depth):
        weight = {name: state[f"{name}{layer}"] for name in ("W_Q", "W_K", "W_V", "W_O", "up", "down")}
        tokens = normalised(stream)
        queries, keys, values = (split(through(tokens, weight[name])) for name in ("W_Q", "W_K", "W_V"))
        mixing = net.gain * net.mixing(queries, keys)
        if seen is not None:
            seen.append(mixing.detach())
        stream = stream + through((mixing @ values).transpose(2, 3).flatten(-2), weight["W_O"])
        stream = stream + through(torch.relu(through(normalised(stream), weight["up"])), weight["down"])
    return normalised(stream).mean(dim=2) @ state["read"]


@door.takes(inputs="S n L size", labels="int: S n", net=NET)
def field(inputs: Stack, labels: Stack, net: Transformer) -> flow.fields.Field:
    """Cross-entropy of a ``net`` and its gradient, by autograd of the loss summed over runs. Returns a function for ``flow``.

    inputs: (S, n, L, size); labels: (S, n), whole numbers below ``classes``. Raises ValueError where they do not fit.
    """
    runs.tensor("tokens", inputs, (None, None, net.tokens, net.size))
    runs.tensor("labels", labels, tuple(inputs.shape[:2]))
    runs.check(
        "labels", int(labels.max()), f"below {net.classes}", bool((labels >= 0).all() & (labels < net.classes).all())
    )

    def loss(state):
        scores = forward(state, inputs, net).log_softmax(dim=-1)
        return -scores.gather(2, labels[:, :, None])[:, :, 0].mean(dim=1)

    return flow.autograd(loss)


@door.takes(state=STATE, inputs="S n L size", labels="int: S n", net=NET)
def accuracy(state: State, inputs: Stack, labels: Stack, net: Transformer) -> Stack:
    """Share of ``inputs``, (S, n, L, size), to which a ``net`` of weights ``state`` gives their ``labels``, (S, n). (S,)."""
    return (forward(state, inputs, net).argmax(dim=-1) == labels).to(runs.DTYPE).mean(dim=1)


@door.takes(state=STATE, inputs="S n L size", net=NET)
def entropy_deficit(state: State, inputs: Stack, net: Transformer) -> Stack:
    r"""$1 - H/\log L$ of the attention, averaged over queries, heads, blocks and samples: 0 uniform, 1 one-hot.

    state: the weights of a ``net``; inputs: (S, n, L, size). Returns (S,).
    """
    seen = []
    with torch.no_grad():
        forward(state, inputs, net, seen)
    return attention.entropy_deficit(torch.stack(seen, dim=1))
