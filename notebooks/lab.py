"""Copy the portable notebooks into the folder ``lab`` and open them in JupyterLab.

What a reader changed is never overwritten: a copy is replaced only where it still is, byte for byte, what was copied last time.
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

ROOT = Path(__file__).resolve().parent.parent
PORTABLE = ROOT / "_build" / "html" / "portable"
FOLDER = ROOT / "lab"
COPIED = ".copied.json"  # in the folder: name -> hash of what was copied


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy(source=PORTABLE, folder=FOLDER):
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


def kernel(folder, python=sys.executable):
    """Write down in a ``folder`` for Jupyter how a kernel is started: with the ``python`` of the book. Returns the folder.

    It is written anew each time, so that it holds after the folder of the book was moved.
    """
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    told = {"argv": command, "display_name": "Python 3", "language": "python", "metadata": {"debugger": True}}
    (place / "kernel.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return folder


def environment(folder):
    """The variables for Lab: kernels are looked for in a ``folder`` first; nothing is asked of a network."""
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("JUPYTER_PATH"))))
    return os.environ | {"JUPYTER_PATH": paths, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def command(python, folder=FOLDER):
    """The command that starts Lab with the ``python`` of its environment in a ``folder``."""
    return [str(python), "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]


def main(arguments=None):
    """Copy, say so, and open Lab. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Open the chapters in JupyterLab.")
    parser.add_argument("python", help="the interpreter that has jupyterlab")
    python = Path(parser.parse_args(arguments).python).absolute()
    if not PORTABLE.is_dir():
        print("the book is not built: make book", file=sys.stderr)
        return 2
    print(f"Notebooks: {FOLDER}", *copy(), sep="\n")
    return subprocess.run(
        command(python), env=environment(kernel(python.parents[1] / "kernels-of-the-book"))
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
