"""A classifier's accuracy, with intervals, and its most confident mistakes."""

import numpy as np

from spinet.analysis.precision import Interval, interval
from spinet.analysis.records import Booleans, ClassRecord, Floats, Integers


def is_right(record: ClassRecord, top: int = 1) -> Booleans:
    """Return whether the true class of each image `(N,)` is among the `top` most probable."""
    right: Booleans = (record.predicted[:, :top] == record.labels[:, None]).any(axis=1)
    return right


def accuracy(right: Booleans, weights: Integers) -> tuple[Interval, Floats]:
    """Return the accuracy with its interval, and its replicates; `weights` are those of `resamples`."""
    replicates = weights @ right / np.maximum(weights.sum(axis=1), 1)
    return interval(float(right.mean()) if len(right) else np.nan, replicates), replicates


def class_accuracies(record: ClassRecord, weights: Integers) -> list[Interval]:
    """Return the accuracy of each true class."""
    right, values = is_right(record), []
    for label, replicates in enumerate(class_replicates(record, weights)):
        mine = record.labels == label
        values.append(interval(float(right[mine].mean()) if mine.any() else np.nan, replicates))
    return values


def class_replicates(record: ClassRecord, weights: Integers) -> list[Floats]:
    """Return the accuracy of each true class in each replicate `(R,)`, NaN where none of its images is drawn."""
    right, values = is_right(record), []
    for label in range(len(record.class_names)):
        mine = record.labels == label
        counts, hits = weights[:, mine].sum(axis=1), weights[:, mine] @ right[mine]
        values.append(np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0))
    return values


def confident_mistakes(record: ClassRecord, most: int) -> list[int]:
    """Return the images that were predicted wrong with the highest scores, highest first."""
    wrong = np.flatnonzero(~is_right(record))
    return [int(image) for image in wrong[np.argsort(-record.scores[wrong, 0], kind="stable")][:most]]
