"""One look for all figures: measured runs pale and coloured, theory dashed, thin and dark, phases shaded."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from attnflow import door, runs

# Each at least 3:1 against a white page and, turned over for a dark one, against that; told apart with any colour vision.
# What is measured is blue or another hue of its own, theory is dashed and black, a control is orange.
COLOURS = {
    "blue": "#1560A8",
    "orange": "#C96F1E",
    "green": "#2E8B57",
    "red": "#8F1020",
    "purple": "#6A1FC0",
    "sky": "#2A9BE0",
    "black": "#212121",
}
KNOWN = door.either(door.together(), door.together(door.CURVE, door.CURVE))
AXES, COLOUR, LINES = door.instance(Axes), door.choice(*COLOURS), door.several(door.instance((tuple, list)))
LABELS = door.either(door.LABEL, door.several(door.LABEL))  # of one curve, or of several drawn in one call
ONE = door.either(door.EXACT, "real: ")  # such as an exponent of sympy, and the mean of a tensor
PHASES = ("#1560A822", "#C96F1E22", "#2E8B5722", "#6A1FC01C")  # the last two digits are how opaque
STYLE = {
    "figure.dpi": 200,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.prop_cycle": plt.cycler(color=list(COLOURS.values())),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "font.size": 9.5,
    "lines.linewidth": 1.2,
    "mathtext.fontset": "dejavusans",
}


@door.takes(columns=door.COUNT, rows=door.COUNT, width=door.POSITIVE, height=door.POSITIVE, ylabel=door.LABEL)
def figure(columns=1, rows=1, width=7.2, height=2.9, ylabel="", **keywords):
    """A figure in the style of the book: ``columns`` x ``rows`` panels, ``width`` inches wide, each ``height`` inches high.

    ylabel: of the first panel. Returns (figure, axes), as matplotlib's ``subplots`` does with the ``keywords``.
    """
    plt.rcParams.update(STYLE)
    drawn, axes = plt.subplots(rows, columns, figsize=(width, height * rows), **keywords)
    np.ravel(axes)[0].set_ylabel(ylabel)
    return drawn, axes


def _curve(times, values):
    """Times and values as arrays that can be drawn against each other."""
    times, values = runs.array(times), runs.array(values)
    fits = 0 < times.ndim <= values.ndim <= 2 and times.shape in (values.shape, values.shape[:1])
    runs.check("values", f"of shape {values.shape}", f"(K,) or (K, S) for times {times.shape}, (K,) or the same", fits)
    return times, values


@door.takes(axes=AXES, times=door.CURVE, values=door.CURVE, colour=COLOUR, label=door.LABEL)
def measured(axes, times, values, colour="blue", label=None, **keywords):
    """All runs as pale lines of one ``colour`` on ``axes``; one ``label`` in the legend for the whole stack.

    times: (K,) or (K, S); values: (K, S); keywords: of matplotlib's ``plot``. Returns the lines.
    """
    lines = axes.plot(*_curve(times, values), color=COLOURS[colour], **{"lw": 1.8, "alpha": 0.45} | keywords)
    if label:
        lines[0].set_label(label)
    return lines


@door.takes(axes=AXES, times=door.CURVE, values=door.CURVE, label=LABELS, colour=COLOUR)
def theory(axes, times, values, label=None, colour="black", **keywords):
    """What is predicted, drawn last and thin, so that runs are seen under it: one dashed line of a dark ``colour`` on ``axes``.

    times: (K,); values: (K,), or (K, J) for several lines; label: in the legend, one or J; keywords: of matplotlib's ``plot``.
    Returns the lines.
    """
    style = {"ls": (0, (4, 2.5)), "lw": 1.2, "zorder": 5} | keywords
    return axes.plot(*_curve(times, values), color=COLOURS[colour], label=label, **style)


@door.takes(axes=AXES, start=door.NUMBER, end=door.NUMBER, index=door.INDEX, label=door.LABEL)
def phase(axes, start, end, index, label=None):
    """Shade the phase of number ``index`` from ``start`` to ``end`` on ``axes`` and write its ``label`` at the top."""
    axes.axvspan(start, end, color=PHASES[index % len(PHASES)], lw=0, zorder=0)
    if label:
        low, high = axes.get_xlim()
        place = np.sqrt(max(start, low) * min(end, high)) if axes.get_xscale() == "log" else (start + end) / 2
        axes.text(place, 0.98, label, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=8.5)


@door.takes(axes=AXES, gap=door.NONNEGATIVE)
def direct(axes, gap=0.075):
    """The names of all labelled curves of ``axes`` beside their right ends, in their colours, in place of a legend.

    gap: the least distance of two names, as a part of the height. Call it when the limits are set.
    """
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    low, high = sorted(axes.get_xlim())
    place = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in lines:
        points = line.get_xydata()
        seen = points[np.isfinite(points).all(axis=1) & (points[:, 0] >= low) & (points[:, 0] <= high)]
        ends.append(np.clip(place.transform(seen[np.argmax(seen[:, 0])])[1], 0, 1) if len(seen) else 0)
    heights = np.array(ends, dtype=float)
    order = np.argsort(heights, kind="stable")
    for before, after in zip(order, order[1:], strict=False):
        heights[after] = max(heights[after], heights[before] + gap)
    heights -= max(0, max(heights, default=0) - 1)
    for line, height in zip(lines, heights, strict=True):
        look = {"color": line.get_color(), "fontsize": 8, "va": "center", "annotation_clip": False}
        axes.annotate(line.get_label(), (1, height), (4, 0), "axes fraction", "offset points", **look)


@door.takes(axes=AXES, values=door.ARRAY)
def levels(axes, values, **keywords):
    """A thin grey line across ``axes`` at each of the ``values``; keywords: of matplotlib's ``axhline``."""
    for value in values:
        axes.axhline(value, **{"color": "#999999", "lw": 0.8} | keywords)


