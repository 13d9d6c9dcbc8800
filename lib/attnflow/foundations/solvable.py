r"""The run of chapter 1 that can be solved: an aligned start on the white-mean task, all four matrices trained.

Two numbers carry it, the value factor a and the output factor b, with the product $u = ab$ and the balance $c = a^2 - b^2$.
"""

import math
from operator import itemgetter

import torch

from attnflow import curves, door, flow, runs
from attnflow.claims import Below, Control, Exactly, Experiment, Near, Trial
from attnflow.foundations import model, task, theory
from attnflow.foundations.balancing import claim


def aligned_start(
    seeds: tuple,
    device: torch.device,
    first: float | runs.Stack,
    second: float | runs.Stack,
    target: float,
    attention: float,
    samples: int = 32,
    length: int = 4,
    d: int = 4,
    k: int = 2,
    turn: float = 0.0,
) -> tuple:
    r"""The layer on the white-mean task with an aligned rank-one start.

    $W_V = a\,\beta h^\top$ and $W_O = b\,h$ with a, b = first, second, numbers or (S,); $W_Q, W_K$ random of size
    ``attention``. seeds, device: of the runs; target, samples, length, d: of the task; k: head size; turn: angle by which
    $W_O$ is turned away from h, at even k, which ends the alignment. Returns the gradient field, the initial state, and a
    function state -> $u = \beta^\top W_V W_O$, a, b.
    """
    layer = model.Layer(d=d, k=k, o=1)
    runs.check("k", k, "even where the output weights are turned", not turn or k % 2 == 0)
    data, weights = (runs.streams(seeds, name) for name in ("data", "weights"))
    inputs, targets, beta = (each.to(device) for each in task.mean_task(data, samples, length, d, target))
    direction = torch.nn.functional.normalize(runs.normal(weights, k)).to(device)
    state = runs.to(model.init(weights, layer, attention), device)
    first, second = (torch.as_tensor(one, dtype=runs.DTYPE, device=device).reshape(-1, 1, 1) for one in (first, second))
    other = torch.nn.functional.normalize(direction.flip(1) * direction.new_tensor([1.0, -1.0] * k)[:k])
    turned = math.cos(turn) * direction + math.sin(turn) * other
    state |= {"W_V": first * beta[:, :, None] * direction[:, None, :], "W_O": second * turned[:, :, None]}

    def observe(now):
        value = torch.einsum("sd,sdk->sk", beta, now["W_V"])
        return {
            "u": (value[:, None] @ now["W_O"])[:, 0, 0],
            "a": (value * direction).sum(dim=1),
            "b": (direction * now["W_O"][:, :, 0]).sum(dim=1),
        }

    return model.field(inputs, targets, layer), state, observe


