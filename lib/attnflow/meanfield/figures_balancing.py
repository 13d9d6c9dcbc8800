"""The figure of the section on balancing: balances that decay at one rate, and neurons that leave it."""

import math

from attnflow import plot

LOOKS = ("sky", "blue", "purple")  # one a decay
NEURONS = 8  # of one run, whose ways are drawn


def decay_figure(records, smooth, kinked):
    r"""The query-key balance of all heads against time for some decays; what is left of single neurons when decay is divided out.

    records: decay -> record of ``balancing.decayed``, up to three; smooth, kinked: records of ``balancing.carried`` with tanh and
    with ReLU neurons.
    """
    figure, (left, right) = plot.figure(2, height=3.1)
    for colour, (decay, record) in zip(LOOKS, records.items(), strict=False):
        times, size = record["times"], record["size"]["query-key"]
        plot.measured(left, times, size / size[0], colour, rf"$\lambda$ = {decay:g}", lw=2.6)
    for decay, record in records.items():
        plot.theory(left, record["times"], [math.exp(-2 * decay * time) for time in record["times"].tolist()])
    for record, colour, label in ((smooth, "orange", "tanh"), (kinked, "blue", "ReLU")):
        plot.measured(right, record["times"], one_block(record["left"]), colour, label, lw=2.6)
    for lines, label in ((one_block(smooth["known"]).T, "integral of the law"), (one_block(kinked["known"]).T, None)):
        for place, line in enumerate(lines):
            plot.theory(right, smooth["times"], line, label if place == 0 else None)
    left.set(
        yscale="log", xlabel="time $t$", ylabel="size over its start", title=r"$W_Q^\top W_Q - W_K^\top W_K$, all heads"
    )
    right.set(xlabel="time $t$", title=r"$\delta(t)e^{2\lambda t} - \delta(0)$, single neurons")
    left.legend(loc="lower left")
    right.legend(loc="lower left")
    return figure


def one_block(values):
    """The first neurons of the first block of the first run of some ``values`` (K, S, J, m): (K, ``NEURONS``)."""
    return values[:, 0, 0, :NEURONS]
