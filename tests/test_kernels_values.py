"""Chapter 4, only the values are trained: the linear problem against the layer itself, and its closed forms by brute force."""

import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import flow
from attnflow.attention import KERNELS
from attnflow.kernels import figures_values, linear, model, values
from attnflow.kernels.setting import drawn

SMALL = {"samples": 2, "length": 3, "d": 3, "k": 2, "o": 2, "heads": 2}
SIZES = {name: size for name, size in SMALL.items() if name != "heads"}
LATE = SMALL | {"heads": 12, "d": 6, "o": 1}


@pytest.mark.parametrize("kernel", KERNELS)
def test_features_are_the_jacobian_of_the_output_by_the_values(kernel):
    layer, inputs, _, state = drawn((0,), "cpu", kernel=kernel, **SMALL)

    def outputs(value):
        return linear.flat(model.forward(state | {"W_V": value}, inputs, layer))[0]

    slow = torch.autograd.functional.jacobian(outputs, state["W_V"]).flatten(1)
    assert torch.allclose(linear.features(state, inputs, layer)[0], slow, atol=1e-12)


def test_the_field_of_frozen_attention_is_that_of_the_layer():
    layer, inputs, targets, state = drawn((0, 1), "cpu", kernel="gaussian", **SMALL)
    field, start = linear.frozen(state, inputs, targets, layer)
    (loss, fast), (same, slow) = field(start), model.field(inputs, targets, layer, ("W_V",))(state)
    assert torch.allclose(loss, same) and torch.allclose(fast["W_V"], slow["W_V"]) and list(start) == ["W_V"]


def test_the_floor_is_what_least_squares_leaves_and_descent_ends_there():
    layer, inputs, targets, state = drawn((0, 1, 2), "cpu", **SMALL | {"heads": 1})
    known, wanted = linear.features(state, inputs, layer), linear.flat(targets)[..., None]
    best = torch.linalg.lstsq(known, wanted).solution
    slow = (known @ best - wanted).square().sum(dim=(1, 2)) / 2
    directions, rank = linear.span(known)
    found = linear.floor(directions, wanted)[:, 0]
    assert torch.allclose(found, slow) and (found > 1e-3).all() and rank.tolist() == [6, 6, 6]
    step = 1 / torch.linalg.eigvalsh(known @ known.mT)[:, -1]
    end = flow.integrate(*linear.frozen(state, inputs, targets, layer), step=step, times=5_000 * step[None])
    assert torch.allclose(end.end_loss, found, rtol=0.05) and (end.end_loss >= found * (1 - 1e-12)).all()


@pytest.mark.parametrize("sizes", [(1, 3, 2), (2, 1, 2), (3, 1, 3), (2, 2, 1), (5, 1, 2), (9, 3, 2)], ids=str)
def test_ranks_by_numbers(sizes):
    heads, k, o = sizes
    settings = SMALL | {"heads": heads, "k": k, "o": o}
    layer, inputs, _, state = drawn((0, 1), "cpu", **settings)
    ranks = torch.linalg.matrix_rank(linear.features(state, inputs, layer))
    assert ranks.tolist() == [linear.counted_rank(layer, 6)] * 2
    assert linear.span(linear.features(state, inputs, layer))[1].tolist() == ranks.tolist()


def test_with_identical_tokens_attention_spans_as_many_directions_as_samples():
    layer, inputs, _, state = drawn((0,), "cpu", inner=0.0, **SMALL)
    assert linear.span(linear.features(state, inputs, layer))[1].tolist() == [2 * SMALL["o"]]


def test_mean_floors_of_many_targets_are_those_of_the_closed_form():
    record = linear.spans((0, 1), "cpu", kernels=("softmax",), widths=(1, 2, 3), copies=4000, **SIZES)
    assert record["expected"][:, 0].tolist() == pytest.approx([0.5, 0.0, 0.0])
    assert torch.allclose(record["mean"], record["expected"], rtol=0.05, atol=1e-12)


def test_the_spread_of_the_targets_within_their_samples_by_hand():
    _, _, targets, _ = drawn((0,), "cpu", **SMALL)
    slow = sum(float((targets[0, i, :, j].var(correction=0)) / 2) for i in range(2) for j in range(2)) / 2
    record = linear.spans((0,), "cpu", kernels=("gaussian",), widths=(2,), inner=0.0, **SIZES)
    assert float(record["spread"]) == pytest.approx(slow) and float(record["floor"]) == pytest.approx(slow)


@pytest.mark.parametrize("kernel", ["softmax", "gaussian"])
def test_the_forecast_is_descent_and_each_rate_is_an_eigenvalue(kernel):
    record = linear.watched((0, 1), "cpu", kernels=(kernel,), steps=50, count=10, **SMALL)
    assert (record["loss"] / record["known"] - 1).abs().max() < 1e-11 and record["steps"][-1] == 50
    assert torch.allclose(record["left"][0], record["known"][0, -1] / record["known"][0, 0])
    found = linear.endless((0, 1), "cpu", kernels=(kernel,), steps=3000, window=(1e-8, 1e-20), **LATE)
    assert torch.allclose(found["slope"], found["rate"], rtol=0.05) and (found["least"] >= found["bound"]).all()


def test_a_run_that_diverges_has_left_no_gap_that_is_finite():
    record = linear.watched((0,), "cpu", kernels=("softmax",), steps=400, unit=50.0, trained=model.MATRICES, **SMALL)
    assert record["left"].isinf().all() and values.gap(record).isinf().all()


def test_wrong_part():
    assert "part" in refusal(lambda: linear.endless((0,), "cpu", part="middle"))


def test_readings_choose_what_they_say():
    record = {"a": torch.tensor([[1.0, 2.0], [3.0, 1.0]]), "b": torch.tensor([[2.0, 2.0], [2.0, 2.0]])}
    assert values.over("a", "b")(record).tolist() == [1.5, 1.0]
    assert values.over("a", "b", torch.amin)(record).tolist() == [0.5, 0.5]
    losses = torch.tensor([[[4.0], [2.0]], [[3.0], [torch.nan]]])
    assert values.lowest({"loss": losses, "floor": torch.tensor([[4.0], [1.0]])}).tolist() == [0.5]


def test_figures_draw_runs_and_theory():
    record = linear.spans((0, 1), "cpu", widths=(1, 2, 3), copies=3, **SIZES)
    lines = figures_values.floors_figure(record, (1, 2, 3), threshold=2).axes[0].get_lines()
    assert len(lines) == 5 and list(lines[-1].get_ydata()) == record["expected"][:3, 0].tolist()
    records = {heads: linear.watched((0, 1), "cpu", steps=20, count=5, **SIZES, heads=heads) for heads in (1, 2)}
    lines = figures_values.forecast_figure(records, ("softmax", "Gaussian")).axes[1].get_lines()
    assert list(lines[-1].get_ydata()) == records[2]["known"][1, :, -1].tolist() and len(lines) == 8
    plt.close("all")
