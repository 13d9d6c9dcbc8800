r"""How fast balances decay, measured: heads and ReLU neurons by $2\lambda$, under descent by its own factor, tanh neurons not."""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter

import torch

from attnflow import Below, Control, Experiment, Momentum, Near, Trial, checks, door, flow, kinds, laws, runs
from attnflow.meanfield import model, nets, variation
from attnflow.meanfield.balancing import BALANCED, HOMOGENEOUS, SOURCES, balances
from attnflow.meanfield.setting import claim, drawn, problem

LONGEST = 0.5  # time of the flow; under a stronger decay the balances are seen until they are a part 1/e of their start
COARSEST = 0.25  # of the time: the first step
TOLERANCE = 1e-6  # of the larger of 1 and the decay: a rate has settled when halving the step moves it by less
HALVINGS = 10  # more than any start was seen to need
STIFFEST = 0.5  # the largest decay times step that is allowed


@door.takes(lam=door.real(least=0, most=1e300), step=door.POSITIVE)
def balance_decay(lam: float, *, step: float | None = None, seeds: Sequence[int] = tuple(range(10))) -> dict:
    r"""Measure the rate at which $W_Q^\top W_Q - W_K^\top W_K$ and $W_V^\top W_V - W_OW_O^\top$ decay along the particle flow.

    The rate is $\ln(|D(0)|/|D(T)|)/T$, with $|D|$ over all heads of a net with tanh neurons, J = 2 and m = 16, on
    data of its own for each seed; $T = \min(\frac12, \frac1{2\lambda})$. Predicted is $2\lambda$, and 0 without decay.

    lam: the weight decay $\lambda \ge 0$; step: of the method of Runge and Kutta, where none is given found by halving until
    no rate moves by as much as 1e-6, or $10^{-6}\lambda$ where $\lambda > 1$; seeds: of the runs, at least one.
    Returns a dict: ``rate``, of all seeds and both balances the one furthest from the prediction; ``predicted``, $2\lambda$;
    ``rates``, name -> (S,); ``step``, at most T; ``moved``, how far the last halving moved any rate, or halving a ``step`` that
    was given would; ``time``, T. Raises WrongUse for a negative decay, for a step with $\lambda\,$step above 0.5 or a step
    below T/4096, and for seeds of which one has a start so steep that no step settles its rate.

    >>> found = balance_decay(0.5, seeds=(0, 1))
    >>> found["predicted"], round(found["rate"], 5)
    (1.0, 1.0)
    """
    time = min(LONGEST, 1 / (2 * lam)) if lam > 0 else LONGEST
    field, start = problem(tuple(seeds), runs.device("cpu"), float(lam))

    def rates(size):
        record = flow.integrate(field, start, step=size, times=[0.0, time], method=flow.RungeKutta(), observe=balances)
        ends = {name: record.values[name].flatten(2).norm(dim=2) for name in BALANCED}
        return torch.stack([torch.log(ends[name][0] / ends[name][-1]) / time for name in BALANCED])

    def moved(one, other):
        return float((one - other).abs().max())

    enough = TOLERANCE * max(1.0, lam)
    if step is not None:
        most = f"at most {STIFFEST} / lam = {STIFFEST / lam:g}" if lam else "greater than 0"
        runs.check("step", step, most, lam * step <= STIFFEST)
        step, finest = min(step, time), COARSEST * time / 2**HALVINGS
        runs.check("step", step, f"at least {finest:g}, that of {HALVINGS} halvings", step >= finest)
        found, finer = rates(step), rates(step / 2)
        change = moved(found, finer)
    else:
        step, change = COARSEST * time, math.inf
        found = rates(step)
        for _ in range(HALVINGS):
            finer = rates(step / 2)
            step, found, change = step / 2, finer, moved(found, finer)
            if change < enough:
                break
        runs.check("seeds", seeds, f"such that {HALVINGS} halvings of the step settle the rate", change < enough)
    worst = found.flatten()[(found - 2 * lam).abs().argmax()]
    return {
        "rate": float(worst),
        "predicted": 2.0 * lam,
        "rates": dict(zip(BALANCED, found, strict=True)),
        "step": step,
        "moved": change,
        "time": time,
    }


