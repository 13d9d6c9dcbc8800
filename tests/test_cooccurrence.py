"""Chapter 2: the fast gradient against a dense twin, the reduction, stacks, closed forms, and wrong input."""

import math

import numpy as np
import pytest
import torch

from attnflow import flow, runs
from attnflow.cooccurrence import balance, dual, experiments, layers, model, phases, readings, reduced, task, theory
from attnflow.cooccurrence.claims import SWEEPS
from attnflow.cooccurrence.task import Task

SMALL = {"samples": 12, "length": 4, "width": 6, "neurons": 4, "scale": 1.0}


def dense_loss(state, tokens, labels):
    """The loss with one-hot tokens and softmax over the last axis: (S,)."""
    words, width = state["W_V"].shape[1:]
    inputs = torch.nn.functional.one_hot(tokens, words).to(runs.DTYPE)
    queries, keys, values = (inputs @ state[name][:, None] for name in ("W_Q", "W_K", "W_V"))
    weights = torch.softmax(queries @ keys.mT / math.sqrt(width), dim=-1)
    if "readout" in state:
        outputs = (weights @ values @ state["readout"][:, None, :, None])[..., 0]
    else:
        outputs = (weights @ values @ state["W_O"][:, None] @ state["signs"][:, None, :, None])[..., 0]
    return torch.nn.functional.softplus(-labels * outputs.sum(dim=2)).mean(dim=1)


@pytest.mark.parametrize("data", [{}, {"distinct": False, "words": 9}, {"common": False}])
def test_gathered_gradient_is_that_of_the_dense_twin(data):
    asked, tokens, labels, state, _ = experiments.problem((0, 1, 2), "cpu", full=True, **SMALL, **data)
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    loss = dense_loss(leaves, tokens, labels)
    wanted = dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))
    found_loss, found = model.field(tokens, labels, asked.size, 4, trained_signs=True)(state)
    torch.testing.assert_close(found_loss, loss.detach(), rtol=1e-13, atol=1e-14)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-11, atol=1e-14)


def test_reduced_gradient_is_the_autograd_one_with_the_readout_scaled():
    """The readout moves o times faster than the gradient by it would say: that is what the neurons add up to."""
    asked, tokens, labels, state, _ = experiments.problem((0, 1), "cpu", **SMALL)
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    wanted = torch.autograd.grad(dense_loss(leaves, tokens, labels).sum(), list(leaves.values()))
    _, found = model.field(tokens, labels, asked.size, 4)(state)
    for name, value in zip(leaves, wanted, strict=True):
        torch.testing.assert_close(found[name], value * (4 if name == "readout" else 1), rtol=1e-11, atol=1e-14)


def test_frozen_attention_does_not_move():
    asked, tokens, labels, state, _ = experiments.problem((0,), "cpu", **SMALL)
    _, found = model.field(tokens, labels, asked.size, 4, frozen=True)(state)
    assert not found["W_Q"].any() and not found["W_K"].any() and found["W_V"].any()


def test_forward_and_attention_agree_with_the_loss():
    asked, tokens, labels, state, _ = experiments.problem((0, 1), "cpu", **SMALL)
    weights = model.attention(state, tokens)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 12, 4, dtype=runs.DTYPE))
    outputs = model.forward(state, tokens)
    wanted = dense_loss(state, tokens, labels)
    torch.testing.assert_close(torch.nn.functional.softplus(-labels * outputs).mean(dim=1), wanted)


def test_reduction_is_exact_and_trained_signs_break_it():
    shape = {"samples": 12, "length": 4, "width": 6, "neurons": 4, "scale": 1.0, "steps": 100}
    assert layers.reduction((0, 1), "cpu", **shape)["gap"].max() < 1e-12
    assert layers.reduction((0, 1), "cpu", trained_signs=True, **shape)["gap"].min() > 1e-4


def test_a_stack_of_16_is_16_single_runs():
    shape = {"samples": 12, "width": 16, "records": ("log", 0.05, 100.0, 20), "test": 60}
    together = experiments.train(tuple(range(16)), "cpu", **shape)
    for seed in range(16):
        alone = experiments.train((seed,), "cpu", **shape)
        for name in ("loss", "margins", "gamma", "scores", "gram", "tau", "tau_1", "accuracy"):
            one = together[name][..., seed] if together[name].ndim < 2 else together[name][:, seed]
            other = alone[name][..., 0] if alone[name].ndim < 2 else alone[name][:, 0]
            size = other.nan_to_num().abs().max()
            assert (one - other).nan_to_num().abs().max() <= 1e-9 * size, name


