"""What ends a balance or never had it: weight decay, Adam, and the small start from which layers end balanced."""

from operator import itemgetter

import torch

from attnflow import curves, door, flow, runs
from attnflow.claims import Above, Control, Experiment, Near, Trial, kinds
from attnflow.foundations import model, theory
from attnflow.foundations.balancing import ADAM, BALANCE, balances, claim, known, law_drift, pairs, problem


def decay(
    seeds: tuple,
    device: torch.device,
    rate: float = 0.3,
    only: tuple | None = None,
    time: float = 3.0,
    step: float = 0.02,
    **settings,
) -> dict:
    r"""Flow with weight decay $\lambda$: both balances along the way, and how fast they shrink.

    rate: $\lambda$; only: the matrices that decay, all where none are given; time, step: of Heun; seeds, device, settings: of the
    problem. Returns ``size``, name -> (K, S), at ``times`` (K,), the predicted ``exponent``, and ``rate`` (S,), of the two
    fitted exponents, over the predicted one, the one further from 1. Raises WrongUse where ``only`` is no matrix of the layer.
    """
    field, start = problem(seeds, device, **settings)
    rates = rate if only is None else {runs.choice("only", name, tuple(start)): rate for name in only}
    exponent = -theory.balance_degree() * runs.number("rate", rate, above=0)
    times = torch.linspace(0, time, 16, dtype=runs.DTYPE, device="cpu")
    record = flow.integrate(
        flow.decayed(field, rates), start, step=step, times=times, method=flow.Heun(), observe=balances
    )
    size = {name: record.values[name].flatten(2).norm(dim=2) for name in pairs(start)}
    fitted = torch.stack([torch.log(found[-1] / found[0]) / (exponent * time) for found in size.values()])
    worst = fitted.gather(0, (fitted - 1).abs().argmax(dim=0, keepdim=True))[0]
    return {"times": times, "size": size, "rate": worst, "exponent": exponent}


def moved_share(record: dict) -> runs.Stack:
    """Reading: drift of the query-key balance in a ``record`` over that of its two terms, at the smallest step, (S,)."""
    return record["query-key"][-1] / (record["query alone"][-1] + record["key alone"][-1])


@door.takes(state=model.WEIGHTS)
def relative(state: runs.State) -> runs.State:
    r"""How unbalanced value and output are at a ``state``, ``relative`` to their size: $\|D_{VO}\| / \|W_V\|\|W_O\|$, (S,).

    It is infinite where one of the two is zero, and NaN where both are.
    """
    tensors = balances(state)["value-output"], *pairs(state)["value-output"]
    balance, value, out = (each.flatten(1).norm(dim=1) for each in tensors)
    return {"relative": balance / (value * out)}


def growth(
    seeds: tuple,
    device: torch.device,
    scales: tuple = (0.025, 0.05),
    time: float = 80.0,
    step: float = 0.1,
    fraction: float = 0.5,
    **settings,
) -> dict:
    r"""Train from small starts, and see how unbalanced value and output are when the loss has fallen to a fraction.

    scales: of the initial weights, (J,); time, step: of Heun; fraction: of the initial loss; seeds, device, settings: of the
    problem. Returns the relative imbalance as ``relative`` (J, K, S) at ``times`` (K,), and as ``end`` (J, S) where the loss is
    at the fraction, NaN where it never is.
    """
    times = torch.linspace(0, time, 2 + round(2 * time), dtype=runs.DTYPE, device="cpu")
    found = [
        flow.integrate(
            *problem(seeds, device, scale=scale, **settings),
            step=step,
            times=times,
            method=flow.Heun(),
            observe=relative,
        )
        for scale in scales
    ]
    ends = [
        curves.at(
            record.times,
            record.values["relative"],
            curves.last_crossing(record.times, fraction * record.loss[:1] - record.loss),
        )
        for record in found
    ]
    ways = torch.stack([record.values["relative"] for record in found])
    return {"times": times, "relative": ways, "end": torch.stack(ends), "scales": scales}


decayed_balance = Experiment(decay)
small_start = Experiment(growth)

CLAIMS = (
    claim(
        "decay",
        "Weight decay forgets every imbalance at one rate",
        r"Under weight decay $\lambda$ both balances, as they are and not relative to the weights, shrink as "
        r"$e^{-2\lambda t}$, whatever the loss does.",
        Trial(decayed_balance, itemgetter("rate"), Near(abs=1e-4), predict=1.0),
        Control("decay on one factor of each pair, $W_Q$ and $W_V$", {"only": ("W_Q", "W_V")}),
        cite=("kobayashi2024weight", "marcotte2025transformative"),
    ),
    claim(
        "adam",
        "Adam keeps no balance",
        r"Along Adam the query-key balance moves by more than a tenth of what its two terms $W_Q^\top W_Q$ and $W_K^\top W_K$ "
        r"move together, even at the smallest step, $\eta = 0.005$.",
        Trial(law_drift.but(method=ADAM), moved_share, Above(0.1)),
        Control("descent with the same steps", {"method": flow.Descent()}),
        cite=("kunin2021neural",),
    ),
    known(
        "balanced-layers",
        "Layers that start small end balanced",
        r"From weights of size $\varepsilon$ the imbalance $\|D_{VO}\|/\|W_V\|\|W_O\|$, where the loss has fallen to a half, is "
        r"of order $\varepsilon^2$: from $\varepsilon = 0.025$ to $0.05$ it grows with the power 2. "
        "In at least nine of ten seeds: a run that waits halfway for its next direction to grow shifts the power.",
        Trial(
            small_start,
            kinds.slope("end", "scales"),
            Near(abs=0.15),
            lambda _: float(theory.balance_degree()),
            quota=(9, 10),
        ),
        Control("starts of size 1 and 2, which are not small", {"scales": (1.0, 2.0)}),
        cite=BALANCE,
    ),
)
