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
# (chapter-encoder)=
# # Scaling and initialisation in a shallow encoder
#
# Eight random samples, eight random labels, a small Transformer with one head. A theorem promises that training finds a loss of zero if the
# net is wide enough, and for eight samples its proof asks for more than $10^{15}$ neurons. *Eight suffice*, and mostly four. Divide the attention logits by the width
# in place of its square root, and the same proof is content with some thirty million; but what it then lets you train is, at great width, no attention any more.

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
SEEDS = range(100, 104)  # change this line to repeat the chapter on other seeds,
DEVICE = None  # and this one to choose "cpu" or "cuda"; None takes CUDA where it is

# %% tags=["hide-input"]
from functools import partial

from attnflow import sensitivity, sweep
from attnflow.encoder import (
    ROOM,
    balancing,
    bounds,
    figures,
    flips,
    kernel,
    lazy,
    limits,
    maps,
    model,
    pairs,
    rates,
    setting,
    theorem,
    theory,
)

claim, seen = ROOM.claim, ROOM.verdicts(SEEDS, DEVICE)
stored = {table.name: table for table in ROOM.sweeps}
began = time.perf_counter()

# %% tags=["hide-input"]
# | name: fig-three-widths
# | caption: >-
# |   How wide must the net be for $n$ samples? Above, dashed: the width from which the conditions of the proof hold; it
# |   promises success in the shaded part, for logits divided by $\sqrt k$ (green) and by $k$ (blue). Below: nets that were
# |   trained, with $\sqrt k$; the fuller a dot, the more of six runs brought the loss to a hundredth. In
# |   a cell with a ring, rounding decides how many.
# | alt: >-
# |   Two panels over the number of samples, 8 to 64. Above, two dashed lines rise, from ten to the fifteen to ten to the
# |   twenty-two and from ten to the seven to ten to the twelve. Below, widths of 2 to 16; dots are full from about four to
# |   ten neurons on.
threshold, counts = stored["encoder-threshold"], (8, 16, 32, 64)
alike = {"d": theorem.D, "samples": counts, "length": 4, "fields": 2}
needed = {
    run.settings["scaling"]: run.but(**alike)(SEEDS, DEVICE)
    for run in (theorem.half_widths, theorem.one_widths)
}
chaos = sensitivity.kept(threshold)
maps.hero_figure(needed, chaos)
plt.show()

# %% [markdown]
# {numref}`fig-three-widths` puts the promise above what runs need. For eight samples fourteen powers of ten lie between the green line and the first full dots. Nobody will ever train a net of the upper panel, and yet the theorem is true and its proof is
# short. This chapter proves it line by line, looks for the place where it loses those powers of ten, and then asks what the division by a power of the width
# really does: to the attention, to the tangent kernel, to how far weights move, and to what can be learned at all.
#
# **What this chapter is.** Wu, Liu, Chrysos and Cevher {cite}`wu2023encoder` have a convergence theorem for this encoder. Here a theorem *of its kind* is proved in full, for
# average pooling and for the flow. Their own statement stands beside it as we recall it from abstract and secondary sources, since the full text was not at hand.
#
# **You will learn** how a lower bound on a singular value becomes a convergence proof; how to count powers of the width, and what such a count is worth; what the scale
# $k^{-1/2}$ or $k^{-1}$ of the logits does; and why a wider net can be the worse one.
#
# **You need** [chapter 1](1_foundations), singular values, and Gaussian integrals in the plane.
#
# **It takes** about 105 minutes to read once and about 120 more for the exercises ([how that is counted](../book/preface.md)), and one and a half minutes to run on two CPU cores. No GPU is needed.
#
# Every symbol is on the [notation page](../book/notation.md), and every number below was computed by this page or by a stored run that this page checks.

# %% [markdown]
# ## One power of the width
#
# Attention divides its logits by a power of the width. Practice takes the square root of the width, infinite-width theory often takes the width itself. Initialisations
# differ in the same way: one may put the scale into the variance of the weights, or leave the weights at variance one and scale the output. What do these choices mean for convergence? Is
# there a width from which training reaches zero loss, at what rate, and how does it depend on scale and initialisation? That is the question of Wu and coauthors.

# %% [markdown]
# ## The encoder, written out
#
# The encoder reads a sequence of $L$ tokens, the rows of $X$, and returns one number:
#
# $$\begin{aligned}
# f(X) &= \tau_1\,\frac1L\sum_{i=1}^{L}\operatorname{relu}(\tilde x_i W_V)\,W_O,\\
# \tilde X &= S X, \quad S = \operatorname{softmax}(\tau_0\,X W_Q W_K^\top X^\top).
# \end{aligned}$$ (eq-encoder)
#
# The rows $\tilde x_i$ of $\tilde X$ are the tokens as attention mixes them, and there are at least two, $L \ge 2$. The number $\tau_0$ scales the logits and
# $\tau_1$ the output. What stands before $W_O$ is a row of $k$ numbers, the **features** of the sample. One such row for each sample $m$, with the mixed tokens $\tilde x_i^{(m)}$,
# makes the matrix
#
# $$\Psi \in \mathbb R^{n\times k}, \quad \Psi_m = \frac{\tau_1}{L}\sum_{i=1}^L\operatorname{relu}(\tilde x_i^{(m)}W_V),$$ (eq-features)
#
# and the outputs are $f = \Psi W_O$. All four matrices are trained, on $\mathcal L = \frac12\sum_m (f(X_m) - y_m)^2$. In the paper weights act from the left, so its matrices are the transposes of ours; its
# $d_m$ is our $k$, its $d_s$ our $L$, its $N$ our $n$.

# %% tags=["hide-input"]
# | name: fig-three-encoder
# | caption: >-
# |   The encoder. Query and key weights meet in one product inside the softmax (blue), value and output weights meet
# |   through a ReLU (green). Each way of meeting leaves something that training does not change.
# | alt: >-
# |   Diagram: tokens X feed query and key weights, which meet in the softmax; the mixed tokens pass the value
# |   weights, a ReLU, an average and the output weights.
figures.encoder_picture()
plt.show()

# %% [markdown]
# Three initialisations are in use, and {numref}`fig-three-encoder` shows which matrices they fill:
#
# | initialisation | $W_Q, W_K, W_V$ | $W_O$ | $\tau_1$ | tokens |
# | --- | --- | --- | --- | --- |
# | LeCun | $N(0, 1/d)$ | $N(0, 1/k)$ | 1 | $N(0, I)$ |
# | He | $N(0, 2/d)$ | $N(0, 2/k)$ | 1 | $N(0, I)$ |
# | NTK | $N(0, 1)$ | $N(0, 1)$ | $k^{-1/2}$ | $N(0, I/d)$ |
#
# LeCun and He put the scale into the weights, one over the number of inputs of a neuron, He twice that to make up for the half of ReLU that is zero. The *NTK parametrisation* leaves all weights at variance one
# and scales the output. The scale of the tokens goes with the initialisation, so that logits are of order one at $\tau_0 = k^{-1/2}$ in every row; otherwise
# we would measure the scale of the data. We write $\tau_0 = k^{-s}$ with any $s$. Labels are independent $N(0,1)$ numbers: there is
# nothing to learn but the samples themselves, a hard case for a theorem on training.
#
# Here is all of it for one run, eight samples and eight neurons at LeCun initialisation: the encoder {eq}`eq-encoder`, the loss, and 400 steps of descent.

# %%
net, inputs, labels, start = setting.drawn(
    SEEDS, "cpu", samples=8, d=8, width=8, init="lecun", scaling=0.5
)


def encode(X, W_Q, W_K, W_V, W_O):
    Z = X @ W_Q @ W_K.T @ X.mT / W_Q.shape[1] ** 0.5
    mixed = torch.softmax(Z, dim=-1) @ X
    Psi = torch.relu(mixed @ W_V).mean(dim=1)
    return (Psi @ W_O)[:, 0]


theta, eta, losses = [each[0].requires_grad_() for each in start.values()], 0.05, []
for _ in range(400):
    residual = encode(inputs[0], *theta) - labels[0]
    losses.append(residual.square().sum() / 2)
    slopes = torch.autograd.grad(losses[-1], theta)
    theta = [w - eta * slope for w, slope in zip(theta, slopes, strict=True)]
    theta = [w.detach().requires_grad_() for w in theta]

# %% tags=["hide-input"]
left = float((losses[-1] / losses[0]).detach())
print("share of the loss left, eight neurons:", claims.Below(1e-7).show([left]))
ends, field = dict(zip(start, theta, strict=True)), model.field(inputs, labels, net)
gap = checks.steps_apart(field, start, ends, step=eta, steps=400)
print(
    "difference to the library after 400 steps:",
    claims.Below(1e-12).show([gap]),
)
for k in (4, 8):
    ends = theorem.threshold(torch.device("cpu"), 8, k, seeds=tuple(SEEDS))["left"]
    print(
        f"{k} neurons: {int((ends <= 1e-2).sum())} of {len(ends)} seeds interpolate"
    )

# %% [markdown]
# Eight neurons find eight labels that mean nothing. With four, some runs get stuck; in the stored map of {numref}`fig-three-widths` all six went through.
# The library does the same steps, for a stack of seeds at once and with the gradient written by hand.

