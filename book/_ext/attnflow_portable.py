"""Notebooks for any program: written into the site when the book is built, from the stored chapters with their outputs.

One source, two notebooks. The book's speaks MyST and is read by Sphinx; the *portable* one is plain Markdown with the numbers
that Sphinx gave, solutions folded, a caption under each picture, and a cell to start in where an exercise needs a run. It is
what the download button serves. A browser saves no file that lies beside a page on a disk, so the same notebook stands in a
script too, which a page on a disk may load.
"""

import json
import re
import tomllib
from pathlib import Path

import nbformat
from attnflow_plain import Book, NotPlain, pieces
from docutils import nodes
from pybtex.plugin import find_plugin
from sphinx.errors import ExtensionError

FOLDER = "portable"
STARTERS = "notebooks/starters.toml"
FOLDED = {"hide-input", "remove-input"}  # what draws and prints; the cell of parameters stays open


def number(parts):
    """The parts of a number as the book writes them; empty where there are none."""
    return ".".join(map(str, parts or ()))


def sections(env, page):
    """The sections of a ``page`` in reading order: (all their anchors, number or ""), from the environment ``env``."""
    known, found = env.toc_secnumbers.get(page, {}), []
    titled = (one for one in env.get_doctree(page).findall(nodes.section) if one and isinstance(one[0], nodes.title))
    for section in titled:  # boxes are made of sections too
        place = f"#{section['ids'][0]}" if found else ""
        found.append((section["ids"], number(known.get(place))))
    return found


def authors(entry):
    """Who wrote a work, as a text names them: one name, two, or the first and the others."""
    names = [
        " ".join(map(str, person.rich_prelast_names + person.rich_last_names)) for person in entry.persons["author"]
    ]
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def address(fields):
    """Where a work can be read: its DOI, else arXiv, else its address; empty where the bibliography has none.

    >>> address({"note": "arXiv:2410.09605, version 1"}), address({"doi": "10.1/a", "url": "b"}), address({})
    ('https://arxiv.org/abs/2410.09605', 'https://doi.org/10.1/a', '')
    """
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    if preprint := re.search(r"arXiv:(\d{4}\.\d+)", fields.get("note", "")) or re.fullmatch(
        r"(\d{4}\.\d+)(?:v\d+)?", fields.get("eprint", "")
    ):
        return f"https://arxiv.org/abs/{preprint[1]}"
    return fields.get("url", "")


def read(env, pages):
    """What Sphinx knows of all labels, for the notebooks ``pages``, as a Book without headings."""
    book = Book(pages={page.rpartition("/")[2]: f"{page.rpartition('/')[2]}.ipynb" for page in pages})
    numbers = env.toc_fignumbers
    for label, (page, _) in env.get_domain("math").equations.items():
        anchor = nodes.make_id(f"equation-{label}")
        book.equations[label] = number(numbers.get(page, {}).get("displaymath", {}).get(anchor))
    for label, known in env.proof_list.items():
        counted = numbers[known["docname"]].get(known["countertype"], {}).get(label)
        book.numbered[label] = f"{known['realtype'].title()} {number(counted)}".strip()
    for label, known in env.sphinx_exercise_registry.items():
        if counted := numbers[known["docname"]].get("exercise", {}).get(label):  # a solution has none
            book.numbered[label] = f"Exercise {number(counted)}"
    placed = {
        (page, one): (told, not at)
        for page in pages
        for at, (ids, told) in enumerate(sections(env, page))
        for one in ids
    }
    for label, (page, anchor) in env.get_domain("std").anonlabels.items():
        if figure := numbers.get(page, {}).get("figure", {}).get(anchor):
            book.numbered[label] = f"Figure {number(figure)}"
        elif (page, anchor) in placed:
            told, first = placed[page, anchor]
            if first:
                book.pages[label] = book.pages[page.rpartition("/")[2]]
            elif told:
                book.sections[label] = f"Section {told}"
    for key, entry in env.get_domain("cite").bibdata.data.entries.items():
        book.works[key] = (authors(entry), entry.fields.get("year", ""), address(entry.fields))
    return book


def works(env, text):
    """The works that a MyST ``text`` cites, in full, as a list in Markdown."""
    keys = {key for found in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in re.split(r"\s*,\s*", found)}
    entries = env.get_domain("cite").bibdata.data.entries
    style, backend = (
        find_plugin(*what)() for what in (("pybtex.style.formatting", "plain"), ("pybtex.backends", "markdown"))
    )
    lines = []
    for said in style.format_entries([entries[key] for key in sorted(keys)]):
        link = address(entries[said.key].fields)
        lines.append(" ".join(f"* {said.text.render(backend)} {f'<{link}>' if link else ''}".split()))
    return "## Works cited\n\n" + "\n".join(lines)


