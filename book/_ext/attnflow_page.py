"""What a page says of itself: a description, a title once, permalinks; under a chapter its last run and how to cite it."""

import datetime
import html
import json
import re
from pathlib import Path

import yaml
from attnflow_tex import plain, sentence
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from attnflow.rooms import cite, rooms

CITATION = "CITATION.cff"
SPECIAL = {
    "search": "Search the theorems, claims, figures, exercises, terms and sections of the book, without a network.",
    "prf-prf": "All theorems, propositions, definitions and proofs of the book, in the order of the alphabet.",
    "genindex": "All terms of the glossary and all names of the library, in the order of the alphabet.",
    "py-modindex": "All modules of the library, in the order of the alphabet.",
}
BOX = re.compile(
    r'(<div class="[^"]*\b(?:proof|exercise)\b[^"]*" id="([^"]+)">\s*<p class="admonition-title">.*?)(</p>)', re.S
)
DONE = re.compile('title="Link to this (box|claim)"')
CLAIM = re.compile(r'(<blockquote>\s*<div>\s*<p><a id="(box-[\w-]+)"></a><strong>.*?</strong>)', re.S)


def linked(page):
    """A page with a permalink on every theorem, exercise and claim.

    >>> linked('<div class="proof theorem admonition" id="thm-a"><p class="admonition-title">Theorem 1.1 </p>')[-82:]
    'Theorem 1.1 <a class="headerlink" href="#thm-a" title="Link to this box">#</a></p>'
    """
    if DONE.search(page):  # kept from the build before
        return page
    page = BOX.sub(lambda found: f"{found[1]}{_permalink(found[2], 'box')}{found[3]}", page)
    return CLAIM.sub(lambda found: found[1] + _permalink(found[2], "claim"), page)


def _permalink(anchor, what):
    """The link that a heading has, for something else."""
    return f'<a class="headerlink" href="#{anchor}" title="Link to this {what}">#</a>'


