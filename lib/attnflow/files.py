"""Files that are whole or absent: everything is written beside its target and renamed. Text is UTF-8, whatever the locale."""

import hashlib
import io
import json
import os
import platform
import re
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from attnflow import paths, runs

TEMPORARY = re.compile(r"\..+\.(?P<machine>[0-9a-f]{12})-(?P<process>\d+)-[0-9a-f]{32}\.tmp")
DAY = 86400.0  # seconds: a file is written within some of them, and clocks of two machines differ by less


def write(path: Path, content: Callable[[BinaryIO], object]) -> None:
    """Write a file at ``path`` whole or not at all, through links. content: writes into an open binary file.

    Raises WrongUse where something stands there that is no regular file.
    """
    write_all({path: content})


def write_all(contents: dict) -> None:
    """Write several files, all of them or, where anything fails, none. contents: path -> what :func:`write` takes for it.

    A kill between two renames leaves the first file new and the others as they were: whoever needs to know stores a digest.
    """
    made, before = {}, {}
    try:
        for path, content in contents.items():
            path = paths.regular("path", path)
            made[path] = beside(path)
            with open(made[path], "xb") as file:
                content(file)
        for path, temporary in made.items():
            known = path.read_bytes() if len(made) > 1 and path.is_file() else None
            os.replace(temporary, path)
            before[path] = known
    except BaseException:
        for path, known in before.items():
            path.unlink() if known is None else path.write_bytes(known)
        for temporary in made.values():
            temporary.unlink(missing_ok=True)
        raise


def beside(path: Path) -> Path:
    """A name beside ``path`` that no process of any machine has, which says whose it is: for :func:`tidy`."""
    return path.with_name(f".{path.name}.{machine()}-{os.getpid()}-{uuid.uuid4().hex}.tmp")


@lru_cache
def machine() -> str:
    """Twelve digits for what process numbers refer to: this machine since it was started, or this container of it."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    known = [platform.node(), boot.read_text() if boot.is_file() else str(uuid.getnode())]
    with suppress(OSError):
        known.append(os.readlink(space))
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:12]


def alive(process: int) -> bool:
    """Whether there may be a ``process`` of that number on this machine, one that waits to be collected apart.

    On Windows that is always so: there is no harmless signal there, and :func:`tidy` goes by age.
    """
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def tidy(folder: Path) -> int:
    """Remove the temporary files that dead processes left in a ``folder``. Returns how many.

    Of a process of this machine it is known whether it lives. Nobody here knows that of another machine, which may share the
    folder: its files go when nothing was written into them for a ``DAY``.
    """
    removed = 0
    for entry in list(os.scandir(folder)):
        found = TEMPORARY.fullmatch(entry.name)
        with suppress(OSError):  # another run may be tidying up as well
            here = found and found["machine"] == machine()
            dead = found and here and not alive(int(found["process"]))
            if dead or (found and time.time() - entry.stat().st_mtime > DAY):
                os.unlink(entry.path)
                removed += 1
    return removed


def json_text(value: object) -> bytes:
    """A ``value`` as strict JSON: numbers that are not finite are refused, half a sign is written as JSON has it."""
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Write a ``value`` at ``path``, as :func:`json_text` gives it."""
    text = json_text(value)
    write(path, lambda file: file.write(text))


def read_json(path: Path) -> object:
    """The value stored at ``path`` as strict JSON. Raises WrongUse where it cannot be read as that; NaN and Infinity are not."""
    path = paths.source("file", path)

    def refuse(word):
        raise runs.WrongUse(f"{path}: {word} is no number of JSON; it has to be a text, 'inf', '-inf' or 'nan'")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise runs.WrongUse(f"file = {str(path)!r} is not allowed: it must be JSON: {error}") from error


def arrays_bytes(arrays: dict, comment: bytes = b"") -> bytes:
    """The bytes of a compressed file of ``arrays``, name -> array, as numpy reads them; comment: of the whole."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = _marked(comment, arrays)
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(values), allow_pickle=False)
    return file.getvalue()


def _marked(comment, names):
    """A comment with a hash of the names of arrays: the checksums of a zip file do not cover its list of contents."""
    return comment + b" " + hashlib.sha256("\n".join(names).encode()).hexdigest()[:8].encode()


def write_arrays(path: Path, arrays: dict, comment: bytes = b"") -> None:
    """Write ``arrays`` at ``path``, with a ``comment``, as :func:`arrays_bytes` gives them."""
    data = arrays_bytes(arrays, comment)
    write(path, lambda file: file.write(data))


def read_arrays(path: Path) -> dict | None:
    """The arrays stored at ``path``, name -> array, or None where the file is absent or not whole."""
    return whole(path)[0]


def whole(path: Path, comment: bytes | None = None) -> tuple[dict | None, str]:
    """The arrays stored at ``path``, name -> array, and no words; or None, and what is there in place of them.

    That is "absent", "directory", "unreadable", ".npy", "incomplete", or "foreign": no such file at all, or one without the
    ``comment`` that is asked for.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None, "absent"
    except OSError:
        return None, "directory" if Path(path).is_dir() else "unreadable"
    if data[:2] != b"PK"[: len(data)]:
        return None, ".npy" if data[:6] == b"\x93NUMPY" else "foreign"
    try:
        with np.load(io.BytesIO(data)) as stored:
            if comment is not None and stored.zip.comment != _marked(comment, stored.files):
                return None, "foreign"
            return {name: stored[name] for name in stored.files}, ""
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None, "incomplete"
