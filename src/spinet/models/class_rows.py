"""The rows of class predictors: which of them belong to which class, and taking them from one network into another."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# In place of the label that a class starts from: the mean of all, or newly initialized.
AVERAGE, NEW = -1, -2


class ClassRows(NamedTuple):
    """How the first axis of a predictor is made up: `(groups, first + classes, values)`, the last varying fastest.

    Attributes:
        groups: anchors of a location, or 1.
        first: rows before those of the classes: the background's, which every network has.
        values: outputs of each class.
    """

    groups: int = 1
    first: int = 0
    values: int = 1


def take_rows(new: Tensor, old: Tensor, rows: ClassRows, starts: Sequence[int], averaged: Sequence[int]) -> Tensor:
    """Return a predictor's weight or bias with rows of another one, whose classes are others.

    Args:
        new: newly initialized, `(groups * (first + K) * values, ...)`.
        old: the other one's, likewise for its own number of classes.
        rows: how both are made up.
        starts: for each class the label in the other network that it starts from, `AVERAGE` or `NEW`.
        averaged: labels that `AVERAGE` stands for.
    """
    groups, first, values = rows
    taken, source = (torch.unflatten(tensor, 0, (groups, -1, values)) for tensor in (new.clone(), old))
    taken[:, :first] = source[:, :first]
    mean = source[:, torch.tensor(averaged) + first].mean(dim=1) if averaged else None
    for label, start in enumerate(starts, start=first):
        if start >= 0:
            taken[:, label] = source[:, start + first]
        elif start == AVERAGE and mean is not None:
            taken[:, label] = mean
    return taken.flatten(0, 2)
