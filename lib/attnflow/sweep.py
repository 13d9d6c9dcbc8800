"""Many runs of one experiment: a table of settings, through joblib, one small file a task.

Each task writes its own ``.npz`` to a temporary file and renames it, so a file is whole or absent. A rerun loads what is
there and repeats the rest, whatever stopped the first one. A whole table is kept as two files in ``results/``.
"""

import datetime
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

from attnflow import files, runs, stamp, threads

TOLERANCE = 1e-6  # relative: what another order of sums may do to a cell that is not chaotic


@dataclass(frozen=True)
class Sweep:
    """A named table of runs.

    name: for the command line and the stored files; title: one line of help; function: (device, **settings) -> dict of
    arrays; axes: setting -> its values, whose product is the table; fixed: settings that all tasks share; single: keep the
    arrays in single precision.
    """

    name: str
    title: str
    function: Callable
    axes: dict
    fixed: dict = field(default_factory=dict)
    single: bool = False

    def tasks(self) -> list[dict]:
        """The settings of all tasks, in the order of the table."""
        return [self.fixed | dict(zip(self.axes, row, strict=True)) for row in product(*self.axes.values())]

    @property
    def code(self) -> str:
        """The hash of the code that its tasks use."""
        module = self.function.__module__
        if module.startswith("attnflow"):
            return stamp.code([module])
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]

    @property
    def source(self) -> str:
        """What counts of the text of its function, as :func:`attnflow.stamp.bare` gives it."""
        return stamp.bare(textwrap.dedent(inspect.getsource(self.function)))

    def identity(self, settings: dict, where: torch.device) -> dict:
        """What tells one task from all others: its sweep, function, code and ``settings``, and the kind of device ``where``."""
        function = {
            "module": self.function.__module__,
            "name": self.function.__qualname__,
            "source": self.source,
        }
        known = {
            "sweep": self.name,
            "function": function,
            "code": self.code,
            "device": where.type,
            "settings": settings,
        }
        return json.loads(json.dumps(known))


def address(folder: Path, identity: dict) -> Path:
    """The file of one task in a ``folder``: its ``identity`` names it."""
    text = json.dumps(identity, sort_keys=True)
    return Path(folder) / (hashlib.sha256(text.encode()).hexdigest()[:16] + ".npz")


def load(path: Path, identity: dict) -> dict | None:
    """The arrays of a stored task, or None where the file ``path`` is absent, not whole, or of another ``identity``."""
    arrays = files.read_arrays(path) or {}
    return arrays if json.loads(str(arrays.pop("identity", "null"))) == identity else None


def one(sweep: Sweep, settings: dict, folder: Path, where: torch.device) -> dict:
    """Run one task of a ``sweep``, its ``settings``, on ``where``, unless its file in ``folder`` is whole. Returns its arrays."""
    identity = sweep.identity(settings, where)
    path = address(folder, identity)
    arrays = load(path, identity)
    if arrays is None:
        with threads.one():
            arrays = cell(sweep, settings, where)
        files.write_arrays(path, arrays | {"identity": np.array(json.dumps(identity))})
    return arrays


def cell(sweep: Sweep, settings: dict, where: torch.device) -> dict:
    """One task of a ``sweep``, its ``settings``, run now on ``where``. Returns name -> array."""
    found = sweep.function(device=where, **settings)
    return {
        name: value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in found.items()
    }


def run(
    sweep: Sweep, folder: Path, jobs: int = 1, device: object = None, backend: str = "loky", progress: bool = True
) -> list[dict]:
    """Run the whole table on ``jobs`` processes of one thread each. Returns the arrays, in the order of the tasks.

    sweep: the table; folder: where its files go; device: for all tasks; backend: any joblib backend by name; progress: show a
    bar. Raises WrongUse for a wrong ``jobs`` or an absent device.
    """
    jobs = runs.integer("jobs", jobs)
    where = runs.device(device)
    Path(folder).mkdir(parents=True, exist_ok=True)
    tasks = sweep.tasks()
    calls = (joblib.delayed(one)(sweep, settings, folder, where) for settings in tasks)
    limit = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with threads.one(), joblib.parallel_config(backend=backend, **limit):
        found = joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return list(tqdm(found, total=len(tasks), desc=sweep.name, disable=None if progress else True))


def home() -> Path:
    """The folder ``results``: of the working directory or one above it, else of the library's own repository.

    Raises WrongUse where there is none.
    """
    here = Path.cwd()
    places = [*(folder / "results" for folder in (here, *here.parents)), Path(__file__).parents[2] / "results"]
    found = next((place for place in places if (place / "claims.json").is_file()), None)
    runs.check(
        "results", str(here), "a working directory inside the book, whose folder results is read", found is not None
    )
    return found


