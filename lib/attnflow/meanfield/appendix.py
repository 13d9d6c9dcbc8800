"""The experiment that the paper reports, at a small scale: training curves of a vision Transformer over heads and depth."""

import torch

from attnflow import Below, Between, Control, data, door, flow, kinds, runs, sweep, vit
from attnflow.meanfield.setting import claim

SHAPES = (
    (2, 4),
    (4, 4),
    (8, 4),
    (16, 4),
    (4, 2),
    (4, 8),
)  # (heads, depth): over heads at depth 4, over depth at 4 heads

STEPS, EVERY = 200, 10  # of Adam, and between two looks


def curves(
    device: torch.device,
    seed: int,
    shape: tuple = (4, 4),
    train: int = 160,
    test: int = 400,
    steps: int = STEPS,
    rate: float = 1e-3,
    every: int = EVERY,
    width: int = 32,
) -> dict:
    """Training of one vision Transformer on digits by Adam, all training digits in every step.

    device, seed: of the run; shape: heads and depth; train, test: how many digits; steps, rate: of Adam; every: steps between
    two looks; width: of the stream, which heads share. Returns ``loss`` and ``accuracy`` of the training digits and ``test``,
    the accuracy on the others, (K,) each.
    """
    heads, depth = shape
    net = vit.Transformer(width=width, heads=heads, depth=depth)
    inputs, labels = (each.to(device) for each in data.subsets(runs.streams((seed,), "data"), train, test))
    state = runs.to(vit.init(runs.streams((seed,), "weights"), net), device)

    def look(now):
        with torch.no_grad():
            right = vit.forward(now, inputs, net).argmax(dim=-1) == labels
        return {
            "accuracy": right[:, :train].to(runs.DTYPE).mean(dim=1),
            "test": right[:, train:].to(runs.DTYPE).mean(dim=1),
        }

    record = flow.integrate(
        vit.field(inputs[:, :train], labels[:, :train], net),
        state,
        step=rate,
        times=rate * torch.arange(0, steps + 1, every, dtype=runs.DTYPE, device="cpu"),
        method=flow.Optimiser(torch.optim.Adam),
        observe=look,
    )
    return {"loss": record.loss[:, 0]} | {name: values[:, 0] for name, values in record.values.items()}


@door.takes(pair=door.together(*[door.choice(*SHAPES)] * 2), look=door.whole(-1, most=STEPS // EVERY))
def ratio(pair: tuple = (SHAPES[5], SHAPES[4]), look: int = 4) -> float:
    """The stored training loss of one shape over that of another, the geometric mean over seeds.

    pair: two of ``SHAPES``; look: which record from 0 on, the last is -1.
    """
    arrays, _ = sweep.kept("meanfield-vision")
    first, second = (arrays["loss"][:, SHAPES.index(shape), look] for shape in pair)
    return float((first / second).prod() ** (1 / len(first)))


PAPER = "secondary: a description of the paper's figures; the experiment is a stand-in of ours"
CLAIMS = (
    claim(
        "vision-depth",
        "A deeper vision Transformer is ahead early",
        "Digits, four heads, Adam: the training loss after 40 steps with eight blocks over that with two, geometric mean of "
        "three seeds, stored runs.",
        kinds.derived(ratio, Below(0.9)),
        Control("at the end of training", {"look": -1}),
        provenance=PAPER,
        state="reproduced with changed constants",
    ),
    claim(
        "vision-heads",
        "More heads of a shared width change little",
        "Digits, four blocks: the training loss after 200 steps with sixteen heads over that with two, which share a stream of "
        "width 32, geometric mean of three seeds.",
        kinds.derived(ratio, Between(0.85, 1.15), pair=(SHAPES[3], SHAPES[0]), look=-1),
        Control("eight blocks and two, with four heads", {"pair": (SHAPES[5], SHAPES[4])}),
        provenance=PAPER,
        state="reproduced with changed constants",
    ),
    claim(
        "cifar",
        "Heads and depth on CIFAR-10",
        "The paper's training curves are those of a vision Transformer with 4 to 40 heads and of several depths on CIFAR-10, a "
        "data set that is not part of this book.",
        provenance=PAPER.split(";")[0],
        state="not testable here",
    ),
)

SWEEPS = (
    sweep.Sweep(
        "meanfield-vision",
        "training curves of a vision Transformer on digits, over heads and depth",
        curves,
        {"seed": (100, 101, 102), "shape": SHAPES},
        single=True,
        probe={"seed": (100,), "shape": (SHAPES[4],)},
    ),
)
