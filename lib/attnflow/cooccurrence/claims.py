"""The claims of chapter 2, each with the control that must fail."""

from attnflow.claims import Above, Below, Claim, Control, Exactly, Near
from attnflow.cooccurrence import balance, experiments, readings, reduced, theory
from attnflow.sweep import Sweep

CHAPTER = "cooccurrence"
PAPER = ("yang2024cooccurrence",)
MARGIN = ("soudry2018implicit", "ji2021characterizing")
LAWS = ("du2018balanced", "marcotte2023abide")
DERIVED, KNOWN = "derived here", "derived here from a known theorem"


def claim(name, title, statement, **more):
    """A claim of this chapter; provenance and works cited default to the paper's."""
    return Claim(id=f"{CHAPTER}.{name}", chapter=CHAPTER, title=title, statement=statement, **({"cite": PAPER} | more))


def landmark(name, mark="tau_1"):
    """A number of the reduced flow at n = 60, L = 5, solved only when a claim is run."""
    return lambda: float(reduced.Reduced(60, 5).landmarks()[mark][name])


def second_loss_rise():
    """How far the reduced flow lifts the loss of the second class above log 2."""
    flow = reduced.Reduced(60, 5)
    return float(flow.landmarks()["peak"]["class_loss"][1] - flow.solve([0.0, 1.0])["class_loss"][0, 1])


def ratio_of(samples):
    """The limit of the ratio in closed form, at L = 5."""
    return lambda: balance.predicted(samples, 5)[2]


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
        predict=ratio_of(float("inf")),
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
        experiment=experiments.reduced_run,
        read=lambda record: record["gap"],
        holds=Below(1e-10),
        control=Control("signs that are trained too", experiments.reduced_run.but(trained_signs=True)),
    ),
    *(
        claim(
            f"law-{name}",
            f"The {name} balance drifts at first order",
            rf"${formula}$ drifts by $O(\eta)$ along descent: halving the step halves the drift, order 1.",
            provenance=KNOWN,
            cite=LAWS,
            experiment=experiments.law_drift,
            predict=1.0,
            read=readings.slope(name),
            holds=Near(abs=0.05),
            control=Control("Adam with the same steps", experiments.law_drift.but(optimiser="adam")),
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
        experiment=experiments.law_drift,
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
        experiment=experiments.law_drift,
        read=lambda record: record["off signs"].amax(dim=0),
        holds=Below(1e-12),
        control=Control("signs that are trained too", experiments.law_drift.but(trained_signs=True)),
    ),
    claim(
        "one-step",
        "One step of descent, exactly",
        r"$\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$ for both pairs of factors, here at $\eta = 0.1$.",
        provenance=DERIVED,
        cite=("du2018balanced",),
        experiment=experiments.one_step,
        read=lambda record: record["worst"],
        holds=Below(1e-12),
        control=Control("momentum 0.9", experiments.one_step.but(momentum=0.9)),
    ),
    claim(
        "descent-order",
        "Descent follows the flow of the Transformer",
        r"The distance of descent to an accurate solution of the flow is $C\eta + O(\eta^2)$: observed order 1.",
        provenance="textbook",
        cite=("hairer1993solving",),
        experiment=experiments.order_run,
        predict=1.0,
        read=lambda record: readings.flow.observed_order(record["steps"], record["error"]),
        holds=Near(abs=0.05),
        control=Control("Adam with the same steps", experiments.order_run.but(optimiser="adam")),
    ),
)

