"""Run the groups of tests/budget.toml one after the other, and print what each used of its time.

``make test`` runs those of every day, ``make test-all`` all of them. What a group may take is what tests/budget.toml says, times
what benchmarks/yardstick.py says of this machine before and after it. The status is 1 where a group fails, and, with CI=true,
where the whole takes more than twice that: a slow machine fails nothing else.
"""

import argparse
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def groups(everything=True):
    """The groups, name -> what the file says of it; without ``everything`` those of every day alone."""
    found = tomllib.loads((ROOT / "tests" / "budget.toml").read_text(encoding="utf-8"))
    return {name: group for name, group in found.items() if everything or not group.get("all")}


def run(group):
    """Run one group with its number of threads, one unless it says otherwise. Returns (good, seconds)."""
    environment = os.environ | dict.fromkeys(THREADS, str(group.get("threads", 1)))
    began = time.perf_counter()
    command = group["command"].replace("{python}", f'"{sys.executable}"')
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment)
    return done.returncode == 0, time.perf_counter() - began


def slowness():
    """How much slower this machine is than the one that the limits are stated for; at least one."""
    said = subprocess.run(
        [sys.executable, "benchmarks/yardstick.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return max(1.0, float(said.stdout))


def main(arguments=None):
    """Run and print. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests, group by group, and print the time they used.")
    parser.add_argument("group", nargs="*", help=f"{', '.join(groups())} (default: those of every day)")
    parser.add_argument("--all", action="store_true", help="the slow groups too")
    options = parser.parse_args(arguments)
    known = groups()
    if unknown := [name for name in options.group if name not in known]:
        parser.error(f"there is no group {unknown[0]!r}; the groups are {', '.join(known)}")
    chosen = {name: known[name] for name in options.group} or groups(options.all)
    rows, before = [], slowness()
    for name, group in chosen.items():
        print(f"\n== {name}: {group['what']}", flush=True)
        good, seconds = run(group)
        after = slowness()
        rows.append((name, good, seconds, group["seconds"] * (before + after) / 2))
        before = after
    used, allowed = sum(row[2] for row in rows), sum(row[3] for row in rows)
    print(f"\n{'group':24}{'':8}{'used':>6}{'allowed':>9}  seconds")
    for name, good, seconds, most in rows:
        print(
            f"{name:24}{'passed' if good else 'FAILED':8}{seconds:6.0f}{most:9.0f}{'  over' if seconds > most else ''}"
        )
    print(f"{'all':32}{used:6.0f}{allowed:9.0f}")
    idle = sum(group["seconds"] for group in chosen.values())
    print(f"this machine takes {allowed / idle:.1f} times as long as the one that the {idle} seconds are stated for")
    late = used > 2 * allowed and os.environ.get("CI", "").lower() in ("true", "1")
    return int(late or not all(good for _, good, *_ in rows))


if __name__ == "__main__":
    sys.exit(main())
