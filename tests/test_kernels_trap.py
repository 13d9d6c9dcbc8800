"""Chapter 4, one query on a line: its sums, its wells, its flow and the share of starts that is trapped."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from attnflow import kernels, runs
from attnflow.attention import KERNELS, Kernel
from attnflow.kernels import basins, landscape, trap, wells
from attnflow.kernels.sums import total

KEYS, VALUES = np.array([-1.0, 0.0, 1.0]), np.array([0.5, 0.0, 1.0])


def normal(size=1.0, middle=0.0):
    return lambda generator, n: middle + size * torch.randn(n, generator=generator, dtype=torch.float64)


def plain(query, place):
    """The output of a query, written plainly."""
    kernel, keys, values = query.kernel, query.keys, query.values
    scores = -kernel.c * (place - keys) ** 2 if kernel.distance else kernel.beta * place * keys
    weights = np.exp(scores)
    return (weights * values).sum() / (weights.sum() if kernel.normalised else 1.0)


def drawn(seed):
    """A random problem of one query."""
    rng = np.random.default_rng(seed)
    name = KERNELS[seed % 4]
    values = rng.standard_normal(3) if seed % 3 else rng.random(3)
    return wells.Query(rng.standard_normal(3), values, rng.uniform(-0.5, 1.0), Kernel(name, 0.8, 1.4))


@pytest.mark.parametrize("seed", range(8))
def test_zeros_of_sums_are_all_found(seed):
    rng = np.random.default_rng(seed)
    one = total(
        rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal(3), (seed % 2) * rng.standard_normal(3)
    )
    grid = np.linspace(-60, 60, 400_001)
    seen = one.at(grid).value
    changes = grid[:-1][np.sign(seen[:-1]) != np.sign(seen[1:])]
    found = np.array([zero for zero in one.zeros() if abs(zero) < 60])
    assert len(found) == len(changes) and np.abs(found - changes).max(initial=0) < 1e-3


def test_a_zero_that_is_touched_is_a_zero_and_equal_rates_are_one_term():
    assert total(np.array([1.0, -2.0, 1.0]), np.array([0.0, 1.0, 2.0])).zeros() == pytest.approx([0.0])
    assert total(np.array([1.0, 1.0, -2.0]), np.array([0.0, 0.0, 1.0])).zeros() == pytest.approx([0.0])
    assert total(np.array([1.0, -1.0, 0.0]), np.array([2.0, 2.0, 1.0])).zeros() == []


@pytest.mark.parametrize("seed", range(12))
def test_no_zero_lies_within_the_stretch(seed):
    query, rng = drawn(seed), np.random.default_rng(seed)
    for one in (query.gap, query.slope):
        for place in rng.uniform(-4, 4, 20):
            seen, length = one.around(np.array([place]))
            near = place + min(float(length[0]), 50.0) * np.linspace(-1, 1, 801)
            assert (np.sign(one.at(near).value) == np.sign(seen.value)).all()


@pytest.mark.parametrize("seed", range(12))
def test_output_and_slope_are_those_written_plainly(seed):
    query, step = drawn(seed), 1e-5
    for place in (-1.3, 0.2, 1.9):
        assert float(query.miss(place)) == pytest.approx(plain(query, place) - query.target, rel=1e-10, abs=1e-12)
        slope = (plain(query, place + step) - plain(query, place - step)) / (2 * step)
        seen, (_, unit, drift) = query.slope.at(place), query.units(place)
        assert float(seen.value * np.exp(seen.top + unit)) == pytest.approx(slope, rel=1e-6, abs=1e-8)
        bend = (plain(query, place + step) - 2 * plain(query, place) + plain(query, place - step)) / step**2
        assert float((seen.slope + drift * seen.value) * np.exp(seen.top + unit)) == pytest.approx(
            bend, rel=1e-3, abs=1e-3
        )


@pytest.mark.parametrize("seed", range(12))
def test_wells_are_the_minima_of_a_dense_scan(seed):
    query = drawn(seed)
    grid = np.linspace(-12, 12, 12_001)
    loss = np.minimum(query.miss(grid) ** 2, 1e200)
    shown = grid[1:-1][(np.minimum(loss[:-2], loss[2:]) - loss[1:-1] > 1e-12 * (1 + loss[1:-1]))]
    found = np.array([well for well in query.wells if abs(well) < 11.9])
    assert len(found) == len(shown) and np.abs(found - shown).max(initial=0) < 3e-3
    assert query.losses.min() <= loss.min() / 2 + 1e-12


@pytest.mark.parametrize("kernel, c", [("softmax", 1.0), ("gaussian", 1.0), ("exp", 1.0), ("normalised_gaussian", 0.5)])
def test_the_path_on_its_clock_is_the_flow(kernel, c):
    """Place and time of arrival agree with scipy's solution of the flow itself."""
    query = wells.Query(KEYS, VALUES, 1.6 if kernel == "exp" else 0.8, Kernel(kernel, c))
    starts = torch.tensor([-2.2, -0.3, 0.6, 2.5], dtype=torch.float64)
    seen = basins.followed(query, starts)

    def velocity(_, place, step=1e-6):
        here = float(place[0])
        return [
            -(plain(query, here) - query.target) * (plain(query, here + step) - plain(query, here - step)) / (2 * step)
        ]

    def arrived(_, place):
        return (plain(query, float(place[0])) - query.target) ** 2 / 2 - wells.EDGE

    arrived.terminal = True
    for start, loss, time, place in zip(
        starts.tolist(), *(seen[name].tolist() for name in ("loss", "time", "place")), strict=True
    ):
        known = solve_ivp(velocity, (0, basins.HORIZON), [start], method="LSODA", events=arrived, rtol=1e-9, atol=1e-11)
        assert (known.status == 1) == (loss <= wells.EDGE)
        if known.status == 1:
            assert 0.98 * known.t[-1] < time < 1.2 * known.t[-1] and place == pytest.approx(known.y[0, -1], abs=2e-2)


