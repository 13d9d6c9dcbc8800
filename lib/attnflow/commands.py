"""What the subcommands do. Each has a plan: all that can be refused is refused there, before its work starts."""

import argparse
import os
import runpy
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from attnflow import claims, listing, paths, runs, sensitivity, stamp, store, sweep
from attnflow.arguments import BOOK, Work, seed_range
from attnflow.claims import Claim, Row, quota
from attnflow.claims.stored import read_run, write_run
from attnflow.outlet import NOTHING, tell
from attnflow.rooms import cite, room, rooms, unique

OWN = Path(__file__).parent  # of an installed library, with the stored runs in it


def load(options: argparse.Namespace) -> None:
    """Import the sections of the chapters that the ``options`` ask for, all where they name none but their own files."""
    named = getattr(options, "chapter", None)
    own = bool(getattr(options, "files", None) or getattr(options, "file", None))
    for one in [named] if isinstance(named, str) else named or ([] if own else rooms()):
        room(one).claims  # noqa: B018 (imported, and looked through)


def registry(chapters: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """All claims of the given ``chapters``, of the whole book where none are given, in the order of the book."""
    return unique([claim for name in (rooms() if chapters is None else chapters) for claim in room(name).claims])


def outside(path: str) -> list[Claim]:
    """The claims of a file that is not part of the book: its list CLAIMS. ``path``: the file.

    Raises WrongUse with file and line where the file cannot be run, and where it has no such list.
    """
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
    own = [claim for path in options.files or () for claim in outside(path)]
    book = registry(options.chapter or ([] if own else None))
    found = unique([*book, *own])
    for name in options.id or ():
        runs.check("--id", name, "an id that --list shows", name in [claim.id for claim in found])
    return tuple(claim for claim in found if not options.id or claim.id in options.id)


class Claims:
    """Claims being run, row by row.

    found: the claims; seeds: as text, A:B or N; where: the device; path: of the file that the rows go to, None for none.
    """

    def __init__(self, found: Sequence[Claim], seeds: str, where: torch.device, path: Path | None = None):
        self.found, self.seeds, self.where, self.path = found, seeds, where, path
        self.rows, self.environment = [], {}

    def evaluated(self) -> list[Row]:
        """Their rows, printed as they finish. On the seeds of the book a row with a quota takes as many as confirm a share."""
        seeds = seed_range(self.seeds)
        more = range(seeds[-1] + 1, seeds[0] + quota.SEEDS) if self.seeds == BOOK else ()
        for row in claims.evaluate_all(self.found, seeds, self.where, more):
            self.rows.append(row)
            print(row.line(), flush=True)
        return self.rows

    def written(self) -> None:
        """Write what is computed where it goes, and whether that is all."""
        complete = len(self.rows) == len(self.found)
        write_run(self.path, self.environment, self.rows, complete)

    def run(self) -> int:
        """Run them and say how many are as stated. Returns the exit status."""
        if self.path:  # now, so that what is stored when it is stopped is stored at once
            self.environment = stamp.environment(self.where) | {"seeds": self.seeds}
        count = f"{len(self.found)} claim{'s' * (len(self.found) != 1)}"
        print(f"{count} on seeds {self.seeds}, {self.where}", flush=True)
        rows = self.evaluated()
        if self.path:
            self.written()
        wrong = [row.id for row in rows if not row.consistent]
        total = sum(row.seconds for row in rows)
        summary = f"{len(rows) - len(wrong)} of {len(rows)} rows consistent with their stated state, {total:.0f} s"
        print(summary + (": not " + ", ".join(wrong) if wrong else ""))
        return ended(wrong, [row.id for row in rows if row.undecided])

    def left(self) -> str:
        """Write the rows that there are, and say where."""
        if not self.path or not self.rows:
            return NOTHING
        self.written()
        whole = len(self.rows) == len(self.found)
        told = f"{len(self.rows)} of {len(self.found)} rows are in {self.path}"
        return told if whole else f'{told}, with "complete": false'


def ended(wrong: Sequence[str], undecided: Sequence[str]) -> int:
    """The exit status of a run in which claims are ``wrong``, those among them that are ``undecided`` without a verdict."""
    if undecided:
        tell(f"without a verdict: {', '.join(undecided)}")
        return 3
    return 1 if wrong else 0


def plan_claims(options: argparse.Namespace) -> Work:
    """The subcommand ``claims``, with its ``options``."""
    found = chosen(options)
    if options.list:
        return Work(partial(listing.show, [listing.line(one.id, one.state, one.title) for one in found]))
    path = None if options.json is None else paths.target("--json", options.json)
    work = Claims(found, options.seeds, runs.device(options.device), path)
    return Work(work.run, work.left)


def plan_sweep(options: argparse.Namespace) -> Work:
    """The subcommand ``sweep``, with its ``options``."""
    known = {table.name: (table, one.name) for one in rooms().values() for table in one.sweeps}
    runs.check("NAME", options.name, "one that --list shows: " + ", ".join(known), options.name in known)
    table, chapter = known[options.name]
    if options.adopt:
        where = runs.device("cpu" if options.device is None else options.device)
        sweep.keepable(table, shelf(chapter, "--adopt"), "--adopt")
        sensitivity.kept(table)
        return Work(partial(run_adopt, table, where, options.beside))
    where = runs.device(options.device)
    home = sweep.keepable(table, shelf(chapter, "--keep"), "--keep").parent if options.keep else None
    return Work(partial(run_sweep, table, options, where, home), partial(left_of, table, options.out, where))


def shelf(chapter: str, option: str) -> Path:
    """The folder where sweeps of a ``chapter`` are kept. Refuses an ``option`` that would write into an installed library."""
    home = sweep.home()
    runs.check(option, str(home), "used in a copy of the book: this is part of a library", home != OWN / "results")
    return home / chapter


def run_adopt(table: sweep.Sweep, where: torch.device, beside: str | None) -> int:
    """``sweep --adopt`` of a ``table``, on ``where``, maybe ``beside`` a copy of the book. Returns the exit status."""
    for place, gap in sensitivity.adopt(table, where, beside).items():
        print(f"cell {place}: largest difference {gap:.0e}")
    print(f"{table.name} is stored under the code {table.code}")
    return 0


def run_sweep(table: sweep.Sweep, options: argparse.Namespace, where: torch.device, home: Path | None) -> int:
    """Run a ``table`` with these ``options``, on ``where``, and keep it in ``home``, if given. Returns the exit status."""
    task = sweep.one if home is None else sensitivity.measured
    quiet = (
        ",ignore:resource_tracker:UserWarning"  # workers that are stopped leave locks behind, which their trackers tell
    )
    os.environ["PYTHONWARNINGS"] = (os.environ.get("PYTHONWARNINGS", "") + quiet).lstrip(",")
    found = sweep.run(table, options.out, options.jobs, where, task=task)
    print(f"{len(found)} tasks in {options.out}")
    if home is not None:
        path = sweep.keep(table, found, home, where, sensitivity=sensitivity.terms(table))
        kept = sensitivity.kept(table)
        print(f"{kept.chaotic.sum()} of {len(kept.measured)} cells that were measured are chaotic and have a band")
        print(f"stored as {path} and .json")
    return 0


def left_of(table: sweep.Sweep, folder: Path, where: torch.device) -> str:
    """How many tasks of a ``table``, on ``where``, lie in a ``folder``, in words."""
    tasks = table.tasks()
    there = sum(store.stored(folder, sweep.one(table, settings, where))[0] is not None for settings in tasks)
    told = f"{there} of {len(tasks)} tasks stay in {folder}: the same call goes on there"
    return told if there else NOTHING


def compare(book: dict[str, Row], yours: dict[str, Row]) -> list[tuple]:
    """Rows of text, one a claim of either run, ``book`` or ``yours``."""
    rows = [("claim", "book", "yours", "difference", "verdicts")]
    rows += [row.compared(yours.get(name)) for name, row in book.items()]
    return rows + [
        (name, "–", row.shown or "–", "–", "NEW: not in the book") for name, row in yours.items() if name not in book
    ]


def plan_compare(options: argparse.Namespace) -> Work:
    """The subcommand ``compare``, with its ``options``. Verdicts are compared, not digits: sums in another order differ."""
    book = read_run(sweep.home() / "claims.json")
    if options.file is not None:
        return Work(partial(run_compare, book, read_run(Path(options.file))))
    return Work(partial(run_again, book, Claims(registry(), book[0]["seeds"], runs.device())))


def run_again(book: tuple[dict, list[Row]], work: Claims) -> int:
    """Do the ``work`` of the stored run once more, and compare it with the ``book``. Returns the exit status."""
    print(f"Running the claims of the book on its seeds, {work.seeds}.", flush=True)
    rows = work.evaluated()
    print()
    return run_compare(book, (stamp.environment(work.where) | {"seeds": work.seeds}, rows))


def run_compare(book: tuple[dict, list[Row]], yours: tuple[dict, list[Row]]) -> int:
    """Compare two runs, environment and rows: ``yours`` with the ``book``. Returns the exit status."""
    (environment, stored), (other, found) = book, yours
    for name, value in environment.items():
        if other.get(name) != value and name != "date":
            print(f"{name}: {value} in the book, {other.get(name)} here")
    stored, found = ({row.id: row for row in each} for each in (stored, found))
    rows = compare(stored, found)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    wrong = [row[0] for row in rows if row[-1].startswith(("DIFFERS", "MISSING"))]
    print(f"\n{len(stored)} claims in the book; verdicts that differ: {len(wrong)}.")
    return ended(wrong, [name for name in wrong if name not in found or found[name].undecided])


def plan_cite(options: argparse.Namespace) -> Work:
    """The subcommand ``cite``, with its ``options``."""
    return Work(partial(listing.show, [cite(options.chapter)]))


PLANS = {"claims": plan_claims, "sweep": plan_sweep, "compare": plan_compare, "cite": plan_cite}
