"""What the tests share: one thread, so that two processes on two cores are not in each other's way, and one way to be refused."""

import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from pages import CHROMIUM, FLAGS, SITE, missing

from attnflow import runs

matplotlib.use("Agg")
torch.set_num_threads(1)
EVERY_DAY = ("test_book", "test_fit")  # files whose tests in a browser `make test` runs
COUNT = 50  # random arguments of a closed form
RNG = np.random.default_rng(0)
FIRST = RNG.bit_generator.state


def refusal(call):
    """The one line with which a call is refused as wrong use: what was given, and what is allowed."""
    with pytest.raises(runs.WrongUse, match=r"\A[^\n]+ is not allowed: it must be [^\n]+\Z") as caught:
        call()
    return str(caught.value)


@pytest.fixture
def same_numbers():
    """A test draws the same numbers from ``RNG``, whichever ran before it."""
    RNG.bit_generator.state = FIRST


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results like that of the book, seen from a folder below it."""
    (tmp_path / "results" / "room").mkdir(parents=True)
    (tmp_path / "results" / "claims.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "results" / "room")
    return tmp_path / "results"


@pytest.fixture(scope="session")
def site():
    """The folder of the built book."""
    if not (SITE / "index.html").exists():
        missing("the book is not built: make book")
    return SITE


@pytest.fixture(scope="session")
def chromium(site):
    """One browser without a network for all tests of a process: to start one takes longer than many a test."""
    if not Path(CHROMIUM).exists():
        missing("chromium is absent: the built book is not tested in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        context = play.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=FLAGS, offline=True
        )
        yield context
        context.close()


@pytest.fixture
def browser(chromium):
    """The browser; what a test has opened in it is closed after the test."""
    before = set(chromium.pages)
    yield chromium
    for page in set(chromium.pages) - before:
        page.close()


def pytest_collection_modifyitems(items):
    """Put every slow kind of test into the group of tests/budget.toml that runs it; claims of a chapter share a process."""
    for item in items:
        name = item.nodeid.split("::", 1)[-1]
        if "test_claim_is_as_stated" in name:
            item.add_marker(pytest.mark.claims)
            item.add_marker(pytest.mark.xdist_group(item.callspec.params["claim"].chapter))
        elif "test_running_again" in name:
            item.add_marker(pytest.mark.notebook)
        elif "test_wrong_calls_are_refused" in name:
            item.add_marker(pytest.mark.calls)
        elif "chromium" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.browser)
            if item.path.stem not in EVERY_DAY:
                item.add_marker(pytest.mark.reader)
