"""Figures that move: their formulas are those of the library, their numbers are those of its runs, and nobody is left out."""

import math
import re

import numpy as np
import pytest
import run as machine
import sympy as sp
import test_book as book
import torch

from attnflow import flow, runs
from attnflow.attention import Kernel
from attnflow.foundations import solvable, theory
from attnflow.kernels import landscape, plane, wells

import attnflow_closed_forms as forms  # isort: skip
import attnflow_explorables as explorables  # isort: skip

browser, site = book.browser, book.site  # fixtures
PAGES = {"foundations": "notebooks/1_foundations.html", "kernels": "notebooks/4_kernels.html"}
DRAWS = 200
READ = "name => { const stage = attnflow.stages[name]; stage.refresh(); return stage.state; }"


def opened(browser, chapter, address="", **settings):
    """The page of a chapter with its explorable in view. Returns it, its requests and its complaints."""
    page, requests, complaints = book.visit(browser, PAGES[chapter], query=f"#{chapter}:{address}", **settings)
    page.locator(f'[data-explorable="{chapter}"]').scroll_into_view_if_needed()
    return page, requests, complaints


def table(page, chapter):
    """The read-outs, label -> numbers, None where there is none."""
    rows = page.eval_on_selector_all(
        f'[data-explorable="{chapter}"] .explorable-table tbody tr',
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))",
    )
    numbers = {name: [text.replace("\u2212", "-") for text in told] for name, *told in rows}
    return {name: [None if text == "\u2013" else float(text) for text in told] for name, told in numbers.items()}


def arguments(chapter, name, count):
    """Random arguments of a closed form: (count, how many it takes), where it is defined."""
    generator = np.random.default_rng(sum(map(ord, chapter + name)))
    taken = [str(each) for each in forms.CHAPTERS[chapter]()[name][0]]
    low = {"a": -2.3, "b": -2.3, "c_0": -5, "u": -5, "tau": -3}
    high = {"a": 2.3, "b": 2.3, "t": 6, "lambda": 0.5, "eta": 1.2, "c": 5, "u": 0.99, "tau": 3, "y": 2, "u_0": 2}
    low |= {"x": -4, "s": 0.3, "zeta": 0.1}
    high |= {"x": 4, "s": 2.5, "zeta": 3}
    least = {"c": 0.01, "y": -4 if chapter == "kernels" else 1.0, "u_0": 0.001} | (
        {"u": 0.001} if name == "clock_balanced" else {}
    )
    return generator.uniform(
        [least.get(each, low.get(each, 0.0)) for each in taken],
        [high.get(each, 5.0) for each in taken],
        (count, len(taken)),
    )


def missed(kernel):
    """The loss of one query in the plane by the library: a function of (x, y, s, zeta)."""

    def loss(x, y, s, zeta):
        query, keys = (torch.tensor(each, dtype=runs.DTYPE) for each in ([x, y], [[-s, 0.0], [0.0, 0.0], [s, 0.0]]))
        values = torch.tensor([0.5, 0.0, 1.0], dtype=runs.DTYPE)
        return float(plane.output(query, keys, values, Kernel(kernel, zeta, 2 * zeta)) - 0.8) ** 2 / 2

    return loss


def known(chapter, name, rows):
    """The same closed form by Python: by the function of the library where there is one, and else by sympy."""
    library = {
        "logistic": lambda t, start, y: float(theory.logistic([t], start, y)[0]),
        "law_decayed": lambda start, rate, t: start * math.exp(-2 * rate * t),
        "slope_a": lambda a, b, y, rate: (y - a * b) * b - rate * a,
        "slope_b": lambda a, b, y, rate: (y - a * b) * a - rate * b,
        "factor": lambda u, c: solvable.split(u, c)[0],
        "loss_softmax": missed("softmax"),
        "loss_gaussian": missed("gaussian"),
        "border": lambda s, zeta: landscape.border("softmax", zeta, s),
        "threshold": lambda: wells.threshold(0.5),
    }
    taken, expression = forms.CHAPTERS[chapter]()[name]
    function = library.get(name) or sp.lambdify(taken, expression, "math")
    return [function(*map(float, row)) for row in rows]


@pytest.mark.browser
@pytest.mark.parametrize("chapter", PAGES)
def test_formulas_of_the_page_are_those_of_the_library(browser, chapter):
    page, _, _ = book.visit(browser, PAGES[chapter])
    names = page.evaluate("chapter => Object.keys(attnflow.formulas[chapter])", chapter)
    assert names == list(forms.CHAPTERS[chapter]())
    for name in names:
        rows = arguments(chapter, name, DRAWS)
        asked = [chapter, name, rows.tolist()]
        found = page.evaluate(
            "([chapter, name, rows]) => rows.map(row => attnflow.formulas[chapter][name](...row))", asked
        )
        np.testing.assert_allclose(found, known(chapter, name, rows), rtol=1e-9, atol=1e-9, err_msg=name)
    page.close()


