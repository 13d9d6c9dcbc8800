"""Chapter 4, balancing: four gradients, what each kernel keeps, how fast a balance moves, and how many laws there are."""

import pytest
import sympy as sp
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import checks, flow, runs, symbolic
from attnflow.attention import KERNELS
from attnflow.kernels import balancing, counting, figures_balancing, imbalance, model, setting, theory

SMALL = {"d": 3, "k": 2, "heads": 2, "samples": 2, "length": 3, "c": 0.8, "beta": 1.3}


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_derived_gradient_is_that_of_autograd(kernel):
    assert theory.agreement((kernel,), points=1, length=3, k=1, o=2) < 1e-12


def test_row_means_belong_to_the_slope_of_normalised_kernels_alone():
    for kernel in KERNELS:
        wrong = theory.agreement((kernel,), complete=False, points=1, d=1, k=1)
        assert (wrong > 1e-3) == kernel.startswith(("softmax", "normalised")), kernel


def test_scores_of_the_derivation_are_those_of_the_layer():
    layer, inputs, _, state = setting.drawn((0,), "cpu", **SMALL | {"heads": 1, "kernel": "gaussian"})
    names = {name: symbolic.matrix(name, 3, 2) for name in ("q", "k")}
    values = {name: inputs[0, 0] @ state[weight][0, 0] for name, weight in (("q", "W_Q"), ("k", "W_K"))}
    for kernel in ("exp", "gaussian"):
        found = theory.scores(kernel, names["q"], names["k"], 1 / sp.sqrt(2)).subs(
            {theory.SHARPNESS: layer.c, theory.INVERSE: layer.beta}
        )
        other = model.Layer(3, 2, 2, kernel=kernel, c=layer.c, beta=layer.beta)
        slow = torch.tensor(symbolic.evaluate({"z": found}, names, values)["z"], dtype=runs.DTYPE)
        assert torch.allclose(slow.exp(), other.weights(values["q"], values["k"]))


@pytest.mark.parametrize(
    ("law", "common", "kept"),
    [
        ("query-key", False, ("softmax", "exp")),
        ("rotation", False, KERNELS),
        ("key shift", True, ("softmax",)),
        ("shift", True, ("gaussian", "normalised_gaussian")),
        ("key shift", False, ()),
        ("shift", False, ()),
    ],
)
def test_what_each_kernel_keeps(law, common, kept):
    found = tuple(kernel for kernel in KERNELS if theory.score_law_holds(law, (kernel,), common, k=1))
    assert found == kept


def test_values_and_outputs_are_balanced_at_equal_rates_alone():
    assert theory.value_law_holds(length=2, d=2, k=2, o=2)
    assert not theory.value_law_holds({"W_O": 3}) and theory.value_law_holds({"W_V": 3, "W_O": 3})


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_rate_of_the_balance_is_the_chain_rule(kernel):
    layer, inputs, targets, state = setting.drawn((0, 1), "cpu", kernel=kernel, **SMALL)
    found = imbalance.imbalance_rate(state, inputs, targets, layer)
    slope = model.field(inputs, targets, layer)(state)[1]
    terms = (sign * state[name].mT @ slope[name] for sign, name in ((-1, "W_Q"), (1, "W_K")))
    slow = sum(term + term.mT for term in terms)
    assert torch.allclose(found, slow, atol=1e-13) and found.any() == kernel.endswith("gaussian")
    keys = imbalance.imbalance_rate(state, inputs, targets, layer, queries=False)
    assert torch.allclose(keys, found, atol=1e-13) == (kernel != "gaussian")


def test_the_rate_in_symbols_is_the_rate_in_numbers():
    layer, inputs, targets, state = setting.drawn(
        (4,), "cpu", **SMALL | {"heads": 1, "samples": 1, "kernel": "gaussian"}
    )
    shapes = {"X": (3, 3), "W_Q": (3, 2), "W_K": (3, 2), "G": (3, 3)}
    names = {name: symbolic.matrix(name, *shape) for name, shape in shapes.items()}
    query, key, value, out = (state[name][0, 0] for name in model.MATRICES)
    weights = model.attention(state, inputs, layer)[0, 0, 0]
    residual = (model.forward(state, inputs, layer) - targets)[0, 0]
    slope = weights * (residual @ out.T @ (inputs[0, 0] @ value).T) / 3
    derived = theory.imbalance_rate(names, names["G"]).subs(theory.SHARPNESS, layer.c)
    values = {"X": inputs[0, 0], "W_Q": query, "W_K": key, "G": slope}
    slow = torch.tensor(symbolic.evaluate({"r": derived}, names, values)["r"], dtype=runs.DTYPE)
    assert torch.allclose(imbalance.imbalance_rate(state, inputs, targets, layer)[0, 0], slow)


