"""Draws docs/detections.jpg: four val images of bccd with what the weights that come with Spinet detect in them.

usage: python benchmarks/readme_picture.py DIR [-o docs/detections.jpg]
"""

from pathlib import Path
from typing import Annotated

import tyro
from PIL import Image

import spinet

NAMES = ("000361.jpg", "000364.jpg", "000350.jpg", "000330.jpg")
GAP, SIDE, QUALITY = 6, 1000, 82


def main(
    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("docs/detections.jpg"),
) -> None:
    """Draw the picture.

    Args:
        root: the dataset folder of bccd.
        out: the picture.
    """
    model = spinet.load("published/bccd-small")
    found = [model.predict(root / "val" / name, score_threshold="auto").plot().convert("RGB") for name in NAMES]
    width, height = found[0].size
    sheet = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for index, image in enumerate(found):
        sheet.paste(image, (index % 2 * (width + GAP), index // 2 * (height + GAP)))
    sheet.thumbnail((SIDE, SIDE))
    sheet.save(out, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    tyro.cli(main)
