r"""Chapter 4, only W_Q trained: when queries are free, when keys are the same, and when the target is out of reach.

With $q_i = x_iW_Q$ and $g_i = \partial\mathcal L/\partial q_i$ a step of descent on $W_Q$ moves every query by
$-\eta\sum_j\langle x_i, x_j\rangle g_j$. Orthonormal tokens make it the descent of each query alone.
"""

import torch

from attnflow import door, flow, runs
from attnflow.claims import Below, Between, Control, Experiment, Trial
from attnflow.kernels import model, task
from attnflow.kernels.setting import claim, drawn

QUERIES = ("W_Q",)


@door.takes(keys="S n L k", values="S n L o", wanted="S n L o", layer=door.instance(model.Layer, k="k"))
def free_field(keys: torch.Tensor, values: torch.Tensor, wanted: torch.Tensor, layer: model.Layer) -> flow.fields.Field:
    r"""The field of free queries: $\frac1{2nL}\sum_i|\sum_jS_{ij}v_j - y_i|^2$ by the queries, with keys and values given.

    keys: (S, n, L, k); values: (S, n, L, o); wanted: y, of the same shape; layer: gives the kernel and its scale. The state is
    ``q``, (S, n, L, k).
    """
    count, scale = keys.shape[1] * keys.shape[2], 1 / layer.k**0.5

    def gradient(state):
        weights = layer.weights(state["q"], keys)
        error = (weights @ values - wanted) / count
        slope = layer.similarity.slopes(state["q"], keys, weights, error @ values.mT, scale)[0]
        return error.square().sum(dim=(1, 2, 3)) * count / 2, {"q": slope}

    return gradient


def apart(
    seeds: tuple, device: torch.device, data: str = "orthonormal", step: float = 0.5, steps: int = 200, **settings
) -> torch.Tensor:
    r"""How far the queries of descent on $W_Q$ are from those of descent on free queries, relative, the largest on the way: (S,).

    seeds, device, data, settings: of ``setting.drawn``, of one head; step: $\eta$, taken ``steps`` times.
    """
    layer, inputs, wanted, state = drawn(seeds, device, data=data, **settings)
    keys = inputs @ state["W_K"][:, :1]
    values = inputs @ (state["W_V"] @ state["W_O"])[:, :1]
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device="cpu")
    trained = flow.integrate(
        model.field(inputs, wanted, layer, QUERIES),
        state,
        step=step,
        times=times,
        observe=lambda now: {"q": inputs @ now["W_Q"][:, :1]},
    ).values["q"]
    start = {"q": inputs @ state["W_Q"][:, :1]}
    alone = flow.integrate(free_field(keys, values, wanted, layer), start, step=step, times=times, observe=dict).values[
        "q"
    ]
    moved = (alone - alone[:1]).flatten(2).norm(dim=2)
    return ((trained - alone).flatten(2).norm(dim=2) / moved.amax(dim=0)).amax(dim=0)


def gram_step(seeds: tuple, device: torch.device, gram: bool = True, step: float = 0.1, **settings) -> torch.Tensor:
    r"""Residual of $\Delta q_i = -\eta\sum_j\langle x_i, x_j\rangle g_j$ in one step of descent on $W_Q$, relative: (S,).

    seeds, device, settings: of ``setting.drawn``, of one head; gram: whether the products of tokens stand in it, or the slope of
    each query alone; step: $\eta$.
    """
    layer, inputs, wanted, state = drawn(seeds, device, **settings)
    keys, values = inputs @ state["W_K"][:, :1], inputs @ (state["W_V"] @ state["W_O"])[:, :1]
    slopes = free_field(keys, values, wanted, layer)({"q": inputs @ state["W_Q"][:, :1]})[1]["q"]
    flat, tokens = slopes.flatten(1, 2), inputs.flatten(1, 2)
    predicted = -step * (tokens @ tokens.mT @ flat if runs.choice("gram", gram, (False, True)) else flat)
    new = flow.integrate(model.field(inputs, wanted, layer, QUERIES), state, step=step, times=[step]).state
    moved = tokens @ (new["W_Q"] - state["W_Q"])[:, 0]
    return (moved - predicted).flatten(1).norm(dim=1) / moved.flatten(1).norm(dim=1)


def same_keys(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    variation: float = 0.0,
    step: float = 1.0,
    steps: int = 1500,
    **settings,
) -> dict:
    r"""Descent on $W_Q$ where all keys of a run are the same, and a target that some length of its output meets.

    $W_K$ reads the feature that all tokens share and nothing else, so that every key is the row of $W_K$ for it; targets are the
    output of uniform attention to L values, between 0.2 and 0.8 of their sum. seeds, device, settings: of ``setting.drawn``, with
    tokens that share a feature and are otherwise independent; kernel: of the layer; variation: of the keys, the size of the rest
    of $W_K$; step, steps: of descent. Returns, (S,) each: ``slope``, the size of the gradient at the start over what its terms
    would be without cancelling; ``left``, the loss at the end over that at the start.
    """
    sizes = {"samples": 1, "length": 4, "d": 8, "o": 1} | settings
    layer, inputs, _, state = drawn(seeds, device, data="common", kernel=kernel, **sizes)
    state["W_K"][:, :, :-1] *= variation
    values = inputs @ (state["W_V"] @ state["W_O"])[:, 0][:, None]
    shape = (inputs.shape[1], inputs.shape[2], 1)
    parts = torch.stack([torch.rand(shape, generator=one, dtype=runs.DTYPE) for one in runs.streams(seeds, "parts")])
    wanted = (0.2 + 0.6 * parts.to(inputs.device)) * values.sum(dim=2, keepdim=True)
    field = model.field(inputs, wanted, layer, QUERIES)
    loss, slopes = field(state)
    weights = model.attention(state, inputs, layer)[:, 0]
    error = (weights @ values - wanted) / wanted[0].numel()
    terms = (inputs.mT.abs() @ ((weights * (error @ values.mT).abs()) @ (inputs @ state["W_K"][:, :1]).abs())).norm(
        dim=(2, 3)
    )
    scale = step / values.sum(dim=2).square().amax(dim=(1, 2))
    end = flow.integrate(field, state, step=scale, times=(scale * steps)[None]).end_loss
    return {"slope": slopes["W_Q"].flatten(1).norm(dim=1) / terms.norm(dim=1), "left": end / loss}


