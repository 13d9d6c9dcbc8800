"""Other people's machines: notebooks outside the repository, folders that move, other releases, and what others made."""

import ast
import builtins
import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from contextlib import nullcontext, suppress
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import torch
import versions
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

import attnflow
from attnflow import claims, flow, rooms, runs, sweep
from attnflow.claims import Control, Experiment, Near, Trial, chapter_of
from attnflow.judging import registry

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "lib" / "attnflow"
CHAPTERS = {path.stem: path for path in sorted((ROOT / "notebooks" / "src").glob("*.py"))}
WHEEL = f"attnflow-{attnflow.__version__}-py3-none-any.whl"


def loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build, doctor = loaded("book_build", ROOT / "book" / "build.py"), loaded("doctor", LIBRARY / "doctor.py")


def code(name):
    """The code cells of a chapter's source."""
    return [cell for cell in jupytext.read(CHAPTERS[name], fmt="py:percent").cells if cell.cell_type == "code"]


# --- notebooks


def test_all_chapters_begin_with_one_cell_and_set_what_papermill_may_set_in_the_next():
    first, second = (["\n".join(code(name)[place].source.splitlines()) for name in CHAPTERS] for place in (0, 1))
    assert len(set(first)) == 1 and WHEEL in first[0] and WHEEL in (ROOT / "book" / "reproduce.md").read_text()
    assert {re.sub(r"range\(\d+, \d+\)", "RANGE", text) for text in second} == {
        "SEEDS = RANGE  # change this line to repeat the chapter on other seeds,\n"
        'DEVICE = None  # and this one to choose "cpu" or "cuda"; None takes CUDA where it is'
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("no attnflow", name="attnflow"), rf'%pip install "{WHEEL}\[data,threads\]"\Z'),
        (ModuleNotFoundError("no torch", name="torch"), r"\Ano torch\Z"),
        (ImportError("cannot import", name="attnflow"), r"\Acannot import\Z"),
    ],
    ids=["attnflow is missing", "another module is missing", "attnflow is broken"],
)
def test_the_first_cell_tells_attnflow_missing_from_another_error(error, said):
    (statement,) = [node for node in ast.parse(code("1_foundations")[0].source).body if isinstance(node, ast.Try)]

    def refuse(name, *others):
        raise error

    with pytest.raises((SystemExit, ImportError)) as caught:
        exec(
            compile(ast.Module([statement], []), "cell", "exec"),
            {"__builtins__": vars(builtins) | {"__import__": refuse}},
        )
    assert re.search(said, str(caught.value)) and "\n" not in str(caught.value)
    assert caught.value is error or isinstance(caught.value, SystemExit)


@pytest.mark.parametrize("name", CHAPTERS)
def test_papermill_sets_seeds_and_device_before_they_are_used(name):
    """On the stored notebook, which is what a reader has."""
    stored = ROOT / "notebooks" / f"{name}.ipynb"
    assert set(papermill.inspect_notebook(str(stored))) == {"SEEDS", "DEVICE"}
    given = parameterize_notebook(load_notebook_node(str(stored)), {"SEEDS": [300, 301], "DEVICE": "cpu"})
    cells = [cell for cell in given.cells if cell.cell_type == "code"]
    (place,) = [at for at, cell in enumerate(cells) if "injected-parameters" in cell.metadata.get("tags", ())]
    assert "SEEDS = [300, 301]" in cells[place].source and "parameters" in cells[place - 1].metadata.tags
    assert not [cell for cell in cells[: place - 1] + cells[place + 1 :] if "SEEDS =" in cell.source]
    assert [at for at, cell in enumerate(cells) if re.search(r"\bSEEDS\b", cell.source)][2] > place


