"""The index that the search box reads: one entry a place, made from the finished pages, as a script that loads from a disk.

A place is a theorem, a definition, a claim, a figure, an exercise, a term of the glossary, a section, or a name of the library.
"""

import json
import re
from collections import Counter
from pathlib import Path

from attnflow_tex import plain, sentence
from bs4 import BeautifulSoup, NavigableString

from attnflow.claims.stored import read_run

FILE = "_static/search-data.js"
UNREAD = ("searchindex.js", "_static/searchtools.js", "_static/language_data.js", "_static/sphinx_highlight.js")
BRIEF, SHORT, LONG = 90, 150, 280  # characters of text that an entry keeps: of a module, of what is short, of a section
RARE = 6  # sections that a word further down may stand in, to be kept beside the text
INSIDE = "a.headerlink, .eqno, .results-list, script, style, svg, button, .solution, .cell_input, .chapter-about, nav"
BOXES = "section, figure, dl.glossary, dl.py, section.claim, div.proof, div.exercise, div.cell, table.docutils.ledger"


def words(node):
    r"""The text of a part of a page, formulas as plain text.

    >>> words(BeautifulSoup(r'<p>the <span class="math">\(\lambda\)</span> of it</p>', "html.parser"))
    'the λ of it'
    """
    parts = []
    for piece in node.descendants:
        if isinstance(piece, NavigableString):
            formula = piece.find_parent(class_="math")
            parts.append(plain(re.sub(r"\\[()\[\]]", " ", piece)) if formula else str(piece))
    return " ".join("".join(parts).split())


def own(section):
    """The text of a section without its heading, its boxes and its subsections."""
    parts = []
    for child in section.find_all(True, recursive=False):
        if (
            child.name not in ("h1", "h2", "h3", "h4")
            and not child.css.match(BOXES)
            and not child.css.match("span[id]")
        ):
            parts.append(words(child))
    return " ".join(part for part in parts if part)


def heading(section):
    """Number and title of a section, ('', '') where it has no heading of its own."""
    head = section.find(["h1", "h2", "h3", "h4"], recursive=False)
    number = head.find("span", class_="section-number") if head else None
    told = number.extract().get_text().strip().rstrip(".") if number else ""
    return told, words(head) if head else ""


class Page:
    """The places of one page.

    address: of the page inside the site; soup: its article.
    """

    def __init__(self, address, article):
        self.address, self.entries, self.names, self.library = address, [], [], article.find("dt", class_="sig")
        for junk in article.select(INSIDE):
            junk.decompose()
        self.heads = {}
        for section in article.find_all("section"):
            self.heads[id(section)] = heading(section)
        top = article.find("section")
        self.number, self.title = self.heads[id(top)] if top else ("", address)
        for node in article.find_all(["section", "div", "figure", "dt"]):
            self.place(node)

    def section(self, node):
        """Number and title of the section around a place, on one line; nothing where that is the page itself."""
        around = next((one for one in node.find_parents("section") if self.heads.get(id(one), ("", ""))[1]), None)
        number, title = self.heads.get(id(around), ("", ""))
        return "" if around is None or around.find_parent("section") is None else f"{number} {title}".strip()

    def add(self, kind, node, label, title, text, most=SHORT):
        """One entry: its kind, anchor, label such as "Theorem 2.1", title, section and text."""
        kept = sentence(text, most)
        further = text[len(kept) - 1 :] if most != BRIEF else ""
        self.entries.append([kind, node["id"], label, title, self.section(node), kept, further])

    def place(self, node):
        """Add what a node is, if it is a place."""
        classes = node.get("class", [])
        if not node.get("id") or "claim" in classes:
            return
        if node.name == "section" and self.heads[id(node)][1]:
            number, title = self.heads[id(node)]
            top = node.find_parent("section") is None
            kind = "chapter" if top and self.address.startswith("notebooks/") else "page" if top else "section"
            kind = "api" if self.library else kind
            self.add(kind, node, number, title, own(node), BRIEF if kind == "api" else LONG)
        elif "admonition" in classes and {"proof", "exercise"} & set(classes):
            head = node.find("p", class_="admonition-title").extract()
            label, _, title = words(head).partition("(")
            kind = next((one for one in classes if one not in ("proof", "admonition", "nonumber")), "proof")
            if kind != "proof":
                self.add(kind, node, label.strip(), title.rpartition(")")[0], words(node), 2 * SHORT)
        elif node.name == "figure" and (caption := node.find("figcaption")):
            number = caption.find("span", class_="caption-number")
            label = number.extract().get_text().strip() if number else "Figure"
            told = words(caption)
            first = re.split(r"(?<=[.:]) ", told)[0]
            self.add("figure", node, label, sentence(first, 90).rstrip(".:"), told, SHORT)
        elif node.name == "dt" and node["id"].startswith("term-"):
            self.add("term", node, "", words(node), words(node.find_next_sibling("dd") or node))
        elif node.name == "dt" and "sig" in classes and not {"attribute", "property"} & set(node.parent["class"]):
            self.names.append(node["id"].removeprefix("attnflow."))


