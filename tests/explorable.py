"""What the tests of all explorables share: opening one, its state, its read-outs."""

import pages

PAGES = {
    "foundations": "notebooks/1_foundations.html",
    "cooccurrence": "notebooks/2_cooccurrence.html",
    "encoder": "notebooks/3_encoder.html",
    "kernels": "notebooks/4_kernels.html",
    "meanfield": "notebooks/5_meanfield.html",
    "density": "notebooks/5_meanfield.html",
}


def opened(browser, chapter, address="", formulas=False, **settings):
    """The page of a chapter with its explorable in view, its text not typeset. Returns it, its requests and its complaints."""
    address = f"#{chapter}:{address}"
    page, requests, complaints = pages.visit(browser, PAGES[chapter], query=address, formulas=formulas, **settings)
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
