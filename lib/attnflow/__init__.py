"""Gradient flow in Transformers: theory you can run.

What a researcher needs is here: a flow to integrate, an experiment, a claim with its control. A ground floor knows no paper;
each chapter is a room beside it, a package with a ``ROOM``; ``python -m attnflow`` is the roof.
"""

import importlib

__all__ = [
    "Above",
    "Below",
    "Between",
    "Claim",
    "Control",
    "Descent",
    "Exactly",
    "Experiment",
    "Heun",
    "Momentum",
    "Near",
    "Optimiser",
    "Trial",
    "cite",
    "evaluate",
    "integrate",
    "kinds",
]
__version__ = "0.1.0"
MODULES = (
    "citations",
    "claims",
    "flow",
    "rooms",
    "runs",
)  # there after ``import attnflow``, as what is in ``__all__`` is


def __getattr__(name):
    """What is public here, imported when it is first asked for: torch takes seconds, and a help text does not need it."""
    if name in MODULES:
        return importlib.import_module(f"attnflow.{name}")
    if name in __all__:
        from attnflow import claims, flow, rooms

        return next(getattr(home, name) for home in (claims, flow, rooms) if hasattr(home, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *MODULES})
