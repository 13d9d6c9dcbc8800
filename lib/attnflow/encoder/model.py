r"""The Transformer of chapter 3: softmax attention, value matrix, ReLU, average pooling, output vector.

$f(X) = \tau_1 \frac1L \sum_i \mathrm{relu}(\tilde x_i W_V)\,W_O$ with mixed tokens $\tilde x_i$, the rows of
$\tilde X = SX$, and $S = \mathrm{softmax}(\tau_0 X M X^\top)$, $M = W_Q W_K^\top$. All four matrices are trained on
$\mathcal L = \frac12\sum_n (f(X_n) - y_n)^2$. The logits are taken through M, (d, d), so that the attention costs the same
at every width. In the paper weights act from the left: its $W$ are the transposes of these.
"""

import math
from dataclasses import dataclass

import torch

from attnflow import runs

INITS = ("lecun", "he", "ntk")
SHORT = 64  # samples of at most so many entries are mixed by broadcasting: a batched matmul has a fixed cost a matrix


@dataclass(frozen=True)
class Encoder:
    r"""Shapes and scalings.

    d: token size; width: k, called $d_m$ in the paper; init: ``lecun`` ($W_O \sim N(0, 1/k)$, the others $N(0, 1/d)$), ``he``
    (twice these variances) or ``ntk`` (all $N(0, 1)$); scaling: s in $\tau_0 = k^{-s}$; output: p in $\tau_1 = k^{-p}$, by
    default 1/2 for ``ntk`` and 0 else, 1 is the mean-field scaling; hidden: a further trained $W_H$ (k, k) between $W_V$
    and the ReLU, $N(0, 1/k)$, or $N(0, 2/k)$ for ``he``. Raises ValueError on anything else.
    """

    d: int = 16
    width: int = 64
    init: str = "lecun"
    scaling: float = 0.5
    output: float | None = None
    hidden: bool = False

    def __post_init__(self):
        runs.integer("d", self.d)
        runs.integer("width", self.width)
        runs.choice("init", self.init, INITS)
        runs.number("scaling", self.scaling)
        if self.output is not None:
            runs.number("output", self.output)

    @property
    def tau_0(self):
        """Scale of the logits."""
        return self.width**-self.scaling

    @property
    def tau_1(self):
        """Scale of the output."""
        power = (0.5 if self.init == "ntk" else 0.0) if self.output is None else self.output
        return self.width**-power

    @property
    def token_std(self):
        """Size of a token entry that makes logits of order one at scaling 1/2: 1, or $d^{-1/2}$ for ``ntk``."""
        return self.d**-0.5 if self.init == "ntk" else 1.0

    def std(self, rows):
        """Standard deviation of a weight matrix with that many rows."""
        return 1.0 if self.init == "ntk" else math.sqrt((2.0 if self.init == "he" else 1.0) / rows)


def init(generators, net):
    """Initial weights. Returns ``W_Q``, ``W_K``, ``W_V`` (S, d, k), ``W_O`` (S, k, 1), and ``W_H`` (S, k, k) if hidden."""
    d, k = net.d, net.width
    state = {name: runs.normal(generators, d, k, std=net.std(d)) for name in ("W_Q", "W_K", "W_V")}
    state["W_O"] = runs.normal(generators, k, 1, std=net.std(k))
    if net.hidden:
        state["W_H"] = runs.normal(generators, k, k, std=math.sqrt((2.0 if net.init == "he" else 1.0) / k))
    return state


def logits(state, inputs, net):
    """Attention logits, row = query. inputs: (S, n, L, d). Returns (S, n, L, L)."""
    product = net.tau_0 * (state["W_Q"] @ state["W_K"].mT)
    return (inputs.flatten(1, 2) @ product).reshape(inputs.shape) @ inputs.mT


def attention(state, inputs, net):
    """Attention matrix S, row = query. Returns (S, n, L, L)."""
    scores = logits(state, inputs, net)
    # torch's softmax has a fixed cost a row, which counts when the rows are short.
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return weights / weights.sum(dim=-1, keepdim=True)


def mix(weights, tokens):
    """Weighted sums of tokens, $S X$. weights: (S, n, L, L), tokens: (S, n, L, d). Returns (S, n, L, d)."""
    if tokens.shape[2] * tokens.shape[3] > SHORT:
        return weights @ tokens
    return (weights[..., None] * tokens[:, :, None]).sum(dim=3)


