"""The two phases of chapter 2: where the first one ends, what moves in which, and the reduced flow that predicts it."""

from functools import partial
from operator import itemgetter

import torch

from attnflow import curves, door, flow, runs
from attnflow.claims import Above, Below, Control, Exactly, Near, Trial
from attnflow.cooccurrence import balance, model
from attnflow.cooccurrence.reduced import ASKED, FOLLOWED, Reduced, follow, foreseen, landmark, second_loss_rise
from attnflow.cooccurrence.setting import BROKEN, CLOCK, DERIVED, UPWARDS, base, claim, problem

LOSS = {"tau": "gaps: K S", "loss": "gaps: K S"}
VECTORS = ("margins", "class_loss", "shares", "gamma", "watched", "gram")  # of a run, each (K, S, j)


@door.takes(run=CLOCK | {"class_loss": "gaps: K S 4"})
def rise(run: dict) -> runs.Stack:
    """How far both losses of single words rise above their start before tau_1 in a ``run``, the smaller rise: (S,)."""
    singles = run["class_loss"][..., 1:3]
    inside = torch.where(run["tau"] <= run["tau_1"], singles.amin(dim=-1), torch.nan)
    return curves.most(inside) - singles[0].amax(dim=-1)


@door.takes(run=CLOCK, name=door.choice(*VECTORS))
def share(run: dict, name: str) -> runs.Stack:
    """What part of its whole change a quantity of a ``run``, by ``name``, has made at tau_1, by Euclidean length: (S,).

    name: of a quantity (K, S, j) of the run. NaN where there is no change, or no tau_1.
    """
    door.entries(CLOCK | {name: "gaps: K S j"})("run", run, {})
    change = run[name] - run[name][:1]
    return curves.at(run["tau"], change, run["tau_1"]).norm(dim=-1) / curves.final(change).norm(dim=-1)


@door.takes(run=CLOCK | {"gamma": "gaps: K S i", "watched": "gaps: K S j"})
def separation(run: dict) -> runs.Stack:
    """How much larger the part is that the token scores of a ``run`` have done by tau_1 than the attention scores: (S,)."""
    return share(run, "gamma") / share(run, "watched")


@door.takes(run=CLOCK, name=door.choice(*VECTORS), directions="j")
def increments(run: dict, name: str, directions: torch.Tensor) -> runs.Stack:
    """Share of the steps between records of Phase 2 of a ``run`` that go the predicted way, in the worst curve: (S,).

    name: of a quantity (K, S, j); directions: (j,) of 1 and -1. NaN where no step is in Phase 2.
    """
    door.entries(CLOCK | {name: "gaps: K S j"})("run", run, {"j": len(directions)})
    runs.check("directions", runs.array(directions).tolist(), "of 1 and -1", bool((directions.abs() == 1).all()))
    moved = (run[name].diff(dim=0) * directions).sign()
    inside = (run["tau"][:-1] >= run["tau_1"]) & ~run[name][1:, :, 0].isnan()
    return ((moved > 0) & inside[..., None]).sum(dim=0).amin(dim=1) / inside.sum(dim=0).to(runs.DTYPE)


@door.takes(run={"gamma": "gaps: K S 3"})
def token_sums(run: dict) -> runs.Stack:
    r"""Least of $\gamma_1+\gamma_2+\gamma_3$, $-\gamma_1-\gamma_3$, $-\gamma_2-\gamma_3$ as a ``run`` ends, over $\gamma_1$.

    Returns (S,); NaN where all three are zero.
    """
    first, second, common = curves.final(run["gamma"]).unbind(dim=-1)
    return torch.stack([first + second + common, -(first + common), -(second + common)]).amin(dim=0) / first


