# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (chapter-kernels)=
# # Softmax against Gaussian attention
#
# Attention compares a query with keys. Softmax compares by a dot product, a Gaussian by a distance, and a paper finds the Gaussian the more favourable one to train: where softmax may end in
# a bad place, the Gaussian finds the target. We took one query and three keys, and it is so: a sixth of all starts are lost to softmax and *none* to the Gaussian. Then we made the Gaussian **twice as sharp**. Now it loses
# more than a third of all starts, and more than softmax at the temperature that matches it. All these numbers are known before anything is trained.

# %% tags=["hide-input"]
try:
    import attnflow
except ModuleNotFoundError as error:
    if error.name != "attnflow":
        raise
    raise SystemExit(
        "attnflow is missing: save the wheel that the page Reproduce offers beside this "
        'notebook, then run %pip install "attnflow-0.1.0-py3-none-any.whl[data,threads]"'
    ) from None
import time

import matplotlib.pyplot as plt
import sympy as sp
import torch
from IPython.display import Markdown

from attnflow import checks, claims, flow, stamp

# %% tags=["hide-input", "parameters"]
SEEDS = range(100, 102)  # change this line to repeat the chapter on other seeds,
DEVICE = None  # and this one to choose "cpu" or "cuda"; None takes CUDA where it is

# %% tags=["hide-input"]
from attnflow import sensitivity, sweep
from attnflow.kernels import (
    ROOM,
    balancing,
    counting,
    figures_balancing,
    figures_images,
    figures_slices,
    figures_trap,
    figures_values,
    generic,
    images,
    imbalance,
    linear,
    model,
    rowtokens,
    setting,
    theory,
    trap,
    trap_share,
    values,
    wells,
)

claim, seen = ROOM.claim, ROOM.verdicts(SEEDS, DEVICE)
stored = {table.name: table for table in ROOM.sweeps}
show = claims.show
began = time.perf_counter()

# %% tags=["hide-input"]
# | name: fig-four-plane
# | caption: >-
# |   The loss over the plane of one query, the fuller the colour the higher, with five keys as disks that are larger where their value is. From left to right the same keys move
# |   apart. On a green line the output meets the target. Paths of descent begin at the dots: blue ones arrive there, orange ones end elsewhere. Softmax (above) loses those who
# |   run away to the left; the Gaussian (below) loses nobody where keys are close and most where they are far apart.
# | alt: >-
# |   Six panels. Upper row, softmax: blue paths run to a green line across the plane, in the last panel orange ones run off to the left. Lower row, Gaussian: the green line is a
# |   closed curve that shrinks to one key as keys move apart, while more and more orange paths end at other keys.
figures_trap.plane_figure([("softmax", 0.5), ("gaussian", 0.5)], (0.7, 1.5, 4.0))
plt.show()

# %% [markdown]
# {numref}`fig-four-plane` has both answers in one picture. A Gaussian sees keys within its width, so it matters how far apart they are in units of that width; softmax sees only directions, and moving all keys apart is the
# same to it as a longer query. Whether a kernel is the better one is a question with a number in it.
#
# **What this chapter is.** Song, Han, Zhang, Ding and Hong {cite}`song2024kernels` compare the two kernels in theory and in training. We had their abstract and what others report, not the
# full text: neither their hypotheses and constants nor their counter-example. What we say of their theorem is *recalled* or *secondary*, and the constructions below are **ours** and stand in for theirs.
#
# **You will learn** to tell two differences apart that come together: whether rows of attention sum to one, and whether scores are products or distances; what each kernel conserves; why
# training the values alone always works, if the layer is wide enough; how to find every trap of one query; and how much of "faster" is the scale of the output.
#
# **You need** [chapter 1](1_foundations), least squares, and the mean value theorem.
#
# **It takes** about 95 minutes to read once and about 140 more for the exercises ([how that is counted](../book/preface.md)), and a minute and a quarter to run on two CPU cores. No GPU is needed.
#
# Every symbol is on the [notation page](../book/notation.md), and every number below was computed by this page or by a stored run that this page checks.

# %% [markdown]
# ## Two differences that come together
#
# Softmax and the Gaussian differ twice. So we look at four kernels, and trace every difference to its cause. Let $q_i$ be the query of token $i$ and $k_j$ the key of token $j$, with scores
#
# $$z_{ij} = \frac{\beta}{\sqrt k}\,q_i\cdot k_j \qquad\text{or}\qquad z_{ij} = -\frac{\zeta}{\sqrt k}\,|q_i - k_j|^2 .$$ (eq-four-scores)
#
# The number $\beta > 0$ is the **inverse temperature** of a dot product, $\zeta > 0$ the **sharpness** of a distance: a Gaussian of sharpness $\zeta$ is $(2\zeta)^{-1/2}k^{1/4}$ wide. Since $-\zeta|q - k|^2 = 2\zeta\,q\cdot k - \zeta|q|^2 - \zeta|k|^2$, the two are *matched* at
# $\beta = 2\zeta$: then they have the same term in $q\cdot k$, and among queries and keys of one length they differ by a constant factor of $S$ alone.
#
# | | $S_{ij} = e^{z_{ij}}$ | over its row sum |
# | --- | --- | --- |
# | dot product | $e^{\beta q\cdot k}$ | softmax |
# | distance | Gaussian | normalised Gaussian |
#
# Attention by distances has been studied as a flow of *tokens* through layers, without training {cite}`castin2025unified`; here the weights move. The last kernel of the table is the control that is hardly ever run. A row that sums to one does not see $|q_i|^2$, which all its scores share, because a common factor cancels in $e^{z_{ij}}/\sum_le^{z_{il}}$; so the normalised Gaussian is softmax with a bias $-\zeta|k_j|^2$ for every key.
#
# Which sharpness does the paper mean? With $\zeta = \frac12$ and keys and queries of length one the Gaussian is softmax at $\beta = 1$ up to row sums, and Skyformer {cite}`chen2021skyformer`, which puts a Gaussian in the place of softmax to compute attention faster, has this $\frac12$. One report
# of the paper writes the exponent without it, $\zeta = 1$ (*secondary*). We show both, and it will matter.

# %% [markdown]
# ## The layer, written out
#
# One layer of $H$ heads on sequences of $L$ tokens, the rows of $X$:
#
# $$F = \sum_{h=1}^H S_h\,X W_V^hW_O^h, \qquad \mathcal L = \frac1{2nL}\sum_i\|F(X_i) - Y_i\|^2,$$ (eq-four-layer)
#
# with queries $XW_Q^h$ and keys $XW_K^h$ of width $k$, and any subset of the four matrices trained. Targets are independent normal numbers, so that there is nothing to learn but the samples. The paper writes
# $N$ for our $n$, $n$ for our $L$, $D$ for our $d$ and $d$ for our $k$, and divides by $N$ alone.
#
# Here is all of it for one run and the Gaussian, and two hundred steps of descent.