def test_data_are_what_the_task_says():
    asked = Task(60, 5)
    tokens, labels = task.draw(runs.streams((0, 1)), asked)
    bags = task.counts(tokens, asked.size)
    assert asked.counts == (30, 10, 10, 10) and asked.size == 163 and asked.slots == 160
    assert bool((bags[:, :, 2] == 1).all()) and bool((bags[:, :, 3:].sum(dim=1) == 1).all())
    assert bags[0, asked.classes == 0, :2].unique().tolist() == [1.0]
    assert not bags[0, asked.classes == 3, :2].any()
    assert labels[0].tolist() == [1.0] * 30 + [-1.0] * 30
    assert not torch.equal(tokens[0], tokens[1]), "every seed has fresh data"
    places = (tokens == 2).to(runs.DTYPE).mean(dim=(0, 1))
    assert bool((places - 0.2).abs().max() < 0.12), "the common word stands anywhere"
    test_tokens, test_labels = task.fresh(runs.streams((0,)), asked, 600)
    assert test_tokens.shape == (1, 600, 5) and int(test_tokens.max()) < 163 and test_labels.sum() == 0
    free = Task(12, 4, common=False)
    assert free.random_words == (2, 3, 3, 4) and not (task.draw(runs.streams((0,)), free)[0] == 2).any()


@pytest.mark.parametrize("samples, length", [(12, 3), (60, 3), (24, 5), (36, 5), (60, 5), (30, 7)])
def test_closed_forms_are_the_dual_of_drawn_data(samples, length):
    second, fourth, rho = balance.predicted(samples, length)
    found = readings.dual_sums(samples, length)
    np.testing.assert_allclose(found, [1, second, second, fourth], atol=1e-10)
    assert abs(float(phases.ratio(torch.tensor(found))) - rho) < 1e-9


def test_closed_forms_have_the_known_shape():
    samples, length = balance.SAMPLES, balance.LENGTH
    assert (
        balance.limit(False)["s_2"] - (5 * samples + 2 * length - 6) / (7 * samples + 6 * length - 12)
    ).simplify() == 0
    assert (balance.limit(True)["rho"] - 2 * (2 * samples - 3) / (3 * (samples + length - 1))).simplify() == 0
    assert balance.predicted() == (5 / 7, 0.0, 1.5) and float(balance.fixed_ratio()) == 1.5
    assert balance.range_holds() and not balance.range_holds(bounded=False)
    polynomial = samples**2 + 27 * samples - 13 * length * samples - 6 * length**2 + 30 * length - 36
    assert (balance.edge() / polynomial).simplify().is_positive


def test_separation_meets_the_conditions_of_its_optimum():
    rng = np.random.default_rng(0)
    labels = np.sign(rng.normal(size=12))
    features = rng.normal(size=(12, 20))
    found = dual.separate(features, labels)
    assert found.margins.min() > 1 - 1e-9 and found.alpha.min() >= 0
    assert np.abs(found.alpha * (found.margins - 1)).max() < 1e-9
    with pytest.raises(ValueError, match="separable"):
        dual.separate([[1.0], [1.0]], [1, -1])


def test_reduced_flow_agrees_with_its_series_and_with_a_network_of_small_weights():
    target, common, tau = balance.series()
    found = reduced.Reduced().solve([0.0, 0.2])
    np.testing.assert_allclose(found["gamma"][1, 0], float(target.subs(tau, 0.2)), atol=1e-6)
    np.testing.assert_allclose(found["gamma"][1, 2], float(common.subs(tau, 0.2)), atol=1e-6)
    marks = reduced.Reduced(12, 4).landmarks()
    shape = {"samples": 12, "length": 4, "scale": 1e-4, "records": ("even", 10.0, 101), "test": 60, "width": 256}
    run = experiments.train((0, 1), "cpu", stop_loss=0.0, step=0.1, **shape)
    assert (run["tau_1"] / marks["tau_1"]["tau"] - 1).abs().max() < 0.02
    expected = reduced.Reduced(12, 4).solve(np.linspace(0, 10, 101))
    assert np.abs(run["gamma"][:, 0].numpy() - expected["gamma"][:, :3]).max() < 0.02


def test_two_integrators_and_the_flow_of_scipy_agree():
    shape = {"samples": 12, "length": 4, "width": 6, "scale": 1.0}
    asked, tokens, labels, state, _ = experiments.problem((0,), "cpu", **shape)
    field = model.field(tokens, labels, asked.size, 16)
    exact = {name: value[-1] for name, value in flow.reference(field, state, [0.0, 1.0]).items()}
    speed = model.pace(tokens, asked.size, 16)
    clocked = flow.integrate(field, state, step=0.02, times=[1.0], method="heun", speed=speed).state
    for name in exact:
        assert (clocked[name] - exact[name]).abs().max() < 1e-4, name


