# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # A kernel with a heavy tail
#
# Chapter 4 compares softmax with the Gaussian. In both, weights are exponentials. Here you take a kernel whose weights are not: the weight of a query $q_i$ and a key $k_j$ is
#
# $$S_{ij} = \big(1 + \zeta\,|q_i - k_j|^2\big)^{-p}, \qquad p = <<p>>,$$
#
# with a sharpness $\zeta > 0$. It falls only like a power of the distance, and that changes where a query gets stuck, how long it stays lost, and whether it matters how wide a head is.
#
# **Learning goals.** After this assignment you can
#
# 1. derive the gradient flow of attention with any kernel of a distance, and read its conserved row off a symmetry;
# 2. say where a kernel traps a query, from a second derivative, in every width of a head;
# 3. predict how fast a lost query runs away, and measure it;
# 4. build scores that keep one law and break another.
#
# **You need** chapter 4 (the gradient of four kernels, what each kernel keeps, the trap). **It takes** about 90 minutes. Six parts give 20 points: **a** <<points:a>>, **b** <<points:b>>, **c** <<points:c>>, **d** <<points:d>>, **e** <<points:e>>, **f** <<points:f>>.
#
# Every part but the last has a cell of tests that you can run as often as you like. They check your answer against something else than the answer, such as a symmetry, a limit, or a simulation, and say where to look. Points are given later, for other inputs.

# %% [markdown]
# The first cell imports what you need, and fixes two numbers that are yours: the power $p = <<p>>$ of the tail, and a factor $m = <<m>>$ that is used in parts a, b and e.

# %%
import numpy as np
import sympy as sp

<<check>>


p, m = <<p>>, <<m>>


def by_differences(loss, *weights, h=1e-5):
    """Slopes of a loss by each of some arrays, by central differences: a list of arrays of their shapes."""
    slopes = []
    for place, weight in enumerate(weights):
        slope = np.zeros_like(weight)
        for entry in np.ndindex(weight.shape):
            moved = [[each.copy() for each in weights] for _ in range(2)]
            moved[0][place][entry] += h
            moved[1][place][entry] -= h
            slope[entry] = (loss(*moved[0]) - loss(*moved[1])) / (2 * h)
        slopes.append(slope)
    return slopes


def number(expression, **known):
    """An expression at a point, whatever assumptions its symbols have."""
    expression = sp.sympify(expression)
    return float(expression.subs({each: known[str(each)] for each in expression.free_symbols}))


# %% [markdown]
# ## Warm-up (no points)
#
# Take one query on a line with keys $-1, 0, 1$ and values $\frac12, 0, 1$, as in the chapter, and divide the weights by their sum. Guess first: what does each kernel put out when the query is far away on the left? Then run the cell, and change the places.

# %%
keys, values = np.array([-1.0, 0.0, 1.0]), np.array([0.5, 0.0, 1.0])
print("query   normalised Gaussian   heavy tail")
for place in (-0.5, -1.5, -5.0, -20.0, -100.0):
    outputs = []
    for score in (-((place - keys) ** 2), -p * np.log(1 + (place - keys) ** 2)):
        weights = np.exp(score - score.max())
        outputs.append((weights / weights.sum()) @ values)
    print(f"{place:6}   {outputs[0]:19.4f}   {outputs[1]:10.4f}")

# %% [markdown]
# The Gaussian picks the outermost key, whose value is $\frac12$. The heavy tail ends up with all keys alike, and it only *happens* that the mean of these three values is $\frac12$ too: give the key at 0 another value, and you see it. Part d is about how it gets there.

# %% [markdown]
# ## Part a: two slopes, one speed, one law (<<points:a>> points)
#
# Let a key count $m = <<m>>$ times. For a head of width 1 a query $q = x\cdot W_Q$ and a key $k = x'\cdot W_K$ of two tokens $x$, $x'$ are numbers, with the weight
#
# $$S = \big(1 + \zeta\,(q - <<m>>\,k)^2\big)^{-<<p>>},$$
#
# and $E = \partial\mathcal L/\partial S$ is the slope of the loss by it, a free number. Give four expressions of sympy. The first three may hold `q`, `k`, `E`, `zeta`; the last one `a`, `b`:
#
# * `slope_q` and `slope_k`: $\partial\mathcal L/\partial q$ and $\partial\mathcal L/\partial k$ of this one pair;
# * `speed`: what this pair adds to $\frac{d}{dt}\big(|W_Q|^2 - |W_K|^2\big)$ along the gradient flow of $W_Q$ and $W_K$;
# * `row`: a function of $a = w^\top W_Q$ and $b = w^\top W_K$ that *every* loss keeps, where $w$ is a direction that all tokens share, $Xw = \mathbf 1$. It must not be the same number everywhere.
#
# Each is worth a quarter of the points.