# %%
layer, inputs, targets, weights = setting.drawn(
    SEEDS, "cpu", heads=2, kernel="gaussian", c=0.5
)


def attend(X, W_Q, W_K):
    apart = (X @ W_Q)[:, :, None] - (X @ W_K)[:, None]
    return torch.exp(-0.5 * apart.square().sum(dim=-1) / W_Q.shape[1] ** 0.5)


def transformer(X, W_Q, W_K, W_V, W_O):
    heads = zip(W_Q, W_K, W_V, W_O, strict=True)
    return sum(attend(X, q, k) @ X @ v @ o for q, k, v, o in heads)


theta, eta = [each[0].requires_grad_() for each in weights.values()], 0.05
for _ in range(200):
    error = transformer(inputs[0], *theta) - targets[0]
    loss = error.square().sum(dim=-1).mean() / 2
    slopes = torch.autograd.grad(loss, theta)
    theta = [w - eta * slope for w, slope in zip(theta, slopes, strict=True)]
    theta = [w.detach().requires_grad_() for w in theta]

# %% tags=["hide-input"]
ends, field = (
    dict(zip(weights, theta, strict=True)),
    model.field(inputs, targets, layer),
)
gap = checks.steps_apart(field, weights, ends, step=eta, steps=200)
rows = attend(inputs[0], weights["W_Q"][0, 0], weights["W_K"][0, 0]).sum(dim=-1)
print("loss", show(float(loss.detach())), "from", show(float(field(weights)[0][0])))
print(
    "row sums of the first head at the start:",
    claims.criteria.extent(rows.flatten().tolist()),
)
print("difference to the library after 200 steps:", claims.Below(1e-12).show([gap]))

# %% [markdown]
# Rows of a Gaussian do not sum to one. How large they are is a scale of the output that softmax does not have; keep it in mind. The library does the same steps for a stack of seeds, for all four kernels, with the gradient
# written by hand.

# %% [markdown]
# ## If only the values learn, the kernel does not matter
#
# ### The words that the theorem needs
#
# *Mixed tokens.* With $W_Q$, $W_K$ and $W_O$ at rest, the output is linear in $W_V$. Each head mixes the tokens of a sample into $S_hX$, one row a token; stacked over all $n$ samples these are $nL$ rows and $d$ columns, $B_h$, and all heads beside each other
# make $B = [B_1, \dots, B_H]$, $nL$ rows and $Hd$ columns.
#
# *Features.* What multiplies the entries of $W_V$ is $\Phi = (nL)^{-1/2}[B_1\otimes W_O^{1\top}, \dots, B_H\otimes W_O^{H\top}]$, with a row for every number that the layer puts out. The sign $\otimes$ is no more than a table of products: $F_{il} = \sum_{ab}(B_h)_{ia}(W_V^h)_{ab}(W_O^h)_{bl}$ is linear in the entries of $W_V^h$, and what multiplies $(W_V^h)_{ab}$ in $F_{il}$ is
# $(B_h)_{ia}(W_O^h)_{bl}$. With $r$ the vector of all residuals over $\sqrt{nL}$,
# $\mathcal L = \frac12|r|^2$.
#
# *Floor.* The least loss that any $W_V$ has.
#
# ### The theorem
#
# :::{prf:theorem} Training the values
# :label: thm-four-values
#
# Let only $W_V$ be trained, let $B$ have rank $nL$ and every $W_O^h$ rank $o$. Then the floor is zero for every target, and descent with a step $\eta \le 1/\lambda_{\max}$ has
#
# $$r_t = (I - \eta\,\Phi\Phi^\top)^t\,r_0, \qquad \mathcal L_t \le (1 - \eta\lambda_{\min})^{2t}\,\mathcal L_0,$$ (eq-four-rate)
#
# where $\lambda_{\min} > 0$ and $\lambda_{\max}$ are the extreme eigenvalues of $\Phi\Phi^\top$. It is $\lambda_{\min} \ge \frac1{nL}\min_h\sigma_{\min}(W_O^h)^2\,\lambda_{\min}(BB^\top)$, with the $o$-th singular value of $W_O^h$.
# :::
#
# :::{prf:proof}
# $\mathcal L$ is half the square of a linear function of $W_V$. A step of descent moves $W_V$ by $-\eta\,\Phi^\top r$, and $r$ by $\Phi$ times that, so it multiplies $r$ by $I - \eta\Phi\Phi^\top$, whose eigenvalues $1 - \eta\lambda$ lie between 0 and $1 - \eta\lambda_{\min}$. For a residual with the rows $R$, $|\Phi^\top r|^2 = \frac1{nL}\sum_h\|B_h^\top RW_O^{h\top}\|^2$. Now
# $\|AW_O^{h\top}\| \ge \sigma_{\min}(W_O^h)\|A\|$ for every $A$ with $o$ columns, since $W_O^h$ has rank $o$, and $\sum_h\|B_h^\top R\|^2 = \|B^\top R\|^2 \ge \lambda_{\min}(BB^\top)\|R\|^2$, which is positive where $B$ has rank $nL$. So
# $\Phi\Phi^\top$ is invertible, every residual can be undone, and the bound follows.
# :::
#
# *Provenance.* That a wide layer reaches zero loss at a linear rate, with a width condition of this kind and a rate from $W_O$ and the least eigenvalue of attention features, is reported of the paper (*secondary*). The statement and its proof above are ours.
#
# In plain words: the kernel enters through one number, the rank of what it mixes. A number to try by hand: $n = 1$ sample of $L = 2$ tokens, $d = 1$, $x = (1, 2)$, one head with $W_Q = W_K = 0$. Softmax has $S = \frac12$ everywhere, so $B = (1.5, 1.5)^\top$ has rank 1 and not 2: both tokens must get the
# same output, and targets $(0, 1)$, which the output $\frac12$ misses by $\frac12$ each, leave $\frac14\cdot\frac12 = 0.125$.
#
# ### Which width counts
#
# $B$ has $Hd$ columns, so it needs $Hd \ge nL$: heads times the size of a *token*. The width $k$ of a head does not enter, as long as it is at least $o$. With fewer columns $B$ reaches $Hd$ of $nL$ directions, and a random target has in the mean an equal part of its square in each: a share of $1 - Hd/nL$ is out of reach. In {numref}`fig-four-floor` the mean floor over random targets falls along the predicted line to zero, for all four kernels alike.

# %% tags=["hide-input"]
# | name: fig-four-floor
# | caption: >-
# |   The least loss that the values can reach, over the number of heads, $nL = 16$, $d = 4$: the mean over 1000 random targets. Four marks, one a kernel, lie on each other; dashed is
# |   $\frac o2(1 - Hd/nL)$. In the shaded part the theorem holds.
# | alt: >-
# |   Four kinds of marks on top of each other fall along a dashed straight line from 0.75 at one head to zero at four heads.
widths = (1, 2, 3, 4, 5, 6)
floors = linear.spans(tuple(SEEDS), torch.device("cpu"), widths=widths, copies=1000)
figures_values.floors_figure(floors, widths, threshold=4)
plt.show()

