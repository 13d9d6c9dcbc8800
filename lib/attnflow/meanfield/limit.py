r"""How far a net of finite size is from the limit: the spread of outputs over draws of the particles, before and after training.

All replicas of a seed see the data of that seed and differ in their particles. At the start every increment of the tokens has
mean zero given the tokens before it, since $W_O$ and $w_2$ do, so that variances of increments add up.
"""

import torch

from attnflow import Between, Control, Experiment, Near, Trial, curves, door, flow, runs
from attnflow.meanfield import gaussian, model, nets, power, setting
from attnflow.meanfield.setting import claim

CROWD = 8192  # particles that share a stack, so that it fits a cache
NODES = 14  # of Gauss-Hermite quadrature in a direction, four times as many where there is one: six digits at scale 1/2
SMALL = {"samples": 4, "length": 3, "scale": 0.5}  # data and particles of all runs of this section


def tiled(
    seeds: tuple, device: torch.device, copies: int, scale: float = 0.5, tied: bool = False, **settings
) -> tuple[model.Net, runs.Stack, runs.Stack, runs.State]:
    """Nets that differ in their particles alone, ``copies`` of them on the data of each seed, those of a seed side by side.

    The replicas of a seed are one very wide draw, cut: the same law as a generator for each, without their cost. seeds,
    device, scale, tied, settings: of ``setting.drawn``. Returns (net, inputs, targets, state) with stacks of (S copies).
    """
    runs.integer("copies", copies)
    net, inputs, targets, _ = setting.drawn(seeds, device, **settings)
    wide = model.Net(**vars(net) | {"m": net.m * copies})
    state = model.init(runs.streams(seeds, "weights"), wide, scale, tied)
    found = runs.to(cut(state, net.m), device)
    return net, *(each.repeat_interleave(copies, dim=0) for each in (inputs, targets)), found


@door.takes(state=nets.WIDE, m=door.COUNT)
def cut(state: runs.State, m: int) -> runs.State:
    """Wide nets, the ``state``, cut into narrow ones of ``m`` heads and neurons: (S, J, c m, ...) -> (S c, J, m, ...)."""
    wide = next(iter(state.values())).shape[2]
    runs.check("m", m, f"a divisor of {wide}, the particles of a block", wide % m == 0)
    return {name: value.unflatten(2, (-1, m)).transpose(1, 2).flatten(0, 1) for name, value in state.items()}


