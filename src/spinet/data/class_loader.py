"""Batches of images and their classes: an endless stream for training, and all images once for evaluation."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassEvalTransform, ClassTrainTransform
from spinet.data.stream import Batch, Stream, check_numbers, ordered_positions, seeded, shuffled_positions


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
    return iter(Stream(_TrainBatch(dataset, transform, seed), positions, workers))


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

    def __init__(self, dataset: ClassDataset, transform: ClassTrainTransform, seed: int) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        images, sizes = [], []
        for epoch, index in pairs:
            image = self.dataset.image(index)
            sizes.append(image.shape[-2:])
            with seeded(self.seed, epoch, index):
                images.append(self.transform(image))
        return _batch(self.dataset, [index for _, index in pairs], images, sizes)


class _EvalBatch:
    """Loads the batch at some indices, without chance."""

    def __init__(self, dataset: ClassDataset, transform: ClassEvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __call__(self, indices: Sequence[int]) -> Batch:
        images, sizes = [], []
        for index in indices:
            image = self.dataset.image(index)
            sizes.append(image.shape[-2:])
            images.append(self.transform(image))
        return _batch(self.dataset, indices, images, sizes)


def _batch(dataset: ClassDataset, indices: Sequence[int], images: list[Tensor], sizes: list[torch.Size]) -> Batch:
    samples = [dataset.samples[index] for index in indices]
    return Batch(
        images=torch.stack(images),
        targets={"labels": torch.tensor([sample.label for sample in samples])},
        image_ids=torch.tensor([sample.image_id for sample in samples]),
        scales=torch.ones(len(samples), 2),
        sizes=torch.tensor(sizes),
    )
