"""Chapter 4, generic weights: free queries against the layer itself, reach by brute force."""

import math

import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import flow, runs
from attnflow.kernels import figures_values, generic, model
from attnflow.kernels.setting import drawn

PROBLEM = generic.GENERIC | {"heads": 2}


@pytest.mark.parametrize("name", ["softmax", "gaussian, 1", "normalised", "exp"])
def test_free_queries_descend_as_the_layer_does(name):
    layer, inputs, targets, state = drawn((0, 1), "cpu", **PROBLEM | generic.KERNELS[name])
    field, start, _, _ = generic.queries(state, inputs, targets, layer)
    slow = flow.integrate(model.field(inputs, targets, layer, ("W_Q",)), state, step=0.02, times=[0.4])
    fast = flow.integrate(field, start, step=0.02, times=[0.4])
    assert torch.allclose(fast.end_loss, slow.end_loss) and (fast.end_loss < field(start)[0]).all()
    assert torch.allclose(fast.state["q"], inputs[:, None] @ slow.state["W_Q"][:, :, None])


def test_free_queries_need_orthonormal_tokens():
    """With others descent on W_Q moves them together."""
    layer, inputs, targets, state = drawn((0,), "cpu", **PROBLEM | {"data": "gaussian"})
    assert "orthonormal" in refusal(lambda: generic.queries(state, inputs, targets, layer))


def test_free_queries_need_one_output():
    made = drawn((0,), "cpu", **PROBLEM | {"o": 2})
    assert "o = 2" in refusal(lambda: generic.queries(made[3], made[1], made[2], made[0]))


@pytest.mark.parametrize("c", [0.5, 1.0])
def test_the_reach_of_the_gaussian_by_a_grid(c):
    layer = model.Layer(d=2, k=2, o=1, kernel="gaussian", c=c)
    keys, values = runs.normal(runs.streams((0, 1, 2), "keys"), 3, 2), runs.normal(runs.streams((0, 1, 2), "values"), 3)
    line = torch.linspace(-6, 6, 601, dtype=runs.DTYPE)
    grid = torch.cartesian_prod(line, line)
    apart = (grid[None, :, None] - keys[:, None]).square().sum(dim=-1)
    found = (torch.exp(-c * apart / math.sqrt(2)) * values[:, None]).sum(dim=-1)
    low, high = generic.reach(keys, values, layer)
    assert torch.allclose(low, found.amin(dim=1).clamp_max(0), atol=1e-3)
    assert torch.allclose(high, found.amax(dim=1).clamp_min(0), atol=1e-3)


def test_values_of_one_sign_reach_zero_but_not_beyond():
    layer = model.Layer(d=2, k=2, o=1, kernel="gaussian")
    keys, values = torch.zeros(1, 3, 2, dtype=runs.DTYPE), torch.tensor([[1.0, 2.0, 3.0]], dtype=runs.DTYPE)
    assert [float(end) for end in generic.reach(keys, values, layer)] == [0.0, 6.0]
    assert [float(end) for end in generic.reach(keys, values, model.Layer(d=2, k=2, o=1))] == [1.0, 3.0]


def test_no_reach_without_bounds():
    layer = model.Layer(d=2, k=2, o=1, kernel="exp")
    assert "kernel" in refusal(lambda: generic.reach(torch.zeros(1, 3, 2).double(), torch.ones(1, 3).double(), layer))


def test_fates_of_targets_that_all_reach_and_that_none_does():
    far = generic.fates((0, 1), "cpu", heads=(1,), copies=1, steps=20, size=1000.0)
    near = generic.fates((0, 1), "cpu", heads=(4,), copies=1, steps=200, size=0.01)
    assert (far["missed"] == 1).all() and (far["out"] > 0.9).all() and (far["below"] > -1e-6).all()
    assert (near["missed"] < 0.5).all() and (near["out"] < 0.3).all()


def test_readings_and_the_figure_of_shares():
    missed = torch.tensor([[0.5], [0.1], [0.75], [0.1], [0.5], [0.5]], dtype=runs.DTYPE)
    record = {"missed": missed.repeat(1, 3), "out": 0.5 * missed.repeat(1, 3)}
    assert generic.unlike(record).tolist() == pytest.approx([0.4] * 3)
    assert generic.shares(record, "missed")[2, 0].tolist() == [0.5] * 3
    figure = figures_values.reach_figure(record, ("softmax", "gaussian", "gaussian, 1"), (1, 4))
    dashed = [line.get_ydata()[0] for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 2]
    assert dashed == pytest.approx([0.05, 0.05, 0.25])
    plt.close("all")
