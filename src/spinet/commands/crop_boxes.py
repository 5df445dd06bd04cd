"""`spinet crop-boxes`: image folders to learn classes from, cut out of a detection data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spinet.commands.console import say

if TYPE_CHECKING:
    from spinet.predict.crops import CropReport


def crop_boxes_command(args: list[str]) -> None:
    """Image folders of the objects in a detection data set."""

    def command(
        root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        split: Literal["train", "val", "both"] = "both",
        context: float = 1.5,
        size: int | None = None,
        min_side: float = 1,
    ) -> None:
        """Cut each box out of its photo and write it to OUT/{train,val}/CLASS/, for training a classifier.

        Args:
            root: Data set folder in COCO, YOLO or Pascal VOC format.
            out: Folder to write, new or empty.
            split: Which images.
            context: Width and height of a crop divided by those of its box; what is outside the photo is cut off.
            size: Crops with a longer side are made smaller, to this many pixels.
            min_side: Boxes with a shorter side are left out, pixels.
        """
        from spinet.predict.crops import SPLITS, crop_boxes

        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("cropping", total=None)
            report = crop_boxes(
                root,
                out,
                splits=SPLITS if split == "both" else (split,),
                context=context,
                size=size,
                min_side=min_side,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        _print(report, out)

    tyro.cli(command, args=args, prog="spinet crop-boxes")


def _print(report: "CropReport", out: Path) -> None:
    names = sorted({name for counts in report.crops.values() for name in counts})
    table = Table("class", *(f"{split} crops" for split in report.crops), box=None)
    for name in names:
        table.add_row(name, *(f"{counts.get(name, 0):,}" for counts in report.crops.values()))
    table.add_row("all", *(f"{sum(counts.values()):,}" for counts in report.crops.values()))
    say(table)
    small = sum(report.small.values())
    if small:
        say(f"{small:,} boxes are smaller than the shortest side and were left out")
    if report.left_out:
        say(f"left out because the train split has none of them: {', '.join(report.left_out)}")
    for name, folder in report.folders.items():
        say(f"the folder of {name!r} is called {folder!r}")
    for split in {"train", "val"} - report.crops.keys():
        say(f"there are no {split} images: `spinet train` needs both splits; `--split both` makes them")
    say(out)
