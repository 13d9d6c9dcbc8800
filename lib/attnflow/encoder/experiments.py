"""The runs of chapter 3 on trained networks: pure functions of (seeds, device, settings), each with one run a seed."""

import torch

from attnflow import flow, laws, ntk, runs
from attnflow.claims import Experiment
from attnflow.encoder import bounds, kernel, model, task
from attnflow.encoder.model import Encoder

STEPS = (0.008, 0.004, 0.002, 0.001)


def problem(seeds, device, samples=12, length=4, data="gaussian", std=None, **options):
    """Data and initial weights, fresh for every seed. Returns (net, inputs, labels, state).

    The data depend on the seed alone; the weights are drawn anew at every width. std: size of a token entry, by default
    the one that makes logits of order one at scaling 1/2.
    """
    net = Encoder(**options)
    runs.choice("data", data, tuple(task.TASKS))
    inputs, labels = task.TASKS[data](runs.streams(seeds), samples, length, net.d, std=std or net.token_std)
    state = model.init(runs.streams(seeds, replica=net.width), net)
    return net, inputs.to(device), labels.to(device), runs.to(state, device)


def balances(state, rates=None):
    r"""Every law of the encoder, and terms that it balances: name -> (S, ...). rates: learning rates of the blocks."""
    rates = rates or {}
    query, key, value, out = (state[name] / rates.get(name, 1.0) ** 0.5 for name in ("W_Q", "W_K", "W_V", "W_O"))
    found = {
        "query-key": laws.imbalance(query, key),
        "neuron": laws.neuron_imbalance(value, out),
        "neuron, plain": laws.neuron_imbalance(state["W_V"], state["W_O"]),
        "query-key, plain": laws.imbalance(state["W_Q"], state["W_K"]),
    }
    if "W_H" in state:
        found["value-hidden"] = laws.imbalance(value, state["W_H"].mT)
        found["hidden-output"] = laws.neuron_imbalance(state["W_H"], out)
    return found


def drifts(seeds, device, rates=(), steps=STEPS, time=1.0, d=6, width=8, **settings):
    """Drift of every law along descent to one time, for several steps. rates: pairs (block, learning rate).

    Returns name -> (J, S), and ``steps``.
    """
    net, inputs, labels, start = problem(seeds, device, d=d, width=width, **settings)
    rates, rows = dict(rates), []
    field = model.at_rates(model.field(inputs, labels, net), rates)
    for step in steps:
        times = torch.linspace(0, time, 11)
        record = flow.integrate(field, start, step=step, times=times, observe=lambda now: balances(now, rates))
        rows.append({name: laws.drift(value) for name, value in record.values.items() if name != "loss"})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"steps": steps}


def identity(seeds, device, step=0.05, steps=30, momentum=0.0, **settings):
    """The one-step identity of the query-key balance along descent with a large step. Returns the residual, (S,)."""
    net, inputs, labels, state = problem(seeds, device, **({"d": 6, "width": 8} | settings))
    field = model.field(inputs, labels, net)
    velocity = {name: torch.zeros_like(value) for name, value in state.items()}
    worst = torch.zeros(len(seeds), dtype=runs.DTYPE, device=device)
    width = torch.full_like(worst, step)
    for _ in range(steps):
        gradient = field(state)[1]
        velocity = {name: momentum * velocity[name] + gradient[name] for name in state}
        after = flow.move(state, velocity, width)
        both = [(each["W_Q"], each["W_K"]) for each in (state, after, gradient)]
        worst = torch.maximum(worst, laws.step_identity(*both, step))
        state = after
    return worst


def equivalence(seeds, device, steps=200, block_rates=True, **settings):
    r"""LeCun initialisation on X against NTK initialisation on $X/\sqrt d$ with block learning rates.

    Both nets use the same draws. Rates: $\eta k$ for $W_O$ and $\eta d$ for the others; without ``block_rates`` all
    are $\eta$. Returns the largest difference of the losses over all steps, over the first loss, (S,).
    """
    options = {"d": 12, "width": 50} | settings
    net, inputs, labels, state = problem(seeds, device, init="lecun", **options)
    other, *_ = problem(seeds, device, init="ntk", **options)
    rates = dict.fromkeys(bounds.BLOCKS, float(net.d)) | {"W_O": float(net.width)}
    bare = {name: value * rates[name] ** 0.5 for name, value in state.items()}
    step = 0.5 / torch.linalg.eigvalsh(kernel.empirical(state, inputs, net))[:, -1]
    first = model.field(inputs, labels, net)
    second = model.at_rates(model.field(inputs / net.d**0.5, labels, other), rates if block_rates else {})
    times = step[None] * torch.arange(steps + 1, device=device)[:, None]
    losses = [
        flow.integrate(field, start, step=step, times=times).values["loss"]
        for field, start in ((first, state), (second, bare))
    ]
    return ((losses[0] - losses[1]).abs() / losses[0][0]).amax(dim=0)


