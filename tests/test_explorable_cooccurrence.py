"""The explorable of chapter 2: its formulas and its flow are those of the library, its limit is the dual of drawn data."""

import numpy as np
import pytest
import sympy as sp
from explorable import opened, put

from attnflow import runs
from attnflow.cooccurrence import balance, dual, reduced, task

import moving  # isort: skip

RANGES = {
    "all": {
        **{"n": (6, 150), "L": (3, 10), "m": (-5, 25)},
        **{f"gamma_{place}": (-6, 6) for place in range(1, 8)},
        **{f"{name}_{place}": (0.02, 1) for name in "fgs" for place in range(1, 5)},
    }
}
LIBRARY = {
    "ratio": balance.ratio,
    "derivative": lambda m: 1 / (1 + np.exp(m)),
    "samples": lambda: task.Task().samples,
    "length": lambda: task.Task().length,
    "low": lambda: balance.RANGE[0],
    "high": lambda: balance.RANGE[1],
}
EQUAL = (3, 1, 1, 1)
DATA = (  # n, L, sizes of the classes, and the decade of tau at which the screen is read
    (60, 5, EQUAL, 0.5),
    (60, 5, EQUAL, 5),
    (12, 5, EQUAL, 3),
    (6, 10, EQUAL, 0.2),
    (84, 8, EQUAL, 4),
    (150, 3, EQUAL, 1.37),
    (60, 5, (2, 3, 3, 2), 1),
    (60, 5, (10, 7, 1, 2), 2.2),
    (30, 5, (1, 3, 3, 3), 5),
)


def fractions(sizes):
    return tuple(size / sum(sizes) for size in sizes)


def lengths(flow, scores):
    """Of the vector of all token scores, which the law of a moving readout knows: R^2 - R = a |gamma|^2."""
    law = reduced.Reduced(flow.samples, flow.length, flow.fractions, growth=1.0)
    readout = law.readout(scores)
    return np.sqrt(readout**2 - readout)


def hard_margin(n, length, sizes):
    """The dual of drawn data: shares of the classes, their ratio, and the least distance of each class from the plane."""
    asked = task.Task(n, length, fractions(sizes))
    tokens, labels = task.draw(runs.streams([0], "data"), asked)
    found = dual.separate(task.counts(tokens, asked.size)[0], labels[0])
    sums, classes = found.sums(asked.classes), np.asarray(asked.classes)
    far = [found.margins[classes == each].min() / np.linalg.norm(found.weights) for each in range(4)]
    return sums / sums.sum(), balance.ratio(*map(float, sums)), far


def test_margins_and_velocity_are_those_of_the_reduced_flow():
    known = {name: sp.lambdify(*each, "math") for name, each in moving.figure("cooccurrence").closed_forms().items()}
    generator = np.random.default_rng(2)
    for n, length, sizes, _ in DATA:
        flow = reduced.Reduced(n, length, fractions(sizes))
        for scores in generator.normal(size=(200, 7)):
            margins = [known[f"margin_{place}"](*scores, length) for place in range(1, 5)]
            pulls = map(known["derivative"], margins)
            rest = (*pulls, *flow.fractions, n)
            velocity = [known[f"along_{place}"](*rest) for place in range(1, 8)]
            np.testing.assert_allclose(margins, flow.margins(scores), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(velocity, flow.velocity(0.0, scores), rtol=1e-9, atol=1e-9)
            norm = known["norm"](*scores, n, length, *flow.fractions)
            assert norm == pytest.approx(lengths(flow, scores), rel=1e-9)


def test_the_limit_for_equal_classes_is_that_of_the_chapter():
    known, shares = (
        moving.figure("cooccurrence").closed_forms(),
        [sp.nsimplify(share, rational=True) for share in (1 / 2, *[sp.Rational(1, 6)] * 3)],
    )
    for name, place, active in (("slack", "slack", False), ("second_idle", "s_2", False), ("third_idle", "s_2", False)):
        _check(known[name], shares, balance.limit(active)[place])
    for name, place in (("second_active", "s_2"), ("third_active", "s_2"), ("fourth_active", "s_4")):
        _check(known[name], shares, balance.limit(True)[place])


def _check(form, shares, wanted):
    (_, _, *parts), expression = form
    assert sp.simplify(expression.subs(dict(zip(parts, shares, strict=True))) - wanted) == 0


@pytest.mark.browser
def test_numbers_on_the_screen_are_those_of_the_reduced_flow_and_of_the_dual(browser):
    page, _, complaints = opened(browser, "cooccurrence")
    for n, length, sizes, t in DATA:
        named = {f"w{place}": size for place, size in enumerate(sizes, start=1)}
        *shares, least, fourth, rho, tau, end = put(page, "cooccurrence", n=n, L=length, t=t, **named).values()
        flow = reduced.Reduced(n, length, fractions(sizes))
        solved, marks = flow.solve([0.0, 10.0**t]), flow.landmarks(1e5)
        sums, far = solved["sums"][1], solved["margins"][1] / lengths(flow, solved["gamma"][1])
        wanted, ratio, ends = hard_margin(n, length, sizes)
        told = (n, length, sizes, t)
        assert [now for now, _ in shares] == pytest.approx(sums / sums.sum(), abs=1e-3), told
        assert [limit for _, limit in shares] == pytest.approx(wanted, abs=1e-3), told
        assert least == pytest.approx([far.min(), min(ends)], abs=1e-3), told
        assert fourth == pytest.approx([far[3], ends[3]], abs=1e-3), told
        assert tau[0] == pytest.approx(10.0**t, abs=0.06)
        first = marks["tau_1"]["tau"] if "tau_1" in marks else 0
        assert end == [pytest.approx(first, abs=1e-3, rel=1e-4) if first else None, None], told
        seen = pytest.approx(float(solved["rho"][1]), abs=1e-3) if 10.0**t > first else None
        assert rho == [seen, pytest.approx(ratio, abs=1e-3)], told
    assert complaints == []


@pytest.mark.browser
def test_lines_of_the_map_are_those_of_the_chapter(browser):
    page, _, _ = opened(browser, "cooccurrence")
    drawn = """() => attnflow.stages.cooccurrence.boards.map.objectsList.filter(one => one.elType === "curve")
        .map(one => [one.dataX, one.dataY])"""
    (ones, lengths_of_ones), (silent, lengths_of_silent) = page.evaluate(drawn)
    zero, edge = (
        sp.lambdify((balance.SAMPLES, balance.LENGTH), each) for each in (balance.lower_end(), balance.edge())
    )
    assert ones == pytest.approx([float(zero(0, length)) for length in lengths_of_ones], abs=1e-3)
    for n, length in zip(silent, lengths_of_silent, strict=True):
        assert edge(n - 1e-3, length) < 0 < edge(n + 1e-3, length)


@pytest.mark.browser
def test_the_dot_of_the_map_is_moved_by_whole_samples_and_words(browser):
    page, _, complaints = opened(browser, "cooccurrence", "n=41.6,L=6.2,t=5")
    state = page.evaluate("(({ n, L }) => [n, L])(attnflow.stages.cooccurrence.state)")
    assert state == [42, 6]
    grip = page.locator('[data-explorable="cooccurrence"] .explorable-grip')
    grip.focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("attnflow.stages.cooccurrence.data.n === 32 && attnflow.stages.cooccurrence.data.L === 7")
    assert grip.get_attribute("aria-valuetext") == "n = 32.000, L = 7.000"
    assert complaints == []
