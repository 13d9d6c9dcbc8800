"""The room of chapter 1: its model against autograd, its theory against sympy and scipy."""

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.integrate import quad, solve_ivp

from attnflow import flow, runs, symbolic
from attnflow.foundations import counting, experiments, figures, model, solvable, task, theory
from attnflow.foundations.model import Layer

OPTIONS = [{}, {"activation": "relu"}, {"activation": "tanh"}, {"kernel": "gaussian"}, {"skip": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradient_by_hand_equals_autograd(options):
    layer = Layer(**options)
    generators = runs.streams(range(3))
    inputs = task.tokens(generators, 5, 4, layer.d)
    targets = task.teacher(generators, layer, inputs)
    state = model.init(generators, layer)
    loss, gradient = model.field(inputs, targets, layer)(state)
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    slow = model.loss(leaves, inputs, targets, layer)
    slow.sum().backward()
    assert torch.allclose(loss, slow.detach(), atol=1e-14)
    for name, leaf in leaves.items():
        assert (gradient[name] - leaf.grad).abs().max() <= 1e-12 * leaf.grad.abs().max()


def test_attention_is_the_slow_double_loop():
    layer = Layer()
    generators = runs.streams([0])
    inputs, state = task.tokens(generators, 1, 3, layer.d), model.init(generators, layer)
    queries, keys = inputs[0, 0] @ state["W_Q"][0], inputs[0, 0] @ state["W_K"][0]
    slow = torch.stack([torch.stack([torch.exp(q @ k / layer.k**0.5) for k in keys]) for q in queries])
    assert torch.allclose(model.attention(state, inputs, layer)[0, 0], slow / slow.sum(dim=1, keepdim=True))
    gaussian = model.attention(state, inputs, Layer(kernel="gaussian"))[0, 0]
    slow = torch.exp(-(torch.cdist(queries, keys) ** 2) / (2 * layer.k**0.5))
    assert torch.allclose(gaussian, slow)


def test_derived_gradient_agrees_with_autograd():
    for shape in ({"length": 2, "d": 2, "k": 2, "o": 1}, {"length": 3, "d": 2, "k": 1, "o": 2}):
        point = theory.sample_point(Layer(shape["d"], shape["k"], shape["o"]), shape["length"])
        gradient = theory.layer_gradient(**shape)
        assert symbolic.agree(*gradient, point.loss, point.draw, point.intermediate) < 1e-12


def test_proofs_and_their_neighbours():
    assert theory.product_law_holds() and not theory.product_sum_holds()
    assert theory.neuron_law_holds(lambda z: sp.Max(z, 0)) and theory.neuron_law_holds(lambda z: 3 * z)
    assert not theory.neuron_law_holds(sp.tanh) and not theory.neuron_law_holds(lambda z: sp.Max(z, 0) ** 2)
    assert theory.shift_law_holds() and not theory.shift_law_holds(normalised=False)
    assert theory.decay_flow_balance() == -2 * sp.Symbol("lambda", positive=True)
    assert theory.arrival_slope() == 1


def test_logistic_is_what_sympy_solves_and_what_scipy_integrates():
    expression, time, start, target = theory.logistic_expression()
    number = float(expression.subs({time: 1.5, start: 0.02, target: 1.3}))
    assert theory.logistic([1.5], 0.02, 1.3)[0] == pytest.approx(number, rel=1e-12)
    slow = solve_ivp(lambda t, u: 2 * u * (1.3 - u), (0, 1.5), [0.02], rtol=1e-11, atol=1e-13).y[0, -1]
    assert number == pytest.approx(slow, rel=1e-8)


@pytest.mark.parametrize("imbalance", [0.0, 0.3, -0.3, 2.0])
def test_arrival_time_is_the_integral(imbalance):
    slow = quad(lambda u: 1 / (np.hypot(imbalance, 2 * u) * (1 - u)), 0.02, 0.5)[0]
    assert theory.arrival_time(0.02, 0.5, 1.0, imbalance) == pytest.approx(slow, rel=1e-9)


def test_the_task_has_white_means_and_linear_labels():
    inputs, targets, beta = task.mean_task(runs.streams([0, 1]), 16, 4, 3, target=2.0)
    means = inputs.mean(dim=2)
    assert torch.allclose(means.mT @ means / 16, torch.eye(3, dtype=runs.DTYPE).expand(2, 3, 3), atol=1e-12)
    assert torch.allclose(targets[:, :, 1], 2 * means @ beta[:, :, None])


def test_three_ways_to_one_answer():
    exact = theory.logistic([2.4], 0.02, 1.0)[0]
    assert solvable.reference_product([0], time=2.4) == pytest.approx(exact, abs=1e-8)
    for method, order in (("descent", 1), ("heun", 2)):
        record = solvable.solvable_order.but(method=method)((0, 1))
        assert (flow.observed_order(record["steps"], record["error"]) - order).abs().max() < 0.1


def test_split_recovers_product_and_imbalance():
    for product, imbalance in ((0.02, 0.0), (0.02, 1.5), (0.3, -1.5)):
        a, b = solvable.split(product, imbalance)
        assert a * b == pytest.approx(product) and a * a - b * b == pytest.approx(imbalance, abs=1e-12)


def test_crossing_is_linear_between_records():
    times = torch.tensor([0.0, 1.0, 2.0])
    values = torch.tensor([[0.0, 0.0], [0.4, 0.1], [0.6, 1.1]])
    assert torch.allclose(solvable.crossing(times, values, 0.5), torch.tensor([1.5, 1.4]))
    with pytest.raises(ValueError, match="crossed"):
        solvable.crossing(times, values, 2.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Layer(d=0), "d = 0"),
        (lambda: Layer(k=1.5), "k = 1.5"),
        (lambda: Layer(activation="gelu"), "identity, relu, tanh"),
        (lambda: Layer(kernel="cosine"), "softmax, gaussian"),
        (lambda: model.init(runs.streams([0]), Layer(), scale=float("nan")), "scale = nan"),
        (lambda: task.tokens(runs.streams([0]), 0, 4, 4), "samples = 0"),
        (lambda: task.mean_task(runs.streams([0]), 2, 4, 3, 1.0), "samples = 2"),
        (lambda: task.mean_task(runs.streams([0]), 8, 4, 3, 0.0), "target = 0.0"),
        (lambda: model.field(torch.zeros(1, 2, 3, 5), torch.zeros(1, 2, 3, 2), Layer()), "tokens"),
        (lambda: model.field(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 4, 2), Layer()), "targets"),
        (lambda: theory.arrival_time(0.5, 0.1, 1.0, 0.0), "increasing"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    with pytest.raises(ValueError, match="is not allowed") as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_figures_draw_theory_and_every_run():
    seeds = (0, 1)
    figure = figures.logistic_figure(solvable.solvable_run(seeds))
    lines = figure.axes[0].get_lines()
    assert len(lines) == 3 and lines[-1].get_linestyle() == "--"
    figure = figures.order_figure(*[experiments.descent_order(seeds)] * 3)
    assert len(figure.axes[0].get_lines()) == 8
    assert figures.layer_picture().axes[0].patches


def test_the_count_table_says_where_a_list_is_complete():
    case = counting.product(3, 4, 2)
    short = counting.product(3, 4, 2, skip=True)
    text = counting.table([(case, case.count()), (short, short.count())])
    assert "3, complete" in text and "**not met**" in text
