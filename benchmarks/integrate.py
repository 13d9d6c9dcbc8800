"""Time what ``flow.integrate`` adds to a step: its loop against a bare one over field and move.

    make bench

A stack of ten small attention layers of chapter 1, whose field is so cheap that the loop shows. The second column is the time
over that of the bare loop.
"""

import timing
import torch

from attnflow import flow, runs
from attnflow.flow import steppers
from attnflow.foundations import balancing

COUNT, STEPS, STEP = 10, 1000, 0.01


def main():
    """Print microseconds a step of the stack, bare and integrated, with and without a record at every step."""
    field, start = balancing.problem(range(COUNT), torch.device("cpu"))
    size, end = torch.full((COUNT,), STEP, dtype=runs.DTYPE), [STEPS * STEP]
    every = STEP * torch.arange(STEPS + 1, dtype=runs.DTYPE)

    def bare():
        state = start
        for _ in range(STEPS):
            state = steppers.move(state, field(state)[1], size)
        return state

    ways = {
        "bare loop": bare,
        "integrate": lambda: flow.integrate(field, start, step=STEP, times=end).state,
        "integrate, a record every step": lambda: flow.integrate(field, start, step=STEP, times=every).state,
        "integrate, the laws seen at every step": lambda: (
            flow.integrate(field, start, step=STEP, times=every, observe=balancing.balances).state
        ),
    }
    timing.compare(f"one step of {COUNT} attention layers, descent", ways, 5, STEPS)


if __name__ == "__main__":
    main()
