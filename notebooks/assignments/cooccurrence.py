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
# # Three words, and a loss that does not let go
#
# *Assignment to chapter 2, Learning that two words occur together. About 90 minutes.*
#
# In the chapter the gradients of four classes settle at $7 : 5 : 5 : 0$ if there are many samples. Class $I_4$ falls silent, and the numbers do not depend on how many samples a class has. How much
# of that belongs to gradient flow, and how much to the logistic loss? You will give the Transformer a harder task, three words instead of two, and then a loss whose tail
# is a power instead of an exponential. Half of the chapter's picture survives. You will find out which half, and you will steer the other half at will.
#
# **You will learn**
#
# * to derive the limit of automatic balancing from the hard-margin dual, for data that the chapter does not have;
# * to write the reduced flow of another loss, and to test it against the Transformer that it reduces;
# * to tell a claim about the exponential tail of a loss from one about gradient flow;
# * to find the exponent of a loss by counting powers, and to confirm it by a measurement.
#
# | part | | points |
# | --- | --- | --- |
# | a | Three words: where the gradients balance | <<points:a>> |
# | b | The reduced flow of a power tail | <<points:b>> |
# | c | The end of Phase 1 in the Transformer | <<points:c>> |
# | d | Late in training: the limit and the rate | <<points:d>> |
# | e | Break the limit, keep the task | <<points:e>> |
# | f | Two exponents, explained | <<points:f>> |
#
# Write your answers in the cells that say so. The cell below each of them tests a few things and tells you what they mean; your points are decided later, at other inputs.

# %% [markdown]
# ## The task
#
# A sequence holds $L$ words. The label is $y = +1$ if the three **targets** $e_1, e_2, e_3$ all occur in it, and $y = -1$ otherwise. The **common word** $e_4$ occurs
# $m = <<copies>>$ times in every sample. All other places hold **random words**, and each random word occurs once in the whole training set. There are five classes:
#
# | class | targets that it holds | label | fraction of the $n$ samples |
# | --- | --- | --- | --- |
# | $I_1$ | all three | $+1$ | $f_1 = 1/2$ |
# | $I_2$, $I_3$, $I_4$ | two: the first, the second, the third is missing | $-1$ | $f_2 = 1/<<lacking>>$ each |
# | $I_5$ | none | $-1$ | $f_5 = 1/<<none>>$ |
#
# As in the chapter, $g_i$ is minus the slope of the loss of sample $i$ by its margin $u_i = y_iF_i$, and $s_c = \sum_{i\in I_c}g_i$. With uniform attention the output is
# a sum of token scores $\gamma_w$, one for the word at every place, so that the common word counts $m$ times: $F_i = \gamma^\top x_i$. Here $\gamma = W_V\omega$ with the
# readout $\omega = W_O\xi$; and while the readout hardly moves, $\gamma' = z$ with $z = \frac1n\sum_i y_ig_i\,x_i$ on the clock $\tau = \|\omega(0)\|^2t$, where $x_i$ are
# the word counts of sample $i$, $t$ is the time of gradient flow, and a prime is the derivative by $\tau$: that is the reduced flow. By symmetry
# $\gamma_1 = \gamma_2 = \gamma_3$ and $s_2 = s_3 = s_4$ at all times, if they are so at the start.

# %%
import numpy as np
import sympy as sp
import torch
from scipy.integrate import solve_ivp

m = <<copies>>  # copies of the common word in a sample
fractions = np.array([1 / 2, 1 / <<lacking>>, 1 / <<none>>])  # f_1, f_2, f_5


<<check>>

# %% [markdown]
# ## Warm-up (no points)
#
# The logistic loss has an exponential tail: $g \approx e^{-u}$ for a large margin $u$. From part b on we replace it by a **loss with a power tail**. Let $p > 0$ be the
# power, then
#
# $$\ell_p(u) = \begin{cases} 1 - p\,u & u \le 0,\\ (1+u)^{-p} & u > 0,\end{cases} \qquad g = -\ell_p'(u) = \frac{p}{(1 + \max(u, 0))^{p+1}} .$$
#
# It is convex, it has a continuous slope, and it pulls wrong samples with a constant force. Take two samples of which the second always has three times the margin of the
# first, as $I_4$ and $I_1$ had in the chapter. How loud is the second beside the first as both margins grow? Guess both columns before you run the cell.

