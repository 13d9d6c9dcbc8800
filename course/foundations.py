"""Chapter 1, graded: laws of other nets and other flows, what finite steps forget, and settings that keep a law or break it."""

import numpy as np

from course.parts import Answer, Ask, Assignment, Part, Step, Wrong, compared, step

RATES = (0.05, 20.0)  # that an answer to part e may choose
CASES = ("at equal rates", "at one rate a matrix", "at one rate an entry", "where only rotations are left")  # of part b
LOOSE = 2e-3  # relative error of a setting that lets a law move by as little as nobody would see


def draw(generator: np.random.Generator) -> dict:
    """The power, the rates of both weights, the bend of their slopes and the target; no law is that of the plain product."""
    power = int(generator.integers(2, 4))
    pairs = [(a, b) for a in range(1, 6) for b in range(1, 6) if a != b and power * a != b]
    rate_a, rate_b = pairs[generator.integers(len(pairs))]
    kappa = ("1/2", "1/3", "2/3")[generator.integers(3)]
    target = round(0.2 * int(generator.integers(6, 11)), 1)
    return {"power": power, "rate_a": rate_a, "rate_b": rate_b, "kappa": kappa, "target": target}


def unlike(answer: Answer, wanted: object, mistakes: dict, rel: float | None = None) -> str | None:
    """What ``compared`` says, or the words of the first of the known ``mistakes``, words -> numbers, that an answer equals."""
    hint = compared(answer, wanted, rel)
    made = [words for words, wrong in mistakes.items() if hint and compared(answer, wrong, rel) is None]
    return made[0] if made else hint


def law_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Both laws of part a, each at points of its own."""
    points = generator.uniform(0.5, 2, (2, 2, 6))
    return [Ask(name, {"a": a, "b": b}, "expression") for name, (a, b) in zip(("law", "law_bent"), points, strict=True)]


def law_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""$a^{\kappa+1} - (\eta_ap^\kappa/\eta_b)\,b^{\kappa+1}$, at $\kappa = 1$ and at the drawn one."""
    p, ratio = constants["power"], constants["rate_a"] / constants["rate_b"]
    bent = np.divide(*map(int, constants["kappa"].split("/")))

    def check(ask, answer, kappa):
        a, b = (ask.inputs[name] ** (kappa + 1) for name in "ab")
        mistakes = {
            "the law of the plain product: the power p of a and the rates are missing": a - b,
            "the power p of a is missing: it comes down when u is differentiated by a": a - ratio * b,
            "the rates are missing": a - p**kappa * b,
            "the rates stand the wrong way round: each square is divided by its own rate": a - p**kappa / ratio * b,
            "the power p of a stands on the wrong side": a - ratio / p**kappa * b,
            "the sign between both terms is the other one": a + ratio * p**kappa * b,
        }
        if kappa != 1:
            mistakes["the factor p of the slope is bent as well: it counts as p to the power kappa"] = a - ratio * p * b
        return unlike(answer, a - ratio * p**kappa * b, mistakes)

    return [step(0.5, lambda: check(asks[0], answers[0], 1.0)), step(0.5, lambda: check(asks[1], answers[1], bent))]


def product(rates: tuple, generator: np.random.Generator) -> dict:
    """Inputs of part b: random A, B, both with two columns, and the slopes of random losses of their product.

    rates: of A and B, numbers or arrays of their shapes, (2, 2) and (3, 2). Returns theta and slope (M, P), rates (P,).
    """
    left, right = generator.normal(size=(240, 2, 2)), generator.normal(size=(240, 3, 2))
    force = generator.normal(size=(240, 2, 3))
    slopes = force @ right, force.swapaxes(1, 2) @ left
    flat = [np.concatenate([each.reshape(240, -1) for each in pair], axis=1) for pair in ((left, right), slopes)]
    spread = [np.broadcast_to(rate, shape).ravel() for rate, shape in zip(rates, ((2, 2), (3, 2)), strict=True)]
    return {"theta": flat[0], "slope": flat[1], "rates": np.concatenate(spread).astype(float)}


def turned(generator: np.random.Generator) -> dict:
    """Inputs of part b without any law: three points in the plane, and losses of their lengths and angles alone."""
    points, force = generator.normal(size=(240, 3, 2)), generator.normal(size=(240, 3, 3))
    slope = (force + force.swapaxes(1, 2)) @ points
    return {"theta": points.reshape(240, 6), "slope": slope.reshape(240, 6), "rates": np.ones(6)}


def detector_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """A product at equal rates, at one rate a factor, at one rate an entry; and a net that only rotations leave alone."""
    factors = tuple(generator.choice((0.4, 0.7, 1.6, 2.5), 2, replace=False))
    entries = tuple(generator.uniform(0.3, 3, shape) for shape in ((2, 2), (3, 2)))
    kinds = [product((1.0, 1.0), generator), product(factors, generator), product(entries, generator)]
    return [Ask("quadratic_laws", inputs) for inputs in (*kinds, turned(generator))]


