"""How the cost of training grows with runs, width, depth and seeds: exponents that are fitted to measured times.

    python benchmarks/growth.py [--json FILE]

An exponent belongs to the range over which it was fitted, and to no other: small sizes pay for what every call costs, large
ones for what no cache holds. Each time is the median of calls in turn. ``--json FILE`` puts what was measured beside what
peers.py has put there: the page *How fast* reads it.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import timing
import torch

from attnflow import claims, curves, flow, rooms, stamp
from attnflow.cooccurrence import setting as words
from attnflow.encoder import setting as encoders
from attnflow.meanfield import model as nets
from attnflow.meanfield import setting as particles

CPU, STEPS, REPEATS = torch.device("cpu"), 64, 5


def on_words(runs=8, **settings):
    """Model A: a function that takes ``STEPS`` steps."""
    found = words.drawn(range(runs), CPU, **{"samples": 60, "length": 5} | settings)
    return partial(flow.integrate, found["field"], found["start"], step=0.01, times=[0.01 * STEPS])


def on_encoders(width, runs=8):
    """The same for model B of a ``width``."""
    field, start = encoders.problem(range(runs), CPU, d=16, width=width)
    step = min(1e-3, 0.05 / width)
    return partial(flow.integrate, field, start, step=step, times=[step * STEPS])


def on_particles(depth, runs=8):
    """The same for a net of chapter 5 of that ``depth``, by torch."""
    net, inputs, targets, start = particles.drawn(range(runs), CPU, m=16, depth=depth)
    return partial(flow.integrate, nets.field(inputs, targets, net), start, step=0.1, times=[0.1 * STEPS])


def on_seeds(count):
    """The claim on the lead of chapter 3, and its control, on that many seeds."""

    def run():
        claims.experiment.forget()
        return claims.evaluate(rooms.room("encoder").claim["lead"], tuple(range(count)))

    return run


# what grows, its symbol, its values, and what makes a function to be timed
GROWS = (
    ("words (A), a step of all runs", "S", (1, 4, 16, 64), on_words, STEPS),
    ("words (A), a step of 8 runs", "k", (32, 128, 512), lambda width: on_words(width=width), STEPS),
    ("words (A), a step of 8 runs", "n", (24, 60, 180), lambda samples: on_words(samples=samples), STEPS),
    ("encoder (B), a step of 8 runs", "k", (16, 64, 256, 1024), on_encoders, STEPS),
    ("nets of chapter 5, a step of 8 runs", "J", (1, 2, 4, 8, 16), on_particles, STEPS),
    ("claim `encoder.lead` with its control", "seeds", (5, 10, 20, 40), on_seeds, 1),
)


def main():
    """Print a line for each: the times and the exponent, and store them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where the page of the book reads it: results/speed.json"
    )
    options = parser.parse_args()
    rows = []
    for what, symbol, values, make, steps in GROWS:
        _, taken = timing.medians({value: make(value) for value in values}, REPEATS)
        seconds = [taken[value] / steps for value in values]
        exponent = float(curves.log_slope(values, torch.tensor(seconds, dtype=torch.float64)[:, None])[0])
        shown = ", ".join(f"{value}: {1e6 * each:.0f}" for value, each in zip(values, seconds, strict=True))
        print(f"{what}, us by {symbol}: {shown}; exponent {exponent:.2f}", flush=True)
        rows.append({"what": what, "by": symbol, "values": values, "seconds": seconds, "exponent": exponent})
    if options.json:
        part = {"environment": stamp.environment(), "rows": rows}
        timing.stored(options.json, "growth", part)
    return 0


if __name__ == "__main__":
    began = time.perf_counter()
    status = main()
    print(f"{time.perf_counter() - began:.0f} seconds")
    sys.exit(status)
