r"""What the heads and the neurons of one block do to the tokens of one run, and back: the parts of a compiled gradient.

Particles are many, tokens and entries are few: the particle is the last axis of all arrays, beside the sequence where what is
done is done to all alike (N = n m places), and the inner loop of everything. Tokens from ``first`` on are those that move.
This module needs numba.
"""

from attnflow.flow.compiling import exponentials, jitable, tangents
from attnflow.meanfield.nets import ACTIVATIONS

KINDS = tuple(ACTIVATIONS)
RELU, TANH = KINDS.index("relu"), KINDS.index("tanh")


@jitable
def turn(flat, start, size, row, out):
    """The ``size`` entries of each particle, ``flat`` from a ``start`` on, particles last: into ``out`` from a ``row`` on."""
    for particle in range(out.shape[1]):
        for entry in range(size):
            out[row + entry, particle] = flat[start + particle * size + entry]


@jitable
def _spread(tokens, wide, by_a, by_b, first, out):
    """Tokens (n, L, d), from the ``first`` on, times matrices, (a, b) in row a by_a + b by_b of ``wide``: ``out`` (k, L, N)."""
    count, particles = tokens.shape[0], wide.shape[1]
    for b in range(out.shape[0]):
        for row in range(first, tokens.shape[1]):
            for sample in range(count):
                at = sample * particles
                token = tokens[sample, row, 0]
                for particle in range(particles):
                    out[b, row, at + particle] = token * wide[b * by_b, particle]
                for a in range(1, tokens.shape[2]):
                    token = tokens[sample, row, a]
                    for particle in range(particles):
                        out[b, row, at + particle] += token * wide[a * by_a + b * by_b, particle]


@jitable
def _gather(rows, wide, by_a, by_b, first, factor, tokens):
    """The transpose of :func:`_spread`, times a ``factor``, added to ``tokens``."""
    count, particles = tokens.shape[0], wide.shape[1]
    for b in range(rows.shape[0]):
        for row in range(first, tokens.shape[1]):
            for sample in range(count):
                at = sample * particles
                for a in range(tokens.shape[2]):
                    total = 0.0
                    for particle in range(particles):
                        total += rows[b, row, at + particle] * wide[a * by_a + b * by_b, particle]
                    tokens[sample, row, a] += factor * total


@jitable
def _slope(tokens, rows, by_a, by_b, first, wide):
    """The slope by the matrices of :func:`_spread` into ``wide``, from those by its results, ``rows``."""
    count, particles = tokens.shape[0], wide.shape[1]
    for b in range(rows.shape[0]):
        for a in range(tokens.shape[2]):
            entry = a * by_a + b * by_b
            for particle in range(particles):
                wide[entry, particle] = 0.0
            for row in range(first, tokens.shape[1]):
                for sample in range(count):
                    token, at = tokens[sample, row, a], sample * particles
                    for particle in range(particles):
                        wide[entry, particle] += token * rows[b, row, at + particle]


@jitable
def _weigh(queries, keys, first, scale, weights, line, twos, bits):
    """Weights (L, L, N) of all queries from the ``first`` on.

    queries, keys: (k, L, N); line: room (N,); twos, bits: the same room of as many numbers as the weights are.
    """
    length, places = weights.shape[1], weights.shape[2]
    for row in range(first, length):
        for near in range(length):
            for at in range(places):
                weights[row, near, at] = scale * queries[0, row, at] * keys[0, near, at]
            for b in range(1, queries.shape[0]):
                for at in range(places):
                    weights[row, near, at] += scale * queries[b, row, at] * keys[b, near, at]
        for at in range(places):
            line[at] = weights[row, 0, at]
        for near in range(1, length):
            for at in range(places):
                line[at] = max(line[at], weights[row, near, at])
        for near in range(length):
            for at in range(places):
                weights[row, near, at] -= line[at]
    size = (length - first) * length * places
    flat = weights.reshape(-1)[weights.size - size :]
    exponentials(flat, twos[:size], bits[:size])
    for row in range(first, length):
        for at in range(places):
            line[at] = weights[row, 0, at]
        for near in range(1, length):
            for at in range(places):
                line[at] += weights[row, near, at]
        for at in range(places):
            line[at] = 1 / line[at]
        for near in range(length):
            for at in range(places):
                weights[row, near, at] *= line[at]


@jitable
def _mix(weights, values, first, turned, out):
    """Sums of ``values`` (k, L, N) with ``weights`` (L, L, N) into ``out``: over keys, or, ``turned``, over queries."""
    length, places = weights.shape[1], weights.shape[2]
    for b in range(values.shape[0]):
        for row in range(0 if turned else first, length):
            for at in range(places):
                out[b, row, at] = 0.0
            for near in range(first if turned else 0, length):
                i, j = (near, row) if turned else (row, near)
                for at in range(places):
                    out[b, row, at] += weights[i, j, at] * values[b, near, at]


