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
# (chapter-meanfield)=
# # The mean-field limit and weight decay
#
# Average many heads in every block and pile up many blocks, and a Transformer becomes a cloud of particles that flows. A theorem promises that with a *small* weight decay the flow ends near the best that any cloud can do.
# What does a larger decay do? We can say where a net of zeros becomes stable, to four digits. But when we turn the decay up and down again, **the net dies at one decay and comes back to life at another**: there is a band
# in which nothing and something are both at rest, and which one you get depends on where you start. One head alone predicts where the band ends.

# %% tags=["hide-input"]
try:
    import attnflow
except ImportError:
    raise SystemExit(
        "attnflow is missing: run `make book` in the repository"
    ) from None
import time

import matplotlib.pyplot as plt
import sympy as sp
import torch
from IPython.display import Markdown

from attnflow import checks, claims, flow, stamp, sweep

# %% tags=["hide-input"]
from attnflow.meanfield import (
    ROOM,
    decay,
    figures_balancing,
    figures_hysteresis,
    figures_limit,
    figures_risk,
    figures_transport,
    model,
    phases,
    setting,
)

# %% tags=["hide-input"]
SEEDS = range(100, 104)  # change this line to repeat the chapter on other seeds,
DEVICE = None  # and this one to choose "cpu" or "cuda"; None takes CUDA where it is
claim, seen = ROOM.claim, ROOM.verdicts(SEEDS, DEVICE)
show = claims.show
began = time.perf_counter()

# %% [markdown]
# FIRST-FIGURE
#
# **What this chapter is.** Gao, Cao, Li, He, Wang, Liu, Klusowski and Fan {cite}`gao2024meanfield` prove that gradient flow on a wide and deep Transformer with weight decay follows a limit that is a partial differential equation, and that it ends near the global minimum if the decay is small.
# We had their abstract and the head of their text, not its body: their theorems are *recalled*, with constants that we did not check. What we derive, we derive here; where it is known from elsewhere, we say whose it is.
#
# **You will learn** what the limit of a Transformer with infinitely many heads and blocks is, and how fast a finite one comes to it; why a balance that chapter 1 conserves decays at exactly twice the weight decay; how to solve the equation of the limit and to see its density flow; how the risk falls with the decay;
# when a net collapses, and why it does so in a jump.
#
# **You need** [chapter 1](1_foundations) and differential equations; the calculus of variations is explained where it is used.
#
# **It takes** about four hours with pencil and exercises, half of that without, and about a minute to run on two CPU cores. No GPU is needed.
#
# Every symbol is on the [notation page](../book/notation.md), and every number below was computed by this page or by a stored run that this page checks.

# %% [markdown]
# ## A Transformer that is an average
#
# The tokens of a sequence are the rows of X, L of them. Each of J blocks moves them by the *mean* of m heads, and then by the mean of m neurons with activation $\phi$:
#
# $$X \mathrel{+}= \frac1{Jm}\sum_{h=1}^m S_hXW_V^hW_O^h, \qquad x_i \mathrel{+}= \frac1{Jm}\sum_{a=1}^m\phi(\langle w_1^a, x_i\rangle + b^a)\,w_2^a,$$ (eq-five-block)
#
# where $S_h$ is softmax attention of the queries $XW_Q^h$ and the keys $XW_K^h$ of width k. A head, or a neuron, is a **particle** $\theta$: the numbers of its matrices. The paper writes $L$ for our J, $M$ for our m, and $R$ and $Q$ for the two quantities that we
# call **risk** and **objective**,
#
# $$\mathcal L = \frac1{2n}\sum_{i=1}^n(f_i - y_i)^2, \qquad \mathcal Q = \mathcal L + \frac\lambda2\,\frac1{Jm}\sum_\theta|\theta|^2 .$$ (eq-five-objective)
#
# The number $\lambda \ge 0$ is the **weight decay**, and f is one entry of the last token. One particle has a share of $1/(Jm)$ in the output, so its gradient is as small; to make it move at all, it is given the learning rate $Jm$:
#
# $$\dot\theta = -Jm\,\frac{\partial\mathcal Q}{\partial\theta} .$$ (eq-five-flow)
#
# **The task** is regression in context. A sequence has a slope w of its own, tokens $(x_i, wx_i, 0)$, and a last token $(x_L, 0, 1)$ that asks for $wx_L$. The answer is to appear where its 0 stands.
#
# Here is all of it for one run, and two hundred steps of descent.

