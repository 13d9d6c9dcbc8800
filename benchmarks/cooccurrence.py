"""Time a stack of chapter 2's runs against a loop over modules: dense one-hot words, autograd, torch's SGD.

    OMP_NUM_THREADS=1 python benchmarks/cooccurrence.py

32 runs with n = 60, L = 5, d = 163, k = 128, o = 16 in float64. Both take the same steps of descent; the printed difference
says that they do the same. Times are medians over steps, per run and step, with one thread. On a shared machine of two
busy cores three runs printed the ratios 4.9, 4.0 (4.03 ms and 1.02 ms) and 7.2.
"""

import math
import statistics
import time

import torch

from attnflow import flow, runs
from attnflow.cooccurrence import model, task

COUNT, STEPS, STEP = 32, 20, 0.01
ASKED, WIDTH, NEURONS = task.Task(60, 5), 128, 16


class Transformer(torch.nn.Module):
    """The model as one would write it: three parameters on one-hot tokens, output weights, fixed signs."""

    def __init__(self, state, run):
        super().__init__()
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            setattr(self, name, torch.nn.Parameter(state[name][run].clone()))
        self.register_buffer("signs", state["signs"][run].clone())

    def forward(self, inputs):
        queries, keys, values = inputs @ self.W_Q, inputs @ self.W_K, inputs @ self.W_V
        weights = torch.softmax(queries @ keys.mT / math.sqrt(WIDTH), dim=-1)
        return (weights @ values @ self.W_O @ self.signs).sum(dim=-1)


def stacked(state, tokens, labels):
    """All runs at once through the exact reduction. Returns the final state and the seconds of every step."""
    field = model.field(tokens, labels, ASKED.size, NEURONS)
    now, step, times = model.reduce(state), torch.full((COUNT,), STEP, dtype=runs.DTYPE), []
    for _ in range(STEPS):
        began = time.perf_counter()
        now = flow.move(now, field(now)[1], step)
        times.append(time.perf_counter() - began)
    return now, times


def looped(state, tokens, labels):
    """One module after the other. Returns the final weights and the seconds of every step."""
    ends, times = [], []
    for run in range(COUNT):
        net = Transformer(state, run)
        optimiser = torch.optim.SGD(net.parameters(), lr=STEP)
        inputs = torch.nn.functional.one_hot(tokens[run], ASKED.size).to(runs.DTYPE)
        for _ in range(STEPS):
            began = time.perf_counter()
            optimiser.zero_grad()
            torch.nn.functional.softplus(-labels[run] * net(inputs)).mean().backward()
            optimiser.step()
            times.append(time.perf_counter() - began)
        ends.append({name: value.detach() for name, value in net.named_parameters()})
    return {name: torch.stack([end[name] for end in ends]) for name in ends[0]}, times


def main():
    """Print both medians, their ratio and the largest difference of a weight."""
    torch.set_num_threads(1)
    generators = runs.streams(range(COUNT))
    tokens, labels = task.draw(generators, ASKED)
    inner, outer = 0.1 / math.sqrt(ASKED.length * WIDTH), 1 / math.sqrt(NEURONS)
    state = model.init(generators, ASKED.size, WIDTH, NEURONS, inner, outer)
    for function in (stacked, looped):  # once to warm up
        function(state, tokens, labels)
    one, fast = stacked(state, tokens, labels)
    other, slow = looped(state, tokens, labels)
    gap = max(float((one[name] - other[name]).abs().max()) for name in ("W_Q", "W_K", "W_V"))
    by_hand, by_module = 1e3 * statistics.median(fast) / COUNT, 1e3 * statistics.median(slow)
    print(f"{COUNT} runs, {STEPS} steps, {torch.get_num_threads()} thread, medians per run and step")
    print(f"modules, one-hot, autograd: {by_module:7.3f} ms\nstack, gather and scatter:  {by_hand:7.3f} ms")
    print(f"ratio of medians {by_module / by_hand:.1f}; weights agree to 1e-12: {gap < 1e-12}")


if __name__ == "__main__":
    main()
