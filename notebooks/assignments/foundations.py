# %% [markdown]
# # What training keeps, what it forgets
#
# Chapter 1 found numbers that training never changes. Here you find such laws where the chapter has none ready: for weights that learn at
# different rates, for optimisers that bend their slopes, for a model of which you see nothing but gradients. Then you measure how fast real steps forget
# a law, and choose settings that keep one law and break another.
#
# **You will learn** to
#
# * derive the law of a flow that is not the plain gradient flow (part a),
# * find all quadratic laws of a model from its gradients alone, and tell symmetries that keep something from those that keep nothing (b),
# * say how fast finite steps and momentum make a run forget a law (c and d),
# * choose settings that keep one law and break another, and explain what Adam does to them (e and f).
#
# **It takes** about 90 minutes, with pencil and paper. 20 points: a <<points:a>>, b <<points:b>>, c <<points:c>>, d <<points:d>>, e <<points:e>>, f <<points:f>>.

# %% [markdown]
# ## How it works
#
# Write your answer where the cell says so, and run the test cell below it. A test compares you with something that is not the answer: a limit, a short run, a symmetry.
# What it passes can still be wrong in a case that it does not try. You are graded on fresh inputs, so your functions and expressions have to be right
# for all of them; names, random numbers and precision are yours to choose. The numbers of your copy ($\eta_a = <<rate_a>>$, say) are drawn for your course.
#
# Letters are those of the book: $\mathcal L$ is the loss, $\theta$ all weights together, a dot the derivative by the time $t$ of the flow, and $\eta$ the step of descent, so that $t = j\eta$ after $j$ steps.

# %%
import numpy as np
import sympy as sp

<<check>>

# %% [markdown]
# ## Warm-up (no points)
#
# Two weights learn a product: $\mathcal L = \frac12(ab - 1)^2$, by descent. The flow keeps $a^2 - b^2$, descent nearly so. Copy the cell, change it and answer for yourself:
# by which factor does the drift change when the step is halved? Why is the drift of $a^2 + b^2$ no smaller with a smaller step?
# And which *sign* has the drift of $a^2 - b^2$, from whatever start you try with $a > b$? The chapter does not say; part c does.

# %%
for eta in (0.1, 0.05, 0.025):
    a, b = 1.5, 0.2
    for _ in range(round(5 / eta)):
        error = a * b - 1
        a, b = a - eta * error * b, b - eta * error * a
    print(f"step {eta:5}: a^2 - b^2 moved by {a**2 - b**2 - 2.21:+.5f}, a^2 + b^2 by {a**2 + b**2 - 2.29:+.5f}")

# %% [markdown]
# ## a. Two laws of one net (<<points:a>> points)
#
# A net of two weights $a, b > 0$ sees its data through one number, $u = a^{p}\,b$ with $p = <<power>>$, and the loss is $\mathcal L = \ell(u)$ with any function $\ell$. Both weights
# learn, each at a rate of its own:
#
# $$\dot a = -\eta_a\,\frac{\partial\mathcal L}{\partial a}, \qquad \dot b = -\eta_b\,\frac{\partial\mathcal L}{\partial b}, \qquad \eta_a = <<rate_a>>, \quad \eta_b = <<rate_b>>.$$
#
# 1. This flow keeps one quadratic $a^2 + (\text{a number})\,b^2$, whatever $\ell$ is. Call it `law`.
# 2. Many optimisers *bend* the slope before they use it: large slopes are made smaller than they are, small ones larger. Let the power $\kappa = <<kappa>>$ of its size be used, with its sign left alone:
#
# $$\dot a = -\eta_a\operatorname{sign}\!\Big(\frac{\partial\mathcal L}{\partial a}\Big)\Big|\frac{\partial\mathcal L}{\partial a}\Big|^{\kappa}, \qquad \dot b = -\eta_b\operatorname{sign}\!\Big(\frac{\partial\mathcal L}{\partial b}\Big)\Big|\frac{\partial\mathcal L}{\partial b}\Big|^{\kappa}.$$
#
# At $\kappa = 1$ this is the flow of 1, at $\kappa = 0$ only signs are left. It does not keep `law`; it keeps $a^{\kappa+1} + (\text{another number})\,b^{\kappa+1}$. Call this `law_bent`.
#
# Both are sympy expressions in `a` and `b`, with coefficient 1 in front of the power of $a$. Half of the points each.

