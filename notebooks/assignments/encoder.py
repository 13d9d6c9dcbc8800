# %% [markdown]
# # Another neuron, leaning queries, a mask
#
# Assignment to chapter 3, *Scaling and initialisation in a shallow encoder*. It takes about 90 minutes.
#
# The chapter has one head, ReLU neurons without a bias, queries and keys that are drawn independently, and attention without a mask. Here you change these four choices, one after the other, and find out which
# statements of the chapter move with them. Two surprises wait at the end: one more reason to divide logits by the width, and two different sentences that a very wide net can never tell apart.
#
# **After it you can**
#
# * derive the balance of a neuron from how it scales, whatever its activation and its learning rates;
# * carry the limit of the tangent kernel over to another neuron and see what its kink does;
# * find by counting and by measuring which scale of the logits keeps attention random;
# * say what a wide net with uniform attention cannot learn, and build data that shows it.
#
# **Points**, 20 in all: a <<points:a>>, b <<points:b>>, c <<points:c>>, d <<points:d>>, e <<points:e>>, f <<points:f>>. The test after each part compares your answer with something that you can check yourself, a limit, a simulation, a symmetry; it does not
# hold the answer. Points are given later, at other inputs than those of the tests. Numbers in your copy may differ from those of your neighbour.

# %% [markdown]
# ## The net
#
# A sample is a matrix $X$ of $L$ tokens, its rows $x_i$, of width $d$. Attention mixes them to $\tilde X = SX$ with rows $\tilde x_i$, where
#
# $$S = \operatorname{softmax}(\tau_0\,XW_QW_K^\top X^\top),\qquad \tau_0 = k^{-s}.$$
#
# The softmax goes along rows, $W_Q$ and $W_K$ are $(d, k)$, and $s$ is the **scaling exponent**. A layer of $k$ neurons with activation $\phi$ follows, averaged over the tokens:
#
# $$f(X) = \tau_1\,\frac1L\sum_{i=1}^L\sum_{j=1}^k o_j\,\phi(v_j\cdot\tilde x_i).$$
#
# Neuron $j$ has the incoming weights $v_j$, its column of $W_V$, and the output weight $o_j$, its entry of $W_O$. All matrices are trained on $\mathcal L = \frac12\sum_m r_m^2$, with the residuals $r_m = f(X_m) - y_m$ of the samples. In parts b, c and e
# all weights of $W_V$ and $W_O$ are drawn from $N(0, 1)$ and $\tau_1 = k^{-1/2}$: the NTK initialisation.

# %%
import numpy as np
import sympy as sp

<<check>>

# %% [markdown]
# ## Warm-up (no points)
#
# Take two unit vectors with an angle $\vartheta$ of 60 degrees and many Gaussian $v$. For which share of them are both $v\cdot x$ and $v\cdot x'$ positive? The chapter says $\kappa_0 = (\pi - \vartheta)/2\pi$. Work out the number by hand and then run the cell. Where do the neurons
# sit that are active on exactly one of the two, and what is their share?

# %%
generator = np.random.default_rng(0)
v = generator.normal(size=(200_000, 2))
first, second = v[:, 0], v @ np.array([np.cos(np.pi / 3), np.sin(np.pi / 3)])
print(f"both active: {np.mean((first > 0) & (second > 0)):.3f}")
print(f"the first alone: {np.mean((first > 0) & (second <= 0)):.3f}")

# %% [markdown]
# ## a. What a neuron with a bias keeps (<<points:a>> points)
#
# One neuron has the weights $v = (v_1, v_2)$, a trained bias $b$, and the output weight $o$. It adds to the output of a sample
#
# $$\frac1L\sum_i o\,\phi(v\cdot\tilde x_i + b),\qquad \phi(z) = \operatorname{relu}(z)^{<<power>>}.$$
#
# With ReLU itself and no bias, $\|v\|^2 - o^2$ would be constant along the gradient flow. What is constant here, for every attention, every residual and all data?
#
# Define two sympy expressions, quadratic in the weights and zero where all weights are zero.
#
# 1. `balance`, in $v_1, v_2, b, o$: constant along the flow with equal learning rates. Normalise it so that $v_1^2$ has the coefficient 1.
# 2. `balance_rates`, in these and in $\eta_V, \eta_b, \eta_O$: constant where $v$, $b$ and $o$ have these learning rates, $\dot v = -\eta_V\,\partial\mathcal L/\partial v$ and so on. Normalise it so that $v_1^2$ has the coefficient $1/\eta_V$.
#
# *A way in:* multiply $v$ and $b$ by $1 + \epsilon$. By what do you have to multiply $o$ so that the output stays, to first order in $\epsilon$?

