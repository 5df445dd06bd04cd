"""Reading and validating a COCO annotation file; errors name the file and the entry."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spinet.errors import SpinetError, is_unicode, quoted
from spinet.files import load_json
from spinet.formats.findings import CORRECT, Faults, Finding, left_out, some
from spinet.formats.images import MAX_PIXELS
from spinet.formats.values import flag, integer, number

Entry = dict[str, Any]

# Boxes that reach further are clipped to it first, so that nothing overflows; pixels.
FARTHEST = 1e9
_PLAIN = frozenset({int, float})
ROBOFLOW_FILE = "_annotations.coco.json"


class RawSplit(NamedTuple):
    """One split of a dataset in any format.

    Attributes:
        file: lists its images or classes, for messages.
        folder: base of the images' file names.
        raw: a COCO dict with images, categories and annotations, not validated.
        places: file and line of each annotation, in formats whose annotations have no ids.
        findings: about the files of the split; training prints the warnings, the doctor all.
        format: "COCO", "YOLO" or "Pascal VOC".
    """

    file: Path
    folder: Path
    raw: dict[str, Any]
    places: Sequence[tuple[Path, int]] = ()
    findings: Sequence[Finding] = ()
    format: str = "COCO"

    def annotation(self, index: int) -> str:
        """Return the name and position of an annotation for messages."""
        if self.places:
            file, line = self.places[index]
            return f"{file}, line {line}"
        return f"{annotation_name(self.raw['annotations'][index], index + 1)} in {self.file}"


def read_annotation_file(file: Path) -> dict[str, Any]:
    """Read a JSON file with COCO's three lists, without validating their entries."""
    raw = load_json(file, "annotation file")
    if not isinstance(raw, dict):
        raise SpinetError(
            f"{file} is not in COCO format: expected an object with images, annotations and categories,"
            f" found a {type(raw).__name__}"
        )
    for key in ("images", "annotations", "categories"):
        if key not in raw:
            content = some(raw, 10) or "nothing"
            raise SpinetError(f"{file} is not in COCO format: missing key {key!r}, found {content}")
        if isinstance(raw[key], dict):
            raw[key] = list(raw[key].values())  # LIVECell's, by id
        if not isinstance(raw[key], list) or not all(isinstance(entry, dict) for entry in raw[key]):
            raise SpinetError(f"{file} is not in COCO format: {key!r} is not a list of objects")
    return raw


def category_names(raw: dict[str, Any], file: Path) -> dict[int, str]:
    """Return the name of each category id, ids ascending."""
    names: dict[int, str] = {}
    for position, category in enumerate(raw["categories"], start=1):
        category_id = integer_of(category, "id", f"category number {position}", file)
        if category_id in names:
            raise SpinetError(f"{file} has two categories with id {quoted(category_id)}; ids must be unique")
        names[category_id] = string_of(category, "name", f"category {quoted(category_id)}", file)
    if not names:
        raise SpinetError(f"{file} has no categories; expected at least one")
    return dict(sorted(names.items()))


def image_entries(raw: dict[str, Any], file: Path) -> dict[int, Entry]:
    """Return the image entries by id, in the file's order; width and height are 0 where the file does not say them."""
    images: dict[int, Entry] = {}
    for position, image in enumerate(raw["images"], start=1):
        image_id = integer_of(image, "id", f"image number {position}", file)
        if image_id in images:
            raise SpinetError(f"{file} has two images with id {quoted(image_id)}; ids must be unique")
        image["file_name"] = string_of(image, "file_name", f"image {quoted(image_id)}", file)
        image["width"], image["height"] = _size_of(image, f"image {quoted(image_id)}", file)
        images[image_id] = image
    if not images:
        raise SpinetError(f"{file} has no images; expected at least one")
    return images


def _size_of(image: Entry, name: str, file: Path) -> tuple[int, int]:
    """Return (width, height) in pixels; (0, 0) if one of them is missing or 0."""
    sides = []
    for side in ("width", "height"):
        value = image.get(side)
        length = 0 if value is None else integer(value)
        if length is None or length < 0:
            raise SpinetError(f"{name} in {file} has {side} {quoted(value)}; must be an integer of at least 1")
        sides.append(length)
    width, height = sides
    if width * height > MAX_PIXELS:
        shown = f"{quoted(width)} x {quoted(height)}"
        raise SpinetError(f"{name} in {file} has {shown} pixels; must be at most {MAX_PIXELS:,}")
    return (width, height) if width and height else (0, 0)