# %% tags=["remove-input"]
seen["values-rank"]

# %% tags=["remove-input"]
seen["values-floor"]

# %% tags=["remove-input"]
seen["values-zero"]

# %% [markdown]
# The rank has to come from somewhere. Where attention is uniform all tokens of a sample read the same mean, and no number of heads helps:

# %% tags=["remove-input"]
seen["values-uniform"]

# %% [markdown]
# ### The curve before the run
#
# Equation {eq}`eq-four-rate` is no bound in its first half: it *is* the run. {numref}`fig-four-forecast` puts the losses of descent on the layer under the forecast from the eigenvalues of the start.

# %% tags=["hide-input"]
# | name: fig-four-forecast
# | caption: >-
# |   Loss of descent on $W_V$ for one, two and eight heads, two seeds a colour, softmax on the left and the Gaussian on the right, $d = 8$. Dashed is {eq}`eq-four-rate`, known before the first step. Two
# |   heads are the threshold $Hd = nL$.
# | alt: >-
# |   Two panels of losses over steps on logarithmic axes. Curves of one head level off, those of two fall slowly, those of eight fall fast; each lies under its dashed forecast.
forecasts = {
    heads: values.curve_run.but(heads=heads, d=8, k=4, steps=1000, count=50)(
        SEEDS, DEVICE
    )
    for heads in (1, 2, 8)
}
figures_values.forecast_figure(forecasts, ("softmax", "Gaussian"))
plt.show()

# %% tags=["remove-input"]
seen["values-curve"]

# %% tags=["remove-input"]
seen["values-rate"]

# %% tags=["remove-input"]
seen["values-bound"]

# %% [markdown]
# ### The threshold is neither enough nor needed
#
# At $Hd = nL$ the features have full rank and a least eigenvalue next to zero. Descent is then far from done after thousands of steps; at four times the threshold it is.

# %% tags=["remove-input"]
seen["values-threshold-slow"]

# %% tags=["remove-input"]
seen["values-four-times"]

# %% [markdown]
# Which kernel is the better conditioned one depends on how large queries and keys are at the start. At scale one it is the Gaussian; three times as large, its weights underflow, and it is softmax.

# %% tags=["remove-input"]
seen["values-order"]

# %% [markdown]
# Nor is the width needed once attention moves. Training $W_O$ too does not help, because attention still spans $Hd$ directions; training all four matrices does.

# %% tags=["remove-input"]
seen["values-floor-kept"]

# %% tags=["remove-input"]
seen["values-not-necessary"]

# %% [markdown]
# ## The gradient flow of four kernels
#
# Only the scores differ, so only their slopes do. For one query and one key of width 2, with $G$ the slope of the loss by the score:

# %%
q, k = sp.Matrix(sp.symbols("q1:3")), sp.Matrix(sp.symbols("k1:3"))
beta, zeta, tau, G = sp.symbols("beta zeta tau G", positive=True)
product, distance = tau * beta * q.dot(k), -tau * zeta * (q - k).dot(q - k)
slopes = {
    name: [G * sp.diff(z, x) for x in q]
    for name, z in (("dot", product), ("distance", distance))
}
sp.Matrix(list(slopes.values())).T.applyfunc(sp.factor)

# %% [markdown]
# A dot product pulls the query along the key; a distance pulls it *to* the key, and pulls less the nearer it is. Summed over all pairs, with $\tau = 1/\sqrt k$ and $G_{ij} = S_{ij}\,\partial\mathcal L/\partial S_{ij}$, less $S_{ij}\sum_lS_{il}\,\partial\mathcal L/\partial S_{il}$ where rows sum to one,
#
# $$\begin{aligned}
# \text{dot product:}\quad & \frac{\partial\mathcal L}{\partial q_i} = \tau\beta\sum_jG_{ij}k_j, & \frac{\partial\mathcal L}{\partial k_j} &= \tau\beta\sum_iG_{ij}q_i,\\
# \text{distance:}\quad & \frac{\partial\mathcal L}{\partial q_i} = 2\tau\zeta\sum_jG_{ij}(k_j - q_i), & \frac{\partial\mathcal L}{\partial k_j} &= 2\tau\zeta\sum_iG_{ij}(q_i - k_j),
# \end{aligned}$$ (eq-four-gradient)
#
# and $G_{W_Q} = X^\top\,\partial\mathcal L/\partial q$, $G_{W_K} = X^\top\,\partial\mathcal L/\partial k$, summed over samples. Values and outputs are as in chapter 1. All four matrices for all four kernels, as sympy has them, against automatic differentiation:

# %% tags=["remove-input"]
seen["gradient"]

# %% [markdown]
# ## What each kernel keeps
#
# **Dot products.** Softmax and $e^{\beta q\cdot k}$ see $W_Q, W_K$ only through $W_QW_K^\top$. Stretch one and shrink the other, and nothing changes. That freedom is the balance $D_{QK} = W_Q^\top W_Q - W_K^\top W_K$, constant along the flow as in [chapter 1](1_foundations).
#
# **Distances** notice the stretch: the numbers $q = 2$, $k = 1$ have the product 2 and the distance 1, after the stretch to $4$ and $\frac12$ the product is still 2 and the distance 3.5. They do not notice a *rotation* of queries and keys together, but a rotation ties velocities to each other and leaves no function behind. So the balance moves, and at a speed that can be written down. From {eq}`eq-four-gradient`,
#
# $$\frac{d}{dt}D_{QK} = 4\tau\zeta\sum_{ij}G_{ij}\big(q_iq_i^\top - k_jk_j^\top\big),$$ (eq-four-imbalance)
#
# summed over samples. The first part is $\sum_i\big(\sum_jG_{ij}\big)q_iq_i^\top$. Where rows are normalised, those of $G$ sum to zero and only the keys are left.
#
# **A shared direction.** Let all tokens have a last feature of one, $Xw = \mathbf 1$ with $w = e_d$. Moving all keys alike adds one number to a row of scores; softmax does not see it, and keeps $w^\top W_K$. Moving queries *and* keys alike leaves distances as they are; both Gaussians
# keep $w^\top(W_Q + W_K)$. And $e^{\beta q\cdot k}$ sees both moves and keeps neither.
#
# **All four** keep $D_{VO} = W_V^\top W_V - W_OW_O^\top$ of every head: it does not matter where the weights $S$ come from.
#
# We know of no earlier statement of the laws of the Gaussian. Each of these sentences is proved by sympy with the slope of the loss as free symbols:

# %%
rows = [
    "| kernel | $D_{QK}$ | $w^\\top W_K$ | $w^\\top(W_Q + W_K)$ |",
    "|---|---|---|---|",
]
for kernel in ("softmax", "exp", "gaussian", "normalised_gaussian"):
    kept = [
        theory.score_law_holds(law, (kernel,), common=law != "query-key")
        for law in ("query-key", "key shift", "shift")
    ]
    words = ["kept" if one else "moves" for one in kept]
    rows.append(f"| {kernel.replace('_', ' ')} | {' | '.join(words)} |")
