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
# # One factor more
#
# In chapter 5 a net with weight decay dies in a jump, and attention was to blame: queries and keys switch the values on. Here you will see that attention is only one example. What counts is *how many factors meet in a product*. Two factors leave zero continuously; with three there is a jump, and zero is stable at every decay. You will derive where the jump is, and measure it in nets of many particles.
#
# **What you will learn**
#
# 1. to derive what weight decay makes of a balance when the two factors do not decay alike (parts a and e);
# 2. to explain by the cost of a product why three factors collapse in a jump and two do not (b and f);
# 3. to find the decay at which a net of zeros becomes stable, for a loss and a kind of head of your own (c);
# 4. to measure where the upper branch ends, and by which power more particles move that end (d).
#
# It takes about 90 minutes. There are 20 points: a <<points:a>>, b <<points:b>>, c <<points:c>>, d <<points:d>>, e <<points:e>>, f <<points:f>>. You need chapter 5 up to the section on the jump.
#
# Answer where a cell says `YOUR CODE HERE`, below the line that says what to define. The tests under each part do not know the answer: they check it against a limit, a symmetry or a simulation, and tell you where to look. Your answers are graded at other inputs than those of the tests.

# %% [markdown]
# **Letters.** The weight decay is $\lambda$, and a dot is the derivative by time. The risk $\mathcal L$ is the mean loss over $n$ samples; the objective $\mathcal Q$ is the risk with the decay. There are $N$ particles in all. A *chain* is a particle of $p$ numbers $a_1, \dots, a_p$ of which the net sees the product alone; $u$ is an output.

# %%
import numpy as np
import sympy as sp

<<check>>

# %% [markdown]
# ## Warm-up (no points)
#
# One chain of $p$ numbers with product $u$ has the objective $\mathcal Q = \frac12(u - 1)^2 + \frac\lambda2(a_1^2 + \dots + a_p^2)$ and goes down it, $\dot a_l = -\partial\mathcal Q/\partial a_l$. All numbers start at 0.3, and $\lambda = 0.15$.
#
# Before you run the next cell, write down what you expect: at which output does the chain of two rest, and at which the chain of four? Then change the start to 0.9.

# %%
def march(velocity, start, time, step=0.01):
    """Where the flow with this velocity, a function of an array, takes an array of numbers: Runge and Kutta."""
    now = np.array(start, dtype=float)
    for _ in range(round(time / step)):
        one = velocity(now)
        two = velocity(now + step / 2 * one)
        three = velocity(now + step / 2 * two)
        now = now + step / 6 * (one + 2 * two + 2 * three + velocity(now + step * three))
    return now


def chain(numbers, decay, slope):
    """The velocity of one chain under a decay, where slope(u) is the derivative of the risk by its product u."""
    others = np.array([np.prod(np.delete(numbers, at)) for at in range(len(numbers))])
    return -others * slope(np.prod(numbers)) - decay * numbers


for factors in (2, 4):
    rest = march(lambda now: chain(now, 0.15, lambda u: u - 1), [0.3] * factors, time=60, step=0.05)
    print(f"{factors} factors: the output rests at {np.prod(rest):.3f}")

# %% [markdown]
# ## a. Two decays (<<points:a>> points)
#
# Two numbers make the output $u = a^{<<first>>}\,b^{<<second>>}$; the risk is any function $\mathcal L(u)$, and each number has a decay of its own:
#
# $$\dot a = -\frac{\partial\mathcal L}{\partial a} - \lambda_1a, \qquad \dot b = -\frac{\partial\mathcal L}{\partial b} - \lambda_2b .$$
#
# Define three expressions of sympy, in the symbols of the cell below.
#
# * `kept`: the quantity of the form $a^2 + \dots b^2$ (a polynomial in $a$ and $b$ with the coefficient 1 at $a^2$) that the flow keeps where $\lambda_1 = \lambda_2 = 0$, whatever $\mathcal L$ is;
# * `rate`: its derivative by time with both decays, in $a$, $b$, $\lambda_1$ and $\lambda_2$ alone;
# * `ratio`: the value of $a^2/b^2$ wherever the flow rests with $u \ne 0$, in $\lambda_1$ and $\lambda_2$ alone.
#
# With equal decays `kept` is forgotten at the rate $2\lambda$, as in the chapter. With two decays it is not forgotten: where does it go?

