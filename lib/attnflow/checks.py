"""The experiments that every chapter makes on its problem: drift of the laws, order of a method, one step exactly.

A *problem* is a function of (seeds, device, **settings) that returns a field and a start, (field, state): fresh data and
fresh weights for every seed. What is written here holds for any of them; a chapter brings its problem and its balances.
"""

from collections.abc import Callable, Sequence

import torch

from attnflow import door, flow, laws, runs
from attnflow.runs import State

STEPS = (0.04, 0.02, 0.01, 0.005)
STEP_SIZES = door.several(door.POSITIVE)
METHOD = door.is_a("a method such as Descent() or Heun()", lambda value: hasattr(value, "bind"))
Problem = Callable[..., tuple[flow.fields.Field, State]]


@door.takes(
    problem=door.FUNCTION,
    balances=door.FUNCTION,
    steps=STEP_SIZES,
    time=door.POSITIVE,
    records=door.whole(2),
    method=METHOD,
)
def drift(
    seeds: tuple,
    device: torch.device,
    problem: Problem,
    balances: Callable[[State], State],
    steps: Sequence[float] = STEPS,
    time: float = 4.0,
    records: int = 11,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""Drift $\max_k |C(t_k) - C(0)|$ of every balance C along one method to one time, for several steps.

    seeds, device, settings: of the ``problem``; balances: state -> name -> (S, ...); steps: (J,), of the ``method``, descent
    where none is given; time: in units of the flow, seen ``records`` times. Returns name -> (J, S), and ``steps``.
    """
    field, start = problem(seeds, device, **settings)
    times = torch.linspace(0, time, records, dtype=runs.DTYPE, device="cpu")
    found = []
    for step in steps:
        values = flow.integrate(field, start, step=step, times=times, method=method, observe=balances).values
        found.append({name: laws.drift(value) for name, value in values.items()})
    return stacked(found) | {"steps": steps}


@door.takes(problem=door.FUNCTION, steps=STEP_SIZES, time=door.POSITIVE, method=METHOD)
def order(
    seeds: tuple,
    device: torch.device,
    problem: Problem,
    steps: Sequence[float] = STEPS,
    time: float = 2.0,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""Distance to the flow at one time, $|\theta_h - \theta|/|\theta|$, for several steps of one method.

    The flow is scipy's solution of each seed alone. seeds, device, settings: of the ``problem``; steps: (J,), of the
    ``method``, descent where none is given; time: in units of the flow. Returns ``error`` (J, S), and ``steps``.
    """
    field, start = problem(seeds, device, **settings)
    alone = [flow.reference(*problem((seed,), device, **settings), [0.0, time]) for seed in seeds]
    exact = {name: torch.cat([states[name][-1] for states in alone]) for name in start}
    size = sum(value.square().flatten(1).sum(dim=1) for value in exact.values())
    errors = []
    for step in steps:
        end = flow.integrate(field, start, step=step, times=[time], method=method).state
        gap = sum((end[name] - value).square().flatten(1).sum(dim=1) for name, value in exact.items())
        errors.append((gap / size).sqrt())
    return {"error": torch.stack(errors), "steps": steps}


@door.takes(problem=door.FUNCTION, pairs=door.FUNCTION, step=door.POSITIVE, steps=door.COUNT, method=METHOD)
def one_step(
    seeds: tuple,
    device: torch.device,
    problem: Problem,
    pairs: Callable[[State], dict],
    step: float = 0.1,
    steps: int = 50,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""Residual of $\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$, the largest over some large steps.

    seeds, device, settings: of the ``problem``; pairs: a dict of tensors -> name -> (A, B), asked of states and of gradients;
    step: $\eta$, taken ``steps`` times by the ``method``, descent where none is given. Returns name -> (S,).
    """
    field, start = problem(seeds, device, **settings)
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device="cpu")
    path = flow.integrate(field, start, step=step, times=times, method=method, observe=dict).values
    worst = {}
    for place in range(steps):
        before, after = ({name: value[at] for name, value in path.items()} for at in (place, place + 1))
        three = zip(pairs(before).items(), pairs(after).values(), pairs(field(before)[1]).values(), strict=True)
        for (name, old), new, slope in three:
            residual = laws.step_identity(old, new, slope, step)
            worst[name] = torch.maximum(worst[name], residual) if name in worst else residual
    return worst


@door.takes(
    field=door.FUNCTION,
    start=door.named("S ..."),
    ends=door.named("..."),
    step=door.POSITIVE,
    steps=door.COUNT,
)
def steps_apart(field: flow.fields.Field, start: State, ends: State, step: float, steps: int) -> float:
    """Largest difference of the weights that plain steps of one run reached to those of a ``field``, the first of its runs.

    start: of the stack, name -> (S, ...); ends: name -> (...), what ``steps`` of descent by ``step`` made of its first run, of
    all weights or of those that were trained.
    """
    known = {name: tuple(value.shape[1:]) for name, value in start.items()}
    given = {name: tuple(value.shape) for name, value in ends.items()}
    runs.check(
        "ends", given, f"of weights of one run, with names and shapes among {known}", given.items() <= known.items()
    )
    state = flow.integrate(field, start, step=step, times=[steps * step]).state
    return max(float((state[name][0] - value.detach()).abs().max()) for name, value in ends.items())


@door.takes(rows=door.several(door.named(door.instance(torch.Tensor))))
def stacked(rows: list[dict]) -> dict:
    """Dicts of like tensors as one dict of their stacks: ``rows``, J of name -> (S, ...), to name -> (J, S, ...)."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
