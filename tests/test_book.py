"""The built book, as a reader meets it: opened from the disk in a browser that has no network."""

import json
import os
import re
import shutil
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
AXE = ROOT / "tests" / "vendor" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


def missing(what):
    """Skip with one line; where CI is true a skip would hide a failure, so fail."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(what)
    pytest.skip(what)


def toc_pages():
    """The pages that the table of contents names, as addresses inside the site."""
    named = re.findall(r"^(?:root:|\s*- file:)\s*(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.M)
    return [f"{name}.html" for name in named]


def built_pages():
    """All pages of the site, the ones that Sphinx adds (search, indices) included."""
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").exists():
        missing("the book is not built: make book")
    return SITE


@pytest.fixture(scope="module")
def browser(site):
    if not Path(CHROMIUM).exists():
        missing("chromium is absent: the built book is not tested in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        context = play.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=FLAGS, offline=True
        )
        yield context
        context.close()


def visit(browser, name, width="desktop", theme="light", query=""):
    """Open one page and wait for its formulas. Returns the page, its requests, and what it had to complain of."""
    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and complaints.append(f"{message.type}: {message.text}"),
    )
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
    page.emulate_media(color_scheme=theme)
    page.goto((SITE / name).as_uri() + query)
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup ? MathJax.startup.promise : null")
    return page, requests, complaints


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
            left: [...document.querySelectorAll("article p, article li, article td, article dd")]
                .filter(e => !e.closest("pre")).map(e => e.textContent).filter(t => /\\\\[([]/.test(t)).length,
            bare: [...document.querySelectorAll("article img")].filter(i => !(i.getAttribute("alt") || "").trim()
                || /^(\\.\\.\\/)*_images\\//.test(i.getAttribute("alt"))).map(i => i.getAttribute("src")),
            broken: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
        })"""
    )
    assert seen["formulas"] == seen["typeset"], "formulas that MathJax did not typeset"
    assert seen["unknown"] == 0, "a formula uses a macro that MathJax does not know"
    assert seen["left"] == 0, "raw TeX is left in the text"
    assert seen["bare"] == [], "images without alternative text"
    assert seen["broken"] == [], "images that do not load"
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", toc_pages())
def test_page_is_accessible(browser, name, theme):
    page, _, _ = visit(browser, name, theme=theme)
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [
        (rule["id"], rule["help"], [node["target"] for node in rule["nodes"]][:5])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []
    page.close()


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
    page.close()


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
        sources = [target for target in links[name].targets if "_sources/" in target]
        assert sources, f"{name} offers no download"
        for target in sources:
            assert ((SITE / name).parent / target).resolve().stat().st_size > 0


def test_ledger_shows_every_stored_claim(links):
    stored = ROOT / "results" / "claims.json"
    if not stored.exists():
        pytest.skip("no run is stored: make claims")
    claims = json.loads(stored.read_text(encoding="utf-8"))["claims"]
    wanted = {"claim-" + re.sub(r"[^a-z0-9]+", "-", claim["id"].lower()) for claim in claims}
    assert wanted <= links["book/ledger.html"].anchors


def test_search_finds_a_word_offline(browser):
    page, requests, complaints = visit(browser, "search.html", query="?q=imbalance")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
    page.close()


def test_site_is_small(site):
    sizes = {path.relative_to(site).as_posix(): path.stat().st_size / 1e6 for path in site.rglob("*") if path.is_file()}
    assert {name: size for name, size in sizes.items() if size > 3} == {}
    assert sum(sizes.values()) < 40
