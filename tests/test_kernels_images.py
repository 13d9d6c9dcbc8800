"""Chapter 4, pictures: the generator against a slow twin, batches and convolution against plain loops, readings by hand."""

import math

import numpy as np
import pytest
import torch
from conftest import refusal
from matplotlib import pyplot as plt
from scipy.ndimage import label
from sklearn.datasets import load_digits

from attnflow import flow, runs, sweep, vit
from attnflow.kernels import figures_images, images, minibatches, pathfinder, rowtokens, stages

CPU = torch.device("cpu")
PART = torch.zeros(1, 3, 2, dtype=runs.DTYPE)
SIZES = [{}, {"distractors": 3}, {"pixels": 16, "length": 8, "short": 5, "distractors": 2}]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def drawn(request):
    return pathfinder.pictures(runs.streams((0, 1), "data"), 400, **request.param)


def test_dots_are_joined_where_water_flows_from_one_to_the_other(drawn):
    """The slow twin floods the paths without their gaps, over sides and corners."""
    for picture, joined, whole in zip(*(each.flatten(0, 1) for each in drawn), strict=True):
        lakes, _ = label(whole.numpy(), structure=np.ones((3, 3)))
        one, two = lakes[np.nonzero(picture.numpy() == pathfinder.DOT)]
        assert one and two and (one == two) == bool(joined)