# %%
power = 2.0
print("margin of the first   logistic    power tail")
for u in (1.0, 10.0, 100.0, 1000.0):
    logistic = np.exp(np.logaddexp(0, u) - np.logaddexp(0, 3 * u))  # g(3u)/g(u)
    tail = ((1 + u) / (1 + 3 * u)) ** (power + 1)
    print(f"{u:19g}   {logistic:8.2g}   {tail:11.4f}")

# %% [markdown]
# Under the logistic loss the second sample is soon not heard at all. Under the power tail its force stays the same part of the first one's, here $3^{-3}$. Everything from
# part d on comes from this.

# %% [markdown]
# ## a. Three words: where the gradients balance (<<points:a>> points)
#
# First the **logistic** loss. The chapter's theorem holds for all data that can be separated: while attention stays uniform, the $g_i$ become proportional to the dual
# variables $\nu_i$ of the hard-margin problem on word counts. Its solution is $w = \sum_i\nu_iy_ix_i$, with equal margins wherever $\nu_i > 0$. Take $n$ large enough that
# $I_5$ is silent, and let $L \ge m + 5$.
#
# Find the limit of $s_2/s_1$ for $n$ samples of $L$ words, exactly, random words included. Call it `share`, a sympy expression in the symbols `n` and `L`. The number $m$
# and the fractions are those of the task above.
#
# *A way in:* put $s_1 = 1$. What are $w$ on a target, on the common word, and on a random word of a sample of $I_1$ or of $I_2$? How many random words does such a sample
# have? The limit for very many samples is worth a part of the points.

# %% tags=["solution:a"]
n, L = sp.symbols("n L", positive=True)
# share = ...
### BEGIN SOLUTION
s = sp.Symbol("s")  # s_2 over s_1
target, common = 1 - 2 * s, m * (1 - 3 * s)
first = 3 * target + m * common + (L - 3 - m) * 2 / n
second = -2 * target - m * common + (L - 2 - m) * <<lacking>> * s / n
share = sp.factor(sp.solve(first - second, s)[0])
### END SOLUTION

# %% [markdown]
# The test builds the word counts of small data sets and solves the dual numerically, by the chapter's `dual.separate`. It knows nothing of classes.

# %% tags=["test:a"]
from attnflow.cooccurrence import dual


def held(samples):
    """The targets that each sample holds, sorted by class: a list of tuples."""
    sizes = [round(f * samples) for f in fractions[[0, 1, 1, 1, 2]]]
    kinds = [(0, 1, 2), (1, 2), (0, 2), (0, 1), ()]
    return [words for words, size in zip(kinds, sizes, strict=True) for _ in range(size)]


def sums(samples, length):
    """Dual variables summed over the samples that hold 3, 2 and 0 targets."""
    samples_held = held(samples)
    width = 4 + sum(length - m - len(words) for words in samples_held)
    counts, free = np.zeros((samples, width)), 4
    for row, words in zip(counts, samples_held, strict=True):
        row[list(words)], row[3] = 1, m
        row[free : free + length - m - len(words)] = 1
        free += length - m - len(words)
    number = np.array([len(words) for words in samples_held])
    alpha = dual.separate(counts, np.where(number == 3, 1, -1)).alpha
    return [alpha[number == each].sum() for each in (3, 2, 0)]


for size, length in ((4 * <<lacking>>, m + 5), (6 * <<lacking>>, m + 8)):
    all_three, two, _ = sums(size, length)
    check(
        f"s_2/s_1 for n = {size}, L = {length}",
        two / 3 / all_three,
        float(share.subs({n: size, L: length})),
        "The numerical dual disagrees. The common word is counted m times, and a dual variable is s_c over the number of samples in class c.",
    )

