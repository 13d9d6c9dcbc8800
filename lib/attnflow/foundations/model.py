r"""The Transformer of chapter 1: one attention layer with four trained matrices.

$F(X) = \phi(S X W_V)\,W_O$ with $S = \mathrm{softmax}(X W_Q W_K^\top X^\top/\sqrt k)$ row by row, and
$\mathcal L = \frac{1}{2nL}\sum_i \|F(X_i) - Y_i\|^2$. Each option breaks one assumption: an activation between value and output,
a kernel that is not a dot product, a skip path that uses $W_K$ a second time.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import runs


@dataclass(frozen=True)
class Layer:
    r"""Shapes and options of the layer.

    d: token size; k: head size; o: output size; activation: ``identity``, ``relu`` or ``tanh``; kernel: ``softmax`` or
    ``gaussian`` ($S_{ij} = e^{-|q_i - k_j|^2/2\sqrt k}$, no row sum); skip: adds $X W_K \mathbf 1$ to each output.
    """

    d: int = 4
    k: int = 3
    o: int = 2
    activation: str = "identity"
    kernel: str = "softmax"
    skip: bool = False

    def __post_init__(self):
        for name in ("d", "k", "o"):
            runs.integer(name, getattr(self, name))
        runs.choice("activation", self.activation, tuple(ACTIVATIONS))
        runs.choice("kernel", self.kernel, ("softmax", "gaussian"))


# Each activation with its derivative, both as functions of the input.
ACTIVATIONS = {
    "identity": (lambda x: x, torch.ones_like),
    "relu": (torch.relu, lambda x: (x > 0).to(x.dtype)),
    "tanh": (torch.tanh, lambda x: 1 - torch.tanh(x).square()),
}


def init(generators, layer, scale=1.0):
    r"""Weights $N(0, \mathrm{scale}^2/d)$ ($1/k$ for $W_O$). Returns name -> (S, d, k) or (S, k, o)."""
    runs.number("scale", scale, least=0)
    names = ("W_Q", "W_K", "W_V")
    state = {name: runs.normal(generators, layer.d, layer.k, std=scale / math.sqrt(layer.d)) for name in names}
    return state | {"W_O": runs.normal(generators, layer.k, layer.o, std=scale / math.sqrt(layer.k))}


def attention(state, inputs, layer):
    """Attention matrix, row = query. inputs: (S, n, L, d). Returns (S, n, L, L)."""
    queries, keys = inputs @ state["W_Q"][:, None], inputs @ state["W_K"][:, None]
    logits = queries @ keys.mT / math.sqrt(layer.k)
    if layer.kernel == "softmax":
        return torch.softmax(logits, dim=-1)
    lengths = queries.square().sum(-1)[..., :, None] + keys.square().sum(-1)[..., None, :]
    return torch.exp(logits - lengths / (2 * math.sqrt(layer.k)))


def forward(state, inputs, layer):
    """Output F of the layer. inputs: (S, n, L, d). Returns (S, n, L, o)."""
    value = attention(state, inputs, layer) @ (inputs @ state["W_V"][:, None])
    output = ACTIVATIONS[layer.activation][0](value) @ state["W_O"][:, None]
    if layer.skip:
        output = output + (inputs @ state["W_K"][:, None]).sum(dim=-1, keepdim=True)
    return output


def loss(state, inputs, targets, layer):
    """Half the mean squared error over samples and tokens. Returns (S,)."""
    residual = forward(state, inputs, layer) - targets
    return residual.square().sum(dim=(1, 2, 3)) / (2 * inputs.shape[1] * inputs.shape[2])


def field(inputs, targets, layer):
    """The gradient field of the loss, by hand in chain-rule form. Returns a function for ``flow.integrate``.

    inputs: (S, n, L, d); targets: (S, n, L, o). Raises ValueError where the shapes do not fit the layer.
    """
    runs.tensor("tokens", inputs, (None, None, None, layer.d))
    runs.tensor("targets", targets, (*inputs.shape[:3], layer.o))
    activate, slope = ACTIVATIONS[layer.activation]
    root, scale = math.sqrt(layer.k), inputs.shape[1] * inputs.shape[2]

    def through(left, right):
        return (left.mT @ right).sum(dim=1)

    def gradient(state):
        query, key, value, out = (state[name][:, None] for name in ("W_Q", "W_K", "W_V", "W_O"))
        queries, keys, values = inputs @ query, inputs @ key, inputs @ value
        weights = attention(state, inputs, layer)
        mixed = weights @ values
        hidden = activate(mixed)
        residual = hidden @ out - targets
        if layer.skip:
            residual = residual + keys.sum(dim=-1, keepdim=True)
        error = residual / scale
        d_mixed = error @ out.mT * slope(mixed)
        d_logits = weights * (d_mixed @ values.mT)
        if layer.kernel == "softmax":
            d_logits = d_logits - weights * d_logits.sum(dim=-1, keepdim=True)
        d_queries, d_keys = d_logits @ keys, d_logits.mT @ queries
        if layer.kernel == "gaussian":
            d_queries = d_queries - d_logits.sum(dim=-1)[..., None] * queries
            d_keys = d_keys - d_logits.sum(dim=-2)[..., None] * keys
        d_keys = d_keys / root
        if layer.skip:
            d_keys = d_keys + error.sum(dim=-1, keepdim=True)
        value_of_loss = residual.square().sum(dim=(1, 2, 3)) / (2 * scale)
        return value_of_loss, {
            "W_Q": through(inputs, d_queries) / root,
            "W_K": through(inputs, d_keys),
            "W_V": through(weights @ inputs, d_mixed),
            "W_O": through(hidden, error),
        }

    return gradient
