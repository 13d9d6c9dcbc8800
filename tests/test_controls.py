"""The book's controls: each breaks one assumption, and what cannot be told so is rare and says why."""

from itertools import permutations

import numpy as np
import pytest

from attnflow.claims import Above, Below, Between, Control, Derivation, Exactly, Near, kinds
from attnflow.judging import registry

TESTABLE = [claim for claim in registry() if claim.testable]
READ = ("read", "holds", "predict")
RARE = 0.1  # share of the controls that may change more than one assumption, or what is read


def departs(claim):
    """Whether a control does more than break one assumption: it changes what is read, or several settings, or the function."""
    other = claim.control.differs(claim.trial)
    return len(other) != 1 or other[0] in (*READ, "function")


@pytest.mark.parametrize("claim", TESTABLE, ids=lambda claim: claim.id)
def test_a_control_breaks_one_assumption_or_says_why_not(claim):
    assert bool(claim.control.because) == departs(claim), claim.control.differs(claim.trial)
    assert not claim.control.because or claim.control.because[0].isupper()


def test_controls_that_break_more_than_one_assumption_are_rare():
    odd = [claim.id for claim in TESTABLE if departs(claim)]
    assert len(odd) <= RARE * len(TESTABLE), odd


def test_no_two_claims_are_each_other_s_only_control():
    def same(one, two):
        return (one.experiment, one.read) == (two.experiment, two.read) and one.seeded

    pairs = [
        (one.id, two.id)
        for one, two in permutations(TESTABLE, 2)
        if same(one.control.of(one.trial), two.trial) and same(two.control.of(two.trial), one.trial)
    ]
    assert not pairs


def test_what_a_control_changes_is_told():
    trial = kinds.proof(lambda sign=1, size=1: sign > 0, sign=1)
    assert Control("the other sign", {"sign": -1}).differs(trial) == ("sign",)
    assert Control("two", {"sign": -1, "size": 3}).differs(trial) == ("sign", "size")
    assert Control("a prediction", predict=0.0).differs(trial) == ("predict",)
    assert Control("another", experiment=Derivation(float)).differs(trial) == ("function",)


@pytest.mark.parametrize(
    ("criterion", "measured", "predicted", "tightness"),
    [
        (Near(abs=0.5), [1.0, 1.0], 1.25, 0.5),
        (Near(rel=0.1), [1.0, 1.1], 1.0, 1.5),
        (Between(1, 2), [1.125, 1.125], None, 0.75),
        (Below(2.0), [0.5, 1.0], None, 0.625),
        (Above(1.0), [2.0, 4.0], None, 1.0),
        (Above(1.0), [1.0, 4.0], None, np.inf),
        (Below(-1.0), [-2.0, -2.0], None, 0.5),
        (Above(1.0), [np.inf, 4.0, np.nan], None, 0.25),
        (Exactly(), [1.0], 1.0, None),
    ],
)
def test_tightness_is_the_part_of_the_room_that_is_filled(criterion, measured, predicted, tightness):
    assert criterion.tightness(np.array(measured), predicted) == (tightness and pytest.approx(tightness))