def neurons(state, mixed):
    """What enters the ReLU. mixed: (S, n L, d), the mixed tokens. Returns (S, n L, k)."""
    values = mixed @ state["W_V"]
    return values @ state["W_H"] if "W_H" in state else values


def features(state, inputs, net):
    r"""The features before the output vector, $\Psi = \tau_1\,\mathrm{mean}_i\,\mathrm{relu}(\tilde x_i W_V)$. (S, n, k)."""
    mixed = mix(attention(state, inputs, net), inputs)
    length = inputs.shape[2]
    return net.tau_1 * torch.relu(neurons(state, mixed.flatten(1, 2))).unflatten(1, (-1, length)).mean(dim=2)


def forward(state, inputs, net):
    """Outputs f. inputs: (S, n, L, d). Returns (S, n)."""
    return (features(state, inputs, net) @ state["W_O"])[:, :, 0]


def loss(state, inputs, labels, net):
    """Half the sum of squared residuals. Returns (S,)."""
    return (forward(state, inputs, net) - labels).square().sum(dim=1) / 2


def field(inputs, labels, net):
    """The gradient field of the loss, by hand in chain-rule form. Returns a function for ``flow.integrate``.

    inputs: (S, n, L, d); labels: (S, n). Raises ValueError where the shapes do not fit.
    """
    runs.tensor("tokens", inputs, (None, None, None, net.d))
    runs.tensor("labels", labels, tuple(inputs.shape[:2]))
    length, scale = inputs.shape[2], net.tau_1 / inputs.shape[2]

    def gradient(state):
        out, weights = state["W_O"], attention(state, inputs, net)
        mixed = mix(weights, inputs).flatten(1, 2)
        values = mixed @ state["W_V"]
        active = (values @ state["W_H"] if net.hidden else values).relu_()
        summed = active.unflatten(1, (-1, length)).sum(dim=2)
        residual = scale * (summed @ out)[:, :, 0] - labels
        error = scale * residual.repeat_interleave(length, dim=1)[:, :, None]
        # W_O only scales the columns of the mask, so it is applied after the products over positions. The mask takes the
        # place of the activations: fresh memory costs more than the sign.
        mask = active.sign_()
        slopes = {"W_O": scale * summed.mT @ residual[:, :, None]}
        if net.hidden:
            back = state["W_H"] * out.mT
            slopes["W_H"] = ((error * values).mT @ mask) * out.mT
            slopes["W_V"] = (error * mixed).mT @ (mask @ back.mT)
            d_mixed = mask @ (state["W_V"] @ back).mT
        else:
            slopes["W_V"] = ((error * mixed).mT @ mask) * out.mT
            d_mixed = mask @ (state["W_V"] * out.mT).mT
        moved = through_logits((error * d_mixed).view_as(inputs), inputs, weights, net)
        force = inputs.flatten(1, 2).mT @ moved.flatten(1, 2)
        slopes["W_Q"], slopes["W_K"] = force @ state["W_K"], force.mT @ state["W_Q"]
        return residual.square().sum(dim=1) / 2, {name: slopes[name] for name in state}

    return gradient


def through_logits(d_mixed, inputs, weights, net):
    r"""The slope by $M = W_Q W_K^\top$ of a sample is $X^\top$ times this, from the slope by its mixed tokens.

    d_mixed, inputs: (S, n, L, d); weights: (S, n, L, L). Returns $\tau_0 G_Z X$ with the slope $G_Z$ by the logits, (S, n, L, d).
    """
    d_weights = weights * (d_mixed @ inputs.mT)
    d_logits = d_weights - weights * d_weights.sum(dim=-1, keepdim=True)
    return net.tau_0 * mix(d_logits, inputs)


def at_rates(flow_field, rates):
    r"""The same field with a learning rate of its own for each block: $\eta_A\,\partial\mathcal L/\partial A$.

    rates: name -> number; a block that is absent keeps rate 1, and rate 0 freezes it.
    """

    def scaled(state):
        value, gradient = flow_field(state)
        return value, {name: rates.get(name, 1.0) * slope for name, slope in gradient.items()}

    return scaled
