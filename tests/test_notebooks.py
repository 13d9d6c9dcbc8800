"""The stored chapters: they agree with their sources, are one clean run, and run again they give the same text and figures."""

import base64
import io
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from figures import build, drawn
from PIL import Image

from attnflow import rooms, stamp

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "notebooks"
SOURCES = sorted((HERE / "src").glob("*.py"))
NAMES = [path.stem for path in SOURCES]
SANITIZE = ROOT / "tests" / "nbval.cfg"


def stored(name):
    return nbformat.read(HERE / f"{name}.ipynb", as_version=4)


def code_cells(name):
    return [cell for cell in stored(name).cells if cell.cell_type == "code"]


def texts(name):
    """Every text that a reader sees as output."""
    for cell in code_cells(name):
        for output in cell.outputs:
            if output.output_type == "stream":
                yield output.text
            for kind, content in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield content


def test_each_source_has_its_notebook_and_each_notebook_its_source():
    assert NAMES == sorted(path.stem for path in HERE.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebook_agrees_with_source_and_library(name):
    made_from = build.made_from(HERE / "src" / f"{name}.py")
    assert build.remembered(HERE / f"{name}.ipynb") == made_from, f"run: make notebooks CHAPTER={name}"


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_those_of_the_source(name):
    import jupytext

    source = jupytext.read(HERE / "src" / f"{name}.py", fmt="py:percent")
    assert [cell.source for cell in stored(name).cells] == [cell.source for cell in source.cells]


@pytest.mark.parametrize("name", NAMES)
def test_stored_as_one_clean_run(name):
    cells = code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    streams = [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert streams == [], "a warning or a progress bar was stored"
    assert not [cell for cell in cells if "execution" in cell.metadata], "times of execution were stored"


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_small(name):
    assert (HERE / f"{name}.ipynb").stat().st_size < 1.5e6
    lines = {cell.execution_count: re.sub(r"^# \|.*\n", "", cell.source, flags=re.M) for cell in code_cells(name)}
    long = [count for count, source in lines.items() if len(source.splitlines()) > 30]
    assert long == [], "cells of more than 30 lines: the machinery belongs in lib/"


@pytest.mark.parametrize("name", NAMES)
def test_stored_numbers_are_rounded(name):
    """At most three significant digits in outputs, so that another BLAS prints the same."""
    number = re.compile(r"(?<![\w.\-/])\d+\.\d+(?:e[+-]?\d+)?(?![\w.])")
    found = []
    for text in texts(name):
        if re.search(r"<(Figure|svg|div|table)|environment|python \d", text):
            continue
        for match in number.findall(text):
            digits = re.sub(r"e.*", "", match).replace(".", "").lstrip("0")
            if len(digits) > 4:
                found.append(match)
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_a_number_a_caption_of_its_own_and_alternative_text(name):
    figures = [cell for cell in code_cells(name) if any("image/png" in one.get("data", {}) for one in cell.outputs)]
    told = [build.options(cell.source) for cell in figures]
    assert figures and all({"name", "caption", "alt"} <= set(one) for one in told)
    assert len({one["name"] for one in told}) == len(told) and all(one["caption"] != one["alt"] for one in told)
    text = "\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    assert [one["name"] for one in told if f"{{numref}}`{one['name']}`" not in text] == [], (
        "the text refers to none of these"
    )


@pytest.mark.parametrize("name, least", [("2_cooccurrence", 3), ("3_encoder", 7), ("4_kernels", 4), ("5_meanfield", 6)])
def test_cells_that_a_page_computed_again_are_as_stored(name, least):
    """Three of each phase diagram, and one of two other tables."""
    found = re.findall(r"computed again it is (.*)", "\n".join(texts(name)))
    assert set(found) == {"as stored"} and len(found) == least


def test_pieces_of_one_text_are_joined():
    pieces = [("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")]
    found = build.joined([nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces])
    assert [(one.name, one.text) for one in found] == [("stdout", "ab"), ("stderr", "c"), ("stdout", "d")]


def png(width):
    """An empty picture of that ``width`` in pixels, as a notebook holds it."""
    packed = io.BytesIO()
    Image.new("L", (width, 10)).save(packed, "PNG")
    return base64.b64encode(packed.getvalue()).decode()


def test_what_a_cell_says_of_its_figure_is_complete():
    said = "# | name: fig-x\n#| caption: >-\n#|   a long\n# |   one: $x$\n# | alt: dots\nplot()\n"
    assert build.options(said) == {"name": "fig-x", "caption": "a long one: $x$", "alt": "dots"}
    assert build.options("x = 1  # | no") == {}
    with pytest.raises(RuntimeError, match="name, caption and alt"):
        build.options("# | name: fig-x\n")
    drawn = nbformat.v4.new_output("display_data", {"image/png": png(1400)})
    cell = nbformat.v4.new_code_cell(said, outputs=[drawn])
    build.captions(nbformat.v4.new_notebook(cells=[cell]))
    assert cell.metadata["mystnb"]["figure"] == {"name": "fig-x", "caption": "a long one: $x$"}
    assert cell.metadata["mystnb"]["image"] == {"alt": "dots"} and build.narrow(png(700)) == {"width": "350px"}
    for source, outputs in (("plot()", [drawn]), (said, []), (said, [drawn, drawn])):
        with pytest.raises(RuntimeError, match="figures in a cell"):
            build.captions(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, outputs=outputs)]))


