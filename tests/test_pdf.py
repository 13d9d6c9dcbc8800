"""Every page of the site as a browser prints it, and how `make pdf` speaks. The file that it makes: test_pdf_file.py."""

import doctest
import re
import sys

import pytest
from pages import ROOT, toc_pages, visit

sys.path.insert(0, str(ROOT / "book"))
import pdf as maker  # noqa: E402

WIDTH = round((210 - 2 * 18) / 25.4 * 96)  # of the text on A4, as print.css sets it, in pixels
TOP, BOTTOM = 19 / 297, 20 / 297  # margins, as shares of the height of a page
# What is wider than the paper, and what a printer would cut because it scrolls on the screen.
CUT = """() => [...document.querySelectorAll("article *")].filter(e => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!e.checkVisibility()) return false; // in a part that the reader has left folded
    if (box.width < 2 || box.height < 2 || e.closest(".visually-hidden, mjx-assistive-mml")) return false;
    const hides = style.display !== "inline" && !/^visible|^clip/.test(style.overflowX) && !e.closest("mjx-container, svg");
    return box.right > innerWidth + 1 || box.left < -1 || (hides && e.scrollWidth > e.clientWidth + 1)
        || (hides && e.scrollHeight > e.clientHeight + 1);
}).map(e => e.outerHTML.slice(0, 150))"""
SHOWN = "names => names.filter(name => [...document.querySelectorAll(name)].some(e => e.checkVisibility()))"
GONE = ["article button", ".headerlink", ".bd-sidebar-primary", "footer", "details.hide", ".bd-header-article"]


@pytest.mark.slow
@pytest.mark.parametrize("name", toc_pages())
def test_page_fits_its_paper(chromium, name):
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
