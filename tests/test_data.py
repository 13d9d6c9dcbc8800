"""The digits as token sequences."""

import sys

import pytest
import torch
from conftest import refusal
from sklearn.datasets import load_digits

from attnflow import data, runs


def test_patches_are_the_pixels_of_the_images():
    stored, (tokens, labels) = load_digits(), data.digits(patch=2)
    assert tokens.shape == (1797, 16, 4) and labels.tolist() == stored.target.tolist()
    image = torch.as_tensor(stored.images[7]) / 8 - 1
    assert torch.equal(tokens[7, 6], image[2:4, 4:6].reshape(-1)) and (tokens.min(), tokens.max()) == (-1, 1)
    assert data.digits(patch=4)[0].shape == (1797, 4, 16)


def test_subsets_are_fresh_and_their_parts_disjoint():
    tokens, labels = data.subsets(runs.streams([0, 1], "draws"), 1000, 797)
    assert tokens.shape == (2, 1797, 16, 4) and labels.shape == (2, 1797) and not torch.equal(labels[0], labels[1])
    assert labels[0].bincount().tolist() == labels[1].bincount().tolist()
    assert torch.equal(data.subsets(runs.streams([1], "draws"), 1000, 797)[1][0], labels[1])


def test_absent_scikit_learn_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    data.digits.cache_clear()
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        data.digits()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: data.digits(patch=3), "must be one of 1, 2, 4"),
        (lambda: data.subsets(runs.streams([0], "draws"), 1000, 1000), "at most 1797"),
        (lambda: data.subsets(runs.streams([0], "draws"), 0), "count = 0"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
