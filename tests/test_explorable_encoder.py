"""The explorable of chapter 3: its formulas are the library's, whose net agrees on the page's weights."""

import base64

import numpy as np
import pytest
import torch
from explorable import opened, put

from attnflow import attention, curves, ntk, runs
from attnflow.encoder import kernel, model, theory

from moving import encoder as figure  # isort: skip

DRAWS, WIDEST = 30, 1024
AS_TEXT = """() => { const bytes = new Uint8Array(attnflow.stages.encoder.weights.buffer), parts = [];
    for (let at = 0; at < bytes.length; at += 8192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
    return btoa(parts.join("")); }"""
RANGES = {
    "all": {
        **{"k": (16, 1024), "s": (0.25, 1.25), "u": (1e-9, 1), "log2_k": (4, 10), "x": figure.VARIANCES},
        **{"size": (0.01, 1), "cosine": (-1, 1)},
        **{f"z{place}": (-9, 9) for place in range(4)},
        **{f"p{place}": (1e-9, 1) for place in range(4)},
    }
}


def tensor(*values):
    return torch.tensor(values, dtype=runs.DTYPE)


def both_kernels(size, cosine):
    """The kernel of neurons at two vectors of some lengths' product and cosine, by the library."""
    zeroth, first = ntk.arc_cosine(tensor([size, 0.0]), tensor([cosine, (1 - cosine**2) ** 0.5]))
    return float(first + zeroth * size * cosine)


LIBRARY = {
    "tau_0": lambda k, s: k**-s,
    "share": lambda *logits: float(torch.softmax(tensor(*logits), dim=0)[0]),
    "deficit_of": lambda *shares: float(attention.entropy_deficit(tensor([list(shares)]))[0]),
    "log_variance": lambda s, doublings: theory.logit_power(s) * doublings,
    "neurons": both_kernels,
    "limit": lambda: float(kernel.limit(figure.TOKENS)[0, 0, 1]),
    "spread": lambda k, s: ((1 - np.pi**-2) / 64 / k + k ** (1 - 2 * s) / 512) ** 0.5,  # as the page has it
    "apart": lambda k, s: (k ** (1 - 2 * s) / 512) ** 0.5,
}


def test_the_predicted_deficit_is_that_of_the_library():
    """The page has a polynomial for the mean that the library takes over draws."""
    (x,), expression = figure.closed_forms()["deficit"]
    powers = np.random.default_rng(3).uniform(*figure.VARIANCES, 40)
    found = [float(expression.subs(x, power)) for power in powers]
    np.testing.assert_allclose(found, theory.deficit(2.0**powers, 4), rtol=1e-3)


def draws(scaling, width, count=1500):
    """One entry of the kernel over fresh draws of the library, and its closed form given the attention."""
    net, inputs = model.Encoder(d=4, width=width, init="ntk", scaling=scaling), figure.TOKENS.repeat(count, 1, 1, 1)
    state = model.init(runs.streams(range(count), "explorable", width), net)
    given = kernel.given_attention(model.attention(state, inputs, net), inputs)
    return kernel.empirical(state, inputs, net)[:, 0, 1], given[:, 0, 1]


@pytest.mark.parametrize("scaling", [0.5, 0.75, 1.0])
def test_draws_of_the_library_spread_as_the_page_predicts(scaling):
    """To leading order in the logits; 1500 draws know a spread to about two per cent."""
    whole, apart = (LIBRARY[name](256, scaling) for name in ("spread", "apart"))
    entries, given = draws(scaling, 256)
    assert float(entries.std()) == pytest.approx(whole, rel=0.15)
    assert float(given.std()) == pytest.approx(apart, rel=0.1)


def weights_of(page):
    """The weights that a page has drawn: name -> (draws, 4, widest), and W_O (draws, widest, 1)."""
    flat = np.frombuffer(base64.b64decode(page.evaluate(AS_TEXT)))  # a list of as many numbers takes seconds
    one = torch.tensor(flat, dtype=runs.DTYPE).reshape(DRAWS, WIDEST, 13)
    parts = {"W_Q": one[..., :4], "W_K": one[..., 4:8], "W_V": one[..., 8:12]}
    return {name: part.mT for name, part in parts.items()} | {"W_O": one[..., 12:]}