# %% tags=["solution:a"]
q, k, E = sp.symbols("q k E", real=True)
zeta = sp.Symbol("zeta", positive=True)
a, b = sp.symbols("a b", real=True)
# define slope_q, slope_k, speed and row
### BEGIN SOLUTION
apart = q - m * k
weight = (1 + zeta * apart**2) ** (-sp.nsimplify(p))
slope_q = E * sp.diff(weight, q)
slope_k = E * sp.diff(weight, k)
speed = -2 * q * slope_q + 2 * k * slope_k
row = m * a + b
### END SOLUTION

# %% tags=["test:a"]
at = {"q": 0.7, "k": 0.4, "E": 1.3, "zeta": 0.6}


def pair_loss(q, k):
    """A loss of one pair, with the slope E by its weight."""
    return at["E"] * (1 + at["zeta"] * (q - m * k) ** 2) ** (-p)


by_q, by_k = (float(each) for each in by_differences(pair_loss, np.array(at["q"]), np.array(at["k"])))
check("slope_q against differences", by_q, number(slope_q, **at), "Differentiate the power, then the square inside.")
check("slope_k against differences", by_k, number(slope_k, **at), "Inside the square the key has a factor of its own.")

# One step of descent on W_Q and W_K, for the tokens x and z, changes the balance by the step times the speed.
x, z, eta = np.array([0.5, 1.0]), np.array([2.0, -0.3]), 1e-6
W_Q, W_K = at["q"] * x / (x @ x), at["k"] * z / (z @ z)
after_Q, after_K = W_Q - eta * by_q * x, W_K - eta * by_k * z
moved = (after_Q @ after_Q - after_K @ after_K - W_Q @ W_Q + W_K @ W_K) / eta
why = "The square of W_Q moves at 2 W_Q times its velocity, which is less the slope."
check("speed against one small step", moved, number(speed, **at), why, 1e-4)

# Tokens that share the direction w: a moves against the slope of q, b against that of k.
here, there = number(row, a=0.3, b=-0.8), number(row, a=0.3 - 0.01 * by_q, b=-0.8 - 0.01 * by_k)
why = "Which common shift of a query and a key does q - m k not notice? The flow is orthogonal to it."
check("row after one step", here, there, why)
differs = abs(number(row, a=0.4, b=-0.8) - here) > 1e-9
why = "What is the same number everywhere is kept by every flow, and says nothing."
check("row is not the same everywhere", 1, differs, why)

# %% [markdown]
# ## Part b: the gradient of a layer whose rows sum to one (<<points:b>> points)
#
# Now let $L$ tokens, the rows of $X$, attend to each other with queries $XW_Q$ and keys $XW_K$ of any width, and divide by the row sums:
#
# $$S_{ij} = \frac{s_{ij}}{\sum_l s_{il}}, \qquad s_{ij} = \big(1 + \zeta\,|q_i - <<m>>\,k_j|^2\big)^{-<<p>>}.$$
#
# Write a function that gets $E = \partial\mathcal L/\partial S$, an array $(L, L)$, and returns the slopes of the loss by $W_Q$ and $W_K$. You may use what you like, automatic differentiation too. Half of the points are for arrays $E$ with $\sum_lS_{il}E_{il} = 0$ in every row, a quarter for each matrix; the other half is for any $E$.

# %% tags=["solution:b"]
def slopes(X, W_Q, W_K, E, zeta):
    """Slopes of the loss by W_Q and W_K.

    X: tokens (L, d); W_Q, W_K: (d, k); E: slope by the weights S, (L, L); zeta: a number.
    Returns a dict with "W_Q" and "W_K", (d, k) each.
    """
    ### BEGIN SOLUTION
    apart = (X @ W_Q)[:, None] - m * (X @ W_K)[None]
    inside = 1 + zeta * (apart**2).sum(axis=-1)
    S = inside**-p / (inside**-p).sum(axis=1, keepdims=True)
    G = S * (E - (S * E).sum(axis=1, keepdims=True))
    pull = (-2 * p * zeta * G / inside)[:, :, None] * apart
    return {"W_Q": X.T @ pull.sum(axis=1), "W_K": -m * X.T @ pull.sum(axis=0)}
    ### END SOLUTION


