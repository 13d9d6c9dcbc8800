"""Time a stack of chapter 4's layers against what one would write instead: one run after the other, one head after the other.

    make bench

Both take the same steps of descent with Gaussian attention: the stack of runs and heads with gradients written by hand, the loop
with autograd and torch's SGD.
"""

from dataclasses import replace
from functools import partial

import timing
import torch

from attnflow import flow
from attnflow.kernels import model, setting

COUNT, STEPS, STEP = 32, 200, 0.05
SETTINGS = {"kernel": "gaussian", "heads": 4}


def loss(state, inputs, targets, layer):
    """The loss of one run with its heads one after the other, as a number that autograd takes."""
    heads = ({name: value[:, head : head + 1] for name, value in state.items()} for head in range(layer.heads))
    alone = replace(layer, heads=1)
    residual = sum(model.forward(one, inputs, alone) for one in heads) - targets
    return residual.square().sum(dim=-1).mean() / 2


def main():
    """Print the times of a step of one run, and how they compare."""
    layer, inputs, targets, start = setting.drawn(range(COUNT), torch.device("cpu"), **SETTINGS)
    field = model.field(inputs, targets, layer)
    ways = {
        "stack, by hand": lambda: flow.integrate(field, start, step=STEP, times=[STEPS * STEP]).state,
        "one by one, autograd and SGD": lambda: timing.looped(
            start, inputs, targets, partial(loss, layer=layer), STEP, STEPS
        ),
    }
    timing.compare(f"one step of one of {COUNT} layers of four heads", ways, 3, COUNT * STEPS)


if __name__ == "__main__":
    main()