# %% tags=["solution:a"]
a, b = sp.symbols("a b", positive=True)
# Define law and law_bent, two expressions in a and b.
### BEGIN SOLUTION
p, eta_a, eta_b, kappa = <<power>>, <<rate_a>>, <<rate_b>>, sp.Rational("<<kappa>>")
law = a**2 - sp.Integer(eta_a) * p / eta_b * b**2
law_bent = a ** (kappa + 1) - eta_a * p**kappa / sp.Integer(eta_b) * b ** (kappa + 1)
### END SOLUTION

# %% tags=["test:a"]
from scipy.integrate import solve_ivp


def followed(power, start, time):
    """Where the flow with bent slopes carries (a, b), for the loss exp(-u): the slopes are exp(-u) times those of u."""

    def velocity(t, weights):
        first, second = weights
        slopes = np.array([<<power>> * first ** (<<power>> - 1) * second, first**<<power>>])
        return np.array([<<rate_a>>, <<rate_b>>]) * (np.exp(-(first**<<power>>) * second) * slopes) ** power

    return solve_ivp(velocity, (0, time), start, rtol=1e-10, atol=1e-12).y[:, -1]


WHY = "differentiate the expression by t, insert both velocities: for which number in front of b does all cancel?"
for name, expression, power in (("law", law, 1.0), ("law_bent", law_bent, float(sp.Rational("<<kappa>>")))):
    value = sp.lambdify([a, b], expression)
    alone = 1.5 ** (power + 1)
    check(f"{name}: without b it is the power of a alone", alone, value(1.5, 0.0), "that power has coefficient 1")
    for start in ((0.6, 1.1), (1.2, 0.3)):
        end = followed(power, start, 0.5)
        why = f"the flow went on to {np.round(end, 3)}. {WHY}"
        check(f"{name}: kept along the flow from {start}", value(*start), value(*end), why)

# %% [markdown]
# Look at $\kappa \to 0$, where only signs are left: which law do you get, and does it still feel the power $p$? You can use that in part f.

# %% [markdown]
# ## b. A detector of laws (<<points:b>> points)
#
# Suppose you are given a model whose formula nobody tells you. All you have are $m$ random points $\theta$ in its space of $P$ weights and, at each of them, the gradient of a loss; each point has other data and another loss. Which
# quadratics does training keep? The chapter goes from a symmetry to its law. You go the other way, by linear algebra: $\theta^\top\Gamma\,\theta$ with a symmetric matrix $\Gamma$ is kept by the flow
#
# $$\dot\theta_i = -r_i\,\frac{\partial\mathcal L}{\partial\theta_i}, \qquad \text{with a rate } r_i > 0 \text{ for each weight},$$
#
# exactly if its derivative by time is zero at every point and for every loss. That is one linear equation for the entries of $\Gamma$ at each point.
#
# Write `quadratic_laws(theta, slope, rates)`, which returns a basis of all such symmetric $\Gamma$ (in the code `G`). It need not be orthonormal. There are more points than unknown entries. Take a singular value for zero where it is below $10^{-4}$ of the largest one.
# 0.4 of the points are for a product of two matrices at equal rates, 0.3 for one rate a matrix, and 0.3 for one rate an entry together with a model that has no law; the last two count only where the first is right.


# %% tags=["solution:b"]
def quadratic_laws(theta, slope, rates):
    """Return a basis of the symmetric G with theta' G theta kept by the flow: an array (n, P, P), n = 0 where there is none.

    theta: (m, P), the points; slope: (m, P), the gradient of a loss at each of them; rates: (P,).
    """
    ### BEGIN SOLUTION
    size = theta.shape[1]
    velocity = rates * slope
    rows, columns = np.triu_indices(size)
    matrices = np.zeros((len(rows), size, size))
    matrices[np.arange(len(rows)), rows, columns] = 1.0
    matrices = matrices + matrices.swapaxes(1, 2)
    equations = np.einsum("mi,kij,mj->mk", theta, matrices, velocity)
    _, values, directions = np.linalg.svd(equations, full_matrices=False)
    kept = directions[values < 1e-4 * values[0]]
    return np.einsum("nk,kij->nij", kept, matrices)
    ### END SOLUTION


