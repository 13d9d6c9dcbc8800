"""What the book asks of Sphinx: the claims ledger, the stamp of the stored run, math in docstrings, pages that stay offline.

The ledger is drawn from ``results/claims.json`` when the book is built; nothing is run here.
"""

import json
import math
import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

STORED = "results/claims.json"
ABSENT = "No run is stored yet: `make claims` writes it."


def read_stored(directive):
    """The stored run of all claims, or None; the page is rebuilt when the file changes."""
    path = Path(directive.env.srcdir) / STORED
    directive.env.note_dependency(str(path))
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def anchor(claim_id):
    """The anchor of a claim on the ledger page.

    >>> anchor("foundations.heun-order")
    'claim-foundations-heun-order'
    """
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", claim_id.lower()).strip("-")


def inline(text):
    """Plain text with ``$math$``, ```code``` and ``*emphasis*`` as docutils nodes.

    >>> [type(node).__name__ for node in inline("the *square* of $x$")]
    ['Text', 'emphasis', 'Text', 'math']
    """
    kinds = {"$": nodes.math, "`": nodes.literal, "*": nodes.emphasis}
    found = []
    for part in re.split(r"(\$[^$]+\$|`[^`]+`|\*\w[^*$`]*\*)", str(text)):
        if len(part) > 2 and part[0] in kinds and part[0] == part[-1]:
            found.append(kinds[part[0]](part[1:-1], part[1:-1]))
        elif part:
            found.append(nodes.Text(part))
    return found


def short(value):
    """A stored value at three significant digits, or as it is when it is text.

    >>> short(0.123456), short(None), short("none"), short([1, 2.5])
    ('0.123', '–', 'none', '1, 2.5')
    """
    if value is None or value == "" or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(short(entry) for entry in value)
    return f"{value + 0.0:.3g}" if isinstance(value, (int, float)) else str(value)


