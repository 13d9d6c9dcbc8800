"""Wrong calls of the command line: each is one line and status 2, before anything is run or written."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch

from attnflow import __main__ as roof
from attnflow import commands, paths

OWN = """
from attnflow import Above, Control, Experiment, Trial
from attnflow.claims import chapter_of
claim = chapter_of("own")
trial = Trial(Experiment(lambda seeds, device: {"seed": seeds}), lambda record: record["seed"], Above(5))
CLAIMS = [claim("one", "One", "seeds are large", trial, Control("far", holds=Above(1000)))]
"""
RUN = {"complete": True, "digest": "", "environment": {"seeds": "0:2"}, "claims": []}
FILES = {
    "own.py": OWN,
    "syntax.py": "CLAIMS = [",
    "raises.py": "raise KeyError('sad')",
    "leaves.py": "import sys\nsys.exit(7)",
    "twice.py": OWN.replace('"seeds are large", trial', '"seeds", trial') + "CLAIMS += CLAIMS",
    "empty.py": "CLAIMS = []",
    "none.py": "",
    "kept.txt": "kept",
    "broken.json": "{",
    "list.json": "[]",
    "number.json": "3",
    "nan.json": '{"complete": NaN}',
    "stopped.json": json.dumps(RUN | {"complete": False}),
    "word.json": json.dumps(RUN | {"complete": "true"}),
    "keyless.json": json.dumps({name: value for name, value in RUN.items() if name != "complete"}),
    "claimless.json": json.dumps({name: value for name, value in RUN.items() if name != "claims"}),
    "seedless.json": json.dumps(RUN | {"environment": {}}),
    "rowless.json": json.dumps(RUN | {"claims": [{}]}),
    "flat.json": json.dumps(RUN | {"claims": [3]}),
    "altered.json": json.dumps(RUN),
}
DEVICES = (
    [] if torch.cuda.is_available() else [("--device cuda", "no CUDA device"), ("--device cuda:3", "no CUDA device")]
)
UNWRITABLE = ["folder", "folder/", "new/", "pipe", "socket", "loop", "dangling", "absent/x.json", "kept.txt/x.json"]
UNWRITABLE += ["/dev/null", "/dev/full", "to-null", "/dev/stdin", "/proc/version", "x" * 300, "''"]
UNREADABLE = [
    "folder",
    "pipe",
    "socket",
    "loop",
    "dangling",
    "absent.py",
    "kept.txt/x.py",
    "/dev/null",
    "x" * 300,
    "''",
]
NO_FOLDER = ["kept.txt", "kept.txt/x", "pipe", "loop", "dangling-file", "/dev/null", "/dev/null/x", "/proc/x", "''"]
RANGES = ["5:5", "5:4", "a:b", "-3:2", "-3", "0", "0:1001", "1001", "1:2:3", ":", ":5", "5:", "1.5", "1e3", "9" * 5000]
# A call, with '' for an empty word, and what its one line has to name. Where a fault would let a run replace a device, or begin
# one that takes long, a second reason to refuse it stands behind the first.
WRONG = [
    ("", "claims | sweep"),
    *((word, "claims") for word in ("nosuch", "claim", "--bogus", "-x", "--json", "''")),
    *((f"{word} --bogus", "--bogus") for word in ("claims", "sweep", "compare", "cite foundations")),
    *((f"{word} stray", "stray") for word in ("claims", "sweep paper_experiment", "compare", "cite foundations")),
    *((f"claims {word}", word) for word in ("--chapter", "--from", "--id", "--seeds", "--device", "--json")),
    *((f"sweep {word}", word) for word in ("--out", "--jobs", "--device")),
    ("compare --with", "--with"),
    ("claims --list=x", "--list"),
    ("claims --id= --list", "--id = ''"),
    *((f"claims --chapter {word}", "one of foundations") for word in ("nosuch", "''", "Foundations", "1", "foundations,encoder")),
    ("claims --chapter encoder --chapter nosuch", "'nosuch'"),
    *((f"claims --list {word}", "nosuch") for word in ("--chapter nosuch", "--id nosuch", "--chapter encoder --id nosuch")),
    ("claims --chapter encoder --list --id foundations.proof-product", "foundations.proof-product"),
    ("claims --chapter encoder --id foundations.proof-product", "foundations.proof-product"),
    *((f"claims --id {word}", "--list shows") for word in ("no.such", "''", "foundations", "proof-product")),
    *((f"claims --id nosuch --seeds {word}", f"--seeds = '{word}'") for word in RANGES),
    ("claims --seeds ''", "--seeds = ''"),
    *((f"claims --device {word}", "cpu, cuda or cuda:N") for word in ("tpu", "''", "CPU", "mps", "cuda:x", "cuda:-1")),
    *((f"claims {word}", said) for word, said in DEVICES),
    *((f"sweep paper_experiment {word}", said) for word, said in [*DEVICES, ("--device ''", "device = ''")]),
    ("sweep paper_experiment --adopt --device ''", "device = ''"),
    *((f"claims --json {word} --id nosuch", "a regular file") for word in UNWRITABLE),
    ("claims --from own.py --id nosuch --json own.py", "another file"),
    ("claims --from own.py --id nosuch --json to-own", "another file"),
    *((f"claims --from {word}", "a regular file") for word in UNREADABLE),
    *((f"claims --from {name}.py", f"{name}.py") for name in ("syntax", "raises", "leaves", "empty", "none")),
    *((f"claims --list --from {name}.py", f"{name}.py") for name in ("syntax", "raises", "leaves", "empty", "none")),
    ("claims --from twice.py", "used once"),
    ("claims --from own.py --from own.py", "given once"),
    ("claims --from own.py --id own.two", "own.two"),
    ("claims --from kept.txt", "NameError"),
    ("claims --id own.one --id own.one", "given once"),
    ("claims --chapter encoder --chapter encoder", "given once"),
    *((f"claims {word}", "given twice") for word in ("--json a --json b", "--seeds 2 --seeds 3", "--device cpu --device cpu")),
    *((f"claims --list {word}", "no effect") for word in ("--json x.json", "--seeds 3", "--device cpu", "--json ''")),
    ("sweep", "NAME"),
    *((f"sweep {word}", "--list shows") for word in ("nosuch", "''", "encoder", "--adopt nosuch", "--keep nosuch", "../x")),
    *((f"sweep paper_experiment --jobs {word}", word) for word in ("0", "-1", "x", "1.5", "''")),
    *((f"sweep nosuch --out {word}", "a folder") for word in NO_FOLDER),
    *((f"sweep paper_experiment {word}", "given twice") for word in ("--out a --out b", "--jobs 1 --jobs 2")),
    *((f"sweep --list {word}", "no effect") for word in ("paper_experiment", "--keep", "--adopt", "--jobs 2")),
    *((f"sweep paper_experiment {word} --beside x", "given with --adopt") for word in ("", "--keep")),
    *((f"sweep paper_experiment --adopt --beside {word}", "a copy of the book") for word in ("x", "folder", "''")),
    *((f"sweep --list {word}", "no effect") for word in ("--beside x", "--out x", "--out ''", "--device cpu")),
    *((f"sweep paper_experiment --adopt {word}", "no effect") for word in ("--keep", "--jobs 2", "--out x", "--out ''")),
    *((f"compare --with {word}", "a regular file") for word in UNREADABLE),
    *((f"compare --with {name}.json", "JSON") for name in ("broken", "nan")),
    *((f"compare --with {name}.json", "complete") for name in ("stopped", "word", "keyless", "list", "number")),
    *((f"compare --with {name}.json", "claims --json") for name in ("claimless", "seedless", "rowless", "flat")),
    ("compare --with altered.json", "that of its rows"),
    ("compare --with stopped.json --with stopped.json", "given twice"),
    ("cite", "chapter"),
    *((f"cite {word}", "one of foundations") for word in ("nosuch", "''", "FOUNDATIONS")),
]  # fmt: skip


@pytest.fixture(scope="module")
def corner(tmp_path_factory):
    """A folder with one of everything that is no file for a run."""
    place = tmp_path_factory.mktemp("corner")
    for name, text in FILES.items():
        (place / name).write_text(text)
    (place / "folder").mkdir()
    os.mkfifo(place / "pipe")
    links = {
        "loop": "loop",
        "dangling": "absent/x",
        "dangling-file": "kept.txt/x",
        "to-null": "/dev/null",
        "to-own": "own.py",
    }
    for name, aim in links.items():
        (place / name).symlink_to(aim)
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(place)  # the address of a socket must be short
        one.bind("socket")
        os.chdir(before)
    return place


@pytest.mark.parametrize(("call", "said"), WRONG, ids=[call[:60] for call, _ in WRONG])
def test_wrong_use_is_one_line_and_status_2_and_touches_nothing(call, said, corner, monkeypatch, capsys):
    monkeypatch.chdir(corner)
    before = {path: path.lstat().st_mtime_ns for path in corner.rglob("*")}
    assert roof.main(["" if word == "''" else word for word in call.split()]) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
    assert told.err.startswith("attnflow: ") and said in told.err
    assert {path: path.lstat().st_mtime_ns for path in corner.rglob("*")} == before


def test_there_are_many_wrong_calls():
    assert len({call for call, _ in WRONG}) == len(WRONG) > 131


def test_a_file_that_cannot_be_written_is_refused_and_so_is_a_full_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "old.json").write_text("old")
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)
    assert roof.main(["claims", "--json", str(tmp_path / "old.json")]) == 2
    monkeypatch.undo()

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths.tempfile, "mkstemp", full)
    assert roof.main(["claims", "--json", str(tmp_path / "old.json")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "No space left on device" in told[1] and (tmp_path / "old.json").read_text() == "old"


def test_keep_needs_two_files_that_it_can_replace(results, capsys):
    """Wherever the book is found, before a task is run; a link from one disk to another is followed."""
    call = ["sweep", "paper_experiment", "--keep"]
    place = results / "cooccurrence"
    place.symlink_to(os.devnull)
    assert roof.main(call) == 2
    place.unlink()
    place.mkdir()
    for name in ("paper_experiment.npz", "paper_experiment.json"):
        (place / name).mkdir()
        assert roof.main(call) == 2
        (place / name).rmdir()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3 and "a folder" in told[0] and ".npz" in told[1] and ".json" in told[2]
    assert list(place.iterdir()) == list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("option", ["--keep", "--adopt"])
def test_the_stored_runs_of_an_installed_library_are_only_read(option, monkeypatch, capsys):
    monkeypatch.setattr(commands.sweep, "home", lambda: commands.OWN / "results")
    assert roof.main(["sweep", "paper_experiment", option]) == 2
    assert f"attnflow: {option} = " in (told := capsys.readouterr().err) and "in a copy of the book" in told