# %% tags=["solution:a"]
v_1, v_2, b, o = sp.symbols("v_1 v_2 b o", real=True)
eta_V, eta_b, eta_O = sp.symbols("eta_V eta_b eta_O", positive=True)
# Define balance and balance_rates.
### BEGIN SOLUTION
# phi(cz) = c^p phi(z), so the output stays when v and b grow by 1 + epsilon and o by 1 - p epsilon; hence
# v.(dL/dv) + b dL/db = p o dL/do, and the halves of the squares change at minus the rates times these.
balance = v_1**2 + v_2**2 + b**2 - <<power>> * o**2
balance_rates = (v_1**2 + v_2**2) / eta_V + b**2 / eta_b - <<power>> * o**2 / eta_O
### END SOLUTION

# %% tags=["test:a"]
tokens = np.random.default_rng(1).normal(size=(3, 2, 2))  # three samples of two mixed tokens
targets = np.array([0.5, -1.0, 0.8])


def velocity(theta, rates):
    """The gradient flow of the loss. theta: v_1, v_2, b, o; rates: of these four. Returns (4,)."""
    z = np.maximum(tokens @ theta[:2] + theta[2], 0)
    error = (z**<<power>>).mean(axis=1) * theta[3] - targets
    back = error[:, None] * theta[3] * <<power>> * z ** (<<power>> - 1) / 2
    slope_o = error @ (z**<<power>>).mean(axis=1)
    return -rates * np.array([*np.einsum("ml,mld->d", back, tokens), back.sum(), slope_o])


def trained(rates, step=0.005, steps=300):
    """The weights along the flow, by Runge-Kutta steps. Returns (4, steps + 1)."""
    theta = np.array([0.7, 0.4, 0.3, 0.5])
    path = [theta]
    for _ in range(steps):
        one = velocity(theta, rates)
        two = velocity(theta + step / 2 * one, rates)
        three = velocity(theta + step / 2 * two, rates)
        theta = theta + step / 6 * (one + 2 * two + 2 * three + velocity(theta + step * three, rates))
        path.append(theta)
    return np.array(path).T


weights = (v_1, v_2, b, o)
for name, found, rates in (("balance", balance, (1, 1, 1)), ("balance_rates", balance_rates, (0.5, 2.0, 1.5))):
    known = sp.sympify(found).subs(dict(zip((eta_V, eta_b, eta_O), rates, strict=True)))
    check(f"{name}: zero without weights", 0, known.subs(dict.fromkeys(weights, 0)), "Leave out constants.")
    size = known.diff(v_1, 2) / 2 * rates[0]
    check(f"{name}: coefficient of v_1^2", 1, size, "Divide by the coefficient of v_1^2, or by that times eta_V.")
    path = trained(np.array([rates[0], *rates]))
    kept = sp.lambdify(weights, known)(*path) + np.zeros(path.shape[1])
    why = "It drifts in a run of 300 steps. How does the neuron scale with v and b together, and how fast does each square grow?"
    check(f"{name}: at the end as at the start of a run", kept[0], kept[-1], why, rel=1e-4)

# %% [markdown]
# ## b. The kernel of a leaky neuron (<<points:b>> points)
#
# With $s = 1$ and no mask the attention of a wide net becomes uniform, and its tangent kernel is a mean over Gaussian neurons that see two token means $\bar x$ and $\bar x'$. Take **leaky** neurons with a slope $a$ on the negative side, $-1 < a < 1$,
#
# $$\phi(z) = \operatorname{relu}(z) - a\operatorname{relu}(-z),$$
#
# and let $W_V$ have the learning rate <<rate>>, and $W_O$ the rate 1. The block of $W_O$ is then $K_O = \mathbb E[\phi(v\cdot\bar x)\,\phi(v\cdot\bar x')]$, and that of $W_V$, times its rate, is
# $K_V = <<rate>>\,\mathbb E[\phi'(v\cdot\bar x)\,\phi'(v\cdot\bar x')]\,\langle\bar x, \bar x'\rangle$.
#
# Let both means be unit vectors with an angle $0 \le \vartheta \le \pi$. Define three sympy expressions:
#
# 1. `K_O`, in $a$ and $\vartheta$;
# 2. `K_V`, in $a$ and $\vartheta$;
# 3. `kink`, in $a$ alone: with $K = K_O + K_V$, the limit for $\vartheta \to 0$ from above of
#
# $$\frac{K(\bar x, \bar x) - 2K(\bar x, \bar x') + K(\bar x', \bar x')}{\vartheta}.$$
#
# The numerator is how far the kernel tells two samples apart. For a smooth activation it would be of order $\vartheta^2$ and the limit zero. *A way in:* two vectors, and what happens to their angle when one of them changes its sign.

