"""What a run computes and how much memory it takes."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from spinet.timing import finish


class Work(NamedTuple):
    """Multiply-adds of a run, and the bytes that the multiplying operators read and write at least."""

    macs: int
    bytes: int


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors of all operators that multiply, each read or written once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """See `TorchDispatchMode`."""
        del types
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            outputs = result if isinstance(result, tuple | list) else (result,)
            tensors = [value for value in (*args, *outputs) if isinstance(value, torch.Tensor)]
            self.bytes += sum(value.numel() * value.element_size() for value in tensors)
        return result


def count_work(call: Callable[[], object]) -> Work:
    """Count the operators of a call, which must not be compiled."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        call()
    return Work(flops.get_total_flops() // 2, traffic.bytes)


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the bytes that a call takes on top of what was allocated before; None where the system does not say.

    CPUs: Linux only, in whole pages; a small network may fit into pages that the process already holds.
    """
    if device.type == "cuda":
        finish(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        finish(device)
        return torch.cuda.max_memory_allocated(device) - before
    if not _reset_peak():
        call()
        return None
    before = _resident("VmRSS")
    call()
    return max(_resident("VmHWM") - before, 0)


def _reset_peak() -> bool:
    if sys.platform != "linux":
        return False
    # glibc keeps freed memory, which would hide what the call needs; musl has no malloc_trim.
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        # Linux, Documentation/filesystems/proc.rst: 5 resets the peak of the resident size. Some containers forbid it.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
