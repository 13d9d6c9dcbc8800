"""The course outside its boxes: sources, hints, what comes in, what goes out."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import sympy as sp
import torch

from course import __main__ as command
from course import box, feedback, grade, inside, intake, source, tables
from course.parts import Answer, Wrong, compared, step

CHAPTERS = source.CHAPTERS
DIRECTIVE = re.compile(
    r"^(:::|```\{|\{(ref|numref|eq|cite|term|doc|prf:ref)\}`)|<(br|div|span|img|details)\b", re.MULTILINE
)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_an_assignment_has_the_form(chapter):
    of, full = source.assignment(chapter), source.points(chapter)
    letters = [part.id for part in of.parts]
    assert letters == list("abcdef")[: len(letters)] == list(full) and 4 <= len(letters) <= 6
    assert sum(part.written for part in of.parts) == 1 and sum(full.values()) == 20
    assert 3 <= len(of.goals) <= 4
    cells = source.notebook(chapter, "form").cells
    kinds = {
        part.id: [
            cell.metadata.nbgrader.grade_id.partition("-")[0]
            for cell in cells
            if cell.metadata.nbgrader.grade_id.endswith(f"-{part.id}")
        ]
        for part in of.parts
    }
    assert all(kinds[part.id] == (["written"] if part.written else ["solution", "test"]) for part in of.parts)
    for cell in cells:
        kind = cell.metadata.nbgrader.grade_id.partition("-")[0]
        assert cell.source.count("### BEGIN SOLUTION") == cell.source.count("### END SOLUTION") == (kind == "solution")
        assert "<<" not in cell.source and ">>" not in cell.source
        if cell.cell_type == "markdown":
            assert not DIRECTIVE.search(cell.source), cell.source
    assert any(f"{value:g} points" in cell.source for cell in cells for value in full.values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_constants_belong_to_the_salt(chapter):
    of = source.assignment(chapter)
    assert of.constants("one") == of.constants("one")
    drawn = {json.dumps(of.constants(str(salt)), sort_keys=True, default=str) for salt in range(200)}
    assert len(drawn) >= 9
    assert len({source.fingerprint(chapter, str(salt)) for salt in range(50)}) > 1


@pytest.mark.parametrize("name", ["plan", "parts"])
def test_the_tables_of_the_book_are_those_of_the_assignments(name):
    """COURSE_TABLE=write stores them."""
    path, text = source.ROOT / "results" / "course" / f"{name}.md", getattr(source, name)()
    if os.environ.get("COURSE_TABLE") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def solution_lines(chapter):
    """The lines of solutions that are long enough to be known again, as text."""
    regions = re.findall(
        r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", (source.SOURCES / f"{chapter}.py").read_text(), re.DOTALL
    )
    return {line.strip() for region in regions for line in region.splitlines() if len(line.strip()) > 30}


def test_the_built_site_holds_no_solution():
    """Pages, sources and the search index: wherever the book is built."""
    site = source.ROOT / "_build" / "html"
    if not site.is_dir():
        pytest.skip("the book is not built")
    lines = {line for chapter in CHAPTERS for line in solution_lines(chapter)}
    assert len(lines) > 50
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".txt", ".md", ".ipynb", ".json"):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "END SOLUTION" not in text and not [line for line in lines if line in text], path


def test_nothing_imports_the_course():
    for path in [*(source.ROOT / "lib").rglob("*.py"), *(source.ROOT / "book").rglob("*.py")]:
        assert not re.search(r"^\s*(from|import) course\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


WANTED = np.array([[1.0, 2.0], [3.0, -4.0]])


@pytest.mark.parametrize(
    "given, words",
    [
        (WANTED, None),
        (WANTED * (1 + 1e-9), None),
        (-WANTED, "sign"),
        (WANTED / 2, "factor 2 is missing"),
        (2 * WANTED, "twice"),
        (-WANTED / 2, "sign is the other one, and a factor 2"),
        (WANTED.T, "transpose"),
        (3 * WANTED, "3 times"),
        (WANTED + 0.1, "off by up to 0.025"),
        (np.array([1.0, 2.0]), "shape (2, 2)"),
        (np.array([[1.0, np.nan], [0.0, 0.0]]), "not finite"),
        ("text", "expected numbers"),
        (None, "expected numbers"),
    ],
)
def test_hints_name_what_is_wrong(given, words):
    (found,) = [step(1.0, lambda: compared(Answer(given), WANTED))]
    assert found.right == (words is None) and (words or "") in found.hint


def test_single_precision_has_its_own_tolerance():
    near = WANTED * (1 + 5e-5)
    assert compared(Answer(near, precision="float32"), WANTED) is None
    assert compared(Answer(near), WANTED) is not None


def test_an_error_is_a_hint():
    with pytest.raises(Wrong, match="NameError"):
        compared(Answer(error="NameError: x"), 1.0)
    assert step(0.5, lambda: compared(Answer(error="NameError: x"), 1.0)).hint == "NameError: x"
    assert compared(Answer({"a": np.array(2.0)}).entry("a"), 2.0) is None
    with pytest.raises(Wrong, match="entry 'b'"):
        Answer({"a": 1}).entry("b")


@pytest.mark.parametrize(
    "value, kept, precision",
    [
        (1, 1.0, "float64"),
        (np.float32(0.5), 0.5, "float32"),
        ([1, 2.5], [1.0, 2.5], "float64"),
        (torch.tensor([[1.0]], dtype=torch.float32, requires_grad=True), [[1.0]], "float32"),
        (sp.Matrix([[1, 2]]), [[1.0, 2.0]], "float64"),
        (np.array([np.nan, np.inf]), [np.nan, np.inf], "float64"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "float64"),
    ],
)
def test_numbers_come_out_of_a_box_as_they_went_in(value, kept, precision):
    frame = json.loads(json.dumps({"at": 0, "value": inside.plain(value)}))
    answer = box.read(frame)
    assert np.array_equal(answer.value, np.array(kept), equal_nan=True) and answer.precision == precision


def test_text_and_dicts_come_out_too():
    given = {"mode": "momentum", "rates": [0.1, 0.2], "many": ["a", {"b": True}], "none": None}
    answer = box.read({"at": 0, "value": inside.plain(given)})
    assert answer.value["mode"] == "momentum" and np.array_equal(answer.value["rates"], [0.1, 0.2])
    assert answer.value["many"] == ["a", {"b": True}] and answer.value["none"] is None


@pytest.mark.parametrize("value", [object(), np.ones(10**6), 1j, lambda: 0, np.array(["a"]), {"a": object()}])
def test_other_things_do_not_come_out(value):
    with pytest.raises((TypeError, ValueError)):
        inside.plain(value)


def test_an_expression_is_evaluated_by_the_names_of_its_symbols():
    a, b = sp.symbols("a b", positive=True)
    points = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 5.0])}
    assert np.allclose(inside.evaluated(a**2 - b, points), [-2.0, -1.0])
    assert inside.evaluated(sp.Matrix([[a, b]]), points).shape == (2, 1, 2)
    assert np.allclose(inside.evaluated(sp.Derivative(sp.Symbol("a") ** 3, sp.Symbol("a")), points), [3.0, 12.0])
    for wrong in (sp.Symbol("c") + a, "a**2", sp.sqrt(-a)):
        with pytest.raises((ValueError, TypeError)):
            inside.evaluated(wrong, points)


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[1]", b'{"at": 99, "value": 1}', b'{"at": 0}', b'{"at": 0, "value": 1}', b'{"faults": 3}', b"[" * 10**5,
     b'{"at": 0, "value": {"array": [1], "shape": [5], "dtype": "float64"}}', b'{"at": true, "value": {}}', b"\xff\xfe"],
)  # fmt: skip
def test_lines_that_are_no_answer_are_passed_over(line):
    reply = box._reply([line], "", 1)
    assert reply.answers[0].error and reply.reason


def copy_of(tmp_path, change=lambda notebook: None, student="ann", chapter="foundations"):
    """A folder of submissions with one notebook, changed."""
    notebook = source.notebook(chapter, "salt")
    change(notebook)
    place = tmp_path / student
    place.mkdir(parents=True)
    (place / f"{chapter}.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    return tmp_path


def test_a_submission_is_found_in_both_layouts(tmp_path):
    folder = copy_of(tmp_path)
    assert intake.handed(folder, "ann", "foundations", "salt", 10**7).notebook
    copy_of(tmp_path / "bob", student="foundations")
    assert intake.handed(folder, "bob", "foundations", "salt", 10**7).notebook
    assert "another salt" in intake.handed(folder, "ann", "foundations", "other", 10**7).reason
    assert "MB" in intake.handed(folder, "ann", "foundations", "salt", 100).reason
    assert intake.handed(folder, "ann", "kernels", "salt", 10**7).reason.startswith("missing")


ROW = grade.Row(
    "ann",
    "foundations",
    "graded",
    "",
    {
        "a": {"title": "A", "points": 3.0, "full": 4, "hints": ["a factor 2 is missing"], "comment": ""},
        "e": {"title": "E", "points": None, "full": 4, "hints": [], "comment": ""},
    },
    [],
)


@pytest.fixture
def written_e(monkeypatch):
    """An assignment whose part e is read by a person."""
    letter = next(part.id for part in source.assignment("foundations").parts if part.written)
    return replace(ROW, parts={"a": ROW.parts["a"], letter: ROW.parts["e"]}), letter


def test_points_of_written_parts_are_merged(tmp_path, written_e):
    row, letter = written_e
    path = tmp_path / "manual.csv"
    assert tables.merged([row], path) == [row] and row.unread == [letter] and row.total == 3
    path.write_text(f'student,assignment,part,points,comment\nann,foundations,{letter},2.5,"good, but short"\n')
    (found,) = tables.merged([row], path)
    assert found.total == 5.5 and not found.unread and found.parts[letter]["comment"] == "good, but short"


@pytest.mark.parametrize(
    "line, words",
    [
        ("bob,foundations,{e},1,", "line 2: nothing was handed in by 'bob'"),
        ("ann,foundations,a,1,", "part 'a' is not read by hand"),
        ("ann,foundations,{e},5,", "0 to 4"),
        ("ann,foundations,{e},many,", "'many'"),
    ],
)
def test_wrong_lines_of_manual_points_are_named(tmp_path, written_e, line, words):
    row, letter = written_e
    (tmp_path / "manual.csv").write_text("student,assignment,part,points,comment\n" + line.format(e=letter))
    with pytest.raises(tables.Unfit, match=re.escape(words)):
        tables.merged([row], tmp_path / "manual.csv")
    (tmp_path / "manual.csv").write_text("student,points\nann,3\n")
    with pytest.raises(tables.Unfit, match="no column 'assignment'"):
        tables.merged([row], tmp_path / "manual.csv")


def test_canvas_and_moodle_read_back_what_was_written(tmp_path):
    title = source.assignment("foundations").title
    done = replace(ROW, student="ann7", parts={"a": ROW.parts["a"]})
    roster = [
        {"name": "Neil, Ann", "id": "1007", "login": "ann7"},
        {"name": "=cmd()", "id": "1008", "login": "bob"},
    ]
    rows = [done, replace(ROW, student="1008"), replace(done, student="stranger")]
    assert tables.exported(rows, roster, tmp_path) == ["stranger"]
    canvas = tables.read(tmp_path / "canvas.csv", ("Student", "ID", "SIS Login ID", title))
    assert canvas[0]["Student"] == "Points Possible" and canvas[0][title] == "20"
    assert canvas[1] == {"Student": "Neil, Ann", "ID": "1007", "SIS Login ID": "ann7", title: "3"}
    assert canvas[2]["Student"] == "'=cmd()" and canvas[2][title] == ""
    moodle = tables.read(tmp_path / "moodle.csv", ("Username", "ID number", title))
    assert [row["Username"] for row in moodle] == ["ann7", "bob"] and moodle[0][title] == "3"


def test_a_page_shows_markup_as_text(tmp_path):
    folder = copy_of(
        tmp_path / "in", lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("'<script>x</script>'"))
    )
    row = replace(ROW, reason="<b>bold</b>", faults=[[3, "\x1b[31mValueError: <img src=x>"]])
    (path,) = feedback.pages([row], folder, tmp_path / "pages", "salt")
    text = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text and "&lt;img" in text and "&lt;b&gt;bold" in text
    assert not re.search(r"<(script|img|b)\b|\x1b", text) and "3 of 4" in text and "to be read" in text


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "Ann", "ann", 'x" onload="', "\n", "ünïcode" * 30])
def test_pages_have_plain_names_of_their_own(name):
    assert re.fullmatch(r"[A-Za-z0-9-]{1,40}-[0-9a-f]{8}\.html", feedback.place(name))
    assert feedback.place(name) != feedback.place(name + " ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["grade", "absent"], "is no folder"),
        (["grade", "."], "holds no folders"),
        (["grade", "full"], "holds a notebook named"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    if arguments[1] == "full":
        (tmp_path / "full" / "ann").mkdir(parents=True)
    assert command.run(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said


def test_without_a_box_nothing_is_graded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "bubblewrap" in box.missing()
    assert command.run(["grade", str(copy_of(tmp_path / "in"))]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "UNSAFE=1" in said


def test_the_grader_tells_another_system_what_to_do(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert "container" in box.missing()


def test_a_submission_runs_without_a_box_where_it_is_trusted():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("def double(x): return 2 * x\n1 / 0")])
    asks = [box.Ask("double", {"x": np.arange(3.0)}), box.Ask("absent", {})]
    reply = box.run(nbformat.writes(notebook).encode(), asks, box.limits(), 0, unsafe=True)
    assert np.array_equal(reply.answers[0].value, [0, 2, 4]) and "defines no absent" in reply.answers[1].error
    assert reply.faults == [(1, "ZeroDivisionError: division by zero")] and not reply.reason


def test_an_answer_may_use_what_a_visible_test_defines():
    code = "from math import pi\ndef twice(x): return 2 * x\nprint(twice(1))\nassert False"
    test = nbformat.v4.new_code_cell(code, metadata={"nbgrader": {"grade": True}})
    answer = nbformat.v4.new_code_cell("def turn(x): return twice(x) * pi")
    notebook = nbformat.writes(nbformat.v4.new_notebook(cells=[test, answer])).encode()
    reply = box.run(notebook, [box.Ask("turn", {"x": 1.0})], box.limits(), 0, unsafe=True)
    assert not reply.answers[0].error and not reply.faults
    assert reply.answers[0].number() == pytest.approx(2 * np.pi)
    faults = box.run(notebook, [], box.limits(), 0, unsafe=True, tests=True).faults
    assert [cell for cell, _ in faults] == [1]


def test_the_help_names_every_command():
    shown = subprocess.run(
        [sys.executable, "-m", "course", "--help"], cwd=source.ROOT, capture_output=True, text=True, check=True
    )
    assert all(word in shown.stdout for word in ("assignments", "grade", "solve"))
