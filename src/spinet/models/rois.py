"""RoIs: their features, their matching to objects, and random samples of them (tensorflow/tpu roi_ops.py).

RoIs are rows (image, x1, y1, x2, y2): the index of the image in the batch and a box, XYXY pixels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, roi_align

from spinet.models.options import RoiAlign

# Side of an object, pixels, whose features come from level 4 (FPN paper, section 4.2).
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4

# Label of a RoI that takes no part in the losses.
IGNORE = -2


class MatchedRois(NamedTuple):
    """RoIs with their targets.

    Attributes:
        rois: `(R, 5)`.
        labels: `(R,)`, classes 0..K-1, -1 for background, -2 for RoIs to ignore.
        boxes: `(R, 4)` XYXY of the matched object; arbitrary for background.
        objects: `(R,)`, index of the matched object within its image.
    """

    rois: Tensor
    labels: Tensor
    boxes: Tensor
    objects: Tensor

    def select(self, mask: Tensor, least: int) -> "MatchedRois":
        """Return the rows where `mask` `(R,)` holds.

        If they are fewer than `least`, the first rows are added, to be ignored: batch norm needs values.
        """
        selected = MatchedRois(*(values[mask] for values in self))
        if len(selected.labels) >= least:
            return selected
        filler = MatchedRois(*(values[:least] for values in self))
        filler = filler._replace(labels=torch.full_like(filler.labels, IGNORE))
        return MatchedRois(*(torch.cat(pair) for pair in zip(selected, filler, strict=True)))


def boxes_to_rois(boxes: Tensor) -> Tensor:
    """RoIs `(N * P, 5)` of the boxes `(N, P, 4)` of a batch, image by image."""
    images = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    return torch.cat([images[:, None, None].expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)


def roi_levels(boxes: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Indices `(R,)` into `levels` of the features for boxes `(R, 4)`: floor(log2(side / 224)) + 4, within bounds.

    >>> boxes = torch.tensor([[0.0, 0, 224, 224], [0, 0, 448, 448], [0, 0, 223, 223], [0, 0, 1, 1]])
    >>> roi_levels(boxes, (3, 4, 5, 6, 7)).tolist()
    [1, 2, 0, 0]
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    wanted = (torch.floor(torch.log2(sides / CANONICAL_SIDE)) + CANONICAL_LEVEL).clamp(min(levels), max(levels))
    # A backbone may miss a level in between: the next coarser one is used.
    return torch.bucketize(wanted, torch.tensor(levels, device=boxes.device, dtype=wanted.dtype))


def pool_rois(features: dict[int, Tensor], rois: Tensor, side: int, align: RoiAlign = "torchvision") -> Tensor:
    """RoIAlign: `(R, C, side, side)` for RoIs `(R, 5)`, each from its own level; `align` as in `DetectorOptions`.

    Google's code (`multilevel_crop_and_resize` in tensorflow/tpu ops/spatial_transform_ops.py and in tensorflow/models
    official/vision/ops/spatial_transform_ops.py) samples the middle of each bin once and places the first pixel of the
    features at 0. Half a pixel is added here, because only with `aligned=True`, which subtracts it, does torchvision
    leave RoIs of less than a pixel as they are.
    """
    levels = roi_levels(rois[:, 1:], tuple(features))
    channels = next(iter(features.values())).shape[1]
    pooled = rois.new_zeros(len(rois), channels, side, side, dtype=torch.float32)
    for index, (level, x) in enumerate(features.items()):
        rows = (levels == index).nonzero()[:, 0]
        # Sampling needs full precision, whatever type the convolutions compute in.
        level_rois = rois[rows].float()
        samples = 2
        if align == "google":
            level_rois = torch.cat([level_rois[:, :1], level_rois[:, 1:] + 2.0 ** (level - 1)], dim=1)
            samples = 1
        aligned = roi_align(x.float(), level_rois, side, 2.0**-level, sampling_ratio=samples, aligned=True)
        pooled = pooled.index_copy(0, rows, aligned)
    return pooled


def match_rois(
    rois: Tensor, boxes: Tensor, labels: Tensor, threshold: float, background: float | None = None
) -> MatchedRois:
    """Match every RoI `(R, 5)` to the object of its image with which it has the highest IoU.

    Args:
        rois: of all images.
        boxes: `(N, M, 4)` XYXY.
        labels: `(N, M)`, -1 where a row is padding.
        threshold: IoU from which a RoI is positive.
        background: IoU below which it is background; between the two it is ignored. By default the threshold.
    """
    if labels.shape[1] == 0:
        boxes, labels = boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(labels), 1), -1)
    images = rois[:, 0].long()
    iou = box_iou(rois[:, None, 1:], boxes[images])[:, 0].masked_fill(labels[images] < 0, -1.0)
    best_iou, objects = iou.max(dim=1)
    unmatched = torch.full_like(objects, -1)
    if background is not None:
        unmatched.masked_fill_(best_iou >= background, IGNORE)
    matched_labels = torch.where(best_iou >= threshold, labels[images, objects], unmatched)
    return MatchedRois(rois, matched_labels, boxes[images, objects], objects)


def sample_balanced(positive: Tensor, negative: Tensor, count: int, positive_fraction: float) -> Tensor:
    """Sample `count` positives and negatives of each row, fewer if there are not enough; return a mask `(N, A)`.

    Args:
        positive: `(N, A)`, which are positive.
        negative: `(N, A)`, which are negative.
        count: samples per row.
        positive_fraction: the most of them that may be positive; negatives make up the rest.
    """
    most = torch.full_like(positive[:, :1], int(count * positive_fraction), dtype=torch.long)
    positives = sample_rows(positive, most, count)
    return positives | sample_rows(negative, count - positives.sum(dim=1, keepdim=True), count)


def sample_rows(candidates: Tensor, counts: Tensor, most: int) -> Tensor:
    """Sample `counts` `(N, 1)`, at most `most`, of each row's `candidates` `(N, A)`; return a mask."""
    keys = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
    best, order = keys.topk(min(most, candidates.shape[1]), dim=1)
    sampled = (best >= 0) & (torch.arange(order.shape[1], device=order.device) < counts)
    return torch.zeros_like(candidates).scatter(1, order, sampled)


