r"""Hard-margin separation of any data, by non-negative least squares: what the loss derivatives converge to.

For a linear model on separable data the loss derivatives of gradient flow become proportional to the dual variables of
$\min \frac12|w|^2$ subject to $y_i w^\top x_i \ge 1$ (Soudry et al. 2018). In chapter 2 the features are the word counts
of a sample, as long as attention stays uniform.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from attnflow import door, runs


@dataclass(frozen=True)
class Separation:
    """The solution: dual variables alpha (n,), weights w (d,), margins (n,), all >= 1."""

    alpha: np.ndarray
    weights: np.ndarray
    margins: np.ndarray

    def sums(self, classes: np.ndarray) -> np.ndarray:
        """Dual variables summed over each of the ``classes``, (n,) of 0 to 3, over that of the first: (4,)."""
        totals = np.bincount(np.asarray(classes), weights=self.alpha, minlength=4)
        return totals / totals[0]


@door.takes(features=door.numbers("n d"), labels=door.numbers("n"))
def separate(features: np.ndarray, labels: np.ndarray) -> Separation:
    r"""Solve the hard-margin problem without bias, by Lawson and Hanson's least-distance programme.

    With $Z = \mathrm{diag}(y)X$, u = argmin over $u\ge0$ of $|Z^\top u|^2 + (1 - \mathbf 1^\top u)^2$ gives
    $\nu = u/(1-\mathbf 1^\top u)$ and $w = Z^\top\nu$. features: (n, d), of any size, since they are taken
    over a power of two near their largest entry; labels: (n,) of +-1. Raises WrongUse where the data are not separable by a
    margin of $10^{-6}$ of that size.

    >>> separate([[1.0, 0.0], [0.0, 2.0]], [1, -1]).weights.round(6).tolist()
    [1.0, -0.5]
    """
    features, labels = np.asarray(features, dtype=float), np.asarray(labels, dtype=float)
    runs.check("labels", sorted(set(labels.tolist())), "+1 and -1", bool(np.isin(labels, (-1, 1)).all()))
    size = 2.0 ** np.floor(np.log2(np.abs(features).max() or 1.0))
    signed = labels[:, None] * features / size
    columns = np.vstack([signed.T, np.ones(len(labels))])
    solution, residual = nnls(columns, np.append(np.zeros(features.shape[1]), 1.0), maxiter=50 * len(labels))
    allowed = "separable by a plane through the origin"
    runs.check("data", f"a least distance of {residual:.1e}", allowed, residual > 1e-6)
    alpha = solution / (1 - solution.sum())
    weights = signed.T @ alpha
    return Separation(alpha / size**2, weights / size, signed @ weights)
