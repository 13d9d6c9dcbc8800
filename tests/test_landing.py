"""The first page: what it shows without a script, what moves, and that its cards say what the chapters say."""

import doctest
import json
import re

import attnflow_landing as landing
import pytest
from pages import ROOT, visit

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_examples_of_the_extension():
    assert doctest.testmod(landing).failed == 0


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(LookupError, match="fig-none"):
        landing.picture({"cells": []}, "fig-none")


@pytest.mark.browser
def test_every_chapter_has_its_card_with_its_own_times(browser):
    page, *_ = visit(browser, "book/preface.html")
    cards = page.eval_on_selector_all(
        ".chapter-card",
        """cards => cards.map(card => [card.querySelector("a").getAttribute("href"), card.querySelector("img").naturalWidth,
                                       card.querySelector(".card-takes").textContent])""",
    )
    assert [re.search(r"notebooks/(\w+)\.html", link)[1] for link, *_ in cards] == CHAPTERS
    assert all(width > 300 for _, width, _ in cards)
    for name, (*_, told) in zip(CHAPTERS, cards, strict=True):
        stored = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert [int(number) for number in re.findall(r"\d+", told)] == list(landing.takes(stored))


@pytest.mark.browser
def test_the_first_screen_has_the_figure_and_every_card(browser):
    page, *_ = visit(browser, "book/preface.html")
    page.set_viewport_size({"width": 1440, "height": 900})
    below = page.eval_on_selector_all(
        ".landing-hero figure, .chapter-card", "found => found.map(each => each.getBoundingClientRect().bottom)"
    )
    assert len(below) == 6 and max(below) <= 900


SEEN = "() => document.querySelector('.landing-hero canvas')?.toDataURL()"


@pytest.mark.browser
def test_the_figure_moves_in_view_pauses_and_rests_out_of_view(browser):
    page, requests, complaints = visit(browser, "book/preface.html")

    def moves():
        before = page.evaluate(SEEN)
        page.wait_for_timeout(400)
        return page.evaluate(SEEN) != before

    page.wait_for_timeout(300)
    assert moves() and complaints == [] and all(url.startswith(("file:", "data:")) for url in requests)
    page.get_by_role("button", name="Pause").press("Enter")
    assert not moves()
    page.get_by_role("button", name="Play").press("Enter")
    page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert not moves()


@pytest.mark.browser
def test_the_picture_stands_where_motion_is_not_wanted(browser):
    page, *_ = visit(browser, "book/preface.html")
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    assert page.evaluate(SEEN) is None and page.locator(".landing-hero img").is_visible()
    page.emulate_media(reduced_motion="no-preference", media="print")
    page.reload()
    assert page.locator(".landing-hero img").is_visible() and not page.locator(".landing-hero canvas").is_visible()
    page.emulate_media(media="screen")
