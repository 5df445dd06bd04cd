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
        serve: bool = False,
        port: int = 7861,
    ) -> None:
        """Write one self-contained HTML page about a training or a search, also while it runs.

        A training: metrics with intervals, precision and recall, errors and their cost, the worst images, and what to
        try. A search: rewards, fronts, drawings.

        Args:
            run: Folder of the training or search.
            out: Output file; RUN/report.html by default.
            root: Trainings: dataset folder, if it has moved since.
            serve: Serve the page on this machine instead, where it follows the run until Ctrl-C; also before the first
                evaluation.
            port: Port of the page with --serve.
        """
        if serve:
            if out is not None:
                raise SpinetError("--out is for a page that is written, and --serve writes none")
            _serve(run, root, port)
            return
        if (run / "journal.jsonl").is_file():
            from spinet.report.report import write_report

            if root:
                raise SpinetError(f"--data.root is for trainings, and {run} is a search")
            say(str(write_report(run, out)))
            return
        from spinet.report.training import write_training_report

        say(str(write_training_report(run, out, root or None)))

    tyro.cli(command, args=args, prog="spinet report")


def _serve(run: Path, root: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise SpinetError(f"--port is {port}; it must be from 1 to 65535")
    from spinet.report.live import LivePage
    from spinet.report.serve import LiveServer

    if root and (run / "journal.jsonl").is_file():
        raise SpinetError(f"--data.root is for trainings, and {run} is a search")
    with LiveServer(LivePage(run, root or None), port) as server:
        say(f"{run}: {server.address}  (Ctrl-C stops it)")
        server.serve_forever()
