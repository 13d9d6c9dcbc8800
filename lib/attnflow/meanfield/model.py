r"""The Transformer of chapter 5: J residual blocks, each the mean over m attention heads and then over m neurons.

A block moves the tokens, the rows of X, by $X \mathrel{+}= \frac1{Jm}\sum_h S_hXW_V^hW_O^h$ and then
$x_i \mathrel{+}= \frac1{Jm}\sum_a\phi(\langle w_1^a, x_i\rangle + b^a)\,w_2^a$. The output f is one entry of the last token.
With the risk $\mathcal L = \frac1{2n}\sum(f - y)^2$ the objective is
$\mathcal Q = \mathcal L + \frac\lambda2\frac1{Jm}\sum|\theta|^2$, and a particle, a head or a neuron, moves by
$\dot\theta = -Jm\,\partial\mathcal Q$.
"""

import math

import torch

from attnflow import attention, door, flow, runs
from attnflow.meanfield.nets import ACTIVATIONS, DECAY, HEADS, NET, PARTS, STATE, TARGETS, TOKENS, WIDTHS, Net
from attnflow.runs import Stack, State


@door.takes(net=Net, scale=door.NONNEGATIVE, tied=door.FLAG)
def init(generators: list, net: Net, scale: float = 1.0, tied: bool = False) -> State:
    """Independent particles with entries $N(0, scale^2)$, or, where layers are ``tied``, the same m particles in every block.

    generators: one a run; net: the shapes. Tied layers start alike and move apart. The first particles of a wider net are not
    those of a narrow one. scale: of at least 0. Returns name -> (S, J, m, ...).
    """
    depth = 1 if tied else net.depth
    state = {name: runs.normal(generators, depth, *shape[1:], std=scale) for name, shape in net.shapes.items()}
    return {name: value.expand(-1, net.depth, *value.shape[2:]).clone() for name, value in state.items()}


@door.takes(state=STATE, inputs=TOKENS, net=NET)
def forward(state: State, inputs: Stack, net: Net) -> Stack:
    """The tokens after every block, those at the start first, (S, J + 1, n, L, d): the slow twin of :func:`field`.

    state: the weights of a ``net``; inputs: X (S, n, L, d).
    """
    stream, seen = inputs, [inputs]
    for layer in range(net.depth):
        weight = {name: value[:, layer] for name, value in state.items()}
        if "attention" in net.parts:
            query, key, value, out = (weight[name][:, :, None] for name in HEADS)
            tokens = stream[:, None]
            scores = (tokens @ query) @ (tokens @ key).mT / math.sqrt(net.k)
            stream = stream + net.branch * (torch.softmax(scores, dim=-1) @ tokens @ value @ out).sum(dim=1)
        if "neurons" in net.parts:
            inner = stream @ weight["w_1"].mT[:, None] + weight["b"][:, None, None]
            stream = stream + net.branch * ACTIVATIONS[net.activation][0](inner) @ weight["w_2"][:, None]
        seen.append(stream)
    return torch.stack(seen, dim=1)


@door.takes(state=STATE, inputs=TOKENS, net=NET)
def outputs(state: State, inputs: Stack, net: Net) -> Stack:
    """The output f of every sequence, (S, n), of the weights ``state`` of a ``net``. inputs: X (S, n, L, d)."""
    return forward(state, inputs, net)[:, -1, :, -1, net.slot]


@door.takes(state=STATE, inputs=TOKENS, targets=TARGETS, net=NET)
def risk(state: State, inputs: Stack, targets: Stack, net: Net) -> Stack:
    r"""The risk $\mathcal L = \frac1{2n}\sum(f - y)^2$ of the weights ``state`` of a ``net``, (S,).

    inputs: X (S, n, L, d); targets: y (S, n).
    """
    return (outputs(state, inputs, net) - targets).square().mean(dim=1) / 2


@door.takes(state=STATE, net=NET)
def norms(state: State, net: Net) -> Stack:
    r"""The mean square $\frac1{Jm}\sum|\theta|^2$ of the particles ``state`` of a ``net``, (S,): what the decay is asked for."""
    return sum(value.square().flatten(1).sum(dim=1) for value in state.values()) / (net.depth * net.m)


@door.takes(state=STATE, inputs=TOKENS, targets=TARGETS, net=NET, decay=DECAY)
def objective(state: State, inputs: Stack, targets: Stack, net: Net, decay: float | Stack = 0.0) -> Stack:
    r"""The objective $\mathcal Q = \mathcal L + \frac\lambda2\frac1{Jm}\sum|\theta|^2$, (S,).

    state: the weights of a ``net``; inputs, targets: of :func:`risk`; decay: $\lambda$, a number or (S,), of at least 0.
    """
    return risk(state, inputs, targets, net) + decay / 2 * norms(state, net)


