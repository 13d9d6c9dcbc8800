"""The integrators against closed forms, against scipy, against slow loops, and against themselves run one by one."""

import numpy as np
import pytest
import torch
from conftest import refusal

from attnflow import curves, flow, runs
from attnflow.cooccurrence import setting as words_setting
from attnflow.flow import Descent, Ended, Heun, Momentum, Optimiser, RungeKutta

RATES = torch.tensor([0.5, -1.0, 1.0, 2.0], dtype=runs.DTYPE)
LINEAR = RATES.abs()
SPEED = {"speed": lambda state, loss, gradient: 1 + state["theta"].abs().amax(dim=1) / 10}
METHODS = {
    "descent": Descent(),
    "heun": Heun(),
    "clocked": Heun(**SPEED),
    "rk4": RungeKutta(),
    "momentum": Momentum(0.5),
    "sgd": Optimiser(torch.optim.SGD),
    "adam": Optimiser(torch.optim.Adam),
}


def linear(rates=LINEAR, wall=torch.inf, cliff=torch.inf):
    """theta' = -rate theta, one rate a run; behind the wall the loss is no number, behind the cliff the slope is infinite."""

    def field(state):
        theta = state["theta"]
        loss = (rates.abs()[:, None] * theta.square() / 2).sum(dim=1)
        loss = torch.where(theta.abs().amax(dim=1) < wall, loss, torch.nan)
        return loss, {"theta": torch.where(theta.abs() < cliff, rates[:, None] * theta, torch.inf)}

    return field


def ones(count=4):
    return {"theta": torch.ones(count, 2, dtype=runs.DTYPE)}


def run(field=None, start=None, **settings):
    """A run of descent of four parabolas to time 1, but for the settings."""
    return flow.integrate(field or linear(), start or ones(), **({"step": 0.1, "times": [0.0, 0.5, 1.0]} | settings))


def same(one, other, atol=0.0):
    """Two records agree in every number, to the bit where nothing else is said."""
    words = ("status", "engine")
    tensors = [{name: value for name, value in vars(each).items() if name not in words} for each in (one, other)]
    torch.testing.assert_close(*tensors, rtol=0, atol=atol, equal_nan=True)
    return one.status == other.status


ORDERS = {"descent": 1, "heun": 2, "clocked": 2, "rk4": 4, "momentum": 1, "sgd": 1}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_observed_order_against_the_closed_form(name, order):
    steps = [0.02, 0.01, 0.005, 0.0025]
    exact = torch.exp(-RATES.abs() * (2 if name == "momentum" else 1))
    ends = torch.stack([run(step=step, method=METHODS[name]).state["theta"][:, 0] for step in steps])
    assert (curves.order(steps, (ends - exact).abs()) - order).abs().max() < 0.05


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("end", ["wall", "cliff"])
def test_the_record_depends_neither_on_steps_at_once_nor_on_the_stack(name, end):
    """Four runs, one to its time, one into a wall or down a cliff, one to its loss, one to the last step."""
    reach = torch.tensor([2.0, 20.0, 20.0, 20.0] if name not in ("sgd", "adam") else [5.0] * 4, dtype=runs.DTYPE)
    settings = {
        "times": torch.linspace(0, 1, 9, dtype=runs.DTYPE)[:, None] * reach,
        "step": 0.05,
        "method": METHODS[name],
        "max_steps": 90,
        "observe": lambda state: {"square": state["theta"] ** 2},
    }
    stop = torch.tensor([0.0, 0.0, 0.05, 0.0], dtype=runs.DTYPE)
    record = run(linear(RATES, **{end: 5.0}), stop_loss=stop, **settings)
    assert set(record.status[1:]) == {Ended.NON_FINITE, Ended.LOSS, Ended.STEPS} and record.diverged.tolist()[1]
    for at_once in (1, 7):
        assert same(record, run(linear(RATES, **{end: 5.0}), stop_loss=stop, at_once=at_once, **settings))
    assert record.state["theta"].isfinite().all()
    assert torch.equal(record.end_loss, linear(RATES, wall=5.0 if end == "wall" else torch.inf)(record.state)[0])
    last = curves.final(record.times), curves.final(record.loss)
    assert torch.equal(last[0], record.end) and torch.equal(last[1], record.end_loss)
    assert torch.equal(curves.final(record.values["square"]), record.state["theta"] ** 2)
    for one, rate in enumerate(RATES):
        here = settings | {"times": settings["times"][:, one], "stop_loss": stop[one].item()}
        alone, rows = run(linear(rate[None], **{end: 5.0}), ones(1), **here), record.times[:, one].isfinite()
        assert torch.equal(alone.state["theta"][0], record.state["theta"][one])
        assert alone.status == [record.status[one]] and alone.steps[0] == record.steps[one]
        assert torch.equal(alone.loss[:, 0], record.loss[rows, one]) and (alone.times.diff(dim=0) > 0).all()


