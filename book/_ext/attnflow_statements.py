"""What each paper states, and what became of it: ``book/statements.toml`` beside the rows of the stored run, as tables."""

import re
import tomllib
from dataclasses import dataclass

from attnflow_verdicts import GOOD, ORIGINS, VERDICTS, origin, verdict
from attnflow_words import inline
from docutils import nodes

from attnflow import citations

WRITTEN = "book/statements.toml"
COLUMNS = ("reproduced", "reproduced with changed constants", "not reproduced", "not testable here", "not tried")
WORSE = {word: at for at, word in enumerate(COLUMNS)}


@dataclass(frozen=True)
class Statement:
    """One statement of a paper: see the head of ``book/statements.toml``."""

    paper: str
    origin: str
    says: str
    where: str = ""
    claims: tuple = ()
    beside: tuple = ()
    verdict: str = ""
    because: str = ""

    def judged(self, rows):
        """Its verdict, one of COLUMNS: the worst of the rows of its claims, or the worse one that it was given.

        rows: id -> Row. Raises ValueError for a claim that is not stored, a verdict that its claims do not allow, and one without
        a reason.
        """
        absent = [name for name in (*self.claims, *self.beside) if name not in rows]
        if absent:
            raise ValueError(f"no claim {', '.join(absent)} is stored")
        found = max((WORSE[column(rows[name])] for name in self.claims), default=None)
        given = WORSE[self.verdict] if self.verdict else found
        if self.origin not in ORIGINS[:-1] or given is None:
            raise ValueError(f"{self.says!r} needs claims or a verdict, and an origin other than {ORIGINS[-1]!r}")
        if found is not None and not found <= given <= max(found, WORSE["not reproduced"]):
            raise ValueError(f"{self.says!r} is not {self.verdict!r}: its claims say {COLUMNS[found]!r}")
        if self.verdict and not self.because:
            raise ValueError(f"{self.says!r} is given {self.verdict!r}, and does not say why")
        return COLUMNS[given]


def column(row):
    """The column of the matrix for one ``row``: a run that is not as its author stated reproduces nothing."""
    found = verdict(row)
    return COLUMNS[0] if found in GOOD else found if found in COLUMNS else "not reproduced"


def statements(path):
    """All statements that the file at ``path`` holds, in its order. Raises TypeError for a key that no statement has."""
    written = tomllib.loads(path.read_text(encoding="utf-8"))["statement"]
    listed = ("claims", "beside")
    return [Statement(**{key: tuple(one) if key in listed else one for key, one in each.items()}) for each in written]


