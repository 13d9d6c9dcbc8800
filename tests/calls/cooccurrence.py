"""The room of chapter 2."""

import numpy as np
import torch

from attnflow import runs
from attnflow.cooccurrence import balance, model, reduced, task
from calls import call, draws, normal, positive

ASKED = task.Task(12, 4)  # with 3 + 26 words
D, K, O = ASKED.size, 5, 7  # noqa: E741, the letters of the docstrings
RECORDS = 3
ENDED = "records after the end of a run are NaN"
ZERO = "zero is a seed"
ANY = "the closed form is a function of a real number"
LIMIT = {"samples inf": "the limit of many samples", "samples dtype": ANY}
FIGURE = "a figure: it draws the records of runs or a stored sweep"


def streams():
    """Two generators."""
    return runs.streams([0, 1], "calls")


def data():
    """Two data sets of twelve samples of four words."""
    tokens, labels = task.draw(streams(), ASKED)
    return {"tokens": tokens, "labels": labels}


def tokens():
    """The words alone."""
    return {"tokens": data()["tokens"]}


def scores():
    """Queries, keys and values."""
    return {name: normal(D, K, seed=place) for place, name in enumerate(("W_Q", "W_K", "W_V"))}


def full():
    """A full state."""
    return scores() | {"signs": normal(O).sign(), "W_O": normal(K, O, seed=9)}


def short():
    """A reduced state."""
    return scores() | {"readout": normal(K, seed=9)}


def records(*shape, seed=0):
    """What two runs record: (3, 2, *shape), increasing."""
    return positive(RECORDS, *shape, seed=seed).movedim(0, 1).cumsum(dim=0)


def run(**more):
    """A run with its clock and whatever else is read, of which what may be NaN comes last."""
    return more | {"tau": records(seed=50), "tau_1": records(seed=50)[1] - 0.1}


def asked(**more):
    """A run with its task and whatever else is read."""
    return {"task": ASKED} | more


def drawn(**more):
    """A run with its data."""
    return asked(classes=ASKED.classes, **data(), **more)


def followed(**more):
    """A run that the reduced flow can follow."""
    return asked(neurons=O, width=K, inner=0.1, readout=1 + records(seed=3), tau=records(seed=50), **more)


def sizes(**more):
    """Of a small model in symbols."""
    return {"d": 3, "k": 2, "o": 1} | more


def ended(make, **fine):
    """A row of a reading of records, which are NaN where a run has ended."""
    return call(make, {"run nan inf": ENDED} | fine)


def prediction(**more):
    """A row of a prediction for a run's task."""
    return call(lambda: {"run": asked()} | more)


def sums():
    """A solution of the reduced flow."""
    return {"tau": np.array([0.0, 1.0, 2.0]), "gamma": draws(3, 7).numpy(), "sums": positive(3, 4)[0].numpy()}


