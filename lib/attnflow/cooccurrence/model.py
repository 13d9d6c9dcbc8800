r"""The Transformer of chapter 2: four trained matrices and fixed signs, read at all queries, with a logistic loss.

$F(X) = \mathbf 1^\top S X W_V W_O \xi$ with $S = \mathrm{softmax}(X W_Q W_K^\top X^\top/\sqrt k)$ row by row, and
$\mathcal L = \frac1n\sum_i \log(1 + e^{-y_i F_i})$. $W_Q, W_K, W_V$ are (d, k), $W_O$ is (k, o), the signs $\xi$ are +-1;
the paper's m, $m_1$, W, a are k, o, $W_O^\top$, $\xi$, and its other weights are transposed. The output weights enter
through the *readout* $\omega = W_O\xi$ alone, and $\xi^\top\xi = o$, so $(\omega, W_V, W_K, W_Q)$ with
$\dot\omega = o\,W_V^\top z$ is closed: the fast model. Source: Yang, Kailkhura, Wang, Liang 2024, section 2 and appendix B;
the reduction is derived in chapter 2.
"""

import math

import torch
from torch.nn.functional import softplus

from attnflow import runs

BLOCK = 4  # runs whose gathered rows fit the cache of one core: a stack of 32 in one piece takes longer a run


def init(generators, words, width, neurons, inner, outer, law="normal"):
    r"""Weights of the full model.

    $W_Q, W_K, W_V$ (S, d, k) with standard deviation ``inner``, $W_O$ (S, k, o) with ``outer``, ``signs`` (S, o) of +-1.
    law: ``normal``, or ``uniform`` of the same standard deviation. Raises ValueError on wrong input.
    """
    for name, value in {"words": words, "width": width, "neurons": neurons}.items():
        runs.integer(name, value)
    runs.number("inner", inner, least=0)
    runs.number("outer", outer, above=0)
    runs.choice("law", law, ("normal", "uniform"))

    def weights(rows, columns, std):
        if law == "normal":
            return runs.normal(generators, rows, columns, std=std)
        drawn = [torch.rand(rows, columns, generator=g, dtype=runs.DTYPE) for g in generators]
        return math.sqrt(12) * std * (torch.stack(drawn) - 0.5)

    state = {name: weights(words, width, inner) for name in ("W_Q", "W_K", "W_V")}
    state["W_O"] = weights(width, neurons, outer)
    state["signs"] = torch.stack([2.0 * torch.randint(2, (neurons,), generator=g) - 1 for g in generators])
    return state | {"signs": state["signs"].to(runs.DTYPE)}


def reduce(state):
    r"""The exact reduction: $W_O$ and the signs are replaced by ``readout`` $\omega = W_O\xi$, (S, k)."""
    rest = {name: state[name] for name in ("W_Q", "W_K", "W_V")}
    return rest | {"readout": readout(state)}


def readout(state):
    r"""$\omega = W_O\xi$ of a full or a reduced state: (S, k)."""
    return state["readout"] if "readout" in state else (state["W_O"] @ state["signs"][:, :, None])[..., 0]


def token_scores(state):
    r"""$\gamma = W_V\,\omega$, what one word adds to the output under uniform attention: (S, d). The paper's G."""
    return (state["W_V"] @ readout(state)[:, :, None])[..., 0]


def rows(matrix, flat, shape):
    """Gather the rows of a (S, d, k) matrix that belong to the words of every sample: (S, n, L, k)."""
    return matrix.reshape(-1, matrix.shape[-1]).index_select(0, flat).view(*shape, matrix.shape[-1])


def address(tokens, words):
    """Word numbers as rows of a (S d, k) matrix, flat: (S n L,)."""
    runs.tensor("tokens", tokens, (None, None, None))
    inside = tokens.dtype == torch.long and bool((tokens >= 0).all() and (tokens < words).all())
    runs.check("tokens", str(tokens.dtype), f"word numbers (torch.long) from 0 to {words - 1}", inside)
    return (tokens + words * torch.arange(len(tokens), device=tokens.device)[:, None, None]).reshape(-1)


def look(state, flat, shape):
    """Everything the gradient needs from a forward pass.

    Returns queries and keys (S, n, L, k), weights (L, S, n, L) with the key axis first, values (S, n, L) and the output
    of every query (S, n, L), whose sum is F.
    """
    queries, keys = rows(state["W_Q"], flat, shape), rows(state["W_K"], flat, shape)
    logits = queries @ keys.mT / math.sqrt(queries.shape[-1])
    # The softmax of torch is ten times faster over a short first axis than over a short last one.
    weights = torch.softmax(logits.permute(3, 0, 1, 2).contiguous(), dim=0)
    values = token_scores(state).reshape(-1).index_select(0, flat).view(shape)
    mixed = (weights * values.permute(2, 0, 1)[..., None]).sum(dim=0)
    return queries, keys, weights, values, mixed


