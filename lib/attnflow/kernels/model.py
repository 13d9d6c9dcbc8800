r"""The Transformer of chapter 4: one attention layer of H heads, with any of four kernels and any of its matrices trained.

$F(X) = \sum_h S_h X W_V^hW_O^h$ with $S_h$ from the queries $XW_Q^h$ and the keys $XW_K^h$ by a
:class:`attnflow.attention.Kernel` at the scale $1/\sqrt k$, and $\mathcal L = \frac{1}{2nL}\sum_i\|F(X_i) - Y_i\|^2$.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import door, flow, runs
from attnflow.attention import Kernel

MATRICES = ("W_Q", "W_K", "W_V", "W_O")
HEADS = dict.fromkeys(MATRICES[:3], "S H d k") | {"W_O": "S H k o"}  # what a function takes: a state,
TOKENS, TARGETS = "S n L d", "S n L o"  # and its data


@dataclass(frozen=True)
class Layer:
    r"""Shapes and kernel of the layer.

    d: token size; k: width of a head; o: output size; heads: H; kernel: one of ``attention.KERNELS``; c: its sharpness
    $\zeta$, of distances; beta: its inverse temperature $\beta$, of dot products.
    """

    d: int = 4
    k: int = 3
    o: int = 2
    heads: int = 1
    kernel: str = "softmax"
    c: float = 0.5
    beta: float = 1.0

    def __post_init__(self):
        for name in ("d", "k", "o", "heads"):
            runs.integer(name, getattr(self, name))
        Kernel(self.kernel, self.c, self.beta)  # refuses what is wrong with these three

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shapes of its matrices: name -> (heads, rows, columns)."""
        inner = dict.fromkeys(MATRICES[:3], (self.heads, self.d, self.k))
        return inner | {"W_O": (self.heads, self.k, self.o)}

    @property
    def similarity(self) -> Kernel:
        """What makes weights of queries and keys."""
        return Kernel(self.kernel, self.c, self.beta)

    def weights(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """The weights of queries and keys, (..., L, k) each, row = query, at the scale of the layer: (..., L, L)."""
        return self.similarity.weights(queries, keys, 1 / math.sqrt(self.k))


LAYER = door.instance(Layer, d="d", k="k", o="o", H="heads")
PROBLEM = {"state": HEADS, "inputs": TOKENS, "targets": TARGETS, "layer": LAYER}


@door.takes(layer=Layer, scale=door.NONNEGATIVE, inner=door.NONNEGATIVE)
def init(generators: list, layer: Layer, scale: float = 1.0, inner: float = 1.0) -> runs.State:
    r"""Weights $N(0, \mathrm{scale}^2/\mathrm{rows})$, those of queries and keys times ``inner``.

    generators: one a run; layer: the shapes. Returns name -> (S, H, rows, columns). Raises WrongUse where a size is negative.
    """
    runs.number("scale", scale, least=0)
    runs.number("inner", inner, least=0)
    return {
        name: runs.normal(
            generators, *shape, std=scale * (inner if name in ("W_Q", "W_K") else 1.0) / math.sqrt(shape[1])
        )
        for name, shape in layer.shapes.items()
    }


@door.takes(state=HEADS, inputs=TOKENS, layer=LAYER)
def attention(state: runs.State, inputs: torch.Tensor, layer: Layer) -> torch.Tensor:
    r"""Attention S of every head, row = query, of the ``state`` of a ``layer``. inputs: (S, n, L, d). (S, H, n, L, L)."""
    queries, keys = (inputs[:, None] @ state[name][:, :, None] for name in ("W_Q", "W_K"))
    return layer.weights(queries, keys)


@door.takes(state=HEADS, inputs=TOKENS, layer=LAYER)
def forward(state: runs.State, inputs: torch.Tensor, layer: Layer) -> torch.Tensor:
    r"""Output $F = \sum_hS_hXW_V^hW_O^h$ of the ``state`` of a ``layer``. inputs: (S, n, L, d). Returns (S, n, L, o)."""
    values = inputs[:, None] @ state["W_V"][:, :, None]
    return (attention(state, inputs, layer) @ values @ state["W_O"][:, :, None]).sum(dim=1)


@door.takes(**PROBLEM)
def loss(state: runs.State, inputs: torch.Tensor, targets: torch.Tensor, layer: Layer) -> runs.Stack:
    r"""Half the mean squared error, $\frac{1}{2nL}\sum_i\|F(X_i) - Y_i\|^2$, of a ``state``: the slow twin of :func:`field`.

    inputs: X (S, n, L, d); targets: Y (S, n, L, o), of a ``layer``. Returns (S,).
    """
    return (forward(state, inputs, layer) - targets).square().sum(dim=-1).mean(dim=(1, 2)) / 2


@door.takes(inputs=TOKENS, targets=TARGETS, layer=LAYER)
def field(inputs: torch.Tensor, targets: torch.Tensor, layer: Layer, trained: tuple = MATRICES) -> flow.fields.Field:
    r"""The gradient field of the loss, by hand in chain-rule form; zero for the matrices that are not trained.

    inputs: X (S, n, L, d); targets: Y (S, n, L, o); trained: names of matrices. Returns a function of a state of all four.
    Raises WrongUse where the shapes do not fit the ``layer``, or the names are none or unknown.
    """
    named = isinstance(trained, (tuple, list)) and len(trained) > 0 and all(name in MATRICES for name in trained)
    runs.check("trained", trained, "a tuple with at least one of " + ", ".join(MATRICES), named)
    tokens, scale, tau = inputs[:, None], inputs.shape[1] * inputs.shape[2], 1 / math.sqrt(layer.k)

    def through(left, right):
        return (left.mT @ right).sum(dim=2)

    def gradient(state):
        query, key, value, out = (state[name][:, :, None] for name in MATRICES)
        queries, keys, values = tokens @ query, tokens @ key, tokens @ value
        weights = layer.weights(queries, keys)
        mixed = weights @ values
        residual = (mixed @ out).sum(dim=1) - targets
        error = residual[:, None] / scale
        d_mixed = error @ out.mT
        slopes = {"W_V": through(weights @ tokens, d_mixed), "W_O": through(mixed, error)}
        if "W_Q" in trained or "W_K" in trained:
            d_queries, d_keys = layer.similarity.slopes(queries, keys, weights, d_mixed @ values.mT, tau)
            slopes |= {"W_Q": through(tokens, d_queries), "W_K": through(tokens, d_keys)}
        kept = {name: slopes[name] if name in trained else torch.zeros_like(each) for name, each in state.items()}
        return residual.square().sum(dim=(1, 2, 3)) / (2 * scale), kept

    def compiled(state):
        from attnflow import heads_engine  # here, since numba may be absent

        return heads_engine.kernel(inputs, targets, layer.similarity, layer.heads, layer.k, trained=tuple(trained))

    return flow.with_kernel(gradient, compiled)