def test_the_clock_of_the_page_tells_the_arrival_times_of_the_library():
    """Its increments are arrival times, and the product is its inverse: what the drawing relies on, also above the target."""
    known_forms = forms.foundations()
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
        address = ",".join(f"{key}={value}" for key, value in settings.items())
        page.evaluate("said => { location.hash = said; }", f"foundations:{address}")
        page.wait_for_function("t => attnflow.stages.foundations.state.t === t", arg=settings["t"])
        page.evaluate("attnflow.stages.foundations.refresh()")
        shown = list(table(page, "foundations").values())
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
    page.close()


@pytest.mark.browser
def test_wells_and_ends_of_descent_are_those_of_the_library(browser):
    """On the line of the keys, where the library knows every well; below and above the threshold of the Gaussian."""
    page, _, complaints = opened(browser, "kernels")
    for x, s, zeta in (
        (-2.0, 1.0, 1.0),
        (0.2, 1.0, 1.0),
        (-1.9, 1.0, 0.5),
        (-3.0, 2.0, 1.0),
        (2.5, 0.98, 0.89),
        (2.4, 0.98, 0.91),
    ):
        page.evaluate("said => { location.hash = said; }", f"kernels:x={x},y=0,s={s},zeta={zeta},t=1")
        page.wait_for_function(
            "want => [attnflow.stages.kernels.state.x, attnflow.stages.kernels.state.zeta].join() === want.join()",
            arg=[x, zeta],
        )
        page.evaluate("attnflow.stages.kernels.refresh()")
        shown = list(table(page, "kernels").values())
        for place, kernel in enumerate(("softmax", "gaussian")):
            query = landscape.queries(kernel, zeta, s)
            assert shown[0][place] == pytest.approx(float(query.miss(np.array([x]))[0] ** 2 / 2), abs=1e-3)
            assert shown[1][place] == pytest.approx(float(query.fate(np.array([x]))[0]), abs=1e-3), (kernel, x, s, zeta)
            assert shown[2][place] == shown[3][place] == len(query.wells), (kernel, s, zeta)
        assert shown[4][0] == pytest.approx(landscape.border("softmax", zeta, s), abs=1e-3)
    assert complaints == []
    page.close()


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
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("chapter", PAGES)
def test_every_part_is_reached_by_tab_and_moved_by_arrows(browser, chapter):
    page, _, complaints = opened(browser, chapter)
    place = f'[data-explorable="{chapter}"]'
    count = page.locator(f"{place} :is(button, select, input, [tabindex='0'])").count()
    page.locator(f"{place} button").first.focus()
    clock = page.evaluate(f"attnflow.stages.{chapter}.parts.clock")
    seen = []
    for _ in range(count):
        seen.append(
            page.evaluate(
                """() => { const on = document.activeElement; return {
                    kind: on.tagName.toLowerCase() + (on.type ? "-" + on.type : ""), role: on.getAttribute("role"),
                    inside: !!on.closest(".explorable-live"), text: on.getAttribute("aria-valuetext"),
                    name: on.getAttribute("aria-label") || on.labels?.[0]?.textContent || on.textContent}; }"""
            )
        )
        if "range" in seen[-1]["kind"] or seen[-1]["role"] == "slider":
            key = "ArrowLeft" if seen[-1]["name"] == clock else "ArrowRight"  # the clock is at its end
            page.keyboard.press(key)
            moved = "before => document.activeElement.getAttribute('aria-valuetext') !== before"
            page.wait_for_function(moved, arg=seen[-1]["text"], timeout=2000)
        page.keyboard.press("Tab")
    assert all(each["inside"] and each["name"].strip() for each in seen), seen
    controls = page.evaluate("chapter => attnflow.stages[chapter].controls.map(one => one.label)", chapter)
    assert set(controls) <= {each["name"] for each in seen}
    for each in seen:
        if each["role"] == "slider" or "range" in each["kind"]:
            assert re.search(r"\d", each["text"]), each
    told = "stages => stages.controls.filter(one => one.unit).map(one => [one.label, one.unit])"
    units = page.evaluate(f"({told})(attnflow.stages.{chapter})")
    told = {each["name"]: each["text"] for each in seen}
    assert units and all(told[label].endswith(unit) for label, unit in units)
    assert complaints == []
    page.close()


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
    page.close()