# %% tags=["solution:a"]
a, b, lambda_1, lambda_2 = sp.symbols("a b lambda_1 lambda_2", positive=True)
# Define kept, rate and ratio.
### BEGIN SOLUTION
u = a**<<first>> * b**<<second>>
slope = sp.Symbol("G")  # of the risk by u
velocity_a, velocity_b = -slope * u.diff(a) - lambda_1 * a, -slope * u.diff(b) - lambda_2 * b
kept = a**2 - sp.Rational(<<first>>, <<second>>) * b**2
rate = sp.expand(kept.diff(a) * velocity_a + kept.diff(b) * velocity_b)
# At rest both velocities vanish, so that a dL/da = -lambda_1 a^2 and b dL/db = -lambda_2 b^2, and these are as the powers.
ratio = sp.Integer(<<first>>) * lambda_2 / (<<second>> * lambda_1)
### END SOLUTION

# %% tags=["test:a"]
def two(decays, target=1.0):
    """The flow of part a for the loss (u - target)^2/2."""

    def velocity(now):
        product = now[0] ** <<first>> * now[1] ** <<second>>
        pull = (product - target) * product / now
        return -pull * np.array([<<first>>, <<second>>]) - np.array(decays) * now

    return velocity


number = sp.lambdify((a, b), kept)
start, one_decay = np.array([0.9, 1.05]), (0.3, 0.3)
end = march(two((0.0, 0.0)), start, time=1.0, step=0.002)
check("kept stays along the flow without decay", number(*start), number(*end),
      "It moves. Write a da/dt and b db/dt: both hold u times the slope of the loss, once for each factor in the product.")
end = march(two(one_decay), start, time=1.0, step=0.002)
check("kept is forgotten at twice a decay that both share", np.exp(-0.6) * number(*start), number(*end),
      "With equal decays any quadratic form that is kept without them shrinks as exp(-2 lambda t); yours does not.")
small, decays = 1e-4, (0.2, 0.5)
after, before = (march(two(decays), start, time=sign * small, step=sign * small) for sign in (1, -1))
check("rate is the slope of kept along the flow", (number(*after) - number(*before)) / (2 * small),
      float(rate.subs({a: start[0], b: start[1], lambda_1: decays[0], lambda_2: decays[1]})),
      "The difference quotient along the flow is expected. Each square has its own decay; the slopes of the loss cancel.")
end = march(two((0.02, 0.03)), (1.1, 1.1), time=400.0, step=0.02)
check("ratio is where a long flow rests", end[0] ** 2 / end[1] ** 2, float(ratio.subs({lambda_1: 0.02, lambda_2: 0.03})),
      "Multiply the two conditions of rest by a and by b: what do the slopes of the loss have in common?", rel=1e-4)

# %% [markdown]
# ## b. Why three factors jump (<<points:b>> points)
#
# Now a chain of $p = <<factors>>$ numbers with product $u$, all with the same decay, a target $y > 0$ and a loss with a stiffness of <<stiffness>>:
#
# $$\mathcal Q = \frac{<<stiffness>>}2(u - y)^2 + \frac\lambda2(a_1^2 + \dots + a_{<<factors>>}^2) .$$
#
# Define three expressions of sympy, in the symbols of the cell below; $u$, $y$ and $\lambda$ are positive.
#
# * `cost`: the least value of $\frac\lambda2\sum a_l^2$ among all chains with the product $u$, in $u$ and $\lambda$;
# * `lambda_end`: the largest decay at which $\mathcal Q$ has a stationary point with $u > 0$, in $y$: there the upper branch ends;
# * `lambda_even`: the decay at which the best chain with $u > 0$ is exactly as good as zero, in $y$: from there on zero is the global minimum.
#
# A chain at rest is balanced, as in part a, so both decays follow from `cost`. For two factors it is $\lambda u$, a straight line. Sketch yours near $u = 0$: can zero ever lose its stability?
#
# When you have both, compare the *outputs* at the two decays. Their ratio does not depend on $p$.

