r"""Handwritten digits as eight row tokens: is the Gaussian faster, and how much of that is the scale of its output?

At the start the entries of queries and keys are independent $N(0, \sigma^2)$, so $|q - k|^2$ is $2\sigma^2\chi^2_k$ and a row
of Gaussian attention sums to $L(1 + 4\zeta\sigma^2/\sqrt k)^{-k/2}$ in the mean, where a row of softmax sums to 1.
"""

import math

import torch

from attnflow import data, door, flow, runs, vit
from attnflow.kernels import minibatches

SIDE = 8  # rows of a digit, and pixels of a row
TORCH = 1 / math.sqrt(3)  # entries of queries and keys where weights have the variance 1/(3 rows), torch's default
RATES = tuple(10 ** (-2 + 2.5 * place / 11) for place in range(12))  # one grid for all variants
VARIANTS = ("softmax", "rescaled softmax", "gaussian", "rescaled gaussian", "normalised gaussian")


@door.takes(length=door.COUNT, k=door.COUNT, c=door.POSITIVE, inner=door.NONNEGATIVE)
def row_sum(length: int, k: int, c: float, inner: float = 1.0) -> float:
    r"""The mean row sum of Gaussian attention at the start, $L(1 + 4\zeta\sigma^2/\sqrt k)^{-k/2}$.

    length: tokens L; k: width of a head; c: the sharpness $\zeta$; inner: $\sigma$, the size of an entry of queries and keys.

    >>> round(row_sum(8, 16, 0.5), 4)
    0.3121
    """
    return length * (1 + 4 * c * inner**2 / math.sqrt(k)) ** (-k / 2)


