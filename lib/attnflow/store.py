"""The files of the tasks of a sweep: each is whole and its own, or its task is repeated."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attnflow import files


@dataclass(frozen=True)
class Step:
    """One file of a task.

    identity: what tells it from all others, which JSON can hold, or None for what costs nothing and has no file; make: (arrays
    of the steps before it, name -> array) -> its own.
    """

    identity: dict | None
    make: Callable[[dict], dict]


def digest(identity: dict) -> str:
    """The hash of an ``identity``: the comment of its file, and of that the first digits name it."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def address(folder: Path, key: str) -> Path:
    """The file in a ``folder`` of the step whose :func:`digest` is ``key``."""
    return Path(folder) / f"{key[:16]}.npz"


def load(folder: Path, identity: dict) -> tuple[dict | None, str]:
    """The arrays of the file of an ``identity`` in a ``folder`` and no words; or None and what it is instead.

    That is what :func:`attnflow.files.whole` calls it; a whole file of another identity, or of none, is "foreign".
    """
    key = digest(identity)
    return files.whole(address(folder, key), key.encode())


def stored(folder: Path, steps: list[Step]) -> tuple[dict | None, Counter]:
    """What is in a ``folder`` of a task of these ``steps``: its arrays, or None where a file is missing, and faults of files.

    The faults are counted by the words of :func:`load`, "absent" among them.
    """
    arrays, faults = {}, Counter()
    for step in steps:
        if step.identity is not None:
            found, fault = load(folder, step.identity)
            faults += Counter([fault] if fault else [])
        elif not faults:
            found = step.make(arrays)
        arrays |= found or {}
    return (None if faults else arrays), faults


def done(folder: Path, steps: list[Step]) -> dict:
    """The arrays of a task of these ``steps``: what is in a ``folder`` is loaded, what is not is made now and stored there.

    A directory in place of a file is moved aside, to a name that says so: somebody may miss what it holds.
    """
    arrays = {}
    for step in steps:
        found = load(folder, step.identity)[0] if step.identity is not None else step.make(arrays)
        if found is None:
            found, path = step.make(arrays), address(folder, digest(step.identity))
            if path.is_dir():
                path.rename(aside(path))
            files.write_arrays(path, found, digest(step.identity).encode())
        arrays |= found
    return arrays


def aside(path: Path) -> Path:
    """Where a directory at ``path`` goes that stands in the way of a file: the first name that is free."""
    number = 1
    while (free := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    return free


def told(faults: Counter) -> str:
    """How many files of each of the ``faults`` there are, as words; none where all that are wrong are absent."""
    said = {"directory": "directory (moved aside)"}
    return ", ".join(
        f"{count} {said.get(fault, fault)}" for fault, count in sorted(faults.items()) if fault != "absent"
    )