# %% [markdown]
# ## Wide enough nets find zero loss
#
# ### Four words that the theorem needs
#
# *Operator norm.* For this theorem, its proof and the count of its powers, and nowhere else in the book, $\|A\|$ of a matrix is its largest singular value: by how much $A$ can stretch a vector. The Frobenius norm of a gradient, with the subscript $\|\cdot\|_F$, is the root of
# the sum of its squared entries, and never smaller. For $\operatorname{diag}(3, 4)$ the one is 4, the other 5.
#
# *The n-th singular value.* $\sigma_{\min}(\Psi)$ is by how much $\Psi^\top$ stretches *at least*: $\|\Psi^\top r\| \ge \sigma_{\min}(\Psi)\,\|r\|$ for every $r \in \mathbb R^n$. It is 0 when $k < n$. Its value at the
# start is called $\alpha = \sigma_{\min}(\Psi_0)$. If two samples have the same features, $\alpha = 0$. If they have nearly the same, $(1, 0)$ and $(1, \epsilon)$, it is about $\epsilon/\sqrt2$: the residuals $(1, -1)$ make the sum
# $\Psi^\top r = (0, -\epsilon)$, and that is all that is left of them in the gradient.
#
# *Weyl's inequality.* A singular value moves by no more than the matrix: $|\sigma_{\min}(\Psi) - \sigma_{\min}(\Psi_0)| \le \|\Psi - \Psi_0\|$. For the stretch of one $r$ of length 1 this is the triangle inequality, $\|\Psi^\top r\| \ge \|\Psi_0^\top r\| - \|(\Psi - \Psi_0)^\top r\|$; take the least.
#
# *Radius.* Matrix $A$ of the four is allowed to move by less than $c_A > 0$, in operator norm, and we are free to choose $c_A$. Then its norm stays below $B_A = \|W_A\| + c_A$, with $W_A$ at the start.
#
# Two numbers come from the data: $C$, the largest Euclidean norm of a token, and $\chi = \tau_1\sqrt n\,C$. The loss at the start is $\mathcal L_0$.
#
# ### The theorem
#
# :::{prf:theorem} Convergence of the flow, average pooling
# :label: thm-flow
#
# Let $k \ge n$, $\alpha > 0$ and
#
# $$\begin{aligned}
# \textbf{(A)}\quad \alpha^2 &\ge 4\chi\sqrt{2\mathcal L_0}\;\frac{B_V}{c_O},\\
# \alpha^2 &\ge 4\chi\sqrt{2\mathcal L_0}\;\frac{B_O}{c_V},\\
# \alpha^2 &\ge 4\chi\sqrt{2\mathcal L_0}\;\tau_0C^2B_VB_O\,\frac{B_K}{c_Q},\\
# \alpha^2 &\ge 4\chi\sqrt{2\mathcal L_0}\;\tau_0C^2B_VB_O\,\frac{B_Q}{c_K},\\
# \textbf{(B)}\quad \alpha^3 &\ge 8\chi^2\sqrt{2\mathcal L_0}\;B_O\\
# &\quad\times\big(1 + \tau_0^2C^4B_V^2(B_Q^2 + B_K^2)\big).
# \end{aligned}$$
#
# Then for all times $\sigma_{\min}(\Psi_t) \ge \alpha/2$ and $\mathcal L_t \le e^{-\alpha^2t/2}\,\mathcal L_0$.
# :::
#
# *Provenance: derived here, and proved in full. The technique, one wide layer and a lower bound on the gradient through $\sigma_{\min}(\Psi)$, is that of Nguyen and Mondelli {cite}`nguyen2020pyramidal`; the conditions have
# the shape that we recall from {cite:t}`wu2023encoder`, whose constants differ by powers of $L$ if it sums over tokens.*
#
# In plain words: if at the start the features of the samples are different enough, measured by $\alpha$, then the loss falls so fast that it has gone before the weights have moved far enough to spoil them.
# A number to try by hand: with $\alpha = 2$ the theorem promises $e^{-2t}$; a loss of 1 is below a thousandth at $t = 3.5$, since $e^{-7} < 10^{-3}$.
#
# The proof is [below](sec-proof), after the gradient that it needs. Beside the theorem, what we know of the paper's:
#
# :::{prf:theorem} The paper's statement, as recalled
# :label: thm-convergence
#
# If $\alpha^2$ and $\alpha^3$ exceed two explicit bounds, each proportional to $\sqrt{2\mathcal L_0}$, then
# descent with a small step $\eta$ satisfies $\mathcal L_j \le (1 - \eta\alpha^2/2)^j\,\mathcal L_0$ after $j$ steps. For LeCun and He
# initialisation a width $k$ that is quadratic in $n$ is sufficient.
# :::
#
# *Provenance: recalled, constants not checked. The quadratic width stands in the paper's abstract, which names no scaling $\tau_0$ for it. Secondary sources add a cubic width at*
# $\tau_0 = k^{-1/2}$ *and a condition* $d \ge n$. *That $n^3$ goes with* $\tau_0 = k^{-1/2}$ *and $n^2$ with* $\tau_0 = k^{-1}$ *is our own count, for average pooling, below.* Our proof needs $k \ge n$ and
# $\alpha > 0$, not $d \ge n$. Of our runs some have $d \ge n$ (training with $d = 16$ and $n = 8$ or 12, the synthetic data of the last section) and some have not (the laws, the run with $n = 24$, most of the map of {numref}`fig-three-widths`).

# %% [markdown]
# ## The gradient, by the chain rule
#
# Take one neuron and two tokens of size one, so that $W_V = v$ and $W_O = o$ are numbers. With $E_i = 1$ where the neuron is active on $\tilde x_i$ and 0 elsewhere, $\operatorname{relu}(\tilde x_iv) = E_i\tilde x_iv$, and
# with the residual $r = f - y$ the slopes by $v$ and $o$ are

# %%
v, o, y, tau_1 = sp.symbols("v o y tau_1", real=True)
E_1, E_2, x_1, x_2 = sp.symbols("E_1 E_2 x_1 x_2", real=True)  # x is mixed
f = tau_1 / 2 * (E_1 * x_1 * v + E_2 * x_2 * v) * o
r = sp.Symbol("r", real=True)
slope = {w: (((f - y) ** 2 / 2).diff(w)).subs(y, f - r) for w in (v, o)}
sp.Matrix([slope[v], slope[o]]).applyfunc(sp.factor)

# %% [markdown]
# For all sizes, let the mask $E$ of the ReLU be the matrix of these zeros and ones, and write $M = W_Q W_K^\top$ and $E_O = E \circ (\mathbf 1 W_O^\top)$, the mask with its columns multiplied by the output weights. Then one sample gives
#
# $$\begin{aligned}
# \nabla_{W_O} &= \tfrac{\tau_1 r}{L}\,(E\circ\tilde X W_V)^\top\mathbf 1, & \nabla_{W_V} &= \tfrac{\tau_1 r}{L}\,\tilde X^\top E_O,\\
# \nabla_{W_Q} &= G_M W_K, & \nabla_{W_K} &= G_M^\top W_Q,
# \end{aligned}$$ (eq-encoder-gradient)
#
# where $G_M = \tau_0 X^\top G_Z X$, the slope by the logits is $(G_Z)_{ij} = S_{ij}((G_S)_{ij} - \sum_l S_{il}(G_S)_{il})$ as in
# [chapter 1](1_foundations), and $G_S = \frac{\tau_1 r}{L} E_O W_V^\top X^\top$. Queries and keys enter only through the $d\times d$ matrix $M$. The library forms it
# first, so that attention costs the same at every width. What sympy has, {eq}`eq-encoder-gradient` as a whole, is compared with torch's automatic differentiation at random points; the second number is for a
# net with one more trained matrix $W_H$, of shape $(k, k)$, between $W_V$ and the ReLU:

# %% tags=["hide-input"]
for hidden, words in ((False, "four matrices"), (True, "with W_H too  ")):
    apart = claims.Below(1e-10).show([theory.gradient_agrees(hidden)])
    print(f"{words}: largest relative difference of sympy and autograd {apart}")

# %% [markdown]
# ## Every neuron keeps a balance
#
# :::{prf:theorem} Laws of the encoder
# :label: thm-encoder-laws
#
# Along the gradient flow of any loss of {eq}`eq-encoder`, on any data, $W_Q^\top W_Q - W_K^\top W_K$ is constant, and so is
# $\delta_j = \|v_j\|^2 - o_j^2$ for every neuron $j$, with $v_j$ its column of $W_V$ and $o_j$ its entry of $W_O$. If each matrix $A$
# has a learning rate $\eta_A$ of its own, the same holds with every square divided by its rate. If a matrix $W_H$ is trained between
# $W_V$ and the ReLU, $W_V^\top W_V - W_H W_H^\top$ is constant, and $\delta_j$ takes the columns of $W_H$ in place of $v_j$.
# :::
#
# :::{prf:proof}
# Multiply $v_j$ by $c > 0$ and $o_j$ by $1/c$: since $\operatorname{relu}(cz) = c\operatorname{relu}(z)$ the output stays, whatever attention and
# pooling do, and scaling symmetries give laws ([chapter 1](1_foundations)). $W_Q, W_K$ enter as $W_Q W_K^\top$, and $W_V, W_H$ as $W_V W_H$. With block
# rates, $\theta_A/\sqrt{\eta_A}$ follows an ordinary gradient flow.
# :::
#
# *Provenance: derived here from known theorems {cite}`du2018balanced,marcotte2025transformative`.* In plain words: a neuron can grow only on both sides at once. A number to try by hand: a neuron with $\|v_j\| = 2$
# and $o_j = 1$ has $\delta_j = 3$, so that $\|v_j\|$ never falls below $\sqrt3$, however long one trains. In the example of one neuron and two tokens, the speed of $v^2 - o^2$ is
# $-2v\,\partial_v + 2o\,\partial_o$ of the loss; the attention is hidden in $x_1$ and $x_2$ and may be anything:

# %%
sp.expand(-2 * v * slope[v] + 2 * o * slope[o])

# %% [markdown]
# Zero, for every mask, residual and attention. Put $(\tilde x_1v)^2$ for $\tilde x_1v$ in $f$, an activation that does not scale with $v$, and it is not. The same for all sizes is a claim, proved by sympy from
# {eq}`eq-encoder-gradient` with residual, attention and mask as free symbols:

# %% tags=["remove-input"]
seen["proof-neuron"]

# %% tags=["remove-input"]
seen["proof-query-key"]

# %% [markdown]
# Are there other laws? At the size that is counted here, $d = k = L = 2$, there are none: the Lie brackets of the output's gradients leave room for just the laws that we know, 3 of $W_Q, W_K$, one for each neuron, and 3 of
# $W_V, W_H$ where $W_H$ is trained. For other sizes this is not proved here. For a single token, $L = 1$, it is false: softmax is then 1, and all of $W_Q$ and $W_K$ is kept.

# %% tags=["hide-input"]
for hidden, words in ((False, "four matrices"), (True, "with W_H too ")):
    bound, known = (
        balancing.most_laws(hidden=hidden),
        balancing.known_laws(2, 2, hidden),
    )
    print(f"{words}: at most {bound} laws by the count, {known} known")

# %% [markdown]
# The flow keeps a law exactly, and descent lets it drift in proportion to its step; anything else moves by an amount that does not depend on the step ({numref}`fig-three-drift`).

# %% tags=["hide-input"]
# | name: fig-three-drift
# | caption: >-
# |   How far balances drift in one fixed time, for steps that halve; one pale line a seed. Left, the laws: dashed is the
# |   predicted order 1. Right, one assumption is broken, orange by a trained $W_H$ and red by learning rates that the
# |   balance ignores, and the drift no longer depends on the step.
# | alt: >-
# |   Two log-log plots of the drift of balances against the step. Left: four laws fall along the dashed line of
# |   order 1. Right: with one assumption broken the drift stays on the dashed level.
figures.drift_figure(
    claim,
    balancing.law_drift(SEEDS, DEVICE),
    balancing.hidden_drift(SEEDS, DEVICE),
    balancing.rated_drift(SEEDS, DEVICE),
)
plt.show()

