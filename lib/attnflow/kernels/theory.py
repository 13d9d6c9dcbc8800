r"""What chapter 4 predicts of the gradient flow, from sympy: four gradients, what each kernel keeps, how fast a balance moves."""

import sympy as sp
import torch

from attnflow import door, laws, runs, symbolic
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels import model

SHARPNESS, INVERSE = sp.symbols("zeta beta", positive=True)
DISTANCES = tuple(name for name in KERNELS if Kernel(name).distance)
DOTS = tuple(name for name in KERNELS if name not in DISTANCES)
NAME = door.choice(*KERNELS)
NAMES = door.several(NAME)
SHAPE = door.named(door.COUNT)
SYMBOLS = {"X": door.symbolic("L d"), "W_Q": door.symbolic("d k"), "W_K": door.symbolic("d k")}
ROTATION = "rotation"  # a relation of velocities, the others are functions of the weights
LAWS = ("query-key", "key shift", "shift", ROTATION)


def _rates(*names):
    """The kind of a dict of learning rates of some matrices, and no others."""

    def good(given):
        known = isinstance(given, dict) and set(given) <= set(names)
        return known and all(isinstance(rate, (int, float)) and 0 < rate < sp.oo for rate in given.values())

    return door.is_a(f"a dict, {' or '.join(names)} -> a number greater than 0", good)


@door.takes(kernel=NAME, queries=door.symbolic("L k"), keys=door.symbolic("M k"), scale=door.EXPRESSION)
def scores(kernel: str, queries: sp.MatrixBase, keys: sp.MatrixBase, scale: sp.Expr) -> sp.ImmutableMatrix:
    r"""The scores of a ``kernel`` in symbols, $\tau\beta\,q_i\cdot k_j$ or $-\tau\zeta\,|q_i - k_j|^2$.

    queries: (L, k); keys: (M, k); scale: $\tau$. Returns a matrix (L, M). Raises WrongUse for an unknown kernel.
    """
    if not Kernel(kernel).distance:
        return sp.ImmutableMatrix(scale * INVERSE * queries * keys.T)

    def score(i, j):
        return -scale * SHARPNESS * sum(entry**2 for entry in queries[i, :] - keys[j, :])

    return sp.ImmutableMatrix(queries.rows, keys.rows, score)


@door.takes(kernel=NAME, weights=door.symbolic("L M"), slope=door.symbolic("L M"))
def score_slope(kernel: str, weights: sp.MatrixBase, slope: sp.MatrixBase) -> sp.ImmutableMatrix:
    r"""Slope G of a loss by the scores, $S_{ij}E_{ij}$, less $S_{ij}\sum_lS_{il}E_{il}$ where the ``kernel`` is normalised.

    weights: S, as symbols, (L, M); slope: E, the slope by S, of the same shape. Returns that shape.
    """
    if Kernel(kernel).normalised:
        return symbolic.softmax_slope(weights, slope)
    return sp.ImmutableMatrix(weights.multiply_elementwise(slope))


@door.takes(kernel=NAME, names=SYMBOLS, slope=door.symbolic("L L"))
def through_scores(kernel: str, names: dict, slope: sp.MatrixBase) -> dict:
    r"""Gradients of $W_Q$ and $W_K$ from the slope G by the scores: the derivative of $\sum_{ij}G_{ij}z_{ij}$, with G held.

    kernel: of the scores z; names: name -> symbols of ``X``, ``W_Q`` and ``W_K``; slope: G (L, L). Returns name -> matrix.
    """
    held = symbolic.matrix("G", *slope.shape)
    tokens, width = names["X"], names["W_Q"].cols
    found = scores(kernel, tokens * names["W_Q"], tokens * names["W_K"], 1 / sp.sqrt(width))
    total = sum(held.multiply_elementwise(found))
    known = dict(zip(held, slope, strict=True))
    return {name: symbolic.gradient(total, names[name]).xreplace(known) for name in ("W_Q", "W_K")}


