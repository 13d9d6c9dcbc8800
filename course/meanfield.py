r"""Chapter 5, one factor more: what weight decay does to products of any number of factors, and to decays that differ.

A chain of p factors with product u has, at balance, the cost $\frac{p\lambda}2u^{2/p}$: its output rests where
$\lambda = u^{1-2/p}e(u)$ with the slope $-e$ of the risk. In a net of N chains one survivor has $\lambda N^{2/p-1}$ for
$\lambda$.
"""

import numpy as np

from course.parts import TOLERANCE, Answer, Ask, Assignment, Part, Step, Wrong, compared, step

POWERS = ((2, 3), (3, 2), (2, 5), (5, 2), (3, 4), (4, 3), (3, 5), (5, 3), (4, 5), (5, 4))
SETTINGS = ("r_A", "r_B", "lambda_A", "lambda_B", "weight")
BOUNDS = 1e-3, 1e3  # of every setting of part e
ROUNDING = TOLERANCE["float32"]  # of numbers in a dict, which may have been made of single precision
CLOSE, BENT = 0.03, 0.03  # relative error of an end that is measured, and absolute one of its exponent


def draw(generator: np.random.Generator) -> dict:
    """The powers of part a, the chain and its loss in b, and offset, ratio and decay of c."""
    first, second = POWERS[generator.integers(len(POWERS))]
    return {
        "first": first,
        "second": second,
        "factors": int(generator.choice((3, 5, 6))),
        "stiffness": int(generator.integers(2, 6)),
        "offset": float(generator.choice((-1.2, -0.9, -0.6, 0.6, 0.9, 1.2))),
        "ratio": float(generator.choice((1.5, 2.0, 2.5, 3.0))),
        "alpha": int(generator.choice((2, 3, 5, 6))),
    }


def a_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """The balance, its rate, and the ratio at rest."""
    place = {name: generator.uniform(0.5, 2, 8) for name in "ab"}
    decays = {f"lambda_{at}": generator.uniform(0.1, 1, 8) for at in (1, 2)}
    given = {"kept": place, "rate": place | decays, "ratio": decays}
    return [Ask(name, inputs, "expression") for name, inputs in given.items()]


def a_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""$a^2 - \frac pqb^2$ moves by $-2\lambda_1a^2 + 2\lambda_2\frac pqb^2$, and this is zero at rest."""
    a, b, one, two = asks[1].inputs.values()
    share = constants["first"] / constants["second"]
    wanted = a**2 - share * b**2, -2 * one * a**2 + 2 * share * two * b**2, share * two / one
    shares = 0.3, 0.4, 0.3
    return [
        step(part, lambda at=at: compared(answers[at], wanted[at], what=asks[at].name))
        for at, part in enumerate(shares)
    ]


def b_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """The cost of a product, and the two decays."""
    target, product, decay = (generator.uniform(0.5, 2, 8) for _ in range(3))
    given = {"cost": {"u": product, "lambda": decay}, "lambda_end": {"y": target}, "lambda_even": {"y": target}}
    return [Ask(name, inputs, "expression") for name, inputs in given.items()]


def b_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """The branch ends at an output of (p - 2)/(2p - 2) of the target, and is as good as nothing at twice that output."""
    p, stiffness, target = constants["factors"], constants["stiffness"], asks[1].inputs["y"]
    cost = p / 2 * asks[0].inputs["lambda"] * asks[0].inputs["u"] ** (2 / p)

    def decay(output):
        return stiffness * (target - output) * output ** (1 - 2 / p)

    end, even = decay(target * (p - 2) / (2 * p - 2)), decay(target * (p - 2) / (p - 1))
    return [
        step(0.25, lambda: compared(answers[0], cost, what="cost")),
        step(0.4, lambda: compared(answers[1], end, what="lambda_end")),
        step(0.35, lambda: swapped(answers[2], even, end)),
    ]


def swapped(answer: Answer, wanted: np.ndarray, other: np.ndarray) -> str | None:
    """The hint on the decay at which both are even: whether it is the ``other`` one, of the end."""
    if compared(answer, other) is None:
        return "lambda_even: this is where the branch ends; it is worse than zero before it ends"
    return compared(answer, wanted, what="lambda_even")


def c_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Four data sets, of several sizes."""
    shapes = [
        (int(generator.integers(4, 9)), int(generator.integers(3, 7)), int(generator.integers(2, 5))) for _ in range(4)
    ]
    return [
        Ask("thresholds", {"X": generator.normal(size=shape), "y": generator.choice((-1.0, 1.0), shape[0])})
        for shape in shapes
    ]


