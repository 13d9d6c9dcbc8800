"""What the tests in a browser share: where the built book lies, its pages, and opening one without a network."""

import os
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
STORED = ROOT / "results" / "claims.json"
AXE = ROOT / "tests" / "vendor" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


def missing(what):
    """Skip with one line; where CI is true a skip would hide a failure, so fail."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(what)
    pytest.skip(what)


def toc_pages():
    """The pages that the table of contents names, as addresses inside the site."""
    named = re.findall(r"^(?:root:|\s*- file:)\s*(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.M)
    return [f"{name}.html" for name in named]


def built_pages():
    """All pages of the site, the ones that Sphinx adds (search, indices) included."""
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)


def visit(browser, name, width="desktop", theme="light", query="", formulas=True):
    """Open one page and wait for its formulas. Returns the page, its requests, and what it had to complain of.

    formulas: whether they are typeset, which takes most of the time of a chapter.
    """
    page = browser.new_page()
    requests, complaints = [], []
    if not formulas:
        page.route(re.compile(r"/mathjax/tex"), lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and complaints.append(f"{message.type}: {message.text}"),
    )
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
    page.emulate_media(color_scheme=theme)
    page.goto((SITE / name).as_uri() + query)
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup ? MathJax.startup.promise : null")
    return page, requests, complaints


def barriers(page, place="html"):
    """What axe finds serious on a page or a part of it, all in the light and colours in the dark: (theme, rule, first places)."""
    page.add_script_tag(path=str(AXE))
    found = []
    for theme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # or a colour may be on its way to another
        page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        asked = [place, {"resultTypes": ["violations"]} | options]
        rules = page.evaluate("([place, options]) => axe.run(place, options)", asked)["violations"]
        serious = [rule for rule in rules if rule["impact"] in ("serious", "critical")]
        found += [(theme, rule["id"], [node["target"] for node in rule["nodes"]][:5]) for rule in serious]
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    return found
