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
from attnflow.meanfield import (
    ROOM,
    decay,
    figures_balancing,
    figures_band,
    figures_limit,
    figures_risk,
    figures_transport,
    model,
    phases,
    scatter,
    setting,
    transport,
)

claim, seen = ROOM.claim, ROOM.verdicts(SEEDS, DEVICE)
show = claims.show
began = time.perf_counter()

# %% tags=["hide-input"]
# | name: fig-five-band
# | caption: >-
# |   Output at rest over the decay, in units of $\lambda_c$, attention alone, one data set, 1, 4 and 16 heads. Blue: the decay goes up from weak; sky: it comes down from strong. Orange: queries and keys held at zero, where nothing jumps. Dashed: the branches of one head; dotted: $\lambda_c$, the end that it
# |   predicts and the ceiling $\lambda_\infty$; shaded the band between.
# | alt: >-
# |   Three panels. The blue curve falls and drops to zero at the end of a shaded band that is wider with more heads; the sky curve stays at zero down to the left end of the band and then jumps up; a dashed loop runs along both. The orange line comes down to zero continuously.
figures_band.branches(seed=SEEDS[0])
plt.show()

# %% [markdown]
# **What this chapter is.** Gao, Cao, Li, He, Wang, Liu, Klusowski and Fan {cite}`gao2024meanfield` prove that gradient flow on a wide and deep Transformer with weight decay follows a limit that is a partial differential equation, and that it ends near the global minimum if the decay is small.
# We had their abstract and the head of their text, not its body: their theorems are *recalled*, with constants that we did not check. What we derive, we derive here; where it is known from elsewhere, we say whose it is.
#
# **You will learn** what the limit of a Transformer with infinitely many heads and blocks is, and how fast a finite one comes to it; why a balance that chapter 1 conserves decays at exactly twice the weight decay; how to solve the equation of the limit and to see its density flow; how the risk falls with the decay;
# when a net collapses, and why it does so in a jump.
#
# **You need** [chapter 1](1_foundations) and differential equations; the calculus of variations is explained where it is used.
#
# **It takes** about 110 minutes to read once and about 150 more for the exercises ([how that is counted](../book/preface.md)), and about a minute to run on two CPU cores. No GPU is needed.
#
# Every symbol is on the [notation page](../book/notation.md), and every number below was computed by this page or by a stored run that this page checks.

# %% [markdown]
# ## A Transformer that is an average
#
# The tokens of a sequence are the rows of $X$, $L$ of them. Each of $J$ blocks moves them by the *mean* of $m$ heads, and then by the mean of $m$ neurons with activation $\phi$:
#
# $$X \mathrel{+}= \frac1{Jm}\sum_{h=1}^m S_hXW_V^hW_O^h, \qquad x_i \mathrel{+}= \frac1{Jm}\sum_{a=1}^m\phi(\langle w_1^a, x_i\rangle + b^a)\,w_2^a,$$ (eq-five-block)
#
# where $S_h$ is softmax attention of the queries $XW_Q^h$ and the keys $XW_K^h$ of width $k$. A head, or a neuron, is a **particle** $\theta$: the numbers of its matrices. The paper writes $L$ for our $J$, $M$ for our $m$, and $R$ and $Q$ for the two quantities that we
# call **risk** and **objective**,
#
# $$\mathcal L = \frac1{2n}\sum_{i=1}^n(f_i - y_i)^2, \qquad \mathcal Q = \mathcal L + \frac\lambda2\,\frac1{Jm}\sum_\theta|\theta|^2 .$$ (eq-five-objective)
#
# The number $\lambda \ge 0$ is the **weight decay**, and $f$ is one entry of the last token. One particle has a share of $1/(Jm)$ in the output, so its gradient is as small; to make it move at all, it is given the learning rate $Jm$:
#
# $$\dot\theta = -Jm\,\frac{\partial\mathcal Q}{\partial\theta} .$$ (eq-five-flow)
#
# In the decay the factor $Jm$ cancels against the mean: the flow is $\dot\theta = -Jm\,\partial\mathcal L/\partial\theta - \lambda\theta$, whatever the size of the net.
#
# **The task** is regression in context. A sequence has a slope $w$ of its own, tokens $(x_i, wx_i, 0)$, and a last token $(x_L, 0, 1)$ that asks for $wx_L$. The answer is to appear where its 0 stands.
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
print("risk", show(float(error.detach().square().mean() / 2)), end=" from ")
print(show(float(model.risk(weights, inputs, targets, net)[0])))
print("difference to the library after 200 steps:", claims.Below(1e-12).show([gap]))

# %% [markdown]
# The library does the same steps for a stack of seeds, with the gradient written by hand.
#
# ## The words that the theorem needs
#
# *Distribution of particles.* In the limit of many heads only their distribution counts. At the depth $\ell = j/J$ between 0 and 1 write $\rho(d\theta, \ell)$ for the share of particles near $\theta$; heads and neurons have one distribution each, and $\int\dots\rho(d\theta, \ell)$ below stands for the sum of both. An integral over $\rho$ is a mean over particles: for two of them, at 0 and at 1, $\int u(\theta)\,\rho(d\theta) = \frac12u(0) + \frac12u(1)$.
#
# *Depth equation.* With $g(X, \theta)$ for what one particle adds, many thin blocks are an ordinary differential equation in the depth, $dX/d\ell = \int g(X, \theta)\,\rho(d\theta, \ell)$, and a net of $J$ blocks is its Euler method with a step $1/J$.
#
# *Adjoint.* $P(\ell)$ is the slope of $\frac12(f - y)^2$ of a sequence by its tokens at depth $\ell$. It is known at the end, $f - y$ in the entry of the answer, and comes back through the net: it is what backpropagation hands from block to block.
#
# *First variation.* The smallest net of this kind puts out the mean $f = \int u\,d\rho$ of one function of a particle. A little mass $\varepsilon$ more at $\theta$ adds $\varepsilon\,u(\theta)$ to the output, hence $\varepsilon\,(f - y)\,u(\theta)$ to the risk:
# residual times what the particle says. In the deep net $P$ takes the part of the residual and $g$ that of $u$. What a little mass at $\theta$ and $\ell$ adds to the objective, over the mass, is
#
# $$V(\theta, \ell) = \frac1n\sum_i\langle P_i(\ell), g(X_i(\ell), \theta)\rangle + \frac\lambda2|\theta|^2 .$$ (eq-five-variation)
#
# *Wasserstein gradient flow.* Every particle goes down $V$, $\dot\theta = -\nabla V$, and takes its mass with it. On a line, the mass between two places changes by what comes in at the left one less what goes out at the right one, density times velocity $-\rho V'$ at each. In the limit of
# a short interval, and in any dimension, this is the continuity equation
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
# (b) If particles are homogeneous of degree one in a part of their entries, grow and vary only locally, and can approximate enough functions, then for large $J$ and $m$ the risk at late times is at most $C\lambda + \epsilon$.
# :::
#
# *Provenance.* *Recalled*: we have read the abstract and not the proof; constants grow with time. Earlier work has the same for residual nets without attention {cite}`lu2020meanfield,ding2022overparameterization`. Of later results, {cite:t}`chizat2025hidden` has the sharper error $J^{-1} + (Jm)^{-1/2}$ for residual nets, {cite:t}`huan2026meanfield` treat one layer
# with cross-entropy, and {cite:t}`barboni2026training` prove convergence from a small initial risk if a kernel is injective: other assumptions, other statements.
#
# In plain words: wide and deep nets of this kind all do the same, and with little decay they fit. A number to try by hand: $J = m = 1$, one token, no neurons, $x = y = 1$ and the head a product $W_VW_O = u$ that is added to an answer of 0. Since $\frac12(W_V^2 + W_O^2) \ge |W_VW_O|$ with equality for factors of equal size, the objective is $\frac12(u - 1)^2 + \lambda|u|$. It is least at $u = 1 - \lambda$: the risk is
# $\lambda^2/2$, and much less than $C\lambda$.