@door.takes(inputs=TOKENS, targets=TARGETS, net=WIDTHS, decay=DECAY)
def field(inputs: Stack, targets: Stack, net: Net, decay: float | Stack = 0.0) -> flow.fields.Field:
    r"""The objective and minus the velocity of the particles, $Jm\,\partial\mathcal L + \lambda\theta$, by hand, block by block.

    inputs: X (S, n, L, d); targets: y (S, n); decay: $\lambda$, a number or (S,), of at least 0. Returns a function of a state
    of the ``net``.
    """
    decay = torch.as_tensor(decay, dtype=runs.DTYPE, device=inputs.device).expand(len(inputs))
    weight = net.branch * net.speed / inputs.shape[1]

    def gradient(state):
        stream, back = inputs, []
        for layer in range(net.depth):
            for part in PARTS:
                if part in net.parts:
                    block = {name: state[name][:, layer] for name in PARTS[part]}
                    stream, pull = (_attend if part == "attention" else _excite)(stream, block, net)
                    back.append((layer, pull))
        residual = stream[:, :, -1, net.slot] - targets
        loss = residual.square().mean(dim=1) / 2 + decay / 2 * norms(state, net)
        slope = torch.zeros_like(stream)
        slope[:, :, -1, net.slot] = weight * residual
        found = {name: [None] * net.depth for name in state}
        for layer, pull in reversed(back):
            slope, slopes = pull(slope)
            for name, value in slopes.items():
                found[name][layer] = value
        return loss, {
            name: torch.stack(found[name], dim=1) + flow.record.broadcast(decay, value) * value
            for name, value in state.items()
        }

    def kernel(_):
        from attnflow.meanfield import engine  # here, since numba may be absent

        return engine.kernel(inputs, targets, net, decay)

    return flow.fields.with_kernel(gradient, kernel)


def _wide(weight):
    """Matrices of all heads beside each other: (S, m, r, c) -> (S, r, c m), the heads innermost."""
    return weight.permute(0, 2, 3, 1).flatten(2)


def _narrow(slope, shape):
    """The inverse of :func:`_wide`, to the ``shape`` of the weights."""
    return slope.unflatten(2, (shape[3], shape[1])).permute(0, 3, 1, 2)


def _attend(stream, block, net):
    """Tokens after the heads of one block, and what takes a slope back through them; heads stand last, where loops are long.

    The slope that comes back is by the tokens; those by the weights leave out the factor of the branch, which the slope at
    the end of the net has been given already.
    """
    count, length = stream.shape[1:3]
    tokens = stream.flatten(1, 2)
    wide = [_wide(block[name]) for name in HEADS[:3]]
    out = block["W_O"].transpose(1, 2).flatten(1, 2)
    queries, keys, values = (
        (tokens @ each).unflatten(1, (count, length)).unflatten(3, (net.k, net.m)) for each in wide
    )
    scale, span = 1 / math.sqrt(net.k), range(net.k)

    def pairs(left, right):
        return sum(left[:, :, :, None, at] * right[:, :, None, :, at] for at in span)

    weights = torch.softmax(scale * pairs(queries, keys), dim=3)
    mixed = (weights[:, :, :, :, None] * values[:, :, None]).sum(dim=3).flatten(3).flatten(1, 2)
    moved = stream + net.branch * (mixed @ out).unflatten(1, (count, length))

    def pull(slope):
        flat = slope.flatten(1, 2)
        by_mixed = (flat @ out.mT).unflatten(1, (count, length)).unflatten(3, (net.k, net.m))
        by_scores = scale * attention.softmax_slope(weights, pairs(by_mixed, values), dim=3)[:, :, :, :, None]
        by = (
            (by_scores * keys[:, :, None]).sum(dim=3),
            (by_scores * queries[:, :, :, None]).sum(dim=2),
            (weights[:, :, :, :, None] * by_mixed[:, :, :, None]).sum(dim=2),
        )
        by = [each.flatten(3).flatten(1, 2) for each in by]
        shape = block["W_V"].shape
        slopes = {name: _narrow(tokens.mT @ each, shape) for name, each in zip(HEADS, by, strict=False)}
        slopes["W_O"] = (mixed.mT @ flat).unflatten(1, (net.k, net.m)).transpose(1, 2)
        more = sum(each @ each_wide.mT for each, each_wide in zip(by, wide, strict=True))
        return slope + net.branch * more.unflatten(1, (count, length)), slopes

    return moved, pull


def _excite(stream, block, net):
    """Tokens after the neurons of one block, and what takes a slope back through them, as in :func:`_attend`."""
    activation, derivative = ACTIVATIONS[net.activation]
    tokens, shape = stream.flatten(1, 2), stream.shape[1:3]
    inner = torch.baddbmm(block["b"][:, None], tokens, block["w_1"].mT)
    active = activation(inner)
    moved = stream + net.branch * (active @ block["w_2"]).unflatten(1, shape)

    def pull(slope):
        flat = slope.flatten(1, 2)
        by_inner = (flat @ block["w_2"].mT) * derivative(inner, active)
        slopes = {"w_1": by_inner.mT @ tokens, "b": by_inner.sum(dim=1), "w_2": active.mT @ flat}
        return slope + net.branch * (by_inner @ block["w_1"]).unflatten(1, shape), slopes

    return moved, pull
