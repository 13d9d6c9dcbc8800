r"""Chapter 3, the kink: masks of the ReLU that flip while the loss falls, and what they do to the kernel of a wide NTK net.

Pre-activations $h_j = v_j\cdot\bar x$ are of order one and move by $O(k^{-1/2})$, so a share of $O(k^{-1/2})$ of them crosses
zero. Flips do not average out: on its active side a neuron feels the gradient of the sample itself, on the other it does not.
"""

import math

import torch

from attnflow import ntk, runs, sweep
from attnflow.encoder import kernel, model
from attnflow.encoder.setting import descent, drawn


def expected(net, inputs, start, impulse):
    r"""What the start says about flips, to first order in $k^{-1/2}$, at NTK initialisation and uniform attention.

    With the impulse $c_m = \int r_m\,dt$ and the Gram matrix g of the token means, $h_{jn}$ moves by
    $-k^{-1/2}o_j\sum_mE_{jm}g_{nm}c_m$: by $-k^{-1/2}o_jq$ where the neuron is off on the sample n, q being the sum over
    $m \ne n$, and by $-k^{-1/2}o_j(q + g_{nn}c_n)$ where it is on. Half of the signs of $o_j$ point to the kink, where the
    density is $1/\sqrt{2\pi g_{nn}}$: masks go on at the rate $|q|$ and off at $|q + g_{nn}c_n|$, which is the larger on
    average. The mean over $v_j$ at the kink is one over the columns of $W_V$, each less its part along $\bar x_n$.

    net, inputs, start: one draw; impulse: c, (S, n). Returns ``balance``, the share of masks that goes on less that which goes
    off, and ``pull``, what this adds to the trace of the kernel: (S,) each.
    """
    means = inputs.mean(dim=2)
    gram, size = means @ means.mT, means.norm(dim=2)
    found = []
    for place in range(inputs.shape[1]):
        mean = means[:, place, :, None]
        at_kink = start["W_V"] - mean * (mean.mT @ start["W_V"]) / mean.square().sum(dim=1, keepdim=True)
        force = gram[:, place] * impulse
        active = (means @ at_kink > 0).to(runs.DTYPE)
        active[:, place] = 0
        others, own = (force[:, None] @ active)[:, 0], force[:, place, None]
        found.append((others.abs() - (others + own).abs()).mean(dim=1))
    # E|o| and E|o|^3 of a normal number are s and 2 s, half of the signs count, and the density is that of N(0, g_nn) at zero.
    moment = math.sqrt(2 / math.pi)
    rate = torch.stack(found, dim=1) * moment / 2 / (math.sqrt(2 * math.pi * net.width) * size)
    return {"balance": rate.mean(dim=1), "pull": (2 * rate * size.square()).sum(dim=1)}


def trace(kernels):
    """Trace of each of some ``kernels`` (S, n, n): (S,)."""
    return kernels.diagonal(dim1=1, dim2=2).sum(dim=1)


def flips(net, inputs, labels, start, share=1e-3, steps=3000):
    r"""Masks that flipped, and the change of the kernel, when the loss has fallen to a ``share``; NTK initialisation.

    net, inputs, labels, start: one draw; steps: at most so many, of $1/\mu_{\max}(K_0)$. Returns, (S,) each: ``on`` and
    ``off``, shares of all masks; ``change`` of the kernel and ``masks``, its change if only the masks in the block of $W_V$
    were those of the end, Frobenius norms over that of $K_0$; ``trace`` and ``masks_trace``, the same of the trace, with sign;
    ``balance`` and ``pull``, what :func:`expected` says of on less off and of ``masks_trace``; ``reached``, 1 where the loss
    came so far.
    """
    blocks = kernel.blocks(start, inputs, net)
    first = sum(blocks.values())
    record = descent(model.field(inputs, labels, net), start, 1 / kernel.largest(first), steps, share)
    _, mixed, _, before = model.inside(start, inputs, net)
    before, after = (
        (entering > 0).to(runs.DTYPE) for entering in (before, model.inside(record.state, inputs, net)[-1])
    )
    slopes = after * (net.tau_1 / inputs.shape[2] * start["W_O"].mT)
    masks = ntk.rank_one(mixed, slopes, inputs.shape[1]) - blocks["W_V"]
    change = kernel.empirical(record.state, inputs, net) - first
    # In the kernel regime the impulse is K^-1 times what the residual has lost.
    lost = model.forward(start, inputs, net) - model.forward(record.state, inputs, net)
    known = expected(net, inputs, start, torch.linalg.solve(first, lost))
    return {
        "on": (after > before).to(runs.DTYPE).mean(dim=(1, 2)),
        "off": (after < before).to(runs.DTYPE).mean(dim=(1, 2)),
        "change": ntk.distance(first + change, first),
        "masks": ntk.distance(first + masks, first),
        "trace": trace(change) / trace(first),
        "masks_trace": trace(masks) / trace(first),
        "balance": known["balance"],
        "pull": known["pull"] / trace(first),
        "reached": (record.end_loss <= share * record.loss[0]).to(runs.DTYPE),
    }


def wide(device, width, seeds):
    r"""One cell of the stored sweep: :func:`flips` at NTK initialisation and $\tau_0 = 1/k$. device, width, seeds: of the draw."""
    return flips(*drawn(seeds, device, width=width, scaling=1.0, init="ntk"))


CLAIMS = ()
SWEEPS = (
    sweep.Sweep(
        "encoder-flips",
        "masks that flip, and the change of the kernel, of wide NTK nets",
        wide,
        {
            "width": tuple(2**power for power in range(7, 16)),
            "seeds": tuple(tuple(range(first, first + 4)) for first in range(0, 64, 4)),
        },
    ),
)
