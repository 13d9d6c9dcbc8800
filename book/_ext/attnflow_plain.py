"""MyST as plain Markdown, with the numbers that the book gives: what any notebook program shows as it is meant.

A text that holds what is not known here, another directive or role, is refused: no half-translated notebook leaves the build.
"""

import re
from dataclasses import dataclass, field

import yaml

FENCE = re.compile(r"^(:{3,}|`{3}(?=\{attnflow-explorable\}))\{([\w:-]+)\}[ \t]*(.*)$")
OPTION = re.compile(r"^:([\w-]+):[ \t]*(.*)$")
LABEL = re.compile(r"^\([\w-]+\)=[ \t]*\n?", re.M)
HEADING = re.compile(r"^(#{1,6}) +(.*)$", re.M)
DISPLAY = re.compile(r"\$\$(.+?)\$\$(?:[ \t]*\(([^()\s]+)\)[ \t]*(?=\n|\Z))?", re.S)
# In this order: a role, a piece of code or a formula (left as they are), a link.
INLINE = re.compile(
    r"\{(?P<role>[\w:]+)\}`(?P<target>[^`]+)`"
    r"|(?P<kept>(?P<ticks>`+)[^`].*?(?P=ticks)|\$\$.+?\$\$|(?<![\\$])\$[^$]+\$)"
    r"|(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<link>[^()\s]+)\)",
    re.S,
)
BOXES = ("prf:theorem", "prf:proposition", "prf:definition", "prf:lemma", "prf:corollary", "prf:example", "prf:remark")
LEFT = re.compile(r"^(?:> ?)*(?:[:`~]{3,}\{.*|\([\w-]+\)=.*|.*\$\$[ \t]*\([\w-]+\))$", re.M)


class NotPlain(ValueError):
    """A text that this module does not know how to say in plain Markdown."""


@dataclass
class Book:
    """What a page of the book has for its labels.

    equations: label -> "1.2"; numbered: label -> "Theorem 1.1", "Figure 1.3", "Exercise 1.2"; sections: label -> "Section 1.4";
    pages: label or name of a page -> file of its notebook; works: key -> (authors, year, address or ""); headings: the
    numbers of the page's headings in reading order, "1.2." or "" each.
    """

    equations: dict = field(default_factory=dict)
    numbered: dict = field(default_factory=dict)
    sections: dict = field(default_factory=dict)
    pages: dict = field(default_factory=dict)
    works: dict = field(default_factory=dict)
    headings: list = field(default_factory=list)

    def of(self, kind: str, label: str):
        """What stands for a ``label`` in the table ``kind``. Raises NotPlain where the book has none."""
        if label not in (table := getattr(self, kind)):
            raise NotPlain(f"the book has no {label!r} among its {kind}")
        return table[label]

    def cited(self, role: str, keys: str) -> str:
        """One or several works, comma-separated ``keys``, as the text names them: ``cite`` in brackets, ``cite:t`` without."""
        pattern = "{} ({})" if role == "cite:t" else "{}, {}"
        found = []
        for key in re.split(r"\s*,\s*", keys.strip()):
            authors, year, address = self.of("works", key)
            words = pattern.format(authors, year)
            found.append(f"[{words}]({address})" if address else words)
        return ", ".join(found) if role == "cite:t" else f"({'; '.join(found)})"


def _inline(text: str, book: Book) -> str:
    """Roles and links of a text as words."""

    def said(match):
        role, target = match["role"], match["target"]
        if match["kept"]:
            return match["kept"]
        if match["link"]:
            return linked(match["text"], match["link"], book)
        if role == "eq":
            return f"({book.of('equations', target)})"
        if role in ("numref", "prf:ref"):
            return book.of("numbered", target)
        if role == "ref":
            return book.of("sections" if target in book.sections else "numbered", target)
        if role == "term":
            return re.sub(r"\s*<.*>$", "", target)
        if role in ("cite", "cite:p", "cite:t"):
            return book.cited(role, target)
        raise NotPlain(f"the role {role!r} has no plain form")

    return INLINE.sub(said, text)


