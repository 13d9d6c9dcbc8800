"""Print the whole book into _build/pdf/gradient-flow-in-transformers.pdf and print its address, pages, size and the time taken.

The pages of the site, in the order of its table of contents, become one page: an anchor gets the name of its page in front, a
link inside the book leads to that anchor, the solutions go to the end. No browser knows on which page a heading will stand:
Chromium prints, the page numbers are read and written in, and it prints again until they are those that stand there.
"""

import re
import shutil
import sys
import time
import tomllib
from html import escape
from posixpath import dirname, normpath
from urllib.parse import unquote, urlsplit

import build
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

ROOT = build.ROOT
PDF = ROOT / "_build" / "pdf" / "gradient-flow-in-transformers.pdf"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURE = ROOT / "book" / "images" / "phase_portrait.png"
ANCHORS = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls", "headers")
DEAD = "script, button, .headerlink, details.hide, .noprint"  # what does nothing on paper
PAGES = (
    "found => document.querySelectorAll('[data-page-of]').forEach(e => { e.textContent = found[e.dataset.pageOf]; })"
)
READY = """async () => {
    await window.MathJax.startup.promise;
    await Promise.all([...document.images].map(image => image.decode()));
    await document.fonts.ready;
}"""


def parse(text):
    """HTML as a tree."""
    return BeautifulSoup(text, "html.parser")


