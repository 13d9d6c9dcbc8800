r"""What the sections of chapter 2 share: its problem, its runs with what is seen of them, and the word ``claim``.

A *run* is a dict of tensors with the record axis first, NaN in the rows after the end of a run: ``time``, ``tau``, ``loss``,
``rho`` and ``singles`` $s_3/s_2$ (K, S); ``margins`` $y_iF_i$ (K, S, n); ``class_loss`` and ``shares`` $s_c/s_1$ (K, S, 4), with
the sums $s_c = \sum_{i\in I_c}g_i$ of the loss derivatives $g_i = 1/(1+e^{y_iF_i})$; and what ``observer`` adds. What it has
besides stands in ``train``.
"""

import math

import numpy as np
import torch

from attnflow import claims, curves, door, flow, runs
from attnflow.cooccurrence import balance, model, task

PAPER = ("yang2024cooccurrence",)
MARGIN = ("soudry2018implicit", "ji2021characterizing")
DERIVED, KNOWN = "derived here", "derived here from a known theorem"
WATCHED = ((0, 1), (1, 0), (0, 2), (1, 2))  # (query, key) of the scores in Theorem 3.2: two rise, two fall
UPWARDS = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=runs.DTYPE, device="cpu")
CLOCK = {"tau": "gaps: K S", "tau_1": "gaps: S"}
RECORDS = flow.log_times(0.05, 1e7, 200)

claim = claims.chapter_of("cooccurrence", cite=PAPER)


def drawn(
    seeds: tuple,
    device: torch.device,
    scale: float = 0.1,
    readout: float = 1.0,
    width: int = 128,
    neurons: int = 16,
    full: bool = False,
    law: str = "normal",
    stds: tuple | None = None,
    rates: dict | None = None,
    **data,
) -> dict:
    r"""Everything that a stack of runs starts from, on a ``device``, fresh for every one of the ``seeds``.

    scale: $c_0$ in $\sigma_0 = c_0/\sqrt{Lk}$ for $W_Q, W_K, W_V$; readout: $c_1$ in $\sigma_1 = c_1/\sqrt o$ for $W_O$;
    stds: both given outright; law: of the weights; width k; neurons o; full: all four matrices and the signs, not their exact
    reduction; rates: learning rates by tensor, of which the signs' is 0 where none are given; data: the fields of ``Task``.
    Returns a dict: ``task``; ``tokens`` (S, n, L); ``labels`` (S, n); ``field`` and ``start``, for ``flow.integrate``;
    ``speed``, the clock ``model.pace``; ``width``; ``neurons``; ``inner``, $\sigma_0$.
    """
    asked, width, neurons = task.Task(**data), runs.integer("width", width), runs.integer("neurons", neurons)
    inner, outer = stds or (scale / math.sqrt(asked.length * width), readout / math.sqrt(neurons))
    tokens, labels = (each.to(device) for each in task.draw(runs.streams(seeds, "data"), asked))
    draws = runs.streams(seeds, "weights")
    start = runs.to(model.init(draws, asked.size, width, neurons, inner, outer, law), device)
    rates = ({"signs": 0.0} if full else {}) if rates is None else rates
    field = model.field(tokens, labels, asked.size, neurons)
    return {
        "task": asked,
        "tokens": tokens,
        "labels": labels,
        "field": flow.at_rates(field, rates) if rates else field,
        "start": start if full else model.reduce(start),
        "speed": model.pace(tokens, asked.size, neurons),
        "width": width,
        "neurons": neurons,
        "inner": inner,
    }


def problem(seeds: tuple, device: torch.device, **settings) -> tuple[flow.fields.Field, runs.State]:
    """Field and start of the chapter's problem. seeds, device, settings: of ``drawn``."""
    found = drawn(seeds, device, **settings)
    return found["field"], found["start"]


@door.takes(tokens=task.TOKENS, labels="S n", words=door.whole(3))
def observer(tokens: torch.Tensor, labels: torch.Tensor, words: int):
    r"""What to record, a function of a state for ``flow.integrate``. tokens: (S, n, L); labels: (S, n); words: d, 3 at least.

    ``margins`` (S, n); and of words 0, 1, 2: ``gamma`` their token scores (S, 3), ``scores`` their attention scores
    $W_QW_K^\top$, row = query (S, 3, 3), of which four are ``watched`` (S, 4), ``gram`` entries (1,2), (1,3), (2,3) of
    $W_VW_V^\top$ (S, 3); ``readout`` $|\omega|^2$ (S,); ``unevenness`` the largest distance of an attention weight from 1/L,
    times L (S,).
    """
    flat, shape = model.address(tokens, words), tuple(tokens.shape)

    def see(state):
        _, _, weights, _, mixed = model.look(state, flat, shape)
        query, key, value = (state[name][:, :3] for name in ("W_Q", "W_K", "W_V"))
        return {
            "margins": labels * mixed.sum(dim=2),
            "gamma": model.token_scores(state)[:, :3],
            "scores": query @ key.mT,
            "watched": watched(query @ key.mT),
            "gram": (value @ value.mT)[:, (0, 0, 1), (1, 2, 2)],
            "readout": model.readout(state).square().sum(dim=1),
            "unevenness": (weights - 1 / shape[2]).abs().amax(dim=(0, 2, 3)) * shape[2],
        }

    return see