# %% tags=["solution:b"]
u, y, decay = sp.symbols("u y lambda", positive=True)
# Define cost, lambda_end and lambda_even.
### BEGIN SOLUTION
p = sp.Integer(<<factors>>)
cost = p * decay / 2 * u ** (2 / p)
risk = sp.Rational(<<stiffness>>, 2) * (u - y) ** 2
at_rest = sp.solve(sp.diff(risk + cost, u), decay)[0]  # the decay at which u is at rest
(top,) = [each for each in sp.solve(sp.numer(sp.together(at_rest.diff(u))), u) if each != 0]
lambda_end = sp.simplify(at_rest.subs(u, top))
gap = (risk + cost - risk.subs(u, 0)).subs(decay, at_rest)
(even,) = [each for each in sp.solve(sp.simplify(gap / u), u) if each != 0]
lambda_even = sp.simplify(at_rest.subs(u, even))
### END SOLUTION

# %% tags=["test:b"]
rng = np.random.default_rng(5)
logs = rng.normal(size=(20_000, <<factors>>)) * rng.uniform(0, 0.3, (20_000, 1))
logs += (np.log(1.7) - logs.sum(axis=1, keepdims=True)) / <<factors>>
least = 0.15 * np.exp(2 * logs).sum(axis=1).min()
check("cost is what the cheapest of 20000 chains with this product costs", least, float(cost.subs({u: 1.7, decay: 0.3})),
      "Chains with a product of 1.7 were drawn, and the cheapest is expected. Which of them is it? Use part a.", rel=1e-3)


def rested(decays, target):
    """Where chains that start high and not balanced end, one for each decay: their products, and their objectives."""
    decays = np.array(decays)[:, None]

    def velocity(now):
        product = now.prod(axis=1, keepdims=True)
        return -<<stiffness>> * (product - target) * product / now - decays * now

    start = np.tile(np.linspace(0.9, 1.05, <<factors>>), (len(decays), 1))
    numbers = march(velocity, start, 200 / decays.min(), min(0.05 / decays.max(), 0.3 / <<stiffness>>))
    product = numbers.prod(axis=1)
    return product, <<stiffness>> / 2 * (product - target) ** 2 + decays[:, 0] / 2 * (numbers**2).sum(axis=1)


target, end, even = 0.8, float(lambda_end.subs(y, 0.8)), float(lambda_even.subs(y, 0.8))
check("both decays are positive, and the one at which zero is as good comes first", 1, 0 < even < end,
      "Coming from no decay the chain is first better than zero, then worse, and then gone.")
product, height = rested([0.98 * end, 1.02 * end, even], target)
check("a chain that starts high lives just below lambda_end and dies just above", [1, 0], product[:2] > 0.01,
      "Where Q is stationary, lambda is a function of u. Draw it: the branch ends where that function is largest.")
check("at lambda_even the chain that lives is as good as nothing", <<stiffness>> / 2 * target**2, height[2],
      "Two equations hold there: Q is stationary in u, and it equals its value at zero. Solve both for u and lambda.", rel=1e-5)
check("and it does live there", 1, product[2] > 0.01, "At this decay nothing but zero is at rest: lambda_even is too large.")
check("twice the target, another decay", 2 ** (2 - 2 / <<factors>>),
      float(lambda_end.subs(y, 1.6) / lambda_end.subs(y, 0.8)),
      "Measure u in units of y: the risk has the unit y^2, and the cost has lambda times y^(2/p).")