# %% tags=["test:b"]
random = np.random.default_rng(1)


def neurons(rates, time=0.3):
    """Points and slopes of a linear neuron o (v_1 x_1 + v_2 x_2), and both ends of a short flow of it."""

    def slopes(theta, force):
        return np.concatenate([theta[..., 2:] * force, (theta[..., :2] * force).sum(axis=-1, keepdims=True)], axis=-1)

    theta, force = random.normal(size=(60, 3)), random.normal(size=(60, 2))
    start = np.array([0.4, -0.7, 1.1])

    def velocity(t, now):
        return -rates * slopes(now, np.array([1.0, np.cos(3 * t)]))

    end = solve_ivp(velocity, (0, time), start, rtol=1e-10, atol=1e-12).y[:, -1]
    return theta, slopes(theta, force), start, end


equal = np.ones(3)
theta, slope, start, end = neurons(equal)
found = quadratic_laws(theta, slope, equal)
check("a linear neuron: one law", 1.0, len(found), "the chapter counts one law for o (v_1 x_1 + v_2 x_2)")
why = "the unknowns are the entries on and above the diagonal; each of the others is one of them once more"
check("its matrix is symmetric", found[0].T, found[0], why)
law_of_chapter = np.diag([1, 1, -1]) * found[0][0, 0]
why = "|v|^2 - o^2 is diag(1, 1, -1). An entry off the diagonal counts twice in theta' G theta, one on it once"
check("it is the law of the chapter, up to a factor", law_of_chapter, found[0], why)

rates = np.array([0.5, 2.0, 1.3])
theta, slope, start, end = neurons(rates)
found = quadratic_laws(theta, slope, rates)
check("at unequal rates: one law", 1.0, len(found), "the loss has the same symmetry as before, but another velocity")
why = "the derivative of theta' G theta is 2 theta' G times the velocity, of which each entry has its own rate"
check("which a short flow keeps", start @ found[0] @ start, end @ found[0] @ end, why)

points, force = random.normal(size=(40, 2)), random.normal(size=(40, 1))
found = np.asarray(quadratic_laws(points, force * points, np.ones(2)))
why = "rotations leave this loss alone, but their generator G is antisymmetric, so that theta' G theta is zero: no law"
check("a loss of |theta| alone: no law", 0.0, len(found), why)

# %% [markdown]
# Try it on more than the tests do: on a product $AB^\top$ in which each *column* of $A$ and $B$ has a rate of its own, for example. You need to know in part e what is left of the law, and in part f why.

# %% [markdown]
# ## c. What finite steps forget (<<points:c>> points)
#
# Take the plain product $u = ab$, so $p = 1$, and the loss $\mathcal L = \frac12(ab - y)^2$ with the target $y = <<target>>$. Descent with step $\eta$ and the rates of part a is
#
# $$a \leftarrow a - \eta\,\eta_a\frac{\partial\mathcal L}{\partial a}, \qquad b \leftarrow b - \eta\,\eta_b\frac{\partial\mathcal L}{\partial b}, \qquad \eta_a = <<rate_a>>, \quad \eta_b = <<rate_b>>,$$
#
# both slopes taken before the step. The flow keeps $C = \eta_b\,a^2 - \eta_a\,b^2$ (the calculation of part a says so, with $p = 1$). Descent does not, quite.
#
# 1. By which fraction does *one* step change it? `change` is $(C_{\text{after}} - C_{\text{before}})/C_{\text{before}}$, exactly and at any $\eta$: an expression in `a`, `b` and `eta`. It comes out simpler than you would fear. (0.4 of the points)
# 2. Train from $a = a_0 > 0$, $b = 0$ to the end, with small steps. The changes of all steps multiply up to $C_{\text{end}}/C_{\text{start}} \approx e^{-I\eta}$ for $\eta \to 0$. `exponent` is $I$, an expression in `a_0`. (0.6 of the points)
#
# For 2, turn the sum over steps into an integral over time, and that into one over $u$: the chapter's trick, a square of $\eta_b a^2 + \eta_a b^2$ completed with the help of $C$, gives you $\dot u$ as a function of $u$. sympy can do the integral, and so can you.

