"""The explorable of chapter 5 on the collapse: branches, ends, landscape and the state that follows are the library's."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from explorable import opened, put
from scipy.optimize import minimize_scalar

from attnflow import flow, runs
from attnflow.meanfield import scalar

import moving  # isort: skip

CASE = {scalar.GAIN: 1, scalar.TARGET: 1}
NUDGE = 1e-3  # of the page: the least size of a factor when its decay changes
RANGES = {
    "all": {"v": (0.05, 1.2), "q": (0.05, 1.2), "a": (0.3, 0.9), "N": (1, 9), "lambda": (0.05, 1.25), "u": (0.01, 1)}
}
UPPER, END = (
    sp.lambdify((scalar.OUTPUT, scalar.COUNT), each.subs(CASE)) for each in (scalar.upper(), scalar.fold()[1])
)


def slopes(state, plain, heads, decay):
    """What the output misses, and the slope of the objective by each of the four factors of one head of N, by hand."""
    v, o, q, k = (state[name] for name in "voqk")
    gain = plain + heads * q * k
    miss = v * o * gain - 1
    by = {"v": miss * o * gain, "o": miss * v * gain, "q": miss * v * o * heads * k, "k": miss * v * o * heads * q}
    return miss, {name: slope + decay * state[name] for name, slope in by.items()}


def followed(plain, heads, decay, factors, time=400.0):
    """Factors v and q at rest, by the library's integration from balanced ``factors``; arrays (S,). Returns them and u, (S,)."""
    plain, heads, decay, *factors = (
        torch.tensor(each, dtype=runs.DTYPE)[:, None] for each in (plain, heads, decay, *factors)
    )
    value, query = (each.clamp_min(NUDGE) for each in factors)
    start = {"v": value, "o": value.clone(), "q": query, "k": query.clone()}

    def field(state):
        miss, by = slopes(state, plain, heads, decay)
        size = sum(each**2 for each in state.values())
        return (miss**2 / 2 + decay * size / 2)[:, 0], by

    found = flow.integrate(field, start, step=0.2, times=[time], method=flow.RungeKutta()).state
    output = found["v"] * found["o"] * (plain + heads * found["q"] * found["k"])
    return tuple(each[:, 0].numpy() for each in (found["v"], found["q"], output))


def cheapest(u, a, N):
    """The least B + M/N with the output u, by search between its ends and at the one where M is 0."""

    def cost(out):
        return out + (u / out - a) / N

    return min(minimize_scalar(cost, bounds=(1e-3 * u, u / a), options={"xatol": 1e-11}).fun, u / a)


def along(name):
    """Minus the slope by a factor, where both pairs are balanced: a function of the arguments of the page."""

    def downhill(v, q, a, heads, decay):
        return -slopes({"v": v, "o": v, "q": q, "k": q}, a, heads, decay)[1][name]

    return downhill


def known(name, *arguments):
    """A closed form of the page by sympy, at arrays of ``arguments``."""
    return np.vectorize(sp.lambdify(*moving.figure("meanfield").closed_forms()[name], "math"))(*arguments)


LIBRARY = {
    "along_v": along("v"),
    "along_q": along("q"),
    "output": lambda v, q, a, N: v**2 * (a + N * q**2),
    "branch": lambda u, a, N: a * (1 - u) if u <= a**2 / N else UPPER(u, N),
    "landscape": lambda u, a, N, decay: (1 - u) ** 2 / 2 + decay * cheapest(u, a, N),
    "fold": lambda: float(scalar.fold()[0].subs(CASE)),
    "end": lambda N: END(0, N),
    "critical": lambda a: a,
    "band": lambda N: math.sqrt(N / scalar.ABOVE),
    "bistable": lambda N: math.sqrt(N / scalar.ANYWHERE),
}


def test_every_point_of_the_branch_is_a_rest_of_the_flow():
    for u, a, heads in ((0.9, 0.5, 4), (0.2, 0.5, 4), (0.04, 0.5, 4), (0.4, 0.8, 1)):
        at = known("split_v", u, a, heads), known("split_q", u, a, heads)
        decay = known("branch", u, a, heads)
        assert known("output", *at, a, heads) == pytest.approx(u, rel=1e-12)
        assert [float(known(f"along_{name}", *at, a, heads, decay)) for name in "vq"] == pytest.approx(
            [0, 0], abs=1e-12
        )


