r"""Attention alone, brought down to the one head that survives: thresholds of zero, and the branch above them.

With one head left of N = Jm, $q = W_Q/\sqrt N$, $k = W_K/\sqrt N$, $v = W_V/\sqrt N$ and $o = W_O/\sqrt N$ give the output
$f_i = o\,\langle v, r_i\rangle$ with $r_i = \sum_j\mathrm{softmax}_j(N\langle q, x_L\rangle\langle k, x_j\rangle)\,x_j$, and
the objective is the risk plus $\lambda P$ with $P = \frac12(|v|^2 + o^2 + |q|^2 + |k|^2)$: the number of heads stands in the
scores alone. Least risk on the sphere of one P is a point of the branch at $\lambda = -d\mathcal L/dP$.
"""

import numpy as np
import torch
from scipy import optimize

from attnflow import door, runs
from attnflow.meanfield import task

SLOT = 1  # the entry of the last token that is the output, 0 before the first block
GRID, LEAST = 36, 1e-3  # how many P a branch is followed through, and the least of them beside the greatest
FRESH, POOL = 2, 4  # random starts at every P, and how many local minima are followed
DRAWS, SIZES, POLISHED = 4096, (-1.0, 3.0), 6  # of pairs (q, k): how many, sizes in powers of ten, best ones refined
DIRECTIONS = 12  # random starts of the closed formula
EXACT = {"gtol": 1e-10, "ftol": 1e-15, "maxiter": 500}
GIVEN = {"tokens": door.either("n L d", "array: n L d"), "targets": door.either("n", "array: n")}


def _tokens(name, value, sizes):
    """The kind of the tokens of one data set, an array, beside which a point has 3 d + 1 entries."""
    door.shaped("array: n L d")(name, value, sizes)
    runs.check(name, value.shape, f"an array of shape (n, L, d) with d of at least {SLOT + 1}", sizes["d"] > SLOT)
    entries = 3 * sizes["d"] + 1
    runs.check(
        "point", f"{sizes.get('P', entries)} entries", f"3 d + 1 = {entries}", sizes.get("P", entries) == entries
    )


DATA = {"tokens": _tokens, "targets": "array: n"}
HEAD = {"point": "array: P"} | DATA | {"count": door.COUNT}


@door.takes(**GIVEN)
def checked(tokens: object, targets: object) -> tuple[np.ndarray, np.ndarray]:
    """One data set as arrays, X (n, L, d) and y (n,).

    tokens, targets: tensors or arrays, float64. Raises WrongUse for other shapes, entries that are not finite, or a last token
    whose entry of the output, ``SLOT``, is not 0: the formulas hold where the output of no head is 0.
    """
    tokens, targets = (torch.as_tensor(each).detach() for each in (tokens, targets))
    runs.check("tokens", tuple(tokens.shape), f"of shape (n, L, d) with d >= {SLOT + 1}", tokens.shape[2] > SLOT)
    asked = tokens[:, -1, SLOT]
    runs.check("tokens", runs.array(asked).tolist(), f"0 in entry {SLOT} of every last token", bool((asked == 0).all()))
    return runs.array(tokens), runs.array(targets)


@door.takes(**GIVEN)
def thresholds(tokens: object, targets: object) -> dict:
    r"""Where zero loses stability: by a head at $|\langle y\bar x\rangle|$, by a tanh neuron at $|\langle y(x_L, 1)\rangle|$.

    $\bar x$ is the mean token of a sample, $x_L$ its last, $\langle\cdot\rangle$ the mean over samples. tokens, targets: X
    (n, L, d) and y (n,). Returns ``attention`` and ``neurons``; the larger one is $\lambda_c$ where a block has both.
    """
    stack = (torch.from_numpy(each)[None] for each in checked(tokens, targets))
    return {name: float(pull.norm()) for name, pull in task.pulls(*stack).items()}


