"""Finding again: the search and its index, the lists, what a page says of itself, what is copied, where the tab key stops."""

import doctest
import gzip
import html
import json
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attnflow_cited as cited
import attnflow_icons as icons
import attnflow_page as page_of
import attnflow_tex as tex
import pytest
from fontTools.ttLib import TTFont
from pages import ROOT, STORED, barriers, built_pages, toc_pages, visit

from attnflow import citations
from attnflow.claims.stored import read_run
from attnflow.rooms import cite, rooms

QUERIES = tomllib.loads((Path(__file__).parent / "queries.toml").read_text(encoding="utf-8"))["query"]
FIRST = next(iter(rooms().values()))
CHAPTERS = [f"notebooks/{room.page}.html" for room in rooms().values()]
INDEX = "_static/search-data.js"
NUMBERED = r'<div class="[^"]*\b(?:proof|exercise)\b[^"]*admonition[^"]*" id="([^"]+)">'


@pytest.fixture(scope="module")
def index(site):
    text = (site / INDEX).read_text(encoding="utf-8")
    return json.loads(text.removeprefix("attnflowSearch.data(").rstrip().removesuffix(");"))


@pytest.fixture(scope="module")
def places(index):
    """(page, anchor) -> (kind, label, title, section, text) of every place of the index."""
    found = {}
    for page, kind, anchor, label, title, *told in index["entries"]:
        kind = index["kinds"][kind]
        anchor = anchor or f"claim-{label.replace('.', '-')}"
        found[index["pages"][page][0], anchor] = (kind, label, title, *told)
    for page, names in index["api"]:
        found |= {(index["pages"][page][0], f"attnflow.{name}"): ("api", "", name) for name in names.split()}
    return found


def text_of(site, name):
    return (site / name).read_text(encoding="utf-8")


def test_the_index_has_every_box_figure_claim_and_term(site, places):
    absent = []
    for name in toc_pages():
        page = text_of(site, name)
        boxes = [one for one in re.findall(NUMBERED, page) if not one.endswith("-proof") and f'id="{one}"' in page]
        kept = [
            one
            for one in boxes
            if re.search(rf'"[^"]*\b(theorem|proposition|definition|exercise)\b[^"]*" id="{one}"', page)
        ]
        figures = re.findall(r'<figure[^>]* id="([^"]+)"', page)
        terms = re.findall(r'<dt id="(term-[^"]+)"', page)
        claims = re.findall(r'id="(claim-[^"]+)"', page)
        absent += [(name, one) for one in [*kept, *figures, *terms, *claims] if (name, one) not in places]
        assert "1_" not in name or (len(kept) > 8 and len(figures) > 5)
    assert absent == []
    assert sum(kind == "claim" for kind, *_ in places.values()) == len(read_run(STORED)[1])


def test_the_index_is_small_and_its_anchors_exist(site, index, places):
    assert (site / INDEX).stat().st_size < 300_000
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', text_of(site, name))) for name, *_ in index["pages"]}
    assert [one for one in places if one[1] not in anchors[one[0]]] == []
    told = [text for _, *parts in places.values() for text in parts]
    commands = "|".join(["frac", "mathcal", "text", "begin", *tex.SIGNS])
    assert [text for text in told if re.search(rf"\\(?:{commands})\b|\\[(\[]|\$[^$]*\$", text)] == []


def test_queries_are_twenty_and_lead_to_many_pages():
    pages = {one["first"].partition("#")[0] for one in QUERIES}
    assert len(QUERIES) >= 20 and len(pages) >= 6 and len({one["query"] for one in QUERIES}) == len(QUERIES)


def test_every_query_has_the_place_that_comes_first(browser):
    page, requests, complaints = visit(browser, "search.html")
    page.evaluate("() => attnflowSearch.load()")
    asked = [one["query"] for one in QUERIES]
    found = page.evaluate("all => all.map(one => attnflowSearch.find(one).slice(0, 1).map(hit => hit.url)[0])", asked)
    wrong = [(one["query"], one["first"], got) for one, got in zip(QUERIES, found, strict=True) if one["first"] != got]
    assert wrong == [] and complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_number_leads_to_its_box_or_figure(browser, places):
    labels = {
        label: f"{page}#{anchor}"
        for (page, anchor), (kind, label, *_) in places.items()
        if re.search(r"^[A-Z].* \d", label)
    }
    page, *_ = visit(browser, "search.html")
    asked = "all => attnflowSearch.load().then(() => all.map(one => attnflowSearch.find(one)[0].url))"
    found = page.evaluate(asked, list(labels))
    assert len(labels) > 80 and dict(zip(labels, found, strict=True)) == labels


def test_names_of_the_library_come_last(browser):
    page, *_ = visit(browser, "search.html")
    kinds = page.evaluate("() => attnflowSearch.load().then(() => attnflowSearch.find('softmax').map(hit => hit.kind))")
    first = kinds.index("api")
    assert first > 10 and set(kinds[first:]) == {"api"}


