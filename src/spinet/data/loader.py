"""Batches of images and their objects: an endless stream for training, and all images once for evaluation."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

import torch
from torch import Tensor

from spinet.data.coco import CocoDataset
from spinet.data.mask_crops import CROP_SIDE, crop_masks
from spinet.data.rendering import View, develop, gather
from spinet.data.stream import Batch, Stream, check_numbers, ordered_positions, seeded, shuffled_positions
from spinet.data.transforms import EvalTransform, TrainTransform


class _Item(NamedTuple):
    image: Tensor
    boxes: Tensor
    labels: Tensor
    image_id: int
    scale: Tensor
    size: tuple[int, int]
    masks: Tensor | None
    view: View | None = None


def train_loader(
    dataset: CocoDataset,
    transform: TrainTransform,
    *,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    max_objects: int = 100,
    rendered: bool = True,
) -> Iterator[Batch]:
    """Return an endless stream of shuffled, augmented batches.

    Batch b of a rank holds positions `(b * world_size + rank) * batch_size` onwards of one shuffled epoch
    after the other. Order and augmentation depend on the seed and the position only: the number of workers or
    a restart at `first_batch` change nothing.

    An object whose visible part has no pixel of its mask, because a crop cut it to an empty corner of its box, stays
    as it does in the papers' code: its box is that of the visible part, and there the mask is rightly empty.

    Args:
        dataset: the images; where it has masks, the targets have them too.
        transform: the augmentation.
        batch_size: images a batch and rank.
        seed: of order and augmentation.
        first_batch: number of the first batch to return, to go on where a run was cut off.
        rank: number of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.
        max_objects: an image's objects after these are dropped, as in the paper's code.
        rendered: whether images come finished; otherwise as `RawImages`, which the training device renders.

    Raises:
        SpinetError: at once for a number below 1; from the stream for an image that cannot be read.
    """
    check_numbers(batch_size=batch_size, world_size=world_size, max_objects=max_objects)
    positions = shuffled_positions(
        len(dataset),
        batch_size=batch_size,
        seed=seed,
        first_batch=first_batch,
        rank=rank,
        world_size=world_size,
    )
    return iter(Stream(_TrainBatch(dataset, transform, seed, max_objects, rendered), positions, workers))


def eval_loader(
    dataset: CocoDataset,
    transform: EvalTransform,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> Iterable[Batch]:
    """Return the batches of this rank, in order; over all ranks every image comes exactly once.

    The result can be iterated again and again. The last batch may be short, and so may be a rank's share.

    Args:
        dataset: the images; where it has masks, the targets have them too, for the loss.
        transform: the resizing.
        batch_size: images a batch and rank.
        rank: number of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.

    Raises:
        SpinetError: at once for a number below 1; while iterating for an image that cannot be read.
    """
    check_numbers(batch_size=batch_size, world_size=world_size)
    positions = ordered_positions(len(dataset), batch_size=batch_size, rank=rank, world_size=world_size)
    return Stream(_EvalBatch(dataset, transform), positions, workers)


class _TrainBatch:
    """Loads the batch at some (epoch, index) pairs."""

    def __init__(
        self, dataset: CocoDataset, transform: TrainTransform, seed: int, max_objects: int, rendered: bool
    ) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed
        self.max_objects, self.rendered = max_objects, rendered

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        return _collate([self._item(epoch, index) for epoch, index in pairs], self.max_objects)

    def _item(self, epoch: int, index: int) -> _Item:
        sample = self.dataset.samples[index]
        size = (sample.height, sample.width)
        with seeded(self.seed, epoch, index):
            placement, boxes, kept = self.transform.place(size, sample.boxes)
        image, view = develop(self.dataset.image(index), placement, self.rendered)
        masks = None
        if sample.masks is not None:
            # No more than the batch will hold.
            seen = list(compress(sample.masks, kept.tolist()))[: self.max_objects]
            masks = placement.flip(crop_masks(seen, placement.back(boxes[: self.max_objects]), *size))
        return _Item(image, boxes, sample.labels[kept], sample.image_id, torch.ones(2), size, masks, view)


class _EvalBatch:
    """Loads the batch at some indices, without chance and with all objects."""

    def __init__(self, dataset: CocoDataset, transform: EvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __call__(self, indices: Sequence[int]) -> Batch:
        return _collate([self._item(index) for index in indices], max_objects=None)

    def _item(self, index: int) -> _Item:
        sample = self.dataset.samples[index]
        image, scale = self.transform(self.dataset.image(index))
        boxes = sample.boxes * scale.repeat(2)
        size = (sample.height, sample.width)
        masks = None if sample.masks is None else crop_masks(sample.masks, sample.boxes, *size)
        return _Item(image, boxes, sample.labels, sample.image_id, scale, size, masks)


def _collate(items: list[_Item], max_objects: int | None) -> Batch:
    largest = max(len(item.labels) for item in items)
    padded = 1 << max(largest - 1, 0).bit_length()
    room = padded if max_objects is None else min(padded, max_objects)
    boxes = torch.zeros(len(items), room, 4)
    labels = torch.full((len(items), room), -1)
    targets = {"boxes": boxes, "labels": labels}
    for row, item in enumerate(items):
        count = min(len(item.labels), room)
        boxes[row, :count], labels[row, :count] = item.boxes[:count], item.labels[:count]
        if item.masks is not None:
            targets.setdefault("masks", torch.zeros(len(items), room, CROP_SIDE, CROP_SIDE, dtype=torch.uint8))
            targets["masks"][row, :count] = item.masks[:count]
    return Batch(
        images=gather([item.image for item in items], [item.view for item in items]),
        targets=targets,
        image_ids=torch.tensor([item.image_id for item in items]),
        scales=torch.stack([item.scale for item in items]),
        sizes=torch.tensor([item.size for item in items]),
    )
