"""Two models on the same images: differences with intervals, and the images that make them.

Both are measured on the same resamples of the images, so what makes an image hard for both cancels out. The intervals
are about the choice of val images; another training of the same settings (another seed) differs too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spinet.analysis.accuracy import accuracy, class_accuracies, class_replicates, is_right
from spinet.analysis.confusion import ImageErrors, confusion
from spinet.analysis.matching import match
from spinet.analysis.overlaps import image_overlaps
from spinet.analysis.precision import NAMES, Interval, interval, precision_table
from spinet.analysis.records import ClassRecord, DetectionRecord, Floats, Integers
from spinet.analysis.thresholds import thresholds_of


class Value(NamedTuple):
    """A metric with its interval, and its value in each replicate `(R,)`."""

    interval: Interval
    replicates: Floats


@dataclass(frozen=True)
class Measured:
    """A model on a split.

    Attributes:
        metrics: by name.
        classes: the metric of each class.
        errors: `(N,)`, wrong predictions per image: missed objects and false detections, or 0 and 1.
        details: of detectors, the errors of each image.
    """

    metrics: dict[str, Value]
    classes: dict[str, Value]
    errors: Integers
    details: Sequence[ImageErrors] = ()


class Difference(NamedTuple):
    """Another model's metric minus the first one's, with the interval of the paired bootstrap."""

    value: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def measure(record: DetectionRecord | ClassRecord, weights: Integers, masks: bool) -> Measured:
    """Measure a model on its record.

    Args:
        record: ground truth and predictions.
        weights: of `resamples`, the same for all models that are compared.
        masks: whether overlaps are those of masks.
    """
    return _detector(record, weights, masks) if isinstance(record, DetectionRecord) else _classifier(record, weights)


def _detector(record: DetectionRecord, weights: Integers, masks: bool) -> Measured:
    matches = match(record, masks)
    table = precision_table(matches, weights)
    metrics = {name: Value(table.overall[name], table.replicates[:, index]) for index, name in enumerate(NAMES)}
    thresholds = np.array(thresholds_of(matches) or [0.5] * len(record.class_names))
    _, errors = confusion(record, image_overlaps(record, masks), thresholds)
    counts = [[len(image.right) for image in errors], [len(image.false) for image in errors]]
    right, false, missed = np.array([*counts, [len(image.missed) for image in errors]]).reshape(3, -1)
    metrics["F1"] = _f1(right, false + missed, weights)
    classes = {
        name: Value(table.classes[label][0], table.class_replicates[:, label])
        for label, name in enumerate(record.class_names)
    }
    return Measured(metrics, classes, false + missed, errors)


def _f1(right: Integers, wrong: Integers, weights: Integers) -> Value:
    def f1(drawn: Integers) -> Floats:
        hits, errors = drawn @ right, drawn @ wrong
        total = 2 * hits + errors
        values: Floats = np.divide(2 * hits, total, out=np.full(len(drawn), np.nan), where=total > 0)
        return values

    replicates = f1(weights)
    return Value(interval(float(f1(np.ones_like(weights[:1]))[0]), replicates), replicates)


def _classifier(record: ClassRecord, weights: Integers) -> Measured:
    right = is_right(record)
    metrics = {"top1": Value(*accuracy(right, weights)), "top5": Value(*accuracy(is_right(record, 5), weights))}
    values = zip(class_accuracies(record, weights), class_replicates(record, weights), strict=True)
    classes = {name: Value(*value) for name, value in zip(record.class_names, values, strict=True)}
    return Measured(metrics, classes, (~right).astype(np.int64))


def difference(first: Value, other: Value) -> Difference:
    """Return what another model's metric has more than the first one's."""
    value = other.interval.value - first.interval.value
    return Difference(*interval(value, other.replicates - first.replicates))


def images_that_differ(first: Measured, other: Measured, most: int) -> list[int]:
    """Return the images whose numbers of errors differ most, the largest difference first."""
    gaps = np.abs(first.errors - other.errors)
    order = np.argsort(-gaps, kind="stable")[:most]
    return [int(image) for image in order if gaps[image]]