# %% tags=["solution:c"]
a, b, eta, a_0 = sp.symbols("a b eta a_0", positive=True)
# Define change, an expression in a, b and eta, and exponent, an expression in a_0.
### BEGIN SOLUTION
y, eta_a, eta_b = sp.Rational("<<target>>"), sp.Integer(<<rate_a>>), sp.Integer(<<rate_b>>)
change = -(eta**2) * eta_a * eta_b * (a * b - y) ** 2
C, slope_u = eta_b * a_0**2, 2 * sp.sqrt(eta_a * eta_b)
time_part = y / slope_u * sp.asinh(slope_u * y / C)
exponent = eta_a * eta_b * (time_part - (sp.sqrt(C**2 + slope_u**2 * y**2) - C) / slope_u**2)
### END SOLUTION


# %% tags=["test:c"]
def descended(first, second, step, steps):
    """Both weights after some steps of descent, and C before and after."""

    def balance():
        return <<rate_b>> * first**2 - <<rate_a>> * second**2

    before = balance()
    for _ in range(steps):
        error = first * second - <<target>>
        first, second = first - step * <<rate_a>> * error * second, second - step * <<rate_b>> * error * first
    return before, balance()


for first, second, step in ((1.3, 0.2, 0.1), (0.4, 1.7, 0.03)):
    before, after = descended(first, second, step, 1)
    predicted = float(change.subs({a: first, b: second, eta: step}))
    why = "insert the new a and b into C: what is linear in eta cancels, and the rest has C as a factor"
    check(f"one step of {step} from ({first}, {second})", (after - before) / before, predicted, why)
for size in (0.8, 1.5):
    measured = []
    for step in (0.002, 0.001):
        before, after = descended(size, 0.0, step, round(12 / step))
        measured.append(-np.log(after / before) / step)
    predicted = float(sp.N(exponent.subs(a_0, size).doit()))
    why = "runs with small steps say otherwise. Each step multiplies C by 1 + change, and adds eta to t; mind the signs, the "
    why += "rates in dt = du/..., and that C is eta_b a_0^2 here"
    check(f"all steps from ({size}, 0)", 2 * measured[1] - measured[0], predicted, why, rel=2e-3)
fast = float(sp.N(exponent.subs(a_0, 1e4).doit()))
check("from a huge a_0", 0.0, fast, "such a run is over at once, and has no time to forget", rel=1e-4)

# %% [markdown]
# So descent has a hidden decay. It makes every imbalance smaller, never larger as long as the steps are not huge, at a speed that is proportional to the loss: it forgets while it learns, and stops when there is nothing left to learn.
# Weight decay, as the chapter has it, forgets at a constant speed for ever.

# %% [markdown]
# ## d. What momentum forgets (<<points:d>> points)
#
# Momentum with a factor $0 \le \rho < 1$ starts from velocities $v_a = v_b = 0$ and repeats, on the same net and loss as in part c,
#
# $$v_a \leftarrow \rho\,v_a + \frac{\partial\mathcal L}{\partial a}, \quad v_b \leftarrow \rho\,v_b + \frac{\partial\mathcal L}{\partial b}, \quad a \leftarrow a - \eta\,\eta_a v_a, \quad b \leftarrow b - \eta\,\eta_b v_b.$$
#
# The chapter says that with $\rho$ fixed and $\eta \to 0$ it follows the flow, on the clock $t/(1-\rho)$, just as descent with the step $\eta/(1-\rho)$ does. So you would expect it to forget what that descent forgets. Does it? Measure.
#
# Write `forgetting(a_0, b_0, rho)`: train from $a = a_0$, $b = b_0$ until nothing moves any more, and return the limit of $-\frac{1}{\eta}\log\frac{C_{\text{end}}}{C_{\text{start}}}$ for $\eta \to 0$, to one per cent. Here $\eta$ is the step in the lines above, not $\eta/(1-\rho)$.
# You are asked at starts with $1 \le a_0 \le 1.5$ and $0.1 \le b_0 \le 0.4$, and for $\rho$ up to $0.6$; 60 seconds an answer are plenty. 0.4 of the points are for $\rho = 0$, 0.6 for momentum.
#
# Two things to think of: what is left of the error if you measure at $\eta$ and at $\eta/2$ and combine both? And how small has $\eta$ to be when $\rho$ is large?


