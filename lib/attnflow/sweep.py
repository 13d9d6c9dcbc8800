"""Many runs of one experiment: a table of settings, through joblib, one small file a task.

Each task writes its own ``.npz`` to a temporary file and renames it, so a file is whole or absent. A rerun loads what is
there and repeats the rest, whatever stopped the first one. A whole table is kept as two files in ``results/``.
"""

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

BESIDE = ":"  # in the names of what is measured of a cell besides its own arrays


@dataclass(frozen=True)
class Sweep:
    """A named table of runs.

    name: for the command line and the stored files; title: one line of help; function: (device, **settings) -> dict of
    arrays; axes: setting -> its values, whose product is the table; fixed: settings that all tasks share; single: keep the
    arrays in single precision. What is too dear for :mod:`attnflow.sensitivity` says, probe: setting -> those of its values at
    which a cell is measured, all where it has no entry; brief: settings that take the place of its own there.
    """

    name: str
    title: str
    function: Callable
    axes: dict
    fixed: dict = field(default_factory=dict)
    single: bool = False
    probe: dict = field(default_factory=dict)
    brief: dict = field(default_factory=dict)

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


def once(folder: Path, identity: dict, make: Callable[[], dict]) -> dict:
    """The arrays of the file of an ``identity`` in a ``folder``; where it is not whole, what ``make`` returns, stored there."""
    path = address(folder, identity)
    arrays = load(path, identity)
    if arrays is None:
        arrays = make()
        files.write_arrays(path, arrays | {"identity": np.array(json.dumps(identity))})
    return arrays


def one(sweep: Sweep, settings: dict, folder: Path, where: torch.device) -> dict:
    """Run one task of a ``sweep``, its ``settings``, on ``where``, unless its file in ``folder`` is whole. Returns its arrays."""
    return once(folder, sweep.identity(settings, where), lambda: cell(sweep, settings, where))


def cell(sweep: Sweep, settings: dict, where: torch.device, count: int = 1) -> dict:
    """One task of a ``sweep``, its ``settings``, run now on ``where``, with ``count`` threads. Returns name -> array."""
    with threads.held(count):
        found = sweep.function(device=where, **settings)
    return {
        name: value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in found.items()
    }


def run(
    sweep: Sweep,
    folder: Path,
    jobs: int = 1,
    device: object = None,
    backend: str = "loky",
    progress: bool = True,
    task: Callable[..., dict] = one,
) -> list[dict]:
    """Run the whole table on ``jobs`` processes of one thread each. Returns the arrays, in the order of the tasks.

    sweep: the table; folder: where its files go; device: for all tasks; backend: any joblib backend by name; progress: show a
    bar; task: what is done for each, :func:`one` or :func:`attnflow.sensitivity.measured`. Raises WrongUse for a wrong ``jobs``
    or an absent device.
    """
    jobs = runs.integer("jobs", jobs)
    where = runs.device(device)
    Path(folder).mkdir(parents=True, exist_ok=True)
    tasks = sweep.tasks()
    calls = (joblib.delayed(task)(sweep, settings, folder, where) for settings in tasks)
    limit = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with threads.held(), joblib.parallel_config(backend=backend, **limit):
        found = joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return list(tqdm(found, total=len(tasks), desc=sweep.name, disable=None if progress else True))


def home() -> Path:
    """The folder ``results``: of the working directory or one above it, else of the library's repository, else of its wheel.

    Raises WrongUse where there is none.
    """
    here = Path.cwd()
    own = Path(__file__).parent
    places = [folder / "results" for folder in (here, *here.parents, own.parents[1], own)]
    found = next((place for place in places if (place / "claims.json").is_file()), None)
    runs.check(
        "results", str(here), "a working directory inside the book, whose folder results is read", found is not None
    )
    return found


def keep(sweep: Sweep, found: list[dict], folder: Path, device: object = None, **more: dict) -> Path:
    """Store a whole ``sweep`` in a ``folder`` as NAME.npz and, with what made it, NAME.json. Returns the former's path.

    found: what ``run`` returned on ``device``; more: what else NAME.json says. Every array gets the axes of the table in
    front of its own. Raises WrongUse where tasks returned arrays of different shapes.
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
    files.write_json(path.with_suffix(".json"), settings | made | more)
    return path


def kept(name: str) -> tuple[dict, dict]:
    """The stored sweep of that ``name``, from any working directory: arrays, name -> array, and provenance, a dict.

    What :mod:`attnflow.sensitivity` stored besides is left out. Raises WrongUse where it is absent.
    """
    arrays, path = stored(name)
    return {key: values for key, values in arrays.items() if BESIDE not in key}, files.read_json(path)


def stored(name: str) -> tuple[dict, Path]:
    """All arrays of the stored sweep of that ``name``, and the file of its provenance. Raises WrongUse where it is absent."""
    path = next(iter(sorted(home().glob(f"*/{name}.npz"))), None)
    arrays = files.read_arrays(path) if path else None
    runs.check("name", name, f"that of a sweep stored in {home()}", arrays is not None)
    return arrays, path.with_suffix(".json")
