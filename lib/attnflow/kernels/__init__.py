"""Chapter 4: softmax against Gaussian attention."""

import importlib

from attnflow.rooms import Room

ROOM = Room(
    number=4,
    name="kernels",
    title="Softmax against Gaussian attention",
    sections=(
        "balancing",
        "imbalance",
        "counting",
        "values",
        "queries",
        "trap",
        "landscape",
        "slices",
        "generic",
        "race",
        "images",
    ),
    background=("castin2025unified", "chen2021skyformer"),
)


def __getattr__(name):
    """What is public of a section, imported when it is asked for, so that a room imports nothing else."""
    if name == "trap_share":
        return importlib.import_module(f"{__name__}.basins").trap_share
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
