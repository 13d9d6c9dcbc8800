"""What the tests share: one thread, so that two processes on two cores are not in each other's way, and one way to be refused."""

import matplotlib
import pytest
import torch

from attnflow import runs

matplotlib.use("Agg")
torch.set_num_threads(1)


def refused(call, words):
    """Assert that a call is refused as wrong use, in one line that has these words in it."""
    with pytest.raises(runs.WrongUse, match="is not allowed: it must be") as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def pytest_collection_modifyitems(items):
    """Put every slow kind of test into the group of tests/budget.toml that runs it; claims of a chapter share a process."""
    for item in items:
        name = item.nodeid.split("::", 1)[-1]
        if "test_claim_is_as_stated" in name:
            item.add_marker(pytest.mark.claims)
            item.add_marker(pytest.mark.xdist_group(item.callspec.params["claim"].chapter))
        elif "test_running_again" in name:
            item.add_marker(pytest.mark.notebook)
        elif "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
