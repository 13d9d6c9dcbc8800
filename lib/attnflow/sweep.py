"""Many runs of one experiment: a table of settings, through joblib or dask, one small file a task.

Each task writes its own ``.npz`` to a temporary file and renames it, so a file is whole or absent. A rerun loads what is
there and repeats the rest, whatever stopped the first one. A whole table is kept as two files in ``results/``.
"""

import hashlib
import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from attnflow import door, files, flow, paths, plain, runs, stamp, store, threads, workers

BESIDE = ":"  # in the names of what is measured of a cell besides its own arrays
DIGEST = "sha256"  # of the arrays, in what stands beside them: two renames are not one


@dataclass(frozen=True)
class Sweep:
    """A named table of runs.

    name: for the command line and the stored files; title: one line of help; function: (device, **settings) -> dict of
    arrays; axes: setting -> its values, whose product is the table; fixed: settings that all tasks share; single: keep the
    arrays in single precision. What is too dear for :mod:`attnflow.sensitivity` says, probe: setting -> those of its values at
    which a cell is measured, all where it has no entry; brief: settings that take the place of its own there.

    The values of a setting are a list, a tuple, a range or a 1-D array of numpy or torch, and numbers become those of Python.
    Raises WrongUse, when it is made, for what JSON cannot hold: a number that is not finite, an array, an object.
    """

    name: str
    title: str
    function: Callable
    axes: dict
    fixed: dict = field(default_factory=dict)
    single: bool = False
    probe: dict = field(default_factory=dict)
    brief: dict = field(default_factory=dict)

    def __post_init__(self):
        named = isinstance(self.name, str) and re.fullmatch(r"\w[\w.-]*", self.name)
        runs.check("name", self.name, "the name of a file: letters and digits, after the first also . _ -", bool(named))
        both = sorted(self.axes.keys() & self.fixed.keys())
        runs.check("settings", both, "either axes or fixed, not both", not both)
        runs.names("probe", tuple(self.probe), (*self.axes, *self.fixed))
        forms = (plain.values, plain.value) * 2
        for part, form in zip(("axes", "fixed", "probe", "brief"), forms, strict=True):
            given = getattr(self, part)
            object.__setattr__(self, part, {name: form(name, one) for name, one in given.items()})

    def tasks(self) -> list[dict]:
        """The settings of all tasks, in the order of the table."""
        return [self.fixed | dict(zip(self.axes, row, strict=True)) for row in product(*self.axes.values())]

    @cached_property
    def code(self) -> str:
        """The hash of the code that its tasks use."""
        module = self.function.__module__
        if module.startswith("attnflow"):
            return stamp.code([module])
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]

    @cached_property
    def source(self) -> str:
        """What counts of the text of its function, as :func:`attnflow.stamp.bare` gives it. Raises WrongUse without one."""
        try:
            return stamp.bare(textwrap.dedent(inspect.getsource(self.function)))
        except (OSError, TypeError):
            return runs.check("function", self.function, "a function whose source is in a file or a notebook", False)

    @cached_property
    def _same(self):
        """What the identities of all its tasks have in common."""
        text = hashlib.sha256(self.source.encode()).hexdigest()[:16]
        function = {"module": self.function.__module__, "name": self.function.__qualname__, "source": text}
        return {"sweep": self.name, "function": function, "code": self.code}

    def identity(self, settings: dict, where: torch.device) -> dict:
        """What tells one task from all others: its sweep, function, code and ``settings``, and the kind of device ``where``."""
        return self._same | {"device": where.type, "settings": settings}


def _settings(name, value, sizes):
    """Settings of a task: those of its sweep."""
    known = sorted(sizes.arguments["sweep"].axes | sizes.arguments["sweep"].fixed)
    given = sorted(value) if isinstance(value, dict) else value
    runs.check(name, given, f"a dict of the settings {', '.join(known)}", given == known)


SWEEP, WHERE = door.instance(Sweep), door.instance(torch.device)


@door.takes(sweep=SWEEP, settings=_settings, where=WHERE)
def one(sweep: Sweep, settings: dict, where: torch.device) -> list[store.Step]:
    """A task of a ``sweep`` with some ``settings`` on ``where``: one file, that of the arrays of its cell."""
    return [store.Step(sweep.identity(settings, where), lambda _: cell(sweep, settings, where))]


@door.takes(sweep=SWEEP, settings=_settings, where=WHERE, count=door.COUNT)
def cell(sweep: Sweep, settings: dict, where: torch.device, count: int = 1) -> dict:
    """One task of a ``sweep``, its ``settings``, run now on ``where``, with ``count`` threads. Returns name -> array.

    Raises WrongUse where the function of the sweep returns what no file can hold.
    """
    with threads.held(count):
        found = sweep.function(device=where, **settings)
    arrays = {name: runs.array(value) for name, value in found.items()}
    names = [name for name in arrays if not isinstance(name, str) or BESIDE in name]
    runs.check("names of arrays", names, f"texts without {BESIDE!r}", not names)
    objects = [name for name, value in arrays.items() if value.dtype.hasobject]
    runs.check("arrays of objects", objects, "arrays of numbers, texts or bools, which can be stored", not objects)
    return arrays


