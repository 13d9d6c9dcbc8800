r"""The objective as a function of a measure of particles: force on the tokens, adjoint, first variation, dissipation.

A particle $\theta$, a head or a neuron, acts on the tokens by $g(X, \theta)$, and a block moves them by $1/J$ times the mean of
g over its heads, and then over its neurons. The adjoint P is the slope of $\frac12(f - y)^2$ of one sample by its tokens. What a
particle costs the objective is $V(\theta) = \frac1n\sum_i\langle P_i, g(X_i, \theta)\rangle + \frac\lambda2|\theta|^2$.
The *places* of a net are its branches in order, heads and then neurons of every block, and its end.
"""

import math

import torch

from attnflow import attention, door, runs
from attnflow.meanfield import nets
from attnflow.meanfield.nets import ACTIVATIONS, HEADS, PARTS, STATE, TARGETS, THETA, TOKENS, WIDTHS, Net
from attnflow.runs import Stack, State


@door.takes(net=Net)
def branches(net: Net) -> list[tuple]:
    """The branches of a ``net`` in order, as (block, part)."""
    return [(layer, part) for layer in range(net.depth) for part in PARTS if part in net.parts]


@door.takes(layer=door.INDEX, part=door.choice(*PARTS), state=STATE)
def particles(state: State, layer: int, part: str) -> State:
    """The particles of one ``part`` of the block ``layer``, from 0 on, of a ``state`` that has both: name -> (S, m, ...)."""
    _has(state, part, layer)
    return {name: state[name][:, layer] for name in PARTS[part]}


def _has(state, part, layer=0):
    """Refuse a part or a block that a state lacks."""
    there = [each for each in PARTS if PARTS[each][0] in state]
    runs.check("part", part, f"one that the state has: {', '.join(there)}", part in there)
    depth = state[PARTS[part][0]].shape[1]
    runs.check("layer", layer, f"below {depth}, the blocks of the state", layer < depth)


@door.takes(theta=nets.HEAD, tokens=TOKENS, net=WIDTHS)
def weights(theta: State, tokens: Stack, net: Net) -> Stack:
    """The attention weights of heads ``theta`` on ``tokens`` X (S, n, L, d) of a ``net``: (S, K, n, L, L)."""
    query, key = (tokens[:, None] @ theta[name][:, :, None] for name in HEADS[:2])
    return torch.softmax(query @ key.mT / math.sqrt(net.k), dim=-1)


@door.takes(theta=nets.NEURON, tokens=TOKENS)
def inner(theta: State, tokens: Stack) -> Stack:
    r"""What neurons ``theta`` feel of ``tokens`` X (S, n, L, d), $\langle w_1, x_i\rangle + b$: (S, K, n, L)."""
    return torch.einsum("snld,skd->sknl", tokens, theta["w_1"]) + theta["b"][:, :, None, None]


@door.takes(theta=THETA, tokens=TOKENS, net=WIDTHS)
def force(theta: State, tokens: Stack, net: Net) -> Stack:
    r"""What every particle does to the tokens, $g(X, \theta)$: $SXW_VW_O$ of a head, $\phi(\langle w_1, x_i\rangle + b)w_2$.

    theta: heads or neurons, name -> (S, K, ...); tokens: X (S, n, L, d); net: shapes and activation. Returns (S, K, n, L, d).
    """
    if "W_Q" in theta:
        value, out = (theta[name][:, :, None] for name in HEADS[2:])
        return weights(theta, tokens, net) @ (tokens[:, None] @ value) @ out
    active = ACTIVATIONS[net.activation][0](inner(theta, tokens))
    return active[..., None] * theta["w_2"][:, :, None, None]


@door.takes(theta=THETA, tokens=TOKENS, slope=TOKENS, net=WIDTHS)
def pulled(theta: State, tokens: Stack, slope: Stack, net: Net) -> Stack:
    r"""The slope $\nabla_X\langle P, g(X, \theta)\rangle$ of every particle: what carries the adjoint P one branch back.

    theta, tokens, net: of :func:`force`; slope: P (S, n, L, d). Returns (S, K, n, L, d).
    """
    stream, back = tokens[:, None], slope[:, None]
    if "W_Q" in theta:
        query, key, value, out = (theta[name][:, :, None] for name in HEADS)
        share, by_mixed = weights(theta, tokens, net), back @ out.mT
        by_scores = attention.softmax_slope(share, by_mixed @ (stream @ value).mT, dim=-1) / math.sqrt(net.k)
        by_queries = by_scores @ (stream @ key) @ query.mT
        return by_queries + by_scores.mT @ (stream @ query) @ key.mT + share.mT @ by_mixed @ value.mT
    activation, derivative = ACTIVATIONS[net.activation]
    felt = inner(theta, tokens)
    by_inner = torch.einsum("snld,skd->sknl", slope, theta["w_2"]) * derivative(felt, activation(felt))
    return by_inner[..., None] * theta["w_1"][:, :, None, None]


@door.takes(state=STATE, net=nets.NET)
def even(state: State, net: Net) -> State:
    """Equal masses 1/m of all particles of a ``state`` of a ``net``: part -> (S, J, m)."""
    like = next(iter(state.values()))
    return {part: like.new_full((len(like), net.depth, net.m), 1 / net.m) for part in net.parts}


