r"""Chapter 4, slices of the landscape: the loss around a trained layer along two random directions, kernel by kernel.

Every kernel is trained by descent from the same weights until a fiftieth of $\mathcal L_0 = \frac{1}{2nL}\sum|Y|^2$ is left, the
loss of an output of zero, which is the same for all. A direction is normal in every entry, the same for all kernels; its block of
each matrix and head is scaled to the length of the block of weights there, so that 1 is as far as the weights are long.
"""

import math

import torch

from attnflow import Above, Control, Experiment, Near, Trial, checks, door, flow, runs
from attnflow.kernels import model
from attnflow.kernels.setting import claim, drawn

INNER, OUTER = ("W_Q", "W_K"), ("W_V", "W_O")
KERNELS = ("softmax", "gaussian", "normalised_gaussian")
SIDE, ANGLES, RADII = 21, 24, 20
SURFACE = "S G G"
FALL = 0.01  # of all that the loss changes along a ray: less is the centre, which is not quite at a minimum


def trained(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    c: float = 1.0,
    share: float = 0.02,
    rate: float = 0.1,
    steps: int = 800,
    **settings,
) -> tuple:
    r"""A layer, its data and its weights when descent has brought the loss to a ``share`` of that of an output of zero.

    seeds, device: of the runs; kernel, c: of the layer, with $\beta = 2\zeta$; rate, steps: of descent, after which a run is
    taken where it is; settings: of ``setting.drawn``. Returns (layer, inputs, targets, state, level, reached): the loss of an
    output of zero (S,), and 1 where the share was reached, 0 elsewhere (S,).
    """
    known = {"heads": 4, "kernel": kernel, "c": c, "beta": 2 * c} | settings
    layer, inputs, targets, state = drawn(seeds, device, **known)
    level = targets.square().sum(dim=-1).mean(dim=(1, 2)) / 2
    field = model.field(inputs, targets, layer)
    record = flow.integrate(field, state, step=rate, times=[rate * steps], stop_loss=share * level)
    reached = torch.tensor([word == flow.Ended.LOSS for word in record.status], dtype=runs.DTYPE, device=device)
    return layer, inputs, targets, record.state, level, reached


@door.takes(state=model.HEADS, moved=door.several(door.choice(*model.MATRICES)))
def directions(generators: list, state: runs.State, moved: tuple = model.MATRICES) -> list[runs.State]:
    """Two directions around a ``state``, whose blocks, a matrix of a head each, are as long as its own; 0 for what stays.

    generators: one a run; moved: names of the matrices that move.
    """
    runs.check("generators", len(generators), "as many as runs", len(generators) == len(state["W_Q"]))
    found = []
    for _ in range(2):
        raw = {name: runs.normal(generators, *value.shape[1:]).to(value.device) for name, value in state.items()}
        scaled = {name: each * (length(state[name]) / length(each)) for name, each in raw.items()}
        found.append({name: each * (name in moved) for name, each in scaled.items()})
    return found


@door.takes(blocks="S H r c")
def length(blocks: torch.Tensor) -> torch.Tensor:
    """The Frobenius norm of every matrix of some ``blocks``, (S, H, rows, columns): (S, H, 1, 1)."""
    return torch.linalg.matrix_norm(blocks, keepdim=True)


@door.takes(**model.PROBLEM, along=door.together(model.HEADS, model.HEADS), places="G 2")
def losses(layer, inputs, targets, state, along, places):
    """The loss of a ``layer`` at some ``places`` (G, 2) of the plane through a ``state``, all at once: (S, G).

    inputs: (S, n, L, d); targets: (S, n, L, o); along: the two :func:`directions`. Its slow twin is one place at a time.
    """
    many = len(places)

    def moved(name, value):
        first, second = (places[:, axis, None, None, None] * along[axis][name][:, None] for axis in (0, 1))
        return (value[:, None] + first + second).flatten(0, 1)

    there = {name: moved(name, value) for name, value in state.items()}
    data = (each.repeat_interleave(many, dim=0) for each in (inputs, targets))
    return model.loss(there, *data, layer).unflatten(0, (-1, many))


@door.takes(side=door.whole(3))
def grid(side: int = SIDE) -> torch.Tensor:
    """The nodes of a square from -1 to 1, ``side`` on an edge, row by row: (side squared, 2)."""
    line = torch.linspace(-1, 1, runs.integer("side", side, least=3), dtype=runs.DTYPE, device="cpu")
    return torch.cartesian_prod(line, line)


