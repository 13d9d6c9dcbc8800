"""The figures of chapter 2: each takes runs and returns a figure, with theory dashed over all the runs."""

import numpy as np
import torch
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import FancyBboxPatch

from attnflow import plot
from attnflow.cooccurrence import balance, experiments, phases, readings, reduced

WORDS = ("blue", "sky", "red")  # words 0, 1, 2 in every figure
CLASSES = ("green", "blue", "sky", "purple")  # I_1 .. I_4
NAMES = (r"$I_1$ both", r"$I_2$ first only", r"$I_3$ second only", r"$I_4$ neither")


def task_picture(tokens, classes):
    """One sample of each class as a row of words. tokens: (n, L)."""
    figure, axes = plot.figure(height=2.3)
    axes.axis("off")
    axes.set(xlim=(-1.7, tokens.shape[1] + 1.2), ylim=(-0.2, 4.1))
    for index in range(4):
        words = tokens[classes == index][0].tolist()
        height = 3.2 - index
        axes.text(-0.25, height + 0.35, NAMES[index], ha="right", va="center", fontsize=9)
        for place, word in enumerate(words):
            colour = plot.COLOURS[WORDS[word]] if word < 3 else "#BBBBBB"
            box = (place + 0.08, height)
            axes.add_patch(FancyBboxPatch(box, 0.84, 0.7, boxstyle="round,pad=0.02", fc="white", ec=colour, lw=1.8))
            text = f"$e_{{{word + 1}}}$"
            axes.text(place + 0.5, height + 0.35, text, ha="center", va="center", fontsize=10, color=colour)
        label = "$y = +1$" if index == 0 else "$y = -1$"
        axes.text(len(words) + 0.2, height + 0.35, label, va="center", fontsize=9)
    return figure


def drift_figure(kept, adam):
    """Drift of the laws against the step: two at first order, two not at all; with Adam none is kept."""
    figure, (left, right) = plot.figure(2, sharey=True)
    names = (("query-key", "blue", "$D_{QK}$"), ("value-output", "orange", "$D_{VO}$"))
    linear = (("key sum", "green", r"$\mathbf{1}^\top W_K$"), ("off signs", "purple", r"$W_O(I-\xi\xi^\top/o)$"))
    for name, colour, label in (*names, *linear):
        plot.measured(left, kept["steps"], kept[name], colour, label, marker="o", ms=3)
    for name, colour, label in names:
        plot.measured(right, adam["steps"], adam[name], colour, label, marker="o", ms=3)
    plot.measured(left, kept["steps"], kept["query sum"], "red", r"$\mathbf{1}^\top W_Q$, no law", marker="o", ms=3)
    for name, _, _ in names:
        plot.loglog_guide(left, kept["steps"], float(kept[name][0].median()), 1)
    left.plot([], [], ls="--", color=plot.COLOURS["black"], label="order 1")
    for axes, title in ((left, "descent"), (right, "Adam")):
        axes.set(xscale="log", yscale="log", xlabel=r"step $\eta$", title=title)
        plot.ticks(axes.xaxis, kept["steps"])
    left.set_ylabel("drift")
    left.legend(loc="center", bbox_to_anchor=(0.5, 0.26), fontsize=7, ncols=2)
    right.legend(loc="center")
    return figure


def clock(axes, first, last, boundary=None, label=r"time $\tau = |\omega(0)|^2\,t$"):
    """A logarithmic time axis, with the two phases shaded where a boundary is predicted."""
    axes.set(xscale="log", xlim=(first, last), xlabel=label)
    if boundary:
        plot.phase(axes, first, boundary, 0, "Phase 1")
        plot.phase(axes, boundary, last, 1, "Phase 2")