PHASES = (
    claim(
        "boundary",
        "Phase 1 ends when the reduced flow says so",
        r"$\tau_1 = |\omega(0)|^2t_1$, where the mean margins of all classes stay positive; with $\sigma_0 = 0.01/\sqrt{Lk}$.",
        provenance=f"{DERIVED}; that a time of order $1/|\\omega|^2$ exists is the paper's Theorem 3.1",
        experiment=experiments.early,
        predict=landmark("tau"),
        read=lambda run: run["tau_1"],
        holds=Near(rel=0.06),
        control=Control("fractions 0.2, 0.3, 0.3, 0.2", experiments.early.but(fractions=experiments.UNEQUAL)),
    ),
    claim(
        "boundary-loss",
        "The loss is still large at the end of Phase 1",
        r"$\mathcal L(t_1)$ is the number of the reduced flow, of order one.",
        provenance=f"{DERIVED}; that it is of order one is the paper's Theorem 3.1",
        experiment=experiments.early,
        predict=landmark("loss"),
        read=readings.boundary_loss,
        holds=Near(rel=0.03),
        control=Control("fractions 0.2, 0.3, 0.3, 0.2", experiments.early.but(fractions=experiments.UNEQUAL)),
    ),
    claim(
        "early-rise",
        "Single words are misjudged first",
        r"The losses of $I_2$ and $I_3$ both rise by more than 0.03 above their start before $t_1$.",
        provenance="paper, Lemmas 4.1 and 4.2; the number derived here",
        experiment=experiments.early,
        predict=second_loss_rise,
        read=readings.rise,
        holds=Above(0.03),
        control=Control("fractions 0.2, 0.3, 0.3, 0.2", experiments.early.but(fractions=experiments.UNEQUAL)),
    ),
    claim(
        "scores-wait",
        "Phase 1 hardly moves the attention scores",
        "At $t_1$ the four watched scores have done less than one hundredth of their whole change.",
        provenance="paper, Theorem 3.1; the number derived here",
        experiment=experiments.base,
        read=readings.score_share,
        holds=Below(0.01),
        control=Control(r"a small readout, $\sigma_1 = 0.02/\sqrt o$", experiments.tiny_readout),
    ),
    claim(
        "separation",
        "Values first, scores second",
        "At $t_1$ the token scores have done a part of their change that is more than five times that of the attention scores.",
        provenance="paper, Theorems 3.1 and 3.2; the number derived here",
        experiment=experiments.base,
        read=readings.separation,
        holds=Above(5),
        control=Control(r"a small readout, $\sigma_1 = 0.02/\sqrt o$", experiments.tiny_readout),
    ),
    claim(
        "score-signs",
        "Where the attention scores go",
        r"In Phase 2 $\Phi_{12}, \Phi_{21}$ rise and $\Phi_{13}, \Phi_{23}$ fall, $\Phi = W_QW_K^\top$, between all records.",
        provenance="paper, Theorem 3.2",
        experiment=experiments.base,
        predict=1.0,
        read=readings.score_signs,
        holds=Exactly(),
        control=Control("labels that ask for one word alone", experiments.presence),
    ),
    claim(
        "paper-scores",
        "The paper's own experiment moves its scores the same way",
        r"Under the uniform reading of 'Kaiming' all four changes have the sign of Theorem 3.2 after 1000 steps: the "
        "least is above a tenth of the largest.",
        provenance="paper, appendix A and Theorem 3.2; the reading derived here",
        experiment=experiments.paper_run,
        read=readings.paper_scores,
        holds=Above(0.1),
        control=Control("labels that ask for one word alone", experiments.paper_run.but(label="first")),
    ),
    claim(
        "value-signs",
        "Where the value Gram matrix goes",
        r"In Phase 2 entry (1,2) of $W_VW_V^\top$ rises and entries (1,3), (2,3) fall between all records.",
        provenance="paper, Theorem 3.2",
        experiment=experiments.base,
        predict=1.0,
        read=readings.value_signs,
        holds=Exactly(),
        control=Control("labels that ask for one word alone", experiments.presence, quota=(8, 10)),
    ),
    claim(
        "token-sums",
        "Co-occurrence is read from sums of token scores",
        r"At the end $\gamma_1+\gamma_2+\gamma_3$, $-(\gamma_1+\gamma_3)$ and $-(\gamma_2+\gamma_3)$ exceed $\gamma_1/10$.",
        provenance="paper, Theorem 3.2",
        experiment=experiments.base,
        read=readings.token_sums,
        holds=Above(0.1),
        control=Control("no common word", experiments.no_common),
    ),
    claim(
        "loss-rate",
        "The loss falls like 1/t",
        r"From $\mathcal L = 10^{-2}$ to $10^{-4}$ the slope $d\log\mathcal L/d\log t$ is close to $-1$.",
        provenance="paper, Theorem F.8",
        experiment=experiments.base,
        predict=-1.0,
        read=readings.fall,
        holds=Near(abs=0.2),
        control=Control("the same slope in Phase 1", read=readings.early_fall),
    ),
    claim(
        "test-accuracy",
        "It generalises",
        "Fresh samples with random words from the whole vocabulary are classified right in more than 95 %.",
        provenance="paper, Theorem 3.3; the number chosen here",
        experiment=experiments.base,
        read=lambda run: run["accuracy"],
        holds=Above(0.95),
        control=Control("no common word, so no bias", experiments.no_common),
    ),
    claim(
        "reduced-flow",
        "The reduced flow predicts the loss",
        r"Until $\tau = 100$ the loss stays within 20 % of that of the reduced flow.",
        provenance=DERIVED,
        experiment=experiments.base,
        read=readings.ode_gap,
        holds=Below(0.2),
        control=Control(r"a small readout, $\sigma_1 = 0.02/\sqrt o$", experiments.tiny_readout),
    ),
    claim(
        "idle-attention",
        "Attention is nearly idle",
        r"Freezing $W_Q, W_K$ changes the loss at $\tau = 40$ by less than $10^{-5}$, relative.",
        provenance=DERIVED,
        experiment=experiments.idle,
        read=lambda record: record["gap"],
        holds=Below(1e-5),
        control=Control(r"$\sigma_0$ forty times larger", experiments.idle.but(scale=4.0)),
    ),
    claim(
        "uniform-attention",
        "Attention stays uniform",
        r"No attention weight leaves $1/L$ by more than a thousandth of it, down to a loss of $10^{-6}$.",
        provenance="paper, Theorem F.8 (change of order $1/L^2$); the number derived here",
        experiment=experiments.base,
        read=readings.unevenness,
        holds=Below(1e-3),
        control=Control(r"large $\sigma_0$, $c_0 = 16$", experiments.large),
    ),
)

