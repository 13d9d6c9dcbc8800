"""Data of chapter 1: a teacher's regression, and a task whose value path can be solved in closed form."""

import torch

from attnflow import runs
from attnflow.foundations import model


def tokens(generators, samples, length, d, common=False):
    r"""Gaussian tokens. With ``common`` the last feature is 1 on every token, so $Xw = 1$ for $w = e_d$.

    Returns X (S, n, L, d), one data set a run.
    """
    for name, value in {"samples": samples, "length": length, "d": d}.items():
        runs.integer(name, value)
    drawn = runs.normal(generators, samples, length, d)
    if common:
        drawn[..., -1] = 1.0
    return drawn


def teacher(generators, layer, inputs):
    """Targets from a random attention layer of the same shapes: Y (S, n, L, o)."""
    return model.forward(model.init(generators, layer), inputs, layer)


def mean_task(generators, samples, length, d, target):
    r"""Tokens whose sample means are exactly white, with one label that is linear in that mean.

    $\frac1n\sum_i m_i m_i^\top = I$ for the token means $m_i$, and $y_i = \mathrm{target}\cdot\beta^\top m_i$ with a unit
    vector $\beta$. Under uniform attention the loss is then $\frac12 \|W_V W_O - \mathrm{target}\,\beta\|^2$.
    Returns X (S, n, L, d), Y (S, n, L, 1), beta (S, d). Raises ValueError unless there are at least d samples.
    """
    runs.number("target", target, above=0)
    runs.check("samples", samples, f"at least d = {d}, so that the means can be white", samples >= d)
    inputs = tokens(generators, samples, length, d)
    means = inputs.mean(dim=2)
    factor = torch.linalg.cholesky(means.mT @ means / samples)
    inputs = torch.linalg.solve_triangular(factor.mT[:, None], inputs, upper=True, left=False)
    beta = runs.normal(generators, d)
    beta = beta / beta.norm(dim=1, keepdim=True)
    labels = target * (inputs.mean(dim=2) @ beta[:, :, None])
    return inputs, labels[:, :, None, :].expand(-1, -1, length, -1), beta
