r"""What chapter 5 predicts of particles, from sympy: adjoint, first variation, transport of mass, and how balances decay."""

from collections.abc import Callable

import sympy as sp
import torch

from attnflow import door, laws, runs, symbolic
from attnflow.meanfield import model, nets, variation

RATE, STEP = sp.symbols("lambda eta", positive=True)
LEVEL, SLOPE = "u", "v"  # of the activation at a token, as symbols: phi(z) and phi'(z)


@door.takes(transposed=door.FLAG)
def adjoint_holds(transposed: bool = True) -> bool:
    r"""Whether stationarity of $\int\langle P, \int g\,d\rho - X'\rangle d\ell$ in P and X is the depth ODE and its adjoint.

    Two numbers X, two particles of masses r and 1 - r, and any functions g: $X' = \int g\,d\rho$ and
    $P' = -\int\nabla_Xg^\top P\,d\rho$. Without ``transposed`` the adjoint has $\nabla_Xg$ in place of its transpose.
    """
    depth, share = sp.symbols("ell r", real=True)
    state, back = ([sp.Function(f"{name}_{i}")(depth) for i in (1, 2)] for name in "XP")
    pair = [[sp.Function(f"g_{i}{theta}")(*state) for i in (1, 2)] for theta in "ab"]
    mean = [share * one + (1 - share) * other for one, other in zip(*pair, strict=True)]
    action = sum(p * (g - x.diff(depth)) for p, g, x in zip(back, mean, state, strict=True))
    slope = sp.Matrix(2, 2, lambda i, j: mean[i].diff(state[j]))
    flow = (slope.T if transposed else slope) * sp.Matrix(back)
    forward = [action.diff(p) - (g - x.diff(depth)) for p, g, x in zip(back, mean, state, strict=True)]
    along = [action.diff(x) - action.diff(x.diff(depth)).diff(depth) for x in state]
    known = [given.subs(p.diff(depth), -by) for given, p, by in zip(along, back, flow, strict=True)]
    return all(sp.expand(each) == 0 for each in [*forward, *known])


@door.takes(length=door.COUNT, d=door.COUNT, k=door.COUNT, complete=door.FLAG, free=door.FLAG)
def head_variation(
    length: int = 2, d: int = 2, k: int = 1, complete: bool = True, free: bool = False
) -> tuple[dict, dict]:
    r"""Slopes of $\langle P, SXW_VW_O\rangle + \frac\lambda2|\theta|^2$ by the four matrices and by X, in chain-rule form.

    The weights S are symbols, and the slope by the scores is that of a softmax; length, d, k: L and the sizes of the head.
    Without ``complete`` the row means are left out of it, and ``free`` it is a matrix of symbols Z, that of any weights that
    see the scores alone. Returns (expressions, symbols): dicts name -> sympy matrix.
    """
    shapes = {"X": (length, d), "P": (length, d), "S": (length, length), "Z": (length, length)}
    shapes |= dict.fromkeys(model.HEADS[:3], (d, k)) | {"W_O": (k, d)}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, back, share, any_slope, query, key, value, out = names.values()
    by_share = back * out.T * (tokens * value).T
    by_scores = symbolic.softmax_slope(share, by_share) if complete else share.multiply_elementwise(by_share)
    by_scores = any_slope if free else by_scores / sp.sqrt(k)
    found = {
        "W_Q": tokens.T * by_scores * tokens * key,
        "W_K": tokens.T * by_scores.T * tokens * query,
        "W_V": (share * tokens).T * back * out.T,
        "W_O": (share * tokens * value).T * back,
    }
    found = {name: slope + RATE * names[name] for name, slope in found.items()}
    pulls = by_scores * tokens * key * query.T + by_scores.T * tokens * query * key.T + share.T * back * out.T * value.T
    found = {name: sp.ImmutableMatrix(slope) for name, slope in (found | {"X": pulls}).items()}
    known = {name: each for name, each in names.items() if free or name != "Z"}
    return found, known | {"decay": sp.ImmutableMatrix([[RATE]])}


@door.takes(length=door.COUNT, d=door.COUNT)
def neuron_variation(length: int = 2, d: int = 2) -> tuple[dict, dict]:
    r"""Slopes of $\sum_i\langle p_i, w_2\rangle\phi(z_i) + \frac\lambda2|\theta|^2$ by the weights of a neuron and by X.

    $z_i = \langle w_1, x_i\rangle + b$, with $\phi(z_i)$ and $\phi'(z_i)$ as symbols. length, d: L and the width. Returns
    (expressions, symbols), as :func:`head_variation`.
    """
    shapes = {"X": (length, d), "P": (length, d), LEVEL: (length, 1), SLOPE: (length, 1)}
    shapes |= {"w_1": (d, 1), "b": (1, 1), "w_2": (d, 1)}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    tokens, back, level, slope, incoming, bias, outgoing = names.values()
    by_inner = (back * outgoing).multiply_elementwise(slope)
    found = {
        "w_1": tokens.T * by_inner + RATE * incoming,
        "b": sp.ones(1, length) * by_inner + RATE * bias,
        "w_2": back.T * level + RATE * outgoing,
        "X": by_inner * incoming.T,
    }
    found = {name: sp.ImmutableMatrix(value) for name, value in found.items()}
    return found, names | {"decay": sp.ImmutableMatrix([[RATE]])}