# %% [markdown]
# ## A block is a step
#
# Every statement of the last section but the theorem can be checked to rounding in a finite net. First the depth equation: a net of $J$ blocks whose particles vary smoothly with the depth is Euler's method, of order one.

# %% tags=["remove-input"]
seen["depth-order"]

# %% [markdown]
# How does the loss of one sequence feel a token in the middle of the net? Make the depth equation a constraint, with $P$ as its multiplier. The action $\int\langle P, \int g\,d\rho - X'\rangle\,d\ell$ is stationary in $P$ where $X$ obeys the depth equation, and stationary in $X$ where $P$ obeys the adjoint one. For one number $X$:

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
# The first variation {eq}`eq-five-variation` is what a grain of mass costs, also where no particle is, and its slope is what a particle feels: $Jm\,\partial\mathcal Q/\partial\theta = \nabla_\theta V$. In a net of finite depth both are exact, if $P$ is taken where a branch ends and $X$ where it begins.

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
# Particles with $\dot\theta = -\nabla V$ carry their mass along $\partial_t\rho = \nabla\cdot(\rho\nabla V)$: for every smooth function $u$ of a particle, $\frac{d}{dt}\int u\,d\rho = -\int\langle\nabla u, \nabla V\rangle\,d\rho$. The objective falls by
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
# summed over samples and tokens, where $z$ is the input of the neuron and $P$ the row of the adjoint at that token. The second term is absent for all data exactly where $\phi(z) = c_\pm z$ on the two sides of zero. A step of descent makes
#
# $$D_+ = (1 - \eta\lambda)^2D + \eta^2\,(g_A^\top g_A - g_B^\top g_B),$$ (eq-five-step)
#
# with the factors $A$ and $B$ that meet in a product $AB^\top$ and their slopes $g = Jm\,\partial\mathcal L$.
# :::
#
# :::{prf:proof}
# Without decay $D$ does not move, since the slopes by $W_Q$ and $W_K$ meet in one matrix (chapter 1); decay multiplies a quadratic form by $e^{-2\lambda t}$, and rates add. In a step of descent $A_+ = (1 - \eta\lambda)A - \eta g_A$: the squares give {eq}`eq-five-step`, and the mixed terms are $-\eta(1 - \eta\lambda)$ times the
# rate of $D$ without decay, which is zero. For a neuron the slope of $V$, without the decay, by $(w_1, b)$, times $(w_1, b)$ itself, is $\langle P, w_2\rangle\,z\phi'(z)$ at each token, and that by $w_2$, times $w_2$, is $\langle P, w_2\rangle\,\phi(z)$; their difference is left, as in chapter 1.
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

# %% [markdown]
# ## How far is a finite net from its limit?
#
# Draw the particles twice and train twice: the outputs differ. How fast does this *spread*, the standard deviation over draws on the same data, fall as nets grow? One might expect $m^{-1/2}$, an average over the heads of a block. It is better than that.
#
# :::{prf:theorem} Spread at the start
# :label: thm-five-spread
#
# Let heads have width $k = 1$ and all weights be independent $N(0, \sigma^2)$. Then $\mathbb Ef = 0$ at every $J$ and $m$, and as $Jm \to \infty$
#
# $$\begin{aligned}
# Jm\,\operatorname{Var}f \to C ={} & \sigma^4\,\mathbb E\Big|\sum_j\operatorname{softmax}_j(\sigma^2|x_L|\,\xi\,\langle\zeta, x_j\rangle)\,x_j\Big|^2\\
# & + \sigma^2\,\mathbb E\,\phi\big(\sigma\sqrt{|x_L|^2 + 1}\;\xi\big)^2,
# \end{aligned}$$ (eq-five-spread)
#
# with standard normal $\xi$, a number, and $\zeta$, a vector: the query of the last token is $\sigma|x_L|\,\xi$, the key of token $j$ is $\sigma\langle\zeta, x_j\rangle$, and the input of a neuron is $\sigma\sqrt{|x_L|^2 + 1}\;\xi$.
# :::
#
# :::{prf:proof}
# Given the tokens before it, the increment of a sublayer has mean zero, since $W_O$, or $w_2$, has mean zero and is independent of all else in it. So $\mathbb Ef = 0$, increments of different sublayers are uncorrelated, and their variances add up. Each of the $J$ blocks contributes $(Jm)^{-2}m$ times the variance of one head and of one
# neuron at the tokens where it stands; these have moved by $O((Jm)^{-1/2})$. Keep the leading term. With one block of one kind nothing is left out, and the law is exact for every m.
# :::

# %% tags=["remove-input"]
seen["start-constant"]

# %% tags=["remove-input"]
seen["start-exponent"]

