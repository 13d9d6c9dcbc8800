"""The assignment of chapter 4: attention with a heavy tail, its laws, its middle, its lost queries, and scores by design."""

import numpy as np
from scipy.optimize import brentq

from course.parts import Answer, Ask, Assignment, Part, compared, step

TASKS = ("plain", "row", "balance")
WITHIN = {"edge": 0.01, "loss": 0.01, "rate": 0.05}  # of a place, and relative to what is measured
KEPT, BROKEN, MOST = 1e-5, 0.01, 100.0  # speeds relative to their two terms, and the size of a setting of part e


def draw(generator):
    """The power of the tail, as text and as a number, and the factor of the keys."""
    above, below = map(int, generator.choice(["3/2", "7/4", "2/1", "9/4", "5/2", "11/4", "3/1"]).split("/"))
    return {"p": f"{above}/{below}".removesuffix("/1"), "power": above / below, "m": int(generator.integers(2, 5))}


def a_asks(constants, generator):
    """One pair at eight points, and twelve places of the row: the last six are the first six, moved along the flow."""
    m, n = constants["m"], 8
    k, apart = generator.uniform(0.4, 1.2, n), generator.uniform(0.4, 1.2, n) * generator.choice([-1, 1], n)
    pair = {"q": m * k + apart, "k": k, "E": generator.uniform(0.5, 1.5, n), "zeta": generator.uniform(0.3, 1.2, n)}
    a, b, shift = generator.uniform(0.5, 2, 6), generator.uniform(0.5, 2, 6), generator.uniform(0.2, 0.4, 6)
    row = {"a": np.concatenate([a, a + shift]), "b": np.concatenate([b, b - m * shift])}
    return [Ask(name, pair, "expression") for name in ("slope_q", "slope_k", "speed")] + [Ask("row", row, "expression")]


def a_judge(constants, asks, answers):
    """A quarter each: two slopes, the speed of the balance, and any function of the row that is kept."""
    p, m = constants["power"], constants["m"]
    q, k, E, zeta = asks[0].inputs.values()
    pull = -2 * p * zeta * E * (q - m * k) * (1 + zeta * (q - m * k) ** 2) ** (-p - 1)
    wanted = {"slope_q": pull, "slope_k": -m * pull, "speed": -2 * pull * (q + m * k)}
    found = dict(zip((*wanted, "row"), answers, strict=True))
    steps = [step(0.25, lambda name=name: compared(found[name], wanted[name], what=name)) for name in wanted]
    return [*steps, step(0.25, lambda: _row(m, asks[3].inputs, found["row"]))]


def _row(m, at, answer):
    """A hint where a function of a and b moves along the flow, or does not depend on them."""
    found = answer.array((12,))
    here, there = found.reshape(2, 6)
    if np.ptp(here) <= 1e-6 * np.abs(here).max():
        return "row: it is the same number everywhere, which every flow keeps"
    if np.abs(here - there).max() <= 1e-6 * np.ptp(here):
        return None
    others = {
        "one of its two signs is the other one": m * at["a"] - at["b"],
        "the factor stands at the other of the two": at["a"] + m * at["b"],
        "a factor is missing, because here a key counts more than once": at["a"] + at["b"],
    }
    same = (hint for hint, other in others.items() if np.linalg.matrix_rank([found, other], tol=1e-6) == 1)
    return "row: " + next(same, "it moves along the flow; which common shift of q and k do the weights not notice?")


def b_asks(constants, generator):
    """A layer with any slope E, and with one whose mean over each row of weights is zero."""
    L, d, k = (int(generator.integers(*each)) for each in ((4, 7), (3, 5), (2, 4)))
    shapes = {"X": (L, d), "W_Q": (d, k), "W_K": (d, k), "E": (L, L)}
    layer = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    layer |= {"W_Q": 0.5 * layer["W_Q"], "W_K": 0.5 * layer["W_K"], "zeta": float(generator.uniform(0.3, 1.2))}
    S = _slopes(constants, layer)[1]
    level = layer | {"E": layer["E"] - (S * layer["E"]).sum(axis=1, keepdims=True)}
    return [Ask("slopes", level), Ask("slopes", layer)]


def _slopes(constants, layer, mean=True):
    """Slopes by both matrices, and the weights S; mean: whether the row mean is taken off, as it has to be."""
    p, m, zeta = constants["power"], constants["m"], layer["zeta"]
    apart = (layer["X"] @ layer["W_Q"])[:, None] - m * (layer["X"] @ layer["W_K"])[None]
    inside = 1 + zeta * (apart**2).sum(axis=-1)
    S = inside**-p / (inside**-p).sum(axis=1, keepdims=True)
    G = S * (layer["E"] - mean * (S * layer["E"]).sum(axis=1, keepdims=True))
    pull = (-2 * p * zeta * G / inside)[:, :, None] * apart
    return {"W_Q": layer["X"].T @ pull.sum(axis=1), "W_K": -m * layer["X"].T @ pull.sum(axis=0)}, S


