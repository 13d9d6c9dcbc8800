"""What all chapters ask of attention: four kernels, the slope of a loss through them, and how far weights are from uniform."""

import math
from dataclasses import dataclass

import torch

from attnflow import door, runs
from attnflow.runs import Stack

KERNELS = ("softmax", "exp", "gaussian", "normalised_gaussian")
LARGEST = math.log(torch.finfo(runs.DTYPE).max)  # the largest score whose exponential is a number


@dataclass(frozen=True)
class Kernel:
    r"""How queries and keys make weights: {dot product, distance} x {rows that sum to one, not}.

    From scores $z_{ij} = \tau\beta\,q_i\cdot k_j$ or $z_{ij} = -\tau\zeta\,|q_i - k_j|^2$ come the weights
    $S_{ij} = e^{z_{ij}}$, or these over their row sum. $\beta = 2\zeta$ matches the two, since $-\zeta|q - k|^2$ contains
    $2\zeta\,q\cdot k$.

    name: one of ``KERNELS``; c: the sharpness $\zeta > 0$ of a distance; beta: the inverse temperature $\beta > 0$ of a dot
    product. The scale $\tau$ of the scores is that of the layer, $1/\sqrt k$ for heads of width k. ``exp`` overflows where a
    score is above 709: its weight is then infinite, and a run that meets it ends as diverged.
    """

    name: str = "softmax"
    c: float = 0.5
    beta: float = 1.0

    def __post_init__(self):
        runs.choice("kernel", self.name, KERNELS)
        runs.number("c", self.c, above=0)
        runs.number("beta", self.beta, above=0)

    @property
    def normalised(self) -> bool:
        """Whether every row of weights sums to one."""
        return self.name in ("softmax", "normalised_gaussian")

    @property
    def distance(self) -> bool:
        """Whether the scores are distances, and not dot products."""
        return self.name in ("gaussian", "normalised_gaussian")

    def scores(self, queries: torch.Tensor, keys: torch.Tensor, scale: float) -> torch.Tensor:
        r"""The scores z, row = query. queries: (..., L, k); keys: (..., M, k); scale: $\tau$. Returns (..., L, M)."""
        products = queries @ keys.mT
        if not self.distance:
            return scale * self.beta * products
        lengths = queries.square().sum(-1)[..., :, None] + keys.square().sum(-1)[..., None, :]
        return scale * self.c * (2 * products - lengths)

    def weights(self, queries: torch.Tensor, keys: torch.Tensor, scale: float) -> torch.Tensor:
        r"""The weights S, row = query. queries: (..., L, k); keys: (..., M, k); scale: $\tau$. Returns (..., L, M).

        >>> one = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
        >>> Kernel("gaussian").weights(one, one, 2.0).log().tolist(), Kernel("softmax").weights(one, 0 * one, 1.0).tolist()
        ([[0.0, -1.0], [-1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]])
        """
        scores = self.scores(queries, keys, scale)
        return torch.softmax(scores, dim=-1) if self.normalised else torch.exp(scores)

    def slopes(
        self, queries: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor, slope: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""Slopes of a loss by queries and keys, from its slope by the weights.

        With $G_Z = S \circ E$, less $S_{ij}\sum_l S_{il}E_{il}$ where rows sum to one, they are $\tau\beta\,G_Z k$ and
        $\tau\beta\,G_Z^\top q$ for a dot product, and for a distance $2\tau\zeta(G_Z k - (G_Z\mathbf 1) q)$ and
        $2\tau\zeta(G_Z^\top q - (G_Z^\top\mathbf 1) k)$, row by row.

        queries: (..., L, k); keys: (..., M, k); weights: S, (..., L, M); slope: $E = \partial\mathcal L/\partial S$; scale:
        $\tau$. Returns two tensors, of the shapes of queries and keys.
        """
        by_scores = softmax_slope(weights, slope) if self.normalised else weights * slope
        by_queries, by_keys = by_scores @ keys, by_scores.mT @ queries
        if not self.distance:
            return scale * self.beta * by_queries, scale * self.beta * by_keys
        by_queries = by_queries - by_scores.sum(dim=-1, keepdim=True) * queries
        by_keys = by_keys - by_scores.sum(dim=-2)[..., None] * keys
        return 2 * scale * self.c * by_queries, 2 * scale * self.c * by_keys


@door.takes(weights="real: B...", slope="real: B...", dim=door.whole(-20))
def softmax_slope(weights: torch.Tensor, slope: torch.Tensor, dim: int = -1) -> torch.Tensor:
    r"""Slope by the logits of a softmax over one axis, $S_{ij}(E_{ij} - \sum_l S_{il}E_{il})$.

    weights: S, (..., L); slope: $E = \partial\mathcal L/\partial S$, of the same shape; dim: the axis along which S sums to
    one, the last where none is given. Returns that shape.

    >>> softmax_slope(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).tolist()
    [0.25, -0.25]
    """
    weighted = weights * slope
    return weighted - weights * weighted.sum(dim=dim, keepdim=True)


@door.takes(weights="real: S ... M L")
def entropy_deficit(weights: torch.Tensor) -> Stack:
    r"""$1 - H/\log L$ of attention, averaged over all its rows: 0 uniform, 1 one-hot.

    weights: (S, ..., L), every row summing to one. Returns (S,).

    >>> entropy_deficit(torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]])).tolist()
    [0.0, 1.0]
    """
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)
    return 1 - entropy.flatten(1).mean(dim=1) / math.log(weights.shape[-1])
