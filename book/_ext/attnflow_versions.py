"""The releases with which the library was tried, drawn from ``results/versions.json`` when the book is built."""

import json
from pathlib import Path

from attnflow_words import inline, table
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

STORED = "results/versions.json"
ABSENT = "No table is stored yet: `make versions` writes it."


def told(row):
    """What became of one row of the table, as its term and its text.

    >>> row = {"releases": "oldest", "python": "3.11.7", "versions": {"numpy": "2.0.0"}}
    >>> row |= {"claims": {"passed": 3, "failed": ["a.b"]}}
    >>> told(row | {"units": {"passed": 9, "skipped": 1, "failed": []}})
    ('oldest, Python 3.11.7', 'Unit tests: all 9 pass (1 skipped). Claims: 3 of 4 as stated, not `a.b`. With numpy 2.0.0.')
    >>> told({"releases": "newest", "python": "3.13", "error": "No matching distribution"})
    ('newest, Python 3.13', 'Could not be installed: No matching distribution')
    """
    term = f"{row['releases']}, Python {row['python']}"
    if row.get("error"):
        return term, f"Could not be installed: {row['error']}"
    units, claims = row["units"], row["claims"]
    count = units["passed"] + len(units["failed"])
    tests = (
        f"{units['passed']} of {count} pass, not {_listed(units['failed'])}" if units["failed"] else f"all {count} pass"
    )
    tests += f" ({units['skipped']} skipped)" if units["skipped"] else ""
    rows = f"{claims['passed']} of {claims['passed'] + len(claims['failed'])} as stated"
    rows += f", not {_listed(claims['failed'])}" if claims["failed"] else ""
    with_these = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return term, f"Unit tests: {tests}. Claims: {rows}. With {with_these}."


def _listed(names):
    """Names as code, one after the other."""
    return ", ".join(f"`{name}`" for name in names)


class Versions(SphinxDirective):
    """``attnflow-versions``: when and where it was tried, and one line an environment."""

    def run(self):
        """Draw a sentence and a definition list, in the order in which they were run."""
        path = Path(self.env.srcdir) / STORED
        self.env.note_dependency(str(path))
        if not path.exists():
            return [nodes.paragraph("", "", *inline(ABSENT))]
        stored = json.loads(path.read_text(encoding="utf-8"))
        missing = " and ".join(stored["not run"])
        absent = f" The newest releases were not run on Python {missing}." if missing else ""
        text = f"Run on {stored['date']}, on {stored['system']}, with the {len(stored['claims'])} claims.{absent}"
        return [nodes.paragraph("", text), table((term, inline(text)) for term, text in map(told, stored["runs"]))]
