"""Chapter 3, automatic balancing: the laws of the encoder, proved, counted and measured, and two trainings that are one."""

from functools import lru_cache, partial
from operator import itemgetter

import torch

from attnflow import Below, Control, Experiment, Momentum, Trial, checks, door, flow, kinds, laws, runs
from attnflow.encoder import kernel, model, theory
from attnflow.encoder.setting import claim, drawn, lecun_rates, problem

RATES = {"W_O": 3.0, "W_V": 0.5, "W_Q": 2.0}


@door.takes(state=model.STATE, rates=model.POSITIVE_RATES)
def balances(state, rates=None):
    r"""Every law of the encoder at a ``state``, and terms that it balances: name -> (S, ...).

    rates: name -> $\eta_A$; where there are any, the same without them comes too, as ``NAME, plain``.
    """
    bare = {name: value / (rates or {}).get(name, 1.0) ** 0.5 for name, value in state.items()}
    bare["W_K"] = bare["W_K"].mT
    known = {law: (bare[one], bare[two]) for law, (one, two) in theory.FACTORS.items() if {one, two} <= set(bare)}
    plain = {f"{law}, plain": value for law, value in balances(state).items()} if rates else {}
    return plain | {
        law: laws.neuron_imbalance(one, two) if law in theory.THROUGH_RELU else laws.imbalance(one, two.mT)
        for law, (one, two) in known.items()
    }


@door.takes(state={"W_Q": "S d k", "W_K": "S d k"})
def pairs(state):
    """The two factors of a ``state`` that meet in a product: name -> (A, B)."""
    return {"query-key": (state["W_Q"], state["W_K"])}


@door.takes(d=door.COUNT, width=door.COUNT, hidden=door.FLAG)
def known_laws(d, width, hidden=False):
    r"""Number of known laws: of $W_Q, W_K$, (d, width) each, one a neuron, and of $W_V, W_H$ with a ``hidden`` matrix."""
    return laws.product_laws(2 * d, width) + width + (laws.product_laws(d + width, width) if hidden else 0)


@door.takes(
    d=door.COUNT, width=door.COUNT, length=door.COUNT, hidden=door.FLAG, activation=door.FUNCTION, seed=door.INDEX
)
@lru_cache  # the page shows the numbers that the claims ask for
def most_laws(d=2, width=2, length=2, hidden=False, activation=torch.relu, seed=0):
    """The bound from above, by Lie brackets, on the number of laws that hold for every loss and every data set.

    d, width, hidden: of the net; length: L; activation: in place of ReLU; seed: of the random points. Returns a number.
    """
    net = model.Encoder(d=d, width=width, hidden=hidden)
    (generator,) = runs.streams([seed], "points")
    shapes = {name: value.shape[1:] for name, value in model.init([generator], net).items()}

    def output(weights, tokens):
        entering = model.inside({name: value[None] for name, value in weights.items()}, tokens[None, None], net)[-1]
        return (activation(entering).mean(dim=1) @ weights["W_O"])[0, 0]

    return laws.count(output, shapes, lambda source: runs.normal([source], length, d)[0], generator)["laws"]


def equivalence(seeds, device, steps=200, block_rates=True, **settings):
    r"""LeCun initialisation on X against NTK initialisation on $X/\sqrt d$ with block learning rates.

    Both nets use the same draws. Rates: $\eta k$ for $W_O$ and $\eta d$ for the others; without ``block_rates`` all are
    $\eta$. seeds, device, settings: of the problem. Returns ``gap``, the largest difference of the losses over all ``steps``,
    over the first loss, (S,).
    """
    net, inputs, labels, start = drawn(seeds, device, init="lecun", **settings)
    other = problem(seeds, device, lecun_rates(net) if block_rates else None, init="ntk", **settings)
    step = 0.5 / kernel.largest(kernel.empirical(start, inputs, net))
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device=device)[:, None]
    first, second = (
        flow.integrate(field, begin, step=step, times=times).loss
        for field, begin in ((model.field(inputs, labels, net), start), other)
    )
    return {"gap": ((first - second).abs() / first[0]).amax(dim=0)}


SMALL = {"problem": problem, "d": 6, "width": 8}
law_drift = Experiment(checks.drift, SMALL | {"balances": balances, "steps": (0.002, 0.001, 0.0005), "time": 0.25})
hidden_drift = law_drift.but(hidden=True)
rated_drift = law_drift.but(rates=RATES, balances=partial(balances, rates=RATES))
one_step = Experiment(checks.one_step, SMALL | {"pairs": pairs, "step": 0.05, "steps": 30})
same_losses = Experiment(equivalence, {"d": 12, "width": 50})

