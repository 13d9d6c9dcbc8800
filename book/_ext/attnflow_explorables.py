"""Figures that move: a place for each on its page, what it loads, and closed forms of the library as JavaScript.

A chapter's explorable is four things: its closed forms (:mod:`attnflow_closed_forms`), its still picture
(:mod:`attnflow_stills`), ``vendor/explorables/<chapter>.js`` with integrators and drawing, and a directive on its page. What no
browser can compute in time is a run of the library beside the closed forms (:mod:`attnflow_stored`).
"""

import json
import os
from pathlib import Path

import attnflow_closed_forms
import attnflow_stills
import attnflow_stored
import sympy as sp
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

FOLDER = "explorables"  # inside the site, where the files of vendor/ lie
BEFORE = ("../jsxgraph/jsxgraphcore.js", f"../{FOLDER}/explorable.js")  # as seen from _static


def script(chapter):
    """The closed forms of a ``chapter`` as a script, one function each, as sympy writes it, and the run that it shows.

    >>> print(script("foundations").splitlines()[1])
    attnflow.formulas.foundations = {
    """
    known = attnflow_closed_forms.CHAPTERS[chapter]()
    lines = [
        f"    {name}: ({', '.join(map(str, arguments))}) => {sp.jscode(expression)},"
        for name, (arguments, expression) in known.items()
    ]
    head = f"/* Written by sympy.jscode from the closed forms of attnflow.{chapter} when the book was built. */"
    shown = attnflow_stored.CHAPTERS.get(chapter)
    told = [f"attnflow.stored.{chapter} = {json.dumps(shown(), separators=(',', ':'))};\n"] if shown else []
    return "\n".join([head, f"attnflow.formulas.{chapter} = {{", *lines, "};\n", *told])


class Explorable(SphinxDirective):
    """``attnflow-explorable``: a numbered figure that moves; its still picture where nothing does, as in print.

    The argument names the chapter, ``name`` the figure, ``alt`` says what the still picture shows; the content is the caption.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged_required, "alt": directives.unchanged_required}

    def run(self):
        """Draw the still picture and leave a place for the other one."""
        (chapter,) = self.arguments
        if chapter not in attnflow_closed_forms.CHAPTERS:
            raise self.error(f"there is no explorable {chapter!r}: {', '.join(attnflow_closed_forms.CHAPTERS)}")
        if not {"name", "alt"} <= set(self.options) or not self.content:
            raise self.error("an explorable has a name, an alt and a caption")
        path = Path(self.env.doctreedir) / "stills" / f"explorable_{chapter}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        attnflow_stills.CHAPTERS[chapter](path)
        figure = nodes.figure(classes=["explorable"], explorable=chapter)
        figure += nodes.raw(
            "", f'<div class="explorable-live" data-explorable="{chapter}" hidden></div>', format="html"
        )
        place = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
        figure += nodes.image(uri=place, alt=self.options["alt"], classes=["explorable-still"])
        caption = self.parse_text_to_nodes(" ".join(self.content))[0]
        figure += nodes.caption("", "", *caption.children)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


def chapters(doctree):
    """The explorables of a page, by chapter; none where there is no ``doctree``."""
    return [each["explorable"] for each in doctree.findall(nodes.figure) if "explorable" in each] if doctree else []


def load(app, pagename, templatename, context, doctree):
    """Load what a page with an explorable needs, after its text; other pages load nothing."""
    if named := chapters(doctree):
        app.add_css_file(f"../{FOLDER}/explorable.css")
        own = [f"../{FOLDER}/{part}{name}.js" for name in named for part in ("formulas/", "")]
        for name in (*BEFORE, *own):
            app.add_js_file(name, loading_method="defer")


def write(app, exception):
    """Write the closed forms into the finished site."""
    if exception is None and app.builder.format == "html":
        folder = Path(app.outdir) / FOLDER / "formulas"
        folder.mkdir(parents=True, exist_ok=True)
        for chapter in attnflow_closed_forms.CHAPTERS:
            (folder / f"{chapter}.js").write_text(script(chapter), encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.add_directive("attnflow-explorable", Explorable)
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
