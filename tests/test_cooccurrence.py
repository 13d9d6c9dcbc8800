"""The room of chapter 2: the reduction, the data, closed forms against drawn data, and three ways to one answer."""

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import curves, flow, runs
from attnflow.cooccurrence import balance, dual, model, phases, ratio, reduced, sweeps, task, theory
from attnflow.cooccurrence.setting import drawn, train
from attnflow.cooccurrence.task import Task

SMALL = {"samples": 12, "length": 4, "width": 6, "neurons": 4, "scale": 1.0}
TOKENS, LABELS = task.draw(runs.streams((0,), "draws"), Task(6, 3))


def test_data_are_what_the_task_says():
    asked = Task(60, 5)
    tokens, labels = task.draw(runs.streams((0, 1), "draws"), asked)
    bags = task.counts(tokens, asked.size)
    assert asked.counts == (30, 10, 10, 10) and asked.size == 163 and asked.slots == 160
    assert bool((bags[:, :, 2] == 1).all()) and bool((bags[:, :, 3:].sum(dim=1) == 1).all())
    assert bags[0, asked.classes == 0, :2].unique().tolist() == [1.0] and not bags[0, asked.classes == 3, :2].any()
    assert labels[0].tolist() == [1.0] * 30 + [-1.0] * 30 and not torch.equal(tokens[0], tokens[1])
    assert bool(((tokens == 2).to(runs.DTYPE).mean(dim=(0, 1)) - 0.2).abs().max() < 0.12), (
        "the common word stands anywhere"
    )
    fresh, signs = task.fresh(runs.streams((0,), "draws"), asked, 600)
    assert fresh.shape == (1, 600, 5) and int(fresh.max()) < 163 and signs.sum() == 0
    free = Task(12, 4, common=False)
    assert free.random_words == (2, 3, 3, 4) and not (task.draw(runs.streams((0,), "draws"), free)[0] == 2).any()


@pytest.mark.parametrize("samples, length", [(12, 3), (60, 3), (24, 5), (36, 5), (60, 5), (30, 7)])
def test_closed_forms_are_the_dual_of_drawn_data(samples, length):
    found = ratio.dual_sums(samples, length)
    assert ratio.closed_sums(samples, length) == pytest.approx(found, abs=1e-10)
    assert balance.ratio(*found) == pytest.approx(balance.predicted(samples, length)[2], abs=1e-9)


def test_closed_forms_have_the_known_shape():
    n, length = balance.SAMPLES, balance.LENGTH
    wanted = {
        balance.limit(False)["s_2"]: (5 * n + 2 * length - 6) / (7 * n + 6 * length - 12),
        balance.limit(True)["rho"]: 2 * (2 * n - 3) / (3 * (n + length - 1)),
        balance.lower_end(): 3 * (length + 1),
    }
    assert all((found - known).simplify() == 0 for found, known in wanted.items())
    assert balance.predicted() == (5 / 7, 0.0, 1.5)
    polynomial = n**2 + 27 * n - 13 * length * n - 6 * length**2 + 30 * length - 36
    assert (balance.edge() / polynomial).simplify().is_positive


def test_separation_meets_the_conditions_of_its_optimum():
    rng = np.random.default_rng(0)
    labels, features = np.sign(rng.normal(size=12)), rng.normal(size=(12, 20))
    found = dual.separate(features, labels)
    assert found.margins.min() > 1 - 1e-9 and found.alpha.min() >= 0
    assert np.abs(found.alpha * (found.margins - 1)).max() < 1e-9
    assert found.weights == pytest.approx(features.T @ (labels * found.alpha))


def test_a_network_of_small_weights_follows_the_reduced_flow():
    small = {
        "samples": 12,
        "length": 4,
        "scale": 1e-4,
        "records": torch.linspace(0, 10, 101, dtype=runs.DTYPE),
        "test": 60,
        "width": 256,
    }
    run, known = train((0, 1), "cpu", stop_loss=0.0, step=0.1, **small), reduced.Reduced(12, 4)
    assert run["tau"][:, 0].numpy() == pytest.approx(np.linspace(0, 10, 101))
    assert (run["tau_1"] / known.landmarks()["tau_1"]["tau"] - 1).abs().max() < 0.02
    assert np.abs(run["gamma"][:, 0].numpy() - known.solve(np.linspace(0, 10, 101))["gamma"][:, :3]).max() < 0.02


def test_the_clock_and_the_flow_of_scipy_agree():
    found = drawn((0,), "cpu", **SMALL)
    exact = flow.reference(found["field"], found["start"], [0.0, 1.0])
    clocked = flow.integrate(found["field"], found["start"], step=0.02, times=[1.0], method=flow.Heun(found["speed"]))
    assert max((value - exact[name][-1]).abs().max() for name, value in clocked.state.items()) < 1e-4


def test_three_ways_to_one_answer():
    found = phases.three_ways((0, 1), "cpu", scale=1e-4, width=32)
    assert (found["scipy"] - found["reduced"]).abs().max() < 0.05 and found["scipy"].shape == (2,)
    assert (found["scipy"] - found["descent"]).abs().max() < 2e-3


def test_a_run_ends_where_its_loss_does():
    run = train((0, 1), "cpu", samples=12, width=16, test=60, records=flow.log_times(0.05, 1e4, 30), stop_loss=0.05)
    assert (curves.final(run["loss"]) <= 0.05).all() and run["status"] == ["loss", "loss"]
    assert run["accuracy"].shape == (2,) and (run["tau_1"] < curves.final(run["tau"])).all()


def test_sweep_cell_gives_one_number_a_run():
    diagram, paper = (table.function for table in sweeps.SWEEPS)
    found = diagram(device="cpu", samples=12, length=3, seeds=2, width=16, stop_loss=0.01)
    assert all(len(values) == 2 for values in found.values())
    found = paper(device="cpu", reading="he", seeds=2, epochs=10, count=6)
    assert found["scores"].shape == (7, 2, 3, 3) and found["epochs"].tolist() == pytest.approx([0, 1, 2, 3, 4, 6, 10])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: train((0,), "cpu", step=np.nan, **SMALL), "step"),
        (lambda: train((0,), "cpu", stop_loss=np.nan, **SMALL), "stop_loss = nan"),
        (lambda: train((0,), "cpu", method="euler", **SMALL), "heun, descent"),
        (lambda: model.field(TOKENS, LABELS, 3, 4), "word numbers"),
        (lambda: model.field(TOKENS.double(), LABELS, 9, 4), "word numbers"),
        (lambda: model.field(TOKENS, LABELS[:, :3], 9, 4), "labels"),
        (lambda: sweeps.paper((0,), "cpu", reading="xavier"), "reading = 'xavier'"),
        (lambda: balance.predicted(5, 5), "samples = 5"),
        (lambda: reduced.Reduced(20, 5), "divisible by 6"),
        (lambda: dual.separate([[1.0], [1.0]], [1, -1]), "separable"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("length", [3, 4])
@pytest.mark.parametrize("sizes", [(2, 1, 1), (3, 1, 2), (4, 2, 3), (2, 4, 2), (2, 5, 1), (3, 6, 2)], ids=str)
def test_counts_are_complete(sizes, length, one_hot):
    """Narrow and wide heads; two words a sample would leave more laws."""
    assert theory.count(*sizes, length=length, one_hot=one_hot)["complete"]
