r"""Chapter 4, generic weights: what separates softmax from the Gaussian elsewhere is hardly seen where nothing is arranged.

Only $W_Q$ is trained, on orthonormal tokens, where every query moves alone: a token problem with H queries in $\mathbb R^k$,
keys and scalar values (o = 1) that are random and of both signs, and a random target.
"""

import math
from dataclasses import replace
from itertools import product

import torch

from attnflow import Above, Below, Control, Experiment, Trial, checks, flow, runs
from attnflow.kernels import model
from attnflow.kernels.setting import claim, drawn
from attnflow.sweep import Sweep

# Orthonormal tokens have length 1, Gaussian ones sqrt(d): these sizes make queries and keys as large as there.
D = 8
GENERIC = {"data": "orthonormal", "samples": 2, "length": 4, "d": D, "k": 4, "o": 1, "inner": D**0.5}
SIZE = D**-0.5
KERNELS = {
    "softmax": {"kernel": "softmax"},
    "gaussian": {"kernel": "gaussian"},
    "gaussian, 1": {"kernel": "gaussian", "c": 1.0},
    "normalised": {"kernel": "normalised_gaussian"},
    "exp": {"kernel": "exp"},
}
MISSED = 0.05  # the error of a token, in units of a value, above which its target is missed
RATES = tuple(2.0**power for power in range(-7, 5))
TRAINED = {"W_Q": ("W_Q",), "all": model.MATRICES}
RACE = {"samples": 2, "length": 4, "d": D, "k": 4, "o": 1, "heads": 8}


def queries(state, inputs, targets, layer):
    r"""The token problems of a ``state``: with orthonormal tokens descent on $W_Q$ moves each query along its own gradient.

    inputs: X (S, n, L, d), orthonormal; targets: Y (S, n, L, 1), of a ``layer`` with one output. Returns (field, start, keys,
    values): the field of {"q": (S, H, n, L, k)} and where it starts, the keys (S, H, n, L, k) and values (S, H, n, L). Raises
    WrongUse for more outputs. Its slow twin is ``model.field`` with ``trained=("W_Q",)``.
    """
    runs.check("o", layer.o, "1, for scalar values", layer.o == 1)
    start, keys, values = (inputs[:, None] @ state[name][:, :, None] for name in model.MATRICES[:3])
    values, scale = values @ state["W_O"][:, :, None], inputs.shape[1] * inputs.shape[2]

    def field(free):
        weights = layer.weights(free["q"], keys)
        residual = (weights @ values).sum(dim=1) - targets
        slope = layer.similarity.slopes(
            free["q"], keys, weights, residual[:, None] / scale @ values.mT, 1 / math.sqrt(layer.k)
        )
        return residual.square().sum(dim=(1, 2, 3)) / (2 * scale), {"q": slope[0]}

    return field, {"q": start}, keys, values[..., 0]


def reach(keys, values, layer, turns=400):
    r"""The ends of what one head can put out when its query is free, (...) each: a continuous image of $\mathbb R^k$.

    Rows that sum to one stay between the least and the largest value. The Gaussian has $f(q) = \sum_jv_je^{-a|q - k_j|^2}$,
    $a = \zeta/\sqrt k$, and 0 at infinity; its extremes come from ascent out of every key, in ``turns`` steps of one over
    $2a\sum_j|v_j|$, a bound of its curvature. keys: (..., L, k), in general position, $L \le k + 1$; values: (..., L), of a
    ``layer``. Raises WrongUse for a kernel without bounds.
    """
    if layer.similarity.normalised:
        return values.amin(dim=-1), values.amax(dim=-1)
    runs.choice("kernel", layer.kernel, ("softmax", "normalised_gaussian", "gaussian"))
    return -_highest(keys, -values, layer, turns), _highest(keys, values, layer, turns)


def _highest(keys, values, layer, turns):
    """The largest value of the Gaussian sum, at least 0: the upper end of its reach."""
    free, bound = keys, values.abs().sum(dim=-1)[..., None, None]
    for _ in range(turns):
        weights = layer.weights(free, keys) * values[..., None, :]
        free = free + (weights @ keys - weights.sum(dim=-1, keepdim=True) * free) / bound
    return (layer.weights(free, keys) @ values[..., None]).amax(dim=(-2, -1)).clamp_min(0)