def described(doctree):
    """The first paragraph of a page as its description, formulas as plain text; empty where there is none."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            parts = [plain(one.astext()) if isinstance(one, nodes.math) else one.astext() for one in paragraph.children]
            return sentence("".join(parts), 160)
    return ""


def head(app, pagename, templatename, context, doctree):
    """Give a page its description, and its title once where it is that of the book."""
    said = described(doctree) if doctree else SPECIAL.get(pagename, "")
    if said:
        context["metatags"] = (
            context.get("metatags", "") + f'\n<meta name="description" content="{html.escape(said)}" />\n'
        )
    title = html.unescape(re.sub(r"<[^>]+>", "", str(context.get("title", ""))))
    if title == context.get("docstitle"):
        context["docstitle"] = ""


def last_run(notebook):
    """The line that a chapter printed at its end, as a dict, and its seconds: ({}, "") where it has none.

    notebook: the stored notebook as a dict. Versions, machine, hash of the code and date are those of the run that is stored.
    """
    for cell in reversed(notebook["cells"]):
        printed = "".join("".join(output.get("text", "")) for output in cell.get("outputs", []))
        if found := re.search(r"^python .*, date \d{4}-\d\d-\d\d$", printed, re.M):
            pairs = (part.split(" ", 1) for part in found[0].split(", "))
            seconds = re.search(r"^(\d+ seconds)$", printed, re.M)
            return dict(pairs), seconds[1] if seconds else ""
    return {}, ""


def run_words(stamp, seconds):
    """When a chapter was last run, how long it took, and with what, in words.

    >>> stamp = {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6", "sympy": "1.14.0", "platform": "Linux x86_64"}
    >>> stamp |= {"cores": "2", "threads": "1", "device": "cpu", "code": "6f9", "date": "2026-11-30"}
    >>> run_words(stamp, "54 seconds").split(", with")[0]
    '30 November 2026, in 54 seconds, on Linux x86_64 (device cpu, 2 cores, 1 thread)'
    """
    day = datetime.date.fromisoformat(stamp["date"])
    took = f", in {seconds}" if seconds else ""
    threads = f"{stamp['threads']} thread" + "s" * (stamp["threads"] != "1")
    machine = f"{stamp['platform']} (device {stamp['device']}, {stamp['cores']} cores, {threads})"
    made = ", ".join(f"{name} {stamp[name]}" for name in ("torch", "numpy", "sympy"))
    return f"{day.day} {day:%B %Y}{took}, on {machine}, with Python {stamp['python']}, {made}; library {stamp['code']}."


def bibtex(root, year, room=None):
    """BibTeX of this book, or of the chapter of a room in it, from CITATION.cff in the folder ``root``."""
    book = yaml.safe_load((Path(root) / CITATION).read_text(encoding="utf-8"))
    author = " and ".join(f"{{{one['name']}}}" for one in book["authors"])
    title = book["title"].replace("Transformers", "{Transformers}")
    if room is None:
        fields = {"author": author, "title": title}
        kind, key = "book", "attnflow"
    else:
        fields = {"author": author, "title": room.title, "booktitle": title, "chapter": room.number}
        kind, key = "incollection", f"attnflow-{room.name}"
    fields |= {"year": year, "note": f"Version {book['version']}"}
    return (
        "\n".join([f"@{kind}{{{key},", *(f"  {name:9} = {{{value}}}," for name, value in fields.items())])[:-1] + "\n}"
    )


def about(env, room):
    """The box under a chapter: its last run, BibTeX of the chapter and of the works that it rests on, licence and errata."""
    path = Path(env.srcdir) / "notebooks" / f"{room.page}.ipynb"
    stamp, seconds = last_run(json.loads(path.read_text(encoding="utf-8")))
    box = nodes.container(classes=["chapter-about"])
    box += nodes.rubric("", "About this chapter")
    if stamp:
        when = [nodes.strong("", "Last run: "), nodes.Text(run_words(stamp, seconds) + " ")]
        box += nodes.paragraph("", "", *when, _page("/book/reproduce", "What to expect elsewhere"), nodes.Text("."))
    else:
        logging.getLogger(__name__).warning(f"{room.page} does not print when it was run", location=env.docname)
    told = nodes.Text("The book is under the MIT licence. See also ")
    pages = [_page("/book/licence", "Licence"), nodes.Text(", "), _page("/book/changes", "What changed")]
    pages += [nodes.Text(" and "), _page("/book/errata", "Errata"), nodes.Text(".")]
    box += nodes.paragraph("", "", nodes.strong("", "To cite this chapter:"))
    box += _code(bibtex(env.srcdir, env.config.copyright, room))
    works = cite(room.name)
    summary = f"BibTeX of the {works.count('@')} works that it rests on"
    box += nodes.raw("", f'<details class="chapter-works"><summary>{summary}</summary>', format="html")
    box += [_code(works), nodes.raw("", "</details>", format="html"), nodes.paragraph("", "", told, *pages)]
    return box


def _page(name, text):
    """A link to a page, to be resolved by Sphinx."""
    options = {"refdomain": "std", "reftype": "doc", "reftarget": name, "refexplicit": True, "refwarn": True}
    return addnodes.pending_xref("", nodes.inline("", text), refdoc="", **options)


def _code(text):
    """BibTeX as a block with a button that copies it."""
    return nodes.literal_block(text, text, language="bibtex")


def foot(app, doctree):
    """Put the box under a chapter."""
    room = next((one for one in rooms().values() if app.env.docname == f"notebooks/{one.page}"), None)
    if room and str(app.env.doc2path(app.env.docname)).endswith(".ipynb"):
        app.env.note_dependency(str(Path(app.srcdir) / CITATION))
        box = about(app.env, room)
        for link in box.findall(addnodes.pending_xref):
            link["refdoc"] = app.env.docname
        doctree.next_node(nodes.section).append(box)


class Cite(SphinxDirective):
    """``attnflow-cite``: BibTeX of the book."""

    def run(self):
        """Draw the block."""
        self.env.note_dependency(str(Path(self.env.srcdir) / CITATION))
        return [_code(bibtex(self.env.srcdir, self.config.copyright))]
