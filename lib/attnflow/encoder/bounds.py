r"""The convergence theorem in numbers: its two conditions, and every inequality of its derivation along a run.

$\Psi$ (n, k) are the features, $\alpha$ their n-th singular value at the start, C the largest token norm,
$\chi = \tau_1\sqrt n\,C$, and $B_A = \|W_A^0\| + c_A$ the largest operator norm that $W_A$ may reach, with radius $c_A$.
"""

import math

import sympy as sp
import torch

from attnflow import curves, door, runs
from attnflow.encoder import kernel, model

BLOCKS = ("W_O", "W_V", "W_Q", "W_K")
NORMS = dict.fromkeys(BLOCKS, "S")
INIT = door.choice(*model.INITS)
POWER = door.is_a("a finite number", lambda value: _exact(value))
RADIUS = door.is_a("a finite number of at least 0", lambda value: _exact(value) and value >= 0)


def _exact(value):
    """Whether a value is a finite number, or an exact rational."""
    number = isinstance(value, (int, float, sp.Rational)) and not isinstance(value, bool)
    return number and bool(abs(value) < math.inf)


@door.takes(state=model.STATE)
def norms(state):
    """Operator norms of the four matrices of a ``state``: name -> (S,)."""
    # The eigenvalues of the smaller Gram matrix: wide matrices make the singular values dear.
    sides = ((state[name], state[name].mT) for name in BLOCKS)
    grams = (one @ other if one.shape[1] <= one.shape[2] else other @ one for one, other in sides)
    return {
        name: torch.linalg.eigvalsh(gram)[:, -1].clamp_min(0).sqrt() for name, gram in zip(BLOCKS, grams, strict=True)
    }


@door.takes(features="S n k")
def smallest_singular(features):
    r"""The n-th singular value of the features (S, n, k): 0 where k < n. Returns (S,).

    From the Gram matrix, so that it is exact to about $10^{-8}$ of the largest: samples that are the same have no more.
    """
    samples, width = features.shape[1:]
    return (width >= samples) * torch.linalg.eigvalsh(features @ features.mT)[:, 0].clamp_min(0).sqrt()


@door.takes(inputs=model.TOKENS, net=door.instance(model.Encoder, d="d"))
def scales(inputs, net):
    r"""$\chi = \tau_1\sqrt n\,C$ of a ``net`` and C, the largest token norm of its inputs (S, n, L, d): two tensors (S,)."""
    largest = inputs.norm(dim=-1).amax(dim=(1, 2))
    return net.tau_1 * inputs.shape[1] ** 0.5 * largest, largest


@door.takes(bars=NORMS, chi="S", largest="S", net=model.PLAIN)
def block_bounds(bars, chi, largest, net):
    r"""Factors of the gradient bounds $\|\nabla_A \mathcal L\| \le \mathrm{factor}_A\sqrt{2\mathcal L}$: name -> (S,).

    bars: $B_A$, name -> (S,); chi, largest: $\chi$ and C, (S,), of a ``net``, as :func:`scales` returns them.
    """
    through = chi * net.tau_0 * largest**2 * bars["W_V"] * bars["W_O"]
    return {
        "W_O": chi * bars["W_V"],
        "W_V": chi * bars["W_O"],
        "W_Q": through * bars["W_K"],
        "W_K": through * bars["W_Q"],
    }


@door.takes(state=model.STATE, inputs=model.TOKENS, labels="S n", net=model.PLAIN, radius=door.POSITIVE)
def conditions(state, inputs, labels, net, radius=1.0):
    r"""Left side over right side of the conditions of the theorem; they hold where all are at least 1.

    Condition (A) is $\alpha^2 \ge 4\sqrt{2\mathcal L_0}\max_A \mathrm{factor}_A/c_A$, one ratio a block, and
    condition (B) $\alpha^3 \ge 8\sqrt{2\mathcal L_0}\chi^2 B_O(1 + \tau_0^2C^4B_V^2(B_Q^2 + B_K^2))$. The radii are
    $c_A = \mathrm{radius}\cdot\|W_A^0\|$. state: the start of a ``net``; inputs: (S, n, L, d); labels: (S, n). Returns
    ``A_O``, ``A_V``, ``A_Q``, ``A_K`` and ``B``, each (S,): zero where $\alpha = 0$, infinite where the loss is zero and
    $\alpha$ is not. Raises WrongUse unless radius > 0, and for a net with a hidden matrix, which the theorem does not have.
    """
    alpha = smallest_singular(model.features(state, inputs, net))
    size = (2 * model.loss(state, inputs, labels, net)).sqrt()
    return ratios(norms(state), alpha, size, scales(inputs, net), net, radius)


