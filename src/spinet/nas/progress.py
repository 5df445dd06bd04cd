"""The progress display of a running search."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from spinet.nas.state import SearchState

# Without a terminal, at most one line in so many seconds.
_LINE_SECONDS = 1.0


class SearchDisplay:
    """A progress bar on a terminal, plain lines elsewhere, nothing when `quiet`. Use as a context manager."""

    def __init__(self, trials: int, state: SearchState, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, soft_wrap=True, highlight=False)
        self._trials, self._first, self._start, self._shown = trials, state.finished, time.monotonic(), 0.0
        self._finished = -1  # when the last line was shown
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if self._console.is_terminal and not quiet:
            text = TextColumn("{task.description}")
            columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(), text)
            # Trials of the higher rungs take longer: estimate from the mean over the last minutes.
            self._bar = Progress(*columns, console=self._console, transient=True, speed_estimate_period=600)
            self._task = self._bar.add_task("", total=trials, completed=state.finished)

    def update(self, state: SearchState) -> None:
        """Show the state of the search."""
        count, now = state.finished, time.monotonic()
        rate = 3600 * (count - self._first) / max(now - self._start, 1e-3)
        if self._bar:
            self._bar.update(self._task, completed=count, description=f"{progress_line(state)}  {rate:.0f} trials/h")
        elif count != self._finished and (now - self._shown >= _LINE_SECONDS or count == self._trials):
            self._finished, self._shown = count, now
            left = round(3600 * (self._trials - count) / rate) if rate else 0
            pace = f"{rate:.0f} trials/h  ETA {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
            self._console.print(f"trial {count}/{self._trials}  {progress_line(state)}  {pace}", markup=False)

    def __enter__(self) -> "SearchDisplay":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def progress_line(state: SearchState) -> str:
    """Return the numbers of a search in a few words."""
    words = [f"best {state.best.reward:.4g}" if state.best else "best -"]
    failed = state.failures.total()
    words += [f"{failed} failed"] if failed else []
    words += [f"{state.duplicates} duplicates"] if state.duplicates else []
    words += [f"{state.acceptance:.1%} of draws accepted"] if state.acceptance and state.acceptance < 1 else []
    return "  ".join(words)
