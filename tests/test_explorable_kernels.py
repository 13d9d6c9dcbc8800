"""The explorable of chapter 4: its formulas are those of the library, and so are the wells and the ends of descent."""

import numpy as np
import pytest
import torch
from explorable import opened, put

from attnflow import runs
from attnflow.attention import Kernel
from attnflow.kernels import landscape, plane, wells

RANGES = {"all": {"x": (-4, 4), "y": (-4, 4), "s": (0.3, 2.5), "zeta": (0.1, 3)}}


def missed(kernel):
    """The loss of one query in the plane by the library: a function of (x, y, s, zeta)."""

    def loss(x, y, s, zeta):
        query, keys = (torch.tensor(each, dtype=runs.DTYPE) for each in ([x, y], [[-s, 0.0], [0.0, 0.0], [s, 0.0]]))
        values = torch.tensor([0.5, 0.0, 1.0], dtype=runs.DTYPE)
        return float(plane.output(query, keys, values, Kernel(kernel, zeta, 2 * zeta)) - 0.8) ** 2 / 2

    return loss


LIBRARY = {
    "loss_softmax": missed("softmax"),
    "loss_gaussian": missed("gaussian"),
    "border": lambda s, zeta: landscape.border("softmax", zeta, s),
    "threshold": lambda: wells.threshold(0.5),
}


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
        shown = list(put(page, "kernels", x=x, y=0, s=s, zeta=zeta, t=1).values())
        for place, kernel in enumerate(("softmax", "gaussian")):
            query = landscape.queries(kernel, zeta, s)
            assert shown[0][place] == pytest.approx(float(query.miss(np.array([x]))[0] ** 2 / 2), abs=1e-3)
            assert shown[1][place] == pytest.approx(float(query.fate(np.array([x]))[0]), abs=1e-3), (kernel, x, s, zeta)
            assert shown[2][place] == shown[3][place] == len(query.wells), (kernel, s, zeta)
        assert shown[4][0] == pytest.approx(landscape.border("softmax", zeta, s), abs=1e-3)
    assert complaints == []
