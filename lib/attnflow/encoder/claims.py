"""The claims of chapter 3, each with the control that must fail."""

import torch

from attnflow.claims import Above, Below, Between, Claim, Control, Exactly, Near
from attnflow.encoder import bounds, counting, experiments, initial, readings, theory
from attnflow.encoder.digits import vision_run
from attnflow.encoder.sweeps import SWEEPS

CHAPTER = "encoder"
PAPER = ("wu2023encoder",)
LAWS = ("du2018balanced", "marcotte2025transformative")
RECALLED = "recalled, constants not checked; derived here for average pooling"
LAZY_NTK = experiments.moved.but(init="ntk", copies=2)
LAZY_LECUN = experiments.moved.but(init="lecun", copies=2)
NARROW = experiments.wide_run.but(init="lecun", scaling=0.5, width=16, samples=24, steps=1000, unit=0.5, every=50)
EDGE = experiments.wide_run.but(init="lecun", scaling=0.5, width=512, steps=200)


def claim(name, title, statement, experiment, read, holds, control, **more):
    """A claim of this chapter, derived here unless it says otherwise."""
    return Claim(
        id=f"{CHAPTER}.{name}",
        chapter=CHAPTER,
        title=title,
        statement=statement,
        experiment=experiment,
        read=read,
        holds=holds,
        control=control,
        **({"provenance": "derived here", "cite": PAPER} | more),
    )


def proof(name, title, statement, holds, control_title, fails, **more):
    """A claim that sympy proves an identity, with a neighbour that it must not prove."""
    return claim(
        name,
        title,
        statement,
        None,
        lambda: int(holds()),
        Exactly(),
        Control(control_title, read=lambda: int(fails())),
        **({"predict": 1, "cite": LAWS} | more),
    )


def law(name, title, statement, experiment, read, control, **more):
    """A claim that a law drifts at first order in the step, and so not at all along the flow.

    A neuron that switches between two steps shifts the measured order, so one seed in ten may be off.
    """
    return claim(
        name,
        title,
        statement + " In nine of ten seeds or more: a neuron that switches between two steps shifts the order.",
        experiment,
        read,
        Near(abs=0.05),
        control,
        **({"predict": 1.0, "cite": LAWS, "quota": (9, 10)} | more),
    )


def lazy(name, init, scaling, edge, title, statement, experiment, blocks, **more):
    """A claim on exponents of movement, with the exponents of the other initialisation as its control."""
    other = "lecun" if init == "ntk" else "ntk"
    return claim(
        name,
        title,
        statement,
        experiment,
        readings.lazy(init, scaling, *blocks),
        Below(edge),
        Control("the exponents of the other initialisation", read=readings.lazy(other, scaling, *blocks)),
        **({"cite": ("chizat2019lazy", *PAPER)} | more),
    )


