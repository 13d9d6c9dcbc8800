"""What the experiments on images need besides the vision Transformer: descent on small batches, and a small convolution.

A batch a step is a field that is still a function of the state alone: a *clock* in the state moves by one step a step, and says
which batch is next.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from attnflow import door, flow, runs
from attnflow.runs import Stack, State

CLOCK = "clock"
Loss = Callable[[State, Stack, Stack], Stack]


@door.takes(forward=door.FUNCTION)
def cross_entropy(forward: Callable[[State, Stack], Stack]) -> Loss:
    """The loss (state, inputs, labels) -> (S,) of a net, ``forward``: (state, inputs) -> scores (S, n, classes)."""

    def loss(state, inputs, labels):
        scores = forward(state, inputs).log_softmax(dim=-1)
        return -scores.gather(2, labels[:, :, None])[:, :, 0].mean(dim=1)

    return loss


@door.takes(state=door.named("S ..."))
def started(state: State) -> State:
    """The ``state`` with a clock at 0, what a field of :func:`batched` begins from."""
    like = next(iter(state.values()))
    return state | {CLOCK: like.new_zeros(len(like), 1)}


@door.takes(
    loss=door.FUNCTION, inputs="S n ...", labels="int: S n", size=door.COUNT, step=door.either("S", door.POSITIVE)
)
def batched(loss: Loss, inputs: Stack, labels: Stack, size: int, step: float | Stack) -> flow.fields.Field:
    """The field of a ``loss`` on one batch a step, in turn, for a state that :func:`started` has given a clock.

    inputs: (S, n, ...); labels: (S, n), both cut into batches of a ``size``, what is left over unused; step: of the descent, or
    the learning rate of an optimiser that moves the clock as descent does, as Adam does since its slope is always -1: a number
    greater than 0 or (S,) of them. The loss that the field returns is that of the batch. Raises WrongUse where there is not one
    whole batch.
    """
    count = inputs.shape[1] // runs.integer("size", size)
    least = float(torch.as_tensor(step).min())
    runs.check("step", least, "greater than 0", least > 0)
    runs.check("size", size, f"at most {inputs.shape[1]}, the number of samples", count > 0)
    parts = [each[:, : count * size].unflatten(1, (count, size)) for each in (inputs, labels)]
    rows = torch.arange(len(inputs), device=inputs.device)

    def field(state):
        place = (state[CLOCK][:, 0] / step).round().long() % count
        now = [each[rows, place] for each in parts]
        own = {name: value for name, value in state.items() if name != CLOCK}
        value, slopes = flow.autograd(lambda leaves: loss(leaves, *now))(own)
        return value, slopes | {CLOCK: -torch.ones_like(state[CLOCK])}

    return field


@dataclass(frozen=True)
class Convolution:
    """A small convolutional net: layers of 3 x 3 ReLU convolutions, then the mean over pixels and one matrix.

    channels: of every layer; depth: layers; classes: scores.
    """

    channels: int = 12
    depth: int = 3
    classes: int = 2

    def __post_init__(self):
        for name in ("channels", "depth", "classes"):
            runs.integer(name, getattr(self, name))

    def init(self, generators: list) -> State:
        """Weights, one of the ``generators`` a run: He for the layers, a zero readout.

        Returns name -> (S, rows, columns).
        """
        sizes = [9, *[9 * self.channels] * (self.depth - 1)]
        state = {
            f"conv{layer}": runs.normal(generators, rows, self.channels, std=math.sqrt(2 / rows))
            for layer, rows in enumerate(sizes)
        }
        zero = {f"bias{layer}": (1, self.channels) for layer in range(self.depth)}
        zero["read"] = (self.channels, self.classes)
        return state | {
            name: torch.zeros(len(generators), *shape, dtype=runs.DTYPE, device="cpu") for name, shape in zero.items()
        }

    def forward(self, state: State, pictures: Stack) -> Stack:
        """Class scores, (S, n, classes), with the weights ``state``. pictures: (S, n, pixels, pixels)."""
        stream, channels = pictures.transpose(0, 1), 1
        for layer in range(self.depth):
            # A run is a group of channels, so that one call serves the whole stack.
            kernel = state[f"conv{layer}"].mT.unflatten(2, (3, 3, channels)).permute(0, 1, 4, 2, 3).flatten(0, 1)
            bias = state[f"bias{layer}"].flatten()
            stream = torch.relu(torch.conv2d(stream, kernel, bias, padding=1, groups=len(pictures)))
            channels = self.channels
        return stream.mean(dim=(2, 3)).unflatten(1, (len(pictures), channels)).transpose(0, 1) @ state["read"]
