r"""Chapter 4, the trap: one query on a line, three keys, and the share of starts from which descent misses a target in reach."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from attnflow import runs
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels.path import HORIZON, followed
from attnflow.kernels.wells import EDGE, Query

DRAWS = 250_000  # of the sampler, for the share that is predicted


def trap_share(
    sampler: Callable[[torch.Generator, int], torch.Tensor],
    *,
    keys: Sequence[float],
    values: Sequence[float],
    target: float,
    kernel: str,
    c: float | None = None,
    beta: float = 1.0,
    starts: int = 4000,
    seed: int = 0,
) -> dict:
    r"""The share of starts from which the flow of one query q ends with a loss $\frac12(o(q) - y)^2$ above 1e-6.

    $o(q) = \sum_jS_j(q)v_j$ with scores $\beta qk_j$ or $-\zeta(q - k_j)^2$.

    sampler: (generator, n) -> n finite starts; keys, values: $k_j$, $v_j$, as many of each; target: y; kernel: softmax, exp,
    gaussian or normalised_gaussian; c: the sharpness $\zeta$, of a distance; beta: of a dot product; starts: how many are
    followed; seed: of their stream. Returns a dict: ``share``, measured by following the flow; ``predicted``, of further draws
    of the sampler, from the basins between all stationary points, which are isolated exactly; ``slow``, the share that reaches
    the target, but after a time of the flow above 1e4; ``reachable``, whether some q, or a limit, has a loss of at most 1e-6;
    ``wells``, the places of the local minima of the loss, -inf and inf among them, none where it is constant. Raises WrongUse on
    wrong input, and where ``exp`` meets a score above 709, which has diverged.

    >>> normal = lambda generator, n: torch.randn(n, generator=generator, dtype=torch.float64)
    >>> found = trap_share(normal, keys=(-1, 0, 1), values=(0.5, 0, 1), target=0.8, kernel="softmax", starts=500)
    >>> round(found["predicted"], 2), [round(place, 3) for place in found["wells"]]
    (0.16, [-inf, 1.469])
    """
    runs.choice("kernel", kernel, KERNELS)
    distance = Kernel(kernel, 1.0, beta).distance
    query = Query(*_numbers(keys, values), float(runs.number("target", target)), _kernel(kernel, c, beta, distance))
    drawn = _drawn(sampler, "starts", seed, runs.integer("starts", starts))
    seen = followed(query, drawn)
    stuck = seen["loss"] > EDGE
    further = _drawn(sampler, "predicted", seed, DRAWS).numpy()
    return {
        "share": float(stuck.double().mean()),
        "predicted": float((query.fate(further) > EDGE).mean()),
        "slow": float((~stuck & (seen["time"] >= HORIZON)).double().mean()),
        "reachable": query.reachable,
        "wells": query.wells,
    }


def _kernel(name, c, beta, distance):
    """The kernel of a name; the sharpness of a dot product, which has none, is checked all the same."""
    if c is None:
        runs.check("c", c, "a finite number greater than 0, for a distance", not distance)
    return Kernel(name, 1.0 if c is None else c, beta)


def _numbers(keys, values):
    """Keys and values as arrays of one length."""
    found = []
    for name, given in (("keys", keys), ("values", values)):
        try:
            array = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        ok = array.ndim == 1 and array.size > 0 and bool(np.isfinite(array).all())
        runs.check(name, given, "a list of finite numbers, at least one", ok)
        found.append(array)
    runs.check("values", values, f"as many as the keys, {len(found[0])}", len(found[0]) == len(found[1]))
    return found


def _drawn(sampler, name, seed, count):
    """What the sampler makes of a stream, as ``count`` finite numbers in float64."""
    runs.check("sampler", sampler, "a function (generator, n) -> n starts", callable(sampler))
    given = sampler(runs.streams([seed], name)[0], count)
    try:
        found = torch.as_tensor(given, dtype=runs.DTYPE, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        found = torch.zeros(0, dtype=runs.DTYPE)
    return runs.tensor(f"what sampler(generator, {count}) returns", found, (count,))
