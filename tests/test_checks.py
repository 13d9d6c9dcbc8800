"""The experiments that every chapter makes, on two factors and on one exponential, whose answers are known."""

import math

import pytest
import torch
from conftest import refusal
from rooms import gradient_gap

from attnflow import checks, curves, flow, laws, runs
from attnflow.flow import Heun, Momentum, Optimiser


def product(seeds, device, width=2, broken=0.0):
    """A B^T is to meet the identity; the gradient by B is too large by a part that is broken."""
    drawn = runs.to(
        {"A": runs.normal(runs.streams(seeds, "A"), 2, width), "B": runs.normal(runs.streams(seeds, "B"), 2, width)},
        device,
    )

    def field(state):
        miss = state["A"] @ state["B"].mT - torch.eye(2, dtype=runs.DTYPE, device=device)
        loss = miss.square().sum(dim=(1, 2)) / 2
        return loss, {"A": miss @ state["B"], "B": (1 + broken) * (miss.mT @ state["A"])}

    return field, drawn


def decay(seeds, device):
    """theta' = -theta: what a method makes of it is known."""
    return lambda state: (state["x"].square().sum(dim=1) / 2, state), {
        "x": runs.normal(runs.streams(seeds, "draws"), 3)
    }


def balances(state):
    return {"law": laws.imbalance(state["A"], state["B"]), "product": state["A"] @ state["B"].mT}


def pairs(state):
    return {"pair": (state["A"], state["B"])}


def test_drift_falls_with_the_step_where_a_law_holds_and_only_there():
    short = {"steps": (0.02, 0.01, 0.005), "time": 1.0}
    record = checks.drift(range(3), "cpu", product, balances, **short)
    assert record["law"].shape == (3, 3) and (curves.order(record["steps"], record["law"]) - 1).abs().max() < 0.05
    assert curves.order(record["steps"], record["product"]).abs().max() < 0.05
    for changes in ({"broken": 0.5}, {"method": Optimiser(torch.optim.Adam)}):
        other = checks.drift(range(3), "cpu", product, balances, **short, **changes)
        assert curves.order(other["steps"], other["law"]).abs().max() < 0.2
    one = checks.drift([0], "cpu", product, balances, steps=(0.1,), time=0.1, records=2)["law"]
    slope = product([0], "cpu")[0](product([0], "cpu")[1])[1]
    assert torch.allclose(one[0], 0.01 * laws.imbalance(slope["A"], slope["B"]).abs().amax(dim=(1, 2)), rtol=1e-9)


def test_the_distance_to_the_flow_is_the_one_that_is_known():
    step, made = (
        torch.tensor(checks.STEPS, dtype=runs.DTYPE),
        {None: lambda h: 1 - h, Heun(): lambda h: 1 - h + h * h / 2},
    )
    for method, factor in made.items():
        record = checks.order((0, 1), "cpu", decay, method=method)
        wanted = (factor(step) ** (2 / step).round() * math.exp(2) - 1).abs()
        torch.testing.assert_close(record["error"], wanted[:, None].expand(4, 2), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        ({}, True),
        ({"step": 0.3}, True),
        ({"broken": 0.01}, False),
        ({"method": Momentum(0.9)}, False),
        ({"method": Heun()}, False),
    ],
)
def test_one_step_of_descent_is_exact_and_no_other(changes, exact):
    residual = checks.one_step(range(3), "cpu", product, pairs, **changes)["pair"]
    assert residual.shape == (3,) and bool((residual < 1e-12).all()) == exact == bool((residual < 1e-4).all())


def test_a_gradient_by_hand_is_compared_in_every_entry():
    def loss(state):
        return product((0, 1), "cpu")[0](state)[0]

    gaps = [gradient_gap(*product((0, 1), "cpu", broken=broken), loss) for broken in (0.0, 1e-6)]
    assert gaps[0] < 1e-14 and gaps[1] == pytest.approx(1e-6, rel=1e-3)
    assert gradient_gap(*product((0, 1), "cpu"), lambda state: loss(state) + 1) > 1e-3
    rows = checks.stacked([{"a": torch.ones(2)}, {"a": torch.zeros(2)}])
    assert rows["a"].tolist() == [[1, 1], [0, 0]] and flow.Descent() == flow.Descent()


def test_plain_steps_are_compared_with_the_first_run_of_the_stack():
    field, start = product((0, 1), "cpu")
    plain = {name: value[0].clone() for name, value in start.items()}
    for _ in range(5):
        slopes = field({name: value[None] for name, value in plain.items()})[1]
        plain = {name: value - 0.1 * slopes[name][0] for name, value in plain.items()}
    assert checks.steps_apart(field, start, plain, 0.1, 5) < 1e-14
    assert checks.steps_apart(field, start, plain, 0.1, 6) > 1e-3
    name, value = plain.popitem()
    assert checks.steps_apart(field, start, plain, 0.1, 5) < 1e-14, "of some weights"
    assert "names and shapes among" in refusal(lambda: checks.steps_apart(field, start, {"other": value}, 0.1, 5))
    assert "names and shapes among" in refusal(lambda: checks.steps_apart(field, start, {name: value[:1]}, 0.1, 5))