BALANCE = (
    claim(
        "balance-range",
        "The gradients balance: the ratio stays in its range",
        r"For all $t \ge t_1$ the ratio $\rho$ is inside (1, 2), at least 0.1 from both ends.",
        provenance="paper, section 4; the room of 0.1 derived here",
        experiment=experiments.base,
        read=readings.range_room,
        holds=Above(0.1),
        control=Control("n = 12 samples", experiments.few),
    ),
    claim(
        "balance-singles",
        "The gradients balance: both single words alike",
        r"For all $t \ge t_1$ the largest $|\log(s_3/s_2)|$ is small.",
        provenance="paper, Lemma 4.4",
        experiment=experiments.base,
        read=readings.singles_apart,
        holds=Below(0.15),
        control=Control(r"large $\sigma_0$, $c_0 = 16$", experiments.large),
    ),
    claim(
        "balance-step",
        "Descent keeps the range while its step is small",
        r"Descent with $\eta = 0.01$ keeps $\rho$ inside (1, 2) by 0.1 from $t_1$ on.",
        provenance=DERIVED,
        experiment=experiments.stepped,
        read=readings.range_room,
        holds=Above(0.1),
        control=Control(r"$\eta = 0.1$", experiments.stepped.but(step=0.1)),
    ),
    claim(
        "balance-limit",
        "The limit of the sums",
        r"$s_2/s_1$ and $s_3/s_1 \to (5n+2L-6)/(7n+6L-12)$ and $s_4/s_1 \to 0$; the largest distance at loss $10^{-6}$.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        experiment=experiments.base,
        read=readings.limit_gap,
        holds=Below(0.004),
        control=Control("random words that repeat", experiments.repeated),
    ),
    claim(
        "balance-ratio",
        "The limit of the ratio",
        r"$\rho \to (3n-2L)/(2(n+2L-3))$ where class 4 is idle, here at n = 60, L = 5.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        experiment=experiments.base,
        predict=ratio_of(60),
        read=readings.end_ratio,
        holds=Near(rel=0.03),
        control=Control("the limit 3/2 of many samples", predict=1.5),
    ),
    claim(
        "balance-active",
        "The limit where class 4 is a support vector",
        r"$\rho \to 2(2n-3)/(3(n+L-1))$, here at n = 24, L = 5.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        experiment=experiments.few_active,
        predict=ratio_of(24),
        read=readings.end_ratio,
        holds=Near(rel=0.02),
        control=Control(
            "the form with class 4 idle",
            predict=lambda: float(balance.limit(False)["rho"].subs({balance.SAMPLES: 24, balance.LENGTH: 5})),
        ),
    ),
    claim(
        "balance-dual",
        "Any data: the dual, sample by sample",
        "With repeated random words the loss derivatives at the end correlate with the dual variables of the data above 0.7.",
        provenance=KNOWN,
        cite=MARGIN,
        experiment=experiments.repeated,
        read=readings.dual_correlation,
        holds=Above(0.7),
        control=Control(r"distinct words and large $\sigma_0$, $c_0 = 16$", experiments.large),
    ),
    claim(
        "balance-unequal",
        "Unequal classes still balance",
        r"With fractions 0.2, 0.3, 0.3, 0.2 there is no early rise, and $\rho$ still ends at the dual of the data.",
        provenance=KNOWN,
        cite=MARGIN,
        experiment=experiments.unequal,
        predict=readings.dual_ratio,
        read=readings.end_ratio,
        holds=Near(rel=0.03),
        control=Control("the closed form for equal classes", predict=ratio_of(60)),
    ),
    claim(
        "balance-rare",
        "A rare class does not balance",
        r"With three samples in $I_3$, $s_3/s_2$ ends at the dual of the data, far from 1: Lemma 4.4 needs its fractions.",
        provenance=KNOWN,
        cite=PAPER + MARGIN,
        experiment=experiments.rare,
        predict=readings.dual_singles,
        read=readings.end_singles,
        holds=Near(rel=0.05),
        control=Control("the prediction 1 of the lemma", predict=1.0),
    ),
    claim(
        "balance-survives",
        "Balancing survives without two phases",
        r"With a small readout, where Phase 1 is lost, $\rho$ still ends within 5 % of its limit.",
        provenance=KNOWN,
        cite=("lyu2020gradient",),
        experiment=experiments.tiny_readout,
        predict=ratio_of(60),
        read=readings.end_ratio,
        holds=Near(rel=0.05),
        control=Control("n = 12 samples", experiments.few),
    ),
)

CLAIMS = ALGEBRA + LAYERS + PHASES + BALANCE

SWEEPS = (
    Sweep(
        "phase_diagram",
        "where the sums of loss derivatives end, over n and L",
        experiments.cell,
        {"length": (3, 4, 5, 6, 7, 8), "samples": tuple(range(6, 85, 6))},
        {"seeds": 4, "width": 64, "stop_loss": 1e-6},
    ),
    Sweep(
        "paper_experiment",
        "the paper's own experiment, under both readings of its initialisation",
        experiments.paper_curves,
        {"reading": ("default", "he")},
        {"seeds": 4, "epochs": 30_000, "count": 200},
    ),
)
