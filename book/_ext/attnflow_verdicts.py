"""What the ledger makes of a row beside its numbers: its origin, one word for its verdict, its strip of seeds, its code."""

import ast
import math
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from attnflow.claims import dots
from attnflow.rooms import rooms

ORIGINS = ("paper", "known theorem", "secondary", "recalled", "derived here")
BEGINS = {  # with which words a provenance begins
    "paper": "paper",
    "textbook": "known theorem",
    "a known theorem": "known theorem",
    "derived here from a known theorem": "known theorem",
    "derived here; a corollary of a known theorem": "known theorem",
    "secondary": "secondary",
    "recalled": "recalled",
    "stand-in for a recalled": "recalled",
    "derived here": "derived here",
    "counted here": "derived here",
    "an observation of ours": "derived here",
}
VERDICTS = (
    "proved",
    "reproduced",
    "holds",
    "reproduced with changed constants",
    "not reproduced",
    "not testable here",
    "not as stated",
    "could not be run",
)
GOOD, STRIP, MIDDLE = VERDICTS[:3], (176, 26), {"claim": 8, "control": 19}


def origin(provenance):
    """Where the statement of a claim comes from, one of ORIGINS, by the first words of its ``provenance``.

    Raises ValueError where they say none of them.

    >>> origin("paper, its Theorem 3.2"), origin("derived here from a known theorem"), origin("derived here; more")
    ('paper', 'known theorem', 'derived here')
    """
    known = [begin for begin in BEGINS if provenance.startswith(begin)]
    if not known:
        raise ValueError(f"provenance = {provenance!r} is not allowed: it must begin with one of {', '.join(BEGINS)}")
    return BEGINS[max(known, key=len)]


def verdict(row):
    """What became of a ``row`` in one word: one cannot reproduce a derivation of one's own, so that of those it says "holds"."""
    if not row.testable:
        return row.state
    if row.error:
        return "could not be run"
    if not row.consistent:
        return "not as stated"
    if row.proved:
        return "proved"
    own = row.state == "reproduced" and origin(row.provenance) == "derived here"
    return "holds" if own else row.state


def strip(row):
    """All seeds of a ``row`` in what is accepted, and its control below, as a small SVG: the picture of its card, without text.

    Empty for a proof and where nothing was run. The round ends of lines of no length are the dots.
    """
    if not row.accepted or row.proved:
        return ""
    one = None if row.predicted is None else float(np.mean(row.predicted))
    measured, control = row.placed
    low, high = dots.window(row.accepted, [*measured, *([] if one is None else [one])])
    place, scale = dots.places(low, high), STRIP[0] / dots.SIZE[0]
    left = dots.ENDS[0] if row.accepted[0] == -math.inf else place(low)
    right = dots.ENDS[1] if row.accepted[1] == math.inf else place(high)
    if row.accepted[0] == row.accepted[1]:
        left, right = place((low + high) / 2) - dots.STEP, place((low + high) / 2) + dots.STEP
    drawn = [f'<rect x="{left * scale:.0f}" y="1" width="{(right - left) * scale:.0f}" height="{STRIP[1] - 2}"/>']
    if one is not None:
        drawn.append(f'<path class="strip-forecast" d="M{place(one) * scale:.0f} 1v{STRIP[1] - 2}"/>')
    for lane, values in (("claim", measured), ("control", control)):
        seen = sorted({round(place(value) * scale) for value in values if value == value})
        drawn.append(f'<path class="strip-{lane}" d="{"".join(f"M{at} {MIDDLE[lane]}h0" for at in seen)}"/>')
    return f'<svg class="strip" viewBox="0 0 {STRIP[0]} {STRIP[1]}" aria-hidden="true">{"".join(drawn)}</svg>'


def text(node):
    """Whether a ``node`` of a syntax tree is a text."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def names(node):
    """The names that a ``node`` of a syntax tree assigns."""
    return [one.id for one in getattr(node, "targets", ()) if isinstance(one, ast.Name)]


@lru_cache
def lines():
    """The line that names each claim in its module: id of the claim -> (module, number of the line)."""
    found = {}
    for room in rooms().values():
        for module in room.modules:
            source = Path(sys.modules[module.__name__].__file__).read_text(encoding="utf-8")
            tree = ast.parse(source)
            named = sorted((one.lineno, one.value) for one in ast.walk(tree) if text(one))
            begins = next(one.lineno for one in tree.body if "CLAIMS" in names(one))
            for claim in module.CLAIMS:
                here = [at for at, value in named if value == claim.name]
                found[claim.id] = (module.__name__, min([at for at in here if at >= begins] or here or [begins]))
    return found
