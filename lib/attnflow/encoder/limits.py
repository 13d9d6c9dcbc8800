r"""Chapter 3, limits at the start: the entropy of the attention, the tangent kernel's closed forms, and a forecast by them."""

from dataclasses import replace
from functools import partial

import torch

from attnflow import Below, Control, Experiment, Near, Trial, attention, curves, flow, kinds, ntk, runs
from attnflow.encoder import kernel, model, theory
from attnflow.encoder.setting import claim, geometric, over_widths


def deficits(net, inputs, labels, state, scalings=(0.6, 0.75, 1.0, 1.25)):
    r"""Entropy deficit of the attention at the start, and what Gaussian logits of variance $k^{1-2s}$ predict.

    net, inputs, labels, state: one draw, whose weights serve all ``scalings``: these only multiply the logits. Returns
    ``deficit``, ``predicted`` and ``scaling``, (S, J) each.
    """
    nets = [replace(net, scaling=scaling) for scaling in scalings]
    found = torch.stack([attention.entropy_deficit(model.attention(state, inputs, one)) for one in nets], dim=1)
    known = theory.deficit([net.width ** theory.logit_power(scaling) for scaling in scalings], inputs.shape[2])
    return {"deficit": found} | {
        name: torch.as_tensor(value, dtype=found.dtype, device=found.device).expand_as(found)
        for name, value in (("predicted", known), ("scaling", scalings))
    }


def entropy_gap(record):
    r"""Reading of a ``record``: the largest distance, over scalings, of the entropy exponent from $-(2s - 1)$. (S,)."""
    slopes = curves.log_slope(record["widths"], record["deficit"].flatten(1)).view_as(record["scaling"][0])
    return (slopes - theory.logit_power(record["scaling"][0])).abs().amax(dim=1)


def distances(net, inputs, labels, state):
    """Distance of the kernel at the start, of NTK initialisation, to its limits.

    net, inputs, labels, state: one draw. Returns ``error``, to the closed form of uniform attention, of the whole kernel;
    ``conditional``, to the closed form given the attention, of the blocks of W_O and W_V; ``share``, the trace of the block
    of W_Q, W_K over that of the kernel: (S,) each. Raises WrongUse for another initialisation.
    """
    runs.choice("init", net.init, ("ntk",))
    blocks = kernel.blocks(state, inputs, net)
    weights = model.attention(state, inputs, net)
    traces = {name: value.diagonal(dim1=1, dim2=2).sum(dim=1) for name, value in blocks.items()}
    return {
        "error": ntk.distance(sum(blocks.values()), kernel.limit(inputs)),
        "conditional": ntk.distance(blocks["W_O"] + blocks["W_V"], kernel.given_attention(weights, inputs)),
        "share": traces["W_Q W_K"] / sum(traces.values()),
    }


def forecast(net, inputs, labels, state, steps=40):
    r"""``gap``, the largest distance of the losses of descent from those that the limiting kernel alone predicts, (S,).

    Over all ``steps``, of 1 over the largest eigenvalue of $K_\infty$, and over the first loss; infinite where a run diverged.
    net, inputs, labels, state: one draw.
    """
    known = kernel.limit(inputs)
    step = 1 / kernel.largest(known)
    predicted = ntk.linear_losses(known, model.forward(state, inputs, net) - labels, step, steps)
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device=step.device)[:, None]
    losses = flow.integrate(model.field(inputs, labels, net), state, step=step, times=times).loss
    return {"gap": ((losses - predicted[: len(losses)]).abs() / predicted[0]).nan_to_num(torch.inf).amax(dim=0)}


entropy_run = Experiment(
    over_widths,
    {"measure": deficits, "widths": (64, 256, 1024, 4096), "copies": 8, "average": partial(torch.mean, dim=1)},
)
value_run = entropy_run.but(measure=partial(deficits, scalings=(0.25, 0.5, 1.0)), copies=24)
limit_run = entropy_run.but(measure=distances, average=geometric, samples=8, init="ntk", scaling=1.0)
random_run = limit_run.but(scaling=0.5)
digits_run = limit_run.but(data="digits", d=4, length=16)
forecast_run = limit_run.but(measure=forecast, widths=(2048,))

