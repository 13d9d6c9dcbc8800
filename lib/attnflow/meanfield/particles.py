r"""The mean-field limit of depth and width: the flow of tokens along the depth, its adjoint, and particles that descend V."""

from operator import itemgetter

import torch

from attnflow import Below, Control, Experiment, Near, Trial, door, flow, kinds, runs
from attnflow.meanfield import model, nets, theory, variation
from attnflow.meanfield.setting import claim, drawn

SHAPES = ((1, 1), (2, 16), (4, 8), (8, 3))  # J and m of the nets on which identities are tried
EXACT = 1e-12  # what rounding may leave of an identity, over the largest number in it


def depth_error(
    seeds: tuple,
    device: torch.device,
    depths: tuple = (8, 16, 32, 64),
    reference: int = 64,
    scaling: str = "mean field",
    **settings,
) -> dict:
    r"""Distance of the tokens behind J blocks that share their particles to the depth ODE.

    It is $X' = \int g(X, \theta)\,\rho(d\theta)$ for heads and neurons added up. depths: J; reference: steps of the method of
    Runge and Kutta that solves the ODE from $\ell = 0$ to 1; seeds, device, scaling, settings: of the problem. Returns ``error``,
    over the size of the tokens, (J, S), and ``steps``, 1/J.
    """
    found, end = [], None
    for depth in depths:
        net, inputs, _, state = drawn(seeds, device, depth=depth, tied=True, scaling=scaling, **settings)
        if end is None:
            end = solved(state, inputs, net, reference)
        gap = (model.forward(state, inputs, net)[:, -1] - end).flatten(1).norm(dim=1)
        found.append(gap / end.flatten(1).norm(dim=1))
    return {"error": torch.stack(found), "steps": [1 / depth for depth in depths]}


@door.takes(state=nets.STATE, inputs=nets.TOKENS, net=nets.NET, steps=door.COUNT)
def solved(state: runs.State, inputs: torch.Tensor, net: model.Net, steps: int) -> torch.Tensor:
    """The tokens at the end of the depth ODE whose measure is that of the first block of a ``state``, (S, n, L, d).

    inputs: X (S, n, L, d); net: shapes and activation; steps: of the method of Runge and Kutta.
    """

    def slope(tokens):
        parts = (variation.particles(state, 0, part) for part in net.parts)
        return sum(variation.force(theta, tokens, net).mean(dim=1) for theta in parts)

    def field(stream):  # its loss is no loss, but one that never stops a run
        return stream["X"].new_ones(len(inputs)), {"X": -slope(stream["X"])}

    return flow.integrate(field, {"X": inputs}, step=1 / steps, times=[1.0], method=flow.RungeKutta()).state["X"]


def by_mass(
    seeds: tuple, device: torch.device, decay: float = 0.1, probes: int = 5, penalty: bool = True, **settings
) -> dict:
    r"""Slope of $\mathcal Q$ by the mass of a particle, times J, beside V there: at the particles, and at places without any.

    decay: $\lambda$; probes: how many places, of each part and block; penalty: whether V has $\frac\lambda2|\theta|^2$; seeds,
    device, settings: of the problem. Returns ``gap``, the largest difference over the largest V, (S,).
    """
    net, inputs, targets, state = drawn(seeds, device, **settings)
    more = runs.to(model.init(runs.streams(seeds, "probes"), model.Net(d=net.d, depth=net.depth, m=probes)), device)
    masses = {
        part: torch.cat([each, torch.zeros_like(more["b"])], dim=2).requires_grad_()
        for part, each in variation.even(state, net).items()
    }
    wide = {name: torch.cat([value, more[name]], dim=2) for name, value in state.items()}
    total = variation.weighted_objective(wide, masses, inputs, targets, net, decay).sum()
    by = dict(zip(masses, torch.autograd.grad(total, list(masses.values())), strict=True))
    tokens = variation.path(state, inputs, net)
    back = variation.adjoint(state, tokens, targets, net)
    gaps, sizes = [], []
    for place, (layer, part) in enumerate(variation.branches(net)):
        theta, ends = variation.particles(wide, layer, part), (tokens[place], back[place + 1])
        worth = variation.first_variation(theta, *ends, net, decay if penalty else 0.0)
        gaps.append((net.depth * by[part][:, layer] - worth).abs().amax(dim=1))
        sizes.append(worth.abs().amax(dim=1))
    return {"gap": torch.stack(gaps).amax(dim=0) / torch.stack(sizes).amax(dim=0)}


