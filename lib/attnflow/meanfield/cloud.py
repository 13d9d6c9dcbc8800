r"""Particles that carry the density of the toy: equal ones, drawn or at quantiles, and unequal ones at Gauss nodes.

A particle moves down $\partial_\theta V_j$, so each is a characteristic of the PDE, and with masses that a quadrature gives
them a few stand for the density to many digits.
"""

import numpy as np
import torch
from scipy import stats

from attnflow import door, flow, runs
from attnflow.meanfield import toy, volumes
from attnflow.runs import Stack

DRAWS = ("independent", "stratified")
MANY = 1024  # quantile particles that stand for a density where equal masses are asked for


@door.takes(tokens="s n L", targets="s n", decay=door.NONNEGATIVE, nodes=volumes.Nodes, masses="m")
def field(
    tokens: Stack, targets: Stack, decay: float, nodes: volumes.Nodes, masses: torch.Tensor | None = None
) -> flow.fields.Field:
    r"""The objective and $\partial_\theta V_j$ at the particles ``theta`` (S, J, m), by V at Chebyshev nodes.

    tokens, targets: of the toy, (s, n, L) and (s, n), where S is a multiple of s and runs side by side share their data; decay:
    $\lambda$; nodes: of V; masses: (m,) of the particles, equal ones where none are given.
    """
    places, series, derivative = (each.to(tokens) for each in (nodes.places, nodes.to_series, nodes.derivative))

    def gradient(state):
        rows = volumes.chebyshev_rows(state["theta"], nodes.count)
        moments = rows.mean(dim=3) if masses is None else rows @ masses
        at_nodes = (moments @ series).unflatten(0, (len(tokens), -1))
        found = toy.variation(at_nodes, places, tokens[:, None], targets[:, None], decay)
        slopes = (found["V"] @ derivative.mT).flatten(0, 1)
        return found["objective"].flatten(), {"theta": (slopes[:, :, None] @ rows)[:, :, 0]}

    return gradient


@door.takes(count=door.COUNT)
def quantiles(count: int) -> torch.Tensor:
    """The middles of ``count`` equal shares of the initial density, (count,)."""
    return volumes.initial(shares(count))


@door.takes(count=door.COUNT)
def shares(count: int) -> torch.Tensor:
    """The mass left of the middle of each of ``count`` equal shares, (count,)."""
    return (torch.arange(count, dtype=runs.DTYPE, device="cpu") + 0.5) / count


@door.takes(count=door.whole(volumes.POWER))
def gauss(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places and masses of ``count`` Gauss-Legendre nodes that carry the initial density, (count,) each.

    The density is a polynomial of degree 8, so that from 5 nodes on, fewer are not allowed, the masses have the sum 1.
    """
    units, weights = np.polynomial.legendre.leggauss(count)
    masses = weights / 2 * stats.beta.pdf((units + 1) / 2, volumes.POWER, volumes.POWER)
    places = volumes.CENTRE + volumes.HALF * units
    return tuple(torch.as_tensor(each, dtype=runs.DTYPE, device="cpu") for each in (places, masses))


@door.takes(widths=door.several(door.COUNT), draw=door.choice(*DRAWS), depth=door.COUNT)
def drawn(seeds: list, widths: tuple, draw: str = "independent", depth: int = toy.DEPTH) -> list[torch.Tensor]:
    """Random particles of the initial density, for each of some ``widths`` m a tensor (S, J, m).

    seeds: one a run; draw: ``independent``, or ``stratified``, one in each of m equal shares; depth: J.
    """
    found = []
    for width in widths:
        streams = runs.streams(seeds, "particles", width)
        uniform = torch.stack(
            [torch.rand(depth, width, generator=one, dtype=runs.DTYPE, device="cpu") for one in streams]
        )
        if draw == "stratified":
            uniform = (torch.arange(width, device="cpu") + uniform) / width
        found.append(volumes.initial(uniform))
    return found


@door.takes(places="* m", known="* M")
def distance(places: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    r"""Wasserstein-1 distance of m equal particles to M others in order: $\int_0^1|F_m^{-1} - F^{-1}|$.

    places: (..., m); known: (..., M), sorted, where m divides M; their leading axes broadcast. Returns (...). Raises WrongUse
    where M is no multiple or the known are not sorted.
    """
    count, many = places.shape[-1], known.shape[-1]
    _sorted(known)
    runs.check("particles", count, f"a divisor of {many}", many % count == 0)
    return (places.sort(dim=-1).values.repeat_interleave(many // count, dim=-1) - known).abs().mean(dim=-1)


@door.takes(known="... M", count=door.COUNT)
def expected(known: torch.Tensor, count: int) -> torch.Tensor:
    r"""The mean Wasserstein-1 distance of ``count`` independent draws to their law, $\int E|F_m - F|\,d\theta$, exactly.

    $mF_m$ is binomial, with the mean absolute deviation of de Moivre, $2k\binom mkF^k(1-F)^{m-k+1}$ with
    $k = \lfloor mF\rfloor + 1$; for m large the distance is $\sqrt{2/\pi m}\int\sqrt{F(1-F)}$.

    known: quantiles of the law at equal shares (..., M), sorted. Returns (...). Raises WrongUse where they are not.
    """
    _sorted(known)
    many = known.shape[-1]
    share = torch.arange(1, many, dtype=runs.DTYPE, device="cpu") / many
    found = stats.binom.pmf(np.floor(count * runs.array(share) + 1e-9) + 1, count, runs.array(share))
    order = torch.floor(count * share + 1e-9) + 1
    deviation = 2 * order * torch.as_tensor(found, dtype=runs.DTYPE) * (1 - share) / count
    return (known.diff(dim=-1) * deviation.to(known)).sum(dim=-1)


def _sorted(known):
    """Refuse quantiles that are not in order."""
    runs.check(
        "known", "a tensor that is not sorted", "sorted along its last axis", bool((known.diff(dim=-1) >= 0).all())
    )
