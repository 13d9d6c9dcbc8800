"""Time a stack of chapter 2's runs against what one would write instead: modules on dense one-hot words, one by one.

    make bench

Runs of n = 60, L = 5, d = 163, k = 128, o = 16 in float64. All take the same steps of descent: the stack through the exact
reduction, compiled or with gathers and scatters, the loop with autograd and torch's SGD.
"""

import math
from functools import partial

import timing
import torch

from attnflow import flow, runs
from attnflow.cooccurrence import setting

COUNT, STEPS, STEP, WIDTH = 32, 20, 0.01, 128
TRAINED = ("W_Q", "W_K", "W_V")  # the reduction keeps these as they are


class Transformer(torch.nn.Module):
    """The model as one would write it: four parameters on one-hot tokens, and fixed signs."""

    def __init__(self, state, run):
        super().__init__()
        for name in (*TRAINED, "W_O"):
            setattr(self, name, torch.nn.Parameter(state[name][run].clone()))
        self.register_buffer("signs", state["signs"][run].clone())

    def forward(self, inputs):
        """Outputs. inputs: (n, L, d). Returns (n,)."""
        queries, keys, values = inputs @ self.W_Q, inputs @ self.W_K, inputs @ self.W_V
        weights = torch.softmax(queries @ keys.mT / math.sqrt(WIDTH), dim=-1)
        return (weights @ values @ self.W_O @ self.signs).sum(dim=-1)


def loss(net, inputs, labels):
    """Mean logistic loss of a ``net`` on ``inputs`` (n, L, d) with ``labels`` (n,)."""
    return torch.nn.functional.softplus(-labels * net(inputs)).mean()


def looped(found):
    """One module after the other. Returns the final weights."""
    ends = []
    for run in range(COUNT):
        net = Transformer(found["start"], run)
        inputs = torch.nn.functional.one_hot(found["tokens"][run], found["task"].size).to(runs.DTYPE)
        timing.descend(net.parameters(), partial(loss, net, inputs, found["labels"][run]), STEP, STEPS)
        ends.append({name: value.detach() for name, value in net.named_parameters()})
    return {name: torch.stack([end[name] for end in ends]) for name in TRAINED}


def stacked(found, engine):
    """All runs with an ``engine``. Returns the final weights."""
    end = flow.integrate(found["field"], found["start"], step=STEP, times=[STEPS * STEP], engine=engine).state
    return {name: end[name] for name in TRAINED}


def main():
    """Print the times of a step of one run, and how they compare."""
    task = {"samples": 60, "length": 5}
    reduced = setting.drawn(range(COUNT), torch.device("cpu"), width=WIDTH, **task)
    full = setting.drawn(range(COUNT), torch.device("cpu"), width=WIDTH, full=True, **task)
    ways = {
        "compiled, run by run": lambda: stacked(reduced, "numba"),
        "stack, gather and scatter by torch": lambda: stacked(reduced, "torch"),
        "modules one by one, one-hot, autograd": lambda: looped(full),
    }
    timing.compare(f"one step of one of {COUNT} Transformers on words", ways, 3, COUNT * STEPS)


if __name__ == "__main__":
    main()