# %% tags=["solution:d"]
def forgetting(a_0, b_0, rho):
    """Return the limit of -log(C_end / C_start) / eta for small steps eta, a number.

    a_0, b_0: the start; rho: the factor of momentum.
    """
    ### BEGIN SOLUTION
    y, eta_a, eta_b = <<target>>, <<rate_a>>, <<rate_b>>

    def measured(eta):
        a, b, v_a, v_b = a_0, b_0, 0.0, 0.0
        for _ in range(round(12 * (1 - rho) / eta)):
            error = a * b - y
            v_a, v_b = rho * v_a + error * b, rho * v_b + error * a
            a, b = a - eta * eta_a * v_a, b - eta * eta_b * v_b
        return -np.log((eta_b * a**2 - eta_a * b**2) / (eta_b * a_0**2 - eta_a * b_0**2)) / eta

    eta = 0.01 * (1 - rho) ** 2 / (1 + rho)
    return 2 * measured(eta / 2) - measured(eta)
    ### END SOLUTION


# %% tags=["test:d"]
before, after = descended(1.2, 0.3, 2e-4, 60_000)
plain = forgetting(1.2, 0.3, 0.0)
why = "descent with a step of 0.0002 says otherwise. Does your run reach its end? Do you divide by eta? Is C that of part c?"
check("without momentum", -np.log(after / before) / 2e-4, plain, why, rel=0.01)
why = "at rho near 0 the run has to become that of descent"
check("with very little momentum", 1.0, forgetting(1.2, 0.3, 0.001) / plain, why, rel=0.01)
why = (
    "momentum uses each slope many times over. Do the velocities start at zero, and become rho v + slope in each step?"
)
check("with momentum it is more", 1.0, float(forgetting(1.2, 0.3, 0.5) > 1.5 * plain), why)
for rho in (0.0, 0.2, 0.4, 0.6):
    more = forgetting(1.2, 0.3, rho) / plain
    print(
        f"rho {rho}: {more:6.3f} times descent with step eta, {more * (1 - rho):6.3f} times descent with step eta/(1 - rho)"
    )

# %% [markdown]
# Can you guess the formula behind the last column? (No points. To prove it, write $\theta_j$ for the weights after $j$ steps and $v_j$ for the velocities, and ask how
# $\theta_j^\top\Gamma\,v_{j+1}$ goes on from step to step: the new slope drops out of it.)

# %% [markdown]
# ## e. Keep this, break that (<<points:e>> points)
#
# Now the attention layer of the chapter, with weights $W_Q, W_K, W_V$ of shape $(d, k)$ and $W_O$ of shape $(k, o)$. You choose how it learns, by five settings:
#
# * each *column* $j$ of $W_Q$ and of $W_K$ has a rate of its own, $\eta_{Q,j}$ and $\eta_{K,j}$; these two matrices have no weight decay;
# * $W_V$ and $W_O$ have one rate each, $\eta_V$ and $\eta_O$, and weight decay that stands *in the loss*: $\frac12\lambda_V\|W_V\|^2 + \frac12\lambda_O\|W_O\|^2$ is added to it. So for example $\dot W_V = -\eta_V\,(G_{W_V} + \lambda_V W_V)$.
#
# For given numbers $x, z, m, n, r > 0$ choose settings such that, for any data and from any start,
#
# 1. **keep**: the $k$ *diagonal* entries of $x\,W_Q^\top W_Q - z\,W_K^\top W_K$ are kept (0.35 of the points);
# 2. **break**: none of its entries off the diagonal is kept, where to be on the safe side any two of your rates $\eta_{Q,j}$ differ by a factor of at least 1.5 (0.3, only together with 1);
# 3. **forget**: the whole matrix $E = m\,W_V^\top W_V - n\,W_O W_O^\top$ shrinks as $E(t) = e^{-2rt}E(0)$ (0.35).
#
# Write `settings(k, x, z, m, n, r)`, which returns a dict with the entries `rate_Q` and `rate_K` ($k$ numbers each), `rate_V`, `rate_O`, `decay_V` and `decay_O` (a number each). Rates have to lie between 0.05 and 20, decays between 0 and 20.
# You are asked with $k$ of 2 and 3, with whole numbers $x \ne z$ and $m \ne n$ from 1 to 5, and with $0.2 \le r \le 0.8$. There is more than one right answer.


