"""Errors of PyTorch and the system that a user can fix, as sentences."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from spinet.errors import OutOfMemory, SpinetError, WorkerLost, first_line, is_out_of_device_memory, is_out_of_memory

_LOST = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (is killed by signal: [^.]*|exited unexpectedly)")


class _Less(NamedTuple):
    """What needs less memory, of the device and of the machine."""

    device: str
    main: str


_TRAINING = _Less(
    "a smaller batch_size or data.image_size, or a larger accumulate",
    "a smaller batch_size or data.image_size, fewer data.workers, no data.cache_images, or a larger accumulate",
)
_EVALUATION = _Less("a smaller batch_size or image_size", "a smaller batch_size or image_size, or fewer workers")


@contextmanager
def explained(
    images: int, size: int | tuple[int, int], device: torch.device, *, training: bool = True
) -> Iterator[None]:
    """Turn errors in the block into sentences, where their cause is known.

    Args:
        images: per batch in this process.
        size: of the images: side of a square or (height, width), in pixels.
        device: that computes.
        training: whether the block trains; else it evaluates.

    Raises:
        OutOfMemory: memory is short, of the device or the machine.
        WorkerLost: a process that loads images was killed.
        SpinetError: a batch is too small for batch norm.
    """
    try:
        yield
    except SpinetError:
        raise
    except (RuntimeError, ValueError, MemoryError, OSError) as error:
        side = "x".join(map(str, reversed(size))) if isinstance(size, tuple) else str(size)
        batch = f"{images} {'image' if images == 1 else 'images'} of {side} px"
        known = _sentence(error, batch, device, training)
        if known is None:
            raise
        try:
            raise known from None
        finally:
            del known  # it would keep its traceback, and so loader processes, alive


def _sentence(error: Exception, batch: str, device: torch.device, training: bool) -> SpinetError | None:
    too_large = f"{batch} {'does' if batch.startswith('1 ') else 'do'} not fit into"
    less, intact = (_TRAINING, "; earlier checkpoints are intact") if training else (_EVALUATION, "")
    lost = _LOST.search(str(error))
    if lost:
        how = lost[1].replace("is ", "was ")
        return WorkerLost(
            f"a process that loads images {how}, as happens when memory is short; use {less.main}{intact}"
        )
    if is_out_of_device_memory(error):
        # What other programs hold is known to PyTorch's own allocator only, and some of the texts have other causes.
        own = isinstance(error, torch.OutOfMemoryError)
        said = "" if own else f", which other programs may use too ({first_line(error)})"
        return OutOfMemory(f"{too_large} the memory of {device}{said}; use {less.device}{intact}")
    if is_out_of_memory(error):
        return OutOfMemory(f"{too_large} main memory; use {less.main}{intact}")
    if "more than 1 value per channel" in str(error):
        return SpinetError(
            f"batch norm needs more than one value per channel, but a batch has {batch}; use a larger batch_size or "
            "data.image_size"
        )
    return None