def test_results_have_a_section_and_an_excerpt(browser):
    page, _, complaints = visit(browser, "search.html", query="?q=dual+variable")
    page.wait_for_selector("#search-results li a")
    rows = page.eval_on_selector_all(
        "#search-results li",
        "all => all.map(e => [e.querySelector('.found-where')?.textContent, e.querySelector('p').textContent])",
    )
    assert sum(bool(where) for where, _ in rows) > len(rows) / 2
    assert max(len(text) for _, text in rows) < 200 and rows[0][1]
    assert page.locator("#search-results mark").count() > 3 and complaints == []


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_the_box_finds_while_one_types_and_leads_there_by_keys(browser, width):
    page, requests, complaints = visit(browser, "book/glossary.html", width=width)
    assert not [url for url in requests if INDEX in url], "the index is loaded before anybody searches"
    page.keyboard.press("Control+k")
    page.keyboard.type("separatri")
    page.wait_for_selector(".found-live li a")
    wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.className") == "found-link"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**#term-separatrix")
    assert complaints == []


@pytest.mark.parametrize("name, query", [("search.html", "?q=weight+decay"), ("book/licence.html", "")])
def test_results_are_accessible(browser, name, query):
    """On the page of the search, and in the box that the keys open on another."""
    page, *_ = visit(browser, name, query=query)
    if not query:
        page.keyboard.press("Control+k")
        page.keyboard.type("hysteresis")
    page.wait_for_selector("#search-results li a" if query else ".found-live li a")
    assert barriers(page) == []


def test_nothing_of_the_old_search_is_left(site):
    left = [
        name for name in built_pages() if re.search(r"searchtools|searchindex|sphinx_highlight", text_of(site, name))
    ]
    assert left == [] and not (site / "searchindex.js").exists()


def test_the_lists_name_every_theorem_figure_and_claim(site):
    page = text_of(site, "book/results.html")
    links = set(re.findall(r'href="([^"]+)"', page))
    for name in CHAPTERS:
        chapter = text_of(site, name)
        boxes = re.findall(r'"proof (?:theorem|definition|proposition)[^"]*" id="([^"]+)"', chapter)
        figures = re.findall(r'<figure[^>]* id="([^"]+)"', chapter)
        absent = [one for one in [*boxes, *figures] if f"../{name}#{one}" not in links]
        assert boxes and figures and absent == []
    rows = read_run(STORED)[1]
    assert [row.id for row in rows if not any(link.endswith(f"#claim-{row.key}") for link in links)] == []


def test_a_title_is_said_once_and_every_page_has_a_description(site):
    said = {}
    pages = [name for name in built_pages() if 'http-equiv="Refresh"' not in text_of(site, name)]
    for name in pages:
        page = text_of(site, name)
        title = html.unescape(re.search(r"<title>(.*?)</title>", page, re.S).group(1)).strip()
        parts = re.split(r" [—-] ", title)
        assert len(set(parts)) == len(parts), title
        said[name] = re.findall(r'<meta name="description" content="([^"]*)"', page)
    texts = [one for name in toc_pages() for one in said[name]]
    assert {name: one for name, one in said.items() if len(one) != 1} == {}
    assert len(set(texts)) == len(texts) and all(
        20 < len(html.unescape(one)) <= 160 and "\\" not in one for one in texts
    )


def test_boxes_and_claims_have_permalinks(site):
    for name in CHAPTERS:
        page = text_of(site, name)
        links = re.findall(r'<a class="headerlink" href="#([^"]+)"', page)
        boxes = [*re.findall(NUMBERED, page), *re.findall(r'<a id="(box-[^"]+)"></a>', page)]
        assert len(boxes) > 10 and set(boxes) <= set(links)
        assert len(set(links)) == len(links)


@pytest.mark.parametrize("room", rooms().values(), ids=lambda room: room.name)
def test_a_chapter_says_when_it_was_run_and_how_to_cite_it(site, room):
    page = text_of(site, f"notebooks/{room.page}.html")
    notebook = json.loads((ROOT / "notebooks" / f"{room.page}.ipynb").read_text(encoding="utf-8"))
    stamp, seconds = page_of.last_run(notebook)
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())
    assert f"Last run: {page_of.run_words(stamp, seconds)}" in plain
    assert " ".join(page_of.bibtex(ROOT, "2026", room).split()) in plain
    assert all(" ".join(citations.entries()[key].split()) in plain for key in room.cites)


def test_a_chapter_without_a_date_gets_none():
    cells = [{"outputs": [{"text": ["54 seconds\n"]}]}, {"outputs": []}]
    assert page_of.last_run({"cells": cells}) == ({}, "")
    cells[0]["outputs"][0]["text"].insert(0, "python 3.11.7, torch 2, date 2026-11-30\n")
    assert page_of.last_run({"cells": cells}) == (
        {"python": "3.11.7", "torch": "2", "date": "2026-11-30"},
        "54 seconds",
    )


def test_bibtex_of_a_chapter_can_be_read():
    from pybtex.database import parse_string

    for room in rooms().values():
        (entry,) = parse_string(page_of.bibtex(ROOT, "2026", room), "bibtex").entries.values()
        assert entry.fields["title"] == room.title and entry.fields["chapter"] == str(room.number)
        assert set(parse_string(cite(room.name), "bibtex").entries) == set(room.cites)


