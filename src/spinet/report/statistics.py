"""Statistics of a search: rank correlation, intervals, best of n, Pareto fronts.

Pure functions of arrays; rewards are better the higher they are. Rank correlations need scipy (extra `search`).
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinet.errors import SpinetError
from spinet.extras import import_extra

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its bootstrap interval; all three are NaN if it is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "\N{EN DASH}"
        if np.isnan(self.low):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, ties by mean rank; NaN for fewer than three pairs or a constant column.

    >>> round(spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]), 6)
    0.8
    """
    return _correlation("spearmanr", x, y)


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b; NaN for fewer than three pairs or a constant column.

    >>> round(kendall([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]), 6)
    0.6
    """
    return _correlation("kendalltau", x, y)


def precision_at_top(cheap: ArrayLike, costly: ArrayLike, fraction: float = 0.1) -> float:
    """The fraction of the best by the cheap measure that is among the best by the costly one.

    "Best" is this fraction of all, rounded, at least one. Ties are broken at random, in expectation.
    Chance gives `fraction`.

    >>> precision_at_top([1, 2, 3, 4], [1, 3, 2, 4], fraction=0.5)
    0.5
    """
    a, b = _pairs(cheap, costly)
    if not len(a):
        return float("nan")
    count = max(1, round(fraction * len(a)))
    return float(_in_top(a, count) @ _in_top(b, count) / count)


def regret_of_top1(cheap: ArrayLike, costly: ArrayLike) -> float:
    """The loss in costly reward from choosing the best by the cheap one; the mean, if several tie.

    >>> regret_of_top1([1, 2, 3], [0.1, 0.5, 0.4])
    0.1
    """
    a, b = _pairs(cheap, costly)
    if not len(a):
        return float("nan")
    return round(float(b.max() - b[a == a.max()].mean()), 12)


def bootstrap(
    statistic: Callable[..., float], *columns: ArrayLike, seed: int = 0, repeats: int = 1000, confidence: float = 0.95
) -> Interval:
    """Return a statistic of columns of equal length, and its percentile bootstrap interval over their rows."""
    rows = [np.asarray(column, dtype=float) for column in columns]
    value, count = statistic(*rows), len(rows[0])
    draws = np.random.default_rng(seed).integers(max(count, 1), size=(repeats if count > 1 else 0, count))
    values = np.array([statistic(*(column[draw] for column in rows)) for draw in draws])
    if np.isfinite(values).sum() < 2:
        return Interval(value, float("nan"), float("nan"))
    # A resample may be constant, and its correlation undefined.
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def best_so_far(rewards: Sequence[float | None]) -> list[float | None]:
    """Running maximum; trials without a reward keep the previous one.

    >>> best_so_far([None, 0.2, 0.1, None, 0.3])
    [None, 0.2, 0.2, 0.2, 0.3]
    """

    def better(best: float | None, reward: float | None) -> float | None:
        return reward if best is None or (reward is not None and reward > best) else best

    return list(accumulate(rewards, better))


def best_of(rewards: Sequence[float], draws: int, quantile: float) -> float:
    """Quantile of the best of so many draws from the empirical distribution of `rewards`, exactly.

    The best of n draws is at most the k-th of m ordered rewards with probability `(k / m) ** n`. More draws than
    rewards are not meaningful: the tail of the distribution is not in the sample.

    >>> [best_of([1.0, 2.0, 3.0, 4.0], draws, 0.5) for draws in (1, 2, 4)]
    [2.0, 3.0, 4.0]
    """
    if not len(rewards) or draws < 1 or not 0 < quantile < 1:
        raise SpinetError(f"best of {draws} draws from {len(rewards)} rewards at quantile {quantile} is not defined")
    index = len(rewards) * quantile ** (1 / draws)
    return float(np.sort(rewards)[min(len(rewards), int(np.ceil(index - 1e-9))) - 1])


def best_of_normal(mean: float, deviation: float, draws: int, quantile: float) -> float:
    """Quantile of the best of so many draws from a normal distribution.

    >>> round(best_of_normal(0.0, 1.0, 100, 0.5), 3)
    2.462
    """
    return float(mean + deviation * NormalDist().inv_cdf(quantile ** (1 / draws)))


def pareto_front(costs: ArrayLike, rewards: ArrayLike) -> list[int]:
    """Indices of the Pareto-optimal points, by ascending cost; the first of equal points.

    >>> pareto_front([3, 1, 2, 2], [0.5, 0.1, 0.4, 0.3])
    [1, 2, 0]
    """
    cost, reward = _pairs(costs, rewards)
    front: list[int] = []
    for index in np.lexsort((np.arange(len(cost)), -reward, cost)):
        if not front or reward[index] > reward[front[-1]]:
            front.append(int(index))
    return front


def hypervolume(costs: ArrayLike, rewards: ArrayLike, worst: tuple[float, float]) -> float:
    """Area that the points dominate within the corner `worst` = (highest cost, lowest reward).

    >>> hypervolume([1, 2], [0.1, 0.4], worst=(4, 0))
    0.9
    """
    cost, reward = _pairs(costs, rewards)
    inside = (cost <= worst[0]) & (reward >= worst[1])
    cost, reward = cost[inside], reward[inside]
    area, edge = 0.0, worst[0]
    for index in reversed(pareto_front(cost, reward)):
        area += (edge - cost[index]) * (reward[index] - worst[1])
        edge = cost[index]
    return round(float(area), 12)


def _correlation(name: str, x: ArrayLike, y: ArrayLike) -> float:
    a, b = _pairs(x, y)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(getattr(import_extra("scipy.stats", "search", "statistics of a search"), name)(a, b).statistic)


def _pairs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise SpinetError(f"two columns of one length are needed, got shapes {a.shape} and {b.shape}")
    return a, b


def _in_top(values: Floats, count: int) -> Floats:
    """Probability of each to be among the `count` largest, ties broken at random."""
    threshold = np.sort(values)[-count]
    above, tied = values > threshold, values == threshold
    probability: Floats = above + tied * (count - above.sum()) / tied.sum()
    return probability
