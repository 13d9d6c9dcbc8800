"""The explorable of chapter 5 on the density: its frames and its table are those of a fresh run of the library."""

import numpy as np
import pytest
import torch
from explorable import opened, put
from scipy import stats

from attnflow import flow
from attnflow.meanfield import cloud, toy, transport, volumes

from moving import density as stored  # isort: skip

END = stored.TIMES[-1]


def initial(theta):
    """The density at the start, by scipy."""
    return stats.beta.pdf((theta - volumes.CENTRE) / (2 * volumes.HALF) + 0.5, volumes.POWER, volumes.POWER) / (
        2 * volumes.HALF
    )


RANGES, LIBRARY = {"all": {"theta": (-2, 2)}}, {"initial": initial}


def fresh(decay):
    """Densities (T, J, K), objective (T,) and heads (T, J, m) of the library, at the times of the page."""
    found = transport.solve((stored.SEED,), cells=stored.CELLS, decay=decay, times=stored.TIMES, device="cpu")
    particles = cloud.quantiles(stored.HEADS * stored.SHARED).expand(1, toy.DEPTH, -1).clone()
    field = cloud.field(*toy.drawn((stored.SEED,), torch.device("cpu")), decay, volumes.Nodes())
    options = {"step": 0.25, "times": stored.TIMES, "method": flow.RungeKutta(), "observe": dict}
    heads = flow.integrate(field, {"theta": particles}, **options).values["theta"][:, 0]
    return (
        found["density"][:, 0].numpy(),
        found["objective"][:, 0].numpy(),
        heads[:, :, stored.SHARED // 2 :: stored.SHARED],
    )


@pytest.mark.browser
@pytest.mark.parametrize("decay", stored.DECAYS)
def test_frames_and_numbers_are_those_of_a_fresh_run(browser, decay):
    page, _, complaints = opened(browser, "density")
    kept = page.evaluate("attnflow.stored.density")
    (run,) = (each for each in kept["runs"] if each["decay"] == decay)
    density, objective, heads = fresh(decay)
    shown, first = np.array(run["density"]) / 1000, run["first"]
    assert not np.rint(np.delete(density, np.arange(first, first + shown.shape[2]), axis=2) * 1000).any()
    np.testing.assert_allclose(shown, density[:, :, first : first + shown.shape[2]], atol=1e-3)
    np.testing.assert_allclose(np.array(run["heads"]) / 1000, heads, atol=1e-3)
    np.testing.assert_allclose(run["objective"], objective, atol=1e-5)
    np.testing.assert_allclose(run["objective"][0] - np.array(run["paid"]), objective, atol=1e-3)
    centres = volumes.Scheme(cells=stored.CELLS).centres.numpy()
    for time, head in ((0, 1), (3.5, 7), (END, 12)):
        at = stored.TIMES.index(time)
        place, left, share, mass, square = put(page, "density", decay=f"{decay:g}", head=head, t=time).values()
        assert place == pytest.approx(heads[at, :, head - 1].tolist(), abs=1e-3)
        assert share == pytest.approx([float(cloud.shares(stored.HEADS)[head - 1])] * toy.DEPTH, abs=1e-3)
        assert left == pytest.approx(share, abs=2e-3 if decay < 0.4 or time == 0 else 0.03)
        assert mass == pytest.approx([1] * toy.DEPTH, abs=1e-3)
        wanted = density[at] @ centres**2 * (centres[1] - centres[0])
        assert square == pytest.approx(wanted.tolist(), abs=2e-3)
    assert complaints == []


@pytest.mark.browser
def test_between_two_frames_the_page_mixes_them(browser):
    page, _, _ = opened(browser, "density")
    before, after, between = (
        put(page, "density", decay="0.05", head=12, t=time)["place θ of the followed head"] for time in (2, 2.5, 2.25)
    )
    assert between == pytest.approx([(one + other) / 2 for one, other in zip(before, after, strict=True)], abs=1e-3)


def test_what_travels_with_the_page_is_small():
    import attnflow_explorables

    assert 20e3 < len(attnflow_explorables.script("density")) < 150e3
