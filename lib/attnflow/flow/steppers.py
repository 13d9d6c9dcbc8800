r"""Methods of integration, as objects: how a state moves through one step.

A *method* is a small frozen object, ``Heun()``, which binds to a field, a start and a step as a *stepper*
(:mod:`attnflow.flow.advance`), the seam behind which a compiled engine may work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as default

import torch

from attnflow import door, runs
from attnflow.flow.advance import Stepper
from attnflow.flow.fields import Field
from attnflow.flow.record import broadcast
from attnflow.runs import Stack, State


@door.takes(state=door.named("S ..."), slope=door.like("state"), step="S")
def move(state: State, slope: State, step: Stack) -> State:
    r"""One Euler step, $\theta - h\,g$, from ``state`` along ``slope`` by ``step``, (S,), one size a run."""
    return {name: value - broadcast(step, value) * slope[name] for name, value in state.items()}


class Method:
    r"""What a method says of itself: how one step goes. Here the step of descent; the others change a part of it.

    lands: whether it shortens a step to meet a record time; pure: whether a step can be taken again from the same state;
    speed: of its clock, None where it has none.
    """

    lands, pure, speed = False, True, None

    def bind(self, field: Field, start: State, step: Stack) -> Stepper:
        """A stepper of this method from ``start`` along ``field``; step: (S,)."""
        return Stepper(self, field, start, step)

    def begin(self, field: Field, state: State) -> tuple[Stack, dict[str, State]]:
        """Loss (S,) and what the next step needs besides ``state``: the slope of ``field`` there."""
        loss, gradient = field(state)
        return loss, {"gradient": gradient}

    def step(self, field: Field, state: State, carry: dict, size: Stack) -> tuple[State, Stack, dict]:
        """One step of ``size`` (S,) along ``field`` from ``state``, with the ``carry`` of the last one: state, loss, carry."""
        new = move(state, carry["gradient"], size)
        return new, *self.begin(field, new)

    def size(self, state: State, loss: Stack, carry: dict, step: Stack) -> Stack:
        """Size (S,) of the next step in units of the flow, from ``state``, ``loss`` and ``carry``: here the ``step``."""
        return step


@dataclass(frozen=True)
class Descent(Method):
    r"""Gradient descent, $\theta_{j+1} = \theta_j - h\nabla\mathcal L(\theta_j)$: order 1."""


@dataclass(frozen=True)
class Heun(Method):
    r"""Heun's method, the average of the slopes at both ends of a step of descent: order 2.

    It shortens a step to land on a record time. speed: (state, loss, gradient) -> (S,); each run then steps by
    $h = \mathrm{step}/\mathrm{speed}$: equal steps of a clock on which all runs move at a like pace, which carries a
    logistic loss to 1e-6 in about a thousand steps.
    """

    speed: Callable[[State, Stack, State], Stack] | None = None
    lands = True

    def step(self, field, state, carry, size):
        """Two evaluations of the field: see :class:`Method`."""
        gradient = carry["gradient"]
        far = field(move(state, gradient, size))[1]
        new = move(state, {name: (gradient[name] + far[name]) / 2 for name in gradient}, size)
        return new, *self.begin(field, new)

    def size(self, state, loss, carry, step):
        """One step of the clock: see :class:`Method`."""
        return step if self.speed is None else step / self.speed(state, loss, carry["gradient"])


@dataclass(frozen=True)
class RungeKutta(Method):
    r"""The classical method of Runge and Kutta, four slopes a step: order 4. It shortens a step to land on a record time."""

    lands = True

    def step(self, field, state, carry, size):
        """Four evaluations of the field: see :class:`Method`."""
        first = carry["gradient"]
        second = field(move(state, first, size / 2))[1]
        third = field(move(state, second, size / 2))[1]
        fourth = field(move(state, third, size))[1]
        mean = {name: (first[name] + 2 * (second[name] + third[name]) + fourth[name]) / 6 for name in first}
        new = move(state, mean, size)
        return new, *self.begin(field, new)


@dataclass(frozen=True)
class Momentum(Method):
    r"""Heavy-ball descent: $v_{j+1} = \beta v_j + \nabla\mathcal L(\theta_j)$, $\theta_{j+1} = \theta_j - h\,v_{j+1}$, $v_0 = 0$.

    beta: $\beta$, at least 0 and below 1. Its flow is that of descent at the rate $1/(1-\beta)$.
    """

    beta: float = 0.9

    def __post_init__(self):
        runs.check("beta", self.beta, "a number of at least 0 and below 1", 0 <= runs.number("beta", self.beta) < 1)

    def begin(self, field, state):
        """A velocity of zero besides the slope: see :class:`Method`."""
        loss, carry = super().begin(field, state)
        return loss, carry | {"velocity": {name: torch.zeros_like(value) for name, value in state.items()}}

    def step(self, field, state, carry, size):
        """One step along the new velocity: see :class:`Method`."""
        velocity = {name: self.beta * carry["velocity"][name] + slope for name, slope in carry["gradient"].items()}
        new = move(state, velocity, size)
        loss, gradient = field(new)
        return new, loss, {"gradient": gradient, "velocity": velocity}


JOINT = ("Adafactor", "LBFGS", "Muon", "SparseAdam")  # their update of one entry looks at others, so runs would meet


@dataclass(frozen=True)
class Optimiser(Method):
    """Any optimiser of torch that works entry by entry, so that runs stay apart: what breaks when descent is left.

    kind: a class such as ``torch.optim.Adam``; settings: its options. The step of ``integrate`` is its learning rate, one
    for all runs, as are the record times, and the time is the number of steps times that. Raises WrongUse for a class whose
    runs would meet.
    """

    kind: type = torch.optim.SGD
    settings: dict = default(default_factory=dict)
    pure = False

    def __post_init__(self):
        fits = isinstance(self.kind, type) and issubclass(self.kind, torch.optim.Optimizer)
        allowed = "an optimiser class of torch that works entry by entry"
        runs.check("kind", self.kind, allowed, fits and self.kind.__name__ not in JOINT)
        runs.check("settings", self.settings, "without lr, which is the step", "lr" not in self.settings)

    def bind(self, field, start, step):
        """One learning rate for all runs: see :class:`Method`."""
        runs.check(
            "step", runs.array(step).tolist(), "one number for all runs of an optimiser", bool((step == step[0]).all())
        )
        leaves = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
        with torch.device("cpu"):  # its counters are numbers, wherever the parameters are
            optimiser = self.kind(list(leaves.values()), lr=float(step[0]), **self.settings)
        return Stepper(Bound(leaves, optimiser), field, start, step)


class Bound(Method):
    """An optimiser of torch together with the leaves that it moves in place."""

    pure = False

    def __init__(self, leaves: State, optimiser: torch.optim.Optimizer):
        self.leaves, self.optimiser = leaves, optimiser

    def step(self, field, state, carry, size):
        """One step of the optimiser: see :class:`Method`."""
        for name, leaf in self.leaves.items():
            leaf.grad = carry["gradient"][name].clone()
        with torch.no_grad(), torch.device("cpu"):
            for name, leaf in self.leaves.items():
                leaf.copy_(state[name])
            self.optimiser.step()
        new = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        return new, *self.begin(field, new)
