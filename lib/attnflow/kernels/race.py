r"""Chapter 4, the race on generic weights: every kernel at the best of one grid of rates, and how much of a lead is scale.

A *rescaled* softmax is softmax with its output multiplied by g, the mean row sum of the Gaussian at the start. Since
$\frac12|gf - Y|^2 = g^2\cdot\frac12|f - Y/g|^2$, descent on it at the rate $\eta$ is descent on the layer itself, step by step,
with targets $Y/g$ at the rate $g^2\eta$: a scale of the output is a learning rate and a size of the targets.
"""

import math

import torch
from scipy.special import roots_genlaguerre

from attnflow import Above, Below, Control, Experiment, Trial, door, flow, runs
from attnflow.kernels import generic, model
from attnflow.kernels.setting import claim, drawn
from attnflow.sweep import Sweep

SHARP = ", 1"  # what ends the name of a kernel at the sharpness 1, or of a softmax that matches it
KERNELS = generic.KERNELS | {
    "softmax, 1": {"kernel": "softmax", "beta": 2.0},
    "rescaled": {"kernel": "softmax", "rescaled": 0.5},
    "rescaled, 1": {"kernel": "softmax", "beta": 2.0, "rescaled": 1.0},
}
RATES = tuple(2.0**power for power in range(-7, 5))
TRAINED = {"W_Q": ("W_Q",), "all": model.MATRICES}
RACE = {"samples": 2, "length": 4, "d": generic.D, "k": 4, "o": 1, "heads": 8}


@door.takes(length=door.COUNT, d=door.COUNT, k=door.COUNT, c=door.POSITIVE, nodes=door.COUNT)
def row_sum(length: int, d: int, k: int, c: float, nodes: int = 40) -> float:
    r"""The mean row sum of Gaussian attention at the start of a race, where tokens are $N(0, 1)$ and weights $N(0, 1/d)$.

    Given the tokens, an entry of $q_i - k_j$ has variance $(|x_i|^2 + |x_j|^2)/d = 2G$, where $mG$ is a Gamma variable of shape
    m = d, or d/2 for j = i. A weight is $(1 + 4\zeta G/\sqrt k)^{-k/2}$ in the mean; that tokens differ in length adds to it,
    since this is convex in G. length, d, k: L, token size and width of a head; c: the sharpness $\zeta$; nodes: how many of
    the quadrature. Raises WrongUse where twice as many change it by more than a part in $10^6$.

    >>> round(row_sum(4, 8, 4, 0.5), 3), round(row_sum(4, 8, 4, 1.0), 3)
    (1.115, 0.543)
    """

    def mean(shape, nodes):
        places, weights = roots_genlaguerre(nodes, shape - 1)
        return float(weights @ (1 + 4 * c * places / shape / math.sqrt(k)) ** (-k / 2) / weights.sum())

    found, finer = ((length - 1) * mean(d, many) + mean(d / 2, many) for many in (nodes, 2 * nodes))
    runs.check("nodes", nodes, "more, for this sharpness and width", abs(found - finer) <= 1e-6 * finer)
    return found


def timed(seeds, device, kernel, trained, rates=RATES, share=1e-3, steps=800, **settings):
    """Steps to a ``share`` of the loss at each of some ``rates``, infinite where descent did not get there: (R, S).

    seeds, device: of the runs, alike for all rates and kernels; kernel: a name in ``KERNELS``; trained: one in ``TRAINED``;
    steps: after which descent is given up; settings: other than those of ``RACE``.
    """
    known = RACE | KERNELS[runs.choice("kernel", kernel, tuple(KERNELS))] | settings
    sharpness, many = known.pop("rescaled", None), len(rates)
    layer, inputs, targets, state = drawn(seeds, device, **known)
    gain = 1.0 if sharpness is None else row_sum(known["length"], layer.d, layer.k, sharpness)
    inputs, targets = (each.repeat(many, 1, 1, 1) for each in (inputs, targets / gain))
    start = {name: value.repeat(many, 1, 1, 1) for name, value in state.items()}
    field = model.field(inputs, targets, layer, TRAINED[runs.choice("trained", trained, tuple(TRAINED))])
    step = gain**2 * torch.tensor(rates, dtype=runs.DTYPE, device=device).repeat_interleave(len(seeds))
    record = flow.integrate(field, start, step=step, times=steps * step[None], stop_loss=share * field(start)[0])
    there = torch.tensor([word == flow.Ended.LOSS for word in record.status], device=device)
    return torch.where(there, record.steps.to(runs.DTYPE), torch.inf).view(many, len(seeds))


