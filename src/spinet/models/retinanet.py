"""RetinaNet on any backbone that gives `{level: features}` (paper section 4.1; tensorflow/tpu heads.py)."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from spinet.errors import unknown_name
from spinet.models.anchors import (
    BOX_CODINGS,
    BoxCoding,
    decode_boxes,
    decode_boxes_tpu,
    encode_boxes,
    match_anchors,
    pyramid_anchors,
    round_anchors,
)
from spinet.models.backbone import Backbone, pad_to_multiple
from spinet.models.blocks import Activation, Conv2d, activation_function
from spinet.models.detections import Candidates, Detections, best_pairs
from spinet.models.losses import focal_loss, huber_loss

# Share of positives that the untrained class logits express (RetinaNet paper, section 4.1).
PRIOR = 0.01


class SeparableConv(nn.Module):
    """3x3 depthwise convolution and a 1x1 convolution with bias, nothing between them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = Conv2d(in_channels, in_channels, kernel_size=3, groups=in_channels)
        self.pointwise = Conv2d(in_channels, out_channels, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        mapped: Tensor = self.pointwise(self.depthwise(features))
        return mapped


class Tower(nn.Module):
    """Convolutions shared by all levels, each followed by a batch norm of its own for every level.

    Their weights are drawn as in tensorflow/tpu heads.py; separable ones as there too (predictor N(0, 0.03)).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        out_channels: int,
        levels: Sequence[int],
        activation: Activation,
        bn_eps: float,
        bn_momentum: float,
        separable: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * depth
        conv = SeparableConv if separable else partial(Conv2d, kernel_size=3, bias=True)
        self.convs = nn.ModuleList(conv(width, channels) for width in widths[:-1])
        self.norms = nn.ModuleDict(
            {
                str(level): nn.ModuleList(nn.BatchNorm2d(channels, bn_eps, bn_momentum) for _ in range(depth))
                for level in levels
            }
        )
        self.predictor = conv(widths[-1], out_channels)
        self.activation = activation_function(activation)
        for weight in _kernels(self.convs):
            nn.init.normal_(weight, std=0.01)
        for weight in _kernels(self.predictor):
            nn.init.normal_(weight, std=0.03 if separable else 1e-5)

    @property
    def bias(self) -> nn.Parameter:
        """Bias of the predictor."""
        last = self.predictor.pointwise if isinstance(self.predictor, SeparableConv) else self.predictor
        return last.get_parameter("bias")

    def forward(self, features: dict[int, Tensor], values: int) -> Tensor:
        """Map `{level: (N, in, H, W)}` to `(N, A, values)`: levels, rows, columns, then the anchors of a cell."""
        outputs = []
        for level, flow in features.items():
            norms = self.norms[str(level)]
            assert isinstance(norms, nn.ModuleList)
            for conv, norm in zip(self.convs, norms, strict=True):
                flow = self.activation(norm(conv(flow)))
            predicted = self.predictor(flow).permute(0, 2, 3, 1)
            outputs.append(predicted.reshape(predicted.shape[0], -1, values))
        return torch.cat(outputs, dim=1)


def _kernels(module: nn.Module) -> list[Tensor]:
    return [weight for name, weight in module.named_parameters() if name.endswith("weight")]


class RetinaNet(nn.Module):
    """One-stage detector with the paper's heads, losses and inference.

    Args:
        backbone: gives `{level: (N, out_channels, H, W)}` for its `levels`.
        num_classes: classes to tell apart, labelled 0..num_classes-1; the published models count a background
            class too (91 for COCO).
        head_channels: channels of both towers.
        head_convs: convolutions of each tower.
        head_separable: whether they and the predictors are separable.
        activation: `"relu"`, `"swish"` or `"hard_swish"`.
        anchor_scale: side of the smallest anchor in strides; 3 for SpineNet-49S, 49 and 96, 4 for 143 and 190.
        octaves: anchor sizes per level.
        aspect_ratios: width / height of the anchors of each size, in the order of the predictor's channels.
        bn_eps: epsilon of the head's batch norms.
        bn_momentum: share of the newest batch in their running statistics.
        box_coding: `"exact"`, `"tpu"` (anchors count one pixel more while decoding, and boxes end at the last pixel's
            start, as in tensorflow/tpu) or `"mmdet"` (anchors are rounded to whole pixels, as in mmdetection 1.1).
        background: whether class 0 stands for the background, which is never reported.

    Raises:
        SpinetError: the box coding is unknown.
    """

    loss_names = ("class", "box")
    class_predictors = ("cls_tower.predictor.",)

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head_channels: int = 256,
        head_convs: int = 4,
        head_separable: bool = False,
        activation: Activation = "relu",
        anchor_scale: float = 3.0,
        octaves: int = 3,
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        box_coding: BoxCoding = "exact",
        background: bool = False,
    ) -> None:
        super().__init__()
        if box_coding not in BOX_CODINGS:
            raise unknown_name("box coding", box_coding, BOX_CODINGS)
        self.box_coding: BoxCoding = box_coding
        self.background = background
        self.backbone = backbone
        self.num_classes = num_classes
        self.anchor_scale = anchor_scale
        self.octaves = octaves
        self.aspect_ratios = tuple(aspect_ratios)
        self.size_multiple = 2 ** max(backbone.levels)
        anchors = octaves * len(self.aspect_ratios)

        def tower(values: int) -> Tower:
            return Tower(
                backbone.out_channels,
                head_channels,
                head_convs,
                anchors * values,
                backbone.levels,
                activation,
                bn_eps,
                bn_momentum,
                head_separable,
            )

        self.cls_tower = tower(num_classes)
        self.box_tower = tower(4)
        nn.init.constant_(self.cls_tower.bias, -math.log((1 - PRIOR) / PRIOR))
        self._anchors: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised images `(N, 3, H, W)` to class logits `(N, A, K)` and box offsets `(N, A, 4)`.

        Images are padded with zeros, right and below, to a multiple of `2 ** max(levels)`.
        """
        features = self.backbone(pad_to_multiple(images, self.size_multiple))
        return self.cls_tower(features, self.num_classes), self.box_tower(features, 4)

    def anchors(self, height: int, width: int, device: torch.device) -> Tensor:
        """Anchors `(A, 4)` XYXY of an image of this size, in the order of `forward`'s outputs."""
        key = (math.ceil(height / self.size_multiple), math.ceil(width / self.size_multiple), device)
        if key not in self._anchors:
            padded = (key[0] * self.size_multiple, key[1] * self.size_multiple)
            levels = self.backbone.levels
            anchors = torch.cat(pyramid_anchors(padded, levels, self.anchor_scale, self.octaves, self.aspect_ratios))
            self._anchors[key] = (round_anchors(anchors) if self.box_coding == "mmdet" else anchors).to(device)
        return self._anchors[key]

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the class and the box loss of a batch; training minimises their sum.

        Args:
            images: normalised, `(N, 3, H, W)`.
            targets: `boxes` `(N, M, 4)` XYXY pixels and `labels` `(N, M)`, -1 where a row is padding.
        """
        logits, deltas = self(images)
        # Half precision is for convolutions: sums over a hundred thousand anchors need the full one.
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

    def candidates(self, images: Tensor, count: int = 5000) -> Candidates:
        """Find what enters non-maximum suppression: the best (anchor, class) pairs of each image, best first.

        Every shape depends on the images' alone, and nothing on what is in them: for exports and benchmarks.

        Args:
            images: normalised, `(N, 3, H, W)`.
            count: pairs of an image; fewer if there are not so many.
        """
        logits, deltas = self(images)
        return self.choose(logits, deltas, images.shape[-2], images.shape[-1], count)

    def choose(self, logits: Tensor, deltas: Tensor, height: int, width: int, count: int = 5000) -> Candidates:
        """Choose the candidates among what `forward` gave for images of this size; see `candidates`."""
        first = 1 if self.background else 0
        # The sigmoid keeps the order, so that it can wait until few are left.
        best, places, labels = best_pairs(logits[..., first:], count)
        picked = deltas.gather(1, places[..., None].expand(-1, -1, 4)).float()
        anchors = self.anchors(height, width, logits.device)
        return Candidates(self.decode(picked, anchors[places], height, width), best.float().sigmoid(), labels + first)

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
        """Find objects in normalised images `(N, 3, H, W)`; call `eval()` on the model before.

        Args:
            images: the batch.
            score_threshold: detections below it are left out.
            nms_threshold: overlap from which the lower of two boxes of one class is left out.
            candidates: best (anchor, class) pairs that enter non-maximum suppression.
            max_detections: most that are returned for an image.
        """
        boxes, scores, labels = self.candidates(images, candidates)
        found: list[Detections] = []
        for box, score, label in zip(boxes, scores, labels, strict=True):
            likely = score >= score_threshold
            box, score, label = box[likely], score[likely], label[likely]
            keep = batched_nms(box, score, label, nms_threshold)[:max_detections]
            found.append({"boxes": box[keep], "scores": score[keep], "labels": label[keep]})
        return found

    def decode(self, deltas: Tensor, anchors: Tensor, height: int, width: int) -> Tensor:
        """Boxes `(..., 4)` XYXY inside an image of this size, from offsets and the anchors they belong to."""
        if self.box_coding == "tpu":
            boxes: Tensor = clip_boxes_to_image(decode_boxes_tpu(deltas, anchors), (height - 1, width - 1))
        else:
            boxes = clip_boxes_to_image(decode_boxes(deltas, anchors), (height, width))
        return boxes
