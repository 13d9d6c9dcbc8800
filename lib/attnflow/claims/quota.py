"""Quotas: the share of seeds in which a claim has to hold, or a control to fail, and what a run says of that share."""

import numpy as np
from scipy.stats import binomtest

from attnflow import door, runs

SEEDS = 60  # of the ledger, for a row with a quota: an interval that is narrow enough to mean something
SLACK = 0.1  # how far below the share the interval may begin

Quota = str | tuple[int, int]  # "all", or (k, of): at least this share of the seeds


def checked(quota: Quota) -> Quota:
    """Check that a ``quota`` is ``"all"`` or a share, and return it."""
    pair = isinstance(quota, tuple) and len(quota) == 2 and all(isinstance(part, int) for part in quota)
    ok = quota == "all" or (pair and 0 < quota[0] <= quota[1])
    return runs.check("quota", quota, "'all', or (k, of) with whole numbers 0 < k <= of", ok)


QUOTA = door.by(checked)
FLAGS = door.is_a(
    "an array of bool, one a seed",
    lambda value: isinstance(value, np.ndarray) and value.dtype == bool and value.ndim == 1,
)


@door.takes(quota=QUOTA, seeds=door.COUNT)
def can_be_missed(quota: Quota, seeds: int = 10) -> bool:
    """Whether a run on some ``seeds`` in which nothing is as asked contradicts a ``quota``.

    >>> can_be_missed((8, 10)), can_be_missed((3, 10))
    (True, False)
    """
    return not enough(np.zeros(seeds, dtype=bool), quota)


@door.takes(good=door.INDEX, of=door.COUNT)
def interval(good: int, of: int) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson for a share, where ``good`` seeds ``of`` so many are as asked.

    >>> [round(end, 3) for end in interval(58, 60)]
    [0.885, 0.996]
    """
    runs.check("good", good, f"at most of = {of}", good <= of)
    found = binomtest(int(good), int(of)).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


@door.takes(good=FLAGS, quota=QUOTA)
def enough(good: np.ndarray, quota: Quota) -> bool:
    """Whether the seeds that are as asked, ``good`` (S,), meet a ``quota``.

    All of them, or a share. From ``SEEDS`` seeds on the share itself has to be met, and the interval may begin ``SLACK`` below
    it. Fewer seeds cannot confirm a share: they contradict it where the whole interval lies below.

    >>> enough(np.array([True] * 56 + [False] * 4), (9, 10)), enough(np.array([True] * 53 + [False] * 7), (9, 10))
    (True, False)
    >>> enough(np.array([True] * 7 + [False] * 3), (9, 10)), enough(np.array([True] * 6 + [False] * 4), (9, 10))
    (True, False)
    """
    if quota == "all":
        return bool(good.all())
    share, (low, high) = quota[0] / quota[1], interval(good.sum(), len(good))
    return bool(good.mean() >= share and low >= share - SLACK) if len(good) >= SEEDS else high >= share


@door.takes(good=FLAGS, quota=QUOTA)
def counted(good: np.ndarray, quota: Quota) -> str:
    """How many seeds are as asked, ``good`` (S,), with the interval, as text; empty where the ``quota`` asks all of them.

    >>> counted(np.array([True] * 9 + [False]), (9, 10))
    '9 of 10 seeds (55 to 100 %)'
    """
    if quota == "all":
        return ""
    low, high = interval(good.sum(), len(good))
    return f"{int(good.sum())} of {len(good)} seeds ({100 * low:.0f} to {100 * high:.0f} %)"


@door.takes(quota=QUOTA)
def words(quota: Quota) -> str:
    """What a ``quota`` asks, as words that follow a verb.

    >>> words((9, 10)), words("all")
    (' in at least 9 of 10 seeds', '')
    """
    return "" if quota == "all" else f" in at least {quota[0]} of {quota[1]} seeds"
