"""The executor for a machine: by name, or what suits the number of workers and the GPUs."""

from collections.abc import Sequence

from spinet.errors import SpinetError, unknown_name
from spinet.text import count_of
from spinet.workers.executors import InProcess, TrialExecutor, check_executor
from spinet.workers.processes import ProcessExecutor, visible_gpus

EXECUTORS = ("auto", "in-process", "processes", "ray")


def create_executor(
    name: str, workers: int, timeout: float | None, gpus: Sequence[str], threads: int, address: str | None = None
) -> tuple[TrialExecutor, str]:
    """Start an executor; return it with torch's name, inside its workers, of the device to train on.

    Args:
        name: one of `EXECUTORS`; `auto` takes Ray for an address, else processes for several workers or GPUs.
        workers: how many trials run at a time.
        timeout: seconds that a trial may take; None sets no limit.
        gpus: for the workers to share, as CUDA_VISIBLE_DEVICES names them; `("none",)` for the CPU, empty for all.
        threads: of the CPU, per trial.
        address: of the Ray cluster, whose GPUs cannot be checked here; None starts one on this machine.

    Raises:
        SpinetError: a number is out of range, the name or a GPU is unknown, or Ray is not available.
    """
    gpus = _pick_gpus(gpus, workers, address)
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    if name == "auto":
        name = "ray" if address else "processes" if workers > 1 or gpus else "in-process"
    check_executor(name, workers, timeout)
    if threads < 1:
        raise SpinetError(f"{name}: threads must be at least 1, got {threads}")
    device = "cuda" if gpus else "cpu"
    if name == "processes":
        return ProcessExecutor(workers, timeout, gpus, threads), device
    if name == "ray":
        from spinet.workers.ray_executor import RayExecutor

        # A trial trains on one GPU, or on a fraction of one.
        share = min(1.0, len(gpus) / workers)
        return RayExecutor(workers, timeout, cpus=threads, gpus=share, address=address), device
    if workers > 1:
        raise SpinetError(f"in-process has one worker, not {workers}; use the executor processes")
    if not gpus:
        return InProcess(timeout, f"cpu, {count_of(threads, 'thread')} each"), device
    # Only this executor sees all GPUs.
    return InProcess(timeout, f"GPU {gpus[0]}"), f"cuda:{visible_gpus().index(gpus[0])}"


def _pick_gpus(names: Sequence[str], workers: int, address: str | None) -> list[str]:
    """Those named, or all visible ones; at most one per worker."""
    import torch

    if tuple(names) == ("none",):
        return []
    visible = visible_gpus() if torch.cuda.is_available() else []
    for gpu in names:
        if gpu not in visible and not address:
            raise SpinetError(f"there is no GPU {gpu!r}; visible: {', '.join(visible) or 'none'}")
    return list(names or visible)[: max(workers, 0)]