@pytest.mark.parametrize("law", [("gaussian", True), ("normalised_gaussian", True), ("normalised_gaussian", False)])
def test_the_imbalance_law_is_proved_for_distances(law):
    assert theory.imbalance_law_holds(*law, k=1) and not theory.imbalance_law_holds("exp", k=1)


@pytest.mark.parametrize(
    ("kernel", "common", "linear", "quadratic"),
    [
        ("softmax", False, 0, 1),
        ("exp", False, 0, 1),
        ("gaussian", False, 0, 0),
        ("normalised_gaussian", False, 0, 0),
        ("softmax", True, 1, 3),
        ("exp", True, 0, 1),
        ("gaussian", True, 1, 2),
        ("normalised_gaussian", True, 1, 2),
    ],
)
def test_polynomial_laws(kernel, common, linear, quadratic):
    """At k = 1: the balance, the row that is kept, and its square."""
    found = [theory.polynomial_laws(kernel, degree, 2, 1, common) for degree in (1, 2)]
    assert found == [linear, quadratic]


def test_the_distance_keeps_no_cubic_law_either():
    assert [theory.polynomial_laws(kernel, 3, d=2, k=1) for kernel in ("gaussian", "exp")] == [0, 1]


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_law_of_a_head_is_known(kernel, common):
    for size in ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 1, 1, 2)):
        layer = model.Layer(*size, kernel=kernel)
        if layer.d > 1 or not common:
            found = counting.counted(layer, common)
            assert found["closed"] and found["gap"] > 1e6 and found["laws"] == counting.known(layer, common), size


@pytest.mark.parametrize(("kernel", "others"), [("softmax", 9), ("gaussian", 3)])
def test_a_wide_head_on_tokens_that_share_a_direction(kernel, others):
    """The 9 laws of values and outputs, the k = 4 entries of a row, and what the other 2d - 1 = 3 rows keep."""
    layer = model.Layer(2, 4, 1, kernel=kernel)
    assert counting.counted(layer, common=True)["laws"] == counting.known(layer, common=True) == 9 + 4 + others


def test_sums_of_bounds_are_sums():
    two = counting.heads(("exp",), ((2, 1, 1), (1, 1, 1)))
    assert counting.bounds(("exp",), ((2, 1, 1), (1, 1, 1))) == sum(map(counting.known, two)) == 4
    assert counting.table(((2, 1, 1),)).splitlines()[-1] == (
        "| 2, 1, 1 | share a direction | 3 (3) | 2 (2) | 2 (2) | 2 (2) |"
    )


def test_a_wide_head_with_distances_moves_in_the_span_of_its_rows():
    field, state = setting.problem((0, 1), "cpu", d=1, k=4, kernel="gaussian")
    end = flow.integrate(field, state, step=0.02, times=[1.0]).state
    rows = [torch.cat([each["W_Q"], each["W_K"]], dim=2)[:, 0] for each in (state, end)]
    outside = rows[1] - rows[1] @ torch.linalg.pinv(rows[0]) @ rows[0]
    assert outside.abs().max() < 1e-13 < (rows[1] - rows[0]).abs().max()


def test_balances_and_pairs_are_those_of_each_head():
    _, _, _, state = setting.drawn((0, 1), "cpu", **SMALL)
    found = balancing.balances(state)
    for (name, head), (left, right) in imbalance.pairs(state).items():
        slow = left[1].T @ left[1] - right[1].T @ right[1]
        assert torch.allclose(found[name][1, head], slow)
    assert torch.allclose(found["shift"] - found["key shift"], state["W_Q"][:, :, -1])