@door.takes(values="gaps: ... n", classes="int: n")
def class_means(values: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Means of ``values`` over the samples of each of the ``classes``, (n,) of 0 to 3: (..., n) -> (..., 4).

    NaN for a class without samples.
    """
    known = bool(((classes >= 0) & (classes < 4)).all())
    runs.check("classes", sorted(set(runs.array(classes).tolist())), "numbers from 0 to 3", known)
    return torch.stack([values[..., classes == index].mean(dim=-1) for index in range(4)], dim=-1)


def train(
    seeds: tuple,
    device: torch.device,
    stop_loss: float = 1e-5,
    step: float = 0.3,
    method: str = "heun",
    records: torch.Tensor = RECORDS,
    test: int = 600,
    **settings,
) -> dict:
    r"""Train to a loss and record on the clock $\tau = |\omega(0)|^2t$. Returns a run.

    seeds, device, settings: of ``drawn``; stop_loss: where a run ends; method: ``heun``, with steps of ``step`` on the clock
    of ``model.pace`` and ``records`` (K,) in tau, or ``descent`` with the learning rate ``step`` and ``records`` (K,) in
    steps; test: samples of fresh data. The run has besides: ``tau_1`` and ``loss_1`` (S,), where Phase 1 ends; ``rho_end`` and
    ``singles_end`` (S,); ``unevenness`` (S,) at its largest; ``accuracy`` (S,) on fresh data; ``classes`` (n,), ``tokens``,
    ``labels``, ``task``, ``status``, ``width`` k, ``neurons`` o and ``inner`` $\sigma_0$.
    """
    clocked = runs.choice("method", method, ("heun", "descent")) == "heun"
    found = drawn(seeds, device, **settings)
    clock = model.readout(found["start"]).square().sum(dim=1)
    record = flow.integrate(
        found["field"],
        found["start"],
        step=step,
        times=records[:, None].to(device) / clock if clocked else records * step,
        method=flow.Heun(found["speed"]) if clocked else flow.Descent(),
        observe=observer(found["tokens"], found["labels"], found["task"].size),
        stop_loss=stop_loss,
    )
    seen = runs.to(
        record.values
        | {"loss": record.loss, "time": record.times, "tau": record.times * clock}
        | {name: found[name] for name in ("tokens", "labels")},
        "cpu",
    )
    tokens, labels = task.fresh(runs.streams(seeds, "test"), found["task"], test)
    right = labels * model.forward(runs.to(record.state, "cpu"), tokens) > 0
    classes, margins = found["task"].classes, seen["margins"]
    sums = class_means(torch.sigmoid(-margins), classes) * classes.bincount()
    rho, singles = balance.ratio(*sums.unbind(dim=-1)), sums[..., 2] / sums[..., 1]
    # Phase 1 ends where the mean margin of every class has become positive for good.
    boundary = curves.last_crossing(seen["tau"], class_means(margins, classes).amin(dim=-1))
    return seen | {
        "class_loss": class_means(torch.nn.functional.softplus(-margins), classes),
        "shares": sums / sums[..., :1],
        "rho": rho,
        "singles": singles,
        "rho_end": curves.final(rho),
        "singles_end": curves.final(singles),
        "tau_1": boundary,
        "loss_1": curves.at(seen["tau"], seen["loss"], boundary),
        "unevenness": curves.most(seen["unevenness"]),
        "accuracy": right.to(runs.DTYPE).mean(dim=1),
        "classes": classes,
        "status": record.status,
        **{name: found[name] for name in ("task", "width", "neurons", "inner")},
    }


@door.takes(last=door.whole(2), count=door.whole(2))
def steps_to(last: int, count: int) -> torch.Tensor:
    """Record times of descent: 0 and at most ``count`` whole steps up to ``last``, evenly in the logarithm. (K,).

    Both are 2 at least.
    """
    return flow.log_times(1, last, count).round().unique()


@door.takes(run=CLOCK, values="gaps: K S")
def later(run: dict, values: torch.Tensor) -> torch.Tensor:
    """The ``values`` of a ``run`` in Phase 2, NaN elsewhere: (K, S) -> (K, S)."""
    return torch.where(run["tau"] >= run["tau_1"], values, torch.nan)


@door.takes(scores=door.either("gaps: ... 3 3", "array gaps: ... 3 3"))
def watched(scores: torch.Tensor | np.ndarray) -> torch.Tensor | np.ndarray:
    """The four attention ``scores`` that Theorem 3.2 speaks of, of all nine: (..., 3, 3) -> (..., 4)."""
    return scores[..., *zip(*WATCHED, strict=True)]


base = claims.Experiment(train, {"stop_loss": 1e-6, "step": 0.5})
stepped = base.but(method="descent", step=0.01, records=steps_to(400, 200), stop_loss=0.0)
BROKEN = {  # one assumption at a time
    "few": base.but(samples=12),
    "unequal": base.but(fractions=(0.2, 0.3, 0.3, 0.2)),
    "rare": base.but(fractions=(0.5, 0.35, 0.05, 0.1)),
    "repeated": base.but(words=64),
    "no common": base.but(common=False),
    "small readout": base.but(readout=0.02),
    "large": base.but(scale=16.0, stop_loss=0.01, step=0.8),
    "step": stepped.but(step=0.1),
    "label": base.but(label="first"),
}