# %% tags=["test:b"]
draw = np.random.default_rng(4)
X, W_Q, W_K = draw.normal(size=(4, 3)), draw.normal(size=(3, 2)) / 2, draw.normal(size=(3, 2)) / 2
E = draw.normal(size=(4, 4))


def layer_loss(W_Q, W_K):
    """A loss that is linear in S, with the slope E."""
    lengths = ((X @ W_Q)[:, None] - m * (X @ W_K)[None]) ** 2
    s = (1 + 0.7 * lengths.sum(axis=-1)) ** (-p)
    return (E * s / s.sum(axis=1, keepdims=True)).sum()


got = slopes(X, W_Q, W_K, E, 0.7)
same = slopes(X, W_Q, W_K, np.ones((4, 4)), 0.7)
why = "With E = 1 the loss is the sum of all weights, which is L whatever W_Q is. Does your slope know of the row sum?"
check("no slope where E is the same everywhere", np.zeros((3, 2)), same["W_Q"], why)
why = "Compare entry by entry: another sign, a factor, or a sum over the wrong axis?"
for name, wanted in zip(("W_Q", "W_K"), by_differences(layer_loss, W_Q, W_K), strict=True):
    check(f"slope by {name} against differences", wanted, got[name], why)
X[:, -1] = 1.0
got = slopes(X, W_Q, W_K, E, 0.7)
kept = m * np.asarray(got["W_Q"])[-1] + np.asarray(got["W_K"])[-1]
why = "Row sums do not touch that symmetry; is one of the two slopes off by a factor?"
check("tokens that share a feature: the row of part a does not move", np.zeros(2), kept, why)

# %% [markdown]
# ## Part c: when does the middle let go? (<<points:c>> points)
#
# From here to part d the factor of the keys is 1, and rows do *not* sum to one in this part. In $\mathbb R^k$ stand $2k$ keys, at distance $s$ from the origin on the coordinate axes, $\pm s\,e_1, \dots, \pm s\,e_k$, all with value 1. A query puts out
#
# $$o(q) = \sum_{j=1}^{2k}\big(1 + \zeta\,|q - k_j|^2\big)^{-<<p>>}.$$
#
# For close keys the origin is the top of *one* hill. Far apart, every key has a hill of its own, and the origin lies between them. If the target is above what the origin puts out, a query that starts near the middle finds its way to a key only if the middle is no top.
#
# Give `edge`, an expression of sympy in `k` (the width) and `zeta`: the spread $s$ at which the origin ceases to be a maximum of $o$, for $k < 2p + 2$. The line, $k = 1$, is worth 40 % of the points, all widths the rest.
#
# *Where to begin.* By symmetry all second derivatives at the origin are the same in every direction, so the Laplacian decides. What is the Laplacian in $\mathbb R^k$ of a function of the distance alone? This function lets you try:


# %%
def rise(width, spread, sharpness, step=1e-3):
    """How the output changes from the origin to a place a small step away, in a direction at random."""
    keys = spread * np.concatenate([np.eye(width), -np.eye(width)])
    way = np.random.default_rng(width).normal(size=width)
    places = np.array([0 * way, step * way / np.linalg.norm(way)])
    outputs = ((1 + sharpness * ((places[:, None] - keys) ** 2).sum(axis=-1)) ** (-p)).sum(axis=1)
    return outputs[1] - outputs[0]


print("k = 2, s = 0.3:", rise(2, 0.3, 1.0), " s = 0.9:", rise(2, 0.9, 1.0))

# %% tags=["solution:c"]
k, zeta = sp.symbols("k zeta", positive=True)
# define edge
### BEGIN SOLUTION
s = sp.Symbol("s", positive=True)
hill = (1 + zeta * s**2) ** (-sp.nsimplify(p))
bend = sp.diff(hill, s, 2) + (k - 1) * sp.diff(hill, s) / s
square = sp.Symbol("square")
(root,) = sp.solve(sp.numer(sp.together(sp.simplify(bend / hill))).subs(s**2, square), square)
edge = sp.sqrt(root)
### END SOLUTION

