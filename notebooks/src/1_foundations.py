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
# (chapter-foundations)=
# # Gradient flow, and what it keeps
#
# Two attention layers are trained on the same data. At the start they compute the *same function*: same outputs, same loss. Both reach
# the same answer. One of them needs six times as long. Nothing that the layers compute tells which; one number does that
# can be read off the weights, and that **training never changes**.

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
from attnflow import curves, runs, symbolic
from attnflow.foundations import (
    ROOM,
    balancing,
    breaking,
    cases,
    counting,
    figures,
    model,
    solvable,
    task,
    theory,
)

claim, seen = ROOM.claim, ROOM.verdicts(SEEDS, DEVICE)
began = time.perf_counter()

# %% tags=["hide-input"]
# | name: fig-one-starts
# | caption: >-
# |   Two starts that compute one function. The product $u = ab$ of a value factor $a$ and an output factor $b$ is what the
# |   layer has learned; it begins at 0.02 in all runs and ends at the target 1. Pale lines are runs of the attention layer, four
# |   seeds a colour, all four matrices trained; dashed is the closed form of this chapter. Blue has $a^2 - b^2 = 0$, green has
# |   $a^2 - b^2 = 2$, from the first step to the last.
# | alt: >-
# |   Learned product over time for two kinds of start. The green runs with imbalance two rise at once and pass one half near time
# |   0.3, the blue balanced runs wait and pass it near time 1.9; both follow their dashed closed forms.
balanced = solvable.solvable_run(SEEDS, DEVICE)
unbalanced = solvable.solvable_run.but(imbalance=2.0)(SEEDS, DEVICE)
figures.starts_figure(balanced, unbalanced)
plt.show()

# %% [markdown]
# {numref}`fig-one-starts` shows both, and dashed what pen and paper say before either is run. The number is a *conservation law* of gradient
# flow. This chapter finds such laws for an attention layer, proves them, counts that there are no others, measures how far real descent keeps
# them, breaks them one assumption at a time, and ends with the calculation behind the dashed lines.
#
# **You will learn** what gradient flow is and how closely descent follows it; why a symmetry of the loss that *scales*
# the weights leaves a quantity unchanged for the whole of training; how to prove, count and measure such laws; and what breaks them.
#
# **You need** matrix calculus, a first course on differential equations, and some PyTorch. The algebra is done by sympy, in cells of a few
# lines that you can change; what draws and prints is folded.
#
# **It takes** about 70 minutes to read once and about 120 more for the exercises ([how that is counted](../book/preface.md)), and one minute to run on two CPU cores. No GPU is needed.
#
# Every symbol is on the [notation page](../book/notation.md), and every number below was computed by this page. One figure moves: in
# {numref}`fig-one-plane` you choose the start of a run, and see what becomes of it.

# %% [markdown]
# ## A path in place of steps
#
# Train a network with weights $\theta$ on a loss $\mathcal L(\theta)$ by gradient descent with step $\eta$,
#
# $$\theta_{j+1} = \theta_j - \eta\,\nabla\mathcal L(\theta_j).$$ (eq-descent)
#
# As $\eta \to 0$ the steps become a path, the **gradient flow**
#
# $$\dot\theta(t) = -\nabla\mathcal L(\theta(t)), \qquad t = j\eta.$$ (eq-flow)
#
# In {eq}`eq-descent` the change of $\theta$ over the time $\eta$ of one step is $-\nabla\mathcal L$; in the limit it is a derivative. The
# smallest example is one weight with the loss $\frac12\theta^2$. Descent multiplies it by $1 - \eta$ at every step, the flow by $e^{-t}$ in the time $t$. At
# $t = 1$, after ten steps of $\eta = 0.1$, that is $0.9^{10} = 0.35$ and $e^{-1} = 0.37$.
#
# The flow is what theory can follow: it is a differential equation, the loss falls along it at the rate
# $\dot{\mathcal L} = \langle\nabla\mathcal L, \dot\theta\rangle = -\|\nabla\mathcal L\|^2$, and it has something that
# no single step of descent shows. It *keeps* things. Some functions of the weights have, after a million steps of
# learning, the value that they had at the start, whatever the data were. They decide how the layers share the work and
# how fast a network learns, and this book looks for them in every Transformer that it trains.

# %% [markdown]
# ## One attention layer, written out
#
# One attention layer with four trained matrices, on sequences of $L$ tokens, the rows of $X$:
#
# $$F = S\,X W_V W_O, \qquad S = \operatorname{softmax}\!\big(X W_Q W_K^\top X^\top/\sqrt k\big),$$ (eq-layer)
#
# softmax row by row. The targets $Y$ come from a second layer of the same shape with its own random weights, and the
# loss is half the squared residual $R = F - Y$, averaged over $n$ samples and their $L$ tokens,
# $\mathcal L = \frac{1}{2nL}\sum_i \|R_i\|^2$. Small sizes are enough, because the proofs of the laws do not depend on them; $L \ge 2$
# throughout, since with a single token softmax is 1 and $W_Q$, $W_K$ have no effect at all.

# %% tags=["hide-input"]
# | name: fig-one-layer
# | caption: >-
# |   The attention layer. The loss sees $W_Q$ and $W_K$ through one product only, and $W_V$ and $W_O$ through
# |   another: each pair keeps a balance.
# | alt: >-
# |   Diagram: tokens X feed the query, key and value weights; query and key meet in the softmax matrix S, value and
# |   output weights meet in the output F.
figures.layer_picture()
plt.show()

# %% [markdown]
# {numref}`fig-one-layer` shows who meets whom. A run of this book is never alone: the leading axis of every tensor is a *stack* of independent runs, one for each seed,
# each with its own data and its own initial weights. Data and weights come from random streams of their own names, so that
# a change of the one leaves the other as it was, bit for bit.

# %%
layer = model.Layer(d=4, k=3, o=2)
inputs = task.tokens(runs.streams(SEEDS, "data"), samples=8, length=4, d=layer.d)
targets = task.teacher(runs.streams(SEEDS, "teacher"), layer, inputs)
weights = model.init(runs.streams(SEEDS, "weights"), layer)
{name: tuple(value.shape) for name, value in weights.items()}

# %% [markdown]
# Before any library, the whole of it for one run: the layer, the loss, two hundred steps of descent {eq}`eq-descent`, and a look at
# $W_Q^\top W_Q - W_K^\top W_K$ before and after.