# %% [markdown]
# *Depth averages as width does.* Layers with draws of their own make $Jm$ independent terms, so nets of very different shape and equal $Jm$ spread alike, after training too ({numref}`fig-five-spreads`): $(Jm)^{-1/2}$ is sharper than $m^{-1/2}$, as {cite:t}`chizat2025hidden` has it for residual nets. Layers that start with the *same* draws
# repeat one error $J$ times; depth gains nothing, and $m^{-1/2}$ is the truth. By hand, for $J = 2$ and $m = 1$: two independent numbers of variance 1 have a mean of variance $\frac12$, one number taken twice has a mean of variance 1.

# %% tags=["hide-input"]
# | name: fig-five-spreads
# | caption: >-
# |   Spread of trained outputs over draws of the particles, 128 replicas behind each point, nets of several depths. With independent layers (left) all lie on one line over $Jm$, with layers that share their draws (right) over m. Dashed: the power $-\frac12$.
# | alt: >-
# |   Two panels with points on falling lines on logarithmic axes; the curves of different depths lie on each other.
figures_limit.spreads(tuple(SEEDS[:1]))
plt.show()

# %% tags=["remove-input"]
seen["spread-shape"]

# %% tags=["remove-input"]
seen["spread-tied"]

# %% tags=["remove-input"]
seen["spread-width"]

# %% tags=["remove-input"]
seen["spread-objective"]

# %% [markdown]
# In exchange, layers that share their draws show the other error cleanly: depth is a step size, and doubling $J$ changes the outputs by $O(1/J)$. With independent layers noise covers it.

# %% tags=["remove-input"]
seen["depth-error"]

# %% [markdown]
# *Chaos.* A particle notices the size of its net only through such means. Cut a wide net of $m'$ heads a block into narrow ones of $m$ that keep their initial values: the distance of a particle from its twin falls as $(\frac1{Jm} - \frac1{Jm'})^{1/2}$, the error of a part of a sample about the whole: none at $m = m'$, where the part is the whole, and $(Jm)^{-1/2}$ where the whole is infinite. In the limit particles are independent, which is
# called *propagation of chaos*.

# %% tags=["remove-input"]
seen["chaos"]

# %% [markdown]
# ### Sidebar: a test that fails the truth
#
# The logarithm of a spread over $R$ normal draws has a standard deviation of about $(2(R - 1))^{-1/2}$: 21 % for twelve draws. "Six nets, twelve replicas, all within 20 % of their mean" sounds fair, and fails a law that is exactly true six times in seven. {numref}`fig-five-tests` is a simulation; the design of this chapter fails the truth about
# once in a thousand.

# %% tags=["hide-input"]
# | name: fig-five-tests
# | caption: >-
# |   How often a law that is true passes two tests on six spreads, over the number of replicas behind each: an exponent within 0.08 (blue) and all six within 20 % of their mean (orange), simulated. Dashed: the normal approximation, with the standard error of the exponent.
# | alt: >-
# |   Two curves that rise to one: the orange one from nearly zero at 6 replicas, the blue one, under its dashed line, from two fifths.
figures_limit.tests(tuple(SEEDS))
plt.show()

# %% tags=["remove-input"]
seen["power-error"]

# %% tags=["remove-input"]
seen["power-band"]

# %% tags=["remove-input"]
seen["power-slope"]

# %% tags=["remove-input"]
seen["power-design"]

# %% [markdown]
# ## A law on a line, and where it flows
#
# The limit speaks of a density. To see one, make a head a single number: tokens are numbers $x_i$, a head $\theta$ moves them by $g_i(\theta, x) = \theta\sum_l\operatorname{softmax}_l(\theta x_ix_l)\,x_l$, and block $j$ of $J = 3$ by $x_i \mathrel{+}= \frac1J\int g_i\,\rho_j(d\theta)$. The answers come from
# the same net with half of its heads at $-1.15$ and half at $1.15$. We start with one hump, which has to tear in two ({numref}`fig-five-flow`).
#
# A little more mass at $\theta$ in block $j$ costs $V_j(\theta)/J$, heads move down $V_j$, and {eq}`eq-five-pde` is $\partial_t\rho_j = \partial_\theta(\rho_j\,\partial_\theta V_j)$. We solve it twice. *Particles* follow their own velocity and carry mass. *Finite volumes* stay in place: each cell of width $h$ has a mass, and mass
# crosses a face at the speed $-(V_{c+1} - V_c)/h$, out of the cell that the wind comes from, off a straight piece of density whose slope is the smaller of the two beside it (*minmod*: of 2 and 5 it takes 2, of 2 and $-1$, a peak, it takes 0), in the two stages of Heun. This march is no call of `flow.integrate`: a density is not a vector of parameters that goes down its own gradient.

# %% tags=["hide-input"]
# | name: fig-five-flow
# | caption: >-
# |   The density of the heads in three blocks (rows) at four times (columns): finite volumes as a filled curve, 256 random heads as pale bars, particles of equal shares as ticks below. Dashed: where the heads of the teacher are.
# | alt: >-
# |   Twelve panels. At time 0 one hump in the middle; by time 12 it has torn into two humps close to the dashed lines, most sharply in the last block. Bars and ticks follow the curve.
figures_transport.flow_figure(seed=100)
plt.show()

# %% [markdown]
# In {numref}`fig-five-density` the time is yours. A head takes its mass with it, so the share of the density left of it stays what it was: the finite volumes never see the heads, and say the same.
#
# ```{attnflow-explorable} density
# ---
# name: fig-five-density
# alt: >-
#   Left, the density of the heads in the last block at four times: one hump tears into two, close to the dashed heads of the teacher. Right,
#   the objective falls on a dashed curve.
# ---
# The densities $\rho_j$ in three blocks over time. Blue: finite volumes with 100 cells; orange: the start. Ticks are sixteen heads $\theta$ in the middles of equal shares, one of them red. Dashed are the heads of the
# teacher, and below the objective $\mathcal Q$ its start less $\int\frac1J\sum_j\int\rho_j|\partial_\theta V_j|^2\,d\theta\,dt$. Frames half a unit of time apart come from the library, and the page mixes two of them in between.
# ```