@door.takes(
    net=nets.NET,
    inputs=nets.TOKENS,
    targets=nets.TARGETS,
    state=nets.STATE,
    decay=door.NONNEGATIVE,
    time=door.POSITIVE,
    step=door.POSITIVE,
)
def train(
    net: model.Net,
    inputs: runs.Stack,
    targets: runs.Stack,
    state: runs.State,
    decay: float = 0.0,
    time: float = 0.5,
    step: float = 0.25,
) -> runs.State:
    r"""The particles ``state`` of a ``net`` after descent, in stacks of ``CROWD`` particles.

    inputs, targets: of the data; decay: $\lambda$; time, step: of descent. Returns the state at the end, for a run that a step is
    too large for its last finite one.
    """
    size = max(1, CROWD // (net.depth * net.m))
    ends = []
    for first in range(0, len(inputs), size):
        some = slice(first, first + size)
        field = model.field(inputs[some], targets[some], net, decay)
        part = {name: value[some] for name, value in state.items()}
        ends.append(flow.integrate(field, part, step=step, times=[time]).state)
    return {name: torch.cat([one[name] for one in ends]) for name in state}


@door.takes(values="C ...", copies=door.whole(2))
def spread(values: torch.Tensor, copies: int) -> runs.Stack:
    """The standard deviation of some ``values`` (S copies, ...) over the ``copies``, its square averaged over the rest. (S,)."""
    runs.check("copies", copies, f"a divisor of {len(values)}, the runs", len(values) % copies == 0)
    squares = values.unflatten(0, (-1, copies)).var(dim=1)
    return squares.reshape(len(squares), -1).mean(dim=1).sqrt()


@door.takes(inputs=nets.TOKENS, net=nets.WIDTHS, scale=door.NONNEGATIVE)
def start_constant(inputs: runs.Stack, net: model.Net, scale: float) -> runs.Stack:
    r"""The limit C of $Jm$ times the variance of the output at the start, a mean over sequences, by Gauss-Hermite quadrature.

    A head adds $s^4\,\mathbb E|\sum_j\mathrm{softmax}_j(s^2|x_L|g\,\kappa\cdot x_j)\,x_j|^2$ and a neuron
    $s^2\,\mathbb E\,\phi(s\sqrt{|x_L|^2 + 1}\,g)^2$ for normal $g, \kappa$ and the ``scale`` s. inputs: X (S, n, L, d); net:
    with heads of width 1, d at most 4. With J = 1 and one part in a block the law is exact at every m. Returns (S,). Raises
    WrongUse where the nodes do not resolve the scale.
    """
    found, coarse = (gaussian.moment(inputs, net, scale, count) for count in (NODES, NODES - 4))
    known = f"so small that {NODES} nodes in a direction and {NODES - 4} agree to a thousandth"
    runs.check("scale", scale, known, bool(((found - coarse).abs() <= 1e-3 * found).all()))
    return found


def starts(seeds: tuple, device: torch.device, shapes: tuple, copies: tuple, scale: float = 0.5, **settings) -> dict:
    r"""Root mean square of the output of nets of several shapes at the start, and what is predicted.

    seeds, device, scale, settings: of :func:`tiled`; shapes: pairs (J, m); copies: of each, on every seed's data. Returns
    ``places``, Jm (W,), and ``output`` (W, S), ``constant``, $Jm\,\mathbb E f^2$ of the last shape over its limit (S,).
    """
    found = []
    for (depth, m), count in zip(shapes, copies, strict=True):
        net, inputs, _, state = tiled(seeds, device, count, scale, depth=depth, m=m, **settings)
        size = max(1, CROWD // (depth * m))
        parts = zip(*(each.split(size) for each in (inputs, *state.values())), strict=True)
        output = torch.cat([model.outputs(dict(zip(state, part, strict=True)), rows, net) for rows, *part in parts])
        found.append(output.square().unflatten(0, (-1, count)).flatten(1).mean(dim=1))
    limit = start_constant(inputs[::count], net, scale)
    return {
        "places": [depth * m for depth, m in shapes],
        "output": torch.stack(found).sqrt(),
        "constant": depth * m * found[-1] / limit,
    }


def trained(
    seeds: tuple,
    device: torch.device,
    shapes: tuple,
    copies: tuple,
    decay: float = 0.0,
    time: float = 0.5,
    step: float = 0.25,
    **settings,
) -> dict:
    r"""Nets of several shapes after training: how much they differ from draw to draw, and how far their particles went.

    seeds, device, settings: of :func:`tiled`; shapes: pairs (J, m); copies: of each, on every seed's data; decay, time, step:
    of :func:`train`. Returns ``places``, Jm (W,), and ``output`` and ``objective``, the spreads of f and $\mathcal Q$ over
    draws, and ``movement``, the root mean square distance of particles from their start: (W, S) each.
    """
    rows = []
    for (depth, m), count in zip(shapes, copies, strict=True):
        net, inputs, targets, state = tiled(seeds, device, count, depth=depth, m=m, **settings)
        end = train(net, inputs, targets, state, decay, time, step)
        moved = model.norms({name: end[name] - state[name] for name in state}, net).view(-1, count)
        rows.append(
            {
                "output": spread(model.outputs(end, inputs, net), count),
                "objective": spread(model.objective(end, inputs, targets, net, decay), count),
                "movement": moved.mean(dim=1).sqrt(),
            }
        )
    found = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return {"places": [depth * m for depth, m in shapes]} | found


@door.takes(name=door.TEXT)
def exponent(name: str):
    """Reading: the exponent of a ``name`` of the record in its places, (S,)."""
    return lambda record: curves.log_slope(record["places"], record[name])


@door.takes(name=door.TEXT)
def ratio(name: str):
    """Reading: the last of a ``name`` of the record over the first, (S,)."""
    return lambda record: record[name][-1] / record[name][0]


SHAPES = (2, 4), (8, 16)  # depth and width times four: Jm from 8 to 128
COPIES, HALF = power.DESIGN["copies"], power.DESIGN["within"]  # a tenth of the exponent 1/2
EXACT = {"shapes": ((1, 4), (1, 64)), "copies": (16384, 4096), "parts": ("neurons",)}
start_run = Experiment(starts, SMALL | {"shapes": ((2, 8),), "copies": (8192,)})
exact_run = Experiment(starts, SMALL | EXACT)
shape_run = Experiment(trained, SMALL | {"shapes": SHAPES, "copies": COPIES})
width_run = Experiment(trained, SMALL | {"shapes": ((1, 4), (1, 128)), "copies": COPIES, "decay": 0.1})
depth_run = Experiment(trained, SMALL | {"shapes": ((4, 4), (16, 4)), "copies": (128, 128), "tied": True})
SHARPER = ("gao2024meanfield", "chizat2025hidden")
ERROR = rf"The standard error of the exponent is at most {power.slope_error(power.DESIGN['places'], COPIES):.3f}."

CLAIMS = (
    claim(
        "start-constant",
        "The spread at the start, with its constant",
        r"Independent particles of scale $\sigma = \frac12$, $J = 2$, $m = 8$, 8192 replicas: $Jm\,\mathbb E f^2$ over its limit "
        r"C, which is a sum of one Gaussian integral for the heads and one for the neurons. Increments are uncorrelated, "
        r"so that only moments of moved tokens are left out, $O(1/(Jm))$.",
        Trial(start_run, lambda record: record["constant"], Near(abs=0.06), predict=1.0),
        Control("layers that share their draws", {"tied": True}),
        cite=SHARPER,
    ),
    claim(
        "start-exponent",
        "One block: the exponent is exactly one half",
        r"In a single block of neurons the output at the start is a mean of m independent terms: exponent of its root mean "
        r"square in m, from $m = 4$ to 64, with 16384 and 4096 replicas.",
        Trial(exact_run, exponent("output"), Near(abs=0.02), predict=-0.5),
        Control(r"the scaling $1/(J\sqrt m)$", {"scaling": "tangent"}),
        provenance="textbook",
    ),
    claim(
        "spread-shape",
        "Depth averages as width does",
        r"Independent layers, descent to $t = \frac12$: from $J = 2$, $m = 4$ to $J = 8$, $m = 16$ the spread of outputs over "
        r"draws of the particles falls with the exponent $-\frac12$ in $Jm$. The law $m^{-1/2}$ would give $-\frac14$. "
        + ERROR,
        Trial(shape_run, exponent("output"), Near(abs=HALF), predict=-0.5),
        Control("layers that share their draws", {"tied": True}),
        cite=SHARPER,
    ),
    claim(
        "spread-tied",
        "Layers that share their draws gain nothing from depth",
        r"Layers that start alike, $m = 4$, descent to $t = \frac12$: the spread of outputs at $J = 16$ over that at $J = 4$, "
        r"with the same particles, in nine of ten seeds. Only the error $O(1/J)$ of the depth is left.",
        Trial(depth_run, ratio("output"), Near(abs=0.04), predict=1.0, quota=(9, 10)),
        Control("independent layers", {"tied": False}),
        cite=SHARPER,
    ),
    claim(
        "spread-width",
        "Wider, and closer to the limit",
        r"One block after descent with $\lambda = 0.1$ to $t = \frac12$: exponent of the spread of outputs in m, from 4 to 128. "
        rf"The standard error is at most {power.slope_error((4, 128), COPIES):.3f}.",
        Trial(width_run, exponent("output"), Near(abs=HALF), predict=-0.5),
        Control("the learning rate and the branch of the tangent scaling", {"scaling": "tangent"}),
    ),
    claim(
        "spread-objective",
        "The objective spreads as the outputs do",
        r"The same nets: exponent in m of the spread of $\mathcal Q$, risk and decay together. Fluctuations of outputs enter it "
        "to first order, where there is a residual.",
        Trial(width_run, exponent("objective"), Between(-0.6, -0.4)),
        Control("the learning rate and the branch of the tangent scaling", {"scaling": "tangent"}),
    ),
)
