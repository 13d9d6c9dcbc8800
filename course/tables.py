"""Tables of a course: grades.csv, points of written parts from manual.csv, and what Canvas and Moodle import."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from attnflow import files
from course import source
from course.grade import Row

ROSTER = ("name", "id", "login")
MANUAL = ("student", "assignment", "part", "points", "comment")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what makes a spreadsheet evaluate a cell


class Unfit(Exception):
    """A table that cannot be used, with one line that says where."""


def read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file that has these ``columns``; raises Unfit."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        found = csv.DictReader(file)
        if lacking := [name for name in columns if name not in (found.fieldnames or ())]:
            raise Unfit(f"{path.name} has no column {lacking[0]!r}; it needs {', '.join(columns)}")
        return [{name: (row[name] or "").strip() for name in columns} for row in found]


def write(path: Path, header: list, rows: list[list]) -> None:
    """A CSV file, whole or not at all; a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([[_safe(cell) for cell in row] for row in [header, *rows]])
    files.write(path, lambda file: file.write(text.getvalue().encode()))


def _safe(cell):
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return "" if cell is None else f"{cell:g}"


def merged(rows: list[Row], path: Path) -> list[Row]:
    """The ``rows`` with points and comments of written parts from the file at ``path``, where there is one; raises Unfit."""
    if not path.is_file():
        return rows
    known = {(row.student, row.chapter): row for row in rows}
    for line, given in enumerate(read(path, MANUAL), start=2):
        whose, letter = (given["student"], given["assignment"]), given["part"]
        if whose not in known:
            raise Unfit(f"{path.name}, line {line}: nothing was handed in by {whose[0]!r} for {whose[1]!r}")
        row = known[whose]
        written = [part.id for part in source.assignment(row.chapter).parts if part.written]
        if letter not in written:
            raise Unfit(f"{path.name}, line {line}: part {letter!r} is not read by hand; {', '.join(written)} is")
        full = row.parts[letter]["full"]
        try:
            points = float(given["points"])
        except ValueError:
            points = -1.0
        if not 0 <= points <= full:
            raise Unfit(f"{path.name}, line {line}: points {given['points']!r}; part {letter} has 0 to {full:g}")
        parts = row.parts | {letter: row.parts[letter] | {"points": points, "comment": given["comment"]}}
        known[whose] = replace(row, parts=parts)
    return list(known.values())


def grades(rows: list[Row], path: Path) -> None:
    """``grades.csv``: a row a student and assignment, empty where a part has still to be read."""
    letters = sorted({letter for row in rows for letter in row.parts})
    header = ["student", "assignment", *letters, "total", "of", "to be read", "state", "reason"]
    table = [
        [
            row.student,
            row.chapter,
            *(row.parts[letter]["points"] if letter in row.parts else "" for letter in letters),
            row.total,
            row.full,
            " ".join(row.unread),
            row.state,
            row.reason,
        ]
        for row in rows
    ]
    write(path, header, table)


def exported(rows: list[Row], roster: list[dict[str, str]], out: Path) -> list[str]:
    """``canvas.csv`` and ``moodle.csv`` for the students of a ``roster``; a cell is empty while a part has still to be read.

    A folder of submissions belongs to the student whose login, id or name it carries. Returns folders that belong to nobody.
    """
    chapters = [chapter for chapter in source.CHAPTERS if any(row.chapter == chapter for row in rows)]
    titles = [source.assignment(chapter).title for chapter in chapters]
    found = {(row.student, row.chapter): row for row in rows}
    owner = {student[key]: student["login"] for key in ROSTER for student in roster if student[key]}
    mine = {(owner.get(name), chapter): row for (name, chapter), row in found.items()}

    def totals(student):
        own = [mine.get((student["login"], chapter)) for chapter in chapters]
        return ["" if row is None or row.unread else row.total for row in own]

    full = [sum(source.points(chapter).values()) for chapter in chapters]
    canvas = [["    Points Possible", "", "", "", "", *full]]
    canvas += [[each["name"], each["id"], "", each["login"], "", *totals(each)] for each in roster]
    write(out / "canvas.csv", ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles], canvas)
    moodle = [[each["login"], each["id"], each["name"], *totals(each)] for each in roster]
    write(out / "moodle.csv", ["Username", "ID number", "Full name", *titles], moodle)
    return sorted({row.student for row in rows if row.student not in owner})