# %% [markdown]
# ## b. The reduced flow of a power tail (<<points:b>> points)
#
# From here on the loss is $\ell_p$, and in parts b, d and e there are so many samples that random words do not move ($n = \infty$). Two numbers are left, the score
# $\gamma_1$ of a target, any of the three, and $\gamma_4$ of the common word. Write their velocity,
#
# > `velocity(scores, power, fractions)`: `scores` is an array $(\gamma_1, \gamma_4)$, `power` is $p$, `fractions` an array $(f_1, f_2, f_5)$ with $f_1 + 3f_2 + f_5 = 1$.
# > Returns the array $(\gamma_1', \gamma_4')$.
#
# With $n = \infty$ all samples of a class have one margin, and $s_c/n$ becomes $f_c\,g_c$. Note that the three targets are three words: each score follows its own slope,
# also where all three are equal.


# %% tags=["solution:b"]
def velocity(scores, power, fractions):
    """Velocity of the scores of a target and of the common word: (2,) -> (2,)."""
    ### BEGIN SOLUTION
    target, common = scores
    margins = np.array([3 * target + m * common, -2 * target - m * common, -m * common])
    first, second, fifth = fractions * power / (1 + np.maximum(margins, 0)) ** (power + 1)
    return np.array([first - 2 * second, m * (first - 3 * second - fifth)])
    ### END SOLUTION


# %% [markdown]
# The test writes the loss down for four words with four scores of their own, and differentiates it numerically.

# %% tags=["test:b"]
word_counts = np.array([[1, 1, 1, m], [0, 1, 1, m], [1, 0, 1, m], [1, 1, 0, m], [0, 0, 0, m]])


def loss(scores, power, fractions):
    """The mean loss of five classes for the scores of four words."""
    u = np.array([1, -1, -1, -1, -1]) * (word_counts @ scores)
    each = np.where(u > 0, (1 + np.maximum(u, 0)) ** -power, 1 - power * u)
    return each @ fractions[[0, 1, 1, 1, 2]]


for scores, power, where in (
    ((0.0, 0.3), 2.0, "where the label -1 is always wrong"),
    ((0.8, -1.2 / m), 2.0, "where two classes are right"),
    ((1.0, -2.4 / m), 1.5, "where all are right"),
):
    four, small = np.array([scores[0]] * 3 + [scores[1]]), 1e-5 * np.eye(4)
    ends = [[loss(four + sign * step, power, fractions) for step in small] for sign in (1, -1)]
    slope = -np.subtract(*ends) / 2e-5
    check(
        f"velocity {where}",
        slope[[0, 3]],
        velocity(np.array(scores), power, fractions),
        "First number: one target, not three. Second number: the common word, which a sample holds m times. Otherwise look at the margins of the classes.",
        rel=1e-5,
    )

# %% [markdown]
# ## c. The end of Phase 1 in the Transformer (<<points:c>> points)
#
# Now the Transformer itself, with all four matrices, softmax attention and random words, on few samples:
#
# $$F(X) = \mathbf 1^\top S\,XW_VW_O\,\xi, \qquad S = \operatorname{softmax}\big(XW_QW_K^\top X^\top/\sqrt k\big),$$
#
# where the rows of $X$ are the $L$ one-hot words of a sample, of $d$ words in all, and $\xi \in \{-1, +1\}^o$ are random signs that are not trained. Start $W_Q, W_K, W_V$
# of shape $(d, k)$ from normal entries with standard deviation $10^{-4}/\sqrt{Lk}$, and $W_O$ of shape $(k, o)$ from normal entries with standard deviation $1/\sqrt o$;
# take $k = 64$, $o = 16$. Train all four by gradient descent on the mean of $\ell_p$, with steps of $0.001/p$ or less on the clock $\tau = \|\omega(0)\|^2t$, with
# $\omega(0)$ the readout at the start.
#
# **The boundary.** $\tau_\star$ is the time from which on the mean margin of each of the five classes is positive, interpolated between steps. (The random start gives
# margins of about $10^{-4}$; do not stop at the first step that looks right.)
#
# > `boundary(samples, length, power)`: trains on $n$ samples of $L$ words and returns a dict with `time`, the clock $\tau_\star$, and `margin`, the mean margin of $I_1$
# > at that time.
#
# The class fractions are those of the task. The cell below draws the data. A run takes a few seconds at most. Your answer is compared with a flow for five numbers: two as
# in part b, and one score for the random words of each kind of class.


