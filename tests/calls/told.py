"""The ground floor: what claims are made of and shown with, pictures, rooms and provenance."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from attnflow import claims, plot, sweep
from attnflow.claims.stored import write_run
from calls import call, normal
from calls.ground import SEEDS, rising, times


def row():
    """A claim that was run."""
    return claims.evaluate(CLAIM, (3,))


def axes():
    """Axes to draw on."""
    return plot.figure()[1]


def numbers(seeds, device):
    """A record with as many numbers as seeds."""
    return {"a": torch.tensor(seeds, dtype=torch.float64), "widths": (1, 2)}


def square(device, x):
    """A task of a sweep."""
    return {"a": np.array([x**2])}


def new(name):
    """A path of that name in a new folder."""
    return str(Path(tempfile.mkdtemp()) / name)


def run_file():
    """The file of a run of one claim."""
    path = new("run.json")
    write_run(path, {"seeds": "3:4"}, [row()], True)
    return path


TABLE = sweep.Sweep("squares", "squares", square, {"x": (1, 2)})
EXPERIMENT = claims.Experiment(numbers)
CLAIM = claims.chapter_of("own")(
    "one",
    "One",
    "a number is large",
    claims.Trial(EXPERIMENT, lambda record: record["a"], claims.Above(1.0), predict=2.0),
    claims.Control("far", holds=claims.Above(100.0)),
)
NAN = "a reading may be NaN or infinite"
LABEL = "any text may be written"
PLACE = "any number may be drawn"
DRAWN = "what is not finite leaves a gap"
STAMPED = "a text that is no name of a module imports nothing"
COLOURS = {"colour": "blue", "label": "one"}

CALLS = {
    "claims.chapter_of": call(lambda: {"chapter": "own", "cite": ()}, fine={"chapter unknown": "a new chapter"}),
    "claims.evaluate": call(lambda: {"claim": CLAIM, "seeds": SEEDS, "device": "cpu"}),
    "claims.evaluate_all": call(
        lambda: {"claims": [CLAIM], "seeds": SEEDS, "device": "cpu", "more": (7,)},
        fine={"claims empty": "no claim, no row", "more empty": "no further seeds"},
    ),
    "claims.enough": call(lambda: {"good": np.array([True, False]), "quota": (1, 10)}),
    "claims.show": call(lambda: {"value": 0.5}, fine={"value nan inf 0 -1": NAN}),
    "claims.table": call(lambda: {"rows": [row()]}, fine={"rows empty": "no claim, no row"}),
    "claims.box.picture": call(lambda: {"row": row()}),
    "claims.box.box": call(lambda: {"row": row()}),
    "claims.box.told": call(lambda: {"row": row()}),
    "claims.claim.joined": call(lambda: {"parts": [(np.ones(2), None), (np.ones(2), None)]}),
    "claims.criteria.extent": call(lambda: {"values": [0.5, 0.25]}, fine={"values nan -1 empty": NAN}),
    "claims.dots.window": call(
        lambda: {"accepted": (0.5, 1.5), "values": [1.0]},
        fine={"values empty nan -1": NAN, "accepted nan -1": NAN},
    ),
    "claims.dots.places": call(lambda: {"low": 1.0, "high": 2.0}, fine={"low 0 -1": PLACE, "high 0 -1": PLACE}),
    "claims.dots.svg": call(
        lambda: {"measured": [1.0], "control": [3.0], "accepted": (0.5, 1.5), "predicted": 1.0, "title": "one"},
        fine={
            "measured empty nan -1": NAN,
            "control empty nan -1": NAN,
            "accepted nan -1": NAN,
            "predicted nan inf 0 -1": NAN,
            "title unknown empty": LABEL,
        },
    ),
    "claims.dots.image": call(
        lambda: {"drawn": "<svg/>", "words": "one"}, fine={"drawn unknown": LABEL, "words unknown": LABEL}
    ),
    "claims.kinds.order_of": call(lambda: {"names": ("a",), "target": 1.0}, fine={"target 0 -1": "any order"}),
    "claims.kinds.largest": call(lambda: {"names": ("a",)}),
    "claims.kinds.last": call(lambda: {"name": "a"}, fine={"name unknown": "the record is asked when there is one"}),
    "claims.kinds.slope": call(
        lambda: {"name": "a", "places": "widths"},
        fine={
            "name unknown": "the record is asked when there is one",
            "places unknown": "the record is asked when there is one",
        },
    ),
    "claims.kinds.furthest": call(
        lambda: {"powers": {"a": 0.5}, "names": ("a",), "places": "widths"},
        fine={"names empty": "all of them", "places unknown": "the record is asked when there is one"},
    ),
    "claims.kinds.law": call(lambda: {"experiment": EXPERIMENT, "names": ("a",)}),
    "claims.kinds.conserved": call(
        lambda: {"experiment": EXPERIMENT, "name": "a", "edge": 1e-12},
        fine={"name unknown": "the record is asked when there is one"},
    ),
    "claims.kinds.derived": call(
        lambda: {"function": lambda: 1.0, "holds": claims.Above(0.0), "predict": None, "kind": ""},
        fine={"kind empty unknown": LABEL},
    ),
    "claims.kinds.proof": call(lambda: {"holds": lambda: True}),
    "claims.kinds.count": call(lambda: {"counted": lambda: 3.0, "known": 3}, fine={"known 0 -1 dtype": "any number"}),
    "claims.kinds.order": call(
        lambda: {"experiment": EXPERIMENT, "predict": 1.0, "within": 0.05}, fine={"predict 0 -1": "any order"}
    ),
    "claims.kinds.one_step": call(lambda: {"experiment": EXPERIMENT, "names": ("a",)}),
    "claims.quota.checked": call(lambda: {"quota": (9, 10)}),
    "claims.quota.can_be_missed": call(lambda: {"quota": (9, 10), "seeds": 10}),
    "claims.quota.interval": call(lambda: {"good": 3, "of": 10}, fine={"good 0": "none is good"}),
    "claims.quota.counted": call(lambda: {"good": np.array([True, False]), "quota": (9, 10)}),
    "claims.quota.words": call(lambda: {"quota": (9, 10)}),
    "claims.row.difference": call(
        lambda: {"book": [1.0, 2.0], "yours": [1.0, 2.5]},
        fine={"book nan -1 empty": NAN, "yours nan -1 empty": NAN},
    ),
    "claims.row.blank": call(lambda: {"claim": CLAIM}),
    "plot.figure": call(
        lambda: {"columns": 1, "rows": 1, "width": 7.2, "height": 2.9, "ylabel": "y"},
        fine={"ylabel empty unknown": LABEL},
    ),
    "plot.measured": call(
        lambda: {"axes": axes(), "times": times()[:, 0], "values": rising()} | COLOURS,
        fine={
            "values broadcast": "one run",
            "label empty unknown": LABEL,
            "times nan inf dtype": DRAWN,
            "values nan inf dtype": DRAWN,
        },
    ),
    "plot.theory": call(
        lambda: {"axes": axes(), "times": times()[:, 0], "values": rising()[:, 0]} | COLOURS,
        fine={"label empty unknown": LABEL, "times nan inf dtype": DRAWN, "values nan inf dtype": DRAWN},
    ),
    "plot.phase": call(
        lambda: {"axes": axes(), "start": 0.5, "end": 1.0, "index": 1, "label": "one"},
        fine={"label empty unknown": LABEL, "start 0 -1": PLACE, "end 0 -1": PLACE, "index 0": "the first"},
    ),
    "plot.direct": call(lambda: {"axes": axes(), "gap": 0.1}, fine={"gap 0": "no gap"}),
    "plot.levels": call(lambda: {"axes": axes(), "values": [0.5]}, fine={"values -1": PLACE}),
    "plot.ticks": call(lambda: {"axis": axes().xaxis, "values": [0.5, 1.0]}, fine={"values -1": PLACE}),
    "plot.loglog_guide": call(
        lambda: {"axes": axes(), "steps": [0.1, 0.2], "anchor": 1.0, "order": 2.0, "label": "one"},
        fine={"label empty unknown": LABEL, "order 0 -1": "any order", "steps -1": PLACE},
    ),
    "plot.predicted": call(lambda: {"claim": CLAIM, "record": None}, fine={"record type": "this claim needs none"}),
    "plot.scaling": call(
        lambda: {"axes": axes(), "rows": [(rising(2), "blue", "one")], "steps": [0.1, 0.2]}, fine={"steps -1": PLACE}
    ),
    "plot.panel": call(
        lambda: {
            "axes": axes(),
            "lines": [(times()[:, 0], rising(), "blue", "one")],
            "legend": {"fontsize": 7},
            "look": {"lw": 1},
            "places": [1.0, 2.0],
        },
        fine={"places -1": PLACE, "legend empty missing": "no legend", "look empty missing": "as it is"},
    ),
    "plot.family": call(
        lambda: {
            "times": times(),
            "values": normal(2, 2),
            "colours": ["blue", "red"],
            "labels": ["a", "b"],
            "known": (),
        },
        fine={
            "times nan inf dtype axis empty broadcast": "it is looked at when it is drawn",
            "values nan inf dtype axis empty stack": "it is looked at when it is drawn",
        },
    ),
    "plot.loglog": call(
        lambda: {"axes": axes(), "places": [1.0, 2.0], "rows": [(rising(2), "blue", "one")]}, fine={"places -1": PLACE}
    ),
    "plot.power_law": call(
        lambda: {"places": [1.0, 2.0], "anchor": 1.0, "power": 0.5},
        fine={"places -1": PLACE, "anchor 0 -1": PLACE, "power 0 -1": "any power"},
    ),
    "plot.diagram": call(
        lambda: {
            "boxes": [("a", 0.5, 0.5, "blue"), ("b", 1.5, 0.5, "red")],
            "links": [(0, 1)],
            "size": (2.0, 1.0, 1.0),
            "half": 0.4,
            "text": 8.5,
            "line": 1.5,
            "head": 8.0,
            "gap": 21.0,
        },
        fine={"links empty": "boxes alone"},
    ),
    "rooms.room": call(lambda: {"chapter": "foundations"}),
    "rooms.cite": call(lambda: {"chapter": "foundations"}),
    "rooms.unique": call(lambda: {"claims": [CLAIM]}, fine={"claims empty": "none is twice"}),
    "claims.stored.write_run": call(
        lambda: {"path": new("run.json"), "environment": {"seeds": "3:4"}, "rows": [row()], "complete": True},
        fine={
            "environment empty missing": "what is known of it",
            "path unknown": "a new file",
            "rows empty": "no claim was run",
        },
    ),
    "claims.stored.read_run": call(lambda: {"path": run_file()}),
    "sensitivity.terms": call(lambda: {"table": TABLE}),
    "sensitivity.apart": call(lambda: {"base": np.ones(3), "other": np.ones(3)}),
    "sensitivity.change": call(lambda: {"base": {"a": np.ones(3)}, "other": {"a": np.ones(3)}}),
    "sensitivity.band": call(
        lambda: {"base": {"a": np.ones(3)}, "several": None},
        fine={"several none": "a cell that is not chaotic has no band"},
    ),
    "sensitivity.measured": call(lambda: {"table": TABLE, "settings": {"x": 1}, "where": torch.device("cpu")}),
    "sweep.cell": call(lambda: {"sweep": TABLE, "settings": {"x": 1}, "where": torch.device("cpu"), "count": 1}),
    "sweep.one": call(lambda: {"sweep": TABLE, "settings": {"x": 1}, "where": torch.device("cpu")}),
    "sweep.run": call(
        lambda: {
            "sweep": TABLE,
            "folder": new("runs"),
            "jobs": 1,
            "device": "cpu",
            "backend": "sequential",
            "scheduler": None,
            "progress": False,
            "task": sweep.one,
        },
        fine={"folder unknown": "a new folder"},
    ),
    "sweep.keep": call(
        lambda: {"sweep": TABLE, "found": [{"a": np.ones(2)}] * 2, "folder": new("results"), "device": "cpu"},
        fine={"folder unknown": "a new folder"},
    ),
    "sweep.keepable": call(
        lambda: {"sweep": TABLE, "folder": new("results"), "name": "folder"},
        fine={"folder unknown": "a new folder", "name unknown empty none type": "a name for a refusal"},
    ),
    "stamp.code": call(lambda: {"modules": ["attnflow.curves"]}),
    "stamp.bare": call(lambda: {"source": "x = 1"}, fine={"source unknown": "a name is an expression"}),
    "stamp.imports": call(lambda: {"source": "import attnflow.runs"}, fine={"source unknown": STAMPED}),
    "stamp.environment": call(lambda: {"where": "cpu"}),
    "stamp.line": call(lambda: {"where": "cpu"}),
}
ROOF = "the command line hands it what argparse has read"
CHECK = "a check: it says itself what was wrong, and the library names it"
PART = "a part of sweep.run, which hands it its own table and folder"
MADE = "a kind is made when a module is imported, and a wrong one fails there"
REASONS = {
    "__main__.*": ROOF,
    "commands.*": ROOF,
    "judging.*": ROOF,
    "cluster.*": PART,
    "door.*": MADE,
    "arguments.*": ROOF,
    "listing.*": ROOF,
    "outlet.*": ROOF,
    "door.kinds.kind_of": MADE,
    "door.shapes.refuse": MADE,
    "inputs.*": CHECK,
    "paths.*": CHECK,
    "plain.*": PART,
    "store.*": PART,
    "workers.*": PART,
    "copies.*": "sensitivity.adopt hands it the folder that the command line was given: tests/test_sensitivity.py",
    "files.*": "what the library stores, and where, is checked by who asks for it: paths, sweep.keep, claims.stored",
    "meanfield.nets.MASSES": MADE,
    "sensitivity.kept": "it reads a sweep of the book: tests/test_sensitivity.py",
    "sensitivity.recomputed": "it reads a sweep of the book: tests/test_sensitivity.py",
    "sensitivity.adopt": "it changes a sweep of the book: tests/test_sensitivity.py",
    "sweep.kept": "it reads a sweep of the book: tests/test_sweep.py",
    "sweep.stored": "it reads a sweep of the book: tests/test_sweep.py",
    "claims.settled": "evaluate hands it what the trials have measured",
}
