"""The command line: what it prints, what it writes, and how it fails."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refusal

import attnflow
from attnflow import __main__ as roof
from attnflow import commands, files, judging, listing, rooms, runs, stamp, sweep
from attnflow.claims import evaluation
from attnflow.claims.stored import read_run

QUICK = "foundations.proof-product"
FILE = """
from attnflow.claims import Above, Below, Control, Experiment, Trial, chapter_of

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
    assert listed(capsys) == [claim.id for claim in judging.registry()] and QUICK in chapter


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


def stopping(monkeypatch, error, place=evaluation, name="settled", after=1):
    """Let what is called ``name`` in a ``place`` raise an ``error`` from its second call on, or ``after`` more or fewer."""
    seen, real = [], getattr(place, name)

    def call(*arguments):
        seen.append(arguments)
        if len(seen) > after:
            raise error
        return real(*arguments)

    monkeypatch.setattr(place, name, call)


FULL = OSError(28, "No space left on device")
ENDS = [
    (KeyboardInterrupt(), 130, "stopped, 1 of 2 rows are in"),
    (FULL, 3, "failed: OSError: [Errno 28] No space left on device; 1 of 2 rows"),
    (runs.WrongUse("width = 0 is not allowed"), 3, "failed: WrongUse: width = 0 is not allowed; 1 of 2 rows"),
    (ValueError("two\nlines"), 3, "failed: ValueError: two lines; 1 of 2 rows"),
    (SystemExit(0), 3, "failed: SystemExit: 0; 1 of 2 rows"),
    (BrokenPipeError(), 141, "the output was closed, 1 of 2 rows are in"),
]


@pytest.mark.parametrize(("error", "status", "said"), ENDS, ids=[type(error).__name__ for error, *_ in ENDS])
def test_what_is_computed_before_the_end_is_written_and_is_no_whole_run(
    error, status, said, monkeypatch, capsys, tmp_path, own
):
    path = tmp_path / "x.json"
    stopping(monkeypatch, error)
    assert roof.main(["claims", "--from", own, "--seeds", "7:9", "--json", str(path)]) == status
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"attnflow: {said}") and told.endswith('x.json, with "complete": false')
    stored = json.loads(path.read_text())
    assert stored["complete"] is False and [row["id"] for row in stored["claims"]] == ["own.one"]
    assert refusal(lambda: read_run(path)).startswith(f"complete of {path} = False")
    assert roof.main(["compare", "--with", str(path)]) == 2 and "not stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "name", "error", "status", "said"),
    [
        (
            judging.stamp,
            "environment",
            RuntimeError("no disk"),
            3,
            "failed: RuntimeError: no disk; nothing was written",
        ),
        (evaluation, "settled", KeyboardInterrupt(), 130, "stopped, nothing was written"),
        (evaluation, "settled", BrokenPipeError(), 141, None),
        (
            judging,
            "write_run",
            FULL,
            3,
            "failed: OSError: [Errno 28] No space left on device; what was computed could",
        ),
        (judging, "outside", KeyboardInterrupt(), 130, "stopped, nothing was written"),
        (judging, "outside", FULL, 3, "failed: OSError: [Errno 28] No space left on device; nothing was written"),
        (
            commands,
            "load",
            runs.WrongUse("title is used twice"),
            3,
            "failed: ImportError: WrongUse: title is used twice",
        ),
    ],
)
def test_where_nothing_is_computed_nothing_is_written(
    place, name, error, status, said, monkeypatch, capsys, tmp_path, own
):
    path = tmp_path / "x.json"
    path.write_text("old")
    stopping(monkeypatch, error, place, name, after=0)
    assert roof.main(["claims", "--from", own, "--seeds", "7:9", "--json", str(path)]) == status
    told = capsys.readouterr().err.splitlines()
    assert len(told) == (said is not None) and all(line.startswith(f"attnflow: {said}") for line in told)
    assert path.read_text() == "old" and sorted(one.name for one in tmp_path.iterdir()) == ["own", "x.json"]


