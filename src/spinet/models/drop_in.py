"""Backbones for torchvision's detectors."""

from collections import OrderedDict

from torch import Tensor, nn

from spinet.models.backbone import Backbone


class TorchvisionBackbone(nn.Module):
    """A backbone for torchvision's `RetinaNet`, `FasterRCNN` and `MaskRCNN`.

    Features are named "0", "1", ..., finest first: the names that torchvision's region pooling looks for by default.

    Args:
        body: from `create_backbone`.

    Attributes:
        out_channels: channels of every feature map.
    """

    def __init__(self, body: Backbone) -> None:
        super().__init__()
        self.body = body
        self.out_channels = body.out_channels

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Map images `(N, in, H, W)` to features by name, finest first."""
        return OrderedDict((str(index), x) for index, x in enumerate(self.body(images).values()))