@door.takes(angles=door.COUNT, radii=door.COUNT)
def rays(angles: int = ANGLES, radii: int = RADII) -> torch.Tensor:
    """Places on rays from the centre to the circle of radius 1: ((radii + 1) angles, 2), circle by circle, the centre first."""
    turn = 2 * math.pi * torch.arange(angles, dtype=runs.DTYPE, device="cpu") / angles
    circle = torch.stack([turn.cos(), turn.sin()], dim=1)
    out = torch.arange(radii + 1, dtype=runs.DTYPE, device="cpu") / radii
    return (out[:, None, None] * circle).flatten(0, 1)


@door.takes(surface=SURFACE)
def lowest(surface: torch.Tensor) -> torch.Tensor:
    """Which inner nodes lie below all of their eight neighbours. surface: (S, G, G), G > 2. Returns (S, G - 2, G - 2) of bool."""
    side = runs.integer("side of the surface", surface.shape[1], least=3) - 2
    inner = surface[:, 1:-1, 1:-1]
    around = (surface[:, i : i + side, j : j + side] for i in range(3) for j in range(3) if (i, j) != (1, 1))
    return torch.stack([inner < each for each in around]).all(dim=0)


@door.takes(surface=SURFACE)
def minima(surface: torch.Tensor) -> torch.Tensor:
    """How many nodes are :func:`lowest`. surface: (S, G, G), G > 2. Returns (S,).

    >>> minima(torch.tensor([[[1.0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 2, 0], [1, 1, 1, 1]]]).double()).tolist()
    [1.0]
    """
    return lowest(surface).to(runs.DTYPE).sum(dim=(1, 2))


@door.takes(surface=SURFACE)
def bent(surface: torch.Tensor) -> torch.Tensor:
    """Share of inner nodes at which the loss bends down in some direction: least eigenvalue of second differences below 0.

    surface: (S, G, G), G > 2. Returns (S,).
    """
    runs.integer("side of the surface", surface.shape[1], least=3)
    inner = surface[:, 1:-1, 1:-1]
    down = surface[:, 2:, 1:-1] - 2 * inner + surface[:, :-2, 1:-1]
    across = surface[:, 1:-1, 2:] - 2 * inner + surface[:, 1:-1, :-2]
    mixed = (surface[:, 2:, 2:] - surface[:, 2:, :-2] - surface[:, :-2, 2:] + surface[:, :-2, :-2]) / 4
    least = (down + across) / 2 - torch.hypot((down - across) / 2, mixed)
    return (least < 0).to(runs.DTYPE).mean(dim=(1, 2))


@door.takes(along="S R A")
def falling(along: torch.Tensor) -> torch.Tensor:
    """Share of rays on which the loss falls somewhere, by more than a hundredth of all its changes.

    along: losses on the circles, (S, radii + 1, angles). Returns (S,). A ray on which nothing changes does not fall.

    >>> round(float(falling(torch.tensor([[[0.0, 0, 0], [2, 2, 1], [3, 1, 1]]]).double())), 3)
    0.333
    """
    change = along.diff(dim=1)
    part = change.clamp_max(0).sum(dim=1).abs() / change.abs().sum(dim=1)
    return (part > FALL).to(along.dtype).mean(dim=1)


def surface(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    moved: tuple = model.MATRICES,
    radius: float = 1.0,
    side: int = SIDE,
    **settings,
) -> dict:
    r"""The slice of one ``kernel`` on a square and on rays, in units of the loss of an output of zero.

    seeds, device, settings: of :func:`trained`; moved: of :func:`directions`; radius: how far the square and the rays reach, in
    lengths of the weights; side: nodes on an edge. Returns ``square`` (S, side, side), first direction first, ``rays`` (S, 21,
    24), circle by circle, and ``reached`` (S,).
    """
    runs.number("radius", radius, above=0)
    layer, inputs, targets, state, level, reached = trained(seeds, device, kernel, **settings)
    along = directions(runs.streams(seeds, "directions"), state, moved)
    square, circles = (
        losses(layer, inputs, targets, state, along, radius * places.to(device)) / level[:, None]
        for places in (grid(side), rays())
    )
    return {"square": square.unflatten(1, (side, side)), "rays": circles.unflatten(1, (-1, ANGLES)), "reached": reached}


