"""Datasets in YOLO format: a YAML file with class names, image folders, and label folders next to them.

The layout is that of Ultralytics (ultralytics/data/utils.py: check_det_dataset, img2label_paths) and of Roboflow's
exports.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from spinet.data.annotations import SPLIT_NAMES, RawSplit, as_coco
from spinet.data.images import image_size
from spinet.data.listing import Listing, is_hidden, list_images, skipped_findings
from spinet.data.yolo_labels import LabelFiles
from spinet.errors import SpinetError

DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
EXAMPLE = "'names: [cat, dog]', 'train: images/train' and 'val: images/val'"


def read_yolo(root: Path, split: str, sizes: Mapping[Path, tuple[int, int]]) -> RawSplit:
    """Read a split of a dataset in YOLO format as a COCO dict.

    `ROOT/data.yaml` has the class names and, relative to its `path` or to ROOT, the image folders: `images/train` or
    `train/images`. The labels of `images/a.jpg` are in `labels/a.txt`; an image without such a file has no objects.
    Class k, from 0, gets the category id k + 1.
    """
    file = root if root.is_file() else _data_file(root)
    settings = _read_settings(file)
    names = _class_names(settings, file)
    listing = _list_split(settings, file, split)
    paths = listing.images
    labels = LabelFiles(classes=len(names), boxes_only="kpt_shape" in settings)
    images = (
        (Path(os.path.relpath(path, file.parent)).as_posix(), size, labels.read(label_file(path), *size))
        for path, size in _sizes(paths, sizes).items()
    )
    raw = as_coco(images, names)
    labels.check(paths[0], label_file(paths[0]))
    return RawSplit(file, file.parent, raw, labels.places, skipped_findings(split, listing))


def _data_file(root: Path) -> Path:
    for name in DATA_FILES:
        if (root / name).is_file():
            return root / name
    others = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if len(others) == 1:
        return others[0]
    if others:
        found = ", ".join(file.name for file in others)
        raise SpinetError(
            f"{root} has the YAML files {found}; pass one of them as the dataset, or rename it to data.yaml"
        )
    raise SpinetError(f"{root} has labels but no data.yaml with the class names; expected one with {EXAMPLE}")


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise SpinetError(f"reading {file} needs pyyaml, which is not installed: pip install pyyaml") from error
    try:
        settings = yaml.safe_load(file.read_bytes())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpinetError(f"{file} is not valid YAML{where}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SpinetError(f"{file} is not valid YAML: {error}".splitlines()[0]) from error
    except OSError as error:
        raise SpinetError(f"could not read {file}: {error.strerror}") from error
    if settings is None:
        raise SpinetError(f"{file} is empty; expected a YAML file with {EXAMPLE}")
    if not isinstance(settings, dict):
        raise SpinetError(f"{file} holds a {type(settings).__name__}; expected a YAML file with {EXAMPLE}")
    return settings


def _class_names(settings: Mapping[str, Any], file: Path) -> list[str]:
    names, count = settings.get("names"), settings.get("nc")
    if names is None and type(count) is int and count > 0:
        return [f"class_{index}" for index in range(count)]
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}
        if set(numbered) != set(map(str, range(len(names)))):
            found = ", ".join(list(numbered)[:10])
            raise SpinetError(f"the names in {file} are numbered {found}; must be 0, 1, 2 ... without a gap")
        names = [numbered[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise SpinetError(f"{file} has names {names!r}; must be a list of class names, or a table numbered from 0")
    for index, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or name == "":
            raise SpinetError(f"{file} has the name {name!r} for class {index}; must be a string, in quotes if need be")
    if count is not None and count != len(names):
        raise SpinetError(f"{file} has nc {count!r} but {len(names)} names; nc must be the number of names")
    return [str(name) for name in names]


def _list_split(settings: Mapping[str, Any], file: Path, split: str) -> Listing:
    """Return the split's images, sorted and unique, and what was skipped."""
    key = next((name for name in SPLIT_NAMES[split] if settings.get(name)), None)
    entries = settings[key] if key else _usual_folder(file, split)
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
        raise SpinetError(f"{file} has {key} {entries!r}; must be a folder of images, or a list of folders")
    found = Listing()
    for entry in entries:
        found += _images_of(_resolve(entry, settings, file, str(key or split)))
    if not found.images:
        why = found.skipped_text()
        raise SpinetError(f"{file} has no {split} images in {', '.join(entries)[:80]}" + (f": {why}" if why else ""))
    return Listing(sorted(set(found.images)), found.skipped)


def _usual_folder(file: Path, split: str) -> str:
    for name in SPLIT_NAMES[split]:
        for folder in (f"images/{name}", f"{name}/images"):
            if (file.parent / folder).is_dir():
                return folder
    raise SpinetError(
        f"{file} does not say where the {split} images are; expected a line such as '{split}: images/{split}'"
    )


def _resolve(entry: str, settings: Mapping[str, Any], file: Path, key: str) -> Path:
    """Return the folder or list of images that an entry means."""
    base = file.parent / str(settings.get("path") or "")
    # Roboflow's entries have one ../ too many, and `path` was often written on another machine.
    candidates = (file.parent / entry.removeprefix("../"), base / entry, file.parent / entry)
    for candidate in candidates if entry.startswith("../") else candidates[1:]:
        if candidate.exists():
            return Path(os.path.normpath(candidate))
    raise SpinetError(
        f"{file} has {key}: {entry}, but there is no {' and no '.join(map(str, dict.fromkeys(candidates[1:])))}"
    )


def _images_of(source: Path) -> Listing:
    if source.is_dir():
        return list_images(source)
    lines = [line.strip() for line in source.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    return Listing([_listed(line, source) for line in lines if line and not is_hidden(PurePath(line).name)])


def _listed(line: str, source: Path) -> Path:
    path = source.parent / line
    if not path.is_file():
        raise SpinetError(f"{source} lists the image {line}, but there is no file {path}")
    return path


def label_file(image: Path) -> Path:
    """Return the label file of an image: the last folder called images becomes labels."""
    parts = list(image.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _sizes(paths: list[Path], known: Mapping[Path, tuple[int, int]]) -> dict[Path, tuple[int, int]]:
    """Return the (width, height) of each image, by which labels are normalized."""
    sizes: dict[Path, tuple[int, int]] = {}
    faults: list[str] = []
    for path in paths:
        try:
            sizes[path] = known.get(path) or image_size(path)
        except SpinetError as error:
            faults.append(str(error))
    if faults:
        count = f"{len(faults):,} of {len(paths):,} images cannot be read, the first one: " if len(faults) > 1 else ""
        raise SpinetError(f"{count}{faults[0]}")
    return sizes