# %% [markdown]
# :::{prf:proposition} Positive without clipping
# :label: prop-five-positive
#
# If a face moves by at most half a cell in both stages of a step, and no density is negative, then none is after the step.
# :::
#
# :::{prf:proof}
# Let $\kappa$ be the step over $h$, $E$ and $W$ the densities of a cell at its right and its left face, and $u_R$, $u_L$ the speeds there, with positive and negative parts. The cell holds $(E + W)/2$, and one stage makes of it $(\frac12 - \kappa u_R^+)E + (\frac12 + \kappa u_L^-)W$, plus what comes in from both sides. No
# weight is negative. Nor are $E$ and $W$, because minmod changes a cell by at most half of the way to a neighbour. Heun averages the old density and two such stages.
# :::

# %% tags=["remove-input"]
seen["transport-variation"]

# %% tags=["remove-input"]
seen["transport-mass"]

# %% tags=["remove-input"]
seen["transport-convex"]

# %% tags=["remove-input"]
seen["transport-positive"]

# %% [markdown]
# How good is a reference? At the middles of 1024 equal shares particles miss by as much as 280 cells do, because the outermost share is wide. Particles at Gauss nodes, with masses of their own, do not, and against them the error falls as $h^2$ ({numref}`fig-five-errors`, left).

# %% tags=["remove-input"]
seen["transport-order"]

# %% tags=["remove-input"]
seen["transport-scheme"]

# %% tags=["remove-input"]
seen["transport-dissipation"]

# %% tags=["remove-input"]
seen["transport-square"]

# %% [markdown]
# Real nets have $m$ random heads. Their Wasserstein-1 distance to the law, the mean distance by which mass has to be moved, is at the start $\int\mathbb E|F_m - F|\,d\theta$, with the distribution functions $F$ of the law and $F_m$ of the heads; binomials give it exactly, and it is about
# $\sqrt{2/\pi m}\int\sqrt{F(1 - F)}\,d\theta$, because the share of heads left of $\theta$ has the variance $F(1 - F)/m$, and a normal number is, in the mean, $\sqrt{2/\pi}$ standard deviations away from its expectation. (Why an integral? To move half of the mass by a distance of 1 costs $\frac12$, and this is
# the area between both distribution functions.) Training keeps the power $-\frac12$ and takes a few per cent away: we think that heads which feel each other pull back what they do wrong together.

# %% tags=["hide-input"]
# | name: fig-five-errors
# | caption: >-
# |   Left: error of the output over the number of cells, one line a seed, with (blue) and without (orange) slopes inside cells. Right: mean distance of m heads to the law after training, random heads (blue) and one draw in each share (orange). Dashed: the powers of the theory.
# | alt: >-
# |   Two panels with falling lines on logarithmic axes, each blue line along a dashed one; the orange line falls slower on the left and faster on the right.
figures_transport.errors_figure(
    transport.refined.but(cells=(35, 70, 140, 280))(SEEDS),
    transport.refined.but(cells=(35, 70, 140, 280), limiter="none")(SEEDS),
    scatter.random(SEEDS),
    scatter.random.but(draw="stratified")(SEEDS),
    claim["transport-order"],
    claim["transport-rate"],
)
plt.show()

# %% tags=["remove-input"]
seen["transport-scatter"]

# %% tags=["remove-input"]
seen["transport-rate"]

# %% tags=["remove-input"]
seen["transport-correction"]

# %% [markdown]
# ## What the decay costs
#
# Follow the flow until next to nothing is left of the gradient, and the objective has a value $\mathcal Q^*$ that depends on $\lambda$ alone, or almost. How does it?
#
# :::{prf:proposition} Small decay
# :label: prop-five-small
#
# Let $N$ be the least mean square $\frac1{Jm}\sum|\theta|^2$ of particles that fit the data, attained. Then the global minimum has $\mathcal L \le \mathcal Q^* \le \lambda N/2$. Along a smooth branch of minima
#
# $$\frac{d\mathcal Q^*}{d\lambda} = \frac1{2Jm}\sum_\theta|\theta|^2, \qquad \mathcal L = \mathcal Q^* - \lambda\,\frac{d\mathcal Q^*}{d\lambda},$$ (eq-five-envelope)
#
# and where the branch is twice differentiable at 0 and fits there, $\mathcal L = O(\lambda^2)$.
# :::
#
# :::{prf:proof}
# Particles that fit have $\mathcal L = 0$ and the objective $\lambda N/2$, and the minimum is no higher. The particles answer a change of $\lambda$ along directions in which $\mathcal Q$ is stationary, so its derivative is that of the term in which $\lambda$ stands: the *envelope theorem*. The second equation says the same with
# $\mathcal Q = \mathcal L + \lambda\cdot$ that term. With $\mathcal Q^*(\lambda) = q_1\lambda + q_2\lambda^2 + o(\lambda^2)$ it gives $\mathcal L = -q_2\lambda^2 + o(\lambda^2)$.
# :::
#
# By hand, with the single head of before: $\mathcal Q^* = \frac12\lambda^2 + \lambda(1 - \lambda) = \lambda - \frac12\lambda^2$ has the slope $1 - \lambda$, which is $u$, half the sum of the squares of two balanced factors; and $\mathcal Q^* - \lambda(1 - \lambda) = \frac12\lambda^2$ is the risk.
#
# So a bound $C\lambda$ of the risk holds, with a constant that can be computed, and is loose. {numref}`fig-five-powers` goes down to a decay of a thousandth of the threshold that we meet below.

# %% tags=["hide-input"]
# | name: fig-five-powers
# | caption: >-
# |   Risk and objective at rest over the decay, ten data sets, $J = 2$, $m = 16$, each minimum found from the one at twice the decay. Blue: data that can be fitted; dashed: the second and the first power. Orange: two sequences are alike and have different answers.
# | alt: >-
# |   Two panels on logarithmic axes. Blue lines rise along a dashed line of slope two on the left and one on the right; orange lines level off.
arrays, _ = sweep.kept("meanfield-risk")
figures_risk.powers_figure(arrays)
plt.show()

# %% tags=["remove-input"]
seen["risk-square"]

# %% tags=["remove-input"]
seen["objective-line"]

# %% tags=["remove-input"]
seen["risk-bound"]

# %% [markdown]
# Some blue lines of the figure jump: a minimum at twice the decay is followed until it is gone, and the next rest is far lower. Before the jump the line was not the global minimum, and the bound tells so without knowing that one.

# %% tags=["remove-input"]
seen["bound-broken"]

# %% tags=["remove-input"]
seen["envelope"]

# %% [markdown]
# Is the rest that a flow reaches the global minimum, as the theorem has it for wide and deep nets and little decay? Not with few heads:

# %% tags=["remove-input"]
seen["starts-matter"]

