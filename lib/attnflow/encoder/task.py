"""Data of chapter 3: Gaussian tokens, pairs of samples that share their token mean, and handwritten digits."""

import torch

from attnflow import data, door, runs

SIZES = {"samples": door.COUNT, "length": door.COUNT, "d": door.COUNT, "std": door.POSITIVE}
DIGIT = door.choice(*range(10))


@door.takes(**SIZES)
def gaussian(generators, samples, length, d, std=1.0):
    r"""Gaussian tokens with random labels: X (S, n, L, d) with entries $N(0, \mathrm{std}^2)$, y (S, n) with $N(0, 1)$.

    generators: one a run; samples, length, d: n, L and d; std: size of an entry. Raises WrongUse on wrong sizes.
    """
    for name, value in {"samples": samples, "length": length, "d": d}.items():
        runs.integer(name, value)
    runs.number("std", std, above=0)
    return runs.normal(generators, samples, length, d, std=std), runs.normal(generators, samples)


@door.takes(**SIZES)
def pairs(generators, samples, length, d, std=1.0):
    r"""Pairs of samples with the same token mean and opposite labels $\pm 1$.

    Both are drawn alone, then the second is shifted to the mean of the first, so no function of the token mean tells them
    apart. generators, samples, length, d, std: as for :func:`gaussian`. Returns X (S, n, L, d) and y (S, n). Raises WrongUse
    where samples is odd.
    """
    runs.check("samples", samples, "an even number of at least 2", samples % 2 == 0 and samples >= 2)
    first, second = (gaussian(generators, samples // 2, length, d, std)[0] for _ in range(2))
    second = second - second.mean(dim=2, keepdim=True) + first.mean(dim=2, keepdim=True)
    signs = torch.tensor([1.0, -1.0], dtype=runs.DTYPE, device="cpu").repeat(len(generators), samples // 2)
    return torch.stack([first, second], dim=2).flatten(1, 2), signs


@door.takes(**SIZES, classes=door.together(DIGIT, DIGIT))
def digits(generators, samples, length=16, d=4, std=1.0, classes=(3, 8)):
    r"""Handwritten digits of two classes with labels $\pm 1$: 16 patches of 2 x 2 pixels, each pixel shifted to mean 0.

    Tokens are scaled to a mean square of $\mathrm{std}^2$ an entry. generators, samples, length, d, std: as for
    :func:`gaussian`; classes: the digit of label 1 and that of label -1, not the same. Returns X (S, n, 16, 4) and y (S, n).
    Raises WrongUse for another length or d, ImportError where scikit-learn is absent.
    """
    runs.check("classes", tuple(classes), "two different digits", classes[0] != classes[1])
    runs.check("length, d", (length, d), "(16, 4), the patches of a digit", (length, d) == (16, 4))
    tokens, labels = data.digits(patch=2)
    pool = torch.cat([torch.nonzero(labels == each)[:, 0] for each in classes])
    runs.check("samples", samples, f"from 2 to {len(pool)}", 2 <= samples <= len(pool))
    centred = tokens[pool] - tokens[pool].mean(dim=0)
    centred = std * centred / centred.square().mean().sqrt()
    signs = 2 * (labels[pool] == classes[0]).to(runs.DTYPE) - 1
    chosen = torch.stack([torch.randperm(len(pool), generator=g, device="cpu")[:samples] for g in generators])
    return centred[chosen], signs[chosen]


TASKS = {"gaussian": gaussian, "pairs": pairs, "digits": digits}
