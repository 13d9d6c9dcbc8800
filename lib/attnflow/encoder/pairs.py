"""Chapter 3, where wider is worse: pairs of samples with one token mean, which the limiting kernel cannot tell apart."""

from operator import itemgetter

import torch

from attnflow import Above, Control, Experiment, Near, Trial, door, kinds, ntk
from attnflow.encoder import kernel, model
from attnflow.encoder.setting import claim, descent, drawn, over_widths


@door.takes(**model.DRAW, state=model.STATE)
def conditioning(net, inputs, labels, state):
    """``ratio``, least over largest eigenvalue of the kernel at the start, (S,). net, inputs, labels, state: one draw.

    Raises WrongUse for a kernel of zero.
    """
    first = kernel.empirical(state, inputs, net)
    kernel.step(first)  # refuses a kernel of zero
    values = torch.linalg.eigvalsh(first)
    return {"ratio": values[:, 0] / values[:, -1]}


@door.takes(**model.DRAW, state=model.STATE, steps=door.COUNT)
@torch.no_grad()
def training(net, inputs, labels, state, steps=300):
    r"""``left``, the share of the loss left after ``steps`` of size $1/\mu_{\max}(K_0)$, (S,).

    net, inputs, labels, state: one draw.
    """
    step = kernel.step(kernel.empirical(state, inputs, net))
    record = descent(model.field(inputs, labels, net), state, step, steps)
    return {"left": record.end_loss / record.loss[0]}


def lead(seeds, device, data="pairs", foretold="pairs", steps=15, width=4096, **settings):
    r"""How far descent with $\tau_0 = k^{-1/2}$ is ahead of that with $k^{-1}$ after some ``steps``, LeCun, and what was known.

    Each takes the step $1/\mu_{\max}(K_0)$ of its own. Returns ``lead``, the decimal logarithm of the loss left with $k^{-1}$
    over that with $k^{-1/2}$, and ``known``, the same if the kernel at the start stayed, that of the data set ``foretold``,
    (S,). seeds, device, data, width, settings: of the problem.
    """
    found = {"lead": 0, "known": 0}
    for scaling, sign in ((0.5, -1), (1.0, 1)):
        for source in {data, foretold}:
            net, inputs, labels, start = drawn(
                seeds, device, data=source, width=width, scaling=scaling, **{"samples": 8, "init": "lecun"} | settings
            )
            first = kernel.empirical(start, inputs, net)
            step = 1 / kernel.largest(first)
            if source == data:
                record = descent(model.field(inputs, labels, net), start, step, steps)
                found["lead"] = found["lead"] + sign * (record.end_loss / record.loss[0]).log10()
            if source == foretold:
                losses = ntk.linear_losses(first, model.forward(start, inputs, net) - labels, step, steps)
                found["known"] = found["known"] + sign * (losses[-1] / losses[0]).log10()
    return found


pairs_run = Experiment(
    over_widths, {"measure": training, "widths": (64, 256, 1024), "samples": 8, "data": "pairs", "init": "lecun"}
)
start_run = pairs_run.but(measure=conditioning, init="ntk", copies=12, widths=(512, 2048, 8192))
ends_run = pairs_run.but(widths=(64, 1024), copies=2)
lead_run = Experiment(lead, {"data": "pairs", "foretold": "pairs"})

CLAIMS = (
    claim(
        "pairs-conditioning",
        "Pairs with one mean: the kernel loses its rank",
        r"On mean-matched pairs $\mu_{\min}/\mu_{\max}$ of the kernel falls as $k^{-1/2}$ (NTK, $\tau_0 = k^{-1}$), since the "
        "limit sees the token mean alone.",
        Trial(start_run.but(scaling=1.0), kinds.slope("ratio"), Near(abs=0.2), predict=-0.5),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
    ),
    claim(
        "wider-is-worse",
        "Pairs with one mean: wider is worse",
        r"LeCun, $\tau_0 = k^{-1}$, 300 steps: share of the loss left at $k = 1024$ less that at $k = 64$.",
        Trial(ends_run.but(scaling=1.0), lambda record: record["left"][-1] - record["left"][0], Above(0.45)),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
    ),
    claim(
        "lead",
        "The kernel at the start knows which scaling is faster",
        r"LeCun, $k = 4096$, pairs with one mean, each scaling with the step $1/\mu_{\max}$ of its own: after fifteen "
        r"steps $\tau_0 = k^{-1/2}$ is ahead of $k^{-1}$ by a factor of the loss whose logarithm follows from both kernels at "
        "the start.",
        Trial(lead_run, itemgetter("lead"), Near(rel=0.06), predict=itemgetter("known")),
        Control("the kernels of Gaussian data", {"foretold": "gaussian"}, quota=(9, 10)),
        provenance="secondary: a review of the paper finds the square root faster; predicted and measured here",
    ),
)