# %%
def draw(samples, length, generator):
    """Word numbers (n, L), labels (n,) and classes 0 to 4 (n,). Words 0, 1, 2 are targets, 3 is common, others random."""
    sizes = [round(f * samples) for f in fractions[[0, 1, 1, 1, 2]]]
    classes, rows, new = np.repeat(np.arange(5), sizes), [], 4
    for c in classes:
        words = [[0, 1, 2], [1, 2], [0, 2], [0, 1], []][c] + [3] * m
        free = length - len(words)
        rows.append(generator.permutation(words + list(range(new, new + free))))
        new += free
    return np.array(rows), np.where(classes == 0, 1.0, -1.0), classes


# %% tags=["solution:c"]
def boundary(samples, length, power):
    """Train the Transformer: {"time": clock at which all mean margins are positive for good, "margin": of I_1 then}."""
    ### BEGIN SOLUTION
    generator, k, o = np.random.default_rng(0), 64, 16
    tokens, labels, classes = draw(samples, length, generator)
    words, labels = int(tokens.max()) + 1, torch.tensor(labels)
    tokens = torch.tensor(tokens)
    means = torch.nn.functional.one_hot(torch.tensor(classes)).double()
    means = (means / means.sum(dim=0)).T
    stds = [1e-4 / np.sqrt(length * k)] * 3 + [1 / np.sqrt(o)]
    shapes = [(words, k)] * 3 + [(k, o)]
    theta = [torch.tensor(generator.normal(0, std, shape)) for std, shape in zip(stds, shapes, strict=True)]
    xi = torch.tensor(generator.choice([-1.0, 1.0], o))
    clock = float((theta[3] @ xi).square().sum())
    tau_step = 0.001 / power
    least, firsts = [], []
    while not least or len(least) < 50 + 1.3 * np.sum(np.array(least) < 0):
        theta = [each.requires_grad_() for each in theta]
        W_Q, W_K, W_V, W_O = theta
        S = torch.softmax(W_Q[tokens] @ W_K[tokens].mT / np.sqrt(k), dim=-1)
        u = labels * (S @ (W_V @ (W_O @ xi))[tokens][..., None]).sum(dim=(1, 2))
        value = torch.where(u > 0, (1 + u.clamp(min=0)) ** -power, 1 - power * u).mean()
        slopes = torch.autograd.grad(value, theta)
        by_class = means @ u.detach()
        least.append(float(by_class.min()))
        firsts.append(float(by_class[0]))
        theta = [w.detach() - tau_step / clock * slope for w, slope in zip(theta, slopes, strict=True)]
    last = np.flatnonzero(np.array(least) < 0)[-1]
    part = least[last] / (least[last] - least[last + 1])
    return {"time": (last + part) * tau_step, "margin": firsts[last] + part * (firsts[last + 1] - firsts[last])}
    ### END SOLUTION


# %% [markdown]
# The test follows your `velocity` of part b to the boundary for $n = \infty$. The Transformer comes there earlier, since random words carry a part of its margins: the
# earlier, the fewer samples there are.

# %% tags=["test:c"]
scores, tau, h = np.zeros(2), 0.0, 1e-4
while tau < 1e-3 or (2 * scores[0] + m * scores[1] > 0 and tau < 3):
    scores, tau = scores + h * velocity(scores, 1.0, fractions), tau + h
few, many = boundary(4 * <<lacking>>, m + 5, 1.0), boundary(8 * <<lacking>>, m + 5, 1.0)
for name, time, margin in (
    (f"n = {4 * <<lacking>>}", few["time"], few["margin"]),
    (f"n = {8 * <<lacking>>}", many["time"], many["margin"]),
    ("n = infinity", tau, 3 * scores[0] + m * scores[1]),
):
    print(f"{name:14} time {time:.4f}, margin of I_1 {margin:.4f}")
