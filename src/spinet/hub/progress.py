"""The progress of a transfer on standard error: a bar in a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from spinet.text import megabytes

# Seconds between two lines.
EVERY = 10.0

# Is told the bytes so far and their number at the end, None if that is not known.
Report = Callable[[int, int | None], None]


def note(sentence: str) -> None:
    """Print a line to standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"spinet: {sentence}", markup=False)


@contextmanager
def shown(what: str) -> Iterator[Report]:
    """Show the progress of a transfer in the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < EVERY:
            return
        last = now
        of = f" of {megabytes(total)} ({done / total:.0%})" if total else ""
        print(f"spinet: {what}: {megabytes(done)}{of}", file=sys.stderr, flush=True)

    return report