def test_stored_runs_are_those_of_the_folder_then_of_the_repository_then_of_the_wheel(tmp_path, monkeypatch):
    package, folder = tmp_path / "lib" / "attnflow", tmp_path / "folder"
    places = [place / "results" for place in (package, tmp_path, folder)]
    found = []
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sweep, "__file__", str(package / "sweep.py"))
    for place in places:
        place.mkdir(parents=True)
        (place / "claims.json").write_text("{}")
        with suppress(runs.WrongUse):
            found.append(sweep.home())
    assert found == places


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The wheel as `make book` builds it, installed alone, and an empty folder. Returns (folder of the wheel, empty folder)."""
    wheel, installed, empty = (tmp_path_factory.mktemp(name) for name in ("wheel", "installed", "empty"))
    assert build.wheel(wheel) == 0 and [path.name for path in wheel.iterdir()] == [WHEEL]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel / WHEEL)]
    subprocess.run(pip, check=True)
    return installed, empty


@pytest.mark.notebook
@pytest.mark.slow
def test_the_wheel_alone_holds_what_notebooks_read(alone):
    """Every module, the works, the list of claims, every stored run; and the tree is as it was before."""
    installed, empty = alone
    kinds = (".py", ".bib", ".json")
    held = {path.relative_to(installed / "attnflow").as_posix() for path in (installed / "attnflow").rglob("*.*")}
    asked = {path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*") if path.suffix in kinds}
    names = [table.name for room in rooms.rooms().values() for table in room.sweeps]
    stored = [path for name in names for path in (ROOT / "results").glob(f"*/{name}.*")]
    stored.append(ROOT / "results" / "claims.json")
    asked |= {path.relative_to(ROOT).as_posix() for path in stored}
    assert {name for name in held if "__pycache__" not in name} == asked and not (ROOT / "build").exists()
    script = "import json, sys; from attnflow import sweep; print(sweep.home());"
    script += "[sweep.kept(name) for name in sys.argv[1:]]"
    settings = {"cwd": empty, "env": os.environ | {"PYTHONPATH": str(installed)}, "text": True, "check": True}
    told = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, **settings).stdout
    assert told.strip() == str(installed / "attnflow" / "results") and len(names) > 10


@pytest.mark.notebook
@pytest.mark.slow
def test_a_downloaded_notebook_runs_in_an_empty_folder_on_other_seeds(alone):
    """Papermill runs chapter 1 down to its first figure, with the wheel and nothing else of the repository."""
    installed, empty = alone
    chapter = nbformat.read(ROOT / "notebooks" / "1_foundations.ipynb", as_version=4)
    drawn = next(at for at, cell in enumerate(chapter.cells) if "# | name:" in cell.source)
    asked = nbformat.v4.new_code_cell("print(attnflow.__file__, seen._seeds)")
    chapter.cells = [*chapter.cells[: drawn + 1], asked]
    nbformat.write(chapter, empty / "chapter.ipynb")
    command = [sys.executable, "-m", "papermill", "chapter.ipynb", "out.ipynb", "-k", "python3", "--no-progress-bar"]
    command += ["-y", "{SEEDS: [300, 301], DEVICE: cpu}"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(installed), str(Path(papermill.__file__).parents[1])])
    }
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = nbformat.read(empty / "out.ipynb", as_version=4).cells[-1].outputs[0].text
    assert last.strip() == f"{installed / 'attnflow' / '__init__.py'} (300, 301)"


# --- a folder that moves


@pytest.mark.parametrize("place", ["moved", "with a space"])
def test_an_environment_whose_folder_moved_is_mended(tmp_path, place):
    """Its commands run again, make asks for it once, and the doctor says so before."""
    before, after = tmp_path / "before", tmp_path / place
    (before / "lib" / "attnflow").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "lib/attnflow/doctor.py"):
        (before / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=before, check=True)
    command, ready = before / ".venv" / "bin" / "tool", before / ".venv" / ".ready"
    command.write_text(f"#!{before}/.venv/bin/python\nimport sys\nprint(sys.prefix)\n")
    command.chmod(0o755)
    ready.touch()

    def plan(folder):
        return subprocess.run(["make", "-n", "book"], cwd=folder, capture_output=True, text=True, check=True).stdout

    def told(*options):
        command = [".venv/bin/python", "lib/attnflow/doctor.py", *options]
        return subprocess.run(command, cwd=after, capture_output=True, text=True).stdout

    assert "--mend" not in plan(before)
    before.rename(after)
    assert "--mend" in plan(after) and "pip install" in plan(after)
    assert re.search(rf"^attnflow +missing +this folder was moved.* {before}/\.venv: make book", told(), re.M)
    assert told("--mend").splitlines() == [
        f"make: this folder was moved or copied, .venv was made as {before}/.venv: mending it"
    ]
    tool = subprocess.run(f'"{after}/.venv/bin/tool"', shell=True, capture_output=True, text=True)
    assert tool.stdout.strip() == str(after / ".venv"), tool.stderr
    assert plan(after) == plan(after).replace("--mend", "") and "was moved" not in told()
    assert str(before) not in (after / ".venv" / "bin" / "activate").read_text()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((True, str(LIBRARY)), (True, f"imported from {LIBRARY}")),
        ((True, "elsewhere"), (False, "lies in elsewhere, not here")),
        ((False, "ModuleNotFoundError: attnflow"), (False, "ModuleNotFoundError: attnflow: make book")),
    ],
)
def test_doctor_says_which_library_is_imported(monkeypatch, answer, said):
    monkeypatch.setattr(doctor, "_asked", lambda code: answer)
    good, found, advice = doctor.attnflow()
    assert good is said[0] and said[1] in (found if good else advice)


# --- other releases


def warning_coin(seeds, device, category=FutureWarning):
    """A record of ones, and a warning."""
    warnings.warn("said by the experiment", category, stacklevel=1)
    return {"value": torch.ones(len(seeds), dtype=torch.float64)}


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, flow.Rising, RuntimeWarning])
@pytest.mark.parametrize("way", [claims.evaluate, lambda claim, seeds: next(claims.evaluate_all([claim], seeds))])
def test_a_filter_of_warnings_changes_no_verdict_and_hides_none(category, way):
    trial = Trial(Experiment(warning_coin, {"category": category}), lambda record: record["value"], Near(abs=0.1), 1.0)
    claim = chapter_of("here")("warns", "A warning", "ends no run", trial, Control("far", predict=2.0))
    rows, shown = {}, {}
    for action in ("error", "default", "ignore"):
        claims.experiment.forget()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter(action)
            with suppress(category):
                rows[action] = way(claim, (0, 1))
            shown[action] = {(str(one.message), one.category) for one in seen}
            with pytest.raises(category) if action == "error" else warnings.catch_warnings(record=True):
                warnings.warn("outside", category, stacklevel=1)
    assert len(rows) == 3 and all(row.holds and row.control_fails and not row.error for row in rows.values())
    assert shown["error"] == shown["default"] == {("said by the experiment", category)} and not shown["ignore"]


def test_filters_keep_their_order_and_what_they_match():
    """The last one that was set comes first, inside as outside."""
    told = []
    for inside in (False, True):
        with warnings.catch_warnings(record=True) as seen, warnings.catch_warnings():
            warnings.filterwarnings("error", "nothing else says this")
            warnings.filterwarnings("always", "(?i)SAID", UserWarning)
            warnings.filterwarnings("ignore", module="hidden")
            with claims.evaluation.warned() if inside else nullcontext():
                for module in ("hidden", "open"):
                    warnings.warn_explicit("said", UserWarning, "file", 1, module=module)
        told.append([(str(one.message), one.filename) for one in seen])
    assert told[0] == told[1] == [("said", "file")]


def test_what_another_release_says_of_itself_fails_no_test_and_what_it_says_of_us_does():
    """The filters of pyproject.toml, asked about warnings that torch and numpy may one day raise."""
    answers = {}
    for module in ("torch.jit._script", "numpy._core", "attnflow.flow", "test_flow"):
        for category in (DeprecationWarning, FutureWarning, UserWarning, RuntimeWarning):
            with warnings.catch_warnings(record=True):
                try:
                    warnings.warn_explicit("`torch.jit.script` is deprecated", category, "file", 1, module=module)
                    answers[module, category] = "shown"
                except category:
                    answers[module, category] = "error"
    for (module, category), answer in answers.items():
        ours = module.startswith(("attnflow", "test"))
        assert answer == ("error" if ours or category is RuntimeWarning else "shown"), (module, category)


def inside(version, bound):
    """Whether a version is at least the lower bound that a range is."""
    numbers = [tuple(map(int, re.findall(r"\d+", text.split("+")[0]))) for text in (version, bound)]
    return numbers[0] >= numbers[1]


def test_pins_are_inside_the_ranges_of_the_package():
    for path in (ROOT / "requirements.txt", versions.LAST_GOOD):
        pinned = versions.pins(path)
        assert {name for name, bound in versions.ranges().items() if not inside(pinned[name], bound)} == set(), path


def test_the_table_of_releases_is_of_these_ranges_and_everything_passed():
    """Where this fails, the ranges have changed since: make versions."""
    table = json.loads(versions.TABLE.read_text(encoding="utf-8"))
    assert table["ranges"] == versions.ranges() and re.fullmatch(r"\d{4}-\d\d-\d\d", table["date"])
    oldest, *newest = table["runs"]
    assert all(map(versions.good, table["runs"])) and len(table["claims"]) == versions.COUNT == 20
    assert [row["claims"]["passed"] for row in table["runs"]] == [20] * len(table["runs"])
    assert min(row["units"]["passed"] for row in table["runs"]) > 1000
    for name, bound in versions.ranges().items():
        assert oldest["versions"][name].startswith(bound.removeprefix(">=")), name
    ran = [".".join(row["python"].split(".")[:2]) for row in newest]
    assert sorted([*ran, *table["not run"]]) == list(versions.PYTHONS)
    assert newest[-1]["versions"] == versions.pins(versions.LAST_GOOD)


def test_the_ends_of_the_ranges_are_what_pip_is_asked_for(monkeypatch, tmp_path):
    (tmp_path / "good.txt").write_text("# dated\ntorch==9.1\n")
    monkeypatch.setattr(versions, "LAST_GOOD", tmp_path / "good.txt")
    monkeypatch.setattr(versions, "ranges", lambda: {"torch": ">=2.4"})
    assert [versions.wanted(one) for one in ("oldest", "newest", "last good")] == [
        ["torch==2.4"],
        ["torch>=2.4"],
        ["torch==9.1"],
    ]


@pytest.mark.parametrize("failed", [[], ["a test"]])
def test_a_table_says_which_python_was_not_there_and_only_what_passed_is_last_good(tmp_path, monkeypatch, failed):
    names = {"TABLE": tmp_path / "versions.json", "LAST_GOOD": tmp_path / "good.txt"}

    def attempt(command, releases, ids, index):
        units = {"passed": 1, "skipped": 0, "failed": failed}
        claimed = {"passed": len(ids), "failed": []}
        return {"releases": releases, "python": command, "versions": {"torch": "9"}, "units": units, "claims": claimed}

    for name, value in names.items():
        monkeypatch.setattr(versions, name, value)
    monkeypatch.setattr(versions, "attempt", attempt)
    monkeypatch.setattr(versions, "PYTHONS", ("3.0", *versions.PYTHONS))
    here = ".".join(map(str, sys.version_info[:2]))
    assert versions.found(["no-such-python", sys.executable])[here] == sys.executable
    there = next(one for one in versions.PYTHONS[1:] if one != here)
    monkeypatch.setattr(versions, "found", lambda given: {here: sys.executable, there: "other"})
    assert versions.main([]) == len(failed)
    table = json.loads(names["TABLE"].read_text())
    assert [(row["releases"], row["python"]) for row in table["runs"]] == [
        ("oldest", sys.executable),
        ("newest", sys.executable),
        ("newest", "other"),
    ]
    assert "3.0" in table["not run"] and here not in table["not run"]
    assert names["LAST_GOOD"].exists() == (not failed) and (
        failed or versions.pins(names["LAST_GOOD"]) == {"torch": "9"}
    )


def test_twenty_claims_are_chosen_by_a_rule():
    chosen = versions.sample(registry())
    assert len(set(chosen)) == 20 and {one.split(".")[0] for one in chosen} == set(rooms.rooms())
    for room in rooms.rooms().values():
        order = [claim.id for claim in room.claims if claim.testable]
        places = [order.index(one) for one in chosen if one.split(".")[0] == room.name]
        gaps = [second - first for first, second in pairwise([places[-1] - len(order), *places])]
        assert len(places) == 4 and max(gaps) - min(gaps) <= 1
