"""The runs of chapter 2: pure functions of (seeds, device, settings), each with one run a seed."""

import math

import torch
from torch.nn.functional import softplus

from attnflow import flow, runs
from attnflow.claims import Experiment
from attnflow.cooccurrence import model, phases, task
from attnflow.cooccurrence.task import Task

UNEQUAL = (0.2, 0.3, 0.3, 0.2)
RARE = (0.5, 0.35, 0.05, 0.1)


def problem(seeds, device, scale=0.1, readout=1.0, width=128, neurons=16, full=False, law="normal", stds=None, **data):
    r"""Data and initial weights, fresh for every seed.

    scale: $c_0$ in $\sigma_0 = c_0/\sqrt{Lk}$ for $W_Q, W_K, W_V$; readout: $c_1$ in $\sigma_1 = c_1/\sqrt o$ for $W_O$;
    stds: both given outright; data: the fields of ``Task``. Returns (task, tokens, labels, state, generators).
    """
    asked = Task(**data)
    runs.integer("width", width)
    inner, outer = stds or (scale / math.sqrt(asked.length * width), readout / math.sqrt(neurons))
    generators = runs.streams(seeds)
    tokens, labels = task.draw(generators, asked)
    state = model.init(generators, asked.size, width, neurons, inner, outer, law)
    state = state if full else model.reduce(state)
    return asked, tokens.to(device), labels.to(device), runs.to(state, device), generators


def train(
    seeds,
    device,
    stop_loss=1e-5,
    step=0.3,
    method="heun",
    records=("log", 0.05, 1e7, 200),
    frozen=False,
    test=600,
    progress=None,
    **settings,
):
    r"""Train to a loss and record on the clock $\tau = |\omega(0)|^2t$.

    method: ``heun``, with steps of ``step`` on the clock of ``model.pace``, or ``descent`` with the learning rate
    ``step``. records: ("log", first, last, count) or ("even", last, count) in tau, or ("steps", last, count) of descent,
    spaced evenly in the logarithm.
    frozen: $W_Q, W_K$ stay as they are drawn. test: samples of fresh data for ``accuracy``.
    Returns a run (see ``phases``), with ``tau_1``, ``tokens``, ``labels`` (S, n), ``accuracy``, ``test_loss`` (S,), ``status``.
    """
    neurons = settings.get("neurons", 16)
    asked, tokens, labels, state, generators = problem(seeds, device, **settings)
    clock = model.readout(state).square().sum(dim=1)
    record = flow.integrate(
        model.field(tokens, labels, asked.size, neurons, frozen),
        state,
        step=step,
        times=schedule(records, step, clock),
        method=method,
        speed=model.pace(tokens, asked.size, neurons) if method == "heun" else None,
        observe=phases.observe(tokens, labels, asked.size),
        stop_loss=stop_loss,
        progress=progress,
    )
    run = {name: value.cpu() for name, value in phases.closed(record).items()}
    run |= {"classes": asked.classes, "tau": run["time"] * clock.cpu(), "status": record.status, "task": asked}
    test_tokens, test_labels = task.fresh(generators, asked, test)
    margins = test_labels * model.forward(runs.to(record.state, "cpu"), test_tokens)
    return run | {
        "tau_1": phases.boundary(run),
        "tokens": tokens.cpu(),
        "labels": labels.cpu(),
        "accuracy": (margins > 0).to(runs.DTYPE).mean(dim=1),
        "test_loss": softplus(-margins).mean(dim=1),
    }


def schedule(records, step, clock):
    """The record times of every run, (K, S), from the words of ``train``; clock: tau per unit of time, (S,)."""
    kind, *numbers = records
    runs.choice("records", kind, ("log", "even", "steps"))
    if kind == "steps":
        last, count = numbers
        steps = torch.logspace(0, math.log10(last), count, dtype=runs.DTYPE, device=clock.device).round().unique()
        return torch.cat([steps.new_zeros(1), steps]) * step
    taus = flow.log_times(*numbers) if kind == "log" else torch.linspace(0, *numbers, dtype=runs.DTYPE)
    return taus.to(clock.device)[:, None] / clock


