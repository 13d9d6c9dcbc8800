"""The ground floor."""

import sympy as sp

from attnflow import runs
from calls import call, draws, normal

A, B = sp.Matrix([sp.Symbol("a")]), sp.Matrix([sp.Symbol("b")])
FLOW = {A.as_immutable(): -B, B.as_immutable(): -A}


def pair(seed):
    """Two factors (2, 3, 5) and (2, 4, 5)."""
    return normal(3, 5, seed=seed), normal(4, 5, seed=seed + 1)


CALLS = {
    "laws.imbalance": call(lambda: {"left": normal(3, 5), "right": normal(4, 5)}),
    "laws.neuron_imbalance": call(lambda: {"incoming": normal(3, 5), "outgoing": normal(5, 4)}),
    "laws.time_derivative": call(
        lambda: {"expression": A[0] ** 2 - B[0] ** 2, "velocity": dict(FLOW)},
        fine={"velocity missing": "a symbol without a velocity stands still"},
    ),
    "laws.is_law": call(
        lambda: {"expression": A[0] ** 2 - B[0] ** 2, "velocity": dict(FLOW)},
        fine={"velocity missing": "a symbol without a velocity stands still"},
    ),
    "laws.drift": call(
        lambda: {"values": normal(3, 4)},
        fine={
            "values nan inf": "records after the end of a run are NaN",
            "values axis": "any axes may follow the stack",
        },
    ),
    "laws.step_identity": call(lambda: {"before": pair(0), "after": pair(2), "before_gradient": pair(4), "step": 0.1}),
    "laws.count": call(
        lambda: {
            "output": lambda theta, x: (theta[:2] * theta[2:]) @ x,
            "size": 4,
            "sample": lambda source: runs.normal([source], 2)[0],
            "generator": runs.streams([0], "count")[0],
            "points": 1,
            "batch": 8,
            "deepest": 3,
            "tolerance": 1e-9,
        }
    ),
    "laws.numerical_rank": call(lambda: {"rows": draws(3, 4), "tolerance": 1e-9}),
    "laws.product_laws": call(lambda: {"rows": 8, "width": 3}),
}
