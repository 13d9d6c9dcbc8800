"""The command line: what it prints, what it writes, and how it fails."""

import json
from pathlib import Path

import pytest
import torch

from attnflow import __main__ as roof
from attnflow import commands, rooms, stamp
from attnflow.claims import evaluation

QUICK = "foundations.proof-product"
FILE = """
from attnflow.claims import Above, Control, Experiment, Trial, chapter_of

def seeds_of(seeds, device):
    return {"seed": seeds}

def read(record):
    return record["seed"]

trial, control = Trial(Experiment(seeds_of), read, Above(5)), Control("far", holds=Above(1000))
claim = chapter_of("own")
CLAIMS = [claim(name, name, "seeds are large", trial, control) for name in ("one", "two")]
"""


@pytest.fixture
def own(tmp_path):
    """A file with two claims that hold on seeds above four, in a folder of its own."""
    path = tmp_path / "own" / "claims.py"
    path.parent.mkdir()
    path.write_text(FILE)
    return str(path)


def listed(capsys, *arguments):
    assert roof.main(["claims", "--list", *arguments]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_rows_and_json(tmp_path, capsys, own):
    path = tmp_path / "out.json"
    assert roof.main(["claims", "--from", own, "--seeds", "7:9", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("ok  ") == 2 and "2 of 2 rows" in shown
    stored = json.loads(path.read_text())
    assert stored["environment"]["seeds"] == "7:9" and [row["id"] for row in stored["claims"]] == ["own.one", "own.two"]
    assert stored["claims"][0]["measured"] == [7.0, 8.0] and stored["claims"][0]["control_fails"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.json", "own"]


def test_a_file_of_claims_combines_with_chapters_and_ids(capsys, own):
    chapter = [claim.id for claim in rooms.room("foundations").claims]
    assert listed(capsys, "--from", own) == ["own.one", "own.two"]
    assert listed(capsys, "--from", own, "--chapter", "foundations") == [*chapter, "own.one", "own.two"]
    assert listed(capsys, "--from", own, "--chapter", "foundations", "--id", "own.two", "--id", QUICK) == [
        QUICK,
        "own.two",
    ]
    assert listed(capsys) == [claim.id for claim in commands.registry()] and QUICK in chapter


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CLAIMS = [\n1\n", "line 1: SyntaxError"),
        ("x = 1\nCLAIMS = nosuch\n", "line 2: NameError"),
        ("x = 1\n", "CLAIMS of"),
        ("CLAIMS = [3]\n", "CLAIMS of"),
        (FILE.replace('("one", "two")', '("one", "one")'), "claim id = 'own.one'"),
        (FILE.replace("(name, name", "(name, 'title'"), "title = ('own', 'title')"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_and_status_2(text, said, own, capsys):
    Path(own).write_text(text)
    assert roof.main(["claims", "--from", own]) == 2
    told = capsys.readouterr()
    assert (
        told.out == "" and said in told.err and len(told.err.splitlines()) == 1 and (own in told.err or "own" in said)
    )


WRONG = [
    "claims --chapter nosuch",
    "claims --seeds 5:5",
    "claims --seeds a:b",
    "claims --seeds -3:2",
    "claims --seeds 0:1001",
    "claims --seeds 1:2:3",
    "claims --id no.such",
    "claims --json /no/such/dir/x.json",
    "claims --from /no/such/claims.py",
    "claims --device tpu",
    *([] if torch.cuda.is_available() else ["claims --device cuda"]),
    "sweep nosuch",
    "sweep --adopt nosuch",
    "sweep",
    "compare --with /no/such.json",
    "cite nosuch",
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_is_one_line_and_status_2(arguments, capsys):
    assert roof.main(arguments.split()) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and "must be" in told.err
    assert arguments.split()[-1] in told.err or arguments == "sweep"


@pytest.mark.parametrize("arguments", ["claims --bogus", "nosuch", "", "sweep --jobs x"])
def test_unknown_words_are_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        roof.main(arguments.split())
    assert stop.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "name", "error", "status", "said"),
    [
        (evaluation, "settled", None, 0, ""),
        (commands.stamp, "environment", RuntimeError("no disk"), 3, "attnflow: failed: RuntimeError: no disk"),
        (evaluation, "settled", KeyboardInterrupt(), 130, "attnflow: stopped, nothing was written"),
    ],
)
def test_failures_and_interrupts_write_nothing(place, name, error, status, said, monkeypatch, capsys, tmp_path, own):
    def fail(*arguments):
        raise error

    if error:
        monkeypatch.setattr(place, name, fail)
    path = tmp_path / "x.json"
    assert roof.main(["claims", "--from", own, "--seeds", "7:9", "--json", str(path)]) == status
    assert capsys.readouterr().err.strip() == said and path.exists() == (status == 0)


def test_rows_that_are_not_as_stated_are_status_1(own, capsys):
    assert roof.main(["claims", "--from", own, "--seeds", "4"]) == 1
    assert "0 of 2 rows" in capsys.readouterr().out
    Path(own).write_text(FILE.replace('record["seed"]', 'record["sad"]'))
    assert roof.main(["claims", "--from", own, "--seeds", "7:9"]) == 1
    assert capsys.readouterr().out.count("could not be run: KeyError: 'sad'") == 2


def test_a_run_is_compared_with_the_book(own, tmp_path, monkeypatch, capsys):
    book, yours = tmp_path / "results" / "claims.json", tmp_path / "yours.json"
    book.parent.mkdir()
    for path, seeds in ((book, "7:9"), (yours, "8:10")):
        roof.main(["claims", "--from", own, "--seeds", seeds, "--json", str(path)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "registry", lambda: commands.outside(own))
    capsys.readouterr()
    assert roof.main(["compare"]) == 0
    assert "own.one  7 … 8  7 … 8  0e+00       same" in capsys.readouterr().out
    assert roof.main(["compare", "--with", str(yours)]) == 0
    assert "seeds: 7:9 in the book, 8:10 here" in (shown := capsys.readouterr().out) and "8 … 9  1e-01" in shown
    Path(own).write_text(FILE.replace("Above(5)", "Above(7.5)").replace('("one", "two")', '("one", "new")'))
    assert roof.main(["compare"]) == 1
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("DIFFERS", "MISSING", "NEW")) and "verdicts that differ: 2." in shown
    assert stamp.code(stamp.library()) in book.read_text()


def test_bibtex_of_every_chapter_and_the_list_of_sweeps(capsys):
    for name, room in rooms.rooms().items():
        assert roof.main(["cite", name]) == 0
        assert capsys.readouterr().out.count("@") == len(room.cites) > 0
    assert roof.main(["sweep", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(len(room.sweeps) for room in rooms.rooms().values())