# %%
def attend(X, W_Q, W_K, W_V, W_O):
    Z = X @ W_Q @ W_K.T @ X.mT / W_Q.shape[1] ** 0.5
    return torch.softmax(Z, dim=-1) @ X @ W_V @ W_O


def balance(W_Q, W_K, *others):
    return W_Q.T @ W_Q - W_K.T @ W_K


start = [each[0].requires_grad_() for each in weights.values()]
theta, eta = start, 0.01
for _ in range(200):
    error = attend(inputs[0], *theta) - targets[0]
    loss = error.square().sum(dim=-1).mean() / 2
    slopes = torch.autograd.grad(loss, theta)
    theta = [w - eta * slope for w, slope in zip(theta, slopes, strict=True)]
    theta = [w.detach().requires_grad_() for w in theta]

# %% tags=["hide-input"]
with torch.no_grad():
    law = (balance(*theta) - balance(*start)).norm()
    term = (theta[0].T @ theta[0] - start[0].T @ start[0]).norm()
print("W_Q'W_Q moved by", claims.show(float(term)))
print("W_Q'W_Q - W_K'W_K moved by", claims.show(float(law)))
ends = dict(zip(weights, theta, strict=True))
field = model.field(inputs, targets, layer)
gap = checks.steps_apart(field, weights, ends, step=eta, steps=200)
print("difference to the library after 200 steps", claims.Below(1e-12).show([gap]))

# %% [markdown]
# The difference of the two products stays while the products themselves move: that is the law. The library does the same steps, for a stack of runs at
# once and with the gradient written by hand.

# %% [markdown]
# ## Symmetries that scale give laws
#
# A square matrix $\Gamma$ with a row for every weight **generates** the changes $\theta \mapsto e^{s\Gamma}\theta$. For two weights $\Gamma = \operatorname{diag}(1, -1)$ multiplies the first by $e^s$ and the second by
# $e^{-s}$, and $\theta^\top\Gamma\,\theta = \theta_1^2 - \theta_2^2$.
#
# :::{prf:theorem} Scaling symmetries give laws
# :label: thm-scaling
#
# Let $\Gamma$ be a symmetric matrix and let the loss be invariant under $\theta \mapsto e^{s\Gamma}\theta$ for all real $s$.
# Then $\theta^\top \Gamma\,\theta$ is constant along the gradient flow {eq}`eq-flow`.
# If the loss is invariant under a translation $\theta \mapsto \theta + s v$, then $v^\top\theta$ is constant, along the flow
# and along descent {eq}`eq-descent` with any step.
# :::
#
# :::{prf:proof}
# Differentiate $\mathcal L(e^{s\Gamma}\theta) = \mathcal L(\theta)$ at $s = 0$: $\langle\nabla\mathcal L(\theta), \Gamma\theta\rangle = 0$
# at every $\theta$. Along the flow, and because $\Gamma = \Gamma^\top$,
# $\frac{d}{dt}\theta^\top \Gamma\,\theta = 2\,\theta^\top \Gamma\,\dot\theta = -2\,\langle \Gamma\theta, \nabla\mathcal L(\theta)\rangle = 0$.
# For a translation $\langle v, \nabla\mathcal L\rangle = 0$ everywhere, so no step of descent ever moves $v^\top\theta$.
# :::
#
# In plain words: if stretching some weights and shrinking others does not change the loss, the flow cannot tell the two apart and keeps the books even.
# A number to try by hand: take $\mathcal L = \frac12(ab - 1)^2$ with $a = 2$, $b = 0$. Then $\dot a = -(ab-1)\,b = 0$ and $\dot b = -(ab-1)\,a = 2$, so
# $\frac{d}{dt}(a^2 - b^2) = 2a\dot a - 2b\dot b = 0$ at the first instant, and again at every later one. The scaling is $a \mapsto e^sa$, $b \mapsto e^{-s}b$.
#
# *Provenance: a known theorem {cite}`kunin2021neural,marcotte2023abide`, proved here.* Where was the symmetry of $\Gamma$ used?
# A **rotation** has an antisymmetric generator, $\Gamma^\top = -\Gamma$, and for those $\theta^\top \Gamma\,\theta$ is zero whatever $\theta$
# is: the theorem's quantity is empty. For two weights turned by $\Gamma = \begin{pmatrix}0 & -1\\ 1 & 0\end{pmatrix}$ it is $-\theta_1\theta_2 + \theta_2\theta_1$. A rotation
# constrains the velocity, $\langle \Gamma\theta, \dot\theta\rangle = 0$, but such a constraint need not give a law: a car cannot
# move sideways, and yet it can be parked everywhere. We shall see a kernel where that is all that is left.

# %% [markdown]
# ## The gradient, by the chain rule
#
# The one step of the chain rule that is not a product of matrices is softmax. For one row of logits, sympy finds the slope of each weight by
# each logit, $\partial S_j/\partial Z_l = S_j(\delta_{jl} - S_l)$ with $\delta_{jl} = 1$ where $j = l$ and 0 elsewhere; what is left over is

# %%
Z = sp.Matrix(sp.symbols("Z1:4"))
S = Z.applyfunc(sp.exp) / sum(Z.applyfunc(sp.exp))
left_over = S.jacobian(Z) - (sp.diag(*S) - S * S.T)
left_over.applyfunc(sp.simplify)

# %% [markdown]
# nothing. By hand, through the logarithm: $\log S_j = Z_j - \log\sum_me^{Z_m}$ has the slope $\delta_{jl} - S_l$ by $Z_l$, and the slope of $S_j$ is
# $S_j$ times that. A weight is raised at the expense of the others: at two equal logits, $S = (\frac12, \frac12)$, raising the first moves the
# weights at the rates $\frac14$ and $-\frac14$.
#
# So keep the attention matrix $S$ and the residual $R$ as symbols of their own. All else is products, for which one rule is enough: *if the loss has the slope* $G$ *by a
# product* $AB$, *it has the slope* $GB^\top$ *by* $A$ *and* $A^\top G$ *by* $B$, as $\langle G, dA\,B\rangle = \langle GB^\top, dA\rangle$ and $\langle G, A\,dB\rangle = \langle A^\top G, dB\rangle$.
# The loss of one sample, $\frac1{2L}\|F - Y\|^2$, has the slope $R/L$ by $F = S\cdot XW_VW_O$. So its slope by $S$ is
# $G_S = R\,W_O^\top (X W_V)^\top / L$, and softmax turns this into the slope by the logits $Z$,
#
# $$(G_Z)_{ij} = S_{ij}\Big((G_S)_{ij} - \sum_l S_{il}(G_S)_{il}\Big),$$ (eq-logit-slope)
#
# which is $S_{ij}$ times the distance of the slope by $S_{ij}$ from its mean in the row, weighed by the attention. The same rule gives the four gradients,
#
# $$\begin{aligned} G_{W_O} &= (SXW_V)^\top R/L, & G_{W_V} &= (SX)^\top R\,W_O^\top/L,\\ G_{W_Q} &= X^\top G_Z\,XW_K/\sqrt k, & G_{W_K} &= X^\top G_Z^\top XW_Q/\sqrt k. \end{aligned}$$ (eq-four-gradients)

