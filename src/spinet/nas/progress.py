"""The progress display of a running search."""

import time
from statistics import fmean

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from spinet.nas.state import SearchState
from spinet.text import count_of, duration

# Without a terminal, at most one line in so many seconds.
_LINE_SECONDS = 1.0
# Different reasons of failures that are shown.
_REASONS = 5
# Trials whose mean time is shown.
_RECENT = 50


class SearchDisplay:
    """A progress bar on a terminal, plain lines elsewhere, nothing when `quiet`. Use as a context manager."""

    def __init__(self, trials: int, state: SearchState, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, soft_wrap=True, highlight=False)
        self._trials, self._first, self._start, self._shown = trials, state.finished, time.monotonic(), 0.0
        self._finished = -1  # when the last line was shown
        self._told = set(state.reasons)  # why trials failed
        self._running = _Running()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if self._console.is_terminal and not quiet:
            text = TextColumn("{task.description}")
            columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(), text, self._running)
            # Trials of the higher rungs take longer: estimate from the mean over the last minutes.
            self._bar = Progress(*columns, console=self._console, transient=True, speed_estimate_period=600)
            self._task = self._bar.add_task("", total=trials, completed=state.finished)

    def begin(self, trial: int) -> None:
        """Note that a trial begins, to show for how long it runs."""
        self._running.since.setdefault(trial, time.monotonic())

    def update(self, state: SearchState) -> None:
        """Show the state of the search."""
        count, now = state.finished, time.monotonic()
        self._running.follow(state)
        for reason in [reason for reason in state.reasons if reason not in self._told][: _REASONS - len(self._told)]:
            self._told.add(reason)
            self._console.print(f"a trial failed: {reason}", markup=False)
        rate = 3600 * (count - self._first) / max(now - self._start, 1e-3)
        if self._bar:
            self._bar.update(self._task, completed=count, description=f"{progress_line(state)}  {rate:.0f} trials/h")
        elif count != self._finished and (now - self._shown >= _LINE_SECONDS or count == self._trials):
            self._finished, self._shown = count, now
            left = round(3600 * (self._trials - count) / rate) if rate else 0
            pace = f"{rate:.0f} trials/h  ETA {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
            self._console.print(f"{count}/{self._trials} trials  {progress_line(state)}  {pace}", markup=False)

    def __enter__(self) -> "SearchDisplay":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


class _Running(ProgressColumn):
    """How long the oldest running trial has taken, of what a trial takes on average."""

    def __init__(self) -> None:
        super().__init__()
        self.since: dict[int, float] = {}  # by number of the trial
        self._mean = 0.0

    def follow(self, state: SearchState) -> None:
        """Forget trials that have ended; learn from their times."""
        self.since = {trial: start for trial, start in self.since.items() if trial in state.open}
        seconds = [record.seconds for record in state.records[-_RECENT:] if record.seconds]
        self._mean = fmean(seconds) if seconds else 0.0

    def render(self, task: Task) -> Text:  # noqa: ARG002
        """Show it."""
        # Trials begin and end in the thread of the search, while this is called in that of the display.
        starts = list(self.since.values())
        if not starts:
            return Text()
        average = f" of about {duration(self._mean)}" if self._mean else ""
        return Text(f"{count_of(len(starts), 'trial')} running, {duration(time.monotonic() - min(starts))}{average}")


def progress_line(state: SearchState) -> str:
    """Return the numbers of a search in a few words."""
    best, name = state.best, state.reward_name
    words = [f"best {name} {best.reward:.4g}{_mean_of(len(best.trials))}" if best else f"best {name} -"]
    references = state.references(best.rung) if best else []
    words += [f"published {fmean(references):.4g}{_mean_of(len(references))}"] if references else []
    failed = state.failures.total()
    words += [f"{failed} failed"] if failed else []
    words += [count_of(state.duplicates, "duplicate")] if state.duplicates else []
    words += (
        [f"constraints accept {state.acceptance:.1%} of draws"] if state.acceptance and state.acceptance < 1 else []
    )
    return "  ".join(words)


def _mean_of(trainings: int) -> str:
    return f" (mean of {trainings})" if trainings > 1 else ""
