"""Grade a folder of submissions: boxes beside each other, results kept one by one, so that a killed run goes on."""

import hashlib
import queue
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from tqdm import tqdm

from attnflow import files
from course import box, intake, scores, source
from course.parts import Ask


@dataclass(frozen=True)
class Row:
    """One student and one assignment: its ``state`` (graded, late, refused, missing), why, and what the parts got.

    parts: letter -> {"part", "title", "points" (None: still to be read), "full", "hints", "comment"}; faults: [cell, text] of the
    run; share: of its points that late work keeps; seconds: that its box took.
    """

    student: str
    chapter: str
    state: str
    reason: str
    parts: dict
    faults: list
    share: float = 1.0
    seconds: float = 0.0

    @property
    def total(self) -> float:
        """All points so far, less what lateness costs."""
        return round(self.share * sum(part["points"] or 0.0 for part in self.parts.values()), 2)

    @property
    def full(self) -> float:
        """All points that there are."""
        return sum(part["full"] for part in self.parts.values())

    @property
    def unread(self) -> list[str]:
        """Letters of the parts that a person has still to read."""
        return [letter for letter, part in self.parts.items() if part["points"] is None]


COUNTER = """import os, time
def count(most):
    children = 0
    try:
        while children < most:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            children += 1
    except OSError:
        pass
    return children"""


def binds(limits: box.Limits) -> str:
    """Whether the limit on processes binds here, tried with a box that starts more than it may: empty, or one line."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(COUNTER)])
    most = 4 * limits.processes
    reply = box.run(nbformat.writes(notebook).encode(), [Ask("count", {"most": most})], limits, seed=0)
    answer = reply.answers[0]
    if answer.error:
        return f"a first box did not answer: {reply.reason or answer.error}"
    if answer.number() >= most:
        return f"the limit of {limits.processes} processes does not bind here: {most} were started"
    return ""


def code() -> str:
    """A short hash of the grader, and of the library that it compares with."""
    paths = [*sorted((source.ROOT / "course").glob("*.py")), *sorted((source.ROOT / "lib").rglob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def secret(out: Path) -> str:
    """What the inputs of one grading are drawn from: drawn once, and kept beside its results."""
    path = out / "inputs.json"
    if not path.is_file():
        files.write_json(path, {"drawn from": secrets.token_hex(16)})
    return files.read_json(path)["drawn from"]


def graded(
    folder: Path,
    out: Path,
    salt: str,
    chapters: tuple[str, ...],
    limits: box.Limits,
    jobs: int = 2,
    unsafe: bool = False,
) -> list[Row]:
    """Grade what stands in a ``folder``, one folder a student, and keep every result in ``out/done``.

    salt: of the copies; chapters: which assignments; limits: of a box; jobs: boxes at a time; unsafe: without boxes. What was
    graded before, by the same grader, is read and not run again. Returns a row a student and assignment.
    """
    done = out / "done"
    done.mkdir(parents=True, exist_ok=True)
    drawn, grader, slots = secret(out), code(), queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    most = source.settings()["limits"]["notebook"] * 10**6
    work = [(student, chapter) for student in intake.students(folder) for chapter in chapters]

    def one(pair):
        found = intake.handed(folder, *pair, salt, int(most))
        if found.notebook is None:
            return _row(found, "missing" if found.reason.startswith("missing") else "refused")
        words = (drawn, found.student, found.chapter)
        key = hashlib.sha256(repr((grader, salt, limits, words, found)).encode()).hexdigest()[:24]
        path = done / f"{key}.json"
        if path.is_file():
            return Row(**files.read_json(path))
        slot = slots.get()
        try:
            parts, reply = scores.graded(pair[1], salt, found.notebook, words, limits, slot, unsafe=unsafe)
        finally:
            slots.put(slot)
        row = _row(found, "late" if found.late else "graded", parts, reply)
        files.write_json(path, asdict(row))
        return row

    with ThreadPoolExecutor(jobs) as pool:
        return list(tqdm(pool.map(one, work), total=len(work), desc="submissions", unit=""))


def _row(handed, state, parts=None, reply=None):
    """A row of a submission; what was not graded gets no points, in the written parts either."""
    if parts is None:
        of, full = source.assignment(handed.chapter), source.points(handed.chapter)
        parts = [scores.Score(part.id, part.title, 0.0, full[part.id]) for part in of.parts]
    told = {part.part: asdict(part) | {"hints": list(part.hints), "comment": ""} for part in parts}
    reasons = [handed.reason, reply.reason if reply else ""]
    return Row(
        handed.student,
        handed.chapter,
        state,
        "; ".join(each for each in reasons if each),
        told,
        [list(fault) for fault in reply.faults] if reply else [],
        source.settings()["limits"]["late"] if handed.late else 1.0,
        round(reply.seconds, 1) if reply else 0.0,
    )
