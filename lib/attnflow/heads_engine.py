r"""Compiled: the gradient of heads of attention under squared error, with any :class:`attnflow.attention.Kernel`, for one run.

It is that of the fields of chapters 1 and 4, where the formulas stand. Tokens, heads and outputs are few, samples are not: the
sample is the last axis of all arrays, and the inner loop of everything. This module needs numba.
"""

import math

import numpy as np
import torch

from attnflow.attention import Kernel as Similarity
from attnflow.flow.compiling import jitable, loops
from attnflow.flow.engines import Kernel

NAMES = ("W_Q", "W_K", "W_V", "W_O")
ACTIVATIONS = ("identity", "relu", "tanh")  # between what is mixed and the output
RELU, TANH = 1, 2


@jitable
def _split(flat, heads, size, width, outputs):
    """Queries, keys and values, (H, d, k) each, and outputs (H, k, o) of what lies ``flat``."""
    part, shape = heads * size * width, (heads, size, width)
    first = flat[:part].reshape(shape), flat[part : 2 * part].reshape(shape)
    return *first, flat[2 * part : 3 * part].reshape(shape), flat[3 * part :].reshape(heads, width, outputs)


@jitable
def _apply(matrix, rows, fresh, out):
    """All ``rows`` (L, a, n) times a ``matrix`` (a, b) into ``out`` (L, b, n), or added to it where that is not ``fresh``."""
    for row in range(len(rows)):
        for b in range(matrix.shape[1]):
            if fresh:
                out[row, b] = 0.0
            for a in range(matrix.shape[0]):
                entry = matrix[a, b]
                for sample in range(out.shape[2]):
                    out[row, b, sample] += entry * rows[row, a, sample]


@jitable
def _slope(rows, slopes, out):
    """The slope by the matrix of :func:`_apply` into ``out`` (a, b), from those by its results, ``slopes`` (L, b, n)."""
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            total = 0.0
            for row in range(len(rows)):
                for sample in range(rows.shape[2]):
                    total += rows[row, a, sample] * slopes[row, b, sample]
            out[a, b] = total


@jitable
def _scores(one, other, distance, out):
    """Products of rows of ``one`` and an ``other``, (L, a, n), or minus squares of their ``distance``, into ``out`` (L, L, n)."""
    for row in range(len(one)):
        for near in range(len(other)):
            out[row, near] = 0.0
            for a in range(one.shape[1]):
                for sample in range(one.shape[2]):
                    mine, yours = one[row, a, sample], other[near, a, sample]
                    out[row, near, sample] += -((mine - yours) ** 2) if distance else mine * yours


@jitable
def _mix(weights, rows, away, turned, out):
    """Sums of ``rows`` (L, a, n), less those of ``away``, with ``weights`` (L, L, n), or these ``turned``, into ``out``."""
    for row in range(len(rows)):
        out[row] = 0.0
        for near in range(len(rows)):
            weight = weights[near, row] if turned else weights[row, near]
            for a in range(rows.shape[1]):
                for sample in range(rows.shape[2]):
                    out[row, a, sample] += weight[sample] * (rows[near, a, sample] - away[row, a, sample])


@jitable
def _weigh(scores, scale, normalised):
    """Weights in place of ``scores`` (L, L, n), for every query and sample."""
    length = len(scores)
    for row in range(length):
        for sample in range(scores.shape[2]):
            top, total = -np.inf if normalised else 0.0, 0.0
            if normalised:
                for near in range(length):
                    top = max(top, scores[row, near, sample])
            for near in range(length):
                scores[row, near, sample] = math.exp(scale * (scores[row, near, sample] - top))
                total += scores[row, near, sample]
            if normalised:
                for near in range(length):
                    scores[row, near, sample] /= total


@jitable
def _pull(weights, slopes, scale, normalised):
    """Slopes by the scores times a ``scale``, in place of those by the ``weights``, ``slopes``, (L, L, n) both."""
    length = len(weights)
    for row in range(length):
        for sample in range(weights.shape[2]):
            mean = 0.0
            if normalised:
                for near in range(length):
                    mean += weights[row, near, sample] * slopes[row, near, sample]
            for near in range(length):
                slopes[row, near, sample] = scale * weights[row, near, sample] * (slopes[row, near, sample] - mean)


@jitable
def _activate(mixed, activation, slopes):
    """The ``activation`` in place of what is ``mixed``, and its ``slopes``, (L, k, n) each."""
    for row in range(mixed.shape[0]):
        for a in range(mixed.shape[1]):
            for sample in range(mixed.shape[2]):
                value, slope = mixed[row, a, sample], 1.0
                if activation == RELU and value <= 0.0:
                    value = slope = 0.0
                elif activation == TANH:
                    value = math.tanh(value)
                    slope = 1 - value * value
                mixed[row, a, sample], slopes[row, a, sample] = value, slope


