"""Change the library one line at a time: the one test or claim that is named beside each change has to notice.

``table.toml`` holds the changes. A second family is chosen by nobody: every number that a claim predicts is multiplied by 0.9
and by 1.1, and the claim may no longer hold. What is known to survive stands in ``exceptions.toml``, each with its reason.
Mutants live in temporary copies of the tree. Leaves with status 1 when a mutant survives, when a row of the table is wrong, and
when an exception is no longer one.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants import killers, workers

HERE = Path(__file__).parent
PARENT = "HEAD~1"
GOOD, FAULTS = ("killed", "known to survive"), ("survived", "wrong", "no longer an exception")
PROCESSES = 2
SECONDS = 300.0  # more than any killer needs: a mutant that hangs is a wrong row
SHARE = 10  # one in so many of the rows that a change does not touch is run all the same


@dataclass(frozen=True)
class Mutant:
    """One row of the table.

    id: part and place; file: from the root of the tree; old: text of one line that occurs once; new: what takes its place;
    killer: a node of pytest or the id of a claim; why: where the change is not obvious.
    """

    id: str
    file: str
    old: str
    new: str
    killer: str
    why: str = ""

    def text(self) -> str:
        """The changed file. Raises ValueError where the old text does not occur exactly once."""
        source = (workers.ROOT / self.file).read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise ValueError(f"its old text occurs {source.count(self.old)} times in {self.file}")
        return source.replace(self.old, self.new)


def table() -> list[Mutant]:
    """All rows of ``table.toml``, in its order."""
    parts = tomllib.loads((HERE / "table.toml").read_text(encoding="utf-8"))
    return [Mutant(f"{part}.{name}", **row) for part, rows in parts.items() for name, row in rows.items()]


def exceptions() -> dict[str, str]:
    """What is known to survive, from ``exceptions.toml``: id of a mutant or "claim x factor" -> reason."""
    known = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8"))
    both = {
        f"{claim} x {times}": row["reason"] for claim, row in known["predictions"].items() for times in row["times"]
    }
    return known["mutants"] | both


def git(*words: str) -> list[str]:
    """The lines of an answer of git. Raises SystemExit with one line where it has none."""
    told = subprocess.run(["git", *words], cwd=workers.ROOT, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(f"mutants: git {' '.join(words)}: {told.stderr.strip().splitlines()[0]}")
    return told.stdout.splitlines()


def touched(reference: str) -> Callable[[str, tuple], bool]:
    """What a change asks to run: (id, files) -> bool, true where one of the files differs from a git ``reference``.

    Of all other rows a tenth is run, chosen by the hash of the commit: another tenth after another commit.
    """
    (commit,) = git("rev-parse", "HEAD")
    alone = reference == PARENT and len(git("rev-list", "--max-count=2", "HEAD")) == 1
    if alone:
        print("mutants: this clone holds one commit alone, so a tenth of all rows is run")
    differing = set() if alone else set(git("diff", "--name-only", reference))

    def chosen(name, files):
        drawn = int(hashlib.sha256(f"{commit} {name}".encode()).hexdigest(), 16) % SHARE == 0
        return drawn or bool(differing & set(files))

    return chosen


def home(module: str) -> str:
    """The file of a ``module`` of the library."""
    return f"lib/{module.replace('.', '/')}.py"


def asked(options: argparse.Namespace, sections: dict) -> tuple[list[Mutant], dict[str, list[str]]]:
    """The rows that the ``options`` ask for: mutants, and section -> claims whose predictions are multiplied."""
    where = {claim: home(module) for module, (_, claims) in sections.items() for claim in claims}
    rows = table()
    claims = {module: [name for name, has in known.items() if has] for module, (_, known) in sections.items()}
    if options.id:
        unknown = set(options.id) - {row.id for row in rows} - {name for names in claims.values() for name in names}
        if unknown:
            raise SystemExit(f"mutants: no row and no prediction is called {sorted(unknown)[0]}: see --list")

    def wanted(name, *files):
        return (not options.id or name in options.id) and (not options.changed or options.changed(name, files))

    rows = [row for row in rows if wanted(row.id, row.file, where.get(row.killer, row.killer.partition("::")[0]))]
    return rows, {module: [name for name in names if wanted(name, where[name])] for module, names in claims.items()}


def jobs(
    rows: list[Mutant], factored: dict[str, list[str]], sections: dict
) -> tuple[list[workers.Job], dict[str, str]]:
    """What to run, the longest first: the code as it is, a process a section and a test file, and a process a mutant.

    rows, factored: what was asked for; sections: of the book. Returns the jobs, and id -> fault of rows that cannot be made.
    """
    needed = list(dict.fromkeys(row.killer for row in rows))
    made, faults = [], {}
    for module, (_, claims) in sections.items():
        own = [name for name in needed if name in claims]
        if own or factored[module]:
            made.append(workers.Job(module, partial(killers.unchanged, module, own, factored[module])))
    nodes = {}
    for node in needed:
        if "::" in node:
            nodes.setdefault(node.partition("::")[0], []).append(node)
    made += [workers.Job(file, partial(killers.seen, some)) for file, some in nodes.items()]
    for row in rows:
        try:
            made.append(workers.Job(row.id, partial(killers.killer, row.killer), row.file, row.text()))
        except (OSError, ValueError) as error:
            faults[row.id] = str(error)
    return made, faults


def verdicts(rows: list[Mutant], told: dict, faults: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What became of each mutant. told: job -> answer; faults: of rows that cannot be made. Returns id -> (verdict, why)."""
    plain = {}
    for answer in told.values():
        parts = answer if isinstance(answer, tuple) else (answer,)
        plain |= parts[0] if isinstance(parts[0], dict) else {}
    found = {}
    for row in rows:
        before, after = plain.get(row.killer, "it was not run"), told.get(row.id)
        if row.id in faults:
            found[row.id] = ("wrong", faults[row.id])
        elif before != "passed":
            found[row.id] = ("wrong", f"{row.killer} on the code as it is: {before}")
        elif after == "caught":
            found[row.id] = ("killed", "")
        else:
            found[row.id] = ("survived", row.killer) if after == "passed" else ("wrong", f"{row.killer}: {after}")
    return found


