"""Printing for the commands: lines, warnings, tables of metrics."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spinet.threads import describe_use


def say(content: object) -> None:
    """Print a line or a table."""
    Console(soft_wrap=True, highlight=False).print(content, markup=False)


def warn(text: str) -> None:
    """Print a line to standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"spinet: {text}", markup=False)


def say_threads(run: Path, threads: int, workers: int = 0) -> None:
    """Say how many CPU threads and loader processes a model gets, if that is not what the machine has."""
    from spinet.predict.open import threads_for

    for sentence in describe_use(threads_for(run, threads), threads, workers):
        say(sentence)


def say_files(files: Mapping[str, int]) -> None:
    """Print the names and sizes of files."""
    for name, size in files.items():
        say(f"  {name:20} {size / 1e6:8.2f} MB" if size >= 1e5 else f"  {name:20} {size / 1e3:8.1f} kB")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error if that is a terminal; call what it returns with (done, total)."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_metrics(metrics: dict[str, float], as_json: bool) -> None:
    """Print metrics as a table, or as one line of JSON without NaN."""
    if as_json:
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        sys.stdout.write(json.dumps(finite) + "\n")
        return
    table = Table("metric", "value", box=None)
    for name, value in metrics.items():
        table.add_row(name, "-" if math.isnan(value) else f"{value:.3f}")
    say(table)
