"""What is too slow for a page of chapter 3: maps over scalings and widths, each task a few seconds to a minute."""

import json
from pathlib import Path

import numpy as np
import torch

from attnflow import flow, ntk, runs
from attnflow.encoder import digits, experiments, initial, kernel, model
from attnflow.sweep import Sweep


def phase(device, scaling, width, init="ntk", seeds=(0, 1, 2, 3), stop=1e-2, steps=2000):
    """One cell of the phase diagram: entropy deficit at the start, and change of the kernel while the loss falls.

    Returns ``deficit`` and ``change`` (S,), and ``reached``, 1 where the loss fell to the share ``stop``.
    """
    settings = {"width": width, "scaling": scaling, "init": init}
    net, inputs, _, state = experiments.problem(seeds, device, **settings)
    found = experiments.moves(seeds, device, widths=(width,), stop=stop, steps=steps, scaling=scaling, init=init)
    row = {"deficit": initial.deficit(state, inputs, net), "change": found["kernel"][0], "reached": found["reached"][0]}
    return {name: value.cpu().numpy() for name, value in row.items()}


def threshold(device, samples, width, init="lecun", seeds=tuple(range(6)), steps=3000, unit=0.35):
    """One cell of the interpolation map: share of the loss left after descent, NaN where it diverged. ``left`` (S,).

    d = 8 and L = 4, so a neuron has 3 d + 1 = 25 parameters; half of the classical step.
    """
    net, inputs, labels, state = experiments.problem(seeds, device, samples=samples, d=8, width=width, init=init)
    step = unit / torch.linalg.eigvalsh(kernel.empirical(state, inputs, net))[:, -1]
    field = experiments.at_most(model.field(inputs, labels, net), state, 1e-4)
    record = flow.integrate(field, state, step=step, times=[1e9], max_steps=steps, stop_loss=1e-300)
    share = model.loss(record.state, inputs, labels, net) / field.start
    gone = torch.tensor([word == "non-finite" for word in record.status], device=share.device)
    return {"left": torch.where(gone, torch.nan, share).cpu().numpy()}


def synthetic(device, width, scaling, seeds=(0, 1), epochs=400, every=20):
    r"""The recalled experiment: 100 Gaussian samples, d = 100, L = 10, LeCun, 400 full-batch steps.

    The step is 1 in units of $1/\mu_{\max}(K_0)$. Returns ``loss`` (epochs + 1, S) over its start, ``moved`` and ``kernel``
    (K, S), movement of all weights and of the kernel over their size at the start, at ``epochs`` (K,), and ``literal`` (S,),
    the loss after ten steps of size 1 on the mean loss, over its start, infinite where it overflowed.
    """
    options = {"samples": 100, "length": 10, "d": 100, "width": width, "scaling": scaling, "init": "lecun"}
    net, inputs, labels, start = experiments.problem(seeds, device, **options)
    first = kernel.empirical(start, inputs, net)
    step = 1 / torch.linalg.eigvalsh(first)[:, -1]
    field = model.field(inputs, labels, net)
    literal = flow.integrate(field, start, step=1 / 100, times=[0.1])
    overflow = torch.tensor([word == "non-finite" for word in literal.status], device=device)
    size = sum(value.square().sum(dim=(1, 2)) for value in start.values()).sqrt()
    losses, moved, changed, state = [field(start)[0]], [torch.zeros_like(step)], [torch.zeros_like(step)], start
    for _ in range(epochs // every):
        times = step * torch.arange(1, every + 1, dtype=runs.DTYPE, device=device)[:, None]
        record = flow.integrate(field, state, step=step, times=times)
        state = record.state
        losses += list(record.values["loss"])
        apart = sum((state[name] - value).square().sum(dim=(1, 2)) for name, value in start.items()).sqrt()
        moved.append(apart / size)
        changed.append(ntk.distance(kernel.empirical(state, inputs, net), first))
    found = {"loss": torch.stack(losses) / losses[0], "moved": torch.stack(moved), "kernel": torch.stack(changed)}
    found["literal"] = torch.where(overflow, torch.inf, literal.loss / losses[0])
    return {name: value.cpu().numpy() for name, value in found.items()} | {"epochs": np.arange(0, epochs + 1, every)}


def vision(device, width, scaling, seeds=(0, 1), **settings):
    """One setting of the small vision Transformer on digits: ``loss``, ``accuracy``, ``deficit`` (K, S), ``steps``."""
    record = digits.vision(seeds, device, width=width, scaling=scaling, **settings)
    names = ("loss", "accuracy", "deficit", "steps")
    return {name: record[name].cpu().numpy() for name in names}


SWEEPS = (
    Sweep(
        "encoder-phase",
        "attention and kernel over scaling and width",
        phase,
        {"scaling": (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0), "width": (32, 128, 512, 2048)},
    ),
    Sweep(
        "encoder-threshold",
        "which widths interpolate how many samples",
        threshold,
        {"samples": (8, 16, 32, 64), "width": (2, 3, 4, 6, 8, 12, 16)},
    ),
    Sweep(
        "encoder-synthetic",
        "the recalled synthetic experiment, both scalings",
        synthetic,
        {"width": (10, 100, 1000), "scaling": (0.5, 1.0)},
    ),
    Sweep(
        "encoder-vision",
        "a small vision Transformer on digits, both scalings",
        vision,
        {"width": (8, 32), "scaling": (0.5, 1.0)},
        {"train": 200, "test": 200, "steps": 200, "step": 0.3, "heads": 2, "depth": 2},
    ),
)


def collect(table, folder, target):
    """Gather the files of a finished sweep into ``target``.npz, with ``target``.json beside it for its provenance.

    Arrays are stacked over the tasks in their order, in single precision. Returns the path of the arrays.
    """
    from attnflow import sweep

    tasks = table.tasks()
    found = [sweep.load(sweep.address(folder, settings)) for settings in tasks]
    missing = sum(arrays is None for arrays in found)
    runs.check("missing tasks", missing, f"0: run python -m attnflow sweep {table.name} first", missing == 0)
    arrays = {name: np.stack([each[name] for each in found]).astype(np.float32) for name in found[0]}
    target = Path(target)
    sweep.write(target.with_suffix(".npz"), arrays)
    about = {"sweep": table.name, "axes": table.axes, "fixed": table.fixed, "environment": runs.environment("cpu")}
    target.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return target.with_suffix(".npz")


def stored(table, folder="../results/encoder"):
    """A collected sweep as arrays whose leading axes are the axes of the table. Returns name -> array."""
    from attnflow import sweep

    arrays = sweep.load(Path(folder) / f"{table.name}.npz")
    runs.check("stored sweep", table.name, f"in {folder}", arrays is not None)
    shape = tuple(len(values) for values in table.axes.values())
    return {name: value.reshape(*shape, *value.shape[1:]) for name, value in arrays.items()}
