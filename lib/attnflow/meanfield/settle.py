"""Where the particle flow comes to rest: followed until next to nothing is left of the gradient, with a step that can shrink."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from attnflow import door, flow
from attnflow.meanfield import model, nets
from attnflow.runs import Stack, State

STILL = 1e-6  # the dissipation below which a run counts as at rest


@dataclass(frozen=True)
class Rest:
    r"""A stack of runs at rest, or where it was left.

    state: the particles; objective, risk, norms, dissipation: $\mathcal Q$, $\mathcal L$, the mean square particle and
    $-\dot{\mathcal Q}$ there, (S,) each; still: which runs came to rest, (S,) of bool.
    """

    state: State
    objective: Stack
    risk: Stack
    norms: Stack
    dissipation: Stack
    still: Stack


@door.takes(field=door.FUNCTION, state=nets.STATE, net=nets.NET)
def dissipation(field: flow.fields.Field, state: State, net: model.Net) -> Stack:
    r"""$-\dot{\mathcal Q} = \frac1{Jm}\sum|\dot\theta|^2$ of the particles ``state`` of a ``net`` along a ``field``, (S,)."""
    slopes = field(state)[1]
    return sum(slope.square().flatten(1).sum(dim=1) for slope in slopes.values()) / (net.depth * net.m)


@door.takes(
    state=nets.STATE, inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.NET, decay=nets.DECAYS, least=door.POSITIVE
)
def seen(state: State, inputs: Stack, targets: Stack, net: model.Net, decay: Stack, least: float = STILL) -> Rest:
    """What there is to see of the particles ``state`` of a ``net``.

    inputs, targets: of the data; decay: one a run, (S,); least: the dissipation at or below which a run is at rest.
    """
    field = model.field(inputs, targets, net, decay)
    left = dissipation(field, state, net)
    risk = model.risk(state, inputs, targets, net)
    return Rest(state, field(state)[0], risk, model.norms(state, net), left, left <= least)


@door.takes(
    state=nets.STATE,
    inputs=nets.TOKENS,
    targets=nets.TARGETS,
    net=nets.NET,
    decay=nets.DECAYS,
    least=door.POSITIVE,
    step=door.POSITIVE,
    time=door.POSITIVE,
    rounds=door.COUNT,
)
def settle(
    state: State,
    inputs: Stack,
    targets: Stack,
    net: model.Net,
    decay: Stack,
    step: float = 0.2,
    time: float = 40.0,
    rounds: int = 8,
    least: float = STILL,
) -> Rest:
    """Follow the flow by descent until the dissipation of a run is at most ``least``, halving its step where the loss rises.

    state: where it starts; inputs, targets: of the data; net: the shapes; decay: one a run, (S,); step: of the first
    round; time: of one round; rounds: after which what moves still is left where it is. A run that is at rest is not moved on.
    """
    state, steps = {name: value.clone() for name, value in state.items()}, torch.full_like(decay, step)
    going = torch.arange(len(decay), device=decay.device)
    for _ in range(rounds):
        data = inputs[going], targets[going], net, decay[going]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", flow.Rising)  # answered below by a smaller step
            record = flow.integrate(
                model.field(*data),
                {name: value[going] for name, value in state.items()},
                step=steps[going],
                times=[time],
                falls=True,
            )
        for name, value in record.state.items():
            state[name][going] = value
        rose = torch.tensor([word == flow.Ended.ROSE for word in record.status], device=decay.device)
        steps[going] = torch.where(rose, steps[going] / 2, steps[going])
        going = going[dissipation(model.field(*data), record.state, net) > least]
        if not len(going):
            break
    return seen(state, inputs, targets, net, decay, least)


@door.takes(
    state=nets.STATE, inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.NET, decay=nets.DECAYS, least=door.POSITIVE
)
def polished(state: State, inputs: Stack, targets: Stack, net: model.Net, decay: Stack, least: float = 1e-12) -> Rest:
    """The minimum next to the particles ``state``, by L-BFGS of scipy, run by run: for branches of minima, not for paths.

    inputs, targets: of the data; net: the shapes; decay: one a run, (S,); least: the dissipation at which a run is at rest.
    """
    found = []
    for run in range(len(decay)):
        one = slice(run, run + 1)
        field = model.field(inputs[one], targets[one], net, decay[one])
        start = {name: value[one] for name, value in state.items()}
        shapes, sizes = (
            {name: value.shape for name, value in start.items()},
            [value.numel() for value in start.values()],
        )

        def unpack(flat, shapes=shapes, sizes=sizes):
            parts = torch.from_numpy(flat).to(decay).split(sizes)
            return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

        def height(flat, field=field, unpack=unpack):
            loss, slopes = field(unpack(flat))
            slope = torch.cat([value.flatten() for value in slopes.values()]) / (net.depth * net.m)
            return float(loss), slope.cpu().numpy()

        flat = torch.cat([value.flatten() for value in start.values()]).cpu().numpy()
        options = {
            "maxiter": 20_000,
            "maxfun": 40_000,
            "ftol": 0.0,
            "gtol": 0.1 * (least / len(flat) / net.depth / net.m) ** 0.5,
        }
        found.append(unpack(np.asarray(minimize(height, flat, jac=True, method="L-BFGS-B", options=options).x)))
    joined = {name: torch.cat([each[name] for each in found]) for name in state}
    return seen(joined, inputs, targets, net, decay, least)
