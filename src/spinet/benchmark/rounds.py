"""Times of several things that take turns, so that whatever else the machine does hits all of them alike."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from spinet.timing import finish


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it, of `runs` values."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Summarise one value or more."""
        low, median, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
        return cls(median, low, high, len(values))


class Work(NamedTuple):
    """What a run computes: multiply-adds, and the bytes that their operators read and write at least."""

    macs: int
    bytes: int


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors of all operators that multiply: each read or written once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """See `TorchDispatchMode`."""
        del types
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            given = result if isinstance(result, tuple | list) else (result,)
            tensors = [value for value in (*args, *given) if isinstance(value, torch.Tensor)]
            self.bytes += sum(value.numel() * value.element_size() for value in tensors)
        return result


def count_work(call: Callable[[], object]) -> Work:
    """Count what a call computes, in PyTorch's operators; `call` must not be compiled."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        call()
    return Work(flops.get_total_flops() // 2, traffic.bytes)


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the bytes that a call needs at most beyond what is in memory before it; None where nobody knows.

    On CPUs it is Linux that knows, to the page; small networks may fit into pages that were there before.
    """
    if device.type == "cuda":
        finish(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        finish(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # Linux, Documentation/filesystems/proc.rst: 5 resets the peak of the resident size.
        _give_back()
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        call()
        return max(_resident("VmHWM") - before, 0)
    except (OSError, StopIteration):
        call()
        return None


def _give_back() -> None:
    """Have the C library return what it keeps of freed memory, where it can: it would hide what a call needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
