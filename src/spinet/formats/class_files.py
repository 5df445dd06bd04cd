"""Finding the images and classes of a classification dataset: image folders, or a JSON file like iNaturalist's."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spinet.errors import SpinetError, quoted, unknown_name
from spinet.formats.annotations import (
    annotation_name,
    category_names,
    integer_of,
    known_ids,
    read_annotation_file,
    string_of,
)
from spinet.formats.findings import Faults, Finding, left_out, repeated_files, some, such_as
from spinet.formats.layouts import class_folders, recognise
from spinet.formats.listing import Listing, has_image, list_images, skipped_findings
from spinet.formats.parsing import readable
from spinet.formats.splits import SPLIT_NAMES, WHOLE, already_divided, no_split

LAYOUTS = (
    "ROOT/{train,val}/CLASS/*.jpg, or ROOT/{train,val}2017.json like iNaturalist's (also in ROOT/annotations) with"
    " image files relative to ROOT"
)


class ClassSample(NamedTuple):
    """One image of a class.

    Attributes:
        image_id: the id in the JSON file, or in image folders the index among the sorted paths, from 1.
        path: the image file.
        label: index into `ClassDataset.class_names`.
        number: of the image in its split, from 1: ids of files may be too large for tensors.
    """

    image_id: int
    path: Path
    label: int
    number: int


class ClassSplit(NamedTuple):
    """One split: its folder or JSON file, the names of the category ids, which ascend, and the images in order.

    Its `findings` are about files that were left out.
    """

    place: Path
    names: dict[int, str]
    samples: list[ClassSample]
    findings: Sequence[Finding] = ()


def read_class_split(root: Path, split: str) -> ClassSplit:
    """Read one split; the classes are those of the train split, where there is one; "all" is what is not divided."""
    with readable(root):
        return _read_split(root, split)


def _read_split(root: Path, split: str) -> ClassSplit:
    if split not in (*SPLIT_NAMES, WHOLE):
        raise unknown_name("split", split, SPLIT_NAMES)
    if not root.is_dir():
        raise SpinetError(f"there is no dataset folder {root}")
    present = [name for name in SPLIT_NAMES if _json_file(root, name) or _split_folder(root, name)]
    if split == WHOLE and len(present) == 2:
        raise already_divided(root, _json_file(root, "val") or _split_folder(root, "val"))
    if split == WHOLE and present:
        split = present[0]
    file = None if split == WHOLE else _json_file(root, split)
    folder = root if split == WHOLE else _split_folder(root, split)
    raw = _read(file, root) if file else None
    if raw is None:
        _refuse_boxes(root)
    classes = class_folders(folder) if folder else []
    if file and classes:
        raise SpinetError(
            f"{root} holds class folders ({folder}) and a JSON file ({file}) of {split} images; expected one format:"
            " move the other one elsewhere"
        )
    if file and raw is not None:
        result = _from_json(file, raw, root, split)
    elif folder:
        result = _from_folders(folder, classes, root, split)
    elif present or len(class_folders(root)) > 1:
        raise no_split(root, split, f"{split}/CLASS/*.jpg or {split}.json")
    else:
        content = some(sorted(entry.name for entry in root.iterdir()), 10) or "nothing"
        raise SpinetError(f"{root} has no {split} images; expected {LAYOUTS}; found {content}")
    if len(result.names) < 2:
        raise SpinetError(
            f"{result.place} has only one class ({some(result.names.values(), 3)}); expected at least two"
        )
    return result


def class_format(root: Path) -> str:
    """Return "image folders" or "JSON of classes" for a classification dataset, else an empty string."""
    if not root.is_dir():
        return ""
    try:
        files = [file for split in SPLIT_NAMES if (file := _json_file(root, split))]
        # Boxes are looked for first, because parsing COCO's file takes ten seconds.
        if files and b'"bbox"' in files[0].read_bytes():
            return ""
        raw = read_annotation_file(files[0]) if files else None
        folders = [folder for split in SPLIT_NAMES if (folder := _split_folder(root, split))]
    except (OSError, SpinetError):
        return ""
    if raw is not None:
        is_boxes = any("bbox" in entry or "segmentation" in entry for entry in raw["annotations"])
        return "" if is_boxes or not raw["annotations"] else "JSON of classes"
    try:
        recognise(root)
    except SpinetError:
        # Without splits, one folder of images alone is more likely that of another format.
        places = folders or ([root] if len(class_folders(root)) > 1 else [])
        found = any(has_image(folder / name) for folder in places for name in class_folders(folder))
        return "image folders" if found else ""
    return ""


def _json_file(root: Path, split: str) -> Path | None:
    """Return the JSON file of a split, from the folder or else its annotations folder."""
    names = "|".join(SPLIT_NAMES[split])
    pattern = re.compile(rf"(instances_)?({names})(\d{{4}})?\.json")
    for folder in (root, root / "annotations"):
        files = sorted(file for file in folder.glob("*.json") if pattern.fullmatch(file.name))
        if len(files) > 1:
            shown = " and ".join(file.name for file in files)
            raise SpinetError(f"{folder} has {shown}; expected one file of {split} images")
        if files:
            return files[0]
    return None


def _split_folder(root: Path, split: str) -> Path | None:
    folders = [root / name for name in SPLIT_NAMES[split] if (root / name).is_dir()]
    if len(folders) > 1:
        shown = " and ".join(f"{folder.name}/" for folder in folders)
        raise SpinetError(f"{root} has {shown}; expected one folder of {split} images")
    return folders[0] if folders else None


def _refuse_boxes(root: Path, kind: str | None = None) -> None:
    try:
        kind = kind or recognise(root)
    except SpinetError:
        # Not a detection dataset, so it may hold classes.
        return
    raise SpinetError(
        f"{root} is a detection dataset ({kind} format), but classification needs one class per image:"
        f" `spinet crop-boxes` makes image folders from its objects"
    )


def _from_folders(folder: Path, classes: list[str], root: Path, split: str) -> ClassSplit:
    if not classes:
        raise SpinetError(f"{folder} has no class folders; expected {LAYOUTS}")
    known, train = classes, _split_folder(root, "train")
    if split != "train" and train:
        known = class_folders(train)
        _check_known(classes, known, folder, train)
    label_of = {name: label for label, name in enumerate(known)}
    samples: list[ClassSample] = []
    loose = list_images(folder, below=False)
    skipped = Listing(skipped=loose.skipped)
    for name in classes:
        found = list_images(folder / name)
        if not found.images:
            why = found.skipped_text() or "add some or remove it"
            raise SpinetError(f"the class folder {folder / name} has no images: {why}")
        first = len(samples) + 1
        samples += [ClassSample(at, path, label_of[name], at) for at, path in enumerate(found.images, first)]
        skipped += Listing(skipped=found.skipped)
    findings = [*_loose_findings(split, loose.images), *skipped_findings(split, skipped)]
    return ClassSplit(folder, dict(enumerate(known, start=1)), samples, findings)


def _loose_findings(split: str, images: list[Path]) -> Iterator[Finding]:
    if images:
        text = f"{split}: {len(images):,} images lie outside the class folders and are ignored, {such_as(images[0])}"
        yield Finding("warning", "images without a class", f"{text}; move them into the folder of their class")


def _read(file: Path, root: Path) -> dict[str, Any]:
    raw = read_annotation_file(file)
    if any("bbox" in annotation for annotation in raw["annotations"]):
        _refuse_boxes(root, "COCO")
    return raw


def _from_json(file: Path, raw: dict[str, Any], root: Path, split: str) -> ClassSplit:
    names = category_names(raw, file)
    train = _json_file(root, "train") if split != "train" else None
    if train:
        known = category_names(_read(train, root), train)
        unknown = [name for key, name in names.items() if known.get(key) != name]
        _check_known(unknown, [], file, train)
        names = known
    classes_of = _classes_of_images(raw, file, names)
    label_of = {category_id: label for label, category_id in enumerate(names)}
    samples: list[ClassSample] = []
    ids: list[int] = []
    faults = Faults()
    for position, image in enumerate(raw["images"], start=1):
        ids.append(integer_of(image, "id", f"image number {position}", file))
        name = string_of(image, "file_name", f"image {quoted(ids[-1])}", file)
        found = classes_of.get(ids[-1], [])
        if len(found) == 1:
            samples.append(ClassSample(ids[-1], root / name, label_of[found[0]], position))
        else:
            several = f"is of category {' and of category '.join(map(quoted, found[:2]))}"
            what = several if found else "has no annotation"
            text = f"image {quoted(ids[-1])} in {file} {what}; expected one class per image"
            faults.add(text, "correct their annotations")
    _check_ids(ids, classes_of, file)
    findings = left_out(split, "images", faults, len(ids))
    _check_files(samples, file)
    findings += repeated_files(split, [sample.path for sample in samples], "the image counts several times")
    return ClassSplit(file, names, samples, findings)


def _classes_of_images(raw: dict[str, Any], file: Path, names: dict[int, str]) -> dict[int, list[int]]:
    """Return the category ids of each image id, each once."""
    classes_of: dict[int, list[int]] = {}
    for position, annotation in enumerate(raw["annotations"], start=1):
        name = annotation_name(annotation, position)
        image_id, category_id = (integer_of(annotation, key, name, file) for key in ("image_id", "category_id"))
        if category_id not in names:
            raise SpinetError(f"{name} in {file} has category_id {quoted(category_id)}; {known_ids(names)}")
        found = classes_of.setdefault(image_id, [])
        if category_id not in found:
            found.append(category_id)
    return classes_of


def _check_ids(ids: list[int], annotated: Iterable[int], file: Path) -> None:
    """Check that ids of images are unique, and that annotations have their images."""
    if not ids:
        raise SpinetError(f"{file} has no images; expected at least one")
    counts = Counter(ids)
    image_id, occurrences = counts.most_common(1)[0]
    if occurrences > 1:
        raise SpinetError(f"{file} has two images with id {quoted(image_id)}; ids must be unique")
    unknown = next((image_id for image_id in annotated if image_id not in counts), None)
    if unknown is not None:
        raise SpinetError(f"an annotation in {file} has image_id {quoted(unknown)}, but no image has that id")


def _check_files(samples: list[ClassSample], file: Path) -> None:
    """Check that the images are there."""
    # One listing per folder, because checking each of 579,184 files takes minutes on a network disk.
    folders = {sample.path.parent for sample in samples}
    present = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in folders}  # noqa: PTH208
    missing = [sample.path for sample in samples if sample.path.name not in present[sample.path.parent]]
    if missing:
        count = f"{len(missing):,} of {len(samples):,}"
        raise SpinetError(f"{count} image files of {file} are missing, the first one is {missing[0]}")


def _check_known(classes: list[str], known: list[str], place: Path, train: Path) -> None:
    unknown = [name for name in classes if name not in set(known)]
    if unknown:
        raise SpinetError(
            f"{place} has classes that are not in {train}: {some(unknown, 3)}; expected the classes of the train split"
        )