class Engine:
    """Descent on the four parabolas in numpy: what a compiled engine looks like from outside."""

    def bind(self, field, start, step):
        self.step, self.loss = step.numpy(), field(start)[0]
        return self

    def advance(self, state, time, until, stop, steps, falls):
        theta, now, rate = state["theta"].numpy(), time.numpy(), RATES.abs().numpy()
        taken, alive = np.zeros(4, dtype=int), np.ones(4, dtype=bool)
        while (going := alive & (now < until.numpy() - 1e-9 * self.step) & (taken < steps.numpy())).any():
            size = self.step * going
            theta, now, taken = theta - size[:, None] * (rate[:, None] * theta), now + size, taken + going
            self.loss = torch.from_numpy((rate[:, None] * theta**2 / 2).sum(axis=1))
            alive &= ~(going & (self.loss <= stop).numpy())
        now, taken, alive = map(torch.from_numpy, (now, taken, alive))
        never = torch.zeros_like(alive)
        return flow.Advance({"theta": torch.from_numpy(theta)}, now, taken, self.loss, alive, never, never)


@pytest.mark.parametrize("method", [Descent(), Heun(), RungeKutta()])
@pytest.mark.parametrize("at_once", [1, 1000])
def test_a_loss_that_rises_ends_its_run_with_a_time_and_one_warning(method, at_once):
    """A parabola of rate 40 is too steep for the step of 0.1; the others have two hundred steps and more."""
    rates = torch.tensor([40.0, 1.0, 45.0, 0.5], dtype=runs.DTYPE)
    settings = {"field": linear(rates), "times": [0.0, 30.0], "method": method, "at_once": at_once}
    with pytest.warns(flow.Rising, match=r"rose in 2 of 4 runs, first after time 0:") as seen:
        record = run(falls=True, **settings)
    assert len(seen) == 1 and record.status == [Ended.ROSE, Ended.TIME, Ended.ROSE, Ended.TIME]
    assert record.end.tolist() == pytest.approx([0, 30, 0, 30]) and record.steps[0] == 0
    assert record.end_loss[0] == 40 and (record.state["theta"][0] == 1).all()
    alone = run(**settings | {"field": linear(rates[[1, 3]]), "start": ones(2)})
    assert torch.equal(record.state["theta"][[1, 3]], alone.state["theta"])


def test_a_loss_that_rises_late_is_seen_between_records():
    def field(state):
        loss, slope = linear()(state)
        return torch.where(state["theta"][:, 0] < 0.5, loss + 1, loss), slope

    with pytest.warns(flow.Rising, match="4 of 4 runs"):
        record = run(field, times=[0.0, 50.0], step=0.01, falls=True)
    below = torch.exp(-LINEAR * (record.end + 0.01))
    assert (record.state["theta"][:, 0] >= 0.5).all() and (below < 0.505).all() and (record.end > 0).all()


