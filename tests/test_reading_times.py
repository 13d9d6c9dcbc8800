"""The reading time at the head of a chapter is what the rule of the preface gives."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks" / "src").glob("*.py"))
STARS = {"★": 10, "★★": 20, "★★★": 40}  # minutes an exercise
SAID = re.compile(r"about (\d+) minutes to read once and about (\d+) more for the exercises")


def minutes(source):
    """Minutes to read a chapter once, and minutes for its exercises, counted in its source (text of a percent script)."""
    prose, shown = [], 0.0
    for cell in re.split(r"^# %%", source, flags=re.M)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            prose.append(re.sub(r"^# ?", "", body, flags=re.M))
        elif "# | name:" in body:
            shown += 2
        elif "remove-input" in head:
            shown += 0.5
        elif "hide-input" not in head:
            shown += 1
    text, _, exercises = "\n".join(prose).partition("## Exercises")
    formulas = re.compile(r"\$\$.*?\$\$", re.S)
    words = len(formulas.sub(" ", text).split())
    stars = re.findall(r"\((★+)\)", exercises)
    return words / 200 + len(formulas.findall(text)) + shown, sum(STARS[one] for one in stars)


def test_the_rule_on_a_chapter_of_one_page():
    markdown = "# %% [markdown]\n# " + "word " * 400 + "\n#\n# $$a\n# b$$ (eq-a)\n"
    code = (
        '# %%\na = 1\n\n# %% tags=["hide-input"]\n# | name: fig-a\nplot()\n\n# %% tags=["remove-input"]\nseen["a"]\n\n'
    )
    end = "# %% [markdown]\n# ## Exercises\n#\n# (★) One. (★★★) Two.\n"
    read, work = minutes(markdown + code + end)
    assert read == pytest.approx(401 / 200 + 1 + 1 + 2 + 0.5) and work == 50


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_times_of_a_chapter_are_counted(chapter):
    """Within a tenth, so that a sentence more or less changes nothing."""
    source = chapter.read_text(encoding="utf-8")
    ((read, work),) = SAID.findall(source)
    counted, exercises = minutes(source)
    assert abs(int(read) - counted) <= 0.1 * counted and int(work) == exercises
