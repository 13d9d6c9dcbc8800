"""One hash of code: what it sees, and what it does not."""

from conftest import refusal

from attnflow import stamp


def library(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    stamp._read.cache_clear()
    return stamp.code(["attnflow.top"])


def test_the_hash_sees_statements_of_what_is_imported_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(stamp, "PACKAGE", tmp_path)
    plain = {
        "top": "from attnflow import door, low\n\n@door.takes(x=1)\n@low.kept\ndef f(x):\n    return x\n",
        "door": "DOOR = 1\n",
        "low": "LOW: int = 1\n",
        "apart": "APART = 1\n",
    }
    first = library(tmp_path, **plain)
    lines = [
        '"""Words."""',
        "from attnflow import door, low",
        "",
        "@door.takes(x=2)",
        "@low.kept",
        "def f(x: int) -> int:",
    ]
    said = {"top": "\n".join([*lines, "    return x  # words", ""])}
    for same in (said, {"low": "LOW: 'a number' = 1  # words\n"}, {"apart": "APART = 2\n"}, {"door": "DOOR = 2\n"}):
        assert library(tmp_path, **plain | same) == first
    for other in (
        {"top": plain["top"] + "\nX = 1\n"},
        {"top": plain["top"].replace("@low.kept", "")},
        {"low": "LOW = 2\n"},
    ):
        assert library(tmp_path, **plain | other) != first
    assert stamp.library() == ("attnflow.apart", "attnflow.door", "attnflow.low", "attnflow.top")
    stamp._read.cache_clear()


def test_stamp_names_code_and_machine():
    line = stamp.line("cpu")
    assert line.startswith("python 3.") and f"code {stamp.code(stamp.library())}" in line and "\n" not in line
    assert "module = 'attnflow.nosuch'" in refusal(lambda: stamp.code(["attnflow.nosuch"]))
