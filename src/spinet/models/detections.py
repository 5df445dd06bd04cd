"""What a detector finds in an image, and how the best of it is chosen."""

from typing import NamedTuple, NotRequired, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, nms


class Detections(TypedDict):
    """What was found in one image, best first.

    Attributes:
        boxes: `(D, 4)` XYXY pixels.
        scores: `(D,)`.
        labels: `(D,)`.
        masks: probabilities `(D, B, B)` that a point inside the box belongs to the object; absent where only boxes
            are found.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NotRequired[Tensor]


class Limits(NamedTuple):
    """What is left out of the detections of an image.

    Attributes:
        score_threshold: detections below it.
        nms_threshold: overlap from which the lower of two boxes of one class goes.
        candidates: best (place, class) pairs that enter non-maximum suppression.
        max_detections: most that are kept.
    """

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    candidates: int = 1000
    max_detections: int = 100


class Found(NamedTuple):
    """Detections of a batch in tensors of fixed shapes, best first; what is missing has label -1 and score 0.

    Attributes:
        boxes: `(N, D, 4)` XYXY pixels.
        scores: `(N, D)`.
        labels: `(N, D)`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Candidates(NamedTuple):
    """What may be found in a batch before non-maximum suppression, in tensors of fixed shapes, best first.

    Attributes:
        boxes: `(N, C, 4)` XYXY pixels, inside the image.
        scores: `(N, C)`.
        labels: `(N, C)`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def best_pairs(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the best (place, class) pairs of each image among logits `(N, A, K)`.

    The best C pairs lie in the C places with the best maxima. Looking for these first leaves A values to sort and
    then C * K, in place of A * K.

    Returns:
        Logits, places and classes `(N, C)`, best first; C is `count`, or A * K if that is less.

    >>> logits = torch.tensor([[[0.0, 5.0], [1.0, 2.0], [4.0, 3.0]]])
    >>> [values.tolist() for values in best_pairs(logits, 3)]
    [[[5.0, 4.0, 3.0]], [[0, 2, 2]], [[1, 0, 1]]]
    """
    classes = logits.shape[2]
    places = logits.amax(dim=2).topk(min(count, logits.shape[1]), dim=1, sorted=False).indices
    likely = logits.gather(1, places[..., None].expand(-1, -1, classes)).flatten(1)
    best, order = likely.topk(min(count, likely.shape[1]), dim=1)
    return best, places.gather(1, order // classes), order % classes


def fill_up(rows: Tensor, length: int, value: float = 0.0) -> Tensor:
    """Cut `(D, ...)` to `length` rows, or fill it up with `value`.

    >>> fill_up(torch.tensor([7, 8]), 3).tolist(), fill_up(torch.tensor([7, 8]), 1).tolist()
    ([7, 8, 0], [7])
    """
    return torch.cat([rows, rows.new_full((length, *rows.shape[1:]), value)])[:length]


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Return the places of the boxes that stay, best first: of two that overlap in one group, the better one.

    An exported graph has no loop over the groups: there they are moved apart instead.

    Args:
        boxes: `(C, 4)` XYXY, not negative.
        scores: `(C,)`.
        groups: `(C,)`, not negative.
        threshold: overlap from which the lower goes.
    """
    if not torch.compiler.is_exporting():
        kept: Tensor = batched_nms(boxes, scores, groups, threshold)
    else:
        apart = groups.to(boxes.dtype) * (boxes.max() + 1.0)
        kept = nms(boxes + apart[:, None], scores, threshold)
    return kept


def select_detections(boxes: Tensor, scores: Tensor, labels: Tensor, limits: Limits) -> Found:
    """Choose among the candidates of each image.

    Args:
        boxes: `(N, C, 4)` XYXY pixels.
        scores: `(N, C)`; those below zero are no candidates.
        labels: `(N, C)`.
        limits: `candidates` of them is not looked at.
    """
    chosen = []
    for box, score, label in zip(boxes, scores, labels, strict=True):
        # Two of nothing, in groups of their own, always stay: a program of torch.export fails where fewer do.
        box, label, score = F.pad(box, (0, 0, 0, 2)), F.pad(label, (0, 2)), F.pad(score, (0, 2), value=-1.0)
        # Low scores never suppress higher ones, so that they can go afterwards, when the shapes are fixed. Until then
        # they share one box, where the first suppresses all others: time goes with the square of what stays.
        likely = score >= max(limits.score_threshold, 0.0)
        unit = torch.cat([torch.zeros_like(box[:, :2]), torch.ones_like(box[:, 2:])], dim=1)
        places, groups = torch.where(likely[:, None], box, unit), torch.where(likely, label, 0)
        groups = torch.cat([groups[:-2], groups.max() + torch.tensor([1, 2], device=groups.device)])
        keep = nms_by_group(places, score, groups, limits.nms_threshold)
        best = fill_up(score[keep], limits.max_detections, -1.0)
        real = best >= max(limits.score_threshold, 0.0)
        corners, kinds = (fill_up(values[keep], limits.max_detections) for values in (box, label))
        chosen.append(
            (torch.where(real[:, None], corners, 0.0), torch.where(real, best, 0.0), torch.where(real, kinds, -1))
        )
    return Found(*(torch.stack(values) for values in zip(*chosen, strict=True)))