@door.takes(state=nets.WIDE, inputs=TOKENS, net=nets.PLACES, masses=nets.MASSES)
def path(state: State, inputs: Stack, net: Net, masses: State | None = None) -> Stack:
    r"""The tokens at every place of a net whose branches are $\frac1J\int g\,d\rho$: (B + 1, S, n, L, d), B branches.

    state: the particles of a ``net``, of which a block may have more than m where their masses are given; inputs: X
    (S, n, L, d); masses: of the measure, part -> (S, J, K), equal ones of sum 1 where none are given.
    """
    count = next(iter(state.values())).shape[2]
    runs.check("masses", masses, f"given where a block has {count} particles and not m", bool(masses) or count == net.m)
    masses, seen = masses or even(state, net), [inputs]
    for layer, part in branches(net):
        moves = force(particles(state, layer, part), seen[-1], net)
        seen.append(seen[-1] + torch.einsum("sk,sknld->snld", masses[part][:, layer], moves) / net.depth)
    return torch.stack(seen)


@door.takes(state=STATE, tokens="B S n L d", targets=TARGETS, net=nets.NET)
def adjoint(state: State, tokens: Stack, targets: Stack, net: Net) -> Stack:
    r"""The adjoint P at every place: $P = (f - y)e$ at the end, and $P \mathrel{+}= \frac1J\int\nabla_Xg^\top P\,d\rho$ before.

    Per sample, without 1/n. state: the particles of a ``net``; tokens: of :func:`path`; targets: y (S, n). Returns the
    shape of the tokens.
    """
    places = len(branches(net)) + 1
    runs.check(
        "tokens", len(tokens), f"those at {places} places, the branches of the net and its end", len(tokens) == places
    )
    slope = torch.zeros_like(tokens[-1])
    slope[:, :, -1, net.slot] = tokens[-1][:, :, -1, net.slot] - targets
    found = [slope]
    for place, (layer, part) in reversed(list(enumerate(branches(net)))):
        back = pulled(particles(state, layer, part), tokens[place], found[-1], net)
        found.append(found[-1] + back.mean(dim=1) / net.depth)
    return torch.stack(found[::-1])


@door.takes(
    theta=THETA, tokens=TOKENS, slope=TOKENS, net=WIDTHS, decay=door.either(door.NONNEGATIVE, "nonnegative: S 1")
)
def first_variation(theta: State, tokens: Stack, slope: Stack, net: Net, decay: float | Stack = 0.0) -> Stack:
    r"""$V(\theta) = \frac1n\sum_i\langle P_i, g(X_i, \theta)\rangle + \frac\lambda2|\theta|^2$ of any particles, (S, K).

    theta: heads or neurons, name -> (S, K, ...), of the net or not; tokens: X (S, n, L, d) where their branch begins; slope: P
    (S, n, L, d) where it ends; net: shapes and activation; decay: $\lambda$, a number or (S, 1).
    """
    worth = torch.einsum("snld,sknld->sk", slope, force(theta, tokens, net)) / tokens.shape[1]
    return worth + decay / 2 * sum(value.square().reshape(*worth.shape, -1).sum(dim=2) for value in theta.values())


@door.takes(state=STATE, inputs=TOKENS, targets=TARGETS, net=nets.NET, decay=door.NONNEGATIVE, after=door.FLAG)
def slopes(state: State, inputs: Stack, targets: Stack, net: Net, decay: float = 0.0, after: bool = True) -> State:
    r"""$\nabla V$ at every particle, name -> (S, J, m, ...): minus its velocity in the mean-field limit.

    state: the particles of a ``net``; inputs, targets: X (S, n, L, d) and y (S, n); decay: $\lambda$; after: whether P is taken
    where a branch ends, as it has to be, or where it begins.
    """
    tokens = path(state, inputs, net)
    back = adjoint(state, tokens, targets, net)
    found = {name: [] for name in state}
    for place, (layer, part) in enumerate(branches(net)):
        theta = {name: value.detach().requires_grad_() for name, value in particles(state, layer, part).items()}
        total = first_variation(theta, tokens[place], back[place + after], net, decay).sum()
        for name, value in zip(theta, torch.autograd.grad(total, list(theta.values())), strict=True):
            found[name].append(value)
    return {name: torch.stack(values, dim=1) for name, values in found.items()}


@door.takes(state=STATE, part=door.choice(*PARTS))
def squares(state: State, part: str) -> Stack:
    r"""The size $|\theta|^2$ of every particle of one ``part`` of a ``state`` that has it, (S, J, m)."""
    _has(state, part)
    return sum(
        state[name].square().flatten(2).unflatten(2, (state[name].shape[2], -1)).sum(dim=3) for name in PARTS[part]
    )


@door.takes(left=STATE, right=STATE, net=nets.NET)
def inner_product(left: State, right: State, net: Net) -> Stack:
    r"""$\frac1{Jm}\sum\langle u, v\rangle$ over all particles of a ``net``, of two states ``left`` u and ``right`` v, (S,)."""
    return sum((left[name] * right[name]).flatten(1).sum(dim=1) for name in left) / (net.depth * net.m)


@door.takes(
    state=nets.WIDE, masses=nets.MASSES, inputs=TOKENS, targets=TARGETS, net=nets.PLACES, decay=door.NONNEGATIVE
)
def weighted_objective(
    state: State, masses: State, inputs: Stack, targets: Stack, net: Net, decay: float = 0.0
) -> Stack:
    r"""$\mathcal Q$ of a measure, $\mathcal L + \frac\lambda2\frac1J\sum_j\int|\theta|^2\rho_j(d\theta)$, (S,).

    state, masses, inputs: of :func:`path`; targets: y (S, n); net: shapes and activation; decay: $\lambda$.
    """
    end = path(state, inputs, net, masses)[-1][:, :, -1, net.slot]
    size = sum((masses[part] * squares(state, part)).sum(dim=(1, 2)) for part in net.parts) / net.depth
    return (end - targets).square().mean(dim=1) / 2 + decay / 2 * size
