"""Ctrl-C and SIGTERM: work ends between two of its steps, never within one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spinet.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The work was asked to stop while it could be abandoned. Not an Exception, so that no evaluation swallows it."""


class Stop:
    """Whether the work was asked to stop.

    Attributes:
        requested: the first signal that asked; 0 without any.
    """

    def __init__(self, second_at_once: bool = False) -> None:
        self.requested = 0
        self._waiting, self._second_at_once = False, second_at_once

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Wrap what may be abandoned: evaluations and waiting for them.

        Raises:
            Interrupted: the work was asked to stop, before or meanwhile.
        """
        self._waiting = True
        try:
            if self.requested:
                raise Interrupted
            yield
        finally:
            self._waiting = False

    def handle(self, number: int, _: object = None) -> None:
        """Handle a signal."""
        if self.requested and self._second_at_once:
            raise Stopped(f"stopped at once by {how(number)}", number)
        self.requested = self.requested or number
        if self._waiting:
            self._waiting = False
            raise Interrupted


def how(number: int) -> str:
    """Name a signal as its sender does."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextmanager
def stop_on_signals(second_at_once: bool = False) -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM in the block; threads other than the main one get no signals.

    Args:
        second_at_once: whether a second signal raises `Stopped` wherever the program is.
    """
    stop = Stop(second_at_once)
    with _handling(SIGNALS, stop.handle):
        yield stop


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Raise `Stopped` at SIGTERM, as Python raises KeyboardInterrupt at Ctrl-C."""

    def handle(number: int, _: object) -> None:
        raise Stopped("stopped by SIGTERM", number)

    with _handling((signal.SIGTERM,), handle):
        yield


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handle: Any) -> Iterator[None]:
    """Handle signals in the block, except those that are ignored, as Ctrl-C is in the background of a shell script."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
