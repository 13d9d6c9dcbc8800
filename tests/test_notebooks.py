"""The stored chapters: they agree with their sources, they are one clean run, and running them again gives the same text."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "notebooks"
SOURCES = sorted((HERE / "src").glob("*.py"))
NAMES = [path.stem for path in SOURCES]
SANITIZE = ROOT / "tests" / "nbval.cfg"

_spec = importlib.util.spec_from_file_location("notebooks_build", HERE / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


def stored(name):
    return nbformat.read(HERE / f"{name}.ipynb", as_version=4)


def code_cells(name):
    return [cell for cell in stored(name).cells if cell.cell_type == "code"]


def texts(name):
    """Every text that a reader sees as output."""
    for cell in code_cells(name):
        for output in cell.outputs:
            if output.output_type == "stream":
                yield output.text
            for kind, content in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield content


def test_each_source_has_its_notebook_and_each_notebook_its_source():
    assert NAMES == sorted(path.stem for path in HERE.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebook_agrees_with_source_and_library(name):
    made_from = build.made_from(HERE / "src" / f"{name}.py")
    assert build.remembered(HERE / f"{name}.ipynb") == made_from, f"run: make notebooks CHAPTER={name}"


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_those_of_the_source(name):
    import jupytext

    source = jupytext.read(HERE / "src" / f"{name}.py", fmt="py:percent")
    assert [cell.source for cell in stored(name).cells] == [cell.source for cell in source.cells]


@pytest.mark.parametrize("name", NAMES)
def test_stored_as_one_clean_run(name):
    cells = code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    streams = [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert streams == [], "a warning or a progress bar was stored"
    assert not [cell for cell in cells if "execution" in cell.metadata], "times of execution were stored"


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_small(name):
    assert (HERE / f"{name}.ipynb").stat().st_size < 1.5e6
    long = [cell.execution_count for cell in code_cells(name) if len(cell.source.splitlines()) > 30]
    assert long == [], "cells of more than 30 lines: the machinery belongs in lib/"


@pytest.mark.parametrize("name", NAMES)
def test_stored_numbers_are_rounded(name):
    """At most three significant digits in outputs, so that another BLAS prints the same."""
    number = re.compile(r"(?<![\w.\-/])\d+\.\d+(?:e[+-]?\d+)?(?![\w.])")
    found = []
    for text in texts(name):
        if re.search(r"<(Figure|svg|div|table)|environment|python \d", text):
            continue
        for match in number.findall(text):
            digits = re.sub(r"e.*", "", match).replace(".", "").lstrip("0")
            if len(digits) > 4:
                found.append(match)
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_figures_have_alternative_text(name):
    for cell in code_cells(name):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            options = cell.metadata.get("mystnb", {}).get("image", {})
            assert options.get("alt"), f"cell {cell.execution_count} draws a figure: give it mystnb.image.alt"


def validate(name, threads):
    """Execute a notebook again and compare its stored text, strictly. Returns the report where it differs."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(threads)) | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(SANITIZE)]
    command += ["-c", os.devnull, "--rootdir", str(HERE), "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-q", "--no-header", str(HERE / f"{name}.ipynb")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    return run.stdout + run.stderr if run.returncode else ""


@pytest.mark.parametrize("name", NAMES)
def test_running_again_gives_the_stored_text_with_one_thread(name):
    assert not (report := validate(name, threads=1)), report


@pytest.mark.alone
@pytest.mark.parametrize("name", NAMES)
def test_running_again_gives_the_stored_text_with_two_threads(name):
    assert not (report := validate(name, threads=2)), report


def test_only_what_changed_is_executed(tmp_path):
    """The hash of a chapter moves with its source, the ground floor and its own room, and with nothing else."""
    library, source = tmp_path / "attnflow", tmp_path / "1_here.py"
    for path in ("flow.py", "__main__.py", "here/model.py", "elsewhere/model.py"):
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        (library / path).write_text("a = 1\n")
    source.write_text("# %%\n")
    before = build.made_from(source, library)
    for path in ("flow.py", "__main__.py", "here/model.py", "elsewhere/model.py"):
        (library / path).write_text("a = 2\n")
        seen = path in ("flow.py", "here/model.py")
        assert (build.made_from(source, library) != before) is seen, path
        (library / path).write_text("a = 1\n")
    (library / "flow.py").write_text("a = 1\r\n", newline="")
    assert build.made_from(source, library) == before, "line endings of another system"
    source.write_text("# %% [markdown]\n")
    assert build.made_from(source, library)["source"] != before["source"]


def test_unknown_chapter_is_one_line(capsys):
    assert build.main(["0_nosuch"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
