r"""The neural tangent kernel of the encoder: exact in Gram form, and its limits in closed form."""

import torch

from attnflow import ntk
from attnflow.encoder import model


def blocks(state, inputs, net):
    """Exact kernel of each trained matrix, in Gram form; $W_Q$ and $W_K$ share one, under the name ``W_Q W_K``.

    inputs: (S, n, L, d). Returns name -> (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    weights, out = model.attention(state, inputs, net), state["W_O"].mT
    mixed = model.mix(weights, inputs).flatten(1, 2)
    values = mixed @ state["W_V"]
    active = torch.relu(values @ state["W_H"] if net.hidden else values)
    scale = net.tau_1 / length
    slopes = active.sign() * (scale * out)
    kernels = {"W_O": ntk.features(scale * active.unflatten(1, (-1, length)).sum(dim=2))}
    if net.hidden:
        kernels["W_H"] = ntk.rank_one(values, slopes, samples)
        slopes = slopes @ state["W_H"].mT
    kernels["W_V"] = ntk.rank_one(mixed, slopes, samples)
    d_mixed = (slopes @ state["W_V"].mT).unflatten(1, (-1, length))
    forces = inputs.mT @ model.through_logits(d_mixed, inputs, weights, net)
    return kernels | {"W_Q W_K": ntk.factors(forces, state["W_Q"], state["W_K"])}


def empirical(state, inputs, net):
    """The whole kernel, the sum of its blocks: (S, n, n)."""
    return sum(blocks(state, inputs, net).values())


def from_jacobian(state, inputs, net):
    """The same blocks from the Jacobian, by ``torch.func``: the slow twin."""

    def output(weights, tokens):
        return model.forward({name: value[None] for name, value in weights.items()}, tokens[None, None], net)[0, 0]

    kernels = ntk.from_jacobian(output, state, inputs)
    return kernels | {"W_Q W_K": kernels.pop("W_Q") + kernels.pop("W_K")}


def given_attention(weights, inputs):
    r"""Limit of the $W_O$ and $W_V$ blocks at NTK initialisation when the attention is given.

    $L^{-2}\sum_{ij}[\kappa_1 + \kappa_0\langle\cdot,\cdot\rangle](\tilde x_i, \tilde x'_j)$. weights: (S, n, L, L),
    inputs: (S, n, L, d). Returns (S, n, n).
    """
    samples, length = inputs.shape[1:3]
    mixed = model.mix(weights, inputs).flatten(1, 2)
    zeroth, first = ntk.arc_cosine(mixed, mixed)
    whole = first + zeroth * (mixed @ mixed.mT)
    return whole.reshape(-1, samples, length, samples, length).mean(dim=(2, 4))


def limit(inputs):
    r"""Limit of the whole kernel at NTK initialisation with $s > 1/2$, where the attention becomes uniform.

    $K_\infty = \kappa_1(\bar x, \bar x') + \kappa_0(\bar x, \bar x')\langle\bar x, \bar x'\rangle$ of the token means.
    """
    means = inputs.mean(dim=2)
    zeroth, first = ntk.arc_cosine(means, means)
    return first + zeroth * (means @ means.mT)


def lecun_limit(inputs):
    r"""Limit of $K/k$ at LeCun initialisation with $s > 1/2$: $\kappa_1(\bar x, \bar x')/d$, the $W_O$ block alone."""
    means = inputs.mean(dim=2)
    return ntk.arc_cosine(means, means)[1] / inputs.shape[-1]
