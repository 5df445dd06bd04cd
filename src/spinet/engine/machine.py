"""The machine: names, versions, threads, and all that a measurement depends on."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from spinet.errors import SpinetError
from spinet.threads import available_cores

MAX_THREADS = 1000
# Packages whose version changes how long something takes.
PACKAGES = ("spinet", "torch", "torchvision", "onnxruntime", "openvino", "nncf")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(asked: int = 0) -> int:
    """Return the number of CPU threads to use: what was asked for, else PyTorch's choice within affinity and quotas.

    PyTorch's choice follows OMP_NUM_THREADS and `torch.set_num_threads`.

    Raises:
        SpinetError: the number is out of range.
    """
    if not 0 <= asked <= MAX_THREADS:
        raise SpinetError(f"threads is {asked}; must be 1 to {MAX_THREADS}, or 0 for as many as this process may use")
    return asked or min(torch.get_num_threads(), available_cores(environment={}).number)


def use_threads(asked: int = 0) -> None:
    """Set the number of CPU threads of this whole process; see `choose_threads`."""
    number = choose_threads(asked)
    if number != torch.get_num_threads():
        torch.set_num_threads(number)


def processor() -> str:
    """Return the name of the CPU."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the CPU with torch's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that affect speed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what a measurement depends on besides the network; load averages are over 1, 5 and 15 minutes."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {
        "device": device_name(device),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": _commit(),
        "load_average": load,
    }


def _commit() -> str | None:
    """Return the commit of the checkout that contains this file, with a + if it was modified; None elsewhere."""
    file = Path(__file__)
    # An installed package may be inside the checkout of something else.
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        return _git(file.parent, "describe", "--always", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
