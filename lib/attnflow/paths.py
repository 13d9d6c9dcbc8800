"""Paths that a caller gives, checked before any work: what can be read, replaced and filled. Links are followed."""

import os
import tempfile
from pathlib import Path

from attnflow.inputs import WrongUse, check

FILE = "a regular file that can be written, or the name of a new one in a folder that can"
FOLDER = "a folder that can be written, or the name of a new one in such a folder"


def regular(name: str, given: str | Path) -> Path:
    """Check that the path ``given``, called ``name``, is absent or a regular file that can be written.

    Returns it with all links followed, so that what replaces the file leaves a link where it is. Raises WrongUse for folders,
    devices, pipes and sockets.
    """
    place = _resolved(name, given, FILE)
    free = not os.path.lexists(place) and not os.fspath(given).endswith(os.sep)
    check(name, os.fspath(given), FILE, free or (place.is_file() and os.access(place, os.W_OK)))
    return place


def target(name: str, given: str | Path) -> Path:
    """The same, :func:`regular`, and that its folder takes files, which is tried: ``name``, ``given``, and the Path as there."""
    place = regular(name, given)
    _tried(name, given, place.parent, f".{place.name}.", FILE)
    return place


def folder(name: str, given: str | Path) -> Path:
    """Check that the path ``given``, called ``name``, is a folder or can become one, and takes files. Returns the Path."""
    place = _resolved(name, given, FOLDER)
    first = next(one for one in (place, *place.parents) if os.path.lexists(one))
    check(name, os.fspath(given), FOLDER, first.is_dir())
    _tried(name, given, first, ".", FOLDER)
    return Path(given)


def source(name: str, given: str | Path) -> Path:
    """Check that the path ``given``, called ``name``, is a regular file that can be read. Returns the Path."""
    allowed = "a regular file that exists and can be read"
    place = _resolved(name, given, allowed)
    check(name, os.fspath(given), allowed, place.is_file())
    try:
        open(given, "rb").close()
    except OSError as error:
        raise _refused(name, given, allowed, error) from error
    return Path(given)


def _resolved(name, given, allowed):
    """A path with all links followed; one that is empty, or that the system does not take, is refused."""
    check(name, given, allowed, isinstance(given, (str, os.PathLike)) and bool(os.fspath(given)))
    try:
        place = Path(os.path.realpath(given))
        os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise _refused(name, given, allowed, error) from error
    return place


def _tried(name, given, place, prefix, allowed):
    """Make a file in a folder and remove it: rights, quotas and file systems have too many rules to be asked one by one."""
    try:
        handle, trial = tempfile.mkstemp(dir=place, prefix=prefix)
    except OSError as error:
        raise _refused(name, given, allowed, error) from error
    os.close(handle)
    os.unlink(trial)


def _refused(name, given, allowed, error):
    """The refusal of a path, with what the system says of it."""
    try:
        check(name, os.fspath(given), f"{allowed} ({getattr(error, 'strerror', None) or error})", False)
    except WrongUse as refusal:
        return refusal
