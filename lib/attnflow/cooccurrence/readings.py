"""What the claims of chapter 2 read from a run: one number a seed."""

import math

import numpy as np
import torch

from attnflow import flow
from attnflow.cooccurrence import balance, dual, phases, reduced, task

WATCHED = ((0, 1), (1, 0), (0, 2), (1, 2))  # (query, key) of the scores in Theorem 3.2
DIRECTIONS = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)


def slope(name):
    """The order in the step of the drift of one law, (S,)."""
    return lambda record: flow.observed_order(record["steps"], record[name])


def watched(run):
    """The four scores that Theorem 3.2 speaks of: (K, S, 4)."""
    return torch.stack([run["scores"][..., query, key] for query, key in WATCHED], dim=-1)


def boundary_loss(run):
    """Loss at the end of Phase 1, (S,)."""
    return phases.at(run["tau"], run["loss"], run["tau_1"])


def rise(run):
    """How far the losses of both single-word classes rise above their start before tau_1: the smaller rise, (S,)."""
    losses = phases.class_losses(run)[..., 1:3].amin(dim=-1)
    start = phases.class_losses(run)[0, :, 1:3].amax(dim=-1)
    inside = torch.where(run["tau"] <= run["tau_1"], losses, torch.nan)
    return phases.most(inside) - start


def share(run, values):
    """What part of its whole change a quantity (K, S, j) has made at tau_1, by Euclidean length: (S,)."""
    change = values - values[:1]
    return phases.at(run["tau"], change, run["tau_1"]).norm(dim=-1) / phases.final(run, change).norm(dim=-1)


def score_share(run):
    """Part of the change of the attention scores that Phase 1 makes, (S,)."""
    return share(run, watched(run))


def separation(run):
    """How much larger the part is that the token scores have done by tau_1, (S,)."""
    return share(run, run["gamma"]) / score_share(run)


def range_room(run):
    """Distance of the ratio in Phase 2 from the nearer end of (1, 2), negative outside: the smallest, (S,)."""
    ratio = phases.ratio(phases.sums(run))
    worst = phases.least(phases.later(run, torch.minimum(ratio - 1, 2 - ratio)))
    first = phases.at(run["tau"], ratio, run["tau_1"])
    return torch.minimum(worst, torch.minimum(first - 1, 2 - first))


def singles_apart(run):
    r"""Largest $|\log(s_3/s_2)|$ in Phase 2, (S,)."""
    sums = phases.sums(run)
    return phases.most(phases.later(run, (sums[..., 2] / sums[..., 1]).log().abs()))


def end_sums(run):
    """Sums of loss derivatives at the end over that of the first class: (S, 4)."""
    sums = phases.final(run, phases.sums(run))
    return sums / sums[:, :1]


def end_ratio(run):
    """The ratio at the end, (S,)."""
    return phases.ratio(end_sums(run))


def end_singles(run):
    """s_3/s_2 at the end, (S,)."""
    sums = end_sums(run)
    return sums[:, 2] / sums[:, 1]


def limit_gap(run):
    """Largest distance of the sums at the end from the closed form for distinct words and equal classes, (S,)."""
    second, fourth, _ = balance.predicted(run["task"].samples, run["task"].length)
    return (end_sums(run) - torch.tensor([1.0, second, second, fourth])).abs().amax(dim=1)


def separations(run):
    """The hard-margin solution of every run's own data: a list of ``dual.Separation``."""
    features = task.counts(run["tokens"], run["task"].size)
    return [dual.separate(rows, signs) for rows, signs in zip(features.numpy(), run["labels"].numpy(), strict=True)]


def dual_ratio(run):
    """The ratio that every run's own data predict, (S,)."""
    sums = torch.tensor(np.array([found.sums(run["classes"]) for found in separations(run)]))
    return phases.ratio(sums)


def dual_singles(run):
    """The s_3/s_2 that every run's own data predict, (S,)."""
    sums = np.array([found.sums(run["classes"]) for found in separations(run)])
    return sums[:, 2] / sums[:, 1]


def dual_correlation(run):
    """Correlation of the loss derivatives at the end with the dual variables of the data, sample by sample: (S,)."""
    derivative = torch.sigmoid(-phases.final(run, run["margins"])).numpy()
    pairs = zip(derivative, separations(run), strict=True)
    return np.array([np.corrcoef(one, found.alpha)[0, 1] for one, found in pairs])


