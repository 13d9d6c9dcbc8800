"""The picture of a claim: its seeds as dots on a line, what is accepted shaded, the control's dots beside it.

Inside what is accepted the line is linear; outside it is logarithmic, so that a control that fails by a hair and one that fails
by a factor of a million both find a place. The colours are seen on a light and on a dark ground.
"""

import base64
import html
from collections.abc import Callable, Sequence

import numpy as np

from attnflow import door

SIZE = (440, 84)
INK = {"claim": "#0072B2", "control": "#C2570C", "text": "#767676", "band": "#0072B2"}
LANES = {"claim": 18, "control": 47}  # height of the two rows of dots
BAND = (150, 310)  # where what is accepted begins and ends
ENDS = (12, 428)
ENDS_OF = door.is_a(
    "a pair of numbers, the second no less than the first",
    lambda value: isinstance(value, tuple) and len(value) == 2 and value[0] <= value[1],
)
STEP = 5  # a dot that is outside by a hair is seen to be outside
REACH = 1e3  # half-widths from the band to the end of the line


@door.takes(accepted=ENDS_OF, values=door.several(door.ANY_NUMBER, 0))
def window(accepted: tuple, values: Sequence[float]) -> tuple[float, float]:
    """The two numbers between which the line is linear: what is ``accepted``, cut where the ``values`` end if it has no end.

    >>> window((0.5, 1.5), [1.0]), window((-np.inf, 2.0), [0.5]), window((1.0, np.inf), [4.0, 6.0]), window((2.0, np.inf), [1.0])
    ((0.5, 1.5), (0.0, 2.0), (1.0, 6.0), (2.0, 4.0))
    """
    known = [value for value in values if np.isfinite(value)]
    low, high = accepted
    if low == -np.inf:
        low = min([0.0 if high > 0 else 2 * high, *known])
    if high == np.inf:
        above = [value for value in known if value > low]
        high = max([2 * low if low > 0 else 0.0, *known] if low <= 0 or not above else above)
    room = (0.05 * abs(low) or 0.05) if low == high else 0.0
    return low - room, high + room


@door.takes(low=door.NUMBER, high=door.NUMBER)
def places(low: float, high: float) -> Callable[[float], float]:
    """The line: a function value -> pixel, linear from ``low`` to ``high``, logarithmic beyond; infinite is at its ends."""
    half = (high - low) / 2

    def beyond(distance):
        return min(np.log1p(distance / half) / np.log1p(REACH), 1.0)

    def place(value):
        if value < low:
            return BAND[0] - STEP - beyond(low - value) * (BAND[0] - STEP - ENDS[0])
        if value > high:
            return BAND[1] + STEP + beyond(value - high) * (ENDS[1] - STEP - BAND[1])
        return BAND[0] + (value - low) / (high - low) * (BAND[1] - BAND[0])

    return place


@door.takes(
    measured=door.several(door.ANY_NUMBER, 0),
    control=door.several(door.ANY_NUMBER, 0),
    accepted=ENDS_OF,
    predicted=door.ANY_NUMBER,
    title=door.TEXT,
)
def svg(
    measured: Sequence[float],
    control: Sequence[float],
    accepted: tuple,
    predicted: float | None = None,
    title: str = "",
) -> str:
    """The picture as SVG text.

    measured, control: one number a seed; accepted: the two ends of what the criterion accepts, infinite where it has none;
    predicted: drawn dashed, where a number is; title: for those who cannot see it. A number that is NaN has no place.
    """
    low, high = window(accepted, [*measured, *([] if predicted is None else [predicted])])
    place = places(low, high)
    alone = accepted[0] == accepted[1]
    left, right = (ENDS[0] if accepted[0] == -np.inf else BAND[0]), (ENDS[1] if accepted[1] == np.inf else BAND[1])
    if alone:
        left, right = place(low + (high - low) * 0.49), place(low + (high - low) * 0.51)
    width, height = SIZE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-family="sans-serif" font-size="11"><title>{html.escape(title)}</title>',
        f'<rect x="{left:.0f}" y="4" width="{right - left:.0f}" height="56" fill="{INK["band"]}" fill-opacity="0.16"/>',
        f'<line x1="{ENDS[0]}" y1="60" x2="{ENDS[1]}" y2="60" stroke="{INK["text"]}"/>',
    ]
    ticks = {} if alone else {BAND[0]: low, BAND[1]: high}
    if predicted is not None:
        at = place(predicted)
        lines.append(
            f'<line x1="{at:.0f}" y1="4" x2="{at:.0f}" y2="64" stroke="{INK["text"]}" stroke-width="2" stroke-dasharray="4 3"/>'
        )
        ticks = {other: value for other, value in ticks.items() if abs(other - at) > 45} | {at: predicted}
    lines += [
        f'<text x="{at:.0f}" y="76" text-anchor="middle" fill="{INK["text"]}">{said}</text>'
        for at, said in zip(ticks, _told(list(ticks.values())), strict=True)
    ]
    for lane, values in (("claim", measured), ("control", control)):
        lines += _row(lane, [place(value) for value in values if value == value])
    return "".join(lines) + "</svg>"


def _told(values):
    """Four digits of each of the ``values``, or as many more as leave an error that is small beside their distance."""
    span = max(values, default=0.0) - min(values, default=0.0)
    for digits in range(4, 17):
        said = [f"{value + 0.0:.{digits}g}" for value in values]
        if all(abs(float(text) - value) <= span / 100 for text, value in zip(said, values, strict=True)):
            break
    return said


def _row(lane, found):
    """The dots of one row, those of a control open; dots that would hide each other step aside, up and down in turn."""
    look = f'fill="{INK[lane]}"' if lane == "claim" else f'fill="none" stroke="{INK[lane]}" stroke-width="1.6"'
    seen, drawn = {}, []
    for at in sorted(found):
        cell = round(at / 7)
        turn = seen[cell] = seen.get(cell, -1) + 1
        aside = (turn + 1) // 2 * (3 if turn % 2 else -3)
        drawn.append(f'<circle cx="{at:.0f}" cy="{LANES[lane] + max(-9, min(9, aside))}" r="3.4" {look}/>')
    return drawn


@door.takes(drawn=door.TEXT, words=door.TEXT)
def image(drawn: str, words: str) -> str:
    """A ``drawn`` picture as one HTML element that needs no file, with ``words`` for those who cannot see it."""
    packed = base64.b64encode(drawn.encode()).decode()
    return f'<img class="claim-dots dark-light" alt="{html.escape(words)}" src="data:image/svg+xml;base64,{packed}">'
