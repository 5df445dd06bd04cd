"""Reading and checking a COCO annotation file; every fault becomes one sentence that says where it is."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spinet.errors import SpinetError

Entry = dict[str, Any]

# How tools name the two splits, in files and in folders.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation")}
ROBOFLOW_FILE = "_annotations.coco.json"


class RawSplit(NamedTuple):
    """One split of a data set of any format.

    Attributes:
        file: what lists its images or classes, for messages.
        folder: what the images' file names are relative to.
        raw: a COCO dict with images, categories and annotations, unchecked.
        places: file and line of each annotation, in formats whose annotations have no numbers of their own.
    """

    file: Path
    folder: Path
    raw: dict[str, Any]
    places: Sequence[tuple[Path, int]] = ()

    def annotation(self, index: int) -> str:
        """How messages call an annotation, and where it is."""
        if self.places:
            file, line = self.places[index]
            return f"{file}, line {line}"
        return f"{annotation_name(self.raw['annotations'][index], index + 1)} in {self.file}"


def read_coco(root: Path, split: str) -> RawSplit:
    """Read a split of a folder in COCO format.

    The layout is `ROOT/{train,val}` with `ROOT/annotations/instances_{train,val}.json`; the official one with a year,
    `ROOT/train2017` and `instances_train2017.json`; or Roboflow's, `ROOT/{train,valid}/_annotations.coco.json`.

    Raises:
        SpinetError: a folder or file is missing, unreadable, not JSON, or lacks one of COCO's lists.
    """
    folder, file = _locate(root, split)
    return RawSplit(file, folder, read_annotation_file(file))


def _locate(root: Path, split: str) -> tuple[Path, Path]:
    """Return the split's image folder and annotation file."""
    beside = [root / name for name in SPLIT_NAMES[split] if (root / name / ROBOFLOW_FILE).is_file()]
    if beside:
        return beside[0], beside[0] / ROBOFLOW_FILE
    layout = f"expected are {split}/ and annotations/instances_{split}.json, or both with a year ({split}2017)"
    names = sorted(entry.name for entry in root.iterdir())
    folders = [name for name in names if re.fullmatch(rf"{split}(\d{{4}})?", name) and (root / name).is_dir()]
    if not folders:
        found = ", ".join(names[:10]) or "nothing"
        raise SpinetError(f"{root} has no folder of {split} images; {layout}, found is {found}")
    files = {folder: root / "annotations" / f"instances_{folder}.json" for folder in folders}
    complete = [folder for folder, file in files.items() if file.is_file()]
    if not complete:
        raise SpinetError(f"the annotation file {files[folders[0]]} is missing; {layout}")
    if len(complete) > 1 and split not in complete:
        raise SpinetError(f"{root} has {' and '.join(complete)}; allowed is one annotated {split} folder")
    # Sorting has put the folder without a year first.
    return root / complete[0], files[complete[0]]


def read_annotation_file(file: Path) -> dict[str, Any]:
    """Read a JSON file that has COCO's three lists; their entries are not looked at.

    Raises:
        SpinetError: the file is unreadable, not JSON, or lacks one of the lists.
    """
    try:
        raw = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SpinetError(f"{file} is not valid JSON: {where}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise SpinetError(f"{file} is not valid JSON: byte {error.start:,} is not UTF-8 text") from error
    except OSError as error:
        raise SpinetError(f"could not read {file}: {error.strerror}") from error
    if not isinstance(raw, dict):
        raise SpinetError(
            f"{file} is not in COCO format: allowed is an object with images, annotations and categories,"
            f" found is a {type(raw).__name__}"
        )
    for key in ("images", "annotations", "categories"):
        if key not in raw:
            found = ", ".join(raw) or "nothing"
            raise SpinetError(f"{file} is not in COCO format: it lacks the key {key!r}, found is {found}")
        if not isinstance(raw[key], list) or not all(isinstance(entry, dict) for entry in raw[key]):
            raise SpinetError(f"{file} is not in COCO format: {key!r} is not a list of objects")
    return raw


def category_names(raw: dict[str, Any], file: Path) -> dict[int, str]:
    """Return the name of each category id, ids ascending.

    Raises:
        SpinetError: there is none, two share an id, or one has no name.
    """
    names: dict[int, str] = {}
    for position, category in enumerate(raw["categories"], start=1):
        category_id = _whole_number(category, "id", f"category number {position}", file)
        if category_id in names:
            raise SpinetError(f"{file} has two categories with id {category_id}; allowed is one")
        names[category_id] = _text(category, "name", f"category {category_id}", file)
    if not names:
        raise SpinetError(f"{file} has no categories; allowed is one or more")
    return dict(sorted(names.items()))


def image_entries(raw: dict[str, Any], file: Path) -> dict[int, Entry]:
    """Return the image entries by id, in the file's order.

    Raises:
        SpinetError: there is none, two share an id, or one lacks a file name or a size.
    """
    images: dict[int, Entry] = {}
    for position, image in enumerate(raw["images"], start=1):
        image_id = _whole_number(image, "id", f"image number {position}", file)
        name = f"image {image_id}"
        if image_id in images:
            raise SpinetError(f"{file} has two images with id {image_id}; allowed is one")
        _text(image, "file_name", name, file)
        for side in ("width", "height"):
            if _whole_number(image, side, name, file) < 1:
                raise SpinetError(f"{name} in {file} has {side} {image[side]}; allowed is 1 or more")
        images[image_id] = image
    if not images:
        raise SpinetError(f"{file} has no images; allowed is one or more")
    return images


def check_annotations(raw: dict[str, Any], file: Path, images: dict[int, Entry], names: dict[int, str]) -> None:
    """Check that each annotation has a box, a known image and a known category.

    Raises:
        SpinetError: the first that does not, by its id.
    """
    for position, annotation in enumerate(raw["annotations"], start=1):
        name = annotation_name(annotation, position)
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_finite_number(value) for value in box):
            raise SpinetError(
                f"{name} in {file} has bbox {box!r}; allowed are four finite numbers: x, y, width, height"
            )
        image_id = _whole_number(annotation, "image_id", name, file)
        if image_id not in images:
            raise SpinetError(f"{name} in {file} has image_id {image_id}, but no image has that id")
        category_id = _whole_number(annotation, "category_id", name, file)
        if category_id not in names:
            known = ", ".join(map(str, names))
            raise SpinetError(f"{name} in {file} has category_id {category_id}; the categories are {known}")


def annotation_name(annotation: Entry, position: int) -> str:
    """How messages call an annotation: by its id, or else by its place in the file, counted from 1."""
    return f"annotation {annotation['id']}" if "id" in annotation else f"annotation number {position}"


def _is_finite_number(value: object) -> bool:
    # Not isinstance, which would let true and false through. JSON's whole numbers may be larger than any float.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def _whole_number(entry: Entry, key: str, name: str, file: Path) -> int:
    value = entry.get(key)
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise SpinetError(f"{name} in {file} has {key} {value!r}; allowed is a whole number")


def _text(entry: Entry, key: str, name: str, file: Path) -> str:
    value = entry.get(key)
    if isinstance(value, str) and value:
        return value
    raise SpinetError(f"{name} in {file} has {key} {value!r}; allowed is a text")
