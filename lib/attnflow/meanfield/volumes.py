r"""Finite volumes for $\partial_t\rho_j = \partial_\theta(\rho_j\,\partial_\theta V_j)$, one density for each layer of the toy.

Each cell has a mass. Faces move at $u = -(V_{k+1} - V_k)/h$, mass crosses them upwind from a piecewise linear density whose
slopes are limited by minmod, and time goes by the two stages of Heun (SSP-RK2). It is a march of its own and not a call of
``flow.integrate``: what moves is a density, not a vector of parameters down its own gradient, and each run chooses its steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy import stats

from attnflow import door, runs
from attnflow.meanfield import toy
from attnflow.runs import Stack

REACH, NODES = 2.8, 32  # the line is [-REACH, REACH]; V is a polynomial through so many Chebyshev nodes
CENTRE, HALF, POWER = 0.2, 1.2, 5  # the initial density is that of Beta(5, 5) on [CENTRE - HALF, CENTRE + HALF]
ALLOWED = 0.5  # the Courant number max|u| dt / h up to which a density stays positive
LIMITERS = {
    "minmod": lambda left, right: (left.sign() + right.sign()) / 2 * torch.minimum(left.abs(), right.abs()),
    "central": lambda left, right: (left + right) / 2,
    "none": lambda left, right: torch.zeros_like(left),
}
FORMS, SPEEDS = ("divergence", "advective"), ("differences", "derivative")


@door.takes(shares="...")
def initial(shares: torch.Tensor) -> torch.Tensor:
    """Quantiles of the initial density, to 1e-6: where the ``shares`` of its mass, of any shape in [0, 1], lie to the left."""
    inside = bool((shares >= 0).all() and (shares <= 1).all())
    runs.check("shares", f"from {shares.min():g} to {shares.max():g}", "in [0, 1]", inside)
    units = np.linspace(0, 1, 2**14)
    found = np.interp(runs.array(shares), stats.beta.cdf(units, POWER, POWER), units)
    return CENTRE + HALF * (2 * torch.as_tensor(found, dtype=runs.DTYPE, device="cpu") - 1)


@door.takes(places="... m", count=door.whole(2))
def chebyshev_rows(places: torch.Tensor, count: int) -> torch.Tensor:
    """The first ``count`` Chebyshev polynomials, two at least, of the line at ``places`` (..., m): (..., count, m)."""
    scaled = places.detach() / REACH
    twice, rows = 2 * scaled, places.new_empty(*places.shape[:-1], count, places.shape[-1])
    rows[..., 0, :], rows[..., 1, :] = 1.0, scaled
    for place in range(2, count):
        torch.mul(twice, rows[..., place - 1, :], out=rows[..., place, :]).sub_(rows[..., place - 2, :])
    return rows


@dataclass(frozen=True)
class Nodes:
    r"""A polynomial through its values at Chebyshev nodes: V costs as much as so many heads, whatever carries the mass.

    count: of the nodes C, at least 2. The head of the toy is analytic in $\theta$, so the error falls geometrically in C; cells
    and particles see the same polynomial, so that it is no part of their difference.
    """

    count: int = NODES

    def __post_init__(self):
        runs.integer("count", self.count, 2)

    @cached_property
    def places(self) -> torch.Tensor:
        """The nodes, (C,)."""
        return REACH * torch.as_tensor(chebyshev.chebpts1(self.count), dtype=runs.DTYPE, device="cpu")

    @cached_property
    def to_series(self) -> torch.Tensor:
        """Values at the nodes to Chebyshev coefficients, (C, C)."""
        return torch.linalg.inv(chebyshev_rows(self.places, self.count).mT)

    @cached_property
    def derivative(self) -> torch.Tensor:
        """Values at the nodes to Chebyshev coefficients of the derivative, (C, C)."""
        series = chebyshev.chebder(np.eye(self.count), axis=0) / REACH
        return torch.as_tensor(np.vstack([series, np.zeros(self.count)]), dtype=runs.DTYPE) @ self.to_series

    def basis(self, places: torch.Tensor) -> torch.Tensor:
        """Weights of the nodes in the polynomial at ``places`` (K,): (K, C)."""
        return chebyshev_rows(places, self.count).mT @ self.to_series

    def slopes(self, places: torch.Tensor) -> torch.Tensor:
        """Weights of the nodes in its derivative at ``places`` (K,): (K, C)."""
        return chebyshev_rows(places, self.count).mT @ self.derivative


@dataclass(frozen=True)
class Scheme:
    """What a march does at a face and in a cell.

    cells: K on the line; limiter: of the slopes, one of ``LIMITERS``, where ``none`` is first-order upwind; courant: the step is
    this times h over the largest speed; form: ``divergence``, or ``advective``, which leaves out the density times the divergence
    of the speed; speeds: of the faces, from ``differences`` of V or from its ``derivative``; nodes: of V; rate: what multiplies
    the speeds, 1 where the learning rate is that of the mean field. Raises WrongUse where a number or a name is not allowed.
    """

    cells: int = 140
    limiter: str = "minmod"
    courant: float = 0.4
    form: str = "divergence"
    speeds: str = "differences"
    nodes: Nodes = Nodes()
    rate: float = 1.0

    def __post_init__(self):
        runs.integer("cells", self.cells, 8)
        runs.choice("limiter", self.limiter, tuple(LIMITERS))
        runs.number("courant", self.courant, above=0)
        runs.choice("form", self.form, FORMS)
        runs.choice("speeds", self.speeds, SPEEDS)

    @property
    def width(self) -> float:
        """Of a cell, h."""
        return 2 * REACH / self.cells

    @cached_property
    def faces(self) -> torch.Tensor:
        """The K + 1 faces."""
        return torch.linspace(-REACH, REACH, self.cells + 1, dtype=runs.DTYPE, device="cpu")

    @property
    def centres(self) -> torch.Tensor:
        """The K centres."""
        return (self.faces[1:] + self.faces[:-1]) / 2

    @cached_property
    def tables(self) -> tuple[torch.Tensor, ...]:
        """Weights of the nodes: in V at the centres, in its slope there and at the inner faces."""
        return self.nodes.basis(self.centres), self.nodes.slopes(self.centres), self.nodes.slopes(self.faces[1:-1])

    def start(self, stack: int, depth: int = toy.DEPTH) -> torch.Tensor:
        """The exact masses of the initial density in the cells, (S, J, K), for a ``stack`` of runs and a ``depth``."""
        shares = stats.beta.cdf((self.faces.numpy() - CENTRE) / (2 * HALF) + 0.5, POWER, POWER)
        return torch.as_tensor(np.diff(shares), dtype=runs.DTYPE).expand(stack, depth, -1).clone()

    def look(self, masses: torch.Tensor, tokens: Stack, targets: Stack, decay: float) -> dict[str, Stack]:
        r"""What ``masses`` (S, J, K) feel: ``speeds`` of the inner faces, ``objective``, ``outputs``.

        ``dissipated`` is $\frac1J\sum_j\int\rho_j|\partial_\theta V_j|^2$ by the midpoint rule, (S,). tokens, targets, decay: of
        the toy.
        """
        at_centres, slopes, at_faces = (table.to(masses) for table in self.tables)
        found = toy.variation(masses @ at_centres, self.nodes.places.to(masses), tokens, targets, decay)
        value = found["V"] @ at_centres.mT
        speeds = value.diff() / self.width if self.speeds == "differences" else found["V"] @ at_faces.mT
        flow = (masses * (found["V"] @ slopes.mT).square()).sum(dim=2).mean(dim=1)
        return {
            "speeds": -self.rate * speeds,
            "dissipated": flow,
            "objective": found["objective"],
            "outputs": found["outputs"],
        }

    def carried(self, masses: torch.Tensor, speeds: torch.Tensor) -> torch.Tensor:
        """The mass a unit of time through the inner faces, upwind: masses (S, J, K), speeds (S, J, K - 1) -> (S, J, K - 1)."""
        jumps = torch.nn.functional.pad(masses.diff(), (1, 1))
        half = LIMITERS[self.limiter](jumps[..., :-1], jumps[..., 1:]) / 2
        return (
            speeds.clamp_min(0) * (masses + half)[..., :-1] + speeds.clamp_max(0) * (masses - half)[..., 1:]
        ) / self.width

    def change(self, masses: torch.Tensor, speeds: torch.Tensor) -> torch.Tensor:
        """The change of ``masses`` (S, J, K) a unit of time at ``speeds`` (S, J, K - 1) of the inner faces; ends are closed."""
        gained = -torch.nn.functional.pad(self.carried(masses, speeds), (1, 1)).diff()
        if self.form == "advective":
            gained = gained + masses * torch.nn.functional.pad(speeds, (1, 1)).diff() / self.width
        return gained


@door.takes(
    scheme=Scheme, tokens="S n L", targets="S n", decay=door.NONNEGATIVE, times=door.several(door.NUMBER, least=0)
)
def march(
    scheme: Scheme, tokens: Stack, targets: Stack, decay: float, times: Sequence[float]
) -> dict[str, torch.Tensor]:
    r"""The densities at some times, by a ``scheme``; every run takes steps of its own.

    tokens, targets, decay: of the toy; times: (T,), increasing from 0. Returns ``masses`` (T, S, J, K), ``objective`` (T, S),
    ``outputs`` (T, S, n), ``dissipated`` (T, S) up to each time; and over all steps ``least``, the lowest density over the
    highest, ``mass``, the largest error of the mass of a layer, ``seen``, the largest Courant number, and ``steps``, (S,) each.
    """
    rising = all(later > earlier for earlier, later in pairwise(times)) and len(times) > 0
    runs.check("times", times, "increasing from a time of at least 0", rising and times[0] >= 0)
    masses = scheme.start(len(tokens)).to(tokens)
    now = torch.zeros(len(masses), dtype=runs.DTYPE, device=tokens.device)
    at = scheme.look(masses, tokens, targets, decay)
    total = masses.sum(dim=2)
    dissipated, seen, lost, steps = (torch.zeros_like(now) for _ in range(4))
    least = masses.flatten(1).amin(dim=1) / masses.flatten(1).amax(dim=1)
    rows = []
    for time in times:
        while (left := time - now).max() > 0:
            fastest = at["speeds"].flatten(1).abs().amax(dim=1)
            step = torch.minimum(left, scheme.courant * scheme.width / fastest)
            far = masses + step[:, None, None] * scheme.change(masses, at["speeds"])
            there = scheme.look(far, tokens, targets, decay)
            masses = (masses + far + step[:, None, None] * scheme.change(far, there["speeds"])) / 2
            faster = torch.maximum(fastest, there["speeds"].flatten(1).abs().amax(dim=1))
            seen = torch.maximum(seen, step * faster / scheme.width)
            dissipated = dissipated + step * (at["dissipated"] + there["dissipated"]) / 2
            now = torch.where(step < left, now + step, time)
            at = scheme.look(masses, tokens, targets, decay)
            least = torch.minimum(least, masses.flatten(1).amin(dim=1) / masses.flatten(1).amax(dim=1))
            lost = torch.maximum(lost, (masses.sum(dim=2) / total - 1).abs().amax(dim=1))
            steps = steps + (left > 0)
        rows.append(
            {"masses": masses, "dissipated": dissipated} | {name: at[name] for name in ("objective", "outputs")}
        )
    found = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return found | {"least": least, "mass": lost, "seen": seen, "steps": steps}
