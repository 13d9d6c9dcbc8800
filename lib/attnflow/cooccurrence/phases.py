r"""What is read from a run of chapter 2: class means, sums of loss derivatives, the ratio, and where Phase 1 ends.

A *run* is a dict of tensors with the record axis first: ``tau`` (K, S), ``loss`` (K, S), ``margins`` $y_iF_i$ (K, S, n),
``gamma`` (K, S, 3) and more from ``observe``; rows after the end of a run are NaN. ``classes`` is (n,).
"""

import torch
from torch.nn.functional import softplus

from attnflow import runs
from attnflow.cooccurrence import model


def observe(tokens, labels, words):
    r"""What to record, a function of a state for ``flow.integrate``.

    ``margins`` (S, n); and of words 0, 1, 2: ``gamma`` their token scores (S, 3), ``scores`` their attention scores
    $W_QW_K^\top$, row = query (S, 3, 3), ``gram`` $W_VW_V^\top$ (S, 3, 3); ``readout`` $|\omega|^2$ (S,); ``unevenness``
    the largest distance of an attention weight from 1/L (S,).
    """
    flat, shape = model.address(tokens, words), tuple(tokens.shape)

    def see(state):
        _, _, weights, _, mixed = model.look(state, flat, shape)
        query, key, value = (state[name][:, :3] for name in ("W_Q", "W_K", "W_V"))
        return {
            "margins": labels * mixed.sum(dim=2),
            "gamma": model.token_scores(state)[:, :3],
            "scores": query @ key.mT,
            "gram": value @ value.mT,
            "readout": model.readout(state).square().sum(dim=1),
            "unevenness": (weights - 1 / shape[2]).abs().amax(dim=(0, 2, 3)),
        }

    return see


def closed(record):
    """The record with every run's own end in it: the row after its last one, where its time is new.

    record: a ``flow.Record``. Returns name -> (K, S, ...), ``time`` among them; rows after an end are NaN.
    """
    last = record.last | {"time": record.end}
    past = record.times > record.end
    kept, run = (~past).sum(dim=0), torch.arange(len(record.end), device=past.device)
    new = record.end > record.times[(kept - 1).clamp_min(0), run]
    past = torch.cat([past, torch.ones_like(past[:1])])
    found = {}
    for name, values in (record.values | {"time": record.times}).items():
        values = torch.cat([values, values[-1:]])
        values[past] = torch.nan
        values[kept[new], run[new]] = last[name][new]
        found[name] = values[: len(values) - int(not new.any())]
    return found


def class_means(values, classes):
    """Means over the samples of each class: (..., n) -> (..., 4)."""
    return torch.stack([values[..., classes == index].mean(dim=-1) for index in range(4)], dim=-1)


def class_losses(run):
    r"""Mean loss $\log(1+e^{-yF})$ of each class: (K, S, 4)."""
    return class_means(softplus(-run["margins"]), run["classes"])


def sums(run):
    r"""$s_c = \sum_{i\in I_c} g_i$ with the loss derivatives $g_i = 1/(1+e^{y_iF_i})$: (K, S, 4)."""
    derivative = torch.sigmoid(-run["margins"])
    return torch.stack([derivative[..., run["classes"] == index].sum(dim=-1) for index in range(4)], dim=-1)


def ratio(sums_of_classes):
    r"""$\rho = (s_2+s_3+s_4-s_1)/(s_1 - \frac12(s_2+s_3))$, the paper's R with both singles averaged: (..., 4) -> (...).

    >>> float(ratio(torch.tensor([7.0, 5.0, 5.0, 0.0])))
    1.5
    """
    first, second, third, fourth = sums_of_classes.unbind(dim=-1)
    return (second + third + fourth - first) / (first - (second + third) / 2)


def crossing(times, values):
    """The time from which a curve stays positive, linear between records; NaN where it never does or always did.

    times, values: (K, S), NaN rows at the end are ignored. Returns (S,).
    """
    runs.tensor("times", times.nan_to_num(), tuple(values.shape))
    seen = ~values.isnan()
    negative = (values <= 0) & seen
    place = torch.arange(len(values), device=values.device)[:, None]
    before = torch.where(negative, place, -1).amax(dim=0)
    inside = (before >= 0) & (before + 1 < seen.sum(dim=0))
    low = before.clamp(0, len(values) - 2)
    column = torch.arange(values.shape[1], device=values.device)
    left, right = values[low, column], values[low + 1, column]
    share = -left / (right - left)
    found = times[low, column] + share * (times[low + 1, column] - times[low, column])
    return torch.where(inside, found, torch.nan)


def boundary(run):
    r"""$\tau_\star$, where Phase 1 ends: from there on the mean margin of every class stays positive. Returns (S,)."""
    return crossing(run["tau"], class_means(run["margins"], run["classes"]).amin(dim=-1))


def at(times, values, when):
    """A curve at given times, linear between records: times (K, S), values (K, S, ...), when (S,). Returns (S, ...)."""
    column = torch.arange(times.shape[1], device=times.device)
    after = (times <= when).sum(dim=0).clamp(1, len(times) - 1)
    left, right = times[after - 1, column], times[after, column]
    share = ((when - left) / (right - left)).reshape(-1, *[1] * (values.ndim - 2))
    return values[after - 1, column] * (1 - share) + values[after, column] * share


def ends(run):
    """Index of every run's last row: (S,)."""
    return (~run["loss"].isnan()).sum(dim=0) - 1


def final(run, values):
    """The last value of every run: (K, S, ...) -> (S, ...)."""
    last = ends(run)
    return values[last, torch.arange(len(last), device=last.device)]


def later(run, values):
    """The values of Phase 2, NaN elsewhere: (K, S) -> (K, S)."""
    return torch.where(run["tau"] >= run["tau_1"], values, torch.nan)


def least(values):
    """The smallest value over records that is not NaN: (K, ...) -> (...)."""
    return values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).amin(dim=0)


def most(values):
    """The largest value over records that is not NaN: (K, ...) -> (...)."""
    return -least(-values)
