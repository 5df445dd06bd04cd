"""Batches for detection and classification: an endless stream for training, and all images once for evaluation.

Order and augmentation are a pure function of the seed and the position in the stream, so the number of workers and
resuming at any batch change nothing. An image that cannot be read gives its place to the next one in the dataset that
can, so that this stays true and batches keep their size; evaluation leaves it out.
"""

import atexit
import hashlib
import itertools
import signal
import weakref
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from spinet.data.batch import Batch, Item, collate
from spinet.data.unread import Fault, Unread
from spinet.errors import OutOfMemory, SpinetError, WorkerLost, check_positive, is_out_of_memory
from spinet.formats.findings import is_systematic
from spinet.formats.images import ImageError
from spinet.threads import affordable

# (epoch, index) of an image.
Position = tuple[int, int]
DatasetT = TypeVar("DatasetT", bound=Sized)
DatasetT_contra = TypeVar("DatasetT_contra", bound=Sized, contravariant=True)


class ItemTransform(Protocol[DatasetT_contra]):
    """How to make an item of one image of a dataset, such as `TrainTransform` or `ClassEvalTransform`."""

    @property
    def max_objects(self) -> int | None:
        """Most objects per image; None for no limit."""
        ...

    def item(self, dataset: DatasetT_contra, index: int) -> Item:
        """Return one image with its targets; randomness comes from torch's global generator only."""
        ...


def train_loader(
    dataset: DatasetT,
    transform: ItemTransform[DatasetT],
    *,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    augment_on_device: bool = False,
    unread: Unread | None = None,
) -> Iterator[Batch]:
    """Return an endless stream of shuffled, augmented batches.

    Batch b of a rank holds positions `(b * world_size + rank) * batch_size` onwards of one shuffled epoch after the
    other.

    Args:
        dataset: the images; where it has masks, the targets have them too.
        transform: the augmentation.
        batch_size: images per batch and rank.
        seed: of order and augmentation.
        first_batch: index of the first batch to return, to resume a run.
        rank: index of this process.
        world_size: number of processes.
        workers: processes that load images; 0 loads in this one.
        augment_on_device: give images as `RawImages`, which are resized and augmented by `.to(device)`.
        unread: counts the images that cannot be read, as they are met.

    Raises:
        SpinetError: at once for a number below 1; from the stream when more than a few images cannot be read.
    """
    check_positive(batch_size=batch_size, world_size=world_size)
    batches = _shuffled(len(dataset), batch_size, seed, first_batch, rank, world_size)
    reader = _BatchReader(dataset, transform, seed, augment_on_device, replace=True)
    return iter(_Loader(reader, batches, workers, unread or Unread("train", len(dataset))))


def eval_loader(
    dataset: DatasetT,
    transform: ItemTransform[DatasetT],
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    unread: Unread | None = None,
) -> Iterable[Batch]:
    """Return this rank's batches in order; over all ranks every image comes exactly once.

    The result can be iterated repeatedly. The last batch may be short, and ranks may differ by one image. Images that
    cannot be read are missing, and so is a batch without any other. The arguments are those of `train_loader`.

    Raises:
        SpinetError: at once for a number below 1; while iterating when more than a few images cannot be read.
    """
    check_positive(batch_size=batch_size, world_size=world_size)
    mine = [(0, index) for index in range(rank, len(dataset), world_size)]
    batches = [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]
    reader = _BatchReader(dataset, transform, 0, augment_on_device=False, replace=False)
    return _Loader(reader, batches, workers, unread or Unread("val", len(dataset)))


def _shuffled(
    length: int, batch_size: int, seed: int, first_batch: int, rank: int, world_size: int
) -> Iterator[list[Position]]:
    epoch, order = -1, torch.empty(0, dtype=torch.int64)
    for batch in itertools.count(first_batch):
        positions = []
        start = (batch * world_size + rank) * batch_size
        for position in range(start, start + batch_size):
            if position // length != epoch:
                epoch = position // length
                order = torch.randperm(length, generator=torch.Generator().manual_seed(_seed_of(seed, epoch)))
            positions.append((epoch, int(order[position % length])))
        yield positions