# %%
net, inputs, targets, weights = setting.drawn(SEEDS, "cpu", depth=2, m=8)


def transformer(X, W_Q, W_K, W_V, W_O, w_1, b, w_2):
    for j in range(2):
        scores = (X @ W_Q[j][:, None]) @ (X @ W_K[j][:, None]).mT
        heads = scores.softmax(dim=-1) @ (X @ W_V[j][:, None]) @ W_O[j][:, None]
        X = X + heads.mean(dim=0) / 2
        X = X + torch.tanh(X @ w_1[j].T + b[j]) @ w_2[j] / (2 * 8)
    return X[:, -1, 1]


theta, eta, lam = [each[0].requires_grad_() for each in weights.values()], 0.1, 0.05
for _ in range(200):
    error = transformer(inputs[0], *theta) - targets[0]
    slopes = torch.autograd.grad(error.square().mean() / 2, theta)
    pairs = zip(theta, slopes, strict=True)
    theta = [w - eta * (2 * 8 * slope + lam * w) for w, slope in pairs]
    theta = [w.detach().requires_grad_() for w in theta]

# %% tags=["hide-input"]
ends = dict(zip(weights, theta, strict=True))
field = model.field(inputs, targets, net, lam)
gap = checks.steps_apart(field, weights, ends, step=eta, steps=200)
print("risk", show(float(error.square().mean() / 2)), "from", end=" ")
print(show(float(model.risk(weights, inputs, targets, net)[0])))
print("difference to the library after 200 steps:", claims.Below(1e-12).show([gap]))

# %% [markdown]
# The library does the same steps for a stack of seeds, with the gradient written by hand.
#
# ## The words that the theorem needs
#
# *Distribution of particles.* In the limit of many heads only their distribution counts. At the depth $\ell = j/J$ between 0 and 1 write $\rho(d\theta, \ell)$ for the share of particles near $\theta$; heads and neurons have one distribution each, and $\int\dots\rho(d\theta, \ell)$ below stands for the sum of both.
#
# *Depth equation.* With $g(X, \theta)$ for what one particle adds, many thin blocks are an ordinary differential equation in the depth, $dX/d\ell = \int g(X, \theta)\,\rho(d\theta, \ell)$, and a net of J blocks is its Euler method with a step $1/J$.
#
# *Adjoint.* $P(\ell)$ is the slope of $\frac12(f - y)^2$ of a sequence by its tokens at depth $\ell$. It is known at the end, $f - y$ in the entry of the answer, and comes back through the net.
#
# *First variation.* What a little mass at $\theta$ and $\ell$ adds to the objective,
#
# $$V(\theta, \ell) = \frac1n\sum_i\langle P_i(\ell), g(X_i(\ell), \theta)\rangle + \frac\lambda2|\theta|^2 .$$ (eq-five-variation)
#
# *Wasserstein gradient flow.* Every particle goes down V, $\dot\theta = -\nabla V$, and takes its mass with it, so the distribution obeys the continuity equation
#
# $$\partial_t\rho = \nabla_\theta\cdot(\rho\,\nabla_\theta V) .$$ (eq-five-pde)
#
# ## The theorem
#
# :::{prf:theorem} Mean-field limit and convergence, as we recall it
# :label: thm-five
#
# Let particles start independent, with a distribution of bounded support, and let the objective be $\mathcal Q$.
#
# (a) On a bounded time the finite net stays close to the flow {eq}`eq-five-pde`: with high probability the objectives differ by at most $C\,(J^{-1} + \sqrt{\log J/m})$.
#
# (b) If particles are homogeneous of degree one in a part of their entries, grow and vary only locally, and can approximate enough functions, then for large J and m the risk at late times is at most $C\lambda + \epsilon$.
# :::
#
# *Provenance.* *Recalled*: we have read the abstract and not the proof; constants grow with time. Earlier work has the same for residual nets without attention {cite}`lu2020meanfield,ding2022overparameterization`. Of later results, {cite:t}`chizat2025hidden` has the sharper error $J^{-1} + (Jm)^{-1/2}$ for residual nets, {cite:t}`huan2026meanfield` treat one layer
# with cross-entropy, and {cite:t}`barboni2026training` prove convergence from a small initial risk if a kernel is injective: other assumptions, other statements.
#
# In plain words: wide and deep nets of this kind all do the same, and with little decay they fit. A number to try by hand: $J = m = 1$, one token, no neurons, $x = y = 1$ and the head a product $W_VW_O = u$ that is added to an answer of 0. The objective $\frac12(u - 1)^2 + \lambda|u|$, with balanced factors, is least at $u = 1 - \lambda$: the risk is
# $\lambda^2/2$, and much less than $C\lambda$.

