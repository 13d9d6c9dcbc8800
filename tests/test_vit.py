"""The parts of the small vision Transformer do what they say; its gradient and its stacks are in test_rooms.py."""

import dataclasses

import pytest
import torch
from conftest import refusal
from rooms import transformer

from attnflow import flow, runs, vit


def test_training_lowers_the_loss_and_reads_the_labels():
    net, inputs, labels, state = transformer((0, 1), "cpu")
    state["read"] = torch.zeros_like(state["read"])
    record = flow.integrate(vit.field(inputs, labels, net), state, step=0.2, times=[0.0, 60.0])
    assert torch.allclose(record.loss[0], torch.tensor(3.0, dtype=runs.DTYPE).log()) and (record.loss[-1] < 0.3).all()
    assert (vit.accuracy(record.state, inputs, labels, net) == 1).all()


def test_attention_rows_and_uniform_limit():
    net, inputs, _, state = transformer((0,), "cpu")
    far, same = dataclasses.replace(net, scaling=30.0), dataclasses.replace(net, attention="uniform")
    scores = vit.forward(state, inputs, net, seen := [])
    assert scores.shape == (1, 5, 3) and [each.shape for each in seen] == [(1, 5, 2, 4, 4)] * 2
    assert torch.allclose(seen[0].sum(dim=-1), torch.ones(1, 5, 2, 4, dtype=runs.DTYPE))
    assert torch.allclose(vit.forward(state, inputs, far), vit.forward(state, inputs, same))
    assert float(vit.entropy_deficit(state, inputs, far)) < 1e-12 < float(vit.entropy_deficit(state, inputs, net))


def test_each_token_goes_through_the_weight_of_its_run():
    tokens, weight = (
        runs.normal(runs.streams((0, 1), "draws"), 3, 4, 5),
        runs.normal(runs.streams((2, 3), "draws"), 5, 6),
    )
    found = vit.through(tokens, weight)
    assert found.shape == (2, 3, 4, 6)
    for run, sample, token in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        assert torch.allclose(found[run, sample, token], tokens[run, sample, token] @ weight[run])


def test_entropy_deficit_of_one_hot_attention_is_one():
    net, inputs, _, state = transformer((0, 1), "cpu")
    sharp = dataclasses.replace(net, scaling=-30.0)
    assert vit.entropy_deficit(state, inputs, sharp).tolist() == pytest.approx([1.0, 1.0])


def test_attention_is_the_kernel_times_the_gain():
    net, inputs, _, state = transformer((0,), "cpu", attention="gaussian", c=1.5)
    vit.forward(state, inputs, net, plain := [])
    vit.forward(state, inputs, dataclasses.replace(net, gain=0.4), rescaled := [])
    assert torch.allclose(0.4 * plain[0], rescaled[0])
    vit.forward(state, inputs, dataclasses.replace(net, c=3.0), sharp := [])
    assert torch.allclose(plain[0] ** 2, sharp[0])


def test_the_width_of_the_network_is_its_own():
    net = vit.Transformer(tokens=2, size=3, width=4, heads=1, depth=1, hidden=6)
    state = vit.init(runs.streams((0,), "draws"), net)
    assert state["up0"].shape == (1, 4, 6) and state["down0"].shape == (1, 6, 4)


def test_initial_weights_have_their_sizes():
    net = vit.Transformer(tokens=8, size=3, width=24, depth=1)
    state = vit.init(runs.streams(range(40), "draws"), net)
    assert not state.pop("read").any()
    for name, value in state.items():
        variance = {"embed": 1 / 3, "position": 1.0}.get(name, 1 / 24)
        assert float(value.square().mean()) == pytest.approx(variance, rel=4 * (2 / value.numel()) ** 0.5), name


ZEROS, LABELS = torch.zeros(1, 2, 16, 4, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.long)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: vit.Transformer(width=0), "width = 0"),
        (lambda: vit.Transformer(width=9, heads=2), "multiple of heads = 2"),
        (lambda: vit.field(ZEROS[..., :3], LABELS, vit.Transformer()), "where L = 16 and size = 4"),
        (lambda: vit.field(ZEROS, LABELS + 10, vit.Transformer()), "labels = 10"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
