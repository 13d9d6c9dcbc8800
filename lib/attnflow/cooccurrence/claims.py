"""The claims of chapter 2, each with the control that must fail. Those that are exact are in ``exact``."""

from attnflow.claims import Above, Below, Control, Exactly, Near
from attnflow.cooccurrence import balance, exact, experiments, readings, reduced
from attnflow.cooccurrence.exact import DERIVED, KNOWN, MARGIN, PAPER, claim
from attnflow.sweep import Sweep


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


PHASES = (
    claim(
        "boundary",
        "Phase 1 ends when the reduced flow says so",
        r"$\tau_\star = |\omega(0)|^2t_\star$, where the mean margins of all classes stay positive; "
        r"with $\sigma_0 = 0.01/\sqrt{Lk}$.",
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
        r"$\mathcal L(t_\star)$ is the number of the reduced flow, of order one.",
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
        r"The losses of $I_2$ and $I_3$ both rise by more than 0.03 above their start before $t_\star$.",
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
        r"At $t_\star$ the four watched scores have done less than one hundredth of their whole change.",
        provenance="paper, Theorem 3.1; the number derived here",
        experiment=experiments.base,
        read=readings.score_share,
        holds=Below(0.01),
        control=Control(r"a small readout, $\sigma_1 = 0.02/\sqrt o$", experiments.tiny_readout),
    ),
    claim(
        "separation",
        "Values first, scores second",
        r"At $t_\star$ the token scores have done a part of their change that is more than five times that of the "
        "attention scores.",
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
        r"For all $t \ge t_\star$ the ratio $\rho$ is inside (1, 2), at least 0.1 from both ends.",
        provenance="paper, section 4; the room of 0.1 derived here",
        experiment=experiments.base,
        read=readings.range_room,
        holds=Above(0.1),
        control=Control("n = 12 samples", experiments.few),
    ),
    claim(
        "balance-singles",
        "The gradients balance: both single words alike",
        r"For all $t \ge t_\star$ the largest $|\log(s_3/s_2)|$ is small.",
        provenance="paper, Lemma 4.4",
        experiment=experiments.base,
        read=readings.singles_apart,
        holds=Below(0.15),
        control=Control(r"large $\sigma_0$, $c_0 = 16$", experiments.large),
    ),
    claim(
        "balance-step",
        "Descent keeps the range while its step is small",
        r"Descent with $\eta = 0.01$ keeps $\rho$ inside (1, 2) by 0.1 from $t_\star$ on.",
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

CLAIMS = exact.ALGEBRA + exact.LAYERS + PHASES + BALANCE

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
