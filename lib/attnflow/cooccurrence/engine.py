r"""The gradient of :func:`attnflow.cooccurrence.model.field` for one reduced run, compiled; the formulas stand there.

Rows of queries and keys meet in blocks of five by five, the length of the chapter's samples: a row that is read or added to
serves five others. The softmax goes over all samples at once, in loops that are long. No row is taken out as a view inside of a
loop, since numba counts the references to it.
"""

import math

import numpy as np
import torch

from attnflow.cooccurrence import task
from attnflow.flow.compiling import jitable, loops
from attnflow.flow.engines import Kernel
from attnflow.runs import State

NAMES = ("W_Q", "W_K", "W_V", "readout")
APART = 4104  # from sum to sum: where that is a number, numba's code sees that these do not overlap; wider rows go one by one


@jitable
def _at(matrix, rows, j):
    """Entries ``j`` of five ``rows``."""
    a, b, c, d, e = rows
    return matrix[a, j], matrix[b, j], matrix[c, j], matrix[d, j], matrix[e, j]


@jitable
def _more(sums, entry, column):
    """Five ``sums`` with an ``entry`` times a ``column`` of five added."""
    first, second, third = sums[0] + entry * column[0], sums[1] + entry * column[1], sums[2] + entry * column[2]
    return first, second, third, sums[3] + entry * column[3], sums[4] + entry * column[4]


@jitable
def _dot(weights, column):
    """A ``column`` of five, summed by ``weights``."""
    near = weights[0] * column[0] + weights[1] * column[1] + weights[2] * column[2]
    return near + weights[3] * column[3] + weights[4] * column[4]


@jitable
def _five(tokens, sample, at):
    """Five tokens of a ``sample``."""
    here = tokens[sample, at], tokens[sample, at + 1], tokens[sample, at + 2]
    return *here, tokens[sample, at + 3], tokens[sample, at + 4]


@jitable
def _weights(weights, row, at, sample):
    """Five weights of a ``row``."""
    here = weights[row, at, sample], weights[row, at + 1, sample], weights[row, at + 2, sample]
    return *here, weights[row, at + 3, sample], weights[row, at + 4, sample]


@jitable
def _note(out, row, at, sample, sums):
    """Five ``sums`` into a row of ``out``."""
    out[row, at, sample], out[row, at + 1, sample], out[row, at + 2, sample] = sums[0], sums[1], sums[2]
    out[row, at + 3, sample], out[row, at + 4, sample] = sums[3], sums[4]


@jitable
def _scores(queries, keys, tokens, sample, out):
    """Products of all queries of a ``sample`` with all its keys, into ``out`` (L, L, n)."""
    length = tokens.shape[1]
    whole = length - length % 5
    for row in range(0, whole, 5):
        for at in range(0, whole, 5):
            first = second = third = fourth = fifth = (0.0, 0.0, 0.0, 0.0, 0.0)
            ours, others = _five(tokens, sample, row), _five(tokens, sample, at)
            for j in range(queries.shape[1]):
                query, key = _at(queries, ours, j), _at(keys, others, j)
                first, second = _more(first, query[0], key), _more(second, query[1], key)
                third, fourth = _more(third, query[2], key), _more(fourth, query[3], key)
                fifth = _more(fifth, query[4], key)
            _note(out, row, at, sample, first)
            _note(out, row + 1, at, sample, second)
            _note(out, row + 2, at, sample, third)
            _note(out, row + 3, at, sample, fourth)
            _note(out, row + 4, at, sample, fifth)
    for row in range(length):
        for at in range(whole if row < whole else 0, length):
            total, a, b = 0.0, tokens[sample, row], tokens[sample, at]
            for j in range(queries.shape[1]):
                total += queries[a, j] * keys[b, j]
            out[row, at, sample] = total


@jitable
def _add(out, weights, others, tokens, sample, near):
    """Add to the rows of ``out`` that a ``sample`` names its sums of ``others`` by ``weights`` (L, L, n)."""
    length, width = tokens.shape[1], out.shape[1]
    whole = length - length % 5 if width <= APART else 0
    for row in range(0, whole, 5):
        for at in range(0, whole, 5):
            rows = _five(tokens, sample, at)
            first, second = _weights(weights, row, at, sample), _weights(weights, row + 1, at, sample)
            third, fourth = _weights(weights, row + 2, at, sample), _weights(weights, row + 3, at, sample)
            fifth = _weights(weights, row + 4, at, sample)
            for j in range(width):
                column = _at(others, rows, j)
                near[j], near[APART + j] = _dot(first, column), _dot(second, column)
                near[2 * APART + j], near[3 * APART + j] = _dot(third, column), _dot(fourth, column)
                near[4 * APART + j] = _dot(fifth, column)
            for m in range(5):
                a = tokens[sample, row + m]
                for j in range(width):
                    out[a, j] += near[m * APART + j]
    for row in range(length):
        for at in range(whole if row < whole else 0, length):
            weight, a, b = weights[row, at, sample], tokens[sample, row], tokens[sample, at]
            for j in range(width):
                out[a, j] += weight * others[b, j]


@jitable
def _matrices(flat, whole):
    """Queries, keys and values, (d, k) each, and the readout (k,) of what lies ``flat``."""
    words, width = whole[2], whole[3]
    size = words * width
    parts = flat[:size].reshape(words, width), flat[size : 2 * size].reshape(words, width)
    return *parts, flat[2 * size : 3 * size].reshape(words, width), flat[3 * size :]


