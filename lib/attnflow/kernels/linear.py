r"""Chapter 4, only $W_V$ is trained: the linear problem, its features, its floor, its losses in advance, and what measures them.

With Q, K and O at rest the output is linear in the values. With the blocks $B_h = S_hX$ of all samples, $nL$ rows and $d$
columns each, the features $\Phi = [B_1\otimes O_1^\top, \ldots, B_H\otimes O_H^\top]/\sqrt{nL}$ have $nLo$ rows and $Hdk$
columns, and $\mathcal L = \frac12|\Phi v - y|^2$ with $v$ all values and $y$ the targets over $\sqrt{nL}$.
"""

import torch

from attnflow import checks, curves, door, flow, ntk, runs
from attnflow.attention import KERNELS
from attnflow.kernels import model
from attnflow.kernels.setting import drawn

PAIR = ("softmax", "gaussian")


@door.takes(state=model.HEADS, inputs=model.TOKENS, layer=model.LAYER)
def mixed(state, inputs, layer):
    r"""The blocks $B_h = S_hX$ of the ``state`` of a ``layer``. inputs: (S, n, L, d). Returns (S, H, nL, d)."""
    return (model.attention(state, inputs, layer) @ inputs[:, None]).flatten(2, 3)


@door.takes(state=model.HEADS, inputs=model.TOKENS, layer=model.LAYER)
def features(state, inputs, layer):
    r"""The features $\Phi$ of the values, at the ``state`` of a ``layer``. inputs: (S, n, L, d). Returns (S, nLo, Hdk)."""
    blocks = mixed(state, inputs, layer)
    found = torch.einsum("shrd,shko->srohdk", blocks, state["W_O"]).flatten(3).flatten(1, 2)
    return found / blocks.shape[2] ** 0.5


@door.takes(features="S R C")
def span(features):
    """The directions that ``features`` (S, R, C) reach, and their number: (S, R, min(R, C)), zero beyond it, and (S,)."""
    directions, sizes, _ = torch.linalg.svd(features, full_matrices=False)
    seen = sizes > sizes[:, :1] * max(features.shape[1:]) * torch.finfo(sizes.dtype).eps
    return directions * seen[:, None], seen.sum(dim=1)


@door.takes(directions="S R m", wanted="S R C")
def floor(directions, wanted):
    r"""The least loss, $\frac12|y - UU^\top y|^2$. directions: U, of :func:`span`; wanted: y, (S, R, C). Returns (S, C)."""
    return (wanted - directions @ (directions.mT @ wanted)).square().sum(dim=1) / 2


@door.takes(layer=model.Layer, rows=door.COUNT)
def counted_rank(layer, rows):
    r"""The rank of generic features, $\min(nLo, H\min(d, nL)\min(k, o))$: the width that counts is $Hd$ where $k \ge o$.

    $v \mapsto V_hO_h$ has rank $d\min(k, o)$, whatever the attention, and a head sees no more directions than there are rows.
    layer: with the sizes; rows: $nL$.
    """
    return min(rows * layer.o, layer.heads * min(layer.d, rows) * min(layer.k, layer.o))


@door.takes(**model.PROBLEM)
def frozen(state, inputs, targets, layer):
    r"""The field of $W_V$ alone and its start, with the attention of a ``state`` computed once: as fast as two products.

    inputs: X (S, n, L, d); targets: Y (S, n, L, o), of a ``layer``. Returns (field, {"W_V": (S, H, d, k)}). Its slow twin is
    ``model.field`` with ``trained=("W_V",)``.
    """
    known, wanted = features(state, inputs, layer), flat(targets)

    def field(values):
        residual = (known @ values["W_V"].flatten(1)[..., None])[..., 0] - wanted
        slope = (known.mT @ residual[..., None]).view_as(values["W_V"])
        return residual.square().sum(dim=1) / 2, {"W_V": slope}

    def compiled(_):
        from attnflow.kernels import engine  # here, since numba may be absent

        return engine.kernel(known, wanted)

    return flow.with_kernel(field, compiled), {"W_V": state["W_V"]}


@door.takes(outputs="S n L o")
def flat(outputs):
    r"""Outputs or targets as the problem sees them, over $\sqrt{nL}$. outputs: (S, n, L, o). Returns (S, nLo)."""
    return outputs.flatten(1) / (outputs.shape[1] * outputs.shape[2]) ** 0.5