def phases_figure(run, inner, width, last=3e4):
    """The two phases in six panels, theory dashed; inner and width: $\\sigma_0$ and k, for the attention scores."""
    asked = run["task"]
    flow = reduced.Reduced(asked.samples, asked.length, asked.fractions)
    taus = np.geomspace(0.05, last, 400)
    solved = flow.solve(taus)
    boundary = float(flow.landmarks()["tau_1"]["tau"])
    figure, panels = plot.figure(2, 3, height=2.25)
    for axes in panels.flat:
        clock(axes, 0.3, 300 if axes is panels[0, 1] else last, boundary)
    _token_panel(panels[0, 0], run, taus, solved)
    _loss_panels(panels[0, 1], panels[1, 1], run, taus, solved)
    _ratio_panel(panels[1, 0], run, taus, solved, boundary)
    drive = reduced.attention_drive(solved, flow, width, inner, float(run["readout"][0].mean()))
    _score_panel(panels[2, 0], run, taus, drive)
    gram = run["gram"] - run["gram"][:1]
    for (one, other), colour in zip(((0, 1), (0, 2), (1, 2)), ("blue", "red", "orange"), strict=True):
        plot.measured(panels[2, 1], run["tau"], gram[..., one, other], colour, f"({one + 1}, {other + 1})")
    panels[2, 1].set(ylabel=r"change of $W_VW_V^\top$", ylim=(-1.1, 0.9))
    panels[2, 1].legend(fontsize=7, loc="lower left")
    return figure


def _token_panel(axes, run, taus, solved):
    """Token scores of the first three words."""
    for word in range(3):
        plot.measured(axes, run["tau"], run["gamma"][..., word], WORDS[word], rf"$\gamma_{word + 1}$")
        plot.theory(axes, taus, solved["gamma"][:, word])
    axes.set(ylabel="token scores", ylim=(-13, 11))
    axes.legend(fontsize=7, loc="lower left")


def _loss_panels(start, whole, run, taus, solved):
    """Class losses: the early rise on a linear axis, the long fall on a logarithmic one."""
    losses = phases.class_losses(run)
    for axes in (start, whole):
        for index in range(4):
            plot.measured(axes, run["tau"], losses[..., index], CLASSES[index], NAMES[index])
            plot.theory(axes, taus, solved["class_loss"][:, index])
        axes.set_ylabel("class losses")
    start.axhline(np.log(2), color="#999999", lw=0.8)
    start.set_ylim(0, 0.92)
    start.legend(fontsize=7, loc="lower left")
    whole.set(yscale="log", ylim=(1e-4, 2))


def _ratio_panel(axes, run, taus, solved, boundary):
    """Quotients of the class sums and the ratio from the boundary on, with their limits dotted."""
    sums, late = phases.sums(run), taus >= boundary
    plot.measured(axes, run["tau"], phases.later(run, phases.ratio(sums)), "orange", r"$\rho$, from $\tau_\star$ on")
    plot.theory(axes, taus[late], solved["rho"][late])
    for index, name in ((1, "$s_2/s_1$"), (2, "$s_3/s_1$"), (3, "$s_4/s_1$")):
        plot.measured(axes, run["tau"], sums[..., index] / sums[..., 0], CLASSES[index], name)
        plot.theory(axes, taus, solved["sums"][:, index] / solved["sums"][:, 0])
    for level in balance.predicted(run["task"].samples, run["task"].length):
        axes.axhline(level, color=plot.COLOURS["black"], lw=0.9, ls=":")
    axes.set(ylabel="ratios of sums", ylim=(-0.05, 1.65))
    axes.legend(fontsize=7, loc="center right", bbox_to_anchor=(1, 0.6), ncols=2)


def _score_panel(axes, run, taus, drive):
    """Change of the four watched attention scores, with what the reduced flow drives."""
    change = run["scores"] - run["scores"][:1]
    for (query, key), colour in zip(readings.WATCHED, ("blue", "sky", "red", "orange"), strict=True):
        label = rf"$\Phi_{{{query + 1}{key + 1}}}$"
        plot.measured(axes, run["tau"], 1e4 * change[..., query, key], colour, label)
        plot.theory(axes, taus, 1e4 * drive[:, query, key])
    axes.set(ylabel=r"change of $\Phi$, in $10^{-4}$", ylim=(-0.6, 0.7))
    axes.legend(fontsize=7, loc="lower left", ncols=2)


def dual_figure(distinct, repeated):
    """Loss derivatives at the end against the dual variables of the same data, sample by sample, both normalised."""
    figure, panels = plot.figure(2, height=2.9)
    titles = ("distinct random words", "repeated random words")
    for axes, run, title in zip(panels, (distinct, repeated), titles, strict=True):
        derivative = torch.sigmoid(-phases.final(run, run["margins"])).numpy()
        top = 0.0
        for row, found in zip(derivative, readings.separations(run), strict=True):
            across, up = found.alpha / found.alpha.sum(), row / row.sum()
            for index in range(4):
                inside = run["classes"].numpy() == index
                axes.plot(across[inside], up[inside], "o", ms=3, alpha=0.6, color=plot.COLOURS[CLASSES[index]])
            top = max(top, across.max())
        plot.theory(axes, [0, top], [0, top])
        axes.set(title=title, xlabel=r"dual variable $\nu_i$, share of the sum")
    panels[0].set_ylabel(r"loss derivative $g_i$, share of the sum")
    for index in range(4):
        panels[0].plot([], [], "o", ms=3, color=plot.COLOURS[CLASSES[index]], label=NAMES[index])
    panels[0].legend(fontsize=7)
    return figure