@jitable
def _gradient(theta, slope, scratch, whole, real):
    """The loss at ``theta``, with its slope written: see the head of this module."""
    samples, length, heads, size, width, outputs = whole[0], whole[1], whole[2], whole[3], whole[4], whole[5]
    activation, distance, normalised, query_moves = whole[6], whole[7] > 0, whole[8] > 0, whole[9] > 0
    rows, wide, square = samples * length, samples * length * width, samples * length * length
    scale = real[0]
    tokens = real[1 : 1 + rows * size].reshape(length, size, samples)
    targets = real[1 + rows * size :].reshape(length, outputs, samples)
    w_q, w_k, w_v, w_o = _split(theta, heads, size, width, outputs)
    by_q, by_k, by_v, by_o = _split(slope, heads, size, width, outputs)
    room = scratch[: 5 * heads * wide].reshape(5, heads, length, width, samples)
    queries, keys, values, hidden, slopes = room[0], room[1], room[2], room[3], room[4]
    rest = scratch[5 * heads * wide :]
    more, rest = rest[: 3 * wide].reshape(3, length, width, samples), rest[3 * wide :]
    d_mixed, moved, nothing = more[0], more[1], more[2]
    weights = rest[: heads * square].reshape(heads, length, length, samples)
    forces = rest[heads * square : (heads + 1) * square].reshape(length, length, samples)
    error = rest[(heads + 1) * square :][: rows * outputs].reshape(length, outputs, samples)
    loss, nothing[:] = 0.0, 0.0
    for head in range(heads):
        _apply(w_q[head], tokens, True, queries[head])
        _apply(w_k[head], tokens, True, keys[head])
        _apply(w_v[head], tokens, True, values[head])
        _scores(queries[head], keys[head], distance, weights[head])
        _weigh(weights[head], scale, normalised)
        _mix(weights[head], values[head], nothing, False, hidden[head])
        _activate(hidden[head], activation, slopes[head])
        _apply(w_o[head], hidden[head], head == 0, error)
    for row in range(length):
        for j in range(outputs):
            for sample in range(samples):
                residual = error[row, j, sample] - targets[row, j, sample]
                loss += residual * residual
                error[row, j, sample] = residual / rows
    for head in range(heads):
        _slope(hidden[head], error, by_o[head])
        _apply(w_o[head].T, error, True, d_mixed)
        for row in range(length):
            for a in range(width):
                for sample in range(samples):
                    d_mixed[row, a, sample] *= slopes[head, row, a, sample]
        _mix(weights[head], d_mixed, nothing, True, moved)
        _slope(tokens, moved, by_v[head])
        if query_moves:
            _scores(d_mixed, values[head], False, forces)
            _pull(weights[head], forces, 2 * scale if distance else scale, normalised)
            _mix(forces, keys[head], queries[head] if distance else nothing, False, moved)
            _slope(tokens, moved, by_q[head])
            _mix(forces, queries[head], keys[head] if distance else nothing, True, moved)
            _slope(tokens, moved, by_k[head])
        else:
            by_q[head], by_k[head] = 0.0, 0.0
    return loss / (2 * rows)


march = loops(_gradient)


def kernel(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    similarity: Similarity,
    heads: int,
    width: int,
    activation: str = "identity",
    trained: tuple = NAMES,
) -> Kernel:
    """What compiled steps need of a stack.

    inputs: (S, n, L, d); targets: (S, n, L, o); similarity: of queries and keys; heads: how many, each of a ``width``;
    activation: one of those of chapter 1; trained: names of the matrices that move.
    """
    stack, samples, length, size = inputs.shape
    outputs = targets.shape[3]
    flags = [similarity.distance, similarity.normalised, "W_Q" in trained or "W_K" in trained]
    known = [samples, length, heads, size, width, outputs, ACTIVATIONS.index(activation), *map(int, flags)]
    scale = (similarity.c if similarity.distance else similarity.beta) / math.sqrt(width)
    data = [each.permute(0, 2, 3, 1).flatten(1).numpy() for each in (inputs, targets)]
    real = np.concatenate([np.full((stack, 1), scale), *data], axis=1)
    room = samples * length * (5 * heads * width + 3 * width + (heads + 1) * length + outputs)
    still = {name: 0.0 for name in NAMES if name not in trained}
    return Kernel(march, NAMES, np.broadcast_to(known, (stack, len(known))).copy(), real, room, rates=still)
