"""The small vision Transformer: one run is the same in any stack, and its parts do what they say."""

import dataclasses

import pytest
import torch

from attnflow import flow, runs, vit

NET = vit.Transformer(tokens=4, size=3, width=6, heads=2, depth=2, classes=3)


def problem(seeds, net=NET, samples=5):
    generators = runs.streams(seeds)
    inputs = runs.normal(generators, samples, net.tokens, net.size)
    labels = torch.stack([torch.randint(net.classes, (samples,), generator=g) for g in generators])
    return inputs, labels, vit.init(generators, net)


def test_a_stack_equals_its_runs():
    inputs, labels, state = problem(range(4))
    ends = flow.integrate(vit.field(inputs, labels, NET), state, step=0.1, times=[2.0]).state
    for run in range(4):
        one_inputs, one_labels, one = problem([run])
        alone = flow.integrate(vit.field(one_inputs, one_labels, NET), one, step=0.1, times=[2.0]).state
        for name, value in alone.items():
            assert (value[0] - ends[name][run]).abs().max() <= 1e-9 * ends[name][run].abs().max().clamp_min(1e-3)


def test_training_lowers_the_loss_and_reads_the_labels():
    inputs, labels, state = problem(range(2))
    record = flow.integrate(vit.field(inputs, labels, NET), state, step=0.2, times=[0.0, 60.0])
    assert torch.allclose(record.values["loss"][0], torch.tensor(3.0, dtype=runs.DTYPE).log())
    assert (record.values["loss"][-1] < 0.3).all()
    assert (vit.accuracy(record.state, inputs, labels, NET) == 1).all()


def test_attention_rows_and_uniform_limit():
    inputs, _, state = problem([0])
    seen = []
    vit.forward(state, inputs, NET, seen)
    assert len(seen) == 2 and seen[0].shape == (1, 5, 2, 4, 4)
    assert torch.allclose(seen[0].sum(dim=-1), torch.ones(1, 5, 2, 4, dtype=runs.DTYPE))
    far = dataclasses.replace(NET, scaling=30.0)
    same = dataclasses.replace(NET, attention="uniform")
    state["read"] = runs.normal(runs.streams([3]), 6, 3)
    assert torch.allclose(vit.forward(state, inputs, far), vit.forward(state, inputs, same))
    assert float(vit.entropy_deficit(state, inputs, far)) < 1e-12 < float(vit.entropy_deficit(state, inputs, NET))


@pytest.mark.parametrize("attention", sorted(vit.ATTENTION))
def test_every_attention_has_a_finite_gradient(attention):
    net = dataclasses.replace(NET, attention=attention)
    inputs, labels, state = problem([0], net)
    state["read"] = runs.normal(runs.streams([3]), 6, 3)
    loss, gradient = vit.field(inputs, labels, net)(state)
    assert loss.isfinite().all() and gradient.keys() == state.keys() and flow.finite(gradient).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: vit.Transformer(width=0), "width = 0"),
        (lambda: vit.Transformer(width=9, heads=2), "multiple of heads = 2"),
        (lambda: vit.Transformer(scaling=float("nan")), "scaling = nan"),
        (lambda: vit.Transformer(attention="linear"), "one of softmax, gaussian, uniform"),
        (lambda: vit.field(torch.zeros(1, 2, 4, 5), torch.zeros(1, 2), NET), r"shape \(any, any, 4, 3\)"),
        (lambda: vit.field(torch.zeros(1, 2, 4, 3), torch.full((1, 2), 3), NET), "labels = 3"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
