"""The ledger as a page: origins and verdicts, what papers state, its form in a browser; and the pages of the library."""

import json
import math
import re
import sys
from dataclasses import replace
from functools import lru_cache
from html import unescape
from pathlib import Path

import attnflow_api as api
import attnflow_modules as modules
import attnflow_statements as written
import attnflow_verdicts as verdicts
import pytest
from docutils import nodes
from pages import ROOT, SITE, STORED, WIDTHS, barriers, visit
from test_book import ROW, Links

from attnflow import stamp
from attnflow.claims.stored import read_run
from attnflow.judging import registry

LEDGER = "book/ledger.html"
TALLEST = 30_000  # pixels
DERIVED = replace(ROW, provenance="derived here")


@lru_cache
def rows():
    return {row.id: row for row in read_run(STORED)[1]}


@lru_cache
def told():
    return written.statements(ROOT / written.WRITTEN)


def test_every_claim_has_an_origin():
    found = {claim.id: verdicts.origin(claim.provenance) for claim in registry()}
    assert set(found.values()) == set(verdicts.ORIGINS)
    with pytest.raises(ValueError, match="must begin with one of"):
        verdicts.origin("somewhere")


@pytest.mark.parametrize(
    "row, word",
    [
        (ROW, "reproduced"),
        (DERIVED, "holds"),
        (replace(DERIVED, kind="proof", predicted=1), "proved"),
        (replace(DERIVED, control_fails=False), "not as stated"),
        (replace(DERIVED, holds=False, state="not reproduced"), "not reproduced"),
        (replace(DERIVED, state="reproduced with changed constants"), "reproduced with changed constants"),
        (replace(DERIVED, state="not testable here", holds=False), "not testable here"),
        (replace(DERIVED, error="RuntimeError"), "could not be run"),
    ],
)
def test_a_verdict_is_one_word_and_own_derivations_are_not_reproduced(row, word):
    assert verdicts.verdict(row) == word


def test_counts_add_up_to_all_claims():
    table = [
        [cell.astext() for cell in row.findall(nodes.entry)]
        for row in written.counts(list(rows().values())).findall(nodes.row)
    ]
    many = [[int(cell) if cell.isdecimal() else 0 for cell in row[1:]] for row in table[1:]]
    assert [sum(row[:-1]) for row in many] == [row[-1] for row in many]
    assert sum(row[-1] for row in many) == len(rows())
    own = dict(zip(table[0], table[[row[0] for row in table].index("derived here")], strict=True))
    assert own.get("reproduced", "–") == "–" and int(own["holds"]) > 0


def test_statements_are_judged_by_the_stored_rows_of_their_claims():
    """The verdict is worked out here once more, from the states in the file of the run."""
    states = {row["id"]: row for row in json.loads(STORED.read_text(encoding="utf-8"))["claims"]}
    assert {one.paper for one in told()} >= {
        "yang2024cooccurrence",
        "wu2023encoder",
        "song2024kernels",
        "gao2024meanfield",
    }
    for one in told():
        assert one.claims or one.because, one.says
        worst = max((written.COLUMNS.index(states[name]["state"]) for name in one.claims), default=-1)
        judged = written.COLUMNS.index(one.judged(rows()))
        assert judged == worst or one.verdict and judged > worst and one.because, one.says
        assert set(one.beside).isdisjoint(one.claims)


def test_every_claim_that_a_paper_states_stands_in_the_matrix():
    named = {name for one in told() for name in (*one.claims, *one.beside)}
    owed = {
        name for name, row in rows().items() if verdicts.origin(row.provenance) in ("paper", "secondary", "recalled")
    }
    assert owed - named == set()


