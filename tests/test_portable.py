"""The portable notebooks: plain Markdown, the numbers of the pages, folded solutions, and that they open where they should."""

import contextlib
import copy
import importlib.util
import io
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import attnflow_portable as portable
import nbformat
import pytest
from attnflow_plain import Book, NotPlain, pieces
from bs4 import BeautifulSoup
from pages import visit

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


spec = importlib.util.spec_from_file_location("lab", ROOT / "notebooks" / "lab.py")
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)

STARTERS = portable.begun(ROOT / portable.STARTERS)


# --- one text

BOOK = {
    "equations": {"eq-a": "1.2"},
    "numbered": {"thm-a": "Theorem 1.1", "fig-a": "Figure 1.3", "ex-a": "Exercise 1.4"},
    "sections": {"sec-a": "Section 1.6"},
    "pages": {"2_b": "2_b.ipynb", "chapter-b": "2_b.ipynb"},
    "works": {"one": ("One", "2001", ""), "two": ("Two et al.", "2002", "https://a.org/2")},
}


def book(**more):
    return Book(**BOOK | more)


def plain(text, **more):
    return "\n\n".join(said for _, said in pieces(text, book(**more)))


@pytest.mark.parametrize(
    "text, said",
    [
        ("$$x$$ (eq-a)\nthen", "$$x \\tag{1.2}$$\nthen"),
        ("$$x$$\n(eq-a)", "$$x$$\n(eq-a)"),
        ("$$x$$ and (y)", "$$x$$ and (y)"),
        ("by {eq}`eq-a`", "by (1.2)"),
        ("{numref}`fig-a`, {prf:ref}`thm-a`, {ref}`sec-a`", "Figure 1.3, Theorem 1.1, Section 1.6"),
        ("{cite:t}`two` and {cite:t}`one`", "[Two et al. (2002)](https://a.org/2) and One (2001)"),
        ("known {cite}`two,one`.", "known ([Two et al., 2002](https://a.org/2); One, 2001)."),
        ("a {term}`sweep` and {term}`sweeps <sweep>`", "a sweep and sweeps"),
        ("see [it](2_b), [it](chapter-b)", "see [it](2_b.ipynb), [it](2_b.ipynb)"),
        ("[below](sec-a), [notation](../book/notation.md)", "below (Section 1.6), notation"),
        ("[there](https://a.org/b_c)", "[there](https://a.org/b_c)"),
        ("`{eq}` and `[a](b)` and $[c](d)$", "`{eq}` and `[a](b)` and $[c](d)$"),
        ("(sec-a)=\n## Two {eq}`eq-a`", "## 1.6. Two (1.2)"),
        (
            ":::{prf:theorem} Of {eq}`eq-a`\n:label: thm-a\n\na\n\n$$x$$ (eq-a)\n:::",
            "> **Theorem 1.1 (Of (1.2)).**\n>\n> a\n>\n> $$x \\tag{1.2}$$",
        ),
        (":::{prf:theorem}\n:label: thm-a\na\n:::", "> **Theorem 1.1.**\n>\n> a"),
        (":::{prf:proof}\na\n\nb\n:::\nc", "> *Proof.* a\n>\n> b\n\nc"),
        (":::{admonition} Open: {eq}`eq-a`\n:class: important\na\n:::", "> **Open: (1.2)**\n>\n> a"),
        (":::{exercise}\n:label: ex-a\n\na\n:::", "**Exercise 1.4.** a"),
        (
            ":::{solution} ex-a\n:class: dropdown\n\na {eq}`eq-a`\n:::",
            "<details><summary>Solution</summary>\n\na (1.2)\n\n</details>",
        ),
        ("::::{prf:proof}\n:::{admonition} b\nc\n:::\n::::", "> *Proof.*\n>\n> > **b**\n> >\n> > c"),
    ],
)  # fmt: skip
def test_what_a_text_becomes(text, said):
    assert plain(text, headings=["1.6."] if "##" in text else []) == said


@pytest.mark.parametrize(
    "text, fault",
    [
        ("{eq}`eq-b`", "no 'eq-b' among its equations"),
        ("$$x$$ (eq-b)", "no 'eq-b' among its equations"),
        ("{prf:ref}`thm-b`", "no 'thm-b' among its numbered"),
        ("{cite}`three`", "no 'three' among its works"),
        ("{abbr}`a`", "the role 'abbr' has no plain form"),
        (":::{grid}\na\n:::", "the directive 'grid' has no plain form"),
        ("```{note}\na\n```", "has no plain form"),
        (":::{prf:proof}\na", "is not closed"),
        ("[a](sec-b)", "the link to 'sec-b' leads nowhere"),
        ("## Three", "no heading 'Three'"),
        (":::{prf:theorem}\na\n:::", "no '' among its numbered"),
    ],
)
def test_what_has_no_plain_form_ends_the_build(text, fault):
    with pytest.raises(NotPlain, match=re.escape(fault)):
        plain(text)


