r"""The Transformer of chapter 2: four trained matrices and fixed signs, read at all queries, with a logistic loss.

$F(X) = \mathbf 1^\top S X W_V W_O \xi$ with $S = \mathrm{softmax}(X W_Q W_K^\top X^\top/\sqrt k)$ row by row, and
$\mathcal L = \frac1n\sum_i \log(1 + e^{-y_i F_i})$. $W_Q, W_K, W_V$ are (d, k), $W_O$ is (k, o), the signs $\xi$ are +-1;
the paper's m, $m_1$, W, a are k, o, $W_O^\top$, $\xi$, and its other weights are transposed. The output weights enter
through the *readout* $\omega = W_O\xi$ alone, and $\xi^\top\xi = o$, so $(\omega, W_V, W_K, W_Q)$ with
$\dot\omega = o\,W_V^\top z$ is closed: the fast model. Source: Yang, Kailkhura, Wang, Liang 2024, section 2 and appendix B;
the reduction is derived in chapter 2.
"""

import math
from collections.abc import Callable

import torch
from torch.nn.functional import softplus

from attnflow import door, flow, runs
from attnflow.cooccurrence import task
from attnflow.runs import Stack, State

BLOCK = 4  # runs whose gathered rows fit the cache of one core: a stack of 32 in one piece takes longer a run


VALUES = {"W_V": "S d k"}
SCORES = {"W_Q": "S d k", "W_K": "S d k"}
OUTER, READOUT = {"W_O": "S k o", "signs": "S o"}, {"readout": "S k"}
FULL = SCORES | VALUES | OUTER
TRAINED = door.either(SCORES | VALUES | READOUT, FULL)


def _places(name, value, sizes):
    """A kind: the shape (S, n, L) of tokens, of as many places as there are addresses."""
    door.together(door.whole(1, "S"), door.COUNT, door.COUNT)(name, value, sizes)
    runs.check(name, value, f"the shape of {sizes['N']} tokens", math.prod(value) == sizes["N"])


def _rows(name, value, sizes):
    """A kind: addresses, which are rows of a (S d, k) matrix, or of one of R rows."""
    door.shaped("int: N")(name, value, sizes)
    last = (sizes["R"] if "R" in sizes else sizes["S"] * sizes["d"]) - 1
    inside = bool((value >= 0).all() and (value <= last).all())
    runs.check(name, f"numbers from {int(value.min())} to {int(value.max())}", f"from 0 to {last}", inside)


@door.takes(
    words=door.COUNT,
    width=door.COUNT,
    neurons=door.COUNT,
    inner=door.NONNEGATIVE,
    outer=door.POSITIVE,
    law=door.choice("normal", "uniform"),
)
def init(
    generators: list, words: int, width: int, neurons: int, inner: float, outer: float, law: str = "normal"
) -> State:
    r"""Weights of the full model, drawn from ``generators``, one a run, for d words, width k and o neurons.

    $W_Q, W_K, W_V$ (S, d, k) with standard deviation ``inner``, $W_O$ (S, k, o) with ``outer``, ``signs`` (S, o) of +-1.
    law: ``normal``, or ``uniform`` of the same standard deviation. Raises WrongUse on wrong input.
    """
    runs.number("inner", inner, least=0)
    runs.number("outer", outer, above=0)
    runs.choice("law", law, ("normal", "uniform"))

    def weights(rows, columns, std):
        if law == "normal":
            return runs.normal(generators, rows, columns, std=std)
        drawn = [torch.rand(rows, columns, generator=one, dtype=runs.DTYPE, device="cpu") for one in generators]
        return math.sqrt(12) * std * (torch.stack(drawn) - 0.5)

    sizes = dict.fromkeys(("W_Q", "W_K", "W_V"), (words, width, inner)) | {"W_O": (width, neurons, outer)}
    state = {name: weights(*size) for name, size in sizes.items()}
    coins = torch.stack([torch.randint(2, (neurons,), generator=one, device="cpu") for one in generators])
    return state | {"signs": 2 * coins.to(runs.DTYPE) - 1}


@door.takes(state=FULL)
def reduce(state: State) -> State:
    r"""The exact reduction of a full ``state``: $W_O$ and the signs are replaced by ``readout`` $\omega = W_O\xi$, (S, k)."""
    return {name: state[name] for name in ("W_Q", "W_K", "W_V")} | {"readout": readout(state)}