@door.takes(parts=door.several(door.choice(*nets.PARTS)), complete=door.FLAG, points=door.COUNT, seed=door.INDEX)
def agreement(parts: tuple = tuple(model.PARTS), complete: bool = True, points: int = 3, seed: int = 0) -> float:
    """Largest relative difference of the derived slopes of V, by particles and by tokens, to torch autograd of V.

    parts: of the net; complete: of :func:`head_variation`; points: random ones, drawn from ``seed``.
    """
    net = model.Net(d=2, k=1, slot=0, depth=1, m=1)

    def worst(part):
        derived, names = head_variation(complete=complete) if part == "attention" else neuron_variation()
        shapes = {name: shape[2:] for name, shape in net.shapes.items() if name in model.PARTS[part]}

        def particle(point):
            return {name: point[name].reshape(1, 1, *shape) for name, shape in shapes.items()}

        def draw(generator):
            drawn = {name: names[name].shape for name in ("X", "P", *shapes)}
            return {name: runs.normal([generator], *shape)[0] for name, shape in drawn.items()}

        def loss(point):
            tokens, back = point["X"][None, None], point["P"][None, None]
            return variation.first_variation(particle(point), tokens, back, net, 0.3).sum()

        def intermediate(point):
            theta, tokens = particle(point), point["X"][None, None]
            known = {"decay": torch.tensor([[0.3]], dtype=runs.DTYPE)}
            if part == "attention":
                return known | {"S": variation.weights(theta, tokens, net)[0, 0, 0]}
            felt = variation.inner(theta, tokens)[0, 0, 0][:, None]
            activation, derivative = model.ACTIVATIONS[net.activation]
            return known | {LEVEL: activation(felt), SLOPE: derivative(felt, activation(felt))}

        return symbolic.agree(derived, names, loss, draw, intermediate, points, seed)

    return max(worst(part) for part in parts)


@door.takes(conserves=door.FLAG)
def transport_holds(conserves: bool = True) -> bool:
    r"""Whether particles with $\dot\theta = -\partial_\theta V$ make $\partial_t\rho = \partial_\theta(\rho\,\partial_\theta V)$.

    A particle starts at a and is at T(a, t). The mass between two neighbours, $\rho(T, t)\,\partial_aT$, has to stay. Not
    ``conserves``: mass is moved as a number that particles carry, $\partial_t\rho = \partial_\theta\rho\,\partial_\theta V$.
    """
    start, time, theta = sp.symbols("a t theta", real=True)
    density, worth = sp.Function("rho")(theta, time), sp.Function("V")(theta, time)
    speed = -worth.diff(theta)
    equation = (density * worth.diff(theta)).diff(theta) if conserves else density.diff(theta) * worth.diff(theta)
    # d/dt of rho(T, t) T_a, where T_t = speed at T, and so T_at = speed' T_a: each term over T_a.
    change = equation + density.diff(theta) * speed + density * speed.diff(theta)
    return sp.simplify(change) == 0


@door.takes(matrices=door.either(*nets.MATRICES), bias=door.FLAG, degree=door.COUNT)
def balance(matrices: dict, bias: bool = True, degree: int = 1) -> dict:
    r"""The balances of a head, $W_Q^\top W_Q - W_K^\top W_K$ and $W_V^\top W_V - W_OW_O^\top$, or of a neuron.

    The latter is $|w_1|^2 + b^2 - p|w_2|^2$.
    matrices: of a head or a neuron, or of its slopes, name -> sympy matrix; bias: whether $b^2$ is there;
    degree: p. Returns name -> matrix.
    """
    if "W_Q" in matrices:
        query, key, value, out = (matrices[name] for name in model.HEADS)
        return {"query-key": query.T * query - key.T * key, "value-output": value.T * value - out * out.T}
    incoming, shift, outgoing = (matrices[name] for name in nets.NEURONS)
    return {"neuron": incoming.T * incoming + int(bias) * shift * shift - degree * outgoing.T * outgoing}


@door.takes(part=door.choice(*nets.PARTS), shape=nets.SHAPE)
def weights_of(part: str, **shape: int) -> tuple[dict, dict, dict]:
    """A particle of a ``part``, its slopes of V, free where softmax does not matter, and all symbols: three name -> matrix.

    shape: L, d and k of :func:`head_variation`.
    """
    slopes, names = head_variation(free=True, **shape) if part == "attention" else neuron_variation(**shape)
    theta = {name: names[name] for name in model.PARTS[part]}
    return theta, {name: slopes[name] for name in theta}, names


