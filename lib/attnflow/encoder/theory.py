r"""What chapter 3 derives in symbols: the gradient, its laws, the ReLU kernels, the entropy of nearly uniform attention.

Also by sympy, but counted and not proved: how far a wide net moves, as powers of its width.
"""

import numpy as np
import sympy as sp
import torch

from attnflow import attention, door, laws, runs, symbolic
from attnflow.encoder import model

# Two factors A, B that follow each other: A^T A - B B^T is kept, or its diagonal where a ReLU is between them.
FACTORS = {
    "query-key": ("W_Q", "W_K"),
    "value-hidden": ("W_V", "W_H"),
    "neuron": ("W_V", "W_O"),
    "hidden-output": ("W_H", "W_O"),
}
THROUGH_RELU = ("neuron", "hidden-output")
WEIGHTS = ("W_Q", "W_K", "W_V", "W_O")
NET = {"hidden": door.FLAG, "homogeneous": door.FLAG}
SIZES = {"length": door.COUNT, "d": door.COUNT, "k": door.COUNT}
MATRIX, RATE = door.instance(sp.MatrixBase), door.either(door.POSITIVE, door.instance(sp.Expr))


def _numbers(allowed, good):
    """The kind of a number, or of an array, a tensor or a list of numbers, for which ``good`` holds everywhere."""

    def fits(value):
        try:
            array = runs.array(value)
        except ValueError:
            return False
        return array.dtype.kind in "fi" and array.size > 0 and bool((np.isfinite(array) & good(array)).all())

    return door.is_a(f"a finite number {allowed}, or an array of them", fits)


NUMBERS, POSITIVE = _numbers("", np.isfinite), _numbers("greater than 0", lambda array: array > 0)
NONNEGATIVE, ABOVE_ONE = (
    _numbers("of at least 0", lambda array: array >= 0),
    _numbers("above 1", lambda array: array > 1),
)