def test_an_engine_can_take_the_place_of_a_stepper():
    settings = {"step": 0.01, "times": [0.0, 0.4, 0.7, 3.0], "stop_loss": 0.05, "max_steps": 200}
    assert same(run(method=Engine(), **settings), run(**settings))
    assert same(run(method=Engine(), at_once=3, **settings), run(**settings))


def test_momentum_is_the_slow_loop_and_torch_has_the_same_methods():
    theta, velocity, curve = ones()["theta"], torch.zeros(4, 2, dtype=runs.DTYPE), []
    for _ in range(21):
        curve.append((RATES.abs()[:, None] * theta.square() / 2).sum(dim=1))
        velocity = 0.9 * velocity + RATES.abs()[:, None] * theta
        theta = theta - 0.05 * velocity
    settings = {"step": 0.05, "times": 0.05 * np.arange(21)}
    heavy = run(method=Momentum(0.9), **settings)
    torch.testing.assert_close(heavy.loss, torch.stack(curve), rtol=0, atol=1e-14)
    assert same(heavy, run(method=Optimiser(torch.optim.SGD, {"momentum": 0.9}), **settings), atol=1e-14)
    assert same(run(**settings), run(method=Optimiser(torch.optim.SGD), **settings), atol=1e-14)


def test_heun_lands_on_the_times_and_descent_on_whole_steps():
    times = [0.0, 0.13, 0.4]
    assert run(times=times, method=Heun()).times[:, 0].tolist() == pytest.approx(times, abs=1e-12)
    assert run(times=times).times[:, 0].tolist() == pytest.approx([0.0, 0.2, 0.4], abs=1e-12)


def test_a_clock_steps_by_its_speed_to_the_times_of_each_run_and_no_step_more():
    times = torch.tensor([1.0, 2.0, 3.0], dtype=runs.DTYPE)[:, None] * 1e-10 / RATES.abs()
    clock = Heun(speed=lambda state, loss, gradient: RATES.abs() * 1e10)
    record = run(linear(RATES.abs() * 1e10), step=0.01, times=times, method=clock)
    torch.testing.assert_close(record.times, times, rtol=1e-12, atol=0)
    assert record.steps.tolist() == [300] * 4
    assert record.state["theta"][:, 0].tolist() == pytest.approx([np.exp(-3)] * 4, rel=1e-4)


def test_runs_end_at_their_loss_and_the_record_with_the_last_of_them():
    record = run(step=0.01, times=np.linspace(0, 100, 1001), stop_loss=torch.tensor([0.5, 1.0, 0.01, 3.0]).double())
    assert record.status == [Ended.LOSS] * 4 and record.steps.tolist()[0] == record.steps.tolist()[3] == 0
    assert len(record.times) < 50 and (record.end_loss <= torch.tensor([0.5, 1.0, 0.01, 3.0])).all()
    rows = record.times.isfinite().sum(dim=0).tolist()
    assert rows[0] == rows[3] == 1 and rows[2] == len(record.times) and record.times.nan_to_num().min() == 0


def test_the_last_row_is_recorded_where_its_time_is_new_and_only_there():
    assert len(run().times) == len(run(method=Heun()).times) == 3
    ends = {steps: run(times=[place / 10 for place in range(steps + 1)], max_steps=steps) for steps in (3, 8)}
    assert all(len(record.times) == steps + 1 for steps, record in ends.items())
    late = run(times=[0.5, 1.0], stop_loss=10.0)
    assert late.times.tolist() == [[0.0] * 4] and torch.equal(late.loss[0], linear()(ones())[0])
    cut = run(times=[0.0, 10.0], max_steps=7)
    assert cut.status == [Ended.STEPS] * 4 and cut.steps.tolist() == [7] * 4 and len(cut.times) == 2
    assert cut.times[-1].tolist() == cut.end.tolist() == pytest.approx([0.7] * 4)
    bad = run(linear(wall=0.5))
    assert bad.status == [Ended.NON_FINITE] * 4 and bad.steps.sum() == 0 and (bad.state["theta"] == 1).all()


