"""The room of chapter 3: fast paths against slow twins, stacks against single runs, theory against numbers."""

import math

import pytest
import sympy as sp
import torch

from attnflow import flow, runs
from attnflow.claims import evaluate
from attnflow.encoder import bounds, counting, experiments, initial, kernel, model, task, theory
from attnflow.encoder.claims import CLAIMS
from attnflow.encoder.model import Encoder

NETS = [
    Encoder(d=5, width=7, init=init, scaling=0.7, hidden=hidden) for init in model.INITS for hidden in (False, True)
]
CPU = torch.device("cpu")


def problem(net, seeds=(0, 1, 2), samples=6, length=3):
    generators = runs.streams(seeds)
    inputs, labels = task.gaussian(generators, samples, length, net.d, net.token_std)
    return inputs, labels, model.init(generators, net)


def relative(value, want):
    return float((value - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("net", NETS, ids=str)
def test_hand_gradient_equals_autograd(net):
    inputs, labels, state = problem(net)
    loss, gradient = model.field(inputs, labels, net)(state)
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    losses = model.loss(leaves, inputs, labels, net)
    wanted = torch.autograd.grad(losses.sum(), list(leaves.values()))
    assert torch.allclose(loss, losses.detach(), rtol=1e-12)
    assert list(gradient) == list(state)
    assert max(relative(gradient[name], want) for name, want in zip(leaves, wanted, strict=True)) < 1e-12


@pytest.mark.parametrize("net", NETS, ids=str)
def test_gram_kernel_equals_jacobian(net):
    inputs, _, state = problem(net)
    fast, slow = kernel.blocks(state, inputs, net), kernel.from_jacobian(state, inputs, net)
    assert fast.keys() == slow.keys()
    assert max(relative(fast[name], slow[name]) for name in slow) < 1e-10


@pytest.mark.parametrize("hidden", [False, True])
def test_symbols_agree_with_autograd(hidden):
    assert theory.gradient_agrees(hidden) < 1e-10


@pytest.mark.parametrize("init", ["lecun", "ntk"])
def test_a_stack_of_sixteen_equals_sixteen_runs(init):
    options = {"d": 6, "width": 20, "init": init, "samples": 5}
    net, inputs, labels, state = experiments.problem(range(16), CPU, **options)
    times = torch.linspace(0, 2, 3)
    stack = flow.integrate(model.field(inputs, labels, net), state, step=0.02, times=times)
    for run in range(16):
        net, inputs, labels, state = experiments.problem([run], CPU, **options)
        alone = flow.integrate(model.field(inputs, labels, net), state, step=0.02, times=times)
        assert torch.allclose(alone.values["loss"][:, 0], stack.values["loss"][:, run], rtol=1e-9)
        assert max(relative(stack.state[name][run], value[0]) for name, value in alone.state.items()) < 1e-9


def test_descent_follows_the_flow():
    """The reference is Heun with a small step: adaptive methods creep over the kinks of the ReLU."""
    net = Encoder(d=3, width=4)
    inputs, labels, state = problem(net, samples=3)
    field = model.field(inputs, labels, net)
    exact = flow.integrate(field, state, step=1e-4, times=[0.25], method="heun").state
    errors, steps = [], (0.004, 0.002, 0.001)
    for step in steps:
        end = flow.integrate(field, state, step=step, times=[0.25]).state
        errors.append(sum((end[name] - exact[name]).square().sum(dim=(1, 2)) for name in end).sqrt())
    assert ((flow.observed_order(steps, torch.stack(errors)) - 1).abs() < 0.1).all()


def test_lecun_is_ntk_with_block_rates():
    assert float(experiments.equivalence((0, 1), CPU, steps=50).max()) < 1e-10
    assert float(experiments.equivalence((0, 1), CPU, steps=50, block_rates=False).min()) > 0.1


def test_the_paper_s_step_makes_the_kernel_limit():
    """The block of W_O alone at LeCun, the whole kernel at NTK, both at a width where they are close to the limit."""
    for init, limit in (("ntk", kernel.limit), ("lecun", lambda inputs: 4096 * kernel.lecun_limit(inputs))):
        net, inputs, _, state = experiments.problem((0,), CPU, width=4096, init=init, scaling=1.0, samples=4)
        assert relative(kernel.empirical(state, inputs, net), limit(inputs)) < 0.15


def test_arc_cosine_kernels_by_integration():
    zeroth, first, angle = theory.arc_cosine_kernels()
    assert sp.simplify(zeroth - (sp.pi - angle) / (2 * sp.pi)) == 0
    assert sp.simplify(first - (sp.sin(angle) + (sp.pi - angle) * sp.cos(angle)) / (2 * sp.pi)) == 0
    series, c = theory.limit_series()
    wanted = 1 / (2 * sp.pi) + c / 2 + 3 * c**2 / (4 * sp.pi) + 5 * c**4 / (48 * sp.pi)
    assert sp.expand(series - wanted) == 0


def test_entropy_of_nearly_uniform_attention():
    assert theory.entropy_deficit_ratio() == 1
    small = float(theory.deficit(1e-3, 4))
    assert math.isclose(small, 1e-3 * (1 - 1 / 4) / (2 * math.log(4)), rel_tol=0.03)


@pytest.mark.parametrize(
    "init, scaling, width, best",
    [
        ("lecun", 0.5, 3, 3),
        ("he", 1.0, 2, sp.Rational(5, 4)),
        ("lecun", 0.625, 2, 2),
        ("lecun", 0.25, sp.oo, sp.oo),
        ("ntk", 0.5, sp.oo, sp.oo),
        ("ntk", 1.0, 3, 3),
    ],
)
def test_required_widths(init, scaling, width, best):
    assert bounds.required(init, scaling) == width
    assert bounds.best_radius(init, scaling)[1] == best


def test_inequalities_hold_at_random_points_far_from_the_start():
    for init in model.INITS:
        net = Encoder(d=5, width=12, init=init, scaling=0.5)
        inputs, labels, start = problem(net, seeds=range(20))
        other = model.init(runs.streams(range(50, 70)), net)
        found = bounds.along(other, start, inputs, labels, net)
        assert max(float(value.max()) for value in found.values()) < 1 + 1e-9


def test_singular_value_is_zero_where_the_width_is_too_small():
    assert bounds.smallest_singular(torch.ones(2, 5, 4, dtype=runs.DTYPE)).tolist() == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, inside jvp
def test_counts_are_complete():
    for options in ({}, {"d": 3}, {"width": 3}, {"hidden": True}):
        size = {"d": 2, "width": 2, "hidden": False} | options
        assert counting.count(**options)["laws"] == counting.known(**size)


def test_pairs_share_their_mean_and_digits_are_centred():
    inputs, labels = task.pairs(runs.streams([0]), 6, 4, 5)
    means = inputs.mean(dim=2)
    assert torch.allclose(means[:, ::2], means[:, 1::2]) and not torch.allclose(inputs[:, 0], inputs[:, 1])
    assert labels.tolist() == [[1.0, -1.0] * 3]
    inputs, labels = task.digits(runs.streams([0]), 40, std=0.5)
    assert inputs.shape == (1, 40, 16, 4) and set(labels.flatten().tolist()) == {1.0, -1.0}
    assert math.isclose(float(inputs.square().mean()), 0.25, rel_tol=0.1)


def test_runs_of_a_seed_do_not_depend_on_the_others():
    run = experiments.moved.but(widths=(16, 32), samples=5, d=6, copies=2)
    both, one = run((0, 1)), run((1,))
    assert all(torch.allclose(both[name][:, 1], one[name][:, 0], rtol=1e-6) for name in ("W_O", "kernel"))


def test_first_width_of_a_power_law():
    widths = (10, 100, 1000)
    ratios = torch.tensor([[1e-3, 1.0], [1e-2, 0.1], [1e-1, 0.01]], dtype=runs.DTYPE)
    found = initial.first_width(widths, ratios)
    assert math.isclose(float(found[0]), 1e4, rel_tol=1e-9) and math.isinf(float(found[1]))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claims_are_written_in_full(claim):
    assert claim.statement and claim.provenance and len({each.id for each in CLAIMS}) == len(CLAIMS)


def test_a_claim_of_the_room_can_be_evaluated():
    row = evaluate(next(claim for claim in CLAIMS if claim.id == "encoder.one-step"), (0,))
    assert row.holds and row.control_fails


NET = Encoder(d=4, width=3)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Encoder(width=0), "width = 0 .* integer of at least 1"),
        (lambda: Encoder(d=2.5), "d = 2.5"),
        (lambda: Encoder(scaling=float("nan")), "scaling = nan .* finite"),
        (lambda: Encoder(output=float("inf")), "output = inf"),
        (lambda: Encoder(init="xavier"), "one of lecun, he, ntk"),
        (lambda: model.field(torch.zeros(1, 2, 3, 5), torch.zeros(1, 2), NET), r"shape \(any, any, any, 4\)"),
        (lambda: model.field(torch.zeros(2, 3, 4), torch.zeros(1, 2), NET), "tokens = a tensor of shape"),
        (lambda: model.field(torch.full((1, 2, 3, 4), math.nan), torch.zeros(1, 2), NET), "not finite"),
        (lambda: model.field(torch.zeros(1, 2, 3, 4), torch.zeros(1, 3), NET), "labels"),
        (lambda: task.gaussian(runs.streams([0]), 0, 3, 4), "samples = 0"),
        (lambda: task.gaussian(runs.streams([0]), 2, 3, 4, std=0.0), "std = 0.0"),
        (lambda: task.pairs(runs.streams([0]), 5, 3, 4), "even number"),
        (lambda: task.digits(runs.streams([0]), 8, length=4), r"\(16, 4\)"),
        (lambda: experiments.problem([0], CPU, data="words"), "one of gaussian, pairs, digits"),
        (lambda: bounds.exponents("xavier", 1.0), "one of lecun, he, ntk"),
        (lambda: theory.deficit(1.0, 1), "length = 1"),
        (lambda: initial.limits((0,), CPU, init="he"), "one of ntk, lecun"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
