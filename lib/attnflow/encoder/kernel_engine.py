r"""The tangent kernel of :func:`attnflow.encoder.kernel.blocks` without a hidden matrix, compiled, one run after the other.

Products of matrices are by BLAS; what comes between two of them is one loop each, where torch writes to memory and reads again.
Of pairs of samples those with a later one are computed, some samples at a time. This module needs numba.
"""

import numpy as np
import torch

from attnflow.encoder.engine import attend, back
from attnflow.flow.compiling import jitable, jitted
from attnflow.runs import State

TOGETHER = 64  # rows of the products of pairs at a time: fewer are slow, more compute what is known


@jitable
def _pairs(first, second, length, products, out):
    """Sums over positions of the products of both Gram matrices, of rows (n L, a) and (n L, b): ``out`` (n, n)."""
    rows = len(first)
    step = products.shape[1] // rows
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        one = products[0, : (stop - start) * (rows - start)].reshape(stop - start, rows - start)
        two = products[1, : (stop - start) * (rows - start)].reshape(stop - start, rows - start)
        np.dot(first[start:stop], first[start:].T, one)
        np.dot(second[start:stop], second[start:].T, two)
        for row in range(0, stop - start, length):
            for j in range(rows - start):  # whole rows first: their loops are long
                one[row, j] *= two[row, j]
            for i in range(row + 1, row + length):
                for j in range(rows - start):
                    one[row, j] += one[i, j] * two[i, j]
            for other in range(0, rows - start, length):
                total = 0.0
                for j in range(other, other + length):
                    total += one[row, j]
                out[(start + row) // length, (start + other) // length] = total
                out[(start + other) // length, (start + row) // length] = total


@jitable
def _logits(tokens, moved, queries, keys, length, room, out):
    r"""That of queries and keys, $\langle G_n, AG_m + G_mB\rangle$ with $A = W_QW_Q^\top$, $B = W_KW_K^\top$: ``out`` (n, n).

    moved: (n L, d), what ``back`` leaves, so that $G_n$ is the product of a sample's tokens with it.
    """
    size = tokens.shape[1]
    samples = len(tokens) // length
    room = room[: 4 * samples * size * size + size * size]
    wide = room[: 4 * samples * size * size].reshape(4, samples * size, size)
    gram = room[4 * samples * size * size :].reshape(size, size)
    slopes, turned, through, back_turned = wide[0], wide[1], wide[2], wide[3]
    for sample in range(samples):
        for a in range(size):
            for b in range(size):
                slopes[sample * size + a, b] = 0.0
            for row in range(sample * length, (sample + 1) * length):
                for b in range(size):
                    slopes[sample * size + a, b] += tokens[row, a] * moved[row, b]
            for b in range(size):
                turned[sample * size + b, a] = slopes[sample * size + a, b]
    np.dot(keys, keys.T, gram)
    np.dot(slopes, gram, through)
    np.dot(queries, queries.T, gram)
    np.dot(turned, gram, back_turned)
    for sample in range(samples):
        for a in range(size):
            for b in range(size):
                through[sample * size + a, b] += back_turned[sample * size + b, a]
    np.dot(slopes.reshape(samples, size * size), through.reshape(samples, size * size).T, out)


@jitted
def _blocks(tokens, queries, keys, values, outer, inner, scale, length, room, found):
    """The three kernels of every run, ``found`` (S, 3, n, n); tokens: (S, n L, d); outer: (S, k); room: three pieces."""
    size, width, rows = tokens.shape[2], values.shape[2], tokens.shape[1]
    samples = rows // length
    large, products, small = room
    active, features = large[: rows * width].reshape(rows, width), large[rows * width :].reshape(samples, width)
    for run in range(len(tokens)):
        at = rows * size
        moved, mixed, by_mixed = (
            small[:at].reshape(rows, size),
            small[at : 2 * at].reshape(rows, size),
            small[2 * at : 3 * at].reshape(rows, size),
        )
        weights, rest = small[3 * at : 3 * at + rows * length].reshape(rows, length), small[3 * at + rows * length :]
        twos, rest = rest[: rows * length], rest[rows * length :]
        product, rest = rest[: size * size].reshape(size, size), rest[size * size :]
        np.dot(queries[run], keys[run].T, product)
        np.dot(tokens[run], product, moved)
        attend(tokens[run], moved, inner, weights, mixed, twos, twos.view(np.int64))
        np.dot(mixed, values[run], active)
        for sample in range(samples):
            for j in range(width):
                features[sample, j] = 0.0
            for row in range(sample * length, (sample + 1) * length):
                for j in range(width):
                    above = active[row, j] > 0.0
                    features[sample, j] += scale * active[row, j] if above else 0.0
                    active[row, j] = scale * outer[run, j] if above else 0.0
        np.dot(features, features.T, found[run, 0])
        _pairs(mixed, active, length, products, found[run, 1])
        np.dot(active, values[run].T, by_mixed)
        back(tokens[run], weights, by_mixed, inner, rest[:length], moved)
        _logits(tokens[run], moved, queries[run], keys[run], length, rest[length:], found[run, 2])


def blocks(state: State, inputs: torch.Tensor, net) -> State:
    """The kernel of each matrix. state, inputs, net: arguments of ``kernel.blocks``."""
    stack, samples, length, size = inputs.shape
    rows, width = samples * length, net.width
    weights = [np.ascontiguousarray(state[name].numpy()) for name in ("W_Q", "W_K", "W_V")]
    outer = np.ascontiguousarray(state["W_O"].numpy()[:, :, 0])
    small = rows * (3 * size + 2 * length) + size * size + length + 4 * samples * size**2 + size**2
    room = (
        np.empty((rows + samples) * width),
        np.empty((2, max(1, TOGETHER // length) * length * rows)),
        np.empty(small),
    )
    found = np.empty((stack, 3, samples, samples))
    tokens = np.ascontiguousarray(inputs.flatten(1, 2).numpy())
    _blocks(tokens, *weights, outer, float(net.tau_0), net.tau_1 / length, length, room, found)
    named = zip(("W_O", "W_V", "W_Q W_K"), range(3), strict=True)
    return {name: torch.from_numpy(found[:, place].copy()) for name, place in named}
