"""Trials that every chapter has: a law kept, an identity proved, laws counted, an order observed, one step exactly."""

import math
from collections.abc import Callable

import torch

from attnflow import curves, door
from attnflow.claims.claim import Trial
from attnflow.claims.criteria import Below, Criterion, Exactly, Near
from attnflow.claims.experiment import Derivation, Experiment
from attnflow.runs import Stack

EXPERIMENT, NAMES = door.instance(Experiment), door.several(door.TEXT)
SWITCHING = " In at least nine of ten seeds: a neuron that switches between two steps shifts the order."


@door.takes(names=NAMES, target=door.EXACT)
def order_of(*names: str, target: float = 1.0) -> Callable[[dict], Stack]:
    """Reading: the order in the step of a drift or an error; of several ``names``, the one furthest from ``target``. (S,)."""

    def read(record):
        found = torch.stack([curves.order(record["steps"], record[name]) for name in names])
        return found.gather(0, (found - target).abs().argmax(dim=0, keepdim=True))[0]

    return read


@door.takes(names=NAMES)
def largest(*names: str) -> Callable[[dict], Stack]:
    """Reading: the largest entry of some ``names`` over all steps: names of (S,) or (J, S) tensors -> (S,)."""

    def read(record):
        found = [record[name].reshape(-1, record[name].shape[-1]) for name in names]
        return torch.cat(found).amax(dim=0)

    return read


@door.takes(name=door.TEXT)
def last(name: str) -> Callable[[dict], Stack]:
    """Reading: the last entry of a ``name`` in the record, (J, S) -> (S,)."""
    return lambda record: record[name][-1]


@door.takes(name=door.TEXT, places=door.TEXT)
def slope(name: str, places: str = "widths") -> Callable[[dict], Stack]:
    """Reading: the exponent of a ``name`` in the record, (J, S), in its ``places``, (J,): a least-squares slope. (S,)."""
    return lambda record: curves.log_slope(record[places], record[name])


@door.takes(powers=door.named(door.EXACT), names=door.several(door.TEXT, 0), places=door.TEXT)
def furthest(powers: dict, *names: str, places: str = "widths") -> Callable[[dict], Stack]:
    """Reading: the largest distance of exponents in ``places`` from predicted ones, (S,).

    powers: name -> exponent; names: which of them are read, all where none is given.
    """
    known = {name: float(powers[name]) for name in names or powers}

    def read(record):
        return torch.stack([slope(name, places)(record) - power for name, power in known.items()]).abs().amax(dim=0)

    return read


@door.takes(experiment=EXPERIMENT, names=NAMES)
def law(experiment: Experiment, *names: str, **more) -> Trial:
    r"""A law is kept by the flow: along descent it drifts by $O(\eta)$, order 1 in the step.

    experiment: of :func:`attnflow.checks.drift`; names: of balances in its record; more: fields of the trial.
    """
    return Trial(experiment, order_of(*names), **({"holds": Near(abs=0.05), "predict": 1.0, "kind": "law"} | more))


@door.takes(experiment=EXPERIMENT, name=door.TEXT, edge=door.POSITIVE)
def conserved(experiment: Experiment, name: str, edge: float = 1e-12) -> Trial:
    """A linear law moves by rounding errors only, at every step size; a run that overflows has not kept it.

    experiment: of :func:`attnflow.checks.drift`; name: of the law in its record; edge: what rounding may do.
    """
    return Trial(experiment, largest(name), Below(edge), undefined=math.inf, kind="law")


@door.takes(
    function=door.FUNCTION,
    holds=door.instance(Criterion),
    kind=door.LABEL,
)
def derived(
    function: Callable, holds: Criterion, predict: float | Callable | None = None, kind: str = "", **settings
) -> Trial:
    """A calculation without seeds meets a criterion.

    function, settings: of the Derivation; holds, predict, kind: of the Trial.
    """
    return Trial(Derivation(function, settings), float, holds, predict, kind=kind)


@door.takes(holds=door.FUNCTION)
def proof(holds: Callable[..., bool], **settings) -> Trial:
    """sympy proves an identity. holds: of some ``settings`` -> whether it does. The control drops one assumption among them."""
    return derived(holds, Exactly(), 1.0, "proof", **settings)


@door.takes(counted=door.FUNCTION, known=door.EXACT)
def count(counted: Callable[..., float], known: float, **settings) -> Trial:
    """A count from above meets the number that is ``known``. counted: of some ``settings`` -> the bound."""
    return derived(counted, Exactly(), known, "count", **settings)


@door.takes(experiment=EXPERIMENT, predict=door.EXACT, within=door.POSITIVE)
def order(experiment: Experiment, predict: float, within: float = 0.05) -> Trial:
    """A method follows the flow to an order.

    experiment: of :func:`attnflow.checks.order`; predict: the order; within: the half-width.
    """
    return Trial(experiment, order_of("error", target=predict), Near(abs=within), predict=predict, kind="order")


@door.takes(experiment=EXPERIMENT, names=NAMES)
def one_step(experiment: Experiment, *names: str) -> Trial:
    """The one-step identity of descent is exact; a run that overflows has not kept it.

    experiment: of :func:`attnflow.checks.one_step`; names: of its pairs.
    """
    return Trial(experiment, largest(*names), Below(1e-12), undefined=math.inf, kind="one-step")
