r"""Between $\lambda_c$ and $\lambda_\infty$: zero is stable and not global, since a wide net may concentrate.

The values and outputs of a head are 2-homogeneous, its queries and keys are not. One head of N = Jm that carries what all
should carry has queries and keys that cost $1/N$ as much. What follows is derived for depth 1, and where said, for any depth.
"""

import math

import numpy as np
import torch
from scipy import optimize

from attnflow import door, flow, runs
from attnflow.claims import Below, Control, Experiment, Near, Trial
from attnflow.meanfield import model, nets, onehead, scan, setting
from attnflow.meanfield.setting import claim

ALONE = {"parts": ("attention",)}


@door.takes(**onehead.DATA, share=door.NUMBER)
def between(tokens: np.ndarray, targets: np.ndarray, share: float) -> float:
    r"""The decay $\lambda_c^{1-s}\lambda_\infty^s$ of one data set. tokens, targets: X (n, L, d), y (n,).

    share: s, any number: below 0 the decay is below $\lambda_c$. Raises WrongUse where $\lambda_c = 0$.
    """
    low, high = onehead.thresholds(tokens, targets)["attention"], onehead.ceiling(tokens, targets)[0]
    runs.check(
        "targets", runs.array(targets).tolist(), "such that the mean of y times the mean token is not 0", low > 0
    )
    return low * (high / low) ** share


@door.takes(**onehead.DATA, decay=door.POSITIVE)
def concentration(tokens: np.ndarray, targets: np.ndarray, decay: float) -> dict:
    r"""The width from which on one head lies below zero, $N_* = 2\lambda|q||k|\langle(w\cdot r)^2\rangle/(b - \lambda)^2$.

    Here $b = |\langle yr\rangle| > \lambda$ and $w = \langle yr\rangle/b$; the best pair of those drawn. tokens, targets: X
    (n, L, d) and y (n,); decay: $\lambda$. Returns ``count``, $N_*$, ``query`` and ``key``, of one length, ``value``, w,
    ``mass``, $\varepsilon = (b - \lambda)/\langle(w\cdot r)^2\rangle$, and ``drop``, $\varepsilon(b - \lambda)/2$. Raises
    WrongUse where no pair has b above the decay.
    """
    query, key = onehead.pairs(tokens.shape[2])
    seen = onehead.pooled(tokens, query, key)
    mean = targets @ seen / len(targets)
    size = np.linalg.norm(mean, axis=1)
    runs.check("decay", decay, f"below lambda_inf, about {size.max():.4g}", size.max() > decay)
    along = ((seen @ (mean / size[:, None])[:, :, None])[..., 0] ** 2).mean(axis=1)
    asked = (query**2).sum(axis=1)
    excess = np.maximum(size - decay, 1e-9)
    best = int(np.argmin(asked * along / excess**2))
    return {
        "count": 2 * decay * asked[best] * along[best] / excess[best] ** 2,
        "query": query[best],
        "key": key[best],
        "value": mean[best] / size[best],
        "mass": excess[best] / along[best],
        "drop": excess[best] ** 2 / along[best] / 2,
    }


def concentrated(seeds, device, share=0.5, factor=4.0, depth=2, spread=False, **settings):
    r"""The objective of zero less that of one head, in a net of about ``factor`` times $N_*$ heads in all.

    seeds, device, settings: of ``setting.drawn``; share: of :func:`between`; depth: J, whose first block has the head; spread:
    share the same value path out among all heads of that block, with the same queries and keys. Returns ``fell`` and
    ``predicted``, $(b - \lambda)^2/(2\langle(w\cdot r)^2\rangle)\,(1 - N_*/N)$, (S,) each.
    """
    rows = []
    for seed in seeds:
        _, inputs, targets, _ = setting.drawn((seed,), device, m=1, depth=depth, **ALONE | settings)
        tokens, wanted = onehead.checked(inputs[0], targets[0])
        decay = between(tokens, wanted, share)
        found = concentration(tokens, wanted, decay)
        net = model.Net(m=math.ceil(factor * found["count"] / depth), depth=depth, **ALONE)
        zero = {name: torch.zeros(1, *each, dtype=runs.DTYPE, device=device) for name, each in net.shapes.items()}
        state, count = {name: value.clone() for name, value in zero.items()}, net.depth * net.m
        heads = slice(None) if spread else 0
        each = math.sqrt(count * found["mass"] / (net.m if spread else 1))
        for name, way in (("W_Q", found["query"]), ("W_K", found["key"]), ("W_V", each * found["value"])):
            state[name][0, 0, heads, :, 0] = torch.as_tensor(way, dtype=runs.DTYPE, device=device)
        state["W_O"][0, 0, heads, 0, net.slot] = each
        values = [model.objective(one, inputs, targets, net, decay) for one in (zero, state)]
        rows.append(
            torch.stack([(values[0] - values[1])[0], inputs.new_tensor(found["drop"] * (1 - found["count"] / count))])
        )
    fell, predicted = torch.stack(rows, dim=1)
    return {"fell": fell, "predicted": predicted}


