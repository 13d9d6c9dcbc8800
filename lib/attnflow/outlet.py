"""Where the command line prints: in any encoding, into a pipe that somebody closes, onto a full disk.

What a stream cannot encode is written in its letters, ``<=`` for ``≤``: a sign must not cost a run. A stream that has failed is
given up, since Python would write to it again when it ends, and complain.
"""

import codecs
import os
import sys
import unicodedata

from attnflow.inputs import check

NOTHING = "nothing was written"  # what stays of most calls that are stopped
PLAIN = {"≤": "<=", "≥": ">=", "±": "+-", "…": "...", "–": "-", "—": "-", "·": "*", "×": "x", "→": "->", "’": "'"}


def plain(error: UnicodeEncodeError) -> tuple[str, int]:
    r"""An error handler of ``codecs``: readable letters for what an ``error`` of encoding is about. Returns them, and its end.

    >>> codecs.register_error("plain", plain)
    >>> "≤ 2 … é ж".encode("ascii", "plain")
    b'<= 2 ... e \\u0436'
    """
    return "".join(map(_letters, error.object[error.start : error.end])), error.end


def _letters(sign):
    """One sign in ASCII."""
    bare = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return PLAIN.get(sign) or bare or sign.encode("ascii", "backslashreplace").decode()


def prepare() -> None:
    """Make both streams ready. Raises WrongUse where the standard output is closed, since all would be lost."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    codecs.register_error("plain", plain)
    check("standard output", "closed", f"open; {os.devnull} takes what nobody wants", sys.stdout is not None)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a stream that a caller has put there may not have it
            stream.reconfigure(errors="plain")


def tell(text: str) -> None:
    """One line of ``text`` on the standard error, or none where that cannot be written."""
    try:
        print("attnflow: " + " ".join(text.split()), file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def failed() -> OSError | None:
    """What keeps the standard output from being written, if anything does; it is then given up."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        return error
    return None


def _give_up(stream):
    """Let a stream write into nothing from now on."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):  # it has no file behind it
        pass
