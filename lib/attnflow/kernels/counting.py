"""Are these all laws of one head? Counts from above for four kernels, each beside the number that is known."""

from functools import lru_cache

import torch

from attnflow import Control, door, kinds, laws, runs
from attnflow.attention import KERNELS
from attnflow.kernels import model, theory
from attnflow.kernels.setting import claim
from attnflow.kernels.theory import DISTANCES, DOTS

NARROW = ((2, 1, 1), (2, 2, 1), (3, 2, 2), (2, 4, 2))  # d, k, o of heads with k <= 2d
WIDE = ((1, 3, 1), (2, 5, 1))  # and with k > 2d
SIZES = door.several(door.together(door.COUNT, door.COUNT, door.COUNT))
KEEPS_A_ROW = tuple(name for name in KERNELS if name != "exp")  # where tokens share a direction


@door.takes(layer=model.Layer, common=door.FLAG, length=door.COUNT, seed=door.INDEX, points=door.COUNT)
@lru_cache  # the page shows the numbers that the claims ask for
def counted(layer: model.Layer, common: bool = False, length: int = 3, seed: int = 0, points: int = 1) -> dict:
    """What :func:`attnflow.laws.count` says of a ``layer`` that is read at one query and one random combination of outputs.

    common: the last feature of every token is 1, whatever is drawn; length: tokens in a sample; seed, points: the random
    weights at which it is counted. Returns the bound ``laws``, ranks, whether they are ``closed``, and the ``gap``. Raises
    WrongUse for tokens that are nothing but a common feature.
    """
    runs.check("d", layer.d, "at least 2, for tokens with a common feature that differ", layer.d > 1 or not common)
    size = length * layer.d
    ones = common * torch.eye(layer.d, dtype=runs.DTYPE, device="cpu")[-1]

    def output(weights, drawn):
        inputs = (1 - ones) * drawn[:size].reshape(1, 1, length, layer.d) + ones
        return (
            model.forward({name: value[None] for name, value in weights.items()}, inputs, layer)[0, 0, 0] @ drawn[size:]
        )

    (generator,) = runs.streams([seed], "points")
    return laws.count(
        output, layer.shapes, lambda source: runs.normal([source], size + layer.o)[0], generator, points=points
    )


@door.takes(layer=model.Layer, common=door.FLAG)
def known(layer: model.Layer, common: bool = False) -> int:
    r"""The number of laws of a ``layer`` that are known, of all its heads.

    A head has the balance of values and outputs, and of queries and keys: the balance of a product of 2d rows, or with a
    ``common`` feature under softmax of 2d - 1 rows and the k entries of $w^\top W_K$; under a distance nothing but the span of
    the 2d rows, $2d(k - 2d)$ numbers where $k > 2d$, or with a common feature the k entries of $w^\top(W_Q + W_K)$ and the
    span of the other 2d - 1 rows.
    """
    d, k, kernel = layer.d, layer.k, layer.similarity
    rows = 2 * d - (common and kernel.name != "exp")
    linear = k * (2 * d - rows)
    inner = rows * max(k - rows, 0) if kernel.distance else laws.product_laws(rows, k)
    return layer.heads * (laws.product_laws(d + layer.o, k) + linear + inner)


@door.takes(kernels=theory.NAMES, sizes=SIZES)
def heads(kernels: tuple, sizes: tuple) -> list[model.Layer]:
    """One head of every one of ``kernels`` at every one of ``sizes`` (d, k, o)."""
    return [model.Layer(*size, kernel=kernel) for kernel in kernels for size in sizes]


@door.takes(kernels=theory.NAMES, sizes=SIZES, common=door.FLAG)
def bounds(kernels: tuple, sizes: tuple, common: bool = False) -> int:
    """The bounds on the number of laws of one head, added up over ``kernels`` and ``sizes`` (d, k, o).

    common: of :func:`counted`. No bound can be below what is known, so that sums agree only where all of them do.
    """
    return sum(counted(layer, common)["laws"] for layer in heads(kernels, sizes))


@door.takes(kernels=theory.NAMES, sizes=SIZES, common=door.FLAG)
def complete(kernels: tuple, sizes: tuple, common: bool = False) -> dict:
    """Trial of a claim that :func:`bounds` are what is :func:`known`. kernels, sizes, common: as there."""
    total = sum(known(layer, common) for layer in heads(kernels, sizes))
    return kinds.count(bounds, total, kernels=kernels, sizes=sizes, common=common)


