"""The runs of chapter 2: pure functions of (seeds, device, settings), each with one run a seed."""

import math

import torch
from torch.nn.functional import softplus

from attnflow import flow, laws, runs
from attnflow.claims import Experiment
from attnflow.cooccurrence import model, phases, task
from attnflow.cooccurrence.task import Task

UNEQUAL = (0.2, 0.3, 0.3, 0.2)
RARE = (0.5, 0.35, 0.05, 0.1)
STEPS = (0.04, 0.02, 0.01, 0.005)


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
    grid=(0.05, 1e7, 200),
    uniform=None,
    frozen=False,
    test=600,
    progress=None,
    **settings,
):
    r"""Train to a loss and record on the clock $\tau = |\omega(0)|^2t$.

    method: ``heun``, with steps of ``step`` on the clock of ``model.pace``, or ``descent`` with the learning rate
    ``step``. grid: (first, last, count) of record times in tau, log-spaced from zero on; uniform: (last, count), evenly
    spaced instead. frozen: $W_Q, W_K$ stay as they are drawn. test: samples of fresh data for ``accuracy``.
    Returns a run (see ``phases``), with ``tau_1``, ``tokens``, ``labels`` (S, n), ``accuracy``, ``test_loss`` (S,), ``status``.
    """
    neurons = settings.get("neurons", 16)
    asked, tokens, labels, state, generators = problem(seeds, device, **settings)
    words = asked.size
    clock = model.readout(state).square().sum(dim=1)
    last, count = uniform or (1.0, 2)
    taus = torch.linspace(0, last, count, dtype=runs.DTYPE) if uniform else flow.log_times(*grid)
    record = flow.integrate(
        model.field(tokens, labels, words, neurons, frozen),
        state,
        step=step,
        times=taus.to(clock.device)[:, None] / clock,
        method=method,
        speed=model.pace(tokens, words, neurons) if method == "heun" else None,
        observe=phases.observe(tokens, labels, words),
        stop_loss=stop_loss,
        progress=progress,
    )
    run = {name: value.cpu() for name, value in phases.closed(record).items()}
    run |= {"classes": asked.classes, "tau": run.pop("time") * clock.cpu(), "status": record.status, "task": asked}
    test_tokens, test_labels = task.fresh(generators, asked, test)
    margins = test_labels * model.forward(runs.to(record.state, "cpu"), test_tokens)
    return run | {
        "tau_1": phases.boundary(run),
        "tokens": tokens.cpu(),
        "labels": labels.cpu(),
        "accuracy": (margins > 0).to(runs.DTYPE).mean(dim=1),
        "test_loss": softplus(-margins).mean(dim=1),
    }


def freezing(seeds, device, tau=400.0, count=41, **settings):
    r"""The same runs with attention trained and frozen, to one time. Returns ``loss`` and ``frozen_loss`` (S,), ``gap`` relative."""
    both = [
        train(seeds, device, uniform=(tau, count), stop_loss=0.0, frozen=frozen, **settings) for frozen in (False, True)
    ]
    loss, frozen_loss = (phases.final(run, run["loss"]) for run in both)
    return {"loss": loss, "frozen_loss": frozen_loss, "gap": (frozen_loss / loss - 1).abs(), "runs": both}


def reduction(seeds, device, steps=300, step=0.02, trained_signs=False, **settings):
    """Descent of the full model and of its reduction, side by side. Returns ``gap`` (S,), over the largest entry."""
    asked, tokens, labels, state, _ = problem(seeds, device, full=True, **settings)
    neurons = state["signs"].shape[1]
    fields = [model.field(tokens, labels, asked.size, neurons, trained_signs=flag) for flag in (trained_signs, False)]
    times = [steps * step]
    full, short = (
        flow.integrate(field, start, step=step, times=times).state
        for field, start in zip(fields, (state, model.reduce(state)), strict=True)
    )
    pairs = [(model.reduce(full)[name], short[name]) for name in short]
    gaps = [(one - other).abs().flatten(1).amax(1) / other.abs().flatten(1).amax(1) for one, other in pairs]
    return {"gap": torch.stack(gaps).amax(dim=0)}


