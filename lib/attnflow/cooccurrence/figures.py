"""The figures of chapter 2 on its task, its laws and its phases: theory dashed over all the runs, a control in orange."""

import numpy as np
import torch
from matplotlib.patches import FancyBboxPatch

from attnflow import plot, runs
from attnflow.cooccurrence import balance, ratio, reduced
from attnflow.cooccurrence.setting import WATCHED, later, watched

WORDS = ("blue", "sky", "red")  # words 0, 1, 2 in every figure
CLASSES = ("green", "blue", "sky", "purple")  # I_1 .. I_4
NAMES = (r"$I_1$ both", r"$I_2$ first only", r"$I_3$ second only", r"$I_4$ neither")
PAIRED = ("$I_1$", "$I_2$, $I_3$", "_", "$I_4$")  # where I_2 and I_3 lie on one another
LOOKS = {  # colours and labels of the lines of a quantity; what lies on its neighbour has its name there
    "gamma": (WORDS, (r"$\gamma_1$, $\gamma_2$", "_", r"$\gamma_3$")),
    "class_loss": (CLASSES, PAIRED),
    "shares": (CLASSES[1:], ("$s_2/s_1$, $s_3/s_1$", "_", "$s_4/s_1$")),
    "watched": (("blue", "sky", "red", "purple"), [rf"$\Phi_{{{query + 1}{key + 1}}}$" for query, key in WATCHED]),
    "gram": (("blue", "red", "purple"), ("(1, 2)", "(1, 3), (2, 3)", "_")),
}
TAU = r"time $\tau = \|\omega(0)\|^2\,t$"


def clock(first, last, label=TAU):
    """Settings of a logarithmic time axis from ``first`` to ``last``, with its ``label``."""
    return {"xscale": "log", "xlim": (first, last), "xlabel": label}


def phases(axes, boundary):
    """Shade both phases on some ``axes`` with a time axis, on either side of their ``boundary``."""
    first, last = axes.get_xlim()
    plot.phase(axes, first, boundary, 0, "Phase 1")
    plot.phase(axes, boundary, last, 1, "Phase 2")


def shares_figure(run, last=3e4):
    """The classes' shares of the gradient in a ``run`` up to tau = ``last``, heading to the dashed dual numbers."""
    asked = run["task"]
    second, fourth, _ = balance.predicted(asked.samples, asked.length)
    dual = np.array([1, second, second, fourth])
    boundary = reduced.Reduced(asked.samples, asked.length).landmarks()["tau_1"]["tau"]
    shares, of_seven = run["shares"] / run["shares"].sum(dim=-1, keepdim=True), 7 * dual
    names = [f"both: {of_seven[0]:.2g}", f"one: {of_seven[1]:.2g} each", "_", f"neither: {of_seven[3]:.2g}"]
    _, axes = plot.figure()
    plot.panel(axes, plot.family(run["tau"], shares, CLASSES, names), ylim=(0, 0.6), **clock(0.3, last))
    axes.set(ylabel="share of the gradient")
    phases(axes, boundary)
    for level in dual / dual.sum():
        plot.theory(axes, [boundary, last], [level, level], "_")
    plot.direct(axes)
    return axes.figure


def task_picture(tokens, classes):
    """One sample of each class as a row of words. tokens: (n, L); classes: (n,)."""
    figure, axes = plot.figure(height=2.3)
    axes.axis("off")
    axes.set(xlim=(-1.7, tokens.shape[1] + 1.2), ylim=(-0.2, 4.1))
    for index, name in enumerate(NAMES):
        height, style = 3.55 - index, {"boxstyle": "round,pad=0.02", "fc": "none", "lw": 1.8}
        axes.text(-0.25, height, name, ha="right", va="center", fontsize=9)
        for place, word in enumerate(runs.array(tokens[classes == index][0]).tolist()):
            look = {"color": plot.COLOURS[WORDS[word]] if word < 3 else "#777777", "fontsize": 10}
            axes.add_patch(FancyBboxPatch((place + 0.08, height - 0.35), 0.84, 0.7, ec=look["color"], **style))
            axes.text(place + 0.5, height, f"$e_{{{word + 1}}}$", ha="center", va="center", **look)
        axes.text(tokens.shape[1] + 0.2, height, "$y = -1$" if index else "$y = +1$", va="center", fontsize=9)
    return figure