def spans(seeds, device, kernels=KERNELS, widths=(1,), copies=1, **settings):
    r"""What the features of some ``kernels`` with as many heads as ``widths`` says reach, and what they leave of the targets.

    seeds, device, settings: of the problem; copies: how many random targets are drawn besides its own. Returns, (J, S) each
    over kernels and widths: ``rank`` and the ``counted`` one; ``mean``, of the floor over the copies, and ``expected``, where
    it is $\frac o2(1 - Hd/nL)$, as for $k \ge o$; ``floor``, of the targets of the problem, and their ``spread`` within samples.
    """
    rows = []
    for kernel in kernels:
        for heads in widths:
            layer, inputs, targets, state = drawn(seeds, device, kernel=kernel, heads=heads, **settings)
            directions, rank = span(features(state, inputs, layer))
            size, tall = inputs.shape[1] * inputs.shape[2], directions.shape[1]
            random = runs.normal(runs.streams(seeds, "floors"), tall, copies, std=size**-0.5).to(device)
            counted = torch.full_like(rank, counted_rank(layer, size))
            rows.append({
                "rank": rank,
                "counted": counted,
                "mean": floor(directions, random).mean(dim=1),
                "expected": torch.full_like(rank, layer.o, dtype=runs.DTYPE) / 2 * max(0, 1 - heads * layer.d / size),
                "floor": floor(directions, flat(targets)[..., None])[:, 0],
                "spread": flat(targets - targets.mean(dim=2, keepdim=True)).square().sum(dim=1) / 2,
            })  # fmt: skip
    return checks.stacked(rows)


def watched(seeds, device, kernels=PAIR, steps=200, unit=1.0, count=40, trained=("W_V",), **settings):
    r"""Descent of a problem beside the forecast for $W_V$ alone, with the step ``unit`` over $\lambda_{\max}$ of $\Phi\Phi^\top$.

    seeds, device, settings: of the problem; kernels: that run; count: of the records of so many ``steps``, spaced in the
    logarithm; trained: names of matrices. Returns ``steps`` (K,), ``loss`` and ``known``, the forecast, (J, K, S) over kernels,
    and ``floor``, ``left`` (J, S), the share of the loss at the end, infinite where a run diverged.
    """
    grid, rows = torch.unique(flow.log_times(1.0, float(steps), count).round()), []
    for kernel in kernels:
        layer, inputs, targets, state = drawn(seeds, device, kernel=kernel, **settings)
        known = features(state, inputs, layer)
        gram = known @ known.mT
        step = unit / torch.linalg.eigvalsh(gram)[:, -1]
        start = flat(model.forward(state, inputs, layer) - targets)
        forecast = ntk.linear_losses(gram, start, step, steps)[grid.long()]
        field = model.field(inputs, targets, layer, trained)
        record = flow.integrate(field, state, step=step, times=grid[:, None].to(device) * step)
        loss = torch.full_like(forecast, torch.nan)
        loss[: len(record.loss)] = record.loss[: len(grid)]
        left = torch.where(record.diverged, torch.inf, record.end_loss / record.loss[0])
        rows.append({"loss": loss, "known": forecast, "left": left})
        rows[-1]["floor"] = floor(span(known)[0], flat(targets)[..., None])[:, 0]
    return checks.stacked(rows) | {"steps": grid}


def endless(seeds, device, kernels=PAIR, steps=4000, part="least", window=(1e-18, 1e-24), **settings):
    r"""A long descent of $W_V$ alone with the step $\eta = 1/\lambda_{\max}$, and the rates that theory has for its end.

    seeds, device, settings: of the problem; kernels: that run; steps: of descent; part: whether the least or the ``largest``
    singular value of the $W_O^h$ enters the ``bound``; window: shares of the loss between which the slope is read. Returns,
    (J, S) each over kernels: ``left``, the share of the loss at the end; ``slope``, of $-\log\mathcal L$ a step in the window,
    NaN where none was seen; ``rate``, $-2\log(1 - \eta\lambda_{\min})$; ``least``, $\lambda_{\min}$, and ``bound``, the
    singular value squared times the least eigenvalue of $BB^\top/nL$; ``condition``, $\lambda_{\max}/\lambda_{\min}$.
    """
    rows, at = [], {"least": -1, "largest": 0}[runs.choice("part", part, ("least", "largest"))]
    grid = torch.arange(0, steps + 1, max(steps // 1000, 1), dtype=runs.DTYPE, device=device)[:, None]
    for kernel in kernels:
        layer, inputs, targets, state = drawn(seeds, device, kernel=kernel, **settings)
        known, blocks = features(state, inputs, layer), mixed(state, inputs, layer).transpose(1, 2).flatten(2)
        values = torch.linalg.eigvalsh(known @ known.mT)
        step, outputs = 1 / values[:, -1], torch.linalg.svdvals(state["W_O"])[..., at]
        apart = torch.linalg.eigvalsh(blocks @ blocks.mT)[:, 0] / blocks.shape[1]
        factor = outputs.amin(dim=1) if part == "least" else outputs.amax(dim=1)
        record = flow.integrate(*frozen(state, inputs, targets, layer), step=step, times=grid * step)
        share = record.loss / record.loss[0]
        inside = (share < window[0]) & (share > window[1])
        rows.append({
            "left": share[-1],
            "slope": -curves.window_slope(grid.expand_as(share), share.log(), inside),
            "rate": -2 * torch.log1p(-step * values[:, 0]),
            "least": values[:, 0],
                "bound": factor.square() * apart,
            "condition": values[:, -1] / values[:, 0],
        })  # fmt: skip
    return checks.stacked(rows)
