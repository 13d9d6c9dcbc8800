"""A table whose tasks take their time, for tests that end processes, and a client of it that can be killed."""

import os
import time
from pathlib import Path

import numpy as np

from attnflow import sweep


def slow(device, x, pids, seconds):
    """One task: it says which process it is in, waits, and returns what no other run would get by chance."""
    (Path(pids) / f"{os.getpid()}").touch()
    time.sleep(seconds)
    return {"value": np.sin(np.arange(5.0) + x), "noise": np.random.default_rng(x).normal(size=20)}


def table(pids, count=12, seconds=0.3):
    """The table of ``count`` tasks; pids: the folder in which they leave the number of their process."""
    return sweep.Sweep("slowly", "slow tasks", slow, {"x": range(count)}, {"pids": str(pids), "seconds": seconds})


def client(count, folder, backend, *scheduler):
    """Run the table in a ``folder``."""
    sweep.run(table(Path(folder).with_name("pids"), int(count)), folder, 2, "cpu", backend, *scheduler, progress=False)
