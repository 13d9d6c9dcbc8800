"""Try the oldest and the newest releases that pyproject.toml allows: unit tests and twenty claims, in throw-away environments.

The oldest releases run on the oldest Python, the newest on every Python that is found; a Python that is not found is said to be
so. The table goes to results/versions.json, for the page *Reproduce*, and the newest releases with which everything passed to
requirements-newest.txt. ``--last-good`` tries that list instead, and changes no file.

What the index offers changes from day to day, and a table that no change of the book has altered must not fail a change of the
book. So CI installs what is pinned in requirements.txt and checks that pins and table are those of the ranges.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import run as groups
from mutants import workers

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "results" / "versions.json"
LAST_GOOD = ROOT / "requirements-newest.txt"
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = ("data", "fast", "threads")  # what the tests use of them; nothing here tries a cluster
COUNT = 20
NOT_HERE = (  # what is said of the environment of the book, and of the table that is being made
    "tests/test_house.py::test_what_is_pinned_is_installed",
    "tests/test_figures.py::test_figures_of_other_versions_are_not_compared",
    "tests/test_machines.py::test_pins_are_inside_the_ranges_of_the_package",
    "tests/test_machines.py::test_the_table_of_releases_is_of_these_ranges_and_everything_passed",
)


def ranges():
    """What pyproject.toml allows: name -> range, as ">=2.0"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], *(need for one in EXTRAS for need in project["optional-dependencies"][one])]
    return dict(re.fullmatch(r"([\w.-]+)(>=[\w.]+)", need).groups() for need in needs)


def pins(path):
    """The pins of a file of requirements: name -> version."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.M))


def wanted(releases):
    """The lines that pip gets of the library's needs: the ``oldest`` releases, the ``newest`` ones, or the ``last good`` ones."""
    if releases == "last good":
        return [f"{name}=={version}" for name, version in pins(LAST_GOOD).items()]
    return [name + (bound.replace(">=", "==") if releases == "oldest" else bound) for name, bound in ranges().items()]