@door.takes(state=door.either(READOUT, OUTER))
def readout(state: State) -> torch.Tensor:
    r"""$\omega = W_O\xi$ of a full or a reduced ``state``: (S, k)."""
    return state["readout"] if "readout" in state else (state["W_O"] @ state["signs"][:, :, None])[..., 0]


@door.takes(state=door.either(VALUES | READOUT, VALUES | OUTER))
def token_scores(state: State) -> torch.Tensor:
    r"""$\gamma = W_V\,\omega$ of a ``state``, what a word adds to the output under uniform attention: (S, d). The paper's G."""
    return (state["W_V"] @ readout(state)[:, :, None])[..., 0]


@door.takes(tokens=task.TOKENS, words=door.COUNT)
def address(tokens: torch.Tensor, words: int) -> torch.Tensor:
    """Word numbers, ``tokens`` (S, n, L) of d ``words``, as rows of a (S d, k) matrix, flat: (S n L,)."""
    task.checked(tokens, words)
    return (tokens + words * torch.arange(len(tokens), device=tokens.device)[:, None, None]).reshape(-1)


@door.takes(state=TRAINED, flat=_rows, shape=_places)
def look(state: State, flat: torch.Tensor, shape: tuple) -> tuple:
    """Everything that the gradient needs from a forward pass of a ``state``.

    flat: of ``address``; shape: of the tokens, (S, n, L). Returns queries and keys (S, n, L, k), weights (L, S, n, L) with
    the key axis first, values (S, n, L) and the output of every query (S, n, L), whose sum is F.
    """
    queries, keys, values = (
        matrix.reshape(-1, matrix.shape[-1]).index_select(0, flat).view(*shape, -1)
        for matrix in (state["W_Q"], state["W_K"], token_scores(state)[..., None])
    )
    logits = queries @ keys.mT / math.sqrt(queries.shape[-1])
    # The softmax of torch is ten times faster over a short first axis than over a short last one.
    weights = torch.softmax(logits.permute(3, 0, 1, 2).contiguous(), dim=0)
    mixed = (weights * values.permute(2, 0, 1, 3)).sum(dim=0)
    return queries, keys, weights, values[..., 0], mixed


@door.takes(state=TRAINED, tokens=task.TOKENS)
def forward(state: State, tokens: torch.Tensor) -> torch.Tensor:
    """The output F of a ``state`` for every sample, (S, n). tokens: (S, n, L), word numbers."""
    return look(state, address(tokens, state["W_V"].shape[1]), tokens.shape)[4].sum(dim=2)


