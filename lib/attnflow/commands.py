"""What the subcommands do. Each takes the parsed options and returns the exit status."""

import argparse
import os
import runpy
import traceback
from collections.abc import Sequence
from pathlib import Path

from attnflow import claims, files, runs, sensitivity, stamp, sweep
from attnflow.claims import Claim, Row, quota
from attnflow.claims.row import read_run
from attnflow.rooms import cite, room, rooms, unique

MOST_SEEDS = 1000
BOOK = "100:110"  # the seeds of the book; its rows that state a share take more, from the same first one


def registry(chapters: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """All claims of the given ``chapters``, of the whole book where none are given, in the order of the book."""
    return unique([claim for name in (rooms() if chapters is None else chapters) for claim in room(name).claims])


def seed_range(text: str) -> tuple[int, ...]:
    """``A:B`` or ``N`` (for 0:N) as a range. ``text``: what was given. Raises WrongUse unless 0 <= A < B and B - A <= 1000."""
    allowed = f"A:B or N with whole numbers 0 <= A < B, at most {MOST_SEEDS} of them"
    try:
        first, last = (int(part) for part in (text if ":" in text else f"0:{text}").split(":"))
    except ValueError:
        first, last = 0, 0
    runs.check("--seeds", text, allowed, 0 <= first < last <= first + MOST_SEEDS)
    return tuple(range(first, last))


def writable(path: str) -> Path:
    """Check, before anything runs, that a file can be written at ``path``; returns it as a Path."""
    path = Path(path)
    folder = path.absolute().parent
    ok = folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()
    runs.check("--json", str(path), "a file in a folder that exists and can be written", ok)
    return path


def outside(path: str) -> list[Claim]:
    """The claims of a file that is not part of the book: its list CLAIMS. ``path``: the file.

    Raises WrongUse with file and line where the file cannot be run, and where it has no such list.
    """
    runs.check("--from", path, "a Python file that exists", Path(path).is_file())
    try:
        found = runpy.run_path(path).get("CLAIMS")
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 0
        raise runs.WrongUse(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    good = isinstance(found, (list, tuple)) and bool(found) and all(isinstance(one, Claim) for one in found)
    runs.check(f"CLAIMS of {path}", found, "a list of Claim", good)
    return list(found)


def chosen(options: argparse.Namespace) -> tuple[Claim, ...]:
    """The claims that the ``options`` ask for: chapters, files, ids."""
    for name in options.chapter or ():
        runs.choice("--chapter", name, tuple(rooms()))
    own = [claim for path in options.files or () for claim in outside(path)]
    book = registry(options.chapter or ([] if own else None))
    found = unique([*book, *own])
    for name in options.id or ():
        runs.check("--id", name, "an id that --list shows", name in [claim.id for claim in found])
    return tuple(claim for claim in found if not options.id or claim.id in options.id)


def evaluated(found: Sequence[Claim], seeds: Sequence[int], where: object) -> list[Row]:
    """Rows of the claims ``found`` on ``seeds`` and the device ``where``, printed as they finish.

    On the seeds of the book a row with a quota takes as many as confirm a share.
    """
    rows = []
    more = range(seeds[-1] + 1, seeds[0] + quota.SEEDS) if seeds == seed_range(BOOK) else ()
    for row in claims.evaluate_all(found, seeds, where, more):
        rows.append(row)
        print(row.line(), flush=True)
    return rows


def run_claims(options: argparse.Namespace) -> int:
    """The subcommand ``claims``, with its ``options``."""
    found = chosen(options)
    seeds = seed_range(options.seeds)
    where = runs.device(options.device)
    path = writable(options.json) if options.json else None
    if options.list:
        for claim in found:
            print(f"{claim.id:34} {claim.state:12} {claim.title}")
        return 0
    print(f"{len(found)} claim{'s' * (len(found) != 1)} on seeds {options.seeds}, {where}", flush=True)
    rows = evaluated(found, seeds, where)
    wrong = [row.id for row in rows if not row.consistent]
    if path:
        environment = stamp.environment(where) | {"seeds": options.seeds}
        stored = {"environment": environment, "claims": [row.to_json() for row in rows]}
        files.write_json(path, stored)
    total = sum(row.seconds for row in rows)
    summary = f"{len(rows) - len(wrong)} of {len(rows)} rows consistent with their stated state, {total:.0f} s"
    print(summary + (": not " + ", ".join(wrong) if wrong else ""))
    return 1 if wrong else 0


def run_sweep(options: argparse.Namespace) -> int:
    """The subcommand ``sweep``, with its ``options``."""
    known = {table.name: (table, one.name) for one in rooms().values() for table in one.sweeps}
    if options.list:
        for table, _ in known.values():
            print(f"{table.name:28} {len(table.tasks()):4} tasks  {table.title}")
        return 0
    allowed = "one that --list shows: " + (", ".join(known) or "none yet")
    runs.check("NAME", options.name, allowed, options.name in known)
    table, chapter = known[options.name]
    if options.adopt:
        for place, gap in sensitivity.adopt(table, options.device or "cpu").items():
            print(f"cell {place}: largest difference {gap:.0e}")
        print(f"{table.name} is stored under the code {table.code}")
        return 0
    folder = Path(options.out or Path("results") / "runs" / options.name)
    place = sweep.keepable(table, sweep.home() / chapter).parent if options.keep else None
    task = sensitivity.measured if options.keep else sweep.one
    found = sweep.run(table, folder, options.jobs, options.device, task=task)
    print(f"{len(found)} tasks in {folder}")
    if options.keep:
        terms = sensitivity.terms(table)
        path = sweep.keep(table, found, place, options.device, sensitivity=terms)
        kept = sensitivity.kept(table)
        print(f"{kept.chaotic.sum()} of {len(kept.measured)} cells that were measured are chaotic and have a band")
        print(f"stored as {path} and .json")
    return 0


def compare(book: dict[str, Row], yours: dict[str, Row]) -> tuple[list[tuple], int]:
    """Rows of text, one a claim of either run, ``book`` or ``yours``, and the number of verdicts that differ."""
    rows = [("claim", "book", "yours", "difference", "verdicts")]
    rows += [row.compared(yours.get(name)) for name, row in book.items()]
    rows += [
        (name, "–", row.shown or "–", "–", "NEW: not in the book") for name, row in yours.items() if name not in book
    ]
    return rows, sum(row[-1].startswith(("DIFFERS", "MISSING")) for row in rows)


def run_compare(options: argparse.Namespace) -> int:
    """The subcommand ``compare``, with its ``options``. Verdicts are compared, not digits: sums in another order differ."""
    environment, stored = read_run(sweep.home() / "claims.json")
    if options.file:
        other, found = read_run(Path(options.file))
    else:
        seeds, where = environment["seeds"], runs.device()
        print(f"Running the claims of the book on its seeds, {seeds}.", flush=True)
        found = evaluated(registry(), seed_range(seeds), where)
        other = stamp.environment(where) | {"seeds": seeds}
        print()
    for name, value in environment.items():
        if other.get(name) != value and name != "date":
            print(f"{name}: {value} in the book, {other.get(name)} here")
    book, yours = ({row.id: row for row in each} for each in (stored, found))
    rows, differing = compare(book, yours)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{len(book)} claims in the book; verdicts that differ: {differing}.")
    return 1 if differing else 0


def run_cite(options: argparse.Namespace) -> int:
    """The subcommand ``cite``, with its ``options``."""
    print(cite(options.chapter))
    return 0