def decayed(
    seeds: tuple,
    device: torch.device,
    decay: float = 0.2,
    steps: tuple = (0.05,),
    time: float = 3.0,
    records: int = 13,
    method: flow.steppers.Method | None = None,
    only: tuple | None = None,
    **settings,
) -> dict:
    r"""All balances on a path under weight decay: how fast they decay, and what is left when their decay is divided out.

    decay: $\lambda$; steps: of the ``method``, Runge and Kutta where none is given; time: of the path, seen ``records`` times;
    only: the weights that decay, all where none are given; seeds, device, settings: of the problem. Returns of the last step
    ``size``, name -> (K, S), the root of the sum of squares over particles, at ``times``; of every step name -> (J, S):
    ``rate``, of the decay of that size over $2\lambda$; ``left``, the largest distance of the balances to $e^{-2\lambda t}$ times
    their start, over the size of that; ``forced``, the same with $(1 - \eta\lambda)^{2t/\eta}$, what descent makes of decay; and
    the ``steps``.
    """
    field, start = problem(seeds, device, decay if only is None else 0.0, **settings)
    if only is not None:
        field = flow.decayed(field, dict.fromkeys(runs.names("only", only, tuple(start)), decay))
    times, rows = torch.linspace(0, time, records, dtype=runs.DTYPE, device="cpu"), []
    for step in steps:
        how = method or flow.RungeKutta()
        seen = flow.integrate(field, start, step=step, times=times, method=how, observe=balances)
        found = {name: value.flatten(2) for name, value in seen.values.items()}
        size = {name: value.norm(dim=2) for name, value in found.items()}
        factors = torch.exp(-2 * decay * seen.times), (1 - step * decay) ** (2 * seen.times / step)
        left, forced = ({name: _departure(each, factor) for name, each in found.items()} for factor in factors)
        rate = {name: torch.log(each[0] / each[-1]) / (2 * decay * time) for name, each in size.items()}
        rows.append({"rate": rate, "left": left, "forced": forced})
    return {name: checks.stacked([row[name] for row in rows]) for name in rows[0]} | {
        "times": times,
        "size": size,
        "steps": steps,
    }


def _departure(values, factor):
    """Largest distance of values (K, S, E) to a factor (K, S) times their start, over the size of that, (S,)."""
    known = factor[..., None] * values[0]
    return ((values - known).norm(dim=2) / known.norm(dim=2)).amax(dim=0)


@door.takes(state=nets.STATE, inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.NET)
def excess(state: runs.State, inputs: torch.Tensor, targets: torch.Tensor, net: model.Net) -> torch.Tensor:
    r"""What moves the balance of a neuron besides its decay, (S, J, m).

    It is $-\frac2n\sum\langle p, w_2\rangle(z\phi'(z) - \phi(z))$ over samples and tokens. state: of a ``net`` with
    neurons; inputs, targets: X (S, n, L, d) and y (S, n).
    """
    runs.check("net", net, "one with neurons", "neurons" in net.parts)
    activation, derivative = model.ACTIVATIONS[net.activation]
    tokens = variation.path(state, inputs, net)
    back = variation.adjoint(state, tokens, targets, net)
    found = []
    for place, (layer, part) in enumerate(variation.branches(net)):
        if part == "neurons":
            theta = variation.particles(state, layer, part)
            felt = variation.inner(theta, tokens[place])
            active = activation(felt)
            pull = torch.einsum("snld,skd->sknl", back[place + 1], theta["w_2"])
            found.append(-2 * (pull * (felt * derivative(felt, active) - active)).sum(dim=(2, 3)) / tokens.shape[2])
    return torch.stack(found, dim=1)