@door.takes(**NET, **SIZES)
def encoder_gradient(length=2, d=2, k=2, hidden=False, homogeneous=True):
    r"""Gradient of $\frac12(f - y)^2$ for one sample, in chain-rule form, with $\tau_0, \tau_1$ as symbols.

    Symbols of their own are the attention S (L, L), the mask E (L, k) of the ReLU and the residual r (1, 1). With
    $\tilde X = SX$, $H = E \circ (\tilde X W_V)$ and $E_O = E \circ (\mathbf 1 W_O^\top)$:
    $\nabla_{W_O} = \frac{\tau_1 r}{L} H^\top \mathbf 1$, $\nabla_{W_V} = \frac{\tau_1 r}{L}\tilde X^\top E_O$,
    $\nabla_{W_Q} = G_M W_K$, $\nabla_{W_K} = G_M^\top W_Q$ with $G_M = \tau_0 X^\top G_Z X$,
    $(G_Z)_{ij} = S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$ and $G_S = \frac{\tau_1 r}{L} E_O W_V^\top X^\top$.
    length, d, k: sizes of tokens and weights. ``hidden`` puts a trained $W_H$ behind $W_V$. Without ``homogeneous`` the
    output H of the activation is a matrix of free symbols, so that E is the slope of any activation. Returns (expressions,
    symbols): dicts name -> sympy matrix.
    """
    shapes = {"X": (length, d), "W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, 1), "S": (length, length)}
    shapes |= {"E": (length, k)}
    shapes |= ({"W_H": (k, k)} if hidden else {}) | ({} if homogeneous else {"H": (length, k)})
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    names |= {name: sp.ImmutableMatrix([[sp.Symbol(name, real=True)]]) for name in ("r", "tau_0", "tau_1")}
    tokens, query, key, value, out = (names[name] for name in ("X", "W_Q", "W_K", "W_V", "W_O"))
    weights, mask, residual, inner, outer = (names[name] for name in ("S", "E", "r", "tau_0", "tau_1"))
    mixed, ones, behind = weights * tokens, sp.ones(length, 1), names.get("W_H", sp.eye(k))
    active = sp.matrix_multiply_elementwise(mask, mixed * value * behind) if homogeneous else names["H"]
    error, slopes = outer[0] * residual[0] / length, sp.matrix_multiply_elementwise(mask, ones * out.T)
    back = error * slopes * behind.T
    force = inner[0] * tokens.T * symbolic.softmax_slope(weights, back * value.T * tokens.T) * tokens
    gradient = {"W_O": error * active.T * ones, "W_V": mixed.T * back, "W_Q": force * key, "W_K": force.T * query}
    gradient |= {"W_H": error * (mixed * value).T * slopes} if hidden else {}
    return {name: sp.ImmutableMatrix(matrix) for name, matrix in gradient.items()}, names


@door.takes(hidden=door.FLAG, **SIZES)
def gradient_agrees(hidden=False, length=2, d=2, k=3):
    """Largest relative difference between these expressions and torch autograd at random points. Returns a float.

    hidden, length, d, k: as for :func:`encoder_gradient`.
    """
    net = model.Encoder(d=d, width=k, init="he", scaling=0.7, output=0.3, hidden=hidden)
    expressions, symbols = encoder_gradient(length, d, k, hidden)

    def stack(point):
        return {name: point[name][None] for name in expressions}, point["X"][None, None], point["y"][None], net

    def draw(generator):
        state = {name: value[0] for name, value in model.init([generator], net).items()}
        return state | {"X": runs.normal([generator], length, d)[0], "y": runs.normal([generator], 1)[0]}

    def intermediate(point):
        state, inputs, labels, _ = stack(point)
        weights, *_, entering = model.inside(state, inputs, net)
        scales = {name: labels.new_tensor(getattr(net, name)) for name in ("tau_0", "tau_1")}
        residual = model.forward(state, inputs, net) - labels
        return scales | {"S": weights[0, 0], "E": entering[0].relu().sign(), "r": residual}

    return symbolic.agree(
        expressions, symbols, lambda point: model.loss(*stack(point))[0], draw, intermediate, points=2
    )


@door.takes(names=dict.fromkeys(WEIGHTS, MATRIX), rates=dict.fromkeys(WEIGHTS, RATE))
def balance_expressions(names, rates):
    r"""The differences that are kept, as sympy expressions: name -> scalar or matrix.

    names: name -> matrix of symbols, with ``W_H`` where it is trained; rates: name -> $\eta_A$, by which a square is divided, one
    a matrix that is trained. Raises WrongUse for a rate without its matrix, and for matrices that do not fit.
    """
    runs.names("rates", tuple(rates), tuple(names))
    (d, k), shapes = names["W_Q"].shape, {name: names[name].shape for name in rates}
    fit = {"W_Q": (d, k), "W_K": (d, k), "W_V": (d, k), "W_O": (k, 1), "W_H": (k, k)}
    runs.check(
        "names", shapes, "matrices (d, k), W_O (k, 1) and W_H (k, k)", all(fit[each] == shapes[each] for each in shapes)
    )
    bare = {name: names[name] / sp.sqrt(rate) for name, rate in rates.items()}
    bare["W_K"] = bare["W_K"].T
    known = {law: (bare[one], bare[two]) for law, (one, two) in FACTORS.items() if {one, two} <= set(bare)}
    whole = {law: one.T * one - two * two.T for law, (one, two) in known.items()}
    return {law: matrix[0, 0] if law in THROUGH_RELU else matrix for law, matrix in whole.items()}


@door.takes(wanted=door.several(door.choice(*FACTORS)), **NET, block_rates=door.FLAG, rescaled=door.FLAG)
def law_holds(*wanted, hidden=False, homogeneous=True, block_rates=False, rescaled=True):
    r"""Whether sympy proves that balances of the encoder are constant, for every residual, attention and mask.

    wanted: of ``query-key``, ``neuron``, ``value-hidden``, ``hidden-output``; hidden, homogeneous: as for
    :func:`encoder_gradient`; block_rates: each matrix A has a learning rate $\eta_A$ of its own, a symbol; rescaled: each
    square in the balance is divided by that rate. Raises WrongUse for a name that the net has not, and for none.
    """
    runs.check("wanted", wanted, "one or more of the laws", len(wanted) > 0)
    gradient, names = encoder_gradient(hidden=hidden, homogeneous=homogeneous)
    rates = {name: sp.Symbol(f"eta_{name}", positive=True) if block_rates else sp.Integer(1) for name in gradient}
    known = balance_expressions(names, rates if rescaled else dict.fromkeys(rates, sp.Integer(1)))
    velocity = {names[name]: -rates[name] * slope for name, slope in gradient.items()}
    # All is polynomial in the symbols, so an expanded derivative vanishes only as the number zero.
    found = (laws.time_derivative(known[law], velocity) for law in runs.names("law", wanted, tuple(known)))
    return not any(any(sp.Matrix([derivative])) for derivative in found)


def arc_cosine_kernels():
    r"""$\kappa_0$ and $\kappa_1$ by polar integration over the plane of x and x', as functions of their angle.

    Both neurons are active for directions $a \in (\vartheta - \pi/2, \pi/2)$. Returns (kappa_0, kappa_1, vartheta), unit vectors.
    """
    radius, direction, angle = sp.symbols("r a vartheta", positive=True)
    density, whole = radius * sp.exp(-(radius**2) / 2) / (2 * sp.pi), (radius, 0, sp.oo)
    edges, turn = (direction, angle - sp.pi / 2, sp.pi / 2), sp.cos(direction) * sp.cos(direction - angle)
    zeroth = sp.integrate(density, whole) * sp.integrate(1, edges)
    first = sp.integrate(density * radius**2, whole) * sp.integrate(sp.expand_trig(turn), edges)
    return sp.simplify(zeroth), sp.simplify(sp.expand_trig(first)), angle


@door.takes(variance=NONNEGATIVE, length=door.whole(2), draws=door.COUNT)
def deficit(variance, length, draws=20000):
    r"""Mean of $1 - H/\log L$ over independent Gaussian logits of a given variance, by Monte Carlo with fixed draws.

    To leading order $\mathrm{variance}\,(1 - 1/L)/(2\log L)$. variance: number or array, of at least 0; length: L; draws: how
    many rows of logits. Returns an array of the shape of the variance. Raises WrongUse for a length below 2.
    """
    normal = runs.normal(runs.streams([0], "logits"), draws, runs.integer("length", length, 2))
    sizes = torch.as_tensor(np.asarray(variance, dtype=float), device="cpu").sqrt()
    return (
        attention.entropy_deficit(torch.softmax(sizes.reshape(-1, 1, 1) * normal, dim=2)).reshape(sizes.shape).numpy()
    )


@door.takes(scaling=NUMBERS)
def logit_power(scaling):
    r"""Exponent of the width in the variance of a logit at the start, $\tau_0^2k$: $1 - 2s$ at a ``scaling`` s, or an array."""
    return 1 - 2 * scaling


@door.takes(variance=POSITIVE, width=ABOVE_ONE)
def scaling_at(variance, width):
    """The scaling at which logits have a ``variance`` > 0 at a ``width`` > 1, where ``width ** logit_power`` is that.

    Numbers, or arrays that broadcast. Returns the same.
    """
    return (1 - np.log(variance) / np.log(width)) / 2


@door.takes(level=POSITIVE, length=door.whole(2))
def variance_at(level, length):
    """The variance of Gaussian logits whose deficit is ``level``, an array, in attention to ``length`` tokens.

    Raises WrongUse for a level that no variance from 1e-4 to 1e4 has.
    """
    variances = np.geomspace(1e-4, 1e4, 400)
    known = deficit(variances, length, draws=4000)
    inside = np.min(level) >= known[0] and np.max(level) <= known[-1]
    runs.check("level", level, f"from {known[0]:.3g} to {known[-1]:.3g}, what is met here", bool(inside))
    return np.interp(level, known, variances)


@door.takes(init=door.choice(*model.INITS), scaling=door.real(least=0.5))
def movement(init, scaling):
    r"""Exponents in the width of how far a wide net moves until its loss has fallen to a share, by counting powers of k.

    Sizes are $|W_V|, |W_Q| \sim k^{1/2}$ and $|W_O| \sim 1$, or $k^{1/2}$ for NTK, at fixed d, L, n and residuals of order one.
    With signs of neurons at random the gradients at the start are $\nabla_{W_O} \sim \tau_1|W_V|$,
    $\nabla_{W_V} \sim \tau_1|W_O|$ and, through $G_M \sim \tau_0\tau_1|W_O|$, $\nabla_{W_Q} \sim \tau_0\tau_1|W_O||W_K|$. The
    kernel is the sum of their squares, the time its inverse, and each block moves by its gradient times the time, relative to its
    size. The attention moves by $\tau_0|\Delta W_Q||W_K|$, since $\Delta W_Q$ is aligned with $W_K$. The kernel follows: its
    features turn with the attention; $\Delta W_V$ and $\Delta W_O$ change the blocks of $W_O$ and $W_V$ by sums over neurons of
    random signs, $k^{-1/2}$ times their movement, and $\Delta W_O$ by its square; in the block of $W_Q, W_K$ the sum
    $\sum_jo_jv_j$ is of random signs and $\sum_j\Delta o_jv_j$ is not. The masks are a part of their own: pre-activations
    have a density at zero, so a share as large as the movement of $W_V$ flips, and its effect on the block of $W_V$ has a sign,
    since more go off than on (:func:`attnflow.encoder.flips.expected_pull`); in the block of $W_O$ a neuron that flips is small,
    which makes it a square. A product adds powers, a sum has the largest of them, at widths where that has won.

    init, scaling: as of :class:`attnflow.encoder.model.Encoder`, with a scaling of at least 1/2: below, softmax saturates.
    Returns exact rationals: ``W_O``, ``W_V``, ``W_Q``, ``attention``, ``kernel``, ``growth``, the same without the
    part of the masks, and ``share``, of $W_Q, W_K$ in the kernel.
    """
    inner, half = -sp.Rational(str(scaling)), sp.Rational(1, 2)
    outer, out = (-half, half) if init == "ntk" else (sp.Integer(0), sp.Integer(0))
    size = {"W_O": out, "W_V": half, "W_Q": half}
    slope = {"W_O": outer + half, "W_V": outer + out, "W_Q": inner + outer + out + half}
    kernel = max(2 * power for power in slope.values())
    share = {name: 2 * power - kernel for name, power in slope.items()}
    moved = {name: power - kernel - size[name] for name, power in slope.items()}
    turned = inner + moved["W_Q"] + 2 * half
    smooth = max(
        turned,
        share["W_O"] + moved["W_V"] - half,
        share["W_V"] + moved["W_O"] + max(-half, moved["W_O"]),
        share["W_Q"] + moved["W_O"] + half,
    )
    whole = max(smooth, share["W_V"] + moved["W_V"])
    return moved | {"attention": turned, "kernel": whole, "growth": smooth, "share": share["W_Q"]}