BALANCING = (
    proof(
        "proof-neuron",
        "Each neuron is balanced with its output weight",
        r"$|v_j|^2 - o_j^2$ is constant along the flow, for any attention, pooling and residual.",
        lambda: theory.law_holds("neuron"),
        "an activation that is not homogeneous",
        lambda: theory.law_holds("neuron", homogeneous=False),
    ),
    proof(
        "proof-query-key",
        "Queries and keys are balanced",
        r"$W_Q^\top W_Q - W_K^\top W_K$ is constant along the flow.",
        lambda: theory.law_holds("query-key"),
        "different learning rates",
        lambda: theory.law_holds("query-key", block_rates=True, rescaled=False),
    ),
    proof(
        "proof-hidden",
        "A trained hidden matrix moves the law one layer up",
        r"With $W_H$ trained, $W_V^\top W_V - W_H W_H^\top$ and, for each column of $W_H$, its squared norm less $o_j^2$ are "
        "constant.",
        lambda: theory.law_holds("value-hidden", hidden=True) and theory.law_holds("hidden-output", hidden=True),
        "the law of $W_V$ and $W_O$ in the same net",
        lambda: theory.law_holds("neuron", hidden=True),
    ),
    proof(
        "proof-rates",
        "With block learning rates the rescaled balance is kept",
        r"With learning rates $\eta_A$ a block, $|v_j|^2/\eta_V - o_j^2/\eta_O$ is constant.",
        lambda: theory.law_holds("neuron", block_rates=True),
        "the balance that is not rescaled",
        lambda: theory.law_holds("neuron", block_rates=True, rescaled=False),
    ),
    law(
        "law-neuron",
        "The neuron balance drifts at first order",
        r"$|v_j|^2 - o_j^2$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        experiments.law_drift,
        readings.order("neuron"),
        Control("the same balance where $W_H$ is trained too", experiments.hidden_drift),
    ),
    law(
        "law-query-key",
        "The query-key balance drifts at first order",
        r"$W_Q^\top W_Q - W_K^\top W_K$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        experiments.law_drift,
        readings.order("query-key"),
        Control("twice the learning rate for $W_Q$", experiments.rated_drift, read=readings.order("query-key, plain")),
    ),
    law(
        "law-hidden",
        "Both balances of the hidden matrix drift at first order",
        r"$W_V^\top W_V - W_H W_H^\top$ and the neuron balance of $W_H, W_O$ drift by $O(\eta)$: order 1 in the step.",
        experiments.hidden_drift,
        readings.order("value-hidden", "hidden-output"),
        Control("the neuron balance of $W_V, W_O$", read=readings.order("neuron")),
    ),
    law(
        "law-rates",
        "The rescaled balances drift at first order",
        r"With block learning rates, $|v_j|^2/\eta_V - o_j^2/\eta_O$ and its query-key twin drift by $O(\eta)$.",
        experiments.rated_drift,
        readings.order("neuron", "query-key"),
        Control("the balance that is not rescaled", read=readings.order("neuron, plain")),
    ),
    claim(
        "one-step",
        "One step of descent, exactly",
        r"$\Delta(W_Q^\top W_Q - W_K^\top W_K) = \eta^2(G_Q^\top G_Q - G_K^\top G_K)$ at every step.",
        experiments.one_step,
        lambda residual: residual,
        Below(1e-12),
        Control("momentum 0.9", experiments.one_step.but(momentum=0.9)),
        cite=LAWS,
    ),
    claim(
        "count",
        "The encoder has no other laws",
        r"With $d = k = 2$ it has exactly 3 laws of $W_Q, W_K$ and one a neuron.",
        None,
        lambda: counting.count()["laws"],
        Exactly(),
        Control("tanh in place of ReLU", read=lambda: counting.count(activation=torch.tanh)["laws"]),
        predict=counting.known(2, 2),
        cite=("marcotte2023abide",),
    ),
    claim(
        "count-hidden",
        "With a trained hidden matrix too",
        r"With $W_H$ trained and $d = k = 2$: 3 laws of $W_Q, W_K$, 3 of $W_V, W_H$, one a neuron, and no others.",
        None,
        lambda: counting.count(hidden=True)["laws"],
        Exactly(),
        Control("tanh in place of ReLU", read=lambda: counting.count(hidden=True, activation=torch.tanh)["laws"]),
        predict=counting.known(2, 2, hidden=True),
        cite=("marcotte2023abide",),
    ),
    claim(
        "equivalence",
        "LeCun is NTK with block learning rates",
        r"LeCun on $X$ and NTK on $X/\sqrt d$ with rates $\eta k$ for $W_O$, $\eta d$ for the others have equal losses at "
        "every step; the largest difference over the first loss.",
        experiments.same_losses,
        lambda gap: gap,
        Below(1e-10),
        Control("equal learning rates", experiments.same_losses.but(block_rates=False)),
    ),
)

