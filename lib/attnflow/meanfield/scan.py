r"""The measured side of the collapse: all particles of attention alone, up and down in the decay, many data sets at once."""

import torch

from attnflow import door, flow, runs
from attnflow.meanfield import model, nets, onehead, setting
from attnflow.runs import Stack, State

SHAPES = ((1, 1), (1, 2), (1, 4), (2, 2))  # depth and heads of the data sets 0 to 9, 10 to 19, ..., and so on in turn
SETS = 10

STEP, INERTIA, STEPS = 0.2, 0.9, 250  # of heavy-ball descent: a rest of the flow, ten times sooner
PATIENCE, SETTLED = (
    24,
    1e-10,
)  # rounds until a run is given up, and its squared slope, over lambda^2 times its size, that is rest
GONE, NUDGE = 1e-3, 2e-3  # the mean square of what counts as zero, and the scale of what zero is nudged by
DEEP = (
    1e-4  # what is left of a mean square that will not come back: a nudge shrinks in all directions but one that grows
)
FIRST, COARSE, FINE = 0.5, 1.08, 1.01  # the first decay beside lambda_c, and the ratios of two that follow each other
DRAWN = (("weights", 1.0), ("nudge", NUDGE))  # streams and scales of the starts of both ways
DOWN = (1.03, 1.01, 0.99, 0.97)  # decays of the way down, beside lambda_c


@door.takes(field_of=door.FUNCTION, state=nets.STATE, decay=nets.DECAYS, net=nets.NET, floor=nets.DECAYS)
def rested(field_of, state: State, decay: Stack, net: model.Net, floor: Stack) -> State:
    r"""Each state at rest under its decay: heavy-ball descent until the slope is small, or the patience is over.

    field_of: (rows, decay) -> the field of these runs of the stack; state: name -> (S, ...); decay: (S,); net: of the state;
    floor: the mean square below which a state is on its way to zero, (S,). Raises WrongUse where a run
    diverges, for which the fixed step is too large.
    """
    state, left = {name: value.clone() for name, value in state.items()}, torch.arange(len(decay))
    method = flow.Momentum(INERTIA)
    for _ in range(PATIENCE):
        field = field_of(left, decay[left])
        start = {name: value[left] for name, value in state.items()}
        record = flow.integrate(field, start, step=STEP, times=[STEP * STEPS], method=method)
        ends = flow.Ended.NON_FINITE not in record.status
        runs.check(
            "state", "a run that diverges", f"one that heavy-ball descent with the step {STEP} brings to rest", ends
        )
        found = record.state
        for name, value in found.items():
            state[name][left] = value
        slope, size = model.norms(field(found)[1], net), model.norms(found, net)
        moving = (slope > SETTLED * decay[left] ** 2 * size) & (size > floor[left])
        left = left[moving]
        if not len(left):
            break
    return state


@door.takes(field_of=door.FUNCTION, state=nets.STATE, critical="positive: S", net=nets.NET)
def upwards(field_of, state: State, critical: Stack, net: model.Net) -> tuple[Stack, Stack]:
    r"""The last decay at which the nonzero state still stood, and the first at which it had gone, (S,) each.

    Every decay starts from the rest at the one before; where that collapses, the scan goes back and on in finer steps.
    field_of, net: of :func:`rested`; state: the start, name -> (S, ...); critical: $\lambda_c$, (S,).
    """
    decay, ratio = FIRST * critical, torch.full_like(critical, COARSE)
    floor = torch.full_like(critical, GONE**2)
    state = rested(field_of, state, decay, net, floor)
    left, gone = torch.arange(len(critical)), torch.full_like(critical, float("nan"))
    while len(left):
        higher = decay[left] * ratio[left]
        tried = rested(lambda rows, decay, left=left: field_of(left[rows], decay), _of(state, left), higher, net, floor)
        stands = model.norms(tried, net) > GONE
        for name, value in tried.items():
            state[name][left[stands]] = value[stands]
        decay[left[stands]] = higher[stands]
        gone[left[~stands]] = higher[~stands]
        done = ~stands & (ratio[left] == FINE)
        ratio[left[~stands]] = FINE
        left = left[~done]
    return decay, gone


