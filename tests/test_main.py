"""The command line: what it prints, what it writes, and how it fails."""

import json

import pytest
import torch

from attnflow import __main__ as roof
from attnflow import claims
from attnflow.citations import CHAPTERS, cite

QUICK = "foundations.proof-product"


def test_rows_and_json(tmp_path, capsys):
    path = tmp_path / "out.json"
    assert (
        roof.main(["claims", "--id", QUICK, "--id", "foundations.one-step", "--seeds", "7:9", "--json", str(path)]) == 0
    )
    shown = capsys.readouterr().out
    assert shown.count("ok  ") == 2 and "2 of 2 rows" in shown
    stored = json.loads(path.read_text())
    assert stored["environment"]["seeds"] == "7:9" and [row["id"] for row in stored["claims"]][0] == QUICK
    step = stored["claims"][1]
    assert len(step["measured"]) == 2 and step["seed_dependent"] and not stored["claims"][0]["seed_dependent"]
    assert set(step) >= {"predicted", "criterion", "margin", "holds", "control", "control_measured", "control_fails"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


WRONG = [
    ["claims", "--chapter", "nosuch"],
    ["claims", "--seeds", "5:5"],
    ["claims", "--seeds", "a:b"],
    ["claims", "--seeds", "-3:2"],
    ["claims", "--seeds", "0:1001"],
    ["claims", "--seeds", "1:2:3"],
    ["claims", "--id", "no.such"],
    ["claims", "--json", "/no/such/dir/x.json"],
    ["sweep", "nosuch"],
    ["cite", "nosuch"],
]
if not torch.cuda.is_available():
    WRONG.append(["claims", "--device", "cuda"])


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_use_is_one_line_and_status_2(arguments, capsys):
    assert roof.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.strip().splitlines()) == 1
    assert arguments[-1].split(" ")[0] in told.err and "must be" in told.err


def test_unknown_options_are_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        roof.main(["claims", "--bogus"])
    assert stop.value.code == 2 and len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_row_that_is_not_as_stated_is_status_1(monkeypatch, capsys):
    def broken(claim, seeds, device):
        raise RuntimeError("no luck")

    monkeypatch.setattr(claims, "evaluate", broken)
    assert roof.main(["claims", "--id", QUICK]) == 1
    assert "could not be run: RuntimeError: no luck" in capsys.readouterr().out


def test_interrupt_writes_nothing(monkeypatch, tmp_path):
    def stopped(claim, seeds, device):
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "evaluate", stopped)
    assert roof.main(["claims", "--id", QUICK, "--json", str(tmp_path / "x.json")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_lists(capsys):
    assert roof.main(["claims", "--list"]) == 0 and QUICK in capsys.readouterr().out
    assert roof.main(["sweep", "--list"]) == 0


def test_ids_are_unique_and_named_after_their_chapter():
    found = roof.registry()
    assert len({claim.id for claim in found}) == len(found) > 15


def test_bibtex_of_every_chapter(capsys):
    for chapter in CHAPTERS:
        assert roof.main(["cite", chapter]) == 0
        assert capsys.readouterr().out.strip() == cite(chapter) and cite(chapter).count("@") == len(CHAPTERS[chapter])