def chapter(*cells):
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    notebook.metadata.update(
        kernelspec={"name": "python3", "display_name": "Python 3"}, language_info={"name": "python"}
    )
    for at, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{at}"
    return notebook


def test_a_notebook_of_cells():
    """A caption under its picture, a cell to start in behind its exercise, machinery folded and parameters not."""
    exercise = ":::{exercise}\n:label: ex-a\nTry.\n:::\n\n:::{solution} ex-a\n:class: dropdown\nDone.\n:::"
    figure = {"figure": {"name": "fig-a", "caption": "As {eq}`eq-a` says."}}
    made = portable.portable(
        chapter(
            nbformat.v4.new_markdown_cell("# One"),
            nbformat.v4.new_code_cell("SEEDS = 1", metadata={"tags": ["hide-input", "parameters"]}),
            nbformat.v4.new_code_cell("draw()", metadata={"tags": ["hide-input"], "mystnb": figure}),
            nbformat.v4.new_markdown_cell(f"Before.\n\n{exercise}\n\nAfter."),
        ),
        book(headings=["1."]),
        {"ex-a": "start()"},
        "head",
        "tail",
    )
    nbformat.validate(made)
    solution = "<details><summary>Solution</summary>\n\nDone.\n\n</details>\n\nAfter."
    assert [cell.source for cell in made.cells] == [
        *("# 1. One", "head", "SEEDS = 1", "draw()", "**Figure 1.3.** As (1.2) says."),
        *("Before.", "**Exercise 1.4.** Try.", "start()", solution, "tail"),
    ]
    assert [bool(cell.metadata.get("jupyter")) for cell in made.cells if cell.cell_type == "code"] == [
        False,
        True,
        False,
    ]
    with pytest.raises(NotPlain, match="1 headings of the page"):
        portable.portable(chapter(), book(headings=["1.1."]), {}, "", "")


# --- the notebooks of the built book


def read(name):
    return nbformat.read(SITE / "portable" / f"{name}.ipynb", as_version=4)


def words(name):
    """The Markdown of a portable notebook without code and formulas, what is cited in full at its end left out."""
    text = "\n\n".join(cell.source for cell in read(name).cells[:-1] if cell.cell_type == "markdown")
    return re.sub(r"(`+).+?\1", "", text, flags=re.S)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_myst_is_left_and_every_solution_is_folded(site, name):
    notebook, stored = read(name), nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    text = words(name)
    assert (
        re.findall(r":::|\{[\w:]+\}`|^\([\w-]+\)=|\$\$[ \t]*\([\w-]+\)[ \t]*$|^:\w+:|\]\([\w/.-]*\.md\)", text, re.M)
        == []
    )
    source = "\n".join(cell.source for cell in stored.cells if cell.cell_type == "markdown")
    solutions = len(re.findall(r"^:::\{solution\}", source, re.M))
    assert solutions > 0 and text.count("<details><summary>Solution</summary>\n\n") == solutions == text.count(
        "</details>"
    )
    assert "open" not in "".join(re.findall(r"<details[^>]*>", text))


@pytest.mark.parametrize("name", NAMES)
def test_code_and_outputs_are_those_of_the_book(site, name):
    stored = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in read(name).cells if cell.cell_type == "code" and cell.source not in STARTERS.values()]
    wanted = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [(cell.id, cell.source, cell.outputs, cell.execution_count) for cell in cells] == [
        (cell.id, cell.source, cell.outputs, cell.execution_count) for cell in wanted
    ]
    assert [cell.metadata.get("tags") for cell in cells] == [cell.metadata.get("tags") for cell in wanted]