@door.takes(variant=door.choice(*VARIANTS), c=door.POSITIVE, inner=door.NONNEGATIVE, power=door.NUMBER)
def network(variant: str, c: float = 0.5, inner: float = 1.0, power: float = 1.0, **settings) -> vit.Transformer:
    r"""A vision Transformer on eight row tokens, of a ``variant`` among ``VARIANTS``.

    The softmax has the inverse temperature $2\zeta$ that matches the sharpness ``c``. A ``rescaled`` softmax is multiplied by
    the mean row sum of the Gaussian at the start, a rescaled Gaussian divided by it; the row sum is taken to a ``power``.
    inner: size of queries and keys at the start; settings: of :class:`attnflow.vit.Transformer`.
    """
    runs.choice("variant", variant, VARIANTS)
    shapes = {"tokens": SIDE, "size": SIDE, "width": 32, "heads": 2, "depth": 1} | settings
    scale = row_sum(shapes["tokens"], shapes["width"] // shapes["heads"], c, inner) ** power
    gain = {"rescaled softmax": scale, "rescaled gaussian": 1 / scale}.get(variant, 1.0)
    kernel = variant.removeprefix("rescaled ").replace(" ", "_")
    return vit.Transformer(attention=kernel, c=c, beta=2 * c, gain=gain, **shapes)


@door.takes(net=vit.Transformer, inner=door.NONNEGATIVE)
def start(generators: list, net: vit.Transformer, inner: float = 1.0) -> runs.State:
    """Weights of a ``net``, of which those of queries and keys are ``inner`` times as large. generators: one a run."""
    state = vit.init(generators, net)
    return {name: value * (inner if name[:3] in ("W_Q", "W_K") else 1.0) for name, value in state.items()}


@door.takes(count=door.COUNT)
def rows(generators: list, count: int) -> tuple[runs.Stack, torch.Tensor]:
    """A fresh choice of ``count`` digits as rows of pixels, (S, count, 8, 8), and labels, (S, count). generators: one a run."""
    pixels, labels = data.subsets(generators, count, patch=1)
    return pixels.unflatten(2, (SIDE, SIDE))[..., 0], labels


def sums(seeds: tuple, device: torch.device, copies: int = 64, shared: bool = False, **settings) -> dict:
    """Row sums of Gaussian attention at the start, as a mean over the draws of one seed.

    seeds, device: of the runs; copies: draws of weights and digits a seed; shared: whether keys have the matrix of the queries;
    settings: of :func:`network`. Returns ``sum`` and ``predicted``, (S,).
    """
    net, inner = network("gaussian", **settings), settings.get("inner", 1.0)
    many = runs.replicas(seeds, copies)
    state = start(runs.streams(many, "weights"), net, inner)
    if runs.choice("shared", shared, (False, True)):
        state["W_K0"] = state["W_Q0"]
    inputs = rows(runs.streams(many, "data"), 4)[0].to(device)
    with torch.no_grad():
        vit.forward(runs.to(state, device), inputs, net, seen := [])
    found = seen[0].sum(dim=-1).flatten(1).mean(dim=1).unflatten(0, (-1, copies)).mean(dim=1)
    known = row_sum(net.tokens, net.width // net.heads, net.c, inner)
    return {"sum": found, "predicted": torch.full_like(found, known)}


def descent(
    seeds: tuple,
    device: torch.device,
    variant: str = "softmax",
    rates: tuple = (0.1,),
    steps: int = 120,
    size: int = 16,
    train: int = 480,
    test: int = 0,
    inner: float = 1.0,
    **settings,
) -> dict:
    """Descent on small batches of digits, for several learning ``rates`` at once.

    seeds, device: of the runs; variant, inner, settings: of :func:`network`; steps: how many, one batch of a ``size`` each;
    train, test: how many digits. Seeds are paired: every variant and rate has the same weights and batches. Returns ``loss``,
    that of the batch of each step (K, R, S); ``mean``, its mean over the steps (R, S), infinite where a run diverged;
    ``accuracy`` at the end on the test digits (R, S), where there are any.
    """
    net, copies = network(variant, inner=inner, **settings), len(rates)
    drawn = rows(runs.streams(seeds, "data"), train + test)
    tokens, labels = (each.to(device).repeat(copies, *[1] * (each.ndim - 1)) for each in drawn)
    state = runs.to(start(runs.streams(seeds, "weights"), net, inner), device)
    state = {name: value.repeat(copies, 1, 1) for name, value in state.items()}
    step = torch.tensor(rates, dtype=runs.DTYPE, device=device).repeat_interleave(len(seeds))
    loss = minibatches.cross_entropy(lambda now, inputs: vit.forward(now, inputs, net))
    field = minibatches.batched(loss, tokens[:, :train], labels[:, :train], size, step)
    times = torch.arange(steps, dtype=runs.DTYPE, device=device)[:, None] * step
    record = flow.integrate(field, minibatches.started(state), step=step, times=times)
    shape = (copies, len(seeds))
    mean = torch.where(record.diverged, torch.inf, record.loss.mean(dim=0))
    found = {"loss": record.loss.unflatten(1, shape), "mean": mean.unflatten(0, shape)}
    if test:
        right = vit.accuracy(record.state, tokens[:, train:], labels[:, train:], net)
        found["accuracy"] = right.unflatten(0, shape)
    return found


def compared(seeds: tuple, device: torch.device, rate: float = 0.1, **settings) -> dict:
    """Softmax, rescaled softmax and Gaussian at one learning ``rate`` for all: name -> mean loss over the steps, (S,).

    seeds, device, settings: of :func:`descent`.
    """
    return {name: descent(seeds, device, name, rates=(rate,), **settings)["mean"][0] for name in VARIANTS[:3]}


@door.takes(softmax="S", rescaled="S", gaussian="S")
def closed(softmax: runs.Stack, rescaled: runs.Stack, gaussian: runs.Stack) -> runs.Stack:
    """What part of the way from ``softmax`` to ``gaussian`` the ``rescaled`` softmax goes, in their mean losses, (S,) each.

    Infinite or NaN where there is no way to go.
    """
    return (softmax - rescaled) / (softmax - gaussian)


@door.takes(softmax="S", rescaled="S", gaussian="S", draws=door.COUNT)
def bootstrap(softmax: runs.Stack, rescaled: runs.Stack, gaussian: runs.Stack, draws: int = 4000) -> tuple[float, ...]:
    """That part for the means over seeds, and its 95 % interval over ``draws`` of as many paired seeds: (part, low, high).

    softmax, rescaled, gaussian: mean losses, (S,) each.
    """
    chosen = torch.randint(
        len(softmax), (draws, len(softmax)), generator=runs.streams([0], "bootstrap")[0], device="cpu"
    )
    losses = [torch.as_tensor(each, dtype=runs.DTYPE, device="cpu") for each in (softmax, rescaled, gaussian)]
    many = closed(*(each[chosen].mean(dim=1) for each in losses))
    ends = torch.quantile(many, torch.tensor([0.025, 0.975], dtype=many.dtype, device="cpu"))
    return float(closed(*(each.mean() for each in losses))), *runs.array(ends).tolist()


def tuned(
    device: torch.device,
    variant: str,
    scale: float,
    c: float,
    tuning: int = 5,
    seeds: int = 10,
    rates: tuple = RATES,
    **settings,
) -> dict:
    """One variant at the best of ``rates``, chosen on seeds 0, 1, ..., as many as ``tuning``, and run on ``seeds`` others.

    device, variant, c, settings: of :func:`descent`; scale: its ``inner``. The best rate has the least mean loss over the
    steps, where a run that diverged counts as infinite. Returns ``tuning`` (R, tuning), the mean losses of the choice; ``rate``,
    the choice; ``loss`` (K, seeds), ``mean`` (seeds,) and ``accuracy`` (seeds,) of seeds 100, 101, ... there.
    """
    first = descent(tuple(range(tuning)), device, variant, rates, inner=scale, c=c, **settings | {"test": 0})["mean"]
    best = rates[int(first.mean(dim=1).argmin())]
    found = descent(tuple(range(100, 100 + seeds)), device, variant, (best,), inner=scale, c=c, **settings)
    return {"tuning": first, "rate": torch.tensor(best, dtype=runs.DTYPE, device="cpu")} | {
        "loss": found["loss"][:, 0],
        "mean": found["mean"][0],
        "accuracy": found["accuracy"][0],
    }
