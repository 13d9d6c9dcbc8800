"""Submissions of all kinds, made from the own solution of an assignment: what each should get, and what it may not do."""

import copy
import io
import re
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat

from course import source
from course.scores import questions

CHAPTER = "foundations"
SALT = "tests"
REGION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Submission:
    """One row: its name and kind, what stands in its folder, and what is expected of it.

    files: name -> bytes, the target of a link, or None for a pipe; state: of its row; lost: letters of parts without full points,
    "*" where none gets any, "+" where some lose theirs, "?" where it does not matter; reason: words in the row; folder: its name.
    """

    name: str
    kind: str
    files: dict
    state: str = "graded"
    lost: str = ""
    reason: str = ""
    folder: str = ""


def solved():
    """The own solution, as a notebook."""
    return source.notebook(CHAPTER, SALT)


def asked():
    """(letter, name, kind) of all that the parts ask for, once each."""
    found = questions(source.assignment(CHAPTER), SALT, "names")
    return list(dict.fromkeys((letter, ask.name, ask.kind) for letter, asks in found.items() for ask in asks))


def bomb():
    """A small archive of a notebook of 200 MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{CHAPTER}.ipynb", bytes(200_000_000))
    return packed.getvalue()


def bare(notebook):
    """A copy without answers in its cells of code, those that nbgrader makes."""
    found = copy.deepcopy(notebook)
    for cell in found.cells:
        if cell.metadata.nbgrader.solution:
            cell.source = REGION.sub(r"\1# YOUR CODE HERE\n\1raise NotImplementedError()", cell.source)
    return found


def placed(notebook, code, last=False):
    """A copy with one more cell of ``code``: behind the imports, or at the end."""
    found = copy.deepcopy(notebook)
    at = next(i for i, cell in enumerate(found.cells) if "def check" in cell.source) + 1
    cell = nbformat.v4.new_code_cell(code)
    cell.metadata.nbgrader = {}
    found.cells.insert(len(found.cells) if last else at, cell)
    return found


def written(notebook, name=CHAPTER):
    """Files of a folder with this notebook."""
    return {f"{name}.ipynb": nbformat.writes(notebook).encode()}


def changed(code):
    """The own solution with all that it defines wrapped; ``code`` defines what becomes of a value, or of an expression."""
    wraps = []
    for _, name, kind in asked():
        if kind == "expression":
            wraps.append(f"{name} = changed({name})")
        else:
            wraps.append(f"{name} = (lambda own: lambda **given: each(own(**given)))({name})")
    return placed(solved(), f"{code}\n\n{EACH}\n" + "\n".join(wraps), last=True)


EACH = """def each(value):
    if isinstance(value, dict):
        return {name: each(part) for name, part in value.items()}
    if isinstance(value, (str, bool, type(None))):
        return value
    return changed(value)
