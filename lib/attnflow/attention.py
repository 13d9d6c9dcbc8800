"""What all chapters ask of attention weights: the slope by their logits, and how far from uniform they are."""

import math

import torch

from attnflow.runs import Stack


def softmax_slope(weights: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    r"""Slope by the logits of a softmax over the last axis, $S_{ij}(E_{ij} - \sum_l S_{il}E_{il})$.

    weights: S, (..., L); slope: $E = \partial\mathcal L/\partial S$, of the same shape. Returns that shape.

    >>> softmax_slope(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).tolist()
    [0.25, -0.25]
    """
    weighted = weights * slope
    return weighted - weights * weighted.sum(dim=-1, keepdim=True)


def entropy_deficit(weights: torch.Tensor) -> Stack:
    r"""$1 - H/\log L$ of attention, averaged over all its rows: 0 uniform, 1 one-hot.

    weights: (S, ..., L), every row summing to one. Returns (S,).

    >>> entropy_deficit(torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]])).tolist()
    [0.0, 1.0]
    """
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)
    return 1 - entropy.flatten(1).mean(dim=1) / math.log(weights.shape[-1])