def paper_figure(arrays, names):
    """The paper's two figures under each reading: attention scores above, losses below. arrays: of the stored sweep."""
    figure, panels = plot.figure(2, 2, height=2.5, sharex=True)
    for column, name in enumerate(names):
        epochs, (top, bottom) = arrays["epochs"][column], panels[:, column]
        for (query, key), colour in zip(readings.WATCHED, ("blue", "sky", "red", "orange"), strict=True):
            label = rf"$\Phi_{{{query + 1}{key + 1}}}$"
            plot.measured(top, epochs, 1e3 * arrays["scores"][column][..., query, key], colour, label)
        for index in range(4):
            plot.measured(bottom, epochs, arrays["class_loss"][column][..., index], CLASSES[index], NAMES[index])
        plot.measured(bottom, epochs, arrays["loss"][column], "black", "all")
        for first in arrays["first"][column]:
            for axes in (top, bottom):
                axes.axvline(first, color="#999999", lw=0.7, ls=":")
        top.axhline(0, color="#999999", lw=0.7)
        top.set_title(name)
        top.set_xscale("log")
        bottom.set(yscale="log", xlabel="epoch", ylim=(1e-6, 20), xlim=(1, epochs[-1]))
    panels[0, 0].set_ylabel(r"change of $\Phi$, in $10^{-3}$")
    panels[1, 0].set_ylabel("losses")
    for axes in panels[:, 0]:
        axes.legend(fontsize=7)
    return figure


def diagram_figure(lengths, samples, measured, undecided=0.02):
    r"""The map of $\rho$ over n and L: predicted left, measured right, with both predicted lines on each.

    measured: (J, I), means over runs. undecided: cells whose prediction is closer than this to $\rho = 1$ or to the edge
    where class 4 becomes a support vector (in $s_4/s_1$) carry a question mark.
    """
    predicted = np.array([[balance.predicted(count, length) for count in samples] for length in lengths])
    figure, panels = plot.figure(2, height=3.0, sharey=True)
    colours = ["#B5532A", "#E3A27A", "#D9E4EF", "#A6C4E0", "#6A9CC8", "#31699E"]
    edges = [0.4, 0.8, 1.0, 1.1, 1.2, 1.3, 1.5]
    shade = {"cmap": ListedColormap(colours), "norm": BoundaryNorm(edges, 6), "aspect": "auto", "origin": "lower"}
    close = np.abs(predicted[..., 2] - 1) < undecided
    active = predicted[..., 1] > 0
    thin = active & (predicted[..., 1] < undecided)
    panel_titles = ((panels[0], predicted[..., 2], "predicted"), (panels[1], measured, "measured"))
    for axes, values, title in panel_titles:
        image = axes.imshow(values, **shade)
        axes.set(title=title, xlabel="samples $n$", xticks=range(len(samples)), yticks=range(len(lengths)))
        axes.set_xticklabels(samples, fontsize=7.5)
        axes.set_yticklabels(lengths)
        across = np.linspace(0, len(samples) - 1, 200)
        counts = np.interp(across, np.arange(len(samples)), samples)
        axes.plot(across, counts / 3 - 1 - lengths[0], color="#222222", lw=1.6, ls=(0, (4, 2)))
        axes.plot(across, crossover(counts) - lengths[0], color="#222222", lw=1.4, ls=":")
        for row, column in zip(*np.nonzero(close | thin), strict=True):
            axes.text(column, row, "?", ha="center", va="center", fontsize=10, weight="bold", color="#222222")
        axes.set(xlim=(-0.5, len(samples) - 0.5), ylim=(-0.5, len(lengths) - 0.5))
    panels[0].set_ylabel("length $L$")
    figure.colorbar(image, ax=panels, label=r"$\rho$ at the end", ticks=edges, shrink=0.9)
    return figure


