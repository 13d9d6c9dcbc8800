r"""Chapter 3, limits at the start: the entropy of the attention, the tangent kernel's closed forms, and a forecast by them."""

from dataclasses import replace
from functools import partial

import torch

from attnflow import Below, Control, Experiment, Near, Trial, attention, curves, door, flow, kinds, ntk, runs
from attnflow.encoder import kernel, model, theory
from attnflow.encoder.setting import claim, geometric, over_widths

NTK = model.DRAW | {"net": model.NTK, "state": model.STATE}


@door.takes(**model.DRAW, state=model.LOGITS, scalings=door.several(door.NUMBER))
def deficits(net, inputs, labels, state, scalings=(0.6, 0.75, 1.0, 1.25)):
    r"""Entropy deficit of the attention at the start, and what Gaussian logits of variance $k^{1-2s}$ predict.

    net, inputs, labels, state: one draw, whose weights serve all ``scalings``: these only multiply the logits. Returns
    ``deficit``, ``predicted`` and ``scaling``, (S, J) each. Raises WrongUse for one token, whose attention has no entropy.
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


@door.takes(**NTK)
@torch.no_grad()
def distances(net, inputs, labels, state):
    r"""Squared distance of the kernel at the start, of NTK initialisation, to its limit, and the mean that is known of it.

    net, inputs, labels, state: one draw. Returns, (S,) each: ``error``, of the whole kernel to the closed form of uniform
    attention, over the size of that, and ``sampled``, what k independent neurons make of it; ``share``, the trace of the
    block of W_Q, W_K over that of the kernel, and ``counted``, its mean to leading order (:func:`counted_share`). Raises
    WrongUse for another initialisation, and where all token means are zero.
    """
    counted, blocks, limit = counted_share(inputs), kernel.blocks(state, inputs, net), kernel.limit(inputs)
    traces = {name: value.diagonal(dim1=1, dim2=2).sum(dim=1) for name, value in blocks.items()}
    squares = kernel.neuron_squares(inputs.mean(dim=2)).sum(dim=(1, 2)) / limit.square().sum(dim=(1, 2))
    return {
        "error": ntk.distance(sum(blocks.values()), limit).square(),
        "sampled": (squares - 1) / net.width,
        "share": traces["W_Q W_K"] / sum(traces.values()),
        "counted": counted / net.width,
    }


@door.takes(**NTK, exchanged=door.FLAG)
@torch.no_grad()
def distances_given(net, inputs, labels, state, exchanged=False):
    r"""Squared distance of the blocks of W_O and W_V to the closed form of the given attention, over its size.

    net, inputs, labels, state: one draw of NTK initialisation; with queries and keys ``exchanged`` the attention is that of
    another net. Returns, (S,) each: ``conditional``, and ``spread``, the squared standard error of the mean over the neurons
    of the draw. Raises WrongUse for another initialisation, and where the closed form is zero, as for tokens of zero.
    """
    blocks, crossed = kernel.blocks(state, inputs, net), state | {"W_Q": state["W_K"], "W_K": state["W_Q"]}
    given = kernel.given_attention(model.attention(crossed if exchanged else state, inputs, net), inputs)
    kernel.step(given)  # refuses a kernel of zero
    squares = kernel.squares_of_neurons(state, inputs, net) / given.square().sum(dim=(1, 2))
    return {
        "conditional": ntk.distance(blocks["W_O"] + blocks["W_V"], given).square(),
        "spread": (squares - 1) / net.width,
    }


@door.takes(inputs=model.TOKENS)
def counted_share(inputs):
    r"""The share of $W_Q, W_K$ in the trace of the kernel at $\tau_0 = k^{-1}$, times k, for wide NTK nets: (S,).

    $\sum_n|\bar x_n|^2\,\mathrm{tr}\,C_n^2 / \sum_n|\bar x_n|^2$ with $C_n$ the covariance of the tokens of a sample: at
    uniform attention the gradient by $W_QW_K^\top$ is $\tau_0\,\bar x\,(L C V)^\top$, where
    $V = \tau_1L^{-1}\sum_j o_jv_j$ over active neurons has the covariance $I/2L^2$, and $W_QW_Q^\top \approx kI$.
    inputs: (S, n, L, d). Raises WrongUse where the token means of all samples of a run are zero.
    """
    means = inputs.mean(dim=2)
    seen = bool((means != 0).flatten(1).any(dim=1).all())
    runs.check("inputs", "tokens whose means are zero", "samples of which one or more has a token mean", seen)
    centred = inputs - means[:, :, None]
    covariance, squares = centred.mT @ centred / inputs.shape[2], means.square().sum(dim=2)
    return (squares * covariance.square().sum(dim=(2, 3))).sum(dim=1) / squares.sum(dim=1)


@door.takes(name=door.choice("error", "conditional"), known=door.choice("sampled", "spread"))
def over_known(name, known):
    """Reading: the root mean square of a distance ``name`` over widths, in units of the root of the mean that is ``known``.

    name: ``error`` or ``conditional``; known: ``sampled`` or ``spread``, of :func:`distances` or :func:`distances_given`.
    """
    return lambda record: (record[name] / record[known]).mean(dim=0).sqrt()


def left_power(record):
    """Reading of a ``record``: the exponent of the distance to the limit, less the sampling error of the neurons. (S,)."""
    return curves.log_slope(record["widths"], record["error"] - record["sampled"]) / 2


@door.takes(**NTK, steps=door.COUNT)
@torch.no_grad()
def forecast(net, inputs, labels, state, steps=40):
    r"""``gap``, the largest distance of the losses of descent from those that the limiting kernel alone predicts, (S,).

    Over all ``steps``, of 1 over the largest eigenvalue of $K_\infty$, and over the first loss; infinite where a run diverged.
    net, inputs, labels, state: one draw of NTK initialisation. Raises WrongUse for another, and where all token means are zero.
    """
    known = kernel.limit(inputs)
    step = kernel.step(known)
    predicted = ntk.linear_losses(known, model.forward(state, inputs, net) - labels, step, steps)
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device=step.device)[:, None]
    losses = flow.integrate(model.field(inputs, labels, net), state, step=step, times=times).loss
    return {"gap": ((losses - predicted[: len(losses)]).abs() / predicted[0]).nan_to_num(torch.inf).amax(dim=0)}


entropy_run = Experiment(
    over_widths,
    {"measure": deficits, "widths": (64, 256, 1024, 4096), "copies": 8, "average": partial(torch.mean, dim=1)},
)
value_run = entropy_run.but(measure=partial(deficits, scalings=(0.25, 0.5, 1.0)), copies=24)
limit_run = entropy_run.but(measure=distances, widths=(64, 128, 512), copies=96, samples=8, init="ntk", scaling=1.0)
random_run = limit_run.but(scaling=0.5, copies=144)
given_run = random_run.but(measure=distances_given, copies=48)
digits_run = limit_run.but(data="digits", d=4, length=16, widths=(64, 256, 1024, 4096), copies=8, average=geometric)
forecast_run = limit_run.but(measure=forecast, average=geometric, widths=(2048,), copies=8)

KERNEL = ("jacot2018ntk", "cho2009kernel")
CLAIMS = (
    claim(
        "entropy-slopes",
        "Attention becomes uniform at a rate set by the scaling",
        r"The entropy deficit $1 - H/\log L$ at the start falls as $k^{-(2s-1)}$: largest distance of the exponent over "
        r"$s = 0.6, 0.75, 1, 1.25$.",
        Trial(entropy_run, entropy_gap, Below(0.12)),
        Control(r"$s = 1/4$, where softmax saturates", {"measure": partial(deficits, scalings=(0.25,))}),
    ),
    claim(
        "entropy-values",
        "Uniform, random or saturated, from one formula",
        r"Gaussian logits of variance $k^{1-2s}$ predict the deficit at $k = 4096$ for $s = 1/4, 1/2, 1$: largest relative "
        "error.",
        Trial(
            value_run,
            lambda record: (record["deficit"][-1] / record["predicted"][-1] - 1).abs().amax(dim=1),
            Below(0.2),
        ),
        Control("tokens longer by a fifth", {"std": 1.2}),
    ),
    claim(
        "limit-kernel",
        r"With $\tau_0 = k^{-1}$ the kernel has a limit in closed form",
        r"$\|K - K_\infty\|/\|K_\infty\|$ at NTK initialisation is the sampling error of $k$ independent neurons, which falls as "
        r"$k^{-1/2}$ and whose mean square is known in closed form: root mean square over $k = 64, 128, 512$, in its units.",
        Trial(limit_run, over_known("error", "sampled"), Near(abs=0.07), predict=1.0),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
        cite=KERNEL,
    ),
    claim(
        "random-kernel",
        r"With $\tau_0 = k^{-1/2}$ it stays random",
        "The distance to that closed form, without the sampling error of the neurons, does not fall with the width: exponent 0.",
        Trial(random_run, left_power, Near(abs=0.15), predict=0.0),
        Control(r"$\tau_0 = k^{-3/4}$, between both", {"scaling": 0.75}, quota=(9, 10)),
        cite=("sakai2025attention",),
    ),
    claim(
        "conditional-kernel",
        "Given the attention it is known again",
        r"With $\tau_0 = k^{-1/2}$ the distance of the blocks of $W_O$ and $W_V$ to the closed form of the given attention is "
        "the standard error of a mean over neurons: root mean square over the same widths, in its units.",
        Trial(given_run, over_known("conditional", "spread"), Near(abs=0.09), predict=1.0),
        Control("the attention with queries and keys exchanged", {"measure": partial(distances_given, exchanged=True)}),
        cite=("sakai2025attention", "cho2009kernel"),
    ),
    claim(
        "query-key-share",
        r"With $\tau_0 = k^{-1}$ queries and keys leave the kernel",
        r"Their share of its trace falls as $k^{-1}$, with a constant known from the tokens: mean over $k = 64, 128, 512$ of the "
        "share over it.",
        Trial(limit_run, lambda record: (record["share"] / record["counted"]).mean(dim=0), Near(abs=0.12), predict=1.0),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
    ),
    claim(
        "digits-kernel",
        "The limit holds on handwritten digits",
        r"The exponent $-1/2$ of $\|K - K_\infty\|$ on images of 3 and 8, 16 patches each, $k = 64$ to 4096.",
        Trial(digits_run, lambda record: kinds.slope("error")(record) / 2, Near(abs=0.15), predict=-0.5),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
        cite=KERNEL,
    ),
    claim(
        "forecast",
        "The closed form alone predicts the loss curve",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$: largest distance over 40 steps of the loss from the one of $K_\infty$, over the "
        "first loss.",
        Trial(forecast_run, kinds.last("gap"), Below(0.018)),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}, quota=(9, 10)),
        cite=KERNEL,
    ),
)
