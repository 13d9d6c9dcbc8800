"""Gaussian integrals of chapter 5 by Gauss-Hermite quadrature: the mean square of what one particle puts out at the start."""

import numpy as np
import torch

from attnflow import door, runs
from attnflow.meanfield import nets
from attnflow.runs import Stack

WIDEST = 4  # the width d up to which the nodes of heads fit a memory


@door.takes(inputs=nets.TOKENS, net=nets.WIDTHS, scale=door.NONNEGATIVE, count=door.COUNT)
def moment(inputs: Stack, net: nets.Net, scale: float, count: int) -> Stack:
    r"""The sum of the integrals of :func:`~attnflow.meanfield.limit.start_constant`, a mean over sequences, (S,).

    inputs: X (S, n, L, d), d at most 4 where there are heads; net: with heads of width 1; scale: of the particles; count: of
    nodes in a direction, four times as many where there is one. Raises WrongUse for wider heads or tokens.
    """
    runs.check("k", net.k, "1: the quadrature is that of narrow heads", net.k == 1)
    most = WIDEST if "attention" in net.parts else net.d
    runs.check("d", net.d, f"at most {most}: the quadrature of heads has {count}^d nodes", net.d <= most)
    last = inputs[:, :, -1]
    found = torch.zeros_like(last[..., 0])
    if "neurons" in net.parts:
        place, weight = _normal_nodes(4 * count, inputs.device)
        inner = scale * (last.square().sum(dim=-1) + 1).sqrt()[..., None] * place
        found = found + scale**2 * (nets.ACTIVATIONS[net.activation][0](inner).square() @ weight)
    if "attention" in net.parts:
        place, weight = _normal_nodes(count, inputs.device)
        grid = torch.cartesian_prod(*[place] * net.d).view(-1, net.d)
        chance = torch.cartesian_prod(*[weight] * net.d).view(-1, net.d).prod(dim=1)
        for query, share in zip(place, weight, strict=True):
            scores = scale**2 * query * last.norm(dim=-1)[..., None, None] * (inputs @ grid.T)
            seen = torch.softmax(scores, dim=2).mT @ inputs
            found = found + share * scale**4 * (seen.square().sum(dim=-1) @ chance)
    return found.mean(dim=1)


def _normal_nodes(count, device):
    """Places and weights of a mean over a normal number, (count,) each."""
    found = np.polynomial.hermite_e.hermegauss(count)
    place, weight = (torch.as_tensor(each, dtype=runs.DTYPE, device=device) for each in found)
    return place, weight / weight.sum()
