"""What chapter 2 keeps in store: the paper's own experiment, and the map of the limit over samples and length."""

import math

from attnflow import curves, door, runs
from attnflow.claims import Above, Control, Experiment, Trial
from attnflow.cooccurrence.setting import UPWARDS, claim, steps_to, train
from attnflow.sweep import Sweep

READINGS = {"default": ("uniform", 1 / 3), "he": ("normal", 2.0)}  # law of the weights, and fan-in times their variance
RATE = 0.01


def paper(
    seeds: tuple, device: object, reading: str = "default", epochs: int = 30_000, count: int = 200, **settings
) -> dict:
    r"""The paper's own experiment, with one reading of its word "Kaiming", on ``seeds`` and a ``device``.

    reading: ``default``, what torch's linear layers do (uniform, variance 1/(3 fan-in)), or ``he``, normal of variance
    2/fan-in; epochs: of descent, of which ``count`` are recorded; settings: of ``train``. n = 60, L = 5, d = 64, k = 128,
    o = 256, learning rate 0.01. Returns a run.
    """
    law, gain = READINGS[runs.choice("reading", reading, tuple(READINGS))]
    stds = tuple(math.sqrt(gain / fan_in) for fan_in in (64, 128))
    drawn = {"words": 64, "neurons": 256, "law": law, "stds": stds}
    descent = {"method": "descent", "step": RATE, "records": steps_to(epochs, count), "stop_loss": 0.0}
    return train(seeds, device, **(drawn | descent | settings))


def paper_curves(device: object, reading: str, seeds: int = 4, **settings) -> dict:
    """The curves of the paper's two figures for some runs, as many as ``seeds``, from seed 100 on. Returns a dict.

    device, reading, settings: of ``paper``. ``epochs`` (K,); ``scores`` (K, S, 3, 3), their change; ``class_loss``
    (K, S, 4); ``loss``, ``rho`` (K, S); ``first`` (S,) the epoch at which all classes are right for good.
    """
    run = paper(tuple(range(100, 100 + seeds)), device, reading, **settings)
    return {name: run[name] for name in ("class_loss", "loss", "rho")} | {
        "epochs": run["time"][:, 0] / RATE,
        "scores": run["scores"] - run["scores"][:1],
        "first": run["tau_1"] / run["readout"][0] / RATE,
    }


@door.takes(run={"watched": "gaps: K S 4"})
def paper_scores(run: dict) -> runs.Stack:
    """The least of the four score changes at the end of a ``run`` in the predicted direction, over their largest: (S,).

    NaN where no score has changed.
    """
    change = curves.final(run["watched"] - run["watched"][:1]) * UPWARDS
    return change.amin(dim=1) / change.abs().amax(dim=1)


def cell(device: object, samples: int, length: int, seeds: int = 4, **settings) -> dict:
    """One cell of the phase diagram: the end of some runs, as many as ``seeds``, from seed 100 on. Returns a dict of (S,).

    device, settings: of ``train``; samples: n; length: L.
    """
    run = train(tuple(range(100, 100 + seeds)), device, samples=samples, length=length, test=60, **settings)
    shares = curves.final(run["shares"])
    return {
        "second": shares[:, 1:3].mean(dim=1),
        "fourth": shares[:, 3],
        "rho": run["rho_end"],
        "tau_1": run["tau_1"],
        "loss": curves.final(run["loss"]),
    }


paper_run = Experiment(paper, {"epochs": 1000, "count": 11})

CLAIMS = (
    claim(
        "paper-scores",
        "The paper's own experiment moves its scores the same way",
        r"Under the uniform reading of 'Kaiming' all four changes have the sign of their Theorem 3.2 after 1000 steps: the "
        "least is above three tenths of the largest.",
        Trial(paper_run, paper_scores, Above(0.3)),
        Control("labels that ask for one word alone", {"label": "first"}),
        provenance="paper, its appendix A and its Theorem 3.2; the reading derived here",
    ),
)

SWEEPS = (
    Sweep(
        "phase_diagram",
        "where the sums of loss derivatives end, over n and L",
        cell,
        # Both are whole numbers, n a multiple of six, so that only a map of twice the length and twice the width is finer.
        {"length": tuple(range(3, 15)), "samples": tuple(range(6, 169, 6))},
        {"seeds": 4, "width": 64, "stop_loss": 1e-6},
        single=True,
        probe={"length": (3, 5, 8, 14), "samples": (6, 24, 48, 84)},
    ),
    Sweep(
        "paper_experiment",
        "the paper's own experiment, under both readings of its initialisation",
        paper_curves,
        {"reading": tuple(READINGS)},
        {"seeds": 4, "epochs": 30_000, "count": 200},
        single=True,
        brief={"epochs": 2_137},  # a recorded one: as far as the chapter computes it again
    ),
)
