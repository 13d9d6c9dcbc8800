"""Many runs of one experiment: a table of settings and seeds, through joblib, one small file a task.

Each task writes its own ``.npz`` to a temporary file and renames it, so a file is whole or absent. A rerun loads what is
there and repeats the rest, whatever stopped the first one.
"""

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

from attnflow import runs

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Sweep:
    """A named table of runs.

    name: for the command line; function: (device, **settings) -> dict of arrays; axes: setting -> its values, whose
    product is the table; title: one line of help; fixed: settings that all tasks share.
    """

    name: str
    title: str
    function: object
    axes: dict
    fixed: dict = field(default_factory=dict)

    def tasks(self):
        """All rows of the table, as dicts."""
        return [self.fixed | dict(zip(self.axes, row, strict=True)) for row in product(*self.axes.values())]


def address(folder, settings):
    """The file of one task: its settings, hashed together with the code, name it."""
    text = json.dumps([runs.code_hash(), settings], sort_keys=True)
    return Path(folder) / (hashlib.sha256(text.encode()).hexdigest()[:16] + ".npz")


def load(path):
    """The arrays of a stored task, or None where the file is absent or not whole."""
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def write(path, arrays):
    """Write arrays atomically: a temporary file beside the target, then a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary, path)


def one(function, settings, folder, device):
    """Run one task, unless its file is whole already. Returns its arrays."""
    path = address(folder, settings)
    arrays = load(path)
    if arrays is None:
        torch.set_num_threads(1)
        arrays = {name: np.asarray(value) for name, value in function(device=device, **settings).items()}
        write(path, arrays)
    return arrays


def run(sweep, folder, jobs=1, device=None, backend="loky", progress=True):
    """Run the whole table on ``jobs`` processes of one thread each. Returns the arrays, in the order of the tasks.

    backend: any joblib backend by name. Raises ValueError for a wrong ``jobs`` or an absent device.
    """
    jobs = runs.integer("jobs", jobs)
    where = runs.device(device)
    Path(folder).mkdir(parents=True, exist_ok=True)
    tasks = sweep.tasks()
    calls = (joblib.delayed(one)(sweep.function, settings, folder, where) for settings in tasks)
    held = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        limit = {"inner_max_num_threads": 1} if backend == "loky" else {}
        with joblib.parallel_config(backend=backend, **limit):
            found = joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
            return list(tqdm(found, total=len(tasks), desc=sweep.name, disable=None if progress else True))
    finally:
        for name, value in held.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
