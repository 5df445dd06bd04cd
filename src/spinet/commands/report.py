"""`spinet report`: a training or a search as one HTML page."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say
from spinet.errors import SpinetError


def report_command(args: list[str]) -> None:
    """Write the report of a training or a search, one HTML page."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
    ) -> None:
        """Write one self-contained HTML page about a training or a search, also while it runs.

        A training: metrics with intervals, precision and recall, errors and their cost, the worst images, and what to
        try. A search: rewards, fronts, drawings.

        Args:
            run: Folder of the training or search.
            out: Output file; RUN/report.html by default.
            root: Trainings: dataset folder, if it has moved since.
        """
        if (run / "journal.jsonl").is_file():
            from spinet.report.report import write_report

            if root:
                raise SpinetError(f"--data.root is for trainings, and {run} is a search")
            say(str(write_report(run, out)))
            return
        from spinet.report.training import write_training_report

        say(str(write_training_report(run, out, root or None)))

    tyro.cli(command, args=args, prog="spinet report")
