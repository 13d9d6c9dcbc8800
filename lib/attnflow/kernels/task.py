"""Data of chapter 4: random tokens, which may share a direction or be orthonormal, and targets of a layer that reads them."""

import torch

from attnflow import door, runs

TOKENS = ("gaussian", "common", "orthonormal")


@door.takes(samples=door.COUNT, length=door.COUNT, d=door.COUNT, data=door.choice(*TOKENS))
def tokens(generators: list, samples: int, length: int, d: int, data: str = "gaussian") -> torch.Tensor:
    r"""Tokens of n samples: Gaussian, with a last feature of 1 on every token, or orthonormal over all samples.

    With ``common`` $Xw = \mathbf 1$ for $w = e_d$; with ``orthonormal`` the nL tokens of a run are orthogonal vectors of
    length 1, so that $W_Q$ reaches each query alone. generators: one a run; samples, length, d: n, L and the token size;
    data: one of ``TOKENS``. Returns X (S, n, L, d). Raises WrongUse where a size or the name is wrong, or d < nL orthonormal
    tokens.
    """
    for name, size in {"samples": samples, "length": length, "d": d}.items():
        runs.integer(name, size)
    runs.choice("data", data, TOKENS)
    if data == "orthonormal":
        runs.check("d", d, f"at least nL = {samples * length}, for orthonormal tokens", d >= samples * length)
        drawn = runs.normal(generators, d, samples * length)
        return torch.linalg.qr(drawn)[0].mT.reshape(len(generators), samples, length, d).contiguous()
    found = runs.normal(generators, samples, length, d)
    if data == "common":
        found[..., -1] = 1.0
    return found


@door.takes(samples=door.COUNT, length=door.COUNT, o=door.COUNT, size=door.POSITIVE)
def targets(generators: list, samples: int, length: int, o: int, size: float = 1.0) -> torch.Tensor:
    """Targets that mean nothing: independent normal entries of a ``size``.

    generators: one a run; samples, length, o: n, L and the width of the output. Returns Y (S, n, L, o).
    """
    return runs.normal(generators, samples, length, o, std=runs.number("size", size, above=0))
