"""Reading ahead: a thread prepares what comes next while the network works."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in their order, taken from `items` by a thread that is at most `depth` of them ahead.

    What `items` raises is raised here, after all that came before it. The thread ends with the generator.
    """
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=max(depth, 1))
    stopped = threading.Event()

    def put(more: bool, value: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((more, value), timeout=0.1)
            except queue.Full:
                continue
        return None

    def fill() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    return
            put(False, None)
        except BaseException as error:  # to be raised where the items are used
            put(False, error)

    thread = threading.Thread(target=fill, daemon=True, name="reading ahead")
    thread.start()
    try:
        while True:
            more, value = ready.get()
            if more:
                yield value  # type: ignore[misc]
            elif isinstance(value, BaseException):
                raise value
            else:
                return
    finally:
        stopped.set()
        thread.join()