GOOD, BAD = replace(ROW, id="a.good"), replace(ROW, id="a.bad", state="not reproduced", holds=False)


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"claims": ("a.none",)}, "no claim a.none is stored"),
        ({"claims": ("a.good",), "beside": ("a.none",)}, "no claim a.none is stored"),
        ({}, "needs claims or a verdict"),
        ({"claims": ("a.good",), "origin": "derived here"}, "an origin other than"),
        ({"claims": ("a.bad",), "verdict": "reproduced", "because": "so"}, "its claims say 'not reproduced'"),
        ({"claims": ("a.good",), "verdict": "not tried", "because": "so"}, "its claims say 'reproduced'"),
        ({"claims": ("a.good",), "verdict": "not reproduced"}, "does not say why"),
        ({"verdict": "not tried"}, "does not say why"),
    ],
)
def test_a_statement_cannot_be_better_than_its_claims(changes, error):
    one = written.Statement(**({"paper": "some", "origin": "paper", "says": "It falls."} | changes))
    with pytest.raises(ValueError, match=error):
        one.judged({"a.good": GOOD, "a.bad": BAD})


@pytest.mark.parametrize(
    "changes, verdict",
    [
        ({"claims": ("a.good",)}, "reproduced"),
        ({"claims": ("a.good", "a.bad")}, "not reproduced"),
        ({"claims": ("a.good",), "verdict": "not reproduced", "because": "so"}, "not reproduced"),
        ({"verdict": "not tried", "because": "so"}, "not tried"),
    ],
)
def test_a_statement_is_as_good_as_the_worst_of_its_claims(changes, verdict):
    one = written.Statement(**({"paper": "some", "origin": "paper", "says": "It falls."} | changes))
    assert one.judged({"a.good": GOOD, "a.bad": BAD}) == verdict


def test_exceptions_name_every_claim_that_is_not_plainly_reproduced():
    drawn = written.exceptions(told(), rows(), lambda paper: [nodes.Text(paper)])
    linked = {one["refid"] for one in drawn.findall(nodes.reference)}
    assert linked == {f"claim-{row.key}" for row in rows().values() if verdicts.verdict(row) not in verdicts.GOOD}
    said = [line.astext() for line in drawn.findall(nodes.list_item)]
    given = [one for one in told() if one.verdict in written.COLUMNS[1:3]]
    assert len(said) == len(linked) + len(given) and len(given) > 5
    assert [line.startswith("not reproduced") for line in said] == sorted(
        (line.startswith("not reproduced") for line in said), reverse=True
    )


def test_a_strip_has_every_seed_in_the_band_that_is_accepted():
    """A row without a quota that holds has all its dots in the band, and one whose control fails has these outside."""
    seen = 0
    for row in rows().values():
        strip = verdicts.strip(row)
        assert bool(strip) is bool(row.accepted and not row.proved)
        if not strip or row.good or row.control_good or row.accepted[0] == row.accepted[1]:
            continue
        left, width = map(float, re.search(r'<rect x="(\d+)" y="1" width="(\d+)"', strip).groups())
        dots = {
            lane: [int(at) for at in re.findall(r"M(\d+) ", found)]
            for lane, found in re.findall(r'strip-(claim|control)" d="([^"]*)"', strip)
        }
        assert (min(dots["claim"]) >= left - 1 and max(dots["claim"]) <= left + width + 1) is row.holds, row.id
        apart = any(at < left - 1 or at > left + width + 1 for at in dots["control"])
        assert apart or any(math.isnan(one) for one in row.control_measured), row.id
        seen += 1
    assert seen > 150


