"""What others made and this book carries: each has a row on its page, and the text of its licence lies here."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("explorables",)  # in vendor/ for what the site serves, and written here
THIRD = (ROOT / "book" / "third_parties.md").read_text(encoding="utf-8")


def rows(text):
    """The rows of all tables of a page."""
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_what_others_made_has_a_row_with_a_licence_that_is_here():
    carried = [path for path in (ROOT / "vendor").iterdir() if path.is_dir() and path.name not in OURS]
    carried += [path for path in (ROOT / "tests" / "vendor").iterdir() if "LICENSE" not in path.name]
    carried += [path.parent for path in (ROOT / "vendor").glob("**/woff-v2")]
    for path in carried:
        name = path.relative_to(ROOT).as_posix()
        (row,) = [row for row in rows(THIRD) if f"`{name}`" in row]
        texts = re.findall(r"`([^`]+(?:LICENSE|OFL)[^`]*)`", row)
        assert texts and all((ROOT / text).stat().st_size > 1000 for text in texts), name
    versions = {"vendor/mathjax/tex-mml-chtml.js": r'VERSION="(3[\d.]+)"', "tests/vendor/axe.min.js": r" v([0-9.]+)"}
    versions |= {"vendor/jsxgraph/jsxgraphcore.js": r"JSXGraph ([\d.]+)"}
    for name, pattern in versions.items():
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))
        assert f"| {found.group(1)} |" in THIRD, name


def test_every_data_set_has_a_row():
    """Whatever a file of the book takes from the data sets of another library."""
    paths = [path for folder in ("lib", "notebooks", "course") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    taken = set(re.findall(r"\b(?:load|fetch)_[a-z]\w*(?=\()", text))
    taken |= {one for names in re.findall(r"from \w+\.datasets import (.+)", text) for one in names.split(", ")}
    assert taken and [name for name in taken if not [row for row in rows(THIRD) if f"`{name}`" in row]] == []
