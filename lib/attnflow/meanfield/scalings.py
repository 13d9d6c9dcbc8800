r"""Other scalings than that of the mean field: what does not settle as nets grow, and with which exponent.

The branch is multiplied by B and the gradient by R to make a velocity. The output at the start spreads as $B\sqrt{Jm}$ and a
particle moves as BR: of the mean field, where $B = 1/R = 1/(Jm)$, the first falls and the second stays.
"""

import torch

from attnflow import Above, Control, Experiment, Near, Trial, door, kinds, runs
from attnflow.meanfield import limit, model, nets
from attnflow.meanfield.setting import claim


def moved(
    seeds: tuple,
    device: torch.device,
    shapes: tuple,
    copies: int = 128,
    time: float = 0.5,
    step: float = 0.25,
    **settings,
) -> dict:
    r"""How far tokens and particles go, and how fast the risk falls, in nets of several shapes.

    seeds, device, settings: of ``limit.tiled``; shapes: pairs (J, m); copies: of the widest net, while narrower ones get more,
    so that all of one depth hold the very same particles; time, step: of descent, where a time of 0 trains no net. Returns
    ``depths`` and ``widths`` (W,) and (W, S) each: ``tokens``, the root mean square of $X(1) - X(0)$ at the start; ``rate``, the
    geometric mean of $-\dot{\mathcal L}/(2\mathcal L)$ at the start over replicas; and ``movement``, the geometric
    mean of the distance of particles from their start.
    """
    wide = max(m for _, m in shapes)
    rows = []
    for depth, m in shapes:
        count = copies * wide // m
        net, *data, state = limit.tiled(seeds, device, count, depth=depth, m=m, **settings)
        size = max(1, limit.CROWD // (depth * m))
        parts = zip(*(each.split(size) for each in (*data, *state.values())), strict=True)
        seen = [
            _seen(net, some, targets, dict(zip(state, part, strict=True)), time, step) for some, targets, *part in parts
        ]
        tokens, rate, movement = (torch.cat(each).view(-1, count) for each in zip(*seen, strict=True))
        row = {"tokens": tokens.mean(dim=1).sqrt(), "rate": rate.log().mean(dim=1).exp()}
        rows.append(row | {"movement": movement.log().mean(dim=1).exp()})
    depths, widths = zip(*shapes, strict=True)
    return {"depths": depths, "widths": widths} | {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _seen(net, inputs, targets, state, time, step):
    """Squares of the way of tokens, rates of the risk, and ways of particles, in one stack."""
    tokens = (model.forward(state, inputs, net)[:, -1] - inputs).square().flatten(1).mean(dim=1)
    risk, slope = model.field(inputs, targets, net)(state)
    rate = net.depth * net.m / net.speed * model.norms(slope, net) / (2 * risk)
    end = limit.train(net, inputs, targets, state, time=time, step=step) if time else state
    return tokens, rate, ways(state, end, net)


@door.takes(start=nets.STATE, end=nets.STATE, net=nets.NET)
def ways(start: runs.State, end: runs.State, net: model.Net) -> runs.Stack:
    """Geometric mean over heads and neurons of the distance between ``start`` and ``end``: a mean that no rare particle sets.

    start, end: particles of a ``net``. Returns (S,).
    """
    apart = {
        name: (end[name] - start[name]).square().reshape(len(value), net.depth, net.m, -1)
        for name, value in end.items()
    }
    squares = [sum(apart[name].sum(dim=3) for name in model.PARTS[part]) for part in net.parts]
    return (torch.stack(squares).log().mean(dim=(0, 2, 3)) / 2).exp()


WIDER = ((2, 8), (2, 64))  # two blocks, so that the tokens of the second are those that the first has moved
moved_run = Experiment(moved, limit.SMALL | {"shapes": WIDER})
heads_run = Experiment(
    moved,
    limit.SMALL
    | {"shapes": ((2, 32), (2, 256)), "time": 0.0, "scale": 1.0, "parts": ("attention",), "scaling": "sum over heads"},
)
blocks_run = Experiment(moved, limit.SMALL | {"shapes": ((2, 16), (16, 16)), "time": 0.0, "scaling": "sum over blocks"})
ONE = {"shapes": ((1, 32), (1, 256))}

CLAIMS = (
    claim(
        "scaling-movement",
        "In the mean field a particle moves as far in a wide net",
        r"The same particles in nets of $m = 8$ and of 64, $J = 2$: their mean distance from the start (geometric) at "
        r"$t = \frac12$ in the wide nets over that in the narrow ones, in eight of ten seeds.",
        Trial(moved_run, limit.ratio("movement"), Near(rel=0.08), predict=1.0, quota=(8, 10)),
        Control("the learning rate without the factor $Jm$", {"scaling": "plain rate"}),
    ),
    claim(
        "tangent-movement",
        r"With $1/(J\sqrt m)$ it hardly moves",
        r"The branch $1/(J\sqrt m)$ with the learning rate times J moves a particle by $m^{-1/2}$: exponent of that "
        "distance.",
        Trial(moved_run.but(scaling="tangent"), kinds.slope("movement"), Near(abs=0.06), predict=-0.5),
        Control("the mean field", {"scaling": "mean field"}),
        cite=("gao2024meanfield", "chizat2025hidden"),
    ),
    claim(
        "plain-movement",
        "Without the factor Jm it freezes",
        r"A learning rate without the factor $Jm$ is the mean field at the time $t/(Jm)$: exponent of the same distance in m, in "
        "nine of ten seeds.",
        Trial(
            moved_run.but(scaling="plain rate"),
            kinds.slope("movement"),
            Near(abs=0.08),
            predict=-1.0,
            quota=(9, 10),
        ),
        Control("the tangent scaling", {"scaling": "tangent"}),
    ),
    claim(
        "tangent-output",
        "And its output at the start stays random",
        r"One block of neurons with $1/\sqrt m$: root mean square of the output at the start at $m = 64$ over that at $m = 4$.",
        Trial(limit.exact_run.but(scaling="tangent"), limit.ratio("output"), Near(rel=0.05), predict=1.0),
        Control("the sum over heads, without any 1/m", {"scaling": "sum over heads"}),
        provenance="textbook",
    ),
    claim(
        "heads-tokens",
        "Without 1/m every block multiplies the tokens",
        r"J blocks of attention that sum over heads multiply tokens by $\sqrt m$ each, as attention is linear in the values: "
        r"exponent $J/2$ of how far tokens go at the start, in m from 32 to 256, $J = 2$, particles of scale 1.",
        Trial(heads_run, kinds.slope("tokens"), Near(abs=0.09), predict=lambda record: record["depths"][0] / 2),
        Control("the mean field", {"scaling": "mean field"}),
    ),
    claim(
        "heads-rate",
        "And the second learns at a speed without bound",
        r"The relative rate of the risk at the start, $-\dot{\mathcal L}/(2\mathcal L)$, grows as $m^{J - 1}$ by values and "
        r"outputs alone: its exponent for $J = 2$, where scores grow as well. "
        "The flow still descends, but descent with a fixed step diverges once step times rate is above 2.",
        Trial(heads_run, kinds.slope("rate"), Above(0.8)),
        Control("a single block", ONE),
    ),
    claim(
        "blocks-tokens",
        "Without 1/J tokens walk further in a deeper net",
        r"Independent blocks without $1/J$ are a random walk of J steps: exponent in J, from 2 to 16 at $m = 16$, of how far "
        r"tokens go at the start.",
        Trial(blocks_run, kinds.slope("tokens", "depths"), Near(abs=0.09), predict=0.5),
        Control("layers that share their draws, which walk straight on", {"tied": True}),
        cite=("gao2024meanfield", "chizat2025hidden"),
    ),
)
