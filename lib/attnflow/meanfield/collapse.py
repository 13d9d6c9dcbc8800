r"""Where all particles at zero are stable: the collapse of the whole net, with its threshold and its rates in closed form.

At $\theta = 0$ the net puts out zero, attention is uniform and every token keeps its place. To second order in the
particles the objective is $\frac1{2n}\sum y^2 + \frac1{Jm}\sum_\theta\frac12\theta^\top H\theta$, with one matrix H for all
heads and one for all neurons.
"""

import math

import torch

from attnflow import Above, Below, Control, Experiment, Near, Trial, door, flow, runs
from attnflow.meanfield import model, nets, setting, task
from attnflow.meanfield.setting import claim

SMALL = 1e-4  # the scale of particles near zero, whose interaction is of relative order SMALL**2


@door.takes(inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.WIDTHS)
def thresholds(inputs: runs.Stack, targets: runs.Stack, net: model.Net) -> dict[str, runs.Stack]:
    r"""The least decay at which zero is stable: $|b|$ for heads, $|\phi'(0)|\,|a|$ for neurons, of ``task.pulls``; (S,) each.

    inputs, targets: of the data; net: says which parts there are. The largest of them is $\lambda_c$. Raises WrongUse for an
    activation that is not differentiable at zero, or a last token whose answer is not 0 at the start.
    """
    answer = inputs[:, :, -1, net.slot]
    runs.check(
        "tokens", float(answer.abs().max()), "0 where the answer of the last token stands", bool((answer == 0).all())
    )
    runs.choice("activation", net.activation, ("tanh", "identity"))
    return {name: pull.norm(dim=1) for name, pull in task.pulls(inputs, targets).items() if name in net.parts}


@door.takes(state=nets.STATE, inputs=nets.TOKENS, targets=nets.TARGETS, net=nets.NET)
def modes(state: runs.State, inputs: runs.Stack, targets: runs.Stack, net: model.Net) -> dict[str, runs.Stack]:
    r"""How far particles lie along the direction that grows fastest, (S, J, m) for each part of a ``net``.

    $W_V$ along b and the entry of $W_O$ that writes the answer, or $(w_1, b)$ along a and that entry of $w_2$: the eigenvector
    $(b/|b|, 1)/\sqrt2$ of H to the eigenvalue $\lambda - |b|$; of wider heads the first entry counts. state: the particles;
    inputs, targets: of the data. Raises WrongUse where nothing pulls, which leaves no direction.
    """
    found, pull = {}, task.pulls(inputs, targets)
    least = min(float(pull[part].norm(dim=1).min()) for part in net.parts)
    runs.check(
        "targets", runs.array(targets).tolist(), "such that heads and neurons are pulled in every run", least > 0
    )
    if "attention" in net.parts:
        along = pull["attention"] / pull["attention"].norm(dim=1, keepdim=True)
        ahead = (state["W_V"] * along[:, None, None, :, None]).sum(dim=3)[..., 0]
        found["attention"] = (ahead + state["W_O"][..., 0, net.slot]) / math.sqrt(2)
    if "neurons" in net.parts:
        along = pull["neurons"] / pull["neurons"].norm(dim=1, keepdim=True)
        inner = torch.cat([state["w_1"], state["b"][..., None]], dim=-1)
        found["neurons"] = ((inner * along[:, None, None]).sum(dim=3) + state["w_2"][..., net.slot]) / math.sqrt(2)
    return found


def growth(
    seeds: tuple,
    device: torch.device,
    part: str = "attention",
    over: float = 0.8,
    time: float = 4.0,
    step: float = 0.1,
    scale: float = SMALL,
    **settings,
) -> dict:
    r"""How fast particles near zero leave it, or come back, along the direction of :func:`modes`.

    seeds, device, settings: of ``setting.drawn``; part: whose rate; over: the decay as a multiple of the threshold of that
    part; time, step: of descent; scale: of the particles at the start. Returns ``rate``, that of the projection on where the Jm
    particles started, ``predicted``, $\ln(1 + \eta(\lambda_c - \lambda))/\eta$, and ``threshold``: (S,) each.
    """
    net, inputs, targets, state = setting.drawn(seeds, device, scale=scale, **settings)
    edge = thresholds(inputs, targets, net)[runs.choice("part", part, net.parts)]
    decay = over * edge
    field = model.field(inputs, targets, net, decay)
    record = flow.integrate(
        field, state, step=step, times=[0.0, time], observe=lambda now: modes(now, inputs, targets, net)
    )
    start, end = record.values[part]
    rate = ((start * end).sum(dim=(1, 2)) / start.square().sum(dim=(1, 2))).log() / time
    return {"rate": rate, "predicted": torch.log1p(step * (edge - decay)) / step, "threshold": edge}


