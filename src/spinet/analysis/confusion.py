"""Which classes are taken for which."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from spinet.analysis.overlaps import ImageOverlaps
from spinet.analysis.records import ClassRecord, DetectionRecord, Floats, Integers

OVERLAP = 0.5


class Confused(NamedTuple):
    """A true class, the class it was taken for, how often, and as a fraction of the true class."""

    truth: int
    found: int
    times: int
    fraction: float


class ImageErrors(NamedTuple):
    """What is wrong in an image at a threshold, all indices into the record's objects.

    Attributes:
        image: its index.
        right: detections of the right class at the right location.
        false: all other detections.
        found: objects that have a right detection.
        missed: the others.
    """

    image: int
    right: Integers
    false: Integers
    found: Integers
    missed: Integers

    @property
    def total(self) -> int:
        """Number of errors."""
        return len(self.false) + len(self.missed)


def confusion(
    record: DetectionRecord, overlaps: Iterable[ImageOverlaps], thresholds: Floats
) -> tuple[Integers, list[ImageErrors]]:
    """Pair detections with objects whatever their class, highest IoU first among right classes, then among wrong ones.

    Args:
        record: ground truth and detections.
        overlaps: of all images.
        thresholds: lowest score of each label.

    Returns:
        `(K + 1, K + 1)`, objects by true class (rows) and class found; the last row holds detections of nothing, and
        the last column missed objects. And what is wrong in each image.
    """
    count = len(record.class_names)
    matrix, images = np.zeros((count + 1, count + 1), dtype=np.int64), []
    for image in overlaps:
        found, truth = record.found[image.found], record.truth[image.truth]
        shown, objects = found.scores >= thresholds[found.labels], ~truth.crowd
        same = found.labels[:, None] == truth.labels[None]
        near = np.where(shown[:, None] & objects[None], image.iou, 0.0)
        pairs = _pairs(np.where(near >= OVERLAP, near + same, 0.0))
        # Those in a crowd region of their class are neither right nor wrong.
        crowded = ((image.iou >= OVERLAP) & same & truth.crowd[None]).any(axis=1)
        crowded[[row for row, _ in pairs]] = False
        for row, column in pairs:
            matrix[truth.labels[column], found.labels[row]] += 1
        free = shown & ~crowded
        free[[row for row, _ in pairs]] = False
        objects[[column for _, column in pairs]] = False
        matrix[count] += np.bincount(found.labels[free], minlength=count + 1)
        matrix[:, count] += np.bincount(truth.labels[objects], minlength=count + 1)
        right = [(row, column) for row, column in pairs if same[row, column]]
        wrong = [(row, column) for row, column in pairs if not same[row, column]]
        false = sorted([*np.flatnonzero(free).tolist(), *(row for row, _ in wrong)])
        missed = sorted([*np.flatnonzero(objects).tolist(), *(column for _, column in wrong)])
        starts = (image.found.start, image.found.start, image.truth.start, image.truth.start)
        groups = ([row for row, _ in right], false, [column for _, column in right], missed)
        images.append(
            ImageErrors(
                image.image,
                *(np.array(group, dtype=np.int64) + start for group, start in zip(groups, starts, strict=True)),
            )
        )
    return matrix, images


def _pairs(values: Floats) -> list[tuple[int, int]]:
    """Return disjoint (row, column) pairs of positive values, highest first."""
    rows, columns = values.nonzero()
    pairs, seen = [], (set[int](), set[int]())
    for index in np.argsort(-values[rows, columns], kind="stable"):
        row, column = int(rows[index]), int(columns[index])
        if row not in seen[0] and column not in seen[1]:
            pairs.append((row, column))
            seen[0].add(row)
            seen[1].add(column)
    return pairs


def class_confusion(record: ClassRecord) -> Integers:
    """Return images by true (rows) and predicted class `(K, K + 1)`; the last column is classes of the model alone."""
    count = len(record.class_names)
    matrix = np.zeros((count, count + 1), dtype=np.int64)
    first = record.predicted[:, 0]
    np.add.at(matrix, (record.labels, np.where(first < 0, count, first)), 1)
    return matrix


def confused_pairs(matrix: Integers, most: int) -> list[Confused]:
    """Return the most frequent confusions between classes of a matrix, without its background."""
    classes = min(matrix.shape[0], matrix.shape[1] - 1)
    between, totals = matrix[:classes, :classes].copy(), matrix[:classes].sum(axis=1)
    np.fill_diagonal(between, 0)
    order = np.argsort(-between, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, between.shape)
    return [
        Confused(truth, found, int(between[truth, found]), between[truth, found] / totals[truth])
        for truth, found in zip(rows.tolist(), columns.tolist(), strict=True)
        if between[truth, found]
    ]
