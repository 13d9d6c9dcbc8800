r"""Chapter 3, training: the linear rate, steps at the edge of stability, and which initialisation is faster."""

from operator import itemgetter

import torch

from attnflow import Above, Below, Between, Control, Exactly, Experiment, Near, Trial, curves, flow, ntk, runs
from attnflow.encoder import kernel, model
from attnflow.encoder.setting import claim, descent, drawn, lecun_rates, left, trained
from attnflow.encoder.theorem import log_bound


def late_rate(record, series, high=1e-6, low=1e-12):
    """Slope a step of the logarithm of a ``series`` (K, S), while a share from ``low`` to ``high`` of the loss is left: (S,).

    record: of the run, whose loss counts.
    """
    share = record["loss"] / record["loss"][0]
    return curves.window_slope(record["steps"][:, None], series.log(), (share < high) & (share > low))


def forecast(record, name="start"):
    r"""Losses along a ``record``, over the first, if the kernel of that ``name`` in it stayed as it was: (K, S)."""
    losses = ntk.linear_losses(record[name], record["residual"], record["step"], len(record["steps"]) - 1)
    return losses / losses[0]


def starters(seeds, device, inits, block_rates, **settings):
    r"""Who runs in a race: init -> (field, start, step), with the step $1/\mu_{\max}$ of each.

    block_rates: NTK has the learning rates with which it is LeCun; seeds, device, inits, settings: of the problem.
    """
    found = {}
    for init in inits:
        net, inputs, labels, start = drawn(seeds, device, init=init, **settings)
        rates = lecun_rates(net) if block_rates and init == "ntk" else {}
        field = flow.at_rates(model.field(inputs, labels, net), rates)
        found[init] = field, start, 1 / kernel.largest(kernel.empirical(start, inputs, net, rates))
    return found


def race(seeds, device, share=1e-3, steps=4000, inits=model.INITS, width=512, block_rates=False, **settings):
    r"""Steps that each initialisation needs to bring the loss to a ``share``, each with the step $1/\mu_{\max}$ of its own.

    seeds, device, inits, width, block_rates, settings: as for :func:`starters`. Returns name -> (S,), at most ``steps``.
    """
    runners = starters(seeds, device, inits, block_rates, width=width, **settings)
    return {
        init: descent(field, start, step, steps, share).steps.to(runs.DTYPE)
        for init, (field, start, step) in runners.items()
    }


def behind(seeds, device, share=1e-3, steps=4000, width=512, block_rates=False, **settings):
    r"""The share of its loss that NTK has ``left``, (S,), when LeCun has come to a ``share``, all with one step.

    That is the smallest of the steps $1/\mu_{\max}$, which is He's. seeds, device, width, block_rates, settings: as for
    :func:`starters`. Returns also the steps of ``lecun`` and ``he``, (S,), at most ``steps``.
    """
    runners = starters(seeds, device, model.INITS, block_rates, width=width, **settings)
    step = torch.stack([each for *_, each in runners.values()]).amin(dim=0)
    found = {init: descent(*runners[init][:2], step, steps, share).steps.to(runs.DTYPE) for init in ("lecun", "he")}
    field, start, _ = runners["ntk"]
    record = flow.integrate(field, start, step=step, times=torch.stack([0 * step, found["lecun"] * step]))
    return found | {"left": record.end_loss / record.loss[0]}


wide_run = Experiment(trained, {"init": "ntk", "scaling": 1.0, "width": 2048, "samples": 8, "steps": 160})
field_run = wide_run.but(output=1.0, width=512, unit=0.1, steps=600)
edge_run = Experiment(trained, {"init": "lecun", "width": 512, "steps": 200})
race_run = Experiment(race)
same_race = Experiment(behind)

