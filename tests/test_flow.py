"""The integrators against closed forms, against scipy, and against themselves run one by one."""

import numpy as np
import pytest
import torch

from attnflow import flow, runs
from attnflow.foundations import experiments

RATES = torch.tensor([0.5, 1.0, 2.0], dtype=runs.DTYPE)


def linear(state):
    """theta' = -rate theta, one rate a run."""
    gradient = RATES[:, None] * state["theta"]
    return (RATES[:, None] * state["theta"].square() / 2).sum(dim=1), {"theta": gradient}


def ones(count=3, width=2):
    return {"theta": torch.ones(count, width, dtype=runs.DTYPE)}


def exact(times):
    return torch.exp(-RATES * torch.as_tensor(times, dtype=runs.DTYPE)[:, None])


@pytest.mark.parametrize(("method", "order"), [("descent", 1), ("heun", 2)])
def test_observed_order_against_the_closed_form(method, order):
    steps = [0.1, 0.05, 0.025, 0.0125]
    errors = []
    for step in steps:
        record = flow.integrate(linear, ones(), step=step, times=[1.0], method=method)
        errors.append((record.state["theta"][:, 0] - exact([1.0])[0]).abs())
    assert (flow.observed_order(steps, torch.stack(errors)) - order).abs().max() < 0.05


def test_reference_meets_the_closed_form():
    found = flow.reference(linear, ones(), [0.0, 0.5, 2.0])["theta"]
    assert (found[:, :, 0] - exact([0.0, 0.5, 2.0])).abs().max() < 1e-9


def test_heun_lands_on_the_times_and_descent_on_whole_steps():
    times = [0.0, 0.13, 0.4]
    landed = flow.integrate(linear, ones(), step=0.1, times=times, method="heun").times
    assert (landed - torch.tensor(times, dtype=runs.DTYPE)[:, None]).abs().max() < 1e-12
    stepped = flow.integrate(linear, ones(), step=0.1, times=times).times[:, 0]
    assert (stepped - torch.tensor([0.0, 0.2, 0.4], dtype=runs.DTYPE)).abs().max() < 1e-12


def test_time_change_steps_by_the_local_speed_and_takes_per_run_times():
    times = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], dtype=runs.DTYPE) / RATES
    record = flow.integrate(
        linear, ones(), step=0.01, times=times, method="heun", speed=lambda state, loss, gradient: RATES
    )
    assert torch.allclose(record.times, times)
    assert (record.state["theta"][:, 0] - torch.exp(-RATES * times[-1])).abs().max() < 1e-4
    assert record.steps.tolist() == [200, 400, 600]


def test_each_run_stops_on_its_own_loss():
    record = flow.integrate(
        linear, ones(), step=0.01, times=np.linspace(0, 2, 9), stop_loss=0.05, observe=lambda s: {"theta": s["theta"]}
    )
    assert record.status == ["time", "loss", "loss"]
    assert (record.loss[1:] <= 0.05).all() and record.loss[0] > 0.05
    times, values = record.series("theta", 2)
    assert times[-1] == record.end[2] and torch.equal(values[-1], record.state["theta"][2])
    assert values.isfinite().all() and (times.diff() > 0).all()
    assert record.values["loss"][-1, 1:].isnan().all()


def test_the_final_record_is_appended_only_when_its_time_is_new():
    record = flow.integrate(linear, ones(), step=0.1, times=[0.0, 1.0], method="heun")
    assert len(record.series("loss", 0)[0]) == 2


def test_a_run_that_diverges_is_frozen_and_the_others_go_on():
    def quartic(state):
        theta = state["theta"]
        return (theta**4).sum(dim=1), {"theta": 4 * theta**3}

    start = {"theta": torch.tensor([[0.5], [50.0], [0.1]], dtype=runs.DTYPE)}
    record = flow.integrate(quartic, start, step=0.1, times=[0.5, 5.0])
    assert record.status == ["time", "non-finite", "time"] and record.diverged == [1]
    assert record.state["theta"].isfinite().all()
    alone = flow.integrate(quartic, {"theta": start["theta"][:1]}, step=0.1, times=[0.5, 5.0])
    assert torch.equal(alone.state["theta"][0], record.state["theta"][0])


def test_max_steps_ends_a_run():
    record = flow.integrate(linear, ones(), step=0.1, times=[10.0], max_steps=7)
    assert record.status == ["steps"] * 3 and record.steps.tolist() == [7] * 3


def test_weight_decay_is_added_to_the_gradient():
    decayed = flow.decayed(linear, {"theta": 0.5})
    assert torch.equal(decayed(ones())[1]["theta"], linear(ones())[1]["theta"] + 0.5)
    assert torch.equal(flow.decayed(linear, {})(ones())[1]["theta"], linear(ones())[1]["theta"])


def test_optimise_with_sgd_is_descent():
    values, state = flow.optimise(linear, ones(), optimiser=torch.optim.SGD, lr=0.1, steps=10, every=5)
    record = flow.integrate(linear, ones(), step=0.1, times=[0.0, 0.5, 1.0])
    assert torch.allclose(state["theta"], record.state["theta"], atol=1e-14)
    assert torch.allclose(values["loss"], record.values["loss"], atol=1e-14)


@pytest.mark.parametrize("settings", [{}, {"activation": "relu"}, {"kernel": "gaussian", "common": True}])
def test_a_stack_of_16_equals_16_single_runs(settings):
    seeds, times = range(40, 56), [0.0, 0.5, 1.0]

    def train(some):
        _, field, start = experiments.problem(some, "cpu", **settings)
        record = flow.integrate(
            field, start, step=0.02, times=times, method="heun", observe=lambda state: {"W_Q": state["W_Q"]}
        )
        return record.values["W_Q"], record.state

    stacked, end = train(seeds)
    for place, seed in enumerate(seeds):
        alone, alone_end = train([seed])
        assert (stacked[:, place] - alone[:, 0]).abs().max() <= 1e-9 * stacked.abs().max()
        for name, value in end.items():
            assert (value[place] - alone_end[name][0]).abs().max() <= 1e-9 * value.abs().max()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": 0.0}, "step"),
        ({"step": float("nan")}, "step"),
        ({"times": [1.0, 0.5]}, "times"),
        ({"times": [-1.0, 0.5]}, "times"),
        ({"times": []}, "times"),
        ({"method": "euler"}, "one of descent, heun"),
        ({"max_steps": 0}, "max_steps"),
        ({"stop_loss": float("nan")}, "stop_loss"),
    ],
)
def test_bad_input_is_one_clear_error(changes, words):
    with pytest.raises(ValueError, match="is not allowed") as caught:
        flow.integrate(linear, ones(), **({"step": 0.1, "times": [1.0]} | changes))
    assert words in str(caught.value)


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="theta"):
        flow.integrate(linear, {"theta": torch.full((3, 2), torch.nan)}, step=0.1, times=[1.0])


def test_log_times_begin_at_zero_and_meet_both_ends():
    times = flow.log_times(0.01, 100.0, 9)
    assert times[0] == 0 and times[1] == 0.01 and times[-1] == 100.0 and (times.diff() > 0).all()
    with pytest.raises(ValueError, match="last"):
        flow.log_times(1.0, 0.5, 9)
