"""What is read from curves and from attention, where the answers are known."""

import math

import pytest
import torch
from conftest import refusal

from attnflow import attention, curves, runs

NAN = math.nan
WIDE = (1.6, 0.8, 0.1, 0.4, 0.2)
TIMES = [[0.0, 0.0, 0.0], [1.0, 2.0, 1.0], [2.0, NAN, 2.0]]
CURVES = [[-1.0, 1.0, 3.0], [1.0, 5.0, -1.0], [4.0, NAN, -2.0]]


def number(values):
    return torch.tensor(values, dtype=runs.DTYPE)


WINDOW = [[-9.0, 8.0], [1.0, 7.0], [3.0, 6.0], [7.0, 4.0]]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (lambda: curves.order([0.1, 0.2], number([[0.01, 0.5], [0.04, 1.0]])), [2, 1]),
        (
            lambda: curves.order(
                WIDE,
                number([[9.0, 9.0] if h > 1 else [h**2 * math.exp(3 * h), h * math.exp(h**2 - h)] for h in WIDE]),
            ),
            [2, 1],
        ),
        (lambda: curves.order(WIDE[2:], number([[h * math.exp(5 * h)] for h in WIDE[2:]])), [1]),
        (lambda: curves.log_slope([1, 10, 100], number([[1.0, 2.0], [0.1, 2.0], [0.01, 2.0]])), [-1, 0]),
        (
            lambda: curves.window_slope(number([[0.0], [1.0], [2.0], [4.0]]), number(WINDOW), number(WINDOW) > 0),
            [2, -1],
        ),
        (
            lambda: curves.first_crossing(number([0.0, 2.0, 4.0]), number([[0, 0], [0.4, 0.1], [0.6, 1.1]]), 0.5),
            [3, 2.8],
        ),
        (lambda: curves.last_crossing(number(TIMES), number(CURVES)), [0.5, 0, NAN]),
        (lambda: curves.last_crossing(number(TIMES[:2]), number([[1.0, -2.0, -3.0], [1.0, 2.0, 1.0]])), [0, 1, 0.75]),
        (lambda: curves.at(number(TIMES), number(CURVES), number([1.5, 1.0, 0.5])), [2.5, 3, 1]),
        (lambda: curves.at(number(TIMES), number(CURVES)[..., None], number([0.0, 2.0, 2.0]))[:, 0], [-1, 5, -2]),
        (lambda: curves.final(number(CURVES)), [4, 5, -2]),
        (lambda: curves.final(number(CURVES)[..., None].expand(-1, -1, 2))[:, 1], [4, 5, -2]),
        (lambda: curves.least(number(CURVES)), [-1, 1, -2]),
        (lambda: curves.most(number(CURVES)), [4, 5, 3]),
        (lambda: curves.most(number([[NAN, 1.0], [NAN, NAN]])), [NAN, 1]),
        (lambda: attention.entropy_deficit(number([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])), [0.5, 1]),
    ],
)
def test_readings_of_known_curves(found, wanted):
    assert found().tolist() == pytest.approx(wanted, nan_ok=True)


def test_a_curve_at_a_time_that_never_comes_is_nan():
    times = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert curves.at(times, 2 * times, torch.tensor([0.5, torch.nan])).tolist() == pytest.approx(
        [1.0, torch.nan], nan_ok=True
    )


def test_a_level_that_is_not_crossed_is_refused_and_the_slope_of_attention_is_that_of_autograd():
    for level in (2.0, -1.0):
        assert "crossed" in refusal(
            lambda level=level: curves.first_crossing(number([0.0, 1.0]), number([[0.0], [1.0]]), level)
        )
    assert "geometric" in refusal(lambda: curves.order([0.1, 0.2, 0.3], number([[1.0], [2.0], [3.0]])))
    logits, force = (runs.normal(runs.streams([seed], "draws"), 3, 4) for seed in (0, 1))
    weights = torch.softmax(logits.requires_grad_(), dim=-1)
    (wanted,) = torch.autograd.grad((weights * force).sum(), logits)
    assert torch.allclose(attention.softmax_slope(weights, force), wanted, atol=1e-15)
