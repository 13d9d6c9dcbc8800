"""Figures: what is drawn is where the numbers are, and every dashed line of a claim moves with what the claim predicts."""

import importlib
import inspect
from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import refusal
from matplotlib.colors import to_rgb

from attnflow import plot, rooms, stamp, sweep
from attnflow.cooccurrence import balancing as products
from attnflow.cooccurrence import figures as words
from attnflow.cooccurrence import maps as stopping
from attnflow.cooccurrence import setting, stops
from attnflow.encoder import balancing as neurons
from attnflow.encoder import figures as nets
from attnflow.encoder import maps, rates, theorem
from attnflow.foundations import balancing as factors
from attnflow.foundations import figures as layers

ROOMS = rooms.rooms()
SHORT = {"time": 1.0, "records": 3, "steps": (0.04, 0.02)}
LAYER, WORDS, NEURONS = (room.law_drift.but(**SHORT) for room in (factors, products, neurons))
ORDER, RUN = (
    factors.descent_order.but(steps=(0.04, 0.02)),
    setting.base.but(samples=12, width=16, stop_loss=0.02, test=60),
)
IDLE, EDGE = stops.sizes.but(samples=12, width=16), rates.edge_run.but(width=16, steps=9)


def stored(name):
    """What makes the arrays and the axes of the stored sweep of that name."""
    return lambda *_: sweep.kept(name)[0], lambda *_: sweep.kept(name)[1]["axes"]


FIGURES = {  # the figures that take claims, and what makes the records that they take besides
    layers.order_figure: (ORDER, ORDER, ORDER),
    layers.drift_figure: (LAYER, LAYER.but(activation="relu"), LAYER.but(skip=True), LAYER.but(kernel="gaussian")),
    layers.breaking_figure: (LAYER, LAYER),
    words.drift_figure: (WORDS, WORDS),
    words.phases_figure: (RUN,),
    stopping.attention_figure: (IDLE, IDLE.but(scales=(4.0, 8.0)), RUN, RUN),
    nets.drift_figure: (NEURONS, NEURONS.but(hidden=True), neurons.rated_drift.but(**SHORT)),
    nets.proof_figure: (theorem.watched_run.but(width=16, steps=20),),
    nets.edge_figure: (lambda *run: dict.fromkeys((1.9, 2.5, 4), EDGE(*run)),),
    maps.flips_figure: stored("encoder-flips"),
}


class Asked(dict):
    """Claims by name that remember which of them were asked for."""

    names = ()

    def __getitem__(self, name):
        self.names = {*self.names, name}
        return super().__getitem__(name)


def drawn(figure):
    """What theory draws in a figure, dashed lines and areas, and the other lines, each as the text of its points."""
    lines = [(line.is_dashed(), line.get_xydata().tolist()) for axes in figure.axes for line in axes.get_lines()]
    areas = [path.vertices.tolist() for axes in figure.axes for area in axes.collections for path in area.get_paths()]
    plt.close(figure)
    return str([points for dashed, points in lines if dashed] + areas), str(
        [points for dashed, points in lines if not dashed]
    )


def moved(claim):
    """The same claim with another prediction, or with another edge where the edge is all that it says."""
    trial = claim.trial
    changes = {"predict": lambda record: 1.3 * trial.predicted(record) + 0.1}
    if trial.predict is None:
        changes = {"holds": replace(trial.holds, edge=1.2 * trial.holds.edge + 0.1)}
    return replace(claim, trial=replace(trial, **changes))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.__module__.split('.')[1]} {figure.__name__}")
def test_a_dashed_line_moves_with_what_its_claim_says(figure):
    records = [made((0, 1), "cpu") for made in FIGURES[figure]]
    claims = Asked(ROOMS[figure.__module__.split(".")[1]].claim)
    theory, measured = drawn(figure(claims, *records))
    for name in claims.names:
        other, same = drawn(figure(claims | {name: moved(claims[name])}, *records))
        assert other != theory and same == measured, name
    assert claims.names


def test_several_dashed_lines_have_a_name_each_and_powers_may_be_exact():
    _, axes = plot.figure()
    half, anchor = importlib.import_module("sympy").Rational(1, 2), torch.tensor(2.0)
    places, values = plot.power_law([1, 4], anchor, half)
    assert values.tolist() == [1.0, 2.0]
    lines = plot.theory(axes, places, np.stack([values, 2 * values], axis=1), ["one", "_"])
    assert [line.get_label() for line in lines] == ["one", "_"]
    assert "label" in refusal(lambda: plot.theory(axes, places, values, [1]))
    plt.close("all")


