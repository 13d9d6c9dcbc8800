"""The door of the library: input checks, states, seeds, devices."""

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import runs

ONES = torch.ones(2, 3, dtype=runs.DTYPE)


def drawn(seeds, name="x", *more, count=100):
    return runs.normal(runs.streams(seeds, name, *more), count)


def test_a_seed_gives_the_same_numbers_in_any_stack():
    alone, among = drawn([7]), drawn([5, 7, 9])
    assert torch.equal(alone[0], among[1]) and alone.dtype == runs.DTYPE and not torch.equal(among[0], among[2])


@pytest.mark.parametrize("other", [("data",), ("weights", 64), ("weights", 65)])
def test_streams_of_different_names_are_independent(other):
    pairs = torch.stack([drawn(range(100), "weights").flatten(), drawn(range(100), *other).flatten()])
    assert pairs.shape == (2, 10_000) and abs(torch.corrcoef(pairs)[0, 1]) < 4 / np.sqrt(10_000)
    assert torch.equal(drawn([3], *other), drawn([3], *other))


def test_replicas_are_independent_reproducible_and_begin_with_the_seed():
    grown = np.random.SeedSequence(8)
    grown.spawn(5)
    found, again = drawn(runs.replicas((7, 8), 3)), drawn(runs.replicas((7, grown), 3))
    assert torch.equal(found, again) and torch.equal(found[::3], drawn((7, 8)))
    assert len({tuple(row.tolist()) for row in found}) == 6
    assert torch.corrcoef(drawn(runs.replicas((7, 8), 3), count=10_000)).triu(1).abs().max() < 4 / np.sqrt(10_000)


def test_a_state_is_a_copy_without_a_graph():
    given = {"a": ONES.clone().requires_grad_()}
    held = runs.state(given, {"a": (3,)})
    held["a"][:] = 7
    assert not held["a"].requires_grad and torch.equal(given["a"].detach(), ONES)


def test_devices(monkeypatch):
    assert {str(runs.device(name)) for name in ("cpu", torch.device("cpu"))} == {"cpu"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [str(runs.device(name)) for name in (None, "cuda", "cuda:0")] == ["cuda", "cuda", "cuda:0"]
    assert "one of the 1 CUDA devices" in refusal(lambda: runs.device("cuda:1"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(runs.device()) == "cpu"
    assert "finds no CUDA device" in refusal(lambda: runs.device("cuda:0"))


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
        (lambda: runs.names("option", ("size", "depth"), ("size",)), "option = 'depth'"),
        (lambda: runs.tensor("tokens", [1.0], (1,)), "tokens = [1.0]"),
        (lambda: runs.tensor("tokens", torch.zeros(2), (3,)), "shape (3)"),
        (lambda: runs.tensor("tokens", torch.tensor([torch.nan]), (1,)), "finite"),
        (lambda: runs.streams([], "data"), "at least one seed"),
        (lambda: runs.streams([-1], "data"), "seed = -1"),
        (lambda: runs.streams(7, "data"), "seeds = 7"),
        (lambda: runs.streams([7], 64), "name = 64"),
        (lambda: runs.streams([7], ""), "a word"),
        (lambda: runs.streams([7], "weights", -1), "an integer of at least 0"),
        (lambda: runs.replicas([7], 0), "copies = 0"),
        (lambda: runs.normal(None, 2), "generators = None"),
        (lambda: runs.normal([7], 2), "generators = [7]"),
        (lambda: runs.normal([], 2), "generators = []"),
        (lambda: runs.device("tpu"), "device = 'tpu'"),
        (lambda: runs.device("cuda:x"), "cpu, cuda or cuda:N"),
        (lambda: runs.state([ONES]), "a dict, name -> tensor"),
        (lambda: runs.state({}), "not empty"),
        (lambda: runs.state({1: ONES}), "a dict, name -> tensor"),
        (lambda: runs.state({"a": 1.0}), "a = 1.0"),
        (lambda: runs.state({"a": ONES[0, 0]}), "shape (any)"),
        (lambda: runs.state({"a": ONES[:0]}), "at least 1"),
        (lambda: runs.state({"a": ONES.float()}), "float64"),
        (lambda: runs.state({"a": ONES * torch.nan}), "finite"),
        (lambda: runs.state({"a": ONES, "b": ONES[:1]}), "a stack of 2 runs"),
        (lambda: runs.state({"a": ONES}, {"b": (3,)}), "the names b"),
        (lambda: runs.state({"a": ONES}, {"a": (4,)}), "shape (any, 4)"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert issubclass(runs.WrongUse, ValueError)
    assert words in refusal(call)
