"""Chapter 4, only W_Q trained: free queries, equal keys, targets out of reach, and the plane of queries."""

import pytest
import torch

from attnflow import flow, runs
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels import model, plane, queries


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_slope_of_free_queries_is_that_of_autograd(kernel):
    layer = model.Layer(k=3, kernel=kernel, c=0.7, beta=1.2)
    draws = [
        runs.normal(runs.streams((0, 1), name), 2, 4, size) for name, size in (("q", 3), ("k", 3), ("v", 2), ("y", 2))
    ]
    query, keys, values, wanted = draws

    def loss(state):
        return (layer.weights(state["q"], keys) @ values - wanted).square().sum(dim=(1, 2, 3)) / 16

    known, found = flow.autograd(loss)({"q": query}), queries.free_field(keys, values, wanted, layer)({"q": query})
    assert torch.allclose(known[0], found[0]) and torch.allclose(known[1]["q"], found[1]["q"])


@pytest.mark.parametrize("kernel", KERNELS)
def test_dynamics_split_over_orthonormal_tokens_for_every_kernel(kernel):
    settings = {"samples": 2, "length": 3, "d": 6, "kernel": kernel, "steps": 30, "step": 0.1, "inner": 0.5}
    assert queries.apart((0, 1), "cpu", **settings).max() < 1e-12
    if kernel != "exp":  # it overflows there
        assert queries.apart((0, 1), "cpu", data="gaussian", **settings).min() > 1e-3


@pytest.mark.parametrize(
    "kernel, still", [("softmax", True), ("normalised_gaussian", True), ("exp", False), ("gaussian", False)]
)
def test_equal_keys_stop_normalised_kernels_alone(kernel, still):
    found = queries.same_keys((0, 1, 2), "cpu", kernel=kernel, steps=5)
    assert (found["slope"] < 1e-14).all() if still else (found["slope"] > 1e-2).all()
    assert torch.allclose(found["left"], torch.ones(3).double(), rtol=0, atol=1e-14) == still


def test_keys_of_zero_stop_the_dot_products_and_not_the_distance():
    """With W_K = 0 every exp(q.k) is 1 whatever q is; the Gaussian still sees the length of q."""
    for kernel, moves in (("softmax", False), ("exp", False), ("normalised_gaussian", False), ("gaussian", True)):
        layer = model.Layer(k=2, kernel=kernel)
        keys, query = torch.zeros(1, 1, 3, 2).double(), torch.ones(1, 1, 3, 2).double()
        values, wanted = torch.tensor([1.0, 2.0, 4.0]).double().view(1, 1, 3, 1), torch.ones(1, 1, 3, 1).double()
        slope = queries.free_field(keys, values, wanted, layer)({"q": query})[1]["q"]
        assert bool(slope.abs().max() > 1e-12) == moves


def test_no_query_of_a_normalised_kernel_beats_the_largest_value():
    for kernel in ("softmax", "normalised_gaussian"):
        early, late = (queries.out_of_reach((0, 1, 2), "cpu", kernel=kernel, steps=steps) for steps in (10, 600))
        assert (late >= 1).all() and (late < early).all()
    assert (queries.out_of_reach((0, 1, 2), "cpu", kernel="gaussian", step=1.0, steps=1500) < 1e-3).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_slopes_in_the_plane_are_those_of_autograd(kernel):
    known = Kernel(kernel, 0.7, 1.3)
    query, keys, values = (
        runs.normal(runs.streams((0, 1, 2), name), *shape) for name, shape in (("q", (2,)), ("k", (5, 2)), ("v", (5,)))
    )
    top, slope, hessian = plane.slopes(query, keys, values, known)

    def total(place):
        return plane.output(place, keys, values, known).sum()

    wanted = torch.autograd.functional.jacobian(total, query)
    bent = torch.autograd.functional.hessian(total, query)[range(3), :, range(3)]
    assert torch.allclose(top.exp()[:, None] * slope, wanted) and torch.allclose(
        top.exp()[:, None, None] * hessian, bent
    )


def test_paths_in_the_plane_end_where_small_steps_end():
    known = Kernel("gaussian", 0.5)
    keys, values = 3 * runs.normal(runs.streams((0,), "k"), 4, 2), torch.tensor([[0.3, 0.9, 0.5, 0.7]]).double()
    start = keys[0] + 0.3
    many = [each.expand(4, *each.shape[1:]) for each in (keys, values)]
    target = torch.full((4,), 0.8).double()
    clock = flow.integrate(
        plane.field(*many, target, known), {"q": start}, step=0.5, times=[60.0], method=flow.Heun(), stop_loss=1e-6
    )

    def loss(state):
        return (plane.output(state["q"], *many, known) - target).square() / 2

    slow = flow.integrate(flow.autograd(loss), {"q": start}, step=0.5, times=[1500.0], stop_loss=1e-6)
    assert torch.equal(clock.end_loss > 1e-6, slow.end_loss > 1e-6) and 0 < int((slow.end_loss > 1e-6).sum()) < 4
    assert torch.allclose(clock.end_loss, slow.end_loss, atol=2e-6)


def test_the_landscape_of_softmax_is_the_same_at_every_spread():
    settings = {"kernel": "softmax", "count": 2, "keys": 4}
    one, two = (plane.landscapes((0, 1), "cpu", spread=spread, **settings)["trapped"] for spread in (0.5, 4.0))
    assert torch.equal(one, two) and 0 < float(one.mean()) < 1
