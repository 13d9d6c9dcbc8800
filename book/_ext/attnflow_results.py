"""The page that lists all theorems, figures and claims, chapter by chapter, from what the notebooks and the stored run hold."""

import json
import re
from pathlib import Path

from attnflow_ledger import stored
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from attnflow.rooms import rooms

BOX = re.compile(r"^:{3,}\{prf:(\w+)\} *(.*)\n:label: *(\S+)", re.M)

MOVES = re.compile(r"^```\{attnflow-explorable\}.*?^name: (\S+)$.*?^---\n(.*?)^```$", re.M | re.S)


def theorems(cells):
    """The numbered boxes of a chapter in reading order: lines of a list, the proofs left out."""
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return [f"- {{prf:ref}}`{label}`: {title}" for kind, title, label in BOX.findall(text) if kind != "proof"]


def figures(cells):
    """The figures of a chapter in reading order, each with the first sentence of its caption."""
    told = []
    for cell in cells:
        drawn = cell["metadata"].get("mystnb", {}).get("figure")
        told += [(drawn["name"], drawn["caption"])] if drawn else []
        told += MOVES.findall("".join(cell["source"])) if cell["cell_type"] == "markdown" else []
    return [f"- {{numref}}`{name}`: {first(' '.join(caption.split()))}" for name, caption in told]


def first(caption):
    """The first sentence of a caption.

    >>> first("Two starts, with $a > 0.5$. Pale lines are runs.")
    'Two starts, with $a > 0.5$.'
    """
    return re.split(r"(?<=[.:]) (?=[A-Z$*])", caption)[0].rstrip(":")


def claims(rows):
    """The claims of a chapter in the order of the ledger, each with its state where that is not the usual one."""
    for row in rows:
        usual = row.state == "reproduced" and row.consistent
        yield f"- [{row.title}](#claim-{row.key})" + ("" if usual else f": *{row.state}*")


class Results(SphinxDirective):
    """``attnflow-results``: a section a chapter, with its theorems, its figures and its claims."""

    def run(self):
        """Draw the sections."""
        rows = (stored(self) or ((), ()))[1]
        return [self.chapter(room, [row for row in rows if row.chapter == room.name]) for room in rooms().values()]

    def chapter(self, room, rows):
        """The section of one room."""
        path = Path(self.env.srcdir) / "notebooks" / f"{room.page}.ipynb"
        self.env.note_dependency(str(path))
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        section = nodes.section(ids=[f"results-{room.name}"], names=[f"results-{room.name}"])
        section += nodes.title("", f"{room.number} · {room.title}")
        self.state.document.note_explicit_target(section, section)
        parts = {"Theorems and definitions": theorems(cells), "Figures": figures(cells), "Claims": list(claims(rows))}
        for name, lines in parts.items():
            if lines:
                lines = [f"**{name}** ({len(lines)})", "", *lines, ""]
                holder = nodes.container(classes=["results-list"])
                self.state.nested_parse(StringList(lines, source=self.env.docname), self.content_offset, holder)
                section += holder
        return section
