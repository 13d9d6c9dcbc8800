"""The box in which a submission runs: no network, a read-only system, limits, and nothing of the repository but the library.

Bubblewrap makes it. What is inside: the interpreter, its environment, ``lib/attnflow`` read-only, the submission, and the
questions. What comes out is read from one pipe, up to a limit, and is data that nobody evaluates.
"""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import psutil

from attnflow.doctor import THREADS
from course import source
from course.parts import Answer, Ask

ROOT = Path(__file__).resolve().parent.parent
INSIDE = ROOT / "course" / "inside.py"
USERS = 61_000  # the first of the users that a grader who is root takes on in a box: one of its own for every box
ONE_THREAD = dict.fromkeys(THREADS, "1")
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
UNSHARED = ("ipc", "pid", "net", "uts", "cgroup-try")


@dataclass(frozen=True)
class Limits:
    """What a submission may use: seconds for all cells, for one answer, and in all; MB of memory, disk, output; processes."""

    cells: float
    answer: float
    total: float
    memory: int
    disk: int
    output: int
    processes: int


def limits() -> Limits:
    """The limits of course.toml."""
    said = source.settings()["limits"]
    return Limits(**{each.name: said[each.name] for each in fields(Limits)})


@dataclass(frozen=True)
class Reply:
    """What came out of a box: an answer a question, the faults of cells (number, text), why it ended early, and its seconds."""

    answers: list[Answer]
    faults: list[tuple[int, str]]
    reason: str = ""
    seconds: float = 0.0


