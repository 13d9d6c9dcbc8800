"""The roof: ``python -m attnflow claims | sweep | compare | cite``, also called ``attnflow``."""

import argparse
import sys

from attnflow import commands, runs
from attnflow.claims import quota
from attnflow.rooms import rooms


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        """Say what is wrong with the words of the call, the ``message``, and leave with status 2."""
        self.exit(2, f"attnflow: {message} ('{self.prog} --help' shows what is allowed)\n")


def parser() -> Parser:
    """The command line."""
    root = Parser(prog="attnflow", description="Gradient flow in Transformers: theory you can run.")
    every = root.add_subparsers(dest="command", required=True, metavar="claims | sweep | compare | cite")
    chapters = ", ".join(rooms())
    device = {"metavar": "cpu|cuda", "help": "default: cuda where there is one, else cpu"}

    one = every.add_parser("claims", help="run claims and their controls", description="Run claims and their controls.")
    one.add_argument("--chapter", action="append", metavar="C", help=f"{chapters}; may be repeated (default: all)")
    one.add_argument(
        "--from", action="append", metavar="FILE", dest="files", help="claims of your own: a list CLAIMS in a file"
    )
    one.add_argument("--id", action="append", help="one claim by its id; may be repeated")
    one.add_argument(
        "--seeds",
        default=commands.BOOK,
        metavar="A:B",
        help=f"fresh seeds, or N for 0:N (default: %(default)s, and {quota.SEEDS} for rows with a quota)",
    )
    one.add_argument("--device", **device)
    one.add_argument("--json", metavar="FILE", help="write the rows here, once, at the end")
    one.add_argument("--list", action="store_true", help="list the claims and run nothing")
    one.set_defaults(run=commands.run_claims)

    many = every.add_parser("sweep", help="run a table of settings and seeds", description="Run a sweep.")
    many.add_argument("name", nargs="?", metavar="NAME", help="which sweep")
    many.add_argument("--out", metavar="DIR", help="where the files of its tasks go (default: results/runs/NAME)")
    many.add_argument(
        "--keep", action="store_true", help="measure how chaotic each cell is, store the table in results/"
    )
    many.add_argument(
        "--adopt", action="store_true", help="recompute three stored cells and take over today's code hash"
    )
    many.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of one thread each (default: 1)")
    many.add_argument("--device", **device)
    many.add_argument("--list", action="store_true", help="list the sweeps and run nothing")
    many.set_defaults(run=commands.run_sweep)

    text = "Run the claims of the book on its seeds and compare, row by row. Changes no file."
    check = every.add_parser("compare", help="compare a run of yours with the book", description=text)
    check.add_argument(
        "--with", metavar="FILE", dest="file", help="a run stored by claims --json, in place of a new one"
    )
    check.set_defaults(run=commands.run_compare)

    bibtex = every.add_parser("cite", help="BibTeX of what a chapter rests on", description="Print BibTeX.")
    bibtex.add_argument("chapter", help=chapters)
    bibtex.set_defaults(run=commands.run_cite)
    return root


def joined(arguments: list[str]) -> list[str]:
    """``--seeds -3:2`` as ``--seeds=-3:2`` in ``arguments``: argparse would take the range for an option and not show it."""
    arguments = list(arguments)
    for place in range(len(arguments) - 1, 0, -1):
        if arguments[place - 1] == "--seeds":
            arguments[place - 1 : place + 1] = [f"--seeds={arguments[place]}"]
    return arguments


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, or these ``arguments``.

    Returns 0; 1, a row is not as stated; 2, wrong use; 3, a failure during the work; or 130, Ctrl-C.
    """
    try:
        options = parser().parse_args(joined(sys.argv[1:] if arguments is None else arguments))
        return options.run(options)
    except runs.WrongUse as error:
        print(f"attnflow: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnflow: stopped, nothing was written", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"attnflow: failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
