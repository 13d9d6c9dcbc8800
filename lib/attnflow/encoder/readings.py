"""From a record of chapter 3 to one number a seed."""

import torch

from attnflow import flow, ntk
from attnflow.encoder import bounds, theory
from attnflow.encoder.initial import log_slope

LAZY = {  # exponents in the width of the relative movement at a fixed loss, derived in chapter 3
    ("lecun", 0.5): {"W_O": -0.5, "W_V": -1.5, "W_Q": -1.5, "attention": -1.0, "kernel": -1.0},
    ("lecun", 1.0): {"W_O": -0.5, "W_V": -1.5, "W_Q": -2.0, "attention": -2.0, "kernel": -2.0},
    ("ntk", 0.5): {"W_O": -0.5, "W_V": -0.5, "W_Q": -0.5, "attention": 0.0, "kernel": 0.0},
    ("ntk", 1.0): {"W_O": -0.5, "W_V": -0.5, "W_Q": -1.0, "attention": -1.0, "kernel": -1.0},
}
INEQUALITIES = (*bounds.BLOCKS, "PL", "drift", "Weyl")


def order(*names):
    """Reading: the order in the step of the drift of a law; of several, the one furthest from 1. (S,)."""

    def read(record):
        found = torch.stack([flow.observed_order(record["steps"], record[name]) for name in names])
        return found.gather(0, (found - 1).abs().argmax(dim=0, keepdim=True))[0]

    return read


def slope(name):
    """Reading: the exponent of a quantity in the width, (S,)."""
    return lambda record: log_slope(record["widths"], record[name])


def last(name):
    """Reading: a quantity at the largest width or at the last time, (S,)."""
    return lambda record: record[name][-1]


def furthest(exponents):
    """Reading: the largest distance of measured exponents in the width from predicted ones, (S,)."""

    def read(record):
        gaps = [(log_slope(record["widths"], record[name]) - float(want)).abs() for name, want in exponents.items()]
        return torch.stack(gaps).amax(dim=0)

    return read


def lazy(init, scaling, *names):
    """Reading: the same for the movement of the named blocks, with the exponents of one setting."""
    return furthest({name: LAZY[init, scaling][name] for name in names})


def condition_exponents(init, scaling):
    """Reading: the same for the four conditions of the theorem."""
    return furthest({name: power for name, (power, _) in bounds.exponents(init, scaling).items()})


def fitted(record, series, high=1e-6, low=1e-12):
    """Slope a step of the logarithm of a series while the measured share of the loss lies in a window, and R^2: (S,)."""
    share, found = record["loss"] / record["loss"][0], []
    for run in range(share.shape[1]):
        inside = (share[:, run] < high) & (share[:, run] > low)
        place, value = record["steps"][inside], series[inside, run].log()
        place, value = place - place.mean(), value - value.mean()
        rate = (place * value).sum() / place.square().sum()
        found.append(torch.stack([rate, 1 - (value - rate * place).square().sum() / value.square().sum()]))
    return torch.stack(found).T


def rate_over_kernel(record):
    """Reading: the late rate of the loss over the one that the kernel at the start predicts, in the same window. (S,)."""
    steps = len(record["steps"]) - 1
    predicted = ntk.linear_losses(record["start"], record["residual"], record["step"], steps)
    return fitted(record, record["loss"])[0] / fitted(record, predicted)[0]


def straightness(record):
    """Reading: R^2 of the straight line through the logarithm of the loss at late times, (S,)."""
    return fitted(record, record["loss"])[1]


def log_bound(record):
    r"""Logarithm of the theorem's curve over its start, $t\log(1 - \eta\alpha^2/2)$: (K, S)."""
    return record["steps"][:, None] * torch.log1p(-record["step"] * record["alpha"].square() / 2)


def loss_over_bound(record):
    r"""Reading: the largest $\mathcal L_t/\mathrm{bound}_t$ after the start, at most a million. (S,)."""
    above = torch.log(record["loss"] / record["loss"][0]) - log_bound(record)
    return torch.nan_to_num(above[1:], nan=torch.inf).amax(dim=0).exp().clamp_max(1e6)


def rate_over_bound(record):
    """Reading: the late rate of the loss over the rate of the theorem, (S,)."""
    per_step = torch.log1p(-record["step"] * record["alpha"].square() / 2)
    return fitted(record, record["loss"])[0] / per_step


def smallest_share(record):
    r"""Reading: the least $\sigma_{\min}(\Psi_t)/\alpha$ along the run, (S,)."""
    return (record["sigma"] / record["alpha"]).amin(dim=0)


def worst_inequality(record):
    """Reading: the largest left over right side of all inequalities at all times after the start, (S,)."""
    return torch.stack([record[name][1:].amax(dim=0) for name in INEQUALITIES]).amax(dim=0)


def left(record):
    """Reading: the share of the loss left at the end, infinite where the run diverged. (S,).

    Not below 1e-9: what is left beyond is rounding, whose digits are nobody's result.
    """
    share = (record["final"] / record["loss"][0]).clamp_min(1e-9)
    gone = torch.tensor([word == "non-finite" for word in record["status"]], device=share.device)
    return torch.where(gone, torch.inf, share)


def highest(record):
    """Reading: the largest loss after the start over the first, (S,)."""
    return (record["loss"][1:] / record["loss"][0]).nan_to_num(torch.inf).amax(dim=0)


def flattening(record):
    """Reading: the largest kernel eigenvalue at the end over that at the start, (S,)."""
    return torch.linalg.eigvalsh(record["end"])[:, -1] / torch.linalg.eigvalsh(record["start"])[:, -1]


def wider_is_worse(record):
    """Reading: share of the loss left at the largest width less that at the smallest, (S,)."""
    return record["left"][-1] - record["left"][0]


def entropy_gap(record):
    """Reading: the largest distance, over scalings, of the entropy exponent from $-(2s - 1)$. (S,)."""
    gaps = [log_slope(record["widths"], part) + 2 * s - 1 for s, part in record["deficit"].items()]
    return torch.stack(gaps).abs().amax(dim=0)


def entropy_error(record):
    r"""Reading: the largest relative error, over scalings, of the deficit predicted for logits of variance $k^{1-2s}$. (S,)."""
    width, found = record["widths"][-1], []
    for s, part in record["deficit"].items():
        predicted = float(theory.deficit(width ** (1 - 2 * s), record["length"]))
        found.append((part[-1] / predicted - 1).abs())
    return torch.stack(found).amax(dim=0)


def ratio(first, second):
    """Reading: the steps of one initialisation over those of another, (S,)."""
    return lambda record: record[first] / record[second]
