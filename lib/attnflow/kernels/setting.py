"""What every section of chapter 4 starts from: a layer with its data and weights, and the field of the matrices it trains."""

import torch

from attnflow import claims, flow, runs
from attnflow.kernels import model, task

claim = claims.chapter_of("kernels", cite=("song2024kernels",))


def drawn(
    seeds: tuple,
    device: torch.device,
    samples: int = 4,
    length: int = 4,
    data: str = "gaussian",
    teacher: bool = False,
    size: float = 1.0,
    scale: float = 1.0,
    inner: float = 1.0,
    **settings,
) -> tuple:
    """A layer, its data and its initial weights, fresh for every seed.

    seeds, device: of the runs; samples, length, data: of the tokens; teacher: whether a second layer of the same shapes and
    kernel gives the targets, which are otherwise random and of a ``size``; scale, inner: of the weights, as in
    ``model.init``; settings: of the layer. Data, targets and weights come from streams of their own, so that layers that
    differ in the kernel alone start alike. Returns (layer, inputs, targets, state).
    """
    layer = model.Layer(**settings)
    inputs = task.tokens(runs.streams(seeds, "data"), samples, length, layer.d, data)
    source = runs.streams(seeds, "targets")
    if runs.choice("teacher", teacher, (False, True)):
        wanted = model.forward(model.init(source, layer, inner=inner), inputs, layer)
    else:
        wanted = task.targets(source, samples, length, layer.o, size)
    state = runs.to(model.init(runs.streams(seeds, "weights"), layer, scale, inner), device)
    return layer, inputs.to(device), wanted.to(device), state


def problem(
    seeds: tuple, device: torch.device, trained: tuple = model.MATRICES, **settings
) -> tuple[flow.fields.Field, runs.State]:
    """The gradient field of a setting and its initial weights, (field, state).

    seeds, device, settings: of :func:`drawn`; trained: names of the matrices that move, the others stay.
    """
    layer, inputs, targets, state = drawn(seeds, device, **settings)
    return model.field(inputs, targets, layer, trained), state
