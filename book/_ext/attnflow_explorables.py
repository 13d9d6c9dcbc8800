"""Figures that move: a place for each on its page, what it loads, and closed forms of the library as JavaScript.

An explorable is three things: its module in :mod:`moving`, with what it takes from the library; its file in
``vendor/explorables`` with integrators and drawing; and a directive on its page.
"""

import html
import json
import os
from pathlib import Path

import moving
import sympy as sp
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

FOLDER = "explorables"  # inside the site, where the files of vendor/ lie
BEFORE = ("../jsxgraph/jsxgraphcore.js", f"../{FOLDER}/explorable.js")  # as seen from _static


def script(name):
    """The closed forms of an explorable as a script, one function each, as sympy writes it, and the run that it shows.

    >>> print(script("foundations").splitlines()[1])
    attnflow.formulas.foundations = {
    """
    own = moving.figure(name)
    lines = [
        f"    {form}: ({', '.join(map(str, arguments))}) => {sp.jscode(expression)},"
        for form, (arguments, expression) in own.closed_forms().items()
    ]
    head = f"/* Written by sympy.jscode from the closed forms of book/_ext/moving/{name}.py when the book was built. */"
    told = (
        [f"attnflow.stored.{name} = {json.dumps(own.run(), separators=(',', ':'))};\n"] if hasattr(own, "run") else []
    )
    return "\n".join([head, f"attnflow.formulas.{name} = {{", *lines, "};\n", *told])


class Explorable(SphinxDirective):
    """``attnflow-explorable``: a numbered figure that moves; its still picture where nothing does, as in print.

    The argument names it, ``name`` the figure, ``alt`` says what the still picture shows; the content is the caption.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged_required, "alt": directives.unchanged_required}

    def run(self):
        """Draw the still picture and leave a place for the other one."""
        (name,) = self.arguments
        if name not in moving.NAMES:
            raise self.error(f"there is no explorable {name!r}: {', '.join(moving.NAMES)}")
        if not {"name", "alt"} <= set(self.options) or not self.content:
            raise self.error("an explorable has a name, an alt and a caption")
        path = Path(self.env.doctreedir) / "stills" / f"explorable_{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        moving.figure(name).still(path)
        figure = nodes.figure(classes=["explorable"], explorable=name)
        figure += nodes.raw("", f'<div class="explorable-live" data-explorable="{name}" hidden></div>', format="html")
        place = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
        figure += nodes.image(uri=place, alt=self.options["alt"], classes=["explorable-still"])
        caption = self.parse_text_to_nodes(" ".join(self.content))[0]
        figure += nodes.caption("", "", *caption.children)
        told = f'<p class="explorable-paper">The picture where nothing moves. {html.escape(self.options["alt"])}</p>'
        figure += nodes.legend("", nodes.raw("", told, format="html"))
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


def shown(doctree):
    """The explorables of a page, by name; none where there is no ``doctree``."""
    return [each["explorable"] for each in doctree.findall(nodes.figure) if "explorable" in each] if doctree else []


def load(app, pagename, templatename, context, doctree):
    """Load what a page with an explorable needs, after its text; other pages load nothing."""
    if named := shown(doctree):
        app.add_css_file(f"../{FOLDER}/explorable.css")
        own = [f"../{FOLDER}/{part}{name}.js" for name in named for part in ("formulas/", "")]
        for name in (*BEFORE, *own):
            app.add_js_file(name, loading_method="defer")


def write(app, exception):
    """Write the closed forms into the finished site."""
    if exception is None and app.builder.format == "html":
        folder = Path(app.outdir) / FOLDER / "formulas"
        folder.mkdir(parents=True, exist_ok=True)
        for name in moving.NAMES:
            path = folder / f"{name}.js"
            if not path.exists():  # kept by a second build, which begins anew where the library has changed
                path.write_text(script(name), encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.add_directive("attnflow-explorable", Explorable)
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