def drift_figure(claim, kept, adam):
    """Drift of the laws against the step, with the order that each ``claim`` predicts; ``kept`` by descent, not by ``adam``."""
    _, axes = plot.figure(height=3.6, ylabel="drift")
    lines = (
        (adam["query-key"], "orange", "$D_{QK}$, Adam"),
        (adam["value-output"], "orange", "$D_{VO}$, Adam"),
        (kept["query sum"], "red", r"$\mathbf{1}^\top W_Q$, no law"),
        (kept["value-output"], "green", "$D_{VO}$"),
        (kept["query-key"], "blue", "$D_{QK}$"),
        (kept["key sum"], "sky", r"$\mathbf{1}^\top W_K$"),
        (kept["off signs"], "purple", r"$W_O(I-\xi\xi^\top/o)$"),
    )
    plot.scaling(axes, lines, kept["steps"])
    axes.set_ylim(bottom=1e-17)  # rounding differs between processors, and a scale that follows it moves all else
    for name in ("query-key", "value-output"):
        plot.loglog_guide(axes, kept["steps"], float(kept[name][0].median()), plot.predicted(claim[f"law-{name}"]), "_")
    plot.direct(axes)
    return axes.figure


def duality_figure(samples, weights, dual, steps, shares):
    r"""A hard-margin problem in the plane, and the loss derivatives of descent on it.

    samples: $y_ix_i$ (3, 2), the first two on the margin; weights: (2,); dual: (3,); steps: (K,); shares: of the loss
    derivatives (K, 3).
    """
    figure, (left, right) = plot.figure(2, height=3.0, width=7.2)
    samples, weights, dual = (np.asarray(each, dtype=float) for each in (samples, weights, dual))
    colours = [plot.COLOURS[name] for name in ("green", "blue", "purple")]
    along = weights / (weights @ weights) + np.outer([-3, 3], [-weights[1], weights[0]])
    plot.theory(left, *along.T)
    look = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    corners = np.vstack([[0, 0], np.cumsum(dual[:, None] * samples, axis=0)])
    for start, end, colour in zip(corners[:2], corners[1:3], colours, strict=False):
        left.annotate("", end, start, arrowprops=look | {"color": colour, "lw": 1.4})
    left.annotate("", weights, (0, 0), arrowprops=look | {"color": plot.COLOURS["black"], "lw": 2})
    left.text(*(weights + [0.08, 0.12]), "$w$", fontsize=10)
    for index, (point, colour) in enumerate(zip(samples, colours, strict=True)):
        left.plot(*point, "o", ms=6, color=colour)
        left.text(*(point + [0.12, 0.1]), f"$y_{index + 1}x_{index + 1}$", color=colour, fontsize=9)
    left.plot(0, 0, "+", ms=7, color="#777777")
    left.set(xlim=(-1.6, 2.8), ylim=(-1.6, 3.5), aspect="equal", title="three samples, one plane")
    for index, name in enumerate(("green", "blue", "purple")):
        plot.measured(right, steps, shares[:, [index]], name, rf"$g_{index + 1}$")
        plot.theory(right, [steps[0], steps[-1]], [dual[index] / dual.sum()] * 2, "_")
    right.set(xscale="log", xlim=(steps[0], steps[-1]), ylim=(-0.03, 0.7), xlabel="steps of descent")
    right.set_title("shares of the loss derivatives")
    plot.direct(right)
    return figure