@pytest.mark.parametrize("name", NAMES)
def test_page_took_about_a_minute_at_most_when_it_was_stored(name):
    """The budget is 60 s. Runs of one page on one idle machine were seen to differ by a fifth, hence the quarter.

    A page that was executed on a slower machine tells by how much that machine is slower.
    """
    (took,) = [int(found) for text in texts(name) for found in re.findall(r"^(\d+) seconds$", text, re.M)]
    slow = stored(name).metadata.get("slowness", 1)
    assert took <= 1.25 * 60 * max(1, slow)


def validate(path, threads):
    """Execute a notebook again; compare its stored text, strictly, and its figures. Returns the report where it differs."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(threads)) | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "tests"), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(SANITIZE)]
    command += ["-c", os.devnull, "--rootdir", str(path.parent), "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-p", "figures", "-q", "--no-header", str(path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    return run.stdout + run.stderr if run.returncode else ""


@pytest.mark.parametrize("name", NAMES)
def test_running_again_gives_the_stored_text_and_figures_with_one_thread(name):
    assert not (report := validate(HERE / f"{name}.ipynb", threads=1)), report


def of_this_commit(names, count):
    """Some of the ``names``: other ones after another commit, and all where there is no repository."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return names if asked.returncode else sorted(random.Random(asked.stdout).sample(names, count))


@pytest.mark.slow
@pytest.mark.parametrize("name", of_this_commit(NAMES, 1))
def test_running_again_gives_the_stored_text_and_figures_with_two_threads(name):
    assert not (report := validate(HERE / f"{name}.ipynb", threads=2)), report


CELL = "# %%\n# | name: fig-{0}\n# | caption: One.\n# | alt: {0}.\nfrom attnflow import plot\nlines = plot.plt.plot({1})\n\n"


def test_running_again_finds_a_figure_that_another_cell_draws(tmp_path):
    """Three figures, of which the first two are stored in each other's place; the texts beside them are alike."""
    source, path = tmp_path / "lines.py", tmp_path / "lines.ipynb"
    source.write_text("".join(CELL.format(*row) for row in (("up", [0, 1]), ("down", [1, 0]), ("flat", [1, 1]))))
    build.execute(source, path)
    notebook = nbformat.read(path, as_version=4)
    one, two, _ = (output.data for cell in notebook.cells for output in cell.outputs if drawn([output]))
    one["image/png"], two["image/png"] = two["image/png"], one["image/png"]
    nbformat.write(notebook, path)
    report = validate(path, threads=1)
    assert "figure 1 of the cell is like the stored one by" in report and "2 failed, 1 passed" in report, report


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A library of a ground floor, a roof and two rooms, and the source of a chapter in one of them. Returns (write, hashes)."""
    texts = {
        "attnflow/__init__.py": "",
        "attnflow/flow.py": "from attnflow import low\n",
        "attnflow/low.py": "a = 1\n",
        "attnflow/unused.py": "a = 1\n",
        "attnflow/__main__.py": "a = 1\n",
        "attnflow/here/__init__.py": "",
        "attnflow/here/model.py": "a = 1\n",
        "attnflow/here/figures.py": "a = 1\n",
        "attnflow/elsewhere/__init__.py": "",
        "attnflow/elsewhere/model.py": "a = 1\n",
        "1_here.py": "# %%\nfrom attnflow import flow\nfrom attnflow.here import model\n",
    }

    def write(changes):
        for path, text in (texts | changes).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, newline="")

    def hashes():
        stamp._read.cache_clear()
        return build.made_from(tmp_path / "1_here.py")

    monkeypatch.setattr(stamp, "PACKAGE", tmp_path / "attnflow")
    monkeypatch.setattr(rooms, "rooms", lambda: {"here": rooms.Room(1, "here", "Here", ())})
    write({})
    yield write, hashes
    stamp._read.cache_clear()


SEEN = ["flow", "low", "here/model", "here/figures"]
UNSEEN = ["unused", "__main__", "elsewhere/model"]


@pytest.mark.parametrize("path", [*SEEN, *UNSEEN])
def test_the_hash_moves_with_what_the_chapter_uses_and_with_nothing_else(small, path):
    """It uses what it imports, what that imports, and its own room whether imported or not."""
    write, hashes = small
    before = hashes()
    write({f"attnflow/{path}.py": "from attnflow import low\n\na = 2\n"})
    after = hashes()
    assert (after["library"] != before["library"]) is (path in SEEN)
    assert after["source"] == before["source"]


@pytest.mark.parametrize("text", ['"""Words."""\n\na = 1\n', "a: int = 1  # words\n", "a = 1\r\n", "a = (\n    1\n)\n"])
def test_words_and_line_endings_cost_nothing(small, text):
    write, hashes = small
    write({"attnflow/low.py": "a: object = 1\n" if "int" in text else "a = 1\n"})
    before = hashes()
    write({"attnflow/low.py": text})
    assert hashes() == before


def test_every_word_of_the_source_counts_but_not_its_line_endings(small):
    write, hashes = small
    before = hashes()
    source = "# %%\nfrom attnflow import flow\nfrom attnflow.here import model\n"
    write({"1_here.py": source.replace("\n", "\r\n")})
    assert hashes() == before
    write({"1_here.py": source.replace("%%", "%% [markdown]")})
    assert hashes()["source"] != before["source"]


@pytest.mark.parametrize("room", rooms.rooms().values(), ids=lambda room: room.name)
def test_a_room_cites_what_its_text_and_its_claims_cite(room):
    text = (HERE / "src" / f"{room.page}.py").read_text(encoding="utf-8")
    cited = {key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")}
    assert set(room.cites) == cited | {key for claim in room.claims for key in claim.cite}


def test_every_room_has_its_chapter_and_every_chapter_its_room():
    assert [room.page for room in rooms.rooms().values()] == NAMES


def test_unknown_chapter_is_one_line(capsys):
    assert build.main(["0_nosuch"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
