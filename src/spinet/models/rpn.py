"""Region proposals: where objects of any class may be (Faster R-CNN paper, section 3; tensorflow/tpu heads.py)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from spinet.models.anchors import decode_boxes, encode_boxes, match_anchors
from spinet.models.blocks import Activation, Conv2d, activation_function
from spinet.models.detections import fill_up, nms_by_group
from spinet.models.losses import mean_huber_loss
from spinet.models.regions import sample_balanced

# Overlaps with an object from which an anchor is positive, and below which it is background; anchors of an image
# whose score is learnt; and how many of them may be positive.
POSITIVE, BACKGROUND, SAMPLES, SHARE = 0.7, 0.3, 256, 0.5
HUBER_DELTA = 1 / 9
NMS_THRESHOLD = 0.7


class RegionProposals(nn.Module):
    """3x3 convolutions shared by all levels with batch norms for each, and predictors of a score and a box.

    Args:
        in_channels: of the features.
        channels: of the convolutions.
        depth: number of convolutions.
        anchors: in every place.
        levels: of the features.
        activation: after each batch norm.
        bn_eps: epsilon of the batch norms.
        bn_momentum: share of the newest batch in their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        anchors: int,
        levels: Sequence[int],
        activation: Activation,
        bn_eps: float,
        bn_momentum: float,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * depth
        self.convs = nn.ModuleList(Conv2d(width, channels, 3, bias=True) for width in widths[:-1])
        self.norms = nn.ModuleDict(
            {
                str(level): nn.ModuleList(nn.BatchNorm2d(channels, bn_eps, bn_momentum) for _ in range(depth))
                for level in levels
            }
        )
        self.cls_logits = Conv2d(widths[-1], anchors, bias=True)
        self.bbox_pred = Conv2d(widths[-1], 4 * anchors, bias=True)
        self.activation = activation_function(activation)
        for module in (*self.convs, self.cls_logits, self.bbox_pred):
            nn.init.normal_(module.get_parameter("weight"), std=0.01)

    def forward(self, features: dict[int, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map `{level: (N, in, H, W)}` to logits `(N, A)` and box offsets `(N, A, 4)` of each level's anchors."""
        logits, deltas = [], []
        for level, flow in features.items():
            norms = self.norms[str(level)]
            assert isinstance(norms, nn.ModuleList)
            for conv, norm in zip(self.convs, norms, strict=True):
                flow = self.activation(norm(conv(flow)))
            logits.append(self.cls_logits(flow).permute(0, 2, 3, 1).flatten(1).float())
            deltas.append(self.bbox_pred(flow).permute(0, 2, 3, 1).reshape(len(flow), -1, 4).float())
        return logits, deltas


def proposal_losses(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], targets: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Losses of the scores and of the boxes, from what `RegionProposals` gives for the `anchors` of each level.

    As in tensorflow/tpu losses.py: scores of a random sample, by its full size; boxes of all positive anchors, the
    mean over each level's, summed over the levels.
    """
    objects = torch.where(targets["labels"] >= 0, 0, -1)
    matches = match_anchors(torch.cat(list(anchors)), targets["boxes"], objects, POSITIVE, BACKGROUND)
    positive = matches.labels == 0
    chosen = sample_balanced(positive, matches.labels == -1, SAMPLES, SHARE)
    scores = F.binary_cross_entropy_with_logits(torch.cat(list(logits), dim=1), positive.float(), reduction="none")
    score_loss = torch.where(chosen, scores, 0.0).sum() / (SAMPLES * len(positive))
    counts = [len(boxes) for boxes in anchors]
    levels = zip(
        deltas, anchors, torch.split(matches.boxes, counts, dim=1), torch.split(positive, counts, dim=1), strict=True
    )
    box_losses = [
        mean_huber_loss(each, encode_boxes(boxes, spots), where, HUBER_DELTA) for each, spots, boxes, where in levels
    ]
    return score_loss, torch.stack(box_losses).sum()


@torch.no_grad()
def propose(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    size: tuple[int, int],
    candidates: int,
    proposals: int,
) -> tuple[Tensor, Tensor]:
    """Find the boxes of a batch that most likely hold objects.

    Args:
        logits: of each level, `(N, A)`.
        deltas: of each level, `(N, A, 4)`.
        anchors: of each level, `(A, 4)` XYXY.
        size: height and width of the images; boxes end there.
        candidates: best anchors of each level that enter non-maximum suppression, level by level.
        proposals: boxes to give for each image.

    Returns:
        Boxes `(N, proposals, 4)` XYXY, best first, and where they are real `(N, proposals)`: what is missing is zero.
    """
    kept = [each.topk(min(candidates, each.shape[1]), dim=1) for each in logits]
    scores = torch.cat([values for values, _ in kept], dim=1)
    decoded = [
        decode_boxes(each.gather(1, order[..., None].expand(-1, -1, 4)), spots[order])
        for each, spots, (_, order) in zip(deltas, anchors, kept, strict=True)
    ]
    boxes = clip_boxes_to_image(torch.cat(decoded, dim=1), size)
    level = torch.cat([torch.full_like(order[0], index) for index, (_, order) in enumerate(kept)])
    found, real = [], []
    for own, likely in zip(boxes, scores, strict=True):
        keep = nms_by_group(own, likely, level, NMS_THRESHOLD)
        found.append(fill_up(own[keep], proposals))
        real.append(fill_up(torch.ones_like(keep, dtype=torch.bool), proposals))
    return torch.stack(found), torch.stack(real)
