r"""Integrate a gradient flow $\dot\theta = -\nabla\mathcal L(\theta)$ on a stack of runs.

A state is a dict of tensors whose leading axis is the stack: ``{"W_Q": (S, d, k), ...}``. A *field* is a function of a
state that returns ``(loss, gradient)``: (S,) and a dict like the state. A single run is a stack of one.
"""

from attnflow.flow.advance import Advance, Stepper
from attnflow.flow.engines import asked, noted
from attnflow.flow.fields import at_rates, autograd, decayed, in_blocks, with_kernel
from attnflow.flow.integrate import integrate, log_times
from attnflow.flow.nudge import nudged
from attnflow.flow.record import Ended, Record, Rising
from attnflow.flow.reference import reference
from attnflow.flow.steppers import Descent, Heun, Momentum, Optimiser, RungeKutta

__all__ = [
    "Advance",
    "Descent",
    "Ended",
    "Heun",
    "Momentum",
    "Optimiser",
    "Record",
    "Rising",
    "RungeKutta",
    "Stepper",
    "asked",
    "at_rates",
    "autograd",
    "decayed",
    "in_blocks",
    "integrate",
    "log_times",
    "noted",
    "nudged",
    "reference",
    "with_kernel",
]
