"""Chapter 5: the mean-field limit, weight decay and global convergence."""

import importlib

from attnflow.rooms import Room

ROOM = Room(
    number=5,
    name="meanfield",
    title="The mean-field limit and weight decay",
    sections=(
        "particles",
        "dissipation",
        "balancing",
        "decay",
        "limit",
        "chaos",
        "power",
        "transport",
        "scatter",
        "risk",
        "collapse",
        "ceiling",
        "band",
        "phases",
        "scalings",
        "appendix",
    ),
    background=(
        "barboni2026training",
        "chizat2025hidden",
        "ding2022overparameterization",
        "huan2026meanfield",
        "kobayashi2024weight",
        "lu2020meanfield",
        "marcotte2025transformative",
        "ziyin2022exact",
    ),
)
PUBLIC = {"balance_decay": "decay", "hysteresis": "band"}


def __getattr__(name):
    """What is public of a section, imported when it is asked for, so that a room imports nothing else."""
    if name in PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