@door.takes(start=NORMS, alpha="S", size="S", scale=door.together("S", "S"), net=model.PLAIN, radius=door.POSITIVE)
def ratios(start, alpha, size, scale, net, radius=1.0):
    r"""The :func:`conditions` from the numbers that they ask for: name -> (S,).

    start: norms of the matrices of a ``net``, name -> (S,); alpha: $\alpha$; size: $\sqrt{2\mathcal L_0}$; scale: $\chi$ and
    C, as :func:`scales` returns them; radius: as there. Raises WrongUse unless radius > 0.
    """
    bars, (chi, largest) = {name: (1 + radius) * value for name, value in start.items()}, scale
    found = {
        "A_" + name[2:]: alpha.square() * radius * start[name] / (4 * size * factor)
        for name, factor in block_bounds(bars, chi, largest, net).items()
    }
    drift = 1 + (net.tau_0 * largest**2 * bars["W_V"]).square() * (bars["W_Q"].square() + bars["W_K"].square())
    found |= {"B": alpha**3 / (8 * size * chi.square() * bars["W_O"] * drift)}
    return {name: ratio.where(alpha > 0, 0.0) for name, ratio in found.items()}


@door.takes(weights=model.ATTENTION, inputs="S n L r", net=model.LECUN)
@torch.no_grad()
def of_wide(weights, inputs, net):
    r"""The conditions where sums over neurons are their means, at LeCun initialisation and with labels $N(0, 1)$: name -> (S,).

    Given the attention, $\Psi\Psi^\top = k\Phi$ with $\Phi$ of :func:`attnflow.encoder.kernel.lecun_given`, so that
    $\alpha^2 = k\mu_{\min}(\Phi)$; the mean of $2\mathcal L_0$ is $\mathrm{tr}\,\Phi + n$; a Gaussian (d, k) matrix of variance
    1/d has the norm $1 + \sqrt{k/d}$. weights: (S, n, L, L); inputs: (S, n, L, any), tokens in any coordinates of their span,
    of a ``net`` of any width. Raises WrongUse for another initialisation, and for a hidden matrix.
    """
    features = net.tau_1**2 * kernel.lecun_given(weights, inputs, net.d)
    alpha = (float(net.width) * torch.linalg.eigvalsh(features)[:, 0].clamp_min(0)).sqrt()
    size = (features.diagonal(dim1=1, dim2=2).sum(dim=1) + inputs.shape[1]).sqrt()
    one = torch.ones_like(alpha)
    start = dict.fromkeys(BLOCKS, one * (1 + (net.width / net.d) ** 0.5)) | {"W_O": one}
    return ratios(start, alpha, size, scales(inputs, net), net)


@door.takes(
    state=model.STATE, start=model.STATE, inputs=model.TOKENS, labels="S n", net=model.PLAIN, largest_singular=door.FLAG
)
@torch.no_grad()
def along(state, start, inputs, labels, net, largest_singular=False):
    r"""Every inequality of the derivation at one state of a run: left side over right side, at most 1. name -> (S,).

    ``PL``: $2\sigma_{\min}(\Psi)^2\mathcal L \le \|\nabla\mathcal L\|^2$; one row a block gradient; ``drift``:
    $\|\Psi - \Psi_0\| \le \chi(\|\Delta W_V\| + \tau_0C^2B_V(B_K\|\Delta W_Q\| + B_Q\|\Delta W_K\|))$; ``Weyl``:
    $\sigma_{\min}(\Psi_0) - \|\Psi - \Psi_0\| \le \sigma_{\min}(\Psi)$. Bounds $B_A$ are the larger of both ends. Where both
    sides are zero the ratio is zero.
    state, start: of a ``net``; inputs: (S, n, L, d); labels: (S, n). ``largest_singular`` puts the largest singular value into
    ``PL``, which is wrong.
    """
    now, then = norms(state), norms(start)
    bars = {name: torch.maximum(now[name], then[name]) for name in BLOCKS}
    chi, largest = scales(inputs, net)
    loss, gradient = model.field(inputs, labels, net)(state)
    factors = {name: factor * (2 * loss).sqrt() for name, factor in block_bounds(bars, chi, largest, net).items()}
    first, last = (model.features(each, inputs, net) for each in (start, state))
    squares = sum(slope.square().sum(dim=(1, 2)) for slope in gradient.values())
    singular = torch.linalg.matrix_norm(last, ord=2) if largest_singular else smallest_singular(last)
    moved = norms({name: state[name] - start[name] for name in BLOCKS})
    turned = bars["W_K"] * moved["W_Q"] + bars["W_Q"] * moved["W_K"]
    room = moved["W_V"] + net.tau_0 * largest**2 * bars["W_V"] * turned
    distance = (last - first).flatten(1).norm(dim=1)
    found = {name: gradient[name].flatten(1).norm(dim=1) / factor for name, factor in factors.items()} | {
        "PL": 2 * singular.square() * loss / squares,
        "drift": distance / (chi * room),
        "Weyl": (smallest_singular(first) - distance) / smallest_singular(last),
    }
    return {name: torch.where(ratio.isnan() & squares.isfinite(), 0.0, ratio) for name, ratio in found.items()}


