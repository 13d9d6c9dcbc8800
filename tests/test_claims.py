"""The claim: every field counts, wrong ones are refused when written, and the book's hold on two seeds that nobody chose."""

import itertools
import json
import warnings
from dataclasses import asdict, replace
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refusal
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from attnflow import claims, rooms
from attnflow.claims import (
    Above,
    Below,
    Between,
    Claim,
    Control,
    Derivation,
    Exactly,
    Experiment,
    Near,
    Row,
    Trial,
    chapter_of,
    kinds,
)
from attnflow.claims import experiment as kept
from attnflow.claims.row import blank
from attnflow.claims.stored import read_run
from attnflow.judging import registry

CLAIMS = registry()
LIBRARY = Path(claims.__file__).resolve().parents[1]
LEDGER = Path(__file__).resolve().parent.parent / "results" / "claims.json"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_as_stated_and_its_control_fails(claim):
    """Two seeds say nothing of a share, so what has a quota only has to run. Our own lines give no warning."""
    with warnings.catch_warnings(record=True) as seen:
        row = claims.evaluate(claim, (300, 301), "cpu")
    assert [str(one.message) for one in seen if LIBRARY in Path(one.filename).parents] == []
    assert not row.error, row.to_json()
    assert (row.good or row.holds == row.state.startswith("reproduced")) and (
        row.control_good or row.control_fails or not row.testable
    ), row.to_json()


@lru_cache
def ledger():
    """The rows of the stored run; one that was stopped is refused."""
    return read_run(LEDGER)[1]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_in_the_ledger_as_it_is_in_the_code(claim):
    stored = {row.id: row for row in ledger()}
    assert set(stored) == {one.id for one in CLAIMS}, "run: make claims"
    row = stored[claim.id]
    assert replace(blank(claim), kind="") == replace(
        blank(claim, **{name: getattr(row, name) for name in TOLD}), kind=""
    )
    assert row.consistent and row.holds == claim.state.startswith("reproduced") and row.control_fails == claim.testable


TOLD = ("title", "statement", "provenance", "cite", "state", "criterion", "control", "seed_dependent")


def coin(seeds, device, centre=1.0, low=0, **others):
    """A record whose number is the seed's own, 1.00 to 1.04 but for another centre of all seeds from ``low`` on."""
    centres = [centre if seed >= low else 1.0 for seed in seeds]
    values = [one + 0.01 * (seed % 5) for one, seed in zip(centres, seeds, strict=True)]
    return {"value": torch.tensor(values, dtype=torch.float64), "nan": torch.full((len(seeds),), torch.nan)}


COIN = Experiment(coin)
OTHER = Control("another centre", experiment=COIN.but(centre=2.0))
FAR = Control("another centre, and another prediction", experiment=COIN.but(centre=2.0), predict=0.0)
SETTINGS = {"experiment": COIN, "read": itemgetter("value"), "holds": Near(abs=0.1), "predict": 1.0}


def made(control=OTHER, name="coin", title="A coin", state="reproduced", cite=(), **changes):
    claim = chapter_of("here", provenance="thrown here")
    return claim(name, title, "it lands", Trial(**SETTINGS | changes), control, state=state, cite=cite)


def row(seeds=range(10), **changes):
    return claims.evaluate(made(**changes), seeds)


SOME = COIN.but(centre=2.0, low=2)  # eight of ten seeds are other


