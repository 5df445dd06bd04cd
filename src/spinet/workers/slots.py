"""An executor of slots: each runs one job at a time in a worker of its own, so a dead worker costs only its job."""

import pickle
import queue
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from spinet.errors import SpinetError, WorkerLost
from spinet.workers.executors import TrialExecutor

_P = ParamSpec("_P")
_T = TypeVar("_T")

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Slot(Protocol):
    """A slot for one worker, which is started when first needed and restarted after it was lost."""

    def run(self, call: Call) -> Any:
        """Run a job in the worker and return its result; after the loss of a worker, the next job gets a new one."""
        ...

    def close(self) -> None:
        """End the worker for good, whatever it does, from any thread."""
        ...


class SlotExecutor(TrialExecutor):
    """Hands jobs to slots, each of which is served by a thread of this process."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.workers = len(slots)
        self._slots = slots
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Call] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=_serve, args=(slot, self._jobs), daemon=True) for slot in slots]
        # Also if nobody closes the executor: Python waits for its child processes before it exits.
        self._end = weakref.finalize(self, _close, slots)
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn(*args, **kwargs)` as soon as a slot is free."""
        future: Future[_T] = Future()
        self._jobs.put((future, (fn, args, kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """End the workers, whatever they do; jobs that have not started are cancelled in any case."""
        del cancel_futures
        while not self._jobs.empty():
            job = self._jobs.get()
            if job:
                job[0].cancel()
        self._end()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()


def _serve(slot: Slot, jobs: "queue.SimpleQueue[tuple[Future[Any], Call] | None]") -> None:
    while job := jobs.get():
        future, call = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = slot.run(call)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        del job, future, call


def _close(slots: Sequence[Slot]) -> None:
    for slot in slots:
        slot.close()


class JobResult(NamedTuple):
    """The answer of a worker: a result or an error; `broken` if it cannot be trusted with another job."""

    result: Any = None
    error: SpinetError | None = None
    broken: bool = False

    def unpack(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


def run_job(data: bytes) -> JobResult:
    """Run a pickled `Call`, in a worker. Unexpected errors are printed, and the worker is given up."""
    try:
        fn, args, kwargs = pickle.loads(data)
        return JobResult(fn(*args, **kwargs))
    except SpinetError as error:
        return JobResult(error=error)
    except Exception as error:
        traceback.print_exc()
        lost = WorkerLost(f"the worker was given up after {type(error).__name__}: {error}")
        return JobResult(error=lost, broken=True)