def product_laws(rates: np.ndarray, diagonal: bool) -> np.ndarray:
    r"""The laws $\operatorname{tr}P(A^\top A/\eta_A - B^\top B/\eta_B)$ of :func:`product`: orthonormal, (N, 100).

    rates: (10,); diagonal: whether only diagonal P are left, as at one rate an entry.
    """
    squares = [np.outer(one, two) for one in np.eye(2) for two in np.eye(2)]
    symmetric = [squares[0], squares[3]] + [squares[1] + squares[2]] * (not diagonal)
    signs = np.kron(np.diag([1.0, 1, -1, -1, -1]), np.eye(2))
    found = [(signs @ np.kron(np.eye(5), each) / rates).ravel() for each in symmetric]
    return np.linalg.qr(np.array(found).T)[0].T


def detector_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """The span of the matrices that came back, against that of the theorem."""

    def wrong(place):
        answer, rates = answers[place], asks[place].inputs["rates"]
        wanted = np.zeros((0, 36)) if place == 3 else product_laws(rates, diagonal=place == 2)
        found, size = answer.array(), len(rates)
        found = found if found.size else np.zeros((0, size, size))
        if found.ndim != 3 or found.shape[1:] != (size, size):
            raise Wrong(f"expected an array of shape (n, {size}, {size}), got one of shape {found.shape}")
        most = 1e-6 if answer.precision == "float64" else 2e-3
        if np.abs(found - found.swapaxes(1, 2)).max(initial=0) > most * np.abs(found).max(initial=0):
            return "there is a matrix that is not symmetric: a rotation constrains the velocity and keeps no quadratic"
        if len(found) != len(wanted):
            return f"found {len(found)} laws where there are {len(wanted)}, {CASES[place]}"
        if not len(found):
            return None
        basis, sizes, _ = np.linalg.svd(found.reshape(len(found), -1).T, full_matrices=False)
        if sizes[-1] < most * sizes[0]:
            return "the matrices are not independent"
        plain = place > 0 and not apart(basis, product_laws(np.ones(size), diagonal=False), most)
        hint = "these are the laws at equal rates" if plain else "the flow does not keep these quadratics"
        return hint if apart(basis, wanted, most) else None

    def apart(basis, laws, most):
        return np.abs(basis @ basis.T - laws.T @ laws).max() > most

    later = step(0.3, lambda: wrong(0) or wrong(1)), step(0.3, lambda: wrong(0) or wrong(2) or wrong(3))
    return [step(0.4, lambda: wrong(0)), *later]


def impulse(constants: dict, product: float, balance: np.ndarray) -> np.ndarray:
    r"""$\eta_a\eta_b\int(y-u)^2dt = \eta_a\eta_b\int(y-u)\,du/\sqrt{C^2+4\eta_a\eta_bu^2}$, C = ``balance``, from ``product``."""
    rates, target = constants["rate_a"] * constants["rate_b"], constants["target"]
    slope, ends = 2 * np.sqrt(rates), (product, target)
    low, high = (
        target / slope * np.arcsinh(slope * u / balance) - np.hypot(balance, slope * u) / slope**2 for u in ends
    )
    return rates * (high - low)


def forgets_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """One step of descent at random weights, and all of them from b = 0."""
    one = {"a": generator.uniform(0.5, 2, 6), "b": generator.uniform(0.5, 2, 6), "eta": generator.uniform(0.01, 0.2, 6)}
    return [Ask("change", one, "expression"), Ask("exponent", {"a_0": generator.uniform(0.7, 1.8, 5)}, "expression")]


def forgets_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""$-\eta^2\eta_a\eta_b(ab-y)^2$, and the integral of that along the flow."""
    one, start = asks[0].inputs, asks[1].inputs["a_0"]
    rates = constants["rate_a"] * constants["rate_b"]
    change = -((one["eta"] * (one["a"] * one["b"] - constants["target"])) ** 2) * rates
    total = impulse(constants, 0.0, constants["rate_b"] * start**2)
    first = {"this is the change over eta: count the powers of eta once more": change / one["eta"]}
    first["this is the law after the step over that before: subtract 1"] = 1 + change
    second = {"the product of both rates in front of the integral is missing": total / rates}
    second["this is the limit of C over its start per eta, with its sign: the exponent is minus that"] = -total
    return [step(0.4, lambda: unlike(answers[0], change, first)), step(0.6, lambda: unlike(answers[1], total, second))]


def momentum_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Plain descent, and two factors of momentum, from starts below the target."""
    rhos = (0.0, round(float(generator.uniform(0.2, 0.4)), 2), round(float(generator.uniform(0.45, 0.6)), 2))
    starts = [{"a_0": float(generator.uniform(1, 1.5)), "b_0": float(generator.uniform(0.1, 0.4))} for _ in rhos]
    return [Ask("forgetting", start | {"rho": rho}) for start, rho in zip(starts, rhos, strict=True)]