# %% tags=["remove-input"]
seen["law-neuron"]

# %% [markdown]
# ### LeCun is NTK with block learning rates
#
# Write LeCun weights as $W_O = \hat W_O/\sqrt k$ and $W_V = \hat W_V/\sqrt d$, likewise $W_Q, W_K$, with $\hat W$ drawn from $N(0,1)$. Then
# the LeCun net on $X$ *is* the NTK net with $\hat W$ on $X/\sqrt d$. A step $\eta$ in $W_O$ is a step $\eta k$ in
# $\hat W_O$, a step $\eta$ in $W_V$ is $\eta d$ in $\hat W_V$. So the two trainings are one, with learning rates $\eta k$ for the output
# and $\eta d$ for the rest. When LeCun is faster than NTK at the same step, this ratio of rates is the whole difference.

# %% tags=["remove-input"]
seen["equivalence"]

# %% [markdown]
# (sec-proof)=
# ## A proof in five steps, and where it loses
#
# Norms of matrices are operator norms here, as in {prf:ref}`thm-flow`.
#
# ### The one calculation: softmax turns by a covariance
#
# How much can attention change a mixed token? Let $p$ be one row of $S$, let its logits $Z$ move along the tokens themselves, $\dot Z_j = x_j$ for tokens of size one, and ask sympy how fast the mixed token $\sum_jp_jx_j$ moves:

# %%
Z, x = (sp.Matrix(sp.symbols(f"{name}1:4", real=True)) for name in "Zx")
p = Z.applyfunc(sp.exp) / sum(Z.applyfunc(sp.exp))
mixed = p.dot(x)
speed = (sp.Matrix([mixed]).jacobian(Z) * x)[0]
variance = p.dot(x.applyfunc(lambda each: each**2)) - mixed**2
sp.simplify(speed - variance)

# %% [markdown]
# The speed *is* the variance of the tokens under the weights $p$. The smallest example: tokens $0$ and $1$ with the weights $p = (1 - p_2, p_2)$ have the variance $p_2(1 - p_2)$, at most $\frac14$, and none where attention sits on one token. For tokens of any size it is their covariance, the matrix $X^\top(\operatorname{diag}p - pp^\top)X$, because logits are $X$ times a vector. Its norm is at most $C^2$, whatever $p$ is
# (exercise 1).
#
# :::{prf:proof}
# of {prf:ref}`thm-flow`.
#
# *1. The gradient is large.* Its square is the sum of those of four blocks. The block of $W_O$ alone gives $\nabla_{W_O}\mathcal L = \Psi^\top r$ with the vector $r$ of all residuals. Since $\|r\|^2 = 2\mathcal L$ and $k \ge n$,
#
# $$\|\nabla\mathcal L\|_F^2 \ge \|\Psi^\top r\|^2 \ge 2\,\sigma_{\min}(\Psi)^2\mathcal L.$$
#
# *2. The gradient is not too large.* As averages of tokens, $\|\tilde x_i\| \le C$. While the norms stay below $B$, each feature row is at most
# $\tau_1B_VC$ long, so
#
# $$\begin{aligned}
# \|\nabla_{W_O}\mathcal L\|_F &\le \chi B_V\sqrt{2\mathcal L},\\
# \|\nabla_{W_V}\mathcal L\|_F &\le \chi B_O\sqrt{2\mathcal L},\\
# \|\nabla_{W_Q}\mathcal L\|_F &\le \chi\,\tau_0C^2B_KB_VB_O\sqrt{2\mathcal L},
# \end{aligned}$$
#
# and with $Q$ and $K$ exchanged for $W_K$. For the first line, $n$ rows of at most that length make a matrix of norm at most $\sqrt n$ times it. For the second, one sample has by {eq}`eq-encoder-gradient` a slope of at most $\tau_1|r_m|\,C\,B_O$, and $\sum_m|r_m| \le \sqrt n\,\|r\|$. In the last line one $C^2$ comes from the covariance, which turns a change of $x_iW_QW_K^\top$ into a change of $\tilde x_i$, and $\chi$ has the $C$ of the query token.
#
# *3. The features move slowly.* ReLU is 1-Lipschitz, and
#
# $$\begin{aligned}
# \tilde x W_V - \tilde x^0W_V^0 &= \tilde x^0(W_V - W_V^0)\\
# &\quad + (\tilde x - \tilde x^0)W_V.
# \end{aligned}$$
#
# In the second term, move the logits on a straight line from their start to where they are: at each point of the line the mixed token has a speed of at most $C^2$ times that of $\tau_0x_iM$, hence
# $\|\tilde x - \tilde x^0\| \le \tau_0C^3\,\|M - M_0\|$ with $M = W_QW_K^\top$. Together
#
# $$\begin{aligned}
# \|\Psi - \Psi_0\| \le{}& \chi\big(\|\Delta W_V\| + \tau_0C^2B_V\\
# &\times(B_K\|\Delta W_Q\| + B_Q\|\Delta W_K\|)\big).
# \end{aligned}$$
#
# *4. While it lasts, the loss falls.* Let $T$ be the first time at which $\sigma_{\min}(\Psi) = \alpha/2$ or some matrix has moved by its
# radius. Before $T$, step 1 gives $\dot{\mathcal L} = -\|\nabla\mathcal L\|_F^2 \le -2\big(\frac\alpha2\big)^2\mathcal L$, so $\mathcal L_t \le e^{-\alpha^2t/2}\mathcal L_0$. The root of the loss falls at half that rate, and
#
# $$\begin{aligned}
# \int_0^T\sqrt{2\mathcal L}\,dt &< \sqrt{2\mathcal L_0}\int_0^\infty e^{-\alpha^2t/4}\,dt\\
# &= 4\sqrt{2\mathcal L_0}/\alpha^2.
# \end{aligned}$$
#
# *5. It lasts for ever.* If $T$ were finite, integrate step 2 up to $T$: each matrix has moved by *less* than its factor times
# $4\sqrt{2\mathcal L_0}/\alpha^2$, which by (A) is at most its radius. Insert the same four bounds into step 3:
#
# $$\begin{aligned}
# \|\Psi_T - \Psi_0\| < \chi^2B_O\big(1 + \tau_0^2&C^4B_V^2(B_K^2 + B_Q^2)\big)\\
# &\times 4\sqrt{2\mathcal L_0}/\alpha^2,
# \end{aligned}$$
#
# at most $\alpha/2$ by (B). By Weyl's inequality $\sigma_{\min}(\Psi_T) > \alpha/2$. Nothing that could end the time before $T$ has happened: $T$ is infinite.
# :::
#
# At the kinks of the ReLU the flow takes one of the slopes on its two sides, a *subgradient* flow. For descent on a loss with Lipschitz gradient, constant $\Lambda$, the factor
# becomes $1 - \eta(1 - \eta\Lambda/2)\alpha^2/2$ and the right sides are divided by $1 - \eta\Lambda/2$; a ReLU net has no such $\Lambda$, so for
# descent the next figures *observe* and do not prove.
#
# ### Where a run stands in the proof
#
# Every inequality of steps 1 to 3 holds at every point; along a run we can see by how much ({numref}`fig-three-proof`, with $B_A$ the norms that the run reached).

# %% tags=["hide-input"]
# | name: fig-three-proof
# | caption: >-
# |   The proof along four runs, $k = 64$, $n = 12$. Left: smaller over larger side of its inequalities, the bound on the gradient
# |   from below, those on three blocks from above, and the drift of the features; all have to stay below the dashed 1.
# |   Right: $\sigma_{\min}(\Psi_t)/\alpha$, of which the proof uses only that it stays above the dashed half.
# | alt: >-
# |   Left: five families of curves over 300 steps, the lower bound on the gradient just below 1, the others below it by
# |   factors of ten to a thousand and more. Right: the smallest singular value over its start stays near or above one.
watched = theorem.watched_run(SEEDS, DEVICE)
figures.proof_figure(claim, watched)
plt.show()

# %% tags=["remove-input"]
seen["inequalities"]

# %% tags=["remove-input"]
seen["invariant"]

# %% [markdown]
# The gradient's lower bound is good within a factor of a few. The bound on the attention block is far too large: contributions of neurons with both signs cancel, and
# operator norms do not see it. That is where the width goes.

# %% [markdown]
# ## What the conditions ask for, counted in powers
#
# How wide is wide enough? To **count powers** is to write each size as $k^an^b$ for fixed $d$ and $L$, to multiply, and to forget every constant. This is arithmetic under assumptions, and no theorem. The sizes at the start:
#
# | | $\alpha^2$ | $\tau_1$ | $\chi$ | $\lVert W_Q\rVert, \lVert W_K\rVert, \lVert W_V\rVert$ | $\lVert W_O\rVert$ | $\mathcal L_0$ |
# | --- | --- | --- | --- | --- | --- | --- |
# | LeCun, He | $k$ | 1 | $n^{1/2}$ | $k^{1/2}$ | 1 | $n$ |
# | NTK | 1 | $k^{-1/2}$ | $k^{-1/2}n^{1/2}$ | $k^{1/2}$ | $k^{1/2}$ | $n$ |
#
# A $(d, k)$ matrix of independent entries of size one has operator norm about $\sqrt k$ for $k \gg d$: its $d$ rows have this length and are nearly orthogonal. The $k$ entries of the LeCun $W_O$ are of size $k^{-1/2}$, which makes its length 1. The loss is a sum over $n$ labels of size one. The assumption is in the first column: $\Psi\Psi^\top$ is a sum over $k$ neurons, hence $k$ times a fixed matrix, and the least eigenvalue of that matrix
# is taken not to depend on $n$. It does not if samples are nearly orthogonal, and it does when they crowd, certainly for $n > d$. The radii $c_A$ are taken as large as their matrices.
#
# The first row by hand, for (A) of $W_O$. On the left is $\alpha^2 \sim k$. On the right, $\chi \sim n^{1/2}$, $\sqrt{\mathcal L_0} \sim n^{1/2}$ and $B_V/c_O \sim k^{1/2}$ make $n\,k^{1/2}$. Left over right,
#
# $$\frac{k}{n\,k^{1/2}} = k^{1/2}n^{-1},$$
#
# is 1 at $k = n^2$ and larger in wider nets. The same by sympy, with (B) beside it:

# %%
k, n = sp.symbols("k n", positive=True)
s = sp.Rational(1, 2)  # change it to 1
alpha, chi, L_0, tau_0 = sp.sqrt(k), sp.sqrt(n), n, k**-s  # LeCun
B_O = c_O = 1
B_V = B_Q = sp.sqrt(k)
A = alpha**2 / (chi * sp.sqrt(L_0) * B_V / c_O)
B = alpha**3 / (chi**2 * B_O * (tau_0 * B_V * B_Q) ** 2 * sp.sqrt(L_0))
sp.Matrix([A, B])

