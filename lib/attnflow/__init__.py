"""Gradient flow in Transformers: theory you can run.

What a researcher needs is here: a flow to integrate, an experiment, a claim with its control. A ground floor knows no paper;
each chapter is a room beside it, a package with a ``ROOM``; ``python -m attnflow`` is the roof.
"""

from attnflow.claims import (
    Above,
    Below,
    Between,
    Claim,
    Control,
    Exactly,
    Experiment,
    Near,
    Trial,
    evaluate,
    kinds,
)
from attnflow.flow import Descent, Heun, Momentum, Optimiser, integrate
from attnflow.rooms import cite

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
