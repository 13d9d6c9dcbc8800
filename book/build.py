"""Build the book into _build and print its address and the time taken.

Runs ``jupyter-book build . -W -n --keep-going``: warnings are errors, and so are references that lead nowhere. Nothing is
executed. When nothing that the book is made of has changed, the last build is kept. When only text has, pages and chapters,
Sphinx reads these again and writes what shows them (``book/_ext/attnflow_lean.py``); when anything else has, or when the last
build had a warning, all is built again.

The wheel of the library, with the stored runs in it, goes into the site: a notebook that is downloaded needs nothing else of it.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
STAMP = ROOT / "_build" / "built-from.json"
PACKAGE = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "lib", "results"]  # what the wheel is made of
TOP = ["_config.yml", "_toc.yml", "requirements.txt", "CHANGELOG.md", "CITATION.cff"]
MADE_OF = [*TOP, "book", "notebooks/*.ipynb", "notebooks/*.toml", "vendor", *PACKAGE]
NOT_PACKED = shutil.ignore_patterns("__pycache__", "*.egg-info", "runs")


def fingerprint():
    """A hash of every file that the book is made of: path -> hash."""
    found = {}
    for pattern in MADE_OF:
        for top in sorted(ROOT.glob(pattern)):
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
                    found[path.relative_to(ROOT).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def last():
    """The fingerprint of the last build that went well; empty where there is none."""
    return json.loads(STAMP.read_text()) if (SITE / "index.html").exists() and STAMP.exists() else {}


def only_text(before, now):
    """Whether nothing but the text of pages and chapters differs, and no page is new or gone.

    >>> only_text({"a.md": 1, "b.py": 1}, {"a.md": 2, "b.py": 1}), only_text({"a.md": 1}, {"a.md": 1, "b.md": 1})
    (True, False)
    """
    changed = [path for path in now if before.get(path) != now[path]]
    return before.keys() == now.keys() and all(path.endswith((".md", ".ipynb")) for path in changed)


def wheel(folder):
    """Build the wheel of the library into a ``folder``, from a copy: setuptools leaves nothing here. Returns pip's status."""
    with tempfile.TemporaryDirectory() as copy:
        for name in PACKAGE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(copy, name), ignore=NOT_PACKED)
            else:
                shutil.copy(ROOT / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
        return subprocess.run([*command, "--no-build-isolation", "-w", str(folder), copy]).returncode


def main():
    """Build if anything changed. Returns the exit status."""
    began = time.perf_counter()
    before, made_of = last(), fingerprint()
    index = SITE / "index.html"
    if before == made_of:
        print("Nothing changed since the last build.")
    else:
        STAMP.unlink(missing_ok=True)
        if not only_text(before, made_of):
            shutil.rmtree(ROOT / "_build", ignore_errors=True)
        tool = shutil.which("jupyter-book", path=str(Path(sys.executable).parent)) or "jupyter-book"
        command = [tool, "build", ".", "-W", "-n", "--keep-going"]
        status = subprocess.run(command, cwd=ROOT).returncode
        if status or not index.exists():
            print(
                f"The book was not built: the warnings above are errors here (exit status {status}).", file=sys.stderr
            )
            return status or 1
        packed = [path for path in made_of if path.startswith(tuple(PACKAGE)) and before.get(path) != made_of[path]]
        if (packed or not (SITE / "wheel").exists()) and (status := wheel(SITE / "wheel")):
            print(f"The wheel of the library was not built: see pip above (exit status {status}).", file=sys.stderr)
            return status
        STAMP.write_text(json.dumps(made_of))
    print(f"\nThe book: {index.as_uri()}\n{time.perf_counter() - began:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