LAWS, COUNT = ("du2018balanced", "marcotte2025transformative"), ("marcotte2023abide",)
law = partial(kinds.law, quota=(9, 10))
CLAIMS = (
    claim(
        "proof-neuron",
        "Each neuron is balanced with its output weight",
        r"$|v_j|^2 - o_j^2$ is constant along the flow, for any attention, pooling and residual.",
        kinds.proof(partial(theory.law_holds, "neuron")),
        Control("an activation that is not homogeneous", {"homogeneous": False}),
        cite=LAWS,
    ),
    claim(
        "proof-query-key",
        "Queries and keys are balanced",
        r"$W_Q^\top W_Q - W_K^\top W_K$ is constant along the flow.",
        kinds.proof(partial(theory.law_holds, "query-key"), rescaled=False),
        Control(
            "different learning rates",
            {"block_rates": True},
        ),
        cite=LAWS,
    ),
    claim(
        "proof-hidden",
        "A trained hidden matrix moves the law one layer up",
        r"With $W_H$ trained, $W_V^\top W_V - W_H W_H^\top$ and, for each column of $W_H$, its squared norm less $o_j^2$ are "
        "constant.",
        kinds.proof(partial(theory.law_holds, "value-hidden", "hidden-output"), hidden=True),
        Control("an activation that is not homogeneous", {"homogeneous": False}),
        cite=LAWS,
    ),
    claim(
        "proof-rates",
        "With block learning rates the rescaled balance is kept",
        r"With learning rates $\eta_A$ a block, $|v_j|^2/\eta_V - o_j^2/\eta_O$ is constant.",
        kinds.proof(partial(theory.law_holds, "neuron"), block_rates=True),
        Control(
            "the balance that is not rescaled",
            {"rescaled": False},
        ),
        cite=LAWS,
    ),
    claim(
        "law-neuron",
        "The neuron balance drifts at first order",
        r"$|v_j|^2 - o_j^2$ drifts by $O(\eta)$ along descent: order 1 in the step." + kinds.SWITCHING,
        law(law_drift, "neuron"),
        Control("the same balance where $W_H$ is trained too", {"hidden": True}),
        cite=LAWS,
    ),
    claim(
        "law-query-key",
        "The query-key balance of the encoder drifts at first order",
        r"$W_Q^\top W_Q - W_K^\top W_K$ drifts by $O(\eta)$ along descent: order 1 in the step." + kinds.SWITCHING,
        law(law_drift, "query-key"),
        Control("twice the learning rate for $W_Q$", {"rates": {"W_Q": 2.0}}),
        cite=LAWS,
    ),
    claim(
        "law-hidden",
        "Both balances of the hidden matrix drift at first order",
        r"$W_V^\top W_V - W_H W_H^\top$ and the neuron balance of $W_H, W_O$ drift by $O(\eta)$: order 1 in the step."
        + kinds.SWITCHING,
        law(hidden_drift, "value-hidden", "hidden-output"),
        Control("twice the learning rate for $W_H$", {"rates": {"W_H": 2.0}}),
        cite=LAWS,
    ),
    claim(
        "law-rates",
        "The rescaled balances drift at first order",
        r"With block learning rates, $|v_j|^2/\eta_V - o_j^2/\eta_O$ and its query-key twin drift by $O(\eta)$."
        + kinds.SWITCHING,
        law(rated_drift, "neuron", "query-key"),
        Control("equal learning rates, which the rescaling does not fit", {"rates": {}}),
        cite=LAWS,
    ),
    claim(
        "one-step",
        "One step of descent on the encoder, exactly",
        r"$\Delta(W_Q^\top W_Q - W_K^\top W_K) = \eta^2(G_Q^\top G_Q - G_K^\top G_K)$ at every step.",
        kinds.one_step(one_step, "query-key"),
        Control("momentum 0.9", {"method": Momentum(0.9)}),
        cite=LAWS,
    ),
    claim(
        "count",
        "The encoder has no other laws",
        r"With $d = k = L = 2$ it has at most the 3 laws of $W_Q, W_K$ and the one of each neuron.",
        kinds.count(most_laws, known_laws(2, 2)),
        Control("tanh in place of ReLU", {"activation": torch.tanh}),
        cite=COUNT,
    ),
    claim(
        "count-hidden",
        "With a trained hidden matrix too",
        r"With $W_H$ trained and $d = k = L = 2$: at most 3 laws of $W_Q, W_K$, 3 of $W_V, W_H$ and one a neuron.",
        kinds.count(most_laws, known_laws(2, 2, hidden=True), hidden=True),
        Control("tanh in place of ReLU", {"activation": torch.tanh}),
        cite=COUNT,
    ),
    claim(
        "equivalence",
        "LeCun is NTK with block learning rates",
        r"LeCun on $X$ and NTK on $X/\sqrt d$ with rates $\eta k$ for $W_O$, $\eta d$ for the others have equal losses at "
        "every step; the largest difference over the first loss.",
        Trial(same_losses, itemgetter("gap"), Below(1e-10)),
        Control("equal learning rates", {"block_rates": False}),
    ),
)