def b_judge(constants, asks, answers):
    """A quarter for each matrix where rows of E have no mean, half for both at any E."""

    def check(at, name):
        layer, found = asks[at].inputs, answers[at].entry(name)
        hint = compared(found, _slopes(constants, layer)[0][name], what=f"slope by {name}")
        if hint and not compared(found, _slopes(constants, layer, mean=False)[0][name]):
            return f"slope by {name}: it forgets that rows sum to one, so that one weight moves the others"
        return hint

    level = [step(0.25, lambda name=name: check(0, name)) for name in ("W_Q", "W_K")]
    return [*level, step(0.5, lambda: check(1, "W_Q") or check(1, "W_K"))]


def c_asks(constants, generator):
    """The line, and all widths that have an edge, at several values of sharpness."""
    widths = np.arange(2, np.ceil(2 * constants["power"] + 2), dtype=float)
    sharp = generator.uniform(0.3, 3, (2, len(widths)))
    line, wide = ({"k": each, "zeta": zeta} for each, zeta in zip((widths**0, widths), sharp, strict=True))
    return [Ask("edge", line, "expression"), Ask("edge", wide, "expression")]


def c_judge(constants, asks, answers):
    """The spread at which the Laplacian vanishes in the middle: the line, and all widths."""

    def check(at, words):
        k, zeta = asks[at].inputs.values()
        square = k / zeta / (2 * constants["power"] + 2 - k)
        hint = compared(answers[at], np.sqrt(square), what=f"edge {words}")
        if not hint:
            return None
        found = answers[at].array(square.shape)
        if not compared(Answer(found), square):
            return f"edge {words}: this is its square"
        return compared(Answer(found**2), square, what=f"the square of edge {words}") or hint

    return [step(0.4, lambda: check(0, "on a line")), step(0.6, lambda: check(1, "in a wide head"))]


def _output(constants, keys, values, zeta, places):
    """The output of one query at ``places`` (...) and its slope, (...) each; rows sum to one."""
    apart = np.asarray(places)[..., None] - keys
    inside = 1 + zeta * apart**2
    weights = inside ** -constants["power"]
    weights /= weights.sum(axis=-1, keepdims=True)
    output = weights @ values
    drift = -2 * constants["power"] * zeta * apart / inside
    return output, (weights * drift * (values - output[..., None])).sum(axis=-1)


def _lost(constants, keys, values, target, zeta):
    """Edge, loss and rate of the queries that run away; None where no edge lies between 0.3 and 6 from the mean of the keys."""
    spread, miss = np.mean((keys - keys.mean()) * (values - values.mean())), target - values.mean()
    side = -np.sign(spread * miss)
    away = np.geomspace(1e4, 0.3, 4000)
    signs = np.sign(_output(constants, keys, values, zeta, keys.mean() + side * away)[1])
    turns = np.flatnonzero(signs != signs[0])
    if not len(turns) or away[turns[0]] > 5.9:
        return None
    ends = keys.mean() + side * away[[turns[0] - 1, turns[0]]]
    edge = brentq(lambda place: float(_output(constants, keys, values, zeta, place)[1]), *ends, xtol=1e-12)
    return {"edge": edge, "loss": miss**2 / 2, "rate": 6 * constants["power"] * abs(spread * miss)}


def _problem(constants, generator):
    """Keys, values, target and sharpness, with a target in reach and lost starts at a place that can be found."""
    while True:
        n = int(generator.integers(3, 6))
        keys, values = generator.normal(0, 1.5, n).round(2), generator.uniform(0, 1, n).round(2)
        zeta, sign, part = float(generator.uniform(0.5, 2)), generator.choice([-1, 1]), generator.uniform(0.4, 0.8)
        outputs = _output(constants, keys, values, zeta, np.linspace(-8, 8, 1601))[0]
        reach = (sign * (outputs - values.mean())).max()
        target = float(values.mean() + sign * part * reach)
        found = _lost(constants, keys, values, target, zeta)
        if reach > 0.2 and found is not None and found["rate"] > 0.1:
            low = sign * (values.mean() - _output(constants, keys, values, zeta, found["edge"])[0])
            if low > 0.02:
                return {"keys": keys, "values": values, "target": target, "zeta": zeta}


