"""The library on a pretended device: nothing is read that was not moved home, and nothing is mixed. It does not prove CUDA."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from elsewhere import DEVICE, Misplaced, There, pretended
from rooms import PROBLEMS
from test_ledger import CLAIMS, quick
from test_plot import FIGURES as OF_CLAIMS
from test_plot import ROOMS

from attnflow import claims, flow, runs
from attnflow.claims import experiment
from attnflow.cooccurrence import figures as texts
from attnflow.cooccurrence import setting
from attnflow.encoder import figures as nets
from attnflow.encoder import lazy, limits, pairs, rates, theorem
from attnflow.foundations import breaking, solvable
from attnflow.foundations import figures as layers
from attnflow.kernels import balancing, figures_balancing, figures_values, generic, imbalance, linear
from attnflow.meanfield import decay, figures_limit, figures_transport, scatter, transport
from attnflow.meanfield import figures_balancing as figures_decay

FAR = torch.arange(3.0)


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: x.tolist(),
        lambda x: x.sum().item(),
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(3) * x.sum(),
        lambda x: torch.where(x > 0, x, torch.zeros(3)),
        lambda x: torch.ones(3)[x.long()],
        lambda x: x.__setitem__(slice(None), torch.ones(3)),
        lambda x: torch.stack([x.sum(), torch.tensor(0.0)]),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: torch.randn(3, generator=torch.Generator(), device=x.device),
        lambda x: torch.arange(3).to(x.dtype) @ x,
    ],
)
def test_each_kind_of_fault_is_found(fault):
    with pretended() as name:
        far = FAR.to(name)
        with pytest.raises(Misplaced):
            fault(far)
    fault_free = FAR.clone()  # the same on the CPU is no fault
    fault(fault_free)


def test_one_function_goes_home():
    with pretended() as name:
        try:
            found = runs.array(FAR.to(name).requires_grad_())
        except Misplaced:
            found = None
    assert isinstance(found, np.ndarray) and found.tolist() == FAR.tolist()


def test_what_cuda_takes_is_taken():
    with pretended() as name:
        far = FAR.to(name)
        assert far.device == runs.device() == DEVICE or str(runs.device()) == name
        assert far.is_cuda and far.cpu().device.type == "cpu" and not isinstance(far.to("cpu"), There)
        made = (
            2 * far + 1,
            far * torch.tensor(2.0),
            far[torch.tensor([0, 2])],
            torch.zeros(2, device=far.device),
            torch.as_tensor(np.ones(2), device=name),
            far.to(torch.float64),
            torch.ones(3).to(far),
            torch.zeros_like(far),
            far.max(dim=0).values,
            torch.func.vmap(torch.sin)(FAR).to(name),
        )
        assert all(isinstance(one, There) for one in made)
        far[0] = 5.0
        assert float(far[0]) == 5.0 and f"{far[0]:.1f}" == "5.0" and bool((far > 0).any()) and FAR[0] == 0.0
        assert far.cpu().tolist() == [5.0, 1.0, 2.0] and np.asarray(far.detach().cpu()).shape == (3,)
        assert type(torch.as_tensor(far, device="cpu")) is torch.Tensor
        root = far.clone().requires_grad_()
        (slope,) = torch.autograd.grad(root.square().sum(), root)
        assert isinstance(slope, There) and slope.cpu().tolist() == [10.0, 2.0, 4.0]


METHODS = (
    flow.Descent(),
    flow.Heun(),
    flow.RungeKutta(),
    flow.Momentum(0.9),
    flow.Optimiser(torch.optim.Adam, {"betas": (0.9, 0.999)}),
)


def two_steps(row, settings, where, method):
    options = {
        "step": 0.01,
        "times": [0.0, 0.02],
        "method": method,
        "engine": "torch",
    }  # what is compiled runs on a CPU
    record = flow.integrate(*row.problem((3, 4), where, **settings), **options)
    return record.state | {"loss": record.loss, "times": record.times}


@pytest.mark.parametrize(
    ("row", "options", "methods"),
    [
        (row, options, METHODS[: None if not place else 1])
        for row in PROBLEMS
        for place, options in enumerate(row.options)
    ],
)
def test_every_problem_runs_there_by_every_method(row, options, methods):
    """The methods know nothing of options: with the first of them all are tried, descent with the others."""
    settings = row.settings | options
    for method in methods:
        home = two_steps(row, settings, "cpu", method)
        with pretended() as name:
            away = two_steps(row, settings, name, method)
            assert all(isinstance(value, There) for value in away.values())
            away = runs.to(away, "cpu")
        assert all(torch.equal(away[key], value) for key, value in home.items()), method


@pytest.fixture
def away(monkeypatch):
    """The name of the pretended device; records of experiments stay on it, as those of a function that is called by itself."""
    monkeypatch.setattr(experiment, "_home", lambda record: record)
    claims.forget()
    with pretended() as name:
        yield name
    claims.forget()
    plt.close("all")


WORDS = {"samples": 12, "width": 16, "stop_loss": 0.02, "test": 60}
NET = {"widths": (16, 32), "copies": 1}
HEADS = {"samples": 2, "length": 3, "d": 3, "k": 2}
FEW = {"samples": 3, "length": 4, "m": 3, "depth": 2}
SETTINGS = [(init, power) for init in ("lecun", "ntk") for power in (0.5, 1.0)]


def all_settings(experiment, run):
    return {(init, power): experiment.but(**NET, init=init, scaling=power)(*run) for init, power in SETTINGS}


FIGURES = {
    **{
        f"{figure.__module__} {figure.__name__}": lambda run, figure=figure, made=made: figure(
            ROOMS[figure.__module__.split(".")[1]].claim, *(one(*run) for one in made)
        )
        for figure, made in OF_CLAIMS.items()
    },
    "decay": lambda run: layers.decay_figure(
        breaking.decayed_balance.but(time=0.5)(*run), breaking.decayed_balance.but(time=0.5, only=("W_Q", "W_V"))(*run)
    ),
    "small start": lambda run: layers.small_start_figure(breaking.small_start.but(time=8.0)(*run)),
    "logistic": lambda run: layers.logistic_figure(solvable.solvable_run(*run)),
    "starts": lambda run: layers.starts_figure(
        solvable.solvable_run(*run), solvable.solvable_run.but(imbalance=2.0)(*run)
    ),
    "portrait": lambda run: layers.portrait_figure(solvable.portrait_run(*run)),
    "arrivals": lambda run: layers.arrival_figure(solvable.arrival_run.but(imbalances=(0.0, 1.0))(*run)),
    "shares": lambda run: texts.shares_figure(setting.base.but(**WORDS)(*run)),
    "duals": lambda run: texts.dual_figure(
        setting.base.but(**WORDS)(*run), setting.BROKEN["repeated"].but(**WORDS)(*run)
    ),
    "conditions": lambda run: nets.conditions_figure(all_settings(theorem.conditions_run, run)),
    "kernel": lambda run: nets.kernel_figure(
        *(one.but(**NET)(*run) for one in (limits.random_run, limits.limit_run, limits.given_run))
    ),
    "rate": lambda run: nets.rate_figure(
        rates.wide_run.but(width=16, steps=600)(*run), rates.field_run.but(width=16, steps=600)(*run)
    ),
    "entropy": lambda run: nets.entropy_figure(
        limits.entropy_run.but(**NET, measure=partial(limits.deficits, scalings=(0.25, 0.5, 0.75, 1.0, 1.25)))(*run)
    ),
    "lazy": lambda run: nets.lazy_figure(
        {key: one.but(widths=(16, 32), copies=1)(*run) for key, one in lazy.RUNS.items()}
    ),
    "pairs": lambda run: nets.pairs_figure(
        {s: pairs.pairs_run.but(widths=(16, 32), scaling=s)(*run) for s in (0.5, 1)}
    ),
    "floors": lambda run: figures_values.floors_figure(
        linear.spans(*run, widths=(1, 2, 3), copies=3, **HEADS), (1, 2, 3), threshold=2
    ),
    "forecasts": lambda run: figures_values.forecast_figure(
        {heads: linear.watched(*run, steps=20, count=5, **HEADS, heads=heads) for heads in (1, 2)}, ("one", "two")
    ),
    "balances": lambda run: figures_balancing.balances_figure(
        balancing.law_drift.but(kernels=("softmax", "gaussian"), steps=(0.008, 0.004))(*run),
        imbalance.flow_run.but(time=balancing.TIME)(*run),
        ROOMS["kernels"].claim["law-query-key"],
    ),
    "reach": lambda run: figures_values.reach_figure(
        generic.fate_run.but(copies=1, steps=20)(*run), ("softmax", "gaussian", "gaussian, 1"), (1, 4)
    ),
    "decayed heads": lambda run: figures_decay.decay_figure(
        {rate: decay.path_run.but(decay=rate, **FEW)(*run) for rate in (0.1, 0.5)},
        *(decay.carried_run.but(activation=name, time=0.2, **FEW)(*run) for name in ("tanh", "relu")),
    ),
    "spreads": lambda run: figures_limit.spreads((0,), depths=(1, 2), copies=4, device=run[1]),
    "tests": lambda run: figures_limit.tests((0,), counts=(6, 12), device=run[1]),
    "failures": lambda run: figures_limit.failures((0,), widths=(2, 4), copies=4, device=run[1]),
    "errors": lambda run: figures_transport.errors_figure(
        *2 * [transport.refined.but(cells=(20, 40), time=0.2)(*run)],
        *2 * [scatter.random.but(widths=(4, 16), copies=2, time=1.0)(*run)],
        *(ROOMS["meanfield"].claim[name] for name in ("transport-order", "transport-rate")),
    ),
}


SLOW = (pytest.mark.notebook, pytest.mark.slow)  # in the last group of notebooks, in make test-all only
LONG = ("order_figure", "attention_figure", "phases_figure", "decayed heads", "pairs", "starts", "portrait", "logistic")
LONG += ("arrivals", "duals", "shares", "reach", "lazy", "balances", "small start", "failures", "rate", "drift_figure")


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW) if name.endswith(LONG) else name for name in FIGURES])
def test_a_figure_of_records_there_is_drawn(name, away):
    figure = FIGURES[name](((0, 1), away))
    figure.canvas.draw()
    assert any(axes.has_data() for axes in figure.axes)


DAILY = "heads-return"


@pytest.mark.parametrize("name", [name if name.endswith(DAILY) else pytest.param(name, marks=SLOW) for name in quick()])
def test_a_claim_is_run_there(name, away):
    """The quick ones of all rooms, each with its control, and what each reads of its record; one every day."""
    with flow.asked("torch"):  # to the bit: what is compiled rounds otherwise, and is not for there
        row, home = (claims.evaluate(CLAIMS[name], (300,), where) for where in (away, "cpu"))
    assert row.measured == home.measured and row.control_measured == home.control_measured
