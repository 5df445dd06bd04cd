"""Workers as Ray actors, on this machine or a cluster: the only file that imports Ray."""

import os
import socket
import time
from typing import Any

from spinet.errors import SpinetError, WorkerLost
from spinet.extras import import_extra
from spinet.text import count_of
from spinet.workers.executors import check_executor, too_long
from spinet.workers.processes import limit_torch
from spinet.workers.slots import Call, JobResult, SlotExecutor, run_job

# Time for a cluster to answer, and to place an actor.
_CONNECT_SECONDS, _START_SECONDS = 20.0, 600.0


class RayExecutor(SlotExecutor):
    """Runs jobs in Ray actors, with the contract of `ProcessExecutor`.

    Ray never retries a job by itself: a dead actor is an outcome, and the search decides what to do.

    Args:
        workers: how many actors.
        timeout: seconds that a job may take, once its actor is placed; None sets no limit.
        cpus: CPU cores, and threads, of each.
        gpus: GPUs of each; a fraction shares one, memory included.
        address: of the cluster, as `ray.init` takes it; None starts one on this machine, or uses the one that this
            process is connected to.

    Raises:
        SpinetError: Ray is not installed, or there is no cluster at the address.
    """

    name = "ray"

    def __init__(
        self, workers: int, timeout: float | None = None, *, cpus: int = 1, gpus: float = 0, address: str | None = None
    ) -> None:
        check_executor(self.name, workers, timeout)
        ray = import_extra("ray", "ray", "the executor 'ray'")
        self.device = f"{gpus:g} GPUs and {cpus} cpus each" if gpus else f"cpu, {count_of(cpus, 'thread')} each"
        self._ours = not ray.is_initialized()
        if self._ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                _check_address(address)
                ray.init(address=address, include_dashboard=None if address else False, log_to_driver=True)
            except Exception as error:  # ConnectionError, ValueError, RuntimeError and Exception itself
                what = f"there is no Ray cluster at {address!r}" if address else "Ray did not start on this machine"
                raise SpinetError(f"{what}: {' '.join(str(error).split())}") from error
        super().__init__([RaySlot(ray, timeout, cpus, gpus) for _ in range(workers)])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """End the actors, and Ray itself if it was started here."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if self._ours:
            self._ours = False
            import_extra("ray", "ray", "the executor 'ray'").shutdown()


class RaySlot:
    """A slot for one actor; see `Slot`."""

    def __init__(self, ray: Any, timeout: float | None, cpus: int, gpus: float) -> None:
        self._ray, self._timeout = ray, timeout
        self._start = ray.remote(_Actor).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        self._limits = (cpus, gpus % 1)  # threads, and the fraction of a GPU's memory
        self._actor: Any = None
        self._closed = False

    def run(self, call: Call) -> Any:
        """Run a job; see `Slot`."""
        ray = self._ray
        if self._closed:
            raise WorkerLost("the search has ended")
        data = ray.cloudpickle.dumps(call)
        try:
            actor = self._actor or self._start_actor()
            answer: JobResult = ray.get(actor.serve.remote(data), timeout=self._timeout)
        except ray.exceptions.GetTimeoutError:
            self._discard()
            raise too_long(self._timeout or 0) from None
        except ray.exceptions.RayError as error:
            self._discard()
            reason = next(iter(str(error).splitlines()), "")
            raise WorkerLost(f"the Ray actor was lost: {type(error).__name__}: {reason}") from None
        if answer.broken:
            self._discard()
        return answer.unpack()

    def _start_actor(self) -> Any:
        """Start the actor and wait until the cluster has placed it, the search ends or the time is up."""
        ray = self._ray
        actor = self._actor = self._start.remote(*self._limits)
        ready, until = actor.ready.remote(), time.monotonic() + _START_SECONDS
        while not self._closed and time.monotonic() < until:
            if ray.wait([ready], timeout=1.0)[0]:
                ray.get(ready)
                return actor
        self._discard()
        raise WorkerLost(f"the cluster did not place the actor within {_START_SECONDS:g} s, or the search has ended")

    def close(self) -> None:
        """Kill the actor; see `Slot`."""
        self._closed = True
        self._discard()

    def _discard(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None and self._ray.is_initialized():
            self._ray.kill(actor)


class _Actor:
    """The Ray actor of a worker."""

    def __init__(self, threads: int, gpu_fraction: float) -> None:
        limit_torch(threads, gpu_fraction)

    def ready(self) -> None:
        """Return as soon as the actor is running."""

    def serve(self, data: bytes) -> JobResult:
        """Run a pickled job."""
        return run_job(data)


def _check_address(address: str | None) -> None:
    """Raise OSError if nothing answers at `HOST:PORT`: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
