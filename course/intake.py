"""What students handed in: found, read and looked at without running or unpacking any of it."""

import json
import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from course import source


class Refusal(Exception):
    """Why a file is not graded, in one line."""


@dataclass(frozen=True)
class Handed:
    """One submission: whose, of which chapter, its bytes or why there are none, and how late it came, in hours."""

    student: str
    chapter: str
    notebook: bytes | None
    reason: str = ""
    late: float = 0.0


def students(folder: Path) -> list[str]:
    """Names of the folders of students in a ``folder`` of submissions, links among them."""
    return sorted(each.name for each in os.scandir(folder) if each.is_dir(follow_symlinks=False) or each.is_symlink())


def shown(student: str) -> str:
    """The name of a folder as text that can be written: bytes that are no text are shown as such."""
    return student.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def handed(folder: Path, student: str, chapter: str, salt: str, most: int) -> Handed:
    """The submission of one student. folder: of all; salt: of the copies; most: bytes that a notebook may have."""
    try:
        notebook, when = _read(folder, student, chapter, most)
        _looked_at(notebook, chapter, salt)
    except Refusal as refusal:
        return Handed(shown(student), chapter, None, str(refusal))
    until = source.settings()[chapter].get("deadline")
    late = 0.0 if until is None else max(0.0, (when - until.timestamp()) / 3600)
    return Handed(shown(student), chapter, notebook, f"late by {late:.1f} h" if late else "", late)


def _read(folder, student, chapter, most):
    """The bytes of a notebook and when it was handed in. No link is followed, at no place of the path."""
    name = f"{chapter}.ipynb"
    with _opened(os.fspath(folder), None) as top, _opened(student, top, "the folder of this student") as own:
        if chapter in os.listdir(own.handle):
            with _opened(chapter, own, f"the folder {chapter}") as inner:
                return _file(name, inner, most)
        return _file(name, own, most)


class _opened:
    """A folder that is no link, as a handle to open others from."""

    def __init__(self, name, parent, what="the folder of submissions"):
        self.name, self.parent, self.what = name, parent, what

    def __enter__(self):
        flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if self.parent else 0)
        try:
            self.handle = os.open(self.name, flags, dir_fd=self.parent.handle if self.parent else None)
        except OSError as fault:
            raise Refusal(f"{self.what} is a link or cannot be read ({fault.strerror})") from None
        return self

    def __exit__(self, *_):
        os.close(self.handle)


def _file(name, folder, most):
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.handle)
    except FileNotFoundError:
        packed = [each for each in os.listdir(folder.handle) if each.lower().endswith((".zip", ".gz", ".7z", ".rar"))]
        there = " (there is an archive; the notebook itself has to be handed in)" if packed else ""
        raise Refusal(f"missing: there is no {name}{there}") from None
    except OSError as fault:
        raise Refusal(f"{name} is a link or cannot be read ({fault.strerror})") from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Refusal(f"{name} is not a file")
        if about.st_size > most:
            raise Refusal(f"{name} has {about.st_size / 1e6:.1f} MB, more than the {most / 1e6:g} MB allowed")
        return file.read(most + 1), _when(folder, about)


def _when(folder, about):
    """The time in ``timestamp.txt``, ISO or as nbgrader writes it, and otherwise that of the file."""
    try:
        handle = os.open("timestamp.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.handle)
        with os.fdopen(handle, "rb") as file:
            return datetime.fromisoformat(" ".join(file.read(200).decode().split()[:2])).timestamp()
    except (OSError, ValueError):
        return about.st_mtime


def _looked_at(notebook, chapter, salt):
    """Refuse what is no notebook, or the copy of another chapter or another salt."""
    try:
        found = json.loads(notebook)
        cells = found["cells"] if "cells" in found else found["worksheets"][0]["cells"]
        if not isinstance(cells, list):
            raise TypeError("cells")
        about = found.get("metadata", {}).get("attnflow", {})
        kind, drawn = about.get("assignment", chapter), about.get("drawn")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise Refusal(f"{chapter}.ipynb is not a notebook, or broken") from None
    if kind != chapter:
        raise Refusal(f"{chapter}.ipynb is the copy of {str(kind)[:40]!r}")
    if drawn is not None and drawn != source.fingerprint(chapter, salt):
        raise Refusal(f"{chapter}.ipynb was drawn with another salt than the grader was given")
