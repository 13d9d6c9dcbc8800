"""Data of chapter 5: regression in context, and digits; every sequence ends with a token that asks for its answer."""

import torch

from attnflow import data, door, runs
from attnflow.meanfield import nets
from attnflow.runs import Stack

DATA = ("regression", "digits")
PAIR = (3, 8)  # the two digits that are told apart
WIDTH = {"regression": 3, "digits": 7}
SLOT = {"regression": 1, "digits": 5}  # the entry of the last token that is the answer, 0 before the first block


@door.takes(samples=door.COUNT, length=door.whole(2))
def regression(generators: list, samples: int, length: int) -> tuple[Stack, Stack]:
    r"""Sequences of L tokens $(x_i, y_i, 0)$ with $y_i = wx_i$, of which the last is $(x_L, 0, 1)$ and asks for $y_L$.

    Places x are uniform on $[-1, 1]$ and slopes w on $[-2, 2]$: bounded, so that one step size suits most draws.
    generators: one a run; samples, length: n, with one slope each, at least 1, and L, at least 2. Returns X (S, n, L, 3) and
    y (S, n).
    """
    drawn = torch.stack([_uniform(one, samples, length + 1) for one in generators])
    slopes, places = 2 * drawn[:, :, :1], drawn[:, :, 1:]
    answers = slopes * places
    tokens = torch.stack([places, answers, torch.zeros_like(places)], dim=-1)
    tokens[:, :, -1, 1], tokens[:, :, -1, 2] = 0.0, 1.0
    return tokens, answers[:, :, -1]


def _uniform(generator, *shape):
    """Entries that are uniform on [-1, 1]."""
    return 2 * torch.rand(*shape, generator=generator, dtype=runs.DTYPE, device="cpu") - 1


@door.takes(samples=door.COUNT)
def digits(generators: list, samples: int) -> tuple[Stack, Stack]:
    """Handwritten digits of two kinds as four tokens, the rows of a 4 x 4 picture, and a fifth that asks which kind it is.

    A token is (four pixels, the place of the row from -1 to 1, the answer, whether it asks). generators: one a run; samples: n.
    Returns X (S, n, 5, 7) and y (S, n), -1 for the first of ``PAIR`` and 1 for the second. Raises WrongUse where there are
    fewer digits.
    """
    pixels, labels = data.digits(patch=2)
    known = (labels == PAIR[0]) | (labels == PAIR[1])
    rows, signs = pixels[known].mean(dim=-1).unflatten(1, (4, 4)), (labels[known] == PAIR[1]).to(runs.DTYPE) * 2 - 1
    runs.check("samples", samples, f"at most {len(rows)}, all there are", samples <= len(rows))
    order = [torch.randperm(len(rows), generator=one, device="cpu")[:samples] for one in generators]
    tokens = torch.zeros(len(order), samples, 5, 7, dtype=runs.DTYPE, device="cpu")
    chosen = torch.stack(order)
    tokens[:, :, :4, :4], tokens[:, :, :4, 4] = rows[chosen], torch.linspace(-1, 1, 4, dtype=runs.DTYPE, device="cpu")
    tokens[:, :, 4, 6] = 1.0
    return tokens, signs[chosen]


@door.takes(inputs=nets.TOKENS, targets=nets.TARGETS)
def pulls(inputs: Stack, targets: Stack) -> dict[str, Stack]:
    r"""What pulls particles from zero: $b = \frac1n\sum y\,\bar x$ the heads, $a = \frac1n\sum y\,(x_L, 1)$ the neurons.

    inputs: X (S, n, L, d), with the token mean $\bar x$ and the last token $x_L$; targets: y (S, n). Returns ``attention``
    (S, d) and ``neurons`` (S, d + 1).
    """
    mean, last = inputs.mean(dim=2), inputs[:, :, -1]
    asked = torch.cat([last, torch.ones_like(last[..., :1])], dim=-1)
    weight = targets[..., None] / inputs.shape[1]
    return {"attention": (weight * mean).sum(dim=1), "neurons": (weight * asked).sum(dim=1)}
