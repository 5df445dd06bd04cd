"""Heads on RoI features: class and box, and mask (Mask R-CNN paper, section 3; tensorflow/tpu heads.py)."""

import math

from torch import Tensor, nn

from spinet.models.blocks import ACTIVATIONS, Conv2d, batch_norm
from spinet.models.options import BackboneOptions


class RoiConvs(nn.Module):
    """3x3 convolutions with bias, each followed by a batch norm and the activation."""

    def __init__(self, in_channels: int, channels: int, depth: int, options: BackboneOptions) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * depth
        self.out_channels = widths[-1]
        self.convs = nn.ModuleList(Conv2d(width, channels, 3, bias=True) for width in widths[:-1])
        self.norms = nn.ModuleList(batch_norm(channels, options) for _ in self.convs)
        self.activation = ACTIVATIONS[options.activation]
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.get_parameter("weight"), mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map `(R, in, S, S)` to `(R, out, S, S)`."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
        return x


class BoxHead(nn.Module):
    """Convolutions, a dense layer with batch norm, and predictors of classes and boxes.

    The first of the `classes` is the background; `boxes` offsets per RoI are as many, or 1 if all classes share them.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        fc_channels: int,
        classes: int,
        boxes: int,
        side: int,
        options: BackboneOptions,
    ) -> None:
        super().__init__()
        self.convs = RoiConvs(in_channels, channels, depth, options)
        self.fc = nn.Linear(self.convs.out_channels * side * side, fc_channels)
        self.norm = nn.BatchNorm1d(fc_channels, options.bn_eps, options.bn_momentum)
        self.cls_score = nn.Linear(fc_channels, classes)
        self.bbox_pred = nn.Linear(fc_channels, 4 * boxes)
        self.activation = ACTIVATIONS[options.activation]
        nn.init.uniform_(self.fc.weight, -1 / math.sqrt(fc_channels), 1 / math.sqrt(fc_channels))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.fc, self.cls_score, self.bbox_pred):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(R, in, side, side)` to class logits `(R, classes)` and box offsets `(R, boxes, 4)`."""
        x = self.activation(self.norm(self.fc(self.convs(x).flatten(1))))
        return self.cls_score(x).float(), self.bbox_pred(x).unflatten(1, (-1, 4)).float()


class MaskHead(nn.Module):
    """Convolutions, a transposed one that doubles the resolution, and a mask per class, background first."""

    def __init__(self, in_channels: int, channels: int, depth: int, classes: int, options: BackboneOptions) -> None:
        super().__init__()
        self.convs = RoiConvs(in_channels, channels, depth, options)
        self.deconv = nn.ConvTranspose2d(self.convs.out_channels, channels, kernel_size=2, stride=2)
        self.norm = batch_norm(channels, options)
        self.predictor = Conv2d(channels, classes, bias=True)
        self.activation = ACTIVATIONS[options.activation]
        # The predictor keeps its default initialization: the reference scales it by the number of classes, which is too
        # much for few of them.
        nn.init.kaiming_normal_(self.deconv.weight, mode="fan_out")
        nn.init.zeros_(self.deconv.get_parameter("bias"))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map `(R, in, S, S)` to the mask logits `(R, 2 * S, 2 * S)` of the classes `labels` `(R,)`."""
        x = self.predictor(self.activation(self.norm(self.deconv(self.convs(x)))))
        logits: Tensor = x.gather(1, labels.reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[-2:]))
        return logits[:, 0].float()
