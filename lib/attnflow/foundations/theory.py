r"""What chapter 1 predicts, from sympy: the gradient of the layer, its laws, and a flow solved in closed form."""

import math
from dataclasses import dataclass

import numpy as np
import sympy as sp

from attnflow import laws, runs, symbolic
from attnflow.foundations import model


def layer_gradient(length=2, d=2, k=2, o=1):
    r"""Gradient of the softmax attention layer for one sample, in chain-rule form.

    With the attention matrix S and the residual R = F - Y as symbols,
    $G_{W_O} = (S X W_V)^\top R/L$, $G_{W_V} = (S X)^\top R W_O^\top/L$ and, through the logits Z,
    $G_{W_Q} = X^\top G_Z X W_K/\sqrt k$, $G_{W_K} = X^\top G_Z^\top X W_Q/\sqrt k$ with
    $(G_Z)_{ij} = S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$, $G_S = R W_O^\top (X W_V)^\top/L$.
    Returns (expressions, symbols): dicts name -> sympy matrix.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, o)}
    shapes |= {"S": (length, length), "R": (length, o)}
    symbols = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, query, key, value, out, weights, residual = (symbols[name] for name in shapes)
    slope = residual * out.T * (tokens * value).T / length
    logit_slope = sp.ImmutableMatrix(
        length,
        length,
        lambda i, j: weights[i, j] * (slope[i, j] - sum(weights[i, m] * slope[i, m] for m in range(length))),
    )
    return {
        "W_Q": tokens.T * logit_slope * tokens * key / sp.sqrt(k),
        "W_K": tokens.T * logit_slope.T * tokens * query / sp.sqrt(k),
        "W_V": (weights * tokens).T * residual * out.T / length,
        "W_O": (weights * tokens * value).T * residual / length,
    }, symbols


@dataclass(frozen=True)
class SamplePoint:
    """What ``symbolic.agree`` needs for one sample of a layer: its loss, a draw of all tensors, and S and R."""

    loss: object
    draw: object
    intermediate: object


def sample_point(layer, length):
    """Random points at which the derived gradient of ``layer`` is compared with autograd. Returns a SamplePoint."""
    shapes = {"X": (length, layer.d), "Y": (length, layer.o)}
    shapes |= {name: (layer.d, layer.k) for name in ("W_Q", "W_K", "W_V")} | {"W_O": (layer.k, layer.o)}

    def stacked(point):
        state = {name: value[None] for name, value in point.items() if name.startswith("W")}
        return state, point["X"][None, None], point["Y"][None, None]

    def intermediate(point):
        state, inputs, targets = stacked(point)
        residual = model.forward(state, inputs, layer) - targets
        return {"S": model.attention(state, inputs, layer)[0, 0], "R": residual[0, 0]}

    return SamplePoint(
        loss=lambda point: model.loss(*stacked(point), layer)[0],
        draw=lambda generator: {name: runs.normal([generator], *shape)[0] for name, shape in shapes.items()},
        intermediate=intermediate,
    )


def product_flow(rows_left=2, rows_right=3, k=2):
    r"""Flow of any loss that sees only $M = A B^\top$: $\dot A = -G B$, $\dot B = -G^\top A$, $G = \partial L/\partial M$.

    G is a matrix of free symbols: nothing about the loss, the data or the time is used.
    Returns (A, B, velocity).
    """
    left, right = symbolic.matrix("A", rows_left, k), symbolic.matrix("B", rows_right, k)
    force = symbolic.matrix("G", rows_left, rows_right)
    return left, right, {left: -force * right, right: -force.T * left}


def product_law_holds(**shape):
    r"""Whether sympy proves $\frac{d}{dt}(A^\top A - B^\top B) = 0$ for the flow of a product."""
    left, right, velocity = product_flow(**shape)
    return laws.is_law(left.T * left - right.T * right, velocity)


def product_sum_holds(**shape):
    r"""The same question for the sum $A^\top A + B^\top B$, which no symmetry protects: sympy says no."""
    left, right, velocity = product_flow(**shape)
    return laws.is_law(left.T * left + right.T * right, velocity)


def neuron_law_defect():
    r"""What is left of $\frac{d}{dt}(|v|^2 - o^2)$ for one neuron $o\,\phi(v^\top x)$ with any activation.

    With $z = v^\top x$ and $g = \partial L/\partial f$ the flow is $\dot v = -g\,o\,\phi'(z)\,x$, $\dot o = -g\,\phi(z)$, so
    the derivative is $-2 g\,o\,(z\phi'(z) - \phi(z))$. Returns that expression with $z, o, g$ and a function $\phi$.
    """
    z, out, force = sp.symbols("z o g", real=True)
    activation = sp.Function("phi")
    slope = sp.Derivative(activation(z), z)
    incoming = 2 * (-force * out * slope) * z  # 2 v . v' with v . x = z
    outgoing = 2 * out * (-force * activation(z))
    return sp.factor(incoming - outgoing)


def neuron_law_holds(activation):
    r"""Whether $z\phi'(z) = \phi(z)$, and with it the neuron law, on both sides of zero.

    activation: a function of a sympy expression.
    """
    size = sp.Symbol("s", positive=True)
    sides = [activation(sign * size) for sign in (1, -1)]
    return all(sp.simplify(size * sp.diff(side, size) - side) == 0 for side in sides)


def shift_law_holds(length=3, d=2, k=2, normalised=True):
    r"""Whether $w^\top W_K$ is conserved when $Xw = 1$, by the chain rule with the attention weights as symbols.

    The slope of the loss by the logits is $S_{ij}(E_{ij} - \sum_l S_{il}E_{il})$ for any slope E by S; its rows sum to
    zero because those of S sum to one. Without ``normalised`` no row sum divides the weights, and it is $S_{ij}E_{ij}$.
    """
    weights, slope = symbolic.matrix("S", length, length), symbolic.matrix("E", length, length)
    query, tokens = symbolic.matrix("W_Q", d, k), symbolic.matrix("X", length, d)
    if normalised:
        last = {weights[i, length - 1]: 1 - sum(weights[i, : length - 1]) for i in range(length)}
        weights = weights.subs(last)
    rows = [
        [weights[i, j] * (slope[i, j] - int(normalised) * weights[i, :].dot(slope[i, :])) for j in range(length)]
        for i in range(length)
    ]
    velocity = -tokens.T * sp.Matrix(rows).T * tokens * query
    with_common = velocity.subs({tokens[i, d - 1]: 1 for i in range(length)})
    return all(sp.expand(entry) == 0 for entry in with_common[d - 1, :])


def decay_flow_balance(k=2):
    r"""Time derivative of $A^\top A - B^\top B$ under weight decay, over the balance itself: $-2\lambda$, as a symbol."""
    rate = sp.Symbol("lambda", positive=True)
    left, right, velocity = product_flow(k=k)
    velocity = {left: velocity[left] - rate * left, right: velocity[right] - rate * right}
    balance = left.T * left - right.T * right
    derivative = laws.time_derivative(balance, velocity)
    ratios = {sp.simplify(slope / entry) for slope, entry in zip(derivative, balance, strict=True)}
    (ratio,) = ratios
    return ratio


def logistic(times, start, target):
    r"""Balanced scalar flow $\dot u = 2u(y - u)$ in closed form: $u = u_0 y e^{2yt}/(y - u_0 + u_0 e^{2yt})$.

    times: array; start: $u_0 > 0$; target: y. Returns an array.
    """
    growth = np.exp(2 * target * np.asarray(times, dtype=float))
    return start * target * growth / (target - start + start * growth)


def logistic_expression():
    """The same closed form as sympy solves it. Returns (u(t), t, u_0, y)."""
    time = sp.Symbol("t")
    start, target = sp.symbols("u_0 y", positive=True)
    product = sp.Function("u")
    equation = sp.Eq(product(time).diff(time), 2 * product(time) * (target - product(time)))
    solution = sp.dsolve(equation, product(time), ics={product(0): start})
    return sp.simplify(solution.rhs), time, start, target


def arrival_time(start, end, target, imbalance):
    r"""Time in which $\dot u = \sqrt{c^2 + 4u^2}\,(y - u)$ carries u from ``start`` to ``end``, in closed form.

    With $A = 4y^2 + c^2$ and $s = 1/(y-u)$ the time is the increment of $\operatorname{asinh}((As - 4y)/2|c|)/\sqrt A$; at
    $c = 0$ that of the logistic. start < end < target. Raises ValueError otherwise.
    """
    runs.check("start, end, target", (start, end, target), "increasing", start < end < target)
    if imbalance == 0:
        runs.number("start", start, above=0)
        return math.log(end * (target - start) / (start * (target - end))) / (2 * target)
    area = 4 * target**2 + imbalance**2

    def clock(product):
        return math.asinh((area / (target - product) - 4 * target) / (2 * abs(imbalance))) / math.sqrt(area)

    return clock(end) - clock(start)


def arrival_slope():
    """sympy's check of the closed form: d(clock)/du times the speed, which must be 1. Returns the simplified product."""
    product, target, balance = sp.symbols("u y c", positive=True)
    area = 4 * target**2 + balance**2
    clock = sp.asinh((area / (target - product) - 4 * target) / (2 * balance)) / sp.sqrt(area)
    speed = sp.sqrt(balance**2 + 4 * product**2) * (target - product)
    return sp.simplify((sp.diff(clock, product) * speed) ** 2)