def check_annotations(
    raw: dict[str, Any], file: Path, images: dict[int, Entry], names: dict[int, str], split: str
) -> tuple[list[int], list[Finding]]:
    """Check each annotation, read its numbers and its flag for what they say, and take invalid ones out of `raw`.

    Each gets ids that are in `images` and `names`, a box of four finite floats, and "iscrowd" 0 or 1.

    Returns:
        The positions in the file of those that are left, from 0, and a warning about the others.

    Raises:
        SpinetError: many are invalid.
    """
    entries, valid, faults = raw["annotations"], list[int](), Faults()
    for position, annotation in enumerate(entries, start=1):
        try:
            _check_annotation(annotation, position, file, images, names)
        except SpinetError as error:
            faults.add(str(error), CORRECT)
        else:
            valid.append(position - 1)
    findings = left_out(split, "annotations", faults, len(entries))
    if findings:
        raw["annotations"] = [entries[index] for index in valid]
        for index in valid:
            entries[index].setdefault("id", index + 1)  # its name in messages, now that the others have moved up
    return valid, findings


def _check_annotation(
    annotation: Entry, position: int, file: Path, images: dict[int, Entry], names: dict[int, str]
) -> None:
    annotation["bbox"] = _box_of(annotation, position, file)
    image_id = annotation.get("image_id")
    if type(image_id) is not int or image_id not in images:
        image_id = integer_of(annotation, "image_id", annotation_name(annotation, position), file)
        if image_id not in images:
            name = annotation_name(annotation, position)
            raise SpinetError(f"{name} in {file} has image_id {quoted(image_id)}, but no image has that id")
        annotation["image_id"] = image_id
    category_id = annotation.get("category_id")
    if type(category_id) is not int or category_id not in names:
        category_id = integer_of(annotation, "category_id", annotation_name(annotation, position), file)
        if category_id not in names:
            name = annotation_name(annotation, position)
            raise SpinetError(f"{name} in {file} has category_id {quoted(category_id)}; {known_ids(names)}")
        annotation["category_id"] = category_id
    crowd = annotation.get("iscrowd", 0)
    annotation["iscrowd"] = crowd if type(crowd) is int and crowd in (0, 1) else _crowd_of(annotation, position, file)


def known_ids(names: Iterable[int]) -> str:
    """Say which category ids there are."""
    return f"the categories are {some(map(quoted, names), 10)}"


def _box_of(annotation: Entry, position: int, file: Path) -> list[float]:
    box = annotation.get("bbox")
    if type(box) is list and len(box) == 4 and _PLAIN.issuperset(map(type, box)):
        total = sum(box)
        if min(box) >= -FARTHEST and max(box) <= FARTHEST and not math.isnan(total):
            return box
    values = [number(value) for value in box] if isinstance(box, list) and len(box) == 4 else []
    numbers = [max(min(value, FARTHEST), -FARTHEST) for value in values if value is not None]
    if len(numbers) == 4:
        return numbers
    name = annotation_name(annotation, position)
    raise SpinetError(f"{name} in {file} has bbox {quoted(box)}; must be four finite numbers: x, y, width, height")


def _crowd_of(annotation: Entry, position: int, file: Path) -> int:
    crowd = flag(annotation.get("iscrowd"))
    if crowd is None:
        name = annotation_name(annotation, position)
        raise SpinetError(f"{name} in {file} has iscrowd {quoted(annotation['iscrowd'])}; must be 0 or 1")
    return int(crowd)


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
    return f"annotation {quoted(annotation['id'])}" if "id" in annotation else f"annotation number {position}"


def integer_of(entry: Entry, key: str, name: str, file: Path) -> int:
    """Return an integer of an entry; `name` stands for the entry in errors."""
    value = integer(entry.get(key))
    if value is None:
        raise SpinetError(f"{name} in {file} has {key} {quoted(entry.get(key))}; must be an integer")
    return value


def string_of(entry: Entry, key: str, name: str, file: Path) -> str:
    """Return a string of an entry that is not empty; `name` stands for the entry in errors."""
    value = entry.get(key)
    if type(value) is int:
        value = str(value)
    if isinstance(value, str) and value and (value.isascii() or is_unicode(value)):
        return value
    raise SpinetError(f"{name} in {file} has {key} {quoted(value)}; must be a string")