# %% tags=["solution:b"]
a, vartheta = sp.symbols("a vartheta", real=True)
# Define K_O, K_V and kink.
### BEGIN SOLUTION
kappa_0 = (sp.pi - vartheta) / (2 * sp.pi)
kappa_1 = (sp.sin(vartheta) + (sp.pi - vartheta) * sp.cos(vartheta)) / (2 * sp.pi)
turned = sp.pi - vartheta  # the angle of x and -x'
K_O = (1 + a**2) * kappa_1 - 2 * a * kappa_1.subs(vartheta, turned)
slopes = (1 + a**2) * kappa_0 + 2 * a * kappa_0.subs(vartheta, turned)
K_V = <<rate>> * sp.cos(vartheta) * slopes
kink = sp.factor(-2 * (K_O + K_V).diff(vartheta).subs(vartheta, 0))
### END SOLUTION

# %% tags=["test:b"]
def block(expression, leak, angle):
    """The number that an expression is at a slope and an angle."""
    return float(sp.sympify(expression).subs({a: leak, vartheta: angle}))


def simulated(leak, angle):
    """Both blocks as means over a million drawn neurons."""
    z = np.random.default_rng(2).normal(size=(1_000_000, 2))
    z = np.stack([z[:, 0], z @ np.array([np.cos(angle), np.sin(angle)])])
    values, slopes_at = np.where(z > 0, z, leak * z), np.where(z > 0, 1.0, leak)
    return (values[0] * values[1]).mean(), <<rate>> * np.cos(angle) * (slopes_at[0] * slopes_at[1]).mean()


for leak, angle in ((0.4, 0.8), (-0.6, 2.0)):
    both = simulated(leak, angle)
    why = "The test draws a million neurons. Sum over the four pairs of signs of the inputs, each with the angle that it sees."
    check(f"K_O at a = {leak}, vartheta = {angle}", both[0], block(K_O, leak, angle), why, rel=6e-3)
    why = "The test draws a million neurons. Which slopes do they have where the signs differ? And the rate <<rate>>?"
    check(f"K_V at a = {leak}, vartheta = {angle}", both[1], block(K_V, leak, angle), why, rel=1.5e-2)
check("K_O of a linear neuron, a = 1", np.cos(0.7), block(K_O, 1, 0.7), "A linear neuron knows inner products alone.")
near = [block(K_O, 0.3, angle) + block(K_V, 0.3, angle) for angle in (0, 1e-5)]
why = "It is not the quotient at a small angle of your own K_O + K_V. Is the factor 2 there, and the sign?"
check("kink at a = 0.3", 2 * (near[0] - near[1]) / 1e-5, block(kink, 0.3, 0), why, rel=1e-3)
check("kink of a linear neuron, a = 1", 0, block(kink, 1, 0), "Where there is no kink in phi, this limit is zero.")

# %% [markdown]
# Look at your `kink` as a function of $a$, beside the jump of $\phi'$ at zero. It is this number that sets the least eigenvalue of the kernel, and with it the rate of training, when two samples have nearly the same mixed tokens.
# Divide it by $K(\bar x, \bar x)$: which slope tells near samples apart best, and what do you lose by leaking a little, $a = 0.1$, as many nets in practice do?

# %% [markdown]
# ## c. A wide net with a bias (<<points:c>> points)
#
# Give the leaky neurons of part b a bias: neuron $j$ sees $v_j\cdot\tilde x_i + \beta b_j$, where $b_j$ is drawn from $N(0, 1)$ and trained, and $\beta \ge 0$ is a fixed number. $W_V$ and $b$ have the learning rate <<rate>>, $W_O$ the rate 1. The attention may be anything, but it is *given*: $S_m$ is a known matrix for each sample, and
# $W_Q, W_K$ are not trained. Which tangent kernel has the net for $k \to \infty$? It is the sum of the blocks of $W_O$, $W_V$ and $b$, each times its rate.
#
# Write `wide_kernel`. Use numpy, and clip cosines to $[-1, 1]$ before you take an angle. No mixed token is zero.
#
# *A way in:* can you hide the bias in the tokens? What does attention do to a coordinate that all tokens share?

