"""One page of feedback a student: points, hints, and the notebook as it was read. All that a student wrote is text there."""

import hashlib
import json
import re
from pathlib import Path

import jinja2

from attnflow import files
from course import intake, source
from course.grade import Row

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SHOWN = 200_000  # characters of a notebook
PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    (Path(__file__).parent / "feedback.html").read_text(encoding="utf-8")
)


def place(student: str) -> str:
    """The file name of a student's page: what of the name is plain, and a hash, so that no two share one."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", student).strip("-")[:40]
    return f"{plain or 'student'}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def clean(text: object) -> str:
    """A text without control characters and colours of a terminal."""
    return ANSI.sub("", str(text))


def cells(notebook: bytes | None) -> list[dict]:
    """Kind and text of the cells of a notebook, as far as it can be read."""
    try:
        found = json.loads(notebook or b"{}")
        found = found["cells"] if "cells" in found else found["worksheets"][0]["cells"]
        rows, left = [], SHOWN
        for cell in found:
            text = cell.get("source", cell.get("input", ""))
            text = clean("".join(text))[: max(left, 0)]
            left -= len(text)
            rows.append({"kind": str(cell.get("cell_type", ""))[:20], "text": text})
        return rows
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return []


def pages(rows: list[Row], folder: Path, out: Path, salt: str) -> list[Path]:
    """Write the pages of all students of ``rows`` into ``out``. folder: of the submissions; salt: of the copies."""
    out.mkdir(parents=True, exist_ok=True)
    written, most = [], int(source.settings()["limits"]["notebook"] * 10**6)
    for name in intake.students(folder):
        student = intake.shown(name)
        own = [row for row in rows if row.student == student]
        read = {row.chapter: intake.handed(folder, name, row.chapter, salt, most).notebook for row in own}
        page = PAGE.render(
            student=clean(student),
            rows=own,
            titles={row.chapter: source.assignment(row.chapter).title for row in own},
            cells={chapter: cells(notebook) for chapter, notebook in read.items()},
            clean=clean,
        )
        path = out / place(student)
        files.write(path, lambda file, page=page: file.write(page.encode("utf-8", "replace")))
        written.append(path)
    return written
