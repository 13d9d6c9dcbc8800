r"""The run of chapter 1 that can be solved: an aligned start on the white-mean task, all four matrices trained.

Two numbers carry it, the value factor a and the output factor b, with the product $u = ab$ and the balance $c = a^2 - b^2$.
"""

import math

import torch

from attnflow import flow, runs
from attnflow.claims import Experiment
from attnflow.foundations import model, task, theory
from attnflow.foundations.model import Layer


def aligned_start(seeds, device, first, second, target, attention, samples=32, length=4, d=4, k=2):
    r"""The layer on the white-mean task with an aligned rank-one start.

    $W_V = a\,\beta h^\top$ and $W_O = b\,h$ with a, b = first, second, numbers or (S,); $W_Q, W_K$ random of size
    ``attention``. Returns the gradient field, the initial state, and a function state -> $u = \beta^\top W_V W_O$, a, b.
    """
    layer = Layer(d=d, k=k, o=1)
    generators = runs.streams(seeds)
    inputs, targets, beta = task.mean_task(generators, samples, length, d, target)
    direction = runs.normal(generators, k)
    direction = direction / direction.norm(dim=1, keepdim=True)
    state = model.init(generators, layer, attention)
    first, second = (torch.as_tensor(value, dtype=runs.DTYPE).reshape(-1, 1, 1) for value in (first, second))
    state["W_V"] = first * beta[:, :, None] * direction[:, None, :]
    state["W_O"] = second * direction[:, :, None]
    beta, direction = beta.to(device), direction.to(device)

    def observe(now):
        value = torch.einsum("sd,sdk->sk", beta, now["W_V"])
        return {
            "u": (value[:, None] @ now["W_O"])[:, 0, 0],
            "a": (value * direction).sum(dim=1),
            "b": (direction * now["W_O"][:, :, 0]).sum(dim=1),
        }

    return model.field(inputs.to(device), targets.to(device), layer), runs.to(state, device), observe


def aligned(seeds, device, first, second, target, attention, time, step, method="heun", **sizes):
    """Train all four matrices from an aligned start. Returns ``times`` (K,), ``u``, ``a``, ``b``, ``loss``, each (K, S)."""
    field, state, observe = aligned_start(seeds, device, first, second, target, attention, **sizes)
    times = torch.linspace(0, time, 121, dtype=runs.DTYPE)
    record = flow.integrate(field, state, step=step, times=times, method=method, observe=observe)
    return {name: value.cpu() for name, value in record.values.items()} | {"times": times}


def solvable_errors(seeds, device, method="descent", steps=(0.02, 0.01, 0.005), time=2.4, start=0.02, target=1.0):
    """Distance of u to the closed form at one time under uniform attention. Returns ``error`` (J, S) and ``steps``."""
    exact = float(theory.logistic([time], start, target)[0])
    settings = {"start": start, "target": target, "attention": 0.0, "time": time, "method": method}
    ends = [solvable(seeds, device, step=step, **settings)["u"][-1] for step in steps]
    return {"error": (torch.stack(ends) - exact).abs(), "steps": steps}


def reference_product(seeds, start=0.02, target=1.0, time=3.0):
    """The product u at one time, from scipy's solution of the flow of all four matrices under uniform attention: a number."""
    field, state, observe = aligned_start(seeds, "cpu", *split(start, 0.0), target, attention=0.0)
    found = flow.reference(field, state, [0.0, time])
    return float(observe({name: value[-1] for name, value in found.items()})["u"][0])


def solvable(seeds, device, start=0.02, target=1.0, imbalance=0.0, attention=0.05, time=6.0, step=0.02, **settings):
    r"""The solvable run from a product $ab$ = start and an imbalance $a^2 - b^2$. Returns what ``aligned`` does, and both."""
    record = aligned(seeds, device, *split(start, imbalance), target, attention, time, step, **settings)
    return record | {"start": start, "target": target, "imbalance": imbalance}


def portrait(seeds, device, starts=8, radius=1.6, room=0.05, attention=0.05, time=10.0, step=0.05, **settings):
    r"""Random starts (a, b) in a disc, ``starts`` a seed, each followed to its end at a target of 1.

    Returns ``a``, ``b``, ``u`` (K, S, starts), ``times`` and ``share`` (S,): of the starts at least ``room`` away from
    the separatrix $a + b = 0$, those that end at $u = 1$ on the side where they began.
    """
    angle, size = (torch.stack([torch.rand(starts, generator=g) for g in runs.streams(seeds)]) for _ in range(2))
    angle, size = 2 * math.pi * angle.to(runs.DTYPE), radius * size.to(runs.DTYPE).sqrt()
    repeated = [seed for seed in seeds for _ in range(starts)]
    first, second = (size * angle.cos()).reshape(-1), (size * angle.sin()).reshape(-1)
    record = aligned(repeated, device, first, second, 1.0, attention, time, step, **settings)
    shaped = {name: record[name].reshape(-1, len(seeds), starts) for name in ("a", "b", "u")}
    distance = (shaped["a"] + shaped["b"]) / math.sqrt(2)
    counted = distance[0].abs() >= room
    arrived = ((shaped["u"][-1] - 1.0).abs() < 0.1) & (distance[0].sign() == distance[-1].sign())
    return shaped | {"times": record["times"], "share": (arrived & counted).sum(dim=1) / counted.sum(dim=1)}


def split(product, imbalance):
    r"""The factors a, b with $ab$ = product and $a^2 - b^2$ = imbalance, a > 0.

    >>> split(0.0, 4.0)
    (2.0, 0.0)
    """
    first = math.sqrt((imbalance + math.hypot(imbalance, 2 * product)) / 2)
    return first, product / first


def arrivals(seeds, device, imbalances=(0.0, 0.25, 0.5, 1.0, 2.0), level=0.5, **settings):
    """Time at which u crosses ``level`` of its target, for several imbalances. Returns ``times``, ``predicted``: (C, S)."""
    found, expected = [], []
    for imbalance in imbalances:
        record = solvable(seeds, device, imbalance=imbalance, **settings)
        found.append(crossing(record["times"], record["u"], level * record["target"]))
        goal = level * record["target"]
        expected.append(theory.arrival_time(record["start"], goal, record["target"], imbalance))
    predicted = torch.tensor(expected, dtype=runs.DTYPE)[:, None].expand(-1, len(seeds))
    return {"times": torch.stack(found), "predicted": predicted, "imbalances": imbalances}


def crossing(times, values, level):
    """First time at which each run crosses a level, linear between records. times: (K,), values: (K, S). Returns (S,)."""
    above = (values >= level).to(torch.int8).argmax(dim=0)
    runs.check("level", level, "crossed by every run after the first record", bool((above > 0).all()))
    column = torch.arange(values.shape[1])
    low, high = values[above - 1, column], values[above, column]
    share = (level - low) / (high - low)
    return times[above - 1] + share * (times[above] - times[above - 1])


solvable_run = Experiment(solvable)
solvable_order = Experiment(solvable_errors)
arrival_run = Experiment(arrivals)
portrait_run = Experiment(portrait)
