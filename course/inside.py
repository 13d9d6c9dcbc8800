"""What runs inside the box: a submission, cell by cell, and then the questions of the grader, answered in plain data.

Everything here is in the hands of the submission once its first cell runs; so nothing here knows an answer, and what is
written on the pipe is believed by nobody: it is numbers and text, which the grader compares outside.
"""

import ast
import contextlib
import json
import os
import resource
import signal
import sys
import time

NUMBERS = 100_000  # that one answer may hold
TEXT = 2_000  # characters of an answer, and of an error message


def main():
    """Take the limits on, run the notebook, answer the questions: ``inside.py TASK``, a JSON file of the grader."""
    with open(sys.argv[1], encoding="utf-8") as file:
        task = json.load(file)
    pipe = os.dup(1)
    send(pipe, {"ready": True})
    if os.read(0, 3) != b"go\n":  # whoever started this box is gone, perhaps before the box could notice
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    restrict(task["limits"])
    namespace, faults = run(task["notebook"], task["limits"]["cells"], task["tests"])
    send(pipe, {"faults": faults})
    for at, question in enumerate(task["questions"]):
        answer(pipe, at, question, namespace, task["limits"]["answer"])
    send(pipe, {"done": True})


def restrict(limits):
    """Another user where this one is root, whom no limit binds; then memory, processes, size of files, and no core dumps."""
    if limits["user"] is not None and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(*[limits["user"]] * 3)
        os.setresuid(*[limits["user"]] * 3)
    bounds = {
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["disk"],
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in bounds.items():
        if most is not None:
            resource.setrlimit(kind, (most, most))


def send(pipe, frame):
    """One line of JSON on the pipe."""
    line = (json.dumps(frame) + "\n").encode()
    while line:
        line = line[os.write(pipe, line) :]


def run(notebook, seconds, tests):
    """The code cells of a notebook in an IPython shell, as a kernel runs them: its namespace, and what went wrong where.

    Of visible tests only what they import and define is run unless ``tests``: they cost time and decide nothing.
    """
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config, colors="nocolor")
    with open(notebook, encoding="utf-8") as file:
        cells = nbformat.read(file, as_version=4).cells
    faults, until = [], time.monotonic() + seconds
    signal.signal(signal.SIGALRM, _late)
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type != "code":
            continue
        test = cell.metadata.get("nbgrader", {}).get("grade", False)
        code = definitions(cell.source) if test and not tests else cell.source
        left = until - time.monotonic()
        if left <= 0:
            faults.append([number, f"not run: the cells before it took the {seconds} s that there are"])
            break
        signal.setitimer(signal.ITIMER_REAL, left)
        done = shell.run_cell(code, store_history=False)
        signal.setitimer(signal.ITIMER_REAL, 0)
        fault = done.error_before_exec or done.error_in_exec
        if fault is not None:
            faults.append([number, told(fault)])
    return shell.user_ns, faults[:20]


def definitions(code):
    """What a cell imports and defines, without what it does: an answer may use a name of a visible test."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    try:
        return ast.unparse([each for each in ast.parse(code).body if isinstance(each, kept)])
    except (SyntaxError, ValueError):
        return ""


def _late(number, frame):
    raise TimeoutError("the time of the notebook is over")


def told(fault):
    """An exception in one line."""
    return f"{type(fault).__name__}: {fault}"[:TEXT]


def answer(pipe, at, question, namespace, seconds):
    """One question in a process of its own, so that what one of them breaks the others keep."""
    try:
        child = os.fork()
    except OSError as fault:
        return send(pipe, {"at": at, "error": told(fault)})
    if child == 0:
        os.setsid()
        try:
            frame = {"at": at, "value": asked(question, namespace)}
        except BaseException as fault:  # SystemExit and KeyboardInterrupt of a submission are answers too
            frame = {"at": at, "error": told(fault)}
        try:
            send(pipe, frame)
        finally:
            os._exit(0)
    until = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return send(pipe, {"at": at, "error": f"no answer within {seconds:g} s"})
        time.sleep(0.005)


def asked(question, namespace):
    """The value of one question: a function of the submission at the inputs, or an expression at points."""
    import numpy as np

    name = question["name"]
    if name not in namespace:
        raise NameError(f"the notebook defines no {name}")
    found = namespace[name]
    given = {key: _array(np, value) for key, value in question["inputs"].items()}
    if question["kind"] == "expression":
        return plain(evaluated(found, given))
    np.random.seed(question["seed"] % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(question["seed"])
    return plain(found(**given))


def _array(np, value):
    """Arrays travel as their shape and their numbers."""
    if isinstance(value, dict):
        return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    return value


def evaluated(found, points):
    """A sympy expression, or a matrix of them, at points: {symbol: numbers}; the first axis counts the points."""
    import numpy as np
    import sympy as sp

    if not isinstance(found, (sp.Basic, sp.MatrixBase, int, float)):
        raise TypeError(f"expected a sympy expression, got {type(found).__name__}")
    found = sp.sympify(found)
    other = sorted(str(each) for each in found.free_symbols if str(each) not in points)
    if other:
        raise ValueError(f"the expression holds {', '.join(other)}; it may hold {', '.join(points)}")
    values = []
    for at in range(len(next(iter(points.values())))):
        known = {symbol: float(points[str(symbol)][at]) for symbol in found.free_symbols}
        values.append(np.array(sp.N(found.doit().subs(known)), dtype=complex))
    values = np.array(values)
    if np.abs(values.imag).max() > 1e-9 * (1 + np.abs(values.real).max()):
        raise ValueError("the expression is not real at the points asked for")
    return values.real


def plain(value):
    """Plain data: text, numbers, arrays with their precision, and lists and dicts of them; other things are refused."""
    import numpy as np

    if isinstance(value, (str, bool, type(None))):
        return value[:TEXT] if isinstance(value, str) else value
    if type(value).__module__.partition(".")[0] == "torch":
        value = value.detach().cpu().numpy()
    if type(value).__module__.partition(".")[0] == "sympy":
        value = np.array(value, dtype=float)
    if isinstance(value, dict):
        return {"dict": {str(key)[:80]: plain(each) for key, each in list(value.items())[:100]}}
    if isinstance(value, (list, tuple)) and any(isinstance(each, (str, dict)) for each in value[:1000]):
        return {"list": [plain(each) for each in value[:1000]]}
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, got {type(value).__name__}")
    if array.size > NUMBERS:
        raise ValueError(f"{array.size} numbers, more than the {NUMBERS} that an answer may hold")
    precision = "float32" if array.dtype.kind == "f" and array.dtype.itemsize < 8 else "float64"
    numbers = [float(each) for each in array.astype(np.float64).ravel()]
    return {"array": numbers, "shape": list(array.shape), "dtype": precision}


if __name__ == "__main__":
    main()
