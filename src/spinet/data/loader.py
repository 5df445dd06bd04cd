"""Batches for training, an endless stream that is a pure function of the seed, and for evaluation."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spinet.data.coco import CocoDataset
from spinet.data.transforms import EvalTransform, TrainTransform
from spinet.errors import SpinetError


class Batch(NamedTuple):
    """N images and their objects.

    Attributes:
        images: float32 `(N, 3, S, S)`.
        targets: "boxes" float32 `(N, M, 4)`, XYXY in pixels of `images`, zero where padded, and "labels"
            int64 `(N, M)`, -1 where padded. M is the next power of two at or above the largest number of
            objects, so that a compiled model meets few different shapes.
        image_ids: int64 `(N,)`.
        scales: float32 `(N, 2)`, (x, y): box in `images` divided by box in the file; 1 in training, where
            the crop leaves no way back.
        sizes: int64 `(N, 2)`, (height, width) of the image in the file.
    """

    images: Tensor
    targets: dict[str, Tensor]
    image_ids: Tensor
    scales: Tensor
    sizes: Tensor


class _Item(NamedTuple):
    image: Tensor
    boxes: Tensor
    labels: Tensor
    image_id: int
    scale: Tensor
    size: tuple[int, int]


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
) -> Iterator[Batch]:
    """Return an endless stream of shuffled, augmented batches.

    Batch b of a rank holds positions `(b * world_size + rank) * batch_size` onwards of one shuffled epoch
    after the other. Order and augmentation depend on the seed and the position only: the number of workers or
    a restart at `first_batch` change nothing.

    Args:
        dataset: the images.
        transform: the augmentation.
        batch_size: images a batch and rank.
        seed: of order and augmentation.
        first_batch: number of the first batch to return, to go on where a run was cut off.
        rank: number of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.
        max_objects: an image's objects after these are dropped, as in the paper's code.

    Raises:
        SpinetError: at once for a number below 1; from the stream for an image that cannot be read.
    """
    _check(batch_size=batch_size, world_size=world_size, max_objects=max_objects)
    source = _TrainBatches(dataset, transform, seed, max_objects)
    positions = _positions(len(dataset), batch_size, seed, first_batch, rank, world_size)
    return iter(_Stream(source, positions, workers))


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
        dataset: the images.
        transform: the resizing.
        batch_size: images a batch and rank.
        rank: number of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.

    Raises:
        SpinetError: at once for a number below 1; while iterating for an image that cannot be read.
    """
    _check(batch_size=batch_size, world_size=world_size)
    share = range(rank, len(dataset), world_size)
    indices = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
    return _Stream(_EvalBatches(dataset, transform), indices, workers)


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise SpinetError(f"{name} is {number}; allowed is 1 or more")


def _seed_of(*parts: int) -> int:
    """Mix numbers into a seed, so that neighbours such as (0, 1) and (1, 0) have nothing in common."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def _positions(
    length: int, batch_size: int, seed: int, first_batch: int, rank: int, world_size: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield (epoch, index) pairs, a batch at a time, without end."""
    epoch, order = -1, torch.empty(0, dtype=torch.int64)
    for batch in itertools.count(first_batch):
        pairs = []
        start = (batch * world_size + rank) * batch_size
        for position in range(start, start + batch_size):
            if position // length != epoch:
                epoch = position // length
                generator = torch.Generator().manual_seed(_seed_of(seed, epoch))
                order = torch.randperm(length, generator=generator)
            pairs.append((epoch, int(order[position % length])))
        yield pairs


class _TrainBatches(Dataset[Batch | SpinetError]):
    """Loads one whole batch an item; errors are values, because they may come from a worker process."""

    def __init__(self, dataset: CocoDataset, transform: TrainTransform, seed: int, max_objects: int) -> None:
        self.dataset, self.transform, self.seed, self.max_objects = dataset, transform, seed, max_objects

    def __getitem__(self, pairs: Sequence[tuple[int, int]]) -> Batch | SpinetError:
        try:
            return _collate([self._item(epoch, index) for epoch, index in pairs], self.max_objects)
        except SpinetError as error:
            return error

    def _item(self, epoch: int, index: int) -> _Item:
        sample = self.dataset.samples[index]
        image = self.dataset.image(index)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would reseed the GPU's generator under a model in training.
            torch.default_generator.manual_seed(_seed_of(self.seed, epoch, index))
            image, boxes, labels = self.transform(image, sample.boxes, sample.labels)
        return _Item(image, boxes, labels, sample.image_id, torch.ones(2), (sample.height, sample.width))


class _EvalBatches(Dataset[Batch | SpinetError]):
    """As _TrainBatches, without chance and with all objects."""

    def __init__(self, dataset: CocoDataset, transform: EvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __getitem__(self, indices: Sequence[int]) -> Batch | SpinetError:
        try:
            return _collate([self._item(index) for index in indices], max_objects=None)
        except SpinetError as error:
            return error

    def _item(self, index: int) -> _Item:
        sample = self.dataset.samples[index]
        image, scale = self.transform(self.dataset.image(index))
        boxes = sample.boxes * scale.repeat(2)
        return _Item(image, boxes, sample.labels, sample.image_id, scale, (sample.height, sample.width))


def _collate(items: list[_Item], max_objects: int | None) -> Batch:
    largest = max(len(item.labels) for item in items)
    padded = 1 << max(largest - 1, 0).bit_length()
    room = padded if max_objects is None else min(padded, max_objects)
    boxes = torch.zeros(len(items), room, 4)
    labels = torch.full((len(items), room), -1)
    for row, item in enumerate(items):
        count = min(len(item.labels), room)
        boxes[row, :count], labels[row, :count] = item.boxes[:count], item.labels[:count]
    return Batch(
        images=torch.stack([item.image for item in items]),
        targets={"boxes": boxes, "labels": labels},
        image_ids=torch.tensor([item.image_id for item in items]),
        scales=torch.stack([item.scale for item in items]),
        sizes=torch.tensor([item.size for item in items]),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


class _Stream:
    """A DataLoader whose errors arrive as plain SpinetErrors, without a worker's traceback in them."""

    def __init__(self, source: Dataset[Batch | SpinetError], keys: Iterable[Sequence[object]], workers: int) -> None:
        self._loader = DataLoader(
            source,
            # A batch is one item here: batch_size=None turns the DataLoader's own batching off.
            batch_size=None,
            sampler=keys,
            collate_fn=_as_it_is,
            num_workers=workers,
            # Workers that outlived their iteration would, after an error, keep the process waiting at its end.
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
            # Of its own, because the DataLoader draws a seed from torch's global generator otherwise.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, SpinetError):
                raise batch
            yield batch
