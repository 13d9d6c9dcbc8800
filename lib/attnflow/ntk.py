r"""Neural tangent kernels, $K(x, x') = \langle \nabla_\theta f(x), \nabla_\theta f(x')\rangle$, without the Jacobian.

The gradient by a weight matrix is a sum of few rank-one terms, so its inner products are products of small Gram matrices
(the Gram form). It costs no memory of the size of the parameters; the Jacobian is the slow twin that tests it.
"""

import math
from collections.abc import Callable

import torch
from torch.func import jacrev, vmap

from attnflow import door, runs
from attnflow.runs import Stack, State

SMALL = 2**16  # entries of the gradients of all samples: no more are written down
ROWS = 128  # of the products of pairs at a time: fewer are slow, and more do not stay in a cache


@door.takes(left="B... a d", right="B... b d")
def arc_cosine(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Arc-cosine kernels of two sets of vectors, which are what ReLU neurons average to.

    With $\vartheta$ the angle of $x, x'$ and $v \sim N(0, I)$:
    $\kappa_0 = E[1_{v\cdot x > 0}1_{v\cdot x' > 0}] = (\pi - \vartheta)/2\pi$ and
    $\kappa_1 = E[\mathrm{relu}(v\cdot x)\,\mathrm{relu}(v\cdot x')]
    = |x||x'|(\sin\vartheta + (\pi - \vartheta)\cos\vartheta)/2\pi$ (Cho and Saul 2009, without their factor 2).
    left: (..., a, d), right: (..., b, d). Returns a pair of (..., a, b).

    >>> x = torch.eye(2, dtype=torch.float64)
    >>> [float(4 * math.pi**degree * kernel[0, 1]) for degree, kernel in enumerate(arc_cosine(x, x))]
    [1.0, 2.0]
    """
    lengths = left.norm(dim=-1)[..., :, None] * right.norm(dim=-1)[..., None, :]
    cosine = (left @ right.mT / lengths.clamp_min(1e-300)).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)
    zeroth = (math.pi - angle) / (2 * math.pi)
    first = lengths * (torch.sqrt(1 - cosine.square()) / (2 * math.pi) + zeroth * cosine)
    return zeroth, first


@door.takes(values="S n k")
def features(values: Stack) -> Stack:
    r"""Kernel of output weights, $\Psi\Psi^\top$. values: (S, n, k). Returns (S, n, n)."""
    return values @ values.mT


@door.takes(inputs="S R a", slopes="S R b", samples=door.COUNT)
def rank_one(inputs: Stack, slopes: Stack, samples: int) -> Stack:
    r"""Kernel of a matrix whose gradient is $\sum_i a_i b_i^\top$ over the positions i of a sample.

    $K(x, x') = \sum_{ij}\langle a_i, a'_j\rangle\langle b_i, b'_j\rangle$, of some samples with all that follow at a time, since
    the others are their transposes; gradients that are small are written down. inputs: (S, n L, a), slopes: (S, n L, b),
    position running fastest; samples: n.
    Returns (S, n, n). Raises ValueError where the rows do not divide into samples.
    """
    runs.integer("samples", samples)
    rows = inputs.shape[1]
    runs.check("rows", rows, f"a multiple of the {samples} samples", rows % samples == 0)
    length = rows // samples
    if samples * inputs.shape[2] * slopes.shape[2] <= SMALL:
        return features((inputs.unflatten(1, (samples, length)).mT @ slopes.unflatten(1, (samples, length))).flatten(2))
    kernel, step = inputs.new_empty(inputs.shape[0], samples, samples), max(1, ROWS // length)
    # One net after the other: a product of two matrices is faster than one of two stacks.
    for net, (first, second) in enumerate(zip(inputs, slopes, strict=True)):
        for place in range(0, samples, step):
            here, onward = slice(place * length, (place + step) * length), slice(place * length, rows)
            product = (first[here] @ first[onward].mT).mul_(second[here] @ second[onward].mT)
            # Whole rows are added first: sums along the short axis are slow, and there are fewer left.
            block = product.unflatten(0, (-1, length)).sum(dim=1).unflatten(1, (-1, length)).sum(dim=2)
            kernel[net, place : place + step, place:] = block
            kernel[net, place:, place : place + step] = block.mT
    return kernel


@door.takes(gradients="S n d e", left="S d k", right="S e k")
def factors(gradients: Stack, left: Stack, right: Stack) -> Stack:
    r"""Kernel of two factors A, B that the output sees only through $A B^\top$, from $G_n = \partial f_n/\partial (AB^\top)$.

    $\partial f_n/\partial A = G_n B$ and $\partial f_n/\partial B = G_n^\top A$, so that the sum of both kernels,
    $\langle G_n, G_m B B^\top + A A^\top G_m\rangle$, knows the width only through two small matrices.
    gradients: (S, n, d, e), left: (S, d, k), right: (S, e, k). Returns (S, n, n).
    """
    through = ((left @ left.mT)[:, None] @ gradients).flatten(1, 2)
    through = through.baddbmm(gradients.flatten(1, 2), right @ right.mT).view_as(gradients)
    return gradients.flatten(2) @ through.flatten(2).mT


@door.takes(output=door.FUNCTION, state=door.named("S ..."), inputs="S n ...")
def from_jacobian(output: Callable, state: State, inputs: Stack) -> State:
    """The same kernels from the Jacobian, by ``torch.func``: the slow twin.

    output: (name -> tensor of one run, one sample) -> a number; state: name -> (S, ...); inputs: (S, n, ...).
    Returns name -> (S, n, n), one kernel a tensor of the state. Raises ValueError where the output refuses their shapes.
    """
    try:
        jacobians = vmap(vmap(jacrev(output), (None, 0)))(state, inputs)
    except RuntimeError as error:
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        allowed = f"tensors that output takes together with inputs of shape {tuple(inputs.shape)} ({error})"
        runs.check("state", shapes, allowed, False)
    flat = {name: value.flatten(2) for name, value in jacobians.items()}
    return {name: value @ value.mT for name, value in flat.items()}


@door.takes(kernel="S n n", residual="S n", step=door.either(door.POSITIVE, "S"), steps=door.COUNT)
def linear_losses(kernel: Stack, residual: Stack, step: float | Stack, steps: int) -> torch.Tensor:
    r"""Losses of descent if the kernel stayed as it is: $\frac12|(I - \eta K)^j r_0|^2$ for j = 0 ... steps.

    kernel: (S, n, n); residual: (S, n); step: a number or (S,). Returns (steps + 1, S).
    """
    runs.integer("steps", steps)
    values, vectors = torch.linalg.eigh(kernel)
    step = torch.as_tensor(step, dtype=kernel.dtype, device=kernel.device).expand(kernel.shape[0])
    start = (vectors.mT @ residual[:, :, None])[:, :, 0].square()
    factor = (1 - step[:, None] * values).square()
    powers = torch.arange(steps + 1, dtype=kernel.dtype, device=kernel.device)[:, None, None]
    return (factor**powers * start).sum(dim=2) / 2


@door.takes(kernel="S n n", reference="S n n")
def distance(kernel: Stack, reference: Stack) -> Stack:
    """Frobenius distance of a ``kernel`` to its ``reference``, (S, n, n) each, over the size of the latter. Returns (S,)."""
    return (kernel - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)
