r"""The gradient of :func:`attnflow.encoder.model.field` for one run without a hidden matrix, compiled; the formulas stand there.

Products over the width are by BLAS; what is short, the d entries of a token and the L weights of a row, is a loop.
"""

import numpy as np
import torch

from attnflow.flow.compiling import exponentials, jitable, loops
from attnflow.flow.engines import Kernel
from attnflow.runs import State

NAMES = ("W_Q", "W_K", "W_V", "W_O")


@jitable
def _split(flat, size, width):
    """Queries, keys and values, (d, k) each, and the outputs (k,) of what lies ``flat``."""
    part = size * width
    parts = flat[:part].reshape(size, width), flat[part : 2 * part].reshape(size, width)
    return *parts, flat[2 * part : 3 * part].reshape(size, width), flat[3 * part :]


@jitable
def attend(tokens, moved, scale, weights, mixed, twos, bits):
    """Attention ``weights`` of all rows, (n L, L), and their ``mixed`` tokens, from ``tokens`` X and ``moved`` = X M.

    scale: of the logits; twos, bits: room of ``compiling.exponentials``.
    """
    length, size = weights.shape[1], tokens.shape[1]
    for row in range(len(tokens)):
        first, top = row - row % length, -np.inf
        for other in range(length):
            logit = 0.0
            for a in range(size):
                logit += moved[row, a] * tokens[first + other, a]
            weights[row, other] = scale * logit
            top = max(top, scale * logit)
        for other in range(length):
            weights[row, other] -= top
    exponentials(weights.reshape(-1), twos, bits)
    for row in range(len(tokens)):
        first, total = row - row % length, 0.0
        for other in range(length):
            total += weights[row, other]
        for a in range(size):
            mixed[row, a] = 0.0
        for other in range(length):
            weights[row, other] /= total
            for a in range(size):
                mixed[row, a] += weights[row, other] * tokens[first + other, a]


@jitable
def back(tokens, weights, by_mixed, scale, slopes, out):
    r"""$\tau_0 G_Z X$ of all samples into ``out``: :func:`attnflow.encoder.model.through_logits`.

    tokens: X (n L, d); weights: (n L, L); by_mixed: slopes by the mixed tokens (n L, d); scale: $\tau_0$; slopes: (L,), room.
    """
    length, size = weights.shape[1], tokens.shape[1]
    for row in range(len(tokens)):
        first, mean = row - row % length, 0.0
        for other in range(length):
            slopes[other] = 0.0
            for a in range(size):
                slopes[other] += by_mixed[row, a] * tokens[first + other, a]
            mean += weights[row, other] * slopes[other]
        for a in range(size):
            out[row, a] = 0.0
        for other in range(length):
            force = scale * weights[row, other] * (slopes[other] - mean)
            for a in range(size):
                out[row, a] += force * tokens[first + other, a]


@jitable
def _gradient(theta, slope, scratch, whole, real):
    """The loss at ``theta``, with its slope written: see the head of this module."""
    samples, length, size, width = whole[0], whole[1], whole[2], whole[3]
    inner, scale = real[0], real[1] / length
    labels, tokens = real[2 : 2 + samples], real[2 + samples :].reshape(samples * length, size)
    queries, keys, values, outer = _split(theta, size, width)
    by_queries, by_keys, by_values, by_outer = _split(slope, size, width)
    rows, block = samples * length, samples * length * size
    moved, mixed, by_mixed = (
        scratch[:block].reshape(rows, size),
        scratch[block : 2 * block].reshape(rows, size),
        scratch[2 * block : 3 * block].reshape(rows, size),
    )
    rest = scratch[3 * block :]
    weights, rest = rest[: rows * length].reshape(rows, length), rest[rows * length :]
    twos, rest = rest[: rows * length], rest[rows * length :]
    active, rest = rest[: rows * width].reshape(rows, width), rest[rows * width :]
    scaled, rest = rest[: size * width].reshape(width, size), rest[size * width :]
    product, slopes = rest[: size * size].reshape(size, size), rest[size * size :][:length]

    np.dot(queries, keys.T, product)
    np.dot(tokens, product, moved)
    attend(tokens, moved, inner, weights, mixed, twos, twos.view(np.int64))
    np.dot(mixed, values, active)
    loss = 0.0
    for sample in range(samples):
        output = 0.0
        for row in range(sample * length, (sample + 1) * length):
            for j in range(width):
                output += max(active[row, j], 0.0) * outer[j]
        residual = scale * output - labels[sample]
        loss += residual * residual / 2
        error = scale * residual
        for row in range(sample * length, (sample + 1) * length):
            for j in range(width):
                active[row, j] = error if active[row, j] > 0.0 else 0.0
    for j in range(width):
        for a in range(size):
            scaled[j, a] = values[a, j] * outer[j]
    np.dot(mixed.T, active, by_values)
    for j in range(width):
        by_outer[j] = 0.0
    for a in range(size):
        for j in range(width):
            by_outer[j] += values[a, j] * by_values[a, j]  # what a ReLU lets through is its slope times what entered
            by_values[a, j] *= outer[j]
    np.dot(active, scaled, by_mixed)
    back(tokens, weights, by_mixed, inner, slopes, moved)
    np.dot(tokens.T, moved, product)
    np.dot(product, keys, by_queries)
    np.dot(product.T, queries, by_keys)
    return loss


march = loops(_gradient)


def kernel(inputs: torch.Tensor, labels: torch.Tensor, net, state: State) -> Kernel:
    """What compiled steps need of a stack at a ``state``. inputs, labels, net: arguments of ``model.field``."""
    stack, samples, length, size = inputs.shape
    whole = np.broadcast_to([samples, length, size, net.width], (stack, 4)).copy()
    scales = np.broadcast_to([net.tau_0, net.tau_1], (stack, 2))
    rows = samples * length
    room = rows * (3 * size + 2 * length + net.width) + size * net.width + size * size + length
    return Kernel(
        march, NAMES, whole, np.concatenate([scales, labels.numpy(), inputs.flatten(1).numpy()], axis=1), room
    )
