r"""What the particle flow does to the objective and to any observable: the equation of the measure, and the books of a path."""

from collections.abc import Callable
from operator import itemgetter

import torch
from scipy.integrate import simpson

from attnflow import Control, Experiment, Momentum, Near, Trial, checks, door, flow, kinds, runs
from attnflow.meanfield import model, nets, variation
from attnflow.meanfield.particles import EXACT
from attnflow.meanfield.setting import claim, drawn


@door.takes(inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.WIDTHS, decay=door.NONNEGATIVE)
def losing(
    inputs: torch.Tensor, targets: torch.Tensor, net: model.Net, decay: float
) -> Callable[[runs.State], runs.State]:
    r"""What to observe of a state: what the mean-field flow takes from $\mathcal Q$, and an observable of the particles.

    inputs, targets: X (S, n, L, d) and y (S, n); net: shapes and activation; decay: $\lambda$. The function returns, (S,) each:
    ``lost``, $\frac1{Jm}\sum|\nabla V|^2$; ``seen``, $\int h\,d\rho$ with $h = \frac14|\theta|^4$, of heads and neurons; and
    ``moved``, $-\int\langle\nabla h, \nabla V\rangle\,d\rho$.
    """

    def observe(state):
        slopes = variation.slopes(state, inputs, targets, net, decay)
        sizes = {part: variation.squares(state, part) for part in net.parts}
        parts = {name: sizes[part] for part in net.parts for name in model.PARTS[part]}
        heavy = {
            name: value * parts[name].reshape(*parts[name].shape, *[1] * (value.ndim - 3))
            for name, value in state.items()
        }
        return {
            "lost": variation.inner_product(slopes, slopes, net),
            "seen": sum(size.square().mean(dim=(1, 2)) for size in sizes.values()) / 4,
            "moved": -variation.inner_product(heavy, slopes, net),
        }

    return observe