# %% [markdown]
# These are left over right sides; a condition with $k^an^b$ holds from $k \sim n^{-b/a}$ on, or never, when $a \le 0$. Here (A) asks for $k \sim n^2$ and (B) for $k \sim n^3$. All of them:

# %% tags=["hide-input"]
rows = [
    "| | (A) $W_O$ | (A) $W_V$ | (A) $W_Q$ | (B) | width |",
    "|---|---|---|---|---|---|",
]
for init, name in (("lecun", "LeCun, He"), ("ntk", "NTK")):
    for power in (0.5, 1.0):
        powers = bounds.exponents(init, power).values()
        cells = [f"$k^{{{a}}} n^{{{b}}}$" for a, b in powers]
        e = bounds.required(init, power)
        cells.append("never" if e.is_infinite else f"$n^{{{e}}}$")
        rows.append(f"| {name}, $s = {power:g}$ | " + " | ".join(cells) + " |")
Markdown("\n".join(rows))

# %% [markdown]
# So $n^3$ comes from (B), the drift of the *attention*, and $n^2$ from (A), the drift of $W_O$. Where samples are nearly orthogonal these powers can be measured: draw tokens in 16384 dimensions, replace sums over neurons by
# their means, follow each condition to the width where it is 1, and fit that width over $n = 4$ to 32. The control is 16 dimensions, where 32 samples cannot be nearly orthogonal.

# %% tags=["remove-input"]
seen["exponent-half"]

# %% tags=["remove-input"]
seen["exponent-one"]

# %% [markdown]
# At $\tau_0 = k^{-1}$ it is (A) of $W_O$ that has the largest power, but (B), whose width grows as $n$, asks for more up to $n = 32$. In 16 dimensions the powers are larger by a half or more.
#
# These are exponents of a **sufficient** condition. How soft they are shows in the radii, which are free: a larger radius of $W_O$ helps (A) and hurts (B). The best one makes of the exponent 2 of LeCun with $s = 1$

# %% tags=["hide-input"]
radius, exponent = bounds.best_radius("lecun", 1.0)
print(f"radius of W_O: n^({radius}), width: n^({exponent})")

# %% [markdown]
# while the exponent 3 of $s = \tfrac12$ does not change. Any $s$ can be counted the same way, $\max(2, 3/(4s-1))$ for LeCun, and for NTK $3/(4s-3)$ from $s = 3/4$ on, at least 3 ({numref}`fig-three-exponents`).

# %% tags=["hide-input"]
# | name: fig-three-exponents
# | caption: >-
# |   The counted exponent $e$ of the sufficient width $k \sim n^e$ over the scaling $s$ of the logits, dashed. Shaded is what the
# |   proof covers; it says nothing about what lies below. Dotted: LeCun with the best radius of $W_O$. Left of the
# |   thin line no width is enough for NTK.
# | alt: >-
# |   Exponent of the sufficient width over the scaling s, shaded above. LeCun falls from infinity at a quarter to 2
# |   at five eighths, NTK from infinity at three quarters to 3 at one.
figures.exponent_figure()
plt.show()

# %% [markdown]
# Over the width the conditions grow as counted ({numref}`fig-three-conditions`), and in each panel at least one is far from being met at the widest net.

# %% tags=["hide-input"]
# | name: fig-three-conditions
# | caption: >-
# |   Left over right side of the conditions for eight samples, at four starts each (pale); a condition holds in the shaded part.
# |   Dashed, in the same colour: the counted powers of the width, through the widest nets. In both panels of NTK the
# |   line of (A) $W_V$ covers that of (A) $W_O$.
# | alt: >-
# |   Four log-log panels of left over right side of the conditions over widths 1024 to 16384. For LeCun the conditions on
# |   W_V, and with the 1/k scaling on W_Q, reach the shaded part; in every panel the condition on W_O and condition B stay
# |   below it. Slopes follow the dashed counted exponents.
records = {
    (init, power): theorem.conditions_run.but(init=init, scaling=power)(
        SEEDS, DEVICE
    )
    for init in ("lecun", "ntk")
    for power in (0.5, 1.0)
}
figures.conditions_figure(records)
plt.show()

# %% tags=["remove-input"]
seen["not-met"]

# %% [markdown]
# ## A few parameters a sample are enough
#
# Back to {numref}`fig-three-widths`. Its upper panel follows the conditions, with sums over neurons replaced by their means, to where all of them hold, for LeCun initialisation and tokens of the length $\sqrt d$ in $d = 8$ dimensions.
# Those are extrapolations by many orders, so read the powers of ten only. Tokens of Gaussian length, which the runs have, ask for more still, since $C$ is the largest length.

# %% tags=["hide-input"]
rows = [
    "| samples | $k^{-1/2}$, proof | $k^{-1}$, proof | runs, least width | parameters a sample |",
    "|---|---|---|---|---|",
]
asked = [theorem.last_of(needed[power]).log10().mean(dim=1) for power in (0.5, 1.0)]
for i, count in enumerate(counts):
    place = threshold.axes["samples"].index(count)
    share = maps.succeeds(chaos.arrays["left"][place])
    widths = zip(threshold.axes["width"], share, strict=True)
    least = min(width for width, done in widths if done >= 0.5)
    words = " | ".join(f"$10^{{{float(each[i]):.3g}}}$" for each in asked)
    many = (3 * theorem.D + 1) * least / count
    rows.append(f"| {count} | {words} | {least} | {many:.2g} |")
Markdown("\n".join(rows))

# %% [markdown]
# The least width is the first at which three or more of six runs brought the loss to a hundredth. A neuron has $3d + 1 = 25$ parameters here, and from 8 samples to 64 the least width grows no faster than the number of samples. The requirement of the proof
# grows faster than its $n^3$ and $n^2$, because in eight dimensions the samples crowd and $\alpha$ falls with $n$.
#
# Some cells of the map are **chaotic**: their training oscillates at the edge of stability and amplifies rounding, so that
# a start moved by one part in $10^{12}$ ends elsewhere. Such a cell is stored with a band, the lowest and highest of nine runs, and a ring in {numref}`fig-three-widths` marks one in which more runs succeed at one end of the band than at the other.
# The page computes three cells again, first the most sensitive one. Its digits are nobody's result: an entry of another run lies outside the band of nine with a chance of up to two in nine. So the page allows the width of the band once more on either side, which 3 of 54 further nudged runs of three very sensitive cells still left.

# %% tags=["hide-input"]
calm, narrow = {"samples": 16, "width": 8}, {"samples": 8, "width": 2}
print(chaos.told(calm, narrow))

# %% [markdown]
# Not even $\alpha > 0$ is needed. A net with $k < n$ has $\alpha = 0$, the theorem is silent, and descent takes the loss down all the same:

# %% tags=["remove-input"]
seen["silent"]

# %% [markdown]
# ## The tangent kernel, block by block
#
# Near its start a wide net moves like a linear model {cite}`jacot2018ntk,chizat2019lazy`. A small step on sample $X'$ changes the output on sample $X$ in proportion to the **tangent kernel**
# $K(X, X') = \langle\nabla_\theta f(X), \nabla_\theta f(X')\rangle$, an $(n, n)$ matrix: along the flow $\dot f(X) = \langle\nabla_\theta f(X), \dot\theta\rangle$ with $\dot\theta = -\sum_mr_m\nabla_\theta f(X_m)$, so residuals follow $\dot r = -Kr$. From {eq}`eq-encoder-gradient` it needs no Jacobian. The slope of $f(X)$ by $W_V$ is $\frac{\tau_1}{L}\tilde X^\top E_O$, a
# sum over tokens of products of a row $\tilde x_i$ of $\tilde X$ with a row $(E_O)_i$ of $E_O$, and the inner product of two such sums is
#
# $$K_V(X, X') = \frac{\tau_1^2}{L^2}\sum_{ij}\langle\tilde x_i, \tilde x_j'\rangle\,\langle (E_O)_i, (E_O')_j\rangle,$$ (eq-value-block)
#
# two Gram matrices multiplied entry by entry, since two products of a column and a row have the inner product $\langle ab^\top, cd^\top\rangle = \langle a, c\rangle\langle b, d\rangle$. The block of $W_O$ is $\Psi\Psi^\top$, and those of $W_Q, W_K$ know the width only through $W_KW_K^\top$ and $W_QW_Q^\top$, which are $d \times d$.

# %% tags=["hide-input"]
fast = kernel.blocks(start, inputs, net)
slow = kernel.from_jacobian(start, inputs, net)
worst = max(float((fast[b] - slow[b]).abs().max() / slow[b].max()) for b in fast)
print("Gram form against the Jacobian of torch:", claims.Below(1e-10).show([worst]))

# %% [markdown]
# ### With $\tau_0 = k^{-1}$ only the token mean is left
#
# The logits vanish as the net gets wider, the attention becomes uniform, and all mixed tokens of a sample become its token mean $\bar x$. What remains is a mean over neurons with Gaussian $v$, and that has a closed form. The **arc-cosine kernels** {cite}`cho2009kernel` are, for unit vectors $x$, $x'$,
#
# $$\kappa_0 = P(\text{both } v^\top x > 0 \text{ and } v^\top x' > 0), \qquad \kappa_1 = \mathbb E[\operatorname{relu}(v^\top x)\operatorname{relu}(v^\top x')].$$ (eq-arc-cosine)
#
# For $x' = x$ both are $\tfrac12$. In general they depend on the angle $\vartheta$: in the plane of $x$ and $x'$, neurons are active on both for directions in an arc of $\pi - \vartheta$. In polar coordinates:

# %%
radius, a, angle = sp.symbols("r a vartheta", positive=True)
density = radius * sp.exp(-(radius**2) / 2) / (2 * sp.pi)
arc, whole = (a, angle - sp.pi / 2, sp.pi / 2), (radius, 0, sp.oo)
turn = sp.expand_trig(sp.cos(a) * sp.cos(a - angle))
kappa_0 = sp.integrate(density, whole) * sp.integrate(1, arc)
kappa_1 = sp.integrate(density * radius**2, whole) * sp.integrate(turn, arc)
sp.Matrix([kappa_0, sp.simplify(sp.expand_trig(kappa_1))])