Markdown("\n".join(rows))

# %% tags=["remove-input"]
seen["proof-query-key"]

# %% tags=["remove-input"]
seen["proof-rotation"]

# %% tags=["remove-input"]
seen["proof-imbalance"]

# %% tags=["remove-input"]
seen["proof-imbalance-keys"]

# %% tags=["remove-input"]
seen["proof-shift"]

# %% tags=["remove-input"]
seen["proof-translation"]

# %% tags=["remove-input"]
seen["proof-value-output"]

# %% [markdown]
# ### Are these all?
#
# Two counts say so. A polynomial is kept if its slope times the velocity is zero at every point; at random points these are linear equations for its coefficients. Among all polynomials of degree one and two of $W_Q$ and $W_K$ a dot product keeps the entries of its balance and a distance keeps none. And Lie brackets, as in chapter 1, bound from above the number of
# laws of *any* form: the bound beside the number that is known, in brackets.

# %% tags=["hide-input"]
Markdown(counting.table())

# %% tags=["remove-input"]
seen["count-polynomials"]

# %% tags=["remove-input"]
seen["proof-none"]

# %% tags=["remove-input"]
seen["count-dot"]

# %% tags=["remove-input"]
seen["count-distance"]

# %% tags=["remove-input"]
seen["count-shared"]

# %% [markdown]
# One surprise came out of the count. A wide head, $k > 2d$, has more laws under a distance than these. The $2d$ rows of $W_Q$ and $W_K$ move along each other only, so they never leave the span in which they started, and a span of $2d$ directions among $k$ takes $2d(k - 2d)$ numbers. (A line through the origin of a plane takes $1\cdot(2-1)$, its slope; a plane in space takes $2\cdot(3-2)$, the slopes in two directions.)

# %% tags=["remove-input"]
seen["count-wide"]

# %% [markdown]
# ### Measured
#
# A law drifts in proportion to the step; what is no law moves by as much at every step; a *linear* law does not move at all, because every step of descent keeps it ({numref}`fig-four-drift`).

# %% tags=["hide-input"]
# | name: fig-four-drift
# | caption: >-
# |   Left: drift of $D_{QK}$ over the step of descent. That of softmax falls along the dashed slope 1, that of the Gaussian stays at the dashed integral of {eq}`eq-four-imbalance`. Right: the two rows along a direction that all tokens share; each kernel
# |   leaves its own row where it is, to rounding, and moves the other. Zeros are drawn at $10^{-17}$.
# | alt: >-
# |   Two log-log panels over the step. Left, softmax falls with slope one, the Gaussian is flat on a dashed level. Right, four families: two at the level of rounding, two near one thousandth.
drifts = balancing.law_drift.but(kernels=("softmax", "gaussian"))(SEEDS, DEVICE)
carried = imbalance.flow_run.but(time=balancing.TIME)(SEEDS, DEVICE)
figures_balancing.balances_figure(drifts, carried, claim["law-query-key"])
plt.show()

# %% tags=["remove-input"]
seen["law-query-key"]

# %% tags=["remove-input"]
seen["law-none"]

# %% tags=["remove-input"]
seen["imbalance"]

# %% tags=["remove-input"]
seen["law-value-output"]

# %% tags=["remove-input"]
seen["law-shift"]

# %% tags=["remove-input"]
seen["law-translation"]

# %% [markdown]
# The row of the Gaussians even survives Adam, which keeps nothing else in this book: the slopes by the two rows are opposite numbers, and Adam answers opposite numbers with opposite steps.

# %% tags=["remove-input"]
seen["law-adam"]

# %% tags=["remove-input"]
seen["one-step"]

# %% tags=["remove-input"]
seen["one-step-distance"]

# %% [markdown]
# ## If only the queries learn, everything depends on the kernel
#
# A query is $q_i = x_iW_Q$ and the slope by $W_Q$ is $\sum_jx_j^\top\,\partial\mathcal L/\partial q_j$, so a step on $W_Q$ moves query $i$ by $-\eta\sum_j\langle x_i, x_j\rangle\,\partial\mathcal L/\partial q_j$. If all tokens of a run are orthonormal each query moves by its own slope alone: the layer falls apart into one small problem a token, a query in $\mathbb R^k$ among given keys. *Only then* do the dynamics split; the landscape
# splits whenever queries can be chosen freely.

# %% tags=["remove-input"]
seen["free-step"]

# %% tags=["remove-input"]
seen["free-queries"]

# %% [markdown]
# Three things can now go wrong for one query, and they have different causes.
#
# **All keys are the same.** Weights that sum to one stay uniform whatever the query does. Its slope is exactly zero, for softmax *and* for the normalised Gaussian: the cause is the row sum. A kernel without one still has a knob, the size of its output.

# %% tags=["remove-input"]
seen["same-keys"]

# %% tags=["remove-input"]
seen["same-keys-normalised"]

# %% tags=["remove-input"]
seen["same-keys-gaussian"]

# %% [markdown]
# **The target is out of reach.** Weights that sum to one mix values, and a mixture does not exceed the largest of them. Descent then ends where the layer ends, and nobody is trapped: this is what the layer can *express*, not how it is optimised.

# %% tags=["remove-input"]
seen["out-of-reach"]

# %% [markdown]
# **The target is in reach, and descent runs the other way.** That alone is a trap.
#
# ### A trap, to the last digit
#
# Take one query $q$ on a line, keys $-1, 0, 1$ with values $\frac12, 0, 1$, and the target $0.8$. The weights of softmax at $\beta = 1$ are as $e^{-q} : 1 : e^q$, or, with $u = e^q$, as $1 : u : u^2$, so it puts out

# %%
u = sp.Symbol("u", positive=True)
output = (u**2 + sp.Rational(1, 2)) / (u**2 + u + 1)
(turn,) = sp.solve(sp.numer(sp.together(sp.diff(output, u))), u)
(
    turn,
    sp.limit(output, u, 0),
    sp.radsimp(output.subs(u, turn)),
    sp.limit(output, u, sp.oo),
)

# %% [markdown]
# One turning point, $u^* = \frac{\sqrt3 - 1}2$, or $q^* = \ln u^* = -1.005$. The flow is $\dot q = (0.8 - o)\,o'(q)$ for the output $o$: below the target the query goes where the output grows. Right of $q^*$ it grows from 0.423 to 1 and meets 0.8. Left of it the output *falls* as $q$ grows, so that descent, which wants more, sends the query to $-\infty$, where the output is $\frac12$. Every start with $q_0 < q^*$ is lost, to a
# loss of $\frac12(0.3)^2 = 0.045$. Nothing here is random but the start. The Gaussian puts out $\frac12e^{-\zeta(q+1)^2} + e^{-\zeta(q-1)^2}$, two bumps; if they are wide they run into one, if they are sharp the lower bump is a trap of its own ({numref}`fig-four-line`).