@pytest.mark.browser
def test_an_address_that_says_nonsense_is_not_believed(browser):
    page, _, complaints = opened(browser, "foundations", "a=99,b=x,method=magic,step=-1,t=1e9,__proto__=3,other=1")
    state = page.evaluate(READ, "foundations")
    assert (state["a"], state["b"], state["method"], state["step"], state["t"]) == (2.3, 0.01414, "flow", 0.01, 6)
    assert complaints == [] and "other" not in state
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("chapter", PAGES)
def test_nothing_moves_by_itself_or_out_of_view_or_where_motion_is_unwanted(browser, chapter):
    page, _, _ = opened(browser, chapter)
    frames = f"() => attnflow.stages.{chapter}.frames"
    page.wait_for_timeout(300)
    before = page.evaluate(frames)
    page.wait_for_timeout(400)
    assert page.evaluate(frames) == before, "it moves before anyone asked"
    play = page.locator(f'[data-explorable="{chapter}"] .explorable-play')
    play.click()
    page.wait_for_function(f"attnflow.stages.{chapter}.frames > {before + 3}", timeout=3000)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_function(f"!attnflow.stages.{chapter}.visible", timeout=3000)
    gone = page.evaluate(frames)
    page.wait_for_timeout(400)
    assert page.evaluate(frames) == gone and page.evaluate(f"attnflow.stages.{chapter}.playing")
    play.scroll_into_view_if_needed()
    page.wait_for_function(f"attnflow.stages.{chapter}.frames > {gone}", timeout=3000)
    page.close()

    page, _, _ = opened(browser, chapter)
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    play = page.locator(f'[data-explorable="{chapter}"] .explorable-play')
    play.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = page.evaluate(frames)
    play.click()
    page.wait_for_timeout(500)
    assert page.evaluate(f"attnflow.stages.{chapter}.playing") is False
    assert before < page.evaluate(frames) <= before + 2
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("chapter", PAGES)
def test_twenty_frames_a_second_on_a_slow_machine(browser, chapter):
    """In a Chromium that is throttled four times; a machine that is slower than that of the budget may draw as many fewer."""
    page, _, _ = opened(browser, chapter)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.locator(f'[data-explorable="{chapter}"] .explorable-play').click()
    page.wait_for_timeout(500)
    rate = page.evaluate(
        """chapter => new Promise(done => { const stage = attnflow.stages[chapter], first = stage.frames;
            const began = performance.now(), rate = () => 1000 * (stage.frames - first) / (performance.now() - began);
            setTimeout(() => done(rate()), 2000); })""",
        chapter,
    )
    page.close()
    assert rate >= 20 or rate >= 20 / machine.slowness()


@pytest.mark.browser
@pytest.mark.parametrize("chapter", PAGES)
def test_a_still_picture_serves_paper_and_pages_without_scripts(browser, chapter):
    shown = """chapter => { const figure = document.querySelector(`[data-explorable="${chapter}"]`).closest("figure");
        const seen = one => one.getBoundingClientRect().height > 50;
        return [seen(figure.querySelector(".explorable-live")), seen(figure.querySelector("img")),
            figure.querySelector("img").alt.length > 40]; }"""
    page, _, _ = opened(browser, chapter)
    assert page.evaluate(shown, chapter) == [True, False, True]
    page.emulate_media(media="print")
    assert page.evaluate(shown, chapter) == [False, True, True]
    page.close()
    page = browser.new_page()
    browser.new_cdp_session(page).send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto((book.SITE / PAGES[chapter]).as_uri())
    assert page.evaluate("typeof window.attnflow") == "undefined"
    assert page.evaluate(shown, chapter) == [False, True, True]
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width, theme", [("phone", "light"), ("desktop", "dark")])
@pytest.mark.parametrize("chapter", PAGES)
def test_phones_and_dark_pages(browser, chapter, width, theme):
    page, requests, complaints = opened(browser, chapter, width=width, theme=theme)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == [] == complaints
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1]
    page.add_script_tag(path=str(book.AXE))
    found = page.evaluate(
        "place => axe.run(place, {resultTypes: ['violations']})", f"figure:has([data-explorable={chapter}])"
    )
    assert [rule["id"] for rule in found["violations"] if rule["impact"] in ("serious", "critical")] == []
    page.close()


def test_only_pages_with_an_explorable_load_it(site):
    texts = {name: (site / name).read_text(encoding="utf-8") for name in book.built_pages()}
    loads = re.compile(
        r'(?:src|href)="[^"]*(?:jsxgraph|explorables)/(?!formulas/)'
    )  # the first page loads the slopes alone
    assert {name for name, text in texts.items() if loads.search(text)} == set(PAGES.values())


def test_scripts_hold_no_formula_of_the_library_and_the_site_has_those_of_sympy(site):
    for chapter in PAGES:
        text = (site / "explorables" / "formulas" / f"{chapter}.js").read_text(encoding="utf-8")
        assert text == explorables.script(chapter)
        own = (site / "explorables" / f"{chapter}.js").read_text(encoding="utf-8")
        assert [word for word in ("asinh", "sinh", "Math.exp", "Math.log") if word in own] == []
