"""The executor for a machine: by name, or what suits the number of workers and the GPUs."""

from collections.abc import Sequence

from spinet.errors import SpinetError, unknown_name
from spinet.workers.executors import InProcess, TrialExecutor, check_executor
from spinet.workers.processes import ProcessExecutor, visible_gpus

EXECUTORS = ("auto", "in-process", "processes", "ray")


def pick_gpus(names: Sequence[str], workers: int, address: str | None = None) -> list[str]:
    """Return the GPUs for so many workers: those named, or all visible ones; at most one per worker.

    `names` are those of CUDA_VISIBLE_DEVICES; `("none",)` stands for none, empty for all. The GPUs of a Ray cluster at
    `address` cannot be checked here.
    """
    import torch

    if tuple(names) == ("none",):
        return []
    visible = visible_gpus() if torch.cuda.is_available() else []
    for gpu in names:
        if gpu not in visible and not address:
            raise SpinetError(f"there is no GPU {gpu!r}; visible: {', '.join(visible) or 'none'}")
    return list(names or visible)[: max(workers, 0)]


def pick_executor(name: str, workers: int, gpus: Sequence[str], address: str | None = None) -> str:
    """Return the name of an executor; `auto` takes Ray if there is a cluster, else processes if one is not enough."""
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    if name != "auto":
        return name
    return "ray" if address else "processes" if workers > 1 or gpus else "in-process"


def torch_device(executor: str, gpus: Sequence[str]) -> str:
    """Return torch's name, inside a worker, of the device to train on; only `in-process` sees all GPUs."""
    if not gpus:
        return "cpu"
    return f"cuda:{visible_gpus().index(gpus[0])}" if executor == "in-process" else "cuda"


def create_executor(
    name: str, workers: int, timeout: float | None, gpus: Sequence[str], threads: int, address: str | None = None
) -> TrialExecutor:
    """Start an executor.

    Args:
        name: one of `EXECUTORS` except `auto`.
        workers: how many trials run at a time.
        timeout: seconds that a trial may take; None sets no limit.
        gpus: to share; empty: trials train on the CPU.
        threads: of the CPU, per trial.
        address: of the Ray cluster; None starts one on this machine.

    Raises:
        SpinetError: a number is out of range, or Ray is not available.
    """
    check_executor(name, workers, timeout)
    if threads < 1:
        raise SpinetError(f"{name}: threads must be at least 1, got {threads}")
    if name == "processes":
        return ProcessExecutor(workers, timeout, gpus, threads)
    if name == "ray":
        from spinet.workers.ray_executor import RayExecutor

        # A trial trains on one GPU, or on a fraction of one.
        return RayExecutor(workers, timeout, cpus=threads, gpus=min(1.0, len(gpus) / workers), address=address)
    if workers > 1:
        raise SpinetError(f"in-process has one worker, not {workers}; use the executor processes")
    return InProcess(timeout, f"GPU {gpus[0]}" if gpus else f"cpu, {threads} threads each")