"""


def rows():
    """All submissions."""
    full, blank = solved(), bare(solved())
    last, name, _ = [each for each in asked() if each[2] == "call"][-1]
    solutions = [cell for cell in full.cells if cell.metadata.nbgrader.grade_id.startswith("solution-")]

    def without(cell):
        return nbformat.from_dict(full | {"cells": [each for each in full.cells if each is not cell]})

    lost = solutions[-1].metadata.nbgrader.grade_id[-1]
    moved = [each for each in full.cells if each is not solutions[-1]]
    moved.insert(moved.index(solutions[0]), solutions[-1])
    twice = [copy.deepcopy(cell) for cell in full.cells for _ in range(2)]
    for at, cell in enumerate(twice):
        cell.id = f"twice-{at}"
    yield Submission("the own solution", "right or wrong", written(full))
    yield Submission("blank", "right or wrong", written(blank), lost="*")
    yield Submission(
        "wrong sign", "right or wrong", written(changed("def changed(value): return -1 * value")), lost="+"
    )
    single = "def changed(value): return value if isinstance(value, sp.Basic) else np.asarray(value).astype(np.float32)"
    yield Submission("float32", "right or wrong", written(changed(single)))
    nothing = "def changed(value): return sp.nan if isinstance(value, sp.Basic) else np.nan * np.asarray(value)"
    yield Submission("NaN", "right or wrong", written(changed(nothing)), lost="*")
    infinite = "def changed(value): return sp.oo if isinstance(value, sp.Basic) else np.full(np.shape(value), np.inf)"
    yield Submission("infinity", "right or wrong", written(changed(infinite)), lost="*")
    lucky = "def changed(value): return sp.Integer(1) if isinstance(value, sp.Basic) else np.ones(np.shape(value))"
    yield Submission("one answer for all inputs", "right or wrong", written(changed(lucky)), lost="*")
    yield Submission("a cell deleted", "right or wrong", written(without(solutions[-1])), lost=lost)
    yield Submission("cells reordered", "right or wrong", written(nbformat.from_dict(full | {"cells": moved})))
    yield Submission("cells twice", "right or wrong", written(nbformat.from_dict(full | {"cells": twice})))
    yield Submission(
        "older notebook format",
        "right or wrong",
        {f"{CHAPTER}.ipynb": nbformat.writes(copy.deepcopy(full), 3).encode()},
    )
    other = copy.deepcopy(full)
    other.metadata.attnflow.assignment = "kernels"
    yield Submission("copy of another chapter", "right or wrong", written(other), "refused", "*", "'kernels'")
    foreign = copy.deepcopy(full)
    foreign.metadata.attnflow.drawn = "0" * 12
    yield Submission("copy of another salt", "right or wrong", written(foreign), "refused", "*", "another salt")
    hostile = tomllib.loads((Path(__file__).parent / "course_hostile.toml").read_text(encoding="utf-8"))
    for each in hostile["front"]:
        code = each["code"].replace("REPOSITORY", str(source.ROOT))
        yield Submission(each["name"], "hostile", written(placed(full, code)), lost=each["lost"])
    yield Submission("endless loop in the last cell", "hostile", written(placed(full, "while True: pass", last=True)))
    for each in hostile["answer"]:
        code = each["code"].replace("NAME", name)
        yield Submission(each["name"], "hostile", written(placed(full, code, last=True)), lost=last)
    for each in hostile["blank"]:
        yield Submission(each["name"], "hostile", written(placed(blank, each["code"])), lost="*")
    yield Submission("corrupt JSON", "files", {f"{CHAPTER}.ipynb": b'{"cells": [' * 5}, "refused", "*", "broken")
    yield Submission("deep JSON", "files", {f"{CHAPTER}.ipynb": b"[" * 100_000}, "refused", "*", "broken")
    yield Submission("not a notebook", "files", {f"{CHAPTER}.ipynb": b"%PDF-1.7"}, "refused", "*", "not a notebook")
    yield Submission("a huge file", "files", {f"{CHAPTER}.ipynb": b" " * 6_000_000}, "refused", "*", "more than")
    yield Submission("no file", "files", {}, "missing", "*", "missing")
    yield Submission("a zip bomb", "files", {f"{CHAPTER}.zip": bomb()}, "missing", "*", "archive")
    yield Submission(
        "a link to another's notebook", "files", {f"{CHAPTER}.ipynb": "../s00/x.ipynb"}, "refused", "*", "link"
    )
    yield Submission("a folder that is a link", "files", {CHAPTER: "/etc"}, "refused", "*", "link")
    yield Submission("a pipe", "files", {f"{CHAPTER}.ipynb": None}, "refused", "*", "not a file")
    late = written(full) | {"timestamp.txt": b"2101-01-01T00:00:00+00:00"}
    yield Submission("handed in late", "files", late, "late", "", "late by")
    yield Submission("a name with , \" and '", "names", written(full), folder="O\"Neil, 'Ann'")
    yield Submission("a name of two lines", "names", written(full), folder="two\nlines")
    yield Submission("a name that is a formula", "names", written(blank), lost="*", folder='=HYPERLINK("http:x","y")')
    yield Submission("a name that is no text", "names", written(blank), lost="*", folder="caf\udce9")
    markup = "raise ValueError('<script>alert(1)</script><img src=x onerror=alert(2)>\\x1b[31mred')"
    yield Submission(
        "script in an error", "names", written(placed(full, markup)), folder="<b>bold</b>".replace("/", "|")
    )