@door.takes(init=INIT, scaling=POWER, radius=RADIUS)
def exponents(init, scaling, radius=0):
    r"""How left over right side of each condition grows: $k^a n^b$, for fixed d and L. Returns name -> (a, b).

    Uses $\alpha^2 \sim k$ (LeCun, He) or 1 (NTK), $\mathcal L_0 \sim n$, norms of $W_Q, W_K, W_V \sim k^{1/2}$, and
    $c_O \sim \|W_O^0\| n^{\mathrm{radius}}$, the other radii of the order of their matrices. All are exact rationals.
    init, scaling: as of :class:`attnflow.encoder.model.Encoder`, a float as the decimal fraction that it is written as, or an
    exact rational; radius: of at least 0. Raises WrongUse for another init.
    """
    s, grow, half = (sp.Rational(str(value)) for value in (scaling, radius, 0.5))
    tau, out, alpha = (-half, half, sp.Integer(0)) if init == "ntk" else (sp.Integer(0), sp.Integer(0), half)
    mixing = 2 - 2 * s  # of tau_0^2 B_V^2 (B_Q^2 + B_K^2)
    return {
        "A_O": (2 * alpha - tau - half + out, grow - 1),
        "A_V": (2 * alpha - tau - out + half, -1 - grow),
        "A_Q": (2 * alpha - tau + s - half - out, -1 - grow),
        "B": (3 * alpha - 2 * tau - out - max(mixing, 0), -sp.Rational(3, 2) - grow),
    }


@door.takes(init=INIT, scaling=POWER)
def width_exponents(init, scaling):
    """The exponents of the width alone, name -> a. init, scaling: as for :func:`exponents`."""
    return {name: power for name, (power, _) in exponents(init, scaling).items()}


@door.takes(init=INIT, scaling=POWER, widths=door.several(door.COUNT, least=2), d=door.COUNT)
def finite_exponents(init, scaling, widths, d):
    r"""The exponents between finite ``widths``, where operator norms of (d, k) matrices grow as $\sqrt k + \sqrt d$: name -> a.

    To the exponent of the width comes that of $1 + \sqrt{d/k}$ as often as such a norm occurs in a condition, for (B) where the
    attention rules its bracket. init, scaling: as for :func:`exponents`; d: size of a token. Raises WrongUse unless two widths
    or more differ.
    """
    norm = _slope("widths", widths, [1 + (d / width) ** 0.5 for width in widths])
    powers = {"A_O": -1, "A_V": 1, "A_Q": -1, "B": -4}
    return {name: float(power) + powers[name] * norm for name, power in width_exponents(init, scaling).items()}


def _slope(name, places, values):
    """The exponent of some numbers over places, of which two or more have to differ; ``name`` says what these are."""
    runs.check(name, tuple(places), "two or more that differ", len(set(places)) > 1)
    return float(curves.log_slope(places, torch.tensor(values, dtype=runs.DTYPE)[:, None]))


@door.takes(samples=door.several(door.COUNT, least=2), d=door.COUNT)
def crowding(samples, d):
    r"""The exponent m in $\mu_{\min}(\Phi) \sim n^{-m}$ over some ``samples`` in many dimensions d, uniform attention.

    For nearly orthogonal means of one length $\kappa_1$ is $(1/2 - 1/2\pi - 1/4)$ on the diagonal, a matrix of equal
    entries, and 1/4 of the cosines, whose least eigenvalue is $(1 - \sqrt{n/d})^2$ (Marchenko and Pastur), zero for n > d.
    Raises WrongUse unless two numbers of samples or more differ.
    """
    least = [0.25 - 1 / (2 * math.pi) + 0.25 * max(0.0, 1 - (count / d) ** 0.5) ** 2 for count in samples]
    return -_slope("samples", samples, least)


@door.takes(init=INIT, scaling=POWER, radius=RADIUS)
def required(init, scaling, radius=0):
    r"""Exponent e of the width $k \sim n^e$ from which all conditions hold; infinite where no width is enough.

    init, scaling, radius: as for :func:`exponents`.
    """
    return max(-b / a if a > 0 else (sp.oo if b < 0 else 0) for a, b in exponents(init, scaling, radius).values())


@door.takes(init=INIT)
def least_scaling(init):
    """The scaling up to which no width is enough for an ``init``: zero of the exponent of (B), which is linear up to 1."""
    first, last = (width_exponents(init, scaling)["B"] for scaling in (0, 1))
    return first / (first - last)


@door.takes(init=INIT, scaling=POWER)
def best_radius(init, scaling):
    """The radius of $W_O$ that makes the required exponent least. Returns (radius, exponent), exact rationals.

    init, scaling: as for :func:`exponents`.
    """
    if required(init, scaling).is_infinite:
        return sp.Integer(0), sp.oo
    ends = (exponents(init, scaling, radius).values() for radius in (0, 1))
    lines = [(-b / a, (b - far) / a) for (a, b), (_, far) in zip(*ends, strict=True)]  # width against the radius
    crossings = {(q - p) / (u - v) for p, u in lines for q, v in lines if u != v}
    found = [(required(init, scaling, radius), radius) for radius in {sp.Integer(0), *crossings} if radius >= 0]
    return min(found)[::-1]