def dissipation(
    seeds: tuple,
    device: torch.device,
    decay: float = 0.1,
    times: tuple = (0.0, 0.5, 1.0, 2.0),
    step: float = 0.1,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""The slope of $\mathcal Q$ along the velocity, by autograd, over $-\frac1{Jm}\sum|\nabla V|^2$, on a path.

    decay: $\lambda$; times, step: of the path, by the ``method``, Runge and Kutta where none is given; seeds, device, settings:
    of the problem, and with them the scaling of the velocity. Returns ``ratio`` (K, S), and ``share``, (S,): what is predicted,
    the factor of the velocity over Jm.
    """
    net, inputs, targets, state = drawn(seeds, device, **settings)
    velocity = model.field(inputs, targets, net, decay)
    climb = flow.autograd(lambda each: model.objective(each, inputs, targets, net, decay))
    known = losing(inputs, targets, net, decay)

    def observe(each):
        along = variation.inner_product(climb(each)[1], velocity(each)[1], net) * net.depth * net.m
        return {"ratio": along / known(each)["lost"]}

    method = method or flow.RungeKutta()
    ratio = flow.integrate(velocity, state, step=step, times=times, method=method, observe=observe).values["ratio"]
    return {"ratio": ratio, "share": ratio.new_full((len(seeds),), net.speed / (net.depth * net.m))}


def balance_sheet(
    seeds: tuple,
    device: torch.device,
    decay: float = 0.1,
    steps: tuple = (0.1, 0.05, 0.025, 0.0125),
    time: float = 0.4,
    scale: float = 0.5,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""What a path loses of $\mathcal Q$, and how an observable moves, beside the integrals of both by Simpson's rule.

    decay: $\lambda$; steps: of the ``method``, Runge and Kutta where none is given, an even number to one ``time``; scale: of
    the particles, from which the steps resolve most paths; seeds, device, settings: of the problem. Returns (J, S): ``lost``, the
    distance of loss and integral over the integral, and ``seen``, that of the observable over the length of its way; and
    ``steps``.
    """
    net, inputs, targets, start = drawn(seeds, device, scale=scale, **settings)
    field, known = model.field(inputs, targets, net, decay), losing(inputs, targets, net, decay)
    found = []
    for step in steps:
        times = torch.linspace(0, time, 1 + round(time / step), dtype=runs.DTYPE, device="cpu")
        path = flow.integrate(field, start, step=step, times=times, method=method or flow.RungeKutta(), observe=known)
        integral = {name: simpson(path.values[name].cpu(), dx=step, axis=0) for name in ("lost", "moved")}
        fall, rise = path.loss[0] - path.loss[-1], path.values["seen"][-1] - path.values["seen"][0]
        room = path.values["moved"].abs().sum(dim=0) * step
        lost, moved = (torch.as_tensor(integral[name]) for name in ("lost", "moved"))
        found.append({"lost": (fall.cpu() / lost - 1).abs(), "seen": ((rise.cpu() - moved) / room.cpu()).abs()})
    return checks.stacked(found) | {"steps": steps}


def furthest(record: dict) -> torch.Tensor:
    """Reading: the ratio of a ``record`` of :func:`dissipation` that is furthest from its share, over all times, (S,)."""
    place = (record["ratio"] - record["share"]).abs().argmax(dim=0, keepdim=True)
    return record["ratio"].gather(0, place)[0]


dissipation_run, sheet_run = Experiment(dissipation), Experiment(balance_sheet)
WIDE = " In at least nine of ten seeds: the largest step may be too large for a steep start."

CLAIMS = (
    claim(
        "weak-form",
        "What the equation says of an observable",
        r"For $h = \frac14|\theta|^4$ the change of $\int h\,d\rho$, over depth, heads and neurons, is the integral over time of "
        r"$-\int\langle\nabla h, \nabla V\rangle\,d\rho$: what Runge and Kutta's path and Simpson's rule leave falls with the "
        r"fourth power of the step." + WIDE,
        Trial(sheet_run, kinds.order_of("seen"), Near(abs=0.1), 4.0, (9, 10), kind="order"),
        Control("momentum 0.9, whose particles do not descend V", {"method": Momentum(0.9)}),
    ),
    claim(
        "dissipation",
        "What the flow takes from the objective",
        r"$\dot{\mathcal Q} = -\frac1J\sum_j\frac1m\sum|\nabla V|^2$, heads and neurons, at $t = 0$, 0.5, 1 and 2 with "
        r"$\lambda = 0.1$: the ratio of both sides, the one furthest from 1.",
        Trial(dissipation_run, furthest, Near(abs=EXACT), 1.0, kind="law"),
        Control("a learning rate that is not multiplied by Jm", {"scaling": "plain rate"}),
    ),
    claim(
        "dissipation-plain",
        "Without Jm the flow is slower by exactly that factor",
        r"Particles that move by $-\partial\mathcal L/\partial\theta$, without decay, take $\frac1{Jm}$ of "
        r"$\frac1J\sum_j\frac1m\sum|\nabla V|^2$ from $\mathcal Q$: with J = 2 and m = 16, one part in 32.",
        Trial(
            dissipation_run.but(scaling="plain rate", decay=0.0),
            furthest,
            Near(rel=EXACT),
            itemgetter("share"),
            kind="law",
        ),
        Control("weight decay 0.1, whose pull is not divided by Jm", {"decay": 0.1}),
    ),
    claim(
        "dissipation-order",
        "The books balance along the path",
        r"What a path of Runge and Kutta's method loses of $\mathcal Q$ is the integral of "
        r"$\frac1J\sum_j\frac1m\sum|\nabla V|^2$ by Simpson's rule, up to the fourth power of the step." + WIDE,
        Trial(sheet_run, kinds.order_of("lost"), Near(abs=0.1), 4.0, (9, 10), kind="order"),
        Control("descent, a method of order 1", {"method": flow.Descent()}),
    ),
)
