"""`spinet compare`: runs and files side by side on the same images."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table as RichTable

from spinet.commands.console import say
from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.report.comparison import Comparison
    from spinet.report.panels import Table


def compare_command(args: list[str]) -> None:
    """Compare trained models: metrics with paired intervals, classes, images, speed and size."""

    def command(
        runs: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
        device: str = "auto",
        speed: bool = True,
        json: bool = False,
        csv: bool = False,
    ) -> None:
        """Compare trained models on the same val images, all of them with the first.

        Trainings are compared by what they predicted at their best evaluation; weights and exported files are run over
        the dataset of the first training. Differences have 95 % intervals of a paired bootstrap over images.

        Args:
            runs: Run folders, weights files or their addresses (published/NAME, https://, hf://), or exported files,
                two or more.
            root: Dataset folder to run all models over, instead.
            out: Also write an HTML page, with the images on which the models differ most.
            device: `auto`, `cpu`, `cuda` ...
            speed: Measure the time of one image, of all models in turn.
            json: Print one line of JSON instead of tables.
            csv: Print CSV instead of tables.
        """
        from spinet.hub.fetch import local_path
        from spinet.report.comparison import Comparison, write_comparison
        from spinet.report.contenders import contenders

        if json and csv:
            raise SpinetError("--json and --csv are alternatives")
        comparison = Comparison(
            *contenders([local_path(run) for run in runs], root or None, device=device, speed=speed)
        )
        if json or csv:
            sys.stdout.write(f"{comparison.to_json()}\n" if json else comparison.to_csv())
        else:
            _print(comparison)
        if out is not None:
            write_comparison(comparison, out)
            if not json and not csv:
                say(f"\n{out}")

    tyro.cli(command, args=args, prog="spinet compare")


def _print(comparison: "Comparison") -> None:
    say(_table(comparison.metric_table()))
    say("")
    say(_table(comparison.difference_table(classes=False)))
    say("")
    say(_table(comparison.difference_table(classes=True)))
    say("* the 95 % interval leaves out 0; it is about the choice of val images, and seeds differ too\n")
    for index in range(1, len(comparison.models)):
        say(comparison.verdict(index))
        far = comparison.far_images(index, 5)
        if far:
            shown = ", ".join(f"{name} ({first} and {other} errors)" for name, first, other in far)
            say(f"  images that differ most: {shown}")


def _table(content: "Table") -> RichTable:
    table = RichTable(*content.head, box=None)
    for row in content.rows:
        table.add_row(*row)
    return table
