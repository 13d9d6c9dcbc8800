r"""Automatic balancing under weight decay: every balance of a particle decays at exactly $2\lambda$, unless it is no balance."""

from functools import lru_cache, partial

import sympy as sp
import torch

from attnflow import Control, Experiment, Momentum, Near, checks, door, flow, kinds, laws, runs
from attnflow.meanfield import model, nets, theory, variation
from attnflow.meanfield.setting import claim, problem

SOURCES = ("kobayashi2024weight", "marcotte2025transformative")
HOMOGENEOUS = {"activation": "relu"}
BALANCED = ("query-key", "value-output")  # in the heads, whatever the activation
BALANCES = (*BALANCED, "neuron")


@door.takes(state=nets.BOTH)
def balances(state: runs.State) -> runs.State:
    r"""The balances of every particle of a ``state``: of heads, name -> (S, J, m, k, k), and of neurons, (S, J, m).

    They are a quadratic form, of the weights or, the same, of their slopes.
    """
    return {
        "query-key": laws.imbalance(state["W_Q"], state["W_K"]),
        "value-output": laws.imbalance(state["W_V"], state["W_O"].mT),
        "neuron": state["w_1"].square().sum(dim=3) + state["b"].square() - state["w_2"].square().sum(dim=3),
    }


def exact_step(
    seeds: tuple,
    device: torch.device,
    decay: float = 0.3,
    step: float = 0.1,
    steps: int = 30,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""Residual of $D_+ = (1 - \eta\lambda)^2D + \eta^2D(g)$, the largest over some steps of descent.

    $g = Jm\,\partial\mathcal L$ is the slope without decay. decay: $\lambda$; step: $\eta$, taken ``steps`` times by the
    ``method``, descent where none is given; seeds, device, settings: of the problem. Returns name -> (S,), over the largest
    $|\theta|^2$ of a particle.
    """
    field, start = problem(seeds, device, decay, **settings)
    risk = problem(seeds, device, 0.0, **settings)[0]
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device="cpu")
    path = flow.integrate(field, start, step=step, times=times, method=method, observe=dict).values
    worst = {}
    for place in range(len(path["W_Q"]) - 1):
        before, after = ({name: value[at] for name, value in path.items()} for at in (place, place + 1))
        size = torch.stack([variation.squares(before, part).flatten(1).amax(dim=1) for part in model.PARTS]).amax(dim=0)
        three = zip(balances(before).items(), balances(after).values(), balances(risk(before)[1]).values(), strict=True)
        for (name, old), new, forced in three:
            gap = (new - (1 - step * decay) ** 2 * old - step**2 * forced).abs().flatten(1).amax(dim=1) / size
            worst[name] = torch.maximum(worst.get(name, gap), gap)
    return worst


@door.takes(
    activation=door.choice(*nets.ACTIVATIONS),
    d=door.COUNT,
    k=door.COUNT,
    depth=door.COUNT,
    length=door.COUNT,
    seed=door.INDEX,
)
@lru_cache  # the page shows the number that the claim asks for
def counted(activation: str = "relu", d: int = 2, k: int = 1, depth: int = 2, length: int = 2, seed: int = 0) -> dict:
    """What :func:`attnflow.laws.count` says of a net of one head and one neuron a block, without decay.

    activation: of the neurons; d, k, depth: sizes; length: L; seed: of the random weights. Returns the bound ``laws`` on how many
    laws hold for any loss of the output and any data, ranks, whether they are ``closed``, and the ``gap``.
    """
    net = model.Net(d=d, k=k, depth=depth, m=1, activation=activation, slot=0)

    def output(weights, tokens):
        state = {name: value[None] for name, value in weights.items()}
        return model.outputs(state, tokens.reshape(1, 1, length, d), net)[0, 0]

    (generator,) = runs.streams([seed], "points")
    return laws.count(output, net.shapes, lambda source: runs.normal([source], length * d)[0], generator, points=1)


@door.takes(d=door.COUNT, k=door.COUNT, depth=door.COUNT)
def known(d: int = 2, k: int = 1, depth: int = 2) -> int:
    """The laws of a net of one head and one ReLU neuron a block that are known: $J(k(k + 1) + 1) + d - 1$.

    d, k, depth: sizes. Two balance matrices of a head, one number of a neuron, and in the last block the d - 1 entries of $w_2$
    that the output does not see.
    """
    return depth * (2 * laws.product_laws(2 * d, k) + 1) + d - 1


def bound(**settings: object) -> int:
    """The bound on the number of laws. settings: of :func:`counted`."""
    return counted(**settings)["laws"]


# Now and then a run is so stiff that it shows its order at these steps only.
FINE = (0.005, 0.0025, 0.00125, 0.000625)
law_drift = Experiment(
    checks.drift, {"problem": problem, "balances": balances, "steps": FINE, "time": 1.0, "scale": 0.5}
)
step_run = Experiment(exact_step, HOMOGENEOUS)

CLAIMS = (
    claim(
        "proof-decay",
        "Both balances of a head decay at twice the decay",
        r"Under weight decay $\lambda$, $W_Q^\top W_Q - W_K^\top W_K$ and $W_V^\top W_V - W_OW_O^\top$ of a head obey "
        r"$\dot D = -2\lambda D$, entry by entry, whatever the tokens, the adjoint and the slope by the scores are: for "
        r"any loss and any other particles. At $\lambda = 0$ they are constant.",
        kinds.proof(theory.decay_holds, k=2),
        Control("twice the learning rate for $W_Q$", {"rates": {"W_Q": 2}}),
        provenance="derived here; a corollary of a known theorem",
        cite=SOURCES,
    ),
    claim(
        "proof-neuron",
        "What moves the balance of a neuron",
        r"Under weight decay $\lambda$ the balance $\delta = |w_1|^2 + b^2 - |w_2|^2$ of a neuron obeys "
        r"$\dot\delta = -2\lambda\delta - \frac2n\sum\langle p, w_2\rangle(z\phi'(z) - \phi(z))$ with "
        r"$z = \langle w_1, x\rangle + b$, where the sum is over samples and tokens x with their rows p of the adjoint.",
        kinds.proof(theory.neuron_law_holds, bias=True),
        Control("a balance without the bias", {"bias": False}),
        cite=("du2018balanced", *SOURCES),
    ),
    claim(
        "proof-homogeneous",
        "Only homogeneous neurons are balanced",
        r"The second term is absent for all data exactly where $z\phi'(z) = \phi(z)$, which sympy solves by "
        r"$\phi(z) = c_\pm z$ on the two sides of zero: ReLU is such an activation.",
        kinds.proof(theory.balanced, activation=partial(sp.Max, 0)),
        Control("tanh, which is not homogeneous", {"activation": sp.tanh}),
        cite=("du2018balanced",),
    ),
    claim(
        "proof-step",
        "One step of descent, identically in the step",
        r"With $g = Jm\,\partial\mathcal L$, descent $\theta_+ = (1 - \eta\lambda)\theta - \eta g$ makes of both balances of a "
        r"head $D_+ = (1 - \eta\lambda)^2D + \eta^2D(g)$, where $D(g)$ is the same form of the slopes, "
        r"$g_Q^\top g_Q - g_K^\top g_K$: the terms $\theta^\top g$ cancel.",
        kinds.proof(theory.recursion_holds, part="attention", inside=False),
        Control("slopes that contain the decay", {"inside": True}),
    ),
    claim(
        "one-step",
        "One step of descent, in the run",
        r"Along 30 steps of $\eta = 0.1$ with $\lambda = 0.3$ the balances of all heads and ReLU neurons obey that recursion: "
        r"the largest residual, over the largest $|\theta|^2$ of a particle.",
        kinds.one_step(step_run, *BALANCES),
        Control("momentum 0.9", {"method": Momentum(0.9)}),
    ),
    claim(
        "law",
        "Without weight decay the balances of the heads are kept",
        r"At $\lambda = 0$ both balances of all heads drift by $O(\eta)$ along descent: order 1 in the step, of the two the "
        r"order further from 1.",
        kinds.law(law_drift, *BALANCED, holds=Near(abs=0.001)),
        Control("weight decay 0.1", {"decay": 0.1}),
        provenance="derived here from a known theorem",
        cite=("du2018balanced", "marcotte2025transformative"),
    ),
    claim(
        "count",
        "These are all laws",
        r"Without decay a net of two blocks of one head and one ReLU neuron, d = 2 and k = 1, has at most "
        r"$J(k(k + 1) + 1) + d - 1$ laws that hold for every loss of its output and all data, as many as are known: two "
        r"balance matrices of a head, $\frac12k(k + 1)$ numbers each, one balance of a neuron, and the $d - 1$ entries of the "
        r"last $w_2$ that no output sees.",
        kinds.count(bound, known(), activation="relu"),
        Control("tanh neurons, whose balances are no laws", {"activation": "tanh"}),
        cite=("marcotte2023abide", "marcotte2025transformative"),
    ),
)
