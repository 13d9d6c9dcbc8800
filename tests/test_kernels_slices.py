"""Chapter 4, slices of the landscape: one place at a time, measures on surfaces that are known, and the plateau far out."""

import math

import matplotlib.colors
import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import runs
from attnflow.kernels import figures_slices, model, slices

CPU = torch.device("cpu")
QUICK = {"share": 0.5, "steps": 300, "heads": 2}


def made(kernel="gaussian", seeds=(0, 1)):
    layer, inputs, targets, state, level, reached = slices.trained(seeds, CPU, kernel, **QUICK)
    along = slices.directions(runs.streams(seeds, "directions"), state)
    return layer, inputs, targets, state, along, level, reached


def bowl(height):
    """A function of the two coordinates on a grid of 21 x 21 nodes, (1, 21, 21)."""
    first, second = slices.grid(21).T
    return height(first, second).view(1, 21, 21)


def test_all_places_at_once_are_one_place_at_a_time():
    layer, inputs, targets, state, along, _, _ = made()
    places = slices.grid(3)
    fast = slices.losses(layer, inputs, targets, state, along, places)
    for place, (first, second) in enumerate(places):
        there = {name: value + first * along[0][name] + second * along[1][name] for name, value in state.items()}
        assert torch.allclose(fast[:, place], model.loss(there, inputs, targets, layer), rtol=1e-12)


def test_every_block_of_a_direction_is_as_long_as_the_weights_there():
    _, _, _, state, along, _, _ = made()
    for one in along:
        for name, value in state.items():
            for run in range(2):
                for head in range(2):
                    assert float(one[name][run, head].norm()) == pytest.approx(float(value[run, head].norm()))
    assert not torch.allclose(along[0]["W_Q"], along[1]["W_Q"])


def test_kernels_are_cut_along_the_same_directions():
    one, two = (made(kernel)[4][0]["W_K"] for kernel in ("softmax", "gaussian"))
    assert torch.allclose(one / slices.length(one), two / slices.length(two))


def test_what_does_not_move_has_no_direction():
    state = made()[3]
    along = slices.directions(runs.streams((0, 1), "directions"), state, slices.OUTER)
    assert not along[0]["W_Q"].any() and not along[1]["W_K"].any() and along[0]["W_V"].all()
    assert "W_H" in refusal(lambda: slices.directions(runs.streams((0, 1), "directions"), state, ("W_H",)))


def test_training_stops_at_a_share_of_the_loss_of_no_output():
    layer, inputs, targets, state, _, level, reached = made()
    assert torch.allclose(level, model.loss({**state, "W_O": 0 * state["W_O"]}, inputs, targets, layer))
    ends = model.loss(state, inputs, targets, layer) / level
    assert reached.tolist() == [1.0, 1.0] and (ends <= 0.5).all() and (ends > 0.3).all()
    assert slices.trained((0, 1), CPU, **QUICK | {"steps": 1})[-1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("height", "wells", "share"),
    [
        (lambda x, y: (x - 0.25) ** 2 + 3 * (y + 0.4) ** 2 + x * y, 1, 0.0),
        (lambda x, y: x * y, 0, 1.0),
        (lambda x, y: x**2 + 3 * x * y + y**2, 0, 1.0),
        (lambda x, y: -(x**2), 0, 1.0),
        (lambda x, y: (x**2 - 0.25) ** 2 + y**2, 2, 5 / 19),
    ],
    ids=["bowl", "saddle", "leaning saddle", "ridge", "two wells"],
)
def test_minima_and_bends_of_known_surfaces(height, wells, share):
    surface = bowl(height)
    assert slices.minima(surface).tolist() == [wells]
    assert float(slices.bent(surface)) == pytest.approx(share)


def test_rays_of_a_cone_rise_and_those_of_a_ring_fall():
    places = slices.rays()
    far = places.norm(dim=1)
    assert torch.allclose(far.view(-1, slices.ANGLES)[:, 0], torch.linspace(0, 1, slices.RADII + 1, dtype=runs.DTYPE))
    assert torch.allclose(places.mean(dim=0), torch.zeros(2, dtype=runs.DTYPE), atol=1e-12)
    half = torch.where(places[:, 0] > 0.01, (math.pi * far).sin(), far)
    falls = slices.falling(torch.stack([far, half]).view(2, -1, slices.ANGLES))
    assert falls.tolist() == pytest.approx([0.0, 11 / 24])


def test_a_fall_of_less_than_a_hundredth_is_the_centre():
    ray = torch.tensor([1.0, 0.995, 2.0], dtype=runs.DTYPE).view(1, 3, 1)
    deeper = torch.tensor([1.0, 0.98, 2.0], dtype=runs.DTYPE).view(1, 3, 1)
    assert slices.falling(ray).tolist() == [0.0] and slices.falling(deeper).tolist() == [1.0]


def test_copies_of_a_seed_are_averaged():
    settings = {"kernels": ("gaussian",), "side": 5, **QUICK}
    found = slices.compared((3, 4), CPU, copies=2, **settings)
    alone = slices.compared(runs.replicas((3, 4), 2), CPU, copies=1, **settings)
    for name, value in found.items():
        assert torch.allclose(value, alone[name].view(1, 2, 2).mean(dim=2)), name
    assert torch.equal(slices.more("rim")({"rim": torch.tensor([[1.0], [3.0]])}), torch.tensor([2.0]))


def test_far_out_the_gaussian_has_no_output_and_softmax_has_one():
    far = {"moved": slices.INNER, "radius": 1000.0, "side": 3, **QUICK}
    assert torch.allclose(slices.surface((0,), CPU, "gaussian", **far)["rays"][:, -1], torch.ones((), dtype=runs.DTYPE))
    assert (slices.surface((0,), CPU, "softmax", **far)["rays"][:, -1] - 1).abs().min() > 0.01


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"side": 2}, {"moved": ("W_H",)}, {"kernel": "cosine"}], ids=str)
def test_wrong_settings(wrong):
    assert next(iter(wrong)) in refusal(lambda: slices.surface((0,), CPU, **{"steps": 1} | wrong))


def test_the_figure_has_a_row_a_kernel_one_scale_and_the_centre_as_a_minimum():
    figure = figures_slices.slices_figure(0, ("softmax", "gaussian"), radius=1.0, side=9, share=0.05, steps=300)
    panels = figure.axes[:6]
    assert [axes.get_ylabel() for axes in panels] == ["softmax", "", "", "Gaussian", "", ""]
    dark = matplotlib.colors.to_rgba(figures_slices.plot.COLOURS["red"])
    for axes in panels:
        (marks,) = axes.get_lines()
        assert [0.0, 0.0] in marks.get_xydata().tolist() and matplotlib.colors.to_rgba(marks.get_color()) == dark
        assert axes.collections[0].get_clim() == panels[0].collections[0].get_clim()
    plt.close("all")
