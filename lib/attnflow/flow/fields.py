"""Fields made from losses and from other fields."""

from collections.abc import Callable, Sequence

import torch

from attnflow import door, runs
from attnflow.runs import Stack, State

Field = Callable[[State], tuple[Stack, State]]
RATE = door.either(door.each(door.NUMBER), door.NUMBER)


@door.takes(loss=door.FUNCTION)
def autograd(loss: Callable[[State], Stack]) -> Field:
    r"""The field of any loss by torch's autograd: $\theta \mapsto (\mathcal L, \nabla\mathcal L)$.

    loss: state -> (S,), in which run s depends on the entries of run s alone. A tensor that the loss does not use has
    gradient zero. Returns a field; nothing that it returns holds a graph.

    >>> square = autograd(lambda state: state["a"].square().sum(dim=1) / 2)
    >>> [float(each) for each in (square({"a": torch.tensor([[3.0]])})[0], square({"a": torch.tensor([[3.0]])})[1]["a"])]
    [4.5, 3.0]
    """

    def field(state):
        leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
        losses = loss(leaves)
        slopes = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
        return losses.detach(), dict(zip(leaves, slopes, strict=True))

    return field


@door.takes(fields=door.several(door.FUNCTION), size=door.COUNT)
def in_blocks(fields: Sequence[Field], size: int) -> Field:
    """One field of a whole stack out of ``fields`` of its blocks of ``size`` runs, where a block fits a cache and all do not.

    >>> square = autograd(lambda state: state["a"].square().sum(dim=1) / 2)
    >>> in_blocks([square, square], 2)({"a": torch.tensor([[1.0], [2.0], [3.0]])})[0].tolist()
    [0.5, 2.0, 4.5]
    """

    def field(state):
        split = {name: value.split(size) for name, value in state.items()}
        parts = [part({name: split[name][place] for name in state}) for place, part in enumerate(fields)]
        losses, slopes = zip(*parts, strict=True)
        return torch.cat(losses), {name: torch.cat([slope[name] for slope in slopes]) for name in slopes[0]}

    return with_parts(field, fields, size)


@door.takes(field=door.FUNCTION, fields=door.several(door.FUNCTION), size=door.COUNT)
def with_parts(field: Field, fields: Sequence[Field], size: int) -> Field:
    """The same ``field``, which knows the ``fields`` of its blocks of ``size`` runs: they can be followed one after the other."""
    field.parts = fields, size
    return field


@door.takes(field=door.FUNCTION, kernel=door.FUNCTION)
def with_kernel(field: Field, kernel: Callable[[State], object]) -> Field:
    """The same ``field``, which knows its compiled form: ``kernel``, a function of a state, for an engine that asks."""
    field.kernel = kernel
    return field


@door.takes(field=door.FUNCTION, rate=RATE)
def decayed(field: Field, rate: float | dict[str, float]) -> Field:
    r"""The same ``field`` with weight decay: $\nabla\mathcal L + \lambda\theta$. The loss stays $\mathcal L$.

    rate: $\lambda$, a number for all tensors, or a dict name -> number; a tensor that it does not name is not decayed.
    Returns a field, which raises WrongUse where a name is not one of the state.
    """

    def named(state):
        rates = rate if isinstance(rate, dict) else dict.fromkeys(state, rate)
        runs.names("rate", tuple(rates), tuple(state))
        return rates

    def with_decay(state):
        (loss, gradient), rates = field(state), named(state)
        return loss, {name: gradient[name] + rates.get(name, 0.0) * value for name, value in state.items()}

    if hasattr(field, "parts"):
        with_parts(with_decay, [decayed(part, rate) for part in field.parts[0]], field.parts[1])
    if hasattr(field, "kernel"):
        with_kernel(with_decay, lambda state: field.kernel(state).decaying(named(state)))
    return with_decay


@door.takes(field=door.FUNCTION, rates=door.each(door.either(door.NUMBER, "real: ...")))
def at_rates(field: Field, rates: dict[str, float | torch.Tensor]) -> Field:
    r"""The same ``field`` with a learning rate of its own for each tensor: $\eta_A\,\partial\mathcal L/\partial A$.

    rates: name -> $\eta_A$, a number or a tensor that broadcasts against the parameter, such as (d, 1) for one rate a row; a
    parameter that it does not name keeps rate 1, and rate 0 freezes it. Returns a field, which raises WrongUse where a name is
    not one of the state.
    """

    def scaled(state):
        loss, gradient = field(state)
        runs.names("rates", tuple(rates), tuple(gradient))
        own = {name: rates.get(name, 1.0) for name in gradient}
        own = {name: rate.to(gradient[name]) if isinstance(rate, torch.Tensor) else rate for name, rate in own.items()}
        return loss, {name: own[name] * slope for name, slope in gradient.items()}

    if any(isinstance(rate, torch.Tensor) for rate in rates.values()):
        return scaled
    if hasattr(field, "parts"):
        with_parts(scaled, [at_rates(part, rates) for part in field.parts[0]], field.parts[1])
    if hasattr(field, "kernel"):
        with_kernel(scaled, lambda state: field.kernel(state).at(rates))
    return scaled
