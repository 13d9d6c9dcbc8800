r"""The measured side of the collapse: all particles of attention alone, up and down in the decay, many data sets at once."""

import torch

from attnflow import flow, runs
from attnflow.meanfield import model
from attnflow.runs import Stack, State

STEP, INERTIA, STEPS = 0.2, 0.9, 250  # of heavy-ball descent: a rest of the flow, ten times sooner
PATIENCE, SETTLED = 24, 1e-9  # how often a run is asked whether its squared slope is below, beside lambda^2 of the decay
GONE, NUDGE = 1e-3, 1e-2  # the mean square of what counts as zero, and the scale of what zero is nudged by
FIRST, COARSE, FINE = 0.5, 1.06, 1.01  # the first decay beside lambda_c, and the ratios of two that follow each other
DOWN = (1.03, 1.01, 0.99, 0.97)  # decays of the way down, beside lambda_c


def rested(field_of, state: State, decay: Stack, net: model.Net) -> State:
    r"""Each state at rest under its decay: heavy-ball descent until the slope is small, or the patience is over.

    field_of: (rows, decay) -> the field of these runs of the stack; state: name -> (S, ...); decay: (S,); net: of the state.
    """
    state, left = {name: value.clone() for name, value in state.items()}, torch.arange(len(decay))
    method = flow.Momentum(INERTIA)
    for _ in range(PATIENCE):
        field = field_of(left, decay[left])
        found = flow.integrate(
            field, {name: value[left] for name, value in state.items()}, step=STEP, times=[STEP * STEPS], method=method
        ).state
        for name, value in found.items():
            state[name][left] = value
        size = model.norms(field(found)[1], net)
        moving = (size > SETTLED * decay[left] ** 2) & (model.norms(found, net) > GONE**2)
        left = left[moving]
        if not len(left):
            break
    return state


def upwards(field_of, state: State, critical: Stack, net: model.Net) -> tuple[Stack, Stack]:
    r"""The last decay at which the nonzero state still stood, and the first at which it had gone, (S,) each.

    Every decay starts from the rest at the one before; where that collapses, the scan goes back and on in finer steps.
    field_of, net: of :func:`rested`; state: the start, name -> (S, ...); critical: $\lambda_c$, (S,).
    """
    decay, ratio = FIRST * critical, torch.full_like(critical, COARSE)
    state = rested(field_of, state, decay, net)
    left, gone = torch.arange(len(critical)), torch.full_like(critical, float("nan"))
    while len(left):
        higher = decay[left] * ratio[left]
        tried = rested(lambda rows, decay, left=left: field_of(left[rows], decay), _of(state, left), higher, net)
        stands = model.norms(tried, net) > GONE
        for name, value in tried.items():
            state[name][left[stands]] = value[stands]
        decay[left[stands]] = higher[stands]
        gone[left[~stands]] = higher[~stands]
        done = ~stands & (ratio[left] == FINE)
        ratio[left[~stands]] = FINE
        left = left[~done]
    return decay, gone


def downwards(field_of, nudges: State, critical: Stack, net: model.Net) -> tuple[Stack, Stack]:
    r"""The last decay at which zero still drew a small state in, and the first at which it did not, (S,) each.

    field_of, net: of :func:`rested`; nudges: name -> (S, ...), what zero is nudged by at every decay; critical: (S,).
    """
    start = model.norms(nudges, net)
    stays, leaves = torch.full_like(critical, float("nan")), torch.full_like(critical, float("nan"))
    for share in DOWN:
        decay = share * critical
        drawn = model.norms(rested(field_of, nudges, decay, net), net) < start
        stays = torch.where(drawn & leaves.isnan(), decay, stays)
        leaves = torch.where(~drawn & leaves.isnan(), decay, leaves)
    return stays, leaves


def _of(state, rows):
    return {name: value[rows] for name, value in state.items()}


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
