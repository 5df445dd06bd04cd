"""What all loaders share: batches as a pure function of the seed, read by worker processes whose errors survive."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spinet.data.rendering import RawImages
from spinet.errors import SpinetError


class Batch(NamedTuple):
    """N images and what is to be learnt from them.

    Attributes:
        images: float32 `(N, 3, S, S)`; for training also what becomes that by `.to(device)`, on the device.
        targets: for detectors "boxes" float32 `(N, M, 4)`, XYXY in pixels of `images`, zero where padded, "labels"
            int64 `(N, M)`, -1 where padded, and where masks are loaded "masks" uint8 `(N, M, B, B)`, each the object
            inside its box. M is the next power of two at or above the largest number of objects, so that a compiled
            model meets few different shapes. For classifiers "labels" int64 `(N,)`.
        image_ids: int64 `(N,)`.
        scales: float32 `(N, 2)`, (x, y): box in `images` divided by box in the file; 1 in training, where
            the crop leaves no way back.
        sizes: int64 `(N, 2)`, (height, width) of the image in the file.
    """

    images: Tensor | RawImages
    targets: dict[str, Tensor]
    image_ids: Tensor
    scales: Tensor
    sizes: Tensor


def check_numbers(**numbers: int) -> None:
    """Raise a SpinetError for a number below 1, by its name."""
    for name, number in numbers.items():
        if number < 1:
            raise SpinetError(f"{name} is {number}; allowed is 1 or more")


def shuffled_positions(
    length: int, *, batch_size: int, seed: int, first_batch: int, rank: int, world_size: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield (epoch, index) pairs, a batch at a time, without end.

    Batch b of a rank holds positions `(b * world_size + rank) * batch_size` onwards of one shuffled epoch after the
    other.
    """
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


def ordered_positions(length: int, *, batch_size: int, rank: int, world_size: int) -> list[range]:
    """Return the indices of each batch of a rank, in order; over all ranks every index comes exactly once."""
    share = range(rank, length, world_size)
    return [share[start : start + batch_size] for start in range(0, len(share), batch_size)]


@contextmanager
def seeded(seed: int, epoch: int, index: int) -> Iterator[None]:
    """Make torch's global generator a function of an image's place in the training, for as long as this lasts."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed the GPU's generator under a model in training.
        torch.default_generator.manual_seed(_seed_of(seed, epoch, index))
        yield


def _seed_of(*parts: int) -> int:
    """Mix numbers into a seed, so that neighbours such as (0, 1) and (1, 0) have nothing in common."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


class _Batches(Dataset[Batch | SpinetError]):
    """Loads one whole batch an item; errors are values, because they may come from a worker process."""

    def __init__(self, load: Callable[[Any], Batch]) -> None:
        self.load = load

    def __getitem__(self, key: Any) -> Batch | SpinetError:
        try:
            return self.load(key)
        except SpinetError as error:
            return error


class Stream:
    """A DataLoader of whole batches, whose errors arrive as plain SpinetErrors, without a worker's traceback in them.

    Args:
        load: makes the batch of a key; has to be picklable where processes are not forked.
        keys: one a batch.
        workers: processes that load; 0 loads in this one.
    """

    def __init__(self, load: Callable[[Any], Batch], keys: Iterable[Sequence[object]], workers: int) -> None:
        self._loader = DataLoader(
            _Batches(load),
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


def _as_it_is(batch: Any) -> Any:
    return batch