def claims(path, pages):
    """An entry for each stored claim, where its card stands: of which page, and the entry."""
    rows = read_run(path)[1] if path.exists() else []
    homes = {anchor: name for name, text in pages.items() for anchor in re.findall(r'id="(claim-[\w-]+)"', text)}
    for row in rows:
        if home := homes.get(f"claim-{row.key}"):
            yield home, ["claim", "", row.id, prose(row.title), "", sentence(prose(row.statement), SHORT - 20), ""]


def prose(text):
    r"""Markdown with formulas as plain text.

    >>> prose(r"the *error* falls like $\eta^2$, `flow.Heun`")
    'the error falls like η², flow.Heun'
    """
    text = re.sub(r"\$([^$]+)\$", lambda found: plain(found.group(1)), text)
    return re.sub(r"[*`]", "", text)


def index(pages, stored):
    """The index of pages, address -> HTML, in reading order, and of the stored run of claims: what the browser reads.

    Anchors of claims are empty, since they follow from the label. Of the library there are the names, one text a page.
    """
    made = []
    for address, text in pages.items():
        article = BeautifulSoup(text, "html.parser").find("article", class_="bd-article")
        made.append(Page(address, article) if article else None)
    made = [page for page in made if page]
    found = {page.address: page for page in made}
    for home, entry in claims(stored, pages):
        found[home].entries.append(entry)
    listed = [[page.address, page.number, page.title] for page in made]
    kinds = sorted({entry[0] for page in made for entry in page.entries})
    entries = [[at, kinds.index(kind), *one] for at, page in enumerate(made) for kind, *one in page.entries]
    names = [[at, " ".join(page.names)] for at, page in enumerate(made) if page.names]
    return {"pages": listed, "kinds": kinds, "entries": rare(entries), "api": names}


def rare(entries):
    """The entries with the rare words of what they do not show in the place of it, so that these are found too."""
    words = [set(re.findall(r"[^\W\d_]{5,}", one[-1].lower())) for one in entries]
    count = Counter(word for own in words for word in own)
    for one, own in zip(entries, words, strict=True):
        shown = one[-2].lower()
        one[-1] = " ".join(sorted(word for word in own if count[word] <= RARE and word not in shown))
    return entries


def written(made):
    """The index as a script, which is the only file that a page on a disk may load."""
    return "attnflowSearch.data(" + json.dumps(made, ensure_ascii=False, separators=(",", ":")) + ");\n"


def write_index(app, exception):
    """Write the index of a finished build, and take away that of Sphinx, which nothing reads."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    order = [app.config.root_doc, *(name for name in _order(app.env) if name != app.config.root_doc)]
    pages = {app.builder.get_target_uri(name): out / app.builder.get_target_uri(name) for name in order}
    texts = {address: path.read_text(encoding="utf-8") for address, path in pages.items() if path.is_file()}
    made = index(texts, Path(app.srcdir) / "results" / "claims.json")
    (out / FILE).write_text(written(made), encoding="utf-8")
    for name in UNREAD:
        (out / name).unlink(missing_ok=True)


def _order(env):
    """The names of all pages, in the order of the contents."""
    relations, name = env.collect_relations(), env.config.root_doc
    found = []
    while name is not None and name not in found:
        found.append(name)
        name = relations[name][2] if name in relations else None
    return [*found, *sorted(env.found_docs - set(found))]
