"""Sweeps: order, threads, whole files, reruns that repeat only what is missing, and tables that say what made them."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch
from conftest import refusal

from attnflow import files, rooms, runs, sweep, threads, workers

CPU = torch.device("cpu")
ALONE = {"backend": "sequential", "progress": False}
SWEEPS = [table for room in rooms.rooms().values() for table in room.sweeps]


def square(device, x, seed):
    """One task of the test sweep, with the size of every pool of threads that it could use."""
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return {
        "value": np.array([x**2 + seed]),
        "threads": torch.tensor([torch.get_num_threads(), min(pools), max(pools)]),
    }


def cube(device, x, seed):
    """Other numbers."""
    return square(device, x, seed) | {"value": np.array([x**3 + seed])}


TABLE = sweep.Sweep("squares", "squares of numbers", square, {"x": (1, 2, 3), "seed": (0, 10)})
VALUES = [1, 11, 4, 14, 9, 19]


def values(table, folder, **settings):
    return [int(one["value"][0]) for one in sweep.run(table, folder, **ALONE | settings)]


@pytest.fixture
def two_threads():
    """A parent with two threads, as far as torch knows."""
    held = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(held)


@pytest.mark.parametrize(("backend", "jobs"), [("sequential", 1), ("threading", 2), ("loky", 2)])
def test_tasks_come_in_order_and_have_one_thread_whatever_their_parent_has(tmp_path, two_threads, backend, jobs):
    with threadpoolctl.threadpool_limits(2):
        found = sweep.run(TABLE, tmp_path, jobs=jobs, backend=backend, progress=False)
        assert torch.get_num_threads() == 2 == max(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
    assert [int(one["value"][0]) for one in found] == VALUES
    assert [one["threads"].tolist() for one in found] == [[1, 1, 1]] * 6


def test_without_threadpoolctl_one_line_says_so_and_torch_has_one_thread(tmp_path, two_threads, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    threads._pools.cache_clear()  # an earlier test has found them
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        found = sweep.run(TABLE, tmp_path, **ALONE)
    assert [one["threads"][0] for one in found] == [1] * 6 and torch.get_num_threads() == 2
    assert [str(one.message) for one in caught] == ["threadpoolctl is absent: torch is held to 1 thread, numpy is not"]


def test_two_threads_are_two_inside_and_what_was_before_outside():
    before = torch.get_num_threads()
    with threads.held(2):
        assert square(CPU, 1, 0)["threads"].tolist()[0] == 2
    assert torch.get_num_threads() == before and "count = 0" in refusal(threads.held(0).__enter__)


def test_a_rerun_loads_what_is_whole_repeats_the_rest_and_says_how_many_of_each(tmp_path, capfd):
    values(TABLE, tmp_path)
    assert capfd.readouterr().err == "", "nothing was in the way"
    paths = sorted(tmp_path.iterdir())
    first, *_, last = contents = [path.read_bytes() for path in paths]
    broken = [first[:50], b"", bytearray(contents[2]), last, b"a text", None]
    broken[2][len(broken[2]) // 2] ^= 255
    for path, content in zip(paths, broken, strict=True):
        path.unlink() if content is None else path.write_bytes(content)
    paths[5].mkdir()
    (paths[5] / "mine").write_text("kept")
    assert values(TABLE, tmp_path) == VALUES
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("so repeated: 1 directory (moved aside), 2 foreign, 3 incomplete") and str(tmp_path) in line
    assert [path.read_bytes() for path in paths] == contents, "bit for bit"
    assert (tmp_path / f"{paths[5].name}.aside-1" / "mine").read_text() == "kept"
    np.save(tmp_path / "x.npy", np.ones(2))
    os.replace(tmp_path / "x.npy", paths[0])
    np.savez(paths[1], value=np.ones(1))
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert values(TABLE, tmp_path) == VALUES
    assert capfd.readouterr().err.endswith("repeated: 1 .npy, 1 foreign\n")
    assert [path.stat().st_mtime_ns != before[path] for path in paths] == [True] * 2 + [False] * 4


def test_no_bytes_in_place_of_a_file_stop_a_run(tmp_path):
    path = tmp_path / "x.npz"
    files.write_arrays(path, {"file": np.arange(3), "b": np.array("text")}, b"its own")
    data = path.read_bytes()
    with np.load(path) as plain:
        assert plain["file"].tolist() == [0, 1, 2] and plain["b"] == "text"
    found = Counter()
    for place in range(len(data)):
        for changed in (data[:place], data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]):
            path.write_bytes(changed)
            arrays, fault = files.whole(path, b"its own")
            same = arrays is not None and arrays.keys() == {"file", "b"} and arrays["file"].tolist() == [0, 1, 2]
            assert same or fault in ("foreign", "incomplete", ".npy"), (place, fault, arrays)
            found[fault] += 1
    assert found["incomplete"] > len(data) and found["foreign"] > 5


def test_a_rerun_hands_nothing_to_workers_and_the_code_is_read_once(tmp_path, monkeypatch):
    """Ten thousand tasks that do nothing were seen to take over two minutes, and half a minute to be loaded again."""
    calls, bare, scan = [], sweep.stamp.bare, threadpoolctl.ThreadpoolController
    monkeypatch.setattr(sweep.stamp, "bare", lambda text: calls.append("source") or bare(text))
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", lambda: calls.append("pools") or scan())
    threads._pools.cache_clear()
    table = sweep.Sweep("many", "a hundred tasks", fragile, {"x": range(3, 103)}, {"kind": "none"})
    first = sweep.run(table, tmp_path, **ALONE)
    assert calls.count("source") == 1 and 1 <= calls.count("pools") <= 5, "a scan takes milliseconds"
    monkeypatch.setattr(workers.joblib, "Parallel", None)
    assert sweep.run(table, tmp_path, jobs=2, progress=False) == first and first[-1] == {"a": 102}


def test_sweeps_in_one_folder_do_not_take_each_others_numbers(tmp_path):
    other = replace(TABLE, function=cube)
    assert (values(TABLE, tmp_path), values(other, tmp_path)) == (VALUES, [1, 11, 8, 18, 27, 37])
    assert values(replace(TABLE, name="more"), tmp_path) == VALUES and len(list(tmp_path.iterdir())) == 18
    one, cuda = (TABLE.identity(TABLE.tasks()[0], torch.device(name)) for name in ("cpu", "cuda:1"))
    assert one | {"device": "cuda"} == cuda and one["settings"] == {"x": 1, "seed": 0}


def test_a_reworded_function_is_the_same_and_a_changed_one_is_not(tmp_path):
    texts = [
        "def f(device, x):\n    return {'value': [x]}\n",
        "def f(device, x):  # the same\n    return {'value': [x]}\n",
    ]
    found = []
    for place, text in enumerate([*texts, texts[0].replace("[x]", "[x + 1]")]):
        path, space = tmp_path / f"{place}.py", {"__name__": "here"}
        path.write_text(text)
        exec(compile(text, path, "exec"), space)
        found.append(sweep.Sweep("s", "s", space["f"], {"x": (1,)}).identity({"x": 1}, CPU))
    assert found[0] == found[1] != found[2] and all(found[0][key] != found[2][key] for key in ("function", "code"))


def test_a_stored_table_is_found_from_anywhere_and_says_what_made_it(results, tmp_path, monkeypatch):
    found = sweep.run(TABLE, tmp_path / "runs", **ALONE)
    for name, single in (("squares", False), ("singles", True)):
        sweep.keep(replace(TABLE, name=name, single=single), found, results / "room", "cpu")
    arrays, provenance = sweep.kept("squares")
    assert arrays["value"].shape == (3, 2, 1) and arrays["value"].reshape(-1).tolist() == VALUES
    assert provenance["axes"] == {"x": [1, 2, 3], "seed": [0, 10]} and provenance["code"] == TABLE.code
    assert provenance["environment"]["device"] == "cpu" and provenance["adopted"] == []
    assert {each.dtype for each in sweep.kept("singles")[0].values()} == {np.dtype("float32")}
    monkeypatch.chdir(results.parent.parent)
    assert "that of a sweep stored in" in refusal(lambda: sweep.kept("squares"))
    uneven = [{"value": np.zeros(1)}] * 5 + [{"value": np.zeros(2)}]
    assert "of one shape" in refusal(lambda: sweep.keep(TABLE, uneven, tmp_path))
    assert "jobs = 0" in refusal(lambda: sweep.run(TABLE, tmp_path, jobs=0))


AXES = [np.arange(1, 4), range(1, 4), np.linspace(1, 3, 3), torch.tensor([1.0, 2, 3]), [np.int64(1), np.float32(2), 3]]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes_are_arrays_ranges_and_numbers_of_any_library(results, tmp_path, axis):
    table = replace(TABLE, name="v1.5", axes={"x": axis, "seed": (0, 10)}, probe={"x": np.array([1])})
    found = sweep.run(table, tmp_path / "runs", **ALONE)
    path = sweep.keep(table, found, results / "room")
    assert (path.name, sorted(each.name for each in path.parent.iterdir())) == ("v1.5.npz", ["v1.5.json", "v1.5.npz"])
    assert sweep.kept("v1.5")[1]["axes"] == {"x": [1, 2, 3], "seed": [0, 10]}
    assert sweep.kept("v1.5")[0]["value"].reshape(-1).tolist() == VALUES
    assert all(type(value) in (int, float) for task in table.tasks() for value in task.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"axes": {"x": (1, np.nan)}}, "x = nan"),
        ({"axes": {"x": (1, 2j)}}, "x = 2j"),
        ({"axes": {"x": ({1: 2},)}}, "x = {1: 2}"),
        ({"axes": {"x": (b"1",)}}, "x = b'1'"),
        ({"axes": {"x": np.ones((2, 2))}}, "values of x"),
        ({"axes": {"x": ()}}, "values of x"),
        ({"axes": {"x": "abc"}}, "values of x"),
        ({"axes": {"x": iter([1])}}, "values of x"),
        ({"fixed": {"w": np.ones(2)}}, "w = array"),
        ({"fixed": {"x": 1}}, "settings = ['x']"),
        ({"probe": {"y": (1,)}}, "probe = 'y'"),
        ({"brief": {"steps": object()}}, "steps = "),
        ({"name": "../x"}, "name = "),
        ({"name": "[a]*"}, "name = "),
    ],
)
def test_what_cannot_be_stored_is_refused_before_the_first_task(change, said):
    assert said in refusal(lambda: replace(TABLE, **change))
    assert "whose source" in refusal(lambda: replace(TABLE, function=abs).identity({}, CPU))


def fragile(device, x, kind):
    """A task that fails for some settings."""
    if x == 2 or kind == "all":
        {"all": int, "exit": sys.exit, "none": int}[kind]("no\nnumber")
    bad = {"names": {"a:b": 1}, "objects": {"a": [None]}, "texts": {"a": "text"}}
    return bad.get(kind, {"a": np.array(x)})


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_task_that_raises_names_its_settings_and_the_others_finish(tmp_path, backend):
    table = sweep.Sweep("fragile", "some fail", fragile, {"x": range(1, 6)}, {"kind": "none"})
    said = r"1 of 5 tasks of fragile failed, the others are stored: kind = none, x = 2: ValueError: .*'no\\nnumber'$"
    with pytest.raises(runs.TasksFailed) as caught:
        sweep.run(table, tmp_path, jobs=2, backend=backend, progress=False)
    assert (
        re.fullmatch(said, str(caught.value))
        and "fragile" in caught.value.__notes__[0]
        and len(list(tmp_path.iterdir())) == 4
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("all", "5 of 5 tasks .*x = 1: .*; and 2 more$"),
        ("exit", "1 of 5 tasks .*x = 2: SystemExit: no number$"),
        ("names", "x = 1: WrongUse: names of arrays"),
        ("objects", "x = 1: WrongUse: arrays of objects"),
    ],
)
def test_an_error_of_tasks_is_one_line(tmp_path, kind, said):
    table = sweep.Sweep("fragile", "some fail", fragile, {"x": (1, *range(3, 6)) if kind[-1] == "s" else range(1, 6)})
    with pytest.raises(runs.TasksFailed) as caught:
        sweep.run(replace(table, fixed={"kind": kind}), tmp_path, **ALONE)
    assert re.search(said, str(caught.value)) and len(str(caught.value).splitlines()) == 1


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pair_is_kept_whole_or_not_at_all(results, tmp_path, monkeypatch):
    room, found = results / "room", sweep.run(TABLE, tmp_path / "runs", **ALONE)
    path = sweep.keep(TABLE, found, room, "cpu")
    before, other = tree(room), [{"value": one["value"] + 1} for one in found]
    with pytest.raises(ValueError, match="JSON"):
        sweep.keep(TABLE, other, room, "cpu", more=np.nan)
    assert tree(room) == before
    assert "names of arrays" in refusal(lambda: sweep.keep(TABLE, [*found[1:], {"a": 1}], room))
    assert "tasks = 5" in refusal(lambda: sweep.keep(TABLE, found[1:], room))
    renamed = os.replace

    def second(one, target):
        if str(target).endswith(".json"):
            raise OSError("no disk")
        renamed(one, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second)
        for name, table in (("old", TABLE), ("new", replace(TABLE, name="fresh"))):
            with pytest.raises(OSError, match="no disk"):
                sweep.keep(table, other, room, "cpu")
            assert tree(room) == before, name
    files.write_arrays(path, other[0])
    assert "sha256 of squares.npz" in refusal(lambda: sweep.kept("squares")), "a kill between the two renames"
    path.write_bytes(before[path.name])
    made = json.loads(before["squares.json"])
    del made["sha256"]
    files.write_json(path.with_suffix(".json"), made)
    assert sweep.kept("squares")[1] == made, "those that were stored before there was one"


def test_where_a_sweep_is_to_be_kept_is_checked_before_it_runs(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "room" / "squares.json").mkdir(parents=True)
    assert "a regular file that can be written" in refusal(lambda: sweep.keepable(TABLE, tmp_path / "room"))
    for folder in ("file", "file/room"):
        assert "a folder that can be written" in refusal(lambda folder=folder: sweep.keepable(TABLE, tmp_path / folder))
        assert "a folder that can be" in refusal(lambda folder=folder: sweep.run(TABLE, tmp_path / folder, **ALONE))
    assert sweep.keepable(TABLE, tmp_path / "new" / "room") == tmp_path / "new" / "room" / "squares.npz"
    assert not (tmp_path / "new").exists()


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    own, path = os.getpid(), tmp_path / "x.npz"
    made = {}
    for name, machine, process, age in [
        ("living", files.machine(), own, 0),
        ("dead", files.machine(), child.pid, 0),
        ("elsewhere", "0" * 12, child.pid, 3600),
        ("elsewhere, old", "0" * 12, child.pid, 2 * files.DAY),
    ]:
        monkeypatch.setattr(files, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        made[name] = files.beside(path)
        made[name].write_text("")
        os.utime(made[name], (time.time() - age,) * 2)
        monkeypatch.undo()
    (tmp_path / ".mine.tmp").write_text("")
    values(replace(TABLE, axes={"x": (1,), "seed": (0,)}), tmp_path)
    assert [name for name, path in made.items() if path.exists()] == ["living", "elsewhere"]
    assert (tmp_path / ".mine.tmp").exists()
    assert len({files.beside(path) for _ in range(3)}) == 3, "no two writers have one name"


def test_two_machines_have_two_names(monkeypatch):
    here = files.machine()
    files.machine.cache_clear()
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    there = files.machine()
    monkeypatch.undo()
    files.machine.cache_clear()
    assert here != there and files.machine() == here


SLOW = """
import sys, time
import numpy as np
from attnflow import sweep

