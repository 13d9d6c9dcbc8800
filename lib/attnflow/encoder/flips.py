r"""Chapter 3, the kink: masks of the ReLU that flip while the loss falls, and what they do to the kernel of a wide NTK net.

Pre-activations are of order one and move by $O(k^{-1/2})$, so a share of $O(k^{-1/2})$ of the masks flips. The flips do not
average out: on its active side a neuron feels the gradient of the sample itself, on the other it does not.
"""

import math
from functools import partial

import numpy as np
import torch

from attnflow import Control, Experiment, Near, Trial, curves, door, kinds, ntk, runs, sweep
from attnflow.encoder import kernel, model, theory
from attnflow.encoder.setting import claim, descent, drawn, over_widths

SINGULAR = 1e-12  # the least eigenvalue over the largest at which a kernel has lost its rank
WIDTHS, VALUES = door.several(door.POSITIVE, letter="W"), "array: W S"
POWERS = door.several(door.NUMBER)


@door.takes(net=model.NTK_TOKENS, inputs=model.TOKENS, start={"W_V": "S d j"}, impulse="S n")
def expected_pull(net, inputs, start, impulse):
    r"""What flips will take from the trace of the kernel, to first order in $k^{-1/2}$; NTK initialisation.

    Let the attention be uniform, $g_{nm} = \langle\bar x_n, \bar x_m\rangle$ and $J_m = \int r_m\,dt$ the impulse. Then
    $v_j\cdot\bar x_n$ moves by $-k^{-1/2}o_jq$ where the neuron is off on the sample n, with
    $q = \sum_{m\ne n}E_{jm}g_{nm}J_m$, and by $-k^{-1/2}o_j(q + g_{nn}J_n)$ where it is on. One sign of $o_j$ leads to the kink,
    where the density is $(2\pi g_{nn})^{-1/2}$: masks go on in proportion to $|q|$, off to $|q + g_{nn}J_n|$, and the latter
    is the larger on average. A mask weighs $o_j^2g_{nn}/k$ in the block of $W_V$, hence with $E|o|^3 = 2\sqrt{2/\pi}$ the pull
    $k^{-1/2}\sum_n(g_{nn})^{1/2}\,E[|q + g_{nn}J_n| - |q|]/\pi$, with $v_j$ on the kink: a column of $W_V$ without its part
    along $\bar x_n$.

    net, inputs, start: one draw, of which W_V is read, (S, d, any) for a mean over any number of neurons; impulse: J, (S, n).
    Returns (S,).
    """
    means = inputs.mean(dim=2)
    gram, found = means @ means.mT, 0
    for place in range(inputs.shape[1]):
        mean, own = means[:, place, :, None], gram[:, place, place, None]
        on_kink = start["W_V"] - mean * (mean.mT @ start["W_V"]) / own[:, :, None]
        force = gram[:, place] * impulse
        active = (means @ on_kink > 0).to(runs.DTYPE)
        active[:, place] = 0  # the sample itself is the second side
        others = (force[:, None] @ active)[:, 0]
        found = found + ((others + force[:, place, None]).abs() - others.abs()).mean(dim=1) * own[:, 0].sqrt()
    return found / math.pi / net.width**0.5