def by_library(weights, width, scaling):
    """Deficit, kernel entry and its closed form given the attention, (draws,) each, and the attention of the first."""
    net, inputs = model.Encoder(d=4, width=width, init="ntk", scaling=scaling), figure.TOKENS.repeat(DRAWS, 1, 1, 1)
    state = {name: each[:, :width] if name == "W_O" else each[..., :width] for name, each in weights.items()}
    shares = model.attention(state, inputs, net)
    given, whole = kernel.given_attention(shares, inputs)[:, 0, 1], kernel.empirical(state, inputs, net)[:, 0, 1]
    return {"deficit": attention.entropy_deficit(shares), "entry": whole, "given": given}, shares[0, 0]


STATES = [(0.5, 1, 6), (1.0, 1, 3.3), (0.75, 1, 0), (0.25, 99, 6), (1.25, 99, 4.71)]


@pytest.mark.browser
def test_the_net_of_the_page_is_that_of_the_library(browser):
    """With the weights of the page the library finds each of thirty draws, to rounding, and what the table shows."""
    page, _, complaints = opened(browser, "encoder")
    exported = {}
    for s, seed, t in STATES:
        shown = list(put(page, "encoder", s=s, seed=seed, t=t).values())
        if seed not in exported:
            exported[seed] = weights_of(page)
        width, weights = round(2 ** (4 + t)), exported[seed]
        wanted, shares = by_library(weights, width, s)
        now = page.evaluate("attnflow.stages.encoder.now")
        for name, values in wanted.items():
            np.testing.assert_allclose(now[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(now["shares"], shares.flatten(), rtol=1e-9)
        widths = [2**power for power in range(4, 11)]
        rows = [by_library(weights, each, s)[0] for each in widths]
        slopes = {
            name: curves.log_slope(widths, torch.stack([row[name].std() for row in rows])[:, None]) for name in wanted
        }
        known = theory.deficit([width ** theory.logit_power(s)], 4)[0]
        spreads = [LIBRARY[name](width, s) if s >= 0.5 else None for name in ("spread", "apart")]
        assert shown[0] == [width, None]
        assert shown[1] == pytest.approx([float(wanted["deficit"].mean()), known], abs=1e-3)
        assert shown[2][0] == pytest.approx(float(wanted["entry"].mean()), abs=1e-3)
        assert shown[2][1] == (pytest.approx(LIBRARY["limit"](), abs=1e-5) if s > 0.5 else None)
        for row, slope, name, law in ((3, 4, "entry", spreads[0]), (5, 6, "given", spreads[1])):
            assert shown[row][0] == pytest.approx(float(wanted[name].std()), abs=1e-5)
            assert shown[row][1] == (law and pytest.approx(law, abs=1e-5))
            assert shown[slope][0] == pytest.approx(float(slopes[name]), abs=1e-3)
        assert shown[6][1] == (pytest.approx(0.5 - s, abs=1e-3) if s >= 0.5 else None)
    assert complaints == []


@pytest.mark.browser
def test_draws_of_the_page_are_normal_and_a_button_draws_others(browser):
    page, _, complaints = opened(browser, "encoder")
    first = torch.cat([each.flatten() for each in weights_of(page).values()])
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert float((first**power).mean()) == pytest.approx(moment, abs=0.05)
    ordered = first.sort().values
    normal = torch.special.ndtr(ordered) - torch.linspace(0, 1, len(ordered), dtype=runs.DTYPE)
    assert float(normal.abs().max()) < 2 / len(ordered) ** 0.5
    page.get_by_role("button", name="New draw").click()
    page.wait_for_function("attnflow.stages.encoder.seed === 2 && location.hash.endsWith('seed=2')", timeout=20000)
    second = torch.cat([each.flatten() for each in weights_of(page).values()])
    assert abs(float((first * second).mean())) < 0.01
    assert complaints == []


@pytest.mark.browser
def test_draws_become_one_number_at_s_1_and_do_not_at_one_half(browser):
    page, _, _ = opened(browser, "encoder")
    found = {}
    for s in (0.5, 1):
        for t in (0, 6):
            put(page, "encoder", s=s, seed=1, t=t)
            found[s, t] = np.std(page.evaluate("attnflow.stages.encoder.now.entry"))
    assert found[1, 6] < found[1, 0] / 4 and found[0.5, 6] > found[0.5, 0] / 2
