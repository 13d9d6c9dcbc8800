"""The claims of chapter 1, each with the control that must fail."""

import sympy as sp

from attnflow.claims import Above, Below, Claim, Control, Exactly, Near
from attnflow.foundations import counting, experiments, readings, solvable, theory

CHAPTER = "foundations"
NOETHER = ("kunin2021neural", "marcotte2023abide")
BALANCE = ("du2018balanced", "arora2018optimization")


def law(name, title, statement, experiment, reading, control, **more):
    """A claim that a law drifts at first order in the step, and so not at all along the flow."""
    return Claim(
        id=f"{CHAPTER}.{name}",
        chapter=CHAPTER,
        title=title,
        statement=statement,
        experiment=experiment,
        predict=1.0,
        read=readings.slope(reading),
        holds=Near(abs=0.05),
        control=control,
        **({"provenance": "derived here from a known theorem", "cite": NOETHER} | more),
    )


def proof(name, title, statement, holds, control_title, fails, **more):
    """A claim that sympy proves an identity, with a neighbour that it must not prove."""
    return Claim(
        id=f"{CHAPTER}.{name}",
        chapter=CHAPTER,
        title=title,
        statement=statement,
        predict=1,
        read=lambda: int(holds()),
        holds=Exactly(),
        control=Control(control_title, read=lambda: int(fails())),
        **({"provenance": "derived here", "cite": NOETHER} | more),
    )


def counted(name, title, statement, case, control_title, broken, **more):
    """A claim that the upper bound of a count meets the number of known laws."""
    return Claim(
        id=f"{CHAPTER}.{name}",
        chapter=CHAPTER,
        title=title,
        statement=statement,
        predict=case.known,
        read=lambda: case.count()["laws"],
        holds=Exactly(),
        control=Control(control_title, read=lambda: broken.count()["laws"]),
        **({"provenance": "derived here from a known theorem", "cite": ("marcotte2023abide",)} | more),
    )