@jitable
def _pull(weights, by_mixed, values, first, scale, line, forces):
    """Slopes by products of queries and keys, ``forces`` (L, L, N), from those by what is mixed and ``values`` (k, L, N)."""
    length, places = weights.shape[1], weights.shape[2]
    for row in range(first, length):
        for near in range(length):
            for at in range(places):
                forces[row, near, at] = by_mixed[0, row, at] * values[0, near, at]
            for b in range(1, values.shape[0]):
                for at in range(places):
                    forces[row, near, at] += by_mixed[b, row, at] * values[b, near, at]
        for at in range(places):
            line[at] = weights[row, 0, at] * forces[row, 0, at]
        for near in range(1, length):
            for at in range(places):
                line[at] += weights[row, near, at] * forces[row, near, at]
        for near in range(length):
            for at in range(places):
                forces[row, near, at] = scale * weights[row, near, at] * (forces[row, near, at] - line[at])


@jitable
def _activate(rows, first, kind, twos, bits):
    """The activation in place of the ``rows`` (1, L, N) from the ``first`` on."""
    places = rows.shape[2]
    flat = rows.reshape(-1)[first * places :]
    if kind == RELU:
        for at in range(flat.size):
            flat[at] = 0.0 if flat[at] <= 0.0 else flat[at]  # NaN stays what it is
    elif kind == TANH:
        tangents(flat, twos[: flat.size], bits[: flat.size])


@jitable
def attend(stream, after, wide, kept, weights, first, scale, branch, line, twos, bits):
    """Tokens ``after`` the heads of a block, added to those that are there, (n, L, d) as in the ``stream`` before.

    wide: (4, d k, m), the matrices; kept: (4, k, L, N), where queries, keys, values and what is mixed are left; weights:
    (L, L, N), as are those of attention; first: token that moves; scale: of the logits; branch: factor of the block; line: (N,),
    twos, bits: room.
    """
    width = kept.shape[1]
    for matrix in range(3):
        _spread(stream, wide[matrix], width, 1, 0 if matrix else first, kept[matrix])
    _weigh(kept[0], kept[1], first, scale, weights, line, twos, bits)
    _mix(weights, kept[2], first, False, kept[3])
    _gather(kept[3], wide[3], 1, stream.shape[2], first, branch, after)


@jitable
def attend_back(stream, slope, before, wide, by, kept, weights, first, scale, branch, room, line, forces):
    """The slope ``before`` the heads, added to what is there, from the ``slope`` behind them, and those ``by`` their matrices.

    stream, wide, kept, weights, first, scale, branch, line: of :func:`attend`; room: (4, k, L, N); forces: (L, L, N), room.
    """
    width, size = kept.shape[1], stream.shape[2]
    _spread(slope, wide[3], 1, size, first, room[3])
    _slope(slope, kept[3], 1, size, first, by[3])
    _pull(weights, room[3], kept[2], first, scale, line, forces)
    for matrix in range(3):  # by queries, by keys, by values
        start = 0 if matrix else first
        others = kept[1] if matrix == 0 else (kept[0] if matrix == 1 else room[3])
        _mix(weights if matrix == 2 else forces, others, first, matrix > 0, room[matrix])
        _slope(stream, room[matrix], width, 1, start, by[matrix])
        _gather(room[matrix], wide[matrix], width, 1, start, branch, before)


@jitable
def excite(stream, after, wide, active, first, kind, branch, twos, bits):
    """Tokens ``after`` the neurons of a block, added to those that are there, (n, L, d) as in the ``stream`` before.

    wide: (2 d + 1, m), which are $w_1$, b and $w_2$; active: (1, L, N), where what they say is left; first: token that moves;
    kind: place of the activation in ``KINDS``; branch: factor of the block; twos, bits: room.
    """
    size, particles = stream.shape[2], wide.shape[1]
    _spread(stream, wide[:size], 1, 0, first, active)
    for row in range(first, stream.shape[1]):
        for sample in range(stream.shape[0]):
            for particle in range(particles):
                active[0, row, sample * particles + particle] += wide[size, particle]
    _activate(active, first, kind, twos, bits)
    _gather(active, wide[size + 1 :], 1, 0, first, branch, after)


@jitable
def excite_back(stream, slope, before, wide, by, active, first, kind, branch, room):
    """The slope ``before`` the neurons, added to what is there, from the ``slope`` behind them, and those ``by`` their weights.

    stream, wide, active, first, kind, branch: of :func:`excite`; room: (1, L, N).
    """
    size, particles = stream.shape[2], wide.shape[1]
    _spread(slope, wide[size + 1 :], 1, 0, first, room)
    for row in range(first, stream.shape[1]):
        for at in range(active.shape[2]):
            value = active[0, row, at]
            if kind == RELU:
                room[0, row, at] *= 1.0 if value > 0.0 else 0.0
            elif kind == TANH:
                room[0, row, at] *= 1 - value * value
    for particle in range(particles):
        total = 0.0
        for row in range(first, stream.shape[1]):
            for sample in range(stream.shape[0]):
                total += room[0, row, sample * particles + particle]
        by[size, particle] = total
    _slope(stream, room, 1, 0, first, by[:size])
    _slope(slope, active, 1, 0, first, by[size + 1 :])
    _gather(room, wide[:size], 1, 0, first, branch, before)