# %% [markdown]
# ## c. Where nothing is stable (<<points:c>> points)
#
# Two factors again, in a net with one block of attention. A head is a particle of $d$-vectors $q$, $k$, $v$ and a number $w$. It mixes the tokens of a sequence $X$, its rows $x_1, \dots, x_L$, with weights $s_j \ge 0$ of sum one, and adds $w\sum_js_j\langle v, x_j\rangle$. There are two kinds:
#
# * a head of kind *mean* has $s_j \propto e^{\langle q, x_L\rangle\langle k, x_j\rangle}$, as in the chapter;
# * a head of kind *recent* prefers late tokens: $s_j \propto <<ratio>>^j\,e^{\langle q, x_L\rangle\langle k, x_j\rangle}$.
#
# The output $f$ of a sequence is the mean over all $N$ heads of what they add, *plus a fixed offset* of $<<offset>>$. Labels are $y = \pm1$, the loss is logistic, and values decay <<alpha>> times as fast as all other entries:
#
# $$\mathcal Q = \frac1n\sum_{i=1}^n\log(1 + e^{-y_if_i}) + \frac\lambda{2N}\sum_h\big(|q|^2 + |k|^2 + <<alpha>>\,|v|^2 + w^2\big) .$$
#
# Write `thresholds(X, y)`, with X of the shape (n, L, d) and y of the shape (n,). It returns a dict with two numbers: under `"mean"` the decay $\lambda$ above which zero is stable in a net whose heads are all of that kind, and under `"recent"` the same for the other kind. (In a net with both kinds the larger one decides.)

# %% tags=["solution:c"]
def thresholds(X, y):
    """The decays above which a net of zeros is stable. X: (n, L, d); y: (n,). Returns {"mean": number, "recent": number}."""
    ### BEGIN SOLUTION
    pull = y / (1 + np.exp(y * <<offset>>)) / len(y)
    late = <<ratio>> ** np.arange(X.shape[1])
    found = {}
    for kind, weights in (("mean", np.ones(len(late))), ("recent", late)):
        mixed = np.einsum("nld,l->nd", X, weights / weights.sum())
        found[kind] = np.linalg.norm(pull @ mixed) / np.sqrt(<<alpha>>)
    return found
    ### END SOLUTION

# %% tags=["test:c"]
import torch


def least_curvature(kind, tokens, labels, decay):
    """The least eigenvalue of the Hessian of Q at zero, by autograd, for one head of a kind."""
    X, y = torch.as_tensor(tokens), torch.as_tensor(labels)
    d, place = X.shape[2], torch.arange(1, X.shape[1] + 1, dtype=X.dtype)

    def objective(flat):
        q, k, v, w = flat[:d], flat[d : 2 * d], flat[2 * d : 3 * d], flat[3 * d]
        scores = (X[:, -1] @ q)[:, None] * (X @ k)
        if kind == "recent":
            scores = scores + place * np.log(<<ratio>>)
        f = <<offset>> + w * (scores.softmax(dim=1) * (X @ v)).sum(dim=1)
        squares = q @ q + k @ k + <<alpha>> * v @ v + w * w
        return torch.log(1 + torch.exp(-y * f)).mean() + decay / 2 * squares

    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(objective, torch.zeros(3 * d + 1, dtype=X.dtype)))[0]


rng = np.random.default_rng(7)
tokens, labels = rng.normal(size=(6, 4, 3)), np.array([1.0, -1, 1, 1, -1, -1])
found = thresholds(tokens, labels)
check("both thresholds are numbers greater than zero", [1, 1], [found["mean"] > 0, found["recent"] > 0],
      "The pull on a pair v, w has a length, whatever the signs of the labels.")
