"""A run of claims as a file: whether it is complete, its environment, and its rows."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attnflow import files, runs
from attnflow.claims.row import Row


def write_run(path: Path, environment: dict, rows: Sequence[Row], complete: bool) -> None:
    """Store a run at ``path``: its ``environment`` and ``rows``, and whether it is ``complete``, so that it ran to its end."""
    runs.check("complete", complete, "True or False", isinstance(complete, bool))
    runs.check("environment", environment, "a dict", isinstance(environment, dict))
    listed = isinstance(rows, (list, tuple)) and all(isinstance(row, Row) for row in rows)
    runs.check("rows", rows, "a list of Row", listed)
    stored = [row.to_json() for row in rows]
    files.write_json(
        path, {"complete": complete, "digest": _digest(stored), "environment": environment, "claims": stored}
    )


def read_run(path: Path) -> tuple[dict, list[Row]]:
    """Environment and rows of a run that ``claims --json`` stored at ``path``.

    Raises WrongUse where it is no such file, where the run was stopped before its end, and where its rows are not those that it
    stored.
    """
    stored = files.read_json(path)
    allowed = "one that claims --json stored: complete, digest, environment with seeds, claims"
    complete = stored.get("complete", "absent") if isinstance(stored, dict) else "absent"
    runs.check(f"complete of {path}", complete, "true: of a run that was not stopped", complete is True)
    try:
        digest, claims, seeds = stored["digest"], stored["claims"], stored["environment"]["seeds"]
        rows = [Row.from_json(one) for one in claims]
    except (LookupError, TypeError, AttributeError) as error:
        raise runs.WrongUse(f"run = {str(path)!r} is not allowed: it must be {allowed}") from error
    runs.check(f"seeds of {path}", seeds, "a text", isinstance(seeds, str))
    runs.check(f"digest of {path}", digest, "that of its rows, as they were stored", digest == _digest(claims))
    return stored["environment"], rows


def _digest(rows):
    """A short hash of rows as plain data, so that none of their numbers is changed unseen."""
    return hashlib.sha256(files.json_text(rows)).hexdigest()[:16]
