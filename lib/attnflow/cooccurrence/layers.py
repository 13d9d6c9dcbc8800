"""The runs of chapter 2 about what is exact: the reduction, the layer laws, one step of descent, and the integrators."""

import torch

from attnflow import flow, laws, runs
from attnflow.claims import Experiment
from attnflow.cooccurrence import model
from attnflow.cooccurrence.experiments import problem
from attnflow.cooccurrence.reduced import Reduced

STEPS = (0.04, 0.02, 0.01, 0.005)


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
    seeds,
    device,
    steps=STEPS,
    time=4.0,
    optimiser=None,
    trained_signs=False,
    samples=12,
    width=16,
    neurons=8,
    **settings,
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
            values = flow.integrate(field, start, step=step, times=torch.linspace(0, time, 11), observe=balances).values
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


def three_ways(seeds, device, tau=4.0, step=0.005, scale=0.01, samples=12, length=4, width=64, neurons=16):
    r"""$\gamma_1$ at one time from the reduced flow, from scipy's solution of the whole flow, and from descent.

    Returns ``reduced`` (a float), ``scipy`` and ``descent`` (S,).
    """
    settings = {"samples": samples, "length": length, "width": width, "neurons": neurons, "scale": scale}
    asked, tokens, labels, start, _ = problem(seeds, device, **settings)
    field = model.field(tokens, labels, asked.size, neurons)
    found = []
    for run in range(len(seeds)):
        alone = {name: value[run : run + 1] for name, value in start.items()}
        part = model.field(tokens[run : run + 1], labels[run : run + 1], asked.size, neurons)
        time = tau / float(alone["readout"].square().sum())
        end = {name: value[-1] for name, value in flow.reference(part, alone, [0.0, time]).items()}
        found.append(float(model.token_scores(end)[0, 0]))
    clock = start["readout"].square().sum(dim=1)
    steps = step * tau / clock  # so that every run takes 1/step steps
    end = flow.integrate(field, start, step=steps, times=tau / clock[None]).state
    ode = Reduced(samples, length).solve([0.0, tau])["gamma"][-1, 0]
    return {
        "reduced": float(ode),
        "scipy": torch.tensor(found),
        "descent": model.token_scores(end)[:, 0].cpu(),
    }


reduced_run = Experiment(reduction, {"samples": 12, "width": 64})
law_drift = Experiment(drifts)
one_step = Experiment(identity)
order_run = Experiment(orders)
