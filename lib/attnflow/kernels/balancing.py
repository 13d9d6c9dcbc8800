"""Automatic balancing separates the kernels: what each of them keeps along the flow, proved and measured."""

import math
from collections.abc import Callable

import torch

from attnflow import Below, Control, Experiment, Near, Trial, checks, door, flow, kinds, laws, runs
from attnflow.attention import KERNELS
from attnflow.kernels import model, theory
from attnflow.kernels.setting import claim, problem
from attnflow.kernels.theory import DISTANCES, DOTS

ADAM = flow.Optimiser(torch.optim.Adam)
DECAYED = flow.Optimiser(torch.optim.AdamW, {"weight_decay": 0.1})
BALANCE, SHIFTS = ("du2018balanced", "arora2018optimization"), ("kunin2021neural",)
TIME = 0.24  # of the drifts, in units of the flow
# Two heads on tokens that share a direction, from weights of half the usual size: exp(q.k) ends many runs from larger ones.
GENTLE = {"heads": 2, "data": "common", "scale": 0.5, "inner": 0.5}


@door.takes(state=model.HEADS)
def balances(state: runs.State) -> runs.State:
    """What the kernels keep or move, of every head of a ``state``: name -> (S, H, k, k), or (S, H, k) of the linear ones."""
    return {
        "query-key": laws.imbalance(state["W_Q"], state["W_K"]),
        "value-output": laws.imbalance(state["W_V"], state["W_O"].mT),
        "key shift": state["W_K"][:, :, -1],
        "shift": (state["W_Q"] + state["W_K"])[:, :, -1],
    }


def each_kernel(seeds: tuple, device: torch.device, experiment: Callable, kernels: tuple, **settings) -> dict:
    """One ``experiment`` for several ``kernels``, on the same data and weights. Returns kernel -> record.

    seeds, device, settings: of the experiment.
    """
    return {kernel: experiment(seeds, device, kernel=kernel, **settings) for kernel in kernels}


@door.takes(read=door.FUNCTION, target=door.NUMBER)
def worst(read: Callable, target: float = 0.0) -> Callable[[dict], runs.Stack]:
    """Reading: what another reading finds in the record of each kernel, the one that is furthest from a ``target``, (S,).

    read: record of one kernel -> (S,).
    """

    def furthest(record):
        found = torch.stack([read(one) for one in record.values()])
        return found.gather(0, (found - target).abs().argmax(dim=0, keepdim=True))[0]

    return furthest


def drift_ratio(record: dict) -> runs.Stack:
    """Reading: the query-key drift at the largest of four steps over that at the smallest, had only its leading order grown.

    record: of :func:`attnflow.checks.drift`. Returns (S,): 1 for a drift of order 0, 8 for one of order 1 and steps that halve.
    """
    return (max(record["steps"]) / min(record["steps"])) ** kinds.order_of("query-key")(record)


law_drift = Experiment(
    each_kernel,
    GENTLE
    | {
        "experiment": checks.drift,
        "problem": problem,
        "balances": balances,
        "steps": (0.008, 0.004, 0.002, 0.001),
        "time": TIME,
        "kernels": KERNELS,
    },
)
# Under exp(q.k), and now and then under a Gaussian, a stiff run needs these steps before the order is seen.
fine_drift = law_drift.but(steps=(0.002, 0.001, 0.0005, 0.00025))
coarse_drift = law_drift.but(kernels=DISTANCES)  # enough for what has no drift at all


@door.takes(experiment=Experiment, name=door.choice("key shift", "shift"))
def linear(experiment: Experiment, name: str) -> Trial:
    """A linear law moves by rounding errors only, at every step size and for every kernel of an ``experiment``.

    name: of the law in its records. As in ``kinds.conserved``, a run that overflows has not kept it.
    """
    return Trial(experiment, worst(kinds.largest(name)), Below(1e-12), undefined=math.inf, kind="law")