def phases_figure(claim, run, last=3e4):
    """The two phases of a ``run`` in six panels up to tau = ``last``, theory dashed, the boundary that a ``claim`` predicts."""
    asked, tau, start = run["task"], run["tau"], float(run["readout"][0].mean())
    flow = reduced.Reduced(asked.samples, asked.length, asked.fractions, run["neurons"] / start**2)
    taus = np.geomspace(0.05, last, 400)
    solved, boundary = flow.solve(taus), plot.predicted(claim["boundary"], run)
    drive = reduced.attention_drive(solved, flow, run["width"], run["inner"], start)
    scores = solved["gamma"][:, (0, 0, 1)] * solved["gamma"][:, (1, 2, 2)]
    known = solved | {
        "shares": solved["shares"][:, 1:],
        "watched": 1e4 * watched(drive),
        "gram": scores / (start * solved["readout"])[:, None],
    }
    seen = dict(run) | {
        "shares": run["shares"][..., 1:],
        "watched": 1e4 * (run["watched"] - run["watched"][:1]),
        "gram": run["gram"] - run["gram"][:1],
    }
    lines = {name: plot.family(tau, seen[name], *look, (taus, known[name])) for name, look in LOOKS.items()}
    late = taus[taus >= boundary], solved["rho"][taus >= boundary]
    lines["shares"][:0] = [(tau, later(run, run["rho"]), "red", r"$\rho$", *late)]
    panels = (
        ("gamma", "(a) token scores", (-13, 11), {}),
        ("shares", "(b) ratios of sums", (-0.05, 2.3), {}),
        ("class_loss", "(c) class losses, early", (0, 0.95), {"xlim": (0.3, 100)}),
        ("class_loss", "(d) the same, to the end", (1e-5, 3), {"yscale": "log"}),
        ("watched", r"(e) change of $\Phi$, in $10^{-4}$", (-0.6, 0.75), {}),
        ("gram", r"(f) change of $W_VW_V^\top$", (-0.9, 0.8), {}),
    )
    figure, grid = plot.figure(2, 3, height=2.25)
    for axes, (name, title, limits, more) in zip(grid.flat, panels, strict=True):
        plot.panel(axes, lines[name], title=title, ylim=limits, **clock(0.3, last, r"$\tau$") | more)
        phases(axes, boundary)
        plot.direct(axes, gap=0.12)
    plot.levels(grid[1, 0], [np.log(2)])
    grid[0, 1].axhspan(*balance.RANGE, color="#99999933", lw=0, zorder=0)
    plot.levels(grid[0, 1], balance.predicted(asked.samples, asked.length), color=plot.COLOURS["black"], lw=0.9, ls=":")
    return figure


def dual_figure(distinct, repeated):
    """Loss derivatives against the dual variables of the same data, both as shares: at the end, and how near they come.

    distinct, repeated: runs with distinct and with repeated random words.
    """
    figure, (left, right) = plot.figure(2, height=3.0)
    shares = ratio.sample_shares(repeated)
    for across, up in zip(*shares, strict=True):
        for index, colour in enumerate(CLASSES):
            inside = runs.array(repeated["classes"]) == index
            left.plot(across[inside], up[inside], "o", ms=3, alpha=0.6, color=plot.COLOURS[colour])
    plot.theory(left, [0, shares[0].max()], [0, shares[0].max()])
    left.set(title="repeated words, at the end", xlabel=r"share of the dual variable $\nu_i$", ylabel="share of $g_i$")
    for name, colour in zip(NAMES, CLASSES, strict=True):
        left.plot([], [], "o", ms=3, color=plot.COLOURS[colour], label=name)
    left.legend(loc="upper left")
    for run, colour, label in ((repeated, "green", "repeated"), (distinct, "blue", "distinct")):
        forces = torch.sigmoid(-run["margins"])
        dual = torch.from_numpy(ratio.sample_shares(run)[0])
        gap = (forces / forces.sum(dim=-1, keepdim=True) - dual).norm(dim=-1) / dual.norm(dim=-1)
        plot.measured(right, run["loss"], gap, colour, label)
    right.set(title="distance of both, relative", xscale="log", yscale="log", xlabel=r"loss $\mathcal{L}$")
    right.set(xlim=(1, 1e-6), ylim=(2e-3, 2))
    right.legend(loc="lower left")
    return figure
