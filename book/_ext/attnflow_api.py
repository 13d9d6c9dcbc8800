"""The pages of the library, from what lies on the disk: a module that is added needs no edit here or in the book."""

import enum
import importlib.util
import inspect
import re
import textwrap

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from attnflow import stamp
from attnflow.rooms import rooms

TOKEN = re.compile(r"(``.+?``|\$\$.+?\$\$|\$.+?\$|:[\w:]+:`[^`]+`|`[^`]+`|(?<!\w)\*\w[\w -]*\*(?!\w))", re.S)

EXPLAINED = re.compile(r"(?:^|(?<=[.;,]\s))[ ]*((?:[a-z]\w*, )*[a-z]\w*):\s+", re.M)
LAST = re.compile(r"(\.) (?=[A-Z])")  # where the explanation of the last parameter ends


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
        token = re.sub(r"^:(class|func|meth):`(\w+)`$", r":\1:`.\2`", token)  # wherever in the library it stands
        before = r"\ " if re.search(r"\w$", parts[at - 1]) else ""
        after = r"\ " if re.match(r"\w", parts[at + 1]) else ""
        parts[at] = before + token + after
    return "".join(parts)


def parameters(obj):
    """Names of the parameters of a function, or of what makes a class; none of anything else.

    >>> parameters(as_rst), parameters(3)
    (['paragraph'], [])
    """
    try:
        return list(inspect.signature(obj).parameters) if callable(obj) else []
    except ValueError:  # some classes of the standard library do not say
        return []


def as_list(paragraph, names):
    """A paragraph that explains some ``names``, "one: text; two: text. More.", as a list of definitions in reStructuredText.

    What stands before and after is a paragraph of its own; one that explains none is that alone.

    >>> as_list("one, two: some text. More.", ["one", "two"]).split(chr(10))
    ['``one``, ``two``', '   some text.', '', 'More.']
    """
    found = [one for one in EXPLAINED.finditer(paragraph) if set(one.group(1).split(", ")) <= set(names)]
    if not found:
        return as_rst(paragraph)
    parts = [as_rst(paragraph[: found[0].start()].strip())]
    ends = [*(one.start() for one in found[1:]), len(paragraph)]
    items, rest = [], ""
    for one, end in zip(found, ends, strict=True):
        text = " ".join(paragraph[one.end() : end].split())
        if end == len(paragraph):
            text, _, rest = LAST.sub("\\1\n", text, count=1).partition("\n")
        term = ", ".join(f"``{name}``" for name in one.group(1).split(", "))
        items.append(f"{term}\n{textwrap.indent(as_rst(text.rstrip(';,')), '   ')}")
    return "\n\n".join(part for part in (*parts, "\n".join(items), as_rst(rest)) if part)


def docstring(app, what, name, obj, options, lines):
    """Docstrings are written for people, with ``$...$``: turn the math into roles and leave doctests alone."""
    blocks, names = re.split(r"(\n\s*\n)", "\n".join(lines)), parameters(obj)
    done = [
        block if block.lstrip().startswith(">>>") or not block.strip() else as_list(block, names) for block in blocks
    ]
    lines[:] = "".join(done).split("\n")


def signature(app, what, name, obj, options, arguments, result):
    """Defaults as one would write them: the name of a class or function, and dots for what a field makes afresh."""
    if isinstance(obj, enum.EnumMeta):  # nobody makes one
        return "", result
    plain = re.sub(r"<(?:class '|function )(?:[\w.]*\.)?(\w+)(?:'| at 0x\w+)>", r"\1", arguments or "")
    return plain.replace("<factory>", "…") or None, result


def alias(app, what, name, obj, skip, options):
    """Leave out a field that is said by the class around it: one whose default is a class, and one of a named tuple."""
    default = isinstance(obj, type) and what == "class" and obj.__name__ != name
    return True if default or str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def inside(name, names):
    """The package ``name`` and all modules in it, of ``names``.

    >>> inside("a.b", ["a", "a.b", "a.b.c", "a.bc"])
    ['a.b', 'a.b.c']
    """
    return [one for one in names if f"{one}.".startswith(f"{name}.")]


def ground(first=()):
    """The modules of the ground floor: the ``first`` ones with all that is in them, then the rest as the alphabet has it."""
    apart = [one for room in rooms() for one in inside(f"attnflow.{room}", stamp.library())]
    names = [name for name in stamp.library() if name not in apart]
    chosen = [one for name in first for one in inside(name, names)]
    return list(dict.fromkeys([*chosen, *names]))


def of_room(room):
    """The modules of a room: its package, its sections in reading order, then the rest as the alphabet has it."""
    own = f"attnflow.{room.name}"
    return list(dict.fromkeys([own, *(f"{own}.{section}" for section in room.sections), *inside(own, stamp.library())]))


def public(name):
    """What stands with a module: what it gives out by ``__all__``, or has made itself and its package does not give out.

    >>> public("attnflow.flow.integrate"), public("attnflow.attention")
    ([], ['Kernel', 'entropy_deficit', 'softmax_slope'])
    """
    module, package = importlib.import_module(name), importlib.import_module(name.rpartition(".")[0] or name)
    if hasattr(module, "__all__") and name != "attnflow":  # what the library gives out at its top is made further down
        return list(module.__all__)
    given = [getattr(package, one) for one in getattr(package, "__all__", []) if package.__name__ != "attnflow"]
    made = inspect.getmembers(module, lambda one: hasattr(one, "__qualname__") and one.__module__ == name)
    return [one for one, value in made if one[0] != "_" and value.__doc__ and not any(value is each for each in given)]


def shown(name):
    """The lines that ask autodoc for one module."""
    return ["```{eval-rst}", f".. automodule:: {name}", f"   :members: {', '.join(public(name))}", "```"]


def sentence(module):
    """The first sentence of a module's docstring, on one line."""
    text = " ".join(textwrap.dedent(importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0]


class Library(SphinxDirective):
    """``attnflow-api``: the ground floor and every room, each a list of modules, which have a page each.

    The lines of its content name the modules of the ground floor that come first.
    """

    has_content = True

    def run(self):
        """Draw one section a floor or room."""
        for name in stamp.library():
            self.env.note_dependency(importlib.util.find_spec(name).origin)
        first = [line.strip() for line in self.content if line.strip()]
        floor = self.part("ground-floor", "Ground floor", "What knows no paper and no chapter.", ground(first))
        return [floor, *map(self.room, rooms().values())]

    def room(self, room):
        """The section of one room."""
        told = f"The room of {{doc}}`/notebooks/{room.page}`: its sections in reading order, then what they rest on."
        return self.part(f"room-{room.name}", f"{room.number} · {room.title}", told, of_room(room))

    def part(self, key, title, told, names):
        """A section with what is ``told`` of it and a list of modules."""
        section = nodes.section(ids=[key], names=[key])
        section += nodes.title("", "", nodes.Text(title))
        self.state.document.note_explicit_target(section, section)
        listed = [f"- {{py:mod}}`{name}`: {sentence(name)}" for name in names if public(name)]
        holder = nodes.container()
        lines = StringList([told, "", *listed], source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, holder)
        section += holder.children
        return section