def out_of_reach(
    seeds: tuple,
    device: torch.device,
    kernel: str = "softmax",
    factor: float = 1.5,
    step: float = 1.0,
    steps: int = 6000,
    tokens: int = 6,
) -> torch.Tensor:
    r"""Loss of descent on free queries over the least loss of softmax, where targets lie above every value: (S,).

    Softmax mixes positive values $v_j$ of a run, so $o < \max_jv_j$, and $\frac12(y - \max_jv_j)^2$ is the least loss; it is
    approached where the query goes to infinity. seeds, device: of the runs; kernel: of the layer; factor: y over the largest
    value; step: $\eta$, of each query, taken ``steps`` times; tokens: L, the orthonormal keys of a run, and its queries.
    """
    layer = model.Layer(kernel=kernel, k=tokens, o=1)
    keys = task.tokens(runs.streams(seeds, "keys"), 1, tokens, tokens, "orthonormal")
    drawn_values = [torch.rand(1, tokens, 1, generator=one, dtype=runs.DTYPE) for one in runs.streams(seeds, "values")]
    values = 0.2 + 0.8 * torch.stack(drawn_values)
    largest = values.amax(dim=2, keepdim=True)
    start = task.targets(runs.streams(seeds, "queries"), 1, tokens, tokens)
    keys, values, wanted, start = (
        each.to(device) for each in (keys, values, (factor * largest).expand_as(values), start)
    )
    field, size = free_field(keys, values, wanted, layer), step * tokens
    end = flow.integrate(field, {"q": start}, step=size, times=[size * steps]).end_loss
    return end / (((factor - 1) * largest.to(device)[:, 0, 0, 0]).square() / 2)


ROUNDING = Below(1e-13)
same_run = Experiment(same_keys, {"kernel": "softmax"})
reach_run = Experiment(out_of_reach, {"kernel": "softmax"})

CLAIMS = (
    claim(
        "free-step",
        "How a step on $W_Q$ moves the queries",
        r"Descent on $W_Q$ alone moves query i by $-\eta\sum_j\langle x_i, x_j\rangle\,\partial\mathcal L/\partial q_j$, "
        "exactly: largest part of the step that this leaves.",
        Trial(Experiment(gram_step, {"gram": True}), lambda record: record, ROUNDING, kind="one-step"),
        Control("the products of tokens left out", {"gram": False}),
    ),
    claim(
        "free-queries",
        "Orthonormal tokens set the queries free",
        r"Where all tokens of a run are orthonormal, 200 steps of descent on $W_Q$ are descent on each query alone, as a "
        "vector of its own: largest distance on the way, over how far they move.",
        Trial(
            Experiment(apart, {"data": "orthonormal", "d": 16, "o": 1, "k": 2}),
            lambda record: record,
            Below(1e-12),
            kind="one-step",
        ),
        Control("Gaussian tokens", {"data": "gaussian"}),
    ),
    claim(
        "same-keys",
        "Where keys are the same, softmax learns nothing from queries",
        r"With one key for all tokens of a sample $\partial\mathcal L/\partial W_Q = 0$ for every $W_Q$, since weights that "
        "sum to one stay uniform: its size over that of its terms.",
        Trial(same_run, lambda record: record["slope"], ROUNDING),
        Control("un-normalised dot products", {"kernel": "exp"}),
    ),
    claim(
        "same-keys-normalised",
        "Nor does the Gaussian, once its rows sum to one",
        r"The same for the row-normalised Gaussian: the cause is the normalisation, not the dot product.",
        Trial(same_run.but(kernel="normalised_gaussian"), lambda record: record["slope"], ROUNDING),
        Control("keys that differ by a tenth", {"variation": 0.1}),
    ),
    claim(
        "same-keys-gaussian",
        "The Gaussian then turns one knob, and reaches what it can",
        r"With one key for all, the Gaussian's output is $e^{-\zeta|q - k|^2/\sqrt k}\sum_jv_j$. Targets between 0.2 and 0.8 of "
        r"$\sum_jv_j$ are met by descent on $W_Q$: loss at the end over that at the start, in at least nine of ten seeds. Others "
        "begin where the Gaussian is nearly zero, and are slow.",
        Trial(
            same_run.but(kernel="gaussian"), lambda record: record["left"].clamp_min(1e-12), Below(1e-10), quota=(9, 10)
        ),
        Control("rows that sum to one", {"kernel": "normalised_gaussian"}),
    ),
    claim(
        "out-of-reach",
        "A target out of reach is no trap",
        r"Softmax mixes values, so $o < \max_jv_j$: for targets half as far again above it, descent ends just above the exact "
        r"bound $\frac12(y - \max_jv_j)^2$. What is left is what the layer cannot express: loss over that bound.",
        Trial(reach_run, lambda record: record.clamp_min(1e-12), Between(0.9, 1.2)),
        Control("the Gaussian, which adds values up", {"kernel": "gaussian"}),
    ),
)