def linked(text: str, target: str, book: Book) -> str:
    """A link where it leads: an address stays, another chapter is its notebook, a section its number, a page its name alone.

    >>> linked("below", "sec-a", Book(sections={"sec-a": "Section 1.6"})), linked("the ledger", "../book/ledger.md", Book())
    ('below (Section 1.6)', 'the ledger')
    """
    if re.match(r"https?://|mailto:", target):
        return f"[{text}]({target})"
    name = target.removesuffix(".md").removesuffix(".ipynb").rpartition("/")[2].split("#")[0]
    if name in book.pages:
        return f"[{text}]({book.pages[name]})"
    if target in book.sections:
        return f"{text} ({book.sections[target]})"
    if target.partition("#")[0].endswith(".md"):
        return text
    raise NotPlain(f"the link to {target!r} leads nowhere")


def _tagged(text: str, book: Book) -> str:
    r"""Numbers of equations inside the formulas, where any MathJax or KaTeX shows them."""

    def said(match):
        formula, label = match[1], match[2]
        return f"$${formula}$$" if label is None else rf"$${formula.rstrip()} \tag{{{book.of('equations', label)}}}$$"

    return DISPLAY.sub(said, text)


def _headed(text: str, book: Book) -> str:
    """Headings with the numbers of the book, which are used up in reading order."""

    def said(match):
        if not book.headings:
            raise NotPlain(f"the book has no heading {match[2]!r}")
        return f"{match[1]} {book.headings.pop(0)} {match[2]}".replace("  ", " ")

    return HEADING.sub(said, text)


def quoted(text: str) -> str:
    """A text as a block quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _boxed(name: str, title: str, options: dict, content: str, book: Book) -> str:
    """One directive as Markdown: ``name``, ``title`` behind it, ``options``, and its ``content``, which is plain already."""
    title = _inline(title, book)
    if name in BOXES:
        number = book.of("numbered", options.get("label", ""))
        return quoted(f"**{number}{f' ({title})' if title else ''}.**\n\n{content}")
    if name == "prf:proof":
        apart = "\n\n" if content.startswith((">", "$$", "* ")) else " "
        return quoted(f"*Proof{f' ({title})' if title else ''}.*{apart}{content}")
    if name == "admonition":
        return quoted(f"**{title}**\n\n{content}")
    if name in ("note", "tip", "warning", "important"):
        return quoted(f"**{name.capitalize()}**\n\n{content}")
    if name == "exercise":
        return f"**{book.of('numbered', options.get('label', ''))}{f' ({title})' if title else ''}.** {content}"
    if name == "attnflow-explorable":
        number = book.of("numbered", options.get("name", ""))
        return f"**{number}.** {content} On the page of the book, this figure moves."
    if name == "solution":
        return f"<details><summary>Solution</summary>\n\n{content}\n\n</details>"
    raise NotPlain(f"the directive {name!r} has no plain form")


def pieces(text: str, book: Book) -> list:
    r"""A MyST text as [(label, plain text)]: what an exercise says is a piece of its own, under its label; the rest has none.

    text: of one Markdown cell; book: its numbers. Raises NotPlain for what has no plain form.

    >>> book = Book(equations={"eq-a": "1.2"}, numbered={"thm-a": "Theorem 1.1"})
    >>> pieces("$$x = y$$ (eq-a)\n\nas {eq}`eq-a` in {prf:ref}`thm-a`, not `{eq}`.", book)
    [('', '$$x = y \\tag{1.2}$$\n\nas (1.2) in Theorem 1.1, not `{eq}`.')]
    """
    lines, found, plain = text.split("\n"), [], []

    def close():
        words = LABEL.sub("", "\n".join(plain))
        plain.clear()
        if words.strip():
            found.append(("", _inline(_tagged(_headed(words, book), book), book).strip("\n")))

    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if not opened:
            plain.append(lines[at])
            at += 1
            continue
        close()
        end = next((i for i in range(at + 1, len(lines)) if lines[i].rstrip() == opened[1]), None)
        if end is None:
            raise NotPlain(f"{lines[at]!r} is not closed")
        inner, options = lines[at + 1 : end], {}
        if inner and inner[0] == "---":
            last = inner.index("---", 1)
            options = yaml.safe_load("\n".join(inner[1:last]))
            inner = inner[last + 1 :]
        while inner and (option := OPTION.match(inner[0])):
            options[option[1]] = option[2].strip()
            inner.pop(0)
        content = "\n\n".join(words for _, words in pieces("\n".join(inner).strip("\n"), book))
        label = options.get("label", "") if opened[2] == "exercise" else ""
        found.append((label, _boxed(opened[2], opened[3].strip(), options, content, book)))
        at = end + 1
    close()
    for _, words in found:
        if left := LEFT.search(words):
            raise NotPlain(f"{left[0]!r} has no plain form")
    return found