CLAIMS = (
    claim(
        "gradient",
        "The gradient of four matrices for four kernels",
        r"The chain-rule gradient, with attention $S$ and residual $R = F - Y$ as symbols and the slopes of the scores "
        r"by sympy, equals autograd of the loss of two heads at random points: largest relative difference.",
        kinds.derived(theory.agreement, Below(1e-10), kind="proof"),
        Control("row means left out of the slope by the scores", {"complete": False}),
    ),
    claim(
        "proof-query-key",
        "Dot products balance queries and keys",
        r"Under softmax and under $e^{\beta q\cdot k}$, $W_Q^\top W_Q - W_K^\top W_K$ of a head is constant along the "
        r"flow of any loss that sees only the weights $S$.",
        kinds.proof(theory.score_law_holds, law="query-key", kernels=DOTS),
        Control("distances in place of dot products", {"kernels": DISTANCES}),
        provenance="derived here from a known theorem",
        cite=(*BALANCE, "song2024kernels"),
    ),
    claim(
        "proof-rotation",
        "Every kernel forbids a rotation, and that is no law",
        r"Joint rotations of $q$ and $k$ change no score, so $\sum_{A = W_Q, W_K} (A^\top\dot A - \dot A^\top A) = 0$ "
        r"for all four kernels: a relation of velocities, behind which stands no function of the weights.",
        kinds.proof(theory.score_law_holds, law="rotation", kernels=KERNELS),
        Control("twice the learning rate for $W_Q$", {"rates": {"W_Q": 2}}),
        cite=SHIFTS,
    ),
    claim(
        "proof-value-output",
        "Every kernel balances values and outputs",
        r"$W_V^\top W_V - W_OW_O^\top$ of a head is constant along the flow, whatever weights $S$ a kernel gives.",
        kinds.proof(theory.value_law_holds),
        Control("twice the learning rate for $W_V$", {"rates": {"W_V": 2}}),
        provenance="derived here from a known theorem",
        cite=BALANCE,
    ),
    claim(
        "proof-shift",
        "Softmax keeps a row of the keys",
        r"If $Xw = \mathbf 1$ on all tokens, $w^\top W_K$ is constant under softmax: it adds one number to a row of scores.",
        kinds.proof(theory.score_law_holds, law="key shift", kernels=("softmax",), common=True),
        Control("$e^{\\beta q\\cdot k}$, whose rows are not normalised", {"kernels": ("exp",)}),
        cite=SHIFTS,
    ),
    claim(
        "proof-translation",
        "A distance keeps a sum of two rows",
        r"If $Xw = \mathbf 1$ on all tokens, $w^\top(W_Q + W_K)$ is constant under both Gaussians: $q$ and $k$ that move "
        r"together are as far apart as before.",
        kinds.proof(theory.score_law_holds, law="shift", kernels=DISTANCES, common=True),
        Control("tokens that share no direction", {"common": False}),
        cite=SHIFTS,
    ),
    claim(
        "law-query-key",
        "Under dot products the query-key balance drifts at first order",
        r"Under softmax and $e^{\beta q\cdot k}$, $W_Q^\top W_Q - W_K^\top W_K$ drifts by $O(\eta)$ along descent: order "
        r"1 in the step, of the two kernels the order further from 1.",
        Trial(fine_drift.but(kernels=DOTS), worst(kinds.order_of("query-key"), 1.0), Near(abs=0.01), 1.0, kind="law"),
        Control("distances, in rows that still sum to one", {"kernels": ("normalised_gaussian",)}),
        provenance="derived here from a known theorem",
        cite=BALANCE,
    ),
    claim(
        "law-none",
        "Under distances a smaller step does not help",
        r"Under both Gaussians the query-key balance moves by as much at every step: its drift, of order 0, is the same "
        r"at $\eta = 0.002$ and at $\eta = 0.00025$, ratio $8^0 = 1$ with the higher orders taken away.",
        Trial(fine_drift.but(kernels=DISTANCES), worst(drift_ratio, 1.0), Near(abs=0.02), 1.0, kind="law"),
        Control("softmax, where the drift falls with the step", {"kernels": ("softmax",)}),
    ),
    claim(
        "law-value-output",
        "Under all four kernels the value-output balance drifts at first order",
        r"$W_V^\top W_V - W_OW_O^\top$ drifts by $O(\eta)$ along descent: order 1 in the step, of four kernels the order "
        r"furthest from 1.",
        Trial(law_drift, worst(kinds.order_of("value-output"), 1.0), Near(abs=0.05), 1.0, kind="law"),
        Control("Adam with the same steps", {"method": ADAM}),
        provenance="derived here from a known theorem",
        cite=BALANCE,
    ),
    claim(
        "law-shift",
        "What softmax keeps of the keys has no drift at all",
        r"Where every token has a last feature of 1, $w^\top W_K$ moves by rounding errors only, at every step.",
        linear(law_drift.but(kernels=("softmax",)), "key shift"),
        Control("$e^{\\beta q\\cdot k}$, whose rows are not normalised", {"kernels": ("exp",)}),
        cite=SHIFTS,
    ),
    claim(
        "law-translation",
        "What a distance keeps has no drift at all",
        r"Where every token has a last feature of 1, $w^\top(W_Q + W_K)$ moves by rounding errors only under both "
        r"Gaussians, at every step.",
        linear(coarse_drift, "shift"),
        Control("tokens that share no direction", {"data": "gaussian"}),
        cite=SHIFTS,
    ),
    claim(
        "law-adam",
        "Adam, which keeps no balance, keeps the linear law of a distance",
        r"Under both Gaussians the slopes by $w^\top W_Q$ and $w^\top W_K$ are opposite numbers, and Adam answers opposite "
        r"slopes with opposite steps: $w^\top(W_Q + W_K)$ moves by rounding errors only, at every learning rate.",
        linear(coarse_drift.but(method=ADAM), "shift"),
        Control("Adam with weight decay, which pulls both rows to zero", {"method": DECAYED}),
    ),
)