def test_every_figure_that_takes_claims_is_in_the_table():
    modules = [
        importlib.import_module(name)
        for name in stamp.library()
        if name.split(".")[1:2] and name.split(".")[1] in ROOMS
    ]
    found = {one for module in modules for _, one in inspect.getmembers(module, inspect.isfunction)}
    assert {one for one in found if next(iter(inspect.signature(one).parameters), "") == "claim"} == set(FIGURES)


def test_guides_phases_and_predictions_stand_where_the_numbers_are():
    figure, axes = plot.figure()
    (guide,) = plot.loglog_guide(axes, [0.1, 0.4, 0.2], anchor=8.0, order=3)
    assert guide.get_xydata() == pytest.approx(np.array([[0.1, 0.125], [0.2, 1.0], [0.4, 8.0]])) and guide.is_dashed()
    for place, edges in enumerate(((0.0, 1.5), (1.5, 4.0))):
        plot.phase(axes, *edges, place, "phase")
    spans = [span.get_extents().transformed(axes.transData.inverted()) for span in axes.patches]
    assert [edge for span in spans for edge in (span.x0, span.x1)] == pytest.approx([0.0, 1.5, 1.5, 4.0])
    assert [text.get_position()[0] for text in axes.texts] == [0.75, 2.75]
    (shown,) = plot.measured(axes, [1, 2], torch.tensor([[3.0], [4.0]], requires_grad=True), label="runs")
    assert shown.get_xydata().tolist() == [[1, 3], [2, 4]] and shown.get_label() == "runs"
    plt.close(figure)
    claims = ROOMS["foundations"].claim
    known = replace(claims["adam"], trial=replace(claims["adam"].trial, predict=lambda record: record["value"]))
    assert plot.predicted(known, {"value": torch.tensor([1.0, 2.0])}) == 1.5
    assert "one that predicts a number" in refusal(lambda: plot.predicted(claims["adam"]))


def linear(colour):
    """Linear red, green and blue of a colour."""
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The contrast of two linear colours, 1 to 21, as the Web Content Accessibility Guidelines define it."""
    low, high = sorted(float(each @ [0.2126, 0.7152, 0.0722]) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def turned(colour):
    """What ``invert(1) hue-rotate(180deg)`` makes of a colour on a dark page."""
    grey = np.tile([0.213, 0.715, 0.072], (3, 1))
    return np.clip((2 * grey - np.eye(3)) @ (1 - np.array(to_rgb(colour))), 0, 1)


VISION = {  # red, green and blue as they are seen: Machado, Oliveira and Fernandes 2009, at full severity
    "all three": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour):
    """A linear colour in CIELAB, where distances are about as large as they look."""
    white = [0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]
    cubes = np.cbrt(np.array(white) @ np.clip(colour, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * cubes[1] - 16, 500 * (cubes[0] - cubes[1]), 200 * (cubes[1] - cubes[2])])


@pytest.mark.parametrize("name", plot.COLOURS)
def test_colours_stand_out_on_a_white_and_on_a_dark_page(name):
    """The dark page of the theme is #14181e."""
    assert contrast(linear(plot.COLOURS[name]), linear("white")) >= 3
    assert contrast(linear(turned(plot.COLOURS[name])), linear("#14181e")) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_with_any_colour_vision(vision):
    seen = {name: lab(np.array(VISION[vision]) @ linear(colour)) for name, colour in plot.COLOURS.items()}
    near = min((np.linalg.norm(seen[one] - seen[two]), one, two) for one, two in combinations(seen, 2))
    assert near[0] > 15, near


def test_names_stand_beside_the_ends_of_their_curves_and_apart():
    _, axes = plot.figure()
    times = np.linspace(0, 1, 5)
    for colour, end in (("blue", 0.5), ("green", 0.51), ("red", 0.9)):
        plot.measured(axes, times, (times * end)[:, None], colour, colour)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    plot.direct(axes)
    named = {text.get_text(): text for text in axes.texts}
    heights = [named[name].xy[1] for name in ("blue", "green", "red")]
    assert heights[0] == pytest.approx(0.5) and heights[1] == pytest.approx(0.575) and heights[2] == pytest.approx(0.9)
    assert all(text.get_color() == plot.COLOURS[name] for name, text in named.items())
    plt.close("all")
