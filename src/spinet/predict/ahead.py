"""Reading ahead: a thread prepares what comes next while the network works."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from spinet.errors import SpinetError

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in their order, taken from `items` by a thread that is at most `depth` of them ahead.

    What `items` raises is raised here, after all that came before it. The thread ends with the generator.
    """
    iterator = iter(items)
    reader = ThreadPoolExecutor(1, "reading ahead")
    try:
        pending = deque(reader.submit(next, iterator, _END) for _ in range(max(depth, 1)))
        while (item := pending.popleft().result()) is not _END:
            pending.append(reader.submit(next, iterator, _END))
            yield item
    finally:
        reader.shutdown(cancel_futures=True)


def batches(items: Iterable[T], size: int, counts: Callable[[T], bool] = lambda _: True) -> Iterator[list[T]]:
    """Group items so that each group has `size` that count; an error is raised after the items before it."""
    group: list[T] = []
    try:
        for item in items:
            group.append(item)
            if sum(map(counts, group)) == size:
                yield group
                group = []
    except SpinetError:
        if group:
            yield group
        raise
    if group:
        yield group
