r"""What chapter 3 derives in symbols: the gradient, its laws, the ReLU kernels, the entropy of nearly uniform attention."""

import numpy as np
import sympy as sp
import torch

from attnflow import laws, runs, symbolic


def encoder_gradient(length=2, d=2, k=2, hidden=False, homogeneous=True):
    r"""Gradient of $\frac12(f - y)^2$ for one sample, in chain-rule form, with $\tau_0, \tau_1$ as symbols.

    Symbols of their own are the attention S (L, L), the mask E (L, k) of the ReLU and the residual r (1, 1). With
    $\tilde X = SX$, $H = E \circ (\tilde X W_V)$ and $E_O = E \circ (\mathbf 1 W_O^\top)$:
    $\nabla_{W_O} = \frac{\tau_1 r}{L} H^\top \mathbf 1$, $\nabla_{W_V} = \frac{\tau_1 r}{L}\tilde X^\top E_O$,
    $\nabla_{W_Q} = G_M W_K$, $\nabla_{W_K} = G_M^\top W_Q$ with $G_M = \tau_0 X^\top G_Z X$,
    $(G_Z)_{ij} = S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$ and $G_S = \frac{\tau_1 r}{L} E_O W_V^\top X^\top$.
    ``hidden`` puts a trained $W_H$ behind $W_V$. Without ``homogeneous`` the output H of the activation is a matrix of free
    symbols, so that E is the slope of any activation. Returns (expressions, symbols): dicts name -> sympy matrix.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, 1)}
    shapes |= {"S": (length, length), "E": (length, k), "r": (1, 1), "tau": (1, 2)}
    shapes |= {"W_H": (k, k)} if hidden else {}
    shapes |= {} if homogeneous else {"H": (length, k)}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, query, key, value, out = (names[name] for name in ("X", "W_Q", "W_K", "W_V", "W_O"))
    weights, mask, (inner, outer) = names["S"], names["E"], names["tau"]
    mixed, ones = weights * tokens, sp.ones(length, 1)
    values = mixed * value
    entering = values * names["W_H"] if hidden else values
    active = sp.matrix_multiply_elementwise(mask, entering) if homogeneous else names["H"]
    error = outer * names["r"][0] / length
    slopes = sp.matrix_multiply_elementwise(mask, ones * out.T)
    gradient = {"W_O": error * active.T * ones}
    if hidden:
        gradient["W_H"] = error * values.T * slopes
        slopes = slopes * names["W_H"].T
    gradient["W_V"] = error * mixed.T * slopes
    force = inner * tokens.T * logit_slope(weights, error * slopes * value.T * tokens.T) * tokens
    gradient |= {"W_Q": force * key, "W_K": force.T * query}
    return {name: sp.ImmutableMatrix(matrix) for name, matrix in gradient.items()}, names


def logit_slope(weights, slope):
    r"""Slope by the logits, $S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$, from the slope $G_S$ by the weights S."""
    size = weights.cols
    return sp.ImmutableMatrix(
        weights.rows,
        size,
        lambda i, j: weights[i, j] * (slope[i, j] - sum(weights[i, m] * slope[i, m] for m in range(size))),
    )


def gradient_agrees(hidden=False, length=2, d=2, k=3):
    """Largest relative difference between these expressions and torch autograd at random points. Returns a float."""
    from attnflow.encoder import model

    net = model.Encoder(d=d, width=k, init="he", scaling=0.7, output=0.3, hidden=hidden)
    expressions, symbols = encoder_gradient(length, d, k, hidden)

    def batched(point):
        state = {name: value[None] for name, value in point.items() if name.startswith("W_")}
        return state, point["X"][None, None]

    def draw(generator):
        one = [generator]
        point = {name: value[0] for name, value in model.init(one, net).items()}
        return point | {"X": runs.normal(one, length, d)[0], "y": runs.normal(one, 1)[0]}

    def loss(point):
        return model.loss(*batched(point), point["y"][None], net)[0]

    def intermediate(point):
        state, inputs = batched(point)
        weights = model.attention(state, inputs, net)
        mask = (model.neurons(state, (weights @ inputs)[:, 0]) > 0).to(runs.DTYPE)
        residual = model.forward(state, inputs, net) - point["y"]
        scales = torch.tensor([[net.tau_0, net.tau_1]], dtype=runs.DTYPE)
        return {"S": weights[0, 0], "E": mask[0], "r": residual, "tau": scales}

    return symbolic.agree(expressions, symbols, loss, draw, intermediate, points=2)


def balance_expressions(names, hidden, rates):
    """The differences that are kept, as sympy expressions: name -> scalar or matrix."""
    query, key, value, out = (names[name] for name in ("W_Q", "W_K", "W_V", "W_O"))
    found = {"query-key": query.T * query / rates["W_Q"] - key.T * key / rates["W_K"]}
    last, title = (names["W_H"], "hidden-output") if hidden else (value, "neuron")
    found[title] = last[:, 0].dot(last[:, 0]) / rates["W_H" if hidden else "W_V"] - out[0] ** 2 / rates["W_O"]
    if hidden:
        found["value-hidden"] = value.T * value / rates["W_V"] - last * last.T / rates["W_H"]
        found["neuron"] = value[:, 0].dot(value[:, 0]) / rates["W_V"] - out[0] ** 2 / rates["W_O"]
    return found


def law_holds(law, hidden=False, homogeneous=True, block_rates=False, rescaled=True):
    r"""Whether sympy proves that a balance of the encoder is constant, for every residual, attention and mask.

    law: ``query-key``, ``neuron``, ``value-hidden`` or ``hidden-output``; block_rates: each matrix A has a learning rate
    $\eta_A$ of its own, a symbol; rescaled: each square in the balance is divided by that rate.
    """
    gradient, names = encoder_gradient(hidden=hidden, homogeneous=homogeneous)
    rates = {name: sp.Symbol(f"eta_{name}", positive=True) if block_rates else sp.Integer(1) for name in gradient}
    divide = rates if rescaled else dict.fromkeys(rates, sp.Integer(1))
    expression = balance_expressions(names, hidden, divide)[law]
    velocity = {names[name]: -rates[name] * slope for name, slope in gradient.items()}
    derivative = laws.time_derivative(expression, velocity)
    # All is polynomial in the symbols, so an expanded derivative vanishes only as the number zero.
    return not any(sp.Matrix([derivative]))


def arc_cosine_kernels():
    r"""$\kappa_0$ and $\kappa_1$ by polar integration over the plane of x and x', as functions of their angle.

    Both neurons are active for directions $a \in (\vartheta - \pi/2, \pi/2)$. Returns (kappa_0, kappa_1, vartheta), unit vectors.
    """
    radius, direction = sp.symbols("r a", positive=True)
    angle = sp.Symbol("vartheta", positive=True)
    density = radius * sp.exp(-(radius**2) / 2) / (2 * sp.pi)
    edges = (direction, angle - sp.pi / 2, sp.pi / 2)
    zeroth = sp.integrate(density, (radius, 0, sp.oo)) * sp.integrate(1, edges)
    turn = sp.integrate(sp.expand_trig(sp.cos(direction) * sp.cos(direction - angle)), edges)
    first = sp.integrate(density * radius**2, (radius, 0, sp.oo)) * turn
    return sp.simplify(zeroth), sp.simplify(sp.expand_trig(first)), angle


def limit_series(order=6):
    r"""Series of the limiting kernel $\kappa_1 + c\,\kappa_0$ of unit vectors in $c = \cos\vartheta$, without the remainder.

    $\frac1{2\pi} + \frac c2 + \frac{3c^2}{4\pi} + \frac{5c^4}{48\pi} + \dots$; uses $d\kappa_1/dc = \kappa_0$, which is
    checked here. Returns (series, c).
    """
    zeroth, first, angle = arc_cosine_kernels()
    cosine = sp.Symbol("c", real=True)
    zeroth, first = (each.subs(angle, sp.acos(cosine)) for each in (zeroth, first))
    if sp.simplify(sp.diff(first, cosine) - zeroth) != 0:
        raise ArithmeticError("d kappa_1 / dc is not kappa_0")
    return sp.series(first + cosine * zeroth, cosine, 0, order).removeO(), cosine


def entropy_deficit_ratio(length=3):
    r"""Leading coefficient of $\log L - H(\mathrm{softmax}(\varepsilon z))$ over $\varepsilon^2\mathrm{Var}(z)/2$: it is 1."""
    logits = sp.symbols(f"z1:{length + 1}", real=True)
    size = sp.Symbol("epsilon", real=True)
    total = sum(sp.exp(size * logit) for logit in logits)
    mean = sum(size * logit * sp.exp(size * logit) for logit in logits) / total
    deficit = sp.log(length) - (sp.log(total) - mean)
    second = sp.diff(deficit, size, 2).subs(size, 0)
    average = sum(logits) / sp.Integer(length)
    return sp.simplify(second / (sum((logit - average) ** 2 for logit in logits) / length))


def deficit(variance, length, draws=20000):
    r"""Mean of $1 - H/\log L$ over independent Gaussian logits of a given variance, by Monte Carlo with fixed draws.

    To leading order $\mathrm{variance}\,(1 - 1/L)/(2\log L)$. variance: array. Returns an array of its shape.
    """
    runs.integer("length", length, 2)
    normal = torch.randn(draws, length, generator=runs.streams([0])[0], dtype=runs.DTYPE)

    def one(value):
        weights = torch.softmax(value**0.5 * normal, dim=1)
        return 1 + float(torch.special.xlogy(weights, weights).sum(dim=1).mean()) / np.log(length)

    return np.vectorize(one)(np.asarray(variance, dtype=float))