# %% tags=["hide-input"]
# | name: fig-four-line
# | caption: >-
# |   The loss of one query with 24 starts, quantiles of $N(0, 1)$, on it. Pale lines lead from each start to where descent ends: blue at the target, orange elsewhere. Triangles are wells. Softmax loses the starts left of its
# |   hill, to the left without end; the Gaussian of $\zeta = \frac12$ loses none; that of $\zeta = 1$ has a third well, too high.
# | alt: >-
# |   Three curves of the loss over the query. Softmax: a low hill at minus one, orange starts to its left. Gaussian of one half: two wells, all starts blue. Gaussian of one: a further well on the left that catches the orange starts.
figures_trap.line_figure([("softmax", 0.5), ("gaussian", 0.5), ("gaussian", 1.0)])
plt.show()

# %% tags=["remove-input"]
seen["trap-softmax"]

# %% tags=["remove-input"]
seen["trap-share"]

# %% tags=["remove-input"]
seen["trap-none"]

# %% tags=["remove-input"]
seen["trap-gaussian"]

# %% tags=["remove-input"]
seen["trap-gaussian-share"]

# %% [markdown]
# At $\zeta = 1$ softmax has to be compared at the matched $\beta = 2$, where $u = e^{2q}$ and $q^*$ is half as far out. The Gaussian still loses more:

# %% tags=["remove-input"]
seen["trap-matched"]

# %% [markdown]
# What does this say of the paper's sentence, that the Gaussian is the more favourable kernel? At $\zeta = \frac12$ this trap agrees. At $\zeta = 1$, the sharpness that one report gives for the paper (*secondary*), it says the opposite. The sentence needs a sharpness, or a size of the keys, to be true or false.
#
# Far from all keys the Gaussian is nearly zero and so is its slope. Such starts are **slow**, not trapped: they arrive after a time that an integral predicts, $\int dq/\big((y - o)\,o'\big)$ over the way, with $y$ for the target.

# %% tags=["remove-input"]
seen["trap-slow"]

# %% [markdown]
# You may try your own keys. `share` follows the flow from every start, `predicted` comes from the stationary points alone:


# %%
def normal(generator, n):
    return torch.randn(n, generator=generator, dtype=torch.float64)


for name, c in (("softmax", 1.0), ("gaussian", 1.0), ("normalised_gaussian", 1.0)):
    found = trap_share(
        normal,
        keys=(-1.5, 0.0, 1.0),
        values=(0.6, 0.1, 1.0),
        target=0.9,
        kernel=name,
        c=c,
        beta=2 * c,
        starts=1000,
    )
    print(
        f"{name:20} stuck {found['share']:.3f}, predicted {found['predicted']:.3f}"
    )

# %% [markdown]
# ### Where the second well begins
#
# Let the keys be $-s, 0, s$ with values $r, 0, 1$ and measure lengths in units of $\zeta^{-1/2}$: only $a = s\sqrt\zeta$ and the place $x$ of the query are left, and the output is $o = re^{-(x+a)^2} + e^{-(x-a)^2}$. A well is born where $o' = o'' = 0$: like $x^3 + cx$, which has a hill and a well for $c < 0$ and neither for $c > 0$, and where both meet, at $c = 0$, both derivatives vanish. The first says
# $\frac{r(a + x)}{a - x} = e^{4ax}$. The logarithm of this, differentiated, gives the second:

# %%
a, x, r, P = sp.symbols("a x r P", positive=True)
first = sp.log(r * (a + x) / (a - x)) - 4 * a * x
second = sp.factor(sp.together(sp.diff(first, x)))
at = {
    a: (sp.sqrt(P) + 1 / (2 * sp.sqrt(P))) / 2,
    x: (sp.sqrt(P) - 1 / (2 * sp.sqrt(P))) / 2,
}
(
    sp.factor(second),
    sp.simplify((a**2 - x**2).subs(at)),
    sp.simplify((4 * a * x).subs(at)),
)

# %% [markdown]
# so $a^2 - x^2 = \frac12$. With $P = (a + x)^2$ it is $(a - x)^2 = \frac1{4P}$, the quotient is $2P$ and $4ax$ is the difference of both squares. The first condition is $\ln 2rP = P - \frac1{4P}$, one equation for one number. For $r = \frac12$:

# %% tags=["hide-input"]
edge = wells.threshold(0.5)
print("second well from spread x sqrt(sharpness) =", show(edge))
print("at spread 1 from a sharpness of", show(edge**2))

# %% tags=["remove-input"]
seen["fold-proof"]

# %% tags=["remove-input"]
seen["fold"]

# %% [markdown]
# {numref}`fig-four-query` has this trap in a plane: the three keys lie on the line $q_2 = 0$, and the query may leave it. Drag it, and turn the
# spread and the sharpness until the third well is born.
#
# ```{attnflow-explorable} kernels
# ---
# name: fig-four-query
# alt: >-
#   Left, the loss on the line of the keys: softmax has a hill at the left, the Gaussian of sharpness one a third well, that of one half none.
#   Right, the plane of spread and sharpness, with a dashed curve above which the third well exists.
# ---
# The loss of one query in the plane, values $\frac12, 0, 1$ at keys $-s, 0, s$ (small dots), target $0.8$; the fuller the colour, the lower. Drag the query, or reach it
# with Tab and move it with the arrow keys. Blue is its path of descent. Dashed is what is predicted: the edge of the trap of softmax, and the
# threshold $s\sqrt\zeta$ of the Gaussian. Red triangles are wells, counted on the line of the keys.
# ```

# %% [markdown]
# That is a **phase boundary**: left of it the Gaussian has no trap, right of it it has. The stored map of {numref}`fig-four-map` varies the spread of the keys and the size of the start for all four kernels. Softmax knows no such boundary; a larger spread only makes its query effectively longer.

# %% tags=["hide-input"]
# | name: fig-four-map
# | caption: >-
# |   Share of 400 starts that end in a trap (orange), over the spread of the keys and the size of the start, for $\zeta = \frac12$ above and 1 below and the matched $\beta$. Dashed: predicted shares of 0.1, 0.2 and 0.4. Dotted: the
# |   boundary of the second well. Blue rings: shares that arrive, but late. The output of $e^{\beta q\cdot k}$ is at least $\sqrt2$, so 0.8 is out of its reach.
# | alt: >-
# |   Eight maps. Softmax and the normalised Gaussian turn orange upwards along dashed contours; the Gaussian is empty left of a dotted vertical line and orange right of it, with blue rings at large starts.
arrays, _ = sweep.kept("kernels-trap")
figures_trap.map_figure(arrays)
plt.show()


