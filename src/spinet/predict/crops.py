"""From boxes to classes: image folders of the objects of a detection data set.

The paper's iNaturalist-bbox (v1, section 5.6) is made so: each box enlarged to 1.5 times its width and height.
"""

import io
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
from spinet.errors import SpinetError
from spinet.files import write_atomically

SPLITS = ("train", "val")
JPEG_QUALITY = 95
# Bytes of a folder's name; most file systems allow 255.
LONGEST_NAME = 200
# Names that Windows keeps for devices.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class CropReport:
    """What `crop_boxes` wrote and what it left out.

    Attributes:
        crops: for each split, how many crops each class has.
        small: for each split, how many boxes were smaller than `min_side`.
        left_out: classes that only the val split has, which nobody could learn; they have no folder.
        folders: the folder of each class whose name is no file name.
    """

    crops: dict[str, dict[str, int]]
    small: dict[str, int]
    left_out: tuple[str, ...]
    folders: dict[str, str]


def crop_boxes(
    root: Path,
    out: Path,
    *,
    splits: Sequence[str] = SPLITS,
    context: float = 1.5,
    size: int | None = None,
    min_side: float = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CropReport:
    """Write `OUT/{train,val}/CLASS/*.jpg` of the objects of a detection data set; crowd regions are left out.

    Beside them `OUT/crops.json` says how they were made. Nothing is left behind when it fails.

    Args:
        root: a folder that `CocoDataset` reads.
        out: a folder that is not there yet, or empty.
        splits: which to crop.
        context: width and height of a crop divided by those of its box; what is outside the image is cut off.
        size: crops with a longer side are made smaller, to this many pixels.
        min_side: boxes with a shorter side are left out, pixels.
        progress: called with the number of crops written and of all.

    Raises:
        SpinetError: an argument is out of range, the data set is faulty, fewer than two classes have boxes, or
            writing failed.
    """
    _check(out, context, size, min_side)
    datasets = {split: CocoDataset(root, split) for split in splits}
    objects = {split: _objects(dataset, min_side) for split, dataset in datasets.items()}
    all_boxes = {split: sum(len(sample.boxes) for sample in dataset.samples) for split, dataset in datasets.items()}
    classes = {split: {each.name for each in found} for split, found in objects.items()}
    every = set().union(*classes.values())
    learnt = classes.get("train", every)
    if len(learnt) < 2:
        found = ", ".join(learnt) or "none"
        raise SpinetError(f"{root} has boxes of fewer than two classes ({found}); classification needs two or more")
    kept = {split: [each for each in found if each.name in learnt] for split, found in objects.items()}
    folders = folder_names(learnt)
    report = CropReport(
        crops={split: dict(Counter(each.name for each in found)) for split, found in kept.items()},
        small={split: all_boxes[split] - len(found) for split, found in objects.items()},
        left_out=tuple(sorted(every - learnt)),
        folders={name: folder for name, folder in folders.items() if name != folder},
    )
    settings = {"context": context, "size": size, "min_side": min_side, "folders": report.folders}
    done, total = 0, sum(map(len, kept.values()))
    with _built_apart(out) as built:
        write_atomically(built / "crops.json", json.dumps(settings, indent=1) + "\n")
        for split, dataset in datasets.items():
            for folder in {folders[each.name] for each in kept[split]}:
                (built / split / folder).mkdir(parents=True)
            for index, group in groupby(kept[split], key=lambda each: each.image):
                image, sample = dataset.image(index), dataset.samples[index]
                for each in group:
                    window = crop_window(sample.boxes[each.place].tolist(), context, sample.width, sample.height)
                    # Image ids are unique in a split, so that these names are.
                    file = built / split / folders[each.name] / f"{sample.image_id:06}-{each.place:03}.jpg"
                    file.write_bytes(_jpeg(image, window, size))
                    done += 1
                if progress:
                    progress(done, total)
    return report


def crop_window(box: Iterable[float], context: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of an image around a box, in whole pixels (left, top, right, bottom).

    Args:
        box: XYXY in pixels, inside the image.
        context: width and height of the part divided by those of the box.
        width: of the image.
        height: of the image.

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
    """Return a folder name for each class name: itself where it is one, and never the same for two.

    >>> folder_names(["cat", "Cat", "a/b", "a:b"])
    {'Cat': 'Cat', 'a/b': 'a_b', 'a:b': 'a_b-2', 'cat': 'cat-2'}
    """
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        safe = _safe(name)
        folder, number = safe, 1
        # Some file systems take capitals and small letters for the same.
        while folder.casefold() in taken:
            number += 1
            folder = f"{safe}-{number}"
        taken.add(folder.casefold())
        folders[name] = folder
    return folders


def _safe(name: str) -> str:
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", unicodedata.normalize("NFC", name)).rstrip(". ").lstrip(". ")
    safe = safe.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore").rstrip(". ")
    return f"class {safe}".rstrip() if not safe or RESERVED.fullmatch(safe) else safe


def _check(out: Path, context: float, size: int | None, min_side: float) -> None:
    if not 1 <= context < math.inf:
        raise SpinetError(f"context is {context}; allowed is 1 (the box alone) or more")
    if size is not None and size < 1:
        raise SpinetError(f"size is {size}; allowed is any whole number of pixels from 1")
    if not 0 <= min_side < math.inf:
        raise SpinetError(f"min_side is {min_side}; allowed is 0 or more pixels")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise SpinetError(f"{out} is there already; allowed is a new folder or an empty one")


class _Object(NamedTuple):
    """An object to crop: the place of its image, its own among the boxes, and its class."""

    image: int
    place: int
    name: str


def _objects(dataset: CocoDataset, min_side: float) -> list[_Object]:
    """Return the objects that are large enough, image by image."""
    found = []
    for index, sample in enumerate(dataset.samples):
        sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]).amin(dim=1)
        for box, (side, label) in enumerate(zip(sides.tolist(), sample.labels.tolist(), strict=True)):
            if side >= min_side:
                found.append(_Object(index, box, dataset.class_names[label]))
    return found


@contextmanager
def _built_apart(out: Path) -> Iterator[Path]:
    """Give a folder that becomes `out` at the end, or goes away, so that nobody sees half of it."""
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


def _jpeg(image: Tensor, window: tuple[int, int, int, int], size: int | None) -> bytes:
    """Return a part of an image as a JPEG file, its long side at most `size`."""
    left, top, right, bottom = window
    picture: Image.Image = to_pil_image(image[:, top:bottom, left:right])
    if size is not None and max(picture.size) > size:
        picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Colour at full resolution (4:4:4), which small crops need most.
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
