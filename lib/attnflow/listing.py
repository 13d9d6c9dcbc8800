"""What ``--list`` shows, without torch, which takes seconds to import.

The list lies in ``listed.json`` of this folder, with a digest of all files of the library. Where that is of other files, the list
is made from the claims themselves: it is slower then, and never old. ``make claims`` and ``make notebooks`` write it anew.
"""

import argparse
import hashlib
import json
from functools import partial
from pathlib import Path

from attnflow.arguments import Work
from attnflow.inputs import check
from attnflow.rooms import rooms, unique

PACKAGE = Path(__file__).parent
STORED = PACKAGE / "listed.json"


def plan(options: argparse.Namespace) -> Work:
    """What to do for the ``options`` of ``claims --list``, without files, or of ``sweep --list``. Raises WrongUse."""
    if options.command == "sweep":
        return Work(partial(show, [f"{name:28} {tasks:4} tasks  {title}" for name, tasks, title in known()["sweeps"]]))
    chapters = options.chapter or list(rooms())
    rows = [row for chapter in chapters for row in known()["claims"][chapter]]
    for name in options.id or ():
        check("--id", name, "an id that --list shows", name in [row[0] for row in rows])
    return Work(partial(show, [line(*row) for row in rows if not options.id or row[0] in options.id]))


def line(name: str, state: str, title: str) -> str:
    """A claim in a list: its ``name``, which is the id, its ``state`` and its ``title``."""
    return f"{name:34} {state:12} {title}"


def show(lines: list[str]) -> int:
    """Print ``lines``. Returns the exit status."""
    for one in lines:
        print(one)
    return 0


def digest() -> str:
    """What tells the files of the library from those of another time; the ends of lines do not count."""
    paths = sorted(PACKAGE.rglob("*.py"))
    texts = [f"{path.relative_to(PACKAGE).as_posix()}\n".encode() + path.read_bytes() for path in paths]
    return hashlib.sha256(b"\0".join(texts).replace(b"\r\n", b"\n")).hexdigest()


def known() -> dict:
    """Claims, chapter -> rows of id, state and title, and sweeps, rows of name, number of tasks and title, in book order."""
    try:
        stored = json.loads(STORED.read_text(encoding="utf-8"))
        return stored if stored["digest"] == digest() else made()
    except (OSError, ValueError, LookupError, TypeError):
        return made()


def made() -> dict:
    """The same from the claims and sweeps themselves, with the digest of today's files."""
    unique([claim for room in rooms().values() for claim in room.claims])
    return {
        "digest": digest(),
        "claims": {name: [[one.id, one.state, one.title] for one in room.claims] for name, room in rooms().items()},
        "sweeps": [[one.name, len(one.tasks()), one.title] for room in rooms().values() for one in room.sweeps],
    }


if __name__ == "__main__":
    from attnflow import files

    files.write_json(STORED, made())
