r"""The Transformer of chapter 3: softmax attention, value matrix, ReLU, average pooling, output vector.

$f(X) = \tau_1 \frac1L \sum_i \mathrm{relu}(\tilde x_i W_V)\,W_O$ with mixed tokens $\tilde x_i$, the rows of
$\tilde X = SX$, and $S = \mathrm{softmax}(\tau_0 X M X^\top)$, $M = W_Q W_K^\top$. All four matrices are trained on
$\mathcal L = \frac12\sum_n (f(X_n) - y_n)^2$. The logits are taken through M, (d, d), so that the attention costs the same
at every width. In the paper weights act from the left: its $W$ are the transposes of these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from attnflow import door, flow, runs
from attnflow.attention import softmax_slope

INITS = ("lecun", "he", "ntk")
SHORT = 64  # samples of at most so many entries are mixed by broadcasting: a batched matmul has a fixed cost a matrix


@dataclass(frozen=True)
class Encoder:
    r"""Shapes and scalings.

    d: token size; width: k, called $d_m$ in the paper; init: ``lecun`` ($W_O \sim N(0, 1/k)$, the others $N(0, 1/d)$), ``he``
    (twice these variances) or ``ntk`` (all $N(0, 1)$); scaling: s in $\tau_0 = k^{-s}$; output: p in $\tau_1 = k^{-p}$, by
    default 1/2 for ``ntk`` and 0 else, 1 is the mean-field scaling; hidden: a further trained $W_H$ (k, k) between $W_V$
    and the ReLU, $N(0, 1/k)$, or $N(0, 2/k)$ for ``he``. Raises WrongUse on anything else.
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
        runs.number("output", 0.0 if self.output is None else self.output)
        runs.choice("hidden", self.hidden, (False, True))

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

    def std(self, name, rows):
        """Standard deviation of the weight matrix of that ``name`` and number of ``rows``."""
        variance = 1.0 if self.init == "ntk" and name != "W_H" else (2.0 if self.init == "he" else 1.0) / rows
        return math.sqrt(variance)


SHAPES = {"W_Q": "S d k", "W_K": "S d k", "W_V": "S d k", "W_O": "S k 1", "W_H": "S k k"}


def _weights(*names):
    """The kind of a state with these weights at least, and with the hidden matrix where the net of the call trains one."""

    def check(name, value, sizes):
        hidden = sizes.setdefault("hidden", isinstance(value, Mapping) and "W_H" in value)
        door.entries({each: SHAPES[each] for each in (*names, *["W_H"] * hidden)})(name, value, sizes)

    return check


def _nets(allowed, good, **sizes):
    """The kind of a net whose sizes are those of the call, with one property more."""
    fits = door.instance(Encoder, **sizes)

    def check(name, value, sizes):
        fits(name, value, sizes)
        runs.check(name, value, allowed, good(value))

    return check


def _rates(allowed, good):
    """The kind of learning rates of some matrices."""

    def known(value):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and math.isfinite(value) and good(value)

    return door.is_a(
        f"a dict, {' or '.join(SHAPES)} -> a learning rate, a finite number {allowed}",
        lambda given: isinstance(given, Mapping) and set(given) <= set(SHAPES) and all(map(known, given.values())),
    )


STATE, LOGITS, FEATURES = _weights("W_Q", "W_K", "W_V", "W_O"), _weights("W_Q", "W_K"), _weights("W_Q", "W_K", "W_V")
ALL = {"d": "d", "k": "width", "hidden": "hidden"}
NET = door.instance(Encoder, **ALL)
PLAIN = _nets("an Encoder without a hidden matrix", lambda net: not net.hidden, **ALL)
NTK, NTK_TOKENS = (
    _nets(
        "an Encoder of NTK initialisation, tau_1 = k^-1/2, without a hidden matrix",
        lambda net: net.init == "ntk" and net.output in (None, 0.5) and not net.hidden,
        **sizes,
    )
    for sizes in (ALL, {"d": "d"})
)
LECUN = _nets(
    "an Encoder of LeCun initialisation without a hidden matrix", lambda net: net.init == "lecun" and not net.hidden
)
RATES = _rates("of at least 0", lambda rate: rate >= 0)
POSITIVE_RATES = _rates("greater than 0", lambda rate: rate > 0)
TOKENS, ATTENTION = "S n L d", "S n L L"
DRAW = {"net": NET, "inputs": TOKENS, "labels": "S n"}


