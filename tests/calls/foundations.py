"""The room of chapter 1."""

from functools import partial

import sympy as sp

from attnflow import runs
from attnflow.foundations import cases
from attnflow.foundations.model import Layer
from calls import call, draws, normal

N, LENGTH, D, K, OUT = 3, 4, 5, 6, 7
LAYER = Layer(D, K, OUT)
SMALL = {"length": 2, "d": 3, "k": 1}
SIGN = "the law is the difference, which is what -1 asks for"
ZERO = "zero is a seed"


def scores():
    """The weights that attention reads."""
    return {"W_Q": normal(D, K), "W_K": normal(D, K, seed=2)}


def state():
    """Weights of the layer."""
    return scores() | {"W_V": normal(D, K, seed=4), "W_O": normal(K, OUT, seed=6)}


def run():
    """What the layer takes besides its state."""
    return {"inputs": normal(N, LENGTH, D, seed=8), "layer": LAYER}


def targets():
    """What the layer learns."""
    return {"targets": normal(N, LENGTH, OUT, seed=10)}


def streams():
    """Two generators."""
    return runs.streams([0, 1], "calls")


def head(**more):
    """A head whose laws are counted."""
    return {"d": 3, "k": 2, "o": 1, "length": 4} | more


CALLS = {
    "foundations.balancing.balances": call(lambda: {"state": state()}),
    "foundations.balancing.pairs": call(lambda: {"state": state()}),
    "foundations.breaking.relative": call(lambda: {"state": state()}),
    "foundations.cases.altered": call(lambda: head(change="biases")),
    "foundations.cases.attention": call(lambda: head(kernel="softmax", common=False)),
    "foundations.cases.balance_rank": call(lambda: {"sizes": (2, 3, 4), "biases": False}),
    "foundations.cases.network": call(lambda: {"sizes": (2, 3, 4), "gated": False, "biases": True}),
    "foundations.cases.neurons": call(lambda: {"d": 3, "width": 4, "activation": "relu"}),
    "foundations.cases.product": call(lambda: {"rows": 3, "columns": 4, "width": 2, "skip": False}),
    "foundations.cases.suite": call(lambda: {"seed": 1, "nets": 1}, fine={"seed 0": ZERO}),
    "foundations.cases.turned": call(lambda: {"rows": draws(3, 4)}),
    "foundations.counting.bound": call(lambda: {"build": partial(cases.product, 2, 1, 1)}),
    "foundations.counting.counted": call(
        lambda: {"build": partial(cases.product, 2, 1, 1), "title": "another", "broken": {"skip": True}},
        fine={"title unknown": "any text may be a title"},
    ),
    "foundations.counting.listed": call(),
    "foundations.counting.table": call(
        lambda: {"counts": [(cases.product(2, 1, 1), {"size": 3, "rank": 2, "rank_gradients": 2, "laws": 1})]}
    ),
    "foundations.model.attention": call(lambda: {"state": scores()} | run()),
    "foundations.model.field": call(lambda: run() | targets()),
    "foundations.model.forward": call(lambda: {"state": state()} | run()),
    "foundations.model.init": call(
        lambda: {"generators": streams(), "layer": LAYER, "scale": 1.0}, fine={"scale 0": "weights of zero"}
    ),
    "foundations.model.loss": call(lambda: {"state": state()} | run() | targets()),
    "foundations.solvable.reference_product": call(
        lambda: {"seeds": (1, 2), "start": 0.3, "target": 2.0, "time": 0.01}
    ),
    "foundations.solvable.split": call(
        lambda: {"product": 0.3, "imbalance": 1.5},
        fine={"product 0 -1": "the second factor is zero or negative", "imbalance 0 -1": "it has either sign"},
    ),
    "foundations.task.mean_task": call(
        lambda: {"generators": streams(), "samples": 6, "length": 4, "d": 5, "target": 2.0}
    ),
    "foundations.task.teacher": call(lambda: {"generators": streams()} | run()),
    "foundations.task.tokens": call(
        lambda: {"generators": streams(), "samples": N, "length": LENGTH, "d": D, "common": True}
    ),
    "foundations.theory.arrival_clock": call(
        lambda: {"balance": 0.5}, fine={"balance 0": "a balanced start has a clock of its own"}
    ),
    "foundations.theory.arrival_time": call(
        lambda: {"start": 0.1, "end": 0.4, "target": 1.5, "imbalance": 0.5},
        fine={
            "start 0 -1": "an unbalanced start may have a product of any sign",
            "imbalance 0 -1": "it has either sign",
        },
    ),
    "foundations.theory.balance_degree": call(),
    "foundations.theory.decay_flow_balance": call(lambda: {"k": 2}),
    "foundations.theory.invariant_curves": call(
        lambda: {"values": [0.5, -1.0, 2.0], "imbalances": [0.3, 1.0]},
        fine={"values -1": "a factor has either sign"},
    ),
    "foundations.theory.layer_gradient": call(lambda: SMALL | {"o": 4}),
    "foundations.theory.logistic": call(lambda: {"times": [0.0, 1.0], "start": 0.2, "target": 1.5}),
    "foundations.theory.logistic_expression": call(),
    "foundations.theory.neuron_law_holds": call(lambda: {"activation": partial(sp.Max, 0)}),
    "foundations.theory.product_flow": call(lambda: {"rows_left": 2, "rows_right": 3, "k": 4}),
    "foundations.theory.product_law_holds": call(lambda: {"sign": -1}, fine={"sign -1": SIGN}),
    "foundations.theory.sample_point": call(lambda: {"layer": Layer(4, 3, 2), "length": 5}),
    "foundations.theory.shift_law_holds": call(lambda: SMALL | {"normalised": True}),
}
