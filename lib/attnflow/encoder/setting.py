"""What every section of chapter 3 starts from: data, net and weights, means over draws, widths, and descent from there."""

from functools import partial

import torch

from attnflow import checks, claims, door, flow, ntk, runs
from attnflow.encoder import bounds, kernel, model, task

claim = claims.chapter_of("encoder", cite=("wu2023encoder",))
AT_ONCE = 2**18  # neurons of all runs that are in memory together: about 200 MB at work


def drawn(seeds, device, samples=12, length=4, data="gaussian", std=None, **settings):
    """Data and initial weights, fresh for every seed. Returns (net, inputs, labels, state).

    The data depend on the seed alone; the weights are drawn anew at every width. seeds: one a run; device: where the tensors
    go; samples, length: n and L; data: one of ``task.TASKS``; std: size of a token entry, by default the one that makes
    logits of order one at scaling 1/2; settings: of the net. Raises WrongUse for other data.
    """
    net, draw = model.Encoder(**settings), task.TASKS[runs.choice("data", data, tuple(task.TASKS))]
    inputs, labels = draw(runs.streams(seeds, "data"), samples, length, net.d, std=std or net.token_std)
    state = model.init(runs.streams(seeds, "weights", net.width), net)
    return net, inputs.to(device), labels.to(device), runs.to(state, device)


def problem(seeds, device, rates=None, **settings):
    r"""The field of the encoder and a start, (field, state).

    seeds, device, settings: as for :func:`drawn`; rates: name -> $\eta_A$, learning rates of their own for some matrices.
    """
    net, inputs, labels, start = drawn(seeds, device, **settings)
    return flow.at_rates(model.field(inputs, labels, net), rates or {}), start


@door.takes(net=model.Encoder)
def lecun_rates(net):
    r"""The learning rates with which NTK initialisation trains as LeCun does: k for $W_O$ and d for the others, of a ``net``."""
    return dict.fromkeys(bounds.BLOCKS, float(net.d)) | {"W_O": float(net.width)}


@door.takes(values="gaps: S C ...")
def geometric(values):
    """Geometric mean over the copies of each seed: zero where one is zero, NaN where one is negative or NaN.

    values: (S, copies, ...). Returns (S, ...).
    """
    return values.log().mean(dim=1).exp()


def over_widths(seeds, device, measure, widths, copies=1, average=geometric, **settings):
    """A ``measure`` of fresh nets of several ``widths``, as mean over ``copies`` draws.

    seeds, device, settings: as for :func:`drawn`; measure: (net, inputs, labels, state) -> name -> (S copies, ...); average:
    (S, copies, ...) -> (S, ...). Returns name -> (W, S, ...), and ``widths``.
    """
    rows = []
    for width in widths:
        few = max(1, AT_ONCE // (width * copies))
        groups = [runs.replicas(seeds[first : first + few], copies) for first in range(0, len(seeds), few)]
        parts = [measure(*drawn(group, device, width=width, **settings)) for group in groups]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        rows.append({name: average(value.unflatten(0, (-1, copies))) for name, value in found.items()})
    return checks.stacked(rows) | {"widths": widths}


@door.takes(field=door.FUNCTION, start=door.named("S ..."), step="S", steps=door.COUNT, share=door.SHARE)
@torch.no_grad()
def descent(field, start, step, steps, share=0.0):
    """Descent along a ``field`` from ``start`` by ``step`` (S,), for a number of ``steps`` or to a ``share`` of the first loss.

    Each run ends at its own first step at or below the share. Returns a record whose first row is the start. Raises WrongUse
    unless each step is greater than zero.
    """
    times = torch.stack([0 * step, steps * step])
    return flow.integrate(field, start, step=step, times=times, stop_loss=share * field(start)[0], max_steps=steps)


def trained(seeds, device, steps=400, unit=1.0, every=1, watch=None, rates=None, **settings):
    r"""Descent with a step of ``unit`` over $\mu_{\max}(K_0)$: the losses, and what theory needs to predict them.

    seeds, device, settings: as for :func:`drawn`; watch: (state, start, inputs, labels, net) -> name -> (S,), seen at the
    start and after ``every`` so many of the ``steps``; rates: as for :func:`problem`. Returns ``loss`` and what was seen (K, S)
    over ``steps`` (K,), ``step``, ``alpha``, the ``final`` loss and ``diverged`` (S,), ``start`` and ``end`` kernels and
    ``output``, the block of $W_O$ at the start (S, n, n), and ``residual`` (S, n).
    """
    net, inputs, labels, start = drawn(seeds, device, **settings)
    first, features = kernel.empirical(start, inputs, net, rates), model.features(start, inputs, net)
    step, grid = unit / kernel.largest(first), torch.arange(0, steps + 1, every, dtype=runs.DTYPE, device=device)
    observe = watch and partial(watch, start=start, inputs=inputs, labels=labels, net=net)
    field = flow.at_rates(model.field(inputs, labels, net), rates or {})
    record = flow.integrate(field, start, step=step, times=grid[:, None] * step, observe=observe)
    return record.values | {
        "loss": record.loss,
        "steps": grid[: len(record.loss)],
        "step": step,
        "alpha": bounds.smallest_singular(features),
        "output": ntk.features(features),
        "final": record.end_loss,
        "diverged": record.diverged,
        "start": first,
        "end": kernel.empirical(record.state, inputs, net, rates),
        "residual": model.forward(start, inputs, net) - labels,
    }


def left(record):
    """Reading of :func:`trained`, a ``record``: the share of the loss left at the end, infinite where the run diverged. (S,).

    Not below 1e-9: what is left beyond is rounding, whose digits are nobody's result.
    """
    return torch.where(record["diverged"], torch.inf, (record["final"] / record["loss"][0]).clamp_min(1e-9))
