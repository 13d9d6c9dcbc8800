"""A chapter as JupyterLab shows it: formulas, numbers, folded solutions, and a cell that runs in the environment of the book."""

import importlib.util
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import pages
import pytest

ROOT = pages.ROOT
PYTHON = ROOT / ".venv-lab" / "bin" / "python"
# Every notebook is made in one way, and test_portable.py reads them all: a long one and one with all kinds of boxes are opened.
NAMES = ("1_foundations", "2_cooccurrence")
FLAGS = [
    *pages.FLAGS,
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # Lab is local, the rest is not there

spec = importlib.util.spec_from_file_location("lab", ROOT / "notebooks" / "lab.py")
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Lab as `make lab` starts it, on copies, with no extension of MyST in it. Yields its address."""
    if not PYTHON.exists():
        pages.missing("JupyterLab is not installed: make .venv-lab/.ready")
    if not lab.PORTABLE.is_dir():
        pages.missing("the book is not built: make book")
    home = tmp_path_factory.mktemp("home")
    lab.copy(lab.PORTABLE, home / "lab")
    settings = home / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # all cells are drawn, not only those in view
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--no-browser",
        "--IdentityProvider.token=test",
    ]
    options += ["--ServerApp.allow_root=True", "--ServerApp.ip=127.0.0.1"]
    variables = lab.environment(lab.settings(home / "of-the-book")) | {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    with open(home / "log", "w") as log:
        running = subprocess.Popen(
            [*lab.command(PYTHON, home / "lab"), *options], env=variables, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urlopen(f"{address}/api?token=test", timeout=5).close()
                break
            except OSError:
                assert running.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail((home / "log").read_text())
        yield address
    finally:
        running.terminate()
        running.wait(timeout=20)


@pytest.fixture(scope="module")
def window(server):
    """A browser that knows no address but that of Lab."""
    if not Path(pages.CHROMIUM).exists():
        pages.missing("chromium is absent: JupyterLab is not tested")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        context = play.chromium.launch_persistent_context(
            profile,
            executable_path=pages.CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        yield context
        context.close()


def opened(window, server, name):
    """A notebook in Lab, once all its formulas are set."""
    page = window.new_page()
    page.goto(f"{server}/lab/workspaces/{name}/tree/{name}.ipynb?token=test")
    page.wait_for_selector(".jp-Notebook .jp-RenderedMarkdown details", state="attached", timeout=90_000)
    page.wait_for_function(
        """() => {
            const shown = [...document.querySelectorAll(".jp-RenderedMarkdown")];
            return shown.length && !shown.some(one => /\\$|\\\\\\(|\\\\\\[/.test(one.innerText));
        }""",
        timeout=90_000,
    )
    return page


SEEN = """() => {
    const letters = node => [...node.querySelectorAll("mjx-c")]
        .map(one => String.fromCodePoint(parseInt(one.className.match(/mjx-c([0-9A-F]+)/)[1], 16))).join("");
    const all = selector => [...document.querySelectorAll(".jp-Notebook .jp-MarkdownCell " + selector)];
    return {
        tags: all("mjx-labels mjx-mtr, mjx-labels mjx-mlabeledtr").map(letters),
        broken: all("mjx-merror").length,
        open: all("details").filter(one => one.open).length,
        solutions: all("details > summary").map(one => one.textContent),
        heads: all("blockquote > p:first-child > strong:first-child").map(one => one.textContent),
        text: all(".jp-RenderedMarkdown").map(one => one.innerText).join("\\n"),
    };
}"""


@pytest.fixture(scope="module", params=NAMES)
def page(window, server, request):
    """One chapter in Lab: its name, its page."""
    page = opened(window, server, request.param)
    yield request.param, page
    page.close()


def test_lab_shows_a_chapter_as_the_book_means_it(page):
    name, page = page
    seen = page.evaluate(SEEN)
    source = (lab.PORTABLE / f"{name}.ipynb").read_text(encoding="utf-8")
    assert seen["tags"] == [f"({one})" for one in re.findall(r"\\tag\{([\d.]+)\}", source)]
    assert seen["broken"] == seen["open"] == 0
    assert seen["solutions"] == ["Solution"] * source.count("<summary>")
    assert [head for head in seen["heads"] if head.startswith("Theorem")] and ":::" not in seen["text"]
    assert not re.search(r"\{[\w:]+\}`|\]\(|\\tag|\*\*|&lt;", seen["text"])


FIRST = {  # the cell to start in of one exercise, by words of it, and what it prints
    "1_foundations": ("laws of two neurons without a bias", "laws of two neurons without a bias: 2"),
    "2_cooccurrence": ("s_c / s_1:", "s_c / s_1: [1.     0.6941 0.6941 0.    ]"),
}


def test_lab_runs_a_cell_in_the_environment_of_the_book(page):
    name, page = page
    words, printed = FIRST[name]
    cell = page.locator(".jp-CodeCell", has_text=words)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    output = cell.locator(".jp-OutputArea-output").first
    output.wait_for(timeout=90_000)
    assert output.inner_text().strip() == printed