# %% [markdown]
# ## A block is a step
#
# Every statement of the last section but the theorem can be checked to rounding in a finite net. First the depth equation: a net of J blocks whose particles vary smoothly with the depth is Euler's method, of order one.

# %% tags=["remove-input"]
seen["depth-order"]

# %% [markdown]
# How does the loss of one sequence feel a token in the middle of the net? Make the depth equation a constraint, with $P$ as its multiplier. The action $\int\langle P, \int g\,d\rho - X'\rangle\,d\ell$ is stationary in P where X obeys the depth equation, and stationary in X where P obeys the adjoint one. For one number X:

# %%
ell = sp.Symbol("ell")
X, P = sp.Function("X")(ell), sp.Function("P")(ell)
g = sp.Function("g")
action = P * (g(X) - X.diff(ell))
backward = action.diff(X) - action.diff(X.diff(ell)).diff(ell)
sp.Eq(P.diff(ell), sp.solve(backward.doit(), P.diff(ell))[0])

# %% [markdown]
# In many dimensions it is $P' = -\int\nabla_Xg^\top P\,d\rho$, with $P(1) = f - y$ in the entry of the answer, for each sequence and without a factor $1/n$: that one stands in V.

# %% tags=["remove-input"]
seen["proof-adjoint"]

# %% [markdown]
# The first variation {eq}`eq-five-variation` is what a grain of mass costs, also where no particle is, and its slope is what a particle feels: $Jm\,\partial\mathcal Q/\partial\theta = \nabla_\theta V$. In a net of finite depth both are exact, if P is taken where a branch ends and X where it begins.

# %% tags=["remove-input"]
seen["variation-symbols"]

# %% tags=["remove-input"]
seen["variation-mass"]

# %% tags=["remove-input"]
seen["variation-particle"]

# %% [markdown]
# :::{prf:theorem} Flow of the distribution, and what it takes
# :label: thm-five-flow
#
# Particles with $\dot\theta = -\nabla V$ carry their mass along $\partial_t\rho = \nabla\cdot(\rho\nabla V)$: for every smooth function u of a particle, $\frac{d}{dt}\int u\,d\rho = -\int\langle\nabla u, \nabla V\rangle\,d\rho$. The objective falls by
#
# $$\dot{\mathcal Q} = -\frac1{Jm}\sum_\theta|\nabla V|^2 .$$ (eq-five-dissipation)
# :::
#
# :::{prf:proof}
# The first line is the chain rule for every particle, and the continuity equation is this line for all u. For the second, $\dot{\mathcal Q} = \sum_\theta\langle\partial\mathcal Q/\partial\theta, \dot\theta\rangle$ with $\partial\mathcal Q/\partial\theta = \nabla V/(Jm)$.
# :::

# %% tags=["remove-input"]
seen["proof-transport"]

# %% tags=["remove-input"]
seen["weak-form"]

# %% tags=["remove-input"]
seen["dissipation"]

# %% tags=["remove-input"]
seen["dissipation-order"]

# %% [markdown]
# Forget the factor $Jm$ of the learning rate and the flow is slower, without decay by just this factor. With decay no single number says it, since the pull $\lambda\theta$ is not divided.

# %% tags=["remove-input"]
seen["dissipation-plain"]

