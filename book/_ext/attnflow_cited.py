"""Under each work of the bibliography, the places of the book that cite it."""

from docutils import nodes


def places(app):
    """Where each work is cited: citation id -> {(page, section): link}, in reading order, one link a section."""
    domain, env = app.env.get_domain("cite"), app.env
    ids = {citation.key: citation.citation_id for citation in domain.citations}
    found = {}
    for name in dict.fromkeys(ref.docname for ref in domain.citation_refs):
        here = {ref.citation_ref_id: ref for ref in domain.citation_refs if ref.docname == name}
        for node in env.get_doctree(name).findall(lambda one: isinstance(one, nodes.Element) and one.get("ids")):
            for ref in (here[anchor] for anchor in node["ids"] if anchor in here):
                section = above(node)
                for target in ref.targets:
                    known = found.setdefault(ids.get(target.key), {})
                    known.setdefault((name, id(section)), (name, ref.citation_ref_id, title(env, name, section)))
    return found


def above(node):
    """The section of the second level around a node, or the one of the first where there is none."""
    around = []
    while node is not None:
        around += [node] if isinstance(node, nodes.section) else []
        node = node.parent
    return around[-2] if len(around) > 1 else around[-1] if around else None


def title(env, name, section):
    """Number and title of a section as a reader sees it: with the number of its chapter, where it has one."""
    numbers = env.toc_secnumbers.get(name, {})
    own = section is not None and section.parent is not None and isinstance(section.parent, nodes.section)
    number = numbers.get(f"#{section['ids'][0]}" if own else "", ())
    if number:
        return ".".join(map(str, number))
    return env.titles[name].astext()


def add(app, doctree, docname):
    """Write them under the entries of the page that has the bibliography."""
    if not list(doctree.findall(nodes.citation)):
        return
    cited = places(app)
    for entry in doctree.findall(nodes.citation):
        links = [
            nodes.reference("", text, internal=True, refuri=app.builder.get_relative_uri(docname, name) + f"#{anchor}")
            for key in entry["ids"]
            for name, anchor, text in unique(cited.get(key, {}).values())
        ]
        if links:
            parts = [nodes.Text("Cited in ")]
            for at, link in enumerate(links):
                parts += [nodes.Text(", ")] * (at > 0) + [link]
            entry += nodes.paragraph("", "", *parts, nodes.Text("."), classes=["cited-in"])


def unique(found):
    """The first place for each text of a link: a page without numbers is named once."""
    return list({(name, text): (name, anchor, text) for name, anchor, text in reversed(list(found))}.values())[::-1]
