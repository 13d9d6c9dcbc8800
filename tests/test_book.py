"""The built book, as a reader meets it: opened from the disk in a browser that has no network."""

import importlib
import inspect
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import attnflow_api as api
import attnflow_ledger as ledger
import numpy as np
import pytest
import torch
from docutils import nodes
from pages import ROOT, SITE, STORED, barriers, built_pages, toc_pages, visit
from sphinx.application import Sphinx

from attnflow import __main__ as roof
from attnflow import laws, sensitivity, stamp
from attnflow.claims import Row
from attnflow.claims.row import blank
from attnflow.claims.stored import read_run, write_run
from attnflow.rooms import rooms

EXAMPLES = ROOT / "book" / "examples"


@pytest.mark.parametrize("name", toc_pages())
def test_page_reads_offline(browser, name):
    page, requests, complaints = visit(browser, name)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
    seen = page.evaluate(
        """() => ({
            formulas: document.querySelectorAll("span.math, div.math").length,
            typeset: document.querySelectorAll("span.math mjx-container, div.math mjx-container").length,
            unknown: document.querySelectorAll('mjx-merror, mjx-mtext[style*="red"]').length,
            left: [...document.querySelectorAll("article p, article li, article td, article dd")].filter(e => !e.closest("pre"))
                .map(e => e.cloneNode(true)).map(e => { e.querySelectorAll("code, pre").forEach(c => c.remove()); return e; })
                .map(e => e.textContent).filter(t => /\\\\[([]|[$]/.test(t)),
            bare: [...document.querySelectorAll("article img")].filter(i => !(i.getAttribute("alt") || "").trim()
                || /^(\\.\\.\\/)*_images\\//.test(i.getAttribute("alt"))).map(i => i.getAttribute("src")),
            broken: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
        })"""
    )
    assert seen["formulas"] == seen["typeset"], "formulas that MathJax did not typeset"
    assert seen["unknown"] == 0, "a formula uses a macro that MathJax does not know"
    assert seen["left"] == [], "raw TeX is left in the text"
    assert seen["bare"] == [], "images without alternative text"
    assert seen["broken"] == [], "images that do not load"


def test_a_barrier_is_found_in_the_light_and_in_the_dark(browser):
    page, *_ = visit(browser, "book/licence.html")
    page.add_style_tag(content="article p { color: #888 !important; background: #999 !important; }")
    assert {(theme, rule) for theme, rule, _ in barriers(page)} == {
        ("light", "color-contrast"),
        ("dark", "color-contrast"),
    }


@pytest.mark.parametrize("name", toc_pages())
def test_page_is_accessible(browser, name):
    page, *_ = visit(browser, name)
    assert barriers(page) == []


@pytest.mark.parametrize("name", toc_pages())
def test_phone_scrolls_down_only(browser, name):
    page, _, complaints = visit(browser, name, width="phone")
    width = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]
    stuck = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter(e => {
            const box = e.getBoundingClientRect();
            if (box.width === 0 || box.right <= innerWidth + 1 || e.closest("mjx-assistive-mml, .visually-hidden")) return false;
            for (let up = e; up && up.tagName !== "ARTICLE"; up = up.parentElement)
                if (["auto", "scroll", "hidden"].includes(getComputedStyle(up).overflowX)) return false;
            return true;
        }).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert stuck == [], "wider than a phone and in no box that scrolls"
    assert complaints == []


