"""`spinet split`: divide an export into train and val."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say


def split_command(args: list[str]) -> None:
    """Divide a dataset without a val split into train and val, by lists beside it."""

    def command(
        root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        val_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        """Write which images are train and which are val, in the format of the dataset.

        Images are not copied, and no file is overwritten. Images that look alike stay together, and the classes are
        divided evenly. A training with --data.val-share divides in the same way and writes nothing.

        Args:
            root: Export in COCO, YOLO or Pascal VOC format, or class folders.
            val_share: Fraction of the images for val.
            seed: Seed of the choice.
        """
        from spinet.data.split_lists import split_dataset
        from spinet.errors import SpinetError
        from spinet.formats.splits import Division

        if not 0 < val_share < 1:
            raise SpinetError(f"--val-share is {val_share:g}; must be above 0 and below 1")
        written = split_dataset(root, Division(val_share, seed))
        for finding in written.findings:
            say(f"warning: {finding.text}" if finding.severity == "warning" else finding.text)
        for file in written.files:
            say(f"wrote {file}")
        say(f"train with --data.root {written.root}")

    tyro.cli(command, args=args, prog="spinet split")