# %% [markdown]
# For vectors of any length $\kappa_0(x, x')$ depends on their angle alone, and $\kappa_1(x, x')$ is multiplied by both lengths. At NTK initialisation
#
# $$K_\infty(X, X') = \kappa_1(\bar x, \bar x') + \kappa_0(\bar x, \bar x')\,\langle\bar x, \bar x'\rangle,$$ (eq-limit)
#
# the first from $W_O$, the second from $W_V$; the blocks of $W_Q, W_K$ vanish like $1/k$. At LeCun, $K/k \to \kappa_1/d$: only $W_O$ is left. As a series in the cosine $c$ of the angle, for unit vectors:

# %%
c = sp.Symbol("c", real=True)
K = (kappa_1 + c * kappa_0).subs(angle, sp.acos(c))
sp.series(sp.expand_trig(K), c, 0, 6).removeO()

# %% [markdown]
# ### With $\tau_0 = k^{-1/2}$ the kernel stays random
#
# **With one head there is no law of large numbers over the attention.** The matrix $\tau_0W_QW_K^\top$ is $d \times d$ at any width, and it is *one matrix for all samples*. Its entries are sums of $k$ products of random sign, of size $\sqrt k$: divided by $k$ they vanish,
# divided by $\sqrt k$ they stay as random as one number. One entry, over a hundred draws:

# %% tags=["hide-input"]
for width in (64, 4096):
    weights = setting.drawn(range(100), "cpu", samples=1, width=width, init="ntk")[
        3
    ]
    entry = (weights["W_Q"] @ weights["W_K"].mT)[:, 0, 0]
    half, one = (claims.show(float((entry / width**p).std())) for p in (0.5, 1))
    print(f"k = {width:4}: spread of the entry {half} over root k, {one} over k")

# %% [markdown]
# So the kernel stays random at any width {cite}`sakai2025attention`. *Given* the attention, though, the blocks of $W_O$ and $W_V$ have a closed
# form again, the average of {eq}`eq-limit` over pairs of mixed tokens.
#
# How far is a net of $k$ neurons from these limits? Each is a mean over neurons, so the distance is a standard error, and falls as $k^{-1/2}$. The mean square of the kernel of one neuron is a Gaussian integral as well,
# $\kappa_2 + 2\kappa_1\langle\bar x, \bar x'\rangle + 3\kappa_0\langle\bar x, \bar x'\rangle^2$ with $\kappa_2 = \mathbb E[\operatorname{relu}^2\operatorname{relu}^2]$, the next of the family {eq}`eq-arc-cosine`. So the dashed line on the left of {numref}`fig-three-kernel` has no fitted
# constant; given the attention, the error is estimated from the spread of the neurons.

# %% tags=["hide-input"]
# | name: fig-three-kernel
# | caption: >-
# |   Distance of the tangent kernel at the start to a closed form, relative; one pale line a seed, root mean squares over
# |   48 draws. Left: to that of uniform attention, which $k^{-1}$ (blue) approaches and $k^{-1/2}$ (green) does not.
# |   Right: to that of the attention of the draw. Dashed: the sampling error of $k$ neurons, with its constant.
# | alt: >-
# |   Two log-log plots of the distance of the kernel to closed forms over the width. Left: with the 1/k scaling it
# |   lies on the dashed sampling error of the neurons, with the square-root scaling it is flat. Right: given the
# |   attention it lies on its dashed sampling error, too.
half = limits.random_run(SEEDS, DEVICE)
one = limits.limit_run(SEEDS, DEVICE)
figures.kernel_figure(half, one, limits.given_run(SEEDS, DEVICE))
plt.show()

# %% tags=["remove-input"]
seen["limit-kernel"]

# %% tags=["remove-input"]
seen["random-kernel"]

# %% [markdown]
# A closed form that is known before training should know the training. It does, as long as the kernel stays:

# %% tags=["remove-input"]
seen["forecast"]

# %% [markdown]
# ## The start knows the rate
#
# If the kernel stays, a step of descent multiplies the part of the residual along an eigenvector of $K_0$ by $1 - \eta\mu$, with $\mu$ the eigenvalue, and its share of the loss by $(1 - \eta\mu)^2 \approx 1 - 2\eta\mu$. In the end the slowest part is left: the loss falls at the rate $2\eta\mu_{\min}(K_0)$ a step, with $\mu_{\min}$ the least eigenvalue, which is known *before* training. Predicting it from the kernel at the *end*
# would be no test: near a minimum it is linear algebra.

# %% tags=["hide-input"]
# | name: fig-three-rate
# | caption: >-
# |   Loss over its start, one pale line a seed. Dashed: descent with the kernel of the start. The shaded part at the top is all
# |   that the theorem excludes. Left, a wide net of NTK; right, in orange, the mean-field output $\tau_1 = 1/k$, whose kernel grows
# |   during training.
# | alt: >-
# |   Loss over steps on a logarithmic axis. Left: wide NTK runs lie on the dashed forecast of the kernel at the
# |   start, one a little above it. Right: mean-field runs leave it and fall faster. Both stay far below the region that the
# |   theorem excludes.
wide = rates.wide_run(SEEDS, DEVICE)
field = rates.field_run(SEEDS, DEVICE)
figures.rate_figure(wide, field)
plt.show()

# %% tags=["remove-input"]
seen["rate"]

# %% [markdown]
# On the right of {numref}`fig-three-rate` the output is an *average* over neurons instead of a sum divided by $\sqrt k$. This is called the mean-field scale: outputs begin near zero, so weights and kernel have to move by amounts of their own size, and the start predicts nothing.
#
# The region that the theorem excludes is never entered. For wide LeCun nets, where only $W_O$ trains, the rate is $2\eta\alpha^2$ and the theorem has $\eta\alpha^2/2$: a factor of four, and all of it is $\alpha/2$ in place of $\alpha$, squared.
# At the width that we run it is a little more than four, since steps are finite and the other blocks add to the kernel. For NTK it is about three times as much,
# because $W_V$ trains as fast as $W_O$ and the theorem does not count it.

# %% tags=["remove-input"]
seen["rate-lecun"]

# %% [markdown]
# ### Beyond the edge it flies and lands
#
# If the kernel stayed as it is, descent would fall monotonically up to $\eta\mu_{\max}(K_0) = 2$, with $\mu_{\max}$ the largest eigenvalue: beyond it the factor $1 - \eta\mu_{\max}$ is below $-1$. The smallest net whose kernel can move is $f = ab$ with target 0: its kernel is $K = a^2 + b^2$. One step of descent on $\frac12f^2$ multiplies $f$ by the first of these, and adds the second to $K$:

# %%
a, b, eta = sp.symbols("a b eta")
f, K = a * b, a**2 + b**2
step = {a: a - eta * f * b, b: b - eta * f * a}
after = [sp.expand(each.subs(step, simultaneous=True)) for each in (f, K)]
sp.Matrix([after[0] / f, after[1] - K]).applyfunc(sp.factor)

# %% [markdown]
# The first is $1 - \eta K + \eta^2f^2$, so for small $f$ the output grows once $\eta K > 2$. The second is $\eta f^2(\eta K - 4)$: as long as $\eta K < 4$, the kernel *falls* while $f$ grows, until it is below $2/\eta$ and the loss comes down. This flight and landing is
# the **catapult** {cite}`lewkowycz2020large`, and 4 is where it ends. The encoder does the same ({numref}`fig-three-edge`); if $W_O$ alone is trained its kernel cannot move, and 2.5 diverges.

# %% tags=["hide-input"]
# | name: fig-three-edge
# | caption: >-
# |   Loss over its start for three steps in units of $1/\mu_{\max}(K_0)$, LeCun, $k = 512$, one line a seed. Dashed is the start. At 1.9 no
# |   run rises above it, at 2.5 all fly and land, at 4 none of these lands.
# | alt: >-
# |   Loss over steps for three step sizes: at 1.9 over the largest eigenvalue it falls, at 2.5 it first rises
# |   tenfold above the dashed start and then falls, at 4 it explodes.
edge = {u: rates.edge_run.but(unit=u)(SEEDS, DEVICE) for u in (1.9, 2.5, 4.0)}
figures.edge_figure(claim, edge)
plt.show()

# %% tags=["remove-input"]
seen["catapult"]

# %% [markdown]
# ### Which initialisation is faster depends on the clock
#
# At the same step LeCun beats NTK, and He beats both: when LeCun is at a thousandth, NTK still has most of its loss. When each takes the step $1/\mu_{\max}(K_0)$ that its own kernel allows, the order is reversed.
# With the block learning rates of LeCun, NTK *is* LeCun, and neither is faster by either clock.

# %% tags=["hide-input"]
own = rates.race_run(SEEDS, DEVICE)
same = rates.same_race(SEEDS, DEVICE)
ends = [
    claims.show(float(each)) for each in (same["left"].min(), same["left"].max())
]
rows = [
    "| steps to $10^{-3}$, median | LeCun | He | NTK |",
    "|---|---|---|---|",
    f"| each at its own step | {' | '.join(str(int(own[i].median())) for i in model.INITS)} |",
    f"| all at the same step | {int(same['lecun'].median())} | {int(same['he'].median())} | "
    f"when LeCun is there, {ends[0]} to {ends[1]} of the loss is left |",
]
Markdown("\n".join(rows))

# %% tags=["remove-input"]
seen["race-same-step"]

# %% tags=["remove-input"]
seen["race-own-step"]

# %% [markdown]
# ## Uniform, random, saturated
#
# Now the phases that the scale of the logits chooses. At the start the logits of a row are nearly independent Gaussians of variance $\tau_0^2k = k^{1-2s}$. How close to uniform is a softmax of small logits $\epsilon Z$? Its entropy is
# $H = -\sum_j p_j\log p_j$, at most $\log L$; sympy's second derivative of $H$ by $\epsilon$ at 0, over the variance of the three numbers $Z$:

# %%
eps, Z = sp.Symbol("epsilon"), sp.Matrix(sp.symbols("Z1:4"))
total = sum((eps * Z).applyfunc(sp.exp))
H = sp.log(total) - sum(eps * each * sp.exp(eps * each) for each in Z) / total
variance = Z.dot(Z) / 3 - (sum(Z) / 3) ** 2
sp.simplify(H.diff(eps, 2).subs(eps, 0) / variance)

# %% [markdown]
# The minus is there because uniform attention has the largest entropy, and for the same reason nothing is of first order. So $\log L - H = \tfrac12\epsilon^2\operatorname{Var}Z + \dots$. Here $\epsilon^2\operatorname{Var}Z$ is the variance $k^{1-2s}$ of the logits, and the **entropy deficit** $1 - H/\log L$ falls as $k^{-(2s-1)}$ for $s > \tfrac12$: the attention becomes **uniform**. At $s = \tfrac12$ it stays **random**. For
# $s < \tfrac12$ it **saturates** on single tokens ({numref}`fig-three-entropy`).

