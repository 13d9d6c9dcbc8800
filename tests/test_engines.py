"""Engines: compiled steps are those of torch, run by run, to the ends of all kinds; which one runs is asked for and noted."""

import importlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import claims, flow, rooms, runs
from attnflow.cooccurrence import model as words
from attnflow.cooccurrence import setting as words_setting
from attnflow.encoder import kernel
from attnflow.encoder import setting as encoder_setting
from attnflow.flow import Descent, Ended, Heun, Momentum, Optimiser, RungeKutta, engines
from attnflow.foundations import balancing
from attnflow.kernels import linear
from attnflow.kernels import model as kernels_model
from attnflow.kernels import setting as kernels_setting
from attnflow.meanfield import setting as particles_setting

pytestmark = pytest.mark.skipif(not engines.there(), reason="numba is not installed")
SEEDS, CPU = tuple(range(700, 716)), torch.device("cpu")


def encoder(seeds=SEEDS, **settings):
    return encoder_setting.problem(seeds, CPU, **settings)


def cooccurrence(seeds=SEEDS, **settings):
    found = words_setting.drawn(seeds, CPU, **{"width": 8, "samples": 12, "length": 3} | settings)
    return found["field"], found["start"]


def layer(seeds=SEEDS, **settings):
    return balancing.problem(seeds, CPU, **settings)


def heads(seeds=SEEDS, trained=None, **settings):
    """Heads of chapter 4, or the values of these alone with the attention of the start."""
    layer, inputs, targets, start = kernels_setting.drawn(seeds, CPU, **{"samples": 6, "length": 3} | settings)
    if trained is None:
        return linear.frozen(start, inputs, targets, layer)
    return kernels_model.field(inputs, targets, layer, trained), start


def particles(seeds=SEEDS, decay=0.1, **settings):
    """Heads and neurons of chapter 5, with a decay of its own in every run."""
    net, inputs, targets, start = particles_setting.drawn(seeds, CPU, **{"samples": 4, "length": 3, "m": 6} | settings)
    decays = decay * torch.linspace(0.5, 1, len(inputs), dtype=runs.DTYPE)
    return particles_setting.model.field(inputs, targets, net, decays), start


def resting(problem, **decays):
    """A ``problem`` with weight decay of some of its tensors."""
    field, start = problem
    return flow.decayed(field, decays), start


def slower(problem, **rates):
    """A ``problem`` with learning rates of some of its tensors."""
    field, start = problem
    return flow.at_rates(field, rates), start


PROBLEMS = {
    "particles": lambda: (*particles(), 0.05),
    "heads of particles": lambda: (*particles(parts=("attention",), depth=3, k=2, length=2), 0.05),
    "neurons of particles": lambda: (*particles(parts=("neurons",), activation="relu", samples=7, m=5), 0.05),
    "particles in one block": lambda: (*particles(depth=1, activation="identity", slot=0, scaling="tangent"), 0.02),
    "one particle": lambda: (*particles(length=2, samples=1, m=1, depth=1, scaling="plain rate"), 0.05),
    "particles at rates": lambda: (*slower(particles(), W_Q=0.5, b=0.0), 0.05),
    "decayed": lambda: (*resting(layer(), W_Q=0.3, W_O=0.1), 0.05),
    "decayed at rates": lambda: (*slower(resting(layer(), W_Q=0.3), W_Q=0.5), 0.05),
    "layer": lambda: (*layer(), 0.05),
    "layer with relu": lambda: (*layer(samples=7, length=3, d=5, k=4, o=3, activation="relu"), 0.05),
    "layer with tanh": lambda: (*layer(samples=5, length=2, d=3, k=1, o=1, activation="tanh"), 0.05),
    "layer of a distance": lambda: (*layer(kernel="gaussian"), 0.02),
    "two heads": lambda: (*heads(trained=kernels_model.MATRICES, heads=2), 0.01),
    "heads of exp": lambda: (*heads(trained=kernels_model.MATRICES, kernel="exp", beta=0.7, inner=0.3), 0.003),
    "heads of a distance": lambda: (*heads(trained=("W_Q", "W_O"), kernel="gaussian", c=0.8, heads=3, k=2), 0.02),
    "heads of a share": lambda: (*heads(trained=("W_K",), kernel="normalised_gaussian", c=0.8, o=1), 0.05),
    "outputs of heads": lambda: (*heads(trained=("W_O",), kernel="gaussian"), 0.05),
    "values of heads": lambda: (*heads(heads=2, kernel="gaussian"), 0.05),
    "words": lambda: (*cooccurrence(), 0.2),
    "full words": lambda: (*cooccurrence(full=True), 0.2),
    "full words at rates": lambda: (*cooccurrence(full=True, length=6, rates={"signs": 0.0, "W_O": 2.0}), 0.1),
    "words of seven": lambda: (*cooccurrence(samples=24, length=7, width=5), 0.2),
    "words at rates": lambda: (*cooccurrence(rates={"W_Q": 0.0, "W_V": 0.5}), 0.2),
    "lecun": lambda: (*encoder(width=8, samples=4, length=3, d=5), 0.01),
    "he": lambda: (*encoder(width=3, samples=4, length=2, d=5, init="he"), 0.003),
    "ntk at rates": lambda: (*encoder(width=16, samples=4, init="ntk", rates={"W_O": 2.0, "W_K": 0.0}), 0.01),
    "mean field": lambda: (*encoder(width=12, samples=4, output=1.0, scaling=1.0), 0.02),
}