# %% [markdown]
# sympy derives, torch trains. That both mean the same is checked, not hoped for: {eq}`eq-four-gradients`, as sympy has it, against torch's automatic
# differentiation of {eq}`eq-layer`, at random points.

# %%
small = model.Layer(d=2, k=2, o=1)
expressions, symbols = theory.layer_gradient(length=2, d=2, k=2, o=1)
point = theory.sample_point(small, length=2)
worst = symbolic.agree(expressions, symbols, **point)
print("largest relative difference to autograd", claims.Below(1e-10).show([worst]))

# %% [markdown]
# ### How closely descent follows the flow
#
# How far is descent from the flow at a fixed time? Its error is first order in the step. Averaging the slopes at both
# ends of a step, Heun's method, makes it second order {cite}`hairer1993solving`. The reference is an adaptive method of
# order 8 from scipy. Adam, run with the same steps, approaches another path altogether ({numref}`fig-one-orders`).

# %% tags=["hide-input"]
# | name: fig-one-orders
# | caption: >-
# |   Distance to the flow at one fixed time, relative, for steps that halve; one line a seed. Dashed: what first and
# |   second order predict, through the median at the largest step. Adam with the same steps approaches another path,
# |   so its distance stays.
# | alt: >-
# |   Log-log plot of the distance to the flow against the step: descent falls along the dashed line of order 1,
# |   Heun along that of order 2, Adam stays flat near 1.
descent = balancing.descent_order(SEEDS, DEVICE)
heun = balancing.descent_order.but(method=flow.Heun())(SEEDS, DEVICE)
adam = balancing.descent_order.but(method=balancing.ADAM)(SEEDS, DEVICE)
figures.order_figure(claim, descent, heun, adam)
plt.show()

# %% [markdown]
# This is a *claim*: a statement with a number that could contradict it, and a criterion that was fixed before this run. Its box, below, is the form of
# all claims of this book. Blue dots are the seeds, the shaded band is what the criterion accepts, a dashed line is what is predicted. Orange circles
# are the *control*, the same experiment with one assumption broken, which has to land outside; outside the band the line is logarithmic, so that
# near misses and gross ones both find a place. The name on the right leads to the claim's card in the [ledger](../book/ledger.md), where ten
# seeds or more are behind each dot row; all claims of the chapter are gathered in [a table below](sec-claims).

# %% tags=["remove-input"]
seen["descent-order"]

# %% [markdown]
# (sec-balancing)=
# ## Automatic balancing
#
# ### Two meanings of one word
#
# :::{prf:definition} Automatic balancing of layers
# :label: def-balancing-layers
#
# Two factors $A$, $B$ that the network uses only through the product $A B^\top$ keep their **balance**
# $D = A^\top A - B^\top B$ along the flow. From a small start $D$ is small for ever, while the factors grow: the layers end
# balanced {cite}`du2018balanced,arora2018optimization,kunin2021neural`.
# :::
#
# :::{prf:definition} Automatic balancing of gradients
# :label: def-balancing-gradients
#
# Along the flow of a classifier, the loss derivatives of the samples, summed over each class, approach fixed ratios, so
# that the classes which still have a share in the limit keep step with one another {cite}`yang2024cooccurrence`.
# :::
#
# The first is an exact law about *weights*, true at every time and for any loss. The second is a limit about *samples*, true
# late in training and for losses with a tail. This chapter is about the first; the next chapter is about the second. They share
# a name and little else, and this book never writes "balancing" without saying of what.
#
# ### Two factors that meet in a product
#
# The loss sees $A$ and $B$ only through $M = AB^\top$. Write $G = \partial\mathcal L/\partial M$ for a gradient about which
# *nothing* is assumed, not the loss, not the data, not the time. By the rule of the last section $\dot A = -GB$ and $\dot B = -G^\top A$:

# %%
A, B, G = (symbolic.matrix(name, 2, 2) for name in "ABG")
dA, dB = -G * B, -G.T * A  # the flow; G is any matrix at all
dAA = dA.T * A + A.T * dA  # how fast A'A moves
dBB = dB.T * B + B.T * dB
(dAA - dBB).expand()

# %% [markdown]
# Every entry of $\dot D$ cancels. Nothing of the kind protects the *sum*, whose derivative begins with

# %%
(dAA + dBB).expand()[0, 0]

# %% [markdown]
# Which symmetry is behind it? Begin with $k = 1$, where $A$ and $B$ are columns: $A \mapsto e^sA$, $B \mapsto e^{-s}B$ leaves $AB^\top$ as it is, and {prf:ref}`thm-scaling` keeps $\|A\|^2 - \|B\|^2$. With
# $k = 2$ one may stretch the first column of $A$ alone and shrink that of $B$, which keeps $D_{11}$, or do it with the second, $D_{22}$, or along a
# direction between both. With the matrices
#
# $$P = \begin{pmatrix}1 & 0\\ 0 & 0\end{pmatrix},\quad \begin{pmatrix}0 & 0\\ 0 & 1\end{pmatrix},\quad \begin{pmatrix}0 & 1\\ 1 & 0\end{pmatrix}$$
#
# for these three, $\operatorname{tr}(PD)$ is $D_{11}$, $D_{22}$ and $2D_{12}$.
#
# In general the symmetry is $A \mapsto A T$, $B \mapsto B\,T^{-\top}$ for any invertible $T$. Take $T = e^{sP}$ with a symmetric $k \times k$ matrix
# $P$: that is $e^{s\Gamma}$ with the symmetric generator $\Gamma$ that multiplies $A$ by $P$ and $B$ by $-P$ from the right. {prf:ref}`thm-scaling`
# then keeps $\operatorname{tr}(P(A^\top A - B^\top B))$, for every symmetric $P$: all of $D$. An antisymmetric $P$ turns both factors and adds nothing, since $\operatorname{tr}(PD) = 0$.

