"""Time a stack of chapter 5's nets against what one would write instead: one run after the other, with autograd.

    make bench

Both take the same steps of the particle flow: the stack with the gradient written by hand, block by block, the loop with autograd
and torch's SGD at the learning rate $Jm$.
"""

import timing
import torch

from attnflow import flow
from attnflow.meanfield import model, setting

COUNT, STEPS, STEP = 32, 100, 0.1


def main():
    """Print the times of a step of one run, and how they compare."""
    net, inputs, targets, start = setting.drawn(range(COUNT), torch.device("cpu"), m=32)
    field = model.field(inputs, targets, net)
    ways = {
        "stack, by hand": lambda: flow.integrate(field, start, step=STEP, times=[STEPS * STEP]).state,
        "one by one, autograd and SGD": lambda: timing.looped(
            start, inputs, targets, lambda *run: net.speed * model.risk(*run, net)[0], STEP, STEPS
        ),
    }
    timing.compare(f"one step of one of {COUNT} nets of two blocks and 32 heads", ways, 3, COUNT * STEPS)


if __name__ == "__main__":
    main()
