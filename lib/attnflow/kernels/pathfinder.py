r"""Pathfinder, a generator of our own: two dots on a small picture, joined or not by a dashed path among others.

Every scene holds two long paths and some short distractors that never touch. A dot stands on one end of a long path, the other
on the other end of the same path, or on an end of the second one *just as far away*: scenes without such an end are left out.
The label is a coin that moves nothing but the second dot, so neither the number of lit pixels nor the distance of the dots
tells it.
"""

import torch

from attnflow import door, runs
from attnflow.runs import Stack

LIT, DOT = 1.0, 2.0  # the brightness of a path and of the two dots, on a dark ground of 0
DASH = 3  # every third cell of a path is dark
TURN = 0.3  # the chance that a path turns to the left or to the right from one cell to the next
TRIES = 6  # places that are tried for one path, before its scene is left out
CHUNK = 4096  # scenes that are drawn at once
WAYS = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]], device="cpu")


@door.takes(count=door.COUNT, pixels=door.COUNT, length=door.whole(2))
def walks(generator: torch.Generator, count: int, pixels: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks that may turn but not reverse, from anywhere: cells (count, length, 2), and which are paths (count,).

    A path stays inside the picture of ``pixels`` x ``pixels`` and meets no cell twice. generator: of the draws; count: how
    many; length: in cells.
    """
    start = torch.randint(pixels, (count, 1, 2), generator=generator, device="cpu")
    first = torch.randint(4, (count, 1), generator=generator, device="cpu")
    chance = torch.rand(count, length - 2, generator=generator, device="cpu")
    turns = (chance < TURN / 2).long() - (chance > 1 - TURN / 2).long()
    ways = WAYS[torch.cat([first, first + turns.cumsum(dim=1)], dim=1) % 4]
    cells = torch.cat([start, start + ways.cumsum(dim=1)], dim=1)
    inside = ((cells >= 0) & (cells < pixels)).all(dim=2).all(dim=1)
    places = (cells[..., 0] * pixels + cells[..., 1]).sort(dim=1).values
    return cells, inside & (places.diff(dim=1) > 0).all(dim=1)


@door.takes(taken="bool: M P P", length=door.whole(2))
def place(generator: torch.Generator, taken: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One more path of a ``length`` in each scene, which touches nothing that is ``taken``, at a side or at a corner.

    generator: of the draws; taken: (M, pixels, pixels) of bool, of which the scenes with room for the path get its cells.
    Returns the cells (M, length, 2), and which scenes had room, (M,).
    """
    pixels, rows = taken.shape[1], torch.arange(len(taken), device="cpu")[:, None]
    wide = torch.nn.functional.max_pool2d(taken[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    path = torch.zeros(len(taken), length, 2, dtype=torch.long, device="cpu")
    placed = torch.zeros(len(taken), dtype=torch.bool, device="cpu")
    for _ in range(TRIES):
        cells, good = walks(generator, len(taken), pixels, length)
        known = cells.clamp(0, pixels - 1)
        new = good & ~placed & ~wide[rows, known[..., 0], known[..., 1]].any(dim=1)
        path[new], placed = cells[new], placed | new
    taken[rows[placed], path[placed][..., 0], path[placed][..., 1]] = True
    return path, placed


@door.takes(one="int: M l 2", two="int: M m 2", matched=door.FLAG)
def dotted(
    generator: torch.Generator, one: torch.Tensor, two: torch.Tensor, matched: bool = True
) -> tuple[torch.Tensor, ...]:
    r"""Where the dots stand: for each scene an end of a path, its other end, and an end of the other path just as far away.

    generator: of the draws; one, two: cells of the long paths, (M, l, 2). Returns three cells (M, 2), and which scenes have
    them, (M,): $|a - a'|^2 = |a - b|^2$ for the ends a, a' of one path and b of the other; where they need not be ``matched``,
    all scenes have them.
    """
    ends = torch.stack([torch.stack([path[:, 0], path[:, -1]], dim=1) for path in (one, two)], dim=1)
    # All eight choices of (path, its end, end of the other path), in a random order of each scene.
    order = torch.rand(len(one), 8, generator=generator, device="cpu").argsort(dim=1)
    path, end, other = order // 4, order // 2 % 2, order % 2
    rows = torch.arange(len(one), device="cpu")[:, None]
    first, joined, apart = ends[rows, path, end], ends[rows, path, 1 - end], ends[rows, 1 - path, other]
    fits = (first - joined).square().sum(dim=2) == (first - apart).square().sum(dim=2)
    fits = fits if matched else torch.ones_like(fits)
    pick = fits.to(torch.int8).argmax(dim=1)
    return *(cell[rows[:, 0], pick] for cell in (first, joined, apart)), fits.any(dim=1)


@door.takes(pixels=door.COUNT, lengths=door.several(door.whole(2), least=2), matched=door.FLAG)
def scenes(
    generator: torch.Generator, pixels: int, lengths: tuple, matched: bool = True
) -> tuple[list, tuple, torch.Tensor]:
    """As many of ``CHUNK`` scenes as came about: with dots, and one path of each of the ``lengths``, none touching another.

    generator: of the draws; pixels: side of the picture; lengths: of the two long paths first; matched: of :func:`dotted`.
    Returns the cells of each path, (M, length, 2), the three cells of :func:`dotted`, (M, 2), and the whole paths without gaps,
    (M, pixels, pixels) of bool.
    """
    taken, paths = torch.zeros(CHUNK, pixels, pixels, dtype=torch.bool, device="cpu"), []

    def keep(good):
        nonlocal taken, paths, cells
        taken, paths, cells = taken[good], [path[good] for path in paths], [cell[good] for cell in cells]

    cells = []
    for length in lengths:
        path, placed = place(generator, taken, length)
        paths.append(path)
        keep(placed)
        if len(paths) == 2:
            *cells, fits = dotted(generator, *paths, matched)
            keep(fits)
    return paths, tuple(cells), taken


@door.takes(
    count=door.COUNT, pixels=door.COUNT, length=door.COUNT, distractors=door.INDEX, short=door.COUNT, matched=door.FLAG
)
def pictures(
    generators: list,
    count: int,
    pixels: int = 8,
    length: int = 5,
    distractors: int = 1,
    short: int = 2,
    matched: bool = True,
) -> tuple[Stack, torch.Tensor, torch.Tensor]:
    """Pictures with two dots, whether a path joins them, and the paths without gaps.

    generators: one a run; count: n pictures a run; pixels: side of a picture; length: cells of the two long paths, and short:
    of the ``distractors``, both 3 m + 2, so that both ends of a path are lit; matched: whether dots
    that are not joined are as far apart as they would be if joined, of :func:`dotted`. Returns pictures (S, n, pixels, pixels),
    float64; labels (S, n), 1 where the dots are joined; and whole (S, n, pixels, pixels) of bool. Raises WrongUse for other
    sizes, and where not one scene in a chunk has room.
    """
    sizes = {"count": count, "pixels": pixels}
    for name, size in sizes.items():
        runs.integer(name, size)
    for name, size in {"length": length, "short": short}.items():
        allowed = f"2, 5, 8, ... cells, at most pixels = {pixels}"
        runs.check(name, size, allowed, runs.integer(name, size) % DASH == 2 and size <= pixels)
    lengths = (length, length, *[short] * runs.integer("distractors", distractors, least=0))
    runs.choice("matched", matched, (False, True))
    parts = [_run(one, count, pixels, lengths, matched) for one in runs.generators(generators)]
    return tuple(torch.stack(each) for each in zip(*parts, strict=True))


def _run(generator, count, pixels, lengths, matched):
    """The pictures of one run."""
    parts, have = [], 0
    while have < count:
        paths, cells, whole = scenes(generator, pixels, lengths, matched)
        runs.check("distractors", len(lengths) - 2, f"few enough for {pixels} pixels", len(whole) > 0)
        labels = torch.randint(2, (len(whole),), generator=generator, device="cpu")
        picture, rows = torch.zeros(whole.shape, dtype=runs.DTYPE, device="cpu"), torch.arange(len(whole), device="cpu")
        for path in paths:
            lit = path[:, [step % DASH < DASH - 1 for step in range(path.shape[1])]]
            picture[rows[:, None], lit[..., 0], lit[..., 1]] = LIT
        for cell in (cells[0], torch.where(labels[:, None] == 1, cells[1], cells[2])):
            picture[rows, cell[:, 0], cell[:, 1]] = DOT
        parts.append((picture, labels, whole))
        have += len(whole)
    return tuple(torch.cat(each)[:count] for each in zip(*parts, strict=True))


@door.takes(pictures="S n P P")
def distances(pictures: Stack) -> torch.Tensor:
    """The squared distance of the two dots of ``pictures``, (S, n, pixels, pixels), in pixels: (S, n) of whole numbers.

    Raises WrongUse where a picture has more dots, or fewer.
    """
    most, least = (int(dots((pictures == DOT).sum(dim=(2, 3)))) for dots in (torch.max, torch.min))
    runs.check("dots of a picture", (least, most), "2, and no more", least == most == 2)
    places = (pictures == DOT).nonzero()[:, 2:].unflatten(0, (*pictures.shape[:2], 2))
    return (places[:, :, 0] - places[:, :, 1]).square().sum(dim=2)