# %% tags=["hide-input"]
trapped, hilly = (stored[f"kernels-{name}"] for name in ("trap", "hills"))
column = {"c": 1.0, "spread": 0.997}
named = ({"kernel": kernel, **column} for kernel in ("softmax", "gaussian"))
print(sensitivity.kept(trapped).told(*named))
print(sensitivity.kept(hilly).told(spread=5.0))

# %% [markdown]
# The first lines are of the map. A stored cell is a column of it, 400 starts at each of twenty sizes, and three are computed again: the most sensitive one, the first of them all where they are alike, and two beside the boundary. The last two lines are of the table below.
#
# In the plane a query can walk around. Random keys, positive values and targets between them give the share of landscapes with a place to get stuck, from the stored sweep:

# %% tags=["hide-input"]
hills, (table) = (
    sweep.kept("kernels-hills")[0]["share"],
    stored["kernels-hills"].axes,
)
rows = [
    "| size of the keys | "
    + " | ".join(f"{one:g}" for one in table["spread"])
    + " |",
    "|---|" + "---|" * len(table["spread"]),
]
for place, kernel in enumerate(table["kernel"]):
    shares = " | ".join(show(float(one)) for one in hills[place].mean(axis=-1))
    rows.append(f"| {kernel.replace('_', ' ')} | {shares} |")
Markdown("\n".join(rows))

# %% tags=["remove-input"]
seen["plane-narrow"]

# %% tags=["remove-input"]
seen["plane-wide"]

# %% [markdown]
# Softmax is the same at every size of the keys, as it must be. The Gaussian is the better one for keys closer than its width, and the worse one for keys further apart.
#
# ### Slices through a trained layer
#
# The paper shows pictures of the loss along two directions, in which the Gaussian looks smoother (*secondary*). A picture can be counted. A layer of four heads is trained with each kernel from the same weights, until a
# fiftieth of $\mathcal L_0$ is left, the loss of a layer that puts out nothing. Then we walk along two random directions, each as long, matrix by matrix and head by head, as the weights themselves ({numref}`fig-four-slices`).

# %% tags=["hide-input"]
# | name: fig-four-slices
# | caption: >-
# |   The loss along one pair of random directions, a row each kernel ($\zeta = 1$, $\beta = 2$), a column each choice of the matrices that move, up to twice the length of the weights; one scale for all. Dashed: the loss of
# |   an output of zero. Triangles are minima on the grid.
# | alt: >-
# |   Nine panels with contours. In the softmax row they are a bowl; in the Gaussian row the bowl is small and a plateau at the dashed level surrounds it; the last column is alike in all rows.
figures_slices.slices_figure()
plt.show()

# %% tags=["remove-input"]
seen["slices-smoother"]

# %% tags=["remove-input"]
seen["slices-bent"]

# %% [markdown]
# The Gaussian's slices are not smoother. More rays fall again, and more places bend down; part of that is only a slope that runs out into a plateau. In the last column, where attention stays as it is, all kernels look alike. What *is* true is that its slices are **flatter**:

# %% tags=["remove-input"]
seen["slices-flatter"]

# %% tags=["remove-input"]
seen["slices-plateau"]

# %% [markdown]
# Softmax always hands on a full measure of values, and its loss climbs. The Gaussian's weights vanish once queries and keys part, and its loss sinks back to $\mathcal L_0$; whatever rises above it along $W_Q$ and $W_K$ must come down again. With its rows normalised the Gaussian looks
# like softmax. Close to the minimum every kernel is a bowl with one bottom.
#
# ## Where the difference vanishes
#
# So far everything was arranged to show a difference. Now nothing is: random weights of the usual size, values of both signs, random targets. Only $W_Q$ learns, on orthonormal tokens, so that every token is a problem of its own with a **reach**, the interval of outputs that its queries can have ({numref}`fig-four-reach`).

# %% tags=["hide-input"]
# | name: fig-four-reach
# | caption: >-
# |   Share of tokens whose target descent misses by more than a twentieth of a value, with 95 % intervals over 8 seeds, for one head and for four. Dashed: the share whose target is out of reach, computed before training. What lies between are
# |   traps and slow starts.
# | alt: >-
# |   Two panels with three points each, one a kernel. At one head about half of the tokens are missed by all kernels, at four heads less than a tenth; dashed levels lie below the points.
fates = generic.fate_run(range(100, 108), DEVICE)
figures_values.reach_figure(fates, ("softmax", "gaussian", "gaussian, 1"), (1, 4))
plt.show()

# %% tags=["remove-input"]
seen["generic-reach"]

# %% tags=["remove-input"]
seen["generic-missed"]

# %% tags=["remove-input"]
seen["generic-same"]

# %% tags=["remove-input"]
seen["generic-heads"]

# %% [markdown]
# With generic weights the three kernels miss about as many targets, and most of what they miss they cannot express. This is the unselected case, and it deserves as much weight as the trap.
#
# ### One grid of learning rates for all
#
# Which kernel is *faster*? A learning rate that suits one kernel says little of another. All kernels get the same twelve, each takes the one that is best for it on five seeds, and the result is read on others ({numref}`fig-four-rates`).

# %% tags=["hide-input"]
# | name: fig-four-rates
# | caption: >-
# |   Above: steps until a thousandth of the loss is left, median over 15 seeds, for one grid of learning rates; a ring marks the rate that five other seeds chose. Below: the share of seeds that never get there. Two columns with $W_Q$ alone, two
# |   with all matrices trained; of each two the left one has $\zeta = \frac12$ and the softmax that matches it, the right one $\zeta = 1$. Orange is softmax times the mean row sum of the Gaussian.
# | alt: >-
# |   Four columns. Steps fall with the rate and then rise or end where runs diverge, while the share that fails rises to one.
arrays, _ = sweep.kept("kernels-rates")
figures_values.rates_figure(arrays, stored["kernels-rates"].axes)
plt.show()

# %% tags=["remove-input"]
seen["generic-rates"]

# %% [markdown]
# Is that lead a matter of scale? Multiplying the output by $g$ is the same as dividing the targets by $g$ and multiplying the learning rate by $g^2$, exactly: $\frac12(gf - y)^2 = g^2\cdot\frac12(f - y/g)^2$. So a grid of rates has offered most of it already.

# %% tags=["remove-input"]
seen["race-rescaled"]

# %% tags=["remove-input"]
seen["race-common"]

# %% [markdown]
# A sharper softmax matters about as much as the kernel: with all matrices trained, softmax at $\beta = 2$ is about as fast at its best rate as the Gaussian at $\zeta = \frac12$ ({numref}`fig-four-rates`). An unmatched comparison can give either verdict.

# %% [markdown]
# ## How much of it is the scale of the output?
#
# A row of the Gaussian does not sum to one, and that is a scale of the output that acts like a learning rate. It is known before training. If the entries of queries and keys are independent $N(0, \sigma^2)$, then $|q - k|^2 = 2\sigma^2\chi^2_k$, with $\chi^2_k$ the sum of the squares of $k$ standard normal numbers. One square has $\mathbb Ee^{-t\chi^2_1} = (1 + 2t)^{-1/2}$. With $t = 2\zeta\sigma^2/\sqrt k$, to the power $k$ and over $L$ keys, a row sums, in the mean, to $L\,(1 + 4\zeta\sigma^2/\sqrt k)^{-k/2}$.