CASES = (
    ("softmax", KEYS, VALUES, 0.8, 1.0),
    ("gaussian", KEYS, VALUES, 0.8, 1.0),
    ("gaussian", 3 * KEYS, -VALUES, -0.8, 3.0),
    ("normalised_gaussian", KEYS, VALUES, 0.8, 2.0),
    ("exp", KEYS, (1.0, -2.0, 0.3), 0.2, 2.0),
    ("exp", (-1.0, -1.0, 2.0), VALUES, 0.6, 1.0),
    ("softmax", (0.3, 0.3, 0.3), VALUES, 0.5, 1.0),
    ("gaussian", (0.3, 0.3, 0.3), VALUES, 0.5, 1.0),
    ("softmax", KEYS, (0.5, 0.5, 0.5), 0.4, 1.0),
    ("softmax", KEYS, VALUES, 1.0, 1.0),
    ("gaussian", KEYS, VALUES, 1.5, 1.0),
    ("normalised_gaussian", (0.05, -9.0, -8.7), (-0.05, -0.05, 0.5), -0.2, 1.0),
    ("gaussian", 20 * KEYS, VALUES, 0.8, 5.0),
    ("exp", (2.0, 2.0, 2.0), (1.9, 1.7, -2.0), 3.7, 1.0),
    ("softmax", (2.0, 2.0, 1.0), (1.4, -0.1, -0.1), 0.1, 1.0),
    ("exp", (0.0, 0.0, 0.0), VALUES, 1.5, 1.0),
)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_measured_and_predicted_shares_agree(case, monkeypatch):
    monkeypatch.setattr(basins, "DRAWS", 100_000)
    kernel, keys, values, target, size = CASES[case]
    found = kernels.trap_share(
        normal(size), keys=keys, values=values, target=target, kernel=kernel, c=1.0, starts=150, seed=case
    )
    share = found["predicted"]
    assert abs(found["share"] - share) <= 4 * (share * (1 - share) / 150) ** 0.5
    assert found["share"] + found["slow"] <= 1 and (found["reachable"] or found["share"] == 1)