def test_works_have_an_address_and_the_places_that_cite_them(site):
    page = text_of(site, "book/bibliography.html")
    entries = re.split(r'<div class="citation" id="', page)[1:]
    assert len(entries) == len(citations.entries())
    alone = [
        one[:20]
        for one in entries
        if not re.search(r'href="https://(arxiv\.org/abs/|doi\.org/|papers\.nips\.cc/)', one)
    ]
    assert alone == []
    used = {key for room in rooms().values() for key in room.cites}
    assert sum("Cited in" in one for one in entries) >= len(used) - 1
    places = re.findall(r'<p class="cited-in">(.*?)</p>', page, re.S)
    assert all(re.search(r'href="\.\./notebooks/\d_\w+\.html#', one) for one in places if "1." in one)


def test_a_page_that_cites_without_numbers_is_named_once():
    assert cited.unique([("a", "x", "1.2"), ("a", "y", "1.2"), ("b", "z", "Ledger")]) == [
        ("a", "x", "1.2"),
        ("b", "z", "Ledger"),
    ]


def copied(page, button):
    """What a button copies."""
    page.evaluate("() => document.addEventListener('copy', e => { window.copied = e.target.value; }, true)")
    button.evaluate("e => e.click()")
    page.wait_for_function("() => window.copied !== undefined")
    return page.evaluate("() => window.copied").strip()


def test_a_button_copies_bibtex_and_outputs_have_none(browser):
    page, *_ = visit(browser, CHAPTERS[0])
    assert page.locator(".cell_output button.copybtn").count() == 0 < page.locator(".cell_input button.copybtn").count()
    assert copied(page, page.locator(".chapter-about button.copybtn").nth(0)) == page_of.bibtex(ROOT, "2026", FIRST)
    page.evaluate("() => { delete window.copied; }")
    assert copied(page, page.locator(".chapter-about button.copybtn").nth(1)) == cite(FIRST.name)


def test_a_copied_session_has_no_prompt_and_no_output(browser):
    page, *_ = visit(browser, "book/your_own_claim.html")
    shown = page.locator("div.highlight-console", has=page.locator(".go")).first
    assert "$" in shown.inner_text() and len(shown.inner_text().splitlines()) > 2
    text = copied(page, shown.locator("button.copybtn"))
    assert re.fullmatch(r"[\w.-].*attnflow.*", text), text


@pytest.fixture(scope="module", params=CHAPTERS)
def phone(chromium, request):
    """What `visit` returns for a chapter on a phone, once for the tests that only look at it."""
    found = visit(chromium, request.param, width="phone")
    yield found
    found[0].close()


def test_only_what_is_cut_is_a_stop_of_the_tab_key(phone):
    """At 390 px the hidden text of MathJax made 1955 of 2746 formulas scroll by some pixels, a stop each; they break now."""
    page, *_ = phone
    page.wait_for_timeout(300)
    stops, all_, cut = page.evaluate(
        """() => {
            const inline = [...document.querySelectorAll("span.math mjx-container")];
            const ink = e => e.querySelector("mjx-math").getBoundingClientRect().width - e.clientWidth;
            const cut = inline.filter(e => !e.matches(".fit-broken") && Math.round(ink(e)) > 4);
            return [inline.filter(e => e.tabIndex === 0).length, inline.length, cut.length];
        }"""
    )
    assert stops == cut and stops < 0.02 * all_


def test_a_chapter_weighs_at_most_a_megabyte_and_a_half(phone):
    """All that a page asks for, as a server sends it: compressed, each file once."""
    page, requests, _ = phone
    page.evaluate(
        "() => Promise.all([...document.images].map(image => { image.loading = 'eager'; return image.decode(); }))"
    )
    files = {unquote(urlsplit(url).path) for url in requests if url.startswith("file:")}
    sent = sum(min(len(data), len(gzip.compress(data, 6))) for data in (Path(file).read_bytes() for file in files))
    assert 500_000 < sent <= 1_500_000


def test_every_icon_that_a_page_shows_is_in_the_font(site):
    """The site carries the icons that it names, and not the theme's script that draws them all a second time."""
    assert doctest.testmod(icons).failed == 0
    (font,) = site.glob("_static/vendor/fontawesome/*/webfonts/fa-solid-900.ttf")
    known = TTFont(font).getBestCmap()
    rules = (font.parents[1] / "css" / "all.min.css").read_text(encoding="utf-8")
    named = set(re.findall(r"\bfa-[a-z-]+", " ".join(text_of(site, name) for name in built_pages())))
    code = 'before[^{}]*{content:"\\\\(f[0-9a-f]{3})"'
    codes = {found for name in named for found in re.findall(rf"\.{name}:{code}", rules)}
    assert len(codes) >= 10 and {int(code, 16) for code in codes} <= set(known) and len(known) < 60
    assert not (font.parents[1] / "js").exists()