# %% tags=["remove-input"]
seen["row-sum"]

# %% [markdown]
# **Digits.** Each of the eight rows of a handwritten digit is a token; one layer, two heads, batches of 16. The control multiplies softmax by that one number and changes nothing else.

# %% tags=["hide-input"]
# | name: fig-four-digits
# | caption: >-
# |   Mean loss of 120 steps on digits over the learning rate, for two values of sharpness (rows) and two sizes of the weights of queries and keys (columns), five variants on one grid. A point is the result on fresh seeds at the
# |   rate that other seeds chose, with the least and the greatest. Titles give the mean row sum of the Gaussian.
# | alt: >-
# |   Four panels of curves with a minimum. Where the rows of the Gaussian sum to more than one it lies below softmax at small rates; at their best rates all variants are close.
arrays, _ = sweep.kept("kernels-digits")
figures_images.digits_figure(arrays, stored["kernels-digits"].axes)
plt.show()

# %% tags=["remove-input"]
seen["digits-faster"]

# %% tags=["remove-input"]
seen["digits-scale"]

# %% tags=["remove-input"]
seen["digits-sharper"]

# %% [markdown]
# Where rows sum to more than one, the Gaussian is faster at a fixed learning rate, and most of that a rescaled softmax has too. At $\zeta = 1$ the scale explains nothing: rows sum to less than one there. At the best of twelve learning rates for each, chosen on
# five seeds by the mean loss (a thousandth of it is out of reach here: twelve passes over the digits do not come near) and read on others, a lead of the Gaussian is left in one of the four panels of {numref}`fig-four-digits`, the one with $\zeta = \frac12$ and the smaller weights.
#
# ## Two dots, joined or not
#
# The paper also trains on Pathfinder: are two dots on a picture joined by a dashed path? We wrote a generator of our own, in which neither the number of lit pixels nor the distance of the dots tells the answer. {numref}`fig-four-samples` shows the three kinds of pictures that are trained on: 8 pixels with a second long
# path, the same with a short path more, and 16 pixels with two short paths more.

# %% tags=["hide-input"]
# | name: fig-four-samples
# | caption: >-
# |   Two pictures of each kind: 8 pixels (left), with a short path more (middle), 16 pixels (right). Above, the two dots are joined, below they are not. Paths without their gaps are shaded.
# | alt: >-
# |   Two rows of six small pixel pictures with dashed paths and two dark dots.
figures_images.samples_figure()
plt.show()

# %% tags=["remove-input"]
seen["pathfinder-fair"]

# %% [markdown]
# Training has two stages, as reports say of the paper: a Transformer of two blocks, width 64, hidden width 128 and two heads learns with softmax; then it goes on from the same weights with each of three kernels. The paper's curves are those of a *test* set, so both are shown ({numref}`fig-four-stages`), with chance
# and a small convolution beside them, so that "nothing is learned" would be seen. Both nets have the smallest of six learning rates whose test loss on two other seeds is within 0.01 of the best; batches, contrast and widths were not searched, and the rate of the Transformer was chosen with softmax. All of it is some twenty minutes of one core, stored.
#
# At 16 pixels a first try, with paths of eight cells, was learned by neither net. The paths here have five cells, which the convolution learns, so that failing means something.

# %% tags=["hide-input"]
# | name: fig-four-stages
# | caption: >-
# |   Two stages on Pathfinder, one kind of pictures a row, 40 000 pictures a seed: the mean over seeds, and from the least to the greatest. In the shaded second stage softmax (blue), the Gaussian (green) and the normalised Gaussian (purple)
# |   go on from the same weights. Dashed is chance; orange a small convolution, trained as long as the first stage.
# | alt: >-
# |   Three rows of four panels over steps. The convolution comes close to one in all rows; the Transformer reaches about seven tenths in the first, less in the second, and stays at the dashed line of chance in the third.
kinds = {
    "8 pixels": sweep.kept("kernels-pathfinder")[0],
    "a short path more": sweep.kept("kernels-pathfinder-short")[0],
    "16 pixels": sweep.kept("kernels-pathfinder-16")[0],
}
figures_images.stages_figure(kinds, every=250)
plt.show()

# %% tags=["hide-input"]
rows = [
    "| at the end of the second stage | softmax | Gaussian | normalised | seeds |"
]
rows.append("|---|---|---|---|---|")
for kind, name in zip(kinds, ("", "-short", "-16"), strict=True):
    ends = images.ends(name="kernels-pathfinder" + name)
    listed = (f"{one.mean():.3f}" for one in ends.T)
    rows.append(f"| {kind} | {' | '.join(listed)} | {len(ends)} |")
Markdown("\n".join(rows))

# %% tags=["remove-input"]
seen["pathfinder-learned"]

# %% tags=["remove-input"]
seen["pathfinder-order"]

# %% tags=["remove-input"]
seen["pathfinder-order-short"]

# %% [markdown]
# A change of kernel costs what was learned: the Gaussian begins its stage close to chance. It ends ahead of softmax, on both kinds of pictures that the Transformer learns, and the normalised Gaussian does not: what helps is that rows need not sum to one. Whether a rescaled softmax would do the same, as it does on digits, is not tested here.
# This is the order that the paper reports; settings were chosen with softmax, which makes it no easier for the Gaussian.
#
# These runs are chaotic. Two ways to add up the same sums agree in the test loss to seven digits for more than half of the first stage, and not to two at its end: one seed is one draw, and only means over seeds count. The stored sensitivity was measured over 250 steps and does not see this; on another machine
# single numbers of the table will differ.

# %% tags=["remove-input"]
seen["pathfinder-distractor"]

# %% tags=["remove-input"]
seen["pathfinder-16"]

# %% tags=["remove-input"]
seen["imdb"]

# %% [markdown]
# ## All claims of this chapter
#
# On the seeds that this page names at its top; the [ledger](../book/ledger.md) has more seeds, tightness and provenance.

# %% tags=["hide-input"]
Markdown(claims.table(list(seen.values())))

# %% [markdown]
# ## Where the theory stops
#
# **Traps need few keys.** With more keys than dimensions a landscape can have more wells than we can list; the plane was searched by descent from many starts, which can miss one.
#
# **Sharpness can be learned.** $W_Q$ and $W_K$ contain it: multiply both by two, and $\zeta$ is four times as large. A network that trains all matrices can leave the phase in which it started. What we showed holds for queries alone.
#
# **Values of both signs.** With values of both signs the Gaussian has hills and valleys at any spread, and the control of `kernels.plane-narrow` shows it.
#
# **Slices are two directions of many.** What a slice shows depends on how far it reaches and on what the directions are scaled by. At a quarter of the weights' length every kernel has one minimum and hardly a ray that falls.
#
# **Scale.** Digits and pictures of eight pixels are small, and at sixteen the Transformer learned nothing in the steps that we gave it. They show that a difference can be the scale of the output; they do not show what happens at the size of the paper.

