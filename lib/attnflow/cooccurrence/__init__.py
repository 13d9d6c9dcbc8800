"""Chapter 2: a Transformer learns that two words occur together."""

from attnflow.rooms import Room

ROOM = Room(
    number=2,
    name="cooccurrence",
    title="Learning that two words occur together",
    sections=("balancing", "ratio", "phases", "sweeps", "stops"),
    background=("tarzanagh2023transformers",),
)
