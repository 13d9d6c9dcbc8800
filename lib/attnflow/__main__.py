"""The roof: ``python -m attnflow claims | sweep | cite``. The only file that imports the rooms."""

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

from attnflow import citations, claims, runs, sweep

CHAPTERS = ("foundations", "cooccurrence", "encoder")
MOST_SEEDS = 1000


def registry(chapters=CHAPTERS):
    """All claims of the given chapters, in the order of the book. Raises ValueError on an id that is used twice."""
    found = [claim for name in chapters for claim in importlib.import_module(f"attnflow.{name}.claims").CLAIMS]
    ids = [claim.id for claim in found]
    runs.check("claim ids", sorted({i for i in ids if ids.count(i) > 1}), "each used once", len(ids) == len(set(ids)))
    return found


def sweeps():
    """All sweeps of all rooms, name -> Sweep."""
    rooms = (importlib.import_module(f"attnflow.{name}.claims") for name in CHAPTERS)
    return {table.name: table for room in rooms for table in getattr(room, "SWEEPS", ())}


def seed_range(text):
    """``A:B`` or ``N`` (for 0:N) as a range. Raises ValueError unless 0 <= A < B and B - A <= 1000."""
    allowed = f"A:B or N with whole numbers 0 <= A < B, at most {MOST_SEEDS} of them"
    try:
        first, last = (int(part) for part in (text if ":" in text else f"0:{text}").split(":"))
    except ValueError:
        first, last = 0, 0
    runs.check("--seeds", text, allowed, 0 <= first < last <= first + MOST_SEEDS)
    return tuple(range(first, last))


def writable(path):
    """Check, before anything runs, that a file can be written at ``path``; returns it as a Path."""
    path = Path(path)
    folder = path.absolute().parent
    ok = folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()
    return runs.check("--json", str(path), "a file in a folder that exists and can be written", ok) and path


