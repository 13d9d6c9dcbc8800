"""What the claims of chapter 1 read from a record: one number a seed."""

import torch

from attnflow import flow
from attnflow.foundations import theory


def slope(name):
    """Reading: the order in the step of the drift of one law, (S,)."""
    return lambda record: flow.observed_order(record["steps"], record[name])


def error_order(record):
    """Reading: the order in the step of the distance to the flow, (S,)."""
    return flow.observed_order(record["steps"], record["error"])


def shift_drift(record):
    """Reading: the largest drift of the linear law over all steps, (S,)."""
    return record["shift"].amax(dim=0)


def moved_share(record):
    """Reading: drift of the query-key balance over the change of its first term, at the smallest step, (S,)."""
    return record["query-key"][-1] / record["query alone"][-1]


def worst_residual(record):
    """Reading: the larger residual of the two one-step identities, (S,)."""
    return torch.maximum(record["query-key"], record["value-output"])


def worst_rate(record):
    """Reading: of the two decay rates, over their prediction, the one further from 1, (S,)."""
    first, second = record["rate"]["query-key"], record["rate"]["value-output"]
    return torch.where((first - 1).abs() > (second - 1).abs(), first, second)


def small_start_imbalance(record):
    """Reading: the relative imbalance at the end, from the first of the initial sizes, (S,)."""
    return record["end"][0]


def logistic_gap(record):
    """Reading: the largest distance to the balanced closed form over time, over the target, (S,)."""
    predicted = torch.as_tensor(theory.logistic(record["times"], record["start"], record["target"]))
    return (record["u"] - predicted[:, None]).abs().amax(dim=0) / record["target"]


def arrival_gap(record):
    """Reading: the largest relative error of the predicted arrival time over imbalances, (S,)."""
    return (record["times"] / record["predicted"] - 1).abs().amax(dim=0)


def arrival_gap_without_imbalance(record):
    """The same reading when the prediction forgets the imbalance and uses the balanced time throughout, (S,)."""
    return (record["times"] / record["predicted"][:1] - 1).abs().amax(dim=0)
