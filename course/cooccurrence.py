r"""Assignment 2: three words that occur together, and losses with a heavy tail.

Classes: $I_1$ holds three targets (label +1), $I_2, I_3, I_4$ lack one of them and $I_5$ all (label -1); every sample holds the
common word m times. By symmetry the three targets share one score and $I_2, I_3, I_4$ one sum, so an array of fractions holds
those of $I_1$, of one of $I_2, I_3, I_4$, and of $I_5$; and of scores, that of a target and that of the common word.
"""

from functools import partial

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from course.parts import Answer, Ask, Assignment, Part, Wrong, compared, step

LEAST = 0.005  # fraction of a class that a choice of fractions may have
TARGETS = np.array([3, 2, 0])  # that a sample holds, of I_1, of one of I_2, I_3, I_4, and of I_5
TIMES = np.array([1, 3, 1])  # classes of each of these kinds
LABELS = np.array([1, -1, -1])


def draw(generator: np.random.Generator) -> dict:
    """The constants: ``copies`` m of the common word, and one over the fractions of ``lacking`` one target and of ``none``."""
    lacking = int(generator.choice([8, 10, 12]))
    return {"copies": int(generator.integers(3, 6)), "lacking": lacking, "none": {8: 8, 10: 5, 12: 4}[lacking]}


def fractions_of(constants: dict) -> np.ndarray:
    """The fractions of the drawn task: (3,)."""
    return np.array([1 / 2, 1 / constants["lacking"], 1 / constants["none"]])


def forces(margins: np.ndarray, power: float) -> np.ndarray:
    """Minus the slope of the loss with a tail of a ``power``, for margins of any shape."""
    return power * (1 + np.maximum(margins, 0)) ** -(power + 1)


def stacked(answers: list, name: str | None = None, shape: tuple = ()) -> Answer:
    """Answers to several questions as one, or their entries under a ``name``, each of a ``shape``. Raises Wrong."""
    precision = "float32" if any(each.precision == "float32" for each in answers) else "float64"
    read = [(each if name is None else each.entry(name)).array(shape) for each in answers]
    return Answer(np.array(read), precision=precision)


def near(found: Answer, wanted: np.ndarray, rel: float, what: str) -> str | None:
    """A hint unless every number ``found``, of ``what``, is within ``rel`` of that ``wanted``, which is none of them zero."""
    return compared(Answer(found.value / wanted, precision=found.precision), np.ones(np.shape(wanted)), rel, what)


# The derivation: where the sums end under the logistic loss


