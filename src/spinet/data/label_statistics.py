"""What the annotations of a split hold: images, objects, classes, sizes. No image is opened."""

from typing import Any

import torch
from torch import Tensor

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset

# Areas in pixels of the file up to which an object is small or medium in COCO's metrics.
SMALL, MEDIUM = 32.0**2, 96.0**2
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def label_statistics(dataset: ImageDataset, image_size: int) -> dict[str, Any]:
    """Return statistics of a split, of detectors or classifiers, as plain values.

    Args:
        dataset: the split.
        image_size: side in pixels of the square that images are fitted into.

    Returns:
        `images`, `classes` (for each label its `name` and numbers of `images` and, for detectors, `objects`); for
        detectors also `images_without_objects`, `objects`, `objects_per_image` (`median`, `max`), `sizes` (`small`,
        `medium`, `large` as in COCO), and quantiles (`min`, `p10`, `median`, `p90`, `max`) of `sides` (square root of
        the area in pixels at `image_size`) and `aspect_ratios` (width by height).
    """
    if isinstance(dataset, ClassDataset):
        labels = torch.tensor([sample.label for sample in dataset.samples], dtype=torch.int64)
        return {"images": len(dataset), "classes": _classes(dataset, images=labels)}
    assert isinstance(dataset, CocoDataset)
    samples = dataset.samples
    counts = torch.tensor([len(sample.labels) for sample in samples], dtype=torch.int64)
    labels = _joined([sample.labels for sample in samples], torch.zeros(0, dtype=torch.int64))
    once = _joined([torch.unique(sample.labels) for sample in samples], labels[:0])
    boxes = _joined([sample.boxes for sample in samples], torch.zeros(0, 4))
    longest = torch.tensor([max(sample.width, sample.height) for sample in samples], dtype=torch.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]).double()
    areas = sides.prod(dim=1)
    small, medium = int((areas < SMALL).sum()), int(((areas >= SMALL) & (areas < MEDIUM)).sum())
    return {
        "images": len(samples),
        "images_without_objects": int((counts == 0).sum()),
        "objects": len(labels),
        "classes": _classes(dataset, objects=labels, images=once),
        "objects_per_image": {"median": float(counts.double().quantile(0.5)), "max": int(counts.max())},
        "sizes": {"small": small, "medium": medium, "large": len(labels) - small - medium},
        "sides": _quantiles(areas.sqrt() * image_size / longest.repeat_interleave(counts)),
        "aspect_ratios": _quantiles(sides[:, 0] / sides[:, 1]),
    }


def _joined(parts: list[Tensor], empty: Tensor) -> Tensor:
    return torch.cat([empty, *parts])


def _classes(dataset: ImageDataset, **labels: Tensor) -> list[dict[str, Any]]:
    """Return for each class how often its label is in each tensor."""
    total = len(dataset.class_names)
    counted = {name: values.bincount(minlength=total).tolist() for name, values in labels.items()}
    return [
        {"name": name, **{what: counts[label] for what, counts in counted.items()}}
        for label, name in enumerate(dataset.class_names)
    ]


def _quantiles(values: Tensor) -> dict[str, float]:
    """Return quantiles to two decimals, of exactly the values that occur; none of nothing."""
    if not len(values):
        return {}
    ordered = values.sort().values
    found = [ordered[round(part * (len(ordered) - 1))] for part in QUANTILES]
    return {
        name: round(float(value), 2) for name, value in zip(("min", "p10", "median", "p90", "max"), found, strict=True)
    }
