"""Which detections are right: COCO's matching at every IoU threshold and for every size of objects."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spinet.analysis.overlaps import image_overlaps
from spinet.analysis.records import Booleans, DetectionRecord, Floats, Integers, Objects

THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Of objects in pixels, as in COCO.
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
# Detections per image and class.
MOST = 100


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections of one class in all images, by descending score.

    Attributes:
        scores: `(D,)`.
        images: `(D,)`, index of each detection's image.
        right: `(S, T, D)`, whether it matches an object, at each size and IoU threshold.
        ignored: `(S, T, D)`, whether it counts neither as right nor as wrong.
        objects: `(S, N)`, objects per image.
    """

    scores: Floats
    images: Integers
    right: Booleans
    ignored: Booleans
    objects: Integers


def match(
    record: DetectionRecord,
    masks: bool | None = None,
    thresholds: Floats = THRESHOLDS,
    sizes: Iterable[tuple[float, float]] = tuple(SIZES.values()),
) -> list[ClassMatches]:
    """Match the detections of each class as COCO's metric does.

    Args:
        record: ground truth and detections.
        masks: by overlap of masks or of boxes; by default of masks where both sides have them.
        thresholds: IoU from which a detection is right `(T,)`.
        sizes: S ranges of area; objects outside are ignored.
    """
    ranges, count = np.array(list(sizes)), len(record.class_names)
    masks = record.has_masks if masks is None else masks
    parts: list[list[tuple[Integers, Booleans, Booleans]]] = [[] for _ in range(count)]
    objects = np.zeros((count, len(ranges), len(record.images)), dtype=np.int64)
    for overlaps in image_overlaps(record, masks):
        found, truth = record.found[overlaps.found], record.truth[overlaps.truth]
        outside = _outside(truth, ranges, masks)
        for label in np.union1d(found.labels, truth.labels).tolist():
            rows, columns = (np.flatnonzero(side.labels == label) for side in (found, truth))
            rows = rows[np.argsort(-found.scores[rows], kind="stable")][:MOST]
            objects[label, :, overlaps.image] = (~outside[:, columns]).sum(axis=1)
            iou, crowd = overlaps.iou[np.ix_(rows, columns)], truth.crowd[columns]
            right, ignored = _match_image(iou, outside[:, columns], crowd, thresholds)
            area = found.areas[rows] if masks else found.boxes[rows, 2:].prod(axis=1)
            beyond = (area < ranges[:, :1]) | (area > ranges[:, 1:])
            ignored |= ~right & beyond[:, None]
            parts[label].append((overlaps.found.start + rows, right, ignored))
    return [_joined(record, part, objects[label], len(ranges), len(thresholds)) for label, part in enumerate(parts)]


def _outside(truth: Objects, ranges: Floats, masks: bool) -> Booleans:
    """Return which annotations `(S, G)` are not to be found."""
    gone = (truth.areas < ranges[:, :1]) | (truth.areas > ranges[:, 1:]) | truth.crowd
    if masks and truth.masks is not None:
        gone |= np.array([not mask for mask in truth.masks], dtype=bool)  # annotations without a valid mask
    return gone


def _match_image(iou: Floats, outside: Booleans, crowd: Booleans, thresholds: Floats) -> tuple[Booleans, Booleans]:
    """Return which detections of a class in an image match an object, and which an ignored one, `(S, T, D)`.

    Detections take turns by score, and each takes the free object of highest IoU, or else an ignored one.
    """
    shape = (len(outside), len(thresholds))
    right, ignored = (np.zeros((*shape, len(iou)), dtype=bool) for _ in range(2))
    free = np.ones((*shape, iou.shape[1]), dtype=bool)
    low = np.minimum(thresholds, 1 - 1e-10)[:, None]
    for row in np.flatnonzero(iou.max(axis=1, initial=0) >= low.min()).tolist():
        near = iou[row] >= low
        for wanted, hits in ((~outside, right), (outside, ignored)):
            options = near & free & wanted[:, None] & ~right[:, :, row, None]
            values = np.where(options, iou[row], -1.0)
            # Of equal ones the last, as in COCO's loop.
            best = values.shape[2] - 1 - values[:, :, ::-1].argmax(axis=2)
            hit = options.any(axis=2)
            hits[:, :, row] = hit
            size, level = hit.nonzero()
            taken = best[size, level]
            free[size, level, taken] = crowd[taken]
    return right, ignored


def _joined(
    record: DetectionRecord,
    parts: list[tuple[Integers, Booleans, Booleans]],
    objects: Integers,
    sizes: int,
    thresholds: int,
) -> ClassMatches:
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(part[0] for part in parts)])
    nothing = np.zeros((sizes, thresholds, 0), dtype=bool)
    right, ignored = (np.concatenate([nothing, *(part[side] for part in parts)], axis=2) for side in (1, 2))
    order = np.argsort(-record.found.scores[rows], kind="stable")
    scores, images = record.found.scores[rows][order], record.found.owners[rows][order]
    return ClassMatches(scores, images, right[:, :, order], ignored[:, :, order], objects)
