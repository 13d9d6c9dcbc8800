"""Input checks, seeds, devices, and the stamp."""

import pytest
import torch

from attnflow import runs


def test_a_seed_gives_the_same_numbers_in_any_stack():
    alone = runs.normal(runs.streams([7]), 3, 2)
    among = runs.normal(runs.streams([5, 7, 9]), 3, 2)
    assert torch.equal(alone[0], among[1])
    assert alone.dtype == torch.float64 and not torch.equal(among[0], among[2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: runs.integer("width", 0), "width = 0"),
        (lambda: runs.integer("width", 2.0), "an integer of at least 1"),
        (lambda: runs.integer("width", True), "width = True"),
        (lambda: runs.number("rate", float("nan")), "rate = nan"),
        (lambda: runs.number("rate", 0.0, above=0), "greater than 0"),
        (lambda: runs.number("rate", -1.0, least=0), "of at least 0"),
        (lambda: runs.choice("kernel", "cosine", ("softmax",)), "one of softmax"),
        (lambda: runs.tensor("tokens", [1.0], (1,)), "tokens = [1.0]"),
        (lambda: runs.tensor("tokens", torch.zeros(2), (3,)), "shape (3)"),
        (lambda: runs.tensor("tokens", torch.tensor([torch.nan]), (1,)), "finite"),
        (lambda: runs.streams([]), "at least one seed"),
        (lambda: runs.streams([-1]), "seed = -1"),
        (lambda: runs.device("tpu"), "one of cpu, cuda"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    with pytest.raises(ValueError, match="is not allowed: it must be") as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_cuda_is_an_error():
    with pytest.raises(ValueError, match="finds no CUDA device"):
        runs.device("cuda")


def test_stamp_names_the_code():
    stamp = runs.stamp()
    assert stamp.startswith("python 3.") and f"code {runs.code_hash()}" in stamp and "\n" not in stamp