def compared(seeds: tuple, device: torch.device, kernels: tuple = KERNELS[:2], copies: int = 3, **settings) -> dict:
    """What slices through the same directions show, for some ``kernels`` trained from the same weights: (J, S) each.

    seeds, device, settings: of :func:`surface`; copies: slices of a seed, each of a layer of its own, of which means are taken.
    Returns ``minima``, ``bent`` and ``falling``; ``rim``, the mean loss on the last circle over that of an output of zero;
    ``flat``, this ratio where it is furthest from 1 on that circle; ``reached``.
    """
    rows = []
    for kernel in kernels:
        seen = surface(runs.replicas(seeds, copies), device, kernel, **settings)
        last = seen["rays"][:, -1]
        flat = last.gather(1, (last - 1).abs().argmax(dim=1, keepdim=True))[:, 0]
        shapes = {"minima": minima(seen["square"]), "bent": bent(seen["square"]), "falling": falling(seen["rays"])}
        found = shapes | {"rim": last.mean(dim=1), "flat": flat, "reached": seen["reached"]}
        rows.append({name: each.unflatten(0, (-1, copies)).mean(dim=1) for name, each in found.items()})
    return checks.stacked(rows)


@door.takes(name=door.TEXT)
def more(name):
    """Reading: a ``name`` of the record, the second kernel less the first. Record -> (S,)."""
    return lambda record: record[name][1] - record[name][0]


slice_run = Experiment(compared, {"kernels": KERNELS[:2], "c": 1.0})
far_run = slice_run.but(kernels=("gaussian",), moved=INNER, radius=1000.0, copies=1)

PAPER = "secondary: records show its pictures of the loss along two directions; the layer and the measures are ours"
WHERE = (
    r"Four heads, $\zeta = 1$ and $\beta = 2$, trained from the same weights until a fiftieth of the loss $\mathcal L_0$ of an "
    "output of zero is left, two random directions as long as the weights, means over three layers a seed"
)
CLAIMS = (
    claim(
        "slices-smoother",
        "The Gaussian's slices are smoother",
        WHERE
        + ": the share of 24 rays from the centre on which the loss falls again, by more than a hundredth of all its "
        "changes, softmax less Gaussian. Were the Gaussian smoother, this would be positive.",
        Trial(slice_run, lambda record: -more("falling")(record), Above(0.02)),
        Control(r"directions in $W_V$ and $W_O$ alone, where no ray falls for either", {"moved": OUTER}),
        provenance=PAPER,
        state="not reproduced",
    ),
    claim(
        "slices-bent",
        "The Gaussian's slices bend down more often",
        WHERE
        + ": the share of 19 x 19 nodes at which the loss bends down in some direction, Gaussian less softmax. The kernel "
        "is the cause: along directions in $W_V$ and $W_O$, which do not move the attention, nothing of it is left.",
        Trial(slice_run, more("bent"), Above(0.2)),
        Control("directions in $W_V$ and $W_O$ alone", {"moved": OUTER}),
    ),
    claim(
        "slices-flatter",
        "They are flatter, because rows need not sum to one",
        WHERE
        + ": the mean loss on the circle of radius 1, softmax over Gaussian. Drawn on one linear scale, the flatter surface "
        "looks like the smoother one. With its rows normalised the Gaussian rises nearly as high as softmax.",
        Trial(slice_run, lambda record: record["rim"][0] / record["rim"][1], Above(2.0)),
        Control("the rows of the Gaussian normalised", {"kernels": (KERNELS[0], KERNELS[2])}, quota=(9, 10)),
        provenance=PAPER,
        state="reproduced with changed constants",
    ),
    claim(
        "slices-plateau",
        "Far out the Gaussian's loss is that of no output",
        r"Along almost every direction of $W_Q$ and $W_K$ all distances $|q_i - k_j|$ grow without bound, all weights vanish and "
        r"the loss returns to $\mathcal L_0$; so a ray that has risen above $\mathcal L_0$ falls again. A thousand lengths out, "
        r"on 24 rays: the loss over $\mathcal L_0$ on the ray where it is furthest from 1.",
        Trial(far_run, lambda record: record["flat"][0], Near(abs=0.01), predict=1.0),
        Control("rows that sum to one", {"kernels": ("normalised_gaussian",)}),
    ),
)