KERNEL = ("jacot2018ntk", "cho2009kernel")
CLAIMS = (
    claim(
        "entropy-slopes",
        "Attention becomes uniform at a rate set by the scaling",
        r"The entropy deficit $1 - H/\log L$ at the start falls as $k^{-(2s-1)}$: largest distance of the exponent over "
        r"$s = 0.6, 0.75, 1, 1.25$.",
        Trial(entropy_run, entropy_gap, Below(0.12)),
        Control(
            r"$s = 1/4$, where softmax saturates",
            experiment=entropy_run.but(measure=partial(deficits, scalings=(0.25,))),
        ),
    ),
    claim(
        "entropy-values",
        "Uniform, random or saturated, from one formula",
        r"Gaussian logits of variance $k^{1-2s}$ predict the deficit at $k = 4096$ for $s = 1/4, 1/2, 1$: largest relative "
        "error.",
        Trial(
            value_run,
            lambda record: (record["deficit"][-1] / record["predicted"][-1] - 1).abs().amax(dim=1),
            Below(0.3),
        ),
        Control(r"NTK on tokens of norm $\sqrt d$", experiment=value_run.but(init="ntk", std=1.0)),
    ),
    claim(
        "limit-kernel",
        r"With $\tau_0 = k^{-1}$ the kernel has a limit in closed form",
        r"$\|K - K_\infty\|/\|K_\infty\|$ falls as $k^{-1/2}$ at NTK initialisation.",
        Trial(limit_run, kinds.slope("error"), Near(abs=0.12), predict=-0.5),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=random_run),
        cite=KERNEL,
    ),
    claim(
        "random-kernel",
        r"With $\tau_0 = k^{-1/2}$ it stays random",
        "The distance to that closed form does not fall with the width: exponent 0.",
        Trial(random_run, kinds.slope("error"), Near(abs=0.25), predict=0.0),
        Control(r"$\tau_0 = k^{-1}$", experiment=limit_run),
        cite=("sakai2025attention",),
    ),
    claim(
        "conditional-kernel",
        "Given the attention it is known again",
        r"With $\tau_0 = k^{-1/2}$ the blocks of $W_O$ and $W_V$ approach the closed form of the given attention as "
        r"$k^{-1/2}$.",
        Trial(random_run, kinds.slope("conditional"), Near(abs=0.12), predict=-0.5),
        Control("the closed form of uniform attention", read=kinds.slope("error")),
        cite=("sakai2025attention", "cho2009kernel"),
    ),
    claim(
        "query-key-share",
        r"With $\tau_0 = k^{-1}$ queries and keys leave the kernel",
        r"Their share of its trace falls as $k^{-1}$.",
        Trial(
            limit_run,
            kinds.slope("share"),
            Near(abs=0.3),
            predict=lambda _: float(theory.movement("ntk", 1.0)["share"]),
        ),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=random_run),
    ),
    claim(
        "digits-kernel",
        "The limit holds on handwritten digits",
        r"The same exponent $-1/2$ on images of 3 and 8, 16 patches each.",
        Trial(digits_run, kinds.slope("error"), Near(abs=0.25), predict=-0.5),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=digits_run.but(scaling=0.5)),
        cite=KERNEL,
    ),
    claim(
        "forecast",
        "The closed form alone predicts the loss curve",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$: largest distance over 40 steps of the loss from the one of $K_\infty$, over the "
        "first loss.",
        Trial(forecast_run, kinds.last("gap"), Below(0.018)),
        Control(r"$\tau_0 = k^{-1/2}$", experiment=forecast_run.but(scaling=0.5), quota=(9, 10)),
        cite=KERNEL,
    ),
)
