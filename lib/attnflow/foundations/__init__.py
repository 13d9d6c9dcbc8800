"""Chapter 1: gradient flow, and what it keeps."""

from attnflow.rooms import Room

ROOM = Room(
    number=1,
    name="foundations",
    title="Gradient flow, and what it keeps",
    sections=("balancing", "breaking", "counting", "solvable"),
    background=("yang2024cooccurrence",),
)
