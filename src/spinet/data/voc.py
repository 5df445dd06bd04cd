"""Data sets in Pascal VOC format: an XML file an image."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spinet.data.annotations import SPLIT_NAMES, RawSplit
from spinet.data.images import IMAGE_SUFFIXES, image_size
from spinet.errors import SpinetError

# The official sets have all four lists; a val list belongs to train and a test list to trainval.
LISTS = (("train", "val"), ("train", "valid"), ("train", "validation"), ("trainval", "test"), ("train", "test"))


class _Object(NamedTuple):
    name: str
    xywh: list[float]
    difficult: bool


class _Picture(NamedTuple):
    size: tuple[int, int] | None
    objects: list[_Object]


def read_voc(root: Path, split: str, sizes: Mapping[Path, tuple[int, int]]) -> RawSplit:
    """Read a split of a data set in Pascal VOC format as a COCO dict.

    The layout is `Annotations/*.xml`, `JPEGImages/` and `ImageSets/Main/{train,val}.txt` (or trainval.txt and
    test.txt), or Roboflow's with XML files beside the images in `train/` and `valid/`. Classes are the names found in
    both splits, sorted, with category ids from 1.

    Pixels are numbered from 1 and both ends of a box lie inside it (VOC2012 development kit), so a box begins at
    xmin - 1. Objects marked `difficult` become crowd regions: not learnt from, and neither a hit nor a miss in the
    metric, as in VOC's own evaluation.

    Args:
        root: the folder.
        split: "train" or "val".
        sizes: (width, height) of images that are known already, for files that do not say it.

    Raises:
        SpinetError: a list, an image or an XML file is missing or faulty.
    """
    files = {name: _pairs(root, name) for name in SPLIT_NAMES if name == split or _has_split(root, name)}
    listed, pairs = files[split]
    pictures = {path: _read_picture(path) for _, found in files.values() for path, _ in found}
    names = sorted({item.name for picture in pictures.values() for item in picture.objects})
    if not names:
        raise SpinetError(f"the {len(pictures):,} XML files of {root} hold no object; allowed is one or more")
    ids = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (path, image) in enumerate(pairs, start=1):
        picture = pictures[path]
        width, height = picture.size or sizes.get(image) or image_size(image)
        images.append(
            {"id": image_id, "file_name": image.relative_to(root).as_posix(), "width": width, "height": height}
        )
        for item in picture.objects:
            number = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[item.name]}
            annotations.append(number | {"bbox": item.xywh, "iscrowd": int(item.difficult)})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return RawSplit(listed, root, {"images": images, "categories": categories, "annotations": annotations})


def _has_split(root: Path, split: str) -> bool:
    return _folder_of(root, split) is not None or _list_of(root, split) is not None


def _folder_of(root: Path, split: str) -> Path | None:
    """Return the folder with both images and XML files, if that is the layout."""
    folders = (root / name for name in SPLIT_NAMES[split])
    return next((folder for folder in folders if next(folder.glob("*.xml"), None)), None)


def _list_of(root: Path, split: str) -> Path | None:
    lists = root / "ImageSets" / "Main"
    for names in LISTS:
        chosen = dict(zip(("train", "val"), names, strict=True))
        if all((lists / f"{name}.txt").is_file() for name in names):
            return lists / f"{chosen[split]}.txt"
    alone = [lists / f"{name}.txt" for name in SPLIT_NAMES[split]]
    return next((file for file in alone if file.is_file()), None)


def _pairs(root: Path, split: str) -> tuple[Path, list[tuple[Path, Path]]]:
    """Return what lists the split, and its (XML file, image) pairs, sorted."""
    folder = _folder_of(root, split)
    if folder:
        images = _images_in(folder)
        stems = {path.stem for path in folder.glob("*.xml")}
        for stem, image in images.items():
            if stem not in stems:
                raise SpinetError(f"the image {image} has no XML file beside it; an image without objects has one too")
        return folder, [(folder / f"{stem}.xml", _image_of(stem, images, folder, folder)) for stem in sorted(stems)]
    file = _list_of(root, split)
    if file is None:
        wanted = f"{root / 'ImageSets' / 'Main' / split}.txt nor a folder {split}/ with XML files"
        raise SpinetError(f"{root} has no {split} split: there is neither {wanted}")
    stems = {line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()}
    folder = root / "JPEGImages"
    images = _images_in(folder)
    return file, [
        (root / "Annotations" / f"{stem}.xml", _image_of(stem, images, folder, file)) for stem in sorted(stems)
    ]


def _images_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise SpinetError(f"there is no folder {folder}; Pascal VOC's images are expected there")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return {path.stem: path for path in paths}


def _image_of(stem: str, images: Mapping[str, Path], folder: Path, listed: Path) -> Path:
    if stem not in images:
        raise SpinetError(f"{listed} lists the image {stem}, but {folder} has no {stem}.jpg")
    return images[stem]


def _read_picture(file: Path) -> _Picture:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise SpinetError(f"the annotation file {file} is missing; an image without objects has one too") from None
    except OSError as error:
        raise SpinetError(f"could not read {file}: {error.strerror}") from error
    # VOC's files have no document type; entities that multiply are declared in one. Expat limits them too, from 2.4.1.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SpinetError(f"{file} declares a document type or entities, which Pascal VOC's files do not")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = str(error).split(":")[0]
        raise SpinetError(f"{file} is not valid XML: line {line}, column {column + 1}: {reason}") from error
    objects = [
        _object(node, f"object number {number} in {file}") for number, node in enumerate(tree.findall("object"), 1)
    ]
    return _Picture(_size(tree, file), objects)


def _size(tree: ElementTree.Element, file: Path) -> tuple[int, int] | None:
    texts = [tree.findtext(f"size/{side}") for side in ("width", "height")]
    try:
        width, height = (int(float(text or 0)) for text in texts)
    except (ValueError, OverflowError):
        raise SpinetError(f"{file} has the size {texts[0]} x {texts[1]}; allowed are two whole numbers") from None
    return (width, height) if width > 0 and height > 0 else None


def _object(node: ElementTree.Element, name: str) -> _Object:
    label = (node.findtext("name") or "").strip()
    if not label:
        raise SpinetError(f"{name} has no name; allowed is the name of its class")
    texts = [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    box = [_number(text) for text in texts]
    if not all(map(math.isfinite, box)):
        shown = ", ".join(str(text) for text in texts)
        raise SpinetError(f"{name} has the box {shown}; allowed are numbers: xmin, ymin, xmax, ymax")
    return _Object(label, _xywh(*box), (node.findtext("difficult") or "").strip() == "1")


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _xywh(left: float, top: float, right: float, bottom: float) -> list[float]:
    # Some of the official boxes have fractions; hundredths as in COCO's files.
    return [round(value, 2) for value in (left - 1, top - 1, right - left + 1, bottom - top + 1)]