def cards():
    """The cards of the built page: id of its section -> its HTML."""
    parts = re.split(r'<section class="claim" id="([^"]+)">', (SITE / LEDGER).read_text(encoding="utf-8"))
    return {key: card.partition("</details>")[0] for key, card in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_card_leads_to_the_chapter_and_to_its_line_of_code(site):
    """The line that names the claim, or, where its name is made in a loop, the one where the list of claims begins."""
    exact = []
    for row in rows().values():
        card = Links(cards()[f"claim-{row.key}"])
        chapter = [target for target in card.targets if re.search(r"notebooks/\d_\w+\.html", target)]
        assert len(chapter) == 1, row.id
        page, _, anchor = chapter[0].removeprefix("../").partition("#")
        assert f'id="{anchor}"' in (SITE / page).read_text(encoding="utf-8") if anchor else not row.testable, row.id
        page, line = next(target for target in card.targets if "#L-" in target).split("#")
        code = (SITE / "book" / page).read_text(encoding="utf-8").split(f'id="{line}"', 1)[1].split("\n", 1)[0]
        exact.append(f'"{row.id.partition(".")[2]}"' in unescape(code))
        assert exact[-1] or ">CLAIMS<" in code, (row.id, code)
    assert sum(exact) > 0.9 * len(exact), "few names are made in a loop"


def test_every_card_has_its_command_where_it_can_be_run(site):
    shown = {key: re.sub(r"<[^>]+>", "", card) for key, card in cards().items()}
    absent = [
        row.id for row in rows().values() if (f"claims --id {row.id}" in shown[f"claim-{row.key}"]) is not row.testable
    ]
    assert absent == []


def test_boxes_and_rows_of_chapters_lead_to_their_cards(site):
    for path in (SITE / "notebooks").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        shown = set(re.findall(r'id="(?:box|row)-([a-z0-9-]+)"', text))
        assert shown and shown <= set(re.findall(r"ledger\.html#claim-([a-z0-9-]+)", text)), path.name


def test_the_matrix_of_the_page_shows_the_verdicts_of_the_stored_rows(site):
    page = (SITE / LEDGER).read_text(encoding="utf-8")
    tables = re.findall(r'<table class="[^"]*ledger-statements.*?</table>', page, re.S)
    shown = []
    for table in tables:
        for line in re.findall(r"<tr[^>]*>(.*?)</tr>", table.split("<tbody>")[1], re.S):
            cells = re.findall(r"<td>(.*?)</td>", line, re.S)
            linked = re.findall(r'href="#claim-([a-z0-9-]+)"', cells[3])
            shown.append((re.sub(r"<[^>]+>", "", cells[2]).strip(), linked))
    papers = list(dict.fromkeys(one.paper for one in told()))
    keys = {name: row.key for name, row in rows().items()}
    expected = [
        (one.judged(rows()), [keys[name] for name in (*one.claims, *one.beside)])
        for paper in papers
        for one in told()
        if one.paper == paper
    ]
    assert shown == expected


def test_parameters_are_a_list_of_definitions():
    text = "A law. one, two: some $x$; three: more: of it,\nand on. Returns all."
    found = api.as_list(text, ["one", "two", "three"])
    assert found == "A law.\n\n``one``, ``two``\n   some :math:`x`\n``three``\n   more: of it, and on.\n\nReturns all."
    assert api.as_list("note: this", ["one"]) == "note: this"


def test_every_module_has_a_page_and_its_source(site):
    assert {name for name in stamp.library() if api.public(name)} <= set(modules.paged())
    for name in modules.paged():
        page = (SITE / modules.FOLDER / f"{name}.html").read_text(encoding="utf-8")
        count = len(Path(sys.modules[name].__file__).read_text(encoding="utf-8").splitlines())
        assert f'id="L-{count}"' in page and f'id="L-{count + 1}"' not in page, name
    assert not (ROOT / modules.FOLDER).exists()


def asked(page, **values):
    """Fill the form, and return what the page then says and shows."""
    for name, value in values.items():
        field = page.locator(f".ledger-filter [name={name}]")
        field.fill(value) if name == "words" else field.select_option(value)
    shown = page.eval_on_selector_all(
        "section.claim",
        "all => all.filter(e => e.getClientRects().length).map(e => ({id: e.id, ...e.querySelector('details').dataset}))",
    )
    return page.locator(".ledger-filter output").inner_text(), shown


def test_filters_narrow_the_ledger_and_say_how_many(browser):
    page, _, complaints = visit(browser, LEDGER, formulas=False)
    every = len(rows())
    assert asked(page)[0] == f"{every} of {every} claims"
    for name, value in (("chapter", "kernels"), ("origin", "paper"), ("state", "not reproduced"), ("kind", "proof")):
        said, shown = asked(page, **{name: value})
        expected = [row for row in rows().values() if told_of(row)[name] == value]
        assert [one["id"] for one in shown] == [f"claim-{row.key}" for row in expected] and 0 < len(shown) < every
        assert said == f"{len(shown)} of {every} claims"
        asked(page, **{name: ""})
    said, shown = asked(page, chapter="kernels", kind="proof", words="gaussian BALANCE")
    assert shown and all((one["chapter"], one["kind"]) == ("kernels", "proof") for one in shown)
    again = page.url
    page.goto(again)
    assert asked(page) == (said, shown), "the address remembers what was asked"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"document.querySelector('.ledger-filter output').value === '{every} of {every} claims'")
    assert complaints == []


