"""Wrong calls of every public function: each argument of a valid call is replaced by what it must not be, one at a time.

``python tests/public.py [WORD]`` prints, module by module, how many calls were refused clearly (one line of WrongUse), refused
obscurely (any other exception), answered in silence, or did not end; WORD chooses functions, ``--rows`` lists all that is not
clear. An answer is silent unless its row in tests/calls says why it may be given.
"""

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import io
import math
import pkgutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot

from attnflow import runs, stamp

LONGEST = 6  # seconds that a wrong call may take
OUTCOMES = ("clear", "obscure", "silent", "hang")


class Strange:
    """An object of no type that anything takes."""


@dataclass(frozen=True)
class Wrong:
    """One wrong call, and what became of it."""

    name: str
    parameter: str
    wrong: str
    outcome: str
    said: str


def pages():
    """The extension of Sphinx that knows what the library pages list."""
    place = Path(__file__).resolve().parent.parent / "book" / "_ext" / "attnflow_api.py"
    spec = importlib.util.spec_from_file_location(place.stem, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(function, module):
    """Why a function is a part of its section and not called by hand, or an empty text."""
    known = list(inspect.signature(function).parameters)
    if module.split(".")[-1].startswith("figures"):
        return "a figure: it draws the records of claims"
    if module.count(".") < 2:
        return ""
    if known[:2] == ["seeds", "device"]:
        return "an experiment: Experiment calls it, with settings that its problem checks"
    if known[:1] == ["device"]:
        return "a task of a sweep, called with the axes of its table"
    return "a reading: its trial hands it the record of an experiment" if known[:1] in (["record"], ["records"]) else ""


def public():
    """What the library pages list: "module.function" -> function, without the parts of sections."""
    found, listed = {}, pages().public
    for module in stamp.library():
        for name in listed(module):
            value = getattr(importlib.import_module(module), name)
            if callable(value) and not inspect.isclass(value) and not part(value, module):
                found[f"{module.removeprefix('attnflow.')}.{name}"] = value
    return found


def missing(word=""):
    """Public functions with a ``word`` in their name that take arguments and have no row and no reason, own or of the module."""
    rows, reasons = table()
    known = set(rows) | set(reasons)
    asked = [name for name, function in public().items() if word in name and inspect.signature(function).parameters]
    return [name for name in asked if not known & {name, f"{name.rpartition('.')[0]}.*"}]


def table():
    """The rows and the reasons of all modules in tests/calls: two dicts by function."""
    calls = importlib.import_module("calls")
    modules = [importlib.import_module(f"calls.{each.name}") for each in pkgutil.iter_modules(calls.__path__)]
    rows, reasons = {}, {}
    for module in modules:
        rows |= module.CALLS
        reasons |= getattr(module, "REASONS", {})
    return rows, reasons


def sizes(value, depth=1):
    """All sizes that a value has: of its tensors, of tensors in it, and whole numbers, its own or those of its settings."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    if isinstance(value, int):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    if not inside and hasattr(value, "__dict__"):
        inside = vars(value).values()
    return [size for each in inside for size in sizes(each, depth - 1)] if depth >= 0 else []


def of_tensor(value, others):
    """What is wrong with a tensor of another kind, or of other sizes than the ``others`` of its call have."""
    if value.is_floating_point():
        for word, number in (("nan", math.nan), ("inf", math.inf)):
            broken = value.detach().clone(memory_format=torch.contiguous_format)
            broken.view(-1)[-1] = number
            yield word, broken
        yield "dtype", value.to(torch.float32)
    else:
        yield "dtype", value.to(torch.float64)
    if not value.ndim:
        return
    yield "empty", value[:0]
    yield "axis", value[0]
    if len(value) in others:
        yield "stack", torch.cat([value, value[:1]])
    shared = [axis for axis in range(1, value.ndim) if value.shape[axis] > 1 and value.shape[axis] in others]
    if shared:
        yield "broadcast", value.narrow(shared[-1], 0, 1)


def wrongs(value, others=()):
    """(word, value) of all that is wrong in place of a valid ``value``, in a call whose other arguments have some sizes."""
    yield "none", None
    yield "type", Strange()
    if isinstance(value, torch.Tensor):
        yield from of_tensor(value, others)
    elif isinstance(value, bool):
        return
    elif isinstance(value, (int, float, np.number)):
        yield from (("nan", math.nan), ("inf", math.inf), ("0", 0), ("-1", -1))
        if isinstance(value, (int, np.integer)):
            yield "dtype", value + 0.5
    elif isinstance(value, str):
        yield from (("empty", ""), ("unknown", "nosuch"))
    elif isinstance(value, Mapping) and value:
        yield "empty", {}
        first = next(iter(value))
        yield "missing", {key: each for key, each in value.items() if key != first}
        tensors = [key for key, each in value.items() if isinstance(each, torch.Tensor)]
        if tensors:
            last = tensors[-1]
            rest = [*others, *sizes({key: each for key, each in value.items() if key != last})]
            for word, broken in of_tensor(value[last], rest):
                yield word if word != "empty" else "void", {**value, last: broken}
    elif isinstance(value, Sequence) and value and not isinstance(value, bytes):
        yield "empty", type(value)() if isinstance(value, (list, tuple)) else []
        yield "entries", [Strange() for _ in value]
        if isinstance(value[0], torch.Generator):
            yield "seed", 5
        if isinstance(value[0], (int, float)) and not isinstance(value[0], bool):
            yield "nan", [*value[:-1], math.nan]
            yield "-1", [*value[:-1], -1]
        if isinstance(value[0], torch.Tensor):
            for word, broken in of_tensor(value[-1], [*others, *sizes(value[:-1])]):
                yield word if word != "empty" else "void", type(value)([*value[:-1], broken])
    elif isinstance(value, torch.Generator):
        yield "seed", 5


def late(signum, frame):
    """What the alarm does."""
    raise TimeoutError("it did not end")


def outcome(function, arguments, longest=LONGEST):
    """What becomes of one call that may take some seconds, the ``longest``: (outcome, what was said)."""
    signal.signal(signal.SIGALRM, late)
    signal.alarm(longest)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = function(**arguments)
            if hasattr(answer, "__enter__"):
                with answer:
                    pass
            if inspect.isgenerator(answer):
                answer = list(answer)
        return "silent", f"answered {type(answer).__name__}"
    except TimeoutError as error:
        return "hang", str(error)
    except (Exception, SystemExit) as error:
        said = str(error)
        clear = isinstance(error, runs.WrongUse) and " is not allowed: it must be " in said and "\n" not in said
        return "clear" if clear else "obscure", f"{type(error).__name__}: {said.splitlines()[0] if said else ''}"
    finally:
        signal.alarm(0)
        pyplot.close("all")


def positional(function, arguments):
    """A function of named arguments alone, from one whose parameters may be positional only or of any number."""
    parameters = inspect.signature(function).parameters.values()
    several = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), None)
    more = next((each.name for each in parameters if each.kind is each.VAR_KEYWORD), None)
    if several is None and more is None:
        return function

    def named(**given):
        named = dict(given)
        first = [
            named.pop(each.name)
            for each in parameters
            if each.kind is each.POSITIONAL_OR_KEYWORD and each.name in named
        ]
        rest = named.pop(several, ())
        rest = rest if isinstance(rest, (tuple, list)) else [rest]
        named |= named.pop(more, None) or {} if more else {}
        return function(*first, *rest, **named)

    return named


def probe(name, function, row):
    """All wrong calls of one function, and what became of each."""
    valid = row.make()
    fine = {}
    for key, reason in row.fine.items():
        parameter, *words = key.split()
        fine |= {(parameter, word): reason for word in words}
    called = positional(function, valid)
    found, said = outcome(called, row.make(), 60)
    if found != "silent":
        raise AssertionError(f"{name}: the valid call fails: {said}")
    used, parameters = set(), inspect.signature(function).parameters
    for parameter, value in valid.items():
        others = [size for name, each in valid.items() if name != parameter for size in sizes(each)]
        for word, _ in wrongs(value, others):
            optional = word == "none" and parameters[parameter].default is None
            if optional or (
                word in ("none", "type") and parameters[parameter].kind is inspect.Parameter.VAR_POSITIONAL
            ):
                continue
            arguments = row.make()
            arguments[parameter] = dict(wrongs(arguments[parameter], others))[word]
            found, said = outcome(called, arguments)
            if (parameter, word) in fine:
                used.add((parameter, word))
                found, said = ("clear", fine[parameter, word]) if found == "silent" else (found, said)
            yield Wrong(name, parameter, word, found, said)
    if idle := set(fine) - used:
        raise AssertionError(f"{name}: fine names what is no wrong call: {sorted(idle)}")


def run(word=""):
    """The wrong calls of all functions whose name contains a ``word``."""
    rows, _ = table()
    matplotlib.use("Agg")
    return [
        each
        for name, function in public().items()
        if word in name and name in rows
        for each in probe(name, function, rows[name])
    ]


def shown(found):
    """The table of outcomes, module by module, as lines."""
    counts = {}
    for each in found:
        counts.setdefault(each.name.rpartition(".")[0], Counter())[each.outcome] += 1
    counts["all"] = sum(counts.values(), Counter())
    yield f"{'module':28}" + "".join(f"{word:>9}" for word in OUTCOMES)
    for module, row in counts.items():
        yield f"{module:28}" + "".join(f"{row[word]:9}" for word in OUTCOMES)


def main(arguments=None):
    """Print the table; the status is 1 where a call was silent or hung."""
    parser = argparse.ArgumentParser(description="Wrong calls of every public function, and what becomes of them.")
    parser.add_argument(
        "word", nargs="?", default="", help="functions whose name contains this, such as kernels.theory"
    )
    parser.add_argument("--rows", action="store_true", help="list every call that was not refused clearly")
    parser.add_argument("--missing", action="store_true", help="list the public functions without a row or a reason")
    options = parser.parse_args(arguments)
    if options.missing:
        print("\n".join(missing(options.word)))
        return 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for what writes where it should not
        found = run(options.word)
    for each in found if options.rows else ():
        if each.outcome != "clear":
            print(f"{each.outcome:8} {each.name}({each.parameter}: {each.wrong}) {each.said[:90]}")
    print("\n".join(shown(found)))
    return int(any(each.outcome in ("silent", "hang") for each in found))


if __name__ == "__main__":
    sys.exit(main())
