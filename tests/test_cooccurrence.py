"""The room of chapter 2: the reduction, the data, closed forms against drawn data, and three ways to one answer."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
import torch
from conftest import refusal
from matplotlib import pyplot as plt

from attnflow import curves, flow, runs
from attnflow.cooccurrence import (
    balance,
    balancing,
    dual,
    maps,
    model,
    phases,
    ratio,
    reduced,
    setting,
    sweeps,
    task,
    theory,
)
from attnflow.cooccurrence.setting import drawn, train
from attnflow.cooccurrence.task import Task

SMALL = {"samples": 12, "length": 4, "width": 6, "neurons": 4, "scale": 1.0}
TOKENS, LABELS = task.draw(runs.streams((0,), "draws"), Task(6, 3, words=9))
STATE = model.init(runs.streams((0,), "draws"), 9, 3, 2, 1.0, 1.0)


def test_data_are_what_the_task_says():
    asked = Task(60, 5)
    tokens, labels = task.draw(runs.streams((0, 1), "draws"), asked)
    bags = task.counts(tokens, asked.size)
    assert asked.counts == (30, 10, 10, 10) and asked.size == 163 and asked.slots == 160
    assert bool((bags[:, :, 2] == 1).all()) and bool((bags[:, :, 3:].sum(dim=1) == 1).all())
    assert bags[0, asked.classes == 0, :2].unique().tolist() == [1.0] and not bags[0, asked.classes == 3, :2].any()
    assert labels[0].tolist() == [1.0] * 30 + [-1.0] * 30 and not torch.equal(tokens[0], tokens[1])
    assert bool(((tokens == 2).to(runs.DTYPE).mean(dim=(0, 1)) - 0.2).abs().max() < 0.12), (
        "the common word stands anywhere"
    )
    fresh, signs = task.fresh(runs.streams((0,), "draws"), asked, 600)
    assert fresh.shape == (1, 600, 5) and int(fresh.max()) < 163 and signs.sum() == 0
    free = Task(12, 4, common=False)
    assert free.random_words == (2, 3, 3, 4) and not (task.draw(runs.streams((0,), "draws"), free)[0] == 2).any()


@pytest.mark.parametrize("samples, length", [(12, 3), (60, 3), (24, 5), (36, 5), (60, 5), (30, 7)])
def test_closed_forms_are_the_dual_of_drawn_data(samples, length):
    found = ratio.dual_sums(samples, length)
    assert ratio.closed_sums(samples, length) == pytest.approx(found, abs=1e-10)
    assert balance.ratio(*found) == pytest.approx(balance.predicted(samples, length)[2], abs=1e-9)


def test_closed_forms_have_the_known_shape():
    n, length = balance.SAMPLES, balance.LENGTH
    wanted = {
        balance.limit(False)["s_2"]: (5 * n + 2 * length - 6) / (7 * n + 6 * length - 12),
        balance.limit(True)["rho"]: 2 * (2 * n - 3) / (3 * (n + length - 1)),
        balance.lower_end(): 3 * (length + 1),
    }
    assert all((found - known).simplify() == 0 for found, known in wanted.items())
    assert balance.predicted() == (5 / 7, 0.0, 1.5)
    polynomial = n**2 + 27 * n - 13 * length * n - 6 * length**2 + 30 * length - 36
    assert (balance.edge() / polynomial).simplify().is_positive


def test_separation_meets_the_conditions_of_its_optimum():
    rng = np.random.default_rng(0)
    labels, features = np.sign(rng.normal(size=12)), rng.normal(size=(12, 20))
    found = dual.separate(features, labels)
    assert found.margins.min() > 1 - 1e-9 and found.alpha.min() >= 0
    assert np.abs(found.alpha * (found.margins - 1)).max() < 1e-9
    assert found.weights == pytest.approx(features.T @ (labels * found.alpha))


def test_a_network_of_small_weights_follows_the_reduced_flow():
    small = {
        "samples": 12,
        "length": 4,
        "scale": 1e-4,
        "records": torch.linspace(0, 10, 101, dtype=runs.DTYPE),
        "test": 60,
        "width": 256,
    }
    run, known = train((0, 1), "cpu", stop_loss=0.0, step=0.1, **small), reduced.Reduced(12, 4)
    assert run["tau"][:, 0].numpy() == pytest.approx(np.linspace(0, 10, 101))
    assert (run["tau_1"] / known.landmarks()["tau_1"]["tau"] - 1).abs().max() < 0.02
    assert np.abs(run["gamma"][:, 0].numpy() - known.solve(np.linspace(0, 10, 101))["gamma"][:, :3]).max() < 0.02


def test_a_readout_that_follows_its_law_is_that_of_a_network_of_small_weights():
    """Late, when the readout has grown by a half, and the flow with a readout at rest is far off."""
    run = train((0, 1), "cpu", stop_loss=1e-3, step=0.1, samples=12, length=4, scale=1e-4, test=60, width=64)
    found, taus = reduced.follow(run), run["tau"][:, 0][~run["tau"][:, 0].isnan()].numpy()
    grown = run["readout"] / run["readout"][:1]
    assert (grown / found["readout"]).log().abs().nan_to_num().max() < 1e-3 and curves.final(grown).min() > 1.4
    assert (run["loss"] / found["loss"]).log().abs().nan_to_num().max() < 1e-3
    assert (run["gamma"] - found["gamma"]).abs().nan_to_num().max() < 1e-3
    assert (run["tau_1"] / found["tau_1"] - 1).abs().max() < 3e-3
    still = reduced.Reduced(12, 4).solve(taus)
    assert abs(np.log(still["loss"][-1] / run["loss"][len(taus) - 1, 0].item())) > 0.2
    assert (still["readout"] == 1).all()


def test_the_clock_and_the_flow_of_scipy_agree():
    found = drawn((0,), "cpu", **SMALL)
    exact = flow.reference(found["field"], found["start"], [0.0, 1.0])
    clocked = flow.integrate(found["field"], found["start"], step=0.02, times=[1.0], method=flow.Heun(found["speed"]))
    assert max((value - exact[name][-1]).abs().max() for name, value in clocked.state.items()) < 1e-4


def test_three_ways_to_one_answer():
    found = phases.three_ways((0, 1), "cpu", scale=1e-4, width=32)
    assert (found["scipy"] - found["reduced"]).abs().max() < 0.05 and found["scipy"].shape == (2,)
    assert (found["scipy"] - found["descent"]).abs().max() < 2e-3


def test_a_run_ends_where_its_loss_does():
    run = train((0, 1), "cpu", samples=12, width=16, test=60, records=flow.log_times(0.05, 1e4, 30), stop_loss=0.05)
    assert (curves.final(run["loss"]) <= 0.05).all() and run["status"] == ["loss", "loss"]
    assert run["accuracy"].shape == (2,) and (run["tau_1"] < curves.final(run["tau"])).all()


def test_sweep_cell_gives_one_number_a_run():
    diagram, paper = (table.function for table in sweeps.SWEEPS)
    found = diagram(device="cpu", samples=12, length=3, seeds=2, width=16, stop_loss=0.01)
    assert all(len(values) == 2 for values in found.values())
    found = paper(device="cpu", reading="he", seeds=2, epochs=10, count=6)
    assert found["scores"].shape == (7, 2, 3, 3) and found["epochs"].tolist() == pytest.approx([0, 1, 2, 3, 4, 6, 10])


@pytest.mark.parametrize("law, reach", [("normal", math.inf), ("uniform", math.sqrt(3))])
def test_initial_weights_have_their_law_and_sizes(law, reach):
    state = model.init(runs.streams(range(4), "draws"), 50, 20, 30, 0.3, 0.7, law)
    for name, std in {"W_Q": 0.3, "W_K": 0.3, "W_V": 0.3, "W_O": 0.7}.items():
        size, most = float(state[name].square().mean().sqrt()), float(state[name].abs().max())
        assert size == pytest.approx(std, rel=4 / (2 * state[name].numel()) ** 0.5)
        assert (3 * std < most) if law == "normal" else (0.99 * reach * std < most < reach * std)


@pytest.mark.parametrize("reading, law, variance", [("default", "uniform", 1 / 3), ("he", "normal", 2.0)])
def test_readings_of_kaiming(reading, law, variance, monkeypatch):
    monkeypatch.setattr(sweeps, "train", lambda seeds, device, **settings: settings)
    told = sweeps.paper((0,), "cpu", reading=reading)
    assert told["law"] == law and told["stds"] == pytest.approx([(variance / fan_in) ** 0.5 for fan_in in (64, 128)])
    assert (told["words"], told["neurons"], told["step"]) == (64, 256, 0.01)


def test_the_drive_of_the_attention_is_the_gradient_at_uniform_attention():
    """Orthogonal rows of queries and keys, of one length, make the attention uniform and both their squares a multiple of I."""
    asked, scores = Task(12, 4), torch.tensor([0.5, 0.4, -0.3, 0.2, -0.1, 0.15, -0.25], dtype=runs.DTYPE)
    tokens, labels = task.draw(runs.streams((0,), "draws"), asked)
    gamma, size, length = torch.zeros(asked.size, dtype=runs.DTYPE), asked.size, 0.6
    gamma[:3] = scores[:3]
    gamma[tokens[0].T] = torch.where(tokens[0].T < 3, gamma[tokens[0].T], scores[3:][asked.classes])
    both, omega = length * torch.eye(2 * size, dtype=runs.DTYPE)[None], torch.ones(1, 2 * size, dtype=runs.DTYPE)
    state = {"W_Q": both[:, :size], "W_K": both[:, size:], "readout": omega}
    state["W_V"] = gamma[None, :, None] * omega[:, None] / omega.square().sum()
    slope = model.field(tokens, labels, size, 5)(state)[1]
    moved = -(slope["W_Q"] @ state["W_K"].mT + state["W_Q"] @ slope["W_K"].mT)[0, :3, :3]
    known, taus = reduced.Reduced(12, 4), np.array([0.0, 1.0, 3.0])
    still = {"tau": taus, "gamma": np.tile(scores.numpy(), (3, 1))}
    still["sums"] = np.tile(np.array(task.EQUAL) / (1 + np.exp(known.margins(scores.numpy()))), (3, 1))
    inner, readout = length / math.sqrt(2 * size), float(omega.square().sum())
    found = reduced.attention_drive(still, known, 2 * size, inner, readout)
    assert found == pytest.approx(taus[:, None, None] / readout * moved.numpy(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("ends, holds", [((1, 2), True), ((1, 1.9), False), ((1.1, 2), False)])
def test_the_range_of_the_quadratic_has_two_ends(ends, holds, monkeypatch):
    assert balance.RANGE == (1, 2)
    monkeypatch.setattr(balance, "RANGE", tuple(map(sp.nsimplify, ends)))
    assert balance.range_holds() is holds


def test_room_is_to_the_nearer_end_of_the_range_and_in_phase_2():
    """The ratio is read at the end of Phase 1 too, here halfway between two records."""
    taus = torch.tensor([0.0, 2.0, 4.0, 6.0], dtype=runs.DTYPE)[:, None].expand(4, 4)
    rho = [[9.0, 1.5, 1.8, 1.6], [9.0, 1.5, 1.2, 2.3], [9.0, 1.5, 0.6, 1.5], [0.7, 1.5, 1.4, 1.5]]
    run = {
        "tau": taus,
        "rho": torch.tensor(rho, dtype=runs.DTYPE).T,
        "tau_1": torch.tensor([2.0, 2, 2, 1], dtype=runs.DTYPE),
    }
    assert ratio.range_room(run).tolist() == pytest.approx([0.2, -0.3, -0.4, 0.1])


@pytest.mark.parametrize("place", range(4))
def test_every_class_sum_counts_in_the_distance_to_the_limit(place):
    shares = torch.from_numpy(ratio.closed_sums(60, 5)).expand(3, 2, 4).clone()
    shares[-1, :, place] += torch.tensor([0.1, -0.2])
    shares[0] += 7
    assert ratio.limit_gap({"shares": shares, "task": Task(60, 5)}).tolist() == pytest.approx([0.1, 0.2])


def test_readings_of_phase_1():
    """Both single words rise, the second less; the token scores do half of their change by tau_1, the attention a tenth."""
    taus = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=runs.DTYPE)[:, None]
    losses = torch.tensor([[0.7] * 4, [0.3, 0.9, 0.8, 0.1], [0.2, 0.95, 0.78, 0.1], [0.1, 2, 2, 2]], dtype=runs.DTYPE)
    run = {"tau": taus, "tau_1": torch.tensor([2.0], dtype=runs.DTYPE), "class_loss": losses[:, None]}
    assert phases.rise(run).tolist() == pytest.approx([0.1])
    ways = {"gamma": [1.0, 2, 3, 5], "watched": [0.0, 0.01, 0.1, 1]}
    run |= {name: torch.tensor([[[v, -v]] for v in way], dtype=runs.DTYPE) for name, way in ways.items()}
    assert phases.separation(run).tolist() == pytest.approx([5.0])


def test_the_identity_of_one_step_is_read_in_the_worst_pair():
    (claim,) = (claim for claim in balancing.CLAIMS if claim.name.startswith("one-step"))
    pair = {"query-key": torch.tensor([0.1, 0.4]), "value-output": torch.tensor([0.3, 0.2])}
    assert claim.trial.read(pair).tolist() == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("late", range(4))
def test_phase_1_lasts_as_long_as_any_class_is_misjudged(late, monkeypatch):
    def told(field, start, times, **options):
        margins = torch.ones(len(times), 2, 12, dtype=runs.DTYPE)
        margins[:3, :, Task(12, 4).classes == late] = -1.0
        values = {"margins": margins, "unevenness": torch.zeros(len(times), 2, dtype=runs.DTYPE)}
        return SimpleNamespace(values=values, loss=1 - 0.1 * times, times=times, state=start, status=["end", "end"])

    monkeypatch.setattr(setting.flow, "integrate", told)
    run = train((0, 1), "cpu", records=torch.arange(5, dtype=runs.DTYPE), test=12, **SMALL)
    assert run["tau_1"].tolist() == pytest.approx([2.5, 2.5])


@pytest.mark.parametrize("size, unevenness", [(0.0, 0.0), (100.0, 2.0)])
def test_unevenness_is_in_units_of_uniform_attention(size, unevenness):
    """One-hot attention to three words is 1 - 1/3 away from uniform, times 3."""
    state = dict.fromkeys(("W_Q", "W_K", "W_V"), size * torch.eye(3, dtype=runs.DTYPE)[None])
    tokens, readout = torch.tensor([[[0, 1, 2]]]), {"readout": torch.ones(1, 3, dtype=runs.DTYPE)}
    seen = setting.observer(tokens, torch.ones(1, 1, dtype=runs.DTYPE), 3)(state | readout)
    assert seen["unevenness"].tolist() == pytest.approx([unevenness])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: train((0,), "cpu", step=np.nan, **SMALL), "step"),
        (lambda: train((0,), "cpu", stop_loss=np.nan, **SMALL), "stop_loss = nan"),
        (lambda: train((0,), "cpu", method="euler", **SMALL), "heun, descent"),
        (lambda: model.field(TOKENS, LABELS, 3, 4), "word numbers"),
        (lambda: model.field(TOKENS.double(), LABELS, 9, 4), "a tensor of int64 entries"),
        (lambda: task.counts(TOKENS, int(TOKENS.max())), "word numbers from 0 to"),
        (lambda: model.look(model.reduce(STATE), model.address(TOKENS, 9) + 9, TOKENS.shape), "from 0 to 8"),
        (lambda: model.look(model.reduce(STATE), model.address(TOKENS, 9), (1, 6, 4)), "the shape of 18 tokens"),
        (lambda: setting.class_means(LABELS, torch.tensor([0, 1, 2, 3, 4, 0])), "numbers from 0 to 3"),
        (lambda: reduced.Reduced(12, 4).solve([0.0, np.inf]), "taus"),
        (lambda: reduced.second_loss_rise({"task": Task(12, 8)}), "has a peak"),
        (lambda: balance.ratio(5, 5, 5, 0), "first = 5"),
        (lambda: balance.ratio(np.ones(3), np.ones(1), np.ones(3), np.ones(3)), "float64 of shape (3,)"),
        (lambda: balance.lengths_at(balance.LENGTH**2 + balance.SAMPLES, [1.0]), "a real zero"),
        (lambda: phases.fall({"tau": LABELS, "loss": LABELS}, 1e-4, 1e-2), "decreasing"),
        (lambda: dual.separate([[1.0], [1.0]], [1, 2]), "labels = [1.0, 2.0]"),
        (lambda: model.field(TOKENS, LABELS[:, :3], 9, 4), "labels"),
        (lambda: sweeps.paper((0,), "cpu", reading="xavier"), "reading = 'xavier'"),
        (lambda: balance.predicted(5, 5), "samples = 5"),
        (lambda: reduced.Reduced(20, 5), "divisible by 6"),
        (lambda: reduced.Reduced(60, 5, growth=-1.0), "growth = -1.0"),
        (lambda: reduced.Reduced(growth=1.0), "growth = 1.0"),
        (lambda: dual.separate([[1.0], [1.0]], [1, -1]), "separable"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("length", [3, 4])
@pytest.mark.parametrize("sizes", [(2, 1, 1), (3, 1, 2), (4, 2, 3), (2, 4, 2), (2, 5, 1), (3, 6, 2)], ids=str)
def test_counts_are_complete(sizes, length, one_hot):
    """Narrow and wide heads; two words a sample would leave more laws."""
    assert theory.count(*sizes, length=length, one_hot=one_hot)["complete"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rows_are_summed_in_order_with_and_without_sorting(dtype):
    """Rows that nothing goes to are zero, and sums are the same every time; on a CPU both ways add in one order."""
    generator = torch.Generator().manual_seed(5)
    flat = torch.randint(40, (300,), generator=generator) // 2 * 2  # no odd row
    values = torch.randn(300, 7, generator=generator, dtype=dtype)
    slow, fast = (model.row_sums(41, flat, sort) for sort in (False, True))
    want = torch.stack([values[flat == row].double().sum(dim=0) for row in range(41)])
    assert slow(values).dtype == fast(values).dtype == dtype and torch.equal(fast(values), fast(values))
    for found in (slow(values), fast(values)):
        assert (found - want).abs().max() < (1e-13 if dtype == torch.float64 else 1e-5)
    assert (fast(values) - slow(values)).abs().max() < (1e-13 if dtype == torch.float64 else 1e-5)
    assert not fast(values)[1::2].any() and torch.equal(fast(values[:, :1]), fast(values)[:, :1])


def test_the_map_marks_the_cells_that_a_run_cannot_decide():
    (table,) = [one for one in sweeps.SWEEPS if one.name == "phase_diagram"]
    lengths, samples = table.axes["length"], table.axes["samples"]
    figure = maps.diagram_figure(lengths, samples, np.full((len(lengths), len(samples)), 1.2))
    for axes in figure.axes[:2]:
        marked = {(samples[int(x)], lengths[int(y)]) for x, y in (text.get_position() for text in axes.texts)}
        assert {text.get_text() for text in axes.texts} == {"?"} and len(marked) < 20
        assert {(3 * (length + 1), length) for length in lengths if length % 2} <= marked, "on the line the limit is 1"
        assert (60, 5) not in marked and axes.get_images()[0].get_array().shape == (12, 28)
    bar = figure.axes[2]
    plt.close(figure)
    assert bar.get_ylabel() == r"ratio $\rho$"