why = {
    "mean": "The Hessian at zero has a direction with no curvature exactly at the threshold. What multiplies v and w there? "
            "The slope of the loss is taken at f = offset, and the two decays stand on the diagonal.",
    "recent": "As for the mean, but attention at zero is not uniform: which weights does the softmax have where q = 0?",
}
for kind in ("mean", "recent"):
    curvature = least_curvature(kind, tokens, labels, found[kind])
    check(f"{kind}: the least curvature of zero vanishes at the threshold", 0.0, curvature, why[kind])
same = thresholds(np.repeat(tokens[:, :1], 4, axis=1), labels)
check("where all tokens are alike both kinds are one", same["mean"], same["recent"],
      "The weights of a head have the sum one, whatever its kind.", rel=1e-4)

# %% [markdown]
# ## d. The end of the branch (<<points:d>> points)
#
# Back to chains, many of them. A net of $N$ chains of $p$ numbers each puts out $f_i = c_iu$ on a sample with the number $c_i$, where $u$ is the *mean* over the chains of their products. Labels $y_i = \pm1$ are not all as the sign of $c_i$, the loss is logistic, and a particle has the learning rate $N$, as in the chapter:
#
# $$\mathcal Q = \frac1n\sum_{i=1}^n\log(1 + e^{-y_ic_iu}) + \frac\lambda{2N}\sum_\theta|\theta|^2, \qquad \dot\theta = -N\,\frac{\partial\mathcal Q}{\partial\theta}, \qquad \theta = (a_1, \dots, a_p) .$$
#
# For every $N$ there is a decay above which nothing but zero is at rest, *from whatever start*. There is no closed form for it, so measure it: write `ends(factors, counts, c, y)`, with $p$, an array of numbers of chains $N$ and the data, arrays of the shape (n,). It returns an array with that decay for each $N$, to within 2 %.
#
# You choose the starts, the method and the steps; a call may take 60 seconds, and far less is possible. All $c_iy_i$ but one are positive; nets at rest then have outputs $u$ between 0 and 5. Two things to think about before you code: which of all starts has the cheapest product, and how long does a flow need to decide when the decay is close to the end?
#
# Then look at your ends on logarithmic axes: they are a power of $N$. Which one, for $p = 3, 4, 5$? For $p = 4$, two factors for the value path and two for attention, you have met it in the chapter.

# %% tags=["solution:d"]
def ends(factors, counts, c, y):
    """The largest decays at which more than zero can be at rest. factors: p; counts: N, (K,); c, y: (n,). Returns (K,)."""
    ### BEGIN SOLUTION
    counts, margin = np.asarray(counts, dtype=float), (c * y)[:, None]

    def alive(decay):
        """Whether one chain that starts high, all others at zero, lives: steps of at most 5 %, in units of the decay."""
        size = (5 * counts) ** (1 / factors)
        for _ in range(2000):
            slope = (margin / (1 + np.exp(margin * size**factors / counts))).mean(axis=0)
            size = size * np.exp(0.05 * np.clip(size ** (factors - 2) * slope / decay - 1, -1, 1))
        return size**factors / counts > 1e-4

    low, high = 1e-3 * np.ones(len(counts)), 10 * counts
    for _ in range(12):
        middle = np.sqrt(low * high)
        lives = alive(middle)
        low, high = np.where(lives, middle, low), np.where(lives, high, middle)
    return np.sqrt(low * high)
    ### END SOLUTION

# %% tags=["test:d"]
def lives(factors, count, decay, c, y, rng, starts=12):
    """Whether any of some random starts, with chains of very different sizes, is still there after a long flow."""
    sizes = (np.abs(c).max() * 4 * count * rng.dirichlet(np.full(count, 0.15), starts)) ** (1 / factors)
    now = np.repeat(sizes[:, :, None], factors, axis=2) * rng.uniform(0.97, 1.03, (starts, count, factors))
    for _ in range(4000):
        product = now.prod(axis=2)
        margin = (c * y)[:, None] * product.mean(axis=1)
        slope = ((c * y)[:, None] / (1 + np.exp(margin))).mean(axis=0)[:, None, None]
        now = now * np.exp(0.04 * np.clip(slope * product[:, :, None] / now**2 / decay - 1, -1, 1))
    return bool((now.prod(axis=2).mean(axis=1) > 1e-3).any())


