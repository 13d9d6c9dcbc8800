"""Four kernels of attention: what they are, and the slope of a loss through them."""

import pytest
import torch
from conftest import refusal

from attnflow import flow, runs
from attnflow.attention import KERNELS, LARGEST, Kernel

SETTINGS = {"c": 0.7, "beta": 1.3}


def drawn(std=1.0, length=3, others=4, width=2):
    streams = runs.streams((0, 1), "draws")
    return runs.normal(streams, length, width, std=std), runs.normal(streams, others, width, std=std)


def plain(name, query, key, scale):
    """The weight of one query and one key, before any row sum."""
    distance = sum((one - other) ** 2 for one, other in zip(query, key, strict=True))
    product = sum(one * other for one, other in zip(query, key, strict=True))
    return torch.exp(-scale * 0.7 * distance if "gaussian" in name else scale * 1.3 * product)


@pytest.mark.parametrize("name", KERNELS)
def test_weights_are_those_of_the_slow_double_loop(name):
    queries, keys = drawn()
    slow = torch.stack([torch.stack([plain(name, query, key, 0.8) for key in keys[1]]) for query in queries[1]])
    wanted = slow / slow.sum(dim=1, keepdim=True) if name in ("softmax", "normalised_gaussian") else slow
    assert torch.allclose(Kernel(name, **SETTINGS).weights(queries, keys, 0.8)[1], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_slopes_are_those_of_autograd(name):
    queries, keys = drawn()
    kernel, (aim,) = Kernel(name, **SETTINGS), runs.normal(runs.streams((2,), "draws"), 2, 3, 4)
    field = flow.autograd(lambda state: (kernel.weights(state["q"], state["k"], 0.8) * aim).sum(dim=(1, 2)))
    wanted = field({"q": queries, "k": keys})[1]
    weights = kernel.weights(queries, keys, 0.8)
    for found, name_of in zip(kernel.slopes(queries, keys, weights, aim, 0.8), ("q", "k"), strict=True):
        torch.testing.assert_close(found, wanted[name_of], rtol=1e-11, atol=1e-12)


def test_a_matched_softmax_is_the_gaussian_of_keys_of_one_length():
    queries, keys = drawn()
    keys = torch.nn.functional.normalize(keys, dim=-1)
    one = Kernel("normalised_gaussian", c=0.7).weights(queries, keys, 0.8)
    assert torch.allclose(one, Kernel("softmax", beta=1.4).weights(queries, keys, 0.8), rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "gaussian", "normalised_gaussian"])
def test_value_and_slope_are_finite_for_far_keys_and_large_scores(name):
    for std in (20.0, 100.0):
        queries, keys = drawn(std=std)
        kernel = Kernel(name, **SETTINGS)
        weights = kernel.weights(queries, keys, 1.0)
        assert kernel.scores(queries, keys, 1.0).abs().max() > std**2
        for each in (weights, *kernel.slopes(queries, keys, weights, torch.ones_like(weights), 1.0)):
            assert each.isfinite().all()


def test_the_exponential_of_a_dot_product_overflows_where_it_says():
    one = torch.ones(1, 1, 1, dtype=runs.DTYPE)
    kernel = Kernel("exp")
    assert (
        kernel.weights(one, one, LARGEST - 1e-9).isfinite().all()
        and not kernel.weights(one, one, 710.0).isfinite().all()
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"name": "cosine"},
            "kernel = 'cosine' is not allowed: it must be one of softmax, exp, gaussian, normalised_gaussian",
        ),
        ({"c": 0.0}, "c = 0.0 is not allowed: it must be a finite number greater than 0"),
        ({"beta": float("nan")}, "beta = nan"),
    ],
)
def test_a_wrong_kernel_is_one_clear_error(settings, words):
    assert words in refusal(lambda: Kernel(**settings))
