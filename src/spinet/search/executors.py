"""Where trials run: in this process, or in worker processes that live as long as the search."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from spinet.errors import TrialTimeout

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
    """

    name = "in-process"
    workers = 1

    def __init__(self, timeout: float | None = None, device: str = "cpu") -> None:
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


def too_long(seconds: float) -> TrialTimeout:
    """Return the error of a job that took longer than it may."""
    return TrialTimeout(f"the trial took longer than {seconds:g} s")
