"""Average precision with intervals, and precision-recall curves.

The intervals are bootstraps over images: 95 % of the values that as many images, drawn anew from these with
replacement, would have given. They say how far another val split of the same kind may differ, not another training.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from spinet.analysis.matching import SIZES, THRESHOLDS, ClassMatches
from spinet.analysis.records import Booleans, Floats, Integers

RECALLS = np.linspace(0.0, 1.0, 101)
REPLICATES = 200
# Detections times replicates that are computed at once: memory stays below some 100 MB.
AT_ONCE = 2_000_000
COVERED = 0.95


class Interval(NamedTuple):
    """A value and its 95 % bootstrap interval; NaN where nothing was to be measured."""

    value: float
    low: float
    high: float


class Curve(NamedTuple):
    """Precision and recall at each detection, by descending score."""

    scores: Floats
    precision: Floats
    recall: Floats


def resamples(images: int, replicates: int = REPLICATES, seed: int = 0) -> Integers:
    """Return how often each image is drawn in each replicate, `(R, N)`; the same for all models, so that they pair."""
    chances = np.full(images, 1 / images) if images else np.zeros(0)
    return np.random.default_rng(seed).multinomial(images, chances, size=replicates)


def average_precision(matches: Sequence[ClassMatches], weights: Integers) -> Floats:
    """Return COCO's AP `(R, K, S, T)` of each replicate, class, size and threshold; NaN without objects.

    Args:
        matches: of each class.
        weights: `(R, N)`, how often each image counts; all ones for the plain AP.
    """
    shape = matches[0].right.shape[:2] if matches else (len(SIZES), len(THRESHOLDS))
    values = np.full((len(weights), len(matches), *shape), np.nan)
    for index, of_class in enumerate(matches):
        step = max(1, AT_ONCE // max(len(of_class.scores), 1))
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            values[part, index] = _class_precision(of_class, weights[part])
    return values


def _class_precision(matches: ClassMatches, weights: Integers) -> Floats:
    sizes, thresholds, _ = matches.right.shape
    values = np.empty((len(weights), sizes, thresholds))
    seen: Any = weights.astype(np.int32)[:, matches.images]
    for size in range(sizes):
        objects = weights @ matches.objects[size]
        for level in range(thresholds):
            right, ignored = matches.right[size, level], matches.ignored[size, level]
            values[:, size, level] = _precision(right, ignored, seen, objects)
    return values


def _precision(right: Booleans, ignored: Booleans, seen: Integers, objects: Integers) -> Floats:
    """Return AP `(R,)`. Only right detections matter: between them precision falls, and recall stands."""
    hits = np.flatnonzero(right)
    found = np.cumsum(seen[:, hits], axis=1)
    # Wrong ones before each right one; those after the last do not count.
    end = int(hits[-1]) + 1 if len(hits) else 0
    wrong = np.cumsum(seen[:, :end] * ~(right | ignored)[:end], axis=1, dtype=np.int32)[:, hits]
    total = found + wrong
    precision = np.divide(found, total, out=np.zeros(total.shape), where=total > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, objects[:, None], out=np.zeros(total.shape), where=objects[:, None] > 0)
    # How many of the 101 recalls each right detection is the first to reach.
    reached = np.searchsorted(RECALLS, recall, side="right")
    new = np.diff(reached, axis=1, prepend=0)
    area: Floats = (precision * new).sum(axis=1) / len(RECALLS)
    return np.where(objects > 0, area, np.nan)


def precision_at(right: Booleans, objects: int) -> float:
    """Return the AP of detections by descending score, of which some are right."""
    ones = np.ones((1, len(right)), dtype=np.int64)
    return float(_precision(right, np.zeros_like(right), ones, np.array([objects]))[0])


def interval(value: float, replicates: Floats) -> Interval:
    """Return a value with the interval of its replicates."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite) or not np.isfinite(value):
        return Interval(float(value), np.nan, np.nan)
    low, high = np.quantile(finite, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return Interval(float(value), float(low), float(high))


def mean(values: Floats, axis: tuple[int, ...]) -> Floats:
    """Return the mean over axes without NaN; NaN where all are."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    average: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return average


class PrecisionTable(NamedTuple):
    """AP of all classes together, of sizes, and of each class.

    Attributes:
        overall: by COCO's names, AP, AP50, AP75, APs, APm, APl.
        classes: (AP, AP50) of each class.
        replicates: `(R, 6)`, the bootstrap of `overall`.
        class_replicates: `(R, K)`, that of each class's AP.
    """

    overall: dict[str, Interval]
    classes: list[tuple[Interval, Interval]]
    replicates: Floats
    class_replicates: Floats


NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def precision_table(matches: Sequence[ClassMatches], weights: Integers) -> PrecisionTable:
    """Return the table; `weights` are those of `resamples`."""
    plain = average_precision(matches, np.ones((1, weights.shape[1]), dtype=np.int64))
    drawn = average_precision(matches, weights)
    (values,), replicates = _overall(plain), _overall(drawn)
    overall = {name: interval(values[index], replicates[:, index]) for index, name in enumerate(NAMES)}
    averages = [mean(ap[:, :, 0], (2,)) for ap in (plain, drawn)]
    classes = [
        (
            interval(averages[0][0, label], averages[1][:, label]),
            interval(plain[0, label, 0, 0], drawn[:, label, 0, 0]),
        )
        for label in range(len(matches))
    ]
    return PrecisionTable(overall, classes, replicates, averages[1])


def _overall(ap: Floats) -> Floats:
    """Return COCO's six numbers `(R, 6)` from AP by class, size and threshold."""
    by_level, by_size = mean(ap[:, :, 0], (1,)), mean(ap, (1, 3))
    return np.stack([by_size[:, 0], by_level[:, 0], by_level[:, 5], *by_size[:, 1:].T], axis=1)


def curve(matches: ClassMatches) -> Curve:
    """Return the precision-recall curve of a class at the first threshold, for objects of all sizes."""
    counted = ~matches.ignored[0, 0]
    right = matches.right[0, 0][counted]
    found, objects = np.cumsum(right), int(matches.objects[0].sum())
    ranks = np.arange(1, len(right) + 1)
    return Curve(matches.scores[counted], found / ranks, found / max(objects, 1))
