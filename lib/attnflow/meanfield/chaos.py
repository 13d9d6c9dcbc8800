r"""Nets that share particles: propagation of chaos across widths, and the error of a finite depth.

The first m particles of every block of a net of width M start where those of a net of width m do. Later they are apart by what
the mean over m particles differs from that over M: of independent particles, the variance of this is C/(Jm) - C/(JM).
"""

import torch

from attnflow import Control, Experiment, Near, Trial, kinds, runs
from attnflow.meanfield import limit, model
from attnflow.meanfield.setting import claim


def coupling(
    seeds: tuple,
    device: torch.device,
    widths: tuple,
    reference: int,
    copies: int = 128,
    depth: int = 2,
    time: float = 0.5,
    step: float = 0.25,
    **settings,
) -> dict:
    r"""How far the particles of narrow nets are, after training, from those of a wide net with the same start.

    seeds, device, copies, settings: of ``limit.tiled``; widths: m of the narrow nets; reference: M of the wide one; depth: J;
    time, step: of descent. Returns ``distance``, root mean square over particles and replicas (W, S), and ``places``, N with
    $1/N = 1/(Jm) - 1/(JM)$ (W,). Every wide net is cut into M/m narrow ones. Raises WrongUse for a
    reference that is not a multiple of all widths.
    """
    fits = all(reference > m and reference % m == 0 for m in widths)
    runs.check("reference", reference, "a multiple of all widths", fits)
    net, inputs, targets, state = limit.tiled(seeds, device, copies, depth=depth, m=reference, **settings)
    far = limit.train(net, inputs, targets, state, time=time, step=step)
    pieces = {m: limit.cut(state, m) for m in widths}
    rows = []
    for m, piece in pieces.items():
        narrow, count = model.Net(**vars(net) | {"m": m}), reference // m
        data = (each.repeat_interleave(count, dim=0) for each in (inputs, targets))
        near, wide = limit.train(narrow, *data, piece, time=time, step=step), limit.cut(far, m)
        apart = model.norms({name: near[name] - wide[name] for name in near}, narrow)
        rows.append(apart.view(len(seeds), -1).mean(dim=1).sqrt())
    places = [1 / (1 / (depth * m) - 1 / (depth * reference)) for m in widths]
    return {"distance": torch.stack(rows), "places": places}


def deepening(
    seeds: tuple,
    device: torch.device,
    depths: tuple,
    m: int = 4,
    copies: int = 16,
    tied: bool = True,
    time: float = 0.5,
    step: float = 0.25,
    **settings,
) -> dict:
    r"""What doubling the depth changes in the outputs after training, with the same m particles in every block.

    seeds, device, m, copies, tied, settings: of ``limit.tiled``; depths: J, each of which is doubled; time, step: of descent.
    Returns ``steps``, 1/J (W,), and ``error``, the root mean square of $f_J - f_{2J}$ over sequences and replicas (W, S).
    """
    outputs = {}
    for depth in sorted({*depths, *(2 * depth for depth in depths)}):
        net, inputs, targets, state = limit.tiled(seeds, device, copies, tied=tied, depth=depth, m=m, **settings)
        outputs[depth] = model.outputs(limit.train(net, inputs, targets, state, time=time, step=step), inputs, net)
    apart = [(outputs[depth] - outputs[2 * depth]).square().unflatten(0, (-1, copies)) for depth in depths]
    return {
        "steps": [1 / depth for depth in depths],
        "error": torch.stack([each.mean(dim=(1, 2)).sqrt() for each in apart]),
    }


chaos_run = Experiment(coupling, limit.SMALL | {"widths": (4, 32), "reference": 128, "copies": 128})
depth_run = Experiment(deepening, limit.SMALL | {"depths": (2, 4, 8, 16)})

CLAIMS = (
    claim(
        "chaos",
        "Particles of the same start part ways as theory says",
        r"A net with 128 heads and 128 neurons a block, $J = 2$, is cut into nets of $m = 4$ and of 32, and all descend to "
        r"$t = \frac12$. Exponent of the distance of a particle from itself in the wide net, in N with "
        r"$\frac1N = \frac1{Jm} - \frac1{128\,J}$, the variance of a part of a sample about the whole.",
        Trial(chaos_run, limit.exponent("distance"), Near(abs=0.06), predict=-0.5),
        Control("the learning rate without the factor $Jm$", {"scaling": "plain rate"}),
        cite=limit.SHARPER,
    ),
    claim(
        "depth-error",
        "Depth is a step size",
        r"Layers that start alike, four heads and neurons: what doubling J from 2, 4, 8, 16 changes in the outputs after descent "
        r"to $t = \frac12$ is of order 1 in $1/J$. In at least nine of ten seeds.",
        Trial(depth_run, kinds.order_of("error"), Near(abs=0.02), predict=1.0, kind="order", quota=(9, 10)),
        Control("independent layers", {"tied": False}, quota=(9, 10)),
        cite=limit.SHARPER,
    ),
)
