"""The check of the arguments of a call that comes from outside."""

import functools
import inspect
import threading
from collections.abc import Callable

import torch

from attnflow.door.kinds import DEVICE, SEEDS, STREAMS, is_a, kind_of
from attnflow.door.shapes import Sizes

KNOWN = {
    "seeds": SEEDS,
    "device": DEVICE,
    "generators": STREAMS,
    "generator": is_a("a torch.Generator", lambda value: isinstance(value, torch.Generator)),
}
_here = threading.local()


def takes(**kinds: object) -> Callable:
    """A decorator that checks the arguments of a public function, unless it is called from inside another one.

    kinds: parameter -> what it may be: a kind of this module, such as ``COUNT`` or ``choice("softmax", "exp")``; the text of
    a shape, see :func:`shaped`; a dict name -> kind, see :func:`entries`; a class, for its objects. Parameters that mean the
    same everywhere, such as seeds, need no word: see ``KNOWN``. Raises TypeError for a parameter that the function lacks.
    """

    def guard(function):
        parameters = inspect.signature(function).parameters
        if unknown := set(kinds) - set(parameters):
            raise TypeError(f"{function.__qualname__} has no parameter {', '.join(sorted(unknown))}")
        checks = {name: kind_of(kind) for name, kind in (KNOWN | kinds).items() if name in parameters}
        order = sorted(
            (name for name in parameters if name in checks), key=lambda name: not hasattr(checks[name], "first")
        )
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args, **kwargs):
            if getattr(_here, "inside", False):
                return function(*args, **kwargs)
            arguments = signature.bind(*args, **kwargs).arguments
            sizes = Sizes(arguments)
            for name in order:
                several = parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                value = arguments.get(name, () if several else parameters[name].default)
                if value is not parameters[name].default:
                    checks[name](name, value, sizes)
            _here.inside = True
            try:
                return function(*args, **kwargs)
            finally:
                _here.inside = False

        return checked

    return guard