@jitable
def _attend(weights, worth, scale, mixed, room):
    """Scores (L, n) of a query become attention ``weights``, with their mean of what keys are ``worth``; room: (n,)."""
    length, samples = weights.shape
    for sample in range(samples):
        room[sample] = weights[0, sample]
    for m in range(1, length):
        for sample in range(samples):
            room[sample] = max(room[sample], weights[m, sample])
    for m in range(length):
        for sample in range(samples):
            weights[m, sample] = math.exp((weights[m, sample] - room[sample]) * scale)
    for sample in range(samples):
        room[sample] = mixed[sample] = 0.0
    for m in range(length):
        for sample in range(samples):
            room[sample] += weights[m, sample]
            mixed[sample] += weights[m, sample] * worth[m, sample]
    for sample in range(samples):
        room[sample] = 1 / room[sample]
        mixed[sample] *= room[sample]
    for m in range(length):
        for sample in range(samples):
            weights[m, sample] *= room[sample]


@jitable
def gradient(theta, slope, scratch, whole, real):
    """The loss at ``theta``, with its ``slope`` written. whole, real, scratch: numbers of the run and room, of :func:`kernel`."""
    samples, length, words, width = whole[0], whole[1], whole[2], whole[3]
    tokens = whole[4 : 4 + samples * length].reshape(samples, length)
    neurons, labels, scale = real[0], real[1 : 1 + samples], 1 / math.sqrt(width)
    queries, keys, values, readout = _matrices(theta, whole)
    by_queries, by_keys, by_values, by_readout = _matrices(slope, whole)
    pairs, square = samples * length, samples * length**2
    token_scores, pull, rest = scratch[:words], scratch[words : 2 * words], scratch[2 * words :]
    force, rest = rest[:samples], rest[samples:]
    worth, mixed = rest[:pairs].reshape(length, samples), rest[pairs : 2 * pairs].reshape(length, samples)
    rest = rest[2 * pairs :]
    both, near = rest[: 2 * square].reshape(2, length, length, samples), rest[2 * square :]
    weights, turned = both[0], both[1]
    for word in range(words):
        pull[word] = 0.0
    for j in range(2 * words * width):
        slope[j] = 0.0
    np.dot(values, readout, token_scores)
    for sample in range(samples):
        for row in range(length):
            worth[row, sample] = token_scores[tokens[sample, row]]
        _scores(queries, keys, tokens, sample, weights)
    for row in range(length):
        _attend(weights[row], worth, scale, mixed[row], force)
    loss = 0.0
    for sample in range(samples):
        output = 0.0
        for row in range(length):
            output += mixed[row, sample]
        margin = labels[sample] * output
        small = math.exp(-abs(margin))
        loss += math.log1p(small) + max(-margin, 0.0)
        force[sample] = labels[sample] * (small / (1 + small) if margin > 0 else 1 / (1 + small)) / samples
        for m in range(length):
            total = 0.0
            for row in range(length):
                total += weights[row, m, sample]
            pull[tokens[sample, m]] += force[sample] * total
    for row in range(length):
        for m in range(length):
            for sample in range(samples):
                weights[row, m, sample] *= (mixed[row, sample] - worth[m, sample]) * force[sample] * scale
                turned[m, row, sample] = weights[row, m, sample]
    for sample in range(samples):
        _add(by_queries, weights, keys, tokens, sample, near)
        _add(by_keys, turned, queries, tokens, sample, near)
    for word in range(words):
        for j in range(width):
            by_values[word, j] = -pull[word] * readout[j]
    np.dot(pull, values, by_readout)
    for j in range(width):
        by_readout[j] *= -neurons
    return loss / samples


@jitable
def _pace(theta, loss, whole, real):
    """The speed of :func:`attnflow.cooccurrence.model.pace`."""
    neurons, share = real[0], real[1 + whole[0] :]
    _, _, values, readout = _matrices(theta, whole)
    inner = outer = 0.0
    for word in range(whole[2]):
        total = 0.0
        for j in range(whole[3]):
            total += values[word, j] * values[word, j]
        inner += share[word] * total
    for j in range(whole[3]):
        outer += readout[j] * readout[j]
    return (outer + neurons * inner) * -math.expm1(-loss)


march = loops(gradient, _pace)


def clock(tokens: torch.Tensor, words: int, neurons: int) -> np.ndarray:
    """What the pace is made from: o and the squares of the mean counts of all words, (S, 1 + d).

    tokens, words, neurons: arguments of ``model.pace``.
    """
    share = task.counts(tokens, words).mean(dim=1).square().numpy()
    return np.concatenate([np.full((len(share), 1), float(neurons)), share], axis=1)


def kernel(tokens: torch.Tensor, labels: torch.Tensor, words: int, neurons: int, state: State) -> Kernel:
    """What compiled steps need of a stack at a ``state``.

    tokens, labels, words, neurons: arguments of ``model.field``.
    """
    stack, samples, length = tokens.shape
    width = state["W_V"].shape[2]
    sizes = np.broadcast_to([samples, length, words, width], (stack, 4))
    told = clock(tokens, words, neurons)
    real = np.concatenate([told[:, :1], labels.numpy(), told[:, 1:]], axis=1)
    whole = np.concatenate([sizes, tokens.flatten(1).numpy()], axis=1)
    return Kernel(march, NAMES, whole, real, 2 * words + samples * (1 + 2 * length + 2 * length**2) + 5 * APART, told)