def write_atomically(path, text):
    """Write a text file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def line(row):
    """One row as one line of the terminal."""
    claim = row.claim
    mark = "ok  " if row.consistent else "FAIL"
    if claim.state == "not testable here":
        return f"{mark} {claim.id:34} not testable here"
    if row.error:
        return f"{mark} {claim.id:34} could not be run: {row.error}"
    broken = (claim.control.holds or claim.holds).show(row.control_measured)
    forecast = f"predicted {row.forecast}, " if row.forecast else ""
    verdict = "holds" if row.holds else "violated"
    control = "fails" if row.control_fails else "DOES NOT FAIL"
    return (
        f"{mark} {claim.id:34} {forecast}measured {claim.holds.show(row.measured)}: {verdict} ({claim.holds}); "
        f"control {broken} {control}; {row.seconds:.1f} s"
    )


def run_claims(options):
    """The subcommand ``claims``. Returns the exit status."""
    for name in options.chapter or ():
        runs.choice("--chapter", name, CHAPTERS)
    chosen = registry(tuple(options.chapter or CHAPTERS))
    known = [claim.id for claim in chosen]
    for name in options.id or ():
        runs.check("--id", name, "an id that --list shows", name in known)
    chosen = [claim for claim in chosen if not options.id or claim.id in options.id]
    seeds = seed_range(options.seeds)
    where = runs.device(options.device)
    path = writable(options.json) if options.json else None
    if options.list:
        for claim in chosen:
            print(f"{claim.id:34} {claim.state:12} {claim.title}")
        return 0
    print(f"{len(chosen)} claims on seeds {options.seeds}, {where}", flush=True)
    rows = []
    for claim in chosen:
        try:
            rows.append(claims.evaluate(claim, seeds, where))
        except Exception as error:  # one broken claim must not hide the verdict on the others
            rows.append(claims.Row(claim, seeds, error=f"{type(error).__name__}: {error}"))
        print(line(rows[-1]), flush=True)
    wrong = [row.claim.id for row in rows if not row.consistent]
    if path:
        environment = runs.environment(where) | {"seeds": options.seeds}
        stored = {"environment": environment, "claims": [row.to_json() for row in rows]}
        write_atomically(path, json.dumps(stored, indent=1) + "\n")
    total = sum(row.seconds for row in rows)
    summary = f"{len(rows) - len(wrong)} of {len(rows)} rows consistent with their stated state, {total:.0f} s"
    print(summary + (": not " + ", ".join(wrong) if wrong else ""))
    return 1 if wrong else 0


def run_sweep(options):
    """The subcommand ``sweep``. Returns the exit status."""
    known = sweeps()
    if options.list:
        for table in known.values():
            print(f"{table.name:28} {len(table.tasks()):4} tasks  {table.title}")
        return 0
    runs.check(
        "NAME", options.name, "one that --list shows: " + (", ".join(known) or "none yet"), options.name in known
    )
    folder = Path(options.out or Path("results") / "runs" / options.name)
    table = known[options.name]
    found = sweep.run(table, folder, options.jobs, options.device)
    print(f"{len(found)} tasks in {folder}")
    if options.keep:
        sweep.keep(table, found, options.keep, options.device)
        print(f"stored as {options.keep}.npz and .json")
    return 0


def run_cite(options):
    """The subcommand ``cite``. Returns the exit status."""
    print(citations.cite(options.chapter))
    return 0


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"attnflow: {message} ('{self.prog} --help' shows what is allowed)\n")


def parser():
    """The command line."""
    root = Parser(prog="attnflow", description="Gradient flow in Transformers: theory you can run.")
    commands = root.add_subparsers(dest="command", required=True, metavar="claims | sweep | cite")
    one = commands.add_parser(
        "claims", help="run claims and their controls", description="Run claims and their controls."
    )
    one.add_argument(
        "--chapter", action="append", metavar="C", help=f"{', '.join(CHAPTERS)}; may be repeated (default: all)"
    )
    one.add_argument("--id", action="append", help="one claim by its id; may be repeated")
    one.add_argument(
        "--seeds", default="100:110", metavar="A:B", help="fresh seeds, or N for 0:N (default: %(default)s)"
    )
    one.add_argument("--device", metavar="cpu|cuda", help="default: cuda where there is one, else cpu")
    one.add_argument("--json", metavar="FILE", help="write the rows here, once, at the end")
    one.add_argument("--list", action="store_true", help="list the claims and run nothing")
    one.set_defaults(run=run_claims)
    many = commands.add_parser("sweep", help="run a table of settings and seeds", description="Run a sweep.")
    many.add_argument("name", nargs="?", metavar="NAME", help="which sweep")
    many.add_argument("--out", metavar="DIR", help="where its files go (default: results/runs/NAME)")
    many.add_argument(
        "--keep", metavar="PATH", help="store the whole table as PATH.npz with its provenance in PATH.json"
    )
    many.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of one thread each (default: 1)")
    many.add_argument("--device", metavar="cpu|cuda", help="default: cuda where there is one, else cpu")
    many.add_argument("--list", action="store_true", help="list the sweeps and run nothing")
    many.set_defaults(run=run_sweep)
    bibtex = commands.add_parser("cite", help="BibTeX of what a chapter rests on", description="Print BibTeX.")
    bibtex.add_argument("chapter", help=", ".join(citations.CHAPTERS))
    bibtex.set_defaults(run=run_cite)
    return root


def joined(arguments):
    """``--seeds -3:2`` as ``--seeds=-3:2``: argparse would take the range for an option and not show it."""
    arguments = list(arguments)
    for place in range(len(arguments) - 1, 0, -1):
        if arguments[place - 1] == "--seeds":
            arguments[place - 1 : place + 1] = [f"--seeds={arguments[place]}"]
    return arguments


def main(arguments=None):
    """Run the command line. Returns 0, 1 (a row is not as stated), 2 (wrong use) or 130 (Ctrl-C)."""
    try:
        options = parser().parse_args(joined(sys.argv[1:] if arguments is None else arguments))
        return options.run(options)
    except ValueError as error:
        print(f"attnflow: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnflow: stopped, nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