@pytest.fixture(scope="module")
def pages(site):
    """The articles of the built chapters, without what cells print, the signs behind headings and the contents."""
    found = {}
    for name in NAMES:
        page = BeautifulSoup((SITE / "notebooks" / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        article = page.select_one("article")
        for node in article.select("pre, a.headerlink, div.toctree-wrapper, .prev-next-area, .sidebar"):
            node.decompose()
        for node in article.select(".cell_output"):
            captions = node.select("figcaption")
            node.clear()
            for caption in captions:
                node.append(caption)
        found[name] = article
    return found


KINDS = r"(?:Theorem|Proposition|Definition|Figure|Exercise)"


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_page(pages, name):
    """Those of equations, boxes, figures, exercises and headings, in reading order."""
    page, text = pages[name], words(name)

    def shown(selector):
        return [" ".join(node.get_text().replace("’", "'").split()) for node in page.select(selector)]

    equations = shown("span.eqno")
    assert len(equations) > 3 and [f"({one})" for one in re.findall(r"\\tag\{([\d.]+)\}", text)] == equations
    boxes = shown(".theorem > .admonition-title, .proposition > .admonition-title, .definition > .admonition-title")
    found = re.findall(r"^> \*\*((?:Theorem|Proposition|Definition) [\d.]+ \(.+\))\.\*\*$", text, re.M)
    assert boxes and [re.sub(r"[$*]", "", one) for one in found] == [re.sub(r"\\[()]", "", one) for one in boxes]
    figures = shown("figcaption .caption-number")
    assert len(figures) > 3 and re.findall(r"^\*\*(Figure [\d.]+)\.\*\* ", text, re.M) == figures
    exercises = shown(".exercise > .admonition-title")
    assert len(exercises) > 3 and re.findall(r"^\*\*(Exercise [\d.]+)\.\*\* ", text, re.M) == exercises
    headings = [re.sub(r"\\[()]", "", one) for one in shown("h1, h2, h3, h4")]
    assert [re.sub(r"^#+ |[*$`]", "", one) for one in re.findall(r"^#+ .*$", text, re.M)] == headings


def without_brackets(text):
    """A text on one line without brackets and commas: the book writes [2021] where a notebook writes (2021)."""
    return " ".join(re.sub(r"[()\[\],]", "", text).split())


@pytest.mark.parametrize("name", NAMES)
def test_references_say_what_the_page_says(pages, name):
    """Numbers of equations, theorems, figures and exercises in the text, in reading order, and how often which work is cited."""
    page = copy.copy(pages[name])
    for node in page.select(".math, .eqno, .solution > .admonition-title"):
        node.decompose()
    text = re.sub(r"\$\$.+?\$\$|\$[^$]+\$", "", words(name), flags=re.S)
    number = rf"\(\d+\.\d+\)|\b{KINDS}\s+\d+\.\d+\b"
    found, wanted = (["".join(one.split()) for one in re.findall(number, each)] for each in (text, page.get_text()))
    assert len(found) > 20 and found == wanted
    shown = without_brackets(page.get_text())
    works = Counter(map(without_brackets, re.findall(r"\[([^\]\[]+)\]\(https://(?:doi|arxiv)", text)))
    assert len(works) > 4 and {one: shown.count(one) for one in works} == works


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_offers_its_portable_notebook(site, name):
    page = BeautifulSoup((SITE / "notebooks" / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    (link,) = page.select("a[download]")
    assert (SITE / "notebooks" / link["href"]).resolve() == (SITE / "portable" / f"{name}.ipynb").resolve()
    script = (SITE / "portable" / f"{name}.js").read_text(encoding="utf-8")
    file = (SITE / "portable" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert json.loads(script.removeprefix("attnflowNotebook(").removesuffix(");\n")) == json.loads(file)


@pytest.mark.parametrize("name", NAMES[:1])
def test_the_button_saves_it_from_a_page_on_a_disk(browser, name):
    page, requests, complaints = visit(browser, f"notebooks/{name}.html")
    script = (SITE / "portable" / f"{name}.js").as_uri()
    assert script not in requests, "loaded before it is asked for"
    page.click(".dropdown-download-buttons > button")
    with page.expect_download() as saved:
        page.click(".btn-download-source-button")
    assert saved.value.suggested_filename == f"{name}.ipynb" and complaints == []
    assert nbformat.read(saved.value.path(), as_version=4) == read(name) and script in requests


# --- the folder of make lab


@pytest.fixture
def copies(tmp_path):
    """Notebooks of the book and of a reader. Returns (write one, by default of the book; the folder of the reader; copy)."""
    source, folder = tmp_path / "portable", tmp_path / "lab"
    source.mkdir()

    def write(name, text, place=source, **metadata):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)], metadata=metadata)
        nbformat.write(notebook, place / name)

    return write, folder, lambda: lab.copy(source, folder)


def test_a_copy_that_nobody_changed_follows_the_book(copies):
    write, folder, copy_them = copies
    write("1_a.ipynb", "old")
    assert copy_them() == ["1_a.ipynb: copied"] and copy_them() == []
    write("1_a.ipynb", "old", folder, opened="in Lab")
    write("1_a.ipynb", "new")
    assert copy_them() == ["1_a.ipynb: replaced by the newer one of the book"] and copy_them() == []
    assert nbformat.read(folder / "1_a.ipynb", as_version=4).cells[0].source == "new"


def test_what_a_reader_changed_stays_and_is_told(copies):
    write, folder, copy_them = copies
    write("1_a.ipynb", "old")
    copy_them()
    write("1_a.ipynb", "mine", folder)
    before = (folder / "1_a.ipynb").read_bytes()
    assert copy_them() == ["1_a.ipynb: yours, as you left it"]
    write("1_a.ipynb", "new")
    told = "1_a.ipynb: yours is kept; the book has a newer one, rename yours and start again to get it"
    assert copy_them() == [told] == copy_them() and (folder / "1_a.ipynb").read_bytes() == before
    (folder / "1_a.ipynb").rename(folder / "mine.ipynb")
    assert copy_them() == ["1_a.ipynb: copied"] and (folder / "mine.ipynb").read_bytes() == before


def test_a_file_that_was_there_before_is_never_overwritten(copies):
    write, folder, copy_them = copies
    folder.mkdir()
    (folder / "1_a.ipynb").write_text("from elsewhere")
    write("1_a.ipynb", "new")
    assert "yours is kept" in copy_them()[0] and (folder / "1_a.ipynb").read_text() == "from elsewhere"


@pytest.mark.parametrize("source", [False, True])
def test_lab_is_started_with_kernels_of_the_book(tmp_path, monkeypatch, copies, source):
    """The portable notebooks without MyST, those of the book with it; its own kernels are found before all others."""
    write, folder, _ = copies
    write("1_a.ipynb", "text")
    python = tmp_path / "env" / "bin" / "python"
    started = []
    monkeypatch.setattr(lab, "PORTABLE", tmp_path / "portable")
    monkeypatch.setattr(lab, "FOLDER", folder)
    monkeypatch.setattr(
        lab.subprocess, "run", lambda command, env: started.append((command, env)) or Mock(returncode=0)
    )
    assert lab.main([str(python), *(["--source"] if source else [])]) == 0
    ((command, env),) = started
    assert command[:3] == [str(python), "-m", "jupyterlab"] and folder.exists() is not source
    assert command[3].endswith(str(ROOT / "notebooks" if source else folder))
    first = {Path(env[name].split(os.pathsep)[0]) for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")}
    (place,) = first
    kernel = json.loads((place / "kernels" / "python3" / "kernel.json").read_text())
    assert kernel["argv"][0] == sys.executable and "{connection_file}" in kernel["argv"]
    config = json.loads((place / "labconfig" / "page_config.json").read_text())
    assert config["disabledExtensions"]["jupyterlab-myst"] is not source


def test_lab_is_pinned_and_the_page_names_its_version():
    lines = (ROOT / "requirements-lab.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line[0] != "#")
    assert set(pins) == {"jupyterlab", "jupyterlab-myst"}
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    assert re.findall(r"JupyterLab ([\d.]+\d)", page) == [pins["jupyterlab"]]


def test_lab_without_a_book_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "PORTABLE", tmp_path / "absent")
    assert lab.main(["python"]) == 2 and capsys.readouterr().err == "the book is not built: make book\n"


# --- cells to start in


def exercises(name):
    """label -> text of the exercises of a chapter."""
    source = "\n".join(
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
        if cell.cell_type == "markdown"
    )
    return dict(re.findall(r"^:::\{exercise\}\n:label: (\S+)\n(.*?)^:::$", source, re.M | re.S))


def test_every_exercise_that_needs_a_run_has_a_cell_to_start_in():
    texts = {label: text for name in NAMES for label, text in exercises(name).items()}
    asks = re.compile(r"[Nn]eeds a run|`\w+\.\w+[`\[]|[Cc]ompare it with|[Rr]epeat the count for ReLU")
    assert set(STARTERS) == {label for label, text in texts.items() if asks.search(text)}


@pytest.mark.parametrize("label", STARTERS)
def test_a_cell_to_start_in_runs_by_itself(label):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(STARTERS[label], label, "exec"), {"__name__": "__main__"})
    assert printed.getvalue().strip() and max(map(len, STARTERS[label].splitlines())) <= 120