# %% tags=["solution:c"]
def wide_kernel(X, S, leak, beta):
    """Limit for infinite width of the tangent kernel when the attention is given.

    X: (n, L, d), tokens; S: (n, L, L), attention, rows sum to 1; leak: a, the slope on the negative side; beta: of the bias.
    Returns (n, n).
    """
    ### BEGIN SOLUTION
    n, L, _ = X.shape
    mixed = np.concatenate([S @ X, np.full_like(X[:, :, :1], beta)], axis=2).reshape(n * L, -1)
    gram = mixed @ mixed.T
    size = np.sqrt(np.diag(gram))
    cosine = np.clip(gram / np.outer(size, size), -1, 1)
    angle = np.arccos(cosine)
    same = (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    other = (np.sin(angle) - angle * cosine) / (2 * np.pi)
    output = np.outer(size, size) * ((1 + leak**2) * same - 2 * leak * other)
    value = gram * ((1 + leak**2) * (np.pi - angle) + 2 * leak * angle) / (2 * np.pi)
    return (output + <<rate>> * value).reshape(n, L, n, L).mean(axis=(1, 3))
    ### END SOLUTION

# %% tags=["test:c"]
def sampled_kernel(X, S, leak, beta, k=200_000):
    """The kernel of one net of k neurons at its start, from the gradients of torch."""
    import torch

    random = torch.Generator().manual_seed(3)
    shapes = ((X.shape[2], k), (k,), (k,))
    W_V, bias, W_O = (torch.randn(shape, generator=random, dtype=torch.float64, requires_grad=True) for shape in shapes)
    gradients = []
    for tokens_m, attention in zip(torch.tensor(X), torch.tensor(S), strict=True):
        z = attention @ tokens_m @ W_V + beta * bias
        f = (torch.nn.functional.leaky_relu(z, leak) @ W_O).mean() / k**0.5
        parts = torch.autograd.grad(f, (W_O, W_V, bias), allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([parts[0], *(<<rate>> ** 0.5 * each.flatten() for each in parts[1:])]))
    gradients = torch.stack(gradients)
    return (gradients @ gradients.T).numpy()


drawn = np.random.default_rng(4)
tokens, weights_c = drawn.normal(size=(3, 3, 4)), np.exp(drawn.normal(size=(3, 3, 3)))
attention = weights_c / weights_c.sum(axis=2, keepdims=True)
length = np.linalg.norm(tokens[:1, :1])
why = "One token sees K = |x|^2 (1 + rate) E[phi'^2], since z phi'(z) = phi(z), and here phi'^2 = 1."
found = wide_kernel(tokens[:1, :1], np.ones((1, 1, 1)), -1.0, 0.0)
check("one token, absolute value", [[(1 + <<rate>>) * length**2]], found, why, rel=1e-3)
expected, found = sampled_kernel(tokens, attention, 0.3, 0.0), wide_kernel(tokens, attention, 0.3, 0.0)
size = np.abs(expected).max()
why = "A net of 200000 neurons says otherwise. Average over all pairs of tokens of the two samples, after mixing; lengths count."
check("several tokens, no bias", expected / size, found / size, why, rel=0.02)
expected, found = sampled_kernel(tokens, attention, 0.3, 1.2), wide_kernel(tokens, attention, 0.3, 1.2)
size = np.abs(expected).max()
why = "A net of 200000 neurons says otherwise. The bias changes the angles, the lengths, and adds a block of its own."
check("several tokens and a bias", expected / size, found / size, why, rel=0.02)
single = tokens[:, :1] / np.linalg.norm(tokens[:, :1], axis=2, keepdims=True)
angles = np.arccos(np.clip(single[:, 0] @ single[:, 0].T, -1, 1))
expected = sp.lambdify((a, vartheta), K_O + K_V)(0.3, angles)
why = "With one token, of length 1, and no bias this is your K_O + K_V of part b."
check("one token: part b again", expected, wide_kernel(single, np.ones((3, 1, 1)), 0.3, 0.0), why, rel=1e-3)

# %% [markdown]
# ## d. Queries that lean on their keys (<<points:d>> points)
#
# The chapter draws $W_Q$ and $W_K$ independently. A logit is then $\tau_0$ times a sum of $k$ products of random sign, and $s = \tfrac12$ is where it neither vanishes nor explodes with the width. In a trained net the two are not independent: the gradient of $W_Q$ is
# a matrix times $W_K$, so that they become *aligned* while they train. What does alignment do to this boundary?
#
# Draw two independent $(d, k)$ matrices $A$ and $B$ of $N(0, 1)$ entries, put $\rho = k^{-q}$ and
#
# $$W_Q = k^{-u}A,\qquad W_K = k^{-<<key_power>>}\big(\rho A + \sqrt{1 - \rho^2}\,B\big).$$
#
# So $q \ge 0$ says how fast alignment is lost with the width ($q = 0$ is perfect alignment), and $u$ how the size of the entries of $W_Q$ depends on it. Tokens have $N(0, 1/d)$ entries, and $d$ and $L$ are fixed.
#
# Write `critical_scaling`, which returns the exponent $s$ at which $\tau_0 = k^{-s}$ keeps the spread of the logits along a row at order one for $k \to \infty$. For a larger $s$ the attention becomes uniform, for a smaller one it saturates. Measure it, by a slope over the logarithm of the width, or count it; best do both and compare.
# The grader draws $q$ and $u$ and lets pass a difference of 0.08. Widths of a thousand and more are needed when two powers compete; a call may take 60 s, and a second or two is enough.

# %% tags=["solution:d"]
def critical_scaling(q, u):
    """The scaling exponent s at which logits stay of order one as the width grows.

    q: the alignment of queries and keys is k^-q; u: entries of the queries have the size k^-u. Returns a number.
    """
    ### BEGIN SOLUTION
    random, d, L = np.random.default_rng(), 8, 8
    widths, spreads = 2 ** np.array([10, 12, 14]), []
    for k in widths:
        rho, found = float(k) ** -q, []
        for _ in range(120):
            X = random.normal(size=(L, d)) / d**0.5
            A, B = random.normal(size=(2, d, k))
            keys = rho * A + (1 - rho**2) ** 0.5 * B
            found.append(np.log((X @ (A @ keys.T) @ X.T).var(axis=1).mean()) / 2)
        spreads.append(np.mean(found))
    # The powers of k in front are known; what they multiply is measured.
    return np.polyfit(np.log(widths), spreads, 1)[0] - u - <<key_power>>
    ### END SOLUTION

# %% tags=["test:d"]
def spread(k, q, u, s, draws=300):
    """Mean standard deviation of a row of logits at one width."""
    random, found = np.random.default_rng(5), []
    for _ in range(draws):
        X, A, B = (random.normal(size=shape) for shape in ((6, 4), (4, k), (4, k)))
        keys = k**-<<key_power>> * (k**-q * A + max(1 - k ** (-2 * q), 0) ** 0.5 * B)
        found.append((k**-s * X @ (k**-u * A @ keys.T) @ X.T / 4).std(axis=1).mean())
    return np.mean(found)


cases = ((2.0, 0.1, "hardly aligned"), (0.0, 0.1, "perfectly aligned"), (0.0, -0.2, "the same, larger queries"))
for q, u, words in cases:
    s = float(critical_scaling(q=q, u=u))
    why = (
        f"At your s = {s:.3f} logits at k = 4096 are that many times as large as at k = 256: below 1 they vanish, and your s is "
        "too large; above 1 they explode, and it is too small."
    )
    check(f"q = {q:g}, u = {u:g}, {words}", 1, spread(4096, q, u, s) / spread(256, q, u, s), why, rel=0.25)

# %% [markdown]
# ## e. Twins behind a mask (<<points:e>> points)
#
# Back to ReLU without a bias and independent queries and keys, but now with a **causal mask**: token $i$ attends to tokens $1, \dots, i$ only. And the softmax has a *sink*, the number <<sink>> in its denominator, so that a token may attend to nothing at all:
#
# $$S_{ij} = \frac{e^{Z_{ij}}}{<<sink>> + \sum_{l \le i}e^{Z_{il}}}\quad (j \le i),\qquad S_{ij} = 0\quad (j > i),\qquad Z = \tau_0\,XW_QW_K^\top X^\top.$$
#
# The chapter hides a label from wide nets with $\tau_0 = k^{-1}$: two samples with the same token mean and opposite labels have the same features in the limit. Against a causal mask this trick fails, as the second print of the cell below shows: the distance of two such samples,
# $\|\Psi - \Psi'\|$ with $\Psi$ the features of a sample, the mean over its tokens of the outputs of the ReLU neurons, is far from zero even at uniform attention. Does the mask save wide nets, then?
#
# *Break this:* write `twin`, which gets a sample and returns another one of the same shape that **the wide causal net with** $\tau_0 = k^{-1}$ **cannot tell from it**: the limit of its tangent kernel is the same for both.
#
# *Keep that:* the two must have **different token means** (by at least a tenth of their size; the encoder without a mask tells them apart), and the causal net with $\tau_0 = k^{-1/2}$, whose attention stays random, **must tell them apart**. No entry of the twin may be larger than
# 200 times the largest of the sample.
#
# The grader draws samples of 2 and of 5 tokens; two tokens alone give a part of the points, and so does a twin of five with the old token mean. *A way in:* what are the mixed tokens when all $Z_{ij} = 0$? The net sees them through a mean over $i$: what is it blind to?

# %%
def causal_attention(X, M):
    """Attention with mask and sink. X: (L, d); M: (d, d), tau_0 W_Q W_K^T, zero for uniform attention. Returns (L, L)."""
    Z = np.where(np.tri(len(X)), X @ M @ X.T, -np.inf)
    top = np.maximum(Z.max(axis=1, keepdims=True), 0)  # of numerator and denominator, against overflow
    weights = np.exp(Z - top)
    return weights / (<<sink>> * np.exp(-top) + weights.sum(axis=1, keepdims=True))


def features(X, M, neurons):
    """The features of a sample. X: (L, d); M: (d, d); neurons: (d, k), columns v_j. Returns (k,)."""
    return np.maximum(causal_attention(X, M) @ X @ neurons, 0).mean(axis=0) / neurons.shape[1] ** 0.5


generator = np.random.default_rng(6)
X, other = generator.normal(size=(2, 5, 4)) / 2
other = other - other.mean(axis=0) + X.mean(axis=0)
neurons, uniform = generator.normal(size=(4, 2000)), np.zeros((4, 4))
print(f"size of the features: {np.linalg.norm(features(X, uniform, neurons)):.3f}")
print(f"distance: {np.linalg.norm(features(X, uniform, neurons) - features(other, uniform, neurons)):.3f}")

# %% tags=["solution:e"]
def twin(X):
    """Another sample that looks the same to the wide causal net with uniform attention. X: (L, d). Returns (L, d)."""
    ### BEGIN SOLUTION
    # Uniform attention makes prefix sums over i + sink; the net sees them as a set, without their order.
    reach = np.arange(1, len(X) + 1)[:, None] + <<sink>>
    seen = np.cumsum(X, axis=0) / reach
    return np.diff(reach * seen[::-1], axis=0, prepend=0)
    ### END SOLUTION

# %% tags=["test:e"]
generator = np.random.default_rng(7)
for length in (2, 3, 5):
    X, neurons = generator.normal(size=(length, 4)) / 2, generator.normal(size=(4, 2000))
    found = np.asarray(twin(X), dtype=float)
    size = np.linalg.norm(features(X, uniform, neurons))
    gap = np.linalg.norm(features(X, uniform, neurons) - features(found, uniform, neurons)) / size
    why = "With uniform attention the features differ. Print causal_attention(X, uniform) @ X for the sample and for its twin."
    check(f"{length} tokens: distance at uniform attention", 0, gap, why, rel=1e-3)
    moved = np.linalg.norm(found.mean(axis=0) - X.mean(axis=0)) / np.linalg.norm(X.mean(axis=0))
    check(f"{length} tokens: another token mean", True, moved > 0.1, f"It differs by {moved:.2g} of its size only.")
    scores = generator.normal(size=(4, 4))
    gap = np.linalg.norm(features(X, scores, neurons) - features(found, scores, neurons)) / size
    check(f"{length} tokens: random attention sees it", True, gap > 0.02, f"It tells them apart by {gap:.2g} only.")

# %% [markdown]
# A mask gives a net the order of its tokens, one would think. You have just built, for any sample, a partner that a causal net of infinite width with $\tau_0 = k^{-1}$ will never separate, however long it trains: its kernel stays as it was, and has a zero eigenvalue for the pair.
# The next cell trains $W_V$ and $W_O$ on a sample with the label 1 and its twin with the label $-1$, sixty steps, with the attention that the net starts with; means over twenty nets. Which row gets worse with the width? With $s = 1$ the two have the same mixed tokens up to their order and to $O(k^{-1/2})$. What does your `kink` of part b then say of the rate of training, and what would a smooth activation make of it?

# %%
def share_left(pair, k, s, seed, steps=60):
    """Share of the loss that is left after descent on a sample and its twin. pair: (2, L, d). Returns a number."""
    random = np.random.default_rng(seed)
    W_Q, W_K, W_V = random.normal(size=(3, 4, k))
    W_O, losses = random.normal(size=k), []
    mixed = np.stack([causal_attention(each, k**-s * W_Q @ W_K.T) @ each for each in pair])
    step = 0.5 / np.square(mixed).sum(axis=2).mean(axis=1).sum()  # below one over the largest eigenvalue
    for _ in range(steps + 1):
        z = mixed @ W_V
        psi = np.maximum(z, 0).mean(axis=1) / k**0.5
        error = psi @ W_O - np.array([1.0, -1.0])
        losses.append(error @ error / 2)
        back = error[:, None, None] * (z > 0) * W_O / (len(pair[0]) * k**0.5)
        W_V, W_O = W_V - step * np.einsum("mld,mlk->dk", mixed, back), W_O - step * error @ psi
    return losses[-1] / losses[0]


X = np.random.default_rng(9).normal(size=(5, 4)) / 2
pair = np.stack([X, twin(X)])
for s in (0.5, 1):
    shares = {k: np.mean([share_left(pair, k, s, seed) for seed in range(20)]) for k in (32, 256, 2048)}
    print(f"s = {s:<3}", *(f"  k = {k}: {share:.3f}" for k, share in shares.items()))

# %% [markdown]
# ## f. The root of the width, or the width? (<<points:f>> points)
#
# You design a one-head encoder in NTK initialisation that will be made wider and wider, and can choose $\tau_0 = k^{-1/2}$ or $\tau_0 = k^{-1}$. Argue for one of the two, in 150 to 250 words, with what you found in this assignment.
#
# A quarter of the points each:
#
# * *Start.* The size of the logits at the start for both choices, as powers of the width, with the reason.
# * *Training.* Why queries and keys become aligned, and how large logits would be for both choices if the alignment did not fall with the width (part d).
# * *Price.* One thing that is lost with $\tau_0 = k^{-1}$, with an example from part e, and one that is lost with $\tau_0 = k^{-1/2}$.
# * *Decision.* A choice that follows from these, and one assumption of the argument that need not hold in practice.

# %% [markdown] tags=["written:f"]
# At the start $W_Q$ and $W_K$ are independent. A logit is $\tau_0$ times a sum of $k$ products of random sign, of size $\sqrt k$: order one at $\tau_0 = k^{-1/2}$, and $k^{-1/2}$ at $\tau_0 = k^{-1}$.
#
# In training $\dot W_Q = -G_MW_K$, so the change of $W_Q$ is aligned with $W_K$, and what it adds to a logit is a sum of $k$ products of one sign. If the aligned part of the weights were a share of them that does not fall with the width ($q = 0$), logits would grow as $\tau_0k$: as $\sqrt k$ at
# $\tau_0 = k^{-1/2}$, where softmax would saturate, and to order one at $\tau_0 = k^{-1}$. In the lazy regime of the chapter $W_Q$ moves by $k^{-s}$ of its size only, $q = s$: logits then move by $k^{1-2s}$, order one at $k^{-1/2}$ and $1/k$, nothing, at $k^{-1}$.
#
# The price of $k^{-1}$ is uniform attention in the limit: samples with equal sets of prefix means, the twins of part e, have the same features and are never told apart. The price of $k^{-1/2}$ is that there is no deterministic limit: the kernel is random at any width and moves, so the start predicts less, and
# logits may run away once weights move by their own size.
#
# I would take $k^{-1/2}$ here: at NTK initialisation the weights are lazy, so logits stay of order one, and the net keeps its attention. The assumption is that laziness. With larger learning rates that make features move at all widths ($q$ near 0), the aligned part rules and $k^{-1}$ is right.
