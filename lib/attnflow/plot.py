"""One look for all figures: measured runs thin and coloured, theory dashed and dark, phases shaded."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's palette, told apart by readers with any colour vision.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#222222",
}
PHASES = ("#DCEAF5", "#FBE9CF", "#DFF1E6", "#F3E1EC")
STYLE = {
    "figure.dpi": 200,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "white",
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


def figure(columns=1, rows=1, width=7.2, height=2.9, **keywords):
    """A figure in the style of the book. Returns (figure, axes), as matplotlib's ``subplots`` does."""
    plt.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(width, height * rows), **keywords)


def _numbers(values):
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def measured(axes, times, values, colour="blue", label=None, **keywords):
    """All runs as thin lines. times: (K,) or (K, S); values: (K, S). One legend entry for the whole stack."""
    lines = axes.plot(_numbers(times), _numbers(values), color=COLOURS[colour], lw=0.8, alpha=0.65, **keywords)
    if label:
        lines[0].set_label(label)
    return lines


def theory(axes, times, values, label=None, colour="black", **keywords):
    """What is predicted, drawn last: one dashed dark line. times, values: (K,)."""
    style = {"ls": (0, (4, 2)), "lw": 1.6, "zorder": 5} | keywords
    return axes.plot(_numbers(times), _numbers(values), color=COLOURS[colour], label=label, **style)


def phase(axes, start, end, index, label=None):
    """Shade one phase between two times and write its name at the top."""
    axes.axvspan(start, end, color=PHASES[index % len(PHASES)], lw=0, zorder=0)
    if label:
        low, high = axes.get_xlim()
        place = np.sqrt(max(start, low) * min(end, high)) if axes.get_xscale() == "log" else (start + end) / 2
        axes.text(place, 0.98, label, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=8.5)


def ticks(axis, values):
    """Label a logarithmic axis at these values and nowhere else, in plain figures."""
    axis.set_major_locator(FixedLocator(sorted(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def loglog_guide(axes, steps, anchor, order, label=None):
    """A dashed line of slope ``order`` through ``anchor`` at the largest step: what a theory of that order predicts."""
    steps = np.sort(_numbers(steps))
    return theory(axes, steps, anchor * (steps / steps[-1]) ** order, label=label)