def crossover(samples):
    """The real length L at which class 4 turns into a support vector, for n samples: a root of the edge polynomial."""
    # n^2 + 27n - 13nL - 6L^2 + 30L - 36 = 0, its positive root in L
    linear, rest = 30 - 13 * samples, samples**2 + 27 * samples - 36
    return (linear + np.sqrt(linear**2 + 24 * rest)) / 12


def attention_figure(freezing, small, large):
    r"""What freezing attention changes, and the ratio from the end of Phase 1 on, for small and large initial weights.

    freezing: $c_0$ -> record of ``experiments.freezing``; small, large: runs with $c_0 = 0.1$ and 16.
    """
    figure, (left, right) = plot.figure(2)
    for (scale, record), colour in zip(freezing.items(), ("blue", "green", "red"), strict=True):
        trained, frozen = record["runs"]
        gap = (frozen["loss"] / trained["loss"] - 1).abs()
        plot.measured(left, trained["tau"][1:], gap[1:], colour, f"$c_0 = {scale:g}$")
    left.set(yscale="log", xlabel=r"time $\tau$", ylabel="relative change of the loss", ylim=(1e-12, 1e-1))
    for run, colour, label in ((small, "blue", "$c_0 = 0.1$"), (large, "red", "$c_0 = 16$")):
        plot.measured(right, run["tau"], phases.later(run, phases.ratio(phases.sums(run))), colour, label)
    clock(right, 3, 1e3)
    right.set(ylabel=r"$\rho$ from $\tau_\star$ on", ylim=(-0.5, 3.2))
    for level in (1, 2):
        right.axhline(level, color="#999999", lw=0.8)
    plot.theory(right, [3, 1e3], [balance.predicted(60, 5)[2]] * 2, "predicted limit")
    left.set_title("attention frozen")
    left.legend(loc="lower right")
    right.legend(loc="upper left", ncols=2)
    return figure


def stops_figure(base, seeds, device=None):
    """Nine broken assumptions, each in red beside the theory's regime in blue, with the level that matters dashed."""

    def ratio(run):
        return phases.later(run, phases.ratio(phases.sums(run)))

    def quotient(upper, lower):
        return lambda run: phases.later(run, phases.sums(run)[..., upper] / phases.sums(run)[..., lower])

    def score(query, key):
        return lambda run: 1e4 * (run["scores"] - run["scores"][:1])[..., query, key]

    def single_loss(run):
        return phases.class_losses(run)[..., 1:3].mean(dim=-1)

    def growth(run):
        return (run["readout"] / run["readout"][:1]).log10()

    limit = balance.predicted(60, 5)
    panels = (
        ("few samples, n = 12", r"$\rho$", experiments.few, ratio, (0.0, 1.6), 1.0),
        ("unequal classes", "loss of $I_2$, $I_3$", experiments.unequal, single_loss, (0.0, 0.9), np.log(2)),
        ("a rare class $I_3$", "$s_3/s_2$", experiments.rare, quotient(2, 1), (0.4, 1.2), 1.0),
        ("repeated words", "$s_2/s_1$", experiments.repeated, quotient(1, 0), (0.55, 0.85), limit[0]),
        ("no common word", r"$10^4\,\Delta\Phi_{13}$", experiments.no_common, score(0, 2), (-0.8, 0.4), 0.0),
        ("small readout", r"$\log_{10}|\omega|^2/|\omega(0)|^2$", experiments.tiny_readout, growth, (-0.5, 4), 0.0),
        ("large initial weights", "$s_3/s_2$", experiments.large, quotient(2, 1), (0.0, 3.0), 1.0),
        (r"step $\eta = 0.1$", r"$\rho$", experiments.stepped.but(step=0.1), ratio, (-3, 3), 1.0),
        ("another label", r"$10^4\,\Delta\Phi_{12}$", experiments.presence, score(0, 1), (-0.4, 0.8), 0.0),
    )
    figure, grid = plot.figure(3, 3, height=1.9)
    for axes, (title, label, experiment, curve, limits, level) in zip(grid.flat, panels, strict=True):
        for run, colour in ((base, "blue"), (experiment(seeds, device), "red")):
            plot.measured(axes, run["tau"], curve(run), colour)
        clock(axes, 0.3, 1e5, label=r"$\tau$")
        plot.theory(axes, [0.3, 1e5], [level, level], lw=1.2)
        axes.set_title(title, fontsize=8.5)
        axes.set_ylabel(label, fontsize=8.5)
        axes.set_ylim(*limits)
    return figure
