"""Where mutants live: copies of the tree, and one forked process a job, so that torch and sympy are imported once.

A job is a function and, perhaps, the text of one changed file. Its process sees the library of its copy alone; the file is put
back when the process has ended, whatever it came to. The tree itself is never written to.
"""

import importlib
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (
    ".git",
    ".venv",
    ".venv-grading",
    "_build",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    "runs",
)
HEAVY = (
    "torch",
    "torch.func",
    "sympy",
    "scipy.integrate",
    "scipy.optimize",
    "scipy.stats",
    "matplotlib.pyplot",
    "joblib",
)
HEAVY += ("sklearn.datasets", "pytest", "threadpoolctl", "docutils.nodes", "sphinx.util.docutils")
FORK = get_context("fork")


@dataclass(frozen=True)
class Job:
    """What one process does. name: what it is known by; call: returns plain data; file, text: the change, if any."""

    name: str
    call: Callable
    file: str = ""
    text: str = ""


def copies(folder: Path, count: int) -> list[Path]:
    """``count`` copies of the tree in a ``folder``."""
    places = [folder / str(place) for place in range(count)]
    for place in places:
        shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return places


def warm() -> None:
    """Import what all jobs need and nothing of the library: a mutant has to be seen by a fresh import."""
    for name in HEAVY:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    sys.modules["matplotlib"].use("Agg")
    assert "attnflow" not in sys.modules


def run(jobs: list[Job], places: list[Path], seconds: float, done: Callable) -> None:
    """Run all ``jobs``, one process a place; a job that takes longer than ``seconds`` is ended.

    places: the copies; done: called as (job, answer, time used) when a job has ended. The answer is what its call returned, or
    a text that says why it returned nothing.
    """
    waiting, free, busy = deque(jobs), list(places), {}
    while waiting or busy:
        while waiting and free:
            reader, entry = _start(waiting.popleft(), free.pop())
            busy[reader] = entry
        nearest = min(began for *_, began in busy.values()) + seconds - time.monotonic()
        ready = connection.wait(list(busy), timeout=max(nearest, 0.0))
        late = [reader for reader, entry in busy.items() if time.monotonic() - entry[-1] > seconds]
        for reader in {*ready, *late}:
            job, place, process, began = busy.pop(reader)
            answer = _answer(reader) if reader in ready else f"it took longer than {seconds:.0f} s"
            _end(process)
            if job.file:
                shutil.copyfile(ROOT / job.file, place / job.file)
            free.append(place)
            done(job, answer, time.monotonic() - began)


def _start(job, place):
    """Fork a process for a job. Returns the end of a pipe, and (job, place, process, when it began)."""
    if job.file:
        (place / job.file).write_text(job.text, encoding="utf-8")
    reader, writer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_child, args=(job.call, place, writer))
    process.start()
    writer.close()  # the child holds the only other end, so that its death is seen
    return reader, (job, place, process, time.monotonic())


def _child(call, place, writer):
    """What the process does: see the copy alone, be silent, call, tell."""
    os.setsid()
    os.chdir(place)
    own = {str(ROOT / part) for part in ("lib", "tests", "tests/mutants")}
    sys.path[:] = [str(place / "lib"), *(entry for entry in sys.path if entry not in own)]
    vars(sys.modules["__main__"]).pop("__file__", None)  # processes of joblib would run the runner once more
    sys.dont_write_bytecode = True
    os.environ |= {
        "PYTHONPATH": str(place / "lib"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        answer = call()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    writer.send(answer)
    writer.close()
    os._exit(0)


def _answer(reader):
    """What a process told before it ended."""
    try:
        return reader.recv()
    except EOFError:
        return "its process died"


def _end(process):
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.join()
