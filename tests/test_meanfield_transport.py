"""Chapter 5, the toy and its density: the first variation, finite volumes, and particles that carry and sample it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import refusal
from scipy import stats

from attnflow import flow, runs
from attnflow.meanfield import cloud, figures_transport, scatter, toy, transport, volumes

SEEDS = (0, 1)


def array(*values):
    return torch.tensor(values, dtype=runs.DTYPE)


def uniform(name, *shape):
    return torch.stack([torch.rand(*shape, generator=one, dtype=runs.DTYPE) for one in runs.streams(SEEDS, name)])


@pytest.fixture(scope="module")
def data():
    return toy.drawn(SEEDS, torch.device("cpu"))


@pytest.fixture(scope="module")
def masses():
    return torch.nn.functional.normalize(uniform("masses", 3, 20), p=1, dim=2)


def test_one_head_is_a_softmax_written_out():
    x, head = [0.3, -0.7, 0.5], 1.3
    moved = []
    for query in x:
        weights = np.exp([head * query * each for each in x])
        moved.append(query + head * float(weights @ x / weights.sum()))
    found = toy.outputs(array([[1.0]]), array(head), array([x]))
    assert found.item() == pytest.approx(moved[-1], abs=1e-14)


def test_the_teacher_reaches_its_answers_and_stays_inside_the_tokens(data):
    tokens, targets = data
    halves = torch.full((2, toy.DEPTH, 2), 0.5).double()
    assert toy.objective(halves, array(-toy.TEACHER, toy.TEACHER), tokens, targets).max() < 1e-30
    assert 0.9 * toy.SIZE < tokens.abs().max() <= toy.SIZE and tokens.min() < -0.9 * toy.SIZE


@pytest.mark.parametrize("decay", (0.0, 0.3))
def test_the_variation_by_hand_is_that_of_autograd(data, masses, decay):
    places = torch.linspace(-2, 2, 20, dtype=runs.DTYPE)
    slope = flow.autograd(lambda state: toy.objective(state["w"], places, *data, decay))({"w": masses})
    found = toy.variation(masses, places, *data, decay)
    assert torch.allclose(found["V"], toy.DEPTH * slope[1]["w"], rtol=0, atol=1e-15)
    assert torch.allclose(found["objective"], slope[0], rtol=0, atol=1e-15)
    assert torch.allclose(found["outputs"], toy.outputs(masses, places, data[0]), rtol=0, atol=1e-14)


def test_copies_share_their_data(data, masses):
    places, many = torch.linspace(-2, 2, 20, dtype=runs.DTYPE), torch.stack([masses, masses.flip(2)], dim=1)
    found = toy.variation(many, places, data[0][:, None], data[1][:, None], 0.1)
    for copy in range(2):
        alone = toy.variation(many[:, copy], places, *data, 0.1)
        assert all(torch.allclose(found[name][:, copy], alone[name], rtol=0, atol=1e-14) for name in alone)


def test_a_polynomial_is_met_exactly_and_the_head_to_the_error_of_its_degree(data, masses):
    nodes, places = volumes.Nodes(), torch.linspace(-2.5, 2.5, 20, dtype=runs.DTYPE)
    cubic = nodes.places**3 - 2 * nodes.places
    assert torch.allclose(nodes.basis(places) @ cubic, places**3 - 2 * places, rtol=0, atol=1e-12)
    assert torch.allclose(nodes.slopes(places) @ cubic, 3 * places**2 - 2, rtol=0, atol=1e-11)
    exact = toy.variation(masses, places, *data, 0.1)["V"]
    gaps = []
    for count in (8, 16, 32):
        nodes = volumes.Nodes(count)
        basis = nodes.basis(places)
        gaps.append((toy.variation(masses @ basis, nodes.places, *data, 0.1)["V"] @ basis.mT - exact).abs().max())
    assert gaps[0] > 8 * gaps[1] > 64 * gaps[2] and gaps[2] < 1e-3


def test_the_start_has_the_masses_and_the_quantiles_of_its_law():
    scheme = volumes.Scheme(cells=280)
    start, law = scheme.start(2), stats.beta(5, 5, loc=volumes.CENTRE - volumes.HALF, scale=2 * volumes.HALF)
    assert torch.allclose(start.sum(dim=2), torch.ones(2, 3).double(), rtol=0, atol=1e-14)
    assert np.allclose(start[0, 0] / scheme.width, law.pdf(scheme.centres), atol=1e-3)
    places = array(0.0, 1e-4, 0.3, 0.5, 1.0)
    assert np.allclose(volumes.initial(places), law.ppf(places), atol=1e-6)
    nodes, weights = cloud.gauss(40)
    assert [float(weights @ nodes**power) for power in (0, 1, 2)] == pytest.approx([law.moment(n) for n in (0, 1, 2)])


def upwind(masses, speeds, width):
    """The change of the masses of one layer by minmod and upwind, cell by cell."""
    count, change, slopes = len(masses), np.zeros(len(masses)), np.zeros(len(masses))
    for cell in range(1, count - 1):
        left, right = masses[cell] - masses[cell - 1], masses[cell + 1] - masses[cell]
        if left * right > 0:
            slopes[cell] = min(abs(left), abs(right)) * np.sign(left)
    for face in range(count - 1):
        speed = speeds[face]
        carried = masses[face] + slopes[face] / 2 if speed > 0 else masses[face + 1] - slopes[face + 1] / 2
        change[face] -= speed * carried / width
        change[face + 1] += speed * carried / width
    return change


def test_the_change_of_a_step_is_that_of_a_loop(masses):
    scheme = volumes.Scheme(cells=20)
    masses = masses + torch.linspace(
        0, 2, 20, dtype=runs.DTYPE
    )  # slopes that all limiters see, and edges that are not zero
    masses[..., :1], masses[..., -1:] = masses[..., 1:2], masses[..., -2:-1]  # a slope of zero at the ends
    speeds = 2 * uniform("speeds", 3, 19) - 1
    wanted = [
        [upwind(m, u, scheme.width) for m, u in zip(*both, strict=True)]
        for both in zip(masses.numpy(), speeds.numpy(), strict=True)
    ]
    assert np.allclose(scheme.change(masses, speeds), wanted, rtol=0, atol=1e-13)


def test_minmod_is_the_smaller_of_two_slopes_of_one_sign():
    left, right = array(1.0, -3.0, 1.0, 0.0), array(2.0, -1.0, -1.0, 5.0)
    assert volumes.LIMITERS["minmod"](left, right).tolist() == [1.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize("courant, positive", [(0.5, True), (0.51, False)])
def test_a_cell_that_loses_at_both_faces_is_empty_at_the_cfl_number(courant, positive):
    scheme = volumes.Scheme(cells=8)
    masses = array(0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0)[None, None]
    speeds = array(-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0)[None, None]
    new = masses + courant * scheme.width * scheme.change(masses, speeds)
    assert bool((new > -1e-15).all()) == positive


def test_a_march_keeps_mass_and_sign_and_is_the_same_in_any_stack(data):
    scheme = volumes.Scheme(cells=40)
    found = volumes.march(scheme, *data, 0.05, (0.0, 1.0, 2.0))
    assert found["masses"].shape == (3, 2, 3, 40) and found["mass"].max() < 1e-14 and found["least"].min() >= 0
    assert torch.equal(found["masses"][0], scheme.start(2)) and (found["objective"].diff(dim=0) < 0).all()
    assert 0.4 <= found["seen"].max() <= volumes.ALLOWED
    alone = volumes.march(scheme, *(each[1:] for each in data), 0.05, (2.0,))
    assert torch.allclose(alone["masses"][-1, 0], found["masses"][-1, 1], rtol=0, atol=1e-4)
    assert alone["steps"] <= found["steps"][1]


@pytest.mark.parametrize("broken", ({"courant": 3.0}, {"limiter": "central"}))
def test_a_broken_march_makes_negative_densities(data, broken):
    assert transport.marched((0, 2), torch.device("cpu"), cells=70, **broken)["least"].min() < -1e-3


def test_the_scheme_goes_downhill_at_any_width_of_a_cell():
    for cells in (8, 33):
        assert transport.balance(SEEDS, torch.device("cpu"), cells=cells)["gap"].max() < 1e-12


def test_particles_move_down_the_objective_of_all(data):
    places = cloud.drawn(SEEDS, (12,))[0]
    nodes, equal = volumes.Nodes(64), torch.full((2, 3, 12), 1 / 12, dtype=runs.DTYPE)
    by_autograd = flow.autograd(lambda state: toy.objective(equal, state["theta"], *data, 0.05))({"theta": places})
    for masses in (None, equal[0, 0]):
        loss, slope = cloud.field(*data, 0.05, nodes, masses)({"theta": places})
        assert torch.allclose(loss, by_autograd[0], rtol=0, atol=1e-8)
        assert torch.allclose(slope["theta"], 3 * 12 * by_autograd[1]["theta"], rtol=0, atol=1e-6)


def test_finite_volumes_meet_quantile_particles(data):
    start, rows = cloud.quantiles(1024).expand(2, 3, -1).clone(), []
    field, times = cloud.field(*data, 0.05, volumes.Nodes()), {"step": 0.25, "times": [4.0]}
    ends = flow.integrate(field, {"theta": start}, method=flow.RungeKutta(), **times).state["theta"]
    for cells in (35, 70, 140):
        scheme = volumes.Scheme(cells=cells)
        masses = volumes.march(scheme, *data, 0.05, (4.0,))["masses"][-1]
        inside = (scheme.centres[:, None] + scheme.width * (cloud.shares(8) - 0.5)).flatten()  # a cell is no point
        spread = masses.repeat_interleave(8, dim=2)
        pairs = [(ends[run, layer], inside, None, spread[run, layer]) for run in range(2) for layer in range(3)]
        rows.append(np.mean([stats.wasserstein_distance(*pair) for pair in pairs]))
        assert torch.allclose((masses @ scheme.centres), ends.mean(dim=2), rtol=0, atol=30 / cells**2)
    assert all(before > 2 * after for before, after in pairwise(rows)) and rows[-1] < 3e-3


def test_the_distance_is_that_of_scipy():
    places, known = uniform("places", 3, 4), uniform("known", 3, 16).sort(dim=2).values
    wanted = [
        [stats.wasserstein_distance(*pair) for pair in zip(*both, strict=True)]
        for both in zip(places, known, strict=True)
    ]
    assert np.allclose(cloud.distance(places, known), wanted, rtol=0, atol=1e-14)
    assert "a divisor of 16" in refusal(lambda: cloud.distance(places[..., :3], known))


def test_the_expected_distance_is_that_of_many_draws_and_has_its_limit():
    known = stats.beta(2, 3).ppf(cloud.shares(1024))
    known = torch.as_tensor(known)
    (stream,) = runs.streams((0,), "draws")
    draws = known[torch.randint(1024, (4000, 4), generator=stream)]
    seen = cloud.distance(draws, known)
    assert abs(seen.mean() - cloud.expected(known, 4)) < 4 * seen.std() / 4000**0.5
    share = torch.arange(1, 1024).double() / 1024
    limit = (2 / np.pi / 10_000) ** 0.5 * (known.diff() * (share * (1 - share)).sqrt()).sum()
    assert cloud.expected(known, 10_000) == pytest.approx(float(limit), rel=1e-3)


def test_stratified_draws_have_one_particle_in_each_share():
    places = cloud.drawn(SEEDS, (8,), "stratified")[0]
    edges = volumes.initial(torch.arange(9).double() / 8)
    assert all(((places[..., k] >= edges[k]) & (places[..., k] <= edges[k + 1])).all() for k in range(8))
    assert "independent" in refusal(lambda: cloud.drawn(SEEDS, (8,), "sorted"))


def test_the_flow_of_the_density_moves_its_own_particles_where_they_go():
    start, end = cloud.quantiles(1024), cloud.quantiles(1024).sinh().expand(1, 3, -1)
    places = cloud.drawn((0,), (16,))[0][:, None]
    assert torch.allclose(scatter.moved(places, start, end), places.sinh(), rtol=0, atol=1e-4)


def test_copies_in_blocks_are_those_that_run_alone():
    few = {"widths": (4, 16), "copies": 32, "time": 1.0}
    found = scatter.scattered(SEEDS, torch.device("cpu"), **few)
    alone = scatter.scattered(SEEDS[1:], torch.device("cpu"), **few)
    assert all(
        torch.allclose(found[name][:, 1], alone[name][:, 0], rtol=0, atol=1e-12) for name in ("first", "last", "alone")
    )
    assert (found["last"] != found["alone"]).all()
    assert torch.equal(
        *(scatter.scattered(SEEDS, torch.device("cpu"), coupled=False, **few)[n] for n in ("last", "alone"))
    )


def test_what_is_not_allowed_is_one_clear_error():
    assert "cells = 7" in refusal(lambda: transport.solve((0,), cells=7))
    assert "decay = -0.1" in refusal(lambda: transport.solve((0,), decay=-0.1))
    assert "CFL" in refusal(lambda: transport.solve((0,), courant=0.6))
    assert all(
        "increasing" in refusal(lambda times=times: transport.solve((0,), times=times))
        for times in ((), (1, 1), (-1, 2))
    )
    assert "courant = 0" in refusal(lambda: transport.solve((0,), courant=0))
    assert "limiter" in refusal(lambda: volumes.Scheme(limiter="superbee"))
    assert "form" in refusal(lambda: volumes.Scheme(form="weak"))
    assert "speeds" in refusal(lambda: volumes.Scheme(speeds="fast"))
    assert "samples" in refusal(lambda: toy.drawn((0,), torch.device("cpu"), samples=0))
    assert "multiple of 64" in refusal(lambda: scatter.scattered((0,), torch.device("cpu"), copies=65))


def test_the_solution_has_a_density_of_mass_one():
    found = transport.solve((0,), cells=40, times=(0.0, 0.5))
    assert found["faces"].shape == (41,) and found["density"].shape == (2, 1, 3, 40)
    assert torch.allclose(found["density"].sum(dim=3) * found["faces"].diff()[0], torch.ones(2, 1, 3).double())


def test_the_figures_show_every_layer_and_every_curve():
    shown = figures_transport.flow_figure(times=(0.0, 0.2), cells=40, width=16)
    assert len(shown.axes) == 2 * toy.DEPTH and shown.axes[0].get_title(loc="left") == "time 0"
    grids = transport.compared((0,), torch.device("cpu"), cells=(20, 40), time=0.2)
    few = scatter.scattered((0,), torch.device("cpu"), widths=(4, 16), copies=2, time=1.0)
    order, rate = transport.CLAIMS[4], scatter.CLAIMS[1]
    left, right = figures_transport.errors_figure(grids, grids, few, few, order, rate).axes
    assert len(left.lines) == len(right.lines) == 3
    (known,) = (line for line in left.lines if line.get_linestyle() != "-")
    assert np.diff(np.log(known.get_ydata())) == pytest.approx(-2 * np.log(2))
