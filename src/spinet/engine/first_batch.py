"""What the network sees, written before the first step: the first batch as a picture, and statistics of the labels."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spinet.data.batch import Batch
from spinet.data.dataset import ImageDataset
from spinet.data.label_statistics import label_statistics
from spinet.data.transforms import IMAGE_MEAN, IMAGE_STD
from spinet.draw.colours import CROWD, FILL, class_colour
from spinet.draw.text import printable, shorten
from spinet.engine.run_folder import check_present
from spinet.files import write_atomically

# In the run folder.
PICTURE, LABELS = "train-batch.jpg", "labels.json"
# Images of the picture, their side, the space between them, and the height of a line below each, in pixels.
MOST, TILE, GAP, CAPTION = 16, 320, 6, 20
PAPER, INK = (255, 255, 255), (30, 30, 30)


def shown_first(batches: Iterator[Batch], show: Callable[[Batch], None]) -> Iterator[Batch]:
    """Return the same batches, after `show` was called with the first one."""
    for number, batch in enumerate(batches):
        if not number:
            show(batch)
        yield batch


def write_first_look(
    run: Path, batch: Batch, train: ImageDataset, val: ImageDataset, image_size: int, warn: Callable[[str], None]
) -> list[Path]:
    """Write the picture and the statistics, and return those that were written; a failure is a warning.

    Nothing is drawn at random, so the training that follows is the same without it.
    """
    written: list[Path] = []
    try:
        check_present(run)
        parts = {"train": label_statistics(train, image_size), "val": label_statistics(val, image_size)}
        write_atomically(run / LABELS, json.dumps({"image_size": image_size, **parts}) + "\n")
        written.append(run / LABELS)
        buffer = io.BytesIO()
        draw_batch(batch, train.class_names).save(buffer, "JPEG", quality=85)
        write_atomically(run / PICTURE, buffer.getvalue())
        written.append(run / PICTURE)
    except Exception as error:  # no training may end for a picture
        warn(f"could not show what the network sees ({error!s:.200}); the training goes on without")
    return written


def read_labels(run: Path) -> dict[str, Any]:
    """Return the statistics of a run; nothing if they are missing or corrupt."""
    try:
        content = json.loads((run / LABELS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"train", "val"} <= content.keys() else {}


def draw_batch(batch: Batch, class_names: Sequence[str]) -> Image.Image:
    """Draw the images of a training batch, 16 at most, with boxes, masks and names of classes.

    Args:
        batch: as a network gets it: after augmentation, normalized and padded, on the CPU.
        class_names: the name of each label.
    """
    images = batch.images.to(torch.device("cpu"))[:MOST]
    square = ceil(sqrt(len(images)))
    columns = min((square, square + 1), key=lambda width: -len(images) % width)
    rows = ceil(len(images) / columns)
    is_classes = "boxes" not in batch.targets
    height = TILE + (CAPTION if is_classes else 0)
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for index, image in enumerate(images):
        targets = {name: values[index] for name, values in batch.targets.items()}
        x, y = GAP + index % columns * (TILE + GAP), GAP + index // columns * (height + GAP)
        tile, scale = _tile(image)
        if is_classes:
            name = shorten(printable(class_names[int(targets["labels"])]), TILE, 14)
            ImageDraw.Draw(sheet).text((x, y + TILE + 2), name, fill=INK, font=ImageFont.load_default(size=14))
        else:
            _draw_objects(tile, targets, scale, class_names)
        sheet.paste(tile, (x, y))
    return sheet


def _tile(image: Tensor) -> tuple[Image.Image, float]:
    """Return a normalized image `(3, H, W)` with its long side resized to that of a tile, and its scale."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    pixels = ((image.detach().float() * std + mean) * 255).round().clamp(0, 255).byte()
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR), scale


def _draw_objects(tile: Image.Image, targets: dict[str, Tensor], scale: float, class_names: Sequence[str]) -> None:
    rows = [row for row, label in enumerate(targets["labels"].tolist()) if label >= 0]
    boxes, labels = (targets["boxes"] * scale).tolist(), targets["labels"].tolist()
    if "masks" in targets:
        for row in rows:
            _draw_mask(tile, targets["masks"][row], boxes[row], class_colour(labels[row]))
    pen = ImageDraw.Draw(tile)
    for row in rows:
        pen.rectangle(boxes[row], outline=class_colour(labels[row]), width=2)
    for row in rows if len(rows) <= CROWD and len(class_names) > 1 else ():
        _draw_name(tile, class_names[labels[row]], boxes[row][0], boxes[row][1], class_colour(labels[row]))


def _draw_mask(tile: Image.Image, mask: Tensor, box: Sequence[float], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = (round(edge) for edge in box)
    size = (max(1, right - left), max(1, bottom - top))
    shape = Image.fromarray(mask.numpy() * round(255 * FILL)).resize(size, Image.Resampling.BILINEAR)
    tile.paste(colour, (left, top), shape)


def _draw_name(tile: Image.Image, name: str, left: float, top: float, colour: tuple[int, int, int]) -> None:
    """Draw a name above its box where there is space, else inside it."""
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(size=12)
    name = shorten(printable(name), TILE / 2, 12)
    x_0, y_0, x_1, y_1 = pen.textbbox((0, 0), name, font=font)
    width, height = x_1 - x_0 + 4, y_1 - y_0 + 4
    x, y = max(0.0, min(left, tile.width - width)), top - height if top >= height else top
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 2 - x_0, y + 2 - y_0), name, fill="white", font=font)