def missing() -> str:
    """Why no box can be made here, in one line; empty where it can."""
    if platform.system() != "Linux":
        return f"submissions run in bubblewrap, which {platform.system()} has not: grade in a Linux container"
    if shutil.which("bwrap") is None:
        return "submissions run in bubblewrap, which is not installed (Debian, Ubuntu: sudo apt install bubblewrap)"
    command = [*_walls(Path(tempfile.gettempdir()), None), "/usr/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"bubblewrap cannot make a box here: {said} (are user namespaces allowed?)"
    return ""


def _walls(task: Path, scratch: int | None) -> list[str]:
    """The command of bubblewrap up to the program: what is in the box. task: a folder; scratch: bytes of /tmp."""
    base, environment = Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()
    seen = [*(Path(each) for each in SYSTEM), *([] if base.is_relative_to("/usr") else [base])]
    command = ["bwrap", *(f"--unshare-{each}" for each in UNSHARED), "--die-with-parent", "--new-session", "--clearenv"]
    command += [] if os.getuid() == 0 else ["--unshare-user"]
    for parent in reversed(base.parents[:-1]):
        command += ["--perms", "0755", "--dir", str(parent)]
    for path in seen:
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    scratch_of = ["--perms", "1777", *([] if scratch is None else ["--size", str(scratch)]), "--tmpfs"]
    inside = {
        environment: "/box/venv",
        ROOT / "lib/attnflow": "/box/lib/attnflow",
        INSIDE: "/box/inside.py",
        task: "/box/task",
    }
    command += ["--perms", "0755", "--dir", "/box", "--perms", "0755", "--dir", "/box/lib"]
    for path, place in inside.items():
        command += ["--ro-bind", str(path), place]
    command += ["--proc", "/proc", "--dev", "/dev", *scratch_of, "/dev/shm", "--remount-ro", "/dev"]
    command += [*scratch_of, "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in _environment("/box/lib", "/tmp").items():
        command += ["--setenv", name, value]
    return command


def _environment(library, home):
    return ONE_THREAD | {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "PYTHONPATH": library,
        "PYTHONDONTWRITEBYTECODE": "1",
        "IPYTHONDIR": f"{home}/.ipython",
    }


def run(
    notebook: bytes,
    questions: list[Ask],
    limits: Limits,
    seed: int,
    slot: int = 0,
    unsafe: bool = False,
    tests: bool = False,
) -> Reply:
    """Run a submission in a box of its own and ask it the questions.

    notebook: its bytes; seed: of the streams that a function may draw from; slot: which of the boxes that run at one time;
    unsafe: no box at all, for machines without bubblewrap, where the submissions are trusted; tests: run its visible tests too.
    """
    with tempfile.TemporaryDirectory(prefix="course-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "submission.ipynb").write_bytes(notebook)
        place = str(folder) if unsafe else "/box/task"
        bounds = {
            "user": None if unsafe else USERS + slot,
            "cells": limits.cells,
            "answer": limits.answer,
            "memory": limits.memory * 10**6,
            "disk": limits.disk * 10**6,
            "processes": None if unsafe else _processes(limits),
        }
        asked = [{"name": ask.name, "kind": ask.kind, "seed": seed, "inputs": _sent(ask.inputs)} for ask in questions]
        task = {"notebook": f"{place}/submission.ipynb", "limits": bounds, "questions": asked, "tests": tests}
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        if unsafe:
            home = folder / "home"
            home.mkdir()
            command = [sys.executable, str(INSIDE), f"{place}/task.json"]
            environment, where = _environment(str(ROOT / "lib"), str(home)), home
        else:
            command = [
                *_walls(folder, limits.disk * 10**6),
                "/box/venv/bin/python",
                "/box/inside.py",
                "/box/task/task.json",
            ]
            environment, where = None, None
        began = time.monotonic()
        lines, reason = _heard(command, limits, environment, where)
        seconds = time.monotonic() - began
    return replace(_reply(lines, reason, len(questions)), seconds=seconds)


def _processes(limits):
    """The limit on processes: it counts all of a user, and one who is not root has other ones."""
    if os.getuid() == 0:
        return limits.processes
    return limits.processes + sum(each.num_threads() for each in _own())


def _own():
    for each in psutil.process_iter():
        try:
            if each.uids().real == os.getuid():
                yield each
        except psutil.Error:
            continue


def _sent(inputs):
    """Inputs of a question as JSON: an array as its numbers and its shape."""
    return {
        name: {"array": value.ravel().tolist(), "shape": value.shape, "dtype": str(value.dtype)}
        if isinstance(value, np.ndarray)
        else value
        for name, value in inputs.items()
    }


def _heard(command, limits, environment, where):
    """The lines that come out of a process while it stays within its limits, and why it was ended, or an empty text."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=where,
        start_new_session=True,
    )
    heard, reasons, most = [], [], limits.output * 10**6
    watch = threading.Thread(target=_watched, args=(process, limits, reasons), daemon=True)
    watch.start()
    size = 0
    with process.stdout, process.stdin:
        while chunk := process.stdout.read1(1 << 16):
            if size == 0:  # it is ready, and from here on it ends with this process
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
            size += len(chunk)
            if size > most:
                reasons.append(f"its answers are larger than {limits.output} MB")
                _end(process)
                break
            heard.append(chunk)
    process.wait()
    watch.join()
    return b"".join(heard).split(b"\n"), reasons[0] if reasons else ""


def _watched(process, limits, reasons):
    """End a process that takes more time, or together with its children more memory, than it may."""
    until = time.monotonic() + limits.total
    while process.poll() is None:
        if time.monotonic() > until:
            reasons.append(f"it did not end within {limits.total:g} s")
            return _end(process)
        if _memory(process.pid) > 1.5e6 * limits.memory:
            reasons.append(f"its processes together took more than {1.5 * limits.memory:g} MB of memory")
            return _end(process)
        time.sleep(0.1)


def _memory(parent):
    """Bytes that a process and all that it started hold; pages that a fork shares count once, where the system tells."""
    size = 0
    for each in _family(parent):
        try:
            size += each.memory_full_info().pss
        except psutil.AccessDenied:
            with contextlib.suppress(psutil.Error):
                size += each.memory_info().rss
        except psutil.Error:
            continue
    return size


def _family(parent):
    """A process and all that it started, as far as they are still there."""
    try:
        first = psutil.Process(parent)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _end(process):
    """Kill a process with all that it started: where it is bubblewrap, the first process of a namespace takes all with it."""
    for each in _family(process.pid):
        with contextlib.suppress(psutil.Error):
            each.kill()


def _reply(lines, reason, count):
    """The lines of a box as answers: what is not a frame that was expected is passed over."""
    answers, faults, done = [Answer(error="there was no answer") for _ in range(count)], [], False
    for line in lines:
        try:
            frame = json.loads(line)
            if "faults" in frame:
                faults = [(int(cell), str(text)) for cell, text in frame["faults"]][:20]
            elif "at" in frame and frame["at"] in range(count):
                answers[frame["at"]] = read(frame)
            done = done or bool(frame.get("done"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            continue
    if not done and not reason:
        reason = "it ended before all was answered"
    return Reply(answers, faults, "" if done else reason)


def read(frame: dict) -> Answer:
    """One frame as an answer; raises ValueError, TypeError or KeyError for what is not one."""
    if "error" in frame:
        return Answer(error=str(frame["error"])[:2000])
    precisions = set()
    value = _read(frame["value"], precisions)
    return Answer(value, precision="float32" if "float32" in precisions else "float64")


def _read(value, precisions):
    if isinstance(value, (str, bool, type(None))):
        return value
    if "dict" in value:
        return {str(name): _read(each, precisions) for name, each in value["dict"].items()}
    if "list" in value:
        return [_read(each, precisions) for each in value["list"]]
    precisions.add(value["dtype"])
    return np.array([float(each) for each in value["array"]]).reshape([int(each) for each in value["shape"]])