# %% tags=["hide-input"]
# | name: fig-three-entropy
# | caption: >-
# |   Entropy deficit of the attention at the start over the width, for $\tau_0 = k^{-s}$: 0 is uniform attention, 1 is attention to
# |   single tokens. Pale: four seeds. Dashed: Gaussian logits of variance $k^{1-2s}$, with no free constant.
# | alt: >-
# |   Entropy deficit over the width for five scalings: runs follow dashed lines that rise to saturation for a
# |   quarter, stay flat for one half, and fall with slopes of minus one half, minus one and minus three halves.
deficits = partial(limits.deficits, scalings=(0.25, 0.5, 0.75, 1.0, 1.25))
entropies = limits.entropy_run.but(measure=deficits)(SEEDS, DEVICE)
figures.entropy_figure(entropies)
plt.show()

# %% tags=["remove-input"]
seen["entropy-values"]

# %% [markdown]
# Attention and kernel can be watched together, while a net grows. {numref}`fig-three-draws` takes two samples of four orthonormal tokens: $X$ has the standard basis, and $X'$ the same with its last two tokens
# turned round. So the logits of a sample are independent, of variance $k^{1-2s}$, and the two token means are orthogonal, of length $\frac12$. Then {eq}`eq-limit` is $K_\infty(X, X') = 1/8\pi$.
# How far does $K(X, X')$ spread over draws? For $k$ neurons at uniform attention the Gaussian integral above gives the variance $(1 - \pi^{-2})/64k$. The attention turns the mean of the mixed tokens, to first order in the logits,
# by $\tau_0\operatorname{Cov}(X)M^\top\bar x$, with the covariance $\operatorname{Cov}(X)$ of the tokens, $\frac14$ along $\bar x'$; with that {eq}`eq-limit` moves by $\frac18\tau_0(\bar x^\top M\bar x' + \bar x'^\top M\bar x)$. Together
#
# $$\operatorname{Var}K(X, X') \approx \frac{1 - \pi^{-2}}{64\,k} + \frac{k^{1-2s}}{512}, \qquad s \ge \tfrac12.$$ (eq-spread)
#
# The second term would be there with infinitely many neurons: at $s = 1$ it falls like the first, at $s = \tfrac12$ it does not fall.
#
# ```{attnflow-explorable} encoder
# ---
# name: fig-three-draws
# alt: >-
#   Left, thirty draws of one kernel entry over the width: at s = 1 they close in on a dashed line, at s = 1/2 they stay apart. Right,
#   their spread, at s = 1 falling along a dashed line, at s = 1/2 level with the other.
# ---
# Thirty draws at NTK initialisation, whose nets widen together: $k = 2^{4+t}$, and a wider net keeps its neurons. Red is the draw whose attention is shown, from token $i$ of $X$ to token $j$, the fuller the colour, the more.
# $K$ is the entry $K(X, X')$ of the whole kernel; $D = 1 - H/\log L$ the entropy deficit, its mean over both samples. Orange is the spread of the closed form given the attention. Dashed is what is predicted: $K_\infty$, the
# deficit of Gaussian logits, and both spreads by {eq}`eq-spread`, orange without its first term. Thirty draws tell a spread to about an eighth. The page draws its own weights, by the generator mulberry32 and the method of Box and Muller.
# ```

# %% [markdown]
# ## Lazy weights, moving kernel
#
# How far does each block move until the loss is at a thousandth? Count powers of $k$ once more, for residuals of order one. Neurons have random signs, so the size of a sum over them is that of its root of squares. For NTK with any $s$, where $\tau_1 = k^{-1/2}$:
#
# | | gradient at the start | moves by | over its size |
# | --- | --- | --- | --- |
# | $W_O$ | $\tau_1\lVert W_V\rVert \sim 1$ | 1 | $k^{-1/2}$ |
# | $W_V$ | $\tau_1\lVert W_O\rVert \sim 1$ | 1 | $k^{-1/2}$ |
# | $W_Q$ | $\tau_0\tau_1\lVert W_O\rVert\lVert W_K\rVert \sim k^{1/2-s}$ | $k^{1/2-s}$ | $k^{-s}$ |
# | logits | | $\tau_0\lVert\Delta W_Q\rVert\lVert W_K\rVert \sim k^{1-2s}$ | |
#
# The kernel is the sum of the squares of the gradients, of order one; the time that is needed is one over it, of order one; and a block moves by its gradient times the time. The last line is the one to look at. A random matrix as large as $\Delta W_Q$ would
# meet $W_K$ in a sum of random signs: for two rows of $k$ entries $\pm1$ the inner product is of size $\sqrt k$ if they are independent, and $k$ if one is a copy of the other. But $\Delta W_Q = -G\,W_K$ for some $G$, by {eq}`eq-encoder-gradient`: it is *aligned* with $W_K$, and $\Delta W_Q\,W_K^\top = -G\,W_KW_K^\top$ has the full size of both. At $s = \tfrac12$ the logits therefore move by order one. **Every weight moves less and less
# as the net gets wider, and the attention does not move less**, nor does the kernel ({numref}`fig-three-lazy`, lower left). The bracket in
# (B) sees the same cause and over-estimates it: there the exponent is $-\tfrac12$, in the run it is 0.
#
# For LeCun, with $\tau_1 = 1$ and $\|W_O\| \sim 1$, the gradient of $W_O$ is $\|W_V\| \sim k^{1/2}$, the largest by far. The kernel is its square, $k$, and the time is $1/k$. In this time
#
# * $W_O$ moves by $k^{1/2}/k$, which is also $k^{-1/2}$ of its size;
# * $W_V$, with a gradient $\|W_O\| \sim 1$, moves by $1/k$, which is $k^{-3/2}$ of its size $k^{1/2}$;
# * $W_Q$, with a gradient $\tau_0\|W_O\|\|W_K\| \sim k^{1/2-s}$, moves by $k^{-1/2-s}$, which is $k^{-1-s}$ of its size.
#
# All exponents:

# %% tags=["hide-input"]
rows = [
    "| | $W_O$ | $W_V$ | $W_Q$ | attention | kernel |",
    "|---|---|---|---|---|---|",
]
for init, power in lazy.RUNS:
    found = theory.movement(init, power)
    cells = [f"${found[x]}$" for x in ("W_O", "W_V", "W_Q", "attention", "kernel")]
    rows.append(f"| {figures.INIT[init]}, $s = {power:g}$ | {' | '.join(cells)} |")
Markdown("\n".join(rows))

# %% tags=["hide-input"]
# | name: fig-three-lazy
# | caption: >-
# |   How far weights and kernel have moved, over their size at the start, when the loss is at a thousandth; four seeds, pale.
# |   Dashed, in the same colour: the counted powers, through the widest nets. Lower left: the weights move ever less, the kernel
# |   as much as before. Lower right: the kernel has not yet come to its last power.
# | alt: >-
# |   Four log-log panels of the movement of weights and kernel at a fixed loss over the width, with dashed
# |   predicted exponents; in the third panel, NTK with the square-root scaling, the weights fall and the kernel
# |   stays level.
moved = {key: run(SEEDS, DEVICE) for key, run in lazy.RUNS.items()}
figures.lazy_figure(moved)
plt.show()

# %% tags=["remove-input"]
seen["lazy-ntk-half"]

# %% tags=["remove-input"]
seen["not-kernel-lazy"]

# %% [markdown]
# ### The masks have the last word
#
# In the last panel, NTK with $\tau_0 = k^{-1}$, the kernel falls faster than its dashed line of slope $-\tfrac12$. Count again. The attention, the sums over neurons of random signs and the
# square of $\Delta W_O$ all change it by $O(1/k)$. One part is larger, and small in number. The $v_j\cdot\bar x_n$ are of order one, with a density at zero, and move by $O(k^{-1/2})$: a share of
# $k^{-1/2}$ of the masks flips. If on and off had equal chances, $\sqrt k$ flips of random sign would leave $k^{-3/4}$. They have not. Let $J_n = \int r_n\,dt$, and let
# $q_{jn} = \sum_{m\ne n}E_{jm}\langle\bar x_n, \bar x_m\rangle J_m$ be the push that neuron $j$ gets from the other samples. A sample $m$ moves $v_j$ at the rate $-\frac{o_j}{\sqrt k}\,r_mE_{jm}\,\bar x_m$. Integrate that, take the product with $\bar x_n$ and sum over $m$. The term $m = n$ has the factor $E_{jn}$ and is there only if $j$ is on:
#
# $$\Delta(v_j\cdot\bar x_n) = -\frac{o_j}{\sqrt k}\cdot\begin{cases} q_{jn} & \text{where } j \text{ is off on sample } n,\\
# q_{jn} + \|\bar x_n\|^2J_n & \text{where it is on:}\end{cases}$$ (eq-flips)
#
# **an active neuron feels its own sample's gradient, an inactive one does not.** One sign of $o_j$ leads to the kink. Masks go on in proportion to $|q|$ and off in proportion to
# $|q + \|\bar x_n\|^2J_n|$; since $q$ has either sign, the second is larger on average, and more masks go off than on. Each carries $o_j^2\|\bar x_n\|^2/k$ of the trace of the block of $W_V$; with the
# Gaussian density at zero and $\mathbb E|o|^3$ the trace of the kernel changes as
#
# $$\begin{aligned}
# \frac{\operatorname{tr}(K - K_0)}{\operatorname{tr}K_0} &\approx \frac{\Delta_1}{k} - \frac{\Delta_{1/2}}{\sqrt k},\\
# \Delta_{1/2} &= \frac{1}{\pi\operatorname{tr}K_0}\sum_n\|\bar x_n\|\,\mathbb E\big[\,|q_{jn} + \|\bar x_n\|^2J_n| - |q_{jn}|\,\big],
# \end{aligned}$$ (eq-pull)
#
# the mean being over neurons at the kink of sample $n$. While the kernel stays $J = K_0^{-1}(r_0 - r_t)$, and up to the small $r_t$ that is left at the end $\Delta_{1/2}$ is known before training: `flips.expected_pull`. *Provenance:
# derived here, to first order, with uniform attention and all residuals falling alike; a finer count would follow a neuron along its way.* Other settings do not see it: at $\tau_0 = k^{-1/2}$ the kernel moves
# by order one anyway, and at LeCun the share is $k^{-3/2}$, in a block that is itself only $1/k$ of the kernel.
#
# A stored sweep follows 64 draws to $k = 32768$ ({numref}`fig-three-flips`).

