"""What made a number: versions, machine, date, and one hash of the code that it comes from.

The hash of a module is over its syntax tree and those of all modules of the library that it imports, without comments,
docstrings, annotations and ``door.takes``: rewording costs nothing, nor does what a function refuses, which no number comes
from; and a change in a room that is not imported is not seen.
"""

import ast
import datetime
import hashlib
import importlib.util
import os
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch

from attnflow import door, runs

PACKAGE = Path(__file__).parent


def library() -> tuple[str, ...]:
    """Names of all modules of the library, in the order of the alphabet."""
    paths = sorted(PACKAGE.rglob("*.py"))
    parts = [("attnflow", *path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]
    return tuple(".".join(part for part in each if part != "__init__") for each in parts)


@door.takes(modules=door.several(door.TEXT))
def code(modules: Iterable[str]) -> str:
    """A short hash of ``modules``, by name, with all that they import of the library.

    >>> code(["attnflow.curves"]) == code(["attnflow.curves", "attnflow.runs"])
    True
    """
    wanted, seen = list(modules), {}
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen[name], imported = _read(name)
            wanted += imported
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@door.takes(source=door.TEXT)
def bare(source: str) -> str:
    """What counts of a ``source`` text: its syntax tree without comments, docstrings, annotations and ``door.takes``, as text.

    >>> bare("x: int = 1  # one") == bare("x: 'a number' = 1")
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            node.decorator_list = [one for one in node.decorator_list if not _told(one)]
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return _written(tree)


def _told(decorator):
    """Whether a decorator says what a function takes."""
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "door.takes"


def _written(node):
    """A syntax tree as text, without what is empty: ``ast.dump`` differs from one version of Python to the next."""
    if isinstance(node, list):
        return "[" + " ".join(map(_written, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return f"{type(node).__name__}(" + " ".join(f"{name}={_written(value)}" for name, value in parts) + ")"


@door.takes(source=door.TEXT)
def imports(source: str) -> list[str]:
    """Modules of the library that a ``source`` text imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
    return [name for name in names if name.split(".")[0] == "attnflow" and _path(name)]


def _path(name):
    """The file of a module of the library, None for what is no module."""
    stem = PACKAGE.joinpath(*name.split(".")[1:])
    return next((path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()), None)


@cache  # of any size: the library has more modules than lru_cache remembers
def _read(name):
    """Hash of one module alone, and the modules of the library that it imports."""
    found = importlib.util.find_spec(name) if not name.startswith("attnflow") else None
    path = Path(found.origin) if found and found.origin else _path(name)
    runs.check("module", name, "a module that can be found", path is not None)
    source = path.read_text(encoding="utf-8")
    needed = [each for each in imports(source) if not f"{each}.".startswith("attnflow.door.")]
    return hashlib.sha256(bare(source).encode()).hexdigest(), needed


@door.takes(where=door.DEVICE)
def environment(where: torch.device | str | None = None) -> dict:
    """What a stored number needs beside it: versions, machine, the device ``where`` it was made, threads, code and date."""
    import sympy

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sympy": sympy.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(where or runs.device("cpu")),
        "code": code(library()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


@door.takes(where=door.DEVICE)
def line(where: torch.device | str | None = None) -> str:
    """The environment of a run on ``where`` as one line of text, for the foot of a chapter."""
    return ", ".join(f"{name} {value}" for name, value in environment(where).items())