@door.takes(run=LOSS, high=door.POSITIVE, low=door.POSITIVE)
def fall(run: dict, high: float = 1e-2, low: float = 1e-4) -> runs.Stack:
    r"""Slope $d\log\mathcal L/d\log t$ of a ``run`` between two losses, ``high`` and ``low``: (S,).

    NaN where fewer than two records lie between them. Raises WrongUse where high is not above low.
    """
    runs.check("high, low", (high, low), "decreasing", high > low)
    pairs = torch.stack([run["loss"], run["tau"]]).unbind(dim=2)
    inside = [pair[:, (pair[0] <= high) & (pair[0] >= low)] for pair in pairs]
    inside = [pair if pair.shape[1] else torch.full_like(pairs[0][:, :1], torch.nan) for pair in inside]
    return torch.stack([torch.div(*(pair[:, -1] / pair[:, 0]).log()) for pair in inside])


@door.takes(run=FOLLOWED | LOSS)
def ode_gap(run: dict) -> runs.Stack:
    r"""Largest $|\log(\mathcal L/\mathcal L_{ODE})|$ of a ``run`` to the reduced flow whose readout follows the law: (S,)."""
    return curves.most((run["loss"] / follow(run)["loss"]).log().abs())


@door.takes(run={"accuracy": "S"})
def wrong(run: dict) -> runs.Stack:
    """Share of fresh samples that a ``run`` gets wrong at its end, (S,)."""
    return 1 - run["accuracy"]


@door.takes(run=ASKED)
def least_sum(run: dict) -> float:
    r"""Prediction: the same least sum in the limit of a ``run``, where $-\gamma_3/\gamma_1 = \rho$: $\min(2-\rho, \rho-1)$."""
    ratio = balance.predicted(run["task"].samples, run["task"].length)[2]
    return min(2 - ratio, ratio - 1)


def three_ways(seeds: tuple, device: torch.device, tau: float = 4.0, step: float = 0.005, **settings) -> dict:
    r"""$\gamma_1$ at one time from the reduced flow, from scipy's solution of the whole flow, and from descent.

    seeds, device, settings: of the problem; tau: the time; step: of descent, as a part of it. Returns ``reduced`` (a float),
    ``scipy`` and ``descent`` (S,).
    """
    settings = {"samples": 12, "length": 4, "width": 64, "scale": 0.01} | settings
    field, start = problem(seeds, device, **settings)
    until = tau / start["readout"].square().sum(dim=1)
    end = flow.integrate(field, start, step=step * until, times=until[None]).state
    alone = [
        flow.reference(*problem((seed,), device, **settings), [0.0, time])
        for seed, time in zip(seeds, runs.array(until).tolist(), strict=True)
    ]
    scipy = [model.token_scores({name: value[-1] for name, value in each.items()})[:, 0] for each in alone]
    ode = Reduced(settings["samples"], settings["length"]).solve([0.0, tau])["gamma"][-1, 0]
    return {"reduced": float(ode), "scipy": torch.cat(scipy), "descent": model.token_scores(end)[:, 0]}


early = base.but(records=torch.linspace(0, 40, 161, dtype=runs.DTYPE, device="cpu"), stop_loss=0.0, scale=0.001)

UNEQUAL = Control("fractions 0.2, 0.3, 0.3, 0.2", {"fractions": BROKEN["unequal"].settings["fractions"]})
SMALL = Control(r"a small readout, $\sigma_1 = 0.02/\sqrt o$", {"readout": 0.02})
FROZEN = Control("a readout that is frozen", {"rates": {"readout": 0.0}})