def fates(
    seeds,
    device,
    kernels=("softmax", "gaussian", "gaussian, 1"),
    heads=(1, 4),
    copies=4,
    step=60.0,
    steps=600,
    spread=1.0,
    size=1.0,
    bounds=None,
    **settings,
):
    r"""What becomes of all tokens of some ``copies`` of a generic problem: missed or not, and whether in reach or not.

    seeds, device: of the runs; kernels: names in ``KERNELS``; heads: how many, one problem each; step, steps: of descent;
    spread: of the keys over their generic one; size: of the targets over that of a value; bounds: the kernel whose reach
    counts, its own where none is given; settings: more of the problem. A token is missed where its error is above a twentieth of
    a value. Returns ``missed`` and ``out``, the shares of tokens of a seed that are missed and whose target is out of reach by
    as much, and ``below``, the least error less the distance to the reach, in units of a value: (J, S) each, over kernels and
    heads.
    """
    rows = []
    for name, count in product(kernels, heads):
        known = GENERIC | {"size": SIZE * size, "heads": count} | KERNELS[name] | settings
        layer, inputs, targets, state = drawn(runs.replicas(seeds, copies), device, **known)
        state["W_K"] = spread * state["W_K"]
        field, start, keys, values = queries(state, inputs, targets, layer)
        ends = reach(keys, values, replace(layer, **KERNELS[bounds or name]))
        low, high = (end.sum(dim=1)[..., None] for end in ends)
        free = flow.integrate(field, start, step=step, times=[step * steps]).state["q"]
        reached, wanted = (layer.weights(free, keys) @ values[..., None]).sum(dim=1)[..., 0], targets[..., 0]
        error = (reached - wanted).abs().flatten(1) / SIZE
        apart = torch.maximum(low - wanted, wanted - high).clamp_min(0).flatten(1) / SIZE
        shares = {"missed": error > MISSED, "out": apart > MISSED}
        found = {key: value.to(runs.DTYPE).mean(dim=1).view(-1, copies).mean(dim=1) for key, value in shares.items()}
        rows.append(found | {"below": (error - apart).amin(dim=1).view(-1, copies).amin(dim=1)})
    return checks.stacked(rows)


def timed(seeds, device, kernel, trained, rates=RATES, share=1e-3, steps=800, **settings):
    """Steps to a ``share`` of the loss at each of some ``rates``, infinite where descent did not get there: (R, S).

    seeds, device: of the runs, alike for all rates and kernels; kernel: a name in ``KERNELS``; trained: one in ``TRAINED``;
    steps: after which descent is given up; settings: other than those of ``RACE``.
    """
    known = RACE | KERNELS[runs.choice("kernel", kernel, tuple(KERNELS))] | settings
    layer, inputs, targets, state = drawn(seeds, device, **known)
    many = len(rates)
    inputs, targets = (each.repeat(many, 1, 1, 1) for each in (inputs, targets))
    start = {name: value.repeat(many, 1, 1, 1) for name, value in state.items()}
    field = model.field(inputs, targets, layer, TRAINED[runs.choice("trained", trained, tuple(TRAINED))])
    step = torch.tensor(rates, dtype=runs.DTYPE, device=device).repeat_interleave(len(seeds))
    record = flow.integrate(field, start, step=step, times=steps * step[None], stop_loss=share * field(start)[0])
    there = torch.tensor([word == flow.Ended.LOSS for word in record.status], device=device)
    return torch.where(there, record.steps.to(runs.DTYPE), torch.inf).view(many, len(seeds))


def best(took):
    """The place of the rate with the least median time of its runs, a failure counting as infinite. took: (R, S)."""
    return int(took.quantile(0.5, dim=1, interpolation="higher").argmin())


def rates(device, kernel, trained, seeds=25, **settings):
    """One task of the sweep: what :func:`timed` finds on as many ``seeds``, from 0 on; the first five choose the rate.

    device, kernel, trained, settings: of :func:`timed`. Returns ``steps`` (R, S).
    """
    return {"steps": timed(tuple(range(seeds)), device, kernel, trained, **settings)}