def carried(
    seeds: tuple,
    device: torch.device,
    decay: float = 0.2,
    time: float = 1.0,
    step: float = 0.02,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""How far the balances of the neurons leave $e^{-2\lambda t}\delta(0)$, and how far the integral of :func:`excess` says.

    decay: $\lambda$; time, step: of the ``method``, Runge and Kutta where none is given, seen at every step; seeds, device,
    settings: of the problem. Returns $\delta(t)e^{2\lambda t} - \delta(0)$ as ``left`` and the integral as ``known``,
    (K, S, J, m), at ``times`` (K,), and the largest size of both over neurons and times, ``measured`` and ``predicted``, (S,).
    """
    net, inputs, targets, state = drawn(seeds, device, **settings)
    times = torch.linspace(0, time, 1 + round(time / step), dtype=runs.DTYPE, device="cpu")

    def observe(each):
        return {"balance": balances(each)["neuron"], "rate": excess(each, inputs, targets, net)}

    field = model.field(inputs, targets, net, decay)
    seen = flow.integrate(field, state, step=step, times=times, method=method or flow.RungeKutta(), observe=observe)
    growth = torch.exp(2 * decay * seen.times)[..., None, None]
    grown = growth * seen.values["balance"]
    integral = torch.cumulative_trapezoid(growth * seen.values["rate"], dx=step, dim=0)
    known = torch.cat([torch.zeros_like(integral[:1]), integral])
    largest = {"measured": laws.drift(grown), "predicted": laws.drift(known)}
    return {"times": times, "left": grown - grown[0], "known": known} | largest


def worst_rate(record: dict) -> torch.Tensor:
    """Reading: of the two rates of heads in a ``record`` of :func:`decayed` the one that is further from 1, (S,)."""
    found = torch.cat([record["rate"][name] for name in BALANCED])
    return found.gather(0, (found - 1).abs().argmax(dim=0, keepdim=True))[0]


@door.takes(part=door.choice("rate", "left", "forced"), read=door.FUNCTION)
def within(part: str, read: Callable) -> Callable[[dict], torch.Tensor]:
    """Reading: what another one, ``read``, finds in a ``part`` of the record."""
    return lambda record: read({"steps": record["steps"]} | record[part])


path_run, carried_run = Experiment(decayed), Experiment(carried)
descent_run = path_run.but(method=flow.Descent(), steps=(0.08, 0.04, 0.02, 0.01), time=2.0, records=6, scale=0.5)

CLAIMS = (
    claim(
        "decay",
        r"The balances of the heads decay at $2\lambda$",
        r"With $\lambda = 0.2$ both balances of all heads together shrink until $t = 3$ at the rate $2\lambda$: the ratio, of "
        r"the two the one that is further from 1.",
        Trial(path_run, worst_rate, Near(abs=1e-4), 1.0, kind="law"),
        Control("decay of $W_Q$ and $W_V$ alone", {"only": ("W_Q", "W_V")}),
        provenance="derived here; a corollary of a known theorem",
        cite=SOURCES,
    ),
    claim(
        "decay-neuron",
        "Those of ReLU neurons do too",
        r"With $\lambda = 0.2$ the balances of all ReLU neurons stay within three thousandths of $e^{-2\lambda t}$ times their "
        r"start until $t = 3$: the largest distance over their size. Steps of 0.05 across the kink of ReLU leave as much.",
        Trial(path_run.but(**HOMOGENEOUS), within("left", kinds.largest("neuron")), Below(3e-3), kind="law"),
        Control("tanh neurons", {"activation": "tanh"}),
    ),
    claim(
        "decay-step",
        r"Descent decays by $(1 - \eta\lambda)^2$ and forces the rest",
        r"With $\lambda = 0.2$ both balances of all heads under descent leave $(1 - \eta\lambda)^{2t/\eta}$ times their start, a "
        r"rate of $-2\ln(1 - \eta\lambda)/\eta$, by what the slopes force, $O(\eta)$: order 1 in the step, of the two the order "
        r"further from 1.",
        Trial(descent_run, within("forced", kinds.order_of(*BALANCED)), Near(abs=0.001), 1.0, kind="order"),
        Control("decay of $W_Q$ and $W_V$ alone", {"only": ("W_Q", "W_V")}),
    ),
    claim(
        "imbalance",
        "How far tanh carries its neurons",
        r"With $\lambda = 0.2$ the largest $|\delta(t)e^{2\lambda t} - \delta(0)|$ of tanh neurons until $t = 1$ is that of the "
        r"integral of $-e^{2\lambda t}\frac2n\sum\langle p, w_2\rangle(z\phi'(z) - \phi(z))$ along the same path, up to what "
        r"steps of 0.02 leave to the trapezoidal rule.",
        Trial(carried_run, itemgetter("measured"), Near(rel=0.001), itemgetter("predicted"), kind="law"),
        Control("momentum 0.9, whose path is not the flow", {"method": Momentum(0.9)}),
    ),
)