@door.takes(kernel=NAME, length=door.COUNT, d=door.COUNT, k=door.COUNT, o=door.COUNT, complete=door.FLAG)
def layer_gradient(
    kernel: str, length: int = 2, d: int = 2, k: int = 2, o: int = 1, complete: bool = True
) -> tuple[dict, dict]:
    r"""Gradient of one head by its four matrices, for one sample and any ``kernel``, in chain-rule form.

    With the attention S and the residual R = F - Y of all heads as symbols, $G_{W_V} = X^\top S^\top RW_O^\top/L$,
    $G_{W_O} = (SXW_V)^\top R/L$, and the others by :func:`through_scores` from $E = RW_O^\top(XW_V)^\top/L$.
    length, d, k, o: L and the sizes of the layer. Without ``complete`` the row means are left out of the slope by the scores,
    which is wrong for a normalised kernel. Returns (expressions, symbols): dicts name -> sympy matrix.
    """
    layer = model.Layer(d, k, o, kernel=kernel)
    shapes = {"X": (length, d), "S": (length, length), "R": (length, o)}
    shapes |= {name: shape[1:] for name, shape in layer.shapes.items()}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, weights, residual, value, out = (names[name] for name in ("X", "S", "R", "W_V", "W_O"))
    fit = (residual.T * weights * tokens * value * out).trace() / length
    slope = residual * out.T * (tokens * value).T / length
    by_scores = score_slope(kernel if complete else "exp", weights, slope)
    gradient = through_scores(kernel, names, by_scores)
    gradient |= {name: symbolic.gradient(fit, names[name]) for name in ("W_V", "W_O")}
    sizes = {symbol.name: sp.ImmutableMatrix([[symbol]]) for symbol in (SHARPNESS, INVERSE)}
    return gradient, names | sizes


@door.takes(kernels=NAMES, complete=door.FLAG, points=door.COUNT, seed=door.INDEX, shape=SHAPE)
def agreement(kernels: tuple = KERNELS, complete: bool = True, points: int = 2, seed: int = 0, **shape: int) -> float:
    """Largest relative difference of the derived gradients to torch autograd of the loss of two heads, of which one is asked.

    kernels: names; complete, shape: of :func:`layer_gradient`; points: random ones, drawn from ``seed``.
    """
    size = {"length": 2, "d": 2, "k": 2, "o": 1} | shape
    length, widths = size["length"], {name: size[name] for name in ("d", "k", "o")}

    def worst(kernel):
        layer = model.Layer(**widths, heads=2, kernel=kernel, c=0.7, beta=1.3)

        def stacked(point):
            state = {name: torch.stack([point[name], point[f"other {name}"]])[None] for name in layer.shapes}
            return state, point["X"][None, None]

        def draw(generator):
            other = {f"other {name}": shape[1:] for name, shape in layer.shapes.items()}
            mine = {name: shape[1:] for name, shape in layer.shapes.items()}
            every = {"X": (length, layer.d), "Y": (length, layer.o)} | mine | other
            return {name: runs.normal([generator], *shape)[0] for name, shape in every.items()}

        def intermediate(point):
            state, inputs = stacked(point)
            numbers = {"zeta": layer.c, "beta": layer.beta}
            return {name: torch.tensor([[value]], dtype=runs.DTYPE) for name, value in numbers.items()} | {
                "S": model.attention(state, inputs, layer)[0, 0, 0],
                "R": model.forward(state, inputs, layer)[0, 0] - point["Y"],
            }

        def loss(point):
            state, inputs = stacked(point)
            return model.loss(state, inputs, point["Y"][None, None], layer)[0]

        derived = layer_gradient(kernel, complete=complete, **size)
        return symbolic.agree(*derived, loss, draw, intermediate, points, seed)

    return max(worst(kernel) for kernel in kernels)