# %% tags=["solution:e"]
def settings(k, x, z, m, n, r):
    """Return the settings that keep, break and forget.

    A dict of rate_Q and rate_K, of k numbers each, and of the numbers rate_V, rate_O, decay_V, decay_O.
    """
    ### BEGIN SOLUTION
    columns = 0.5 * 1.6 ** np.arange(k)
    rate_v, rate_o = 1.0, m / n
    return {
        "rate_Q": columns,
        "rate_K": columns * x / z,
        "rate_V": rate_v,
        "rate_O": rate_o,
        "decay_V": r / rate_v,
        "decay_O": r / rate_o,
    }
    ### END SOLUTION


# %% tags=["test:e"]
import torch

from attnflow import flow, runs
from attnflow.foundations import model, task


def trained(chosen, k, x, z, m, n, time=1.0):
    """Both quadratics, x W_Q'W_Q - z W_K'W_K and E, before and after a short accurate run of the layer."""
    layer = model.Layer(d=4, k=k, o=3)
    inputs = task.tokens(runs.streams([1], "data"), samples=8, length=4, d=4)
    targets = task.teacher(runs.streams([1], "teacher"), layer, inputs)
    start = model.init(runs.streams([1], "weights"), layer, scale=1.5)
    decays = {f"W_{name}": float(chosen[f"decay_{name}"]) for name in "VO"}
    rates = {f"W_{name}": torch.as_tensor(np.asarray(chosen[f"rate_{name}"], dtype=float)) for name in "QKVO"}
    field = flow.at_rates(flow.decayed(model.field(inputs, targets, layer), decays), rates)
    end = flow.reference(field, start, [0.0, time], rtol=1e-8, atol=1e-10)

    def quadratics(query, key, value, out):
        return x * query.T @ query - z * key.T @ key, m * value.T @ value - n * out @ out.T

    ends = [(start, 0), (end, (-1, 0))]
    return [quadratics(*(state[f"W_{name}"][place].numpy() for name in "QKVO")) for state, place in ends]


for wish in ({"k": 2, "x": 3, "z": 1, "m": 2, "n": 5}, {"k": 3, "x": 2, "z": 5, "m": 4, "n": 1}):
    chosen = settings(**wish, r=0.4)
    numbers = np.hstack([np.asarray(chosen[f"rate_{name}"], dtype=float) for name in "QKVO"])
    decays = np.array([chosen["decay_V"], chosen["decay_O"]], dtype=float)
    allowed = (numbers.min() >= 0.05) & (numbers.max() <= 20) & (decays.min() >= 0) & (decays.max() <= 20)
    check(
        f"{wish}: settings in their bounds", 1.0, float(allowed), "rates from 0.05 to 20, decays from 0 to 20, no NaN"
    )
    (before, E_before), (after, E_after) = trained(chosen, **wish)
    diagonal = np.eye(wish["k"], dtype=bool)
    why = "how fast do the squared lengths of column j of W_Q and of W_K move? At which rates do x and z times them cancel?"
    check("the diagonal is kept", before[diagonal], after[diagonal], why, rel=1e-5)
    moved = np.abs(after - before)[~diagonal].min() > 1e-4
    check(
        "nothing else of it is kept",
        1.0,
        float(moved),
        "an entry off the diagonal did not move: do two columns share a rate?",
    )
    why = "without decay E has to be kept, which fixes the ratio of both rates. Then both squares have to shrink equally fast"
    check("E shrinks as it should", np.exp(-2 * 0.4 * 1.0) * E_before, E_after, why, rel=1e-5)