CALLS = {
    "cooccurrence.balance.class_margins": call(
        lambda: {"samples": 60, "length": 5, "second": 0.7, "fourth": 0.1},
        {
            "second 0": "no class but the first pulls",
            "fourth 0": "class 4 is idle",
            "samples dtype": ANY,
            "length dtype": ANY,
        },
    ),
    "cooccurrence.balance.edge": call(),
    "cooccurrence.balance.exact": call(lambda: {"samples": 60, "length": 5, "active": True}, LIMIT),
    "cooccurrence.balance.fixed_ratio": call(lambda: {"samples": 60, "length": 5}, LIMIT),
    "cooccurrence.balance.lengths_at": call(
        lambda: {"zero": balance.lower_end() - balance.SAMPLES, "samples": [12.0, 18.0]}
    ),
    "cooccurrence.balance.limit": call(lambda: {"active": True}),
    "cooccurrence.balance.lower_end": call(lambda: {"active": True}),
    "cooccurrence.balance.predicted": call(lambda: {"samples": 60, "length": 5, "active": False}, LIMIT),
    "cooccurrence.balance.range_holds": call(lambda: {"bounded": True}),
    "cooccurrence.balance.ratio": call(
        lambda: {"first": 7.0, "second": 5.0, "third": 4.0, "fourth": 1.0},
        {f"{name} 0": "a sum may vanish" for name in ("first", "second", "third", "fourth")},
    ),
    "cooccurrence.balance.ratio_flow": call(),
    "cooccurrence.balancing.balances": call(lambda: {"state": full()}),
    "cooccurrence.balancing.counted": call(lambda: {"one_hot": True}),
    "cooccurrence.balancing.pairs": call(
        lambda: {"tensors": {name: each for name, each in full().items() if name != "signs"}}
    ),
    "cooccurrence.balancing.proved": call(lambda: {"normalised": True}),
    "cooccurrence.dual.separate": call(
        lambda: {"features": [[1.0, 0.0, 2.0], [0.0, 2.0, 1.0]], "labels": [1, -1]},
        {"labels -1": "that is the label which stands there"},
    ),
    "cooccurrence.model.address": call(lambda: tokens() | {"words": D}),
    "cooccurrence.model.field": call(
        lambda: data() | {"words": D, "neurons": O}, fine={"labels dtype": "for states in single precision"}
    ),
    "cooccurrence.model.row_sums": call(
        lambda: {"rows": 2 * D, "flat": model.address(data()["tokens"], D), "sort": True},
    ),
    "cooccurrence.model.forward": call(lambda: {"state": full()} | tokens()),
    "cooccurrence.model.init": call(
        lambda: (
            {"generators": streams(), "words": 9, "width": 5, "neurons": 7, "inner": 0.3, "outer": 0.7}
            | {"law": "uniform"}
        ),
        {"inner 0": "weights of zero"},
    ),
    "cooccurrence.model.look": call(
        lambda: {"state": short(), "flat": model.address(data()["tokens"], D), "shape": (2, 12, 4)}
    ),
    "cooccurrence.model.pace": call(lambda: tokens() | {"words": D, "neurons": O}),
    "cooccurrence.model.readout": call(lambda: {"state": {"signs": full()["signs"], "W_O": full()["W_O"]}}),
    "cooccurrence.model.reduce": call(lambda: {"state": full()}),
    "cooccurrence.model.token_scores": call(lambda: {"state": {name: short()[name] for name in ("W_V", "readout")}}),
    "cooccurrence.phases.fall": ended(
        lambda: {"run": {"tau": 1 + records(), "loss": 1 / (1 + records(seed=2))}, "high": 0.9, "low": 1e-4}
    ),
    "cooccurrence.phases.increments": ended(
        lambda: {
            "run": run(watched=records(4)),
            "name": "watched",
            "directions": torch.tensor([1.0, -1, 1, -1], dtype=runs.DTYPE),
        }
    ),
    "cooccurrence.phases.least_sum": prediction(),
    "cooccurrence.phases.ode_gap": ended(lambda: {"run": followed(loss=records())}),
    "cooccurrence.phases.rise": ended(lambda: {"run": run(class_loss=records(4))}),
    "cooccurrence.phases.separation": ended(lambda: {"run": run(gamma=records(3), watched=records(4, seed=2))}),
    "cooccurrence.phases.share": ended(lambda: {"run": run(gamma=records(3)), "name": "gamma"}),
    "cooccurrence.phases.token_sums": ended(lambda: {"run": {"gamma": records(3)}}),
    "cooccurrence.phases.wrong": call(lambda: {"run": {"accuracy": positive(1)[:, 0]}}),
    "cooccurrence.ratio.closed_form_gap": call(lambda: {"active": True}),
    "cooccurrence.ratio.closed_ratio": prediction(),
    "cooccurrence.ratio.closed_sums": call(lambda: {"samples": 60, "length": 5, "active": False}, LIMIT),
    "cooccurrence.ratio.data": call(lambda: {"run": drawn(), "name": "rho"}),
    "cooccurrence.ratio.dual_correlation": ended(lambda: {"run": drawn(margins=records(12))}),
    "cooccurrence.ratio.dual_sums": call(lambda: {"samples": 12, "length": 4, "seed": 1}, {"seed 0": ZERO}),
    "cooccurrence.ratio.edge_gap": call(lambda: {"active": True}),
    "cooccurrence.ratio.limit_gap": ended(lambda: {"run": asked(shares=records(4))}),
    "cooccurrence.ratio.range_room": ended(lambda: {"run": run(rho=records(seed=2))}),
    "cooccurrence.ratio.sample_shares": ended(lambda: {"run": drawn(margins=records(12))}),
    "cooccurrence.ratio.singles_apart": ended(lambda: {"run": run(singles=records(seed=2))}),
    "cooccurrence.ratio.uncorrelated": ended(lambda: {"run": drawn(margins=records(12))}),
    "cooccurrence.reduced.attention_drive": call(
        lambda: {
            "solution": sums(),
            "flow": reduced.Reduced(12, 5),
            "width": 6,
            "inner": 0.1,
            "readout": 2.0,
        },
        {"inner 0": "queries and keys of zero are not driven"},
    ),
    "cooccurrence.reduced.flow_of": prediction(),
    "cooccurrence.reduced.follow": ended(lambda: {"run": followed()}),
    "cooccurrence.reduced.foreseen": call(lambda: {"read": len}),
    "cooccurrence.reduced.landmark": prediction(name="tau"),
    "cooccurrence.reduced.second_loss_rise": prediction(),
    "cooccurrence.setting.class_means": call(
        lambda: {"values": records(6), "classes": torch.tensor([0, 1, 2, 3, 0, 1])},
        {"values nan inf": ENDED, "values axis": "any axes may lead"},
    ),
    "cooccurrence.setting.later": call(
        lambda: {"run": run(), "values": records(seed=2)}, {"run nan inf": ENDED, "values nan inf": ENDED}
    ),
    "cooccurrence.setting.observer": call(lambda: data() | {"words": D}),
    "cooccurrence.setting.steps_to": call(lambda: {"last": 40, "count": 5}),
    "cooccurrence.setting.watched": call(
        lambda: {"scores": normal(3, 3)}, {"scores nan inf": ENDED, "scores axis": "any axes may lead"}
    ),
    "cooccurrence.sweeps.paper_scores": ended(lambda: {"run": {"watched": records(4)}}),
    "cooccurrence.task.checked": call(lambda: tokens() | {"words": D}),
    "cooccurrence.task.counts": call(lambda: tokens() | {"words": D}),
    "cooccurrence.task.draw": call(lambda: {"generators": streams(), "task": ASKED}),
    "cooccurrence.task.fresh": call(lambda: {"generators": streams(), "task": ASKED, "samples": 18}),
    "cooccurrence.theory.agreement": call(
        lambda: sizes(points=1, complete=True, length=1, d=2, k=1, seed=1), {"seed 0": ZERO}
    ),
    "cooccurrence.theory.attention": call(
        lambda: {"weights": {"W_Q": draws(4, 3), "W_K": draws(4, 3, seed=2)}, "tokens": draws(5, 4)}
    ),
    "cooccurrence.theory.count": call(lambda: sizes(length=3, d=2, k=1, one_hot=True, seed=1), {"seed 0": ZERO}),
    "cooccurrence.theory.gradient": call(lambda: sizes(length=4, complete=True)),
    "cooccurrence.theory.known_laws": call(lambda: sizes(one_hot=False)),
    "cooccurrence.theory.output": call(
        lambda: {
            "weights": {name: draws(4, 3) for name in ("W_Q", "W_K", "W_V")} | {"W_O": draws(3, 2)},
            "tokens": draws(5, 4),
            "signs": draws(2).sign(),
        }
    ),
    "cooccurrence.theory.proved": call(
        lambda: {"d": 2, "k": 1, "signs": (1, -1, 1), "normalised": True}, {"signs -1": "a sign of -1"}
    ),
}
REASONS = {f"cooccurrence.maps.{name}_figure": FIGURE for name in ("attention", "diagram", "paper", "stops")}
