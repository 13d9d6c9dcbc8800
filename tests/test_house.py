"""The house: layout, pins, the Makefile, and the words that must not be in the repository."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = ("book", "test", "notebooks", "claims", "check", "bench", "lab", "doctor", "help", "clean")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Places of one machine, and ways of working that are no part of the book.
FORBIDDEN = ("../" + "shared", "/wo" + "rk/", "/tm" + "p/", "/ro" + "ot/", "/ho" + "me/")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files():
    """What the repository holds, as git sees it; all files where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        skip = {".venv", "_build", "__pycache__", ".git", ".ruff_cache", ".pytest_cache"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not skip & set(path.parts)]


def test_rooms_import_the_ground_floor_and_nobody_imports_a_room_but_the_roof():
    library = ROOT / "lib" / "attnflow"
    rooms = {path.parent.name for path in library.glob("*/__init__.py")}
    wrong = []
    for path in library.rglob("*.py"):
        own = path.parent.name if path.parent != library else None
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            parts = [name.split(".") for name in names if name]
            used = {part[1] for part in parts if part[0] == "attnflow" and len(part) > 1} & rooms
            if used - {own} and path.name != "__main__.py":
                wrong.append((path.relative_to(library).as_posix(), sorted(used)))
    assert rooms and wrong == []


def test_nothing_refers_to_a_place_outside():
    found = []
    for path in files():
        if path.suffix in (".woff", ".png", ".npz") or path.name in ("axe.min.js", "tex-mml-chtml.js"):
            continue
        text = path.read_text(encoding="utf-8")
        found += [(path.relative_to(ROOT).as_posix(), word) for word in FORBIDDEN if word in text]
    assert found == []


def test_no_empty_files_and_small_ones():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in files()}
    assert [name for name, size in sizes.items() if size == 0] == []
    assert {name: size for name, size in sizes.items() if size > 2e6} == {}
    stored = {name: size for name, size in sizes.items() if name.startswith("results/")}
    assert all(size < 200_000 for size in stored.values()) and sum(stored.values()) < 5_000_000


def test_requirements_are_exact_and_inside_the_ranges_of_the_package():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[\w.\[\]-]+==[\w.]+", line)] == []
    pins = dict(line.lower().split("==") for line in lines)
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=\[]", need)[0] for need in package["dependencies"]]
    assert sorted(names) == ["joblib", "matplotlib", "numpy", "scipy", "sympy", "torch", "tqdm"]
    assert set(names) <= set(pins)
    assert package["requires-python"] == ">=3.11"


def test_the_environment_is_the_one_that_is_pinned():
    from importlib.metadata import PackageNotFoundError, version

    differing = []
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            name, wanted = line.split("==")
            try:
                found = version(name).split("+")[0]
            except PackageNotFoundError:
                found = "absent"
            if found != wanted:
                differing.append((name, wanted, found))
    assert differing == []


def test_versions_agree():
    import attnflow

    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M).group(1)
    assert attnflow.__version__ == package["version"] == cited


def test_make_help_lists_every_target():
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"make (\w+)  ", listed) == list(TARGETS)
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M).group(1).split()
    assert sorted(phony) == sorted(TARGETS)


def test_readme_names_the_commands_and_its_pictures_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make book" in text and "make test" in text and "https://download.pytorch.org/whl/cpu" in text
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK) and text.rstrip().endswith("make test") and "CI=true" in text


def test_too_old_python_is_one_line(tmp_path):
    """`make book` with an old Python says what it needs, and makes nothing."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1;; *platform*) echo 3.8.10;; esac\n')
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    for python, said in [(old, "needs Python 3.11 or newer"), (tmp_path / "absent", "there is no")]:
        command = ["make", "--no-print-directory", "book", f"PYTHON={python}"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode != 0 and said in run.stdout and not (tmp_path / ".venv").exists()


def test_doctor_needs_nothing_but_python():
    """One line a check, with no site packages at all."""
    doctor = ROOT / "lib" / "attnflow" / "doctor.py"
    run = subprocess.run([sys.executable, "-I", "-S", str(doctor)], capture_output=True, text=True)
    lines = run.stdout.splitlines()
    names = ["python", "venv", "disk", "torch", "threads", "chromium", "bubblewrap"]
    assert [line.split()[0] for line in lines] == names and run.stderr == ""
    assert all(re.match(r"\w+ +(ok|missing) +\S", line) for line in lines)


def test_workers_of_make_test_have_one_thread():
    """Two processes on two cores with a pool of threads each were seen to run a hundred times slower."""
    settings = dict(re.findall(r"(\w+_NUM_THREADS)=(\d+)", re.search(r"^ONE_THREAD := (.*)$", MAKEFILE, re.M).group(1)))
    assert settings == dict.fromkeys(THREADS, "1")
    assert re.search(r"\$\(ONE_THREAD\) \$\(PY\) -m pytest .*-n 2 --dist loadfile", MAKEFILE)
    code = (
        "import json, numpy, scipy.linalg, torch; from threadpoolctl import threadpool_info;"
        "numpy.ones((2, 2)) @ numpy.ones((2, 2));"
        "print(json.dumps([torch.get_num_threads()] + [pool['num_threads'] for pool in threadpool_info()]))"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    counts = json.loads(run.stdout)
    assert len(counts) > 1 and set(counts) == {1}


def test_this_worker_has_one_thread():
    """The same, seen from inside: pytest was started with -n 2."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("not a worker: pytest was started without -n")
    import numpy
    from threadpoolctl import threadpool_info

    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_comparison_with_the_book_compares_verdicts():
    compare = load(Path("book/compare.py"))
    claim = {"id": "a.b", "measured": [1.0, 2.0], "holds": True, "control_fails": True}
    rows, differing = compare.compare({"claims": [claim]}, {"claims": [claim | {"measured": [1.0, 2.5]}]})
    assert differing == 0 and rows[1] == ("a.b", "1 .. 2", "1 .. 2.5", "2e-01", "same")
    rows, differing = compare.compare({"claims": [claim]}, {"claims": [claim | {"holds": False}]})
    assert differing == 1 and "DIFFERS" in rows[1][-1]
    rows, differing = compare.compare({"claims": [claim]}, {"claims": []})
    assert differing == 1 and "MISSING" in rows[1][-1]


def test_book_knows_when_nothing_changed(tmp_path):
    build = load(Path("book/build.py"))
    build.ROOT = tmp_path
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text("a")
    before = build.fingerprint()
    assert build.fingerprint() == before
    (tmp_path / "book" / "page.md").write_text("new")
    assert build.fingerprint() != before


def test_bibliography_is_cited_by_keys_that_exist():
    from attnflow import citations

    known = set(citations.entries())
    assert len(known) >= 12
    for path in [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks" / "src").glob("*.py")]:
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", path.read_text(encoding="utf-8")):
            assert set(re.split(r"\s*,\s*", keys)) <= known, path.name
    for path in (ROOT / "lib" / "attnflow").rglob("claims.py"):
        assert set(re.findall(r'"([a-z]+\d{4}[a-z]+)"', path.read_text(encoding="utf-8"))) <= known, path
