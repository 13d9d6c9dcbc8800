"""Words that directives of this book write: plain text with some markup as nodes of docutils, and lists of terms."""

import re

from docutils import nodes


def inline(text):
    """Plain text with ``$math$``, ```code``` and ``*emphasis*`` as docutils nodes.

    >>> [type(node).__name__ for node in inline("the *square* of $x$")]
    ['Text', 'emphasis', 'Text', 'math']
    >>> inline("of :mod:`attnflow.flow`")[1].astext()
    'attnflow.flow'
    """
    kinds = {"$": nodes.math, "`": nodes.literal, "*": nodes.emphasis}
    found = []
    for part in re.split(r"(\$[^$]+\$|`[^`]+`|\*\w[^*$`]*\*)", re.sub(r":[a-z]+:(?=`)", "", text)):
        if len(part) > 2 and part[0] in kinds and part[0] == part[-1]:
            found.append(kinds[part[0]](part[1:-1], part[1:-1]))
        elif part:
            found.append(nodes.Text(part))
    return found


def table(pairs):
    """A definition list of (term, nodes of its text)."""
    drawn = nodes.definition_list(classes=["claim-rows"])
    for term, text in pairs:
        body = nodes.definition("", nodes.paragraph("", "", *text))
        drawn += nodes.definition_list_item("", nodes.term("", term), body)
    return drawn
