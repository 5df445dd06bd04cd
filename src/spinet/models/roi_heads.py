"""Heads on regions of a fixed size: class and box, and mask (Mask R-CNN paper, section 3; tensorflow/tpu heads.py)."""

import math

from torch import Tensor, nn

from spinet.models.blocks import Activation, Conv2d, activation_function


class RegionConvs(nn.Module):
    """3x3 convolutions with bias, each followed by a batch norm and the activation."""

    def __init__(
        self, in_channels: int, channels: int, depth: int, activation: Activation, bn_eps: float, bn_momentum: float
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * depth
        self.out_channels = widths[-1]
        self.convs = nn.ModuleList(Conv2d(width, channels, 3, bias=True) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, bn_eps, bn_momentum) for _ in self.convs)
        self.activation = activation_function(activation)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.get_parameter("weight"), mode="fan_out")

    def forward(self, regions: Tensor) -> Tensor:
        """Map `(R, in, S, S)` to `(R, out, S, S)`."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            regions = self.activation(norm(conv(regions)))
        return regions


class BoxHead(nn.Module):
    """Convolutions, one dense layer with batch norm, and predictors of classes and boxes.

    Args:
        in_channels: of the regions' features.
        channels: of the convolutions.
        depth: number of convolutions.
        dense: width of the dense layer.
        classes: with the background, which is the first.
        boxes: box offsets of a region: `classes`, or 1 for one that serves all.
        side: of the regions' features.
        activation: after each batch norm.
        bn_eps: epsilon of the batch norms.
        bn_momentum: share of the newest batch in their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        dense: int,
        classes: int,
        boxes: int,
        side: int,
        activation: Activation,
        bn_eps: float,
        bn_momentum: float,
    ) -> None:
        super().__init__()
        self.convs = RegionConvs(in_channels, channels, depth, activation, bn_eps, bn_momentum)
        self.fc = nn.Linear(self.convs.out_channels * side * side, dense)
        self.norm = nn.BatchNorm1d(dense, bn_eps, bn_momentum)
        self.cls_score = nn.Linear(dense, classes)
        self.bbox_pred = nn.Linear(dense, 4 * boxes)
        self.activation = activation_function(activation)
        nn.init.uniform_(self.fc.weight, -1 / math.sqrt(dense), 1 / math.sqrt(dense))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.fc, self.cls_score, self.bbox_pred):
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(R, in, side, side)` to class logits `(R, classes)` and box offsets `(R, boxes, 4)`."""
        flow = self.activation(self.norm(self.fc(self.convs(regions).flatten(1))))
        return self.cls_score(flow).float(), self.bbox_pred(flow).unflatten(1, (-1, 4)).float()


class MaskHead(nn.Module):
    """Convolutions, a transposed one that doubles the resolution, and a mask for every class.

    Args:
        in_channels: of the regions' features.
        channels: of the convolutions.
        depth: number of convolutions.
        classes: with the background, which is the first.
        activation: after each batch norm.
        bn_eps: epsilon of the batch norms.
        bn_momentum: share of the newest batch in their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        classes: int,
        activation: Activation,
        bn_eps: float,
        bn_momentum: float,
    ) -> None:
        super().__init__()
        self.convs = RegionConvs(in_channels, channels, depth, activation, bn_eps, bn_momentum)
        self.deconv = nn.ConvTranspose2d(self.convs.out_channels, channels, kernel_size=2, stride=2)
        self.norm = nn.BatchNorm2d(channels, bn_eps, bn_momentum)
        self.predictor = Conv2d(channels, classes, bias=True)
        self.activation = activation_function(activation)
        # The predictor keeps the usual weights: the reference scales them by the classes, which is too much for few.
        nn.init.kaiming_normal_(self.deconv.weight, mode="fan_out")
        nn.init.zeros_(self.deconv.get_parameter("bias"))

    def forward(self, regions: Tensor, labels: Tensor) -> Tensor:
        """Map `(R, in, S, S)` to the mask logits `(R, 2 * S, 2 * S)` of the classes `labels` `(R,)`."""
        flow = self.predictor(self.activation(self.norm(self.deconv(self.convs(regions)))))
        own: Tensor = flow.gather(1, labels.reshape(-1, 1, 1, 1).expand(-1, 1, *flow.shape[-2:]))
        return own[:, 0].float()