# %% [markdown]
# The attention layer {eq}`eq-layer` has two such pairs.
#
# :::{prf:theorem} Laws of an attention layer
# :label: thm-attention-laws
#
# Along the gradient flow of any loss of the layer {eq}`eq-layer`, on any data,
#
# $$D_{QK} = W_Q^\top W_Q - W_K^\top W_K \quad\text{and}\quad D_{VO} = W_V^\top W_V - W_O W_O^\top$$
#
# are constant. If the tokens have a common feature, $Xw = \mathbf 1$ for one vector $w$ and all samples, then $w^\top W_K$ is
# constant as well, along the flow and along descent with any step.
# :::
#
# :::{prf:proof}
# The layer sees $W_Q, W_K$ only through $W_Q W_K^\top$ and $W_V, W_O$ only through $W_V W_O$; take $A = W_Q$, $B = W_K$, then
# $A = W_V$, $B = W_O^\top$. For the last law, adding $w c^\top$ to $W_K$ adds to the logits of query $i$ the same number
# $x_i W_Q c/\sqrt k$ for every key, which softmax does not see; translations give linear laws by {prf:ref}`thm-scaling`.
# :::
#
# *Provenance: derived here from a known theorem; the two balances are the known laws of one head {cite}`marcotte2025transformative`.*
# The proof of the linear law rests on one line of {eq}`eq-logit-slope`: the rows of $G_Z$ sum to zero because those of $S$ sum
# to one. Without that the proof fails, and the claim's control says so:

# %% tags=["remove-input"]
seen["proof-shift"]

# %% [markdown]
# ### A ReLU between the factors
#
# Put an activation $\phi$ between value and output, $F = \phi(SXW_V)W_O$, and the product is gone. For one neuron with
# incoming weights $v$, outgoing weight $o$, input $z = v^\top x$ and $g = \partial\mathcal L/\partial F$, sympy finds for
# the time derivative of $\|v\|^2 - o^2$

# %%
z, o, g = sp.symbols("z o g")
phi = sp.Function("phi")(z)
v_dv = z * (-g * o * phi.diff(z))  # v . dv/dt, as dv/dt = -g o phi'(z) x
o_do = o * (-g * phi)
sp.factor(2 * v_dv - 2 * o_do)

# %% [markdown]
# which vanishes for all $g$ and all $o$ exactly where $z\,\phi'(z) = \phi(z)$: for activations that scale, $\phi(sz) = s\,\phi(z)$ for
# $s > 0$: the equation $z\,\phi'(z) = \phi(z)$ makes $\phi(z)/z$ constant on either side of zero. ReLU is such a function, tanh is not. Of the matrix law only the diagonal survives, one number
# $\delta_j = \|v_j\|^2 - \|o_j\|^2$ for each neuron {cite}`du2018balanced`: a factor that stretches one column passes through ReLU, while a $T$ that mixes columns does not.
#
# ### A law drifts at first order, anything else does not
#
# The flow keeps the balance exactly; descent must therefore let it drift by an amount that is proportional to its step.
# That is a sharp test: the drift at one time, against the step, on log-log axes, has slope 1 for a law, and slope 0 for
# anything else. {numref}`fig-one-drift` shows the laws on the left. On the right each curve breaks one assumption: $W_K$ is used a second time by a skip path; the kernel is
# Gaussian, $S_{ij} = e^{-|q_i - k_j|^2/2\sqrt k}$ with the rows $q_i$ of $XW_Q$ and $k_j$ of $XW_K$, which of the changes $W_Q \mapsto W_QT$, $W_K \mapsto W_KT^{-\top}$ only the rotations leave invariant; a ReLU
# stands between $W_V$ and $W_O$ while the whole matrix $D_{VO}$ is watched.

# %% tags=["hide-input"]
# | name: fig-one-drift
# | caption: >-
# |   How far balances drift in one fixed time, for steps that halve; one line a seed. Left, the laws: dashed is the
# |   predicted order 1. Right, each colour breaks one assumption, and the drift no longer depends on the step.
# | alt: >-
# |   Two log-log plots of the drift of balances against the step. Left: three laws fall along the dashed line of
# |   order 1. Right: with one assumption broken the drift does not depend on the step.
kept = balancing.law_drift(SEEDS, DEVICE)
relu = balancing.law_drift.but(activation="relu")(SEEDS, DEVICE)
skip = balancing.law_drift.but(skip=True)(SEEDS, DEVICE)
gaussian = balancing.law_drift.but(kernel="gaussian")(SEEDS, DEVICE)
figures.drift_figure(claim, kept, relu, skip, gaussian)
plt.show()

# %% tags=["remove-input"]
seen["law-query-key"]

# %% tags=["remove-input"]
seen["rotation"]

# %% [markdown]
# The linear law does not even drift: every step of descent keeps it, so only rounding remains.

# %% tags=["remove-input"]
seen["law-shift"]

# %% [markdown]
# ### One step of descent, exactly
#
# The drift itself can be written down. Insert $A - \eta G_A$ and $B - \eta G_B$ into the balance, with $G_A = GB$ and
# $G_B = G^\top A$; the terms of first order cancel, as they did for the flow, and
#
# $$\Delta(A^\top A - B^\top B) = \eta^2\,(G_A^\top G_A - G_B^\top G_B)$$ (eq-one-step)
#
# holds at *every* step size, to rounding. Summed over $t/\eta$ steps this is the drift of order $\eta$ that we measured. By hand, for $\frac12(ab - 1)^2$ at $a = 2$, $b = 0$, where the
# slopes are $0$ by $a$ and $-2$ by $b$: a step of $\eta = 0.1$ leaves $a$ at 2 and takes $b$ to 0.2, so $a^2 - b^2$ goes from 4 to 3.96, by $\eta^2(0 - 4) = -0.04$.

# %% tags=["remove-input"]
seen["one-step"]

# %% [markdown]
# ### Weight decay forgets
#
# Weight decay adds $-\lambda\theta$ to the flow. It acts on both factors alike, and the balance obeys an equation of its own, in
# which the loss does not appear. With the flow of before and one more term, $\dot D + 2\lambda D$ is

# %%
lam = sp.Symbol("lambda")
dA, dB = -G * B - lam * A, -G.T * A - lam * B
dD = dA.T * A + A.T * dA - dB.T * B - B.T * dB
(dD + 2 * lam * (A.T * A - B.T * B)).expand()

