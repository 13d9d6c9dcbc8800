"""What a room is: one chapter's package, found by the ROOM that it holds. This file knows no room by name."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from attnflow import citations, inputs


@dataclass(frozen=True)
class Room:
    """What a chapter says of itself.

    number: of the chapter; name: of the package and of the chapter's claims; title: of the chapter; sections: modules of the
    package in reading order, each with its ``CLAIMS`` and, where it has any, its ``SWEEPS``; background: works that the text
    cites beside those of the claims.
    """

    number: int
    name: str
    title: str
    sections: tuple
    background: tuple = ()

    @cached_property
    def modules(self) -> list:
        """The sections, imported."""
        return [importlib.import_module(f"attnflow.{self.name}.{section}") for section in self.sections]

    @property
    def page(self) -> str:
        """The chapter's notebook, without its ending."""
        return f"{self.number}_{self.name}"

    @property
    def claims(self) -> tuple:
        """All claims of the chapter, in reading order. Raises WrongUse where an id or a title is used twice."""
        found = tuple(claim for module in self.modules for claim in module.CLAIMS)
        return unique(found)

    @property
    def claim(self) -> dict:
        """The same by name, without that of the chapter: name -> Claim."""
        return {claim.name: claim for claim in self.claims}

    def verdicts(self, seeds: Sequence[int], device: object = None) -> Mapping:
        """The rows of these claims on ``seeds``, on a ``device``, each run when it is asked for: name -> Row."""
        from attnflow.claims.evaluation import Verdicts  # here, since rooms are found without torch

        return Verdicts(self.claims, seeds, device)

    @property
    def sweeps(self) -> tuple:
        """All sweeps of the chapter."""
        return tuple(sweep for module in self.modules for sweep in getattr(module, "SWEEPS", ()))

    @property
    def cites(self) -> tuple:
        """Keys of all works that the chapter rests on: those of its claims and its background, in the order of the alphabet."""
        return tuple(sorted({key for claim in self.claims for key in claim.cite} | set(self.background)))


def unique(claims: Sequence) -> tuple:
    """Check that no two ``claims`` share an id or, in one chapter, a title, and return them."""
    known = isinstance(claims, (list, tuple)) and all(hasattr(claim, "control") for claim in claims)
    inputs.check("claims", claims, "a list of Claim", known)
    ids, titles = [claim.id for claim in claims], [(claim.chapter, claim.title) for claim in claims]
    for name, found in (("claim id", ids), ("title", titles)):
        twice = [one for one in found if found.count(one) > 1]
        inputs.check(name, twice[0] if twice else "", "used once", not twice)
    return tuple(claims)


@lru_cache
def rooms() -> dict[str, Room]:
    """All rooms of the library, name -> Room, in the order of the book."""
    roots = sorted(Path(__file__).parent.glob("*/__init__.py"))
    names = [root.parent.name for root in roots if re.search(r"^ROOM\b", root.read_text(encoding="utf-8"), re.M)]
    found = sorted((importlib.import_module(f"attnflow.{name}").ROOM for name in names), key=lambda room: room.number)
    return {room.name: room for room in found}


def room(chapter: str) -> Room:
    """The room of a ``chapter``, by its name. Raises WrongUse when there is none."""
    return rooms()[inputs.choice("chapter", chapter, tuple(rooms()))]


def cite(chapter: str) -> str:
    """BibTeX of the works that one ``chapter`` rests on: all that its claims and its text cite. Returns text.

    chapter: one of the chapter names of the command line, for example ``"foundations"``. Raises WrongUse when there is none.

    >>> cite("foundations").splitlines()[0]
    '@inproceedings{arora2018optimization,'
    """
    known = citations.entries()
    return "\n\n".join(known[key] for key in room(chapter).cites)
