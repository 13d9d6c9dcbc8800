"""The picture of a claim: a dot is on the shading exactly where its number is accepted, however far off the others are."""

import re

import numpy as np
import pytest

from attnflow.claims import Above, Below, Between, Exactly, Near, dots


def circles(drawn, colour):
    """Horizontal places of all dots in a colour."""
    return [float(at) for at in re.findall(rf'<circle cx="(\d+)"[^>]*"{colour}"', drawn)]


@pytest.mark.parametrize(
    ("criterion", "values", "predicted"),
    [
        (Near(abs=0.5), [0.4, 0.6, 1.4, 1.6, 9.0, -1e4, np.inf], 1.0),
        (Near(rel=0.1), [89.0, 95.0, 111.0], 100.0),
        (Between(1, 2), [0.9, 1.1, 2.5], None),
        (Below(1e-12), [1e-16, 5e-13, 0.1, np.inf], None),
        (Below(-0.5), [-0.9, -0.6, -0.3, 0.2], None),
        (Above(0.1), [0.5, 2.0, 0.09, -7.0], None),
        (Above(1e3), [np.inf, 2e3, 1e-9], None),
        (Exactly(), [3.0, 2.0, 7.0], 3.0),
    ],
)
def test_a_dot_is_on_the_shading_exactly_where_its_number_is_accepted(criterion, values, predicted):
    ends = criterion.accepted(predicted)
    drawn = dots.svg(values, [np.nan], ends, predicted)
    left, width = (float(one) for one in re.search(r'<rect x="(\d+)" y="4" width="(\d+)"', drawn).groups())
    meets = criterion.margin(np.sort(values), predicted) >= 0
    found = np.array(circles(drawn, dots.INK["claim"]))
    assert len(found) == len(values) and circles(drawn, dots.INK["control"]) == [] and (np.diff(found) >= 0).all()
    assert ((found >= left) & (found <= left + width)).tolist() == meets.tolist()


def test_a_control_has_a_row_of_its_own_and_equal_dots_step_aside():
    drawn = dots.svg([1.0, 1.0, 1.0], [2.0], (0.5, 1.5), 1.0, "a & b")
    heights = re.findall(r'cy="(\d+)" r="3.4" fill="#', drawn)
    assert len(set(heights)) == 3 and drawn.count("<circle") == 4 and "<title>a &amp; b</title>" in drawn
    assert drawn.count("stroke-dasharray") == 1 and "stroke-dasharray" not in dots.svg([1.0], [2.0], (0.5, 1.5))
    assert 'alt="so &quot;many&quot;"' in dots.image(drawn, 'so "many"')


def test_a_common_prediction_keeps_distances_in_half_widths():
    measured, predicted = np.array([1.1, 4.4]), np.array([1.0, 4.0])
    assert Near(rel=0.2).beside(measured, predicted, 2.0) == pytest.approx([2.2, 2.2])
    assert Exactly().beside(measured, predicted, 2.0) == pytest.approx([2.1, 2.4])
    assert Below(1.0).beside(measured, None, None) is measured
    assert Below(1.0).beside(measured, predicted, 2.0) is measured


@pytest.mark.parametrize(("edges", "predicted", "said"), [((0.99995, 1.00005), 1.0, ["0.99995", "1.00005", "1"])])
def test_two_ticks_that_four_digits_do_not_tell_apart_have_more(edges, predicted, said):
    drawn = dots.svg([1.0], [2.0], edges, predicted)
    assert re.findall(r'<text x="\d+" y="76"[^>]*>([^<]*)</text>', drawn) == said
