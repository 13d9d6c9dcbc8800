"""Build the book into _build and print its address and the time taken.

Runs ``jupyter-book build . -W -n --keep-going``: warnings are errors, and so are references that lead nowhere. Nothing is
executed. When nothing that the book is made of has changed, the last build is kept; when anything has, all pages are built
again, because a page shows the titles of the others and a warning counts as much in the second build as in the first.

The wheel of the library, with the stored runs in it, goes into the site: a notebook that is downloaded needs nothing else of it.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
STAMP = ROOT / "_build" / "built-from"
PACKAGE = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "lib", "results"]  # what the wheel is made of
TOP = ["_config.yml", "_toc.yml", "requirements.txt", "CHANGELOG.md", "CITATION.cff"]
MADE_OF = [*TOP, "book", "notebooks/*.ipynb", "notebooks/*.toml", "vendor", *PACKAGE]
NOT_PACKED = shutil.ignore_patterns("__pycache__", "*.egg-info", "runs")


def fingerprint():
    """A hash of every file that the book is made of."""
    digest = hashlib.sha256()
    for pattern in MADE_OF:
        for found in sorted(ROOT.glob(pattern)):
            paths = sorted(path for path in found.rglob("*") if path.is_file()) if found.is_dir() else [found]
            for path in paths:
                if "__pycache__" not in path.parts and ".egg-info" not in str(path):
                    digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


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
    made_of = fingerprint()
    index = SITE / "index.html"
    if index.exists() and STAMP.exists() and STAMP.read_text() == made_of:
        print("Nothing changed since the last build.")
    else:
        shutil.rmtree(ROOT / "_build", ignore_errors=True)
        tool = shutil.which("jupyter-book", path=str(Path(sys.executable).parent)) or "jupyter-book"
        command = [tool, "build", ".", "-W", "-n", "--keep-going"]
        status = subprocess.run(command, cwd=ROOT).returncode
        if status or not index.exists():
            print(
                f"The book was not built: the warnings above are errors here (exit status {status}).", file=sys.stderr
            )
            return status or 1
        if status := wheel(SITE / "wheel"):
            print(f"The wheel of the library was not built: see pip above (exit status {status}).", file=sys.stderr)
            return status
        STAMP.write_text(made_of)
    print(f"\nThe book: {index.as_uri()}\n{time.perf_counter() - began:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
