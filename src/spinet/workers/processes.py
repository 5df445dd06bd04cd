"""Spawned worker processes, each with a fraction of the threads or of a GPU; they end with their driver."""

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from spinet.errors import WorkerLost
from spinet.text import count_of
from spinet.threads import available_cores
from spinet.workers.executors import check_executor, too_long
from spinet.workers.slots import Call, JobResult, SlotExecutor, run_job

# Time for a worker to start, and to exit after its pipe was closed.
_START_SECONDS, _END_SECONDS = 120.0, 5.0


class ProcessExecutor(SlotExecutor):
    """Runs jobs in worker processes on this machine.

    A worker is kept between jobs, so that its data stay in memory. One that dies, times out or fails unexpectedly is
    replaced. All end with this process, however that ends.

    Args:
        workers: how many.
        timeout: seconds that a job may take; None sets no limit.
        gpus: GPUs to share, as CUDA_VISIBLE_DEVICES names them: workers take them in turn, with an equal fraction of
            the memory; empty: workers train on the CPU.
        threads: of the CPU, per worker; None divides the cores among them.
    """

    name = "processes"

    def __init__(
        self, workers: int, timeout: float | None = None, gpus: Sequence[str] = (), threads: int | None = None
    ) -> None:
        check_executor(self.name, workers, timeout)
        threads, gpus = threads or threads_each(workers), gpus[:workers]
        fraction = 1 / math.ceil(workers / len(gpus)) if gpus else 0.0
        self.device = f"GPUs {', '.join(gpus)}" if gpus else f"cpu, {count_of(threads, 'thread')} each"
        variables = [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if gpus else {} for index in range(workers)]
        super().__init__([ProcessSlot(timeout, threads, gpu, fraction) for gpu in variables])


class ProcessSlot:
    """A slot for one worker process, with a fraction of the memory of its GPU; see `Slot`."""

    def __init__(self, timeout: float | None, threads: int, variables: dict[str, str], gpu_fraction: float) -> None:
        self._timeout, self._settings = timeout, (threads, variables, gpu_fraction)
        self._lock = threading.Lock()
        self._closed = False
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    def run(self, call: Call) -> Any:
        """Run a job; see `Slot`."""
        data = pickle.dumps(call)
        process, pipe = self._worker()
        try:
            pipe.send_bytes(data)
        except OSError:
            raise self._lost() from None
        if not wait([pipe, process.sentinel], self._timeout):
            assert self._timeout is not None
            self._discard()
            raise too_long(self._timeout)
        try:
            answer: JobResult = pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if answer.broken:
            self._discard()
        return answer.unpack()

    def close(self) -> None:
        """Kill the worker; see `Slot`."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.join(_END_SECONDS)

    def _worker(self) -> tuple[SpawnProcess, "Connection[Any, Any]"]:
        """Return the worker when it is ready, started if there is none: starting does not count as time of a job."""
        if self._process is not None and not self._process.is_alive():
            self._discard()  # it died while idle
        if self._process is None or self._pipe is None:
            with self._lock:
                if self._closed:
                    raise WorkerLost("the search has ended")
                context = multiprocessing.get_context("spawn")
                self._pipe, theirs = context.Pipe()
                self._process = context.Process(target=_work, args=(theirs, *self._settings), name="spinet-worker")
                self._process.start()
                theirs.close()
            try:
                if not self._pipe.poll(_START_SECONDS):
                    self._process.kill()
                self._pipe.recv()
            except (EOFError, OSError):
                raise self._lost() from None
        return self._process, self._pipe

    def _lost(self) -> WorkerLost:
        """Return the error of a worker that died, with its exit code or signal."""
        assert self._process is not None
        self._process.join(_END_SECONDS)
        code = self._process.exitcode
        self._discard()
        if code is not None and code < 0:
            return WorkerLost(f"the worker process was ended by signal {-code} ({signal.strsignal(-code)})")
        return WorkerLost(f"the worker process ended with exit code {code}")

    def _discard(self) -> None:
        with self._lock:
            assert self._process is not None
            assert self._pipe is not None
            self._process.kill()
            self._process.join()
            self._process.close()
            self._pipe.close()
            self._process = self._pipe = None


def _work(pipe: "Connection[Any, Any]", threads: int, variables: dict[str, str], gpu_fraction: float) -> None:
    """Serve jobs until the driver closes the pipe or ends."""
    os.environ.update(variables, OMP_NUM_THREADS=str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the driver handles it
    threading.Thread(target=_end_with_driver, daemon=True).start()
    limit_torch(threads, gpu_fraction)
    with suppress(EOFError, OSError):  # the driver has closed the pipe, or has gone
        pipe.send("ready")
        while True:
            answer = run_job(pipe.recv_bytes())
            pipe.send(answer)
            if answer.broken:
                sys.exit(1)


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


def limit_torch(threads: int, gpu_fraction: float) -> None:
    """Limit torch, in a worker, to so many threads and such a fraction of its GPU's memory."""
    if gpu_fraction or "torch" in sys.modules:  # else it reads OMP_NUM_THREADS when it is loaded
        import torch

        torch.set_num_threads(threads)
        if gpu_fraction and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_fraction)


def threads_each(workers: int) -> int:
    """Threads per worker: an equal part of the cores that this process may use, OMP_NUM_THREADS at most."""
    cores, allowed = available_cores(environment={}).number, available_cores().number
    return max(1, min(cores // workers, allowed))


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
