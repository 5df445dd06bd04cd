"""Anchor boxes, their matching to objects, and the box coder (RetinaNet paper, section 4; tensorflow/tpu anchors)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou, clip_boxes_to_image

from spinet.models.options import BoxCoding

# Upper limit of predicted log sizes, so that `exp` does not overflow (tensorflow/tpu box_utils.py).
MAX_LOG_GROWTH = math.log(1000.0 / 16.0)


def level_anchors(
    size: tuple[int, int], stride: int, scale: float, octaves: int, aspect_ratios: Sequence[float]
) -> Tensor:
    """Anchors of one level, `(H * W * octaves * ratios, 4)` XYXY pixels: rows, columns, octaves, then ratios.

    Anchors are centred in the cells, `scale * stride * 2 ** (octave / octaves)` on a side at ratio 1, and
    `sqrt(ratio)` times wider than that at the others (ratio is width / height).

    >>> level_anchors((1, 1), stride=8, scale=4, octaves=1, aspect_ratios=(1.0,)).tolist()
    [[-12.0, -12.0, 20.0, 20.0]]
    """
    sides = scale * stride * 2 ** (torch.arange(octaves, dtype=torch.float64) / octaves)
    roots = torch.tensor(aspect_ratios, dtype=torch.float64).sqrt()
    widths = torch.outer(sides, roots).flatten()
    heights = torch.outer(sides, 1 / roots).flatten()
    y = (torch.arange(size[0], dtype=torch.float64) + 0.5) * stride
    x = (torch.arange(size[1], dtype=torch.float64) + 0.5) * stride
    cy, cx = (grid.reshape(-1, 1).expand(-1, len(widths)) for grid in torch.meshgrid(y, x, indexing="ij"))
    boxes = torch.stack([cx, cy, widths.expand_as(cx), heights.expand_as(cx)], dim=-1)
    anchors: Tensor = box_convert(boxes.reshape(-1, 4), "cxcywh", "xyxy").float()
    return anchors


def pyramid_anchors(
    size: tuple[int, int], levels: Sequence[int], scale: float, octaves: int, aspect_ratios: Sequence[float]
) -> list[Tensor]:
    """Anchors of every level, finest first, of an image whose sides are multiples of the coarsest stride."""
    return [
        level_anchors((size[0] >> level, size[1] >> level), 2**level, scale, octaves, aspect_ratios) for level in levels
    ]


def round_anchors(anchors: Tensor) -> Tensor:
    """Move the edges of XYXY anchors to whole pixels, as mmdetection 1.1 does (mmdet/core/anchor/anchor_generator.py).

    There the right and bottom edges are the last pixel inside, hence the one that is subtracted and added again.
    """
    inclusive = anchors.new_tensor([0.0, 0.0, 1.0, 1.0])
    return (anchors - inclusive).round() + inclusive


class Matches(NamedTuple):
    """Targets of each anchor: `labels` `(N, A)`, -1 for background and -2 to ignore, `boxes` `(N, A, 4)` XYXY."""

    labels: Tensor
    boxes: Tensor


def match_anchors(
    anchors: Tensor, boxes: Tensor, labels: Tensor, threshold: float = 0.5, background: float | None = None
) -> Matches:
    """Match every anchor to the object of highest IoU, and every object to at least its best anchor.

    Args:
        anchors: `(A, 4)` XYXY.
        boxes: `(N, M, 4)` XYXY; rows with label -1 are padding.
        labels: `(N, M)`.
        threshold: IoU from which an anchor is positive (0.5 in tensorflow/tpu).
        background: IoU below which it is background; between the two it is ignored. By default the threshold.

    Returns:
        The matches; the box of a background anchor is the anchor itself, so that its encoding is zero and finite.
    """
    images, objects = labels.shape
    if objects == 0:
        boxes, labels, objects = boxes.new_zeros(images, 1, 4), labels.new_full((images, 1), -1), 1
    iou = box_iou(anchors, boxes.reshape(-1, 4)).reshape(len(anchors), images, objects).permute(1, 0, 2)
    iou = iou.masked_fill((labels < 0)[:, None, :], -1.0)
    best_iou, best_object = iou.max(dim=2)
    # If several objects claim one anchor, the first gets it, as in the reference's argmax.
    claims = torch.arange(objects, device=labels.device).expand_as(labels).masked_fill(labels < 0, objects)
    forced = torch.full_like(best_object, objects).scatter_reduce_(1, iou.argmax(dim=1), claims, "amin")
    best_object = torch.where(forced < objects, forced, best_object)
    positive = (best_iou >= threshold) | (forced < objects)
    unmatched = torch.full_like(best_object, -1)
    if background is not None:
        unmatched.masked_fill_(best_iou >= background, -2)
    matched_labels = torch.where(positive, labels.gather(1, best_object), unmatched)
    matched_boxes = boxes.gather(1, best_object[..., None].expand(-1, -1, 4))
    return Matches(matched_labels, torch.where(positive[..., None], matched_boxes, anchors))


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets `(..., 4)` = (dx, dy, dw, dh) from anchors to boxes, both XYXY; sizes as logarithms, no weights."""
    cx, cy, width, height = box_convert(boxes, "xyxy", "cxcywh").unbind(-1)
    anchor_cx, anchor_cy, anchor_width, anchor_height = box_convert(anchors, "xyxy", "cxcywh").unbind(-1)
    return torch.stack(
        [
            (cx - anchor_cx) / anchor_width,
            (cy - anchor_cy) / anchor_height,
            torch.log(width / anchor_width),
            torch.log(height / anchor_height),
        ],
        dim=-1,
    )


def decode_boxes_tpu(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes as tensorflow/tpu decodes them: both ends of an anchor are pixels inside it (utils/box_utils.py).

    Its encoding for training does not do this, and neither does ours.
    """
    # Not `anchors + tensor`: copying a tensor of constants to the GPU in every call would synchronize with it.
    boxes = decode_boxes(deltas, torch.cat([anchors[..., :2], anchors[..., 2:] + 1.0], dim=-1))
    return torch.cat([boxes[..., :2], boxes[..., 2:] - 1.0], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes `(..., 4)` XYXY from offsets; the inverse of `encode_boxes` except for the limit on sizes."""
    dx, dy, dw, dh = deltas.unbind(-1)
    anchor_cx, anchor_cy, anchor_width, anchor_height = box_convert(anchors, "xyxy", "cxcywh").unbind(-1)
    boxes = torch.stack(
        [
            anchor_cx + dx * anchor_width,
            anchor_cy + dy * anchor_height,
            anchor_width * dw.clamp(max=MAX_LOG_GROWTH).exp(),
            anchor_height * dh.clamp(max=MAX_LOG_GROWTH).exp(),
        ],
        dim=-1,
    )
    decoded: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return decoded


def decode_in_image(deltas: Tensor, anchors: Tensor, size: tuple[int, int], coding: BoxCoding) -> Tensor:
    """Boxes `(..., 4)` XYXY from offsets, as `coding` counts pixels, clipped to an image of this height and width."""
    if coding == "tpu":  # its edges are the first and the last pixel, in the image too (utils/box_utils.py)
        boxes: Tensor = clip_boxes_to_image(decode_boxes_tpu(deltas, anchors), (size[0] - 1, size[1] - 1))
    else:
        boxes = clip_boxes_to_image(decode_boxes(deltas, anchors), size)
    return boxes
