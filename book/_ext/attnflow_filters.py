"""What the ledger filters and sorts by: attributes of each fold, and the form whose script narrows the page."""

import html
import math
from pathlib import Path

from attnflow_verdicts import ORIGINS, VERDICTS, origin, verdict
from docutils import nodes

from attnflow.claims.stored import read_run
from attnflow.rooms import rooms

STORED = "results/claims.json"
ORDERS = {
    "order": "the book's order",
    "tightness": "tightness, tightest first",
    "slack": "tightness, loosest first",
    "margin": "margin, least first",
    "room": "margin, most first",
}
FORM = """<form class="ledger-filter" role="search" aria-label="Claims" hidden>
{choices}
<label>Words <input type="search" name="words" autocomplete="off"></label>
<div class="ledger-told"><output name="told" aria-live="polite"></output>
<button type="button" name="unfold">Unfold these</button> <button type="reset">Show all</button></div>
</form>
<div class="ledger-sorted ledger-cards" hidden></div>"""


def ordered(row, at):
    """What the page sorts by, as attributes of HTML: the place in the book, tightness and margin, empty where there is none."""
    known = {"order": at, "tightness": row.tightness, "margin": row.margin}
    return {name: "" if value is None or math.isnan(value) else f"{value:.6g}" for name, value in known.items()}


def told(row):
    """What the page filters by: the chapter, origin, verdict and kind of a ``row``."""
    return {
        "chapter": row.chapter,
        "origin": origin(row.provenance),
        "state": verdict(row),
        "kind": row.kind or "none",
    }


def fold(row, at):
    """The opening tag of what unfolds to a ``row``, with what the page filters and sorts by. at: its place in the book."""
    words = told(row) | ordered(row, at)
    return "<details " + " ".join(f'data-{name}="{html.escape(str(value))}"' for name, value in words.items()) + ">"


def select(name, options):
    """One choice of the form: a ``name``, and ``options`` as pairs of a value and words."""
    made = "".join(f'<option value="{html.escape(value)}">{html.escape(words)}</option>' for value, words in options)
    return f'<label>{name.capitalize()} <select name="{name}">{made}</select></label>'


def form(rows):
    """The form for ``rows``: what can be chosen is what they have, and how many do. Hidden until a script shows it."""
    each = [told(row) for row in rows]
    known = {"chapter": list(rooms()), "origin": ORIGINS, "state": VERDICTS}
    known["kind"] = sorted({one["kind"] for one in each})
    made = []
    for name, words in known.items():
        many = {word: sum(one[name] == word for one in each) for word in words}
        titles = {room.name: f"{room.number} · {room.title}" for room in rooms().values()}
        options = [(word, f"{titles.get(word, word)} ({count})") for word, count in many.items() if count]
        made.append(select(name, [("", "all"), *options]))
    made.append(select("sort", ORDERS.items()))
    return nodes.raw("", FORM.format(choices="\n".join(made)), format="html")


def folded(app, doctree, docname):
    """In the pages, a card is folded: its title and what is seen at once stand in the summary of ``details``."""
    cards = [one for one in doctree.findall(nodes.section) if "claim" in one["classes"]]
    rows = {f"claim-{row.key}": row for row in read_run(Path(app.srcdir) / STORED)[1]} if cards else {}
    for at, section in enumerate(cards):
        last = next(place for place, one in enumerate(section) if "claim-head" in one.get("classes", ()))
        opening = fold(rows[section["ids"][0]], at) + "<summary>"
        for place, tag in ((len(section), "</details>"), (last + 1, "</summary>"), (0, opening)):
            section.insert(place, nodes.raw("", tag, format="html"))
