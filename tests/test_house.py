"""The house: layout, docstrings, pins, the Makefile, and the words that must not be in the repository."""

import ast
import doctest
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace

import attnflow_lean as lean
import numpy as np
import pytest
import threadpoolctl
from docutils import nodes

import attnflow
from attnflow import citations

ROOT = Path(__file__).resolve().parent.parent

LIBRARY = ROOT / "lib" / "attnflow"
TREES = {
    path.relative_to(LIBRARY).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in LIBRARY.rglob("*.py")
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
TARGETS = (
    "book",
    "pdf",
    "test",
    "test-all",
    "mutants",
    "notebooks",
    "claims",
    "check",
    "assignments",
    "grade",
    "bench",
    "lab",
    "versions",
    "doctor",
    "help",
    "clean",
)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Places of one machine, and ways of working that are no part of the book.
FORBIDDEN = ("../" + "shared", "/wo" + "rk/", "/tm" + "p/", "/ro" + "ot/", "/ho" + "me/")


def files():
    """What the repository holds, as git sees it, by its path from the root; all files where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    skip = {".venv", "_build", "__pycache__", ".git", ".ruff_cache", ".pytest_cache"}
    found = (
        listed.stdout.split("\n")
        if listed.returncode == 0
        else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    )
    return {name: ROOT / name for name in found if (ROOT / name).is_file() and not skip & set(Path(name).parts)}


def make(*arguments, **settings):
    return subprocess.run(["make", "--no-print-directory", *arguments], capture_output=True, text=True, **settings)


def test_rooms_import_the_ground_floor_and_nobody_imports_a_room():
    rooms = {Path(name).parent.name for name, tree in TREES.items() if "ROOM = " in ast.unparse(tree)}
    wrong = []
    for name, tree in TREES.items():
        imported = [
            word
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for one in node.names
            for word in f"{getattr(node, 'module', None) or ''}.{one.name}".split(".")
        ]
        wrong += [(name, room) for room in rooms - {Path(name).parent.name} if room in imported]
        wrong += [(name, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert len(rooms) >= 3 and wrong == []


def test_no_file_of_the_library_is_long():
    lengths = {name: len((LIBRARY / name).read_text(encoding="utf-8").splitlines()) for name in TREES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def parameters(function):
    every = function.args
    found = [*every.posonlyargs, *every.args, *every.kwonlyargs, *filter(None, (every.vararg, every.kwarg))]
    return [one.arg for one in found if one.arg not in ("self", "cls") and one.arg[0] != "_"]


def documented():
    """Every public function, method and class, as (its place, its parameters, its docstring, whether it is a function)."""
    nodes = [(name, node) for name, tree in TREES.items() for node in ast.walk(tree)]
    for name, node in nodes:
        for one in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else ():
            if isinstance(one, (ast.FunctionDef, ast.ClassDef)) and one.name[0] != "_":
                made = [own for own in getattr(one, "body", ()) if getattr(own, "name", "") == "__init__"]
                fields = [own.target.id for own in one.body if isinstance(own, ast.AnnAssign)]
                plain = isinstance(one, ast.FunctionDef)
                known = parameters(one if plain else made[0]) if plain or made else fields
                yield f"{name}, {one.name}", known, ast.get_docstring(one) or "", plain


def test_docstrings_name_every_parameter_and_no_other():
    """An override may say: see the class that it comes from. A name before a colon, where a clause begins, is a parameter."""
    wrong = []
    for name, known, text, plain in documented():
        explained = re.findall(r"(?:^|[.;]\s)\s*((?:[a-z]\w*, )*[a-z]\w*):(?=\s)", text, re.M)
        told = {word for group in explained for word in group.split(", ") if plain}
        absent = [one for one in known if not re.search(rf"\b{one}\b", text) and "see :class:" not in text]
        wrong += [(name, one) for one in [*absent, *(told - set(known))]]
    assert wrong == []


def test_nothing_refers_to_a_place_outside():
    binary = (".woff", ".png", ".npz")
    texts = {name: path.read_text(encoding="utf-8") for name, path in files().items() if path.suffix not in binary}
    assert [
        (name, word) for name, text in texts.items() for word in FORBIDDEN if word in text and ".min.js" not in name
    ] == []


def test_no_empty_files_and_small_ones():
    sizes = {name: path.stat().st_size for name, path in files().items()}
    assert {name: size for name, size in sizes.items() if size == 0 or size > 2e6} == {}
    stored = [size for name, size in sizes.items() if name.startswith("results/")]
    assert max(stored) < 500_000 and sum(stored) < 5_000_000


def test_requirements_are_exact():
    assert [line for line in PINS if not re.fullmatch(r"[\w.\[\]-]+==[\w.]+", line)] == []
    names = {re.split(r"[<>=\[]", need)[0] for need in PACKAGE["dependencies"]}
    assert (
        names
        == {"joblib", "matplotlib", "numpy", "scipy", "sympy", "torch", "tqdm"}
        <= {pin.split("==")[0] for pin in PINS}
    )


def test_what_is_pinned_is_installed():
    installed = {f"{one.name}=={one.version.split('+')[0]}".lower().replace("_", "-") for one in distributions()}
    assert {pin.lower().replace("_", "-") for pin in PINS} <= installed


def test_versions_agree():
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M).group(1)
    assert attnflow.__version__ == PACKAGE["version"] == cited and PACKAGE["requires-python"] == ">=3.11"


def test_make_help_lists_every_target():
    assert tuple(re.findall(r"make ([\w-]+)  ", make("help", cwd=ROOT).stdout)) == TARGETS
    assert sorted(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M).group(1).split()) == sorted(TARGETS)


def test_readme_names_the_commands_and_its_pictures_exist_and_ci_runs_them():
    text, script = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    assert all(word in text for word in ("make book", "make test", "https://download.pytorch.org/whl/cpu"))
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / target).exists()] == []
    assert (
        os.access(ROOT / ".ci" / "run", os.X_OK) and script.rstrip().endswith("make test-all") and "CI=true" in script
    )


@pytest.mark.parametrize("python, said", [("python3", "needs Python 3.11 or newer"), ("absent", "there is no")])
def test_too_old_python_is_one_line(tmp_path, python, said):
    """`make book` with an old Python says what it needs, and makes nothing."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1;; *platform*) echo 3.8.10;; esac\n')
    old.chmod(0o755)
    for name, text in {"Makefile": MAKEFILE, "requirements.txt": "", "pyproject.toml": ""}.items():
        (tmp_path / name).write_text(text)
    run = make("book", f"PYTHON={tmp_path / python}", cwd=tmp_path)
    assert run.returncode != 0 and said in run.stdout and not (tmp_path / ".venv").exists()


def test_doctor_needs_nothing_but_python():
    """One line a check, with no site packages at all."""
    run = subprocess.run([sys.executable, "-I", "-S", str(LIBRARY / "doctor.py")], capture_output=True, text=True)
    names = ["python", "venv", "disk", "torch", "attnflow", "threads", "chromium", "bubblewrap"]
    assert [line.split()[0] for line in run.stdout.splitlines()] == names and run.stderr == ""
    assert all(re.match(r"\w+ +(ok|missing) +\S", line) for line in run.stdout.splitlines())


def test_threads_that_wait_sleep_in_everything_that_make_runs(tmp_path):
    """Beside one busy process a chapter on two threads took more than eight times as long while they waited awake."""
    (tmp_path / "Makefile").write_text(MAKEFILE + "\nshown:\n\t@echo policy $$OMP_WAIT_POLICY\n", encoding="utf-8")
    for own, wanted in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        env = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | own
        told = subprocess.run(["make", "-s", "shown"], cwd=tmp_path, env=env, capture_output=True, text=True).stdout
        assert told.split() == ["policy", wanted]


def test_the_variables_of_the_makefile_hold_every_pool_to_one_thread():
    """Two processes on two cores with a pool of threads each were seen to run a hundred times slower."""
    settings = dict(re.findall(r"(\w+_NUM_THREADS)=(\d+)", re.search(r"^ONE_THREAD := (.*)$", MAKEFILE, re.M).group(1)))
    code = (
        "import json, numpy, scipy.linalg, torch; from threadpoolctl import threadpool_info;"
        "numpy.ones((2, 2)) @ numpy.ones((2, 2));"
        "print(json.dumps([torch.get_num_threads()] + [pool['num_threads'] for pool in threadpool_info()]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert settings == dict.fromkeys(THREADS, "1") and set(counts := json.loads(run.stdout)) == {1} and len(counts) > 1


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="not a worker: pytest was started without -n")
def test_this_worker_has_one_thread():
    assert np.ones((2, 2)) @ np.ones(2) is not None and {
        pool["num_threads"] for pool in threadpoolctl.threadpool_info()
    } == {1}


def test_a_second_build_writes_what_shows_the_change():
    """What gathers from other pages always, and every page where a title, a number or a label is another."""
    labels, pages = {}, {"notebooks/a", "notebooks/b", "book/ledger", "book/api/x"}
    env = SimpleNamespace(
        titles={"notebooks/a": nodes.title("", "A")}, toc_secnumbers={}, toc_fignumbers={}, found_docs=pages
    )
    env.domaindata = {"std": {"labels": labels}, "math": {"objects": {}}}
    assert set(lean.again(None, env)) == pages and lean.again(None, env) == ["book/ledger"]
    for change in (
        lambda: labels.update(new="a"),
        lambda: env.toc_secnumbers.update(a=(2,)),
        lambda: env.titles.clear(),
    ):
        change()
        assert set(lean.again(None, env)) == pages and lean.again(None, env) == ["book/ledger"]


def test_book_knows_when_nothing_changed(tmp_path):
    spec = importlib.util.spec_from_file_location("build", ROOT / "book" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert doctest.testmod(build).failed == 0
    build.ROOT = tmp_path
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text("a")
    before = build.fingerprint()
    assert build.fingerprint() == before
    (tmp_path / "book" / "page.md").write_text("new")
    assert build.fingerprint() != before


def test_bibliography_is_cited_by_keys_that_exist():
    texts = [
        path.read_text(encoding="utf-8")
        for path in [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks/src").glob("*.py")]
    ]
    cited = {
        key
        for text in texts
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
        for key in re.split(r"\s*,\s*", keys)
    }
    assert cited <= set(citations.entries()) and len(cited) >= 12
