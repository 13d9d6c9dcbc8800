"""The small vision Transformer of chapter 3 on handwritten digits, under both scalings."""

import torch

from attnflow import data, flow, runs, vit
from attnflow.claims import Experiment


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


vision_run = Experiment(vision)
