"""The claims ledger, the stamp of its run and the chaos of the sweeps, drawn from ``results`` when the book is built."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from attnflow import sensitivity
from attnflow.claims import show
from attnflow.claims.stored import read_run
from attnflow.inputs import WrongUse
from attnflow.rooms import rooms
from attnflow.sweep import home

STORED = "results/claims.json"
ABSENT = "No run is stored yet: `make claims` writes it."


def inline(text):
    """Plain text with ``$math$``, ```code``` and ``*emphasis*`` as docutils nodes.

    >>> [type(node).__name__ for node in inline("the *square* of $x$")]
    ['Text', 'emphasis', 'Text', 'math']
    """
    kinds = {"$": nodes.math, "`": nodes.literal, "*": nodes.emphasis}
    found = []
    for part in re.split(r"(\$[^$]+\$|`[^`]+`|\*\w[^*$`]*\*)", text):
        if len(part) > 2 and part[0] in kinds and part[0] == part[-1]:
            found.append(kinds[part[0]](part[1:-1], part[1:-1]))
        elif part:
            found.append(nodes.Text(part))
    return found


def table(pairs):
    """A definition list of (term, nodes of its text)."""
    drawn = nodes.definition_list(classes=["claim-rows"])
    for term, text in pairs:
        body = nodes.definition("", nodes.paragraph("", "", *text))
        drawn += nodes.definition_list_item("", nodes.term("", term), body)
    return drawn


def summary(rows):
    """One sentence that counts the states and the controls, and one that names the rows that are not as stated."""
    states = [row.state for row in rows]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    tested = [row for row in rows if row.testable]
    failing = sum(row.control_fails for row in tested)
    text = f"{len(rows)} claims: {told}. Controls that fail as they must: {failing} of {len(tested)}."
    wrong = ", ".join(f"`{row.id}`" for row in rows if not row.consistent)
    text += f" Not as stated in this run: {wrong}." if wrong else ""
    return nodes.paragraph("", "", *inline(text), classes=["ledger-summary"])


def card(row, back="", cited=()):
    """One claim as a section: state, kind and id, its statement and picture, and the rows of its card.

    back: address of its place in the chapter; cited: nodes behind the source.
    """
    key = f"claim-{row.key}"
    section = nodes.section(ids=[key], names=[key], classes=["claim"])
    section += nodes.title("", "", *inline(row.title))
    good = row.consistent and row.state.startswith("reproduced")
    badge = nodes.inline("", row.state, classes=["claim-state", "claim-reproduced" if good else "claim-open"])
    kind = nodes.inline("", row.kind, classes=["claim-kind"])
    head = [badge, nodes.Text(" "), kind, nodes.Text(" "), nodes.literal("", row.id)]
    head += [nodes.Text(" "), nodes.reference("", "in the chapter", refuri=back)] if back else []
    section += nodes.paragraph("", "", *head, classes=["claim-head"])
    section += nodes.paragraph("", "", *inline(row.statement), classes=["claim-statement"])
    if picture := row.picture():
        section += nodes.raw("", picture, format="html")
    source = [*inline(row.provenance), *([nodes.Text(". "), *cited] if cited else [])]
    section += table([*((term, inline(text)) for term, text in row.card()), ("Source", source)])
    return section


def stored(directive):
    """Environment and rows of the stored run, None where there is none. One that was stopped is an error of the page."""
    path = Path(directive.env.srcdir) / STORED
    directive.env.note_dependency(str(path))
    try:
        return read_run(path) if path.exists() else None
    except WrongUse as refusal:
        raise directive.error(f"{STORED}: {refusal}") from refusal


class Ledger(SphinxDirective):
    """``attnflow-ledger``: one section a chapter, one card a claim."""

    def run(self):
        """Draw the cards, in the order of the book."""
        run = stored(self)
        if run is None:
            return [nodes.paragraph("", "", *inline(ABSENT))]
        rows = run[1]
        strange = sorted({row.chapter for row in rows} - set(rooms()))
        if strange:
            raise self.error(f"{STORED} holds claims of chapters that have no room: {', '.join(strange)}")
        drawn = [summary(rows)]
        for room in rooms().values():
            own = [row for row in rows if row.chapter == room.name]
            drawn += [self.chapter(room, own)] if own else []
        return drawn

    def chapter(self, room, rows):
        """The section of one room: its title, the way to its page, and the cards of its claims."""
        section = nodes.section(ids=[f"ledger-{room.name}"], names=[f"ledger-{room.name}"])
        section += nodes.title("", "", *inline(f"{room.number} · {room.title}"))
        section += self.parse_text_to_nodes(f"Derived, run and discussed in {{doc}}`/notebooks/{room.page}`.")
        notebook = Path(self.env.srcdir) / "notebooks" / f"{room.page}.ipynb"
        self.env.note_dependency(str(notebook))
        text = notebook.read_text(encoding="utf-8") if notebook.exists() else ""
        for row in rows:
            cited = self.parse_text_to_nodes("{cite}`" + ",".join(row.cite) + "`")[0].children if row.cite else ()
            place = next((kind for kind in ("box", "row") if f'id=\\"{kind}-{row.key}\\"' in text), "")
            back = f"../notebooks/{room.page}.html" + (f"#{place}-{row.key}" if place else "")
            drawn = card(row, back, cited)
            self.state.document.note_explicit_target(drawn, drawn)
            section += drawn
        return section


class Told(SphinxDirective):
    """``attnflow-claim``: one claim of the stored run, by its id, as its title, its picture and what became of it."""

    required_arguments = 1

    def run(self):
        """Draw the box, with a link to the card."""
        rows = {row.id: row for row in (stored(self) or ((), ()))[1]}
        asked = self.arguments[0]
        if asked not in rows:
            raise self.error(f"{STORED} holds no claim {asked!r}")
        row = rows[asked]
        words = f"**{row.title}.** {row.statement}", f"Claim [`{row.id}`](#claim-{row.key}), control: {row.control}."
        before, after = (self.parse_text_to_nodes(one) for one in words)
        box = nodes.container(classes=["claim-told"])
        box += [*before, nodes.raw("", row.picture(), format="html"), *after]
        return [box]


class Environment(SphinxDirective):
    """``attnflow-environment``: the machine and the versions of the stored run."""

    def run(self):
        """Draw a definition list of the environment, in the order in which it was stored."""
        run = stored(self)
        if run is None:
            return [nodes.paragraph("", "", *inline(ABSENT))]
        return [table((name, [nodes.Text(str(value))]) for name, value in run[0].items())]


def chaos(sweep):
    """How many cells of a stored sweep are chaotic, and how sensitive its most sensitive one is, in words."""
    kept = sensitivity.kept(sweep)
    part = f" ({len(kept.measured)} measured)" * bool(sweep.probe)
    worst = show(float(kept.measured.max()))
    return f"{kept.chaotic.sum()} of {kept.sensitivity.size} cells{part} chaotic; the most sensitive one has {worst}."


class Sensitivity(SphinxDirective):
    """``attnflow-sensitivity``: one line a stored sweep."""

    def run(self):
        """Draw a definition list of all sweeps, in the order of the book."""
        for path in sorted(home().glob("*/*.npz")):
            self.env.note_dependency(str(path))
        tables = [one for room in rooms().values() for one in room.sweeps]
        return [table((one.name, inline(chaos(one))) for one in tables)]
