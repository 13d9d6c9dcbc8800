r"""Shapes and options of the nets of chapter 5, and what its functions take of them: particles, masses and decays."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp
import torch

from attnflow import door, runs

HEADS, NEURONS = ("W_Q", "W_K", "W_V", "W_O"), ("w_1", "b", "w_2")
PARTS = {"attention": HEADS, "neurons": NEURONS}
ACTIVATIONS = {
    "relu": (torch.relu, lambda z, out: (z > 0).to(z.dtype)),
    "tanh": (torch.tanh, lambda z, out: 1 - out.square()),
    "identity": (lambda z: z, lambda z, out: torch.ones_like(z)),
}
# What multiplies a branch, and what multiplies the gradient to make the velocity of a particle: functions of J and m.
SCALINGS = {
    "mean field": (lambda depth, m: 1 / (depth * m), lambda depth, m: depth * m),
    "tangent": (lambda depth, m: 1 / (depth * math.sqrt(m)), lambda depth, m: depth),
    "sum over heads": (lambda depth, m: 1 / depth, lambda depth, m: depth / m),
    "sum over blocks": (lambda depth, m: 1 / m, lambda depth, m: m),
    "plain rate": (lambda depth, m: 1 / (depth * m), lambda depth, m: 1),
}


@dataclass(frozen=True)
class Net:
    """Shapes and options.

    d: token width; k: width of a head; depth: blocks J; m: heads, and neurons, of a block; parts: which of ``attention`` and
    ``neurons`` a block has; activation: of the neurons, one of ``ACTIVATIONS``; scaling: one of ``SCALINGS``; slot: the entry
    of the last token that is the output.
    """

    d: int = 3
    k: int = 1
    depth: int = 2
    m: int = 16
    parts: tuple = tuple(PARTS)
    activation: str = "tanh"
    scaling: str = "mean field"
    slot: int = 1

    def __post_init__(self):
        for name in ("d", "k", "depth", "m"):
            runs.integer(name, getattr(self, name))
        named = isinstance(self.parts, tuple) and len(self.parts) > 0
        runs.check("parts", self.parts, "a tuple with at least one of " + ", ".join(PARTS), named)
        runs.names("part", self.parts, tuple(PARTS))
        runs.choice("activation", self.activation, tuple(ACTIVATIONS))
        runs.choice("scaling", self.scaling, tuple(SCALINGS))
        runs.check("slot", runs.integer("slot", self.slot, 0), f"below d = {self.d}", self.slot < self.d)

    @property
    def branch(self) -> float:
        """What multiplies the sum over the heads, or the neurons, of a block: 1/(Jm)."""
        return SCALINGS[self.scaling][0](self.depth, self.m)

    @property
    def speed(self) -> float:
        """What multiplies the slope of the risk by a particle to make its velocity: Jm."""
        return SCALINGS[self.scaling][1](self.depth, self.m)

    @property
    def shapes(self) -> dict[str, tuple]:
        """The shape of each parameter in one run: name -> (J, m, ...)."""
        one = dict.fromkeys(HEADS[:3], (self.d, self.k)) | {"W_O": (self.k, self.d)}
        one |= {"w_1": (self.d,), "b": (), "w_2": (self.d,)}
        return {name: (self.depth, self.m, *one[name]) for part in PARTS for name in PARTS[part] if part in self.parts}

    @property
    def names(self) -> tuple:
        """The names of its parameters, heads first."""
        return tuple(self.shapes)


_OWN = dict.fromkeys(HEADS[:3], "d k") | {"W_O": "k d", "w_1": "d", "b": "", "w_2": "d"}  # the axes of one particle


def _particles_of(axes, least=1, most=2, among=tuple(PARTS)):
    """The kind of a state or a part of one: all of the heads, of the neurons, or both, with ``axes`` in front of their own."""
    words = [f"{part} {', '.join(PARTS[part])}" for part in among]
    allowed = (
        "a dict with "
        + (" and " if least > 1 else ", or with ").join(words)
        + (", or with both" * (least < most == len(among)))
    )
    kinds = {name: door.shaped(f"{axes} {own}") for name, own in _OWN.items()}

    def check(name, value, sizes):
        there = [part for part in among if isinstance(value, Mapping) and set(PARTS[part]) <= set(value)]
        known = tuple(each for part in there for each in PARTS[part])
        whole = least <= len(there) <= most and set(known) == set(value)
        runs.check(name, list(value) if isinstance(value, Mapping) else value, allowed, whole)
        wanted = sizes.setdefault("names", known)
        runs.check(name, known, f"a dict with {', '.join(wanted)}", known == wanted)
        for each in known:
            kinds[each](f"{name}[{each!r}]", value[each], sizes)

    return check


def _masses_of(axes):
    """The kind of the masses of the particles of a state that stands before them, with some ``axes`` each."""

    def check(name, value, sizes):
        parts = [part for part, names in PARTS.items() if names[0] in sizes["names"]]
        door.entries(dict.fromkeys(parts, axes))(name, value, sizes)

    return check


def _named_by(allowed, names, good):
    """The kind of a dict whose names are some of ``names`` and whose values are ``good``; allowed: that in words."""
    return door.is_a(
        allowed, lambda value: isinstance(value, dict) and set(value) <= names and all(map(good, value.values()))
    )


NET = door.instance(Net, d="d", k="k", J="depth", m="m", names="names")
STATE, BOTH = _particles_of("S J m"), _particles_of("S J m", least=2)
# Of a measure, whose blocks may have more particles than those of the net.
WIDE, MASSES, PLACES = (
    _particles_of("S J K"),
    _masses_of("S J K"),
    door.instance(Net, d="d", k="k", J="depth", names="names"),
)
WIDTHS = door.instance(Net, d="d", k="k")
THETA = _particles_of("S K", most=1)
HEAD, NEURON = (_particles_of("S K", among=(part,)) for part in PARTS)
DECAY = door.either(door.NONNEGATIVE, "nonnegative: S")
DECAYS = door.shaped("nonnegative: S")  # one a run
TOKENS, TARGETS = "S n L d", "S n"
# Of the derivations by sympy.
MATRICES = [dict.fromkeys(names, sp.MatrixBase) for names in PARTS.values()]
SHAPE = _named_by(
    "length, d and k, integers of at least 1",
    {"length", "d", "k"},
    lambda size: isinstance(size, int) and not isinstance(size, bool) and size > 0,
)
RATES = _named_by(
    f"a dict, one of {', '.join(HEADS)} -> a finite number",
    set(HEADS),
    lambda rate: isinstance(rate, (int, float)) and not isinstance(rate, bool) and math.isfinite(rate),
)
