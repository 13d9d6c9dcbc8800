"""Files that are whole or absent: everything is written beside its target and renamed. Text is UTF-8, whatever the locale."""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from attnflow import paths, runs


def write(path: Path, content: Callable[[BinaryIO], object]) -> None:
    """Write a file at ``path`` whole or not at all, through links. content: writes into an open binary file.

    Raises WrongUse where something stands there that is no regular file.
    """
    path = paths.regular("path", path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            content(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_json(path: Path, value: object) -> None:
    """Write a ``value`` at ``path`` as strict JSON: numbers that are not finite are refused."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))  # half a sign, as JSON has it


def read_json(path: Path) -> object:
    """The value stored at ``path`` as strict JSON. Raises WrongUse where it cannot be read as that; NaN and Infinity are not."""
    path = paths.source("file", path)

    def refuse(word):
        raise runs.WrongUse(f"{path}: {word} is no number of JSON; it has to be a text, 'inf', '-inf' or 'nan'")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise runs.WrongUse(f"file = {str(path)!r} is not allowed: it must be JSON: {error}") from error


def write_arrays(path: Path, arrays: dict) -> None:
    """Write ``arrays``, name -> array, at ``path`` as one compressed file."""
    write(path, lambda file: np.savez_compressed(file, **arrays))


def read_arrays(path: Path) -> dict | None:
    """The arrays stored at ``path``, name -> array, or None where the file is absent or not whole."""
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
