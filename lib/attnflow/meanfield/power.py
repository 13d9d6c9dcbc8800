r"""How many replicas a claim on a spread needs: what a test asks, and how often it fails a law that is true.

The spread s over R normal draws has $\log s$ known to $\frac12\sqrt{\psi'((R - 1)/2)} \approx (2(R - 1))^{-1/2}$, where
$\psi'$ is the trigamma function.
"""

import numpy as np
import torch
from scipy.special import ndtr, polygamma

from attnflow import Below, Control, Experiment, Near, Trial, curves, door, runs
from attnflow.meanfield.setting import claim

LAW = -0.5  # the exponent that is true in the simulation


@door.takes(copies=door.whole(2))
def log_error(copies: int) -> float:
    r"""Standard deviation of the logarithm of a spread over ``copies`` R normal draws, $\frac12\sqrt{\psi'((R - 1)/2)}$.

    >>> round(log_error(12), 3), round(log_error(128), 3)
    (0.223, 0.063)
    """
    return float(np.sqrt(polygamma(1, (runs.integer("copies", copies, 2) - 1) / 2)) / 2)


@door.takes(places=door.several(door.POSITIVE, least=2), copies=door.several(door.whole(2), least=2))
def slope_error(places: tuple, copies: tuple) -> float:
    r"""Standard deviation of the least-squares exponent of spreads in some ``places`` (W,), each over ``copies`` (W,) draws.

    >>> round(slope_error((8, 128), (1024, 384)), 3)
    0.015

    Raises WrongUse where the places are all one, or not as many as the copies.
    """
    runs.check("copies", copies, f"{len(places)} numbers, one a place", len(copies) == len(places))
    runs.check("places", places, "two different ones at least", len(set(map(float, places))) > 1)
    place = np.log(places) - np.log(places).mean()
    errors = np.array([log_error(count) for count in copies])
    return float(np.sqrt((place**2 * errors**2).sum()) / (place**2).sum())


@door.takes(
    places=door.several(door.POSITIVE, least=2), copies=door.several(door.whole(2), least=2), within=door.POSITIVE
)
def passing(places: tuple, copies: tuple, within: float) -> float:
    """How often a true exponent is found ``within`` a half-width, by the normal law. places, copies: of :func:`slope_error`.

    >>> round(passing((8, 128), (1024, 384), 0.05), 3)
    0.999
    """
    return float(2 * ndtr(within / slope_error(places, copies)) - 1)


def tests(
    seeds: tuple,
    device: torch.device,
    places: tuple,
    copies: tuple,
    within: float,
    band: float = 0.2,
    power: float = LAW,
    draws: str = "normal",
    trials: int = 2048,
) -> dict:
    r"""Many tests of the law $s = N^{-1/2}$, each with new draws, on spreads that fall by a power of their own.

    seeds, device: of the runs; places: N (W,); copies: draws behind each spread (W,); within: half-width of the exponent;
    band: by how much $s\sqrt N$ may be off its mean over the places, as a share; power: the true one; draws: normal or laplace;
    trials: tests a seed. Returns the shares of tests that ``slope`` and ``band`` pass, and ``error``, the standard deviation of
    the logarithm of the first spread: (S,) each.
    """
    runs.choice("draws", draws, ("normal", "laplace"))
    generators = runs.streams(seeds, "draws")
    spreads = []
    for place, count in zip(places, copies, strict=True):
        drawn = torch.stack(
            [torch.randn(runs.integer("trials", trials), count, generator=one, dtype=runs.DTYPE) for one in generators]
        )
        if draws == "laplace":  # a normal number of a random size: Laplace's law is that of an exponential variance
            sizes = [torch.rand(trials, count, generator=one, dtype=runs.DTYPE) for one in generators]
            drawn = drawn * (-2 * torch.stack(sizes).clamp_min(1e-300).log() / 2).sqrt()
        spreads.append(place**power * drawn.std(dim=2))
    found = torch.stack(spreads).to(device)
    level = found * torch.tensor(places, dtype=runs.DTYPE, device=device)[:, None, None] ** -LAW
    off = (level / level.mean(dim=0) - 1).abs().amax(dim=0)
    slope = curves.log_slope(places, found.flatten(1)).view(len(seeds), trials)
    return {
        "slope": ((slope - LAW).abs() <= within).to(runs.DTYPE).mean(dim=1),
        "band": (off <= band).to(runs.DTYPE).mean(dim=1),
        "error": found[0].log().std(dim=1),
    }


# The shapes (J, m) that a first attempt measured, with 12 replicas each; and the design of the claims of this chapter.
NARROW = {"places": (16, 64, 256, 64, 256, 256), "copies": (12,) * 6, "within": 0.08}
DESIGN = {"places": (8, 128), "copies": (1024, 384), "within": 0.05}
MORE = {"copies": (128,) * 6}
narrow_run, design_run = Experiment(tests, NARROW), Experiment(tests, DESIGN | {"trials": 512})

CLAIMS = (
    claim(
        "power-error",
        "What the spread of a few draws is worth",
        r"Over 2048 repetitions the logarithm of the spread s of $R = 12$ normal draws has the standard deviation "
        r"$\frac12\sqrt{\psi'((R - 1)/2)}$, which is $(2(R - 1))^{-1/2}$ up to $O(1/R)$: a spread over 12 draws is "
        "known to a fifth.",
        Trial(narrow_run, lambda record: record["error"], Near(rel=0.08), predict=lambda _: log_error(12)),
        Control("draws with heavier tails", {"draws": "laplace"}),
        provenance="textbook",
        cite=(),
    ),
    claim(
        "power-band",
        "Twelve replicas fail a law that is true",
        r"Six nets with spreads $s = (Jm)^{-1/2}$ exactly, 12 replicas each: share of 2048 repetitions in which all six "
        r"$s\sqrt{Jm}$ are seen within 20 % of their mean.",
        Trial(narrow_run, lambda record: record["band"], Below(0.25)),
        Control("128 replicas", MORE),
    ),
    claim(
        "power-slope",
        "Nor does a fitted exponent save it",
        r"Share of the same repetitions in which the fitted exponent lies in $-\frac12 \pm 0.08$, beside "
        r"$2\Phi(0.08/\sigma) - 1$ with the standard error $\sigma$ of the fit: a third of the tests of a true law fail.",
        Trial(
            narrow_run,
            lambda record: record["slope"],
            Near(abs=0.04),
            predict=lambda _: passing(**NARROW),
        ),
        Control("128 replicas", MORE),
    ),
    claim(
        "power-design",
        "The design of this chapter passes it",
        r"Nets of 8 and 128 particles with 1024 and 384 replicas, exponent $-\frac12 \pm 0.05$: share of 512 repetitions in "
        r"which the law is confirmed, beside $2\Phi(0.05/\sigma) - 1$. An exponent of $-0.4$ would be found out.",
        Trial(design_run, lambda record: record["slope"], Near(abs=0.015), predict=lambda _: passing(**DESIGN)),
        Control("spreads that fall with the power 0.4", {"power": -0.4}),
    ),
)
