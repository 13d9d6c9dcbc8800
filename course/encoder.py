"""Chapter 3: an encoder with another neuron, with queries that lean on their keys, and with a causal mask."""

import math

import numpy as np

from course.parts import Answer, Ask, Assignment, Part, Step, Wrong, compared, generator, step

LEANING = ((0.05, 0.15), (0.15, 0.25))  # exponents q of the alignment at which it rules the logits
LOOSE = ((0.8, 1.2), (0.8, 1.2))  # and at which it does not
OFF = 0.08  # of an exponent fitted at widths of some thousand: at q = 1/4 the two parts of the logits mix up to 0.05
ALIKE, APART = 3e-4, 3e-3  # squared distance of two samples in a kernel over their mean square, of twins and of others
MOVED = 0.1  # distance of two samples, or of their token means, over their size
LARGEST = 200.0  # an entry of a twin, over the largest entry of the sample
HEADS = 16  # draws of random attention


def draw(stream: np.random.Generator) -> dict:
    """The power of the activation, the learning rate of the value weights, the power of the keys, the sink of the softmax."""
    return {
        "power": int(stream.integers(2, 5)),
        "rate": int(stream.integers(2, 6)),
        "key_power": float(stream.choice([0.1, 0.15, 0.2, 0.25, 0.3])),
        "sink": int(stream.integers(1, 4)),
    }


