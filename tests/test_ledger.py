"""The ledger: all that it says of a row follows from the numbers of the row, and no number is changed after the run."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal

from attnflow import claims, stamp
from attnflow.claims.criteria import Exactly
from attnflow.claims.evaluation import settled
from attnflow.claims.stored import read_run
from attnflow.judging import registry

LEDGER = Path(__file__).resolve().parent.parent / "results" / "claims.json"
CLAIMS = {claim.id: claim for claim in registry() if claim.testable}
VERDICTS = ("accepted", "dots", "shown", "criterion", "margin", "tightness", "holds", "good")
DERIVED = (*VERDICTS, "control_shown", "control_fails", "control_good", "kind", "seed_dependent")


@lru_cache
def rows():
    return {row.id: row for row in read_run(LEDGER)[1]}


def forecast(claim, row):
    """What was predicted for the runs of the control, (S,), from what is stored.

    A number stands in the code. A function of the record is not stored, but where the dots of a row are moved, they are
    moved by it, and where they are not it gave what it gives for the claim.
    """
    broken, measured = claim.control.of(claim.trial), np.array(row.control_measured, dtype=float)
    if not callable(broken.predict):
        return None if broken.predict is None else np.full(measured.shape, float(broken.predict))
    common = float(np.nanmean(row.predicted))
    if len(row.dots) < 2 or not broken.holds.predicts:
        return np.full(measured.shape, common)
    apart = np.array(row.dots[1]) - common
    if isinstance(broken.holds, Exactly):
        return measured - apart
    near = broken.holds
    widths = apart / max(near.abs, near.rel * abs(common))  # in half-widths, which are those of each seed
    absolute = measured - widths * near.abs
    relative = measured / (1 + widths * near.rel * np.sign(common))
    return np.where(near.abs >= near.rel * np.abs(absolute), absolute, relative)


def again(claim, row):
    """The row that the numbers of a stored one make."""
    measured = np.array(row.measured, dtype=float)
    own = None if row.predicted is None else np.broadcast_to(np.array(row.predicted, dtype=float), measured.shape)
    numbers = [(measured, own), (np.array(row.control_measured, dtype=float), forecast(claim, row))]
    return settled(claim, numbers, row.seconds)


def same(one, other, tiny=0.0):
    """Whether two entries are equal: numbers up to the rounding of another machine, and what is tiny beside the others."""
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(partial(same, tiny=tiny), one, other))
    if isinstance(one, float) and isinstance(other, (int, float)) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=tiny) or (one != one and other != other)
    return type(one) is type(other) and one == other


def odd(claim, row):
    """Names of the fields of a row that do not follow from its numbers."""
    made, stored = asdict(again(claim, row)), asdict(row)
    return [name for name in DERIVED if not same(made[name], stored[name], 1e-15 * (name == "dots"))]


def test_every_row_says_what_its_numbers_say():
    assert rows().keys() >= CLAIMS.keys(), "run: make claims"
    found = {name: odd(claim, rows()[name]) for name, claim in CLAIMS.items()}
    assert {name: fields for name, fields in found.items() if fields} == {}


def changed(value):
    """The same field with something else in it, as little as a hand would change."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * (1 + 1e-6) if math.isfinite(value) and value else 1.0
    if isinstance(value, str):
        return value.replace("1", "2") if "1" in value else value + "1"
    return 0.5 if value is None else (*value[:-1], changed(value[-1])) if len(value) else (0.5,)


KINDS = (  # a proof, an order, a law with an edge, one with a quota, moved dots, predictions of many seeds, an unmet claim
    *{claim.trial.kind: name for name, claim in CLAIMS.items()}.values(),
    next(name for name, claim in CLAIMS.items() if claim.trial.quota != "all"),
    *[name for name, claim in CLAIMS.items() if callable(claim.trial.predict)][:4],
    next(name for name, claim in CLAIMS.items() if claim.state == "not reproduced"),
)


@pytest.mark.parametrize("name", sorted(set(KINDS)))
def test_a_field_that_was_changed_is_found(name):
    claim, row = CLAIMS[name], rows()[name]
    known = set(
        odd(claim, row)
    )  # empty but for rows of a run that the code has left behind, which the test above tells
    for field in (*DERIVED, *(("predicted",) if claim.trial.holds.predicts else ())):
        value = getattr(row, field)
        if field == "dots" and value:  # those of a control whose prediction is not stored stand for it
            value = value[::-1]
        assert set(odd(claim, replace(row, **{field: changed(value)}))) - known, field
    if not isinstance(claim.trial.holds, Exactly):
        assert odd(claim, replace(row, measured=tuple(map(changed, row.measured)))), "measured"
    worst = replace(row, control_measured=row.measured)
    assert odd(claim, worst) or row.measured == row.control_measured


def places(stored):
    """Every number of the rows of a stored run, as (row, field, place in it)."""
    for at, row in enumerate(stored["claims"]):
        for field, value in row.items():
            if isinstance(value, Sequence) and not isinstance(value, str):
                yield from ((at, field, place) for place, one in enumerate(value) if isinstance(one, float))
            elif isinstance(value, float):
                yield at, field, None


def test_a_number_that_was_changed_after_the_run_is_refused(tmp_path):
    """Of a control no more than its ends and its verdict follow from its numbers: the digest of all rows keeps the others."""
    path, text = tmp_path / "claims.json", LEDGER.read_text(encoding="utf-8")
    found = list(places(json.loads(text)))
    for at, field, place in [*found[:: len(found) // 4], next(one for one in found if one[1] == "control_measured")]:
        stored = json.loads(text)
        row = stored["claims"][at]
        if place is None:
            row[field] = changed(row[field])
        else:
            row[field][place] = changed(row[field][place])
        path.write_text(json.dumps(stored), encoding="utf-8")
        assert refusal(lambda: read_run(path)).startswith(f"digest of {path} = ")
    stored = json.loads(text)
    del stored["digest"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert "digest" in refusal(lambda: read_run(path))


QUICK, SAMPLE = 0.5, 4  # seconds that a row took, and how many of these rows are run again


def functions(claim):
    """What a claim and its control run; records of one function may be shared by rows, of which the first one paid."""
    return {claim.trial.experiment.function, claim.control.of(claim.trial).experiment.function}


def quick():
    """Names of the claims that run in a moment, whatever was run before."""
    slow = set().union(*(functions(claim) for name, claim in CLAIMS.items() if rows()[name].seconds > QUICK))
    return [name for name, claim in CLAIMS.items() if not functions(claim) & slow and claim.trial.seeded]


def sample():
    """Rows that are run again: other ones with every change of the code, the same ones for the same code."""
    code = stamp.code(stamp.library())
    return sorted(quick(), key=lambda name: hashlib.sha256(f"{code} {name}".encode()).digest())[:SAMPLE]


@pytest.mark.claims
def test_a_sample_of_rows_gives_the_stored_numbers_again():
    """A residual of rounding errors is another one on another machine."""
    first, last = map(int, read_run(LEDGER)[0]["seeds"].split(":"))
    assert len(sample()) == SAMPLE
    for name in sample():
        stored, found = rows()[name], claims.evaluate(CLAIMS[name], range(first, last), "cpu")
        for field in ("measured", "control_measured"):
            one, other = getattr(found, field), getattr(stored, field)[: last - first]
            assert np.allclose(one, other, rtol=1e-6, atol=1e-12, equal_nan=True), (name, field)
