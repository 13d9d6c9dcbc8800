"""Time what a sweep adds to its tasks: ten thousand that do nothing, on two processes, and the rerun that loads them.

    make bench

The first run may take 15 seconds and the rerun 10. A task that does nothing costs what every task does: its identity, its way to
a worker and back, and its file, written or read.
"""

import tempfile
import time

import numpy as np
import timing  # noqa: F401 it holds one thread, before numpy and torch

from attnflow import sweep

TASKS = 10_000
LIMITS = {"first run": 15, "rerun": 10}


def nothing(device, x):
    """A task."""
    return {"x": np.array(x)}


def main():
    """Print the seconds of both runs beside what each may take."""
    table = sweep.Sweep("nothing", "tasks that do nothing", nothing, {"x": range(TASKS)})
    print(f"{TASKS} tasks that do nothing, two jobs")
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in LIMITS.items():
            began = time.perf_counter()
            found = sweep.run(table, folder, jobs=2, progress=False)
            print(f"  {name:42} {time.perf_counter() - began:12,.1f} s, at most {limit}")
            assert [one["x"] for one in found] == list(range(TASKS))


if __name__ == "__main__":
    main()
