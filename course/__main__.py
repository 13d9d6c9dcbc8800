"""``python -m course``: run what a teacher needs, from copies for students to grades."""

import argparse
import collections
import os
import sys
import time
from pathlib import Path

import nbformat

from course import box, feedback, grade, intake, release, scores, source, tables

BUILT = source.ROOT / "_build"


class Unusable(Exception):
    """A call that cannot be carried out, with one line that says why."""


def assignments(options: argparse.Namespace) -> int:
    """Write the copies of the students."""
    try:
        for folder in release.release(options.salt, BUILT / "assignments", tuple(options.chapter) or source.CHAPTERS):
            print(f"{folder / folder.name}.ipynb and .zip")
    except release.Missing as missing:
        raise Unusable(str(missing)) from None
    return 0


def grade_all(options: argparse.Namespace) -> int:
    """Grade a folder of submissions, and write tables and pages."""
    folder, out = options.submissions, BUILT / "grades"
    if not folder.is_dir():
        raise Unusable(f"{str(folder)!r} is no folder; it should hold one folder a student, each with <chapter>.ipynb")
    names = intake.students(folder)
    if not names:
        raise Unusable(f"{str(folder)!r} holds no folders, and should hold one a student")
    chapters = tuple(options.chapter) or _found(folder, names)
    if not chapters:
        raise Unusable(f"no folder in {str(folder)!r} holds a notebook named {' or '.join(source.CHAPTERS)}.ipynb")
    bounds = box.limits()
    if not options.unsafe and (why := box.missing() or grade.binds(bounds)):
        raise Unusable(f"{why}; UNSAFE=1 grades without a box, which is for submissions that you trust")
    manual, roster = (
        given or folder / name for given, name in ((options.manual, "manual.csv"), (options.roster, "roster.csv"))
    )
    students = tables.read(roster, tables.ROSTER) if roster.is_file() else []
    rows = grade.graded(folder, out, options.salt, chapters, bounds, options.jobs, options.unsafe)
    rows = tables.merged(rows, manual)
    tables.grades(rows, out / "grades.csv")
    feedback.pages(rows, folder, out / "feedback", options.salt)
    if students and (nobody := tables.exported(rows, students, out)):
        print(f"in no row of {roster.name}: {', '.join(map(repr, nobody))}")
    counts = collections.Counter(row.state for row in rows)
    print(f"{len(rows)} rows: {', '.join(f'{count} {state}' for state, count in sorted(counts.items()))}")
    unread = sum(len(row.unread) for row in rows)
    print(
        f"{unread} written parts still to be read; their points go into {manual.name}"
        if unread
        else "all parts are read"
    )
    print(f"{out / 'grades.csv'}\n{out / 'feedback'}")
    return 0


def _found(folder, names):
    """The chapters of which somebody handed in a notebook."""
    there = {each.name for name in names if not (folder / name).is_symlink() for each in os.scandir(folder / name)}
    return tuple(each for each in source.CHAPTERS if each in there or f"{each}.ipynb" in there)


def solve(options: argparse.Namespace) -> int:
    """Grade the own solution of an assignment, as a whole or with lines changed: what a student would get for it."""
    text = (source.SOURCES / f"{options.chapter}.py").read_text(encoding="utf-8")
    for old, new in options.replace:
        if text.count(old) != 1:
            print(f"course: {old!r} stands {text.count(old)} times in the source, and should once", file=sys.stderr)
            return 2
        text = text.replace(old, new)
    notebook = nbformat.writes(source.notebook(options.chapter, options.salt, text)).encode()
    began = time.perf_counter()
    found, reply = scores.graded(
        options.chapter, options.salt, notebook, (options.seed,), box.limits(), unsafe=options.unsafe
    )
    for score in found:
        got = "read by hand" if score.points is None else f"{score.points:g} of {score.full:g}"
        print(f"{score.part}  {got:14} {score.title}")
        for hint in score.hints:
            print(f"     {hint}")
    for cell, fault in reply.faults:
        print(f"cell {cell}: {fault}")
    print(f"{reply.reason or 'all was answered'}; {time.perf_counter() - began:.1f} s")
    return int(any(score.points not in (None, score.full) for score in found))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m course", description=__doc__.partition(": ")[2])
    commands = main.add_subparsers(dest="command", required=True)
    one = commands.add_parser("solve", help="grade the source's own solution, as it is or with text replaced")
    one.add_argument("chapter", choices=source.CHAPTERS)
    one.add_argument("--salt", default="public", help="what constants are drawn from (default: public)")
    one.add_argument("--seed", default="0", help="what the inputs of the grader are drawn from (default: 0)")
    one.add_argument(
        "--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"), help="a change of the text"
    )
    one.add_argument("--unsafe", action="store_true", help="without a box")
    one.set_defaults(run=solve)
    copies = commands.add_parser("assignments", help="write the copies of the students")
    copies.add_argument("--salt", default="public", help="what constants are drawn from (default: public)")
    copies.add_argument("chapter", nargs="*", choices=[*source.CHAPTERS, []], help="which (default: all)")
    copies.set_defaults(run=assignments)
    marks = commands.add_parser("grade", help="grade a folder of submissions")
    marks.add_argument("submissions", type=Path, help="a folder with one folder a student")
    marks.add_argument("chapter", nargs="*", choices=[*source.CHAPTERS, []], help="which (default: those handed in)")
    marks.add_argument("--salt", default="public", help="that of the copies (default: public)")
    marks.add_argument("--manual", type=Path, help="points of written parts (default: manual.csv in the folder)")
    marks.add_argument(
        "--roster", type=Path, help="name, id and login of all students (default: roster.csv in the folder)"
    )
    marks.add_argument("--jobs", type=int, default=2, help="boxes at a time (default: 2)")
    marks.add_argument("--unsafe", action="store_true", help="without boxes: only for submissions that you trust")
    marks.set_defaults(run=grade_all)
    return main


def run(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (Unusable, tables.Unfit) as fault:
        print(f"course: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("course: stopped; what was graded is kept, and the same call goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
