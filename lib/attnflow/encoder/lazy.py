r"""Chapter 3, lazy weights and a moving kernel: how far a net moves until its loss has fallen, over widths and scalings."""

import numpy as np
import torch

from attnflow import Above, Below, Control, Experiment, Trial, attention, door, flow, kinds, ntk, runs, sweep
from attnflow.encoder import kernel, model, theory
from attnflow.encoder.setting import claim, descent, drawn, over_widths


@door.takes(**model.DRAW, start=model.STATE, share=door.SHARE, unit=door.POSITIVE, steps=door.COUNT)
@torch.no_grad()
def moves(net, inputs, labels, start, share=1e-3, unit=1.0, steps=3000):
    r"""How far each block, the attention and the kernel moved from their start when the loss fell to a ``share``.

    net, inputs, labels, start: one draw; unit: the step over $1/\mu_{\max}(K_0)$; steps: at most so many. Returns name -> (S,):
    relative to the size at the start for weights and kernel, mean entry for the attention; ``deficit``, of its entropy at the
    start; ``reached``, 1 where the loss came so far. Raises WrongUse for one token, whose attention has no entropy.
    """
    runs.integer("length", inputs.shape[2], 2)
    first = kernel.empirical(start, inputs, net)
    record = descent(model.field(inputs, labels, net), start, kernel.step(first, unit), steps, share)
    before, after = (model.attention(state, inputs, net) for state in (start, record.state))
    return {name: ntk.distance(record.state[name], value) for name, value in start.items()} | {
        "deficit": attention.entropy_deficit(before),
        "attention": (after - before).abs().mean(dim=(1, 2, 3)),
        "kernel": ntk.distance(kernel.empirical(record.state, inputs, net), first),
        "reached": (record.end_loss <= share * record.loss[0]).to(runs.DTYPE),
    }


def phase(device, scaling, width, init="ntk", seeds=(0, 1, 2, 3), share=1e-2, steps=2000):
    """One cell of the phase diagram: entropy deficit at the start, and change of the kernel while the loss falls.

    device, scaling, width, init, seeds: of the problem; share, steps: as for :func:`moves`. Returns ``deficit``, ``change``
    (S,), and ``reached``, 1 where the loss fell to the share.
    """
    draw = drawn(seeds, device, width=width, scaling=scaling, init=init)
    found = moves(*draw, share=share, steps=steps)
    return {"change": found["kernel"], "deficit": found["deficit"], "reached": found["reached"]}


@door.takes(
    change="array: J W",
    scalings=door.several(door.NUMBER, letter="J"),
    widths=door.several(door.POSITIVE, letter="W"),
    grid=door.several(door.POSITIVE),
    edge=door.POSITIVE,
)
def boundary(change, scalings, widths, grid, edge=0.1):
    r"""The scaling, at each width of a ``grid``, at which the kernel changes by ``edge``, with one constant fitted.

    The change has two parts, $a\,k^{1-2s}$ from the attention and one that does not depend on s, from the other blocks and the
    masks. Fitted is a, as the measured change at s = 1/2 and the largest width. The other part is no power, since the two
    powers in it have opposite signs: it is the measured change at s = 1, less a/k, on a straight line between the logarithms.
    change: (scalings, widths), measured; scalings: with 1/2 and 1; widths: increasing, the grid between their ends. Returns an
    array like the grid. Raises WrongUse where the change at s = 1 is not more than a/k.
    """
    runs.check("scalings", tuple(scalings), "a list with 0.5 and 1.0", {0.5, 1.0} <= set(scalings))
    runs.check("widths", tuple(widths), "increasing", bool(np.all(np.diff(widths) > 0)))
    ends = min(grid) / widths[0], max(grid) / widths[-1]
    runs.check("grid", tuple(grid), "within the widths", ends[0] > 1 - 1e-9 and ends[1] < 1 + 1e-9)
    half, one = (change[list(scalings).index(scaling)] for scaling in (0.5, 1.0))
    rest = half[-1] > 0 and bool((one > half[-1] / widths).all())
    runs.check("change", runs.array(one).tolist(), "more than a/k at s = 1, with a > 0, the change at s = 1/2", rest)
    other = np.exp(np.interp(np.log(grid), np.log(widths), np.log(one - half[-1] / widths)))
    share = np.maximum(edge - other, 1e-9) / half[-1]
    return theory.scaling_at(share, grid)


