"""What every section of chapter 5 starts from: a residual Transformer, its data and particles, and the field of their flow."""

import torch

from attnflow import claims, flow, runs
from attnflow.meanfield import model, task

claim = claims.chapter_of("meanfield", cite=("gao2024meanfield",))


def drawn(
    seeds: tuple,
    device: torch.device,
    data: str = "regression",
    samples: int = 8,
    length: int = 4,
    scale: float = 1.0,
    tied: bool = False,
    common: int | None = None,
    **settings,
) -> tuple:
    """A net, its data and its initial particles, fresh for every seed.

    seeds, device: of the runs; data, samples, length: of the task, where digits have a length of their own; scale, tied: of the
    particles, as in ``model.init``; common: a seed whose data all runs share, their own where none is given; settings: of
    the net. Data and particles come from streams of their own. Returns (net, inputs, targets, state).
    """
    runs.choice("data", data, task.DATA)
    net = model.Net(**({"d": task.WIDTH[data], "slot": task.SLOT[data]} | settings))
    source = seeds if common is None else (runs.integer("common", common, 0),)
    generators = runs.streams(source, "data")
    found = task.digits(generators, samples) if data == "digits" else task.regression(generators, samples, length)
    inputs, targets = (each.expand(len(seeds), *each.shape[1:]).to(device) for each in found)
    state = runs.to(model.init(runs.streams(seeds, "weights"), net, scale, tied), device)
    return net, inputs, targets, state


def problem(
    seeds: tuple, device: torch.device, decay: float | torch.Tensor = 0.0, **settings
) -> tuple[flow.fields.Field, runs.State]:
    r"""The field of the particle flow of a setting and its initial particles, (field, state).

    seeds, device, settings: of :func:`drawn`; decay: $\lambda$, a number or one a run, (S,).
    """
    net, inputs, targets, state = drawn(seeds, device, **settings)
    return model.field(inputs, targets, net, decay), state
