r"""Integrate a gradient flow $\dot\theta = -\nabla\mathcal L(\theta)$ on a stack of runs.

A state is a dict of tensors whose leading axis is the stack: ``{"W_Q": (S, d, k), ...}``. A *field* is a function of a
state that returns ``(loss, gradient)``: (S,) and a dict like the state. A single run is a stack of one.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.integrate import solve_ivp
from tqdm import tqdm

from attnflow import runs


@dataclass
class Record:
    """What was seen on the way.

    times: (K, S), in units of the flow; values: name -> (K, S, ...), NaN after a run has ended; end: (S,) the time at
    which each run ended; loss: (S,) its loss then; status: one word a run, ``time``, ``loss``, ``steps`` or
    ``non-finite``; state: the final state of every run; steps: (S,) steps taken.
    """

    times: torch.Tensor
    values: dict
    end: torch.Tensor
    loss: torch.Tensor
    status: list
    state: dict
    steps: torch.Tensor
    last: dict = field(repr=False)

    def series(self, name, run):
        """One run's own curve, its end included: times (k,) and values (k, ...)."""
        times, values = self.times[:, run], self.values[name][:, run]
        seen = times <= self.end[run]
        times, values = times[seen], values[seen]
        if len(times) == 0 or self.end[run] > times[-1]:
            times = torch.cat([times, self.end[run : run + 1]])
            values = torch.cat([values, self.last[name][run : run + 1]])
        return times, values

    @property
    def diverged(self):
        """Runs that were frozen because their state stopped being finite."""
        return [run for run, word in enumerate(self.status) if word == "non-finite"]


def log_times(first, last, count):
    """Zero and ``count`` times spaced evenly in the logarithm from ``first`` to ``last``: (count + 1,).

    >>> log_times(0.1, 10.0, 3).tolist()
    [0.0, 0.1, 1.0, 10.0]
    """
    runs.number("first", first, above=0)
    runs.number("last", last, above=first)
    spaced = torch.logspace(np.log10(first), np.log10(last), runs.integer("count", count, 2), dtype=runs.DTYPE)
    spaced[0], spaced[-1] = first, last
    return torch.cat([torch.zeros(1, dtype=runs.DTYPE), spaced])


def broadcast(per_run, like):
    """Give a (S,) tensor trailing axes, so that it scales a (S, ...) tensor run by run."""
    return per_run.reshape(-1, *[1] * (like.ndim - 1))


def move(state, gradient, step):
    r"""One Euler step, $\theta - \eta\nabla\mathcal L$. step: (S,), one step size a run."""
    return {name: value - broadcast(step, value) * gradient[name] for name, value in state.items()}


def choose(mask, new, old):
    """Run by run, the new state where ``mask`` (S,) is true and the old one elsewhere."""
    if mask.all():
        return new
    return {name: torch.where(broadcast(mask, old[name]), new[name], old[name]) for name in old}


def finite(state):
    """Which runs of a state have finite entries only: (S,) of bool. A sum is finite only where all its terms are."""
    return torch.stack([value.flatten(1).sum(dim=1) for value in state.values()]).isfinite().all(dim=0)


def decayed(flow_field, rate):
    r"""The same field with weight decay: $\nabla\mathcal L + \lambda \theta$.

    rate: $\lambda$, a number for all tensors or a dict name -> number; a name that is absent is not decayed.
    """

    def with_decay(state):
        loss, gradient = flow_field(state)
        rates = rate if isinstance(rate, dict) else dict.fromkeys(state, rate)
        return loss, {name: gradient[name] + rates.get(name, 0.0) * value for name, value in state.items()}

    return with_decay


