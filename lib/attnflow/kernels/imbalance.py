"""How fast a balance moves that is not kept: the law of the Gaussian kernels, proved, step by step, and along the flow."""

import math
from functools import partial
from operator import itemgetter

import torch

from attnflow import Below, Control, Experiment, Momentum, Near, Trial, attention, door, flow, kinds, laws, runs
from attnflow.kernels import model, theory
from attnflow.kernels.balancing import GENTLE, each_kernel, worst
from attnflow.kernels.setting import claim, drawn
from attnflow.kernels.theory import DISTANCES, DOTS


@door.takes(state=model.HEADS)
def pairs(state: runs.State) -> dict:
    """The factors of every head of a ``state``, or of its gradient, that meet in a product: (name, head) -> (A, B), (S, ., k)."""
    found = {}
    for head in range(state["W_Q"].shape[1]):
        query, key, value, out = (state[name][:, head] for name in model.MATRICES)
        found |= {("query-key", head): (query, key), ("value-output", head): (value, out.mT)}
    return found


@door.takes(**model.PROBLEM, queries=door.FLAG)
def imbalance_rate(
    state: runs.State, inputs: torch.Tensor, targets: torch.Tensor, layer: model.Layer, queries: bool = True
) -> torch.Tensor:
    r"""How fast the query-key balance moves along the flow: :func:`~attnflow.kernels.theory.imbalance_rate` in numbers.

    It is $4\tau\zeta\sum_{ij}G_{ij}(q_iq_i^\top - k_jk_j^\top)$ under a distance, with G the slope of the loss by the scores,
    and zero under a dot product. state: of a ``layer``; inputs: X (S, n, L, d); targets: Y (S, n, L, o); queries: whether the
    first term is there. Returns (S, H, k, k).
    """
    kernel = layer.similarity
    query, key, value, out = (state[name][:, :, None] for name in model.MATRICES)
    asking, asked, values = (inputs[:, None] @ each for each in (query, key, value))
    weights = layer.weights(asking, asked)
    residual = model.forward(state, inputs, layer) - targets
    slope = residual[:, None] @ out.mT @ values.mT / (inputs.shape[1] * inputs.shape[2])
    by_scores = attention.softmax_slope(weights, slope) if kernel.normalised else weights * slope
    found = -(asked.mT * by_scores.sum(dim=-2)[..., None, :]) @ asked
    if queries:
        found = found + (asking.mT * by_scores.sum(dim=-1)[..., None, :]) @ asking
    return kernel.distance * 4 * layer.c / math.sqrt(layer.k) * found.sum(dim=2)


def exact_step(
    seeds: tuple,
    device: torch.device,
    step: float = 0.02,
    steps: int = 30,
    method: flow.steppers.Method | None = None,
    queries: bool = True,
    **settings,
) -> dict:
    r"""Residual of what one step does to both balances of every head, the largest over some steps.

    $\Delta(A^\top A - B^\top B) = \eta\,r + \eta^2(G_A^\top G_A - G_B^\top G_B)$, with r the :func:`imbalance_rate` for queries
    and keys, and zero for values and outputs. seeds, device, settings: of the problem; step: $\eta$, taken ``steps`` times by
    the ``method``, descent where none is given; queries: of the rate. Returns name -> (S,), over the largest entry of
    $A^\top A$.
    """
    layer, inputs, targets, start = drawn(seeds, device, **settings)
    field = model.field(inputs, targets, layer)
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device="cpu")
    path = flow.integrate(field, start, step=step, times=times, method=method, observe=dict).values
    found = {}
    for place in range(len(path["W_Q"]) - 1):
        before, after = ({name: value[at] for name, value in path.items()} for at in (place, place + 1))
        rate = imbalance_rate(before, inputs, targets, layer, queries)
        three = zip(pairs(before).items(), pairs(after).values(), pairs(field(before)[1]).values(), strict=True)
        for ((law, head), old), new, slope in three:
            predicted = step**2 * laws.imbalance(*slope) + (step * rate[:, head] if law == "query-key" else 0.0)
            gap = (laws.imbalance(*new) - laws.imbalance(*old) - predicted).abs().amax(dim=(1, 2))
            scale = laws.imbalance(old[0], 0 * old[1]).abs().amax(dim=(1, 2))
            found[law] = torch.maximum(found.get(law, gap / scale), gap / scale)
    return found