# %% [markdown]
# ## f. What Adam does to these laws (<<points:f>> points)
#
# Adam divides each entry of the gradient by a running root mean square of itself, plus a small number $\epsilon$. In the chapter the query-key balance moves under Adam as much as its own terms do, however small the step is.
# Explain that, in about 15 lines, with formulas where they help. You get
#
# * one point for **the step of the proof that fails**: which equation makes the balance a law of the gradient flow, which one would have to hold for Adam, and why smaller steps do not mend it;
# * one point for **divisors that stand still**: suppose they are frozen at some positive values, so that each entry learns at its own constant rate, as in the last question of part b. Which of the $k(k+1)/2$ independent entries of a balance still have a successor that is kept, and which one? Why do these not survive either when the divisors move?
# * one point for **a prediction that could fail**: *either* name a quantity that Adam should keep after all, in the limit of small steps, for the two weights of $u = ab$ (think of $\kappa \to 0$), and why there is nothing like it for matrices; *or* name a setting of Adam that brings the balance back. Say which measurement would prove you wrong.

# %% [markdown] tags=["written:f"]
# **The step that fails.** For a symmetry $\theta \mapsto e^{s\Gamma}\theta$ of the loss, $\theta^\top\Gamma\,\nabla\mathcal L = 0$ at every $\theta$, and along the gradient flow the derivative of $\theta^\top\Gamma\,\theta$ is $-2\,\theta^\top\Gamma\,\nabla\mathcal L = 0$.
# Along Adam the velocity is $-R\,\nabla\mathcal L$, with a diagonal matrix $R$ of inverse divisors, and what would have to vanish is $\theta^\top\Gamma R\,\nabla\mathcal L$. The symmetry does not say so, unless $R$ is a multiple of the identity on the factors of the product.
# The divisors have the size of the slopes, whatever $\eta$ is. So for $\eta \to 0$ Adam approaches a path with $R$ in its velocity, and the drift of the balance tends to what it is along that path, not to zero.
#
# **Divisors that stand still.** With a constant $R$, $\theta^\top\Gamma\,\theta$ is kept if $\Gamma R$ is the generator of a symmetry, so $\Gamma = \Gamma'R^{-1}$ where $\Gamma'$ multiplies $A$ by a matrix $P$ and $B$ by $-P^\top$ from the right. That is symmetric, for rates in general position, only if $P$ is diagonal.
# So the $k$ diagonal entries have a successor, $\sum_i A_{ij}^2/r_{ij} - \sum_i B_{ij}^2/r'_{ij}$ with the rates $r$ of $A$ and $r'$ of $B$, and those off the diagonal have none; the detector finds $k$ laws. If the rates move, the derivative of the successor has the terms $A_{ij}^2\,\frac{d}{dt}(1/r_{ij})$ and the like besides, and nothing cancels these.
#
# **A prediction.** Either: for $\kappa \to 0$ the law of part a is that of signs, and for $u = ab$ at equal rates it is $|a| - |b|$. When the step is so small that the running means forget within a time in which the slopes hardly change, Adam moves each weight by the sign of its slope. So the drift of $|a| - |b|$ should go to zero
# with the step, and that of $a^2 - b^2$ should not; a drift of $|a| - |b|$ that does not depend on the step would prove this wrong. (It is so: from $(1.5, 0.2)$ to $y = 1$, steps of $10^{-4}$ and $10^{-5}$ leave $0.050$ and $0.008$ of the one, and $1.0$ and $0.9$ of the other.)
# In a matrix the slope of an entry of $A$ is a sum over entries of $B$, the sign of a sum is not the sum of signs, and nothing cancels. Or: with $\epsilon$ far above all slopes, $R$ is nearly $1/\epsilon$ times the identity, and Adam is momentum with the step $\eta/\epsilon$. The drift of the balance over a fixed $\eta/\epsilon$ times the number of steps should then fall at first order in that step; if it stays, the explanation is wrong.
