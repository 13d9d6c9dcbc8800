"""What the subcommands do. Each has a plan: all that can be refused is refused there, before its work starts."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from attnflow import flow, listing, paths, runs, sensitivity, stamp, store, sweep, workers
from attnflow.arguments import Work
from attnflow.claims import Row
from attnflow.claims.stored import read_run
from attnflow.judging import Claims, chosen, ended, registry
from attnflow.outlet import NOTHING
from attnflow.rooms import cite, room, rooms

OWN = Path(__file__).parent  # of an installed library, with the stored runs in it


def load(options: argparse.Namespace) -> None:
    """Import the sections of the chapters that the ``options`` ask for, all where they name none but their own files."""
    named = getattr(options, "chapter", None)
    own = bool(getattr(options, "files", None) or getattr(options, "file", None))
    for one in [named] if isinstance(named, str) else named or ([] if own else rooms()):
        room(one).claims  # noqa: B018 (imported, and looked through)


def plan_claims(options: argparse.Namespace) -> Work:
    """The subcommand ``claims``, with its ``options``."""
    found = chosen(options)
    if options.list:
        return Work(partial(listing.show, [listing.line(one.id, one.state, one.title) for one in found]))
    path = None if options.json is None else paths.target("--json", options.json)
    work = Claims(found, options.seeds, runs.device(options.device), path, options.jobs, options.files or ())
    return Work(partial(under, engine_of(options, work.where), work.run), work.left)


def engine_of(options: argparse.Namespace, where: torch.device) -> str:
    """The engine that the ``options`` of a call on the device ``where`` name, ``auto`` where they name none."""
    name = runs.choice("--engine", options.engine or "auto", flow.engines.ENGINES)
    allowed = "auto or torch: numba is not installed, which the extra fast brings"
    runs.check("--engine", name, allowed, name != "numba" or flow.engines.there())
    allowed = "auto, torch or numba: graph needs a CUDA device, and this run is on the CPU"
    return runs.check("--engine", name, allowed, name != "graph" or where.type == "cuda")


def under(engine: str, work: Callable[[], int]) -> int:
    """Do some ``work`` with the steps of all runs taken by an ``engine``. Returns its exit status."""
    with flow.asked(engine):
        return work()


def plan_sweep(options: argparse.Namespace) -> Work:
    """The subcommand ``sweep``, with its ``options``."""
    known = {table.name: (table, one.name) for one in rooms().values() for table in one.sweeps}
    runs.check("NAME", options.name, "one that --list shows: " + ", ".join(known), options.name in known)
    table, chapter = known[options.name]
    if options.adopt:
        where = runs.device("cpu" if options.device is None else options.device)
        sweep.keepable(table, shelf(chapter, "--adopt"), "--adopt")
        sensitivity.kept(table)
        return Work(partial(under, engine_of(options, where), partial(run_adopt, table, where, options.beside)))
    workers.known(options.backend)
    where = runs.device(options.device)
    home = sweep.keepable(table, shelf(chapter, "--keep"), "--keep").parent if options.keep else None
    work = partial(run_sweep, table, options, where, home)
    return Work(partial(under, engine_of(options, where), work), partial(left_of, table, options.out, where))


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
    found = sweep.run(table, options.out, options.jobs, where, options.backend, options.scheduler, task=task)
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