THEOREM = (
    claim(
        "bound",
        "The loss stays under the curve of the theorem",
        r"$\mathcal L_t \le (1 - \eta\alpha^2/2)^t\,\mathcal L_0$ at every step: the largest left over right side after the "
        "start.",
        experiments.wide_run.but(init="lecun", width=256, steps=400),
        readings.loss_over_bound,
        Below(1.0),
        Control(r"a step of $4/\mu_{\max}$", experiments.wide_run.but(init="lecun", width=256, steps=400, unit=4.0)),
        provenance=RECALLED,
        cite=(*PAPER, "nguyen2020pyramidal"),
    ),
    claim(
        "invariant",
        "The features keep half of their smallest singular value",
        r"$\sigma_{\min}(\Psi_t) \ge \alpha/2$ along the run at $k = 128$, $n = 12$.",
        experiments.watched_run,
        readings.smallest_share,
        Above(0.5),
        Control("the least width that has an $\\alpha$, $k = n$", experiments.watched_run.but(width=12), quota=(3, 10)),
        cite=(*PAPER, "nguyen2020pyramidal"),
    ),
    claim(
        "inequalities",
        "Every inequality of the derivation holds along a run",
        "Left over right side of the gradient bounds, of the lower bound on the gradient, of the drift of the features and of "
        "Weyl's inequality: the largest over the run.",
        experiments.watched_run,
        readings.worst_inequality,
        Below(1.0),
        Control("the largest singular value in the lower bound", experiments.watched_run.but(largest_singular=True)),
        cite=(*PAPER, "nguyen2020pyramidal"),
    ),
    claim(
        "exponent-half",
        r"With $\tau_0 = k^{-1/2}$ the conditions ask for $k \sim n^3$",
        "For LeCun and He, from condition (B); for NTK no width is enough.",
        None,
        lambda: float(bounds.required("lecun", 0.5)) if bounds.required("ntk", 0.5).is_infinite else 0.0,
        Exactly(),
        Control(r"$\tau_0 = k^{-1}$", read=lambda: float(bounds.required("lecun", 1.0))),
        predict=3.0,
        provenance=RECALLED,
    ),
    claim(
        "exponent-one",
        r"With $\tau_0 = k^{-1}$ they ask for $k \sim n^2$, by a choice of radius",
        "For LeCun and He, from condition (A) of $W_O$ at a radius of the order of one.",
        None,
        lambda: float(bounds.required("lecun", 1.0)),
        Exactly(),
        Control("the best radius, $n^{3/8}$", read=lambda: float(bounds.best_radius("lecun", 1.0)[1])),
        predict=2.0,
        provenance=RECALLED,
    ),
    claim(
        "condition-exponents",
        "The conditions grow with the width as counted",
        r"For LeCun with $\tau_0 = k^{-1}$: exponents 1/2, 3/2, 3/2, 3/2 of (A) for $W_O, W_V, W_Q$ and of (B); the largest "
        "distance from them between $k = 1024$ and 16384.",
        initial.conditions_run.but(scaling=1.0, copies=4),
        readings.condition_exponents("lecun", 1.0),
        Below(0.4),
        Control("the exponents of NTK initialisation", read=readings.condition_exponents("ntk", 1.0)),
    ),
    claim(
        "never",
        "For NTK with the square-root scaling wider is no help",
        r"With $\tau_0 = k^{-1/2}$ and NTK initialisation the exponent of (B) is $-1/2$: the condition recedes.",
        initial.conditions_run.but(init="ntk", copies=4),
        readings.slope("B"),
        Near(abs=0.35),
        Control(r"$\tau_0 = k^{-1}$", initial.conditions_run.but(init="ntk", scaling=1.0, copies=4)),
        predict=-0.5,
    ),
    claim(
        "not-met",
        "No width that runs meets the conditions",
        r"At $k = 16384$, $n = 8$ the worst condition, in the setting where they come nearest (LeCun, $\tau_0 = k^{-1}$), is "
        "short of 1 by more than a factor of ten.",
        initial.conditions_run.but(scaling=1.0, copies=4),
        readings.last("worst"),
        Below(0.1),
        Control(
            r"labels within $10^{-9}$ of the outputs", initial.conditions_run.but(scaling=1.0, copies=4, residual=1e-9)
        ),
    ),
    claim(
        "silent",
        r"Where $\alpha = 0$ the theorem is silent and descent is not",
        r"With $k = 16 < n = 24$ the features have no $\alpha$; descent takes the loss below $10^{-6}$ of its start, in "
        "nine of ten seeds or more.",
        NARROW,
        lambda record: torch.where(record["alpha"] == 0, readings.left(record), torch.inf),
        Below(1e-6),
        Control(r"$k = 1$", NARROW.but(width=1)),
        quota=(9, 10),
    ),
)

