"""What a claim reads: an experiment, whose records are kept for the claims that share it, or a derivation without seeds."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import joblib
import numpy as np
import torch

from attnflow import flow, runs

LIMIT = 1_500_000_000  # bytes of records that a process keeps; the ones used longest ago go first
_records = OrderedDict()


@dataclass(frozen=True, eq=False)
class Settled:
    """A pure function and its ``settings``, of which a control changes one: two with equal ones are equal, tensors among them."""

    function: Callable
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        runs.check("function", self.function, "a function", callable(self.function))

    def __eq__(self, other):
        return type(self) is type(other) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    @property
    def key(self) -> tuple:
        """What tells it from others."""
        return self.function, _key(self.settings)

    def but(self, **changes):
        """The same with some settings changed: ``changes``, name -> value."""
        return type(self)(self.function, self.settings | changes)

    def differs(self, other: "Settled") -> tuple[str, ...]:
        """What is other in an ``other``: the names of settings, or ``function`` alone.

        >>> Derivation(max).differs(Derivation(min)), Derivation(max, {"key": abs}).differs(Derivation(max))
        (('function',), ('key',))
        """
        if self.function != other.function:
            return ("function",)
        mine, yours = (dict(each) for each in (self.key[1], other.key[1]))
        return tuple(
            sorted(name for name in mine | yours if (name in mine, mine.get(name)) != (name in yours, yours.get(name)))
        )


class Derivation(Settled):
    """A calculation without seeds, by sympy or by counting: a function of its settings alone that returns a number, or several.

    >>> Derivation(lambda sign: 2 * sign, {"sign": 1}).but(sign=-1)()
    -2
    """

    def __call__(self) -> float:
        """The number."""
        return self.function(**self.settings)


class Experiment(Settled):
    """A pure function of (seeds, device, **settings) that returns a record with one run a seed, run once a process.

    function: the experiment; settings: what it takes besides seeds and device. A record comes back on the CPU, as a mapping
    that cannot be changed, with tensors of its own for everyone who asks. Two of the same function and equal settings, tensors
    among them, are equal.

    >>> Experiment(lambda seeds, device, width: [width] * len(seeds), {"width": 2}).but(width=3)((0, 1), "cpu")
    [3, 3]
    """

    def __call__(self, seeds, device=None):
        """The record of ``seeds``, one run each, on a ``device``: made now, or kept from before."""
        where = runs.device(device)
        key = (self.key, tuple(seeds), str(where), flow.engines.wanted())
        if key in _records:
            _records.move_to_end(key)
        else:
            with flow.noted() as ran:
                record = _home(self.function(tuple(seeds), where, **self.settings))
            _records[key] = (record, _bytes(record), ran)
            while len(_records) > 1 and sum(size for _, size, _ in _records.values()) > LIMIT:
                _records.popitem(last=False)
        record, _, ran = _records[key]
        flow.engines.note(ran)
        return _own(record)


def forget() -> None:
    """Let go of all records that this process keeps."""
    _records.clear()


def _key(value):
    """Something hashable that is equal for equal settings; functions count as themselves."""
    if isinstance(value, Mapping):
        return tuple((name, _key(each)) for name, each in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_key(each) for each in value)
    if isinstance(value, torch.Tensor):
        return "tensor", joblib.hash(value.detach().cpu().numpy())
    try:
        hash(value)
    except TypeError:
        return joblib.hash(value)
    return value


def _each(value, change):
    """The same nest of mappings and sequences with every tensor changed."""
    if isinstance(value, Mapping):
        return MappingProxyType({name: _each(each, change) for name, each in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_each(each, change) for each in value)
    return change(value) if isinstance(value, (torch.Tensor, np.ndarray)) else value


def _home(record):
    """A record on the CPU, without graphs."""
    return _each(record, lambda each: each.detach().to("cpu") if isinstance(each, torch.Tensor) else each)


def _own(record):
    """A record whose tensors belong to whoever asked."""
    return _each(record, lambda each: each.clone() if isinstance(each, torch.Tensor) else each.copy())


def _bytes(record):
    """Size of all tensors of a record."""
    sizes = []
    _each(record, lambda each: sizes.append(each.nbytes))
    return sum(sizes)
