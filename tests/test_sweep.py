"""Sweeps: order, threads, whole files, reruns that repeat only what is missing, and tables that say what made them."""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch
from conftest import refusal

from attnflow import rooms, sweep, threads

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


def test_a_rerun_loads_what_is_whole_and_repeats_the_rest(tmp_path):
    values(TABLE, tmp_path)
    files = sorted(tmp_path.iterdir())
    broken = [files[0].read_bytes()[:50], b"", bytearray(files[2].read_bytes()), files[4].read_bytes()]
    broken[2][len(broken[2]) // 2] ^= 255
    for path, content in zip(files, broken, strict=False):
        path.write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(files) == 6 and values(TABLE, tmp_path) == VALUES
    assert [path.stat().st_mtime_ns != before[path] for path in files] == [True] * 4 + [False] * 2
    assert sorted(tmp_path.iterdir()) == files


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


def test_every_stored_sweep_has_a_room():
    results = Path(__file__).resolve().parent.parent / "results"
    assert sorted(path.stem for path in results.glob("*/*.npz")) == sorted(table.name for table in SWEEPS)