def begun(path):
    """The cells to start in, label of an exercise -> code, of the file ``path``, in which every chapter has a table."""
    tables = tomllib.loads(path.read_text(encoding="utf-8")).values()
    return {label: text.strip() for table in tables for label, text in table.items()}


def code(cell):
    """A code cell with its outputs as they are; what draws and prints is folded, as on the page."""
    copied = nbformat.from_dict(cell)
    tags = set(copied.metadata.get("tags", ()))
    if tags & FOLDED and "parameters" not in tags:
        copied.metadata["jupyter"] = {"source_hidden": True}
    copied.metadata.pop("mystnb", None)
    return copied


def portable(stored, book, starters, head, tail):
    """The portable notebook.

    stored: the book's; book: the numbers, with the headings of this page; starters: label of an exercise -> its first cell;
    head: a text that follows the title; tail: one that ends the notebook. Raises NotPlain for what has no plain form.
    """
    cells = []

    def add(cell, name):
        cell.id = name
        cells.append(cell)

    for at, cell in enumerate(stored.cells):
        if cell.cell_type == "code":
            add(code(cell), cell.id)
            if figure := cell.metadata.get("mystnb", {}).get("figure"):
                ((_, told),) = pieces(figure["caption"], book)
                caption = f"**{book.of('numbered', figure['name'])}.** {told}"
                add(nbformat.v4.new_markdown_cell(caption), f"{cell.id}-caption")
            continue
        parts, started = [(False, [])], False  # (whether it is code, its texts)
        for label, said in pieces(cell.source, book):
            if label or started:  # an exercise begins a cell, and what follows a cell to start in is in the next one
                parts.append((False, []))
            parts[-1][1].append(said)
            started = label in starters
            if started:
                parts.append((True, [starters[label]]))
        for place, (runs, texts) in enumerate(part for part in parts if part[1]):
            made = nbformat.v4.new_code_cell if runs else nbformat.v4.new_markdown_cell
            add(made("\n\n".join(texts)), f"{cell.id}-{place + 1}" if place else cell.id)
        if not at:
            add(nbformat.v4.new_markdown_cell(head), f"{cell.id}-head")
    if book.headings:
        raise NotPlain(f"{len(book.headings)} headings of the page are not in its notebook")
    add(nbformat.v4.new_markdown_cell(tail), "works-cited")
    metadata = {"kernelspec": stored.metadata.kernelspec, "language_info": stored.metadata.language_info}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def write(app, exception):
    """Write the portable notebook of every chapter, and the script that holds it, into a finished build."""
    if exception is not None or app.builder.name != "html":
        return
    env, folder = app.env, Path(app.outdir) / FOLDER
    pages = [page for page in sorted(env.found_docs) if str(env.doc2path(page)).endswith(".ipynb")]
    if not pages:
        return
    book = read(env, pages)
    starters = begun(Path(app.srcdir) / STARTERS)
    folder.mkdir(exist_ok=True)
    for page in pages:
        name = page.rpartition("/")[2]
        stored = nbformat.read(env.doc2path(page), as_version=4)
        book.headings = [f"{told}." if told else "" for _, told in sections(env, page)]
        text = "\n".join(cell.source for cell in stored.cells if cell.cell_type == "markdown")
        head = (
            f"> Chapter {book.headings[0].rstrip('.')} of the book *{app.config.project}*, with its numbers. The pages that it "
            "names, notation, glossary and claims ledger, are in the book. To run it, see the page *Reproduce* there."
        )
        try:
            notebook = portable(stored, book, starters, head, works(env, text))
        except NotPlain as fault:
            raise ExtensionError(f"{page}: {fault}; attnflow_plain.py says what has") from fault
        nbformat.validate(notebook)
        text = nbformat.writes(notebook) + "\n"
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
        (folder / f"{name}.js").write_text(
            f"attnflowNotebook({json.dumps(json.loads(text), separators=(',', ':'))});\n", encoding="utf-8"
        )


def offer(app, pagename, templatename, context, doctree):
    """Let the download button of a chapter serve its portable notebook."""
    if not str(context.get("page_source_suffix", "")).endswith("ipynb"):
        return
    for group in context.get("header_buttons", ()):
        for button in group.get("buttons", ()):
            if button.get("label") == "download-source-button":
                button["url"] = context["pathto"](f"{FOLDER}/{pagename.rpartition('/')[2]}.ipynb", 1)
                button["tooltip"] = "Download this chapter as a notebook"


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", offer, priority=600)  # the theme makes its buttons at 501
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