CLAIMS = (
    Claim(
        id="foundations.descent-order",
        chapter=CHAPTER,
        title="Descent follows the flow to first order",
        statement=r"At a fixed time the distance of descent to the flow is $C\eta + O(\eta^2)$: observed order 1.",
        provenance="textbook",
        cite=("hairer1993solving",),
        experiment=experiments.descent_order,
        predict=1.0,
        read=readings.error_order,
        holds=Near(abs=0.05),
        control=Control("Adam with the same steps", experiments.descent_order.but(optimiser="adam")),
    ),
    Claim(
        id="foundations.heun-order",
        chapter=CHAPTER,
        title="Heun follows the flow to second order",
        statement=r"Averaging the slopes at both ends of a step leaves an error $C h^2 + O(h^3)$: observed order 2.",
        provenance="textbook",
        cite=("hairer1993solving",),
        experiment=experiments.heun_order,
        predict=2.0,
        read=readings.error_order,
        holds=Near(abs=0.15),
        control=Control("the second slope left out", experiments.descent_order),
    ),
    proof(
        "proof-product",
        "Two factors that meet in a product are balanced",
        r"$\frac{d}{dt}(A^\top A - B^\top B) = 0$ along the flow of any loss that sees only $AB^\top$.",
        theory.product_law_holds,
        "the sum $A^\\top A + B^\\top B$",
        theory.product_sum_holds,
        provenance="paper (Arora, Cohen, Hazan 2018; Du, Hu, Lee 2018), re-derived here",
        cite=BALANCE,
    ),
    proof(
        "proof-neuron",
        "A ReLU neuron is balanced",
        r"$\frac{d}{dt}(\|v\|^2 - o^2) = -2g\,o\,(z\phi'(z) - \phi(z))$, which vanishes for every ReLU neuron.",
        lambda: theory.neuron_law_holds(lambda z: sp.Max(z, 0)),
        "tanh in place of ReLU",
        lambda: theory.neuron_law_holds(sp.tanh),
        provenance="paper (Du, Hu, Lee 2018), re-derived here",
        cite=("du2018balanced",),
    ),
    proof(
        "proof-shift",
        "Softmax does not see a common shift of its logits",
        r"If $Xw = 1$ on all tokens, $w^\top W_K$ is constant along the flow, and along descent at any step.",
        theory.shift_law_holds,
        "attention weights that are not normalised",
        lambda: theory.shift_law_holds(normalised=False),
    ),
    law(
        "law-query-key",
        "The query-key balance is kept",
        r"$W_Q^\top W_Q - W_K^\top W_K$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        experiments.law_drift,
        "query-key",
        Control("a skip path that uses $W_K$ again", experiments.law_drift.but(skip=True)),
    ),
    law(
        "law-value-output",
        "The value-output balance is kept",
        r"$W_V^\top W_V - W_O W_O^\top$ drifts by $O(\eta)$ along descent: order 1 in the step.",
        experiments.law_drift,
        "value-output",
        Control("a ReLU between the two factors", experiments.relu_drift),
    ),
    law(
        "law-neuron",
        "Behind a ReLU only the diagonal is kept",
        r"With a ReLU between them, $\delta_j = \|v_j\|^2 - \|o_j\|^2$ of every neuron drifts by $O(\eta)$: order 1 in the step.",
        experiments.relu_drift,
        "neuron",
        Control("tanh in place of ReLU", experiments.law_drift.but(activation="tanh")),
        cite=("du2018balanced", "marcotte2023abide"),
    ),
    Claim(
        id="foundations.law-shift",
        chapter=CHAPTER,
        title="The linear law of softmax has no drift at all",
        statement=r"With a common feature, $w^\top W_K$ moves by rounding errors only, at every step size.",
        provenance="derived here",
        cite=NOETHER,
        experiment=experiments.common_drift,
        read=readings.shift_drift,
        holds=Below(1e-12),
        control=Control("tokens without a common feature", experiments.law_drift),
    ),
    Claim(
        id="foundations.rotation",
        chapter=CHAPTER,
        title="A rotation gives no law",
        statement=r"Gaussian attention is left invariant by joint rotations of $W_Q, W_K$, not by scalings: its query-key "
        r"balance moves by the same amount at every step, order 0.",
        provenance="derived here",
        cite=("song2024kernels",),
        experiment=experiments.law_drift.but(kernel="gaussian"),
        predict=0.0,
        read=readings.slope("query-key"),
        holds=Near(abs=0.1),
        control=Control("softmax attention, which scalings leave invariant too", experiments.law_drift),
    ),
    Claim(
        id="foundations.one-step",
        chapter=CHAPTER,
        title="One step of descent, exactly",
        statement=r"$\Delta(A^\top A - B^\top B) = \eta^2(G_A^\top G_A - G_B^\top G_B)$ at every step, here $\eta = 0.1$.",
        provenance="derived here",
        cite=BALANCE,
        experiment=experiments.one_step,
        read=readings.worst_residual,
        holds=Below(1e-12),
        control=Control("momentum 0.9", experiments.one_step.but(momentum=0.9)),
    ),
    Claim(
        id="foundations.decay",
        chapter=CHAPTER,
        title="Weight decay forgets every imbalance at one rate",
        statement=r"Under weight decay $\lambda$ both balances shrink as $e^{-2\lambda t}$, whatever the loss does.",
        provenance="derived here",
        cite=("kobayashi2024weight",),
        experiment=experiments.decayed_balance,
        predict=1.0,
        read=readings.worst_rate,
        holds=Near(abs=0.005),
        control=Control("decay on $W_Q$ alone", experiments.decayed_balance.but(only="W_Q")),
    ),
    Claim(
        id="foundations.adam",
        chapter=CHAPTER,
        title="Adam keeps no balance",
        statement=r"Along Adam the query-key balance moves by more than a tenth of what $W_Q^\top W_Q$ itself moves, even "
        r"at the smallest step, $\eta = 0.005$.",
        provenance="derived here",
        cite=("kunin2021neural",),
        experiment=experiments.law_drift.but(optimiser="adam"),
        read=readings.moved_share,
        holds=Above(0.1),
        control=Control("descent with the same steps", experiments.law_drift),
    ),
    counted(
        "count-product",
        "A product has no other laws",
        r"$AB^\top$ with 3 + 4 rows and width 2 has exactly the $k(k+1)/2 = 3$ laws of its balance.",
        counting.product(3, 4, 2),
        "a skip path that uses one factor again",
        counting.product(3, 4, 2, skip=True),
    ),
    counted(
        "count-neurons",
        "ReLU neurons have one law each",
        "Four ReLU neurons on three inputs have exactly four laws.",
        counting.neurons(3, 4),
        "tanh in place of ReLU",
        counting.neurons(3, 4, "tanh"),
    ),
    counted(
        "count-attention",
        "One head of softmax attention has no other laws",
        r"With $d=3$, $k=2$ a head has exactly 3 laws from $W_Q, W_K$ and 3 from $W_V, W_O$.",
        counting.attention(3, 2, 2),
        "Gaussian attention, where only the 3 of $W_V, W_O$ remain",
        counting.attention(3, 2, 2, kernel="gaussian"),
        cite=("marcotte2025transformative",),
    ),
    counted(
        "count-shift",
        "A common feature adds exactly k laws",
        r"When $Xw = 1$ on all tokens the same head has $k = 2$ more, the entries of $w^\top W_K$, and no others.",
        counting.attention(3, 2, 2, common=True),
        "tokens without a common feature",
        counting.attention(3, 2, 2),
        provenance="derived here",
        cite=("marcotte2025transformative",),
    ),
    Claim(
        id="foundations.balanced-layers",
        chapter=CHAPTER,
        title="Layers that start small end balanced",
        statement=r"From weights of size $\varepsilon = 0.05$ the imbalance $\|D_{VO}\|/\|W_V\|\|W_O\|$ is $O(\varepsilon^2)$ "
        "once the loss has fallen to three tenths.",
        provenance="derived here from a known theorem",
        cite=BALANCE,
        experiment=experiments.small_start,
        read=readings.small_start_imbalance,
        holds=Below(0.05),
        control=Control("a start of size 1", experiments.small_start.but(scales=(1.0,))),
    ),
    Claim(
        id="foundations.logistic",
        chapter=CHAPTER,
        title="Balanced attention learns along a logistic curve",
        statement=r"From a balanced aligned start $u = \beta^\top W_V W_O$ follows $\dot u = 2u(y-u)$; the largest distance "
        "to the closed form, over $y$, is small while all four matrices train.",
        provenance="derived here",
        cite=("saxe2014exact",),
        experiment=solvable.solvable_run,
        read=readings.logistic_gap,
        holds=Below(0.1),
        control=Control("an imbalance of 0.5 at the start", solvable.solvable_run.but(imbalance=0.5)),
    ),
    Claim(
        id="foundations.arrival",
        chapter=CHAPTER,
        title="Imbalance is speed",
        statement=r"$\dot u = \sqrt{c^2 + 4u^2}\,(y-u)$ with the conserved $c = a^2 - b^2$ gives the time to $u = y/2$ in "
        "closed form; the largest relative error over five imbalances is small.",
        provenance="derived here",
        cite=("saxe2014exact",),
        experiment=solvable.arrival_run,
        read=readings.arrival_gap,
        holds=Below(0.05),
        control=Control("the balanced formula for all", read=readings.arrival_gap_without_imbalance),
    ),
    Claim(
        id="foundations.separatrix",
        chapter=CHAPTER,
        title="The separatrix decides the side",
        statement=r"Starts off the line $a + b = 0$ end at $u = y$ on their own side of it: the share that does is 1.",
        provenance="derived here",
        cite=("saxe2014exact",),
        experiment=solvable.portrait_run,
        predict=1.0,
        read=lambda record: record["share"],
        holds=Exactly(),
        control=Control(r"descent with the step 1.2", solvable.portrait_run.but(method="descent", step=1.2)),
    ),
)