@pytest.mark.parametrize("seed", range(4))
def test_they_agree_for_random_keys_and_values(seed, monkeypatch):
    monkeypatch.setattr(basins, "DRAWS", 100_000)
    query = drawn(seed + 100)
    settings = {
        "kernel": query.kernel.name,
        "c": query.kernel.c,
        "beta": query.kernel.beta,
        "starts": 150,
        "seed": seed,
    }
    found = kernels.trap_share(normal(2.0), keys=query.keys, values=query.values, target=query.target, **settings)
    share = found["predicted"]
    assert abs(found["share"] - share) <= 4 * (share * (1 - share) / 150) ** 0.5 and found["wells"] == query.wells


def test_the_trap_of_the_chapter():
    settings = {"keys": KEYS, "values": VALUES, "target": 0.8, "starts": 100}
    soft = kernels.trap_share(normal(), kernel="softmax", c=None, **settings)
    assert soft["wells"][0] == -np.inf and soft["reachable"] and soft["predicted"] == pytest.approx(0.1574, abs=0.004)
    calm = kernels.trap_share(normal(), kernel="gaussian", c=0.5, **settings)
    assert calm["share"] == calm["predicted"] == 0 and len(calm["wells"]) == 2
    sharp = kernels.trap_share(normal(), kernel="gaussian", c=1.0, **settings)
    assert len(sharp["wells"]) == 3 and sharp["predicted"] > 2 * soft["predicted"]
    far = kernels.trap_share(normal(6.0), kernel="gaussian", c=0.5, **settings)
    assert far["share"] == 0 and far["slow"] > 0.2
    assert not kernels.trap_share(normal(), kernel="exp", c=None, **settings)["reachable"]


@pytest.mark.parametrize("kernel", ["softmax", "gaussian", "normalised_gaussian"])
def test_wide_keys_and_large_scores_stay_finite(kernel):
    settings = {"keys": 20 * KEYS, "values": VALUES, "target": 0.8, "kernel": kernel, "c": 1.0, "starts": 100}
    found = kernels.trap_share(normal(500.0), **settings)
    assert abs(found["share"] - found["predicted"]) <= 4 * (found["predicted"] * (1 - found["predicted"]) / 100) ** 0.5
    query = wells.Query(20 * KEYS, VALUES, 0.8, Kernel(kernel))
    _, slope = basins.field(query)(
        {"q": torch.tensor([[500.0], [-500.0], [3.0]]).double(), "time": torch.zeros(3, 1).double()}
    )
    assert all(torch.isfinite(each).all() for each in slope.values()) and (slope["q"] != 0).all()


def test_a_score_that_overflows_has_diverged_and_is_named():
    settings = {"keys": (2.0, 0, 1), "values": (1, 1, 1), "target": 2, "kernel": "exp", "starts": 100}
    fine = kernels.trap_share(lambda generator, n: np.full(n, 345.0), **settings)
    assert fine["share"] == fine["predicted"] == 0 and "diverged" not in fine
    lost = kernels.trap_share(lambda generator, n: np.where(np.arange(n) % 4, 345.0, 500.0), **settings)
    assert lost["share"] == lost["predicted"] == 0.25
    assert lost["diverged"] == "25 of 100 starts: exp(q k) at a score of 1000, above 709, is no number"


