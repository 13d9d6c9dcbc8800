r"""One query in a space: the whole landscape of its loss, by flows from everywhere.

Queries are taken as free vectors in $\mathbb R^k$ with keys $k_j$ and scalar values $v_j$: $o(q) = \sum_jS_jv_j$, loss
$\frac12(o - y)^2$. Its minima with $o \neq y$ are maxima of o below the target and minima of o above it, at infinity too.
"""

import torch

from attnflow import door, flow, runs
from attnflow.attention import Kernel
from attnflow.kernels.wells import EDGE

CLOCK = 150.0


@door.takes(query="... k", keys="... n k", values="... n", kernel=Kernel)
def output(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    r"""What a ``query`` (..., k) makes of ``keys`` (..., n, k) and ``values`` (..., n) by a ``kernel`` at scale 1: (...).

    Keys and values (n, k) and (n,) are those of all queries.
    """
    shapes = tuple(query.shape[:-1]), tuple(keys.shape[:-2]), tuple(values.shape[:-1])
    fits = shapes[1] == shapes[2] in ((), shapes[0])
    runs.check("axes before those of query, keys and values", shapes, "the same, or none of keys and values", fits)
    return (kernel.weights(query[..., None, :], keys, 1.0)[..., 0, :] * values).sum(dim=-1)


@door.takes(query="S k", keys="S n k", values="S n", kernel=Kernel)
def slopes(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, kernel: Kernel
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""The gradient and the Hessian of the output of a ``kernel``, in units of one factor, so that they survive underflow.

    query: (S, k); keys: (S, n, k); values: (S, n). With weights that sum to one $\nabla o = \sum_{i<j}S_iS_j(v_i - v_j)
    (z'_i - z'_j)$ for scores z, else $\nabla o = \sum_jS_jv_jz'_j$. Returns the logarithm of the factor (S,), the gradient (S, k)
    and the Hessian (S, k, k).
    """
    scores = kernel.scores(query[:, None], keys, 1.0)[:, 0]
    rates = 2 * kernel.c * (keys - query[:, None]) if kernel.distance else kernel.beta * keys
    bend = 2 * kernel.c if kernel.distance else 0.0
    eye = torch.eye(query.shape[1], dtype=query.dtype, device=query.device)
    if kernel.normalised:
        lone = keys.shape[1] == 1  # it is paired with itself, which adds nothing
        left, right = torch.triu_indices(keys.shape[1], keys.shape[1], int(not lone), device=query.device)
        logs = scores - scores.logsumexp(dim=1, keepdim=True)
        power, apart = logs[:, left] + logs[:, right], rates[:, left] - rates[:, right]
        middle = (logs.exp()[:, :, None] * rates).sum(dim=1, keepdim=True)
        factor, turning = values[:, left] - values[:, right], rates[:, left] + rates[:, right] - 2 * middle
        bend = 0.0  # distances differ by a linear function of the query
    else:
        power, apart, factor, turning = scores, rates, values, rates
    top = power.amax(dim=1)
    weight = (power - top[:, None]).exp() * factor
    hessian = torch.einsum("sp,spa,spb->sab", weight, apart, turning) - bend * weight.sum(dim=1)[:, None, None] * eye
    return top, (weight[:, :, None] * apart).sum(dim=1), hessian


@door.takes(keys="S n k", values="S n", target="S", kernel=Kernel)
def field(keys: torch.Tensor, values: torch.Tensor, target: torch.Tensor, kernel: Kernel) -> flow.fields.Field:
    r"""The path of descent on a clock of its own: $dq/ds = -g/\max(|g|/h_0, |\nabla o|^2 + |o - y||\nabla^2o|)$.

    keys: (S, n, k); values: (S, n); target: (S,); kernel: at scale 1; $h_0$ is a third of the length on which its weights change.
    The state is ``q``, (S, k).
    """
    reach = (keys - keys.mean(dim=1, keepdim=True)).norm(dim=2).amax(dim=1)
    room = 1 / ((2 * kernel.c if kernel.distance else kernel.beta) * reach + (2 * kernel.c) ** 0.5 * kernel.distance)

    def along(state):
        query = state["q"]
        top, slope, hessian = slopes(query, keys, values, kernel)
        gap = output(query, keys, values, kernel) - target
        size = (slope.square().sum(dim=1)).sqrt()
        steep = top.exp() * size**2 + gap.abs() * hessian.flatten(1).norm(dim=1)
        pace = gap / torch.maximum(gap.abs() * size / room, steep).clamp_min(1e-300)
        return gap.square() / 2, {"q": pace[:, None] * slope}

    return along


def landscapes(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    c: float = 0.5,
    beta: float = 1.0,
    spread: float = 1.0,
    count: int = 12,
    keys: int = 6,
    k: int = 2,
    least: float = 0.2,
) -> dict:
    r"""Random landscapes of one query: from where descent misses a target that lies between the values.

    seeds, device: of the runs; kernel, c, beta: makes the weights, at scale 1; spread: size of the normal keys; count: landscapes
    a seed; keys: in each; k: their dimension; least: values are uniform between it and 1. The target is a random mixture of the
    values. Starts: the keys, and as many times five random places among them or, for a dot product, where weights are neither
    uniform nor one-hot. Returns ``trapped`` (S, count), the share of starts that end with a loss above 1e-6.
    """
    known = Kernel(kernel, c, beta)
    streams = runs.streams(seeds, "landscape")
    places = runs.normal(streams, count, keys, k)
    drawn = torch.stack([torch.rand(2, count, keys, generator=one, dtype=runs.DTYPE) for one in streams])
    values, mixture = least + (1 - least) * drawn[:, 0], -drawn[:, 1].clamp_min(1e-12).log()
    target = (values * mixture).sum(dim=2) / mixture.sum(dim=2)
    more = runs.normal(streams, count, 5 * keys, k)
    own, wide = (spread, spread + c**-0.5) if known.distance else (1 / (beta * spread), 3 / (beta * spread))
    starts = torch.cat([own * places, wide * more], dim=2)
    each = starts.shape[2]
    flat = [one.flatten(0, 1).repeat_interleave(each, dim=0).to(device) for one in (spread * places, values)]
    wanted = target.flatten().repeat_interleave(each).to(device)
    run = flow.integrate(
        field(*flat, wanted, known),
        {"q": starts.flatten(0, 2).to(device)},
        step=0.5,
        times=[CLOCK],
        method=flow.Heun(),
        stop_loss=EDGE,
    )
    return {"trapped": (run.end_loss > EDGE).view(len(starts), count, each).double().mean(dim=2)}


def hilly(record: dict) -> torch.Tensor:
    """Reading of a ``record``: the share of landscapes from some of whose starts the target is missed: (S,)."""
    return (record["trapped"] > 0).double().mean(dim=1)