def spread(values):
    """What was measured over the seeds: one value, or the least and the greatest.

    >>> spread([0.5, 0.25, 1.0]), spread([2, 2]), spread(3), spread([])
    ('0.25 to 1 over 3 seeds', '2 in 2 seeds', '3', '–')
    """
    if not isinstance(values, (list, tuple)):
        return short(values)
    finite = [value for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
    if not finite:
        return short(values)
    low, high = short(min(finite)), short(max(finite))
    if len(values) == 1:
        return low
    lost = f", {len(values) - len(finite)} of them not finite" if len(finite) < len(values) else ""
    return f"{low} in {len(values)} seeds{lost}" if low == high else f"{low} to {high} over {len(values)} seeds{lost}"


class Ledger(SphinxDirective):
    """``attnflow-ledger``: one section a chapter, one card a claim."""

    def run(self):
        """Draw the cards."""
        stored = read_stored(self)
        if stored is None:
            return [nodes.paragraph("", "", *inline(ABSENT))]
        chapters = {}
        for claim in stored["claims"]:
            chapters.setdefault(claim["chapter"], []).append(claim)
        drawn = [self.summary(stored["claims"])]
        for name, claims in chapters.items():
            section = nodes.section(ids=[f"ledger-{name}"], names=[f"ledger-{name}"])
            section += nodes.title("", "", nodes.Text(name.capitalize()))
            page = next((doc for doc in sorted(self.env.found_docs) if doc.endswith(f"_{name}")), None)
            if page:
                section += self.markdown(f"Derived, run and discussed in {{doc}}`/{page}`.")
            section += [self.card(claim) for claim in claims]
            drawn.append(section)
        return drawn

    def markdown(self, text):
        """Parse one line of the page's own language."""
        holder = nodes.container()
        self.state.nested_parse(StringList([text], source=self.env.docname), self.content_offset, holder)
        return holder.children

    def summary(self, claims):
        """One sentence that counts the verdicts."""
        states = {}
        for claim in claims:
            states[claim["state"]] = states.get(claim["state"], 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in states.items())
        failing = sum(bool(claim["control_fails"]) for claim in claims if claim.get("control"))
        controlled = sum(bool(claim.get("control")) for claim in claims)
        text = f"{len(claims)} claims: {told}. Controls that fail as they must: {failing} of {controlled}."
        return nodes.paragraph("", "", nodes.Text(text), classes=["ledger-summary"])

    def card(self, claim):
        """One claim: its statement, then what was predicted, what was measured and what its control did."""
        key = anchor(claim["id"])
        section = nodes.section(ids=[key], names=[key], classes=["claim"])
        self.state.document.note_explicit_target(section, section)
        section += nodes.title("", "", *inline(claim.get("title") or claim["id"]))
        head = nodes.paragraph("", classes=["claim-head"])
        kind = "reproduced" if claim["state"].startswith("reproduced") else "open"
        head += nodes.inline("", claim["state"], classes=["claim-state", f"claim-{kind}"])
        head += nodes.Text(" ")
        head += nodes.literal("", claim["id"])
        section += head
        section += nodes.paragraph("", "", *inline(claim["statement"]), classes=["claim-statement"])
        margin = "" if claim.get("margin") is None else f" (margin {short(claim['margin'])})"
        rows = []
        if claim["state"] != "not testable here":
            rows = [
                ("Predicted", spread(claim.get("predicted"))),
                ("Measured", spread(claim.get("measured"))),
                ("Criterion", f"{claim['criterion']}: {'holds' if claim['holds'] else 'does not hold'}{margin}"),
            ]
        if claim.get("control"):
            verdict = "fails, as it must" if claim["control_fails"] else "does not fail"
            rows.append(("Control", f"{claim['control']}: {spread(claim.get('control_measured'))}, {verdict}"))
        rows.append(("Source", claim["provenance"]))
        table = nodes.definition_list(classes=["claim-rows"])
        for term, text in rows:
            body = nodes.paragraph("", "", *inline(text))
            if term == "Source" and claim.get("cite"):
                cited = self.markdown("{cite}`" + ",".join(claim["cite"]) + "`")
                body += [nodes.Text(". "), *cited[0].children]
            item = nodes.definition_list_item("", nodes.term("", term), nodes.definition("", body))
            table += item
        section += table
        return section


class Environment(SphinxDirective):
    """``attnflow-environment``: the machine and the versions of the stored run."""

    def run(self):
        """Draw a definition list of the environment, in the order in which it was stored."""
        stored = read_stored(self)
        if stored is None:
            return [nodes.paragraph("", "", *inline(ABSENT))]
        table = nodes.definition_list(classes=["claim-rows"])
        for name, value in stored["environment"].items():
            body = nodes.definition("", nodes.paragraph("", "", nodes.Text(str(value))))
            table += nodes.definition_list_item("", nodes.term("", name), body)
        return [table]


TOKEN = re.compile(r"(``.+?``|\$\$.+?\$\$|\$.+?\$|:[\w:]+:`[^`]+`|`[^`]+`|(?<!\w)\*\w[\w -]*\*(?!\w))", re.S)


def as_rst(paragraph):
    r"""One paragraph of a docstring, written with ``$math$``, as reStructuredText that warns of nothing.

    >>> as_rst("along $A^\\top B$, (S, *shape)")
    'along :math:`A^\\top B`, (S, \\*shape)'
    """
    parts = TOKEN.split(paragraph)
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(r"([*|])", r"\\\1", parts[at])
        parts[at] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", parts[at])
    for at in range(1, len(parts), 2):
        token = parts[at]
        if token.startswith("$$"):
            parts[at] = "\n\n.. math::\n\n   " + " ".join(token[2:-2].split()) + "\n\n"
            continue
        if token.startswith("$"):
            token = ":math:`" + " ".join(token[1:-1].split()) + "`"
        elif token.startswith("`") and not token.startswith("``"):
            token = f"`{token}`"
        before = r"\ " if re.search(r"\w$", parts[at - 1]) else ""
        after = r"\ " if re.match(r"\w", parts[at + 1]) else ""
        parts[at] = before + token + after
    return "".join(parts)


def docstring(app, what, name, obj, options, lines):
    """Docstrings are written for people, with ``$...$``: turn the math into roles and leave doctests alone."""
    blocks = re.split(r"(\n\s*\n)", "\n".join(lines))
    done = [block if block.lstrip().startswith(">>>") else as_rst(block) for block in blocks]
    lines[:] = "".join(done).split("\n")


# What the theme writes and a page that is read from a disk, without a network, is better without.
TIDY = (
    (r'<link rel="preload" as="font"[^>]*>\n?', ""),  # blocked on file: addresses, and reported as an error
    (r"<script>const THEBE_JS_URL[^<]*</script>\n?", ""),  # live code from a CDN, declared twice; not offered here
    (r'<script type="text/x-thebe-config">.*?</script>\n?', ""),
    (r"<script>kernelName = [^<]*</script>\n?", ""),
    (r"<(script|link)[^>]*sphinx-thebe\.(js|css)[^>]*>(</script>)?\n?", ""),
    (r' id="(proof|exercise|solution)(-content)?"', ""),  # the same on every box of a page
    (r'role="doc-biblioentry"', 'role="listitem"'),  # the list around it may hold list items only
    (r'(<button[^>]*search-button-field[^>]*) aria-label="Search"', r"\1"),  # its visible text names it
)


def tidy(html):
    """One page without what the theme should not have written.

    >>> tidy('<link rel="preload" as="font" crossorigin href="x.woff2" /><p role="doc-biblioentry">')
    '<p role="listitem">'
    """
    for pattern, replacement in TIDY:
        html = re.sub(pattern, replacement, html, flags=re.S)
    return html


def tidy_site(app, exception):
    """Tidy every page of a finished build."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            before = path.read_text(encoding="utf-8")
            after = tidy(before)
            if after != before:
                path.write_text(after, encoding="utf-8")
        for name in ("sphinx-thebe.js", "sphinx-thebe.css"):
            (Path(app.outdir) / "_static" / name).unlink(missing_ok=True)


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", tidy_site)
    app.add_directive("attnflow-ledger", Ledger)
    app.add_directive("attnflow-environment", Environment)
    app.connect("autodoc-process-docstring", docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
