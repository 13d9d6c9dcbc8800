"""Chapter 3, where wider is worse: pairs of samples with one token mean, which the limiting kernel cannot tell apart."""

import torch

from attnflow import Above, Control, Experiment, Near, Trial, kinds
from attnflow.encoder import kernel, model
from attnflow.encoder.setting import claim, descent, over_widths


def conditioning(net, inputs, labels, state):
    """``ratio``, least over largest eigenvalue of the kernel at the start, (S,). net, inputs, labels, state: one draw."""
    values = torch.linalg.eigvalsh(kernel.empirical(state, inputs, net))
    return {"ratio": values[:, 0] / values[:, -1]}


def training(net, inputs, labels, state, steps=300):
    r"""``left``, the share of the loss left after ``steps`` of size $1/\mu_{\max}(K_0)$, (S,).

    net, inputs, labels, state: one draw.
    """
    step = 1 / kernel.largest(kernel.empirical(state, inputs, net))
    record = descent(model.field(inputs, labels, net), state, step, steps)
    return {"left": record.end_loss / record.loss[0]}


pairs_run = Experiment(
    over_widths, {"measure": training, "widths": (64, 256, 1024), "samples": 8, "data": "pairs", "init": "lecun"}
)
start_run = pairs_run.but(measure=conditioning, init="ntk", copies=12, widths=(512, 2048, 8192))
ends_run = pairs_run.but(widths=(64, 1024), copies=2)

CLAIMS = (
    claim(
        "pairs-conditioning",
        "Pairs with one mean: the kernel loses its rank",
        r"On mean-matched pairs $\mu_{\min}/\mu_{\max}$ of the kernel falls as $k^{-1/2}$ (NTK, $\tau_0 = k^{-1}$), since the "
        "limit sees the token mean alone.",
        Trial(start_run.but(scaling=1.0), kinds.slope("ratio"), Near(abs=0.3), predict=-0.5),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=start_run.but(scaling=0.5)),
    ),
    claim(
        "wider-is-worse",
        "Pairs with one mean: wider is worse",
        r"LeCun, $\tau_0 = k^{-1}$, 300 steps: share of the loss left at $k = 1024$ less that at $k = 64$.",
        Trial(ends_run.but(scaling=1.0), lambda record: record["left"][-1] - record["left"][0], Above(0.2)),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=ends_run.but(scaling=0.5)),
    ),
)