@door.takes(tokens="array: n L d", query="array: ... d", key="array: ... d")
def pooled(tokens: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    r"""What the last token sees, $r_i = \sum_jS_{ij}x_j$, $S_{ij}$ the softmax of $\langle q, x_L\rangle\langle k, x_j\rangle$.

    tokens: (n, L, d); query, key: q and k, (..., d), of one shape. Returns (..., n, d).
    """
    runs.check("key", key.shape, f"of the shape {query.shape} of the query", key.shape == query.shape)
    scores = (query @ tokens[:, -1].T)[..., None] * np.einsum("...d,nld->...nl", key, tokens)
    return np.einsum("...nl,nld->...nd", _softmax(scores), tokens)


def _softmax(scores):
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


@door.takes(**HEAD)
def risk(point: np.ndarray, tokens: np.ndarray, targets: np.ndarray, count: int) -> tuple[float, np.ndarray]:
    """The risk of one head of ``count`` and its gradient, by hand.

    point: (v, o, q, k) behind each other, (3 d + 1,); tokens, targets: X (n, L, d) and y (n,).
    """
    d = tokens.shape[2]
    value, out, query, key = point[:d], point[d], point[d + 1 : -d], point[-d:]
    asked, keys, values = count * (tokens[:, -1] @ query), tokens @ key, tokens @ value
    weights = _softmax(asked[:, None] * keys)
    mixed = (weights * values).sum(axis=1)
    residual = out * mixed - targets
    slope = residual / len(targets)
    by_scores = (slope * out)[:, None] * weights * (values - mixed[:, None])
    by_value = out * np.einsum("n,nl,nld->d", slope, weights, tokens)
    by_query = count * (by_scores * keys).sum(axis=1) @ tokens[:, -1]
    by_key = np.einsum("nl,nld->d", by_scores * asked[:, None], tokens)
    return residual @ residual / len(targets) / 2, np.concatenate([by_value, [slope @ mixed], by_query, by_key])


@door.takes(point="array: P", tokens=_tokens, count=door.COUNT)
def outputs(point: np.ndarray, tokens: np.ndarray, count: int) -> np.ndarray:
    """The output of one head of ``count``, (n,). point, tokens: of :func:`risk`."""
    d = tokens.shape[2]
    return point[d] * pooled(tokens, count * point[d + 1 : -d], point[-d:]) @ point[:d]


@door.takes(**HEAD)
def decay_of(point: np.ndarray, tokens: np.ndarray, targets: np.ndarray, count: int) -> float:
    r"""The $\lambda = -\langle\nabla\mathcal L, z\rangle/|z|^2$ at which a minimum z on a sphere is stationary.

    point, tokens, targets, count: of :func:`risk`, where the point is not 0.
    """
    runs.check("point", runs.array(point).tolist(), "other than 0", bool(point.any()))
    return float(-(risk(point, tokens, targets, count)[1] @ point) / (point @ point))


@door.takes(size=door.POSITIVE, **HEAD)
def lowest(point: np.ndarray, size: float, tokens: np.ndarray, targets: np.ndarray, count: int) -> tuple:
    """The local minimum of the risk on the sphere of a ``size`` P that descent reaches from a ``point``.

    point: a direction (3 d + 1,), not 0; tokens, targets, count: of :func:`risk`. Returns (risk, decay, direction of unit
    length).
    """
    runs.check("point", runs.array(point).tolist(), "other than 0", bool(point.any()))
    radius = np.sqrt(2 * size)

    def along(point):
        length = np.linalg.norm(point)
        unit = point / length
        value, slope = risk(radius * unit, tokens, targets, count)
        return value, radius / length * (slope - unit * (slope @ unit))

    found = optimize.minimize(along, point / np.linalg.norm(point), jac=True, method="L-BFGS-B", options=EXACT)
    unit = found.x / np.linalg.norm(found.x)
    return found.fun, decay_of(radius * unit, tokens, targets, count), unit


@door.takes(**DATA, count=door.COUNT)
def branch(tokens: np.ndarray, targets: np.ndarray, count: int) -> list[dict]:
    r"""All minima of the risk at one P each, followed from a large P to a small one: points (P, $\lambda$) of the branch.

    tokens, targets, count: of :func:`risk`. No state with $\lambda\ge\lambda_c$ and a risk below that of zero has a P above
    $\langle y^2\rangle/\lambda_c$. Returns one dict a point: ``size``, ``decay``, ``risk`` and ``unit``, sizes descending.
    """
    critical = thresholds(tokens, targets)["attention"]
    runs.check(
        "targets", runs.array(targets).tolist(), "such that the mean of y times the mean token is not 0", critical > 0
    )
    top = 2 * targets @ targets / len(targets) / critical
    draw = np.random.default_rng(0)
    pool, rows = [], []
    for size in np.geomspace(top, top * LEAST / np.sqrt(count), GRID):
        starts = [*pool, *draw.normal(size=(FRESH, 3 * tokens.shape[2] + 1))]
        found = sorted((lowest(start, size, tokens, targets, count) for start in starts), key=lambda each: each[0])
        kept = [each for at, each in enumerate(found) if at == 0 or each[0] > found[at - 1][0] * (1 + 1e-6)][:POOL]
        pool = [each[2] for each in kept]
        rows += [{"size": size, "decay": each[1], "risk": each[0], "unit": each[2]} for each in kept]
    return rows


@door.takes(**DATA, count=door.COUNT)
def end(tokens: np.ndarray, targets: np.ndarray, count: int) -> dict:
    r"""The fold at which the branch of nonzero states ends: its point of the greatest $\lambda$, to rounding.

    tokens, targets, count: of :func:`risk`. Returns ``size``, ``decay``, ``risk`` and ``unit`` of that point.
    """
    rows = branch(tokens, targets, count)
    best = max(rows, key=lambda row: row["decay"])
    sizes = sorted({row["size"] for row in rows})
    at = sizes.index(best["size"])

    def point(power):
        return lowest(best["unit"], np.exp(power), tokens, targets, count)

    ends = np.log([sizes[max(at - 1, 0)], sizes[min(at + 1, len(sizes) - 1)]])
    found = optimize.minimize_scalar(
        lambda power: -point(power)[1], bounds=ends, method="bounded", options={"xatol": 1e-5}
    )
    if -found.fun > best["decay"]:
        lower, decay, unit = point(found.x)
        best = {"size": float(np.exp(found.x)), "decay": decay, "risk": lower, "unit": unit}
    return best


@door.takes(d=door.COUNT)
def pairs(d: int) -> np.ndarray:
    """Random pairs q and k in d dimensions, both of one length, $|q||k|$ in the range ``SIZES``: (2, DRAWS, d)."""
    draw = np.random.default_rng(0)
    sizes = 10 ** draw.uniform(*SIZES, size=(DRAWS, 1))
    drawn = draw.normal(size=(2, DRAWS, d))
    return np.sqrt(sizes) * drawn / np.linalg.norm(drawn, axis=2, keepdims=True)


@door.takes(**DATA)
def ceiling(tokens: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    r"""$\lambda_\infty = \sup_{q,k}|\langle y\,r(q, k)\rangle|$ and a pair of vectors that nearly reaches it.

    tokens, targets: of :func:`risk`. The best of many drawn pairs, refined: a lower bound, as of any maximum that is searched
    for. Returns $(\lambda_\infty, q, k)$.
    """
    d, (query, key) = tokens.shape[2], pairs(tokens.shape[2])
    seen = np.linalg.norm(targets @ pooled(tokens, query, key), axis=-1)

    def below(pair):
        query, key = pair[:d], pair[d:]
        asked, keys = tokens[:, -1] @ query, tokens @ key
        weights = _softmax(asked[:, None] * keys)
        seen = np.einsum("nl,nld->nd", weights, tokens)
        mean = targets @ seen / len(targets)
        length = np.linalg.norm(mean)
        along = tokens @ (mean / (length or 1.0))  # targets of 0 have no direction
        by_scores = -targets[:, None] / len(targets) * weights * (along - (weights * along).sum(axis=1, keepdims=True))
        by_query = (by_scores * keys).sum(axis=1) @ tokens[:, -1]
        return -length, np.append(by_query, np.einsum("nl,nld->d", by_scores * asked[:, None], tokens))

    starts = [np.append(query[at], key[at]) for at in np.argsort(-seen)[:POLISHED]]
    found = min(
        (optimize.minimize(below, each, jac=True, method="L-BFGS-B", options=EXACT) for each in starts),
        key=lambda each: each.fun,
    )
    return float(-found.fun), found.x[:d], found.x[d:]


@door.takes(**DATA, count=door.COUNT)
def closed(tokens: np.ndarray, targets: np.ndarray, count: int) -> float:
    r"""The end of the branch by the scalar model in the best direction, $\frac{2}{\sqrt{27}}\sqrt N\max S$.

    $S = |\langle yc\rangle|^{3/2}/\langle c^2\rangle^{1/2}$ with the response $c_i = \langle v, C_ik\rangle\langle q, x_L\rangle$
    of the linearised softmax, $C_i$ the covariance of the tokens of a sample, over unit v, k, q. It is 0 where no sample has
    a response. tokens, targets, count: of :func:`risk`.
    """
    d, draw = tokens.shape[2], np.random.default_rng(0)
    middle = tokens - tokens.mean(axis=1, keepdims=True)
    spread = middle.swapaxes(1, 2) @ middle / tokens.shape[1]
    if not (np.abs(spread).sum(axis=(1, 2)) * np.abs(tokens[:, -1]).sum(axis=1)).any():
        return 0.0

    def below(three):
        lengths = np.linalg.norm(three.reshape(3, d), axis=1)
        value, key, query = three.reshape(3, d) / lengths[:, None]
        asked, seen = tokens[:, -1] @ query, spread @ key
        response = seen @ value * asked
        fit, size = targets @ response / len(targets), response @ response / len(targets)
        return -(abs(fit) ** 1.5) / np.sqrt(size)  # the sign of v is free

    starts = draw.normal(size=(DIRECTIONS, 3 * d))
    found = min(optimize.minimize(below, each, method="L-BFGS-B").fun for each in starts)
    return float(2 / np.sqrt(27) * np.sqrt(count) * -found)
