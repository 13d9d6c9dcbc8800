"""What chapter 3 reads off at initialisation, over widths: entropy, kernel limits, the theorem's conditions, and forecasts."""

import math

import torch

from attnflow import flow, ntk, runs
from attnflow.claims import Experiment
from attnflow.encoder import bounds, kernel, model
from attnflow.encoder.experiments import mean_of, problem, replicas

WIDTHS = (64, 256, 1024, 4096)


def log_slope(widths, values):
    r"""Least-squares slope of $\log$ value against $\log k$. widths: (W,), values: (W, S). Returns (S,)."""
    place = torch.log(torch.as_tensor(widths, dtype=values.dtype, device=values.device))
    place = (place - place.mean())[:, None]
    return (place * values.log()).sum(dim=0) / place.square().sum()


def deficit(state, inputs, net):
    r"""Entropy deficit of the attention, $1 - H/\log L$, averaged over queries and samples: 0 uniform, 1 one-hot. (S,)."""
    weights = model.attention(state, inputs, net)
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)
    return 1 - entropy.mean(dim=(1, 2)) / math.log(inputs.shape[2])


def entropies(seeds, device, scalings=(0.6, 0.75, 1.0, 1.25), widths=WIDTHS, copies=8, **settings):
    r"""Entropy deficit of the attention at the start, mean over ``copies`` draws: ``deficit`` is scaling -> (W, S).

    The same weights serve all scalings, which only multiply the logits. With ``widths`` and ``length``.
    """
    found = {scaling: [] for scaling in scalings}
    for width in widths:
        _, inputs, _, state = problem(replicas(seeds, copies), device, width=width, **settings)
        for scaling, rows in found.items():
            net = model.Encoder(d=inputs.shape[-1], width=width, scaling=scaling)
            rows.append(deficit(state, inputs, net).reshape(len(seeds), copies).mean(dim=1))
    tables = {scaling: torch.stack(rows) for scaling, rows in found.items()}
    return {"deficit": tables, "widths": widths, "length": inputs.shape[2]}


def limits(seeds, device, widths=WIDTHS, copies=8, samples=8, init="ntk", **settings):
    """Distance of the kernel at the start to its limits, over widths, as geometric mean over ``copies`` draws.

    init: ``ntk`` or ``lecun``. Returns ``error``, to the closed form of uniform attention, of the whole kernel;
    ``conditional``, to the closed form given the attention, of the blocks of W_O and W_V; ``share``, the trace of the
    block of W_Q, W_K over that of the kernel: (W, S) each; ``widths``.
    """
    runs.choice("init", init, ("ntk", "lecun"))
    rows = []
    for width in widths:
        options = settings | {"width": width, "samples": samples, "init": init}
        net, inputs, _, state = problem(replicas(seeds, copies), device, **options)
        blocks = kernel.blocks(state, inputs, net)
        whole = sum(blocks.values())
        wanted = kernel.limit(inputs)
        if init != "ntk":
            whole, wanted = whole / width, kernel.lecun_limit(inputs) * (2 if init == "he" else 1) ** 1
        given = kernel.given_attention(model.attention(state, inputs, net), inputs)
        traces = {name: value.diagonal(dim1=1, dim2=2).sum(dim=1) for name, value in blocks.items()}
        row = {"error": ntk.distance(whole, wanted)}
        row["conditional"] = ntk.distance(blocks["W_O"] + blocks["W_V"], given)
        row["share"] = traces["W_Q W_K"] / sum(traces.values())
        rows.append({name: mean_of(copies, value) for name, value in row.items()})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"widths": widths}


def forecast(seeds, device, width=1024, samples=8, steps=60, scaling=1.0, copies=1, **settings):
    r"""Losses of descent, and losses predicted from the closed form of the limiting kernel alone.

    Step 1 over the largest eigenvalue of $K_\infty$. Returns ``loss`` and ``predicted`` (K, S copies), over the first loss,
    and ``gap`` (S,), their largest distance over time, as geometric mean over ``copies`` draws.
    """
    options = settings | {"width": width, "samples": samples, "init": "ntk", "scaling": scaling}
    net, inputs, labels, state = problem(replicas(seeds, copies), device, **options)
    known = kernel.limit(inputs)
    step = 1 / torch.linalg.eigvalsh(known)[:, -1]
    residual = model.forward(state, inputs, net) - labels
    predicted = ntk.linear_losses(known, residual, step, steps)
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device=device)[:, None]
    losses = flow.integrate(model.field(inputs, labels, net), state, step=step, times=times).values["loss"]
    full = torch.full_like(predicted, torch.inf)
    full[: len(losses)] = losses
    gap = mean_of(copies, ((full - predicted) / predicted[0]).abs().amax(dim=0))
    return {"loss": full / predicted[0], "predicted": predicted / predicted[0], "gap": gap}


def conditioning(seeds, device, widths=(64, 256, 1024), samples=8, data="pairs", steps=300, copies=1, **settings):
    r"""Mean-matched pairs: least over largest eigenvalue of $K_0$, and the share of the loss left after training.

    Descent with 1 over the largest eigenvalue, none where ``steps`` is 0. Returns ``ratio`` and ``left`` (W, S), geometric
    means over ``copies`` draws, and ``widths``.
    """
    rows = []
    for width in widths:
        options = settings | {"width": width, "samples": samples, "data": data}
        net, inputs, labels, state = problem(replicas(seeds, copies), device, **options)
        values = torch.linalg.eigvalsh(kernel.empirical(state, inputs, net))
        row = {"ratio": mean_of(copies, values[:, 0] / values[:, -1])}
        if steps:
            step = 1 / values[:, -1]
            field = model.field(inputs, labels, net)
            record = flow.integrate(field, state, step=step, times=(steps * step)[None])
            row["left"] = mean_of(copies, record.loss / field(state)[0])
        rows.append(row)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"widths": widths}


def met(
    seeds, device, widths=(1024, 4096, 16384), samples=8, residual=None, copies=1, init="lecun", scaling=0.5, **more
):
    """Left over right side of the theorem's conditions at the start, over widths. residual: labels within this of f.

    Returns name -> (W, S), geometric means over ``copies`` draws, ``worst`` the smallest condition; ``widths``, ``init``
    and ``scaling``.
    """
    rows = []
    for width in widths:
        options = more | {"width": width, "samples": samples, "init": init, "scaling": scaling}
        net, inputs, labels, state = problem(replicas(seeds, copies), device, **options)
        if residual is not None:
            labels = model.forward(state, inputs, net) + residual * labels
        row = bounds.conditions(state, inputs, labels, net)
        row["worst"] = torch.stack([value for name, value in row.items() if name != "alpha"]).amin(dim=0)
        rows.append({name: mean_of(copies, value) for name, value in row.items()})
    found = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return found | {"widths": widths, "init": init, "scaling": scaling}


def first_width(widths, ratios):
    """Width at which a power law fitted to ratios (W, S) crosses 1, infinite where it does not grow. Returns (S,)."""
    slope = log_slope(widths, ratios)
    centre = torch.log(torch.as_tensor(widths, dtype=ratios.dtype)).mean()
    crossing = torch.exp(centre - ratios.log().mean(dim=0) / slope)
    return torch.where(slope > 0, crossing, torch.inf)


entropy_run = Experiment(entropies)
limit_run = Experiment(limits)
forecast_run = Experiment(forecast)
pairs_run = Experiment(conditioning)
conditions_run = Experiment(met)