# %% [markdown]
# ## Where nothing is stable
#
# A net in which all particles are zero puts out zero. When is that a rest to which the flow comes back? At zero attention is uniform and every token keeps its place, so a head adds $\langle W_V, \bar x_i\rangle\,w$ to the answer for sample $i$, with its share of $1/(Jm)$. Near $f = 0$ the risk changes by the mean of $-y_if_i$, and so to second order a head is worth $-\langle W_V, b\rangle\,w$ with the entry $w$ of $W_O$ that writes the answer, and a neuron $-\phi'(0)\langle(w_1, b^a), a\rangle\,w'$ with that entry of $w_2$, where
#
# $$b = \frac1n\sum_iy_i\,\bar x_i, \qquad a = \frac1n\sum_iy_i\,(x_{i,L}, 1)$$ (eq-five-pulls)
#
# come from the token mean $\bar x$ and the last token: heads at zero see a mean, neurons only the token that asks. Only the part $v$ of $W_V$ along $b$ counts, so for a head this is a function of two numbers. With the decay on the diagonal:

# %%
lam, b, w, v = sp.symbols("lambda b w v")
worth = lam * (v**2 + w**2) / 2 - b * v * w
sp.hessian(worth, (v, w)).eigenvals()

# %% [markdown]
# So zero is stable if and only if $\lambda > \lambda_c = \max(|b|, |\phi'(0)|\,|a|)$, and the leading direction grows, or shrinks, at the rate $\lambda_c - \lambda$ ({numref}`fig-five-leaving`). It is an instance of the stability of a point mass, which {cite:t}`huan2026meanfield` treat for one layer and cross-entropy. A number to try by hand: one sequence with $y = 2$ and the tokens
# $(1, 2, 0)$, $(3, 0, 1)$ has $\bar x = (2, 1, \frac12)$, $|b| = 2\sqrt{5.25} = 4.6$ and $|a| = 2\sqrt{11} = 6.6$.

# %% tags=["remove-input"]
seen["zero-curvature"]

# %% tags=["hide-input"]
# | name: fig-five-leaving
# | caption: >-
# |   Heads of size $10^{-4}$ along their leading direction over time, for four decays around the threshold $|b|$; attention only. Dashed: the factor $1 + \eta(|b| - \lambda)$ in a step.
# | alt: >-
# |   Four lines on a logarithmic axis, two rising and two falling, each under a dashed straight line.
figures_risk.leaving_figure(seed=SEEDS[0])
plt.show()

# %% tags=["remove-input"]
seen["heads-leave"]

# %% tags=["remove-input"]
seen["heads-return"]

# %% tags=["remove-input"]
seen["neurons-leave"]

# %% tags=["remove-input"]
seen["neurons-return"]

# %% tags=["remove-input"]
seen["zero-leader"]

# %% [markdown]
# (sec-five-band)=
# ## Why the collapse is a jump
#
# Above $\lambda_c$ zero is stable. {numref}`fig-five-band` shows that something else can be, too. From here on blocks have attention alone, with $k = 1$, and $N = Jm$ heads in all. Write $\langle\cdot\rangle$ for the mean over samples and
#
# $$r_i(q, k) = \sum_j\operatorname{softmax}_j\big(\langle q, x_{i,L}\rangle\langle k, x_{i,j}\rangle\big)\,x_{i,j}, \qquad \lambda_\infty = \sup_{q, k}|\langle y\,r(q, k)\rangle|$$ (eq-five-ceiling)
#
# for what the last token of a sample reads, and for the most that any attention can be worth. With $q = 0$ it is the token mean, so $\lambda_\infty \ge \lambda_c = |\langle y\bar x\rangle|$.
#
# :::{prf:theorem} Stable and not global
# :label: thm-five-band
#
# (a) *Any* $J$ *and* $m$. For $\lambda > \lambda_c$ zero is a strict local minimum: flow from near it ends there.
#
# (b) $J = 1$, *any* $m$. Every stationary point has $P = \frac1N\sum|W_V|^2 \le \langle y^2\rangle(\lambda_\infty - \lambda)_+/\lambda^2$. For $\lambda \ge \lambda_\infty$ zero is the only one, and so the global minimum.
#
# (c) *Any* $J$ *and* $m$. Let $|\langle y\,r(q, k)\rangle| = \mu > \lambda$ for some $|q| = |k|$, and $w = \langle yr\rangle/\mu$. If $N > N_* = 2\lambda|q||k|\langle(w\cdot r)^2\rangle/(\mu - \lambda)^2$, then some state lies below zero, by $\frac{(\mu - \lambda)^2}{2\langle(w\cdot r)^2\rangle}(1 - \frac{N_*}N)$. So for every $\lambda < \lambda_\infty$ zero is not global
# once the net is wide or deep enough.
#
# (d) $J = 1$, $W_Q = W_K = 0$ *throughout.* There is no nonzero stationary point for $\lambda \ge \lambda_c$, and below it $P \le \langle y^2\rangle(\lambda_c - \lambda)/\lambda^2$: no jump.
# :::
#
# :::{prf:proof}
# (a) is the section before. (b) The columns of $W_O$ that do not write the answer feel the decay only and vanish. With $o$ for the entry of $W_O$ that does, the equations of rest are
#
# $$\begin{aligned}\lambda W_V &= o\,\langle(y - f)\,r\rangle,\\ \lambda o &= \langle(y - f)\,W_V\cdot r\rangle .\end{aligned}$$
#
# Multiply the first by $W_V$ and the second by $o$: the right sides are equal, so $|W_V|^2 = o^2$ for every head, and their mean is $P$. The mean of $oW_V\cdot r$ over heads is $f$, hence $\lambda P = \langle yf\rangle - \langle f^2\rangle$. Also $\langle yf\rangle$ is the mean of $oW_V\cdot\langle yr\rangle \le |o||W_V|\lambda_\infty$, at most $\lambda_\infty P$, so
# $\langle f^2\rangle \le (\lambda_\infty - \lambda)P$. Also $\lambda P \le \langle yf\rangle \le \sqrt{\langle y^2\rangle\langle f^2\rangle}$; square it. If $P = 0$, queries and keys feel the decay only. $\mathcal Q$ goes to infinity with its particles, so a minimum exists and is stationary. (c) One head with $W_VW_O = N\varepsilon w$, balanced, and all others
# zero, in any block, puts out $\varepsilon\,w\cdot r$ and has the decay $\lambda\varepsilon$ from these two and $\frac\lambda N|q||k|$ from queries and keys: $\mathcal Q - \mathcal Q(0) = -\varepsilon(\mu - \lambda) + \frac{\varepsilon^2}2\langle(w\cdot r)^2\rangle + \frac\lambda N|q||k|$, and take the best $\varepsilon$. (d) is (b) with $r = \bar x$.
# :::
#
# *Provenance.* Derived here. {cite:t}`ziyin2022exact` have transitions of the first order under weight decay for nets with more than one hidden layer, and of the second order with one; {cite:t}`huan2026meanfield` have criteria for the stability of a point mass. What is proved at depth one is that between $\lambda_c$ and $\lambda_\infty$ zero is stable and, in a wide net, not global. For
# deeper nets (a) and (c) hold, and whether anything but zero is stationary above $\lambda_\infty$ is open here.
#
# In plain words: values and outputs count as a product, queries and keys do not. One head that carries everything pays $1/N$ of its attention, and the more heads there are, the cheaper it is to look.