@door.takes(net=Encoder)
def init(generators, net):
    """Initial weights of a ``net``, one generator a run in ``generators``.

    Returns ``W_Q``, ``W_K``, ``W_V`` (S, d, k), ``W_O`` (S, k, 1), and ``W_H`` (S, k, k) if hidden.
    """
    d, k = net.d, net.width
    shapes = {"W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, 1)} | ({"W_H": (k, k)} if net.hidden else {})
    return {name: runs.normal(generators, *shape, std=net.std(name, shape[0])) for name, shape in shapes.items()}


@door.takes(state=LOGITS, inputs=TOKENS, net=NET)
def attention(state, inputs, net):
    """Attention matrix S, row = query, of a ``net`` at a ``state``. inputs: (S, n, L, d). Returns (S, n, L, L)."""
    product = net.tau_0 * (state["W_Q"] @ state["W_K"].mT)
    logits = (inputs.flatten(1, 2) @ product).reshape(inputs.shape) @ inputs.mT
    # torch's softmax has a fixed cost a row, which counts when the rows are short.
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    return weights / weights.sum(dim=-1, keepdim=True)


@door.takes(weights=ATTENTION, tokens=TOKENS)
def mix(weights, tokens):
    """Weighted sums of tokens, $S X$. weights: (S, n, L, L), tokens: (S, n, L, d). Returns (S, n, L, d)."""
    if tokens.shape[2] * tokens.shape[3] > SHORT:
        return weights @ tokens
    return (weights[..., None] * tokens[:, :, None]).sum(dim=3)


@door.takes(state=FEATURES, inputs=TOKENS, net=NET)
def inside(state, inputs, net):
    """What happens in a ``net`` before the ReLU, at a ``state``. inputs: (S, n, L, d).

    Returns the attention (S, n, L, L), the mixed tokens (S, n L, d), their values (S, n L, k), and what enters the ReLU, of
    that shape, the values themselves where no matrix is trained between.
    """
    weights = attention(state, inputs, net)
    mixed = mix(weights, inputs).flatten(1, 2)
    values = mixed @ state["W_V"]
    return weights, mixed, values, values @ state["W_H"] if net.hidden else values


@door.takes(state=FEATURES, inputs=TOKENS, net=NET)
def features(state, inputs, net):
    r"""The features before the output vector, $\Psi = \tau_1\,\mathrm{mean}_i\,\mathrm{relu}(\tilde x_i W_V)$.

    state: of a ``net``; inputs: (S, n, L, d). Returns (S, n, k).
    """
    active = torch.relu(inside(state, inputs, net)[-1])
    return net.tau_1 * active.unflatten(1, (-1, inputs.shape[2])).mean(dim=2)


@door.takes(state=STATE, inputs=TOKENS, net=NET)
def forward(state, inputs, net):
    """Outputs f of a ``net`` at a ``state``. inputs: (S, n, L, d). Returns (S, n)."""
    return (features(state, inputs, net) @ state["W_O"])[:, :, 0]


@door.takes(state=STATE, inputs=TOKENS, labels="S n", net=NET)
def loss(state, inputs, labels, net):
    """Half the sum of squared residuals of a ``net`` at a ``state``. inputs: (S, n, L, d); labels: (S, n). Returns (S,)."""
    return (forward(state, inputs, net) - labels).square().sum(dim=1) / 2


@door.takes(inputs="real: S n L d", labels="real: S n", net=NET)
def field(inputs, labels, net):
    """The gradient field of the loss of a ``net``, by hand in chain-rule form. Returns a function for ``flow.integrate``.

    inputs: (S, n, L, d); labels: (S, n), both in the precision of the states. Nothing that the field returns holds a graph.
    """
    runs.check("labels", f"{labels.dtype} entries", f"{inputs.dtype} as the inputs", labels.dtype == inputs.dtype)
    length, scale = inputs.shape[2], net.tau_1 / inputs.shape[2]

    @door.takes()  # a state that diverges is no wrong use: the loss says so
    @torch.no_grad()
    def gradient(state):
        out = state["W_O"]
        weights, mixed, values, entering = inside(state, inputs, net)
        summed = entering.relu_().unflatten(1, (-1, length)).sum(dim=2)
        residual = scale * (summed @ out)[:, :, 0] - labels
        error = scale * residual.repeat_interleave(length, dim=1)[:, :, None]
        # W_O only scales the columns of the mask, so it is applied after the products over positions. The mask takes the
        # place of the activations: fresh memory costs more than the sign.
        mask = entering.sign_()
        slopes = {"W_O": scale * summed.mT @ residual[:, :, None]}
        if net.hidden:
            back = state["W_H"] * out.mT
            slopes |= {"W_H": ((error * values).mT @ mask) * out.mT, "W_V": (error * mixed).mT @ (mask @ back.mT)}
            back = state["W_V"] @ back
        else:
            back = state["W_V"] * out.mT
            slopes["W_V"] = ((error * mixed).mT @ mask) * out.mT
        moved = through_logits((error * (mask @ back.mT)).view_as(inputs), inputs, weights, net)
        force = inputs.flatten(1, 2).mT @ moved.flatten(1, 2)
        slopes |= {"W_Q": force @ state["W_K"], "W_K": force.mT @ state["W_Q"]}
        return residual.square().sum(dim=1) / 2, {name: slopes[name] for name in state}

    def kernel(state):
        from attnflow.encoder import engine  # here, since numba may be absent

        return engine.kernel(inputs, labels, net, state)

    return gradient if net.hidden else flow.with_kernel(gradient, kernel)


@door.takes(d_mixed=TOKENS, inputs=TOKENS, weights=ATTENTION, net=door.instance(Encoder, d="d"))
def through_logits(d_mixed, inputs, weights, net):
    r"""The slope by $M = W_Q W_K^\top$ of a sample is $X^\top$ times this, from the slope by its mixed tokens.

    d_mixed, inputs: (S, n, L, d); weights: (S, n, L, L), the attention of the ``net``. Returns $\tau_0 G_Z X$ with the slope
    $G_Z$ by the logits, (S, n, L, d).
    """
    return net.tau_0 * mix(softmax_slope(weights, d_mixed @ inputs.mT), inputs)