@contextmanager
def _seeded(*parts: int) -> Iterator[None]:
    """Make torch's global CPU generator a function of `parts` inside the block."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed the GPU generator of the model that is training.
        torch.default_generator.manual_seed(_seed_of(*parts))
        yield


def _seed_of(*parts: int) -> int:
    """Hash numbers into a seed, so that neighbours such as (0, 1) and (1, 0) are unrelated."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


class _Read(NamedTuple):
    """A batch, or None where no image of it could be read, and the images that could not."""

    batch: Batch | None
    faults: Sequence[Fault]


class _BatchReader(Dataset[_Read | SpinetError]):
    """Reads a whole batch at a time; errors are returned, because they may have to cross a process boundary."""

    def __init__(
        self, dataset: Any, transform: ItemTransform[Any], seed: int, augment_on_device: bool, replace: bool
    ) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed
        self.augment_on_device = augment_on_device
        total = len(dataset)
        # So many in a row that cannot be read are refused anyway.
        self.tries = next(count for count in itertools.count(1) if is_systematic(count, total)) if replace else 1

    def __getitem__(self, positions: Sequence[Position]) -> _Read | SpinetError:
        faults: list[Fault] = []
        try:
            items = [item for position in positions if (item := self._item(*position, faults)) is not None]
            return _Read(collate(items, self.transform.max_objects) if items else None, faults)
        except SpinetError as error:
            return error
        except (MemoryError, RuntimeError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            return OutOfMemory(
                f"the process that loads {len(positions)} images has too little main memory; use a smaller batch_size "
                "or image_size, fewer workers or no cache_images; earlier checkpoints are intact"
            )

    def _item(self, epoch: int, index: int, faults: list[Fault]) -> Item | None:
        for offset in range(self.tries):
            chosen = (index + offset) % len(self.dataset)
            try:
                with _seeded(self.seed, epoch, index):
                    return self._placed(self.transform.item(self.dataset, chosen))
            except ImageError as error:
                faults.append(Fault.of(self.dataset.samples[chosen], error))
        return None

    def _placed(self, item: Item) -> Item:
        if item.transform is None:
            return item
        if self.augment_on_device:
            image, transform = item.transform.reduce(item.image)
            return item._replace(image=image, transform=transform)
        return item._replace(image=item.transform.apply(item.image), transform=None)


class _Loader:
    """A DataLoader of whole batches whose errors arrive as plain SpinetErrors, without a worker's traceback."""

    def __init__(
        self, reader: _BatchReader, batches: Iterable[Sequence[Position]], workers: int, unread: Unread
    ) -> None:
        self._unread = unread
        self._loader = DataLoader(
            reader,
            # A batch is one item here: batch_size=None turns the DataLoader's own batching off.
            batch_size=None,
            sampler=batches,
            collate_fn=_identity,
            num_workers=affordable(workers),
            # Persistent workers would keep the process from exiting after an error.
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_outlive_signals,
            # Without a generator of its own the DataLoader draws a seed from torch's global one.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        if self._loader.num_workers:
            _loading.add(batches)
        while (read := self._next(batches)) is not None:
            if isinstance(read, SpinetError):
                raise read
            self._unread.add(read.faults)
            if read.batch is not None:
                yield read.batch

    def _next(self, batches: Iterator[Any]) -> Any:
        try:
            return next(batches, None)
        except (ConnectionError, EOFError, FileNotFoundError):
            if not self._loader.num_workers:
                raise
            # It was killed while it handed over a batch; where it was not, PyTorch says which signal it got.
            raise WorkerLost(
                "a process that loads images was killed, as happens when memory is short; use a smaller batch_size or "
                "image_size, fewer workers or no cache_images; earlier checkpoints are intact"
            ) from None


def _end_processes() -> None:
    """End loader processes that something still refers to; `multiprocessing` would send SIGTERM and wait for long."""
    for batches in list(_loading):
        batches._shutdown_workers()


_loading: "weakref.WeakSet[Any]" = weakref.WeakSet()
# After `multiprocessing` has registered its own function, and so before that runs.
atexit.register(_end_processes)


def _outlive_signals(_: int) -> None:
    """Leave signals to the process that trains, in its loader processes: they reach the whole process group.

    It finishes its step, which needs images, and then ends them; SIGALRM ends what it cannot.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(30))


def _identity(batch: Any) -> Any:
    return batch