def test_readings_take_the_kernel_that_is_furthest_off():
    steps = (0.2, 0.1)
    records = {
        "one": {"steps": steps, "query-key": torch.tensor([[0.4, 0.4], [0.2, 0.2]], dtype=runs.DTYPE)},
        "two": {"steps": steps, "query-key": torch.tensor([[0.8, 0.4], [0.2, 0.4]], dtype=runs.DTYPE)},
    }
    assert balancing.worst(balancing.drift_ratio, 1.0)(records).tolist() == pytest.approx([4.0, 2.0])
    assert balancing.worst(balancing.drift_ratio, 2.0)(records).tolist() == pytest.approx([4.0, 1.0])


def test_slopes_along_the_shared_direction_are_opposite_under_a_distance_alone():
    for kernel in KERNELS:
        field, state = setting.problem((0, 1), "cpu", kernel=kernel, **balancing.GENTLE)
        query, key = (field(state)[1][name][:, :, -1] for name in ("W_Q", "W_K"))
        opposite = torch.allclose(query, -key, rtol=0, atol=1e-15)
        assert opposite == kernel.endswith("gaussian") and query.abs().max() > 1e-4, kernel


def test_each_kernel_is_run_on_the_same_data():
    found = balancing.each_kernel((3,), "cpu", setting.drawn, ("exp", "gaussian"), heads=2)
    assert [found[name][0].kernel for name in found] == ["exp", "gaussian"]
    assert torch.equal(found["exp"][1], found["gaussian"][1])


def test_one_step_is_that_of_the_ground_floor_where_nothing_moves():
    record = imbalance.exact_step((0, 1), "cpu", steps=3, kernel="softmax", **SMALL)
    slow = checks.one_step((0, 1), "cpu", setting.problem, imbalance.pairs, step=0.02, steps=3, **SMALL)
    for law, value in record.items():
        both = torch.stack([value for (name, _), value in slow.items() if name == law])
        assert value.max() < 1e-14 and both.max() < 1e-14 and value.shape == both[0].shape


def test_one_step_tells_a_wrong_method_and_a_missing_term():
    settings = SMALL | {"kernel": "gaussian", "steps": 3}
    assert imbalance.exact_step((0, 1), "cpu", **settings)["query-key"].max() < 1e-14
    wrong = [{"queries": False}, {"method": flow.Momentum(0.9)}]
    assert all(imbalance.exact_step((0, 1), "cpu", **settings, **more)["query-key"].min() > 1e-6 for more in wrong)


def test_what_is_carried_along_a_path_is_second_order_in_its_step():
    gaps = []
    for step in (0.01, 0.005):
        record = imbalance.moved((0, 1), "cpu", time=0.2, step=step, kernel="gaussian", **SMALL)
        gaps.append((record["measured"] / record["predicted"] - 1).abs())
    assert (gaps[0] / gaps[1]).tolist() == pytest.approx([4, 4], rel=0.3)


def test_the_figure_has_the_level_that_the_law_predicts():
    record = balancing.law_drift.but(kernels=("softmax", "gaussian"), steps=(0.008, 0.004))((0, 1), "cpu")
    carried = imbalance.flow_run.but(time=balancing.TIME)((0, 1), "cpu")
    claim = next(claim for claim in balancing.CLAIMS if claim.name == "law-query-key")
    figure = figures_balancing.balances_figure(record, carried, claim)
    left, right = figure.axes
    level = next(line for line in left.get_lines() if line.get_label() == "integral of the law").get_ydata()
    assert level.tolist() == pytest.approx([float(carried["predicted"].median())] * 2)
    assert level[0] == pytest.approx(float(record["gaussian"]["query-key"].median()), rel=0.05)
    assert min(line.get_ydata().min() for line in right.get_lines()) == figures_balancing.FLOOR
    plt.close(figure)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.agreement(("relu",)), "kernels[0] = 'relu'"),
        (lambda: theory.score_law_holds("sum", ("exp",)), "key shift"),
        (lambda: theory.polynomial_laws("exp", degree=0), "degree = 0"),
        (lambda: counting.counted(model.Layer(d=1, k=1, o=1), common=True), "d = 1"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
