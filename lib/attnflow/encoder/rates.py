r"""Chapter 3, training: the linear rate, steps at the edge of stability, and which initialisation is faster."""

import torch

from attnflow import Above, Below, Between, Control, Experiment, Near, Trial, curves, ntk, runs
from attnflow.encoder import kernel, model
from attnflow.encoder.setting import claim, descent, drawn, left, trained
from attnflow.encoder.theorem import log_bound


def late_rate(record, series, high=1e-6, low=1e-12):
    """Slope a step of the logarithm of a ``series`` (K, S), while a share from ``low`` to ``high`` of the loss is left: (S,).

    record: of the run, whose loss counts.
    """
    share = record["loss"] / record["loss"][0]
    return curves.window_slope(record["steps"][:, None], series.log(), (share < high) & (share > low))


def forecast(record):
    r"""Losses along a ``record``, over the first, if the kernel stayed as it was at the start: (K, S)."""
    losses = ntk.linear_losses(record["start"], record["residual"], record["step"], len(record["steps"]) - 1)
    return losses / losses[0]


def race(seeds, device, share=1e-3, own=True, steps=4000, inits=model.INITS, width=512, **settings):
    """Steps that each initialisation needs to bring the loss to a ``share`` of its start.

    own: each takes the step 1 over its own largest kernel eigenvalue; otherwise all take the smallest of these steps. seeds,
    device, width, settings: of the problem; inits: who runs. Returns name -> (S,), ``steps`` where it was not reached.
    """
    draws = {init: drawn(seeds, device, init=init, width=width, **settings) for init in inits}
    kernels = {init: kernel.empirical(start, inputs, net) for init, (net, inputs, _, start) in draws.items()}
    step = {init: 1 / kernel.largest(each) for init, each in kernels.items()}
    common = torch.stack(list(step.values())).amin(dim=0)
    return {
        init: descent(model.field(inputs, labels, net), start, step[init] if own else common, steps, share).steps.to(
            runs.DTYPE
        )
        for init, (net, inputs, labels, start) in draws.items()
    }


wide_run = Experiment(trained, {"init": "ntk", "scaling": 1.0, "width": 2048, "steps": 260})
field_run = wide_run.but(output=1.0, width=512, unit=0.1, steps=600)
edge_run = wide_run.but(init="lecun", scaling=0.5, width=512, steps=200)
race_run = Experiment(race)
same_race = race_run.but(own=False, steps=1000)

EDGE = ("lewkowycz2020large",)
CLAIMS = (
    claim(
        "rate",
        "The kernel at the start predicts the linear rate",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$: late rate of the loss over that of descent with the kernel $K_0$, both between "
        r"$10^{-6}$ and $10^{-12}$ of the first loss, in at least nine of ten seeds: the least eigenvalue, which sets the late "
        "rate, moves most where it is smallest.",
        Trial(
            wide_run,
            lambda record: late_rate(record, record["loss"]) / late_rate(record, forecast(record)),
            Near(abs=0.1),
            predict=1.0,
            quota=(9, 10),
        ),
        Control(r"mean-field output, $\tau_1 = 1/k$", experiment=field_run),
        cite=("jacot2018ntk", "wu2023encoder"),
    ),
    claim(
        "rate-lecun",
        "For LeCun the theorem's rate is short by a factor of four or more",
        r"At large width only $W_O$ trains, at the rate $2\eta\alpha^2$; the theorem has $\eta\alpha^2/2$, with $\alpha/2$ in "
        r"place of $\alpha$, squared: all of the four. Ratio at $k = 1024$, $\tau_0 = k^{-1}$, where the other blocks add to it.",
        Trial(
            wide_run.but(init="lecun", width=1024, steps=400),
            lambda record: late_rate(record, record["loss"]) / log_bound(record)[1],
            Between(4.0, 8.5),
            predict=4.0,
        ),
        Control("NTK, where $W_V$ trains as fast", experiment=wide_run),
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
        Control(r"a step of $2.5/\mu_{\max}$", experiment=edge_run.but(unit=2.5)),
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
        Control(r"a step of $1.9/\mu_{\max}$", experiment=edge_run.but(unit=1.9)),
        cite=EDGE,
        provenance="secondary: the published description of the catapult, measured here",
    ),
    claim(
        "divergence",
        r"At $4/\mu_{\max}$ hardly anything converges",
        r"With the step $4/\mu_{\max}(K_0)$ the loss ends at more than a thousand times its start, or overflows, in at least "
        "nine of ten seeds: now and then a run still lands.",
        Trial(edge_run.but(unit=4.0), left, Above(1e3), quota=(9, 10)),
        Control(r"a step of $2.5/\mu_{\max}$", experiment=edge_run.but(unit=2.5), quota=(9, 10)),
        cite=EDGE,
    ),
    claim(
        "race-same-step",
        "At the same step LeCun is faster than NTK",
        r"Steps of NTK to $10^{-3}$ of the loss over those of LeCun, at the smallest of their steps $1/\mu_{\max}$; NTK is "
        "stopped at 1000 steps, so the ratio is the least that it can be.",
        Trial(same_race, lambda record: record["ntk"] / record["lecun"], Above(2.0)),
        Control("each at its own largest eigenvalue", experiment=race_run),
        provenance="secondary: a review of the paper; measured here",
    ),
    claim(
        "race-own-step",
        "At its own step NTK is faster than LeCun",
        r"Steps of LeCun over those of NTK when each takes $1/\mu_{\max}$ of its own kernel: the order is reversed.",
        Trial(race_run, lambda record: record["lecun"] / record["ntk"], Above(1.5)),
        Control("the same step for both", experiment=same_race),
    ),
)
