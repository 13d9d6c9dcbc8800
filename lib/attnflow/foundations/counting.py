"""Are these all laws? The models whose laws chapter 1 counts, each with the number that is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from attnflow import laws, runs
from attnflow.claims import Control, kinds
from attnflow.foundations import model
from attnflow.foundations.balancing import claim, known


@dataclass(frozen=True)
class Case:
    """A model to count.

    title: of its row in the table; output: (theta, x) -> a number, for theta a dict of tensors; shapes: of theta, name ->
    shape; size: of x, whose entries are independent and standard normal; known: number of laws; source: where that is from.
    """

    title: str
    output: Callable
    shapes: dict
    size: int
    known: int
    source: str

    def count(self, seed: int = 0, points: int = 3) -> dict:
        """What :func:`attnflow.laws.count` returns at some random ``points`` of a ``seed``: the bound ``laws``, ranks and gap."""
        return laws.count(
            self.output,
            self.shapes,
            sample=lambda generator: runs.normal([generator], self.size)[0],
            generator=runs.streams([seed], "points")[0],
            points=points,
        )

    def bound(self) -> int:
        """The upper bound alone."""
        return self.count()["laws"]


def product(rows: int, columns: int, width: int, skip: bool = False) -> Case:
    r"""$x^\top A B^\top z$ with A (``rows``, ``width``) and B (``columns``, ``width``).

    skip: adds $x^\top A\mathbf 1$, so that A is used twice.
    """

    def output(theta, x):
        hidden = x[:rows] @ theta["A"]
        return hidden @ (theta["B"].T @ x[rows:]) + (hidden.sum() if skip else 0.0)

    return Case(
        title=f"product of two factors, {rows} + {columns} rows, width {width}",
        output=output,
        shapes={"A": (rows, width), "B": (columns, width)},
        size=rows + columns,
        known=laws.product_laws(rows + columns, width),
        source="Marcotte et al. 2023",
    )


def neurons(d: int, width: int, activation: str = "relu") -> Case:
    r"""$\sum_j o_j\,\phi(v_j^\top x)$ with ``width`` neurons on ``d`` inputs.

    activation: ``relu``, with one law a neuron, or ``tanh``, with none.
    """
    scales = runs.choice("activation", activation, ("relu", "tanh")) == "relu"
    return Case(
        title=f"{width} {activation} neurons on {d} inputs",
        output=lambda theta, x: model.ACTIVATIONS[activation][0](x @ theta["v"]) @ theta["o"],
        shapes={"v": (d, width), "o": (width,)},
        size=d,
        known=width if scales else 0,
        source="Marcotte et al. 2023" if scales else "derived here",
    )


def attention(d: int, k: int, o: int, length: int = 3, kernel: str = "softmax", common: bool = False) -> Case:
    """One attention layer of chapter 1, read at one query and one random combination of outputs.

    d, k, o, kernel: of the layer; length: tokens in x; common: the last feature of every token is 1, whatever x says. Known are
    quadratic and linear laws; distances of Gaussian heads wider than 2d, or 2d - 1 with a common feature, keep more.
    """
    layer, softmax = model.Layer(d, k, o, kernel=kernel), kernel == "softmax"
    ones = common * torch.eye(d, dtype=runs.DTYPE, device="cpu")[-1]

    def output(theta, x):
        tokens = (1 - ones) * x[: length * d].reshape(1, 1, length, d) + ones
        return (
            model.forward({name: value[None] for name, value in theta.items()}, tokens, layer)[0, 0, 0]
            @ x[length * d :]
        )

    return Case(
        title=f"one head of {kernel if softmax else 'Gaussian'} attention, d = {d}, k = {k}"
        + common * ", a common feature",
        output=output,
        shapes=layer.shapes,
        size=length * d + o,
        known=laws.product_laws(d + o, k) + softmax * laws.product_laws(2 * d - common, k) + common * k,
        source="Marcotte et al. 2025" if softmax and not common else "derived here",
    )


def network(sizes: tuple, gated: bool = False, biases: bool = False) -> Case:
    r"""A net with ``sizes`` = (inputs, hidden, ..., outputs), read at one random combination of its outputs.

    gated: each hidden neuron is multiplied by a gate of 0 or 1 that is part of x. That is a ReLU net of which every pattern of
    active neurons could be realised, so that no weight goes unseen at a point where its neuron is silent. Otherwise the net is
    linear. biases: one a neuron. Known are one law a gated neuron, or the independent entries of the balances of a linear net.
    """
    layers, gates = list(enumerate(pairwise(sizes))), sizes[1:-1]
    shapes = {f"W_{layer}": shape for layer, shape in layers}
    shapes |= {f"b_{layer}": shape[1:] for layer, shape in layers if biases}

    def output(theta, x):
        value, *drawn, last = torch.split(x, sizes)
        for layer, gate in enumerate((*drawn, None)):
            value = value @ theta[f"W_{layer}"] + (theta[f"b_{layer}"] if biases else 0.0)
            value = value * (gate > 0) if gated and gate is not None else value
        return value @ last

    return Case(
        title=f"{'gated' if gated else 'linear'} net {'-'.join(map(str, sizes))}{' with biases' * biases}",
        output=output,
        shapes=shapes,
        size=sum(sizes),
        known=sum(gates) if gated else balance_rank(sizes),
        source="Marcotte et al. 2023",
    )


def balance_rank(sizes: tuple) -> int:
    """How many entries of all balances of a linear net of these ``sizes`` are independent: rank of their Jacobian."""
    (generator,) = runs.streams([0], "point")
    weights = tuple(runs.normal([generator], *shape)[0] for shape in pairwise(sizes))

    def balances(*given):
        return torch.cat([laws.imbalance(one[None], two.mT[None]).flatten() for one, two in pairwise(given)])

    jacobian = torch.autograd.functional.jacobian(balances, weights)
    return laws.numerical_rank(torch.cat([part.flatten(1) for part in jacobian], dim=1))[0]


def suite(seed: int = 0, nets: int = 50) -> list[Case]:
    """Random nets of the kind on which the authors of the count tried theirs, drawn from a ``seed``.

    ``nets`` linear ones of two to four layers with sizes 2 to 5, and as many gated ones with sizes 2 to 9, every other one with
    biases.
    """
    (generator,) = runs.streams([seed], "suite")

    def whole(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator, device="cpu"))

    def sizes(largest):
        return tuple(whole(2, largest) for _ in range(whole(3, 5)))

    return [network(sizes(5)) for _ in range(nets)] + [
        network(sizes(9), gated=True, biases=place % 2 == 0) for place in range(nets)
    ]


def cases() -> list[Case]:
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


def table(counts: Sequence[tuple[Case, dict]]) -> str:
    """Pairs of a case and its count, ``counts``, as a Markdown table: sizes, ranks, the bound, and what is known."""
    lines = [
        "| model | parameters | rank of gradients | with brackets | bound | known | source |",
        "|---|" + "---|" * 6,
    ]
    for case, found in counts:
        verdict = "complete" if found["laws"] == case.known else "**not met**"
        lines.append(
            "| {} | {} | {} | {} | {} | {}, {} | {} |".format(
                case.title,
                *(found[name] for name in ("size", "rank_gradients", "rank", "laws")),
                case.known,
                verdict,
                case.source,
            )
        )
    return "\n".join(lines)


def counted(case: Case, title: str, broken: Case) -> tuple:
    """Trial and control of a claim that the bound of a ``case`` is the known number; ``title``: how it is ``broken``."""
    return kinds.count(case.bound, case.known), Control(title, read=broken.bound)


CLAIMS = (
    known(
        "count-product",
        "A product has no other laws",
        r"$AB^\top$ with 3 + 4 rows and width 2: at most as many laws as the $k(k+1)/2 = 3$ of its balance.",
        *counted(product(3, 4, 2), "a skip path that uses one factor again", product(3, 4, 2, skip=True)),
        cite=("marcotte2023abide",),
    ),
    known(
        "count-neurons",
        "ReLU neurons have one law each",
        "Four ReLU neurons on three inputs: at most the four laws that are known.",
        *counted(neurons(3, 4), "tanh in place of ReLU", neurons(3, 4, "tanh")),
        cite=("marcotte2023abide",),
    ),
    known(
        "count-attention",
        "One head of softmax attention has no other laws",
        r"With $d=3$, $k=2$ and $L=3$ tokens a head has at most the 3 laws of $W_Q, W_K$ and the 3 of $W_V, W_O$.",
        *counted(
            attention(3, 2, 2),
            "Gaussian attention, where only the 3 of $W_V, W_O$ remain",
            attention(3, 2, 2, kernel="gaussian"),
        ),
        cite=("marcotte2025transformative",),
    ),
    claim(
        "count-shift",
        "A common feature adds k laws",
        r"When $Xw = 1$ on all tokens the same head has at most $k = 2$ more, the entries of $w^\top W_K$.",
        *counted(attention(3, 2, 2, common=True), "tokens without a common feature", attention(3, 2, 2)),
        cite=("marcotte2025transformative",),
    ),
)
