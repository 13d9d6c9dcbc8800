r"""Where the theory of chapter 2 stops: when attention matters, and one assumption broken at a time."""

from functools import partial
from operator import itemgetter

import torch

from attnflow import curves, runs
from attnflow.claims import Below, Control, Experiment, Near, Trial
from attnflow.cooccurrence.ratio import closed_ratio, data, usual_ratio
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


idle = Experiment(freezing)

CLAIMS = (
    claim(
        "idle-attention",
        "Attention is nearly idle",
        r"Freezing $W_Q, W_K$ changes the loss at $\tau = 40$ by less than $10^{-5}$, relative.",
        Trial(idle, itemgetter("gap"), Below(1e-5)),
        Control(r"$\sigma_0$ forty times larger", experiment=idle.but(scale=4.0)),
        provenance=DERIVED,
    ),
    claim(
        "uniform-attention",
        "Attention stays uniform",
        r"No attention weight leaves $1/L$ by more than a thousandth of it, down to a loss of $10^{-6}$.",
        Trial(base, itemgetter("unevenness"), Below(1e-3)),
        Control(r"large $\sigma_0$, $c_0 = 16$", experiment=BROKEN["large"]),
        provenance="paper, its Theorem F.8 (change of order $1/L^2$); the number derived here",
    ),
    claim(
        "balance-unequal",
        "Unequal classes still balance",
        r"With fractions 0.2, 0.3, 0.3, 0.2 there is no early rise, and $\rho$ still ends at the dual of the data.",
        Trial(BROKEN["unequal"], itemgetter("rho_end"), Near(rel=0.03), predict=partial(data, name="rho")),
        Control("the closed form for equal classes", predict=closed_ratio),
        provenance=KNOWN,
        cite=MARGIN,
    ),
    claim(
        "balance-rare",
        "A rare class does not balance",
        r"With three samples in $I_3$, $s_3/s_2$ ends at the dual of the data, far from 1: their Lemma 4.4 needs its fractions.",
        Trial(BROKEN["rare"], itemgetter("singles_end"), Near(rel=0.05), predict=partial(data, name="singles")),
        Control("the prediction 1 of the lemma", predict=1.0),
        provenance=KNOWN,
        cite=PAPER + MARGIN,
    ),
    claim(
        "balance-survives",
        "Balancing survives without two phases",
        r"With a small readout, where Phase 1 is lost, $\rho$ still ends within 5 % of its limit.",
        Trial(BROKEN["tiny readout"], itemgetter("rho_end"), Near(rel=0.05), predict=usual_ratio),
        Control("n = 12 samples", experiment=BROKEN["few"]),
        provenance=KNOWN,
        cite=("lyu2020gradient",),
    ),
)