def contents():
    """The table of contents: a list of (caption of the part that begins here or "", address of a page without its ending)."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = [("", toc["root"])]

    def add(entries, caption):
        for entry in entries:
            found.append((caption, entry["file"]))
            add(entry.get("sections", ()), "")
            caption = ""

    for part in toc["parts"]:
        add(part["chapters"], part.get("caption", ""))
    return found


def anchor(page, fragment=""):
    """The name in the one page of a page, or of an anchor of it.

    >>> anchor("notebooks/1_foundations", "laws"), anchor("book/preface")
    ('page-1_foundations--laws', 'page-preface')
    """
    name = f"page-{page.split('/', 1)[-1].replace('/', '-')}"
    return f"{name}--{fragment}" if fragment else name


def target(page, address, known):
    """Where a link leads; None where it leads to nothing on paper.

    page: where the link stands. address: what it says. known: the pages of the book.

    >>> target("book/ledger", "../notebooks/1_foundations.html#laws", {"book/ledger", "notebooks/1_foundations"})
    '#page-1_foundations--laws'
    >>> target("book/ledger", "https://doi.org/10.1", set()), target("book/ledger", "../wheel/one.whl", set())
    ('https://doi.org/10.1', None)
    """
    parts = urlsplit(address)
    if parts.scheme:
        return address
    path = normpath(f"{dirname(page)}/{unquote(parts.path)}") if parts.path else f"{page}.html"
    other = path.removesuffix(".html")
    return f"#{anchor(other, unquote(parts.fragment))}" if path.endswith(".html") and other in known else None


def from_site(page, address):
    """The address, from the one page, of a file that a page loads. page: the page. address: what it says.

    >>> from_site("book/ledger", "../_static/book.css"), from_site("book/ledger", "data:image/png;base64,AA==")
    ('../html/_static/book.css', 'data:image/png;base64,AA==')
    """
    return address if urlsplit(address).scheme else f"../html/{normpath(f'{dirname(page)}/{address}')}"


def article(page, known):
    """The text of one page as a tag, its anchors and links those of the one page. page: its address. known: all pages."""
    (text,) = parse((build.SITE / f"{page}.html").read_text(encoding="utf-8")).select("article.bd-article")
    for dead in text.select(DEAD):
        dead.decompose()
    for cell in text.select("div.cell:not(:has(.cell_input, .cell_output))"):
        cell.decompose()
    for tag in text.find_all(True):
        for name in ANCHORS:
            if name in tag.attrs:
                tag[name] = " ".join(anchor(page, one) for one in str(tag[name]).split())
        if tag.name == "img":
            tag["src"] = from_site(page, tag["src"])
        if tag.name == "a" and "href" in tag.attrs:
            if where := target(page, tag["href"], known):
                tag["href"] = where
            else:
                tag.name, tag.attrs = "span", {}
    text["id"] = anchor(page)
    return text


def take_solutions(text):
    """Take the solutions out of a page and say in its exercises where they are. text: the page. Returns them as HTML."""
    taken = [one.extract() for one in text.select("div.solution")]
    for number, one in enumerate(taken):
        one["id"] = one.get("id") or f"{text['id']}--solution-{number}"
        exercise = text.find(id=one.select_one(".admonition-title a")["href"][1:])
        link = f'<a href="#{one["id"]}">Solution: page {page_of(one["id"])}</a>'
        exercise.append(parse(f'<p class="solved">{link}</p>'))
    return "".join(map(str, taken))


def page_of(where):
    """Room for the number of the page on which an anchor stands. where: the anchor. Returns HTML."""
    return f'<b data-page-of="{where}">000</b>'


def line(where, words, kind):
    """A line of the contents. where: the anchor that it leads to. words: HTML. kind: a class. Returns HTML."""
    return f'<li class="{kind}"><a href="#{where}"><span>{words}</span><i></i>{page_of(where)}</a></li>'


def head():
    """The style sheets of the site and its MathJax, from the first page that has formulas. Returns HTML."""
    for _, page in contents():
        soup = parse((build.SITE / f"{page}.html").read_text(encoding="utf-8"))
        scripts = [
            one
            for one in soup.select("script")
            if re.search(r"mathjax|print\.js", f"{one.get('src')} {one.string}", re.I)
        ]
        if len(scripts) > 1:
            break
    found = [*soup.select('link[rel="stylesheet"]'), *scripts]
    for one in found:
        for name in {"href", "src"} & set(one.attrs):
            one[name] = from_site(page, one[name])
    return "\n".join(map(str, found))


def one_page():
    """The whole book as one page of HTML: cover, contents, the pages of the site, the solutions of all chapters."""
    listed = contents()
    known = {page for _, page in listed}
    lines, body, solved, sheets = [], [], [], []

    def add(text, caption):
        title = text.select_one("h1")
        lines.extend([f'<li class="part">{escape(caption)}</li>'] if caption else [])
        lines.append(line(text["id"], title.decode_contents(), "page"))
        words = title.get_text(" ", strip=True)
        for section in text.select("section:has(> h2)") if words[0].isdigit() else ():
            lines.append(line(section["id"], section.h2.decode_contents(), "section"))
        quoted = words.replace("\\", "\\\\").replace('"', '\\"')
        sheets.append(
            f'@page {text["id"]} {{ @top-right {{ content: "{quoted}"; }} }} #{text["id"]} {{ page: {text["id"]}; }}'
        )
        body.append(str(text))

    for caption, page in listed:
        text = article(page, known)
        found = take_solutions(text)
        if found:
            name = f"{text['id']}--solutions"
            solved.append(f'<section id="{name}"><h2>{text.h1.decode_contents()}</h2>{found}</section>')
        add(text, caption)
    answers = f'<article class="bd-article" id="page-solutions"><section><h1>Solutions</h1>{"".join(solved)}</section></article>'
    add(parse(answers).article, "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    title, _, subtitle = about["title"].partition(": ")
    return f"""<!doctype html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8"><title>{escape(about["title"])}</title>
{head()}<style>{"".join(sheets)}</style></head>
<body class="one-page"><main class="bd-main"><div class="bd-content"><div class="bd-article-container">
<div class="cover"><p class="title">{escape(title)}</p><p class="subtitle">{escape(subtitle)}</p>
<img src="{PICTURE.as_uri()}" alt=""><p>{escape(about["author"])}</p>
<p>version {project["version"]}, {about["copyright"]}</p></div>
<article class="bd-article contents"><h1>Contents</h1><ul>{"".join(lines)}</ul></article>
{"".join(body)}</div></div></main></body></html>"""


def pages(pdf):
    """The number of the page of every anchor that a link of the file leads to. pdf: its path. Returns name -> number from 1."""
    reader = PdfReader(pdf)
    return {
        unquote(name.removeprefix("/")): reader.get_destination_page_number(one) + 1
        for name, one in reader.named_destinations.items()
    }


def write(chromium):
    """Print the one page with a Chromium into PDF, until the page numbers in it are right."""
    PDF.parent.mkdir(parents=True, exist_ok=True)
    html = PDF.with_name("book.html")
    html.write_text(one_page(), encoding="utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        tab = browser.new_page()
        tab.set_default_timeout(300_000)
        tab.emulate_media(media="print", color_scheme="light")
        tab.goto(html.as_uri())
        tab.evaluate(READY)
        told = {}
        for _ in range(4):
            tab.pdf(path=PDF, format="A4", print_background=True, outline=True, tagged=True)
            found = pages(PDF)
            if found == told:
                break
            told = found
            tab.evaluate(PAGES, told)
        browser.close()


def main():
    """Build the book if anything changed, and print it. Returns the exit status."""
    began = time.perf_counter()
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        print(
            "make pdf: there is no Chromium to print with; on Debian and Ubuntu: sudo apt install chromium",
            file=sys.stderr,
        )
        return 1
    if status := build.main():
        return status
    write(chromium)
    size = PDF.stat().st_size / 1e6
    print(f"\nThe book on paper: {PDF.as_uri()}")
    print(f"{len(PdfReader(PDF).pages)} pages, {size:.1f} MB, {time.perf_counter() - began:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