# %% [markdown]
# zero again, as decay alone multiplies every weight by $e^{-\lambda t}$, hence a square by $e^{-2\lambda t}$.
# So $D(t) = e^{-2\lambda t} D(0)$: with decay every balance goes to zero, from any start and at a rate that is known before
# training {cite}`kobayashi2024weight,marcotte2025transformative`. The rate is that of $D$ itself, not of $D$ relative to the factors. Where the data
# hold the factors up, the layers end balanced; where nothing holds them, $A^\top A$ and $B^\top B$ shrink at the same rate $2\lambda$ as $D$, and
# stay as unbalanced as they were. If only one of the two factors decays, nothing of the sort holds ({numref}`fig-one-decay`, right).

# %% tags=["hide-input"]
# | name: fig-one-decay
# | caption: >-
# |   Size of both balances under weight decay $\lambda = 0.3$, one line a seed; dashed is $e^{-2\lambda t}$. Left,
# |   all matrices decay. Right, one factor of each pair.
# | alt: >-
# |   Two plots of the size of the balances over time on a logarithmic axis. Left: with decay on all matrices both
# |   follow the dashed exponential. Right: with decay on one factor of each pair neither does.
lawful = breaking.decayed_balance(SEEDS, DEVICE)
broken = breaking.decayed_balance.but(only=("W_Q", "W_V"))(SEEDS, DEVICE)
figures.decay_figure(lawful, broken)
plt.show()

# %% tags=["remove-input"]
seen["decay"]

# %% [markdown]
# ### Are these all the laws?
#
# A law $C(\theta)$ that holds for every loss and every data set is constant along each field $\nabla_\theta f_x(\theta)$, where
# $f_x$ is one output of the network for one input $x$: with that sample alone the flow moves along this field. The law is then constant along their Lie brackets
# $[f, g] = \partial g\,f - \partial f\,g$ as well: go a little along $f$, along $g$, and back along both, and the bracket is where you have got to. Thus a car gets sideways into a gap.
# What no single move changes, the four together do not change either.
#
# The same holds for brackets of brackets. If all these vectors together span $r$ of the $P$
# directions at a generic point, at most $P - r$ independent laws exist {cite}`marcotte2023abide`. The product $ab$ has the one field $(b, a)$: $r = 1$ of $P = 2$, room for one law, and
# $a^2 - b^2$ is it. The sum $ax_1 + bx_2$ has the fields $(1, 0)$ and $(0, 1)$: $r = 2$, and nothing can be kept. The smallest example in which a bracket has something to say is one linear neuron
# $o\,(v_1x_1 + v_2x_2)$, with three weights and two fields, one for each input:

# %%
o, v_1, v_2 = sp.symbols("o v_1 v_2")
f, g = sp.Matrix([v_1, o, 0]), sp.Matrix([v_2, 0, o])  # of o v_1, of o v_2
weight = sp.Matrix([o, v_1, v_2])
bracket = g.jacobian(weight) * f - f.jacobian(weight) * g
span = sp.Matrix.hstack(f, g, bracket)
span

# %%
span.rank()

# %% [markdown]
# The last column, the bracket, turns $v$ and leaves $o$ alone, a direction that neither of the first two has. Yet the three together span $r = 2$ of the $P = 3$ directions: at most one
# law, and $|v|^2 - o^2$ is one.
#
# For larger models brackets are nested until three more
# batches of random ones add nothing to the rank. At random points that is a computation of a second, in float64 with the gap of
# the singular values to show that it is sharp.
# Points and brackets that were left out could only add directions. So it bounds $r$ from below and the laws from above: **where the bound meets the number of laws that we know, the list is complete**,
# at the size that was counted. Each row of the table is such a count at one size, with $L = 3$ tokens for attention. For one head without a
# common feature and for shallow linear and ReLU networks that nothing is missing is a theorem {cite}`marcotte2023abide,marcotte2025transformative`; for the rows
# with a common feature and for the Gaussian kernel we know no proof, and count.

# %% tags=["hide-input"]
counts = [(case, case.count()) for case in counting.listed()]
least = min(found["gap"] for _, found in counts)
ratio = claims.Below(1e-7).show([1 / least])
print("largest singular value beyond the cut over the least before it:", ratio)
Markdown(counting.table(counts))

# %% [markdown]
# The second row has more columns than rows, $k > N$ with $N$ the rows of $A$ and $B$ together; there the entries of $D$
# are no longer independent and only $Nk - N(N-1)/2$ of them count. In these counts softmax attention has the laws of its two products
# and no others, a common feature adds the $k$ entries of $w^\top W_K$, and the Gaussian kernel has none from $W_Q$ and $W_K$, except
# that with a common feature the $k$ entries of $w^\top(W_Q + W_K)$ are kept: moving all queries and keys together
# changes no distance. With $L = 1$ the bound is of no use: every entry of $W_Q$ and $W_K$ is then kept.
#
# How far can such a count be trusted? The authors of the method tried theirs on a suite of fifty random linear networks of two to four
# layers and fifty random ReLU networks, half of them with biases, all of whose laws are known; they report 34 and 113 minutes on 64 cores.
# Networks of the same kind, counted here:

# %% tags=["hide-input"]
began_suite = time.perf_counter()
suite = [(case, case.count(points=1)) for case in cases.suite()]
met = sum(found["laws"] == case.known for case, found in suite)
stopped = sum(found["closed"] for _, found in suite)
print(f"{met} of {len(suite)} counts as known, rank stopped in {stopped}")
print(f"one core, {time.perf_counter() - began_suite:.0f} seconds in all")

# %% [markdown]
# Two things make it work. With three factors or more the brackets of two gradients are not enough: the linear network with sizes
# 2-3-4-2 would show 18 laws where 16 are known, and brackets of three gradients settle it. And a ReLU network is read with the gates of its neurons as
# part of the input, as if every pattern of active neurons could be realised; at a random point of the plain network some
# neurons are silent for all inputs, and their weights are never seen.

# %% [markdown]
# ### Layers that start small end balanced
#
# {prf:ref}`def-balancing-layers` is now a corollary. From weights of size $\varepsilon$ the balance is of size $\varepsilon^2$
# for ever; learning makes the factors of size one; so the *relative* imbalance at the end is $O(\varepsilon^2)$: half the start, a quarter of the
# imbalance ({numref}`fig-one-small`).

# %% tags=["hide-input"]
# | name: fig-one-small
# | caption: >-
# |   Relative imbalance of value and output weights while the loss falls, from weights of size $\varepsilon = 0.025$
# |   and $0.05$; one line a seed. Dashed marks: where the larger start ends, divided by $(0.05/0.025)^2 = 4$.
# | alt: >-
# |   Relative imbalance of value and output weights over time on a logarithmic axis, for two initial sizes; both
# |   fall while the weights grow, the smaller start four times lower, as the dashed marks predict.
figures.small_start_figure(breaking.small_start(SEEDS, DEVICE))
plt.show()