def aligned(
    seeds: tuple,
    device: torch.device,
    first: float | runs.Stack,
    second: float | runs.Stack,
    target: float = 1.0,
    attention: float = 0.05,
    time: float = 6.0,
    step: float = 0.02,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    """Train all four matrices from an aligned start, and see it at 121 times.

    seeds, device, first, second, target, attention, settings: of the :func:`aligned_start`; time, step: of the ``method``,
    Heun where none is given. Returns ``times`` (K,), ``u``, ``a``, ``b``, ``loss``, each (K, S), and the ``target``.
    """
    field, state, observe = aligned_start(seeds, device, first, second, target, attention, **settings)
    times = torch.linspace(0, time, 121, dtype=runs.DTYPE, device="cpu").to(device)
    record = flow.integrate(field, state, step=step, times=times, method=method or flow.Heun(), observe=observe)
    return record.values | {"loss": record.loss, "times": times, "target": target}


def solvable(seeds: tuple, device: torch.device, start: float = 0.02, imbalance: float = 0.0, **settings) -> dict:
    r"""The run from a product $ab$ = ``start`` and an ``imbalance`` $a^2 - b^2$.

    seeds, device, settings: of :func:`aligned`. Returns what that does, the start, ``predicted`` (K,), the u of the closed form
    for a balanced start, whatever the imbalance, and ``gap`` (S,), the largest distance to it, over the target.
    """
    record = aligned(seeds, device, *split(start, imbalance), **settings)
    predicted = torch.as_tensor(theory.logistic(record["times"].cpu(), start, record["target"]), device=device)
    return record | {
        "start": start,
        "predicted": predicted,
        "gap": (record["u"] - predicted[:, None]).abs().amax(dim=0) / record["target"],
    }


@door.takes(product=theory.FACTOR, imbalance=theory.FACTOR)
def split(product: float, imbalance: float) -> tuple[float, float]:
    r"""The factors a, b with $ab$ = ``product`` and $a^2 - b^2$ = ``imbalance``, a >= 0, and b >= 0 where the product is 0.

    Both numbers are of at most 1e150 in size. The larger factor is found first, so that neither loses digits.

    >>> split(0.0, 4.0), split(0.0, -4.0)
    ((2.0, 0.0), (0.0, 2.0))
    """
    larger = ((abs(imbalance) + (imbalance**2 + 4 * product**2) ** 0.5) / 2) ** 0.5
    smaller = abs(product) / larger if larger else 0.0
    first, second = (larger, smaller) if imbalance >= 0 else (smaller, larger)
    return first, math.copysign(second, product)


def solvable_errors(
    seeds: tuple, device: torch.device, steps: tuple = (0.02, 0.01, 0.005), time: float = 2.4, **settings
) -> dict:
    """Distance of u to the closed form at one ``time`` under uniform attention, for several ``steps``.

    seeds, device, settings: of :func:`solvable`. Returns ``error`` (J, S) and ``steps``.
    """
    found = [solvable(seeds, device, step=step, time=time, attention=0.0, **settings) for step in steps]
    return {"error": torch.stack([(each["u"][-1] - each["predicted"][-1]).abs() for each in found]), "steps": steps}


@door.takes(start=theory.SIZE, target=theory.SIZE, time=door.POSITIVE)
def reference_product(seeds: tuple, start: float = 0.02, target: float = 1.0, time: float = 3.0) -> float:
    """The product u at one time, from scipy's solution of the flow of all four matrices under uniform attention.

    seeds: of which the first is read; start: u at time 0; target: y; time: of the flow; all above 0. Returns a number.
    """
    field, state, observe = aligned_start(seeds, "cpu", *split(start, 0.0), target, attention=0.0)
    found = flow.reference(field, state, [0.0, time])
    return float(observe({name: value[-1] for name, value in found.items()})["u"][0])


def arrivals(
    seeds: tuple,
    device: torch.device,
    imbalances: tuple = (0.0, 0.25, 0.5, 1.0, 2.0),
    level: float = 0.5,
    **settings,
) -> dict:
    """Time at which u crosses a ``level`` of its target, for several ``imbalances``.

    seeds, device, settings: of :func:`solvable`. Returns ``times`` (C, S), the imbalances, as ``known`` what the closed form
    needs beside one of them, and ``worst`` (S,), the time over that of the closed form where it is furthest from 1.
    """
    found = [solvable(seeds, device, imbalance=imbalance, **settings) for imbalance in imbalances]
    known = {"start": found[0]["start"], "end": level * found[0]["target"], "target": found[0]["target"]}
    times = torch.stack([curves.first_crossing(each["times"], each["u"], known["end"]) for each in found])
    predicted = times.new_tensor([[theory.arrival_time(**known, imbalance=imbalance)] for imbalance in imbalances])
    over = times / predicted
    worst = over.gather(0, (over - 1).abs().argmax(dim=0, keepdim=True))[0]
    return {"times": times, "imbalances": imbalances, "known": known, "worst": worst}


def portrait(
    seeds: tuple,
    device: torch.device,
    starts: int = 8,
    radius: float = 1.6,
    room: float = 0.05,
    time: float = 10.0,
    step: float = 0.05,
    **settings,
) -> dict:
    r"""Random starts (a, b), uniform in the disc of a ``radius``, ``starts`` a seed, each followed to its end.

    time, step, settings: of :func:`aligned`; seeds, device: of the runs. Returns ``a``, ``b``, ``u`` (K, S, starts), ``times``,
    the target and ``share`` (S,): of the starts at least ``room`` away from the separatrix $a + b = 0$, those that end at
    u = y on the side where they began.
    """
    area, turn = torch.cat(
        [torch.rand(2, starts, generator=one, dtype=runs.DTYPE, device="cpu") for one in runs.streams(seeds, "starts")],
        dim=1,
    )
    first, second = (radius * area.sqrt() * wave(2 * torch.pi * turn) for wave in (torch.cos, torch.sin))
    record = aligned(
        [seed for seed in seeds for _ in range(starts)], device, first, second, time=time, step=step, **settings
    )
    shaped = {name: record[name].reshape(-1, len(seeds), starts) for name in ("a", "b", "u")}
    distance = (shaped["a"] + shaped["b"]) / 2**0.5
    counted = distance[0].abs() >= room
    arrived = ((shaped["u"][-1] - record["target"]).abs() < 0.1) & (distance[0].sign() == distance[-1].sign())
    return record | shaped | {"share": (arrived & counted).sum(dim=1) / counted.sum(dim=1)}


solvable_run = Experiment(solvable)
solvable_order = Experiment(solvable_errors)
arrival_run = Experiment(arrivals, {"attention": 0.02, "time": 3.0})
portrait_run = Experiment(portrait, {"method": flow.Descent(), "step": 0.02})

CLAIMS = (
    claim(
        "logistic",
        "Balanced attention learns along a logistic curve",
        r"From a balanced aligned start $u = \beta^\top W_V W_O$ follows $\dot u = 2u(y-u)$; the largest distance "
        "to the closed form, over $y$, is below 0.06 while all four matrices train.",
        Trial(solvable_run, itemgetter("gap"), Below(0.06)),
        Control("an imbalance of 0.5 at the start", {"imbalance": 0.5}),
        cite=("saxe2014exact",),
    ),
    claim(
        "arrival",
        "Imbalance is speed",
        r"$\dot u = \sqrt{c^2 + 4u^2}\,(y-u)$ with the conserved $c = a^2 - b^2$ gives the time to $u = y/2$ in "
        "closed form; of five imbalances the time over the closed form that is furthest from 1, for "
        r"$W_Q, W_K$ of size 0.02.",
        Trial(arrival_run, itemgetter("worst"), Near(abs=0.003), predict=1.0),
        Control("output weights turned by one radian, so that the start is not aligned", {"turn": 1.0}),
        cite=("saxe2014exact",),
    ),
    claim(
        "separatrix",
        "The separatrix decides the side",
        r"Random starts at least 0.05 from the line $a + b = 0$ end with $|u - y| < 0.1$ on their own side of it: the share that "
        "does is 1; starts nearer to the line, which take long to leave it, are not counted.",
        Trial(portrait_run, itemgetter("share"), Exactly(), predict=1.0),
        Control("steps of 1.2 in place of 0.02, which follow no flow", {"step": 1.2}),
        cite=("saxe2014exact",),
    ),
)
