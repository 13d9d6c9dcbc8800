"""The course end to end: submissions of all kinds in their boxes, what each gets, and that nothing gets out."""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import course_submissions as submissions
import psutil
import pytest

from course import box, feedback, grade, source, tables
from course.intake import shown

pytestmark = [pytest.mark.course, pytest.mark.skipif(bool(box.missing()), reason=box.missing() or "a box")]
LIMITS = box.Limits(cells=14, answer=9, total=26, memory=2500, disk=20, output=4, processes=24)
STORED = source.ROOT / "results" / "course" / "contained.md"


def tree(*folders):
    """A hash of all that stands in some folders: names, kinds, bytes."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(Path(folder).rglob("*"), key=os.fsencode):
            if "__pycache__" in path.parts:
                continue
            about = path.lstat()
            found.update(os.fsencode(path) + str((about.st_mode, about.st_size)).encode())
            if path.is_file() and not path.is_symlink():
                found.update(path.read_bytes())
    return found.hexdigest()


def processes(base):
    """Command lines of boxes that still run, of those whose task lies below ``base``; what is in a box ends with it."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [each.cmdline()] if any(part.startswith(str(base)) for part in each.cmdline()) else []
    return found


def place(folder, number, row):
    """Write the folder of one submission."""
    own = folder / (row.folder or f"s{number:02}")
    own.mkdir()
    for name, content in row.files.items():
        if content is None:
            os.mkfifo(own / name)
        elif isinstance(content, str):
            (own / name).symlink_to(content)
        else:
            (own / name).write_bytes(content)
    return shown(own.name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All submissions, graded: [(submission, row)], the folder, what the trees were before and are after, seconds."""
    base = tmp_path_factory.mktemp("course")
    folder, out = base / "submitted", base / "grades"
    folder.mkdir()
    all_rows = list(submissions.rows())
    names = [place(folder, number, row) for number, row in enumerate(all_rows)]
    watched = (folder, source.ROOT / "lib", source.ROOT / "course", source.ROOT / "notebooks")
    before = tree(*watched)
    said = source.settings()
    said[submissions.CHAPTER]["deadline"] = datetime(2100, 1, 1, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(base))
        patch.setattr(source, "settings", lambda: said)
        graded = grade.graded(folder, out, submissions.SALT, (submissions.CHAPTER,), LIMITS, jobs=3)
        of = {row.student: row for row in graded}
        yield {
            "pairs": [(row, of[name]) for row, name in zip(all_rows, names, strict=True)],
            "rows": graded,
            "folder": folder,
            "out": out,
            "same": before == tree(*watched),
            "left": processes(base),
        }


def full(row):
    """Letters that got full points, and those that got some."""
    letters = {letter for letter, part in row.parts.items() if part["points"] is not None}
    return (
        {letter for letter in letters if row.parts[letter]["points"] == row.parts[letter]["full"]},
        {letter for letter in letters if row.parts[letter]["points"]},
        letters,
    )


def as_expected(row, expected):
    """Whether a row got what is expected of its submission."""
    whole, some, letters = full(row)
    lost = expected.lost
    points = {"*": not some, "+": whole != letters, "?": True}.get(lost, whole == letters - set(lost))
    escaped = any("ESCAPED" in text for _, text in row.faults)
    return row.state == expected.state and points and expected.reason in row.reason and not escaped


def told(row):
    """What a row got, in words."""
    whole, some, letters = full(row)
    if row.state in ("refused", "missing"):
        return row.state
    gone = " ".join(sorted(letters - whole))
    points = "all points" if whole == letters else "no points" if not some else f"all but {gone}"
    return points if row.state == "graded" else f"{row.state}: {points}"


def test_every_submission_gets_what_it_should(run):
    wrong = [
        f"{expected.name}: {told(row)} ({row.reason}) {[part['hints'] for part in row.parts.values()]} {row.faults[:2]}"
        for expected, row in run["pairs"]
        if not as_expected(row, expected)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_outside_the_boxes_changed_and_no_process_is_left(run):
    assert run["same"]
    assert not run["left"]


def test_every_box_ended_in_time(run):
    assert max(row.seconds for row in run["rows"]) < LIMITS.total + 10


def test_other_rows_are_what_they_are_alone(run, tmp_path):
    """The own solution, graded with nothing beside it, gets the same row as among all the others."""
    place(tmp_path, 0, run["pairs"][0][0])
    alone = grade.graded(tmp_path, tmp_path.parent / "alone", submissions.SALT, (submissions.CHAPTER,), LIMITS, jobs=1)
    assert alone[0].parts == run["pairs"][0][1].parts


def test_what_was_graded_is_not_run_again(run, monkeypatch):
    monkeypatch.setattr(box, "run", lambda *_, **__: pytest.fail("a submission ran twice"))
    monkeypatch.setattr("course.scores.run", box.run)
    again = grade.graded(run["folder"], run["out"], submissions.SALT, (submissions.CHAPTER,), LIMITS)
    assert again == run["rows"]


def test_pages_hold_no_markup_of_a_student(run):
    paths = feedback.pages(run["rows"], run["folder"], run["out"] / "feedback", submissions.SALT)
    assert len(paths) == len(run["rows"]) == len(set(paths))
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text and "<img" not in text and "<b>bold" not in text and "\x1b" not in text
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in path.read_text(encoding="utf-8") for path in paths)


def test_the_table_holds_every_name_and_no_formula(run):
    path = run["out"] / "grades.csv"
    tables.grades(run["rows"], path)
    read = tables.read(path, ("student", "assignment", "total", "state"))
    assert [row["student"].lstrip("'") for row in read] == [row.student for row in run["rows"]]
    assert not any(row["student"].startswith("=") for row in read)


def test_the_table_of_the_book_is_what_was_seen(run):
    """Set COURSE_TABLE=write to store what this run saw."""
    lines = ["| kind | submission | what it gets |", "| --- | --- | --- |"]
    lines += [
        f"| {expected.kind} | {expected.name} | {'contained' if expected.lost == '?' else told(row)} |"
        for expected, row in run["pairs"]
    ]
    text = "\n".join(lines) + "\n"
    if os.environ.get("COURSE_TABLE") == "write":
        STORED.parent.mkdir(exist_ok=True)
        STORED.write_text(text, encoding="utf-8")
    assert STORED.read_text(encoding="utf-8") == text


KILLED = """import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from course import grade
import course_submissions as submissions
grade.graded(Path({folder!r}), Path({out!r}), submissions.SALT, (submissions.CHAPTER,), grade.box.limits(), jobs=1)
"""


def test_a_killed_run_goes_on_and_leaves_no_box(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        place(folder, number, submissions.Submission("own", "", submissions.written(submissions.solved())))
    root, tests = str(source.ROOT), str(Path(__file__).parent)
    code = KILLED.format(root=root, tests=tests, folder=str(folder), out=str(out))
    first = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not list(out.glob("done/*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    first.kill()
    first.wait()
    stored = {path.name: path.read_bytes() for path in out.glob("done/*.json")}
    until = time.monotonic() + 5
    while processes(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert 1 <= len(stored) < 4 and not processes(tmp_path)
    rows = grade.graded(folder, out, submissions.SALT, (submissions.CHAPTER,), box.limits())
    assert [row.state for row in rows] == ["graded"] * 4 and len(list(out.glob("done/*.json"))) == 4
    assert all((out / "done" / name).read_bytes() == content for name, content in stored.items())
