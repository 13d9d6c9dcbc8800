r"""Pictures of the collapse of attention alone: its branches over $\lambda$, and the ends of the bands."""

import numpy as np
import torch

from attnflow import plot, runs
from attnflow.meanfield import model, onehead, scan, setting
from attnflow.meanfield.band import hysteresis, verdicts
from attnflow.meanfield.ceiling import ALONE, rest


def walked(
    seed: int, heads: int, shares: np.ndarray, still: bool = False, starts: int = 2, steps: int = 150
) -> np.ndarray:
    r"""The root mean square output at rest, decay after decay, each from the rest before: the largest of some ``starts``.

    seed: of the data; heads: m, at depth 1; shares: of $\lambda_c$, (K,): rising ones start at $N(0, 1)$, falling ones near zero;
    still: whether $W_Q = W_K = 0$; steps: of heavy-ball descent at each. Returns (K,).
    """
    rises = shares[-1] > shares[0]
    many = runs.replicas((seed,), starts)
    net, inputs, targets, _ = setting.drawn((seed,), torch.device("cpu"), depth=1, m=heads, **ALONE)
    critical = onehead.thresholds(inputs[0], targets[0])["attention"]
    inputs, targets = (each.expand(starts, *each.shape[1:]) for each in (inputs, targets))
    state = model.init(runs.streams(many, "weights"), net, 1.0 if rises else scan.NUDGE)
    found = []
    for share in shares:
        nudges = model.init(runs.streams(many, "nudge"), net, scan.NUDGE)
        state = {
            name: value + (0 if still and name in ("W_Q", "W_K") else nudges[name]) for name, value in state.items()
        }
        if still:
            state |= {name: torch.zeros_like(state[name]) for name in ("W_Q", "W_K")}
        state = rest(inputs, targets, state, torch.full((starts,), share * critical, dtype=runs.DTYPE), net, steps)
        found.append(model.outputs(state, inputs, net).square().mean(dim=1).sqrt().max())
    return torch.stack(found).numpy()


def branches(seed: int = 100, heads: tuple = (1, 4, 16), points: int = 9):
    r"""A panel for each number of ``heads``: output at rest over $\lambda/\lambda_c$, up, down and with $W_Q = W_K = 0$.

    seed: of the data set; points: decays of each way. Dashed: the branch of one head, in both its parts. Returns the figure.
    """
    drawn, axes = plot.figure(len(heads), ylabel="root mean square output", sharey=True, height=2.7)
    _, inputs, targets, _ = setting.drawn((seed,), torch.device("cpu"), depth=1, m=1, **ALONE)
    tokens, wanted = onehead.checked(inputs[0], targets[0])
    size = np.sqrt(np.mean(wanted**2))
    for axis, count in zip(axes, heads, strict=True):
        told = hysteresis(tokens, wanted, depth=1, heads=count)
        critical, end, last = (told[name] / told["lambda_c"] for name in ("lambda_c", "lambda_end", "lambda_inf"))
        shares = np.linspace(0.4, 1.15 * end, points)  # above the end both ways are at zero
        axis.set(xlim=(0.4, last + 0.2), ylim=(0, 1.1 * size), title=f"Jm = {count}", xlabel=r"$\lambda\,/\,\lambda_c$")
        if told["band"]:
            plot.phase(axis, critical, end, 0)
        plot.measured(axis, shares, walked(seed, count, shares), label="up", marker="^", ms=3)
        plot.measured(axis, shares[::-1], walked(seed, count, shares[::-1]), "sky", "down", marker="v", ms=3)
        plot.measured(axis, shares, walked(seed, count, shares, still=True), "orange", r"$W_Q = W_K = 0$")
        rows = onehead.branch(tokens, wanted, count)
        best = [min((row for row in rows if row["size"] == each), key=lambda row: row["risk"]) for each in _sizes(rows)]
        outputs = [onehead.outputs(np.sqrt(2 * row["size"]) * row["unit"], tokens, count) for row in best]
        values = np.sqrt(np.mean(np.square(outputs), axis=1))
        plot.theory(axis, [row["decay"] / told["lambda_c"] for row in best], values, "one head")
        for place in (critical, end, last):
            axis.axvline(place, color=plot.COLOURS["black"], lw=0.7, ls=":")
    axes[0].legend(loc="upper right")
    return drawn


def _sizes(rows):
    return sorted({row["size"] for row in rows})


def ends():
    """The upper end of the band measured in the stored scan over the predicted one, in every data set. Returns the figure."""
    found = verdicts()
    drawn, axis = plot.figure(1, height=3.4, ylabel=r"measured end $/\,\lambda_c$")
    told, seen = np.maximum(found["told above"], 1.0), found["above"]
    plot.measured(axis, told, seen, marker="o", ls="", ms=4)
    both = [0.95, 1.05 * max(told.max(), seen.max())]
    plot.theory(axis, both, both)
    axis.set(xlabel=r"predicted end $/\,\lambda_c$", xlim=both, ylim=both, box_aspect=1)
    return drawn
