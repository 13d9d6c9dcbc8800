r"""The neural tangent kernel of the encoder: exact in Gram form, and its limits in closed form.

Closed forms hold no graph: on its diagonal the angle of a kernel has no slope.
"""

import math

import torch

from attnflow import door, flow, ntk, runs
from attnflow.encoder import model

CACHE = 2**17  # activations that are taken at once, of several runs where one has fewer


@door.takes(state=model.STATE, inputs=model.TOKENS, net=model.NET)
def blocks(state, inputs, net):
    """Exact kernel of each trained matrix, in Gram form; $W_Q$ and $W_K$ share one, under the name ``W_Q W_K``.

    state: of a ``net``; inputs: (S, n, L, d). Returns name -> (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    if not net.hidden and flow.engines.compiled(inputs, *state.values()):
        from attnflow.encoder import kernel_engine  # here, since numba may be absent

        return kernel_engine.blocks(state, inputs, net)
    weights, mixed, values, entering = model.inside(state, inputs, net)
    # In place: fresh memory costs more than what is computed there.
    active, scale = entering.relu_(), net.tau_1 / length
    kernels = {"W_O": ntk.features(scale * active.unflatten(1, (-1, length)).sum(dim=2))}
    mask = active.sign() if active.requires_grad else active.sign_()
    slopes = mask.mul_(scale * state["W_O"].mT)
    if net.hidden:
        kernels["W_H"] = ntk.rank_one(values, slopes, samples)
        slopes = slopes @ state["W_H"].mT
    kernels["W_V"] = ntk.rank_one(mixed, slopes, samples)
    d_mixed = (slopes @ state["W_V"].mT).unflatten(1, (-1, length))
    forces = inputs.mT @ model.through_logits(d_mixed, inputs, weights, net)
    return kernels | {"W_Q W_K": ntk.factors(forces, state["W_Q"], state["W_K"])}


@door.takes(state=model.STATE, inputs=model.TOKENS, net=model.NET, rates=model.RATES)
def empirical(state, inputs, net, rates=None):
    r"""The whole kernel of a ``net`` at a ``state``, the sum of its blocks. Returns (S, n, n).

    inputs: (S, n, L, d); rates: name -> $\eta_A$, by which the block of a matrix is multiplied; $W_K$ has the rate of $W_Q$.
    Raises WrongUse where it is given another.
    """
    own = rates or {}
    shared = own.get("W_Q", 1.0)
    runs.check("rates['W_K']", own.get("W_K"), f"{shared}, the rate of W_Q", own.get("W_K", shared) == shared)
    at_once = max(1, CACHE // (net.width * inputs.shape[1] * inputs.shape[2]))
    parts = zip(inputs.split(at_once), *(value.split(at_once) for value in state.values()), strict=True)
    found = (blocks(dict(zip(state, values, strict=True)), tokens, net) for tokens, *values in parts)
    return torch.cat([sum(own.get(name.split()[0], 1.0) * block for name, block in each.items()) for each in found])


@door.takes(kernels="gaps: S n n")
def largest(kernels):
    r"""The largest eigenvalue $\mu_{\max}$ of each of some ``kernels`` (S, n, n), NaN where one is not finite: (S,)."""
    finite = kernels.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    # LAPACK does not say that it was given NaN, and may answer with numbers.
    return torch.where(finite[:, 0, 0], torch.linalg.eigvalsh(kernels.where(finite, 0.0))[:, -1], torch.nan)


@door.takes(kernels="S n n", unit=door.POSITIVE)
def step(kernels, unit=1.0):
    r"""The step of descent that is ``unit`` over $\mu_{\max}$ of each of some ``kernels`` (S, n, n): (S,).

    Raises WrongUse for a kernel of zero, of tokens or weights that are zero: along it nothing moves.
    """
    top = largest(kernels)
    runs.check(
        "kernels",
        f"of a largest eigenvalue {float(top.detach().min()):.3g}",
        "greater than zero",
        bool((top > 0).all()),
    )
    return unit / top


@door.takes(state=model.STATE, inputs=model.TOKENS, net=model.NET)
def from_jacobian(state, inputs, net):
    """The same blocks of a ``net`` at a ``state`` from the Jacobian, by ``torch.func``: the slow twin. inputs: (S, n, L, d)."""

    def output(weights, tokens):
        return model.forward({name: value[None] for name, value in weights.items()}, tokens[None, None], net)[0, 0]

    kernels = ntk.from_jacobian(output, state, inputs)
    return kernels | {"W_Q W_K": kernels.pop("W_Q") + kernels.pop("W_K")}


@door.takes(tokens="S a d")
@torch.no_grad()
def neurons(tokens):
    r"""The kernel of neurons that see some tokens (S, a, d), $\kappa_1 + \kappa_0\langle\cdot,\cdot\rangle$: (S, a, a)."""
    zeroth, first = ntk.arc_cosine(tokens, tokens)
    return first + zeroth * (tokens @ tokens.mT)


@door.takes(tokens="S a d")
@torch.no_grad()
def neuron_squares(tokens):
    r"""Mean square of the kernel of one neuron, $(a a' + o^2\,1\,1'\langle x, x'\rangle)^2$, over its weights: (S, a, a).

    It is $\kappa_2 + 2\kappa_1\langle x, x'\rangle + 3\kappa_0\langle x, x'\rangle^2$ with $a = \mathrm{relu}(v\cdot x)$ and
    $o \sim N(0, 1)$, where $\kappa_2 = E[a^2a'^2]$ is $|x|^2|x'|^2/2\pi$ times
    $3\sin\vartheta\cos\vartheta + (\pi - \vartheta)(1 + 2\cos^2\vartheta)$ (Cho and Saul 2009, without their factor 2).
    tokens: (S, a, d).
    """
    zeroth, first = ntk.arc_cosine(tokens, tokens)
    gram, squares = tokens @ tokens.mT, tokens.square().sum(dim=-1)
    lengths = squares[:, :, None] * squares[:, None]
    sine = (lengths - gram.square()).clamp_min(0).sqrt()
    second = zeroth * (lengths + 2 * gram.square()) + 3 * sine * gram / (2 * math.pi)
    return second + 2 * first * gram + 3 * zeroth * gram.square()


@door.takes(weights=model.ATTENTION, inputs=model.TOKENS, of=door.FUNCTION)
@torch.no_grad()
def given_attention(weights, inputs, of=neurons):
    r"""Limit of the $W_O$ and $W_V$ blocks at NTK initialisation when the attention is given.

    $L^{-2}\sum_{ij}[\kappa_1 + \kappa_0\langle\cdot,\cdot\rangle](\tilde x_i, \tilde x'_j)$. weights: (S, n, L, L),
    inputs: (S, n, L, d); of: the kernel of mixed tokens (S, a, d), in brackets. Returns (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    pairs = of(model.mix(weights, inputs).flatten(1, 2)).reshape(-1, samples, length, samples, length)
    return pairs.mean(dim=(2, 4))


@door.takes(state=model.STATE, inputs=model.TOKENS, net=model.NTK)
@torch.no_grad()
def squares_of_neurons(state, inputs, net):
    r"""Mean over the neurons of a ``net`` of the squared size of their kernels, k times their parts of the blocks of W_O, W_V.

    With $p_j$ (n) the mean activations of neuron j and $U_j$ (n, d) the mean mixed tokens on which it is active, the kernel
    $p_jp_j^\top + o_j^2U_jU_j^\top$ has the squared size $|p_j|^4 + 2o_j^2|U_j^\top p_j|^2 + o_j^4|U_jU_j^\top|^2$. state: at
    NTK initialisation; inputs: (S, n, L, d). Returns (S,), without a graph. Raises WrongUse for another net.
    """
    length = inputs.shape[2]
    _, mixed, _, entering = model.inside(state, inputs, net)
    active, tokens = (each.unflatten(1, (-1, length)) for each in (entering.relu(), mixed))
    mean, out = active.mean(dim=2), state["W_O"][:, None, :, 0].square()
    moved = tokens.mT @ active.sign_() / length  # (S, n, d, k)
    along = (mean[:, :, None] * moved).sum(dim=1).square().sum(dim=1)
    # One sample after the other: the pairs of all would not fit a cache.
    whole = sum((moved * one[:, None]).sum(dim=2).square().sum(dim=1) for one in moved.unbind(dim=1))
    squares = mean.square().sum(dim=1).square() + 2 * out[:, 0] * along + out[:, 0].square() * whole
    return squares.mean(dim=1)


@door.takes(weights=model.ATTENTION, inputs="S n L r", d=door.COUNT)
@torch.no_grad()
def lecun_given(weights, inputs, d):
    r"""Limit of $K/k$ at LeCun initialisation when the attention is given: $L^{-2}\sum_{ij}\kappa_1(\tilde x_i, \tilde x'_j)/d$.

    weights: (S, n, L, L); inputs: (S, n, L, any), tokens in any coordinates of their span; d: their size. Returns (S, n, n).
    """
    return given_attention(weights, inputs, lambda tokens: ntk.arc_cosine(tokens, tokens)[1]) / d


@door.takes(inputs=model.TOKENS)
@torch.no_grad()
def limit(inputs):
    r"""Limit of the whole kernel at NTK initialisation with $s > 1/2$, where the attention becomes uniform.

    $K_\infty = \kappa_1(\bar x, \bar x') + \kappa_0(\bar x, \bar x')\langle\bar x, \bar x'\rangle$ of the token means.
    inputs: (S, n, L, d). Returns (S, n, n).
    """
    return neurons(inputs.mean(dim=2))
