"""Regions of images: their features, their matching to objects, and random samples of them (tensorflow/tpu roi_ops.py).

A region is a row (image, x1, y1, x2, y2): the number of its image in the batch and its box, XYXY pixels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, roi_align

# Side of an object, pixels, whose features come from level 4 (FPN paper, section 4.2).
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4


# Label of a region that should learn nothing.
IDLE = -2


class Matched(NamedTuple):
    """Regions with what each should find.

    Attributes:
        regions: `(R, 5)`.
        labels: `(R,)`, classes 0..K-1, -1 for background, -2 for regions that should learn nothing.
        boxes: `(R, 4)` XYXY, the object's; a background's are any.
        objects: `(R,)`, place of the object among those of its image.
    """

    regions: Tensor
    labels: Tensor
    boxes: Tensor
    objects: Tensor

    def pick(self, chosen: Tensor, least: int) -> "Matched":
        """Return the rows where `chosen` `(R,)` holds.

        If they are fewer than `least`, the first rows come too, to learn nothing: a batch norm needs values.
        """
        picked = Matched(*(values[chosen] for values in self))
        if len(picked.labels) >= least:
            return picked
        idle = Matched(*(values[:least] for values in self))
        idle = idle._replace(labels=torch.full_like(idle.labels, IDLE))
        return Matched(*(torch.cat(pair) for pair in zip(picked, idle, strict=True)))


def region_rows(boxes: Tensor) -> Tensor:
    """Rows `(N * P, 5)` of the boxes `(N, P, 4)` of a batch, image after image."""
    images = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    return torch.cat([images[:, None, None].expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)


def region_levels(boxes: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Places `(R,)` in `levels` where boxes `(R, 4)` take their features: floor(log2(side / 224)) + 4, within bounds.

    >>> boxes = torch.tensor([[0.0, 0, 224, 224], [0, 0, 448, 448], [0, 0, 223, 223], [0, 0, 1, 1]])
    >>> region_levels(boxes, (3, 4, 5, 6, 7)).tolist()
    [1, 2, 0, 0]
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    wanted = (torch.floor(torch.log2(sides / CANONICAL_SIDE)) + CANONICAL_LEVEL).clamp(min(levels), max(levels))
    # A backbone may lack a level in between: the next coarser one serves.
    return torch.bucketize(wanted, torch.tensor(levels, device=boxes.device, dtype=wanted.dtype))


def align_regions(features: dict[int, Tensor], regions: Tensor, side: int) -> Tensor:
    """RoIAlign with 2 x 2 samples a bin: `(R, C, side, side)` for regions `(R, 5)`, each from its own level."""
    levels = region_levels(regions[:, 1:], tuple(features))
    channels = next(iter(features.values())).shape[1]
    cut = regions.new_zeros(len(regions), channels, side, side, dtype=torch.float32)
    for index, (level, flow) in enumerate(features.items()):
        places = (levels == index).nonzero()[:, 0]
        # Sampling wants full precision, whatever the convolutions work in.
        own = regions[places].float()
        piece = roi_align(flow.float(), own, side, 2.0**-level, sampling_ratio=2, aligned=True)
        cut = cut.index_copy(0, places, piece)
    return cut


def match_regions(
    regions: Tensor, boxes: Tensor, labels: Tensor, threshold: float, background: float | None = None
) -> Matched:
    """Give every region `(R, 5)` the object of its image that it overlaps most.

    Args:
        regions: those of all images.
        boxes: `(N, M, 4)` XYXY.
        labels: `(N, M)`, -1 where a row is padding.
        threshold: intersection over union from which a region belongs to the object.
        background: overlap below which it is background; between the two it is neither. By default the threshold.
    """
    if labels.shape[1] == 0:
        boxes, labels = boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(labels), 1), -1)
    images = regions[:, 0].long()
    overlap = box_iou(regions[:, None, 1:], boxes[images])[:, 0].masked_fill(labels[images] < 0, -1.0)
    best, objects = overlap.max(dim=1)
    others = torch.full_like(objects, -1)
    if background is not None:
        others.masked_fill_(best >= background, -2)
    found = torch.where(best >= threshold, labels[images, objects], others)
    return Matched(regions, found, boxes[images, objects], objects)


def sample_balanced(positive: Tensor, negative: Tensor, count: int, share: float) -> Tensor:
    """Choose `count` places of each row by chance, at most `share` of them positive; fewer if there are not so many.

    Args:
        positive: `(N, A)`, where a place is positive.
        negative: `(N, A)`, where it is negative.
        count: places to choose in each row.
        share: of them that may be positive; negatives take the rest.

    Returns:
        The chosen places as a mask `(N, A)`.
    """
    first = sample_places(positive, torch.full_like(positive[:, :1], int(count * share), dtype=torch.long), count)
    return first | sample_places(negative, count - first.sum(dim=1, keepdim=True), count)


def sample_places(candidates: Tensor, wanted: Tensor, most: int) -> Tensor:
    """Choose by chance `wanted` `(N, 1)` places, at most `most`, of each row's `candidates` `(N, A)`; give a mask."""
    keys = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
    best, order = keys.topk(min(most, candidates.shape[1]), dim=1)
    taken = (best >= 0) & (torch.arange(order.shape[1], device=order.device) < wanted)
    return torch.zeros_like(candidates).scatter(1, order, taken)


def sample_each(candidates: Tensor, images: Tensor, count: int) -> Tensor:
    """Choose by chance at most `count` `candidates` `(R,)` of each image, whose numbers are `images` `(R,)`."""
    keys = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
    order = keys.argsort(descending=True)
    order = order[images[order].argsort(stable=True)]
    grouped = images[order].contiguous()
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(grouped, grouped)
    return torch.zeros_like(candidates).scatter(0, order, rank < count) & candidates


def mask_targets(masks: Tensor, boxes: Tensor, rows: Tensor, regions: Tensor, side: int) -> Tensor:
    """Cut out of objects' masks what lies in regions: `(R, side, side)` of zeros and ones.

    Args:
        masks: `(N, M, B, B)`, every object inside its own box.
        boxes: `(R, 4)` XYXY, those boxes, for every region.
        rows: `(R,)`, places of the objects in the N * M of the batch.
        regions: `(R, 4)` XYXY.
        side: of the targets.
    """
    length = masks.shape[-1]
    # Only the objects that a region needs become floats, once each: all of a batch would take 166 MB at 32 x 100.
    needed, owners = rows.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    # A frame of zeros: what lies outside of its box is not the object.
    framed = F.pad(masks.flatten(0, 1)[needed, None].float(), (1, 1, 1, 1))
    corner, extent = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    inside = [(point - corner) / extent * length + 1 for point in (regions[:, :2], regions[:, 2:])]
    places = torch.cat([owners[:, None].to(framed.dtype), *inside], dim=1)
    cut: Tensor = roi_align(framed, places, side, sampling_ratio=2, aligned=True)[:, 0]
    return (cut >= 0.5).float()