@door.takes(
    inputs=nets.TOKENS, targets=nets.TARGETS, state=nets.STATE, decay=nets.DECAY, net=nets.NET, steps=door.COUNT
)
def rest(inputs, targets, state, decay, net, steps):
    """Where heavy-ball descent has a ``state`` of a ``net`` after some ``steps``, under a ``decay`` (S,).

    inputs: X (S, n, L, d); targets: y (S, n).
    """
    method, times = flow.Momentum(scan.INERTIA), [steps * scan.STEP]
    return flow.integrate(
        model.field(inputs, targets, net, decay), state, step=scan.STEP, times=times, method=method
    ).state


def settled(seeds, device, share=0.5, of="between", bound="ceiling", steps=2000, **settings):
    r"""States at rest under a decay that is a ``share`` of $\lambda_\infty$, or one of :func:`between`.

    seeds, device, settings: of ``setting.drawn``; of: ``ceiling`` or ``between``; bound: ``ceiling`` or ``critical``, which of
    both decays bounds; steps: of descent. Returns ``used``, $\lambda + \lambda^2P/\langle y^2\rangle$ over that decay, with
    $P = \frac1{Jm}\sum|W_V|^2$, and ``grown``, the mean square of the particles over that at the start, (S,) each.
    """
    net, inputs, targets, start = setting.drawn(seeds, device, **ALONE | settings)
    sets = [onehead.checked(*each) for each in zip(inputs, targets, strict=True)]
    ways = {
        "ceiling": lambda each: onehead.ceiling(*each)[0],
        "critical": lambda each: onehead.thresholds(*each)["attention"],
        "between": lambda each: between(*each, share),
    }
    limit, edge, decay = (
        inputs.new_tensor([ways[name](each) for each in sets]) for name in ("ceiling", bound, "between")
    )
    decay = decay if of == "between" else share * limit
    state = rest(inputs, targets, start, decay, net, steps)
    mass = state["W_V"].square().flatten(1).sum(dim=1) / (net.depth * net.m)
    return {
        "used": (decay + decay**2 * mass / targets.square().mean(dim=1)) / edge,
        "grown": model.norms(state, net) / model.norms(start, net),
    }


@door.takes(**onehead.DATA, decay=door.POSITIVE)
def lasso(tokens: np.ndarray, targets: np.ndarray, decay: float) -> np.ndarray:
    r"""The only minimum of $\frac12\langle(w\cdot\bar x - y)^2\rangle + \lambda|w|$, $\bar x$ the mean token: zero from $|b|$ on.

    Where it is not zero, $(G + \frac\lambda tI)w = b$ with $G = \langle\bar x\bar x^\top\rangle$ and $t = |w|$, which a bisection
    finds, $b = \langle y\bar x\rangle$. tokens, targets: X (n, L, d), y (n,); decay: $\lambda > 0$. Returns w (d,).
    """
    mean = tokens.mean(axis=1)
    gram, fit = mean.T @ mean / len(mean), targets @ mean / len(mean)
    if decay >= np.linalg.norm(fit):
        return np.zeros(len(fit))

    def solved(size):
        return np.linalg.solve(size * gram + decay * np.eye(len(fit)), fit)  # w over its length t

    top = targets @ targets / len(targets) / decay
    size = optimize.brentq(lambda size: np.linalg.norm(solved(size)) - 1, 0, top, xtol=1e-14)
    return size * solved(size)


