"""The claim object, and every claim of the book on two seeds that nobody chose."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from attnflow import citations, claims
from attnflow.__main__ import registry
from attnflow.claims import Above, Below, Between, Claim, Control, Exactly, Experiment, Near

CLAIMS = registry()
LEDGER = Path(__file__).resolve().parent.parent / "results" / "claims.json"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_as_stated_and_its_control_fails(claim):
    row = claims.evaluate(claim, (300, 301), "cpu")
    assert row.consistent, row.to_json()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_in_the_ledger_as_it_is_in_the_code(claim):
    stored = {row["id"]: row for row in json.loads(LEDGER.read_text(encoding="utf-8"))["claims"]}
    assert set(stored) == {one.id for one in CLAIMS}, "run: make claims"
    row, testable = stored[claim.id], claim.state != "not testable here"
    assert (row["statement"], row["state"], row["title"]) == (claim.statement, claim.state, claim.title)
    assert row["criterion"] == (str(claim.holds) if testable else "")
    assert row["holds"] == (claim.state.startswith("reproduced")) and row["control_fails"] == testable


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_work_a_claim_cites_is_in_the_bibliography(claim):
    assert set(claim.cite) <= set(citations.entries())


def coin(seeds, device, centre=1.0):
    """A record whose number is the seed's own."""
    return {"value": torch.tensor([centre + 0.01 * (seed % 5) for seed in seeds], dtype=torch.float64)}


def made(**changes):
    settings = {
        "id": "here.coin",
        "chapter": "here",
        "title": "A coin",
        "statement": "it lands",
        "provenance": "derived here",
        "experiment": Experiment(coin),
        "predict": 1.0,
        "read": lambda record: record["value"],
        "holds": Near(abs=0.1),
        "control": Control("another centre", Experiment(coin).but(centre=2.0)),
    }
    return Claim(**(settings | changes))


def test_a_claim_that_holds_and_one_that_does_not():
    row = claims.evaluate(made(), range(10))
    assert row.holds and row.control_fails and row.consistent and row.margin == pytest.approx(0.06)
    wrong = claims.evaluate(made(predict=0.5), range(10))
    assert not wrong.holds and wrong.margin < 0 and not wrong.consistent
    assert claims.evaluate(made(predict=0.5, state="not reproduced"), range(10)).consistent


def test_a_control_that_does_not_fail_makes_the_row_inconsistent():
    row = claims.evaluate(made(control=Control("the same", Experiment(coin))), range(3))
    assert row.holds and not row.control_fails and not row.consistent


def test_nan_neither_holds_nor_fails():
    row = claims.evaluate(made(read=lambda record: record["value"] * torch.nan), range(3))
    assert not row.holds and not row.control_fails


def test_predictions_may_depend_on_the_record():
    row = claims.evaluate(made(predict=lambda record: record["value"] + 0.01), range(30))
    assert row.holds and len(row.measured) == 30 and row.margin == pytest.approx(0.09)


def test_a_quota_is_a_binomial_test():
    good = np.array([True] * 7 + [False] * 3)
    assert not claims.enough(good, "all") and claims.enough(good, (9, 10)) and not claims.enough(good, (99, 100))


def test_a_reading_must_give_one_number_a_seed():
    with pytest.raises(ValueError, match="one number a seed"):
        claims.evaluate(made(read=lambda record: record["value"].mean()), range(3))


def test_experiments_run_once_a_process():
    calls = []

    def count(seeds, device):
        calls.append(seeds)
        return seeds

    experiment = Experiment(count)
    assert experiment((1, 2)) == experiment((1, 2), "cpu") and len(calls) == 1


@pytest.mark.parametrize(
    ("criterion", "measured", "predicted", "margin"),
    [
        (Near(abs=0.5), [1.0], 1.25, 0.25),
        (Near(rel=0.1), [90.0], 100.0, 0.0),
        (Between(1, 2), [2.5], None, -0.5),
        (Below(1.0), [0.25], None, 0.75),
        (Above(1.0), [0.25], None, -0.75),
        (Exactly(), [3.0], 4.0, -1.0),
    ],
)
def test_margins(criterion, measured, predicted, margin):
    assert criterion.margin(np.array(measured), predicted) == pytest.approx(margin)
    assert str(criterion) and "\n" not in str(criterion)


def test_residuals_are_shown_as_comparisons():
    assert Below(1e-12).show([3e-16, 2e-15]) == "< 1e-12" and Below(0.1).show([0.01, 0.02]) == "0.01 … 0.02"


@pytest.mark.parametrize("changes", [{"id": "there.coin"}, {"state": "proved"}, {"control": None}])
def test_a_claim_that_is_not_well_formed_is_refused(changes):
    with pytest.raises(ValueError, match="is not allowed"):
        made(**changes)


def test_box_and_table_show_what_matters():
    box = made()._repr_markdown_()
    assert all(word in box for word in ("A coin", "it lands", "derived here", "another centre", "here.coin"))
    table = claims.table([claims.evaluate(made(), range(3))])
    assert len(table.splitlines()) == 3 and "holds" in table and "fails" in table
