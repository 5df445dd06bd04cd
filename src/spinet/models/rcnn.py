"""Faster, Mask and Cascade R-CNN on any backbone (paper section 4.1; tensorflow/tpu, tensorflow/models).

Unlike torchvision's detectors: batch norm in all heads, objectness and box losses as in tensorflow/tpu, and a cascade.
RoIAlign is torchvision's by default, and for converted weights that of Google's code (`DetectorOptions.roi_align`).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinet.errors import SpinetError
from spinet.models.anchors import decode_in_image, encode_boxes
from spinet.models.backbone import Backbone
from spinet.models.class_rows import ClassRows
from spinet.models.detections import Detections, NmsOptions, ScoredBoxes, select_detections
from spinet.models.detector import AnchorDetector
from spinet.models.losses import mean_huber_loss, roi_class_loss
from spinet.models.options import DETECTOR_DEFAULTS, DetectorOptions
from spinet.models.roi_heads import BoxHead, MaskHead
from spinet.models.rois import (
    IGNORE,
    MatchedRois,
    boxes_to_rois,
    mask_targets,
    match_rois,
    pool_rois,
    sample_balanced,
    sample_per_image,
)
from spinet.models.rpn import RegionProposalNetwork, rpn_losses, select_proposals

# Side of the RoI features for the box head and for the mask head, whose masks are twice as large.
BOX_SIDE, MASK_SIDE = 7, 14
# Weights of the box offsets (x, y, width, height) in each stage of a cascade (Cascade R-CNN).
STAGE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
# IoU thresholds of the released Cascade R-CNN-RS (tensorflow/models coco_spinenet49_cascadercnn_tpu.yaml).
CASCADE_OVERLAPS = (0.6, 0.7)
# The most sampled RoIs that may be positive, and the IoU from which a RoI is no longer background.
POSITIVE_FRACTION, BACKGROUND_IOU = 0.25, 0.5
# Where the box loss turns linear, in weighted offsets; that of the RPN does so at 1/9 (tensorflow/tpu losses.py).
BOX_HEAD_HUBER_DELTA = 1.0


class RCNN(AnchorDetector):
    """Two-stage detector: region proposals, then a class, a box and a mask for each.

    Args:
        backbone: gives `{level: (N, out_channels, H, W)}` for its `levels`.
        num_classes: number of classes, labelled 0..num_classes-1; internally background precedes them (COCO's 90 are
            the 91 of the published models).
        options: anchors, activation, batch norm, proposals and samples; see `DetectorOptions`. As in the sources, twice
            `proposals` anchors per level enter the RPN's non-maximum suppression in training, and as many in inference.
        masks: whether to predict masks too.
        overlaps: IoU from which a RoI is positive, for each stage in turn. More than one makes a cascade, which has one
            box for all classes and averages the class logits of its stages (tensorflow/models).
        head_channels: channels of the convolutions of all heads.
        head_convs: convolutions of the box and of the mask head.
        fc_channels: width of the box head's dense layer.
        **settings: single fields of `options` to change.

    Raises:
        SpinetError: `num_classes`, an option or the number of stages is out of range.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        options: DetectorOptions = DETECTOR_DEFAULTS,
        *,
        masks: bool = True,
        overlaps: Sequence[float] = (0.5,),
        head_channels: int = 256,
        head_convs: int = 4,
        fc_channels: int = 1024,
        **settings: Any,
    ) -> None:
        super().__init__(backbone, num_classes, options, settings)
        options = self.options
        for name, refused in (("box_coding", "mmdet"), ("background", True)):
            if getattr(options, name) == refused:
                raise SpinetError(f"{name} {refused!r} is for RetinaNet; R-CNNs do not support it")
        if not 1 <= len(overlaps) <= len(STAGE_WEIGHTS):
            raise SpinetError(f"overlaps {tuple(overlaps)}: must be 1 to {len(STAGE_WEIGHTS)} stages")
        self.overlaps = tuple(overlaps)
        channels, classes, cascade = backbone.out_channels, num_classes + 1, len(overlaps) > 1
        depth, anchors = options.rpn_convs or (2 if cascade else 1), self.anchors_per_location
        self.rpn = RegionProposalNetwork(channels, head_channels, depth, anchors, backbone.levels, options)
        boxes = 1 if cascade else classes
        self.box_heads = nn.ModuleList(
            BoxHead(channels, head_channels, head_convs, fc_channels, classes, boxes, BOX_SIDE, options)
            for _ in self.overlaps
        )
        self.mask_head = MaskHead(channels, head_channels, head_convs, classes, options) if masks else None
        stages = range(len(overlaps))
        one = ClassRows(first=1)
        self.class_predictors = {f"box_heads.{stage}.cls_score.": one for stage in stages}
        if not cascade:
            self.class_predictors["box_heads.0.bbox_pred."] = one._replace(values=4)
        if masks:
            self.class_predictors["mask_head.predictor."] = one
        self.loss_names = ("proposal_class", "proposal_box", "class", "box", *(("mask",) if masks else ()))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map normalised images `(N, 3, H, W)` to detections of fixed shapes, with the default `NmsOptions`.

        Images are padded with zeros, right and below, to a multiple of `2 ** max(levels)`.

        Returns:
            Boxes `(N, 100, 4)` XYXY, scores `(N, 100)` and labels `(N, 100)`, best first, and with a mask head the mask
            probabilities `(N, 100, 28, 28)` inside the boxes. Missing detections have label -1 and score 0.
        """
        features = self.features(images)
        detections = self._detect(features, _size(images), NmsOptions())
        if self.mask_head is None:
            return tuple(detections)
        masks = self._masks(features, boxes_to_rois(detections.boxes), detections.labels.flatten())
        return (*detections, torch.unflatten(masks, 0, detections.labels.shape))

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch by name; training minimizes their sum.

        They are `proposal_class` and `proposal_box`; `class` and `box`, which are means over the stages
        (tensorflow/models `maskrcnn.py`); and `mask`.

        Args:
            images: normalised, `(N, 3, H, W)`.
            targets: `boxes` `(N, M, 4)` XYXY pixels, `labels` `(N, M)`, -1 where a row is padding, and for a mask head
                `masks` `(N, M, B, B)`: the object inside its box, 0 or 1.

        Raises:
            SpinetError: there is a mask head, but the targets have no masks.
        """
        if self.mask_head is not None and "masks" not in targets:
            raise SpinetError("training a mask head needs masks, but the targets have only boxes")
        size, anchors = _size(images), self.anchors(*_size(images), images.device)
        features = self.features(images)
        objectness, anchor_deltas = self.rpn(features)
        # Half precision is for convolutions: sums over a hundred thousand anchors need full precision.
        with torch.autocast(images.device.type, enabled=False):
            objectness_loss, proposal_box_loss = rpn_losses(objectness, anchor_deltas, anchors, targets)
        pre_nms, proposals = 2 * self.options.proposals, self.options.proposals
        coding = self.options.box_coding
        boxes, valid = select_proposals(objectness, anchor_deltas, anchors, size, pre_nms, proposals, coding)
        samples = self._sample(boxes, valid, targets)
        class_losses, box_losses, deltas = [], [], torch.empty(0)
        for stage, head in enumerate(self.box_heads):
            if stage > 0:
                rois = self._move(samples.rois, deltas.detach(), stage - 1, size)
                ignored = samples.labels == IGNORE
                samples = match_rois(rois, targets["boxes"], targets["labels"], self.overlaps[stage])
                samples = samples._replace(labels=samples.labels.masked_fill(ignored, IGNORE))
            logits, class_deltas = head(self._pool(features, samples.rois, BOX_SIDE))
            deltas = select_deltas(class_deltas, samples.labels)
            box_targets = encode_boxes(samples.boxes, samples.rois[:, 1:]) * deltas.new_tensor(STAGE_WEIGHTS[stage])
            class_losses.append(roi_class_loss(logits, samples.labels))
            box_losses.append(mean_huber_loss(deltas, box_targets, samples.labels >= 0, BOX_HEAD_HUBER_DELTA))
        losses = {"proposal_class": objectness_loss, "proposal_box": proposal_box_loss}
        losses |= {"class": torch.stack(class_losses).mean(), "box": torch.stack(box_losses).mean()}
        if self.mask_head is not None:
            losses["mask"] = self._mask_loss(self.mask_head, features, samples, targets)
        return losses

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        *,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        candidates: int = 1000,
        max_detections: int = 100,
    ) -> list[Detections]:
        """Detect objects in normalised images `(N, 3, H, W)`; call `eval()` on the model first.

        The arguments besides `images` are the fields of `NmsOptions`.
        """
        features = self.features(images)
        options = NmsOptions(score_threshold, nms_threshold, candidates, max_detections)
        padded = self._detect(features, _size(images), options)
        valid = padded.labels >= 0
        counts = valid.sum(dim=1).tolist()
        parts = [torch.split(values[valid], counts) for values in padded]
        detections: list[Detections] = [
            {"boxes": boxes, "scores": scores, "labels": labels} for boxes, scores, labels in zip(*parts, strict=True)
        ]
        if self.mask_head is not None:
            masks = self._masks(features, boxes_to_rois(padded.boxes)[valid.flatten()], padded.labels[valid])
            for image, image_masks in zip(detections, torch.split(masks, counts), strict=True):
                image["masks"] = image_masks
        return detections

    def _sample(self, boxes: Tensor, valid: Tensor, targets: dict[str, Tensor]) -> MatchedRois:
        """Match and sample the proposals and the objects themselves."""
        objects, labels = targets["boxes"], targets["labels"]
        rois = boxes_to_rois(torch.cat([boxes, objects.to(boxes.dtype)], dim=1))
        valid = torch.cat([valid, labels >= 0], dim=1)
        matched = match_rois(rois, objects, labels, self.overlaps[0], min(BACKGROUND_IOU, self.overlaps[0]))
        roi_labels = matched.labels.reshape(valid.shape)
        positive, negative = valid & (roi_labels >= 0), valid & (roi_labels == -1)
        sampled = sample_balanced(positive, negative, self.options.roi_samples, POSITIVE_FRACTION)
        return matched.select(sampled.flatten(), least=2)

    def _move(self, rois: Tensor, deltas: Tensor, stage: int, size: tuple[int, int]) -> Tensor:
        """Apply the box offsets `(R, 4)` of a stage to RoIs `(R, 5)`, clipped to the image."""
        deltas = deltas / deltas.new_tensor(STAGE_WEIGHTS[stage])
        boxes = decode_in_image(deltas, rois[:, 1:], size, self.options.box_coding)
        return torch.cat([rois[:, :1], boxes], dim=1)

    def _pool(self, features: dict[int, Tensor], rois: Tensor, side: int) -> Tensor:
        return pool_rois(features, rois, side, self.options.roi_align)

    def _mask_loss(
        self, head: MaskHead, features: dict[int, Tensor], samples: MatchedRois, targets: dict[str, Tensor]
    ) -> Tensor:
        """Mean binary cross entropy of the masks of positive RoIs, in their own class; 0 without any."""
        images = samples.rois[:, 0].long()
        samples = samples.select(sample_per_image(samples.labels >= 0, images, self.options.mask_samples), least=1)
        positive = samples.labels >= 0
        logits = head(self._pool(features, samples.rois, MASK_SIDE), samples.labels.clamp(min=-1) + 1)
        roi_targets = torch.zeros_like(logits)
        if targets["labels"].shape[1] > 0:
            rows = samples.rois[:, 0].long() * targets["labels"].shape[1] + samples.objects
            roi_targets = mask_targets(targets["masks"], samples.boxes, rows, samples.rois[:, 1:], logits.shape[-1])
        losses = F.binary_cross_entropy_with_logits(logits, roi_targets, reduction="none").mean(dim=(1, 2))
        return torch.where(positive, losses, 0.0).sum() / positive.sum().clamp(min=1)

    def _masks(self, features: dict[int, Tensor], rois: Tensor, labels: Tensor) -> Tensor:
        """Mask probabilities `(R, 28, 28)` of the classes `labels` `(R,)` in `rois` `(R, 5)`."""
        assert self.mask_head is not None
        logits: Tensor = self.mask_head(self._pool(features, rois, MASK_SIDE), labels + 1)
        return logits.sigmoid()

    def _classify(self, features: dict[int, Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Run the box heads on the proposals of a batch.

        Returns:
            RoIs `(N, P, 5)` that entered the last stage, scores `(N, P, K)`, -1 where there is no proposal, and
            box offsets `(N, P, K + 1 or 1, 4)`.
        """
        anchors = self.anchors(*size, next(iter(features.values())).device)
        proposals = self.options.proposals
        objectness, anchor_deltas = self.rpn(features)
        coding = self.options.box_coding
        boxes, valid = select_proposals(objectness, anchor_deltas, anchors, size, proposals, proposals, coding)
        rois, deltas, logits = boxes_to_rois(boxes), torch.empty(0), []
        for stage, head in enumerate(self.box_heads):
            if stage > 0:
                rois = self._move(rois, deltas[:, 0], stage - 1, size)
            stage_logits, deltas = head(self._pool(features, rois, BOX_SIDE))
            logits.append(stage_logits)
        scores = torch.unflatten(torch.stack(logits).mean(dim=0).softmax(dim=1)[:, 1:], 0, valid.shape)
        scores = scores.masked_fill(~valid[..., None], -1.0)
        return torch.unflatten(rois, 0, valid.shape), scores, torch.unflatten(deltas, 0, valid.shape)

    def _detect(self, features: dict[int, Tensor], size: tuple[int, int], options: NmsOptions) -> ScoredBoxes:
        """Boxes, scores and labels of the detections in images of `size`."""
        rois, scores, deltas = self._classify(features, size)
        best, order = scores.flatten(1).topk(min(options.candidates, scores[0].numel()), dim=1)
        index, labels = order // self.num_classes, order % self.num_classes
        images = torch.arange(len(order), device=order.device)[:, None]
        delta_class = labels + 1 if deltas.shape[2] > 1 else torch.zeros_like(labels)
        best_rois, best_deltas = rois[images, index].flatten(0, 1), deltas[images, index, delta_class].flatten(0, 1)
        moved = self._move(best_rois, best_deltas, len(self.box_heads) - 1, size)
        return select_detections(torch.unflatten(moved[:, 1:], 0, order.shape), best, labels, options)


def select_deltas(deltas: Tensor, labels: Tensor) -> Tensor:
    """Box offsets `(R, 4)` of each RoI's label among those of all classes `(R, K + 1 or 1, 4)`."""
    if deltas.shape[1] == 1:
        return deltas[:, 0]
    return deltas[torch.arange(len(deltas), device=deltas.device), labels.clamp(min=-1) + 1]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
