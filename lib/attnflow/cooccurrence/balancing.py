"""What is exact in chapter 2: the gradient, the reduction, the layer laws and their count, one step, and the order."""

from operator import itemgetter

import torch

from attnflow import checks, door, flow, laws, runs
from attnflow.claims import Below, Control, Exactly, Experiment, Near, Trial, kinds
from attnflow.cooccurrence import model, theory
from attnflow.cooccurrence.setting import DERIVED, KNOWN, claim, problem
from attnflow.cooccurrence.task import Task

LAWS = ("du2018balanced", "marcotte2023abide")
ADAM = flow.Optimiser(torch.optim.Adam)
SMALL = {"problem": problem, "samples": 12, "scale": 1.0}
FULL = SMALL | {"full": True, "width": 16, "neurons": 8}
# The rows of a word whose token is twice as long, times that length, learn four times as fast.
ROWS = 1 + 3 * torch.eye(Task(SMALL["samples"]).size, 1, dtype=runs.DTYPE, device="cpu")
LONGER = {"signs": 0.0} | dict.fromkeys(("W_Q", "W_K", "W_V"), ROWS)


@door.takes(state=model.FULL)
def balances(state: dict) -> dict:
    """Every layer law of a full ``state``, and two terms that move. Returns name -> (S, ...)."""
    query, key, out = (state[name] for name in ("W_Q", "W_K", "W_O"))
    along = model.readout(state)[:, :, None] * state["signs"][:, None, :] / out.shape[2]
    return {name: laws.imbalance(*pair) for name, pair in pairs(state).items()} | {
        "key sum": key.sum(dim=1),
        "query sum": query.sum(dim=1),
        "off signs": out - along,
    }


@door.takes(tensors=model.SCORES | model.VALUES | {"W_O": "S k o"})
def pairs(tensors: dict) -> dict:
    """The pairs of factors that meet in a product, of a state or a gradient, ``tensors``. Returns name -> (A, B)."""
    return {
        "query-key": (tensors["W_Q"], tensors["W_K"]),
        "value-output": (tensors["W_V"], tensors["W_O"].mT),
    }


def reduction(
    seeds: tuple, device: torch.device, steps: int = 300, step: float = 0.02, rates: dict | None = None, **settings
) -> dict:
    """Descent of the full model and of its reduction, side by side. Returns ``gap`` (S,), over the largest entry.

    seeds, device, settings: of the problem; steps: how many, of size ``step``; rates: learning rates of the full model.
    """
    full, short = (
        flow.integrate(*problem(seeds, device, **more, **settings), step=step, times=[steps * step]).state
        for more in ({"full": True, "rates": rates}, {})
    )
    both = [(model.reduce(full)[name].flatten(1), value.flatten(1)) for name, value in short.items()]
    gaps = [(one - other).abs().amax(dim=1) / other.abs().amax(dim=1) for one, other in both]
    return {"gap": torch.stack(gaps).amax(dim=0)}


@door.takes(normalised=door.FLAG)
def proved(normalised: bool = True) -> int:
    """How many of all candidates for a law sympy proves, of attention weights that are ``normalised`` or not."""
    return sum(theory.proved(normalised=normalised).values())


@door.takes(one_hot=door.FLAG)
def counted(one_hot: bool = True) -> int:
    """How many laws there are at most, on ``one_hot`` words or on Gaussian tokens."""
    return theory.count(one_hot=one_hot)["laws"]


reduced_run = Experiment(reduction, {"samples": 12, "width": 64})
law_drift = Experiment(checks.drift, FULL | {"balances": balances})
one_step = Experiment(checks.one_step, FULL | {"pairs": pairs, "steps": 20})
order_run = Experiment(checks.order, SMALL | {"width": 8})

