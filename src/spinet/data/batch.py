"""One image with its targets, and several as a batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spinet.data.device_augment import DrawnTransform, RawImages


class Item(NamedTuple):
    """One image and its targets.

    Attributes:
        image: float32 `(3, S, S)`; where `transform` is given, uint8 `(3, H, W)` to apply it to.
        targets: for detectors "boxes" `(M, 4)`, "labels" `(M,)` and maybe "masks" `(M, B, B)`; for classifiers
            "labels" `()`.
        image_id: number of the image in its split, from 1; ids of files may be too large for tensors.
        size: (height, width) of the image file.
        scale: `(2,)`, see `Batch.scales`.
        transform: an augmentation that is still to be applied.
    """

    image: Tensor
    targets: dict[str, Tensor]
    image_id: int
    size: tuple[int, int]
    scale: Tensor = torch.ones(2)
    transform: DrawnTransform | None = None


class Batch(NamedTuple):
    """N images and their targets.

    Attributes:
        images: float32 `(N, 3, S, S)`, or in training `RawImages`, which `.to(device)` turns into that.
        targets: for detectors "boxes" float32 `(N, M, 4)`, XYXY in pixels of `images`, zero where padded, "labels"
            int64 `(N, M)`, -1 where padded, and where masks are loaded "masks" uint8 `(N, M, B, B)`, each the object
            inside its box. M is the largest number of objects rounded up to a power of two, so that a compiled model
            meets few different shapes. For classifiers "labels" int64 `(N,)`.
        image_ids: int64 `(N,)`, numbers of the images in their split, from 1.
        scales: float32 `(N, 2)`, (x, y): box in `images` divided by box in the file; 1 in training, where the crop
            cannot be undone.
        sizes: int64 `(N, 2)`, (height, width) of the image file.
    """

    images: Tensor | RawImages
    targets: dict[str, Tensor]
    image_ids: Tensor
    scales: Tensor
    sizes: Tensor


def collate(items: Sequence[Item], max_objects: int | None = None) -> Batch:
    """Make a batch; images have room for at most `max_objects` objects."""
    raw = [item.transform for item in items if item.transform is not None]
    images = [item.image for item in items]
    return Batch(
        images=RawImages.of(images, raw) if raw else torch.stack(images),
        targets=_collate_targets([item.targets for item in items], max_objects),
        image_ids=torch.tensor([item.image_id for item in items]),
        scales=torch.stack([item.scale for item in items]),
        sizes=torch.tensor([item.size for item in items]),
    )


def _collate_targets(targets: Sequence[dict[str, Tensor]], max_objects: int | None) -> dict[str, Tensor]:
    if "boxes" not in targets[0]:
        return {"labels": torch.stack([target["labels"] for target in targets])}
    largest = max(len(target["labels"]) for target in targets)
    room = 1 << max(largest - 1, 0).bit_length()
    room = room if max_objects is None else min(room, max_objects)
    return {
        name: _padded([target[name] for target in targets], room, -1 if name == "labels" else 0) for name in targets[0]
    }


def _padded(rows: Sequence[Tensor], length: int, fill: int) -> Tensor:
    padded = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), fill)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