def frozen(seeds, device, share=0.8, still=True, steps=2000, **settings):
    r"""The value path at rest at a ``share`` of $\lambda_c$, with $W_Q = W_K = 0$ at the start, where they stay.

    seeds, device, settings: of ``setting.drawn``; still: whether they start at zero; steps: of descent. Returns ``size``,
    $|w|$ of $w = \frac1N\sum_hW_V^hW_O^h$ in the entry of the output, and ``predicted``, that of :func:`lasso`, (S,) each.
    """
    net, inputs, targets, state = setting.drawn(seeds, device, **ALONE | settings)
    sets = [onehead.checked(*each) for each in zip(inputs, targets, strict=True)]
    decay = share * inputs.new_tensor([onehead.thresholds(*each)["attention"] for each in sets])
    if still:
        state |= {name: torch.zeros_like(state[name]) for name in ("W_Q", "W_K")}
    state = rest(inputs, targets, state, decay, net, steps)
    path = (state["W_V"] @ state["W_O"])[..., net.slot].sum(dim=(1, 2)) * net.branch
    wanted = [np.linalg.norm(lasso(*each, float(one))) for each, one in zip(sets, decay, strict=True)]
    return {"size": path.norm(dim=1), "predicted": inputs.new_tensor(wanted)}


one_run = Experiment(concentrated)
zero_run = Experiment(settled, {"scale": 1e-2, "depth": 2, "m": 4, "steps": 300})
bound_run = Experiment(settled, {"depth": 1, "m": 16, "share": 0.2, "steps": 800})
above_run = bound_run.but(of="ceiling", share=1.05, steps=300)
frozen_run = Experiment(frozen, {"depth": 1, "m": 16, "steps": 1500})

CLAIMS = (
    claim(
        "ceiling-zero",
        "Between the two thresholds zero draws in what is near",
        r"Attention alone, $J = 2$, $m = 4$, $\lambda = \sqrt{\lambda_c\lambda_\infty}$, $\lambda_c = |\langle y\bar x\rangle|$, "
        r"$\lambda_\infty = \sup_{q,k}|\langle y\,r(q,k)\rangle|$: particles of size $10^{-2}$ shrink, the ratio of mean "
        "squares after a long descent to before.",
        Trial(zero_run, lambda record: record["grown"], Below(1e-3)),
        Control("a decay below $\\lambda_c$", {"share": -0.3}),
        cite=("huan2026meanfield",),
    ),
    claim(
        "ceiling-below",
        "and yet it is not global: one head of many lies below it",
        r"At the same $\lambda$, $J = 2$, and the width $N = Jm \approx 4N_*$: one head in the first block with "
        r"$W_VW_O = N\varepsilon w$ lowers the objective of zero by "
        r"$\frac{(b-\lambda)^2}{2\langle(w\cdot r)^2\rangle}\big(1 - \frac{N_*}{N}\big)$, "
        r"$N_* = 2\lambda|q||k|\langle(w\cdot r)^2\rangle/(b-\lambda)^2$, $b = |\langle yr\rangle|$, $w = \langle yr\rangle/b$.",
        Trial(one_run, lambda record: record["fell"], Near(rel=1e-9), lambda record: record["predicted"]),
        Control("the same value path shared out among all heads of the block", {"spread": True}),
    ),
    claim(
        "ceiling-bound",
        "At depth 1 a state at rest is no larger than the distance to the ceiling allows",
        r"$J = 1$, $m = 16$, $\lambda = \lambda_c^{4/5}\lambda_\infty^{1/5}$: with $P = \frac1m\sum|W_V|^2$ every stationary "
        r"point has $\lambda + \lambda^2P/\langle y^2\rangle\le\lambda_\infty$; the left side over the right.",
        Trial(bound_run, lambda record: record["used"], Below(1.0)),
        Control("$\\lambda_c$ in the place of $\\lambda_\\infty$", {"bound": "critical"}),
    ),
    claim(
        "ceiling-collapse",
        "Above the ceiling nothing but zero is left",
        r"$J = 1$, $m = 16$, $\lambda = 1.05\,\lambda_\infty$, particles from $N(0, 1)$: mean square at the end over that at the "
        "start.",
        Trial(above_run, lambda record: record["grown"], Below(1e-6)),
        Control("a decay of $\\lambda_\\infty/20$, below $\\lambda_c$", {"share": 0.05}),
    ),
    claim(
        "frozen-lasso",
        "With $W_Q = W_K = 0$ the collapse has no jump",
        r"$J = 1$, $m = 16$, $\lambda = 0.8\lambda_c$: the value path is the only minimum of a group lasso, "
        r"$(\langle\bar x\bar x^\top\rangle + \frac{\lambda}{|w|}I)w = \langle y\bar x\rangle$, which goes to zero continuously "
        r"at $\lambda_c$: $|w|$ measured.",
        Trial(frozen_run, lambda record: record["size"], Near(rel=1e-3), lambda record: record["predicted"]),
        Control("queries and keys that start at random", {"still": False}, quota=(7, 10)),
    ),
)
