"""Figures that move: nobody is left out by how they are reached, seen, printed or slowed. Their numbers: test_explorable_*."""

import importlib
import math
import re

import numpy as np
import pages
import pytest
import run as machine
import sympy as sp
from explorable import PAGES, opened

import attnflow_explorables as explorables  # isort: skip
import moving  # isort: skip

DRAWS = 200
SHOWN = """chapter => { const figure = document.querySelector(`[data-explorable="${chapter}"]`).closest("figure");
        const seen = one => one.getBoundingClientRect().height > 50;
        return [seen(figure.querySelector(".explorable-live")), seen(figure.querySelector("img")),
            figure.querySelector("img").alt.length > 40]; }"""  # the figure that moves, its picture, and words for it


@pytest.fixture(scope="module", params=PAGES)
def chapter(request):
    return request.param


@pytest.fixture(scope="module")
def desktop(chromium, chapter):
    """What `opened` returns, once for the tests that leave the page as it was, or say what they need."""
    found = opened(chromium, chapter)
    yield found
    found[0].close()


@pytest.fixture(scope="module")
def phone(chromium, chapter):
    """The same on a phone, its text typeset: a page as wide and as heavy as there."""
    found = opened(chromium, chapter, formulas=True, width="phone")
    yield found
    found[0].close()


@pytest.mark.browser
def test_formulas_of_the_page_are_those_of_the_library(desktop, chapter):
    """Every closed form at random arguments against the library, or against sympy where the library has none.

    RANGES of a chapter's tests: name of a closed form -> name of an argument -> (low, high), under "all" for all of them;
    LIBRARY: name of a closed form -> a function of the same arguments.
    """
    own, known = importlib.import_module(f"test_explorable_{chapter}"), moving.figure(chapter).closed_forms()
    page, _, _ = desktop
    assert page.evaluate("chapter => Object.keys(attnflow.formulas[chapter])", chapter) == list(known)
    assert set(own.LIBRARY) <= set(known)
    generator = np.random.default_rng(sum(map(ord, chapter)))
    for name, (taken, expression) in known.items():
        bounds = [{**own.RANGES["all"], **own.RANGES.get(name, {})}[str(each)] for each in taken]
        rows = generator.uniform(*np.reshape(bounds, (-1, 2)).T, (DRAWS, len(taken)))
        function = own.LIBRARY.get(name) or sp.lambdify(taken, expression, "math")
        asked = "([chapter, name, rows]) => rows.map(row => attnflow.formulas[chapter][name](...row))"
        found = page.evaluate(asked, [chapter, name, rows.tolist()])
        wanted = [function(*map(float, row)) for row in rows]
        assert all(map(math.isfinite, wanted)), name
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.browser
def test_every_part_is_reached_by_tab_and_moved_by_arrows(desktop, chapter):
    page, _, complaints = desktop
    place = f'[data-explorable="{chapter}"]'
    count = page.locator(f"{place} :is(button, select, input, [tabindex='0'])").count()
    page.locator(f"{place} button").first.focus()
    clock = page.evaluate(f"attnflow.stages.{chapter}.parts.clock")
    seen = []
    for _ in range(count):
        seen.append(
            page.evaluate(
                """() => { const on = document.activeElement; return {
                    kind: on.tagName.toLowerCase() + (on.type ? "-" + on.type : ""), role: on.getAttribute("role"),
                    inside: !!on.closest(".explorable-live"), text: on.getAttribute("aria-valuetext"),
                    name: on.getAttribute("aria-label") || on.labels?.[0]?.textContent || on.textContent}; }"""
            )
        )
        if "range" in seen[-1]["kind"] or seen[-1]["role"] == "slider":
            key = "ArrowLeft" if seen[-1]["name"] == clock else "ArrowRight"  # the clock is at its end
            page.keyboard.press(key)
            moved = "before => document.activeElement.getAttribute('aria-valuetext') !== before"
            page.wait_for_function(moved, arg=seen[-1]["text"], timeout=2000)
        page.keyboard.press("Tab")
    assert all(each["inside"] and each["name"].strip() for each in seen), seen
    controls = page.evaluate("chapter => attnflow.stages[chapter].controls.map(one => one.label)", chapter)
    assert set(controls) <= {each["name"] for each in seen}
    for each in seen:
        if each["role"] == "slider" or "range" in each["kind"]:
            assert re.search(r"\d", each["text"]), each
    told = "stages => stages.controls.filter(one => one.unit).map(one => [one.label, one.unit])"
    units = page.evaluate(f"({told})(attnflow.stages.{chapter})")
    told = {each["name"]: each["text"] for each in seen}
    assert units and all(told[label].endswith(unit) for label, unit in units)
    assert complaints == []


