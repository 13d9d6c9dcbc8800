r"""The gradient of :func:`attnflow.kernels.linear.frozen` for one run, compiled: least squares, $\Phi^\top(\Phi\theta - y)$."""

import numpy as np
import torch

from attnflow.flow.compiling import jitable, loops
from attnflow.flow.engines import Kernel


@jitable
def _gradient(theta, slope, scratch, whole, real):
    """The loss at ``theta``, with its slope written."""
    rows, count = whole[0], theta.size
    known, wanted = real[: rows * count].reshape(rows, count), real[rows * count :]
    loss = 0.0
    slope[:] = 0.0
    for row in range(rows):
        residual = -wanted[row]
        for j in range(count):
            residual += known[row, j] * theta[j]
        loss += residual * residual
        for j in range(count):
            slope[j] += residual * known[row, j]
    return loss / 2


march = loops(_gradient)


def kernel(known: torch.Tensor, wanted: torch.Tensor) -> Kernel:
    r"""What compiled steps need of a stack. known: $\Phi$ (S, m, p); wanted: y (S, m)."""
    whole = np.full((len(known), 1), known.shape[1])
    real = np.concatenate([known.flatten(1).numpy(), wanted.numpy()], axis=1)
    return Kernel(march, ("W_V",), whole, real, 1)