def trained(seeds, device, steps=400, unit=1.0, stop=0.0, every=1, watch=False, largest_singular=False, **settings):
    r"""Descent with a step of ``unit`` over $\mu_{\max}(K_0)$: the losses, and what theory needs to predict them.

    stop: end a run at this share of its first loss; watch: record the smallest singular value of the features and all
    inequalities of the derivation, every ``every`` steps, with ``largest_singular`` as a mistake on purpose. Returns
    ``loss`` (K, S) over ``steps`` (K,), ``step`` (S,), ``alpha`` (S,), ``start`` and ``end`` kernels (S, n, n), ``residual``
    (S, n), ``final`` loss (S,), ``status``, and when watched ``sigma`` and the names of ``bounds.along``, each (K, S).
    """
    net, inputs, labels, state = problem(seeds, device, **settings)
    first = kernel.empirical(state, inputs, net)
    step = unit / torch.linalg.eigvalsh(first)[:, -1]
    features = model.features(state, inputs, net)
    field = model.field(inputs, labels, net)
    begin = field(state)[0]
    grid = torch.arange(0, steps + 1, every, dtype=runs.DTYPE, device=device)

    def observe(now):
        sigma = bounds.smallest_singular(model.features(now, inputs, net))
        return {"sigma": sigma} | bounds.along(now, state, inputs, labels, net, largest_singular)

    record = flow.integrate(
        field,
        state,
        step=step,
        times=grid[:, None] * step,
        observe=observe if watch else None,
        stop_loss=stop * float(begin.min()),
    )
    last = kernel.empirical(record.state, inputs, net)
    found = {"steps": grid[: len(record.times)], "step": step, "alpha": bounds.smallest_singular(features)}
    found |= {"start": first, "end": last, "residual": model.forward(state, inputs, net) - labels}
    found |= {"status": record.status, "final": record.loss}
    return record.values | found


def replicas(seeds, copies):
    """Each seed followed by independent seeds of its own, ``copies`` in all: what a mean over draws needs."""
    return [seed + 1_000_000 * copy for seed in seeds for copy in range(runs.integer("copies", copies))]


def mean_of(copies, values):
    """Geometric mean over the copies of each seed: (S copies,) to (S,)."""
    return values.log().reshape(-1, copies).mean(dim=1).exp()


def moves(seeds, device, widths=(128, 512, 2048), stop=1e-3, unit=1.0, steps=3000, copies=1, **settings):
    """How far each block, the attention and the kernel moved from their start when the loss fell to a share.

    Each run is read at its own first step at or below ``stop`` times its first loss. Returns name -> (W, S), geometric means
    over ``copies`` draws: relative to the size at the start for weights and kernel, mean entry for the attention; ``widths``;
    ``reached`` the share of the runs that came that far.
    """
    rows = []
    for width in widths:
        net, inputs, labels, start = problem(replicas(seeds, copies), device, width=width, **settings)
        first = kernel.empirical(start, inputs, net)
        step = unit / torch.linalg.eigvalsh(first)[:, -1]
        field = at_most(model.field(inputs, labels, net), start, stop)
        record = flow.integrate(field, start, step=step, times=[1e9], max_steps=steps, stop_loss=1e-300)
        end = record.state
        row = {
            name: (end[name] - value).flatten(1).norm(dim=1) / value.flatten(1).norm(dim=1)
            for name, value in start.items()
        }
        change = model.attention(end, inputs, net) - model.attention(start, inputs, net)
        row["attention"] = change.abs().mean(dim=(1, 2, 3))
        row["kernel"] = ntk.distance(kernel.empirical(end, inputs, net), first)
        reached = (model.loss(end, inputs, labels, net) <= stop * field.start).to(runs.DTYPE)
        row = {name: mean_of(copies, value) for name, value in row.items()}
        rows.append(row | {"reached": reached.reshape(-1, copies).mean(dim=1)})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"widths": widths}


class at_most:  # noqa: N801  # reads as a function: a field that ends at most here
    """A field whose loss reads 0 once it is at or below a share of its start, so that ``flow`` ends each run there."""

    def __init__(self, field, start, share):
        self.field, self.share, self.start = field, share, field(start)[0]

    def __call__(self, state):
        loss, gradient = self.field(state)
        return torch.where(loss <= self.share * self.start, torch.zeros_like(loss), loss), gradient


def race(seeds, device, width=512, scaling=0.5, stop=1e-3, own=True, steps=4000, inits=model.INITS, samples=12):
    """Steps that each initialisation needs to bring the loss to a share of its start.

    own: each takes the step 1 over its own largest kernel eigenvalue; otherwise all take the smallest of these steps.
    Returns name -> (S,), ``steps`` where it was not reached.
    """
    problems, step = {}, {}
    for init in inits:
        net, inputs, labels, state = problem(seeds, device, width=width, scaling=scaling, init=init, samples=samples)
        problems[init] = (model.field(inputs, labels, net), state)
        step[init] = 1 / torch.linalg.eigvalsh(kernel.empirical(state, inputs, net))[:, -1]
    common = torch.stack(list(step.values())).amin(dim=0)
    found = {}
    for init, (field, state) in problems.items():
        field = at_most(field, state, stop)
        size = step[init] if own else common
        record = flow.integrate(field, state, step=size, times=[1e9], max_steps=steps, stop_loss=1e-300)
        found[init] = record.steps.to(runs.DTYPE)
    return found


law_drift = Experiment(drifts)
hidden_drift = Experiment(drifts, {"hidden": True})
rated_drift = Experiment(drifts, {"rates": (("W_O", 3.0), ("W_V", 0.5), ("W_Q", 2.0))})
one_step = Experiment(identity)
same_losses = Experiment(equivalence)
wide_run = Experiment(trained, {"init": "ntk", "scaling": 1.0, "width": 2048, "steps": 260})
watched_run = Experiment(trained, {"width": 128, "steps": 300, "unit": 0.5, "watch": True, "every": 10})
moved = Experiment(moves)
race_run = Experiment(race)
