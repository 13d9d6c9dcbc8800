"""One line on each thing that the book needs: is it here, and if not, what to do.

Uses the standard library only and imports nothing of attnflow, so that it runs before anything is installed:
``python3 lib/attnflow/doctor.py``. With ``--mend`` it repairs the environment that runs it after its folder was moved.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
CHROMIUM = ("/usr/bin/chromium", "chromium", "chromium-browser")


def python():
    """Python 3.11 or newer."""
    good = sys.version_info >= (3, 11)
    return good, f"{platform.python_version()} at {sys.executable}", "install Python 3.11 or newer"


def venv():
    """The venv module with pip in it, which Debian ships apart."""
    good = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
    return bool(good), "module found", "on Debian and Ubuntu: sudo apt install python3-venv"


def disk():
    """Room for the environment: 3 GB with the CPU build of torch."""
    free = shutil.disk_usage(HERE).free / 1e9
    return free >= 3, f"{free:.0f} GB free", f"free 3 GB ({free:.1f} GB are free), 10 GB for the CUDA build of torch"


def torch():
    """The torch build."""
    code = "import torch; print(torch.__version__, 'with a GPU' if torch.cuda.is_available() else 'on the CPU')"
    good, said = _asked(code)
    return good, said, "make book installs it into .venv"


def attnflow():
    """The library itself: whether it can be imported, and whether it is the one of this folder."""
    good, said = _asked("import attnflow, os; print(os.path.dirname(os.path.realpath(attnflow.__file__)))")
    if _moved():
        return False, "", f"this folder was moved or copied, .venv was made as {made_at()}: make book mends it"
    if not good:
        return False, "", f"{said}: make book installs it into .venv"
    return said == HERE, f"imported from {said}", f"the one that is imported lies in {said}, not here: make book"


def threads():
    """How many processors, and whether the thread variables are set."""
    held = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    return True, f"{os.cpu_count()} processors; {held or 'no thread variable set, each process takes them all'}", ""


def chromium():
    """The browser that tests the built book."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    return (
        bool(found),
        found or "",
        "only for make pdf and the tests of the built book; on Debian: sudo apt install chromium",
    )


def bubblewrap():
    """The sandbox in which assignments are graded."""
    found = shutil.which("bwrap")
    return bool(found), found or "", "only for grading assignments; on Debian: sudo apt install bubblewrap"


def made_at():
    """Where the environment that runs this was made, as its pyvenv.cfg says; where it is, if that says nothing."""
    try:
        with open(os.path.join(sys.prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            said = re.search(r"^command = .* -m venv (?:--\S+ )*(.+)$", file.read(), re.M)
    except OSError:
        said = None
    return said.group(1) if said else sys.prefix


def mend():
    """Let the commands of a moved environment call the Python that is now beside them. Returns the status of venv.

    pip writes the path of its Python into the first line of every command; where a system could not read the new one there,
    a shell starts it, as pip does it too. venv writes the scripts that activate, and where the environment is.
    """
    before, folder = made_at(), os.path.dirname(sys.executable)
    print(f"make: this folder was moved or copied, .venv was made as {before}: mending it", flush=True)
    old = re.escape(os.fsencode(os.path.join(before, os.path.basename(folder), "")))
    head = re.compile(rb"\A#!(?:/bin/sh\n'''exec' \")?" + old + rb"([^\"\s]+)(?:\" \"\$0\" \"\$@\"\n' ''')?\n")
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False):
            with open(entry.path, "rb") as file:
                text = file.read()
            if found := head.match(text):
                with open(entry.path, "wb") as file:
                    file.write(_head(os.path.join(folder, os.fsdecode(found[1]))) + text[found.end() :])
    return subprocess.run([sys.executable, "-m", "venv", "--without-pip", sys.prefix]).returncode


def _head(path):
    """The first line of a command that the Python at ``path`` runs; the first three where it is too long or has a space."""
    plain = " " not in path and len(path) < 120
    return os.fsencode(f"#!{path}\n" if plain else f"#!/bin/sh\n'''exec' \"{path}\" \"$0\" \"$@\"\n' '''\n")


def _moved():
    """Whether the environment that runs this was made in another place."""
    return os.path.realpath(made_at()) != os.path.realpath(sys.prefix)


def _asked(code):
    """What another process of this Python says to ``code``, which may be broken: (whether it ended well, its last line)."""
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    lines = (asked.stderr if asked.returncode else asked.stdout).strip().splitlines()
    return asked.returncode == 0, lines[-1] if lines else ""


CHECKS = (python, venv, disk, torch, attnflow, threads, chromium, bubblewrap)
NEEDED = (python, venv, disk)


def main():
    """Print one line a check. Returns 1 when something is missing that nothing else can install, else 0."""
    status = 0
    for check in CHECKS:
        good, found, advice = check()
        print(f"{check.__name__:<12}{'ok' if good else 'missing':<9}{found if good else advice}")
        status |= not good and check in NEEDED
    return int(status)


if __name__ == "__main__":
    sys.exit(mend() if "--mend" in sys.argv[1:] else main())
