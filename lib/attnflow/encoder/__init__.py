"""Room of chapter 3: an encoder-only shallow Transformer, its scaling and its initialisation."""

from attnflow.rooms import Room

ROOM = Room(
    number=3,
    name="encoder",
    title="Scaling and initialisation in a shallow encoder",
    sections=("balancing", "theorem", "rates", "limits", "lazy", "flips", "pairs", "vision"),
    background=("arda2026shallow", "qin2025residual", "minoza2026linearized"),
)