WRONG = {
    "kernel": ("relu", "kernel = 'relu'"),
    "c": (0.0, "c = 0.0"),
    "beta": (-1.0, "beta = -1.0"),
    "keys": ((1.0, float("nan"), 2.0), r"keys\[1\] = nan"),
    "values": ((1.0, 2.0), "as many as the keys, 3"),
    "target": (float("inf"), "target = inf"),
    "starts": (0, "starts = 0"),
    "seed": (-1, "seed = -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_clear_error(name):
    given, said = WRONG[name]
    settings = {"keys": KEYS, "values": VALUES, "target": 0.8, "kernel": "gaussian", "c": 1.0, "starts": 10}
    with pytest.raises(runs.WrongUse, match=said):
        kernels.trap_share(normal(), **settings | {name: given})


def test_a_sharpness_that_is_missing_and_a_sampler_that_lies():
    settings = {"keys": KEYS, "values": VALUES, "target": 0.8, "starts": 10}
    with pytest.raises(runs.WrongUse, match="c = None .* for a distance"):
        kernels.trap_share(normal(), kernel="gaussian", **settings)
    for lie in (
        lambda generator, n: torch.zeros(n + 1),
        lambda generator, n: torch.full((n,), torch.inf),
        lambda generator, n: "few",
    ):
        with pytest.raises(runs.WrongUse, match="what sampler"):
            kernels.trap_share(lie, kernel="softmax", **settings)
    with pytest.raises(runs.WrongUse, match="sampler = 3"):
        kernels.trap_share(3, kernel="softmax", **settings)
    with pytest.raises(AttributeError, match="no attribute 'trap'"):
        kernels.__getattr__("trap")


def test_closed_forms_are_those_of_root_finding():
    for ratio in (0.2, 0.5, 0.8):
        soft = wells.Query(2 * KEYS, np.array([ratio, 0, 1]), 0.9, Kernel("softmax", beta=1.5))
        assert soft.slope.zeros() == pytest.approx([float(wells.turn(ratio)) / 3])
        at = wells.threshold(ratio)
        counts = [
            len(wells.Query(size * at * KEYS, np.array([ratio, 0, 1]), 0.9, Kernel("gaussian", 1.0)).slope.zeros())
            for size in (1 - 1e-6, 1 + 1e-6)
        ]
        assert counts == [1, 3]


def test_the_time_of_slow_starts_is_an_integral():
    query = wells.Query(KEYS, VALUES, 0.8, Kernel("gaussian", 0.5))
    places = [-3.5, -2.0, 3.0, 4.0]
    seen = basins.followed(query, torch.tensor(places).double())["time"].tolist()
    assert seen == pytest.approx([trap.waiting(place) for place in places], rel=0.1)


def test_a_start_on_a_stationary_point_stays():
    query = wells.Query(KEYS, np.array([0.0, 1.0, 0.0]), 0.2, Kernel("softmax"))
    seen = basins.followed(query, torch.zeros(1).double())
    assert float(seen["place"]) == 0 and float(seen["loss"]) == pytest.approx(float(query.fate(np.zeros(1))[0]))


def test_the_map_is_made_of_shares():
    """A cell of the map is the share of its own spread and size."""
    found = {spread: landscape.trap_map("cpu", "gaussian", 1.0, spread, count=12) for spread in landscape.SPREADS[::6]}
    edge = wells.threshold()
    assert min(found) < edge < max(found)
    for spread, column in found.items():
        assert all(column[name].shape == (20,) for name in ("stuck", "slow", "predicted"))
        assert np.array_equal(column["stuck"].numpy(), column["predicted"])
        assert bool(column["predicted"].any()) == (spread > edge)
    stuck = found[max(found)]["predicted"]
    assert stuck[0] < stuck[-1], "a start of another size has another share"


def test_the_borders_of_the_map_give_its_predicted_shares():
    for kernel in ("softmax", "gaussian", "normalised_gaussian"):
        for spread in (0.5, 1.5, 3.0):
            place, query = landscape.border(kernel, 1.0, spread), landscape.queries(kernel, 1.0, spread)
            near = place + np.array([-1e-3, 1e-3]) if np.isfinite(place) else np.array([-1.0, -4.0])
            assert ((query.fate(near) > wells.EDGE) == [np.isfinite(place), False]).all()