def arc_cosine(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""$\kappa_0$, $\kappa_1$ and the products of the rows of ``one`` (a, d) and ``two`` (b, d): three arrays (a, b)."""
    gram = one @ two.T
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(two, axis=1)
    angle = np.arccos(np.clip(gram / np.where(lengths > 0, lengths, 1.0), -1, 1))
    first = lengths * (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / (2 * math.pi)
    return (math.pi - angle) / (2 * math.pi), first, gram


def leaky_blocks(one: np.ndarray, two: np.ndarray, leak: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Blocks of the output and value weights for wide layers of leaky neurons, of rows (a, d) and (b, d): (a, b) each.

    Two neurons in one: $\phi(z) = \mathrm{relu}(z) - a\,\mathrm{relu}(-z)$, so that both blocks are sums over signs of rows.
    """
    (zeroth, first, gram), (other, turned, _) = arc_cosine(one, two), arc_cosine(one, -two)
    value = (1 + leak**2) * zeroth + 2 * leak * other
    return (1 + leak**2) * first - 2 * leak * turned, value * gram


def wide_kernel(tokens: np.ndarray, weights: np.ndarray, leak: float, bias: float, rate: float) -> np.ndarray:
    """The tangent kernel of a wide net when its attention is given. tokens: (n, L, d); weights: (n, L, L). Returns (n, n)."""
    samples, length, _ = tokens.shape
    mixed = np.concatenate([weights @ tokens, np.full((samples, length, 1), bias)], axis=2).reshape(
        samples * length, -1
    )
    output, value = leaky_blocks(mixed, mixed, leak)
    return (output + rate * value).reshape(samples, length, samples, length).mean(axis=(1, 3))


def causal_attention(tokens: np.ndarray, scores: np.ndarray, sink: int) -> np.ndarray:
    """Causal attention with a sink in the sum of each row. tokens: (n, L, d); scores: (d, d). Returns (n, L, L)."""
    logits = tokens @ scores @ tokens.transpose(0, 2, 1)
    logits = np.where(np.tri(tokens.shape[1], dtype=bool), logits, -np.inf)
    largest = np.maximum(logits.max(axis=2, keepdims=True), 0.0)
    weights = np.exp(logits - largest)
    return weights / (sink * np.exp(-largest) + weights.sum(axis=2, keepdims=True))


def apart(pair: np.ndarray, scores: np.ndarray, sink: int) -> float:
    """Squared distance of two samples (2, L, d) in the wide limit at some ``scores``, over their mean square."""
    found = wide_kernel(pair, causal_attention(pair, scores, sink), 0.0, 0.0, 1.0)
    return float((found[0, 0] - 2 * found[0, 1] + found[1, 1]) / (found[0, 0] + found[1, 1]) * 2)


def a_asks(constants: dict, stream: np.random.Generator) -> list[Ask]:
    """The balance without and with learning rates."""
    weights = {name: stream.uniform(0.5, 1.5, 6) for name in ("v_1", "v_2", "b", "o")}
    rates = {name: stream.uniform(0.5, 2.5, 6) for name in ("eta_V", "eta_b", "eta_O")}
    return [Ask("balance", weights, "expression"), Ask("balance_rates", weights | rates, "expression")]


def a_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """A law of a degree: the neuron scales as its incoming weights to the power p, its output weight to the power 1."""
    at, power = asks[1].inputs, constants["power"]
    plain = at["v_1"] ** 2 + at["v_2"] ** 2 + at["b"] ** 2 - power * at["o"] ** 2
    rated = (at["v_1"] ** 2 + at["v_2"] ** 2) / at["eta_V"] + at["b"] ** 2 / at["eta_b"]
    rated -= power * at["o"] ** 2 / at["eta_O"]
    return [
        step(0.6, lambda: compared(answers[0], plain, what="balance")),
        step(0.4, lambda: compared(answers[1], rated, what="balance_rates")),
    ]


def b_asks(constants: dict, stream: np.random.Generator) -> list[Ask]:
    """Both blocks at slopes and angles, and the coefficient of the kink at slopes."""
    at = {"a": stream.uniform(-0.9, 0.9, 8), "vartheta": stream.uniform(0.2, 2.9, 8)}
    return [Ask("K_O", at, "expression"), Ask("K_V", at, "expression"), Ask("kink", {"a": at["a"]}, "expression")]


def b_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """The blocks of unit vectors, one pair a point, and how fast two of them come apart."""
    leaks, angles = asks[0].inputs["a"], asks[0].inputs["vartheta"]
    places = zip(leaks, angles, strict=True)
    pairs = [
        leaky_blocks(np.array([[1.0, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]]), leak) for leak, angle in places
    ]
    output, value = (np.array([float(pair[i][0, 0]) for pair in pairs]) for i in (0, 1))
    kink = constants["rate"] * (1 - leaks) ** 2 / math.pi
    return [
        step(0.35, lambda: compared(answers[0], output, what="K_O")),
        step(0.35, lambda: compared(answers[1], constants["rate"] * value, what="K_V")),
        step(0.3, lambda: compared(answers[2], kink, what="kink")),
    ]


def c_asks(constants: dict, stream: np.random.Generator) -> list[Ask]:
    """One token without a bias, one token with it, and several tokens that are mixed."""
    asks = []
    for (samples, length, d), biased in (((4, 1, 3), False), ((4, 1, 3), True), ((3, 4, 5), True)):
        weights = np.exp(stream.normal(size=(samples, length, length)))
        inputs = {"X": stream.normal(size=(samples, length, d)), "S": weights / weights.sum(axis=2, keepdims=True)}
        leak, bias = float(stream.uniform(0.2, 0.7)), float(stream.uniform(0.7, 1.5)) if biased else 0.0
        asks.append(Ask("wide_kernel", inputs | {"leak": leak, "beta": bias}))
    return asks


def c_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """Closed form against closed form. At equal tokens the arc cosine takes half of the digits of a cosine, as clipped."""
    words = ("one token, beta = 0", "one token with the bias", "several tokens with the bias")

    def check(at, answer, what):
        wanted = wide_kernel(at["X"], at["S"], at["leak"], at["beta"], constants["rate"])
        return compared(answer, wanted, rel=3e-4 if answer.precision == "float64" else 1e-3, what=what)

    return [
        step(share, lambda ask=ask, answer=answer, what=what: check(ask.inputs, answer, what))
        for share, ask, answer, what in zip((0.4, 0.2, 0.4), asks, answers, words, strict=True)
    ]


def d_asks(constants: dict, stream: np.random.Generator) -> list[Ask]:
    """Two draws where the alignment rules and two where it does not, so far apart that no one number is right twice."""
    powers = ((-0.3, -0.1), (0.1, 0.3))
    return [
        Ask("critical_scaling", {"q": round(stream.uniform(*q), 3), "u": round(stream.uniform(*u), 3)})
        for q, u in zip((*LEANING, *LOOSE), (*powers, *powers), strict=True)
    ]


def d_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """Sums of k products of one sign in a share of k^-q, and of random signs in all: the larger one counts."""

    def check(places):
        for at in places:
            q, u = asks[at].inputs["q"], asks[at].inputs["u"]
            shift = u + constants["key_power"]
            wanted, found = max(0.5, 1 - q) - shift, answers[at].number()
            if abs(found - wanted) <= OFF:
                continue
            about = f"at q = {q:g}, u = {u:g} the boundary lies elsewhere than at {found:.3f}"
            others = {
                0.5 - shift: "these are logits whose parts all have random signs; the aligned part has not",
                1 - q - shift: "the aligned part is not the larger one here",
                wanted + shift: "the sizes of the entries of the weights are left out",
                wanted + 2 * shift: "the sizes of the entries count with the other sign",
                2 * wanted: "this is the exponent of the variance of a logit, twice that of its size",
                2 * wanted + shift: "this takes the exponent of the variance of a logit for that of its size",
                -wanted: "its sign is the other one",
            }
            near = min(others, key=lambda value: abs(value - found))
            plain = "fit the size of the logits over larger widths and more draws"
            return f"{about}: {others[near] if abs(near - found) <= OFF else plain}"
        return None

    return [step(0.7, lambda: check((0, 1))), step(0.3, lambda: check((2, 3)))]


def e_asks(constants: dict, stream: np.random.Generator) -> list[Ask]:
    """A sample of two tokens and one of five, entries of variance one over d, whose mean is not along the first token."""

    def sample(length):
        while True:
            tokens = stream.normal(size=(length, 4)) / 2
            first, mean = tokens[0], tokens.mean(axis=0)
            if abs(first @ mean) < np.linalg.norm(first) * np.linalg.norm(mean) / 2:
                return tokens

    return [Ask("twin", {"X": sample(length)}) for length in (2, 5)]


def e_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """Any other sample that the wide limit takes for the same, first; that no mean and no random attention does, then."""

    def pair(at):
        tokens = asks[at].inputs["X"]
        found = answers[at].array(tokens.shape)
        if np.abs(found).max() > LARGEST * np.abs(tokens).max():
            raise Wrong(f"a twin has entries of at most {LARGEST:g} times the largest entry of X")
        if np.linalg.norm(found - tokens) < MOVED * np.linalg.norm(tokens):
            raise Wrong("the twin is nearly X itself")
        return np.stack([tokens, found])

    def unseen(at):
        distance = apart(pair(at), np.zeros((4, 4)), constants["sink"])
        if distance > ALIKE:
            return (
                f"the wide net tells {len(asks[at].inputs['X'])} tokens and their twin apart: distance {distance:.2g}"
            )
        return None

    def seen(at):
        both = pair(at)
        means = both.mean(axis=1)
        if np.linalg.norm(means[0] - means[1]) < MOVED * np.linalg.norm(means[0]):
            return (
                "the twin has the token mean of X, so that the encoder without a mask does not tell them apart either"
            )
        scores = generator("heads").normal(size=(HEADS, 4, 4))
        if np.mean([apart(both, each, constants["sink"]) for each in scores]) < APART:
            return "random attention does not tell them apart either"
        return None

    return [
        step(0.3, lambda: unseen(0) or seen(0)),
        step(0.4, lambda: unseen(1)),
        step(0.3, lambda: unseen(1) or seen(1)),
    ]


ASSIGNMENT = Assignment(
    "encoder",
    "Another neuron, leaning queries, a mask",
    (
        "derive the balance of a neuron from how it scales, whatever its activation and its learning rates",
        "carry the limit of the tangent kernel over to another neuron and see what its kink does",
        "find by counting and by measuring which scale of the logits keeps attention random",
        "say what a wide net with uniform attention cannot learn, and build data that shows it",
    ),
    draw,
    (
        Part("a", "What a neuron with a bias keeps", a_asks, a_judge),
        Part("b", "The kernel of a leaky neuron", b_asks, b_judge),
        Part("c", "A wide net with a bias", c_asks, c_judge),
        Part("d", "Queries that lean on their keys", d_asks, d_judge),
        Part("e", "Twins behind a mask", e_asks, e_judge),
        Part("f", "The root of the width, or the width?"),
    ),
)