# %% tags=["remove-input"]
seen["balanced-layers"]

# %% [markdown]
# ## A run that can be solved
#
# Let the tokens be such that their means $m_i$ over each sample are white, $\frac1n\sum_i m_i m_i^\top = I$, and let the label be
# linear in the mean, $y\,\beta^\top m_i$ with a unit vector $\beta$ and a number $y > 0$, and let the output be one number, $o = 1$. At $W_Q = W_K = 0$ attention is
# uniform and, since the gradients of $W_Q$ and $W_K$ contain each other as factors, it stays uniform for ever. Every row of $SX$ is then $m_i^\top$, the residual of sample $i$ is
# $m_i^\top(W_VW_O - y\beta)$ in every place. White means that $\frac1n\sum_i(m_i^\top v)^2 = \|v\|^2$ for every vector $v$, so the loss is
#
# $$\begin{aligned}\mathcal L &= \frac1{2n}\sum_i\big(m_i^\top(W_VW_O - y\beta)\big)^2\\ &= \frac12\|W_V W_O - y\beta\|^2.\end{aligned}$$
#
# Start with one aligned direction, $W_V = a\,\beta h^\top$ and $W_O = b\,h$ with a
# unit vector $h$. The slopes of the loss are $(ab - y)b\,\beta h^\top$ by $W_V$ and $(ab - y)a\,h$ by $W_O$, and the layer is two numbers for ever:
#
# $$\dot a = (y - ab)\,b, \qquad \dot b = (y - ab)\,a.$$ (eq-ab)
#
# The law is $c = a^2 - b^2$. The product $u = ab$ obeys $\dot u = (a^2+b^2)(y-u)$, and the law turns the first factor into
# a function of $u$, because $(a^2+b^2)^2 = (a^2-b^2)^2 + 4a^2b^2$:
#
# $$\dot u = \sqrt{c^2 + 4u^2}\;(y - u).$$ (eq-u)
#
# A conservation law has reduced a flow in the plane to one line. For a **balanced** start, $c = 0$, it is $\dot u = 2u(y-u)$. Put a guess into it and let sympy
# say what is wrong with the guess:

# %%
t, u, y, u_0 = sp.symbols("t u y u_0", positive=True)
guess = u_0 * y * sp.exp(2 * y * t) / (y - u_0 + u_0 * sp.exp(2 * y * t))
wrong = guess.diff(t) - 2 * guess * (y - guess)
sp.simplify(wrong), sp.simplify(guess.subs(t, 0))

# %% [markdown]
# Nothing is wrong and the start is right. It is a logistic curve, known from linear networks {cite}`saxe2014exact`. Three ways to one answer, at $t = 2.4$ and with attention
# exactly uniform: the closed form, an accurate solution of the flow of all four matrices, and descent with steps that shrink.

# %% tags=["hide-input"]
for name, method in (("descent", flow.Descent()), ("heun", flow.Heun())):
    record = solvable.solvable_order.but(method=method)(SEEDS, DEVICE)
    order = curves.order(record["steps"], record["error"]).median()
    error = claims.show(float(record["error"][-1].max()))
    print(
        f"{name:8} error {error} at the smallest step, observed order {order:.2f}"
    )
exact = float(theory.logistic([2.4], start=0.02, target=1.0)[0])
gap = abs(solvable.reference_product(SEEDS[:1], time=2.4) - exact)
print("scipy, all four matrices: error", claims.Below(1e-8).show([gap]))

# %% [markdown]
# Now let attention move. $W_Q$ and $W_K$ start at random values of size $0.05$ and train with the rest, so the prediction
# is no longer exact; it is a claim. The boundaries of the phases are times at which the *closed form* passes a tenth and nine
# tenths of $y$: the run **waits** while both factors are small, **learns**, and **settles** ({numref}`fig-one-logistic`).

# %% tags=["hide-input"]
# | name: fig-one-logistic
# | caption: >-
# |   Left, the learned product $u$; right, the loss. Pale: four seeds with all four matrices trained from a balanced
# |   start. Dashed: the closed form. Shaded: the phases *wait*, *learn* and *settle*, bounded by the times at which
# |   the closed form passes $y/10$ and $9y/10$.
# | alt: >-
# |   Left: the product u over time, measured runs on the dashed logistic curve, with three shaded phases wait,
# |   learn and settle. Right: the loss on a logarithmic axis with the dashed prediction, which the runs leave only
# |   when the loss is below one thousandth.
solved = solvable.solvable_run(SEEDS, DEVICE)
figures.logistic_figure(solved)
plt.show()

# %% [markdown]
# On the right of {numref}`fig-one-logistic` the runs leave the dashed line once the loss is small: what remains there is the noise that trained attention
# adds to the token means, which the reduction to two numbers leaves out.

# %% tags=["remove-input"]
seen["logistic"]

# %% [markdown]
# ### Imbalance is speed
#
# Back to {numref}`fig-one-starts`. What does an *unbalanced* start change? In {eq}`eq-u` a larger $|c|$ makes every $u$ move faster: **with the same
# product at the start, the balanced run is the slowest**, because $c^2 + 4u^2$ is smallest at $c = 0$. Integrating {eq}`eq-u`
# gives the time to reach any $u$ in closed form. In the variable $p = 1/(y - u)$ it is $dt = dp/\sqrt{q^2p^2 - 8yp + 4}$ with $q^2 = 4y^2 + c^2$: complete the square, and the integral is
#
# $$t(u) = \frac{1}{q}\,\operatorname{asinh}\!\Big(\frac{q^2/(y-u) - 4y}{2|c|}\Big) + \text{const},$$ (eq-arrival)
#
# which sympy confirms by differentiation: $(dt/du)^2$ times the squared speed has to be 1, and is

# %%
c = sp.Symbol("c", positive=True)
q = sp.sqrt(4 * y**2 + c**2)
clock = sp.asinh((q**2 / (y - u) - 4 * y) / (2 * c)) / q
sp.simplify(clock.diff(u) ** 2 * (c**2 + 4 * u**2) * (y - u) ** 2)

# %% [markdown]
# {numref}`fig-one-arrival` has five imbalances, all from the same product: at $c = 2$ the time is a sixth of that at $c = 0$.

