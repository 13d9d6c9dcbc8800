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
        "top": "from attnflow import low\n\ndef f(x):\n    return x\n",
        "low": "LOW: int = 1\n",
        "apart": "APART = 1\n",
    }
    first = library(tmp_path, **plain)
    said = {"top": '"""Words."""\nfrom attnflow import low\n\ndef f(x: int) -> int:  # words\n    return x\n'}
    for same in (said, {"low": "LOW: 'a number' = 1  # words\n"}, {"apart": "APART = 2\n"}):
        assert library(tmp_path, **plain | same) == first
    for other in ({"top": plain["top"] + "\nX = 1\n"}, {"low": "LOW = 2\n"}):
        assert library(tmp_path, **plain | other) != first
    assert stamp.library() == ("attnflow.apart", "attnflow.low", "attnflow.top")
    stamp._read.cache_clear()


def test_stamp_names_code_and_machine():
    line = stamp.line("cpu")
    assert line.startswith("python 3.") and f"code {stamp.code(stamp.library())}" in line and "\n" not in line
    assert "module = 'attnflow.nosuch'" in refusal(lambda: stamp.code(["attnflow.nosuch"]))