def test_rows_go_through_a_link_and_say_that_they_are_all(tmp_path, own):
    aim, link = tmp_path / "aim" / "rows.json", tmp_path / "link.json"
    aim.parent.mkdir()
    link.symlink_to("aim/rows.json")  # which is absent, and then there
    for seeds in ("7:9", "6"):
        assert roof.main(["claims", "--from", own, "--seeds", seeds, "--json", str(link)]) == (seeds == "6")
        assert json.loads(aim.read_text())["complete"] is True and link.is_symlink()
    assert read_run(link)[0]["seeds"] == "6"
    os.mkfifo(tmp_path / "pipe")
    assert "a regular file" in refusal(lambda: files.write_json(tmp_path / "pipe", {}))
    assert not (tmp_path / "pipe").is_file()


def test_a_sweep_that_is_stopped_says_what_stays_and_goes_on_there(tmp_path, monkeypatch, capsys):
    def cell(device, width):
        if width in stops:
            raise KeyboardInterrupt
        return {"width": np.array(width)}

    table, stops = sweep.Sweep("own", "one's own", cell, {"width": (1, 2, 3)}), {3}
    own = SimpleNamespace(name="own", sweeps=(table,))
    monkeypatch.setattr(commands, "load", lambda options: None)
    monkeypatch.setattr(commands, "rooms", lambda: {"own": own})
    folder = tmp_path / "a" / "b"
    call = ["sweep", "own", "--out", str(folder), "--device", "cpu"]
    assert roof.main(call) == 130
    said = f"attnflow: stopped, 2 of 3 tasks stay in {folder}: the same call goes on there"
    assert capsys.readouterr().err.splitlines() == [said]
    stops.clear()
    stops |= {1, 2}
    assert roof.main(call) == 0 and capsys.readouterr().out == f"3 tasks in {folder}\n"
    assert roof.main([*call[:2], "--out", str(tmp_path / "c")]) == 130
    assert capsys.readouterr().err == "attnflow: stopped, nothing was written\n"


ENCODINGS = [("ascii", b"(<= 500); control", b"100 ... 101"), ("cp1252", b"(<= 500); control", b"100 \x85 101")]


@pytest.mark.parametrize(("encoding", "criterion", "extent"), ENCODINGS)
def test_rows_survive_an_encoding_that_lacks_their_signs(encoding, criterion, extent, own, tmp_path, monkeypatch):
    Path(own).write_text(
        FILE.replace("Above(5)", "Below(500)").replace("Above(1000)", "Below(1)").replace("Above", "Below")
    )
    out, path = io.TextIOWrapper(io.BytesIO(), encoding=encoding), tmp_path / "x.json"
    monkeypatch.setattr(sys, "stdout", out)
    assert roof.main(["claims", "--from", own, "--seeds", "100:102", "--json", str(path)]) == 0
    shown = out.buffer.getvalue()
    assert criterion in shown and extent in shown and "≤ 500" in path.read_text(encoding="utf-8")


def test_half_a_sign_in_a_stored_text_is_valid_json(tmp_path):
    files.write_json(tmp_path / "x.json", "name \udcff ≤")
    assert files.read_json(tmp_path / "x.json") == "name \udcff ≤"
    assert "≤" in (tmp_path / "x.json").read_text(encoding="utf-8")


SAD, NAN = ('record["seed"]', 'record["sad"]'), ('record["seed"]', '[float("nan")] * 2')


