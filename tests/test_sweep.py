"""Sweeps: order, atomic files, and reruns that repeat only what is missing."""

import os

import numpy as np
import pytest

from attnflow import sweep


def square(device, x, seed):
    """One task of the test sweep."""
    return {"value": np.array([x**2 + seed]), "threads": np.array([int(os.environ["OMP_NUM_THREADS"])])}


TABLE = sweep.Sweep("squares", "squares of numbers", square, {"x": (1, 2, 3), "seed": (0, 10)})
VALUES = [1, 11, 4, 14, 9, 19]


@pytest.mark.parametrize(("backend", "jobs"), [("sequential", 1), ("loky", 2), ("threading", 2)])
def test_results_come_in_the_order_of_the_table(tmp_path, backend, jobs):
    found = sweep.run(TABLE, tmp_path, jobs=jobs, backend=backend, progress=False)
    assert [int(one["value"][0]) for one in found] == VALUES
    assert {int(one["threads"][0]) for one in found} == {1}


def test_a_rerun_loads_what_is_whole_and_repeats_the_rest(tmp_path):
    sweep.run(TABLE, tmp_path, backend="sequential", progress=False)
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 6 and list(tmp_path.iterdir()).__len__() == 6
    files[0].write_bytes(files[0].read_bytes()[:50])
    before = {path: path.stat().st_mtime_ns for path in files}
    found = sweep.run(TABLE, tmp_path, backend="sequential", progress=False)
    assert [int(one["value"][0]) for one in found] == VALUES
    assert [path for path in files if path.stat().st_mtime_ns != before[path]] == [files[0]]


def test_environment_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    sweep.run(TABLE, tmp_path, backend="sequential", progress=False)
    assert os.environ["OMP_NUM_THREADS"] == "2" and "MKL_NUM_THREADS" not in os.environ


def test_jobs_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="jobs = 0"):
        sweep.run(TABLE, tmp_path, jobs=0)
