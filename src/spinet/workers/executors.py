"""Where trials run: in this process, or in worker processes that live as long as the search."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from spinet.errors import SpinetError, TrialTimeout

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TrialExecutor(Executor):
    """An executor whose jobs may end in `WorkerLost` or `TrialTimeout`; closing it ends what still runs.

    Attributes:
        name: `"in-process"`, `"processes"` or `"ray"`.
        workers: how many jobs run at a time.
        device: what they run on, for the journal.
    """

    name: str
    workers: int
    device: str


class InProcess(TrialExecutor):
    """Runs every job at once, in the thread that submits it.

    Args:
        timeout: seconds that a job may take, where this is the main thread; None sets no limit.
        device: what it runs on, for the journal.

    Raises:
        SpinetError: the timeout is not above 0.
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
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> Any:
        del number, frame
        raise too_long(seconds)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_executor(name: str, workers: int, timeout: float | None) -> None:
    """Check what every executor is given.

    Raises:
        SpinetError: there is to be no worker, or the timeout is not a finite number above 0.
    """
    if workers < 1:
        raise SpinetError(f"{name}: {workers} workers cannot work; at least 1 is needed")
    if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
        raise SpinetError(
            f"{name}: timeout {timeout:g} is not a finite number of seconds above 0; leave it out for none"
        )


def too_long(seconds: float) -> TrialTimeout:
    """Return the error of a job that took longer than it may."""
    return TrialTimeout(f"the trial took longer than {seconds:g} s")
