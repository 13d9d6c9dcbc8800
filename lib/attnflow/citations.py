"""BibTeX for what a chapter rests on, from the one bibliography that the book reads too."""

import re
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
CHAPTERS = {
    "foundations": (
        "du2018balanced",
        "arora2018optimization",
        "saxe2014exact",
        "kunin2021neural",
        "marcotte2023abide",
        "marcotte2025transformative",
    ),
    "cooccurrence": (
        "yang2024cooccurrence",
        "soudry2018implicit",
        "ji2021characterizing",
        "lyu2020gradient",
        "tarzanagh2023transformers",
        "du2018balanced",
        "marcotte2023abide",
    ),
    "encoder": (
        "wu2023encoder",
        "nguyen2020pyramidal",
        "jacot2018ntk",
        "cho2009kernel",
        "chizat2019lazy",
        "lewkowycz2020large",
        "sakai2025attention",
        "du2018balanced",
        "marcotte2023abide",
        "marcotte2025transformative",
    ),
}


def entries():
    """All entries of the bibliography. Returns a dict, key -> BibTeX text."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{([^,\s]+),.*?^\}", text, re.M | re.S)
    return {match.group(1): match.group(0) for match in found}


def cite(chapter):
    """BibTeX of the works that one chapter rests on.

    chapter: one of the chapter names of the command line, for example ``"foundations"``. Returns text.
    Raises ValueError when there is no such chapter.

    >>> cite("foundations").splitlines()[0]
    '@inproceedings{du2018balanced,'
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"chapter = {chapter!r} is not allowed: it must be one of {', '.join(sorted(CHAPTERS))}")
    known = entries()
    return "\n\n".join(known[key] for key in CHAPTERS[chapter])