# %% tags=["hide-input"]
# | name: fig-three-flips
# | caption: >-
# |   NTK with $\tau_0 = k^{-1}$ until the loss is at a thousandth, means of 64 draws. Left: shares of masks that go on and off, dashed the
# |   power $-1/2$. Middle: change of the kernel in norm, and that of the masks alone. Right: change of its trace times $\sqrt k$; the
# |   part of the masks lies on a forecast with no fitted constant. Dashed curves of the whole are fitted to all widths *but the last*.
# | alt: >-
# |   Three panels over widths from 128 to 32768. Left: shares of masks that go on and off fall along dashed slopes
# |   of minus one half, off above on. Middle: the change of the kernel falls steeply and bends towards that of the
# |   masks alone. Right: the change of the trace times the root of the width falls through zero to below, the part
# |   of the masks stays level on its dashed forecast.
kinks = stored["encoder-flips"]
arrays, _ = sweep.kept("encoder-flips")
maps.flips_figure(claim, arrays, kinks.axes)
plt.show()

# %% tags=["hide-input"]
widths = kinks.axes["width"]
seeds = {name: each.reshape(len(widths), -1) for name, each in arrays.items()}
slopes = partial(flips.local_slopes, widths)
lows, highs = flips.interval(seeds["change"], slopes)
ratios = seeds["pull"].mean(axis=1) / seeds["expected"].mean(axis=1)
rows = [
    "| from $k$ to $2k$ | exponent of the change | 95 of 100 draws | masks at $2k$, measured over expected |",
    "|---|---|---|---|",
]
every = zip(widths, slopes(seeds["change"]), lows, highs, ratios[1:], strict=False)
for width, slope, low, high, ratio in every:
    rows.append(
        f"| {width} | {slope:.2f} | {low:.2f} to {high:.2f} | {ratio:.2f} |"
    )
Markdown("\n".join(rows))

# %% [markdown]
# The local exponents of the norm stand beside the range of 95 of 100 bootstrap draws of the seeds. Up to $k = 2048$ the exponent is near $-1$, a passing stage, since $\Delta_1$ is much the
# larger constant. At the last step $-1$ is excluded. And since the parts have **opposite signs**, narrow nets end with a larger kernel and very wide ones with a smaller. Do powers fitted to all
# other widths forecast the mean at the widest, within the range of the bootstrap?

# %% tags=["hide-input"]
trace, square = seeds["growth"] - seeds["pull"], seeds["change"] ** 2
rows = [
    "| what | powers of $k$ | forecast over run | in range |",
    "|---|---|---|---|",
]
for words, values, powers in (
    ("trace", trace, (-0.5, -1)),
    ("trace", trace, (-0.5, -1, -1.5)),
    ("trace, no masks", trace, (-1, -1.5, -2)),
    ("square of the norm", square, (-1, -1.5, -2, -2.5)),
    ("square, no masks", square, (-2, -2.5, -3, -3.5)),
    ("norm", seeds["change"], (-0.5, -1)),
):
    miss = partial(flips.foretold, widths, powers=powers)
    low, high = flips.interval(values, miss)
    ratio = 1 + miss(values) / values[-1].mean()
    inside = "yes" if low <= 0 <= high else "no"
    listed = ", ".join(f"{power:g}" for power in powers)
    rows.append(f"| {words} | {listed} | {ratio:.2f} | {inside} |")
Markdown("\n".join(rows))

# %% [markdown]
# Two powers come close and miss, since at $k = 128$ the next order, $k^{-3/2}$, is not yet small; with it the forecast holds, and as many powers *without* $k^{-1/2}$ fail. The norm is no sum of two powers,
# because what is added are matrices of opposite sign; its square has the cross term. The masks alone lie above their dashed line where
# the $k^{-3/4}$ of random signs still shows in the norm. In the trace, where it averages out, their dashed line has no fitted constant at all. The most sensitive cell of $k = 512$ in the stored table, computed again:

# %% tags=["hide-input"]
print(sensitivity.kept(kinks).told(width=512))

# %% tags=["remove-input"]
seen["flips-pull"]

# %% [markdown]
# ## Where wider is worse
#
# On Gaussian data both scalings interpolate at the widths of this section, and these data do not separate what they can learn (a narrow exception comes with the synthetic data below). To see a clear difference, hide the label from the token mean: take **pairs of samples with the same
# mean and opposite labels**. The limit {eq}`eq-limit` sees the mean alone and cannot tell them apart: two rows of $K_\infty$ are equal, residuals $(1, -1)$ on the pair are not moved at all, $\mu_{\min}(K_\infty) = 0$, and the wider the net the closer it is to its limit. After 300 steps more is left at larger width under both scalings ({numref}`fig-three-pairs`);
# but at $k = 1024$ it is about a hundred-thousandth or less with $k^{-1/2}$, and most of the loss with $k^{-1}$.

# %% tags=["hide-input"]
# | name: fig-three-pairs
# | caption: >-
# |   Share of the loss that is left after 300 steps on pairs of samples with one token mean and opposite labels, LeCun, one line a seed. With
# |   $k^{-1}$ (blue) wide nets learn next to nothing in these steps; with $k^{-1/2}$ (green) they do, though wider is slower there, too. Shares
# |   below $10^{-8}$ are drawn there.
# | alt: >-
# |   Share of the loss left after 300 steps on mean-matched pairs over the width: with the 1/k scaling it rises
# |   towards one; with the square-root scaling it is below one in a hundred million up to width 256 and near or below one
# |   hundred-thousandth at the largest width.
left = {
    power: pairs.pairs_run.but(scaling=power)(SEEDS, DEVICE) for power in (0.5, 1)
}
figures.pairs_figure(left)
plt.show()

# %% tags=["remove-input"]
seen["wider-is-worse"]

# %% [markdown]
# This is our own construction, not the paper's. It shows what the scaling $k^{-1}$ gives away: at infinite width it is not attention any more.
#
# ### The start knows which scaling is faster
#
# A review of the paper reports $k^{-1/2}$ ahead at large width. That depends on the data, and the kernels at the start know it. Take LeCun at $k = 4096$, eight samples with $d = 16$, so that
# $d \ge n$, and for each scaling the step $1/\mu_{\max}(K_0)$ of its own. The lead of $k^{-1/2}$ is the decimal logarithm of the loss left with $k^{-1}$ over that left with $k^{-1/2}$, here for four seeds:

# %% tags=["hide-input"]
rows = ["| data | measured lead | predicted |", "|---|---|---|"]
for words, changes in (
    ("pairs, 15 steps", {}),
    ("Gaussian, 15 steps", {"data": "gaussian", "foretold": "gaussian"}),
    ("pairs, $k = 1024$, 300 steps", {"width": 1024, "steps": 300}),
):
    race = pairs.lead_run.but(**changes)(SEEDS, DEVICE)
    both = (", ".join(f"{one:.2f}" for one in race[x]) for x in ("lead", "known"))
    rows.append(f"| {words} | {' | '.join(both)} |")
Markdown("\n".join(rows))

# %% tags=["remove-input"]
seen["lead"]

# %% [markdown]
# Predicted is what descent with the kernel $K_0$ of each scaling gives. On pairs $k^{-1/2}$ is ahead, on Gaussian data behind, as a rule, and the kernels of the other data set predict another lead.
# Later, and sooner in narrower nets, the kernel with $k^{-1/2}$ moves, in its own favour: then the start foretells the order, and less than the lead.
#
# ## One diagram
#
# A stored sweep over $s$ and $k$ at NTK initialisation puts both phases side by side ({numref}`fig-three-phases`). The change of the kernel has two parts, $a\,k^{1-2s}$ from the attention and one that does not know $s$: the $k^{-1}$ of the other blocks and the $k^{-1/2}$ of the masks
# that flip, {eq}`eq-pull`, which the row $s = 1$ measures together. With $a$ fitted at one cell of the last column, the dashed line on the right is where both parts add up to a tenth. For $s > \tfrac34$ the masks have
# the last word, far to the right of this map. Three cells are computed again, first the most sensitive one.

# %% tags=["hide-input"]
# | name: fig-three-phases
# | caption: >-
# |   Measured maps over width and scaling, NTK, one square a stored cell. Left: entropy deficit at the start; dashed, with nothing fitted, is
# |   where the formula gives 0.05 and 0.5. Right: change of the kernel until the loss is at a hundredth; dashed, with one fitted constant, is where it
# |   is a tenth. The two maps have scales of their own, on their bars.
# | alt: >-
# |   Two maps over width and scaling. Left: entropy deficit with dashed boundaries between uniform, random and
# |   saturated attention. Right: change of the kernel with a dashed boundary between lazy and moving.
phase = stored["encoder-phase"]
arrays, _ = sweep.kept("encoder-phase")
maps.phase_figure(arrays, phase.axes)
plt.show()

# %% tags=["hide-input"]
corner = {"scaling": 1.0, "width": 2048}
print(sensitivity.kept(phase).told({"scaling": 0.5, "width": 512}, corner))

# %% [markdown]
# ## The paper's experiments, as far as we know them
#
# **Synthetic data.** As a reproducibility record lists it: 100 Gaussian samples, $d = 100$, $L = 10$ as recalled, LeCun, 400 full-batch steps with step 1, several widths.
# We could not find in which units the step is 1. We take $1/\mu_{\max}(K_0)$ ({numref}`fig-three-synthetic`). Steps of 1 on the mean of the losses, taken literally, do this within ten steps:

# %% tags=["hide-input"]
synthetic = stored["encoder-synthetic"]
arrays, _ = sweep.kept("encoder-synthetic")
rows = ["| | $k = 10$ | 100 | 1000 |", "|---|---|---|---|"]
for j, power in enumerate(synthetic.axes["scaling"]):
    worst = arrays["literal"][:, j].max(axis=-1)
    words = ("the loss falls" if each < 1 else "it grows" for each in worst)
    rows.append(f"| $s = {power:g}$ | {' | '.join(words)} |")
Markdown("\n".join(rows))

# %% tags=["hide-input"]
# | name: fig-three-synthetic
# | caption: >-
# |   The synthetic experiment: loss, movement of all weights and change of the kernel over 400 steps, with $\tau_0 = k^{-1/2}$ above and
# |   $k^{-1}$ below. Each curve is the median of two seeds; losses below $10^{-12}$ are drawn there. The wider the net, the less weights and
# |   kernel move.
# | alt: >-
# |   Six panels over steps for three widths and two scalings: loss, movement of the weights, change of the kernel. The wider
# |   the net, the less weights and kernel move. At width 10 with the 1/k scaling the loss stops at a few thousandths.
maps.synthetic_figure(arrays, synthetic.axes)
plt.show()

