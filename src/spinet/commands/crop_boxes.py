"""`spinet crop-boxes`: crop the boxes of a detection dataset into image folders for a classifier."""

import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from spinet.commands.console import progress_bar, say

if TYPE_CHECKING:
    from spinet.predict.crops import CropReport


def crop_boxes_command(args: list[str]) -> None:
    """Crop the boxes of a detection dataset into image folders for a classifier."""

    def command(
        root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        split: Literal["train", "val", "both"] = "both",
        context: float = 1.5,
        size: int | None = None,
        min_side: float = 1,
        json: bool = False,
    ) -> None:
        """Crop each box out of its image and write it to OUT/{train,val}/CLASS/, to train a classifier.

        Args:
            root: Dataset folder in COCO, YOLO or Pascal VOC format.
            out: Output folder, new or empty.
            split: Splits to crop.
            context: Width and height of a crop divided by those of its box; crops end at the edge of the image.
            size: Longest side of a crop in pixels; larger ones are downscaled.
            min_side: Shortest side of a box in pixels; smaller ones are skipped.
            json: Print JSON instead of a table.
        """
        from spinet.predict.crops import SPLITS, crop_boxes

        with progress_bar("cropping") as progress:
            report = crop_boxes(
                root,
                out,
                splits=SPLITS if split == "both" else (split,),
                context=context,
                size=size,
                min_side=min_side,
                progress=progress,
            )
        if json:
            sys.stdout.write(json_module.dumps(asdict(report) | {"out": str(out)}) + "\n")
        else:
            _print(report, out)

    tyro.cli(command, args=args, prog="spinet crop-boxes")


def _print(report: "CropReport", out: Path) -> None:
    names = sorted({name for counts in report.crops.values() for name in counts})
    table = Table("class", *(f"{split} crops" for split in report.crops), box=None)
    for name in names:
        table.add_row(name, *(f"{counts.get(name, 0):,}" for counts in report.crops.values()))
    table.add_row("all", *(f"{sum(counts.values()):,}" for counts in report.crops.values()))
    say(table)
    for text in report.warnings:
        say(f"warning: {text}")
    small = sum(report.small.values())
    if small:
        say(f"skipped {small:,} boxes with a side below --min-side")
    if report.left_out:
        say(f"skipped classes that the train split does not have: {', '.join(report.left_out)}")
    for name, folder in report.folders.items():
        say(f"class {name!r} is in folder {folder!r}")
    for split in {"train", "val"} - report.crops.keys():
        say(f"no {split} images were written; `spinet train` needs both splits: use --split both")
    say(out)