def by_particle(
    seeds: tuple, device: torch.device, shapes: tuple = SHAPES, decay: float = 0.1, after: bool = True, **settings
) -> dict:
    r"""$Jm\,\partial\mathcal Q/\partial\theta$ by autograd beside $\partial V/\partial\theta$, for nets of several J and m.

    shapes: pairs (J, m); decay: $\lambda$; after: of :func:`~attnflow.meanfield.variation.slopes`; seeds, device, settings: of
    the problem. Returns ``gap``, the largest difference over the largest slope, of any net, (S,).
    """
    worst = []
    for depth, m in shapes:
        net, inputs, targets, state = drawn(seeds, device, depth=depth, m=m, **settings)
        slow = flow.autograd(lambda each: model.objective(each, inputs, targets, net, decay))(state)[1]  # noqa: B023
        found = variation.slopes(state, inputs, targets, net, decay, after)
        gap = {name: (found[name] - depth * m * slow[name]).abs().flatten(1).amax(dim=1) for name in state}
        size = torch.stack([each.abs().flatten(1).amax(dim=1) for each in found.values()]).amax(dim=0)
        worst.append(torch.stack(list(gap.values())).amax(dim=0) / size)
    return {"gap": torch.stack(worst).amax(dim=0)}


depth_run = Experiment(depth_error)
mass_run, particle_run = Experiment(by_mass), Experiment(by_particle)

CLAIMS = (
    claim(
        "depth-order",
        "The blocks are steps along a depth",
        r"With layers that share their particles, J blocks $X \mathrel{+}= \frac1{Jm}\sum g(X, \theta)$, heads and then neurons, "
        r"are steps of $1/J$ along $X'(\ell) = \int g(X(\ell), \theta)\,\rho(d\theta, \ell)$, heads and neurons added up: the "
        r"tokens at the end differ from $X(1)$ by $C/J + O(J^{-2})$, order 1 in $1/J$.",
        Trial(depth_run, kinds.order_of("error"), Near(abs=0.001), 1.0, kind="order"),
        Control("branches that are not divided by J", {"scaling": "sum over blocks"}),
        cite=("lu2020meanfield", "gao2024meanfield"),
    ),
    claim(
        "proof-adjoint",
        "The adjoint runs back along the depth",
        r"The action $\int_0^1\langle P, \int g\,d\rho - X'\rangle\,d\ell$ is stationary in P where "
        r"$X' = \int g\,d\rho$, and in X where $P' = -\int\nabla_Xg^\top P\,d\rho$, for any g.",
        kinds.proof(theory.adjoint_holds),
        Control("the matrix of slopes not transposed", {"transposed": False}),
        cite=("lu2020meanfield", "gao2024meanfield"),
    ),
    claim(
        "variation-symbols",
        "The slopes of a particle's worth",
        r"The slopes of $V(\theta) = \langle P, g(X, \theta)\rangle + \frac\lambda2|\theta|^2$ by all weights of a head and of a "
        r"neuron, and of $\langle P, g\rangle$ by the tokens, with attention and activation as symbols, equal autograd at "
        r"random points: largest relative difference.",
        kinds.derived(theory.agreement, Below(1e-10), kind="proof"),
        Control("row means left out of the slope by the scores", {"complete": False}),
    ),
    claim(
        "variation-mass",
        "V is what a grain of mass is worth",
        r"J times the slope of $\mathcal Q$ by the mass of a particle of block j is $V(\theta, \ell_j) = \frac1n\sum_i\langle "
        r"P_i, g(X_i, \theta)\rangle + \frac\lambda2|\theta|^2$, with $\lambda = 0.1$, at particles and at random $\theta$ "
        r"where there is none: the largest difference over the largest V.",
        Trial(mass_run, itemgetter("gap"), Below(EXACT), kind="law"),
        Control("V without the weight decay", {"penalty": False}),
    ),
    claim(
        "variation-particle",
        "The particles descend V",
        r"$Jm\,\partial\mathcal Q/\partial\theta = \nabla_\theta V(\theta, \ell_j)$ at every head and every neuron, with "
        r"$(J, m) = (1, 1), (2, 16), (4, 8), (8, 3)$: the largest difference over the largest slope.",
        Trial(particle_run, itemgetter("gap"), Below(EXACT), kind="law"),
        Control("the adjoint taken where the branch begins, not where it ends", {"after": False}),
    ),
    claim(
        "proof-transport",
        "Mass that moves down V obeys a continuity equation",
        r"Let particles move by $\dot\theta = -\partial_\theta V$. The mass between neighbours stays, at every smooth V and "
        r"density, exactly where $\partial_t\rho = \partial_\theta(\rho\,\partial_\theta V)$: the Wasserstein gradient flow.",
        kinds.proof(theory.transport_holds),
        Control(
            "$\\partial_t\\rho = \\partial_\\theta\\rho\\,\\partial_\\theta V$, which conserves no mass",
            {"conserves": False},
        ),
        cite=("lu2020meanfield", "gao2024meanfield"),
    ),
)