rng = np.random.default_rng(11)
places, labels = np.array([1.4, -0.7, 1.1, 0.5, -1.8, 0.9]), np.array([1.0, -1, 1, -1, -1, 1])
found = ends(factors=3, counts=np.array([1.0, 4.0]), c=places, y=labels)
for count, at in zip((1, 4), found, strict=True):
    check(f"N = {count}: some random start lives at 0.95 of the end", 1, lives(3, count, 0.95 * at, places, labels, rng),
          "All of them died: your end is too high. Is the factor N of the learning rate there, and the mean over chains?")
    check(f"N = {count}: all random starts die at 1.05 of the end", 0, lives(3, count, 1.05 * at, places, labels, rng),
          "One lives, so that your end is too low. Was the product shared out among many chains? Did it start high enough?")
double = ends(factors=3, counts=np.array([2.0]), c=2 * places, y=labels)
half = ends(factors=3, counts=np.array([2.0]), c=places, y=labels)
check("c twice as large: the end grows by 2 to the power 2/p", 2 ** (2 / 3), double[0] / half[0],
      "Only the product of c and u counts: with c twice as large half the product does, at another cost.", rel=0.03)

# %% [markdown]
# ## e. Break one balance, keep another (<<points:e>> points)
#
# A chain of two numbers $a$ and $b$, with decays and learning rates of your choice:
#
# $$\dot a = -r_A\Big(\frac{\partial\mathcal L}{\partial a} + \lambda_Aa\Big), \qquad \dot b = -r_B\Big(\frac{\partial\mathcal L}{\partial b} + \lambda_Bb\Big), \qquad \mathcal L = \mathcal L(ab) .$$
#
# The chapter says that $a^2 - b^2$ is forgotten. Break that, and keep the rest. Write `choose(rate, edge, skew)`, which returns a dict of five numbers between 0.001 and 1000, under `"r_A"`, `"r_B"`, `"lambda_A"`, `"lambda_B"` and `"weight"`, such that
#
# * *broken*: wherever the flow rests with $ab \ne 0$, it is $a^2 = \mathtt{skew}\cdot b^2$;
# * *kept*: the quantity $a^2 - \mathtt{weight}\cdot b^2$ is $e^{-\mathtt{rate}\cdot t}$ times its start, for every loss and every start;
# * *kept*: zero is stable if and only if $|\mathcal L'(0)| < \mathtt{edge}$, with the slope $\mathcal L'$ by the product.
#
# The three numbers are positive, and skew is not 1.

# %% tags=["solution:e"]
def choose(rate, edge, skew):
    """Learning rates, decays and a weight. Returns a dict with r_A, r_B, lambda_A, lambda_B and weight."""
    ### BEGIN SOLUTION
    lambda_a, lambda_b = edge / np.sqrt(skew), edge * np.sqrt(skew)  # their product is edge^2, their ratio skew
    r_a, r_b = rate / (2 * lambda_a), rate / (2 * lambda_b)  # both factors shrink at one rate
    return {"r_A": r_a, "r_B": r_b, "lambda_A": lambda_a, "lambda_B": lambda_b, "weight": r_a / r_b}
    ### END SOLUTION

# %% tags=["test:e"]
wish = {"rate": 0.7, "edge": 0.5, "skew": 3.0}
chosen = choose(**wish)
rates, decays = ([chosen[f"{name}_{at}"] for at in "AB"] for name in ("r", "lambda"))


def pair(slope):
    """The flow of part e, where slope(u) is the derivative of the loss by the product u."""
    return lambda now: -np.array(rates) * (now[::-1] * slope(now[0] * now[1]) + np.array(decays) * now)


