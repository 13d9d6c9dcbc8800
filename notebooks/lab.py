"""Copy the portable notebooks into the folder ``lab`` and open them in JupyterLab.

What a reader changed is never overwritten: a copy is replaced only where its cells are still those that were copied last time.
The folder lies outside ``_build``, which every build of the book empties, and git ignores it. Lab runs in an environment of its
own and starts its kernels in the one of the book.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PORTABLE = ROOT / "_build" / "html" / "portable"
FOLDER = ROOT / "lab"
COPIED = ".copied.json"  # in the folder: name -> hash of what was copied


def _hash(path):
    """A hash of the cells of a notebook, texts and outputs: Lab rewrites the rest of a file that was only opened."""
    text = path.read_text(encoding="utf-8")
    try:
        cells = nbformat.reads(text, as_version=4).cells
    except nbformat.reader.NotJSONError:
        return hashlib.sha256(text.encode()).hexdigest()
    told = json.dumps([(cell.cell_type, cell.source, cell.get("outputs")) for cell in cells], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def copy(source, folder):
    """Bring the notebooks of ``source`` into a ``folder``. Returns one line for each that was written or left alone.

    A copy that the reader changed stays. Where the book has another one since then, the line says so, and how to get it.
    """
    folder.mkdir(exist_ok=True)
    record = folder / COPIED
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    told = []
    for path in sorted(source.glob("*.ipynb")):
        target, new = folder / path.name, _hash(path)
        now = _hash(target) if target.exists() else None
        if now == new:
            known[path.name] = new
        elif now is None or now == known.get(path.name):
            target.write_bytes(path.read_bytes())
            told.append(f"{path.name}: {'copied' if now is None else 'replaced by the newer one of the book'}")
            known[path.name] = new
        elif new != known.get(path.name):
            told.append(f"{path.name}: yours is kept; the book has a newer one, rename yours and start again to get it")
        else:
            told.append(f"{path.name}: yours, as you left it")
    record.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return told


def settings(folder, myst=False, python=sys.executable):
    """Write down in a ``folder`` how Lab works: with kernels of the book's ``python``, and with ``myst`` or without it.

    Without, since the portable notebooks are plain and the extension would number their theorems anew. It is written each time,
    so that it holds after the folder of the book was moved. Lab asks nobody for news. Returns the folder.
    """
    place, config = folder / "kernels" / "python3", folder / "labconfig"
    for each in (place, config):
        each.mkdir(parents=True, exist_ok=True)
    disabled = {
        "disabledExtensions": {"jupyterlab-myst": not myst, "@jupyterlab/apputils-extension:announcements": True}
    }
    (config / "page_config.json").write_text(json.dumps(disabled) + "\n", encoding="utf-8")
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    told = {"argv": command, "display_name": "Python 3", "language": "python", "metadata": {"debugger": True}}
    (place / "kernel.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return folder


def environment(folder):
    """The variables for Lab, which looks for kernels and settings in a ``folder`` first."""
    found = {
        name: os.pathsep.join(filter(None, (str(folder), os.environ.get(name))))
        for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
    }
    return os.environ | found | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def command(python, folder):
    """The command that starts Lab with the ``python`` of its environment in a ``folder``."""
    return [str(python), "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]


def main(arguments=None):
    """Copy, say so, and open Lab. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Open the chapters in JupyterLab.")
    parser.add_argument("python", help="the interpreter that has jupyterlab")
    parser.add_argument("--source", action="store_true", help="the stored notebooks of the book, with MyST, to be read")
    options = parser.parse_args(arguments)
    if not options.source and not PORTABLE.is_dir():
        print("the book is not built: make book", file=sys.stderr)
        return 2
    python = Path(options.python).absolute()
    folder = ROOT / "notebooks" if options.source else FOLDER
    print(f"Notebooks: {folder}", *([] if options.source else copy(PORTABLE, FOLDER)), sep="\n")
    known = environment(settings(python.parents[1] / "of-the-book", myst=options.source))
    return subprocess.run(command(python, folder), env=known).returncode


if __name__ == "__main__":
    sys.exit(main())