@door.takes(**model.DRAW | {"net": model.PLAIN}, start=model.STATE, share=door.SHARE, steps=door.COUNT)
@torch.no_grad()
def flipped(net, inputs, labels, start, share=1e-3, steps=3000):
    r"""Masks that flipped, and the change of the kernel, when the loss has fallen to a ``share``.

    net, inputs, labels, start: one draw; steps: at most so many, of size $1/\mu_{\max}(K_0)$. Returns, (S,) each: ``on`` and
    ``off``, shares of all masks; ``change`` of the kernel, and ``masks``, the change if only the masks in its block of $W_V$
    were those of the end, Frobenius norms over that of $K_0$; over the trace of $K_0$, what the masks take from it, ``pull``,
    what :func:`expected_pull` says of it, ``expected``, and what all else adds, ``growth``; ``reached``, 1 where the
    loss came so far. Raises WrongUse where the kernel at the start is singular, as for samples that are the same.
    """
    blocks = kernel.blocks(start, inputs, net)
    first = sum(blocks.values())
    values = torch.linalg.eigvalsh(first)
    apart = bool((values[:, 0] > SINGULAR * values[:, -1]).all())
    runs.check("inputs", "samples that the kernel at the start does not tell apart", "samples that it does", apart)
    record = descent(model.field(inputs, labels, net), start, kernel.step(first), steps, share)
    _, mixed, _, before = model.inside(start, inputs, net)
    before, after = ((each > 0).to(runs.DTYPE) for each in (before, model.inside(record.state, inputs, net)[-1]))
    slopes = after * (net.tau_1 / inputs.shape[2] * start["W_O"].mT)
    masks = ntk.rank_one(mixed, slopes, inputs.shape[1]) - blocks["W_V"]
    last = kernel.empirical(record.state, inputs, net)
    # While the kernel stays, what the residual has lost is K times the impulse.
    lost = model.forward(start, inputs, net) - model.forward(record.state, inputs, net)
    expected = expected_pull(net, inputs, start, torch.linalg.solve(first, lost))
    size, pull, whole = (each.diagonal(dim1=1, dim2=2).sum(dim=1) for each in (first, -masks, last - first))
    return {
        "on": (after > before).to(runs.DTYPE).mean(dim=(1, 2)),
        "off": (after < before).to(runs.DTYPE).mean(dim=(1, 2)),
        "change": ntk.distance(last, first),
        "masks": ntk.distance(first + masks, first),
        "pull": pull / size,
        "expected": expected / size,
        "growth": (whole + pull) / size,
        "reached": (record.end_loss <= share * record.loss[0]).to(runs.DTYPE),
    }


def wide(device, width, first, count=4):
    r"""One cell of the stored sweep: :func:`flipped` at NTK initialisation and $\tau_0 = 1/k$.

    device, width: of the problem; first: the first of ``count`` seeds.
    """
    return flipped(*drawn(range(first, first + count), device, width=width, scaling=1.0, init="ntk"))


@door.takes(widths=door.several(door.POSITIVE, least=2, letter="W"), values=VALUES)
def local_slopes(widths, values):
    """Exponents between neighbouring ``widths`` (W,) of the geometric means over seeds of some ``values`` (W, S): (W - 1,).

    Raises WrongUse unless all values are positive and the widths grow or fall.
    """
    runs.check("values", float(values.min()), "positive, all of them", bool((values > 0).all()))
    runs.check("widths", tuple(widths), "of neighbours that differ", bool(np.all(np.diff(widths) != 0)))
    return np.diff(np.log(values).mean(axis=1)) / np.diff(np.log(widths))


@door.takes(widths=WIDTHS, values=VALUES, powers=POWERS)
def fitted(widths, values, powers):
    r"""Coefficients of a sum of powers of the width, $\sum_p a_pk^p$, for the means over seeds: least squares.

    Each width counts by the standard error of its mean, since a mean that crosses zero has no relative error. widths: (W,);
    values: (W, S); powers: p, all different, not more than widths. Returns an array, one a power. Raises WrongUse unless there
    are two seeds or more, which differ at each width.
    """
    runs.check(
        "powers", tuple(powers), "different, not more than widths", len(set(powers)) == len(powers) <= len(widths)
    )
    error = values.std(axis=1, ddof=min(1, values.shape[1] - 1))
    runs.check("values", "of seeds that are the same", "of seeds that differ at each width", bool((error > 0).all()))
    columns = np.stack([np.asarray(widths, dtype=float) ** power / error for power in powers], axis=1)
    return np.linalg.lstsq(columns, values.mean(axis=1) / error, rcond=None)[0]


