r"""The gradient of :func:`attnflow.cooccurrence.model.field` for one full run, compiled: by that of its reduced form.

With the readout $\omega = W_O\xi$ the inner matrices have the slopes of the reduced run, and from its slope c by one
neuron's readout those of $W_O$ and $\xi$ are $c\,\xi^\top$ and $W_O^\top c$.
"""

import numpy as np
import torch

from attnflow.cooccurrence import engine
from attnflow.flow.compiling import jitable, loops
from attnflow.flow.engines import Kernel
from attnflow.runs import State

NAMES = ("W_Q", "W_K", "W_V", "W_O", "signs")


@jitable
def _gradient(theta, slope, scratch, whole, real):
    """The loss at ``theta``, with its slope written: see the head of this module."""
    width, neurons = whole[3], whole[-1]
    inner = 3 * whole[2] * width
    outer, signs = theta[inner : inner + width * neurons].reshape(width, neurons), theta[inner + width * neurons :]
    by_outer, by_signs = (
        slope[inner : inner + width * neurons].reshape(width, neurons),
        slope[inner + width * neurons :],
    )
    room = -(-(inner + width) // 8) * 8
    reduced, by_reduced = scratch[: inner + width], scratch[room : room + inner + width]
    for j in range(inner):
        reduced[j] = theta[j]
    np.dot(outer, signs, reduced[inner:])
    loss = engine.gradient(reduced, by_reduced, scratch[2 * room :], whole, real)
    for j in range(inner):
        slope[j] = by_reduced[j]
    column = by_reduced[inner:]
    for j in range(width):
        for neuron in range(neurons):
            by_outer[j, neuron] = column[j] * signs[neuron]
    np.dot(outer.T, column, by_signs)
    return loss


march = loops(_gradient)


def kernel(tokens: torch.Tensor, labels: torch.Tensor, words: int, state: State) -> Kernel:
    """What compiled steps need of a stack at a full ``state``. tokens, labels, words: arguments of ``model.field``."""
    known = engine.kernel(tokens, labels, words, 1, state)
    width, neurons = state["W_O"].shape[1:]
    whole = np.concatenate([known.whole, np.full((len(tokens), 1), neurons)], axis=1)
    return Kernel(march, NAMES, whole, known.real, known.scratch + 2 * (3 * words * width + width + 8))