@pytest.mark.browser
def test_nothing_moves_by_itself_or_out_of_view_or_where_motion_is_unwanted(browser, chapter):
    page, _, _ = opened(browser, chapter)
    frames = f"() => attnflow.stages.{chapter}.frames"
    page.wait_for_timeout(300)
    before = page.evaluate(frames)
    page.wait_for_timeout(400)
    assert page.evaluate(frames) == before, "it moves before anyone asked"
    play = page.locator(f'[data-explorable="{chapter}"] .explorable-play')
    play.click()
    page.wait_for_function(f"attnflow.stages.{chapter}.frames > {before + 3}", timeout=3000)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_function(f"!attnflow.stages.{chapter}.visible", timeout=3000)
    gone = page.evaluate(frames)
    page.wait_for_timeout(400)
    assert page.evaluate(frames) == gone and page.evaluate(f"attnflow.stages.{chapter}.playing")
    play.scroll_into_view_if_needed()
    page.wait_for_function(f"attnflow.stages.{chapter}.frames > {gone}", timeout=3000)

    page.emulate_media(reduced_motion="reduce")
    page.reload()
    play = page.locator(f'[data-explorable="{chapter}"] .explorable-play')
    play.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = page.evaluate(frames)
    play.click()
    page.wait_for_timeout(500)
    assert page.evaluate(f"attnflow.stages.{chapter}.playing") is False
    assert before < page.evaluate(frames) <= before + 2


@pytest.mark.browser
def test_a_still_picture_serves_paper(desktop, chapter):
    page, _, _ = desktop
    assert page.evaluate(SHOWN, chapter) == [True, False, True]
    page.emulate_media(media="print")
    assert page.evaluate(SHOWN, chapter) == [False, True, True]
    page.emulate_media(media="screen")


@pytest.mark.browser
def test_a_still_picture_serves_pages_without_scripts(browser, chapter):
    page = browser.new_page()
    browser.new_cdp_session(page).send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto((pages.SITE / PAGES[chapter]).as_uri())
    assert page.evaluate("typeof window.attnflow") == "undefined"
    assert page.evaluate(SHOWN, chapter) == [False, True, True]


@pytest.mark.browser
def test_a_phone_shows_it_whole_without_a_network(phone, chapter):
    page, requests, complaints = phone
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == [] == complaints
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1]


@pytest.mark.browser
@pytest.mark.parametrize("width", pages.WIDTHS)
def test_it_is_accessible(desktop, chapter, width):
    page, _, _ = desktop
    before = page.viewport_size
    page.set_viewport_size(dict(zip(before, pages.WIDTHS[width], strict=True)))
    assert pages.barriers(page, f"figure:has([data-explorable={chapter}])") == []
    page.set_viewport_size(before)


@pytest.mark.browser
def test_twenty_frames_a_second_on_a_slow_phone(phone, chapter):
    """In a Chromium that is throttled four times; a machine that is slower than that of the budget may draw as many fewer."""
    page, _, _ = phone
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.locator(f'[data-explorable="{chapter}"] .explorable-play').click()
    page.wait_for_timeout(500)
    rate = page.evaluate(
        """chapter => new Promise(done => { const stage = attnflow.stages[chapter], first = stage.frames;
            const began = performance.now(), rate = () => 1000 * (stage.frames - first) / (performance.now() - began);
            setTimeout(() => done(rate()), 2000); })""",
        chapter,
    )
    session.detach()
    page.locator(f'[data-explorable="{chapter}"] .explorable-play').click()
    assert rate >= 20 or rate >= 20 / machine.slowness()


def test_only_pages_with_an_explorable_load_it(site):
    texts = {name: (site / name).read_text(encoding="utf-8") for name in pages.built_pages()}
    loads = re.compile(
        r'(?:src|href)="[^"]*(?:jsxgraph|explorables)/(?!formulas/)'
    )  # the first page loads the slopes alone
    assert {name for name, text in texts.items() if loads.search(text)} == set(PAGES.values())


def test_scripts_hold_no_formula_of_the_library_and_the_site_has_those_of_sympy(site):
    for chapter in PAGES:
        text = (site / "explorables" / "formulas" / f"{chapter}.js").read_text(encoding="utf-8")
        assert text == explorables.script(chapter)
        own = (site / "explorables" / f"{chapter}.js").read_text(encoding="utf-8")
        assert [word for word in ("asinh", "sinh", "Math.exp", "Math.log") if word in own] == []
