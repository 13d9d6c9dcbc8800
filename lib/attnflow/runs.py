"""What every run needs: input checks, a device, seeds, and a stamp of the machine.

A *stack* is a leading axis of independent runs. Run ``s`` draws all its randomness from a CPU generator of its own,
in float64, so that it is the same run on any device and in any stack.
"""

import datetime
import hashlib
import math
import os
import platform
from pathlib import Path

import numpy as np
import torch

DTYPE = torch.float64


def check(name, value, allowed, ok):
    """Raise one clear ValueError unless ``ok``: it says what was given and what is allowed.

    >>> check("width", 0, "an integer of at least 1", False)
    Traceback (most recent call last):
    ValueError: width = 0 is not allowed: it must be an integer of at least 1
    """
    if not ok:
        raise ValueError(f"{name} = {value!r} is not allowed: it must be {allowed}")
    return value


def integer(name, value, least=1):
    """Check an integer of at least ``least`` and return it."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return check(name, value, f"an integer of at least {least}", whole and value >= least)


def number(name, value, above=None, least=None):
    """Check a finite number, ``> above`` or ``>= least`` where given, and return it."""
    bound = f" greater than {above}" if above is not None else f" of at least {least}" if least is not None else ""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    ok = real and math.isfinite(value)
    ok = ok and (above is None or value > above) and (least is None or value >= least)
    return check(name, value, f"a finite number{bound}", ok)


def choice(name, value, options):
    """Check that ``value`` is one of ``options`` and return it."""
    return check(name, value, "one of " + ", ".join(map(str, options)), value in options)


def tensor(name, value, shape):
    """Check a finite tensor against ``shape``, where ``None`` stands for any size, and return it.

    >>> tensor("tokens", torch.zeros(2, 3), (None, 4))
    Traceback (most recent call last):
    ValueError: tokens = a tensor of shape (2, 3) is not allowed: it must be a tensor of shape (any, 4)
    """
    text = "a tensor of shape (" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} = {value!r} is not allowed: it must be {text}")
    fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if not fits:
        raise ValueError(f"{name} = a tensor of shape {tuple(value.shape)} is not allowed: it must be {text}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise ValueError(f"{name} = a tensor with entries that are not finite is not allowed: it must be finite")
    return value


def device(name=None):
    """The torch device of a run: the one that is named, else CUDA where there is one, else the CPU.

    Raises ValueError when CUDA is asked for and absent.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    choice("device", name, ("cpu", "cuda"))
    if name == "cuda":
        check("device", name, "cpu on this machine, where torch finds no CUDA device", torch.cuda.is_available())
    return torch.device(name)


def streams(seeds, replica=None):
    """One CPU generator a seed: the whole randomness of that run.

    seeds: integers of at least 0, one a run. replica: a whole number that names an independent draw of the same runs, as
    numpy's ``SeedSequence(seed).spawn`` makes it; None is the run itself. Returns a list of ``torch.Generator``.
    """
    seeds = [integer("seed", seed, least=0) for seed in seeds]
    check("seeds", seeds, "at least one seed", len(seeds) > 0)
    child = () if replica is None else (integer("replica", replica, least=0),)
    sequences = [np.random.SeedSequence(int(seed), spawn_key=child) for seed in seeds]
    return [torch.Generator().manual_seed(int(each.generate_state(1, np.uint64)[0] >> 1)) for each in sequences]


def normal(generators, *shape, std=1.0):
    """Independent normal entries, ``N(0, std^2)``: (S, *shape), float64, on the CPU, drawn run by run."""
    return torch.stack([std * torch.randn(*shape, generator=g, dtype=DTYPE) for g in generators])


def to(tensors, where):
    """Move every tensor of a dict to a device."""
    return {name: value.to(where) for name, value in tensors.items()}


def code_hash():
    """A short hash of the library's own source, so that a stored result names the code that made it."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def environment(where=None):
    """What a stored number needs beside it: versions, machine, device, threads, code and date. Returns a dict."""
    import sympy

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sympy": sympy.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(where or device("cpu")),
        "code": code_hash(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def stamp(where=None):
    """The environment as one line of text, for the foot of a chapter."""
    return ", ".join(f"{name} {value}" for name, value in environment(where).items())