def sample_per_image(candidates: Tensor, images: Tensor, count: int) -> Tensor:
    """Sample at most `count` `candidates` `(R,)` of each image, whose indices are `images` `(R,)`; return a mask."""
    keys = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
    order = keys.argsort(descending=True)
    order = order[images[order].argsort(stable=True)]
    grouped = images[order].contiguous()
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(grouped, grouped)
    return torch.zeros_like(candidates).scatter(0, order, rank < count) & candidates


def mask_targets(masks: Tensor, boxes: Tensor, rows: Tensor, rois: Tensor, side: int) -> Tensor:
    """Crop the objects' masks to RoIs: `(R, side, side)` of zeros and ones.

    Args:
        masks: `(N, M, B, B)`, every object inside its own box.
        boxes: `(R, 4)` XYXY, the box of each RoI's object.
        rows: `(R,)`, index of that object among the N * M of the batch.
        rois: `(R, 4)` XYXY.
        side: of the targets.
    """
    length = masks.shape[-1]
    # Only the matched objects become floats, once each: all of a batch would take 166 MB at 32 x 100.
    needed, owners = rows.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    # A border of zeros: outside of its box there is no object.
    framed = F.pad(masks.flatten(0, 1)[needed, None].float(), (1, 1, 1, 1))
    corner, extent = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    inside = [(point - corner) / extent * length + 1 for point in (rois[:, :2], rois[:, 2:])]
    mask_rois = torch.cat([owners[:, None].to(framed.dtype), *inside], dim=1)
    cropped: Tensor = roi_align(framed, mask_rois, side, sampling_ratio=2, aligned=True)[:, 0]
    return (cropped >= 0.5).float()