RATES = (
    claim(
        "rate",
        "The kernel at the start predicts the linear rate",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$: late rate of the loss over that of descent with the kernel $K_0$, both between "
        r"$10^{-6}$ and $10^{-12}$ of the first loss.",
        experiments.wide_run,
        readings.rate_over_kernel,
        Near(abs=0.1),
        Control(
            r"mean-field output, $\tau_1 = 1/k$", experiments.wide_run.but(output=1.0, width=512, unit=0.1, steps=600)
        ),
        predict=1.0,
        cite=("jacot2018ntk", *PAPER),
    ),
    claim(
        "rate-lecun",
        "For LeCun the theorem's rate is short by a factor of four",
        r"At large width only $W_O$ trains, at the rate $2\eta\alpha^2$; the theorem has $\eta\alpha^2/2$. Ratio at "
        r"$k = 1024$, $\tau_0 = k^{-1}$.",
        experiments.wide_run.but(init="lecun", width=1024, steps=400),
        readings.rate_over_bound,
        Between(4.0, 8.5),
        Control("NTK, where $W_V$ trains as fast", experiments.wide_run),
        predict=4.0,
    ),
    claim(
        "edge",
        r"Up to $2/\mu_{\max}$ descent is monotone",
        r"With the step $1.9/\mu_{\max}(K_0)$ the loss never exceeds its start; LeCun, $k = 512$.",
        EDGE.but(unit=1.9),
        readings.highest,
        Below(1.0),
        Control(r"a step of $2.5/\mu_{\max}$", EDGE.but(unit=2.5)),
        cite=("lewkowycz2020large",),
        provenance="derived here from a known theorem",
    ),
    claim(
        "catapult",
        r"Beyond $2/\mu_{\max}$ it flies and lands flatter",
        r"With the step $2.5/\mu_{\max}(K_0)$ the largest kernel eigenvalue falls to a flatter end while the loss converges.",
        EDGE.but(unit=2.5),
        lambda record: torch.where(readings.left(record) < 1e-3, readings.flattening(record), torch.inf),
        Between(0.4, 0.8),
        Control(r"a step of $1.9/\mu_{\max}$", EDGE.but(unit=1.9)),
        cite=("lewkowycz2020large",),
        provenance="secondary: the published description of the catapult, measured here",
        quota=(9, 10),
    ),
    claim(
        "divergence",
        r"At $4/\mu_{\max}$ nothing converges",
        r"With the step $4/\mu_{\max}(K_0)$ the loss grows without bound.",
        EDGE.but(unit=4.0),
        readings.left,
        Above(1e3),
        Control(r"a step of $2.5/\mu_{\max}$", EDGE.but(unit=2.5), quota=(9, 10)),
        cite=("lewkowycz2020large",),
    ),
    claim(
        "race-same-step",
        "At the same step LeCun is faster than NTK",
        r"Steps of NTK to $10^{-3}$ of the loss over those of LeCun, at the smallest of their steps $1/\mu_{\max}$; stopped at "
        "1000 steps.",
        experiments.race_run.but(own=False, steps=1000),
        readings.ratio("ntk", "lecun"),
        Above(2.0),
        Control("each at its own largest eigenvalue", experiments.race_run),
        provenance="secondary: a review of the paper; measured here",
    ),
    claim(
        "race-own-step",
        "At its own step NTK is faster than LeCun",
        r"Steps of LeCun over those of NTK when each takes $1/\mu_{\max}$ of its own kernel: the order is reversed.",
        experiments.race_run,
        readings.ratio("lecun", "ntk"),
        Above(1.5),
        Control("the same step for both", experiments.race_run.but(own=False, steps=1000)),
    ),
)

