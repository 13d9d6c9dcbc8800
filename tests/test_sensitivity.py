"""Chaos: what a nudge and a second thread do to a cell, its band, what a rerun may give, and what is stored of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import files, flow, rooms, runs, sensitivity, sweep
from attnflow.encoder import theorem
from attnflow.kernels import landscape

CPU = torch.device("cpu")
ALONE = {"backend": "sequential", "progress": False, "task": sensitivity.measured}
STARTS = 16  # so many that the stored run, and each nudged one, is at an end of the band of some
SWEEPS = [table for room in rooms.rooms().values() for table in room.sweeps]
PHASES = {  # the phase diagrams, and how many cells they had at first
    "phase_diagram": 6 * 14,
    "encoder-threshold": 4 * 7,
    "encoder-phase": 7 * 4,
    "kernels-trap": 8 * 12 * 10,
    "meanfield-width": 10 * 6,
    "meanfield-scale": 10 * 6,
}


def logistic(device, rate, steps=60):
    """Descent whose step is the logistic map: at rate 2 it rests, at rate 4 a distance doubles with each step, on average."""

    def field(state):
        theta = state["theta"]
        return 1 + theta[:, 0].square(), {"theta": theta - rate * theta * (1 - theta)}

    start = {"theta": torch.linspace(0.1, 0.45, STARTS, dtype=runs.DTYPE, device=device)[:, None]}
    end = flow.integrate(field, start, step=1.0, times=[steps]).state["theta"][:, 0]
    return {"end": end, "rate": np.full(3, rate), "gone": torch.full_like(end, torch.nan)}


def rewritten(device, rate, steps=60):
    """The same training, written otherwise."""
    return dict(logistic(device=device, rate=rate, steps=steps))


def shifted(device, rate, steps=60):
    """Another training at rate 2."""
    found = logistic(device, rate, steps)
    return found | {"rate": found["rate"] * (1 + 1e-5 * (rate == 2))}


def threaded(device, x):
    """A cell that reads how many threads it has."""
    return {"value": np.array([4.0 + x * torch.get_num_threads(), 10.0])}


TABLE = sweep.Sweep("logistic", "calm and chaotic", logistic, {"rate": (2.0, 4.0)})


@pytest.fixture
def stored(results, tmp_path):
    """The sweep of the logistic map, stored with its sensitivity."""
    found = sweep.run(TABLE, tmp_path / "runs", **ALONE)
    sweep.keep(TABLE, found, results / "room", sensitivity=sensitivity.terms(TABLE))
    return sensitivity.kept(TABLE)


def nudged(settings, seed):
    with flow.nudged(sensitivity.NUDGE, seed):
        return sweep.cell(TABLE, settings, CPU)


def test_a_calm_cell_has_a_small_sensitivity_and_a_chaotic_one_a_band(tmp_path):
    calm, chaotic = sweep.run(TABLE, tmp_path, **ALONE)
    assert calm[":sensitivity"] < 1e-9 and np.isnan(calm["low:end"]).all() and np.isnan(calm["high:rate"]).all()
    base, (first, *others) = sweep.cell(TABLE, {"rate": 4.0}, CPU), [nudged({"rate": 4.0}, seed) for seed in range(9)]
    change = np.abs(first["end"] - base["end"]).max() / base["end"].max()
    assert sensitivity.EDGE < chaotic[":sensitivity"] == pytest.approx(change)
    ends = np.stack([one["end"] for one in (base, *others)])
    found = np.stack([chaotic["low:end"], chaotic["high:end"]])
    assert np.array_equal(found, [ends.min(axis=0), ends.max(axis=0)])
    assert (chaotic["low:rate"] == 4).all() and (chaotic["high:rate"] == 4).all()


def test_a_second_thread_counts_as_much_as_a_nudge(tmp_path):
    table = sweep.Sweep("threaded", "one thread or two", threaded, {"x": (0, 1e-3, 1)})
    none, some, much = sweep.run(table, tmp_path, **ALONE)
    assert [one["value"][0] for one in (none, some, much)] == [4.0, 4.001, 5.0], "the stored run has one thread"
    assert none[":sensitivity"] == 0 and some[":sensitivity"] == pytest.approx(1e-4) and much[":sensitivity"] == 0.1
    assert np.isnan(some["low:value"]).all() and much["low:value"].tolist() == much["high:value"].tolist() == [5, 10]


def test_the_cells_and_their_sensitivity_are_tasks_of_their_own_that_are_not_repeated(tmp_path):
    first = sweep.run(TABLE, tmp_path, **ALONE)
    assert sweep.run(TABLE, tmp_path, backend="sequential", progress=False)[0].keys() == {"end", "rate", "gone"}
    written = sorted(tmp_path.iterdir())
    bands = [path for path in written if ":sensitivity" in files.read_arrays(path)]
    assert len(written) == 4 and len(bands) == 2
    bands[0].write_bytes(b"")
    before = {path: path.stat().st_mtime_ns for path in written}
    again = sweep.run(TABLE, tmp_path, **ALONE)
    assert [path for path in written if path.stat().st_mtime_ns != before[path]] == bands[:1]
    np.testing.assert_equal(again, first)


def test_what_is_stored_is_read_back_beside_the_sweep(stored):
    arrays, provenance = sweep.kept("logistic")
    assert arrays.keys() == {"end", "rate", "gone"} and provenance["sensitivity"] == sensitivity.terms(TABLE)
    assert stored.sensitivity.shape == (2,) and stored.chaotic.tolist() == [False, True]
    assert stored.most(2) == [1, 0] and stored.most() == [1] and stored.most(2, rate=2.0) == [0]
    assert "settings = 'width'" in refusal(lambda: stored.most(width=1)) and "count = 0" in refusal(
        lambda: stored.most(0)
    )
    assert stored.low["end"].shape == (2, STARTS) == stored.high["end"].shape


def test_a_sweep_without_its_sensitivity_says_how_to_measure_it(results, tmp_path):
    sweep.keep(TABLE, sweep.run(TABLE, tmp_path / "runs", **ALONE | {"task": sweep.one}), results / "room")
    assert "logistic --keep" in refusal(lambda: sensitivity.kept(TABLE))


def test_a_rerun_may_give_what_the_band_or_the_sensitivity_says(stored):
    calm, chaotic = (sweep.cell(TABLE, {"rate": rate}, CPU) for rate in (2.0, 4.0))
    assert stored.within(0, calm) and stored.within(1, chaotic) and stored.within(1, stored.recomputed(1))
    first, second = stored.told().splitlines()
    assert first.startswith("1 of ") and second.endswith("computed again it is as stored")
    tolerance = sensitivity.TOLERANCE
    assert stored.within(0, calm | {"end": calm["end"] * (1 + 0.9 * tolerance)})
    assert not stored.within(0, calm | {"end": calm["end"] * (1 + 1.1 * tolerance)})
    low, high = stored.low["end"][1], stored.high["end"][1]
    for share, fits in ((-0.9, True), (1.9, True), (-1.1, False), (2.1, False)):
        assert stored.within(1, chaotic | {"end": low + share * (high - low)}) == fits
    assert not stored.within(1, chaotic | {"rate": chaotic["rate"] * (1 + 1.1 * tolerance)}), "a calm entry beside"
    assert not stored.within(0, calm | {"gone": np.zeros(STARTS)}) and not stored.within(
        1, chaotic | {"end": low + torch.nan}
    )
    sharp = replace(stored, sensitivity=np.array([0.9e-3, 1.0]))
    assert sharp.within(0, calm | {"end": calm["end"] * (1 + 0.8e-3)})
    assert not sharp.within(0, calm | {"end": calm["end"] * (1 + 1e-3)})


@pytest.fixture
def many(results, tmp_path):
    """A table of eight cells: the last one chaotic, one at the edge of it, and two that were not measured."""
    axes, probe = {"rate": (2.0, 2.5, 3.0, 4.0), "steps": (20, 60)}, {"rate": (2.0, 2.5, 4.0)}
    table = sweep.Sweep("many", "calm and chaotic", logistic, axes, probe=probe)
    found = sweep.run(table, tmp_path / "runs", **ALONE)
    sweep.keep(table, found, results / "room")
    return table, found


def test_a_page_computes_the_most_sensitive_cell_and_those_that_it_names(many):
    stored = sensitivity.kept(many[0])
    first, second = {"rate": 2.0, "steps": 60}, {"rate": 2.5, "steps": 20}
    assert stored.again(first, second) == {7: True, 1: True, 2: True} == stored.again(first, second)
    assert list(stored.again(second, first)) == [7, 2, 1] and list(stored.again(first, steps=20)) == [6, 1]
    assert list(stored.again({"rate": 4.0, "steps": 60}, first)) == [7, 1, 6], "three, where one is the most sensitive"
    assert list(stored.again(first, first)) == [7, 1, 6] and list(stored.again()) == [7] == stored.most()
    lines = stored.told(first, second).splitlines()
    assert lines[0] == "1 of 6 measured cells are chaotic"
    assert lines[1:] == [
        f"rate = {rate}, steps = {steps}: computed again it is as stored"
        for rate, steps in ((4.0, 60), (2.0, 60), (2.5, 20))
    ]


@pytest.mark.parametrize("wrong", [1, 2, 7])
def test_a_page_notices_that_a_stored_cell_is_wrong(wrong, many, results):
    """Of a calm cell one number is stored a hundred-thousandth off, of a chaotic one a number outside its band."""
    table, found = many
    first = found[wrong]["end"][0]
    past = (
        2 * (found[7]["high:end"] - found[7]["low:end"])[0] if wrong == 7 else 1e-5 * np.abs(found[wrong]["end"]).max()
    )
    shifted = {name: values.copy() for name, values in found[wrong].items()}
    for name in ("end", "low:end", "high:end"):
        shifted[name][0] += past
    assert shifted["end"][0] != first
    sweep.keep(table, [shifted if place == wrong else each for place, each in enumerate(found)], results / "room")
    kept, named = sensitivity.kept(table), ({"rate": 2.0, "steps": 60}, {"rate": 2.5, "steps": 20})
    assert kept.again(*named) == {place: place != wrong for place in (7, 1, 2)}
    assert [" NOT as " in line for line in kept.told(*named).splitlines()[1:]] == [
        place == wrong for place in (7, 1, 2)
    ]


@pytest.mark.parametrize(
    "named", [{"rate": 3.0, "steps": 20}, {"rate": 2.0}, {"width": 1}, {"rate": 2.0, "steps": 61}, {}, 3, None]
)
def test_a_cell_that_is_named_is_one_and_was_measured(named, many):
    assert "one cell alone, whose sensitivity is stored" in refusal(lambda: sensitivity.kept(many[0]).told(named))


def test_a_probe_says_which_cells_are_measured_and_the_others_have_the_tolerance(results, tmp_path):
    table = replace(TABLE, probe={"rate": (4.0,)})
    sweep.keep(table, sweep.run(table, tmp_path / "runs", **ALONE), results / "room")
    kept, calm = sensitivity.kept(table), sweep.cell(TABLE, {"rate": 2.0}, CPU)
    assert np.isnan(kept.sensitivity[0]) and len(kept.measured) == 1 and kept.most(2) == [1, 0]
    for times, fits in ((0.9, True), (1.1, False)):
        assert kept.within(0, calm | {"end": calm["end"] * (1 + times * sensitivity.TOLERANCE)}) == fits


def test_what_is_too_long_is_measured_in_brief_where_it_is_calm(tmp_path):
    table = replace(TABLE, axes={"rate": (4.0,)}, fixed={"steps": 60}, brief={"steps": 10})
    (cell,) = sweep.run(table, tmp_path, **ALONE)
    assert np.array_equal(cell["end"], logistic(CPU, 4.0)["end"].numpy()) and 1e-12 < cell[":sensitivity"] < 1e-8
    longer = replace(table, brief={"steps": 50})
    with pytest.raises(runs.TasksFailed, match="rate = 4.0: WrongUse: .*measure in full"):
        sweep.run(longer, tmp_path, **ALONE)


def test_an_entry_that_is_no_number_in_some_runs_may_be_anything():
    assert sensitivity.apart(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == np.inf
    assert sensitivity.apart(np.array([1.0, np.inf]), np.array([1.5, np.inf])) == 0.5
    assert sensitivity.apart(np.array([1.0]), np.array([1.0, 1.0])) == np.inf
    runs_of = [{"x": np.array([1.0, np.nan, np.nan, np.inf])}, {"x": np.array([2.0, 3.0, np.nan, np.inf])}]
    band = sensitivity.band(runs_of[0], runs_of)
    assert np.array_equal(band["low:x"], [1, -np.inf, np.nan, np.inf], equal_nan=True)
    assert np.array_equal(band["high:x"], [2, np.inf, np.nan, np.inf], equal_nan=True)
    one = {name[:-2]: {"x": values[None]} for name, values in band.items()}
    kept = sensitivity.Kept(TABLE, {"x": runs_of[0]["x"][None]}, np.array([np.inf]), one["low"], one["high"])
    assert all(kept.within(0, {"x": np.array([1.5, free, np.nan, np.inf])}) for free in (np.nan, -7.0))
    for wrong in ([4.0, 0, np.nan, np.inf], [1.5, 0, 1, np.inf], [1.5, 0, np.nan, 9], [np.nan, 0, np.nan, np.inf]):
        assert not kept.within(0, {"x": np.array(wrong)})


def test_another_run_is_outside_the_band_with_the_chance_that_is_stated():
    """Exchangeable runs, here normal: outside the raw band one in ten, at most 2 in 9; a width beyond it hardly ever."""
    (generator,) = runs.streams([0], "band")
    base, *nudges, fresh = torch.randn(2 + sensitivity.BAND, 40_000, generator=generator, dtype=runs.DTYPE).numpy()
    band = sensitivity.band({"x": base}, [{"x": values} for values in (base, *nudges)])
    low, high = band["low:x"], band["high:x"]
    outside, beyond = ((fresh < low - more) | (fresh > high + more) for more in (0, high - low))
    assert outside.mean() == pytest.approx(2 / (sensitivity.BAND + 2), abs=0.01)
    assert outside.mean() < 2 / (sensitivity.BAND + 1) and beyond.mean() < 0.01


def test_today_s_code_is_adopted_where_cells_may_be_reruns_and_only_there(stored, results, monkeypatch):
    path = results / "room" / "logistic.json"
    before, arrays = path.read_bytes(), path.with_suffix(".npz").read_bytes()
    assert "logistic --keep" in refusal(lambda: sensitivity.adopt(replace(TABLE, function=shifted)))
    assert path.read_bytes() == before
    other = replace(TABLE, function=rewritten)
    with flow.nudged(1e-13):
        found = sensitivity.adopt(other)
    assert found[0] < 1e-9 and found[1] > sensitivity.EDGE, "a chaotic cell inside its band"
    (row,), code = json.loads(path.read_text())["adopted"], sweep.kept("logistic")[1]["code"]
    assert (row["from"], row["to"], code) == (TABLE.code, other.code, other.code) and TABLE.code != other.code
    assert row["cells"] == {str(place): gap for place, gap in found.items()}
    assert path.with_suffix(".npz").read_bytes() == arrays and json.loads(path.read_text())["sensitivity"]


def test_three_cells_of_a_large_table_are_recomputed_over_its_whole_length(results, tmp_path):
    table = sweep.Sweep("long", "seven cells", threaded, {"x": tuple(range(7))}, single=True)
    sweep.keep(table, sweep.run(table, tmp_path / "runs", **ALONE), results / "room")
    assert sensitivity.recomputed(table) == {place: (0.0, True) for place in (0, 3, 6)}


def test_cells_without_a_sensitivity_prove_nothing_and_are_not_recomputed(results, tmp_path):
    table = sweep.Sweep("part", "three of seven", threaded, {"x": tuple(range(7))}, single=True, probe={"x": (1, 3, 4)})
    sweep.keep(table, sweep.run(table, tmp_path / "runs", **ALONE), results / "room")
    assert set(sensitivity.recomputed(table)) == {1, 3, 4} and set(sensitivity.recomputed(table, 2)) == {1, 4}


COPY = {
    "__init__": "",
    "runs": "device = str",
    "rooms": """