def gap(one, other):
    """Largest distance of two states, tensor by tensor, over the largest entry of each."""
    return max(float((one[name] - value).abs().max() / value.abs().max()) for name, value in other.items())


def both(field, start, **settings):
    return [flow.integrate(field, start, engine=name, **settings) for name in ("numba", "torch")]


QUICK = ("neurons of particles", "one particle", "particles at rates", "heads of particles")
METHODS = [(name, method) for name in PROBLEMS for method in (Descent(), Heun())]
METHODS += [(name, method) for name in ("particles", "lecun", "decayed") for method in (RungeKutta(), Momentum(0.8))]


@pytest.mark.parametrize(
    ("name", "method"), METHODS, ids=lambda each: each if isinstance(each, str) else type(each).__name__
)
def test_a_thousand_compiled_steps_are_those_of_torch(name, method):
    """Below half the stability limit, where two runs that differ by rounding stay together; the losses on the way as well.

    A hundred of them where torch is slow and another problem of the same model takes the thousand.
    """
    field, start, step = PROBLEMS[name]()
    last = 100 if name in QUICK else 1000
    step = step / 5 if isinstance(method, Momentum) else step
    fast, slow = both(field, start, step=step, times=step * torch.tensor([0.0, 1, 10, 0.4 * last, last]), method=method)
    assert fast.engine == "numba" and slow.engine == "torch" and fast.status == slow.status == [Ended.TIME] * 16
    assert gap(fast.state, slow.state) < 1e-10 and torch.equal(fast.steps, slow.steps)
    torch.testing.assert_close(fast.loss, slow.loss, rtol=1e-9, atol=1e-13)
    assert gap(slow.state, start) > 1e-3  # they did move
    assert all(value.is_contiguous() for value in fast.state.values())