PHASES = (
    claim(
        "entropy-slopes",
        "Attention becomes uniform at a rate set by the scaling",
        r"The entropy deficit $1 - H/\log L$ at the start falls as $k^{-(2s-1)}$: largest distance of the exponent over "
        r"$s = 0.6, 0.75, 1, 1.25$.",
        initial.entropy_run,
        readings.entropy_gap,
        Below(0.12),
        Control(r"$s = 1/4$, where softmax saturates", initial.entropy_run.but(scalings=(0.25,))),
    ),
    claim(
        "entropy-values",
        "Uniform, random or saturated, from one formula",
        r"Gaussian logits of variance $k^{1-2s}$ predict the deficit at $k = 4096$ for $s = 1/4, 1/2, 1$: largest relative "
        "error.",
        initial.entropy_run.but(scalings=(0.25, 0.5, 1.0), copies=24),
        readings.entropy_error,
        Below(0.3),
        Control(
            r"NTK on tokens of norm $\sqrt d$",
            initial.entropy_run.but(scalings=(0.25, 0.5, 1.0), copies=24, init="ntk", std=1.0),
        ),
    ),
    claim(
        "limit-kernel",
        r"With $\tau_0 = k^{-1}$ the kernel has a limit in closed form",
        r"$\|K - K_\infty\|/\|K_\infty\|$ falls as $k^{-1/2}$ at NTK initialisation.",
        initial.limit_run.but(scaling=1.0),
        readings.slope("error"),
        Near(abs=0.12),
        Control(r"$\tau_0 = k^{-1/2}$", initial.limit_run.but(scaling=0.5)),
        predict=-0.5,
        cite=("jacot2018ntk", "cho2009kernel"),
    ),
    claim(
        "random-kernel",
        r"With $\tau_0 = k^{-1/2}$ it stays random",
        "The distance to that closed form does not fall with the width: exponent 0.",
        initial.limit_run.but(scaling=0.5),
        readings.slope("error"),
        Near(abs=0.25),
        Control(r"$\tau_0 = k^{-1}$", initial.limit_run.but(scaling=1.0)),
        predict=0.0,
        cite=("sakai2025attention",),
    ),
    claim(
        "conditional-kernel",
        "Given the attention it is known again",
        r"With $\tau_0 = k^{-1/2}$ the blocks of $W_O$ and $W_V$ approach the closed form of the given attention as "
        r"$k^{-1/2}$.",
        initial.limit_run.but(scaling=0.5),
        readings.slope("conditional"),
        Near(abs=0.12),
        Control("the closed form of uniform attention", read=readings.slope("error")),
        predict=-0.5,
        cite=("sakai2025attention", "cho2009kernel"),
    ),
    claim(
        "query-key-share",
        r"With $\tau_0 = k^{-1}$ queries and keys leave the kernel",
        r"Their share of its trace falls as $k^{-1}$.",
        initial.limit_run.but(scaling=1.0),
        readings.slope("share"),
        Near(abs=0.3),
        Control(r"$\tau_0 = k^{-1/2}$", initial.limit_run.but(scaling=0.5)),
        predict=-1.0,
    ),
    claim(
        "digits-kernel",
        "The limit holds on handwritten digits",
        r"The same exponent $-1/2$ on images of 3 and 8, 16 patches each.",
        initial.limit_run.but(scaling=1.0, data="digits", d=4, length=16),
        readings.slope("error"),
        Near(abs=0.25),
        Control(r"$\tau_0 = k^{-1/2}$", initial.limit_run.but(scaling=0.5, data="digits", d=4, length=16)),
        predict=-0.5,
        cite=("jacot2018ntk", "cho2009kernel"),
    ),
    claim(
        "forecast",
        "The closed form alone predicts the loss curve",
        r"NTK, $\tau_0 = k^{-1}$, $k = 2048$: largest distance over 40 steps of the loss from the one of $K_\infty$, over the "
        "first loss.",
        initial.forecast_run.but(width=2048, copies=8, steps=40),
        lambda record: record["gap"],
        Below(0.018),
        Control(
            r"$\tau_0 = k^{-1/2}$", initial.forecast_run.but(width=2048, copies=8, steps=40, scaling=0.5), quota=(9, 10)
        ),
        cite=("jacot2018ntk", "cho2009kernel"),
    ),
    lazy(
        "lazy-lecun-half",
        "lecun",
        0.5,
        0.55,
        r"How far LeCun moves, $\tau_0 = k^{-1/2}$",
        r"Relative movement of $W_O, W_V, W_Q$ at $10^{-3}$ of the loss falls as $k^{-1/2}, k^{-3/2}, k^{-3/2}$: largest "
        r"distance of the exponents, $k = 128$ to 2048.",
        LAZY_LECUN,
        ("W_O", "W_V", "W_Q"),
    ),
    lazy(
        "lazy-lecun-one",
        "lecun",
        1.0,
        0.4,
        r"How far LeCun moves, $\tau_0 = k^{-1}$",
        r"The same with exponents $-1/2, -3/2, -2$, and $-2$ for attention and kernel.",
        LAZY_LECUN.but(scaling=1.0),
        ("W_O", "W_V", "W_Q", "attention", "kernel"),
    ),
    lazy(
        "lazy-ntk-half",
        "ntk",
        0.5,
        0.35,
        r"How far NTK moves, $\tau_0 = k^{-1/2}$",
        r"The weights move as $k^{-1/2}$, all three, the attention not less with the width: exponents $-1/2$ and 0.",
        LAZY_NTK,
        ("W_O", "W_V", "W_Q", "attention"),
    ),
    lazy(
        "lazy-ntk-one",
        "ntk",
        1.0,
        0.35,
        r"How far NTK moves, $\tau_0 = k^{-1}$",
        r"Exponents $-1/2, -1/2, -1$ for $W_O, W_V, W_Q$, and $-1$ for attention and kernel.",
        LAZY_NTK.but(scaling=1.0),
        ("W_O", "W_V", "W_Q", "attention", "kernel"),
    ),
    claim(
        "not-kernel-lazy",
        "Lazy weights, moving kernel",
        r"At NTK initialisation with $\tau_0 = k^{-1/2}$ the kernel changes by more than a tenth at $k = 2048$.",
        LAZY_NTK,
        readings.last("kernel"),
        Above(0.1),
        Control(r"$\tau_0 = k^{-1}$", LAZY_NTK.but(scaling=1.0)),
        cite=("chizat2019lazy", *PAPER),
    ),
    claim(
        "pairs-conditioning",
        "Pairs with one mean: the kernel loses its rank",
        r"On mean-matched pairs $\mu_{\min}/\mu_{\max}$ of the kernel falls as $k^{-1/2}$ (NTK, $\tau_0 = k^{-1}$), since the "
        "limit sees the token mean alone.",
        initial.pairs_run.but(init="ntk", scaling=1.0, steps=0, copies=12, widths=(512, 2048, 8192)),
        readings.slope("ratio"),
        Near(abs=0.3),
        Control(
            r"$\tau_0 = k^{-1/2}$",
            initial.pairs_run.but(init="ntk", scaling=0.5, steps=0, copies=12, widths=(512, 2048, 8192)),
        ),
        predict=-0.5,
    ),
    claim(
        "wider-is-worse",
        "Pairs with one mean: wider is worse",
        r"LeCun, $\tau_0 = k^{-1}$, 300 steps: share of the loss left at $k = 1024$ less that at $k = 64$.",
        initial.pairs_run.but(init="lecun", scaling=1.0, widths=(64, 1024), copies=2),
        readings.wider_is_worse,
        Above(0.2),
        Control(r"$\tau_0 = k^{-1/2}$", initial.pairs_run.but(init="lecun", scaling=0.5, widths=(64, 1024), copies=2)),
    ),
    claim(
        "vision",
        "A vision Transformer with the 1/k scaling keeps attending uniformly",
        r"A stand-in for the paper's experiment: one block, digits in place of MNIST, 60 steps of descent. Entropy deficit of "
        r"the attention at the end with $\tau_0 = k^{-1}$, in nine seeds of ten: now and then training moves attention further.",
        vision_run.but(width=16, heads=1, depth=1, train=60, test=40, steps=60, step=0.3, scaling=1.0),
        readings.last("deficit"),
        Below(0.04),
        Control(
            r"$\tau_0 = k^{-1/2}$",
            vision_run.but(width=16, heads=1, depth=1, train=60, test=40, steps=60, step=0.3, scaling=0.5),
        ),
        provenance="stand-in for a recalled experiment (MNIST); measured here",
        state="reproduced with changed constants",
        quota=(9, 10),
    ),
    Claim(
        id="encoder.imdb",
        chapter=CHAPTER,
        title="The assumption on the data, checked on IMDb",
        statement="The paper checks its assumption of dissimilar samples on a data set of film reviews, which is not part of "
        "this book.",
        provenance="secondary: a reproducibility record of the paper",
        cite=PAPER,
        state="not testable here",
    ),
)

CLAIMS = BALANCING + THEOREM + RATES + PHASES
__all__ = ["CLAIMS", "SWEEPS"]
