r"""The share of starts from which the flow of one query on a line misses its target, followed and predicted.

Where the Gaussian underflows, or softmax saturates, the flow of a query would need more time than a number can hold, but it
still goes somewhere. The path is therefore run on a clock: near a well like the flow itself at rate 1, and beyond the horizon in
leaps that provably meet no stationary point. The time of the flow is a second coordinate.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from attnflow import door, flow, runs
from attnflow.attention import KERNELS, LARGEST, Kernel
from attnflow.kernels.wells import EDGE, Query

HORIZON = 1e4  # time of the flow from which a start that reaches its target counts as slow
DRAWS = 250_000  # of a sampler, for the share that is predicted
CLOCK = 150.0  # units of the clock that every path is given
STEP = 0.5
LARGE = 1e100  # more than this a key is not, whose square is still a number
FAR = 1e8  # a score as large as this is infinite: what is left of its last digits still shows which term wins
NUMBERS = door.several(door.NUMBER)
HASTE = 0.01  # a leap that takes less of the flow's time than this is no leap out of the horizon


@door.takes(query=Query, horizon=door.POSITIVE)
def field(query: Query, horizon: float = HORIZON) -> flow.fields.Field:
    r"""The path of a ``query`` on its clock: $dq/ds = -\mathrm{sgn}(g)\,w$ and $dt/ds = w/|g|$ with $g = (o - y)o'$.

    A leap is half of a distance without a stationary point. w is $|g|/\max(|g|/h_0, o'^2 + |(o - y)o''|)$, with $h_0$ a leap or,
    if longer, the length on which weights change; where the time is beyond the ``horizon``, or a leap takes less than a
    hundredth of a unit of it, w is at least a leap. Slopes are taken from logarithms, so that signs survive underflow. State:
    ``q`` and ``time``, (S, 1) each. Returns a field.
    """
    rates = query.gap.rate if query.kernel.name == "exp" else query.rates
    least = np.sqrt(2 * query.kernel.c) if query.kernel.distance else 1e-3  # where all keys are the same
    far, room = FAR / (np.abs(query.rates).max(axis=0) + least), 1 / (np.ptp(rates, axis=0) + least)

    def along(state):
        here, time = (runs.array(state[name][:, 0]) for name in ("q", "time"))
        (gap, free), (slope, clear) = query.gap.around(here), query.slope.around(here)
        to_gap, to_slope, drift = query.units(here)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            both = np.abs(gap.value * slope.value)
            ratio = np.exp(np.clip(slope.top + to_slope - gap.top - to_gap, -700, 300))
            steep = ratio * slope.value**2 + np.abs(gap.value * (slope.slope + drift * slope.value))
            leap = np.minimum(np.minimum(free, clear), room + np.abs(here) / 2) / 2
            steady = np.nan_to_num(both / np.maximum(both / np.maximum(room, leap), steep))
            size = np.log(both) + gap.top + to_gap + slope.top + to_slope
            speed = np.where(
                (time >= horizon) | (np.log(leap) - size < np.log(HASTE)), np.maximum(steady, leap), steady
            )
            sign = np.sign(gap.value * slope.value)
            speed = np.where((both > 0) & ((np.abs(here) < far) | (sign * here > 0)), speed, 0.0)
            pace = np.exp(np.minimum(np.nan_to_num(np.log(speed) - size, nan=np.inf), np.log(1e3 * horizon)))
        pace = np.where(time >= horizon, 0.0, pace)
        moves = {"q": sign * speed, "time": -pace}
        loss = (gap.value * np.exp(np.minimum(gap.top + to_gap, LARGEST / 3))) ** 2 / 2
        where = state["q"].device
        return torch.as_tensor(loss).to(where), {
            name: torch.as_tensor(each)[:, None].to(where) for name, each in moves.items()
        }

    return along


@door.takes(query=Query, starts="N", horizon=door.POSITIVE, clock=door.POSITIVE)
def followed(query: Query, starts: torch.Tensor, horizon: float = HORIZON, clock: float = CLOCK) -> dict:
    r"""Where the flow of a ``query`` goes from ``starts`` (N,).

    horizon: see :func:`field`; clock: units of the clock that a path is given. Returns, (N,) each: ``loss`` at the end, at most
    1e-6 where the target is reached, infinite where ``exp`` has a score above 709 at the start, whose exponential is no number:
    there the flow has diverged before it begins; ``time``, that of the flow until the step in which it gets there, cut off above
    the horizon; ``place``. Raises WrongUse for a distance with keys of $2\zeta k_j^2 > 10^8$, whose scores lose their digits, and
    for keys beyond $10^{100}$.
    """
    many, most = np.shape(query.keys)[1:], (FAR / (2 * query.kernel.c)) ** 0.5 if query.kernel.distance else LARGE
    runs.check("keys", float(np.abs(query.keys).max()), f"at most {most:.4g} in size", np.abs(query.keys).max() <= most)
    runs.check("starts", len(starts), f"as many as problems, {many}", many in ((), tuple(starts.shape)))
    starts = starts.detach()
    state = {"q": starts[:, None], "time": torch.zeros_like(starts[:, None])}
    seen = flow.integrate(field(query, horizon), state, step=STEP, times=[clock], method=flow.Heun(), stop_loss=EDGE)
    lost = torch.from_numpy(query.scores(runs.array(starts)) > LARGEST).to(starts.device)
    loss = torch.where(lost, torch.inf, seen.end_loss)
    return {"loss": loss, "time": seen.state["time"][:, 0], "place": seen.state["q"][:, 0]}


@door.takes(
    sampler=door.FUNCTION,
    keys=NUMBERS,
    values=NUMBERS,
    target=door.NUMBER,
    kernel=door.choice(*KERNELS),
    c=door.POSITIVE,
    beta=door.POSITIVE,
    starts=door.COUNT,
    seed=door.INDEX,
)
def trap_share(
    sampler: Callable[[torch.Generator, int], torch.Tensor],
    *,
    keys: Sequence[float],
    values: Sequence[float],
    target: float,
    kernel: str,
    c: float | None = None,
    beta: float = 1.0,
    starts: int = 4000,
    seed: int = 0,
) -> dict:
    r"""The share of starts from which the flow of one query q ends with a loss $\frac12(o(q) - y)^2$ above 1e-6.

    $o(q) = \sum_jS_j(q)v_j$ with scores $\beta qk_j$ or $-\zeta(q - k_j)^2$.

    sampler: (generator, n) -> n finite starts; keys, values: $k_j$, $v_j$, as many of each; target: y; kernel: softmax, exp,
    gaussian or normalised_gaussian; c: the sharpness $\zeta$, of a distance; beta: of a dot product; starts: how many are
    followed; seed: of their stream. Returns a dict: ``share``, measured by following the flow; ``predicted``, of further draws
    of the sampler, from the basins between all stationary points, which are isolated exactly; ``slow``, the share that reaches
    the target, but after a time of the flow above 1e4; ``reachable``, whether some q, or a limit, has a loss of at most 1e-6;
    ``wells``, the places of the local minima of the loss, -inf and inf among them, none where it is constant. Raises WrongUse on
    wrong input.

    Where ``exp`` has a score above 709 at some starts, so that their weights overflow, these count as stuck, measured and
    predicted, and the dict says besides, under ``diverged``, how many they are and the largest score.

    >>> normal = lambda generator, n: torch.randn(n, generator=generator, dtype=torch.float64)
    >>> found = trap_share(normal, keys=(-1, 0, 1), values=(0.5, 0, 1), target=0.8, kernel="softmax", starts=500)
    >>> round(found["predicted"], 2), [round(place, 3) for place in found["wells"]]
    (0.16, [-inf, 1.469])
    """
    distance = Kernel(kernel, 1.0, beta).distance
    runs.check("values", values, f"as many as the keys, {len(keys)}", len(values) == len(keys))
    numbers = (np.array(_plain(given), dtype=float) for given in (keys, values))
    query = Query(*numbers, float(target), _kernel(kernel, c, beta, distance))
    drawn = _drawn(sampler, "starts", seed, starts)
    seen = followed(query, drawn)
    stuck = seen["loss"] > EDGE
    further = _drawn(sampler, "predicted", seed, DRAWS).numpy()
    found = {
        "share": float(stuck.double().mean()),
        "predicted": float((query.fate(further) > EDGE).mean()),
        "slow": float((~stuck & (seen["time"] >= HORIZON)).double().mean()),
        "reachable": query.reachable,
        "wells": query.wells,
    }
    scores = query.scores(runs.array(drawn))
    if scores.max() > LARGEST:
        many = int((scores > LARGEST).sum())
        found["diverged"] = (
            f"{many} of {starts} starts: exp(q k) at a score of {scores.max():.4g}, above {int(LARGEST)}, is no number"
        )
    return found


def _kernel(name, c, beta, distance):
    """The kernel of a name; the sharpness of a dot product, which has none, is checked all the same."""
    if c is None:
        runs.check("c", c, "a finite number greater than 0, for a distance", not distance)
    return Kernel(name, 1.0 if c is None else c, beta)


def _plain(given):
    """What is given, without the graph of a tensor."""
    return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given


def _drawn(sampler, name, seed, count):
    """What the sampler makes of a stream, as ``count`` finite numbers in float64."""
    given = _plain(sampler(runs.streams([seed], name)[0], count))
    try:
        found = torch.as_tensor(given, dtype=runs.DTYPE, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        found = torch.zeros(0, dtype=runs.DTYPE)
    return runs.tensor(f"what sampler(generator, {count}) returns", found, (count,))
