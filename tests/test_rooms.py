"""What every problem of the book has to do: a right gradient, runs that stay apart, on any device, whatever torch's defaults."""

import pytest
import torch
from conftest import refusal
from rooms import PROBLEMS, gradient_gap

from attnflow import flow, runs

ROWS = [
    pytest.param(row, row.settings | options, id=" ".join([row.name, *map(str, options.values())]))
    for row in PROBLEMS
    for options in row.options
]


def trained(row, settings, seeds, device="cpu"):
    record = flow.integrate(
        *row.problem(seeds, device, **settings), step=0.01, times=[0.0, 0.1, 0.2], method=flow.Heun()
    )
    return record.state | {"loss": record.loss.T}


@pytest.mark.parametrize(("row", "settings"), ROWS)
def test_the_gradient_is_that_of_the_plain_loss(row, settings):
    seeds = range(6)  # more than one block of runs
    assert gradient_gap(*row.problem(seeds, "cpu", **settings), row.twin(seeds, "cpu", **settings)) < 1e-11


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(("row", "settings"), ROWS)
def test_a_stack_of_16_is_16_single_runs(row, settings, engine):
    with flow.asked(engine):
        stack = trained(row, settings, range(40, 56))
        alone = [trained(row, settings, [seed]) for seed in range(40, 56)]
    for name, value in stack.items():
        assert (torch.cat([one[name] for one in alone]) - value).abs().max() <= 1e-9 * value.abs().max(), name


@pytest.mark.parametrize("other", ["weights", "data"])
@pytest.mark.parametrize(("row", "settings"), ROWS)
def test_data_and_weights_never_see_each_others_stream(row, settings, other, monkeypatch):
    """Every stream but that of the weights belongs to the data, which the loss at a given state tells apart bit for bit."""
    streams = runs.streams

    def changed(seeds, name, *more):
        return streams(seeds, f"another {name}" if (name == "weights") == (other == "weights") else name, *more)

    def problem():
        return row.problem((3, 4), "cpu", **settings)

    field, start = problem()
    monkeypatch.setattr(runs, "streams", changed)
    field_after, start_after = problem()
    same_start = all(torch.equal(start_after[name], value) for name, value in start.items())
    same_data = torch.equal(field(start)[0], field_after(start)[0])
    assert (same_data, same_start) == (other == "weights", other == "data")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize(("row", "settings"), ROWS)
def test_cuda_gives_the_numbers_of_the_cpu(row, settings):
    here, there = (trained(row, settings, (0, 1), device) for device in ("cpu", "cuda"))
    assert all((there[name].cpu() - value).abs().max() <= 1e-9 * value.abs().max() for name, value in here.items())


@pytest.mark.parametrize(("row", "settings"), ROWS)
def test_foreign_defaults_of_torch_change_nothing(row, settings):
    plain = trained(row, settings, (0, 1))
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float16)
    try:
        foreign = trained(row, settings, (0, 1))
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(foreign[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    ("row", "settings", "words"), [(row, row.settings | wrong, words) for row in PROBLEMS for wrong, words in row.wrong]
)
def test_bad_input_is_one_clear_error(row, settings, words):
    assert words in refusal(lambda: row.problem((0,), "cpu", **settings))