def test_reference_meets_the_closed_form_run_by_run():
    times = [0.0, 0.5, 2.0]
    found = flow.reference(linear(), ones(), times)["theta"]
    exact = torch.exp(-RATES.abs() * torch.tensor(times, dtype=runs.DTYPE)[:, None])
    assert (found - exact[:, :, None]).abs().max() < 1e-9
    alone = [flow.reference(linear(rate[None].abs()), ones(1), times)["theta"] for rate in RATES]
    assert (torch.cat(alone, dim=1) - found).abs().max() < 1e-13


def test_fields_made_of_fields_and_of_losses():
    state = ones() | {"free": torch.full((4, 1), 3.0, dtype=runs.DTYPE)}
    field = flow.autograd(lambda state: (RATES.abs()[:, None] * state["theta"].square() / 2).sum(dim=1))
    (loss, slope), (want, wanted) = field(state), linear()(state)
    assert torch.equal(loss, want) and torch.equal(slope["theta"], wanted["theta"]) and not slope["free"].any()
    assert not loss.requires_grad and not slope["theta"].requires_grad
    for rate, theta, free in [(0.5, 0.5, 1.5), ({"free": 0.5}, 0.0, 1.5), ({}, 0.0, 0.0)]:
        same_loss, decayed = flow.decayed(field, rate)(state)
        assert torch.equal(same_loss, loss) and torch.equal(decayed["theta"], slope["theta"] + theta)
        assert (decayed["free"] == free).all()
    scaled = flow.at_rates(flow.decayed(field, 1.0), {"free": 0.0})(state)[1]
    assert torch.equal(scaled["theta"], slope["theta"] + 1) and not scaled["free"].any()
    rows = torch.arange(1.0, 5.0)[:, None]
    assert torch.equal(flow.at_rates(field, {"theta": rows})(state)[1]["theta"], rows * slope["theta"])


def test_log_times_begin_at_zero_and_meet_both_ends():
    times = flow.log_times(0.01, 100.0, 9)
    assert times[0] == 0 and times[1] == 0.01 and times[-1] == 100.0 and (times.diff() > 0).all() and len(times) == 10


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: run(step=0.0), "step = 0.0"),
        (lambda: run(step=float("nan")), "step = nan"),
        (lambda: run(step=torch.ones(3)), "shape (4,)"),
        (lambda: run(times=[1.0, 0.5]), "times"),
        (lambda: run(times=[-1.0, 0.5]), "times"),
        (lambda: run(times=[]), "times"),
        (lambda: run(times=torch.ones(2, 3)), "times"),
        (lambda: run(method="euler"), "method = 'euler'"),
        (lambda: run(max_steps=0), "max_steps = 0"),
        (lambda: run(at_once=0), "at_once = 0"),
        (lambda: run(stop_loss=float("nan")), "stop_loss = nan"),
        (lambda: run(stop_loss=torch.zeros(2)), "stop_loss"),
        (lambda: run(stop_loss="low"), "stop_loss = 'low'"),
        (lambda: run(start={"theta": torch.full((4, 2), torch.nan, dtype=runs.DTYPE)}), "theta"),
        (lambda: run(flow.decayed(linear(), {"thata": 1.0})), "rate = 'thata'"),
        (lambda: run(flow.at_rates(linear(), {"thata": 1.0})), "rates = 'thata'"),
        (lambda: Momentum(1.0), "beta = 1.0"),
        (lambda: Momentum(float("nan")), "beta = nan"),
        (lambda: Optimiser(torch.optim.LBFGS), "entry by entry"),
        (lambda: Optimiser(torch.nn.Linear), "entry by entry"),
        (lambda: Optimiser(torch.optim.Adam, {"lr": 0.1}), "without lr"),
        (lambda: run(step=torch.ones(4) * RATES.abs(), method=METHODS["adam"]), "one number for all runs"),
        (lambda: run(times=torch.ones(1, 4) * RATES.abs(), method=METHODS["adam"]), "common to all runs"),
        (lambda: flow.reference(linear(), ones(), [1.0, 0.5]), "times"),
        (lambda: flow.log_times(1.0, 0.5, 9), "last = 0.5"),
        (lambda: flow.log_times(0.1, 1.0, 1), "count = 1"),
    ],
)
def test_bad_input_is_one_clear_error(call, words):
    assert words in refusal(call)