def moved(
    seeds: tuple,
    device: torch.device,
    time: float = 1.0,
    step: float = 0.005,
    method: flow.steppers.Method | None = None,
    **settings,
) -> dict:
    r"""How far the query-key balance moves along a path, and how far the integral of its rate along that path says.

    seeds, device, settings: of the problem; time, step: of the ``method``, Heun where none is given, recorded at every step.
    Returns ``measured`` and ``predicted``, the largest $|C(t) - C(0)|$ over entries, heads and times, (S,).
    """
    layer, inputs, targets, start = drawn(seeds, device, **settings)
    times = step * torch.arange(round(time / step) + 1, dtype=runs.DTYPE, device="cpu")

    def observe(state):
        rate = imbalance_rate(state, inputs, targets, layer)
        return {"balance": laws.imbalance(state["W_Q"], state["W_K"]), "rate": rate}

    field = model.field(inputs, targets, layer)
    seen = flow.integrate(field, start, step=step, times=times, method=method or flow.Heun(), observe=observe).values
    integral = torch.cumulative_trapezoid(seen["rate"], dx=step, dim=0)
    return {
        "measured": laws.drift(seen["balance"]),
        "predicted": laws.drift(torch.cat([torch.zeros_like(integral[:1]), integral])),
    }


step_run = Experiment(each_kernel, GENTLE | {"experiment": exact_step, "kernels": DOTS})
flow_run = Experiment(moved, GENTLE | {"kernel": "gaussian"})
exact = partial(
    Trial,
    read=worst(kinds.largest("query-key", "value-output")),
    holds=Below(1e-12),
    undefined=math.inf,
    kind="one-step",
)

CLAIMS = (
    claim(
        "proof-imbalance",
        "The Gaussian moves the balance, and this fast",
        r"Under $e^{-\tau\zeta|q - k|^2}$ with $\tau = 1/\sqrt k$ the flow obeys $\frac{d}{dt}(W_Q^\top W_Q - W_K^\top "
        r"W_K) = 4\tau\zeta\sum_{ij}G_{ij}(q_iq_i^\top - k_jk_j^\top)$, with $G_{ij}$ the slope of the loss by the score "
        r"of query $i$ and key $j$, summed over samples.",
        kinds.proof(theory.imbalance_law_holds, kernel="gaussian"),
        Control("softmax, whose balance does not move", {"kernel": "softmax"}),
    ),
    claim(
        "proof-imbalance-keys",
        "Normalised rows leave the keys alone to move it",
        r"Under the normalised Gaussian every row of $G$ sums to zero, and $\frac{d}{dt}(W_Q^\top W_Q - W_K^\top W_K) = "
        r"-4\tau\zeta\sum_{ij}G_{ij}k_jk_j^\top$.",
        kinds.proof(theory.imbalance_law_holds, kernel="normalised_gaussian", queries=False),
        Control("rows that are not normalised", {"kernel": "gaussian"}),
    ),
    claim(
        "one-step",
        "One step of descent under dot products, exactly",
        r"Under softmax and $e^{\beta q\cdot k}$ both balances of both heads change by $\eta^2(G_A^\top G_A - G_B^\top "
        r"G_B)$ at every step, here $\eta = 0.02$: the largest residual.",
        exact(step_run),
        Control("momentum 0.9", {"method": Momentum(0.9)}),
        provenance="derived here from a known theorem",
        cite=("du2018balanced", "arora2018optimization"),
    ),
    claim(
        "one-step-distance",
        "One step of descent under distances, exactly",
        r"Under both Gaussians the same holds once $\eta$ times the rate of the imbalance law is added for queries and keys.",
        exact(step_run.but(kernels=DISTANCES)),
        Control("the term of the queries left out of the rate", {"queries": False}),
    ),
    claim(
        "imbalance",
        "How far the flow of the Gaussian carries its balance",
        r"The largest change of an entry of $W_Q^\top W_Q - W_K^\top W_K$ until $t = 1$ is the largest entry of the "
        r"integral of the law along the same path, up to what steps of 0.005 leave to a method of order 2.",
        Trial(flow_run, itemgetter("measured"), Near(rel=0.01), predict=itemgetter("predicted")),
        Control("momentum 0.9, whose path is not the flow", {"method": Momentum(0.9)}),
    ),
)
