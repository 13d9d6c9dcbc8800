"""Blocks of steps as a CUDA graph records them, on a CPU: a function that calls them again stands in for the recording.

What is recorded, the masks, the ends and the looks between two blocks are what runs on a GPU; the recording itself is not tried.
"""

import itertools
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from conftest import refusal
from elsewhere import pretended
from rooms import PROBLEMS
from test_flow import METHODS as EVERY
from test_flow import RATES, linear, ones, run, same
from torch.overrides import TorchFunctionMode

from attnflow import commands, flow, runs
from attnflow.cooccurrence import setting
from attnflow.flow import Descent, Ended, Heun, engines, graphs

METHODS = {name: method for name, method in EVERY.items() if method.pure}
WAITS = (
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "item",
    "tolist",
    "numpy",
    "__array__",
    "cpu",
    "nonzero",
    "equal",
)
WAITS += (
    "masked_select",
    "unique",
    "bincount",
    "allclose",
    "argwhere",
)  # the last ones make tensors of a size that depends


class Waits(RuntimeError):
    """What cannot be recorded: the host would wait for the device."""


class Unseen(TorchFunctionMode):
    """While it is on, nothing may look at a number."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        masks = [one for one in args[1:] if isinstance(one, torch.Tensor) and one.dtype == torch.bool]
        if name in WAITS or (name in ("__getitem__", "__setitem__") and masks):
            raise Waits(name)
        return func(*args, **(kwargs or {}))


class Again:
    """In the place of ``capture``: calls the steps once, to warm up, and keeps how many they were each time."""

    def __init__(self):
        self.calls = []

    def __call__(self, steps, where):
        def replay():
            self.calls.append(steps.args[0])
            with Unseen():
                steps()

        replay()
        return replay


class InGraphs:
    """A method whose steps are recorded, on whatever device."""

    def __init__(self, method):
        self.method, self.again = method, Again()

    def bind(self, field, start, step):
        return graphs.Graphed(self.method, field, start, step, self.again)


def both(method, field=None, start=None, **settings):
    """The records of a run with steps recorded and with torch."""
    return [run(field, start, method=one, **settings) for one in (InGraphs(method), method)]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize("name", METHODS)
def test_recorded_steps_are_those_of_torch_to_the_bit(name, at_once):
    """Steps and times of their own for every run; one ends at its loss, one with its number of steps, two at their time."""
    settings = {
        "step": torch.tensor([0.05, 0.02, 0.013, 0.001], dtype=runs.DTYPE),
        "times": torch.tensor([0.0, 0.31, 0.32, 2.0], dtype=runs.DTYPE)[:, None] * (1 + RATES.abs() / 7),
        "stop_loss": torch.tensor([0.4, 0.0, 0.0, 0.0], dtype=runs.DTYPE),
        "observe": lambda state: {"square": state["theta"].square()},
        "max_steps": 180,
        "at_once": at_once,
    }
    found, wanted = both(METHODS[name], **settings)
    assert same(found, wanted) and set(wanted.status) == {Ended.LOSS, Ended.STEPS, Ended.TIME}
    assert wanted.steps.max() == 180 and (wanted.state["theta"] != 1).any()


@pytest.mark.parametrize("method", [Descent(), Heun(), METHODS["clocked"]])
@pytest.mark.parametrize("wrong", [{"wall": 1.5}, {"cliff": 1.5}, {"wall": 1.0}])
def test_a_run_that_diverges_is_left_where_it_was_and_the_others_go_on(method, wrong):
    rates = torch.tensor([0.5, -1.0, 1.0, -2.0], dtype=runs.DTYPE)
    found, wanted = both(method, linear(rates, **wrong), times=[0.1, 3.0], step=0.01)
    assert same(found, wanted) and Ended.NON_FINITE in wanted.status
    assert found.state["theta"].isfinite().all() and torch.equal(found.diverged, wanted.diverged)


@pytest.mark.parametrize("method", [Descent(), Heun()])
@pytest.mark.parametrize("at_once", [1, 1000])
def test_a_loss_that_rises_ends_its_run_and_only_where_it_is_asked_for(method, at_once):
    rates = torch.tensor([40.0, 1.0, 45.0, 0.5], dtype=runs.DTYPE)
    settings = {"times": [0.0, 30.0], "at_once": at_once, "max_steps": 290}
    with pytest.warns(flow.Rising, match="2 of 4 runs"):
        found, wanted = both(method, linear(rates), falls=True, **settings)
    assert same(found, wanted) and wanted.status == [Ended.ROSE, Ended.STEPS] * 2
    assert same(*both(method, linear(rates), falls=False, **settings))


@pytest.mark.parametrize("full", [False, True])
def test_the_model_of_chapter_2_on_its_own_clock(full):
    found = setting.drawn(range(3), torch.device("cpu"), width=8, samples=12, length=3, full=full)
    see = setting.observer(found["tokens"], found["labels"], found["task"].size)
    settings = {"step": 0.3, "times": torch.tensor([0.5, 7.0, 300.0, 1e4]), "stop_loss": 1e-3, "observe": see}
    one, other = (
        flow.integrate(found["field"], found["start"], method=method, engine=engine, **settings)
        for method, engine in ((InGraphs(Heun(found["speed"])), None), (Heun(found["speed"]), "torch"))
    )
    assert same(one, other) and Ended.LOSS in other.status and other.steps.min() > 50


def test_few_blocks_are_recorded_and_none_is_taken_in_vain():
    method = InGraphs(Descent())
    record = run(method=method, step=0.001, times=[0.0, 0.1, 0.105, 1.0])
    calls = [(count, len(list(same))) for count, same in itertools.groupby(method.again.calls)]
    assert record.steps.tolist() == [1000] * 4 and sum(method.again.calls) == 1001
    assert calls == [
        (16, 6),
        (1, 10),
        (16, 55),
        (1, 15),
    ]  # 100, 5 and 895 steps: whole blocks first, one step too many to warm up
    clocked = InGraphs(METHODS["clocked"])
    record = run(method=clocked, step=0.001, times=[0.5, 1.0])
    assert sum(clocked.again.calls) < record.steps.max() + 4 * 16


def test_what_a_record_holds_is_not_moved_by_later_steps_nor_is_the_start():
    start = ones()
    record = run(start=start, method=InGraphs(Heun()), observe=dict, times=[0.0, 0.5, 1.0])
    assert (start["theta"] == 1).all() and (record.loss.diff(dim=0) < 0).all() and (record.times.diff(dim=0) > 0).all()
    assert torch.equal(record.values["theta"][0], start["theta"])
    assert torch.equal(record.values["theta"][-1], record.state["theta"])


@pytest.mark.parametrize("row", PROBLEMS, ids=lambda row: row.name)
def test_every_problem_can_be_recorded_and_gives_the_same_there(row, monkeypatch):
    """On the pretended device, by the name of the engine: nothing looks at a number, and nothing comes from the CPU."""
    monkeypatch.setattr(graphs, "capture", Again())
    options = {"step": 0.01, "times": [0.0, 0.02, 0.1], "method": Heun()}
    with pretended() as name:
        field, start = row.problem((3, 4), name, **row.settings)
        found, wanted = (flow.integrate(field, start, engine=engine, **options) for engine in ("graph", "torch"))
        assert found.engine == "graph" and wanted.engine == "torch" and found.status == wanted.status
        assert all(torch.equal(runs.to(found.state, "cpu")[key], value.cpu()) for key, value in wanted.state.items())
        assert torch.equal(found.loss.cpu(), wanted.loss.cpu())
        assert flow.integrate(field, start, **options).engine == "torch"  # auto takes no graph, which no GPU has run


def test_graph_is_refused_where_it_cannot_be_and_a_wish_for_it_is_no_order():
    told = refusal(lambda: run(engine="graph"))
    assert told.startswith("engine = 'graph' is not allowed") and "on a CUDA device" in told
    with flow.asked("graph"), flow.noted() as names:
        assert run().engine == "torch"
    assert names == {"torch"} and "graph" in engines.ENGINES
    with pretended() as name:
        start, method = {"theta": torch.ones(4, 2, dtype=runs.DTYPE, device=name)}, EVERY["adam"]
        told = refusal(lambda: run(lambda state: (state["theta"][:, 0], state), start, engine="graph", method=method))
    assert "remember nothing elsewhere" in told


def test_the_command_line_refuses_graph_without_a_gpu():
    options = SimpleNamespace(engine="graph")
    assert "graph needs a CUDA device" in refusal(lambda: commands.engine_of(options, torch.device("cpu")))
    assert commands.engine_of(options, torch.device("cuda")) == "graph"
    assert commands.engine_of(SimpleNamespace(engine=None), torch.device("cpu")) == "auto"


def test_what_cannot_be_recorded_is_one_clear_error_and_full_memory_is_no_wrong_use(monkeypatch):
    """With every call to CUDA replaced: in which order they come, and what becomes of an error inside of the recording."""
    seen, fault = [], []

    @contextmanager
    def recording(graph, stream):
        seen.append("record")
        yield
        seen.append("recorded")

    def steps():
        seen.append("steps")
        if "record" in seen and fault:
            raise fault[0]

    stream = SimpleNamespace(wait_stream=lambda other: seen.append("wait"))
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda where: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: seen.append("replay")))
    monkeypatch.setattr(torch.cuda, "graph", recording)
    graphs.capture(steps, torch.device("cuda"))()
    assert seen == ["wait", *["steps"] * 3, "wait", "record", "steps", "recorded", "replay"]
    seen.clear()
    fault.append(RuntimeError("operation not permitted\n when stream is capturing"))
    told = refusal(lambda: graphs.capture(steps, torch.device("cuda")))
    assert "auto or torch here, since this field cannot be recorded: operation not permitted when" in told
    seen.clear()
    fault[0] = torch.cuda.OutOfMemoryError("full")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        graphs.capture(steps, torch.device("cuda"))


def test_the_state_of_a_field_that_waits_is_seen_by_the_stand_in():
    def looks(state):
        return linear()(state) if bool((state["theta"] > 0).all()) else linear()(state)

    with pytest.raises(Waits):
        run(looks, method=InGraphs(Descent()))


def single(record):
    """The dtypes of what a record holds."""
    return [each.dtype for each in (record.loss, record.end_loss, *record.values.values(), *record.state.values())]


@pytest.mark.parametrize("wrap", [lambda method: method, InGraphs])
@pytest.mark.parametrize("name", METHODS)
def test_single_precision_follows_double_precision(wrap, name):
    """The linear flow is contracting, so that an error of rounding does not grow."""
    start, rates = {"theta": torch.ones(4, 2)}, RATES.abs().float()
    settings = {"times": [0.0, 0.5, 1.0], "step": 0.01, "observe": dict, "falls": True}
    low = run(linear(rates), start, method=wrap(METHODS[name]), **settings)
    high = run(method=METHODS[name], **settings)
    assert set(single(low)) == {torch.float32} and low.times.dtype == low.end.dtype == torch.float64
    assert low.status == high.status == [Ended.TIME] * 4 and torch.equal(low.steps, high.steps)
    torch.testing.assert_close(low.loss.double(), high.loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(low.state["theta"].double(), high.state["theta"], rtol=1e-4, atol=0)
    with flow.nudged(1e-3):
        assert set(single(run(linear(rates), start, **settings))) == {torch.float32}


def halves(state):
    """The same tensors in single precision."""
    return {name: value.float() for name, value in state.items()}


@pytest.mark.parametrize("wrap", [lambda method: method, InGraphs])
def test_the_models_of_chapters_2_and_3_in_single_precision(wrap):
    from attnflow.cooccurrence import model as words
    from attnflow.encoder import model as nets
    from attnflow.encoder import setting as encoder

    found = setting.drawn(range(2), torch.device("cpu"), width=8, samples=12, length=3)
    net, inputs, labels, start = encoder.drawn(range(2), torch.device("cpu"), width=8, samples=4)
    size, neurons = found["task"].size, found["neurons"]
    cases = [
        (words.field(found["tokens"], found["labels"].float(), size, neurons), found["field"], found["start"], 0.2),
        (nets.field(inputs.float(), labels.float(), net), nets.field(inputs, labels, net), start, 0.01),
    ]
    for low, high, begin, step in cases:
        settings = {"step": step, "times": [0.0, 100 * step]}
        one = flow.integrate(low, halves(begin), method=wrap(Descent()), **settings)
        other = flow.integrate(high, begin, engine="torch", **settings)
        assert set(single(one)) == {torch.float32} and one.engine == "torch"
        for name, value in other.state.items():
            assert (one.state[name].double() - value).abs().max() < 1e-4 * value.abs().max()
        assert (other.loss[1] < 0.99 * other.loss[0]).all()
        for along, state in ((low, begin), (high, halves(begin))):
            if along is low and "readout" in begin:
                continue  # labels of +1 and -1 are what they are in either precision
            told = refusal(lambda: flow.integrate(along, state, engine="torch", **settings))  # noqa: B023
            assert told.startswith("field = ") and "data, as the state is" in told


def test_a_state_of_two_precisions_is_refused():
    for first, second in itertools.permutations((torch.float32, torch.float64)):
        start = {"theta": torch.ones(4, 2, dtype=first), "other": torch.ones(4, 1, dtype=second)}
        told = refusal(lambda: run(start=start))  # noqa: B023
        assert "other = " in told and "in one precision" in told
    assert "float64" in refusal(lambda: run(start={"theta": torch.ones(4, 2, dtype=torch.float16)}))
    assert "float64" in refusal(lambda: runs.state({"theta": torch.ones(4, 2)}))
