"""How many laws the encoder has: the known ones, and the bound from above by Lie brackets."""

import torch

from attnflow import laws, runs
from attnflow.encoder import model


def known(d, width, hidden=False):
    r"""Number of known laws: those of $W_Q, W_K$, one a neuron, and those of $W_V, W_H$ where $W_H$ is trained."""
    middle = laws.product_laws(d + width, width) if hidden else 0
    return laws.product_laws(2 * d, width) + middle + width


def count(d=2, width=2, length=2, hidden=False, activation=torch.relu, seed=0):
    """Upper bound on the number of laws that hold for every loss and every data set, as ``laws.count`` returns it."""
    net = model.Encoder(d=d, width=width, hidden=hidden)
    (generator,) = runs.streams([seed])
    shapes = {name: value.shape[1:] for name, value in model.init([generator], net).items()}
    sizes = [rows * columns for rows, columns in shapes.values()]

    def output(theta, tokens):
        parts = torch.split(theta, sizes)
        state = {name: part.reshape(1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        mixed = (model.attention(state, tokens[None, None], net) @ tokens)[:, 0]
        return (activation(model.neurons(state, mixed)).mean(dim=1) @ state["W_O"][0])[0, 0]

    def sample(source):
        return torch.randn(length, d, generator=source, dtype=runs.DTYPE)

    return laws.count(output, sum(sizes), sample, generator)
