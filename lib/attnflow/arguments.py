"""The words of a call: a parser, and every check that needs no claim and no torch, so that wrong use is told at once.

Nothing is ignored: what is empty, given twice, or without effect beside another option is refused.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnflow import paths
from attnflow.inputs import BACKENDS, ENGINES, WrongUse, check, choice
from attnflow.outlet import NOTHING
from attnflow.rooms import rooms

MOST_SEEDS = 1000
BOOK = "100:110"  # the seeds of the book; its rows that state a share take more, from the same first one


@dataclass
class Work:
    """What a call comes to, once all is checked that can be.

    run: does it and returns the exit status; left: writes what is computed when ``run`` has been stopped or has failed, and says
    in words what stays.
    """

    run: Callable[[], int]
    left: Callable[[], str] = lambda: NOTHING


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        """Refuse the words of the call: ``message`` says what is wrong with them."""
        raise WrongUse(f"{message} ('{self.prog} --help' shows what is allowed)")

    def print_help(self, file=None):
        """Print the help text to a ``file``, the standard output where there is none; argparse hides that it could not be."""
        print(self.format_help(), end="", file=file)


class Once(argparse.Action):
    """An option with one value: of two the first would be ignored."""

    def __call__(self, parser, options, value, option=None):
        """Keep the ``value`` of an ``option`` among the ``options``, or let the ``parser`` refuse a second one."""
        if getattr(options, self.dest) is not None:
            parser.error(f"{option} is given twice")
        setattr(options, self.dest, value)


def parser() -> Parser:
    """The command line."""
    root = Parser(prog="attnflow", description="Gradient flow in Transformers: theory you can run.")
    every = root.add_subparsers(dest="command", required=True, metavar="claims | sweep | compare | cite")
    chapters = ", ".join(rooms())
    device = {"action": Once, "metavar": "cpu|cuda", "help": "default: cuda where there is one, else cpu"}
    told = "what takes the steps: numba where a model has a compiled form, torch, or graph, CUDA graphs, not run on a GPU yet "
    told += "(default: auto, which is numba where it is installed and can, else torch, on a GPU too)"
    engine = {"action": Once, "metavar": "|".join(ENGINES), "help": told}

    one = every.add_parser("claims", help="run claims and their controls", description="Run claims and their controls.")
    one.add_argument("--chapter", action="append", metavar="C", help=f"{chapters}; may be repeated (default: all)")
    one.add_argument(
        "--from", action="append", metavar="FILE", dest="files", help="claims of your own: a list CLAIMS in a file"
    )
    one.add_argument("--id", action="append", help="one claim by its id; may be repeated")
    one.add_argument(
        "--seeds",
        action=Once,
        metavar="A:B",
        help=f"fresh seeds, or N for 0:N (default: {BOOK}, and more for rows with a quota)",
    )
    told = "processes of one thread each, which take a chapter at a time (default: 1, with the threads of torch)"
    one.add_argument("--jobs", action=Once, type=int, metavar="N", help=told)
    one.add_argument("--device", **device)
    one.add_argument("--engine", **engine)
    one.add_argument("--json", action=Once, metavar="FILE", help="write the rows here, once, at the end")
    one.add_argument("--list", action="store_true", help="list the claims and run nothing")

    many = every.add_parser("sweep", help="run a table of settings and seeds", description="Run a sweep.")
    many.add_argument("name", nargs="?", metavar="NAME", help="which sweep")
    many.add_argument(
        "--out", action=Once, metavar="DIR", help="where the files of its tasks go (default: results/runs/NAME)"
    )
    many.add_argument(
        "--keep", action="store_true", help="measure how chaotic each cell is, store the table in results/"
    )
    many.add_argument(
        "--adopt", action="store_true", help="recompute three stored cells and take over today's code hash"
    )
    many.add_argument(
        "--beside",
        action=Once,
        metavar="DIR",
        help="with --adopt: compare with the stored code, in a copy of the book there",
    )
    many.add_argument("--jobs", action=Once, type=int, metavar="N", help="processes of one thread each (default: 1)")
    told = "loky: processes; threading: threads of this one; dask: workers of its own kind (default: loky)"
    many.add_argument("--backend", action=Once, metavar="|".join(BACKENDS), help=told)
    told = "of a dask scheduler, whose workers take the tasks in place of processes of this machine"
    many.add_argument("--scheduler", action=Once, metavar="ADDRESS", help=told)
    many.add_argument("--device", **device)
    many.add_argument("--engine", **engine)
    many.add_argument("--list", action="store_true", help="list the sweeps and run nothing")

    text = "Run the claims of the book on its seeds and compare, row by row. Changes no file."
    compare = every.add_parser("compare", help="compare a run of yours with the book", description=text)
    compare.add_argument(
        "--with", action=Once, metavar="FILE", dest="file", help="a run stored by claims --json, in place of a new one"
    )

    bibtex = every.add_parser("cite", help="BibTeX of what a chapter rests on", description="Print BibTeX.")
    bibtex.add_argument("chapter", help=chapters)
    return root


def joined(arguments: list[str]) -> list[str]:
    """``--seeds -3:2`` as ``--seeds=-3:2`` in ``arguments``: argparse would take the range for an option and not show it."""
    arguments = list(arguments)
    for place in range(len(arguments) - 1, 0, -1):
        if arguments[place - 1] == "--seeds":
            arguments[place - 1 : place + 1] = [f"--seeds={arguments[place]}"]
    return arguments


def seed_range(text: str) -> tuple[int, ...]:
    """``A:B`` or ``N`` (for 0:N) as a range. ``text``: what was given. Raises WrongUse unless 0 <= A < B and B - A <= 1000."""
    allowed = f"A:B or N with whole numbers 0 <= A < B, at most {MOST_SEEDS} of them"
    try:
        first, last = (int(part) for part in (text if ":" in text else f"0:{text}").split(":"))
    except ValueError:
        first, last = 0, 0
    check("--seeds", text, allowed, 0 <= first < last <= first + MOST_SEEDS)
    return tuple(range(first, last))


def checked(arguments: list[str]) -> argparse.Namespace:
    """The options of a call with these ``arguments``. Raises WrongUse for all that can be refused without the library.

    A help text leaves with SystemExit, as argparse does.
    """
    options = parser().parse_args(joined(arguments))
    {"claims": _claims, "sweep": _sweep, "compare": _compare, "cite": _cite}[options.command](options)
    return options


def _claims(options):
    """The options of ``claims``."""
    for name, given in (("--chapter", options.chapter), ("--from", options.files), ("--id", options.id)):
        _different(name, given or [])
    for name in options.chapter or ():
        choice("--chapter", name, tuple(rooms()))
    files = [paths.source("--from", path) for path in options.files or ()]
    if options.list:
        _alone(options, "--list", ("seeds", "jobs", "device", "engine", "json"))
    options.seeds = BOOK if options.seeds is None else options.seeds
    seed_range(options.seeds)
    options.jobs = _jobs(options)
    if options.json is not None:
        place = paths.target("--json", options.json)
        busy = [*(path.resolve() for path in files), *_printed()]
        check("--json", options.json, "another file than the claims and the output", place not in busy)


def _sweep(options):
    """The options of ``sweep``."""
    if options.list:
        others = ("name", "out", "keep", "adopt", "beside", "jobs", "backend", "scheduler", "device", "engine")
        _alone(options, "--list", others)
        return
    if options.adopt:
        _alone(options, "--adopt", ("out", "keep", "jobs", "backend", "scheduler"))
    if options.beside is not None:
        check("--beside", options.beside, "given with --adopt", options.adopt)
        library = os.path.join(options.beside, "lib", "attnflow")
        check("--beside", options.beside, "a folder with a copy of the book", os.path.isdir(library))
    check("NAME", options.name, "one that --list shows", bool(options.name))
    if options.scheduler is not None:
        _alone(options, "--scheduler", ("jobs",))
        options.backend = "dask" if options.backend is None else options.backend
        check("--backend", options.backend, "dask beside --scheduler", options.backend == "dask")
    options.backend = choice("--backend", options.backend or BACKENDS[0], BACKENDS)
    options.jobs = _jobs(options)
    if not options.adopt:
        default = os.path.join("results", "runs", options.name)
        options.out = paths.folder("--out", default if options.out is None else options.out)


def _jobs(options):
    """How many processes the ``options`` ask for."""
    check("--jobs", options.jobs, "an integer of at least 1", options.jobs is None or options.jobs >= 1)
    return 1 if options.jobs is None else options.jobs


def _compare(options):
    """The options of ``compare``."""
    if options.file is not None:
        paths.source("--with", options.file)


def _cite(options):
    """The options of ``cite``."""
    choice("chapter", options.chapter, tuple(rooms()))


def _alone(options: argparse.Namespace, flag: str, others: Sequence[str]) -> None:
    """Refuse what has no effect beside a ``flag``: the ``others`` that were given."""
    for name in others:
        value = getattr(options, name)
        shown = "NAME" if name == "name" else f"--{name}"
        check(shown, value, f"left out beside {flag}, where it has no effect", value is None or value is False)


def _different(name: str, given: Sequence[str]) -> None:
    """Refuse one value twice in what was ``given``."""
    twice = [one for one in given if given.count(one) > 1]
    check(name, twice[0] if twice else "", "given once", not twice)


def _printed() -> list[Path]:
    """The regular file that the standard output goes to, if it does."""
    try:
        return [Path(f"/dev/fd/{sys.stdout.fileno()}").resolve(strict=True)]
    except (OSError, ValueError):
        return []
