"""Detections of an image, and how they are selected from all candidates."""

from typing import NamedTuple, NotRequired, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, nms


class Detections(TypedDict):
    """Detections of one image, best first.

    Attributes:
        boxes: `(D, 4)` XYXY pixels.
        scores: `(D,)`.
        labels: `(D,)`.
        masks: probabilities `(D, B, B)` that a point inside the box belongs to the object; only of mask detectors.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NotRequired[Tensor]


class NmsOptions(NamedTuple):
    """How the detections of an image are selected.

    Attributes:
        score_threshold: lowest score of a detection.
        nms_threshold: IoU above which the lower-scoring of two boxes of one class is suppressed.
        candidates: top (location, class) pairs that enter non-maximum suppression.
        max_detections: most detections per image.
    """

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    candidates: int = 1000
    max_detections: int = 100


class ScoredBoxes(NamedTuple):
    """Candidates or detections of a batch in tensors of fixed shapes, best first.

    Attributes:
        boxes: `(N, D, 4)` XYXY pixels, clipped to the image.
        scores: `(N, D)`; 0 where a detection is missing.
        labels: `(N, D)`; -1 where a detection is missing.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def best_pairs(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the top (anchor, class) pairs of each image among logits `(N, A, K)`.

    Returns:
        Logits, anchor indices and classes `(N, C)`, best first; C is `count`, or A * K if that is less.

    >>> logits = torch.tensor([[[0.0, 5.0], [1.0, 2.0], [4.0, 3.0]]])
    >>> [values.tolist() for values in best_pairs(logits, 3)]
    [[[5.0, 4.0, 3.0]], [[0, 2, 2]], [[1, 0, 1]]]
    """
    # The top C pairs belong to at most C anchors: those with the highest maxima, because an anchor outside of these
    # is beaten by C pairs already. So A values are sorted, then C * K, instead of A * K (millions at 91 classes).
    classes = logits.shape[2]
    anchors = logits.amax(dim=2).topk(min(count, logits.shape[1]), dim=1, sorted=False).indices
    top = logits.gather(1, anchors[..., None].expand(-1, -1, classes)).flatten(1)
    best, order = top.topk(min(count, top.shape[1]), dim=1)
    return best, anchors.gather(1, order // classes), order % classes


def pad_rows(rows: Tensor, length: int, value: float = 0.0) -> Tensor:
    """Cut `(D, ...)` to `length` rows, or pad it with `value`.

    >>> pad_rows(torch.tensor([7, 8]), 3).tolist(), pad_rows(torch.tensor([7, 8]), 1).tolist()
    ([7, 8, 0], [7])
    """
    return torch.cat([rows, rows.new_full((length, *rows.shape[1:]), value)])[:length]


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression within each group; return the indices of the boxes to keep, best first.

    Args:
        boxes: `(C, 4)` XYXY, not negative.
        scores: `(C,)`.
        groups: `(C,)`, not negative.
        threshold: IoU above which the lower-scoring box is suppressed.
    """
    if not torch.compiler.is_exporting():
        keep: Tensor = batched_nms(boxes, scores, groups, threshold)
    else:
        # batched_nms branches on the number of boxes, which an exported graph cannot. Moving each group to a region
        # of its own is the other way it knows; here it is the only one.
        offsets = groups.to(boxes.dtype) * (boxes.max() + 1.0)
        keep = nms(boxes + offsets[:, None], scores, threshold)
    return keep


def select_detections(boxes: Tensor, scores: Tensor, labels: Tensor, options: NmsOptions) -> ScoredBoxes:
    """Select the detections of each image from its candidates.

    Args:
        boxes: `(N, C, 4)` XYXY pixels.
        scores: `(N, C)`; negative ones are not candidates.
        labels: `(N, C)`.
        options: all but `candidates`.
    """
    threshold = max(options.score_threshold, 0.0)
    selected = [_select(*image, threshold, options) for image in zip(boxes, scores, labels, strict=True)]
    return ScoredBoxes(*(torch.stack(values) for values in zip(*selected, strict=True)))


def _select(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, options: NmsOptions
) -> tuple[Tensor, Tensor, Tensor]:
    # Filtering by score before suppression, as usual, would make shapes depend on values, which an exported graph
    # cannot have. So the low scores take part and are dropped afterwards, which gives the same result, because a
    # low score never suppresses a higher one. But thousands of boxes of no interest would be compared with one
    # another, in quadratic time: they all get one box, in one group, of which the first suppresses the rest at once.
    # Two empty boxes in groups of their own always survive: a torch.export program fails if fewer than two do.
    boxes, labels = F.pad(boxes, (0, 0, 0, 2)), F.pad(labels, (0, 2))
    scores = F.pad(scores, (0, 2), value=-1.0)
    high = scores >= threshold
    unit = torch.cat([torch.zeros_like(boxes[:, :2]), torch.ones_like(boxes[:, 2:])], dim=1)
    nms_boxes, groups = torch.where(high[:, None], boxes, unit), torch.where(high, labels, 0)
    groups = torch.cat([groups[:-2], groups.max() + torch.tensor([1, 2], device=groups.device)])
    keep = nms_by_group(nms_boxes, scores, groups, options.nms_threshold)
    best = pad_rows(scores[keep], options.max_detections, -1.0)
    valid = best >= threshold
    best_boxes, best_labels = (pad_rows(values[keep], options.max_detections) for values in (boxes, labels))
    return (
        torch.where(valid[:, None], best_boxes, 0.0),
        torch.where(valid, best, 0.0),
        torch.where(valid, best_labels, -1),
    )
