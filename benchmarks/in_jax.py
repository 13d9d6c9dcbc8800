"""The same work as one would write it in JAX: the Transformer on words and the encoder, plainly and tuned, and a tangent kernel.

Plainly is ``scan`` over steps of ``vmap(grad)`` over runs; tuned is the gradient by hand, and ``map`` over runs of a ``scan``, so
that a run stays in the cache. Imported where JAX is installed: ``requirements-jax.txt``.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
CHUNK = 16  # steps in one call


def stepped(gradient, start, data, step, *, mapped, heun=False):
    """Compile descent of a stack. gradient: (weights, *data of one run) -> like weights; start, data: tuples, stack first.

    mapped: run by run, else all runs together; heun: two slopes a step. Returns a function of a number of steps -> final weights
    as numpy, which goes on where it ended; with ``home=False`` they stay on the device and nothing is returned.
    """

    def one(weights, *own):
        first = gradient(weights, *own)
        if not heun:
            return jax.tree.map(lambda value, slope: value - step * slope, weights, first)
        far = jax.tree.map(lambda value, slope: value - step * slope, weights, first)
        second = gradient(far, *own)
        return jax.tree.map(lambda value, a, b: value - step / 2 * (a + b), weights, first, second)

    def many(move, weights):
        return jax.lax.scan(lambda now, _: (move(now), None), weights, None, length=CHUNK)[0]

    if mapped:
        run = lambda weights, *own: jax.lax.map(  # noqa: E731
            lambda each: many(lambda now: one(now, *each[1]), each[0]), (weights, own)
        )
    else:
        run = lambda weights, *own: many(lambda now: jax.vmap(one)(now, *own), weights)  # noqa: E731
    fixed = tuple(jnp.asarray(each) for each in data)
    state = [tuple(jnp.asarray(each) for each in start)]
    compiled = jax.jit(run).lower(state[0], *fixed).compile()

    def advance(steps, home=True):
        for _ in range(steps // CHUNK):
            state[0] = compiled(state[0], *fixed)
        jax.block_until_ready(state[0])
        return [np.asarray(each) for each in state[0]] if home else None

    return advance


def words_loss(weights, tokens, labels, signs):
    """Mean logistic loss of one Transformer on words, by gathers. weights: W_Q, W_K, W_V (d, k), W_O (k, o)."""
    queries, keys, values, outer = weights
    logits = jnp.einsum("nlm,nkm->nlk", queries[tokens], keys[tokens]) / math.sqrt(queries.shape[1])
    mixed = jnp.einsum("nlk,nk->n", jax.nn.softmax(logits, -1), (values @ (outer @ signs))[tokens])
    return jax.nn.softplus(-labels * mixed).mean()


def words_by_hand(weights, tokens, labels, neurons):
    """Its gradient in the reduced form that the library uses, with the readout (k,) in place of W_O."""
    queries, keys, values, readout = weights
    scale = 1 / math.sqrt(queries.shape[1])
    scores, near, far = (values @ readout)[tokens], queries[tokens], keys[tokens]
    attention = jax.nn.softmax(jnp.einsum("nlm,nkm->nlk", near, far) * scale, -1)
    mixed = jnp.einsum("nlk,nk->nl", attention, scores)
    force = labels / len(labels) * jax.nn.sigmoid(-labels * mixed.sum(-1))
    weighed = attention * force[:, None, None]
    pull = jnp.zeros(len(values)).at[tokens].add(weighed.sum(1))
    slope = (scores[:, None, :] - mixed[:, :, None]) * weighed * -scale
    by_queries = jnp.zeros_like(queries).at[tokens].add(jnp.einsum("nlk,nkm->nlm", slope, far))
    by_keys = jnp.zeros_like(keys).at[tokens].add(jnp.einsum("nlk,nlm->nkm", slope, near))
    return by_queries, by_keys, -pull[:, None] * readout, -neurons * (pull @ values)


def encoder_loss(weights, inputs, labels, inner, outer):
    """Half the sum of squares of one encoder. weights: W_Q, W_K, W_V (d, k), W_O (k, 1); inner, outer: the scales of both."""
    queries, keys, values, last = weights
    attention = jax.nn.softmax(inner * (inputs @ queries) @ (inputs @ keys).transpose(0, 2, 1), -1)
    found = outer * (jax.nn.relu(attention @ (inputs @ values)).mean(1) @ last)[:, 0]
    return ((found - labels) ** 2).sum() / 2


def encoder_by_hand(weights, inputs, labels, inner, outer):
    """Its gradient with the logits taken through a (d, d) matrix, as the library has it."""
    queries, keys, values, last = weights
    samples, length, size = inputs.shape
    flat, vector = inputs.reshape(-1, size), last[:, 0]
    moved = (flat @ (queries @ keys.T * inner)).reshape(inputs.shape)
    attention = jax.nn.softmax(jnp.einsum("nld,nkd->nlk", moved, inputs), -1)
    mixed = (attention @ inputs).reshape(-1, size)
    entering, scale = mixed @ values, outer / length
    active = jax.nn.relu(entering)
    residual = scale * (active @ vector).reshape(samples, length).sum(1) - labels
    error = jnp.repeat(residual * scale, length)
    mask = jnp.where(entering > 0, error[:, None] * vector, 0.0)
    by_attention = jnp.einsum("nld,nkd->nlk", (mask @ values.T).reshape(inputs.shape), inputs)
    slope = attention * (by_attention - (by_attention * attention).sum(-1, keepdims=True))
    product = inner * flat.T @ (slope @ inputs).reshape(-1, size)
    return product @ keys, product.T @ queries, mixed.T @ mask, (active.T @ error)[:, None]


def kernels(weights, inputs, inner, outer):
    """Two ways to the tangent kernels of a stack: name -> function of nothing. weights, inputs: with the stack first."""
    samples, length, size = inputs.shape[1:]

    def output(one, tokens):
        queries, keys, values, last = one
        attention = jax.nn.softmax(inner * (tokens @ queries) @ (tokens @ keys).T, -1)
        return outer * (jax.nn.relu(attention @ (tokens @ values)).mean(0) @ last)[0]

    def jacobian(one, tokens):
        parts = jax.vmap(jax.jacrev(output), (None, 0))(one, tokens)
        return sum(part.reshape(samples, -1) @ part.reshape(samples, -1).T for part in parts)

    def closed(each):
        (queries, keys, values, last), tokens = each
        flat, vector, scale = tokens.reshape(-1, size), last[:, 0], outer / length
        moved = (flat @ (queries @ keys.T * inner)).reshape(tokens.shape)
        attention = jax.nn.softmax(jnp.einsum("nld,nkd->nlk", moved, tokens), -1)
        mixed = (attention @ tokens).reshape(-1, size)
        entering = mixed @ values
        features = jax.nn.relu(entering).reshape(samples, length, -1).sum(1) * scale
        mask = jnp.where(entering > 0, vector * scale, 0.0)
        by_attention = jnp.einsum("nld,nkd->nlk", (mask @ values.T).reshape(tokens.shape), tokens)
        slope = attention * (by_attention - (by_attention * attention).sum(-1, keepdims=True))
        product = jnp.einsum("nla,nlk,nkb->nab", tokens, slope, tokens) * inner
        both = product @ (keys @ keys.T) + (queries @ queries.T) @ product
        through = both.reshape(samples, -1) @ product.reshape(samples, -1).T
        shape = (samples, length, samples, length)
        return through + features @ features.T + ((mask @ mask.T) * (mixed @ mixed.T)).reshape(shape).sum((1, 3))

    state, data = tuple(jnp.asarray(each) for each in weights), jnp.asarray(inputs)
    every = jax.jit(lambda one, tokens: jax.lax.map(lambda each: jacobian(*each), (one, tokens)))
    known = jax.jit(lambda one, tokens: jax.lax.map(closed, (one, tokens)))
    return {
        "JAX, map of jacrev": lambda: np.asarray(every(state, data)),
        "JAX, map of the closed form": lambda: np.asarray(known(state, data)),
    }
