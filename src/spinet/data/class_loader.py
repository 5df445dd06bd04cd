"""Batches of images and their classes: an endless stream for training, and all images once for evaluation."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassEvalTransform, ClassTrainTransform
from spinet.data.rendering import View, develop, gather
from spinet.data.stream import Batch, Stream, check_numbers, ordered_positions, seeded, shuffled_positions


class _Item(NamedTuple):
    size: tuple[int, int]
    image: Tensor
    view: View | None = None


def class_train_loader(
    dataset: ClassDataset,
    transform: ClassTrainTransform,
    *,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    rendered: bool = True,
) -> Iterator[Batch]:
    """Return an endless stream of shuffled, augmented batches, with "labels" int64 `(N,)` as targets.

    Order and augmentation depend on the seed and the position only, as in `spinet.data.loader.train_loader`: the
    number of workers or a restart at `first_batch` change nothing.

    Args:
        dataset: the images.
        transform: the augmentation.
        batch_size: images a batch and rank.
        seed: of order and augmentation.
        first_batch: number of the first batch to return, to go on where a run was cut off.
        rank: number of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.
        rendered: whether images come finished; otherwise as `RawImages`, which the training device renders.

    Raises:
        SpinetError: at once for a number below 1; from the stream for an image that cannot be read.
    """
    check_numbers(batch_size=batch_size, world_size=world_size)
    positions = shuffled_positions(
        len(dataset),
        batch_size=batch_size,
        seed=seed,
        first_batch=first_batch,
        rank=rank,
        world_size=world_size,
    )
    return iter(Stream(_TrainBatch(dataset, transform, seed, rendered), positions, workers))


def class_eval_loader(
    dataset: ClassDataset,
    transform: ClassEvalTransform,
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
        transform: the cropping and resizing.
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

    def __init__(self, dataset: ClassDataset, transform: ClassTrainTransform, seed: int, rendered: bool) -> None:
        self.dataset, self.transform, self.seed, self.rendered = dataset, transform, seed, rendered

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        items = [self._item(epoch, index) for epoch, index in pairs]
        return _batch(self.dataset, [index for _, index in pairs], items)

    def _item(self, epoch: int, index: int) -> _Item:
        photo = self.dataset.image(index)
        height, width = photo.shape[-2:]
        with seeded(self.seed, epoch, index):
            view = self.transform.view(height, width)
        return _Item((height, width), *develop(photo, view, self.rendered))


class _EvalBatch:
    """Loads the batch at some indices, without chance."""

    def __init__(self, dataset: ClassDataset, transform: ClassEvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __call__(self, indices: Sequence[int]) -> Batch:
        return _batch(self.dataset, indices, [self._item(index) for index in indices])

    def _item(self, index: int) -> _Item:
        photo = self.dataset.image(index)
        return _Item((photo.shape[-2], photo.shape[-1]), self.transform(photo))


def _batch(dataset: ClassDataset, indices: Sequence[int], items: list[_Item]) -> Batch:
    samples = [dataset.samples[index] for index in indices]
    return Batch(
        images=gather([item.image for item in items], [item.view for item in items]),
        targets={"labels": torch.tensor([sample.label for sample in samples])},
        image_ids=torch.tensor([sample.image_id for sample in samples]),
        scales=torch.ones(len(samples), 2),
        sizes=torch.tensor([item.size for item in items]),
    )
