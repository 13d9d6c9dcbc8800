r"""Chapter 4, the trap: one query on a line, three keys, and a target in reach that descent misses from some starts."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr

from attnflow import door, runs
from attnflow.attention import Kernel
from attnflow.claims import Control, Exactly, Experiment, Near, Trial, kinds
from attnflow.kernels import landscape
from attnflow.kernels.basins import HORIZON, followed
from attnflow.kernels.setting import claim
from attnflow.kernels.wells import EDGE, Query, fold_holds, threshold, turn

COUNT, MANY, SOON = 200, 500, 60.0  # starts a seed; units of the clock, in which all of these arrive


def ends(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    c: float = 1.0,
    betas: Sequence[float] = (1.0,),
    spread: float = 1.0,
    values: Sequence[float] = (0.5, 0.0, 1.0),
    target: float = 0.8,
    size: float = 1.0,
    count: int = COUNT,
    horizon: float = HORIZON,
) -> dict:
    r"""Where descent of one query ends, from starts at the quantiles of a normal law.

    seeds, device: of the runs; each seed shifts its quantiles by one uniform number, so that the share of starts below any place
    is that of the law to within 1/count. kernel, c: with keys (-s, 0, s) for the ``spread`` s, ``values`` and ``target``; betas:
    (J,), one path each; size: of the law; count: starts a seed; horizon: of the flow's time. Returns ``start`` (S, count),
    ``stuck`` and ``slow`` (J, S, count).
    """
    keys = spread * np.array([-1.0, 0.0, 1.0])
    shift = torch.stack([torch.rand(1, generator=one, dtype=runs.DTYPE) for one in runs.streams(seeds, "starts")])
    start = size * torch.special.ndtri((torch.arange(count) + shift.clamp_min(1e-9)) / count)
    found = {"stuck": [], "slow": []}
    for beta in betas:
        query = Query(keys, np.array(values), target, Kernel(kernel, c, beta))
        seen = followed(query, start.flatten().to(device), horizon, SOON)
        stuck = seen["loss"] > EDGE
        found["stuck"].append(stuck.view_as(start))
        found["slow"].append((~stuck & (seen["time"] >= horizon)).view_as(start))
    return {"start": start} | {name: torch.stack(rows) for name, rows in found.items()}


@door.takes(kernel=door.choice("softmax", "gaussian"), c=door.POSITIVE, beta=door.POSITIVE)
def border(kernel: str, c: float = 1.0, beta: float = 1.0) -> float:
    """The place $q^*$ left of which descent is stuck, for keys (-1, 0, 1), values (1/2, 0, 1) and a target of 0.8.

    kernel: softmax, by sympy, at ``beta``; or gaussian, of sharpness ``c``, by :func:`~attnflow.kernels.landscape.border`.
    """
    return float(turn()) / beta if kernel == "softmax" else landscape.border(kernel, c, 1.0)


@door.takes(places=door.several(door.NUMBER))
def foretold(*places: float) -> Callable[[dict], torch.Tensor]:
    """Reading: the share of starts whose fate the ``places`` (J,) foretell, the least over paths; not those within 1e-3."""
    runs.check("places", places, "at least one", bool(places))

    def read(record):
        shares = []
        for place, stuck in zip(places, record["stuck"], strict=True):
            clear = (record["start"] - place).abs() > 1e-3
            shares.append(((stuck == (record["start"] < place)) & clear).sum(dim=1) / clear.sum(dim=1))
        return torch.stack(shares).amin(dim=0)

    return read


@door.takes(name=door.choice("stuck", "slow"))
def share(name: str) -> Callable[[dict], torch.Tensor]:
    """Reading: the share of starts that are as a ``name`` says, ``stuck`` or ``slow``, on the first path: (S,)."""
    return lambda record: record[name][0].double().mean(dim=1)


def compared(seeds: tuple, device: torch.device, c: float = 1.0, **settings) -> torch.Tensor:
    r"""How much larger the stuck share of the Gaussian is than that of softmax at the matched temperature: (S,).

    seeds, device, settings: of :func:`ends`; c: the sharpness, and half the inverse temperature.
    """
    both = (ends(seeds, device, "gaussian", c, **settings), ends(seeds, device, "softmax", betas=(2 * c,), **settings))
    gaussian, softmax = (share("stuck")(one) for one in both)
    return gaussian - softmax


@door.takes(place=door.NUMBER, c=door.POSITIVE)
def waiting(place: float, c: float = 0.5) -> float:
    r"""Time $\int dq/|(o - y)o'|$ of the flow from a ``place`` to a loss of 1e-6, for the Gaussian of sharpness ``c``.

    Infinite where the flow from there ends with a larger loss, or needs more time than a number can hold.
    """
    query, start = landscape.queries("gaussian", c, 1.0), float(place)
    if query.fate(np.array([start]))[0] > EDGE:
        return np.inf
    well = query.still[np.searchsorted(query.still, start) - int(query.direction(np.array(start)) < 0)]
    if query.miss(start) ** 2 / 2 <= EDGE:
        return 0.0
    edge = brentq(lambda here: query.miss(here) ** 2 / 2 - EDGE, well, start)

    def pace(here):
        return np.exp(query.slope.at(here).top + query.units(here)[1]) * query.slope.at(here).value * query.miss(here)

    return abs(quad(lambda here: 1 / pace(here), start, edge, limit=200)[0]) if pace(start) else np.inf


@door.takes(size=door.POSITIVE, c=door.POSITIVE)
def late_share(size: float = 5.0, c: float = 0.5) -> float:
    r"""The share of starts from a normal law of a ``size`` that arrive after the horizon, by :func:`waiting` at ``c``.

    Raises WrongUse where some never arrive: from $c = a^2$ on, with a the :func:`attnflow.kernels.wells.threshold`.
    """
    runs.check("c", c, f"less than {threshold() ** 2:.6g}, from where some starts are stuck", c < threshold() ** 2)

    def late(place):
        return np.log(np.clip(waiting(place, c) / HORIZON, 1e-9, 1e9))

    wells = landscape.queries("gaussian", c, 1.0).wells
    ends_at = [brentq(late, well, well + side * 6 * c**-0.5) for well, side in zip(wells, (-1, 1), strict=True)]
    return float(ndtr(ends_at[0] / size) + ndtr(-ends_at[1] / size))


def first_stuck(
    seeds: tuple, device: torch.device, c: float = 2.0, middle: float = 0.0, rounds: int = 3, places: int = 40
) -> dict:
    r"""The smallest spread at which the flow from the far left is stuck, by trying ``places`` spreads in some ``rounds``.

    seeds, device: of the runs; each draws the ratio r of the left to the right value and a target; c: the sharpness; middle: the
    value of the key at 0. Returns, (S,) each: ``found``, in units of $\zeta^{-1/2}$, and ``ratio``.
    """
    drawn = torch.stack([torch.rand(2, generator=one, dtype=runs.DTYPE) for one in runs.streams(seeds, "values")])
    ratio, target = (0.2 + 0.4 * drawn[:, :1]).expand(-1, places), (0.85 + 0.15 * drawn[:, 1:]).expand(-1, places)
    low, width = torch.full_like(ratio[:, :1], 0.5), 1.0
    for _ in range(rounds):
        tried = low + width * torch.arange(1, places + 1) / places
        spread = runs.array(tried.flatten()) / c**0.5
        values = np.stack([runs.array(ratio.flatten()), np.full(spread.shape, middle), np.ones(spread.shape)])
        query = Query(
            spread * np.array([[-1.0], [0.0], [1.0]]), values, runs.array(target.flatten()), Kernel("gaussian", c)
        )
        loss = followed(query, torch.from_numpy(-2 * spread).to(device), clock=SOON)["loss"].cpu().view_as(tried)
        first = (loss > EDGE).double().argmax(dim=1, keepdim=True)
        width = width / places
        low = tried.gather(1, first) - width
    return {"found": low[:, 0] + width / 2, "ratio": ratio[:, 0]}


soft_run = Experiment(ends, {"kernel": "softmax", "betas": (1.0, 2.0)})
wide_run = Experiment(ends, {"kernel": "gaussian", "c": 0.5, "size": 5.0})
sharp_run = Experiment(ends, {"kernel": "gaussian", "c": 1.0})
SECONDARY = "derived here; that the paper's sharpness is 1 is secondary"
SHIFTED = "Starts are quantiles of the law, so the share is known to two starts."

CLAIMS = (
    claim(
        "trap-softmax",
        "A query of softmax is trapped left of a place in closed form",
        r"Keys $(-1, 0, 1)$ have the values $(\frac12, 0, 1)$, the target is 0.8, which softmax attains. Its flow from "
        r"$q_0$ misses it if and only if $q_0 < q^* = \beta^{-1}\ln\frac{\sqrt 3 - 1}2$: share of starts of "
        r"which this is true, the smaller of $\beta = 1$ and 2, without those within $10^{-3}$ of $q^*$.",
        Trial(
            soft_run, lambda record: foretold(border("softmax"), border("softmax", beta=2.0))(record), Exactly(), 1.0
        ),
        Control("keys twice as far apart", {"spread": 2.0}),
    ),
    claim(
        "trap-share",
        "How many are trapped",
        r"The stuck share of starts from $N(0, 1)$ at $\beta = 1$ is $\Phi(q^*)$. " + SHIFTED,
        Trial(soft_run, share("stuck"), Near(abs=2 / COUNT), lambda _: float(ndtr(border("softmax")))),
        Control("starts of twice the size", {"size": 2.0}),
    ),
    claim(
        "trap-none",
        r"The Gaussian of $\zeta = \frac12$ has no trap here",
        r"With the same keys, values and target its flow reaches the target from everywhere, from starts of $N(0, 5^2)$ too: "
        "share of starts that do.",
        Trial(wide_run, lambda record: 1 - share("stuck")(record), Exactly(), 1.0),
        Control("keys half as far again apart", {"spread": 1.5}),
    ),
    claim(
        "trap-slow",
        "From far away it only takes long",
        r"In the dead zone $S \to 0$ the flow crawls. The share of starts of $N(0, 5^2)$ that reach the target after time $10^4$ "
        r"is what $\int dq/|(o - y)o'|$ predicts. " + SHIFTED,
        Trial(wide_run, share("slow"), Near(abs=2 / COUNT), lambda _: late_share()),
        Control("a hundred times as much time", {"horizon": 100 * HORIZON}),
    ),
    claim(
        "trap-gaussian",
        r"The Gaussian of $\zeta = 1$ has one",
        r"With the same keys, values and target its flow misses the target if and only if $q_0 < q^*$, the least output between "
        r"the two wells, by root finding: share of starts of which this is true, without those within $10^{-3}$ of $q^*$.",
        Trial(sharp_run, lambda record: foretold(border("gaussian"))(record), Exactly(), 1.0),
        Control(r"the row-normalised Gaussian", {"kernel": "normalised_gaussian"}),
        provenance=SECONDARY,
    ),
    claim(
        "trap-gaussian-share",
        "It traps more than a third",
        r"The stuck share of starts from $N(0, 1)$ at $\zeta = 1$ is $\Phi(q^*)$ with that $q^*$. " + SHIFTED,
        Trial(sharp_run, share("stuck"), Near(abs=2 / COUNT), lambda _: float(ndtr(border("gaussian")))),
        Control("twice the sharpness", {"c": 2.0}),
        provenance=SECONDARY,
    ),
    claim(
        "trap-matched",
        r"At $\zeta = 1$ the Gaussian is trapped more often than softmax",
        r"The stuck share of the Gaussian of $\zeta = 1$ less that of softmax at the matched $\beta = 2\zeta$, from the same "
        r"starts, is $\Phi(q^*_{\mathrm{gauss}}) - \Phi(q^*_{\mathrm{softmax}}) > 0$.",
        Trial(
            Experiment(compared, {"c": 1.0, "count": MANY}),
            lambda record: record,
            Near(abs=2 / MANY),
            lambda _: float(ndtr(border("gaussian")) - ndtr(border("softmax", beta=2.0))),
        ),
        Control(r"$\zeta = \frac12$", {"c": 0.5}),
        provenance=SECONDARY,
    ),
    claim(
        "fold-proof",
        "Where the second well begins",
        r"With keys $(-s, 0, s)$, values $(r, 0, 1)$ and $a = s\sqrt\zeta$, x in units of $\zeta^{-1/2}$, $o' = o'' = 0$ "
        r"means $a^2 - x^2 = \frac12$ and $\ln 2rP = P - \frac1{4P}$ for $P = (a + x)^2$.",
        kinds.proof(fold_holds, middle=0.0),
        Control("a value on the middle key", {"middle": 0.3}),
    ),
    claim(
        "fold",
        "The boundary of the trap, predicted and found",
        r"The smallest $s\sqrt\zeta$ at which the flow from the far left is stuck, found by trial at $\zeta = 2$ for a random "
        r"ratio r of left to right value, is that of the equation above (" + f"{threshold():.3f} at $r = 1/2$).",
        Trial(
            Experiment(first_stuck, {"c": 2.0, "middle": 0.0}),
            lambda record: record["found"],
            Near(abs=1e-4),
            lambda record: torch.tensor([threshold(float(ratio)) for ratio in record["ratio"]]),
        ),
        Control("a value on the middle key", {"middle": 0.3}),
    ),
)
