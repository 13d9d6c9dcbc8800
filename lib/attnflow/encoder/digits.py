"""Real data for chapter 3: the encoder on two handwritten digits, and a small vision Transformer on all ten."""

import torch

from attnflow import data, flow, ntk, runs, vit
from attnflow.claims import Experiment
from attnflow.encoder import kernel, model, task


def two_digits(seeds, device, width=512, samples=24, steps=300, **settings):
    r"""The encoder on images of 3 and 8: its losses, and those that the kernel at the start predicts.

    Step 1 over $\mu_{\max}(K_0)$. Returns ``loss`` and ``predicted`` (K, S), ``step``, ``start`` and ``end`` kernels.
    """
    net = model.Encoder(d=4, width=width, **settings)
    inputs, labels = task.digits(runs.streams(seeds), samples, std=net.token_std)
    state = runs.to(model.init(runs.streams(seeds, replica=width), net), device)
    inputs, labels = inputs.to(device), labels.to(device)
    first = kernel.empirical(state, inputs, net)
    step = 1 / torch.linalg.eigvalsh(first)[:, -1]
    residual = model.forward(state, inputs, net) - labels
    times = step * torch.arange(steps + 1, dtype=runs.DTYPE, device=device)[:, None]
    record = flow.integrate(model.field(inputs, labels, net), state, step=step, times=times)
    last = kernel.empirical(record.state, inputs, net)
    predicted = ntk.linear_losses(first, residual, step, steps)
    return {"loss": record.values["loss"], "predicted": predicted, "step": step, "start": first, "end": last}


def vision(seeds, device, width=32, scaling=0.5, train=300, test=300, steps=200, step=0.2, every=20, **options):
    """The small vision Transformer on ten digits by full-batch descent with one fixed step.

    Returns ``loss``, ``deficit`` (entropy deficit of the attention on the test digits), ``accuracy`` (on the test
    digits), each (K, S), and ``steps`` (K,).
    """
    net = vit.Transformer(width=width, scaling=scaling, **options)
    generators = runs.streams(seeds)
    tokens, labels = data.subsets(generators, train, test)
    tokens, labels = tokens.to(device), labels.to(device)
    state = runs.to(vit.init(runs.streams(seeds, replica=width), net), device)

    def observe(now):
        return {
            "accuracy": vit.accuracy(now, tokens[:, train:], labels[:, train:], net),
            "deficit": vit.entropy_deficit(now, tokens[:, train:], net),
        }

    field = vit.field(tokens[:, :train], labels[:, :train], net)
    times = step * torch.arange(0, steps + 1, every, dtype=runs.DTYPE, device=device)
    record = flow.integrate(field, state, step=step, times=times, observe=observe)
    return record.values | {"steps": torch.arange(0, steps + 1, every)[: len(record.times)]}


two_digits_run = Experiment(two_digits)
vision_run = Experiment(vision)