def share(constants: dict, samples: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The limit of $s_2/s_1$ with distinct random words: the equation of equal margins of $I_1$ and $I_2$, solved for it."""
    copies, lacking = constants["copies"], constants["lacking"]
    common = 2 * copies**2
    above = 5 + common + 2 * (length - 3 - copies) / samples
    return above / (10 + 3 * common + lacking * (length - 2 - copies) / samples)


def _asks_a(constants, generator):
    counts = constants["lacking"] * generator.integers(5, 20, 6).astype(float)
    lengths = constants["copies"] + generator.integers(5, 12, 6).astype(float)
    return [Ask("share", {"n": size, "L": lengths}, "expression") for size in (np.full(6, 1e12), counts)]


def _judge_a(constants, asks, answers):
    names = ("share, for very many samples", "share, for finitely many samples")
    wanted = [share(constants, *ask.inputs.values()) for ask in asks]
    rows = zip((0.4, 0.6), answers, wanted, names, strict=True)
    return [step(part, partial(compared, answer, each, what=name)) for part, answer, each, name in rows]


# The code: the reduced flow of a power tail


def velocity(constants: dict, scores: np.ndarray, power: float, fractions: np.ndarray) -> np.ndarray:
    """Derivative of the two ``scores`` (2,) by the clock, for many samples."""
    copies = constants["copies"]
    margins = LABELS * (TARGETS * scores[0] + copies * scores[1])
    first, second, fifth = fractions * forces(margins, power)
    return np.array([first - 2 * second, copies * (first - 3 * second - fifth)])


def some_fractions(generator: np.random.Generator, few: bool) -> np.ndarray:
    """Fractions of the classes, with ``few`` or with many samples that lack one target: (3,)."""
    low, high = (0.03, 0.11) if few else (0.2, 0.25)
    second = generator.uniform(low, high)
    first = (1 - 3 * second) * generator.uniform(0.3, 0.8)
    return np.array([first, second, 1 - first - 3 * second])


def _asks_b(constants, generator):
    places = generator.uniform([0.3, -1.2], [2.0, 0.4], (6, 2)) / [1, constants["copies"] / 3]
    powers = generator.uniform(0.6, 2.4, 6).round(2).tolist()
    return [
        Ask("velocity", {"scores": at, "power": power, "fractions": some_fractions(generator, power < 1.5)})
        for at, power in zip(places, powers, strict=True)
    ]


def _judge_b(constants, asks, answers):
    wanted = np.array([velocity(constants, **ask.inputs) for ask in asks])

    def right(column, name):
        found = stacked(answers, shape=(2,))
        return compared(Answer(found.value[:, column], precision=found.precision), wanted[:, column], what=name)

    names = ("the velocity of a target", "the velocity of the common word")
    return [step(0.5, partial(right, column, name)) for column, name in enumerate(names)]


# The boundary of Phase 1, from the reduced flow with random words


def boundary(constants: dict, samples: int, length: int, power: float) -> tuple[float, float]:
    """When all classes are read right, and the margin of $I_1$ then, for finitely many samples with distinct random words."""
    copies, fractions = constants["copies"], fractions_of(constants)
    free = length - copies - TARGETS

    def margins(scores):
        return LABELS * (TARGETS * scores[0] + copies * scores[1] + free * scores[2:])

    def slope(_, scores):
        force = forces(margins(scores), power)
        first, second, fifth = fractions * force
        words = [first - 2 * second, copies * (first - 3 * second - fifth)]
        return np.concatenate([words, LABELS * force / samples])

    def crossing(_, scores):
        return margins(scores)[1]

    crossing.direction = 1
    found = solve_ivp(slope, (0, 400 / power), np.zeros(5), events=crossing, rtol=1e-9, atol=1e-11)
    return float(found.t_events[0][-1]), float(margins(found.y_events[0][-1])[0])


def _asks_c(constants, generator):
    counts = (constants["lacking"] * generator.permutation([4, 5, 6])).tolist()
    powers = generator.uniform([0.6, 1.4], [0.9, 2.0]).round(2).tolist()
    rows = zip(counts, (5, 7), powers, strict=False)
    return [
        Ask("boundary", {"samples": count, "length": constants["copies"] + more, "power": power})
        for count, more, power in rows
    ]


def _judge_c(constants, asks, answers):
    times, margins = np.array([boundary(constants, **ask.inputs) for ask in asks]).T

    def timed():
        found = stacked(answers, "time")
        clocked = (found.value > times / 10).all()
        return near(found, times, 0.04, "time") if clocked else "time: far too small; is it t, and not the clock?"

    return [step(0.6, timed), step(0.4, lambda: near(stacked(answers, "margin"), margins, 0.04, "margin"))]


# Where the sums end under a power tail, how fast the loss falls, and fractions that lead to a limit


def limit(constants: dict, power: float, fractions: np.ndarray) -> tuple[float, float]:
    """The limits of rho and of $s_5/s_1$: margins are in the ratio 3 - rho : rho - 2 : rho, forces are a power of them."""

    def sums(rho):
        return fractions * np.array([3 - rho, rho - 2, rho]) ** -(power + 1)

    def excess(rho):
        first, second, fifth = sums(rho)
        return constants["copies"] ** 2 * (3 * second + fifth - first) - rho * (first - 2 * second)

    rho = brentq(excess, 2 + 1e-6, 3 - 1e-6, xtol=1e-13)
    first, _, fifth = sums(rho)
    return float(rho), float(fifth / first)


def unbalanced(constants: dict, generator: np.random.Generator, few: bool) -> tuple:
    """A power, fractions with ``few`` or many that lack a target, and limits of rho, off 5/2, and of an $I_5$ that is heard."""
    while True:
        power, fractions = round(generator.uniform(0.6, 1.1) + 0.8 * few, 2), some_fractions(generator, few)
        rho, fifth = limit(constants, power, fractions)
        if fractions[2] > 0.05 and fifth > 0.003 and (rho < 2.44 if few else rho > 2.56):
            return power, fractions, rho, fifth


def _asks_d(constants, generator):
    drawn = [unbalanced(constants, generator, few)[:2] for few in (True, False)]
    growths = (0.0, round(generator.uniform(0.2, 1), 2))
    return [
        Ask("late", {"power": power, "fractions": fractions, "growth": growth})
        for power, fractions in drawn
        for growth in growths
    ]


def _judge_d(constants, asks, answers):
    ends = np.array([limit(constants, ask.inputs["power"], ask.inputs["fractions"]) for ask in asks]).T
    slopes = np.array([-ask.inputs["power"] / (ask.inputs["power"] + 2 - (ask.inputs["growth"] > 0)) for ask in asks])

    def right(name, wanted, which, rel, what):
        found = stacked(answers[which], name)
        logistic = name == "rho" and np.abs(found.value - 2.5).max() < 0.02
        return "rho: it is the limit of an exponential tail" if logistic else near(found, wanted[which], rel, what)

    still, moving = slice(0, None, 2), slice(1, None, 2)
    return [
        step(0.4, partial(right, "rho", ends[0], slice(None), 0.007, "rho")),
        step(0.2, partial(right, "fifth", ends[1], slice(None), 0.03, "fifth")),
        step(0.2, partial(right, "slope", slopes, still, 0.03, "slope, with a readout that stays")),
        step(0.2, partial(right, "slope", slopes, moving, 0.03, "slope, with a readout that grows")),
    ]


def _asks_e(constants, generator):
    found = [unbalanced(constants, generator, few) for few in (True, False, True)]
    return [Ask("chosen", {"power": power, "rho": rho, "fifth": fifth}) for power, _, rho, fifth in found]


def _judge_e(constants, asks, answers):
    def right(name, at, rel):
        found = stacked(answers, shape=(3,))
        if np.abs(found.value @ TIMES - 1).max() > 1e-4:
            raise Wrong("f_1 + 3 f_2 + f_5 is not 1")
        if found.value.min() < LEAST:
            raise Wrong(f"a class has less than {LEAST:g} of the samples")
        ends = [limit(constants, ask.inputs["power"], each)[at] for ask, each in zip(asks, found.value, strict=True)]
        return near(Answer(np.array(ends)), np.array([ask.inputs[name] for ask in asks]), rel, name)

    return [step(0.5, partial(right, "rho", 0, 0.005)), step(0.5, partial(right, "fifth", 1, 0.02))]


ASSIGNMENT = Assignment(
    "cooccurrence",
    "Three words, and a loss that does not let go",
    (
        "derive the limit of automatic balancing from the hard-margin dual for data that the chapter does not have",
        "write the reduced flow of another loss, and test it against the Transformer that it reduces",
        "tell a claim about the exponential tail of a loss from one about gradient flow",
        "find the exponent of a loss by counting powers, and confirm it by a measurement",
    ),
    draw,
    (
        Part("a", "Three words: where the gradients balance", _asks_a, _judge_a),
        Part("b", "The reduced flow of a power tail", _asks_b, _judge_b),
        Part("c", "The end of Phase 1 in the Transformer", _asks_c, _judge_c),
        Part("d", "Late in training: the limit and the rate", _asks_d, _judge_d),
        Part("e", "Break the limit, keep the task", _asks_e, _judge_e),
        Part("f", "Two exponents, explained"),
    ),
)