def slow(device, x):
    time.sleep(0 if x < 3 else 600 * sleeping)
    return {"value": np.array([x, 0.1 * x])}

sleeping = len(sys.argv) > 1
TABLE = sweep.Sweep("slow", "tasks that last", slow, {"x": range(6)})
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_workers_end_with_their_parent_and_nothing_is_lost(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    killed = {signal.SIGTERM: None, signal.SIGKILL: None}
    for end in killed:
        code = "import slow; slow.sweep.run(slow.TABLE, slow.sys.argv[1], jobs=2, progress=False)"
        command = [sys.executable, "-c", code, end.name]
        killed[end] = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for end, parent in killed.items():
        folder = tmp_path / end.name
        while len(list(folder.glob("*.npz"))) < 3 and parent.poll() is None:
            time.sleep(0.05)
        parent.send_signal(end)
        began = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            parent.communicate(timeout=20)  # returns once nobody holds its end of the pipes
        assert time.monotonic() - began < 5 and parent.returncode == -end
    space = {"__name__": "slow"}
    exec(compile(SLOW.replace("len(sys.argv) > 1", "False"), script, "exec"), space)
    whole = tree_of(space["TABLE"], tmp_path / "whole")
    for end in killed:
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / end.name).glob("*.npz")}
        assert tree_of(space["TABLE"], tmp_path / end.name) == whole and len(whole) == 6
        after = {name: (tmp_path / end.name / name).stat().st_mtime_ns for name in before}
        assert after == before and len(before) == 3, "nothing was repeated"


def tree_of(table, folder):
    sweep.run(table, folder, **ALONE)
    return tree(folder)


def test_every_stored_sweep_has_a_room():
    results = Path(__file__).resolve().parent.parent / "results"
    assert sorted(path.stem for path in results.glob("*/*.npz")) == sorted(table.name for table in SWEEPS)