# %% tags=["test:c"]
for width in (1, 2, 3):
    for sharpness in (0.5, 2.0):
        found = number(edge, k=width, zeta=sharpness)
        signs = [np.sign(rise(width, part * found, sharpness)) for part in (0.97, 1.03)]
        why = "At 0.97 of the edge the output falls from the middle (-1), at 1.03 it rises (1). Equal: it is elsewhere."
        check(f"width {width}, sharpness {sharpness}: the middle below and above the edge", [-1, 1], signs, why)

# %% [markdown]
# Look at your expression as $k$ grows: it has no value from $k = 2p + 2$ on. Run this cell to see what that means: a yes says that the output rises from the middle. You will need it in part f.

# %%
for width in (1, 2, 3, 4, 6, 8, 10):
    rises = {spread: "yes" if rise(width, spread, 1.0) > 0 else "no" for spread in (0.5, 0.9, 1.7, 6.0)}
    print(f"k = {width:2}:", rises)

# %% [markdown]
# ## Part d: a query that runs away (<<points:d>> points)
#
# One query on a line again, with rows that sum to one: $o(q) = \sum_jS_jv_j$ with $S_j = s_j/\sum_ls_l$ and $s_j = (1 + \zeta(q - k_j)^2)^{-<<p>>}$. It follows the flow of the loss, $\dot q = -(o - y)\,o'$, and its target $y$ *is* in reach. But starts that are too far out on one side run away and never come back.
#
# Write a function that returns three numbers:
#
# * `edge`: the place where these starts begin. Beyond it everybody runs away, on the other side of it nobody near it does. Right to 0.01 counts. (40 %)
# * `loss`: the limit of the loss of a query that has run away. Right to 1 % counts. (25 %)
# * `rate`: the limit of $|q|^3/t$ as it runs. Right to 5 % counts. The quotient gets there slowly, so do not trust one time. (35 %)
#
# On which side the lost starts are depends on keys, values and target; find that out too. You may follow queries by `scipy.integrate.solve_ivp`, look at $o'$ alone, or compute what you can with a pencil, from the first terms of $o$ at large $|q|$. Keys, values (three to five of each), target and sharpness will be drawn; all edges lie less than 6 away from the mean of the keys.

# %% tags=["solution:d"]
def lost(keys, values, target, zeta):
    """Where queries are lost, and how: a dict with the numbers "edge", "loss" and "rate".

    keys, values: (n,); target, zeta: numbers.
    """
    ### BEGIN SOLUTION
    from scipy.optimize import brentq

    def parts(q):
        inside = 1 + zeta * (q - keys) ** 2
        S = inside**-p / (inside**-p).sum()
        drift = -2 * p * zeta * (q - keys) / inside
        output = S @ values
        return output, (S * drift) @ (values - output)

    spread = ((keys - keys.mean()) * (values - values.mean())).mean()
    side = -np.sign(spread * (target - values.mean()))
    places = keys.mean() + side * np.arange(10.0, -10.0, -0.01)
    signs = np.sign([parts(q)[1] for q in places])
    turn = np.flatnonzero(signs != signs[0])[0]
    edge = brentq(lambda q: parts(q)[1], places[turn - 1], places[turn])
    far = side * 1e4
    output, slope = parts(far)
    rate = 3 * far**2 * abs((output - target) * slope)
    return {"edge": edge, "loss": (values.mean() - target) ** 2 / 2, "rate": rate}
    ### END SOLUTION


# %% tags=["test:d"]
from scipy.integrate import solve_ivp


def run(keys, values, target, zeta, start, time):
    """Where the flow takes a query from a start within a time, and its loss there."""

    def output(q):
        s = (1 + zeta * (q - keys) ** 2) ** (-p)
        return (s @ values) / s.sum()

    def velocity(t, q):
        h = 1e-4 * (1 + abs(q[0]))
        return [-(output(q[0]) - target) * (output(q[0] + h) - output(q[0] - h)) / (2 * h)]

    end = solve_ivp(velocity, (0, time), [start], method="LSODA", rtol=1e-7, atol=1e-9).y[0, -1]
    return end, (output(end) - target) ** 2 / 2