def sample(claims, count=COUNT):
    """``count`` ids of testable claims: as many of each chapter, at equal distances in the order of the book."""
    chapters = dict.fromkeys(claim.chapter for claim in claims)
    share = count // len(chapters)
    own = ([claim.id for claim in claims if claim.chapter == name and claim.testable] for name in chapters)
    return [ids[(2 * place + 1) * len(ids) // (2 * share)] for ids in own for place in range(share)]


def found(given):
    """The Pythons that run: "3.11" -> command. ``given``: commands or paths that are tried before those of the usual names."""
    answers = {}
    for command in [*given, *(f"python{series}" for series in PYTHONS)]:
        try:
            code = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
            told = subprocess.run([command, "-c", code], capture_output=True, text=True)
        except OSError:
            continue
        if told.returncode == 0 and told.stdout.strip() in PYTHONS:
            answers.setdefault(told.stdout.strip(), command)
    return {series: answers[series] for series in PYTHONS if series in answers}


def install(command, releases, folder, index):
    """Make an environment in a ``folder`` for the copy of the tree in it. Returns its Python, and what pip could not do."""
    python = folder / "environment" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([command, "-m", "venv", str(folder / "environment")], check=True)
    needs = wanted(releases)
    tools = [f"{name}=={version}" for name, version in pins(ROOT / "requirements.txt").items() if name not in ranges()]
    (folder / "needs.txt").write_text("\n".join([*needs, *tools]) + "\n")
    steps = [["--index-url", index, *(need for need in needs if need.startswith("torch"))]] if index else []
    steps += [["-r", str(folder / "needs.txt")], ["--no-deps", "--no-build-isolation", "-e", str(folder / "0")]]
    for step in steps:
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *step]
        told = subprocess.run(pip, capture_output=True, text=True)
        if told.returncode:
            return python, (told.stderr.strip().splitlines() or ["pip failed"])[-1]
    return python, ""


def tested(python, tree):
    """The unit tests of a ``tree``: how many passed and were skipped, and the names of those that failed."""
    report = tree.parent / "units.xml"
    command = groups.groups()["units"]["command"].replace("{python}", f'"{python}"')
    command += f' -p no:cacheprovider --junitxml="{report}" ' + " ".join(f"--deselect {name}" for name in NOT_HERE)
    environment = os.environ | dict.fromkeys(groups.THREADS, "1")
    environment.pop("PYTHONPATH", None)
    subprocess.run(command, shell=True, cwd=tree, env=environment)
    cases = list(xml.parse(report).getroot().iter("testcase")) if report.exists() else []
    failed = [one for one in cases if one.find("failure") is not None or one.find("error") is not None]
    skipped = sum(one.find("skipped") is not None for one in cases)
    names = [f"{one.get('classname')}.{one.get('name')}" for one in failed]
    return {
        "passed": len(cases) - len(failed) - skipped,
        "skipped": skipped,
        "failed": names if cases else ["all"],
    }


def judged(python, tree, ids):
    """The claims ``ids`` on the seeds of the book: how many are as stated, and which are not."""
    from attnflow.claims.stored import read_run

    report = tree.parent / "claims.json"
    command = [
        python,
        "-m",
        "attnflow",
        "claims",
        "--json",
        str(report),
        *(word for one in ids for word in ("--id", one)),
    ]
    environment = os.environ | dict.fromkeys(groups.THREADS, "1")
    environment.pop("PYTHONPATH", None)
    subprocess.run(command, cwd=tree, env=environment)
    good = [row.id for row in read_run(report)[1] if row.consistent] if report.exists() else []
    return {"passed": len(good), "failed": [one for one in ids if one not in good]}


def attempt(command, releases, ids, index):
    """One row of the table: the ``releases`` on the Python of a ``command``."""
    with tempfile.TemporaryDirectory(prefix="attnflow-versions-") as name:
        folder = Path(name)
        (tree,) = workers.copies(folder, 1)
        python, error = install(command, releases, folder, index)
        code = "import sys, json; from importlib.metadata import version; import platform;"
        code += (
            "print(json.dumps([platform.python_version(), {one: version(one).split('+')[0] for one in sys.argv[1:]}]))"
        )
        if error:
            return {"releases": releases, "python": command, "error": error}
        told = subprocess.run([python, "-c", code, *ranges()], capture_output=True, text=True, check=True).stdout
        version, installed = json.loads(told)
        row = {"releases": releases, "python": version, "versions": installed}
        return row | {"units": tested(python, tree), "claims": judged(python, tree, ids)}


def good(row):
    """Whether all tests and claims of a row passed."""
    return not row.get("error") and not row["units"]["failed"] and not row["claims"]["failed"]


def main(arguments=None):
    """Run, print and store. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Try the oldest and the newest releases that pyproject.toml allows.")
    parser.add_argument(
        "--python", action="append", default=[], help="a further Python to look at: a command or a path"
    )
    parser.add_argument("--torch-index", default="", help="where torch comes from, as TORCH_INDEX of the Makefile")
    parser.add_argument("--last-good", action="store_true", help="try requirements-newest.txt; change no file")
    options = parser.parse_args(arguments)
    from attnflow.judging import registry

    pythons, ids = found(options.python), sample(registry())
    if not pythons:
        parser.error(f"none of Python {', '.join(PYTHONS)} is here; say where one is: --python PATH")
    newest = list(pythons)[-1]
    plan = (
        [("last good", newest)]
        if options.last_good
        else [("oldest", next(iter(pythons))), *(("newest", one) for one in pythons)]
    )
    rows = []
    for releases, series in plan:
        print(f"\n== the {releases} releases on Python {series}", flush=True)
        rows.append(attempt(pythons[series], releases, ids, options.torch_index))
        print(json.dumps(rows[-1], indent=1), flush=True)
    if not options.last_good:
        about = {"date": datetime.date.today().isoformat(), "system": f"{platform.system()} {platform.machine()}"}
        absent = [series for series in PYTHONS if series not in pythons]
        from attnflow import files

        files.write_json(TABLE, about | {"ranges": ranges(), "not run": absent, "claims": ids, "runs": rows})
        if good(rows[-1]):
            lines = [f"{name}=={version}" for name, version in rows[-1]["versions"].items()]
            head = f"# The newest releases last seen good, written by `make versions` on {about['date']}.\n"
            LAST_GOOD.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return int(not all(map(good, rows)))


if __name__ == "__main__":
    sys.exit(main())