def balances(state):
    """Every layer law of the chapter, and the terms that move. Returns name -> (S, ...)."""
    query, key, value, out = (state[name] for name in ("W_Q", "W_K", "W_V", "W_O"))
    along = (out @ state["signs"][:, :, None]) * state["signs"][:, None, :] / out.shape[2]
    return {
        "query-key": laws.imbalance(query, key),
        "value-output": laws.imbalance(value, out.mT),
        "key sum": key.sum(dim=1),
        "query sum": query.sum(dim=1),
        "off signs": out - along,
    }


def drifts(
    seeds, device, steps=STEPS, time=4.0, optimiser=None, trained_signs=False, samples=12, width=16, neurons=8, **settings
):
    """Drift of every law along descent to one time, for several steps. Returns name -> (J, S), and ``steps``."""
    settings |= {"samples": samples, "width": width, "neurons": neurons, "full": True}
    asked, tokens, labels, start, _ = problem(seeds, device, **({"scale": 1.0} | settings))
    field = model.field(tokens, labels, asked.size, neurons, trained_signs=trained_signs)
    found = []
    for step in steps:
        if optimiser:
            values, _ = flow.optimise(
                field, start, optimiser=torch.optim.Adam, lr=step, steps=round(time / step), observe=balances, every=5
            )
        else:
            values = flow.integrate(
                field, start, step=step, times=torch.linspace(0, time, 11), observe=balances
            ).values
        found.append({name: laws.drift(value) for name, value in values.items() if name != "loss"})
    return {name: torch.stack([row[name] for row in found]) for name in found[0]} | {"steps": steps}


def identity(seeds, device, step=0.1, steps=20, momentum=0.0, samples=12, width=16, neurons=8, **settings):
    """The exact one-step identity of descent for both pairs of factors. Returns the larger residual, ``worst`` (S,)."""
    settings |= {"samples": samples, "width": width, "neurons": neurons, "full": True}
    asked, tokens, labels, state, _ = problem(seeds, device, **({"scale": 1.0} | settings))
    field = model.field(tokens, labels, asked.size, neurons)
    velocity = {name: torch.zeros_like(value) for name, value in state.items()}
    size, worst = torch.full((len(seeds),), step, dtype=runs.DTYPE, device=device), torch.zeros(len(seeds))

    def pairs(tensors):
        return (tensors["W_Q"], tensors["W_K"]), (tensors["W_V"], tensors["W_O"].mT)

    for _ in range(steps):
        gradient = field(state)[1]
        velocity = {name: momentum * velocity[name] + gradient[name] for name in state}
        after = flow.move(state, velocity, size)
        for before, new, slope in zip(pairs(state), pairs(after), pairs(gradient), strict=True):
            worst = torch.maximum(worst, laws.step_identity(before, new, slope, step).cpu())
        state = after
    return {"worst": worst}


def orders(seeds, device, method="descent", steps=STEPS, time=2.0, optimiser=None, samples=12, width=8, **settings):
    """Distance to an accurate solution of the flow at one time. Returns ``error`` (J, S), relative, and ``steps``."""
    settings |= {"samples": samples, "width": width}
    asked, tokens, labels, start, _ = problem(seeds, device, **({"scale": 1.0} | settings))
    field = model.field(tokens, labels, asked.size, 16)
    exact = {name: value[-1].to(device) for name, value in flow.reference(field, start, [0.0, time]).items()}
    errors = []
    for step in steps:
        if optimiser:
            chosen = torch.optim.Adam
            _, state = flow.optimise(field, start, optimiser=chosen, lr=step, steps=round(time / step), every=1000)
        else:
            state = flow.integrate(field, start, step=step, times=[time], method=method).state
        gap = sum((state[name] - exact[name]).square().flatten(1).sum(dim=1) for name in exact)
        errors.append((gap / sum(value.square().flatten(1).sum(dim=1) for value in exact.values())).sqrt())
    return {"error": torch.stack(errors), "steps": steps}


base = Experiment(train)
early = Experiment(train, {"uniform": (40.0, 161), "stop_loss": 0.0, "scale": 0.01})
unequal = base.but(fractions=UNEQUAL)
rare = base.but(fractions=RARE)
few = base.but(samples=12)
edge = base.but(samples=24)
tiny_readout = base.but(readout=0.02, scale=1.0, grid=(1e-3, 1e8, 240))
large = base.but(scale=16.0)
repeated = base.but(words=64, distinct=False)
no_common = base.but(common=False)
presence = base.but(label="first")
idle = Experiment(freezing)
reduced_run = Experiment(reduction)
law_drift = Experiment(drifts)
one_step = Experiment(identity)
order_run = Experiment(orders)