def momentum_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""$(1+\rho)/(1-\rho)^2$ times the exponent of descent; two per cent of it are the student's to lose."""

    def wrong(place):
        a, b, rho = asks[place].inputs.values()
        plain = impulse(constants, a * b, constants["rate_b"] * a**2 - constants["rate_a"] * b**2)
        mistakes = {
            "momentum made no difference": plain,
            "that is descent with step eta/(1 - rho): measure, momentum forgets more than that": plain / (1 - rho),
            "it was divided by eta/(1 - rho): divide by eta": plain * (1 + rho) / (1 - rho),
        }
        return unlike(answers[place], plain * (1 + rho) / (1 - rho) ** 2, mistakes if rho else {}, rel=0.02)

    return [step(0.4, lambda: wrong(0)), step(0.6, lambda: wrong(1) or wrong(2))]


def choice_asks(constants: dict, generator: np.random.Generator) -> list[Ask]:
    """Two sets of wishes."""

    def wish(k):
        (x, z), (m, n) = (generator.choice(range(1, 6), 2, replace=False).tolist() for _ in range(2))
        return {"k": k, "x": x, "z": z, "m": m, "n": n, "r": round(float(generator.uniform(0.2, 0.8)), 2)}

    return [Ask("settings", wish(k)) for k in (2, 3)]


def choice_judge(constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    r"""Kept where $x\eta_{Q,j} = z\eta_{K,j}$, broken where they differ; forgotten: $\eta_V\lambda_V = \eta_O\lambda_O = r$."""

    def chosen(place, name, count, least=RATES[0]):
        found = answers[place].entry(name).array((count,))
        if not ((found >= least) & (found <= RATES[1])).all():
            raise Wrong(f"{name}: a number is outside of {least:g} to {RATES[1]:g}")
        return found

    def kept(place):
        wish = asks[place].inputs
        query, key = (chosen(place, f"rate_{name}", wish["k"]) for name in "QK")
        if np.allclose(wish["x"] * query, wish["z"] * key, rtol=LOOSE, atol=0):
            return None
        swapped = np.allclose(wish["x"] * key, wish["z"] * query, rtol=LOOSE, atol=0)
        return f"the rates of W_Q and W_K {'are the wrong way round' if swapped else 'keep another quadratic'}"

    def broken(place):
        rates = np.sort(chosen(place, "rate_Q", asks[place].inputs["k"]))
        apart = (rates[1:] >= 1.49 * rates[:-1]).all()
        return None if apart else "two columns learn at nearly one rate: then their entry off the diagonal is kept too"

    def forgotten(place):
        wish, (rate_v, rate_o) = asks[place].inputs, (chosen(place, f"rate_{name}", 1)[0] for name in "VO")
        decays = np.array([chosen(place, f"decay_{name}", 1, least=0.0)[0] for name in "VO"])
        if not np.isclose(wish["m"] * rate_v, wish["n"] * rate_o, rtol=LOOSE, atol=0):
            return "the rates of W_V and W_O: they keep another quadratic, even without decay"
        speeds = decays * (rate_v, rate_o)
        if np.allclose(speeds, wish["r"], rtol=LOOSE, atol=0):
            return None
        if np.allclose(decays, wish["r"], rtol=LOOSE, atol=0):
            return "the decay stands in the loss: the rate of a matrix multiplies it too"
        same = np.ptp(speeds) <= LOOSE * speeds.max()
        return f"the two matrices shrink at {'one rate, which is not r' if same else 'different rates'}"

    return [
        step(0.35, lambda: kept(0) or kept(1)),
        step(0.3, lambda: kept(0) or kept(1) or broken(0) or broken(1)),
        step(0.35, lambda: forgotten(0) or forgotten(1)),
    ]


ASSIGNMENT = Assignment(
    chapter="foundations",
    title="What training keeps, what it forgets",
    goals=(
        "derive the law of a flow that is not the plain gradient flow",
        "find all quadratic laws of a model from its gradients alone, and tell symmetries that keep something from others",
        "say how fast finite steps, momentum and weight decay make a run forget a law",
        "choose settings that keep one law and break another, and explain what Adam does to them",
    ),
    draw=draw,
    parts=(
        Part("a", "Two laws of one net", law_asks, law_judge),
        Part("b", "A detector of laws", detector_asks, detector_judge),
        Part("c", "What finite steps forget", forgets_asks, forgets_judge),
        Part("d", "Momentum forgets faster", momentum_asks, momentum_judge),
        Part("e", "Keep this, break that", choice_asks, choice_judge),
        Part("f", "What Adam does to these laws"),
    ),
)
