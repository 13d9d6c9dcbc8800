"""The first page: its moving figure, and a card a chapter with picture and times from the stored notebook itself."""

import base64
import json
import os
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


def picture(notebook, name):
    r"""The PNG and the alternative text of the figure called ``name`` in a ``notebook``, a dict. Raises LookupError without one.

    >>> cell = {"source": "# | name: fig-one\n", "outputs": [{"data": {"image/png": "UE5H"}}]}
    >>> cell["metadata"] = {"mystnb": {"image": {"alt": "A line."}}}
    >>> picture({"cells": [cell]}, "fig-one")
    (b'PNG', 'A line.')
    """
    for cell in notebook["cells"]:
        if re.search(rf"^# \| name: {re.escape(name)}$", "".join(cell["source"]), re.M):
            drawn = [each["data"] for each in cell["outputs"] if "image/png" in each.get("data", {})]
            return base64.b64decode("".join(drawn[0]["image/png"])), cell["metadata"]["mystnb"]["image"]["alt"]
    raise LookupError(f"there is no figure {name!r}")


def takes(notebook):
    r"""What a chapter takes, as it says itself: minutes to read it and for its exercises, and the seconds that its page took.

    >>> read = {"cell_type": "markdown", "source": "**It takes** about 7 minutes to read once and about 9 more for the exercises"}
    >>> ran = {"cell_type": "code", "source": "", "outputs": [{"text": "59 seconds\n"}]}
    >>> takes({"cells": [read, ran]})
    (7, 9, 59)
    """
    words = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    printed = ["".join(each.get("text", "")) for cell in notebook["cells"] for each in cell.get("outputs", [])]
    said = r"\*\*It takes\*\* about (\d+) minutes to read once and about (\d+) more for the exercises"
    ((read, work),) = re.findall(said, words)
    (ran,) = [found for text in printed for found in re.findall(r"^(\d+) seconds$", text, re.M)]
    return int(read), int(work), int(ran)


class Card(SphinxDirective):
    """``attnflow-card``: one chapter, by the name of its page, with the figure of ``figure``; the content is its surprise."""

    required_arguments = 1
    has_content = True
    option_spec = {"figure": directives.unchanged_required}

    def run(self):
        """Draw the card: picture, title with its link, sentence, times."""
        page, name = self.arguments[0], self.options["figure"]
        path = Path(self.env.srcdir) / "notebooks" / f"{page}.ipynb"
        self.env.note_dependency(str(path))
        notebook = json.loads(path.read_text(encoding="utf-8"))
        try:
            png, alt = picture(notebook, name)
        except LookupError as error:
            raise self.error(f"{page}: {error}") from None
        kept = Path(self.env.app.outdir).parent / "cards" / f"{name}.png"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(png)
        read, work, ran = takes(notebook)
        card = nodes.container(classes=["chapter-card"])
        card += nodes.image(uri="/" + os.path.relpath(kept, self.env.srcdir).replace(os.sep, "/"), alt=alt)
        card += self.parse_text_to_nodes(f"**{page[0]} · {{doc}}`/notebooks/{page}`**")
        card += self.parse_content_to_nodes()
        words = f"{read} minutes to read, {work} for exercises, {ran} seconds to run"
        card += nodes.paragraph("", words, classes=["card-takes"])
        return [card]


def load(app, pagename, templatename, context, doctree):
    """Load the moving figure of the first page, on that page alone; the slopes are those of chapter 1."""
    if pagename == app.config.root_doc:
        app.add_js_file("landing.js", loading_method="defer")
        app.add_js_file("../explorables/formulas/foundations.js", loading_method="defer")
