r"""The scalar model of the collapse, by sympy: one output $u = B(a + cM)$, a target y, and decay on B and on M.

At balance a pair of factors with product B costs $\lambda B$, so that the objective is
$\frac12(y - u)^2 + \lambda(B + M/N)$ over $B, M\ge0$: B is the value path, M the query-key path, whose decay the N = Jm heads
share where one of them survives.
"""

import sympy as sp

from attnflow import door

OUT, ASK, COUNT, DECAY = sp.symbols("B M N lambda", positive=True)
RATIO = door.either(
    door.POSITIVE,
    door.is_a(
        "a positive sympy number", lambda value: getattr(value, "is_positive", False) is True and value.is_number
    ),
)
ABOVE, ANYWHERE = sp.Rational(27, 4), 3  # Ncy over a^2 where there is a band above lambda_c, and bistability anywhere
PLAIN, GAIN, TARGET, REST, OUTPUT = sp.symbols("a c y e u", positive=True)


@door.takes(gained=door.FLAG)
def upper(gained: bool = True) -> sp.Expr:
    r"""The decay at which an output u with M > 0 is stationary, $(y - u)\sqrt{Ncu}$; without N where c is not ``gained``."""
    return (TARGET - OUTPUT) * sp.sqrt((COUNT if gained else 1) * GAIN * OUTPUT)


@door.takes(gained=door.FLAG)
def upper_holds(gained: bool = True) -> bool:
    r"""Whether every stationary point with M > 0 lies on :func:`upper`.

    Both slopes vanish for $B = \lambda/(Nce)$ and $a + cM = \lambda/e$ with $e = y - u > 0$: sympy solves for them and puts the
    output that they give in. gained: of :func:`upper`.
    """
    output = OUT * (PLAIN + GAIN * ASK)
    objective = (TARGET - output) ** 2 / 2 + DECAY * (OUT + ASK / COUNT)
    slopes = [sp.expand(sp.diff(objective, each)) for each in (OUT, ASK)]
    at_rest = [slope.subs(TARGET, REST + output) for slope in slopes]
    (point,) = sp.solve([sp.expand(each) for each in at_rest], [OUT, ASK], dict=True)
    reached = sp.simplify(output.subs(point))
    return sp.simplify(upper(gained).subs(TARGET, REST + OUTPUT).subs(OUTPUT, reached) - DECAY) == 0


def fold() -> tuple[sp.Expr, sp.Expr]:
    r"""Output and decay at the end of :func:`upper`: $y/3$ and $\frac{2y}3\sqrt{Ncy/3}$."""
    (place,) = sp.solve(sp.diff(upper(), OUTPUT), OUTPUT)
    return place, sp.simplify(upper().subs(OUTPUT, place))


@door.takes(above=RATIO, anywhere=RATIO)
def conditions_hold(above: int | sp.Rational = ABOVE, anywhere: int = ANYWHERE) -> bool:
    r"""Whether there is a band above $\lambda_c = ay$ iff $Ncy > 27a^2/4$, and bistability anywhere iff $Ncy > 3a^2$.

    The end of :func:`upper` passes $ay$ where $Ncy$ is ``above`` times $a^2$; the branch, which begins at $u = a^2/(Nc)$,
    turns back, with an end to its right, where $Ncy$ is more than ``anywhere`` times $a^2$. Both are positive numbers.
    """
    place, end = fold()
    at = {GAIN: above * PLAIN**2 / (COUNT * TARGET)}
    passes = sp.simplify(end.subs(at) - PLAIN * TARGET) == 0 and sp.diff(end, GAIN).is_positive
    start = PLAIN**2 / (COUNT * GAIN)
    turns = sp.simplify((place - start).subs(GAIN, anywhere * PLAIN**2 / (COUNT * TARGET))) == 0
    return bool(passes and turns and sp.diff(place - start, GAIN).is_positive)
