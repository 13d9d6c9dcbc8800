"""The time that the tests may take, and that every test is in exactly one group."""

import ast
import re
from pathlib import Path

from run import groups

HERE = Path(__file__).resolve().parent
CHAPTERS = len(list((HERE.parent / "notebooks" / "src").glob("*.py")))


def test_the_budget_of_every_day_and_of_everything():
    assert sum(group["seconds"] for group in groups(everything=False).values()) <= 420 + 90 * (CHAPTERS - 3)
    assert sum(group["seconds"] for group in groups().values()) <= 30 * 60 - 2 * 60  # the installation takes the rest


def test_every_test_is_in_one_group():
    """The groups choose by markers: every combination of them that a test may carry is chosen once."""
    chosen = [re.search(r"-m '(.+)'", group["command"]) for group in groups().values()]
    rules = [found.group(1) for found in chosen if found]
    marks = ("claims", "notebook", "browser", "course", "lab", "calls", "slow")
    for own in (set(), *({mark} for mark in marks), {"notebook", "slow"}, {"browser", "reader"}):
        told = [
            eval(compile(ast.parse(rule, mode="eval"), "", "eval"), {mark: mark in own for mark in (*marks, "reader")})
            for rule in rules
        ]
        assert sum(told) == 1, own