CLAIMS = (
    claim(
        "gradient",
        "The gradient of all four matrices",
        r"The chain-rule gradient, with $S$ and the number $yg$ of a sample as symbols, equals autograd at random points.",
        kinds.derived(theory.agreement, Below(1e-10), kind="proof", points=2),
        Control("the mean left out of the softmax derivative", {"complete": False}),
        provenance=f"paper, appendix B, re-{DERIVED}",
    ),
    claim(
        "reduction",
        "The reduction is exact",
        r"Descent of $(\omega, W_V, W_K, W_Q)$ and of all four matrices agree after 300 steps, over the largest entry.",
        Trial(reduced_run, itemgetter("gap"), Below(1e-10)),
        Control("signs that are trained too", {"rates": {}}),
        provenance=DERIVED,
    ),
    claim(
        "proof-laws",
        "Four layer laws",
        r"$W_Q^\top W_Q - W_K^\top W_K$, $W_V^\top W_V - W_OW_O^\top$, $\mathbf 1^\top W_K$ and $W_O(I - \xi\xi^\top/o)$ are "
        r"constant along the flow: all four proved, and $\mathbf 1^\top W_Q$ not.",
        kinds.derived(proved, Exactly(), 4, "proof"),
        Control("attention weights that are not normalised", {"normalised": False}),
        provenance=KNOWN,
        cite=LAWS,
    ),
    claim(
        "count-laws",
        "The co-occurrence Transformer has no other layer laws",
        r"On one-hot words with $d=4$, $k=o=2$, $L=4$ the count from above meets the $3 + 2 + 3 + 2 = 10$ laws that are known.",
        kinds.count(counted, theory.known_laws(4, 2, 2)),
        Control("Gaussian tokens, which do not sum to one", {"one_hot": False}),
        provenance=KNOWN,
        cite=("marcotte2023abide", "marcotte2025transformative"),
    ),
    *(
        claim(
            f"law-{name}",
            f"The {name} balance of the co-occurrence Transformer drifts at first order",
            rf"${formula}$ drifts by $O(\eta)$ along descent: halving the step halves the drift, order 1.",
            kinds.law(law_drift, name, holds=Near(abs=0.01)),
            Control(f"twice the learning rate for ${first}$", {"rates": {"signs": 0.0, first: 2.0}}),
            provenance=KNOWN,
            cite=LAWS,
        )
        for name, first, formula in (
            ("query-key", "W_Q", r"W_Q^\top W_Q - W_K^\top W_K"),
            ("value-output", "W_V", r"W_V^\top W_V - W_OW_O^\top"),
        )
    ),
    claim(
        "law-key-sum",
        "The sum of the key rows does not move",
        r"One-hot words sum to one, so softmax keeps $\mathbf 1^\top W_K$ at every step size.",
        kinds.conserved(law_drift, "key sum"),
        Control("tokens of the first word twice as long as all others", {"rates": LONGER}),
        provenance=KNOWN,
        cite=("kunin2021neural",),
    ),
    claim(
        "law-off-signs",
        "Only the readout part of the output weights moves",
        r"$W_O(I - \xi\xi^\top/o)$ stays as it was drawn, at every step size.",
        kinds.conserved(law_drift, "off signs"),
        Control("signs that are trained too", {"rates": {}}),
        provenance=DERIVED,
        cite=(),
    ),
    claim(
        "one-step",
        "One step of the co-occurrence Transformer, exactly",
        r"$\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$ for both pairs of factors, here at $\eta = 0.1$.",
        kinds.one_step(one_step, "query-key", "value-output"),
        Control("momentum 0.9", {"method": flow.Momentum(0.9)}),
        provenance=DERIVED,
        cite=("du2018balanced",),
    ),
    claim(
        "descent-order",
        "Descent follows the flow of the Transformer",
        r"The distance of descent to an accurate solution of the flow is $C\eta + O(\eta^2)$: observed order 1.",
        kinds.order(order_run, 1.0, within=0.002),
        Control("Adam with the same steps", {"method": ADAM}),
        provenance="textbook",
        cite=("hairer1993solving",),
    ),
)