@door.takes(rates=nets.RATES, shape=nets.SHAPE)
def decay_holds(rates: dict | None = None, **shape: int) -> bool:
    r"""Whether sympy proves $\dot D = -2\lambda D$ for both balances of a head.

    The tokens, the adjoint, the attention and the slope by the scores are free symbols.

    rates: name -> learning rate, 1 where none is given; shape: L, d, k of :func:`head_variation`.
    """
    theta, slopes, _ = weights_of("attention", **shape)
    velocity = {theta[name]: -(rates or {}).get(name, 1) * slope for name, slope in slopes.items()}
    return all(
        symbolic_zero(laws.time_derivative(sp.ImmutableMatrix(each), velocity) + 2 * RATE * each)
        for each in balance(theta).values()
    )


@door.takes(bias=door.FLAG, degree=door.COUNT, length=door.COUNT, d=door.COUNT)
def neuron_defect(bias: bool = True, degree: int = 1, length: int = 2, d: int = 2) -> sp.Expr:
    r"""$\dot\delta + 2\lambda\delta$ for $\delta = |w_1|^2 + b^2 - p|w_2|^2$ of a neuron with any activation, one sample.

    bias, degree: of :func:`balance`; length, d: L and the width. An expression in u, v, P and the weights.
    """
    theta, slopes, _ = weights_of("neurons", length=length, d=d)
    moved = balance(theta, bias, degree)["neuron"]
    velocity = {theta[name]: -slope for name, slope in slopes.items()}
    return (laws.time_derivative(sp.ImmutableMatrix(moved), velocity) + 2 * RATE * moved).applyfunc(sp.expand)[0]


@door.takes(bias=door.FLAG, degree=door.COUNT, length=door.COUNT, d=door.COUNT)
def neuron_law_holds(bias: bool = True, degree: int = 1, length: int = 2, d: int = 2) -> bool:
    r"""Whether :func:`neuron_defect` is $-2\sum_i\langle p_i, w_2\rangle(z_i\phi'(z_i) - p\phi(z_i))$, identically.

    bias: whether $b^2$ is in the balance; degree: p; length, d: L and the width.
    """
    _, _, names = weights_of("neurons", length=length, d=d)
    felt = names["X"] * names["w_1"] + sp.ones(length, 1) * names["b"]
    excess = felt.multiply_elementwise(names[SLOPE]) - degree * names[LEVEL]
    known = -2 * (excess.T * names["P"] * names["w_2"])[0]
    return sp.expand(neuron_defect(bias, degree, length, d) - known) == 0


@door.takes(degree=door.COUNT)
def homogeneous(degree: int = 1) -> sp.Expr:
    r"""The activations on one side of zero, at distance s, whose neurons are balanced: $s\phi' = p\phi$ by sympy, $C_1s^p$.

    degree: p, what multiplies $|w_2|^2$ in the balance.
    """
    size, found = sp.Symbol("s", positive=True), sp.Function("phi")
    return sp.dsolve(size * found(size).diff(size) - degree * found(size), found(size)).rhs


@door.takes(activation=door.FUNCTION, degree=door.COUNT)
def balanced(activation: Callable[[sp.Expr], sp.Expr], degree: int = 1) -> bool:
    r"""Whether an ``activation`` solves $z\phi' = p\phi$ on both sides of zero: it is one of those that sympy finds.

    degree: p.
    """
    size, constant = sp.Symbol("s", positive=True), sp.Symbol("C1")
    shape = homogeneous(degree) / constant
    return all(sp.simplify((activation(sign * size) / shape).diff(size)) == 0 for sign in (1, -1))


@door.takes(part=door.choice(*nets.PARTS), inside=door.FLAG, shape=nets.SHAPE)
def recursion_holds(part: str = "attention", inside: bool = False, **shape: int) -> bool:
    r"""Whether one step of descent makes $D_+ = (1 - \eta\lambda)^2D + \eta^2D(g)$, identically in $\eta$.

    g is the slope of the first variation without decay, and $D(g)$ the same quadratic form of it. part: heads, or neurons
    with $\phi(z) = cz$ on the side of zero where z is; inside: whether the decay is counted into g, which is wrong; shape: of
    :func:`weights_of`.
    """
    theta, slopes, names = weights_of(part, **shape)
    if part == "neurons":
        felt = names["X"] * names["w_1"] + sp.ones(names["X"].rows, 1) * names["b"]
        linear = dict(zip(names[LEVEL], felt.multiply_elementwise(names[SLOPE]), strict=True))
        slopes = {name: slope.xreplace(linear) for name, slope in slopes.items()}
    after = {name: theta[name] - STEP * slopes[name] for name in theta}
    forces = {name: slopes[name] - (0 if inside else 1) * RATE * theta[name] for name in theta}
    three = zip(balance(after).values(), balance(theta).values(), balance(forces).values(), strict=True)
    return all(symbolic_zero(new - (1 - STEP * RATE) ** 2 * old - STEP**2 * forced) for new, old, forced in three)


@door.takes(expression=sp.MatrixBase)
def symbolic_zero(expression: sp.MatrixBase) -> bool:
    """Whether a matrix of polynomials, an ``expression``, is zero, identically."""
    return all(sp.expand(entry) == 0 for entry in expression)