@door.takes(sweep=SWEEP, progress=door.FLAG, task=door.FUNCTION)
def run(
    sweep: Sweep,
    folder: Path,
    jobs: int = 1,
    device: object = None,
    backend: str = "loky",
    scheduler: str | None = None,
    progress: bool = True,
    task: Callable[..., list] = one,
) -> list[dict]:
    """Run the whole table on ``jobs`` processes of one thread each. Returns the arrays, in the order of the tasks.

    sweep: the table; folder: where its files go; device: for all tasks; backend: any of joblib by name, or "dask"; scheduler:
    with that, the address of its scheduler, whose workers take the place of the processes and see the same folder; progress:
    show a bar; task: what is done for each, :func:`one` or :func:`attnflow.sensitivity.measured`. What is stored whole is
    loaded, all else is run; files in the way are repeated, and one line says how many of each kind. Where a task raises, the
    others are finished and stored first, then :class:`attnflow.runs.TasksFailed` names its settings. Raises WrongUse for wrong
    ``jobs``, an absent device, a folder that cannot be written and a scheduler that does not answer.
    """
    workers.known(backend)
    allowed = "None, or an address beside the backend dask"
    runs.check("scheduler", scheduler, allowed, scheduler is None or (isinstance(scheduler, str) and backend == "dask"))
    jobs = runs.integer("jobs", jobs)
    where = runs.device(device)
    folder = paths.folder("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.tidy(folder)
    tasks, found, faults = sweep.tasks(), [], Counter()
    with threads.held(), tqdm(total=len(tasks), desc=sweep.name, disable=None if progress else True) as bar:
        for settings in tasks:
            arrays, wrong = store.stored(folder, task(sweep, settings, where))
            found.append(arrays)
            faults += wrong
            bar.update(arrays is not None)
        if said := store.told(faults):
            tqdm.write(f"{sweep.name}: not whole or not its own in {folder}, so repeated: {said}", sys.stderr)
        missing = [place for place, arrays in enumerate(found) if arrays is None]
        told = folder, where, flow.engines.wanted()
        calls = [(task, sweep, tasks[place], *told) for place in missing]
        for place, arrays in workers.finished(calls, jobs, backend, scheduler):
            found[missing[place]] = arrays
            bar.update()
    failed = {place: each for place, each in enumerate(found) if isinstance(each, workers.Failed)}
    if failed:
        raise workers.failure(sweep.name, tasks, failed)
    return found


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


def keepable(sweep: Sweep, folder: Path, name: str = "folder") -> Path:
    """Check, before anything runs, that a ``sweep`` can be kept in a ``folder``, called ``name``. Returns the path of its arrays.

    Raises WrongUse where the folder cannot be written or made, or one of the two files cannot be replaced.
    """
    runs.check("sweep", sweep, "a Sweep", isinstance(sweep, Sweep))
    path = paths.folder(name, folder) / f"{sweep.name}.npz"
    for each in (path, path.with_suffix(".json")):
        paths.regular(name, each)
    return path


@door.takes(sweep=SWEEP, found=door.several(door.instance(dict)))
def keep(sweep: Sweep, found: list[dict], folder: Path, device: object = None, **more: dict) -> Path:
    """Store a whole ``sweep`` in a ``folder`` as NAME.npz and, with what made it, NAME.json, both or none. Returns the former.

    found: what ``run`` returned on ``device``; more: what else NAME.json says. Every array gets the axes of the table in
    front of its own. Raises WrongUse where tasks returned arrays of different names or shapes, and as :func:`keepable` does.
    """
    path = keepable(sweep, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.tidy(path.parent)
    sizes = [len(values) for values in sweep.axes.values()]
    runs.check("tasks", len(found), f"{len(sweep.tasks())}, those of the table", len(found) == len(sweep.tasks()))
    names = sorted({tuple(sorted(each)) for each in found})
    runs.check("names of arrays", names, "the same in all tasks", len(names) == 1)
    shapes = {name: sorted({each[name].shape for each in found}) for name in found[0]}
    runs.check("arrays", shapes, "of one shape in all tasks", all(len(shape) == 1 for shape in shapes.values()))
    stacked = {name: np.stack([each[name] for each in found]) for name in found[0]}
    stacked = {name: values.reshape(*sizes, *values.shape[1:]) for name, values in stacked.items()}
    if sweep.single:
        stacked = {name: values.astype(np.float32) for name, values in stacked.items()}
    settings = {"sweep": sweep.name, "title": sweep.title, "axes": sweep.axes, "fixed": sweep.fixed}
    made = {"code": sweep.code, "environment": stamp.environment(device), "adopted": []}
    data = files.arrays_bytes(stacked)
    text = files.json_text(settings | made | more | {DIGEST: hashlib.sha256(data).hexdigest()})
    files.write_all({path: lambda file: file.write(data), path.with_suffix(".json"): lambda file: file.write(text)})
    return path


def kept(name: str) -> tuple[dict, dict]:
    """The stored sweep of that ``name``, from any working directory: arrays, name -> array, and provenance, a dict.

    What :mod:`attnflow.sensitivity` stored besides is left out. Raises WrongUse where it is absent.
    """
    arrays, path = stored(name)
    return {key: values for key, values in arrays.items() if BESIDE not in key}, files.read_json(path)


def stored(name: str) -> tuple[dict, Path]:
    """All arrays of the stored sweep of that ``name``, and the file of its provenance.

    Raises WrongUse where it is absent, and where the two files are not of one run, since something ended :func:`keep` half way.
    """
    path = next((path for path in sorted(home().glob("*/*.npz")) if path.stem == name), None)
    arrays = files.read_arrays(path) if path else None
    runs.check("name", name, f"that of a sweep stored in {home()}", arrays is not None)
    made, own = files.read_json(path.with_suffix(".json")), hashlib.sha256(path.read_bytes()).hexdigest()
    allowed = f"{made.get(DIGEST)}, which stands beside it: attnflow sweep {name} --keep"
    runs.check(f"{DIGEST} of {path.name}", own, allowed, made.get(DIGEST, own) == own)
    return arrays, path.with_suffix(".json")