check(
    "the time is of the size that many samples have: between a third of theirs and all of it",
    1.0,
    float(tau / 3 < many["time"] < tau),
    "Far too small: is it t, and not the clock? Otherwise: is it the mean margin of each class, positive for good? Is it the power tail?",
)
check(
    "fewer samples are read right earlier",
    1.0,
    float(few["time"] < many["time"]),
    "Random words help to fit a sample, the more the fewer samples there are. Does each random word occur once?",
)
check(
    "when I_2 turns right, I_1 has a margin like that of many samples, to a half",
    1.0,
    many["margin"] / (3 * scores[0] + m * scores[1]),
    "Is it the mean over the samples of I_1, at the boundary and not at the end of the run?",
    rel=0.25,
)

# %% [markdown]
# ## d. Late in training: the limit and the rate (<<points:d>> points)
#
# Back to $n = \infty$, and far beyond Phase 1. The chapter's **ratio** becomes, for this task,
#
# $$\rho = -\frac{m z_4}{z_1} = m^2\,\frac{3s_2 + s_5 - s_1}{s_1 - 2s_2} .$$
#
# Under the reduced flow the margins of $I_1$, $I_2$, $I_5$ grow at $3-\rho$, $\rho-2$, $\rho$, times $\gamma_1'$. With an exponential tail, $I_1$ and $I_2$ must grow
# alike: $\rho \to 5/2$ whatever the fractions are, and $I_5$ falls silent. With a power tail it is otherwise.
#
# The readout may stay put, or grow. The chapter's flow for a growing readout is, with a constant $a \ge 0$ (in its text $o/\|\omega(0)\|^4$; $a = 0$ is the reduced flow),
#
# $$\gamma' = R\,z + \frac aR\,\gamma\,(\gamma^\top z), \qquad R = \tfrac12\Big(1 + \sqrt{1 + 4a\,\|\gamma\|^2}\Big),$$
#
# where $\gamma$ and $z$ have an entry for each of the four words.
#
# > `late(power, fractions, growth)`: follows this flow from $\gamma = 0$, with $a$ = `growth`, until its numbers have settled, and returns a dict with `rho`, the limit of
# > $\rho$; `fifth`, the limit of $s_5/s_1$; and `slope`, the limit of $d\log\mathcal L/d\log\tau$.
#
# The fractions are arguments, not those of the task. Be right to $0.5\,\%$ in `rho`, to $2\,\%$ in `fifth` and `slope`. Margins grow like a small power of $\tau$, so go
# as far as $\tau = 10^{12}$ or more: with $\log\tau$ as the time of an adaptive method this takes a fraction of a second (`solve_ivp` with `method="LSODA"` and a
# tolerance of $10^{-9}$ does it).


# %% tags=["solution:d"]
def late(power, fractions, growth):
    """Limits of the flow of a power tail: {"rho": ..., "fifth": ..., "slope": ...}."""

    ### BEGIN SOLUTION
    def moved(log_tau, scores):
        z, words = velocity(scores, power, fractions), np.array([3, 1])
        R = (1 + np.sqrt(1 + 4 * growth * (words @ scores**2))) / 2
        return np.exp(log_tau) * (R * z + growth / R * scores * (words @ (scores * z)))

    ends = np.log([1e13, 1e14])
    found = solve_ivp(moved, (np.log(1e-3), ends[1]), np.zeros(2), t_eval=ends, method="LSODA", rtol=1e-9, atol=1e-11)
    target, common = found.y
    u = np.array([3 * target + m * common, -2 * target - m * common, -m * common])
    log_losses = np.log((fractions * [1, 3, 1]) @ (1 + u) ** -power)
    first, second, fifth = fractions * (1 + u[:, 1]) ** -(power + 1)
    rho = m**2 * (3 * second + fifth - first) / (first - 2 * second)
    return {"rho": rho, "fifth": fifth / first, "slope": np.diff(log_losses)[0] / np.diff(ends)[0]}
    ### END SOLUTION


