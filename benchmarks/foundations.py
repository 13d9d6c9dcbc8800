"""Time a stack of chapter 1's attention layers against what one would write instead: one run after the other.

    make bench

Both take the same steps of descent: the stack with gradients written by hand, the loop with autograd and torch's SGD.
"""

from functools import partial

import timing
import torch

from attnflow import flow
from attnflow.foundations import balancing, model

COUNT, STEPS, STEP = 32, 200, 0.05


def loss(*run, layer):
    """The loss of one ``run`` of a ``layer``, as a number that autograd takes."""
    return model.loss(*run, layer).sum()


def main():
    """Print the times of a step of one run, and how they compare."""
    layer, inputs, targets, start = balancing.setting(range(COUNT), torch.device("cpu"), samples=6)
    field = model.field(inputs, targets, layer)
    ways = {
        "stack, by hand": lambda: flow.integrate(field, start, step=STEP, times=[STEPS * STEP]).state,
        "one by one, autograd and SGD": lambda: timing.looped(
            start, inputs, targets, partial(loss, layer=layer), STEP, STEPS
        ),
    }
    timing.compare(f"one step of one of {COUNT} attention layers", ways, 3, COUNT * STEPS)


if __name__ == "__main__":
    main()
