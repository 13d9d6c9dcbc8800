r"""Where the theory of chapter 2 stops: when attention matters, and one assumption broken at a time."""

from functools import partial
from operator import itemgetter

import torch

from attnflow import curves, runs
from attnflow.claims import Below, Control, Experiment, Near, Trial, kinds
from attnflow.cooccurrence.ratio import closed_ratio, data
from attnflow.cooccurrence.setting import BROKEN, DERIVED, KNOWN, MARGIN, PAPER, base, claim, train


def freezing(seeds: tuple, device: torch.device, tau: float = 40.0, count: int = 41, **settings) -> dict:
    """The losses of the same runs with attention trained and frozen, compared.

    seeds, device, settings: of ``train``; tau: the last time; count: of the records. Returns ``tau`` and the relative
    ``distance`` of the losses (K, S), and ``gap`` (S,), where it ends.
    """
    settings |= {"records": torch.linspace(0, tau, count, dtype=runs.DTYPE, device="cpu"), "stop_loss": 0.0}
    trained, frozen = (train(seeds, device, rates=rates, **settings) for rates in ({}, {"W_Q": 0.0, "W_K": 0.0}))
    distance = (frozen["loss"] / trained["loss"] - 1).abs()
    return {"tau": trained["tau"], "distance": distance, "gap": curves.final(distance)}


def idleness(seeds: tuple, device: torch.device, scales: tuple = (0.05, 0.1), **settings) -> dict:
    """What freezing attention changes, for several sizes of the start. Returns ``gap`` (J, S), and the ``scales`` (J,).

    seeds, device, settings: of :func:`freezing`; scales: $c_0$.
    """
    gaps = [freezing(seeds, device, scale=scale, **settings)["gap"] for scale in scales]
    return {"gap": torch.stack(gaps), "scales": scales}


sizes = Experiment(idleness, {"count": 2, "step": 0.5})

CLAIMS = (
    claim(
        "idle-attention",
        "Attention is nearly idle",
        r"What freezing $W_Q, W_K$ changes in the loss at $\tau = 40$ is of order $\sigma_0^2$: from $c_0 = 0.05$ to $0.1$ it "
        "grows with the power 2.",
        Trial(sizes, kinds.slope("gap", "scales"), Near(abs=0.15), predict=2.0),
        Control("$c_0 = 4$ and $8$, where attention is not idle", {"scales": (4.0, 8.0)}),
        provenance=DERIVED,
    ),
    claim(
        "uniform-attention",
        "Attention stays uniform",
        r"No attention weight leaves $1/L$ by more than $10^{-4}$ of it, down to a loss of $10^{-6}$.",
        Trial(base, itemgetter("unevenness"), Below(1e-4)),
        Control("queries and keys that learn a hundred times faster", {"rates": {"W_Q": 100.0, "W_K": 100.0}}),
        provenance="paper, its Theorem F.8 (change of order $1/L^2$); the number derived here",
    ),
    claim(
        "balance-unequal",
        "Unequal classes still balance",
        r"With fractions 0.2, 0.3, 0.3, 0.2 there is no early rise, and at loss $10^{-6}$ $\rho$ is within 2 % of the "
        "dual of the data.",
        Trial(BROKEN["unequal"], itemgetter("rho_end"), Near(rel=0.02), predict=partial(data, name="rho")),
        Control("training that stops at a loss of 0.1, before the limit", {"stop_loss": 0.1}),
        provenance=KNOWN,
        cite=MARGIN,
    ),
    claim(
        "balance-rare",
        "A rare class does not balance",
        r"With three samples in $I_3$, $s_3/s_2$ ends at the dual of the data, far from 1: their Lemma 4.4 needs its fractions.",
        Trial(BROKEN["rare"], itemgetter("singles_end"), Near(rel=0.04), predict=partial(data, name="singles")),
        Control("training that stops at a loss of 0.3, before the limit", {"stop_loss": 0.3}),
        provenance=KNOWN,
        cite=PAPER + MARGIN,
    ),
    claim(
        "balance-survives",
        "Balancing survives without two phases",
        r"With a small readout, where Phase 1 is lost, $\rho$ still is within 4 % of its limit at loss $10^{-6}$.",
        Trial(BROKEN["small readout"], itemgetter("rho_end"), Near(rel=0.04), predict=closed_ratio),
        Control("training that stops at a loss of 0.1, before the limit", {"stop_loss": 0.1}),
        provenance=KNOWN,
        cite=("lyu2020gradient",),
    ),
)