from types import SimpleNamespace as Part
def rooms():
    table = Part(name="tenths", code=CODE, tasks=lambda: [{"x": x} for x in (1, 2, 3)])
    return {"room": Part(sweeps=[table])}
""",
    "sweep": """
import numpy as np
def cell(table, settings, where):
    return {"value": np.array(settings["x"] / 10 + MORE)}
""",
}


def tenths(device, x):
    """A task: today's code, for which the copy below stands as that of another day."""
    return {"value": np.array(x / 10)}


@pytest.mark.parametrize("more", [0.0, 1e-9, 0.01])
def test_cells_are_compared_with_a_copy_of_the_stored_code_on_this_machine(more, results, tmp_path):
    """The stored numbers are those of another processor, and are not asked."""
    table = sweep.Sweep("tenths", "three cells", tenths, {"x": (1, 2, 3)})
    found = [{"value": each["value"] + 0.7} for each in sweep.run(table, tmp_path / "runs", **ALONE)]
    measured = {":sensitivity": np.array(0.0)} | {f"{end}:value": np.array(np.nan) for end in ("low", "high")}
    sweep.keep(table, [each | measured for each in found], results / "room")
    library = tmp_path / "copy" / "lib" / "attnflow"
    library.mkdir(parents=True)
    words = {"CODE": repr(table.code), "MORE": str(more)}
    for name, text in COPY.items():
        for word, value in words.items():
            text = text.replace(word, value)
        (library / f"{name}.py").write_text(text)
    assert not any(fits for _, fits in sensitivity.recomputed(table).values())
    for place, (gap, fits) in sensitivity.recomputed(table, beside=tmp_path / "copy").items():
        assert gap == pytest.approx(more / (0.1 * (place + 1) + more), abs=1e-12) and fits == (more < 1e-6)
    if more < 1e-6:
        sensitivity.adopt(table, beside=tmp_path / "copy")
        (row,) = json.loads((results / "room" / "tenths.json").read_text())["adopted"]
        assert "by the earlier code" in row["compared with"]
    else:
        assert "tenths" in refusal(lambda: sensitivity.adopt(table, beside=tmp_path / "copy"))
    (library / "rooms.py").write_text(COPY["rooms"].replace("CODE", "'another'"))
    assert "with the code another" in refusal(lambda: sensitivity.adopt(table, beside=tmp_path / "copy"))
    (library / "sweep.py").write_text("raise KeyError('no sweep here')")
    assert "no sweep here" in refusal(lambda: sensitivity.adopt(table, beside=tmp_path / "copy"))
    assert "a copy of the book" in refusal(lambda: sensitivity.adopt(table, beside=tmp_path / "absent"))