def forward(state, tokens):
    """The output F of every sample, (S, n). tokens: (S, n, L), word numbers."""
    words = state["W_V"].shape[1]
    return look(state, address(tokens, words), tokens.shape)[4].sum(dim=2)


def attention(state, tokens):
    """Attention matrices, row = query: (S, n, L, L)."""
    words = state["W_V"].shape[1]
    return look(state, address(tokens, words), tokens.shape)[2].permute(1, 2, 3, 0)


def field(tokens, labels, words, neurons, frozen=False, trained_signs=False):
    r"""The gradient field of the loss, for full and reduced states, by gathers and scatters. For ``flow.integrate``.

    With the pull $z = -G_\gamma = \frac1n\sum_i y_ig_i X_i^\top S_i^\top\mathbf 1$ (d,) on the token scores the flow is
    $\dot W_V = z\,\omega^\top$, $\dot W_O = W_V^\top z\,\xi^\top$, $\dot W_Q = -G_\Phi W_K$, $\dot W_K = -G_\Phi^\top W_Q$, with
    $G_\Phi = \sum_i X_i^\top G_{Z_i} X_i/\sqrt k$ and $-(G_Z)_{lj} = \frac1n yg\,S_{lj}(\gamma_j - \sum_m S_{lm}\gamma_m)$.

    tokens: (S, n, L); labels: (S, n). frozen: $W_Q, W_K$ stay; trained_signs: the signs are trained too, which breaks the
    reduction. Raises ValueError on wrong input.
    """
    runs.integer("words", words)
    runs.integer("neurons", neurons)
    flat, shape = address(tokens, words), tuple(tokens.shape)
    runs.tensor("labels", labels, shape[:2])
    stack, samples = shape[:2]
    if stack > BLOCK and tokens.device.type == "cpu":
        options = (words, neurons, frozen, trained_signs)
        pairs = zip(tokens.split(BLOCK), labels.split(BLOCK), strict=True)
        return in_blocks([field(*pair, *options) for pair in pairs])

    def scatter(values):
        flat_values = values.reshape(len(flat), -1)
        empty = flat_values.new_zeros(stack * words, flat_values.shape[1])
        return empty.index_add_(0, flat, flat_values).view(stack, words, -1)

    def gradient(state):
        omega = readout(state)
        queries, keys, weights, values, mixed = look(state, flat, shape)
        margins = labels * mixed.sum(dim=2)
        force = labels * torch.sigmoid(-margins) / samples
        pull = scatter((force * weights.sum(dim=3)).permute(1, 2, 0).contiguous())  # z, (S, d, 1)
        found = {"W_V": -pull * omega[:, None, :]}
        if frozen:
            found |= {name: torch.zeros_like(state[name]) for name in ("W_Q", "W_K")}
        else:
            above = (values.permute(2, 0, 1)[..., None] - mixed) * (force / math.sqrt(queries.shape[-1]))[..., None]
            slope = (weights * above).permute(1, 2, 3, 0).contiguous()
            found |= {"W_Q": -scatter(slope @ keys), "W_K": -scatter(slope.mT @ queries)}
        column = state["W_V"].mT @ pull  # (S, k, 1)
        if "readout" in state:
            found["readout"] = -neurons * column[..., 0]
        else:
            found["W_O"] = -column * state["signs"][:, None, :]
            taught = -(state["W_O"].mT @ column)[..., 0]
            found["signs"] = taught if trained_signs else torch.zeros_like(taught)
        return softplus(-margins).mean(dim=1), found

    return gradient


def in_blocks(fields):
    """One field for a stack out of fields for its blocks of ``BLOCK`` runs."""

    def gradient(state):
        split = {name: value.split(BLOCK) for name, value in state.items()}
        parts = [part({name: split[name][place] for name in state}) for place, part in enumerate(fields)]
        losses, slopes = zip(*parts, strict=True)
        return torch.cat(losses), {name: torch.cat([slope[name] for slope in slopes]) for name in slopes[0]}

    return gradient


def pace(tokens, words, neurons):
    r"""A speed for ``flow.integrate``: about the largest rate at which the flow moves the margins.

    $(|\omega|^2 + o\sum_w f_w^2 |e_w^\top W_V|^2)\,(1 - e^{-\mathcal L})$ with $f_w$ the mean count of word w in a sample;
    the last factor bounds the mean loss derivative by Jensen. One unit of this clock shrinks the loss by a like factor
    at every size of the loss.
    """
    stack, samples, _ = tokens.shape
    share = tokens.new_zeros(stack * words, dtype=runs.DTYPE)
    share.index_add_(0, address(tokens, words), torch.ones_like(tokens, dtype=runs.DTYPE).reshape(-1))
    share = (share.view(stack, words) / samples).square()

    def speed(state, loss, gradient):
        inner = (share * state["W_V"].square().sum(dim=2)).sum(dim=1)
        return (readout(state).square().sum(dim=1) + neurons * inner) * -torch.expm1(-loss)

    return speed
