"""A letter has one meaning: what a chapter writes is on the notation page, and what that page uses twice it says to share."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
CHAPTERS = sorted((ROOT / "notebooks" / "src").glob("*.py"))
SHARED = PAGE.partition("(sec-shared-letters)=")[2].partition("\n## A first dictionary")[0]
GREEK = "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
GREEK += "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
LETTER = rf"\\mathcal ?\{{?[A-Z]|\\(?:{'|'.join(GREEK.split())})(?![A-Za-z])"
TOKEN = rf"{LETTER}|\\[A-Za-z]+|[A-Za-z]"
WORD = r"\\(?:operatorname|text|textbf|mathrm|begin|end|tag|label)\*?\{[^}]*\}"
USUAL = {"e", "i", "j", "l", "T", r"\pi"}  # the number e and the number pi, indices, and the T of a transpose


def formulas(text):
    """All formulas of a page in Markdown, without its code."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    return [one or other for one, other in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", text, flags=re.S)]


def ordered(formula):
    """The letters of a formula, as they come; other commands are signs."""
    tokens = re.findall(TOKEN, re.sub(WORD, " ", formula))
    return [one for one in tokens if (not one.startswith("\\") or re.match(LETTER, one)) and one not in USUAL]


def letters(formula):
    """The letters of a formula, each once."""
    return set(ordered(formula))


def meanings():
    """The letters that each section of the notation page defines, in the first column of its tables: section -> letters."""
    found = {}
    for part in re.split(r"^## ", PAGE.replace(SHARED, ""), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        rows = re.findall(r"^\| (\$.*?)\|", body, flags=re.M)
        heads = [one.partition("=")[0] for row in rows for one in re.findall(r"\$([^$]+)\$", row)]
        found[title] = {found_in[0] for head in heads if (found_in := ordered(head))}
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_letters_of_a_chapter_are_on_the_notation_page(chapter):
    text = "\n".join(line[2:] for line in chapter.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    known = set().union(*map(letters, formulas(PAGE)))
    unknown = {letter: formula for formula in formulas(text) for letter in letters(formula) - known}
    assert unknown == {}


def test_letters_that_two_sections_define_are_said_to_be_shared():
    found, told = meanings(), set().union(*map(letters, formulas(SHARED)))
    names = [name for name in found if name != "A first dictionary"]
    twice = {letter for letter in set().union(*found.values()) if sum(letter in found[name] for name in names) > 1}
    assert twice - told == set()


def test_what_is_a_letter():
    assert letters(r"\dot W_Q = -\nabla\mathcal L(\theta),\qquad \operatorname{tr} x") == {
        "W",
        "Q",
        r"\mathcal L",
        r"\theta",
        "x",
    }
    assert letters(r"\tfrac12\big(\hat a^\top b\big) \begin{aligned} \mathbf 1 \end{aligned}") == {"a", "b"}
    assert letters(r"\epsilon \le \varepsilon\pi e^{i}") == {r"\epsilon", r"\varepsilon"}
