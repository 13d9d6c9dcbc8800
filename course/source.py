"""The sources of the assignments, with their solutions: from text with marked cells to notebooks that nbgrader reads."""

import hashlib
import importlib
import json
import tomllib
from pathlib import Path

import jupytext
import nbformat

from attnflow import rooms
from course.parts import Assignment

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "notebooks" / "assignments"
CHAPTERS = ("foundations", "cooccurrence", "encoder", "kernels", "meanfield")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def assignment(chapter: str) -> Assignment:
    """The assignment of a ``chapter``."""
    return importlib.import_module(f"course.{chapter}").ASSIGNMENT


def settings() -> dict:
    """What course.toml says."""
    return tomllib.loads((ROOT / "course" / "course.toml").read_text(encoding="utf-8"))


def points(chapter: str) -> dict[str, float]:
    """The points of the parts of an assignment, id -> points."""
    return settings()[chapter]["points"]


def fingerprint(chapter: str, salt: str) -> str:
    """What a student copy says of the constants that it was drawn with."""
    drawn = {name: str(value) for name, value in assignment(chapter).constants(salt).items()}
    return hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()[:12]


def notebook(chapter: str, salt: str, text: str | None = None) -> nbformat.NotebookNode:
    """The source of an assignment as a notebook, with its solutions and with what nbgrader wants to know of each cell.

    text: of the source, the file's own where none is given. A cell with the tag ``solution:a`` is answered by the student,
    ``test:a`` is a visible test and ``written:a`` is read by a person; all others cannot be changed.
    """
    of = assignment(chapter)
    text = (SOURCES / f"{chapter}.py").read_text(encoding="utf-8") if text is None else text
    shared = (ROOT / "course" / "check.py").read_text(encoding="utf-8").partition("\n\n\n")[2].strip()
    text = of.filled(text.replace("<<check>>", shared), of.constants(salt), points(chapter))
    found = jupytext.reads(text, fmt="py:percent")
    for place, cell in enumerate(found.cells, start=1):
        kind, _, part = next((tag for tag in cell.metadata.get("tags", []) if ":" in tag), "text:").partition(":")
        graded = kind in ("test", "written")
        about = {"grade": graded, "solution": kind in ("solution", "written"), "task": False, "schema_version": 3}
        about |= {"locked": kind in ("text", "test"), "grade_id": f"{kind}-{part or place}"}
        if graded:
            about["points"] = points(chapter)[part]
        cell.metadata = nbformat.from_dict({"nbgrader": about})
        cell.id = about["grade_id"]
    about = {"assignment": chapter, "drawn": fingerprint(chapter, salt)}
    found.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}, "attnflow": about})
    nbformat.validate(found)
    return found


def plan() -> str:
    """The weeks of a course as a table in Markdown, for the page of teachers."""
    lines = ["| week and chapter | after its assignment a student can |", "| --- | --- |"]
    for week, chapter in enumerate(CHAPTERS, start=1):
        of = assignment(chapter)
        lines.append(f"| {week}. {rooms.room(chapter).title}: *{of.title}* | {'; '.join(of.goals)} |")
    return "\n".join(lines) + "\n"


def parts() -> str:
    """What every assignment asks, with the points, as a table in Markdown for the page of teachers."""
    lines = ["| assignment | parts and their points |", "| --- | --- |"]
    for chapter in CHAPTERS:
        of, full = assignment(chapter), points(chapter)
        said = (f"{part.id}. {part.title} ({'read by you, ' * part.written}{full[part.id]:g})" for part in of.parts)
        lines.append(f"| {of.title} | {'; '.join(said)} |")
    return "\n".join(lines) + "\n"