def forecasts(told: dict, factored: dict[str, list[str]]) -> dict[str, tuple[str, str]]:
    """What became of each multiplied prediction: "claim x factor" -> (verdict, why), from the answers of the sections."""
    found = {}
    for module, names in factored.items():
        answer = told.get(module)
        for name in names:
            if not isinstance(answer, tuple):
                found[name] = ("wrong", str(answer))
                continue
            holds = answer[1][name]
            for times in killers.TIMES:
                shown = ("survived", "the claim still holds") if holds[times] else ("killed", "")
                found[f"{name} x {times}"] = shown if holds[1.0] else ("wrong", "the claim does not hold as it is")
    return found


def summary(title: str, found: dict[str, tuple[str, str]], known: dict[str, str]) -> bool:
    """Print what became of a family, faults first. Returns whether there are none.

    title: of the family; found: id -> (verdict, why); known: what may survive, id -> reason.
    """
    count = Counter()
    for name, (verdict, why) in found.items():
        if name in known:
            verdict = {"survived": "known to survive", "killed": "no longer an exception"}.get(verdict, verdict)
        count[verdict] += 1
        if verdict not in GOOD:
            print(f"{verdict}: {name}: {why or known[name]}")
    print(
        f"{title}: "
        + ", ".join(f"{count[verdict]} {verdict}" for verdict in (*GOOD, *FAULTS) if verdict in (*GOOD[:1], *count))
    )
    return not set(count) - set(GOOD)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    one = argparse.ArgumentParser(
        prog="mutants", description="Change the library one line at a time and see who notices."
    )
    one.add_argument(
        "--changed", nargs="?", const=PARENT, metavar="REF", help="what differs from REF, and a tenth of the rest"
    )
    one.add_argument(
        "--id", action="append", help="one mutant, or one claim whose prediction is changed; may be repeated"
    )
    one.add_argument("--list", action="store_true", help="list the rows and run nothing")
    return one


def main(arguments: list[str] | None = None) -> int:
    """Run what the ``arguments`` ask for. Returns 0, or 1 where something survived or a row is wrong."""
    options = parser().parse_args(arguments)
    options.changed = touched(options.changed) if options.changed else None
    tqdm.monitor_interval = 0  # it would be a thread, and threads do not fork
    began, told = time.monotonic(), {}
    workers.warm()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        places = workers.copies(Path(folder), PROCESSES)
        workers.run(
            [workers.Job("", killers.sections)], places, SECONDS, lambda job, answer, used: told.update({"": answer})
        )
        sections = told.pop("")
        if not isinstance(sections, dict):
            raise SystemExit(f"mutants: the library cannot be imported: {sections}")
        rows, factored = asked(options, sections)
        if options.list:
            for row in rows:
                print(f"{row.id:34} {row.file:44} {row.killer}")
            for name in (name for names in factored.values() for name in names):
                print(f"{name:34} prediction x {' and x '.join(map(str, killers.TIMES))}")
            return 0
        work, wrong = jobs(rows, factored, sections)
        with tqdm(total=len(work), disable=None, leave=False) as bar:

            def done(job, answer, used):
                told[job.name] = answer
                bar.update()

            workers.run(work, places, SECONDS, done)
    known = exceptions()
    good = summary("mutants", verdicts(rows, told, wrong), known)
    good = summary("predictions", forecasts(told, factored), known) and good
    print(f"time: {time.monotonic() - began:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
