"""The claims of chapter 2 that are exact: algebra, counts, the reduction, the layer laws."""

from attnflow.claims import Below, Claim, Control, Exactly, Near
from attnflow.cooccurrence import balance, layers, readings, theory
from attnflow.flow import observed_order

CHAPTER = "cooccurrence"
PAPER = ("yang2024cooccurrence",)
MARGIN = ("soudry2018implicit", "ji2021characterizing")
LAWS = ("du2018balanced", "marcotte2023abide")
DERIVED, KNOWN = "derived here", "derived here from a known theorem"


def claim(name, title, statement, **more):
    """A claim of this chapter; provenance and works cited default to the paper's."""
    return Claim(id=f"{CHAPTER}.{name}", chapter=CHAPTER, title=title, statement=statement, **({"cite": PAPER} | more))


ALGEBRA = (
    claim(
        "gradient",
        "The gradient of all four matrices",
        r"The chain-rule gradient with S and $c$ as symbols equals autograd at random points.",
        provenance=f"paper, appendix B, re-{DERIVED}",
        read=lambda: theory.agreement(points=2),
        holds=Below(1e-10),
        control=Control(
            "the mean left out of the softmax derivative", read=lambda: theory.agreement(2, complete=False)
        ),
    ),
    claim(
        "proof-laws",
        "Four layer laws",
        r"$W_Q^\top W_Q - W_K^\top W_K$, $W_V^\top W_V - W_OW_O^\top$, $\mathbf 1^\top W_K$ and $W_O(I - \xi\xi^\top/o)$ are "
        "constant along the flow: all four proved.",
        provenance=KNOWN,
        cite=LAWS,
        predict=4,
        read=lambda: sum(proved for name, proved in theory.proved().items() if name != "query sum"),
        holds=Exactly(),
        control=Control(
            r"$\mathbf 1^\top W_Q$ in place of $\mathbf 1^\top W_K$",
            read=lambda: sum(proved for name, proved in theory.proved().items() if name != "key sum"),
        ),
    ),
    claim(
        "count-laws",
        "There are no other layer laws",
        r"On one-hot words with $d=4$, $k=o=2$ the count from above meets the $3 + 2 + 3 + 2 = 10$ laws that are known.",
        provenance=KNOWN,
        cite=("marcotte2023abide", "marcotte2025transformative"),
        predict=lambda: theory.known_laws(4, 2, 2),
        read=lambda: theory.count()["laws"],
        holds=Exactly(),
        control=Control("Gaussian tokens, which do not sum to one", read=lambda: theory.count(one_hot=False)["laws"]),
    ),
    claim(
        "fixed-ratio",
        "The paper's quadratic, at the limit of the dual",
        r"With $S_1:S_2:S_4 = 7:5:0$ its contractive zero is exactly $\rho = 3/2$, the ratio of the dual at $n = \infty$.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        predict=lambda: balance.predicted()[2],
        read=lambda: float(balance.fixed_ratio()),
        holds=Exactly(),
        control=Control("equal sums", read=lambda: float(balance.fixed_ratio((1, 1, 0)))),
    ),
    claim(
        "ratio-range",
        "The quadratic keeps the ratio between 1 and 2",
        r"At $\rho = 1$ it points up if $S_4 < 2S_1$, at $\rho = 2$ down: proved by signs.",
        provenance=f"paper, section 4, re-{DERIVED}",
        predict=1,
        read=lambda: int(balance.range_holds()),
        holds=Exactly(),
        control=Control("without $S_4 < 2S_1$", read=lambda: int(balance.range_holds(bounded=False))),
    ),
    claim(
        "closed-forms",
        "Both closed forms are the dual",
        "Over seven pairs (n, L) the closed forms, with class 4 idle or active as the edge polynomial says, equal the dual "
        "of drawn data by non-negative least squares.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        read=readings.closed_form_gap,
        holds=Below(1e-9),
        control=Control("class 4 taken as idle throughout", read=lambda: readings.closed_form_gap(force_idle=True)),
    ),
    claim(
        "range-edge",
        "Where the lower end of the range is reached",
        r"At $n = 3(L+1)$ the dual has $\rho = 1$ exactly, for L = 3, 5, 7.",
        provenance=DERIVED,
        cite=PAPER + MARGIN,
        read=readings.edge_gap,
        holds=Below(1e-9),
        control=Control(r"$n = 3(L+1) + 6$", read=lambda: readings.edge_gap(extra=6)),
    ),
)

LAYERS = (
    claim(
        "reduction",
        "The reduction is exact",
        r"Descent of $(\omega, W_V, W_K, W_Q)$ and of all four matrices agree after 300 steps, over the largest entry.",
        provenance=DERIVED,
        experiment=layers.reduced_run,
        read=lambda record: record["gap"],
        holds=Below(1e-10),
        control=Control("signs that are trained too", layers.reduced_run.but(trained_signs=True)),
    ),
    *(
        claim(
            f"law-{name}",
            f"The {name} balance drifts at first order",
            rf"${formula}$ drifts by $O(\eta)$ along descent: halving the step halves the drift, order 1.",
            provenance=KNOWN,
            cite=LAWS,
            experiment=layers.law_drift,
            predict=1.0,
            read=readings.slope(name),
            holds=Near(abs=0.05),
            control=Control("Adam with the same steps", layers.law_drift.but(optimiser="adam")),
        )
        for name, formula in (
            ("query-key", r"W_Q^\top W_Q - W_K^\top W_K"),
            ("value-output", r"W_V^\top W_V - W_OW_O^\top"),
        )
    ),
    claim(
        "law-key-sum",
        "The sum of the key rows does not move",
        r"One-hot words sum to one, so softmax keeps $\mathbf 1^\top W_K$ at every step size.",
        provenance=KNOWN,
        cite=("kunin2021neural",),
        experiment=layers.law_drift,
        read=lambda record: record["key sum"].amax(dim=0),
        holds=Below(1e-12),
        control=Control("the sum of the query rows", read=lambda record: record["query sum"].amax(dim=0)),
    ),
    claim(
        "law-off-signs",
        "Only the readout part of the output weights moves",
        r"$W_O(I - \xi\xi^\top/o)$ stays as it was drawn, at every step size.",
        provenance=DERIVED,
        cite=(),
        experiment=layers.law_drift,
        read=lambda record: record["off signs"].amax(dim=0),
        holds=Below(1e-12),
        control=Control("signs that are trained too", layers.law_drift.but(trained_signs=True)),
    ),
    claim(
        "one-step",
        "One step of descent, exactly",
        r"$\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$ for both pairs of factors, here at $\eta = 0.1$.",
        provenance=DERIVED,
        cite=("du2018balanced",),
        experiment=layers.one_step,
        read=lambda record: record["worst"],
        holds=Below(1e-12),
        control=Control("momentum 0.9", layers.one_step.but(momentum=0.9)),
    ),
    claim(
        "descent-order",
        "Descent follows the flow of the Transformer",
        r"The distance of descent to an accurate solution of the flow is $C\eta + O(\eta^2)$: observed order 1.",
        provenance="textbook",
        cite=("hairer1993solving",),
        experiment=layers.order_run,
        predict=1.0,
        read=lambda record: observed_order(record["steps"], record["error"]),
        holds=Near(abs=0.05),
        control=Control("Adam with the same steps", layers.order_run.but(optimiser="adam")),
    ),
)