class Links(HTMLParser):
    """All targets and all anchors of one page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors, self.repeated = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            (self.repeated.append if attributes["id"] in self.anchors else self.anchors.add)(attributes["id"])
        if tag == "a" and attributes.get("name"):
            self.anchors.add(attributes["name"])
        self.targets += [attributes[key] for key in ("href", "src") if attributes.get(key)]


@pytest.fixture(scope="module")
def links(site):
    return {name: Links((site / name).read_text(encoding="utf-8")) for name in built_pages()}


def test_every_link_leads_somewhere(links):
    broken = []
    for name, page in links.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (SITE / name).parent / unquote(parts.path) if parts.path else SITE / name
            found = path.resolve()
            if not found.exists():
                broken.append((name, target))
            elif parts.fragment and found.suffix == ".html":
                other = links.get(found.relative_to(SITE).as_posix())
                if other and unquote(parts.fragment) not in other.anchors:
                    broken.append((name, target))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(links):
    loads = re.compile(r"<(?:script|img|iframe|source|link)[^>]*(?:src|href)=\"(?:https?:)?//")
    assert [name for name in links if loads.search((SITE / name).read_text(encoding="utf-8"))] == []


def test_anchors_are_unique_in_the_pages(links):
    assert {name: page.repeated for name, page in links.items() if name in toc_pages() and page.repeated} == {}


def test_every_page_of_the_toc_is_built(site):
    assert [name for name in toc_pages() if not (site / name).exists()] == []


def test_every_source_can_be_downloaded(links):
    for name in toc_pages():
        sources = [target for target in links[name].targets if re.search(r"(_sources|portable)/", target)]
        assert sources, f"{name} offers no download"
        for target in sources:
            assert ((SITE / name).parent / target).resolve().stat().st_size > 0


def test_ledger_shows_every_stored_claim_under_its_anchor(site):
    if not STORED.exists():
        pytest.skip("no run is stored: make claims")
    page = (site / "book" / "ledger.html").read_text(encoding="utf-8")
    cards = re.split(r'<section class="claim" id="([^"]+)">', page)
    shown = dict(zip(cards[1::2], cards[2::2], strict=True))
    _, rows = read_run(STORED)
    assert list(shown) == [f"claim-{row.key}" for row in rows]
    for row, card in zip(rows, shown.values(), strict=True):
        assert f">{row.id}<" in card
        assert ("fails, as it must" in card) is (row.testable and row.control_fails), row.id
        assert ("does not hold" in card) is (row.testable and not row.holds), row.id


def test_library_page_renders_every_docstring(links):
    """What a module makes stands under its own name, or under that of its package where this gives it out."""
    anchors = set().union(*(page.anchors for name, page in links.items() if name.startswith("book/api/")))
    absent = []
    for name in stamp.library():
        above = name.rpartition(".")[0]
        for one, value in vars(importlib.import_module(name)).items():
            made = inspect.isroutine(inspect.unwrap(value)) or inspect.isclass(value)
            if made and value.__module__ == name and not one.startswith("_") and value.__doc__:
                absent += [f"{name}.{one}"] if not {f"{name}.{one}", f"{above}.{one}"} & anchors else []
    assert absent == []


def test_library_page_reads_like_source(site):
    words = ("Alias for field", "&lt;class", "&lt;factory", " at 0x", "qualname")
    for path in (site / "book" / "api").glob("*.html"):
        told = path.read_text(encoding="utf-8").partition('<section id="source">')[0]
        assert [word for word in words if word in told] == [], path.name


def test_library_page_has_every_room(links):
    assert {f"room-{name}" for name in rooms()} <= links["book/api.html"].anchors


def test_search_finds_a_word_offline(browser):
    page, requests, complaints = visit(browser, "search.html", query="?q=imbalance")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


def test_site_is_small(site):
    sizes = {path.relative_to(site).as_posix(): path.stat().st_size / 1e6 for path in site.rglob("*") if path.is_file()}
    assert {name: size for name, size in sizes.items() if size > 3} == {}
    assert sum(sizes.values()) < 40


ROW = Row(
    id="foundations.heun-order",
    chapter="foundations",
    title="Heun follows the flow to order $2$",
    statement="The error falls like $h^2$.",
    provenance="textbook",
    cite=(),
    state="reproduced",
    kind="order",
    predicted=2.0,
    measured=(1.98, 2.01, 2.0),
    shown="1.98 … 2.01",
    criterion="prediction ± 0.05",
    margin=0.03,
    holds=True,
    control="descent in its place",
    control_measured=(1.0, 1.01, 0.99),
    control_shown="0.99 … 1.01",
    control_fails=True,
    seed_dependent=True,
)
UNTESTED = replace(ROW, id="foundations.far", state="not testable here", holds=False, control_fails=False, control="")


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_card_tells_what_the_row_says(holds, fails):
    card = ledger.card(replace(ROW, holds=holds, control_fails=fails))
    text = card.astext()
    assert card["ids"] == ["claim-foundations-heun-order"]
    assert ("fails, as it must" in text, "does not fail" in text) == (fails, not fails)
    assert ("prediction ± 0.05: holds" in text, "does not hold" in text) == (holds, not holds)
    for part in ("1.98 … 2.01 over 3 seeds", "0.99 … 1.01 over 3 seeds", "(margin 0.03)", "order", "textbook"):
        assert part in text
    badge = next(node for node in card.findall(nodes.inline) if "claim-state" in node["classes"])
    assert ("claim-reproduced" in badge["classes"]) is (holds and fails)


def test_card_of_what_is_not_testable_claims_nothing():
    text = ledger.card(UNTESTED).astext()
    assert "not testable here" in text and "Measured" not in text and "fail" not in text


def test_card_of_what_could_not_be_run_says_so_and_gives_no_verdict():
    text = ledger.card(replace(ROW, error="RuntimeError: no luck", measured=(), shown="")).astext()
    assert "could not be run: RuntimeError: no luck" in text and "fail" not in text and "seeds" not in text


def test_summary_counts_what_failed_and_names_what_is_not_as_stated():
    weak = replace(ROW, id="foundations.weak", control_fails=False)
    lost = replace(ROW, id="foundations.lost", state="not reproduced", holds=False)
    text = ledger.summary([ROW, weak, lost, UNTESTED]).astext()
    assert text.startswith("4 claims: 1 reproduced, 1 not reproduced, 1 not testable here, 1 not as stated.")
    assert "Controls that fail as they must: 2 of 3." in text and text.endswith("in this run: foundations.weak.")
    assert "Not as stated" not in ledger.summary([ROW, lost, UNTESTED]).astext()


def test_anchors_of_all_claims_differ_and_are_words_with_hyphens():
    keys = [blank(claim).key for room in rooms().values() for claim in room.claims]
    assert len(set(keys)) == len(keys) > 0
    assert [one for one in keys if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one)] == []


def test_stored_run_is_strict_json(tmp_path):
    path = tmp_path / "claims.json"
    path.write_text('{"complete": true, "environment": {"cores": NaN}, "claims": []}')
    with pytest.raises(ValueError, match="NaN is no number of JSON"):
        read_run(path)
    if STORED.exists():
        assert [row.id for row in read_run(STORED)[1]]


@pytest.mark.parametrize(
    "directive", ["attnflow-ledger", "attnflow-environment", "attnflow-claim} foundations.heun-order"]
)
@pytest.mark.parametrize("complete", [{"complete": False}, {}])
def test_a_run_that_was_stopped_is_an_error_of_the_page(directive, complete, tmp_path):
    (tmp_path / "results").mkdir()
    run = complete | {"environment": {"seeds": "0:2"}, "claims": [ROW.to_json()]}
    (tmp_path / ledger.STORED).write_text(json.dumps(run), encoding="utf-8")
    name, _, word = directive.partition("}")
    (tmp_path / "index.md").write_text(f"# Page\n\n```{{{name}}}{word}\n```\n", encoding="utf-8")
    told = io.StringIO()
    options = {"extensions": ["myst_parser", "sphinx.ext.autodoc", "attnflow_book"]}
    app = Sphinx(tmp_path, None, tmp_path / "out", tmp_path / "trees", "dummy", options, status=None, warning=told)
    app.build()
    assert "of a run that was not stopped" in told.getvalue() and "Heun" not in app.env.get_doctree("index").astext()


def test_ledger_puts_every_claim_under_the_title_of_its_room(tmp_path):
    """A page of its own, built by Sphinx: headings and links come from the rooms, in the order of the book."""
    made = list(rooms().values())
    rows = [replace(ROW, id=f"{room.name}.one", chapter=room.name, title=f"One of {room.number}") for room in made]
    (tmp_path / "results").mkdir()
    write_run(tmp_path / ledger.STORED, {"seeds": "0:2"}, rows[::-1], complete=True)
    (tmp_path / "notebooks").mkdir()
    for room in made:
        (tmp_path / "notebooks" / f"{room.page}.md").write_text(f"# Page {room.number}\n", encoding="utf-8")
    (tmp_path / "index.md").write_text("# Ledger\n\n```{attnflow-ledger}\n```\n", encoding="utf-8")
    options = {"extensions": ["myst_parser", "sphinx.ext.autodoc", "attnflow_book"]}
    folders = (tmp_path, None, tmp_path / "out", tmp_path / "trees")
    app = Sphinx(*folders, "dummy", options, status=None, warning=None)
    app.build()
    found = [one for one in app.env.get_doctree("index").findall(nodes.section) if one["ids"][0].startswith("ledger-")]
    assert [one["ids"][0] for one in found] == [f"ledger-{room.name}" for room in made]
    for room, section in zip(made, found, strict=True):
        targets = [node["reftarget"] for node in section.findall(nodes.Element) if node.get("reftype") == "doc"]
        cards = [node["ids"] for node in section.findall(nodes.section) if "claim" in node["classes"]]
        assert section.next_node().astext() == f"{room.number} · {room.title}"
        assert targets == [f"/notebooks/{room.page}"] and cards == [[f"claim-{room.name}-one"]]


def test_the_chaos_of_a_sweep_is_told_as_it_is_stored():
    for table in (one for room in rooms().values() for one in room.sweeps):
        stored = sensitivity.kept(table).sensitivity
        many, _, total, *_, worst = ledger.chaos(table).split()
        assert (int(many), int(total)) == ((stored > 1e-3).sum(), stored.size)
        assert float(worst[:-1]) == pytest.approx(np.nanmax(stored), rel=0.01)


def test_library_page_lists_every_module_once_and_sections_in_reading_order():
    listed = [*api.ground(["attnflow.flow"]), *(name for room in rooms().values() for name in api.of_room(room))]
    assert sorted(listed) == sorted(stamp.library()) and listed[0] == "attnflow.flow"
    for room in rooms().values():
        names = api.of_room(room)
        assert names[1 : 1 + len(room.sections)] == [f"attnflow.{room.name}.{section}" for section in room.sections]


def without_seconds(text):
    return re.sub(r"\d+(\.\d+)? s\b", "SECONDS", text)


@pytest.mark.claims
@pytest.mark.parametrize("seeds", ["0:3", "100:110"])
def test_the_example_claim_is_as_stated(seeds, capsys):
    assert roof.main(["claims", "--from", str(EXAMPLES / "my_claims.py"), "--seeds", seeds, "--device", "cpu"]) == 0
    command, shown = (EXAMPLES / "my_claims.txt").read_text(encoding="utf-8").split("\n", 1)
    if command.endswith(f"--seeds {seeds}"):
        assert without_seconds(capsys.readouterr().out) == without_seconds(shown)


def test_the_example_is_short_and_fits_its_column():
    lines = (EXAMPLES / "my_claims.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 40 and max(map(len, lines)) <= 80


def test_the_error_that_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_claims.py").write_text("from attnflow import Near\n\n\nedge = Near(rel=-1)\n")
    assert roof.main(["claims", "--from", "my_claims.py"]) == 2
    told = capsys.readouterr()
    assert (EXAMPLES / "error.txt").read_text(encoding="utf-8").split("\n", 1)[1] == told.err and told.out == ""


@pytest.mark.parametrize("softmax, most", [(True, 6), (False, 7)])
def test_the_count_that_the_page_names(softmax, most):
    def output(state, drawn):
        tokens, slope = drawn[:9].reshape(3, 3), drawn[9:].reshape(3, 2)
        logits = (tokens @ state["W_Q"]) @ (tokens @ state["W_K"]).T
        weights = torch.softmax(logits, dim=-1) if softmax else logits
        return (slope * (weights @ tokens @ state["W_V"] @ state["W_O"])).sum()

    shapes = {"W_Q": (3, 2), "W_K": (3, 2), "W_V": (3, 2), "W_O": (2, 2)}
    generator = torch.Generator("cpu").manual_seed(0)
    found = laws.count(output, shapes, lambda one: torch.randn(15, generator=one, dtype=torch.float64), generator)
    assert found["laws"] == most
