"""A cell of a sweep as another copy of the book computes it on this machine: processors differ, and chaotic cells with them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from attnflow import runs

CELL = """
import sys
import numpy as np
from attnflow import rooms, runs, sweep
name, place, device, path = sys.argv[1:]
(table,) = [table for room in rooms.rooms().values() for table in room.sweeps if table.name == name]
np.savez(path, **{"code": np.array(table.code)}, **sweep.cell(table, table.tasks()[int(place)], runs.device(device)))
"""


def cell(beside: Path, name: str, place: int, device: str, code: str) -> dict[str, np.ndarray]:
    """The cell at a ``place`` of the sweep called ``name``, computed on ``device`` by the copy ``beside``: name -> array.

    Raises WrongUse where that copy does not compute it, or where its code of the sweep is not ``code``.
    """
    allowed = f"a copy of the book in which {name} has the code {code}"
    library = Path(beside).resolve() / "lib"
    runs.check("beside", str(beside), allowed, (library / "attnflow").is_dir())
    with tempfile.TemporaryDirectory() as own:
        path = Path(own) / "cell.npz"
        call = [sys.executable, "-c", CELL, name, str(place), device, str(path)]
        told = subprocess.run(
            call, cwd=own, env=os.environ | {"PYTHONPATH": str(library)}, capture_output=True, text=True
        )
        said = (told.stderr.strip().splitlines() or [""])[-1]
        runs.check("beside", str(beside), f"{allowed} ({said})", told.returncode == 0)
        with np.load(path) as stored:
            found = dict(stored)
    runs.check("beside", f"{beside}, with the code {found['code']}", allowed, str(found.pop("code")) == code)
    return found
