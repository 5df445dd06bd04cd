"""Ctrl-C and SIGTERM: a search ends between two events, never within one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(BaseException):
    """The search was asked to stop while it waited. Not an Exception, so that no evaluation swallows it."""


class Stop:
    """Whether the search was asked to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Wrap what may be abandoned: evaluations and waiting for them.

        Raises:
            Interrupted: the search was asked to stop, before or meanwhile.
        """
        self._waiting = True
        try:
            if self.requested:
                raise Interrupted
            yield
        finally:
            self._waiting = False

    def handle(self, *_: object) -> None:
        """Handle a signal."""
        self.requested = True
        if self._waiting:
            self._waiting = False
            raise Interrupted


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM in the block; threads other than the main one get no signals."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
