"""Progress of a training: two lines that stay in place on a terminal, one line per epoch elsewhere."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from spinet.text import duration

# Seconds after which there is a line even within an epoch.
SILENCE = 180.0


@dataclass
class Clock:
    """Estimates the time left, from the first steps on; evaluations count as long as the last one took.

    Attributes:
        steps: of the training; `first` is the one at which this process started.
        every: steps between evaluations; 0 for one at the end.
    """

    steps: int
    first: int
    every: float = 0.0
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._start, self._evaluating, self._last = self.now(), 0.0, 0.0

    def evaluated(self, seconds: float) -> None:
        """Add an evaluation."""
        self._evaluating += seconds
        self._last = seconds

    def left(self, step: int) -> float:
        """Return the seconds left after a step; NaN before the first one."""
        if step <= self.first:
            return math.nan
        each = (self.now() - self._start - self._evaluating) / (step - self.first)
        return each * (self.steps - step) + self._last * self._evaluations(step)

    def _evaluations(self, step: int) -> int:
        """Return how many follow a step; there is one at the end."""
        if self.every <= 0 or step >= self.steps:
            return int(step < self.steps)
        return 1 + int((self.steps - 1) // self.every - step // self.every)


class _Lines(Progress):
    """A bar with a line below it."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.below, no_wrap=True, overflow="ellipsis")


class Display:
    """A progress bar on a terminal, plain lines elsewhere, nothing when `quiet`.

    Args:
        steps: of the training.
        first_step: at which this process starts.
        epoch_steps: steps per epoch.
        every: as in `Clock`.
        score: name of the metric that selects the best weights, and `best` its value so far; NaN without one.
        quiet: print nothing.
        console: to print on, instead of standard output.
    """

    def __init__(
        self,
        steps: int,
        first_step: int,
        epoch_steps: float,
        *,
        every: float = 0.0,
        score: str = "",
        best: float = math.nan,
        quiet: bool = False,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(quiet=quiet, soft_wrap=True, highlight=False)
        self._steps, self._epoch_steps, self._score, self._best = steps, epoch_steps, score, best
        self._now, self._clock = now, Clock(steps, first_step, every, now)
        lines_only = quiet or not self._console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = _Lines(*columns, console=self._console, transient=True, disable=lines_only)
        self._task = self._bar.add_task(self._where(first_step), total=steps, completed=first_step, left="")
        self._bar.start()
        # Plain lines: those of metrics since the last printed one, and when and in which epoch that was.
        self._since: list[tuple[int, Mapping[str, float]]] = []
        self._logged, self._said, self._epoch = first_step, -math.inf, self._epoch_of(first_step)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show a line of metrics after `step` steps; plain ones at ends of epochs or after some minutes."""
        self._since.append((step - self._logged, values))
        self._logged = step
        if not self._bar.disable:
            self._bar.below = self._numbers(values)
            self._since = []
            self.advance(step)
            return
        epoch = self._epoch_of(step)
        if epoch > self._epoch or step == self._steps or self._now() - self._said > SILENCE:
            mean = _means(self._since)
            self.say("  ".join(filter(None, (self._where(step), self._numbers(mean), self._left(step)))))
            self._since, self._said, self._epoch = [], self._now(), epoch

    def advance(self, step: int) -> None:
        """Advance the bar without a line."""
        if not self._bar.disable:
            self._bar.update(self._task, completed=step, description=self._where(step), left=self._left(step))

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation is, in batches."""
        if not self._bar.disable:
            self._bar.update(self._task, description=f"evaluating {done}/{total}")
        elif self._now() - self._said > SILENCE:
            self.say(f"evaluating {done}/{total}")
            self._said = self._now()

    def evaluated(self, step: int, metrics: Mapping[str, float], shown: Iterable[str], seconds: float) -> None:
        """Print the metrics of an evaluation that took so long."""
        self._clock.evaluated(seconds)
        score = metrics.get(self._score, math.nan)
        is_best = not score <= self._best
        self._best = score if is_best else self._best
        text = "  ".join(f"{name} {metrics[name]:.3f}" for name in shown)
        best = "best so far" if is_best else f"best {self._score} {self._best:.3f}"
        self.say(f"step {step}/{self._steps}  val: {text}  ({best}, {duration(seconds)})")
        self._said = self._now()
        self.advance(step)

    def close(self) -> None:
        """Remove the bar."""
        if not self._bar.disable:
            self._bar.stop()

    def _epoch_of(self, step: int) -> int:
        return int(step / self._epoch_steps + 1e-9)

    def _where(self, step: int) -> str:
        whole = max(1, math.ceil(self._steps / self._epoch_steps - 1e-9))
        done = step / self._epoch_steps
        # During epoch 3 two are done; a line at its end is about it.
        return f"epoch {min(whole, max(1, math.ceil(done - 1e-9)))}/{whole}  step {step}/{self._steps}"

    def _numbers(self, values: Mapping[str, float]) -> str:
        parts = ", ".join(f"{name[5:]} {value:.3f}" for name, value in values.items() if name.startswith("loss/"))
        memory = f"{values['memory_gib']:.1f} GiB" if math.isfinite(values["memory_gib"]) else ""
        best = f"best {self._score} {self._best:.3f}" if math.isfinite(self._best) else ""
        speed = f"{speed:.1f} images/s" if (speed := values["images_per_second"]) else ""
        loss = f"loss {values['loss']:.3f} ({parts})"
        return "  ".join(filter(None, (loss, best, f"lr {values['lr']:.2e}", speed, memory)))

    def _left(self, step: int) -> str:
        seconds = self._clock.left(step)
        return "" if math.isnan(seconds) or step == self._steps else f"{duration(seconds)} left"


def _means(lines: list[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the last line, with losses and speed over all of them."""
    last = dict(lines[-1][1])
    # A run that stopped between a step and its line writes the line when it resumes, with no step of its own.
    lines = [(steps, values) for steps, values in lines if steps and values["images_per_second"]]
    total = sum(steps for steps, _ in lines)
    if not total:
        return last
    for name in last:
        if name.startswith("loss"):
            last[name] = sum(steps * values[name] for steps, values in lines) / total
    seconds = sum(steps / values["images_per_second"] for steps, values in lines)
    last["images_per_second"] = total / seconds
    return last
