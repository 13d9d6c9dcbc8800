"""A claim of one's own: what attention keeps only without its softmax."""

import torch

from attnflow import Control, Experiment, checks, flow, kinds, runs
from attnflow.claims import chapter_of

SHAPES = {"W_Q": (5, 3), "W_K": (5, 3), "W_V": (5, 3), "W_O": (3, 2)}


def problem(seeds, device, softmax=False):
    """Field and start: 8 sequences of 4 tokens a seed, and random targets."""
    data, draws = (runs.streams(seeds, name) for name in ("data", "weights"))
    tokens, targets = (runs.normal(data, 8, 4, n).to(device) for n in (5, 2))
    start = {one: runs.normal(draws, *SHAPES[one], std=0.4) for one in SHAPES}

    def loss(state):
        W_Q, W_K, W_V, W_O = (state[name][:, None] for name in SHAPES)
        logits = tokens @ W_Q @ (tokens @ W_K).mT / 3**0.5
        weights = torch.softmax(logits, dim=-1) if softmax else logits / 4
        gaps = weights @ tokens @ W_V @ W_O - targets
        return gaps.square().mean(dim=(1, 2, 3)) / 2

    return flow.autograd(loss), runs.to(start, device)


def balances(state):
    """The law: squared norms of all factors less that of W_Q, (S, 4)."""
    norms = [state[name].square().sum(dim=(1, 2)) for name in SHAPES]
    return {"norms": torch.stack(norms, dim=1) - norms[0][:, None]}


linear = Experiment(checks.drift, {"problem": problem, "balances": balances})
control = Control("with the softmax", {"softmax": True})
title = "Linear attention balances all four of its factors"
statement = "Without a softmax their squared norms keep their differences."
law = kinds.law(linear, "norms")
claim = chapter_of("mine")
CLAIMS = [claim("norms", title, statement, law, control)]