# %% [markdown]
# ## Exercises
#
# Stars mark difficulty.
#
# :::{exercise}
# :label: ex-four-1
#
# (★) Two tokens, $x = (1, 2)$, $d = 1$, one head, $o = 1$. Find $W_Q, W_K$ for which $B$ has still rank 1 under the Gaussian although attention is not uniform. Is there an $H$ for which two heads are enough?
# :::
#
# :::{solution} ex-four-1
# :class: dropdown
#
# $B = S(1, 2)^\top$ is one column, so its rank is 1 at most, whatever $S$ is: with $d = 1$ one head never suffices for $nL = 2$. Two heads with different $S_h$ have $B$ of two columns, of rank 2 unless these are parallel: $Hd = 2 = nL$.
# :::
#
# :::{exercise}
# :label: ex-four-2
#
# (★) A distance is unchanged when queries and keys are rotated together. Why does that give no conserved function?
# :::
#
# :::{solution} ex-four-2
# :class: dropdown
#
# The generator is $(W_QA, W_KA)$ with $A^\top = -A$. The slope is orthogonal to it for every such $A$, so $W_Q^\top\dot W_Q + W_K^\top\dot W_K$ is symmetric: a relation of velocities. A conserved function would have this generator as its gradient, hence be the quadratic form
# $\frac12\operatorname{tr}(W_QAW_Q^\top + W_KAW_K^\top)$, which is zero for antisymmetric $A$. The stretch $(W_QA, -W_KA)$ with symmetric $A$ does have one, the balance; a distance is not invariant under it.
# :::
#
# :::{exercise}
# :label: ex-four-3
#
# (★★) Derive {eq}`eq-four-imbalance` from {eq}`eq-four-gradient`, and show that under the normalised Gaussian the first term vanishes.
# :::
#
# :::{solution} ex-four-3
# :class: dropdown
#
# $\frac{d}{dt}W_Q^\top W_Q = -W_Q^\top G_{W_Q} - G_{W_Q}^\top W_Q$, and $W_Q^\top G_{W_Q} = \sum_iq_i(\partial\mathcal L/\partial q_i)^\top = 2\tau\zeta\sum_{ij}G_{ij}(q_ik_j^\top - q_iq_i^\top)$ with $q_i$ as columns. For the keys it is $2\tau\zeta\sum_{ij}G_{ij}(k_jq_i^\top - k_jk_j^\top)$. In the difference the mixed
# terms and their transposes cancel, and twice $2\tau\zeta\sum G_{ij}(q_iq_i^\top - k_jk_j^\top)$ is left. The first part is $\sum_i(\sum_jG_{ij})q_iq_i^\top$, and the rows of $G$ sum to zero where rows of $S$ sum to one.
# :::
#
# :::{exercise}
# :label: ex-four-4
#
# (★★) Train the Gaussian with Adam, then with twice the learning rate for $W_Q$ by descent. What happens to $w^\top(W_Q + W_K)$? Which combination is kept by descent with rates $\eta_Q$ and $\eta_K$? Needs a run.
# :::
#
# :::{solution} ex-four-4
# :class: dropdown
#
# Adam leaves it: `balancing.law_drift.but(kernels=("gaussian",), method=balancing.ADAM)` moves it by less than $10^{-15}$. With unequal rates $w^\top(W_Q/\eta_Q + W_K/\eta_K)$ is kept, since the slopes by the two rows are opposite; `flow.at_rates` shows it.
# :::
#
# :::{exercise}
# :label: ex-four-5
#
# (★★) Softmax with keys $-1, 0, 1$ and values $r, 0, 1$, $0 < r < 1$: find $q^*$. When is the trap gone?
# :::
#
# :::{solution} ex-four-5
# :class: dropdown
#
# $o = (u^2 + r)/(u^2 + u + 1)$ has $o' = 0$ where $u^2 + 2(1 - r)u - r = 0$, so $u^* = r - 1 + \sqrt{(1-r)^2 + r}$. It goes to 0, and $q^*$ to $-\infty$, only as $r \to 0$: for every positive $r$ there are starts that are lost, if the target is above $r$. `wells.turn(r)` gives the same.
# :::
#
# :::{exercise}
# :label: ex-four-6
#
# (★★) Where is the second well for equal values, $r = 1$? Give the threshold in closed form, and check it with `trap_share`: which target would descent miss? Needs a run.
# :::
#
# :::{solution} ex-four-6
# :class: dropdown
#
# By symmetry the well is born at $x = 0$, where $a^2 = \frac12$: $s\sqrt\zeta = 1/\sqrt2$, and indeed $P = \frac12$ solves $\ln 2P = P - \frac1{4P}$. Both bumps are then equally high, so a target that one reaches the other reaches as well, and nobody is stuck: `share` is 0 for $y$ up to the height of the bumps. A second well
# is not yet a trap.
# :::
#
# :::{exercise}
# :label: ex-four-7
#
# (★★★) Show that the normalised Gaussian on a line never has more than one trap with three keys: $o' = 0$ has at most two solutions. How many can the Gaussian have?
# :::
#
# :::{solution} ex-four-7
# :class: dropdown
#
# Its numerator is $\sum_{i<j}(v_i - v_j)(k_i - k_j)\,e^{2\zeta(k_i + k_j)q - \zeta(k_i^2 + k_j^2)}$ times a positive factor: a sum of three exponentials, which has at most two zeros (divide by one of them, differentiate, use Rolle's theorem twice). The Gaussian has $\sum_jv_j(k_j - q)e^{2\zeta k_jq - \zeta k_j^2}$, where the factors are polynomials of
# degree one: at most five zeros, three maxima for positive values, and so up to two bumps that are too low.
# :::

# %% [markdown]
# ## In three lines
#
# 1. Training the values alone is least squares: it works for every kernel once $Hd \ge nL$, and the whole curve is known in advance.
# 2. Softmax keeps $W_Q^\top W_Q - W_K^\top W_K$, a Gaussian moves it at a known speed and keeps $w^\top(W_Q + W_K)$ where tokens share a direction.
# 3. Which kernel traps a query is decided by the spread of the keys times the root of the sharpness; with generic weights, and after rescaling the output, little of the difference is left.
#
# **References.** {cite:t}`song2024kernels`, {cite:t}`du2018balanced`, {cite:t}`arora2018optimization`, {cite:t}`kunin2021neural`, {cite:t}`marcotte2023abide`, {cite:t}`marcotte2025transformative`, {cite:t}`chen2021skyformer`, {cite:t}`castin2025unified`; `attnflow.cite("kernels")` prints them as BibTeX.

# %% tags=["hide-input"]
print(stamp.line(DEVICE))
print(f"{time.perf_counter() - began:.0f} seconds")
