"""The room of chapter 1: its theory against sympy, scipy and slow loops."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import refusal
from scipy.integrate import quad, solve_ivp

from attnflow import curves, flow, runs, symbolic
from attnflow.foundations import balancing, breaking, cases, counting, model, solvable, task, theory
from attnflow.foundations.model import Layer

SEED = runs.streams([0], "draws")
zeros = partial(torch.zeros, dtype=runs.DTYPE)


def test_attention_is_the_slow_double_loop():
    layer, generators = Layer(), runs.streams([0], "draws")
    inputs, state = task.tokens(generators, 1, 3, layer.d), model.init(generators, layer)
    queries, keys = inputs[0, 0] @ state["W_Q"][0], inputs[0, 0] @ state["W_K"][0]
    slow = torch.stack([torch.stack([torch.exp(q @ k / layer.k**0.5) for k in keys]) for q in queries])
    assert torch.allclose(model.attention(state, inputs, layer)[0, 0], slow / slow.sum(dim=1, keepdim=True))
    gaussian = torch.exp(-(torch.cdist(queries, keys) ** 2) / (2 * layer.k**0.5))
    assert torch.allclose(model.attention(state, inputs, Layer(kernel="gaussian"))[0, 0], gaussian)


@pytest.mark.parametrize(
    "shape", [{"length": 2, "d": 2, "k": 2, "o": 1}, {"length": 3, "d": 2, "k": 1, "o": 2}], ids=str
)
def test_derived_gradient_agrees_with_autograd(shape):
    point = theory.sample_point(Layer(shape["d"], shape["k"], shape["o"]), shape["length"])
    assert symbolic.agree(*theory.layer_gradient(**shape), **point) < 1e-12


def test_what_sympy_proves_beside_the_claims():
    assert theory.neuron_law_holds(lambda z: 3 * z) and not theory.neuron_law_holds(lambda z: sp.Max(z, 0) ** 2)
    assert (theory.decay_flow_balance(), theory.balance_degree()) == (-2 * theory.RATE, 2)


def test_a_neuron_is_balanced_where_its_activation_is_homogeneous_on_both_sides():
    assert not theory.neuron_law_holds(lambda z: sp.Max(z, 0) + sp.Min(z, 0) ** 2)
    assert not theory.neuron_law_holds(lambda z: sp.Max(z, 0) ** 2 + sp.Min(z, 0))


@pytest.mark.parametrize("target", [0.7, 1.0, 2.0])
def test_logistic_is_what_scipy_integrates(target):
    slow = solve_ivp(lambda t, u: 2 * u * (target - u), (0, 1.5), [0.02], rtol=1e-11, atol=1e-13).y[0, -1]
    assert theory.logistic([0.0, 1.5], 0.02, target) == pytest.approx([0.02, slow], rel=1e-8)


@pytest.mark.parametrize("target", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("imbalance", [0.0, 0.3, -0.3, 2.0])
def test_arrival_time_is_the_integral(imbalance, target):
    slow = quad(lambda u: 1 / (np.hypot(imbalance, 2 * u) * (target - u)), 0.02, target / 2)[0]
    assert theory.arrival_time(0.02, target / 2, target, imbalance) == pytest.approx(slow, rel=1e-9)


def test_initial_weights_have_their_sizes():
    state = model.init(runs.streams(range(50), "draws"), Layer(d=9, k=4, o=25), scale=0.6)
    for name, std in {"W_Q": 0.2, "W_K": 0.2, "W_V": 0.2, "W_O": 0.3}.items():
        assert float(state[name].square().mean().sqrt()) == pytest.approx(std, rel=4 / (2 * state[name].numel()) ** 0.5)


def test_the_task_has_white_means_and_linear_labels():
    inputs, targets, beta = task.mean_task(runs.streams([0, 1], "draws"), 16, 4, 3, target=2.0)
    means = inputs.mean(dim=2)
    assert torch.allclose(means.mT @ means / 16, torch.eye(3, dtype=runs.DTYPE).expand(2, 3, 3), atol=1e-12)
    assert torch.allclose(targets[:, :, 1], 2 * means @ beta[:, :, None])


def test_three_ways_to_one_answer():
    assert solvable.reference_product([0], time=2.4) == pytest.approx(theory.logistic([2.4], 0.02, 1.0)[0], abs=1e-8)
    for method, order in ((flow.Descent(), 1), (flow.Heun(), 2)):
        record = solvable.solvable_order.but(method=method)((0, 1))
        assert (curves.order(record["steps"], record["error"]) - order).abs().max() < 0.1


@pytest.mark.parametrize(("product", "imbalance"), [(0.02, 0.0), (0.02, 1.5), (0.3, -1.5)])
def test_split_recovers_product_and_imbalance(product, imbalance):
    a, b = solvable.split(product, imbalance)
    assert (a * b, a * a - b * b) == pytest.approx((product, imbalance), abs=1e-12)


def test_an_arrival_is_read_where_it_is_furthest_from_the_closed_form(monkeypatch):
    times, known = iter(torch.tensor([[1.0], [3.0], [2.0]], dtype=runs.DTYPE)), iter([1.0, 4.0, 2.1])
    run = {"start": 0.02, "target": 1.0, "times": None, "u": None}
    monkeypatch.setattr(solvable, "solvable", lambda *given, **settings: run)
    monkeypatch.setattr(solvable.curves, "first_crossing", lambda *given: next(times))
    monkeypatch.setattr(solvable.theory, "arrival_time", lambda **how: next(known))
    assert solvable.arrivals((0,), "cpu", imbalances=(0.0, 1.0, 2.0))["worst"].tolist() == [0.75]


def test_a_turned_start_is_no_longer_aligned_and_as_long():
    turned = [solvable.aligned_start((0, 1), "cpu", 1.0, 0.5, 1.0, 0.1, k=4, turn=turn)[1:] for turn in (0.0, 1.0)]
    (one, observe), (other, _) = turned
    assert observe(other)["u"].tolist() == pytest.approx((np.cos(1.0) * observe(one)["u"]).tolist())
    assert torch.allclose(other["W_O"].norm(dim=(1, 2)), one["W_O"].norm(dim=(1, 2)))
    assert all(torch.equal(one[name], other[name]) for name in ("W_Q", "W_K", "W_V"))


@pytest.mark.parametrize(
    ("side", "off", "share"), [(1, 0.09, 1.0), (1, -0.09, 1.0), (1, 0.11, 0.0), (1, -0.11, 0.0), (-1, 0.0, 0.0)]
)
def test_a_start_has_arrived_at_the_target_and_on_its_side(side, off, share, monkeypatch):
    """Starts nearer to the separatrix than the room do not arrive, and are not counted."""

    def told(seeds, device, first, second, **settings):
        far = (first + second).abs() / 2**0.5 >= 0.4
        ends = {"a": (first, side * first), "b": (second, side * second), "u": (first, torch.where(far, 2 + off, 0.0))}
        return {name: torch.stack([one.flatten() for one in pair]) for name, pair in ends.items()} | {"target": 2.0}

    monkeypatch.setattr(solvable, "aligned", told)
    assert solvable.portrait((0, 1), "cpu", starts=20, room=0.4)["share"].tolist() == [share] * 2


def test_growth_is_read_where_half_of_the_loss_is_left(monkeypatch):
    """One run of the first size passes it between two records, one never does; in the second size both pass it later."""
    times = torch.arange(5.0, dtype=runs.DTYPE)[:, None].expand(5, 2)
    losses = iter([[[8.0, 8.0], [6, 7], [5, 7], [3, 7], [1, 7]], [[4.0, 4.0], [4, 4], [4, 4], [3, 3], [1, 1]]])
    ways = iter([times * torch.tensor([1, 10]), 100 * times])

    def told(*given, **how):
        loss = torch.tensor(next(losses), dtype=runs.DTYPE)
        return SimpleNamespace(times=times, values={"relative": next(ways)}, loss=loss)

    monkeypatch.setattr(breaking, "problem", lambda *given, **settings: (None, None))
    monkeypatch.setattr(breaking.flow, "integrate", told)
    ends = breaking.growth((0, 1), "cpu")["end"]
    assert ends.flatten().tolist() == pytest.approx([2.5, np.nan, 350, 350], nan_ok=True)


@pytest.mark.parametrize("rates, worst", [((1.0, 0.5), 0.5), ((0.5, 1.0), 0.5), ((1.4, 0.8), 1.4), ((1.0, 1.0), 1.0)])
def test_decay_is_read_in_the_pair_that_is_further_from_the_prediction(rates, worst, monkeypatch):
    def told(field, start, times, **how):
        sizes = zip(("query-key", "value-output"), rates, strict=True)
        return SimpleNamespace(values={name: torch.exp(-2 * 0.3 * rate * times)[:, None, None] for name, rate in sizes})

    monkeypatch.setattr(breaking.flow, "integrate", told)
    assert breaking.decay((0,), "cpu", rate=0.3)["rate"].tolist() == pytest.approx([worst])


def test_readings_take_the_smallest_step_and_the_worst_pair():
    rows = torch.tensor([[0.4, 0.2], [0.3, 0.1]], dtype=runs.DTYPE)
    terms = {"query alone": 0 * rows + 0.3, "key alone": 0 * rows + 0.2}
    assert breaking.moved_share({"query-key": rows} | terms).tolist() == pytest.approx([0.6, 0.2])
    (claim,) = (claim for claim in balancing.CLAIMS if claim.name == "one-step")
    pair = {"query-key": rows[0], "value-output": rows[1] * 2}
    assert claim.trial.read(pair).tolist() == [0.6, 0.2]
    assert claim.trial.read({"query-key": pair["value-output"], "value-output": rows[0]}).tolist() == [0.6, 0.2]


def test_every_case_of_the_chapter_is_counted_sharply_and_completely():
    pairs = [(case, case.count(seed=1)) for case in counting.listed()]
    assert all(found["laws"] == case.known and found["closed"] and found["gap"] > 1e6 for case, found in pairs)
    short = cases.product(3, 4, 2, skip=True)
    assert [row.count("complete") for row in counting.table([*pairs, (short, short.count())]).splitlines()[2:]] == [
        1
    ] * 13 + [0]


@pytest.mark.parametrize("sizes", [(2, 4, 1, 2), (3, 2, 3, 4), (3, 6, 2, 3)], ids=str)
@pytest.mark.parametrize("change", cases.CHANGES)
def test_what_changes_the_laws_of_attention_leaves_what_is_known(change, sizes):
    case = cases.altered(change, *sizes)
    found = case.count(points=1)
    assert found["closed"] and found["laws"] == case.known


def test_a_suite_of_deep_nets_is_counted_as_known():
    pairs = [(case, case.count(seed=3, points=1)) for case in cases.suite(seed=4)]
    assert len(pairs) == 100 and max(found["depth"] for _, found in pairs) >= 2
    assert [case.title for case, found in pairs if found["laws"] != case.known or not found["closed"]] == []


@pytest.mark.parametrize(
    "options", [{}, {"common": True}, {"kernel": "gaussian"}, {"kernel": "gaussian", "common": True}], ids=str
)
@pytest.mark.parametrize(
    "sizes", [(2, 1, 1, 2), (3, 2, 1, 2), (2, 3, 2, 3), (2, 5, 1, 2), (3, 1, 3, 4), (3, 7, 2, 3)], ids=str
)
def test_one_head_has_no_other_laws_at_narrow_and_wide_sizes(sizes, options):
    case = cases.attention(*sizes, **options)
    found = case.count(points=1)
    more = "kernel" in options and sizes[1] > 2 * sizes[0] - ("common" in options)
    assert found["closed"] and (found["laws"] > case.known if more else found["laws"] == case.known)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: task.mean_task(SEED, 2, 4, 3, 1.0), "samples = 2"),
        (lambda: task.mean_task(SEED, 8, 4, 3, 0.0), "target = 0.0"),
        (lambda: model.field(zeros(1, 2, 3, 5), zeros(1, 2, 3, 2), Layer()), "where d = 4"),
        (lambda: model.field(zeros(1, 2, 3, 4), zeros(1, 2, 4, 2), Layer()), "targets = a tensor"),
        (lambda: task.teacher(SEED, Layer(), zeros(2, 2, 3, 4)), "S = 1"),
        (lambda: cases.turned(zeros(2, 3)), "3 columns"),
        (lambda: cases.attention(3, 2, 2, length=1), "length = 1"),
        (lambda: counting.bound(cases.product, rows=3, columns=0, width=2), "columns = 0"),
        (lambda: theory.logistic([-1.0, 2.0], 0.1, 1.0), "times = -1.0"),
        (lambda: solvable.aligned_start((0,), "cpu", 1.0, 1.0, 1.0, 0.1, k=3, turn=1.0), "k = 3"),
        (lambda: cases.altered("rotary positions", k=3), "k = 3"),
        (lambda: cases.altered("layer norm"), "grouped keys"),
        (lambda: theory.arrival_time(0.5, 0.1, 1.0, 0.0), "increasing"),
        (lambda: theory.arrival_time(0.0, 0.1, 1.0, 0.0), "start = 0.0"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