for name, slope in {"(u - 2)^2/2": lambda u: u - 2, "cos(3u)": lambda u: -3 * np.sin(3 * u)}.items():
    path = [march(pair(slope), (1.3, -0.4), time) for time in (0.0, 0.5)]
    size = [each[0] ** 2 - chosen["weight"] * each[1] ** 2 for each in path]
    check(f"loss {name}: the weighted balance is forgotten at the rate", np.exp(-wish["rate"] * 0.5), size[1] / size[0],
          "Write its derivative. The slope of the loss has to cancel: that is the weight. What is left has to be the balance.",
          rel=1e-4)
end = march(pair(lambda u: u - 2), (1.0, 1.0), time=60)
check("at rest a^2 is skew times b^2", wish["skew"], end[0] ** 2 / end[1] ** 2,
      "At rest a dL/da = b dL/db, as in part a, so that decay times square is the same for both.", rel=1e-4)


def grows(slope):
    """Whether a small start grows at late times, where the loss has this slope everywhere."""
    early, late = (march(pair(lambda u: slope), (1e-3, 1e-3), time, step=0.05) for time in (60, 80))
    return np.linalg.norm(late) > np.linalg.norm(early)


check("a small start dies just below the edge and grows just above", [0, 1],
      [grows(-share * wish["edge"]) for share in (0.98, 1.02)],
      "Near zero the flow is linear: at which slope is its matrix singular? Learning rates do not matter for that.")

# %% [markdown]
# ## f. A theorem and a net of zeros (<<points:f>> points)
#
# A colleague trains the net of part d with $p = 3$ and the loss $\frac12(f - y)^2$, from starts in which all numbers are about $\sigma$, for a small decay. She writes: "The theorem of the chapter promises that wide nets with little decay end at a risk of at most $C\lambda + \epsilon$. All of mine ended at zero, also the widest. At the same time, your part d says that something lives up to a decay that *grows* with $N$. So either the theorem is wrong or part d is."
#
# Answer her in 100 to 200 words. One half of a point each for:
#
# 1. why zero is stable at every $\lambda > 0$ here, and not so for two factors;
# 2. how large $\sigma$ has to be for a start with all numbers alike to grow at first, as a formula in $\lambda$ and the mean $\langle yc\rangle$ over the samples, which is the pull on a product at zero, and what follows for a fixed $\sigma$ as $\lambda \to 0$;
# 3. why a rest that exists, as in part d, need not be one that her flow reaches, and so contradicts neither her runs nor the theorem;
# 4. one run that would decide whether the size of her start is to blame, with the result that you expect.

# %% [markdown] tags=["written:f"]
# (1) The product of three factors has no part of second order at zero, so that the Hessian of $N\mathcal Q$ there is $\lambda$ times the identity: every start that is small enough dies. With two factors there is one, of the size of the pull, and it wins against a small decay.
#
# (2) A start with all numbers alike has $\dot\sigma = \sigma^2\langle yc\rangle - \lambda\sigma$ as long as the output is small: it grows if $\sigma > \lambda/\langle yc\rangle$. For fixed $\sigma$ this holds once $\lambda < \sigma\langle yc\rangle$. So starts must not shrink with the decay: the theorem lets the decay be small *for a given* law of the start.
#
# (3) Part d says which rests exist for the best start, with the whole product in one chain. A flow from chains that are alike keeps them alike, so that it has a lower end, which does not depend on $N$; and a small start lies in the basin of zero even where the upper branch exists.
#
# (4) Keep all as it is and lower the decay at fixed $\sigma$, or raise $\sigma$, through $\lambda = \sigma\langle yc\rangle$: I expect nets to die on one side and to live on the other, at all widths. If they still died far below it, the size of the start would not be the reason.

# %% [markdown]
# ## Where to go on
#
# The power of part d goes to one as $p$ grows. What would a chain do whose number of factors is itself large, and is there a limit of the ends, in good units? And a head of the chapter has four factors, but two of them stand inside a softmax: `attnflow.meanfield.hysteresis` follows its branch to where your power stops.
