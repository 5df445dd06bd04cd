"""Reading and validating a COCO annotation file; errors name the file and the entry."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spinet.data.findings import Finding
from spinet.errors import SpinetError

Entry = dict[str, Any]

# Names of the two splits, in files and folders of various tools.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation")}
ROBOFLOW_FILE = "_annotations.coco.json"


class RawSplit(NamedTuple):
    """One split of a dataset in any format.

    Attributes:
        file: lists its images or classes, for messages.
        folder: base of the images' file names.
        raw: a COCO dict with images, categories and annotations, not validated.
        places: file and line of each annotation, in formats whose annotations have no ids.
        findings: about the files of the split; training prints the warnings, the doctor all.
    """

    file: Path
    folder: Path
    raw: dict[str, Any]
    places: Sequence[tuple[Path, int]] = ()
    findings: Sequence[Finding] = ()

    def annotation(self, index: int) -> str:
        """Return the name and position of an annotation for messages."""
        if self.places:
            file, line = self.places[index]
            return f"{file}, line {line}"
        return f"{annotation_name(self.raw['annotations'][index], index + 1)} in {self.file}"


def read_annotation_file(file: Path) -> dict[str, Any]:
    """Read a JSON file with COCO's three lists, without validating their entries."""
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
            f"{file} is not in COCO format: expected an object with images, annotations and categories,"
            f" found a {type(raw).__name__}"
        )
    for key in ("images", "annotations", "categories"):
        if key not in raw:
            content = ", ".join(raw) or "nothing"
            raise SpinetError(f"{file} is not in COCO format: missing key {key!r}, found {content}")
        if not isinstance(raw[key], list) or not all(isinstance(entry, dict) for entry in raw[key]):
            raise SpinetError(f"{file} is not in COCO format: {key!r} is not a list of objects")
    return raw


def category_names(raw: dict[str, Any], file: Path) -> dict[int, str]:
    """Return the name of each category id, ids ascending."""
    names: dict[int, str] = {}
    for position, category in enumerate(raw["categories"], start=1):
        category_id = integer_of(category, "id", f"category number {position}", file)
        if category_id in names:
            raise SpinetError(f"{file} has two categories with id {category_id}; ids must be unique")
        names[category_id] = string_of(category, "name", f"category {category_id}", file)
    if not names:
        raise SpinetError(f"{file} has no categories; expected at least one")
    return dict(sorted(names.items()))


def image_entries(raw: dict[str, Any], file: Path) -> dict[int, Entry]:
    """Return the image entries by id, in the file's order."""
    images: dict[int, Entry] = {}
    for position, image in enumerate(raw["images"], start=1):
        image_id = integer_of(image, "id", f"image number {position}", file)
        name = f"image {image_id}"
        if image_id in images:
            raise SpinetError(f"{file} has two images with id {image_id}; ids must be unique")
        string_of(image, "file_name", name, file)
        for side in ("width", "height"):
            if integer_of(image, side, name, file) < 1:
                raise SpinetError(f"{name} in {file} has {side} {image[side]}; must be at least 1")
        images[image_id] = image
    if not images:
        raise SpinetError(f"{file} has no images; expected at least one")
    return images


def check_annotations(raw: dict[str, Any], file: Path, images: dict[int, Entry], names: dict[int, str]) -> None:
    """Check that each annotation has a box, a known image and a known category; the first invalid one is an error."""
    for position, annotation in enumerate(raw["annotations"], start=1):
        name = annotation_name(annotation, position)
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_finite_number(value) for value in box):
            raise SpinetError(f"{name} in {file} has bbox {box!r}; must be four finite numbers: x, y, width, height")
        image_id = integer_of(annotation, "image_id", name, file)
        if image_id not in images:
            raise SpinetError(f"{name} in {file} has image_id {image_id}, but no image has that id")
        category_id = integer_of(annotation, "category_id", name, file)
        if category_id not in names:
            known = ", ".join(map(str, names))
            raise SpinetError(f"{name} in {file} has category_id {category_id}; the categories are {known}")


def as_coco(images: Iterable[tuple[str, tuple[int, int], list[Entry]]], names: Iterable[str]) -> dict[str, Any]:
    """Return a COCO dict with ids from 1.

    Args:
        images: file name, (width, height) and annotations without ids of each image.
        names: of the classes.
    """
    entries: list[Entry] = []
    annotations: list[Entry] = []
    for image_id, (name, (width, height), objects) in enumerate(images, start=1):
        entries.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for entry in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "iscrowd": 0} | entry)
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return {"images": entries, "annotations": annotations, "categories": categories}


def annotation_name(annotation: Entry, position: int) -> str:
    """Return the name of an annotation for messages: its id, or else its position in the file, from 1."""
    return f"annotation {annotation['id']}" if "id" in annotation else f"annotation number {position}"


def _is_finite_number(value: object) -> bool:
    # Not isinstance, which accepts bool. JSON integers may be larger than any float.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def integer_of(entry: Entry, key: str, name: str, file: Path) -> int:
    """Return an integer of an entry; `name` stands for the entry in errors."""
    value = entry.get(key)
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise SpinetError(f"{name} in {file} has {key} {value!r}; must be an integer")


def string_of(entry: Entry, key: str, name: str, file: Path) -> str:
    """Return a string of an entry that is not empty; `name` stands for the entry in errors."""
    value = entry.get(key)
    if isinstance(value, str) and value:
        return value
    raise SpinetError(f"{name} in {file} has {key} {value!r}; must be a string")