@door.takes(kernels=theory.NAMES, d=door.COUNT, k=door.COUNT, common=door.FLAG)
def polynomials(kernels: tuple, d: int = 2, k: int = 2, common: bool = False) -> int:
    """Laws that are polynomials of degree 1 or 2 of queries and keys, added up over ``kernels``. d, k, common: as in theory."""
    return sum(theory.polynomial_laws(kernel, 2, d, k, common) for kernel in kernels)


@door.takes(kernels=theory.NAMES, common=door.FLAG)
def none_of_degree_two(kernels: tuple, common: bool = False) -> bool:
    """Whether none of ``kernels`` keeps any polynomial of degree 1 or 2 of queries and keys. common: as in theory."""
    return polynomials(kernels, common=common) == 0


@door.takes(sizes=SIZES)
def table(sizes: tuple = NARROW[:2]) -> str:
    """Bounds beside what is known, for every kernel, as a Markdown table: a row a size of ``sizes`` (d, k, o)."""
    lines = ["| $d, k, o$ | tokens | " + " | ".join(KERNELS) + " |", "|---|" + "---|" * (1 + len(KERNELS))]
    for size in sizes:
        for common in (False, True):
            row = [f"{counted(layer, common)['laws']} ({known(layer, common)})" for layer in heads(KERNELS, (size,))]
            told = "share a direction" if common else "share nothing"
            lines.append(f"| {', '.join(map(str, size))} | {told} | " + " | ".join(row) + " |")
    return "\n".join(lines)


COUNT = ("marcotte2023abide", "marcotte2025transformative")
CLAIMS = (
    claim(
        "count-polynomials",
        "A dot product keeps quadratic laws of queries and keys",
        r"All polynomials of degree 1 or 2 of $W_Q, W_K$ that are constant for every loss of the weights $S$ and all "
        r"tokens, found by linear algebra at $d = k = 2$: the $k(k+1)/2 = 3$ entries of the balance, for softmax and "
        r"for $e^{\beta q\cdot k}$.",
        kinds.count(polynomials, len(DOTS) * laws.product_laws(4, 2), kernels=DOTS, d=2, k=2),
        Control("distances in place of dot products", {"kernels": DISTANCES}),
        cite=(*COUNT, "song2024kernels"),
    ),
    claim(
        "proof-none",
        "A distance keeps no quadratic law of queries and keys",
        r"The same linear equations at $d = k = 2$ have no solution under either Gaussian: no polynomial of degree 1 or "
        r"2 of $W_Q, W_K$ is constant.",
        kinds.proof(none_of_degree_two, kernels=DISTANCES),
        Control("tokens that share a direction, where $w^\\top(W_Q + W_K)$ is", {"common": True}),
    ),
    claim(
        "count-dot",
        "One head with dot products has no other laws",
        r"At four sizes with $k \le 2d$, for softmax and $e^{\beta q\cdot k}$: at most the laws of both balances, added "
        r"up and counted from above by Lie brackets.",
        complete(DOTS, NARROW),
        Control("distances, where those of values and outputs remain", {"kernels": DISTANCES}),
        provenance="derived here from a known theorem",
        cite=COUNT,
    ),
    claim(
        "count-distance",
        "One head with distances has the laws of values and outputs alone",
        r"At three of these sizes, with $k < 2d$, for both Gaussians: at most the laws of $W_V^\top W_V - W_OW_O^\top$.",
        complete(DISTANCES, NARROW[:3]),
        Control("tokens that share a direction, where a row is kept besides", {"common": True}),
        cite=("marcotte2023abide",),
    ),
    claim(
        "count-shared",
        "A shared direction adds a row, and no more",
        r"Where $Xw = \mathbf 1$ on all tokens, at the same sizes: at most the k entries of $w^\top W_K$ more under "
        r"softmax, and of $w^\top(W_Q + W_K)$ more under both Gaussians.",
        complete(KEEPS_A_ROW, NARROW[:3], common=True),
        Control("tokens that share no direction", {"common": False}),
        cite=("marcotte2023abide",),
    ),
    claim(
        "count-wide",
        "A wide head with distances keeps the span of its rows",
        r"Where $k > 2d$ the 2d rows of $W_Q$ and $W_K$ move in the span that they have at the start, which takes "
        r"$2d(k - 2d)$ numbers: at most these and the laws of values and outputs, at two sizes and for both Gaussians.",
        complete(DISTANCES, WIDE),
        Control("dot products, which keep the balance besides", {"kernels": DOTS}),
    ),
)
