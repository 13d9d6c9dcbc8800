"""The ground floor: what knows no paper."""

import sympy as sp
import torch

from attnflow import flow, runs, vit
from calls import call, draws, normal, positive

A, B = sp.Matrix([sp.Symbol("a")]), sp.Matrix([sp.Symbol("b")])
FLOW = {A.as_immutable(): -B, B.as_immutable(): -A}
SEEDS = (3, 4)
ENDED = "records after the end of a run are NaN"
SIGN = "the logarithm of what is not positive is NaN, which no claim takes for a number"
FLOAT = "any floating type"
LESS = "a smaller state"
FREE = "any shape of its own"
NET = vit.Transformer(tokens=4, size=3, width=6, heads=2, depth=1, classes=5)


def pair(seed):
    """Two factors (2, 3, 5) and (2, 4, 5)."""
    return normal(3, 5, seed=seed), normal(4, 5, seed=seed + 1)


def bowl(state):
    """Half the sum of squares of all entries, a run each, and its slope."""
    return sum(value.square().flatten(1).sum(dim=1) for value in state.values()) / 2, dict(state)


def problem(seeds, device, spread=1.0):
    """A field and a start: two factors."""
    one, other = (spread * runs.normal(runs.streams(seeds, name), 3, 2).to(device) for name in ("A", "B"))
    return flow.autograd(lambda state: (state["A"] @ state["B"].mT).square().sum(dim=(1, 2))), {"A": one, "B": other}


def factors(state):
    """The pair of factors of the problem."""
    return {"law": (state["A"], state["B"])}


def start():
    """A state of two matrices."""
    return {"A": normal(3, 2), "B": normal(3, 2, seed=5)}


def times(count=3):
    """Record times of two runs: (count, 2)."""
    return torch.arange(1.0, count + 1, dtype=torch.float64)[:, None].repeat(1, 2)


def rising(count=3, runs_=2):
    """A curve that rises: (count, 2)."""
    return torch.linspace(-1.0, 1.0, count, dtype=torch.float64)[:, None].repeat(1, runs_)


def images():
    """Tokens (2, 7, 4, 3) and labels (2, 7) of ``NET``."""
    return normal(7, 4, 3), torch.arange(14).reshape(2, 7) % 5


