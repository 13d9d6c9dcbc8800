"""The claims ledger, the stamp of its run and the chaos of the sweeps, drawn from ``results`` when the book is built."""

import json
import re
from pathlib import Path

from attnflow_filters import STORED, form
from attnflow_statements import WRITTEN, badge, counts, exceptions, matrix, statements
from attnflow_verdicts import VERDICTS, lines, origin, strip, verdict
from attnflow_words import inline, table
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from attnflow import sensitivity
from attnflow.claims import show
from attnflow.claims.stored import read_run
from attnflow.inputs import WrongUse
from attnflow.rooms import rooms
from attnflow.sweep import home

ABSENT = "No run is stored yet: `make claims` writes it."


def summary(rows):
    """One sentence that counts the verdicts and the controls, and one that names the rows that are not as stated."""
    found = [verdict(row) for row in rows]
    told = ", ".join(
        f"{found.count(word)} {'hold' if word == 'holds' else word}" for word in sorted(set(found), key=VERDICTS.index)
    )
    tested = [row for row in rows if row.testable]
    failing = sum(row.control_fails for row in tested)
    text = f"{len(rows)} claims: {told}. Controls that fail as they must: {failing} of {len(tested)}."
    wrong = ", ".join(f"`{row.id}`" for row in rows if not row.consistent)
    text += f" Not as stated in this run: {wrong}." if wrong else ""
    return nodes.paragraph("", "", *inline(text), classes=["ledger-summary"])


def card(row, places=(), cited=()):
    """One claim as a section: what is seen of it when folded, then its statement and picture, and the rows of its card.

    places: pairs of a word and an address, of its place in the chapter and of its code; cited: nodes behind the source.
    """
    key = f"claim-{row.key}"
    section = nodes.section(ids=[key], names=[key], classes=["claim"])
    section += nodes.title("", "", *inline(row.title))
    good = row.consistent and row.state.startswith("reproduced")
    head = badge(verdict(row), good)
    kind = nodes.inline("", row.kind, classes=["claim-kind"])
    whence = nodes.inline("", origin(row.provenance), classes=["claim-origin"])
    seeds = [nodes.raw("", drawn, format="html")] if (drawn := strip(row)) else []
    section += nodes.inline(
        "", "", head, nodes.Text(" "), whence, nodes.Text(" "), kind, *seeds, classes=["claim-head"]
    )
    section += nodes.paragraph("", "", *inline(row.statement), classes=["claim-statement"])
    if picture := row.picture():
        section += nodes.raw("", picture, format="html")
    source = [*inline(row.provenance), *([nodes.Text(". "), *cited] if cited else [])]
    section += table([*((term, inline(text)) for term, text in row.card()), ("Source", source), *run(row)])
    ways = [
        nodes.literal("", row.id),
        *(nodes.reference("", "", *inline(word), refuri=address) for word, address in places),
    ]
    section += nodes.paragraph(
        "", "", *[one for way in ways for one in (way, nodes.Text(" · "))][:-1], classes=["claim-ways"]
    )
    return section


def run(row):
    """The command that runs a ``row``, as a row of its card; none where there is nothing to run."""
    return [("Run it", [nodes.literal("", f"python -m attnflow claims --id {row.id}")])] if row.testable else []


def stored(directive):
    """Environment and rows of the stored run, None where there is none. One that was stopped is an error of the page."""
    path = Path(directive.env.srcdir) / STORED
    directive.env.note_dependency(str(path))
    try:
        return read_run(path) if path.exists() else None
    except WrongUse as refusal:
        raise directive.error(f"{STORED}: {refusal}") from refusal


class Drawn(SphinxDirective):
    """The base of what draws the stored run, or says that there is none."""

    def run(self):
        """Draw it."""
        kept = stored(self)
        return (
            [nodes.paragraph("", "", *inline(ABSENT))] if kept is None else self.draw({row.id: row for row in kept[1]})
        )

    def told(self):
        """The statements of the papers."""
        path = Path(self.env.srcdir) / WRITTEN
        self.env.note_dependency(str(path))
        return statements(path)

    def cite(self, paper):
        """Nodes that name a ``paper`` and lead to the bibliography."""
        return self.parse_text_to_nodes(f"{{cite:t}}`{paper}`")[0].children


class Headline(Drawn):
    """``attnflow-headline``: how many claims there are, where they come from, and what became of them."""

    def draw(self, rows):
        """A sentence and a table of ``rows``."""
        return [summary(list(rows.values())), counts(list(rows.values()))]


class Exceptions(Drawn):
    """``attnflow-exceptions``: one line for all that is not plainly reproduced."""

    def draw(self, rows):
        """A list of ``rows`` and statements."""
        return [exceptions(self.told(), rows, self.cite)]


class Statements(Drawn):
    """``attnflow-statements``: what each paper states, and what became of it."""

    def draw(self, rows):
        """Tables of the statements with the verdicts of ``rows``."""
        return matrix(self.told(), rows, self.cite)


class Ledger(Drawn):
    """``attnflow-ledger``: one section a chapter, one card a claim."""

    def draw(self, rows):
        """Draw the cards of the ``rows``, in the order of the book."""
        rows = list(rows.values())
        strange = sorted({row.chapter for row in rows} - set(rooms()))
        if strange:
            raise self.error(f"{STORED} holds claims of chapters that have no room: {', '.join(strange)}")
        drawn = [form(rows)]
        for room in rooms().values():
            own = [row for row in rows if row.chapter == room.name]
            drawn += [self.chapter(room, own)] if own else []
        return drawn

    def chapter(self, room, rows):
        """The section of one room: its title, the way to its page, and the cards of its claims."""
        section = nodes.section(ids=[f"ledger-{room.name}"], names=[f"ledger-{room.name}"], classes=["ledger-chapter"])
        section += nodes.title("", "", *inline(f"{room.number} · {room.title}"))
        section += self.parse_text_to_nodes(
            f"{len(rows)} claims, derived, run and discussed in {{doc}}`/notebooks/{room.page}`."
        )
        notebook = Path(self.env.srcdir) / "notebooks" / f"{room.page}.ipynb"
        self.env.note_dependency(str(notebook))
        seen = places(notebook)
        cards = nodes.container(classes=["ledger-cards"])  # whose titles the contents of the page leave out
        for row in rows:
            cited = self.parse_text_to_nodes("{cite}`" + ",".join(row.cite) + "`")[0].children if row.cite else ()
            place, title = seen.get(row.key, ("", ""))
            back = f"../notebooks/{room.page}.html" + (f"#{place}-{row.key}" if place else "")
            ways = [(f"Chapter {room.number}" + (f", {title}" if title else ""), back)]
            if row.id in lines():
                ways.append(("its code", "api/{}.html#L-{}".format(*lines()[row.id])))
            drawn = card(row, ways, cited)
            self.state.document.note_explicit_target(drawn, drawn)
            cards += drawn
        section += cards
        return section


def places(notebook):
    """Where a ``notebook`` shows each claim: key -> ("box" or "row", heading above it), in a box rather than in the table."""
    if not notebook.exists():
        return {}
    found, heading = {}, ""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            told = re.findall(r"^##+ (.+)$", "".join(cell["source"]), re.M)
            heading = told[-1] if told else heading
            continue
        for kind, key in re.findall(r'id=\\*"(box|row)-([a-z0-9-]+)', json.dumps(cell.get("outputs", []))):
            if kind == "box" or key not in found:
                found[key] = (kind, heading)
    return found


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