def grid(heads, body, *classes):
    """A table with the words of its ``heads`` and a ``body``, rows of cells of nodes, in these ``classes``."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    made = [[[nodes.Text(head)] for head in heads], *body]
    parts = [nodes.thead(), nodes.tbody()]
    for at, cells in enumerate(made):
        row = nodes.row()
        row += [nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells]
        parts[at > 0] += row
    group += parts
    return nodes.table("", group, classes=["ledger-grid", *classes])


def authors(paper):
    """Who wrote a ``paper``, and when, as plain text.

    >>> authors("marcotte2023abide")
    'Marcotte, Gribonval, Peyré 2023'
    """
    entry = citations.entries()[paper]
    written = " ".join(re.search(r"author\s*=\s*\{(.+?)\},?\n", entry, re.S).group(1).split())
    plain = re.sub(r"\{\\'e\}", "é", written)
    names, year = (one.split(",")[0] for one in plain.split(" and ")), re.search(r"year\s*=\s*.(\d+)", entry).group(1)
    return f"{', '.join(names)} {year}"


def short(word):
    """A verdict as the head of a column of counts."""
    return word.removeprefix("reproduced ")


def counts(rows):
    """How many ``rows`` of each origin have each verdict, as a table."""
    pairs = [(origin(row.provenance), verdict(row)) for row in rows]
    heads = [word for word in VERDICTS if any(word == found for _, found in pairs)]
    body = []
    for name in [name for name in ORIGINS if any(name == whence for whence, _ in pairs)]:
        many = [pairs.count((name, word)) for word in heads]
        body.append([[nodes.Text(str(one or "–"))] for one in (name, *many, sum(many))])
    return grid(["origin", *map(short, heads), "all"], body, "ledger-counts")


def badge(word, good=None):
    """A verdict as a badge: good, or one to look at; the ``word`` says which where nothing else does."""
    good = word in GOOD if good is None else good
    return nodes.inline("", word, classes=["claim-state", "claim-reproduced" if good else "claim-open"])


def card(name, row):
    """A link to the card of a ``row``, by its ``name`` without the chapter."""
    return nodes.reference("", "", nodes.literal("", name.partition(".")[2]), refid=f"claim-{row.key}", internal=True)


def tested(statement, rows, judged):
    """The claims that test a ``statement``, each with its verdict where it is another than ``judged``, and those beside it."""
    found = []
    for kind, names in (("", statement.claims), ("beside it: ", statement.beside)):
        found += [nodes.Text(("; " if found else "") + kind)] if names and (kind or found) else []
        for at, name in enumerate(names):
            found += [nodes.Text(", ")] if at else []
            found.append(card(name, rows[name]))
            own = verdict(rows[name])
            if not kind and column(rows[name]) != judged:
                found.append(nodes.Text(f" ({own})"))
    return found or [nodes.Text("–")]


def matrix(told, rows, cite):
    """The tables of all statements.

    told: the statements; rows: id -> Row; cite: key of a paper -> nodes that name it. Returns the counts over papers and
    verdicts, and for each paper a table that folds.
    """
    papers = list(dict.fromkeys(one.paper for one in told))
    judged = {one: one.judged(rows) for one in told}
    body, parts = [], []
    for paper in papers:
        own = [one for one in told if one.paper == paper]
        many = [sum(judged[one] == word for one in own) for word in COLUMNS]
        link = nodes.reference("", "", nodes.Text(str(len(own))), refid=f"states-{paper}", internal=True)
        body.append([cite(paper), *[[nodes.Text(str(one or "–"))] for one in many], [link]])
        lines = []
        for one in own:
            because = [nodes.Text(" "), nodes.emphasis("", "", *inline(one.because))] if one.because else []
            place = one.origin + (f", {one.where}" if one.where else "")
            said = [*inline(one.says), *because]
            lines.append([said, [nodes.Text(place)], [badge(judged[one])], tested(one, rows, judged[one])])
        table = grid(["it states", "origin", "verdict", "claims"], lines, "ledger-statements")
        told_of = ", ".join(f"{count} {short(word)}" for word, count in zip(COLUMNS, many, strict=True) if count)
        title = nodes.inline("", f"{authors(paper)}: {told_of}", ids=[f"states-{paper}"])
        opening, closing = '<details class="ledger-states" open><summary>', "</details>"
        tags = [nodes.raw("", tag, format="html") for tag in (opening, "</summary>", closing)]
        parts += [tags[0], title, tags[1], table, tags[2]]
    return [grid(["paper", *map(short, COLUMNS), "all"], body, "ledger-counts"), *parts]


def exceptions(told, rows, cite):
    """One line for each claim and each statement that is not plainly reproduced, worst first; arguments as for ``matrix``."""
    lines = []
    for name, row in rows.items():
        word = verdict(row)
        if word not in GOOD:
            lines.append((word, [*inline(row.title), nodes.Text(" · "), card(name, row)]))
    for one in told:
        word = one.judged(rows)
        if one.verdict and word in COLUMNS[1:3]:
            what = [*inline(one.says), nodes.Text(" · "), *cite(one.paper)]
            lines.append((word, what))
    order = [
        "could not be run",
        "not as stated",
        "not reproduced",
        "reproduced with changed constants",
        "not testable here",
    ]
    shown = nodes.bullet_list(classes=["ledger-exceptions"])
    for word, what in sorted(lines, key=lambda line: order.index(line[0])):
        said = nodes.inline("", "", *what)
        shown += nodes.list_item("", nodes.paragraph("", "", badge(word), nodes.Text(" "), said))
    return shown
