"""Where jobs run: the interface of executors, and the one that runs them in this process."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from spinet.errors import SpinetError, TrialTimeout

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TrialExecutor(Executor):
    """An executor whose jobs may raise `WorkerLost` or `TrialTimeout`; closing it ends running jobs."""

    name: str  # one of `create.EXECUTORS`
    workers: int  # how many jobs run at a time
    device: str  # description of what they run on, for the journal


class InProcess(TrialExecutor):
    """Runs every job immediately, in the thread that submits it.

    The `timeout`, seconds that a job may take, is kept in the main thread and not on Windows.
    """

    name = "in-process"
    workers = 1

    def __init__(self, timeout: float | None = None, device: str = "cpu") -> None:
        check_executor(self.name, self.workers, timeout)
        self.timeout, self.device = timeout, device

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn(*args, **kwargs)`; return a future that is done."""
        future: Future[_T] = Future()
        try:
            with _alarm(self.timeout):
                future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise `TrialTimeout` in the main thread after so many seconds."""
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise too_long(seconds)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_executor(name: str, workers: int, timeout: float | None) -> None:
    """Validate the arguments that all executors share; raise a SpinetError for a number out of range."""
    if workers < 1:
        raise SpinetError(f"{name}: workers must be at least 1, got {workers}")
    if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
        raise SpinetError(
            f"{name}: timeout must be a finite number of seconds above 0, got {timeout:g}; omit it for no limit"
        )


def too_long(seconds: float) -> TrialTimeout:
    """Return the error of a job that exceeded its time."""
    return TrialTimeout(f"the trial took longer than {seconds:g} s")
