"""Copies for students: the sources without their solutions, by nbgrader, and a zip with the library beside each."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

from course import source
from course.source import ROOT

GRADING = ROOT / ".venv-grading"
MARKERS = ("BEGIN SOLUTION", "END SOLUTION")
LETTER = """{title}

1. Install the library of the book into your Python (3.11 or newer):  pip install {wheel} jupyter scikit-learn
2. Open {chapter}.ipynb in Jupyter, and answer where it says YOUR CODE HERE and YOUR ANSWER HERE.
3. Run all cells from the top once more; the cells that begin with check(...) tell you what is not right yet.
4. Hand in {chapter}.ipynb under this name. Nothing else is needed.
"""


class Missing(Exception):
    """What has to be installed first, in one line."""


def release(salt: str, out: Path, chapters: tuple[str, ...] = source.CHAPTERS) -> list[Path]:
    """Write ``out/release/<chapter>/<chapter>.ipynb`` and ``.zip`` for all ``chapters``; their sources lie in ``out/source``.

    salt: what the constants are drawn from. Returns the folders. Raises Missing without nbgrader.
    """
    nbgrader = GRADING / "bin" / "nbgrader"
    if not nbgrader.exists():
        raise Missing(f"nbgrader is not installed in {GRADING.name}; make assignments installs it")
    for name in ("source", "release", "gradebook.db"):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for chapter in chapters:
        place = out / "source" / chapter
        place.mkdir(parents=True)
        nbformat.write(source.notebook(chapter, salt), place / f"{chapter}.ipynb")
    wheel = _wheel(out)
    for chapter in chapters:
        _generate(nbgrader, chapter, out)
        folder = out / "release" / chapter
        _clean(folder / f"{chapter}.ipynb")
        letter = LETTER.format(title=source.assignment(chapter).title, chapter=chapter, wheel=f"./{wheel.name}")
        with zipfile.ZipFile(folder / f"{chapter}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(folder / f"{chapter}.ipynb", f"{chapter}/{chapter}.ipynb")
            packed.write(wheel, f"{chapter}/{wheel.name}")
            packed.writestr(f"{chapter}/README.txt", letter)
    return [out / "release" / chapter for chapter in chapters]


def _generate(nbgrader, chapter, out):
    """One student copy. nbgrader gets a home of its own in ``out``, reads no settings of the user, and finds its alembic."""
    home = {name: str(out / "home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    home["PATH"] = f"{nbgrader.parent}{os.pathsep}{os.environ['PATH']}"
    command = [nbgrader, "generate_assignment", chapter, f"--course-dir={out}", "--create", "--force"]
    command += ["--IncludeHeaderFooter.enabled=False"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out, env=os.environ | home)
    if done.returncode:
        raise RuntimeError(f"nbgrader could not make the copy of {chapter}:\n{done.stderr[-2000:]}")


def _clean(path):
    """No solution may be left in a copy."""
    text = path.read_text(encoding="utf-8")
    if any(marker in text for marker in MARKERS):
        raise RuntimeError(f"{path} still holds the mark of a solution")


def _wheel(out):
    """The wheel of the library, in ``out/wheel``, built from a copy, since setuptools leaves a folder where it builds."""
    place = out / "wheel"
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory() as name:
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, name)
        shutil.copytree(
            ROOT / "lib" / "attnflow", Path(name, "lib", "attnflow"), ignore=shutil.ignore_patterns("__pycache__")
        )
        subprocess.run([*command, "--no-build-isolation", "-w", str(place), name], check=True)
    return next(place.glob("attnflow-*.whl"))
