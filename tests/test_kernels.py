"""Chapter 4: the layer and its data."""

import pytest
import torch

from attnflow import runs
from attnflow.kernels import model, setting, task


@pytest.mark.parametrize("trained", [("W_V",), ["W_Q"], ("W_K", "W_O")])
def test_matrices_that_are_not_trained_stay_and_the_others_move_as_ever(trained):
    settings = {"heads": 2, "kernel": "gaussian"}
    field, state = setting.problem((0, 1), "cpu", trained=trained, **settings)
    (loss, some), (same_loss, every) = field(state), setting.problem((0, 1), "cpu", **settings)[0](state)
    assert torch.equal(loss, same_loss)
    for name, slope in every.items():
        assert torch.equal(some[name], slope if name in trained else torch.zeros_like(slope)) and slope.any()


def test_heads_add_up_and_each_has_a_scale_of_its_own_width():
    layer, inputs, _, state = setting.drawn((0,), "cpu", heads=2)
    alone = [{name: value[:, head : head + 1] for name, value in state.items()} for head in (0, 1)]
    single = model.Layer()
    both = sum(model.forward(one, inputs, single) for one in alone)
    assert torch.allclose(model.forward(state, inputs, layer), both)
    queries, keys = inputs[0, 0] @ state["W_Q"][0, 1], inputs[0, 0] @ state["W_K"][0, 1]
    slow = torch.softmax(queries @ keys.T / layer.k**0.5, dim=1)
    assert torch.allclose(model.attention(state, inputs, layer)[0, 1, 0], slow)


def test_layers_that_differ_in_the_kernel_alone_start_alike():
    one, two = (setting.drawn((3,), "cpu", kernel=kernel) for kernel in ("softmax", "gaussian"))
    assert torch.equal(one[1], two[1]) and torch.equal(one[2], two[2])
    assert all(torch.equal(one[3][name], two[3][name]) for name in model.MATRICES)


def test_initial_weights_have_their_sizes():
    layer = model.Layer(d=6, k=24, o=5, heads=3)
    state = model.init(runs.streams(range(60), "draws"), layer, scale=2.0, inner=0.5)
    for name, value in state.items():
        wanted = 4 / value.shape[2] / (4 if name in ("W_Q", "W_K") else 1)
        assert float(value.square().mean()) == pytest.approx(wanted, rel=4 * (2 / value.numel()) ** 0.5), name


def test_tokens_are_what_their_name_says():
    streams = runs.streams((0, 1), "data")
    common = task.tokens(streams, 3, 2, 4, "common")
    assert (common[..., -1] == 1).all() and common[..., :-1].std() > 0.5
    flat = task.tokens(streams, 3, 2, 7, "orthonormal").flatten(1, 2)
    assert torch.allclose(flat @ flat.mT, torch.eye(6, dtype=runs.DTYPE).expand(2, 6, 6), atol=1e-12)