def state_of_net():
    """Weights of ``NET``."""
    return vit.init(runs.streams(SEEDS, "weights"), NET)


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
    "attention.softmax_slope": call(
        lambda: {"weights": positive(4, 3), "slope": normal(4, 3), "dim": -1},
        fine={"dim -1 0": "any axis", "weights dtype": FLOAT, "slope dtype": FLOAT},
    ),
    "attention.entropy_deficit": call(lambda: {"weights": positive(4, 3)}, fine={"weights dtype": FLOAT}),
    "checks.drift": call(
        lambda: {
            "seeds": SEEDS,
            "device": "cpu",
            "problem": problem,
            "balances": dict,
            "steps": (0.1, 0.05),
            "time": 0.2,
            "records": 3,
            "method": flow.Heun(),
        },
    ),
    "checks.order": call(
        lambda: {
            "seeds": SEEDS,
            "device": "cpu",
            "problem": problem,
            "steps": (0.1, 0.05),
            "time": 0.2,
            "method": flow.Heun(),
        },
    ),
    "checks.one_step": call(
        lambda: {
            "seeds": SEEDS,
            "device": "cpu",
            "problem": problem,
            "pairs": factors,
            "step": 0.1,
            "steps": 2,
            "method": flow.Descent(),
        },
    ),
    "checks.steps_apart": call(
        lambda: {
            "field": bowl,
            "start": start(),
            "ends": {name: value[0] for name, value in start().items()},
            "step": 0.1,
            "steps": 2,
        },
        fine={"ends missing": "weights that were not trained may be left out"},
    ),
    "checks.stacked": call(lambda: {"rows": [{"a": normal(3)}, {"a": normal(3)}]}),
    "curves.order": call(
        lambda: {"steps": (0.2, 0.1), "errors": positive(3)}, fine={"errors nan inf": SIGN, "errors dtype": FLOAT}
    ),
    "curves.log_slope": call(
        lambda: {"places": (1.0, 10.0), "values": positive(3)},
        fine={"values nan inf": SIGN, "values dtype": FLOAT, "values axis": "any axes may follow"},
    ),
    "curves.power_crossing": call(
        lambda: {"places": (1.0, 10.0), "values": positive(3)},
        fine={"values nan inf": SIGN, "values dtype": FLOAT, "values axis": "any axes may follow"},
    ),
    "curves.window_slope": call(
        lambda: {"times": times(), "values": rising(), "inside": times() > 1},
        fine={
            "times nan inf broadcast": ENDED,
            "values nan inf broadcast": ENDED,
            "times dtype": FLOAT,
            "values dtype": FLOAT,
        },
    ),
    "curves.first_crossing": call(
        lambda: {"times": times()[:, 0], "values": rising(), "level": 0.5},
        fine={
            "values dtype": FLOAT,
            "times dtype": FLOAT,
            "level 0": "any level that is crossed",
            "values inf": "it has crossed",
        },
    ),
    "curves.last_crossing": call(
        lambda: {"times": times(), "values": rising()},
        fine={"times nan inf": ENDED, "values nan inf": ENDED, "times dtype": FLOAT, "values dtype": FLOAT},
    ),
    "curves.at": call(
        lambda: {"times": times(), "values": rising(), "when": torch.tensor([1.5, 2.5], dtype=torch.float64)},
        fine={
            "times nan inf": ENDED,
            "values nan inf": ENDED,
            "when nan inf": "a run that never came there",
            "times dtype": FLOAT,
            "values dtype": FLOAT,
            "when dtype": FLOAT,
        },
    ),
    "curves.final": call(lambda: {"values": rising()}, fine={"values nan inf": ENDED, "values dtype": FLOAT}),
    "curves.least": call(
        lambda: {"values": rising()},
        fine={"values nan inf": ENDED, "values dtype": FLOAT, "values axis": "any axes may follow"},
    ),
    "curves.most": call(
        lambda: {"values": rising()},
        fine={"values nan inf": ENDED, "values dtype": FLOAT, "values axis": "any axes may follow"},
    ),
    "data.digits": call(lambda: {"patch": 2}),
    "data.subsets": call(
        lambda: {"generators": runs.streams(SEEDS, "digits"), "count": 3, "test": 2, "patch": 4},
        fine={
            "test 0": "no test digits",
        },
    ),
    "flow.autograd": call(lambda: {"loss": lambda state: bowl(state)[0]}),
    "flow.in_blocks": call(lambda: {"fields": [bowl, bowl], "size": 1}),
    "flow.decayed": call(
        lambda: {"field": bowl, "rate": 0.1}, fine={"rate 0": "no decay", "rate -1": "weights that grow by themselves"}
    ),
    "flow.at_rates": call(
        lambda: {"field": bowl, "rates": {"A": 0.5, "B": 0.0}}, fine={"rates empty missing": "rate 1"}
    ),
    "flow.integrate": call(
        lambda: {
            "field": bowl,
            "start": start(),
            "step": 0.1,
            "times": [0.1, 0.2],
            "method": flow.Heun(),
            "observe": dict,
            "stop_loss": 1e-3,
            "max_steps": 10,
            "at_once": 5,
            "falls": True,
            "progress": "flow",
            "engine": "torch",
        },
        fine={
            "stop_loss 0": "no run stops",
            "progress unknown": "a label",
            "start missing": LESS,
            "start broadcast": FREE,
        },
    ),
    "flow.asked": call(lambda: {"engine": "torch"}),
    "flow.fields.with_parts": call(lambda: {"field": lambda state: bowl(state), "fields": [bowl], "size": 1}),
    "flow.with_kernel": call(lambda: {"field": lambda state: bowl(state), "kernel": lambda state: None}),
    "flow.log_times": call(lambda: {"first": 0.1, "last": 10.0, "count": 3}),
    "flow.nudged": call(lambda: {"size": 1e-9, "seed": 1}, fine={"seed 0": "a seed"}),
    "flow.reference": call(
        lambda: {"field": bowl, "start": start(), "times": [0.1, 0.2], "rtol": 1e-6, "atol": 1e-9},
        fine={"start missing": LESS, "atol 0": "scipy takes it", "start broadcast": FREE},
    ),
    "flow.advance.finite": call(
        lambda: {"state": start()},
        fine={"state nan inf dtype": "what it asks", "state missing": LESS, "state broadcast": FREE},
    ),
    "flow.advance.rise": call(
        lambda: {"loss": torch.ones(2, dtype=torch.float64)}, fine={"loss nan inf dtype": "its precision counts"}
    ),
    "flow.nudge.begun": call(lambda: {"state": start()}, fine={"state missing": LESS, "state broadcast": FREE}),
    "flow.record.choose": call(
        lambda: {"mask": torch.tensor([True, False]), "new": start(), "old": start()},
        fine={"new nan inf": ENDED, "old nan inf": ENDED, "new missing": LESS, "new broadcast": FREE},
    ),
    "flow.record.broadcast": call(
        lambda: {"per_run": torch.ones(2, dtype=torch.float64), "like": normal(3, 4)},
        fine={
            "per_run dtype": FLOAT,
            "per_run stack": "the other decides",
            "like nan inf dtype empty axis stack": "its number of axes counts",
        },
    ),
    "flow.record.closed": call(
        lambda: {
            "times": times(),
            "values": {"a": rising()},
            "end": torch.tensor([1.5, 3.0], dtype=torch.float64),
            "last": {"a": torch.ones(2, dtype=torch.float64)},
        },
        fine={"times nan inf": ENDED, "values nan inf": ENDED},
    ),
    "flow.steppers.move": call(
        lambda: {"state": start(), "slope": start(), "step": torch.full((2,), 0.1, dtype=torch.float64)},
        fine={"slope nan inf": "a step that is not finite ends the run"},
    ),
    "ntk.arc_cosine": call(lambda: {"left": normal(3, 5), "right": normal(4, 5)}),
    "ntk.features": call(lambda: {"values": normal(3, 5)}),
    "ntk.rank_one": call(lambda: {"inputs": normal(12, 5), "slopes": normal(12, 7), "samples": 3}),
    "ntk.factors": call(lambda: {"gradients": normal(3, 4, 5), "left": normal(4, 6), "right": normal(5, 6)}),
    "ntk.from_jacobian": call(
        lambda: {
            "output": lambda state, x: (state["A"] @ x).sum(),
            "state": {"A": normal(4, 5)},
            "inputs": normal(3, 5),
        },
    ),
    "ntk.linear_losses": call(
        lambda: {"kernel": normal(3, 3) @ normal(3, 3).mT, "residual": normal(3), "step": 0.1, "steps": 4},
    ),
    "ntk.distance": call(lambda: {"kernel": normal(3, 3), "reference": normal(3, 3, seed=4)}),
    "runs.state": call(
        lambda: {"given": start(), "shapes": None, "single": False},
        fine={"given missing": LESS, "given broadcast": FREE},
    ),
    "runs.device": call(lambda: {"name": "cpu"}),
    "runs.replicas": call(lambda: {"seeds": SEEDS, "copies": 3}),
    "runs.streams": call(lambda: {"seeds": SEEDS, "name": "weights"}, fine={"name unknown": "a new stream"}),
    "runs.generators": call(lambda: {"given": runs.streams(SEEDS, "weights")}),
    "runs.normal": call(
        lambda: {"streams": runs.streams(SEEDS, "weights"), "shape": (3, 4), "std": 2.0},
        fine={"shape empty": "a number a run", "std 0": "zeros"},
    ),
    "runs.to": call(
        lambda: {"tensors": start(), "where": "cpu"},
        fine={"tensors empty missing nan inf dtype void axis stack broadcast": "it moves what it is given"},
    ),
    "symbolic.matrix": call(lambda: {"name": "A", "rows": 2, "columns": 3}, fine={"name unknown": "a new name"}),
    "symbolic.gradient": call(lambda: {"expression": A[0] ** 2, "symbols": A}),
    "symbolic.softmax_slope": call(
        lambda: {"weights": sp.Matrix([[1, 2, 3]]), "slope": sp.Matrix([[4, 5, 6]])},
    ),
    "symbolic.evaluate": call(
        lambda: {"expressions": {"f": A * 2}, "symbols": {"A": A}, "values": {"A": torch.ones(1, 1)}},
        fine={"values dtype": FLOAT, "values axis": "as many numbers"},
    ),
    "symbolic.agree": call(
        lambda: {
            "expressions": {"A": 2 * A},
            "symbols": {"A": A},
            "loss": lambda point: point["A"].square().sum(),
            "draw": lambda source: {"A": torch.randn(1, 1, generator=source, dtype=torch.float64)},
            "intermediate": None,
            "points": 2,
            "seed": 3,
        },
        fine={"seed 0": "a seed"},
    ),
    "threads.held": call(lambda: {"count": 1}),
    "vit.init": call(lambda: {"generators": runs.streams(SEEDS, "weights"), "net": NET}),
    "vit.normalised": call(
        lambda: {"values": normal(3, 4)}, fine={"values dtype": FLOAT, "values axis": "any axes may lead"}
    ),
    "vit.through": call(lambda: {"tokens": normal(7, 4, 3), "weight": normal(3, 6)}),
    "vit.forward": call(
        lambda: {"state": state_of_net(), "inputs": images()[0], "net": NET, "seen": None},
    ),
    "vit.field": call(lambda: {"inputs": images()[0], "labels": images()[1], "net": NET}),
    "vit.accuracy": call(
        lambda: {"state": state_of_net(), "inputs": images()[0], "labels": images()[1], "net": NET},
    ),
    "vit.entropy_deficit": call(lambda: {"state": state_of_net(), "inputs": images()[0], "net": NET}),
}
CHECK = "a check: it says itself what was wrong, and the library names it"
ENGINE = "an engine is made by flow.integrate, which has checked everything: tests/test_engines.py"
REASONS = {
    "flow.compiled.*": ENGINE,
    "flow.compiling.*": ENGINE,
    "flow.graphs.*": ENGINE.replace("engines", "graphs"),
    "flow.engines.bound": ENGINE,
    "flow.engines.note": ENGINE,
    "cooccurrence.engine.*": ENGINE,
    "cooccurrence.full_engine.*": ENGINE,
    "encoder.engine.*": ENGINE,
    "encoder.kernel_engine.*": ENGINE,
    "flow.engines.compiled": ENGINE,
    "flow.blocked.*": ENGINE,
    "kernels.engine.*": ENGINE,
    "meanfield.engine.*": ENGINE,
    "meanfield.blocks_engine.*": ENGINE,
    "heads_engine.*": ENGINE,
    "runs.array": "it takes whatever numpy takes",
    "runs.check": CHECK,
    "runs.integer": CHECK,
    "runs.number": CHECK,
    "runs.choice": CHECK,
    "runs.names": CHECK,
    "runs.tensor": CHECK,
}
