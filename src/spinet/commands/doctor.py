"""`spinet doctor`: check a dataset before training."""

import json as json_text
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from spinet.commands.console import progress_bar, say

if TYPE_CHECKING:
    from spinet.doctor.anchors import SizeTable
    from spinet.doctor.examine import DatasetReport


def doctor_command(args: list[str]) -> None:
    """Check a dataset for problems, and draw sample boxes of each class."""

    def command(
        root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("doctor"),
        recipe: str = "small-gpu",
        image_size: int | None = None,
        anchor_scale: float | None = None,
        octaves: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
        val_share: float = 0,
        val_seed: int = 0,
        quick: bool = False,
        workers: int = 2,
        json: bool = False,
    ) -> None:
        """Report corrupt and duplicate images, invalid boxes, rare classes, and anchors that do not match.

        The exit code is 1 if there are errors.

        Args:
            root: Dataset folder in COCO, YOLO or Pascal VOC format, or of image classes.
            out: Folder for one contact sheet of sampled boxes per class.
            recipe: Recipe or config.json whose image size, anchors and objects per image are checked.
            image_size: Side of the square that images are fitted into, in pixels; by default the recipe's.
            anchor_scale: Side of the smallest anchor in strides; by default the recipe's.
            octaves: Anchor sizes per level; by default the recipe's.
            val_share: Fraction of the images for val, if the dataset is not divided.
            val_seed: Seed of that division.
            quick: Check the annotations only: open no images and write no contact sheets.
            workers: Threads that decode images.
            json: Print one JSON object instead.
        """
        from spinet.doctor.examine import examine
        from spinet.engine.task import detector_settings
        from spinet.errors import SpinetError
        from spinet.formats.splits import Division
        from spinet.recipes import load_recipe

        settings = detector_settings(load_recipe(recipe))
        if octaves is not None:
            if not 1 <= octaves <= 100:
                raise SpinetError(f"--octaves is {octaves}; must be from 1 to 100")
            settings = replace(settings, shapes=replace(settings.shapes, octaves=octaves))
        if image_size is not None:
            settings = replace(settings, image_size=image_size)
        if anchor_scale is not None:
            settings = replace(settings, anchor_scale=anchor_scale)
        if not 0 <= val_share < 1:
            raise SpinetError(f"--val-share is {val_share:g}; must be at least 0 and below 1")
        division = Division(val_share, val_seed) if val_share else None
        with progress_bar("checking images") as progress:
            pictures = None if quick else out
            report = examine(
                root, settings, pictures=pictures, quick=quick, workers=workers, progress=progress, division=division
            )
        if json:
            sys.stdout.write(json_text.dumps(report.to_dict(), indent=1) + "\n")
        else:
            _print(report)
        if report.count("error"):
            raise SystemExit(1)

    tyro.cli(command, args=args, prog="spinet doctor")


def _print(report: "DatasetReport") -> None:
    say(f"{report.root}: {report.format} format\n" if report.boxes else f"{report.root}: {report.format}\n")
    columns = ("objects", "without objects", "median long side") if report.boxes else ()
    splits = Table("split", "images", *columns, box=None)
    for name, split in report.splits.items():
        row = (split.images, split.objects, split.empty, split.median_side)[: 1 + len(columns)]
        splits.add_row(name, *(f"{number:,}" for number in row))
    say(splits)
    say(_class_table(report))
    if report.sizes:
        say(_size_table(report.sizes))
    for finding in report.findings:
        say(f"{finding.severity}: {finding.text}")
    counts = ", ".join(f"{report.count(name)} {name}s" for name in ("error", "warning", "hint"))
    say(f"\nverdict: {counts}" if report.findings else "verdict: no problems found")
    if report.pictures:
        say(f"contact sheets of {len(report.pictures)} classes: {report.pictures[0].parent}")


def _class_table(report: "DatasetReport", rows: int = 20) -> Table:
    """Return a table of the most frequent classes, with the rest summed up."""
    noun = "objects" if report.boxes else "images"
    table = Table("class", *(f"{split} {noun}" for split in report.splits), box=None)
    ordered = sorted(report.classes.items(), key=lambda item: -sum(item[1].values()))
    for name, counts in ordered[:rows]:
        table.add_row(name, *(f"{counts.get(split, 0):,}" for split in report.splits))
    if len(ordered) > rows:
        rest = [counts for _, counts in ordered[rows:]]
        sums = (sum(counts.get(split, 0) for counts in rest) for split in report.splits)
        table.add_row(f"{len(rest)} more", *(f"{number:,}" for number in sums))
    return table


def _size_table(sizes: "SizeTable") -> Table:
    scale, shapes = sizes.anchor_scale, sizes.shapes
    bounds = [*(scale * 2**level for level in shapes.levels), shapes.largest(scale)]
    ranges = zip(sizes.levels.items(), bounds[:-1], bounds[1:], strict=True)
    table = Table("size of training objects", "anchors", "fraction", box=None)
    table.title = f"at {sizes.image_size} pixels, anchor scale {scale:g}; size is the square root of the area"
    table.title_justify = "left"
    table.add_row(f"below {bounds[0]:g}", "smaller than all", f"{sizes.below:.1%}")
    for (level, fraction), bottom, top in ranges:
        # With one octave the last level's smallest anchor is also its largest.
        if bottom < top:
            table.add_row(f"{bottom:g} to {top:.0f}", f"level {level}", f"{fraction:.1%}")
    table.add_row(f"above {bounds[-1]:.0f}", "larger than all", f"{sizes.above:.1%}")
    for other, fraction in sizes.matched.items():
        table.add_row("any", f"IoU of 0.5 or more, scale {other:g}", f"{fraction:.1%}")
    return table
