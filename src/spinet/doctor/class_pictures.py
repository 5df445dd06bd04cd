"""One contact sheet per class with crops of its boxes, to check the labels by eye."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spinet.data.coco import CocoDataset
from spinet.doctor.annotations import Objects
from spinet.errors import SpinetError
from spinet.files import write_atomically

COLUMNS, ROWS = 6, 4
TILE, CAPTION, HEADER, GAP = 180, 18, 34, 6
# A crop is twice its box, and at least this many pixels.
CONTEXT, MIN_CROP = 2.0, 24
# Always shown: this many of the smallest, the largest and the most elongated boxes.
EXTREMES = 3
INK, PAPER, MARK, OUTSIDE = (30, 30, 30), (255, 255, 255), (255, 40, 40), (150, 150, 150)


def write_class_pictures(dataset: CocoDataset, objects: Objects, folder: Path, seed: int = 0) -> Iterator[Path]:
    """Write a PNG for each class that has objects, and yield its path; `seed` is that of the choice of boxes."""
    for label, name in enumerate(dataset.class_names):
        chosen = _chosen(objects, label, np.random.default_rng([seed, label]))
        if not len(chosen):
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        path = folder / f"{label:03d}-{slug or 'class'}.png"
        total = int((objects.labels == label).sum())
        title = f"{name}: {len(chosen)} of {total:,} boxes in {dataset.split}, extremes and a sample by size"
        buffer = io.BytesIO()
        _sheet(dataset, objects, chosen, title).save(buffer, "PNG")
        write_atomically(path, buffer.getvalue())
        yield path


def _chosen(objects: Objects, label: int, rng: np.random.Generator) -> list[int]:
    """Return indices of at most one sheet of objects, by size: the extremes, and a sample of many images."""
    positions = rng.permutation(np.flatnonzero(objects.labels == label))
    sides = objects.boxes[positions, 2:] - objects.boxes[positions, :2]
    by_area = sides.prod(axis=1).argsort(kind="stable")
    by_shape = np.abs(np.log(sides[:, 0] / sides[:, 1])).argsort(kind="stable")
    _, first = np.unique(objects.images[positions], return_index=True)
    picks = np.concatenate(
        [by_area[:EXTREMES], by_area[-EXTREMES:], by_shape[-EXTREMES:], first[rng.permutation(len(first))]]
    )
    # Without duplicates; the remaining objects fill the sheet of a class with few images.
    picked = list(dict.fromkeys([*picks.tolist(), *range(len(positions))]))[: COLUMNS * ROWS]
    rank = np.empty(len(positions), dtype=np.int64)
    rank[by_area] = np.arange(len(positions))
    return [int(positions[pick]) for pick in sorted(picked, key=lambda pick: rank[pick])]


def _sheet(dataset: CocoDataset, objects: Objects, chosen: list[int], title: str) -> Image.Image:
    rows = -(-len(chosen) // COLUMNS)
    columns = min(COLUMNS, len(chosen))
    width = max(columns * (TILE + GAP) + GAP, 480)
    sheet = Image.new("RGB", (width, HEADER + rows * (TILE + CAPTION + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), title, fill=INK, font=ImageFont.load_default(size=18))
    font = ImageFont.load_default(size=12)
    for number, position in enumerate(chosen):
        x = GAP + number % COLUMNS * (TILE + GAP)
        y = HEADER + number // COLUMNS * (TILE + CAPTION + GAP)
        index, box = int(objects.images[position]), objects.boxes[position].tolist()
        sheet.paste(_tile(dataset, index, box), (x, y))
        sides = f"{box[2] - box[0]:.0f} x {box[3] - box[1]:.0f}"
        pen.text((x, y + TILE + 1), f"{dataset.samples[index].path.stem[-14:]}  {sides}", fill=INK, font=font)
    return sheet


def _tile(dataset: CocoDataset, index: int, box: list[float]) -> Image.Image:
    """Return an enlarged crop around a box with the box drawn; grey for an unreadable image."""
    try:
        image = Image.fromarray(dataset.image(index).permute(1, 2, 0).numpy())
    except SpinetError:
        return Image.new("RGB", (TILE, TILE), OUTSIDE)
    left, top, right, bottom = box
    side = max(CONTEXT * max(right - left, bottom - top), MIN_CROP)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    corners = (x, y, x + side, y + side)
    crop = image.transform((TILE, TILE), Image.Transform.EXTENT, corners, Image.Resampling.BILINEAR, fillcolor=OUTSIDE)
    factor = TILE / side
    pen = ImageDraw.Draw(crop)
    pen.rectangle(
        [(left - x) * factor, (top - y) * factor, (right - x) * factor, (bottom - y) * factor], outline=MARK, width=2
    )
    return crop
