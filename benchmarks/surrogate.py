"""A model of rewards, fitted to a recorded table: so that strategies can ask for architectures that are not in it.

Ridge regression and nearest neighbours on simple features of the graph. How well they do is measured by
cross-validation, and is part of every claim that rests on them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spinet.arch.catalog import Architecture
from spinet.arch.cost import backbone_cost
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError
from spinet.report.statistics import Interval, bootstrap, spearman

Floats = NDArray[np.float64]
Kind = Literal["ridge", "neighbours"]

_PENALTIES = tuple(10.0**power for power in range(-1, 6))
_NEIGHBOURS = (1, 3, 5, 9, 15, 25)


def graph_features(genotype: Genotype, scaling: Scaling) -> dict[str, float]:
    """Summarize a graph in a few numbers, for networks of one space.

    A table of a hundred rows cannot tell the effects of four numbers per block apart: with level, parents and kind of
    every block as features, cross-validated predictions were no better than chance (docs/results.md).
    """
    blocks, first = genotype.all_blocks, len(genotype.stem)
    pairs = [(index, parent) for index, block in enumerate(genotype.blocks, start=first) for parent in block.parents]
    jumps = [blocks[index].level - blocks[parent].level for index, parent in pairs]
    cost = backbone_cost(Architecture(genotype, scaling), 640)
    levels = {
        f"blocks of level {level}": sum(block.level == level for block in genotype.blocks) for level in range(1, 8)
    }
    numbers = {
        "MACs": math.log(cost.multiply_adds),
        "parameters": math.log(cost.parameters),
        "depth": depth(genotype),
        "level jump": fmean(map(abs, jumps)),
        "to finer": fmean(jump < 0 for jump in jumps),
        "to coarser": fmean(jump > 0 for jump in jumps),
        "distance of parents": fmean(index - parent for index, parent in pairs),
        "bottlenecks": fmean(block.expansion > 1 for block in genotype.blocks),
        "dead blocks": len(blocks) - len(genotype.live),
        "merged blocks": sum(map(len, genotype.merges.values())),
        **levels,
    }
    return {name: float(value) for name, value in numbers.items()}


def features(genotype: Genotype, scaling: Scaling) -> list[float]:
    """Return the numbers of `graph_features` alone."""
    return list(graph_features(genotype, scaling).values())


def depth(genotype: Genotype) -> float:
    """Mean over the endpoints of the longest path from the first block, in blocks."""
    reach: list[int] = []
    for index, block in enumerate(genotype.all_blocks):
        sources = block.parents or ((index - 1,) if index else ())
        reach.append(1 + max((reach[source] for source in sources), default=0))
    return sum(reach[end] for end in genotype.endpoints.values()) / len(genotype.endpoints)


@dataclass(frozen=True)
class Surrogate:
    """A fitted model.

    Args:
        kind: ridge regression, or the mean of the nearest neighbours.
        setting: its penalty, or its number of neighbours, chosen by leaving one out.
        centre: mean of each feature.
        spread: its standard deviation.
        base: mean reward.
        known: weights of the features; or the neighbours' features and rewards, rewards last.
    """

    kind: Kind
    setting: float
    centre: Floats
    spread: Floats
    base: float
    known: Floats

    def predict(self, inputs: Sequence[Sequence[float]] | Floats) -> Floats:
        """Return the reward of each row of features."""
        x = (np.asarray(inputs, dtype=float) - self.centre) / self.spread
        if self.kind == "ridge":
            linear: Floats = self.base + x @ self.known
            return linear
        nearest = np.argsort(_distances(x, self.known[:, :-1]), axis=1)[:, : int(self.setting)]
        means: Floats = self.known[nearest, -1].mean(axis=1)
        return means


def fit_surrogate(kind: Kind, inputs: Floats, rewards: Floats) -> Surrogate:
    """Fit a model; its setting has the lowest leave-one-out error.

    Raises:
        SpinetError: there are fewer than four rows.
    """
    if len(rewards) < 4:
        raise SpinetError(f"a model of rewards needs four architectures or more, found {len(rewards)}")
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x, base = (inputs - centre) / spread, float(rewards.mean())
    if kind == "ridge":
        penalty = min(_PENALTIES, key=lambda penalty: _ridge_error(x, rewards, penalty))
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), rewards - base)
        return Surrogate(kind, penalty, centre, spread, base, weights)
    distances = _distances(x, x)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1)
    possible = [count for count in _NEIGHBOURS if count < len(x)]
    count = min(possible, key=lambda count: float(((rewards[order[:, :count]].mean(axis=1) - rewards) ** 2).sum()))
    return Surrogate(kind, count, centre, spread, base, np.column_stack([x, rewards]))


def cross_validated(kind: Kind, inputs: Floats, rewards: Floats, folds: int = 10, seed: int = 0) -> Floats:
    """Predict each reward by a model fitted, and its setting chosen, without that row's fold."""
    order = np.random.default_rng(seed).permutation(len(rewards))
    predicted = np.empty(len(rewards))
    for fold in range(folds):
        held = order[fold::folds]
        others = np.setdiff1d(order, held)
        if len(held):
            predicted[held] = fit_surrogate(kind, inputs[others], rewards[others]).predict(inputs[held])
    return predicted


def skill(kind: Kind, inputs: Floats, rewards: Floats) -> Interval:
    """Spearman's correlation of cross-validated predictions with the rewards, with its bootstrap interval."""
    return bootstrap(spearman, cross_validated(kind, inputs, rewards), rewards)


def _ridge_error(x: Floats, rewards: Floats, penalty: float) -> float:
    """Sum of squared leave-one-out errors, from one fit to all rows."""
    gram = x @ x.T
    hat = gram @ np.linalg.inv(gram + penalty * np.eye(len(x))) + 1 / len(x)  # every fit includes the mean
    residual = (rewards - rewards.mean()) - (hat - 1 / len(x)) @ (rewards - rewards.mean())
    return float(((residual / np.maximum(1 - np.diag(hat), 1e-9)) ** 2).sum())


def _distances(one: Floats, other: Floats) -> Floats:
    squares: Floats = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return squares
