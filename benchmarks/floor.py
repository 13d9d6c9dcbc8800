"""What no program can beat on this machine: the arithmetic and the traffic of one step, at rates that are measured.

A floor is the larger of two times: multiplications and additions over the rate of a product of large matrices, and the bytes of
weights and slopes that a step reads and writes over the rate at which arrays of that size are updated. Exponentials are left out.
"""

import statistics
import time

import numpy as np

REPEATS = 7


def rate(call, work, least=0.05):
    """Units of ``work`` a second of a ``call``: the median of ``REPEATS``, each of at least so many seconds."""
    call()
    began = time.perf_counter()
    call()
    count = max(1, round(least / (time.perf_counter() - began)))
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(count):
            call()
        found.append(count * work / (time.perf_counter() - began))
    return statistics.median(found)


def arithmetic(size=512):
    """Operations a second in a product of two square matrices of that ``size``, by BLAS."""
    left, right, out = (np.random.default_rng(seed).normal(size=(size, size)) for seed in range(3))
    return rate(lambda: np.dot(left, right, out), 2 * size**3)


def traffic(count):
    """Bytes a second where an array of ``count`` numbers is multiplied in place: each is read and written."""
    values = np.ones(count)
    return rate(lambda: np.multiply(values, 1.0, values), 16 * count)


def on_words(samples=60, length=5, words=163, width=128):
    """(operations, numbers of weights) of a step of model A: scores, slopes of queries and of keys, values and readout."""
    pairs, values = samples * length**2 * width, words * width
    return 2 * 3 * pairs + 2 * 3 * values, 3 * values + width


def on_encoders(width, samples=12, length=4, size=16):
    """The same of model B: products with values there and back, and queries and keys through their product."""
    rows = samples * length
    return 2 * width * (3 * rows * size + 3 * size**2), 3 * size * width + width


def seconds(operations, numbers):
    """The floor of a step with so many ``operations`` and so many ``numbers`` of weights, of which slopes are as many."""
    return max(operations / arithmetic(), 4 * 8 * numbers / traffic(numbers))