def race(seeds, device, kernel="gaussian", trained="all", grid=RATES[:6], copies=8, steps=200, **settings):
    """Steps of a ``kernel`` over those of softmax, each at the rate of a ``grid`` that is best for it on the seeds 0 to 4.

    seeds, device: of the runs; trained, settings: of :func:`timed`; copies: draws a seed, of which the geometric mean is
    taken; a run that is not done after so many ``steps`` counts as done then. Returns ``ratio`` (S,).
    """
    means = []
    for name in (kernel, "softmax"):
        first = timed(tuple(range(5)), device, name, trained, grid, steps=steps, **settings)
        chosen = (grid[best(first)],)
        took = timed(runs.replicas(seeds, copies), device, name, trained, chosen, steps=steps, **settings)
        means.append(took[0].clamp_max(steps).log().view(-1, copies).mean(dim=1))
    return {"ratio": (means[0] - means[1]).exp()}


def shares(record, name):
    """Shares called ``name`` of a ``record`` of :func:`fates` on its three kernels and two numbers of heads: (3, 2, S)."""
    return record[name].unflatten(0, (3, 2))


def passed(record):
    """Reading of a ``record`` of :func:`fates`: how far a token went beyond its reach, 0 where that is rounding. (S,)."""
    least = record["below"].amin(dim=0)
    return torch.where(least.abs() < 1e-9, 0.0, least)


def unlike(record):
    """Reading of a ``record`` of :func:`fates`: the largest difference of shares missed, softmax to a Gaussian. (S,)."""
    missed = shares(record, "missed")
    return (missed[0] - missed[1:]).abs().amax(dim=(0, 1))


fate_run = Experiment(fates)
race_run = Experiment(race)

CLAIMS = (
    claim(
        "generic-reach",
        "No token passes the end of its reach",
        r"A free query turns a head into an interval: from the least to the greatest value for softmax, between the extremes of "
        r"$\sum_jv_je^{-\zeta|q - k_j|^2/\sqrt k}$ for the Gaussian. Heads add: the least error less the distance of the target "
        r"to the sum of intervals, in units of a value, softmax and Gaussian at $\zeta = 1/2$ and 1, $H = 1$ and 4.",
        Trial(fate_run, passed, Above(-1e-3)),
        Control("the reach of softmax for all", {"bounds": "softmax"}, quota=(8, 10)),
    ),
    claim(
        "generic-missed",
        "Most of what is missed was out of reach",
        "Share of tokens that descent misses though their target is in reach, traps and slow starts together: the largest over "
        r"softmax, Gaussian at $\zeta = 1/2$ and 1, and $H = 1$ and 4, after 600 steps.",
        Trial(fate_run, lambda record: (record["missed"] - record["out"]).amax(dim=0), Below(0.4)),
        Control("keys that hardly differ, a thirtieth as far apart", {"spread": 1 / 30}),
    ),
    claim(
        "generic-same",
        "With generic weights the kernels miss alike",
        r"Share of tokens missed by softmax, less that of the Gaussian at $\zeta = 1/2$ and at 1, $H = 1$ and 4: the largest "
        "difference.",
        Trial(fate_run, unlike, Below(0.35)),
        Control("keys that hardly differ, a thirtieth as far apart", {"spread": 1 / 30}),
    ),
    claim(
        "generic-heads",
        "More heads reach further",
        r"Intervals grow as $H$, where their sum starts as $\sqrt H$: share of tokens missed with one head less that with four, "
        "the smallest of three kernels.",
        Trial(fate_run, lambda record: -shares(record, "missed").diff(dim=1)[:, 0].amax(dim=0), Above(0.1)),
        Control("targets so large that they are out of reach for both", {"size": 400.0}),
    ),
    claim(
        "generic-rates",
        "Each at its best rate the Gaussian is faster; with its rows normalised it is not",
        r"All matrices trained, $H = 8$, the same random targets. Of six rates, a factor of two apart, each kernel takes the one "
        r"with the least median time to $10^{-3}$ of the loss on seeds 0 to 4. Steps of the Gaussian, $\zeta = 1/2$, over those "
        "of softmax, geometric mean over eight draws a seed, 200 where a run is not done, in at least eight of ten seeds.",
        Trial(race_run, lambda record: record["ratio"], Below(0.85), quota=(8, 10)),
        Control("the rows of the Gaussian normalised", {"kernel": "normalised"}, quota=(7, 10)),
    ),
)

SWEEPS = (
    Sweep(
        "kernels-rates",
        "steps to a thousandth of the loss, over one grid of twelve rates for all kernels",
        rates,
        {"trained": tuple(TRAINED), "kernel": tuple(KERNELS)},
        {"seeds": 20, "steps": 400},
        probe={"trained": ("all",), "kernel": ("softmax", "gaussian")},
    ),
)
