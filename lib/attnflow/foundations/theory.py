r"""What chapter 1 predicts, from sympy: the gradient of the layer, its laws, and a flow solved in closed form."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import sympy as sp

from attnflow import door, laws, runs, symbolic
from attnflow.foundations import model

RATE = sp.Symbol("lambda", positive=True)  # of the weight decay
LARGEST = 1e150  # whose square is a number, as is that of one over it
SIZE, FACTOR = door.real(least=1 / LARGEST, most=LARGEST), door.real(least=-LARGEST, most=LARGEST)
IMBALANCE = door.is_a("a number or an expression of at least 0", lambda value: _balance(value))


def _balance(value):
    """Whether a value is a finite number of at least 0, or an expression that may be one."""
    if isinstance(value, sp.Expr):
        return value is not sp.nan and value.is_nonnegative is not False and value.is_finite is not False
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST


@door.takes(length=door.COUNT, d=door.COUNT, k=door.COUNT, o=door.COUNT)
def layer_gradient(length: int = 2, d: int = 2, k: int = 2, o: int = 1) -> tuple[dict, dict]:
    r"""Gradient of the softmax attention layer for one sample, in chain-rule form.

    With the attention matrix S and the residual R = F - Y as symbols,
    $G_{W_O} = (S X W_V)^\top R/L$, $G_{W_V} = (S X)^\top R W_O^\top/L$ and, through the logits Z,
    $G_{W_Q} = X^\top G_Z X W_K/\sqrt k$, $G_{W_K} = X^\top G_Z^\top X W_Q/\sqrt k$ with
    $(G_Z)_{ij} = S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$, $G_S = R W_O^\top (X W_V)^\top/L$.
    length, d, k, o: L and the sizes of the layer. Returns (expressions, symbols): dicts name -> sympy matrix.
    """
    shapes = {"X": (length, d), **model.Layer(d, k, o).shapes, "S": (length, length), "R": (length, o)}
    symbols = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, query, key, value, out, weights, residual = symbols.values()
    logit_slope = symbolic.softmax_slope(weights, residual * out.T * (tokens * value).T / length)
    return {
        "W_Q": tokens.T * logit_slope * tokens * key / sp.sqrt(k),
        "W_K": tokens.T * logit_slope.T * tokens * query / sp.sqrt(k),
        "W_V": (weights * tokens).T * residual * out.T / length,
        "W_O": (weights * tokens * value).T * residual / length,
    }, symbols


@door.takes(layer=model.Layer, length=door.COUNT)
def sample_point(layer: model.Layer, length: int) -> dict[str, Callable]:
    """Random points at which the derived gradient of ``layer`` is compared with autograd, on one sample of ``length`` tokens.

    Returns what :func:`attnflow.symbolic.agree` takes by name: ``loss``, ``draw`` of all tensors, and ``intermediate``, S and R.
    """

    def stacked(point):
        return {name: point[name][None] for name in layer.shapes}, point["X"][None, None]

    return {
        "loss": lambda point: model.loss(*stacked(point), point["Y"][None, None], layer)[0],
        "draw": lambda generator: {
            name: runs.normal([generator], *shape)[0]
            for name, shape in {"X": (length, layer.d), "Y": (length, layer.o), **layer.shapes}.items()
        },
        "intermediate": lambda point: {
            "S": model.attention(*stacked(point), layer)[0, 0],
            "R": model.forward(*stacked(point), layer)[0, 0] - point["Y"],
        },
    }


@door.takes(rows_left=door.COUNT, rows_right=door.COUNT, k=door.COUNT)
def product_flow(rows_left: int = 2, rows_right: int = 3, k: int = 2) -> tuple:
    r"""Flow of any loss that sees only $M = A B^\top$: $\dot A = -G B$, $\dot B = -G^\top A$, $G = \partial L/\partial M$.

    G is a matrix of free symbols: nothing about the loss, the data or the time is used. rows_left, rows_right: rows of A and
    of B; k: columns of both. Returns (A, B, velocity).
    """
    left, right = symbolic.matrix("A", rows_left, k), symbolic.matrix("B", rows_right, k)
    force = symbolic.matrix("G", rows_left, rows_right)
    return left, right, {left: -force * right, right: -force.T * left}


@door.takes(sign=door.choice(-1, 1), shape=door.named(door.COUNT))
def product_law_holds(sign: int = -1, **shape: int) -> bool:
    r"""Whether sympy proves $\frac{d}{dt}(A^\top A - B^\top B) = 0$ for the flow of a product of some ``shape``.

    sign: of the second term, -1 or 1; no symmetry protects the sum, and of that sympy proves nothing.
    """
    left, right, velocity = product_flow(**shape)
    return laws.is_law(left.T * left + sign * right.T * right, velocity)


@door.takes(activation=door.FUNCTION)
def neuron_law_holds(activation: Callable[[sp.Expr], sp.Expr]) -> bool:
    r"""Whether $z\phi'(z) = \phi(z)$, and with it the neuron law, on both sides of zero.

    activation: $\phi$, a function of a sympy expression.
    """
    size = sp.Symbol("s", positive=True)
    sides = [activation(sign * size) for sign in (1, -1)]
    return all(sp.simplify(size * sp.diff(side, size) - side) == 0 for side in sides)


@door.takes(length=door.COUNT, d=door.COUNT, k=door.COUNT, normalised=door.FLAG)
def shift_law_holds(length: int = 3, d: int = 2, k: int = 2, normalised: bool = True) -> bool:
    r"""Whether $w^\top W_K$ is conserved when $Xw = 1$, by the chain rule with the attention weights as symbols.

    The slope of the loss by the logits is $S_{ij}(E_{ij} - \sum_l S_{il}E_{il})$ for any slope E by S; its rows sum to
    zero because those of S sum to one. Without ``normalised`` no row sum divides the weights, and it is $S_{ij}E_{ij}$.
    length, d, k: L and the sizes of the layer.
    """
    weights, slope = symbolic.matrix("S", length, length), symbolic.matrix("E", length, length)
    query, tokens = symbolic.matrix("W_Q", d, k), symbolic.matrix("X", length, d)
    last = {weights[i, length - 1]: 1 - sum(weights[i, : length - 1]) for i in range(length)}
    logit_slope = (
        symbolic.softmax_slope(weights.subs(last), slope) if normalised else weights.multiply_elementwise(slope)
    )
    common = tokens.subs({tokens[i, d - 1]: 1 for i in range(length)})
    return all(sp.expand(entry) == 0 for entry in (common.T * logit_slope.T * common * query)[d - 1, :])


@door.takes(k=door.COUNT)
def decay_flow_balance(k: int = 2) -> sp.Expr:
    r"""Time derivative of $A^\top A - B^\top B$ under weight decay, over the balance itself: $-2\lambda$, as a symbol.

    k: columns of both factors.
    """
    left, right, velocity = product_flow(k=k)
    velocity = {factor: slope - RATE * factor for factor, slope in velocity.items()}
    balance = left.T * left - right.T * right
    derivative = laws.time_derivative(balance, velocity)
    (ratio,) = {sp.simplify(slope / entry) for slope, entry in zip(derivative, balance, strict=True)}
    return ratio


def balance_degree() -> int:
    r"""The power of $\varepsilon$ in the balance of $\varepsilon A$, $\varepsilon B$: 2, from its decay.

    Weight decay alone shrinks both factors as $\varepsilon = e^{-\lambda t}$, and the balance as this power of it.
    """
    return int(-decay_flow_balance() / RATE)


@lru_cache
def logistic_expression() -> tuple:
    r"""The balanced scalar flow $\dot u = 2u(y - u)$ as sympy solves it. Returns (u(t), t, u_0, y)."""
    time = sp.Symbol("t")
    start, target = sp.symbols("u_0 y", positive=True)
    product = sp.Function("u")
    equation = product(time).diff(time) - 2 * product(time) * (target - product(time))
    return sp.simplify(sp.dsolve(equation, ics={product(0): start}).rhs), time, start, target


@door.takes(times=door.numbers("..."), start=SIZE, target=SIZE)
def logistic(times: np.ndarray, start: float, target: float) -> np.ndarray:
    r"""The same closed form in numbers, $u = u_0 y/(u_0 + (y - u_0) e^{-2yt})$: over $e^{2yt}$, which would overflow.

    times: array of at least 0; start: $u_0$, and target: y, both from 1e-150 to 1e150. Returns an array of the shape of times.
    """
    times = np.asarray(runs.array(times), dtype=float)
    runs.check("times", float(times.min()), "at least 0", bool(times.min() >= 0))
    return _logistic()(times, start, target)


@lru_cache
def _logistic():
    """The closed form as a function of numbers."""
    expression, time, start, target = logistic_expression()
    upper, lower = (sp.expand(part * sp.exp(-2 * target * time)) for part in sp.fraction(expression))
    return sp.lambdify((time, start, target), upper / lower, "numpy")


@door.takes(balance=IMBALANCE)
def arrival_clock(balance: sp.Expr | float) -> tuple[sp.Expr, sp.Symbol, sp.Symbol]:
    r"""A function of u that grows with the time along $\dot u = \sqrt{c^2 + 4u^2}\,(y - u)$.

    With $q^2 = 4y^2 + c^2$ it is $\operatorname{asinh}(v/2c)/q$, where $v = q^2/(y-u) - 4y$, and at $c = 0$ its limit up to
    a constant, $\log(v)/q$. balance: $c \ge 0$, a symbol or a number. Returns (clock, u, y).
    """
    product, target = sp.symbols("u y", positive=True)
    area = 4 * target**2 + balance**2
    place = area / (target - product) - 4 * target
    upper, lower = sp.fraction(sp.together(place))
    place = sp.expand(upper) / lower  # c^2 + 4uy over y - u: no difference of large numbers is left
    return (sp.asinh(place / (2 * balance)) if balance else sp.log(place)) / sp.sqrt(area), product, target


@door.takes(start=FACTOR, end=FACTOR, target=SIZE, imbalance=FACTOR)
def arrival_time(start: float, end: float, target: float, imbalance: float) -> float:
    r"""Time in which $\dot u = \sqrt{c^2 + 4u^2}\,(y - u)$ carries u from ``start`` to ``end``, in closed form.

    target: y, from 1e-150 to 1e150; imbalance: c, of either sign. It is the increment of :func:`arrival_clock`. Raises WrongUse
    unless start < end < target, where the imbalance is 0 and start below 1e-150, and where sizes lie so far apart that the clock
    is no number.
    """
    runs.number("start", start, least=None if imbalance else 1 / LARGEST)
    runs.check("start, end, target", (start, end, target), "increasing", start < end < target)
    clock = _clock(imbalance == 0)
    found = clock(abs(imbalance), end, target) - clock(abs(imbalance), start, target)
    runs.check("imbalance", imbalance, f"0, or of a size nearer to that of {target}", math.isfinite(found))
    return found


@lru_cache
def _clock(balanced):
    """The clock as a function of the numbers c, u and y, of a balanced start or of any other."""
    balance = sp.Symbol("c", positive=True)
    expression, product, target = arrival_clock(sp.S.Zero if balanced else balance)
    return sp.lambdify((balance, product, target), expression, "math")


@door.takes(values=door.numbers("K"), imbalances=door.several(SIZE))
def invariant_curves(values: np.ndarray, imbalances: Sequence[float]) -> tuple[list, tuple]:
    r"""The laws of the reduced flow as curves (a, b) in the plane of its factors.

    values: of the factor that is free, (K,); imbalances: $c > 0$, with four branches of $a^2 - b^2 = \pm c$ each. Returns these
    and the line $a = b$ in a list, and the separatrix $a + b = 0$.
    """
    values = np.asarray(values, dtype=float)
    arms = [np.hypot(np.sqrt(imbalance), values) for imbalance in imbalances]
    branches = [each for arm in arms for each in ((arm, values), (-arm, values), (values, arm), (values, -arm))]
    return [*branches, (values, values)], (values, -values)
