"""What the tests of all explorables share: opening one, its state, its read-outs, its formulas against the library's."""

import math

import numpy as np
import sympy as sp
import test_book as book

import moving  # isort: skip

PAGES = {
    "foundations": "notebooks/1_foundations.html",
    "cooccurrence": "notebooks/2_cooccurrence.html",
    "encoder": "notebooks/3_encoder.html",
    "kernels": "notebooks/4_kernels.html",
    "meanfield": "notebooks/5_meanfield.html",
    "density": "notebooks/5_meanfield.html",
}
DRAWS = 200


def opened(browser, chapter, address="", formulas=False, **settings):
    """The page of a chapter with its explorable in view, its text not typeset. Returns it, its requests and its complaints."""
    address = f"#{chapter}:{address}"
    page, requests, complaints = book.visit(browser, PAGES[chapter], query=address, formulas=formulas, **settings)
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


def put(page, chapter, **settings):
    """Bring the explorable of a chapter into a state by its address, and draw it once. Returns its read-outs."""
    address = ",".join(f"{key}={value}" for key, value in settings.items())
    reached = (
        "([name, want]) => Object.entries(want).every(([key, value]) => attnflow.stages[name].state[key] === value)"
    )
    page.evaluate("said => { location.hash = said; }", f"{chapter}:{address}")
    page.wait_for_function(reached, arg=[chapter, settings])
    page.evaluate("name => attnflow.stages[name].refresh()", chapter)
    return table(page, chapter)


def compare(browser, chapter, ranges, library):
    """Every closed form of a page at 200 random arguments against the library, or against sympy where the library has none.

    ranges: name of a closed form -> name of an argument -> (low, high), under "all" for all of them; library: name of a closed
    form -> a function of the same arguments.
    """
    page, _, _ = book.visit(browser, PAGES[chapter], formulas=False)
    known = moving.figure(chapter).closed_forms()
    assert page.evaluate("chapter => Object.keys(attnflow.formulas[chapter])", chapter) == list(known)
    assert set(library) <= set(known)
    generator = np.random.default_rng(sum(map(ord, chapter)))
    for name, (taken, expression) in known.items():
        bounds = [{**ranges["all"], **ranges.get(name, {})}[str(each)] for each in taken]
        rows = generator.uniform(*np.reshape(bounds, (-1, 2)).T, (DRAWS, len(taken)))
        function = library.get(name) or sp.lambdify(taken, expression, "math")
        asked = "([chapter, name, rows]) => rows.map(row => attnflow.formulas[chapter][name](...row))"
        found = page.evaluate(asked, [chapter, name, rows.tolist()])
        wanted = [function(*map(float, row)) for row in rows]
        assert all(map(math.isfinite, wanted)), name
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9, err_msg=name)
    page.close()
