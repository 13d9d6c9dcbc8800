"""The experiment that the paper reports, at a small scale: training curves of a vision Transformer over heads and depth."""

import torch

from attnflow import Below, Control, data, flow, kinds, runs, sweep, vit
from attnflow.meanfield.setting import claim

SHAPES = (
    (2, 4),
    (4, 4),
    (8, 4),
    (16, 4),
    (4, 2),
    (4, 8),
)  # (heads, depth): over heads at depth 4, over depth at 4 heads
WIDE, DEEP = SHAPES[:4], (SHAPES[4], SHAPES[1], SHAPES[5])


def curves(
    device: torch.device,
    seed: int,
    shape: tuple = (4, 4),
    train: int = 160,
    test: int = 400,
    steps: int = 200,
    rate: float = 1e-3,
    every: int = 10,
    width: int = 32,
) -> dict:
    """Training of one vision Transformer on digits by Adam, all training digits in every step.

    device, seed: of the run; shape: heads and depth; train, test: how many digits; steps, rate: of Adam; every: steps between
    two looks; width: of the stream, which heads share. Returns ``loss`` and ``accuracy`` of the training digits and ``test``,
    the accuracy on the others, (K,) each.
    """
    heads, depth = shape
    net = vit.Transformer(width=width, heads=heads, depth=depth)
    inputs, labels = (each.to(device) for each in data.subsets(runs.streams((seed,), "data"), train, test))
    state = runs.to(vit.init(runs.streams((seed,), "weights"), net), device)

    def look(now):
        with torch.no_grad():
            right = vit.forward(now, inputs, net).argmax(dim=-1) == labels
        return {
            "accuracy": right[:, :train].to(runs.DTYPE).mean(dim=1),
            "test": right[:, train:].to(runs.DTYPE).mean(dim=1),
        }

    record = flow.integrate(
        vit.field(inputs[:, :train], labels[:, :train], net),
        state,
        step=rate,
        times=rate * torch.arange(0, steps + 1, every, dtype=runs.DTYPE, device="cpu"),
        method=flow.Optimiser(torch.optim.Adam),
        observe=look,
    )
    return {"loss": record.loss[:, 0]} | {name: values[:, 0] for name, values in record.values.items()}
