"""Time a stack of runs against what one would write instead: the same runs in a loop, with autograd and torch's SGD.

    make bench

Both train the attention layer of chapter 1 by descent for the same number of steps; the printed difference says that they
do the same.
"""

import time

import torch

from attnflow import flow, runs
from attnflow.foundations import model, task

COUNT, STEPS, STEP = 32, 500, 0.05


def stacked(start, inputs, targets, layer):
    """All runs at once, with gradients written by hand."""
    field = model.field(inputs, targets, layer)
    return flow.integrate(field, start, step=STEP, times=[STEPS * STEP]).state


def looped(start, inputs, targets, layer):
    """One run after the other, with autograd and ``torch.optim.SGD``."""
    ends = []
    for run in range(COUNT):
        state = {name: value[run : run + 1].clone().requires_grad_() for name, value in start.items()}
        optimiser = torch.optim.SGD(state.values(), lr=STEP)
        for _ in range(STEPS):
            optimiser.zero_grad()
            model.loss(state, inputs[run : run + 1], targets[run : run + 1], layer).sum().backward()
            optimiser.step()
        ends.append(state)
    return {name: torch.cat([end[name].detach() for end in ends]) for name in start}


def timed(function, *arguments):
    """Result and seconds of one call."""
    began = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - began


def main():
    """Print both times and the largest difference."""
    layer = model.Layer()
    generators = runs.streams(range(COUNT))
    inputs = task.tokens(generators, 6, 4, layer.d)
    targets = task.teacher(generators, layer, inputs)
    start = model.init(generators, layer)
    one, fast = timed(stacked, start, inputs, targets, layer)
    other, slow = timed(looped, start, inputs, targets, layer)
    worst = max(float((one[name] - other[name]).abs().max()) for name in one)
    print(f"{COUNT} runs of {STEPS} steps, {torch.get_num_threads()} threads")
    print(f"one by one, autograd and SGD: {slow:6.2f} s\nas a stack, by hand:          {fast:6.2f} s")
    print(f"{slow / fast:.0f} times faster; largest difference of a weight: {worst:.0e}")


if __name__ == "__main__":
    main()
