"""Test-time augmentation: each photo is looked at mirrored and at several sizes, and all that was found is merged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader
from spinet.data.stream import Batch
from spinet.data.transforms import EvalTransform
from spinet.engine.build import Detector
from spinet.engine.distributed import Processes
from spinet.engine.evaluate import CocoResult, coco_results
from spinet.errors import SpinetError
from spinet.models.detections import Detections


@dataclass(frozen=True)
class Views:
    """The views of each photo that a detector is given: at every scale, and mirrored besides if `flip`.

    Args:
        flip: whether to look at the mirror image too.
        scales: sizes in those of the plain evaluation.

    Raises:
        SpinetError: there is no scale, or one is not a positive number.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise SpinetError(f"the scales {self.scales} are not one or more finite numbers above 0")


def detect_views(
    model: Detector,
    dataset: CocoDataset,
    *,
    views: Views,
    image_size: int,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    bf16: bool = False,
    processes: Processes | None = None,
    category_ids: tuple[int, ...] | None = None,
) -> list[CocoResult]:
    """Do what `engine.evaluate.detect` does, with several views of every photo; a single plain view gives the same.

    Every scale is resized from the photo itself, as a plain evaluation at that size would, and read by `workers`
    processes of its own.

    Args:
        model: the detector.
        dataset: the photos.
        views: how to look at each.
        image_size: side of the square that photos are fitted into at scale 1, pixels.
        batch_size: photos at once.
        device: where the model is.
        workers: processes that load photos, for each scale.
        bf16: compute in bfloat16 where that is safe.
        processes: this process among all.
        category_ids: those of the model's labels if it knows other classes too; these are left out.
    """
    processes = processes or Processes()
    loaders = [
        eval_loader(
            dataset,
            EvalTransform(max(round(image_size * scale), 1)),
            batch_size=batch_size,
            rank=processes.rank,
            world_size=processes.count,
            workers=workers,
        )
        for scale in views.scales
    ]
    training = model.training
    model.eval()
    results: list[CocoResult] = []
    for batches in zip(*loaders, strict=True):
        looks = [look for batch in batches for look in _looks(model, batch, views.flip, device, bf16)]
        merged = [merge(seen) for seen in zip(*looks, strict=True)]
        first = batches[0]
        in_photos = first._replace(scales=torch.ones_like(first.scales))
        results += coco_results(merged, in_photos, category_ids or dataset.category_ids)
    if category_ids:
        results = [result for result in results if result["category_id"] in dataset.category_ids]
    model.train(training)
    return processes.gather(results)


def _looks(model: Detector, batch: Batch, flip: bool, device: torch.device, bf16: bool) -> list[list[Detections]]:
    """What is found in a batch, and in its mirror image if `flip`; boxes in pixels of the photos, on the CPU."""
    # What the photo takes of the square, in whole pixels.
    widths = (batch.sizes[:, 1] * batch.scales[:, 0]).round().long().tolist()
    looks = [_predict(model, batch.images.to(device), bf16)]
    if flip:
        mirrored = _predict(model, mirror(batch.images.to(device), widths), bf16)
        looks.append([mirror_back(found, width) for found, width in zip(mirrored, widths, strict=True)])
    return [[_unscaled(found, scale) for found, scale in zip(look, batch.scales, strict=True)] for look in looks]


def _predict(model: Detector, images: Tensor, bf16: bool) -> list[Detections]:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        return model.predict(images)


def _unscaled(found: Detections, scale: Tensor) -> Detections:
    placed = Detections(
        boxes=found["boxes"].cpu() / scale.repeat(2), scores=found["scores"].cpu(), labels=found["labels"].cpu()
    )
    if "masks" in found:
        placed["masks"] = found["masks"].cpu()
    return placed


def mirror(images: Tensor, widths: Sequence[int]) -> Tensor:
    """Mirror each photo of a batch `(N, C, S, S)` inside its own width; its padding stays on the right.

    >>> mirror(torch.tensor([[[[1, 2, 3, 0]]]]), [3]).tolist()
    [[[[3, 2, 1, 0]]]]
    """
    size = images.shape[-1]
    # Mirroring the square puts the photo to the right of its padding.
    return torch.stack([image.flip(-1).roll(width - size, -1) for image, width in zip(images, widths, strict=True)])


def mirror_back(found: Detections, width: int) -> Detections:
    """Bring what was found in the mirror image of a photo `width` pixels wide back to where it is."""
    left, top, right, bottom = found["boxes"].unbind(dim=1)
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    placed = Detections(boxes=boxes, scores=found["scores"], labels=found["labels"])
    if "masks" in found:
        placed["masks"] = found["masks"].flip(-1)
    return placed


def merge(looks: Sequence[Detections], nms_threshold: float = 0.5, max_detections: int = 100) -> Detections:
    """Merge what was found in the views of one photo: non-maximum suppression, class by class, over all of it.

    Args:
        looks: what each view gave, in the same pixels.
        nms_threshold: overlap from which the lower of two boxes of one class is left out.
        max_detections: most that are returned.

    Returns:
        The best of all, best first, each with the mask that came with its box; what a single view gave stays as it is.
    """
    if len(looks) == 1:
        return looks[0]
    boxes, scores, labels = (torch.cat([look[key] for look in looks]) for key in ("boxes", "scores", "labels"))
    keep = batched_nms(boxes, scores, labels, nms_threshold)[:max_detections]
    merged = Detections(boxes=boxes[keep], scores=scores[keep], labels=labels[keep])
    if all("masks" in look for look in looks):
        merged["masks"] = torch.cat([look["masks"] for look in looks])[keep]
    return merged