def c_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""$\lambda = |b|/\sqrt\alpha$ with the pull b of a logistic loss at the offset."""

    def wanted(ask, ratio):
        tokens, labels = ask.inputs["X"], ask.inputs["y"]
        weights = ratio ** np.arange(tokens.shape[1])
        pull = labels / (1 + np.exp(labels * constants["offset"]))
        seen = np.einsum("n,nld,l->d", pull, tokens, weights / weights.sum()) / len(labels)
        return np.linalg.norm(seen) / np.sqrt(constants["alpha"])

    def check(kind, ratio):
        found = Answer(np.array([answer.entry(kind).number() for answer in answers]))
        return compared(found, [wanted(ask, ratio) for ask in asks], ROUNDING, kind)

    return [step(0.5, lambda: check("mean", 1.0)), step(0.5, lambda: check("recent", constants["ratio"]))]


def d_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Two nets with another number of factors each, on data of their own, some labels of which are wrong."""
    found = []
    for factors in generator.choice((3, 4, 5, 6), 2, replace=False):
        samples = int(generator.integers(8, 13))
        places = generator.uniform(0.5, 2, samples) * generator.choice((-1, 1), samples)
        labels = np.sign(places)
        labels[np.argmin(np.abs(places))] *= -1
        counts = np.array([1, generator.integers(3, 8), generator.integers(12, 25), generator.integers(40, 65)], float)
        found.append(Ask("ends", {"factors": int(factors), "counts": counts, "c": places, "y": labels}))
    return found


def end(factors: int, counts: np.ndarray, places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""$N^{1-2/p}\max_uu^{1-2/p}e(u)$, where $e = \langle yc/(1 + e^{ycu})\rangle$ is the slope of the risk, (N,)."""
    outputs = np.geomspace(1e-3, 1e2, 40_001)
    margin = labels * places
    slope = (margin[:, None] / (1 + np.exp(margin[:, None] * outputs))).mean(axis=0)
    return counts ** (1 - 2 / factors) * (outputs ** (1 - 2 / factors) * slope).max()


def d_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """One chain alone, then the power of the number of chains, then all ends."""
    known = [end(*ask.inputs.values()) for ask in asks]

    def found(at):
        return answers[at].array(known[at].shape)

    def one(at):
        return compared(Answer(found(at)[:1]), known[at][:1], CLOSE, "the end of one chain alone")

    def power(at):
        places = np.log(asks[at].inputs["counts"])
        if not (found(at) > 0).all():
            return "ends are decays, greater than zero"
        off = np.polyfit(places, np.log(found(at)) - np.log(known[at]), 1)[0]
        least = 2 / asks[at].inputs["factors"] - 1
        if abs(off - least) < BENT:
            return "more chains change nothing: they were all alike. Which start makes a product cheapest?"
        return (
            None if abs(off) < BENT else f"the ends rise with the number of chains by a power that is off by {off:.2g}"
        )

    def values(at):
        most = np.abs(found(at) / known[at] - 1).max()
        return None if most < CLOSE else f"ends are off by up to {100 * most:.2g} % of themselves"

    def both(check):
        return lambda: check(0) or check(1)

    return [step(0.3, both(one)), step(0.3, both(power)), step(0.4, both(values))]


def e_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Three wishes, of which the second wants more in the outputs than in the values."""
    found = []
    for at in range(3):
        skew = generator.uniform(2, 5)
        wish = {
            "rate": generator.uniform(0.3, 2),
            "edge": generator.uniform(0.5, 3),
            "skew": 1 / skew if at == 1 else skew,
        }
        found.append(Ask("choose", {name: float(value) for name, value in wish.items()}))
    return found


def e_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """Zero turns at a product of decays, factors rest at their ratio, and a balance is forgotten where both shrink alike."""

    def settings(at):
        found = {name: answers[at].entry(name).number() for name in SETTINGS}
        outside = [name for name, value in found.items() if not BOUNDS[0] <= value <= BOUNDS[1]]
        if outside:
            raise Wrong(f"{outside[0]} is not between {BOUNDS[0]:g} and {BOUNDS[1]:g}")
        return found

    def check(read, wanted, what):
        found = Answer(np.array([read(settings(at)) for at in range(len(asks))]))
        return compared(found, [wanted(ask.inputs) for ask in asks], ROUNDING, what)

    def collapse():
        turns = "the slope at which zero turns"
        return check(lambda s: np.sqrt(s["lambda_A"] * s["lambda_B"]), lambda wish: wish["edge"], turns)

    def rest():
        return check(lambda s: s["lambda_B"] / s["lambda_A"], lambda wish: wish["skew"], "a^2 over b^2 at rest")

    def forgotten():
        for name in "AB":
            shrinks = f"the rate at which the decay makes the square of {name.lower()} shrink"
            hint = check(lambda s, at=name: 2 * s[f"r_{at}"] * s[f"lambda_{at}"], lambda wish: wish["rate"], shrinks)
            if hint:
                return hint
        return check(lambda s: s["weight"] * s["r_B"] / s["r_A"], lambda wish: 1.0, "weight")

    return [step(0.3, collapse), step(0.3, rest), step(0.4, forgotten)]


ASSIGNMENT = Assignment(
    "meanfield",
    "One factor more",
    (
        "derive what weight decay makes of a balance when the two factors do not decay alike",
        "explain by the cost of a product why three factors collapse in a jump and two do not",
        "find the decay at which a net of zeros becomes stable, for a loss and a kind of head of your own",
        "measure where the upper branch ends, and by which power more particles move that end",
    ),
    draw,
    (
        Part("a", "Two decays", a_asks, a_judge),
        Part("b", "Why three factors jump", b_asks, b_judge),
        Part("c", "Where nothing is stable", c_asks, c_judge),
        Part("d", "The end of the branch", d_asks, d_judge),
        Part("e", "Break one balance, keep another", e_asks, e_judge),
        Part("f", "A theorem and a net of zeros"),
    ),
)