# %% tags=["test:d"]
few, many = np.array([0.5, 0.05, 0.35]), np.array([0.15, 0.24, 0.13])  # I_2 has few samples, or many
for name, shares in (("few", few), ("many", many)):
    still, moving = late(1.0, shares, 0.0), late(1.0, shares, 0.5)
    for kind, end in (("stays", still), ("grows", moving)):
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in end.items())
        print(f"{name} in I_2, readout {kind}: {numbers}")
    check(
        "the directions of both flows agree",
        [still["rho"], still["fifth"]],
        [moving["rho"], moving["fifth"]],
        "What the growing readout adds points along the scores: it changes their length. Has the flow settled? Are all three targets in the norm?",
        rel=0.01,
    )
    check(
        "a growing readout makes the loss fall faster",
        1.0,
        float(moving["slope"] < still["slope"] - 0.05),
        "The flow with a > 0 must be the faster one, and visibly so: R grows like the length of the scores.",
    )
check(
    "2 < rho < 5/2 < rho < 3, for few and for many samples in I_2",
    [1.0, 1.0],
    [2 < late(1.0, few, 0.0)["rho"] < 2.5, 2.5 < late(1.0, many, 0.0)["rho"] < 3],
    "All samples are read right only if 2 < rho < 3; and a class with few samples needs less margin than one with many.",
)
steep = late(6.0, few, 0.0)
check(
    "a large power is nearly an exponential: rho near 5/2, s_5 near 0",
    [2.5, 0.0],
    [steep["rho"], steep["fifth"]],
    "As p grows the logistic limit comes back. If this fails and the others do not, look at the exponent of the forces.",
    rel=0.02,
)

# %% [markdown]
# ## e. Break the limit, keep the task (<<points:e>> points)
#
# Under the logistic loss nobody can move $\rho$ away from $5/2$ by choosing how many samples a class has. Break that, and keep every class read right. Somebody names a
# power $p$, and the limits of $\rho$ and of $s_5/s_1$ that training (with $n = \infty$, as in part d) shall have. You say which data do it.
#
# > `chosen(power, rho, fifth)`: returns an array $(f_1, f_2, f_5)$ of positive fractions with $f_1 + 3f_2 + f_5 = 1$ for which the limits of part d are `rho` and `fifth`.
#
# Getting `rho` right alone is worth half of the points. A search with `late` is fine; but there is a formula of three lines. *A way in:* late in training, what are the
# ratios of the margins, hence of the forces $g_c$, if $\rho$ is given? And what do $\rho$ and $s_5/s_1$ say of $s_2/s_1$?


# %% tags=["solution:e"]
def chosen(power, rho, fifth):
    """Fractions (f_1, f_2, f_5) for which rho and s_5/s_1 have these limits."""
    ### BEGIN SOLUTION
    second = (1 - fifth + rho / m**2) / (3 + 2 * rho / m**2)  # s_2/s_1
    found = np.array([1, second, fifth]) * np.array([3 - rho, rho - 2, rho]) ** (power + 1)
    return found / (found @ [1, 3, 1])
    ### END SOLUTION


# %% [markdown]
# The test trains on the data that you chose. It needs your `late`.

# %% tags=["test:e"]
for power, rho, fifth in ((1.0, 2.35, 0.08), (1.0, 2.6, 0.02), (1.6, 2.5, 0.01)):
    answer = np.array(chosen(power, rho, fifth))
    print(f"p = {power}, rho = {rho}, s_5/s_1 = {fifth}: fractions {answer.round(4)}")
    check(
        "they are fractions",
        [1.0, 1.0],
        [answer @ [1, 3, 1], answer.min() > 0],
        "There are three classes that lack one target, and every class needs some samples.",
    )
    end = late(power, answer, 0.0)
    check(
        "training ends at the rho that was asked for",
        rho,
        end["rho"],
        "The force on a class is a power of its margin, and late in training the margins are in the ratio 3 - rho : rho - 2 : rho.",
        rel=0.005,
    )
    check(
        "and at the s_5/s_1 that was asked for",
        fifth,
        end["fifth"],
        "Both limits have to hold at once: rho, with s_5/s_1, fixes s_2/s_1, and the forces then fix the fractions.",
        rel=0.001,
    )