CLAIMS = (
    claim(
        "boundary",
        "Phase 1 ends when the reduced flow says so",
        r"From $\tau_\star = \|\omega(0)\|^2t_\star$ on the mean margins of all classes stay positive; the reduced flow says "
        r"when, here for a start of $\sigma_0 = 0.001/\sqrt{Lk}$.",
        Trial(early, itemgetter("tau_1"), Near(rel=0.003), predict=partial(landmark, name="tau")),
        UNEQUAL,
        provenance=f"{DERIVED}; that a time of order $1/\\|\\omega\\|^2$ exists is the paper's own Theorem 3.1",
    ),
    claim(
        "boundary-loss",
        "The loss is still large at the end of Phase 1",
        r"$\mathcal L(t_\star)$ is the number of the reduced flow, of order one.",
        Trial(early, itemgetter("loss_1"), Near(rel=0.001), predict=partial(landmark, name="loss")),
        UNEQUAL,
        provenance=f"{DERIVED}; that it is of order one is the paper's own Theorem 3.1",
    ),
    claim(
        "early-rise",
        "Single words are misjudged first",
        r"The losses of $I_2$ and $I_3$ both rise before $t_\star$, by as much as the reduced flow says.",
        Trial(early, rise, Near(rel=0.03), predict=second_loss_rise),
        UNEQUAL,
        provenance="paper, its Lemmas 4.1 and 4.2; the number derived here",
    ),
    claim(
        "scores-wait",
        "Phase 1 hardly moves the attention scores",
        r"At $t_\star$ the four watched scores have done less than 0.4 % of their whole change; from a start at zero the "
        "reduced flow gives the part that is predicted.",
        Trial(
            base,
            partial(share, name="watched"),
            Below(0.004),
            foreseen(partial(share, name="watched")),
            kind="observation",
        ),
        SMALL,
        provenance="paper, its Theorem 3.1; the number derived here",
    ),
    claim(
        "separation",
        "Values first, scores second",
        r"At $t_\star$ the token scores have done a part of their change that is more than nine times that of the "
        "attention scores; from a start at zero the reduced flow gives the quotient that is predicted.",
        Trial(base, separation, Above(9), foreseen(separation), kind="observation"),
        SMALL,
        provenance="paper, its Theorems 3.1 and 3.2; the number derived here",
    ),
    claim(
        "score-signs",
        "Where the attention scores go",
        r"In Phase 2 $\Phi_{12}, \Phi_{21}$ rise and $\Phi_{13}, \Phi_{23}$ fall, $\Phi = W_QW_K^\top$, between all records.",
        Trial(base, partial(increments, name="watched", directions=UPWARDS), Exactly(), predict=1.0),
        Control("labels that ask for one word alone", {"label": "first"}, quota=(9, 10)),
        provenance="paper, its Theorem 3.2",
    ),
    claim(
        "value-signs",
        "Where the value Gram matrix goes",
        r"In Phase 2 entry (1,2) of $W_VW_V^\top$ rises and entries (1,3), (2,3) fall between all records.",
        Trial(base, partial(increments, name="gram", directions=UPWARDS[1:]), Exactly(), predict=1.0),
        Control("labels that ask for one word alone", {"label": "first"}, quota=(8, 10)),
        provenance="paper, its Theorem 3.2",
    ),
    claim(
        "token-sums",
        "Co-occurrence is read from sums of token scores",
        r"At the end $\gamma_1+\gamma_2+\gamma_3$, $-(\gamma_1+\gamma_3)$ and $-(\gamma_2+\gamma_3)$ are positive; the least, "
        r"over $\gamma_1$, is $\min(2-\rho, \rho-1)$ at the limit of $\rho$.",
        Trial(base, token_sums, Near(rel=0.04), predict=least_sum),
        Control("no common word", {"common": False}),
        provenance="paper, its Theorem 3.2; the number derived here",
    ),
    claim(
        "loss-rate",
        "The loss falls a little faster than 1/t",
        r"From $\mathcal L = 10^{-2}$ to $10^{-4}$ the slope $d\log\mathcal L/d\log t$ is below $-1$, by as much as the reduced "
        "flow says when its readout follows the balance of values and outputs.",
        Trial(base, fall, Near(abs=0.001), predict=foreseen(fall)),
        FROZEN,
        provenance="paper, its Theorem F.8; the number derived here",
    ),
    claim(
        "test-accuracy",
        "It generalises",
        "Of fresh samples with random words from the whole vocabulary less than 5 % are classified wrong.",
        Trial(base, wrong, Below(0.05)),
        Control("no common word, so no bias", {"common": False}),
        provenance="paper, its Theorem 3.3; the number chosen here",
    ),
    claim(
        "reduced-flow",
        "The reduced flow predicts the loss",
        r"From the start to $\mathcal L = 10^{-6}$ the loss stays within 6 % of that of the reduced flow whose readout follows "
        "the balance of values and outputs.",
        Trial(base, ode_gap, Below(0.06)),
        FROZEN,
        provenance=DERIVED,
    ),
)