# %% tags=["hide-input"]
# | name: fig-one-arrival
# | caption: >-
# |   Time to half the target against the imbalance at the start, all starts with the same product. Points: four
# |   seeds. Dashed: the closed form. Orange: the formula that forgets the imbalance.
# | alt: >-
# |   Time to reach half the target against the imbalance: the measured points lie on the dashed closed form, which
# |   falls from the balanced value at zero imbalance to a sixth of it at two.
arrivals = solvable.arrival_run(SEEDS, DEVICE)
figures.arrival_figure(arrivals)
plt.show()

# %% tags=["remove-input"]
seen["arrival"]

# %% [markdown]
# ### The whole plane
#
# The plane of $a$ and $b$ shows both minima, $ab = y$ in two branches, and the saddle between them at the origin. Each run
# slides along its own hyperbola $a^2 - b^2 = c$, and the line $a + b = 0$ is the **separatrix**: it is invariant, so no
# run crosses it, and the sign of $a + b$ at the start decides the branch at the end ({numref}`fig-one-portrait`).

# %% tags=["hide-input"]
# | name: fig-one-portrait
# | caption: >-
# |   The plane of both factors. Coloured: descent with small steps on the attention layer from random starts (dots), all four matrices
# |   trained, blue above the separatrix, green below. Dashed: their hyperbolas and the separatrix, as predicted.
# |   Thick: both branches of the minimum $ab = y$.
# | alt: >-
# |   Phase portrait in the plane of the value factor a and the output factor b: measured runs slide along dashed
# |   hyperbolas to the branch of ab = y on their own side of the dashed separatrix a + b = 0.
# | picture: phase_portrait
portrait = solvable.portrait_run(SEEDS, DEVICE)
figures.portrait_figure(portrait)
plt.show()

# %% tags=["remove-input"]
seen["separatrix"]

# %% [markdown]
# ### Drag the start
#
# In {numref}`fig-one-plane` the plane is yours. The run begins where the dot is, follows the flow, descent or Adam, and leaves a line beside
# its own hyperbola; next to it $u(t)$ and $c(t)$ run beside their closed forms, {eq}`eq-arrival` solved for $u$ and $c(0)\,e^{-2\lambda t}$. A ghost sets out from the
# line $a = b$. The last row but one of the table is {eq}`eq-one-step` for two numbers, beside what the next step does to $c$.
#
# ```{attnflow-explorable} foundations
# ---
# name: fig-one-plane
# alt: >-
#   Left, the plane of a and b: a run slides along its dashed hyperbola to the curve ab = y, a balanced one along the diagonal. Right,
#   the product over time: the unbalanced run rises at once, the balanced one waits.
# ---
# Two numbers that learn, $y = 1$. Drag the start, or reach it with Tab and move it with the arrow keys. Blue is the run, dashed what is
# predicted for the flow, orange the balanced ghost, red the minimum $ab = y$. The closed form of $u$ is that without weight decay.
# ```

# %% [markdown]
# (sec-claims)=
# ## All claims, with their controls
#
# Each row was evaluated on the seeds of this page; a seed is a fresh experiment with fresh data. The criteria were chosen on
# seeds 0 to 9, which are not used here. A control breaks one assumption of its claim and must fail.

# %% tags=["hide-input"]
table = list(seen.values())
Markdown(claims.table(table))

# %% tags=["hide-input"]
print(
    "every claim as stated, every control fails:",
    all(row.consistent for row in table),
)

# %% [markdown]
# ## Where the theory stops
#
# **Large steps.** The law belongs to the flow. With larger steps descent leaves it, first in proportion, then altogether: at
# the right end of {numref}`fig-one-breaking` the balance moves by a good part of what its own terms move.
#
# **Other optimisers.** Adam divides each entry of the gradient by a running estimate of its own size. That breaks the
# symmetry entry by entry, so there is no step small enough to restore the law. Momentum breaks the one-step identity and not the law: with its
# factor $\rho$ held fixed and $\eta \to 0$, it follows the gradient flow on the faster clock $t/(1-\rho)$, because its running sum of gradients is $1 + \rho + \rho^2 + \dots$ times one of them; the balance is kept along it.

# %% tags=["hide-input"]
# | name: fig-one-breaking
# | caption: >-
# |   Drift of the query-key balance over the change of $W_Q^\top W_Q$ itself, against the step; one line a seed.
# |   Descent rises along the dashed order 1 and leaves it at large steps; along Adam the balance moves as much as its
# |   own terms, at every step.
# | alt: >-
# |   Log-log plot of the drift of the query-key balance relative to the change of its first term, against steps
# |   from 0.005 to 0.64: descent rises along the dashed line of order 1 and beyond it, Adam stays near 1 at every
# |   step.
STEPS = (0.64, 0.32, 0.16, 0.08, 0.04, 0.02, 0.01, 0.005)
descent = balancing.law_drift.but(steps=STEPS)(SEEDS, DEVICE)
adam = balancing.law_drift.but(steps=STEPS, method=balancing.ADAM)(SEEDS, DEVICE)
figures.breaking_figure(claim, descent, adam)
plt.show()

# %% tags=["remove-input"]
seen["adam"]

# %% [markdown]
# **Factors that are used twice.** A skip path that feeds keys forward, tied embeddings, or a key matrix that two layers
# share: the pair no longer meets in one product only, and the law is gone at every step size, as the right of {numref}`fig-one-drift` shows.
#
# **At realistic size** the proof asks for two factors that meet in one product and nowhere else. Width, depth and the number of heads do not
# disturb that: each head of each layer keeps its own balances. Four usual parts of a language model do.
#
# * *Rotary positions* put a rotation between the factors: the logit of query $i$ and key $j$ is $x_i W_Q R_{i-j} W_K^\top x_j^\top$. The scalings that
#   leave it alone have generators that commute with every $R_{i-j}$. With distinct angles only one survives for each plane of two columns,
#   and what is kept of $D_{QK}$ is its trace over each plane.
# * *Query-key norm* divides each query and each key by its length. Then the logits do not feel the sizes of $W_Q$ and $W_K$: $\|W_Q\|^2$ and
#   $\|W_K\|^2$ are kept one by one, while $D_{QK}$ as a matrix is not.
# * *Grouped keys*, one $W_K$ for several $W_Q^h$: one balance a group, $\sum_h W_Q^{h\top} W_Q^h - W_K^\top W_K$, in place of one a head;
#   likewise for shared values.
# * *Biases* enter the balance: the bias of the queries counts as one more row of $W_Q$, that of the keys as one more row of $W_K$.
#
# Practice differs in one more way: it takes AdamW instead of descent, and steps at the edge of stability. A trained language model should not be expected to be
# balanced because of {prf:ref}`thm-attention-laws`. Where one is, we would look at weight decay first; we have not measured one.

