"""Data of chapter 1: a teacher's regression, and a task whose value path can be solved in closed form."""

import torch

from attnflow import door, runs
from attnflow.foundations import model


@door.takes(samples=door.COUNT, length=door.COUNT, d=door.COUNT, common=door.FLAG)
def tokens(generators: list, samples: int, length: int, d: int, common: bool = False) -> torch.Tensor:
    r"""Gaussian tokens. With ``common`` the last feature is 1 on every token, so $Xw = 1$ for $w = e_d$.

    generators: one a run; samples, length, d: n, L and the token size. Returns X (S, n, L, d), one data set a run. Raises
    WrongUse where a size is not a whole number of at least 1.
    """
    for name, size in {"samples": samples, "length": length, "d": d}.items():
        runs.integer(name, size)
    drawn = runs.normal(generators, samples, length, d)
    if runs.choice("common", common, (False, True)):
        drawn[..., -1] = 1.0
    return drawn


@door.takes(layer=model.LAYER, inputs="S n L d")
def teacher(generators: list, layer: model.Layer, inputs: torch.Tensor) -> torch.Tensor:
    """Targets from a second layer of the shapes of ``layer``, drawn from ``generators``.

    inputs: X (S, n, L, d). Returns Y (S, n, L, o).
    """
    return model.forward(model.init(generators, layer), inputs, layer)


@door.takes(samples=door.COUNT, length=door.COUNT, d=door.COUNT, target=door.POSITIVE)
def mean_task(generators: list, samples: int, length: int, d: int, target: float) -> tuple:
    r"""Tokens whose sample means are exactly white, with one label that is linear in that mean.

    $\frac1n\sum_i m_i m_i^\top = I$ for the token means $m_i$, and $y_i = \mathrm{target}\cdot\beta^\top m_i$ with a unit
    vector $\beta$. Under uniform attention the loss is then $\frac12 \|W_V W_O - \mathrm{target}\,\beta\|^2$.
    generators: one a run; samples, length, d: n, L and the token size. Returns X (S, n, L, d), Y (S, n, L, 1), beta (S, d).
    Raises WrongUse unless there are at least d samples and the target is above 0.
    """
    runs.check("samples", samples, f"at least d = {d}, so that the means can be white", samples >= d)
    inputs = tokens(generators, samples, length, d)
    means = inputs.mean(dim=2)
    factor = torch.linalg.cholesky(means.mT @ means / samples)
    inputs = torch.linalg.solve_triangular(factor.mT[:, None], inputs, upper=True, left=False)
    beta = torch.nn.functional.normalize(runs.normal(generators, d))
    labels = target * (inputs.mean(dim=2, keepdim=True) @ beta[:, None, :, None])
    return inputs, labels.expand(-1, -1, length, -1), beta
