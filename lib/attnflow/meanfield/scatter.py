r"""Chapter 5, scatter: heads drawn from the density, how far from it they are, and how they keep each other near."""

import torch

from attnflow import Above, Control, Experiment, Near, Trial, checks, door, flow, kinds, runs
from attnflow.meanfield import cloud, toy, volumes
from attnflow.meanfield.setting import claim
from attnflow.meanfield.transport import DECAY

TIME, STEP, SAMPLES = 2.0, 0.5, 4  # fewer sequences than elsewhere, so that 128 replicas are affordable
TOGETHER = 64  # so many copies fit a cache


def scattered(
    seeds: tuple,
    device: torch.device,
    widths: tuple = (16, 64, 256),
    copies: int = 128,
    draw: str = "independent",
    coupled: bool = True,
    samples: int = SAMPLES,
    time: float = TIME,
) -> dict:
    r"""Random particles against the density, which 1024 particles at its quantiles stand for.

    seeds, device: of the runs; widths: (W,) particles a layer; copies: replicas a seed; draw: of ``cloud.drawn``; coupled:
    whether particles feel each other, or the density alone; samples: n; time: of the end. Returns the mean Wasserstein-1
    distance over copies and layers at the start and at the end, ``first`` and ``last``, those of the same draws in the field of
    the density, ``alone``, and those that are ``expected_first`` and ``expected_last`` of independent draws, (W, S) each;
    ``widths``.
    """
    data = toy.drawn(seeds, device, samples=samples)
    together = min(TOGETHER, copies)
    runs.check("copies", copies, f"a multiple of {together}", copies % together == 0)
    alone = [tuple(each[run : run + 1] for each in data) for run in range(len(seeds))]
    fields = [cloud.field(*one, DECAY, volumes.Nodes()) for one in alone for _ in range(0, copies, together)]

    def ends(field, places):
        options = {"step": STEP, "times": [time], "method": flow.RungeKutta()}
        return flow.integrate(field, {"theta": places}, **options).state["theta"]

    start = cloud.quantiles(cloud.MANY).to(device)
    whole = start.expand(len(seeds), toy.DEPTH, -1).clone()
    end = ends(cloud.field(*data, DECAY, volumes.Nodes()), whole)
    rows = []
    for width, places in zip(widths, cloud.drawn(runs.replicas(seeds, copies), widths, draw), strict=True):
        places = places.to(device)
        begun = places.unflatten(0, (len(seeds), copies))
        free = moved(begun, start, end)
        last = ends(flow.in_blocks(fields, together), places).view_as(begun) if coupled else free
        seen = {"first": (begun, whole), "last": (last, end), "alone": (free, end)}
        row = {name: cloud.distance(one, law[:, None]).mean(dim=(1, 2)) for name, (one, law) in seen.items()}
        expected = {"expected_first": whole, "expected_last": end}
        rows.append(row | {name: cloud.expected(law, width).mean(dim=1) for name, law in expected.items()})
    return checks.stacked(rows) | {"widths": widths}


@door.takes(places="S R J m", start="M", end="S J M")
def moved(places, start, end):
    """Where the flow of the density, which takes sorted ``start`` (M,) to ``end`` (S, J, M), takes ``places`` (S, R, J, m).

    It is linear between two neighbours of the start, of which there are two at least, and goes on straight outside.
    """
    rising = len(start) > 1 and bool((start.diff() > 0).all())
    runs.check("start", f"{len(start)} places", "two at least, in rising order", rising)
    right = torch.searchsorted(start, places).clamp(1, len(start) - 1)
    share = (places - start[right - 1]) / (start[right] - start[right - 1])
    tables = end[:, None].expand(-1, places.shape[1], -1, -1)
    low, high = (tables.gather(3, each) for each in (right - 1, right))
    return low + share * (high - low)


@door.takes(name=door.TEXT, known=door.TEXT)
def over(name, known):
    """Reading: a distance ``name`` over one that is ``known``, the mean over widths. (S,)."""
    return lambda record: (record[name] / record[known]).mean(dim=0)


random = Experiment(scattered)

CLAIMS = (
    claim(
        "transport-scatter",
        "How far independent heads are from their law",
        r"Mean Wasserstein-1 distance of $m$ draws at time 0 over $\int E|F_m - F|\,d\theta$, known exactly from binomials: mean "
        r"over $m = 16, 64, 256$ of the means over 128 replicas and three layers.",
        Trial(random, over("first", "expected_first"), Near(abs=0.06), predict=1.0),
        Control("one draw in each of $m$ equal shares", {"draw": "stratified"}),
        provenance="textbook",
    ),
    claim(
        "transport-rate",
        r"Random heads follow the density to $m^{-1/2}$",
        r"Exponent of the mean Wasserstein-1 distance of $m$ heads a layer, trained together, to the density at time 2: over the "
        "same widths and replicas, four sequences.",
        Trial(random, kinds.slope("last"), Near(abs=0.05), predict=-0.5),
        Control("one draw in each of $m$ equal shares", {"draw": "stratified"}),
    ),
    claim(
        "transport-correction",
        "Heads that feel each other scatter less",
        r"By how much of itself the distance at time 2 is smaller than that of the same draws in the field of the density alone: "
        "mean over the widths.",
        Trial(random, lambda record: 1 - over("last", "alone")(record), Above(0.001)),
        Control("heads that do not feel each other", {"coupled": False}),
    ),
)