# %% tags=["remove-input"]
seen["ceiling-zero"]

# %% tags=["remove-input"]
seen["ceiling-below"]

# %% tags=["remove-input"]
seen["ceiling-bound"]

# %% tags=["remove-input"]
seen["ceiling-collapse"]

# %% [markdown]
# The control is a theorem as well. With queries and keys held at zero, the collapse is that of a group lasso, and it is continuous:

# %% tags=["remove-input"]
seen["frozen-lasso"]

# %% [markdown]
# ### One head predicts the band
#
# Where does the upper branch end? Look at the least model that has a jump: an output $u = B(a + cM)$ from a value path $B$, with the attention $M$ that it switches on, a target $y$, and the decay. If one head of $N$ carries it all, its values and outputs have to be $N$ times as large in product, which makes up for its share $1/N$ of the decay, while
# its attention acts in full and pays one share only. With balanced factors the decay is $\lambda(B + M/N)$:

# %%
B, M, a, c, y, N, u = sp.symbols("B M a c y N u", positive=True)
output = B * (a + c * M)
by_B, by_M = (-sp.diff((output - y) ** 2 / 2, x) for x in (B, M))
print(sp.simplify(by_B * by_M - (y - output) ** 2 * c * output))
height = (y - u) * sp.sqrt(N * c * u)
top = sp.solve(sp.diff(height, u), u)[0]
top, sp.simplify(height.subs(u, top))

# %% [markdown]
# At rest the two slopes are $\lambda$ and $\lambda/N$, and the first line says that their product is $(y - u)^2cu$. So $\lambda = (y - u)\sqrt{Ncu}$ on the branch, which ends at $u = y/3$: below this top every $\lambda$ has two solutions, an upper one that is stable and a lower one that is not, and above it there is none. By hand, for $y = c = 1$ and $a = \frac12$: zero is stable from $\lambda = ay = \frac12$ on. With four heads the branch ends at
# $\frac23\sqrt{4/3} = 0.77$, so between the two both are at rest; with one head it would end at 0.38, and there is no band. The number of heads stands under the root: **no share of data sets with a jump means anything without the number of heads beside it**.

# %% [markdown]
# In {numref}`fig-five-scan` you turn the decay yourself. Write the products with balanced factors, $B = v^2$ and $M = Nq^2$: then {eq}`eq-five-flow` is the gradient flow of two numbers,
#
# $$\dot v = \big((y - u)(a + cM) - \lambda\big)\,v, \qquad \dot q = \big((y - u)\,NcB - \lambda\big)\,q .$$ (eq-five-scalar-flow)
#
# The state follows it to rest after each move, nudged by $10^{-3}$. With little output attention is not worth its decay: from $\lambda_c = ay$ down the output first grows along $\lambda = a(y - u)$, without attention, and at $u = a^2/(Nc)$ attention switches on. If that is below $y/3$, it does so in a jump.
#
# ```{attnflow-explorable} meanfield
# ---
# name: fig-five-scan
# alt: >-
#   Two panels of the output at rest over the decay, for one head and for four. Solid branches are stable, dashed ones not. With four heads the upper
#   branch ends to the right of the threshold of zero, with one head to the left of it.
# ---
# The scalar model with $y = c = 1$. Drag the state (blue), or reach it with Tab and move it with the arrow keys; orange is a scan of $\lambda$ up and down. In the colour of the text are the branches in closed form, solid where they are stable, dashed where not; red their ends,
# $\lambda_c$ of zero and $\lambda_{\mathrm{end}}$ of the upper one. $\mathcal Q(u)$ is the objective of the cheapest $B$ and $M$ with the output $u$: rests are its stationary points. The map has the edges $Ncy = \frac{27}4a^2$, below which there is a band above $\lambda_c$ with two stable states, zero one of them, and $Ncy = 3a^2$, above which nothing jumps.
# ```

# %% tags=["remove-input"]
seen["scalar-branch"]

# %% tags=["remove-input"]
seen["scalar-conditions"]

# %% tags=["remove-input"]
seen["one-survives"]

# %% [markdown]
# For a data set we follow one head with its exact softmax and a decay $\lambda/N$ on its queries and keys, nine numbers in all, to the fold of its branch. A band is there if the fold lies above $\lambda_c$. {numref}`fig-five-ends` puts it beside scans of all particles up and down in $\lambda$, on forty data sets by seed, ten for each of four pairs of depth and heads.

# %% tags=["hide-input"]
# | name: fig-five-ends
# | caption: >-
# |   The decay at which the net collapses on the way up over the one that one head predicts, in units of $\lambda_c$, forty data sets. On the dashed line both agree; at 1 there is no band.
# | alt: >-
# |   Points along a diagonal dashed line from 1 to 2.2, but for one below it.
figures_band.ends()
plt.show()

# %% tags=["remove-input"]
seen["band-told"]

# %% tags=["remove-input"]
seen["band-gain"]

# %% tags=["remove-input"]
seen["band-ends"]

# %% tags=["remove-input"]
seen["fold-stands"]

# %% [markdown]
# The closed formula, with the best direction of queries and keys in the place of $c$, is a rule that errs a little more often about the band and is of no use for its end, since softmax saturates:

# %% tags=["remove-input"]
seen["band-rule"]

