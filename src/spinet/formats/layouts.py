"""Recognizing the format of a dataset folder, and reading its splits as COCO dicts."""

import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from spinet.errors import SpinetError
from spinet.formats.annotations import RawSplit
from spinet.formats.coco_files import coco_files, read_coco
from spinet.formats.findings import some
from spinet.formats.foreign import foreign_format
from spinet.formats.listing import has_image, is_folder, is_hidden
from spinet.formats.parsing import readable
from spinet.formats.splits import SPLIT_NAMES, WHOLE
from spinet.formats.voc import read_voc
from spinet.formats.voc_files import voc_sign, voc_trace
from spinet.formats.yolo import read_yolo
from spinet.formats.yolo_files import yolo_sign, yolo_trace

LAYOUTS = (
    "COCO: annotations/instances_{train,val}.json; YOLO: data.yaml, images/, labels/; "
    "Pascal VOC: Annotations/, JPEGImages/, ImageSets/Main/"
)


def read_split(root: Path, split: str, sizes: Mapping[Path, tuple[int, int]] | None = None) -> RawSplit:
    """Read one split of a dataset in COCO, YOLO or Pascal VOC format as a COCO dict; "all" is what is not divided.

    See `read_coco`, `read_yolo` and `read_voc` for the layouts. In formats without ids, images get ids from 1 in the
    order of their sorted paths, and classes get category ids from 1. `root` may be the YAML file of a YOLO dataset;
    `sizes` are known (width, height) of images, others are read from the files where a format needs them.

    Raises:
        SpinetError: the format is unclear, or a file is missing or invalid.
    """
    if split not in (*SPLIT_NAMES, WHOLE):
        raise SpinetError(f"unknown split {split!r}; expected 'train' or 'val'")
    with readable(root):
        name = recognise(root)
        if name == "YOLO":
            return read_yolo(root, split, sizes or {})
        if name == "Pascal VOC":
            return read_voc(root, split, sizes or {})
        return read_coco(root, split)


def recognise(root: Path) -> str:
    """Return "COCO", "YOLO" or "Pascal VOC"; an unknown or ambiguous format is an error."""
    if root.is_file() and root.suffix.lower() in (".yaml", ".yml"):
        return "YOLO"
    if not root.is_dir():
        raise SpinetError(f"there is no dataset folder {root}")
    with readable(root):
        found = formats_in(root)
        if not found:
            _refuse_classes(root)
        foreign = "" if found else foreign_format(root)
        content = some(sorted(entry.name for entry in root.iterdir()), 3) or "nothing"
    if not found:
        if foreign:
            raise SpinetError(foreign)
        raise SpinetError(f"{root} is not a dataset folder; expected {LAYOUTS}; found {content}")
    if len(found) > 1:
        both = " and of ".join(f"{name} ({sign.relative_to(root)})" for name, sign in found.items())
        raise SpinetError(f"{root} holds files of {both}; expected one format: move the others' files elsewhere")
    return next(iter(found))


def formats_in(root: Path) -> dict[str, Path]:
    """Return the formats of a folder, each with a file that shows it."""
    found = _found(root, {"COCO": _coco_sign, "YOLO": yolo_sign, "Pascal VOC": voc_sign})
    # Files that may also lie in datasets of another format.
    return found or _found(root, {"COCO": _coco_trace, "YOLO": yolo_trace, "Pascal VOC": voc_trace})


def _refuse_classes(root: Path) -> None:
    for split in _split_folders():
        names = class_folders(root / split) if (root / split).is_dir() else []
        with_images = (name for name in names if has_image(root / split / name))
        first = list(islice(with_images, 2))
        # A single folder may be the images of another format whose annotations are missing.
        if len(first) == 2:
            raise SpinetError(
                f"{root} holds image classes ({some([f'{split}/{name}' for name in first])} ...), not boxes; train a"
                f" classifier with the recipe small-cpu-classes; boxes are read from {LAYOUTS}"
            )


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in the folder of a split of image folders, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_folder(entry) and not is_hidden(entry.name))


def _found(root: Path, signs: Mapping[str, Callable[[Path], Path | None]]) -> dict[str, Path]:
    return {name: sign for name, look in signs.items() if (sign := look(root))}


def _coco_sign(root: Path) -> Path | None:
    found = (file for files in coco_files(root).values() for file in files)
    return next((file for file in found if file.parent != root), None)


def _coco_trace(root: Path) -> Path | None:
    return next((file for files in coco_files(root).values() for file in files), None)


def _split_folders() -> tuple[str, ...]:
    return tuple(name for names in SPLIT_NAMES.values() for name in names)
