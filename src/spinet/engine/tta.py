"""Test-time augmentation: detections of mirrored and resized views of an image, merged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from spinet.errors import SpinetError
from spinet.models.detections import Detections


@dataclass(frozen=True)
class Views:
    """Views of an image for test-time augmentation.

    Args:
        flip: add the mirror image of each.
        scales: one view per multiple of the evaluation's image size.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise SpinetError(f"scales are {self.scales}; must be one or more finite numbers above 0")


def unscale(detections: Detections, scale: Tensor) -> Detections:
    """Map detections to pixels of the image file, on the CPU; `scale` `(2,)`, (x, y), is input divided by file."""
    unscaled = Detections(
        boxes=detections["boxes"].cpu() / scale.repeat(2),
        scores=detections["scores"].cpu(),
        labels=detections["labels"].cpu(),
    )
    if "masks" in detections:
        unscaled["masks"] = detections["masks"].cpu()
    return unscaled


def mirror(images: Tensor, widths: Sequence[int]) -> Tensor:
    """Mirror each image of a batch `(N, C, H, W)` inside its own width; its padding stays on the right.

    >>> mirror(torch.tensor([[[[1, 2, 3, 0]]]]), [3]).tolist()
    [[[[3, 2, 1, 0]]]]
    """
    size = images.shape[-1]
    # Flipping the whole input moves the padding to the left.
    return torch.stack([image.flip(-1).roll(width - size, -1) for image, width in zip(images, widths, strict=True)])


def mirror_back(detections: Detections, width: int) -> Detections:
    """Map detections in the mirror image of an image `width` pixels wide back to the image."""
    left, top, right, bottom = detections["boxes"].unbind(dim=1)
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    mirrored = Detections(boxes=boxes, scores=detections["scores"], labels=detections["labels"])
    if "masks" in detections:
        mirrored["masks"] = detections["masks"].flip(-1)
    return mirrored


def merge(views: Sequence[Detections], nms_threshold: float = 0.5, max_detections: int = 100) -> Detections:
    """Merge the detections of several views of one image, in the same pixels, by class-wise non-maximum suppression.

    Highest scores come first, each with the mask that came with its box; a single view is returned as it is.
    """
    if len(views) == 1:
        return views[0]
    boxes, scores, labels = (torch.cat([view[key] for view in views]) for key in ("boxes", "scores", "labels"))
    keep = batched_nms(boxes, scores, labels, nms_threshold)[:max_detections]
    merged = Detections(boxes=boxes[keep], scores=scores[keep], labels=labels[keep])
    if all("masks" in view for view in views):
        merged["masks"] = torch.cat([view["masks"] for view in views])[keep]
    return merged