# %% [markdown]
# Some branches lie inside others, and a run follows the one that it starts on: the scan takes the farthest of six starts. And two blocks can do better than one head; with one head in each of two blocks we met a data set whose band is wider than predicted. On the way down there is nothing to choose: in all forty data sets zero
# draws a nudge in at $1.01\,\lambda_c$ and lets it go at $0.99\,\lambda_c$.

# %% [markdown]
# ## Phases
#
# Eight starts on one data set, each followed until it rests: *global* means within 1 % of the lowest objective that was found, the one of no particles included, *collapsed* that all particles are zero although something better exists, and *stuck* is the rest. {numref}`fig-five-phases` shows them over the decay, in units of
# $\lambda_c$, and the width, or the size of the start.

# %% tags=["hide-input"]
# | name: fig-five-phases
# | caption: >-
# |   What became of eight starts on the data set of seed 100, $J = 2$: over the decay and the width (left), and over the decay and the size of the start at $m = 16$ (right). In each cell the share that is global (blue), stuck (orange) or collapsed (purple, in no cell here); a dot where most particles are zero. The dashed line is
# |   $\lambda_c$; a dot left of the line is a start so small that its gradient counts as rest. Cells of which a quarter had not come to rest would be hatched: there are none.
# | alt: >-
# |   Two grids of small bars. Right of the dashed line all cells are blue, with a dot but for most of the first column; left of it there are blue cells with orange parts, most of them at weak decay or few heads.
width, scale = (
    sweep.kept(name)[0] for name in ("meanfield-width", "meanfield-scale")
)
figures_risk.phases_figure(
    [
        (width, phases.OVERS, phases.WIDTHS, "heads $m$"),
        (scale, phases.OVERS, phases.SCALES, "size of the start"),
    ]
)
plt.show()

# %% tags=["hide-input"]
stored = {table.name: table for table in ROOM.sweeps}
for name, one in (("width", {"m": 4}), ("scale", {"scale": 0.1})):
    beside = ({"over": over, **one} for over in (0.95, 1.03))
    print(sensitivity.kept(stored[f"meanfield-{name}"]).told(*beside))

# %% [markdown]
# Three cells of each map are computed again: the most sensitive of those that were measured, and two on either side of the dashed line.
#
# The first column to the right of the line, $1.03\,\lambda_c$, lies inside the band of {numref}`fig-five-band`: zero is stable there, and yet most starts rest away from it, on the branch that comes from below. Their objective is above that of zero by about one part in $10^4$, which counts as global here. One column further on that branch has ended, and all are zero.

# %% tags=["remove-input"]
seen["worse-than-nothing"]

# %% tags=["remove-input"]
seen["wider-lower"]

# %% [markdown]
# :::{admonition} Open: what is the infimum?
# The lowest objective keeps falling with the width. Values and outputs count as a product of two factors, queries and keys do not. Put the product of a whole block into one head of $m$, with factors $\sqrt m$ times as large: the output and their share of $\frac1m\sum|\theta|^2$ stay, while the share of its queries and keys falls
# as $1/m$. So a minimising sequence of distributions can concentrate, and we expect that the infimum over all distributions is *not attained* and that the decay on queries and keys is free in the limit. Compact supports, which proofs assume, are where this has to act. It would be refuted by a distribution with bounded
# support whose objective is below that of every finite net, or by a lowest objective that stops falling with $m$. The theorems of {cite:t}`chizat2025hidden` and {cite:t}`barboni2026training` do not decide it: they speak of other nets, or of little initial risk.
# :::

# %% [markdown]
# ## Four ways to scale it wrongly
#
# Multiply the branch by $\beta$ and the gradient by $\gamma$. The output at the start is a sum of $Jm$ terms of random sign, each multiplied by $\beta$: its size is $\beta\sqrt{Jm}$. A particle feels the residual through its own branch, so it moves by $\beta\gamma$ times what the residual asks. Only $\beta = 1/\gamma = 1/(Jm)$ lets the first vanish and the second stay. {numref}`fig-five-failures` shows the others: with $1/(J\sqrt m)$, the *tangent* scaling, the output
# stays random and particles move by $m^{-1/2}$; without $1/m$ every attention block multiplies tokens by $\sqrt m$; without $1/J$ tokens take a random walk of $J$ steps, or walk straight on if layers share draws; without the factor $Jm$ in the learning rate nothing changes but the clock.

# %% tags=["hide-input"]
# | name: fig-five-failures
# | caption: >-
# |   Left: how far a particle moves in a fixed time, $J = 2$; a sum over heads is left out, since its particles have no step to move by. Right: size of the output at the start, one block, where three scalings agree. Dashed: predicted powers.
# | alt: >-
# |   Two panels on logarithmic axes with lines of slope zero, minus one half, minus one and plus one half, each along a dashed line.
figures_limit.failures(tuple(SEEDS[:1]))
plt.show()

# %% tags=["remove-input"]
seen["scaling-movement"]

# %% tags=["remove-input"]
seen["tangent-movement"]

# %% tags=["remove-input"]
seen["tangent-output"]

# %% tags=["remove-input"]
seen["plain-movement"]

# %% tags=["remove-input"]
seen["heads-tokens"]

# %% tags=["remove-input"]
seen["heads-rate"]

# %% tags=["remove-input"]
seen["blocks-tokens"]

# %% [markdown]
# ## The paper's own experiment
#
# The paper has no figure that tests a rate, a decay or the partial differential equation; what is reported of its appendix are training curves of a vision Transformer over the number of heads and over the depth (*secondary*). Here is a stand-in ({numref}`fig-five-vision`): digits, a stream of width 32 that heads share, 160 training digits, three seeds.

# %% tags=["hide-input"]
# | name: fig-five-vision
# | caption: >-
# |   Training loss and accuracy on the other digits over the steps of Adam, over the number of heads at four blocks (upper row) and over the depth at four heads (lower row): mean of three seeds, and from the least to the greatest.
# | alt: >-
# |   Four panels. Losses fall and accuracies rise, nearly alike for all numbers of heads; deeper nets are ahead at first.
arrays, _ = sweep.kept("meanfield-vision")
figures_risk.vision_figure(arrays, every=10)
plt.show()

# %% tags=["remove-input"]
seen["vision-depth"]

# %% tags=["remove-input"]
seen["vision-heads"]

# %% tags=["remove-input"]
seen["cifar"]

# %% [markdown]
# ## All claims of this chapter
#
# On the seeds that this page names at its top; the [ledger](../book/ledger.md) has more seeds, tightness and provenance.