def synthetic(device, width, scaling, seeds=(0, 1), epochs=400, every=20):
    r"""The recalled experiment: 100 Gaussian samples, d = 100, L = 10, LeCun, full-batch steps.

    The step is 1 in units of $1/\mu_{\max}(K_0)$. device, width, scaling, seeds: of the problem; epochs: steps, of which some
    are looked at closely, one after ``every`` so many. Returns ``loss`` (epochs + 1, S) over its start, ``moved`` and ``kernel``
    (K, S), movement of all weights and of the kernel over their size at the start, at ``epochs`` (K,), and ``literal`` (S,),
    the loss after ten steps of size 1 on the mean loss, over its start, infinite where it overflowed.
    """
    net, inputs, labels, start = drawn(
        seeds, device, samples=100, length=10, d=100, width=width, scaling=scaling, init="lecun"
    )
    first, field = kernel.empirical(start, inputs, net), model.field(inputs, labels, net)
    size = sum(value.square().sum(dim=(1, 2)) for value in start.values())

    def look(state):
        apart = sum((state[name] - value).square().sum(dim=(1, 2)) for name, value in start.items())
        return {"moved": (apart / size).sqrt(), "kernel": ntk.distance(kernel.empirical(state, inputs, net), first)}

    step, grid = 1 / kernel.largest(first), torch.arange(epochs + 1, dtype=runs.DTYPE, device=device)[:, None]
    losses = flow.integrate(field, start, step=step, times=grid * step).loss
    # A second descent, since the kernel is too large to be seen at every step.
    seen = flow.integrate(field, start, step=step, times=grid[::every] * step, observe=look).values
    literal = flow.integrate(field, start, step=1 / 100, times=[0, 0.1])
    return seen | {
        "loss": losses / losses[0],
        "literal": torch.where(literal.diverged, torch.inf, literal.end_loss / losses[0]),
        "epochs": np.arange(0, epochs + 1, every),
    }


RUNS = {
    (init, s): Experiment(
        over_widths, {"measure": moves, "widths": (128, 512, 2048), "copies": 2, "init": init, "scaling": s}
    )
    for init in ("lecun", "ntk")
    for s in (0.5, 1.0)
}

TABLE = (
    (
        "lazy-lecun-half",
        r"How far LeCun moves, $\tau_0 = k^{-1/2}$",
        r"Relative movement of $W_O, W_V, W_Q$ at $10^{-3}$ of the loss falls as $k^{-1/2}, k^{-3/2}, k^{-3/2}$: largest "
        r"distance of the exponents, $k = 128$ to 2048.",
        ("lecun", 0.5),
        ("W_O", "W_V", "W_Q"),
        0.55,
        ("NTK initialisation", {"init": "ntk"}),
    ),
    (
        "lazy-lecun-one",
        r"How far LeCun moves, $\tau_0 = k^{-1}$",
        r"The same with exponents $-1/2, -3/2, -2$, and $-2$ for attention and kernel.",
        ("lecun", 1.0),
        ("W_O", "W_V", "W_Q", "attention", "kernel"),
        0.4,
        (r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
    ),
    (
        "lazy-ntk-half",
        r"How far NTK moves, $\tau_0 = k^{-1/2}$",
        r"The weights move as $k^{-1/2}$, all three, the attention not less with the width: exponents $-1/2$ and 0.",
        ("ntk", 0.5),
        ("W_O", "W_V", "W_Q", "attention"),
        0.35,
        (r"$\tau_0 = k^{-1}$", {"scaling": 1.0}),
    ),
    (
        "lazy-ntk-one",
        r"How far NTK moves, $\tau_0 = k^{-1}$",
        r"Exponents $-1/2, -1/2, -1$ for $W_O, W_V, W_Q$, and $-1$ for the attention.",
        ("ntk", 1.0),
        ("W_O", "W_V", "W_Q", "attention"),
        0.35,
        ("LeCun initialisation", {"init": "lecun"}),
    ),
)
CLAIMS = (
    *(
        claim(
            name,
            title,
            statement,
            Trial(RUNS[init, s], kinds.furthest(theory.movement(init, s), *names), Below(edge)),
            Control(*broken),
            cite=("chizat2019lazy", "wu2023encoder"),
        )
        for name, title, statement, (init, s), names, edge, broken in TABLE
    ),
    claim(
        "kernel-passing",
        r"At these widths the kernel is on its way to $k^{-1/2}$",
        r"NTK, $\tau_0 = k^{-1}$, $k = 128$ to 2048: the kernel falls faster than with its last exponent, $-1/2$ of masks that "
        "flip, since parts that fall as $k^{-1}$ are still the largest.",
        Trial(RUNS["ntk", 1.0], kinds.slope("kernel"), Below(float(theory.movement("ntk", 1.0)["kernel"]))),
        Control(r"$\tau_0 = k^{-1/2}$", {"scaling": 0.5}),
        cite=("chizat2019lazy",),
    ),
    claim(
        "not-kernel-lazy",
        "Lazy weights, moving kernel",
        r"At NTK initialisation with $\tau_0 = k^{-1/2}$ the kernel changes by more than a tenth at $k = 2048$.",
        Trial(RUNS["ntk", 0.5], kinds.last("kernel"), Above(0.1)),
        Control(r"$\tau_0 = k^{-1}$", {"scaling": 1.0}),
        cite=("chizat2019lazy", "wu2023encoder"),
    ),
)
SWEEPS = (
    sweep.Sweep(
        "encoder-phase",
        "attention and kernel over scaling and width",
        phase,
        {
            "scaling": tuple(place / 20 for place in range(5, 21)),
            "width": (32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048),
        },
        single=True,
    ),
    sweep.Sweep(
        "encoder-synthetic",
        "the recalled synthetic experiment, both scalings",
        synthetic,
        {"width": (10, 100, 1000), "scaling": (0.5, 1.0)},
        single=True,
    ),
)
