"""Automatic balancing of layers: how closely descent follows the flow, and the laws that the flow keeps.

This section holds the problem of the chapter, a layer that learns from a teacher, and its balances.
"""

from functools import partial

import sympy as sp
import torch

from attnflow import checks, door, flow, laws, runs
from attnflow.claims import Control, Experiment, Near, chapter_of, kinds
from attnflow.foundations import model, task, theory

BALANCE = ("du2018balanced", "arora2018optimization")
ADAM = flow.Optimiser(torch.optim.Adam)


def setting(
    seeds: tuple,
    device: torch.device,
    samples: int = 8,
    length: int = 4,
    common: bool = False,
    scale: float = 1.0,
    **settings,
) -> tuple:
    """A layer, its data and its initial weights, fresh for every seed.

    seeds, device: of the runs; samples, length, common: of the tokens; scale: of the weights; settings: of the layer.
    Returns (layer, inputs, targets, state).
    """
    layer = model.Layer(**settings)
    inputs = task.tokens(runs.streams(seeds, "data"), samples, length, layer.d, common)
    targets = task.teacher(runs.streams(seeds, "teacher"), layer, inputs)
    state = runs.to(model.init(runs.streams(seeds, "weights"), layer, scale), device)
    return layer, inputs.to(device), targets.to(device), state


def problem(seeds: tuple, device: torch.device, **settings) -> tuple[flow.fields.Field, runs.State]:
    """The gradient field of a setting and its initial weights. seeds, device, settings: of the :func:`setting`."""
    layer, inputs, targets, state = setting(seeds, device, **settings)
    return model.field(inputs, targets, layer), state


@door.takes(state=model.WEIGHTS)
def pairs(state: runs.State) -> dict:
    """The factors of the layer that meet in a product: name -> (A, B), of the weights or of the gradients in ``state``."""
    return {"query-key": (state["W_Q"], state["W_K"]), "value-output": (state["W_V"], state["W_O"].mT)}


@door.takes(state=model.WEIGHTS)
def balances(state: runs.State) -> runs.State:
    """Every law of the layer, and the two terms of one of them, at a ``state``. Returns name -> (S, ...)."""
    return {name: laws.imbalance(*pair) for name, pair in pairs(state).items()} | {
        "neuron": laws.neuron_imbalance(state["W_V"], state["W_O"]),
        "shift": state["W_K"][:, -1],
        "query alone": state["W_Q"].mT @ state["W_Q"],
        "key alone": state["W_K"].mT @ state["W_K"],
    }


descent_order = Experiment(checks.order, {"problem": problem, "steps": (0.01, 0.005, 0.0025, 0.00125)})
law_drift = Experiment(checks.drift, {"problem": problem, "balances": balances, "records": 21})
ORDER = Near(abs=0.01)  # what the next order of the step leaves
one_step = Experiment(checks.one_step, {"problem": problem, "pairs": pairs})

claim = chapter_of("foundations", cite=("kunin2021neural", "marcotte2023abide"))
known = partial(claim, provenance="derived here from a known theorem")

CLAIMS = (
    claim(
        "descent-order",
        "Descent follows the flow to first order",
        r"At a fixed time the distance of descent to the flow is $C\eta + O(\eta^2)$: observed order 1.",
        kinds.order(descent_order, 1.0, within=0.001),
        Control("Adam with the same steps", {"method": ADAM}),
        provenance="textbook",
        cite=("hairer1993solving",),
    ),
    claim(
        "heun-order",
        "Heun follows the flow to second order",
        r"Averaging the slopes at both ends of a step leaves an error $C h^2 + O(h^3)$: observed order 2.",
        kinds.order(descent_order.but(method=flow.Heun()), 2.0, within=0.01),
        Control("the second slope left out", {"method": flow.Descent()}),
        provenance="textbook",
        cite=("hairer1993solving",),
    ),
    claim(
        "proof-product",
        "Two factors that meet in a product are balanced",
        r"$\frac{d}{dt}(A^\top A - B^\top B) = 0$ along the flow of any loss that sees only $AB^\top$.",
        kinds.proof(theory.product_law_holds),
        Control("the sum $A^\\top A + B^\\top B$", {"sign": 1}),
        provenance="paper (Arora, Cohen, Hazan 2018; Du, Hu, Lee 2018), re-derived here",
        cite=BALANCE,
    ),
    claim(
        "proof-shift",
        "Softmax does not see a common shift of its logits",
        r"If $Xw = 1$ on all tokens, $w^\top W_K$ is constant along the flow, and along descent at any step.",
        kinds.proof(theory.shift_law_holds),
        Control("attention weights that are not normalised", {"normalised": False}),
    ),
    claim(
        "proof-neuron",
        "A ReLU neuron is balanced",
        r"$\frac{d}{dt}(\|v\|^2 - o^2) = -2g\,o\,(z\phi'(z) - \phi(z))$, which vanishes for every ReLU neuron.",
        kinds.proof(theory.neuron_law_holds, activation=partial(sp.Max, 0)),
        Control("tanh in place of ReLU", {"activation": sp.tanh}),
        provenance="paper (Du, Hu, Lee 2018), re-derived here",
        cite=("du2018balanced",),
    ),
    known(
        "law-query-key",
        "The query-key balance is kept",
        r"$W_Q^\top W_Q - W_K^\top W_K$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        kinds.law(law_drift, "query-key", holds=ORDER),
        Control("a skip path that uses $W_K$ again", {"skip": True}),
    ),
    known(
        "law-value-output",
        "The value-output balance is kept",
        r"$W_V^\top W_V - W_O W_O^\top$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        kinds.law(law_drift, "value-output", holds=ORDER),
        Control("a ReLU between the two factors", {"activation": "relu"}),
    ),
    known(
        "law-neuron",
        "Behind a ReLU only the diagonal is kept",
        r"With a ReLU between them, $\delta_j = \|v_j\|^2 - \|o_j\|^2$ of every neuron drifts by $O(\eta)$: order 1 in the step."
        + kinds.SWITCHING,
        kinds.law(law_drift.but(activation="relu"), "neuron", quota=(9, 10)),
        Control("tanh in place of ReLU", {"activation": "tanh"}),
        cite=("du2018balanced", "marcotte2023abide"),
    ),
    claim(
        "rotation",
        "A rotation gives no law",
        r"Gaussian attention is left invariant by joint rotations of $W_Q, W_K$, not by scalings: its query-key "
        r"balance moves by the same amount at every step, order 0.",
        kinds.law(law_drift.but(kernel="gaussian"), "query-key", holds=Near(abs=0.05), predict=0.0, kind="order"),
        Control("softmax attention, which scalings leave invariant too", {"kernel": "softmax"}),
        cite=("song2024kernels",),
    ),
    claim(
        "law-shift",
        "The linear law of softmax has no drift at all",
        r"With a common feature, $w^\top W_K$ moves by rounding errors only, at every step size.",
        kinds.conserved(law_drift.but(common=True), "shift"),
        Control("tokens without a common feature", {"common": False}),
    ),
    claim(
        "one-step",
        "One step of descent, exactly",
        r"$\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$ at every step, here $\eta = 0.1$.",
        kinds.one_step(one_step, "query-key", "value-output"),
        Control("momentum 0.9", {"method": flow.Momentum(0.9)}),
        cite=BALANCE,
    ),
)