ALONE = {"W_V": 0.0, "W_Q": 0.0, "W_K": 0.0}
EDGE = ("lewkowycz2020large",)
CLAIMS = (
    claim(
        "rate",
        "The kernel at the start predicts the linear rate",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$, $n = 8$: late rate of the loss over that of descent with the kernel $K_0$, both "
        r"between $10^{-6}$ and $10^{-12}$ of the first loss, in at least nine of ten seeds: the least eigenvalue, which sets "
        "the late rate, moves most where it is smallest.",
        Trial(
            wide_run,
            lambda record: late_rate(record, record["loss"]) / late_rate(record, forecast(record)),
            Near(abs=0.05),
            predict=1.0,
            quota=(9, 10),
            undefined=float("inf"),
        ),
        Control("a narrow net, $k = 32$", {"width": 32}, quota=(8, 10)),
        cite=("jacot2018ntk", "wu2023encoder"),
    ),
    claim(
        "rate-lecun",
        "For LeCun the theorem's rate is short by a factor of four",
        r"At large width only $W_O$ trains, at the rate $2\eta\alpha^2$; the theorem has $\eta\alpha^2/2$, with $\alpha/2$ in "
        r"place of $\alpha$, squared: all of the four. Ratio at $k = 2048$, $n = 8$, $\tau_0 = k^{-1}$, beside that of descent "
        "with the block of $W_O$ alone.",
        Trial(
            wide_run.but(init="lecun"),
            lambda record: late_rate(record, record["loss"]) / log_bound(record)[1],
            Near(rel=0.06),
            predict=lambda record: late_rate(record, forecast(record, "output")) / log_bound(record)[1],
        ),
        Control("NTK, where $W_V$ trains as fast", {"init": "ntk"}),
    ),
    claim(
        "edge",
        r"Just below $2/\mu_{\max}$ the loss stays below its start",
        r"With the step $1.9/\mu_{\max}(K_0)$ the loss never exceeds its start; LeCun, $k = 512$. For a kernel that stays as it "
        "is this is a theorem, for the net it is observed.",
        Trial(
            edge_run.but(unit=1.9),
            lambda record: (record["loss"][1:] / record["loss"][0]).nan_to_num(torch.inf).amax(dim=0),
            Below(1.0),
        ),
        Control(r"a step of $2.4/\mu_{\max}$", {"unit": 2.4}),
        cite=EDGE,
        provenance="a known theorem for a fixed kernel, observed for the net",
    ),
    claim(
        "catapult",
        r"Beyond $2/\mu_{\max}$ it flies and lands flatter",
        r"With the step $2.5/\mu_{\max}(K_0)$ the largest kernel eigenvalue falls to a flatter end while the loss converges.",
        Trial(
            edge_run.but(unit=2.5),
            lambda record: torch.where(
                left(record) < 1e-3, kernel.largest(record["end"]) / kernel.largest(record["start"]), torch.inf
            ),
            Between(0.4, 0.8),
            quota=(9, 10),
        ),
        Control("$W_O$ alone is trained, a linear model whose kernel stays", {"rates": ALONE}),
        cite=EDGE,
        provenance="secondary: the published description of the catapult, measured here",
    ),
    claim(
        "divergence",
        r"At $4/\mu_{\max}$ hardly anything converges",
        r"With the step $4/\mu_{\max}(K_0)$ the loss ends at more than a thousand times its start, or overflows, in at least "
        "nine of ten seeds: now and then a run still lands.",
        Trial(
            edge_run.but(unit=4.0),
            lambda record: (left(record) > 1e3).to(runs.DTYPE),
            Exactly(),
            predict=1.0,
            quota=(9, 10),
        ),
        Control(r"a step of $2.5/\mu_{\max}$", {"unit": 2.5}, quota=(9, 10)),
        cite=EDGE,
    ),
    claim(
        "race-same-step",
        "At the same step LeCun is faster than NTK",
        r"When LeCun has come to $10^{-3}$ of its loss, NTK has half of its own left or more, all with the smallest of their "
        r"steps $1/\mu_{\max}$.",
        Trial(same_race, itemgetter("left"), Above(0.5)),
        Control("NTK with the block learning rates of LeCun", {"block_rates": True}),
        provenance="secondary: a review of the paper; measured here",
    ),
    claim(
        "race-own-step",
        "At its own step NTK is faster than LeCun",
        r"Steps of LeCun over those of NTK when each takes $1/\mu_{\max}$ of its own kernel: the order is reversed.",
        Trial(race_run, lambda record: record["lecun"] / record["ntk"], Above(1.5)),
        Control("NTK with the block learning rates of LeCun", {"block_rates": True}),
    ),
)