def test_scenes_have_the_paths_that_were_asked_for(drawn):
    pictures, _, whole = drawn
    length, short, distractors = (5, 2, 1) if whole.shape[2] == 8 else (8, 5, 2)
    distractors = 3 if whole[0, 0].sum() == 2 * length + 3 * short else distractors
    sizes = [length, length, *[short] * distractors]
    for each in whole.flatten(0, 1):
        lakes, count = label(each.numpy(), structure=np.ones((3, 3)))
        assert sorted(np.bincount(lakes.ravel())[1:]) == sorted(sizes) and count == len(sizes)
    lit = sum(size - size // 3 for size in sizes)
    assert ((pictures > 0).sum(dim=(2, 3)) == lit).all() and ((pictures > 0) <= whole).all()
    assert ((pictures == pathfinder.DOT).sum(dim=(2, 3)) == 2).all()


def test_nothing_but_the_paths_tells_the_label():
    pictures, labels, _ = pathfinder.pictures(runs.streams((0,), "data"), 6000)
    far = pathfinder.distances(pictures)[0]
    first = torch.stack([(pictures[0, ..., :4] > 0).sum(dim=(1, 2)), (pictures[0] ** 2).sum(dim=(1, 2)), far]).double()
    joined = labels[0] == 1
    assert abs(joined.double().mean() - 0.5) < 4 * 0.5 / 6000**0.5
    for feature in first:
        gap, room = feature[joined].mean() - feature[~joined].mean(), 4 * feature.std() * 2 / 6000**0.5
        assert abs(gap) <= room
    loose = pathfinder.pictures(runs.streams((0,), "data"), 2000, matched=False)
    near = pathfinder.distances(loose[0])[0].double()
    assert near[loose[1][0] == 1].mean() < near[loose[1][0] == 0].mean() - 5


def test_distances_of_dots_by_hand():
    pictures = torch.zeros(1, 2, 8, 8, dtype=runs.DTYPE)
    pictures[0, 0, 1, 2] = pictures[0, 0, 4, 6] = pictures[0, 1, 0, 0] = pictures[0, 1, 0, 1] = pathfinder.DOT
    assert pathfinder.distances(pictures).tolist() == [[25, 1]]
    pictures[0, 0, 0, 0] = pathfinder.DOT
    pictures[0, 1, 0, 0] = pathfinder.LIT
    assert "dots of a picture = (1, 3)" in refusal(lambda: pathfinder.distances(pictures))


def test_a_run_draws_the_same_pictures_in_any_stack():
    both, alone = (pathfinder.pictures(runs.streams(seeds, "data"), 50) for seeds in ((3, 4), (4,)))
    assert all(torch.equal(one[1:], other) for one, other in zip(both, alone, strict=True))


def test_the_best_rule_from_distances_by_a_plain_count(monkeypatch):
    far = torch.tensor([[1, 1, 4, 4, 4, 1, 4, 9]])
    labels = torch.tensor([[1, 1, 0, 0, 1, 1, 1, 1]])
    monkeypatch.setattr(pathfinder, "pictures", lambda *_, **__: (far, labels, None))
    monkeypatch.setattr(pathfinder, "distances", lambda given: given)
    # 1 -> joined, 4 -> not joined; of the other four labels (1, 1, 1, 1) at (4, 1, 4, 9) one is right.
    assert images.told((0,), CPU, count=4)["right"].tolist() == [0.25]


def test_a_field_of_batches_is_descent_batch_by_batch():
    net = vit.Transformer(tokens=3, size=2, width=4, heads=1, depth=1, classes=2)
    seeds, rates = (0, 1), torch.tensor([0.1, 0.3], dtype=runs.DTYPE)
    inputs = runs.normal(runs.streams(seeds, "data"), 7, 3, 2)
    labels = (inputs[:, :, 0, 0] > 0).long()
    state = vit.init(runs.streams(seeds, "weights"), net)
    loss = minibatches.cross_entropy(lambda now, given: vit.forward(now, given, net))
    field = minibatches.batched(loss, inputs, labels, 3, rates)
    times = rates * torch.arange(6, dtype=runs.DTYPE)[:, None]
    record = flow.integrate(field, minibatches.started(state), step=rates, times=times)
    for step in range(5):
        part = slice(3 * (step % 2), 3 * (step % 2) + 3)
        value, slopes = vit.field(inputs[:, part], labels[:, part], net)(state)
        assert torch.allclose(record.loss[step], value)
        state = {name: each - rates[:, None, None] * slopes[name] for name, each in state.items()}
    assert all(torch.allclose(record.state[name], value) for name, value in state.items())
    assert torch.allclose(record.state[minibatches.CLOCK][:, 0], 5 * rates)


def test_adam_takes_the_batches_in_turn():
    net = vit.Transformer(tokens=3, size=2, width=4, heads=1, depth=1, classes=2)
    inputs = runs.normal(runs.streams((0,), "data"), 6, 3, 2)
    labels = (inputs[:, :, 0, 0] > 0).long()
    state = vit.init(runs.streams((0,), "weights"), net)
    loss = minibatches.cross_entropy(lambda now, given: vit.forward(now, given, net))
    method, rate = flow.Optimiser(torch.optim.Adam), 0.01
    times = rate * torch.arange(8, dtype=runs.DTYPE)
    field = minibatches.batched(loss, inputs, labels, 2, rate)
    found = flow.integrate(field, minibatches.started(state), step=rate, times=times, method=method)
    leaves = {name: torch.nn.Parameter(value.clone()) for name, value in state.items()}
    adam = torch.optim.Adam(list(leaves.values()), lr=rate)
    for step in range(7):
        part = slice(2 * (step % 3), 2 * (step % 3) + 2)
        adam.zero_grad()
        loss(leaves, inputs[:, part], labels[:, part]).sum().backward()
        adam.step()
    assert all(torch.allclose(found.state[name], leaf, atol=1e-12) for name, leaf in leaves.items())


def test_the_convolution_multiplies_windows():
    net, pictures = minibatches.Convolution(channels=5, depth=2), runs.normal(runs.streams((0, 1), "data"), 3, 6, 6)
    state = net.init(runs.streams((0, 1), "weights"))
    state = {name: value + 0.1 * torch.ones_like(value) for name, value in state.items()}
    found = net.forward(state, pictures)
    for run in range(2):
        stream = pictures[run, ..., None]
        for layer in range(2):
            wide = torch.zeros(3, 8, 8, stream.shape[-1], dtype=runs.DTYPE)
            wide[:, 1:-1, 1:-1] = stream
            stream = torch.zeros(3, 6, 6, 5, dtype=runs.DTYPE)
            for y, x in np.ndindex(6, 6):
                window = wide[:, y : y + 3, x : x + 3].flatten(1)
                stream[:, y, x] = torch.relu(window @ state[f"conv{layer}"][run] + state[f"bias{layer}"][run, 0])
        assert torch.allclose(found[run], stream.mean(dim=(1, 2)) @ state["read"][run])


def test_rows_are_the_rows_of_the_images():
    tokens, labels = rowtokens.rows(runs.streams((0,), "data"), 1797)
    stored = load_digits()
    order = np.lexsort(stored.images.reshape(1797, 64).T)
    mine = np.lexsort(tokens[0].reshape(1797, 64).numpy().T)
    assert np.array_equal(tokens[0].numpy()[mine], stored.images[order] / 8 - 1)
    assert np.array_equal(labels[0].numpy()[mine], stored.target[order])


@pytest.mark.parametrize(("k", "c", "inner"), [(4, 0.5, 1.0), (9, 1.0, 0.6), (16, 0.5, rowtokens.TORCH)])
def test_mean_row_sums_by_many_draws(k, c, inner):
    queries, keys = (inner * runs.normal(runs.streams((0,), name), 200_000, k)[0] for name in ("q", "k"))
    weights = torch.exp(-c * (queries - keys).square().sum(dim=1) / math.sqrt(k))
    room = 5 * float(weights.std()) / 200_000**0.5
    assert abs(rowtokens.row_sum(1, k, c, inner) - float(weights.mean())) < room


def test_variants_differ_in_kernel_and_gain_alone():
    nets = {name: rowtokens.network(name, c=1.0, inner=0.5) for name in rowtokens.VARIANTS}
    known = rowtokens.row_sum(8, 16, 1.0, 0.5)
    assert {name: net.gain for name, net in nets.items()} == pytest.approx(
        {**dict.fromkeys(rowtokens.VARIANTS, 1.0), "rescaled softmax": known, "rescaled gaussian": 1 / known}
    )
    assert [net.attention for net in nets.values()] == [
        "softmax", "softmax", "gaussian", "gaussian", "normalised_gaussian"
    ]  # fmt: skip
    assert {(net.c, net.beta) for net in nets.values()} == {(1.0, 2.0)}
    assert rowtokens.network("rescaled softmax", power=-1.0).gain == pytest.approx(1 / rowtokens.row_sum(8, 16, 0.5))


def test_rates_in_one_stack_are_runs_of_their_own():
    small = {"steps": 5, "train": 40, "size": 8, "test": 20, "width": 8}
    both = rowtokens.descent((0, 1), CPU, "gaussian", rates=(0.1, 0.4), **small)
    alone = rowtokens.descent((1,), CPU, "gaussian", rates=(0.4,), **small)
    assert torch.allclose(both["loss"][:, 1, 1], alone["loss"][:, 0, 0]) and both["accuracy"].shape == (2, 2)
    assert torch.allclose(both["mean"], both["loss"].mean(dim=0)) and both["mean"][0, 0] != both["mean"][1, 0]


def test_a_run_that_diverges_counts_as_infinite():
    found = rowtokens.descent((0,), CPU, rates=(0.1, 1e200), steps=6, train=40, size=8, width=8)
    assert found["mean"][1].isinf().all() and found["mean"][0].isfinite().all()


def test_the_best_rate_is_chosen_on_other_seeds():
    small = {"steps": 6, "train": 40, "size": 8, "test": 10, "width": 8, "tuning": 2, "seeds": 3}
    found = rowtokens.tuned(CPU, "softmax", 1.0, 0.5, rates=(0.01, 0.3), **small)
    assert float(found["rate"]) == 0.3 and (found["tuning"][0] > found["tuning"][1]).all()
    alone = rowtokens.descent((102,), CPU, "softmax", rates=(0.3,), steps=6, train=40, size=8, test=10, width=8)
    assert (
        torch.allclose(found["loss"][:, 2], alone["loss"][:, 0, 0]) and found["accuracy"][2] == alone["accuracy"][0, 0]
    )


SMALL = {"train": 64, "test": 20, "size": 16, "first": 4, "second": 6, "every": 2, "width": 8, "hidden": 8}


@pytest.fixture(scope="module")
def stored():
    """Two blocks of a tiny two-stage training, of two seeds each, as a sweep stores them."""
    found = [stages.stages(CPU, seed, count=2, **SMALL) for seed in (0, 2)]
    return {name: np.stack([each[name].numpy() for each in found]) for name in found[0]}


def test_the_second_stage_goes_on_where_the_first_ended(stored):
    for name in ("train", "test", "train accuracy", "test accuracy"):
        first, second = stored[f"{name}, first"], stored[f"{name}, second"]
        assert first.shape == (2, 2, 3) == stored[f"{name}, convolution"].shape and second.shape == (2, 2, 3, 4)
        assert np.allclose(first[..., -1], second[..., 0, 0])
    loss = stored["train, second"]
    assert (np.ptp(loss[..., 0], axis=2) > 1e-6).all() and np.allclose(stored["test, first"][..., 0], math.log(2))


def test_seeds_in_one_stack_are_runs_of_their_own(stored):
    alone = stages.stages(CPU, 3, **SMALL)
    assert all(np.allclose(stored[name][1, 1], each[0], atol=1e-9) for name, each in alone.items())


def test_a_rate_is_judged_at_the_end_of_both_nets():
    small = {name: SMALL[name] for name in ("train", "test", "size", "width", "hidden")}
    found = stages.tuned(CPU, 0.01, seeds=(2, 3), steps=4, **small)
    seen = stages.stages(CPU, 2, count=2, rate=0.01, beside=0.01, **SMALL)
    for name in ("test", "test accuracy"):
        assert torch.allclose(found[f"{name}, softmax"], seen[f"{name}, first"][:, -1])
        assert torch.allclose(found[f"{name}, convolution"], seen[f"{name}, convolution"][:, -1])
    slow = stages.stages(CPU, 2, rate=0.01, beside=1e-6, **SMALL)
    assert torch.allclose(slow["test, first"][0], seen["test, first"][0])
    assert (slow["test, convolution"][0, 1:] - seen["test, convolution"][0, 1:]).abs().min() > 1e-4


def test_the_part_that_rescaling_closes():
    softmax, rescaled, gaussian = (
        torch.tensor(each, dtype=runs.DTYPE) for each in ([4.0, 5.0], [2.0, 2.0], [0.0, 1.0])
    )
    assert rowtokens.closed(softmax, rescaled, gaussian).tolist() == [0.5, 0.75]
    part, low, high = rowtokens.bootstrap(softmax, rescaled, gaussian)
    assert (part, low, high) == pytest.approx((0.625, 0.5, 0.75))


def test_patches_are_squares_of_pixels():
    pictures = torch.arange(64.0).double().reshape(8, 8)
    assert torch.equal(stages.patches(pictures)[2], pictures[4:, :4].reshape(-1))


def test_readings_of_the_digits_by_hand():
    names = ("softmax", "rescaled softmax", "gaussian")
    record = dict(zip(names, (torch.tensor([each], dtype=runs.DTYPE) for each in (5.0, 4.0, 3.0)), strict=True))
    readings = (images.gap, images.part, images.beside_half)
    assert [read(record).tolist() for read in readings] == [[2.0], [0.5], [1.0]]


def test_readings_of_the_stored_runs_by_hand(monkeypatch):
    second = np.zeros((1, 2, 3, 2))
    second[0, :, 0, 1], second[0, :, 1, 1], second[0, :, 2, 1] = [0.6, 0.7], [0.7, 0.9], [0.7, 0.7]
    arrays = {
        "test accuracy, first": np.array([[[0.5, 0.6]], [[0.3, 0.7]]]),
        "test accuracy, convolution": np.array([[[0.1, 0.8], [0.1, 0.6]]]),
        "test accuracy, second": second,
    }
    monkeypatch.setattr(images.sweep, "kept", lambda name: ({"kernels-pathfinder": arrays}[name], {}))
    parts = [images.learned(), images.learned("first", look=0), images.learned("convolution")]
    assert parts == pytest.approx([0.65, 0.4, 0.7])
    assert images.learned(kernels=stages.KERNELS) == pytest.approx(0.8)
    assert images.lead() == pytest.approx(0.15 / (0.005**0.5 / 2**0.5))
    assert images.lead(kernel="normalised_gaussian") == pytest.approx(0.05 / (0.005**0.5 / 2**0.5))
    assert "name = 'other'" in refusal(lambda: images.learned(name="other"))
    assert "look = 2" in refusal(lambda: images.learned(look=2))


@pytest.mark.parametrize(("name", "net"), [("rate", "softmax"), ("beside", "convolution")])
def test_both_nets_are_trained_at_a_best_of_the_stored_rates(name, net):
    """The smallest rate whose mean test loss is within a hundredth of the least, and not the smallest of the grid."""
    arrays, made = sweep.kept("kernels-pathfinder-rates")
    loss = arrays[f"test, {net}"].mean(axis=1)
    place = int((loss <= loss.min() + 0.01).argmax())
    assert made["axes"]["rate"][place] == images.CHOSEN[name] and place > 0


def test_figures_show_what_they_are_given(stored):
    drawn = figures_images.samples_figure(count=2, sizes=({},))
    shades = [[patch.get_facecolor() for patch in axes.patches] for axes in drawn.axes]
    assert [len(each) for each in shades] == [12 + 8 + 2] * 4
    other = {name: 2 * each for name, each in stored.items()}
    figure = figures_images.stages_figure({"one": stored, "two": other}, every=2)
    curves = [{line.get_label(): line.get_xydata() for line in axes.get_lines()} for axes in figure.axes]
    gaussian = stored["test accuracy, second"][:, :, 1].mean(axis=(0, 1))
    assert np.allclose(curves[3]["Gaussian"], np.stack([[4, 6, 8, 10], gaussian], axis=1))
    assert np.allclose(curves[7]["Gaussian"][:, 1], 2 * gaussian) and figure.axes[4].get_ylabel() == "two"
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["training loss", "test loss", "training acc.", "test acc.", *[""] * 4]
    assert np.allclose(curves[0]["convolution"][:, 1], stored["train, convolution"].mean(axis=(0, 1)))
    for line, level in zip(curves, 2 * (math.log(2), math.log(2), 0.5, 0.5), strict=True):
        assert np.allclose(line[list(line)[-1]][:, 1], level)
    plt.close("all")


def test_the_figure_of_the_digits_marks_the_chosen_rates():
    shape, rates = (5, 2, 2), np.array(rowtokens.RATES)
    tuning = np.full((*shape, 12, 5), 2.0)
    tuning[..., 3, :] = 1.0
    arrays = {"tuning": tuning, "rate": np.full(shape, rates[3]), "mean": np.full((*shape, 4), 1.5)}
    table = {"variant": rowtokens.VARIANTS, "c": (0.5, 1.0), "scale": (rowtokens.TORCH, 1.0)}
    figure = figures_images.digits_figure(arrays, table)
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len(lines) == 10 and all(line.get_xydata()[0].tolist() == [rates[3], 1.5] for line in lines[1::2])
        assert all(line.get_ydata().argmin() == 3 for line in lines[::2])
    assert figure.axes[0].get_title(loc="left").endswith("2.3")
    plt.close("all")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pathfinder.pictures(runs.streams((0,), "data"), 0), "count = 0"),
        (lambda: pathfinder.pictures(runs.streams((0,), "data"), 5, length=4), "2, 5, 8, ... cells"),
        (lambda: pathfinder.pictures(runs.streams((0,), "data"), 5, length=11), "at most pixels = 8"),
        (lambda: pathfinder.pictures(runs.streams((0,), "data"), 5, distractors=40), "few enough for 8 pixels"),
        (lambda: pathfinder.pictures(runs.streams((0,), "data"), 5, matched=2), "matched = 2"),
        (lambda: stages.patches(torch.zeros(6, 6).double()), "pixels = 6"),
        (lambda: stages.stages(CPU, 0, train=64, test=20, contrast=0), "contrast = 0"),
        (lambda: stages.stages(CPU, 0, count=0), "count = 0"),
        (lambda: rowtokens.network("sigmoid"), "variant = 'sigmoid'"),
        (lambda: minibatches.Convolution(channels=0), "channels = 0"),
        (lambda: minibatches.batched(sum, PART, torch.zeros(1, 3).long(), 4, 0.1), "size = 4"),
        (lambda: minibatches.batched(sum, PART, torch.zeros(1, 3).long(), 3, 0 * PART[:, 0, 0]), "step = 0.0"),
        (lambda: stages.Course(sum, PART, torch.zeros(1, 3).long(), 3, 1, 0.1, 1), "test = 3"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)
