"""What a worker of a sweep does: it tries a task, says how one failed, and ends with the process that it works for."""

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import torch

from attnflow import runs, store

POLL = 0.5  # seconds between two looks for the parent
SHOWN = 3  # failed tasks that an error names


@dataclass(frozen=True)
class Failed:
    """A task that raised, in words: not every exception passes from one process to another. line: what; trace: and where."""

    line: str
    trace: str


def attempt(task: Callable, sweep: object, settings: dict, folder: Path, where: torch.device) -> dict | Failed:
    """The arrays of a ``task`` of a ``sweep`` with some ``settings`` on ``where``, its files in ``folder``, or how it failed."""
    try:
        return store.done(folder, task(sweep, settings, where))
    except (Exception, SystemExit) as error:
        return Failed(" ".join(f"{type(error).__name__}: {error}".split()), traceback.format_exc())


def failure(name: str, tasks: list[dict], failed: dict[int, Failed]) -> runs.TasksFailed:
    """The error of a sweep called ``name`` in which some of the ``tasks``, their settings, ``failed``: place -> how.

    It is one line; where the first of them failed is a note of it.
    """
    some = [f"{told(tasks[place])}: {each.line}" for place, each in list(failed.items())[:SHOWN]]
    more = [f"and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    error = runs.TasksFailed(
        f"{len(failed)} of {len(tasks)} tasks of {name} failed, the others are stored: {'; '.join(some + more)}"
    )
    error.add_note(next(iter(failed.values())).trace)
    return error


def told(settings: dict) -> str:
    """The ``settings`` of a task in words."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def settings(backend: str) -> dict:
    """What a joblib ``backend`` is told, where it has processes of this machine: their threads, and to call :func:`bound`."""
    limit = {"inner_max_num_threads": 1} if backend == "loky" else {}
    ours = backend in ("loky", "multiprocessing")
    return limit | ({"initializer": bound, "initargs": (os.getpid(),)} if ours else {})


def bound(parent: int) -> None:
    """Let this process, a worker of the process ``parent``, end within a second or so of it; called once, as it starts.

    A thread looks; it needs the interpreter, so a call into compiled code that never lets go of that delays it.
    """
    own = multiprocessing.parent_process()
    if own is not None and own.pid == parent:
        threading.Thread(target=_follow, args=(own,), name="bound", daemon=True).start()


def _follow(parent):
    """Wait for the end of a parent and leave at once: nobody is left to hear of it, and every file is whole or absent."""
    if os.name == "nt":
        wait([parent.sentinel])  # Windows keeps the number of a parent that has ended
    while os.name != "nt" and os.getppid() == parent.pid:
        time.sleep(POLL)
    os._exit(1)
