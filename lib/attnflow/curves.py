"""What is read from curves: orders, slopes, crossings, values at a time, values at the end."""

from collections.abc import Sequence

import numpy as np
import torch

from attnflow import door, runs
from attnflow.runs import Stack

SPREAD = door.either("curve: K 1", "curve: K S")


@door.takes(steps=door.several(door.POSITIVE, 2, "J"), errors="curve: J ...")
def order(steps: Sequence, errors: torch.Tensor) -> torch.Tensor:
    r"""The order $p$ in error $\approx C h^p(1 + ch + eh^2)$, from the four smallest steps $h, qh, q^2h, q^3h$, free of $c, e$.

    The slope of two neighbours is $p$ and a series in their step. Each turn of $(q^mp_1 - p_2)/(q^m - 1)$, for neighbours
    $p_1, p_2$ and m = 1, 2, takes away one power (Richardson). Of three steps c is taken away, of two steps nothing. steps:
    (J,), errors: (J, ...). Returns the trailing shape of the errors. Raises WrongUse where the steps that count are no
    geometric sequence.

    >>> float(order([0.2, 0.1], torch.tensor([0.04, 0.01])))
    2.0
    """
    places = np.argsort(steps)[:4]
    sizes = np.asarray(steps, dtype=float)[places]
    ratios = sizes[1:] / sizes[:-1]
    fits = len(sizes) > 1 and bool(np.isclose(ratios, ratios[0]).all())
    runs.check("steps", tuple(steps), "two or more, the smallest four a geometric sequence", fits)
    found = list(torch.log(errors[places[1:]] / errors[places[:-1]]) / np.log(ratios[0]))
    for power in range(1, len(found)):
        factor = ratios[0] ** power
        found = [(factor * one - other) / (factor - 1) for one, other in zip(found, found[1:], strict=False)]
    return found[0]


@door.takes(places=door.several(door.POSITIVE, 2, "W"), values="curve: W ...")
def log_slope(places: Sequence, values: torch.Tensor) -> Stack:
    r"""Least-squares slope of $\log$ value against $\log$ place. places: (W,), values: (W, S). Returns (S,).

    >>> [round(float(slope), 6) for slope in log_slope([1, 10, 100], torch.tensor([[1.0], [0.1], [0.01]]).double())]
    [-1.0]
    """
    place = torch.log(torch.as_tensor(places, dtype=values.dtype, device=values.device))
    place = (place - place.mean())[:, None]
    return (place * values.log()).sum(dim=0) / place.square().sum()


@door.takes(places=door.several(door.POSITIVE, 2, "W"), values="curve: W ...")
def power_crossing(places: Sequence, values: torch.Tensor) -> Stack:
    """Where a power law fitted to ``values`` (W, S) over ``places`` (W,) crosses 1, infinite where it does not grow. (S,).

    >>> power_crossing([1, 10], torch.tensor([[0.01], [0.1]]).double()).round().tolist()
    [100.0]
    """
    power = log_slope(places, values)
    centre = torch.log(torch.as_tensor(places, dtype=values.dtype, device=values.device)).mean()
    return torch.where(power > 0, torch.exp(centre - values.log().mean(dim=0) / power), torch.inf)


@door.takes(times=SPREAD, values=SPREAD, inside="bool: K S")
def window_slope(times: torch.Tensor, values: torch.Tensor, inside: torch.Tensor) -> Stack:
    """Least-squares slope of ``values`` against ``times``, both (K, S) or (K, 1), where ``inside`` (K, S) is true. (S,).

    >>> times = torch.tensor([[0.0], [1.0], [2.0]])
    >>> window_slope(times, torch.tensor([[9.0], [1.0], [3.0]]), times > 0).tolist()
    [2.0]
    """
    time, value = (each.where(inside, torch.nan) for each in (times, values))
    time = time - time.nanmean(dim=0)
    return (time * (value - value.nanmean(dim=0))).nansum(dim=0) / time.square().nansum(dim=0)


@door.takes(times="real: K", values="curve: K S", level=door.NUMBER)
def first_crossing(times: torch.Tensor, values: torch.Tensor, level: float) -> Stack:
    """First time at which each run reaches a ``level``, linear between records. times: (K,), values: (K, S). Returns (S,).

    Raises WrongUse where a run starts at or above the level, or never reaches it.
    """
    above = (values >= level).to(torch.int8).argmax(dim=0)
    runs.check("level", level, "crossed by every run after the first record", bool((above > 0).all()))
    column = torch.arange(values.shape[1], device=values.device)
    low, high = values[above - 1, column], values[above, column]
    share = (level - low) / (high - low)
    return times[above - 1] + share * (times[above] - times[above - 1])


@door.takes(times="curve: K S", values="curve: K S")
def last_crossing(times: torch.Tensor, values: torch.Tensor) -> Stack:
    """The time from which a curve stays positive, linear between records.

    The first time where it always was, NaN where it is not at the end. times, values: (K, S), NaN rows at the end are ignored.
    Returns (S,).
    """
    runs.tensor("times", times.nan_to_num(), tuple(values.shape))
    seen = ~values.isnan()
    negative = (values <= 0) & seen
    place = torch.arange(len(values), device=values.device)[:, None]
    before = torch.where(negative, place, -1).amax(dim=0)
    low = before.clamp(0, len(values) - 2)
    column = torch.arange(values.shape[1], device=values.device)
    left, right = values[low, column], values[low + 1, column]
    share = -left / (right - left)
    found = times[low, column] + share * (times[low + 1, column] - times[low, column])
    found = torch.where(before < 0, times[0], found)
    return torch.where(before + 1 < seen.sum(dim=0), found, torch.nan)


@door.takes(times="curve: K S", values="curve: K S ...", when="curve: S")
def at(times: torch.Tensor, values: torch.Tensor, when: Stack) -> torch.Tensor:
    """A curve at given times, linear between records: times (K, S), values (K, S, ...), when (S,) or NaN. Returns (S, ...)."""
    column = torch.arange(times.shape[1], device=times.device)
    after = (times < when).sum(dim=0).clamp(1, len(times) - 1)
    left, right = times[after - 1, column], times[after, column]
    share = ((when - left) / (right - left)).reshape(-1, *[1] * (values.ndim - 2))
    return values[after - 1, column] * (1 - share) + values[after, column] * share


@door.takes(values="curve: K S ...")
def final(values: torch.Tensor) -> torch.Tensor:
    """The last of the ``values`` of every run that is not NaN: (K, S, ...) -> (S, ...)."""
    seen = ~values.flatten(2).isnan().all(dim=2) if values.ndim > 2 else ~values.isnan()
    place = torch.arange(len(values), device=values.device)[:, None]
    last = torch.where(seen, place, 0).amax(dim=0)
    return values[last, torch.arange(values.shape[1], device=values.device)]


@door.takes(values="curve: K ...")
def least(values: torch.Tensor) -> torch.Tensor:
    """The smallest of the ``values`` over records that is not NaN, NaN where all are: (K, ...) -> (...)."""
    found = values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).amin(dim=0)
    return torch.where(values.isnan().all(dim=0), torch.nan, found)


@door.takes(values="curve: K ...")
def most(values: torch.Tensor) -> torch.Tensor:
    """The largest of the ``values`` over records that is not NaN, NaN where all are: (K, ...) -> (...)."""
    return -least(-values)