@pytest.mark.parametrize(
    ("changes", "broken", "measured", "fails"),
    [
        ({}, {"experiment": COIN.but(centre=2.0)}, 2.0, True),
        ({}, {"settings": {"centre": 2.0}}, 2.0, True),
        ({}, {"read": lambda record: record["value"] + 3}, 4.0, True),
        ({}, {"predict": 2.0}, 1.0, True),
        ({}, {"predict": lambda record: record["value"]}, 1.0, False),
        ({}, {"predict": lambda record: record["value"] + 1}, 1.0, True),
        ({}, {"holds": Above(1.5)}, 1.0, True),
        ({}, {"holds": Above(0.5)}, 1.0, False),
        ({}, {"read": itemgetter("nan")}, np.nan, False),
        ({"read": itemgetter("nan"), "undefined": 1.0}, {"undefined": 5.0}, 5.0, True),
        ({"read": itemgetter("nan"), "undefined": 1.0}, {"read": itemgetter("value"), "undefined": 5.0}, 1.0, False),
        ({"quota": (5, 10)}, {"experiment": SOME}, 1.0, False),
        ({}, {"experiment": SOME, "quota": (8, 10)}, 1.0, True),
        ({}, {"experiment": COIN.but(centre=2.0, low=7), "quota": (8, 10)}, 1.0, False),
    ],
)
def test_every_field_that_a_control_changes_is_honoured(changes, broken, measured, fails):
    found = row(control=Control("other", **broken), **changes)
    assert found.holds and found.control_fails == found.consistent == fails
    assert found.control_measured[0] == pytest.approx(measured, nan_ok=True) and len(found.control_measured) == 10
    assert found.measured[0] == 1.0 and found.control_shown == claims.criteria.extent(found.control_measured)


def moved(seeds, device, by=0.0):
    """A law that moves by so much."""
    return {"law": torch.full((len(seeds),), by, dtype=torch.float64)}


@pytest.mark.parametrize("write", [kinds.conserved, kinds.one_step])
def test_a_run_that_overflows_has_not_kept_its_law(write):
    trial = write(Experiment(moved), "law")
    found = claims.evaluate(Claim("kept", "kept", trial, Control("lost", {"by": np.nan}), "kept", "here"), (0, 1))
    assert found.holds and found.control_fails and found.control_measured == (np.inf, np.inf)


@pytest.mark.parametrize(
    ("changes", "holds", "consistent", "margin"),
    [
        ({}, True, True, 0.06),
        ({"predict": 0.5}, False, False, -0.44),
        ({"predict": 0.5, "state": "not reproduced"}, False, True, -0.44),
        ({"predict": lambda record: record["value"] + 0.01, "control": FAR}, True, True, 0.09),
        ({"predict": lambda record, scale=2.0: record["value"] * scale / 2, "control": FAR}, True, True, 0.1),
        ({"read": itemgetter("nan")}, False, False, np.nan),
        ({"holds": Near(abs=0.03)}, False, False, -0.01),
        ({"holds": Near(abs=0.03), "quota": (8, 10)}, True, True, -0.01),
    ],
)
def test_the_verdict_on_a_claim(changes, holds, consistent, margin):
    found = row(**changes)
    assert (found.holds, found.consistent) == (holds, consistent) and found.margin == pytest.approx(margin, nan_ok=True)


def test_a_row_of_algebra_and_one_with_an_error():
    proof = made(
        Control("a neighbour", {"true": False}),
        experiment=Derivation(lambda true: true, {"true": True}),
        read=float,
        holds=Exactly(),
    )
    found = claims.evaluate(proof, range(10))
    assert (
        found.consistent and found.measured == (1.0,) and found.control_measured == (0.0,) and not found.seed_dependent
    )
    assert blank(made(state="not reproduced"), control_fails=True).consistent
    assert not blank(made(state="not reproduced"), control_fails=True, error="RuntimeError: no luck").consistent


def test_many_seeds_share_stacks_of_bounded_size_and_all_ways_to_run_agree():
    sizes = []

    def counted(seeds, device, **settings):
        sizes.append(len(seeds))
        return coin(seeds, device, **settings)

    many = {"experiment": Experiment(counted), "control": Control("x", experiment=Experiment(counted, {"centre": 2.0}))}
    bad = made(name="bad", title="B", read=lambda record: record["value"].mean())
    none = Claim("C", "stays open", name="none", chapter="here", state="not testable here")
    one, wrong, no = claims.evaluate_all([made(**many), bad, none], range(60), "cpu")
    assert max(sizes) == 25 and one.measured == row(range(60), **many).measured and one.consistent and no.consistent
    assert "one number a seed" in wrong.error and not wrong.consistent
    assert [each.consistent for each in claims.evaluate_all([made(), bad, none], range(9))] == [True, False, True]


