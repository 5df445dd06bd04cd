"""The region proposal network (Faster R-CNN paper, section 3; tensorflow/tpu heads.py)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spinet.models.anchors import decode_in_image, encode_boxes, match_anchors
from spinet.models.blocks import Conv2d
from spinet.models.detections import nms_by_group, pad_rows
from spinet.models.losses import mean_huber_loss
from spinet.models.options import BackboneOptions, BoxCoding
from spinet.models.rois import sample_balanced
from spinet.models.towers import SharedConvs, init_kernels

# IoU from which an anchor is positive, and below which it is background; anchors sampled per image, and the most of
# them that may be positive.
POSITIVE_IOU, BACKGROUND_IOU, SAMPLES, POSITIVE_FRACTION = 0.7, 0.3, 256, 0.5
# Where the loss of the RPN's offsets turns linear; that of the box heads does so at 1 (tensorflow/tpu losses.py).
RPN_HUBER_DELTA = 1 / 9
NMS_THRESHOLD = 0.7


class RegionProposalNetwork(SharedConvs):
    """Convolutions shared by all levels, and predictors of objectness and box offsets for `anchors` per location."""

    def __init__(
        self, in_channels: int, channels: int, depth: int, anchors: int, levels: Sequence[int], options: BackboneOptions
    ) -> None:
        super().__init__(in_channels, channels, depth, levels, options)
        self.cls_logits = Conv2d(self.out_channels, anchors, bias=True)
        self.bbox_pred = Conv2d(self.out_channels, 4 * anchors, bias=True)
        for module in (self.convs, self.cls_logits, self.bbox_pred):
            init_kernels(module, std=0.01)

    def forward(self, features: dict[int, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map `{level: (N, in, H, W)}` to objectness logits `(N, A)` and box offsets `(N, A, 4)` of each level."""
        maps = self.level_features(features).values()
        objectness = [self.cls_logits(x).permute(0, 2, 3, 1).flatten(1).float() for x in maps]
        deltas = [self.bbox_pred(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4).float() for x in maps]
        return objectness, deltas


def rpn_losses(
    objectness: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Tensor, targets: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss, from the RPN's outputs and the `anchors` `(A, 4)` of all levels.

    As in tensorflow/tpu losses.py: objectness of a random sample, divided by its nominal size; boxes of all positive
    anchors, the mean over each level's, summed over the levels.
    """
    labels = torch.where(targets["labels"] >= 0, 0, -1)
    matches = match_anchors(anchors, targets["boxes"], labels, POSITIVE_IOU, BACKGROUND_IOU)
    positive = matches.labels == 0
    sampled = sample_balanced(positive, matches.labels == -1, SAMPLES, POSITIVE_FRACTION)
    losses = F.binary_cross_entropy_with_logits(torch.cat(list(objectness), dim=1), positive.float(), reduction="none")
    objectness_loss = torch.where(sampled, losses, 0.0).sum() / (SAMPLES * len(positive))
    counts = [logits.shape[1] for logits in objectness]
    box_targets = torch.split(encode_boxes(matches.boxes, anchors), counts, dim=1)
    box_losses = [
        mean_huber_loss(*level, RPN_HUBER_DELTA)
        for level in zip(deltas, box_targets, torch.split(positive, counts, dim=1), strict=True)
    ]
    return objectness_loss, torch.stack(box_losses).sum()


@torch.no_grad()
def select_proposals(
    objectness: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Tensor,
    size: tuple[int, int],
    pre_nms: int,
    proposals: int,
    coding: BoxCoding = "exact",
) -> tuple[Tensor, Tensor]:
    """Return the top-scoring proposals of a batch.

    Args:
        objectness: logits of each level, `(N, A)`.
        deltas: box offsets of each level, `(N, A, 4)`.
        anchors: of all levels, `(A, 4)` XYXY.
        size: height and width of the images, to which boxes are clipped.
        pre_nms: top anchors of each level that enter non-maximum suppression, which is done level by level.
        proposals: boxes per image.
        coding: see `DetectorOptions.box_coding`.

    Returns:
        Boxes `(N, proposals, 4)` XYXY, best first, and which are valid `(N, proposals)`: missing ones are zero.
    """
    top = [logits.topk(min(pre_nms, logits.shape[1]), dim=1) for logits in objectness]
    scores = torch.cat([values for values, _ in top], dim=1)
    by_level = torch.split(anchors, [logits.shape[1] for logits in objectness])
    decoded = [
        decode_in_image(level_deltas.gather(1, index[..., None].expand(-1, -1, 4)), level_anchors[index], size, coding)
        for level_deltas, level_anchors, (_, index) in zip(deltas, by_level, top, strict=True)
    ]
    boxes = torch.cat(decoded, dim=1)
    levels = torch.cat([torch.full_like(index[0], level) for level, (_, index) in enumerate(top)])
    selected, valid = [], []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        keep = nms_by_group(image_boxes, image_scores, levels, NMS_THRESHOLD)
        selected.append(pad_rows(image_boxes[keep], proposals))
        valid.append(pad_rows(torch.ones_like(keep, dtype=torch.bool), proposals))
    return torch.stack(selected), torch.stack(valid)
