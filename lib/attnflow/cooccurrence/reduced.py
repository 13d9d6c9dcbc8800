r"""The reduced flow: uniform attention, and a readout that does not move or follows its law, by scipy on the clock
$\tau = |\omega(0)|^2\,t$.

The unknowns are the token scores $\gamma_1, \gamma_2, \gamma_3$ of the first three words and $\gamma_{4..7}$ of the random
words of each class, which share one value by symmetry where all random words are distinct:
$\gamma_1' = f_1g_1 - f_2g_2$, $\gamma_2' = f_1g_1 - f_3g_3$, $\gamma_3' = f_1g_1 - f_2g_2 - f_3g_3 - f_4g_4$ and
$y\,g_c/n$ for a random word of class c: the pull $z$. $n = \infty$ leaves the random words at zero. Derived in chapter 2.

From small $W_V$ the readout moves along itself and $W_V = \gamma\,\omega^\top/|\omega|^2$, so the balance of values and outputs
says how far: $R = |\omega|^2/|\omega(0)|^2$ obeys $R^2 - R = a\,|\gamma|^2$ with $a = o/|\omega(0)|^4$, and
$\gamma' = Rz + \frac aR\gamma\,(\gamma^\top z)$. At $a = 0$ it stays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import cumulative_trapezoid, solve_ivp

from attnflow import curves, door, runs
from attnflow.cooccurrence import balance
from attnflow.cooccurrence.setting import watched
from attnflow.cooccurrence.task import EQUAL, LABELS, TARGETS, Task

HELD = np.array(
    [[word in (*held, 2) for word in range(3)] for held in TARGETS], dtype=float
)  # words 0, 1, 2 of a class
SIGNS = np.array(LABELS["both"], dtype=float)


@dataclass(frozen=True)
class Reduced:
    """Settings of the reduced flow: samples n (``np.inf`` is allowed), length L, fractions of the classes, growth a.

    Raises WrongUse on wrong input.
    """

    samples: float = np.inf
    length: int = 5
    fractions: tuple = EQUAL
    growth: float = 0.0

    def __post_init__(self):
        if self.samples != np.inf:
            Task(self.samples, self.length, self.fractions)
        runs.integer("length", self.length, least=3)
        runs.number("growth", self.growth, least=0)
        runs.check("growth", self.growth, "0 where n is infinite", not self.growth or self.samples != np.inf)

    @property
    def free(self) -> np.ndarray:
        """How many random words a sample of each class has: (4,)."""
        return self.length - HELD.sum(axis=1)

    def margins(self, scores: np.ndarray) -> np.ndarray:
        r"""$y_c F_c$ of each class: ``scores`` (7, ...) -> (4, ...)."""
        return (SIGNS * ((HELD @ scores[:3]).T + self.free * scores[3:].T)).T

    def readout(self, scores: np.ndarray) -> np.ndarray:
        r"""$R = |\omega|^2/|\omega(0)|^2$ by the balance law: ``scores`` (7, ...) -> (...)."""
        count = np.concatenate([np.ones(3), self.free * self.fractions * self.samples]) if self.growth else np.zeros(7)
        return (1 + np.sqrt(1 + 4 * self.growth * (count @ np.square(scores)))) / 2

    def velocity(self, tau: float, scores: np.ndarray) -> np.ndarray:
        """Time derivative of the ``scores`` on the clock ``tau``, which does not enter: (7,) -> (7,)."""
        margins = self.margins(scores)
        force = SIGNS / (1 + np.exp(np.clip(margins, -700, 700)))
        pull = np.concatenate([HELD.T @ (np.array(self.fractions) * force), force / self.samples])
        if not self.growth:
            return pull
        size = self.readout(scores)
        return size * pull + self.growth / size * scores * (self.fractions @ (SIGNS * force * margins))

    def solve(self, taus: np.ndarray) -> dict:
        r"""Follow the flow from zero. taus: (K,), finite, increasing from at least 0 to above 0. Returns a dict with K first.

        ``tau`` (K,), ``gamma`` (K, 7), ``margins``, ``class_loss``, ``sums`` $s_c/n$ and ``shares`` $s_c/s_1$ (K, 4), ``loss``,
        ``rho`` and ``readout`` R (K,). Raises RuntimeError when scipy gives up.
        """
        taus = np.asarray(taus, dtype=float)
        grows = taus.ndim == 1 and len(taus) > 0 and taus[0] >= 0 < taus[-1] and bool((np.diff(taus) > 0).all())
        runs.check(
            "taus",
            taus.tolist(),
            "finite, increasing from a time of at least 0 to one above",
            grows and np.isfinite(taus[-1]),
        )
        found = self._follow(taus[-1], method="LSODA", t_eval=taus, rtol=1e-10, atol=1e-12)
        return self._describe(found.t, found.y)

    def landmarks(self, until: float = 200.0) -> dict:
        """Where things happen: ``tau_1`` (all classes correct for good), ``peak`` (loss of the second class at its top).

        until: the last tau that is looked at. Each with the state there, as ``solve`` returns it for one time; one that
        does not happen is absent. Raises RuntimeError when scipy gives up.
        """

        def correct(_, scores):
            return self.margins(scores).min()

        def turning(_, scores):
            return self.margins(self.velocity(0.0, scores))[1]

        correct.direction = turning.direction = 1
        found = self._follow(until, events=(correct, turning), method="DOP853", rtol=1e-11, atol=1e-13)
        return {
            name: {key: value[-1] for key, value in self._describe(times, states.T).items()}
            for name, times, states in zip(("tau_1", "peak"), found.t_events, found.y_events, strict=True)
            if len(times)
        }

    def _follow(self, until, **options):
        """What scipy finds from zero to one time."""
        found = solve_ivp(self.velocity, (0.0, until), np.zeros(7), **options)
        if not found.success:
            raise RuntimeError(f"scipy could not follow the reduced flow: {found.message}")
        return found

    def _describe(self, taus, scores):
        """Times (K,) and scores (7, K) as the dict of ``solve``."""
        margins, shares = self.margins(scores).T, np.array(self.fractions)
        class_loss, sums = np.logaddexp(0, -margins), shares / (1 + np.exp(margins))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {"rho": balance.ratio(*sums.T), "class_loss": class_loss, "loss": class_loss @ shares}
        found["readout"] = self.readout(scores)
        return found | {"tau": taus, "gamma": scores.T, "margins": margins, "sums": sums, "shares": sums / sums[:, :1]}


SOLVED = {"tau": door.numbers("K"), "gamma": door.numbers("K 7"), "sums": door.numbers("K 4")}
DRAWN = {"task": Task, "neurons": door.COUNT, "width": door.COUNT, "inner": door.NONNEGATIVE}
ASKED = {"task": Task}
FOLLOWED = DRAWN | {"tau": "gaps: K S", "readout": "gaps: K S"}  # what is read of a run


@door.takes(solution=SOLVED, flow=Reduced, width=door.COUNT, inner=door.NONNEGATIVE, readout=door.POSITIVE)
def attention_drive(solution: dict, flow: Reduced, width: int, inner: float, readout: float) -> np.ndarray:
    r"""First-order change of the attention scores that the reduced flow drives, row = query: (K, 3, 3).

    $-\int 2\sigma_0^2 k\,G_\Phi\,d\tau/|\omega(0)|^2$ with uniform attention, for words 0, 1, 2 and $\Phi = W_QW_K^\top$; the
    change is so small that it does not act back. solution: of ``flow.solve``; width k; inner $\sigma_0$; readout
    $|\omega(0)|^2$.
    """
    scores, force = solution["gamma"], SIGNS * solution["sums"]
    mean = (scores[:, :3] @ HELD.T + flow.free * scores[:, 3:]) / flow.length
    pull = np.einsum("kc,cq,cw,kcw->kqw", force, HELD, HELD, scores[:, None, :3] - mean[:, :, None])
    rate = pull * 2 * inner**2 * np.sqrt(width) / (flow.length * readout)
    return cumulative_trapezoid(rate, solution["tau"], axis=0, initial=0)


@door.takes(run=FOLLOWED)
def follow(run: dict) -> dict:
    r"""What the reduced flow of equal classes, its readout following the law, says of every seed of a ``run`` at its records.

    Returns what readings of a run take: ``tau``, ``loss``, ``rho`` (K, S); ``gamma`` of words 0, 1, 2 (K, S, 3); ``margins``,
    ``shares`` and ``watched``, the change of the four scores to first order (K, S, 4); ``tau_1`` (S,); ``task``; and
    ``readout`` R, $|\omega|^2$ over that at the start (K, S).
    """
    asked, taus = run["task"], run["tau"]
    told = {"loss": (), "rho": (), "readout": (), "gamma": (3,), "margins": (4,), "shares": (4,), "watched": (4,)}
    found = {
        name: torch.full((*taus.shape, *more), torch.nan, dtype=runs.DTYPE, device="cpu") for name, more in told.items()
    }
    for seed, readout in enumerate(runs.array(run["readout"][0]).tolist()):
        seen = ~taus[:, seed].isnan()
        flow = Reduced(asked.samples, asked.length, growth=run["neurons"] / readout**2)
        solved = flow.solve(runs.array(taus[seen, seed]))
        solved["watched"] = watched(attention_drive(solved, flow, run["width"], run["inner"], readout))
        solved["gamma"] = solved["gamma"][:, :3]
        for name, values in found.items():
            values[seen, seed] = torch.from_numpy(solved[name])
    boundary = curves.last_crossing(taus, found["margins"].amin(dim=-1))
    return found | {"tau": taus, "tau_1": boundary, "task": asked}


@door.takes(run=ASKED)
def flow_of(run: dict) -> Reduced:
    """The reduced flow with the n and L of a ``run``, and equal classes."""
    return Reduced(run["task"].samples, run["task"].length)


@door.takes(run=ASKED, name=door.choice("tau", "loss", "rho", "readout"))
def landmark(run: dict, name: str) -> float:
    """Prediction: a quantity of the reduced flow of a ``run`` at the end of Phase 1, by its ``name``: tau, loss, rho, readout.

    Raises WrongUse where Phase 1 does not end.
    """
    return float(_mark(run, "tau_1")[name])


@door.takes(run=ASKED)
def second_loss_rise(run: dict) -> float:
    """Prediction: how far the reduced flow of a ``run`` lifts the loss of the second class above log 2.

    Raises WrongUse where that loss has no top.
    """
    return float(_mark(run, "peak")["class_loss"][1] - np.log(2))


def _mark(run, name):
    """The state of the reduced flow of a run at a landmark that has to happen."""
    found = flow_of(run).landmarks()
    runs.check("run", run["task"], f"one whose reduced flow has a {name}", name in found)
    return found[name]


@door.takes(read=door.FUNCTION)
def foreseen(read: Callable[[dict], runs.Stack]) -> Callable[[dict], runs.Stack]:
    """Prediction: what a reading, ``read``, finds in the reduced flow of each run, its readout following the law."""
    return lambda run: read(follow(run))
