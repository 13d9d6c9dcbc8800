"""Chapter 3: thirty draws of a net that widens."""

from functools import cache

import numpy as np
import sympy as sp
import torch

from attnflow import plot, runs
from attnflow.encoder import kernel as tangent
from attnflow.encoder import model
from attnflow.encoder import theory as three
from moving import keep

# Chapter 3 shows two samples of four orthonormal tokens. In the second two are turned round: the means are orthogonal.
SIGNS = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1]], dtype=runs.DTYPE)
TOKENS = torch.diag_embed(SIGNS)[None]
VARIANCES = (-15, 5)  # powers of 2 that the page reaches


@cache
def closed_forms():
    """Chapter 3: attention to four tokens, its entropy deficit, and the spread of one entry of the kernel over draws.

    The spread is that of k neurons at uniform attention, by :func:`attnflow.encoder.kernel.neuron_squares`, and that of
    the attention to first order in the logits: the mean of the mixed tokens moves by their covariance.
    """
    k, u = sp.symbols("k u", positive=True)
    s, v, x, doublings = sp.symbols("s v x log2_k", real=True)
    power = sp.interpolate([(each, three.logit_power(each)) for each in (0, 1)], s)
    logits, shares = sp.symbols("z:4", real=True), sp.symbols("p:4", positive=True)
    softmax = 1 / sum(sp.exp(each - logits[0]) for each in logits)
    deficit = 1 + sum(share * sp.log(share) for share in shares) / sp.log(len(shares))

    least, most = VARIANCES
    grid = np.linspace(least, most, 81)
    known = np.log10(three.deficit(2.0**grid, len(shares)))
    fit = np.polynomial.Chebyshev.fit(grid, known, 12).convert(kind=np.polynomial.Polynomial, domain=[least, most])
    scaled = sp.Rational(2, most - least) * (x - sp.Rational(most + least, 2))
    mean = 10 ** sp.horner(sp.Poly.from_list([sp.Float(each) for each in fit.coef[::-1]], gens=v).as_expr()).subs(
        v, scaled
    )

    size, cosine = sp.symbols("size cosine", real=True)
    a, b, c = sp.symbols("a b c", real=True)  # squares of two tokens, and their product
    zeroth, first, angle = three.arc_cosine_kernels()
    neurons = size * (first + cosine * zeroth).subs(angle, sp.acos(cosine))
    means = [sp.Matrix(each) / 4 for each in SIGNS.int().tolist()]
    squares, limit = (each(TOKENS.mean(dim=2))[0, 0, 1] for each in (tangent.neuron_squares, tangent.neurons))
    at = {a: means[0].dot(means[0]), b: means[1].dot(means[1]), c: means[0].dot(means[1])}
    smooth = neurons.subs({size: sp.sqrt(a * b), cosine: c / sp.sqrt(a * b)})
    by_first, by_second, by_both = (sp.simplify(smooth.diff(each).subs(at)) for each in (a, b, c))
    turned = sp.zeros(4)
    for own, other, by_own in ((*means, by_first), (*means[::-1], by_second)):
        covariance = sp.eye(4) / 4 - own * own.T
        turned += own * (covariance * (2 * by_own * own + by_both * other)).T
    attention, sampled = turned.norm() * k ** (power / 2), sp.Float(float(squares - limit**2)) / k
    return {
        "radius": ((u,), sp.sqrt(-2 * sp.log(u))),
        "decades": ((u,), sp.log(u, 10)),
        "tau_0": ((k, s), k ** ((power - 1) / 2)),
        "share": (logits, softmax),
        "deficit_of": (shares, deficit),
        "log_variance": ((s, doublings), power * doublings),
        "deficit": ((x,), mean),
        "neurons": ((size, cosine), neurons),
        "limit": ((), sp.Float(float(limit))),
        "spread": ((k, s), sp.sqrt(sampled + attention**2)),
        "apart": ((k, s), attention),
    }


def still(path, scalings=((1.0, "blue"), (0.5, "orange")), doublings=range(4, 11), draws=30):
    """Chapter 3: draws of one entry of the kernel over the width, at two scalings, and their spread with its law.

    path: of the picture; scalings: (s, colour) each; doublings: log2 of the widths; draws: how many.
    """
    figure, (fan, panel) = plot.figure(2, height=3.0)
    forms, widths = closed_forms(), 2.0 ** np.array(doublings)
    law, seen = sp.lambdify(*forms["spread"]), TOKENS.repeat(draws, 1, 1, 1)
    for beside, (scaling, colour) in zip((1.05, 0.95), scalings, strict=True):
        entries = []
        for width in widths:
            net = model.Encoder(d=seen.shape[3], width=int(width), init="ntk", scaling=scaling)
            start = model.init(runs.streams(range(draws), "still", net.width), net)
            entries.append(tangent.empirical(start, seen, net)[:, 0, 1].numpy())
        look = {"color": plot.COLOURS[colour]}
        fan.plot(
            beside * np.repeat(widths, draws),
            np.ravel(entries),
            "o",
            ms=3,
            alpha=0.6,
            label=f"$s = {scaling:g}$",
            **look,
        )
        panel.loglog(widths, np.std(entries, axis=1, ddof=1), "o-", ms=3, **look)
        plot.theory(panel, widths, law(widths, scaling))
    plot.theory(fan, widths[[0, -1]], [float(forms["limit"][1])] * 2)
    fan.set(xscale="log", xlabel="width $k$", ylabel="kernel entry $K$")
    panel.set(xlabel="width $k$", ylabel="spread of thirty draws")
    fan.legend()
    keep(figure, path)
