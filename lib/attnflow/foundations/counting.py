"""The models whose laws chapter 1 counts, each with the number that is known."""

from dataclasses import dataclass

import torch

from attnflow import laws, runs
from attnflow.foundations import model
from attnflow.foundations.model import Layer


@dataclass(frozen=True)
class Case:
    """A model to count: its output as a function of (theta, x), the size of theta, a sampler of x, and known laws."""

    title: str
    output: object
    size: int
    sample: object
    known: int
    source: str

    def count(self, seed=0):
        """The upper bound at a random point, as ``laws.count`` returns it, with the known number beside it."""
        (generator,) = runs.streams([seed])
        found = laws.count(self.output, self.size, self.sample, generator)
        return found | {"known": self.known, "complete": found["laws"] == self.known}


def product(rows, columns, width, skip=False):
    r"""$x^\top A B^\top z$, A (rows, width), B (columns, width). ``skip`` adds $x^\top A\mathbf 1$, so A is used twice."""

    def output(theta, x):
        left, right = theta[: rows * width].reshape(rows, width), theta[rows * width :].reshape(columns, width)
        hidden = x[:rows] @ left
        return hidden @ (right.T @ x[rows:]) + (hidden.sum() if skip else 0.0)

    known = laws.product_laws(rows + columns, width)
    title = f"product of two factors, {rows} + {columns} rows, width {width}"
    size = (rows + columns) * width
    return Case(title, output, size, normal(rows + columns), known, "Marcotte et al. 2023")


def neurons(d, width, activation="relu"):
    r"""$\sum_j o_j\,\phi(v_j^\top x)$: one law a neuron for ReLU, none for tanh."""
    activate = model.ACTIVATIONS[activation][0]

    def output(theta, x):
        incoming, outgoing = theta[: d * width].reshape(d, width), theta[d * width :]
        return activate(x @ incoming) @ outgoing

    known = width if activation == "relu" else 0
    title = f"{width} {activation} neurons on {d} inputs"
    return Case(title, output, (d + 1) * width, normal(d), known, "Marcotte et al. 2023" if known else "derived here")


def attention(d, k, o, length=3, kernel="softmax", common=False):
    """One attention layer of chapter 1, read at one query and one random combination of outputs."""
    layer = Layer(d=d, k=k, o=o, kernel=kernel)
    shapes = {"W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, o)}
    sizes = [rows * columns for rows, columns in shapes.values()]

    def output(theta, x):
        parts = torch.split(theta, sizes)
        state = {name: part.reshape(1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        tokens = x[: length * d].reshape(1, 1, length, d)
        return model.forward(state, tokens, layer)[0, 0, 0] @ x[length * d :]

    def sample(generator):
        x = torch.randn(length * d + o, generator=generator, dtype=runs.DTYPE)
        if common:
            x[d - 1 : length * d : d] = 1.0
        return x

    values = laws.product_laws(d + o, k)
    known = values + (laws.product_laws(2 * d, k) if kernel == "softmax" else 0) + (k if common else 0)
    name = "one head of softmax attention" if kernel == "softmax" else "one head of Gaussian attention"
    title = f"{name}, d = {d}, k = {k}" + (", a common feature" if common else "")
    source = "derived here" if kernel == "gaussian" or common else "Marcotte et al. 2025"
    return Case(title, output, sum(sizes), sample, known, source)


def normal(size):
    """A sampler of x with independent standard normal entries, (size,)."""
    return lambda generator: torch.randn(size, generator=generator, dtype=runs.DTYPE)


def cases():
    """The list of the chapter, small enough to count in seconds."""
    return [
        product(3, 4, 2),
        product(2, 2, 6),
        neurons(3, 4),
        neurons(3, 4, "tanh"),
        attention(3, 2, 2),
        attention(3, 2, 2, common=True),
        attention(3, 2, 2, kernel="gaussian"),
        attention(3, 2, 2, kernel="gaussian", common=True),
    ]


def table(counts):
    """Pairs of a case and its count as a Markdown table: sizes, ranks, the bound, and what is known."""
    lines = [
        "| model | parameters | rank of gradients | with brackets | bound | known | source |",
        "|---|" + "---|" * 6,
    ]
    for case, found in counts:
        numbers = [found[name] for name in ("size", "rank_gradients", "rank", "laws")]
        known = f"{case.known}, complete" if found["complete"] else f"{case.known}, **not met**"
        lines.append(f"| {case.title} | " + " | ".join(map(str, numbers)) + f" | {known} | {case.source} |")
    return "\n".join(lines)
