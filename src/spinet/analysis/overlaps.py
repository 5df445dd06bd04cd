"""Intersection over union of detections with annotations."""

from collections.abc import Iterator
from typing import NamedTuple

import faster_coco_eval.mask_api_new_cpp as mask_api
import numpy as np

from spinet.analysis.records import DetectionRecord, Floats, Objects


class ImageOverlaps(NamedTuple):
    """One image: rows of `found` by descending score, rows of `truth`, and IoU `(D, G)` of each pair of any classes.

    The overlap with a crowd region is the fraction of the detection inside it.
    """

    image: int
    found: slice
    truth: slice
    iou: Floats


def image_overlaps(record: DetectionRecord, masks: bool | None = None) -> Iterator[ImageOverlaps]:
    """Yield the overlaps of each image.

    Args:
        record: ground truth and detections.
        masks: of masks or of boxes; by default of masks where both sides have them.
    """
    masks = record.has_masks if masks is None else masks
    rows = zip(record.found.by_image(len(record.images)), record.truth.by_image(len(record.images)), strict=True)
    for image, (found, truth) in enumerate(rows):
        both = record.found[found], record.truth[truth]
        yield ImageOverlaps(image, found, truth, mask_iou(*both, record.sizes[image].tolist()) if masks else iou(*both))


def iou(found: Objects, truth: Objects) -> Floats:
    """Return the IoU of boxes `(D, G)`.

    >>> one, zero = np.ones(1), np.zeros(1, int)
    >>> left, right = (Objects(zero, zero, np.array([[x, 0.0, 2, 2]]), one, one, zero > 0) for x in (0, 1))
    >>> float(iou(left, right)[0, 0])
    0.3333333333333333
    """
    one, other = found.boxes[:, None], truth.boxes[None]
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    common: Floats = (high - low).clip(min=0).prod(axis=2)
    own, theirs = one[..., 2:].prod(axis=2), other[..., 2:].prod(axis=2)
    whole = np.where(truth.crowd, own, own + theirs - common)
    ratio: Floats = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    return ratio


def mask_iou(found: Objects, truth: Objects, size: list[int]) -> Floats:
    """Return the IoU of masks `(D, G)` in an image of this height and width; 0 for objects without a valid mask."""
    assert found.masks is not None
    assert truth.masks is not None
    whole = np.zeros((len(found), len(truth)))
    rows, columns = ([index for index, mask in enumerate(masks) if mask] for masks in (found.masks, truth.masks))
    if rows and columns:
        one = [{"size": size, "counts": found.masks[row]} for row in rows]
        other = [{"size": size, "counts": truth.masks[column]} for column in columns]
        whole[np.ix_(rows, columns)] = mask_api.iou(one, other, truth.crowd[columns].astype(int).tolist())
    return whole
