r"""The neural tangent kernel of the encoder: exact in Gram form, and its limits in closed form."""

import torch

from attnflow import ntk
from attnflow.encoder import model


def blocks(state, inputs, net):
    """Exact kernel of each trained matrix, in Gram form; $W_Q$ and $W_K$ share one, under the name ``W_Q W_K``.

    state: of a ``net``; inputs: (S, n, L, d). Returns name -> (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    weights, mixed, values, entering = model.inside(state, inputs, net)
    active, scale = torch.relu(entering), net.tau_1 / length
    slopes = active.sign() * (scale * state["W_O"].mT)
    kernels = {"W_O": ntk.features(scale * active.unflatten(1, (-1, length)).sum(dim=2))}
    if net.hidden:
        kernels["W_H"] = ntk.rank_one(values, slopes, samples)
        slopes = slopes @ state["W_H"].mT
    kernels["W_V"] = ntk.rank_one(mixed, slopes, samples)
    d_mixed = (slopes @ state["W_V"].mT).unflatten(1, (-1, length))
    forces = inputs.mT @ model.through_logits(d_mixed, inputs, weights, net)
    return kernels | {"W_Q W_K": ntk.factors(forces, state["W_Q"], state["W_K"])}


def empirical(state, inputs, net):
    """The whole kernel of a ``net`` at a ``state``, the sum of its blocks. inputs: (S, n, L, d). Returns (S, n, n)."""
    return sum(blocks(state, inputs, net).values())


def largest(kernels):
    r"""The largest eigenvalue $\mu_{\max}$ of each of some ``kernels`` (S, n, n): (S,)."""
    return torch.linalg.eigvalsh(kernels)[:, -1]


def from_jacobian(state, inputs, net):
    """The same blocks of a ``net`` at a ``state`` from the Jacobian, by ``torch.func``: the slow twin. inputs: (S, n, L, d)."""

    def output(weights, tokens):
        return model.forward({name: value[None] for name, value in weights.items()}, tokens[None, None], net)[0, 0]

    kernels = ntk.from_jacobian(output, state, inputs)
    return kernels | {"W_Q W_K": kernels.pop("W_Q") + kernels.pop("W_K")}


def neurons(tokens):
    r"""The kernel of neurons that see some tokens (S, a, d), $\kappa_1 + \kappa_0\langle\cdot,\cdot\rangle$: (S, a, a)."""
    zeroth, first = ntk.arc_cosine(tokens, tokens)
    return first + zeroth * (tokens @ tokens.mT)


def given_attention(weights, inputs):
    r"""Limit of the $W_O$ and $W_V$ blocks at NTK initialisation when the attention is given.

    $L^{-2}\sum_{ij}[\kappa_1 + \kappa_0\langle\cdot,\cdot\rangle](\tilde x_i, \tilde x'_j)$. weights: (S, n, L, L),
    inputs: (S, n, L, d). Returns (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    pairs = neurons(model.mix(weights, inputs).flatten(1, 2)).reshape(-1, samples, length, samples, length)
    return pairs.mean(dim=(2, 4))


def limit(inputs):
    r"""Limit of the whole kernel at NTK initialisation with $s > 1/2$, where the attention becomes uniform.

    $K_\infty = \kappa_1(\bar x, \bar x') + \kappa_0(\bar x, \bar x')\langle\bar x, \bar x'\rangle$ of the token means.
    inputs: (S, n, L, d). Returns (S, n, n).
    """
    return neurons(inputs.mean(dim=2))


def lecun_limit(inputs):
    r"""Limit of $K/k$ at LeCun initialisation with $s > 1/2$: $\kappa_1(\bar x, \bar x')/d$, the $W_O$ block alone.

    inputs: (S, n, L, d). Returns (S, n, n).
    """
    means = inputs.mean(dim=2)
    return ntk.arc_cosine(means, means)[1] / inputs.shape[-1]