def d_asks(constants, generator):
    """Three problems of one query on a line."""
    return [Ask("lost", _problem(constants, generator)) for _ in range(3)]


def d_judge(constants, asks, answers):
    """Where the lost starts begin, the loss in the limit, and the rate; all three problems have to be right."""
    wanted = [_lost(constants, **ask.inputs) for ask in asks]

    def check(name):
        found = np.array([answer.entry(name).number() for answer in answers])
        known = np.array([each[name] for each in wanted])
        within = WITHIN[name] / (np.abs(known).max() if name == "edge" else 1)
        return compared(Answer(found), known, within, what=name)

    shares = {"edge": 0.4, "loss": 0.25, "rate": 0.35}
    return [step(share, lambda name=name: check(name)) for name, share in shares.items()]


def e_asks(constants, generator):
    """Three draws of the numbers for each of the three tasks."""

    def numbers():
        zeta, gamma = round(float(generator.uniform(0.3, 1.5)), 2), float(generator.integers(1, 4))
        alphas = [each for each in (-4, -3, -2, -1, 1, 2, 3, 4) if each != constants["m"] * gamma]
        return {"zeta": zeta, "alpha": float(generator.choice(alphas)), "gamma": gamma}

    return [Ask("settings", {"task": task} | numbers()) for task in TASKS * 3]


def _speeds(constants, ask, b, c, normalised):
    """Largest speeds of the row and of the balance, relative to their terms, over five layers and slopes by the scores."""
    m, zeta, alpha, gamma = constants["m"], *(ask.inputs[name] for name in ("zeta", "alpha", "gamma"))
    by_query, both, by_key = -zeta, 2 * zeta * m + b, c - zeta * m**2
    found = np.zeros(2)
    for generator in np.random.default_rng(13).spawn(5):
        X, G = generator.normal(size=(4, 3)), generator.normal(size=(4, 4))
        X[:, -1] = 1.0
        W_Q, W_K = generator.normal(size=(2, 3, 2))
        G -= normalised * G.mean(axis=1, keepdims=True)
        q, k = X @ W_Q, X @ W_K
        slope_q = X.T @ (2 * by_query * G.sum(axis=1)[:, None] * q + both * G @ k)
        slope_k = X.T @ (both * G.T @ q + 2 * by_key * G.sum(axis=0)[:, None] * k)
        row = alpha * slope_q[-1], gamma * slope_k[-1]
        balance = W_Q.T @ slope_q + slope_q.T @ W_Q, -W_K.T @ slope_k - slope_k.T @ W_K
        sizes = [1e-9 + sum(map(np.linalg.norm, each)) for each in (row, balance)]
        moved = [np.linalg.norm(sum(each)) for each in (row, balance)]
        found = np.maximum(found, np.divide(moved, sizes))
    return found


def e_judge(constants, asks, answers):
    """A third for each task, where all of its draws are right."""

    def check(task, pairs):
        for ask, answer in pairs:
            b, c = (answer.entry(name).number() for name in ("b", "c"))
            if max(abs(b), abs(c)) > MOST:
                return f"{task}: a number lies beyond {MOST:g}"
            row, balance = _speeds(constants, ask, b, c, task != "plain")
            kept, broken = (balance, row) if task == "balance" else (row, balance)
            if kept > KEPT:
                return f"{task}: what should be kept moves, at {kept:.2g} of the speed of its terms"
            if task != "plain" and broken <= BROKEN:
                return f"{task}: what should be broken is kept"
            if task == "row" and _speeds(constants, ask, b, c, False)[0] <= BROKEN:
                return f"{task}: plain weights with the same b and c keep the row too"
        return None

    pairs = list(zip(asks, answers, strict=True))
    return [step(1 / 3, lambda task=task, at=at: check(task, pairs[at::3])) for at, task in enumerate(TASKS)]


ASSIGNMENT = Assignment(
    "kernels",
    "A kernel with a heavy tail",
    (
        "derive the gradient flow of attention with any kernel of a distance, and its conserved row from a symmetry",
        "say where a kernel traps a query, from a second derivative, in every width of a head",
        "predict how fast a lost query runs away, and measure it",
        "build scores that keep one law and break another",
    ),
    draw,
    (
        Part("a", "Two slopes, one speed, one law", a_asks, a_judge),
        Part("b", "The gradient of a layer whose rows sum to one", b_asks, b_judge),
        Part("c", "When does the middle let go?", c_asks, c_judge),
        Part("d", "A query that runs away", d_asks, d_judge),
        Part("e", "Break this law, keep that one", e_asks, e_judge),
        Part("f", "In your words"),
    ),
)
