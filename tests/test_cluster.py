"""Sweeps on dask, loopback only: workers and clients are killed, files broken, folders shared, and nothing is lost or other."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import distributed
import numpy as np
import pytest
import slowly
from conftest import refusal
from test_sweep import TABLE, VALUES, fragile, values

from attnflow import cluster, runs, sweep, workers

MOMENTS = int(os.environ.get("MOMENTS", 3))  # at which a client is killed
HERE = Path(__file__).parent
DASK = {"backend": "dask", "progress": False}
CLIENT = [sys.executable, "-c", "import slowly, sys; slowly.client(*sys.argv[1:])"]


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers of two threads each, started as somebody else would start them."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, **cluster.LOCAL) as theirs:
        yield theirs.scheduler_address


@pytest.fixture
def places(tmp_path):
    """A folder for the files of a table, one for the numbers of its processes, and the table."""
    pids = tmp_path / "pids"
    pids.mkdir()
    return tmp_path / "runs", pids, slowly.table(pids)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(found, wanted):
    return all(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        for one, other in zip(found, wanted, strict=True)
    )


@contextmanager
def client(*words):
    """A client as a process of its own."""
    settings = {"cwd": HERE, "start_new_session": True, "stderr": subprocess.PIPE}
    with subprocess.Popen([*CLIENT, *map(str, words)], **settings) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def waited(condition, seconds=60):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


def test_tasks_on_dask_are_those_of_one_process_with_one_thread_each(tmp_path, scheduler):
    """To the bit, in the order of the table, on workers that have two threads and would use them."""
    alone = sweep.run(TABLE, tmp_path / "alone", backend="sequential", progress=False)
    for name, settings in (("own", {"jobs": 2}), ("theirs", {"scheduler": scheduler})):
        found = sweep.run(TABLE, tmp_path / name, **DASK, **settings)
        assert [int(one["value"][0]) for one in found] == VALUES and same(found, alone)
        assert [one["threads"].tolist() for one in found] == [[1, 1, 1]] * 6
        assert contents(tmp_path / name) == contents(tmp_path / "alone")


def test_garbage_is_repeated_and_what_is_whole_is_not(tmp_path, scheduler, capfd):
    values(TABLE, tmp_path)
    before, (first, second, *rest) = contents(tmp_path), sorted(tmp_path.iterdir())
    first.write_bytes(b"garbage")
    second.write_bytes(second.read_bytes()[:-7])
    stamps = [path.stat().st_mtime_ns for path in rest]
    assert values(TABLE, tmp_path, **DASK, scheduler=scheduler) == VALUES
    assert contents(tmp_path) == before and [path.stat().st_mtime_ns for path in rest] == stamps
    assert capfd.readouterr().err.endswith("repeated: 2 foreign\n")


def test_two_workers_that_are_killed_lose_nothing(places):
    """One after the other, each as soon as it has begun: what is left is done by a third."""
    folder, pids, table = places
    dead = []

    def others():
        return [number for number in (int(path.name) for path in pids.iterdir()) if number not in dead]

    with client(12, folder, "dask") as process:
        for _ in range(2):
            dead += waited(others)[:1]
            os.kill(dead[-1], signal.SIGKILL)
        assert process.pid not in dead and process.wait(120) == 0
    there = contents(folder)
    alone = sweep.run(table, folder.with_name("alone"), backend="sequential", progress=False)
    assert len(there) == 12 and there == contents(folder.with_name("alone"))
    assert len(list(pids.iterdir())) >= 4, "the dead, one that went on, and this process"
    assert same(sweep.run(table, folder, **DASK), alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "loky"])
def test_a_client_that_is_killed_leaves_whole_files_and_no_process(places, backend):
    """At random moments, by SIGKILL or Ctrl-C, again and again on one folder: the next run repeats only what is missing."""
    folder, pids, _ = places
    table = slowly.table(pids, 6 * MOMENTS)
    moments, kept = random.Random(backend), {}
    for _ in range(MOMENTS):
        for path in pids.iterdir():
            path.unlink()
        with client(6 * MOMENTS, folder, backend) as process:
            waited(lambda process=process: list(pids.iterdir()) or process.poll() is not None)
            time.sleep(moments.uniform(0, 1))
            process.send_signal(moments.choice([signal.SIGKILL, signal.SIGINT]))  # nothing where the last task is done
            process.wait(60)
        ended = [int(path.name) for path in pids.iterdir()]
        waited(lambda ended=ended: not any(Path(f"/proc/{one}/cmdline").exists() for one in ended))
        whole = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
        assert whole.items() >= kept.items(), "what was finished is neither lost nor repeated"
        kept = whole
    found = sweep.run(table, folder, 2, backend=backend, progress=False)
    again = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    assert 0 < len(kept) and again.items() >= kept.items() and len(again) == 6 * MOMENTS
    assert same(found, sweep.run(table, folder.with_name("alone"), backend="sequential", progress=False))
    assert contents(folder) == contents(folder.with_name("alone")), "temporary files and marks of the dead are gone"


@pytest.mark.slow
def test_two_sweeps_on_one_folder_do_not_disturb_each_other(places):
    folder, _, table = places
    with client(12, folder, "dask") as one, client(12, folder, "loky") as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    sweep.run(table, folder.with_name("alone"), backend="sequential", progress=False)
    assert contents(folder) == contents(folder.with_name("alone"))


def fatal(device, x):
    """A task that ends the process that it is in."""
    if x == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"a": np.array(x)}


@pytest.mark.slow
def test_a_task_that_ends_its_workers_is_named_and_the_others_are_stored(tmp_path):
    table = sweep.Sweep("fatal", "one kills", fatal, {"x": range(4)})
    with pytest.raises(runs.TasksFailed, match=r"1 of 4 tasks of fatal failed, .* x = 1: KilledWorker: .*"):
        sweep.run(table, tmp_path, **DASK)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_task_that_raises_on_dask_is_named_as_elsewhere(tmp_path, scheduler):
    table = sweep.Sweep("fragile", "some fail", fragile, {"x": range(1, 6)}, {"kind": "none"})
    with pytest.raises(runs.TasksFailed) as caught:
        sweep.run(table, tmp_path, **DASK, scheduler=scheduler)
    assert re.search(r"kind = none, x = 2: ValueError: .*'no\\nnumber'$", str(caught.value))
    assert "fragile" in caught.value.__notes__[0] and len(list(tmp_path.iterdir())) == 4


def test_a_worker_with_other_code_or_without_the_folder_gets_no_task(tmp_path, scheduler, monkeypatch):
    own = sweep.Sweep("own", "of the library", workers.told, {"x": (1,)})
    object.__setattr__(own, "code", "0" * 12)
    assert "has other code of attnflow.workers: " in refusal(
        lambda: sweep.run(own, tmp_path, **DASK, scheduler=scheduler)
    )
    marked = cluster._mark

    @contextmanager
    def gone(folder):
        with marked(folder) as path:
            path.unlink()
            yield path

    monkeypatch.setattr(cluster, "_mark", gone)
    assert "does not see the folder" in refusal(lambda: values(TABLE, tmp_path, **DASK, scheduler=scheduler))


def test_wrong_words_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    for address, said in (("127.0.0.1:1", "that answers"), ("nowhere at all", "that answers"), (3, "or an address")):
        assert said in refusal(lambda address=address: values(TABLE, tmp_path, **DASK, scheduler=address))
    assert "beside the backend dask" in refusal(lambda: values(TABLE, tmp_path, scheduler="127.0.0.1:1"))
    assert "one of loky, threading, dask" in refusal(lambda: values(TABLE, tmp_path, backend="ray"))
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    assert "attnflow[cluster]" in refusal(lambda: values(TABLE, tmp_path, **DASK))