@pytest.mark.parametrize(
    ("changes", "seeds", "status", "unjudged"),
    [
        ([], "7:9", 0, ""),
        ([], "2:4", 1, ""),
        ([("Above(1000)", "Above(2)")], "7:9", 1, ""),  # the control does not fail
        ([SAD], "7:9", 3, "own.one, own.two"),
        ([NAN], "7:9", 3, "own.one, own.two"),
        ([NAN, ("Above(5)", "Below(5)"), ("Above(1000)", "Below(9)")], "7:9", 3, "own.one, own.two"),
        ([("read, Above", "lambda record: [1.0 / (name == 'x')], Above")], "7:9", 3, "own.one, own.two"),
    ],
)
def test_status_1_is_a_contradiction_and_3_what_has_no_verdict(changes, seeds, status, unjudged, own, capsys):
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(own).write_text(text)
    assert roof.main(["claims", "--from", own, "--seeds", seeds]) == status
    told = capsys.readouterr()
    assert f"{2 if status == 0 else 0} of 2 rows" in told.out
    assert told.err == (f"attnflow: without a verdict: {unjudged}\n" if unjudged else "")


def test_what_has_no_verdict_outweighs_a_contradiction(own, capsys):
    trial = 'Trial(Experiment(seeds_of), lambda record: record["sad"], Above(5))'
    failing = f'CLAIMS.append(claim("sad", "sad", "is not run", {trial}, control))'
    Path(own).write_text(FILE + failing + "\n")
    assert roof.main(["claims", "--from", own, "--seeds", "4"]) == 3
    told = capsys.readouterr()
    assert told.out.count("FAIL") == 3 and "could not be run: KeyError: 'sad'" in told.out
    assert told.err == "attnflow: without a verdict: own.sad\n"