@door.takes(kernel=NAME, common=door.FLAG, rates=_rates("W_Q", "W_K"), length=door.COUNT, d=door.COUNT, k=door.COUNT)
def score_flow(kernel: str, common: bool = False, rates: dict | None = None, length: int = 2, d: int = 2, k: int = 2):
    r"""Flow of $W_Q$ and $W_K$ under any loss that sees only the weights S of a ``kernel``, whose slope E by S is free.

    The rows of S sum to one where the kernel is normalised. common: the last feature of every token is 1; rates: name ->
    learning rate, 1 where none is given; length, d, k: sizes. Returns (names, velocity, G): symbols of the matrices and of
    the tokens, the flow, and the slope by the scores.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "S": (length, length), "E": (length, length)}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    weights = names["S"]
    if Kernel(kernel).normalised:
        last = {weights[i, length - 1]: 1 - sum(weights[i, : length - 1]) for i in range(length)}
        weights = weights.xreplace(last)
    if common:
        names["X"] = names["X"].xreplace({names["X"][i, d - 1]: sp.Integer(1) for i in range(length)})
    slope = score_slope(kernel, weights, names["E"])
    gradient = through_scores(kernel, names, slope)
    speeds = {name: sp.Rational(str((rates or {}).get(name, 1))) for name in gradient}
    return names, {names[name]: -speeds[name] * each for name, each in gradient.items()}, slope


@door.takes(expression=door.symbolic("R C"))
def vanishes(expression: sp.MatrixBase) -> bool:
    """Whether a matrix of polynomials is zero, identically. expression: a sympy matrix."""
    return all(sp.expand(entry) == 0 for entry in expression)


@door.takes(law=door.choice(*LAWS), kernels=NAMES, common=door.FLAG, rates=_rates("W_Q", "W_K"), shape=SHAPE)
def score_law_holds(law: str, kernels: tuple, common: bool = False, rates: dict | None = None, **shape: int) -> bool:
    r"""Whether sympy proves a ``law`` of $W_Q, W_K$ for all of some ``kernels`` and any loss that sees only their weights S.

    law: ``query-key``, $W_Q^\top W_Q - W_K^\top W_K$; ``key shift`` and ``shift``, the last rows of $W_K$ and of $W_Q + W_K$;
    ``rotation``, $\sum_A (A^\top\dot A - \dot A^\top A) = 0$ for $A = W_Q, W_K$. common, rates, shape: of
    :func:`score_flow`. Raises WrongUse for another law.
    """

    def holds(kernel):
        names, velocity, _ = score_flow(kernel, common, rates, **shape)
        query, key = names["W_Q"], names["W_K"]
        kept = {"query-key": query.T * query - key.T * key, "key shift": key[-1, :], "shift": (query + key)[-1, :]}
        if law == ROTATION:
            turned = query.T * velocity[query] + key.T * velocity[key]
            return vanishes(turned - turned.T)
        return vanishes(laws.time_derivative(sp.ImmutableMatrix(kept[law]), velocity))

    return all(holds(kernel) for kernel in kernels)


@door.takes(rates=_rates("W_V", "W_O"), shape=SHAPE)
def value_law_holds(rates: dict | None = None, **shape: int) -> bool:
    r"""Whether sympy proves that $W_V^\top W_V - W_OW_O^\top$ is constant, whatever weights S a kernel gives.

    rates: name -> learning rate, 1 where none is given; shape: sizes of :func:`layer_gradient`.
    """
    gradient, names = layer_gradient("exp", **shape)
    velocity = {names[name]: -sp.Rational(str((rates or {}).get(name, 1))) * gradient[name] for name in ("W_V", "W_O")}
    value, out = names["W_V"], names["W_O"]
    return vanishes(laws.time_derivative(value.T * value - out * out.T, velocity))


@door.takes(names=SYMBOLS, slope=door.symbolic("L L"), queries=door.FLAG)
def imbalance_rate(names: dict, slope: sp.MatrixBase, queries: bool = True) -> sp.ImmutableMatrix:
    r"""How fast the query-key balance moves under a distance: $4\tau\zeta\sum_{ij}G_{ij}(q_iq_i^\top - k_jk_j^\top)$, (k, k).

    names: symbols of ``X``, ``W_Q``, ``W_K``; slope: G, by the scores; queries: whether the first term is there, which vanishes
    where the rows of G sum to zero.
    """
    keys, ones = names["X"] * names["W_K"], sp.ones(slope.rows, 1)
    found = -keys.T * sp.diag(*(slope.T * ones)) * keys
    if queries:
        rows = names["X"] * names["W_Q"]
        found += rows.T * sp.diag(*(slope * ones)) * rows
    return sp.ImmutableMatrix(4 * SHARPNESS / sp.sqrt(names["W_Q"].cols) * found)


@door.takes(kernel=NAME, queries=door.FLAG, shape=SHAPE)
def imbalance_law_holds(kernel: str, queries: bool = True, **shape: int) -> bool:
    r"""Whether sympy proves $\frac{d}{dt}(W_Q^\top W_Q - W_K^\top W_K)$ to be :func:`imbalance_rate` for a ``kernel``.

    queries: of that rate; shape: sizes of :func:`score_flow`.
    """
    names, velocity, slope = score_flow(kernel, **shape)
    balance = names["W_Q"].T * names["W_Q"] - names["W_K"].T * names["W_K"]
    return vanishes(laws.time_derivative(balance, velocity) - imbalance_rate(names, slope, queries))


@door.takes(kernel=NAME, degree=door.COUNT, d=door.COUNT, k=door.COUNT, common=door.FLAG)
def polynomial_laws(kernel: str, degree: int = 2, d: int = 2, k: int = 2, common: bool = False) -> int:
    r"""How many polynomials of $W_Q, W_K$, up to a ``degree``, are constant for every loss of the weights S and all tokens.

    A loss that sees one score alone moves the weights along $\nabla z(x, y)$, and where rows are normalised, so that only
    differences within a row are seen, along $\nabla z(x, y) - \nabla z(x, y')$. A polynomial p is kept if its derivative along
    that vanishes identically in the weights and in x, y, y': linear equations for its coefficients, solved exactly.

    kernel: of the scores; d, k: sizes; common: the last feature of every token is 1. Returns the dimension, without constants.
    """
    query, key = symbolic.matrix("W_Q", d, k), symbolic.matrix("W_K", d, k)
    drawn = [symbolic.matrix(name, 1, d) for name in ("x", "y", "z")]
    seen = [sp.ImmutableMatrix(1, d, [*row[:-1], 1]) if common else row for row in drawn]
    one, other = (scores(kernel, seen[0] * query, row * key, sp.Integer(1))[0] for row in seen[1:])
    moving = (one - other if Kernel(kernel).normalised else one).subs({SHARPNESS: 1, INVERSE: 1})
    theta = [*query, *key]
    variables = [*theta, *(entry for row in drawn for entry in row)]
    field = [sp.Poly(sp.diff(moving, weight), *variables) for weight in theta]
    terms = [term for term in sp.itermonomials(theta, degree) if term != 1]
    columns = []
    for term in terms:
        slopes = (
            (sp.Poly(sp.diff(term, weight), *variables), along) for weight, along in zip(theta, field, strict=True)
        )
        columns.append(sum((slope * along for slope, along in slopes), sp.Poly(0, *variables)).as_dict())
    places = {monomial: place for place, monomial in enumerate(sorted({each for column in columns for each in column}))}
    table = [[int(column.get(monomial, 0)) for monomial in places] for column in columns]
    return len(terms) - sp.polys.matrices.DomainMatrix(table, (len(terms), len(places)), sp.ZZ).to_field().rank()