# %% [markdown]
# ## Exercises
#
# Stars mark difficulty.
#
# :::{exercise}
# :label: ex-one-1
#
# (★) Show that $\operatorname{tr} D_{QK} = \|W_Q\|^2 - \|W_K\|^2$ is constant along the flow without using the rest of $D_{QK}$: which
# one-parameter symmetry do you need?
# :::
#
# :::{solution} ex-one-1
# :class: dropdown
#
# $W_Q \mapsto e^{s}W_Q$, $W_K \mapsto e^{-s}W_K$ leaves $W_Q W_K^\top$ alone. Its generator is diagonal with entries $+1$ on $W_Q$ and
# $-1$ on $W_K$, hence symmetric, and $\theta^\top \Gamma\theta = \|W_Q\|^2 - \|W_K\|^2$.
# :::
#
# :::{exercise}
# :label: ex-one-2
#
# (★) A layer with $H$ heads sums $S_h X W_V^h W_O^h$ over heads. How many independent laws of {prf:ref}`thm-attention-laws` does it have, for
# $k \le d$? Check your number for $H = 2$ with `laws.count`.
# :::
#
# :::{solution} ex-one-2
# :class: dropdown
#
# Each head has its own two products and so its own $k(k+1)/2 + k(k+1)/2 = k(k+1)$ laws: $H\,k(k+1)$ in all. For the check,
# write an output function that sums two heads of `cases.attention`, with the `shapes` of both.
# :::
#
# :::{exercise}
# :label: ex-one-3
#
# (★★) Repeat the count for ReLU neurons that have a bias, $o_j\,\phi(v_j^\top x + b_j)$. Guess first: which quantity does scaling keep?
# :::
#
# :::{solution} ex-one-3
# :class: dropdown
#
# The bias scales with $v_j$, so $\|v_j\|^2 + b_j^2 - o_j^2$ is kept, still one law a neuron. In code it is enough to append a
# constant 1 to $x$: `cases.neurons(d + 1, width)` with a sampler that sets the last entry to 1.
# :::
#
# :::{exercise}
# :label: ex-one-4
#
# (★★) Derive {eq}`eq-one-step` for descent with weight decay, $A \leftarrow A - \eta(G_A + \lambda A)$, and find the rate at which the balance
# shrinks per step.
# :::
#
# :::{solution} ex-one-4
# :class: dropdown
#
# $D_+ = (1-\eta\lambda)^2 D + \eta^2(G_A^\top G_A - G_B^\top G_B)$: the mixed terms carry the factor $-\eta(1-\eta\lambda)$ and cancel as
# before. Per step the balance shrinks by $(1-\eta\lambda)^2$, which is $e^{-2\lambda\eta}$ to first order.
# :::
#
# :::{exercise}
# :label: ex-one-5
#
# (★★) Two runs of {eq}`eq-ab` start with the same $a^2 + b^2$ instead of the same product. Which one is first at $u = y/2$?
# :::
#
# :::{solution} ex-one-5
# :class: dropdown
#
# The balanced run, if it starts below $y/2$. It starts ahead, since $ab \le (a^2+b^2)/2$ with equality at $a = b$. That alone is not enough, because at
# *equal* $u$ the unbalanced run is the faster one. But let $v = a^2+b^2$, so that $\dot u = v(y-u)$ and, by {eq}`eq-ab`, $\dot v = 4u(y-u)$. The function $u(y-u)$ increases up to $u = y/2$.
# So as long as the balanced run is ahead and below $y/2$, its $v$ grows faster, and from equal values it is the larger one. Were the two to meet at one $u$ below $y/2$,
# the balanced run would be the faster there, hence would have been behind just before: a contradiction. Same product: imbalance wins; same size: balance wins.
# :::
#
# :::{exercise}
# :label: ex-one-6
#
# (★★★) Momentum, $v \leftarrow \rho v + \nabla\mathcal L$, $\theta \leftarrow \theta - \eta v$, follows the second-order equation
# $m\ddot\theta + \dot\theta = -\nabla\mathcal L$ on the clock $t = j\eta/(1-\rho)$, with $m = \eta(1+\rho)/2(1-\rho)^2$, for small steps and $\rho$ so close to 1 that $m$ stays
# finite. (At fixed $\rho$ the mass $m$ goes to zero with $\eta$, and the flow is the gradient flow.) Show that for an antisymmetric generator $\Gamma$ the quantity
# $e^{t/m}\,\theta^\top \Gamma\,\dot\theta$ is constant along it: here a rotation *does* give a law.
# :::
#
# :::{solution} ex-one-6
# :class: dropdown
#
# $\frac{d}{dt}\theta^\top \Gamma\dot\theta = \dot\theta^\top \Gamma\dot\theta + \theta^\top \Gamma\ddot\theta$. The first term vanishes since $\Gamma$ is antisymmetric. In the
# second insert $m\ddot\theta = -\dot\theta - \nabla\mathcal L$; invariance gives $\theta^\top \Gamma\nabla\mathcal L = -\langle \Gamma\theta, \nabla\mathcal L\rangle = 0$.
# What is left is $\frac{d}{dt}\theta^\top \Gamma\dot\theta = -\frac1m\theta^\top \Gamma\dot\theta$. From rest the constant is zero, which is why
# descent never shows it.
# :::

# %% [markdown]
# ## In three lines
#
# 1. Factors that meet in a product keep $A^\top A - B^\top B$ along the flow of any loss; one head of softmax attention on two tokens or more has these laws and no others, up to a common feature.
# 2. Descent lets them drift at first order in its step, weight decay forgets them as $e^{-2\lambda t}$, Adam never knew them.
# 3. A law can solve a run: the balanced attention layer learns along a logistic curve, and imbalance at the start is speed.
#
# **References.** {cite:t}`arora2018optimization`, {cite:t}`du2018balanced`, {cite:t}`kunin2021neural`, {cite:t}`marcotte2023abide`,
# {cite:t}`marcotte2025transformative`, {cite:t}`kobayashi2024weight`, {cite:t}`saxe2014exact`, {cite:t}`hairer1993solving`; `attnflow.cite("foundations")` prints them as BibTeX.

# %% tags=["hide-input"]
print(stamp.line(DEVICE))
print(f"{time.perf_counter() - began:.0f} seconds")
