"""The book on paper: the file of `make pdf`, and every page of the site as a browser prints it."""

import doctest
import re
import subprocess
import sys
import time
from pathlib import Path

import pypdfium2
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader
from test_book import CHROMIUM, SITE, missing, site, toc_pages, visit  # noqa: F401
from test_book import browser as chromium  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import pdf as maker  # noqa: E402

WIDTH = round((210 - 2 * 18) / 25.4 * 96)  # of the text on A4, as print.css sets it, in pixels
TOP, BOTTOM = 19 / 297, 20 / 297  # margins, as shares of the height of a page
# What is wider than the paper, and what a printer would cut because it scrolls on the screen.
CUT = """() => [...document.querySelectorAll("article *")].filter(e => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (box.width < 2 || box.height < 2 || e.closest(".visually-hidden, mjx-assistive-mml")) return false;
    const hides = style.display !== "inline" && !/^visible|^clip/.test(style.overflowX) && !e.closest("mjx-container, svg");
    return box.right > innerWidth + 1 || box.left < -1 || (hides && e.scrollWidth > e.clientWidth + 1)
        || (hides && e.scrollHeight > e.clientHeight + 1);
}).map(e => e.outerHTML.slice(0, 150))"""
SHOWN = "names => names.filter(name => [...document.querySelectorAll(name)].some(e => e.checkVisibility()))"
GONE = ["article button", ".headerlink", ".bd-sidebar-primary", "footer", "details.hide", ".bd-header-article"]


@pytest.mark.slow
@pytest.mark.parametrize("name", toc_pages())
def test_page_fits_its_paper(chromium, name):  # noqa: F811
    """Nothing is wider than the paper or cut, buttons and folded code are gone, solutions are closed, and paper is light."""
    page, _, complaints = visit(chromium, name, theme="dark")
    page.set_viewport_size({"width": WIDTH, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'light'")
    assert page.evaluate(CUT) == []
    assert page.evaluate(SHOWN, [*GONE, ".solution"]) == [] and page.evaluate(SHOWN, ["article h1"]) == ["article h1"]
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    assert complaints == []
    page.close()


def test_the_maker_does_what_its_docstrings_say():
    assert doctest.testmod(maker).failed == 0 < doctest.testmod(maker).attempted


def test_without_chromium_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert maker.main() == 1
    told = capsys.readouterr()
    assert re.fullmatch(r"make pdf: there is no Chromium .+ apt install chromium\n", told.err) and told.out == ""


@pytest.fixture(scope="module")
def printed():
    """The file, made anew: (its path, seconds, what the command printed)."""
    if not (SITE / "index.html").exists() or not Path(CHROMIUM).exists():
        missing("the book is not built, or chromium is absent: the book on paper is not tested")
    maker.PDF.unlink(missing_ok=True)
    began = time.perf_counter()
    run = subprocess.run([sys.executable, maker.__file__], capture_output=True, text=True, check=True)
    return maker.PDF, time.perf_counter() - began, run.stdout


@pytest.fixture(scope="module")
def reader(printed):
    return PdfReader(printed[0])


@pytest.fixture(scope="module")
def drawn(printed):
    """Every page: its text, the share of its height between the margins at which its last line ends, and its foot."""
    found = []
    with pypdfium2.PdfDocument(printed[0]) as document:
        for page in document:
            picture = page.render(scale=0.5, grayscale=True).to_numpy().squeeze()
            first, last = round(TOP * len(picture)), round((1 - BOTTOM) * len(picture))
            inked = (picture[first:last] < 200).any(1).nonzero()[0]
            words = page.get_textpage()
            foot = words.get_text_bounded(top=BOTTOM * page.get_height()).strip()
            found.append((words.get_text_bounded(), (inked.max(initial=-1) + 1) / (last - first), foot))
    return found


@pytest.fixture(scope="module")
def book():
    """The one page that was printed, as a tree."""
    return BeautifulSoup(maker.PDF.with_name("book.html").read_text(encoding="utf-8"), "html.parser")


of_the_file = pytest.mark.xdist_group("the book on paper")  # printed once, by one process


@of_the_file
@pytest.mark.slow
def test_it_is_made_in_three_minutes_and_small(printed):
    path, seconds, told = printed
    assert path.as_uri() in told and re.search(r"\d+ pages, [\d.]+ MB, \d+ seconds", told)
    assert path.stat().st_size < 25e6 and seconds < 180


def plain(text):
    return re.sub(r"\W+", "", text)


@of_the_file
@pytest.mark.slow
def test_its_outline_has_every_page_in_order(reader, book, printed):
    top = [one for one in reader.outline if not isinstance(one, list)]
    first = [reader.get_destination_page_number(one) for one in top]
    titles = [heading.get_text() for heading in book.select("article h1")]
    assert [plain(one.title) for one in top] == [plain(title) for title in titles]
    assert len(titles) == len(toc_pages()) + 2 and first == sorted(set(first))


@of_the_file
@pytest.mark.slow
def test_its_links_lead_somewhere(reader, book, printed):
    """Those of the file, and those of the one page that it was printed from."""
    actions = [one.get_object() for page in reader.pages for one in page.get("/Annots", ())]
    inside = [str(one["/Dest"]) for one in actions if "/Dest" in one]
    outside = [str(one["/A"]["/URI"]) for one in actions if "/A" in one]
    assert set(inside) <= set(reader.named_destinations) and len(inside) > 1000
    assert [address for address in outside if not address.startswith(("https://", "http://", "mailto:"))] == []
    anchors = [tag["id"] for tag in book.select("[id]")]
    asked = {link["href"][1:] for link in book.select('a[href^="#"]')}
    assert asked <= set(anchors) and len(set(anchors)) == len(anchors)


@of_the_file
@pytest.mark.slow
def test_the_page_numbers_are_right(reader, book, drawn, printed):
    where = maker.pages(printed[0])
    assert [foot for _, _, foot in drawn] == ["", *map(str, range(2, len(drawn) + 1))]
    contents = "\n".join(text for text, *_ in drawn[1 : where["page-preface"] - 1])
    told = [int(number) for number in re.findall(r"(\d+)\s*$", contents, re.M)]
    asked = [where[one["data-page-of"]] for one in book.select(".contents [data-page-of]")]
    assert [number for number in asked if number not in told] == [] and asked == sorted(asked)


@of_the_file
@pytest.mark.slow
def test_solutions_stand_at_the_end(reader, book, drawn, printed):
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks" / "src").glob("*.py")]
    count = sum(len(re.findall(r":::\{solution\}", text)) for text in sources)
    told = book.select(".solved")
    found = book.select("#page-solutions .solution")
    assert len(book.select(".solution")) == len(found) == len(told) == count > 20
    where = maker.pages(printed[0])
    first = [one for one in reader.outline if not isinstance(one, list)][-1]
    begins = reader.get_destination_page_number(first) + 1
    assert min(where[one["id"]] for one in found) >= begins and begins > len(reader.pages) - 30
    assert not any("Solution to" in text for text, *_ in drawn[: begins - 1])


@of_the_file
@pytest.mark.slow
def test_no_page_is_nearly_empty(reader, book, drawn, printed):
    begins = {reader.get_destination_page_number(one) for one in reader.outline if not isinstance(one, list)}
    holes = [n + 1 for n, (_, full, _) in enumerate(drawn[:-1]) if full < 0.25 and n + 1 not in begins and n]
    assert holes == []
