r"""The Transformer of chapter 1: one attention layer with four trained matrices.

$F(X) = \phi(S X W_V)\,W_O$ with $S = \mathrm{softmax}(X W_Q W_K^\top X^\top/\sqrt k)$ row by row, and
$\mathcal L = \frac{1}{2nL}\sum_i \|F(X_i) - Y_i\|^2$. Each option breaks one assumption: an activation between value and output,
a kernel that is not a dot product, a skip path that uses $W_K$ a second time.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import door, flow, runs
from attnflow.attention import Kernel

# Each activation with its derivative, both as functions of the input.
ACTIVATIONS = {
    "identity": (lambda x: x, torch.ones_like),
    "relu": (torch.relu, lambda x: (x > 0).to(x.dtype)),
    "tanh": (torch.tanh, lambda x: 1 - torch.tanh(x).square()),
}
KERNELS = ("softmax", "gaussian")


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
        for name, options in (
            ("activation", tuple(ACTIVATIONS)),
            ("kernel", KERNELS),
            ("skip", (False, True)),
        ):
            runs.choice(name, getattr(self, name), options)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """The shapes of its matrices: name -> (rows, columns)."""
        return dict.fromkeys(("W_Q", "W_K", "W_V"), (self.d, self.k)) | {"W_O": (self.k, self.o)}


LAYER = door.instance(Layer, d="d", k="k", o="o")
SCORES = {"W_Q": "S d k", "W_K": "S d k"}
WEIGHTS = SCORES | {"W_V": "S d k", "W_O": "S k o"}


@door.takes(layer=LAYER, scale=door.NONNEGATIVE)
def init(generators: list, layer: Layer, scale: float = 1.0) -> runs.State:
    r"""Weights $N(0, \mathrm{scale}^2/\mathrm{rows})$, where d or k is the number of rows.

    generators: one a run; layer: the shapes. Returns name -> (S, d, k), and (S, k, o) for $W_O$. Raises WrongUse where the scale
    is negative.
    """
    runs.number("scale", scale, least=0)
    return {
        name: runs.normal(generators, *shape, std=scale / math.sqrt(shape[0])) for name, shape in layer.shapes.items()
    }


@door.takes(state=SCORES, inputs="S n L d", layer=LAYER)
def attention(state: runs.State, inputs: torch.Tensor, layer: Layer) -> torch.Tensor:
    r"""Attention matrix S, row = query, of the ``state`` of a ``layer``. inputs: (S, n, L, d). Returns (S, n, L, L)."""
    queries, keys = inputs @ state["W_Q"][:, None], inputs @ state["W_K"][:, None]
    return Kernel(layer.kernel).weights(queries, keys, 1 / math.sqrt(layer.k))


@door.takes(state=WEIGHTS, inputs="S n L d", layer=LAYER)
def forward(state: runs.State, inputs: torch.Tensor, layer: Layer) -> torch.Tensor:
    r"""Output $F = \phi(SXW_V)W_O$ of the ``state`` of a ``layer``. inputs: (S, n, L, d). Returns (S, n, L, o)."""
    value = attention(state, inputs, layer) @ (inputs @ state["W_V"][:, None])
    skipped = (inputs @ state["W_K"][:, None]).sum(dim=-1, keepdim=True) if layer.skip else 0.0
    return ACTIVATIONS[layer.activation][0](value) @ state["W_O"][:, None] + skipped


@door.takes(state=WEIGHTS, inputs="S n L d", targets="S n L o", layer=LAYER)
def loss(state: runs.State, inputs: torch.Tensor, targets: torch.Tensor, layer: Layer) -> runs.Stack:
    r"""Half the mean squared error, $\frac{1}{2nL}\sum_i\|F(X_i) - Y_i\|^2$, of a ``state``: the slow twin of :func:`field`.

    inputs: X (S, n, L, d); targets: Y (S, n, L, o), of a ``layer``. Returns (S,).
    """
    return (forward(state, inputs, layer) - targets).square().sum(dim=-1).mean(dim=(1, 2)) / 2


@door.takes(inputs="S n L d", targets="S n L o", layer=LAYER)
def field(inputs: torch.Tensor, targets: torch.Tensor, layer: Layer) -> flow.fields.Field:
    r"""The gradient field of the loss, by hand in chain-rule form: what :func:`attnflow.flow.integrate` follows.

    inputs: X (S, n, L, d); targets: Y (S, n, L, o), of a ``layer``. Returns a function of a state.
    """
    activate, slope = ACTIVATIONS[layer.activation]
    kernel, scale = Kernel(layer.kernel), inputs.shape[1] * inputs.shape[2]

    def through(left, right):
        return (left.mT @ right).sum(dim=1)

    def gradient(state):
        query, key, value, out = (state[name][:, None] for name in ("W_Q", "W_K", "W_V", "W_O"))
        queries, keys, values = inputs @ query, inputs @ key, inputs @ value
        weights = attention(state, inputs, layer)
        mixed = weights @ values
        hidden = activate(mixed)
        residual = hidden @ out - targets + (keys.sum(dim=-1, keepdim=True) if layer.skip else 0.0)
        error = residual / scale
        d_mixed = error @ out.mT * slope(mixed)
        d_weights = d_mixed @ values.mT
        d_queries, d_keys = kernel.slopes(queries, keys, weights, d_weights, 1 / math.sqrt(layer.k))
        d_keys = d_keys + (error.sum(dim=-1, keepdim=True) if layer.skip else 0.0)
        return residual.square().sum(dim=(1, 2, 3)) / (2 * scale), {
            "W_Q": through(inputs, d_queries),
            "W_K": through(inputs, d_keys),
            "W_V": through(weights @ inputs, d_mixed),
            "W_O": through(hidden, error),
        }

    def compiled(state):
        from attnflow import heads_engine  # here, since numba may be absent

        return heads_engine.kernel(inputs, targets, kernel, 1, layer.k, layer.activation)

    return gradient if layer.skip else flow.with_kernel(gradient, compiled)