# %% [markdown]
# ## What weight decay forgets
#
# Chapter 1 has balances that the flow keeps. Weight decay makes the flow forget them, all at one rate.
#
# :::{prf:theorem} Balances under weight decay
# :label: thm-five-balance
#
# For every head, whatever the loss and the other particles, $D = W_Q^\top W_Q - W_K^\top W_K$ and $D = W_V^\top W_V - W_OW_O^\top$ obey $\dot D = -2\lambda D$. For a neuron, $\delta = |w_1|^2 + b^2 - |w_2|^2$ obeys
#
# $$\dot\delta = -2\lambda\,\delta - \frac2n\sum\langle P, w_2\rangle\,(z\phi'(z) - \phi(z)),$$ (eq-five-neuron)
#
# summed over samples and tokens, where z is the input of the neuron and P the row of the adjoint at that token. The second term is absent for all data exactly where $\phi(z) = c_\pm z$ on the two sides of zero. A step of descent makes
#
# $$D_+ = (1 - \eta\lambda)^2D + \eta^2\,(g_A^\top g_A - g_B^\top g_B),$$ (eq-five-step)
#
# with the factors A and B that meet in a product $AB^\top$ and their slopes $g = Jm\,\partial\mathcal L$.
# :::
#
# :::{prf:proof}
# Without decay $D$ does not move, since the slopes by $W_Q$ and $W_K$ meet in one matrix (chapter 1); decay multiplies a quadratic form by $e^{-2\lambda t}$, and rates add. In a step of descent $A_+ = (1 - \eta\lambda)A - \eta g_A$: the squares give {eq}`eq-five-step`, and the mixed terms are $-\eta(1 - \eta\lambda)$ times the
# rate of $D$ without decay, which is zero. For a neuron the same sum over its entries leaves $\langle P, w_2\rangle(z\phi' - \phi)$ at each token.
# :::
#
# *Provenance.* That $A^\top A - B^\top B$ decays exponentially under weight decay is due to {cite:t}`kobayashi2024weight`, and that conservation laws decay in this way in general to {cite:t}`marcotte2025transformative`; we know both from *secondary* sources. The term of other activations, the recursion and all numbers are derived here.
#
# The core of it, for one head of one number each and any loss of their product:

# %%
a, b, lam, eta = sp.symbols("a b lambda eta")
loss = sp.Function("L")(a * b)
rate_a, rate_b = (-loss.diff(x) - lam * x for x in (a, b))
balance_rate = (2 * a * rate_a - 2 * b * rate_b).doit()
sp.factor(sp.simplify(balance_rate))

# %% [markdown]
# A number to try by hand: with $\lambda = 0.2$ at time 3, $e^{-1.2} = 0.30$ of every balance is left. {numref}`fig-five-decay` shows it, and how far neurons with another activation go.

# %% tags=["remove-input"]
seen["proof-decay"]

# %% tags=["remove-input"]
seen["proof-neuron"]

# %% tags=["remove-input"]
seen["proof-homogeneous"]

# %% tags=["remove-input"]
seen["proof-step"]

# %% tags=["hide-input"]
# | name: fig-five-decay
# | caption: >-
# |   Left: the size of the query-key balance of all heads over that at the start, pale, under $e^{-2\lambda t}$, dashed. Right: the balance of eight single neurons, multiplied by $e^{2\lambda t}$ and less its start: ReLU (blue) stays at zero, tanh (orange) departs, and the dashed integral of
# |   {eq}`eq-five-neuron` says how far.
# | alt: >-
# |   Left: three straight lines on a logarithmic axis, each under its dashed line. Right: flat blue lines at zero and orange curves that fan out, each under a dashed curve.
figures_balancing.decay_figure(
    {lam: decay.path_run.but(decay=lam)(SEEDS) for lam in (0.05, 0.2, 0.8)},
    decay.carried_run(SEEDS),
    decay.carried_run.but(activation="relu")(SEEDS),
)
plt.show()

# %% tags=["remove-input"]
seen["decay"]

# %% tags=["remove-input"]
seen["decay-neuron"]

# %% tags=["remove-input"]
seen["imbalance"]

# %% [markdown]
# In steps of descent the law is {eq}`eq-five-step`, to rounding, and the rate is that of the flow up to a first order of the step. Without decay all balances are kept; and there are no others, but for entries that no output sees.

# %% tags=["remove-input"]
seen["one-step"]

# %% tags=["remove-input"]
seen["decay-step"]

# %% tags=["remove-input"]
seen["law"]

# %% tags=["remove-input"]
seen["count"]

# %% [markdown]
# `attnflow.meanfield.balance_decay(lam)` measures the rate for a decay of your own.
