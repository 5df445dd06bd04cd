"""`spinet doctor`: what is wrong with a data set, before it costs a training."""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spinet.commands.console import say

if TYPE_CHECKING:
    from spinet.data.check_anchors import SizeTable
    from spinet.data.doctor import Report


def doctor_command(args: list[str]) -> None:
    """What is wrong with a data set, and a picture of each class."""

    def command(
        root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("doctor"),
        recipe: str = "small-gpu",
        image_size: int | None = None,
        anchor_scale: float | None = None,
        quick: bool = False,
        workers: int = 2,
        json: bool = False,
    ) -> None:
        """Report what ruins trainings: broken and repeated images, odd boxes, rare classes, anchors that do not fit.

        Ends with exit code 1 if there are errors.

        Args:
            root: Data set folder in COCO, YOLO or Pascal VOC format.
            out: Folder for one picture of sampled boxes per class.
            recipe: Recipe or config.json whose image size, anchor scale and objects per image are judged.
            image_size: Side of the square that images are fitted into, pixels; the recipe's if left out.
            anchor_scale: Side of the smallest anchor in strides; the recipe's if left out.
            quick: Look at the annotations only: no image is opened and no picture made.
            workers: Threads that decode images.
            json: Print one JSON object instead.
        """
        from spinet.data.doctor import examine
        from spinet.recipes import load_recipe

        config = load_recipe(recipe)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("looking at images", total=None)
            report = examine(
                root,
                image_size=image_size or config.data.image_size,
                anchor_scale=anchor_scale or config.model.anchor_scale,
                max_objects=config.data.max_objects,
                pictures=None if quick else out,
                quick=quick,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        if json:
            sys.stdout.write(json_text.dumps(report.to_dict(), indent=1) + "\n")
        else:
            _print(report)
        if report.count("error"):
            raise SystemExit(1)

    tyro.cli(command, args=args, prog="spinet doctor")


def _print(report: "Report") -> None:
    say(f"{report.root}: {report.format} format\n")
    splits = Table("split", "images", "objects", "without objects", "median long side", box=None)
    for name, split in report.splits.items():
        row = (split.images, split.objects, split.empty, split.median_side)
        splits.add_row(name, *(f"{number:,}" for number in row))
    say(splits)
    say(_class_table(report))
    if report.sizes:
        say(_size_table(report.sizes))
    for finding in report.findings:
        say(f"{finding.severity}: {finding.text}")
    counts = ", ".join(f"{report.count(name)} {name}s" for name in ("error", "warning", "hint"))
    say(f"\nverdict: {counts}" if report.findings else "verdict: nothing found")
    if report.pictures:
        say(f"pictures of {len(report.pictures)} classes: {report.pictures[0].parent}")


def _class_table(report: "Report", rows: int = 20) -> Table:
    """The most frequent classes, and how many more there are."""
    table = Table("class", *(f"{split} objects" for split in report.splits), box=None)
    ordered = sorted(report.classes.items(), key=lambda item: -sum(item[1].values()))
    for name, counts in ordered[:rows]:
        table.add_row(name, *(f"{counts.get(split, 0):,}" for split in report.splits))
    if len(ordered) > rows:
        rest = [counts for _, counts in ordered[rows:]]
        sums = (sum(counts.get(split, 0) for counts in rest) for split in report.splits)
        table.add_row(f"{len(rest)} more", *(f"{number:,}" for number in sums))
    return table


def _size_table(sizes: "SizeTable") -> Table:
    scale, last = sizes.anchor_scale, max(sizes.levels)
    table = Table("size of training objects", "anchors", "share", box=None)
    table.title = f"at {sizes.image_size} pixels, anchor scale {scale:g}; size is the root of the area"
    table.title_justify = "left"
    table.add_row(f"below {8 * scale:g}", "smaller than all", f"{sizes.below:.1%}")
    for level, share in sizes.levels.items():
        top = scale * 2**level * (2 ** (2 / 3) if level == last else 2)
        table.add_row(f"{scale * 2**level:g} to {top:.0f}", f"level {level}", f"{share:.1%}")
    table.add_row(f"above {scale * 2 ** (last + 2 / 3):.0f}", "larger than all", f"{sizes.above:.1%}")
    for other, share in sizes.matched.items():
        table.add_row("any", f"overlap of half or more, scale {other:g}", f"{share:.1%}")
    return table