def freezing(seeds, device, tau=40.0, count=41, **settings):
    """The same runs with attention trained and frozen, to one time.

    Returns ``loss`` and ``frozen_loss`` (S,), their relative ``gap`` (S,), and both ``runs``.
    """
    settings |= {"records": ("even", tau, count), "stop_loss": 0.0}
    both = [train(seeds, device, frozen=frozen, **settings) for frozen in (False, True)]
    loss, frozen_loss = (phases.final(run, run["loss"]) for run in both)
    return {"loss": loss, "frozen_loss": frozen_loss, "gap": (frozen_loss / loss - 1).abs(), "runs": both}


def paper(seeds, device, reading="default", epochs=30_000, count=200, **settings):
    r"""The paper's own experiment, with one reading of its word "Kaiming".

    reading: ``default``, what torch's linear layers do (uniform, variance 1/(3 fan-in)), or ``he``, normal of variance
    2/fan-in. n = 60, L = 5, d = 64, k = 128, o = 256, descent with learning rate 0.01. Returns a run.
    """
    runs.choice("reading", reading, ("default", "he"))
    law, gain = ("uniform", 1 / 3) if reading == "default" else ("normal", 2.0)
    stds = tuple(math.sqrt(gain / fan_in) for fan_in in (64, 128))
    shape = {"words": 64, "distinct": False, "neurons": 256, "law": law, "stds": stds}
    records = {"method": "descent", "step": 0.01, "records": ("steps", epochs, count), "stop_loss": 0.0}
    return train(seeds, device, **(shape | records | settings))


def cell(device, samples, length, seeds=4, **settings):
    """One cell of the phase diagram: the end of ``seeds`` runs, from seed 100 on. Returns a dict of arrays (S,)."""
    numbers = tuple(range(100, 100 + seeds))
    run = train(numbers, device, samples=samples, length=length, test=60, **settings)
    sums = phases.final(run, phases.sums(run))
    return {
        "second": (sums[:, 1] + sums[:, 2]) / (2 * sums[:, 0]),
        "fourth": sums[:, 3] / sums[:, 0],
        "rho": phases.ratio(sums),
        "tau_1": run["tau_1"],
        "loss": phases.final(run, run["loss"]),
    }


def paper_curves(device, reading, seeds=4, **settings):
    """The curves of the paper's two figures for ``seeds`` runs, from seed 100 on. Returns a dict of arrays, float32.

    ``scores`` (K, S, 3, 3), their change; ``class_loss`` (K, S, 4); ``loss``, ``rho`` (K, S); ``first`` (S,) the epoch at
    which all classes are right for good.
    """
    run = paper(tuple(range(100, 100 + seeds)), device, reading, **settings)
    steps = run["time"] / 0.01
    curves = {
        "epochs": steps[:, 0],
        "scores": run["scores"] - run["scores"][:1],
        "class_loss": phases.class_losses(run),
        "loss": run["loss"],
        "rho": phases.ratio(phases.sums(run)),
        "first": phases.crossing(steps, phases.class_means(run["margins"], run["classes"]).amin(dim=-1)),
    }
    return {name: values.to(torch.float32).numpy() for name, values in curves.items()}


base = Experiment(train, {"stop_loss": 1e-6})
early = Experiment(train, {"records": ("even", 40.0, 161), "stop_loss": 0.0, "scale": 0.01})
unequal = base.but(fractions=UNEQUAL)
rare = base.but(fractions=RARE)
few = base.but(samples=12)
few_active = base.but(samples=24)
tiny_readout = base.but(readout=0.02, scale=1.0, records=("log", 1e-3, 1e8, 240))
large = base.but(scale=16.0, stop_loss=0.01, step=0.8)
repeated = base.but(words=64, distinct=False)
no_common = base.but(common=False, stop_loss=1e-5)
presence = base.but(label="first", stop_loss=1e-5)
stepped = Experiment(train, {"method": "descent", "step": 0.01, "records": ("steps", 400, 200), "stop_loss": 0.0})
paper_run = Experiment(paper, {"epochs": 1000, "count": 11})
idle = Experiment(freezing)
