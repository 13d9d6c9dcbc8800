"""The figure of the section on balancing: what drifts with the step, what moves at any step, and what does not move at all."""

from attnflow import plot

FLOOR = 1e-17  # rounding errors below this, zero among them, are drawn here
LOOKS = {"softmax": ("softmax", "blue", "sky"), "gaussian": ("Gaussian", "green", "purple")}


def balances_figure(record, carried, claim):
    r"""Drift against the step: the query-key balance on the left, the rows $w^\top W_K$ and $w^\top(W_Q + W_K)$ on the right.

    record: of ``balancing.law_drift``, with softmax and Gaussian; carried: of ``imbalance.flow_run`` to the same time, the level
    that the Gaussian cannot fall below; claim: the one that predicts the order of softmax.
    """
    figure, (left, right) = plot.figure(2, height=3.1)
    steps = record["softmax"]["steps"]
    plot.scaling(left, [(record[kernel]["query-key"], look[1], look[0]) for kernel, look in LOOKS.items()], steps)
    highest = float(record["softmax"]["query-key"][0].median())
    plot.loglog_guide(left, steps, highest, plot.predicted(claim), "order 1")
    level = float(carried["predicted"].median())
    plot.theory(left, steps, [level] * len(steps), "integral of the law")
    rows = [
        (record[kernel][law].clamp(min=FLOOR), colour, f"{look[0]}, {formula}")
        for kernel, look in LOOKS.items()
        for law, formula, colour in (
            ("key shift", r"$w^\top W_K$", look[1]),
            ("shift", r"$w^\top(W_Q + W_K)$", look[2]),
        )
    ]
    plot.scaling(right, rows, steps)
    left.set(ylabel="drift", title=r"$W_Q^\top W_Q - W_K^\top W_K$")
    right.set(title="rows along the shared direction", ylim=(FLOOR / 10, 10))
    left.legend(loc="center", bbox_to_anchor=(0.5, 0.6))
    right.legend(loc="center")
    return figure
