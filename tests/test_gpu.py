"""The benchmark of a GPU, on a machine that has none: it says so, it can be rehearsed, and nothing of that is stored."""

import doctest
import math
import os
import subprocess
import sys

import attnflow_speed as page
import pytest
import torch
from pages import ROOT

from attnflow import rooms

FILE = ROOT / "benchmarks" / "gpu.py"
COLUMNS = ("CPU, numba", "GPU, torch", "GPU, graph", "GPU, graph, float32", "GPU, JAX")


def called(*arguments):
    settings = {"cwd": ROOT, "capture_output": True, "text": True, "env": os.environ | {"CUDA_VISIBLE_DEVICES": ""}}
    return subprocess.run([sys.executable, str(FILE), *arguments], **settings)


def test_without_a_gpu_one_line_says_what_is_missing_and_what_would_be_measured():
    done = called()
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "needs a CUDA device" in done.stderr and "; ".join(("S", *COLUMNS)) in done.stderr
    assert page.ON_GPU == COLUMNS


def test_the_page_draws_what_is_stored_and_says_not_run_where_nothing_is():
    assert doctest.testmod(page).failed == 0
    said = page.graphics({}).astext()
    assert said.startswith("Not run: no GPU") and all(name in said for name in COLUMNS)
    where = {
        "date": "a day",
        "gpu": "a name",
        "cuda": "1",
        "torch": "2",
        "platform": "Linux",
        "cores": 4,
        "threads of the CPU": 1,
    }
    rows = [{"model": "A", "width": None, "runs": 4, "way": way, "ms": 0.5, "why": ""} for way in COLUMNS]
    found = page.graphics({"gpu": {"environment": where, "rows": rows, "crossings": ["A: from S = 4 on"]}}).astext()
    assert "Not run" not in found and "a name" in found and "from S = 4 on" in found and found.count("0.5") == 5


def test_a_rehearsal_stores_nothing():
    done = called("--rehearse", "--json", "speed.json")
    assert done.returncode == 2 and "stores nothing" in done.stderr and not (ROOT / "speed.json").exists()


@pytest.mark.slow
def test_the_script_runs_through_in_a_rehearsal_and_every_line_with_a_number_says_what_it_is():
    done = called("--rehearse", "--most", "1")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    heads = [line for line in done.stdout.splitlines() if line[0] != " "]
    assert len(heads) > 4 and all(line.startswith("rehearsal, CPU: ") for line in heads)
    assert sum("twice 0" in line for line in heads) == 4
    cells = next(len(each.tasks()) for each in rooms.room("cooccurrence").sweeps if each.name == "phase_diagram")
    assert f"phase_diagram-fine: 3 cells, {cells} in the chapter" in done.stdout
    assert all(name in done.stdout for name in COLUMNS)
    assert not (ROOT / "results" / "gpu").exists()


def test_what_crosses_is_the_stack_from_which_on_all_are_faster(monkeypatch):
    monkeypatch.syspath_prepend(str(FILE.parent))
    monkeypatch.setattr(sys, "argv", [str(FILE)])
    import gpu

    def rows(graph, other):
        return [
            {"runs": 4**place, "way": way, "ms": each}
            for way, times in ((gpu.GRAPH, graph), (gpu.HOME, other))
            for place, each in enumerate(times)
        ]

    cases = {
        ((3.0, 2.0, 0.5, 0.1), (1.0,) * 4): "from S = 16 on",
        ((0.5, 2.0, 0.5, None), (1.0,) * 4): "from S = 16 on",
        ((3.0, 2.0, 2.0, 2.0), (1.0,) * 4): "not up to S = 64",
        ((0.5, 0.5, 0.5, 0.5), (1.0,) * 4): "from S = 1 on",
        ((0.5, 0.5, 0.5, 0.5), (None,) * 4): "absent",
    }
    for times, told in cases.items():
        assert gpu.crossing(rows(*times), gpu.HOME).endswith(told)
    tables = {table.name: table for room in rooms.rooms().values() for table in room.sweeps}
    for name, finer in gpu.FINE.items():
        assert math.prod(map(len, finer.values())) >= 10 * len(tables[name].tasks())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: what this asks has been seen nowhere yet")
def test_cpu_and_gpu_agree_from_the_same_seeds():
    done = subprocess.run([sys.executable, str(FILE), "--most", "1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