for keys, values, target, zeta in (
    (np.array([-1.0, 0.0, 1.0]), np.array([0.5, 0.1, 1.0]), 0.75, 1.0),
    (np.array([-1.5, 0.5, 0.8, 2.0]), np.array([0.9, 0.1, 0.6, 0.2]), 0.7, 1.5),
):
    got = {name: float(np.squeeze(each)) for name, each in lost(keys, values, target, zeta).items()}
    near = [run(keys, values, target, zeta, got["edge"] + shift, 1e4) for shift in (-0.05, 0.05)]
    fates = sorted(bool(abs(end) > 8) for end, _ in near)
    why = "0 is a start that stays, 1 one that ran away. Equal fates: the edge is elsewhere."
    check("of two starts beside the edge one is lost", [0, 1], fates, why)
    end, loss = run(keys, values, target, zeta, max(near, key=lambda each: abs(each[0]))[0], 3e7)
    why = "What are the weights when all keys are about equally far?"
    check("loss of the lost one, after a long time", loss, got["loss"], why, 0.02)
    why = "Follow it longer, or expand o in 1/q: which power of q is the velocity?"
    check("its |q|^3 / t", abs(end) ** 3 / 3e7, got["rate"], why, 0.04)

# %% [markdown]
# ## Part e: break this law, keep that one (<<points:e>> points)
#
# Back to exponentials. Take a Gaussian whose keys count $m = <<m>>$ times, as in part a, and add two terms to its scores:
#
# $$z_{ij} = -\zeta\,|q_i - <<m>>\,k_j|^2 + b\,q_i\cdot k_j + c\,|k_j|^2 .$$
#
# The weights are $S_{ij} = e^{z_{ij}}$ ("plain"), or these over their row sums ("normalised"). All tokens share a direction, $Xw = \mathbf 1$. You choose $b$ and $c$, numbers between $-100$ and $100$, and there are two things that a flow could keep, for every loss:
#
# * the **row** $w^\top(\alpha W_Q + \gamma W_K)$ with given numbers $\alpha \ne 0$ and $\gamma > 0$;
# * the **balance** $W_Q^\top W_Q - W_K^\top W_K$.
#
# Write a function that returns $b$ and $c$ for each of three tasks (a third of the points each):
#
# | task | what the flow has to do |
# | --- | --- |
# | `"plain"` | the plain weights keep the row |
# | `"row"` | the normalised weights keep the row and break the balance, and the plain weights with the same $b$ and $c$ break the row |
# | `"balance"` | the normalised weights keep the balance and break the row |
#
# Broken means clearly broken: it moves at more than a hundredth of the speed of its two terms. You will get $\zeta$, $\alpha$ and $\gamma$; $\alpha = <<m>>\gamma$ is not among them, and $\alpha$ may be negative.

# %% tags=["solution:e"]
def settings(task, zeta, alpha, gamma):
    """The added terms of the scores: a dict with the numbers "b" and "c".

    task: "plain", "row" or "balance"; zeta, alpha, gamma: numbers.
    """
    ### BEGIN SOLUTION
    ratio = alpha / gamma
    if task == "plain":
        return {"b": 2 * zeta * (ratio - m), "c": zeta * (m**2 - ratio**2)}
    if task == "row":
        return {"b": 0.0, "c": zeta * m**2 - zeta * m * ratio}
    return {"b": 0.0, "c": zeta * m**2}
    ### END SOLUTION


# %% tags=["test:e"]
def speeds(zeta, alpha, gamma, b, c, normalised, seed=1):
    """Speeds of the row and of the balance for a loss of a small layer, relative to those of their two terms."""
    draw = np.random.default_rng(seed)
    X, W_Q, W_K = draw.normal(size=(4, 3)) / 2, draw.normal(size=(3, 2)) / 2, draw.normal(size=(3, 2)) / 4
    X[:, -1] = 1.0
    V, Y = draw.normal(size=(4, 2)), draw.normal(size=(4, 2))

    def loss(W_Q, W_K):
        q, k = X @ W_Q, X @ W_K
        z = -zeta * ((q[:, None] - m * k[None]) ** 2).sum(axis=-1) + b * q @ k.T + c * (k**2).sum(axis=1)
        S = np.exp(z)
        S = S / S.sum(axis=1, keepdims=True) if normalised else S
        return ((S @ V - Y) ** 2).sum() / 8

    by_Q, by_K = by_differences(loss, W_Q, W_K)
    row = [alpha * by_Q[-1], gamma * by_K[-1]]
    balance = [W_Q.T @ by_Q + by_Q.T @ W_Q, -W_K.T @ by_K - by_K.T @ W_K]
    return [np.linalg.norm(sum(each)) / (1e-3 + sum(map(np.linalg.norm, each))) for each in (row, balance)]


