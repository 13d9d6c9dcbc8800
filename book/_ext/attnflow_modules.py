"""One page for each module of the library, with its source: written before a build, removed after it."""

import functools
import html
import importlib
import inspect
import os
import re
import shutil
import sys
from pathlib import Path

from attnflow_api import public, shown
from attnflow_verdicts import lines
from docutils import nodes
from docutils.statemachine import StringList
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util.docutils import SphinxDirective

from attnflow import stamp
from attnflow.rooms import rooms

FOLDER = "book/api"
PAGE = """---
orphan: true
---
({anchor})=
# `{name}`

```{{attnflow-module}} {name}
```
"""
SOURCE = """<section id="source"><h2>Source</h2><details class="api-source"><summary>{file}, {count} lines</summary>
{code}</details></section>"""


@functools.lru_cache
def paged():
    """Names of the modules that have a page: those that give something out, and those in which a claim stands."""
    return [name for name in stamp.library() if public(name) or name in {module for module, _ in lines().values()}]


def write(app):
    """Write a page for each module, where the book has a page for the library."""
    if (Path(app.srcdir) / f"{FOLDER}.md").exists():
        remove(app)
        (Path(app.srcdir) / FOLDER).mkdir()
        for name in paged():
            path = Path(app.srcdir) / FOLDER / f"{name}.md"
            path.write_text(PAGE.format(name=name, anchor=f"api-{name.replace('.', '-')}"), encoding="utf-8")
            written = Path(importlib.import_module(name).__file__).stat().st_mtime_ns
            os.utime(path, ns=(written, written))  # as old as what it shows, or a second build would read it again


def remove(app, exception=None):
    """Remove these pages: what they hold stands in the library."""
    shutil.rmtree(Path(app.srcdir) / FOLDER, ignore_errors=True)


class Module(SphinxDirective):
    """``attnflow-module``: what one module says of itself, below the way back to all of them."""

    required_arguments = 1

    def run(self):
        """Draw it."""
        name = self.arguments[0]
        room = next((one for one in rooms().values() if f"{name}.".startswith(f"attnflow.{one.name}.")), None)
        place = f"room-{room.name}" if room else "ground-floor"
        title = f"{room.number} · {room.title}" if room else "Ground floor"
        back = f'[The library](/book/api.md), [{title}](#{place}); its <a href="#source">source</a> is below.'
        self.env.note_dependency(importlib.import_module(name).__file__)
        holder = nodes.container()
        self.state.nested_parse(
            StringList([back, "", *shown(name)], source=self.env.docname), self.content_offset, holder
        )
        return holder.children


def code(path):
    """The Python source at ``path`` as HTML in which every line has an anchor, ``L-1`` the first."""
    look = HtmlFormatter(lineanchors="L", cssclass="highlight")
    made = highlight(path.read_text(encoding="utf-8"), PythonLexer(stripnl=False), look)
    return re.sub(r'<a id="(L-\d+)"[^>]*></a>', r'<span id="\1"></span>', made)  # an anchor is no stop of the tabulator


def source(app, page, template, context, doctree):
    """Put the source of a module at the end of its page, after the search has seen it."""
    folder, _, name = page.rpartition("/")
    if folder == FOLDER and doctree is not None:
        path = Path(sys.modules[name].__file__)
        text = path.read_text(encoding="utf-8")
        file = html.escape(path.relative_to(Path(stamp.__file__).parents[1]).as_posix())
        context["body"] += SOURCE.format(file=file, count=len(text.splitlines()), code=code(path))


def line(domain, info):
    """Where the source of an object stands, as an address beside the pages of modules, or None."""
    if domain != "py" or not info["module"]:
        return None
    try:
        one = functools.reduce(getattr, info["fullname"].split("."), importlib.import_module(info["module"]))
        one = inspect.unwrap(one.fget if isinstance(one, property) else one)
        return f"{one.__module__}.html#L-{inspect.getsourcelines(one)[1]}" if one.__module__ in paged() else None
    except (AttributeError, TypeError, OSError):  # a field or a number, which has no source of its own
        return None


def setup(app):
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("config-inited", lambda app, config: setattr(config, "linkcode_resolve", line))
    app.connect("builder-inited", write)
    app.connect("build-finished", remove)
    app.connect("html-page-context", source)
    app.add_directive("attnflow-module", Module)
