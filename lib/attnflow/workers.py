"""Workers of a sweep: where they are, and what one does: it tries a task, says how one failed, and ends with its parent."""

import importlib.util
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import joblib
import torch

from attnflow import flow, runs, store
from attnflow.inputs import BACKENDS

POLL = 0.5  # seconds between two looks for the parent
SHOWN = 3  # failed tasks that an error names


def known(backend: str) -> None:
    """Check that a ``backend`` is "dask", or one of joblib by name. Raises WrongUse for another, and for dask that is absent."""
    runs.choice("backend", backend, dict.fromkeys((*BACKENDS, *joblib.parallel.BACKENDS)))
    absent = backend == "dask" and importlib.util.find_spec("distributed") is None
    runs.check("backend", backend, "another: dask is not installed, which attnflow[cluster] brings", not absent)


def finished(
    calls: Sequence[tuple], jobs: int, backend: str, scheduler: str | None = None
) -> Iterator[tuple[int, "dict | Failed"]]:
    """What :func:`attempt` returns for each of the ``calls``, its arguments: (place, arrays or how it failed), as they come.

    jobs: processes or threads; backend: as :func:`known` has it; scheduler: the address of one of dask, in place of ``jobs``.
    """
    if backend == "dask" and calls:
        from attnflow import cluster  # here, since dask takes a second to import and may be absent

        yield from cluster.finished(calls, jobs, scheduler)
    elif calls:
        with joblib.parallel_config(backend=backend, **settings(backend)):
            made = joblib.Parallel(n_jobs=jobs, return_as="generator")(joblib.delayed(attempt)(*call) for call in calls)
            yield from enumerate(made)


@dataclass(frozen=True)
class Failed:
    """A task that raised, in words: not every exception passes from one process to another. line: what; trace: and where."""

    line: str
    trace: str


def attempt(
    task: Callable, sweep: object, settings: dict, folder: Path, where: torch.device, engine: str
) -> dict | Failed:
    """The arrays of a ``task`` of a ``sweep`` with some ``settings`` on ``where``, its files in ``folder``, or how it failed.

    engine: of :func:`attnflow.flow.asked`, which a process of its own has not heard of.
    """
    try:
        with flow.asked(engine):
            return store.done(folder, task(sweep, settings, where))
    except (Exception, SystemExit) as error:
        return replace(lost(error), trace=traceback.format_exc())


def lost(error: BaseException) -> Failed:
    """How a task failed that ended its process: the ``error`` says how often it was tried."""
    return Failed(" ".join(f"{type(error).__name__}: {error}".split()), "")


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