def test_training_at_the_edge_of_stability_is_chaotic_and_a_wide_net_is_not():
    """Of the interpolation map: shorter runs, one cell that oscillates to the end and one that converges."""
    found = {}
    for width, samples in ((3, 64), (16, 8)):
        settings = {"samples": samples, "width": width, "steps": 800}
        table = sweep.Sweep("map", "one cell", theorem.threshold, {}, settings)
        base = sweep.cell(table, settings, CPU)
        with flow.nudged(sensitivity.NUDGE):
            found[width] = sensitivity.change(base, sweep.cell(table, settings, CPU))
    assert found[3] > sensitivity.EDGE and found[16] < 1e-9


@pytest.mark.parametrize("name", PHASES)
def test_a_phase_diagram_has_at_least_four_times_the_cells_of_its_first_version_and_is_stored_small(name):
    (table,) = [one for one in SWEEPS if one.name == name]
    inside = len(landscape.SIZES) if name == "kernels-trap" else 1
    assert len(table.tasks()) * inside >= 4 * PHASES[name]
    assert sweep.stored(name)[1].with_suffix(".npz").stat().st_size < 300_000


@pytest.mark.parametrize("table", SWEEPS, ids=lambda table: table.name)
def test_a_stored_sweep_is_that_of_today_s_code_and_has_its_sensitivity(table):
    provenance, kept = sweep.kept(table.name)[1], sensitivity.kept(table)
    assert json.loads(json.dumps(table.axes)) == provenance["axes"]
    assert provenance["sensitivity"] == json.loads(json.dumps(sensitivity.terms(table)))
    probed = [all(task[name] in values for name, values in table.probe.items()) for task in table.tasks()]
    assert kept.sensitivity.shape == tuple(map(len, table.axes.values())) and (kept.measured >= 0).all()
    assert (~np.isnan(kept.sensitivity)).flatten().tolist() == probed
    for name, values in kept.arrays.items():
        low, high = kept.low[name], kept.high[name]
        assert low.shape == high.shape == values.shape
        calm, cells, lows, highs = ~kept.chaotic, *(each[kept.chaotic] for each in (values, low, high))
        assert np.isnan(low[calm]).all() and np.isnan(high[calm]).all()
        known = ~np.isnan(cells)
        assert ((lows <= cells) & (cells <= highs))[known].all(), "the stored run is in its band"
    assert provenance["code"] == table.code or all(fits for _, fits in sensitivity.recomputed(table).values())