def integrate(
    flow_field,
    start,
    *,
    step,
    times,
    method="descent",
    speed=None,
    observe=None,
    stop_loss=0.0,
    max_steps=1_000_000,
    progress=None,
):
    r"""Integrate the flow of a stack and record it at common or per-run times.

    ``descent`` takes $\theta_{j+1} = \theta_j - h\nabla\mathcal L(\theta_j)$; ``heun`` averages the slopes at both ends of that
    step (order 2). With ``speed``, a function of (state, loss, gradient) that returns (S,), each run steps by
    $h = \mathrm{step}/\mathrm{speed}$: equal steps of a clock on which all runs move at a like pace, which carries a
    logistic loss to 1e-6 in about a thousand steps. A time that falls inside a step of ``heun`` shortens that step;
    ``descent`` keeps its step and records at the first whole step at or after that time.

    flow_field: state -> (loss (S,), gradient). start: name -> (S, ...). step: a number or (S,). times: increasing, (K,)
    for all runs or (K, S); the last one ends the run. observe: state -> name -> (S, ...), what to record (default: the
    loss alone, recorded always). stop_loss: a run ends when its loss is at or below it. progress: a label for a bar,
    shown on a terminal. A run whose state turns non-finite is frozen at its last finite state and reported in
    ``Record.status``; the others go on. Returns a Record. Raises ValueError on wrong input.
    """
    runs.choice("method", method, ("descent", "heun"))
    runs.integer("max_steps", max_steps)
    runs.number("stop_loss", stop_loss, least=0)
    state = {name: runs.tensor(name, value, [None] * value.ndim).clone() for name, value in start.items()}
    like = next(iter(state.values()))
    count = like.shape[0]
    step = torch.as_tensor(step, dtype=like.dtype, device=like.device).expand(count)
    runs.check("step", step.tolist(), "finite and greater than 0", bool((step.isfinite() & (step > 0)).all()))
    times = torch.as_tensor(times, dtype=like.dtype, device=like.device)
    times = times[:, None].expand(-1, count) if times.ndim == 1 else times
    runs.tensor("times", times, (None, count))
    grows = len(times) > 0 and bool((times[0] >= 0).all() and (times.diff(dim=0) > 0).all())
    runs.check("times", times[:, 0].tolist(), "increasing from a time of at least 0", grows)

    now = torch.zeros(count, dtype=like.dtype, device=like.device)
    steps = torch.zeros(count, dtype=torch.long, device=like.device)
    status = np.array(["time"] * count, dtype=object)
    alive = torch.ones(count, dtype=torch.bool, device=like.device)
    loss, gradient = flow_field(state)
    rows, recorded, ended_at_row = [], [], torch.zeros(count, dtype=torch.bool, device=like.device)

    def look():
        seen = dict(observe(state)) if observe else {}
        return {"loss": loss.clone(), **seen}

    def finish(which, word):
        nonlocal alive
        which = which & alive
        status[which.cpu().numpy()] = word
        alive = alive & ~which

    finish(loss <= stop_loss, "loss")
    with tqdm(total=len(times), desc=progress, disable=None if progress else True, leave=False) as bar:
        for target in times:
            while True:
                slack = step * 1e-9 if speed is None else target * 1e-12
                going = alive & (now < target - slack)
                if not going.any():
                    break
                h = step if speed is None else step / speed(state, loss, gradient)
                if method == "heun":
                    h = torch.minimum(h, target - now)
                h = torch.where(going, h, torch.zeros_like(h))
                new = move(state, gradient, h)
                new_loss, new_gradient = flow_field(new)
                if method == "heun":
                    mean = {name: (gradient[name] + new_gradient[name]) / 2 for name in gradient}
                    new = move(state, mean, h)
                    new_loss, new_gradient = flow_field(new)
                good = finite(new) & new_loss.isfinite()
                finish(going & ~good, "non-finite")
                moved = going & good
                state, gradient = choose(moved, new, state), choose(moved, new_gradient, gradient)
                loss = torch.where(moved, new_loss, loss)
                now = torch.where(moved, now + h, now)
                steps = steps + moved
                finish(moved & (loss <= stop_loss), "loss")
                finish(moved & (steps >= max_steps), "steps")
            values = look()
            reached = alive | ((now >= target - slack) & ~ended_at_row)
            blank = {name: torch.full_like(value, torch.nan) for name, value in values.items()}
            recorded.append(choose(reached, values, blank))
            rows.append(torch.where(reached, now, target))
            ended_at_row = ended_at_row | ~alive
            bar.update()
            if not alive.any():
                break
    values = {name: torch.stack([row[name] for row in recorded]) for name in recorded[0]}
    return Record(torch.stack(rows), values, now, loss, status.tolist(), state, steps, look())


def optimise(flow_field, start, *, optimiser, steps, observe=None, every=1, **settings):
    """Train with an elementwise optimiser of torch instead of the flow: what breaks when descent is left.

    optimiser: a class such as ``torch.optim.Adam``, made with ``settings`` (``lr=...``). One optimiser step a step, with
    the gradients of ``flow_field``; independent runs stay independent because it acts entry by entry. Returns values,
    name -> (K, S, ...), seen at the start and after every ``every`` steps, and the final state.
    """
    runs.integer("steps", steps)
    runs.integer("every", every)
    state = {name: value.clone() for name, value in start.items()}
    stepper = optimiser(list(state.values()), **settings)
    seen = []
    for taken in range(steps + 1):
        loss, gradient = flow_field(state)
        if taken % every == 0:
            seen.append({"loss": loss.clone(), **(dict(observe(state)) if observe else {})})
        if taken < steps:
            for name, value in state.items():
                value.grad = gradient[name].clone()
            stepper.step()
    final = {name: value.detach() for name, value in state.items()}
    return {name: torch.stack([row[name] for row in seen]) for name in seen[0]}, final


def reference(flow_field, start, times, rtol=1e-10, atol=1e-12):
    """The same flow by an accurate adaptive method of scipy (DOP853): the slow twin of :func:`integrate`.

    times: (K,), increasing, from a time of at least 0. Returns states, name -> (K, S, ...). Raises RuntimeError when
    scipy gives up.
    """
    names, where = list(start), next(iter(start.values())).device
    shapes = [start[name].shape for name in names]
    sizes = [start[name].numel() for name in names]

    def unpack(flat):
        parts = torch.split(torch.as_tensor(flat, dtype=runs.DTYPE, device=where), sizes)
        return {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}

    def velocity(_, flat):
        gradient = flow_field(unpack(flat))[1]
        return -torch.cat([gradient[name].reshape(-1) for name in names]).cpu().numpy()

    flat = torch.cat([start[name].reshape(-1) for name in names]).cpu().numpy()
    times = np.asarray(times, dtype=float)
    found = solve_ivp(velocity, (0.0, times[-1]), flat, method="DOP853", t_eval=times, rtol=rtol, atol=atol)
    if not found.success:
        raise RuntimeError(f"scipy could not follow the flow to time {times[-1]:g}: {found.message}")
    states = [unpack(column) for column in found.y.T]
    return {name: torch.stack([state[name] for state in states]) for name in names}


def observed_order(steps, errors):
    r"""The order $p$ in error $\approx C h^p$, from the two smallest steps: $\log(e_2/e_1)/\log(h_2/h_1)$.

    steps: (J,), errors: (J, ...). Returns errors' trailing shape.

    >>> float(observed_order([0.2, 0.1], torch.tensor([0.04, 0.01])))
    2.0
    """
    small, next_small = np.argsort(steps)[:2]
    ratio = torch.log(errors[next_small] / errors[small])
    return ratio / np.log(steps[next_small] / steps[small])
