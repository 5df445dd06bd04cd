"""Printing for the commands: lines, warnings, tables of metrics."""

import json
import math
import sys

from rich.console import Console
from rich.table import Table


def say(content: object) -> None:
    """Print a line or a table."""
    Console(soft_wrap=True, highlight=False).print(content, markup=False)


def warn(text: str) -> None:
    """Print a line to standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"spinet: {text}", markup=False)


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