@door.takes(rows=door.whole(1, "R"), flat=_rows, sort=door.FLAG)
def row_sums(rows: int, flat: torch.Tensor, sort: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """What adds N rows of numbers up where they belong: a function, (N, k) -> (R, k), that gives the same bits every time.

    rows: R; flat: (N,), where each goes, from 0 to R - 1; sort: sort these places once, gather the rows in that order and sum
    segments, for CUDA, where ``index_add_`` adds as its threads arrive. ``torch.segment_reduce`` has one thread an entry, which
    adds in order, in float32 and float64; a difference of running sums would cancel, and ``index_put_`` sorts anew every time.
    On a CPU ``index_add_`` adds in order as well, five times faster. Source: SegmentReduce.cu of torch; not run on a GPU yet.

    >>> each = torch.tensor([[1.0], [2.0], [4.0]])
    >>> [row_sums(3, torch.tensor([2, 0, 2]), sort)(each)[:, 0].tolist() for sort in (False, True)]
    [[2.0, 0.0, 5.0], [2.0, 0.0, 5.0]]
    """
    if not sort:
        return lambda values: values.new_zeros(rows, values.shape[1]).index_add_(0, flat, values)
    order, ends = flat.argsort(stable=True), flat.bincount(minlength=rows).cumsum(0)
    cuts = torch.cat([torch.zeros_like(ends[:1]), ends])

    def sums(values):  # unsafe: checks would make the host wait, and these cuts are right
        return torch.segment_reduce(values.index_select(0, order), "sum", offsets=cuts, unsafe=True)

    return sums


@door.takes(tokens=task.TOKENS, labels="real: S n", words=door.COUNT, neurons=door.COUNT)
def field(tokens: torch.Tensor, labels: torch.Tensor, words: int, neurons: int) -> flow.fields.Field:
    r"""The gradient field of the loss, for full and reduced states, by gathers and scatters. For ``flow.integrate``.

    With the pull $z = -G_\gamma = \frac1n\sum_i y_ig_i X_i^\top S_i^\top\mathbf 1$ (d,) on the token scores the flow is
    $\dot W_V = z\,\omega^\top$, $\dot W_O = W_V^\top z\,\xi^\top$, $\dot W_Q = -G_\Phi W_K$, $\dot W_K = -G_\Phi^\top W_Q$, with
    $G_\Phi = \sum_i X_i^\top G_{Z_i} X_i/\sqrt k$ and $-(G_Z)_{lj} = \frac1n yg\,S_{lj}(\gamma_j - \sum_m S_{lm}\gamma_m)$.

    tokens: (S, n, L); labels: (S, n), in the precision of the states; words: d; neurons: o. Of a full state all five tensors have
    their gradient, the signs too, $-W_O^\top W_V^\top z$: ``flow.at_rates`` holds what is not trained. Raises WrongUse on wrong
    input.
    """
    flat, shape = address(tokens, words), tuple(tokens.shape)
    stack, samples = shape[:2]
    kernel = _compiled(tokens, labels, words, neurons)
    if stack > BLOCK and tokens.device.type == "cpu":
        parts = zip(tokens.split(BLOCK), labels.split(BLOCK), strict=True)
        return flow.with_kernel(flow.in_blocks([field(*part, words, neurons) for part in parts], BLOCK), kernel)

    sums = row_sums(stack * words, flat, tokens.device.type == "cuda")

    def scatter(values):
        return sums(values.reshape(len(flat), -1)).view(stack, words, -1)

    def gradient(state):
        queries, keys, weights, values, mixed = look(state, flat, shape)
        margins = labels * mixed.sum(dim=2)
        force = labels * torch.sigmoid(-margins) / samples
        pull = scatter((force * weights.sum(dim=3)).permute(1, 2, 0).contiguous())  # z, (S, d, 1)
        # The slope by the logits, with the mean over the keys that the forward pass has found already.
        above = (values.permute(2, 0, 1)[..., None] - mixed) * (force / math.sqrt(queries.shape[-1]))[..., None]
        slope = (weights * above).permute(1, 2, 3, 0).contiguous()
        column = state["W_V"].mT @ pull  # (S, k, 1)
        inner = {
            "W_Q": -scatter(slope @ keys),
            "W_K": -scatter(slope.mT @ queries),
            "W_V": -pull * readout(state)[:, None],
        }
        if "readout" in state:
            outer = {"readout": -neurons * column[..., 0]}
        else:
            outer = {"W_O": -column * state["signs"][:, None], "signs": -(state["W_O"].mT @ column)[..., 0]}
        return softplus(-margins).mean(dim=1), inner | outer

    return flow.with_kernel(gradient, kernel)


def _compiled(tokens, labels, words, neurons):
    """What a compiled engine needs, made where one is asked for: a function of a state."""

    def kernel(state):
        from attnflow.cooccurrence import engine, full_engine  # here, since numba may be absent

        if "readout" in state:
            return engine.kernel(tokens, labels, words, neurons, state)
        return full_engine.kernel(tokens, labels, words, state)

    return kernel


@door.takes(tokens=task.TOKENS, words=door.COUNT, neurons=door.COUNT)
def pace(tokens: torch.Tensor, words: int, neurons: int) -> Callable[[State, Stack, State], Stack]:
    r"""A speed for ``flow.Heun``: about the largest rate at which the flow moves the margins.

    $(|\omega|^2 + o\sum_w f_w^2 |e_w^\top W_V|^2)\,(1 - e^{-\mathcal L})$ with $f_w$ the mean count of word w in a sample;
    the last factor bounds the mean loss derivative by Jensen. One unit of this clock shrinks the loss by a like factor
    at every size of the loss. tokens: (S, n, L); words: d; neurons: o.
    """
    share = task.counts(tokens, words).mean(dim=1).square()

    def speed(state, loss, gradient):
        inner = neurons * (share * state["W_V"].square().sum(dim=2)).sum(dim=1)
        return (readout(state).square().sum(dim=1) + inner) * -torch.expm1(-loss)

    def clock():
        from attnflow.cooccurrence import engine

        return engine.clock(tokens, words, neurons)

    speed.clock, speed.of_runs = clock, lambda some: pace(tokens[some], words, neurons)
    return speed