STATES = [  # heads, a, decay, output at the start
    (4, 0.5, 0.4, 0.77),
    (4, 0.5, 0.6, 0.1),
    (4, 0.5, 0.6, 0.14),
    (4, 0.5, 0.8, 0.9),
    (4, 0.5, 0.48, 0.02),
    (4, 0.5, 0.44, 0.0),
    (9, 0.3, 1.1, 0.3),
    (1, 0.8, 0.6, 0.9),
    (1, 0.5, 0.2, 0.1),
]


@pytest.mark.browser
def test_the_state_rests_where_the_flow_of_the_library_does(browser):
    page, _, complaints = opened(browser, "meanfield")
    heads, plain, decay, start = np.array(STATES).T
    factors = known("split_v", start, plain, heads), known("split_q", start, plain, heads)
    *_, wanted = followed(plain, heads, decay, factors)
    for (count, a, rate, u), rest in zip(STATES, wanted, strict=True):
        shown = list(put(page, "meanfield", heads=count, a=a, decay=rate, u=u, t=1).values())
        assert shown[0][0] == pytest.approx(rest, abs=1e-3), (count, a, rate, u)
        if rest > 0.01:
            assert shown[1] == pytest.approx([rate, rate], abs=1e-3)
        assert shown[2] == pytest.approx([a, a], abs=4e-3)
        if 3 * a**2 < count:
            assert shown[4] == pytest.approx([END(0, count)] * 2, abs=4e-3)
            assert shown[3][0] == pytest.approx(shown[3][1], abs=4e-3)
        else:
            assert shown[3] == shown[4] == [None, None]
    assert complaints == []


@pytest.mark.browser
def test_the_scan_takes_the_branches_that_the_library_takes(browser):
    """Up and down, decay after decay: every fortieth of the page is reached by the library from the one before."""
    page, _, _ = opened(browser, "meanfield")
    nets, every = ((0.5, 4), (0.3, 9), (0.8, 1)), 40
    scans = []
    for a, heads in nets:
        put(page, "meanfield", a=a, heads=heads)
        scans.append(page.evaluate("(({across, up}) => [across, up])(attnflow.stages.meanfield.scan)"))
    decays = np.array(scans[0][0][::every])[: len(scans[0][0]) // every // 2 + 1]
    assert (decays[0], decays[-1]) == pytest.approx((0.05, 1.25))
    plain, heads = np.array([*nets, *nets]).T  # three runs up and three down, side by side
    start = np.array([1.0] * 3 + [0.0] * 3)
    now = known("split_v", start, plain, heads), known("split_q", start, plain, heads)
    seen = []
    for up, down in zip(decays, decays[::-1], strict=True):
        *now, output = followed(plain, heads, np.array([up] * 3 + [down] * 3), now)
        seen.append(output)
    for place, (_, outputs) in enumerate(scans):
        half = len(outputs) // 2
        np.testing.assert_allclose(outputs[:half][::every], np.array(seen)[:, place], atol=1e-3)
        np.testing.assert_allclose(outputs[half:][::every], np.array(seen)[:, place + 3], atol=1e-3)


@pytest.mark.browser
def test_dragged_there_and_back_it_stands_on_another_branch(browser):
    """At a decay of 0.6, from below it and from above it; the pointer itself stays high all the time."""
    page, _, complaints = opened(browser, "meanfield")
    page.locator('[data-explorable="meanfield"] .explorable-diagram').scroll_into_view_if_needed()
    grip = page.locator('[data-explorable="meanfield"] .explorable-grip').bounding_box()
    board = page.locator("#meanfield-diagram").bounding_box()
    unit, left = board["width"] / 1.42, board["x"] + 0.12 * board["width"] / 1.42
    height = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, height)
    page.mouse.down()
    rests = []
    for decay in (0.6, 0.9, 0.6, 0.4):
        page.mouse.move(left + decay * unit, height, steps=6)
        page.wait_for_function(f"Math.abs(attnflow.stages.meanfield.state.decay - {decay}) < 0.01", timeout=2000)
        rests.append(page.evaluate("(stage => { stage.refresh(); return stage.rest; })(attnflow.stages.meanfield)"))
    page.mouse.up()
    assert rests == pytest.approx([0.60, 0, 0, 0.77], abs=0.03) and complaints == []