def increments(run, values, directions):
    """Share of the steps between records of Phase 2 that go the predicted way, in the worst of the curves: (S,)."""
    moved = (values.diff(dim=0) * directions).sign()
    inside = (run["tau"][:-1] >= run["tau_1"]) & ~values[1:, :, 0].isnan()
    return ((moved > 0) & inside[..., None]).sum(dim=0).amin(dim=1) / inside.sum(dim=0)


def score_signs(run):
    """Share of right increments of the four attention scores, (S,)."""
    return increments(run, watched(run), DIRECTIONS)


def value_signs(run):
    r"""Share of right increments of $W_VW_V^\top$: (1,2) up, (1,3) and (2,3) down, (S,)."""
    gram = run["gram"]
    pairs = torch.stack([gram[..., 0, 1], gram[..., 0, 2], gram[..., 1, 2]], dim=-1)
    return increments(run, pairs, torch.tensor([1.0, -1.0, -1.0]))


def token_sums(run):
    r"""The least of $\gamma_1+\gamma_2+\gamma_3$, $-\gamma_1-\gamma_3$, $-\gamma_2-\gamma_3$ at the end over $\gamma_1$, (S,)."""
    first, second, common = phases.final(run, run["gamma"]).unbind(dim=-1)
    return torch.stack([first + second + common, -(first + common), -(second + common)]).amin(dim=0) / first


def ode_gap(run, until=100.0):
    r"""Largest $|\log(\mathcal L/\mathcal L_{ODE})|$ to the reduced flow until a time in tau, (S,)."""
    asked = run["task"]
    seen = (run["tau"] <= until) & ~run["loss"].isnan()
    times, place = np.unique(run["tau"][seen].numpy(), return_inverse=True)
    expected = reduced.Reduced(asked.samples, asked.length, asked.fractions).solve(times)["loss"][place]
    gap = torch.full_like(run["loss"], torch.nan)
    gap[seen] = (run["loss"][seen] / torch.tensor(expected)).log().abs()
    return phases.most(gap)


def fall(run, high=1e-2, low=1e-4):
    r"""Slope $d\log\mathcal L/d\log t$ between two losses, (S,)."""
    found = []
    for tau, loss in zip(run["tau"].T, run["loss"].T, strict=True):
        inside = (loss <= high) & (loss >= low)
        times, values = tau[inside].log(), loss[inside].log()
        found.append(float((values[-1] - values[0]) / (times[-1] - times[0])))
    return torch.tensor(found)


def early_fall(run):
    """The same slope in Phase 1, from tau = 1 to tau_1, (S,)."""
    one = torch.ones_like(run["tau_1"])
    first, last = phases.at(run["tau"], run["loss"], one), boundary_loss(run)
    return (last / first).log() / run["tau_1"].log()


def unevenness(run):
    """The largest distance of any attention weight from 1/L over the whole run, times L, (S,)."""
    return phases.most(run["unevenness"]) * run["task"].length


def paper_scores(run):
    """The least of the four score changes at the end in the predicted direction, over their largest size, (S,)."""
    change = phases.final(run, watched(run) - watched(run)[:1]) * DIRECTIONS
    return change.amin(dim=1) / change.abs().amax(dim=1)


def closed_form_gap(force_idle=False):
    """Largest difference of the closed forms to the dual of drawn data, over a table of n and L."""
    worst = 0.0
    for samples, length in ((12, 3), (60, 3), (24, 5), (36, 5), (60, 5), (120, 5), (48, 7)):
        idle = force_idle or samples == math.inf
        found = dual_sums(samples, length)
        at = {balance.SAMPLES: samples, balance.LENGTH: length}
        second, fourth, _ = (
            [float(balance.limit(False)[name].subs(at)) for name in ("s_2", "s_4", "rho")]
            if idle
            else balance.predicted(samples, length)
        )
        worst = max(worst, float(np.abs(found - [1, second, second, fourth]).max()))
    return worst


def edge_gap(extra=0):
    """Largest distance of the dual's ratio from 1 at n = 3(L+1) + extra, for L = 3, 5, 7."""
    sums = [dual_sums(3 * (length + 1) + extra, length) for length in (3, 5, 7)]
    return max(abs(float(phases.ratio(torch.tensor(row))) - 1) for row in sums)


def dual_sums(samples, length, seed=0):
    """Class sums of the dual of one drawn data set with distinct words: (4,)."""
    from attnflow import runs

    asked = task.Task(samples, length)
    tokens, labels = task.draw(runs.streams([seed]), asked)
    return dual.separate(task.counts(tokens, asked.size)[0], labels[0]).sums(asked.classes)