# %% [markdown]
# ## f. Two exponents, explained (<<points:f>> points, read by a person)
#
# Your numbers `slope` of part d follow two simple laws in $p$, one for $a = 0$ and one for $a > 0$. In at most fifteen lines:
#
# 1. Say what the two exponents are and derive them by counting powers: how does $z$ scale with the length of $\gamma$, how does $\|\gamma\|$ grow with $\tau$, how does
#    $\mathcal L$ fall?
# 2. Explain why $\rho$ and $s_5/s_1$ have the same limits with and without a growing readout, and why fractions enter these limits under the power tail but not under the
#    logistic loss.
# 3. Let $p \to \infty$: what do the exponents become, and what does that say of the chapter's finding that under the logistic loss the loss falls "a little faster than
#    $1/t$" when the readout grows?
#
# | rubric | points |
# | --- | --- |
# | 1: both exponents, each with its derivation (half a point each): the scaling of the force, an equation for the length of $\gamma$, the loss | 1 |
# | 2: what it takes for the direction of $\gamma$ to be at rest, with and without growth (half a point); what becomes of a factor $f_c$ under either tail (half a point) | 1 |
# | 3: both limits, what a power of $\tau$ can therefore not show, and of what kind the difference is that is left | 1 |

# %% [markdown] tags=["written:f"]
# 1. Late in training the scores have a direction, $\gamma \approx r\,v$ with $\|v\| = 1$, and every margin is proportional to $r$. Hence all $g_c \sim r^{-(p+1)}$, and so
#    is $\|z\|$, which is parallel to $\gamma$. With $a = 0$ we have $r' \sim r^{-(p+1)}$, so $r \sim \tau^{1/(p+2)}$ and $\mathcal L \sim r^{-p} \sim \tau^{-p/(p+2)}$.
#    With $a > 0$, $R \approx \sqrt a\,r$, and both terms of the flow are of order $r\,\|z\|$: $r' \sim r\cdot r^{-(p+1)} = r^{-p}$, so $r \sim \tau^{1/(p+1)}$ and
#    $\mathcal L \sim \tau^{-p/(p+1)}$.
# 2. The direction of $\gamma$ moves by the part of $\gamma'$ that is perpendicular to $\gamma$. That is $R$ times the perpendicular part of $z$: a growing readout changes
#    how fast the direction turns, not where it rests, which is where $z$ is parallel to $\gamma$. There $s_c \propto f_c\,u_c^{-(p+1)}$. The margins are in a fixed ratio,
#    so the forces are in a fixed ratio, and the fraction of a class stays in the equation as a factor. With $g \approx e^{-u}$ a factor $f_c$ is the same as a margin that
#    is larger by $-\log f_c$, which is nothing beside margins that grow without bound; so it does not change the direction.
# 3. Both $p/(p+2)$ and $p/(p+1)$ tend to $1$: the exponential tail is the limit, and a power of $\tau$ cannot tell the two readouts apart any more. What is left is a
#    logarithm: $r' \sim r\,e^{-cr}$ gives $\mathcal L \sim 1/(\tau\log\tau)$ where $r' \sim e^{-cr}$ gives $1/\tau$. That is the "little faster". With a power tail the
#    same growth of the readout changes the exponent itself.

# %% [markdown]
# ## To go on
#
# * The limit of part d is also the direction of the shortest $w$ for which $\sum_c f_c\,u_c^{-p}$, summed over all five classes, is at most one. Can you see why? For
#   $p \to \infty$ this becomes the hard-margin problem.
# * Give the Transformer of part c the power tail and larger weights $W_Q, W_K$. Does attention stay idle longer, or less long, than under the logistic loss?