def keep(sweep: Sweep, found: list[dict], folder: Path, device: object = None) -> Path:
    """Store a whole ``sweep`` in a ``folder`` as NAME.npz and, with what made it, NAME.json. Returns the former's path.

    found: what ``run`` returned on ``device``. Every array gets the axes of the table in front of its own. Raises WrongUse
    where tasks returned arrays of different shapes.
    """
    sizes = [len(values) for values in sweep.axes.values()]
    shapes = {name: sorted({each[name].shape for each in found}) for name in found[0]}
    runs.check("arrays", shapes, "of one shape in all tasks", all(len(shape) == 1 for shape in shapes.values()))
    stacked = {name: np.stack([each[name] for each in found]) for name in found[0]}
    stacked = {name: values.reshape(*sizes, *values.shape[1:]) for name, values in stacked.items()}
    if sweep.single:
        stacked = {name: values.astype(np.float32) for name, values in stacked.items()}
    path = Path(folder) / f"{sweep.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"sweep": sweep.name, "title": sweep.title, "axes": sweep.axes, "fixed": sweep.fixed}
    files.write_arrays(path, stacked)
    made = {"code": sweep.code, "environment": stamp.environment(device), "adopted": []}
    files.write_json(path.with_suffix(".json"), settings | made)
    return path


def kept(name: str) -> tuple[dict, dict]:
    """The stored sweep of that ``name``, from any working directory: arrays, name -> array, and provenance, a dict.

    Raises WrongUse where it is absent.
    """
    path = next(iter(sorted(home().glob(f"*/{name}.npz"))), None)
    arrays = files.read_arrays(path) if path else None
    runs.check("name", name, f"that of a sweep stored in {home()}", arrays is not None)
    return arrays, files.read_json(path.with_suffix(".json"))


def recomputed(sweep: Sweep, cells: int = 3, device: object = "cpu") -> dict[int, float]:
    """Recompute some ``cells`` of a stored ``sweep``, spread over the table, on ``device``: place -> largest difference.

    A difference is relative to the largest stored entry of its array in that cell; entries that are not finite have to agree.
    """
    arrays, _ = kept(sweep.name)
    tasks = sweep.tasks()
    found = {}
    for place in sorted({round(spot) for spot in np.linspace(0, len(tasks) - 1, runs.integer("cells", cells))}):
        with threads.one():
            fresh = cell(sweep, tasks[place], runs.device(device))
        index = np.unravel_index(place, [len(values) for values in sweep.axes.values()])
        found[place] = max(_apart(arrays[name][index], values) for name, values in fresh.items())
    return found


def _apart(stored, fresh):
    """Largest difference of two arrays, over the largest stored entry; infinite where they are not finite alike."""
    stored, fresh = (np.asarray(each).astype(stored.dtype).astype(float) for each in (stored, fresh))
    finite = np.isfinite(stored)
    if stored.shape != fresh.shape or not np.array_equal(stored[~finite], fresh[~finite], equal_nan=True):
        return np.inf
    gap = np.abs(stored[finite] - fresh[finite])
    return float(gap.max(initial=0.0) / max(np.abs(stored[finite]).max(initial=0.0), 1e-300))


def adopt(sweep: Sweep, device: object = "cpu") -> dict[int, float]:
    """Write the hash of today's code beside a stored ``sweep``, with what three cells recomputed on ``device`` say of it.

    There is no other way to change that hash but to run the table again. Returns place -> largest difference. Raises
    WrongUse, and writes nothing, where a cell differs by more than ``TOLERANCE``.
    """
    found = recomputed(sweep, device=device)
    allowed = f"at most {TOLERANCE:.0e}; otherwise: attnflow sweep {sweep.name} --keep"
    runs.check(f"difference of cells of {sweep.name}", found, allowed, all(gap <= TOLERANCE for gap in found.values()))
    path = next(iter(sorted(home().glob(f"*/{sweep.name}.npz"))))
    provenance = files.read_json(path.with_suffix(".json"))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    row = {
        "from": provenance["code"],
        "to": sweep.code,
        "cells": {str(place): gap for place, gap in found.items()},
        "date": today,
    }
    changed = {"code": sweep.code, "adopted": [*provenance["adopted"], row]}
    files.write_json(path.with_suffix(".json"), provenance | changed)
    return found
