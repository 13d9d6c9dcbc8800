"""What the benchmarks share: one thread, medians of calls in turn, and one form of line.

Import this before numpy and torch: they read the number of threads once.
"""

import json
import os
import statistics
import time
from functools import partial

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"


def medians(ways, repeats):
    """Results and median seconds of functions, called in turn after one call each that does not count.

    ways: name -> function of nothing. Returns two dicts, name -> result and name -> seconds.
    """
    results = {name: way() for name, way in ways.items()}
    taken = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return results, {name: statistics.median(times) for name, times in taken.items()}


def gap(one, other):
    """Largest difference of two dicts of tensors, over the largest entry of each."""
    return max(float((one[name] - value).abs().max() / value.abs().max()) for name, value in other.items())


def looped(start, inputs, targets, loss, step, steps):
    """One run after the other, with autograd and ``torch.optim.SGD``: what one would write. Returns the final weights.

    start: name -> (S, ...); inputs, targets: (S, ...); loss: (weights, inputs, targets) of a stack of one run -> a number; step:
    of descent, taken ``steps`` times.
    """
    import torch  # not before the variables are set: it reads them once

    ends = []
    for run in range(len(inputs)):
        state = {name: value[run : run + 1].clone().requires_grad_() for name, value in start.items()}
        one = slice(run, run + 1)
        descend(state.values(), partial(loss, state, inputs[one], targets[one]), step, steps)
        ends.append(state)
    return {name: torch.cat([end[name].detach() for end in ends]) for name in start}


def compare(what, ways, repeats, count=1):
    """Print what ways to the same result take, over that of the first, and whether their results are the same.

    what: a title; ways: name -> function that returns a dict of tensors; count: how many units of work one call does.
    """
    results, seconds = medians(ways, repeats)
    (first, result), *others = results.items()
    print(what)
    for name, taken in seconds.items():
        print(f"  {name:42} {1e6 * taken / count:12,.1f} us {taken / seconds[first]:8.2f}")
    print(f"  equal to 1e-10: {all(gap(other, result) < 1e-10 for _, other in others)}")


def stored(path, name, part):
    """Put a ``part`` under its ``name`` into the file at ``path``, beside what other benchmarks have put there."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | {name: part}, indent=1) + "\n", encoding="utf-8")


def descend(parameters, loss, step, steps):
    """Plain descent as one would write it: autograd and torch's SGD. parameters: leaves; loss: of nothing -> a number."""
    import torch  # not before the variables are set: it reads them once

    optimiser = torch.optim.SGD(parameters, lr=step)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
