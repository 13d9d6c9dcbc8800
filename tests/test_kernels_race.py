"""Chapter 4, the race: rates on one grid, a rescaled softmax by autograd, and row sums by many draws."""

import numpy as np
import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import flow, runs
from attnflow.kernels import figures_values, model, race
from attnflow.kernels.setting import drawn


def test_steps_on_the_grid_are_those_of_single_runs():
    settings = {"steps": 60, "share": 0.3, "heads": 2}
    took = race.timed((0, 1), "cpu", "softmax", "all", rates=(0.05, 0.2, 50.0), **settings)
    layer, inputs, targets, state = drawn((0, 1), "cpu", **race.RACE | {"heads": 2})
    field = model.field(inputs, targets, layer)
    losses = flow.integrate(field, state, step=0.2, times=0.2 * torch.arange(61, dtype=runs.DTYPE)).loss
    slow = [float((losses[:, run] <= 0.3 * losses[0, run]).to(runs.DTYPE).argmax()) for run in (0, 1)]
    assert took[1].tolist() == slow and took[2].isinf().all() and (took[0] > took[1]).all()


def test_the_best_rate_counts_a_failure_as_infinite():
    gone = torch.inf
    took = torch.tensor(
        [[1.0, 1.0, gone, gone, gone], [9.0, 9.0, 9.0, gone, gone], [10.0, 10.0, 10.0, 10.0, 10.0]]
    ).double()
    assert race.best(took) == 1
    took[0, 0] = torch.nan
    assert "NaN" in refusal(lambda: race.best(took))


@pytest.mark.parametrize("wrong", [{"kernel": "sigmoid"}, {"trained": "W_K"}], ids=str)
def test_wrong_names(wrong):
    assert next(iter(wrong)) in refusal(lambda: race.timed((0,), "cpu", **{"kernel": "exp", "trained": "all"} | wrong))


def test_the_sweep_stacks_what_single_rates_give_and_its_figure_rings_the_best():
    found = race.rates("cpu", "gaussian", "all", seeds=6, steps=20, share=0.5)["steps"]
    assert found.shape == (12, 6) and torch.equal(
        found[[4]], race.timed(range(6), "cpu", "gaussian", "all", rates=race.RATES[4:5], steps=20, share=0.5)
    )
    names = ("softmax", "softmax, 1", "rescaled, 1")
    arrays = {"steps": np.tile(found.numpy(), (2, 3, 1, 1))}
    arrays["steps"][:, 0, 0] = 1.0
    figure = figures_values.rates_figure(arrays, {"trained": ("W_Q", "all"), "kernel": names})
    rings = [[line for line in axes.get_lines() if len(line.get_xdata()) == 1] for axes in figure.axes[:4]]
    best = race.RATES[race.best(found[:, :5])]
    places = [[float(line.get_xdata()[0]) for line in one] for one in rings]
    assert best > race.RATES[0] and places == [[race.RATES[0]], [best, best]] * 2
    assert [axes.get_title("left").split("= ")[1] for axes in figure.axes[:4]] == ["1/2$", "1$"] * 2
    plt.close("all")


def test_a_kernel_that_races_itself_ties():
    found = race.race((7, 8), "cpu", kernel="softmax", copies=2, steps=10, share=0.5, grid=(0.1, 0.2))
    assert torch.equal(found["ratio"], torch.ones(2, dtype=runs.DTYPE))


def test_a_race_is_run_at_the_rates_that_the_first_seeds_choose():
    settings = {"steps": 30, "share": 0.3}
    found = race.race((7,), "cpu", kernel="gaussian", copies=1, grid=(0.01, 0.1), **settings)
    both = [race.timed((7,), "cpu", name, "all", rates=(0.1,), **settings) for name in ("gaussian", "softmax")]
    assert float(found["ratio"]) == pytest.approx(float(both[0].clamp_max(30) / both[1].clamp_max(30)))


@pytest.mark.parametrize("name", ["rescaled", "rescaled, 1"])
def test_a_rescaled_softmax_is_the_layer_times_the_row_sum_by_autograd(name):
    settings = {"heads": 2, "length": 6}
    took = race.timed((0, 1), "cpu", name, "all", rates=(0.02,), steps=40, share=0.8, **settings)[0]
    sharpness = 1.0 if name.endswith("1") else 0.5
    gain = race.row_sum(6, 8, 4, sharpness)
    layer, inputs, targets, state = drawn((0, 1), "cpu", **race.RACE | settings | {"beta": 2 * sharpness})
    losses = []
    for _ in range(41):
        leaves = {key: value.detach().requires_grad_() for key, value in state.items()}
        miss = gain * model.forward(leaves, inputs, layer) - targets
        loss = miss.square().sum(dim=-1).mean(dim=(1, 2)) / 2
        slopes = torch.autograd.grad(loss.sum(), list(leaves.values()))
        state = {key: value - 0.02 * slope for (key, value), slope in zip(leaves.items(), slopes, strict=True)}
        losses.append(loss.detach())
    there = torch.stack(losses) <= 0.8 * losses[0]
    slow = torch.where(there.any(dim=0), there.to(runs.DTYPE).argmax(dim=0).to(runs.DTYPE), torch.inf)
    assert abs(gain - 1) > 0.1 and slow.isfinite().any() and torch.equal(took, slow)


@pytest.mark.parametrize(("c", "length"), [(0.5, 4), (1.0, 4), (0.5, 8)])
def test_row_sums_by_many_draws(c, length):
    known = race.RACE | {"kernel": "gaussian", "c": c, "length": length}
    layer, inputs, _, state = drawn(tuple(range(800)), "cpu", **known)
    found = model.attention(state, inputs, layer).sum(dim=-1).mean(dim=(1, 2, 3))
    wanted = race.row_sum(length, layer.d, layer.k, c)
    assert float(found.mean()) == pytest.approx(wanted, abs=4 * float(found.std()) / 800**0.5)
    assert wanted > 1.05 * length * (1 + 4 * c / layer.k**0.5) ** (-layer.k / 2)


def test_names_at_the_sharpness_one_are_matched():
    for name in ("softmax, 1", "rescaled, 1"):
        assert race.KERNELS[name]["beta"] == 2 * race.KERNELS["gaussian, 1"]["c"]
    found = race.race((7,), "cpu", kernel="gaussian, 1", copies=1, steps=10, share=0.8, grid=(0.05,))
    both = [
        race.timed((7,), "cpu", name, "all", (0.05,), 0.8, 10).clamp_max(10) for name in ("gaussian, 1", "softmax, 1")
    ]
    assert float(found["ratio"]) == pytest.approx(float(both[0] / both[1]))
