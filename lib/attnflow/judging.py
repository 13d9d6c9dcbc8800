"""Claims that a call asks for, and running them: row by row, or a chapter a process."""

import argparse
import runpy
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from attnflow import claims, flow, runs, stamp, workers
from attnflow.arguments import BOOK, seed_range
from attnflow.claims import Claim, Row, quota
from attnflow.claims.stored import write_run
from attnflow.outlet import NOTHING, tell
from attnflow.rooms import room, rooms, unique


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

    found: the claims; seeds: as text, A:B or N; where: the device; path: of the file that the rows go to, None for none; jobs:
    processes of one thread each; files: where those come from that are not of the book.
    """

    def __init__(
        self,
        found: Sequence[Claim],
        seeds: str,
        where: torch.device,
        path: Path | None = None,
        jobs: int = 1,
        files: Sequence[str] = (),
    ):
        self.found, self.seeds, self.where, self.path, self.jobs, self.files = found, seeds, where, path, jobs, files
        self.rows, self.environment = [], {}

    def evaluated(self) -> list[Row]:
        """Their rows, printed as they finish. On the seeds of the book a row with a quota takes as many as confirm a share."""
        seeds = seed_range(self.seeds)
        more = range(seeds[-1] + 1, seeds[0] + quota.SEEDS) if self.seeds == BOOK else ()
        alone = self.jobs == 1
        order = [claim.id for claim in self.found]
        for row in claims.evaluate_all(self.found, seeds, self.where, more) if alone else self.shared(seeds, more):
            self.rows.append(row)
            print(row.line(), flush=True)
        self.rows.sort(key=lambda row: order.index(row.id))
        return self.rows

    def shared(self, seeds: Sequence[int], more: Sequence[int]) -> Iterator[Row]:
        """The rows on ``seeds``, and ``more`` where there is a quota, a chapter a process: its claims share what they ran."""
        parts = {}
        for claim in self.found:
            own = claim.chapter in rooms() and claim in room(claim.chapter).claims
            parts.setdefault(claim.chapter if own else None, []).append(claim.id)
        told = self.files, seeds, more, self.where, flow.engines.wanted()
        longest = sorted(parts.items(), key=lambda part: -len(part[1]))
        calls = (joblib.delayed(some)(*part, *told) for part in longest)
        with (
            joblib.parallel_config(backend="loky", **workers.settings("loky")),
            tqdm(total=len(self.found), desc="claims", disable=None) as bar,
        ):
            for rows in joblib.Parallel(n_jobs=self.jobs, return_as="generator_unordered")(calls):
                yield from rows
                bar.update(len(rows))

    def written(self) -> None:
        """Write what is computed where it goes, and whether that is all."""
        complete = len(self.rows) == len(self.found)
        write_run(self.path, self.environment, self.rows, complete)

    def run(self) -> int:
        """Run them and say how many are as stated. Returns the exit status."""
        if self.path:  # now, so that what is stored when it is stopped is stored at once
            self.environment = stamp.environment(self.where) | {"seeds": self.seeds}
            self.environment |= {"threads": 1} if self.jobs > 1 else {}
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


def some(
    chapter: str | None,
    ids: Sequence[str],
    files: Sequence[str],
    seeds: Sequence[int],
    more: Sequence[int],
    where: torch.device,
    engine: str,
) -> list[Row]:
    """The rows of the claims with these ``ids``: of a ``chapter``, or of ``files`` where that is None; in a process of its own.

    seeds, more, where: as :func:`attnflow.claims.evaluate_all` takes them; engine: of :func:`attnflow.flow.asked`.
    """
    found = room(chapter).claims if chapter else [claim for path in files for claim in outside(path)]
    with flow.asked(engine):
        return list(claims.evaluate_all([claim for claim in found if claim.id in ids], seeds, where, more))


def ended(wrong: Sequence[str], undecided: Sequence[str]) -> int:
    """The exit status of a run in which claims are ``wrong``, those among them that are ``undecided`` without a verdict."""
    if undecided:
        tell(f"without a verdict: {', '.join(undecided)}")
        return 3
    return 1 if wrong else 0
