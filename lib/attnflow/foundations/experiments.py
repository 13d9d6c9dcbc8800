"""The runs of chapter 1 about laws: pure functions of (seeds, device, settings), each with one run a seed."""

import torch

from attnflow import flow, laws, runs
from attnflow.claims import Experiment
from attnflow.foundations import model, task
from attnflow.foundations.model import Layer

STEPS = (0.04, 0.02, 0.01, 0.005)
OPTIMISERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def problem(seeds, device, samples=8, length=4, common=False, scale=1.0, **options):
    """A layer, its gradient field and its initial weights, fresh for every seed. Returns (layer, field, state)."""
    layer = Layer(**options)
    generators = runs.streams(seeds)
    inputs = task.tokens(generators, samples, length, layer.d, common)
    targets = task.teacher(generators, layer, inputs)
    state = model.init(generators, layer, scale)
    return layer, model.field(inputs.to(device), targets.to(device), layer), runs.to(state, device)


def balances(state):
    """Every law of the layer and the terms it balances. Returns name -> (S, ...)."""
    query, key, value, out = (state[name] for name in ("W_Q", "W_K", "W_V", "W_O"))
    return {
        "query-key": laws.imbalance(query, key),
        "value-output": laws.imbalance(value, out.mT),
        "neuron": laws.neuron_imbalance(value, out),
        "shift": key[:, -1],
        "query alone": query.mT @ query,
        "value alone": value.mT @ value,
    }


def drifts(seeds, device, optimiser=None, steps=STEPS, time=4.0, **settings):
    """Drift of every law along descent to one time, for several steps. Returns name -> (J, S), and ``steps``."""
    _, field, start = problem(seeds, device, **settings)
    rows = []
    for step in steps:
        if optimiser:
            chosen = OPTIMISERS[optimiser]
            values, _ = flow.optimise(
                field, start, optimiser=chosen, lr=step, steps=round(time / step), observe=balances, every=5
            )
        else:
            times = torch.linspace(0, time, 21)
            values = flow.integrate(field, start, step=step, times=times, observe=balances).values
        rows.append({name: laws.drift(value) for name, value in values.items() if name != "loss"})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"steps": steps}


def orders(seeds, device, method="descent", optimiser=None, steps=STEPS, time=2.0, **settings):
    """Distance to the flow at one time, for several steps. Returns ``error`` (J, S), relative, and ``steps``."""
    _, field, start = problem(seeds, device, **settings)
    exact = {name: value[-1] for name, value in flow.reference(field, start, [0.0, time]).items()}

    def distance(state):
        gap = sum((state[name] - exact[name]).square().sum(dim=(1, 2)) for name in exact)
        return (gap / sum(value.square().sum(dim=(1, 2)) for value in exact.values())).sqrt()

    errors = []
    for step in steps:
        if optimiser:
            chosen = OPTIMISERS[optimiser]
            _, state = flow.optimise(field, start, optimiser=chosen, lr=step, steps=round(time / step), every=1000)
        else:
            state = flow.integrate(field, start, step=step, times=[time], method=method).state
        errors.append(distance(state))
    return {"error": torch.stack(errors), "steps": steps}


def identity(seeds, device, step=0.1, steps=50, momentum=0.0, **settings):
    """The one-step identity along descent with a large step. Returns residuals (S,) of both pairs of factors."""
    _, field, state = problem(seeds, device, **settings)
    velocity = {name: torch.zeros_like(value) for name, value in state.items()}
    worst = {"query-key": torch.zeros(len(seeds)), "value-output": torch.zeros(len(seeds))}
    width = torch.full((len(seeds),), step, dtype=runs.DTYPE, device=device)
    for _ in range(steps):
        gradient = field(state)[1]
        velocity = {name: momentum * velocity[name] + gradient[name] for name in state}
        after = flow.move(state, velocity, width)
        for name, left, right in (("query-key", "W_Q", "W_K"), ("value-output", "W_V", "W_O")):

            def pair(tensors, left=left, right=right):
                other = tensors[right].mT if right == "W_O" else tensors[right]
                return tensors[left], other

            residual = laws.step_identity(pair(state), pair(after), pair(gradient), step)
            worst[name] = torch.maximum(worst[name], residual.cpu())
        state = after
    return worst


def decay(seeds, device, rate=0.3, only=None, time=3.0, step=0.02, **settings):
    r"""Flow with weight decay. Returns balances (K, S, ...), ``times`` and the fitted ``rate`` of both, (S,), over $2\lambda$.

    only: the one matrix that decays, to break the law.
    """
    _, field, start = problem(seeds, device, **settings)
    rates = {only: rate} if only else rate
    times = torch.linspace(0, time, 16, dtype=runs.DTYPE)
    record = flow.integrate(flow.decayed(field, rates), start, step=step, times=times, method="heun", observe=balances)
    found = {name: record.values[name].flatten(2).norm(dim=2) for name in ("query-key", "value-output")}
    fitted = {name: -torch.log(size[-1] / size[0]) / (2 * rate * time) for name, size in found.items()}
    return {"times": times, "size": found, "rate": fitted}


def growth(seeds, device, scales=(0.05, 0.1), time=60.0, step=0.05, fraction=0.3, **settings):
    r"""Train from small starts until the loss has fallen to a fraction.

    The relative imbalance is $\|D_{VO}\| / \|W_V\|\|W_O\|$. Returns it along the way as ``relative``
    (J, K, S) at ``times`` (K,), and ``end`` (J, S) where the loss first is at the fraction, for each of the ``scales``.
    """

    def relative(state):
        balance = laws.imbalance(state["W_V"], state["W_O"].mT).flatten(1).norm(dim=1)
        return balance / (state["W_V"].flatten(1).norm(dim=1) * state["W_O"].flatten(1).norm(dim=1))

    ways, ends = [], []
    times = torch.linspace(0, time, 2 + round(time / 2), dtype=runs.DTYPE)
    for scale in scales:
        _, field, start = problem(seeds, device, scale=scale, **settings)
        begin = field(start)[0]
        record = flow.integrate(
            field, start, step=step, times=times, method="heun", observe=lambda now: {"relative": relative(now)}
        )
        fell = record.values["loss"] <= fraction * begin
        first = torch.where(fell.any(dim=0), fell.to(torch.int8).argmax(dim=0), len(times) - 1)
        ways.append(record.values["relative"])
        ends.append(record.values["relative"][first, torch.arange(len(seeds), device=first.device)])
    return {"times": times, "relative": torch.stack(ways), "end": torch.stack(ends), "scales": scales}


descent_order = Experiment(orders)
heun_order = Experiment(orders, {"method": "heun"})
law_drift = Experiment(drifts)
common_drift = Experiment(drifts, {"common": True})
relu_drift = Experiment(drifts, {"activation": "relu"})
one_step = Experiment(identity)
decayed_balance = Experiment(decay)
small_start = Experiment(growth)
