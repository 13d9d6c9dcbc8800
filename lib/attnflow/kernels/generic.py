r"""Chapter 4, generic weights: what separates softmax from the Gaussian elsewhere is hardly seen where nothing is arranged.

Only $W_Q$ is trained, on orthonormal tokens, where every query moves alone: a token problem with H queries in $\mathbb R^k$,
keys and scalar values (o = 1) that are random and of both signs, and a random target.
"""

import math
from dataclasses import replace
from itertools import product

import torch

from attnflow import Above, Below, Control, Experiment, Trial, checks, door, flow, runs
from attnflow.kernels import model
from attnflow.kernels.setting import claim, drawn

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


@door.takes(**model.PROBLEM)
def queries(state, inputs, targets, layer):
    r"""The token problems of a ``state``: with orthonormal tokens descent on $W_Q$ moves each query along its own gradient.

    inputs: X (S, n, L, d), orthonormal; targets: Y (S, n, L, 1), of a ``layer`` with one output. Returns (field, start, keys,
    values): the field of {"q": (S, H, n, L, k)} and where it starts, the keys (S, H, n, L, k) and values (S, H, n, L). Raises
    WrongUse for more outputs and other tokens. Its slow twin is ``model.field`` with ``trained=("W_Q",)``.
    """
    runs.check("o", layer.o, "1, for scalar values", layer.o == 1)
    products = inputs.flatten(1, 2) @ inputs.flatten(1, 2).mT
    apart = float((products - torch.eye(products.shape[1], dtype=runs.DTYPE, device=inputs.device)).abs().max())
    runs.check("inner product of tokens", apart, "that of orthonormal ones, to 1e-9", apart < 1e-9)
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


@door.takes(keys="... L k", values="... L", layer=door.instance(model.Layer, k="k"), turns=door.COUNT)
def reach(keys, values, layer, turns=400):
    r"""The ends of what one head can put out when its query is free, (...) each: a continuous image of $\mathbb R^k$.

    Rows that sum to one stay between the least and the largest value. The Gaussian has $f(q) = \sum_jv_je^{-a|q - k_j|^2}$,
    $a = \zeta/\sqrt k$, and 0 at infinity; its extremes come from ascent out of every key, in ``turns`` steps of one over
    $2a\sum_j|v_j|$, a bound of its curvature. keys: (..., L, k), in general position, $L \le k + 1$ for the Gaussian; values:
    (..., L), of a ``layer``. Raises WrongUse for a kernel without bounds.
    """
    runs.check(
        "shape of values",
        tuple(values.shape),
        f"{tuple(keys.shape[:-1])}, a value a key",
        values.shape == keys.shape[:-1],
    )
    if layer.similarity.normalised:
        return values.amin(dim=-1), values.amax(dim=-1)
    runs.choice("kernel", layer.kernel, ("softmax", "normalised_gaussian", "gaussian"))
    runs.check("L", keys.shape[-2], f"at most k + 1 = {layer.k + 1}", keys.shape[-2] <= layer.k + 1)
    return -_highest(keys, -values, layer, turns), _highest(keys, values, layer, turns)


def _highest(keys, values, layer, turns):
    """The largest value of the Gaussian sum, at least 0: the upper end of its reach."""
    free, bound = keys, values.abs().sum(dim=-1)[..., None, None].clamp_min(torch.finfo(values.dtype).tiny)
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
        r"softmax, Gaussian at $\zeta = 1/2$ and 1, and $H = 1$ and 4, after 600 steps. In at least nine of ten seeds, of 4 "
        "problems each.",
        Trial(fate_run, lambda record: (record["missed"] - record["out"]).amax(dim=0), Below(0.4), quota=(9, 10)),
        Control("keys that hardly differ, a thirtieth as far apart", {"spread": 1 / 30}),
    ),
    claim(
        "generic-same",
        "With generic weights the kernels miss alike",
        r"Share of tokens missed by softmax, less that of the Gaussian at $\zeta = 1/2$ and at 1, $H = 1$ and 4: the largest "
        "difference. In at least nine of ten seeds, of 4 problems each.",
        Trial(fate_run, unlike, Below(0.35), quota=(9, 10)),
        Control("keys that hardly differ, a thirtieth as far apart", {"spread": 1 / 30}),
    ),
    claim(
        "generic-heads",
        "More heads reach further",
        r"Intervals grow as $H$, where their sum starts as $\sqrt H$: share of tokens missed with one head less that with four, "
        "the smallest of three kernels. In at least nine of ten seeds, of 4 problems each.",
        Trial(
            fate_run, lambda record: -shares(record, "missed").diff(dim=1)[:, 0].amax(dim=0), Above(0.1), quota=(9, 10)
        ),
        Control("targets so large that they are out of reach for both", {"size": 400.0}),
    ),
)
