"""What a public function takes: said once, above it, and checked at the door.

``@door.takes(inputs="S n L d", labels="S n", step=door.POSITIVE)`` refuses anything else with one clear line. A call from
outside the library is checked; what the library hands to itself on the way is not checked again, so that a loop pays nothing.
The default of a parameter is always taken.
"""

from attnflow.door.kinds import (
    COUNT,
    DEVICE,
    EXPRESSION,
    FLAG,
    FUNCTION,
    INDEX,
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
    SEEDS,
    SHARE,
    STREAMS,
    TEXT,
    VELOCITY,
    choice,
    either,
    entries,
    instance,
    is_a,
    named,
    real,
    several,
    shaped,
    symbolic,
    together,
    whole,
)
from attnflow.door.takes import takes

__all__ = [
    "COUNT",
    "DEVICE",
    "EXPRESSION",
    "FLAG",
    "FUNCTION",
    "INDEX",
    "NONNEGATIVE",
    "NUMBER",
    "POSITIVE",
    "SEEDS",
    "SHARE",
    "STREAMS",
    "TEXT",
    "VELOCITY",
    "choice",
    "either",
    "entries",
    "instance",
    "is_a",
    "named",
    "real",
    "several",
    "shaped",
    "symbolic",
    "takes",
    "together",
    "whole",
]