# %% [markdown]
# Weights and kernel change at first and settle, and less so when wider: the picture that is described for the paper's figure. The loss is not always linear on the logarithmic axis. At
# $k = 100$ and 1000 it comes near to a line; the wide nets need more steps, and among these widths $\tau_0 = k^{-1}$ is the faster one. At $k = 10$ the curves zigzag first, and with $\tau_0 = k^{-1}$ one of the two seeds
# stops at a few thousandths of its start, where $\tau_0 = k^{-1/2}$ goes to rounding: there the scalings do differ, and two seeds are too few to say more.
#
# **A vision Transformer.** The paper compares both scalings on MNIST. Our stand-in is a small Transformer on scikit-learn's digits: two blocks of two heads, 200 images, widths 8 and 32, two seeds each. With $k^{-1/2}$ the training loss
# falls faster ({numref}`fig-three-vision`). With $k^{-1}$ attention starts close to uniform, closer when wider, and then training moves it: at the end its deficit is about as large as that of $k^{-1/2}$ at the start. The claim below is about a shorter run of one block,
# sixty steps, in which attention is still near uniform at the end.

# %% tags=["hide-input"]
# | name: fig-three-vision
# | caption: >-
# |   A small vision Transformer on handwritten digits, two seeds a setting; solid is width 32, dotted width 8. Left: training loss. Right:
# |   entropy deficit of its attention, 0 being uniform. With $k^{-1/2}$ (green) the loss falls faster; with $k^{-1}$ (blue) attention begins
# |   nearly uniform and leaves it during training.
# | alt: >-
# |   Training loss and entropy deficit of a small vision Transformer on digits: with the square-root scaling the
# |   loss falls faster and attention is further from uniform; with the 1/k scaling attention starts
# |   nearly uniform and its deficit rises during training to between a tenth and a fifth.
arrays, _ = sweep.kept("encoder-vision")
maps.vision_figure(arrays, stored["encoder-vision"].axes)
plt.show()

# %% tags=["remove-input"]
seen["vision"]

# %% [markdown]
# The tables of these two experiments take too long for a page to compute a cell of them again. How sensitive are they?

# %% tags=["hide-input"]
for name in ("encoder-synthetic", "encoder-vision"):
    chaos = sensitivity.kept(stored[name])
    many, worst = int(chaos.chaotic.sum()), chaos.measured.max()
    print(f"{name}: {many} chaotic cells, sensitivity {worst:.0e} at most")

# %% [markdown]
# (sec-claims-encoder)=
# ## All claims, with their controls
#
# Each row was evaluated on the seeds of this page. The criteria were chosen on seeds 0 to 9. A control breaks one assumption of its claim, and must fail.

# %% tags=["hide-input"]
table = list(seen.values())
Markdown(claims.table(table))

# %% tags=["hide-input"]
agreed = sum(row.consistent for row in table)
print(f"{agreed} of {len(table)} claims as stated, with every control failing")

# %% [markdown]
# ## Where the theory stops
#
# **The theorem** is true, and its conditions fail at every width that we run. What makes it lose is visible on the left of {numref}`fig-three-proof`: operator norms in place of sums with random signs. Its exponents are not the last word:
# Arda, Cayci and Eryilmaz {cite}`arda2026shallow` treat many independent heads under projected descent in the kernel regime, and their width grows with the logarithm of $n$. Qin, Zhou and Zhu {cite}`qin2025residual` prove a
# linear rate for a Transformer with residual connections, through singular values of the output of its attention layer, as here through those of $\Psi$. Minoza, Medina and Ibañez {cite}`minoza2026linearized` show for linearised attention that
# no practical width brings it into the kernel regime; our runs with $k^{-1}$, uniform attention and eight or twelve random samples do come near it.
#
# **The kernel limit** covers wide nets with $\tau_0 = k^{-1}$, at the price of uniform attention. The usual argument for dividing by $k$ is that $W_Q$ and $W_K$ become aligned while they train, so that logits grow as $k$ and not as $\sqrt k$. It is
# the alignment of the table above, and it is what moves the kernel at $s = \tfrac12$; in our runs, up to a thousandth of the loss, it moves logits by order one and does not blow them up.
#
# **Everything here has one head.** With many heads, $\tau_0 = k^{-1/2}$ has a law of large numbers
# over heads, and we expect a deterministic limit of the kernel again (exercise 6); depth, normalisation and Adam are not covered. At realistic size we measured nothing. Where attention is trained far
# from its start, that is in the language of this chapter the corner with $s = \tfrac12$ and a moving kernel.
#
# **What is known, recalled, and new here.** Known theorems: the technique of the proof, the laws, the arc-cosine kernels, the catapult. Recalled and not checked: the statement of {prf:ref}`thm-convergence` and the set-up of the experiments. Derived here: the
# proof for average pooling, the counts of powers, the limits with their sampling errors, the masks that flip, the pairs with one mean.

# %% [markdown]
# ## Exercises
#
# Stars mark difficulty.
#
# :::{exercise}
# :label: ex-three-1
#
# (★) Show that the covariance of $L$ points of norm at most $C$, under any weights $p$, has operator norm at most $C^2$. When is it much smaller?
# :::
#
# :::{solution} ex-three-1
# :class: dropdown
#
# $u^\top\operatorname{Cov}u = \sum p_j(u^\top x_j)^2 - (\sum p_ju^\top x_j)^2 \le \sum p_j(u^\top x_j)^2 \le C^2$ for unit $u$. It vanishes when $p$ sits on one token: saturated attention
# has no gradient.
# :::
#
# :::{exercise}
# :label: ex-three-2
#
# (★) Balance of $W_Q, W_K$ at the start: how large is $\|W_Q^\top W_Q - W_K^\top W_K\|$ at LeCun initialisation for $k \gg d$, relative to $\|W_Q^\top W_Q\|$, in the Frobenius norm and in the operator norm? Are wide layers balanced?
# :::
#
# :::{solution} ex-three-2
# :class: dropdown
#
# Both Gram matrices have rank $d$ in $k$ dimensions and nearly orthogonal ranges. So the difference has the Frobenius norm $\sqrt2\,\|W_Q^\top W_Q\|$, and the operator norm $1\cdot\|W_Q^\top W_Q\|$, since the larger one of two orthogonal blocks counts, up to
# smaller terms. The balance is as large as its terms, and it stays so: balancing of layers needs a *small* start.
# :::
#
# :::{exercise}
# :label: ex-three-3
#
# (★★) Derive $\max(2, 3/(4s-1))$ for LeCun. Which condition rules where, and what happens at $s \le 1/4$?
# :::
#
# :::{solution} ex-three-3
# :class: dropdown
#
# In (B) the bracket is of order $1 + k^{2-2s}$, so the ratio is $k^{3/2-(2-2s)}n^{-3/2} = k^{2s-1/2}n^{-3/2}$ for $s \le 1$: width $n^{3/(4s-1)}$. (A) for $W_O$ gives $k^{1/2}n^{-1}$: width $n^2$. They cross at
# $s = 5/8$. At $s \le 1/4$ the ratio of (B) does not grow with the width. `bounds.required` agrees.
# :::
#
# :::{exercise}
# :label: ex-three-4
#
# (★★) Repeat the count of {prf:ref}`thm-flow` for *sum* pooling, $\tau_1\sum_i$ in place of $\tau_1\frac1L\sum_i$. Which constants change, and do the exponents in $k$ and $n$?
# :::
#
# :::{solution} ex-three-4
# :class: dropdown
#
# $\Psi$, and with it $\alpha$ and $\chi$, are multiplied by $L$. (A) gains $L^2$ on the left and $L$ on the right, (B) $L^3$ and $L^2$, and $\mathcal L_0$ changes with $f$. For fixed $L$ no exponent changes.
# :::
#
# :::{exercise}
# :label: ex-three-5
#
# (★★) Replace ReLU by a smooth activation in the limit of mean-matched pairs. The output moves by how much when the attention moves by $O(k^{-1/2})$? Explain the exponent $-1/2$ of
# $\mu_{\min}/\mu_{\max}$ for ReLU at NTK initialisation, and predict it for GELU.
# :::
#
# :::{solution} ex-three-5
# :class: dropdown
#
# Mixed tokens of a pair differ by $\epsilon = O(k^{-1/2})$. The direction that separates the pair has the kernel's second difference, $K(x,x) - 2K(x,x') + K(x',x')$. A smooth kernel gives $\epsilon^2 \sim k^{-1}$. But
# $\kappa_0 = (\pi - \vartheta)/2\pi$ is *linear* in the angle $\vartheta \sim \epsilon$: the kink of ReLU gives $k^{-1/2}$. For GELU expect $-1$.
# It is the kink that flips masks in {eq}`eq-flips`: there the weights cross it in time, here the two samples lie on its two sides.
# :::
#
# :::{exercise}
# :label: ex-three-6
#
# (★★★) With $H$ independent heads whose outputs are averaged with $1/\sqrt H$, how does the spread over draws of the kernel at $\tau_0 = k^{-1/2}$ fall with $H$, when $k$ is large? Build it from `kernel.given_attention`.
# :::
#
# :::{solution} ex-three-6
# :class: dropdown
#
# The kernel becomes the average of $H$ independent copies of the conditional kernel, so its spread falls as $H^{-1/2}$. In code: draw $H$ matrices $W_QW_K^\top$ for each run, average
# `given_attention` over them, and fit the slope of the standard deviation over draws with `curves.log_slope`.
# :::

# %% [markdown]
# ## In three lines
#
# 1. The convergence theorem has a short proof, through the smallest singular value of the features; counted in powers its width is $n^3$ or $n^2$, out of reach in numbers, while a few parameters a sample are enough in our runs.
# 2. The scale of the logits chooses the phase: uniform attention and a fixed kernel in closed form for $s > \tfrac12$, random attention and a moving kernel at $s = \tfrac12$, saturation below.
# 3. LeCun is NTK with block learning rates, every ReLU neuron keeps its balance, and a kernel that sees the token mean alone can make wider worse.
#
# **References.** {cite:t}`wu2023encoder`, {cite:t}`nguyen2020pyramidal`, {cite:t}`jacot2018ntk`, {cite:t}`cho2009kernel`, {cite:t}`chizat2019lazy`, {cite:t}`lewkowycz2020large`,
# {cite:t}`sakai2025attention`, {cite:t}`du2018balanced`, {cite:t}`marcotte2025transformative`, {cite:t}`arda2026shallow`, {cite:t}`qin2025residual`, {cite:t}`minoza2026linearized`; `attnflow.cite("encoder")` prints them as BibTeX.

# %% tags=["hide-input"]
print(stamp.line(DEVICE))
print(f"{time.perf_counter() - began:.0f} seconds")
