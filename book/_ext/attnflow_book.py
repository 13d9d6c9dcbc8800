"""What the book asks of Sphinx: the ledger, the pages of the library, math in docstrings, pages that stay offline."""

import re
from pathlib import Path

import attnflow_api
import attnflow_ledger
import attnflow_versions

# What the theme writes and a page that is read from a disk, without a network, is better without.
TIDY = (
    (r'<link rel="preload" as="font"[^>]*>\n?', ""),  # blocked on file: addresses, and reported as an error
    (r"<script>const THEBE_JS_URL[^<]*</script>\n?", ""),  # live code from a CDN, declared twice; not offered here
    (r'<script type="text/x-thebe-config">.*?</script>\n?', ""),
    (r"<script>kernelName = [^<]*</script>\n?", ""),
    (r"<(script|link)[^>]*sphinx-thebe\.(js|css)[^>]*>(</script>)?\n?", ""),
    (r' id="(proof|exercise|solution)(-content)?"', ""),  # the same on every box of a page
    (r'(<summary) aria-label="Toggle hidden content"', r"\1"),  # its visible text names it
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
    app.add_directive("attnflow-ledger", attnflow_ledger.Ledger)
    app.add_directive("attnflow-claim", attnflow_ledger.Told)
    app.add_directive("attnflow-environment", attnflow_ledger.Environment)
    app.add_directive("attnflow-sensitivity", attnflow_ledger.Sensitivity)
    app.add_directive("attnflow-versions", attnflow_versions.Versions)
    app.add_directive("attnflow-api", attnflow_api.Library)
    app.connect("autodoc-process-docstring", attnflow_api.docstring)
    app.connect("autodoc-process-signature", attnflow_api.signature)
    app.connect("autodoc-skip-member", attnflow_api.alias)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
