"""The explorable of chapter 1: its formulas are those of the library, and its numbers those of the library's runs."""

import math

import pytest
import sympy as sp
import torch
from explorable import opened, put, table

from attnflow import flow, runs
from attnflow.foundations import solvable, theory

import moving  # isort: skip

READ = "name => { const stage = attnflow.stages[name]; stage.refresh(); return stage.state; }"
RANGES = {
    "all": {
        **{
            "a": (-2.3, 2.3),
            "b": (-2.3, 2.3),
            "t": (0, 6),
            "lambda": (0, 0.5),
            "eta": (0, 1.2),
            "c": (0.01, 5),
            "u": (-5, 0.99),
        },
        **{"tau": (-3, 3), "y": (1, 2), "M": (1, 2), "u_0": (0.001, 2), "c_0": (-5, 5)},
    },
    "clock_balanced": {"u": (0.001, 0.99)},
}
LIBRARY = {
    "logistic": lambda t, start, y: float(theory.logistic([t], start, y)[0]),
    "law_decayed": lambda start, rate, t: start * math.exp(-2 * rate * t),
    "slope_a": lambda a, b, y, rate: (y - a * b) * b - rate * a,
    "slope_b": lambda a, b, y, rate: (y - a * b) * a - rate * b,
    "factor": lambda u, c: solvable.split(u, c)[0],
}


def test_the_clock_of_the_page_tells_the_arrival_times_of_the_library():
    """Its increments are arrival times, and the product is its inverse: what the drawing relies on, also above the target."""
    known_forms = moving.figure("foundations").closed_forms()
    clock, even, product = (sp.lambdify(*known_forms[name], "math") for name in ("clock", "clock_balanced", "product"))
    for start, c in ((0.02, 2.0), (-0.8, 0.3), (0.3, 1e-6)):
        wanted = theory.arrival_time(start, 0.5, 1.0, c)
        assert clock(c, 0.5, 1.0) - clock(c, start, 1.0) == pytest.approx(wanted, rel=1e-12)
    assert even(0.5, 1.0) - even(0.02, 1.0) == pytest.approx(theory.arrival_time(0.02, 0.5, 1.0, 0.0), rel=1e-12)
    for u in (-3.0, 0.2, 0.99, 1.5, 4.0):
        assert product(1.3, clock(1.3, u, 1.0), 1.0) == pytest.approx(u, rel=1e-9)


def two_numbers(a, b, method, step, decay, t):
    """Factors along the library's own run of the flow of two numbers, at the times of a page: (a, b)."""

    def field(state):
        rest = state["a"] * state["b"] - 1
        return rest[:, 0] ** 2 / 2, {"a": rest * state["b"], "b": rest * state["a"]}

    start = {name: torch.tensor([[value]], dtype=runs.DTYPE) for name, value in (("a", a), ("b", b))}
    kinds = {"flow": flow.RungeKutta(), "descent": flow.Descent(), "adam": flow.Optimiser(torch.optim.Adam)}
    size = 0.01 if method == "flow" else step
    times = [t] if method == "flow" else [math.floor(t / step + 1e-9) * step]
    if times == [0]:
        return a, b
    record = flow.integrate(
        flow.fields.decayed(field, decay), start, step=size, times=times, method=kinds[method], observe=lambda now: now
    )
    return float(record.values["a"][-1, 0, 0]), float(record.values["b"][-1, 0, 0])


RUNS = [
    {"a": 1.414, "b": 0.014, "method": "flow", "step": 0.1, "decay": 0, "t": 0.6},
    {"a": -0.7, "b": 1.9, "method": "flow", "step": 0.1, "decay": 0, "t": 2.4},
    {"a": 2.1, "b": 1.7, "method": "flow", "step": 0.1, "decay": 0.3, "t": 0.3},
    {"a": 0.141, "b": 0.141, "method": "descent", "step": 0.2, "decay": 0, "t": 2.0},
    {"a": 1.414, "b": 0.014, "method": "descent", "step": 0.75, "decay": 0.1, "t": 0.8},
    {"a": 1.414, "b": 0.014, "method": "adam", "step": 0.05, "decay": 0, "t": 1.5},
    {"a": -0.4, "b": -1.1, "method": "adam", "step": 0.2, "decay": 0.2, "t": 2.0},
]


@pytest.mark.browser
def test_numbers_on_the_screen_are_those_of_the_library(browser):
    page, _, complaints = opened(browser, "foundations")
    for settings in RUNS:
        shown = list(put(page, "foundations", **settings).values())
        a, b = two_numbers(**settings)
        product, start, balance, change, arrived = shown
        assert product[0] == pytest.approx(a * b, abs=1e-3), settings
        assert balance[0] == pytest.approx(a**2 - b**2, abs=1e-3), settings
        first = settings["a"] ** 2 - settings["b"] ** 2
        assert start[0] == pytest.approx(first, abs=1e-3)
        size = 0.01 if settings["method"] == "flow" else settings["step"]
        at = math.floor(settings["t"] / size + 1e-9) * size
        assert balance[1] == pytest.approx(first * math.exp(-2 * settings["decay"] * at), abs=1e-3)
        if settings["method"] == "flow" and not settings["decay"]:
            assert product[1] == pytest.approx(product[0], abs=1e-3), "the closed form is that of the run"
            assert change == [0.0, 0.0, None]
        if settings["method"] == "descent":
            assert change[0] == pytest.approx(change[1], abs=2e-5)
            assert (abs(change[0]) > 0.01) == (settings["a"] != settings["b"])
        if settings["method"] == "adam":
            assert abs(change[0] - change[1]) > 1e-3
        if settings["decay"]:
            assert product[1] is None and arrived[1] is None
    assert complaints == []


@pytest.mark.browser
def test_imbalance_is_speed_on_the_screen(browser):
    page, _, _ = opened(browser, "foundations", "t=6")
    run, predicted, ghost = table(page, "foundations")["time at which u passes y/2"]
    assert run == pytest.approx(theory.arrival_time(0.02, 0.5, 1.0, 2.0), abs=5e-3) == predicted
    assert ghost == pytest.approx(theory.arrival_time(0.02, 0.5, 1.0, 0.0), abs=5e-3)
    page.get_by_role("button", name="Same size").click()
    page.wait_for_function("attnflow.stages.foundations.state.ghost === 'size' && !attnflow.stages.foundations.dirty")
    run, _, ghost = table(page, "foundations")["time at which u passes y/2"]
    assert ghost < run


@pytest.mark.browser
def test_the_start_is_dragged_and_the_address_remembers_it(browser):
    page, _, complaints = opened(browser, "foundations")
    grip = page.locator(".explorable-grip")
    box = grip.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] - 40, steps=4)
    page.mouse.up()
    state = page.evaluate(READ, "foundations")
    assert state["a"] < 1.2 and state["b"] > 0.1
    page.wait_for_function("location.hash.startsWith('#foundations:a=')", timeout=2000)
    address = page.evaluate("location.hash")
    page.close()
    page, _, complaints = opened(browser, "foundations", address.split(":")[1])
    again = page.evaluate(READ, "foundations")
    assert (again["a"], again["b"]) == (state["a"], state["b"])
    assert complaints == []


@pytest.mark.browser
def test_an_address_that_says_nonsense_is_not_believed(browser):
    page, _, complaints = opened(browser, "foundations", "a=99,b=x,method=magic,step=-1,t=1e9,__proto__=3,other=1")
    state = page.evaluate(READ, "foundations")
    assert (state["a"], state["b"], state["method"], state["step"], state["t"]) == (2.3, 0.01414, "flow", 0.01, 6)
    assert complaints == [] and "other" not in state
