r"""The toy of chapter 5: scalar tokens and heads that are one number, so that the law of a layer is a density on a line.

A head $\theta$ moves a token by $g_i(\theta, x) = \theta\sum_l\mathrm{softmax}_l(\theta x_ix_l)x_l$, a block by
$x_i \mathrel{+}= \frac1J\int g_i\,d\rho_j$, and the output f is the last token at the end. With
$K(u) = \log\sum_l e^{ux_l}$ and $u_i = \theta x_i$ the head is $g_i = \theta K'(u_i)$, its slope by the head
$K' + u_iK''$, by its query $\theta^2K''$ and by the value of a token $\theta s_{il}(1 + u_i(x_l - K'))$.
"""

import torch

from attnflow import door, runs
from attnflow.runs import Stack

DEPTH, SIZE, TEACHER = (
    3,
    1.15,
    1.15,
)  # blocks J; tokens are uniform on [-SIZE, SIZE]; the heads of the teacher are at +-TEACHER
STEEP = 600.0  # a score from which on exponentials are shifted, which costs time


def drawn(seeds: tuple, device: torch.device, samples: int = 12, length: int = 4) -> tuple[Stack, Stack]:
    """Sequences of L uniform tokens, and what the toy makes of them with half of its heads at -TEACHER and half at TEACHER.

    seeds, device: of the runs; samples, length: n and L. Returns x (S, n, L) and y (S, n). Raises WrongUse for n or L below 1.
    """
    shape = runs.integer("samples", samples), runs.integer("length", length)
    generators = runs.streams(seeds, "data")
    tokens = torch.stack([torch.rand(*shape, generator=one, dtype=runs.DTYPE, device="cpu") for one in generators])
    tokens = SIZE * (2 * tokens - 1)
    heads = TEACHER * torch.tensor([-1.0, 1.0], dtype=runs.DTYPE, device="cpu")
    masses = torch.full((len(tokens), DEPTH, 2), 0.5, dtype=runs.DTYPE, device="cpu")
    return tokens.to(device), outputs(masses, heads, tokens).to(device)


@door.takes(masses="S J A", places=door.either("A", "S J A"), tokens="S n L")
def outputs(masses: torch.Tensor, places: torch.Tensor, tokens: Stack) -> Stack:
    r"""The output f (S, n), written plainly with softmax. masses, places, tokens: of :func:`objective`."""
    stream, places = tokens, places.expand_as(masses)
    for layer in range(masses.shape[1]):
        head = places[:, layer, :, None, None, None]
        scores = head * stream[:, None, :, :, None] * stream[:, None, :, None, :]
        mixed = (torch.softmax(scores, dim=-1) @ stream[:, None, :, :, None])[..., 0]
        stream = stream + ((masses * places)[:, layer, :, None, None] * mixed).sum(dim=1) / masses.shape[1]
    return stream[:, :, -1]


@door.takes(masses="S J A", places=door.either("A", "S J A"), tokens="S n L", targets="S n", decay=door.NONNEGATIVE)
def objective(masses: torch.Tensor, places: torch.Tensor, tokens: Stack, targets: Stack, decay: float = 0.0) -> Stack:
    r"""$\mathcal Q = \mathcal L + \frac\lambda2\frac1J\sum_j\sum_aw_{ja}\theta_{ja}^2$ (S,), the slow twin of :func:`variation`.

    masses: $w$ (S, J, A), of atoms at ``places`` $\theta$, (A,) or (S, J, A); tokens, targets: x (S, n, L) and y (S, n); decay:
    $\lambda$.
    """
    norm = (masses * places.square()).sum(dim=(1, 2)) / masses.shape[1]
    return (outputs(masses, places, tokens) - targets).square().mean(dim=1) / 2 + decay / 2 * norm


@door.takes(masses="* J A", places="A", tokens="* n L", targets="* n", decay=door.NONNEGATIVE)
def variation(
    masses: torch.Tensor, places: torch.Tensor, tokens: Stack, targets: Stack, decay: float = 0.0
) -> dict[str, Stack]:
    r"""The first variation $V_j(\theta) = \frac1n\sum\langle p^{j+1}, g(\theta, x^j)\rangle + \frac\lambda2\theta^2$, by hand.

    The adjoint is f - y in the last token at the end and comes back through the layers by the slopes of a head.

    masses: $w$ (..., J, A), of atoms at ``places`` $\theta$ (A,); tokens, targets: x (..., n, L) and y (..., n), whose leading
    axes broadcast against those of the masses, so that copies share their data; decay: $\lambda$. Returns ``V`` at the atoms
    (..., J, A), ``objective`` (...), and ``outputs`` f (..., n).
    """
    (depth, count), (samples, length) = masses.shape[-2:], tokens.shape[-2:]
    stream, kept = tokens, []
    for layer in range(depth):
        asking = stream if layer < depth - 1 else stream[..., -1:]  # only the last token is read at the end
        asked, share = asking.shape[-1], masses[..., layer, None, :, None] * places[:, None] / depth
        inner = asking[..., None] * places  # u, and the atoms last, where loops are long
        scores = stream[..., None, None] * inner[..., None, :, :]
        if stream.abs().max() * inner.abs().max() > STEEP:
            scores = scores - scores.amax(dim=-3, keepdim=True)
        grown = torch.exp(scores).flatten(-2)
        powers = torch.stack([torch.ones_like(stream), stream, stream.square()], dim=-2)
        total, first, second = (powers @ grown).unflatten(-1, (asked, count)).unbind(dim=-3)
        mean = first / total
        spread = second / total - mean.square()
        kept.append((stream, share, inner, grown, total, mean, spread))
        moved = (mean @ share)[..., 0]
        stream = stream + torch.nn.functional.pad(moved, (length - asked, 0))
    residual = stream[..., -1] - targets
    back, values = residual[..., None], []
    for at, share, inner, grown, total, mean, spread in reversed(kept):
        values.append(places * (back.flatten(-2)[..., None, :] @ mean.flatten(-3, -2))[..., 0, :] / samples)
        if len(values) < depth:
            query = back * ((places * spread) @ share)[..., 0]
            part = back[..., None] * share.mT / total
            both = torch.stack([part * (1 - inner * mean), part * inner], dim=-1).flatten(-3, -2)
            once, twice = (grown @ both).unbind(dim=-1)
            back = once + at * twice + torch.nn.functional.pad(back + query, (length - back.shape[-1], 0))
    values = torch.stack(values[::-1], dim=-2)
    norm = (masses * places.square()).sum(dim=(-2, -1)) / depth
    return {
        "V": values + decay / 2 * places.square(),
        "objective": residual.square().mean(dim=-1) / 2 + decay / 2 * norm,
        "outputs": stream[..., -1],
    }
