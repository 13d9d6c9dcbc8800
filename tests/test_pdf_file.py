"""The book on paper, as `make pdf` prints it: its size, outline, links, page numbers, solutions and pages."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pypdfium2
import pytest
from bs4 import BeautifulSoup
from pages import CHROMIUM, ROOT, SITE, missing, toc_pages
from pypdf import PdfReader
from test_pdf import BOTTOM, TOP, maker

pytestmark = pytest.mark.slow


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
    """Every page: its text, the share of its height between the margins where its last line ends, and its foot."""
    found = []
    with pypdfium2.PdfDocument(printed[0]) as document:
        for page in document:
            picture = page.render(scale=0.5, grayscale=True).to_numpy().squeeze()
            first, last = round(TOP * len(picture)), round((1 - BOTTOM) * len(picture))
            inked = (picture[first:last] < 200).any(1).nonzero()[0]
            words = page.get_textpage()
            foot = words.get_text_bounded(top=BOTTOM * page.get_height()).split()
            found.append((words.get_text_bounded(), (inked.max(initial=-1) + 1) / (last - first), foot[:1]))
    return found


@pytest.fixture(scope="module")
def book():
    """The one page that was printed, as a tree."""
    return BeautifulSoup(maker.PDF.with_name("book.html").read_text(encoding="utf-8"), "html.parser")


def test_it_is_made_in_three_minutes_and_small(printed):
    path, seconds, told = printed
    assert path.as_uri() in told and re.search(r"\d+ pages, [\d.]+ MB, \d+ seconds", told)
    assert path.stat().st_size < 25e6 and seconds < 180


def plain(text):
    return re.sub(r"\W+", "", text)


def test_its_outline_has_every_page_in_order(reader, book, printed):
    top = [one for one in reader.outline if not isinstance(one, list)]
    first = [reader.get_destination_page_number(one) for one in top]
    titles = [heading.get_text() for heading in book.select("article h1")]
    assert [plain(one.title) for one in top] == [plain(title) for title in titles]
    assert len(titles) == len(toc_pages()) + 2 and first == sorted(set(first))


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


def test_the_page_numbers_are_right(reader, book, drawn, printed):
    where = maker.pages(printed[0])
    assert [foot for _, _, foot in drawn] == [[], *([str(number)] for number in range(2, len(drawn) + 1))]
    contents = "\n".join(text for text, *_ in drawn[1 : where["page-preface"] - 1])
    told = [int(number) for number in re.findall(r"(\d+)\s*$", contents, re.M)]
    asked = [where[one["data-page-of"]] for one in book.select(".contents [data-page-of]")]
    assert [number for number in asked if number not in told] == [] and asked == sorted(asked)


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


def test_no_page_is_nearly_empty(reader, book, drawn, printed):
    begins = {reader.get_destination_page_number(one) for one in reader.outline if not isinstance(one, list)}
    holes = [n + 1 for n, (_, full, _) in enumerate(drawn[:-1]) if full < 0.25 and n + 1 not in begins and n]
    assert holes == []