@pytest.mark.parametrize(
    ("good", "of", "quota", "wanted"),
    [
        (10, 10, "all", True),
        (9, 10, "all", False),
        (5, 10, (8, 10), True),
        (4, 10, (8, 10), False),
        (0, 2, (8, 10), True),
        (47, 60, (8, 10), False),
        (50, 60, (8, 10), True),
        (54, 60, (9, 10), False),
        (56, 60, (9, 10), True),
        (355, 400, (9, 10), False),
    ],
)
def test_a_quota_is_confirmed_by_many_seeds_and_contradicted_by_few(good, of, quota, wanted):
    """Of 54 in 60 the share is nine tenths, but the interval begins below eight tenths."""
    assert claims.enough(np.arange(of) < good, quota) == wanted


def test_a_row_with_a_quota_is_run_on_more_seeds_and_tells_their_number():
    many = made(Control("other", experiment=SOME, quota=(8, 10)))
    (one,) = claims.evaluate_all([many], range(10), "cpu", more=range(10, 60))
    assert (len(one.measured), len(one.control_measured), one.good) == (10, 60, "")
    assert one.control_good.startswith("58 of 60 seeds (") and one.control_fails
    told = [one.line(), *one.cells(), *(text for _, text in one.card()), many._repr_markdown_()]
    assert sum("58 of 60 seeds" in text for text in told) == 3 and "must fail in at least 8 of 10 seeds" in told[-1]


def test_records_are_shared_copies_that_nobody_can_change():
    calls = []

    def count(seeds, device, **settings):
        calls.append(settings)
        return {"x": torch.ones(10, dtype=torch.float64, requires_grad=True), "more": [torch.zeros(2)]}

    claims.forget()
    shared, again = (Experiment(count, {"at": [1, {"b": torch.arange(n)}]}) for n in (2, 2))
    assert shared == again and shared != Experiment(count, {"at": [1, {"b": torch.arange(3)}]})
    record = shared((1, 2))
    record["x"][:], record["more"][0][:] = 7, 7
    with pytest.raises(TypeError):
        record["x"] = 0
    fresh = again((1, 2), "cpu")
    assert len(calls) == 1 and (fresh["x"] == 1).all() and (fresh["more"][0] == 0).all()
    assert not fresh["x"].requires_grad and fresh["x"].device.type == "cpu"
    for other in (shared.but(at=[1, {"b": torch.arange(3)}]), shared.but(at=[1, {"b": 3}]), shared.but(other=(1,))):
        other((1, 2))
    assert len(calls) == 4 and shared((1,)) is not None and len(calls) == 5


def test_the_records_used_longest_ago_go_first(monkeypatch):
    calls = []

    def record(seeds, device, name):
        calls.append(name)
        return {"x": torch.zeros(10, dtype=torch.float64)}

    claims.forget()
    monkeypatch.setattr(kept, "LIMIT", 160)
    for name in "abacab":
        Experiment(record, {"name": name})((0,))
    assert calls == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("criterion", "measured", "predicted", "margin", "text"),
    [
        (Near(abs=0.5), 1.0, 1.25, 0.25, "prediction ± 0.5"),
        (Near(rel=0.1), 90.0, 100.0, 0.0, "prediction ± 10 %"),
        (Near(rel=0.1, abs=2), 9.0, 10.0, 1.0, "prediction ± 10 %"),
        (Between(1, 2), 2.5, None, -0.5, "in [1, 2]"),
        (Below(1.0), 0.25, None, 0.75, "≤ 1"),
        (Above(1.0), 0.25, None, -0.75, "≥ 1"),
        (Exactly(), 3.0, 4.0, -1.0, "= prediction"),
    ],
)
def test_margins_and_what_a_criterion_says(criterion, measured, predicted, margin, text):
    assert criterion.margin(np.array([measured]), predicted) == pytest.approx(margin) and str(criterion) == text


def test_numbers_that_are_not_finite_are_strict_json_and_come_back():
    odd = blank(
        made(), predicted=(np.inf, -1.5), measured=(np.nan, -np.inf, 2.0), margin=-np.inf, control_measured=(1.0,)
    )
    for one in (odd, blank(made(), predicted=np.nan), row(predict=lambda record: record["value"]), row()):
        text = json.dumps(one.to_json(), allow_nan=False)
        assert str(asdict(Row.from_json(json.loads(text)))) == str(asdict(one))


