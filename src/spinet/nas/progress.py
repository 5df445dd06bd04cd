"""What a search shows while it goes on."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from spinet.nas.state import SearchState

# Where there is no terminal, at most one line in so many seconds.
_LINE_SECONDS = 1.0


class Display:
    """A progress bar on a terminal, plain lines elsewhere, nothing when `quiet`. Use as a context manager.

    Args:
        trials: to be told in all.
        state: of the search as it starts.
        quiet: show nothing.
    """

    def __init__(self, trials: int, state: SearchState, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, soft_wrap=True, highlight=False)
        self._trials, self._first, self._start, self._shown = trials, state.told, time.monotonic(), 0.0
        self._told = -1  # when the last line was shown
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if self._console.is_terminal and not quiet:
            # The mean over the last minutes: trials of the higher rungs take longer.
            columns = (
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, speed_estimate_period=600)
            self._task = self._bar.add_task("", total=trials, completed=state.told)

    def update(self, state: SearchState) -> None:
        """Show what the search has come to."""
        if self._bar:
            description = f"{describe(state)}  {self._rate(state):.0f} trials/h"
            self._bar.update(self._task, completed=state.told, description=description)
        elif state.told != self._told and (
            time.monotonic() - self._shown >= _LINE_SECONDS or state.told == self._trials
        ):
            self._told = state.told
            self._shown = time.monotonic()
            text = f"trial {state.told}/{self._trials}  {describe(state)}  {self._pace(state)}"
            self._console.print(text, markup=False)

    def __enter__(self) -> "Display":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def _rate(self, state: SearchState) -> float:
        """Trials an hour since this start."""
        return 3600 * (state.told - self._first) / max(time.monotonic() - self._start, 1e-3)

    def _pace(self, state: SearchState) -> str:
        rate = self._rate(state)
        left = round(3600 * (self._trials - state.told) / rate) if rate else 0
        return f"{rate:.0f} trials/h  ETA {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"


def describe(state: SearchState) -> str:
    """Return the numbers of a search in a few words."""
    words = [f"best {state.best.reward:.4g}" if state.best else "best -"]
    failures = sum(count for status, count in state.counts.items() if status != "done")
    words += [f"{failures} failed"] if failures else []
    words += [f"{state.duplicates} duplicates"] if state.duplicates else []
    words += [f"{state.acceptance:.1%} of draws accepted"] if state.acceptance and state.acceptance < 1 else []
    return "  ".join(words)
