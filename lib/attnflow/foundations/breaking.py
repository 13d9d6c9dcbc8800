"""What ends a balance or never had it: weight decay, Adam, and the small start from which layers end balanced."""

from operator import itemgetter

import torch

from attnflow import flow, runs
from attnflow.claims import Above, Below, Control, Experiment, Near, Trial
from attnflow.foundations import theory
from attnflow.foundations.balancing import ADAM, BALANCE, balances, claim, known, law_drift, pairs, problem


def decay(
    seeds: tuple,
    device: torch.device,
    rate: float = 0.3,
    only: str | None = None,
    time: float = 3.0,
    step: float = 0.02,
    **settings,
) -> dict:
    r"""Flow with weight decay $\lambda$: both balances along the way, and how fast they shrink.

    rate: $\lambda$; only: the one matrix that decays, to break the law; time, step: of Heun; seeds, device, settings: of the
    problem. Returns ``size``, name -> (K, S), at ``times`` (K,), the predicted ``exponent``, and ``rate`` (S,), of the two
    fitted exponents, over the predicted one, the one further from 1. Raises WrongUse where ``only`` is no matrix of the layer.
    """
    field, start = problem(seeds, device, **settings)
    rates = rate if only is None else {runs.choice("only", only, tuple(start)): rate}
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
    """Reading: drift of the query-key balance in a ``record`` over the change of its first term, at the smallest step, (S,)."""
    return record["query-key"][-1] / record["query alone"][-1]


def relative(state: runs.State) -> runs.State:
    r"""How unbalanced value and output are at a ``state``, ``relative`` to their size: $\|D_{VO}\| / \|W_V\|\|W_O\|$, (S,)."""
    tensors = balances(state)["value-output"], *pairs(state)["value-output"]
    balance, value, out = (each.flatten(1).norm(dim=1) for each in tensors)
    return {"relative": balance / (value * out)}


def growth(
    seeds: tuple,
    device: torch.device,
    scales: tuple = (0.05, 0.1),
    time: float = 60.0,
    step: float = 0.05,
    fraction: float = 0.3,
    **settings,
) -> dict:
    r"""Train from small starts, and see how unbalanced value and output are when the loss has fallen to a fraction.

    scales: of the initial weights, (J,); time, step: of Heun; fraction: of the initial loss; seeds, device, settings: of the
    problem. Returns the relative imbalance as ``relative`` (J, K, S) at ``times`` (K,), and ``end`` (S,), that of the first of
    the scales where its loss first is at the fraction, or at the last time where it never is.
    """
    times = torch.linspace(0, time, 2 + round(time / 2), dtype=runs.DTYPE, device="cpu")
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
    ways = torch.stack([record.values["relative"] for record in found])
    fell = found[0].loss <= fraction * found[0].loss[0]
    fell[-1] = True
    return {
        "times": times,
        "relative": ways,
        "end": ways[0].gather(0, fell.to(torch.int8).argmax(dim=0, keepdim=True))[0],
        "scales": scales,
    }


decayed_balance = Experiment(decay)
small_start = Experiment(growth)

CLAIMS = (
    claim(
        "decay",
        "Weight decay forgets every imbalance at one rate",
        r"Under weight decay $\lambda$ both balances, as they are and not relative to the weights, shrink as "
        r"$e^{-2\lambda t}$, whatever the loss does.",
        Trial(decayed_balance, itemgetter("rate"), Near(abs=0.005), predict=1.0),
        Control("decay on $W_Q$ alone", experiment=decayed_balance.but(only="W_Q")),
        cite=("kobayashi2024weight", "marcotte2025transformative"),
    ),
    claim(
        "adam",
        "Adam keeps no balance",
        r"Along Adam the query-key balance moves by more than a tenth of what $W_Q^\top W_Q$ itself moves, even "
        r"at the smallest step, $\eta = 0.005$.",
        Trial(law_drift.but(method=ADAM), moved_share, Above(0.1)),
        Control("descent with the same steps", experiment=law_drift),
        cite=("kunin2021neural",),
    ),
    known(
        "balanced-layers",
        "Layers that start small end balanced",
        r"From weights of size $\varepsilon = 0.05$ the imbalance $\|D_{VO}\|/\|W_V\|\|W_O\|$, of order $\varepsilon^2$, is "
        "below 0.05 once the loss has fallen to three tenths.",
        Trial(small_start, itemgetter("end"), Below(0.05)),
        Control("a start of size 1", experiment=small_start.but(scales=(1.0,))),
        cite=BALANCE,
    ),
)
