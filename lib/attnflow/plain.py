"""Settings as plain Python: what JSON can hold, and so what can be stored and found again."""

import numpy as np
import torch

from attnflow import files, runs


def values(name: str, given: object) -> tuple:
    """The values of a setting called ``name``, a list, tuple, range or 1-D array ``given``, each as :func:`value` has it.

    >>> values("rate", np.linspace(0, 1, 3))
    (0.0, 0.5, 1.0)
    """
    if isinstance(given, (np.ndarray, torch.Tensor)) and given.ndim == 1:
        given = given.tolist()
    some = isinstance(given, (list, tuple, range)) and len(given) > 0
    runs.check(f"values of {name}", given, "a list, a tuple, a range or a 1-D array, and not empty", some)
    return tuple(value(name, one) for one in given)


def value(name: str, given: object) -> object:
    """A value ``given`` for a setting called ``name``, with numbers of Python in place of those of numpy and torch.

    Raises WrongUse for what JSON cannot hold.
    """
    try:
        found = _bare(given)
        files.json_text(found)
        return found
    except (TypeError, ValueError, RecursionError):
        return runs.check(name, given, "a finite number, a text, a bool, None, or a list, tuple or dict of them", False)


def _bare(given):
    """A value with numbers of Python; a dict whose names are no texts is refused, since JSON would rename them."""
    if type(given) in (list, tuple):
        return type(given)(map(_bare, given))
    if isinstance(given, dict):
        if not all(isinstance(key, str) for key in given):
            raise TypeError(given)
        return {key: _bare(one) for key, one in given.items()}
    scalar = isinstance(given, (np.generic, np.ndarray, torch.Tensor)) and given.ndim == 0
    return given.item() if scalar else given