def test_a_run_is_compared_with_the_book(own, tmp_path, monkeypatch, capsys):
    book, yours = tmp_path / "results" / "claims.json", tmp_path / "yours.json"
    book.parent.mkdir()
    for path, seeds in ((book, "7:9"), (yours, "8:10")):
        roof.main(["claims", "--from", own, "--seeds", seeds, "--json", str(path)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "registry", lambda: judging.outside(own))
    capsys.readouterr()
    assert roof.main(["compare"]) == 0
    assert "own.one  7 … 8  7 … 8  0e+00       same" in capsys.readouterr().out
    assert roof.main(["compare", "--with", str(yours)]) == 0
    assert "seeds: 7:9 in the book, 8:10 here" in (shown := capsys.readouterr().out) and "8 … 9  1e-01" in shown
    Path(own).write_text(FILE.replace("Above(5)", "Above(7.5)").replace('("one", "two")', '("one", "new")'))
    assert roof.main(["compare"]) == 3
    shown, told = capsys.readouterr()
    assert all(word in shown for word in ("DIFFERS", "MISSING", "NEW")) and "verdicts that differ: 2." in shown
    assert told == "attnflow: without a verdict: own.two\n"
    Path(own).write_text(FILE.replace("Above(5)", "Above(7.5)"))
    assert roof.main(["compare"]) == 1 and capsys.readouterr().err == ""
    assert stamp.code(stamp.library()) in book.read_text()


def test_bibtex_of_every_chapter_and_the_list_of_sweeps(capsys):
    for name, room in rooms.rooms().items():
        assert roof.main(["cite", name]) == 0
        assert capsys.readouterr().out.count("@") == len(room.cites) > 0
    assert roof.main(["sweep", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(len(room.sweeps) for room in rooms.rooms().values())


HEAVY = "print(sorted({'torch', 'numpy', 'scipy', 'sympy', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"


def process(code, **settings):
    """A Python process of its own that runs a ``code``, and hears Ctrl-C where the tests themselves do not, in the background."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"import sys; {heard}; from attnflow.__main__ import main\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code], **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    )


@pytest.mark.parametrize(("call", "said"), [(["--help"], "claims | sweep"), (["claims", "--help"], "foundations, ")])
def test_a_help_text_and_a_list_need_nothing_that_is_heavy(call, said):
    """Half a second of a processor, where torch alone takes two."""
    before = os.times()
    told, errors = process(f"main({call})\n{HEAVY}").communicate()
    after = os.times()
    assert said in told and errors == "[]\n"
    assert sum(after[2:4]) - sum(before[2:4]) < 0.5


def test_a_list_is_kept_and_is_never_old(tmp_path, monkeypatch, capsys):
    """The list of today's files is shown without an import; that of others is made again."""
    path, fresh = tmp_path / "listed.json", listing.made()
    monkeypatch.setattr(listing, "STORED", path)
    assert listing.known() == fresh and sorted(fresh["claims"]) == sorted(rooms.rooms())
    files.write_json(path, fresh | {"digest": "of another day", "claims": {}})
    assert listing.known() == fresh
    files.write_json(path, fresh)
    code = f"from attnflow import listing; listing.STORED = listing.Path({str(path)!r})\n"
    told, errors = process(code + f"main(['claims', '--list'])\nmain(['sweep', '--list'])\n{HEAVY}").communicate()
    assert errors == "[]\n" and roof.main(["claims", "--list"]) == roof.main(["sweep", "--list"]) == 0
    assert told == capsys.readouterr().out and len(told.splitlines()) > len(judging.registry())


@pytest.mark.parametrize(("number", "status", "said"), [(2, 130, "stopped"), (15, 143, "ended by SIGTERM")])
def test_ctrl_c_in_the_first_second_is_one_line(number, status, said):
    with process("print(flush=True)\nsys.exit(main(['claims']))") as run:
        run.stdout.readline()
        time.sleep(0.2)
        run.send_signal(number)
        told = run.communicate(timeout=60)
    assert (run.returncode, *told) == (status, "", f"attnflow: {said}, nothing was written\n")


def test_the_second_ctrl_c_is_not_heard_and_what_a_parent_switched_off_stays_so(monkeypatch):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with roof.Stop(last=True) as stop:
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with roof.Stop(last=False):
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        for one, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(one, handler)


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_a_full_disk_and_a_closed_output_end_without_a_traceback(buffered):
    end, closed = os.pipe()
    os.close(end)
    with open("/dev/full", "w") as full:
        made = [
            process(code, stdout=out, env=os.environ | {"PYTHONUNBUFFERED": buffered})
            for code, out in (
                ("sys.exit(main(['claims', '--help']))", closed),
                ("sys.exit(main(['claims', '--help']))", full),
                ("sys.stdout = None; sys.exit(main(['claims', '--help']))", full),
                ("sys.stderr = None; sys.exit(main(['nosuch']))", full),
            )
        ]
        ends = [(run.communicate()[1], run.returncode) for run in made]
    os.close(closed)
    assert ends[0] == ("", 141) and ends[3] == ("", 2)
    assert ends[1] == ("attnflow: failed: OSError: [Errno 28] No space left on device; nothing was written\n", 3)
    assert ends[2][1] == 2 and "standard output = 'closed'" in ends[2][0] and ends[2][0].count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "<= 1 ... 2 e \\u4e2d\n"),
        ({"PYTHONIOENCODING": "latin-1"}, "<= 1 ... 2 \xe9 \\u4e2d\n"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "<= 1 ... 2 e \\u4e2d\n"),
        ({"PYTHONIOENCODING": "utf-8"}, "≤ 1 … 2 é 中\n"),
    ],
)
def test_signs_are_printed_readably_in_any_encoding(settings, said):
    code = r"from attnflow import outlet; outlet.prepare(); print('\u2264 1 \u2026 2 \xe9 \u4e2d')"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"} | settings
    told, errors = process(code, env=env, text=False).communicate()
    assert told.decode("utf-8" if "≤" in said else "latin-1") == said and errors == b""


def test_what_the_library_gives_out_is_there_without_being_imported_first():
    assert {*attnflow.__all__, "flow", "claims", "__version__"} <= set(dir(attnflow))
    assert attnflow.Near is attnflow.claims.Near and attnflow.integrate is attnflow.flow.integrate
    assert attnflow.kinds is attnflow.claims.kinds and attnflow.cite is rooms.cite
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = attnflow.nosuch
