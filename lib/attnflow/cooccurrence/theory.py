r"""The gradient of chapter 2's Transformer and its layer laws, by sympy in chain-rule form."""

import math

import sympy as sp
import torch

from attnflow import laws, runs, symbolic


def gradient(length=3, d=3, k=2, o=2, complete=True):
    r"""Gradients of the four matrices for one sample, with the attention matrix S and $c = y/(1+e^{yF})$ as symbols.

    With $\omega = W_O\xi$, $z = X^\top S^\top\mathbf 1\,c$, the scores $v = XW_V\omega$ of the tokens and
    $-(G_Z)_{lj} = c\,S_{lj}(v_j - \sum_m S_{lm}v_m)$: $G_{W_V} = -z\omega^\top$, $G_{W_O} = -W_V^\top z\xi^\top$,
    $G_{W_Q} = X^\top G_ZXW_K/\sqrt k$, $G_{W_K} = X^\top G_Z^\top XW_Q/\sqrt k$. Without ``complete`` the mean is left out
    of $G_Z$, which is wrong. Returns (expressions, symbols): name -> sympy matrix.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, o), "xi": (o, 1)}
    shapes |= {"S": (length, length), "c": (1, 1)}
    symbols = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, query, key, value, out, signs, weights, force = (symbols[name] for name in shapes)
    omega = out * signs
    scores = tokens * value * omega
    pull = tokens.T * weights.T * sp.ones(length, 1) * force[0]
    mean = weights * scores if complete else sp.zeros(length, 1)
    slope = sp.Matrix(length, length, lambda i, j: force[0] * weights[i, j] * (scores[j] - mean[i])) / sp.sqrt(k)
    return {
        "W_Q": -tokens.T * slope * tokens * key,
        "W_K": -tokens.T * slope.T * tokens * query,
        "W_V": -pull * omega.T,
        "W_O": -value.T * pull * signs.T,
    }, symbols


def agreement(points=5, seed=0, **options):
    """Largest relative difference of the derived gradients to torch autograd on the loss written out densely."""
    shape = {"length": 3, "d": 3, "k": 2, "o": 2} | {name: options[name] for name in options if name != "complete"}
    expressions, symbols = gradient(**shape, complete=options.get("complete", True))

    def output(point):
        logits = point["X"] @ point["W_Q"] @ (point["X"] @ point["W_K"]).T / math.sqrt(shape["k"])
        weights = torch.softmax(logits, dim=1)
        return weights, (weights @ point["X"] @ point["W_V"] @ point["W_O"] @ point["xi"]).sum()

    def loss(point):
        return torch.nn.functional.softplus(-point["y"][0] * output(point)[1])

    def draw(generator):
        sizes = {"X": (shape["length"], shape["d"]), "W_O": (shape["k"], shape["o"])}
        sizes |= dict.fromkeys(("W_Q", "W_K", "W_V"), (shape["d"], shape["k"]))
        point = {name: torch.randn(*size, generator=generator, dtype=runs.DTYPE) for name, size in sizes.items()}
        signs = torch.randint(2, (shape["o"] + 1, 1), generator=generator).to(runs.DTYPE) * 2 - 1
        return point | {"xi": signs[1:], "y": signs[0]}

    def intermediate(point):
        weights, total = output(point)
        return {"S": weights, "c": (point["y"] * torch.sigmoid(-point["y"] * total))[None]}

    return symbolic.agree(expressions, symbols, loss, draw, intermediate, points, seed)


def layer_flow(d=3, k=2, signs=(1, -1, 1)):
    r"""The flow of all four matrices for any data and any loss of F: z (d,) and $G_\Phi$ (d, d) are free symbols.

    Every row of $G_\Phi$ sums to zero, because those of the attention matrix sum to one whatever the logits are.
    Returns (W_Q, W_K, W_V, W_O, xi, velocity).
    """
    query, key, value = (symbolic.matrix(name, d, k) for name in ("W_Q", "W_K", "W_V"))
    out, column = symbolic.matrix("W_O", k, len(signs)), sp.ImmutableMatrix(signs)
    pull, free = symbolic.matrix("z", d, 1), symbolic.matrix("G", d, d)
    drive = sp.Matrix(d, d, lambda i, j: free[i, j] if j < d - 1 else -sum(free[i, : d - 1]))
    velocity = {query: -drive * key, key: -drive.T * query, value: pull * (out * column).T}
    return query, key, value, out, column, velocity | {out: value.T * pull * column.T}


def proved():
    """Which of the chapter's four laws sympy proves, and that the sum of the query rows is none: name -> bool."""
    query, key, value, out, signs, velocity = layer_flow()
    projector = sp.eye(len(signs)) - signs * signs.T / len(signs)
    ones = sp.ones(1, query.rows)
    found = {
        "query-key": query.T * query - key.T * key,
        "value-output": value.T * value - out * out.T,
        "off signs": out * projector,
        "key sum": ones * key,
        "query sum": ones * query,
    }
    return {name: laws.is_law(sp.Matrix(expression), velocity) for name, expression in found.items()}


def known_laws(d, k, o):
    r"""The number of laws that are known: $W_Q, W_K$; the sum of the key rows; $\omega, W_V$; and $W_O$ off the signs."""
    return laws.product_laws(2 * d, k) + k + laws.product_laws(d + 1, k) + k * (o - 1)


def count(d=4, k=2, o=2, length=4, one_hot=True, seed=0):
    r"""Count the laws at a random point, from above (``laws.count``): one-hot words, or Gaussian tokens instead.

    Returns its dict, with ``known`` and ``complete`` added.
    """
    sizes = [d * k, d * k, d * k, k * o]
    signs = torch.tensor([1.0, -1.0] * o, dtype=runs.DTYPE)[:o]

    def output(theta, x):
        query, key, value, out = torch.split(theta, sizes)
        tokens = x.reshape(length, d)
        logits = tokens @ query.reshape(d, k) @ (tokens @ key.reshape(d, k)).T / math.sqrt(k)
        return (torch.softmax(logits, dim=1) @ tokens @ value.reshape(d, k) @ out.reshape(k, o) @ signs).sum()

    def sample(generator):
        if not one_hot:
            return torch.randn(length * d, generator=generator, dtype=runs.DTYPE)
        words = torch.randint(d, (length,), generator=generator)
        return torch.nn.functional.one_hot(words, d).to(runs.DTYPE).reshape(-1)

    (generator,) = runs.streams([seed])
    found = laws.count(output, sum(sizes), sample, generator)
    known = known_laws(d, k, o) - (0 if one_hot else k)
    return found | {"known": known, "complete": found["laws"] == known}
