"""What RetinaNet and the R-CNNs have in common: a backbone, padding and anchors."""

from typing import Any

import torch
from torch import Tensor, nn

from spinet.errors import SpinetError
from spinet.models.anchors import pyramid_anchors
from spinet.models.backbone import Backbone, pad_to_multiple
from spinet.models.options import DetectorOptions, change_options


class AnchorDetector(nn.Module):
    """A backbone and the anchors of its levels; `settings` are single fields of `options` to change."""

    def __init__(
        self, backbone: Backbone, num_classes: int, options: DetectorOptions, settings: dict[str, Any]
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise SpinetError(f"num_classes must be at least 1, not {num_classes}")
        self.options = change_options(options, settings)
        self.backbone = backbone
        self.num_classes = num_classes
        self.size_multiple = 2 ** max(backbone.levels)
        self.anchors_per_location = self.options.octaves * len(self.options.aspect_ratios)
        self._anchors: dict[tuple[int, int, torch.device], Tensor] = {}

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Features of images padded with zeros, right and below, to a multiple of `2 ** max(levels)`."""
        features: dict[int, Tensor] = self.backbone(pad_to_multiple(images, self.size_multiple))
        return features

    def anchors(self, height: int, width: int, device: torch.device) -> Tensor:
        """Anchors `(A, 4)` XYXY of an image of this size: levels, rows, columns, then the anchors of a location."""
        size = (height + -height % self.size_multiple, width + -width % self.size_multiple)
        if (*size, device) in self._anchors:
            return self._anchors[*size, device]
        anchors = self._padded_anchors(size).to(device)
        if not torch.compiler.is_exporting():  # there they are part of the graph, not values to keep
            self._anchors[*size, device] = anchors
        return anchors

    def _padded_anchors(self, size: tuple[int, int]) -> Tensor:
        scale, octaves, ratios = self.options.anchor_scale, self.options.octaves, self.options.aspect_ratios
        return torch.cat(pyramid_anchors(size, self.backbone.levels, scale, octaves, ratios))
