"""Real data small enough for every machine: scikit-learn's handwritten digits, as sequences of patches."""

import functools

import torch

from attnflow import runs
from attnflow.runs import Stack


@functools.lru_cache
def digits(patch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """The 1797 digits of scikit-learn, 8 x 8 pixels each, cut into square patches: one patch, one token.

    patch: side of a patch, 1, 2 or 4. Returns tokens (1797, L, patch**2) with pixel values in [-1, 1], float64, row by
    row, and labels (1797,) from 0 to 9. Raises ImportError with one clear line where scikit-learn is absent.
    """
    runs.choice("patch", patch, (1, 2, 4))
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits need scikit-learn, which is not installed: pip install scikit-learn") from error
    stored = load_digits()
    images = torch.as_tensor(stored.images, dtype=runs.DTYPE, device="cpu") / 8 - 1
    side = 8 // patch
    tokens = images.reshape(-1, side, patch, side, patch).transpose(2, 3).reshape(len(images), side * side, patch**2)
    return tokens, torch.as_tensor(stored.target, dtype=torch.long, device="cpu")


def subsets(generators: list, count: int, test: int = 0, patch: int = 2) -> tuple[Stack, Stack]:
    """A fresh random choice of digits a run, and another of test digits that shares no image with it.

    generators: one a run. Returns tokens (S, count + test, L, patch**2) and labels (S, count + test), the test digits last.
    Raises ValueError when more digits are asked for than there are.
    """
    tokens, labels = digits(patch)
    total = runs.integer("count", count) + runs.integer("test", test, least=0)
    runs.check("count + test", total, f"at most {len(labels)}, the number of digits", total <= len(labels))
    chosen = torch.stack(
        [torch.randperm(len(labels), generator=g, device="cpu")[:total] for g in runs.generators(generators)]
    )
    return tokens[chosen], labels[chosen]