def test_three_ways_to_one_answer():
    found = layers.three_ways((0, 1), "cpu", scale=1e-4, width=32)
    assert (found["scipy"] - found["reduced"]).abs().max() < 0.05 and found["scipy"].shape == (2,)
    assert (found["scipy"] - found["descent"]).abs().max() < 2e-3


def test_crossing_and_values_in_between():
    times = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    values = torch.tensor([[-1.0, 1.0, -1.0], [3.0, 1.0, -1.0], [-1.0, 1.0, -1.0], [1.0, 1.0, torch.nan]])
    found = phases.crossing(times, values)
    assert found[0] == 2.5 and found[1].isnan() and found[2].isnan()
    assert phases.at(times, values, torch.tensor([0.25, 1.0, 0.5])).tolist() == [0.0, 1.0, -1.0]
    assert float(phases.most(values)[2]) == -1.0


def test_the_end_of_a_run_is_recorded_once():
    shape = {"samples": 12, "width": 16, "test": 60}
    run = experiments.train((0, 1), "cpu", records=("log", 0.05, 1e4, 30), stop_loss=0.05, **shape)
    last = phases.ends(run)
    assert bool((phases.final(run, run["loss"]) <= 0.05).all()) and run["status"] == ["loss", "loss"]
    for seed in (0, 1):
        assert bool((run["tau"][: last[seed] + 1, seed].diff() > 0).all())
    run = experiments.train((0,), "cpu", records=("even", 5.0, 6), stop_loss=0.0, **shape)
    assert run["tau"][:, 0].tolist() == pytest.approx([0, 1, 2, 3, 4, 5])


def test_laws_are_proved_and_counted():
    assert theory.proved() == {
        "query-key": True,
        "value-output": True,
        "off signs": True,
        "key sum": True,
        "query sum": False,
    }
    assert theory.count(d=3, length=5)["complete"] and theory.count(one_hot=False)["complete"]


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"samples": 20}, "samples = 20 .* divisible by 6"),
        ({"samples": 0}, "samples = 0 .* at least 1"),
        ({"length": 2}, "length = 2 .* at least 3"),
        ({"words": 64}, "words = 64 .* at least 163"),
        ({"distinct": False}, "words = None .* given where words repeat"),
        ({"fractions": (0.5, 0.5, 0.0, 0.0)}, "fraction = 0.0 .* greater than 0"),
        ({"fractions": (0.5, 0.2, 0.2, 0.2)}, "fractions .* sum to 1"),
        ({"label": "third"}, "label = 'third' .* one of both, first"),
        ({"scale": math.nan}, "inner = nan .* finite"),
        ({"readout": 0.0}, "outer = 0.0 .* greater than 0"),
        ({"width": 0}, "width = 0 .* at least 1"),
        ({"step": math.nan}, "step = .*nan.* finite and greater than 0"),
        ({"stop_loss": math.nan}, "stop_loss = nan .* finite"),
        ({"records": ("some", 1.0, 2)}, "records = 'some' .* one of log, even, steps"),
    ],
)
def test_wrong_settings_are_one_clear_error(settings, said):
    with pytest.raises(ValueError, match=said) as caught:
        experiments.train((0,), "cpu", **settings)
    assert len(str(caught.value).splitlines()) == 1


def test_wrong_tensors_are_one_clear_error():
    tokens, labels = task.draw(runs.streams((0,)), Task(6, 3))
    for wrong, signs, words in ((tokens, labels, 3), (tokens.double(), labels, 9), (tokens, labels[:, :3], 9)):
        with pytest.raises(ValueError, match="is not allowed"):
            model.field(wrong, signs, words, 4)
    with pytest.raises(ValueError, match="reading = 'xavier'"):
        experiments.paper((0,), "cpu", reading="xavier")
    with pytest.raises(ValueError, match="samples = 5"):
        balance.predicted(5, 5)
    with pytest.raises(ValueError, match="divisible by 6"):
        reduced.Reduced(20, 5)


def test_sweep_cell_gives_one_number_a_run():
    diagram, curves = SWEEPS
    found = diagram.function(device="cpu", samples=12, length=3, seeds=2, width=16, stop_loss=0.01)
    assert all(len(values) == 2 for values in found.values())
    found = curves.function(device="cpu", reading="he", seeds=2, epochs=10, count=6)
    assert found["scores"].shape == (7, 2, 3, 3) and found["epochs"].tolist() == [0, 1, 2, 3, 4, 6, 10]
