r"""The gradient of chapter 2's Transformer and its layer laws, by sympy in chain-rule form."""

from functools import partial

import sympy as sp
import torch

from attnflow import door, laws, runs, symbolic

SIZES = dict.fromkeys(("d", "k", "o"), door.COUNT)
SCORES = {"W_Q": "d k", "W_K": "d k"}


@door.takes(**SIZES, length=door.COUNT, complete=door.FLAG)
def gradient(length: int = 3, d: int = 3, k: int = 2, o: int = 2, complete: bool = True) -> tuple:
    r"""Gradients of the four matrices for one sample, with the attention matrix S and $c = y/(1+e^{yF})$ as symbols.

    With $\omega = W_O\xi$, $z = X^\top S^\top\mathbf 1\,c$, the scores $v = XW_V\omega$ of the tokens and
    $-(G_Z)_{lj} = c\,S_{lj}(v_j - \sum_m S_{lm}v_m)$: $G_{W_V} = -z\omega^\top$, $G_{W_O} = -W_V^\top z\xi^\top$,
    $G_{W_Q} = X^\top G_ZXW_K/\sqrt k$, $G_{W_K} = X^\top G_Z^\top XW_Q/\sqrt k$. length: L; d words, width k, o neurons.
    Without ``complete`` the mean is left out of $G_Z$, which is wrong. Returns (expressions, symbols): name -> sympy matrix.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, o), "xi": (o, 1)} | {
        "S": (length, length),
        "c": (1, 1),
    }
    symbols = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, query, key, value, out, signs, weights, force = symbols.values()
    omega, pull = out * signs, tokens.T * weights.T * sp.ones(length, 1) * force[0]
    drive = sp.ones(length, 1) * (tokens * value * omega).T * force[0] / sp.sqrt(k)
    slope = symbolic.softmax_slope(weights, drive) if complete else weights.multiply_elementwise(drive)
    return {
        "W_Q": -tokens.T * slope * tokens * key,
        "W_K": -tokens.T * slope.T * tokens * query,
        "W_V": -pull * omega.T,
        "W_O": -value.T * pull * signs.T,
    }, symbols


@door.takes(weights=SCORES, tokens="L d")
def attention(weights: dict, tokens: torch.Tensor) -> torch.Tensor:
    """Attention matrix (L, L) of one sample. weights: name -> (d, k), of which queries and keys are read; tokens: (L, d)."""
    logits = tokens @ weights["W_Q"] @ (tokens @ weights["W_K"]).T / weights["W_Q"].shape[1] ** 0.5
    return torch.softmax(logits, dim=1)


@door.takes(weights=SCORES | {"W_V": "d k", "W_O": "k o"}, tokens="L d", signs="o")
def output(weights: dict, tokens: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Output F of one sample, as the text writes it, from ``weights`` and ``tokens`` as above; signs: (o,)."""
    return (attention(weights, tokens) @ tokens @ weights["W_V"] @ weights["W_O"] @ signs).sum()


@door.takes(**SIZES, points=door.COUNT, complete=door.FLAG, length=door.COUNT, seed=door.INDEX)
def agreement(
    points: int = 5, complete: bool = True, length: int = 3, d: int = 3, k: int = 2, o: int = 2, seed: int = 0
) -> float:
    """Largest relative difference of the derived gradients to torch autograd on the loss written out densely.

    points: random ones, drawn from ``seed``; complete, length, d, k, o: of :func:`gradient`.
    """
    expressions, symbols = gradient(length, d, k, o, complete)

    def loss(point):
        return torch.nn.functional.softplus(-point["y"][0] * output(point, point["X"], point["xi"][:, 0]))

    def draw(generator):
        point = {name: runs.normal([generator], *symbols[name].shape)[0] for name in ("X", "W_O", "W_Q", "W_K", "W_V")}
        signs = torch.randint(2, (o + 1, 1), generator=generator, device="cpu").to(runs.DTYPE) * 2 - 1
        return point | {"xi": signs[1:], "y": signs[0]}

    def intermediate(point):
        total = output(point, point["X"], point["xi"][:, 0])
        return {"S": attention(point, point["X"]), "c": (point["y"] * torch.sigmoid(-point["y"] * total))[None]}

    return symbolic.agree(expressions, symbols, loss, draw, intermediate, points, seed)


