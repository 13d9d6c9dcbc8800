"""The one bibliography, which the book reads too."""

import re
from functools import lru_cache
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")


@lru_cache
def entries() -> dict[str, str]:
    """All entries of the bibliography: key -> BibTeX text."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{([^,\s]+),.*?^\}", text, re.M | re.S)
    return {match.group(1): match.group(0) for match in found}