def curvature(seeds: tuple, device: torch.device, decay: float = 0.1, scale: float = 0.0, **settings) -> dict:
    r"""The least eigenvalue of the Hessian of $Jm\mathcal Q$ by autograd, where all particles are zero.

    seeds, device, settings: of ``setting.drawn``; decay: $\lambda$; scale: of the particles, 0 at zero. Returns ``least`` and
    ``predicted``, $\lambda - \lambda_c$: (S,) each.
    """
    net, inputs, targets, state = setting.drawn(seeds, device, scale=scale, **settings)
    found = []
    for run in range(len(seeds)):
        one = {name: value[run : run + 1] for name, value in state.items()}
        sizes, shapes = [value.numel() for value in one.values()], [value.shape for value in one.values()]

        def height(flat, run=run, names=tuple(one), sizes=sizes, shapes=shapes):
            parts = zip(names, flat.split(sizes), shapes, strict=True)
            weights = {name: part.view(shape) for name, part, shape in parts}
            data = inputs[run : run + 1], targets[run : run + 1]
            return net.depth * net.m * model.objective(weights, *data, net, decay)[0]

        flat = torch.cat([value.flatten() for value in one.values()])
        found.append(torch.linalg.eigvalsh(torch.autograd.functional.hessian(height, flat))[0])
    edge = torch.stack(list(thresholds(inputs, targets, net).values())).amax(dim=0)
    return {"least": torch.stack(found), "predicted": decay - edge}


def leaders(seeds: tuple, device: torch.device, copies: int = 128, **settings) -> dict:
    r"""In what share of data sets the neurons, and not the heads, set $\lambda_c$: ``share`` (S,).

    seeds, device, settings: of ``setting.drawn``; copies: data sets a seed.
    """
    net, inputs, targets, _ = setting.drawn(runs.replicas(seeds, copies), device, **settings)
    edge = thresholds(inputs, targets, net)
    return {"share": (edge["neurons"] > edge["attention"]).to(runs.DTYPE).view(-1, copies).mean(dim=1)}


def ratio(record: dict) -> runs.Stack:
    """Reading: the rate of a ``record`` of :func:`growth` over the predicted one, (S,)."""
    return record["rate"] / record["predicted"]


growth_run = Experiment(growth)
curvature_run = Experiment(curvature, {"depth": 2, "m": 1, "k": 2})
leaders_run = Experiment(leaders, {"samples": 32})
STABLE = ("gao2024meanfield", "huan2026meanfield")


@door.takes(part=door.choice(*nets.PARTS), over=door.POSITIVE, name=door.TEXT, title=door.TEXT, pull=door.TEXT)
def rate(part: str, over: float, name: str, title: str, pull: str):
    """The claim on the rate of one ``part`` at a decay ``over`` its threshold. name, title: of the claim; pull: what pulls."""
    return claim(
        name,
        title,
        rf"At $\lambda = {over}\,{pull}$ the projection of all particles of 10^{{-4}} on the leading direction changes by the "
        rf"factor $1 + \eta({pull} - \lambda)$ in a step of descent: the measured rate over the predicted one. Particles "
        "interact at the square of their size only.".replace("10^{-4}", "size $10^{-4}$"),
        Trial(growth_run.but(part=part, over=over), ratio, Near(rel=1e-4), predict=1.0),
        Control("the learning rate without the factor $Jm$", {"scaling": "plain rate"}),
        cite=STABLE,
    )


CLAIMS = (
    claim(
        "zero-curvature",
        "How stable zero is, in closed form",
        r"Where all particles are zero the least eigenvalue of the Hessian of $Jm\,\mathcal Q$ is $\lambda - \lambda_c$ with "
        r"$\lambda_c = \max(|b|, |\phi'(0)|\,|a|)$, where $b = \frac1n\sum y\,\bar x$ pulls the heads and "
        r"$a = \frac1n\sum y\,(x_L, 1)$ the neurons ($\bar x$ is the token mean, $x_L$ the last token): difference to autograd.",
        Trial(curvature_run, lambda record: (record["least"] - record["predicted"]).abs(), Below(1e-10), kind="proof"),
        Control("particles that are not at zero", {"scale": 0.5}),
        cite=STABLE,
    ),
    rate("attention", 0.8, "heads-leave", "Below their threshold heads leave zero at a known rate", "|b|"),
    rate("attention", 1.2, "heads-return", "Above it they return at a known rate", "|b|"),
    rate("neurons", 0.8, "neurons-leave", "Below their threshold neurons leave zero at a known rate", "|a|"),
    rate("neurons", 1.2, "neurons-return", "Above it neurons return at a known rate", "|a|"),
    claim(
        "zero-leader",
        "In this regression the neurons hold out longest",
        "Share of 128 data sets, of 32 sequences each, in which the threshold of the neurons is above that of the heads, so "
        r"that it is $\lambda_c$. The last token alone knows $x_L$; heads at zero see a mean over tokens.",
        Trial(leaders_run, lambda record: record["share"], Above(0.8)),
        Control("digits, where the last token knows nothing", {"data": "digits"}),
    ),
)