@door.takes(d=door.COUNT, k=door.COUNT, signs=door.several(door.choice(-1, 1)), normalised=door.FLAG)
def proved(d: int = 3, k: int = 2, signs: tuple = (1, -1, 1), normalised: bool = True) -> dict:
    r"""Which of the chapter's four laws sympy proves, and that the sum of the query rows is none: name -> bool.

    Along the flow of all four matrices for any data and any loss of F: z (d,) and $G_\Phi$ (d, d) are free symbols, and every
    row of $G_\Phi$ sums to zero, because those of the attention matrix sum to one whatever the logits are; without ``normalised``
    no row sum divides them, and $G_\Phi$ is free. d words, width k, one neuron for each of the ``signs``.
    """
    query, key, value = (symbolic.matrix(name, d, k) for name in ("W_Q", "W_K", "W_V"))
    out, column = symbolic.matrix("W_O", k, len(signs)), sp.ImmutableMatrix(signs)
    pull, free = symbolic.matrix("z", d, 1), symbolic.matrix("G", d, d)
    closed = sp.Matrix(d, d, lambda i, j: free[i, j] if j < d - 1 else -sum(free[i, : d - 1]))
    drive = closed if normalised else sp.Matrix(free)
    velocity = {
        query: -drive * key,
        key: -drive.T * query,
        value: pull * (out * column).T,
        out: value.T * pull * column.T,
    }
    found = {
        "query-key": query.T * query - key.T * key,
        "value-output": value.T * value - out * out.T,
        "off signs": out * (sp.eye(len(signs)) - column * column.T / len(signs)),
        "key sum": sp.ones(1, query.rows) * key,
        "query sum": sp.ones(1, query.rows) * query,
    }
    return {name: laws.is_law(sp.Matrix(expression), velocity) for name, expression in found.items()}


@door.takes(**SIZES, one_hot=door.FLAG)
def known_laws(d: int, k: int, o: int, one_hot: bool = True) -> int:
    r"""The number of laws that are known: $W_Q, W_K$; the sum of the key rows; $\omega, W_V$; and $W_O$ off the signs.

    d words, width k, o neurons. The sum of the key rows is a law on ``one_hot`` words only; what is left of the balance is then
    that of queries and key rows off their mean, 2d - 1 rows in all, which makes a difference from $k = 2d$ on.
    """
    return laws.product_laws(2 * d - one_hot, k) + k * one_hot + laws.product_laws(d + 1, k) + k * (o - 1)


@door.takes(**SIZES, length=door.COUNT, one_hot=door.FLAG, seed=door.INDEX)
def count(d: int = 4, k: int = 2, o: int = 2, length: int = 4, one_hot: bool = True, seed: int = 0) -> dict:
    r"""Count the laws at a random point, from above (``laws.count``): one-hot words, or Gaussian tokens instead.

    d words, width k, o neurons, length L; one_hot: which tokens; seed: of the point. Returns the dict of ``laws.count``,
    with ``known`` and ``complete`` added.
    """
    shapes = {"W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, o)}

    def sample(generator):
        if not one_hot:
            return runs.normal([generator], length, d)[0]
        return torch.eye(d, dtype=runs.DTYPE, device="cpu")[
            torch.randint(d, (length,), generator=generator, device="cpu")
        ]

    signs = torch.tensor(([1.0, -1.0] * o)[:o], dtype=runs.DTYPE, device="cpu")
    found = laws.count(partial(output, signs=signs), shapes, sample, *runs.streams([seed], "points"))
    known = known_laws(d, k, o, one_hot)
    return found | {"known": known, "complete": found["laws"] == known}
