"""`spinet status`: trainings and searches in one table."""

import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Column, Table

from spinet.commands.console import say, warn
from spinet.errors import SpinetError
from spinet.text import duration

if TYPE_CHECKING:
    from spinet.report.run_status import RunStatus


def status_command(args: list[str]) -> None:
    """Show how far trainings and searches are."""

    def command(
        runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = (Path("runs"),),
        json: bool = False,
    ) -> None:
        """Show how far trainings and searches are, which may be running: one row each.

        Args:
            runs: Run folders, or folders of them; `runs` by default.
            json: Print JSON, one line per run.
        """
        from spinet.report.run_status import find_runs, remark, status_of

        found, others = find_runs(runs)
        if left_out := remark(others):
            warn(left_out)
        rows = []
        for run in found:
            try:
                rows.append(status_of(run))
            except SpinetError as error:  # of one run: the others are still of interest
                warn(f"error: {error}")
        if json:
            sys.stdout.write("".join(json_module.dumps(asdict(row)) + "\n" for row in rows))
        elif rows:
            say(_table(rows))
        if len(rows) < len(found):
            raise SystemExit(1)

    tyro.cli(command, args=args, prog="spinet status")


def _table(rows: "list[RunStatus]") -> Table:
    from spinet.report.run_status import percent

    # The name is what the next command needs.
    name = Column("run", overflow="fold", min_width=max((min(len(row.run), 40) for row in rows), default=0))
    table = Table(name, "what", "state", "done", "score", "best", "last", "time left", "memory", box=None)
    for row in rows:
        table.add_row(
            row.run,
            row.what,
            row.state,
            percent(row),
            row.metric,
            *("" if value is None else f"{value:.3f}" for value in (row.best, row.last)),
            "" if row.seconds_left is None else duration(row.seconds_left),
            "" if row.memory_gib is None else f"{row.memory_gib:.1f} GiB",
        )
    return table
