"""The box of a claim that was run, as a chapter shows it: what is claimed, its dots, and what became of it; and the table."""

from collections.abc import Sequence

import numpy as np

from attnflow import door
from attnflow.claims import dots

ROW = door.is_a("a Row of a claim", lambda value: hasattr(value, "control_fails"))


@door.takes(row=ROW)
def picture(row: object) -> str:
    """The dots of a ``row`` as one HTML element; empty for a proof and where nothing was run."""
    if not row.accepted or row.proved:
        return ""
    one = None if row.predicted is None else float(np.mean(row.predicted))
    words = f"Dots on a line: {row.shown}, where {row.criterion} is accepted; its control {row.control_shown}"
    return dots.image(dots.svg(*row.placed, row.accepted, one, row.title), words)


@door.takes(row=ROW)
def box(row: object) -> str:
    """The box of a ``row`` in Markdown: statement, dots, what was predicted, measured and broken, and where it comes from."""
    head = f'<a id="box-{row.key}"></a>**{row.title}** · [`{row.id}`](#claim-{row.key})'
    parts = [head, row.statement, picture(row), *told(row), f"*Where it comes from:* {row.provenance}."]
    lines = "\n\n".join(part for part in parts if part)
    return "\n".join("> " + line for line in lines.splitlines())


@door.takes(row=ROW)
def told(row: object) -> list[str]:
    """Two sentences of a ``row``: what became of the claim, and of its control."""
    if not row.testable:
        return [f"It is {row.state}."]
    if row.error:
        return [f"It **could not be run**: {row.error}."]
    found, broken = row.found
    over = f" over {len(row.measured)} seeds" if row.seed_dependent else ""
    if row.proved:
        first = f"{found.capitalize()}."
    else:
        forecast = f"Predicted {row.forecast}, measured" if row.forecast else "Measured"
        accepted = "" if len(set(row.accepted)) == 1 else f" (accepted: {row.criterion})"
        holds = row.said("it holds" if row.holds else "it is **violated**", row.good)
        first = f"{forecast} {found}{over}{accepted}: {holds}."
    fails = row.said("it fails, as it must" if row.control_fails else "it **does not fail**", row.control_good)
    return [first, f"*Control,* {row.control}: {broken}; {fails}. {row.because}".rstrip()]


@door.takes(rows=door.several(ROW, 0))
def table(rows: Sequence) -> str:
    """The ``rows`` of a chapter as a Markdown table: prediction, range over seeds, verdict, control."""
    lines = ["| claim | predicted | measured | criterion | control |", "|---|---|---|---|---|"]
    cells = ([cell.replace("|", r"\|") for cell in row.cells()] for row in rows)  # a bar in a formula ends no cell
    return "\n".join(lines + ["| " + " | ".join(each) + " |" for each in cells])
