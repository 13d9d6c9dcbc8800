"""Chapter 5, risk at rest: where the flow ends, against a slow one; phases, powers and bounds by hand; what is refused."""

import math
import warnings

import numpy as np
import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import flow, runs
from attnflow.meanfield import figures_risk, model, phases, risk, setting
from attnflow.meanfield.settle import dissipation, polished, seen, settle

CPU = torch.device("cpu")
SMALL = {"m": 3, "depth": 2}


@pytest.fixture(scope="module")
def problem():
    net, inputs, targets, state = setting.drawn((0, 1, 2), CPU, **SMALL)
    return inputs, targets, net, torch.tensor([0.2, 0.3, 0.9], dtype=runs.DTYPE), state


def test_runs_settle_where_a_slow_flow_ends(problem):
    *data, state = problem
    field = model.field(*data)
    slow = flow.integrate(field, state, step=0.05, times=[80.0], method=flow.Heun())
    found = settle(state, *data, least=1e-7)
    assert found.still.all() and (found.dissipation <= 1e-7).all()
    assert torch.allclose(found.objective, slow.loss[-1], rtol=1e-3)
    assert torch.equal(found.dissipation, dissipation(field, found.state, data[2]))
    assert torch.allclose(found.risk + data[3] / 2 * found.norms, found.objective)


def test_a_step_that_is_too_large_is_halved(problem):
    *data, state = problem
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = settle(state, *data, step=4.0, rounds=30)
    assert found.still.all() and torch.allclose(found.objective, settle(state, *data, rounds=30).objective, rtol=1e-3)


def test_what_does_not_rest_is_said_and_what_rests_is_left_alone(problem):
    *data, state = problem
    short = settle(state, *data, time=1.0, rounds=1)
    assert not short.still.any()
    done = settle(state, *data, rounds=30)
    again = settle(done.state, *data, time=1.0, rounds=1)
    assert again.still.all() and (again.objective <= done.objective + 1e-12).all()


def test_the_minimum_next_to_a_rest_is_flatter_and_lower(problem):
    *data, state = problem
    rest = settle(state, *data)
    found = polished(rest.state, *data)
    assert found.still.all() and (found.dissipation < 1e-12).all()
    assert (found.objective <= rest.objective).all() and torch.allclose(found.objective, rest.objective, rtol=1e-2)


def test_a_run_rests_alone_as_in_a_stack(problem):
    inputs, targets, net, decay, state = problem
    both = settle(state, inputs, targets, net, decay)
    one = {name: value[1:2] for name, value in state.items()}
    alone = settle(one, inputs[1:2], targets[1:2], net, decay[1:2])
    assert torch.allclose(alone.objective, both.objective[1:2], rtol=1e-12)


def test_restarts_share_the_data_and_nothing_else():
    net, inputs, targets, state = risk.restarts((4, 5), CPU, 3, scale=0.5, **SMALL)
    alone = setting.drawn((4, 5), CPU, scale=0.5, **SMALL)
    assert (
        torch.equal(inputs[0], inputs[2])
        and torch.equal(inputs[3], alone[1][1])
        and torch.equal(targets[::3], alone[2])
    )
    assert torch.equal(state["W_V"][::3], alone[3]["W_V"]) and not torch.equal(state["W_V"][0], state["W_V"][1])


def test_clashing_data_cannot_be_fitted():
    _, inputs, targets, _ = setting.drawn((0,), CPU, **SMALL)
    inputs, targets = risk.clashing(inputs, targets)
    assert torch.equal(inputs[:, 0], inputs[:, 1]) and targets[0, 0] != targets[0, 1]
    floor = (targets[0, 0] - targets[0, 1]) ** 2 / 4 / targets.shape[1]
    end = risk.scan(CPU, 0, clash=True, overs=(0.05, 0.002), m=6)
    assert end["still"].all() and end["risk"][-1] >= floor