@door.takes(field_of=door.FUNCTION, nudges=nets.STATE, critical="positive: S", net=nets.NET)
def downwards(field_of, nudges: State, critical: Stack, net: model.Net) -> tuple[Stack, Stack]:
    r"""The last decay at which zero still drew a small state in, and the first at which it did not, (S,) each.

    field_of, net: of :func:`rested`; nudges: name -> (S, ...), what zero is nudged by at every decay; critical: (S,).
    """
    start = model.norms(nudges, net)
    stays, leaves = torch.full_like(critical, float("nan")), torch.full_like(critical, float("nan"))
    for share in DOWN:
        decay = share * critical
        drawn = model.norms(rested(field_of, nudges, decay, net, DEEP * start), net) < start
        stays = torch.where(drawn & leaves.isnan(), decay, stays)
        leaves = torch.where(~drawn & leaves.isnan(), decay, leaves)
    return stays, leaves


def _of(state, rows):
    return {name: value[rows] for name, value in state.items()}


@door.takes(
    inputs=nets.TOKENS, targets=nets.TARGETS, critical="positive: S", state=nets.STATE, nudges=nets.STATE, net=nets.NET
)
def scanned(
    inputs: Stack, targets: Stack, critical: Stack, state: State, nudges: State, net: model.Net
) -> dict[str, Stack]:
    r"""Both ways: ``stands`` and ``falls`` of :func:`upwards`, ``stays`` and ``leaves`` of :func:`downwards`, (S,) each.

    inputs, targets: X (S, n, L, d) and y (S, n); critical: $\lambda_c$, (S,); state, nudges: name -> (S, ...); net: attention
    alone.
    """

    def field_of(rows, decay):
        return model.field(inputs[rows], targets[rows], net, decay)

    stands, falls = upwards(field_of, state, critical, net)
    stays, leaves = downwards(field_of, nudges, critical, net)
    return {"stands": stands, "falls": falls, "stays": stays, "leaves": leaves}


@door.takes(seed=door.INDEX)
def shape(seed: int) -> tuple[int, int]:
    """Depth and heads of the table for the data set of a ``seed``."""
    return SHAPES[seed // SETS % len(SHAPES)]


def table(device: torch.device, first: int, starts: int) -> dict:
    r"""One task of the sweep: the scans of ``SETS`` data sets, of the seeds from ``first`` on, and what one head predicts.

    device: of the runs; starts: scans up a data set, of which the one that stands longest counts, and down, of which the median
    does. Returns, over $\lambda_c$, ``stands``, ``falls``, ``stays``, ``leaves`` of :func:`scanned` and ``end``, the predicted
    one, ``single``, that of one head at depth 1, ``rule``, that of the closed formula, and ``critical``, $\lambda_c$: (SETS,).
    """
    seeds = tuple(range(first, first + SETS))
    depth, m = shape(first)
    net, inputs, targets, _ = setting.drawn(seeds, device, depth=depth, m=m, parts=("attention",))
    sets = [onehead.checked(*each) for each in zip(inputs, targets, strict=True)]
    critical = torch.tensor([onehead.thresholds(*each)["attention"] for each in sets], dtype=runs.DTYPE, device=device)
    many = runs.replicas(seeds, starts)
    state, nudges = (runs.to(model.init(runs.streams(many, name), net, scale), device) for name, scale in DRAWN)
    stack = [each.repeat_interleave(starts, dim=0) for each in (inputs, targets, critical)]
    seen = {
        name: value.view(SETS, starts) / critical[:, None]
        for name, value in scanned(*stack, state, nudges, net).items()
    }
    last = seen["stands"].argmax(dim=1, keepdim=True)
    found = {name: seen[name].gather(1, last)[:, 0] for name in ("stands", "falls")}
    found |= {name: seen[name].median(dim=1).values for name in ("stays", "leaves")}
    ways = {
        "end": lambda each: onehead.end(*each, depth * m)["decay"],
        "single": lambda each: onehead.end(*each, 1)["decay"],
        "rule": lambda each: onehead.closed(*each, depth * m),
    }
    for name, way in ways.items():
        found[name] = torch.tensor([way(each) for each in sets], dtype=runs.DTYPE, device=device) / critical
    return found | {"critical": critical}
