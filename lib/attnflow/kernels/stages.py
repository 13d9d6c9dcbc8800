"""Training in two stages on Pathfinder pictures: the first with softmax, the second going on from there with each kernel."""

import torch

from attnflow import flow, runs, vit
from attnflow.kernels import minibatches, pathfinder

KERNELS = ("softmax", "gaussian", "normalised_gaussian")
PATCH = 4  # pixels of a side of a token


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


def stages(
    device: torch.device,
    seed: int,
    pixels: int = 8,
    length: int = 5,
    distractors: int = 0,
    train: int = 40_000,
    test: int = 1000,
    size: int = 32,
    first: int = 3000,
    second: int = 2500,
    rate: float = 5e-4,
    every: int = 250,
    contrast: float = 6.0,
    c: float = 0.5,
    **shapes,
) -> dict:
    """One seed of the two-stage training: a Transformer with softmax first, then with each of ``KERNELS``, and a convolution.

    device, seed: of the run; pixels, length, distractors: of the pictures; train, test: how many; size: of a batch; first,
    second: steps of both stages, looked at after ``every`` so many; rate: of Adam, which starts anew in the second stage;
    contrast: what multiplies the pixels of the tokens, whose positions have entries of size 1; c: sharpness of the distances,
    to which softmax is matched; shapes: of :class:`attnflow.vit.Transformer`. The convolution has the same pictures and as
    many steps as the first stage. Returns ``train``, ``test``, ``train accuracy`` and ``test accuracy``, each of ``first`` (K,),
    ``second`` (3, J) and ``convolution`` (K,), with a comma between.
    """
    pictures, labels, _ = pathfinder.pictures(runs.streams([seed], "data"), train + test, pixels, length, distractors)
    pictures, labels = pictures.to(device), labels.to(device)
    tokens = runs.number("contrast", contrast, above=0) * patches(pictures)
    paper = {"width": 64, "hidden": 128, "heads": 2, "depth": 2} | shapes
    paper |= {"tokens": tokens.shape[2], "size": tokens.shape[3], "classes": 2, "c": c, "beta": 2 * c}
    nets = {kernel: vit.Transformer(attention=kernel, **paper) for kernel in KERNELS}
    weights, small = runs.streams([seed], "weights"), minibatches.Convolution()

    def course(forward, inputs):
        return Course(forward, inputs, labels, test, size, rate, every)

    courses = {
        kernel: course(lambda state, inputs, net=net: vit.forward(state, inputs, net), tokens)
        for kernel, net in nets.items()
    }
    seen, state = courses[KERNELS[0]].run(runs.to(vit.init(weights, nets[KERNELS[0]]), device), first)
    more = [courses[kernel].run(state, second)[0] for kernel in KERNELS]
    beside = course(small.forward, pictures).run(runs.to(small.init(weights), device), first)[0]
    found = {}
    for name in seen:
        found[f"{name}, first"] = seen[name][:, 0]
        found[f"{name}, second"] = torch.stack([each[name][:, 0] for each in more])
        found[f"{name}, convolution"] = beside[name][:, 0]
    return found
