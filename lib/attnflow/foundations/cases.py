"""Models whose laws chapter 1 counts: products, neurons, attention plain and altered, and deep nets."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch

from attnflow import door, laws, runs
from attnflow.foundations import model

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}
HEAD = dict.fromkeys(("d", "k", "o"), door.COUNT) | {"length": door.whole(2)}  # one token has no weights to learn
SIZES = door.several(door.COUNT, least=3)


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


@door.takes(rows=door.COUNT, columns=door.COUNT, width=door.COUNT, skip=door.FLAG)
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


@door.takes(d=door.COUNT, width=door.COUNT, activation=door.choice(*ACTIVATIONS))
def neurons(d: int, width: int, activation: str = "relu") -> Case:
    r"""$\sum_j o_j\,\phi(v_j^\top x)$ with ``width`` neurons on ``d`` inputs.

    activation: ``relu``, with one law a neuron, or ``tanh`` or ``gelu``, with none.
    """
    scales = runs.choice("activation", activation, tuple(ACTIVATIONS)) == "relu"
    return Case(
        title=f"{width} {activation} neurons on {d} inputs",
        output=lambda theta, x: ACTIVATIONS[activation](x @ theta["v"]) @ theta["o"],
        shapes={"v": (d, width), "o": (width,)},
        size=d,
        known=width if scales else 0,
        source="Marcotte et al. 2023" if scales else "derived here",
    )


@door.takes(**HEAD, kernel=door.choice(*model.KERNELS), common=door.FLAG)
def attention(d: int, k: int, o: int, length: int = 3, kernel: str = "softmax", common: bool = False) -> Case:
    """One attention layer of chapter 1, read at one query and one random combination of outputs.

    d, k, o, kernel: of the layer; length: tokens in x, two at least; common: the last feature of every token is 1, whatever x
    says. Known are quadratic and linear laws; distances of Gaussian heads wider than 2d, or 2d - 1 with a common feature, keep
    more.
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


@door.takes(rows="... L k")
def turned(rows: torch.Tensor) -> torch.Tensor:
    """Rotary positions: each pair of columns of the ``rows`` (..., L, k) turned by the place times an angle of the pair.

    The number k of columns is even. Returns (..., L, k).
    """
    runs.check("rows", f"{rows.shape[-1]} columns", "of an even number of columns", rows.shape[-1] % 2 == 0)
    even, odd = rows[..., ::2], rows[..., 1::2]
    places, pairs = (torch.arange(size, dtype=rows.dtype, device="cpu") for size in even.shape[-2:])
    angle = places[:, None] / (1 + pairs)
    return torch.cat([even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()], dim=-1)


@dataclass(frozen=True)
class Change:
    """What sets attention as it is built today apart from that of the chapter.

    left: (d, k) -> how many laws of queries and keys are left; seen: what is done to queries and to keys, (L, k) -> (L, k);
    heads: of queries and outputs that share their keys and values; biases: whether queries and keys have them; columns: how
    many belong together, so that k has to be a multiple.
    """

    left: Callable
    seen: Callable = lambda rows: rows
    heads: int = 1
    biases: bool = False
    columns: int = 1


CHANGES = {
    "rotary positions": Change(lambda d, k: k // 2, seen=turned, columns=2),  # a number a plane
    "query-key norm": Change(lambda d, k: 2, seen=partial(torch.nn.functional.normalize, dim=-1)),  # a number a matrix
    "grouped keys": Change(lambda d, k: laws.product_laws(3 * d, k), heads=2),  # one balance of three matrices
    # The bias of the queries is one more row, and that of the keys is kept, since softmax does not see it.
    "biases": Change(lambda d, k: laws.product_laws(2 * d + 1, k) + k, biases=True),
}


@door.takes(**HEAD, change=door.choice(*CHANGES))
def altered(change: str, d: int = 3, k: int = 2, o: int = 2, length: int = 3) -> Case:
    """Softmax attention with one ``change`` of ``CHANGES``, read as in :func:`attention`.

    d, k, o, length: sizes, of two tokens at least. Known is what the change leaves of the laws of queries and keys, and the
    balance of values and outputs; under the norm heads wider than 2d keep more. Raises WrongUse where rotary positions meet an
    odd k.
    """
    made = CHANGES[runs.choice("change", change, tuple(CHANGES))]
    runs.check("k", k, f"a multiple of {made.columns}", k % made.columns == 0)
    shapes = {"W_Q": (made.heads, d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (made.heads, k, o)}
    shapes |= {"b_Q": (k,), "b_K": (k,)} if made.biases else {}

    def output(theta, x):
        tokens = x[: length * d].reshape(length, d)
        queries, keys = (made.seen(tokens @ theta[f"W_{name}"] + theta.get(f"b_{name}", 0.0)) for name in "QK")
        weights = torch.softmax(queries @ keys.mT / math.sqrt(k), dim=-1)
        return (weights @ tokens @ theta["W_V"] @ theta["W_O"]).sum(dim=0)[0] @ x[length * d :]

    return Case(
        title=f"softmax attention with {change}, d = {d}, k = {k}",
        output=output,
        shapes=shapes,
        size=length * d + o,
        known=made.left(d, k) + laws.product_laws(d + made.heads * o, k),
        source="derived here",
    )


@door.takes(sizes=SIZES, gated=door.FLAG, biases=door.FLAG)
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
        known=sum(gates) if gated else balance_rank(sizes, biases),
        source="Marcotte et al. 2023",
    )


@door.takes(sizes=SIZES, biases=door.FLAG)
def balance_rank(sizes: tuple, biases: bool = False) -> int:
    """How many entries of all balances of a linear net of these ``sizes`` are independent: rank of their Jacobian.

    biases: whether each layer has a bias, which is one more row of its matrix, and not one of the next layer's.
    """
    (generator,) = runs.streams([0], "point")
    weights = tuple(runs.normal([generator], rows + biases, columns)[0] for rows, columns in pairwise(sizes))

    def balances(*given):
        met = ((one[None], two[None, : one.shape[1]].mT) for one, two in pairwise(given))
        return torch.cat([laws.imbalance(*pair).flatten() for pair in met])

    jacobian = torch.autograd.functional.jacobian(balances, weights)
    return laws.numerical_rank(torch.cat([part.flatten(1) for part in jacobian], dim=1))[0]


@door.takes(seed=door.INDEX, nets=door.COUNT)
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
