"""`spinet leaderboard`: all models below a folder in one sorted table."""

import os
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from spinet.commands.console import say, warn
from spinet.errors import SpinetError
from spinet.text import duration

if TYPE_CHECKING:
    from spinet.report.leaderboard import Entry


def leaderboard_command(args: list[str]) -> None:
    """Rank all trained models below a folder."""

    def command(
        folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = Path("runs"),
        sort: Literal["score", "parameters", "multiply_adds", "seconds", "image_size", "model"] = "score",
        json: bool = False,
        csv: bool = False,
    ) -> None:
        """Show all trainings and weights files below a folder, those with the same val data together, best first.

        Only models that were evaluated on the same images with the same annotations are ranked together. It reads the
        folders alone: nothing is evaluated again.

        Args:
            folder: Folder with runs or weights files at any depth; `runs` by default.
            sort: Order within the same data.
            json: Print JSON, one list.
            csv: Print CSV.
        """
        from spinet.report.leaderboard import leaderboard, to_csv, to_json

        if json and csv:
            raise SpinetError("--json and --csv are alternatives")
        entries, unevaluated, faults = leaderboard(folder, sort)
        for sentence in faults:
            warn(f"error: {sentence}")
        for run in unevaluated:
            warn(f"not evaluated yet, and left out: {run}")
        if json or csv:
            sys.stdout.write(f"{to_json(entries)}\n" if json else to_csv(entries))
        elif entries:
            _print(entries, folder)
        elif not faults:
            warn(f"no trained model is below {folder}")
        if faults:
            raise SystemExit(1)

    tyro.cli(command, args=args, prog="spinet leaderboard")


def _print(entries: "list[Entry]", folder: Path) -> None:
    """Print a table for each val data, models named as seen from the folder."""
    for (data, metric), members in groupby(entries, lambda entry: (entry.data, entry.metric)):
        group = list(members)
        datasets = ", ".join(sorted({entry.dataset for entry in group}))
        say(f"{datasets}, val data {data}" if data else "val data unknown, not ranked")
        other = {"AP": "AP50", "mask/AP": "mask/AP50"}.get(metric, "top5")
        table = Table("", metric, other, "parameters", "GMACs", "px", "time", "seed", box=None)
        table.add_column("model", overflow="fold")
        for entry in group:
            known = "" if entry.low is None or entry.high is None else f" ({entry.low:.3f} to {entry.high:.3f})"
            table.add_row(
                "" if entry.rank is None else str(entry.rank),
                "" if entry.score is None else f"{entry.score:.3f}{known}",
                "" if entry.ap50 is None else f"{entry.ap50:.3f}",
                f"{entry.parameters / 1e6:.2f} M",
                "" if entry.multiply_adds is None else f"{entry.multiply_adds / 1e9:.2f}",
                str(entry.image_size),
                "" if entry.seconds is None else duration(entry.seconds),
                "" if entry.seed is None else str(entry.seed),
                os.path.relpath(entry.model, folder),
            )
        say(table)
