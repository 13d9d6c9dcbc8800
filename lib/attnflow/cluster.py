"""A sweep on a cluster: its tasks go to the workers of a dask scheduler, on this machine or on many.

Every worker is looked at before it gets a task: it has the code that the sweep was asked for with, it sees the folder of its
files, and its pools have one thread. A worker that dies loses the task that it had, which another one repeats.
This module needs dask; without it nothing here is imported, and all other backends work.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed

from attnflow import files, runs, stamp, threads, workers

PATIENCE = 10  # seconds in which a scheduler must answer
# A cluster of this machine alone: no other hears it, ports are free ones, without a dashboard the port is that of its health.
LOCAL = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
LOCAL |= {"silence_logs": logging.CRITICAL}


class Ready(distributed.WorkerPlugin):
    """What a worker must be to take tasks, found out as it joins; one that is not is refused, with a RuntimeError.

    code: the hash of the code of a ``module`` where the sweep was asked for, None for functions that travel with their tasks;
    mark: a file that is there as long as the sweep runs.
    """

    name = "attnflow"

    def __init__(self, module: str, code: str | None, mark: Path):
        self.module, self.code, self.mark, self.limits = module, code, mark, ExitStack()

    def setup(self, worker: distributed.Worker):
        """Look at a ``worker``, and hold it to one thread a pool as long as it lives."""
        own = self.code and stamp.code([self.module])
        if own != self.code:
            raise RuntimeError(f"the worker {worker.address} has other code of {self.module}: {own}, not {self.code}")
        if not self.mark.exists():
            raise RuntimeError(f"the worker {worker.address} does not see the folder {self.mark.parent}")
        self.limits.enter_context(threads.held())

    def teardown(self, worker: distributed.Worker):
        """Let a ``worker`` have the threads that it had."""
        self.limits.close()

    def __reduce__(self):
        return type(self), (self.module, self.code, self.mark)


def finished(calls: Sequence[tuple], jobs: int, scheduler: str | None) -> Iterator[tuple[int, object]]:
    """What :func:`attnflow.workers.attempt` returns for each of the ``calls``, when it does: (place, arrays or Failed).

    calls: its arguments, all of one sweep and folder; jobs: workers of a cluster of this machine, which ends with the calls;
    scheduler: the address of another, in its place. Raises WrongUse where that does not answer, or a worker is not ready.
    """
    _, table, _, folder, _, _ = calls[0]
    module = table.function.__module__
    with _client(jobs, scheduler) as client, _mark(folder) as mark:
        plugin = Ready(module, table.code if module.startswith("attnflow") else None, mark)
        try:
            client.register_plugin(plugin)
        except Exception as error:  # what a worker raised, of any kind
            said = " ".join(f"{error or type(error).__name__}".split())
            runs.check("scheduler", client.scheduler.address, f"one whose workers are like this process: {said}", False)
        try:
            yield from _attempted(client, calls)
        finally:
            client.unregister_worker_plugin(plugin.name)


def _attempted(client, calls):
    """The same with a ``client`` whose workers are ready."""
    futures = {client.submit(workers.attempt, *call, pure=False): place for place, call in enumerate(calls)}
    lost = []
    for future in distributed.as_completed(list(futures), loop=client.loop):
        place = futures.pop(future)
        if future.status == "finished":
            yield place, future.result()
        else:
            lost.append(place)
    # Whoever waited beside a task that ends its workers counts as suspect with it, so each is tried once more, alone.
    for place in lost:
        future = client.submit(workers.attempt, *calls[place], pure=False)
        error = future.exception()
        yield place, future.result() if error is None else workers.lost(error)


@contextmanager
def _client(jobs, scheduler):
    """A client of the ``scheduler`` at that address, or of a cluster of this machine with so many workers."""
    if scheduler is None:
        with (
            distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, **LOCAL) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # nobody there, or no address
        said = " ".join(str(error).split())
        runs.check("scheduler", scheduler, f"the address of a dask scheduler that answers: {said}", False)
    with client:
        yield client


@contextmanager
def _mark(folder):
    """A file in a ``folder`` that nobody can know who does not see that folder; :func:`attnflow.files.tidy` knows it."""
    path = files.beside(Path(folder).resolve() / "sweep")
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