def test_powers_and_bounds_of_stored_runs_by_hand(monkeypatch):
    decay = 0.4 * 0.5 ** np.arange(3)
    table = np.stack([np.stack([decay**2, 0 * decay + 0.1]), np.stack([3 * decay**2, 0 * decay + 0.2])])
    norms = np.broadcast_to([4.0, 3.0, 2.0], (2, 2, 3))
    arrays = {"risk": table, "objective": table, "norms": norms, "decay": np.broadcast_to(decay, (2, 2, 3))}
    monkeypatch.setattr(risk.sweep, "kept", lambda name: ({"meanfield-risk": arrays}[name], {}))
    assert risk.powers("risk") == pytest.approx(2) and risk.powers("risk", clash=True) == pytest.approx(0)
    assert risk.bound() == pytest.approx(3 * 0.1) and risk.bound(clash=True) == pytest.approx(0.2 / 0.1)
    assert risk.bound(last=False) == pytest.approx(3 * 0.4)


@pytest.fixture
def table():
    """Two decays, one width, four starts: the lowest, one close to it, one dead, one alive and high."""
    heights = np.array([[[1.0, 1.005, 1.2, 1.5]], [[1.3, 1.2, 1.2, 1.205]]])
    norms = np.array([[[1.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 0.0, 1.0]]])
    ones = np.ones((2, 1))
    return {
        "objective": heights,
        "norms": norms,
        "still": ones[..., None] * [1, 1, 1, 0],
        "zero": 1.2 * ones,
        "decay": ones,
    }


def test_what_became_of_restarts_by_hand(table):
    found = {name: values[:, 0].tolist() for name, values in phases.phases(table).items()}
    assert found["global"] == [0.5, 0.75] and found["collapsed"] == [0.25, 0.0] and found["stuck"] == [0.25, 0.25]
    assert found["zero"] == [0.25, 0.5] and found["still"] == [0.75, 0.75]


def test_readings_of_the_table_by_hand(table, monkeypatch):
    wide = {name: np.repeat(values, len(phases.OVERS) // 2, axis=0) for name, values in table.items()}
    wide = {
        name: np.concatenate([values, values * (0.5 if name == "objective" else 1)], axis=1)
        for name, values in wide.items()
    }
    monkeypatch.setattr(phases.sweep, "kept", lambda name: ({"meanfield-width": wide}[name], {}))
    assert phases.falling(over=0.1) == 0.5 and phases.worst(over=0.1) == pytest.approx(1.5 / 1.2)
    assert phases.worst(over=1.6) == pytest.approx(1.3 / 1.2)


def test_a_cell_is_a_settled_stack():
    found = phases.cell(CPU, 2.0, seed=3, copies=2, **SMALL)
    assert found["still"].all() and (found["norms"] < phases.DEAD).all()
    assert torch.allclose(found["objective"], found["zero"].expand(2), rtol=1e-3)


def test_the_figures_show_what_they_are_given(table):
    arrays = {name: np.repeat(values, 2, axis=1) for name, values in table.items()}
    figure = figures_risk.phases_figure([(arrays, (0.5, 2.0), (1, 2), "m")])
    boxes = figure.axes[0].patches
    hatched = [one for one in boxes if one.get_hatch()]
    assert len(hatched) == 0 and len(boxes) >= 4
    wide = {name: np.repeat(values, 10, axis=0) for name, values in arrays.items()}
    axes = figures_risk.phases_figure([(wide, phases.OVERS, (1, 2), "m")]).axes[0]
    edge = axes.get_lines()[-1].get_xdata()[0]
    assert phases.OVERS.index(0.98) < edge < phases.OVERS.index(1.03), "the line is between the decays next to it"
    places = axes.get_xticks().astype(int)
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{phases.OVERS[place]:g}" for place in places]
    assert len(places) == 10 and len(figure.axes[0].get_xticks()) == 2
    decay = 0.3 * 0.5 ** np.arange(4)
    scan = {
        "decay": np.tile(decay, (2, 2, 1)),
        "risk": np.tile(decay**2, (2, 2, 1)),
        "objective": np.tile(decay, (2, 2, 1)),
    }
    drawn = figures_risk.powers_figure(scan)
    assert all(len(axes.get_lines()) >= 4 for axes in drawn.axes)
    plt.close("all")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: risk.envelope((0,), CPU, over=-1.0), "entries of at least 0"),
        (lambda: risk.forgetting((0,), CPU, copies=0), "copies = 0"),
        (lambda: risk.scan(CPU, 0, clash="no"), "clash = 'no'"),
        (lambda: phases.cell(CPU, math.nan), "finite"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


def test_seen_says_how_still_a_state_is(problem):
    *data, state = problem
    assert seen(state, *data, least=1e9).still.all() and not seen(state, *data).still.any()
