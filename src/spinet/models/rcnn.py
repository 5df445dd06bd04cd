"""Faster, Mask and Cascade R-CNN on any backbone (paper section 4.1; tensorflow/tpu, tensorflow/models).

What torchvision's detectors have not: batch norm in all heads, a score loss and box losses as in tensorflow/tpu, and a
cascade. RoIAlign is torchvision's, with 2 x 2 samples a bin and pixel centres at a half, where tensorflow/tpu takes one
sample and counts from the corners.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from spinet.errors import SpinetError
from spinet.models.anchors import decode_boxes, encode_boxes, pyramid_anchors
from spinet.models.backbone import Backbone, pad_to_multiple
from spinet.models.blocks import Activation
from spinet.models.detections import Detections, Found, Limits, select_detections
from spinet.models.losses import mean_huber_loss, region_class_loss
from spinet.models.regions import (
    IDLE,
    Matched,
    align_regions,
    mask_targets,
    match_regions,
    region_rows,
    sample_balanced,
    sample_each,
)
from spinet.models.roi_heads import BoxHead, MaskHead
from spinet.models.rpn import RegionProposals, proposal_losses, propose

# Sides of the features of a region, for its box and for its mask, which is twice as large as they.
BOX_SIDE, MASK_SIDE = 7, 14
# What the box offsets (x, y, width, height) of each stage of a cascade are multiplied by (Cascade R-CNN).
STAGE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
# Overlaps of the stages of the released Cascade R-CNN-RS (tensorflow/models coco_spinenet49_cascadercnn_tpu.yaml).
CASCADE_OVERLAPS = (0.6, 0.7)
# Share of sampled regions that may hold an object, and the overlap from which a region is no longer background.
SAMPLED_SHARE, BACKGROUND = 0.25, 0.5
HUBER_DELTA = 1.0


class RCNN(nn.Module):
    """Two-stage detector: proposals, then a class, a box and a mask for each.

    Args:
        backbone: gives `{level: (N, out_channels, H, W)}` for its `levels`.
        num_classes: classes to tell apart, labelled 0..num_classes-1; inside, background comes before them (COCO's 90
            are the 91 of the published models).
        masks: whether masks are found too.
        overlaps: intersection over union from which a region holds an object, for each stage in turn. More than one
            makes a cascade, whose boxes serve all classes and whose class logits are averaged (tensorflow/models).
        head_channels: channels of the convolutions of all heads.
        head_convs: convolutions of the box and of the mask head.
        dense_channels: width of the box head's dense layer.
        rpn_convs: convolutions of the region proposals.
        activation: `"relu"`, `"swish"` or `"hard_swish"`.
        anchor_scale: side of the smallest anchor in strides.
        octaves: anchor sizes per level.
        aspect_ratios: width / height of the anchors of each size.
        pre_nms: best anchors of each level that enter non-maximum suppression in training.
        predict_pre_nms: the same in prediction.
        proposals: regions of an image that the box head sees.
        roi_samples: of them that it learns from, chosen by chance.
        mask_samples: most regions of an image that the mask head learns from.
        bn_eps: epsilon of the heads' batch norms.
        bn_momentum: share of the newest batch in their running statistics.

    Raises:
        SpinetError: there is no class, or there are no stages or too many.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        masks: bool = True,
        overlaps: Sequence[float] = (0.5,),
        head_channels: int = 256,
        head_convs: int = 4,
        dense_channels: int = 1024,
        rpn_convs: int = 1,
        activation: Activation = "relu",
        anchor_scale: float = 3.0,
        octaves: int = 3,
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        pre_nms: int = 2000,
        predict_pre_nms: int = 1000,
        proposals: int = 1000,
        roi_samples: int = 512,
        mask_samples: int = 128,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise SpinetError(f"a detector of {num_classes} classes cannot be built; at least 1 is needed")
        counts = {"pre_nms": pre_nms, "predict_pre_nms": predict_pre_nms, "proposals": proposals}
        counts |= {"roi_samples": roi_samples, "mask_samples": mask_samples}
        for name, count in counts.items():
            # Two are what batch norm needs at least.
            if count < 2:
                raise SpinetError(f"{name} {count} is too small for a detector; at least 2 is needed")
        if not 1 <= len(overlaps) <= len(STAGE_WEIGHTS):
            raise SpinetError(f"overlaps {tuple(overlaps)}: a detector has 1 to {len(STAGE_WEIGHTS)} stages")
        self.backbone = backbone
        self.num_classes = num_classes
        self.overlaps = tuple(overlaps)
        self.anchor_scale, self.octaves, self.aspect_ratios = anchor_scale, octaves, tuple(aspect_ratios)
        self.pre_nms, self.predict_pre_nms, self.proposals = pre_nms, predict_pre_nms, proposals
        self.roi_samples, self.mask_samples = roi_samples, mask_samples
        self.size_multiple = 2 ** max(backbone.levels)
        features, classes = backbone.out_channels, num_classes + 1
        anchors = octaves * len(self.aspect_ratios)
        settings = (activation, bn_eps, bn_momentum)
        self.rpn = RegionProposals(features, head_channels, rpn_convs, anchors, backbone.levels, *settings)
        boxes = classes if len(overlaps) == 1 else 1
        self.box_heads = nn.ModuleList(
            BoxHead(features, head_channels, head_convs, dense_channels, classes, boxes, BOX_SIDE, *settings)
            for _ in self.overlaps
        )
        self.mask_head = MaskHead(features, head_channels, head_convs, classes, *settings) if masks else None
        self.class_predictors = (
            "mask_head.predictor.",
            *(f"box_heads.{stage}.cls_score." for stage in range(len(overlaps))),
        )
        if len(overlaps) == 1:
            self.class_predictors += ("box_heads.0.bbox_pred.",)
        self.loss_names = ("proposal_class", "proposal_box", "class", "box", *(("mask",) if masks else ()))
        self._anchors: dict[tuple[int, int, torch.device], list[Tensor]] = {}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map normalised images `(N, 3, H, W)` to detections of fixed shapes, with the default limits of `predict`.

        Images are padded with zeros, right and below, to a multiple of `2 ** max(levels)`.

        Returns:
            Boxes `(N, 100, 4)` XYXY, scores `(N, 100)` and labels `(N, 100)`, best first, and where there is a mask
            head the masks' probabilities `(N, 100, 28, 28)` inside the boxes. Fewer detections are filled up with
            label -1 and score 0.
        """
        features = self._features(images)
        found = self._detect(features, _size(images), Limits())
        if self.mask_head is None:
            return tuple(found)
        masks = self._masks(features, region_rows(found.boxes), found.labels.flatten())
        return (*found, torch.unflatten(masks, 0, found.labels.shape))

    def anchors(self, height: int, width: int, device: torch.device) -> list[Tensor]:
        """Anchors `(A, 4)` XYXY of each level of an image of this size."""
        rows, columns = -(-height // self.size_multiple), -(-width // self.size_multiple)
        if (rows, columns, device) not in self._anchors:
            size = (rows * self.size_multiple, columns * self.size_multiple)
            levels = self.backbone.levels
            anchors = pyramid_anchors(size, levels, self.anchor_scale, self.octaves, self.aspect_ratios)
            self._anchors[rows, columns, device] = [each.to(device) for each in anchors]
        return self._anchors[rows, columns, device]

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch by name; training minimises their sum.

        They are `proposal_class` and `proposal_box`; `class` and `box`, which are means over the stages
        (tensorflow/models `maskrcnn.py`); and `mask`.

        Args:
            images: normalised, `(N, 3, H, W)`.
            targets: `boxes` `(N, M, 4)` XYXY pixels, `labels` `(N, M)`, -1 where a row is padding, and for a mask head
                `masks` `(N, M, B, B)`: the object inside its box, 0 or 1.

        Raises:
            SpinetError: there is a mask head, but there are no masks.
        """
        if self.mask_head is not None and "masks" not in targets:
            raise SpinetError("training a mask head needs masks, but the targets have boxes alone")
        size, anchors = _size(images), self.anchors(*_size(images), images.device)
        features = self._features(images)
        logits, deltas = self.rpn(features)
        # Half precision is for convolutions: sums over a hundred thousand anchors need the full one.
        with torch.autocast(images.device.type, enabled=False):
            scores, spots = proposal_losses(logits, deltas, anchors, targets)
        boxes, real = propose(logits, deltas, anchors, size, self.pre_nms, self.proposals)
        samples = self._samples(boxes, real, targets)
        classes, places, own = [], [], torch.empty(0)
        for stage, head in enumerate(self.box_heads):
            if stage > 0:
                regions = self._move(samples.regions, own.detach(), stage - 1, size)
                idle = samples.labels == IDLE
                samples = match_regions(regions, targets["boxes"], targets["labels"], self.overlaps[stage])
                samples = samples._replace(labels=samples.labels.masked_fill(idle, IDLE))
            stage_logits, stage_deltas = head(align_regions(features, samples.regions, BOX_SIDE))
            own = own_boxes(stage_deltas, samples.labels)
            goals = encode_boxes(samples.boxes, samples.regions[:, 1:]) * _weights(stage, own)
            classes.append(region_class_loss(stage_logits, samples.labels))
            places.append(mean_huber_loss(own, goals, samples.labels >= 0, HUBER_DELTA))
        losses = {"proposal_class": scores, "proposal_box": spots}
        losses |= {"class": torch.stack(classes).mean(), "box": torch.stack(places).mean()}
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
        """Find objects in normalised images `(N, 3, H, W)`; call `eval()` on the model before.

        Args:
            images: the batch.
            score_threshold: detections below it are left out.
            nms_threshold: overlap from which the lower of two boxes of one class is left out.
            candidates: best (region, class) pairs that enter non-maximum suppression.
            max_detections: most that are returned for an image.
        """
        features = self._features(images)
        limits = Limits(score_threshold, nms_threshold, candidates, max_detections)
        found = self._detect(features, _size(images), limits)
        real = found.labels >= 0
        counts = real.sum(dim=1).tolist()
        parts = [torch.split(values[real], counts) for values in found]
        detections: list[Detections] = [
            {"boxes": boxes, "scores": scores, "labels": labels} for boxes, scores, labels in zip(*parts, strict=True)
        ]
        if self.mask_head is not None:
            masks = self._masks(features, region_rows(found.boxes)[real.flatten()], found.labels[real])
            for each, own in zip(detections, torch.split(masks, counts), strict=True):
                each["masks"] = own
        return detections

    def _features(self, images: Tensor) -> dict[int, Tensor]:
        features: dict[int, Tensor] = self.backbone(pad_to_multiple(images, self.size_multiple))
        return features

    def _samples(self, boxes: Tensor, real: Tensor, targets: dict[str, Tensor]) -> Matched:
        """Proposals and the objects themselves, matched and sampled."""
        objects, labels = targets["boxes"], targets["labels"]
        regions = region_rows(torch.cat([boxes, objects.to(boxes.dtype)], dim=1))
        usable = torch.cat([real, labels >= 0], dim=1)
        background = min(BACKGROUND, self.overlaps[0])
        matched = match_regions(regions, objects, labels, self.overlaps[0], background)
        kinds = matched.labels.reshape(usable.shape)
        chosen = sample_balanced(usable & (kinds >= 0), usable & (kinds == -1), self.roi_samples, SAMPLED_SHARE)
        return matched.pick(chosen.flatten(), least=2)

    def _move(self, regions: Tensor, deltas: Tensor, stage: int, size: tuple[int, int]) -> Tensor:
        """Regions `(R, 5)` as the box offsets `(R, 4)` of a stage change them, inside the image."""
        boxes = decode_boxes(deltas / _weights(stage, deltas), regions[:, 1:])
        return torch.cat([regions[:, :1], clip_boxes_to_image(boxes, size)], dim=1)

    def _mask_loss(
        self, head: MaskHead, features: dict[int, Tensor], samples: Matched, targets: dict[str, Tensor]
    ) -> Tensor:
        """Mean binary cross entropy of the masks of regions with objects, in their own class; 0 without any."""
        chosen = sample_each(samples.labels >= 0, samples.regions[:, 0].long(), self.mask_samples)
        picked = samples.pick(chosen, least=1)
        learnt = picked.labels >= 0
        logits = head(align_regions(features, picked.regions, MASK_SIDE), picked.labels.clamp(min=-1) + 1)
        goals = torch.zeros_like(logits)
        if targets["labels"].shape[1] > 0:
            rows = picked.regions[:, 0].long() * targets["labels"].shape[1] + picked.objects
            goals = mask_targets(targets["masks"], picked.boxes, rows, picked.regions[:, 1:], logits.shape[-1])
        losses = F.binary_cross_entropy_with_logits(logits, goals, reduction="none").mean(dim=(1, 2))
        return torch.where(learnt, losses, 0.0).sum() / learnt.sum().clamp(min=1)

    def _masks(self, features: dict[int, Tensor], regions: Tensor, labels: Tensor) -> Tensor:
        """Mask probabilities `(R, 28, 28)` of the classes `labels` `(R,)` in `regions` `(R, 5)`."""
        assert self.mask_head is not None
        logits: Tensor = self.mask_head(align_regions(features, regions, MASK_SIDE), labels + 1)
        return logits.sigmoid()

    def _regions(self, features: dict[int, Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """What the box heads make of the proposals of a batch.

        Returns:
            Regions `(N, P, 5)` that entered the last stage, scores `(N, P, K)`, -1 where there is no proposal, and
            box offsets `(N, P, K + 1 or 1, 4)`.
        """
        anchors = self.anchors(*size, next(iter(features.values())).device)
        spots, offsets = self.rpn(features)
        boxes, real = propose(spots, offsets, anchors, size, self.predict_pre_nms, self.proposals)
        regions, deltas, logits = region_rows(boxes), torch.empty(0), []
        for stage, head in enumerate(self.box_heads):
            if stage > 0:
                regions = self._move(regions, deltas[:, 0], stage - 1, size)
            stage_logits, deltas = head(align_regions(features, regions, BOX_SIDE))
            logits.append(stage_logits)
        scores = torch.unflatten(torch.stack(logits).mean(dim=0).softmax(dim=1)[:, 1:], 0, real.shape)
        scores = scores.masked_fill(~real[..., None], -1.0)
        return torch.unflatten(regions, 0, real.shape), scores, torch.unflatten(deltas, 0, real.shape)

    def _detect(self, features: dict[int, Tensor], size: tuple[int, int], limits: Limits) -> Found:
        """Boxes, scores and labels of what is found in images of `size`."""
        regions, scores, deltas = self._regions(features, size)
        best, order = scores.flatten(1).topk(min(limits.candidates, scores[0].numel()), dim=1)
        places, labels = order // self.num_classes, order % self.num_classes
        images = torch.arange(len(order), device=order.device)[:, None]
        own = labels + 1 if deltas.shape[2] > 1 else torch.zeros_like(labels)
        chosen = regions[images, places].flatten(0, 1), deltas[images, places, own].flatten(0, 1)
        moved = self._move(*chosen, len(self.box_heads) - 1, size)
        return select_detections(torch.unflatten(moved[:, 1:], 0, order.shape), best, labels, limits)


def own_boxes(deltas: Tensor, labels: Tensor) -> Tensor:
    """Box offsets `(R, 4)` of the regions' own `labels` among those of all classes `(R, K + 1 or 1, 4)`."""
    if deltas.shape[1] == 1:
        return deltas[:, 0]
    return deltas[torch.arange(len(deltas), device=deltas.device), labels.clamp(min=-1) + 1]


def _weights(stage: int, like: Tensor) -> Tensor:
    return like.new_tensor(STAGE_WEIGHTS[stage])


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