# %% tags=["hide-input"]
Markdown(claims.table(list(seen.values())))

# %% [markdown]
# ## Where the theory stops
#
# **The theorem is for small decay and large nets.** All nets here are small. That starts matter with eight heads, or that a minimum lies above the bound of a fit, does not contradict it: constants and sizes are not known to us.
#
# **A jump needs attention.** The band is that of attention alone. With neurons in the blocks these mostly set $\lambda_c$, and they leave zero continuously; the phase diagrams have them, and no band.
#
# **One task.** Eight sequences of four tokens, width three. Larger tasks have more directions and may have more branches.
#
# **The partial differential equation is solved on a line.** A head of a real net has a dozen numbers, and no grid goes there.
#
# **Time.** Constants of the limit grow with time, and near a jump they have to: two clouds that are close can end on different sides.

# %% [markdown]
# ## Exercises
#
# Stars mark difficulty.
#
# :::{exercise}
# :label: ex-five-1
#
# (★) One number $u = AB$ with target $y$ and the objective $\frac12(u - y)^2 + \frac\lambda2(A^2 + B^2)$, $0 < \lambda < y$. Find the minimum, $\mathcal L$, $\mathcal Q^*$ and $d\mathcal Q^*/d\lambda$. What is $\lambda_c$?
# :::
#
# :::{solution} ex-five-1
# :class: dropdown
#
# Balanced factors make the decay $\lambda|u|$, so $u = y - \lambda$, $\mathcal L = \lambda^2/2$ and $\mathcal Q^* = \lambda y - \lambda^2/2$, with slope $y - \lambda = u = \frac12(A^2 + B^2)$, as {eq}`eq-five-envelope` has it. Zero is stable from $\lambda_c = y$ on, and the transition is continuous.
# :::
#
# :::{exercise}
# :label: ex-five-2
#
# (★★) Let $\phi(z) = \max(0, z)^2$. Which balance of a neuron decays at $2\lambda$?
# :::
#
# :::{solution} ex-five-2
# :class: dropdown
#
# $|w_1|^2 + b^2 - p|w_2|^2$ changes by $-2\lambda$ times itself and $-\frac2n\sum\langle P, w_2\rangle(z\phi' - p\phi)$. Here $z\phi' = 2\phi$, so $p = 2$.
# :::
#
# :::{exercise}
# :label: ex-five-3
#
# (★★) Layers share their draws. Show that $\operatorname{Var}f \approx C/m$ at the start, at every J.
# :::
#
# :::{solution} ex-five-3
# :class: dropdown
#
# To leading order the $J$ increments are one and the same random vector times $1/J$: they add in amplitude, to one mean over $m$ particles. That is $J$ times the variance of independent layers.
# :::
#
# :::{exercise}
# :label: ex-five-4
#
# (★★) A density vanishes like $s^{p-1}$ at the distance $s$ from its end. Put $m$ particles at the medians of $m$ equal shares. How does the error of $\int u\,d\rho$ fall with $m$?
# :::
#
# :::{solution} ex-five-4
# :class: dropdown
#
# The last share has the mass $1/m$ and a width of order $m^{-1/p}$; its median misses its mean by a fixed part of that width. It contributes $m^{-1-1/p}$, shares inside contribute $m^{-2}$: the order is $\min(2, 1 + 1/p)$. Gauss nodes with masses have no such error.
# :::
#
# :::{exercise}
# :label: ex-five-5
#
# (★★) Let the output of one head of $N$ be $f = uc$ with $u = Nw^2$ and numbers $c_i$. Show that its branch ends at $\lambda = \frac2{\sqrt{27}}\sqrt N\,\langle yc\rangle^{3/2}/\langle c^2\rangle^{1/2}$, if the decay of $w$ is $\lambda w$.
# :::
#
# :::{solution} ex-five-5
# :class: dropdown
#
# Stationarity is $Nw(\langle yc\rangle - Nw^2\langle c^2\rangle) = \lambda$. The left side is largest at $Nw^2\langle c^2\rangle = \langle yc\rangle/3$, where it has that value.
# :::
#
# :::{exercise}
# :label: ex-five-6
#
# (★★) How does the end of the band grow with the number of heads? Needs a run: `attnflow.meanfield.hysteresis(tokens, targets, depth=1, heads=m)` for $m = 1, 4, 16, 64$, with `setting.drawn` for the data.
# :::
#
# :::{solution} ex-five-6
# :class: dropdown
#
# `net, tokens, targets, _ = setting.drawn((100,), torch.device("cpu"), parts=("attention",))`, then the function on `tokens[0]` and `targets[0]`. While softmax is nearly linear the end grows as $\sqrt m$; then it saturates, and at depth one it stays below $\lambda_\infty$, which the function gives as `lambda_inf`.
# :::
#
# :::{exercise}
# :label: ex-five-7
#
# (★★★) How many replicas does the test of six spreads within 20 % of their mean need to pass a true law in 95 % of cases? Needs a run of `attnflow.meanfield.power.tests`.
# :::
#
# :::{solution} ex-five-7
# :class: dropdown
#
# `power.tests((0,), "cpu", **power.NARROW | {"copies": (R,) * 6})["band"]` for $R$ between 48 and 96 crosses 0.95; {numref}`fig-five-tests` shows where.
# :::

# %% [markdown]
# ## In three lines
#
# 1. A wide and deep averaging Transformer is a cloud of particles that goes down its first variation; a finite one is $(Jm)^{-1/2}$ away, and weight decay lets it forget every balance at the rate $2\lambda$.
# 2. The risk of a minimum falls as $\lambda^2$, and zero is stable from a decay $\lambda_c$ on that the data tell.
# 3. With attention, zero can be stable and something else be better: one head, whose attention costs one share in $Jm$, says up to which decay.
#
# **References.** {cite:t}`gao2024meanfield`, {cite:t}`lu2020meanfield`, {cite:t}`ding2022overparameterization`, {cite:t}`chizat2025hidden`, {cite:t}`kobayashi2024weight`, {cite:t}`marcotte2025transformative`, {cite:t}`ziyin2022exact`, {cite:t}`huan2026meanfield`, {cite:t}`barboni2026training`; `attnflow.cite("meanfield")` prints them as BibTeX.

# %% tags=["hide-input"]
print(stamp.line(DEVICE))
print(f"{time.perf_counter() - began:.0f} seconds")