def told_of(row):
    return {
        "chapter": row.chapter,
        "origin": verdicts.origin(row.provenance),
        "state": verdicts.verdict(row),
        "kind": row.kind,
    }


def test_the_ledger_sorts_by_tightness_and_margin(browser):
    page, _, _ = visit(browser, LEDGER, formulas=False)
    book = [one["id"] for one in asked(page)[1]]
    for name, field, sign in (
        ("tightness", "tightness", -1),
        ("slack", "tightness", 1),
        ("margin", "margin", 1),
        ("room", "margin", -1),
    ):
        shown = asked(page, sort=name)[1]
        known = [getattr(row, field) for row in rows().values()]
        known = [float(f"{one:.6g}") for one in known if one is not None and not math.isnan(one)]
        numbers = [float(one[field]) for one in shown if one[field]]
        assert numbers == sorted(known, key=lambda value: sign * value), name
        assert [one[field] for one in shown][len(numbers) :] == [""] * (len(book) - len(numbers)), (
            "what has no number is last"
        )
    assert [one["id"] for one in asked(page, sort="order")[1]] == book


def test_the_ledger_is_used_with_the_keyboard_alone(browser):
    page, _, _ = visit(browser, LEDGER, formulas=False)
    page.locator(".ledger-filter [name=chapter]").focus()
    page.keyboard.type("2")  # a choice of a list by its first letter
    assert {one["chapter"] for one in asked(page)[1]} == {"cooccurrence"}
    for _ in range(7):  # origin, state, kind, sort, words, unfold, show all
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.tagName") == "A":  # the link to the chapter
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.parentElement.parentElement.id") == asked(page)[1][0]["id"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open") is True


def test_an_address_of_a_card_unfolds_it(browser):
    row = next(row for row in rows().values() if row.chapter == "encoder")
    page, _, _ = visit(browser, LEDGER, query=f"?chapter=kernels#claim-{row.key}", formulas=False)
    card = page.locator(f"#claim-{row.key}")
    assert card.locator("dl.claim-rows").is_visible() and card.locator("summary").is_visible()


def test_without_its_script_the_ledger_is_a_list_that_unfolds(browser):
    page = browser.new_page()
    page.route("**/ledger.js*", lambda route: route.abort())
    page.goto((SITE / LEDGER).as_uri())
    assert page.locator(".ledger-filter").is_hidden() and page.locator(".ledger-sorted").is_hidden()
    cards = page.locator("section.claim")
    assert cards.count() == len(rows()) and cards.last.is_visible()
    cards.first.locator("summary").click()
    assert cards.first.locator(".claim-statement").is_visible() and cards.last.locator(".claim-statement").is_hidden()


def tall():
    """The pages that were tall: the ledger, the list of modules, and the three longest of these."""
    every = sorted(
        (SITE / modules.FOLDER).glob("*.html"), key=lambda path: -path.read_text(encoding="utf-8").count("<dt")
    )
    return [LEDGER, "book/api.html", *(path.relative_to(SITE).as_posix() for path in every[:3])]


def test_no_page_of_the_ledger_or_the_library_is_endless(browser):
    heights = {}
    for name in tall():
        page, _, _ = visit(browser, name)
        for kind, (width, height) in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            heights[name, kind] = page.evaluate("document.documentElement.scrollHeight")
            wide = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert wide, (name, kind)
        page.close()
    assert {place: height for place, height in heights.items() if height >= TALLEST} == {}


def test_what_is_unfolded_is_accessible(browser):
    """One chapter of the ledger, and the longest page of a module with its source; in the dark their colours again."""
    for name, place in ((LEDGER, "#ledger-foundations"), (tall()[2], "article")):
        page, _, _ = visit(browser, name, query="?chapter=foundations" if name == LEDGER else "", formulas=False)
        page.evaluate("which => document.querySelectorAll(which).forEach(e => { e.open = true; })", f"{place} details")
        assert barriers(page, place) == [], name
        page.close()