@door.takes(axis=door.instance(Axis), values=door.ARRAY)
def ticks(axis, values):
    """Label a logarithmic ``axis`` at these ``values`` and nowhere else, in plain figures."""
    axis.set_major_locator(FixedLocator(sorted(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


@door.takes(axes=AXES, steps=door.ARRAY, anchor=door.SIZES, order=door.NUMBER, label=door.LABEL)
def loglog_guide(axes, steps, anchor, order, label=None):
    """A dashed line of slope ``order`` through ``anchor`` at the largest of the ``steps``: what a theory of that order predicts.

    axes: where it is drawn; label: in the legend. Returns the lines.
    """
    return theory(axes, *power_law(steps, anchor, order), label=label)


@door.takes(claim=door.is_a("a Claim", lambda value: hasattr(value, "predicted")))
def predicted(claim, record=None):
    """What a ``claim`` predicts, as the one number that a dashed line is drawn from: its mean over the runs of a ``record``.

    Raises WrongUse where the claim predicts nothing.
    """
    value = claim.predicted(record)
    runs.check(f"claim {claim.id}", value, "one that predicts a number", value is not None)
    return float(runs.array(value).mean())


@door.takes(axes=AXES, rows=LINES, steps=door.ARRAY)
def scaling(axes, rows, steps):
    """Points and lines of several quantities against the step, on two logarithmic ``axes``.

    rows: of (values (J, S), colour, label); steps: (J,).
    """
    for values, colour, label in rows:
        measured(axes, steps, values, colour, label, marker="o", ms=3)
    axes.set(xscale="log", yscale="log", xlabel=r"step $\eta$")
    ticks(axes.xaxis, steps)


@door.takes(axes=AXES, lines=LINES, legend=door.instance(dict), look=door.instance(dict), places=door.ARRAY)
def panel(axes, lines, legend=None, look=None, places=None, **settings):
    """Several measured curves on ``axes``, each with the curve that is predicted for it where there is one.

    lines: of (times, values, colour, label), as ``measured`` takes them, or (times, values, colour, label, times, values),
    the last two as ``theory`` takes them; legend: options of the legend, which is not drawn where there are none; look:
    options of the measured curves; places: where a logarithmic axis of times is labelled; settings: of the axes.
    """
    for times, values, colour, label, *known in lines:
        measured(axes, times, values, colour, label, **look or {})
        if known:
            theory(axes, *known)
    axes.set(**settings)
    if places is not None:
        ticks(axes.xaxis, places)
    if legend:
        axes.legend(**{"fontsize": 7} | legend)


@door.takes(
    times=door.CURVE, values=door.CURVE, colours=door.several(COLOUR), labels=door.several(door.LABEL), known=KNOWN
)
def family(times, values, colours, labels, known=()):
    """Lines of ``panel``, one for each entry of the last axis of some ``values`` (K, S, J).

    times: (K,) or (K, S); colours, labels: (J,); known: times (T,) and predicted values (T, J), where there are any.
    """
    counts = {len(colours), len(labels), np.shape(values)[-1]}
    runs.check("lines", sorted(counts), "as many colours and labels as lines in the last axis", len(counts) == 1)
    return [
        (times, values[..., place], *look, *(known and (known[0], known[1][:, place])))
        for place, look in enumerate(zip(colours, labels, strict=True))
    ]


@door.takes(axes=AXES, places=door.ARRAY, rows=LINES)
def loglog(axes, places, rows, **settings):
    """A ``panel`` with two logarithmic axes, on ``axes``, labelled at ``places``.

    rows: of (values, colour, label, ...), measured at the places, as the lines of :func:`panel` go on; settings: more of the
    panel.
    """
    panel(axes, [(places, *row) for row in rows], places=places, xscale="log", yscale="log", **settings)


@door.takes(places=door.ARRAY, anchor=ONE, power=ONE)
def power_law(places, anchor, power):
    """The ``power`` law through ``anchor`` at the largest of some ``places``: the two arrays that ``theory`` takes."""
    places = np.sort(runs.array(places))
    return places, float(anchor) * (places / places[-1]) ** float(power)


@door.takes(
    boxes=door.several(door.together(door.LABEL, door.NUMBER, door.NUMBER, COLOUR)),
    links=door.several(door.together(door.INDEX, door.INDEX), 0),
    size=door.together(*[door.POSITIVE] * 3),
    **dict.fromkeys(("half", "text", "line", "head", "gap"), door.POSITIVE),
)
def diagram(boxes, links, size, half=0.5, text=8.5, line=1.5, head=8, gap=21):
    """Boxes and arrows between them. Returns (figure, axes), for what is written beside.

    boxes: of (text, x, y, colour); links: pairs of their places in that list; size: width and height of the plane, and
    height of the figure in inches; half: half the width of a box; text, line, head, gap: sizes in points of the writing, the
    frames, the arrowheads, and the room between an arrow and the middle of a box.
    """
    width, depth, height = size
    drawn, axes = figure(height=height)
    axes.set(xlim=(0, width), ylim=(0, depth))
    axes.axis("off")
    for label, x, y, colour in boxes:
        corner, style = (x - half, y - 0.33), {"boxstyle": "round,pad=0.04", "fc": "none", "lw": line}
        axes.add_patch(FancyBboxPatch(corner, 2 * half, 0.66, ec=COLOURS[colour], **style))
        axes.text(x, y, label, ha="center", va="center", fontsize=text)
    style = {"arrowstyle": "-|>", "mutation_scale": head, "color": "#777777", "shrinkA": gap, "shrinkB": gap}
    for start, end in links:
        axes.add_patch(FancyArrowPatch(boxes[start][1:3], boxes[end][1:3], **style))
    return drawn, axes
