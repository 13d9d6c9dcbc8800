"""What Sphinx does again and again, and what a second build has to write again."""

from functools import lru_cache

from sphinx.domains.std import StandardDomain


class Once:
    """An environment that reads each stored page once: for references, which look at a page and change nothing."""

    def __init__(self, env):
        self.env, self.get_doctree = env, lru_cache(None)(env.get_doctree)

    def __getattr__(self, name):
        return getattr(self.env, name)


class Standard(StandardDomain):
    """The domain of ``numref``, which would read the page of a figure from the disk at each mention of it."""

    def _resolve_numref_xref(self, env, *rest):
        self.once = getattr(self, "once", None) or Once(env)
        return super()._resolve_numref_xref(self.once, *rest)


def own(app, doctree):
    """Tie every node to its own page: text that is parsed apart keeps a second one, and that keeps the whole environment."""
    for node in doctree.findall():
        node.document = doctree


def numbers(env):
    """All that one page says of another: titles, numbers and places of sections, figures, equations and boxes, as one text."""
    titles = {name: title.astext() for name, title in env.titles.items()}
    labels, equations = env.domaindata["std"]["labels"], env.domaindata["math"]["objects"]
    known = (titles, env.toc_secnumbers, env.toc_fignumbers, labels, equations, getattr(env, "proof_list", {}))
    return "\n".join(repr(sorted((name, repr(value)) for name, value in each.items())) for each in known)


def again(app, env):
    """The pages to write after some were read: those that gather from others, and all where a title or a number changed."""
    before, env.attnflow_numbers = getattr(env, "attnflow_numbers", None), numbers(env)
    gathers = (name for name in env.found_docs if not name.startswith(("notebooks/", "book/api/")))
    return list(env.found_docs if before != env.attnflow_numbers else gathers)


def setup(app):
    """Register with Sphinx."""
    app.connect("env-get-updated", again, priority=900)  # when all has its number
    app.add_domain(Standard, override=True)
    app.connect("doctree-read", own)