def test_a_nudge_moves_every_start_by_its_size_and_only_inside():
    wide = torch.full((4, 500), -2.0, dtype=runs.DTYPE)
    start = ones() | {"phi": wide, "psi": wide, "zero": torch.zeros(4, 1, dtype=runs.DTYPE)}

    def field(state):
        return linear()(state)[0], state

    def begun():
        return run(field, start, times=[0.0, 0.5], observe=dict).values

    plain = begun()
    assert all(torch.equal(plain[name][0], value) for name, value in start.items())
    with flow.nudged(1e-3):
        one, again = begun(), begun()
        with flow.nudged(1e-3, seed=1):
            other = begun()
    moved = one["phi"][0] / start["phi"] - 1
    assert moved.std() == pytest.approx(1e-3, rel=0.1) and moved.mean().abs() < 1e-4
    assert torch.equal(one["phi"], again["phi"]) and torch.equal(one["zero"], plain["zero"])
    assert (one["phi"][0] != other["phi"][0]).all()
    assert (one["phi"][0] != one["psi"][0]).all(), "each tensor has noise of its own"
    after = begun()
    assert all(torch.equal(after[name], values) for name, values in plain.items())


def test_a_nudge_ends_with_an_error_inside_it_and_has_a_size():
    plain = run().loss
    with pytest.raises(KeyError), flow.nudged(1e-3):
        raise KeyError
    assert torch.equal(run().loss, plain)
    for settings, word in (((0.0,), "size"), ((float("nan"),), "size"), ((1e-3, -1), "seed")):
        assert word in refusal(flow.nudged(*settings).__enter__)


@pytest.mark.parametrize("wrapped", ["plain", "at rates", "decayed"])
@pytest.mark.parametrize("clocked", [False, True])
def test_blocks_taken_to_the_end_one_after_the_other_are_a_stack(clocked, wrapped, monkeypatch):
    """To the bit, with runs that end by their loss, by diverging and by their number of steps, and a last block of one run."""
    found = words_setting.drawn(range(9), "cpu", width=8, samples=12, length=3)
    wraps = {
        "at rates": lambda field: flow.at_rates(field, {"W_V": 0.5}),
        "decayed": lambda field: flow.decayed(field, 0.1),
    }
    field, start = wraps.get(wrapped, lambda field: field)(found["field"]), found["start"]
    first = field(start)[0]
    stop = torch.where(torch.arange(9) % 3 == 0, 0.9 * first, 0.0)
    step = torch.full((9,), 0.3, dtype=runs.DTYPE).index_fill(0, torch.tensor([4]), 1e160)
    settings = {"step": step, "times": [2.0, 9.0, 40.0], "stop_loss": stop, "max_steps": 60, "engine": "torch"}
    settings["method"] = flow.Heun(found["speed"]) if clocked else flow.Descent()
    fast = flow.integrate(field, start, **settings)
    monkeypatch.setattr(flow.engines, "parted", lambda method, along: False)
    slow = flow.integrate(field, start, **settings)
    assert fast.status == slow.status and len(set(fast.status)) > 1 and torch.equal(fast.steps, slow.steps)
    assert torch.equal(fast.end_loss, slow.end_loss) and torch.equal(fast.end, slow.end)
    assert all(torch.equal(fast.state[name], value) for name, value in slow.state.items())
    torch.testing.assert_close(fast.loss, slow.loss, rtol=0, atol=0, equal_nan=True)
