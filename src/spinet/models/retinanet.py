"""RetinaNet on any backbone that gives `{level: features}` (paper section 4.1; tensorflow/tpu heads.py)."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from spinet.models.anchors import decode_in_image, encode_boxes, match_anchors, round_anchors
from spinet.models.backbone import Backbone
from spinet.models.class_rows import ClassRows
from spinet.models.detections import Detections, ScoredBoxes, best_pairs
from spinet.models.detector import AnchorDetector
from spinet.models.losses import focal_loss, huber_loss
from spinet.models.options import DETECTOR_DEFAULTS, DetectorOptions
from spinet.models.towers import Tower

# Probability of the positive class in the untrained class logits (RetinaNet paper, section 4.1).
PRIOR = 0.01


class RetinaNet(AnchorDetector):
    """One-stage detector with the paper's heads, losses and inference.

    Args:
        backbone: gives `{level: (N, out_channels, H, W)}` for its `levels`.
        num_classes: number of classes, labelled 0..num_classes-1; the published models count a background class too
            (91 for COCO).
        options: anchors, activation, batch norm, box coding and background; see `DetectorOptions`.
        head_channels: channels of both towers.
        head_convs: convolutions of each tower.
        head_separable: whether they and the predictors are separable.
        **settings: single fields of `options` to change.

    Raises:
        SpinetError: an option is invalid.
    """

    loss_names = ("class", "box")

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        options: DetectorOptions = DETECTOR_DEFAULTS,
        *,
        head_channels: int = 256,
        head_convs: int = 4,
        head_separable: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(backbone, num_classes, options, settings)
        anchors = self.anchors_per_location
        tower = partial(Tower, backbone.out_channels, head_channels, head_convs)
        self.cls_tower = tower(anchors * num_classes, backbone.levels, self.options, head_separable)
        self.box_tower = tower(anchors * 4, backbone.levels, self.options, head_separable)
        nn.init.constant_(self.cls_tower.bias, -math.log((1 - PRIOR) / PRIOR))
        last = "cls_tower.predictor." + ("pointwise." if head_separable else "")
        self.class_predictors = {last: ClassRows(groups=anchors)}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised images `(N, 3, H, W)` to class logits `(N, A, K)` and box offsets `(N, A, 4)`.

        Images are padded with zeros, right and below, to a multiple of `2 ** max(levels)`.
        """
        features = self.features(images)
        return self.cls_tower(features, self.num_classes), self.box_tower(features, 4)

    def _padded_anchors(self, size: tuple[int, int]) -> Tensor:
        anchors = super()._padded_anchors(size)
        return round_anchors(anchors) if self.options.box_coding == "mmdet" else anchors

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the class and the box loss of a batch; training minimizes their sum.

        Args:
            images: normalised, `(N, 3, H, W)`.
            targets: `boxes` `(N, M, 4)` XYXY pixels and `labels` `(N, M)`, -1 where a row is padding.
        """
        logits, deltas = self(images)
        # Half precision is for convolutions: sums over a hundred thousand anchors need full precision.
        with torch.autocast(images.device.type, enabled=False):
            logits, deltas = logits.float(), deltas.float()
            anchors = self.anchors(images.shape[-2], images.shape[-1], images.device)
            matches = match_anchors(anchors, targets["boxes"], targets["labels"])
            positive = matches.labels >= 0
            normalizer = positive.sum() + 1.0
            box_targets = encode_boxes(matches.boxes, anchors)
            return {
                "class": focal_loss(logits, matches.labels) / normalizer,
                "box": 50.0 * huber_loss(deltas, box_targets, positive) / (4.0 * normalizer),
            }

    def candidates(self, images: Tensor, count: int = 5000) -> ScoredBoxes:
        """Return the top (anchor, class) pairs of each image before non-maximum suppression, best first.

        All shapes depend on the images' shape alone, not on their content: for export and benchmarks.

        Args:
            images: normalised, `(N, 3, H, W)`.
            count: pairs per image; fewer if there are not that many.
        """
        logits, deltas = self(images)
        return self.choose(logits, deltas, images.shape[-2], images.shape[-1], count)

    def choose(self, logits: Tensor, deltas: Tensor, height: int, width: int, count: int = 5000) -> ScoredBoxes:
        """Select the candidates from the outputs of `forward` for images of this size; see `candidates`."""
        first = 1 if self.options.background else 0
        # The sigmoid keeps the order, so it is applied only to the selected logits.
        best, index, labels = best_pairs(logits[..., first:], count)
        best_deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4)).float()
        anchors = self.anchors(height, width, logits.device)[index]
        return ScoredBoxes(self.decode(best_deltas, anchors, height, width), best.float().sigmoid(), labels + first)

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        *,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        candidates: int = 5000,
        max_detections: int = 100,
    ) -> list[Detections]:
        """Detect objects in normalised images `(N, 3, H, W)`; call `eval()` on the model first.

        The arguments besides `images` are the fields of `NmsOptions`.
        """
        boxes, scores, labels = self.candidates(images, candidates)
        detections: list[Detections] = []
        for box, score, label in zip(boxes, scores, labels, strict=True):
            high = score >= score_threshold
            box, score, label = box[high], score[high], label[high]
            keep = batched_nms(box, score, label, nms_threshold)[:max_detections]
            detections.append({"boxes": box[keep], "scores": score[keep], "labels": label[keep]})
        return detections

    def decode(self, deltas: Tensor, anchors: Tensor, height: int, width: int) -> Tensor:
        """Boxes `(..., 4)` XYXY clipped to an image of this size, from offsets and their anchors."""
        return decode_in_image(deltas, anchors, (height, width), self.options.box_coding)
