"""The page on speed: it shows what is stored, every ratio with its verdict, and says why of each that is missed."""

import json
import re
from html import unescape

from pages import ROOT, SITE

STORED = json.loads((ROOT / "results" / "speed.json").read_text(encoding="utf-8"))
PAGE = "book/speed.html"


def ratios():
    """What is compared, the ratio and the least that was asked, of both numbers of threads."""
    more = {"1": "", "2": ", two threads"}
    return [(row["what"] + more[part], row["ratio"], row["must"]) for part in "21" for row in STORED[part]["ratios"]]


def cells(page, head):
    """The rows of the table whose first column is called ``head``, as text."""
    (table,) = [one for one in re.findall(r"<table.*?</table>", page, re.S) if f"<p>{head}</p>" in one]
    lines = re.findall(r"<tr.*?</tr>", table, re.S)[1:]
    plain = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", line, re.S)] for line in lines
    ]
    return [[unescape(cell) for cell in line] for line in plain]


def test_every_ratio_stands_there_with_its_verdict(site):
    found = cells((SITE / PAGE).read_text(encoding="utf-8"), "what is compared")
    assert found == [
        [what, f"{ratio:.3g}", f"{must:g}", "met" if ratio >= must else "missed"] for what, ratio, must in ratios()
    ]
    assert len(found) == 29, "three with two threads, 26 with one"


def test_every_ratio_that_is_missed_is_explained_and_no_other():
    text = (ROOT / "book" / "speed.md").read_text(encoding="utf-8")
    explained = re.findall(r"^(.+)\n: ", text.partition("## What was asked for")[2].partition("\n## ")[0], re.M)
    missed = [what for what, ratio, must in ratios() if ratio < must]
    assert sorted(name for line in explained for name in line.split("; ")) == sorted(missed)


def test_the_page_says_how_slow_the_machine_was_and_what_is_not_run(site):
    page = (SITE / PAGE).read_text(encoding="utf-8")
    assert STORED["1"]["environment"]["processor"] in unescape(page)
    assert "extrapolation" in page and "Not run: no GPU" in page
