"""The comparison of figures: what it finds in the stored chapters, and what it lets pass."""

import base64
import io
from itertools import combinations
from pathlib import Path

import figures
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from figures import LEAST, differences, drawn, likeness, shades

from attnflow import plot

STORED = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


def of_chapter(path):
    """The stored figures of a chapter, as base64 PNG."""
    return [one for cell in nbformat.read(path, as_version=4).cells for one in drawn(cell.get("outputs", []))]


def size(picture):
    return figures.Image.open(io.BytesIO(base64.b64decode(picture))).size


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_two_figures_of_a_chapter_in_each_other_s_place_are_found(path):
    """Of all pairs of one size in a chapter the most alike reach 0.04; of other sizes, none."""
    found = of_chapter(path)
    one, other = next(pair for pair in combinations(found, 2) if size(pair[0]) == size(pair[1]))
    assert likeness(shades(one), shades(other)) < 0.1 and differences([one, other], [other, one])[1:]
    odd = next(each for each in found if size(each) != size(one))
    assert differences([one], [odd]) and differences([one, other], [one]) and differences([one], [one]) == []


@pytest.mark.parametrize("axis", [0, 1])
def test_a_figure_that_is_moved_by_a_pixel_is_found(axis):
    picture = shades(of_chapter(STORED[0])[0])
    assert likeness(picture, np.roll(picture, 1, axis=axis)) < 0.75 < LEAST


def line(ends=(0.0, 1.0), colour="blue", **changes):
    """A figure of two curves, of which one is drawn as asked, as base64 PNG."""
    figure, axes = plot.figure()
    plot.measured(axes, np.linspace(0, 1, 50), np.linspace(*ends, 50)[:, None], colour, **changes)
    plot.theory(axes, [0, 1], [0.2, 0.9])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="time")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({}, False),
        ({"ends": (0.0, 1 + 1e-6)}, False),  # far below a pixel
        ({"ends": (0.0, 0.98)}, True),
        ({"colour": "green"}, True),
        ({"ls": ":"}, True),
        ({"lw": 1.0}, True),
        ({"lw": 1.7}, False),  # what the eye does not see either
    ],
)
def test_a_curve_that_is_drawn_otherwise_is_found(changes, seen):
    assert bool(differences([line()], [line(**changes)])) is seen


def test_figures_of_other_versions_are_not_compared(monkeypatch):
    assert figures.other_versions() == ""
    monkeypatch.setattr(figures.metadata, "version", lambda name: "0.1" if name == "torch" else "3.11.2")
    assert figures.other_versions().startswith("torch 0.1 and not ")
