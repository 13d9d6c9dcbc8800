"""The table of mutations: every row can be made and names a killer that exists; the runner tells the ways of ending apart."""

import ast
from functools import lru_cache

import pytest
from mutants import killers, run, workers

from attnflow.judging import registry

ROWS = run.table()
CLAIMS = {claim.id: claim for claim in registry()}


@lru_cache
def cases_of(file):
    """The test functions of a file, by name, each with whether it has cases."""
    body = ast.parse((workers.ROOT / file).read_text(encoding="utf-8")).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {node.name: any("parametrize" in ast.unparse(one) for one in node.decorator_list) for node in functions}


def test_every_row_changes_one_line_that_is_there_once():
    assert len(ROWS) >= 80 and len({(row.file, row.old, row.new) for row in ROWS}) == len(
        {row.id for row in ROWS}
    ) == len(ROWS)
    faults = [row.id for row in ROWS if "\n" in row.old + row.new or row.old == row.new]
    for row in ROWS:
        try:
            ast.parse(row.text())
        except (OSError, ValueError, SyntaxError) as error:
            faults.append(f"{row.id}: {error}")
    assert faults == []


def test_every_killer_exists_and_compares_with_nothing_stored():
    faults = []
    for row in ROWS:
        file, _, name = row.killer.partition("::")
        if not name:
            faults += [row.id] * (file not in CLAIMS)
            continue
        known = cases_of(file) if (workers.ROOT / file).is_file() else {}
        bare, case, _ = name.partition("[")
        faults += [row.id] * (
            bare not in known or bool(case) > known[bare] or "in_the_ledger" in name or "notebook" in file
        )
    assert faults == []


def test_exceptions_name_rows_and_predictions_that_exist():
    predicted = {
        f"{name} x {times}" for name, claim in CLAIMS.items() if killers.predicts(claim) for times in killers.TIMES
    }
    known = run.exceptions()
    assert set(known) <= {row.id for row in ROWS} | predicted and all(known.values())


def test_a_test_catches_by_an_assertion_and_by_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bodies = {"good": "pass", "bad": "assert 1 == 2", "lost": "nowhere", "kept": "with pytest.raises(OSError): pass"}
    text = "import pytest\n" + "".join(f"def test_{name}():\n    {body}\n" for name, body in bodies.items())
    (tmp_path / "test_it.py").write_text(
        text + "@pytest.mark.parametrize('n', [1, 2])\ndef test_n(n):\n    assert n < 2\n"
    )
    names = [f"test_it.py::test_{name}" for name in (*bodies, "n", "n[1]", "none")]
    told = list(killers.seen(names[:-1]).values())
    assert told == ["passed", "caught", "NameError: name 'nowhere' is not defined", "caught", "caught", "passed"]
    assert "ended with" in killers.seen(names[-1:])[names[-1]]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("passed", "caught", "killed"),
        ("passed", "passed", "survived"),
        ("passed", "TypeError: no", "wrong"),
        ("caught", "caught", "wrong"),
        ("KeyError: no", "passed", "wrong"),
    ],
)
def test_verdicts(before, after, verdict, capsys):
    row = run.Mutant("part.row", "file.py", "a", "b", "here.claim")
    told = {
        "attnflow.here": ({"here.claim": before}, {"here.other": {1.0: True, 0.9: False, 1.1: True}}),
        "part.row": after,
    }
    found = run.verdicts([row], told, {})
    assert found["part.row"][0] == verdict
    assert run.summary("mutants", found, {}) == (verdict == "killed")
    assert run.summary("mutants", found, {"part.row": "a reason"}) == (verdict == "survived")
    told = run.forecasts(told, {"attnflow.here": ["here.other"]})
    assert {name: word for name, (word, _) in told.items()} == {
        "here.other x 0.9": "killed",
        "here.other x 1.1": "survived",
    }
    assert "0 killed" in capsys.readouterr().out or verdict == "killed"
