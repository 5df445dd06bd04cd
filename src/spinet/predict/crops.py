"""Image folders for classification, cropped from the boxes of a detection dataset.

The paper's iNaturalist-bbox (v1, section 5.6) is such a dataset: each box enlarged to 1.5 times its width and height.
"""

import json
import math
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from spinet.data.coco import CocoDataset
from spinet.data.unread import Unread
from spinet.errors import SpinetError
from spinet.files import unique_names, write_atomically

SPLITS = ("train", "val")
JPEG_QUALITY = 95
# Bytes of a folder name; most file systems allow 255.
LONGEST_NAME = 200
# Names that Windows reserves for devices.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class CropReport:
    """What `crop_boxes` wrote and what it left out.

    Attributes:
        crops: crops per class, for each split.
        small: boxes smaller than `min_side`, for each split.
        left_out: classes without training boxes, which have no folder.
        folders: the folder of each class whose name cannot be a file name.
        warnings: what is wrong with the dataset, such as images that cannot be read, of which there are no crops.
    """

    crops: dict[str, dict[str, int]]
    small: dict[str, int]
    left_out: tuple[str, ...]
    folders: dict[str, str]
    warnings: tuple[str, ...] = ()


def crop_boxes(
    root: str | Path,
    out: str | Path,
    *,
    splits: Sequence[str] = SPLITS,
    context: float = 1.5,
    size: int | None = None,
    min_side: float = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CropReport:
    """Write the objects of a detection dataset as `OUT/{train,val}/CLASS/*.jpg`, without crowd regions.

    `OUT/crops.json` holds the settings. Nothing is left behind on errors.

    Args:
        root: a folder that `CocoDataset` reads.
        out: a new or empty folder.
        splits: the splits to crop.
        context: crop size divided by box size; crops end at the edge of the image.
        size: crops whose long side is longer are shrunk to it, in pixels.
        min_side: boxes with a shorter side are skipped, in pixels.
        progress: called with the number of crops written and the total.

    Raises:
        SpinetError: an argument is out of range, the dataset is invalid, fewer than two classes have boxes, or
            writing failed.
    """
    root, out = Path(root), Path(out)
    _check(out, context, size, min_side)
    datasets = {split: CocoDataset(root, split) for split in splits}
    objects = {split: _objects(dataset, context, min_side) for split, dataset in datasets.items()}
    all_classes = {crop.name for crops in objects.values() for crop in crops}
    trained = {crop.name for crop in objects["train"]} if "train" in objects else all_classes
    if len(trained) < 2:
        names = ", ".join(trained) or "none"
        raise SpinetError(f"{root} has boxes of fewer than two classes ({names}); classification needs at least two")
    kept = {split: [crop for crop in crops if crop.name in trained] for split, crops in objects.items()}
    folders = folder_names(trained)
    renamed = {name: folder for name, folder in folders.items() if name != folder}
    settings = {"context": context, "size": size, "min_side": min_side, "folders": renamed}
    total, done = sum(map(len, kept.values())), Counter[tuple[str, str]]()
    unread = {split: Unread(split, len(dataset)) for split, dataset in datasets.items()}
    with _new_folder(out) as built:
        write_atomically(built / "crops.json", json.dumps(settings, indent=1) + "\n")
        for split, crops in kept.items():
            for index, group in groupby(crops, key=lambda crop: crop.image):
                image = unread[split].image_of(datasets[split], index)
                if image is None:
                    continue
                for crop in group:
                    folder = built / split / folders[crop.name]
                    folder.mkdir(parents=True, exist_ok=True)
                    _write_jpeg(image, crop.window, size, folder / crop.file)
                    done[split, crop.name] += 1
                if progress:
                    progress(done.total(), total)
    findings = [finding for dataset in datasets.values() for finding in dataset.findings]
    warnings = [finding.text for finding in findings if finding.severity == "warning"]
    return CropReport(
        crops={split: {name: count for (part, name), count in done.items() if part == split} for split in datasets},
        small={split: sum(len(s.boxes) for s in datasets[split].samples) - len(objects[split]) for split in datasets},
        left_out=tuple(sorted(all_classes - trained)),
        folders=renamed,
        warnings=(
            *warnings,
            *(f"{each.text()}; there are no crops of them" for each in unread.values() if each.faults),
        ),
    )


def crop_window(box: Iterable[float], context: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the crop around a box in integer pixels (left, top, right, bottom).

    Args:
        box: XYXY in pixels, inside the image.
        context: crop size divided by box size.
        width: of the image, in pixels.
        height: of the image, in pixels.

    >>> crop_window((10, 10, 30, 20), 1.5, 100, 100), crop_window((0, 0, 20, 20), 1.5, 100, 22)
    ((5, 7, 35, 23), (0, 0, 25, 22))
    """
    left, top, right, bottom = box
    across, down = (context - 1) / 2 * (right - left), (context - 1) / 2 * (bottom - top)
    return (
        max(math.floor(left - across), 0),
        max(math.floor(top - down), 0),
        min(math.ceil(right + across), width),
        min(math.ceil(bottom + down), height),
    )


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """Return a unique folder name for each class name: the name itself if it is a valid file name.

    >>> folder_names(["cat", "Cat", "a/b", "a:b"])
    {'Cat': 'Cat', 'a/b': 'a_b', 'a:b': 'a_b-2', 'cat': 'cat-2'}
    """
    names = sorted(set(names))
    return dict(zip(names, unique_names(map(_safe, names)), strict=True))


def _safe(name: str) -> str:
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", unicodedata.normalize("NFC", name)).rstrip(". ").lstrip(". ")
    safe = safe.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore").rstrip(". ")
    return f"class {safe}".rstrip() if not safe or RESERVED.fullmatch(safe) else safe


def _check(out: Path, context: float, size: int | None, min_side: float) -> None:
    if not 1 <= context < math.inf:
        raise SpinetError(f"context is {context}; it must be at least 1, the box itself")
    if size is not None and size < 1:
        raise SpinetError(f"size is {size}; it must be at least 1 pixel")
    if not 0 <= min_side < math.inf:
        raise SpinetError(f"min_side is {min_side}; it must be at least 0 pixels")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise SpinetError(f"{out} exists already; the output must be a new or empty folder")


class _Crop(NamedTuple):
    """An object to crop: the index of its image, its class, the name of its file, and where it is in the image."""

    image: int
    name: str
    file: str
    window: tuple[int, int, int, int]


def _objects(dataset: CocoDataset, context: float, min_side: float) -> list[_Crop]:
    """Return the objects that are large enough, image by image."""
    objects = []
    for index, sample in enumerate(dataset.samples):
        sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]).amin(dim=1)
        rows = zip(sample.boxes.tolist(), sample.labels.tolist(), sides.tolist(), strict=True)
        for number, (box, label, side) in enumerate(rows):
            if side >= min_side:
                # Image ids are unique within a split, hence these names too.
                file = f"{sample.image_id:06}-{number:03}.jpg"
                window = crop_window(box, context, sample.width, sample.height)
                objects.append(_Crop(index, dataset.class_names[label], file, window))
    return objects


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` at the end, or is deleted on errors."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".crops-", dir=out.parent) as temporary:
            built = Path(temporary) / "crops"
            built.mkdir()
            yield built
            if out.is_dir():
                out.rmdir()
            built.replace(out)
    except OSError as error:
        raise SpinetError(f"could not write the crops {out}: {error.strerror}") from error


def _write_jpeg(image: Tensor, window: tuple[int, int, int, int], size: int | None, file: Path) -> None:
    """Write a crop, its long side at most `size`."""
    left, top, right, bottom = window
    crop: Image.Image = to_pil_image(image[:, top:bottom, left:right])
    if size is not None and max(crop.size) > size:
        crop.thumbnail((size, size), Image.Resampling.LANCZOS)
    # Full colour resolution (4:4:4): small crops suffer most from halving it.
    crop.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
