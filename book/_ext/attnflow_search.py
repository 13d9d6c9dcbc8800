"""The index that the search box reads: one entry a place, made from the finished pages, as a script that loads from a disk.

A place is a theorem, a definition, a claim, a figure, an exercise, a term of the glossary, a section, or a name of the library.
"""

import json
import re
from collections import Counter
from pathlib import Path

from attnflow_tex import plain, sentence
from lxml.html import fromstring

from attnflow.claims.stored import read_run

FILE = "_static/search-data.js"
UNREAD = ("searchindex.js", "_static/searchtools.js", "_static/language_data.js", "_static/sphinx_highlight.js")
BRIEF, SHORT, LONG = 90, 150, 280  # characters of text that an entry keeps: of a module, of what is short, of a section
RARE = 6  # sections that a word further down may stand in, to be kept beside the text
TITLES = ("h1", "h2", "h3", "h4")
JUNK_TAGS = ("script", "style", "svg", "button", "nav")
JUNK = ("headerlink", "eqno", "results-list", "solution", "cell_input", "chapter-about")
SOURCE = "source"  # the section with the code of a module
BOXES = ("glossary", "py", "claim", "proof", "exercise", "cell", "ledger")  # with places of their own


def has(node, *names):
    """Whether an element has one of these classes."""
    return not set(names).isdisjoint(node.get("class", "").split())


def words(node):
    r"""The text of a part of a page, formulas as plain text.

    >>> words(fromstring(r'<p>the <span class="math">\(\lambda\)</span> of it</p>'))
    'the λ of it'
    """
    return " ".join(_told(node).split())


def _told(node):
    """The text of an element with all spaces."""
    if has(node, "math"):
        return plain(re.sub(r"\\[()\[\]]", " ", node.text_content()))
    inside = ((_told(child) if isinstance(child.tag, str) else "") + (child.tail or "") for child in node)
    return (node.text or "") + "".join(inside)


def own(section):
    """The text of a section without its heading, its boxes and its subsections."""
    left_out = (*TITLES, "section", "figure")
    kept = [one for one in section if one.tag not in left_out and not has(one, *BOXES)]
    parts = [words(one) for one in kept if isinstance(one.tag, str) and not (one.tag == "span" and one.get("id"))]
    return " ".join(part for part in parts if part)


def heading(section):
    """Number and title of a section, ('', '') where it has no heading of its own."""
    head = next((child for child in section if child.tag in TITLES), None)
    if head is None:
        return "", ""
    return taken(head, "section-number").rstrip("."), words(head)


def taken(node, name):
    """The text of the first element in a ``node`` that has a class, which is taken out; empty where there is none."""
    found = next((one for one in node.iter("span") if has(one, name)), None)
    if found is None:
        return ""
    found.drop_tree()
    return found.text_content().strip()


class Page:
    """The places of one page.

    address: of the page inside the site; article: its element.
    """

    def __init__(self, address, article):
        self.address, self.entries, self.names = address, [], []
        self.library = any(has(one, "sig") for one in article.iter("dt"))
        for junk in [
            one for one in article.iter("*") if one.tag in JUNK_TAGS or has(one, *JUNK) or one.get("id") == SOURCE
        ]:
            junk.drop_tree()
        self.heads = {section: heading(section) for section in article.iter("section")}
        self.number, self.title = next(iter(self.heads.values()), ("", address))
        for node in list(article.iter("section", "div", "figure", "dt")):
            self.place(node)

    def section(self, node):
        """Number and title of the section around a place, on one line; nothing where that is the page itself."""
        around = next((one for one in node.iterancestors("section") if self.heads.get(one, ("", ""))[1]), None)
        if around is None or next(around.iterancestors("section"), None) is None:
            return ""
        return " ".join(self.heads[around]).strip()

    def add(self, kind, node, label, title, text, most=SHORT):
        """One entry: its kind, anchor, label such as "Theorem 2.1", title, section and text."""
        kept = sentence(text, most)
        further = text[len(kept) - 1 :] if most != BRIEF else ""
        self.entries.append([kind, node.get("id"), label, title, self.section(node), kept, further])

    def place(self, node):
        """Add what a node is, if it is a place."""
        classes = node.get("class", "").split()
        if not node.get("id") or "claim" in classes:
            return
        if node.tag == "section" and self.heads[node][1]:
            number, title = self.heads[node]
            top = next(node.iterancestors("section"), None) is None
            kind = "chapter" if top and self.address.startswith("notebooks/") else "page" if top else "section"
            kind = "api" if self.library else kind
            self.add(kind, node, number, title, own(node), BRIEF if kind == "api" else LONG)
        elif "admonition" in classes and {"proof", "exercise"} & set(classes):
            head = next(one for one in node.iter("p") if has(one, "admonition-title"))
            head.drop_tree()
            label, _, title = words(head).partition("(")
            kind = next((one for one in classes if one not in ("proof", "admonition", "nonumber")), "proof")
            if kind != "proof":
                self.add(kind, node, label.strip(), title.rpartition(")")[0], words(node), 2 * SHORT)
        elif node.tag == "figure" and (caption := next(node.iter("figcaption"), None)) is not None:
            label = taken(caption, "caption-number") or "Figure"
            told = words(caption)
            first = re.split(r"(?<=[.:]) ", told)[0]
            self.add("figure", node, label, sentence(first, 90).rstrip(".:"), told, SHORT)
        elif node.tag == "dt" and node.get("id").startswith("term-"):
            said = next((one for one in node.itersiblings("dd")), node)
            self.add("term", node, "", words(node), words(said))
        elif node.tag == "dt" and "sig" in classes and not has(node.getparent(), "attribute", "property"):
            self.names.append(node.get("id").removeprefix("attnflow."))


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
        articles = (one for one in fromstring(text).iter("article") if has(one, "bd-article"))
        made += [Page(address, article) for article in articles]
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


def spare(app):
    """Keep Sphinx from making an index of its own, which nothing reads; a second build would miss it."""
    for name in ("load_indexer", "index_page", "dump_search_index"):
        setattr(app.builder, name, lambda *arguments: None)


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
