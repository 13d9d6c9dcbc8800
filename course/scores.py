"""From answers to points: the questions of an assignment, and what its judges say of the answers."""

from dataclasses import dataclass

import numpy as np

from course import source
from course.box import Limits, Reply, run
from course.parts import Answer, Ask, Assignment, Part, Step, generator


@dataclass(frozen=True)
class Score:
    """One part as it was graded: ``points`` out of ``full``, None where a person has still to read it, and its ``hints``."""

    part: str
    title: str
    points: float | None
    full: float
    hints: tuple[str, ...] = ()


def questions(of: Assignment, salt: str, *words: object) -> dict[str, list[Ask]]:
    """The questions of all parts that are not read by a person, at inputs of the stream of these ``words``: id -> questions."""
    constants = of.constants(salt)
    return {part.id: part.asks(constants, generator("asks", part.id, *words)) for part in of.parts if not part.written}


def judged(of: Assignment, salt: str, asked: dict[str, list[Ask]], answers: list[Answer]) -> list[Score]:
    """The scores of all parts. asked: of :func:`questions`; answers: one a question, in order."""
    full, rest, scores = source.points(of.chapter), list(answers), []
    for part in of.parts:
        if part.written:
            scores.append(Score(part.id, part.title, None, full[part.id]))
            continue
        own, rest = rest[: len(asked[part.id])], rest[len(asked[part.id]) :]
        steps = _steps(part, of.constants(salt), asked[part.id], own)
        share = round(sum(step.share for step in steps if step.right), 6)
        hints = tuple(dict.fromkeys(step.hint for step in steps if not step.right))
        scores.append(Score(part.id, part.title, round(share * full[part.id], 2), full[part.id], hints))
    return scores


def _steps(part: Part, constants: dict, asks: list[Ask], answers: list[Answer]) -> list[Step]:
    """What a judge says; no answer whatever may stop it."""
    try:
        with np.errstate(all="ignore"):
            return part.judge(constants, asks, answers)
    except Exception as fault:  # noqa: BLE001  a judge that fails on odd data must cost this part only
        return [Step(1.0, False, f"the grader could not read this answer ({type(fault).__name__})")]


def graded(
    chapter: str, salt: str, notebook: bytes, words: tuple, limits: Limits, slot: int = 0, **more: bool
) -> tuple[list[Score], Reply]:
    """Run one submission in its box, and judge it. words: of the stream of the inputs; slot, more: of ``box.run``."""
    of = source.assignment(chapter)
    asked = questions(of, salt, *words)
    seed = int(generator("seed", *words).integers(2**31))
    reply = run(notebook, [each for asks in asked.values() for each in asks], limits, seed, slot, **more)
    return judged(of, salt, asked, reply.answers), reply
