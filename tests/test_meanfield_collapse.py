"""Chapter 5, collapse: the quadratic form at zero against the whole net, thresholds by hand, and what is refused."""

import pytest
import torch
from conftest import refusal

from attnflow import runs
from attnflow.meanfield import collapse, model, setting, task

CPU = torch.device("cpu")


def test_near_zero_the_objective_is_its_quadratic_form():
    """H by hand: decay on the diagonal, minus the pulls between what reads and the entry that writes the answer."""
    settings, decay = {"depth": 2, "m": 3, "k": 2}, 0.3
    net, inputs, targets, state = setting.drawn((0, 1), CPU, scale=1e-4, **settings)
    pull = task.pulls(inputs, targets)
    heads = torch.einsum("sd,sjmdk,sjmk->s", pull["attention"], state["W_V"], state["W_O"][..., net.slot])
    inner = torch.cat([state["w_1"], state["b"][..., None]], dim=-1)
    neurons = torch.einsum("sd,sjmd,sjm->s", pull["neurons"], inner, state["w_2"][..., net.slot])
    form = decay / 2 * model.norms(state, net) - net.branch * (heads + neurons)
    seen = model.objective(state, inputs, targets, net, decay) - targets.square().mean(dim=1) / 2
    assert torch.allclose(seen, form, rtol=1e-4, atol=0)


def test_pulls_and_thresholds_by_hand():
    inputs = torch.tensor([[[[1.0, 2.0, 0.0], [3.0, 0.0, 1.0]], [[0.0, 0.0, 0.0], [2.0, 0.0, 1.0]]]], dtype=runs.DTYPE)
    targets = torch.tensor([[2.0, -1.0]], dtype=runs.DTYPE)
    found = task.pulls(inputs, targets)
    assert found["attention"].tolist() == [[1.5, 1.0, 0.25]] and found["neurons"].tolist() == [[2.0, 0.0, 0.5, 0.5]]
    edges = collapse.thresholds(inputs, targets, model.Net())
    assert edges["attention"].tolist() == pytest.approx([3.3125**0.5]) and edges["neurons"].tolist() == [4.5**0.5]
    assert set(collapse.thresholds(inputs, targets, model.Net(parts=("neurons",)))) == {"neurons"}


def test_the_leading_mode_is_the_fastest_direction():
    """A particle along the mode is all mode; one across it is none, and its slope has no part along it."""
    net, inputs, targets, state = setting.drawn((3,), CPU, m=2, depth=1)
    along = {name: torch.zeros_like(value) for name, value in state.items()}
    pull = {name: value / value.norm(dim=1) for name, value in task.pulls(inputs, targets).items()}
    along["W_V"][0, 0, 0, :, 0], along["W_O"][0, 0, 0, 0, net.slot] = pull["attention"][0], 1.0
    along["w_1"][0, 0, 1], along["b"][0, 0, 1], along["w_2"][0, 0, 1, net.slot] = *pull["neurons"].split((3, 1), 1), 1.0
    found = collapse.modes(along, inputs, targets, net)
    assert torch.allclose(found["attention"], torch.tensor([[[2**0.5, 0.0]]], dtype=runs.DTYPE))
    assert torch.allclose(found["neurons"], torch.tensor([[[0.0, 2**0.5]]], dtype=runs.DTYPE))
    across = along | {"W_O": -along["W_O"], "w_2": -along["w_2"]}
    assert all(value.abs().max() < 1e-15 for value in collapse.modes(across, inputs, targets, net).values())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: collapse.growth((0,), CPU, activation="relu"), "tanh, identity"),
        (lambda: collapse.growth((0,), CPU, part="neurons", parts=("attention",)), "part = 'neurons'"),
        (lambda: collapse.growth((0,), CPU, slot=0), "0 where the answer of the last token stands"),
        (lambda: collapse.growth((0,), CPU, over=-1.0), "entries of at least 0"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