def test_steps_on_the_clock_of_the_model_are_those_of_torch():
    found = words_setting.drawn(SEEDS, CPU, width=8, samples=12, length=3)
    settings = {"step": 0.3, "times": torch.tensor([0.5, 7.0, 300.0, 1e4]), "method": Heun(found["speed"])}
    see = words_setting.observer(found["tokens"], found["labels"], found["task"].size)
    fast, slow = both(found["field"], found["start"], stop_loss=1e-3, observe=see, **settings)
    assert fast.engine == "numba" and fast.status == slow.status and Ended.LOSS in fast.status
    assert gap(fast.state, slow.state) < 1e-10 and torch.equal(fast.steps, slow.steps)
    torch.testing.assert_close(fast.times, slow.times, rtol=1e-10, atol=0, equal_nan=True)
    for name, values in slow.values.items():
        torch.testing.assert_close(fast.values[name], values, rtol=1e-8, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("method", [Descent(), Momentum(0.3), RungeKutta()])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_a_run_ends_where_it_ends_with_torch(at_once, method):
    """One to its time, two to a loss, the others by diverging, one in the middle of a call: left at their last finite state."""
    field, start = encoder(SEEDS[:6], width=16, samples=4, init="ntk")
    step = torch.tensor([0.02, 0.02, 0.02, 40.0, 1e200, 0.02], dtype=runs.DTYPE)
    first = field(start)[0]
    stop = torch.tensor([0.0, 0.5, 0.9, 0.0, 0.0, 2.0], dtype=runs.DTYPE) * first
    settings = {"step": step, "times": torch.tensor([[1.0], [4.0]]) * 50 * step, "stop_loss": stop, "max_steps": 190}
    settings["method"] = method
    fast, slow = both(field, start, at_once=at_once, **settings)
    assert fast.status == slow.status and {Ended.LOSS, Ended.NON_FINITE, Ended.STEPS} == set(fast.status)
    assert torch.equal(fast.steps, slow.steps) and torch.equal(fast.diverged, slow.diverged)
    assert all(value.isfinite().all() for value in fast.state.values())
    assert gap(fast.state, slow.state) < 1e-6  # beyond the stability limit rounding grows until the run ends
    here = [place for place, word in enumerate(fast.status) if word != Ended.NON_FINITE]
    calm = [{name: value[here] for name, value in each.state.items()} for each in (fast, slow)]
    assert gap(*calm) < 1e-10
    torch.testing.assert_close(fast.end_loss[here], slow.end_loss[here], rtol=1e-10, atol=0)


@pytest.mark.parametrize("method", [Descent(), Heun(), Momentum(0.5)])
def test_a_loss_that_rises_ends_a_compiled_run_before_that_step(method):
    field, start = encoder(SEEDS[:4], width=16, samples=4, init="ntk")
    step = torch.tensor([0.02, 3.0, 0.02, 5.0], dtype=runs.DTYPE)
    settings = {"step": step, "times": [0.0, 1.0, 60.0], "method": method, "falls": True, "max_steps": 100}
    with pytest.warns(flow.Rising):
        fast, slow = both(field, start, **settings)
    assert fast.status == slow.status and fast.status[1] == fast.status[3] == Ended.ROSE
    assert torch.equal(fast.steps, slow.steps) and gap(fast.state, slow.state) < 1e-10


def test_threads_and_neighbours_change_no_bit():
    field, start = encoder(width=8, samples=4)
    settings = {"step": 0.01, "times": [0.1, 1.0], "engine": "numba"}
    alone = flow.integrate(*encoder(SEEDS[3:4], width=8, samples=4), **settings)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(flow.integrate(field, start, **settings))
    torch.set_num_threads(before)
    for name, value in found[0].state.items():
        assert torch.equal(value, found[1].state[name]) and torch.equal(value[3], alone.state[name][0])


def test_a_start_is_not_changed_and_records_are_their_own():
    field, start = cooccurrence(SEEDS[:2])
    kept = {name: value.clone() for name, value in start.items()}
    seen = flow.integrate(field, start, step=0.2, times=[0.0, 2.0, 20.0], observe=dict, engine="numba").values
    assert all(torch.equal(start[name], value) for name, value in kept.items())
    assert all(torch.equal(seen[name][0], kept[name]) and not torch.equal(*seen[name][1:]) for name in kept)


def test_numba_is_refused_where_it_has_nothing_to_run_and_auto_takes_torch():
    field, start = encoder(SEEDS[:2], width=8, samples=4)
    hidden = encoder(SEEDS[:2], width=8, samples=4, hidden=True)
    squares = flow.with_kernel(
        lambda state: (state["a"][:, 0].square() / 2, {"a": state["a"]}), lambda _: field.kernel(start)
    )
    other = words.pace(torch.ones(2, 12, 3, dtype=torch.long), 11, 4)
    rows = flow.at_rates(field, {"W_V": torch.ones(start["W_V"].shape[1], 1)})
    cases = [
        (hidden, {}, "no compiled form"),
        (layer(SEEDS[:2], skip=True), {}, "no compiled form"),
        ((flow.decayed(hidden[0], 0.1), hidden[1]), {}, "no compiled form"),
        ((rows, start), {}, "no compiled form"),
        ((squares, {"a": torch.ones(2, 1, dtype=runs.DTYPE)}), {}, "W_Q, W_K, W_V, W_O"),
        ((field, start), {"method": Optimiser()}, "only Descent, Momentum, Heun, RungeKutta are compiled"),
        (cooccurrence(SEEDS[:2]), {"method": Heun(other)}, "the clock of the field's own model and data"),
        (cooccurrence(SEEDS[:2]), {"method": Heun(lambda *_: torch.ones(2).double())}, "the clock"),
    ]
    for (along, begin), more, said in cases:
        settings = {"step": 0.01, "times": [0.02]} | more
        told = refusal(lambda: flow.integrate(along, begin, engine="numba", **settings))  # noqa: B023
        assert (
            told.startswith("engine = 'numba' is not allowed: it must be auto or torch here, since ") and said in told
        )
        assert flow.integrate(along, begin, engine="auto", **settings).engine == "torch"
    assert "auto, torch, numba" in refusal(lambda: flow.integrate(field, start, step=0.1, times=[0.1], engine="jax"))


def test_an_engine_is_asked_for_and_noted():
    field, start = encoder(SEEDS[:2], width=8, samples=4)
    settings = {"step": 0.01, "times": [0.02]}
    with flow.noted() as outer:
        with flow.asked("torch"), flow.noted() as inner:
            assert flow.integrate(field, start, **settings).engine == "torch"
        assert inner == {"torch"} and flow.integrate(field, start, **settings).engine == "numba"
    assert outer == {"numba"}
    with flow.asked("numba"):  # is taken where it can be
        assert flow.integrate(field, start, method=Optimiser(), **settings).engine == "torch"


def test_a_claim_says_what_took_its_steps_also_of_a_record_that_was_kept():
    claim = rooms.room("encoder").claim["lead"]
    first, again = (claims.evaluate(claim, (3, 4)) for _ in range(2))
    with flow.asked("torch"):
        slow = claims.evaluate(claim, (3, 4))
    assert first.engine == again.engine == "numba" and slow.engine == "torch"
    assert replace(first, seconds=0) == replace(again, seconds=0)
    np.testing.assert_allclose(first.measured, slow.measured, rtol=1e-6)


SCRIPT = """
import sys
{before}
import torch
from attnflow import flow
from attnflow.encoder import setting
field, start = setting.problem((1, 2), torch.device("cpu"), width=8, samples=4)
print(flow.integrate(field, start, step=0.01, times=[0.1]).engine, "numba" in sys.modules)
"""
ABSENT = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "numba" else found(name, *more)
sys.modules["numba"] = None
"""


def printed(before="", **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(), done.stderr


def test_without_numba_everything_works_on_torch():
    assert printed(ABSENT) == (["torch", "True"], "")  # True: of the None that stands for an absent module
    assert importlib.util.find_spec("numba") is not None


def test_a_second_process_compiles_nothing_and_an_unwritable_cache_is_no_fault(tmp_path):
    kept = tmp_path / "cache"
    assert printed(XDG_CACHE_HOME=str(kept)) == (["numba", "True"], "")
    files = {path: path.stat().st_mtime_ns for path in kept.rglob("*.nb*")}
    assert files and printed(XDG_CACHE_HOME=str(kept)) == (["numba", "True"], "")
    assert files == {path: path.stat().st_mtime_ns for path in kept.rglob("*.nb*")}
    (tmp_path / "file").write_text("")
    assert printed(XDG_CACHE_HOME=str(tmp_path / "file"))[0] == ["numba", "True"]


SHAPES = (
    {"width": 64, "samples": 40},
    {"width": 7, "samples": 5, "length": 3, "d": 5, "init": "he"},
    {"width": 8, "samples": 3, "length": 70, "d": 2},  # a sample has more rows than are taken at a time
    {"width": 1, "samples": 2, "length": 2, "d": 2, "scaling": 1.0},
)


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_tangent_kernels_are_those_of_torch(shape):
    net, inputs, _, state = encoder_setting.drawn(SEEDS[:3], CPU, **shape)
    fast = kernel.blocks(state, inputs, net)
    with flow.asked("torch"):
        slow = kernel.blocks(state, inputs, net)
    assert list(fast) == list(slow) and gap(fast, slow) < 1e-13
    held = kernel.blocks({name: value.clone().requires_grad_() for name, value in state.items()}, inputs, net)
    assert all(value.requires_grad for value in held.values())  # compiled code holds no graph: torch made these


@pytest.mark.parametrize(("compiled", "known"), [("exponentials", np.exp), ("tangents", np.tanh)])
def test_exponentials_of_many_numbers_are_those_of_numpy(compiled, known):
    """To a few last bits, next to zero as well; what is not a number stays so, and nothing small becomes large."""
    import numba

    from attnflow.flow import compiling

    function = numba.njit(getattr(compiling, compiled))
    drawn = np.random.default_rng(5).normal(size=4000)
    values = np.concatenate([drawn * 30, drawn / 1e3, drawn / 1e9, [0.0, -0.0, -700.0, 1.0, -1.0, 700.0]])
    found, twos = values.copy(), np.empty_like(values)
    function(found, twos, twos.view(np.int64))
    np.testing.assert_allclose(found, known(values), rtol=2e-15, atol=0)
    odd = np.array([np.nan, -np.inf, -1e300, 1.0, 2.0])
    function(odd, twos[:5], twos[:5].view(np.int64))
    assert (
        np.isnan(odd[0]) and (odd[1:3] == (-1 if known is np.tanh else odd[1:3])).all() and (odd[1:3] <= 1e-307).all()
    )


def test_no_two_compiled_functions_share_a_name():
    """Numba finds what other processes compiled by its name: one model in the place of another gave wrong numbers, or none."""
    files = sorted(Path(flow.__file__).parents[1].rglob("*engine.py"))
    places = [".".join(path.relative_to(Path(flow.__file__).parents[2]).with_suffix("").parts) for path in files]
    marches = [module.march.py_func for module in map(importlib.import_module, places) if hasattr(module, "march")]
    inner = [cell.cell_contents for march in marches for cell in march.__closure__ if callable(cell.cell_contents)]
    names = [each.__qualname__ for each in marches + inner]
    assert len(marches) == len(inner) >= 6 and len(set(names)) == len(names)
