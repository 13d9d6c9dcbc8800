"""Nothing in the pages is cut without a sign: outputs wrap, formulas in a line break, and what scrolls fades out at its edge."""

import pytest
from pages import toc_pages, visit

CHAPTERS = [name for name in toc_pages() if name.startswith("notebooks/")]
SIZES = (390, 820, 1440)
NO_FADE = "article * { mask-image: none !important; animation: none !important; }"
FOUND = """() => {
    const scrolls = (e) => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX);
    const fades = (e, side) => getComputedStyle(e).maskImage.includes("gradient")
        && parseFloat(getComputedStyle(e).getPropertyValue("--fit-" + side)) > 20;
    const unseen = "mjx-assistive-mml, .visually-hidden, thead, details:not([open]), .toggle-hidden, button, figure img, "
        + ".explorable-board"; // which shows a part of the plane by design
    const hidden = (e) => e.closest(unseen);
    const words = (e) => e.outerHTML.slice(0, 60) + " ... " + e.textContent.trim().slice(0, 60);
    const cut = [], scrolled = [], wide = [];
    for (const e of document.querySelectorAll("article *")) {
        const box = e.getBoundingClientRect();
        if (!box.width || hidden(e)) continue;
        if (scrolls(e) && e.clientWidth && e.scrollWidth > e.clientWidth + 4 && !e.matches("figure")) {
            scrolled.push(words(e));
            if (!fades(e, "right")) cut.push(words(e));
        }
    }
    const parts = "span.math mjx-math, div.math mjx-math, .cell_output pre, div.highlight pre, article table, .cell_output img";
    for (const e of document.querySelectorAll(parts)) {
        if (!e.getBoundingClientRect().width || hidden(e)) continue;
        let right = e.getBoundingClientRect().right, up = e.parentElement;
        while (up && up.tagName !== "ARTICLE" && !(scrolls(up) && up.scrollWidth > up.clientWidth + 2)) up = up.parentElement;
        if (up.tagName === "ARTICLE" && right > up.getBoundingClientRect().right + 2) wide.push(words(e));
    }
    return {cut, scrolled, wide};
}"""


def found(page, width):
    """What is cut without a sign, what scrolls, and what sticks out of the column, at a width of the window in pixels."""
    page.set_viewport_size({"width": width, "height": 900})
    for _ in range(8):  # a timeline that follows the scrolling is a frame or more late
        page.wait_for_timeout(100)
        seen = page.evaluate(FOUND)
        if not seen["cut"]:
            break
    return seen


@pytest.mark.parametrize("name", toc_pages())
def test_nothing_is_cut_without_a_sign(browser, name):
    page, _, complaints = visit(browser, name)
    seen = {width: found(page, width) for width in SIZES}
    assert {width: one["cut"] for width, one in seen.items() if one["cut"]} == {}
    assert {width: one["wide"] for width, one in seen.items() if one["wide"]} == {}
    assert complaints == []


STUCK = """() => [...document.querySelectorAll(".cell_output pre, p mjx-container, li mjx-container")]
    .filter(e => getComputedStyle(e).overflowX !== "visible" && e.clientWidth && e.scrollWidth > e.clientWidth + 2)
    .filter(e => !e.closest("table")).map(e => e.textContent.trim().slice(0, 80))"""
CELLS = """() => [...document.querySelectorAll("table.fit-cards:has(a[id^=row-]) td")]
    .filter(cell => cell.textContent.trim()).map(cell => ({
    label: getComputedStyle(cell, "::before").content, shown: getComputedStyle(cell).display,
    right: cell.getBoundingClientRect().right, role: cell.getAttribute("role"), first: !cell.previousElementSibling}))"""


@pytest.mark.parametrize("name", CHAPTERS)
def test_on_a_phone_outputs_wrap_formulas_break_and_claims_are_cards(browser, name):
    page, _, _ = visit(browser, name, width="phone")
    page.wait_for_selector("mjx-container.fit-broken", state="attached")
    assert page.evaluate(STUCK) == []
    cards = page.evaluate(CELLS)
    labels = {'"predicted"', '"measured"', '"criterion"', '"control"'}
    assert {card["label"] for card in cards if not card["first"]} == labels
    assert {card["label"] for card in cards if card["first"]} == {"none"}
    assert all(card["shown"] == "flow-root" and card["right"] <= 390 and card["role"] == "cell" for card in cards)
    page.set_viewport_size({"width": 1440, "height": 900})
    assert {card["shown"] for card in page.evaluate(CELLS)} == {"table-cell"}


@pytest.mark.parametrize("name, tables", [("book/notation.html", 7), ("book/fresh_seeds.html", 1)])
def test_on_a_phone_a_table_of_sentences_is_a_card_a_row(browser, name, tables):
    page, _, _ = visit(browser, name, width="phone")
    shown = page.evaluate("""() => [...document.querySelectorAll("article table.fit-cards")].map(table => ({
        wide: table.scrollWidth - table.parentElement.clientWidth, cells: new Set([...table.querySelectorAll("td")]
            .filter(cell => cell.textContent.trim()).map(cell => getComputedStyle(cell).display))}))
        .map(({wide, cells}) => [wide <= 1, [...cells].join()])""")
    assert shown == [[True, "flow-root"]] * tables


def test_the_sign_goes_where_the_end_is_reached_and_is_missed_where_it_is_taken_away(browser):
    page, _, _ = visit(browser, CHAPTERS[1], width="phone")
    assert found(page, 390)["cut"] == [] and len(found(page, 390)["scrolled"]) > 10
    sides = """() => {
        const shown = [...document.querySelectorAll('div.highlight pre, mjx-container[display="true"]')]
            .filter(e => !e.closest("details:not([open])"));  // what is folded is not drawn, and its timeline stands still
        const e = shown.find(e => e.scrollWidth > e.clientWidth + 80);
        const told = () => ["left", "right"].map(side => getComputedStyle(e).getPropertyValue("--fit-" + side));
        const before = told();
        e.scrollLeft = e.scrollWidth;
        return new Promise(done => setTimeout(() => done([before, told()]), 500));
    }"""
    assert page.evaluate(sides) == [["0px", "40px"], ["40px", "0px"]]
    page.add_style_tag(content=NO_FADE)
    assert len(found(page, 390)["cut"]) > 10
