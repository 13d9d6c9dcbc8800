"""Training in two stages on Pathfinder pictures: the first with softmax, the second going on from there with each kernel."""

import torch

from attnflow import door, flow, runs, vit
from attnflow.kernels import minibatches, pathfinder

KERNELS = ("softmax", "gaussian", "normalised_gaussian")
PATCH = 4  # pixels of a side of a token
CONVOLUTION = minibatches.Convolution()
NETS = door.named(door.instance(vit.Transformer, L="tokens", p="size"))
MATERIAL = door.together(NETS, "S n L p", "S n P P", "int: S n")


@door.takes(pictures="... P P")
def patches(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures cut into patches of ``PATCH`` x ``PATCH`` pixels, row by row, one a token.

    pictures: (..., pixels, pixels). Returns (..., L, PATCH**2). Raises WrongUse where patches do not fill a picture.
    """
    side = runs.check("pixels", pictures.shape[-1], f"a multiple of {PATCH}", pictures.shape[-1] % PATCH == 0) // PATCH
    cut = pictures.unflatten(-1, (side, PATCH)).unflatten(-3, (side, PATCH))
    return cut.transpose(-3, -2).flatten(-2).flatten(-3, -2)


class Course:
    """A net in training: Adam on batches of pictures, and what is seen of it on some training pictures and on unseen ones.

    forward: (state, inputs) -> scores (S, n, 2); inputs: (S, n, ...) and labels (S, n), the last ``test`` of them unseen; size:
    of a batch; rate: the learning rate; every: steps between two looks.
    """

    def __init__(self, forward, inputs, labels, test, size, rate, every):
        runs.check("test", test, f"less than {inputs.shape[1]}, the number of pictures", test < inputs.shape[1])
        self.forward, self.rate, self.every = forward, rate, every
        self.parts = {"train": slice(0, test), "test": slice(-test, None)}
        self.inputs, self.labels, self.loss = inputs, labels, minibatches.cross_entropy(forward)
        self.field = minibatches.batched(self.loss, inputs[:, :-test], labels[:, :-test], size, rate)

    def look(self, state: runs.State) -> dict:
        """Loss and accuracy with the weights ``state``: ``train``, ``test``, ``train accuracy``, ``test accuracy``, (S,) each."""
        found = {}
        with torch.no_grad():
            for name, part in self.parts.items():
                inputs, labels = self.inputs[:, part], self.labels[:, part]
                found[name] = self.loss(state, inputs, labels)
                right = self.forward(state, inputs).argmax(dim=-1) == labels
                found[f"{name} accuracy"] = right.to(runs.DTYPE).mean(dim=1)
        return found

    def run(self, state: runs.State, steps: int) -> tuple[dict, runs.State]:
        """``steps`` steps from ``state``: what was seen, name -> (K, S), and the weights at the end."""
        times = self.rate * torch.arange(0, steps + 1, self.every, dtype=runs.DTYPE, device="cpu")
        record = flow.integrate(
            self.field,
            minibatches.started(state),
            step=self.rate,
            times=times,
            method=flow.Optimiser(torch.optim.Adam),
            observe=self.look,
        )
        return record.values, {name: value for name, value in record.state.items() if name != minibatches.CLOCK}


def prepared(
    device: torch.device,
    seeds: tuple,
    train: int = 40_000,
    test: int = 1000,
    contrast: float = 6.0,
    c: float = 0.5,
    pixels: int = 8,
    length: int = 5,
    distractors: int = 1,
    **shapes,
) -> tuple[dict, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures and nets of some ``seeds`` on a ``device``: (kernel -> Transformer, tokens, pictures, labels).

    train, test: how many pictures; contrast: what multiplies the pixels of the tokens, whose positions have entries of size 1;
    c: sharpness of the distances, to which softmax is matched; pixels, length, distractors: of the pictures; shapes: of
    :class:`attnflow.vit.Transformer`, where they are not those that are told of the paper.
    """
    drawn = pathfinder.pictures(runs.streams(seeds, "data"), train + test, pixels, length, distractors)
    pictures, labels = (each.to(device) for each in drawn[:2])
    tokens = runs.number("contrast", contrast, above=0) * patches(pictures)
    paper = {"width": 64, "hidden": 128, "heads": 2, "depth": 2} | shapes
    paper |= {"tokens": tokens.shape[2], "size": tokens.shape[3], "classes": 2, "c": c, "beta": 2 * c}
    return {kernel: vit.Transformer(attention=kernel, **paper) for kernel in KERNELS}, tokens, pictures, labels


@door.takes(
    material=MATERIAL,
    test=door.COUNT,
    size=door.COUNT,
    rate=door.POSITIVE,
    beside=door.POSITIVE,
    every=door.COUNT,
)
def courses(material: tuple, test: int, size: int, rate: float, beside: float, every: int) -> dict[str, Course]:
    """A course for each kernel and one for the ``convolution``.

    material: as :func:`prepared` returns it; test, size, rate, every: of :class:`Course`; beside: the rate of the convolution.
    """
    nets, tokens, pictures, labels = material
    found = {
        kernel: Course(
            lambda state, given, net=net: vit.forward(state, given, net), tokens, labels, test, size, rate, every
        )
        for kernel, net in nets.items()
    }
    return found | {"convolution": Course(CONVOLUTION.forward, pictures, labels, test, size, beside, every)}


def stages(
    device: torch.device,
    seed: int,
    count: int = 1,
    size: int = 32,
    first: int = 3000,
    second: int = 2500,
    rate: float = 5e-4,
    beside: float = 2e-3,
    every: int = 250,
    test: int = 1000,
    **settings,
) -> dict:
    """The two-stage training: a Transformer with softmax first, then with each of ``KERNELS``, and a convolution.

    device: of the runs; seed, count: that seed and the next ones, ``count`` in all, in one stack; size: of a batch; first,
    second: steps of both stages, looked at after ``every`` so many; rate: of Adam, which starts anew in the second stage;
    beside: of Adam for the convolution, which has the same pictures and as many steps as the first stage; test, settings: of
    :func:`prepared`. Returns ``train``, ``test``, ``train accuracy`` and ``test accuracy``, each of ``first`` (S, K),
    ``second`` (S, 3, J) and ``convolution`` (S, K), with a comma between.
    """
    seeds = range(seed, seed + runs.integer("count", count))
    material = prepared(device, seeds, test=test, **settings)
    course, weights = courses(material, test, size, rate, beside, every), runs.streams(seeds, "weights")
    seen, state = course[KERNELS[0]].run(runs.to(vit.init(weights, material[0][KERNELS[0]]), device), first)
    more = [course[kernel].run(state, second)[0] for kernel in KERNELS]
    other = course["convolution"].run(runs.to(CONVOLUTION.init(weights), device), first)[0]
    found = {}
    for name in seen:
        found[f"{name}, first"] = seen[name].T
        found[f"{name}, second"] = torch.stack([each[name] for each in more]).permute(2, 0, 1)
        found[f"{name}, convolution"] = other[name].T
    return found


def tuned(
    device: torch.device,
    rate: float,
    seeds: tuple = (0, 1),
    size: int = 32,
    steps: int = 3000,
    test: int = 1000,
    **settings,
) -> dict:
    """Where the softmax Transformer and the convolution end at one learning ``rate`` of Adam: what a rate is chosen on.

    device, seeds: of the runs; size: of a batch; steps: of each net; test, settings: of :func:`prepared`. Returns ``test`` and
    ``test accuracy``, each of ``softmax`` (S,) and of ``convolution`` (S,), with a comma between.
    """
    material = prepared(device, seeds, test=test, **settings)
    course, weights = courses(material, test, size, rate, rate, steps), runs.streams(seeds, "weights")
    starts = {KERNELS[0]: vit.init(weights, material[0][KERNELS[0]]), "convolution": CONVOLUTION.init(weights)}
    found = {}
    for which, start in starts.items():
        seen = course[which].run(runs.to(start, device), steps)[0]
        found |= {f"{name}, {which}": seen[name][-1] for name in ("test", "test accuracy")}
    return found