for zeta, alpha, gamma in ((0.5, 1.0, 1.0), (0.3, -1.0, 2.0)):
    found = {task: settings(task, zeta, alpha, gamma) for task in ("plain", "row", "balance")}
    row_speed, _ = speeds(zeta, alpha, gamma, **found["plain"], normalised=False)
    why = "Moving queries by alpha u and keys by gamma u, for any u, must leave every score as it is."
    check("plain: speed of the row", 0, row_speed, why)
    row_speed, balance_speed = speeds(zeta, alpha, gamma, **found["row"], normalised=True)
    check("row: speed of the row", 0, row_speed, "Only differences of scores within a row have to stay as they are.")
    alone, _ = speeds(zeta, alpha, gamma, **found["row"], normalised=False)
    why = "The balance under normalised weights, and the row under plain ones: 0 is not broken."
    check("row: the other two are broken", [1, 1], [balance_speed > 0.01, alone > 0.01], why)
    row_speed, balance_speed = speeds(zeta, alpha, gamma, **found["balance"], normalised=True)
    why = "Which term notices that keys are stretched and queries shrunk, and differs within a row?"
    check("balance: its speed", 0, balance_speed, why)
    why = "The row has to move here. Do the scores still see queries and keys together?"
    check("balance: the row is broken", 1, row_speed > 0.01, why)

# %% [markdown]
# ## Part f: in your words (<<points:f>> points)
#
# Answer in about ten sentences, and in three paragraphs:
#
# 1. *Lost, and how fast.* In part d the distance grows like $t^{1/3}$. Why does the sharpness $\zeta$ not enter the rate, although $p$ does? How does a lost query of softmax (the chapter's trap) run instead? And if the target changes, after a long time $t$, to the other side of what the lost query puts out: how long does it take each of the two to come back?
# 2. *A wide head.* What happens at the origin of part c for $k \ge 2p + 2$, and for the Gaussian, $e^{-\zeta|q - k_j|^2}$, in the same width? When is it a trap?
# 3. *Symmetry.* In part e plain weights can keep the row. Why can they not keep the balance, whatever $b$ and $c$ are, although normalised ones can?
#
# **Rubric**, half a point each: the weights at large $|q|$, with what cancels in their ratio; the other law of running away, and the time of the way back; the origin in wide heads, compared with the Gaussian and with the target; the term of part e that is in the way, and why a row sum does not see it.

# %% [markdown] tags=["written:f"]
# 1. At large $|q|$ the weight of a key is $(\zeta q^2)^{-p}(1 + 2pk_j/q + \dots)$. The factor $(\zeta q^2)^{-p}$ is the same for all keys and cancels in the row sum, and $\zeta$ with it; $p$ stays in the first correction, $o = \bar v + 2p\,C/q + \dots$, where $\bar v$ is the mean of the values and $C$ the mean of $(k_j - \bar k)(v_j - \bar v)$. So $\dot q$ is of size $1/q^2$ and $|q|^3$ grows like $6p\,|C\,(y - \bar v)|\,t$. For softmax $o'$ falls like $e^{-|q|}$, so that $|q|$ grows like $\ln t$ only. Far out the speed is a function of the place times $|o - y|$, which hardly changes; when the target jumps to the other side, the same way is run backwards, and the way back takes about $t$ times the ratio of the old miss to the new one, for *both* kernels. What counts is how long a query was lost, not how far away it is. But started equally far out, the heavy tail is back after a time of size $|q|^3$, softmax after one of size $e^{|q|}$.
# 2. For $k \ge 2p + 2$ the Laplacian of the kernel is negative everywhere, so that the origin is a maximum for every spread. Under the Gaussian it ceases to be one at $\zeta s^2 = k/2$, in every width. It is a trap if the target lies above the output there, $2k(1 + \zeta s^2)^{-p}$, and below the tops at the keys, which needs keys far enough apart.
# 3. Plain weights see the term $-\zeta|q_i|^2$, which notices that queries are stretched, and neither $b$ nor $c$ can take it away. It is the same number for all scores of a row, so that weights over their row sum do not see it; there $c = <<m>>^2\zeta$ takes away what notices a stretch of the keys, and a dot product is left.
