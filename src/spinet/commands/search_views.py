"""`spinet search status`, `report` and `export`, which inspect a search, and `latency`, which prepares one."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from spinet.commands.console import say

if TYPE_CHECKING:
    from spinet.nas.space import Space

_Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def chosen_space(name: str, scaling: str, window: int | None) -> "Space":
    """Return a space by name or file, with the scaling and window asked for."""
    from spinet.arch.catalog import load_architecture
    from spinet.nas.spaces import load_space

    space = load_space(name)
    if scaling:
        space = replace(space, scaling=load_architecture(scaling).scaling)
    return space if window is None else replace(space, window=window)


def _status(run: _Run, json_: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """Print the progress of a search, which may be running.

    Args:
        run: Folder of the search.
        json_: Print JSON.
    """
    from spinet.nas.status import status_text, summary

    numbers = summary(run)
    if json_:
        sys.stdout.write(json.dumps(numbers) + "\n")
    else:
        say(status_text(numbers))


def _report(run: _Run, out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None) -> None:
    """Write the report of a search, which may be running, as one self-contained HTML page.

    Args:
        run: Folder of the search.
        out: Output file; RUN/report.html by default.
    """
    from spinet.report.report import write_report

    say(str(write_report(run, out)))


def _export(run: _Run, optuna: str, name: str | None = None) -> None:
    """Write the trials of a search into an Optuna storage, for example for optuna-dashboard.

    Args:
        run: Folder of the search.
        optuna: Storage, such as sqlite:///search.db.
        name: Name of the study; that of the folder by default.
    """
    from spinet.report.optuna_export import export_optuna

    say(f"{export_optuna(run, optuna, name)} trials in {optuna}")


def _latency(
    space: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SPACE")],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    image_size: int = 640,
    device: str = "cpu",
    scaling: str = "",
) -> None:
    """Measure every block, connection and endpoint of a space, and the head, for a constraint on latency.

    Args:
        space: Name or .json file of the space.
        out: Table to write (JSON).
        image_size: Side of the image, pixels.
        device: `cpu`, `cuda` ...
        scaling: Architecture whose scaling the networks will have; by default that of the space.
    """
    from spinet.nas.latency import measure_latency

    table = measure_latency(chosen_space(space, scaling, None), out, image_size=image_size, device=device)
    say(f"{len(table.milliseconds)} parts on {table.device}: {out}")


VIEWS: dict[str, tuple[Callable[..., None], str]] = {
    "status": (_status, "Progress and best trial."),
    "report": (_report, "HTML report: rewards, fronts, drawings."),
    "export": (_export, "Trials as an Optuna study."),
    "latency": (_latency, "Latency of a space's parts on this machine."),
}
