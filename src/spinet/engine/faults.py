"""Errors of PyTorch and the system that a user can fix, as sentences."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spinet.errors import OutOfMemory, SpinetError, WorkerLost, is_out_of_memory

_LOST = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (is killed by signal: [^.]*|exited unexpectedly)")


# What needs less memory, in trainings and in evaluations.
_TRAINING = (
    "a smaller batch_size or data.image_size, fewer data.workers, no data.cache_images, or a larger accumulate; "
    "earlier checkpoints are intact"
)
_EVALUATION = "a smaller batch_size or image_size, or fewer workers"


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
        known = _sentence(error, batch, device, _TRAINING if training else _EVALUATION)
        if known is None:
            raise
        try:
            raise known from None
        finally:
            del known  # it would keep its traceback, and so loader processes, alive


def _sentence(error: Exception, batch: str, device: torch.device, lower: str) -> SpinetError | None:
    lost = _LOST.search(str(error))
    if lost:
        how = lost[1].replace("is ", "was ")
        return WorkerLost(f"a process that loads images {how}, as happens when memory is short; use {lower}")
    if isinstance(error, torch.OutOfMemoryError):
        return OutOfMemory(f"{batch} do not fit into the memory of {device}; use {lower}")
    if is_out_of_memory(error):
        return OutOfMemory(f"{batch} do not fit into main memory; use {lower}")
    if "more than 1 value per channel" in str(error):
        return SpinetError(
            f"batch norm needs more than one value per channel, but a batch has {batch}; use a larger batch_size or "
            "data.image_size"
        )
    return None