tuning = Experiment(timed)  # whose records are kept: several claims choose on the same runs


@door.takes(took="gaps: R S")
def best(took):
    """The place of the rate with the least median time of its runs, a failure counting as infinite.

    took: (R, S), not NaN. Returns the first place of the least.
    """
    runs.check("took", "a tensor with NaN", "a tensor without NaN", not took.isnan().any())
    return int(took.quantile(0.5, dim=1, interpolation="higher").argmin())


def rates(device, kernel, trained, seeds=25, **settings):
    """One task of the sweep: what :func:`timed` finds on as many ``seeds``, from 0 on; the first five choose the rate.

    device, kernel, trained, settings: of :func:`timed`. Returns ``steps`` (R, S).
    """
    return {"steps": timed(tuple(range(seeds)), device, kernel, trained, **settings)}


def raced(seeds, device, kernels, trained="all", grid=RATES[:6], copies=8, steps=200, **settings):
    """Steps of some ``kernels``, each at the rate of a ``grid`` that is best for it on the seeds 0 to 4: name -> (S,).

    seeds, device: of the runs; trained, settings: of :func:`timed`; copies: draws a seed, of which the geometric mean is
    taken; a run that is not done after so many ``steps`` counts as done then.
    """
    found, known = {}, {"trained": trained, "steps": steps} | settings
    for name in kernels:
        first = tuning.but(kernel=name, rates=grid, **known)(range(5), device)
        chosen = (grid[best(first)],)
        took = timed(runs.replicas(seeds, copies), device, name, rates=chosen, **known)
        found[name] = took[0].clamp_max(steps).log().view(-1, copies).mean(dim=1).exp()
    return found


def race(seeds, device, kernel="gaussian", **settings):
    """Steps of a ``kernel`` over those of the softmax that matches its sharpness.

    seeds, device, settings: of :func:`raced`. Returns ``ratio`` (S,).
    """
    softmax = "softmax" + SHARP * kernel.endswith(SHARP)
    found = raced(seeds, device, (kernel, softmax), **settings)
    return {"ratio": found[kernel] / found[softmax]}


race_run = Experiment(race)
rescaled_run = race_run.but(kernel="rescaled", samples=1, length=8)

CLAIMS = (
    claim(
        "generic-rates",
        "Each at its best rate the Gaussian is faster; with its rows normalised it is not",
        r"All matrices trained, $H = 8$, the same random targets. Of six rates, a factor of two apart, each kernel takes the one "
        r"with the least median time to $10^{-3}$ of the loss on seeds 0 to 4. Steps of the Gaussian, $\zeta = 1/2$, over those "
        "of softmax, geometric mean over eight draws a seed, 200 where a run is not done, in seven of ten seeds.",
        Trial(race_run, lambda record: record["ratio"], Below(0.85), quota=(7, 10)),
        Control("the rows of the Gaussian normalised", {"kernel": "normalised"}, quota=(7, 10)),
    ),
    claim(
        "race-rescaled",
        "At the best rates a scale of the output saves little",
        r"One sample of eight tokens, $\zeta = 1/2$, where the rows of the Gaussian sum to 2.2: steps of a softmax times that "
        "number over those of softmax, each at its best rate as above, in eight of ten seeds. At one small rate for both it "
        "saves more than half of the steps: a scale of the output is a learning rate, which the grid has offered already.",
        Trial(rescaled_run, lambda record: record["ratio"], Above(0.75), quota=(8, 10)),
        Control("one rate for both, $2^{-6}$", {"grid": (2.0**-6,)}),
    ),
    claim(
        "race-common",
        r"At one small rate for all, the Gaussian at $\zeta = 1$ is the slower one",
        r"With four tokens its rows sum to 0.54, and at the rate $2^{-6}$ it takes more steps than the softmax that matches it "
        r"($\beta = 2$), in nine of ten seeds. Each at its best rate it takes fewer: the verdict is one on rates.",
        Trial(
            race_run.but(kernel="gaussian, 1", grid=(2.0**-6,)),
            lambda record: record["ratio"],
            Above(1.0),
            quota=(9, 10),
        ),
        Control("each at the best of six rates", {"grid": RATES[:6]}, quota=(8, 10)),
    ),
)

SWEEPS = (
    Sweep(
        "kernels-rates",
        "steps to a thousandth of the loss, over one grid of twelve rates for all kernels",
        rates,
        {"trained": tuple(TRAINED), "kernel": tuple(KERNELS)},
        {"seeds": 20, "steps": 400},
        probe={"trained": ("all",), "kernel": ("softmax", "gaussian")},
    ),
)
