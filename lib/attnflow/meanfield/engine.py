r"""The gradient of :func:`attnflow.meanfield.model.field` for one run, compiled.

The output is an entry of the last token: the last block is left out at all others, where its keys and values alone are seen.
This module needs numba.
"""

import numpy as np
import torch

from attnflow.flow.compiling import jitable, loops
from attnflow.flow.engines import Kernel
from attnflow.meanfield.blocks_engine import KINDS, attend, attend_back, excite, excite_back, turn
from attnflow.meanfield.nets import PARTS, Net


@jitable
def _unturn(by, flat, decay, start, size, row, out):
    """The inverse of ``turn``, of slopes, into ``out`` from the place ``start`` on, with the ``decay`` of ``flat``."""
    for particle in range(by.shape[1]):
        for entry in range(size):
            at = start + particle * size + entry
            out[at] = by[row + entry, particle] + decay * flat[at]


@jitable
def _place(tensor, size, part, block, particles, start):
    r"""Where $w_1$, b or $w_2$ of a ``block`` begin in a state, how many entries each particle has, and the row that they get."""
    if tensor == 0:
        return start + size * block * particles, size, 0
    if tensor == 1:
        return start + size * part + block * particles, 1, size
    return start + (size + 1) * part + size * block * particles, size, size + 1


@jitable
def _gradient(theta, slope, scratch, whole, real):
    """The objective at ``theta``, with the velocity of its particles, turned round, written: see the head of this module."""
    count, length, size, width, depth, particles = whole[0], whole[1], whole[2], whole[3], whole[4], whole[5]
    heads, neurons, kind, slot = whole[6] > 0, whole[7] > 0, whole[8], whole[9]
    branch, speed, decay, scale = real[0], real[1], real[2], real[3]
    rows, places, entries = count * length * size, count * particles, size * width
    targets = real[4 + rows : 4 + rows + count]
    many, pairs, more = width * length * places, length * length * places, 2 * size + 1
    # Of every block: its weights, turned, what its heads see and how they weigh it, what its neurons say, the tokens before both.
    at = depth * 4 * entries * particles
    wide, rest = scratch[:at].reshape(depth, 4, entries, particles), scratch[at:]
    at = depth * more * particles
    inner, rest = rest[:at].reshape(depth, more, particles), rest[at:]
    at = depth * 4 * many
    kept, rest = rest[:at].reshape(depth, 4, width, length, places), rest[at:]
    at = depth * pairs
    weights, rest = rest[:at].reshape(depth, length, length, places), rest[at:]
    at = depth * length * places
    active, rest = rest[:at].reshape(depth, 1, length, places), rest[at:]
    at = (2 * depth + 1) * rows
    stream, rest = rest[:at].reshape(2 * depth + 1, count, length, size), rest[at:]
    # For one block after the other: slopes, and room.
    behind, before, rest = rest[:rows], rest[rows : 2 * rows], rest[2 * rows :]
    behind, before = behind.reshape(count, length, size), before.reshape(count, length, size)
    at = 4 * entries * particles
    by_heads, rest = rest[:at].reshape(4, entries, particles), rest[at:]
    at = more * particles
    by_neurons, rest = rest[:at].reshape(more, particles), rest[at:]
    room, rest = rest[: 4 * many].reshape(4, width, length, places), rest[4 * many :]
    line, rest = rest[:places], rest[places:]
    twos = rest[:pairs]
    bits, forces = twos.view(np.int64), twos.reshape(length, length, places)
    part = depth * particles  # times the entries of a tensor: where the next one begins
    first_neurons = 4 * entries * part if heads else 0

    for sample in range(count):
        for row in range(length):
            for a in range(size):
                stream[0, sample, row, a] = real[4 + (sample * length + row) * size + a]
    for block in range(depth):
        first = length - 1 if block == depth - 1 else 0
        for half in range(2):
            for sample in range(count):
                for row in range(length):
                    for a in range(size):
                        stream[2 * block + half + 1, sample, row, a] = stream[2 * block + half, sample, row, a]
            now, then = stream[2 * block + half], stream[2 * block + half + 1]
            if half == 0 and heads:
                for matrix in range(4):
                    start = entries * (matrix * part + block * particles)
                    turn(theta, start, entries, 0, wide[block, matrix])
                attend(now, then, wide[block], kept[block], weights[block], first, scale, branch, line, twos, bits)
            elif half == 1 and neurons:
                for tensor in range(3):
                    turn(theta, *_place(tensor, size, part, block, particles, first_neurons), inner[block])
                excite(now, then, inner[block], active[block], first, kind, branch, twos, bits)

    loss, total = 0.0, 0.0
    for sample in range(count):
        residual = stream[2 * depth, sample, length - 1, slot] - targets[sample]
        loss += residual * residual
        for row in range(length):
            for a in range(size):
                behind[sample, row, a] = 0.0
        behind[sample, length - 1, slot] = branch * speed * residual / count
    for j in range(theta.size):
        total += theta[j] * theta[j]

    for block in range(depth - 1, -1, -1):
        first = length - 1 if block == depth - 1 else 0
        for half in range(1, -1, -1):
            for sample in range(count):
                for row in range(length):
                    for a in range(size):
                        before[sample, row, a] = behind[sample, row, a]
            now = stream[2 * block + half]
            if half == 0 and heads:
                attend_back(
                    now,
                    behind,
                    before,
                    wide[block],
                    by_heads,
                    kept[block],
                    weights[block],
                    first,
                    scale,
                    branch,
                    room,
                    line,
                    forces,
                )
                for matrix in range(4):
                    start = entries * (matrix * part + block * particles)
                    _unturn(by_heads[matrix], theta, decay, start, entries, 0, slope)
            elif half == 1 and neurons:
                excite_back(
                    now, behind, before, inner[block], by_neurons, active[block], first, kind, branch, room[0, :1]
                )
                for tensor in range(3):
                    place = _place(tensor, size, part, block, particles, first_neurons)
                    _unturn(by_neurons, theta, decay, *place, slope)
            behind, before = before, behind
    return loss / (2 * count) + decay / 2 * total / part


march = loops(_gradient)


def kernel(inputs: torch.Tensor, targets: torch.Tensor, net: Net, decay: torch.Tensor) -> Kernel:
    """What compiled steps need of a stack. inputs: X (S, n, L, d); targets: y (S, n); decay: (S,); net: the shapes."""
    stack, count, length, size = inputs.shape
    parts = [int(part in net.parts) for part in PARTS]
    known = [count, length, size, net.k, net.depth, net.m, *parts, KINDS.index(net.activation), net.slot]
    scales = [np.full(stack, each) for each in (net.branch, net.speed)]
    scales += [decay.numpy(), np.full(stack, net.k**-0.5)]
    real = np.concatenate([np.stack(scales, axis=1), inputs.flatten(1).numpy(), targets.numpy()], axis=1)
    rows, places, wide = count * length * size, count * net.m, (4 * size * net.k + 2 * size + 1) * net.m
    seen = (4 * net.k + length + 1) * length * places
    room = net.depth * (wide + seen + 2 * rows) + 3 * rows + wide + places + (4 * net.k + length) * length * places
    return Kernel(march, net.names, np.broadcast_to(known, (stack, len(known))).copy(), real, room)
