"""Checks of what comes from outside that need neither numpy nor torch. :mod:`attnflow.runs` gives them out beside its own."""

# What may be named in a call of the library and on the command line: what takes the steps, and the workers of a sweep.
ENGINES = ("auto", "torch", "numba", "graph")
BACKENDS = ("loky", "threading", "dask")


class WrongUse(ValueError):
    """The caller gave something that is not allowed: the message says what was given and what is allowed."""


def check(name: str, value: object, allowed: str, ok: bool) -> object:
    """Raise one clear WrongUse unless ``ok``, else return ``value``; ``name`` and ``allowed`` go into the message.

    >>> check("width", 0, "an integer of at least 1", False)
    Traceback (most recent call last):
    attnflow.inputs.WrongUse: width = 0 is not allowed: it must be an integer of at least 1
    """
    if not ok:
        shown = " ".join(repr(value).split())
        raise WrongUse(f"{name} = {shown} is not allowed: it must be {allowed}")
    return value


def choice(name: str, value: object, options: tuple) -> object:
    """Check that ``value``, called ``name``, is one of ``options`` and return it."""
    return check(name, value, "one of " + ", ".join(map(str, options)), value in options)