def test_four_views_of_a_row_show_the_same_numbers():
    found, other = row(predict=lambda record: record["value"] + 1 / 30, control=FAR), row(predict=0.5)
    said = ("1 … 1.04", "2 … 2.04", "1.03 … 1.07", "prediction ± 0.1", "holds", "fails")
    views = [found.line(), str(found.cells()), str(found.card()), claims.table([found])]
    assert all(word in view for view in views for word in said)
    assert found.compared(other)[:4] == ("here.coin", "1 … 1.04", "1 … 1.04", "0e+00")
    assert "DIFFERS" in found.compared(other)[-1] and found.compared(found)[-1] == "same"
    assert "MISSING" in found.compared(None)[-1] and Below(1e-12).show([3e-16, 2e-15]) == "< 1e-12"


@pytest.mark.parametrize("title", [r"$|u| \le 1$", r"$\|u\| \le 1$ | beside"])
def test_a_bar_in_a_title_ends_no_cell_of_the_table(title):
    found = replace(row(), control=title)
    reads = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
    lines = reads.parse(claims.table([found]))
    cells = [one.content for before, one in itertools.pairwise(lines) if before.type == "td_open"]
    assert len(cells) == 5 and cells[4].startswith(title)


def test_the_box_says_what_is_claimed_and_what_would_contradict_it():
    words = ("A coin", "it lands", "thrown here", "another centre", "here.coin", "prediction ± 0.1")
    assert all(word in made()._repr_markdown_() for word in words)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Near(), "rel, abs"),
        (lambda: Near(rel=-1), "rel = -1"),
        (lambda: Between(2, 1), "increasing"),
        (lambda: Below(np.nan), "edge = nan"),
        (lambda: made(predict=None), "prediction ± 0.1"),
        (lambda: made(predict=None, holds=Exactly()), "= prediction"),
        (lambda: made(predict=np.inf), "predict = inf"),
        (lambda: made(predict="one"), "predict = 'one'"),
        (lambda: made(experiment=coin), "an Experiment, or a Derivation"),
        (lambda: made(read="value"), "read = 'value'"),
        (lambda: made(holds=0.1), "holds = 0.1"),
        (lambda: made(kind="odd"), "kind = 'odd'"),
        (lambda: made(quota=(0, 0)), "quota = (0, 0)"),
        (lambda: made(quota=(11, 10)), "quota = (11, 10)"),
        (lambda: made(quota=0.8), "quota = 0.8"),
        (lambda: made(cite="arora2018optimization"), "a tuple of keys"),
        (lambda: made(cite=("nobody1900nothing",)), "'nobody1900nothing'"),
        (lambda: made(state="proved"), "state = 'proved'"),
        (lambda: made(title=""), "a text"),
        (lambda: made(name=""), "a text"),
        (lambda: made(control=None), "a Control"),
        (lambda: Claim("A", "b", name="c", chapter="d"), "a Trial"),
        (lambda: made(Control("nothing")), "control 'nothing'"),
        (lambda: made(Control("the same", experiment=Experiment(coin, {}))), "control 'the same'"),
        (lambda: made(Control("quota alone", quota=(8, 10))), "control 'quota alone'"),
        (lambda: made(Control("undefined again", undefined=float("nan"))), "control 'undefined again'"),
        (lambda: made(Control("wrong", quota=(0, 0))), "quota = (0, 0)"),
        (lambda: made(Control("weak", predict=2.0, quota=(3, 10))), "ten seeds without a failure"),
        (lambda: Control("wrong", reads=coin), "control = 'reads'"),
        (lambda: Control("", predict=2.0), "a title"),
        (lambda: Experiment("coin"), "function = 'coin'"),
        (lambda: rooms.unique([made(), made(title="B")]), "claim id = 'here.coin'"),
        (lambda: rooms.unique([made(), made(name="b")]), "title = ('here', 'A coin')"),
    ],
)
def test_what_is_written_wrongly_is_refused_at_once(call, words):
    assert words in refusal(call)
