"""One line on each thing that the book needs: is it here, and if not, what to do.

Uses the standard library only and imports nothing of attnflow, so that it runs before anything is installed:
``python3 lib/attnflow/doctor.py``.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys

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
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free / 1e9
    return free >= 3, f"{free:.0f} GB free", f"free 3 GB ({free:.1f} GB are free), 10 GB for the CUDA build of torch"


def torch():
    """The torch build, asked in its own process, because it may be absent or broken."""
    code = "import torch; print(torch.__version__, 'with a GPU' if torch.cuda.is_available() else 'on the CPU')"
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    return asked.returncode == 0, asked.stdout.strip(), "make book installs it into .venv"


def threads():
    """How many processors, and whether the thread variables are set."""
    held = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    return True, f"{os.cpu_count()} processors; {held or 'no thread variable set, each process takes them all'}", ""


def chromium():
    """The browser that tests the built book."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    return bool(found), found or "", "only for the tests of the built book; on Debian: sudo apt install chromium"


def bubblewrap():
    """The sandbox in which assignments are graded."""
    found = shutil.which("bwrap")
    return bool(found), found or "", "only for grading assignments; on Debian: sudo apt install bubblewrap"


CHECKS = (python, venv, disk, torch, threads, chromium, bubblewrap)
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
    sys.exit(main())
