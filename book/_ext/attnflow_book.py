"""What the book asks of Sphinx: the ledger, the pages of the library, math in docstrings, pages that stay offline."""

import re
from pathlib import Path

import attnflow_api
import attnflow_cited
import attnflow_filters
import attnflow_icons
import attnflow_landing
import attnflow_lean
import attnflow_ledger
import attnflow_modules
import attnflow_page
import attnflow_results
import attnflow_search
import attnflow_speed
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
    (r'<script[^>]* src="[^"]*(searchtools|language_data|sphinx_highlight|searchindex)\.js[^>]*></script>\n?', ""),
    (r'<script src="[^"]*fontawesome[^"]*"></script>\n?', ""),  # the font alone shows its icons
    (r'(<button[^>]*search-button-field[^>]*) aria-label="Search"', r"\1"),  # its visible text names it
    (r'(<a href="[^"]*portable/[^"/]+\.ipynb") target="_blank"', r"\1 download"),  # to be saved, not to be shown
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
            after = attnflow_page.linked(tidy(before))
            if after != before:
                path.write_text(after, encoding="utf-8")
        for name in ("sphinx-thebe.js", "sphinx-thebe.css"):
            (Path(app.outdir) / "_static" / name).unlink(missing_ok=True)


def setup(app):
    """Register with Sphinx."""
    attnflow_lean.setup(app)
    app.connect("build-finished", tidy_site)
    app.connect("builder-inited", attnflow_search.spare)
    app.connect("build-finished", attnflow_icons.keep)
    app.connect("build-finished", attnflow_search.write_index)
    app.connect("doctree-read", attnflow_page.foot)
    app.connect("doctree-resolved", attnflow_cited.add)
    app.connect("html-page-context", attnflow_page.head)
    app.add_directive("attnflow-headline", attnflow_ledger.Headline)
    app.add_directive("attnflow-exceptions", attnflow_ledger.Exceptions)
    app.add_directive("attnflow-statements", attnflow_ledger.Statements)
    app.add_directive("attnflow-ledger", attnflow_ledger.Ledger)
    app.connect("doctree-resolved", attnflow_filters.folded)
    app.add_directive("attnflow-claim", attnflow_ledger.Told)
    app.add_directive("attnflow-environment", attnflow_ledger.Environment)
    app.add_directive("attnflow-sensitivity", attnflow_ledger.Sensitivity)
    app.add_directive("attnflow-versions", attnflow_versions.Versions)
    app.add_directive("attnflow-speed", attnflow_speed.Speed)
    app.add_directive("attnflow-speed-chart", attnflow_speed.Chart)
    app.add_directive("attnflow-card", attnflow_landing.Card)
    app.connect("html-page-context", attnflow_landing.load)
    app.add_directive("attnflow-results", attnflow_results.Results)
    app.add_directive("attnflow-cite", attnflow_page.Cite)
    app.add_directive("attnflow-api", attnflow_api.Library)
    attnflow_modules.setup(app)
    app.connect("autodoc-process-docstring", attnflow_api.docstring)
    app.connect("autodoc-process-signature", attnflow_api.signature)
    app.connect("autodoc-skip-member", attnflow_api.alias)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