@door.takes(widths=door.several(door.POSITIVE, least=2, letter="W"), values=VALUES, powers=POWERS)
def extended(widths, values, powers):
    """The sum of powers :func:`fitted` to all widths but the last, at all of them: (W,). widths, values, powers: as there."""
    found = fitted(widths[:-1], values[:-1], powers)
    return found @ np.stack([np.asarray(widths, dtype=float) ** power for power in powers])


@door.takes(widths=door.several(door.POSITIVE, least=2, letter="W"), values=VALUES, powers=POWERS)
def foretold(widths, values, powers):
    """What the other widths say of the mean at the last: the :func:`extended` sum there, less the measured mean.

    widths, values, powers: as there. Returns a number.
    """
    return extended(widths, values, powers)[-1] - values[-1].mean()


@door.takes(values=VALUES, read=door.FUNCTION, draws=door.COUNT)
def interval(values, read, draws=1000):
    """The range of a reading over 95 of 100 bootstrap draws of the seeds.

    values: (W, S), where one seed has the same data at all widths; read: such an array -> numbers; draws: how many. Returns an
    array (2, ...), the lower and the upper end.
    """
    (generator,) = runs.streams([0], "bootstrap")
    rows = torch.randint(values.shape[1], (draws, values.shape[1]), generator=generator, device="cpu").numpy()
    return np.quantile([read(values[:, row]) for row in rows], (0.025, 0.975), axis=0)


def flipped_power(record):
    """Reading of a ``record`` over widths: the exponent of the share of masks that flipped, on or off. (S,)."""
    return curves.log_slope(record["widths"], record["on"] + record["off"])


def pull_ratio(record):
    """Reading of a ``record`` over widths: the pull over the expected one at the last width. (S,)."""
    return record["pull"][-1] / record["expected"][-1]


flips_run = Experiment(
    over_widths,
    {
        "measure": flipped,
        "widths": (128, 512, 2048),
        "copies": 2,
        "average": partial(torch.mean, dim=1),
        "init": "ntk",
        "scaling": 1.0,
    },
)

pull_run = flips_run.but(widths=(512,), copies=12)

CLAIMS = (
    claim(
        "flips-share",
        r"A share of $k^{-1/2}$ of the masks flips",
        r"NTK, $\tau_0 = k^{-1}$, until the loss is at $10^{-3}$: the share of masks that flip has the exponent by which $W_V$ "
        r"moves, $-1/2$.",
        Trial(flips_run, flipped_power, Near(abs=0.2), predict=lambda _: float(theory.movement("ntk", 1.0)["W_V"])),
        Control("LeCun, where $W_V$ moves less", {"init": "lecun"}),
    ),
    claim(
        "flips-pull",
        "Flips do not average out",
        r"More masks go off than on. What this takes from the trace of the kernel at $k = 512$, over what the start says.",
        Trial(pull_run, pull_ratio, Near(rel=0.45), predict=1.0),
        Control(r"$\tau_0 = k^{-1/4}$, saturated attention", {"scaling": 0.25}, quota=(9, 10)),
    ),
    claim(
        "flips-growth",
        r"All else moves the kernel as $k^{-1}$",
        r"NTK, $\tau_0 = k^{-1}$: what is left of the change of the kernel's trace without the part of the masks has "
        "exponent $-1$.",
        Trial(
            flips_run,
            kinds.slope("growth"),
            Near(abs=0.3),
            predict=lambda _: float(theory.movement("ntk", 1.0)["growth"]),
        ),
        Control("LeCun, where the kernel moves as $k^{-2}$", {"init": "lecun"}),
    ),
)
SWEEPS = (
    sweep.Sweep(
        "encoder-flips",
        "masks that flip, and the change of the kernel, of wide NTK nets",
        wide,
        {"width": tuple(2**power for power in range(7, 16)), "first": tuple(range(0, 64, 4))},
        probe={"first": (0,)},  # one cell of each width: the widest take long
    ),
)
