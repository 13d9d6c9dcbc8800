r"""The reduced flow: uniform attention and a readout that does not move, followed by scipy on the clock
$\tau = |\omega(0)|^2\,t$.

The unknowns are the token scores $\gamma_1, \gamma_2, \gamma_3$ of the first three words and $\gamma_{4..7}$ of the random
words of each class, which share one value by symmetry where all random words are distinct:
$\gamma_1' = f_1g_1 - f_2g_2$, $\gamma_2' = f_1g_1 - f_3g_3$, $\gamma_3' = f_1g_1 - f_2g_2 - f_3g_3 - f_4g_4$ and
$y\,g_c/n$ for a random word of class c. $n = \infty$ leaves the random words at zero. Derived in chapter 2.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from attnflow import runs
from attnflow.cooccurrence.task import Task

HELD = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=float)  # words 0, 1, 2 in each class
SIGNS = np.array([1.0, -1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Reduced:
    """The settings of the reduced flow: samples n (``math.inf`` is allowed), length L, fractions of the classes."""

    samples: float = math.inf
    length: int = 5
    fractions: tuple = (1 / 2, 1 / 6, 1 / 6, 1 / 6)

    def __post_init__(self):
        if self.samples != math.inf:
            Task(self.samples, self.length, self.fractions)
        runs.integer("length", self.length, least=3)

    def margins(self, scores):
        r"""$y_c F_c$ of each class: scores (7, ...) -> (4, ...)."""
        free = np.array([self.length - 3, self.length - 2, self.length - 2, self.length - 1], dtype=float)
        private = free.reshape(-1, *[1] * (scores.ndim - 1)) * scores[3:]
        return SIGNS.reshape(-1, *[1] * (scores.ndim - 1)) * (np.tensordot(HELD, scores[:3], 1) + private)

    def velocity(self, _, scores):
        """Time derivative of the scores on the clock tau: (7,) -> (7,)."""
        force = SIGNS / (1 + np.exp(np.clip(self.margins(scores), -700, 700)))
        shared = HELD.T @ (np.array(self.fractions) * force)
        return np.concatenate([shared, force / self.samples])

    def solve(self, taus):
        r"""Follow the flow from zero. taus: (K,), increasing from at least 0. Returns a dict of arrays with K first.

        ``gamma`` (K, 7), ``margins`` and ``class_loss`` and ``sums`` (K, 4), the last as $s_c/n$, ``loss``, ``rho`` (K,).
        Raises RuntimeError when scipy gives up.
        """
        taus = np.asarray(taus, dtype=float)
        found = solve_ivp(
            self.velocity, (0.0, taus[-1]), np.zeros(7), method="LSODA", t_eval=taus, rtol=1e-10, atol=1e-12
        )
        return self._describe(found)

    def landmarks(self, until=200.0):
        """Where things happen: ``tau_1`` (all classes correct for good), ``peak`` (loss of the second class at its top).

        Each with the state there, as ``solve`` returns it for one time. Raises RuntimeError when scipy gives up.
        """

        def correct(_, scores):
            return self.margins(scores).min()

        def turning(_, scores):
            return self.margins(self.velocity(0.0, scores))[1]

        correct.direction = turning.direction = 1
        found = solve_ivp(
            self.velocity, (0.0, until), np.zeros(7), events=(correct, turning), method="DOP853", rtol=1e-11, atol=1e-13
        )
        marks = {}
        for name, times, states in zip(("tau_1", "peak"), found.t_events, found.y_events, strict=True):
            if len(times):
                found.t, found.y = times[-1:], states[-1:].T
                marks[name] = {key: value[0] for key, value in self._describe(found).items()}
        return marks

    def _describe(self, found):
        """Turn scipy's answer into the dict of ``solve``."""
        if not found.success:
            raise RuntimeError(f"scipy could not follow the reduced flow: {found.message}")
        margins = self.margins(found.y).T
        shares = np.array(self.fractions)
        class_loss, sums = np.logaddexp(0, -margins), shares / (1 + np.exp(margins))
        first, second, third, fourth = sums.T
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = (second + third + fourth - first) / (first - (second + third) / 2)
        return {
            "tau": found.t,
            "gamma": found.y.T,
            "margins": margins,
            "class_loss": class_loss,
            "loss": class_loss @ shares,
            "sums": sums,
            "rho": rho,
        }


def attention_drive(solution, flow, width, inner, readout):
    r"""First-order change of the attention scores that the reduced flow drives, row = query: (K, 3, 3).

    $-\int 2\sigma_0^2 k\,G_\Phi\,d\tau/|\omega(0)|^2$ with uniform attention, for words 0, 1, 2 and $\Phi = W_QW_K^\top$; the
    change is so small that it does not act back. solution: of ``flow.solve``; width k; inner $\sigma_0$; readout
    $|\omega(0)|^2$.
    """
    scores, free = solution["gamma"], flow.length - HELD.sum(axis=1)
    force = SIGNS * solution["sums"]
    mean = (scores[:, :3] @ HELD.T + free * scores[:, 3:]) / flow.length
    pull = np.einsum("kc,cq,cw,kcw->kqw", force, HELD, HELD, scores[:, None, :3] - mean[:, :, None])
    rate = pull * 2 * inner**2 * math.sqrt(width) / (flow.length * readout)
    middle = (rate[1:] + rate[:-1]) / 2 * np.diff(solution["tau"])[:, None, None]
    return np.concatenate([np.zeros((1, 3, 3)), np.cumsum(middle, axis=0)])
